"""Plugins and reduce: the examples of Microsoft's documentation, and plain definitions to check the fast forms against."""

from __future__ import annotations

import pytest

from tests.kql.executor import rows
from tocsin.kql import KqlErrors

USERS = """let Users = datatable(Timestamp:datetime, seen:dynamic) [
    datetime(2019-11-01), dynamic([0,2,3,4]), datetime(2019-11-02), dynamic([0,1,3,4,5]), datetime(2019-11-03), dynamic([0,2,4,5]),
    datetime(2019-11-04), dynamic([0,1,2,3]), datetime(2019-11-05), dynamic([0,1,2,3,4])]
    | mv-expand user = seen to typeof(long) | project user, Timestamp;
"""
EVENTS = """let Events = range x from 1 to 300 step 1
    | project t = datetime(2024-01-01) + x * x % 4001 * 1m, u = tostring(x * x % 11), d = x % 2, x;
"""


def refusal(query: str) -> str:
    """The first diagnostic's text."""
    with pytest.raises(KqlErrors) as caught:
        rows(query)
    return f"{caught.value.diagnostics[0].code} {caught.value.diagnostics[0].message}"


# ---------------------------------------------------------------------------------------------- reduce


def test_reduce_keeps_terms_that_are_frequent_at_their_place() -> None:
    query = """datatable(s:string)['failed login for ann', 'failed login for bob', 'failed login for eve', 'x', 'y']
        | reduce by s with threshold=0.3"""
    assert rows(query) == [["failed login for *", 3, "failed login for ann"], ["others", 2, ""]]


def test_reduce_swallows_named_separators_beside_a_wildcard() -> None:
    query = "range x from 1 to 10 step 1 | project s = strcat('fooZ', x, 'Z', x) | reduce by s with characters='Z'"
    assert rows(query) == [["foo*", 10, "fooZ1Z1"]]


def test_reduce_by_source_keeps_the_rows() -> None:
    query = "datatable(s:string, n:long)['a 1', 1, 'a 2', 2, 'b', 3] | reduce kind=source by s with threshold=0.5"
    assert rows(query) == [["a 1", 1, "a *"], ["a 2", 2, "a *"], ["b", 3, "others"]]


def test_reduce_says_what_is_wrong() -> None:
    assert "'treshold'" in refusal("print s='a' | reduce by s with treshold=0.2")
    assert "from 0 to 1" in refusal("print s='a' | reduce by s with threshold=2")
    assert "groups texts" in refusal("print s=1 | reduce by s")
    assert "kind of reduce" in refusal("print s='a' | reduce kind=target by s")


# ---------------------------------------------------------------------------------------------- users over time


def test_new_activity_metrics_as_documented() -> None:
    query = f"""{USERS} Users
        | evaluate new_activity_metrics(user, Timestamp, datetime(2019-11-01), datetime(2019-11-07) - 1tick, 1d)
        | where from_Timestamp < datetime(2019-11-03)
        | project dayofmonth(from_Timestamp), dayofmonth(to_Timestamp), dcount_new_values, dcount_retained_values,
            dcount_churn_values, retention_rate, churn_rate"""
    assert rows(query) == [
        [1, 1, 4, 4, 0, 1.0, 0.0],
        [1, 2, 2, 3, 1, 0.75, 0.25],
        [1, 3, 1, 3, 1, 0.75, 0.25],
        [1, 4, 1, 3, 1, 0.75, 0.25],
        [1, 5, 1, 4, 0, 1.0, 0.0],
        [1, 6, 0, 0, 4, 0.0, 1.0],
        [2, 2, 2, 2, 0, 1.0, 0.0],
        [2, 3, 0, 1, 1, 0.5, 0.5],
        [2, 4, 0, 1, 1, 0.5, 0.5],
        [2, 5, 0, 1, 1, 0.5, 0.5],
        [2, 6, 0, 0, 2, 0.0, 1.0],
    ]


def test_new_activity_metrics_of_one_cohort_without_those_seen_before() -> None:
    query = f"""{USERS} Users
        | evaluate new_activity_metrics(user, Timestamp, datetime(2019-11-01), datetime(2019-11-03), 1d,
            datetime(2019-11-01), (print user = long(0)))
        | project dayofmonth(from_Timestamp), dayofmonth(to_Timestamp), dcount_new_values, dcount_retained_values"""
    assert rows(query) == [[1, 1, 3, 3], [1, 2, 2, 2], [1, 3, 1, 2]]


