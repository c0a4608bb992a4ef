"""Every correlation type of the Sigma specification 2.1, with the edges of its time span, by scan and live."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tocsin.detect.sigma.matcher import SigmaMatcher

from .support import sigma, windows

START = datetime(2024, 5, 1, 10, tzinfo=UTC)
BASE = """\
title: {name}
name: {name}
id: 0a1b2c3d-0000-4000-8000-0000000000{n}
logsource: {{product: windows, service: security}}
detection: {{s: {{EventID: {event}}}, condition: s}}
---
"""
A, B, C = 101, 102, 103
RULES = "".join(BASE.format(name=n, n=20 + e % 100, event=e) for n, e in (("a", A), ("b", B), ("c", C)))


def event(seconds: float, number: int = A, **data: Any) -> dict[str, Any]:
    at = (START + timedelta(seconds=seconds)).isoformat()
    return {"Channel": "Security", "EventID": number, "TimeCreated": at, "data": {"U": "ann", **data}}


def together(body: str, *events: dict[str, Any]) -> int:
    """How many times the correlation fires over these events; a scan and a live stream must agree."""
    text = f"{RULES}title: Together\nid: 0a1b2c3d-0000-4000-8000-000000000099\ncorrelation:\n  timespan: 10s\n{body}"
    rules = sigma(text)
    assert rules.problems == ()
    scanned = SigmaMatcher(rules.rules, burst=timedelta(0))
    assert scanned.match(windows(*events)) == []
    found = sum(a.count for a in scanned.finish())
    now = [0.0]
    live = SigmaMatcher(rules.rules, live=True, burst=timedelta(0), clock=lambda: now[0])
    alerts = [a for e in sorted(events, key=lambda e: e["TimeCreated"]) for a in live.match(windows(e))]
    now[0] = 1_000
    alerts += live.match(windows(event(0, 999)))
    assert sum(a.count for a in alerts) == found
    return found


def times(*seconds: float, number: int = A, **data: Any) -> list[dict[str, Any]]:
    return [event(s, number, **data) for s in seconds]


COUNT = "  type: event_count\n  rules: [a]\n  group-by: [U]\n  condition: "


@pytest.mark.parametrize(
    ("condition", "at", "expected"),
    [
        ("{gte: 3}", (0, 5, 10), 1),  # the span's end belongs to it
        ("{gte: 3}", (0, 5, 10.001), 0),
        ("{gte: 3}", (0, 0, 0), 1),
        ("{gte: 3}", (0, 1, 2, 3, 4, 5), 2),
        ("{gte: 3}", (0, 8, 9, 12), 1),  # any ten seconds, not those since the first
        ("{gt: 3}", (0, 1, 2), 0),
        ("{gt: 3}", (0, 1, 2, 3), 1),
        ("{lt: 3}", (0, 1), 1),
        ("{lt: 3}", (0, 1, 2), 0),
        ("{lt: 3}", (0, 1, 10), 0),
        ("{lt: 3}", (0, 1, 10.5), 2),  # two spans: of two and of one
        ("{lte: 2}", (0, 1), 1),
        ("{eq: 2}", (0, 1), 1),
        ("{eq: 2}", (0, 1, 2), 0),  # two on the way to three aren't two
        ("{neq: 2}", (0, 1, 2), 1),
        ("{neq: 2}", (0, 1), 0),
    ],
)
def test_event_count(condition: str, at: tuple[float, ...], expected: int) -> None:
    assert together(f"{COUNT}{condition}\n", *times(*at)) == expected


def test_groups_are_apart_and_compare_without_case() -> None:
    assert together(f"{COUNT}{{gte: 3}}\n", *times(0, 1), *times(2, U="bob")) == 0
    assert together(f"{COUNT}{{gte: 3}}\n", *times(0, 1), *times(2, U="ANN")) == 1
    assert together("  type: event_count\n  rules: [a]\n  condition: {gte: 3}\n", *times(0, 1), *times(2, U="bob")) == 1
    assert (
        together("  type: event_count\n  rules: [a, b]\n  condition: {gte: 3}\n", *times(0, 1), *times(2, number=B))
        == 1
    )
    assert together("  type: event_count\n  rules: [a]\n  group-by: [U, V]\n  condition: {gte: 2}\n",
                    *times(0, 1, V="x"), *times(2, V="y")) == 1  # fmt: skip
    assert together("  type: event_count\n  rules: [a]\n  group-by: [V]\n  condition: {gte: 2}\n", *times(0, 1)) == 0


@pytest.mark.parametrize(("values", "expected"), [("xyz", 1), ("xxyy", 0), ("xXyz", 1), ("xX", 0)])
def test_value_count(values: str, expected: int) -> None:
    body = "  type: value_count\n  rules: [a]\n  group-by: [U]\n  condition: {field: V, gte: 3}\n"
    assert together(body, *[event(i, V=v) for i, v in enumerate(values)]) == expected
    assert together(body, event(0, V="x"), event(5, V="y"), event(10.5, V="z")) == 0
    assert together(body, event(0, V="x"), event(5, V="y"), event(6)) == 0  # no value is none


def test_value_count_of_several_fields() -> None:
    body = "  type: value_count\n  rules: [a]\n  condition: {field: [V, W], gte: 3}\n"
    assert together(body, event(0, V=1, W=1), event(1, V=1, W=2), event(2, V=2, W=1)) == 1
    assert together(body, event(0, V=1, W=1), event(1, V=1, W=2), event(2, V=1, W=1)) == 0


@pytest.mark.parametrize(
    ("kind", "order", "expected"),
    [
        ("temporal", ((A, 0), (B, 5)), 1), ("temporal", ((B, 0), (A, 5)), 1), ("temporal", ((A, 0), (B, 10)), 1),
        ("temporal", ((A, 0), (B, 10.001)), 0), ("temporal", ((A, 0), (A, 1)), 0), ("temporal_ordered", ((A, 0), (B, 5)), 1),
        ("temporal_ordered", ((B, 0), (A, 5)), 0), ("temporal_ordered", ((B, 0), (A, 1), (B, 2)), 1),
        ("temporal_ordered", ((A, 0), (B, 10.001)), 0), ("temporal_ordered", ((A, 0), (A, 8), (B, 15)), 1),
    ],
)  # fmt: skip
def test_temporal(kind: str, order: tuple[tuple[int, float], ...], expected: int) -> None:
    body = f"  type: {kind}\n  rules: [a, b]\n  group-by: [U]\n"
    assert together(body, *[event(at, number) for number, at in order]) == expected


def test_temporal_of_three_and_of_some() -> None:
    body = "  type: temporal\n  rules: [a, b, c]\n"
    assert together(body, event(0, A), event(1, B)) == 0
    assert together(body, event(0, A), event(1, C), event(2, B)) == 1
    ordered = "  type: temporal_ordered\n  rules: [a, b, c]\n"
    assert together(ordered, event(0, A), event(1, C), event(2, B)) == 0
    assert together(ordered, event(0, A), event(1, B), event(2, C)) == 1
    assert together(f"{body}  condition: {{gte: 2}}\n", event(0, A), event(1, C)) == 1


@pytest.mark.parametrize(
    ("condition", "numbers", "expected"),
    [
        ("a and b", (A, B), 1), ("a and b", (A, A), 0), ("a or b", (B,), 1), ("(a or b) and c", (B, C), 1), ("(a or b) and c", (A, B), 0),
        ("a and not b", (A,), 1), ("a and not b", (A, B), 0), ("a and not b", (B,), 0), ("a and not (b or c)", (A, C), 0),
    ],
)  # fmt: skip
def test_extended_conditions(condition: str, numbers: tuple[int, ...], expected: int) -> None:
    named = ", ".join(n for n in "abc" if n in condition.replace("and", ""))
    body = f"  type: temporal\n  rules: [{named}]\n  group-by: [U]\n  condition: {condition}\n"
    assert together(body, *[event(i, n) for i, n in enumerate(numbers)]) == expected


@pytest.mark.parametrize(
    ("kind", "condition", "values", "expected"),
    [
        ("value_sum", "gte: 100", (60, 40), 1), ("value_sum", "gt: 100", (60, 40), 0), ("value_sum", "gte: 1.5", ("0.75", "0.75"), 1),
        ("value_sum", "lt: 100", (60, 30), 1), ("value_avg", "gt: 10", (11, 12), 1), ("value_avg", "gt: 10", (30, 0, 0), 0),
        ("value_avg", "lt: 10", (9, 9.5), 1), ("value_median", "gte: 5", (1, 5, 9), 1), ("value_median", "gte: 5", (1, 4.5, 100), 0),
        ("value_median", "eq: 3", (2, 4), 1), ("value_percentile", "gte: 9, percentile: 90", tuple(range(11)), 1),
        ("value_percentile", "gt: 9, percentile: 90", tuple(range(11)), 0), ("value_percentile", "gte: 10, percentile: 100", tuple(range(11)), 1),
        ("value_sum", "gte: 1", ("x", "y"), 0), ("value_sum", "gte: 5", ("x", 5), 1),
    ],
)  # fmt: skip
def test_statistics(kind: str, condition: str, values: tuple[Any, ...], expected: int) -> None:
    body = f"  type: {kind}\n  rules: [a]\n  group-by: [U]\n  condition: {{field: V, {condition}}}\n"
    events = [event(i * 0.9, V=str(v)) for i, v in enumerate(values)]
    # A later hit of another group ends the span where the condition waits for its end.
    assert together(body, *events, event(100, U="later")) == expected


def test_aliases() -> None:
    body = "  type: temporal\n  rules: [a, b]\n  group-by: [who]\n  aliases:\n    who: {a: U, b: Other}\n"
    assert together(body, event(0, A), {**event(1, B), "data": {"Other": "Ann"}}) == 1
    assert together(body, event(0, A), {**event(1, B), "data": {"Other": "bob"}}) == 0
    assert together(body, event(0, A), event(1, B)) == 0


def test_a_chain_of_three() -> None:
    text = (
        RULES
        + "title: One\nname: one\nid: 0a1b2c3d-0000-4000-8000-000000000031\ncorrelation: {type: event_count, rules: [a], group-by: [U], "
        "timespan: 10s, condition: {gte: 2}}\n---\n"
        "title: Two\nname: two\nid: 0a1b2c3d-0000-4000-8000-000000000032\ncorrelation: {type: temporal_ordered, rules: [one, b], group-by: "
        "[U], timespan: 10s}\n---\n"
        "title: Three\nid: 0a1b2c3d-0000-4000-8000-000000000033\ncorrelation: {type: value_count, rules: [two], timespan: 1m, condition: "
        "{field: U, gte: 2}}\n"
    )
    rules = sigma(text)
    assert rules.problems == ()
    matcher = SigmaMatcher(rules.rules)
    events = [e for u in ("ann", "bob") for e in (event(0, A, U=u), event(1, A, U=u), event(2, B, U=u))]
    matcher.match(windows(*events))
    assert [(a.rule, len(a.events)) for a in matcher.finish()] == [("Three", 6)]


def test_circles_are_named_and_the_others_run() -> None:
    text = RULES + "---\n".join(
        f"title: {n}\nname: {n}\nid: 0a1b2c3d-0000-4000-8000-00000000004{i}\ncorrelation: {{type: temporal, rules: [{r}], timespan: 10s}}\n"
        for i, (n, r) in enumerate((("x", "a, y"), ("y", "x"), ("self", "self"), ("fine", "a, b")))
    )
    found = sigma(text)
    assert {r.name for r in found.rules} == {"a", "b", "c", "fine"}
    assert sorted(p.code for p in found.problems) == ["DET0010"] * 3
    assert "x → y → x" in "".join(str(p) for p in found.problems)


def test_a_span_that_waits_ends_live_without_further_hits() -> None:
    text = f"{RULES}title: Together\nid: 0a1b2c3d-0000-4000-8000-000000000099\ncorrelation:\n  timespan: 10s\n{COUNT}{{lt: 3}}\n"
    now = [0.0]
    live = SigmaMatcher(sigma(text).rules, live=True, clock=lambda: now[0])
    assert live.match(windows(event(0))) == []
    now[0] = 300  # the span is over, but events may be five minutes late
    assert live.match(windows(event(0, number=999))) == []
    now[0] = 311
    assert [a.title for a in live.match(windows(event(0, number=999)))] == ["Together"]
    assert live.match(windows(event(30, number=999))) == []
