"""Graylog's extended log format: UDP (whole or in chunks, plain, gzip or zlib), TCP (messages end in NUL), HTTP (`POST /gelf`, 202 means durable).

UDP and TCP acknowledge nothing: what was on its way when a server dies is lost without either knowing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass, field
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tocsin.base.errors import Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.body import pack_letters
from tocsin.ingest.decoders.jsontext import load_tolerant
from tocsin.ingest.model import DeadLetter
from tocsin.ingest.receivers.door import HttpReceiver, RefusedError
from tocsin.ingest.receivers.envelopes import envelope
from tocsin.ingest.receivers.expanding import DamagedError, inflated
from tocsin.ingest.receivers.http import BodyError, Port
from tocsin.ingest.receivers.sockets import DatagramReceiver, submit_patiently
from tocsin.ingest.receivers.streams import FrameError, Stream, StreamReceiver
from tocsin.lake import Body

__all__ = ["Chunks", "GelfHttpReceiver", "GelfTcpReceiver", "GelfUdpReceiver", "expand", "gelf_line"]

_log = structlog.get_logger("tocsin.ingest.gelf")
_MAGIC = b"\x1e\x0f"
_MOST_CHUNKS = 128
_CHUNK_SECONDS = 5.0
_DATAGRAM = 65_536
_DRAIN_BYTES = 4 << 20
_OWN = frozenset({"version", "host", "short_message", "full_message", "timestamp", "level", "facility", "line", "file"})
_LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


def expand(data: bytes, limit: int) -> bytes:
    """A message, decompressed when it is gzip or zlib. Raises FrameError when it is damaged or above `limit`."""
    if data[:2] == b"\x1f\x8b" or (data[:1] == b"\x78" and len(data) > 1 and int.from_bytes(data[:2], "big") % 31 == 0):
        try:
            data = inflated(data, limit)
        except DamagedError as error:
            raise FrameError(f"The compressed message is damaged ({error}).") from error
    if len(data) > limit:
        raise FrameError(f"A message is above the limit of {limit} bytes.")
    return data


def gelf_line(value: dict[str, Any]) -> bytes:
    """One message as it is kept."""
    fields = {k[1:] if k[:1] == "_" else k: v for k, v in value.items() if k not in _OWN}
    full, short = value.get("full_message"), value.get("short_message")
    text = full if isinstance(full, str) and full.strip() else short
    host = value.get("host")
    time = value.get("timestamp")
    level = value.get("level")
    event: Any = text if isinstance(text, str) and text else " "
    more: dict[str, Any] = {**fields}
    if isinstance(level, int) and 0 <= level < 8:
        more["level"] = _LEVELS[level]
    if text is full and isinstance(short, str):
        more["short_message"] = short
    if "EventID" in fields and ("Channel" in fields or "SourceName" in fields or "ProviderGuid" in fields):
        # A Windows event whose fields an agent (NXLog, for one) sends beside its text.
        event = {"Message": text, "Hostname": host, **fields}
    return envelope(
        event,
        time=time if isinstance(time, int | float) and time is not True else None,
        host=host if isinstance(host, str) else "",
        source=value.get("file") if isinstance(value.get("file"), str) else "",
        sourcetype=value.get("facility") if isinstance(value.get("facility"), str) else "",
        more=more,
    )


def _message(data: bytes) -> dict[str, Any]:
    """A message as an object. Raises FrameError with what is wrong."""
    value, _ = load_tolerant(data.strip(b"\0 \r\n"))
    if not isinstance(value, dict):
        raise FrameError("The message isn't a JSON object.")
    if not isinstance(value.get("short_message"), str) and not isinstance(value.get("full_message"), str):
        raise FrameError("The message has no short_message.")
    return value


@dataclass(slots=True)
class _Parts:
    count: int
    since: float
    parts: dict[int, bytes] = field(default_factory=dict)
    size: int = 0


class Chunks:
    """Messages that come in pieces. Incomplete ones are dropped after five seconds, the oldest also when `limit_bytes` wait."""

    def __init__(self, limit_bytes: int = 32 << 20) -> None:
        self._limit = limit_bytes
        self._waiting: dict[tuple[str, bytes], _Parts] = {}
        self.bytes = 0
        self.dropped = 0

    def add(self, peer: str, datagram: bytes, now: float) -> bytes | None:
        """The whole message when this was its last missing piece. Raises FrameError for a piece that can't be one."""
        if len(datagram) < 12:
            raise FrameError("A chunk is shorter than its header.")
        number, count = datagram[10], datagram[11]
        if not 0 < count <= _MOST_CHUNKS or number >= count:
            raise FrameError(f"Chunk {number} of {count} can't be.")
        self.expire(now)
        key = (peer, datagram[2:10])
        found = self._waiting.get(key)
        if found is None:
            found = self._waiting[key] = _Parts(count, now)
        if found.count != count:
            self._drop(key)
            raise FrameError("The chunks of one message disagree on their number.")
        if number not in found.parts:
            found.parts[number] = datagram[12:]
            # A piece without content costs memory too.
            size = len(datagram) + 100
            found.size += size
            self.bytes += size
        if len(found.parts) == count:
            self.bytes -= self._waiting.pop(key).size
            return b"".join(found.parts[n] for n in range(count))
        while self.bytes > self._limit:
            self._drop(next(iter(self._waiting)))
            self.dropped += 1
        return None

    def expire(self, now: float) -> None:
        """Drops what has waited too long."""
        while self._waiting:
            key, parts = next(iter(self._waiting.items()))
            if now - parts.since < _CHUNK_SECONDS:
                return
            self._drop(key)
            self.dropped += 1

    def _drop(self, key: tuple[str, bytes]) -> None:
        self.bytes -= self._waiting.pop(key).size


