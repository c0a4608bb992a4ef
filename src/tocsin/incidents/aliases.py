"""The book of aliases: which identifiers meant one thing when, as rows told it, and what an alert's entities were known as at its time.

Rows give *claims*: an identifier was seen as another from `first` to `last`. A claim holds a while before and after what was seen (`before`,
`lasts`), but never into the time in which the address was seen with another host. What names nobody in particular gives no alias:

- an address that several hosts had at once, that went back and forth between two, or that three had within two hours (NAT, proxies, gateways),
  unless a lease says whose it was and nothing else contradicts it;
- hosts, accounts and addresses that many use (`shared`: jump hosts, shared accounts, by content);
- built-in accounts.
"""

from __future__ import annotations

import ipaddress
from bisect import insort
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.base.ids import stable_id
from tocsin.detect.alert import Alert
from tocsin.tables.aliases import Alias, entity_of, joining_keys
from tocsin.tables.entities import Entity, EntityKey

__all__ = ["AliasBook", "Claim", "Ranges"]

LEAST = 0.5
"""Confidence below which an alias, or a chain of them, says nothing."""

TOGETHER = timedelta(hours=2)
"""Within this time before an alert, hosts that had one address are counted."""

_CROWD = 3
_DEPTH = 3
_MOST = 24
_MOST_CLAIMS = 256
"""Claims that are remembered of one identifier; an address that changes hands more often names nobody anyway."""
_ONE_ONLY = frozenset({"DeviceId", "AzureId", "Sid", "ObjectId"})
"""Kinds of which a thing has one at a time: two at once mean that the name is not one thing's."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What rows said: `one` (of `one_kind`) and `other` were one thing of that type from `first` to `last`. `exclusive`: a lease, which says
    whose the address is; anything else only saw it."""

    type: str
    one_kind: str
    one: str
    other_kind: str
    other: str
    first: datetime
    last: datetime
    confidence: float
    source: str
    before: timedelta = timedelta()
    lasts: timedelta = timedelta()
    exclusive: bool = False
    scope: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    """By what it says and when it was first said; it stays when the claim grows."""

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", stable_id("ali", *self.pair, self.first.isoformat()))

    @property
    def pair(self) -> tuple[str, ...]:
        """What it says, without when."""
        return (self.type, self.one_kind, self.one, self.other_kind, self.other, self.scope, self.source)

    @property
    def start(self) -> datetime:
        """From when on it holds, if nothing speaks against it."""
        return self.first - self.before

    @property
    def end(self) -> datetime:
        """Until when it holds, if nothing speaks against it; not included."""
        return self.last + self.lasts

    def side(self, kind: str) -> Entity:
        """The entity of one of its two identifiers."""
        return entity_of(self.type, kind, self.one if kind == self.one_kind else self.other, self.scope)


@dataclass(slots=True)
class _Side:
    """A claim as seen from one of its identifiers."""

    claim: Claim
    there: str

    @property
    def target(self) -> str:
        """What it says the identifier is; a host by its bare name, because one that is named in two ways is not two."""
        text = self.claim.one if self.there == self.claim.one_kind else self.claim.other
        return text.partition(".")[0] if self.claim.type == "Host" and self.there == "Name" else text

    def __lt__(self, other: _Side) -> bool:
        return (self.claim.first, self.claim.id) < (other.claim.first, other.claim.id)


class Ranges:
    """Ranges of addresses (``203.0.113.0/24``, ``2001:db8::/32``). An address is looked up once per length of prefix, however many there are."""

    def __init__(self, ranges: Iterable[str] = ()) -> None:
        """ValueError for what is no range."""
        self._by_length: dict[tuple[int, int], set[int]] = {}
        for text in ranges:
            network = ipaddress.ip_network(text.strip(), strict=False)
            held = self._by_length.setdefault((network.version, network.prefixlen), set())
            held.add(int(network.network_address))

    def hold(self, address: str) -> bool:
        """Whether an address lies in one of them."""
        if not self._by_length:
            return False
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        number, bits = int(found), found.max_prefixlen
        return any(
            version == found.version and number >> (bits - length) << (bits - length) in held
            for (version, length), held in self._by_length.items()
        )


