"""The log: bodies are durable here before their sender is told 2xx.

One writer thread takes all that waits, compresses it into records, appends them to a segment file and makes them durable with one `fdatasync` (group
commit); then the futures of all those appends resolve. A segment is named after its first sequence number and deleted as a whole once
every table has its rows (`trim`).

A torn record at the end of the last segment was never acknowledged and is cut off. Damage anywhere else is a `LakeError` in
`problems` that names file and offset; reading goes on at the next whole record.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import structlog
import zstandard

from tocsin.base.errors import LakeError, Place
from tocsin.lake.durable import sync_folder
from tocsin.lake.frames import MAGIC, Body, Frame, FrameError, decode, encode, read_frames
from tocsin.lake.settings import LakeSettings

__all__ = ["Body", "Log", "inspect"]

_log = structlog.get_logger("tocsin.lake.log")
_SUFFIX = ".log"
_BODY_LIMIT = 1 << 30


@dataclass(slots=True)
class _Segment:
    path: Path
    first: int
    last: int  # first - 1 while empty
    size: int  # bytes of whole, durable records


@dataclass(slots=True)
class _Waiting:
    bodies: Sequence[Body]
    size: int
    future: Future[int]


class Log:
    """The append-only log of one lake. `append` may be called from any thread."""

    def __init__(self, folder: Path, settings: LakeSettings, *, floor: int = 0) -> None:
        """Opens the folder. `floor` is the highest sequence number that tables know, so that none is ever given twice."""
        self.folder = folder
        self.problems: list[LakeError] = []
        self._settings = settings
        self._condition = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._closing = False
        self._failed: LakeError | None = None
        # Held while a segment's file is written, rotated or deleted.
        self._files = threading.Lock()
        self._handle: int | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._segments = self._scan()
        self._last = max([floor, *(s.last for s in self._segments)])
        self._thread = threading.Thread(target=self._run, name="lake-log", daemon=True)
        self._thread.start()

    @property
    def last(self) -> int:
        """The highest sequence number that is durable."""
        return self._last

    @property
    def waiting_bytes(self) -> int:
        """Bytes of bodies that aren't durable yet: what back-pressure looks at."""
        return self._waiting_bytes

    @property
    def size(self) -> int:
        """Bytes of the log's files."""
        with self._files:
            return sum(s.size for s in self._segments)

    def append(self, bodies: Sequence[Body]) -> Future[int]:
        """Queues bodies. The future gives the last one's sequence number once all are durable.

        Bodies of one call have consecutive numbers. Raises LakeError LAK0011 when too much waits already (the sender must try again),
        LAK0013 for a body above 1 GiB and LAK0014 when the log is closed or its disk failed; the future carries LAK0014 when the
        write fails.
        """
        future: Future[int] = Future()
        # From here on nobody can cancel it: an abandoned request's bodies are written all the same.
        future.set_running_or_notify_cancel()
        size = 0
        for body in bodies:
            if len(body.data) > _BODY_LIMIT:
                raise LakeError(
                    f"A body of {len(body.data)} bytes is above the limit of {_BODY_LIMIT}.", code="LAK0013"
                )
            size += len(body.data) + 64
        with self._condition:
            if self._closing:
                raise LakeError("The log is closed.", code="LAK0014", place=Place(str(self.folder)))
            if self._failed is not None:
                raise self._failed
            if not bodies:
                future.set_result(self._last)
                return future
            if self._waiting_bytes and self._waiting_bytes + size > self._settings.log_queue_bytes:
                raise LakeError(
                    f"{self._waiting_bytes} bytes wait to be written, the limit of the setting lake.log_queue_bytes.",
                    code="LAK0011",
                    hint="Send again a little later.",
                )
            self._waiting.append(_Waiting(bodies, size, future))
            self._waiting_bytes += size
            self._condition.notify()
        return future

    def replay(self, after: int) -> Iterator[tuple[int, Body]]:
        """Durable bodies with a higher sequence number, in order. Damage is noted in `problems` and skipped."""
        decompressor = zstandard.ZstdDecompressor()
        with self._files:
            segments = [(s.path, s.last, s.size) for s in self._segments if s.last > after]
            until = self._last
        expected = after + 1
        for path, last, size in segments:
            for frame in self._read(path, size):
                if frame.last <= after or frame.first > until:
                    continue
                if frame.first > expected and expected > after + 1:
                    self._problem(path, None, f"bodies {expected} to {frame.first - 1} are missing")
                try:
                    bodies = list(decode(frame, decompressor))
                except (zstandard.ZstdError, ValueError) as error:
                    self._problem(path, frame.end, f"a record before this byte can't be decoded: {error}")
                    continue
                expected = frame.last + 1
                yield from ((number, body) for number, body in bodies if number > after)
            if expected <= last and expected > after + 1:
                self._problem(path, None, f"bodies {expected} to {last} are missing")
                expected = last + 1

    def trim(self, upto: int) -> None:
        """Deletes the segments whose bodies all have a sequence number up to this one."""
        with self._files:
            kept: list[_Segment] = []
            for segment in self._segments:
                if segment.last > upto or segment.size == 0:
                    kept.append(segment)
                    continue
                if segment is self._segments[-1]:
                    self._close_handle()
                segment.path.unlink(missing_ok=True)
            self._segments = kept

    def rotate(self) -> None:
        """Ends the segment that is being written, so that a trim can take it as a whole."""
        with self._files:
            self._close_handle()

    def close(self) -> None:
        """Writes what waits, then stops the writer thread."""
        with self._condition:
            if self._closing:
                return
            self._closing = True
            self._condition.notify()
        self._thread.join()
        with self._files:
            self._close_handle()

    def _run(self) -> None:
        compressor = zstandard.ZstdCompressor(level=self._settings.zstd_level)
        while True:
            with self._condition:
                while not self._waiting and not self._closing:
                    self._condition.wait()
                if not self._waiting:
                    return
                group, self._waiting = self._waiting, deque()
            try:
                last = self._write(group, compressor)
            except (OSError, LakeError, zstandard.ZstdError, MemoryError) as error:
                failure = error if isinstance(error, LakeError) else self._failure(error)
                for waiting in group:
                    waiting.future.set_exception(failure)
            else:
                number = last - sum(len(w.bodies) for w in group)
                for waiting in group:
                    number += len(waiting.bodies)
                    waiting.future.set_result(number)
            with self._condition:
                self._waiting_bytes -= sum(w.size for w in group)

    def _write(self, group: Sequence[_Waiting], compressor: zstandard.ZstdCompressor) -> int:
        """Writes a group durably; gives its last sequence number. On failure nothing of it remains in the file."""
        if self._failed is not None:
            raise self._failed
        number = self._last + 1
        records: list[bytes] = []
        piece: list[Body] = []
        size = 0
        for waiting in group:
            for body in waiting.bodies:
                if piece and size + len(body.data) > self._settings.log_group_bytes:
                    records.append(encode(number, piece, compressor))
                    number += len(piece)
                    piece, size = [], 0
                piece.append(body)
                size += len(body.data)
        records.append(encode(number, piece, compressor))
        number += len(piece)
        with self._files:
            handle, segment = self._current()
            start = segment.size
            try:
                for record in records:
                    _write_all(handle, record)
                os.fdatasync(handle)
            except OSError:
                self._undo(handle, segment, start)
                raise
            segment.size = start + sum(len(r) for r in records)
            segment.last = number - 1
            self._last = segment.last
            if segment.size >= self._settings.log_segment_bytes:
                self._close_handle()
        return self._last

    def _current(self) -> tuple[int, _Segment]:
        if self._handle is not None:
            return self._handle, self._segments[-1]
        first = self._last + 1
        path = self.folder / f"{first:020d}{_SUFFIX}"
        # A file of that name can only hold records that were never acknowledged.
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        sync_folder(self.folder)
        segment = _Segment(path, first, first - 1, 0)
        self._segments.append(segment)
        return self._handle, segment

    def _undo(self, handle: int, segment: _Segment, size: int) -> None:
        """Takes back a failed write. What the kernel holds after a failed sync is unknown, so the file isn't written to again."""
        try:
            os.ftruncate(handle, size)
            os.fsync(handle)
        except OSError as error:
            self._failed = self._failure(error)
            return
        self._close_handle()
        if size == 0:
            self._segments.remove(segment)

    def _failure(self, error: Exception) -> LakeError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return LakeError(
            f"The log can't be written: {reason}.",
            code="LAK0014",
            place=Place(str(self.folder)),
            hint="Nothing was acknowledged; free space or repair the disk, and the sender will try again.",
        )

    def _close_handle(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _scan(self) -> list[_Segment]:
        """The segments on disk. A torn tail of the last is cut off; earlier ones end where the next begins."""
        found = [
            _Segment(path, int(path.stem), int(path.stem) - 1, path.stat().st_size)
            for path in sorted(self.folder.glob(f"*{_SUFFIX}"))
            if path.stem.isdigit()
        ]
        for segment, following in pairwise(found):
            segment.last = following.first - 1
        while found:
            segment = found[-1]
            whole, last = self._whole(segment)
            if last >= segment.first:
                segment.size, segment.last = whole, last
                break
            # Nothing whole in it: it was never acknowledged.
            _log.info("lake.log.torn", file=str(segment.path), bytes=segment.size)
            segment.path.unlink()
            found.pop()
        return found

    def _whole(self, segment: _Segment) -> tuple[int, int]:
        """Where the last whole record of the last segment ends, and its last sequence number."""
        end, last = 0, segment.first - 1
        with segment.path.open("rb") as stream:
            offset = 0
            while True:
                try:
                    for frame in read_frames(stream, offset, segment.size):
                        end, last = frame.end, frame.last
                    return end, last
                except FrameError as error:
                    resumed = _next_record(stream, error.offset + 1, segment.size)
                    if resumed is None:
                        _log.info("lake.log.torn", file=str(segment.path), offset=error.offset, reason=str(error))
                        os.truncate(segment.path, end)
                        return end, last
                    offset = resumed

    def _read(self, path: Path, size: int) -> Iterator[Frame]:
        try:
            with path.open("rb") as stream:
                offset = 0
                # A closed segment may have been cut short since; the missing rest is a problem, not the end of the world.
                available = min(size, os.fstat(stream.fileno()).st_size)
                while offset < available:
                    try:
                        yield from read_frames(stream, offset, available)
                        return
                    except FrameError as error:
                        self._problem(path, error.offset, str(error))
                        resumed = _next_record(stream, error.offset + 1, available)
                        if resumed is None:
                            return
                        offset = resumed
        except OSError as error:
            self._problem(path, None, error.strerror or str(error))

    def _problem(self, path: Path, offset: int | None, reason: str) -> None:
        problem = _damage(path, offset, reason)
        if str(problem) not in {str(p) for p in self.problems}:
            self.problems.append(problem)
            _log.error("lake.log.damaged", file=str(path), offset=offset, reason=reason)


def inspect(folder: Path) -> list[LakeError]:
    """Checks every record of a log's files by its CRC, without changing them; gives the damage.

    An unfinished record at the end of the last file isn't damage: it was never acknowledged.
    """
    found: list[LakeError] = []
    paths = sorted(p for p in folder.glob(f"*{_SUFFIX}") if p.stem.isdigit())
    for path in paths:
        try:
            with path.open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                offset = 0
                while offset < size:
                    try:
                        for _ in read_frames(stream, offset, size):
                            pass
                        break
                    except FrameError as error:
                        resumed = _next_record(stream, error.offset + 1, size)
                        if resumed is not None or path != paths[-1]:
                            found.append(_damage(path, error.offset, str(error)))
                        if resumed is None:
                            break
                        offset = resumed
        except FileNotFoundError:
            continue  # trimmed meanwhile: its rows are in the tables
        except OSError as error:
            found.append(_damage(path, None, error.strerror or str(error)))
    return found


def _damage(path: Path, offset: int | None, reason: str) -> LakeError:
    return LakeError(
        f"The log is damaged: {reason}.",
        code="LAK0015",
        place=Place(str(path), offset=offset),
        hint="What could be read was read; the rest must be sent again.",
    )


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _next_record(source: BinaryIO, start: int, end: int) -> int | None:
    """The offset of the next whole record at or behind `start`, or None."""
    offset = start
    overlap = b""
    source.seek(start)
    while offset < end:
        piece = source.read(min(1 << 20, end - offset))
        if not piece:
            return None
        block = overlap + piece
        base = offset - len(overlap)
        at = block.find(MAGIC)
        while at >= 0:
            try:
                next(read_frames(source, base + at, end))
                return base + at
            except (FrameError, StopIteration):
                at = block.find(MAGIC, at + 1)
        offset += len(piece)
        overlap = block[-(len(MAGIC) - 1) :]
        source.seek(offset)
    return None
