"""Whether 512 scheduled and 50 near-real-time rules keep up on this machine: `python -m bench.schedule [COPIES [MINUTES [WAY…]]]`.

WAY is any of `alone` (each rule asks for itself, instead of looking at tables together), `eager` (rules run between their turns too) and `files`
(rows are rolled to files each five minutes, instead of staying in memory).

An hour of recorded Windows logs (COPIES times, on hosts of their own) comes in minute by minute on a clock of its own; each minute everything
that is due runs, one job after the other, its CPU time measured. From those times a model of the scheduler's workers (two, and one for
near-real-time rules; who is late by most of its frequency first, as the scheduler orders them) gives how late each rule starts. CPU share is
CPU time by the minutes that were played.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from tests.detect.delays import HOUR, LONG, OTRF, Marks, recorded, rules

from tocsin.base.clock import ManualClock
from tocsin.detect.rule import Rule, RuleKind
from tocsin.detect.schedule import Scheduler, ScheduleSettings
from tocsin.lake import Lake, TableBatch
from tocsin.lake.settings import LakeSettings
from tocsin.query import QueryService
from tocsin.tables import INGESTION_TIME, catalogue

SCHEDULED, NRT = 512, 50
MINUTE = timedelta(minutes=1)
_OTHER = re.compile(r"(EventID == |EventID in \()(\d+)")
FREQUENCIES = (5, 5, 5, 10, 15, 60, 60, 60)  # minutes, as public rules have them: many five-minute, many hourly


def made_rules() -> list[Rule]:
    """The delay matrix' thirty rules in variants, as 562 rules of different authors are: every other one looks for events that don't come."""
    base = [r for r in rules() if r.kind is RuleKind.SCHEDULED]
    made = []
    for number in range(SCHEDULED):
        rule = base[number % len(base)]
        step = timedelta(minutes=FREQUENCIES[number % len(FREQUENCIES)])
        variant = number // len(base)
        query = f"{rule.query.rstrip()}\n| extend Variant = {variant}"
        if variant % 2:
            query = _OTHER.sub(lambda m, v=variant: f"{m[1]}{m[2]}{v}", query)
        made.append(
            replace(
                rule, id=f"s{number}", name=f"s{number}", query=query, frequency=step, period=max(step, rule.period)
            )
        )
    for number in range(NRT):
        query = f"SecurityEvent | where EventID == {4600 + number * 3} | project TimeGenerated, Computer, Account"
        made.append(
            Rule(id=f"n{number}", name=f"n{number}", kind=RuleKind.NRT, query=query, frequency=MINUTE, period=MINUTE)
        )
    return made


def main() -> None:
    """Prints the table for bench/README.md."""
    if not OTRF.is_dir():
        print(f"{OTRF}: not here; nothing to measure")
        return
    copies = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with tempfile.TemporaryDirectory() as name:
        _measure(Path(name), copies, int(sys.argv[2]) if len(sys.argv) > 2 else 70, frozenset(sys.argv[3:]))


def _measure(folder: Path, copies: int, minutes: int, ways: frozenset[str]) -> None:
    hour = recorded(LONG, folder)
    clock = ManualClock(HOUR - timedelta(minutes=10))
    lake = Lake.open(folder / "lake", catalog=catalogue(), clock=clock, settings=LakeSettings(background=False))
    queries = QueryService(lake, catalogue=catalogue(), clock=clock)
    scheduler = Scheduler(
        queries,
        Marks(),
        clock=clock,
        arrivals=lambda: {s.table: s.last_received for s in lake.stats() if s.last_received is not None},
        settings=ScheduleSettings(
            eager="eager" in ways,
            lag=timedelta(0),
            share_least=0 if "alone" in ways else ScheduleSettings().share_least,
        ),
    )
    scheduler.set_rules(made_rules())
    began = time.process_time()
    scheduler.tick()
    first = time.process_time() - began
    costs: dict[str, list[float]] = defaultdict(list)
    late: dict[str, list[float]] = defaultdict(list)
    rows = jobs = alerts = 0
    cpu = 0.0
    lanes = {True: [-1e9], False: [-1e9, -1e9]}  # when each worker is free, in seconds of the hour
    for minute in range(-9, minutes):
        end = HOUR + MINUTE * (minute + 1)
        rows += _write(lake, hour.tables, minute, copies)
        if "files" in ways and minute % 5 == 4:
            lake.roll()
        clock.advance(end - clock.now())
        at = (minute + 1) * 60.0
        due = scheduler.due()
        for job in due:
            fast = job.rule.kind is RuleKind.NRT
            began = time.process_time()
            alerts += len(scheduler.execute(job))
            cost = time.process_time() - began
            cpu += cost
            jobs += 1
            worker = min(range(len(lanes[fast])), key=lanes[fast].__getitem__)
            start = max(at, lanes[fast][worker])
            lanes[fast][worker] = start + cost
            costs[job.rule.kind.value].append(cost)
            late[job.rule.id].append(start - at)
    ran = set(late)
    share = cpu / (minutes + 9) / 60 * 100
    print(f"{rows:,} rows in {minutes + 9} minutes, {jobs:,} runs of {len(ran)} rules, {alerts:,} alerts.")
    shared = scheduler.shared.figures
    print(
        f"Together: {shared.looks:,} looks in {shared.seconds:.1f} s, {shared.refused} refused; {shared.spared:,} queries spared, "
        f"{queries.statistics.queries:,} asked."
    )
    print(
        f"CPU: {first:.1f} s for the first run of all {len(scheduler.rules())}, then {cpu:.1f} s: {share:.1f} % of one core\n"
    )
    print("| rules | runs | CPU ms a run: median | p95 | start late by s: median | p95 | most |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for kind, prefix in (("Scheduled", "s"), ("NRT", "n")):
        each = sorted(costs[kind])
        waits = sorted(w for i, ws in late.items() if i.startswith(prefix) for w in ws)
        print(
            f"| {kind} | {len(each):,} | {_at(each, 0.5) * 1000:.1f} | {_at(each, 0.95) * 1000:.1f} | {_at(waits, 0.5):.2f} | "
            f"{_at(waits, 0.95):.2f} | {waits[-1]:.2f} |"
        )
    worst = max(_at(sorted(w), 0.5) for w in late.values())
    hourly = sum(r.frequency > MINUTE * minutes for r in scheduler.rules())
    print(
        f"\nrules without a turn: {len(scheduler.rules()) - len(ran)} ({hourly} run less often); worst rule's median lateness {worst:.2f} s"
    )
    queries.close()
    lake.close()


def _at(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def _write(lake: Lake, tables: dict[str, pa.Table], minute: int, copies: int) -> int:
    begin = (HOUR + MINUTE * minute).replace(tzinfo=None)
    number = 0
    for table, rows in tables.items():
        times = rows.column("TimeGenerated")
        low, high = (pa.scalar(t, pa.timestamp("us")) for t in (begin, begin + MINUTE))
        piece = rows.filter(pc.and_(pc.greater_equal(times, low), pc.less(times, high)))
        if not piece.num_rows:
            continue
        host = next(c for c in ("Computer", "DeviceName") if c in piece.column_names)
        at = piece.column_names.index(host)
        piece = piece.append_column(INGESTION_TIME, piece.column("TimeGenerated"))
        for copy in range(copies):
            named = (
                pc.binary_join_element_wise(piece.column(host), pa.scalar(f"-{copy}"), "")
                if copy
                else piece.column(host)
            )
            lake.write([TableBatch(table, piece.set_column(at, host, named))])
            number += piece.num_rows
    return number


if __name__ == "__main__":
    main()
