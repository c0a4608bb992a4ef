"""RELP, rsyslog's reliable protocol: every message is acknowledged once it is durable.

A frame is `TXNR SP COMMAND SP LENGTH [SP DATA] LF`. Commands: `open` (offers), `syslog`, `close`. A sender keeps what isn't acknowledged and
sends it again over its next connection. Some of that is durable already: its acknowledgement was lost with the old connection or with a
crash. So each session's last messages are remembered (`tails`), and a new session of that peer that begins with the end of an old one is
repeating it: those messages are acknowledged, not stored again. One that begins alike and goes on otherwise isn't: a sender repeats all that has no
answer, at once and to the end. So until that end nothing is acknowledged, and what breaks off or falls silent before is stored as news.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import selectors
import socket
import ssl
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass, field

import structlog

from tocsin.ingest.decoders.body import frame_syslog
from tocsin.ingest.receivers.http import Port
from tocsin.ingest.receivers.sockets import bind, submit_patiently, watch_peer
from tocsin.ingest.receivers.tails import SessionTails, digest_of
from tocsin.lake import Body

__all__ = ["RelpReceiver", "SessionTails"]

_log = structlog.get_logger("tocsin.ingest.relp")
_HEAD = re.compile(rb"(\d{1,9}) ([a-zA-Z]{1,32}) (\d{1,9})([ \n])")
_HEAD_BYTES = 60
_READ = 1 << 18
_DOUBT_SECONDS = 2.0
_UNREAD = 1 << 20
"""Bytes of answers that may wait for a sender that doesn't read them, before nothing more is read from it."""
_OFFER = b"200 OK\nrelp_version=0\nrelp_software=tocsin\ncommands=syslog"


@dataclass(slots=True)
class _Session:
    sock: socket.socket
    peer: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    received: bytearray = field(default_factory=bytearray)
    to_send: bytearray = field(default_factory=bytearray)
    count: int = 0
    begun: bool = False
    waiting: int = 0
    closing: bool = False
    held: bool = False
    gone: bool = False
    shaking: bool = False
    since: float = 0.0
    repeated: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Numbers and messages that look like a repetition which isn't through."""
    doubted: float = 0.0
    """When the last of them came."""
    heard: float = field(default_factory=time.monotonic)
    """When something came last."""
    stuck: float = 0.0
    """Since when the sender has taken none of the answers that wait for it; 0 while none waits."""


