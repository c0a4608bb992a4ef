"""Lowerings that exist for speed give the answers of the general way, on values made to tell them apart."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kql.executor import Executor
from tocsin.kql import Column, KqlType, MappingCatalog, TableSchema
from tocsin.kql.emit.duckdb.strings import lower
from tocsin.kql.emit.duckdb.udfs import has_term

T = TableSchema(
    "T",
    (
        Column("s", KqlType.STRING),
        Column("k", KqlType.STRING),
        Column("n", KqlType.LONG),
        Column("i", KqlType.INT),
        Column("t", KqlType.DATETIME),
    ),
)
ODD_JSON = (
    '{"a":1}', '{"a":"x"}', '{"a":{"b":[1, {"c" : null}]}}', '{"a":null}', '{"a":1,"a":2}', "", " ", "null", "x", '"a"', "[1,2]", "{", '{"a":}',
    '{"a":NaN}', '{"a":1e999}', '{"a":12345678901234567890123}', '{"a":"\\u0000"}', '{"a":"\\ud800"}', "{'a':1}", '{"a":1}x', ' {"a" : [ ] } ',
    '{"A":1}', '{"a.b":1}', '{"":1}', "1", "true", '{"a":true,}', "\ufeff{}", '{"a":"é\\n"}', None,
)  # fmt: skip


@cache
def engine() -> Executor:
    return Executor(MappingCatalog({"T": T}))


def executor(rows: list[tuple[object, ...]]) -> Executor:
    made = engine()
    made.add_table(T, rows)
    return made


def test_members_of_json_text_are_read_as_from_its_value() -> None:
    """`strcat(s)` is no column, so what it is parsed to is read in the general way."""
    here = executor([(text, "", number, 0, None) for number, text in enumerate(ODD_JSON)])
    for member in (
        "d.a",
        "tostring(d.a)",
        "d.a.b[1]",
        "toint(d.a)",
        "tostring(d['a.b'])",
        "todouble(d.a)",
        "d[0]",
        "isnull(d.a)",
        "d.a[-1]",
    ):
        column = here.run(f"T | extend d = parse_json(s) | sort by n asc | project x = {member}")
        value = here.run(f"T | extend d = parse_json(strcat(s, '')) | sort by n asc | project x = {member}")
        assert json.dumps(column) == json.dumps(value), member
    assert here.run("T | where n == 0 | project x = tostring(parse_json(s).a)")[1] == [["1"]]


def test_json_text_is_known_only_where_its_column_is() -> None:
    here = executor([('{"a":1}', "x", 1, 1, None), ('{"a":2}', "y", 2, 2, None)])
    assert here.run("T | extend d = parse_json(s) | extend s = 'gone' | project tostring(d.a), s | sort by d_a asc")[
        1
    ] == [
        ["1", "gone"],
        ["2", "gone"],
    ]
    assert here.run(
        "T | extend d = parse_json(s) | summarize n = count() by v = tostring(d) | sort by v asc | project v, tostring(parse_json(v).a)"
    )[1] == [
        ['{"a":1}', "1"],
        ['{"a":2}', "2"],
    ]
    joined = "T | extend d = parse_json(s) | project k, d | join kind=leftouter (T | where n == 1 | extend d = parse_json(s) | project k, d) on k"
    assert here.run(f"{joined} | sort by k asc | project tostring(d.a), tostring(d1.a)")[1] == [["1", "1"], ["2", ""]]
    assert here.run("let U = T | extend d = parse_json(s); union U, U | summarize sum(toint(d.a))")[1] == [[6]]


TEXTS = st.lists(
    st.text(alphabet=st.sampled_from("abkABKsS .-_1é\u212a\u017fİ\u0000\n"), max_size=12), min_size=1, max_size=20
)
NEEDLES = st.lists(st.text(alphabet=st.sampled_from("abks1-. "), min_size=1, max_size=3), min_size=3, max_size=5)


@settings(max_examples=60, deadline=None)
@given(TEXTS, NEEDLES)
def test_has_any_of_several_terms(texts: list[str], needles: list[str]) -> None:
    """Against the definition of a term, with the characters that fold to ASCII letters in some engines."""
    here = executor([(text, "", number, 0, None) for number, text in enumerate(texts)])
    listed = ", ".join("'" + n + "'" for n in needles)
    found = here.run(f"T | where s has_any ({listed}) | project n | sort by n asc")[1]
    folded = here.connection.execute("SELECT lower(s) FROM T ORDER BY n").fetchall()
    expected = [[n] for n, (text,) in enumerate(folded) if any(has_term(text, lower(x)) for x in needles)]
    assert found == expected


def test_needles_without_letters_need_no_folding() -> None:
    here = executor([("AB10.0.0.1 x", "", 1, 0, None), ("ab 10.0.0.1", "", 2, 0, None), ("-É10", "", 3, 0, None)])
    assert here.run("T | where s has '10.0.0.1' | project n")[1] == [[2]]
    assert here.run("T | where s contains '10.0' | project n | sort by n asc")[1] == [[1], [2]]
    assert here.run("T | where s startswith '-' and s endswith '10' | project n")[1] == [[3]]


def test_the_latest_row_is_one_row() -> None:
    """Nulls of the row come along, a group that has only null keys has a row, and columns don't mix rows."""
    start = datetime(2024, 1, 1)  # noqa: DTZ001 - the physical form has no zone
    rows = [
        (None, "a", None, 5, start + timedelta(2)),
        ("x", "a", 7, 6, start),
        ("y", "b", 8, None, None),
        ("z", "b", 9, 1, None),
    ]
    here = executor(rows)
    assert here.run("T | summarize arg_max(t, s, n, i) by k | where k == 'a'")[1] == [
        ["a", "2024-01-03T00:00:00.0000000Z", "", None, 5]
    ]
    assert here.run("T | summarize arg_min(t, s, n, i) by k | where k == 'a'")[1] == [
        ["a", "2024-01-01T00:00:00.0000000Z", "x", 7, 6]
    ]
    (only,) = here.run("T | summarize arg_max(t, s, n, i) by k | where k == 'b'")[1]
    assert only in (["b", None, "y", 8, None], ["b", None, "z", 9, 1])