class _Batch:
    """What came together, by peer."""

    def __init__(self) -> None:
        self.lines: dict[str, list[bytes]] = {}
        self.letters: dict[str, list[DeadLetter]] = {}

    def add(self, peer: str, data: bytes, limit: int) -> None:
        """Adds a message, or a dead letter of it."""
        try:
            self.lines.setdefault(peer, []).append(gelf_line(_message(expand(data, limit))))
        except FrameError as error:
            self.dead(peer, data, error)

    def dead(self, peer: str, data: bytes, error: FrameError) -> None:
        """Adds a dead letter."""
        letter = DeadLetter(error.message, codes.JSON_SYNTAX, Place(peer), data[: 64 << 10], peer, "gelf", len(data))
        self.letters.setdefault(peer, []).append(letter)

    def bodies(self, intake: Port) -> list[Body]:
        """Everything as bodies."""
        now = intake.now()
        out = [
            Body("gelf", b"\n".join(lines), now, {"form": "event", "peer": p})
            for p, lines in self.lines.items()
            if lines
        ]
        out += [
            Body("dead", pack_letters(letters), now, {"peer": p, "receiver": "gelf"})
            for p, letters in self.letters.items()
        ]
        return out


class GelfUdpReceiver(DatagramReceiver):
    """Datagrams."""

    kind = "gelf"
    setting = "ingest.gelf.udp_port"

    def __init__(
        self,
        intake: Port,
        host: str = "127.0.0.1",
        port: int = 12201,
        *,
        max_message_bytes: int = 4 << 20,
        buffer_bytes: int = 16 << 20,
    ) -> None:
        super().__init__(intake, host, port, buffer_bytes=buffer_bytes)
        self._limit = max_message_bytes
        self.chunks = Chunks()

    def _idle(self) -> None:
        self.chunks.expire(time.monotonic())

    def _drain(self, sock: socket.socket) -> None:
        batch = _Batch()
        size = 0
        now = time.monotonic()
        while size < _DRAIN_BYTES:
            try:
                datagram, sender = sock.recvfrom(_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                continue
            size += len(datagram)
            peer = sender[0]
            if datagram[:2] != _MAGIC:
                batch.add(peer, datagram, self._limit)
                continue
            try:
                whole = self.chunks.add(peer, datagram, now)
            except FrameError as error:
                batch.dead(peer, datagram, error)
                continue
            if whole is not None:
                batch.add(peer, whole, self._limit)
        bodies = batch.bodies(self._intake)
        if bodies:
            submit_patiently(self._intake, bodies, self._stopping)


class GelfTcpReceiver(StreamReceiver):
    """Connections whose messages end in NUL."""

    kind = "gelf"
    setting = "ingest.gelf.tcp_port"

    async def serve(self, stream: Stream) -> None:
        """Reads messages."""
        buffer = bytearray()
        limit = self.limits.frame_bytes
        try:
            while data := await stream.some():
                buffer += data
                end = buffer.rfind(b"\0")
                if end >= 0:
                    stream.begun(False)
                    messages = bytes(buffer[:end]).split(b"\0")
                    del buffer[: end + 1]
                    await self._take(stream.peer, [m for m in messages if m.strip()])
                if len(buffer) > limit:
                    await self._take(stream.peer, [bytes(buffer)])
                    raise FrameError(f"A message is above the limit of {limit} bytes.")
                stream.begun(bool(buffer))
        finally:
            # A last one without its NUL: some senders close instead.
            if buffer.strip() and len(buffer) <= limit:
                with contextlib.suppress(Exception):
                    await asyncio.shield(self._take(stream.peer, [bytes(buffer)]))

    async def _take(self, peer: str, messages: list[bytes]) -> None:
        if not messages:
            return
        batch = _Batch()
        for message in messages:
            batch.add(peer, message, self.limits.frame_bytes)
        await self.keep(batch.bodies(self._intake))


class GelfHttpReceiver(HttpReceiver):
    """`POST /gelf`: one message, or several, one a line."""

    kind = "gelf"

    def routes(self) -> list[BaseRoute]:
        """The route, to be mounted at the server's root."""
        return [Route("/gelf", self.guarded(self._take), methods=["POST"], include_in_schema=False)]

    def refusal(self, error: BodyError) -> Response:
        """A small JSON object: Graylog itself answers without a body."""
        said = {"code": error.code, "message": error.message, "hint": error.hint}
        return JSONResponse(said, error.status, dict(getattr(error, "headers", {})))

    async def _take(self, request: Request, sender: str) -> Response:
        data = await self.body(request)
        lines, timed = await self.aside(self._lines, data)
        key = await self.keep(request, sender, b"\n".join(lines), timed=timed)
        return await self.answer(request, Response(status_code=202), key)

    def _lines(self, data: bytes) -> tuple[list[bytes], bool]:
        value, _ = load_tolerant(data)
        texts = [data] if value is not None else [line for line in data.split(b"\n") if line.strip()]
        if not data.strip():
            raise RefusedError("The body is empty.", 400, code=codes.JSON_SYNTAX)
        lines, timed = [], True
        for number, text in enumerate(texts, 1):
            try:
                message = _message(text)
            except FrameError as error:
                raise RefusedError(f"Message {number}: {error.message}", 400, code=codes.JSON_SYNTAX) from error
            timed = timed and "timestamp" in message
            lines.append(gelf_line(message))
        return lines, timed
