"""What a query can name: declared tables, the lake's own tables, stored functions, watchlists, relations of one run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import pyarrow as pa

from tocsin.kql.types import Catalog, Column, FunctionSource, KqlType, TableSchema
from tocsin.lake.engine.physical import stored_columns
from tocsin.tables.watchlists import CHANGED, ITEM_ID, SEARCH_KEY

__all__ = ["WATCHLIST", "LakeTables", "WorkspaceCatalog", "watchlist_schema"]

WATCHLIST = "_Watchlist:"
"""Prefix of the relation that ``_GetWatchlist('alias')`` reads. No table can have such a name, so nothing else reaches it."""

_WATCHLIST_COLUMNS = (
    Column(ITEM_ID, KqlType.STRING, "Identifier of the item."),
    Column(CHANGED, KqlType.DATETIME, "When the item was last changed."),
    Column(SEARCH_KEY, KqlType.STRING, "The item's key, for joins."),
)
"""Columns that every watchlist has, also one that doesn't exist."""

_BUILT_IN = (
    FunctionSource(
        "_GetWatchlist",
        "watchlistAlias:string",
        f"table(strcat('{WATCHLIST}', watchlistAlias))",
        "The items of a watchlist by its alias; an empty table for an alias that doesn't exist.",
    ),
)
_EVERYTHING = re.compile(r"\*+")
_MOST_WITHOUT_ROWS = 80


class LakeTables(Protocol):
    """The part of `tocsin.lake.Lake` that tells which tables there are."""

    def schema(self, table: str) -> TableSchema | None:
        """The schema of a table that has rows."""

    def tables(self) -> list[str]:
        """Names of the tables that have or had rows."""

    def populated(self) -> list[str]:
        """Names of the tables that hold rows now."""


@dataclass(frozen=True)
class WorkspaceCatalog:
    """A `tocsin.kql.Catalog` over everything that a workspace has.

    `allowed` limits what wildcards expand to, for a principal with table scopes; `schemas` are relations of one run.
    """

    declared: Catalog
    lake: LakeTables | None = None
    functions: Mapping[str, FunctionSource] = field(default_factory=dict)
    watchlists: Mapping[str, pa.Table] = field(default_factory=dict)
    schemas: Mapping[str, TableSchema] = field(default_factory=dict)
    allowed: frozenset[str] | None = None

    def table(self, name: str) -> TableSchema | None:
        """See `tocsin.kql.Catalog.table`. A relation of the run comes first, then declared tables, then the lake's own."""
        found = self.schemas.get(name) or self.declared.table(name)
        if found is not None:
            return found
        if name.startswith(WATCHLIST):
            return watchlist_schema(name, self.watchlists.get(name[len(WATCHLIST) :]))
        return self.lake.schema(name) if self.lake is not None else None

    def table_names(self) -> Iterable[str]:
        """Names for wildcards: tables that hold rows. The thousand declared ones without rows would make ``search *`` endless."""
        populated = set(self.lake.populated()) if self.lake is not None else set(self.declared.table_names())
        names = populated | set(self.schemas)
        return sorted(n for n in names if self.allowed is None or n in self.allowed)

    def all_table_names(self) -> Iterable[str]:
        """Every table's name, for suggestions and completion."""
        own = self.lake.tables() if self.lake is not None else ()
        return sorted({*self.declared.table_names(), *own, *self.schemas})

    def matching(self, pattern: str) -> list[str]:
        """Tables that a wildcard means: those with rows, and of a pattern that is narrow enough also declared ones without."""
        names = set(self.table_names())
        expression = re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
        found = {n for n in names if expression.fullmatch(n)}
        if not _EVERYTHING.fullmatch(pattern):
            more = {n for n in self.all_table_names() if expression.fullmatch(n)}
            if not found or len(more) <= _MOST_WITHOUT_ROWS:
                found |= more
        return sorted(n for n in found if self.allowed is None or n in self.allowed)

    def function(self, name: str) -> FunctionSource | None:
        """See `tocsin.kql.Catalog.function`."""
        if name == "_GetWatchlistAlias":
            return self._aliases()
        return self.functions.get(name) or _BUILT_IN_BY_NAME.get(name)

    def function_names(self) -> Iterable[str]:
        """See `tocsin.kql.Catalog.function_names`."""
        return sorted({*self.functions, *_BUILT_IN_BY_NAME, "_GetWatchlistAlias"})

    def with_relations(self, relations: Mapping[str, pa.Table]) -> WorkspaceCatalog:
        """The catalog of one run that is handed these relations: one with a declared table's name keeps the table's schema."""
        schemas = {
            name: self.table(name) or TableSchema(name, stored_columns(rows.schema)) for name, rows in relations.items()
        }
        return replace(self, schemas=schemas)

    def _aliases(self) -> FunctionSource:
        names = ", ".join(_text(alias) for alias in sorted(self.watchlists))
        return FunctionSource(
            "_GetWatchlistAlias", "", f"datatable(WatchlistAlias:string)[{names}]", "The aliases of all watchlists."
        )


def watchlist_schema(name: str, rows: pa.Table | None) -> TableSchema:
    """A watchlist's columns: its own and the ones that all have. Values of a watchlist are text unless its table says otherwise."""
    own = stored_columns(rows.schema) if rows is not None else ()
    names = {c.name for c in own}
    return TableSchema(name, (*own, *(c for c in _WATCHLIST_COLUMNS if c.name not in names)))


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


_BUILT_IN_BY_NAME = {f.name: f for f in _BUILT_IN}
