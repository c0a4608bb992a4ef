"""Which requests were taken already: a sender that saw no answer sends again, and its rows must not come twice.

A key is the id that the sender gave, or the hash of a body whose events all carry their own time (two equal ones are one sent twice).
Keys of bodies that are durable but whose rows aren't in files yet come back from the log at a restart; the others are in a small file,
appended to before the rows are handed to the lake. A hash counts only while its answer may not have reached the sender: until the
response was sent, or, after a crash, for the bodies of the last 15 seconds.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future
from hashlib import blake2b
from pathlib import Path

__all__ = ["HASH", "RequestLog", "body_key"]

HASH = "hash:"
_CLEAN = "clean stop"
_KEEP = 100_000
# Instants of receipt are up to four seconds too early while intake lags, and a busy disk keeps an answer waiting for seconds more.
_UNANSWERED_SECONDS = 15.0


def body_key(source: str, sender: str, data: bytes) -> str:
    """The key of a body without a request id."""
    return HASH + blake2b(data, digest_size=16, key=f"{source}/{sender}".encode()[:64]).hexdigest()


class RequestLog:
    """Remembers the last 100,000 keys; safe to use from several threads."""

    def __init__(self, file: Path | None) -> None:
        """`file` is where keys outlive the process; None keeps them in memory alone."""
        self._file = file
        self._lock = threading.Lock()
        self._keys: OrderedDict[str, int] = OrderedDict()
        self._pending: dict[str, Future[bool]] = {}
        self._written = 0
        if file is not None:
            self._load(file)

    def _load(self, file: Path) -> None:
        entries: list[tuple[float, str]] = []
        for path in (file.with_suffix(".old"), file):
            try:
                text = path.read_text("utf-8", "replace")
            except OSError:
                continue
            # A line that a crash cut short has no newline.
            for line in text[: text.rfind("\n") + 1].splitlines():
                time, _, key = line.partition(" ")
                if key == _CLEAN:
                    # Whoever sent before a clean stop has its answer.
                    entries = [e for e in entries if not e[1].startswith(HASH)]
                    continue
                try:
                    entries.append((float(time), key))
                except ValueError:
                    continue
        self._written = len(entries)
        self.recovered(entries)

    def recovered(self, entries: Iterable[tuple[float, str]]) -> None:
        """Adds keys of an earlier run: (seconds since 1970, key). Hashes only of its last seconds."""
        listed = sorted(entries)
        last = listed[-1][0] if listed else 0.0
        with self._lock:
            for time, key in listed:
                if not key.startswith(HASH) or time >= last - _UNANSWERED_SECONDS:
                    self._remember(key)

    def _remember(self, key: str) -> None:
        self._keys[key] = self._keys.pop(key, 0)
        while len(self._keys) > _KEEP:
            self._keys.popitem(last=False)

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

    def close(self) -> None:
        """Notes that every sender has its answer."""
        self.save([(0.0, _CLEAN)])

    def save(self, entries: list[tuple[float, str]]) -> None:
        """Appends keys to the file, before their rows can leave the log."""
        if self._file is None or not entries:
            return
        with self._lock:
            if self._written > _KEEP:
                os.replace(self._file, self._file.with_suffix(".old"))
                self._written = 0
            with self._file.open("a", encoding="utf-8") as out:
                out.writelines(f"{time:.3f} {key}\n" for time, key in entries)
                out.flush()
                os.fdatasync(out.fileno())
            self._written += len(entries)
