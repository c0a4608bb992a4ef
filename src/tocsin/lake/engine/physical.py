"""How a KQL type is stored and scanned: its DuckDB type, its Arrow type, and casting tables to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.base.errors import LakeError, did_you_mean
from tocsin.kql.emit import physical_names as _shared_names
from tocsin.kql.types import Column, KqlType, TableSchema

__all__ = [
    "ITEM_NUMBER",
    "RESERVED",
    "arrow_schema",
    "arrow_type",
    "canonical",
    "checked",
    "conform",
    "duckdb_type",
    "kql_type",
    "naive_utc",
    "physical_names",
    "quote_name",
    "quote_text",
    "shape_of",
    "stored_columns",
    "stored_schema",
]

_DUCKDB = {
    KqlType.BOOL: "BOOLEAN",
    KqlType.INT: "INTEGER",
    KqlType.LONG: "BIGINT",
    KqlType.REAL: "DOUBLE",
    KqlType.DECIMAL: "DECIMAL(38,17)",
    KqlType.STRING: "VARCHAR",
    KqlType.DATETIME: "TIMESTAMP",
    KqlType.TIMESPAN: "BIGINT",
    KqlType.GUID: "VARCHAR",
    KqlType.DYNAMIC: "VARCHAR",
}

_ARROW = {
    KqlType.BOOL: pa.bool_(),
    KqlType.INT: pa.int32(),
    KqlType.LONG: pa.int64(),
    KqlType.REAL: pa.float64(),
    KqlType.DECIMAL: pa.decimal128(38, 17),
    KqlType.STRING: pa.string(),
    KqlType.DATETIME: pa.timestamp("us"),
    KqlType.TIMESPAN: pa.int64(),
    KqlType.GUID: pa.string(),
    KqlType.DYNAMIC: pa.string(),
}

NAME_METADATA = b"tocsin.name"
"""Arrow field metadata key of the KQL name where the physical name differs."""

KQL_METADATA = b"tocsin.kql"
"""Arrow field metadata key that names the KQL type where the physical type alone doesn't tell it (dynamic, guid, timespan)."""


ITEM_NUMBER = "_ItemNumber"
"""The row's number in its table, of which `_ItemId` is made. Files hold it; no query can name it."""

_NEVER_STORED = frozenset(("_ItemId", "_IngestionTime", "_SourceSystem", "_WorkspaceId", "_IsBillable"))
RESERVED = _NEVER_STORED | {"_BilledSize", ITEM_NUMBER}
"""Columns that say what this lake knows of a row; what a sender writes into them is left out."""


def duckdb_type(kind: KqlType) -> str:
    """The DuckDB type that holds values of a KQL type in a relation."""
    return _DUCKDB[kind]


def arrow_type(kind: KqlType) -> pa.DataType:
    """The Arrow type that holds values of a KQL type in memory and in Parquet files."""
    return _ARROW[kind]


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of these columns under their physical names; each field's metadata names its KQL type and, where it differs, its name."""
    fields = []
    for name, column in zip(physical_names(columns), columns, strict=True):
        metadata = {KQL_METADATA: column.type.value}
        if name != column.name:
            metadata[NAME_METADATA] = column.name
        fields.append(pa.field(name, arrow_type(column.type), metadata=metadata))
    return pa.schema(fields)


def stored_schema(schema: TableSchema) -> pa.Schema:
    """The Arrow schema of a table's files: its columns without those that are made when they are read, and the rows' numbers."""
    kept = [f for f in arrow_schema(schema.columns) if f.name not in _NEVER_STORED]
    return pa.schema([*kept, pa.field(ITEM_NUMBER, pa.int64())])


def stored_columns(schema: pa.Schema) -> tuple[Column, ...]:
    """The KQL columns that an `arrow_schema` (or a foreign Arrow schema) stands for."""
    names = [(f.metadata or {}).get(NAME_METADATA, f.name.encode()).decode() for f in schema]
    return tuple(Column(name, kql_type(f)) for name, f in zip(names, schema, strict=True))


