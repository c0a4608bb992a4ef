"""Incidents: alerts that belong together, with the reasons why, and what people have decided about them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tocsin.base.ids import stable_id
from tocsin.detect.alert import SEVERITIES, TACTICS, Alert, iso
from tocsin.incidents.facts import Facts
from tocsin.tables.entities import Entity

__all__ = [
    "LOCKED",
    "MERGED",
    "Incident",
    "LinkedAlert",
    "Reason",
    "Status",
    "as_made",
    "by_time",
    "ordered_tactics",
    "spaced",
    "span_of",
    "stage_of",
]

LOCKED = "Locked"
"""The tag of an incident that correlation leaves as it is: nothing joins it, and it merges with nothing.
Being a tag it is kept, told and undone as one."""

MERGED = "Redirected"
"""The tag of an incident that was merged into another."""


class Status(StrEnum):
    """An incident's life (Defender's names); `Redirected` is one that was merged into another."""

    NEW = "New"
    IN_PROGRESS = "InProgress"
    RESOLVED = "Resolved"
    REDIRECTED = "Redirected"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a judgement came out as it did: a sentence, and its share of the score in points."""

    text: str
    weight: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"text": self.text, "weight": round(self.weight, 1)}


@dataclass(frozen=True, slots=True)
class LinkedAlert:
    """An alert in an incident, with the reasons for which it was joined (none for the alert that opened it)."""

    alert: Alert
    linked_by: tuple[Reason, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: the alert's, with `linked_by`."""
        return {**self.alert.to_dict(), "linked_by": [r.to_dict() for r in self.linked_by]}


def by_time(linked: LinkedAlert) -> tuple[datetime, str]:
    """What an incident's alerts are in order by."""
    return (linked.alert.time, linked.alert.id)


def as_made(linked: LinkedAlert) -> tuple[datetime, datetime, str]:
    """What puts alerts in the order in which they were made."""
    return (linked.alert.created, linked.alert.time, linked.alert.id)


@dataclass(slots=True)
class Incident:
    """One incident. Everything but people's decisions follows from its alerts.

    `severity_override` and `title_override` hold what a person set by hand. `promoted` is False for a cluster of signals that no one
    is shown yet: rules that only inform, waiting for an alert that gives them a meaning. `phase` is where people are in answering it, `roles`
    who does what; `acknowledged` is when a person took it, `closed` when it was resolved (None while it is open).
    """

    id: str
    number: int = 0
    alerts: list[LinkedAlert] = field(default_factory=list)
    status: Status = Status.NEW
    owner: str = ""
    classification: str = ""
    determination: str = ""
    tags: list[str] = field(default_factory=list)
    severity_override: str = ""
    title_override: str = ""
    redirect_to: str = ""
    promoted: bool = False
    created: datetime | None = None
    updated: datetime | None = None
    phase: str = ""
    roles: dict[str, str] = field(default_factory=dict)
    acknowledged: datetime | None = None
    closed: datetime | None = None
    _facts: Facts | None = field(default=None, init=False, repr=False, compare=False)
    _counted: list[LinkedAlert] | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def opened_by(cls, alert: Alert) -> Incident:
        """A new incident around one alert; its id follows from that alert's."""
        return cls(cls.id_by(alert), alerts=[LinkedAlert(alert)], created=alert.created, updated=alert.created)

    @staticmethod
    def id_by(alert: Alert) -> str:
        """The id of the incident that the alert opens."""
        return stable_id("inc", alert.id)

    def place_of(self, alert: Alert) -> int:
        """Where an alert that it has stands among its alerts."""
        return bisect_left(self.alerts, (alert.time, alert.id), key=by_time)

    def linked(self, alert: Alert) -> LinkedAlert:
        """An alert that it has, as it is linked here."""
        return self.alerts[self.place_of(alert)]

    def inherit(self, source: Incident) -> None:
        """Takes tags, and the decisions that this one lacks, from an incident that is merged into it."""
        # A source that had something merged into it first, or is marked already, hands on no mark: the target is what remains.
        self.tags.extend(t for t in source.tags if t not in (*self.tags, MERGED))
        self.owner = self.owner or source.owner
        self.classification = self.classification or source.classification
        self.determination = self.determination or source.determination
        if source.status is Status.IN_PROGRESS and self.status is Status.NEW:
            self.status = Status.IN_PROGRESS
        self.phase = self.phase or source.phase
        self.roles = {**source.roles, **self.roles}
        # Times are measured from when either was first seen, and first taken.
        self.created = min((t for t in (self.created, source.created) if t), default=None)
        self.acknowledged = min((t for t in (self.acknowledged, source.acknowledged) if t), default=None)

    def redirect(self, target_id: str) -> None:
        """Marks it as merged into another."""
        self.status, self.redirect_to = Status.REDIRECTED, target_id
        if MERGED not in self.tags:
            self.tags.append(MERGED)

    @property
    def locked(self) -> bool:
        """Whether somebody has locked it: see `LOCKED`."""
        return LOCKED in self.tags

    @property
    def open(self) -> bool:
        """Whether alerts may still join it."""
        return self.status not in (Status.RESOLVED, Status.REDIRECTED) and not self.locked

    @property
    def untouched(self) -> bool:
        """Whether nobody has decided anything about it."""
        decided = (
            self.owner, self.classification, self.determination, self.severity_override, self.title_override, self.phase, self.roles,
        )  # fmt: skip
        return self.status is Status.NEW and not any(decided)

    def alert_ids(self) -> set[str]:
        """The ids of its alerts."""
        return {a.alert.id for a in self.alerts}

    @property
    def facts(self) -> Facts:
        """What its alerts add up to. Kept from one call to the next: alerts that came after the last are added, any other change counts anew."""
        facts, alerts = self._facts, self.alerts
        if (
            facts is None
            or self._counted is not alerts
            or facts.count > len(alerts)
            or (facts.count and alerts[facts.count - 1].alert.id != facts.last_id)
        ):
            facts = self._facts = Facts()
            self._counted = alerts
        for place in range(facts.count, len(alerts)):
            facts.take(alerts[place].alert)
        return facts

    def nth(self, first: Mapping[str, int]) -> Mapping[str, int]:
        """By rule, the so-manieth alert that the rule ever made is in it; `first` says it by alert, of rules' first ones. As with `facts` only alerts
        that came since are looked at: what `first` says of an alert never changes."""
        facts, alerts = self.facts, self.alerts
        by, counted = facts.counted
        if by is not first:
            facts.nth, counted = {}, 0
        for place in range(counted, facts.count):
            alert = alerts[place].alert
            if (n := first.get(alert.id)) is not None:
                facts.nth[alert.said_by] = min(n, facts.nth.get(alert.said_by, n))
        facts.counted = (first, facts.count)
        return facts.nth

    def lighten(self) -> None:
        """Lets go of what can be counted again."""
        self._facts = self._counted = None

    @property
    def first(self) -> datetime:
        """Time of the first event."""
        return min(a.alert.time for a in self.alerts)

    @property
    def last(self) -> datetime:
        """Time of the last event."""
        return max(a.alert.end for a in self.alerts)

    @property
    def severity(self) -> str:
        """The highest of its alerts' severities, unless set by hand."""
        return self.severity_override or SEVERITIES[self.facts.rank]

    @property
    def tactics(self) -> tuple[str, ...]:
        """ATT&CK tactics in kill-chain order."""
        return ordered_tactics(self.facts.tactics)

    @property
    def techniques(self) -> tuple[str, ...]:
        """ATT&CK technique ids, sorted."""
        return tuple(sorted(self.facts.techniques))

    def entities(self, most: int | None = None) -> tuple[Entity, ...]:
        """Its entities, one each, the most often named first, at most so many; the same thing under several identifiers is merged."""
        return self.facts.entities(most)

    def hosts(self) -> tuple[str, ...]:
        """Labels of its hosts, the most often named first."""
        return tuple(e.label for e in self.entities() if e.type == "Host")

    @property
    def title(self) -> str:
        """What happened, in a line: from tactics, hosts and sources, unless set by hand. Never a key for anything."""
        if self.title_override:
            return self.title_override
        facts = self.facts
        rules = list(facts.titles)
        hosts = facts.of_type.get("Host", 0)
        place = f" on {hosts} endpoints" if hosts > 1 else ""
        if hosts == 1:
            place = f" on {next(facts.entities_of('Host')).label}"
        elif not hosts:
            accounts = facts.of_type.get("Account", 0) + facts.of_type.get("Mailbox", 0)
            place = f" involving {accounts} users" if accounts > 1 else ""
            if accounts == 1:
                place = f" involving {next(facts.entities_of('Account', 'Mailbox')).label}"
        if len(rules) == 1:
            return f"{rules[0]}{place}"
        # What only informs says what else was seen, not what the attack did, unless nothing else says anything.
        tactics = ordered_tactics(t for stages in facts.stages.values() for t in stages) or self.tactics
        if len(tactics) > 1:
            words = f"{spaced(tactics[0])} & {spaced(tactics[-1])}"
            sources = " reported by multiple sources" if len(facts.witnesses) > 1 else ""
            return f"Multi-stage incident involving {words}{place}{sources}"
        if not rules:
            return "Incident without alerts"  # one that was merged into another
        telling = facts.rules[next(iter(facts.stages))] if facts.stages else rules[0]
        stage = spaced(tactics[0]) if tactics else "Suspicious activity"
        return f"{stage} incident{place}: {telling} and {len(rules) - 1} more"

    def to_record(self) -> dict[str, Any]:
        """Everything that must be kept to make this incident again; see `from_record`."""
        return {
            "id": self.id,
            "number": self.number,
            "alerts": [a.to_dict() for a in self.alerts],
            "status": self.status.value,
            "owner": self.owner,
            "classification": self.classification,
            "determination": self.determination,
            "tags": list(self.tags),
            "severity_override": self.severity_override,
            "title_override": self.title_override,
            "redirect_to": self.redirect_to,
            "promoted": self.promoted,
            "created": iso(self.created) if self.created else None,
            "updated": iso(self.updated) if self.updated else None,
        }

    @classmethod
    def from_record(cls, raw: Mapping[str, Any]) -> Incident:
        """The incident of a `to_record` form."""
        return cls(
            id=raw["id"],
            number=raw["number"],
            alerts=[
                LinkedAlert(Alert.from_dict(a), tuple(Reason(r["text"], r["weight"]) for r in a.get("linked_by", ())))
                for a in raw["alerts"]
            ],
            status=Status(raw["status"]),
            owner=raw["owner"],
            classification=raw["classification"],
            determination=raw["determination"],
            tags=list(raw["tags"]),
            severity_override=raw["severity_override"],
            title_override=raw["title_override"],
            redirect_to=raw["redirect_to"],
            promoted=raw["promoted"],
            created=datetime.fromisoformat(raw["created"]) if raw["created"] else None,
            updated=datetime.fromisoformat(raw["updated"]) if raw["updated"] else None,
        )


def stage_of(tactic: str) -> int:
    """A tactic's place in the kill chain; the last for one that isn't in it."""
    return TACTICS.index(tactic) if tactic in TACTICS else len(TACTICS)


def ordered_tactics(tactics: Iterable[str]) -> tuple[str, ...]:
    """Distinct tactics in kill-chain order; unknown ones last, by name."""
    return tuple(sorted(set(tactics), key=lambda t: (stage_of(t), t)))


def spaced(tactic: str) -> str:
    """``LateralMovement`` as people read it: Lateral movement."""
    return "".join(f" {c.lower()}" if c.isupper() and i else c for i, c in enumerate(tactic))


def span_of(seconds: float) -> str:
    """A time in days, hours or minutes, rounded; empty where it is less than a minute."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            n = round(seconds / size)
            return f"{n} {unit}{'s' if n != 1 else ''}"
    return ""
