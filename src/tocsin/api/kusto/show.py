"""What `.show` and `.cancel` commands answer: tables made of the workspace's own figures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa

from tocsin.access import Principal
from tocsin.api.kusto import schema
from tocsin.api.ports import Workspace
from tocsin.base.errors import UsageError, did_you_mean
from tocsin.kql.types import CLR_TYPES, Column, FunctionSource, KqlType, TableSchema
from tocsin.lake.engine import QueryResult, arrow_schema

__all__ = ["Context", "table_of"]

_S, _L, _I, _D, _B, _T, _G, _J, _R = (
    KqlType.STRING, KqlType.LONG, KqlType.INT, KqlType.DATETIME, KqlType.BOOL, KqlType.TIMESPAN, KqlType.GUID, KqlType.DYNAMIC,
    KqlType.REAL,
)  # fmt: skip
Columns = Sequence[tuple[str, KqlType]]


def table_of(columns: Columns, rows: Iterable[Sequence[Any]]) -> QueryResult:
    """A result of those rows. Timespans are timedeltas, datetimes carry their zone, dynamic values are any JSON."""
    described = [Column(name, kind) for name, kind in columns]
    lists = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrow = arrow_schema(described)
    arrays = [
        pa.array([_physical(v, c.type) for v in values], field.type)
        for values, c, field in zip(lists, described, arrow, strict=True)
    ]
    return QueryResult(
        columns=tuple(_Shown(n, k) for n, k in columns), table=pa.Table.from_arrays(arrays, schema=arrow)
    )


@dataclass(frozen=True, slots=True)
class _Shown:
    name: str
    type: KqlType
    ticks: bool = False


def _physical(value: Any, kind: KqlType) -> Any:
    if value is None:
        return None
    if kind is KqlType.TIMESPAN:
        return (value.days * 86_400 + value.seconds) * 10_000_000 + value.microseconds * 10
    if kind is KqlType.DATETIME and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    if kind is KqlType.DYNAMIC:
        return orjson.dumps(value).decode()
    return value


@dataclass(frozen=True)
class Context:
    """For whom and of what."""

    workspace: Workspace
    principal: Principal

    @property
    def database(self) -> str:
        """The one database."""
        return self.workspace.name

    def catalog(self) -> Any:
        """What the principal's queries can name."""
        return self.workspace.queries.catalog_for(self.principal)

    def tables(self) -> list[TableSchema]:
        """The tables that the principal may read."""
        catalog = self.catalog()
        names = [n for n in catalog.all_table_names() if catalog.allowed is None or n in catalog.allowed]
        return [t for n in names if (t := catalog.table(n)) is not None]

    def table(self, name: str) -> TableSchema:
        """One table. Raises UsageError USE0023 when there is none of that name."""
        catalog = self.catalog()
        found: TableSchema | None = catalog.table(name)
        if (
            found is None
            or name.startswith("_Watchlist:")
            or (catalog.allowed is not None and name not in catalog.allowed)
        ):
            raise _missing("Table", name, catalog.all_table_names())
        return found

    def functions(self) -> list[FunctionSource]:
        """The stored functions."""
        catalog = self.catalog()
        return [f for n in catalog.function_names() if (f := catalog.function(n)) is not None]

    def function(self, name: str) -> FunctionSource:
        """One function. Raises UsageError USE0023 when there is none of that name."""
        found: FunctionSource | None = self.catalog().function(name)
        if found is None:
            raise _missing("Function", name, self.catalog().function_names())
        return found

    def check_database(self, name: str) -> None:
        """Raises UsageError USE0023 when that isn't the workspace: its name, its id, or Kusto's word for the default one."""
        known = {self.workspace.name.lower(), self.workspace.id, "netdefaultdb", ""}
        if name.lower() not in known:
            raise _missing("Database", name, [self.workspace.name])


def _missing(kind: str, name: str, known: Iterable[str]) -> UsageError:
    return UsageError(
        f"Entity ID '{name[:200]}' of kind '{kind}' was not found.",
        code="USE0023",
        hint=did_you_mean(name[:200], known),
    )


