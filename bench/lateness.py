"""How late rules start in a workspace that runs: `python -m bench.lateness [MINUTES [EVENTS]]`, by default an hour at 200 events a second.

512 scheduled and 50 near-real-time rules (those of `bench.schedule`) in a real workspace on the real clock: intake, lake, scheduler with its
workers and eager runs, incidents, write-back. Recorded Windows events come in evenly, dated now. How late a run began is what the scheduler
itself tells (`LateSeconds` of its SentinelHealth row): the time between the rule's turn and the start of its run. A rule starved if it ran
less often than its frequency allows for.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import structlog
from bench.ingest import events
from bench.schedule import made_rules

from tocsin.detect.rule import RuleKind
from tocsin.lake import Body
from tocsin.workspace.settings import IngestSettings, Settings
from tocsin.workspace.workspace import Workspace

_TIMES = ("TimeCreated", "EventTime", "@timestamp", "UtcTime")


def main() -> int:
    """Prints the table for bench/README.md."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    rate = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    lines = [orjson.loads(line) for line in events(20_000)]
    rules = made_rules()
    told: list[Mapping[str, Any]] = []
    # No port is opened: another Tocsin on the machine may have them.
    ingest = IngestSettings(syslog_udp_port=-1, syslog_tcp_port=-1, relp_port=-1)
    with (
        tempfile.TemporaryDirectory() as name,
        Workspace.open(Settings(data=Path(name) / "data", ingest=ingest)) as house,
    ):
        scheduler = house.detection.scheduler
        said = scheduler.health
        house.start()
        scheduler.set_rules(rules)
        cpu, began = time.process_time(), time.monotonic()
        scheduler.health = lambda row: (told.append({**row, "At": time.monotonic() - began}), said(row))[1]
        sent = _send(house, lines, rate, minutes * 60)
        took, cpu = time.monotonic() - began, time.process_time() - cpu
        figures = scheduler.shared.figures
    runs = [r for r in told if not r["ExtendedProperties"]["Eager"] and r["Status"] == "Success"]
    print(
        f"{sent:,} events in {took / 60:.1f} minutes, {len(runs):,} runs at their turns and {len(told) - len(runs):,} others; "
        f"{cpu / took * 100:.0f} % "
        f"of a core for everything, load {os.getloadavg()[0]:.1f}. Together: {figures.looks:,} looks, {figures.spared:,} queries spared.\n"
    )
    print(
        "| rules | runs | late by s: p50 | p95 | p99 | most | rules that ran too seldom |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for kind in (RuleKind.SCHEDULED, RuleKind.NRT):
        own = {r.id: r for r in rules if r.kind is kind}
        times: dict[str, list[float]] = defaultdict(list)
        for row in runs:
            if row["SentinelResourceId"] in own:
                times[row["SentinelResourceId"]].append(float(row["ExtendedProperties"]["LateSeconds"]))
        late = sorted(x for each in times.values() for x in each)
        points = statistics.quantiles(late, n=100, method="inclusive") if len(late) > 1 else [0.0] * 99
        # Turns lie on a grid, so a stretch of time holds one less than it is long, and what came for it may have been nothing.
        seldom = sum(1 for i, r in own.items() if len(times[i]) < max(0, timedelta(seconds=took) // r.frequency - 1))
        print(
            f"| {kind.value} | {len(late):,} | {points[49]:.2f} | {points[94]:.2f} | {points[98]:.2f} "
            f"| {max(late, default=0):.2f} | {seldom} of {len(own)} |"
        )
    _print_stretches(runs, took, {r.id for r in rules if r.kind is RuleKind.NRT})
    return 0


def _print_stretches(runs: Sequence[Mapping[str, Any]], took: float, nrt: set[str]) -> None:
    """Whether lateness grows while the workspace runs: its median and 95th percentile by sixths of the time."""
    print("\n| sixth of the time | Scheduled: p50, p95 | NRT: p50, p95 |\n|---:|---:|---:|")
    for sixth in range(6):
        cells = []
        for wanted in (False, True):
            late = sorted(
                float(r["ExtendedProperties"]["LateSeconds"])
                for r in runs
                if (r["SentinelResourceId"] in nrt) is wanted and sixth * took / 6 <= r["At"] < (sixth + 1) * took / 6
            )
            points = statistics.quantiles(late, n=100, method="inclusive") if len(late) > 1 else [0.0] * 99
            cells.append(f"{points[49]:.2f}, {points[94]:.2f}")
        print(f"| {sixth + 1} | {cells[0]} | {cells[1]} |")


def _send(house: Workspace, lines: list[dict[str, Any]], rate: int, seconds: float) -> int:
    """Hands events to intake, a quarter of a second's worth at a time."""
    size, sent, number = max(1, rate // 4), 0, 0
    began = time.monotonic()
    stop = threading.Event()
    while (passed := time.monotonic() - began) < seconds:
        if sent >= passed * rate:
            stop.wait(0.05)
            continue
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        chosen = [lines[(number + i) % len(lines)] for i in range(size)]
        number += size
        data = b"\n".join(orjson.dumps({**e, **{t: now for t in _TIMES if t in e}}) for e in chosen)
        house.intake.intake.submit([Body("jsonl", data, datetime.now(UTC), {})]).result(60)
        sent += size
    return sent


if __name__ == "__main__":
    raise SystemExit(main())
