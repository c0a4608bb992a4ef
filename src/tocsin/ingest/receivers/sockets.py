"""What receivers with sockets of their own share: binding, buffers, draining datagrams, patience with a full intake."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from concurrent.futures import Future
from typing import ClassVar

import structlog

from tocsin.base.errors import IngestError, LakeError, Place
from tocsin.ingest import codes
from tocsin.ingest.pipeline import IntakeBusyError
from tocsin.ingest.receivers.http import Port
from tocsin.lake import Body

__all__ = ["DatagramReceiver", "bind", "enlarge", "submit_patiently", "watch_peer"]

_log = structlog.get_logger("tocsin.ingest.sockets")
_SO_RCVBUFFORCE = 33  # Linux; the module has no name for it
_PROBES = {"TCP_KEEPIDLE": 120, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 4}
"""A peer that is gone without a word is known after some four minutes."""


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
            _log.error("ingest.refused", error=str(error))
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
            f"It can't listen on {host} port {port}: {error.strerror or error}.", code=codes.CANT_LISTEN, place=Place(setting),
            hint=f"Give another port in tocsin.toml or by TOCSIN_{setting.upper().replace('.', '__')}=PORT; -1 switches the receiver off.",
        ) from error  # fmt: skip
    return sock


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


def watch_peer(sock: socket.socket) -> None:
    """Has the kernel find out when the peer is gone without a word."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES.items():
        if (option := getattr(socket, name, None)) is not None:  # not every system has them all
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


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
