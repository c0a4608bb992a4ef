"""Fluentd's forward protocol, version 1 (msgpack over TCP): Message, Forward, PackedForward, CompressedPackedForward.

A sender that asks for it (`chunk`) has its acknowledgement once the events are durable, and a chunk that comes twice is kept once. With a shared key
each connection begins with the handshake (HELO, PING, PONG); without one only this machine may send.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
import socket
import ssl
from collections.abc import Iterable, Iterator
from hashlib import sha512
from typing import Any

import msgpack

from tocsin.base.errors import IngestError
from tocsin.ingest.receivers.door import lasting_key
from tocsin.ingest.receivers.envelopes import envelope
from tocsin.ingest.receivers.expanding import DamagedError, inflated, unzstd
from tocsin.ingest.receivers.http import Port, claim
from tocsin.ingest.receivers.streams import FrameError, Stream, StreamLimits, StreamReceiver, is_loopback
from tocsin.lake import Body

__all__ = ["Counted", "FluentReceiver", "Handshake", "read_message", "unpacked", "unpacker"]

_ASIDE_BYTES = 1 << 18
_LONGEST = 1 << 16
_MOST = 2_000_000
_HOSTS = ("hostname", "host", "Computer", "_HOSTNAME", "node_name", "host_name")
_TEXTS = frozenset({"log", "message", "stream", "time", "_p", "file", "source", "container_id", "container_name"})
_UNPACK_ERRORS = (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError)


class Handshake:
    """The server's half of the shared-key handshake."""

    def __init__(self, shared_key: str, host: str) -> None:
        self._key = shared_key.encode()
        self._host = host.encode("utf-8", "replace")
        self.nonce = secrets.token_bytes(16)

    def hello(self) -> bytes:
        """HELO."""
        return bytes(msgpack.packb(["HELO", {"nonce": self.nonce, "auth": b"", "keepalive": True}]))

    def answer(self, ping: Any) -> tuple[bool, bytes]:
        """Whether the sender knows the key, and PONG."""
        if not isinstance(ping, list) or len(ping) < 4 or ping[0] not in ("PING", b"PING"):
            raise FrameError("The connection must begin with PING.")
        host, salt, digest = (_bytes(v) for v in ping[1:4])
        expected = sha512(salt + host + self.nonce + self._key).hexdigest().encode()
        good = hmac.compare_digest(expected, digest)
        own = sha512(salt + self._host + self.nonce + self._key).hexdigest() if good else ""
        reason = "" if good else "shared key mismatch"
        return good, bytes(msgpack.packb(["PONG", good, reason, self._host.decode(), own]))


class FluentReceiver(StreamReceiver):
    """The TCP port."""

    kind = "fluent"
    setting = "ingest.fluent.port"

    def __init__(
        self,
        intake: Port,
        host: str = "127.0.0.1",
        port: int = 24224,
        *,
        shared_key: str = "",
        tls: ssl.SSLContext | None = None,
        limits: StreamLimits | None = None,
    ) -> None:
        super().__init__(intake, host, port, tls=tls, limits=limits)
        self._key = shared_key

    def start(self) -> tuple[str, int]:
        """See `StreamReceiver.start`. Refuses to be open to other machines without a shared key."""
        if not self._key and not is_loopback(self._host):
            raise IngestError(
                f"Anybody who reaches {self._host} could send by the forward protocol.",
                code="ING0036",
                hint="Set ingest.fluent.shared_key, or listen on 127.0.0.1.",
            )
        return super().start()

    async def serve(self, stream: Stream) -> None:
        """Reads messages one after another."""
        counted = Counted()
        frames = unpacker(self.limits.frame_bytes, counted)
        shaking = Handshake(self._key, socket.gethostname()) if self._key else None
        if shaking is not None:
            await stream.send(shaking.hello())
            stream.begun(True)
        fed = consumed = 0
        while data := await stream.some():
            before = consumed
            fed += len(data)
            for message, position in unpacked(frames, data):
                consumed, counted.count = position, 0
                if shaking is not None:
                    good, pong = shaking.answer(message)
                    await stream.send(pong)
                    if not good:
                        raise FrameError("The sender doesn't know the shared key.")
                    shaking = None
                    continue
                if message is not None:
                    await self._message(stream, message)
            if fed - consumed > self.limits.frame_bytes:
                raise FrameError(f"A message is above the limit of {self.limits.frame_bytes} bytes.")
            if consumed > before:
                stream.begun(False)
            stream.begun(shaking is not None or fed > consumed)

    async def _message(self, stream: Stream, message: Any) -> None:
        limit = self.limits.frame_bytes
        packed = message[1] if isinstance(message, list) and len(message) > 1 else None
        large = isinstance(packed, bytes | str) and len(packed) > _ASIDE_BYTES
        lines, chunk = await asyncio.to_thread(read_message, message, limit) if large else read_message(message, limit)
        data = b"\n".join(lines)
        key = lasting_key(self.kind, stream.peer, chunk, data) if chunk and data else ""
        meta = {"form": "event", "peer": stream.peer}
        if data and not (key and not await claim(self._intake, key)):
            if key:
                meta["request"] = key
            try:
                await self.keep([Body(self.kind, data, self._intake.now(), meta)])
            except BaseException:
                if key:
                    self._intake.requests.abandon(key)
                raise
            if key:
                self._intake.requests.durable(key)
        if chunk:
            await stream.send(bytes(msgpack.packb({"ack": chunk})))


