"""What correlation sees of an alert: the keys of the things that it names, when, by which rule, at which stage. Nothing else.

A signature is made once, when the alert comes; everything that joins or weighs afterwards looks things up instead of reading alerts again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from zlib import crc32

from tocsin.detect.alert import SEVERITIES, TACTICS, Alert
from tocsin.incidents.links import Links
from tocsin.tables.aliases import Alias, joining_keys
from tocsin.tables.entities import Entity, EntityKey

__all__ = ["HOUR", "Signature", "Thing", "alias_keys", "entity_keys", "signature"]

HOUR = 3600.0

Thing = tuple[str, str]
"""An entity's type and label: what a reason calls it."""

_ELSEWHERE = "filehash"
"""A file's name and hash together: two that share them share the hash too, and that counts."""

_MOST_POINTS = 24 * 7
_BITS = 56
"""Two names share a bit in one case of so many; then nothing speaks against that they are one."""


@dataclass(frozen=True, slots=True)
class Signature:
    """An alert as correlation sees it. `points` are moments (seconds since the epoch) that stand for its time, at most an hour apart where
    it lasted."""

    id: str
    rule: str
    rank: int
    points: tuple[float, ...]
    things: dict[EntityKey, Thing]
    tactics: frozenset[int]
    hosts: frozenset[str]
    accounts: frozenset[str]
    processes: frozenset[str]
    correlate: bool
    opens: bool
    owners: int = 0
    """Its accounts as bits: two alerts whose bits have nothing in common name different accounts. 0: it names none."""
    via: Mapping[EntityKey, Alias] = field(default_factory=dict)
    """Keys that the alert has by an alias only."""

    @property
    def time(self) -> float:
        """When it began."""
        return self.points[0]

    def company(self, key: EntityKey) -> frozenset[str]:
        """With what that key was seen: a host with accounts and other hosts, a process with its children, anything else with hosts (accounts where
        there is none)."""
        kind = key[0].partition(".")[0]
        if kind in ("host", "hostname"):
            return (self.hosts - {key[1]}) | self.accounts
        if kind == "tree":
            return self.processes
        return self.hosts or (self.accounts if kind != "account" else frozenset())


def entity_keys(entities: Iterable[Entity]) -> dict[EntityKey, Entity]:
    """Every key of the entities, strong and weak, with the first that has it."""
    keys: dict[EntityKey, Entity] = {}
    for entity in entities:
        for key in (*entity.strong_keys(), *entity.weak_keys()):
            keys.setdefault(key, entity)
    return keys


def signature(alert: Alert, links: Links) -> Signature:
    """The alert's signature; `links` says which columns of its rows tell of processes, sessions and common files."""
    found = links.read(alert)
    things: dict[EntityKey, Thing] = {}
    for entity in alert.entities:
        if entity.type == "IP" and entity.identifiers.get("Address") in alert.shared:
            continue  # everybody comes from there: it says nothing of who it was
        thing = (entity.type, entity.label.lower())  # one for all its keys: there are millions of them
        for key in (*entity.strong_keys(), *entity.weak_keys()):
            if key not in things and key[0] != _ELSEWHERE and not (key[0] in ("hash", "file") and found.is_common(key)):
                things[key] = thing
    for key, label in found.keys.items():
        things.setdefault(key, (_TYPE_OF[key[0]], label))
    via = alias_keys(alert.aliases, things)
    for key, alias in via.items():
        things[key] = (alias.other.type, alias.other.label.lower())
    accounts = frozenset(
        n for e in alert.entities if e.type == "Account" and not e.is_built_in and not (n := _name(e)).endswith("$")
    )
    return Signature(
        id=alert.id,
        rule=alert.said_by,
        rank=SEVERITIES.index(alert.severity),
        points=_points(alert.time.timestamp(), alert.end.timestamp()),
        things=things,
        tactics=frozenset(TACTICS.index(t) for t in alert.tactics if t in TACTICS),
        hosts=frozenset(_name(e) for e in alert.entities if e.type == "Host"),
        accounts=accounts,
        owners=_bits(accounts),
        processes=found.processes,
        correlate=alert.correlate,
        opens=alert.opens,
        via=via,
    )


def alias_keys(aliases: Iterable[Alias], known: Iterable[EntityKey]) -> dict[EntityKey, Alias]:
    """The keys that aliases add to those that are known, each by the alias that is surest of it."""
    held = frozenset(known)
    found: dict[EntityKey, Alias] = {}
    for alias in aliases:
        for key in joining_keys(alias.other):
            if key not in held and (key not in found or found[key].confidence < alias.confidence):
                found[key] = alias
    return found


_TYPE_OF = {"hostname": "Host", "process": "Process", "tree": "ProcessTree", "session": "Session"}


def _name(entity: Entity) -> str:
    """A host or account by its bare name, else by its id: one that is named in two ways is not two."""
    ids = entity.identifiers
    return (
        ids.get("Name") or ids.get("HostName") or ids.get("NetBiosName") or ids.get("AadUserId") or entity.label
    ).lower()


def _bits(names: Iterable[str]) -> int:
    found = 0
    for name in names:
        found |= 1 << crc32(name.encode()) % _BITS
    return found


def _points(time: float, end: float) -> tuple[float, ...]:
    if end <= time:
        return (time,)
    step = max(HOUR, (end - time) / _MOST_POINTS)
    inner = [time + step * n for n in range(1, int((end - time) / step) + 1)]
    return (time, *(p for p in inner if p < end), end)
