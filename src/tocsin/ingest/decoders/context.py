"""What the decoding of one file carries along: limits, row buffers by source kind, counts, notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.base.errors import Place
from tocsin.ingest import codes
from tocsin.ingest.custom import is_custom, typed_rows
from tocsin.ingest.decoders.declared import zone_declared
from tocsin.ingest.decoders.eventxml import add_event_xml
from tocsin.ingest.decoders.jsonvalue import json_text
from tocsin.ingest.decoders.lines import LongLine
from tocsin.ingest.decoders.tables import TableMatcher
from tocsin.ingest.decoders.times import parse_times
from tocsin.ingest.decoders.windows import EVENT_SCHEMA, EventBuffer
from tocsin.ingest.model import DeadLetter, SourceBatch
from tocsin.ingest.settings import DecodeLimits
from tocsin.tables.kinds import EVENT_KINDS, KINDS

__all__ = ["Context", "as_text", "kind_schema"]

_EARLIEST = datetime(1980, 1, 1)  # noqa: DTZ001 - zoneless UTC, as columns hold it
_LATEST = datetime(2100, 1, 1)  # noqa: DTZ001


def as_text(value: object) -> str | None:
    """A field's value as the text that columns of strings hold; objects and lists become JSON text."""
    kind = value.__class__
    if kind is str or value is None:
        return value  # type: ignore[return-value]
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is float:
        return str(value)
    return json_text(value)


class Context:
    """Collects the rows of one file or body and hands them on as batches."""

    def __init__(
        self, origin: str, limits: DecodeLimits, matcher: TableMatcher, *, hint_table: str = "", host: str = ""
    ) -> None:
        self.origin = origin
        self.limits = limits
        self.matcher = matcher
        self.hint_table = hint_table
        self.host = host
        self.default_time: object = None
        """Time of an event that names none itself: what its envelope says."""
        self.envelope: Mapping[str, Any] = {}
        """What the protocol said of the event in hand besides: kept beside an event of unknown shape."""
        self.carried: Callable[[str], bool] | None = None
        """Reads the text of known shape that an event of unknown shape carries as its message."""
        self.format = ""
        self.skipped = ""
        self.events = 0
        self.derived = 0
        """Rows that were made out of another row (an event within a syslog message): not events of their own."""
        self.dead_letters = 0
        self.sources: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self._noted: dict[str, str] = {}
        self.windows = EventBuffer()
        self.sysmon = EventBuffer()
        self._dicts: dict[str, list[dict[str, Any]]] = {}
        self.line: bytes | None = None
        """The text of the JSON object in hand, where it is a line by itself."""
        self.record_bytes = 0
        """Length of the record in hand, as far as its decoder says it: what batches are bounded by."""
        self.audit: dict[tuple[str, str, str], Any] = {}
        """Audit events (`auditd.AuditEvent`) whose records come one by one within other lines."""
        self._pending = 0
        self._pending_bytes = 0

    def dead(
        self, reason: str, code: str, place: Place, raw: bytes, *, size: int | None = None, hint: str = ""
    ) -> DeadLetter:
        """Counts and makes a dead letter. `hint` names the setting that refused the input."""
        self.dead_letters += 1
        if hint:
            reason = f"{reason} The setting is {hint}."
        kept = raw[: self.limits.dead_letter_bytes]
        return DeadLetter(reason, code, place, kept, self.origin, self.format, len(raw) if size is None else size)

    def too_long(self, line: LongLine, place: Place) -> DeadLetter:
        """Counts and makes the dead letter of a line that was longer than a record may be."""
        reason = f"The line is {line.size} bytes long; {self.limits.max_record_bytes} are allowed."
        return self.dead(reason, codes.TOO_LONG, place, line.head, size=line.size, hint="max_record_bytes")

    def note(self, what: str, where: str = "", count: int = 1) -> None:
        """Counts something odd that was repaired or kept all the same; `where` says where in the file it stands (`line 7`)."""
        self.notes[what] += count
        if where:
            self._noted.setdefault(what, where)

    def noted(self) -> tuple[str, ...]:
        """The notes as sentences, each with the place where it happened first and how often it did."""
        out = []
        for what, count in self.notes.items():
            where = self._noted.get(what, "")
            often = f"{count:,} times" if count > 1 else ""
            first = f"first at {where}" if where and often else where
            detail = ", ".join(part for part in (often, first) if part)
            out.append(f"{what} ({detail})" if detail else what)
        return tuple(out)

    def zone(self, kind: str) -> str:
        """The zone of a kind's local times from this sender: as the settings say for the sender, the file's folder or the kind, else as declared."""
        zones = self.limits.zones
        if zones:
            for key in (self.origin, self.host):
                if key in zones:
                    return zones[key]
            near = [k for k in zones if k[:1] == "/" and self.origin.startswith(k)]
            if near:
                return zones[max(near, key=len)]
            if kind in zones:
                return zones[kind]
        return zone_declared(kind) or ""

    def text(self, raw: bytes, line: int | None = None) -> str:
        """UTF-8 text; invalid bytes are replaced and noted."""
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.note("invalid UTF-8 was replaced", f"line {line}" if line is not None else "")
            return raw.decode("utf-8", "replace")

    def add_event(self, xml: str) -> bool:
        """Adds a Windows or Sysmon-for-Linux event in XML; False when it is malformed."""
        buffer = self.sysmon if "Linux-Sysmon" in xml[:512] else self.windows
        return add_event_xml(xml, buffer)

    def add(self, kind: str, row: dict[str, Any]) -> None:
        """Adds a row of a kind other than events. Its columns are those of all rows of the batch together."""
        rows = self._dicts.get(kind)
        if rows is None:
            rows = self._dicts[kind] = []
        rows.append(row)
        self._pending += 1
        self._pending_bytes += self.record_bytes

    def add_audit(self, event: Any) -> None:
        """Adds an audit event that was carried by other lines."""
        self.derived += 1
        self.add(KINDS.audit, event.row())

    def full(self) -> Iterator[SourceBatch]:
        """The batches that have grown big enough to hand on."""
        limit = self.limits.batch_rows
        for buffer in (self.windows, self.sysmon):
            if len(buffer) >= limit or buffer.bytes >= self.limits.batch_bytes:
                yield self._events(buffer)
        if self._pending >= limit or self._pending_bytes >= self.limits.batch_bytes:
            yield from self._all_dicts()

    def rest(self) -> Iterator[SourceBatch]:
        """Whatever is left."""
        for event in self.audit.values():
            self.add_audit(event)
        self.audit.clear()
        for buffer in (self.windows, self.sysmon):
            if len(buffer):
                yield self._events(buffer)
        yield from self._all_dicts()

    def batch(self, kind: str, rows: pa.Table) -> SourceBatch:
        """Counts and makes a batch of a finished table."""
        count = int(rows.num_rows)
        if "TimeCreated" in rows.column_names:
            self._note_oddities(rows)
        self.sources[kind] += count
        self.events += count
        return SourceBatch(kind, rows, self.origin)

    def _note_oddities(self, rows: pa.Table) -> None:
        """Events that no rule or time filter can see as they were meant: they are kept, and whoever reads the account learns of them."""
        times = rows.column("TimeCreated")
        self._note_rows(pc.is_null(times), times.null_count, "an event has no time that can be read")
        bounds = pc.min_max(times)
        low, high = bounds["min"].as_py(), bounds["max"].as_py()
        if low is not None and (low < _EARLIEST or high > _LATEST):
            far = pc.or_(
                pc.less(times, pa.scalar(_EARLIEST, times.type)), pc.greater(times, pa.scalar(_LATEST, times.type))
            )
            self._note_rows(
                far, pc.sum(far).as_py(), f"an event's time is before {_EARLIEST.year} or after {_LATEST.year}"
            )
        if "EventID" in rows.column_names:
            numbers = rows.column("EventID")
            self._note_rows(pc.is_null(numbers), numbers.null_count, "an event has no event id that can be read")

    def _note_rows(self, odd: pa.ChunkedArray, count: int, what: str) -> None:
        if count:
            self.note(what, f"event {self.events + int(pc.index(odd, True).as_py()) + 1}", count)

    def _events(self, buffer: EventBuffer) -> SourceBatch:
        lines = buffer.lines()
        batch = self.batch(KINDS.sysmon_linux if buffer is self.sysmon else KINDS.windows, buffer.take())
        batch.lines = lines
        return batch

    def _all_dicts(self) -> Iterator[SourceBatch]:
        kinds, self._dicts, self._pending, self._pending_bytes = self._dicts, {}, 0, 0
        for kind, rows in kinds.items():
            for start in range(0, len(rows), self.limits.batch_rows):
                yield self.batch(kind, _table(kind, rows[start : start + self.limits.batch_rows]))


