"""Windows event log files (EVTX), read by pyevtx-rs; damaged chunks become dead letters and the rest is read."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO

import orjson
from evtx import PyEvtxParser

from tocsin.base.errors import IngestError, Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.context import Context
from tocsin.ingest.decoders.source import Source
from tocsin.ingest.model import DecodedItem

__all__ = ["CHUNK", "HEADER", "decode_evtx"]

HEADER = 4096
CHUNK = 65_536
_CHUNK_NUMBER = re.compile(r"chunk number (\d+)")
_RECORD_IDS = re.compile(r"record IDs (\d+)\.\.(\d+)")
_MAX_ERRORS = 100_000


def decode_evtx(source: Source, context: Context) -> Iterator[DecodedItem]:
    """Reads every record. Raises IngestError at the end when the file stops before its last chunk."""
    failed: IngestError | None = None
    try:
        with source.spool(context.limits.spool_bytes) as file:
            source.position = file.seek(0, io.SEEK_END)
            failed = yield from _decode_file(file, source.name, context)
    except OSError as error:
        raise IngestError(
            f"The file's header can't be read: {error}.", code=codes.EVTX_TRUNCATED, place=Place(source.name, offset=0)
        ) from error
    if failed is not None:
        raise failed


def _decode_file(file: BinaryIO, name: str, context: Context) -> Generator[DecodedItem, None, IngestError | None]:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    header = file.read(HEADER)
    file.seek(0)
    if len(header) < HEADER:
        return IngestError(
            f"The file ends after {size} bytes, within its header.",
            code=codes.EVTX_TRUNCATED,
            place=Place(name, offset=size),
        )
    yield from _records(PyEvtxParser(file, 1), file, name, context, 0)
    whole = (size - HEADER) // CHUNK
    cut = (size - HEADER) % CHUNK
    # The header's count is 16 bits wide and is stale in a log that was copied while in use: only a higher one means a loss.
    announced = struct.unpack_from("<H", header, 42)[0]
    if cut:
        # The library leaves an incomplete last chunk out. Filled up with zeros, its whole records can be read.
        file.seek(HEADER + whole * CHUNK)
        tail = file.read(cut)
        before = context.events + len(context.windows)
        if tail[:7] == b"ElfChnk":
            rescue = io.BytesIO(header + tail + bytes(CHUNK - cut))
            for item in _records(PyEvtxParser(rescue, 1), None, name, context, whole):
                if not hasattr(item, "code"):
                    yield item
        saved = context.events + len(context.windows) - before
        return IngestError(
            f"The file ends within chunk {whole + 1}; {saved} records of that chunk could be read.",
            code=codes.EVTX_TRUNCATED, place=Place(name, offset=size),
        )  # fmt: skip
    if whole < announced:
        return IngestError(
            f"The file ends after {whole} of {announced} chunks.",
            code=codes.EVTX_TRUNCATED,
            place=Place(name, offset=size),
        )
    return None


def _records(
    parser: Any, file: BinaryIO | None, name: str, context: Context, first_chunk: int
) -> Iterator[DecodedItem]:
    buffer = context.windows
    records = parser.records_json()
    errors = count = 0
    while True:
        try:
            record = next(records)
        except StopIteration:
            return
        except Exception as error:
            errors += 1
            yield _damage(str(error), file, name, context, first_chunk)
            if errors > _MAX_ERRORS:
                return
            continue
        try:
            event = orjson.loads(record["data"]).get("Event")
        except orjson.JSONDecodeError:
            event = None
        if event.__class__ is not dict or not buffer.add_system(event):
            place = Place(name, line=int(record["event_record_id"]))
            yield context.dead(
                "The record isn't an event.", codes.EVTX_CHUNK, place, record["data"].encode("utf-8", "replace")
            )
        count += 1
        if not count % 512:
            yield from context.full()


def _damage(text: str, file: BinaryIO | None, name: str, context: Context, first_chunk: int) -> DecodedItem:
    number = _CHUNK_NUMBER.search(text)
    chunk = int(number[1]) if number else -1
    raw = b""
    if file is not None:
        back = file.tell()
        try:
            if chunk < 0:
                ids = _RECORD_IDS.search(text)
                chunk = _chunk_of(file, int(ids[1])) if ids else -1
            if chunk >= 0:
                file.seek(HEADER + chunk * CHUNK)
                raw = file.read(CHUNK)
        finally:
            file.seek(back)
    offset = HEADER + (chunk + first_chunk) * CHUNK if chunk >= 0 else None
    reason = " ".join(text.split())
    return context.dead(f"A chunk or record is damaged: {reason}", codes.EVTX_CHUNK, Place(name, offset=offset), raw)


def _chunk_of(file: BinaryIO, first_record: int) -> int:
    """The number of the chunk whose header says that its records start with that id; -1 when there is none."""
    number = 0
    while True:
        file.seek(HEADER + number * CHUNK)
        head = file.read(40)
        if len(head) < 40:
            return -1
        if head[:7] == b"ElfChnk" and struct.unpack_from("<Q", head, 24)[0] == first_record:
            return number
        number += 1
