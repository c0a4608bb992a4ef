"""From bodies that receivers took to batches and dead letters.

How a body's bytes are framed depends on its source:

- `hec`: Splunk's event objects one after another (`meta["form"]` is `event`), or raw text (`raw`).
- any receiver whose `meta["form"]` is `event` keeps its events as such objects too, with `more` beside them: what the protocol said of an event
  and only a row of unknown shape shows.
- any receiver whose `meta["form"]` is `table` keeps rows of `meta["table"]`, as JSON.
- `jsonl`: JSON in any of the ways that `jsontext` knows; `meta["table"]` names a catalogue table when the sender did.
- `syslog`: octet-counted messages (`LEN SP MESSAGE`) of one peer (`meta["peer"]`), whatever framing they had on the wire.
- `file`: lines of a watched file (`meta["path"]`; `meta["format"]` and `meta["delimiter"]` as its head told).
- `dead`: dead letters of files that are no lines, as JSON.
- `batch`: a decoded `SourceBatch` as an Arrow IPC stream (`meta["kind"]`, `meta["origin"]`): files that are no lines, read by the folder receiver.
- anything else: as a file of unknown format.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import groupby
from typing import Any, Protocol

import orjson
import pyarrow as pa

from tocsin.base.errors import IngestError, Place
from tocsin.ingest import codes
from tocsin.ingest.custom import is_custom
from tocsin.ingest.decoders.auditd import AUDIT_LINE, add_audit_text, decode_auditd
from tocsin.ingest.decoders.context import Context
from tocsin.ingest.decoders.csvtext import decode_csv
from tocsin.ingest.decoders.flatevents import AVAILABLE, FlatEvents
from tocsin.ingest.decoders.jsontext import JsonSplitter, decode_json, decode_json_lines, load_tolerant
from tocsin.ingest.decoders.paths import decode_source
from tocsin.ingest.decoders.shapes import WINDOWS_TABLES, add_object, add_table_row, add_unknown
from tocsin.ingest.decoders.source import Source
from tocsin.ingest.decoders.syslog import add_syslog_line, decode_syslog, looks_like_syslog
from tocsin.ingest.decoders.tables import TableMatcher, default_matcher
from tocsin.ingest.decoders.textlines import add_declared_line, decode_lines
from tocsin.ingest.decoders.w3c import decode_w3c
from tocsin.ingest.decoders.zeek import decode_zeek_tsv
from tocsin.ingest.model import DeadLetter, DecodedItem, FileReport, Letters, SourceBatch
from tocsin.ingest.settings import DecodeLimits
from tocsin.tables.kinds import KINDS

__all__ = [
    "LINE_DECODERS", "BodyLike", "decode_bodies", "decode_body", "frame_syslog", "hec_objects", "pack_batch", "pack_letters", "unframe_syslog",
    "unpack_letters",
]  # fmt: skip


class BodyLike(Protocol):
    """What a decoder needs of a `tocsin.lake.Body`."""

    @property
    def source(self) -> str:
        """Kind of receiver."""

    @property
    def data(self) -> bytes:
        """The bytes as received."""

    @property
    def received(self) -> datetime:
        """When."""

    @property
    def meta(self) -> Mapping[str, str]:
        """What the receiver knew besides: peer, host, sourcetype, path, table."""


def decode_body(
    body: BodyLike, *, limits: DecodeLimits | None = None, matcher: TableMatcher | None = None
) -> Iterator[SourceBatch | DeadLetter]:
    """Decodes one body. Never raises for what the bytes are: what can't be read becomes a dead letter."""
    limits = limits or DecodeLimits()
    matcher = matcher or default_matcher()
    meta = body.meta
    origin = _origin(body)
    if body.source == "batch":
        with pa.ipc.open_stream(body.data) as reader:
            batch = SourceBatch(meta.get("kind", "json"), reader.read_all(), meta.get("origin", origin))
        batch.parser = meta.get("parser", "")
        yield batch
        return
    if body.source == "dead":
        yield from unpack_letters(body.data)
        return
    context = _context(body, limits, matcher)
    form = meta.get("form", "event" if body.source == "hec" else "")
    if form == "event":
        yield from _hec(body, context, hec_objects(body.data, limits.max_record_bytes))
    elif form == "table" and context.hint_table:
        yield from _table_rows(body, context)
    elif body.source == "syslog":
        yield from _syslog(body, context)
    elif body.source == "jsonl":
        yield from _lines(body, context, decode_json)
    elif body.source == "file" and meta.get("format") in LINE_DECODERS:
        context.format = meta["format"]
        yield from _lines(body, context, LINE_DECODERS[meta["format"]])
    elif body.source == "file" and meta.get("format") == "csv":
        context.format = "csv"
        yield from _lines(
            body, context, lambda source, context: decode_csv(source, context, meta.get("delimiter", ","))
        )
    else:
        yield from _unknown(body, origin, context, limits, matcher)
        return
    yield from context.rest()


