"""Answers by definition: what KQL says an operator gives, computed in plain Python, against what the engine gives."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from datetime import datetime, timedelta
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kql.executor import Executor
from tocsin.kql import MappingCatalog

few = settings(max_examples=25, deadline=None)


@cache
def engine() -> Executor:
    return Executor(MappingCatalog())


def rows(query: str) -> list[list[object]]:
    return engine().run(query)[1]


def lit(value: object, kind: str) -> str:
    """A value as a KQL literal."""
    if kind == "string":
        return json.dumps(value, ensure_ascii=False)
    if kind == "bool" and value is not None:
        return str(value).lower()
    return f"{kind}({'null' if value is None else value})"


def table(columns: str, data: list[tuple[object, ...]]) -> str:
    kinds = [c.split(":")[1] for c in columns.split(",")]
    cells = ", ".join(lit(v, k) for row in data for v, k in zip(row, kinds, strict=True))
    return f"datatable({columns})[{cells}]"


LONGS = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([2**63 - 1, -(2**63)]))
TEXTS = st.sampled_from(
    ["", "a", "A", "b", "alpha", "Alpha beta", "alpha_beta", "beta-alpha", "x1", "café", "1.2.3", "ａ", "null"]
)
PAIRS = st.lists(st.tuples(LONGS, TEXTS), max_size=6)
PREDICATES = st.sampled_from(
    ["n == 1", "n != 1", "n > 0", "n in (1, 2)", "n between (0 .. 2)", "s has 'alpha'", "s == 'a' and n < 2", "n == 1 or s =~ 'A'",
     "iff(n > 0, true, bool(null))", "n + 1 > n", "s contains 'lph' and not(n == 2)", "n !in (1, 2)", "s startswith 'a'", "n % 2 == 1"]
)  # fmt: skip


@given(PAIRS, PREDICATES)
@few
def test_a_predicate_its_opposite_and_null_are_all_rows(data: list[tuple[object, ...]], predicate: str) -> None:
    source = f"let T = {table('n:long,s:string', data)};"
    parts = Counter[str]()
    for test in (predicate, f"not({predicate})", f"isnull({predicate})"):
        parts.update(json.dumps(r) for r in rows(f"{source} T | where {test}"))
    assert parts == Counter(json.dumps([n, s]) for n, s in data)


@given(
    PAIRS,
    PAIRS,
    st.sampled_from(
        [
            "inner",
            "innerunique",
            "leftouter",
            "rightouter",
            "fullouter",
            "leftsemi",
            "rightsemi",
            "leftanti",
            "rightanti",
        ]
    ),
)
@settings(max_examples=60, deadline=None)
def test_joins_by_definition(left: list[tuple[object, ...]], right: list[tuple[object, ...]], kind: str) -> None:
    found = rows(f"{table('n:long,a:string', left)} | join kind={kind} ({table('n:long,b:string', right)}) on n")
    lefts, rights = left, right
    if kind == "innerunique":  # any one row of each key; which one is not promised
        keys = {n for n, _ in left}
        assert Counter(json.dumps([r[0], r[2], r[3]]) for r in found) == Counter(
            json.dumps([n, m, b]) for n in keys for m, b in right if n == m
        )
        assert all((r[0], r[1]) in left for r in found)
        return
    if kind in ("leftsemi", "leftanti"):
        there = {m for m, _ in rights}
        expected = [[n, a] for n, a in lefts if (n in there) == (kind == "leftsemi")]
    elif kind in ("rightsemi", "rightanti"):
        there = {n for n, _ in lefts}
        expected = [[m, b] for m, b in rights if (m in there) == (kind == "rightsemi")]
    else:
        expected = [[n, a, m, b] for n, a in lefts for m, b in rights if n == m]
        if kind in ("leftouter", "fullouter"):
            expected += [[n, a, None, ""] for n, a in lefts if n not in {m for m, _ in rights}]
        if kind in ("rightouter", "fullouter"):
            expected += [[None, "", m, b] for m, b in rights if m not in {n for n, _ in lefts}]
    assert Counter(map(json.dumps, found)) == Counter(map(json.dumps, expected))


def wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["x", "y", ""]),
            st.one_of(st.none(), st.integers(-5, 5)),
            st.one_of(st.none(), st.sampled_from([0.0, -1.5, 2.25, math.inf])),
        ),
        max_size=8,
    )
)
@few
def test_summarize_by_definition(data: list[tuple[object, ...]]) -> None:
    written = [(k, n, "+inf" if r == math.inf else r) for k, n, r in data]
    found = rows(
        f"{table('k:string,n:long,r:real', written)} | summarize count(), c=countif(n > 0), s=sum(n), lo=min(n), hi=max(r), d=dcount(n),"
        " l=make_list(n), u=make_set(n), a=avg(n) by k"
    )
    expected = {}
    for key in {k for k, _, _ in data}:
        ns = [n for k, n, _ in data if k == key]
        known = [n for n in ns if n is not None]
        reals = [r for k, _, r in data if k == key and r is not None]
        expected[key] = (
            len(ns), sum(n > 0 for n in known), sum(known), min(known, default=None), max(reals, default=None), len(set(known)), sorted(known),
            sorted(set(known)), sum(known) / len(known) if known else "NaN",
        )  # fmt: skip
    got = {
        r[0]: (
            *r[1:5],
            math.inf if r[5] in ("Infinity", "inf", "∞") else r[5],
            r[6],
            sorted(r[7]),
            sorted(r[8]),
            r[9] if known_number(r[9]) else "NaN",
        )
        for r in found
    }  # type: ignore[call-overload]
    assert {k: v[:8] for k, v in got.items()} == {k: v[:8] for k, v in expected.items()}
    for key, value in expected.items():
        assert got[key][8] == value[8] or math.isclose(got[key][8], value[8])


def known_number(value: object) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(-2, 2)), st.one_of(st.none(), st.sampled_from([1.5, -1.5, 0.0, "nan"]))
        ),
        max_size=7,
    ),
    st.booleans(),
    st.sampled_from([None, "first", "last"]),
)
@few
def test_order_of_nulls_and_nan(data: list[tuple[object, ...]], descending: bool, nulls: str | None) -> None:
    way = "desc" if descending else "asc"
    first = (nulls == "first") if nulls else not descending
    source = table("n:long,r:real", data)
    tail = f" nulls {nulls}" if nulls else ""
    for name, at in (("n", 0), ("r", 1)):
        numbers = [d[at] for d in data if d[at] not in (None, "nan")]
        blanks = [None] * (len(data) - len(numbers))
        ordered = sorted(numbers, reverse=descending)  # type: ignore[type-var]
        expected = [*blanks, *ordered] if first else [*ordered, *blanks]
        for operator in ("sort by", "top 100 by"):
            found = [
                r[0] if known_number(r[0]) else None
                for r in rows(f"{source} | {operator} {name} {way}{tail} | project {name}")
            ]
            assert found == expected


@given(PAIRS, PAIRS)
@few
def test_union_by_name_and_type(left: list[tuple[object, ...]], right: list[tuple[object, ...]]) -> None:
    names, found = engine().run(f"union ({table('n:long,s:string', left)}), ({table('n:long,t:string', right)})")
    assert names == ["n", "s", "t"]
    expected = [[n, s, ""] for n, s in left] + [[n, "", t] for n, t in right]
    assert Counter(map(json.dumps, found)) == Counter(map(json.dumps, expected))


def folded_terms(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def bounded(text: str, needle: str, before: bool, after: bool) -> bool:
    """The needle stands in the text, and where asked no letter or digit touches it."""
    text, needle = text.lower(), needle.lower()
    at = text.find(needle)
    while at >= 0:
        start_ok = not before or at == 0 or not (text[at - 1].isalnum() and needle[:1].isalnum())
        end = at + len(needle)
        end_ok = not after or end == len(text) or not (text[end].isalnum() and needle[-1:].isalnum())
        if start_ok and end_ok:
            return True
        at = text.find(needle, at + 1)
    return False


HAYSTACKS = st.text(alphabet="aAbé1_-. Ω", max_size=10)
NEEDLES = st.text(alphabet="aAbé1_-.Ω", min_size=1, max_size=3)


@given(HAYSTACKS, NEEDLES)
@settings(max_examples=80, deadline=None)
def test_terms_by_definition(text: str, needle: str) -> None:
    source = f"{table('s:string', [(text,)])} | project {{}}"
    quoted = json.dumps(needle, ensure_ascii=False)
    tests = (
        "s has {0}",
        "s hasprefix {0}",
        "s hassuffix {0}",
        "s contains {0}",
        "s startswith {0}",
        "s endswith {0}",
        "s =~ {0}",
        "s has_any ({0})",
        "s !has {0}",
    )
    found = rows(source.format(", ".join(f"r{i}={t.format(quoted)}" for i, t in enumerate(tests))))[0]
    has = bounded(text, needle, True, True)
    low, sought = text.lower(), needle.lower()
    assert found == [
        has, bounded(text, needle, True, False), bounded(text, needle, False, True), sought in low, low.startswith(sought), low.endswith(sought),
        low == sought, has, not has,
    ]  # fmt: skip
    assert not (re.fullmatch(r"[^\W_]+", needle)) or has == (sought in folded_terms(text))


EPOCH = datetime.min  # noqa: DTZ901 - ticks count from a zoneless origin
MOMENTS = st.datetimes(EPOCH.replace(year=1000), EPOCH.replace(year=9000))
SPANS = st.integers(-(10**15), 10**15)


@given(MOMENTS, st.integers(0, 9), SPANS)
@few
def test_times_to_the_tick(moment: datetime, tick: int, span: int) -> None:
    ticks = (moment - EPOCH) // timedelta(microseconds=1) * 10 + tick
    text = f"{moment:%Y}".zfill(4) + f"{moment:-%m-%d %H:%M:%S.%f}{tick}"
    found = rows(
        f"let t = datetime({text}); let p = {span} * 1tick; print a=tolong(t), b=tolong(t + p), c=tolong(t - p), d=tolong((t + p) - t),"
        " e=todatetime(tostring(t)) == t, f=totimespan(tostring(p)) == p, g=tolong(-p), h=t between (t .. 1tick), i=(t + 1tick) > t,"
        " j=tolong(bin(t, 1d))"
    )[0]
    day = 864_000_000_000
    assert found == [ticks, ticks + span, ticks - span, span, True, True, -span, True, True, ticks - ticks % day]


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
@few
def test_longs_wrap_and_divide(a: int, c: int) -> None:
    source = table("a:long,b:long", [(a, c)])
    found = rows(f"{source} | project a + b, a - b, a * b, a % b, a / b, a < b, a == b, min_of(a, b)")[0]
    quotient = None if c == 0 else wrapped(abs(a) // abs(c) * (1 if (a < 0) == (c < 0) else -1))
    remainder = None if c == 0 else a % abs(c)
    assert found == [wrapped(a + c), wrapped(a - c), wrapped(a * c), remainder, quotient, a < c, a == c, min(a, c)]


VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**53), 2**53), st.sampled_from(["", "x", "null", 'q"uote', "é"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "k.l", 'q"', ""]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES, st.sampled_from(["a", "b", "k.l", 'q"', "missing"]), st.integers(-4, 4))
@settings(max_examples=60, deadline=None)
def test_dynamic_indexing(value: object, key: str, index: int) -> None:
    source = table("j:string,k:string,i:long", [(json.dumps(value, ensure_ascii=False), key, index)])
    found = rows(
        f"{source} | extend d = parse_json(j) | project d, d[k], d[{json.dumps(key)}], d[toint(i)], d[{index}], array_length(d)"
    )[0]
    member = value.get(key) if isinstance(value, dict) else None
    item = value[index] if isinstance(value, list) and -len(value) <= index < len(value) else None
    assert found == [value, member, member, item, item, len(value) if isinstance(value, list) else None]


@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)))
@few
def test_numbers_come_back_from_their_text(number: float) -> None:
    kind, back = ("long", "tolong") if isinstance(number, int) else ("real", "toreal")
    written = lit(repr(number), kind)
    assert rows(f"print {back}(tostring({written})) == {written}") == [[True]]


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=4),
    st.one_of(st.none(), st.integers(-3, 3)),
    st.integers(-3, 3),
    st.integers(-3, 3),
)
@few
def test_in_and_between(items: list[int], value: int | None, low: int, high: int) -> None:
    source = table("n:long", [(value,)])
    listed = ", ".join(map(str, items))
    found = rows(
        f"{source} | project n in ({listed}), n !in ({listed}), n in (dynamic([{listed}])), n between ({low} .. {high})"
    )[0]
    inside = value in items
    assert found[:3] == [inside, not inside, inside]
    assert bool(found[3]) == (value is not None and low <= value <= high)
