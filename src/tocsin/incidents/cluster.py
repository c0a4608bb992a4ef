"""What an incident holds, as correlation sees it: each key with the moments at which it was seen.

Everything here grows by an alert in time that doesn't depend on how many alerts there are already.
"""

from __future__ import annotations

import pickle
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any, TypeVar

import msgpack

from tocsin.incidents.model import Incident
from tocsin.incidents.signature import Signature, Thing
from tocsin.tables.aliases import Alias
from tocsin.tables.entities import EntityKey

_T = TypeVar("_T", int, str)

_MANY = 64
_WORTH_BITS = 2
_WORTH = (1 << _WORTH_BITS) - 1
_MOST_OWNERS = 16

__all__ = [
    "Cluster",
    "Moments",
    "Outline",
    "Reader",
    "Resting",
    "Worth",
    "last_of",
    "nearest",
    "outline",
    "owners_of",
    "parts_of",
    "told",
    "worth_of",
]


_NO_ALIASES: Mapping[EntityKey, Alias] = {}

Resting = tuple[str, float, float, bool, tuple[EntityKey, ...], tuple[str, ...], tuple[Any, ...]]
"""A cluster at rest: its id, its first and last moment, whether it may be joined, its keys, its alerts' ids, and the rest of it.
Tuples of plain values and of such tuples, because Python's collection of garbage looks at those once and never again."""


Outline = tuple[float, float, bool, Iterable[EntityKey], tuple[int, tuple[float, ...]] | None, int]
"""What one looks at first: when the first and the last event were, whether anything may join it, its keys, `Cluster.only`, and of how many hosts and
accounts it is."""

Reader = Callable[[str], Incident]
"""Gives the incident of an id from where it is kept."""


class Worth(IntEnum):
    """How much an alert says of where it happened: a High one most, one of a noisy rule least."""

    HIGH = 0
    PLAIN = 1
    LOW = 2
    NOISY = 3


def told(worth: int, owners: int) -> int:
    """What moments are kept by: how much their alerts are worth, and which accounts they name (`Signature.owners`)."""
    return int(worth) | owners << _WORTH_BITS


def worth_of(said: int) -> int:
    """The worth in what `told` made."""
    return said & _WORTH


def owners_of(said: int) -> int:
    """The accounts in what `told` made."""
    return said >> _WORTH_BITS


class Moments:
    """The moments at which a cluster saw a key, by how much the alerts that tell of it are worth and whom they name (see `told`).

    The keys of a cluster of one alert share that alert's (`Cluster.only`); of a larger one, those that one alert names share one of these, and a
    key that another alert names too gets its own.
    """

    __slots__ = ("by_worth", "own")

    def __init__(self, by_worth: dict[int, Sequence[float]], *, own: bool = False) -> None:
        self.by_worth, self.own = by_worth, own

    def with_more(self, points: Iterable[float], worth: int) -> Moments:
        """These and an alert's moments."""
        mine = self if self.own else Moments(dict(self.by_worth), own=True)
        if worth not in mine.by_worth and len(mine.by_worth) >= _MOST_OWNERS:
            worth = worth_of(worth)  # where so many are, nobody is a stranger
        kept = mine.by_worth.get(worth, ())
        if not isinstance(kept, list):
            kept = mine.by_worth[worth] = list(kept)
        for point in points:
            if not kept or point > kept[-1]:
                kept.append(point)  # alerts come mostly in the order of time
            elif kept[bisect_left(kept, point)] != point:
                insort(kept, point)
        return mine

    def with_all(self, other: Moments) -> Moments:
        """These and another's moments."""
        mine = self
        for worth, moments in other.by_worth.items():
            mine = mine.with_more(moments, worth)
        return mine


def nearest(one: Sequence[float], other: Sequence[float]) -> float:
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


