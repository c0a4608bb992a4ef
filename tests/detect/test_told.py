"""What a rule has said already, and what its results are about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tocsin.content import load_packs, packs_dir
from tocsin.detect.load import rules_of_content
from tocsin.detect.rule import EntityMapping, Rule, RuleKind
from tocsin.detect.shapes import Shape, shape_of
from tocsin.detect.told import Told

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOST = (EntityMapping("Host", (("FullName", "Host"),)),)


def said(rule: Rule, *runs: list[dict[str, Any]], step: timedelta = timedelta(0)) -> list[list[Any]]:
    """The `N` of the rows that each run over a window finds fresh."""
    told, shape = Told(), shape_of(rule.query)
    return [
        [r["N"] for r in told.fresh(rule, rows, AT + step * n, AT + step * n, shape)] for n, rows in enumerate(runs)
    ]


def rule(query: str) -> Rule:
    return Rule(id="r", name="r", kind=RuleKind.SCHEDULED, query=query, entity_mappings=HOST)


@pytest.mark.parametrize(
    ("query", "keys", "shown", "whole"),
    [
        ("T | summarize count() by A, B", ["A", "B"], ["A", "B"], True),
        ("T | summarize count() by A, B | where count_ > 2 | order by A | take 5", ["A", "B"], ["A", "B"], True),
        ("T | summarize N = count() by A, B | project X = A, N, Y = strcat(A, '/', B)", ["A", "B"], ["X", "Y"], True),
        ("T | summarize N = count() by A, B | project X = tolower(A), N", ["A", "B"], ["X"], False),
        ("T | summarize N = count() by A | project X = strcat(A, N)", ["A"], [], False),
        ("T | summarize N = count() by A | extend A = strcat(A, N)", ["A"], [], False),
        ("T | summarize N = count() by A | extend X = strcat(A, rand())", ["A"], ["A"], True),
        ("T | summarize N = count() by A, B | project-rename X = A | project-away B", ["A", "B"], ["X"], False),
        ("T | summarize N = count() by Aa, Ab, B | project-keep A*", ["Aa", "Ab", "B"], ["Aa", "Ab"], False),
        ("T | summarize N = count() by A | mv-expand N", ["A"], [], False),
        ("T | summarize N = count() by A, bin(TimeGenerated, 1h) | project X = A", ["A"], ["X"], True),
    ],
)
def test_the_columns_that_show_a_group(query: str, keys: list[str], shown: list[str], whole: bool) -> None:
    found = shape_of(query)
    assert (found.groups, list(found.keys), list(found.shown), found.whole) == (True, keys, shown, whole)


@pytest.mark.parametrize("query", ["T | where A == 1", "T | project A", "(", "let x = 1;"])
def test_rows_are_no_groups(query: str) -> None:
    assert shape_of(query) == Shape()


def test_another_group_of_the_same_things_is_said_although_one_is_known() -> None:
    """Its keys go by other names in the result: two alerts of a sensor about one host, of which the second came in a moment later."""
    named = rule(
        "T | summarize N = max(N), Time = min(TimeGenerated) by Kind, Host, Vendor | project Kind, Host, Product = Vendor, N"
    )
    one = {"Kind": "sign-in", "Host": "h", "Product": "p", "N": 1}
    other = {"Kind": "command", "Host": "h", "Product": "p", "N": 2}
    assert said(named, [one], [one, other], [one, other]) == [[1], [2], []]
    assert said(named, [one], [{**one, "N": 3}]) == [[1], []]  # the same group, grown
    assert said(named, [one], [{**one, "N": 3}], step=timedelta(days=2)) == [[1], [3]]


def test_where_a_key_is_lost_the_things_tell_groups_apart_as_well() -> None:
    lost = rule("T | summarize N = max(N), Host = max(Host) by Kind, Vendor | project Kind, Host, N")
    one = {"Kind": "k", "Host": "a", "N": 1}
    assert said(lost, [one], [one, {**one, "Host": "b", "N": 2}], [{**one, "Kind": "l", "N": 3}]) == [[1], [2], [3]]


@pytest.mark.parametrize("first", [0, 1])
def test_each_alert_of_a_sensor_is_said_whichever_comes_first(first: int) -> None:
    rules, _ = rules_of_content(load_packs([packs_dir()]))
    sensor = next(r for r in rules if r.name == "Alert of a sensor")
    names = ["Decoy: sign-in let in", "Decoy: command run"]
    rows = [
        {"TimeGenerated": f"2026-05-01T11:50:0{n}Z", "AlertName": name, "EventSeverity": "High", "Product": "Cowrie",
         "Kind": f"Cowrie/{name}", "Host": "decoy-01", "Source": "10.60.1.33", "Destination": "", "User": "", "N": n}
        for n, name in enumerate(names)
    ]  # fmt: skip
    assert said(sensor, [rows[first]], rows) == [[first], [1 - first]]
    # The border of a window lay between the two: the first is in a window that the other isn't in.
    assert said(sensor, [rows[first]], rows, rows, step=sensor.frequency) == [[first], [1 - first], []]
