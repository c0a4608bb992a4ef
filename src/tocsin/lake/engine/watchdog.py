"""Ends queries that run too long or that nobody wants any more.

One thread watches all running queries: it sleeps until the nearest deadline, and looks at cancel events every 30 ms while
there is a query that has one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Watch", "Watchdog"]

_POLL_SECONDS = 0.03


@dataclass(slots=True, eq=False)
class Watch:
    """One running query. `reason` is "time" or "cancel" once it has been interrupted."""

    interrupt: Callable[[], None]
    deadline: float | None
    cancel: threading.Event | None
    reason: str = ""
    done: bool = field(default=False)


class Watchdog:
    """The watching thread, a daemon. It starts at once: a thread inherits the niceness of the one that starts it, and queries' threads are nice."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._watches: set[Watch] = set()
        self._closed = False
        self._wake_at = float("inf")
        self._thread = threading.Thread(target=self._run, name="query-watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def watching(
        self, interrupt: Callable[[], None], seconds: float | None, cancel: threading.Event | None
    ) -> Iterator[Watch]:
        """Calls `interrupt` when `seconds` have passed or `cancel` is set while the block runs."""
        watch = Watch(interrupt, None if seconds is None else time.monotonic() + seconds, cancel)
        if seconds is None and cancel is None:
            yield watch
            return
        with self._condition:
            self._watches.add(watch)
            if cancel is not None or (watch.deadline or 0) < self._wake_at:
                self._condition.notify()
        try:
            yield watch
        finally:
            with self._condition:
                # After this no interrupt can hit the connection's next query.
                watch.done = True
                self._watches.discard(watch)

    def _run(self) -> None:
        with self._condition:
            while not self._closed:
                now = time.monotonic()
                wake = float("inf")
                for watch in self._watches:
                    if watch.cancel is not None and watch.cancel.is_set():
                        watch.reason = watch.reason or "cancel"
                    elif watch.deadline is not None and now >= watch.deadline:
                        watch.reason = watch.reason or "time"
                    if watch.reason:
                        # Again and again until it ends: an interrupt before the execution has begun is lost.
                        watch.interrupt()
                        wake = min(wake, now + _POLL_SECONDS)
                    elif watch.cancel is not None:
                        wake = min(wake, now + _POLL_SECONDS)
                    elif watch.deadline is not None:
                        wake = min(wake, watch.deadline)
                self._wake_at = wake
                self._condition.wait(None if wake == float("inf") else max(0.0, wake - now))

    def close(self) -> None:
        """Stops the thread."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(timeout=1.0)
