"""A table in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tocsin.lake.engine.files import days_of
from tocsin.lake.hot import merged_bounds
from tocsin.lake.store import Store

__all__ = ["TableStats", "table_stats"]


@dataclass(frozen=True, slots=True)
class TableStats:
    """A table in numbers. `bytes` are those of its files and of its rows in memory; instants are naive UTC. What is archived isn't in them, it
    counts for itself."""

    table: str
    rows: int
    bytes: int
    first_event: datetime | None
    last_event: datetime | None
    last_received: datetime | None
    archived_rows: int = 0
    archived_bytes: int = 0
    archived_days: tuple[str, ...] = ()


def table_stats(store: Store) -> list[TableStats]:
    """Rows, bytes and times of every table, by name, from the Delta logs and the rows in memory; reads no file."""
    found = []
    for name, state in sorted(store.states.items()):
        files, segments = (*state.files, *state.spilled), state.segments
        times = received = None
        for bounds in (f.times for f in files), (s.times for s in segments):
            for each in bounds:
                times = merged_bounds(times, each)
        for bounds in (f.received for f in files), (s.received for s in segments):
            for each in bounds:
                received = merged_bounds(received, each)
        found.append(
            TableStats(
                name,
                sum(f.rows for f in files) + sum(s.rows.num_rows for s in segments),
                sum(f.size for f in files) + sum(s.size for s in segments),
                times[0] if times else None,
                times[1] if times else None,
                received[1] if received else None,
                sum(f.rows for f in state.archived),
                sum(f.size for f in state.archived),
                tuple(days_of(state.archived)),
            )
        )
    return found
