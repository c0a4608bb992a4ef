"""Which catalogue table an exported row belongs to: by what the row says of itself, else by its column names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache

from tocsin.ingest.decoders.names import names
from tocsin.kql.types import TableSchema
from tocsin.tables import STANDARD_COLUMNS, Catalogue, catalogue

__all__ = ["TableMatcher", "default_matcher", "plain_name"]

_SUFFIX = re.compile(r"^(.+)_(?:string|dynamic|long|int|real|bool|datetime|guid)$")
_UNIT = re.compile(r"\s*\[(?:UTC|Local Time)\]$|\s*\((?:UTC|GMT)\)$", re.IGNORECASE)
_STANDARD = frozenset(c.name for c in STANDARD_COLUMNS) | names().standard
_NAMING = names().table_keys
_MIN_MATCHES = 3
_MIN_SHARE = 0.6
_CATEGORY_PENALTY = re.compile(r"_CL$")


def plain_name(name: str) -> str:
    """A column's name without what exports append: ` [UTC]`, the `_string`/`_dynamic` of a union, an alias's table prefix."""
    name = _UNIT.sub("", name.strip().lstrip("﻿"))
    suffixed = _SUFFIX.match(name)
    return suffixed[1] if suffixed else name


class TableMatcher:
    """Finds the catalogue table of a row. Decisions are cached by the set of columns."""

    def __init__(self, tables: Catalogue) -> None:
        self._tables = tables
        self._by_column: dict[str, set[str]] | None = None
        self._sizes: dict[str, int] = {}
        self._cache: dict[tuple[str, frozenset[str], frozenset[str]], str | None] = {}

    def schema(self, name: str) -> TableSchema | None:
        """The schema of that table, or None."""
        return self._tables.table(name)

    def names(self) -> frozenset[str]:
        """Every declared table's name."""
        return self._tables.names()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._tables

    def named(self, row: Mapping[str, object]) -> str | None:
        """The table that the row names (`Type`), when the catalogue has it."""
        for key in _NAMING:
            value = row.get(key)
            if value.__class__ is str and value in self._tables:
                return value
        return None

    def of(self, row: Mapping[str, object], every: frozenset[str] | None = None) -> str | None:
        """The table of a row, or None when no table fits it. `every` are the columns of its export when the row lacks some."""
        named = self.named(row)
        if named is not None:
            return named
        filled = frozenset(plain_name(k) for k, v in row.items() if v is not None and v != "")
        found = self.of_columns(filled, frozenset(map(plain_name, row)) if every is None else every)
        known = names()
        action = row.get(known.family_column)
        if found is not None and isinstance(action, str) and found.startswith(known.family):
            for pattern, table in known.alike:
                if pattern.search(action) and self._holds(table, filled):
                    return table
        return found

    def _holds(self, table: str, columns: frozenset[str]) -> bool:
        index = self._index()
        return sum(table in index.get(c, ()) for c in columns) >= _MIN_MATCHES

    def of_columns(self, filled: frozenset[str], every: Iterable[str] = ()) -> str | None:
        """The table whose columns fit best: first the ones that hold values, then all that the export lists."""
        listed = frozenset(every) | filled
        key = ("", filled, listed)
        if key in self._cache:
            return self._cache[key]
        if len(self._cache) > 20_000:
            self._cache.clear()
        found = self._cache[key] = self._best(filled - _STANDARD, listed - _STANDARD)
        return found

    def _best(self, filled: frozenset[str], listed: frozenset[str]) -> str | None:
        if len(filled) < _MIN_MATCHES:
            filled = listed
        if len(filled) < _MIN_MATCHES:
            return None
        index = self._index()
        hits: dict[str, int] = defaultdict(int)
        for column in filled:
            for table in index.get(column, ()):
                hits[table] += 1
        if not hits:
            return None
        all_hits: dict[str, int] = defaultdict(int)
        for column in listed:
            for table in index.get(column, ()):
                all_hits[table] += 1
        # The share of the row that the table holds decides; then the share of everything listed; then the least spare columns.
        best = max(
            hits,
            key=lambda t: (
                hits[t],
                all_hits[t],
                not _CATEGORY_PENALTY.search(t),
                -self._sizes[t],
                [-ord(c) for c in t],
            ),
        )
        return best if hits[best] >= _MIN_MATCHES and hits[best] >= _MIN_SHARE * len(filled) else None

    def _index(self) -> dict[str, set[str]]:
        if self._by_column is None:
            index: dict[str, set[str]] = defaultdict(set)
            for info in self._tables:
                own = [c.name for c in info.schema.columns if c.name not in _STANDARD]
                self._sizes[info.name] = len(own)
                for name in own:
                    index[name].add(info.name)
            self._by_column = index
        return self._by_column


@cache
def default_matcher() -> TableMatcher:
    """The matcher over the catalogue that ships with Tocsin."""
    return TableMatcher(catalogue())
