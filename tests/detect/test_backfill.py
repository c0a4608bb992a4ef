"""Rules over stored rows on the data's own time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tocsin.base.errors import DetectError
from tocsin.detect.backfill import BackfillSettings, run_over
from tocsin.detect.rule import Operator, Rule, RuleKind
from tocsin.detect.run import run_rule

from .fakes import FakeQueries, Rows

START = datetime(2020, 9, 4, 23, 50, tzinfo=UTC)


def at(minutes: float) -> str:
    return (START + timedelta(minutes=minutes)).isoformat()


def event(minutes: float, host: str = "ws1", **more: Any) -> dict[str, Any]:
    return {"TimeGenerated": at(minutes), "DeviceName": host, "N": int(minutes * 60), **more}


def rule(query: str = "all", **more: Any) -> Rule:
    return Rule(**{"id": query, "name": query, "kind": RuleKind.SCHEDULED, "query": query, **more})


def everything(tables: Mapping[str, Rows]) -> Rows:
    return tables["T"]


def busy(tables: Mapping[str, Rows]) -> Rows:
    counts = Counter(r["DeviceName"] for r in tables["T"])
    return [{"DeviceName": h, "count_": n} for h, n in counts.items() if n > 3]


def queries(*rows: dict[str, Any]) -> FakeQueries:
    return FakeQueries(
        {"T": list(rows), "Empty": []},
        {
            "all": (("T",), True, everything),
            "busy": (("T",), False, busy),
            "empty": (("Empty",), True, lambda tables: tables["Empty"]),
            "quiet": (("T",), False, everything),
        },
    )


def over(given: FakeQueries, *rules: Rule, **more: Any) -> list[Any]:
    times = [datetime.fromisoformat(r["TimeGenerated"]) for r in given.tables["T"]]
    return run_over(list(rules), given, min(times), max(times), **more)


def test_a_row_wise_rule_runs_once_and_groups_rows_by_assets_and_time() -> None:
    given = queries(*[event(i / 100) for i in range(1000)], event(5, "ws2"), event(300))
    alerts = over(given, rule())
    assert [(a.count, a.entities[0].label) for a in alerts] == [(1000, "ws1"), (1, "ws2"), (1, "ws1")]
    assert len(alerts[0].events) == 100
    assert (alerts[0].time, alerts[0].end) == (START, START + timedelta(minutes=9.99))
    assert [q for q, _ in given.runs].count("all") == 1


def test_first_and_last_event_are_included() -> None:
    assert [a.count for a in over(queries(event(0), event(10)), rule())] == [2]
    assert [a.count for a in over(queries(event(0)), rule())] == [1]


def test_other_rules_run_only_where_rows_are() -> None:
    given = queries(*[event(i) for i in range(5)], *[event(60 * 24 * 30 + i) for i in range(5)])
    alerts = over(given, rule("busy", frequency=timedelta(minutes=10), period=timedelta(minutes=10)))
    assert [a.count for a in alerts] == [1, 1]
    assert len([q for q, _ in given.runs if q == "busy"]) == 2
    assert alerts[0].events[0].row["count_"] == 5


def test_an_attack_over_midnight_is_in_one_window() -> None:
    given = queries(*[event(i * 5) for i in range(4)])  # 23:50 … 00:05
    assert len(over(given, rule("busy", frequency=timedelta(days=1), period=timedelta(days=1)))) == 1


def test_what_grows_in_overlapping_windows_is_one_alert() -> None:
    given = queries(*[event(i) for i in range(40)])
    alerts = over(given, rule("busy", frequency=timedelta(minutes=5), period=timedelta(hours=1)))
    assert len(alerts) == 1
    assert alerts[0].count == 8  # eight windows saw it grow
    assert (alerts[0].time, alerts[0].end) == (START, START + timedelta(minutes=39))


def test_same_rows_in_overlapping_windows_count_once() -> None:
    given = queries(event(0), event(7))
    (alert,) = over(given, rule("quiet", frequency=timedelta(minutes=5), period=timedelta(hours=1)))
    assert alert.count == 2


def test_threshold_holds_a_window() -> None:
    given = queries(event(0), event(1), event(200), event(201), event(202))
    alerts = over(given, rule(frequency=timedelta(minutes=5), period=timedelta(minutes=5), threshold=2))
    assert [a.count for a in alerts] == [3]


def test_absence() -> None:
    given = queries(event(0), event(16))
    (alert, other) = over(
        given,
        rule("quiet", operator=Operator.LESS, threshold=1, frequency=timedelta(minutes=5), period=timedelta(minutes=5)),
    )
    assert alert.events == ()
    assert (alert.time, alert.end) == (START + timedelta(minutes=5), START + timedelta(minutes=10))
    assert other.time > alert.time


def test_empty_tables_and_disabled_rules_are_not_run() -> None:
    given = queries(event(0))
    assert over(given, rule("empty"), rule(enabled=False)) == []
    assert not [q for q, _ in given.runs if q in ("all", "empty")]


def test_a_failing_rule_is_recorded_and_the_others_go_on() -> None:
    errors: list[DetectError] = []
    seen: list[tuple[str, int]] = []
    given = queries(event(0))
    alerts = over(given, rule("nonsense"), rule(), errors=errors, progress=lambda r, n: seen.append((r.id, n)))
    assert len(alerts) == 1
    assert [(e.code, "nonsense" in e.message) for e in errors] == [("DET0004", True)]
    assert seen == [("nonsense", 0), ("all", 1)]
    with pytest.raises(DetectError):
        over(given, rule("nonsense"))


def test_a_defect_in_one_rule_is_recorded_too() -> None:
    errors: list[DetectError] = []
    given = queries(event(0))
    given.functions["crash"] = ("T",), True, lambda tables: [tables["gone"][0]]
    assert len(over(given, rule("crash"), rule(), errors=errors)) == 1
    assert [e.code for e in errors] == ["DET0012"]


def test_bounds_are_said() -> None:
    errors: list[DetectError] = []
    given = queries(*[event(i, f"h{i:03}") for i in range(50)])
    alerts = over(given, rule(), errors=errors, settings=BackfillSettings(rows=40, alerts=10))
    assert (len(alerts), sum(a.count for a in alerts)) == (10, 40)
    assert [e.code for e in errors] == ["DET0006", "DET0006"]


def test_the_same_data_gives_the_same_ids() -> None:
    rows = [event(i) for i in range(30)]
    one = over(queries(*rows), rule(), rule("busy"))
    other = over(queries(*reversed(rows)), rule("busy"), rule())
    assert [a.id for a in one] == [a.id for a in other]


def test_one_window() -> None:
    given = queries(event(0), event(30), event(90))
    (alert,) = run_rule(rule("quiet"), given, START + timedelta(minutes=60))
    assert alert.count == 2
    assert alert.created == START + timedelta(minutes=60)
