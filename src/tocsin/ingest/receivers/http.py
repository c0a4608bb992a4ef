"""What the HTTP receivers share: tokens, bodies with bounded size, decompression."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Protocol

from starlette.requests import ClientDisconnect, Request

from tocsin.base.errors import IngestError
from tocsin.ingest.density import most_pieces, pieces
from tocsin.ingest.pipeline import SourceState
from tocsin.ingest.receivers.expanding import DamagedError, inflated, unzstd
from tocsin.ingest.requests import RequestLog
from tocsin.lake import Body

__all__ = ["DEFAULT_MAX_BODY", "BodyError", "Port", "TokenCheck", "check_pieces", "claim", "read_body", "store"]

DEFAULT_MAX_BODY = 64 << 20
_CHUNK_SECONDS = 30.0
_BODY_SECONDS = 300.0
_UNCOUNTED = 1 << 17
_ENCODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "gzip", "zstd": "zstd"}

TokenCheck = Callable[[str], str | None]
"""Gives the name of the sender that a token belongs to, or None when it isn't valid for intake."""


class Port(Protocol):
    """The part of `Intake` that receivers use."""

    requests: RequestLog

    def now(self) -> datetime:
        """The instant of receipt of a body that comes now."""

    @property
    def pressure(self) -> float:
        """How full intake is; 1.0 is full."""

    @property
    def healthy(self) -> bool:
        """Whether bodies can be taken at all."""

    @property
    def durable(self) -> int:
        """The highest sequence number that is durable."""

    def submit(self, bodies: Sequence[Body]) -> Future[int]:
        """Hands bodies over; the future resolves when they are durable. Raises IntakeBusyError."""

    async def accept(self, bodies: Sequence[Body]) -> int:
        """The same for asyncio."""

    def listening(self, kind: str, name: str, address: str, *, state: str = "listening") -> SourceState:
        """Registers a receiver."""

    def refused(self, kind: str, name: str, why: str = "") -> None:
        """Counts a refused request, and keeps why."""

    def heard(self, kind: str, name: str) -> None:
        """Takes note of a source that says that it is there."""


class BodyError(IngestError):
    """A request body that can't be taken. `status` is the HTTP answer."""

    code = "ING0031"

    def __init__(self, message: str, status: int, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, decompressed. Raises BodyError: 413 too large or of too many pieces, 415 unknown encoding, 400 damaged or cut off."""
    data = await _read_body(request, limit)
    if "protobuf" not in request.headers.get("content-type", ""):  # its line feeds are none
        check_pieces(data)
    return data


def check_pieces(data: bytes, *, protobuf: bool = False) -> None:
    """Refuses a body that holds far more lines and objects than one of its size can. Raises BodyError 413."""
    if len(data) <= _UNCOUNTED:
        return
    count, most = pieces(data, b"\n" if protobuf else b"\n{["), most_pieces(len(data), protobuf=protobuf)
    if count > most:
        raise BodyError(
            f"The body holds about {count} lines, objects and lists in {len(data)} bytes; {most} are allowed.", 413,
            hint="Send it in smaller bodies.",
        )  # fmt: skip


async def _read_body(request: Request, limit: int) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise BodyError(
            f"The body of {length} bytes is above the limit of {limit}.",
            413,
            hint="The setting is ingest.max_body_bytes.",
        )
    chunks: list[bytes] = []
    size = 0
    stream = request.stream()
    try:
        now = asyncio.get_running_loop().time
        last = now() + _BODY_SECONDS
        async with asyncio.timeout(_CHUNK_SECONDS) as waiting:
            while (chunk := await anext(stream, None)) is not None:
                # A sender that drips holds nothing for long.
                waiting.reschedule(min(last, now() + _CHUNK_SECONDS))
                size += len(chunk)
                if size > limit:
                    raise BodyError(
                        f"The body is above the limit of {limit} bytes.",
                        413,
                        hint="The setting is ingest.max_body_bytes.",
                    )
                chunks.append(chunk)
    except ClientDisconnect as gone:
        raise BodyError("The sender went away before the end of the body.", 400) from gone
    except TimeoutError as slow:
        raise BodyError("The body comes too slowly.", 408) from slow
    raw = b"".join(chunks)
    if encoding in ("", "identity"):
        return raw
    if len(raw) > 1 << 18:
        return await asyncio.to_thread(_expand, raw, encoding, limit)
    return _expand(raw, encoding, limit)


async def claim(intake: Port, key: str) -> bool:
    """Claims a request key. False when the body with that key is durable already, so that the answer is success at once."""
    while (earlier := intake.requests.begin(key)) is not None:
        if await asyncio.shield(asyncio.wrap_future(earlier)):
            return False
    return True


async def store(intake: Port, body: Body, key: str) -> int:
    """Makes a body durable under a claimed key (empty for none) and gives its sequence number.

    A sender that goes away meanwhile changes nothing: its body is written all the same, and a repetition finds the key.
    """
    try:
        future = intake.submit([body])
    except BaseException:
        if key:
            intake.requests.abandon(key)
        raise
    if key:
        future.add_done_callback(
            lambda f: intake.requests.abandon(key) if f.exception() else intake.requests.durable(key)
        )
    return await asyncio.shield(asyncio.wrap_future(future))


def _expand(raw: bytes, encoding: str, limit: int) -> bytes:
    if encoding not in _ENCODINGS:
        raise BodyError(f"Content-Encoding {encoding} isn't known here.", 415, hint="Use gzip, deflate, zstd or none.")
    try:
        return _bounded(inflated(raw, limit) if _ENCODINGS[encoding] == "gzip" else unzstd(raw, limit), limit)
    except DamagedError as error:
        raise BodyError(f"The {encoding} data is damaged ({error}).", 400) from error


def _bounded(out: bytes, limit: int) -> bytes:
    if len(out) > limit:
        raise BodyError(
            f"The body expands to more than {limit} bytes.", 413, hint="The setting is ingest.max_body_bytes."
        )
    return out
