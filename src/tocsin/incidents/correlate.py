"""Correlation: which alerts belong to one attack, and why.

An alert joins the incident with which it shares enough: points for each shared thing (an entity's key, by how surely it names one
thing), scaled down for things that many share and for time that lies between, plus points for the next step of a kill chain. Every join keeps its
reasons. The method is ours and open; the facts that it copies (strong and weak identifiers, merge vetoes, no new incident made by a
merge) are Defender's published behaviour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from tocsin.detect.alert import SEVERITIES, TACTICS, Alert
from tocsin.incidents.model import Incident, LinkedAlert, Reason, Status, spaced
from tocsin.tables.entities import Entity, EntityKey

__all__ = ["ENTITY_CAP", "CorrelationSettings", "Correlator", "IncidentChange", "entity_keys", "merge_vetoes"]

ENTITY_CAP = 1000
"""Entities above which an incident takes in no other."""


@dataclass(frozen=True, slots=True)
class CorrelationSettings:
    """What correlation weighs, in points.

    `threshold` points join an alert to an incident; `weights` says what a shared key of that kind is worth. After `half_life` between the two
    a join is worth half; beyond `horizon` nothing joins. A thing seen together with more than `hub_degree` hosts (or, for a host,
    accounts) counts for less in proportion.
    """

    threshold: float = 40.0
    half_life: timedelta = timedelta(hours=24)
    horizon: timedelta = timedelta(days=7)
    hub_degree: int = 12
    next_tactic: float = 10.0
    same_rule: float = 5.0
    weights: tuple[tuple[str, float], ...] = (
        ("process", 70.0),
        ("mail", 60.0),
        ("hash", 50.0),
        ("account", 50.0),
        ("account.sid", 50.0),
        ("account.aaduserid", 50.0),
        ("account.puid", 50.0),
        ("account.objectguid", 50.0),
        ("account.nt", 50.0),
        ("account.dns", 50.0),
        ("account.realm", 45.0),
        ("host", 45.0),
        ("host.azureid", 45.0),
        ("host.omsagentid", 45.0),
        ("host.deviceid", 45.0),
        ("hostname", 42.0),
        ("url", 40.0),
        ("ip", 40.0),
        ("app", 35.0),
        ("azureresource", 40.0),
        ("dns", 35.0),
        ("iotdevice", 45.0),
        ("ip.private", 20.0),
        ("name", 20.0),
        ("file", 15.0),
    )


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """What happened to an incident when alerts came in. `absorbed` names the one that a merge emptied."""

    kind: Literal["created", "updated", "merged"]
    incident: Incident
    alerts: tuple[Alert, ...] = ()
    absorbed: Incident | None = None


@dataclass(slots=True)
class _Index:
    """Which incidents hold a key, and with how many hosts or accounts a key was seen together."""

    holders: dict[EntityKey, set[str]] = field(default_factory=lambda: defaultdict(set))
    company: dict[EntityKey, set[str]] = field(default_factory=lambda: defaultdict(set))


class Correlator:
    """Holds the incidents that may still grow and joins alerts to them.

    Alerts are taken in the order given; for a replay give them by time. The same alerts in the same order give the same incidents.
    """

    def __init__(
        self,
        incidents: Iterable[Incident] = (),
        settings: CorrelationSettings | None = None,
        *,
        apart: frozenset[frozenset[str]] = frozenset(),
    ) -> None:
        """`apart`: pairs of incidents' ids that are never merged, because people took them apart."""
        self._apart = apart
        self.settings = settings or CorrelationSettings()
        self._weights = dict(self.settings.weights)
        self._incidents: dict[str, Incident] = {}
        self._index = _Index()
        self._alerts: dict[str, str] = {}
        for incident in incidents:
            self._adopt(incident)

    @property
    def incidents(self) -> list[Incident]:
        """The incidents that people see, by first event."""
        shown = [i for i in self._incidents.values() if i.promoted and i.status is not Status.REDIRECTED]
        return sorted(shown, key=lambda i: (i.first, i.id))

    def get(self, incident_id: str) -> Incident | None:
        """The incident of that id, or None."""
        return self._incidents.get(incident_id)

    def holding(self, alert_id: str) -> Incident | None:
        """The incident, shown or not, that holds that alert; None for one that it doesn't know."""
        return self._incidents.get(self._alerts.get(alert_id, ""))

    def add(self, alerts: Sequence[Alert]) -> list[IncidentChange]:
        """Joins alerts to incidents, opening new ones where nothing fits. An alert that is known already changes nothing."""
        changes: list[IncidentChange] = []
        for alert in alerts:
            if alert.id in self._alerts:
                continue
            changes.extend(self._add(alert))
        return _condense(changes)

    def forget_before(self, moment: datetime) -> None:
        """Drops incidents from memory whose last event lies before that: nothing can join them any more."""
        for incident in [i for i in self._incidents.values() if i.last < moment]:
            self._forget(incident)

    # ------------------------------------------------------------------ joining

    def _add(self, alert: Alert) -> list[IncidentChange]:
        candidates = self._candidates(alert) if alert.correlate else []
        if not candidates:
            incident = Incident.opened_by(alert)
            self._adopt(incident)
            incident.promoted = self._worth_showing(incident)
            return [IncidentChange("created", incident, (alert,))] if incident.promoted else []
        _, target, reasons = candidates[0]
        was_shown = target.promoted
        self._join(target, alert, reasons)
        changes: list[IncidentChange] = []
        for score, other, _ in candidates[1:]:
            if score >= self.settings.threshold and self._may_merge(target, other):
                target, absorbed = self._direction(target, other)
                self._merge(target, absorbed, alert)
                if absorbed.promoted:
                    was_shown = was_shown or target.promoted
                    changes.append(IncidentChange("merged", target, (), absorbed))
        target.promoted = target.promoted or self._worth_showing(target)
        if target.promoted:
            changes.append(IncidentChange("updated" if was_shown else "created", target, (alert,)))
        return changes

    def _worth_showing(self, incident: Incident) -> bool:
        """An alert that may open an incident does; signals alone do when several rules tell of several stages."""
        if any(a.alert.create_incident and a.alert.severity != "Informational" for a in incident.alerts):
            return True
        rules = {a.alert.rule_id for a in incident.alerts}
        signals = [a for a in incident.alerts if SEVERITIES.index(a.alert.severity) > 0]
        return len(rules) >= 3 and len(incident.tactics) >= 3 and len(signals) >= 2

    def _candidates(self, alert: Alert) -> list[tuple[float, Incident, tuple[Reason, ...]]]:
        """Open incidents that reach the threshold, best first."""
        keys = entity_keys(alert.entities)
        found: dict[str, None] = {}
        for key in keys:
            for incident_id in sorted(self._index.holders.get(key, ())):
                found[incident_id] = None
        scored = []
        for incident_id in found:
            incident = self._incidents[incident_id]
            if incident.status in (Status.RESOLVED, Status.REDIRECTED) or not all(
                a.alert.correlate for a in incident.alerts
            ):
                continue
            score, reasons = self._score(alert, keys, incident)
            if score >= self.settings.threshold:
                scored.append((score, incident, reasons))
        scored.sort(key=lambda s: (-s[0], s[1].first, s[1].id))
        return scored

    def _score(
        self, alert: Alert, keys: dict[EntityKey, Entity], incident: Incident
    ) -> tuple[float, tuple[Reason, ...]]:
        near = self._nearest(alert, keys, incident)
        if near is None:
            return 0.0, ()
        gap, shared = near
        if gap > self.settings.horizon:
            return 0.0, ()
        decay = 0.5 ** (max(gap - timedelta(hours=1), timedelta(0)) / self.settings.half_life)
        reasons: list[Reason] = []
        counted: set[str] = set()
        for key in sorted(shared, key=lambda k: -self._weights.get(k[0], 10.0)):
            entity = keys[key]
            if entity.label.lower() in counted:
                continue  # one thing under two names counts once
            counted.add(entity.label.lower())
            degree = len(self._index.company.get(key, ()))
            rarity = min(1.0, self.settings.hub_degree / degree) if degree else 1.0
            weight = self._weights.get(key[0], 10.0) * rarity * decay
            note = f", seen with {degree} others" if rarity < 1 else ""
            reasons.append(Reason(f"same {_WORDS.get(entity.type, entity.type)} {entity.label}{note}", weight))
        progress = self._progress(alert, incident)
        if progress:
            reasons.append(Reason(progress, self.settings.next_tactic * decay))
        if any(a.alert.rule_id == alert.rule_id for a in incident.alerts):
            reasons.append(Reason("same rule", self.settings.same_rule * decay))
        if gap > timedelta(hours=1):
            reasons.append(Reason(f"{_span(gap)} apart", 0.0))
        return sum(r.weight for r in reasons), tuple(reasons)

    def _nearest(
        self, alert: Alert, keys: dict[EntityKey, Entity], incident: Incident
    ) -> tuple[timedelta, set[EntityKey]] | None:
        """The shared keys, and the time between the alert and the nearest alert that shares one."""
        best: timedelta | None = None
        shared: set[EntityKey] = set()
        for linked in incident.alerts:
            other = linked.alert
            common = keys.keys() & entity_keys(other.entities).keys()
            if not common:
                continue
            shared |= common
            gap = max(alert.time - other.end, other.time - alert.end, timedelta(0))
            best = gap if best is None else min(best, gap)
        return (best, shared) if best is not None else None

    def _progress(self, alert: Alert, incident: Incident) -> str:
        known = {TACTICS.index(t) for t in incident.tactics if t in TACTICS}
        new = {TACTICS.index(t) for t in alert.tactics if t in TACTICS} - known
        if known and new and max(new) > min(known):
            return f"{spaced(TACTICS[max(new)])} follows {spaced(TACTICS[min(known)])}"
        return ""

    # ------------------------------------------------------------------ merging

    def _may_merge(self, one: Incident, other: Incident) -> bool:
        return frozenset((one.id, other.id)) not in self._apart and not merge_vetoes(one, other)

    @staticmethod
    def _direction(one: Incident, other: Incident) -> tuple[Incident, Incident]:
        """Which stays: the one that people have seen or worked on, else the older."""

        def rank(i: Incident) -> tuple[bool, bool, bool, datetime, str]:
            return (not i.promoted, not i.owner, i.status is Status.NEW, i.first, i.id)

        return (one, other) if rank(one) <= rank(other) else (other, one)

    def _merge(self, target: Incident, source: Incident, through: Alert) -> None:
        bridge = Reason(f"'{through.title or through.rule}' joins both", self.settings.threshold)
        for linked in source.alerts:
            if linked.alert.id not in target.alert_ids():
                target.alerts.append(LinkedAlert(linked.alert, (*linked.linked_by, bridge)))
        target.alerts.sort(key=lambda a: (a.alert.time, a.alert.id))
        target.inherit(source)
        target.promoted = target.promoted or source.promoted
        moved = list(source.alerts)
        self._forget(source)
        source.redirect(target.id)
        for linked in moved:
            self._enter(target, linked.alert)

    # ------------------------------------------------------------------ bookkeeping

    def _adopt(self, incident: Incident) -> None:
        self._incidents[incident.id] = incident
        for linked in incident.alerts:
            self._enter(incident, linked.alert)

    def _join(self, incident: Incident, alert: Alert, reasons: tuple[Reason, ...]) -> None:
        incident.alerts.append(LinkedAlert(alert, reasons))
        incident.alerts.sort(key=lambda a: (a.alert.time, a.alert.id))
        incident.updated = max(incident.updated or alert.created, alert.created)
        self._enter(incident, alert)

    def _enter(self, incident: Incident, alert: Alert) -> None:
        self._alerts[alert.id] = incident.id
        hosts = {e.label.lower() for e in alert.entities if e.type == "Host"}
        accounts = {e.label.lower() for e in alert.entities if e.type == "Account"}
        for key, entity in entity_keys(alert.entities).items():
            self._index.holders[key].add(incident.id)
            self._index.company[key] |= accounts if entity.type == "Host" else hosts

    def _forget(self, incident: Incident) -> None:
        self._incidents.pop(incident.id, None)
        for linked in incident.alerts:
            self._alerts.pop(linked.alert.id, None)
            for key in entity_keys(linked.alert.entities):
                holders = self._index.holders.get(key)
                if holders is not None:
                    holders.discard(incident.id)
                    if not holders:
                        del self._index.holders[key]


