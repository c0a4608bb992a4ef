"""The archive tier: whole files of old rows, out of the disk and in an object store or a folder, listed here and proven by their checksums.

    <lake>/archive/<Table>.json     what the table has in the archive, in batches
    <lake>/archive/cache/           files that jobs fetched to read them

How each row is in the table or in the archive, whatever dies when: a batch gets a number and is written to the book first; then its files are
copied and read back; then one Delta commit removes them from the table and says ``('tocsin-archive', number)``. A batch counts from the moment
that the table's version has reached its number, not before. One that was begun and doesn't count is taken back by the next run: its objects
are deleted and its entries forgotten, while the table has its files still. What merge, deletion or purge have replaced meanwhile stays out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import structlog

from tocsin.base.errors import LakeError, Place
from tocsin.lake.checksum import digest_of, digest_said
from tocsin.lake.durable import sync_file, write_atomically
from tocsin.lake.engine.physical import naive_utc
from tocsin.lake.maintain import RESTORED, swap_files
from tocsin.lake.objects import ObjectFolder, s3_store
from tocsin.lake.pins import Pins, holding
from tocsin.lake.retention import Deletion
from tocsin.lake.settings import ArchiveSettings
from tocsin.lake.snapshot import DataFile
from tocsin.lake.store import Store

__all__ = ["ARCHIVE_APP", "Archive", "Archived", "Moved"]

ARCHIVE_APP = "tocsin-archive"
_log = structlog.get_logger("tocsin.lake.archive")


@dataclass(frozen=True, slots=True)
class Archived:
    """A file in the archive. `batch` is the number with which its table's Delta log confirmed it."""

    key: str
    digest: str
    batch: int
    rows: int
    size: int
    times: tuple[datetime, datetime] | None
    received: tuple[datetime, datetime] | None
    stamps: tuple[datetime, datetime] | None

    def file(self) -> DataFile:
        """As a snapshot lists it; its path is its key."""
        return DataFile(self.key, self.rows, self.size, self.times, self.received, stamps=self.stamps)


