"""The Sigma specification 2.1 as a table: each line a fact of its text, judged by the matcher, the naive interpreter and pySigma's SQLite backend.

Where the backend can't say what the specification says (its `why`), only the other two are asked; the reason stands beside the line, and the
backend is still run: a reason that no longer holds fails.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import re2
import yaml
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from tocsin.detect.sigma.matcher import SigmaMatcher

from .sigma_oracle import Oracle
from .support import detection, sigma, windows

NUMBERS = "SQLite compares a text column with a number as texts"
CIDR6 = "the backend spells networks as text patterns"
FOLDS = "LIKE folds ASCII letters only"


@dataclass(frozen=True)
class Fact:
    """A selection, an event, whether it matches, and why the backend says otherwise (or nothing)."""

    selection: str
    data: Mapping[str, Any]
    expected: bool
    why: str = ""
    condition: str = "s"
    placeholders: Mapping[str, list[str]] = field(default_factory=dict)


def f(selection: str, value: str | None, expected: bool, why: str = "", **more: Any) -> Fact:
    return Fact(selection, {"Z": "z"} if value is None else {"Z": "z", "A": value}, expected, why, **more)


def b64(text: str, encoding: str = "utf-8") -> str:
    return base64.b64encode(text.encode(encoding)).decode()


VALUES = [
    # strings: without case, whole value
    f("A: abc", "ABC", True), f("A: abc", "abcd", False), f("A: abc", "", False), f("A: abc", None, False),
    f("A: 'É'", "é", True, FOLDS), f("A|contains: 'ÄÖ'", "xäöx", True, FOLDS),
    # wildcards and their escapes
    f("A: a*", "a", True), f("A: a*", "xa", False), f("A: '*a'", "xa", True), f("A: 'a?c'", "abc", True), f("A: 'a?c'", "ac", False),
    f("A: 'a?c'", "abbc", False), f("A: '*a*b*'", "xaxbx", True), f("A: '*a*b*'", "xbxax", False), f("A: '?'", "", False),
    f("A: '?'", "é", True), f("A: 'a\\*c'", "a*c", True), f("A: 'a\\*c'", "abc", False), f("A: 'a\\?c'", "a?c", True),
    f("A: 'a\\?c'", "abc", False), f("A: 'a\\\\*c'", "a\\bc", True), f("A: 'a\\\\*c'", "a*c", False),
    f("A: 'a\\\\\\*c'", "a\\*c", True), f("A: 'a\\\\\\*c'", "a\\bc", False), f("A: 'a\\b'", "a\\b", True), f("A: 'a\\\\b'", "a\\b", True),
    f("A: 'a\\\\\\\\b'", "a\\\\b", True), f("A: 'a%b'", "a%b", True), f("A: 'a%b'", "axb", False), f("A: 'a_b'", "axb", False),
    f("A|contains: 'a?c'", "xxabcxx", True), f("A|contains: 'a*c'", "xa--cx", True), f("A|startswith: 'a*c'", "ab-c-d", True),
    f("A|endswith: '?c'", "c", False), f("A|contains: '\\*'", "a*b", True), f("A|contains: '\\*'", "ab", False), f("A: '**'", "", True),
    f("A: a*c", "a\nc", True), f("A: 'a.c'", "abc", False), f("A: 'a[bc]'", "ab", False),
    # empty, null, missing
    f("A: ''", "", True), f("A: ''", "x", False), f("A: ''", None, False), f("A: null", None, True), f("A: null", "", False),
    f("A: null", "null", False), f("A: [null, '']", "", True), f("A: [null, '']", None, True), f("A: [null, '']", "x", False),
    f("A: '*'", "x", True), f("A: '*'", "", True), f("A: '*'", None, False),
    f("A|exists: true", "", True), f("A|exists: true", None, False), f("A|exists: false", None, True), f("A|exists: false", "x", False),
    # contains, startswith, endswith
    f("A|contains: b", "abc", True), f("A|contains: d", "abc", False), f("A|startswith: AB", "abc", True), f("A|startswith: b", "abc", False),
    f("A|endswith: BC", "abc", True), f("A|endswith: b", "abc", False), f("A|contains: ''", "", True),
    # lists: any; with `all` every one
    f("A: [a, b]", "b", True), f("A: [a, b]", "c", False), f("A|contains|all: [a, b]", "ba", True), f("A|contains|all: [a, b]", "a", False),
    f("A|startswith: [x, a]", "ab", True), f("A|endswith: [x, y]", "ab", False), f("A|contains|all: [a]", "a", True),
    f("A|re|all: [a, b$]", "ab", True), f("A|re|all: [a, b$]", "ba", False),
    # cased
    f("A|cased: Ab", "Ab", True), f("A|cased: Ab", "ab", False), f("A|contains|cased: Ab", "xAbx", True), f("A|contains|cased: Ab", "xABx", False),
    f("A|startswith|cased: Ab", "Abc", True), f("A|endswith|cased: Ab", "xab", False), f("A|cased: 'A*b'", "AxxB", False),
    f("A|cased: 'A?b'", "Axb", True),
    # neq
    f("A|neq: a", "b", True), f("A|neq: a", "A", False), f("A|neq: [a, b]", "a", False), f("A|neq: [a, b]", "c", True),
    f("A|neq: 5", "6", True), f("A|neq: 5", "5", False),
    # numbers, booleans
    f("A: 5", "5", True), f("A: 5", "05", False), f("A: -1", "-1", True), f("A: 1.5", "1.5", True), f("A: true", "TRUE", True),
    f("A: false", "true", False),
    f("A|lt: 10", "9", True, NUMBERS), f("A|lt: 10", "10", False), f("A|lte: 10", "10", True), f("A|lte: 10", "10.5", False),
    f("A|gt: 10", "11", True), f("A|gt: 10", "9", False, NUMBERS), f("A|gte: 10", "10", True), f("A|gte: 10", "9.99", False, NUMBERS),
    f("A|gt: -5", "-4.5", True, NUMBERS), f("A|gt: 10", "", False), f("A|gt: 10", "x", False, NUMBERS), f("A|gt: 10", None, False),
    # regular expressions: found anywhere, with case unless i
    f("A|re: b+", "abbc", True), f("A|re: B", "abc", False), f("A|re|i: B", "abc", True), f("A|re: '^bc'", "abc", False),
    f("A|re|m: '^c'", "a\nc", True), f("A|re: '^c'", "a\nc", False), f("A|re|s: 'a.c'", "a\nc", True), f("A|re: 'a.c'", "a\nc", False),
    f("A|re|i|m|s: '^B.C$'", "a\nb\nc", True), f("A|re|ignorecase: B", "abc", True), f("A|re|multiline: '^c'", "a\nc", True),
    f("A|re|dotall: 'a.c'", "a\nc", True), f("A|re: 'a\\*'", "a*", True), f("A|re: '(?i)B'", "abc", True), f("A|re: ''", "", True),
    f("A|re: 'x{2,3}$'", "axx", True), f("A|re: '\\d+'", "a1", True), f("A|re: b", None, False),
    # networks
    f("A|cidr: 10.0.0.0/8", "10.255.0.1", True), f("A|cidr: 10.0.0.0/8", "11.0.0.1", False), f("A|cidr: 192.168.4.0/22", "192.168.7.9", True),
    f("A|cidr: 192.168.4.0/22", "192.168.8.0", False), f("A|cidr: 10.0.0.1/32", "10.0.0.1", True), f("A|cidr: 0.0.0.0/0", "1.2.3.4", True),
    f("A|cidr: 10.0.0.0/8", "10.host.example", False, CIDR6), f("A|cidr: [10.0.0.0/8, 127.0.0.0/8]", "127.0.0.1", True),
    f("A|cidr: fe80::/10", "fe80::1", True), f("A|cidr: fe80::/10", "FEBF::1", True), f("A|cidr: fe80::/10", "fec0::1", False),
    f("A|cidr: 2001:db8::/32", "2001:0db8:0000::1", True, CIDR6), f("A|cidr: 2001:db8::/32", "2001:db9::1", False),
    f("A|cidr: '::1/128'", "0:0:0:0:0:0:0:1", True, CIDR6), f("A|cidr: '::/0'", "10.0.0.1", False, CIDR6), f("A|cidr: 10.0.0.0/8", "", False),
    # windash: -, /, en dash, em dash, horizontal bar
    *[f("A|windash|contains: ' -f '", f"x {d}f y", True) for d in "-/–—―"], f("A|contains|windash: ' -f '", "x +f y", False),
    f("A|windash|contains: ' /f '", "x -f y", True), f("A|windash: '-a -b'", "/a –b", True),
    f("A|contains|all|windash: [' -a', ' -b']", "x /a -b", True), f("A|contains|all|windash: [' -a', ' -b']", "x /a", False),
    # encodings
    f("A|base64: foobar", b64("foobar"), True), f("A|base64: foobar", b64("foobaz"), False),
    f("A|base64|contains: foobar", "x" + b64("foobar"), True),
    *[f("A|base64offset|contains: secret", b64("x" * n + "secret" + "yyy"), True) for n in range(4)],
    f("A|base64offset|contains: secret", b64("public"), False),
    f("A|wide|base64: ab", b64("ab", "utf-16-le"), True), f("A|utf16le|base64: ab", b64("ab", "utf-16-le"), True),
    f("A|utf16be|base64: ab", b64("ab", "utf-16-be"), True), f("A|utf16|base64: ab", b64("ab", "utf-16"), True),
    f("A|utf16be|base64: ab", b64("ab", "utf-16-le"), False),
    *[f("A|utf16le|base64offset|contains: iex", b64("y" * n + "iex", "utf-16-le"), True) for n in range(3)],
    # expand
    f("A|expand: '%who%'", "BOB", True, placeholders={"Who": ["ann", "bob"]}), f("A|expand: '%who%'", "eve", False, placeholders={"who": ["ann"]}),
    f("A|expand: 'x-%who%-y'", "x-ann-y", True, placeholders={"who": ["ann"]}),
    f("A|contains|expand: '%who%'", "xx ann xx", True, placeholders={"who": ["ann"]}),
    f("A|expand: '%who%'", "a-x", False, placeholders={"who": ["a-*"]}),
    f("A|expand: '%who%'", "a-*", True, placeholders={"who": ["a-*"]}),
    f("A|contains|all|expand: ['%who%', z]", "ann z", True, placeholders={"who": ["ann"]}),
    # parts of a time
    f("A|minute: 5", "2024-05-01T10:05:00Z", True), f("A|hour: 10", "2024-05-01T10:05:00Z", True), f("A|day: 1", "2024-05-01 10:05:00", True),
    f("A|month: 5", "2024-05-01T10:05:00Z", True), f("A|year: 2024", "2024-05-01T10:05:00Z", True), f("A|hour: 11", "2024-05-01T10:05:00Z", False),
    f("A|hour: 10", "noon", False), f("A|week: 2", "2025-01-08T10:05:00Z", True, "weeks of strftime, not of ISO 8601"),
]  # fmt: skip

THREE = "a: {A: 1}\n  sel_b: {B: 1}\n  sel_c: {C: 1}"
PAIRS = [
    Fact("A|fieldref: B", {"A": "x", "B": "x"}, True), Fact("A|fieldref: B", {"A": "x", "B": "X"}, True),
    Fact("A|fieldref: B", {"A": "x", "B": "y"}, False), Fact("A|fieldref: B", {"A": "x"}, False), Fact("A|fieldref: B", {"B": "x"}, False),
    Fact("A|fieldref: B", {"Z": "z"}, False), Fact("A|fieldref|startswith: B", {"A": "abc", "B": "ab"}, True),
    Fact("A|fieldref|endswith: B", {"A": "abc", "B": "bc"}, True), Fact("A|fieldref|contains: B", {"A": "abc", "B": "b"}, True),
    Fact("A|fieldref|contains: B", {"A": "abc", "B": "x"}, False), Fact("A|fieldref|contains: B", {"A": "a*c", "B": "*"}, True),
    # fields of a map are joined by and, maps of a list by or
    Fact("{A: 1, B: 2}", {"A": "1", "B": "2"}, True), Fact("{A: 1, B: 2}", {"A": "1"}, False), Fact("[{A: 1}, {B: 2}]", {"B": "2"}, True),
    Fact("[{A: 1, B: 2}, {C: 3}]", {"A": "1", "C": "3"}, True), Fact("[{A: 1}, {B: 2}]", {"A": "2", "B": "1"}, False),
    # not over what is missing: a comparison that can't be made is false, so its negation is true
    Fact("A: x", {"Z": "z"}, True, "", "not s"), Fact("A|contains: x", {"Z": "z"}, True, "", "not s"),
    Fact("A|re: x", {"Z": "z"}, True, "", "not s"), Fact("A|cidr: 10.0.0.0/8", {"Z": "z"}, True, "", "not s"),
    Fact("A|gt: 1", {"Z": "z"}, True, "", "not s"), Fact("A|neq: x", {"Z": "z"}, True, "", "s"),
    Fact("A: null", {"Z": "z"}, False, "", "not s"), Fact("A|exists: true", {"Z": "z"}, True, "", "not s"),
    Fact("A: x", {"A": ""}, True, "", "not s"), Fact("A: x", {"A": "X"}, False, "", "not s"),
    Fact("A|fieldref: B", {"A": "x"}, True, "", "not s"), Fact("{A: x, B: y}", {"A": "x"}, True, "", "not s"),
    Fact("{A: x, B: y}", {"A": "x", "B": "y"}, False, "", "not s"), Fact("A: x", {"Z": "z"}, True, "", "not (s and s)"),
    Fact("A: x", {"Z": "z"}, False, "", "not (not s)"), Fact("[{A: x}, {B: null}]", {"A": "y", "B": "b"}, True, "", "not s"),
]  # fmt: skip
SELECTIONS = "  s_a: {A: 1}\n  s_b: {B: 1}\n  t: {C: 1}\n  _hidden: {D: 1}\n"
CONDITIONS = [
    ("1 of s_*", "A", True), ("1 of s_*", "C", False), ("all of s_*", "A", False), ("all of s_*", "AB", True), ("1 of them", "C", True),
    ("all of them", "AB", False), ("all of them", "ABC", True), ("1 of them", "D", False), ("s_a or t", "C", True), ("s_a and t", "C", False),
    ("s_a and not t", "A", True), ("s_a and not t", "AC", False), ("not s_a and not s_b", "C", True), ("not 1 of s_*", "C", True),
    ("not 1 of s_*", "BC", False), ("not all of s_*", "A", True), ("s_a or s_b and t", "A", True), ("(s_a or s_b) and t", "A", False),
    ("not (s_a or s_b) and t", "C", True), ("any of s_*", "B", True), ("1 of s_a*", "B", False),
    ("t and 1 of s_* and not _hidden", "AC", True), ("t and 1 of s_* and not _hidden", "ACD", False),
]  # fmt: skip


def third_opinion(text: str, data: Mapping[str, Any]) -> bool:
    """What SQLite says; columns compare without case, as Sigma's texts do."""
    with sqlite3.connect(":memory:") as database:
        database.create_function("REGEXP", 2, lambda p, v: v is not None and re2.search(p, v) is not None)
        names = sorted({"A", "B", "C", "D", "Z"} | set(data))
        database.execute(f"CREATE TABLE logs ({', '.join(f'{n} TEXT COLLATE NOCASE' for n in names)})")
        database.execute(f"INSERT INTO logs VALUES ({', '.join('?' * len(names))})", [data.get(n) for n in names])
        (query,) = sqliteBackend().convert(SigmaCollection.from_yaml(text))
        return bool(database.execute(query).fetchall())


