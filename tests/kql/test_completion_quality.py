"""Completion against what authors wrote: the figure that `python -m tests.kql.completion_quality` prints, on a small sample."""

from __future__ import annotations

import random

import pytest

from tests.kql.completion_quality import measure, words
from tests.kql.trees import corpus
from tocsin.kql.parser import parse_partial


def test_words_are_those_that_name_what_exists() -> None:
    text = "let n = 5; T | extend a = b.c, d = strlen(e) | join kind=inner (U) on $left.x == $right.y | mv-expand f"
    named = [text[start:end] for start, end in words(text)]
    assert named == [
        *("let", "T", "extend", "b", "strlen", "e", "join", "kind", "inner", "U", "on"),
        *("$left", "x", "$right", "y", "mv-expand", "f"),
    ]


def test_the_word_that_comes_next_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    from tocsin.cli.kql_engine import CaseEngine

    cases = [c for c in random.Random(3).sample(corpus("kql-hunting"), 60) if not parse_partial(c["query"])[1]]
    with CaseEngine() as engine:
        measure(cases[:5], engine.catalog, (1,), 5, 1)  # declarations are read when first asked for
        quality = measure(cases, engine.catalog, (0, 1), 6, 3)
    times = sorted(seconds for seconds, _ in quality.seconds)
    with capsys.disabled():
        print(
            f" [{quality.asked} words: {quality.share(0):.1%} before, {quality.share(1):.1%} after one letter]", end=""
        )
    assert quality.share(0) >= 0.85
    assert quality.share(1) >= 0.95
    assert times[int(len(times) * 0.95)] < 0.030  # CPU time
