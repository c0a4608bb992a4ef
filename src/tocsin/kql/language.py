"""The language service: findings, completion, hover and signature help, for any editor.

Pure functions over a text and a catalog. Everything comes from where queries are compiled: the parser's table of operators, the table of
functions, the binder for the columns in scope. What an editor offers therefore runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tocsin.kql import ast
from tocsin.kql.cursor_place import Place, Scope, Where, place_at, scope_at
from tocsin.kql.diagnostics import Diagnostic, KqlErrors
from tocsin.kql.functions import registry
from tocsin.kql.functions.docs import signature
from tocsin.kql.functions.model import Aggregate, ScalarFunction
from tocsin.kql.lexer import NAME, NUMBER, tokenize
from tocsin.kql.operator_docs import OPERATOR_DOCS, SETTING_DOCS, STATEMENT_DOCS, OperatorDoc
from tocsin.kql.parser import OPERATORS, STATEMENTS, parse_partial
from tocsin.kql.parser.expressions import INFIX_WORDS
from tocsin.kql.parser.literals import TYPE_NAMES
from tocsin.kql.parser.sources import VISUALIZATIONS
from tocsin.kql.types import Catalog
from tocsin.kql.walk import walk

__all__ = ["Completion", "Hover", "Parameter", "Signature", "completion", "diagnostics", "hover", "signature_help"]

_MOST: Final = 300
"""Suggestions at once; an editor asks again with the next letter."""

_CLAUSES: Final[dict[str, tuple[str, ...]]] = {
    "summarize": ("by",),
    "make-series": ("default", "on", "from", "to", "step", "by"),
    "sort": ("by", "asc", "desc", "nulls first", "nulls last"),
    "order": ("by", "asc", "desc", "nulls first", "nulls last"),
    "top": ("by", "asc", "desc", "nulls first", "nulls last"),
    "top-hitters": ("of", "by"),
    "top-nested": ("of", "with others=", "by", "asc", "desc"),
    "sample-distinct": ("of",),
    "join": ("on",),
    "lookup": ("on",),
    "mv-expand": ("to typeof(", "limit"),
    "mv-apply": ("to typeof(", "limit", "on ("),
    "parse": ("with",),
    "parse-where": ("with",),
    "parse-kv": ("as (", "with ("),
    "partition": ("by",),
    "range": ("from", "to", "step"),
    "reduce": ("by", "with"),
    "facet": ("by", "with ("),
    "find": ("in (", "where", "project", "project-smart", "project-away"),
    "search": ("in (",),
    "scan": ("declare (", "order by", "partition by", "with (", "step", "output="),
    "render": ("with (",),
    "graph-match": ("where", "project"),
    "make-graph": ("with", "on", "partitioned-by"),
    "project-reorder": ("asc", "desc", "granny-asc", "granny-desc"),
}
"""Operator → the words of its clauses."""

_AGGREGATING: Final = frozenset(("summarize", "make-series", "top-nested"))
_ONLY_COLUMNS: Final = frozenset(("project-away", "project-keep", "project-reorder", "project-rename"))
_RENDER_PROPERTIES: Final = (
    "title",
    "xtitle",
    "ytitle",
    "xcolumn",
    "ycolumns",
    "series",
    "kind",
    "legend",
    "ymin",
    "ymax",
    "accumulate",
)


@dataclass(frozen=True, slots=True)
class Completion:
    """One suggestion: `insert` goes in place of `span`. `kind` is table, column, function, aggregate, operator, statement, keyword,
    value, type, variable, plugin or setting; `detail` a few words beside the label, `doc` sentences (Markdown)."""

    label: str
    kind: str
    insert: str
    span: tuple[int, int]
    detail: str = ""
    doc: str = ""


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


# ---------------------------------------------------------------------------------------------- findings


def diagnostics(
    text: str,
    catalog: Catalog,
    now: datetime,
    *,
    external: Callable[..., object] | None = None,
    resolver: Callable[..., Iterable[Sequence[object]]] | None = None,
) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with a text; where it parses, what the binder says, and names that are defined for nothing.

    `external` and `resolver` are those of `compile_query`; without a resolver plugins are taken to give no columns of their own.
    """
    from tocsin.kql.compile import compile_query

    if not text.strip():
        return ()
    tree, found = parse_partial(text)
    if found:
        return tuple(sorted(found, key=lambda d: d.span))
    try:
        compile_query(text, catalog, now=now, external=external, resolver=resolver or (lambda _: ()))
    except KqlErrors as error:
        found = error.diagnostics
    return (*found, *_unused(text, tree))


