"""The server's HTTP protocol with limits that uvicorn lacks: a client that begins a request and doesn't finish its headers is cut off, and so is one
whose headers don't end, or that goes on for ever after its answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

__all__ = ["PatientProtocol", "counting"]


_held: WeakKeyDictionary[ServerState, Counter[str]] = WeakKeyDictionary()
"""How many connections each address has open, by server."""


class PatientProtocol(HttpToolsProtocol):
    """One connection. Its first request, and each later one once it has begun, must be there with all its headers within `seconds`."""

    seconds = 30.0
    head_bytes = 1 << 16
    """Longest request line and headers together."""
    ignored_bytes = 64 << 20
    """What may still come of a request that was answered already."""
    most_each = 1024
    """Connections that one address may hold open at a time: nobody keeps others out, or uses up the files that the lake needs."""
    refused: Callable[[str, str], object] | None = None
    """Told of each peer whose request couldn't be read, and why."""

    _late: asyncio.TimerHandle | None = None
    _heading = True
    _messages = 0
    _head = 0
    _ignored = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        peer = self._peer()
        held = _held.setdefault(self.server_state, Counter())
        held[peer] += 1
        if held[peer] > self.most_each:
            self._refuse(b"503 Service Unavailable", b"Too many connections of this address are open.")
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.transport.is_closing():
            return  # a refused peer goes on sending
        answered = self.cycle is None or self.cycle.response_complete
        if self._late is None and answered:
            self._wait()
        heading, messages = self._heading, self._messages
        self._ignored = self._ignored + len(data) if answered and not heading else 0
        super().data_received(data)
        if self._heading:
            # Where in these bytes a head began isn't known; then those that follow count.
            self._head = self._head + len(data) if heading and messages == self._messages else 0
            if self._head > self.head_bytes and not self.transport.is_closing():
                what = b"The request line and its headers are too long."
                self._refuse(b"431 Request Header Fields Too Large", what)
        elif self._ignored > self.ignored_bytes:
            self._cut("It goes on after its answer.")

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._heading = True
        self._messages += 1
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser, also for what follows a chunked body: nobody reads that."""
        if self._heading:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._calm()
        self._heading = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Called for what isn't HTTP."""
        self._tell("It isn't HTTP.")
        super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._calm()
        self._leave()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Called by the parser: another protocol takes the connection."""
        self._leave()
        super().handle_websocket_upgrade()

    def _wait(self) -> None:
        self._late = self.loop.call_later(self.seconds, self._cut)

    def _calm(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, status: bytes, text: bytes) -> None:
        self._tell(text.decode())
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, len(text), text)
        )
        self.transport.close()

    def _leave(self) -> None:
        held, peer = _held.get(self.server_state, Counter()), self._peer()
        held[peer] -= 1
        if held[peer] <= 0:
            del held[peer]

    def _peer(self) -> str:
        return self.client[0] if self.client else ""

    def _cut(self, why: str = "A request was begun and not finished.") -> None:
        self._late = None
        if self.transport is not None and not self.transport.is_closing():
            self._tell(why)
            self.transport.abort()

    def _tell(self, why: str) -> None:
        if self.refused is not None:
            self.refused(self._peer(), why)


def counting(refused: Callable[[str, str], object]) -> Any:
    """The protocol, telling `refused` the address of each peer whose request couldn't be read, and why."""

    class Counting(PatientProtocol):
        pass

    Counting.refused = staticmethod(refused)
    return Counting
