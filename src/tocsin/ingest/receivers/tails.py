"""What RELP remembers of its sessions: the end of each, so that a sender that repeats it is recognised, after any number of crashes.

A session's tail holds the digests of its last messages that are durable. It is filled by the receiver when they are, and by intake from the bodies
themselves before their rows reach the lake (`taken`), so that `save`, which intake calls before the log is trimmed, misses none.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgpack
import structlog

from tocsin.base.errors import LakeError
from tocsin.ingest.decoders.body import unframe_syslog
from tocsin.ingest.receivers.remembered import write_remembered
from tocsin.lake import Body

__all__ = ["SessionTails", "digest_of"]

_log = structlog.get_logger("tocsin.ingest.relp")
_FORMAT = 1
_TAIL = 1024
_OLD_SESSIONS = 64
# All ended sessions together; three megabytes in the file.
_OLD_DIGESTS = 1 << 18
_OLD_SECONDS = 86_400.0
_GONE = 4096


def digest_of(message: bytes) -> bytes:
    """What is remembered of a message."""
    return blake2b(message, digest_size=12).digest()


@dataclass(slots=True)
class _Tail:
    digests: deque[bytes] = field(default_factory=lambda: deque(maxlen=_TAIL))
    expected: deque[bytes] = field(default_factory=deque)
    count: int = 0
    """Messages stored by this session up to the end of `digests`."""
    live: bool = False
    asked: bool = False
    follows: bool = True
    touched: float = 0.0

    def all(self) -> list[bytes]:
        # What a broken repetition didn't come to is still unanswered.
        return [*self.digests, *self.expected][-_TAIL:]


class SessionTails:
    """The last durable messages of sessions, by peer; safe to use from several threads.

    Of ended sessions at most 64 a peer and 262,144 messages in all are kept, for a day of the server's running.
    """

    def __init__(self, file: Path | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`file` is where tails outlive the process; None keeps them in memory alone. `clock` gives seconds that only go forward."""
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._peers: dict[str, dict[str, _Tail]] = {}
        # Sessions that were closed or repeated: intake may still come to their bodies.
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._changed = False
        if file is not None:
            self._load(file)

    @property
    def ended_sessions(self) -> int:
        """How many ended sessions are remembered."""
        with self._lock:
            return sum(not t.live for s in self._peers.values() for t in s.values())

    # ---------------------------------------------------------------------------------------------- what the receiver tells

    def repeats(self, peer: str, session: str, message: bytes) -> bool:
        """Whether a running session's next message repeats an old session: its first message is somewhere in the end of one, and so on.

        When that end is through, the repetition may go on with a session that itself began there. After the first message that is news, all is.
        """
        digest = digest_of(message)
        with self._lock:
            tail = self._of(peer, session)
            tail.live = True
            if not tail.follows:
                return False
            if not tail.expected:
                tail.expected = self._claim(peer, digest, begin=tail.asked)
                tail.asked = True
            if tail.expected and tail.expected[0] == digest:
                tail.digests.append(tail.expected.popleft())
                self._touch(tail)
                return True
            tail.follows = False
            return False

    def through(self, peer: str, session: str) -> bool:
        """Whether a running session's repetition has come to the end of what it repeats: only then it is sure to be one."""
        with self._lock:
            return not self._of(peer, session).expected

    def news(self, peer: str, session: str, count: int) -> None:
        """What `repeats` took for a repetition was none: the session's last `count` messages only began like an old one, and all is news."""
        with self._lock:
            tail = self._of(peer, session)
            for _ in range(min(count, len(tail.digests))):
                tail.digests.pop()
            tail.expected.clear()
            tail.follows = False
            self._touch(tail)

    def stored(self, peer: str, session: str, first: int, digests: Sequence[bytes]) -> None:
        """Messages of a running session are durable; `first` is the number of them that it had stored before."""
        with self._lock:
            self._add(self._of(peer, session), first, digests)

    def ended(self, peer: str, session: str) -> None:
        """A session's connection is lost: its sender may repeat what has no answer."""
        with self._lock:
            tail = self._peers.get(peer, {}).get(session)
            if tail is None:
                return
            if not tail.digests and not tail.expected:
                self._drop(peer, session)
                return
            tail.digests = deque(tail.all(), maxlen=_TAIL)
            tail.expected.clear()
            tail.live = False
            self._touch(tail)
            self._bound()

    def closed(self, peer: str, session: str) -> None:
        """A session was closed by its sender, who has all answers."""
        with self._lock:
            self._drop(peer, session)

    # ---------------------------------------------------------------------------------------------- what intake tells

    def taken(self, body: Body) -> None:
        """A body whose rows go to the lake next, after a crash those of the log included."""
        meta = body.meta
        if meta.get("via") != "relp":
            return
        peer, session, first, end = (meta.get(k, "") for k in ("peer", "session", "first", "end"))
        with self._lock:
            tail = self._peers.get(peer, {}).get(session)
            if session in self._gone or (tail is not None and end and tail.count >= int(end)):
                return
        digests: list[bytes] = []
        # A body whose framing is broken becomes a dead letter; what can be read of it counts.
        with contextlib.suppress(ValueError):
            digests.extend(digest_of(m) for m in unframe_syslog(body.data))
        with self._lock:
            if session in self._gone:
                return
            known = session in self._peers.get(peer, {})
            tail = self._of(peer, session)
            self._add(tail, int(first) if first else tail.count, digests)
            if not known:
                self._bound()

    def save(self) -> None:
        """Makes the tails durable, if they have changed. Raises LakeError when the disk refuses."""
        if self._file is None:
            return
        with self._saving:
            with self._lock:
                if not self._changed:
                    return
                self._bound()
                now = self._clock()
                sessions = [
                    [peer, session, t.count, round(max(0.0, now - t.touched), 3), b"".join(t.all())]
                    for peer, listed in self._peers.items()
                    for session, t in listed.items()
                ]
                self._changed = False
            try:
                write_remembered(
                    self._file,
                    {"format": _FORMAT, "sessions": sessions},
                    "What is remembered of RELP can't be written",
                    "The log keeps its records until it can; is the disk full?",
                )
            except LakeError:
                self._changed = True
                raise

    # ---------------------------------------------------------------------------------------------- inside

    def _load(self, file: Path) -> None:
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.error("ingest.relp.tails", file=str(file), error=str(error))
            return
        now = self._clock()
        try:
            read: Any = msgpack.unpackb(data)
            if read["format"] != _FORMAT:
                raise ValueError(f"format {read['format']} isn't known")
            for peer, session, count, age, joined in read["sessions"]:
                if not isinstance(joined, bytes) or not isinstance(count, int):
                    raise TypeError("a session isn't what it should be")
                digests = deque((joined[n : n + 12] for n in range(0, len(joined), 12)), maxlen=_TAIL)
                self._peers.setdefault(peer, {})[session] = _Tail(digests, count=count, touched=now - age)
        except (ValueError, TypeError, KeyError, msgpack.exceptions.UnpackException) as error:
            # Without it events may come twice, none is lost: no reason not to start.
            self._peers.clear()
            aside = file.with_suffix(".damaged")
            _log.error("ingest.relp.tails", file=str(file), error=str(error), kept=str(aside))
            try:
                file.replace(aside)
            except OSError as refused:
                _log.error("ingest.relp.tails", file=str(file), error=str(refused))

    def _of(self, peer: str, session: str) -> _Tail:
        return self._peers.setdefault(peer, {}).setdefault(session, _Tail(touched=self._clock()))

    def _touch(self, tail: _Tail) -> None:
        tail.touched = self._clock()
        self._changed = True

    def _add(self, tail: _Tail, first: int, digests: Sequence[bytes]) -> None:
        fresh = digests[max(0, tail.count - first) :]
        if fresh:
            tail.digests.extend(fresh)
            tail.count = first + len(digests)
            self._touch(tail)

    def _claim(self, peer: str, digest: bytes, *, begin: bool) -> deque[bytes]:
        """The end of an ended session from that message on; with `begin`, only of one that begins with it."""
        for session, tail in reversed(self._peers.get(peer, {}).items()):
            if tail.live:
                continue
            listed = list(tail.digests)
            if begin and listed[:1] != [digest]:
                continue
            if digest in listed:
                start = 0 if begin else len(listed) - 1 - listed[::-1].index(digest)
                self._drop(peer, session)
                return deque(listed[start:])
        return deque()

    def _drop(self, peer: str, session: str) -> None:
        sessions = self._peers.get(peer, {})
        if sessions.pop(session, None) is not None:
            self._changed = True
        if not sessions:
            self._peers.pop(peer, None)
        self._gone[session] = None
        while len(self._gone) > _GONE:
            self._gone.popitem(last=False)

    def _bound(self) -> None:
        now = self._clock()
        old = [
            (tail.touched, peer, session, len(tail.digests))
            for peer, sessions in self._peers.items()
            for session, tail in sessions.items()
            if not tail.live
        ]
        old.sort(key=lambda entry: entry[0])
        total = 0
        by_peer: dict[str, int] = {}
        for touched, peer, session, size in reversed(old):
            total += size
            by_peer[peer] = by_peer.get(peer, 0) + 1
            if total > _OLD_DIGESTS or by_peer[peer] > _OLD_SESSIONS or now - touched > _OLD_SECONDS:
                self._drop(peer, session)
