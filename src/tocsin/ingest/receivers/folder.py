"""A watched folder: log files that grow and rotate, and files that are dropped in whole (EVTX, archives, exports).

Lines are read on from where a file was left. The book of offsets is written after each piece became durable, and each piece carries its file
and offsets as a request key through the log, so that a crash between the two neither loses nor doubles a line. A file is known by its inode
and its beginning: a renamed one is read on, a truncated one begins anew, a rotated copy (copytruncate, or compressed) isn't read twice.
Files that are no lines are decoded once they haven't changed for a moment. Nothing is moved or deleted.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import msgspec
import structlog

from tocsin.base.errors import IngestError, Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.archives import COMPRESSED, Budget, decompressed
from tocsin.ingest.decoders.auditd import AUDIT_LINE
from tocsin.ingest.decoders.body import LINE_DECODERS, pack_batch, pack_letters
from tocsin.ingest.decoders.jsontext import looks_like_lines
from tocsin.ingest.decoders.paths import decode_path
from tocsin.ingest.decoders.sniff import sniff
from tocsin.ingest.decoders.source import HEAD_BYTES, Source
from tocsin.ingest.decoders.tables import TableMatcher, default_matcher
from tocsin.ingest.model import DeadLetter, FileReport, SourceBatch
from tocsin.ingest.receivers.http import Port
from tocsin.ingest.receivers.sockets import submit_patiently
from tocsin.ingest.settings import DecodeLimits
from tocsin.lake import Body

__all__ = ["FolderReceiver"]

_log = structlog.get_logger("tocsin.ingest.folder")
_PIECE = 2 << 20
_HEAD = 4096
_TAIL = 4096
_LEAST_HEAD = 32
_PARTIAL = re.compile(r"(?:^\.|~$|\.(?:part|partial|tmp|swp|crdownload)$)", re.IGNORECASE)
_MAX_FILES = 20_000


class _Entry(msgspec.Struct):
    """What the book knows of one file. `offset` is -1 for a file that was decoded whole."""

    id: str
    path: str
    device: int
    inode: int
    head_size: int
    head_hash: str
    offset: int = 0
    tail_hash: str = ""
    format: str = ""
    delimiter: str = ""
    size: int = 0


@dataclass(slots=True)
class _Seen:
    """What the last look at a file found: it is settled when nothing changed since."""

    size: int
    modified: int
    since: float
    done: bool = False


class FolderReceiver:
    """Watches one folder and everything below it."""

    def __init__(
        self,
        intake: Port,
        folder: Path,
        book: Path,
        *,
        limits: DecodeLimits | None = None,
        matcher: TableMatcher | None = None,
        poll_seconds: float = 1.0,
        settle_seconds: float = 2.0,
    ) -> None:
        """`book` is the file that remembers offsets."""
        self._intake = intake
        self._folder = folder
        self._book = book
        self._limits = limits or DecodeLimits()
        self._matcher = matcher or default_matcher()
        self._poll = poll_seconds
        self._settle = settle_seconds
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._entries: dict[str, _Entry] = {}
        self._inodes: dict[tuple[int, int], list[str]] = {}
        self._seen: dict[str, _Seen] = {}
        self._heads: dict[str, tuple[int, dict[bytes, bytes]]] = {}
        self._clock = 0.0

    def start(self) -> None:
        """Reads the book and begins. Raises IngestError when the folder can't be used."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._book.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise IngestError(
                f"The folder can't be used: {error.strerror}.", code=codes.UNREADABLE, place=Place(str(self._folder)),
                hint="The setting is ingest.folder.",
            ) from error  # fmt: skip
        self._load()
        self._intake.listening("file", str(self._folder), str(self._folder))
        self._thread = threading.Thread(target=self._run, name="tocsin-folder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends after the piece in hand."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.scan()
            except Exception:
                _log.exception("ingest.folder")
            self._stopping.wait(self._poll)

    # ---------------------------------------------------------------------------------------------- the book

    def _load(self) -> None:
        try:
            entries = msgspec.json.decode(self._book.read_bytes(), type=list[_Entry])
        except FileNotFoundError:
            entries = []
        except (OSError, msgspec.DecodeError) as error:
            _log.error(
                "ingest.folder.book",
                file=str(self._book),
                error=str(error),
                hint="Files may be read again from their beginning.",
            )
            entries = []
        for entry in entries:
            self._entries[entry.id] = entry
            self._inodes.setdefault((entry.device, entry.inode), []).append(entry.id)
        # Pieces that became durable after the book was written last.
        for key in self._intake.requests.keys("file:"):
            _, name, start, end = key.split(":", 3)
            known = self._entries.get(name)
            if known is not None and start.isdigit() and 0 <= known.offset < int(end):
                known.offset = int(end)

    def _save(self) -> None:
        while len(self._entries) > _MAX_FILES:
            gone = next(iter(self._entries))
            del self._entries[gone]
            self._heads.pop(gone, None)
        temporary = self._book.with_suffix(".new")
        with temporary.open("wb") as out:
            out.write(msgspec.json.encode(list(self._entries.values())))
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, self._book)

    # ---------------------------------------------------------------------------------------------- looking

    def scan(self) -> None:
        """One look at everything in the folder."""
        self._clock += self._poll
        for path, found in self._files(self._folder):
            if self._stopping.is_set():
                return
            seen = self._seen.get(str(path))
            if seen is None or seen.size != found.st_size or seen.modified != found.st_mtime_ns:
                self._seen[str(path)] = seen = _Seen(found.st_size, found.st_mtime_ns, self._clock)
            if seen.done:
                continue
            settled = self._clock - seen.since >= self._settle
            try:
                self._look(path, found, settled=settled)
                # Nothing more can come of a settled file until it changes.
                seen.done = settled
            except OSError as error:
                _log.warning("ingest.folder.file", file=str(path), error=error.strerror or str(error))
                self._intake.refused("file", str(path), error.strerror or str(error))

    def _files(self, folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError:
            return
        for entry in entries:
            # Links aren't followed: who may write into the folder may not read the whole disk through it.
            if entry.is_symlink() or _PARTIAL.search(entry.name):
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(found.st_mode):
                yield from self._files(Path(entry.path))
            elif stat.S_ISREG(found.st_mode) and found.st_size:
                yield Path(entry.path), found

    def _look(self, path: Path, found: os.stat_result, *, settled: bool) -> None:
        with path.open("rb") as file:
            entry = self._known(file.fileno(), path, found)
            if entry is None:
                entry = self._new(file.fileno(), path, found, settled=settled)
                if entry is None:
                    return
            if entry.path != str(path):
                entry.path = str(path)
                self._save()
            if entry.offset < 0:
                if found.st_size != entry.size and entry.format not in COMPRESSED:
                    _log.warning(
                        "ingest.folder.changed", file=str(path), hint="It was read whole before and isn't read again."
                    )
                return
            if entry.format:
                self._read_lines(file.fileno(), entry, found.st_size, settled=settled)
            elif settled:
                self._read_whole(path, entry)

    def _known(self, fd: int, path: Path, found: os.stat_result) -> _Entry | None:
        """The entry of this file: the same inode with the same beginning, or a copy of what was read before."""
        heads: dict[int, str] = {}

        def head(size: int) -> str:
            if size not in heads:
                heads[size] = _hash(os.pread(fd, size, 0))
            return heads[size]

        inode = (found.st_dev, found.st_ino)
        for name in reversed(self._inodes.get(inode, [])):
            entry = self._entries.get(name)
            if entry is None or entry.head_size > found.st_size or found.st_size < entry.offset:
                continue
            if head(entry.head_size) == entry.head_hash:
                return entry
        for entry in list(self._entries.values()):
            if (entry.device, entry.inode) == inode or entry.offset <= 0 or not entry.tail_hash:
                continue
            if (
                found.st_size < entry.offset
                or entry.head_size < _LEAST_HEAD
                or head(entry.head_size) != entry.head_hash
            ):
                continue
            if self._tail(fd, entry.offset) == entry.tail_hash:
                # The original's inode holds something else by now, or is read on under its own entry.
                return self._enter(
                    msgspec.structs.replace(
                        entry,
                        id=self._identity(found, entry.head_hash),
                        path=str(path),
                        device=found.st_dev,
                        inode=found.st_ino,
                    )
                )
        return None

    def _identity(self, found: os.stat_result, head: str) -> str:
        """A name for a file's content: a truncated file that begins like before is another one."""
        name = f"{found.st_dev:x}-{found.st_ino:x}-{head[:16]}"
        generation = 0
        while (full := f"{name}-{generation}") in self._entries:
            generation += 1
        return full

    def _enter(self, entry: _Entry) -> _Entry:
        self._entries[entry.id] = entry
        self._inodes.setdefault((entry.device, entry.inode), []).append(entry.id)
        self._save()
        return entry

    def _tail(self, fd: int, offset: int) -> str:
        start = max(0, offset - _TAIL)
        return _hash(os.pread(fd, offset - start, start))

    def _new(self, fd: int, path: Path, found: os.stat_result, *, settled: bool) -> _Entry | None:
        """A file that is seen for the first time, once its beginning tells what it is; None until then."""
        head = os.pread(fd, HEAD_BYTES, 0)
        if b"\n" not in head and len(head) < HEAD_BYTES and not settled:
            return None
        kind, delimiter = sniff(head, complete=len(head) < HEAD_BYTES)
        lines = kind in LINE_DECODERS or kind in ("csv", "text")
        if kind == "json" and not looks_like_lines(head):
            lines = False
        size = min(_HEAD, len(head))
        first = _hash(head[:size])
        entry = _Entry(
            self._identity(found, first), str(path), found.st_dev, found.st_ino, size, first, format=kind if lines else "", delimiter=delimiter,
            size=found.st_size,
        )  # fmt: skip
        if kind in COMPRESSED and settled and self._is_rotated(path, kind):
            entry.offset = -1
            entry.format = kind
        return self._enter(entry)

    def _is_rotated(self, path: Path, kind: str) -> bool:
        """Whether a compressed file holds what was read as lines before."""
        known = {
            (e.head_size, e.head_hash): e
            for e in self._entries.values()
            if e.offset > 0 and e.tail_hash and e.head_size >= _LEAST_HEAD
        }
        if not known:
            return False
        with path.open("rb") as file:
            inner = decompressed(Source(str(path), file), kind, Budget(self._limits, str(path), path.stat().st_size))
            head = inner.head
            for (size, wanted), entry in known.items():
                if _hash(head[:size]) != wanted:
                    continue
                return self._holds(inner, entry)
        return False

    def _holds(self, inner: Source, entry: _Entry) -> bool:
        position, tail = 0, b""
        try:
            while position < entry.offset:
                block = inner.read(min(1 << 20, entry.offset - position))
                if not block:
                    return False
                position += len(block)
                tail = (tail + block)[-_TAIL:]
        except IngestError:
            return False
        return _hash(tail) == entry.tail_hash and not inner.read(1)

    # ---------------------------------------------------------------------------------------------- reading

    def _read_lines(self, fd: int, entry: _Entry, size: int, *, settled: bool) -> None:
        while entry.offset < size and not self._stopping.is_set():
            data = os.pread(fd, min(_PIECE, size - entry.offset), entry.offset)
            if not data:
                return
            at_end = entry.offset + len(data) >= size
            cut = data.rfind(b"\n") + 1
            if entry.format == "auditd" and at_end and not settled:
                cut = _before_last_event(data, cut)
            if not cut:
                if at_end and not settled:
                    return
                if not at_end:
                    cut = self._long_line(fd, entry, size, settled=settled)
                    if not cut:
                        return
                    data = os.pread(fd, cut, entry.offset) if cut <= self._limits.max_record_bytes + _PIECE else data
                else:
                    # A last line without its line feed, from a writer that has been silent for a while.
                    cut = len(data)
            if not self._hand_over(fd, entry, data[:cut], entry.offset + cut):
                return

    def _long_line(self, fd: int, entry: _Entry, size: int, *, settled: bool) -> int:
        """The length of a line that is longer than a piece; 0 when its end isn't written yet."""
        position = entry.offset + _PIECE
        while position < size:
            block = os.pread(fd, _PIECE, position)
            if not block:
                break
            end = block.find(b"\n")
            if end >= 0:
                return position + end + 1 - entry.offset
            position += len(block)
        return size - entry.offset if settled else 0

    def _hand_over(self, fd: int, entry: _Entry, data: bytes, end: int) -> bool:
        start = entry.offset
        key = f"file:{entry.id}:{start}:{end}"
        meta = {"path": entry.path, "format": entry.format, "delimiter": entry.delimiter, "request": key}
        if end - start > len(data):
            letter = DeadLetter(
                f"A line is {end - start} bytes long. The setting is max_record_bytes.", codes.TOO_LONG, Place(entry.path, offset=start),
                data[: self._limits.dead_letter_bytes], entry.path, entry.format, end - start,
            )  # fmt: skip
            body = Body("dead", pack_letters([letter]), self._intake.now(), meta)
        else:
            body = Body("file", self._header(fd, entry) + data, self._intake.now(), meta)
        if not self._store([body]):
            return False
        entry.offset = end
        entry.tail_hash = self._tail(fd, end)
        entry.size = end
        self._save()
        return True

    def _header(self, fd: int, entry: _Entry) -> bytes:
        """What each piece of a table needs before its rows."""
        if entry.offset == 0 or entry.format not in ("csv", "zeek-tsv", "w3c"):
            return b""
        if entry.format == "csv":
            head = os.pread(fd, HEAD_BYTES, 0)
            return head[: head.find(b"\n") + 1]
        return self._directives(fd, entry)

    def _directives(self, fd: int, entry: _Entry) -> bytes:
        """The lines that tell what the rows at the entry's offset mean: of each directive (`#Fields` …) the last one before it.

        A log may change its fields anywhere. What was looked at already is remembered; after a restart a file is looked through once.
        """
        seen, lines = self._heads.get(entry.id, (0, {}))
        if seen > entry.offset:
            seen, lines = 0, {}
        while seen < entry.offset:
            block = os.pread(fd, min(_PIECE, entry.offset - seen), seen)
            end = block.rfind(b"\n") + 1
            if not end:
                end = len(block)  # within a line that is longer than a piece: no directive
                if not end:
                    break
            for line in block[:end].split(b"\n"):
                if line.startswith(b"#") and not line.startswith(b"#close"):
                    lines[line.split(None, 1)[0].partition(b":")[0]] = line + b"\n"
            seen += end
        self._heads[entry.id] = seen, lines
        return b"".join(lines.values())

    def _store(self, bodies: list[Body]) -> bool:
        """Makes bodies durable, unless their keys say that they are. False when the receiver stops meanwhile."""
        wanted = []
        for body in bodies:
            earlier = self._intake.requests.begin(body.meta["request"])
            if earlier is None or not earlier.result():
                wanted.append(body)
        if not wanted:
            return True
        future = submit_patiently(self._intake, wanted, self._stopping)
        stored = future is not None and future.exception() is None
        for body in wanted:
            (self._intake.requests.durable if stored else self._intake.requests.abandon)(body.meta["request"])
        return stored

    def _read_whole(self, path: Path, entry: _Entry) -> None:
        number = 0
        for item in decode_path(path, limits=self._limits, matcher=self._matcher):
            key = f"file:{entry.id}:item:{number}"
            number += 1
            if isinstance(item, SourceBatch):
                data, meta = pack_batch(item)
                body = Body("batch", data, self._intake.now(), {**meta, "path": str(path), "request": key})
            else:
                letter = _letter(item)
                if letter is None:
                    continue
                body = Body("dead", pack_letters([letter]), self._intake.now(), {"path": str(path), "request": key})
            if not self._store([body]):
                return
        entry.offset = -1
        entry.size = path.stat().st_size
        self._save()


def _letter(item: DeadLetter | FileReport) -> DeadLetter | None:
    if isinstance(item, DeadLetter):
        return item
    if item.error is not None:
        return DeadLetter(
            item.error.message,
            item.error.code,
            item.error.place or Place(item.path),
            b"",
            item.path,
            item.format,
            item.bytes,
        )
    if item.skipped and item.format in ("pcap", "pcapng"):
        return DeadLetter(item.skipped, codes.PCAP, Place(item.path), b"", item.path, item.format, item.bytes)
    return None


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _before_last_event(data: bytes, cut: int) -> int:
    """Where the last audit event of the piece begins: its other records may not be written yet."""
    end = cut
    serial = ""
    while end > 0:
        start = data.rfind(b"\n", 0, end - 1) + 1
        match = AUDIT_LINE.search(data[start:end].decode("utf-8", "replace"))
        found = match["serial"] if match else ""
        if match and match["type"] == "EOE" and not serial:
            return cut
        if serial and found != serial:
            return end
        serial = serial or found or "?"
        end = start
    return 0
