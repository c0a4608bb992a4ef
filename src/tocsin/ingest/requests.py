"""Which requests were taken already: a sender that saw no answer sends again, and its rows must not come twice.

A key is the id that the sender gave, or the hash of a body whose events all carry their own time (two equal ones are one sent twice).
Keys of bodies that are durable but whose rows aren't in files yet come back from the log at a restart; the others are in a small file,
appended to before the rows are handed to the lake. A hash counts only while its answer may not have reached the sender: until the
response was sent, or, after a crash, for the bodies of the last 15 seconds before it. A sender may come back only after another crash, so
hashes of a run that crashed count until they are answered, until a clean stop, or for a day.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future
from hashlib import blake2b
from pathlib import Path

from blake3 import blake3

__all__ = ["HASH", "RequestLog", "body_key"]

HASH = "hash:"
_CLEAN = "clean stop"
_START = "start"
_ANSWERED = "answered "
_KEEP = 100_000
# Instants of receipt are up to four seconds too early while intake lags, and a busy disk keeps an answer waiting for seconds more.
_UNANSWERED_SECONDS = 15.0
_CARRIED_SECONDS = 86_400.0


def body_key(source: str, sender: str, data: bytes) -> str:
    """The key of a body without a request id. By BLAKE3, for it takes a seventh of BLAKE2's time, and that was a sixth of all until an event is
    visible."""
    key = blake2b(f"{source}/{sender}".encode(), digest_size=32).digest()
    return HASH + blake3(data, key=key).hexdigest(16)


class RequestLog:
    """Remembers the last 100,000 keys; safe to use from several threads."""

    def __init__(self, file: Path | None) -> None:
        """`file` is where keys outlive the process; None keeps them in memory alone."""
        self._file = file
        self._lock = threading.Lock()
        self._keys: OrderedDict[str, int] = OrderedDict()
        self._pending: dict[str, Future[bool]] = {}
        self._written = 0
        # Hashes of earlier runs that aren't answered yet, and those that were meanwhile: the file is told with the next keys.
        self._carried: set[str] = set()
        self._answered: list[str] = []
        if file is not None:
            self._load(file)

    def _load(self, file: Path) -> None:
        runs: list[list[tuple[float, str]]] = [[]]
        answered: dict[str, tuple[int, float]] = {}
        for path in (file.with_suffix(".old"), file):
            try:
                text = path.read_text("utf-8", "replace")
            except OSError:
                continue
            # A line that a crash cut short has no newline.
            lines = text[: text.rfind("\n") + 1].splitlines()
            if path == file:
                self._written = len(lines)
            for line in lines:
                stamp, _, key = line.partition(" ")
                try:
                    time = float(stamp)
                except ValueError:
                    continue
                if key == _CLEAN:
                    # Whoever sent before a clean stop has its answer.
                    runs = [[e for e in run if not e[1].startswith(HASH)] for run in runs]
                elif key == _START:
                    runs.append([])
                elif key.startswith(_ANSWERED):
                    answered[key.removeprefix(_ANSWERED)] = (len(runs) - 1, time)
                else:
                    runs[-1].append((time, key))
        last = [max((time for time, _ in run), default=0.0) for run in runs]
        newest = max(last)
        for number, run in enumerate(runs):
            kept = []
            for time, key in run:
                later, when = answered.get(key, (-1, 0.0))
                # An answer of a run's last seconds may have been lost as well.
                told = later > number and when < last[later] - _UNANSWERED_SECONDS
                if not key.startswith(HASH) or (time >= newest - _CARRIED_SECONDS and not told):
                    kept.append((time, key))
            self.recovered(kept, until=last[number])

    def recovered(self, entries: Iterable[tuple[float, str]], *, until: float | None = None) -> None:
        """Adds keys of one earlier run: (seconds since 1970, key). Hashes only of its last seconds; it ended at `until`, or with these."""
        listed = sorted(entries)
        last = until if until is not None else listed[-1][0] if listed else 0.0
        with self._lock:
            for time, key in listed:
                if not key.startswith(HASH):
                    self._remember(key)
                elif time >= last - _UNANSWERED_SECONDS:
                    self._remember(key)
                    self._carried.add(key)

    def started(self) -> None:
        """Notes that what the log held of the run before has been added: keys saved from now on are of a run of their own."""
        # Without room for a line nothing can be taken either; that is said where it happens.
        with contextlib.suppress(OSError):
            self.save([(0.0, _START)])

    def _remember(self, key: str) -> None:
        self._keys[key] = self._keys.pop(key, 0)
        while len(self._keys) > _KEEP:
            self._carried.discard(self._keys.popitem(last=False)[0])

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin so: what a receiver with a bookkeeping of its own compares it with at the start."""
        with self._lock:
            return [k for k in self._keys if k.startswith(prefix)]

    def begin(self, key: str) -> Future[bool] | None:
        """Claims a key: None when the claim is new. Otherwise a future that tells whether the body with that key has become durable."""
        with self._lock:
            if key in self._keys:
                # A hash stays known until the answer has reached the sender (`answered`): the answer to a repetition may be lost as well.
                done: Future[bool] = Future()
                done.set_result(True)
                return done
            pending = self._pending.get(key)
            if pending is None:
                self._pending[key] = Future()
            return pending

    def durable(self, key: str) -> None:
        """The claimed key's body is in the log."""
        with self._lock:
            self._remember(key)
            pending = self._pending.pop(key, None)
        if pending is not None:
            pending.set_result(True)

    def abandon(self, key: str) -> None:
        """The claimed key's body was not taken."""
        with self._lock:
            pending = self._pending.pop(key, None)
        if pending is not None:
            pending.set_result(False)

    def answered(self, key: str) -> None:
        """The sender has its answer: a hash has done its duty."""
        if key.startswith(HASH):
            with self._lock:
                self._keys.pop(key, None)
                if key in self._carried:
                    self._carried.discard(key)
                    self._answered.append(key)

    def close(self) -> None:
        """Notes that every sender has its answer."""
        self.save([(0.0, _CLEAN)])

    def save(self, entries: list[tuple[float, str]]) -> None:
        """Appends keys to the file, before their rows can leave the log. OSError when the disk refuses; nothing of them is in the file then."""
        if self._file is None or not entries:
            return
        with self._lock:
            if self._written > _KEEP:
                os.replace(self._file, self._file.with_suffix(".old"))
                self._written = 0
            answered, self._answered = self._answered, []
            stamp = max(time for time, _ in entries)
            lines = [f"{stamp:.3f} {_ANSWERED}{key}\n" for key in answered]
            lines += (f"{time:.3f} {key}\n" for time, key in entries)
            with self._file.open("ab", buffering=0) as out:
                before = os.fstat(out.fileno()).st_size
                try:
                    left = memoryview("".join(lines).encode())
                    while left:
                        left = left[out.write(left) :]
                    os.fdatasync(out.fileno())
                except OSError:
                    self._answered = answered + self._answered
                    os.ftruncate(out.fileno(), before)
                    raise
            self._written += len(entries) + len(answered)
