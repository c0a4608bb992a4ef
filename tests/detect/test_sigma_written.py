"""Sigma as people write it: liberties that change no meaning, and the aggregations that became correlations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tocsin.content import is_warning
from tocsin.detect.sigma.matcher import SigmaMatcher

from .support import sigma, windows

START = datetime(2025, 2, 3, 8, tzinfo=UTC)
LOOSE = """\
title: Lamp switched
id: lamp-7
status: In Review
references: https://example.org/lamps
falsepositives: The caretaker
author: [Ann, Bob]
date: 3 February 2025
related: {type: obsolete}
tags: [attack.impact, lamps, attack.t1499]
level: High
logsource: {product: windows, service: security}
detection:
  s:
    EventID: 7
    Code|contains: 1833
  condition: s
"""


def event(seconds: float, number: int = 7, **data: Any) -> dict[str, Any]:
    at = (START + timedelta(seconds=seconds)).isoformat()
    return {"Channel": "Security", "EventID": number, "TimeCreated": at, "data": data}


def aggregation(condition: str, timeframe: str = "10s", more: str = "") -> str:
    return (
        f"title: Counted\nid: 1b2c3d4e-0000-4000-8000-000000000001\nlevel: high\ntags: [attack.discovery]\n{more}"
        "logsource: {product: windows, service: security}\n"
        f"detection:\n  s: {{EventID: 7}}\n  t: {{EventID: 8}}\n  timeframe: {timeframe}\n  condition: {condition}\n"
    )


def alerts(text: str, *events: dict[str, Any]) -> list[str]:
    """The names of the rules that alert over these events, by scan."""
    rules = sigma(text)
    assert [str(p) for p in rules.problems if not is_warning(p)] == []
    matcher = SigmaMatcher(rules.rules, burst=timedelta(0))
    found = [*matcher.match(windows(*events)), *matcher.finish()]
    return [a.title for a in found for _ in range(a.count)]


def test_liberties_of_the_head_are_taken_with_a_warning_where_something_is_lost() -> None:
    found = sigma(LOOSE)
    (rule,) = found.rules
    assert (rule.id, rule.severity, rule.tags) == ("lamp-7", "High", ("lamps",))
    assert (rule.tactics, rule.techniques) == (("Impact",), ("T1499",))
    assert all(is_warning(p) for p in found.problems)
    said = "\n".join(str(p) for p in found.problems)
    assert len(found.problems) == 3
    for words in ("rule.yml:2", "lamp-7", "in review", "3 February 2025"):
        assert words in said
    matcher = SigmaMatcher(found.rules)
    assert matcher.hits(windows(event(0, Code="%%1833")))
    assert not matcher.hits(windows(event(0, Code="%%183")))


def test_a_number_in_windows_spelling_matches_that_spelling_and_the_number() -> None:
    text = LOOSE.replace("Code|contains: 1833", "Status: [0x6, 9]")
    found = sigma(text)
    assert any("0x6 is the number 6" in str(p) for p in found.problems)
    matcher = SigmaMatcher(found.rules)
    for status, fires in (("0x6", True), ("6", True), ("9", True), ("0x9", False), ("0x60", False)):
        assert bool(matcher.hits(windows(event(0, Status=status)))) is fires, status
    quoted = sigma(text.replace("[0x6, 9]", "['0x6']"))
    assert not any("0x6" in str(p) for p in quoted.problems)
    assert not SigmaMatcher(quoted.rules).hits(windows(event(0, Status="6")))


@pytest.mark.parametrize(
    ("condition", "events", "fires"),
    [
        ("s | count() by U > 2", [(0, "a"), (4, "a"), (10, "a")], 1),
        ("s | count() by U > 2", [(0, "a"), (4, "a"), (10.5, "a")], 0),
        ("s | count() by U > 2", [(0, "a"), (4, "b"), (8, "a")], 0),
        ("s | count() > 2", [(0, "a"), (4, "b"), (8, "a")], 1),
        ("s|count() >= 2", [(0, "a"), (4, "b")], 1),
        ("s | count(U) > 1", [(0, "a"), (1, "a"), (2, "a")], 0),
        ("s | count(U) > 1", [(0, "a"), (1, "b")], 1),
        ("s | count(U) by Host, EventID > 1", [(0, "a"), (1, "b")], 1),
        ("s | sum(Bytes) by U >= 20", [(0, "a"), (1, "a")], 1),
        ("s | sum(Bytes) by U > 20", [(0, "a"), (1, "a")], 0),
        ("s and not t | COUNT() BY U == 2", [(0, "a"), (4, "a")], 1),
    ],
)
def test_an_aggregation_counts_as_its_correlation_does(condition: str, events: list[Any], fires: int) -> None:
    rows = [event(s, U=user, Bytes=10, Host="h") for s, user in events]
    assert alerts(aggregation(condition), *rows) == ["Counted"] * fires


def test_the_alert_is_the_counting_rule_s_and_the_events_are_silent() -> None:
    rules = sigma(aggregation("s | count() > 1"))
    named = {r.name: r for r in rules.rules}
    counting = named["Counted"]
    assert counting.id == "1b2c3d4e-0000-4000-8000-000000000001"
    assert (counting.severity, counting.tactics) == ("High", ("Discovery",))
    assert named["Events of: Counted"].compiled.silent


def test_near_asks_for_all_of_them_within_the_time() -> None:
    text = aggregation("s | near t", "30s")
    assert alerts(text, event(0, 7), event(20, 8)) == ["Counted"]
    assert alerts(text, event(0, 7), event(40, 8)) == []
    assert alerts(text, event(0, 7), event(20, 7)) == []


def test_each_condition_of_a_list_stands_for_itself() -> None:
    text = aggregation("[s | count() > 1, t]")
    assert alerts(text, event(0, 7), event(1, 7)) == ["Counted"]
    assert alerts(text, event(0, 8)) == ["Counted"]
    assert alerts(text, event(0, 7)) == []


def test_a_rule_that_counts_is_not_kept_as_one_that_stands_alone(tmp_path: Any) -> None:
    from tocsin.detect.formats.sigma import load_folder

    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yml").write_text(aggregation("s | count() > 1"))
    first = load_folder(tmp_path / "rules", cache=tmp_path / "cache")
    again = load_folder(tmp_path / "rules", cache=tmp_path / "cache")
    assert len(first.rules) == 2
    assert [r.id for r in first.rules] == [r.id for r in again.rules]