class RelpReceiver:
    """The server side of RELP, with or without TLS. A session that leaves a frame or a handshake unfinished for half a minute is closed."""

    def __init__(
        self,
        intake: Port,
        host: str = "127.0.0.1",
        port: int = 2514,
        *,
        tails: SessionTails | None = None,
        max_message_bytes: int = 1 << 20,
        max_sessions: int = 1024,
        frame_seconds: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._intake = intake
        self._host = host
        self._port = port
        self._limit = max_message_bytes
        self._tails = tails or SessionTails()
        self._max_sessions = max_sessions
        self._frame_seconds = frame_seconds
        self._tls = tls
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._acks: deque[tuple[_Session, list[bytes], int, list[bytes], bool]] = deque()
        self._wake: socket.socket
        self._waker: socket.socket | None = None
        self._selector: selectors.DefaultSelector
        self._sessions: dict[int, _Session] = {}

    def start(self) -> tuple[str, int]:
        """Binds and begins; gives the address. Raises IngestError when it can't listen."""
        listener = bind(
            socket.SOCK_STREAM,
            self._host,
            self._port,
            "ingest.relp_port" if self._tls is None else "ingest.tls.relp_port",
        )
        listener.listen(64)
        listener.setblocking(False)
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._selector = selectors.DefaultSelector()
        address: tuple[str, int] = listener.getsockname()[:2]
        self._intake.listening("syslog", "relp" if self._tls is None else "relp+tls", f"{address[0]}:{address[1]}")
        self._thread = threading.Thread(target=self._run, args=(listener,), name="tocsin-relp", daemon=True)
        self._thread.start()
        return address

    def stop(self) -> None:
        """Acknowledges what is durable, tells the senders that the server closes, and ends."""
        self._stopping.set()
        self._notify()
        if self._thread is not None:
            self._thread.join()
        if self._waker is not None:
            self._wake.close()
            self._waker.close()

    def _notify(self) -> None:
        if self._waker is None:
            return
        # When the pipe is full, the thread wakes up anyway.
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def _run(self, listener: socket.socket) -> None:
        selector = self._selector
        selector.register(listener, selectors.EVENT_READ)
        selector.register(self._wake, selectors.EVENT_READ)
        sessions = self._sessions
        while True:
            for key, events in selector.select(0.5):
                if key.fileobj is listener:
                    self._accept(listener, sessions)
                elif key.fileobj is self._wake:
                    self._wake.recv(4096)
                else:
                    session: _Session = key.data
                    if events & selectors.EVENT_READ:
                        self._read(session)
                    if events & selectors.EVENT_WRITE:
                        self._write(session)
            self._acknowledge()
            slow = time.monotonic() - self._frame_seconds
            for session in list(sessions.values()):
                if session.gone or (session.closing and not session.waiting and not session.to_send):
                    self._end(session, sessions)
                elif session.held or (session.repeated and session.doubted < time.monotonic() - _DOUBT_SECONDS):
                    self._frames(session)
                elif (session.since and session.since < slow) or (session.stuck and session.stuck < slow):
                    _log.warning("ingest.relp.slow", peer=session.peer)
                    self._intake.refused("syslog", session.peer, "A frame, or reading an answer, took too long.")
                    session.gone = True
            if self._stopping.is_set() and not any(s.waiting for s in sessions.values()):
                break
        for session in list(sessions.values()):
            session.to_send += b"0 serverclose 0\n"
            self._write(session)
            self._end(session, sessions)
        selector.close()
        listener.close()

    def _accept(self, listener: socket.socket, sessions: dict[int, _Session]) -> None:
        try:
            sock, (peer, *_) = listener.accept()
        except OSError:
            return  # it is gone again
        if len(sessions) >= self._max_sessions and not self._made_room(peer):
            _log.warning("ingest.relp.connections", limit=self._max_sessions, peer=peer)
            self._intake.refused("syslog", peer, "Too many sessions are open.")
            sock.close()
            return
        sock.setblocking(False)
        watch_peer(sock)
        if self._tls is not None:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            except (OSError, ValueError) as error:
                # The peer was gone before it was looked at.
                _log.warning("ingest.relp.handshake", peer=peer, error=str(error))
                self._intake.refused("syslog", peer, f"handshake: {error}")
                sock.close()
                return
        session = _Session(sock, peer, shaking=self._tls is not None, since=time.monotonic())
        sessions[id(session)] = session
        self._selector.register(sock, selectors.EVENT_READ, session)

    def _made_room(self, newcomer: str) -> bool:
        """Whether an idle session was ended for one more of `newcomer`, as `StreamReceiver` does it."""
        counts = Counter(s.peer for s in self._sessions.values())
        greedy, most = counts.most_common(1)[0]
        if most <= counts[newcomer] + 1:
            return False
        idle = [
            s
            for s in self._sessions.values()
            if s.peer == greedy and not (s.gone or s.waiting or s.received or s.to_send or s.repeated)
        ]
        if not idle:
            return False
        longest = min(idle, key=lambda s: s.heard)
        longest.gone = True
        _log.warning("ingest.relp.connections", limit=self._max_sessions, peer=greedy)
        self._intake.refused("syslog", greedy, "Too many sessions are open.")
        return True

    def _end(self, session: _Session, sessions: dict[int, _Session]) -> None:
        if session.waiting:
            # Its messages are on their way to the disk; the tail must hold them before the peer comes back.
            session.gone = True
            self._selector_off(session)
            return
        self._selector_off(session)
        session.sock.close()
        sessions.pop(id(session), None)
        (self._tails.closed if session.closing else self._tails.ended)(session.peer, session.id)

    def _selector_off(self, session: _Session) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(session.sock)

    def _read(self, session: _Session) -> None:
        if session.gone or (session.held and len(session.received) > self._limit + _READ):
            return
        if session.shaking and not self._shaken(session):
            return
        try:
            data = session.sock.recv(_READ)
            while self._tls is not None and len(data) < _READ and session.sock.pending():  # type: ignore[attr-defined]
                # What TLS has decrypted already wakes no selector.
                data += session.sock.recv(_READ)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            data = b""
        if not data:
            session.gone = True
            return
        session.received += data
        session.heard = time.monotonic()
        size = len(session.received)
        self._frames(session)
        left = len(session.received)
        if not left or session.held:
            session.since = 0.0
        elif left < size or not session.since:
            session.since = time.monotonic()

    def _shaken(self, session: _Session) -> bool:
        """Goes on with the handshake of TLS; whether it is done."""
        try:
            session.sock.do_handshake()  # type: ignore[attr-defined]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            _log.warning("ingest.relp.handshake", peer=session.peer, error=str(error))
            self._intake.refused("syslog", session.peer, f"handshake: {error}")
            session.gone = True
            return False
        session.shaking = False
        return True

    def _frames(self, session: _Session) -> None:
        """Takes the whole frames that have come. A new session waits while an ended one of its peer is still on its way to the disk."""
        if not session.begun and any(s.gone and s.waiting and s.peer == session.peer for s in self._sessions.values()):
            session.held = True
            return
        session.held = False
        messages: list[bytes] = []
        numbers: list[bytes] = []
        while (frame := self._frame(session)) is not None:
            number, command, payload = frame
            if command == b"syslog":
                session.begun = True
                if self._tails.repeats(session.peer, session.id, payload):
                    session.repeated.append((number, payload))
                    session.doubted = time.monotonic()
                    if self._tails.through(session.peer, session.id):
                        for known, _ in session.repeated:
                            self._reply(session, known, b"200 OK")
                        session.repeated.clear()
                    continue
                self._news(session, messages, numbers)
                messages.append(payload)
                numbers.append(number)
            elif command == b"open":
                self._reply(session, number, _OFFER)
            elif command == b"close":
                self._news(session, messages, numbers)
                session.closing = True
                self._reply(session, number, b"")
                session.to_send += b"0 serverclose 0\n"
            else:
                self._reply(session, number, b"500 command not known")
        if session.repeated and session.doubted < time.monotonic() - _DOUBT_SECONDS:
            self._news(session, messages, numbers)
        if messages:
            self._store(session, messages, numbers)
        self._write(session)

    def _news(self, session: _Session, messages: list[bytes], numbers: list[bytes]) -> None:
        """What looked like a repetition broke off before its end: it is stored and acknowledged as all else is."""
        if session.repeated:
            self._tails.news(session.peer, session.id, len(session.repeated))
            numbers += [number for number, _ in session.repeated]
            messages += [message for _, message in session.repeated]
            session.repeated.clear()

    def _frame(self, session: _Session) -> tuple[bytes, bytes, bytes] | None:
        """The next whole frame. A stream that is no RELP ends the session."""
        buffer = session.received
        while buffer[:1] == b"\n":
            del buffer[:1]
        head = _HEAD.match(buffer)
        if head is None:
            if len(buffer) > _HEAD_BYTES or (b"\n" in buffer):
                _log.warning("ingest.relp.frame", peer=session.peer)
                self._intake.refused("syslog", session.peer, "It isn't RELP.")
                session.gone = True
            return None
        length = int(head[3])
        if length > self._limit:
            _log.warning("ingest.relp.long", peer=session.peer, bytes=length, limit=self._limit)
            self._intake.refused(
                "syslog", session.peer, f"A message of {length} bytes is above the limit of {self._limit}."
            )
            session.gone = True
            return None
        # Without data the line feed follows the length directly.
        end = head.end() + length if head[4] == b" " else head.end() - 1
        if len(buffer) <= end:
            return None
        payload = bytes(buffer[head.end() : end]) if head[4] == b" " else b""
        number, command = head[1], head[2]
        del buffer[: end + 1]
        return number, command, payload

    def _store(self, session: _Session, messages: list[bytes], numbers: list[bytes]) -> None:
        first, end = session.count, session.count + len(messages)
        meta = {"peer": session.peer, "via": "relp", "session": session.id, "first": str(first), "end": str(end)}
        body = Body("syslog", frame_syslog(messages), self._intake.now(), meta)
        future = submit_patiently(self._intake, [body], self._stopping)
        if future is None:
            # Not taken and not acknowledged: the sender keeps it.
            session.gone = True
            return
        session.waiting += 1
        session.count = end
        digests = [digest_of(m) for m in messages]

        def stored(done: Future[int]) -> None:
            self._acks.append((session, numbers, first, digests, done.exception() is None))
            self._notify()

        future.add_done_callback(stored)

    def _acknowledge(self) -> None:
        while self._acks:
            session, numbers, first, digests, good = self._acks.popleft()
            session.waiting -= 1
            if not good:
                session.gone = True
                continue
            self._tails.stored(session.peer, session.id, first, digests)
            for number in numbers:
                self._reply(session, number, b"200 OK")
            self._write(session)

    def _reply(self, session: _Session, number: bytes, text: bytes) -> None:
        session.to_send += b"%b rsp %d%b\n" % (number, len(text), b" " + text if text else b"")

    def _write(self, session: _Session) -> None:
        if session.gone or session.shaking or session.sock.fileno() < 0:
            return
        before = len(session.to_send)
        try:
            while session.to_send:
                del session.to_send[: session.sock.send(session.to_send)]
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            session.gone = True
            return
        left = len(session.to_send)
        if left < before or not left or not session.stuck:
            session.stuck = time.monotonic() if left else 0.0
        wanted = (selectors.EVENT_READ if left < _UNREAD else 0) | (selectors.EVENT_WRITE if left else 0)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.modify(session.sock, wanted, session)