def merge_vetoes(target: Incident, source: Incident) -> list[str]:
    """What speaks against emptying one incident into another, a sentence each (Defender's vetoes).

    A closed one, different owners, classifications or determinations (nothing on one side is compatible), too many entities.
    """
    found = [
        f"#{i.number} is {'resolved' if i.status is Status.RESOLVED else 'merged into another already'}."
        for i in (target, source)
        if i.status in (Status.RESOLVED, Status.REDIRECTED)
    ]
    for name in ("owner", "classification", "determination"):
        here, there = getattr(target, name), getattr(source, name)
        if here and there and here != there:
            found.append(f"The {name} of #{target.number} is {here}, that of #{source.number} {there}.")
    entities = len(target.entities()) + len(source.entities())
    if entities > ENTITY_CAP and len({*_labels(target), *_labels(source)}) > ENTITY_CAP:
        found.append(f"#{target.number} would have more than {ENTITY_CAP} entities.")
    return found


def _labels(incident: Incident) -> set[tuple[str, str]]:
    return {(e.type, e.label.lower()) for e in incident.entities()}


_WORDS = {
    "Account": "account",
    "Host": "host",
    "IP": "address",
    "FileHash": "file hash",
    "File": "file",
    "Process": "process",
    "Mailbox": "mailbox",
    "MailMessage": "message",
    "CloudApplication": "application",
    "AzureResource": "resource",
    "DNS": "domain",
}


