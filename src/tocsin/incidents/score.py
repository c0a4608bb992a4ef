"""The score of two sides of correlation, an alert and an incident or two incidents, and the reasons in words.

A side that grows never shares less: the score depends on what both hold, not on the order in which it came. What may lower it later is only that
a shared thing turns out to be a hub.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from tocsin.detect.alert import TACTICS
from tocsin.incidents.background import Background, chance
from tocsin.incidents.cluster import Cluster, Outline, Worth, nearest, owners_of, worth_of
from tocsin.incidents.company import Company
from tocsin.incidents.model import spaced
from tocsin.incidents.sharing import Part, Score
from tocsin.incidents.signature import HOUR, Thing
from tocsin.incidents.weights import CONTEXT, SUPPORT, CorrelationSettings
from tocsin.tables.entities import EntityKey

__all__ = ["Past", "Scorer"]

_SPREADING = frozenset({"host", "hostname", "account"})

_MACHINE = frozenset({"host", "hostname"})

_PLACES = frozenset({"host", "hostname", "account", "ip", "ip.private"})
"""What most machines of a small fleet may have in common without any attack."""

_ARTEFACTS = frozenset({"File", "FileHash", "URL", "DNS", "Malware", "RegistryKey", "RegistryValue"})

_ONE_OF = {"FileHash": "File"}
"""A file and its hash are one thing under two names."""

_PLACE = "place"
"""Of what kind a host, an account and an address are where chance brings alerts together, or where many have them: somebody's machine, his account
and his address meet at once, and so do a domain controller, its address, a scanner and a gateway. They are one reason and not three."""

_WHERE = frozenset({"Host", "Account", "IP"})
_COMMON = 0.8
"""A thing of which rarity leaves less than this is common: four machines have met it where three are nothing unusual."""

_TELLING = 0.25
"""A thing of which rarity leaves less than this says nothing: so many have it that sharing it is no news."""

_FURTHER = 0.25
"""What a second thing of one type is worth beside the first; a third, that share of it again."""


_BURST = 1800.0
"""With hindsight, what a thing meets within so many seconds of an alert may be an attack that spreads; what it meets at other times is company."""

_ROUNDING = 0.001
_LEAST_LUCK = 1e-12


@dataclass(frozen=True, slots=True)
class _Age:
    """What is left of a shared thing's points by the nearest two moments: by time, and by what the alerts are worth. How far apart those are,
    whether one of them is a noisy rule's, what the lesser of the two alerts is worth, how likely they met by chance where that lessens anything."""

    time: float
    share: float
    gap: float
    noisy: bool
    worth: int
    luck: float = 0.0
    strange: bool = False
    """Whether both name accounts, and none that the other names."""

    @property
    def left(self) -> float:
        return self.time * self.share


_NO_AGE = _Age(0.0, 0.0, 0.0, False, Worth.NOISY)


_NOTHING = Score(0.0, joins=False)


class _Most(NamedTuple):
    """What shared keys are worth at most: those that age like places and what of such only supports, everything else and what of that only
    supports; and the seconds beyond which none of them is worth the anchor."""

    places: float
    supporting_places: float
    others: float
    supporting: float
    reach: float

    @property
    def all(self) -> float:
        """The points of all of them."""
        return self.places + self.supporting_places + self.others + self.supporting


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """An alert that is looked at with hindsight: when it came, and the hosts and accounts of the incident that held it until then. What all of them
    share may be what the attack spreads with, so that only what it meets elsewhere makes it common."""

    moment: float
    company: frozenset[str]


