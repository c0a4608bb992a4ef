"""From log records to rows in memory, in the log's order: put as rows of tables at once, or *deferred* as what was decoded.

Deferred rows are visible: whoever asks for tables that they may feed has them mapped first (`bring`), all that wait together, and so has the roll.
So a row is mapped once, whoever asks first, and in as large a group as waits; what nobody asks for is mapped at the roll. One thread maps, and
what it made becomes the tables' in one step under `lock`, in which the deferred rows go: at each moment a row is in one of the two places.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import structlog

from tocsin.base.clock import Clock
from tocsin.base.errors import LakeError
from tocsin.lake import roll
from tocsin.lake.hot import Segment
from tocsin.lake.puts import Puts
from tocsin.lake.store import Store
from tocsin.tables import INGESTION_TIME

__all__ = ["Fresh", "RowMaker", "TableBatch", "Unmapped"]

_log = structlog.get_logger("tocsin.lake.fresh")
_TOGETHER_BYTES = 64 << 20
"""What is mapped together at most: more saves nothing, and its rows are in memory twice meanwhile."""
_REST_SECONDS = 0.25
"""At most so long, and no longer than it mapped before, mapping rests between two who ask: many queries at once then share its work, of which they
would take a whole processor otherwise, a few rows at a time."""
_UNFIT = frozenset({"LAK0006", "LAK0007", "LAK0008"})


@dataclass(frozen=True, slots=True)
class TableBatch:
    """Rows for one table: a subset of its columns, under KQL or physical names, in types that cast to the catalogue's.

    Rows should have TimeGenerated and _TimeReceived; where one is missing, _TimeReceived is the lake's clock and TimeGenerated the time of
    receipt.
    """

    table: str
    rows: pa.Table


@dataclass(frozen=True, slots=True, eq=False)
class Unmapped:
    """Decoded rows that aren't rows of tables yet. `tables` are all for which they may have rows, `size` the bytes of memory that they take."""

    content: Any
    tables: frozenset[str]
    size: int


class RowMaker(Protocol):
    """Makes rows of tables of what was deferred. Only one thread calls it."""

    def rows(self, group: Sequence[Unmapped]) -> Iterable[TableBatch]:
        """The rows, in an order that the group alone decides. Each batch is made when the one before has widened its table's schema."""

    def unfit(self, batch: TableBatch, error: LakeError) -> Iterable[TableBatch]:
        """What becomes of a batch that doesn't fit its table (LAK0006, LAK0007, LAK0008): rows that do."""


@dataclass(slots=True)
class _Waiting:
    seq: int
    unmapped: Unmapped
    born: float


