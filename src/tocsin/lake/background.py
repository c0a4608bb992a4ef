"""What a lake does by itself: rolls when fresh rows are many or old, sweeps, retains, indexes, archives."""

from __future__ import annotations

import threading
import time
from typing import Protocol

import structlog

from tocsin.base.errors import LakeError
from tocsin.lake import maintain
from tocsin.lake.settings import LakeSettings
from tocsin.lake.store import Store

__all__ = ["Background"]

_log = structlog.get_logger("tocsin.lake")
_SWEEP_SECONDS = 300.0


class Work(Protocol):
    """What of a lake the threads call."""

    @property
    def settings(self) -> LakeSettings: ...

    @property
    def oldest(self) -> float | None:
        """When the oldest fresh row came, on the monotonic clock; None where there is none."""

    @property
    def needs_recovery(self) -> bool: ...

    def roll(self) -> None: ...

    def sweep(self) -> int: ...

    def retain(self) -> object: ...

    def move_to_archive(self) -> object: ...


class Background:
    """The threads of one lake."""

    def __init__(self, lake: Work, store: Store, stopping: threading.Event, *, archive: bool) -> None:
        """`archive` starts a second thread: a slow network mustn't hold up rolls."""
        self._lake = lake
        self._store = store
        self._stopping = stopping
        self._threads = [threading.Thread(target=self._run, name="lake-roll", daemon=True)]
        if archive:
            self._threads.append(threading.Thread(target=self._archive, name="lake-archive", daemon=True))

    def start(self) -> None:
        """Begins."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Waits for the end; `stopping` is set."""
        with self._store.condition:
            self._store.condition.notify_all()
        for thread in self._threads:
            thread.join()

    def _archive(self) -> None:
        while not self._stopping.wait(_SWEEP_SECONDS):
            try:
                self._lake.move_to_archive()
            except LakeError as error:
                self._store.problem(error)
            except Exception:
                _log.exception("lake.archive.crashed")

    def _run(self) -> None:
        lake, store, settings = self._lake, self._store, self._lake.settings
        next_sweep = time.monotonic() + _SWEEP_SECONDS
        retry = 0.0
        unindexed = True
        while not self._stopping.is_set():
            with store.condition:
                now = time.monotonic()
                due = next_sweep
                oldest = lake.oldest  # read once: another thread may roll meanwhile
                if oldest is not None:
                    full = store.hot_bytes >= min(settings.roll_bytes, settings.hot_bytes)
                    due = min(due, max(retry, now if full else oldest + settings.roll_seconds))
                if due > now and not unindexed:
                    store.condition.wait(due - now)
                    continue
            try:
                if due > now:
                    unindexed = maintain.index(store) > 0
                    continue
                unindexed = True
                if now >= next_sweep:
                    next_sweep = now + _SWEEP_SECONDS
                    lake.sweep()
                    lake.retain()
                elif not lake.needs_recovery:
                    lake.roll()
                    retry = 0.0
                else:
                    retry = now + 1.0  # recover() rolls by itself
            except LakeError as error:
                retry = time.monotonic() + 5.0
                _log.error("lake.roll.failed", error=str(error))
            except Exception:
                # The thread must live: without it memory fills and intake stops.
                retry = time.monotonic() + 30.0
                _log.exception("lake.roll.crashed")
