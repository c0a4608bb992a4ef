"""A consistent view of the lake: for every table its files of one Delta version and the fresh rows above that version's mark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from tocsin.kql.types import TableSchema

__all__ = ["DataFile", "Snapshot", "TableSnapshot"]


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file of a table, with what the Delta log says about it. Instants are naive UTC; None means unknown.

    `times`, `received` and `stamps` are the least and greatest TimeGenerated, _TimeReceived and Timestamp. `spilled` files belong to bulk-written
    rows that aren't committed yet. `columns` are the physical names that the file holds, where they are known; the others are null.
    """

    path: str
    rows: int
    size: int
    times: tuple[datetime, datetime] | None = None
    received: tuple[datetime, datetime] | None = None
    spilled: bool = False
    columns: frozenset[str] | None = field(default=None, compare=False, repr=False)
    stamps: tuple[datetime, datetime] | None = None

    def bounds(self, column: str) -> tuple[datetime, datetime] | None:
        """The least and greatest value of TimeGenerated, _TimeReceived or Timestamp, if known."""
        known = {
            "TimeGenerated": self.times,
            "_TimeReceived": self.received,
            "_IngestionTime": self.received,
            "Timestamp": self.stamps,
        }
        return known.get(column)


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """One table's part of a snapshot. `hot` gives the fresh rows as one Arrow table under physical names, or None."""

    schema: TableSchema
    files: tuple[DataFile, ...] = ()
    mark: int = 0
    hot: Callable[[], pa.Table | None] = field(default=lambda: None)
    archived: tuple[DataFile, ...] = ()
    """Files in the archive, which no query reads: what it would have read of them is told with its answer."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All tables as they were at one moment. Holding it keeps the fresh rows in memory, so let it go after use."""

    tables: Mapping[str, TableSnapshot] = field(default_factory=dict)
    on_bad_file: Callable[[str, str, str], None] | None = None
    """Called with (table, path, reason) when the engine finds that a file can't be read."""
    workspace: str = ""
    """The workspace's id, which `TenantId` and `_WorkspaceId` say where the source said nothing."""

    def table(self, name: str) -> TableSnapshot | None:
        """That table's part, or None where the lake holds no such table."""
        return self.tables.get(name)
