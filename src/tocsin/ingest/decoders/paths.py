"""From paths to batches: walks folders, opens archives, decides each file's format by content, and gives an account of each."""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tocsin.base.errors import IngestError, Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.archives import ARCHIVES, COMPRESSED, Budget, decompressed, members
from tocsin.ingest.decoders.auditd import decode_auditd
from tocsin.ingest.decoders.context import Context
from tocsin.ingest.decoders.csvtext import decode_csv
from tocsin.ingest.decoders.evtxfile import decode_evtx
from tocsin.ingest.decoders.jsontext import decode_json
from tocsin.ingest.decoders.lines import LongLine, line_blocks
from tocsin.ingest.decoders.sniff import sniff
from tocsin.ingest.decoders.source import HEAD_BYTES, Chained, Source, translate
from tocsin.ingest.decoders.syslog import decode_syslog
from tocsin.ingest.decoders.tables import TableMatcher, default_matcher
from tocsin.ingest.decoders.textlines import decode_lines
from tocsin.ingest.decoders.w3c import decode_w3c
from tocsin.ingest.decoders.xmlevents import decode_xml
from tocsin.ingest.decoders.zeek import decode_zeek_tsv
from tocsin.ingest.model import DecodedItem, FileReport
from tocsin.ingest.settings import DecodeLimits

__all__ = ["decode_path", "decode_paths", "decode_source"]

_DECODERS: dict[str, Callable[[Source, Context], Iterator[DecodedItem]]] = {
    "evtx": decode_evtx,
    "json": decode_json,
    "windows-xml": decode_xml,
    "zeek-tsv": decode_zeek_tsv,
    "auditd": decode_auditd,
    "syslog": decode_syslog,
    "w3c": decode_w3c,
    "lines": decode_lines,
}
_BOMBS = frozenset({codes.BOMB_RATIO, codes.BOMB_BYTES, codes.BOMB_MEMBERS})
_SKIPPED = {
    "pcap": "Packet captures aren't read; use Zeek's logs of it.",
    "pcapng": "Packet captures aren't read; use Zeek's logs of it.",
    "appledouble": "Metadata that macOS adds to archives.",
    "empty": "The file is empty.",
    "text": "Text of no known log format.",
}


def decode_paths(
    paths: Iterable[Path], *, limits: DecodeLimits | None = None, matcher: TableMatcher | None = None
) -> Iterator[DecodedItem]:
    """Decodes several files and folders, one after the other. See `decode_path`."""
    for path in paths:
        yield from decode_path(path, limits=limits, matcher=matcher)


def decode_path(
    path: Path | str, *, limits: DecodeLimits | None = None, matcher: TableMatcher | None = None
) -> Iterator[DecodedItem]:
    """Decodes a file, an archive, or every file below a folder (by name; links to folders aren't followed).

    Yields batches and dead letters as they are read and one `FileReport` for each file and archive member after its rows. Nothing
    about the input raises: what can't be read is in a report's `error` and the next file follows.
    """
    limits = limits or DecodeLimits()
    matcher = matcher or default_matcher()
    for file in _files(Path(path)):
        if isinstance(file, FileReport):
            yield file
            continue
        name = _shown(file)
        try:
            stream = file.open("rb")
        except OSError as failure:
            yield FileReport(name, "", error=translate(failure, name, 0))
            continue
        with stream:
            size = file.stat().st_size
            yield from decode_source(Source(name, stream, path=file), size, limits, matcher)


