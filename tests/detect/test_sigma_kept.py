"""What a live matcher knows outlives it: whenever it is taken away and made anew, the alerts are those of one that was there all the time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tocsin.detect.alert import Alert
from tocsin.detect.rule import Rule
from tocsin.detect.sigma.matcher import SigmaMatcher

from .support import sigma, windows

START = datetime(2024, 5, 1, 10, tzinfo=UTC)
HEAD = "logsource: {product: windows, category: process_creation}"
IDS = [f"0a1b2c3d-0000-4000-8000-00000000000{n}" for n in range(10)]


def rule(n: int, name: str, more: str = "") -> str:
    return f"title: {name}\nid: {IDS[n]}\nname: {name}\n{HEAD}\ndetection: {{s: {{Kind|contains: {name}}}, condition: s}}\n{more}---\n"


def correlation(n: int, kind: str, rules: str, more: str) -> str:
    return f"title: {kind}{n}\nid: {IDS[n]}\nname: c{n}\ncorrelation: {{type: {kind}, rules: {rules}, timespan: 5m, {more}}}\n---\n"


RULES = (
    rule(0, "a")
    + rule(1, "b", "tocsin: {triggerThreshold: 3}\n")
    + rule(2, "c", "tocsin: {suppressionEnabled: true, suppressionDuration: 20m}\n")
    + rule(3, "d", "tocsin: {eventGroupingSettings: {aggregationKind: AlertPerResult}}\n")
    + rule(4, "e", "tocsin: {eventGroupingSettings: {aggregationKind: SingleAlert}}\n")
    + correlation(5, "event_count", "[a]", "group-by: [Computer], condition: {gte: 2}, generate: true")
    + correlation(6, "temporal_ordered", "[a, b]", "group-by: [Computer], generate: true")
    + correlation(7, "value_count", "[a, d]", "condition: {field: User, gte: 3}, generate: true")
    + correlation(8, "event_count", "[c5]", "condition: {gte: 2}, generate: true")
    + correlation(9, "event_count", "[e]", "group-by: [User], condition: {lt: 2}, generate: true")
)


def rules_in_force() -> tuple[Rule, ...]:
    found = sigma(RULES)
    assert found.problems == ()
    return found.rules


def stream(seed: int, count: int = 120) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    at, found = 0.0, []
    for _ in range(count):
        at += chance.choice((1, 10, 20, 120))
        found.append(
            {
                "TimeCreated": (START + timedelta(seconds=at)).isoformat(),
                "Computer": f"ws{chance.randrange(2)}.corp.com",
                "data": {"Kind": chance.choice("abcde"), "User": f"u{chance.randrange(4)}", "N": str(chance.random())},
            }
        )
    return found


def said(events: list[dict[str, Any]], *, ends: int) -> list[dict[str, Any]]:
    """The alerts of a matcher that is made anew after every so many events (0: never)."""
    rules, now = rules_in_force(), [0.0]
    matcher = SigmaMatcher(rules, live=True, clock=lambda: now[0])
    alerts: list[Alert] = []
    for number, event in enumerate(events):
        now[0] = (datetime.fromisoformat(event["TimeCreated"]) - START).total_seconds()
        alerts += matcher.match(windows(event))
        if ends and number % ends == ends - 1:
            today = START + timedelta(seconds=now[0])
            plain = msgspec.msgpack.decode(msgspec.msgpack.encode(matcher.kept(today)))
            # A new process: its own clock, and other numbers of rules.
            rules = tuple(reversed(rules_in_force()))
            matcher = SigmaMatcher(rules, live=True, clock=lambda: now[0] + 1e6)
            matcher.take_back(plain, today)
    now[0] += 10_000
    alerts += matcher.match(windows({"Channel": "System", "EventID": 1}))
    return sorted((a.to_dict() for a in alerts), key=lambda a: (a["time"], a["id"]))


@pytest.mark.parametrize("seed", range(2))
def test_alerts_are_those_of_a_matcher_that_never_ended(seed: int) -> None:
    events = stream(seed)
    whole = said(events, ends=0)
    assert {a["rule"] for a in whole} == {
        "a",
        "b",
        "c",
        "d",
        "e",
        "event_count5",
        "temporal_ordered6",
        "value_count7",
        "event_count8",
        "event_count9",
    }
    for ends in (1, 7):
        assert said(events, ends=ends) == whole


def test_what_was_changed_or_is_gone_is_left_out() -> None:
    events = [{**e, "data": {**e["data"], "Kind": "a", "User": "u"}} for e in stream(1, 2)]
    first = SigmaMatcher(rules_in_force(), live=True)
    for event in events:
        first.match(windows(event))
    kept = first.kept(START)
    assert [len(groups) for _, _, groups in kept["correlations"]].count(0) < len(kept["correlations"])
    other = sigma(RULES.replace("timespan: 5m", "timespan: 6m").replace(IDS[0], IDS[0][:-1] + "f")).rules
    second = SigmaMatcher(other, live=True)
    second.take_back(kept, START)
    again = second.kept(START)
    assert again["bursts"] == []
    assert all(groups == [] for _, _, groups in again["correlations"])


def test_much_is_kept_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    from tocsin.detect.sigma import gather, kept

    monkeypatch.setattr(gather, "MOST_BURSTS", 5)
    monkeypatch.setattr(kept, "MOST_HITS", 4)
    matcher = SigmaMatcher(rules_in_force(), live=True)
    for n in range(20):
        at = (START + timedelta(seconds=n)).isoformat()
        matcher.match(windows({"TimeCreated": at, "Computer": f"ws{n}", "data": {"Kind": "a", "User": f"u{n}"}}))
    plain = matcher.kept(START)
    assert len(plain["bursts"]) == 5
    assert {b[1][-1] for b in plain["bursts"]} <= {f"Host:ws{n}" for n in range(15, 20)}  # the newest
    assert sum(len(hits) for _, _, groups in plain["correlations"] for _, hits in groups) <= 4
