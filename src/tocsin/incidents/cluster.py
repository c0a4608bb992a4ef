"""What an incident holds, as correlation sees it: each key with the moments at which it was seen. And how often things are seen in company.

Everything here grows by an alert in time that doesn't depend on how many alerts there are already.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum

from tocsin.incidents.model import Incident
from tocsin.incidents.signature import Signature, Thing
from tocsin.tables.entities import EntityKey

__all__ = ["Cluster", "Company", "Moments", "Worth", "nearest"]


class Worth(IntEnum):
    """How much an alert says of where it happened: a High one most, one of a noisy rule least."""

    HIGH = 0
    PLAIN = 1
    LOW = 2
    NOISY = 3


class Moments:
    """The moments at which a cluster saw a key, by how much the alerts that tell of it are worth (see `Worth`)."""

    __slots__ = ("by_worth",)

    def __init__(self) -> None:
        self.by_worth: dict[Worth, list[float]] = {}

    def add(self, points: Iterable[float], worth: Worth) -> None:
        """Takes in an alert's moments."""
        kept = self.by_worth.setdefault(worth, [])
        for point in points:
            if not kept or point > kept[-1]:
                kept.append(point)  # alerts come mostly in the order of time
            elif kept[bisect_left(kept, point)] != point:
                insort(kept, point)

    def merge(self, other: Moments) -> None:
        """Takes in another's moments."""
        for worth, moments in other.by_worth.items():
            mine = self.by_worth.get(worth)
            self.by_worth[worth] = sorted({*mine, *moments}) if mine else moments


def nearest(one: list[float], other: list[float]) -> float:
    """Seconds between the two moments that lie closest."""
    if len(one) > len(other):
        one, other = other, one
    best = float("inf")
    for point in one:
        at = bisect_left(other, point)
        if at < len(other):
            best = min(best, other[at] - point)
        if at:
            best = min(best, point - other[at - 1])
        if best == 0:
            break
    return best


@dataclass(slots=True)
class Cluster:
    """An incident's side of correlation."""

    incident: Incident
    keys: dict[EntityKey, Moments] = field(default_factory=dict)
    things: dict[EntityKey, Thing] = field(default_factory=dict)
    tactics: set[int] = field(default_factory=set)
    rules: set[str] = field(default_factory=set)
    named: set[Thing] = field(default_factory=set)
    members: list[Signature] = field(default_factory=list)
    last: float = 0.0
    joinable: bool = True
    signals: int = 0
    opens: bool = False

    def add(self, alert: Signature, worth: Worth) -> None:
        """Takes in an alert."""
        self.members.append(alert)
        for key, thing in alert.things.items():
            moments = self.keys.get(key)
            if moments is None:
                moments = self.keys[key] = Moments()
                self.things[key] = thing
            moments.add(alert.points, worth)
            self.named.add(thing)
        self._facts(alert)

    def absorb(self, other: Cluster) -> None:
        """Takes in all of another."""
        for key, moments in other.keys.items():
            mine = self.keys.get(key)
            if mine is None:
                self.keys[key], self.things[key] = moments, other.things[key]
            else:
                mine.merge(moments)
        self.named |= other.named
        self.members.extend(other.members)
        self.tactics |= other.tactics
        self.rules |= other.rules
        self.last = max(self.last, other.last)
        self.joinable = self.joinable and other.joinable
        self.signals += other.signals
        self.opens = self.opens or other.opens

    def shared(self, other: Cluster) -> Iterator[EntityKey]:
        """The keys that both hold."""
        small, big = (self.keys, other.keys) if len(self.keys) <= len(other.keys) else (other.keys, self.keys)
        return (key for key in small if key in big)

    @property
    def last_time(self) -> datetime:
        """When its last event was."""
        return datetime.fromtimestamp(self.last, UTC)

    def _facts(self, alert: Signature) -> None:
        self.tactics |= alert.tactics
        self.rules.add(alert.rule)
        self.last = max(self.last, alert.points[-1])
        self.joinable = self.joinable and alert.correlate
        self.signals += alert.rank > 0
        self.opens = self.opens or alert.opens


class Company:
    """In whose company things were seen lately: hosts with accounts, everything else with hosts. At most `most` companions are kept of a thing.

    A thing's *degree* is how many companions it has: a domain controller, a proxy or a scanner has many, a workstation and its user few. For
    rules the
    same: on how many hosts they fired.
    """

    __slots__ = ("_seen", "most", "window")

    def __init__(self, window: float, most: int = 64) -> None:
        self.window, self.most = window, most
        self._seen: dict[EntityKey, dict[str, tuple[float, float]]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, key: EntityKey, companions: Iterable[str], now: float) -> None:
        """They were seen together at that time."""
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = {}
        for companion in companions:
            span = seen.get(companion)
            if span is not None:
                seen[companion] = (min(span[0], now), max(span[1], now))
                continue
            if len(seen) >= self.most:
                oldest = min(seen, key=lambda c: (seen[c][1], c))
                if seen[oldest][1] >= now:
                    continue
                del seen[oldest]
            seen[companion] = (now, now)

    def degree(self, key: EntityKey, now: float, *, before: float | None = None) -> int:
        """How many companions it has had in the window that ends now; with `before`, only those that it had before that moment."""
        seen = self._seen.get(key)
        if not seen:
            return 0
        since = now - self.window
        return sum(last >= since and (before is None or first < before) for first, last in seen.values())

    def forget(self, now: float) -> None:
        """Drops what lies before the window."""
        since = now - self.window
        for key in [k for k, seen in self._seen.items() if all(last < since for _, last in seen.values())]:
            del self._seen[key]
