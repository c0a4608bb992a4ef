"""Multistage patterns: alerts that mean little each and much together, as content (`packs/*/fusion/*.yaml`).

A pattern has stages and a thing that all of them must share (a host, an account, an address). When every stage has been seen on one thing
within the window, an alert of High severity says so and gathers the stages' alerts in one incident. Building blocks, signals and anomalies count
like any alert; what doesn't count is a rule that fires everywhere and a thing that everybody shares. The shape follows Sentinel's Fusion, whose
patterns are not public; every firing here names its stages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Any

from tocsin.base.errors import ContentError, did_you_mean
from tocsin.base.ids import stable_id
from tocsin.content import Content, FusionFile
from tocsin.detect.alert import SEVERITIES, TACTICS, Alert, Evidence, iso
from tocsin.detect.durations import parse_duration
from tocsin.incidents.background import Background, chance
from tocsin.incidents.signature import HOUR, Signature
from tocsin.tables.entities import Entity, EntityKey
from tocsin.tables.own import own

__all__ = ["Fired", "Fusion", "Pattern", "Stage", "patterns_of", "shipped_patterns"]

PRODUCT = "Fusion"

_FAMILIES: Mapping[str, frozenset[str]] = {
    "Host": frozenset({"host", "hostname"}),
    "Account": frozenset({"account"}),
    "IP": frozenset({"ip"}),
}
_FAMILY: Mapping[str, str] = {"Host": "host", "Account": "account", "IP": "ip"}
_STAGE_KEYS = ("name", "any", "rules", "tactics")
_CONDITIONS = ("tactics", "techniques", "severities", "products", "rules", "tags", "title")
_MOST_HITS = 64
_UNSEEN = 0.5
"""What a stage that was never seen counts: that it wasn't doesn't say that it never comes."""
_MOST_LOOKS = 4_096
_KEPT = 24 * HOUR
_TOGETHER = 1_000
"""So many things at most are forgotten at once."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What an alert must be: every part that is given must hold; a part holds when one of its values does."""

    tactics: frozenset[str] = frozenset()
    techniques: tuple[str, ...] = ()
    severities: frozenset[str] = frozenset()
    products: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    title: re.Pattern[str] | None = None

    def fits(self, alert: Alert) -> bool:
        """Whether the alert is that. A technique stands for its sub-techniques."""
        return (
            (not self.tactics or not self.tactics.isdisjoint(alert.tactics))
            and (
                not self.techniques
                or any(t == w or t.startswith(f"{w}.") for t in alert.techniques for w in self.techniques)
            )
            and (not self.severities or alert.severity in self.severities)
            and (not self.products or alert.product in self.products)
            and (not self.rules or alert.rule_id in self.rules)
            and (not self.tags or not self.tags.isdisjoint(t.lower() for t in alert.tags))
            and (self.title is None or self.title.search(alert.title or alert.rule) is not None)
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: seen when alerts of at least `rules` rules and `tactics` tactics fit one of its conditions."""

    name: str
    conditions: tuple[Condition, ...]
    rules: int = 1
    tactics: int = 1

    def fits(self, alert: Alert) -> bool:
        """Whether the alert may be of this stage."""
        return any(c.fits(alert) for c in self.conditions)

    def reached_by(self, alerts: Sequence[Alert]) -> bool:
        """Whether they are of enough rules and tactics."""
        return (
            len({a.rule_id for a in alerts}) >= self.rules
            and len({t for a in alerts for t in a.tactics}) >= self.tactics
        )


_Stages = tuple[tuple[Stage, tuple[Alert, ...]], ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A multistage pattern. `ordered`: each stage begins no earlier than the one before it."""

    id: str
    name: str
    description: str
    join: str
    window: timedelta
    stages: tuple[Stage, ...]
    ordered: bool = True
    tags: tuple[str, ...] = ()


_TOLD = ("id", "rule_id", "rule", "title", "time", "end", "created", "severity", "tactics", "techniques", "product")
"""What is remembered of an alert: neither its rows nor its entities."""

_told = attrgetter(*_TOLD)

_Hit = tuple[int, float, tuple[Any, ...]]
"""Which stage was seen, when, and what tells of the alert (`_TOLD`). Tuples of plain values, which the collection of garbage leaves alone: there are
tens of thousands of them, and almost none is ever part of a pattern."""


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
        tactics = sorted({t for a in alerts for t in a.tactics}, key=lambda t: TACTICS.index(t) if t in TACTICS else 99)
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
            tactics=tuple(tactics),
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
        self._coincidence = coincidence
        self._stages_of = {j: sum(len(p.stages) for p in patterns if p.join == j) for j in {p.join for p in patterns}}
        self._seen: tuple[tuple[dict[int, int], ...], ...] = tuple(tuple({} for _ in p.stages) for p in patterns)
        """By pattern and stage, on how many things it was seen, by hour."""
        self._hits: tuple[dict[EntityKey, tuple[_Hit, ...]], ...] = tuple({} for _ in patterns)
        """By pattern and thing, the one that was touched longest ago first: what was seen of its stages."""
        self._fitting_of: dict[tuple[Any, ...], tuple[tuple[int, tuple[int, ...]], ...]] = {}

    def notice(self, alert: Alert, sign: Signature, keys: Iterable[EntityKey]) -> list[Fired]:
        """Takes in an alert; gives the patterns that it fulfils. `keys` are those of its things that are rare enough to mean anything."""
        if alert.product == PRODUCT:
            return []
        fits = self._fitting(alert)
        if not fits:
            return []
        found: list[Fired] = []
        usable, told = list(keys), _told(alert)
        for place, fitting in fits:
            pattern, seen = self.patterns[place], self._hits[place]
            joining = [k for k in usable if k[0].partition(".")[0] in _FAMILIES[pattern.join]]
            self._count(place, fitting, joining, sign.time)
            for key in joining:
                hits = (*seen.pop(key, ()), *((stage, sign.time, told) for stage in fitting))
                seen[key] = hits = _bounded(hits)  # it is forgotten last from now on
                fired = self._news(place, _fulfilled(pattern, hits, sign.time), sign.time)
                if not any(a.id == alert.id for _, alerts in fired for a in alerts):
                    continue  # it is no part of what is fulfilled
                entity = next((e for e in alert.entities if key in (*e.strong_keys(), *e.weak_keys())), None)
                if entity is not None:
                    found.append(Fired(pattern, entity, fired))
                    break  # an account has several keys: one of them is enough
        return found

    def _fitting(self, alert: Alert) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """The patterns of which the alert may be a stage, and which stages, by their places. A rule's alerts are mostly alike."""
        looks = (
            alert.rule_id, alert.title or alert.rule, alert.severity, alert.product, alert.tactics, alert.techniques, alert.tags,
        )  # fmt: skip
        found = self._fitting_of.get(looks)
        if found is None:
            stages = (tuple(n for n, s in enumerate(p.stages) if s.fits(alert)) for p in self.patterns)
            found = tuple((place, fitting) for place, fitting in enumerate(stages) if fitting)
            if len(self._fitting_of) >= _MOST_LOOKS:
                self._fitting_of.clear()
            self._fitting_of[looks] = found
        return found

    def forget(self, now: float) -> None:
        """Drops what lies before the windows, at least a day back for alerts that are late; not all at once."""
        for pattern, seen in zip(self.patterns, self._hits, strict=True):
            since = now - max(pattern.window.total_seconds(), _KEPT)
            gone: list[EntityKey] = []
            for key, hits in seen.items():
                if any(time >= since for _, time, _ in hits) or len(gone) >= _TOGETHER:
                    break
                gone.append(key)
            for key in gone:
                del seen[key]
        if self._background is not None:
            first = int((now - self._background.window) // HOUR)
            for hours in (hours for stages in self._seen for hours in stages):
                for hour in [h for h in hours if h < first]:
                    del hours[hour]

    def _count(self, place: int, stages: Sequence[int], keys: Sequence[EntityKey], time: float) -> None:
        """Counts an alert's thing for its stages, once an hour."""
        hour = int(time // HOUR)
        known = {of for k in keys for of, when, _ in self._hits[place].get(k, ()) if int(when // HOUR) == hour}
        for stage in stages if keys else ():
            if stage not in known:
                hours = self._seen[place][stage]
                hours[hour] = hours.get(hour, 0) + 1

    def _news(self, place: int, stages: _Stages, now: float) -> _Stages:
        """The stages with only the alerts that chance alone would hardly have put there; nothing where a stage is left with too few."""
        background = self._background
        if len(stages) < 2 or background is None or not (observed := background.observed(now)):
            return stages
        join = self.patterns[place].join
        places = max(background.places(_FAMILY[join]), 1)
        # The more stages there are that a thing's alerts may be of, the more easily chance fulfils a pattern.
        most = self._coincidence / self._stages_of[join]
        until, since = background.hours(now)
        kept: list[tuple[Stage, tuple[Alert, ...]]] = []
        for n, (stage, alerts) in enumerate(stages):
            count = sum(c for hour, c in self._seen[place][n].items() if since <= hour < until)
            rate = (count + _UNSEEN) / (places * observed)
            others = [a.time for m, (_, found) in enumerate(stages) if m != n for a in found]
            near = tuple(
                a
                for a in alerts
                if a.severity == SEVERITIES[-1]
                or chance(rate, min(abs((a.time - t).total_seconds()) for t in others)) <= most
            )
            if not near or not stage.reached_by(near):
                return ()
            kept.append((stage, near))
        return tuple(kept)


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
    if len({stage for stage, _, _ in hits}) < len(pattern.stages):
        return ()
    window = pattern.window.total_seconds()
    found: list[tuple[Stage, tuple[Alert, ...]]] = []
    since = float("-inf")
    used: set[str] = set()
    for place, stage in enumerate(pattern.stages):
        seen = ((time, told) for of, time, told in hits if of == place and abs(time - now) <= window)
        near = sorted(
            ((t, Alert(**dict(zip(_TOLD, told, strict=True)))) for t, told in seen), key=lambda h: (h[0], h[1].id)
        )
        if pattern.ordered:
            near = [h for h in near if h[0] >= since]
        near = [h for h in near if h[1].id not in used or len(pattern.stages) == 1]
        alerts = tuple({a.id: a for _, a in near}.values())
        if not alerts or not stage.reached_by(alerts):
            return ()
        since = near[0][0]
        used.add(alerts[0].id)
        found.append((stage, alerts))
    return _leading_on(found) if pattern.ordered else tuple(found)


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


# ---------------------------------------------------------------------------------------------- content


@cache
def shipped_patterns() -> tuple[Pattern, ...]:
    """The patterns of the packs that ship with Tocsin: what a correlator uses when it is given none."""
    from tocsin.content import load_packs, packs_dir

    return tuple(patterns_of(load_packs([packs_dir()], only=("fusion",)))[0])


def patterns_of(content: Content) -> tuple[list[Pattern], list[ContentError]]:
    """The packs' patterns, and what is wrong with the others (CNT0010 to CNT0013, with file and line)."""
    patterns, problems = [], []
    for file in content.fusion:
        found = _Reader(file)
        pattern = found.pattern()
        problems.extend(found.problems)
        if pattern is not None and not found.problems:
            patterns.append(pattern)
    return patterns, problems


class _Reader:
    """Reads one file's pattern."""

    def __init__(self, file: FusionFile) -> None:
        self.file, self.problems = file, list[ContentError]()

    def pattern(self) -> Pattern | None:
        value: Mapping[str, Any] = self.file.document.value
        self._unknown(value, ("id", "name", "description", "join", "window", "ordered", "tags", "stages"), ())
        join = str(value.get("join") or "")
        if join not in _FAMILIES:
            self._wrong(
                f"'join' is one of {', '.join(_FAMILIES)}.",
                ("join",) if "join" in value else (),
                did_you_mean(join, _FAMILIES),
            )
        window = parse_duration(str(value.get("window") or ""))
        if not window:
            self._wrong("'window' is a time such as 30m, 24h or 7d.", ("window",) if "window" in value else (), "")
        stages = value.get("stages")
        if not isinstance(stages, list) or not stages:
            self._wrong("A pattern has at least one stage.", ("stages",) if "stages" in value else (), "")
            return None
        made = [self._stage(stage, ("stages", n)) for n, stage in enumerate(stages)]
        return Pattern(
            self.file.id,
            self.file.name,
            str(value.get("description") or "").strip(),
            join,
            window or timedelta(0),
            tuple(s for s in made if s is not None),
            bool(value.get("ordered", True)),
            tuple(str(t) for t in value.get("tags") or ()),
        )

    def _stage(self, value: Any, path: tuple[str | int, ...]) -> Stage | None:
        if (
            not isinstance(value, dict)
            or not value.get("name")
            or not isinstance(value.get("any"), list)
            or not value["any"]
        ):
            self._wrong("A stage has a 'name' and, under 'any', conditions of which one must fit.", path, "")
            return None
        self._unknown(value, _STAGE_KEYS, path)
        conditions = tuple(self._condition(c, (*path, "any", n)) for n, c in enumerate(value["any"]))
        counts = {}
        for name in ("rules", "tactics"):
            counts[name] = value.get(name, 1)
            if not isinstance(counts[name], int) or counts[name] < 1:
                self._wrong(f"'{name}' is a whole number from 1.", (*path, name), "")
                counts[name] = 1
        return Stage(str(value["name"]), conditions, **counts)

    def _condition(self, value: Any, path: tuple[str | int, ...]) -> Condition:
        if not isinstance(value, dict) or not value:
            self._wrong(f"A condition is a mapping with some of {', '.join(_CONDITIONS)}.", path, "")
            return Condition()
        self._unknown(value, _CONDITIONS, path)
        lists = {
            n: tuple(str(v) for v in value.get(n) or ())
            for n in _CONDITIONS
            if n != "title" and not isinstance(value.get(n), str)
        }
        for name, known in (("tactics", TACTICS), ("severities", SEVERITIES)):
            for text in lists.get(name, ()):
                if text not in known:
                    self._wrong(f"There is no '{text}'.", (*path, name), did_you_mean(text, known))
        title = None
        if value.get("title"):
            try:
                title = re.compile(str(value["title"]), re.IGNORECASE)
            except re.error as error:
                self._wrong(f"'title' is no regular expression: {error}.", (*path, "title"), "")
        return Condition(
            frozenset(lists.get("tactics", ())),
            lists.get("techniques", ()),
            frozenset(lists.get("severities", ())),
            frozenset(lists.get("products", ())),
            frozenset(lists.get("rules", ())),
            frozenset(t.lower() for t in lists.get("tags", ())),
            title,
        )

    def _unknown(self, value: Mapping[str, Any], known: Sequence[str], path: tuple[str | int, ...]) -> None:
        for name in value:
            if name not in known:
                self._wrong(f"There is no '{name}' here.", (*path, name), did_you_mean(str(name), known))

    def _wrong(self, text: str, path: tuple[str | int, ...], hint: str) -> None:
        self.problems.append(self.file.document.error(text, path, code="CNT0012", hint=hint))
