"""How long from an event's sending to its alert, all SigmaHQ rules on: `python -m bench.live [RATE…]`, through a real `tocsin up` and Splunk HEC.

The server is a process of its own, so is the sender: real Windows events of OTRF's recordings at an even rate, and every half second an event on
a host of its own that several rules name. An alert is there when a query of SecurityAlert over the API finds it; one asks every fifth of a second, so
what is said is too much by that and by the query's own time, never too little. (`ingestion_time()` can't be the measure: it is cut down to whole
half seconds, and to four while intake lags.) The machine is shared by server, sender and whatever else runs, so the load is told beside.
"""

from __future__ import annotations

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
from collections.abc import Callable
from pathlib import Path

import orjson
from bench.ingest import FOLDER, events, hec_bodies
from tests.e2e.server import Server, until

SIGMA = Path("../shared/data/sigma")
RATES = (5_000, 10_000, 20_000)
SECONDS, WARM, WARM_RATE = 15, 10, 4_000
BODY = 250
ASK_SECONDS, LATEST_SECONDS = 0.2, 60.0
QUERY = (
    "SecurityAlert | where Entities contains 'MARK' | extend Mark = extract('MARKX[0-9]+', 0, Entities) | distinct Mark"
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


def sender(
    server: Server, token: str, path: Path, rate: int, seconds: int, found: Callable[[], set[str]]
) -> tuple[dict[str, float], dict[str, float], float]:
    """Runs it; when each mark was sent, when it was found first, and how long it took to send all."""
    port = server.address.rpartition(":")[2].strip("/")
    arguments = ["--as", port, token, str(path), str(rate), str(seconds)]
    process = subprocess.Popen([sys.executable, "-m", "bench.live", *arguments], stdout=subprocess.PIPE, text=True)
    seen: dict[str, float] = {}
    sent: dict[str, float] | None = None
    took, last = 0.0, float("inf")
    while (sent is None or len(seen) < len(sent)) and time.monotonic() < last:
        began = time.monotonic()
        for name in found():
            seen.setdefault(name, time.time())
        if sent is None and process.poll() is not None:
            out, _ = process.communicate()
            assert process.returncode == 0
            sent, took = json.loads(out)
            last = time.monotonic() + LATEST_SECONDS
        time.sleep(max(0.0, began + ASK_SECONDS - time.monotonic()))
    assert sent is not None
    return sent, seen, took


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

            def asked(rate: int) -> Callable[[], set[str]]:
                query = QUERY.replace("MARK", f"MARK{rate}")
                return lambda: {row[0] for row in server.rows(query, client)}

            sender(server, token, path, WARM_RATE, WARM, asked(WARM_RATE))  # programs are compiled once
            print(
                "| events/s asked | sent | p50 | p95 | most | alerts of marks | load |\n|---:|---:|---:|---:|---:|---:|---:|"
            )
            for rate in map(int, arguments or RATES):
                sent, seen, took = sender(server, token, path, rate, SECONDS, asked(rate))
                waits = sorted(seen[m] - at for m, at in sent.items() if m in seen)
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