class Cluster:
    """An incident's side of correlation.

    Most incidents get one alert and are never looked at again while they are held. So that memory and the collection of garbage bear
    hundreds of thousands of them, those are laid to `rest`: see `Resting`. A cluster that was `woken` has its incident as bytes until
    somebody asks for it; one that was read from elsewhere asks `reader` for it then, and not before.
    """

    __slots__ = (
        "_keys", "_live", "_named", "_open", "_reader", "_resting", "alerts", "company", "first", "id", "joinable", "last", "only", "opens",
        "rules", "signals", "tactics", "things", "touched", "via",
    )  # fmt: skip

    def __init__(
        self, incident_id: str, incident: Incident | None, *, opened: bool = True, reader: Reader | None = None
    ) -> None:
        """`opened` and `reader` for who gives no incident: whether it takes in alerts, and who has it."""
        self.id = incident_id
        self._live = incident
        self._reader = reader
        self._resting = b""
        self._named: tuple[int, frozenset[Thing]] | None = None
        self._open = opened
        self.touched = True
        """Whether anything happened to it since somebody last set this to False."""
        self._keys: dict[EntityKey, Moments] | None = None
        self.only: tuple[int, tuple[float, ...]] | None = None
        """The moments of all its keys while it has one alert."""
        self.things: dict[EntityKey, Thing] = {}
        self.via: Mapping[EntityKey, Alias] = _NO_ALIASES
        """Keys that it has by an alias only; what one of its alerts names itself is known by name."""
        self.company: frozenset[str] = frozenset()
        """Its hosts and accounts, by their bare names."""
        self.tactics: frozenset[int] = frozenset()
        self.rules: frozenset[str] = frozenset()
        self.alerts: Sequence[str] = ()
        self.first = float("inf")
        self.last = 0.0
        self.joinable = True
        self.signals = 0
        self.opens = False

    @property
    def incident(self) -> Incident:
        """The incident itself."""
        if self._live is None:
            if self._resting:
                self._live = pickle.loads(self._resting)  # noqa: S301  # bytes that never left this process
            else:
                assert self._reader is not None
                self._live = self._reader(self.id)
            self._resting, self.touched = b"", True
        assert self._live is not None
        return self._live

    def goes_on_as(self, incident: Incident) -> None:
        """What its incident is by its alerts, that one is from now on: the same incident, made anew."""
        made = self.incident
        incident.alerts, incident.promoted = made.alerts, made.promoted or incident.promoted
        incident.updated = max((t for t in (made.updated, incident.updated) if t), default=None)
        incident.lighten()
        self._live, self.touched = incident, True

    @property
    def open(self) -> bool:
        """Whether its incident takes in alerts."""
        return self._open if self._live is None else self._live.open

    @property
    def may_be_high(self) -> bool:
        """Whether an alert of High severity may be among its: of one alert that is known, several aren't asked."""
        return self.only is None or worth_of(self.only[0]) == Worth.HIGH

    def rest(self) -> Resting:
        """All of it as plain values. Nobody may hold on to it or its incident and change them."""
        if self._live is not None:
            self._live.lighten()
            self._open, self._resting = self._live.open, pickle.dumps(self._live, pickle.HIGHEST_PROTOCOL)
        several = _packed(self._keys, self.via) if self._keys or self.via else b""
        rest = (
            tuple(self.things.values()), self._resting, several, self.only, self.joinable, self._open, self.signals, self.opens,
            tuple(self.company), _shared(tuple(self.tactics)), _shared(tuple(self.rules)),
        )  # fmt: skip
        takes = self.joinable and self._open
        return (self.id, self.first, self.last, takes, tuple(self.things), tuple(self.alerts), rest)

    @classmethod
    def woken(cls, resting: Resting, reader: Reader | None = None) -> Cluster:
        """The cluster that was laid to rest."""
        made = cls(resting[0], None, reader=reader)
        _, made.first, made.last, _, keys, made.alerts, rest = resting
        things, made._resting, several, made.only, made.joinable, made._open, made.signals, made.opens, *names = rest
        made.things = dict(zip(keys, things, strict=True))
        made.company, made.tactics, made.rules = map(frozenset, names)
        if several:
            made._keys, made.via = _unpacked(several)
        made.touched = False
        return made

    def add(self, alert: Signature, worth: Worth) -> bool:
        """Takes in an alert; says whether it brought a stage or a rule that wasn't there."""
        self.touched = True
        self._known_by(alert.things, alert.via)
        if not self.alerts:
            self.things, self.only, self.alerts = alert.things, (told(worth, alert.owners), alert.points), (alert.id,)
        else:
            self._see(alert, worth)
            self._list_of_alerts().append(alert.id)
        self._with(alert.hosts, alert.accounts)
        wider = self._facts(alert.tactics, (alert.rule,))
        self.first = min(self.first, alert.points[0])
        self.last = max(self.last, alert.points[-1])
        self.joinable = self.joinable and alert.correlate
        self.signals += alert.rank > 0
        self.opens = self.opens or alert.opens
        return wider

    def absorb(self, other: Cluster) -> None:
        """Takes in all of another."""
        self.touched = True
        self._known_by(other.things, other.via)
        keys = self._grow()
        for key, thing in other.things.items():
            mine, theirs = keys.get(key), other.moments(key)
            keys[key] = theirs if mine is None else mine.with_all(theirs)
            self.things.setdefault(key, thing)
        self._list_of_alerts().extend(other.alerts)
        self._with(other.company)
        self._facts(other.tactics, other.rules)
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)
        self.joinable = self.joinable and other.joinable
        self.signals += other.signals
        self.opens = self.opens or other.opens

    def learn(self, alert: Signature, worth: Worth) -> None:
        """Takes in what else an alert of it is known by now; nothing else of the alert."""
        self.touched = True
        self._known_by(alert.things, alert.via)
        self._see(alert, worth)

    def _see(self, alert: Signature, worth: Worth) -> None:
        """Notes the moments of an alert's things beside those that it has."""
        keys, said = self._grow(), told(worth, alert.owners)
        once = Moments({said: alert.points})
        for key, thing in alert.things.items():
            held = keys.get(key)
            keys[key] = once if held is None else held.with_more(alert.points, said)
            self.things.setdefault(key, thing)

    def _known_by(self, things: Mapping[EntityKey, Thing], via: Mapping[EntityKey, Alias]) -> None:
        """Notes which keys are known by an alias only, before `things` are taken in."""
        if not self.via and not via:
            return
        kept = {k: a for k, a in self.via.items() if k not in things or k in via}
        for key, alias in via.items():
            if key not in self.things or (key in kept and kept[key].confidence < alias.confidence):
                kept[key] = alias
        self.via = kept

    def moments(self, key: EntityKey) -> Moments:
        """When it saw one of its keys."""
        if self._keys is None:
            assert self.only is not None
            worth, points = self.only
            return Moments({worth: points})
        return self._keys[key]

    def _grow(self) -> dict[EntityKey, Moments]:
        """Its keys' moments, each by itself from now on."""
        if self._keys is None:
            self._keys = dict.fromkeys(self.things, self.moments(())) if self.only is not None else {}
            self.things = dict(self.things)  # until now it was the first alert's
            self.only = None
        return self._keys

    def _list_of_alerts(self) -> list[str]:
        if not isinstance(self.alerts, list):
            self.alerts = list(self.alerts)
        return self.alerts

    @property
    def named(self) -> frozenset[Thing]:
        """The things that it names."""
        if len(self.things) <= _MANY:
            return frozenset(self.things.values())
        if self._named is None or self._named[0] != len(self.things):  # things only ever come
            self._named = len(self.things), frozenset(self.things.values())
        return self._named[1]

    def named_with(self, other: Cluster) -> int:
        """How many things it and another name together."""
        mine, theirs = self.named, other.named
        small, big = (mine, theirs) if len(mine) <= len(theirs) else (theirs, mine)
        return len(big) + len(small - big)

    def _with(self, *names: frozenset[str]) -> None:
        for some in names:
            if not self.company.issuperset(some):
                self.company = self.company | some

    def _facts(self, tactics: Iterable[int], rules: Iterable[str]) -> bool:
        before = self.tactics, self.rules
        if not self.tactics.issuperset(tactics):
            self.tactics = self.tactics.union(tactics)
        if not self.rules.issuperset(rules):
            self.rules = self.rules.union(rules)
        return before != (self.tactics, self.rules)

    def shared(self, other: Cluster) -> Iterator[EntityKey]:
        """The keys that both hold."""
        mine, theirs = self.things, other.things
        small, big = (mine, theirs) if len(mine) <= len(theirs) else (theirs, mine)
        return (key for key in small if key in big)


