"""Multistage patterns: alerts that mean little each and much together, as content (`packs/*/fusion/*.yaml`).

A pattern has stages and a thing that all of them must share (a host, an account, an address). When every stage has been seen on one thing
within the window, an alert of High severity says so and gathers the stages' alerts in one incident. Building blocks, signals and anomalies count
like any alert; what doesn't count is a rule that fires everywhere and a thing that everybody shares. The shape follows Sentinel's Fusion, whose
patterns are not public; every firing here names its stages.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from tocsin.base.ids import stable_id
from tocsin.detect.alert import SEVERITIES, Alert, Evidence, iso
from tocsin.incidents.background import Background, chance
from tocsin.incidents.facts import PATTERNS as PRODUCT
from tocsin.incidents.model import ordered_tactics
from tocsin.incidents.patterns import JOINS, Condition, Pattern, Stage, patterns_of, shipped_patterns
from tocsin.incidents.signature import HOUR, Signature, entity_keys
from tocsin.tables.entities import Entity, EntityKey
from tocsin.tables.own import own

__all__ = ["PRODUCT", "Condition", "Fired", "Fusion", "Pattern", "Stage", "patterns_of", "shipped_patterns"]

_MOST_HITS = 64
_UNSEEN = 0.5
"""What a stage that was never seen counts: that it wasn't doesn't say that it never comes."""
_PLACES = {"Host": "host", "Account": "account", "IP": "ip"}
"""Of what there are counted so many; of other things there are taken to be as many as hosts."""
_MOST_LOOKS = 4_096
_KEPT = 24 * HOUR
_TOGETHER = 1_000
"""So many things at most are forgotten at once."""


_TOLD = ("id", "rule_id", "rule", "title", "time", "end", "created", "severity", "tactics", "techniques", "product")
"""What is remembered of an alert: neither its rows nor its entities. Its rule is what it is `said_by`."""

_told = attrgetter("id", "said_by", *_TOLD[2:])

_Hit = tuple[int, float, tuple[Any, ...], tuple[EntityKey, ...]]
"""Which stage was seen, when, what tells of the alert (`_TOLD`), and, where stages share things of several types, by which it may hang together
with others. Tuples of plain values, which the collection of garbage leaves alone: there are
tens of thousands of them, and almost none is ever part of a pattern."""


_Stages = tuple[tuple[Stage, tuple[Alert, ...]], ...]

_MOST_PATHS = 64
"""So many ways from stage to stage at most are looked at for one alert."""


@dataclass(frozen=True, slots=True)
class Fired:
    """A pattern that was fulfilled: on which thing, by which alerts of each stage."""

    pattern: Pattern
    entity: Entity
    stages: _Stages

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """All stages' alerts, by time, each once."""
        found = {a.id: a for _, alerts in self.stages for a in alerts}
        return tuple(sorted(found.values(), key=lambda a: (a.time, a.id)))

    @property
    def reason(self) -> str:
        """The firing in a sentence."""
        steps = [f"{stage.name} ('{alerts[0].title or alerts[0].rule}')" for stage, alerts in self.stages]
        return f"pattern '{self.pattern.name}': {', '.join(steps)}"

    def alert(self, incident_id: str) -> Alert:
        """The alert that says so. One of a pattern in an incident: its id follows from both."""
        table = own("alert_reference")
        alerts = self.alerts
        tactics = ordered_tactics(t for a in alerts for t in a.tactics)
        rows = [
            Evidence(table.name, table.row(start=iso(a.time), title=a.title or a.rule, id=a.id, stage=stage.name))
            for stage, found in self.stages
            for a in found
        ]
        return Alert(
            id=stable_id("al", "fusion", self.pattern.id, incident_id),
            rule_id=self.pattern.id,
            rule=self.pattern.name,
            title=f"{self.pattern.name}: {self.entity.label}",
            time=alerts[0].time,
            end=max(a.end for a in alerts),
            created=max(a.created for a in alerts),
            severity="High",
            tactics=tactics,
            techniques=tuple(dict.fromkeys(t for a in alerts for t in a.techniques)),
            entities=(self.entity,),
            events=tuple(rows),
            count=len(alerts),
            description=self.pattern.description,
            product=PRODUCT,
            tags=self.pattern.tags,
        )


