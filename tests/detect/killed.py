"""The child process of `test_kill`: minutes of rows, rules over them on a clock that jumps from turn to turn, until killed or done.

Alerts and marks are durable as in the server: one transaction of the state, through the incident desk. A second thread writes rows and asks queries
all the while, so that a kill falls into busy moments. The clock's time is saved after each turn; a child that follows begins there.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from tocsin.base.clock import ManualClock
from tocsin.detect.alert import Alert
from tocsin.detect.rule import Operator, Rule, RuleKind
from tocsin.detect.schedule import Scheduler, ScheduleSettings
from tocsin.incidents.desk import IncidentDesk
from tocsin.lake import Lake, TableBatch
from tocsin.lake.settings import LakeSettings
from tocsin.query import QueryService
from tocsin.state import State
from tocsin.state.rules import LedgerRow
from tocsin.tables import INGESTION_TIME, catalogue

START = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)
_NOW = "tests.killed.now"

BASE = "SecurityEvent | where EventID == 4625 "
COUNT = "| summarize N = count(), First = min(TimeGenerated), Last = max(TimeGenerated) by TargetUserName"
ROWS = "| project TimeGenerated, Computer, TargetUserName"


def rules() -> list[Rule]:
    """A rule of each way to lie windows: following, event time (tumbling and overlapping), absence, threshold, suppression, near-real-time."""
    base: dict[str, Any] = {"kind": RuleKind.SCHEDULED, "frequency": STEP, "period": STEP}
    hour, ten = timedelta(hours=1), timedelta(minutes=10)
    given: list[tuple[str, str, dict[str, Any]]] = [
        ("filter", BASE + ROWS, {}),
        ("each", BASE + "| where TargetUserName endswith '3' " + ROWS, {"per_result": True}),
        ("recent", BASE + "| where TimeGenerated > ago(1h) " + ROWS, {"period": hour}),
        ("count", BASE + COUNT + " | where N > 2", {"frequency": ten, "period": ten}),
        ("overlap", BASE + COUNT + " | where N > 3", {"frequency": ten, "period": hour}),
        ("threshold", BASE + ROWS, {"threshold": 6}),
        ("quiet", "SecurityEvent | where EventID == 1102", {"operator": Operator.LESS, "threshold": 1, "frequency": hour, "period": hour}),
        ("suppressed", BASE + ROWS, {"suppression": timedelta(minutes=45)}),
        ("nrt", BASE + ROWS, {"kind": RuleKind.NRT, "frequency": timedelta(minutes=1), "period": timedelta(minutes=1)}),
    ]  # fmt: skip
    return [Rule(id=n, name=n, query=q, **{**base, **more}) for n, q, more in given]


def fill(folder: Path, minutes: int, seed: int) -> None:
    """Writes the rows: bursts of failures, some of them late by up to half an hour."""
    chance = random.Random(seed)
    times, received, users = [], [], []
    for minute in range(minutes):
        for _ in range(chance.choice([0, 0, 1, 2, 9])):
            at = START + timedelta(
                minutes=minute, seconds=chance.randrange(60), microseconds=chance.randrange(1_000_000)
            )
            times.append(at.replace(tzinfo=None))
            received.append((at + timedelta(seconds=chance.choice([0, 1, 30, 600, 1000]))).replace(tzinfo=None))
            users.append(f"user{chance.randrange(5)}")
    with Lake.open(folder / "lake", catalog=catalogue(), settings=LakeSettings(background=False)) as lake:
        lake.write([TableBatch("SecurityEvent", _rows(times, received, users))])
        lake.flush()


def _rows(times: Sequence[datetime], received: Sequence[datetime], users: Sequence[str]) -> pa.Table:
    return pa.table(
        {
            "TimeGenerated": pa.array(times, pa.timestamp("us")),
            INGESTION_TIME: pa.array(received, pa.timestamp("us")),
            "EventID": pa.array([4625] * len(times), pa.int32()),
            "Computer": ["dc1.contoso.com"] * len(times),
            "TargetUserName": list(users),
        }
    )


class Ledger:
    """As `tocsin.workspace.detection.Detection` keeps it."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.desk = IncidentDesk(state)

    def get(self, rule_id: str) -> LedgerRow:
        with self.state.read() as unit:
            return unit.rules.get(rule_id)

    def put(self, row: LedgerRow, alerts: Sequence[Alert]) -> None:
        if alerts:
            self.desk.add(alerts, within=lambda unit: unit.rules.put(row))
            return
        with self.state.write() as unit:
            unit.rules.put(row)


def main(folder: str, minutes: int, eager: bool) -> None:
    """Turns until the rows' end and twenty minutes more, so that what is late has come."""
    path = Path(folder)
    clock = ManualClock(START)
    state = State.open(path / "state.db", clock=clock)
    with state.read() as unit:
        at = unit.kv.get(_NOW)
    if at:
        clock.set(datetime.fromisoformat(at))
    lake = Lake.open(path / "lake", catalog=catalogue(), clock=clock, settings=LakeSettings(background=False))
    queries = QueryService(lake, catalogue=catalogue(), clock=clock)
    done = threading.Event()

    def load() -> None:
        number = 0
        while not done.is_set():
            number += 1
            noise = pa.table(
                {
                    "TimeGenerated": pa.array([START.replace(tzinfo=None)] * 200, pa.timestamp("us")),
                    "N": [str(number)] * 200,
                }
            )
            lake.write([TableBatch("Noise_CL", noise.append_column(INGESTION_TIME, noise.column(0)))])
            queries.run("Noise_CL | summarize count() by N")
            done.wait(0.05)

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    scheduler = Scheduler(
        queries,
        Ledger(state),
        clock=clock,
        arrivals=lambda: {s.table: s.last_received for s in lake.stats() if s.last_received is not None},
        settings=ScheduleSettings(eager=eager, lag=timedelta(0)),
    )
    scheduler.set_rules(rules())
    end = START + timedelta(minutes=minutes) + timedelta(minutes=20)
    with ThreadPoolExecutor(2) as pool:
        while clock.now() < end:
            list(pool.map(scheduler.execute, scheduler.due()))
            with state.write() as unit:
                unit.kv.set(_NOW, (clock.now() + STEP).isoformat())
            clock.advance(STEP)
    done.set()
    thread.join()
    queries.close()
    lake.close()
    state.close()