# ------------------------------------------------------------------------------------------------ cluster


def version(c: Context) -> QueryResult:
    """`.show version`."""
    columns = (("BuildVersion", _S), ("BuildTime", _D), ("ServiceType", _S), ("ProductVersion", _S))
    return table_of(columns, [(c.workspace.version, None, "Engine", f"Tocsin {c.workspace.version}")])


def cluster(c: Context) -> QueryResult:
    """`.show cluster`: the one node that there is."""
    columns = (
        ("NodeId", _S), ("Address", _S), ("Name", _S), ("StartTime", _D), ("IsAdmin", _B), ("MachineTotalMemory", _L),
        ("MachineAvailableMemory", _L), ("ProcessorCount", _I), ("EnvironmentDescription", _S),
    )  # fmt: skip
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    row = (c.workspace.id, "", c.database, None, True, total, free, os.cpu_count(), f"Tocsin {c.workspace.version}")
    return table_of(columns, [row])


def databases(c: Context) -> QueryResult:
    """`.show databases`, `.show database`."""
    columns = (
        ("DatabaseName", _S), ("PersistentStorage", _S), ("Version", _S), ("IsCurrent", _B), ("DatabaseAccessMode", _S),
        ("PrettyName", _S), ("ReservedSlot1", _B), ("DatabaseId", _G), ("InTransitionTo", _S), ("SuspensionState", _S),
    )  # fmt: skip
    return table_of(columns, [(c.database, "", "v1.0", True, "ReadOnly", c.database, None, c.workspace.id, "", "")])


def database_schema_json(c: Context) -> QueryResult:
    """`.show databases schema as json` and its kin: one cell."""
    found = {"Databases": schema.database_json(c.database, c.tables(), c.functions())}
    return table_of((("DatabaseSchema", _S),), [(orjson.dumps(found).decode(),)])