class Fusion:
    """Watches alerts for patterns. What it remembers is bounded by each pattern's window, and holds no alert's rows.

    A stage that is seen on many things anyway is seen by chance within a long window too: an alert below High severity is of a pattern only if it
    came so near to the other stages that chance seldom would.
    """

    def __init__(
        self, patterns: Sequence[Pattern] = (), background: Background | None = None, coincidence: float = 1.0
    ) -> None:
        """`background` says how many things there are and since when they are watched; `coincidence` is the chance at which something is news."""
        self.patterns = patterns
        self._background = background
        self.coincidence = coincidence
        self._joins = tuple(p.joins for p in patterns)
        every = [j for joins in self._joins for j in joins]
        self._stages_of = {j: every.count(j) for j in set(every)}
        self._parts = tuple(_parts(joins) for joins in self._joins)
        self._seen: tuple[tuple[dict[int, int], ...], ...] = tuple(tuple({} for _ in p.stages) for p in patterns)
        """By pattern and stage, on how many things it was seen, by hour."""
        self._hits: tuple[dict[EntityKey, tuple[_Hit, ...]], ...] = tuple({} for _ in patterns)
        """By pattern and thing, the one that was touched longest ago first: what was seen of its stages."""
        self._called: tuple[dict[EntityKey, tuple[str, tuple[tuple[str, str], ...]]], ...] = tuple({} for _ in patterns)
        """By pattern and thing, its type and identifiers."""
        self._fitting_of: dict[tuple[Any, ...], tuple[tuple[int, tuple[int, ...]], ...]] = {}

    def notice(self, alert: Alert, sign: Signature, keys: Iterable[EntityKey]) -> list[Fired]:
        """Takes in an alert; gives the patterns that it fulfils. `keys` are those of its things that are rare enough to mean anything."""
        if alert.product == PRODUCT:
            return []
        fits = self._fitting(alert)
        if not fits:
            return []
        found: list[Fired] = []
        named: dict[EntityKey, Entity] = {}
        usable, told = list(keys), _told(alert)
        for place, fitting in fits:
            pattern, seen, parts = self.patterns[place], self._hits[place], self._parts[place]
            kinds = frozenset[str]().union(*(JOINS[join] for join, _, _ in parts))
            joining = [k for k in usable if k[0].partition(".")[0] in kinds]
            self._count(place, fitting, joining, sign.time)
            by = tuple(joining) if len(parts) > 1 else ()
            named = named or entity_keys(alert.entities)
            for key in joining:
                self._call(place, key, named.get(key))
                held = (*seen.pop(key, ()), *((stage, sign.time, told, by) for stage in fitting))
                seen[key] = _bounded(held)  # it is forgotten last from now on
            for key, hits in self._together(place, fitting, joining):
                fired = self._news(place, _fulfilled(pattern, hits, sign.time), sign.time)
                if not any(a.id == alert.id for _, alerts in fired for a in alerts):
                    continue  # it is no part of what is fulfilled
                if (called := self._called[place].get(key)) is not None:
                    found.append(Fired(pattern, Entity(called[0], dict(called[1])), fired))
                    break  # an account has several keys: one of them is enough
        return found

    def _call(self, place: int, key: EntityKey, entity: Entity | None) -> None:
        """Remembers what a thing is called, by the fullest of its names: which alert came last doesn't matter to a pattern's title."""
        if entity is None:
            return
        called = (entity.type, tuple(sorted(entity.identifiers.items())))
        held = self._called[place].get(key)
        if held is None or (len(held[1]), len(str(held)), str(held)) < (len(called[1]), len(str(called)), str(called)):
            self._called[place][key] = called

    def _together(
        self, place: int, fitting: Sequence[int], keys: Sequence[EntityKey]
    ) -> Iterator[tuple[EntityKey, Sequence[_Hit]]]:
        """What was seen of the pattern's stages that hangs together with a thing of the alert that was just taken in, and the thing of its first
        stages."""
        seen, parts = self._hits[place], self._parts[place]
        if len(parts) == 1:
            yield from ((key, seen[key]) for key in keys)
            return
        looked = 0
        for number, (join, first, last) in enumerate(parts):
            if not any(first <= stage <= last for stage in fitting):
                continue
            for key in (k for k in keys if k[0].partition(".")[0] in JOINS[join]):
                for path in self._paths(place, number, key):
                    looked += 1
                    if looked > _MOST_PATHS:
                        return
                    yield path[0], self._along(place, path)

    def _paths(self, place: int, number: int, key: EntityKey) -> Iterator[tuple[EntityKey, ...]]:
        """The things, one for each part of a pattern, that lead from its first stage to its last through that thing in the part of that number."""
        for before in self._onward(place, number, key, -1):
            for after in self._onward(place, number, key, 1):
                yield (*reversed(before[1:]), *after)

    def _onward(self, place: int, number: int, key: EntityKey, step: int) -> Iterator[tuple[EntityKey, ...]]:
        parts = self._parts[place]
        following = number + step
        if not 0 <= following < len(parts):
            yield (key,)
            return
        # The stage that both parts have leads from a thing of one type to one of another.
        bridge = parts[max(number, following)][1]
        kinds = JOINS[parts[following][0]]
        hits = self._hits[place].get(key, ())
        others = dict.fromkeys(k for h in hits if h[0] == bridge for k in h[3] if k[0].partition(".")[0] in kinds)
        for other in others:
            for rest in self._onward(place, following, other, step):
                yield (key, *rest)

    def _along(self, place: int, path: Sequence[EntityKey]) -> Sequence[_Hit]:
        """What was seen of the stages along a path: each stage at its part's thing, one that leads from part to part at both."""
        seen, parts = self._hits[place], self._parts[place]
        bridges = {first for _, first, _ in parts[1:]}
        found: list[_Hit] = []
        for number, ((_, first, last), key) in enumerate(zip(parts, path, strict=True)):
            for hit in seen.get(key, ()):
                begins = hit[0] == first and number > 0
                if not first <= hit[0] <= last or begins:
                    continue  # a bridge is taken with the part that ends there
                if hit[0] in bridges and hit[0] == last and path[number + 1] not in hit[3]:
                    continue
                found.append(hit)
        return found

    def _fitting(self, alert: Alert) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """The patterns of which the alert may be a stage, and which stages, by their places. A rule's alerts are mostly alike."""
        looks = (
            alert.said_by, alert.title or alert.rule, alert.severity, alert.product, alert.tactics, alert.techniques, alert.tags,
        )  # fmt: skip
        found = self._fitting_of.get(looks)
        if found is None:
            stages = (tuple(n for n, s in enumerate(p.stages) if s.fits(alert)) for p in self.patterns)
            found = tuple((place, fitting) for place, fitting in enumerate(stages) if fitting)
            if len(self._fitting_of) >= _MOST_LOOKS:
                self._fitting_of.clear()
            self._fitting_of[looks] = found
        return found

    def entries(self) -> tuple[list[Mapping[EntityKey, Any]], list[Any]]:
        """All that it remembers, for `restore`: by pattern things with what was seen of them, and counts of stages."""
        seen = [(n, m, tuple(hours.items())) for n, stages in enumerate(self._seen) for m, hours in enumerate(stages)]
        return [hits.copy() for hits in self._hits], seen

    def restore(self, place: int, hits: Iterable[tuple[EntityKey, Any]]) -> None:
        """Remembers again what was seen of things for the pattern at that place; the patterns are the same."""
        self._hits[place].update(hits)

    def restore_counts(self, seen: Iterable[Any]) -> None:
        """Remembers the counts again."""
        for place, stage, hours in seen:
            self._seen[place][stage].update(hours)

    def forget(self, now: float) -> None:
        """Drops what lies before the windows, at least a day back for alerts that are late; not all at once."""
        for pattern, seen, called in zip(self.patterns, self._hits, self._called, strict=True):
            since = now - max(pattern.window.total_seconds(), _KEPT)
            gone: list[EntityKey] = []
            for key, hits in seen.items():
                if any(hit[1] >= since for hit in hits) or len(gone) >= _TOGETHER:
                    break
                gone.append(key)
            for key in gone:
                del seen[key]
                called.pop(key, None)
        if self._background is not None:
            first = int((now - self._background.window) // HOUR)
            for hours in (hours for stages in self._seen for hours in stages):
                for hour in [h for h in hours if h < first]:
                    del hours[hour]

    def _count(self, place: int, stages: Sequence[int], keys: Sequence[EntityKey], time: float) -> None:
        """Counts an alert's thing for its stages, once an hour."""
        hour = int(time // HOUR)
        known = {h[0] for k in keys for h in self._hits[place].get(k, ()) if int(h[1] // HOUR) == hour}
        for stage in stages if keys else ():
            if stage not in known:
                hours = self._seen[place][stage]
                hours[hour] = hours.get(hour, 0) + 1

    def _news(self, place: int, stages: _Stages, now: float) -> _Stages:
        """The stages with only the alerts that chance alone would hardly have put there; nothing where a stage is left with too few."""
        background = self._background
        if not stages or background is None:
            return stages
        observed = background.observed(now)
        until, since = background.hours(now)
        if not observed:
            # Where alerts come from machines all over all the same, what was counted so far has to do, the last hour and these alerts included.
            observed, until = background.looked_on(now), int(now // HOUR) + 1
        if not observed:
            return stages
        kept: list[tuple[Stage, tuple[Alert, ...]]] = []
        for n, (stage, alerts) in enumerate(stages):
            join = self._joins[place][n]
            places = max(background.places(_PLACES.get(join, "host")), 1)
            # The more stages there are that a thing's alerts may be of, the more easily chance fulfils a pattern.
            most = self.coincidence / (self._stages_of[join] if len(stages) > 1 else 1)
            count = sum(c for hour, c in self._seen[place][n].items() if since <= hour < until)
            rate = (count + _UNSEEN) / (places * observed)
            others = [a.time for m, (_, found) in enumerate(stages) if m != n for a in found]
            times, among = sorted(others or [a.time for a in alerts]), not others
            near = tuple(
                a
                for a in alerts
                if a.severity == SEVERITIES[-1] or chance(rate, _nearest(times, a.time, among=among)) <= most
            )
            if not near or not stage.reached_by(near):
                return ()
            kept.append((stage, near))
        return tuple(kept)


def _parts(joins: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """The parts of a pattern whose stages share a thing of one type: that type, its first and its last stage. A part begins with the stage at
    which the one before it ends."""
    found: list[tuple[str, int, int]] = []
    for n, join in enumerate(joins):
        if found and found[-1][0] == join:
            found[-1] = (join, found[-1][1], n)
        else:
            found.append((join, max(n - 1, 0), n))
    return tuple(found)


def _nearest(times: Sequence[datetime], moment: datetime, *, among: bool) -> float:
    """Seconds from a moment to the nearest of some in order; where it is `among` them, to the nearest other one. An hour where there is none."""
    at = bisect_left(times, moment)
    beside = (*times[max(at - 1, 0) : at], *times[at + among : at + among + 1])
    return min((abs((moment - t).total_seconds()) for t in beside), default=HOUR)


def _bounded(hits: tuple[_Hit, ...]) -> tuple[_Hit, ...]:
    """The hits without a stage's first ones where there are too many of it."""
    if len(hits) <= _MOST_HITS:
        return hits
    kept: dict[int, int] = {}
    last: list[_Hit] = []
    for hit in reversed(hits):
        kept[hit[0]] = kept.get(hit[0], 0) + 1
        if kept[hit[0]] <= _MOST_HITS:
            last.append(hit)
    return tuple(reversed(last))


def _fulfilled(pattern: Pattern, hits: Sequence[_Hit], now: float) -> _Stages:
    """The stages with their alerts where all are seen within the window around the newest; nothing else."""
    if len({hit[0] for hit in hits}) < len(pattern.stages):
        return ()
    window = pattern.window.total_seconds()
    near: list[list[tuple[float, Alert]]] = []
    for place in range(len(pattern.stages)):
        seen = ((hit[1], hit[2]) for hit in hits if hit[0] == place and abs(hit[1] - now) <= window)
        alerts = ((t, Alert(**dict(zip(_TOLD, told, strict=True)))) for t, told in seen)
        near.append(sorted({a.id: (t, a) for t, a in alerts}.values(), key=lambda h: (h[0], h[1].id)))
    found = _each_of_its_own(pattern, near, frozenset(), float("-inf"))
    return _leading_on(found) if found and pattern.ordered else tuple(found)


def _each_of_its_own(
    pattern: Pattern, near: Sequence[Sequence[tuple[float, Alert]]], used: frozenset[str], since: float
) -> list[tuple[Stage, tuple[Alert, ...]]]:
    """The stages that `near` has alerts for, each shown by a rule that shows none of the others: a rule that fits two stages and fires twice has
    seen one thing twice. Where stages are ordered, the alerts of a stage are those from its predecessor's first on. Nothing where a stage lacks."""
    if not near:
        return []
    stage = pattern.stages[-len(near)]
    alone = len(pattern.stages) == 1
    able = [(t, a) for t, a in near[0] if t >= since and (alone or a.rule_id not in used)]
    alerts = tuple(a for _, a in able)
    if not alerts or not stage.reached_by(alerts):
        return []
    if len(near) == 1:
        return [(stage, alerts)]
    first: dict[str, float] = {}
    for t, a in able:
        first.setdefault(a.rule_id, t)
    for rule, t in first.items():
        rest = _each_of_its_own(pattern, near[1:], used | {rule}, t if pattern.ordered else since)
        if rest:
            return [(stage, alerts), *rest]
    return []


def _leading_on(stages: Sequence[tuple[Stage, tuple[Alert, ...]]]) -> _Stages:
    """The stages with only the alerts after which the next stage was seen: what begins anew after the last one is no part of it."""
    kept: list[tuple[Stage, tuple[Alert, ...]]] = []
    until: datetime | None = None
    for stage, alerts in reversed(stages):
        before = tuple(a for a in alerts if until is None or a.time <= until)
        if not before:
            return ()
        until = max(a.time for a in before)
        kept.append((stage, before))
    return tuple(reversed(kept))
