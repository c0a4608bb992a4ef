"""Takes single rows out of a table, by their numbers: deleted (kept aside for a while, can be put back) or purged (gone).

    <lake>/deleted/<id>/deletion.json      what was deleted, by whom, until when it can be put back
    <lake>/deleted/<id>/*.parquet          the rows, with their numbers

A table's files are replaced in one Delta commit, so a crash leaves all rows in the table or none of those that were to go. Rows that were set
aside but are in the table still (the crash came between) aren't put back twice: putting back leaves out numbers that the table has. Files that
were replaced are deleted by the sweep, once no query can read them any more.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from tocsin.base.errors import LakeError, Place
from tocsin.lake.archive import Archive, Archived
from tocsin.lake.durable import sync_folder, write_atomically
from tocsin.lake.engine.physical import ITEM_NUMBER, stored_schema
from tocsin.lake.engine.standard import item_ids
from tocsin.lake.maintain import read_files, swap_files
from tocsin.lake.parquet import write_rows
from tocsin.lake.snapshot import DataFile
from tocsin.lake.store import Store

__all__ = ["Deleted", "Erasures", "without"]

_log = structlog.get_logger("tocsin.lake.erase")
_MANIFEST = "deletion.json"
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Deleted:
    """Rows that were deleted and can be put back until `expires`. `reason` says what they were chosen by."""

    id: str
    table: str
    rows: int
    by: str
    reason: str
    created: datetime
    expires: datetime

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "created": self.created.isoformat(), "expires": self.expires.isoformat()}


class Erasures:
    """Deleting, putting back and purging rows of one lake. Safe to use from many threads."""

    def __init__(
        self, store: Store, folder: Path, archive: Archive, settle: Callable[[], None], forget: Callable[[], None]
    ) -> None:
        """`settle` moves rows from memory to files; `forget` makes the log let go of what is in files."""
        self._store = store
        self._folder = folder
        self._archive = archive
        self._settle = settle
        self._forget = forget

    def settle(self, table: str) -> None:
        """Makes sure that all rows of the table that are visible now are in files and have numbers. LakeError when they can't be rolled."""
        self._settle()
        with self._store.delta_lock:
            if table in self._store.states:
                _give_numbers(self._store, table)

    def delete(self, table: str, numbers: Numbers, *, by: str, reason: str, expires: datetime) -> Deleted:
        """Takes rows out of a table and keeps them aside until `expires`. Raises LakeError; then nothing has gone."""
        self._settle()
        now = self._store.clock.now()
        deletion = Deleted(uuid.uuid4().hex[:16], table, len(numbers), by, reason, now, expires)
        with self._store.delta_lock:
            count = _erase(self._store, table, numbers, self._folder / deletion.id, deletion)
        return replace(deletion, rows=count)

    def purge(self, table: str, numbers: Numbers) -> int:
        """Takes rows out of a table and of what was deleted of it, for good; gives how many went.

        The log lets go of the bodies that they came from; files that held them go with the next sweep after `orphan_seconds`.
        """
        self._settle()
        with self._store.delta_lock:
            count = _erase(self._store, table, numbers, None) if table in self._store.states else 0
            for deletion in self.deletions():
                if deletion.table == table:
                    count += _purge_deleted(self._store, self._folder / deletion.id, numbers)
        self._forget()
        return count

    def archived_rows(self, table: str, entry: Archived) -> pa.Table:
        """The rows of a file in the archive, in the table's columns, with their `_ItemId`. Raises LakeError when it can't be fetched."""
        rows = pq.read_table(self._archive.fetch(table, entry).path, partitioning=None)
        known = frozenset(stored_schema(self._store.state(table).schema).names)
        return _named(table, rows.select([n for n in rows.column_names if n in known]))

    def purge_archived(self, table: str, entry: Archived, numbers: Numbers) -> int:
        """Takes rows out of a file in the archive: another takes its place, or none. Gives how many went."""
        rows = pq.read_table(self._archive.fetch(table, entry).path, partitioning=None)
        mask = _among(rows.column(ITEM_NUMBER).to_numpy(), np.sort(numbers))
        kept = rows.filter(pa.array(~mask))
        new = None
        if kept.num_rows:
            new = write_rows(
                self._folder.parent / "archive" / "cache" / table, kept, self._store.settings, label="kept"
            )
        self._archive.replace_file(table, entry, new)
        return int(mask.sum())

    def deletions(self) -> list[Deleted]:
        """What can be put back, oldest first. One whose manifest is damaged is left out and logged."""
        found = []
        for each in self._folder.iterdir() if self._folder.is_dir() else ():
            try:
                found.append(_read_manifest(each))
            except LakeError as error:
                _log.error("lake.deleted.unreadable", error=str(error))
        return sorted(found, key=lambda d: (d.created, d.id))

    def find(self, deletion: str) -> Deleted:
        """The deletion of that id. Raises LakeError LAK0025 when there is none (any more)."""
        for each in self.deletions():
            if each.id == deletion:
                return each
        raise LakeError(
            f"There is no deletion {deletion!r} that could be put back.",
            code="LAK0025",
            hint="It was put back, it was purged, or its time is over.",
        )

    def rows(self, deletion: Deleted) -> Iterator[pa.Table]:
        """The rows of a deletion, a file at a time, with their `_ItemId`."""
        for _, rows in _rows_aside(self._folder / deletion.id):
            yield _named(deletion.table, rows)

    def put_back(self, deletion: str) -> Deleted:
        """Puts the rows of a deletion back into their table. Raises LakeError LAK0025 when there is none."""
        found = self.find(deletion)
        self._settle()
        with self._store.delta_lock:
            return replace(found, rows=_put_back(self._store, self._folder / found.id))

    def expire(self) -> list[Deleted]:
        """Removes what can't be put back any more; gives it."""
        now = self._store.clock.now()
        gone = [d for d in self.deletions() if d.expires <= now]
        for deletion in gone:
            _remove(self._folder / deletion.id)
        return gone


