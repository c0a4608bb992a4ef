"""Makes the relations that a compiled query names: SQL text over Parquet files and registered Arrow tables.

A relation is a CTE with the schema's columns in order, each in its physical type. A table of two hundred columns costs milliseconds to bind, so
columns that the query's text nowhere mentions are left out; the emitter names every column that it reads.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import pyarrow as pa

from tocsin.base.errors import QueryError, did_you_mean
from tocsin.kql.needs import Clauses
from tocsin.kql.types import Catalog, Column, TableSchema
from tocsin.lake.engine.files import columns_of, hold_exactly
from tocsin.lake.engine.members import Member, members_in, split_by_members
from tocsin.lake.engine.model import Window
from tocsin.lake.engine.physical import (
    ITEM_NUMBER,
    arrow_type,
    canonical,
    conform,
    duckdb_type,
    kql_type,
    naive_utc,
    quote_name,
    quote_text,
    shape_of,
)
from tocsin.lake.engine.pruning import needed_files
from tocsin.lake.engine.standard import BILLED, billed_sizes, filled_in_terms, made_column, sources_of
from tocsin.lake.snapshot import DataFile, Snapshot

__all__ = ["RelationPlan", "plan_relations"]

_LARGE_FILES = 40_000
"""Rows a file from which it is worth opening every file at bind time (half a millisecond each): the engine then knows which columns hold no nulls,
and reads late what only few rows need. Measured: 5 to 20 % less for most queries."""
_WIDE = 24
"""Columns of a query above which it is worth knowing which of them the files have."""


@dataclass(slots=True)
class RelationPlan:
    """The WITH clause's parts, and the Arrow tables that must be registered for them."""

    ctes: list[str] = field(default_factory=list)
    arrow: dict[str, pa.Table] = field(default_factory=dict)
    files: list[tuple[str, DataFile]] = field(default_factory=list)
    skipped: dict[str, list[DataFile]] = field(default_factory=lambda: {"time": [], "terms": []})
    """Files that needn't be read, by what ruled them out."""
    archived: dict[str, list[DataFile]] = field(default_factory=dict)
    """By table the files in the archive that would have been read."""


