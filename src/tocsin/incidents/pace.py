"""How long it takes until alerts are joined and durable, and what made it long: told in the log, in TocsinHealth and to Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from tocsin.base.memory import collector_seconds

__all__ = ["PARTS", "Pace", "Slow"]

_log = structlog.get_logger("tocsin.incidents")

PARTS = ("waiting", "joining", "writing", "garbage")
"""What the time goes to: others had the desk or the database, correlation itself, the transaction, the collection of garbage in any of these."""

_SLOW = 0.25
_EACH = 0.02
"""A filing is slow that takes longer than the first, in seconds, and longer than the second for each of its alerts."""


@dataclass(frozen=True, slots=True)
class Slow:
    """A slow filing: of how many alerts, how long it took, by parts and in all, and which part took most."""

    alerts: int
    seconds: float
    cause: str
    parts: dict[str, float]


@dataclass(slots=True)
class Pace:
    """Counts filings since the start. Only who has the desk's lock counts."""

    alerts: int = 0
    filings: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    slow: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    told: Callable[[Slow], None] = lambda _slow: None
    """Is told of each slow filing, after it."""

    @contextmanager
    def filing(self, lock: AbstractContextManager[Any], alerts: int) -> Iterator[Filing]:
        """Takes the lock and counts what is done while it has it."""
        began = time.perf_counter()
        with lock:
            made = Filing(time.perf_counter() - began)
            collected = collector_seconds()
            yield made
            garbage = min(collector_seconds() - collected, made.joining + made.writing)
            took = {"waiting": made.waiting, "joining": made.joining, "writing": made.writing, "garbage": garbage}
            largest = "joining" if made.joining >= made.writing else "writing"
            took[largest] = max(0.0, took[largest] - garbage)
            self.alerts, self.filings = self.alerts + alerts, self.filings + 1
            for name, part in took.items():
                self.seconds[name] += part
            total = sum(took.values())
            cause = max(took, key=took.__getitem__)
            is_slow = total > max(_SLOW, _EACH * alerts)
            self.slow[cause] += is_slow
        if is_slow:
            slow = Slow(alerts, total, cause, took)
            said = {name: round(part, 3) for name, part in took.items()}
            _log.warning("correlation.slow", alerts=alerts, seconds=round(total, 3), cause=cause, **said)
            self.told(slow)


@dataclass(slots=True)
class Filing:
    """One filing as it goes on."""

    waiting: float
    joining: float = 0.0
    writing: float = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts the time inside to a part."""
        began = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + time.perf_counter() - began)