def _named(table: str, rows: pa.Table) -> pa.Table:
    if ITEM_NUMBER not in rows.column_names:
        return rows
    return rows.drop_columns([ITEM_NUMBER]).append_column("_ItemId", item_ids(table, rows.column(ITEM_NUMBER)))


def _erase(store: Store, name: str, numbers: Numbers, aside: Path | None, manifest: Deleted | None = None) -> int:
    """Takes the rows with these numbers out of the table's files; gives how many went. The caller holds `delta_lock`.

    With `aside`, a new folder, they are kept there first. Raises LakeError LAK0005 for a file that can't be read, LAK0016 or LAK0003 when
    the disk refuses; then nothing has gone.
    """
    if aside is not None:
        assert manifest is not None
        aside.mkdir(parents=True, exist_ok=False)
        _write_manifest(aside, manifest)
    old, new, gone = without(store, name, numbers, aside)
    if old:
        swap_files(store, name, old, new, data_change=True)
    if aside is not None and not gone:
        shutil.rmtree(aside)
    _log.info("lake.erased", table=name, rows=gone, files=len(old), aside=str(aside or ""))
    return gone


def without(
    store: Store, name: str, numbers: Numbers, aside: Path | None = None
) -> tuple[list[DataFile], list[DataFile], int]:
    """The table's files that hold rows with these numbers, new files with their other rows, and how many rows are to go.

    With `aside` those rows are written there. Raises LakeError LAK0005 for a file that can't be read, LAK0016 when the disk refuses. The caller holds
    `delta_lock` and swaps the files.
    """
    numbers = np.sort(numbers)
    old: list[DataFile] = []
    new: list[DataFile] = []
    gone = 0
    for file in store.states[name].files if name in store.states else ():
        if not _among(_numbers_of(file), numbers).any():
            continue
        rows = read_files(store, name, [file])
        if rows is None:
            raise LakeError(
                f"A file of table {name} can't be read, so it isn't known whether it holds rows that are to go.",
                code="LAK0005",
                place=Place(file.path),
                hint="Restore it from a backup or set it aside with `tocsin lake verify --set-aside`. Nothing was deleted.",
            )
        mask = _among(rows.column(ITEM_NUMBER).to_numpy(), numbers)
        if aside is not None:
            write_rows(aside, rows.filter(pa.array(mask)), store.settings, label="rows")
        kept = rows.filter(pa.array(~mask))
        old.append(file)
        new += [write_rows(store.folder / name, kept, store.settings, label="kept")] if kept.num_rows else []
        gone += int(mask.sum())
    return old, new, gone


