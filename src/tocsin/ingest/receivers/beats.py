"""Lumberjack, version 2: what Beats, Elastic Agent and Logstash's forwarder speak to Logstash (`output.logstash`), with or without TLS.

Frames: window size, JSON or key-value event, compressed frames. Events of a window are acknowledged together once they are durable; while that takes
long, an acknowledgement of nothing keeps the connection. What of a window came before a connection broke was never acknowledged and isn't
kept: its sender sends it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tocsin.base.errors import Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.body import pack_letters
from tocsin.ingest.model import DeadLetter
from tocsin.ingest.receivers.envelopes import envelope, enveloped
from tocsin.ingest.receivers.expanding import DamagedError, inflated
from tocsin.ingest.receivers.streams import FrameError, Stream, StreamReceiver
from tocsin.lake import Body

__all__ = ["BeatsReceiver", "Event", "inflate_frames", "parse_frames"]

_ASIDE_BYTES = 1 << 18
_PART_BYTES = 4 << 20
_PAIRS = 4096
_MAX_WINDOW = 1 << 17
"""Sixty-four times what Beats send unless told otherwise. A thousand bytes of a compressed frame may hold a hundred thousand empty events."""
_EVENT_BYTES = 100
_KEEPALIVE_SECONDS = 5.0
_WINDOW, _JSON, _COMPRESSED, _DATA, _ACK = b"WJCDA"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its number within the connection, and its JSON text or its pairs."""

    number: int
    data: bytes | dict[str, str]


class BeatsReceiver(StreamReceiver):
    """The TCP port."""

    kind = "beats"
    setting = "ingest.beats.port"

    async def serve(self, stream: Stream) -> None:
        """Reads windows."""
        window = 0
        waiting: list[Event] = []
        size = 0
        while True:
            stream.begun(False)
            version = (await stream.exactly(1))[0]
            stream.begun(True)
            kind = (await stream.exactly(1))[0]
            if version not in (0x31, 0x32):
                raise FrameError("A frame of lumberjack begins with its version, 1 or 2.")
            if kind == _WINDOW:
                window = await _number(stream)
                if window > _MAX_WINDOW:
                    raise FrameError(f"A window of {window} events is above the limit of {_MAX_WINDOW}.")
                continue
            if kind == _COMPRESSED:
                data = await stream.exactly(await _number(stream))
                limit = self.limits.frame_bytes
                events = (
                    await asyncio.to_thread(inflate_frames, data, limit)
                    if len(data) > _ASIDE_BYTES
                    else inflate_frames(data, limit)
                )
            elif kind == _JSON:
                number, length = struct.unpack("!II", await stream.exactly(8))
                events = [Event(number, await stream.exactly(length))]
            elif kind == _DATA:
                events = [await self._pairs(stream)]
            else:
                raise FrameError(f"A frame of kind {chr(kind)!r} isn't known.")
            waiting += events
            size += sum(len(e.data) + _EVENT_BYTES for e in events)
            window -= len(events)
            # Part of a window may be acknowledged before the rest has come: memory stays bounded.
            if waiting and (window <= 0 or size >= _PART_BYTES):
                await self._take(stream, waiting)
                waiting, size = [], 0

    async def _pairs(self, stream: Stream) -> Event:
        number, count = struct.unpack("!II", await stream.exactly(8))
        if count > _PAIRS:
            raise FrameError(f"An event of {count} pairs is above the limit of {_PAIRS}.")
        pairs: dict[str, str] = {}
        for _ in range(count):
            name = await stream.exactly(await _number(stream))
            pairs[name.decode("utf-8", "replace")] = (await stream.exactly(await _number(stream))).decode(
                "utf-8", "replace"
            )
        return Event(number, pairs)

    async def _take(self, stream: Stream, events: list[Event]) -> None:
        size = sum(len(e.data) for e in events)
        lines, letters = (
            await asyncio.to_thread(_lines, events, stream.peer) if size > _ASIDE_BYTES else _lines(events, stream.peer)
        )
        now = self._intake.now()
        meta = {"form": "event", "peer": stream.peer}
        bodies = [Body(self.kind, b"\n".join(lines), now, meta)] if lines else []
        if letters:
            bodies.append(Body("dead", pack_letters(letters), now, {"peer": stream.peer, "receiver": self.kind}))
        keeping = asyncio.ensure_future(self.keep(bodies))
        try:
            while not (await asyncio.wait({keeping}, timeout=_KEEPALIVE_SECONDS))[0]:
                await stream.send(struct.pack("!BBI", 0x32, _ACK, 0))
        finally:
            if not keeping.done():
                keeping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await keeping
        await keeping
        await stream.send(struct.pack("!BBI", 0x32, _ACK, events[-1].number))


async def _number(stream: Stream) -> int:
    return int.from_bytes(await stream.exactly(4), "big")


def inflate_frames(data: bytes, limit: int) -> list[Event]:
    """The events of a compressed frame. Raises FrameError when it is damaged, or holds more than `limit` bytes or a window's events."""
    try:
        out = inflated(data, limit)
    except DamagedError as error:
        raise FrameError(f"A compressed frame is damaged ({error}).") from error
    if len(out) > limit:
        raise FrameError(f"A compressed frame expands to more than {limit} bytes.")
    events = []
    for event in parse_frames(out):
        events.append(event)
        if len(events) > _MAX_WINDOW:
            raise FrameError(f"A compressed frame holds more events than the limit of {_MAX_WINDOW}.")
    return events


def parse_frames(data: bytes) -> Iterator[Event]:
    """The events of frames that are whole. Raises FrameError for anything else, compressed frames within included."""
    position = 0
    view = memoryview(data)

    def take(size: int) -> bytes:
        nonlocal position
        if position + size > len(data):
            raise FrameError("A frame ends too early.")
        position += size
        return bytes(view[position - size : position])

    while position < len(data):
        version, kind = take(2)
        if version not in (0x31, 0x32):
            raise FrameError("A frame of lumberjack begins with its version, 1 or 2.")
        if kind == _JSON:
            number, length = struct.unpack("!II", take(8))
            yield Event(number, take(length))
        elif kind == _DATA:
            number, count = struct.unpack("!II", take(8))
            if count > _PAIRS:
                raise FrameError(f"An event of {count} pairs is above the limit of {_PAIRS}.")
            pairs: dict[str, str] = {}
            for _ in range(count):
                name = take(int.from_bytes(take(4), "big")).decode("utf-8", "replace")
                pairs[name] = take(int.from_bytes(take(4), "big")).decode("utf-8", "replace")
            yield Event(number, pairs)
        else:
            raise FrameError(f"A frame of kind {chr(kind)!r} has no place within a compressed one.")


def _lines(events: list[Event], peer: str) -> tuple[list[bytes], list[DeadLetter]]:
    lines: list[bytes] = []
    letters: list[DeadLetter] = []
    for event in events:
        if isinstance(event.data, dict):
            lines.append(envelope(event.data))
            continue
        line, value = enveloped(event.data)
        if line:
            lines.append(line)
            continue
        code = codes.JSON_SYNTAX if value is None else codes.JSON_NOT_OBJECT
        reason = "The event isn't valid JSON." if value is None else "The event isn't an object, or is empty."
        raw = event.data[: 64 << 10]
        letters.append(DeadLetter(reason, code, Place(peer, line=event.number), raw, peer, "beats", len(event.data)))
    return lines, letters