class _Book(msgspec.Struct):
    """What a table has in the archive, and keys of objects that are to be deleted."""

    files: list[Archived] = []
    junk: list[str] = []


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows that a run moved to the archive."""

    table: str
    rows: int
    bytes: int
    files: int


class Archive:
    """The archive of one lake. Safe to use from many threads; moves take turns."""

    def __init__(self, store: Store, folder: Path, settings: ArchiveSettings) -> None:
        self._store = store
        self._folder = folder
        self._settings = settings
        self._moving = threading.Lock()
        self._fetching = threading.Lock()
        self._place: ObjectFolder | None = None

    @property
    def configured(self) -> bool:
        """Whether there is a place for archived rows."""
        return bool(self._settings.bucket or self._settings.folder)

    def load(self) -> None:
        """Tells the tables what they have in the archive. A book that can't be read is a problem of the lake."""
        for path in sorted(self._folder.glob("*.json")):
            name = path.stem
            try:
                files = self._counted(name, self._read(name))
            except LakeError as error:
                self._store.problem(error)
                continue
            if files and name in self._store.states:
                self._store.update(name, lambda s, f=files: replace(s, archived=tuple(e.file() for e in f)))  # type: ignore[misc]

    def entries(self, table: str) -> list[Archived]:
        """The table's files in the archive, oldest first. Raises LakeError LAK0032 for a book that can't be read."""
        return self._counted(table, self._read(table))

    def move(self, now: datetime, pins: Pins = tuple) -> list[Moved]:
        """Moves what is old enough; gives what moved. A table whose move fails is a problem, and the others go on.

        Files that hold pinned rows stay where they are.
        """
        found: list[Moved] = []
        if not self.configured:
            return found
        with self._moving:
            for name in sorted(self._store.states):
                if name.endswith(RESTORED):
                    continue
                days = self._store.retention.archive_days_of(name)
                try:
                    self._take_back(name)
                    if days and (moved := self._move(name, naive_utc(now - timedelta(days=days)), pins)):
                        found.append(moved)
                except LakeError as error:
                    self._store.problem(error)
        return found

    def expire(self, now: datetime, days: dict[str, int], pins: Pins = tuple) -> list[Deletion]:
        """Deletes archived files all of whose rows are older than their table's days in force; gives what went."""
        found: list[Deletion] = []
        with self._moving:
            for name, limit in sorted(days.items()):
                if not limit or not (self._folder / f"{name}.json").exists():
                    continue
                before = naive_utc(now - timedelta(days=limit))
                try:
                    gone = [
                        e
                        for e in self.entries(name)
                        if e.received is not None and e.received[1] < before and not holding(pins, name, e.file())
                    ]
                    if gone:
                        self._forget(name, gone)
                        found.append(
                            Deletion(
                                name, sum(e.rows for e in gone), sum(e.size for e in gone), f"older than {limit} days"
                            )
                        )
                except LakeError as error:
                    self._store.problem(error)
        return found

    def fetch(self, table: str, entry: Archived) -> DataFile:
        """A file of the archive on the disk, proven by its checksum. It stays until `tidy`. Raises LakeError LAK0030 or LAK0031."""
        folder = self._folder / "cache" / table
        path = folder / Path(entry.key).name
        with self._fetching:
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(".part")
                self._objects().get(entry.key, part, entry.digest)
                # A file of that name is taken for proven, after a power failure too.
                sync_file(part)
                part.rename(path)
        return replace(entry.file(), path=str(path))

    def verify(self, progress: Callable[[int, int], None] = lambda _done, _total: None) -> list[LakeError]:
        """Reads every object that the tables have in the archive; gives what is damaged or missing. `progress` takes bytes done and in all."""
        listed = [(p.stem, e) for p in sorted(self._folder.glob("*.json")) for e in self.entries(p.stem)]
        total, done = sum(e.size for _, e in listed), 0
        found: list[LakeError] = []
        for _, entry in listed:
            try:
                self._objects().check(entry.key, entry.digest)
            except LakeError as error:
                found.append(error)
            done += entry.size
            progress(done, total)
        return found

    def tidy(self) -> None:
        """Deletes fetched files above `cache_bytes`, those that were fetched first."""
        files = sorted((self._folder / "cache").glob("*/*.parquet"), key=lambda p: p.stat().st_mtime)
        over = sum(p.stat().st_size for p in files) - self._settings.cache_bytes
        for path in files:
            if over <= 0:
                return
            over -= path.stat().st_size
            path.unlink(missing_ok=True)

    def replace_file(self, table: str, old: Archived, new: DataFile | None) -> None:
        """Puts a file in another's place in the archive, or nothing; the old object and what was fetched of it are deleted.

        The new file must lie on the disk, its name with its checksum; the caller removes it.
        """
        with self._moving:
            book = self._read(table)
            added = []
            if new is not None:
                entry = _entry(table, new, old.batch)
                self._write(table, _Book(book.files, [*book.junk, entry.key]))
                self._objects().put(Path(new.path), entry.key, entry.digest)
                added = [entry]
            kept = [e for e in book.files if e.key != old.key]
            self._write(table, _Book([*kept, *added], [*book.junk, old.key]))
            (self._folder / "cache" / table / Path(old.key).name).unlink(missing_ok=True)
            self._show(table)
            self._empty_junk(table)

    # ---------------------------------------------------------------------------------------------- inside

    def _move(self, name: str, before: datetime, pins: Pins) -> Moved | None:
        with self._store.delta_lock:
            chosen = [
                f
                for f in self._store.states[name].files
                if f.received is not None and f.received[1] < before and not holding(pins, name, f)
            ]
            if not chosen:
                return None
            batch = self._store.delta(name).version_of(ARCHIVE_APP) + 1
            book = self._read(name)
            entries = [_entry(name, f, batch) for f in chosen]
            self._write(name, _Book([*book.files, *entries], book.junk))
        # Not under the lock: rolls must go on while a slow network takes the files.
        for file, entry in zip(chosen, entries, strict=True):
            if digest_of(file.path) != entry.digest:
                self._store.report_bad(name, file.path, "its checksum is another than its name says")
                continue
            self._objects().put(Path(file.path), entry.key, entry.digest)
        with self._store.delta_lock:
            listed = {f.path for f in self._store.states[name].files}
            pairs = [(f, e) for f, e in zip(chosen, entries, strict=True) if f.path in listed]
            late = [e for f, e in zip(chosen, entries, strict=True) if f.path not in listed]
            if late:
                self._write(name, _Book([*book.files, *(e for _, e in pairs)], [*book.junk, *(e.key for e in late)]))
            if pairs:
                held = [e.file() for e in (*self._counted(name, book), *(e for _, e in pairs))]
                swap_files(
                    self._store,
                    name,
                    [f for f, _ in pairs],
                    [],
                    data_change=True,
                    versions={ARCHIVE_APP: batch},
                    archived=held,
                )
        self._empty_junk(name)
        if not pairs:
            return None
        moved = Moved(name, sum(e.rows for _, e in pairs), sum(e.size for _, e in pairs), len(pairs))
        _log.info("lake.archived", table=name, rows=moved.rows, bytes=moved.bytes, files=moved.files)
        return moved

    def _take_back(self, name: str) -> None:
        """Ends what a crash interrupted: a batch that doesn't count, objects that were to be deleted."""
        if not (self._folder / f"{name}.json").exists():
            return
        book = self._read(name)
        counted = self._counted(name, book)
        left = [e.key for e in book.files if e not in counted]
        if left:
            self._write(name, _Book(counted, [*book.junk, *left]))
        self._empty_junk(name)

    def _empty_junk(self, name: str) -> None:
        book = self._read(name)
        if not book.junk:
            return
        keys = {e.key for e in book.files}
        for key in book.junk:
            if key not in keys:
                self._objects().delete(key)
        self._write(name, _Book(book.files, []))

    def _forget(self, name: str, gone: Sequence[Archived]) -> None:
        keys = {e.key for e in gone}
        book = self._read(name)
        self._write(name, _Book([e for e in book.files if e.key not in keys], [*book.junk, *keys]))
        self._show(name)
        self._empty_junk(name)

    def _show(self, name: str) -> None:
        files = tuple(e.file() for e in self.entries(name))
        self._store.update(name, lambda s: replace(s, archived=files))

    def _counted(self, name: str, book: _Book) -> list[Archived]:
        version = self._store.delta(name).version_of(ARCHIVE_APP)
        return sorted(
            (e for e in book.files if e.batch <= version), key=lambda e: (e.times is None, e.times or (), e.key)
        )

    def _objects(self) -> ObjectFolder:
        if self._place is None:
            s = self._settings
            if s.bucket:
                store = s3_store(
                    s.bucket,
                    prefix=s.prefix,
                    region=s.region,
                    endpoint=s.endpoint,
                    access_key=s.access_key,
                    secret_key=s.secret_key,
                )
                self._place = ObjectFolder(store, f"s3://{s.bucket}/{s.prefix}".rstrip("/"))
            elif s.folder:
                self._place = ObjectFolder.local(Path(s.folder))
            else:
                raise LakeError(
                    "No archive is set.", code="LAK0030", hint="Set lake.archive.folder or lake.archive.bucket."
                )
        return self._place

    def _read(self, name: str) -> _Book:
        path = self._folder / f"{name}.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Book)
        except FileNotFoundError:
            return _Book()
        except (OSError, msgspec.MsgspecError) as error:
            raise LakeError(
                f"The book of what table {name} has in the archive is damaged: {error}.",
                code="LAK0032",
                place=Place(str(path)),
                hint="Restore it from a backup; the archive's objects are as they were.",
            ) from error

    def _write(self, name: str, book: _Book) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._folder / f"{name}.json", msgspec.json.format(msgspec.json.encode(book), indent=1))


def _entry(table: str, file: DataFile, batch: int) -> Archived:
    digest = digest_said(file.path) or digest_of(file.path)
    return Archived(
        f"{table}/{Path(file.path).name}", digest, batch, file.rows, file.size, file.times, file.received, file.stamps
    )
