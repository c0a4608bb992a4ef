"""Where one put ended and the next began, so that a replay puts the same records together and gives each row the number that it had.

A row's number (`_ItemId`) is its place among its table's rows. Which rows a put gives in which order depends on the records that were
decoded together, and on those that were mapped together, and both are a matter of timing; so the file ``puts`` keeps the last sequence number of
each until the log lets go of its records; the highest bit marks an end of decoding at which mapping went on. It is written without a sync: it
outlives the process, and after a loss of power rows that weren't in files yet may get other numbers, never ones that are taken.
"""

from __future__ import annotations

import os
import struct
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import structlog

from tocsin.lake.durable import write_atomically
from tocsin.lake.frames import Body
from tocsin.lake.log import Log

__all__ = ["Puts", "replayed_groups"]

_log = structlog.get_logger("tocsin.lake.puts")
_ENTRY = struct.Struct("<Q")
_UNMAPPED = 1 << 63
_REPLAY_BYTES = 16 * 1024 * 1024


class Puts:
    """The ends of the puts whose records the log still holds. Safe to use from many threads."""

    def __init__(self, path: Path, *, last: int) -> None:
        """`last` is the log's last record: no put can have ended behind it."""
        self._path = path
        self._lock = threading.Lock()
        self._ends: list[int] = []
        self._mapped: list[int] = []
        self._handle = -1
        with suppress(FileNotFoundError):
            raw = path.read_bytes()
            for (entry,) in _ENTRY.iter_unpack(raw[: len(raw) // _ENTRY.size * _ENTRY.size]):
                # What a loss of power left of the file may be anything: only what rises can be right.
                end = entry & ~_UNMAPPED
                if end <= last:
                    self._add(end, mapped=end == entry)
        self._rewrite()

    def ends(self, above: int) -> list[int]:
        """The last sequence numbers of what was decoded together, above one."""
        with self._lock:
            return self._ends[bisect_right(self._ends, above) :]

    def mapped(self, above: int) -> list[int]:
        """Those of them at which a group ended that was mapped together."""
        with self._lock:
            return self._mapped[bisect_right(self._mapped, above) :]

    def note(self, end: int, *, mapped: bool = True) -> None:
        """Remembers that a put ended there. A disk that refuses costs rows their numbers after a crash, nothing else."""
        with self._lock:
            if not self._add(end, mapped=mapped):
                return
            try:
                os.write(self._handle, _ENTRY.pack(end if mapped else end | _UNMAPPED))
            except OSError as error:
                _log.warning("lake.puts", error=str(error))

    def trim(self, upto: int) -> None:
        """Forgets the puts up to there."""
        with self._lock:
            kept = self._ends[bisect_right(self._ends, upto) :]
            if len(kept) < len(self._ends):
                self._ends = kept
                self._mapped = self._mapped[bisect_right(self._mapped, upto) :]
                self._rewrite()

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1

    def _add(self, end: int, *, mapped: bool) -> bool:
        """Whether it is news."""
        new = not self._ends or end > self._ends[-1]
        if new:
            self._ends.append(end)
        if mapped and (not self._mapped or end > self._mapped[-1]):
            self._mapped.append(end)
            return True
        return new

    def _rewrite(self) -> None:
        mapped = set(self._mapped)
        entries = [end if end in mapped else end | _UNMAPPED for end in self._ends]
        try:
            write_atomically(self._path, b"".join(map(_ENTRY.pack, entries)))
            if self._handle >= 0:
                os.close(self._handle)
            self._handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            _log.warning("lake.puts", error=str(error))


def replayed_groups(
    log: Log, puts: Puts | None, rolled: int, marks: Iterable[int]
) -> Iterator[tuple[list[tuple[int, Body]], bool]]:
    """Bodies above the checkpoint, in groups that end at every table's mark, and where puts ended before the crash; and of each group whether its
    rows were mapped before those that follow."""
    held = {mark for mark in marks if mark > rolled}
    ends = puts.ends(rolled) if puts is not None else []
    last_put = ends[-1] if ends else 0
    stops = sorted({*ends, *held})
    complete = sorted({*(puts.mapped(rolled) if puts is not None else ()), *held})

    def between(places: list[int], before: int, now: int) -> bool:
        return bisect_left(places, now) > bisect_left(places, before)

    group: list[tuple[int, Body]] = []
    size = 0
    for number, body in log.replay(rolled):
        passed = bool(group) and between(stops, group[-1][0], number)
        # What one put took fitted into memory then; only behind the last one is it ours to say how much is taken at once.
        full = number > last_put and size + len(body.data) > _REPLAY_BYTES
        if group and (passed or full):
            yield group, full or between(complete, group[-1][0], number)
            group, size = [], 0
        group.append((number, body))
        size += len(body.data)
    if group:
        yield group, True