def judge(text: str, fact: Fact) -> None:
    """All three; the backend only where it has no reason to differ."""
    rules = sigma(text, placeholders=fact.placeholders)
    assert rules.problems == ()
    batch = windows({"data": fact.data})
    assert bool(SigmaMatcher(rules.rules).hits(batch)) is fact.expected
    if fact.placeholders:
        return  # pySigma expands them in a pipeline, which is code of ours
    system = {k: v for k, v in batch.rows.to_pylist()[0].items() if k != "EventData"}
    assert (
        Oracle(SigmaRule.from_dict(yaml.safe_load(text))).matches("windows.event", system, fact.data) is fact.expected
    )
    try:
        other = third_opinion(text, fact.data)
    except (SigmaError, NotImplementedError, sqlite3.Error) as error:
        pytest.fail(f"the backend refuses: {error}")
    assert (other is fact.expected) is not bool(fact.why), (
        "the reason why the backend differs" if fact.why else "backend"
    )


@pytest.mark.parametrize(
    "fact", [*VALUES, *PAIRS], ids=lambda fact: f"{fact.condition}: {fact.selection} {dict(fact.data)}"
)
def test_values(fact: Fact) -> None:
    judge(detection(f"  s:\n    {fact.selection}\n  condition: {fact.condition}"), fact)