def _unused(text: str, tree: ast.Query) -> Iterator[Diagnostic]:
    """Lets whose name occurs nowhere else."""
    named: dict[str, ast.Let] = {}
    read: set[str] = set()
    for node in walk(tree):
        if isinstance(node, ast.Let):
            named.setdefault(node.name, node)
        elif isinstance(node, ast.Name):
            read.add(node.name)
        elif isinstance(node, ast.Call):
            read.add(node.callee)
    for name, let in named.items():
        if name not in read:
            span = (let.span[0], let.value.span[0])
            yield Diagnostic.at(text, span, "KQL0030", f"'{name}' is defined but not used.", severity="warning")


# ---------------------------------------------------------------------------------------------- completion


def completion(text: str, offset: int, catalog: Catalog) -> list[Completion]:
    """What can be written at an offset, likeliest first."""
    place = place_at(text, offset)
    if place.where is Where.NOWHERE:
        return []
    typed = place.word.lower()
    ranked: list[tuple[int, int, str, int, Completion]] = []
    seen: set[str] = set()
    kinds: dict[str, int] = {}  # in the order of the candidates; functions among themselves by name
    for number, item in enumerate(_candidates(place, catalog)):
        label = item.label.lower()
        rank = 0 if label.startswith(typed) else 1 if typed in label else 2
        if rank < 2 and item.label not in seen:
            seen.add(item.label)
            name = label if typed and item.kind in ("function", "aggregate") else ""
            ranked.append((rank, kinds.setdefault(item.kind, len(kinds)), name, number, item))
    ranked.sort(key=lambda entry: entry[:4])
    return [entry[-1] for entry in ranked[:_MOST]]


def _candidates(place: Place, catalog: Catalog) -> Iterator[Completion]:
    where = place.where
    if where is Where.OPERATOR:
        yield from _operators(place, piped=True)
    elif where is Where.STATEMENT:
        yield from _variables(place)
        yield from _operators(place, piped=False)
        for word, doc in STATEMENT_DOCS.items():
            yield _item(place, word, "statement", doc.syntax, doc.doc, insert=word + " ")
        yield from _stored(place, catalog)
        yield from _tables(place, catalog)
    elif where is Where.TABLE:
        yield from _settings(place)
        yield from _variables(place)
        yield from _tables(place, catalog)
        yield from _operators(place, piped=False)
        yield from _stored(place, catalog)
        yield from _scalar_functions(place)
    elif where is Where.TYPE:
        for name in dict.fromkeys(t.value for t in TYPE_NAMES.values()):
            yield _item(place, name, "type")
    elif where is Where.VALUE:
        for value in OPERATORS[place.keyword].settings[place.setting]:
            yield _item(place, value, "value", SETTING_DOCS.get(place.setting, ""))
    elif where is Where.VISUALIZATION:
        for name in VISUALIZATIONS:
            yield _item(place, name, "value", "visualization")
    elif where is Where.PLUGIN:
        for name in _plugins():
            yield _item(place, name, "plugin", "plugin", insert=name + "(")
    elif where is Where.FUNCTION:
        yield from _variables(place)
        yield from _stored(place, catalog)
    elif where in (Where.LEFT, Where.RIGHT):
        yield from _columns(place, scope_at(place, catalog, right=where is Where.RIGHT))
    else:
        yield from _in_expression(place, catalog)