class Scorer:
    """Scores sides by the settings' points and by how rare things are."""

    def __init__(self, settings: CorrelationSettings, company: Company, background: Background | None = None) -> None:
        """`background`: how often places give alerts anyway; None where that isn't known."""
        self._settings = settings
        self._points = settings.points()
        self._company = company
        self._background = background
        self._bits = math.log(settings.coincidence)
        self._rates: dict[tuple[EntityKey, int], float] = {}
        self._elsewhere: dict[int, float] = {}
        """While two sides are scored."""
        self._horizon = settings.horizon.total_seconds()
        self._grace = settings.grace.total_seconds()
        self._context = settings.half_life.total_seconds()
        self._artefact = settings.artefact_half_life.total_seconds()
        self._both_high = settings.high_half_life.total_seconds()
        self._known: dict[EntityKey, tuple[int, int, frozenset[str], frozenset[str]]] = {}
        self._known_as_of: tuple[float, int, Past | None] = (0.0, 0, None)
        self.past: Past | None = None
        """Of the alert that is looked at with hindsight; None where the newest is."""
        self._new = False
        """Whether nothing is known yet of how often places give alerts."""
        self._fleet = 0
        """How many machines there are; 0 while alerts don't come from machines all over."""
        self._most_of: dict[tuple[str, bool, frozenset[EntityKey], int], _Most] = {}
        self._least_rates: dict[tuple[frozenset[EntityKey], int], float] = {}
        self._slowest = {False: self._context, True: max(self._context, self._both_high)}
        """By whether both sides may be High: the half life of a place."""
        self._reach = {
            high: {kind: self._reach_of(kind, half) for kind in self._points} for high, half in self._slowest.items()
        }
        self._share: dict[int, float] = {
            Worth.HIGH: 1.0,
            Worth.PLAIN: 1.0,
            Worth.LOW: settings.low_share,
            Worth.NOISY: settings.noisy_share,
        }

    def may_anchor(self, key: EntityKey, now: float) -> bool:
        """Whether that thing alone could be worth enough to look at who else holds it."""
        if _family(key) in SUPPORT:
            return False
        rarity, _ = self._rarity(key, now)
        return self._points.get(key[0], 0.0) * rarity >= self._settings.anchor

    def may_lead(self, key: EntityKey, now: float) -> bool:
        """Whether that thing alone may lead from one stage of a pattern to another: it could anchor, and is not common. A machine may be seen with
        twice as many as is usual."""
        rarity, _ = self._rarity(key, now)
        return rarity >= (0.5 if _family(key) in _MACHINE else 1.0) and self.may_anchor(key, now)

    def reach(self, key: EntityKey, *, high: bool = True) -> float:
        """Seconds beyond which that thing is worth too little to join by: what lies further away needn't be looked at because of it. `high`: whether
        both sides may have alerts of High severity."""
        return self._reach[high].get(key[0], self._horizon)

    def _reach_of(self, kind: str, context: float) -> float:
        points = self._points[kind]
        if not self._settings.anchor or points <= self._settings.anchor:
            return self._horizon
        half = context if _family((kind,)) in CONTEXT else self._artefact
        return min(self._horizon, self._grace + half * math.log2(points / self._settings.anchor))

    def could_join(self, one: Cluster, other: Outline, now: float) -> bool:
        """Whether `score` could give a join at all: what both hold must be worth enough after the least time that can lie between them, and one
        thing the anchor. Most that are looked at share too little, and to see that costs far less than a score."""
        self._keep_up(now)
        first, last, _, keys, only, names = other
        both = None if one.only is None or only is None else (worth_of(one.only[0]), worth_of(only[0]))
        high = one.may_be_high if both is None else max(both) == Worth.HIGH
        shared = frozenset(one.things.keys() & keys)
        most = self._most_of.get((one.id, high, shared, names))
        if most is None:
            most = self._most_of[one.id, high, shared, names] = self._most(one, shared, now, names=names, high=high)
        least = self._settings.threshold - _ROUNDING
        if most.all < least:
            return False
        gap = max(one.first - last, first - one.last, 0.0)
        if gap > most.reach + 1.0:
            return False
        late = max(gap - self._grace, 0.0)
        there, elsewhere = 0.5 ** (late / self._slowest[high]), 0.5 ** (late / self._artefact)
        if both is not None and not self._new:
            there *= self._share_at_most(shared, both, gap)
        supporting = min(most.supporting_places * there + most.supporting * elsewhere, self._settings.support)
        return bool(most.places * there + most.others * elsewhere + supporting >= least)

    def _most(self, one: Cluster, shared: frozenset[EntityKey], now: float, *, names: int, high: bool) -> _Most:
        """What keys that are shared with one of so many hosts and accounts are worth at most if no time has passed and nothing else speaks against
        them."""
        parts: dict[bool, dict[Thing, Part]] = {True: {}, False: {}}
        for key in shared:
            rarity, _ = self._rarity(key, now, one.company, unknown=names)
            points = self._points.get(key[0], 0.0) * rarity
            thing = one.things[key]
            if points and rarity >= _TELLING:
                # A thing that anything but a supporting key names is held to be worth its best key without support's limit.
                of = parts[_family(key) in CONTEXT]
                kind, held = key[0], of.get(named := _one_name(thing))
                if held is not None:
                    kind, points = (held.kind if kind in SUPPORT else kind), max(points, held.points)
                of[named] = Part(thing, kind, points, 0, False)
        places, others = (tuple(parts[context].values()) for context in (True, False))
        anchors = (self.reach(key, high=high) for key in shared if self.may_anchor(key, now))
        return _Most(
            places=_at_most(p for p in places if p.kind not in SUPPORT),
            supporting_places=_at_most(p for p in places if p.kind in SUPPORT),
            others=_at_most(p for p in others if p.kind not in SUPPORT)
            + self._settings.next_tactic
            + self._settings.same_rule,
            supporting=_at_most(p for p in others if p.kind in SUPPORT),
            reach=max(anchors, default=float("-inf")),
        )

    def _share_at_most(self, shared: frozenset[EntityKey], both: tuple[int, int], gap: float) -> float:
        """What of two alerts of these worths, no nearer than the gap, is left at most at any place that they share: see `_by_chance`."""
        worth = max(both)
        rate = self._least_rates.get((shared, worth))
        if rate is None:
            places = [k for k in shared if _family(k) in CONTEXT and self._points.get(k[0], 0.0)]
            rate = min((self._rate(k, worth, frozenset()) for k in places), default=0.0)
            self._least_rates[shared, worth] = rate
        news = math.log(max(chance(rate, gap), _LEAST_LUCK)) / self._bits
        return min(1.0, self._share[both[0]] * self._share[both[1]] * news)

    def supports(self, key: EntityKey) -> bool:
        """Whether that kind of thing supports joins without making any."""
        return _family(key) in SUPPORT and self._points.get(key[0], 0.0) > 0

    def score(self, one: Cluster, other: Cluster, now: float) -> Score:
        """The score of two sides."""
        self._keep_up(now)
        parts: dict[Thing, Part] = {}
        gap = float("inf")
        # The keys of two single alerts lie all equally far apart: what time leaves of them is worked out once for each way of aging.
        single = one.only is not None and other.only is not None
        aged: dict[bool, _Age] = {}
        company = one.company | other.company if self._new else frozenset[str]()
        self._elsewhere.clear()
        for key in one.shared(other):
            worth = self._points.get(key[0], 0.0)
            if not worth:
                continue
            context = _family(key) in CONTEXT
            found = aged.get(context) if single else None
            if found is None:
                found = aged[context] = self._age(key, one, other, company, context=context, single=single)
            if not found.time:
                continue
            if single and context:
                found = self._by_chance(key, found, company)
            rarity, degree = self._rarity(key, now, one.company, other.company)
            thing = one.things[key]
            if rarity < _TELLING:
                continue
            points = worth * rarity * found.left
            aliases = tuple(a for a in (one.via.get(key), other.via.get(key)) if a is not None)
            for alias in aliases:
                points *= alias.confidence
            part = Part(
                thing, key[0], points, degree if rarity < 1 else 0, found.noisy, aliases, found.luck, found.strange,
                common=rarity < _COMMON and thing[0] in _WHERE,
            )  # fmt: skip
            gap = min(gap, found.gap)
            held = parts.get(named := _one_name(thing))
            if held is None or held.points < part.points:
                parts[named] = part  # one thing under two names counts once
        if not parts:
            return _NOTHING
        weighed = _weighed(parts.values(), self._settings.support)
        best = max(
            (
                points
                for part, points in weighed
                if part.kind.partition(".")[0] not in SUPPORT and part.kind not in SUPPORT
            ),
            default=0.0,
        )
        if not best:
            return Score(sum(p for _, p in weighed), joins=False, parts=weighed, gap=gap)
        fading = 0.5 ** (max(gap - self._grace, 0.0) / self._artefact)
        stage = _progress(one.tactics, other.tactics)
        stage_points = self._settings.next_tactic * fading if stage else 0.0
        rule_points = self._settings.same_rule * fading if self._again(one, other, weighed) else 0.0
        total = sum(points for _, points in weighed) + stage_points + rule_points
        joins = total >= self._settings.threshold and best >= self._settings.anchor
        return Score(total, joins, weighed, stage, stage_points, rule_points, gap)

    @staticmethod
    def _again(one: Cluster, other: Cluster, shared: tuple[tuple[Part, float], ...]) -> bool:
        """Whether one rule saw both sides at one place. The same rule about the same file elsewhere is what it says of every copy, and a noisy one
        is everywhere anyway."""
        return not one.rules.isdisjoint(other.rules) and any(
            part.thing[0] not in _ARTEFACTS and not part.noisy for part, _ in shared
        )

    def _age(
        self, key: EntityKey, one: Cluster, other: Cluster, company: frozenset[str], *, context: bool, single: bool
    ) -> _Age:
        """What time and the alerts' worth leave of a shared key's points, and, unless both sides are `single` alerts, what chance leaves."""
        best = _NO_AGE
        for told_here, mine in one.moments(key).by_worth.items():
            here, mine_are = worth_of(told_here), owners_of(told_here)
            for told_there, theirs in other.moments(key).by_worth.items():
                there, theirs_are = worth_of(told_there), owners_of(told_there)
                gap = nearest(mine, theirs)
                if gap > self._horizon:
                    continue
                share, half, worth = 1.0, self._artefact, max(here, there)
                if context:
                    share = self._share[here] * self._share[there]
                    half = self._both_high if worth == Worth.HIGH else self._context
                fading = 0.5 ** (max(gap - self._grace, 0.0) / half)
                # Two High alerts on one machine are one attack that changed its account, if anything is.
                strange = (
                    context and bool(mine_are and theirs_are) and not mine_are & theirs_are and worth != Worth.HIGH
                )
                age = _Age(fading, share, gap, context and worth == Worth.NOISY, worth, strange=strange)
                if context and not single and age.time > best.left:
                    age = self._by_chance(key, age, company)
                if age.left > best.left:
                    best = age
        return best

    def _by_chance(self, key: EntityKey, age: _Age, company: frozenset[str]) -> _Age:
        """What is left because two alerts meet at a place by chance as well. Where chance is as small as the settings say, all is left that the
        alerts' worth leaves; it goes up and down with the bits of news that it is, so that within a burst a lesser alert counts in full. On a
        machine where they name different accounts less is left, whatever the seconds."""
        rate = self._rate(key, age.worth, company)
        if not rate:  # nothing is known of chance: different accounts lessen nothing, either
            return replace(age, strange=False) if age.strange else age
        luck = chance(rate, age.gap)
        news = math.log(max(luck, _LEAST_LUCK)) / self._bits
        share = min(1.0, age.share * news)
        # A machine has several users: what another does on it is near by the seconds, and no part of it.
        strange = age.strange and _family(key) in _MACHINE
        if strange:
            share *= self._settings.stranger_share
        return _Age(age.time, share, age.gap, age.noisy, age.worth, luck if news < 1 else 0.0, strange)

    def _rate(self, key: EntityKey, worth: int, company: frozenset[str]) -> float:
        """How often alerts of that worth come to that place anyway, per second; 0 where that isn't known."""
        if self._background is None:
            return 0.0
        if self._new:
            rate = self._elsewhere.get(worth)
            if rate is None:
                rate = self._elsewhere[worth] = self._background.rate_elsewhere(worth, company)
            return rate
        rate = self._rates.get((key, worth))
        if rate is None:
            rate = self._rates[key, worth] = self._background.rate(key, worth, self._known_as_of[0])
        return rate

    def _keep_up(self, now: float) -> None:
        """Forgets what was worked out at another time, or when less had been seen."""
        as_of = now, self._company.changes, self.past
        if as_of != self._known_as_of:
            self._known.clear()
            self._most_of.clear()
            self._rates.clear()
            self._least_rates.clear()
            self._known_as_of = as_of
            self._new = self._background is not None and not self._background.observed(now)
            self._fleet = self._background.fleet(now) if self._background is not None else 0

    def _rarity(self, key: EntityKey, now: float, *sides: frozenset[str], unknown: int = 0) -> tuple[float, int]:
        """What a thing's degree leaves of its points, and the degree. `sides`: the hosts and accounts of what is compared; where so many more of them
        are `unknown`, what is left at most.

        Asked for the same keys again and again while an alert is looked at.
        """
        if key[0] == "host":
            key = ("hostname", key[1])  # its company under its full name is some of that under its bare one
        self._keep_up(now)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._counted(key, now)
        degree, machines, lately, of_them = known
        if lately and sides:
            # What came within the hour counts where that is elsewhere, with hosts and accounts of neither side.
            if self.past is not None:
                sides = (*sides, self.past.company)
            degree = max(degree, len(lately.difference(*sides)) - unknown)
            if degree > self._settings.hub_degree and of_them:
                machines = max(machines, len(of_them.difference(*sides)) - unknown)
        return self._left_by(key, degree, machines), degree

    def _counted(self, key: EntityKey, now: float) -> tuple[int, int, frozenset[str], frozenset[str]]:
        """A thing's companions, how many of them are machines (0 where they are few, or nothing is known of the fleet), and, where it has many only
        since the last hour, which they are and which of them are machines. That does not count yet: it may be an attack on its way, which mustn't
        hide itself by spreading."""
        company, but, known = self._company, None, frozenset[str]()
        spreading = _family(key) in _SPREADING
        if spreading:
            but = (now - HOUR, math.inf)
            if self.past is not None:
                but, known = (self.past.moment - _BURST, self.past.moment + _BURST), self.past.company
        degree = company.degree(key, now, but=but, known=known)
        machines = 0
        if degree > self._settings.hub_degree and self._fleet and self._background is not None:
            machines = company.degree(key, now, but=but, known=known, among=self._background.is_machine)
        lately = of_them = frozenset[str]()
        if spreading and company.degree(key, now) > max(self._settings.hub_degree, degree):
            lately = company.met(key, now, until=now if self.past is None else self.past.moment)
            if self._fleet and self._background is not None:
                of_them = frozenset(filter(self._background.is_machine, lately))
        return degree, machines, lately, of_them

    def _left_by(self, key: EntityKey, degree: int, machines: int) -> float:
        """What so many companions leave of a thing's points. Once it is known how many a machine has anyway, one that as many accounts use is no hub;
        and what most machines of a small fleet were seen with is one, though those are few."""
        hub = self._settings.hub_degree
        if degree <= hub:
            return 1.0
        if not self._fleet:
            return hub / degree
        left = hub / degree
        if _family(key) in _MACHINE:
            left = min(1.0, max(hub, self._company.usual) / degree, hub / max(machines, 1))
        if machines > hub and _family(key) in _PLACES:
            left = min(left, max(0.0, math.log(self._fleet / machines) / math.log(max(self._fleet, hub + 1) / hub)))
        return left