def test_split_into_strings() -> None:
    here = executor(
        [("a  b", "", 1, 0, None), ("", "", 2, 0, None), (None, "", 3, 0, None), ('"q",[1]', "", 4, 0, None)]
    )
    fast = here.run("T | mv-expand x = split(s, ' ') to typeof(string) | project n, x | sort by n asc, x asc")
    slow = here.run(
        "T | extend d = split(s, ' ') | mv-expand x = d to typeof(string) | project n, x | sort by n asc, x asc"
    )
    assert fast == slow
    assert len(fast[1]) == 6
    padded = here.run(
        "T | where n == 1 | mv-expand x = split(s, ' ') to typeof(string), y = dynamic([1,2,3,4]) | project x, y"
    )
    assert padded[1][-1] == ["", 4]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-3_000_000, 9_000_000), min_size=1, max_size=20),
    st.integers(-5, 40),
    st.integers(1, 50),
    st.integers(1, 90_000),
)
def test_series_over_stored_times(seconds: list[int], first: int, length: int, step: int) -> None:
    start = datetime(2024, 1, 1)  # noqa: DTZ001 - the physical form has no zone
    here = executor([("", "", n, 0, start + timedelta(seconds=s)) for n, s in enumerate(seconds)])
    begin, end = first * 3600, first * 3600 + length * step
    bounds = f"from datetime(2024-01-01) + {begin}s to datetime(2024-01-01) + {end}s step {step}s"
    (found,) = here.run(f"T | make-series c = count() on t {bounds} | project c")[1] or [[[0] * length]]
    expected = [sum(begin + k * step <= s < begin + (k + 1) * step for s in seconds) for k in range(length)]
    assert found[0] == expected


def test_integers_of_two_widths() -> None:
    here = executor([("", "", 1, 1, None), ("", "", 2, None, None), ("", "", 3, 2**31 - 1, None)])
    assert here.run("T | where i in (1, 2147483647, 9999999999) | project n | sort by n asc")[1] == [[1], [3]]
    assert here.run("T | where i !in (1, 9999999999) | project n | sort by n asc")[1] == [[2], [3]]
    assert here.run("T | where not(i == 1) | project n | sort by n asc")[1] == [[2], [3]]
    assert here.run("T | where i == 1.0 or i == 9999999999 | project n")[1] == [[1]]
    assert here.run("T | project x = i == 1, y = i in (1, 2) | sort by x asc")[1] == [
        [False, False],
        [False, False],
        [True, True],
    ]