_WHOLE = pa.schema([("TimeCreated", pa.timestamp("us")), ("Computer", pa.string()), ("RawData", pa.string())])
_MARKED = pa.schema(
    [
        ("TimeCreated", pa.timestamp("us")),
        ("Computer", pa.string()),
        ("Header", pa.string()),
        ("Extension", pa.string()),
        ("Pairs", pa.string()),
    ]
)
_FIXED: dict[str, pa.Schema] = {
    KINDS.audit: pa.schema(
        [
            ("TimeCreated", pa.timestamp("us")),
            ("Computer", pa.string()),
            ("Serial", pa.int64()),
            ("Types", pa.string()),
            ("Fields", pa.string()),
        ]
    ),
    KINDS.syslog: pa.schema(
        [
            ("TimeCreated", pa.timestamp("us")),
            ("HostName", pa.string()),
            ("Facility", pa.string()),
            ("SeverityLevel", pa.string()),
            ("ProcessName", pa.string()),
            ("ProcessID", pa.string()),
            ("SyslogMessage", pa.string()),
            ("HostIP", pa.string()),
            ("MsgID", pa.string()),
            ("StructuredData", pa.string()),
        ]
    ),
    KINDS.cef: _MARKED,
    KINDS.leef: _MARKED,
}


def kind_schema(kind: str) -> pa.Schema | None:
    """The columns that rows of a source kind always have; None where the rows decide."""
    if kind in EVENT_KINDS:
        return EVENT_SCHEMA
    # Rows of declared kinds have the columns that rows of unknown shape have.
    return _FIXED.get(kind) or (None if kind.startswith(("zeek.", "table.")) else _WHOLE)


def _table(kind: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    if kind.startswith("table.") and is_custom(kind[len("table.") :]):
        return typed_rows(rows)
    fixed = kind_schema(kind)
    if fixed is not None:
        arrays = []
        for item in fixed:
            values = [r.get(item.name) for r in rows]
            if item.type == pa.timestamp("us"):
                arrays.append(parse_times(values).to_arrow())
            elif item.type == pa.string():
                arrays.append(pa.array([as_text(v) for v in values], pa.string()))
            else:
                arrays.append(pa.array(values, item.type))
        return pa.Table.from_arrays(arrays, schema=fixed)
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    arrays, fields = [], []
    for name in names:
        values = [r.get(name) for r in rows]
        if name == "ts" and kind.startswith("zeek."):
            arrays.append(parse_times(values).to_arrow())
            fields.append(pa.field(name, pa.timestamp("us")))
            continue
        arrays.append(pa.array([v if v.__class__ is str else as_text(v) for v in values], pa.string()))
        fields.append(pa.field(name, pa.string()))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
