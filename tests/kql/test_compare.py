"""When a result is the one that a case expects."""

from __future__ import annotations

import pytest

from tocsin.kql.compare import compare_result, same_value


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (1, 1),
        (1.0, 1),
        (0.1 + 0.2, 0.3),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        (None, None),
        (True, True),
        (1, True),
        ("2020-01-01T00:00:00.0000000Z", "2020-01-01T00:00:00Z"),
        ("2020-01-01T00:00:00.0000009Z", "2020-01-01T00:00:00.0000010Z"),
        ("1.02:03:04.5670000", "1.02:03:04.567"),
        ("00:00:01", "00:00:01.0000000"),
        ([1, 2.0], [1, 2]),
        ({"b": 1, "a": [None]}, {"a": [None], "b": 1}),
        ({"a": 1}, '{"a": 1}'),
        ("[1,2]", [1, 2]),
    ],
)
def test_equal_values(actual: object, expected: object) -> None:
    assert same_value(actual, expected, loose=False)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (1, 2),
        (1, None),
        (None, 0),
        (None, ""),
        ("a", "A"),
        ("1", "01"),
        (1.0, 1.00001),
        (False, True),
        ("2020-01-01", "2020-01-02"),
        ("00:00:01", "00:00:02"),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ({"a": 1}, {"b": 1}),
        ("NaN", 1),
        ("x", " y"),
    ],
)
def test_other_values(actual: object, expected: object) -> None:
    assert not same_value(actual, expected, loose=False)


@pytest.mark.parametrize(
    ("actual", "shown"),
    [
        (None, ""),
        (None, "null"),
        ("", "null"),
        (1234.0, "1,234"),
        (3.14159, "3.14"),
        ("a b", "a  b"),
        ("x", "'x'"),
        ("2020-01-02T03:04:05.0000000Z", "1/2/2020, 3:04:05.0000000 AM"),
        ([1, 2], "[1, 2, ]"),
        (True, "True"),
        (float("inf"), "∞"),
    ],
)
def test_what_a_page_shows_is_read_loosely(actual: object, shown: str) -> None:
    assert same_value(actual, shown, loose=True)


def case(*rows: list[object], columns: str = "ab", ordered: bool = False, typed: bool = True) -> dict[str, object]:
    made: dict[str, object] = {"columns": list(columns), "rows": list(rows), "flags": ["ordered"] if ordered else []}
    return {**made, "types": ["x"] * len(columns)} if typed else made


def test_rows_are_a_multiset_unless_ordered() -> None:
    assert compare_result(case([1, 2], [3, 4]), ["a", "b"], [[3, 4], [1, 2]]) == "exact"
    assert compare_result(case([1, 2], [3, 4], ordered=True), ["a", "b"], [[3, 4], [1, 2]]) == "values"
    assert compare_result(case([1, 2], [1, 2]), ["a", "b"], [[1, 2], [3, 4]]) == "values"
    assert compare_result(case([1, 2]), ["a", "b"], []) == "values"
    assert compare_result(case(), ["a", "b"], []) == "exact"


def test_names_of_columns_count() -> None:
    assert compare_result(case([1, 2]), ["a", "c"], [[1, 2]]) == "columns"
    assert compare_result(case([1, 2]), ["b", "a"], [[2, 1]]) == "columns"
    assert compare_result(case([1, 2]), ["a"], [[1]]) == "values"
