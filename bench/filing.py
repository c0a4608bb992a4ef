"""How long an alert of a Sigma rule takes from the hit to being filed: `python -m bench.filing [ALERTS…]`, in a workspace of its own.

Filed means: joined to its incident, durable in state, and its rows handed to intake. Groups of events come at once, each event on a host of
its own, so that every one is an alert; the time counts from when its group was looked at. CPU stands beside, as the machine is shared.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import orjson

from tocsin.detect.alert import Alert
from tocsin.lake.frames import Body
from tocsin.lake.settings import LakeSettings
from tocsin.workspace.settings import DetectSettings, IngestSettings, Settings
from tocsin.workspace.workspace import Workspace

RULE = """\
title: Filed
id: 0a1b2c3d-0000-4000-8000-000000000001
logsource: {product: windows, category: process_creation}
detection: {s: {Image|endswith: '\\evil.exe'}, condition: s}
"""
SIZES = (1, 10, 100, 1_000)
GROUPS = 40
MOST = 4_000


def body(host: int, count: int) -> Body:
    """One request of so many events, each of which is an alert."""
    now = datetime.now(UTC)
    lines = [
        orjson.dumps(
            {
                "Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1, "SourceName": "Microsoft-Windows-Sysmon",
                "Hostname": f"ws{host + n}.corp.com", "TimeCreated": now.isoformat(), "Image": "C:\\evil.exe", "User": f"CORP\\u{(host + n) % 500}",
            }
        )
        for n in range(count)
    ]  # fmt: skip
    return Body("jsonl", b"\n".join(lines), now)


def main() -> int:
    """Prints the table for bench/README.md."""
    sizes = tuple(map(int, sys.argv[1:])) or SIZES
    with tempfile.TemporaryDirectory(prefix="tocsin-filing-") as room:
        rules = Path(room) / "site" / "rules"
        rules.mkdir(parents=True)
        (rules / "filed.yml").write_text(RULE, encoding="utf-8")
        settings = Settings(
            data=Path(room) / "data",
            lake=LakeSettings(background=False),
            ingest=IngestSettings(syslog_udp_port=-1, syslog_tcp_port=-1, relp_port=-1),
            detect=DetectSettings(site=Path(room) / "site"),
        )
        with Workspace.open(settings) as workspace:
            stream, took = workspace.detection.stream, []
            file = stream._file

            def timed(alerts: list[Alert]) -> None:
                began = time.perf_counter()
                file(alerts)
                took.append((len(alerts), time.perf_counter() - began))

            stream._file = timed
            workspace.start()
            print(
                "| alerts together | p50 | p95 | most | alerts filed/s | CPU of all an alert | load |\n|---:|---:|---:|---:|---:|---:|---:|"
            )
            host = 0
            for size in sizes:
                took.clear()
                cpu = time.process_time()
                for _ in range(max(4, min(GROUPS, MOST // size))):
                    had = len(took)
                    workspace.intake.intake.submit([body(host, size)]).result(60)
                    host += size
                    while sum(n for n, _ in took[had:]) < size:
                        time.sleep(0.002)
                cpu = time.process_time() - cpu
                alerts = sum(n for n, _ in took)
                points = statistics.quantiles([t for _, t in took], n=20, method="inclusive")
                print(
                    f"| {size:,} | {points[9] * 1e3:.0f} ms | {points[18] * 1e3:.0f} ms | {max(t for _, t in took) * 1e3:.0f} ms "
                    f"| {alerts / sum(t for _, t in took):,.0f} | {cpu / alerts * 1e3:.2f} ms | {os.getloadavg()[0]:.1f} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