def _give_numbers(store: Store, name: str) -> int:
    """Gives numbers to rows that were stored before rows had any; gives how many got one. The caller holds `delta_lock`."""
    made = 0
    for file in store.states[name].files:
        if ITEM_NUMBER in pq.read_schema(file.path).names:
            continue
        rows = read_files(store, name, [file])
        if rows is None:
            continue
        first = store.take_numbers(name, rows.num_rows)
        numbers = pa.array(np.arange(first, first + rows.num_rows, dtype=np.int64))
        written = write_rows(
            store.folder / name, rows.append_column(ITEM_NUMBER, numbers), store.settings, label="numbered"
        )
        swap_files(store, name, [file], [written], data_change=False, items=first + rows.num_rows)
        made += rows.num_rows
    return made


def _put_back(store: Store, folder: Path) -> int:
    """Puts the rows of a deletion back into their table; gives how many. The caller holds `delta_lock`."""
    manifest = _read_manifest(folder)
    held = [_numbers_of(f) for f in store.states[manifest.table].files] if manifest.table in store.states else []
    present = np.sort(np.concatenate(held)) if held else np.empty(0, np.int64)
    new: list[DataFile] = []
    count = 0
    for _, rows in _rows_aside(folder):
        missing = rows.filter(pa.array(~_among(rows.column(ITEM_NUMBER).to_numpy(), present)))
        if missing.num_rows:
            new.append(write_rows(store.folder / manifest.table, missing, store.settings, label="back"))
            count += missing.num_rows
    if new:
        swap_files(store, manifest.table, [], new, data_change=True)
    _remove(folder)
    return count


def _rows_aside(folder: Path) -> Iterator[tuple[Path, pa.Table]]:
    """The files of a deletion with their rows."""
    for path in sorted(folder.glob("*.parquet")):
        yield path, pq.read_table(path, partitioning=None)


def _purge_deleted(store: Store, folder: Path, numbers: Numbers) -> int:
    """Takes rows out of a deletion, so that nothing can put them back; gives how many went. A deletion without rows goes as a whole."""
    numbers = np.sort(numbers)
    gone, left = 0, 0
    for path, rows in _rows_aside(folder):
        mask = _among(rows.column(ITEM_NUMBER).to_numpy(), numbers)
        if not mask.any():
            left += 1
            continue
        kept = rows.filter(pa.array(~mask))
        if kept.num_rows:
            write_rows(folder, kept, store.settings, label="rows")
            left += 1
        path.unlink()
        sync_folder(folder)
        gone += int(mask.sum())
    if not left:
        _remove(folder)
    return gone


def _remove(folder: Path) -> None:
    # The manifest last: what a crash leaves of the rest is still known as a deletion.
    for path in folder.glob("*.parquet*"):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _numbers_of(file: DataFile) -> Numbers:
    try:
        if ITEM_NUMBER not in pq.read_schema(file.path).names:
            return np.empty(0, np.int64)
        column = pq.read_table(file.path, columns=[ITEM_NUMBER], partitioning=None).column(0)
    except (OSError, pa.ArrowException) as error:
        raise LakeError(
            f"The rows' numbers can't be read: {str(error).splitlines()[0]}.", code="LAK0005", place=Place(file.path)
        ) from error
    return np.asarray(column.to_numpy(), np.int64)


def _among(values: Numbers, ordered: Numbers) -> npt.NDArray[np.bool_]:
    if not len(ordered):
        return np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[at] == values)


def _write_manifest(folder: Path, manifest: Deleted) -> None:
    write_atomically(folder / _MANIFEST, json.dumps(manifest.to_dict(), indent=1).encode())
    sync_folder(folder.parent)


def _read_manifest(folder: Path) -> Deleted:
    try:
        raw: Mapping[str, Any] = json.loads((folder / _MANIFEST).read_bytes())
        times: Sequence[datetime] = [datetime.fromisoformat(raw[n]) for n in ("created", "expires")]
        return Deleted(
            folder.name, str(raw["table"]), int(raw["rows"]), str(raw["by"]), str(raw["reason"]), times[0], times[1]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LakeError(
            f"A deletion can't be read: {error}.", code="LAK0024", place=Place(str(folder / _MANIFEST))
        ) from error