def entity_keys(entities: Iterable[Entity]) -> dict[EntityKey, Entity]:
    """Every key of the entities, strong and weak, with the first that has it."""
    keys: dict[EntityKey, Entity] = {}
    for entity in entities:
        for key in (*entity.strong_keys(), *entity.weak_keys()):
            keys.setdefault(key, entity)
    return keys


def _span(gap: timedelta) -> str:
    hours = gap.total_seconds() / 3600
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"


def _condense(changes: Sequence[IncidentChange]) -> list[IncidentChange]:
    """One change an incident: created wins over updated, alerts add up; merges stay as they are."""
    first: dict[str, IncidentChange] = {}
    merges: list[IncidentChange] = []
    for change in changes:
        if change.kind == "merged":
            merges.append(change)
            absorbed = change.absorbed
            if absorbed is not None and absorbed.id in first:
                earlier = first.pop(absorbed.id)
                kept = first.get(change.incident.id)
                alerts = (*(kept.alerts if kept else ()), *earlier.alerts)
                first[change.incident.id] = IncidentChange(kept.kind if kept else "updated", change.incident, alerts)
                if earlier.kind == "created":
                    merges.pop()  # nobody ever saw it
            continue
        earlier_change = first.get(change.incident.id)
        if earlier_change is None:
            first[change.incident.id] = change
        else:
            first[change.incident.id] = IncidentChange(
                earlier_change.kind, change.incident, (*earlier_change.alerts, *change.alerts)
            )
    return [*merges, *first.values()]
