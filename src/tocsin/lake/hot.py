"""Fresh rows in memory: Arrow segments of one table, and the table's state that a snapshot takes.

States are immutable: `put`, roll and flush replace one in the lake's mapping under its lock, so a snapshot is one reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.base.errors import LakeError
from tocsin.kql.types import TableSchema
from tocsin.lake.engine.physical import ITEM_NUMBER
from tocsin.lake.snapshot import DataFile

__all__ = ["Bounds", "Segment", "TableState", "add_segment", "bounds_of", "joined", "merged_bounds"]

Bounds = tuple[datetime, datetime]

_SMALL_ROWS = 4096
"""Segments of so many rows are left alone: two of the engine's vectors, so that scanning them costs no more than one large table."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of consecutive log records (or of the bulk path). `born` is when its first rows came, on the monotonic clock."""

    rows: pa.Table
    size: int
    born: float
    times: Bounds | None
    received: Bounds | None

    @classmethod
    def of(cls, rows: pa.Table, born: float) -> Segment:
        """A segment of these rows, its bounds computed."""
        return cls(rows, rows.nbytes, born, bounds_of(rows, "TimeGenerated"), bounds_of(rows, "_TimeReceived"))

    def numbered(self, first: int) -> Segment:
        """With the rows' numbers from `first` on."""
        numbers = pa.array(np.arange(first, first + self.rows.num_rows, dtype=np.int64))
        return replace(self, rows=self.rows.append_column(ITEM_NUMBER, numbers), size=self.size + numbers.nbytes)


@dataclass(frozen=True)
class TableState:
    """All that is known of one table.

    `files` are committed, `mark` is the log sequence up to which they hold the log's rows. `sealed` segments are being
    rolled, `fresh` ones came since. `bulk` rows and `spilled` files came by `write` and aren't committed yet. `broken` tells why
    the Delta table can't be used; its log rows then stay in the log.
    """

    schema: TableSchema
    files: tuple[DataFile, ...] = ()
    mark: int = 0
    sealed: tuple[Segment, ...] = ()
    fresh: tuple[Segment, ...] = ()
    bulk: tuple[Segment, ...] = ()
    spilled: tuple[DataFile, ...] = ()
    broken: LakeError | None = None
    archived: tuple[DataFile, ...] = ()
    """Files in the archive: their rows are the table's, but no query reads them (`tocsin.lake.archive`)."""
    items: int = 0
    """The number that the next row gets."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Every segment in memory."""
        return (*self.sealed, *self.fresh, *self.bulk)

    @cached_property
    def hot(self) -> pa.Table | None:
        """The rows in memory as one table, without copying; None where there are none."""
        segments = self.segments
        return joined(segments) if segments else None

    @cached_property
    def memory(self) -> int:
        """Bytes of the rows in memory."""
        return sum(s.size for s in self.segments)

    def with_fresh(self, segment: Segment) -> TableState:
        """With one more segment of log rows."""
        numbered, items = segment.numbered(self.items), self.items + segment.rows.num_rows
        return replace(self, fresh=add_segment(self.fresh, numbered), items=items)

    def with_bulk(self, segment: Segment) -> TableState:
        """With one more segment of bulk rows."""
        numbered, items = segment.numbered(self.items), self.items + segment.rows.num_rows
        return replace(self, bulk=add_segment(self.bulk, numbered), items=items)


def add_segment(segments: tuple[Segment, ...], new: Segment) -> tuple[Segment, ...]:
    """The segments with one more. Neighbours of like size are merged, so that many small puts leave few chunks and each row is copied seldom."""
    kept = list(segments)
    while (
        kept and new.rows.num_rows < _SMALL_ROWS and kept[-1].rows.num_rows <= min(2 * new.rows.num_rows, _SMALL_ROWS)
    ):
        last = kept.pop()
        rows = joined((last, new)).combine_chunks()
        new = Segment(
            rows,
            rows.nbytes,
            min(last.born, new.born),
            merged_bounds(last.times, new.times),
            merged_bounds(last.received, new.received),
        )
    return (*kept, new)


def joined(segments: Sequence[Segment]) -> pa.Table:
    """The segments' rows as one table; columns that some lack are null there."""
    if len(segments) == 1:
        return segments[0].rows
    return pa.concat_tables([s.rows for s in segments], promote_options="default")


def bounds_of(rows: pa.Table, column: str) -> Bounds | None:
    """The least and greatest instant of a column, or None where it is missing or all null."""
    if column not in rows.column_names or rows.num_rows == 0:
        return None
    found = pc.min_max(rows.column(column)).as_py()
    return None if found["min"] is None else (found["min"], found["max"])


def merged_bounds(a: Bounds | None, b: Bounds | None) -> Bounds | None:
    """Bounds that hold both. A part without bounds has no instants, so it widens nothing."""
    if a is None or b is None:
        return a or b
    return min(a[0], b[0]), max(a[1], b[1])
