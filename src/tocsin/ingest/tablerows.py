"""Rows of tables out of what was decoded: what the lake asks for when somebody needs them (`tocsin.lake.fresh`).

Batches of one source and shape that wait together are joined first, whenever they were received: planning a parser costs a millisecond, whether it
has a thousand rows or fifty thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import pyarrow as pa
import structlog

from tocsin.base.errors import LakeError
from tocsin.ingest import codes
from tocsin.ingest.letters import DEAD_LETTERS, dead_letter_rows, letters_of_rows
from tocsin.ingest.mapping import Mapper
from tocsin.ingest.model import SourceBatch
from tocsin.ingest.received import Received, stamp_of, stamped
from tocsin.ingest.schemas import EVENT_KINDS
from tocsin.ingest.settings import DecodeLimits
from tocsin.lake import TableBatch, Unmapped

__all__ = ["Decoded", "TableRows", "merged"]

_log = structlog.get_logger("tocsin.ingest.tablerows")


@dataclass(slots=True)
class Decoded:
    """What bodies gave: batches, each with the instant of receipt, and rows of tables that need no parser. `number` is that of the first body."""

    number: int = 0
    batches: list[tuple[SourceBatch, datetime]] = field(default_factory=list)
    ready: list[TableBatch] = field(default_factory=list)


class TableRows:
    """Maps what intake decoded. A `tocsin.lake.fresh.RowMaker`."""

    def __init__(self, mapper: Mapper, limits: DecodeLimits) -> None:
        self.mapper = mapper
        self._limits = limits

    def unmapped(self, decoded: Decoded) -> Unmapped:
        """What the lake keeps until somebody asks; the texts that rows were decoded from aren't kept."""
        kept = Decoded(
            decoded.number,
            [(SourceBatch(b.source, b.rows, b.origin, parser=b.parser), at) for b, at in decoded.batches],
            decoded.ready,
        )
        tables = {DEAD_LETTERS} if kept.batches else set()
        for batch, _ in kept.batches:
            tables |= self.mapper.feeds(batch)
        tables.update(b.table for b in kept.ready)
        size = sum(b.rows.nbytes for b, _ in kept.batches) + sum(b.rows.nbytes for b in kept.ready)
        return Unmapped(kept, frozenset(tables), size)

    def rows(self, group: Sequence[Unmapped]) -> Iterator[TableBatch]:
        """See `RowMaker.rows`. Never raises for what the rows hold: what can't be mapped becomes dead letters."""
        number = group[0].content.number
        for batch, received in self._joined([b for u in group for b in u.content.batches], number):
            try:
                made = self.mapper.map(batch, received=received)
            except Exception as error:
                _log.exception("ingest.mapping", source=batch.source)
                made = [
                    self._dead(batch, f"The mapping failed ({type(error).__name__}: {error}).", received.last, number)
                ]
            yield from made
        for unmapped in group:
            yield from unmapped.content.ready

    def unfit(self, batch: TableBatch, error: LakeError) -> Iterator[TableBatch]:
        """See `RowMaker.unfit`: the rows as dead letters."""
        times = batch.rows.column("_TimeReceived") if "_TimeReceived" in batch.rows.column_names else None
        received = times[len(times) - 1].as_py() if times is not None and len(times) else None
        yield self._dead(SourceBatch(f"table.{batch.table}", batch.rows, batch.table), str(error), received)

    def _dead(self, batch: SourceBatch, reason: str, received: datetime | None, number: int = 0) -> TableBatch:
        found = letters_of_rows(batch, reason, codes.MAPPING, self._limits.dead_letter_bytes)
        letters = [replace(letter, number=number) for letter in found]
        rows = dead_letter_rows(letters, received)
        return TableBatch(DEAD_LETTERS, stamped(rows, stamp_of(received)) if received is not None else rows)

    def _joined(
        self, batches: Sequence[tuple[SourceBatch, datetime]], number: int
    ) -> Iterator[tuple[SourceBatch, Received]]:
        """Batches that one run of the parsers can take, in the order of the first of each."""
        groups: dict[tuple[object, ...], list[tuple[SourceBatch, datetime]]] = {}
        for batch, received in batches:
            key: tuple[object, ...] = (batch.source, batch.parser, *batch.rows.column_names, *batch.rows.schema.types)
            if batch.source.startswith("table."):
                key = (id(batch),)  # what a table of the user's own is depends on the rows that came first
            else:
                if batch.source not in EVENT_KINDS:
                    key = (*key, batch.origin)
                if self.mapper.transforming:
                    key = (*key, received)  # a transform sees rows before they are stamped, and may leave out any
            groups.setdefault(key, []).append((batch, received))
        for group in groups.values():
            joined = merged([b for b, _ in group])
            yield joined, Received([at for _, at in group], [len(b) for b, _ in group], number)


def merged(batches: Sequence[SourceBatch]) -> SourceBatch:
    """Batches of one source and shape as one."""
    if len(batches) == 1:
        return batches[0]
    origins = {b.origin for b in batches}
    rows = pa.concat_tables([b.rows for b in batches]).combine_chunks()
    origin = origins.pop() if len(origins) == 1 else f"{len(origins)} senders"
    return SourceBatch(batches[0].source, rows, origin, parser=batches[0].parser)