@pytest.mark.parametrize(("condition", "present", "expected"), CONDITIONS)
def test_conditions(condition: str, present: str, expected: bool) -> None:
    # Every field is there, so that SQL's NULL plays no part.
    data = {n: "1" if n in present else "0" for n in "ABCD"}
    judge(detection(f"{SELECTIONS}  condition: {condition}"), Fact("", data, expected))


KEYWORD_SOURCE = "{product: windows, service: system}"


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("[mimi]", True), ("[MIMI]", True), ("[nothing]", False), ("[nothing, mimi]", True), ("{'|all': [mimi, second]}", True),
        ("{'|all': [mimi, nothing]}", False), ("['mi*mi']", True), ("['m*z']", False), ("['m?mi']", True),
        ("{'|re': 'm.m'}", True), ("{'|re': 'M.M'}", False),
        ("['a\\*b']", True), ("[4711]", True), ("['key\"quoted']", True), ("['back\\slash']", True),
    ],
)  # fmt: skip
def test_keywords(selection: str, expected: bool) -> None:
    data = {"One": "x mimi y", "Two": "Second a*b 4711", "Three": 'key"quoted back\\slash'}
    text = detection(f"  s: {selection}\n  condition: s", KEYWORD_SOURCE)
    rules = sigma(text)
    assert rules.problems == ()
    batch = windows({"Channel": "System", "EventID": 7, "data": data})
    assert bool(SigmaMatcher(rules.rules).hits(batch)) is expected
    system = {k: v for k, v in batch.rows.to_pylist()[0].items() if k != "EventData"}
    assert Oracle(SigmaRule.from_dict(yaml.safe_load(text))).matches("windows.event", system, data) is expected


def test_several_conditions_are_or() -> None:
    rules = sigma(detection("  s: {A: 1}\n  t: {B: 1}\n  condition: [s, t]"))
    assert rules.problems == ()
    matcher = SigmaMatcher(rules.rules)
    assert [bool(matcher.hits(windows({"data": d}))) for d in ({"A": "1"}, {"B": "1"}, {"C": "1"})] == [
        True,
        True,
        False,
    ]


def test_a_list_of_a_hundred_thousand_values() -> None:
    values = "\n".join(f"      - value{n}.example" for n in range(100_000))
    rules = sigma(detection(f"  s:\n    A:\n{values}\n  condition: s"))
    assert rules.problems == ()
    matcher = SigmaMatcher(rules.rules)
    assert [len(matcher.hits(windows({"data": {"A": a}}))) for a in ("VALUE99999.example", "value100000.example")] == [
        1,
        0,
    ]
