"""The databases of an engine: the one that all queries share, and small ones for queries that may take only so much memory or disk."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from tocsin.base.errors import QueryError
from tocsin.base.priority import yield_to_others
from tocsin.lake.engine.connection import Database
from tocsin.lake.settings import EngineSettings

__all__ = ["Databases"]

_KEPT = 4
"""Small databases without a query that are kept for the next one; making one takes about as long as a small query."""


class Databases:
    """Makes databases when they are needed and gives each query the right one.

    DuckDB knows limits of memory and of spilling only for a whole database, so a query with limits of its own gets a database of its own.
    Those that run at the same time never take more memory together than the shared one may: others wait.
    """

    def __init__(self, settings: EngineSettings, *, folders: Sequence[Path], spill: Path | None) -> None:
        self._settings = settings
        self._folders = folders
        self._spill = spill
        self._condition = threading.Condition()
        self._main: Database | None = None
        self._idle: list[tuple[tuple[int, int], Database]] = []
        self._places: dict[int, Path] = {}
        self._taken = 0
        self._numbers = count(1)

    def main(self) -> Database:
        """The database that queries share."""
        with self._condition:
            if self._main is None:
                self._main = self._yielding(lambda: Database(self._settings, folders=self._folders, spill=self._spill))
            return self._main

    def _yielding(self, make: Callable[[], Database]) -> Database:
        """Makes a database in a thread that yields to others: its own threads, which do most of a query's work, inherit that."""
        made: list[Database] = []
        failed: list[BaseException] = []

        def work() -> None:
            yield_to_others(self._settings.niceness)
            try:
                made.append(make())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work, name="query-database")
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]

    @contextmanager
    def lease(self, memory: int | None, spill: int | None, wait: float) -> Iterator[Database]:
        """The database for one query: the shared one, or for `memory` and `spill` bytes one of its own for as long as the block runs.

        Raises QueryError QRY0008 when so many limited queries run that none fits in within `wait` seconds.
        """
        most = self._settings.memory_bytes
        if (memory is None or memory >= most) and (spill is None or spill >= self._settings.spill_bytes):
            yield self.main()
            return
        size = min(memory or most, most)
        key = (size, 0 if self._spill is None else self._settings.spill_bytes if spill is None else spill)
        self._take(size, wait)
        found: Database | None = None
        try:
            found = self._idle_one(key) or self._make(key)
            yield found
        finally:
            self._give_back(key, size, found)

    def _take(self, size: int, wait: float) -> None:
        deadline = time.monotonic() + wait
        with self._condition:
            while self._taken + size > self._settings.memory_bytes:
                left = deadline - time.monotonic()
                if left <= 0 or not self._condition.wait(left):
                    raise QueryError(
                        f"Queries with a memory limit of their own took all of engine.memory_bytes for {wait:g} s.",
                        code="QRY0008",
                        hint="Try again, or raise engine.memory_bytes.",
                    )
            self._taken += size

    def _idle_one(self, key: tuple[int, int]) -> Database | None:
        with self._condition:
            for index, (other, database) in enumerate(self._idle):
                if other == key:
                    del self._idle[index]
                    return database
        return None

    def _make(self, key: tuple[int, int]) -> Database:
        memory, spill = key
        place = None
        if self._spill is not None and spill > 0:
            # A folder of its own: databases that share one overwrite each other's files.
            place = self._spill / f"limited-{next(self._numbers)}"
        made = self._yielding(
            lambda: Database(
                self._settings,
                folders=self._folders,
                memory_bytes=memory,
                spill=place,
                spill_bytes=spill,
                connections=1,
            )
        )
        if place is not None:
            with self._condition:
                self._places[id(made)] = place
        return made

    def _give_back(self, key: tuple[int, int], size: int, database: Database | None) -> None:
        gone: list[Database] = []
        with self._condition:
            self._taken -= size
            if database is not None:
                if database.broken:
                    gone.append(database)
                else:
                    self._idle.append((key, database))
            while len(self._idle) > _KEPT:
                gone.append(self._idle.pop(0)[1])
            self._condition.notify_all()
        for old in gone:
            self._close(old)

    def _close(self, database: Database) -> None:
        with self._condition:
            place = self._places.pop(id(database), None)
        with suppress(Exception):  # a broken database may refuse even that
            database.close()
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)

    def broke(self, database: Database) -> None:
        """Lets go of a database that a fatal error has made useless; the next query makes a new one."""
        with self._condition:
            database.broken = True
            if database is self._main:
                self._main = None

    def close(self) -> None:
        """Closes all of them."""
        with self._condition:
            opened = [*([self._main] if self._main else []), *(d for _, d in self._idle)]
            self._main, self._idle = None, []
        for database in opened:
            self._close(database)
