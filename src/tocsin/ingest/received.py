"""When rows were received: one instant for all of a batch, or runs of rows with an instant each, where batches were joined to be mapped together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.tables import INGESTION_TIME

__all__ = ["Received", "stamp_of", "stamped"]

_TIMES = ("TimeGenerated", "Timestamp")
_KIND = pa.timestamp("us")


@dataclass(frozen=True, slots=True)
class Received:
    """The instants of runs of rows that follow each other: `moments` of so many rows as `counts` says. `number` is that of the first body that was
    decoded with them, which is part of what tells their dead letters from others."""

    moments: Sequence[datetime]
    counts: Sequence[int]
    number: int = 0

    @property
    def last(self) -> datetime:
        """The last run's instant."""
        return self.moments[-1]

    def of(self, chosen: np.ndarray[Any, Any] | None) -> pa.Array | pa.Scalar:
        """The instant of each of the chosen rows (None: of all)."""
        if len(set(self.moments)) == 1:
            return stamp_of(self.last)
        run = np.repeat(np.arange(len(self.counts), dtype=np.int32), self.counts)
        if chosen is not None:
            run = run[chosen]
        return pa.array([stamp_of(m).as_py() for m in self.moments], _KIND).take(pa.array(run))

    def pieces(self, chosen: np.ndarray[Any, Any] | None) -> Iterator[tuple[np.ndarray[Any, Any] | None, datetime]]:
        """The chosen rows by their instant, for what can't keep track of rows."""
        if len(set(self.moments)) == 1:
            yield chosen, self.last
            return
        start = 0
        for moment, group in _alike(self.moments, self.counts):
            end = start + group
            if chosen is None:
                yield np.arange(start, end), moment
            else:
                first, last = np.searchsorted(chosen, (start, end))
                if last > first:
                    yield chosen[first:last], moment
            start = end


def _alike(moments: Sequence[datetime], counts: Sequence[int]) -> Iterator[tuple[datetime, int]]:
    """Neighbours of one instant as one run."""
    before, total = moments[0], 0
    for moment, count in zip(moments, counts, strict=True):
        if moment != before:
            yield before, total
            before, total = moment, 0
        total += count
    yield before, total


def stamp_of(moment: datetime) -> pa.Scalar:
    """An instant as `_TimeReceived` holds it."""
    return pa.scalar(moment.astimezone(UTC).replace(tzinfo=None), _KIND)


def stamped(rows: pa.Table, stamp: pa.Scalar | pa.Array) -> pa.Table:
    """With `_TimeReceived`; rows without a time of their own happened when they were received."""
    if INGESTION_TIME in rows.column_names:
        rows = rows.drop_columns([INGESTION_TIME])
    each = pa.repeat(stamp, rows.num_rows) if isinstance(stamp, pa.Scalar) else stamp
    for name in _TIMES:
        if name in rows.column_names:
            column = rows.column(name)
            if column.null_count:
                rows = rows.set_column(rows.column_names.index(name), name, pc.coalesce(column, stamp))
        elif name == "TimeGenerated":
            rows = rows.append_column(name, each)
    return rows.append_column(INGESTION_TIME, each)