def _in_expression(place: Place, catalog: Catalog) -> Iterator[Completion]:
    clauses = _CLAUSES.get(place.keyword, ())
    if place.where is Where.AFTER_OPERAND:
        if place.keyword in OPERATORS:
            for word in clauses:
                yield _item(place, word, "keyword")
            for word in sorted(INFIX_WORDS, key=lambda word: (word[0] == "!", word)):
                text = "matches regex" if word == "matches" else word
                yield _item(place, text, "keyword", "operator")
        yield _item(place, "|", "keyword", "the next operator", insert="| ")
        return
    if place.keyword == "render":
        for name in _RENDER_PROPERTIES:
            yield _item(place, name, "setting", "property", insert=name + "=")
        return
    scope = scope_at(place, catalog)
    yield from _columns(place, scope)
    yield from _variables(place)
    if place.keyword in ("join", "lookup"):
        for side in ("$left", "$right"):
            yield _item(place, side, "keyword", "side of the join")
    if place.keyword in _ONLY_COLUMNS:
        return
    yield from _settings(place)
    for word in clauses:
        yield _item(place, word, "keyword")
    if place.keyword in _AGGREGATING:
        for aggregate in registry.all_aggregates():
            if not aggregate.refused:
                yield _function_item(place, aggregate, "aggregate")
    yield from _scalar_functions(place)
    yield from _stored(place, catalog)


def _item(
    place: Place, label: str, kind: str, detail: str = "", doc: str = "", insert: str | None = None
) -> Completion:
    return Completion(label, kind, label if insert is None else insert, place.span, detail, doc)


def _operators(place: Place, *, piped: bool) -> Iterator[Completion]:
    for keyword, info in OPERATORS.items():
        if (info.piped if piped else info.source) and not keyword.startswith("__"):
            doc = OPERATOR_DOCS[keyword]
            yield _item(place, keyword, "operator", doc.syntax, _operator_text(doc), insert=keyword + " ")


def _tables(place: Place, catalog: Catalog) -> Iterator[Completion]:
    for name in sorted(_table_names(catalog)):
        schema = catalog.table(name)
        yield _item(place, name, "table", "table", schema.doc if schema else "", insert=_written(name))


def _table_names(catalog: Catalog) -> Iterable[str]:
    every = getattr(catalog, "all_table_names", None)  # a catalog whose wildcards mean only tables with rows
    return every() if every is not None else catalog.table_names()


def _columns(place: Place, scope: Scope) -> Iterator[Completion]:
    for column in scope.columns:
        yield _item(place, column.name, "column", column.type.value, column.doc, insert=_written(column.name))


def _variables(place: Place) -> Iterator[Completion]:
    for name, let in _lets(place).items():
        function = isinstance(let.value, ast.Lambda)
        detail = "function of this query" if function else "defined by let"
        yield _item(place, name, "variable", detail, insert=_written(name) + ("(" if function else ""))


def _lets(place: Place) -> dict[str, ast.Let]:
    if not place.prelude.strip():
        return {}
    tree, _ = parse_partial(place.prelude)
    found = [s for s in tree.statements if isinstance(s, ast.Let)]
    return {let.name: let for let in reversed(found)}


def _settings(place: Place) -> Iterator[Completion]:
    info = OPERATORS.get(place.keyword)
    for name in info.settings if info is not None else ():
        yield _item(place, name, "setting", "setting", SETTING_DOCS.get(name, ""), insert=name + "=")


def _scalar_functions(place: Place) -> Iterator[Completion]:
    for function in registry.all_scalars():
        if not function.refused:
            yield _function_item(place, function, "function")


def _function_item(place: Place, function: ScalarFunction | Aggregate, kind: str) -> Completion:
    return _item(place, function.name, kind, signature(function), function.doc, insert=function.name + "(")


def _stored(place: Place, catalog: Catalog) -> Iterator[Completion]:
    for name in catalog.function_names():
        source = catalog.function(name)
        if source is not None:
            yield _item(place, name, "function", f"{name}({source.parameters})", source.doc, insert=name + "(")


def _plugins() -> list[str]:
    from tocsin.kql.binder.operators.plugins import PLUGINS

    return sorted(PLUGINS)


