"""How long from an event's sending to its alert, all SigmaHQ rules on: `python -m bench.live [RATE…]`, through a real `tocsin up` and Splunk HEC.

The server is a process of its own, so is the sender: real Windows events of OTRF's recordings at an even rate, and every half second an event on
a host of its own that several rules name. An alert is there when its row of SecurityAlert is durable (`ingestion_time()`). The machine is shared by
server, sender and whatever else runs, so the load is told beside.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

import orjson
from bench.ingest import FOLDER, events, hec_bodies
from tests.e2e.server import Server, until

SIGMA = Path("../shared/data/sigma")
RATES = (5_000, 10_000, 20_000)
SECONDS, WARM = 15, 10
BODY = 250
QUERY = (
    "SecurityAlert | where Entities contains 'MARK' | extend Mark = extract('MARK[0-9]+X[0-9]+', 0, Entities) "
    "| summarize Filed = min(ingestion_time()) by Mark"
)


def mark(name: str) -> bytes:
    """An event that rules about deleted shadow copies name."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    return orjson.dumps(
        {
            "Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1, "SourceName": "Microsoft-Windows-Sysmon", "Hostname": name,
            "TimeCreated": now, "Image": "C:\\Windows\\System32\\vssadmin.exe", "CommandLine": "vssadmin.exe delete shadows /all /quiet",
            "OriginalFileName": "VSSADMIN.EXE", "ParentImage": "C:\\Windows\\System32\\cmd.exe", "User": "CONTOSO\\ann",
        }
    )  # fmt: skip


def send(port: int, token: str, path: Path, rate: int, seconds: int) -> None:
    """The sender's process: at that rate for so long; prints when each mark was sent."""
    lines = path.read_bytes().split(b"\n")
    bodies = hec_bodies(lines, BODY)
    count = rate * seconds // BODY
    lock, number, sent = threading.Lock(), [0], {}
    began = time.monotonic() + 0.5

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            with lock:
                n = number[0]
                number[0] += 1
            if n >= count:
                return
            body = bodies[n % len(bodies)]
            time.sleep(max(0.0, began + n * BODY / rate - time.monotonic()))
            if n % max(1, rate // 2 // BODY) == 0:
                name = f"MARK{rate}X{n}"
                body += b'\n{"event":%b,"sourcetype":"WinEventLog"}' % mark(name)
                sent[name] = time.time()
            while True:
                connection.request("POST", "/services/collector/event", body, {"Authorization": f"Splunk {token}"})
                with connection.getresponse() as response:
                    response.read()
                if response.status == 200:
                    break
                time.sleep(0.02)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([sent, time.monotonic() - began]))


def sender(server: Server, token: str, path: Path, rate: int, seconds: int) -> tuple[dict[str, float], float]:
    """Runs it; when each mark was sent, and how long it took to send all."""
    port = server.address.rpartition(":")[2].strip("/")
    arguments = ["--as", port, token, str(path), str(rate), str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.live", *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    sent, took = json.loads(done.stdout)
    return sent, took


def main() -> int:
    """Prints the table for bench/README.md."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--as"]:
        send(int(arguments[1]), arguments[2], Path(arguments[3]), int(arguments[4]), int(arguments[5]))
        return 0
    if not SIGMA.is_dir():
        print("Its data isn't here.")
        return 0
    events(100_000)
    path = FOLDER / "ingest-100000.ndjson"
    with tempfile.TemporaryDirectory(prefix="tocsin-live-", dir=FOLDER) as room:
        data = Path(room) / "data"
        for name in ("rules", "rules-emerging-threats", "rules-threat-hunting"):
            shutil.copytree(SIGMA / name, data / "site" / "sigma" / name)
        server = Server(data)
        try:
            server.start()
            until(lambda: "Ctrl-C stops it" in server.said(), 180, server.said)
            token, client = server.token(), server.signed_in()
            rules = [r for r in client.get("/api/v1/rules").json()["items"] if r["kind"] == "Sigma"]
            print(f"{len(rules):,} Sigma rules on, {server.resident() >> 20} MiB resident\n")
            sender(server, token, path, 4_000, WARM)  # programs are compiled once
            print(
                "| events/s asked | sent | p50 | p95 | most | alerts of marks | load |\n|---:|---:|---:|---:|---:|---:|---:|"
            )
            for rate in map(int, arguments or RATES):
                sent, took = sender(server, token, path, rate, SECONDS)
                found: dict[str, float] = {}

                def filed(marks: dict[str, float] = found, wanted: int = len(sent), name: str = f"MARK{rate}X") -> bool:
                    for row in server.rows(QUERY.replace("MARK", name[:-1]).replace("[0-9]+X", "X"), client):
                        marks[row[0]] = datetime.fromisoformat(row[1]).timestamp()
                    return len(marks) >= wanted

                with contextlib.suppress(AssertionError):
                    until(filed, 60)
                waits = sorted(found[m] - at for m, at in sent.items() if m in found)
                points = statistics.quantiles(waits, n=20, method="inclusive") if len(waits) > 1 else [0.0] * 19
                print(
                    f"| {rate:,} | {rate * SECONDS / took:,.0f} | {points[9]:.2f} s | {points[18]:.2f} s | {max(waits, default=0):.2f} s "
                    f"| {len(waits)} of {len(sent)} | {os.getloadavg()[0]:.1f} |",
                    flush=True,
                )
            print(f"\n{server.resident() >> 20} MiB resident at the end")
        finally:
            server.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