class AliasBook:
    """Claims by the identifiers that they pair. Not thread-safe: its owner sees to that."""

    def __init__(self, claims: Iterable[Claim] = ()) -> None:
        self._sides: dict[EntityKey, list[_Side]] = {}
        self.shared: frozenset[EntityKey] = frozenset()
        """Hosts, accounts and addresses that many use."""
        self.ranges = Ranges()
        """Public addresses that many use, by the range that they lie in."""
        self.learn(claims)

    def __len__(self) -> int:
        return len({s.claim.id for sides in self._sides.values() for s in sides})

    @property
    def claims(self) -> list[Claim]:
        """All that it holds, by time."""
        found = {s.claim.id: s.claim for sides in self._sides.values() for s in sides}
        return sorted(found.values(), key=lambda c: (c.first, c.id))

    def learn(self, claims: Iterable[Claim]) -> list[tuple[Claim, Claim | None]]:
        """Takes in what rows said, in the order of time. Gives each claim that is new or lasts longer, as it is now, with what it was."""
        found: dict[str, tuple[Claim, Claim | None]] = {}
        for claim in sorted(claims, key=lambda c: (c.first, c.last, c.pair)):
            for now, before in self._take(claim):
                known = found.get(now.id)
                found[now.id] = (now, known[1] if known is not None else before)
        return list(found.values())

    def keys_of(self, claim: Claim) -> frozenset[EntityKey]:
        """The keys whose meaning that claim may change."""
        return frozenset(k for kind in (claim.one_kind, claim.other_kind) for k in joining_keys(claim.side(kind)))

    def drop(self, ids: Collection[str]) -> None:
        """Drops those claims."""
        for key in list(self._sides):
            left = [s for s in self._sides[key] if s.claim.id not in ids]
            if left:
                self._sides[key] = left
            else:
                del self._sides[key]

    def forget_before(self, moment: datetime) -> None:
        """Drops claims that ended before that."""
        for key in list(self._sides):
            left = [s for s in self._sides[key] if s.claim.end >= moment]
            if left:
                self._sides[key] = left
            else:
                del self._sides[key]

    def resolve(self, alert: Alert) -> Alert:
        """The alert with what its entities were known as while it lasted, besides the aliases that it has already."""
        found = {(a.entity, a.other): a for a in alert.aliases}
        named = {k for e in alert.entities for k in joining_keys(e)}
        for entity in alert.entities:
            if entity.type in ("Account", "Host", "IP", "Mailbox"):
                for alias in self.known_as(entity, alert.time, alert.end):
                    # What the alert names itself needs no alias.
                    if named.isdisjoint(joining_keys(alias.other)):
                        found.setdefault((alias.entity, alias.other), alias)
        shared = alert.shared or self._shared_addresses(alert)
        if len(found) == len(alert.aliases) and shared == alert.shared:
            return alert
        return replace(alert, aliases=tuple(found.values())[:_MOST], shared=shared)

    def _shared_addresses(self, alert: Alert) -> tuple[str, ...]:
        """The alert's addresses that many people share."""
        return tuple(
            e.identifiers["Address"]
            for e in alert.entities
            if e.type == "IP" and "Address" in e.identifiers and self._is_shared(joining_keys(e))
        )

    def _is_shared(self, keys: Collection[EntityKey]) -> bool:
        """Whether many use what has those keys."""
        return not self.shared.isdisjoint(keys) or any(k[0] == "ip" and self.ranges.hold(k[1]) for k in keys)

    def known_as(self, entity: Entity, start: datetime, end: datetime) -> list[Alias]:
        """What an entity was known as during all of that time, the surest first; what follows from one alias and another as well."""
        found: dict[Entity, Alias] = {}
        seen = set(joining_keys(entity))
        waiting: list[tuple[Entity, Alias | None]] = [(entity, None)]
        for _ in range(_DEPTH):
            further: list[tuple[Entity, Alias | None]] = []
            for here, through in waiting:
                for step in self._steps(here, start, end):
                    alias = step if through is None else _chained(entity, through, step)
                    keys = joining_keys(alias.other)
                    if alias.confidence < LEAST or alias.other.is_built_in or seen.issuperset(keys):
                        continue
                    seen.update(keys)
                    found[alias.other] = alias
                    further.append((alias.other, alias))
            waiting = further
        return sorted(found.values(), key=lambda a: (-a.confidence, a.other.type, a.other.label))

    # ------------------------------------------------------------------ inside

    def _take(self, claim: Claim) -> Iterator[tuple[Claim, Claim | None]]:
        sides = [(k, kind) for kind in (claim.one_kind, claim.other_kind) for k in self._places(claim, kind)]
        if not sides or claim.confidence < LEAST:
            return
        held = self._earlier(claim, sides[0][0])
        if held is not None:
            longer = claim.last > held.last
            now = replace(
                held,
                first=min(held.first, claim.first),
                last=max(held.last, claim.last),
                lasts=claim.lasts if longer else held.lasts,
                row=claim.row if longer else held.row,
            )
            if now == held:
                return
            for key, _ in sides:
                for side in self._sides[key]:
                    if side.claim is held:
                        side.claim = now
            yield now, held
            return
        for key, kind in sides:
            there = claim.other_kind if kind == claim.one_kind else claim.one_kind
            held_here = self._sides.setdefault(key, [])
            insort(held_here, _Side(claim, there))
            del held_here[:-_MOST_CLAIMS]
        yield claim, None

    @staticmethod
    def _places(claim: Claim, kind: str) -> tuple[EntityKey, ...]:
        """The keys under which a claim is looked up from that side. Whose an address is, is asked by the address; one of a scope stands
        under the bare address as well, where it may make it ambiguous."""
        if kind != "Address" and "Address" in (claim.one_kind, claim.other_kind):
            return ()
        return joining_keys(claim.side(kind))

    def _earlier(self, claim: Claim, key: EntityKey) -> Claim | None:
        """The claim that this one goes on with: the same pair, near enough, and no other host had the address in between."""
        sides = self._sides.get(key, [])
        for side in reversed(sides):
            held = side.claim
            if held.pair != claim.pair or claim.first > held.end or claim.last < held.start:
                continue
            if "Address" in (claim.one_kind, claim.other_kind):
                here, there = min(held.first, claim.first), max(held.last, claim.last)
                between = self._sides.get(self._address(claim), [])
                if any(s.claim.last > here and s.claim.first < there and s.target != _host(claim) for s in between):
                    continue
            return held
        return None

    @staticmethod
    def _address(claim: Claim) -> EntityKey:
        return joining_keys(claim.side("Address"))[0]

    def _steps(self, entity: Entity, start: datetime, end: datetime) -> Iterator[Alias]:
        """What the entity is by one claim."""
        keys = joining_keys(entity)
        if self._is_shared(keys):
            return
        if entity.type == "IP":
            # One with a scope is looked for in its scope only: 10.0.0.5 at two sites are two.
            if keys and (held := _holder(self._sides.get(keys[0], []), start, end)) is not None:
                yield from self._made(entity, *held)
            return
        sides = {s.claim.id: s for k in keys for s in self._sides.get(k, ()) if s.there != "Address"}
        by_kind: dict[str, list[_Side]] = {}
        for side in sides.values():
            if side.claim.start <= start and end < side.claim.end:
                by_kind.setdefault(side.there, []).append(side)
        for kind, them in sorted(by_kind.items()):
            targets = {s.target for s in them}
            if len(targets) > 1 and kind in _ONE_ONLY:
                continue
            for target in sorted(targets):
                best = max(
                    (s for s in them if s.target == target),
                    key=lambda s: (s.claim.confidence, s.claim.last, s.claim.id),
                )
                yield from self._made(entity, best, best.claim.start, best.claim.end)

    def _made(self, entity: Entity, side: _Side, start: datetime, end: datetime) -> Iterator[Alias]:
        other = side.claim.side(side.there)
        if self._is_shared(joining_keys(other)):
            return
        claim = side.claim
        yield Alias(entity, other, start, end, claim.confidence, claim.source, claim.row)