def database_schema(c: Context) -> QueryResult:
    """`.show database schema`, `.show schema`: a row a column, after one for the database and one for each table."""
    columns = (
        ("DatabaseName", _S), ("TableName", _S), ("ColumnName", _S), ("ColumnType", _S), ("IsDefaultTable", _B),
        ("IsDefaultColumn", _B), ("PrettyName", _S), ("Version", _S), ("Folder", _S), ("DocString", _S),
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = [(c.database, "", "", "", False, False, "", "v1.0", "", "")]
    for table in c.tables():
        folder = schema.folder(table.name)
        rows.append((c.database, table.name, "", "", False, False, "", "", folder, table.doc))
        rows += [
            (c.database, table.name, x.name, CLR_TYPES[x.type], False, False, "", "", folder, x.doc)
            for x in table.columns
            if not x.hidden
        ]
    return table_of(columns, rows)


def database_script(c: Context) -> QueryResult:
    """`.show database schema as csl script`: what would make the tables and functions in a database of one's own."""
    tables = [f".create-merge table {schema.quoted(t.name)} ({schema.csl(t)})" for t in c.tables()]
    functions = [
        f".create-or-alter function {schema.quoted(f.name)} ({f.parameters}) {{\n{f.body}\n}}" for f in c.functions()
    ]
    return table_of((("DatabaseSchemaScript", _S),), [(text,) for text in [*tables, *functions]])


# ------------------------------------------------------------------------------------------------ tables

_TABLE = (("TableName", _S), ("DatabaseName", _S), ("Folder", _S), ("DocString", _S))


def tables(c: Context, names: Sequence[str] = ()) -> QueryResult:
    """`.show tables`."""
    found = [c.table(n) for n in names] if names else c.tables()
    return table_of(_TABLE, [(t.name, c.database, schema.folder(t.name), t.doc) for t in found])


def details(c: Context, names: Sequence[str] = ()) -> QueryResult:
    """`.show tables details`: rows and sizes as the lake knows them."""
    columns = (
        *_TABLE, ("TotalExtentSize", _R), ("TotalOriginalSize", _R), ("TotalRowCount", _L), ("HotExtentSize", _R),
        ("HotOriginalSize", _R), ("HotRowCount", _L), ("MinExtentsCreationTime", _D), ("MaxExtentsCreationTime", _D),
        ("FirstEvent", _D), ("LastEvent", _D),
    )  # fmt: skip
    stats = {s.table: s for s in c.workspace.lake.stats()}
    rows = []
    for table in [c.table(n) for n in names] if names else c.tables():
        s = stats.get(table.name)
        size, count = (float(s.bytes), s.rows) if s else (0.0, 0)
        first, last, received = (s.first_event, s.last_event, s.last_received) if s else (None, None, None)
        rows.append(
            (table.name, c.database, schema.folder(table.name), table.doc, size, None, count, size, None, count, None, received,
             first, last)
        )  # fmt: skip
    return table_of(columns, rows)


def table_columns(c: Context, name: str) -> QueryResult:
    """`.show table T`, `.show table T schema`: its columns."""
    found = c.table(name)
    columns = (("AttributeName", _S), ("AttributeType", _S), ("CslType", _S), ("DocString", _S))
    rows = [(x.name, CLR_TYPES[x.type], x.type.value, x.doc) for x in found.columns if not x.hidden]
    return table_of(columns, rows)


def table_schema(c: Context, name: str, *, as_json: bool) -> QueryResult:
    """`.show table T cslschema` and `… schema as json`."""
    found = c.table(name)
    text = orjson.dumps(schema.table_json(found)).decode() if as_json else schema.csl(found)
    columns = (("TableName", _S), ("Schema", _S), ("DatabaseName", _S), ("Folder", _S), ("DocString", _S))
    return table_of(columns, [(found.name, text, c.database, schema.folder(found.name), found.doc)])


def functions(c: Context, name: str = "") -> QueryResult:
    """`.show functions`, `.show function F`."""
    columns = (("Name", _S), ("Parameters", _S), ("Body", _S), ("Folder", _S), ("DocString", _S))
    found = [c.function(name)] if name else c.functions()
    return table_of(columns, [(f.name, f"({f.parameters})", "{" + f.body + "}", "", f.doc) for f in found])


def function_schema(c: Context, name: str) -> QueryResult:
    """`.show function F schema as json`."""
    found = c.function(name)
    text = orjson.dumps(schema.function_json(found)).decode()
    columns = (("FunctionName", _S), ("Schema", _S), ("DatabaseName", _S), ("Folder", _S), ("DocString", _S))
    return table_of(columns, [(found.name, text, c.database, "", found.doc)])


def nothing(columns: Columns) -> QueryResult:
    """A kind of entity of which there are none."""
    return table_of(columns, [])


# ------------------------------------------------------------------------------------------------ queries


def queries(c: Context) -> QueryResult:
    """`.show queries`, `.show running queries`: those that run now and that the principal may see."""
    columns = (
        ("ClientActivityId", _S), ("Text", _S), ("Database", _S), ("StartedOn", _D), ("LastUpdatedOn", _D), ("Duration", _T),
        ("State", _S), ("RootActivityId", _G), ("User", _S), ("FailureReason", _S), ("Application", _S), ("Principal", _S),
    )  # fmt: skip
    now = c.workspace.clock.now()
    rows = [
        (q.client_id or str(q.id), q.text, c.database, q.started, now, max(timedelta(0), now - q.started), "InProgress", None,
         q.by, "", q.application, q.by)
        for q in c.workspace.queries.visible(c.principal)
    ]  # fmt: skip
    return table_of(columns, rows)


def cancel(c: Context, client_id: str) -> QueryResult:
    """`.cancel query`: ends the running queries of that id, if the principal may."""
    found = [q for q in c.workspace.queries.visible(c.principal) if client_id in (q.client_id or None, str(q.id))]
    if not found:
        raise UsageError(
            f"No query of yours with the id '{client_id[:200]}' runs now.", code="USE0023", hint="See .show queries."
        )
    ended = [c.workspace.queries.cancel(q.id) for q in found]
    columns = (("ClientRequestId", _S), ("RunningQueryCanceled", _B), ("CanceledOn", _D))
    return table_of(columns, [(client_id, any(ended), datetime.now(UTC))])