class Fresh:
    """The rows of a lake that came by its log and aren't in files yet. Safe to use from many threads."""

    def __init__(self, store: Store, clock: Clock, *, applied: int, puts: Puts | None) -> None:
        """`applied` is the last log record whose rows are in the tables."""
        self._store = store
        self._clock = clock
        self._puts = puts
        self.lock = threading.Lock()
        """Held while records become visible or rows of tables, so that a roll seals between two of them."""
        self._maker: RowMaker | None = None
        self.applied = applied
        self.taken = applied
        """The last record that is visible, deferred ones included."""
        self.dropped = False
        """Whether rows were left to the log, because their table is broken."""
        self.oldest: float | None = None
        """When the oldest row came, on the monotonic clock; None where there is none."""
        self._waiting: list[_Waiting] = []
        self._mapping = ThreadPoolExecutor(1, "lake-mapping")
        self._mapping_thread = 0
        self._rests_until = 0.0

    def map_with(self, maker: RowMaker) -> None:
        """Says who makes rows of what is deferred."""
        self._maker = maker
        # Now: a thread is as nice as the one that starts it, and who asks first may be nicer than intake.
        self._mapping.submit(int)

    def skip(self, seq: int) -> None:
        """Counts the records up to there as taken: no row of them is missing."""
        with self.lock:
            self.applied = max(self.applied, seq)
            self.taken = max(self.taken, seq)

    def put(self, seq: int, batches: Sequence[TableBatch]) -> None:
        """Makes the records up to `seq` visible as rows of tables. Raises LakeError for rows that fit none; then nothing of them is."""
        prepared = [self._prepare(b) for b in batches if b.rows.num_rows]
        self.bring(rest=False)  # what was deferred comes first: numbers of rows go in the log's order
        with self.lock:
            if seq <= self.taken:
                return
            self._apply(seq, prepared)
            self.taken = seq
            self._came(time.monotonic())

    def defer(self, seq: int, unmapped: Unmapped) -> None:
        """Makes the records up to `seq` visible, to be mapped when somebody asks."""
        with self.lock:
            if seq <= self.taken:
                return
            self.taken = seq
            if not unmapped.size and not self._waiting:
                self._apply(seq, [])
                return
            now = time.monotonic()
            self._waiting.append(_Waiting(seq, unmapped, now))
            if self._puts is not None:
                self._puts.note(seq, mapped=False)
            self._store.hold(unmapped.size)
            self._came(now)

    def bring(self, tables: Collection[str] | None = None, *, rest: bool = True) -> None:
        """Maps what waits, if it may have rows of one of these tables (None: of any), so that a snapshot that is taken then has all rows that
        are visible now. Without `rest` at once."""
        if threading.get_ident() == self._mapping_thread:
            return  # the maker itself asks for a table's schema: what came before is there
        with self.lock:
            wanted = [w.seq for w in self._waiting if tables is None or not w.unmapped.tables.isdisjoint(tables)]
        if wanted:
            self._mapping.submit(self._map, wanted[-1], rest).result()

    def seal(self) -> tuple[int, list[str]]:
        """For a roll: maps what waits and seals the rows; gives the last record that they hold, and the tables."""
        self.bring(rest=False)
        with self.lock:
            names = roll.seal(self._store)
            self.oldest = self._waiting[0].born if self._waiting else None
            return self.applied, names

    def close(self) -> None:
        """Ends the thread."""
        self._mapping.shutdown()

    # ---------------------------------------------------------------------------------------------- inside

    def _map(self, until: int, rest: bool) -> None:
        self._mapping_thread = threading.get_ident()
        with self.lock:
            if self.applied >= until:
                return
        if rest:
            time.sleep(max(0.0, self._rests_until - time.monotonic()))
        began = time.monotonic()
        while self.applied < until and self._map_some():
            pass
        now = time.monotonic()
        self._rests_until = now + min(now - began, _REST_SECONDS)

    def _map_some(self) -> bool:
        with self.lock:
            group: list[_Waiting] = []
            size = 0
            for waiting in self._waiting:
                if group and size + waiting.unmapped.size > _TOGETHER_BYTES:
                    break
                group.append(waiting)
                size += waiting.unmapped.size
        if not group:
            return False
        prepared = list(self._made([w.unmapped for w in group]))
        with self.lock:
            self._apply(group[-1].seq, prepared)
            del self._waiting[: len(group)]
            self._store.hold(-size)
        return True

    def _made(self, group: Sequence[Unmapped]) -> Iterable[tuple[str, Segment]]:
        maker = self._maker
        assert maker is not None, "rows were deferred, and nobody said who maps them"
        for batch in maker.rows(group):
            if not batch.rows.num_rows:
                continue
            try:
                yield self._prepare(batch)
            except LakeError as error:
                if error.code not in _UNFIT:
                    raise
                _log.error("lake.rows.unfit", table=batch.table, error=str(error))
                for instead in maker.unfit(batch, error):
                    yield self._prepare(instead)

    def _apply(self, seq: int, prepared: Sequence[tuple[str, Segment]]) -> None:
        for name, segment in prepared:
            state = self._store.state(name)
            if state.broken is not None:
                # Its rows stay in the log, which is kept from now on: after a repair a restart brings them back.
                self.dropped = True
                continue
            if seq > state.mark:
                self._store.update(name, lambda s, g=segment: s.with_fresh(g))  # type: ignore[misc]
        self.applied = seq
        if self._puts is not None:
            self._puts.note(seq)

    def _came(self, now: float) -> None:
        if self.oldest is None:
            self.oldest = now
            with self._store.condition:
                self._store.condition.notify_all()

    def _prepare(self, batch: TableBatch) -> tuple[str, Segment]:
        return prepared(self._store, self._clock, batch)


def prepared(store: Store, clock: Clock, batch: TableBatch) -> tuple[str, Segment]:
    """A batch as a segment of its table. Raises LakeError LAK0006, LAK0007 or LAK0008 when it doesn't fit."""
    rows = batch.rows
    if INGESTION_TIME not in rows.column_names:
        now = pa.scalar(clock.now(), pa.timestamp("us", "UTC"))
        rows = rows.append_column(INGESTION_TIME, pa.repeat(now, rows.num_rows))
    if "TimeGenerated" not in rows.column_names:
        rows = rows.append_column("TimeGenerated", rows.column(INGESTION_TIME))
    return batch.table, Segment.of(store.prepare(batch.table, rows), time.monotonic())