def decode_bodies(
    bodies: Sequence[BodyLike], *, limits: DecodeLimits | None = None, matcher: TableMatcher | None = None
) -> Iterator[SourceBatch | DeadLetter]:
    """Decodes bodies of one source that were received with the same facts (`meta`, but for keys of requests), as `decode_body` does each.

    Windows events in Splunk's envelopes come as columns where the native kernel was built; rows then stand before those that it left to Python.
    """
    first = bodies[0]
    if not AVAILABLE or first.source != "hec" or first.meta.get("form", "event") != "event":
        for body in bodies:
            yield from decode_body(body, limits=limits, matcher=matcher)
        return
    cut = _flat_events().cut([b.data for b in bodies])
    if cut.rows is not None:
        batch = SourceBatch(KINDS.windows, cut.rows, _origin(first))
        batch.lines = cut.lines
        yield batch
    for number, group in groupby(cut.slow, lambda piece: piece[0]):
        body = bodies[number]
        context = _context(body, limits or DecodeLimits(), matcher or default_matcher())
        context.windows.offset = cut.offsets.get(number)
        yield from _hec(body, context, ((n, load_tolerant(raw)[0], raw) for _, n, raw in group))
        yield from context.rest()
    for number in cut.odd:
        yield from decode_body(bodies[number], limits=limits, matcher=matcher)


@cache
def _flat_events() -> FlatEvents:
    return FlatEvents()


def _origin(body: BodyLike) -> str:
    return body.meta.get("path") or body.meta.get("peer") or body.source


def _context(body: BodyLike, limits: DecodeLimits, matcher: TableMatcher) -> Context:
    meta = body.meta
    context = Context(_origin(body), limits, matcher, hint_table=_table(meta, matcher), host=meta.get("host", ""))
    context.format = body.source
    return context


def _table(meta: Mapping[str, str], matcher: TableMatcher) -> str:
    name = meta.get("table", "")
    return name if name in matcher or is_custom(name) else ""


def _table_rows(body: BodyLike, context: Context) -> Iterator[SourceBatch | DeadLetter]:
    """Rows whose sender named their table: nothing of them is guessed."""
    table = context.hint_table
    for number, row, raw in hec_objects(body.data, context.limits.max_record_bytes):
        if row.__class__ is not dict or not row:
            yield context.dead("It isn't a row.", codes.JSON_NOT_OBJECT, Place(context.origin, line=number), raw)
        elif table in WINDOWS_TABLES:
            add_object({**row, "Type": table}, context)
        else:
            add_table_row(table, row, context)
        yield from context.full()
    yield from context.rest()


Decoder = Callable[[Source, Context], Iterator[DecodedItem]]
LINE_DECODERS: dict[str, Decoder] = {
    "json": decode_json_lines,
    "auditd": decode_auditd,
    "syslog": decode_syslog,
    "zeek-tsv": decode_zeek_tsv,
    "w3c": decode_w3c,
    "lines": decode_lines,
}
"""Decoders of formats that may be read on where a growing file was left, by format."""


