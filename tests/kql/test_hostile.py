"""Text made to break the parser: an answer or KqlErrors in bounded time, never anything else."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.kql import hostile
from tests.kql.prefixes import broken, prefixes
from tests.kql.trees import corpus
from tocsin.kql import KqlErrors
from tocsin.kql.format import format_query
from tocsin.kql.parser import MAX_HEIGHT, MAX_TEXT, OPERATORS, parse, parse_partial
from tocsin.kql.walk import children, walk

MEGABYTE = 1_000_000
SECONDS = 20  # of a busy machine; an idle one needs a tenth


def answer(text: str) -> str:
    """The code of the first fault, or nothing; fails where it takes too long."""
    started = time.perf_counter()
    refusal: KqlErrors | None = None
    try:
        parse(text)
    except KqlErrors as error:
        refusal = error
    assert refusal is None or (refusal.diagnostics and refusal.render())
    assert time.perf_counter() - started < SECONDS
    return refusal.code if refusal else ""


@pytest.mark.parametrize("character", list('([{)|;-*"`\\'))
def test_a_megabyte_of_one_character(character: str) -> None:
    answer("print " + character * MEGABYTE)


@pytest.mark.parametrize("character", list("([{)]}|;,.-+*\"'`~@!$#\\=<>:\0\n\u202e\ufeffaé1"))
def test_much_of_one_character(character: str) -> None:
    answer("print " + character * 50_000)
    answer(character * 50_000)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("print " + "(" * 50_000 + "1" + ")" * 50_000, "KQL0020"),
        ("print " + "(" * 100 + "1" + ")" * 100, ""),
        ("print " + "f(" * 10_000 + ")" * 10_000, "KQL0020"),
        ("print " + "iff(a, 1, " * 140 + "0" + ")" * 140, ""),
        ("print dynamic(" + "[" * 100_000 + "]" * 100_000 + ")", "KQL0020"),
        ("T" + " | where a == 1" * 10_000, ""),
        ("T" + " | wher a == 1" * 10_000, "KQL0011"),
        ("T | where " + " or ".join(f"a == {n}" for n in range(10_000)), ""),
        ("print " + "+".join(["1"] * 200), ""),
        ("print " + "+".join(["1"] * 10_000), "KQL0020"),
        ("print " + "-" * 10_000 + "1", "KQL0020"),
        ("print a" + ".b" * 10_000, "KQL0020"),
        ("print a" + "[0]" * 10_000, "KQL0020"),
        ("; ".join(f"let a{n} = {n}" for n in range(1000)) + "; print a0", ""),
        ("let f = () { " * 1000 + "1" + " }" * 1000 + "; print 1", "KQL0020"),
        ("T | join (" * 1000 + "T" + ") on a" * 1000, "KQL0020"),
        ("T | join (" * 40 + "T" + ") on a" * 40, ""),
        ("T | mv-apply a on (" * 10_000, "KQL0011"),
        ("print " + "datetime(" * 100_000, "KQL0013"),
        ('print "a\n' * 100_000, "KQL0002"),
        ("let f = (a," * 100_000, "KQL0010"),
        ("T | project" + "-away" * 100_000, "KQL0011"),
        ("G | graph-match " + "(a)--" * 100_000, "KQL0013"),
        ("T | where a in (" + ",".join(map(str, range(100_000))) + ")", ""),
        ("datatable(a:string) [" + ",".join(f"'{n}'" for n in range(100_000)) + "]", ""),
        ("print '" + "\\" * 100_001, "KQL0002"),
        ("print 1" + "9" * 100_000, "KQL0003"),
        ("print " + "9" * 5000 + "d", ""),
        ("print datetime(" + "9" * 100_000 + ")", "KQL0003"),
        ("print time(" + "9" * 100_000 + ":00)", "KQL0003"),
        ("print 1e" + "9" * 1000, "KQL0003"),
        ("T " * 100_000, "KQL0010"),
        ("x" * (MAX_TEXT + 1), "KQL0004"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_much_of_something(text: str, code: str) -> None:
    assert answer(text) == code


def test_no_tree_is_higher_than_promised() -> None:
    for text in (
        "print " + "(" * 45 + "+".join(["1"] * 40) + ")" * 45,
        "print " + "(a + " * 140 + "1" + ")" * 140,
        "print " + "((a.b.c.d + 1) * 2 + f(" * 45 + "1" + "))" * 45,
        "print " + "+".join(["a"] * 240),
    ):
        tree, faults = parse_partial(text)
        level, height = [tree], 0
        while level:
            level = [child for node in level for child in children(node)]  # type: ignore[misc]
            height += 1
        assert height <= MAX_HEIGHT + 2 or [f.code for f in faults] == ["KQL0020"]
    deep = "(" * 140
    nested = deep + "1" + "".join(")" + "+1" * 100 for _ in range(140))
    assert answer("print " + nested) == "KQL0020"


def test_a_caller_on_a_deep_stack_gets_an_answer_too() -> None:
    def below(frames: int) -> str:
        return below(frames - 1) if frames else answer("print " + "f(" * 140 + ")" * 140)

    for frames in range(0, sys.getrecursionlimit() - 150, 50):
        assert below(frames) in ("", "KQL0020")


def test_every_prefix_of_real_queries() -> None:
    chance = random.Random(7)
    for name in ("kql-hunting", "kql-oracle-docs", "kql-docs-noout", "kql-oracle-fuzz"):
        for case in chance.sample(corpus(name), 12):
            text = case["query"]
            for end in range(0, len(text), 1 if len(text) < 1500 else len(text) // 500):
                tree, faults = parse_partial(text[:end])
                assert all(0 <= f.span[0] <= f.span[1] <= max(end, 1) + 1 for f in faults)
                assert all(0 <= n.span[0] <= n.span[1] <= end for n in walk(tree)), text[:end]


_WORDS = [
    *OPERATORS, "let", "set", "declare", "pattern", "view", "on", "by", "with", "to", "typeof", "dynamic", "datetime", "T", "a", "b",
    "1", "2.5", "1d", "'s'", '"x', "@'v'", "```", "(", ")", "[", "]", "{", "}", ",", ";", "|", "=", "==", "=~", "!in", "in~", "has",
    "between", "..", ".", ":", "*", "-", "-->", "<-[", "=>", "$left", "and", "or", "not", "asc", "kind", "hint.x", "step", "//c\n", "\n",
]  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), max_size=25), st.sampled_from(["", " "]))
@example(["T", "|", "where"], " ")
@example(["let"], " ")
@example(["'a-b-c-d-e-f-g-h'"], " ")
@example(["T", "|", "top", "1", "by", "a", "nulls"], " ")
@example(["T", "|", "make-graph", "a", "-->"], " ")
def test_any_words(words: list[str], space: str) -> None:
    text = space.join(words)
    _, faults = parse_partial(text)
    if not faults:
        format_query(text)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    answer(text)
    answer("T | where " + text)


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_queries(seed: int) -> None:
    """A real query with characters lost, doubled or exchanged."""
    chance = random.Random(seed)
    text = chance.choice(corpus("kql-hunting"))["query"][:2000]
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(text) + 1)
        change = chance.choice(["", chance.choice("()[]{}|;,.'\"=*-@`\\ \n"), chance.choice(_WORDS)])
        text = text[:at] + change + text[at + chance.randint(0, 3) :]
    answer(text)


HEAVY = (
    "long list of numbers",
    "long list of texts",
    "long list of terms",
    "cases",
    "text of texts",
    "series",
    "million rows of text",
)


def test_queries_made_to_exhaust_the_machine() -> None:
    """Those that a moment settles; ``make hostile`` runs them all. In a process of its own, with a limit on its memory."""
    names = [
        n
        for n, _ in hostile.texts()
        if n.startswith(("doubling", "wide", "half", "recursion", "constant JSON", "nul", "million rows"))
    ]
    names = [n for n in names if n not in HEAVY] + [
        "mutual recursion",
        "stored recursion",
        "cross join",
        "directions",
        "assertion",
        "gzip bomb",
    ]
    command = f'ulimit -v 8000000; exec {sys.executable} -m tests.kql.hostile "$@"'
    done = subprocess.run(
        ["sh", "-c", command, "hostile", *names], capture_output=True, text=True, timeout=300, check=False
    )
    outcomes = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [o["name"] for o in outcomes if o["verdict"].startswith("BROKEN") or o["cpu"] > 15] == [], done.stderr[
        -2000:
    ]
    assert len(outcomes) == len(names), done.stderr[-2000:]
    assert max(o["peak"] for o in outcomes) < 2_000


def test_prefixes_are_bound() -> None:
    chance = random.Random(3)
    for name in ("kql-hunting", "kql-oracle-docs", "kql-oracle-fuzz"):
        for case in chance.sample(corpus(name), 6):
            assert list(broken(prefixes(case["query"][:1500], 17))) == []