def _shown(path: Path) -> str:
    """A path as text that can be stored and printed: bytes of a name that aren't UTF-8 as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _files(path: Path) -> Iterator[Path | FileReport]:
    try:
        mode = path.stat().st_mode
    except OSError as failure:
        yield FileReport(_shown(path), "", error=translate(failure, _shown(path), 0))
        return
    if stat.S_ISREG(mode):
        yield path
        return
    if not stat.S_ISDIR(mode):
        yield FileReport(_shown(path), "", skipped="Neither a file nor a folder.")
        return
    try:
        entries = sorted(path.iterdir())
    except OSError as failure:
        yield FileReport(_shown(path), "", error=translate(failure, _shown(path), 0))
        return
    for entry in entries:
        if entry.is_symlink() and entry.is_dir():
            yield FileReport(_shown(entry), "", skipped="A link to a folder.")
        else:
            yield from _files(entry)


def decode_source(source: Source, size: int, limits: DecodeLimits, matcher: TableMatcher) -> Iterator[DecodedItem]:
    """Decodes one stream of any format; `size` is its length, 0 when unknown. See `decode_path`."""
    yield from _decode(source, Budget(limits, source.name, size), matcher, 0)


def _decode(source: Source, budget: Budget, matcher: TableMatcher, depth: int) -> Iterator[DecodedItem]:
    name = source.name
    try:
        head = source.head
        kind, detail = sniff(head, complete=len(head) < HEAD_BYTES)
        while kind in COMPRESSED:
            depth += 1
            _check_depth(depth, budget, name)
            source = decompressed(source, kind, budget)
            head = source.head
            if not head:
                source.read(1)  # raises when nothing came because the stream is damaged
            kind, detail = sniff(head, complete=len(head) < HEAD_BYTES)
        if kind in ARCHIVES:
            _check_depth(depth + 1, budget, name)
            yield from _decode_archive(source, kind, budget, matcher, depth + 1)
            return
    except IngestError as error:
        yield FileReport(name, "", error=error)
        return
    yield from _decode_leaf(source, kind, detail, budget.limits, matcher)


def _check_depth(depth: int, budget: Budget, name: str) -> None:
    if depth > budget.limits.archive_depth:
        raise IngestError(
            f"Archives are nested more than {budget.limits.archive_depth} deep.", code=codes.BOMB_DEPTH, place=Place(name),
            hint="The setting is archive_depth.",
        )  # fmt: skip


def _decode_archive(
    source: Source, kind: str, budget: Budget, matcher: TableMatcher, depth: int
) -> Iterator[DecodedItem]:
    count = 0
    last: IngestError | None = None
    try:
        for member, name, error in members(source, kind, budget):
            count += 1
            last = error
            if member is None:
                yield FileReport(name, "", error=error)
                continue
            for item in _decode(member, budget, matcher, depth):
                if isinstance(item, FileReport):
                    last = item.error
                yield item
            if budget.exhausted:
                return
    except IngestError as failure:
        # Damage of the stream below shows in the member first; saying it again for the archive would tell nothing new.
        if last is None or last.code not in (codes.BAD_GZIP, codes.CORRUPT_ARCHIVE, *_BOMBS):
            yield FileReport(source.name, kind, error=failure)
        return
    if not count:
        yield FileReport(source.name, kind, skipped="The archive is empty.")


def _decode_leaf(
    source: Source, kind: str, detail: str, limits: DecodeLimits, matcher: TableMatcher
) -> Iterator[DecodedItem]:
    name = source.name
    if kind == "utf-16":
        source = _transcoded(source, "utf-16-le" if detail == "fffe" else "utf-16-be")
        kind, detail = sniff(source.head, complete=len(source.head) < HEAD_BYTES)
    if kind == "text" and b"\n" not in source.head and len(source.head) >= HEAD_BYTES:
        yield from _one_long_line(source, limits, matcher)
        return
    if kind in _SKIPPED:
        # Read to the end: damage of an archive member counts even when its content isn't of interest.
        yield _drained(source, FileReport(name, kind, skipped=_SKIPPED[kind]))
        return
    if kind in ("binary", "7z", "rar"):
        code = codes.BINARY if kind == "binary" else codes.UNSUPPORTED_ARCHIVE
        what = (
            "The file is binary data of no known format."
            if kind == "binary"
            else f"Archives of format {kind} aren't read."
        )
        yield FileReport(name, kind, error=IngestError(what, code=code, place=Place(name, offset=0)))
        return
    context = Context(name, limits, matcher)
    context.format = kind
    error: IngestError | None = None
    try:
        if kind == "csv":
            yield from decode_csv(source, context, detail)
        else:
            yield from _DECODERS[kind](source, context)
    except IngestError as failure:
        error = failure
    except Exception as failure:
        error = IngestError(
            f"The decoder failed ({type(failure).__name__}: {failure}).",
            code=codes.INTERNAL,
            place=Place(name, offset=source.position),
        )
    yield from context.rest()
    yield report(context, name, error, source.position)


def _one_long_line(source: Source, limits: DecodeLimits, matcher: TableMatcher) -> Iterator[DecodedItem]:
    """Text of no known format that begins with a line without end: lines above the limit are said, the rest is no log."""
    name = source.name
    context = Context(name, limits, matcher)
    context.format = "text"
    error: IngestError | None = None
    try:
        for number, lines in line_blocks(source, limits.max_record_bytes, limits.dead_letter_bytes):
            for index, line in enumerate(lines):
                if isinstance(line, LongLine):
                    yield context.too_long(line, Place(name, line=number + index))
    except IngestError as failure:
        error = failure
    found = report(context, name, error, source.position)
    yield found if found.unreadable else replace(found, skipped=_SKIPPED["text"])


def report(context: Context, name: str, error: IngestError | None, size: int) -> FileReport:
    """The account of what a context decoded."""
    return FileReport(
        name,
        context.format,
        events=context.events - context.derived,
        dead=context.dead_letters,
        error=error,
        bytes=size,
        sources=dict(context.sources),
        notes=context.noted(),
    )


def _drained(source: Source, found: FileReport) -> FileReport:
    error: IngestError | None = None
    try:
        while source.read(1 << 20):
            pass
    except IngestError as failure:
        error = failure
    # One word on each file: what is damaged isn't also "empty".
    return FileReport(
        found.path, found.format, error=error, skipped="" if error else found.skipped, bytes=source.position
    )


def _transcoded(source: Source, encoding: str) -> Source:
    """The same text as UTF-8."""
    reader = codecs.getreader(encoding)(io.BufferedReader(Chained(source)), "replace")
    return Source(source.name, _Utf8(reader))


class _Utf8:
    def __init__(self, reader: codecs.StreamReader) -> None:
        self._reader = reader
        self._left = b""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes of UTF-8."""
        if not self._left:
            self._left = self._reader.read(1 << 16).encode("utf-8", "replace").removeprefix(b"\xef\xbb\xbf")
        out, self._left = (self._left[:size], self._left[size:]) if size >= 0 else (self._left, b"")
        return out
