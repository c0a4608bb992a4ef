"""Windows events as XML (wevtutil, event forwarding, Sysmon for Linux): one `<Event>` after another, with or without a root."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tocsin.base.errors import Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.context import Context
from tocsin.ingest.decoders.source import Source
from tocsin.ingest.model import DecodedItem

__all__ = ["decode_xml"]

_START = re.compile(rb"<Event[\s>]")
_END = b"</Event>"


def decode_xml(source: Source, context: Context) -> Iterator[DecodedItem]:
    """Reads a stream of `<Event>` elements; text between them is passed over."""
    limit = context.limits.max_record_bytes
    pending = b""
    offset = 0  # of `pending` within the stream
    skipped = 0  # bytes of a too long event that were let go
    while block := source.read(1 << 20):
        pending += block
        position = 0
        while True:
            start = None if skipped else _START.search(pending, position)
            if start is None and not skipped:
                # A start tag may be cut off at the end of the block.
                position = max(position, len(pending) - 16)
                break
            begin = position if start is None else start.start()
            end = pending.find(_END, begin)
            if end < 0:
                position = begin
                if len(pending) - begin > limit or skipped:
                    position = max(begin, len(pending) - len(_END))
                    skipped += position - begin
                break
            end += len(_END)
            size = skipped + end - begin
            place = Place(source.name, offset=offset + begin - skipped)
            if size > limit:
                yield context.dead(
                    f"An event is {size} bytes long; {limit} are allowed.", codes.TOO_LONG, place, pending[begin:end], size=size,
                    hint="max_record_bytes",
                )  # fmt: skip
            elif not context.add_event(context.text(pending[begin:end])):
                yield context.dead("The event's XML isn't well-formed.", codes.XML_EVENT, place, pending[begin:end])
            position, skipped = end, 0
        offset += position
        pending = pending[position:]
        yield from context.full()
    if skipped or _START.match(pending):
        place = Place(source.name, offset=offset - skipped)
        yield context.dead(
            "The file ends within an event.", codes.XML_EVENT, place, pending, size=skipped + len(pending)
        )
