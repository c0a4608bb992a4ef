"""Syslog by UDP and TCP.

UDP: a thread drains the socket without blocking and hands all that came over together. TCP: one thread for all connections; a connection
isn't read on while intake is full, so that the sender waits. Neither protocol acknowledges: what a sender has written to a dying server's
socket is lost without either knowing; RELP (`relp`) is the one that loses nothing.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import ClassVar

import structlog

from tocsin.base.errors import IngestError, LakeError, Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.body import frame_syslog
from tocsin.ingest.pipeline import IntakeBusyError
from tocsin.ingest.receivers.framing import SyslogFramer
from tocsin.ingest.receivers.http import Port
from tocsin.lake import Body

__all__ = [
    "DatagramReceiver",
    "SyslogTcpReceiver",
    "SyslogUdpReceiver",
    "accept",
    "bind",
    "enlarge",
    "submit_patiently",
]

_log = structlog.get_logger("tocsin.ingest.syslog")
_WANTED_BUFFER = 16 << 20
_DRAIN_BYTES = 4 << 20
_DRAIN_MESSAGES = 10_000
_DATAGRAM = 65_536
_READ = 1 << 18
_SO_RCVBUFFORCE = 33  # Linux; the module has no name for it


def submit_patiently(intake: Port, bodies: list[Body], stopping: threading.Event) -> Future[int] | None:
    """Hands bodies over, trying again while intake is full; None when the receiver stops meanwhile or the log is closed."""
    while True:
        try:
            return intake.submit(bodies)
        except IntakeBusyError:
            if stopping.wait(0.05):
                # A last try, so that a clean stop takes what is in hand.
                with contextlib.suppress(IntakeBusyError, LakeError):
                    return intake.submit(bodies)
                return None
        except LakeError as error:
            _log.error("ingest.syslog.refused", error=str(error))
            return None


def bind(kind: int, host: str, port: int, setting: str) -> socket.socket:
    """A socket bound to an address. Raises IngestError naming the setting when the system refuses."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise IngestError(
            f"It can't listen on {host} port {port}: {error.strerror or error}.", code=codes.UNREADABLE, place=Place(setting),
            hint=f"The setting is {setting}.",
        ) from error  # fmt: skip
    return sock


def accept(intake: Port, listener: socket.socket, held: int, limit: int) -> tuple[socket.socket, str] | None:
    """The next connection of a receiver that already holds `held`, and its peer; None when it is gone again or one too many, which is closed."""
    try:
        sock, address = listener.accept()
    except OSError:
        return None
    if held >= limit:
        _log.warning("ingest.syslog.connections", limit=limit, peer=address[0])
        intake.refused("syslog", address[0])
        sock.close()
        return None
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock, address[0]


def enlarge(sock: socket.socket, wanted: int) -> int:
    """Asks the kernel for a receive buffer of that size; gives what was granted, and warns when it is less."""
    granted = 0
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, wanted)
        # The kernel reports twice what it grants, for its own bookkeeping.
        granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        if granted >= wanted:
            return granted
    _log.warning(
        "ingest.udp.buffer", granted=granted, wanted=wanted, hint="Raise net.core.rmem_max; bursts may be lost."
    )
    return granted


