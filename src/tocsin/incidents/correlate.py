"""Correlation: which alerts belong to one attack, and why.

An alert joins the incident with which it shares enough: points for each shared thing (an entity's key, by how surely it names one
thing), scaled down for things that many share and for time that lies between, plus points for another step of a kill chain. Two incidents become one
when they share enough in the same way. Every join keeps its reasons. The method is ours and open; the facts that it copies (strong and weak
identifiers, merge vetoes, no new incident made by a merge) are Defender's published behaviour.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Literal

from tocsin.detect.alert import SEVERITIES, Alert
from tocsin.incidents.background import Background
from tocsin.incidents.changes import IncidentChange, condense
from tocsin.incidents.cluster import Cluster, Company, Reader, Resting, Worth, last_of, outline
from tocsin.incidents.fusion import PRODUCT, Fired, Fusion, Pattern, shipped_patterns
from tocsin.incidents.held import LARGE, Held
from tocsin.incidents.hindsight import LARGEST, Hindsight, Regrouped
from tocsin.incidents.links import Links, shipped_links
from tocsin.incidents.model import Incident, LinkedAlert, Reason, Status
from tocsin.incidents.score import Past, Score, Scorer
from tocsin.incidents.signature import HOUR, Signature, entity_keys, signature
from tocsin.incidents.vetoes import merge_vetoes, vetoes
from tocsin.incidents.weights import CorrelationSettings
from tocsin.tables.entities import EntityKey

__all__ = [
    "LATE",
    "REMEMBERED_BY",
    "Candidate",
    "CorrelationSettings",
    "Correlator",
    "IncidentChange",
    "Remembered",
    "entity_keys",
    "merge_vetoes",
]

_MEDIUM, _HIGH = SEVERITIES.index("Medium"), SEVERITIES.index("High")
_ALONE = frozenset({"process", "session", "mail"})
"""Kinds of which company says nothing."""

REMEMBERED_BY = ("horizon", "noisy_hosts")
"""Settings that say what is remembered, and how; all others say what follows from it."""

LATE = timedelta(hours=24)
"""Alerts that are late by so much still find all that lies within the horizon before them."""

_FEW = 32
"""A supporting thing that more incidents hold than this tips no scales."""

_TIDY_EVERY = 100
_TOGETHER = 1_000
"""So many incidents at most are forgotten at once, far more than come meanwhile: nobody waits for what a quiet week left."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An incident that an alert could join: its score against it, the reasons, and whether the threshold is reached."""

    incident: Incident
    score: float
    reasons: tuple[Reason, ...]
    joins: bool


