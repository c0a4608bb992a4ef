"""Corners of the Sigma specification that come together: modifiers in chains, escapes beside placeholders, odd values, and what they must not match.

As `test_sigma_conformance.py`, whose three opinions it asks.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from sigma.rule import SigmaRule

from tocsin.detect.sigma.matcher import SigmaMatcher

from .sigma_oracle import Oracle
from .support import detection, sigma, windows
from .test_sigma_conformance import CIDR6, FOLDS, NUMBERS, Fact, b64, f, judge

CASES = [
    # dashes
    *[f("A|startswith|windash: '-enc '", f"{d}ENC x", True) for d in "-/–—―"],
    f("A|endswith|windash: ' /q'", "del x -q", True),
    f("A|contains|windash: ' -a -b'", "x /a ―b", True),
    f("A|contains|windash: [' -x ', ' -y ']", "t —Y z", True),
    f("A|contains|windash: ' --x '", "t --x z", True),
    f("A|contains|windash: 'a-b'", "a-b", True),
    f("A|windash|contains|all: [' -a', ' -b']", "c –b /a", True),
    f("A|windash: '-a*'", "/abc", True),
    f("A|contains|windash: ' -a?c '", "x /abc y", True),
    # encodings
    f("A|utf16|base64offset|contains: cmd", b64("cmd", "utf-16"), True),
    f("A|utf16|base64offset|contains: cmd", b64("cmd", "utf-16-be"), False),
    *[
        f("A|wide|base64offset|contains: ['http://', 'https://']", b64("y" * n + "https://x", "utf-16-le"), True)
        for n in range(3)
    ],
    f("A|utf16be|base64offset|contains: whoami", b64("-whoami", "utf-16-be"), True),
    f("A|base64offset|contains|all: [alpha, beta!]", b64("xxalphaxxxbeta!xx"), True),
    f("A|base64offset|contains|all: [alpha, beta!]", b64("xxalphaxx"), False),
    f("A|base64|contains: 'é'", b64("é"), True),
    # re
    f("A|re|i: '^ABC$'", "abc", True),
    f("A|re|i|m: '^B$'", "a\nb\nc", True),
    f("A|re|i|s: 'A.+C'", "a\n\nc", True),
    f("A|re|m|s: '^b.c$'", "a\nb\nc", True),
    f("A|re: '\\\\\\\\srv'", "\\\\srv", True),
    f("A|re: ['^a', 'z$']", "xz", True),
    f("A|re|i|all: ['^A', 'Z$']", "abz", True),
    f("A|re: 'a|b'", "xbx", True),
    f("A|re: '(?:ab){2}'", "xababx", True),
    f("A|re: '^$'", "", True),
    f("A|re: '^$'", "x", False),
    f("A|re: 'é'", "É", False),
    # cased
    f("A|cased|contains|all: [Ab, cD]", "xAbcD", True),
    f("A|contains|all|cased: [Ab, cD]", "xabcD", False),
    f("A|cased: [ab, AB]", "AB", True),
    f("A|cased: 'É'", "é", False),
    f("A|startswith|cased: 'C:\\\\Win*\\\\S'", "C:\\Windows\\System32", True),
    f("A|cased|windash: '-A'", "/A", True),
    f("A|cased|windash: '-A'", "/a", False),
    # fieldref
    Fact("A|fieldref|endswith: B", {"A": "C:\\x\\CMD.exe", "B": "\\cmd.EXE"}, True),
    Fact("A|fieldref|startswith: B", {"A": "ab", "B": ""}, True),
    Fact("A|fieldref: [B, C]", {"A": "x", "B": "y", "C": "X"}, True),
    Fact("A|fieldref: B", {"A": "a*", "B": "abc"}, False),
    Fact("A|fieldref|contains: B", {"A": "a[b]c", "B": "[b]"}, True),
    Fact("A|fieldref|neq: B", {"A": "x", "B": "y"}, True),
    Fact("A|fieldref|neq: B", {"A": "x", "B": "X"}, False),
    Fact("A|fieldref: B", {"A": "", "B": ""}, True),
    # cidr
    f("A|cidr: ['2001:db8::/32', 'fe80::/10', 10.0.0.0/8]", "fe80::abcd", True),
    f("A|cidr: ['2001:db8::/32', 'fe80::/10', 10.0.0.0/8]", "10.9.8.7", True),
    f("A|cidr: ['2001:db8::/32', 'fe80::/10', 10.0.0.0/8]", "192.168.1.1", False),
    f("A|cidr: 2001:db8:aa00::/40", "2001:db8:aaff:1::", True),
    f("A|cidr: 2001:db8:aa00::/40", "2001:db8:ab00::", False),
    f("A|cidr: 172.16.0.0/12", "172.31.255.255", True),
    f("A|cidr: 172.16.0.0/12", "172.32.0.0", False),
    f("A|cidr: 10.0.0.0/8", "10.0.0.1:443", False, CIDR6),
    f("A|cidr: 10.0.0.0/8", "::ffff:10.0.0.1", False),
    f("A|cidr: 192.168.0.0/31", "192.168.0.1", True),
    f("A|cidr: 192.168.0.0/31", "192.168.0.2", False),
    Fact("A|cidr: 10.0.0.0/8", {"A": "11.1.1.1"}, True, "", "not s"),
    # all
    f("A|contains|all: abc", "xABCx", True),
    f("A|endswith|all: [c, bc]", "abc", True),
    f("A|all: [a*, '*c']", "abc", True),
    f("A|all: [a*, '*c']", "ab", False),
    # null, empty, exists
    f("A: [null, x]", None, True),
    f("A: [null, x]", "X", True),
    f("A: [null, x]", "", False),
    Fact("{A: null, B: x}", {"B": "x"}, True),
    Fact("{A: null, B: x}", {"A": "", "B": "x"}, False),
    Fact("{A|exists: false, B: x}", {"B": "x"}, True),
    Fact("{A|exists: true, A|contains: ''}", {"A": ""}, True),
    Fact("A: ''", {"Z": "z"}, True, "", "not s"),
    Fact("A: '*'", {"A": ""}, False, "", "not s"),
    Fact("[{A: null}, {B: ''}]", {"A": "a", "B": ""}, True),
    Fact("A|startswith: ''", {"A": "q"}, True),
    Fact("A|endswith: ['', x]", {"A": "q"}, True),
    # wildcards
    f("A: 'a\\\\\\\\*'", "a\\\\bc", True),
    f("A: 'a\\\\\\\\*'", "a\\bc", False),
    f("A|contains: '\\\\\\?\\'", "x\\?\\y", True),
    f("A|endswith: '\\'", "a\\", True),
    f("A|startswith: '\\\\\\\\'", "\\\\srv", True),
    f("A|startswith: '\\\\\\\\'", "\\srv", False),
    f("A: '\\*'", "*", True),
    f("A: '\\*'", "x", False),
    f("A: '\\?\\*'", "?*", True),
    f("A: '***'", "abc", True),
    f("A: '?*?'", "a", False),
    f("A: '?*?'", "ab", True),
    f("A: '*.*'", "a", False),
    f("A|contains: '*'", "", True),
    f("A|startswith: '?b'", "abc", True),
    f("A: '* *'", "a b", True),
    f("A: 'a\\\\'", "a\\", True),
    f("A: '%a%'", "%A%", True),
    f("A: '_'", "x", False),
    f('A: "a\'b"', "a'b", True),
    f("A: 'a\"b'", 'a"b', True),
    # numbers, booleans
    f("A: '5'", "5", True),
    f("A: 5", "5.0", False),
    f("A: 1_000", "1000", True),
    f("A: [1, two, 3]", "TWO", True),
    f("A: [1, two, 3]", "3", True),
    f("A: yes", "true", True),
    f("A: 'true'", "True", True),
    f("A: 2147483648", "2147483648", True),
    f("A: -0", "0", True),
    f("A: 1.50", "1.5", True),
    # neq
    f("A|neq: 'a*'", "abc", False),
    f("A|neq: 'a*'", "xbc", True),
    f("A|neq: ''", "x", True),
    f("A|neq: ''", "", False),
    f("A|neq: 5", "abc", True),
    f("A|neq: 5", "", True),
    f("A|neq: -1.5", "-1.5", False),
    f("A|contains|neq: b", "abc", False),
    f("A|contains|neq: b", "xyz", True),
    f("A|endswith|neq: c", "abC", False),
    f("A|re|neq: '^a'", "abc", False),
    f("A|re|neq: '^a'", "xbc", True),
    f("A|neq: null", "x", True),
    f("A|neq: null", None, False),
    f("A|cidr|neq: 10.0.0.0/8", "10.1.1.1", False),
    f("A|neq|contains: b", "xyz", True),
    f("A|neq: [a, b]", None, True),
    f("A|cased|neq: Ab", "ab", True),
    f("A|neq: true", "false", True),
    # compare
    f("A|lt: 1.5", "1.25", True),
    f("A|gte: -3", "-3", True),
    f("A|lt: 0", "-0.5", True),
    f("A|gt: 1000", "1e4", True),
    f("A|lte: 5", "five", False),
    Fact("{A|gte: 10, A|lt: 20}", {"A": "15"}, True),
    Fact("{A|gte: 10, A|lt: 20}", {"A": "20"}, False),
    f("A|gt: [10, 5]", "7", True),
    f("A|gt: 1", "nan", False, NUMBERS),
    f("A|lt: 5", "-inf", False, NUMBERS),
    # expand
    f("A|expand: '%p%'", "C:\\x\\*", True, placeholders={"p": ["C:\\x\\*"]}),
    f("A|expand: '%p%'", "C:\\x\\y", False, placeholders={"p": ["C:\\x\\*"]}),
    f("A|expand: '%p%'", "a?c", True, placeholders={"p": ["a?c"]}),
    f("A|expand: '%p%'", "abc", False, placeholders={"p": ["a?c"]}),
    f("A|expand: '%p%'", "100%", True, placeholders={"p": ["100%"]}),
    f("A|expand: '%p%'", "a\\\\b", True, placeholders={"p": ["a\\\\b"]}),
    f("A|endswith|expand: '\\%p%'", "C:\\dir\\", True, placeholders={"p": ["dir\\"]}),
    f("A|expand: '%p%-%q%'", "a-2", True, placeholders={"p": ["a", "b"], "q": ["1", "2"]}),
    f("A|expand: ['%p%', lit]", "LIT", True, placeholders={"p": ["x"]}),
    f("A|expand: '%p%*'", "abz", True, placeholders={"p": ["ab"]}),
    f("A|cased|expand: '%p%'", "AB", False, placeholders={"p": ["ab"]}),
    f("A|re|expand: '^%p%$'", "a.b", True, placeholders={"p": ["a.b"]}),
    f("A|expand: '%p%'", "7", True, placeholders={"p": ["7"]}),
    # time
    f("A|hour: 0", "2024-12-31T00:59:59Z", True),
    f("A|day: 31", "2024-12-31T23:59:59.999Z", True),
    f("A|month: 12", "2024-12-31T23:59:59.9999999Z", True),
    f("A|year: 2023", "2024-01-01T00:00:00Z", False),
    f("A|minute: [0, 30]", "2024-05-01 10:30:00.123", True),
    f("A|week: 1", "2024-12-31T00:00:00Z", True, "weeks of strftime, not of ISO 8601"),
    f("A|hour: 23", "2024-05-01T23:30:00-02:00", True, "the backend counts in UTC"),
    # case
    f("A: 'STRASSE'", "straße", False),
    f("A|contains: 'k'", "\u212a", True, FOLDS),
    f("A: 'σ'", "Σ", True, FOLDS),
    f("A: '??'", "😀", False),
    f("A: '?'", "😀", True),
    f("A|contains: '😀'", "x😀y", True),
]

NAMES = [
    Fact("'Field Name': x", {"Field Name": "x"}, True),
    Fact("'a.b': x", {"a.b": "X"}, True),
    Fact("'a-b_c': x", {"a-b_c": "x"}, True),
    Fact("'Field Name|contains': x", {"Field Name": "yxy"}, True),
]
"""Names that the backend's SQL can't have."""


@pytest.mark.parametrize("fact", CASES, ids=lambda fact: f"{fact.condition}: {fact.selection} {dict(fact.data)}")
def test_values(fact: Fact) -> None:
    judge(detection(f"  s:\n    {fact.selection}\n  condition: {fact.condition}"), fact)


@pytest.mark.parametrize("fact", NAMES, ids=lambda fact: fact.selection)
def test_names(fact: Fact) -> None:
    text = detection(f"  s:\n    {fact.selection}\n  condition: s")
    batch = windows({"data": fact.data}, {"data": {"Z": "z"}})
    assert [h.row.get("Z") for h in SigmaMatcher(sigma(text).rules).hits(batch)] == [None]
    system = {k: v for k, v in batch.rows.to_pylist()[0].items() if k != "EventData"}
    assert Oracle(SigmaRule.from_dict(yaml.safe_load(text))).matches("windows.event", system, fact.data)


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("A|base64: 'a*b'", "wildcards is not allowed"),
        ("A|cidr|expand: '%p%'", "Invalid CIDR expression"),
        ("A|windash: ' -a -b -c -d'", "at most three"),
        ("A|containz: x", "containz"),
        ("A|re: '(?=x)'", "invalid"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(selection: str, said: str) -> None:
    (problem,) = sigma(detection(f"  s:\n    {selection}\n  condition: s"), placeholders={"p": ["10.0.0.0/8"]}).problems
    assert said in f"{problem.message} {problem.hint}"


def test_a_watchlist_of_thousands() -> None:
    values = [f"host{n}.example" for n in range(5_000)]
    text = detection("  s: {A|expand: '%servers%', B|re|expand: '^(%servers%)$'}\n  condition: s")
    matcher = SigmaMatcher(sigma(text, placeholders={"Servers": values}).rules)
    data = [
        {"A": "HOST4999.example", "B": "host7.example"},
        {"A": "host5000.example", "B": "host7.example"},
        {"A": "host1.example", "B": "host7xexample"},
    ]
    assert [len(matcher.hits(windows({"data": d}))) for d in data] == [1, 0, 0]
    assert (
        "more than 100,000"
        in sigma(detection("  s: {A|expand: '%servers%-%servers%'}\n  condition: s"), placeholders={"servers": values})
        .problems[0]
        .message
    )


def test_an_empty_watchlist_filters_nothing() -> None:
    text = detection("  s: {A: x}\n  known: {B|expand: '%known%'}\n  condition: s and not known")
    matcher = SigmaMatcher(sigma(text, placeholders={"known": []}).rules)
    assert len(matcher.hits(windows({"data": {"A": "x", "B": "y"}}))) == 1


# ------------------------------------------------------------------ correlations

START = datetime(2024, 5, 1, 10, tzinfo=UTC)
RULES = "\n---\n".join(
    f"title: {n}\nid: 0a1b2c3d-0000-4000-8000-00000000000{i}\nname: {n}\nlogsource: {{product: windows, category: process_creation}}\n"
    f"detection: {{s: {{{n.upper()}: 1}}, condition: s}}"
    for i, n in enumerate(("a", "b"))
)


def fired(correlation: str, *events: tuple[float, dict[str, Any]]) -> list[tuple[str, int]]:
    """Rules and how many hits each of their alerts has."""
    loaded = sigma(
        f"{RULES}\n---\ntitle: C\nid: 0a1b2c3d-0000-4000-8000-0000000000c1\ncorrelation:\n  timespan: 10s\n{correlation}"
    )
    assert loaded.problems == ()
    matcher = SigmaMatcher(loaded.rules)
    for at, data in events:
        moment = (START + timedelta(seconds=at)).isoformat()
        matcher.match(windows({"TimeCreated": moment, "data": {k: str(v) for k, v in data.items()}}))
    return sorted((a.rule, a.count) for a in matcher.finish() if a.rule == "C")


A, B = {"A": 1}, {"B": 1}
COUNT = "  type: event_count\n  rules: [a]\n"
WHO = "  type: temporal\n  rules: [a, b]\n  group-by: [who]\n  aliases: {who: {a: User, b: TargetUserName}}\n"
ORDERED = "  type: temporal_ordered\n  rules: [a, b]"
SUM = "  type: value_sum\n  rules: [a, b]\n  aliases: {n: {a: Sent, b: Got}}\n"
USERS = "  type: value_count\n  rules: [a]\n  condition: {field: User, gte: 2}"


@pytest.mark.parametrize(
    ("correlation", "events", "count"),
    [
        # a span's ends belong to it
        (COUNT + "  condition: {gte: 2}", [(0, A), (10, A)], 1), (COUNT + "  condition: {gte: 2}", [(0, A), (10.001, A)], 0),
        # ranges
        (COUNT + "  condition: {gte: 2, lte: 3}", [(0, A), (1, A), (2, A)], 1), (COUNT + "  condition: {gt: 1, lt: 3}", [(0, A), (1, A), (2, A)], 0),
        (COUNT + "  condition: {gt: 1, lt: 3}", [(0, A), (1, A)], 1),
        # what is missing isn't counted, and case isn't told apart
        (USERS, [(0, {**A, "User": "u"}), (1, {**A, "User": "U"}), (2, A)], 0),
        (USERS, [(0, {**A, "User": "u"}), (1, {**A, "User": "v"})], 1),
        # order: a later beginning within the span counts, and one event may be both
        (ORDERED, [(0, A), (50, A), (55, B)], 1), (ORDERED, [(0, B), (5, A)], 0),
        ("  type: temporal\n  rules: [a, b]", [(0, {**A, **B})], 1),
        # aliases: where rules name a field otherwise, also of numbers
        (WHO, [(0, {**A, "User": "ann"}), (1, {**B, "TargetUserName": "ANN"})], 1),
        (WHO, [(0, {**A, "User": "ann"}), (1, {**B, "User": "ann", "TargetUserName": "eve"})], 0),
        (SUM + "  condition: {field: n, gte: 10}", [(0, {**A, "Sent": 4}), (1, {**B, "Got": 6})], 1),
        (SUM.replace("sum", "median") + "  condition: {field: n, gt: 4}", [(0, {**A, "Sent": 4}), (1, {**B, "Got": 6})], 1),
        # what is no number isn't counted as one
        ("  type: value_sum\n  rules: [a]\n  condition: {field: N, gte: 10}", [(0, {**A, "N": "inf"}), (1, {**A, "N": "x"}), (2, {**A, "N": 9})], 0),
        ("  type: value_avg\n  rules: [a]\n  condition: {field: N, lt: 3, gt: 1}", [(0, {**A, "N": "nan"}), (1, {**A, "N": 2})], 1),
    ],
)  # fmt: skip
def test_correlations(correlation: str, events: list[tuple[float, dict[str, Any]]], count: int) -> None:
    assert len(fired(correlation, *events)) == count


def test_ranges_take_numbers_only() -> None:
    text = f"{RULES}\n---\ntitle: C\ncorrelation: {{type: event_count, rules: [a], timespan: 1m, condition: {{gte: 2, lte: many}}}}\n"
    (problem,) = sigma(text).problems
    assert "'lte' needs a number, not 'many'." in problem.message