def _one_name(thing: Thing) -> Thing:
    """A thing's one name: a host under its bare name is the one under its full name."""
    return (thing[0], thing[1].partition(".")[0]) if thing[0] == "Host" else thing


def _family(key: EntityKey) -> str:
    return _family_of(key[0])


@cache
def _family_of(kind: str) -> str:
    return kind if kind in SUPPORT else kind.partition(".")[0]


def _weighed(parts: object, support: float) -> tuple[tuple[Part, float], ...]:
    """The parts with what each adds: of one type the best in full, further ones less and less; things that may name several at most
    `support` in all."""
    found: list[tuple[Part, float]] = []
    of_type: dict[str, int] = {}
    left = support
    for part in sorted(parts, key=lambda p: (-p.points, p.thing)):  # type: ignore[call-overload]
        kind = _PLACE if part.luck or part.common else _ONE_OF.get(part.thing[0], part.thing[0])
        nth = of_type.get(kind, 0)
        of_type[kind] = nth + 1
        points = part.points * _FURTHER**nth
        if part.kind in SUPPORT:
            points = min(points, left)
            left -= points
        if points >= 0.05 or not found:
            found.append((part, points))
    return tuple(found)


def _at_most(parts: Iterable[Part]) -> float:
    """No less than the parts can add, whichever of them turn out to be of the kind `_PLACE`: of hosts, accounts and addresses two of a type may then
    count in full."""
    total = 0.0
    of_type: dict[str, int] = {}
    for part in sorted(parts, key=lambda p: -p.points):
        kind = _ONE_OF.get(part.thing[0], part.thing[0])
        nth = of_type.get(kind, 0)
        of_type[kind] = nth + 1
        total += part.points * _FURTHER ** (nth // 2 if kind in _WHERE else nth)
    return total


def _progress(one: frozenset[int], other: frozenset[int]) -> str:
    """The step from one side's stages to the other's that spans most of the kill chain, in words; empty where both tell of the same one."""
    if not one or not other:
        return ""
    forward, backward = max(one) - min(other), max(other) - min(one)
    if max(forward, backward) <= 0:
        return ""
    later, earlier = (max(one), min(other)) if forward >= backward else (max(other), min(one))
    return f"{spaced(TACTICS[later])} follows {spaced(TACTICS[earlier])}"
