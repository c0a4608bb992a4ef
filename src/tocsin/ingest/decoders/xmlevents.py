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
    skipping = 0
    while True:
        block = source.read(1 << 20)
        at_end = not block
        pending += block
        position = 0
        while True:
            if skipping:
                end = pending.find(_END, position)
                if end < 0:
                    skipping += len(pending) - position - len(_END)
                    position = max(position, len(pending) - len(_END))
                    break
                yield context.dead(
                    f"An event is longer than {limit} bytes.", codes.TOO_LONG, Place(source.name, offset=offset + end - skipping), b"",
                    hint="max_record_bytes",
                )  # fmt: skip
                position, skipping = end + len(_END), 0
                continue
            start = _START.search(pending, position)
            if start is None:
                position = max(position, len(pending) - 16)
                break
            end = pending.find(_END, start.start())
            if end < 0:
                position = start.start()
                if len(pending) - position > limit:
                    skipping = 1
                    continue
                break
            end += len(_END)
            raw = pending[start.start() : end]
            if not context.add_event(context.text(raw)):
                place = Place(source.name, offset=offset + start.start())
                yield context.dead("The event's XML isn't well-formed.", codes.XML_EVENT, place, raw)
            position = end
        offset += position
        pending = pending[position:]
        yield from context.full()
        if at_end:
            break
    if _START.match(pending):
        place = Place(source.name, offset=offset)
        yield context.dead("The file ends within an event.", codes.XML_EVENT, place, pending)
