"""Plugins that follow rows through time, and those that look for patterns: documented examples, and plain definitions beside them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kql.executor import rows
from tests.kql.test_plugins import refusal
from tocsin.kql.functions.python.patterns import TooManyPatternsError, autocluster, basket, diffpatterns

FANS = """let T = datatable(User:string, Timestamp:datetime) [
    'B', datetime(2018-06-29), 'B', datetime(2018-06-30), 'A', datetime(2018-07-02), 'B', datetime(2018-07-04),
    'B', datetime(2018-07-08), 'A', datetime(2018-07-10), 'A', datetime(2018-07-14), 'A', datetime(2018-07-17),
    'A', datetime(2018-07-20), 'B', datetime(2018-07-24)];
"""
STORMS = """let Storms = datatable(u:long, t:datetime, s:string) [
    1, datetime(2024-01-01 01:00), 'Hail', 1, datetime(2024-01-01 02:00), 'Tornado', 1, datetime(2024-01-01 02:30), 'Tornado',
    1, datetime(2024-01-01 03:00), 'Wind', 2, datetime(2024-01-01 02:00), 'Tornado', 3, datetime(2024-01-01 02:00), 'Hail',
    3, datetime(2024-01-03 02:00), 'Tornado', 3, datetime(2024-01-03 03:00), 'Wind'];
"""


def test_active_users_as_documented() -> None:
    query = f"""{FANS} T | evaluate active_users_count(User, Timestamp, datetime(2018-07-01), datetime(2018-07-31), 8d, 1d, 3, 7d)
        | project dayofmonth(Timestamp), ['dcount']"""
    assert rows(query) == [[1, 1], [15, 1]]


def test_active_users_by_dimension_and_calendar() -> None:
    query = f"""{FANS} T | extend d = User
        | evaluate active_users_count(User, Timestamp, datetime(2018-07-01), datetime(2018-07-31), 8d, 1d, 3, 'month', d)
        | project dayofmonth(Timestamp), d, ['dcount'] | sort by d asc"""
    assert rows(query) == [[1, "A", 1], [1, "B", 1]]


def test_sequences_are_all_pairs_within_the_windows() -> None:
    query = """datatable(State:string, At:datetime, Kind:string) [
            'CA', datetime(2007-05-08), 'H', 'CA', datetime(2007-05-08 16:02), 'W', 'CA', datetime(2007-05-10 11:30), 'W',
            'CA', datetime(2007-05-14), 'W', 'TX', datetime(2007-05-09), 'W']
        | evaluate sequence_detect(At, 5d, 5d, heat = (Kind == 'H'), fire = (Kind == 'W'), State)
        | project State, dayofmonth(heat_At), dayofmonth(fire_At), tostring(Duration)"""
    assert rows(query) == [["CA", 8, 8, "16:02:00"], ["CA", 8, 10, "2.11:30:00"]]


def test_sequences_are_what_they_are_by_definition() -> None:
    events = """let E = range x from 1 to 120 step 1
        | project x, t = datetime(2024-01-01) + x * x % 1009 * 1m, k = x * 7 % 5, d = x % 2;"""
    query = f"""{events} E | evaluate sequence_detect(t, 150m, 200m, a = (k == 1), b = (k == 2), c = (k == 3), d)
        | project d, a_t, b_t, c_t | sort by d, a_t, b_t, c_t"""
    plain = f"""{events} E | where k == 1 | project d, a = t
        | join kind=inner (E | where k == 2 | project d, b = t) on d | where b - a between (0m .. 150m)
        | join kind=inner (E | where k == 3 | project d, c = t) on d | where c - b between (0m .. 150m) and c - a <= 200m
        | project d, a, b, c | sort by d, a, b, c"""
    assert len(rows(query)) > 5
    assert rows(query) == rows(plain)


def test_funnel_tells_what_came_before_and_after() -> None:
    query = f"""{STORMS} Storms
        | evaluate funnel_sequence(u, t, datetime(2024-01-01), datetime(2025-01-01), 1d, 365d, s, dynamic(['Tornado']))
        | project prev, next, ['dcount'], samples | sort by prev desc, next desc"""
    assert rows(query) == [["Hail", "Wind", 1, [1]], ["", "Wind", 1, [3]], ["", "", 1, [2]]]


def test_funnel_of_completion_counts_from_the_first_state() -> None:
    query = f"""{STORMS} Storms
        | evaluate funnel_sequence_completion(u, t, datetime(2024-01-01), datetime(2025-01-01), 365d, s,
            dynamic(['Hail', 'Tornado', 'Wind']), dynamic([1h, 4h, 3d]))
        | project s, tostring(Period), ['dcount']"""
    assert [r[2] for r in rows(query)] == [2, 1, 0, 2, 1, 1, 2, 2, 2]


def test_what_is_no_sequence_is_said() -> None:
    assert "at least two conditions" in refusal(
        "print t=now(), s='a' | evaluate sequence_detect(t, 1h, 1d, a = (s == 'a'))"
    )
    assert "constant array" in refusal(
        f"{STORMS} Storms | evaluate funnel_sequence(u, t, ago(1d), now(), 1d, 1d, s, 'Hail')"
    )
    assert "above zero" in refusal("print t=now() | evaluate sequence_detect(t, 0s, 1d, a = (true), b = (true))")


# ---------------------------------------------------------------------------------------------- patterns

STORM_ROWS = """let T = range x from 0 to 999 step 1
    | project State = iff(x % 10 == 0, 'TEXAS', strcat('S', x % 97)), Event = iff(x < 400, 'Hail', 'Wind'),
        Damage = iff(x < 390 or x % 2 == 0, 'NO', 'YES');
