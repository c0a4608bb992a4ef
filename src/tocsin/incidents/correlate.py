"""Correlation: which alerts belong to one attack, and why.

An alert joins the incident with which it shares enough: points for each shared thing (an entity's key, by how surely it names one
thing), scaled down for things that many share and for time that lies between, plus points for another step of a kill chain. Two incidents become one
when they share enough in the same way. Every join keeps its reasons. The method is ours and open; the facts that it copies (strong and weak
identifiers, merge vetoes, no new incident made by a merge) are Defender's published behaviour.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal

from tocsin.detect.alert import Alert
from tocsin.incidents.changes import IncidentChange, condense
from tocsin.incidents.cluster import Cluster, Reader, Resting, last_of
from tocsin.incidents.fusion import PRODUCT, Pattern, shipped_patterns
from tocsin.incidents.held import LARGE, Held
from tocsin.incidents.hindsight import Hindsight, Regrouped
from tocsin.incidents.joining import Joiner, worth_showing
from tocsin.incidents.learned import Learned
from tocsin.incidents.links import Links, shipped_links
from tocsin.incidents.merging import MoreVetoes
from tocsin.incidents.model import Incident, LinkedAlert, Status, as_made, by_time
from tocsin.incidents.neighbours import Candidate
from tocsin.incidents.regrouping import Handled, regroup
from tocsin.incidents.signature import Signature, signature
from tocsin.incidents.weights import CorrelationSettings
from tocsin.tables.entities import EntityKey

__all__ = ["REMEMBERED_BY", "Correlator", "Remembered", "Size"]

REMEMBERED_BY = ("horizon", "noisy_hosts")
"""Settings that say what is remembered, and how; all others say what follows from it."""

_TIDY_EVERY = 100
_TOGETHER = 1_000
"""So many incidents at most are forgotten at once, far more than come meanwhile: nobody waits for what a quiet week left."""


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

    Alerts are taken as they come, those that come together by time. The same alerts in the same order give the same incidents. What lies further
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
        self.patterns = shipped_patterns() if patterns is None else tuple(patterns)
        self._held = Held()
        self._learned = Learned(settings or CorrelationSettings())
        self._joiner = Joiner(
            self._held,
            self._learned,
            settings or CorrelationSettings(),
            links=links if links is not None else shipped_links(),
            patterns=self.patterns,
            apart=apart,
        )
        self.hindsight = Hindsight()
        self.handled: Handled = lambda _incidents, _came: ()
        """Which of the incidents anybody has touched that it doesn't see: looking back leaves them as they are."""
        self._regrouped = Regrouped()
        self._since_tidy = 0
        self._adopt(sorted(incidents, key=lambda i: (i.first, i.id)))

    @property
    def settings(self) -> CorrelationSettings:
        """What it weighs by."""
        return self._joiner.settings

    @property
    def links(self) -> Links:
        """Which columns of rows tell of processes, sessions and common files."""
        return self._joiner.links

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
        return self._joiner.merger.apart

    @property
    def more_vetoes(self) -> MoreVetoes:
        """What else speaks against a merge, besides `merge_vetoes`, and against an alert's joining."""
        return self._joiner.merger.more_vetoes

    @more_vetoes.setter
    def more_vetoes(self, more: MoreVetoes) -> None:
        self._joiner.merger.more_vetoes = more

    def weigh_by(self, settings: CorrelationSettings) -> bool:
        """Goes by these settings from now on. False, and as before, where they would have made another memory: then everything has to be read
        anew."""
        if any(getattr(settings, name) != getattr(self.settings, name) for name in REMEMBERED_BY):
            return False
        self._joiner.weigh_by(settings, self._joiner.merger)
        self._learned.background.needs(settings.background_alerts)
        self._joiner.fusion.coincidence = settings.coincidence
        return True

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
        return Size(len(held.clusters), len(held.alerts), len(held.holders), len(self._learned))

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
        """Joins alerts to incidents, opening new ones where nothing fits. What comes together is taken by time. An alert
        that is known already changes nothing."""
        self._joiner.moved.clear()
        self._held.lay_to_rest()  # never later: until the next call whoever calls may change the incidents that it was told of
        changes: list[IncidentChange] = []
        for alert in sorted(alerts, key=attrgetter("time")):
            if alert.id in self._held.alerts:
                continue
            self._held.grown()
            sign = signature(alert, self.links)
            self._notice(sign)
            self.hindsight.note(sign)
            changes.extend(self._joiner.join(alert, sign))
            for fired in self._joiner.watch(alert, sign):
                changes.extend(self._joiner.fuse(fired, alert))
            if self.hindsight.due(self._learned.background, self._learned.newest):
                changes.extend(self._look_back())
        return condense(changes)

    def preview(self, alert: Alert) -> list[Candidate]:
        """What would join, and why: every open incident that shares something of weight with the alert, best first. Changes nothing."""
        alone = self._joiner.alone(alert, signature(alert, self.links))
        merger = self._joiner.merger
        return self._joiner.neighbours.candidates(
            alone, lambda other: alert.correlate and merger.may_join(other, alone.incident)
        )

    def neighbours(self, incident_id: str) -> list[Candidate]:
        """The open incidents, shown or not, that share something with that one, nearest first: what would join it, and why. Changes nothing."""
        if incident_id not in self._held.clusters:
            return []
        return self._joiner.neighbours.candidates(self._held.woken(incident_id))

    def against(self, incident_id: str, other: Incident) -> list[str]:
        """What keeps correlation from making that one and another one, however much they share: a sentence each."""
        target = self.get(incident_id)
        return [] if target is None else self._joiner.merger.against(target, other)

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
        at = incident.place_of(alert)
        linked = incident.alerts[at]
        before, after = signature(linked.alert, self.links), signature(alert, self.links)
        added = {k: a for k, a in after.via.items() if k not in before.things}
        incident.alerts[at] = replace(linked, alert=replace(linked.alert, aliases=alert.aliases))
        if not added:
            return []
        more = replace(after, things={k: after.things[k] for k in added}, via=added)
        self._learned.note_aliases(more)
        cluster.learn(more, self._learned.worth(more))
        self.hindsight.learn(alert.id, more.things, added)
        self._held.holders.add(added, incident.id)
        if not cluster.joinable or not cluster.open:
            return []
        changes, target = self._joiner.merger.settle(cluster, [], list(added), alert)
        if target is not cluster or changes:
            was_shown = target.incident.promoted
            target.incident.promoted = was_shown or worth_showing(target)
            if target.incident.promoted:
                kind: Literal["created", "updated"] = "updated" if was_shown else "created"
                changes.append(IncidentChange(kind, target.incident))
        return changes

    def take_moved(self) -> dict[str, tuple[Incident, list[LinkedAlert]]]:
        """By incident: the alerts that came to it, from nowhere or from another, since this was asked last or alerts were added; in time."""
        found: dict[str, tuple[Incident, list[LinkedAlert]]] = {}
        for alert_id, time in self._joiner.moved.items():
            incident = self.holding(alert_id)
            if incident is not None:
                at = bisect_left(incident.alerts, (time, alert_id), key=by_time)
                found.setdefault(incident.id, (incident, []))[1].append(incident.alerts[at])
        self._joiner.moved.clear()
        for _, linked in found.values():
            linked.sort(key=by_time)
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
            at = incident.place_of(alert)
            linked = incident.alerts[at]
            incident.alerts[at] = replace(linked, alert=replace(linked.alert, events=()))

    def forget_before(self, moment: datetime) -> None:
        """Drops incidents from memory whose last event lies before that: nothing can join them any more."""
        limit = moment.timestamp()
        for incident_id in [i for i, c in self._held.clusters.items() if last_of(c) < limit]:
            self._held.forget(incident_id)

    def _notice(self, sign: Signature) -> None:
        """Learns from the alert what is usual."""
        self._learned.note(sign)
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
        limit = self._learned.limit
        gone: list[str] = []
        for incident_id, cluster in self._held.clusters.items():
            if last_of(cluster) >= limit or len(gone) >= _TOGETHER:
                break
            gone.append(incident_id)
        for incident_id in gone:
            self._held.forget(incident_id)
        self._learned.forget()
        self._joiner.fusion.forget(self._learned.newest)

    # ------------------------------------------------------------------ looking back

    def look_back(self) -> list[IncidentChange]:
        """Joins what came in the first hours anew, with what is known now; nothing once enough is known, or where that was done already. For who
        has read all that there is: `add` does it by itself as alerts come."""
        self._joiner.moved.clear()
        return (
            condense(self._look_back())
            if self.hindsight.worth_it(self._learned.background, self._learned.newest)
            else []
        )

    def _look_back(self) -> list[IncidentChange]:
        changes, regrouped = regroup(self._joiner, self.hindsight, self.handled)
        self._regrouped |= regrouped
        return changes

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
            cluster.add(sign, self._learned.worth(sign))
            self._joiner.watch(alert, sign)
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
        hits, stages = self._joiner.fusion.entries()
        return Remembered(
            self._held.clusters.copy(),
            (
                ("awake", [(i, tuple(c.alerts)) for i, c in awake.items()]), ("stages", stages),
                *self._learned.entries(), *((f"hits {place}", each) for place, each in enumerate(hits)),
            ),
        )  # fmt: skip

    def recall(self, name: str, entries: Sequence[Any], since: float) -> None:
        """Takes in a part of what another remembered, or some of it; of incidents those whose last event is not older than `since`."""
        name, _, place = name.partition(" ")
        match name:
            case "clusters":
                for resting in entries:
                    if last_of(resting) >= since:
                        self._held.enter(resting)
            case "hits":
                self._joiner.fusion.restore(int(place), entries)
            case "stages":
                self._joiner.fusion.restore_counts(entries)
            case _:
                self._learned.restore(name, entries)

    def otherwise(self, opened: Mapping[str, bool]) -> list[str]:
        """Ids of the incidents that it holds and that are not there, or that take in alerts where it holds that they don't, or the other way round;
        and of those that are there and that it doesn't hold. `opened`: those that are there, and whether they take in alerts."""
        held = {i: c.open if isinstance(c, Cluster) else bool(c[6][5]) for i, c in self._held.clusters.items()}
        return [*(i for i, o in held.items() if opened.get(i) is not o), *(i for i in opened if i not in held)]

    def witness(self, alert: Alert) -> None:
        """Learns from an alert what is rare, noisy and likely, and joins it to nothing: where it is is told by `renew`."""
        sign = signature(alert, self.links)
        self._notice_again(alert, sign)
        self._joiner.watch(alert, sign)

    def acquaint(self, alerts: Iterable[Alert]) -> None:
        """Learns in whose company things are by the names that alerts turned out to be known by."""
        for alert in alerts:
            self._learned.note_aliases(signature(alert, self.links))

    def renew(
        self, incident_ids: Iterable[str], incidents: Iterable[Incident], *, apart: frozenset[frozenset[str]]
    ) -> None:
        """Holds these incidents instead of those of these ids: people or a transaction that failed made something else of them. `apart` as it is
        now."""
        self._joiner.merger.apart = apart
        for incident_id in incident_ids:
            if incident_id in self._held.clusters:
                self._held.forget(incident_id)
        for incident in sorted(incidents, key=lambda i: (i.last, i.id)):
            cluster = Cluster(incident.id, incident)
            for linked in sorted(incident.alerts, key=as_made):
                sign = signature(linked.alert, self.links)
                cluster.add(sign, self._learned.worth(sign))
            self._held.enter(cluster)
            self.shed([a.alert for a in incident.alerts])

    def touched(self) -> list[str]:
        """Ids of the alerts that came to an incident since alerts were added or `take_moved` was asked."""
        return list(self._joiner.moved)

    def _adopt(self, incidents: Sequence[Incident]) -> None:
        """Takes in incidents that exist already with all of their alerts."""
        clusters = {i.id: Cluster(i.id, i) for i in incidents}
        came = [(linked.alert, i.id) for i in incidents for linked in i.alerts]
        for alert, incident_id in sorted(came, key=lambda c: (c[0].created, c[0].time, c[0].id)):
            sign = signature(alert, self.links)
            self._notice_again(alert, sign)
            clusters[incident_id].add(sign, self._learned.worth(sign))
            self._joiner.watch(alert, sign)
        for cluster in sorted(clusters.values(), key=lambda c: c.last):
            self._held.enter(cluster)
            cluster.touched = False
        self._held.lay_to_rest(at_once=True)
