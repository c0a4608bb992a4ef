"""What decoders hand on: batches of rows as the source shapes them, dead letters, and an account of each file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson
import pyarrow as pa

from tocsin.base.errors import IngestError, Place

__all__ = ["DeadLetter", "DecodedItem", "FileReport", "Letters", "SourceBatch"]


@dataclass(slots=True)
class SourceBatch:
    """Rows of one source kind (see `tocsin.ingest.decoders`), fields named as the source names them.

    `origin` says where they come from: a file (`archive.zip!member`) or a receiver and sender. `lines` are the JSON texts that rows were
    decoded from, None for a row that wasn't a line by itself; only what can be read faster from there looks at them. `parser` is the id of the
    only parser that may see the rows, where the others had them before.
    """

    source: str
    rows: pa.Table
    origin: str
    lines: Sequence[bytes | None] | None = field(default=None, repr=False, compare=False)
    _event_data: Sequence[Mapping[str, str]] | None = field(default=None, repr=False, compare=False)
    parser: str = ""

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def event_data(self) -> Sequence[Mapping[str, str]]:
        """The rows' `EventData` as mappings from name to text, parsed at most once. Only for kinds that have that column."""
        if self._event_data is None:
            loads = orjson.loads
            column = self.rows.column("EventData")
            self._event_data = [loads(text) if text else {} for text in column.to_pylist()]
        return self._event_data


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Input that could not be decoded, or rows that could go nowhere. `raw` is cut at `DecodeLimits.dead_letter_bytes`; `size` is its whole length.

    `body` and `meta` are the source and the facts of a body that holds `raw` and nothing else: what a replay sends through intake again.
    `rows` counts the rows of `raw`, `number` is that of the body in the log; 0 where it wasn't in the log.
    """

    reason: str
    code: str
    place: Place
    raw: bytes
    source: str = ""
    format: str = ""
    size: int = 0
    body: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    rows: int = 1
    number: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing was cut off."""
        return len(self.raw) >= self.size

    def __str__(self) -> str:
        return f"{self.code} {self.place}: {self.reason}"


class Letters:
    """Dead letters of one body: the first ones as they are, those beyond put together a megabyte at a time. Nothing of them is lost, and what is
    nothing but pieces that are none doesn't become a thousand times as much."""

    def __init__(self, most: int = 10_000, together: int = 1 << 20) -> None:
        self._most = most
        self._together = together
        self._kept: list[DeadLetter] = []
        self._more: list[DeadLetter] = []
        self._size = 0
        self.count = 0
        """How many there were."""

    def add(self, letter: DeadLetter) -> None:
        """One more."""
        self.count += 1
        if len(self._kept) < self._most:
            self._kept.append(letter)
            return
        if self._more and self._size + len(letter.raw) > self._together:
            self._join()
        self._more.append(letter)
        self._size += len(letter.raw) + 1

    def all(self) -> list[DeadLetter]:
        """What they became."""
        if self._more:
            self._join()
        return self._kept

    def _join(self) -> None:
        first, count = self._more[0], len(self._more)
        if count > 1:
            cut = sum(letter.size - len(letter.raw) for letter in self._more if not letter.whole)
            raw = b"\n".join([letter.raw for letter in self._more])
            first = replace(
                first,
                reason=f"{count} pieces that can't be taken. The first: {first.reason}",
                raw=raw,
                size=len(raw) + cut,
                rows=sum(letter.rows for letter in self._more),
            )
        self._kept.append(first)
        self._more, self._size = [], 0


@dataclass(frozen=True, slots=True)
class FileReport:
    """The account of one input file or archive member (`archive.zip!member`).

    `error` is why the file, or the rest of it, could not be read. `skipped` is why a readable file was not read (a packet capture, text
    that is no log): such a file isn't *unreadable*. `dead` counts the dead letters, `sources` the rows by source kind, `notes` says
    what was repaired on the way (invalid UTF-8 and the like), `bytes` is the size after decompression as far as it was read.
    """

    path: str
    format: str
    events: int = 0
    dead: int = 0
    error: IngestError | None = None
    skipped: str = ""
    bytes: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def unreadable(self) -> bool:
        """True when the file, or some record of it, could not be read."""
        return self.error is not None or self.dead > 0

    def as_dict(self) -> dict[str, object]:
        """The JSON form that `tocsin scan --json` prints."""
        out: dict[str, object] = {
            "path": self.path,
            "format": self.format,
            "events": self.events,
            "dead": self.dead,
            "error": str(self.error) if self.error else None,
            "bytes": self.bytes,
        }
        if self.skipped:
            out["skipped"] = self.skipped
        if self.notes:
            out["notes"] = list(self.notes)
        return out


DecodedItem = SourceBatch | DeadLetter | FileReport
