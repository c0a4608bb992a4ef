"""The schemas of source kinds as KQL sees them: what a parser's `source` has."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import pyarrow as pa

from tocsin.ingest.decoders.windows import EVENT_SCHEMA
from tocsin.kql.types import Catalog, Column, FunctionSource, KqlType, TableSchema
from tocsin.tables.kinds import EVENT_KINDS

__all__ = [
    "DYNAMIC_COLUMNS",
    "EVENT_KINDS",
    "SOURCE",
    "SourceCatalog",
    "fixed_schema",
    "schema_of",
    "source_schema",
]

SOURCE = "source"
"""The name by which a parser's query knows its rows."""

DYNAMIC_COLUMNS = frozenset({"EventData", "Fields", "Types", "StructuredData", "RawData", "Header", "Extension"})
"""Columns that hold JSON text; parsers see them as dynamic."""


def _kql_type(name: str, kind: pa.DataType) -> KqlType:
    if name in DYNAMIC_COLUMNS:
        return KqlType.DYNAMIC
    if pa.types.is_timestamp(kind):
        return KqlType.DATETIME
    if pa.types.is_int32(kind):
        return KqlType.INT
    if pa.types.is_integer(kind):
        return KqlType.LONG
    if pa.types.is_boolean(kind):
        return KqlType.BOOL
    if pa.types.is_floating(kind):
        return KqlType.REAL
    return KqlType.STRING


def schema_of(kind: str, rows: pa.Schema) -> TableSchema:
    """The schema of `source` for rows of that kind with that Arrow schema."""
    columns = tuple((f.name, str(f.type)) for f in (EVENT_SCHEMA if kind in EVENT_KINDS else rows))
    return source_schema(kind, columns)


def fixed_schema(kind: str) -> TableSchema | None:
    """The schema of `source` for kinds that always have the same columns; None where the rows decide."""
    return schema_of(kind, EVENT_SCHEMA) if kind in EVENT_KINDS else None


@lru_cache(maxsize=512)
def source_schema(kind: str, columns: tuple[tuple[str, str], ...]) -> TableSchema:
    """The same, by (name, Arrow type) pairs. Equal input gives the identical object."""
    dynamic = kind in EVENT_KINDS or not kind.startswith(("zeek.", "table."))
    made = []
    for name, kind_text in columns:
        arrow = pa.timestamp("us") if kind_text.startswith("timestamp") else pa.type_for_alias(kind_text)
        made.append(Column(name, _kql_type(name, arrow) if dynamic else _kql_type("", arrow)))
    return TableSchema(SOURCE, tuple(made))


class SourceCatalog:
    """What a parser's or a transform's text may name: `source`, and the stored functions of the packs."""

    def __init__(self, source: TableSchema, base: Catalog) -> None:
        self._source = source
        self._base = base

    def table(self, name: str) -> TableSchema | None:
        """See `Catalog.table`."""
        return self._source if name == SOURCE else None

    def table_names(self) -> Iterable[str]:
        """See `Catalog.table_names`."""
        return (SOURCE,)

    def function(self, name: str) -> FunctionSource | None:
        """See `Catalog.function`."""
        return self._base.function(name)

    def function_names(self) -> Iterable[str]:
        """See `Catalog.function_names`."""
        return self._base.function_names()