def kql_type(field: pa.Field) -> KqlType:
    """The KQL type of an Arrow field: what its metadata says, else what its Arrow type means."""
    named = (field.metadata or {}).get(KQL_METADATA)
    if named is not None:
        return KqlType(named.decode())
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return KqlType.BOOL
    if pa.types.is_integer(kind):
        return KqlType.INT if kind.bit_width < 32 or kind == pa.int32() else KqlType.LONG
    if pa.types.is_floating(kind):
        return KqlType.REAL
    if pa.types.is_decimal(kind):
        return KqlType.DECIMAL
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return KqlType.DATETIME
    if pa.types.is_nested(kind):
        return KqlType.DYNAMIC
    return KqlType.STRING


def physical_names(columns: Iterable[Column]) -> list[str]:
    """The columns' names in a relation: DuckDB folds case, so a name that differs only by case gets the suffix ``__2``."""
    return _shared_names(columns)


def canonical(column: pa.ChunkedArray, kind: KqlType, *, table: str, name: str) -> pa.ChunkedArray:
    """The column in the Arrow type of `kind`.

    Raises LakeError LAK0007 naming table and column when values can't be cast: a decoder or parser gave a wrong type.
    """
    target = arrow_type(kind)
    if column.type == target:
        return column
    try:
        if pa.types.is_timestamp(column.type) and target == pa.timestamp("us"):
            # A zoned timestamp already counts UTC; nanoseconds below a microsecond have no place in the lake.
            return column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(target)
        if pa.types.is_nested(column.type) and target == pa.string():
            import orjson

            text = [None if v is None else orjson.dumps(v, default=str).decode() for v in column.to_pylist()]
            return pa.chunked_array([pa.array(text, pa.string())])
        if pa.types.is_boolean(column.type) and target == pa.string():
            return pc.if_else(column, "True", "False")
        return column.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise LakeError(
            f"Column {name} of {table} holds values of type {column.type} that don't fit {kind.value}: {error}",
            code="LAK0007",
            hint="The parser or decoder that made the rows must convert the column.",
        ) from error


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema with what every scan and write asks of it: physical name → column, and KQL name → physical name."""

    schema: TableSchema
    physical: Mapping[str, Column]
    names: Mapping[str, str]


_SHAPES: dict[int, Shape] = {}


def shape_of(schema: TableSchema) -> Shape:
    """The schema's shape; remembered, since a schema of five hundred columns takes a while to go through."""
    found = _SHAPES.get(id(schema))
    if found is None or found.schema is not schema:
        physical = dict(zip(physical_names(schema.columns), schema.columns, strict=True))
        found = Shape(schema, physical, {c.name: n for n, c in physical.items()})
        if len(_SHAPES) >= 4096:
            _SHAPES.clear()
        _SHAPES[id(schema)] = found
    return found


def conform(rows: pa.Table, schema: TableSchema) -> pa.Table:
    """Those of the table's columns that `rows` has (by physical or KQL name), cast to their physical types, in the schema's order.

    Columns that the schema doesn't have raise LakeError LAK0006 with the nearest name, values of a wrong type LAK0007.
    """
    shape = shape_of(schema)
    given: dict[str, pa.ChunkedArray] = {}
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        physical = name if name in shape.physical else shape.names.get(name)
        if physical is None:
            raise LakeError(
                f"Table {schema.name} has no column {name!r}.", code="LAK0006", hint=did_you_mean(name, shape.names)
            )
        given[physical] = canonical(column, shape.physical[physical].type, table=schema.name, name=name)
    names = [name for name in shape.physical if name in given]
    return pa.table([given[n] for n in names], names=names)


def checked(rows: pa.Table, table: str) -> pa.Table:
    """The rows, once every text is known to be UTF-8: one bad byte would fail every query that touches it. Raises LakeError LAK0007."""
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        if pa.types.is_string(column.type):
            try:
                column.validate(full=True)
            except pa.ArrowInvalid as error:
                raise LakeError(
                    f"Column {name} of {table} holds text that isn't UTF-8: {error}.",
                    code="LAK0007",
                    hint="The decoder that made the rows must convert it.",
                ) from error
    return rows


def naive_utc(moment: datetime) -> datetime:
    """The instant as a naive UTC datetime, which is what a TIMESTAMP holds."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def quote_name(name: str) -> str:
    """A double-quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A single-quoted SQL literal."""
    return "'" + text.replace("'", "''") + "'"