"""


def test_basket_gives_closed_patterns_with_exact_counts() -> None:
    found = rows(f"{STORM_ROWS} T | evaluate basket(0.3)")
    assert found[0] == [0, 695, 69.5, "", "", "NO"]
    assert [r[1:] for r in found[1:]] == [[600, 60.0, "", "Wind", ""], [400, 40.0, "", "Hail", ""],
                                          [395, 39.5, "", "Hail", "NO"], [305, 30.5, "", "", "YES"],
                                          [300, 30.0, "", "Wind", "NO"], [300, 30.0, "", "Wind", "YES"]]  # fmt: skip


def test_wildcards_weights_and_types_of_patterns() -> None:
    query = """datatable(a:string, b:long, d:dynamic, t:datetime, w:long) [
            'x', 1, dynamic({"q":1}), datetime(2024-01-01), 5, 'x', 2, dynamic({"q":1}), datetime(null), 1,
            'y', long(null), dynamic(null), datetime(null), 1]
        | evaluate basket(0.3, w, '~', '*', long(-1), datetime(1900-01-01)) | extend t = tostring(t)"""
    assert rows(query) == [
        [0, 6, 85.7, "x", -1, {"q": 1}, "1900-01-01T00:00:00.0000000Z"],
        [1, 5, 71.4, "x", 1, {"q": 1}, "2024-01-01T00:00:00.0000000Z"],
    ]


def test_autocluster_shows_few_patterns_that_say_different_things() -> None:
    found = rows(f"{STORM_ROWS} T | evaluate autocluster()")
    assert 2 <= len(found) <= 6
    assert any(r[4:] == ["Hail", "NO"] and r[1] == 395 for r in found)


def test_diffpatterns_shows_what_sets_two_sets_apart() -> None:
    found = rows(f"{STORM_ROWS} T | evaluate diffpatterns(Damage, 'NO', 'YES')")
    assert [r[1:] for r in found[:2]] == [
        [300, 300, 43.17, 98.36, 55.2, "", "Wind"],
        [395, 5, 56.83, 1.64, 55.2, "", "Hail"],
    ]


def test_patterns_of_no_rows_are_none() -> None:
    assert rows("print a = 1, b = 'x' | take 0 | evaluate autocluster()") == []


def test_patterns_say_what_is_wrong() -> None:
    assert "from 0.015 to 1" in refusal("print a = 1 | evaluate basket(2)")
    assert "no column" in refusal("print a = 1 | evaluate basket(0.5, b)")
    assert "diffpatterns() is its successor" in refusal("print a = 1 | evaluate diffpatterns_text(a, 1, 2)")


def test_a_search_that_has_no_end_is_refused() -> None:
    codes = np.array(list(itertools.product((1, 2), repeat=12)), dtype=np.int32)
    codes = np.hstack([codes, codes])
    with pytest.raises(TooManyPatternsError):
        basket(codes, np.ones(len(codes)), np.zeros(len(codes)), [0.0001, 64])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=25), st.sampled_from([0.1, 0.25, 0.5]))
def test_closed_patterns_are_those_of_the_definition(table: list[tuple[int, ...]], threshold: float) -> None:
    """Every pattern of frequent enough rows, made as specific as all its rows agree on."""
    codes = np.array(table, dtype=np.int32)
    expected = {}
    for pattern in itertools.product(range(4), repeat=4):
        members = [r for r in table if all(p in (0, x) for p, x in zip(pattern, r, strict=True))]
        if any(pattern) and members and len(members) >= threshold * len(table):
            closed = tuple(c[0] if len(set(c)) == 1 else 0 for c in zip(*members, strict=True))
            expected[closed] = len(members)
    found = basket(codes, np.ones(len(codes)), np.zeros(len(codes)), [threshold, 64])
    assert {p.codes: p.a for p in found} == expected
    for search in (autocluster, diffpatterns):
        chosen = search(codes, np.ones(len(codes)), np.ones(len(codes)), [threshold, 64, 0.5, 25])
        assert not any(a.related(b) for a, b in itertools.combinations(chosen, 2))
