"""Hover and signature help: what a word is, and which argument of which call is being written."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.kql import ast
from tocsin.kql.cursor_place import Place, Where, place_at, scope_at
from tocsin.kql.functions import registry
from tocsin.kql.functions.docs import signature
from tocsin.kql.functions.model import Aggregate, ScalarFunction
from tocsin.kql.functions.specials import special
from tocsin.kql.language.completion import AGGREGATING, lets_of
from tocsin.kql.language.texts import function_text, operator_text, special_text
from tocsin.kql.lexer import NAME, NUMBER, tokenize
from tocsin.kql.operator_docs import OPERATOR_DOCS, STATEMENT_DOCS
from tocsin.kql.parser import STATEMENTS
from tocsin.kql.plugin_docs import PLUGIN_DOCS
from tocsin.kql.types import Catalog

__all__ = ["Hover", "Parameter", "Signature", "hover", "signature_help"]


@dataclass(frozen=True, slots=True)
class Hover:
    """What is to be said of the word at a place; `text` is Markdown."""

    span: tuple[int, int]
    text: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a signature: its part of the label, and what it is for."""

    label: str
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Signature:
    """The call around a place; `active` is the index of the parameter that is being written."""

    label: str
    doc: str
    parameters: tuple[Parameter, ...]
    active: int


def hover(text: str, offset: int, catalog: Catalog) -> Hover | None:
    """What the word at an offset is; None where there is nothing to say."""
    tokens = tokenize(text)
    for k, kind in enumerate(tokens.kinds):
        if tokens.starts[k] > offset:
            return None
        if kind in (NAME, NUMBER) and tokens.starts[k] <= offset <= tokens.ends[k]:
            break
    else:
        return None
    first, last = k, k
    while (
        tokens.values[last + 1 : last + 2] == ["-"]
        and tokens.kinds[last + 2] == NAME
        and tokens.ends[last] == tokens.starts[last + 1]
    ):
        last += 2
    while first >= 2 and tokens.values[first - 1] == "-" and tokens.ends[first - 1] == tokens.starts[first]:
        first -= 2
    word = text[tokens.starts[first] : tokens.ends[last]]
    place = place_at(text, tokens.starts[first])
    doc = OPERATOR_DOCS.get(word) if place.where in (Where.OPERATOR, Where.STATEMENT, Where.TABLE) else None
    if doc is not None or (word in STATEMENTS and place.where is Where.STATEMENT):
        return Hover((tokens.starts[first], tokens.ends[last]), operator_text(doc or STATEMENT_DOCS[word]))
    word = tokens.values[k]
    span = (tokens.starts[k], tokens.ends[k])
    place = place_at(text, tokens.starts[k])
    called = tokens.values[k + 1 : k + 2] == ["("]
    if called and place.keyword == "evaluate" and word in PLUGIN_DOCS:
        return Hover(span, operator_text(PLUGIN_DOCS[word]))
    found = (_about_function(word, place, catalog) if called else None) or _about_name(word, place, catalog)
    return Hover(span, found) if found else None


def _about_function(word: str, place: Place, catalog: Catalog) -> str:
    function: ScalarFunction | Aggregate | None = registry.aggregate(word) if place.keyword in AGGREGATING else None
    function = function or registry.scalar(word) or registry.aggregate(word)
    let = lets_of(place).get(word)
    if let is not None and isinstance(let.value, ast.Lambda):
        return f"```kusto\n{word}({_lambda_parameters(let.value)})\n```\nA function of this query."
    if function is not None:
        return function_text(function, word)
    known = special(word)
    if known is not None:
        return special_text(known)
    source = catalog.function(word)
    return f"```kusto\n{word}({source.parameters})\n```\n{source.doc}" if source is not None else ""


def _about_name(word: str, place: Place, catalog: Catalog) -> str:
    sides = (False, True) if place.right else (False,)
    for right in sides:
        for column in scope_at(place, catalog, right=right).columns:
            if column.name == word:
                return f"**{word}** column, {column.type}\n\n{column.doc}".strip()
    let = lets_of(place).get(word)
    if let is not None:
        value = place.prelude[slice(*let.value.span)]
        return f"```kusto\nlet {word} = {value if len(value) < 300 else value[:297] + '…'}\n```"
    table = catalog.table(word)
    if table is None:
        return ""
    columns = ", ".join(f"{c.name}: {c.type}" for c in table.columns[:40] if not c.hidden)
    more = ", …" if len(table.columns) > 40 else ""
    return f"**{word}** table\n\n{table.doc}\n\n{columns}{more}"


def signature_help(text: str, offset: int, catalog: Catalog) -> Signature | None:
    """The call whose arguments are being written; None outside of calls of known functions."""
    place = place_at(text, offset)
    if place.call is None:
        return None
    name, argument = place.call.name, place.call.argument
    function: ScalarFunction | Aggregate | None = registry.aggregate(name) if place.keyword in AGGREGATING else None
    function = function or registry.scalar(name) or registry.aggregate(name)
    let = lets_of(place).get(name)
    if let is not None and isinstance(let.value, ast.Lambda):
        return _of_parameters(name, _lambda_parameters(let.value), "A function of this query.", argument)
    if function is not None:
        label = name + signature(function)[len(function.name) :]
        parts = label[len(name) + 1 : -1].split(", ") if function.params else []
        repeated = bool(function.params) and function.params[-1].repeated
        active = min(argument, len(parts) - 1) if repeated or argument < len(parts) else argument
        return Signature(label, function.doc, tuple(Parameter(p) for p in parts), active)
    known = special(name)
    if known is not None:
        return _of_parameters(name, known.parameters, known.doc, argument)
    source = catalog.function(name)
    if source is None:
        return None
    return _of_parameters(name, source.parameters, source.doc, argument)


def _of_parameters(name: str, parameters: str, doc: str, argument: int) -> Signature:
    return Signature(f"{name}({parameters})", doc, tuple(Parameter(p) for p in _split(parameters)), argument)


def _split(parameters: str) -> list[str]:
    """A parameter list at its commas, those of schemas left alone."""
    parts, depth, start = [], 0, 0
    for k, character in enumerate(parameters):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(parameters[start:k].strip())
            start = k + 1
    rest = parameters[start:].strip()
    return [*parts, rest] if rest else parts


def _lambda_parameters(function: ast.Lambda) -> str:
    """The parameters as a query writes them."""
    shown = []
    for parameter in function.params:
        if parameter.schema is not None:
            columns = ", ".join(f"{c.name}:{c.type}" for c in parameter.schema) or "*"
            shown.append(f"{parameter.name}:({columns})")
        else:
            shown.append(f"{parameter.name}:{parameter.type}")
    return ", ".join(shown)
