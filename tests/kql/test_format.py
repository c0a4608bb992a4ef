"""Formatting: the layout, and that it never changes what a query means."""

from __future__ import annotations

import random
from collections import Counter
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kql.test_parser import OPERATOR_CASES
from tests.kql.trees import corpus
from tocsin.kql import KqlErrors, ast
from tocsin.kql.format import WIDTH, format_query, layout
from tocsin.kql.lexer import comments, tokenize
from tocsin.kql.parser import parse, parse_partial
from tocsin.kql.walk import same_tree


def remarks(text: str) -> Counter[str]:
    """The comments of a text."""
    tokens = tokenize(text)
    end, found = 0, Counter()
    for start, finish in zip(tokens.starts, tokens.ends, strict=True):
        found.update(text[a:b].rstrip() for a, b in comments(text, end, start))
        end = finish
    return found


def check(text: str, tree: ast.Query) -> str:
    """Everything that is promised of a formatted text."""
    result = layout(text, tree)
    assert same_tree(parse(result), tree), result
    assert remarks(result) == remarks(text), result
    assert layout(result, parse(result)) == result, result
    assert not any(line != line.rstrip() for line in result.splitlines() if "//" not in line and "`" not in result)
    return result


CASES = [
    ("T|where a==1|take 5", "T\n| where a == 1\n| take 5\n"),
    ("let a=1;T", "let a = 1;\nT\n"),
    ("let a = T|take 1;a", "let a =\n    T\n    | take 1;\na\n"),
    ("let a = 1;\n\n\n\nlet b = 2;T", "let a = 1;\n\nlet b = 2;\nT\n"),
    ("T | where a in(1,2)", "T\n| where a in (1, 2)\n"),
    ("T|where a in((U|project b))", "T\n| where a in ((U | project b))\n"),
    ("T|join kind = inner(U|where c|take 1)on a", "T\n| join kind=inner (\n    U\n    | where c\n    | take 1\n) on a\n"),
    ("T|summarize count ( ) by bin ( t , 1h )", "T\n| summarize count() by bin(t, 1h)\n"),
    ("print -1 - -x * ( - 2 )", "print -1 - -x * (-2)\n"),
    ("print a . b [ 0 ] . [ 'c' ]", "print a.b[0].['c']\n"),
    ("print x=dynamic( {'a' :-1,'b':[ ]} )", "print x = dynamic({'a': -1, 'b': []})\n"),
    ("T|where t between(a..b)", "T\n| where t between (a .. b)\n"),
    ("T | project-away a* , *b", "T\n| project-away a*, *b\n"),
    ("T | extend x=a*b", "T\n| extend x = a * b\n"),
    ("print datetime( 2020-01-01 )", "print datetime(2020-01-01)\n"),
    ("let f=(a:long,b:string='x'){a+1};f(1)", "let f = (a:long, b:string = 'x') { a + 1 };\nf(1)\n"),
    ("let f=(){let c=1;T|where a==c};f", "let f = () {\n    let c = 1;\n    T\n    | where a == c\n};\nf\n"),
    ("datatable(a:string,b:long)['x',1,'y',2]", "datatable(a:string, b:long) [\n    'x', 1,\n    'y', 2\n]\n"),
    ("datatable(a:string)['x','y']", "datatable(a:string) ['x', 'y']\n"),
    ("T // why\n| take 1 // how", "T // why\n| take 1 // how\n"),
    ("T\n  // why\n| take 1", "T\n// why\n| take 1\n"),
    ("// file\n\n// more\nT", "// file\n\n// more\nT\n"),
    ("T | project a // first\n, b", "T\n| project\n    a, // first\n    b\n"),
    ("T // c\n;", "T; // c\n"),
    ("T\n//end", "T\n//end\n"),
    (";;T;;", "T;\n"),
    ("search in(T) col:'x'", "search in (T) col:'x'\n"),
    ("T|evaluate f():(a:long)", "T\n| evaluate f() : (a:long)\n"),
    ("G|graph-match (a) - [e*1..3] -> (b) project a", "G\n| graph-match (a)-[e*1..3]->(b) project a\n"),
    ("T|make-graph a-->b", "T\n| make-graph a --> b\n"),
    ("T|scan declare(n:long=0) with(step s output = last:true=>n=1;step u:x;)",
     "T\n| scan declare (n:long = 0) with (\n    step s output=last: true => n = 1;\n    step u: x;\n)\n"),
    ("T|make-series n=count()default = 0 on t step 1d", "T\n| make-series n = count() default=0 on t step 1d\n"),
    ("T|top-nested 1 of a with others = 'x' by sum(b)", "T\n| top-nested 1 of a with others='x' by sum(b)\n"),
    ("print toscalar(T|count)", "print toscalar(T | count)\n"),
    ("database('d').f(1).T*", "database('d').f(1).T*\n"),
    ("T | summarize hint.strategy = shuffle count()", "T\n| summarize hint.strategy=shuffle count()\n"),
    ("print ```a\n  b```", "print\n    ```a\n  b```\n"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_layout(text: str, expected: str) -> None:
    if "```" in text:
        assert check(text, parse(text)).endswith("```a\n  b```\n")
    else:
        assert format_query(text) == expected
        check(text, parse(text))


def test_long_lists_and_predicates_are_broken() -> None:
    text = (
        "T | where aaaaaaaaaaaaaaaaaaaaaaaaaaaaa == 1 and (bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb == 2 or ccccccccccccccccc == 3) and not(d)"
        " | project aaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbb = ccccccccccccccccccccc, ddddddddddddddddddddddd, e"
        " | summarize aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa = count(), bbbbbbbbbbbbbbbbbbbbbbbbbbb = dcount(c) by dddddddddddddddddd, e"
    )
    assert format_query(text) == dedent("""\
        T
        | where aaaaaaaaaaaaaaaaaaaaaaaaaaaaa == 1
            and (bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb == 2 or ccccccccccccccccc == 3)
            and not(d)
        | project aaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbb = ccccccccccccccccccccc, ddddddddddddddddddddddd, e
        | summarize
            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa = count(),
            bbbbbbbbbbbbbbbbbbbbbbbbbbb = dcount(c)
            by dddddddddddddddddd, e
        """)


def test_many_constants_fill_lines() -> None:
    result = format_query("T | where a in (" + ", ".join(str(n) for n in range(100)) + ")")
    assert all(len(line) <= WIDTH for line in result.splitlines())
    assert len(result.splitlines()) == 7


@pytest.mark.parametrize("text", [text for text, _ in OPERATOR_CASES])
def test_every_operator_keeps_its_meaning(text: str) -> None:
    check(text, parse(text))


def test_what_does_not_parse_is_refused() -> None:
    with pytest.raises(KqlErrors):
        format_query("T | wher a")


def test_deep_text_is_formatted() -> None:
    check("print " + "(" * 100 + "1" + ")" * 100, parse("print " + "(" * 100 + "1" + ")" * 100))
    deep = "T | join (" * 40 + "T" + ") on a" * 40
    check(deep, parse(deep))


@pytest.mark.parametrize("name", ["kql-hunting", "kql-oracle-docs", "kql-oracle-fuzz", "kql-docs", "kql-docs-noout"])
def test_corpora_keep_their_meaning(name: str) -> None:
    for case in corpus(name):
        tree, faults = parse_partial(case["query"])
        if not faults:
            check(case["query"], tree)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_white_space_and_comments_keep_their_meaning(seed: int) -> None:
    """White space and comments put between the tokens of a real query, anywhere they may stand."""
    chance = random.Random(seed)
    cases = corpus(chance.choice(["kql-hunting", "kql-oracle-docs", "kql-docs"]))
    text = chance.choice(cases)["query"][:3000]
    if parse_partial(text)[1]:
        return
    tokens = tokenize(text)
    parts, end = [], 0
    for number, (start, finish) in enumerate(zip(tokens.starts, tokens.ends, strict=True)):
        gap = text[end:start]
        if gap and chance.random() < 0.2:
            gap += chance.choice([" ", "\n", "\n\n", "\t", "// note\n", "\n// note\n", "\n\n  // a\n\n// b\n", "//\n"])
        parts += [gap, text[start:finish]]
        end = finish
        if number > 400:
            parts.append(text[end:])
            break
    noisy = "".join(parts)
    tree, faults = parse_partial(noisy)
    if not faults:
        check(noisy, tree)
