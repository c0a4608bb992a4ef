"""Our own rule kinds: what they compile to is run over rows on the real engine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.content import Document, RuleFile
from tocsin.content.yamltext import parse_yaml
from tocsin.detect.alert import Alert
from tocsin.detect.formats.sentinel import rules_of
from tocsin.detect.rule import Rule
from tocsin.detect.run import run_rule

from .test_on_the_lake import START, House, failure, house  # noqa: F401 - a fixture

HEAD = "id: k\nname: K\nseverity: Medium\nqueryFrequency: 1h\nqueryPeriod: 1h\n"


def loaded(text: str) -> tuple[list[Rule], list[str]]:
    documents: tuple[Document, ...] = tuple(parse_yaml(HEAD + text, "k.yaml"))
    rules, problems = rules_of(RuleFile(Path("k.yaml"), "test", "sentinel", documents, HEAD + text))
    return rules, [str(p) for p in problems]


def said(house: House, text: str, minutes: float = 60) -> list[dict[str, Any]]:  # noqa: F811
    (rule,), problems = loaded(text)
    assert problems == []
    alerts: list[Alert] = run_rule(rule, house.queries, START + timedelta(minutes=minutes))
    return [dict(e.row) for a in alerts for e in a.events]


FAILURES = "query: SecurityEvent | where EventID == 4625\n"


def test_threshold_by_count_and_cardinality(house: House) -> None:  # noqa: F811
    house.write(
        *[failure(i, "ann", IpAddress=f"10.0.0.{i % 3}") for i in range(6)], *[failure(i, "bob") for i in range(4)]
    )
    counted = said(house, "kind: Threshold\nthreshold: {by: [TargetUserName], count: 5}\n" + FAILURES)
    assert [(r["TargetUserName"], r["Count"]) for r in counted] == [("ann", 6)]
    wide = (
        "kind: Threshold\nthreshold: {{by: [TargetUserName], count: 2, distinct: IpAddress, distinctCount: {}}}\n"
        + FAILURES
    )
    assert [(r["TargetUserName"], r["DistinctCount"]) for r in said(house, wide.format(3))] == [("ann", 3)]
    assert said(house, wide.format(4)) == []


def test_new_terms_are_those_that_history_does_not_have(house: House) -> None:  # noqa: F811
    history = [failure(-60 * 24 * d, "ann") for d in range(1, 5)]
    house.write(*history, failure(5, "ANN"), failure(6, "eve"), failure(7, "eve"), failure(8, ""))
    text = "kind: NewTerms\nnewTerms: {columns: [TargetUserName, Computer], history: 7d}\n" + FAILURES
    assert [(r["TargetUserName"], r["Count"]) for r in said(house, text)] == [("eve", 2)]
    short = text.replace("7d", "12h")
    assert {r["TargetUserName"].lower() for r in said(house, short)} == {"ann", "eve"}


SEQUENCE = """kind: Sequence
sequence:
  by: [Computer]
  maxspan: 10m
  steps:
    - SecurityEvent | where EventID == 4625
    - SecurityEvent | where EventID == 4624
    - SecurityEvent | where EventID == 4720
  until: SecurityEvent | where EventID == 4634
"""


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([(0, 4625), (2, 4624), (9, 4720)], 1),
        ([(0, 4625), (0, 4624), (9, 4720)], 0),  # one after the other, not at once
        ([(0, 4625), (2, 4624), (10.1, 4720)], 0),  # too late
        ([(2, 4624), (3, 4625), (9, 4720)], 0),  # in another order
        ([(0, 4625), (2, 4624), (5, 4634), (9, 4720)], 0),  # ended in between
        ([(-5, 4634), (0, 4625), (2, 4624), (9, 4720), (9.5, 4634)], 1),  # ended before and after
        ([(0, 4625), (1, 4625), (2, 4624), (3, 4624), (9, 4720)], 1),  # told once
        ([(0, 4625), (4, 4625), (5, 4624), (12, 4720)], 1),  # from the later first step
        ([(0, 4625), (2, 4624), (3, 4720), (5, 4720)], 1),  # the first completion uses it up
        ([(0, 4625), (2, 4624), (3, 4720), (4, 4625), (5, 4624), (6, 4720)], 2),
    ],
)
def test_sequence(house: House, events: list[tuple[float, int]], found: int) -> None:  # noqa: F811
    house.write(*[failure(m + 1, EventID=e) for m, e in events])
    assert len(said(house, SEQUENCE)) == found


def test_sequence_needs_the_same_keys(house: House) -> None:  # noqa: F811
    house.write(failure(0, EventID=4625), failure(2, EventID=4624, Computer="ws1"), failure(3, EventID=4720))
    assert said(house, SEQUENCE) == []


INDICATORS = """kind: IndicatorMatch
indicatorMatch: {column: IpAddress, type: ipv4-addr, confidence: 50, lookback: 7d}
query: SecurityEvent | where EventID == 4625
"""


def indicator(minutes: float, value: str, **more: Any) -> dict[str, Any]:
    return {
        "TimeGenerated": START + timedelta(minutes=minutes),
        "Id": f"indicator--{value}",
        "ObservableKey": "ipv4-addr:value",
        "ObservableValue": value,
        "Confidence": 80,
        "IsActive": True,
        "IsDeleted": False,
        **more,
    }


def test_indicators_match_events_and_later_ones_match_events_before(house: House) -> None:  # noqa: F811
    day = 24 * 60
    house.write(
        indicator(-2 * day, "203.0.113.1"),
        indicator(-2 * day, "203.0.113.2", Confidence=10),
        indicator(-2 * day, "203.0.113.3"),
        indicator(-1 * day, "203.0.113.3", IsActive=False),
        indicator(20, "203.0.113.4"),
        table="ThreatIntelIndicators",
    )
    house.write(
        *[failure(5 + i, IpAddress=f"203.0.113.{i}") for i in range(1, 4)], failure(-3 * day, IpAddress="203.0.113.4")
    )
    rows = said(house, INDICATORS)
    assert sorted((r["IpAddress"], r["Indicator"]) for r in rows) == [
        ("203.0.113.1", "203.0.113.1"),
        ("203.0.113.4", "203.0.113.4"),
    ]


def test_a_building_block_opens_no_incident(house: House) -> None:  # noqa: F811
    (rule,), _ = loaded("kind: Threshold\nbuildingBlock: true\nthreshold: {count: 1}\n" + FAILURES)
    assert not rule.incident.create
    assert rule.incident.correlate
    assert "building-block" in rule.tags


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Threshold\nquery: T\n", "has a section 'threshold'"),
        ("kind: Threshold\nquery: T\nthreshold: {by: [A]}\n", "a 'count' or a 'distinctCount'"),
        ("kind: Threshold\nthreshold: {count: 1}\n", "has a 'query'"),
        ("kind: NewTerms\nquery: T\nnewTerms: {columns: ['a b'], history: 7d}\n", "a b"),
        ("kind: Sequence\nsequence: {by: [A], maxspan: 1h, steps: [T]}\n", "at least two steps"),
        ("kind: Sequence\nsequence: {by: [A], maxspan: soon, steps: [T, T]}\n", "'soon' isn't a duration"),
        ("kind: IndicatorMatch\nquery: T\nindicatorMatch: {column: A, type: ip}\n", "ip"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    rules, problems = loaded(text)
    assert rules == []
    assert any(message in p for p in problems), problems
