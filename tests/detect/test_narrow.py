"""What must be there for a query to find anything, and that a back-run which asks for it first finds the same alerts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.detect.test_on_the_lake import House, failure, rule
from tocsin.detect import backfill
from tocsin.detect.backfill import run_over
from tocsin.detect.narrow import necessary


def texts(query: str) -> list[list[str]]:
    """Of each condition the strictest query of each of its alternatives."""
    return [[choice.texts[0] for choice in alternatives] for alternatives in necessary(query)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("T | where A | extend b = 1 | where b == 1 | summarize count() by x | where count_ > 3", [["T | where A | extend b = 1 | where b == 1"]]),
        ("T | where A | join (U | where B) on x", [["T | where A"], ["U | where B"]]),
        ("T | where A | join kind=leftouter (U | where B) on x", [["T | where A"]]),
        ("T | join kind=leftanti (U | where B) on x | where C", [["T"]]),
        ("union (T | where A), U | summarize count() by x", [["T | where A", "U"]]),
        ("let X = T | where A; X | where B | project c", [["let X = T | where A; X | where B"]]),
        ("let X = T | where A | summarize n = count() by x; X | where n > 3", [["let X = T | where A | summarize n = count() by x; T | where A"]]),
        # The filter behind a new TimeGenerated isn't one of the stored row's time.
        ("T | where A | extend TimeGenerated = Other | where B | count | where Count > 1", []),
        ("T | where A | extend TimeGenerated = Other | where B | distinct x", [["T | where A"]]),
        # These make rows out of none.
        ("T | where A | summarize count()", []),
        ("T | where A | count", []),
        ("T | where A | union (U)", []),
        ("T | where A | join kind=fullouter (U) on x", []),
        ("T | where A | join kind=rightouter (U) on x", []),
        ("print 1", []),
        ("T | where (", []),
    ],
)  # fmt: skip
def test_conditions(query: str, expected: list[list[str]]) -> None:
    assert texts(query) == expected


def test_what_speaks_of_the_clock_or_of_other_rows_may_be_left_out() -> None:
    (((choice),),) = necessary(
        "let back = ago(1d); T | where TimeGenerated > back and A and B in (U | project b) | summarize count() by x"
    )
    assert choice.table == "T"
    assert choice.texts[1] == "let back = ago(1d); T | where true and A and true"


MANY = """
SecurityEvent
| where EventID == 4625
| summarize Failures = count(), StartTime = min(TimeGenerated), EndTime = max(TimeGenerated) by TargetUserName, Computer
| where Failures >= 3
"""
PAIR = """
SecurityEvent
| where EventID == 4625
| join kind=inner (SecurityEvent | where EventID == 4624 | project TargetUserName, In = TimeGenerated) on TargetUserName
| where In > TimeGenerated
| summarize TimeGenerated = min(TimeGenerated), Last = max(In) by TargetUserName, Computer
"""


def test_the_same_alerts_with_far_fewer_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "lake")
    noise = [failure(i * 7, f"u{i}", EventID=4688) for i in range(1500)]
    bursts = [failure(base + i, f"x{base}") for base in (100, 5000, 5030) for i in range(5)]
    house.write(*noise, *bursts, failure(5040, "x5030", EventID=4624), failure(9000, "late"))
    try:
        last = house.clock.now() + timedelta(minutes=11_000)
        rules = [rule(MANY, id="many"), rule(PAIR, id="pair")]
        ran = house.queries.statistics.queries
        narrowed = run_over(rules, house.queries, house.clock.now(), last)
        few = house.queries.statistics.queries - ran
        monkeypatch.setattr(backfill, "necessary", lambda _: [])
        ran = house.queries.statistics.queries
        whole = run_over(rules, house.queries, house.clock.now(), last)
        assert [(a.id, a.time, a.end, a.count) for a in narrowed] == [(a.id, a.time, a.end, a.count) for a in whole]
        assert len(narrowed) >= 4
        assert few * 5 < house.queries.statistics.queries - ran
    finally:
        house.close()


def test_events_of_the_first_and_the_last_year_there_are(tmp_path: Path) -> None:
    house = House(tmp_path / "lake")
    moments = [datetime.min, datetime(1601, 1, 1), datetime(2024, 5, 1, 10), datetime.max]  # noqa: DTZ001, DTZ901
    house.write(*[failure(0, f"{m.year}", TimeGenerated=m.replace(tzinfo=UTC)) for m in moments for _ in range(3)])
    try:
        first, last = (m.replace(tzinfo=UTC) for m in (moments[0], moments[-1]))
        for text in ("SecurityEvent | where EventID == 4625 | project TimeGenerated, TargetUserName, Computer", MANY):
            alerts = run_over([rule(text)], house.queries, first, last)
            assert [a.time for a in alerts] == [m.replace(tzinfo=UTC) for m in moments]
    finally:
        house.close()