def test_activity_metrics_compares_with_the_period_before() -> None:
    query = (
        f"{USERS} Users | evaluate activity_metrics(user, Timestamp, datetime(2019-11-01), datetime(2019-11-07), 1d)"
    )
    assert [r[1:] for r in rows(query)] == [
        [4, 4, 1.0, 0.0],
        [5, 2, 0.75, 0.25],
        [4, 1, 0.6, 0.4],
        [4, 2, 0.5, 0.5],
        [5, 1, 1.0, 0.0],
    ]


def test_activity_metrics_by_calendar_months() -> None:
    query = """datatable(u:long, t:datetime)[1, datetime(2024-01-31), 2, datetime(2024-01-02), 1, datetime(2024-02-29)]
        | evaluate activity_metrics(u, t, datetime(2024-01-01), datetime(2024-12-31), 'month')
        | project monthofyear(t), dcount_values, dcount_newvalues, retention_rate"""
    assert rows(query) == [[1, 2, 2, 1.0], [2, 1, 0, 0.5]]


def test_sliding_windows_are_what_they_are_by_definition() -> None:
    query = f"""{EVENTS} Events
        | evaluate sliding_window_counts(u, t, datetime(2024-01-01 05:00), datetime(2024-01-03), 5h, 2h, d) | sort by t, d"""
    plain = f"""{EVENTS} Events | extend b = bin_at(t, 2h, datetime(2024-01-01 05:00))
        | where b <= datetime(2024-01-03) and b > datetime(2024-01-01)
        | mv-expand b = range(b, b + 3h, 2h) to typeof(datetime)
        | where b between (datetime(2024-01-01 05:00) .. datetime(2024-01-03))
        | summarize Count = count(), Dcount = dcount(u) by t = b, d | sort by t, d"""
    assert len(rows(query)) > 20
    assert rows(query) == rows(plain)


def test_engagement_is_what_it_is_by_definition() -> None:
    query = f"""{EVENTS} Events
        | evaluate activity_engagement(u, t, datetime(2024-01-01 05:00), datetime(2024-01-03), 2h, 6h, d)
        | project t, d, dcount_activities_inner, dcount_activities_outer | sort by t, d"""
    plain = f"""{EVENTS} Events | extend own = bin_at(t, 2h, datetime(2024-01-01 05:00))
        | where own <= datetime(2024-01-03) and own > datetime(2024-01-01 05:00) - 6h
        | mv-expand b = range(own, own + 4h, 2h) to typeof(datetime)
        | where b between (datetime(2024-01-01 05:00) .. datetime(2024-01-03))
        | summarize i = dcountif(u, own == b), o = dcount(u) by t = b, d | where i > 0 | sort by t, d"""
    assert len(rows(query)) > 20
    assert rows(query) == rows(plain)


def test_engagement_without_a_range_looks_at_all_rows() -> None:
    query = """datatable(u:long, t:datetime)[1, datetime(2024-01-31), 2, datetime(2024-02-01)]
        | evaluate activity_engagement(u, t, 1d, 7d) | project dcount_activities_inner, dcount_activities_outer"""
    assert rows(query) == [[1, 1], [1, 2]]


def test_rolling_percentile_as_documented() -> None:
    query = """let T = range idx from 0 to 24*10-1 step 1
        | project Timestamp = datetime(2018-01-01) + 1h*idx, val=idx+1 | extend EvenOrOdd = iff(val % 2 == 0, 'Even', 'Odd');
        T | evaluate rolling_percentile(val, 50, Timestamp, 1d, 3, EvenOrOdd)
        | project EvenOrOdd, rolling_3_percentile_val_50"""
    found = rows(query)
    assert [r[1] for r in found if r[0] == "Even"] == [12, 24, 36, 60, 84, 108, 132, 156, 180, 204]
    assert [r[1] for r in found if r[0] == "Odd"] == [11, 23, 35, 59, 83, 107, 131, 155, 179, 203]


def test_periods_that_a_sliding_window_has_no_length_for_are_refused() -> None:
    query = f"{EVENTS} Events | evaluate sliding_window_counts(u, t, datetime(2024-01-01), datetime(2024-02-01), 14d, 'month')"
    assert refusal(query).startswith("KQL0201")


def test_arguments_of_plugins_are_checked() -> None:
    assert "takes 3 arguments" in refusal(f"{EVENTS} Events | evaluate activity_metrics(u, t)")
    assert "no column named 'v'" in refusal(f"{EVENTS} Events | evaluate activity_metrics(v, t, 1d)")
    assert "A column's name" in refusal(f"{EVENTS} Events | evaluate activity_metrics(u, t, 1d, 2d, 3d, 4d)")