@dataclass(frozen=True, slots=True)
class Size:
    """How much a correlator holds: incidents, alerts, keys by which they are found, things whose company it remembers."""

    incidents: int
    alerts: int
    keys: int
    things: int


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a correlator remembers at a moment: its incidents, of which only those at rest are to be kept, and the rest by the parts' names. See
    `Correlator.remembered`."""

    clusters: Mapping[str, Cluster | Resting]
    parts: tuple[tuple[str, Sequence[Any] | Mapping[Any, Any]], ...]


class Correlator:
    """Holds the incidents that may still grow and joins alerts to them.

    Alerts are taken in the order given; for a replay give them by time. The same alerts in the same order give the same incidents. What lies further
    back than the horizon and a day before the newest alert is forgotten, so that memory is bounded by what happens in that time.
    """

    def __init__(
        self,
        incidents: Iterable[Incident] = (),
        settings: CorrelationSettings | None = None,
        *,
        apart: frozenset[frozenset[str]] = frozenset(),
        links: Links | None = None,
        patterns: Sequence[Pattern] | None = None,
    ) -> None:
        """`apart`: pairs of incidents' ids that are never merged, because people took them apart. `links` and `patterns`: those of the
        packs; None for the shipped ones."""
        self._apart = apart
        self.more_vetoes: Callable[[Incident, Incident], Sequence[str]] = lambda _one, _other: ()
        """What else speaks against a merge, besides `merge_vetoes`."""
        self.settings = settings or CorrelationSettings()
        self.links = links if links is not None else shipped_links()
        horizon = self.settings.horizon.total_seconds()
        self._company = Company(horizon)
        self._fired = Company(horizon)
        self._background = Background(horizon, self.settings.background_alerts)
        self._scorer = Scorer(self.settings, self._company, self._background)
        self.patterns = shipped_patterns() if patterns is None else tuple(patterns)
        self._fusion = Fusion(self.patterns, self._background, self.settings.coincidence)
        self._held = Held()
        self.hindsight = Hindsight()
        self.handled: Callable[[Collection[str]], Collection[str]] = lambda _incidents: ()
        """Which of the incidents anybody has touched that it doesn't see: looking back leaves them as they are."""
        self._regrouped = Regrouped()
        self._newest = 0.0
        self._since_tidy = 0
        self._moved: dict[str, datetime] = {}
        self._adopt(sorted(incidents, key=lambda i: (i.first, i.id)))

    @property
    def reader(self) -> Reader | None:
        """Who has the incidents that it was not given: those that it adopted or recalled."""
        return self._held.reader

    @reader.setter
    def reader(self, reader: Reader | None) -> None:
        self._held.reader = reader

    @property
    def apart(self) -> frozenset[frozenset[str]]:
        """Pairs of incidents' ids that are never merged."""
        return self._apart

    def under(self, settings: CorrelationSettings) -> Correlator | None:
        """The same memory under other settings; this correlator is of no use afterwards. None where they would have made another memory: then
        everything has to be read anew."""
        if any(getattr(settings, name) != getattr(self.settings, name) for name in REMEMBERED_BY):
            return None
        made = copy(self)
        made.settings = settings
        made._scorer = Scorer(settings, self._company, self._background)
        self._background.needs(settings.background_alerts)
        self._fusion.coincidence = settings.coincidence
        return made

    @property
    def incidents(self) -> list[Incident]:
        """The incidents that people see, by first event."""
        every = (self._held.woken(i).incident for i in self._held.clusters)
        shown = [i for i in every if i.promoted and i.status is not Status.REDIRECTED]
        return sorted(shown, key=lambda i: (i.first, i.id))

    @property
    def size(self) -> Size:
        """How much it holds in memory."""
        held = self._held
        return Size(len(held.clusters), len(held.alerts), len(held.holders), len(self._company) + len(self._fired))

    def get(self, incident_id: str) -> Incident | None:
        """The incident of that id, or None."""
        return self._held.woken(incident_id).incident if incident_id in self._held.clusters else None

    def holding(self, alert_id: str) -> Incident | None:
        """The incident, shown or not, that holds that alert; None for one that it doesn't know."""
        return self.get(self._held.alerts.get(alert_id, ""))

    def knows(self, alert_id: str) -> bool:
        """Whether it holds that alert. One that is too old for anything to join it is forgotten."""
        return alert_id in self._held.alerts

    def add(self, alerts: Sequence[Alert]) -> list[IncidentChange]:
        """Joins alerts to incidents, opening new ones where nothing fits. An alert that is known already changes nothing."""
        self._moved.clear()
        self._held.lay_to_rest()  # never later: until the next call whoever calls may change the incidents that it was told of
        changes: list[IncidentChange] = []
        for alert in alerts:
            if alert.id in self._held.alerts:
                continue
            self._held.grown()
            sign = signature(alert, self.links)
            self._notice(sign)
            self.hindsight.note(sign)
            changes.extend(self._add(alert, sign))
            for fired in self._watched(alert, sign):
                changes.extend(self._fuse(fired, alert))
            if self.hindsight.due(self._background, self._newest):
                changes.extend(self._look_back())
        return condense(changes)

    def preview(self, alert: Alert) -> list[Candidate]:
        """What would join, and why: every open incident that shares something of weight with the alert, best first. Changes nothing."""
        sign = signature(alert, self.links)
        alone = self._alone(alert, sign)
        found = [
            Candidate(other.incident, score.points, score.reasons(), score.joins and alert.correlate)
            for other, score in self._scored(alone, sign.things, whole=True)
            if score.points > 0
        ]
        return sorted(found, key=lambda c: (-c.score, c.incident.first, c.incident.id))

    def neighbours(self, incident_id: str) -> list[Candidate]:
        """The open incidents, shown or not, that share something with that one, nearest first: what would join it, and why. Changes nothing."""
        if incident_id not in self._held.clusters:
            return []
        cluster = self._held.woken(incident_id)
        found = [
            Candidate(other.incident, score.points, score.reasons(), score.joins)
            for other, score in self._scored(cluster, list(cluster.things), whole=True)
            if score.points > 0
        ]
        return sorted(found, key=lambda c: (-c.score, c.incident.first, c.incident.id))

    def concerned(self, keys: Iterable[EntityKey], since: datetime) -> list[Alert]:
        """The alerts that name one of those things and happened since then, by time."""
        wanted = frozenset(keys)
        held = {i for k in wanted for i in self._held.holders.of(k)}
        found = [
            linked.alert
            for incident_id in held
            if last_of(self._held.clusters[incident_id]) >= since.timestamp()
            for linked in self._held.woken(incident_id).incident.alerts
            if linked.alert.time >= since
            and any(k in wanted for e in linked.alert.entities for k in (*e.strong_keys(), *e.weak_keys()))
        ]
        return sorted(found, key=lambda a: (a.time, a.id))

    def learn(self, alert: Alert) -> list[IncidentChange]:
        """Takes in aliases that were learned after the alert was: `alert` is one that it knows, with more of them. May merge incidents, as an
        alert that came late may; never takes one apart."""
        cluster = self._held.holder(alert.id)
        if cluster is None:
            return []
        incident = cluster.incident
        at = _place(incident, alert)
        linked = incident.alerts[at]
        before, after = signature(linked.alert, self.links), signature(alert, self.links)
        added = {k: a for k, a in after.via.items() if k not in before.things}
        incident.alerts[at] = replace(linked, alert=replace(linked.alert, aliases=alert.aliases))
        if not added:
            return []
        more = replace(after, things={k: after.things[k] for k in added}, via=added)
        for key in added:
            self._company.add(key, more.company(key), more.time)
        cluster.learn(more, self._worth(more))
        self.hindsight.learn(alert.id, more.things, added)
        self._held.holders.add(added, incident.id)
        if not cluster.joinable or not cluster.open:
            return []
        changes, target = self._settle(cluster, [], list(added), alert)
        if target is not cluster or changes:
            was_shown = target.incident.promoted
            target.incident.promoted = was_shown or self._worth_showing(target)
            if target.incident.promoted:
                kind: Literal["created", "updated"] = "updated" if was_shown else "created"
                changes.append(IncidentChange(kind, target.incident))
        return changes

    def take_moved(self) -> dict[str, tuple[Incident, list[LinkedAlert]]]:
        """By incident: the alerts that came to it, from nowhere or from another, since this was asked last or alerts were added; in time."""
        found: dict[str, tuple[Incident, list[LinkedAlert]]] = {}
        for alert_id, time in self._moved.items():
            incident = self.holding(alert_id)
            if incident is not None:
                at = bisect_left(incident.alerts, (time, alert_id), key=_by_time)
                found.setdefault(incident.id, (incident, []))[1].append(incident.alerts[at])
        self._moved.clear()
        for _, linked in found.values():
            linked.sort(key=_by_time)
        return found

    @property
    def looked_back(self) -> bool:
        """Whether looking back has changed anything since that was taken."""
        return bool(self._regrouped)

    def take_regrouped(self) -> Regrouped:
        """What looking back changed since this was asked last."""
        found, self._regrouped = self._regrouped, Regrouped()
        return found

    def shed(self, alerts: Iterable[Alert]) -> None:
        """Lets go of those alerts' rows, which are kept elsewhere: what joins them is noted already, and they are most of what memory would hold."""
        for alert in alerts:
            incident = self.holding(alert.id)
            if incident is None or not alert.events:
                continue
            at = _place(incident, alert)
            linked = incident.alerts[at]
            incident.alerts[at] = replace(linked, alert=replace(linked.alert, events=()))

    def forget_before(self, moment: datetime) -> None:
        """Drops incidents from memory whose last event lies before that: nothing can join them any more."""
        limit = moment.timestamp()
        for incident_id in [i for i, c in self._held.clusters.items() if last_of(c) < limit]:
            self._held.forget(incident_id)

    # ------------------------------------------------------------------ joining

    def _add(self, alert: Alert, sign: Signature) -> list[IncidentChange]:
        alone = self._alone(alert, sign)
        fitting = self._fitting(alone, sign.things) if alert.correlate else []
        if not fitting:
            self._held.enter(alone)
            self._moved[alert.id] = alert.time
            alone.incident.promoted = self._worth_showing(alone)
            return [IncidentChange("created", alone.incident, (alert,))] if alone.incident.promoted else []
        target, score = fitting[0]
        wider = self._join(target, alert, sign, score.reasons())
        # A stage or rule that is new to the incident may bring it nearer to any of its neighbours, else only what the alert names can.
        touched = list(target.things if wider else sign.things)
        changes, target = self._settle(target, [c for c, _ in fitting[1:]], touched, alert)
        incident = target.incident
        was_shown = incident.promoted
        incident.promoted = was_shown or self._worth_showing(target)
        if incident.promoted:
            changes.append(IncidentChange("updated" if was_shown else "created", incident, (alert,)))
        return changes

    def _watched(self, alert: Alert, sign: Signature) -> list[Fired]:
        """The multistage patterns that the alert fulfils. A noisy rule's alert is no stage; neither what everybody shares nor an alias joins
        stages."""
        if not alert.correlate or self._worth(sign) is Worth.NOISY:
            return []
        return self._fusion.notice(
            alert,
            sign,
            (k for k in sign.things if k not in sign.via and self._scorer.may_anchor(k, self._newest)),
        )

    def _fuse(self, fired: Fired, through: Alert) -> list[IncidentChange]:
        """Gathers a pattern's alerts in one incident, with an alert that says what it is; nothing where that is told already."""
        parts = [c for a in fired.alerts if (c := self._held.holder(a.id)) is not None]
        parts = [c for c in {c.id: c for c in parts}.values() if c.joinable and c.open]
        told = [c for c in parts if fired.pattern.id in c.rules]
        if not parts or len(told) == len(parts):
            return []
        # A stage's further alert that comes after the pattern was told belongs to it as one that came before does.
        target = (told or parts)[0]
        held = len(target.alerts)
        changes, target = self._settle(target, [c for c in parts if c is not target], None, through)
        said: tuple[Alert, ...] = ()
        if not told:
            said = (fired.alert(target.id),)
            reason = Reason(fired.reason, self.settings.threshold)
            self._join(target, said[0], signature(said[0], self.links), (reason,))
        elif len(target.alerts) == held:
            return []
        # What the pattern brought together may be near to incidents that none of its parts was near enough to.
        further, target = self._settle(target, [], list(target.things), through)
        was_shown, target.incident.promoted = target.incident.promoted, True
        return [*changes, *further, IncidentChange("updated" if was_shown else "created", target.incident, said)]

    def _alone(self, alert: Alert, sign: Signature) -> Cluster:
        """The alert as an incident of its own."""
        incident = Incident.opened_by(alert)
        alone = Cluster(incident.id, incident)
        alone.add(sign, self._worth(sign))
        return alone

    def _notice(self, sign: Signature) -> None:
        """Counts in whose company the alert's things are, and where its rule fires."""
        self._newest = max(self._newest, sign.points[-1])
        for key in sign.things:
            if key[0] not in _ALONE:
                self._company.add(key, sign.company(key), sign.time)
        self._fired.add((sign.rule,), sign.hosts or sign.accounts, sign.time)
        self._background.add(sign)
        self._since_tidy += 1
        if self._since_tidy >= _TIDY_EVERY:
            self._since_tidy = 0
            self._tidy()

    def _notice_again(self, alert: Alert, sign: Signature) -> None:
        """The same of an alert that was there before. Those that a pattern made itself were never counted."""
        if alert.product != PRODUCT:
            self._notice(sign)
            self.hindsight.note(sign)

    def _tidy(self) -> None:
        limit = self._newest - self.settings.horizon.total_seconds() - LATE.total_seconds()
        gone: list[str] = []
        for incident_id, cluster in self._held.clusters.items():
            if last_of(cluster) >= limit or len(gone) >= _TOGETHER:
                break
            gone.append(incident_id)
        for incident_id in gone:
            self._held.forget(incident_id)
        self._company.forget(self._newest)
        self._fired.forget(self._newest)
        self._background.forget(self._newest)
        self._fusion.forget(self._newest)

    def _worth(self, sign: Signature) -> Worth:
        """How much the alert says of where it happened. A rule that fires everywhere all the time says little; what began within the hour is an
        attack's burst, not noise."""
        if sign.rank >= _HIGH:
            return Worth.HIGH
        if self._fired.exceeds((sign.rule,), self.settings.noisy_hosts, sign.time, before=sign.time - HOUR):
            return Worth.NOISY
        return Worth.PLAIN if sign.rank >= _MEDIUM else Worth.LOW

    @staticmethod
    def _worth_showing(cluster: Cluster) -> bool:
        """An alert that may open an incident does; signals alone do when several rules tell of several stages."""
        return cluster.opens or (len(cluster.rules) >= 3 and len(cluster.tactics) >= 3 and cluster.signals >= 2)

    def _fitting(self, alone: Cluster, keys: Iterable[EntityKey]) -> list[tuple[Cluster, Score]]:
        """Open incidents that reach the threshold, best first."""
        found = [(other, score) for other, score in self._scored(alone, keys) if score.joins]
        return sorted(found, key=lambda f: (-f[1].points, f[0].incident.first, f[0].incident.id))

    def _scored(
        self, side: Cluster, keys: Iterable[EntityKey], *, support: bool = False, whole: bool = False
    ) -> Iterator[tuple[Cluster, Score]]:
        """Open incidents that hold one of the keys that are rare enough to join by (`support`: that may tip the scales), with their scores:
        those that may reach the threshold, with `whole` all."""
        seen: set[str] = {side.id}
        far: set[str] = set()
        furthest = 0.0
        high = whole or side.may_be_high
        for key in keys:
            holders = self._held.holders.of(key)
            if not holders or not (
                self._scorer.may_anchor(key, self._newest) or (support and self._tips(key, holders))
            ):
                continue
            reach = math.inf if support else self._scorer.reach(key, high=high)
            if reach > furthest:
                furthest = reach
                far.clear()
            near: list[tuple[str, float, float, bool, Iterable[EntityKey]]] = []
            for incident_id in holders:
                if incident_id in seen or incident_id in far:
                    continue
                outlined = outline(self._held.clusters[incident_id])
                if outlined[1] < side.first - reach or outlined[0] > side.last + reach:
                    far.add(incident_id)  # to be joined by this; another key may reach further
                else:
                    near.append((incident_id, *outlined))
                    seen.add(incident_id)
            near.sort(key=itemgetter(0))
            for incident_id, first, last, takes, held in near:
                if takes and (whole or self._scorer.could_join(side, held, first, last, self._newest)):
                    other = self._held.woken(incident_id)
                    yield other, self._scorer.score(side, other, self._newest)

    def _tips(self, key: EntityKey, holders: Collection[str]) -> bool:
        """Whether a supporting key is held by so few that it says anything."""
        return self._scorer.supports(key) and len(holders) <= _FEW

    # ------------------------------------------------------------------ looking back

    def look_back(self) -> list[IncidentChange]:
        """Joins what came in the first hours anew, with what is known now; nothing once enough is known, or where that was done already. For who
        has read all that there is: `add` does it by itself as alerts come."""
        self._moved.clear()
        return condense(self._look_back()) if self.hindsight.worth_it(self._background, self._newest) else []

    def _look_back(self) -> list[IncidentChange]:
        """See `hindsight`. An incident keeps its id as long as the alert that opened it opens one. One whose opening alert belongs to another
        incident now is merged into that; one that has lost alerts keeps the others."""
        moved, self._moved = self._moved, {}
        held = self._regroupable()
        was, company = {c.id: c.incident for c in held}, {a: c.company for c in held for a in c.alerts}
        again = {linked.alert.id: linked for i in was.values() for linked in i.alerts}
        for incident_id in was:
            self._held.forget(incident_id)
        others = {i for a in self.hindsight.signs if a not in again and (i := self._held.alerts.get(a)) is not None}
        settled = {a.alert.id: a.alert for i in sorted(others) for a in self._held.woken(i).incident.alerts}
        self._fusion = Fusion(self.patterns, self._background, self.settings.coincidence)
        try:
            for alert_id, sign in self.hindsight.signs.items():
                self._scorer.past = Past(sign.time, company.get(alert_id, frozenset()))
                if (linked := again.get(alert_id)) is not None:
                    self._add(linked.alert, sign)
                    for fired in self._watched(linked.alert, sign):
                        self._fuse(fired, linked.alert)
                elif (alert := settled.get(alert_id)) is not None:
                    self._watched(alert, sign)
        finally:
            self._scorer.past = None
        self.hindsight.looked(self._background, self._newest)
        patterns = {a: t for a, t in self._moved.items() if a not in again and a in self._held.alerts}
        self._moved = {**moved, **patterns}
        return self._made_of(was)

    def _regroupable(self) -> list[Cluster]:
        """The incidents of the first hours that nobody has touched, of which everything is remembered."""
        signs = self.hindsight.signs
        found = list(dict.fromkeys(i for a in signs if (i := self._held.alerts.get(a)) is not None))
        handled = frozenset(self.handled(found))
        clusters = (self._held.woken(i) for i in found if i not in handled)
        return [
            c
            for c in clusters
            if len(c.alerts) <= LARGEST
            and c.open
            and c.incident.untouched
            and all(a.alert.id in signs or a.alert.product == PRODUCT for a in c.incident.alerts)
        ]

    def _made_of(self, was: Mapping[str, Incident]) -> list[IncidentChange]:
        """What became of those incidents, as changes that people see; all of it is told by `take_regrouped`."""
        came: dict[str, list[Alert]] = {}
        withdrawn: dict[str, str] = {}
        for incident_id, old in was.items():
            for linked in old.alerts:
                now = self.holding(linked.alert.id)
                if now is None:
                    withdrawn[linked.alert.id] = incident_id
                    came.setdefault(incident_id, [])
                elif now.id != incident_id or _linked(now, linked.alert).linked_by != linked.linked_by:
                    came.setdefault(incident_id, [])
                    came.setdefault(now.id, []).extend([linked.alert] if now.id != incident_id else ())
                    self._moved[linked.alert.id] = linked.alert.time
        changes: list[IncidentChange] = []
        for incident_id, old in was.items():
            if incident_id not in self._held.clusters and old.promoted:
                opener = next(
                    (a.alert for a in old.alerts if Incident.id_by(a.alert) == incident_id), old.alerts[0].alert
                )
                cluster = self._held.holder(opener.id)
                assert cluster is not None  # an alert that was held before is held again, somewhere
                old.redirect(cluster.id)
                cluster.incident.inherit(old)
                cluster.incident.promoted = True
                changes.append(IncidentChange("merged", cluster.incident, (), old))
        here = [i for i in came if i in self._held.clusters]
        for incident_id in here:
            shown = incident_id in was and was[incident_id].promoted
            if incident_id in was:
                self._held.woken(incident_id).goes_on_as(was[incident_id])
            incident = self._held.woken(incident_id).incident
            if incident.promoted:
                kind: Literal["created", "updated"] = "updated" if shown else "created"
                changes.append(IncidentChange(kind, incident, tuple(came[incident_id])))
        self._regrouped |= Regrouped(frozenset(here), withdrawn)
        return changes

    # ------------------------------------------------------------------ merging

    def _settle(
        self, target: Cluster, waiting: Iterable[Cluster], keys: Iterable[EntityKey] | None, alert: Alert
    ) -> tuple[list[IncidentChange], Cluster]:
        """Merges those that wait, and then what the keys bring near enough, until nothing more reaches the threshold; without keys only those
        that wait. Gives the changes that people see, and which cluster is left."""
        changes: list[IncidentChange] = []
        queue = {c.id: c for c in waiting}
        if keys is not None:
            self._queue(queue, target, keys)
        while queue:
            other = queue.pop(next(iter(queue)))
            if other is target or other.id not in self._held.clusters or not self._may_merge(target, other):
                continue
            target, source = self._direction(target, other)
            shown = source.incident.promoted
            self._merge(target, source, alert)
            if shown:
                changes.append(IncidentChange("merged", target.incident, (), source.incident))
            if keys is not None:
                self._queue(queue, target, target.things)
        return changes, target

    def _queue(self, queue: dict[str, Cluster], target: Cluster, keys: Iterable[EntityKey]) -> None:
        for other, score in self._scored(target, keys, support=True):
            if score.joins:
                queue.setdefault(other.id, other)

    def _may_merge(self, one: Cluster, other: Cluster) -> bool:
        pair = frozenset((one.id, other.id))
        if pair in self._apart or vetoes(one.incident, other.incident, one.named_with(other)):
            return False
        return not self.more_vetoes(one.incident, other.incident)

    @staticmethod
    def _direction(one: Cluster, other: Cluster) -> tuple[Cluster, Cluster]:
        """Which stays: the one that people have seen or worked on, else the older."""

        def rank(c: Cluster) -> tuple[bool, bool, bool, datetime, str]:
            i = c.incident
            return (not i.promoted, not i.owner, i.status is Status.NEW, i.first, i.id)

        return (one, other) if rank(one) <= rank(other) else (other, one)

    def _merge(self, target: Cluster, source: Cluster, through: Alert) -> None:
        learned = "".join(f"; {text}" for text in self._scorer.score(target, source, self._newest).learned)
        bridge = Reason(f"'{through.title or through.rule}' joins both{learned}", self.settings.threshold)
        into, out_of = target.incident, source.incident
        self._moved.update((a.alert.id, a.alert.time) for a in out_of.alerts)
        held = into.alert_ids()
        into.alerts.extend(
            LinkedAlert(linked.alert, (*linked.linked_by, bridge))
            for linked in out_of.alerts
            if linked.alert.id not in held
        )
        into.alerts.sort(key=_by_time)
        into.inherit(out_of)
        into.promoted = into.promoted or out_of.promoted
        self._held.forget(source.id)
        out_of.redirect(into.id)
        for alert_id in source.alerts:
            self._held.alerts[alert_id] = into.id
        self._held.holders.add(source.things, into.id)
        target.absorb(source)

    # ------------------------------------------------------------------ bookkeeping

    def adopt(self, opened: Mapping[str, bool], came: Iterable[tuple[str, Alert]], held: Mapping[str, int]) -> None:
        """Takes in incidents that exist already: `came` are their alerts in the order in which they were made, each with its incident's id, so that
        what is rare and what is noisy comes out as it did then. `opened`: by id whether an incident takes in alerts; itself it is asked of
        `reader` when it is needed. `held`: how many alerts each gets; when it has all of them it is laid to rest at once."""
        clusters = {i: Cluster(i, None, opened=opened[i], reader=self.reader) for i in held}
        left, resting = dict(held), list[Cluster | Resting]()
        for incident_id, alert in came:
            cluster = clusters[incident_id]
            sign = signature(alert, self.links)
            self._notice_again(alert, sign)
            cluster.add(sign, self._worth(sign))
            self._watched(alert, sign)
            left[incident_id] -= 1
            if not left[incident_id]:
                resting.append(cluster.rest() if len(cluster.alerts) <= LARGE else cluster)
                del clusters[incident_id]
        for done in sorted((*resting, *clusters.values()), key=last_of):
            self._held.enter(done)

    def remembered(self) -> Remembered:
        """What it remembers now, for `recall`. Quickly made, and nothing that happens afterwards changes it, but that a thing's company may be a
        moment younger. Of an incident that is awake it has only which alerts were seen in it."""
        awake = {c.id: c for c in self._held.awake if self._held.clusters.get(c.id) is c}
        hits, stages = self._fusion.entries()
        return Remembered(
            self._held.clusters.copy(),
            (
                ("newest", [self._newest]), ("awake", [(i, tuple(c.alerts)) for i, c in awake.items()]), ("stages", stages),
                ("company", self._company.entries()), ("fired", self._fired.entries()),
                *self._background.entries().items(), *((f"hits {place}", each) for place, each in enumerate(hits)),
            ),
        )  # fmt: skip

    def recall(self, name: str, entries: Sequence[Any], since: float) -> None:
        """Takes in a part of what another remembered, or some of it; of incidents those whose last event is not older than `since`."""
        name, _, place = name.partition(" ")
        match name:
            case "newest":
                self._newest = max(self._newest, *entries)
            case "clusters":
                for resting in entries:
                    if last_of(resting) >= since:
                        self._held.enter(resting)
            case "company":
                self._company.restore(entries)
            case "fired":
                self._fired.restore(entries)
            case "hits":
                self._fusion.restore(int(place), entries)
            case "stages":
                self._fusion.restore_counts(entries)
            case _:
                self._background.restore(**{name: entries})

    def otherwise(self, opened: Mapping[str, bool]) -> list[str]:
        """Ids of the incidents that it holds and that are not there, or that take in alerts where it holds that they don't, or the other way round;
        and of those that are there and that it doesn't hold. `opened`: those that are there, and whether they take in alerts."""
        held = {i: c.open if isinstance(c, Cluster) else bool(c[6][5]) for i, c in self._held.clusters.items()}
        return [*(i for i, o in held.items() if opened.get(i) is not o), *(i for i in opened if i not in held)]

    def witness(self, alert: Alert) -> None:
        """Learns from an alert what is rare, noisy and likely, and joins it to nothing: where it is is told by `renew`."""
        sign = signature(alert, self.links)
        self._notice_again(alert, sign)
        self._watched(alert, sign)

    def acquaint(self, alerts: Iterable[Alert]) -> None:
        """Learns in whose company things are by the names that alerts turned out to be known by."""
        for alert in alerts:
            sign = signature(alert, self.links)
            for key in sign.via:
                self._company.add(key, sign.company(key), sign.time)

    def renew(
        self, incident_ids: Iterable[str], incidents: Iterable[Incident], *, apart: frozenset[frozenset[str]]
    ) -> None:
        """Holds these incidents instead of those of these ids: people or a transaction that failed made something else of them. `apart` as it is
        now."""
        self._apart = apart
        for incident_id in incident_ids:
            if incident_id in self._held.clusters:
                self._held.forget(incident_id)
        for incident in sorted(incidents, key=lambda i: (i.last, i.id)):
            cluster = Cluster(incident.id, incident)
            for linked in sorted(incident.alerts, key=lambda a: (a.alert.created, a.alert.time, a.alert.id)):
                sign = signature(linked.alert, self.links)
                cluster.add(sign, self._worth(sign))
            self._held.enter(cluster)
            self.shed([a.alert for a in incident.alerts])

    def touched(self) -> list[str]:
        """Ids of the alerts that came to an incident since alerts were added or `take_moved` was asked."""
        return list(self._moved)

    def _adopt(self, incidents: Sequence[Incident]) -> None:
        """Takes in incidents that exist already with all of their alerts."""
        clusters = {i.id: Cluster(i.id, i) for i in incidents}
        came = [(linked.alert, i.id) for i in incidents for linked in i.alerts]
        for alert, incident_id in sorted(came, key=lambda c: (c[0].created, c[0].time, c[0].id)):
            sign = signature(alert, self.links)
            self._notice_again(alert, sign)
            clusters[incident_id].add(sign, self._worth(sign))
            self._watched(alert, sign)
        for cluster in sorted(clusters.values(), key=lambda c: c.last):
            self._held.enter(cluster)
            cluster.touched = False
        self._held.lay_to_rest(at_once=True)

    def _join(self, cluster: Cluster, alert: Alert, sign: Signature, reasons: tuple[Reason, ...]) -> bool:
        incident = cluster.incident
        insort(incident.alerts, LinkedAlert(alert, reasons), key=_by_time)
        incident.updated = max(incident.updated or alert.created, alert.created)
        wider = cluster.add(sign, self._worth(sign))
        self._held.alerts[alert.id] = incident.id
        self._moved[alert.id] = alert.time
        self._held.holders.add(sign.things, cluster.id)
        # Forgetting begins with what was touched longest ago.
        self._held.clusters[incident.id] = self._held.clusters.pop(incident.id)
        return wider


def _linked(incident: Incident, alert: Alert) -> LinkedAlert:
    """An incident's alert, as it is linked there."""
    return incident.alerts[_place(incident, alert)]


def _place(incident: Incident, alert: Alert) -> int:
    return bisect_left(incident.alerts, (alert.time, alert.id), key=_by_time)


def _by_time(linked: LinkedAlert) -> tuple[datetime, str]:
    return (linked.alert.time, linked.alert.id)
