"""How often things are seen in company: what tells a domain controller from a workstation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tocsin.incidents.signature import HOUR
from tocsin.tables.entities import EntityKey

__all__ = ["Company"]

_TOGETHER = 1_000
"""So many things at most are forgotten at once: what a quiet week left is let go of bit by bit."""

_FEW_COMPANIONS = 8
"""Of a thing that comes to have so many companions, twice as many and so on, those of long ago are let go of."""
_LATE = 24 * HOUR
"""So long a companion is kept beyond the window, for alerts that come late."""
_MACHINE = "hostname"
"""The kind of key under which each machine is known once."""


class Company:
    """In whose company things were seen lately: hosts with accounts, everything else with hosts. At most `most` companions are kept of a thing.

    A thing's *degree* is how many companions it has: a domain controller, a proxy or a scanner has many, a workstation and its user few. For
    rules the
    same: on how many hosts they fired.
    """

    __slots__ = ("_machines", "_seen", "changes", "most", "window")

    def __init__(self, window: float, most: int = 64) -> None:
        self.window, self.most = window, most
        self.changes = 0
        """Grows whenever a degree may have changed."""
        self._machines: Counter[int] = Counter()
        """How many machines have so many companions."""
        self._seen: dict[EntityKey, _Span | dict[str, _Span]] = {}
        """By thing, the one that was touched longest ago first: its only companion, or all by name."""

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, key: EntityKey, companions: frozenset[str], now: float) -> None:
        """They were seen together at that time."""
        if not companions:
            return
        self.changes += 1
        if key[0] != _MACHINE:
            self._note(key, companions, now)
            return
        self._machines[self._size(key)] -= 1
        self._note(key, companions, now)
        self._machines[self._size(key)] += 1

    def _size(self, key: EntityKey) -> int:
        seen = self._seen.get(key)
        return 1 if isinstance(seen, tuple) else len(seen or ())

    def _note(self, key: EntityKey, companions: frozenset[str], now: float) -> None:
        seen = self._seen.pop(key, None)
        if seen is None and len(companions) == 1:
            self._seen[key] = (now, next(iter(companions)), now)
            return
        if isinstance(seen, tuple):
            last, name, first = seen
            if companions == {name}:
                self._seen[key] = (max(last, now), name, min(first, now))
                return
            seen = {name: seen}
        seen = seen or {}
        for companion in sorted(companions):
            span = seen.get(companion)
            if span is not None:
                seen[companion] = (max(span[0], now), companion, min(span[2], now))
                continue
            if _FEW_COMPANIONS <= len(seen) < self.most and len(seen) & (len(seen) - 1) == 0:
                # Those of long ago count for nothing any more: what is seen daily would keep all that it ever met.
                since = now - self.window - _LATE
                seen = {name: span for name, span in seen.items() if span[0] >= since}
            if len(seen) >= self.most:
                last, oldest, _ = min(seen.values())
                if last >= now:
                    continue
                del seen[oldest]
            seen[companion] = (now, companion, now)
        self._seen[key] = seen

    def degree(
        self,
        key: EntityKey,
        now: float,
        *,
        but: tuple[float, float] | None = None,
        known: frozenset[str] = frozenset(),
        among: Callable[[str], bool] | None = None,
    ) -> int:
        """How many companions it has had in the window that ends now; without those that it met first between the two moments of `but`, without
        those that are `known`, and with `among` only such of them."""
        seen = self._seen.get(key)
        if not seen:
            return 0
        since = now - self.window
        spans: Iterable[_Span] = (seen,) if isinstance(seen, tuple) else seen.values()
        if among is not None:
            spans = [span for span in spans if among(span[1])]
        if but is None:
            return len([1 for last, _, _ in spans if last >= since])
        start, end = but
        return len([1 for last, c, first in spans if last >= since and not start <= first <= end and c not in known])

    def exceeds(self, key: EntityKey, most: int, now: float, *, before: float) -> bool:
        """Whether `degree` is greater than that: it counts no further."""
        seen = self._seen.get(key)
        if not seen:
            return False
        since = now - self.window
        for last, _, first in (seen,) if isinstance(seen, tuple) else seen.values():
            if last >= since and first < before:
                most -= 1
                if most < 0:
                    return True
        return False

    def met(self, key: EntityKey, now: float, *, until: float) -> frozenset[str]:
        """Which companions it has had in the window, of those that it met first until that moment; none where it has had only one ever."""
        seen = self._seen.get(key)
        if not seen or isinstance(seen, tuple):
            return frozenset()
        since = now - self.window
        return frozenset(c for last, c, first in seen.values() if last >= since and first <= until)

    @property
    def usual(self) -> int:
        """How many companions a machine has that half of them don't exceed."""
        left = (sum(self._machines.values()) - self._machines[0] + 1) // 2
        for many in range(1, self.most + 1):
            left -= self._machines[many]
            if left <= 0:
                return many
        return self.most

    def entries(self) -> dict[EntityKey, Any]:
        """All that it knows, for `restore`: by thing its only companion, or a mapping of them that goes on to change."""
        return self._seen.copy()

    def restore(self, entries: Iterable[tuple[EntityKey, Any]]) -> None:
        """Knows that again: by thing its only companion, or all of them one after the other."""
        for key, seen in entries:
            self._seen[key] = seen if not isinstance(seen[0], tuple) else {span[1]: span for span in seen}
            if key[0] == _MACHINE:
                self._machines[self._size(key)] += 1
        self.changes += 1

    def forget(self, now: float) -> None:
        """Drops what lies before the window, not all at once."""
        since = now - self.window
        gone: list[EntityKey] = []
        for key, seen in self._seen.items():
            last = seen[0] if isinstance(seen, tuple) else max(seen.values())[0]
            if last >= since or len(gone) >= _TOGETHER:
                break
            gone.append(key)
        for key in gone:
            if key[0] == _MACHINE:
                self._machines[self._size(key)] -= 1
            del self._seen[key]
        self.changes += len(gone)


_Span = tuple[float, str, float]
"""When a companion was last seen, its name, when it was first seen: the least of several is the one to let go of."""
