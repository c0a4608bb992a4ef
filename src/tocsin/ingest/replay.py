"""Recorded files as single records with their times, in the order of time, for sending them once more as if they happened.

JSON (lines, arrays, objects over several lines), syslog, audit logs, logs of one line an event, and Windows' EVTX; also compressed and in
archives. Formats whose lines mean nothing without their file's head (CSV, W3C, Zeek's TSV, XML documents) are refused by name.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from tocsin.base.errors import IngestError, Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.archives import ARCHIVES, COMPRESSED, Budget, decompressed, members
from tocsin.ingest.decoders.jsontext import JsonSplitter, load_tolerant
from tocsin.ingest.decoders.lines import line_blocks
from tocsin.ingest.decoders.sniff import sniff
from tocsin.ingest.decoders.source import HEAD_BYTES, Source
from tocsin.ingest.decoders.times import parse_time
from tocsin.ingest.settings import DecodeLimits

__all__ = ["Record", "Recording", "play"]

_LINES = frozenset({"syslog", "auditd", "lines"})
_TIMES = (
    "TimeCreated", "TimeGenerated", "Timestamp", "EventTime", "@timestamp", "timestamp", "time", "eventTime", "CreationTime", "ts",
)  # fmt: skip
_ISO = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_BSD = re.compile(rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d")
_AUDIT = re.compile(rb"audit\((\d+\.\d+):")


@dataclass(frozen=True, slots=True, order=True)
class Record:
    """A record as it is to be sent, on one line; `time` is when it happened, or when the record before it in its file did."""

    time: datetime
    data: bytes = field(compare=False)


class Recording:
    """The records of files and folders. `problems` tells, while they are read, what could not be."""

    def __init__(self, paths: Iterable[Path], limits: DecodeLimits | None = None) -> None:
        self._paths = list(paths)
        self._limits = limits or DecodeLimits()
        self.problems: list[IngestError] = []

    def records(self) -> Iterator[Record]:
        """All of them by time, each file being in order already."""
        files = [file for path in self._paths for file in _files(path)]
        return heapq.merge(*(self._file(file) for file in files))

    def _file(self, path: Path) -> Iterator[Record]:
        last = datetime.min  # noqa: DTZ901 - zoneless UTC, as times are parsed
        try:
            with path.open("rb") as stream:
                source = Source(str(path), stream, path=path)
                for data in self._pieces(source, Budget(self._limits, str(path), path.stat().st_size), 0):
                    last = _time_of(data) or last
                    yield Record(last, data)
        except OSError as error:
            self.problems.append(
                IngestError(f"{path} can't be read: {error.strerror}", code=codes.UNREADABLE, place=Place(str(path)))
            )
        except IngestError as error:
            self.problems.append(error)

    def _pieces(self, source: Source, budget: Budget, depth: int) -> Iterator[bytes]:
        head = source.head
        kind, _ = sniff(head, complete=len(head) < HEAD_BYTES)
        if kind in (*COMPRESSED, *ARCHIVES) and depth >= self._limits.archive_depth:
            raise IngestError("Archives are nested too deep.", code=codes.BOMB_DEPTH, place=Place(source.name))
        if kind in COMPRESSED:
            yield from self._pieces(decompressed(source, kind, budget), budget, depth + 1)
        elif kind in ARCHIVES:
            for member, _name, error in members(source, kind, budget):
                if member is not None:
                    yield from self._pieces(member, budget, depth + 1)
                elif error is not None:
                    self.problems.append(error)
        elif kind == "json":
            yield from _objects(source, self._limits.max_record_bytes)
        elif kind == "evtx":
            yield from _evtx(source)
        elif kind in _LINES:
            for _, lines in line_blocks(source, self._limits.max_record_bytes):
                yield from (line.strip(b"\r") for line in lines if isinstance(line, bytes) and line.strip())
        elif kind != "empty":
            self.problems.append(
                IngestError(
                    f"Files of format {kind} can't be replayed record by record.",
                    code=codes.UNKNOWN_TEXT,
                    place=Place(source.name),
                    hint="tocsin scan reads them.",
                )
            )
            while source.read(1 << 20):
                pass


def play(
    records: Iterable[Record],
    send: Callable[[list[bytes]], None],
    *,
    speed: float | None,
    monotonic: Callable[[], float],
    sleep: Callable[[float], object],
    batch: int = 500,
    tick: float = 0.25,
) -> int:
    """Sends records at `speed` times the pace at which they happened, or without pause; how many there were.

    What is due within a `tick` goes together, at most `batch` at once. Records without a time come at once, before the others.
    """
    waiting: list[bytes] = []
    began, first, due, count = monotonic(), None, tick, 0
    for record in records:
        if record.time != datetime.min and first is None:  # noqa: DTZ901
            first = record.time
        at = 0.0 if first is None or speed is None else (record.time - first).total_seconds() / speed
        if waiting and (len(waiting) >= batch or at > due):
            send(waiting)
            count += len(waiting)
            waiting = []
        if speed is not None and at > due:
            due = at // tick * tick + tick
            late = began + at - monotonic()
            if late > 0:
                sleep(late)
        waiting.append(record.data)
    if waiting:
        send(waiting)
        count += len(waiting)
    return count


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            if not (entry.is_symlink() and entry.is_dir()) and not entry.name.startswith("."):
                yield from _files(entry)
    else:
        yield path


def _objects(source: Source, limit: int) -> Iterator[bytes]:
    splitter = JsonSplitter(limit)
    while block := source.read(1 << 20):
        for _, piece, too_long in splitter.feed(block):
            if not too_long:
                yield _one_line(piece)
    _, rest = splitter.rest()
    if rest.strip():
        yield _one_line(rest)


def _one_line(piece: bytes) -> bytes:
    if b"\n" not in piece and b"\r" not in piece:
        return piece
    value, _ = load_tolerant(piece)
    return orjson.dumps(value) if isinstance(value, dict) else b" ".join(piece.split())


def _evtx(source: Source) -> Iterator[bytes]:
    from evtx import PyEvtxParser

    with source.spool(64 << 20) as file:
        for record in PyEvtxParser(file, 1).records_json():
            yield orjson.dumps(orjson.loads(record["data"]))  # type: ignore[index]


def _time_of(data: bytes) -> datetime | None:
    """When a record happened, as far as the pace of a replay needs it."""
    if data[:1] == b"{":
        try:
            value: Any = orjson.loads(data)
        except orjson.JSONDecodeError:
            value = {}
        event = value.get("Event", value)
        system = event.get("System") if isinstance(event, dict) else None
        for holder in (value, event, system, value.get("event")):
            if isinstance(holder, dict):
                for name in _TIMES:
                    given = holder.get(name)
                    if isinstance(given, dict):
                        given = (given.get("#attributes") or given).get("SystemTime")
                    if given is not None and (found := parse_time(given)) is not None:
                        return found
    if audit := _AUDIT.search(data, 0, 500):
        return parse_time(float(audit[1]))
    found_at = _ISO.search(data, 0, 2000) or _BSD.search(data, 0, 100)
    return parse_time(found_at[0].decode()) if found_at is not None else None
