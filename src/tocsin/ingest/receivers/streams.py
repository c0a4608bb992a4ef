"""What receivers over TCP with frames of their own share: one thread with a loop, bounded connections, time limits, TLS.

A connection that never finishes what it has begun (a handshake, half a frame) is closed after `frame_seconds`; one that is silent between frames
after `idle_seconds`, where there is such a limit. Above `connections` the peer that has the most of them
loses its most silent one to a newcomer that has fewer; a newcomer that has as many is closed at once. While intake is full nothing is read, so
that the sender waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar

import structlog

from tocsin.base.errors import IngestError, LakeError
from tocsin.ingest.pipeline import IntakeBusyError
from tocsin.ingest.receivers.http import Port
from tocsin.ingest.receivers.sockets import bind, watch_peer
from tocsin.lake import Body

__all__ = ["FrameError", "Stream", "StreamLimits", "StreamReceiver", "is_loopback", "server_tls"]

_log = structlog.get_logger("tocsin.ingest.streams")
_READ = 1 << 18
_GRACE_SECONDS = 3.0
_CROWDED = "Too many connections are open."


class FrameError(IngestError):
    """What came isn't the protocol, or is above a limit: the connection must be closed."""

    code = "ING0034"


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bounds of one receiver. `frame_bytes`: longest frame, also after decompression.

    No `idle_seconds`: a silent connection stays open, as it must where senders have no acknowledgement that tells them what to repeat.
    """

    connections: int = 1024
    frame_bytes: int = 16 << 20
    frame_seconds: float = 30.0
    idle_seconds: float | None = 900.0
    handshake_seconds: float = 10.0


def server_tls(certificate: Path | None, key: Path | None, client_ca: Path | None = None) -> ssl.SSLContext:
    """A context for receivers: TLS 1.2 or later; with `client_ca`, senders must show a certificate of it.

    Raises IngestError naming the setting when a file is missing or is none of what it should be.
    """
    if certificate is None or key is None:
        raise IngestError(
            "A receiver with TLS needs a certificate and its key.",
            code="ING0035",
            hint="The settings are ingest.tls.certificate and ingest.tls.key.",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A sender that writes and closes never reads a session ticket; its kernel then resets the connection, and ours throws away what came.
    context.num_tickets = 0
    try:
        context.load_cert_chain(certificate, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise IngestError(
            f"The certificate can't be loaded: {error}.",
            code="ING0035",
            hint="The settings are ingest.tls.certificate, ingest.tls.key and ingest.tls.client_ca.",
        ) from error
    return context


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    return host in ("localhost", "::1") or host.startswith("127.")


class Stream(asyncio.Protocol):
    """One connection, as a receiver reads it.

    Unlike asyncio's own streams it hands out all that came before it tells that the connection broke.
    """

    def __init__(self, peer: str, limits: StreamLimits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._ended = False
        self._lost = self._loop.create_future()
        self._paused = False
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._deadline: float | None = None
        self.peer = peer
        self.heard = self._loop.time()
        """When something came last."""

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._buffer += data
        self.heard = self._loop.time()
        if len(self._buffer) > 2 * _READ and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`. Without TLS the answer to what came may still be written."""
        self._ended = True
        self._wake()
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """See `asyncio.Protocol`."""
        self._ended = True
        if not self._lost.done():
            self._lost.set_result(None)
        if self._writing is not None and not self._writing.done():
            self._writing.set_result(None)
        self._wake()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writing = self._loop.create_future()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self._writing is not None and not self._writing.done():
            self._writing.set_result(None)
        self._writing = None

    def _wake(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)

    async def _more(self) -> None:
        """Waits until something comes, or the end."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        self._reading = self._loop.create_future()
        try:
            await self._reading
        finally:
            self._reading = None

    def _until(self) -> float | None:
        if self._deadline is not None or self._limits.idle_seconds is None:
            return self._deadline
        return self._loop.time() + self._limits.idle_seconds

    # What receivers call.

    @property
    def quiet(self) -> bool:
        """Whether nothing that came waits to be read."""
        return (
            self._transport is None
            or self._ended
            or (not self._buffer and not self._paused and self._reading is not None)
        )

    @property
    def certificate(self) -> dict[str, Any]:
        """What the peer's certificate says, as `ssl.SSLSocket.getpeercert` gives it; empty without one."""
        found = self._transport.get_extra_info("peercert") if self._transport is not None else None
        return found or {}

    def begun(self, partial: bool) -> None:
        """Says whether a frame has begun and isn't whole: from its first byte on it must be within `frame_seconds`."""
        if not partial:
            self._deadline = None
        elif self._deadline is None:
            self._deadline = self._loop.time() + self._limits.frame_seconds

    async def some(self) -> bytes:
        """What has come; empty at the end. Raises TimeoutError."""
        if not self._buffer and not self._ended:
            async with asyncio.timeout_at(self._until()):
                while not self._buffer and not self._ended:
                    await self._more()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def exactly(self, size: int) -> bytes:
        """The next `size` bytes of a frame. Raises EOFError at the end, TimeoutError, FrameError when that is more than a frame may have."""
        if size > self._limits.frame_bytes:
            raise FrameError(f"A frame of {size} bytes is above the limit of {self._limits.frame_bytes}.")
        if len(self._buffer) < size:
            async with asyncio.timeout_at(self._until()):
                while len(self._buffer) < size:
                    if self._ended:
                        raise EOFError
                    await self._more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def send(self, data: bytes) -> None:
        """Writes, and waits while the peer doesn't read. Raises TimeoutError; what a peer that is gone should have got is dropped."""
        if self._transport is None or self._lost.done():
            return
        self._transport.write(data)
        if self._writing is not None:
            async with asyncio.timeout(self._limits.frame_seconds):
                await self._writing

    async def close(self) -> None:
        """Closes, what was written first; a peer that doesn't take it is cut off."""
        if self._transport is None:
            return
        self._transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await asyncio.shield(self._lost)
        self._transport.abort()


