"""Receivers without a network: an intake that keeps what it is handed, connections and requests that are only bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from tocsin.ingest import codes
from tocsin.ingest.decoders import decode_body
from tocsin.ingest.decoders.body import unframe_syslog
from tocsin.ingest.model import DeadLetter
from tocsin.ingest.pipeline import SourceState
from tocsin.ingest.receivers.streams import FrameError, Stream, StreamLimits, StreamReceiver
from tocsin.ingest.requests import RequestLog
from tocsin.ingest.settings import DecodeLimits
from tocsin.lake import Body

__all__ = ["LIMIT", "App", "FindingError", "Kept", "converse", "decoded"]

LIMIT = 1 << 16
"""Longest frame, body and record that the fuzzed receivers take, also after decompression."""
LIMITS = StreamLimits(frame_bytes=LIMIT)
DECODING = DecodeLimits(max_record_bytes=LIMIT)
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
ANSWERS = frozenset({200, 201, 202, 204, 400, 403, 404, 405, 408, 413, 415, 501})


class FindingError(AssertionError):
    """A promise that an input broke."""


class Kept:
    """An intake that keeps bodies at once."""

    def __init__(self) -> None:
        self.requests = RequestLog(None)
        self.bodies: list[Body] = []
        self.refusals = 0
        self.pressure = 0.0
        self.healthy = True

    @property
    def durable(self) -> int:
        return len(self.bodies)

    def now(self) -> datetime:
        return NOW

    def submit(self, bodies: Sequence[Body]) -> Future[int]:
        self.bodies += bodies
        done: Future[int] = Future()
        done.set_result(len(self.bodies))
        return done

    async def accept(self, bodies: Sequence[Body]) -> int:
        return self.submit(bodies).result()

    def listening(self, kind: str, name: str, address: str, *, state: str = "listening") -> SourceState:
        return SourceState(name, kind, address, state)

    def refused(self, kind: str, name: str, why: str = "") -> None:
        self.refusals += 1

    def heard(self, kind: str, name: str) -> None: ...


def decoded(bodies: Sequence[Body]) -> tuple[int, int]:
    """(rows, dead letters) of bodies. Nothing that was taken may come to nothing, or break what reads it."""
    rows = dead = 0
    for body in bodies:
        found = 0
        for item in decode_body(body, limits=DECODING):
            if isinstance(item, DeadLetter):
                if item.code == codes.INTERNAL:
                    raise FindingError(f"an internal error became a dead letter: {item.reason}")
                dead += 1
                found += 1
            else:
                # Reading every value finds text that is none.
                item.rows.to_pylist()
                rows += len(item)
                found += len(item)
        if not found and _says_something(body):
            raise FindingError(f"a body of {body.source} came to nothing")
    return rows, dead


def _says_something(body: Body) -> bool:
    """Blank messages, JSON's punctuation alone, and the comments that begin a W3C or Zeek log hold no event."""
    if all(line[:1] in (b"", b"#") for line in body.data.splitlines()):
        return False
    if body.source == "syslog":
        return any(m.strip(b"\r\n\0 ") for m in unframe_syslog(body.data))
    if body.data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # the mark of UTF-16, and blanks
        return bool(body.data.decode("utf-16", "replace").strip())
    return bool(body.data.strip(b"\r\n\t \0\x1e\xef\xbb\xbf[]{},"))


class _Transport(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    abort = close


_loop: list[asyncio.AbstractEventLoop] = []


def run(work: Any) -> Any:
    """Runs a coroutine on the one loop of this process."""
    if not _loop:
        _loop.append(asyncio.new_event_loop())
    return _loop[0].run_until_complete(work)


def converse(receiver: StreamReceiver, chunks: Sequence[bytes]) -> tuple[bytes, str]:
    """(what a receiver answered, how it ended) of one connection that brings these chunks and closes."""

    async def talk() -> tuple[bytes, str]:
        stream, transport = Stream("peer", receiver.limits), _Transport()
        stream.connection_made(transport)
        serving = asyncio.ensure_future(receiver.serve(stream))
        for chunk in chunks:
            stream.data_received(chunk)
            for _ in range(3):
                await asyncio.sleep(0)
        stream.connection_lost(None)
        try:
            await serving
        except (FrameError, EOFError, TimeoutError) as error:
            return bytes(transport.written), type(error).__name__
        return bytes(transport.written), ""

    result: tuple[bytes, str] = run(talk())
    return result


class App:
    """HTTP receivers' routes, asked without a socket."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._app = Starlette(routes=list(routes))

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        """The status of an answer, which must be one that the protocol knows."""

        async def ask() -> int:
            sent: list[dict[str, Any]] = []
            brought = [{"type": "http.request", "body": body, "more_body": False}]

            async def receive() -> Any:
                if brought:
                    return brought.pop()
                return await asyncio.get_running_loop().create_future()

            async def send(message: Any) -> None:
                sent.append(message)

            path_only, _, query = path.partition("?")
            scope = {
                "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http", "root_path": "",
                "path": path_only, "raw_path": path_only.encode(), "query_string": query.encode(), "client": ("peer", 1), "server": ("t", 80),
                "headers": [(k.lower().encode(), v.encode("latin-1", "replace")) for k, v in headers.items()],
            }  # fmt: skip
            await self._app(scope, receive, send)
            return int(sent[0]["status"])

        status: int = run(ask())
        if status not in ANSWERS:
            raise FindingError(f"an answer {status}")
        return status
