"""What a sender of the kill test is: its promise, its progress, and the gate that keeps all senders in the same stretch of the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["EPOCH", "Gate", "Promise", "Sender"]

EPOCH = 1_714_557_600
"""The first event's time, in seconds."""


@dataclass(frozen=True)
class Promise:
    """What a protocol lets its sender and its receiver know."""

    told: bool = True
    """The sender learns what was taken; without it nothing can be promised for what was on its way."""
    once: bool = True
    """Something names a request or an event, so that a repetition can be told."""


class Gate:
    """Opens the run stretch by stretch, so that no sender is done before the last kill."""

    def __init__(self) -> None:
        self._open = 0.0
        self._changed = threading.Condition()

    def open(self, share: float) -> None:
        """Lets everybody go on to that share of their events."""
        with self._changed:
            self._open = share
            self._changed.notify_all()

    def wait(self, share: float) -> None:
        """Waits until that share may be sent."""
        with self._changed:
            self._changed.wait_for(lambda: share < self._open)


@dataclass
class Sender:
    """One protocol's progress."""

    name: str
    how: str
    promise: Promise
    work: Callable[[Sender], None] = field(repr=False)
    total: int
    gate: Gate = field(repr=False)
    acknowledged: int = 0
    """For shippers that don't tell: handed over to them."""
    repeats: int | None = 0
    """Requests that were sent again; None when the shipper doesn't say."""
    failed: str = ""
    thread: threading.Thread | None = field(default=None, repr=False)

    def batches(self, size: int = 50) -> Iterator[list[dict[str, Any]]]:
        """The events, as the gate lets them go."""
        for first in range(0, self.total, size):
            self.gate.wait(first / self.total)
            yield [{"p": self.name, "n": n} for n in range(first, min(first + size, self.total))]
