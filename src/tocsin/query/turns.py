"""Whose turn it is: how many queries of people run at the same time, so that neither intake nor rules starve."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tocsin.base.errors import QueryError

__all__ = ["Turns"]

_LOOK = 0.1
"""Seconds between looks whether who waits has gone away."""


class Turns:
    """Counts running queries, of everybody and of each person. Safe to use from many threads."""

    def __init__(self, total: int, wait: float) -> None:
        self._total = total
        self._wait = wait
        self._condition = threading.Condition()
        self._running: Counter[str] = Counter()

    @contextmanager
    def turn(self, person: str, most: int, setting: str, cancel: threading.Event) -> Iterator[None]:
        """Holds a turn while the block runs.

        Args:
            person: who asks.
            most: how many that person may hold; `setting` is the name of the setting that says so.
            cancel: ends the wait when set.

        Raises:
            QueryError: QRY0013 none came free in time, QRY0003 cancelled meanwhile.
        """
        deadline = time.monotonic() + self._wait
        with self._condition:
            while self._running.total() >= self._total or self._running[person] >= most:
                if cancel.is_set():
                    raise QueryError("The query was cancelled.", code="QRY0003")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._refused(person, most, setting)
                self._condition.wait(min(left, _LOOK))
            self._running[person] += 1
        try:
            yield
        finally:
            with self._condition:
                self._running[person] -= 1
                if self._running[person] <= 0:
                    del self._running[person]
                self._condition.notify_all()

    def _refused(self, person: str, most: int, setting: str) -> QueryError:
        if self._running[person] >= most:
            which = f"{person} runs {most} queries already, the most at the same time ({setting} = {most})"
        else:
            which = f"{self._total} queries run already, the most at the same time (query.concurrent = {self._total})"
        return QueryError(
            f"{which}; none ended within {self._wait:g} s (query.queue_seconds).",
            code="QRY0013",
            hint="Try again in a while, or cancel one of them.",
        )
