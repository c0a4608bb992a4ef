"""What each source has sent since the start, and what was refused of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import datetime

__all__ = ["SourceState", "SourceStates"]

_MOST = 2_000
_WHY = 300


@dataclass(slots=True)
class SourceState:
    """What one source has sent since the start. `state` is ok, failing or listening."""

    name: str
    kind: str
    address: str = ""
    state: str = "ok"
    events: int = 0
    bytes: int = 0
    errors: int = 0
    last_event: datetime | None = None
    refused: int = 0
    """How many of the errors are requests or connections that weren't taken."""
    why: str = ""
    """What was wrong with the last of them."""


class SourceStates:
    """The sources by kind and name; above 2,000 the rest of a kind are one. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], SourceState] = {}

    def listed(self) -> list[SourceState]:
        """Every source that has sent something or listens, by kind and name: copies."""
        with self._lock:
            return sorted((replace(s) for s in self._known.values()), key=lambda s: (s.kind, s.name))

    def listening(self, kind: str, name: str, address: str, state: str) -> SourceState:
        """Notes a receiver before anything came."""
        with self._lock:
            found = self._of(kind, name)
            found.address, found.state = address, state
            return found

    def heard(self, kind: str, name: str) -> None:
        """Notes a source that is there."""
        with self._lock:
            self._of(kind, name)

    def took(self, kind: str, name: str, at: datetime, events: int, size: int, errors: int) -> None:
        """Counts what came of a source at an instant."""
        with self._lock:
            state = self._of(kind, name)
            state.events += events
            state.bytes += size
            state.errors += errors
            state.last_event = at

    def refused(self, kind: str, name: str, why: str) -> None:
        """Counts a request or connection that wasn't taken, and why."""
        with self._lock:
            state = self._of(kind, name)
            state.errors += 1
            state.refused += 1
            state.why = why[:_WHY] or state.why

    def _of(self, kind: str, name: str) -> SourceState:
        found = self._known.get((kind, name))
        if found is None:
            if len(self._known) >= _MOST:
                name = "(others)"
            found = self._known.setdefault((kind, name), SourceState(name, kind))
        return found
