"""How the names of Windows' event logs (channels) and of the providers that write to them are spelled.

Windows compares both without case, and an event says its channel as whoever collects it asked for it: a subscription to `security` gives events of
`security`. The tables hold one spelling, the one under which Windows registers the log (`eventlogs.toml`), so that `Channel == "Security"` finds
them all, in parsers, rules and hunts alike.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.ingest.model import SourceBatch

__all__ = ["EventNames", "Spellings", "listed", "name_key"]


def name_key(name: str) -> str:
    """What two spellings of one channel or provider have in common."""
    return name.lower()


class Spellings:
    """Names by their one spelling; of several spellings of a name, the first given counts. A name that isn't known keeps its own."""

    def __init__(self, names: Iterable[str]) -> None:
        self._known: dict[str, str] = {}
        for name in names:
            self._known.setdefault(name_key(name), name)

    def of(self, name: str) -> str:
        """The spelling of a name."""
        return self._known.get(name_key(name), name)

    def different(self, names: pa.ChunkedArray) -> dict[str | None, str | None]:
        """The spelling of each different name of a column."""
        return {n: None if n is None else self.of(n) for n in pc.unique(names).to_pylist()}

    def column(self, names: pa.ChunkedArray) -> pa.ChunkedArray:
        """The names with their spelling; the identical column where all have it."""
        made = self.different(names)
        if all(given == name for given, name in made.items()):
            return names
        places = pc.index_in(names, value_set=pa.array(list(made), pa.string()))
        return pa.chunked_array(pa.array(list(made.values()), pa.string()).take(c) for c in places.chunks)


class EventNames:
    """The names in batches of events: those of `eventlogs.toml` and what else parsers call channels."""

    def __init__(self, named: Iterable[str] = ()) -> None:
        self._columns = {
            "Channel": Spellings((*listed()["channels"], *named)),
            "Provider": Spellings(listed()["providers"]),
        }

    def channel(self, name: str) -> str:
        """The spelling of a channel."""
        return self._columns["Channel"].of(name)

    def channels(self, rows: pa.Table) -> frozenset[str | None]:
        """The channels of these rows."""
        return frozenset(self._columns["Channel"].different(rows.column("Channel")).values())

    def spelled(self, batch: SourceBatch) -> SourceBatch:
        """The batch with one spelling of each name; the identical one where it has it."""
        rows = batch.rows
        for name, spellings in self._columns.items():
            given = rows.column(name)
            made = spellings.column(given)
            if made is not given:
                rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), made)
        return batch if rows is batch.rows else replace(batch, rows=rows)


@cache
def listed() -> Mapping[str, list[str]]:
    """What `eventlogs.toml` lists: `channels` and `providers`."""
    read: Mapping[str, list[str]] = tomllib.loads(Path(__file__).with_name("eventlogs.toml").read_text("utf-8"))
    return read