def _lines(body: BodyLike, context: Context, decoder: Decoder) -> Iterator[SourceBatch | DeadLetter]:
    try:
        for item in decoder(Source(context.origin, io.BytesIO(body.data)), context):
            if not isinstance(item, FileReport):
                yield item
    except IngestError as error:
        yield context.dead(error.message, error.code, error.place or Place(context.origin), body.data)


def _unknown(
    body: BodyLike, origin: str, context: Context, limits: DecodeLimits, matcher: TableMatcher
) -> Iterator[SourceBatch | DeadLetter]:
    """A body whose format only its content tells; text that is no known format is kept line by line."""
    kept = 0
    for item in decode_source(Source(origin, io.BytesIO(body.data)), len(body.data), limits, matcher):
        if not isinstance(item, FileReport):
            kept += 1
            yield item
        elif item.error is not None:
            yield context.dead(item.error.message, item.error.code, item.error.place or Place(origin), body.data)
        elif item.skipped and item.format == "text":
            for line in body.data.splitlines():
                if line.strip():
                    add_text(context.text(line), body.meta, context, body.received)
            yield from context.rest()
        elif item.skipped and item.format != "empty":
            yield context.dead(item.skipped, codes.UNKNOWN_TEXT, Place(origin), body.data)


def _add_known_text(text: str, meta: Mapping[str, str], context: Context, received: datetime) -> bool:
    """Adds one event that arrived as text of a known shape: an event in XML, JSON, an audit record, a syslog line."""
    start = text.lstrip()[:1]
    if start == "<" and "<Event" in text[:64] and context.add_event(text.strip()):
        return True
    if start == "{":
        value, _ = load_tolerant(text.encode("utf-8", "surrogatepass"))
        if value.__class__ is dict and add_object(value, context):
            return True
    if AUDIT_LINE.match(text) and add_audit_text(text, meta.get("host", ""), context):
        return True
    if looks_like_syslog(text) or meta.get("sourcetype", "").startswith(("syslog", "linux_")):
        add_syslog_line(text, context, received=received, peer=meta.get("peer", ""))
        return True
    return add_declared_line(text, context, received)


def add_text(text: str, meta: Mapping[str, str], context: Context, received: datetime, time: object = None) -> None:
    """Adds one event that arrived as text: of a known shape, or a message of unknown shape."""
    if _add_known_text(text, meta, context, received):
        return
    unknown: dict[str, Any] = {"message": text}
    for name in ("host", "source", "sourcetype", "index"):
        if meta.get(name):
            unknown[name] = meta[name]
    unknown["time"] = time if time is not None else received.isoformat()
    add_unknown("json", unknown, context)


def _hec(
    body: BodyLike, context: Context, objects: Iterable[tuple[int, Any, bytes]]
) -> Iterator[SourceBatch | DeadLetter]:
    """Splunk event objects. The receiver has checked their form already; a piece that is none is a dead letter all the same."""
    default = dict(body.meta)
    hint = context.hint_table
    for number, envelope, raw in objects:
        place = Place(context.origin, line=number)
        if envelope.__class__ is not dict or "event" not in envelope:
            yield context.dead("It isn't an event object.", codes.JSON_NOT_OBJECT, place, raw)
            continue
        event = envelope["event"]
        meta = {
            **default,
            **{
                k: v
                for k, v in envelope.items()
                if k in ("host", "source", "sourcetype", "index") and v.__class__ is str
            },
        }
        context.host = meta.get("host", "")
        context.hint_table = hint or next(
            (
                meta[k]
                for k in ("sourcetype", "index")
                if meta.get(k, "") in context.matcher or is_custom(meta.get(k, ""))
            ),
            "",
        )
        more = envelope.get("more")
        context.envelope = more if more.__class__ is dict else {}
        context.carried = lambda text, meta=meta: _add_known_text(text, meta, context, body.received)
        time = envelope.get("time")
        if event.__class__ is dict:
            fields = envelope.get("fields")
            if fields.__class__ is dict:
                event = {**fields, **event}
            if time is not None and not any(
                k in event for k in ("time", "TimeGenerated", "@timestamp", "Timestamp", "timestamp")
            ):
                context.default_time = time
            if not add_object(event, context):
                yield context.dead("The event is empty.", codes.JSON_NOT_OBJECT, place, raw)
            context.default_time = None
        elif event.__class__ is str:
            add_text(event, meta, context, body.received, time)
        else:
            add_text(orjson.dumps(event).decode(), meta, context, body.received, time)
        context.carried = None
        yield from context.full()