def _host(claim: Claim) -> str:
    name = claim.one if claim.other_kind == "Address" else claim.other
    return name.partition(".")[0]


def _holder(sides: list[_Side], start: datetime, end: datetime) -> tuple[_Side, datetime, datetime] | None:
    """Whose an address was during all of that time, and from when to when; None where that can't be said."""
    near = [s for s in sides if s.claim.first <= end and s.claim.last >= start - TOGETHER and not s.claim.exclusive]
    hosts = {s.target for s in near}
    if len(hosts) >= _CROWD or (len(hosts) == 2 and (len(near) > 2 or _overlap(near))):
        return None
    found: list[tuple[_Side, datetime, datetime]] = []
    for side in sides:
        claim = side.claim
        others = [s.claim for s in sides if s.target != side.target]
        since = max([claim.start, *(o.last for o in others if o.first < claim.first and o.last <= claim.first)])
        until = min([claim.end, *(o.first for o in others if o.first > claim.last)])
        if since <= start and (end < until or end <= claim.last):
            found.append((side, since, max(until, claim.last)))
    if len({s.target for s, _, _ in found}) > 1:
        found = [f for f in found if f[0].claim.exclusive]
        if len({s.target for s, _, _ in found}) != 1:
            return None
    # Of two names of one host the fuller one says more.
    return max(
        found,
        key=lambda f: (
            f[0].claim.confidence,
            f[0].claim.exclusive,
            "." in f[0].claim.one,
            f[0].claim.last,
            f[0].claim.id,
        ),
        default=None,
    )


def _overlap(sides: list[_Side]) -> bool:
    return any(
        a.target != b.target and a.claim.first < b.claim.last and b.claim.first < a.claim.last
        for n, a in enumerate(sides)
        for b in sides[n + 1 :]
    )


def _chained(entity: Entity, through: Alias, step: Alias) -> Alias:
    """One alias after another: as long as both hold, as sure as both are."""
    source = step.source if step.source == through.source else f"{through.source}, {step.source}"
    return Alias(
        entity,
        step.other,
        max(through.start, step.start),
        min(through.end, step.end),
        through.confidence * step.confidence,
        source,
        through.row,
    )