def _packed(keys: Mapping[EntityKey, Moments] | None, via: Mapping[EntityKey, Alias]) -> bytes:
    """Moments by key and aliases as bytes that anybody can read. Keys that share their moments go on to share them."""
    places: dict[int, int] = {}
    each: list[tuple[bool, dict[int, Sequence[float]]]] = []
    where: list[tuple[EntityKey, int]] = []
    for key, moments in (keys or {}).items():
        place = places.get(id(moments))
        if place is None:
            place = places[id(moments)] = len(each)
            each.append((moments.own, moments.by_worth))
        where.append((key, place))
    known = [(k, {**a.to_dict(), "confidence": a.confidence}) for k, a in via.items()]
    return bytes(msgpack.packb((None if keys is None else where, each, known), default=str))


def _unpacked(several: bytes) -> tuple[dict[EntityKey, Moments] | None, dict[EntityKey, Alias]]:
    where, each, known = msgpack.unpackb(several, use_list=False, strict_map_key=False)
    moments = [Moments(dict(by_worth), own=own) for own, by_worth in each]
    keys = None if where is None else {key: moments[place] for key, place in where}
    return keys, {key: Alias.from_dict(alias) for key, alias in known}


def outline(held: Cluster | Resting) -> Outline:
    """What one looks at first, awake or at rest."""
    if isinstance(held, Cluster):
        return held.first, held.last, held.joinable and held.open, held.things.keys(), held.only, len(held.company)
    return (*held[1:5], held[6][3], len(held[6][8]))


def parts_of(held: Cluster | Resting) -> tuple[str, Iterable[EntityKey], Iterable[str]]:
    """Its id, its keys and its alerts' ids, awake or at rest."""
    return (held.id, held.things, held.alerts) if isinstance(held, Cluster) else (held[0], held[4], held[5])


def last_of(held: Cluster | Resting) -> float:
    """When its last event was, awake or at rest."""
    return held.last if isinstance(held, Cluster) else held[2]


@lru_cache(maxsize=2_000)
def _shared(values: tuple[_T, ...]) -> tuple[_T, ...]:
    """One tuple for all who hold the same: there are few of them, and many clusters."""
    return values