def hec_objects(data: bytes, limit: int) -> Iterator[tuple[int, Any, bytes]]:
    """(number from 1, object or None, its bytes) of event objects that follow each other with or without white space between."""
    number = 0
    lines = data.split(b"\n")
    try:
        # The common cases: one object, or one a line.
        parsed = [(orjson.loads(line), line) for line in lines if line.strip()]
    except orjson.JSONDecodeError:
        pass
    else:
        for value, line in parsed:
            number += 1
            yield number, value, line
        return
    splitter = JsonSplitter(limit)
    for _, piece, too_long in splitter.feed(data):
        number += 1
        yield number, None if too_long else load_tolerant(piece)[0], piece
    _, rest = splitter.rest()
    if rest:
        yield number + 1, load_tolerant(rest)[0], rest


def frame_syslog(messages: list[bytes]) -> bytes:
    """Messages as the data of a `syslog` body."""
    return b"".join([b"%d %b" % (len(m), m) for m in messages])


def unframe_syslog(data: bytes) -> Iterator[bytes]:
    """The messages of a `syslog` body. Raises ValueError where the framing is broken."""
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 12)
        if space < 0:
            raise ValueError(f"no length at byte {position}")
        size = int(data[position:space])
        yield data[space + 1 : space + 1 + size]
        position = space + 1 + size


def _syslog(body: BodyLike, context: Context) -> Iterator[SourceBatch | DeadLetter]:
    peer = body.meta.get("peer", "")
    try:
        for number, message in enumerate(unframe_syslog(body.data)):
            if message.strip(b"\r\n\0 "):
                add_syslog_line(context.text(message).rstrip("\r\n\0"), context, received=body.received, peer=peer)
            if not number & 0xFFF:
                yield from context.full()
    except ValueError as error:
        yield context.dead(f"The body isn't framed: {error}.", codes.INTERNAL, Place(context.origin), body.data)


def pack_letters(letters: Sequence[DeadLetter]) -> bytes:
    """Dead letters as the data of a `dead` body; very many are put together (see `Letters`)."""
    gathered = Letters()
    for letter in letters:
        gathered.add(letter)
    return orjson.dumps(
        [
            {
                "reason": d.reason,
                "code": d.code,
                "place": [d.place.source, d.place.line, d.place.column, d.place.offset],
                "raw": base64.b64encode(d.raw).decode(),
                "source": d.source,
                "format": d.format,
                "size": d.size,
                "rows": d.rows,
            }
            for d in gathered.all()
        ]
    )


def unpack_letters(data: bytes) -> Iterator[DeadLetter]:
    """The dead letters of a `dead` body."""
    for d in orjson.loads(data):
        yield DeadLetter(
            d["reason"], d["code"], Place(*d["place"]), base64.b64decode(d["raw"]), d["source"], d["format"], d["size"],
            rows=d.get("rows", 1),
        )  # fmt: skip


def pack_batch(batch: SourceBatch) -> tuple[bytes, dict[str, str]]:
    """(data, meta) of a `batch` body that decodes to this batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.rows.schema) as writer:
        writer.write_table(batch.rows)
    return sink.getvalue().to_pybytes(), {"kind": batch.source, "origin": batch.origin}
