"""Slows down guessing: counts failed sign-ins by name, address and pair, in memory and bounded.

A restart forgets the counts; a guesser who can restart the server has no need to guess.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque

from tocsin.access.errors import TooManyAttemptsError
from tocsin.access.settings import AccessSettings
from tocsin.base.clock import Clock

__all__ = ["Throttle"]

_KEYS = 20_000
_REMEMBERED = 128


class Throttle:
    """Failures by key within the window. Thread-safe."""

    def __init__(self, clock: Clock, settings: AccessSettings) -> None:
        self._clock = clock
        self._settings = settings
        self._failures: OrderedDict[tuple[str, ...], deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, name: str, address: str) -> None:
        """Raises TooManyAttemptsError while the wait after the last failure isn't over."""
        now = self._clock.monotonic()
        with self._lock:
            wait = max(self._wait(key, allowed, now) for key, allowed in self._keys(name, address))
        if wait > 0:
            seconds = math.ceil(wait)
            raise TooManyAttemptsError(
                f"Too many failed sign-ins: try again in {seconds} seconds.",
                retry_after=seconds,
                hint="An administrator can set a new password; a restart of the server ends the wait.",
            )

    def failed(self, name: str, address: str) -> None:
        """Counts a failure."""
        now = self._clock.monotonic()
        with self._lock:
            for key, _ in self._keys(name, address):
                times = self._failures.setdefault(key, deque(maxlen=_REMEMBERED))
                times.append(now)
                self._failures.move_to_end(key)
            while len(self._failures) > _KEYS:
                self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forgets the pair's failures. Those of the address stay: one known password doesn't buy tries at others."""
        with self._lock:
            self._failures.pop(("pair", name.casefold(), address), None)

    def _keys(self, name: str, address: str) -> tuple[tuple[tuple[str, ...], int], ...]:
        s = self._settings
        return (
            (("pair", name.casefold(), address), s.failures_per_pair),
            (("address", address), s.failures_per_address),
            (("name", name.casefold()), s.failures_per_name),
        )

    def _wait(self, key: tuple[str, ...], allowed: int, now: float) -> float:
        """Seconds still to wait: two after the first failure too many, then twice as long with each."""
        times = self._failures.get(key)
        if not times:
            return 0.0
        window = self._settings.failure_window.total_seconds()
        while times and times[0] < now - window:
            times.popleft()
        over = len(times) - allowed
        if over < 0:
            return 0.0
        longest = self._settings.longest_wait.total_seconds()
        return min(2.0 ** min(over + 1, 30), longest) - (now - times[-1])