class DatagramReceiver:
    """The base of a UDP receiver: a thread that drains the socket. Subclasses set `kind` and `setting` and say how (`_drain`)."""

    kind: ClassVar[str]
    setting: ClassVar[str]

    def __init__(self, intake: Port, host: str, port: int, *, buffer_bytes: int) -> None:
        self._intake = intake
        self._host = host
        self._port = port
        self._wanted = buffer_bytes
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self.buffer_bytes = 0
        """Size of the kernel's receive buffer as granted."""

    def start(self) -> tuple[str, int]:
        """Binds and begins; gives the address. Raises IngestError when it can't listen."""
        sock = bind(socket.SOCK_DGRAM, self._host, self._port, self.setting)
        self.buffer_bytes = enlarge(sock, self._wanted)
        sock.setblocking(False)
        self._socket = sock
        address: tuple[str, int] = sock.getsockname()[:2]
        self._intake.listening(self.kind, "udp", f"{address[0]}:{address[1]}")
        self._thread = threading.Thread(target=self._run, args=(sock,), name=f"tocsin-{self.kind}-udp", daemon=True)
        self._thread.start()
        return address

    def stop(self) -> None:
        """Takes what the socket still holds, then ends."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        if self._socket is not None:
            self._socket.close()

    def _run(self, sock: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            while True:
                stopping = self._stopping.is_set()
                if selector.select(0 if stopping else 0.25):
                    self._drain(sock)
                    # Waiting a little lets more come together: far cheaper than a wake-up a datagram.
                    time.sleep(0.005)
                elif stopping:
                    return
                else:
                    self._idle()

    def _drain(self, sock: socket.socket) -> None:
        """Takes what the socket holds, up to a bound, and hands it over."""
        raise NotImplementedError

    def _idle(self) -> None:
        """Nothing has come for a quarter of a second."""


class SyslogUdpReceiver(DatagramReceiver):
    """Datagrams, each a message."""

    kind = "syslog"
    setting = "ingest.syslog_udp_port"

    def __init__(
        self, intake: Port, host: str = "127.0.0.1", port: int = 5514, *, buffer_bytes: int = _WANTED_BUFFER
    ) -> None:
        super().__init__(intake, host, port, buffer_bytes=buffer_bytes)

    def _drain(self, sock: socket.socket) -> None:
        peers: dict[str, list[bytes]] = {}
        size = count = 0
        while size < _DRAIN_BYTES and count < _DRAIN_MESSAGES:
            try:
                message, sender = sock.recvfrom(_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                continue
            size += len(message)
            count += 1
            found = peers.get(sender[0])
            if found is None:
                found = peers[sender[0]] = []
            found.append(message)
        now = self._intake.now()
        bodies = [
            Body("syslog", frame_syslog(messages), now, {"peer": peer, "via": "udp"})
            for peer, messages in peers.items()
        ]
        if bodies:
            submit_patiently(self._intake, bodies, self._stopping)


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    peer: str
    framer: SyslogFramer
    since: float = 0.0
    """When the message began of which a part has come; 0 between messages."""


class SyslogTcpReceiver:
    """Connections with octet-counted or line-framed messages, mixed as they please."""

    def __init__(
        self,
        intake: Port,
        host: str = "127.0.0.1",
        port: int = 5514,
        *,
        max_message_bytes: int = 1 << 20,
        max_connections: int = 1024,
        frame_seconds: float = 30.0,
    ) -> None:
        """A connection whose last message isn't whole after `frame_seconds` is closed; what came of it is kept."""
        self._intake = intake
        self._host = host
        self._port = port
        self._max_message = max_message_bytes
        self._max_connections = max_connections
        self._frame_seconds = frame_seconds
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    def start(self) -> tuple[str, int]:
        """Binds and begins; gives the address. Raises IngestError when it can't listen."""
        sock = bind(socket.SOCK_STREAM, self._host, self._port, "ingest.syslog_tcp_port")
        sock.listen(128)
        sock.setblocking(False)
        self._socket = sock
        address: tuple[str, int] = sock.getsockname()[:2]
        self._intake.listening("syslog", "tcp", f"{address[0]}:{address[1]}")
        self._thread = threading.Thread(target=self._run, args=(sock,), name="tocsin-syslog-tcp", daemon=True)
        self._thread.start()
        return address

    def stop(self) -> None:
        """Takes what the connections have sent so far, then closes them."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, listener: socket.socket) -> None:
        connections: dict[int, _Connection] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while True:
                stopping = self._stopping.is_set()
                ready = selector.select(0 if stopping else 0.25)
                if stopping and not ready:
                    break
                gathered: dict[str, list[bytes]] = {}
                for key, _ in ready:
                    if key.fileobj is listener:
                        if not stopping:
                            self._accept(listener, selector, connections)
                        else:
                            selector.unregister(listener)
                        continue
                    connection: _Connection = key.data
                    messages, ended = self._read(connection)
                    if messages:
                        gathered.setdefault(connection.peer, []).extend(messages)
                    if ended:
                        selector.unregister(connection.sock)
                        connections.pop(connection.sock.fileno(), None)
                        connection.sock.close()
                self._close_slow(selector, connections, gathered)
                self._hand_over(gathered)
                if gathered and not stopping:
                    time.sleep(0.002)
            rest: dict[str, list[bytes]] = {}
            for connection in connections.values():
                left = connection.framer.rest()
                if left:
                    rest.setdefault(connection.peer, []).append(left)
                connection.sock.close()
            self._hand_over(rest)
        listener.close()

    def _close_slow(
        self,
        selector: selectors.BaseSelector,
        connections: dict[int, _Connection],
        gathered: dict[str, list[bytes]],
    ) -> None:
        late = time.monotonic() - self._frame_seconds
        for number, connection in list(connections.items()):
            if not connection.since or connection.since > late:
                continue
            _log.warning("ingest.syslog.slow", peer=connection.peer)
            self._intake.refused("syslog", connection.peer)
            left = connection.framer.rest()
            if left:
                gathered.setdefault(connection.peer, []).append(left)
            selector.unregister(connection.sock)
            del connections[number]
            connection.sock.close()

    def _accept(
        self, listener: socket.socket, selector: selectors.BaseSelector, connections: dict[int, _Connection]
    ) -> None:
        accepted = accept(self._intake, listener, len(connections), self._max_connections)
        if accepted is None:
            return
        sock, peer = accepted
        connection = _Connection(sock, peer, SyslogFramer(self._max_message))
        connections[sock.fileno()] = connection
        selector.register(sock, selectors.EVENT_READ, connection)

    def _read(self, connection: _Connection) -> tuple[list[bytes], bool]:
        try:
            data = connection.sock.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return [], False
        except OSError:
            data = b""
        if not data:
            left = connection.framer.rest()
            return ([left] if left else []), True
        cut = connection.framer.cut
        messages = connection.framer.feed(data)
        if not connection.framer.pending:
            connection.since = 0.0
        elif messages or not connection.since:
            connection.since = time.monotonic()
        if connection.framer.cut > cut:
            _log.warning("ingest.syslog.cut", peer=connection.peer, limit=self._max_message)
            self._intake.refused("syslog", connection.peer)
        return messages, False

    def _hand_over(self, gathered: dict[str, list[bytes]]) -> None:
        if not gathered:
            return
        now = self._intake.now()
        bodies = [
            Body("syslog", frame_syslog(messages), now, {"peer": peer, "via": "tcp"})
            for peer, messages in gathered.items()
        ]
        submit_patiently(self._intake, bodies, self._stopping)
