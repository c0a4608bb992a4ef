"""Rules on the real compiler, engine and lake: a window, a back-run, and the live scheduler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tocsin.base.clock import ManualClock
from tocsin.base.errors import DetectError
from tocsin.content import load_packs, packs_dir
from tocsin.detect.alert import Alert
from tocsin.detect.backfill import run_over
from tocsin.detect.load import rules_of_content
from tocsin.detect.rule import EntityMapping, Rule, RuleKind
from tocsin.detect.run import run_rule
from tocsin.detect.schedule import Scheduler, ScheduleSettings
from tocsin.lake import Lake, TableBatch
from tocsin.lake.settings import LakeSettings
from tocsin.query import QueryService
from tocsin.state.rules import LedgerRow
from tocsin.tables import catalogue

START = datetime(2024, 5, 1, 10, tzinfo=UTC)


class House:
    """A lake with a query service on a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(START)
        self.lake = Lake.open(folder, catalog=catalogue(), clock=self.clock, settings=LakeSettings(background=False))
        self.queries = QueryService(self.lake, catalogue=catalogue(), clock=self.clock)

    def write(self, *rows: dict[str, Any], table: str = "SecurityEvent") -> None:
        names = list(dict.fromkeys(n for r in rows for n in r))
        columns: dict[str, Any] = {n: [r.get(n) for r in rows] for n in names}
        for name in ("TimeGenerated", "_TimeReceived"):
            times = [r.get(name, r["TimeGenerated"]).replace(tzinfo=None) for r in rows]
            columns[name] = pa.array(times, pa.timestamp("us"))
        self.lake.write([TableBatch(table, pa.table(columns))])

    def close(self) -> None:
        self.queries.close()
        self.lake.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "lake")
    yield made
    made.close()


def failure(minutes: float, user: str = "ann", **more: Any) -> dict[str, Any]:
    at = START + timedelta(minutes=minutes)
    return {
        "TimeGenerated": at,
        "EventID": 4625,
        "TargetUserName": user,
        "TargetDomainName": "CORP",
        "Computer": "dc1.corp.com",
        **more,
    }


COUNT = """
SecurityEvent
| where TimeGenerated > ago(1h)
| where EventID == 4625
| summarize Failures = count(), StartTime = min(TimeGenerated), EndTime = max(TimeGenerated) by TargetUserName, Computer
| where Failures >= 3
"""


def rule(query: str = COUNT, **more: Any) -> Rule:
    base: dict[str, Any] = {
        "id": "r",
        "name": "R",
        "kind": RuleKind.SCHEDULED,
        "query": query,
        "frequency": timedelta(minutes=10),
    }
    return Rule(**{**base, "period": timedelta(hours=1), **more})


def test_one_window(house: House) -> None:
    house.write(*[failure(i) for i in range(4)], failure(-90))
    mapped = rule(
        entity_mappings=(
            EntityMapping("Account", (("Name", "TargetUserName"),)),
            EntityMapping("Host", (("FullName", "Computer"),)),
        )
    )
    (alert,) = run_rule(mapped, house.queries, START + timedelta(minutes=30))
    assert (alert.time, alert.end) == (START, START + timedelta(minutes=3))
    assert {e.label for e in alert.entities} == {"ann", "dc1.corp.com"}
    assert alert.events[0].row["Failures"] == 4
    assert alert.events[0].table == "SecurityEvent"
    assert run_rule(mapped, house.queries, START + timedelta(hours=3)) == []


def test_a_back_run_over_years(house: House) -> None:
    house.write(
        *[failure(i) for i in range(4)], *[failure(600_000 + i, "bob") for i in range(5)], failure(3_000, "eve")
    )
    plain = "SecurityEvent | where EventID == 4625 | project TimeGenerated, TargetUserName, TargetDomainName, Computer"
    first, last = START, START + timedelta(minutes=600_004)
    counted = run_over([rule()], house.queries, first, last)
    assert [(a.events[0].row["TargetUserName"], a.time) for a in counted] == [
        ("ann", START),
        ("bob", START + timedelta(minutes=600_000)),
    ]
    listed = run_over([rule(plain)], house.queries, first, last)
    assert [(a.count, next(e.label for e in a.entities if e.type == "Account")) for a in listed] == [
        (4, "CORP\\ann"),
        (1, "CORP\\eve"),
        (5, "CORP\\bob"),
    ]


def test_a_filter_on_recent_time_alone_is_still_row_wise(house: House) -> None:
    house.write(*[failure(i * 50) for i in range(40)])
    recent = "SecurityEvent\n| where TimeGenerated >= ago(1h) and EventID == 4625\n| project TimeGenerated, Computer, TargetUserName"
    ran = house.queries.statistics.queries
    alerts = run_over([rule(recent)], house.queries, START, START + timedelta(minutes=40 * 50))
    assert sum(a.count for a in alerts) == 40
    assert house.queries.statistics.queries - ran <= 3