class StreamReceiver:
    """The base: subclasses set `kind`, `setting` and `transport`, and read a connection in `serve`."""

    kind: ClassVar[str]
    setting: ClassVar[str]
    transport: ClassVar[str] = "tcp"

    def __init__(
        self,
        intake: Port,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        limits: StreamLimits | None = None,
    ) -> None:
        self._intake = intake
        self._host = host
        self._port = port
        self._tls = tls
        self.limits = limits or StreamLimits()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: dict[asyncio.Task[None], Stream] = {}
        self._streams: set[Stream] = set()

    @property
    def connections(self) -> int:
        """How many are open, those that still shake hands included."""
        return len(self._tasks)

    def start(self) -> tuple[str, int]:
        """Binds and begins; gives the address. Raises IngestError when it can't listen."""
        listener = bind(socket.SOCK_STREAM, self._host, self._port, self.setting)
        listener.listen(512)
        listener.setblocking(False)
        address: tuple[str, int] = listener.getsockname()[:2]
        name = f"{self.transport}+tls" if self._tls is not None else self.transport
        self._intake.listening(self.kind, name, f"{address[0]}:{address[1]}")
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name=f"tocsin-{self.kind}-{self.transport}", daemon=True
        )
        self._thread.start()
        return address

    def stop(self) -> None:
        """Takes what the connections have sent so far, then closes them."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    async def serve(self, stream: Stream) -> None:
        """Reads one connection to its end. Raises FrameError, EOFError or TimeoutError to have it closed."""
        raise NotImplementedError

    async def keep(self, bodies: Sequence[Body]) -> None:
        """Makes bodies durable, waiting while intake is full.

        Raises LakeError when the log can't be written, IntakeBusyError when the receiver stops meanwhile: nothing was taken then.
        """
        while True:
            try:
                future = self._intake.submit(bodies)
                break
            except IntakeBusyError:
                if self._stopping.is_set():
                    raise
                await asyncio.sleep(0.05)
        await asyncio.shield(asyncio.wrap_future(future))

    # ---------------------------------------------------------------------------------------------- the thread

    def _run(self, listener: socket.socket) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._main(listener))

    async def _main(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        # What asyncio would print of a handshake that failed is counted where it is caught.
        loop.set_exception_handler(lambda _, context: _log.debug("ingest.stream", what=context.get("message")))
        accepting = loop.create_task(self._accept(listener))
        while not self._stopping.is_set():
            await asyncio.sleep(0.05)
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        listener.close()
        # What the sockets hold is read first; whoever goes on sending is cut off in the end.
        until, quiet = loop.time() + _GRACE_SECONDS, 0
        while self._tasks and quiet < 2 and loop.time() < until:
            await asyncio.sleep(0.05)
            quiet = quiet + 1 if all(s.quiet for s in self._streams) else 0
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listener)
            except OSError:
                # Too many open files, most likely: others must end first.
                await asyncio.sleep(0.1)
                continue
            if len(self._tasks) >= self.limits.connections and not self._made_room(address[0]):
                _log.warning("ingest.connections", kind=self.kind, limit=self.limits.connections, peer=address[0])
                self._intake.refused(self.kind, address[0], _CROWDED)
                sock.close()
                continue
            sock.setblocking(False)
            watch_peer(sock)
            stream = Stream(address[0], self.limits)
            task = loop.create_task(self._connection(sock, stream))
            self._tasks[task] = stream
            task.add_done_callback(self._tasks.pop)

    def _made_room(self, newcomer: str) -> bool:
        """Whether a connection was closed for one more of `newcomer`: of the peer that has the most, and more than the newcomer would have, the one
        that has been silent for longest. So nobody keeps others out by holding connections open."""
        counts = Counter(stream.peer for stream in self._tasks.values())
        greedy, most = counts.most_common(1)[0]
        if most <= counts[newcomer] + 1:
            return False
        idle = [(s.heard, t) for t, s in self._tasks.items() if s.peer == greedy and s.quiet and not t.cancelling()]
        if not idle:
            return False
        min(idle, key=itemgetter(0))[1].cancel()
        _log.warning("ingest.connections", kind=self.kind, limit=self.limits.connections, peer=greedy)
        self._intake.refused(self.kind, greedy, _CROWDED)
        return True

    async def _connection(self, sock: socket.socket, stream: Stream) -> None:
        peer = stream.peer
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: stream,
                sock,
                ssl=self._tls,
                ssl_handshake_timeout=self.limits.handshake_seconds if self._tls is not None else None,
                ssl_shutdown_timeout=1.0 if self._tls is not None else None,
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self._refuse(peer, "handshake", error)
            sock.close()
            return
        self._streams.add(stream)
        try:
            await self.serve(stream)
        except FrameError as error:
            self._refuse(peer, "frame", error)
        except TimeoutError as error:
            self._refuse(peer, "slow", error)
        except (IntakeBusyError, LakeError) as error:
            # Not acknowledged: the sender keeps it and comes again.
            self._refuse(peer, "not stored", error)
        except (EOFError, OSError, ssl.SSLError):
            pass
        except Exception as error:
            _log.exception("ingest.stream.failed", kind=self.kind)
            self._refuse(peer, "failed", error)
        finally:
            self._streams.discard(stream)
            await stream.close()

    def _refuse(self, peer: str, why: str, error: BaseException) -> None:
        _log.warning("ingest.stream.refused", kind=self.kind, peer=peer, why=why, error=str(error))
        self._intake.refused(self.kind, peer, f"{why}: {error}")
