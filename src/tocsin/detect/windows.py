"""Which windows of event time newly received rows touch, on the rule's grid.

A rule that counts, joins or sequences is about what happened in a stretch of event time, whenever the rows came in. Its windows lie on a grid of its
frequency from 1970 on (`index` n is the window that ends at n times the frequency). A row belongs to every window that covers its time; one that
comes late touches windows that were looked at before, and those are looked at again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tocsin.detect.make import later
from tocsin.lake.engine import Limits, Window
from tocsin.tables import INGESTION_TIME

if TYPE_CHECKING:
    from tocsin.detect.run import Queries

__all__ = ["BUCKET", "EPOCH", "IN_BUCKETS", "Bucket", "Touch", "TouchedBuckets", "index_at", "moment_of", "touch"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BUCKET = timedelta(minutes=5)
IN_BUCKETS = " | summarize Rows = count() by Bucket = bin(TimeGenerated, 5m) | project Bucket"
"""What follows a table's name to ask in which five-minute buckets of event time it holds rows."""

_TICK = timedelta(microseconds=1)
_LIMITS = Limits(rows=2_000_000, seconds=300.0, result_bytes=None)

Bucket = datetime
"""The start of a five-minute stretch of event time."""


def index_at(moment: datetime, step: timedelta) -> int:
    """The last window that ends at or before that instant."""
    return (moment - EPOCH) // step


def moment_of(index: int, step: timedelta) -> datetime:
    """The end of the window of that index."""
    return later(EPOCH, step * index)


@dataclass(frozen=True, slots=True)
class Touch:
    """Windows that rows of some buckets lie in: those in which they are the newest, and every one."""

    newest: frozenset[int]
    every: frozenset[int]


def touch(buckets: Iterable[Bucket], step: timedelta, period: timedelta) -> Touch:
    """The windows of the grid that rows of those buckets may lie in."""
    newest: set[int] = set()
    for bucket in buckets:
        newest.update(range(index_at(bucket, step) + 1, index_at(later(bucket, BUCKET - _TICK), step) + 2))
    reach = -(-period // step)
    return Touch(frozenset(newest), frozenset(n + i for n in newest for i in range(reach)))


class TouchedBuckets:
    """The buckets of event time in which a table received rows between two instants. Rules that are due together ask once. Thread-safe."""

    def __init__(self, queries: Queries, *, kept: int = 512) -> None:
        self._queries = queries
        self._kept = kept
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, datetime, datetime], frozenset[Bucket]] = OrderedDict()
        self._asking: dict[tuple[str, datetime, datetime], threading.Lock] = {}

    def get(self, table: str, since: datetime, until: datetime) -> frozenset[Bucket]:
        """Buckets of rows received in ``[since, until)``. Raises TocsinError when the table can't be read."""
        key = (table, since, until)
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            with self._lock:
                if (known := self._known.get(key)) is not None:
                    return known
            found = self._ask(table, since, until)
            with self._lock:
                self._known[key] = found
                self._asking.pop(key, None)
                while len(self._known) > self._kept:
                    self._known.popitem(last=False)
            return found

    def _ask(self, table: str, since: datetime, until: datetime) -> frozenset[Bucket]:
        name = table if table.isidentifier() else f"['{table}']"
        result = self._queries.run(
            f"{name}{IN_BUCKETS}", window=Window(since, until, INGESTION_TIME), now=until, limits=_LIMITS
        )
        stamps = result.table.column(0).to_pylist()
        return frozenset(s.replace(tzinfo=UTC) if s.tzinfo is None else s for s in stamps if isinstance(s, datetime))
