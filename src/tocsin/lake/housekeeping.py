"""What keeps the lake in order: merging, term filters, retention, the archive, holds, damaged and forgotten files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from tocsin.base.clock import Clock
from tocsin.lake import maintain
from tocsin.lake.archive import Archive, Moved
from tocsin.lake.erase import Erasures
from tocsin.lake.pins import Pins
from tocsin.lake.retention import Book, Deletion, read_book, write_book
from tocsin.lake.settings import LakeSettings, RetentionSettings, TableRetention
from tocsin.lake.snapshot import DataFile
from tocsin.lake.store import Store

__all__ = ["Housekeeping"]


class Housekeeping(ABC):
    """The part of `Lake` that its background threads, settings and people ask; safe to use from many threads."""

    settings: LakeSettings
    on_deleted: Callable[[Deletion], None]
    on_archived: Callable[[Moved], None]
    pins: Pins
    archive: Archive
    erasures: Erasures
    _store: Store
    _book: Path
    _clock: Clock

    @abstractmethod
    def _require_open(self) -> None:
        """Raises LakeError LAK0001 for a lake that is open read-only or closed."""

    def delete_before(self, table: str, moment: datetime) -> int:
        """Retention: deletes a table's committed rows whose TimeGenerated is earlier; gives how many went."""
        self._require_open()
        with self._store.delta_lock:
            if table not in self._store.states:
                return 0
            return maintain.delete_before(self._store, table, moment)

    def compact(self, table: str) -> int:
        """Merges a table's small files; gives how many files fewer there are. The background thread does it by itself."""
        self._require_open()
        with self._store.delta_lock:
            return maintain.compact(self._store, table, at_least=2) if table in self._store.states else 0

    def index(self) -> int:
        """Makes every term filter that is missing; gives how many. The background thread does it by itself, a file at a time."""
        self._require_open()
        return maintain.index(self._store, at_most=1 << 30)

    def retain(self) -> list[Deletion]:
        """Deletes what the settings of retention no longer keep (see `tocsin.lake.retention`); the background thread does it by itself.

        What went is told to `on_deleted`. Raises LakeError LAK0020 when the book of retention is damaged.
        """
        self._require_open()
        for done in self.erasures.expire():
            self.on_deleted(Deletion(done.table, done.rows, 0, f"deletion {done.id} can't be put back any more"))
        pins = cache(self.pins)  # once a run, and only when something is about to go
        with self._store.delta_lock:
            found = maintain.retain(self._store, self._book, pins)
        book = read_book(self._book)
        if self.archive.configured and not book.hold:
            found += self.archive.expire(self._clock.now(), dict(book.days), pins)
        for deletion in found:
            self.on_deleted(deletion)
        return found

    def move_to_archive(self) -> list[Moved]:
        """Moves rows that are old enough to the archive; gives what moved. A background thread does it by itself."""
        self._require_open()
        if read_book(self._book).hold:
            return []
        moved = self.archive.move(self._clock.now(), cache(self.pins))
        for each in moved:
            self.on_archived(each)
        self.archive.tidy()
        return moved

    @property
    def held(self) -> str:
        """Why nothing may be deleted; "" where there is no hold. Raises LakeError LAK0020 when the book of retention is damaged."""
        return read_book(self._book).hold

    def hold(self, reason: str) -> None:
        """Stops (with a reason) or allows again (with "") all deletion by retention, until told otherwise."""
        self._require_open()
        with self._store.delta_lock:
            write_book(self._book, replace(read_book(self._book), hold=reason))

    @property
    def retention(self) -> RetentionSettings:
        """How long rows stay: the settings, with what people set for single tables."""
        return self._store.retention

    @property
    def book(self) -> Book:
        """What the lake remembers of retention. Raises LakeError LAK0020 when it is damaged."""
        return read_book(self._book)

    def keep(self, table: str, terms: TableRetention | None) -> Book:
        """Sets how long a table's rows stay, in place of the settings; None lets the settings hold again. Gives the book as it is then.

        Days that become fewer wait for `retention.undo_days`, as those of the settings do; sizes, the archive and the tier take effect at once.
        """
        self._require_open()
        with self._store.delta_lock:
            book = read_book(self._book)
            settings, now = self.settings.retention, self._clock.now()
            undo = timedelta(days=settings.undo_days)
            # What holds until now must be known, or fewer days would hold at once.
            _, book = book.in_force(table, book.wanted(settings).days_of(table), now, undo)
            own = {t: o for t, o in book.own.items() if t != table}
            book = replace(book, own=own if terms is None else {**own, table: terms})
            _, book = book.in_force(table, book.wanted(settings).days_of(table), now, undo)
            write_book(self._book, book)
            self._store.retention = book.wanted(settings)
        return book

    def set_aside(self, table: str, files: Sequence[DataFile]) -> list[Path]:
        """Takes damaged files out of a table and keeps them in the folder ``damaged``; gives where they are now."""
        self._require_open()
        with self._store.delta_lock:
            return maintain.set_aside(self._store, table, files)

    def sweep(self) -> int:
        """Deletes files that no table lists and that are older than `orphan_seconds`; gives how many went."""
        self._require_open()
        with self._store.delta_lock:
            return maintain.sweep(self._store)
