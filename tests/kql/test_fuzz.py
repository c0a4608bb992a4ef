"""What the fuzzer found, for ever; and that what it tries is fit to find something."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.kql.fuzz import promises
from tests.kql.fuzz.promises import FindingError, check
from tests.kql.fuzz.texts import Mutator, seeds
from tocsin.kql.diagnostics import Diagnostic
from tocsin.kql.parser import parse_partial

FINDINGS = sorted((Path(__file__).parent / "fuzz/findings").glob("*.kql"))


@pytest.mark.parametrize("path", FINDINGS, ids=lambda p: p.stem)
def test_a_finding_stays_fixed(path: Path) -> None:
    check(path.read_bytes().decode("utf-8", "replace"))


def test_answers_and_refusals_are_told_apart() -> None:
    assert check("T | where s has 'cmd' | summarize count() by bin(t, 1h)") == ""
    assert check("T | where nosuch == 1") == "KQL0101"
    assert check("print x = datatable") != ""


def test_a_broken_promise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's words, an exception in a Python function, a formatter that loses something, a raw control character."""
    here = promises.world()
    with monkeypatch.context() as patch:
        patch.setattr(here, "compile", lambda _: _Sql("SELECT no_such_function(1) AS c1"))
        with pytest.raises(FindingError, match="QRY0006"):
            check("print 1")
    with monkeypatch.context() as patch:
        patch.setattr(promises, "layout", lambda _text, _tree: "print 2\n")
        with pytest.raises(FindingError, match="meaning"):
            check("print 1")
    with pytest.raises(FindingError, match="U\\+001B"):
        promises._shown((Diagnostic("KQL0001", "a \x1b here", (0, 1), 1, 1),), "x")


class _Sql:
    """A compiled query by hand."""

    columns = (type("Column", (), {"name": "x", "type": "long", "ticks": False})(),)
    tables: frozenset[str] = frozenset()
    more: tuple[object, ...] = ()

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.parameters: dict[str, object] = {}


def test_mutated_texts_reach_the_engine() -> None:
    """Most seeds are whole queries, and enough mutants still are: a fuzzer of nothing but syntax errors would find nothing."""
    chance = random.Random(5)
    texts = [t for t in seeds() if len(t) < 400]
    mutator = Mutator(texts)
    sample = [chance.choice(texts) for _ in range(300)]
    whole = sum(not parse_partial(t)[1] for t in sample)
    mutants = sum(not parse_partial(mutator(t, chance))[1] for t in sample)
    assert whole > 250
    assert mutants > 30


def test_a_few_mutants_keep_every_promise() -> None:
    chance = random.Random(11)
    texts = [t for t in seeds() if len(t) < 400]
    mutator = Mutator(texts)
    for _ in range(150):
        check(mutator(chance.choice(texts), chance))