def _written(name: str) -> str:
    """A name as a query has to write it."""
    if name.replace("_", "a").isalnum() and not name[0].isdigit():
        return name
    return "['" + name.replace("\\", "\\\\").replace("'", "\\'") + "']"


# ---------------------------------------------------------------------------------------------- hover


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
        return Hover((tokens.starts[first], tokens.ends[last]), _operator_text(doc or STATEMENT_DOCS[word]))
    word = tokens.values[k]
    span = (tokens.starts[k], tokens.ends[k])
    place = place_at(text, tokens.starts[k])
    called = tokens.values[k + 1 : k + 2] == ["("]
    found = (_about_function(word, place, catalog) if called else None) or _about_name(word, place, catalog)
    return Hover(span, found) if found else None


def _about_function(word: str, place: Place, catalog: Catalog) -> str:
    function: ScalarFunction | Aggregate | None = registry.aggregate(word) if place.keyword in _AGGREGATING else None
    function = function or registry.scalar(word) or registry.aggregate(word)
    let = _lets(place).get(word)
    if let is not None and isinstance(let.value, ast.Lambda):
        return f"```kusto\n{word}({_lambda_parameters(let.value)})\n```\nA function of this query."
    if function is not None:
        return _function_text(function)
    source = catalog.function(word)
    return f"```kusto\n{word}({source.parameters})\n```\n{source.doc}" if source is not None else ""


def _about_name(word: str, place: Place, catalog: Catalog) -> str:
    sides = (False, True) if place.right else (False,)
    for right in sides:
        for column in scope_at(place, catalog, right=right).columns:
            if column.name == word:
                return f"**{word}** column, {column.type}\n\n{column.doc}".strip()
    let = _lets(place).get(word)
    if let is not None:
        value = place.prelude[slice(*let.value.span)]
        return f"```kusto\nlet {word} = {value if len(value) < 300 else value[:297] + '…'}\n```"
    table = catalog.table(word)
    if table is None:
        return ""
    columns = ", ".join(f"{c.name}: {c.type}" for c in table.columns[:40] if not c.hidden)
    more = ", …" if len(table.columns) > 40 else ""
    return f"**{word}** table\n\n{table.doc}\n\n{columns}{more}"


def _operator_text(doc: OperatorDoc) -> str:
    example = f"\n\n```kusto\n{doc.example}\n```" if doc.example else ""
    return f"```kusto\n{doc.syntax}\n```\n{doc.doc}{example}"


def _function_text(function: ScalarFunction | Aggregate) -> str:
    returns = f" → {function.returns}" if isinstance(function, ScalarFunction) and function.returns else ""
    examples = "\n".join(f"{e.kql}  // {e.result}" for e in function.examples[:3])
    shown = f"\n\n```kusto\n{examples}\n```" if examples else ""
    refused = f"\n\nRefused: {function.refused}." if function.refused else ""
    return f"```kusto\n{signature(function)}{returns}\n```\n{function.doc}{refused}{shown}"


# ---------------------------------------------------------------------------------------------- signatures


def signature_help(text: str, offset: int, catalog: Catalog) -> Signature | None:
    """The call whose arguments are being written; None outside of calls of known functions."""
    place = place_at(text, offset)
    if place.call is None:
        return None
    name, argument = place.call.name, place.call.argument
    function: ScalarFunction | Aggregate | None = registry.aggregate(name) if place.keyword in _AGGREGATING else None
    function = function or registry.scalar(name) or registry.aggregate(name)
    let = _lets(place).get(name)
    if let is not None and isinstance(let.value, ast.Lambda):
        return _of_parameters(name, _lambda_parameters(let.value), "A function of this query.", argument)
    if function is not None:
        label = signature(function)
        parts = label[len(function.name) + 1 : -1].split(", ") if function.params else []
        repeated = bool(function.params) and function.params[-1].repeated
        active = min(argument, len(parts) - 1) if repeated or argument < len(parts) else argument
        return Signature(label, function.doc, tuple(Parameter(p) for p in parts), active)
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
