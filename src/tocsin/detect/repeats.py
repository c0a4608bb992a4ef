"""Rows that came twice: senders that got no answer send their batch again, and a rule that counts would count it twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum

import pyarrow as pa

from tocsin.base.errors import TocsinError
from tocsin.detect.run import Queries
from tocsin.lake.engine import Limits, Window

__all__ = ["Repeats"]

_MOST = 200_000
_LIMITS = Limits(rows=_MOST, seconds=120.0, result_bytes=256 << 20)
_KEPT = 16
_KEPT_BYTES = 8 << 20
"""Size of a table's rows above which they are asked for again rather than kept."""


class _Said(Enum):
    ONCE = "each row is there once"
    UNKNOWN = "too many rows to tell, or they can't be read"


class Repeats:
    """Tells which rows of a window are there twice. Rules that are due together ask once for a table. Thread-safe."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, Window, datetime], pa.Table | _Said] = OrderedDict()

    def without(self, tables: Iterable[str], window: Window, now: datetime) -> Mapping[str, pa.Table] | None:
        """Of the tables that hold a row twice in the window (the same in every column but the time of receipt) their rows, each once.

        `now` is the instant up to which received rows count. None where no row is there twice, or where a table holds more than 200,000
        rows in the window: too much to tell.
        """
        found: dict[str, pa.Table] = {}
        for table in tables:
            said = self._said(table, window, now)
            if said is _Said.UNKNOWN:
                return None
            if isinstance(said, pa.Table):
                found[table] = said
        return found or None

    def _said(self, table: str, window: Window, now: datetime) -> pa.Table | _Said:
        key = (table, window, now)
        with self._lock:
            if (known := self._known.get(key)) is not None:
                return known
        said = self._ask(table, window, now)
        if not isinstance(said, pa.Table) or said.nbytes <= _KEPT_BYTES:
            with self._lock:
                self._known[key] = said
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return said

    def _ask(self, table: str, window: Window, now: datetime) -> pa.Table | _Said:
        name = table if table.isidentifier() else f"['{table}']"
        try:
            counted = self._queries.run(f"{name} | count", window=window, now=now, limits=_LIMITS)
            rows = int(counted.rows()[0][0])
            if rows > _MOST:
                return _Said.UNKNOWN
            once = self._queries.run(f"{name} | distinct *", window=window, now=now, limits=_LIMITS)
        except TocsinError:
            return _Said.UNKNOWN
        if once.truncated:
            return _Said.UNKNOWN
        if len(once) == rows:
            return _Said.ONCE
        return once.table.rename_columns([c.name for c in once.columns])
