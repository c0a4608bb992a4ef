"""Material for the fuzzer: seeds, the words of the language, and a mutator that works on tokens.

Nothing of it is kept in the repository: seeds come from the recorded corpora where they are on this machine, and from the examples of our own
tables of functions and operators everywhere.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from tocsin.kql.functions import registry
from tocsin.kql.lexer import END, tokenize
from tocsin.kql.operator_docs import OPERATOR_DOCS
from tocsin.kql.parser import OPERATORS, STATEMENTS
from tocsin.kql.parser.expressions import INFIX_WORDS
from tocsin.kql.parser.literals import TYPE_NAMES

__all__ = ["Mutator", "seeds", "words"]

SHARED = Path("/work/shared/corpus")
_CORPORA = ("kql-oracle-docs", "kql-oracle-fuzz", "kql-docs", "kql-docs-noout", "kql-oracle-rejects", "kql-hunting")
_COLUMNS = ("s", "l", "i", "r", "b", "t", "p", "d", "g", "TimeGenerated", "['Odd name']")
_VALUES = (
    "0", "1", "-1", "2147483648", "9223372036854775807", "-9223372036854775808", "1e308", "real(nan)", "real(+inf)", "int(null)",
    "long(null)", "''", "'a'", "' '", "'Ü\u202e'", "@'\\d+'", "'\\\\'", "'%'", "'('", "dynamic(null)", "dynamic([])", "dynamic({})",
    "dynamic([1,'a',null])", "dynamic({'a':1})", "datetime(null)", "datetime(9999-12-31)", "datetime(0001-01-01)", "now()", "ago(1d)",
    "1d", "0s", "1tick", "timespan(null)", "time(10675199.02:48:05)", "guid(null)", "true", "false", "bool(null)", "decimal(1.5)", "*",
)  # fmt: skip
_MARKS = (
    "|",
    ",",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ";",
    ".",
    "..",
    "=",
    "==",
    "!=",
    "=~",
    "!~",
    "<",
    ">",
    "+",
    "-",
    "*",
    "/",
    "%",
    ":",
    "=>",
)
_CLAUSES = (
    "by", "on", "with", "to", "of", "asc", "desc", "nulls", "first", "last", "kind", "typeof", "step", "from", "in", "default", "let",
    "as", "T", "U", "Stored", "Scalar", "$left", "$right", "where", "declare", "output", "limit", "hint.strategy", "withsource", "isfuzzy",
    "not", "materialize", "toscalar", "datatable", "view", "inner", "leftouter", "leftanti", "fullouter", "innerunique", "pack_all",
)  # fmt: skip


def seeds() -> Iterator[str]:
    """Texts to begin with: every example of a function or operator, and what the corpora have of moderate length."""
    for function in (*registry.all_scalars(), *registry.all_aggregates()):
        for example in function.examples:
            yield example.kql if "|" in example.kql else f"print x = {example.kql}"
    for doc in OPERATOR_DOCS.values():
        yield doc.example
    for function in registry.all_scalars():
        yield f"T | extend x = {function.name}({', '.join(_COLUMNS[k % 9] for k in range(len(function.params)))})"
    for aggregate in registry.all_aggregates():
        yield f"T | summarize x = {aggregate.name}({', '.join(_COLUMNS[k % 9] for k in range(len(aggregate.params)))}) by b"
    for name in _CORPORA:
        path = SHARED / f"{name}.jsonl"
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                text = json.loads(line)["query"]
                if len(text) <= 900:
                    yield text


def words() -> list[str]:
    """The vocabulary: operators, functions, clauses, marks, literals, columns of the test's tables."""
    functions = [f"{name}(" for name in (*registry.scalar_names(), *registry.aggregate_names())]
    return [*OPERATORS, *STATEMENTS, *INFIX_WORDS, *TYPE_NAMES, *functions, *_VALUES, *_MARKS, *_CLAUSES, *_COLUMNS]


class Mutator:
    """Changes a text by tokens: the language's words at places where tokens stand, and stages of other texts."""

    def __init__(self, texts: list[str]) -> None:
        self._words = words()
        self._functions = [*registry.scalar_names(), *registry.aggregate_names()]
        self._stages = sorted({stage for text in texts for stage in _stages(text)})

    def __call__(self, text: str, chance: random.Random) -> str:
        """The changed text."""
        if not text.strip() or chance.random() < 0.02:
            return chance.choice(("T", "print 1", "range x from 1 to 3 step 1")) + " | " + chance.choice(self._stages)
        tokens = tokenize(text)
        parts: list[str] = []
        end = 0
        for start, finish in zip(tokens.starts, tokens.ends, strict=True):
            parts += [text[end:start], text[start:finish]]
            end = finish
        for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
            self._change(parts, tokens.kinds, chance)
        return "".join(parts)

    def _change(self, parts: list[str], kinds: list[int], chance: random.Random) -> None:
        at = 2 * chance.randrange(len(parts) // 2) + 1
        old = parts[at]
        match chance.randrange(10):
            case 0:
                parts[at] = ""
            case 1:
                parts[at] = f"{old} {old}"
            case 2:
                other = 2 * chance.randrange(len(parts) // 2) + 1
                parts[at], parts[other] = parts[other], old
            case 3:
                parts[at] = f" {chance.choice(self._words)} "
            case 4:
                parts[at] = f"{old} {chance.choice(self._words)} "
            case 5:
                parts[at] = old + " | " + chance.choice(self._stages) + " "
            case 6:
                parts[at] = chance.choice(_COLUMNS) if kinds[at // 2] != END else old
            case 7:
                parts[at] = chance.choice(_VALUES) if kinds[at // 2] != END else old
            case 8:
                calls = [k for k in range(1, len(parts) - 2, 2) if parts[k + 2] == "(" and parts[k].isidentifier()]
                if calls:
                    parts[chance.choice(calls)] = chance.choice(self._functions)
            case _:
                parts[at] = f"{chance.choice(self._functions)}({old})" if old not in "()[]{}|;," else old


def _stages(text: str) -> list[str]:
    pieces = [piece.strip() for piece in text.split("|")[1:]]
    return [p for p in pieces if 3 < len(p) <= 200 and p.count("(") == p.count(")") and p.count("'") % 2 == 0]
