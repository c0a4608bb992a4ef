"""Columns that a declared table doesn't have: their values come into its dynamic overflow, where queries find them at once, and are told of.

The overflow is `AdditionalFields` where the table declares one that is dynamic, else the hidden `_AdditionalFields` that every table has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pyarrow as pa

from tocsin.ingest.casts import cast_column
from tocsin.kql.types import KqlType, TableSchema
from tocsin.lake.engine.physical import RESERVED

__all__ = ["OVERFLOW", "DriftLog", "overflow_column", "with_overflow"]

OVERFLOW = "AdditionalFields"
"""The dynamic column of what has no column of its own, in the tables that declare it and in custom tables."""
_HIDDEN = "_AdditionalFields"
# What exports say of the row or of the export itself, not of the event.
_NOT_OF_THE_EVENT = RESERVED | {
    *("$table", "_TableName", "TableName", "MG", "ManagementGroupName", "SourceComputerId", "_Internal_WorkspaceResourceId"),
    "_TimeReceived",
}  # fmt: skip
_MOST = 10_000


def overflow_column(schema: TableSchema) -> str | None:
    """The table's column for what it has no column for; None for a schema without one."""
    types = {c.name: c.type for c in schema.columns}
    if types.get(OVERFLOW) is KqlType.DYNAMIC:
        return OVERFLOW
    return _HIDDEN if types.get(_HIDDEN) is KqlType.DYNAMIC else None


def with_overflow(made: pa.Table, given: pa.Table, schema: TableSchema) -> tuple[pa.Table, dict[str, int]]:
    """The rows that were made of the given ones, with the values of unknown columns in the overflow; how many values each such column had.

    A name that differs only by case from a column's is that column's. Texts that are JSON are JSON, as in any dynamic column. What the
    sender put into the overflow itself wins over a column of the same name.
    """
    target = overflow_column(schema)
    known = {c.name.lower() for c in schema.columns}
    spare = [n for n in given.column_names if n.lower() not in known and n not in _NOT_OF_THE_EVENT]
    if target is None or not spare:
        return made, {}
    counts: dict[str, int] = {}
    bags: list[dict[str, str]] = [{} for _ in range(given.num_rows)]
    for name in spare:
        values = cast_column(given.column(name), KqlType.DYNAMIC).to_pylist()
        found = 0
        for bag, value in zip(bags, values, strict=True):
            if value is not None:
                bag[name] = value
                found += 1
        if found:
            counts[name] = found
    if not counts:
        return made, {}
    own = made.column(target).to_pylist() if target in made.column_names else [None] * given.num_rows
    texts = pa.array([_merged(bag, text) for bag, text in zip(bags, own, strict=True)], pa.string())
    if target in made.column_names:
        return made.set_column(made.column_names.index(target), target, texts), counts
    return made.append_column(target, texts), counts


def _merged(bag: Mapping[str, str], own: str | None) -> str | None:
    if not bag:
        return own
    pieces = dict(bag)
    if own:
        try:
            held: Any = orjson.loads(own)
        except orjson.JSONDecodeError:
            held = own
        if isinstance(held, dict):
            pieces |= {str(k): orjson.dumps(v).decode() for k, v in held.items()}
        else:
            pieces[OVERFLOW] = orjson.dumps(held).decode()
    return "{" + ",".join(f"{orjson.dumps(k).decode()}:{v}" for k, v in pieces.items()) + "}"


class DriftLog:
    """Which columns came that their table doesn't have. `told` is called with the table and its columns when they come for the first time."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, int]] = {}
        self.told: Callable[[str, Mapping[str, int]], None] = lambda _table, _columns: None

    def note(self, table: str, columns: Mapping[str, int]) -> None:
        """Counts values by column."""
        if not columns:
            return
        known = self._rows.get(table, {})
        new = {c: n for c, n in columns.items() if c not in known}
        if len(known) < _MOST:
            # Replaced, never changed in place: others read it meanwhile.
            self._rows[table] = {**known, **{c: known.get(c, 0) + n for c, n in columns.items()}}
        if new:
            self.told(table, new)

    def rows(self) -> Mapping[str, Mapping[str, int]]:
        """Values since the start by table and column."""
        return dict(self._rows)
