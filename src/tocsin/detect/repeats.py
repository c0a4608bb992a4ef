"""Rows that came twice: senders that got no answer send their batch again, and a rule that counts would count it twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import pyarrow as pa

from tocsin.base.errors import TocsinError
from tocsin.detect.run import Queries
from tocsin.lake.engine import Limits, Window

__all__ = ["without_repeats"]

_MOST = 200_000
_LIMITS = Limits(rows=_MOST, seconds=120.0, result_bytes=256 << 20)


def without_repeats(
    queries: Queries, tables: Iterable[str], window: Window, now: datetime
) -> Mapping[str, pa.Table] | None:
    """The tables' rows in the window, each once (the same in every column but the time of receipt).

    None where none is there twice, or where a table holds more than 200,000 rows in the window: too much to tell.
    """
    found: dict[str, pa.Table] = {}
    repeated = False
    for table in tables:
        name = table if table.isidentifier() else f"['{table}']"
        try:
            counted = queries.run(f"{name} | count", window=window, now=now, limits=_LIMITS)
            rows = int(counted.rows()[0][0])
            if rows > _MOST:
                return None
            once = queries.run(f"{name} | distinct *", window=window, now=now, limits=_LIMITS)
        except TocsinError:
            return None
        if once.truncated:
            return None
        repeated = repeated or len(once) < rows
        found[table] = once.table.rename_columns([c.name for c in once.columns])
    return found if repeated else None