def test_a_broken_query_names_its_file_and_line(house: House) -> None:
    house.write(failure(0))
    text = "id: r\nname: R\nquery: |\n  SecurityEvent\n  | where EventNo == 4625\n"
    errors: list[DetectError] = []
    broken = rule("SecurityEvent\n| where EventNo == 4625\n", text=text, path=Path("R.yaml"))
    assert run_over([broken, rule()], house.queries, START, START, errors=errors) == []
    assert [(e.code, str(e.place)) for e in errors] == [("DET0003", "R.yaml:5:11")]


class Ledger(dict[str, LedgerRow]):
    """Marks and alerts in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.alerts: list[Alert] = []

    def get(self, rule_id: str, default: Any = None) -> LedgerRow:  # type: ignore[override]
        return super().get(rule_id) or LedgerRow(rule_id)

    def put(self, row: LedgerRow, alerts: Sequence[Alert]) -> None:
        self[row.rule_id] = row
        self.alerts.extend(alerts)


def scheduler(house: House, rules: Sequence[Rule], **settings: Any) -> tuple[Scheduler, Ledger]:
    """A live scheduler of these rules, and its ledger."""
    ledger = Ledger()
    made = Scheduler(
        house.queries,
        ledger,
        clock=house.clock,
        arrivals=lambda: {s.table: s.last_received for s in house.lake.stats() if s.last_received is not None},
        settings=ScheduleSettings(lag=timedelta(0), **settings),
    )
    made.set_rules(rules)
    return made, ledger


def test_live(house: House) -> None:
    plain = "SecurityEvent | where EventID == 4625 | project TimeGenerated, TargetUserName, TargetDomainName, Computer"
    made, _ = scheduler(house, [rule(), rule(plain, id="plain", name="plain")])
    assert made.tick() == []

    def arrive(*minutes_late: float) -> list[str]:
        now = house.clock.now()
        house.write(*[failure(0, TimeGenerated=now - timedelta(minutes=m), _TimeReceived=now) for m in minutes_late])
        house.clock.advance(timedelta(seconds=30))
        return sorted(a.rule for a in made.tick())

    assert arrive(0) == ["plain"]
    assert arrive(0) == []
    assert arrive(300) == []  # late by five hours: its turn tells it
    assert arrive(0) == ["R"]
    house.clock.advance(timedelta(minutes=10))
    (rest,) = made.tick()
    assert (rest.rule, rest.count) == ("plain", 3)
    house.clock.advance(timedelta(minutes=10))
    assert made.tick() == []


@pytest.fixture(scope="module")
def other_products() -> list[Rule]:
    rules, problems = rules_of_content(load_packs([packs_dir()], only=("rules",)))
    assert not problems
    return [r for r in rules if r.path is not None and r.path.stem in ("AlertOfDefender", "AlertOfAnotherProduct")]


@pytest.mark.parametrize(
    "order",
    [
        ("AlertInfo", "AlertEvidence", "SecurityAlert"),
        ("AlertInfo", "SecurityAlert", "AlertEvidence"),
        ("SecurityAlert", "AlertInfo", "AlertEvidence"),
    ],
)
def test_an_alert_that_comes_in_two_ways_is_told_once(
    house: House, other_products: list[Rule], order: tuple[str, ...]
) -> None:
    """In Defender's own tables and in SecurityAlert, whichever comes first."""
    rows: dict[str, dict[str, Any]] = {
        "AlertInfo": {"AlertId": "da1", "Title": "Odd rule", "Severity": "Medium", "Category": "Persistence"},
        "AlertEvidence": {"AlertId": "da1", "EntityType": "User", "AccountUpn": "ann@contoso.com"},
        "SecurityAlert": {
            "VendorOriginalId": "da1", "SystemAlertId": "s9", "AlertName": "Odd rule", "DisplayName": "Odd rule", "VendorName": "Microsoft",
            "AlertSeverity": "Medium", "Status": "New", "Entities": '[{"Type": "account", "Name": "ann@contoso.com"}]',
        },
    }  # fmt: skip
    made, ledger = scheduler(house, other_products)
    made.tick()
    for table in order:
        now = house.clock.now()
        house.write({**rows[table], "TimeGenerated": START, "_TimeReceived": now}, table=table)
        house.clock.advance(timedelta(minutes=12))
        made.tick()
    house.clock.advance(timedelta(hours=2))
    made.tick()
    told = [a.rule for a in ledger.alerts]
    whole = max(order.index("AlertInfo"), order.index("AlertEvidence"))
    expected = "Alert of Defender XDR" if whole < order.index("SecurityAlert") else "Alert of another product"
    assert told == [expected]
