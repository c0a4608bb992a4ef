"""Completion: what can be written at a place, likeliest first.

Everything comes from where queries are compiled: the parser's table of operators, the tables of functions, the binder for the columns in
scope. What an editor offers therefore runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from tocsin.kql import ast
from tocsin.kql.cursor_place import Place, Scope, Where, place_at, scope_at
from tocsin.kql.functions import registry
from tocsin.kql.functions.docs import signature
from tocsin.kql.functions.specials import all_specials
from tocsin.kql.language.texts import known_texts, operator_text, plugin_names
from tocsin.kql.operator_docs import OPERATOR_DOCS, SETTING_DOCS, STATEMENT_DOCS
from tocsin.kql.parser import OPERATORS, parse_partial
from tocsin.kql.parser.expressions import INFIX_WORDS
from tocsin.kql.parser.literals import TYPE_NAMES
from tocsin.kql.parser.sources import VISUALIZATIONS
from tocsin.kql.plugin_docs import PLUGIN_DOCS
from tocsin.kql.types import Catalog

__all__ = ["AGGREGATING", "MOST", "Completion", "completion", "lets_of"]

MOST: Final = 600
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
    "mvexpand": ("to typeof(", "limit"),
    "mvapply": ("to typeof(", "limit", "on ("),
    "mv-apply": ("to typeof(", "limit", "on ("),
    "parse": ("with",),
    "parse-where": ("with",),
    "parse-kv": ("as (", "with ("),
    "partition": ("by",),
    "range": ("from", "to", "step"),
    "reduce": ("by", "with"),
    "facet": ("by", "with ("),
    "externaldata": ("with (",),
    "external_data": ("with (",),
    "find": ("in (", "where", "project", "project-smart", "project-away"),
    "search": ("in (",),
    "scan": ("declare (", "order by", "partition by", "with (", "step", "output="),
    "render": ("with (",),
    "graph-match": ("where", "project"),
    "make-graph": ("with", "on", "partitioned-by"),
    "project-reorder": ("asc", "desc", "granny-asc", "granny-desc"),
}
"""Operator → the words of its clauses."""

AGGREGATING: Final = frozenset(("summarize", "make-series", "top-nested"))
_DESCRIBED: Final = 30
"""Tables at once whose text is looked up."""
_NEXT_WORDS: Final = {"matches": ("regex",), "nulls": ("first", "last")}
"""Word → those that must follow it."""
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


def completion(text: str, offset: int, catalog: Catalog, most: int = MOST) -> list[Completion]:
    """What can be written at an offset, likeliest first; `most` suggestions at most."""
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
    return [entry[-1] for entry in ranked[:most]]


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
        yield from _tabular_functions(place)
    elif where is Where.TABLE:
        yield from _settings(place)
        yield from _variables(place)
        yield from _tables(place, catalog)
        yield from _operators(place, piped=False)
        yield from _stored(place, catalog)
        yield from _tabular_functions(place)
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
        for name in plugin_names():
            doc = PLUGIN_DOCS[name]
            yield _item(place, name, "plugin", doc.syntax, operator_text(doc), insert=name + "(")
    elif where is Where.WORD:
        for name in _NEXT_WORDS[place.setting]:
            yield _item(place, name, "keyword")
    elif where is Where.STRING:
        for name, detail in known_texts(place.call, catalog) if place.call is not None else ():
            yield _item(place, name, "value", detail, insert=_escaped(name))
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
        for word in clauses:
            yield _item(place, word, "keyword")
        if place.keyword in OPERATORS or place.keyword == "let":
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
    if place.keyword in ("join", "lookup") and place.clause == "on":
        yield from _join_keys(place, scope, catalog)
        return
    yield from _columns(place, scope)
    yield from _variables(place)
    if place.keyword in _ONLY_COLUMNS:
        return
    yield from _settings(place)
    for word in clauses:
        yield _item(place, word, "keyword")
    if place.keyword in AGGREGATING and place.clause not in ("by", "on", "from", "to"):
        yield from _functions(place, "aggregate")
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
            yield _item(place, keyword, "operator", doc.syntax, operator_text(doc), insert=keyword + " ")


def _tables(place: Place, catalog: Catalog) -> Iterator[Completion]:
    """Tables that hold rows first. Only a few carry their text: reading a thousand declarations would take longer than typing."""
    held = set(catalog.table_names())
    every = getattr(catalog, "all_table_names", None)  # a catalog whose wildcards mean only tables with rows
    names = sorted(held) + (sorted(set(every()) - held) if every is not None else [])
    typed = place.word.lower()
    names = [name for name in names if typed in name.lower()]
    for number, name in enumerate(names):
        schema = catalog.table(name) if number < _DESCRIBED else None
        yield _item(place, name, "table", "table", schema.doc if schema else "", insert=_written(name))


def _columns(place: Place, scope: Scope) -> Iterator[Completion]:
    for column in scope.columns:
        yield _item(place, column.name, "column", column.type.value, column.doc, insert=_written(column.name))


def _variables(place: Place) -> Iterator[Completion]:
    for name, let in lets_of(place).items():
        function = isinstance(let.value, ast.Lambda)
        detail = "function of this query" if function else "defined by let"
        yield _item(place, name, "variable", detail, insert=_written(name) + ("(" if function else ""))


def lets_of(place: Place) -> dict[str, ast.Let]:
    """The lets before a place, by name; the first of each, as in a query."""
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
    yield from _functions(place, "function")


@cache
def _function_facts(kind: str) -> tuple[tuple[str, str, str], ...]:
    """Names of functions with their signatures and texts; old and other spellings come after all first ones."""
    table = registry.all_scalars() if kind == "function" else registry.all_aggregates()
    first: list[tuple[str, str, str]] = []
    others: list[tuple[str, str, str]] = []
    for function in table:
        if not function.refused:
            shown = signature(function)
            first.append((function.name, shown, function.doc))
            others += [(name, name + shown[len(function.name) :], function.doc) for name in function.aliases]
    if kind == "function":
        known = {name for name, _, _ in first}
        specials = [s for s in all_specials() if not s.tabular and s.name not in known]
        first += [(s.name, s.signature, s.doc) for s in specials]
        others += [(name, f"{name}({s.parameters})", s.doc) for s in specials for name in s.aliases]
    return *first, *others


def _functions(place: Place, kind: str) -> Iterator[Completion]:
    for name, shown, doc in _function_facts(kind):
        yield _item(place, name, kind, shown, doc, insert=name + "(")


def _tabular_functions(place: Place) -> Iterator[Completion]:
    for function in all_specials():
        if function.tabular:
            yield _item(place, function.name, "function", function.signature, function.doc, insert=function.name + "(")


def _join_keys(place: Place, left: Scope, catalog: Catalog) -> Iterator[Completion]:
    """What can follow ``on``: columns that both sides have, and the sides."""
    right = scope_at(place, catalog, right=True)
    if right.columns:
        names = {column.name for column in right.columns}
        yield from _columns(place, Scope(tuple(c for c in left.columns if c.name in names)))
    else:
        yield from _columns(place, left)
    for side in ("$left", "$right"):
        yield _item(place, side, "keyword", "side of the join")


def _stored(place: Place, catalog: Catalog) -> Iterator[Completion]:
    for name in catalog.function_names():
        source = catalog.function(name)
        if source is not None:
            yield _item(place, name, "function", f"{name}({source.parameters})", source.doc, insert=name + "(")


def _escaped(text: str) -> str:
    """A text inside of a string's quotes."""
    return text.replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"')


def _written(name: str) -> str:
    """A name as a query has to write it."""
    if name.replace("_", "a").isalnum() and not name[0].isdigit():
        return name
    return "['" + name.replace("\\", "\\\\").replace("'", "\\'") + "']"
