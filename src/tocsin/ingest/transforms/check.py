"""Checks a transform's KQL when it is saved, and compiles it.

Azure Monitor's transformations see one row at a time and give at most one for it; the operators that do so are allowed, every other one is refused
by its name (learn.microsoft.com/azure/azure-monitor/data-collection/data-collection-transformations-kql). The result must fit the table
that it is for: what DCRs drop silently or refuse at run time is said here, with its place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tocsin.base.errors import did_you_mean
from tocsin.ingest.custom import is_custom
from tocsin.ingest.schemas import SourceCatalog
from tocsin.ingest.transforms.model import Flow, TransformError
from tocsin.kql import CompiledQuery, compile_query, parse
from tocsin.kql.ast import Name, Named, Node, Operator, Query, ToScalar
from tocsin.kql.diagnostics import Diagnostic, KqlErrors
from tocsin.kql.types import Catalog, Column, KqlType, TableSchema
from tocsin.kql.walk import walk

__all__ = ["ALLOWED", "CompiledFlow", "compile_flow"]

ALLOWED = (
    "where", "filter", "extend", "project", "project-away", "project-keep", "project-rename", "project-reorder",
    "parse", "parse-where", "parse-kv",
)  # fmt: skip
"""Operators that take one row and give at most one."""
_COMPILED_AT = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TABLE = "KQL0102"
_REFUSED = "KQL0204"
_UNFIT = "KQL0205"
_WIDER = {
    KqlType.INT: {KqlType.LONG, KqlType.REAL},
    KqlType.LONG: {KqlType.REAL},
    KqlType.GUID: {KqlType.STRING},
}
"""Types whose values another type of column holds without loss."""


@dataclass(frozen=True, slots=True)
class CompiledFlow:
    """A flow that can run over rows of a schema. `target` is the schema of the table that its rows are for; None for a table that will come to be."""

    flow: Flow
    query: CompiledQuery
    catalog: SourceCatalog
    table: str
    target: TableSchema | None


def compile_flow(flow: Flow, source: TableSchema, catalog: Catalog, *, own: str = "") -> CompiledFlow:
    """The flow over rows of `source`.

    `own` is the table that rows without an output table are for; empty when they go on as rows of a source kind.

    Raises KqlErrors, each finding with its place: a text that doesn't compile, an operator that needs more than one row (KQL0204), a result that
    doesn't fit (KQL0205); TransformError ING0051 when there is no such output table.
    """
    text = flow.kql
    tree = parse(text)
    _check_operators(tree, text)
    names = SourceCatalog(source, catalog)
    try:
        query = compile_query(text, names, now=_COMPILED_AT)
    except KqlErrors as error:
        raise KqlErrors([_advised(d) for d in error.diagnostics], text) from None
    whole = (0, len(text))
    if query.uses_now or query.volatile:
        what = "the current time" if query.uses_now else "chance"
        raise KqlErrors(
            [
                Diagnostic.at(
                    text, whole, _REFUSED, f"A transform can't depend on {what}: the same input must give the same rows after a restart.",
                    hint="Use TimeGenerated, the row's own time." if query.uses_now else "Leave out rand() and new_guid().",
                )
            ],
            text,
        )  # fmt: skip
    if not query.row_wise or query.more:
        raise KqlErrors(
            [Diagnostic.at(text, whole, _REFUSED, "A transform must look at each row of source alone.", hint=_HINT)],
            text,
        )
    table = flow.table or own
    target = _target(table, catalog) if table else None
    findings = _unfit(query, text, tree, table, target) if table else _unfit_source(query, text, tree, source)
    if findings:
        raise KqlErrors(findings, text)
    return CompiledFlow(flow, query, names, table, target)


_HINT = f"A transform may use {', '.join(ALLOWED[:-1])} and {ALLOWED[-1]}."


def _advised(found: Diagnostic) -> Diagnostic:
    """What a query elsewhere may do and a transform may not: read tables."""
    return (
        replace(found, hint="A transform reads source and nothing else.")
        if found.code == _NO_TABLE and not found.hint
        else found
    )


def _check_operators(tree: Query, text: str) -> None:
    found = []
    for node in walk(tree):
        if isinstance(node, ToScalar):
            found.append(_refused(text, node, "toscalar", "()"))
        elif isinstance(node, Operator) and node.keyword not in ALLOWED:
            found.append(_refused(text, node, node.keyword))
    if found:
        raise KqlErrors(found, text)


def _refused(text: str, node: Node, word: str, more: str = "") -> Diagnostic:
    start, end = node.span
    place = text.find(word, start, end)
    place = place if place >= 0 else text.rfind(word, 0, start)
    span = (place, place + len(word)) if place >= 0 else node.span
    message = f"'{word}{more}' can't be in a transform: it isn't a matter of one row."
    return Diagnostic.at(text, span, _REFUSED, message, hint=_HINT)


def _target(table: str, catalog: Catalog) -> TableSchema | None:
    schema = catalog.table(table)
    if schema is None and not is_custom(table):
        names = getattr(catalog, "all_table_names", catalog.table_names)()
        raise TransformError(
            f"There is no table {table!r} for the result",
            code="ING0051",
            hint=did_you_mean(table, names) or "A table of your own has a name that ends in _CL.",
        )
    return schema


def _unfit(query: CompiledQuery, text: str, tree: Query, table: str, target: TableSchema | None) -> list[Diagnostic]:
    known = {c.name: c for c in target.columns} if target is not None else None
    found = []
    times = {"TimeGenerated"} | ({"Timestamp"} if known and "Timestamp" in known else set())
    if not any(c.name in times and c.type is KqlType.DATETIME for c in query.columns):
        message = f"The result has no TimeGenerated of type datetime, which rows of {table} must have."
        found.append(Diagnostic.at(text, (0, len(text)), _UNFIT, message, hint="Add: | extend TimeGenerated = …"))
    for column in query.columns:
        wanted = None if known is None else known.get(column.name)
        if wanted is None:
            if known is None or is_custom(table):
                continue
            message = f"Table {table} has no column '{column.name}'."
            hint = did_you_mean(column.name, known) or "Project it away, or name a column of the table."
            found.append(Diagnostic.at(text, _place(tree, column.name, text), _UNFIT, message, hint=hint))
        else:
            found += _wrong_type(column.type, wanted, table, text, tree)
    return found


def _unfit_source(query: CompiledQuery, text: str, tree: Query, source: TableSchema) -> list[Diagnostic]:
    """A source kind's columns keep their types, for the parsers read them; new ones may come."""
    known = {c.name: c for c in source.columns}
    found = []
    for column in query.columns:
        wanted = known.get(column.name)
        if wanted is not None:
            found += _wrong_type(column.type, wanted, "source", text, tree)
    return found


def _wrong_type(given: KqlType, wanted: Column, table: str, text: str, tree: Query) -> list[Diagnostic]:
    if given is wanted.type or wanted.type in _WIDER.get(given, ()):
        return []
    message = f"Column '{wanted.name}' of {table} is of type {wanted.type.value}, and the result's is {given.value}."
    hint = f"Convert it: {wanted.name} = to{wanted.type.value}(…)."
    return [Diagnostic.at(text, _place(tree, wanted.name, text), _UNFIT, message, hint=hint)]


def _place(tree: Query, name: str, text: str) -> tuple[int, int]:
    """Where a column of the result gets its name: its last mention."""
    place = (0, len(text))
    for node in walk(tree):
        if (isinstance(node, Named) and name in node.names) or (isinstance(node, Name) and node.name == name):
            place = node.span
    return place
