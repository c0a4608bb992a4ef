"""`compile_query`: KQL text to one statement of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from tocsin.kql.binder import Binder, BindError, bind_query
from tocsin.kql.diagnostics import Diagnostic, KqlErrors
from tocsin.kql.emit.duckdb.relations import EmitLimitError, Emitter, relation_names
from tocsin.kql.needs import Clauses
from tocsin.kql.parser import parse
from tocsin.kql.scan_needs import scan_needs
from tocsin.kql.scope import Relation
from tocsin.kql.types import Catalog, KqlType

__all__ = ["CompiledQuery", "OutColumn", "Render", "compile_query"]


@dataclass(frozen=True, slots=True)
class OutColumn:
    """A result column. `ticks`: a datetime that comes as BIGINT ticks instead of a TIMESTAMP."""

    name: str
    type: KqlType
    ticks: bool = False


@dataclass(frozen=True, slots=True)
class Render:
    """What `render` asked for."""

    visualization: str
    properties: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """One SELECT for DuckDB, and what its caller must know of it.

    Tables stand in `sql` as quoted relations under their own names, but for the few of `relations` (table → SQL name), whose names differ from
    another's only by case; `columns` describe the result by position (the SQL names are
    ``c1, c2 …``). `row_wise`: only filters, computed columns and expansions over one table, independent of time, so that it
    may run on any batch of rows alone. `ordered`: the query sorted its rows. `needs`: for a table, what each of its scans needs of
    a file to find a row in it (`tocsin.kql.needs`); a table that isn't in it must be read whole. `more`: further results, of a second
    tabular statement, of fork and of facet, in order. `per_row`: as `row_wise`, but it may depend on now().
    `open`: which columns there are depends on the data; a name that no row made a column reads as null. `left_out` are warnings (KQL0031):
    the parts of ``union isfuzzy=true`` that name what isn't there.
    """

    sql: str
    parameters: dict[str, object]
    columns: tuple[OutColumn, ...]
    tables: frozenset[str]
    render: Render | None = None
    row_wise: bool = False
    uses_now: bool = False
    ordered: bool = False
    volatile: bool = False
    needs: Mapping[str, tuple[Clauses, ...]] = field(default_factory=dict)
    relations: Mapping[str, str] = field(default_factory=dict)
    more: tuple[CompiledQuery, ...] = ()
    per_row: bool = False
    open: bool = False
    left_out: tuple[Diagnostic, ...] = ()


def compile_query(
    text: str,
    catalog: Catalog,
    *,
    now: datetime,
    parameters: Mapping[str, object] | None = None,
    external: Callable[..., object] | None = None,
    resolver: Callable[[CompiledQuery], Iterable[Sequence[object]]] | None = None,
    steady: bool = False,
) -> CompiledQuery:
    """Compile a query. Raises KqlErrors with the place of every refusal.

    `parameters` are the values of ``declare query_parameters``. `external(schema, uris, options)` decides about externaldata: it gives the
    name of a relation to read, None for an empty table, or raises; without it externaldata is refused. `resolver(compiled)`
    runs a compiled query and gives its rows, for the few plugins whose columns depend on the data; without it they are refused.
    `steady` makes the same rows give the same result in the same order, whatever the number of threads and files: where KQL leaves it
    open which row is taken or which value comes first, the values themselves decide. It costs sorts that nobody asked for.
    """
    with _refusals(text):
        binder, relation = _bound(text, catalog, now, parameters, external, resolver, steady=steady)
        main = _emit(binder, relation)
        more = tuple(_emit(binder, other) for other in binder.more)
    left_out = tuple(
        Diagnostic.at(text, e.span, "KQL0031", f"Left out of the union: {e.message}", hint=e.hint, severity="warning")
        for e in binder.left_out
    )
    return replace(main, more=more, left_out=tuple(dict.fromkeys(left_out))) if more or left_out else main


def columns_of(
    text: str,
    catalog: Catalog,
    *,
    now: datetime,
    parameters: Mapping[str, object] | None = None,
    external: Callable[..., object] | None = None,
    resolver: Callable[[CompiledQuery], Iterable[Sequence[object]]] | None = None,
) -> tuple[tuple[OutColumn, ...], frozenset[str]]:
    """The columns that a query gives and the tables that it reads, without making its SQL: for editors. Raises as `compile_query`."""
    with _refusals(text):
        binder, relation = _bound(text, catalog, now, parameters, external, resolver)
    return tuple(OutColumn(c.name, c.type, c.ticks) for c in relation.visible()), frozenset(binder.tables)


def _bound(
    text: str,
    catalog: Catalog,
    now: datetime,
    parameters: Mapping[str, object] | None,
    external: Callable[..., object] | None,
    resolver: Callable[[CompiledQuery], Iterable[Sequence[object]]] | None,
    *,
    steady: bool = False,
) -> tuple[Binder, Relation]:
    query = parse(text)
    binder = Binder(catalog, now, parameters or {}, external=external, resolver=resolver, steady=steady)
    binder.text = text
    return binder, bind_query(binder, query)


@contextmanager
def _refusals(text: str) -> Iterator[None]:
    """What binder and emitter raise, as KqlErrors with places in the text."""
    try:
        yield
    except BindError as error:
        raise KqlErrors([Diagnostic.at(text, error.span, error.code, error.message, hint=error.hint)], text) from None
    except EmitLimitError as error:
        found = Diagnostic.at(text, error.span, "KQL0110", error.message, hint=error.hint)
        raise KqlErrors([found], text) from None
    except RecursionError:
        message = "The query is nested too deeply."
        raise KqlErrors([Diagnostic.at(text, (0, len(text)), "KQL0110", message)], text) from None


def _emit(binder: Binder, relation: Relation) -> CompiledQuery:
    visible = relation.visible()
    sql = _sql(binder, relation)
    return CompiledQuery(
        sql=sql,
        parameters=binder.sql_parameters,
        columns=tuple(OutColumn(c.name, c.type, c.ticks) for c in visible),
        tables=frozenset(binder.tables),
        relations=relation_names(binder.tables),
        render=Render(*binder.render) if binder.render is not None else None,
        row_wise=relation.row_wise and len(binder.tables) == 1 and not binder.uses_now and not binder.shared,
        per_row=relation.row_wise and len(binder.tables) == 1 and not binder.shared,
        uses_now=binder.uses_now,
        ordered=relation.sorted,
        volatile=binder.volatile,
        needs=scan_needs(relation.plan, binder.shared, sql),
        open=relation.open_bag is not None and not relation.open_bag.suffixes,
    )


def _sql(binder: Binder, relation: Relation) -> str:
    """The text; unions that are too wide to plan are first rid of the tables that have no rows for them."""
    thinned: list[object] = []
    while True:
        try:
            return Emitter(binder.shared, relation_names(binder.tables), steady=binder.steady).query(
                relation.plan, [c.alias for c in relation.visible()], relation.order
            )
        except EmitLimitError as error:
            if binder.resolver is None or error.union in thinned:
                raise
            thinned.append(error.union)
            binder.leave_out_empty(error.union)