def plan_relations(
    names: Sequence[str],
    sql: str,
    *,
    snapshot: Snapshot | None,
    relations: Mapping[str, pa.Table],
    catalog: Catalog | None,
    window: Window | None,
    without: frozenset[str] = frozenset(),
    needs: Mapping[str, Sequence[Clauses]] = MappingProxyType({}),
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> RelationPlan:
    """Plans every named relation. `without` are file paths to leave out because they can't be read; `needs` as in `CompiledQuery`,
    `renamed` its `relations`.

    Raises QueryError QRY0005 for a name that is neither an extra relation, nor a table of the catalogue, nor one of the lake.
    """
    plan = RelationPlan()
    for number, name in enumerate(names):
        stored = snapshot.table(name) if snapshot is not None else None
        given = relations.get(name)
        schema = (catalog.table(name) if catalog is not None else None) or (stored.schema if stored else None)
        parts: list[str] = []
        if given is not None:
            rows = conform(given, schema) if schema is not None else _plain(given, name)
            if schema is None:
                schema = TableSchema(name, tuple(Column(f.name, kql_type(f)) for f in given.schema))
            columns, members = _columns(schema, sql), members_in(schema, sql)
            if rows.num_rows:
                parts.append(_from_arrow(plan, f"x{number}_given", rows, columns, members, schema, ""))
            # A relation made of nothing but its columns needs no window: it was handed in for this run.
            body = " UNION ALL ".join(parts) or _empty(columns, members)
            plan.ctes.append(f"{quote_name(renamed.get(name, name))} AS NOT MATERIALIZED ({body})")
            continue
        if schema is None:
            known = [*relations, *(snapshot.tables if snapshot else ())]
            raise QueryError(f"There is no table {name!r}.", code="QRY0005", hint=did_you_mean(name, known))
        columns, members = _columns(schema, sql, window), members_in(schema, sql)
        where = _where(schema, window)
        if stored is not None:
            assert snapshot is not None
            workspace = snapshot.workspace
            present = [f for f in stored.files if f.path not in without]
            files, ruled_out = needed_files(
                present, window, needs.get(name, ()), filled_in=filled_in_terms(name, workspace)
            )
            for reason, skipped in ruled_out.items():
                plan.skipped[reason] += skipped
            if stored.archived:
                away, _ = needed_files(stored.archived, window, needs.get(name, ()))
                if away:
                    plan.archived[name] = away
            if files:
                plan.files += [(name, f) for f in files]
                for group, whole in split_by_members(files, members):
                    parts.append(_from_parquet(group, columns, members, schema, workspace, whole=whole) + where)
            hot = stored.hot()
            if hot is not None and hot.num_rows:
                parts.append(_from_arrow(plan, f"x{number}_hot", hot, columns, members, schema, workspace) + where)
        body = " UNION ALL ".join(parts) or _empty(columns, members)
        plan.ctes.append(f"{quote_name(renamed.get(name, name))} AS NOT MATERIALIZED ({body})")
    return plan


def _columns(schema: TableSchema, sql: str, window: Window | None = None) -> list[tuple[str, str]]:
    """(physical name, DuckDB type) of the columns that the text may read, in schema order; at least one."""
    every = [(n, duckdb_type(c.type)) for n, c in shape_of(schema).physical.items()]
    if _selects_star(schema.name, sql):
        return every
    wanted = window.column if window is not None else ""
    used = [(n, t) for n, t in every if n in sql or n == wanted or '"' in n]
    return used or every[:1]


def _selects_star(name: str, sql: str) -> bool:
    quoted = re.escape(quote_name(name))
    return re.search(rf"\*[^(),]*\bFROM\s+{quoted}|{quoted}\s*\.\s*\*", sql, re.IGNORECASE) is not None


def _from_parquet(
    files: Sequence[DataFile],
    columns: Sequence[tuple[str, str]],
    members: Sequence[Member],
    schema: TableSchema,
    workspace: str,
    *,
    whole: bool,
) -> str:
    """`whole`: the files have the columns of all these members."""
    listed = ",".join(quote_text(f.path) for f in files)
    asked = _sources(columns, schema)
    asked += [(n, "VARCHAR") for n in dict.fromkeys(m.stored for m in members if whole)]
    # A table has hundreds of columns and its files a few dozen; what none has needs no binding and folds to constants.
    present = columns_of(files) if len(asked) > _WIDE else None
    held = [(n, t) for n, t in asked if present is None or n in present] or asked[:1]
    names = {n for n, _ in held}
    texts = "".join(f",{m.text(whole=whole, present=names)} AS {quote_name(m.name)}" for m in members)
    # The schema by name spares opening every file at bind time, and fills columns that an older file doesn't have.
    described = ",".join(
        f"{quote_text(n)}:{{name:{quote_text(n)},type:{quote_text(t)},default_value:NULL}}" for n, t in held
    )
    rows = sum(f.rows for f in files)
    if rows >= _LARGE_FILES * len(files):
        stored = columns_of(files) or frozenset()
        exact = [(n, t) for n, t in asked if n in stored]
        if exact and hold_exactly(files, {n: _stored_type(n, schema) for n, _ in exact}):
            select = _select(columns, schema, workspace, {n for n, _ in exact})
            return f"SELECT {select}{texts} FROM read_parquet([{listed}],union_by_name=true)"
    select = _select(columns, schema, workspace, {n for n, _ in held})
    return f"SELECT {select}{texts} FROM read_parquet([{listed}],schema=MAP{{{described}}},explicit_cardinality={rows})"


def _sources(columns: Sequence[tuple[str, str]], schema: TableSchema) -> list[tuple[str, str]]:
    """The stored columns that these are made of, with their types; at least one."""
    known = shape_of(schema).physical
    names = dict.fromkeys(s for n, _ in columns for s in sources_of(n, schema))
    if not names:
        names = dict.fromkeys(("TimeGenerated",))
    return [(n, "BIGINT" if n == ITEM_NUMBER else duckdb_type(known[n].type)) for n in names]


def _stored_type(name: str, schema: TableSchema) -> pa.DataType:
    known = shape_of(schema).physical.get(name)
    return pa.int64() if name == ITEM_NUMBER else arrow_type(known.type) if known is not None else pa.string()


def _select(columns: Sequence[tuple[str, str]], schema: TableSchema, workspace: str, present: Collection[str]) -> str:
    """The columns, read or made of those that are there; the others are null."""
    parts = []
    for name, kind in columns:
        made = made_column(name, schema, workspace, present)
        if made is None and name in present:
            parts.append(quote_name(name))
        else:
            parts.append(f"CAST({made or 'NULL'} AS {kind}) AS {quote_name(name)}")
    return ",".join(parts)


def _from_arrow(
    plan: RelationPlan,
    registered: str,
    rows: pa.Table,
    columns: Sequence[tuple[str, str]],
    members: Sequence[Member],
    schema: TableSchema,
    workspace: str,
) -> str:
    if BILLED not in rows.column_names and any(n == BILLED for n, _ in columns):
        rows = rows.append_column(BILLED, billed_sizes(rows))
    present = set(rows.column_names)
    # Registering hands over every column's description: give only those that are read.
    asked = [*(s for n, _ in columns for s in (n, *sources_of(n, schema))), *(m.source for m in members)]
    wanted = dict.fromkeys(s for s in asked if s in present)
    texts = "".join(f",{m.text(whole=False, present=present)} AS {quote_name(m.name)}" for m in members)
    plan.arrow[registered] = rows.select(list(wanted) or rows.column_names[:1])
    return f"SELECT {_select(columns, schema, workspace, present)}{texts} FROM {quote_name(registered)}"


def _empty(columns: Sequence[tuple[str, str]], members: Sequence[Member]) -> str:
    every = [*columns, *((m.name, "VARCHAR") for m in members)]
    return "SELECT " + ",".join(f"CAST(NULL AS {t}) AS {quote_name(n)}" for n, t in every) + " WHERE false"


def _plain(rows: pa.Table, name: str) -> pa.Table:
    """A relation of unknown schema, its columns in the physical types of what they mean."""
    columns = [canonical(rows.column(i), kql_type(f), table=name, name=f.name) for i, f in enumerate(rows.schema)]
    fields = [pa.field(f.name, arrow_type(kql_type(f))) for f in rows.schema]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _where(schema: TableSchema, window: Window | None) -> str:
    if window is None or all(c.name != window.column for c in schema.columns):
        return ""
    column = quote_name(window.column)
    tests = []
    if window.start is not None:
        tests.append(f"{column} >= {_stamp(window.start)}")
    if window.end is not None:
        tests.append(f"{column} < {_stamp(window.end)}")
    return " WHERE " + " AND ".join(tests) if tests else ""


def _stamp(moment: datetime) -> str:
    return f"TIMESTAMP '{naive_utc(moment).isoformat(sep=' ')}'"
