"""Time as an argument. No other module asks the operating system for the time of day.

A two-year-old attack replays exactly as it would have run live because everything takes a `Clock`.
All instants are timezone-aware UTC `datetime`s; durations are `timedelta`s.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> datetime:
        """The current instant, UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back. For durations."""

    async def sleep(self, seconds: float) -> None:
        """Waits for that long on this clock."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands still until moved: for replays and tests."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock needs a timezone-aware start")
        self._now = start.astimezone(UTC)
        self._elapsed = 0.0

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self._now

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._elapsed

    def advance(self, by: timedelta) -> None:
        """Moves the clock forward."""
        if by < timedelta(0):
            raise ValueError("time does not go back")
        self._now += by
        self._elapsed += by.total_seconds()

    def set(self, to: datetime) -> None:
        """Moves the clock forward to an instant; an earlier one is refused."""
        self.advance(to - self._now)

    async def sleep(self, seconds: float) -> None:
        """Advances the clock at once and lets other tasks run."""
        self.advance(timedelta(seconds=seconds))
        await asyncio.sleep(0)