class Counted:
    """Counts the arrays and maps of a message: an empty one is a byte, and costs seventy to hold."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, value: Any) -> Any:
        """Called by msgpack for each."""
        self.count += 1
        if self.count > _MOST:
            raise ValueError(f"more than {_MOST} arrays and maps in a message")
        return value


def unpacker(limit: int, counted: Counted | None = None) -> Any:
    """A streaming reader of msgpack whose memory is bounded."""
    counted = counted or Counted()
    return msgpack.Unpacker(
        list_hook=counted,
        object_hook=counted,
        raw=False,
        unicode_errors="surrogateescape",
        strict_map_key=False,
        max_buffer_size=limit,
        max_array_len=_LONGEST,
        max_map_len=_LONGEST,
        ext_hook=_extension,
    )


def unpacked(frames: Any, data: bytes) -> Iterator[tuple[Any, int]]:
    """(message, where it ends in all that was fed) of those that are whole now. Raises FrameError for what is no msgpack or above a limit."""
    try:
        frames.feed(data)
        for message in frames:
            yield message, frames.tell()
    except msgpack.exceptions.BufferFull as error:
        raise FrameError("A message is above the limit.") from error
    except _UNPACK_ERRORS as error:
        raise FrameError(f"It isn't msgpack as it is used here ({type(error).__name__}: {error}).") from error


def _extension(code: int, data: bytes) -> Any:
    """Extension type 0 is EventTime: seconds and nanoseconds, four bytes each."""
    if code == 0 and len(data) == 8:
        return int.from_bytes(data[:4], "big") + int.from_bytes(data[4:], "big") / 1e9
    return base64.b64encode(data).decode()


def read_message(message: Any, limit: int) -> tuple[list[bytes], str]:
    """(events as they are kept, chunk id or "") of one message of any of the four modes. Raises FrameError.

    `limit` bounds what compressed entries may expand to.
    """
    if not isinstance(message, list) or len(message) < 2 or not isinstance(message[0], str):
        raise FrameError("A message of the forward protocol is an array that begins with its tag.")
    tag, second = message[0], message[1]
    option: Any = None
    if isinstance(second, list) and not _is_time(second):
        entries: Iterable[Any] = second
        option = message[2] if len(message) > 2 else None
    elif isinstance(second, bytes | str):
        option = message[2] if len(message) > 2 else None
        packed = _bytes(second)
        compression = _text(option.get("compressed") or "") if isinstance(option, dict) else ""
        if compression in ("gzip", "zstd"):
            packed = _expanded(packed, compression, limit)
        elif compression not in ("", "text"):
            raise FrameError(f"Compression {compression[:80]!r} isn't known here; gzip and zstd are.")
        entries = _entries(packed, limit)
    else:
        if len(message) < 3:
            raise FrameError("A message in Message mode has a time and a record.")
        entries = ([second, message[2]],)
        option = message[3] if len(message) > 3 else None
    chunk = option.get("chunk", "") if isinstance(option, dict) else ""
    chunk = _text(chunk)
    if any("\ud800" <= c <= "\udfff" for c in chunk):
        raise FrameError("The chunk's id isn't UTF-8.")
    return [_line(tag, entry) for entry in entries], chunk


def _is_time(value: list[Any]) -> bool:
    """Fluent Bit's `[time, metadata]` in the place of a time."""
    return len(value) == 2 and isinstance(value[0], int | float) and isinstance(value[1], dict)


def _entries(packed: bytes, limit: int) -> Iterable[Any]:
    frames = unpacker(max(limit, len(packed)))
    found, consumed = [], 0
    for entry, position in unpacked(frames, packed):
        found.append(entry)
        consumed = position
    if consumed != len(packed):
        raise FrameError("The packed entries end within an entry.")
    return found


def _expanded(data: bytes, compression: str, limit: int) -> bytes:
    try:
        out = inflated(data, limit) if compression == "gzip" else unzstd(data, limit)
    except DamagedError as error:
        raise FrameError(f"The compressed entries are damaged ({error}).") from error
    if len(out) > limit:
        raise FrameError(f"The entries expand to more than {limit} bytes.")
    return out


def _line(tag: str, entry: Any) -> bytes:
    if not isinstance(entry, list) or len(entry) < 2 or not isinstance(entry[1], dict):
        raise FrameError("An entry is a time and a record.")
    time, record = entry[0], entry[1]
    more: dict[str, Any] = {"tag": tag}
    if isinstance(time, list):
        if not _is_time(time):
            raise FrameError("An entry is a time and a record.")
        if time[1]:
            more["metadata"] = time[1]
        time = time[0]
    if isinstance(time, msgpack.Timestamp):
        time = time.to_unix()
    host = next((record[k] for k in _HOSTS if isinstance(record.get(k), str)), "")
    event: Any = record
    text = record.get("log", record.get("message"))
    if isinstance(text, str) and _TEXTS.issuperset(record):
        # A line and what the reader of its file said of it.
        event = text.rstrip("\n")
        more |= {k: v for k, v in record.items() if v is not text}
    return envelope(
        event or {"tag": tag},
        time=time if isinstance(time, int | float) and time > 0 else None,
        host=host,
        source=_text(record.get("file", "")),
        sourcetype=tag,
        more=more,
    )


def _bytes(value: Any) -> bytes:
    return (
        value.encode("utf-8", "surrogateescape")
        if isinstance(value, str)
        else bytes(value)
        if isinstance(value, bytes | bytearray)
        else b""
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
