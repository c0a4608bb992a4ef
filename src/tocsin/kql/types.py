"""KQL's scalar types, columns and schemas: what every other room of the house means by "a column".

The physical column says how a value of that type is represented in a relation that the emitter reads or makes
(see `docs/explanation/kql.md`): strings are never NULL, a `datetime` is a zoneless TIMESTAMP in microseconds or, where
a tick-exact value arises, a BIGINT of 100 ns ticks since 0001-01-01; a `timespan` is a BIGINT of ticks; a
`dynamic` is JSON text; a `guid` is lower-case text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

__all__ = ["CLR_TYPES", "Catalog", "Column", "FunctionSource", "KqlType", "MappingCatalog", "TableSchema"]


class KqlType(StrEnum):
    """The ten scalar types (learn.microsoft.com/kusto/query/scalar-data-types)."""

    BOOL = "bool"
    INT = "int"
    LONG = "long"
    REAL = "real"
    DECIMAL = "decimal"
    STRING = "string"
    DATETIME = "datetime"
    TIMESPAN = "timespan"
    GUID = "guid"
    DYNAMIC = "dynamic"

    @property
    def is_numeric(self) -> bool:
        """True for int, long, real and decimal."""
        return self in (KqlType.INT, KqlType.LONG, KqlType.REAL, KqlType.DECIMAL)


@dataclass(frozen=True, slots=True)
class Column:
    """A named, typed column. `doc` is the sentence shown in completion; `hidden` columns are left out of `*`."""

    name: str
    type: KqlType
    doc: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A table as the binder sees it: its name and ordered columns (hidden ones included).

    An `open` table (AzureDiagnostics) may have columns that no schema lists; their type is the suffix of their name (``_s``, ``_d``,
    ``_g``, ``_b``, ``_t``). One that no row has is null.

    `members` are members of dynamic columns that are read often, (column, member): a relation of the table gives their texts as string columns
    of its own, which no query can name. ``COLUMN:MEMBER`` holds what ``tostring(COLUMN.MEMBER)`` is, and ``COLUMN::MEMBER`` what
    ``tostring(parse_json(COLUMN).MEMBER)`` is, which differs where the column holds a string that is JSON.
    """

    name: str
    columns: tuple[Column, ...]
    doc: str = ""
    open: bool = False
    members: tuple[tuple[str, str], ...] = ()

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)


@dataclass(frozen=True, slots=True)
class FunctionSource:
    """A stored function: KQL text of a parameter list and a body, as `.create function` would take them.

    `parameters` is the text between the parentheses, for example ``"T:(*), lookback:timespan = 1h"``; `body` is the text
    between the braces.
    """

    name: str
    parameters: str
    body: str
    doc: str = ""


class Catalog(Protocol):
    """What the binder asks of the world. Names are case-sensitive, as in Kusto."""

    def table(self, name: str) -> TableSchema | None:
        """The table of that name, or None."""

    def table_names(self) -> Iterable[str]:
        """Every table's name: for wildcards, `search *` and suggestions."""

    def function(self, name: str) -> FunctionSource | None:
        """The stored function of that name, or None."""

    def function_names(self) -> Iterable[str]:
        """Every stored function's name."""


@dataclass(frozen=True, slots=True)
class MappingCatalog:
    """A catalog over plain mappings, for tests and for one-off schemas."""

    tables: Mapping[str, TableSchema] = field(default_factory=dict)
    functions: Mapping[str, FunctionSource] = field(default_factory=dict)

    def table(self, name: str) -> TableSchema | None:
        """See `Catalog.table`."""
        return self.tables.get(name)

    def table_names(self) -> Iterable[str]:
        """See `Catalog.table_names`."""
        return self.tables.keys()

    def function(self, name: str) -> FunctionSource | None:
        """See `Catalog.function`."""
        return self.functions.get(name)

    def function_names(self) -> Iterable[str]:
        """See `Catalog.function_names`."""
        return self.functions.keys()


CLR_TYPES = {
    KqlType.BOOL: "System.SByte",
    KqlType.INT: "System.Int32",
    KqlType.LONG: "System.Int64",
    KqlType.REAL: "System.Double",
    KqlType.DECIMAL: "System.Data.SqlTypes.SqlDecimal",
    KqlType.STRING: "System.String",
    KqlType.DATETIME: "System.DateTime",
    KqlType.TIMESPAN: "System.TimeSpan",
    KqlType.GUID: "System.Guid",
    KqlType.DYNAMIC: "System.Object",
}
"""KQL types as .NET names them."""
