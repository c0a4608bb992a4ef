"""Where an incident probably began: the alert with the most points for a beginning, with its reasons, and the runner-up with why it lost.

Points are for coming early, for a stage with which attacks begin, for a door (a mail, a link, an address of the outside), and against what
presupposes that somebody was inside already: a later stage, or stages that were seen before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tocsin.detect.alert import TACTICS, Alert, iso
from tocsin.incidents.facts import PATTERNS
from tocsin.incidents.model import Incident, LinkedAlert, Reason, by_time, spaced, span_of
from tocsin.incidents.story import roles_of
from tocsin.tables.own import own

__all__ = ["MOST_LOOKED_AT", "root_cause"]

MOST_LOOKED_AT = 10_000
"""Alerts that are looked at, the first in time; of a larger incident `looked_at` says so."""

_BEGINNINGS = {"InitialAccess": 30.0, "Reconnaissance": 15.0, "ResourceDevelopment": 10.0, "Execution": 12.0}
_LATER = frozenset(TACTICS) - _BEGINNINGS.keys()
_DOORS = {
    "MailMessage": ("came by mail", 15.0),
    "URL": ("a link was followed", 10.0),
    "SubmissionMail": ("a mail was reported", 10.0),
}
_PRESUPPOSES = -10.0
_SEEN_BEFORE, _SEEN_BEFORE_MOST = -8.0, -32.0
_SOON = timedelta(minutes=10)
"""Within so long an incident's time is all the same."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    linked: LinkedAlert
    reasons: dict[str, Reason]
    """By what they are about: time, stage, before, door, address, host."""

    @property
    def score(self) -> float:
        return sum(r.weight for r in self.reasons.values())

    @property
    def same(self) -> tuple[str, ...]:
        """What makes two alerts one and the same beginning."""
        actor, target = roles_of(self.linked.alert)
        return (self.linked.alert.said_by, actor.label if actor else "", target.label if target else "")

    def to_dict(self) -> dict[str, Any]:
        alert = self.linked.alert
        actor, target = roles_of(alert)
        return {
            "alert_id": alert.id,
            "title": alert.title or alert.rule,
            "time": iso(alert.time),
            "actor": actor.label if actor else "",
            "actor_type": actor.type if actor else "",
            "target": target.label if target else "",
            "target_type": target.type if target else "",
            "score": round(self.score, 1),
            "reasons": [r.to_dict() for r in sorted(self.reasons.values(), key=lambda r: -r.weight)],
        }


def root_cause(incident: Incident) -> dict[str, Any] | None:
    """Where it probably began; None for an incident without alerts. What only adds up others, a pattern or a rule over alerts, is no beginning.

    `runner_up` is the next one that isn't the same (rule, actor and target), with what it has less (`lost_by`); None where there is no other.
    """
    table = own("alerts").name
    seen = [a for a in incident.alerts if a.alert.product != PATTERNS and not _adds_up(a.alert, table)]
    every = sorted(seen or incident.alerts, key=by_time)
    looked = every[:MOST_LOOKED_AT]
    if not looked:
        return None
    found = _candidates(looked)
    best = found[0]
    for candidate in found:
        if candidate.score > best.score:
            best = candidate
    rest = [c for c in found if c.same != best.same]
    runner = max(rest, key=lambda c: c.score, default=None)  # of equals the earliest
    return {
        **best.to_dict(),
        "next_score": round(runner.score, 1) if runner else 0.0,
        "runner_up": {**runner.to_dict(), "lost_by": _lost_by(best, runner, looked[0].alert.time)} if runner else None,
        "looked_at": len(looked),
        "alerts": len(every),
    }


def _adds_up(alert: Alert, table: str) -> bool:
    """Whether it speaks of alerts alone, and of no tactic of its own."""
    return not alert.tactics and bool(alert.events) and all(e.table == table for e in alert.events)


def _candidates(alerts: Sequence[LinkedAlert]) -> list[_Candidate]:
    first = alerts[0].alert
    span = max(alerts[-1].alert.time - first.time, _SOON)
    host = next((e.label.lower() for e in first.entities if e.type == "Host"), "")
    before: dict[str, datetime] = {}
    """By later stage, when it was first seen."""
    for linked in alerts:
        for tactic in linked.alert.tactics:
            if tactic in _LATER:
                before.setdefault(tactic, linked.alert.time)
    return [_Candidate(a, _reasons(a.alert, place, first, span, host, before)) for place, a in enumerate(alerts)]


def _reasons(
    alert: Alert, place: int, first: Alert, span: timedelta, host: str, before: dict[str, datetime]
) -> dict[str, Reason]:
    reasons: dict[str, Reason] = {}
    gap = alert.time - first.time
    if place == 0:
        reasons["time"] = Reason("the earliest alert of the incident", 30.0)
    elif not gap:
        reasons["time"] = Reason("among the earliest alerts of the incident", 25.0)
    else:
        reasons["time"] = Reason(f"{_words(gap)} after the first alert", round(20.0 * (1 - gap / span), 1))
    tactic = max((t for t in alert.tactics if t in _BEGINNINGS), key=lambda t: _BEGINNINGS[t], default=None)
    if tactic:
        reasons["stage"] = Reason(f"its stage is {spaced(tactic)}", _BEGINNINGS[tactic])
    elif later := next((t for t in alert.tactics if t in _LATER), None):
        reasons["stage"] = Reason(f"its stage, {spaced(later)}, presupposes a way in", _PRESUPPOSES)
    if earlier := sorted((t for t, time in before.items() if time < alert.time), key=TACTICS.index):
        named = ", ".join(spaced(t).lower() for t in earlier[:3]) + (" and more" if len(earlier) > 3 else "")
        reasons["before"] = Reason(f"{named} seen before it", max(_SEEN_BEFORE * len(earlier), _SEEN_BEFORE_MOST))
    kinds = {e.type for e in alert.entities}
    for kind, (text, points) in _DOORS.items():
        if kind in kinds:
            reasons[kind] = Reason(text, points)
    if any(e.is_public_address for e in alert.entities):
        reasons["address"] = Reason("a public address takes part", 12.0)
    if host and place and any(e.type == "Host" and e.label.lower() == host for e in alert.entities):
        reasons["host"] = Reason(f"on the host where it was first seen ({host})", 5.0)
    return reasons


def _lost_by(best: _Candidate, other: _Candidate, first: datetime) -> list[dict[str, Any]]:
    """In what the other has less, the most first: what speaks for the best one or against the other, and by how many points."""
    nothing = Reason("", 0.0)
    lost: list[Reason] = []
    for about in {**best.reasons, **other.reasons}:
        if about == "host" and other.linked.alert.time == first:
            continue  # where it was first seen is where that one was
        ours, theirs = best.reasons.get(about, nothing), other.reasons.get(about, nothing)
        less = round(theirs.weight - ours.weight, 1)
        if less < 0:
            said = [
                t for t in (theirs.text, f"the other: {ours.text}" if ours.text and theirs.text else ours.text) if t
            ]
            text = "; ".join(said) if theirs.text else f"not: {ours.text}"
            lost.append(Reason(text, less))
    if not lost:
        lost.append(Reason("as many points, but later", 0.0))
    return [r.to_dict() for r in sorted(lost, key=lambda r: r.weight)]


def _words(gap: timedelta) -> str:
    seconds = gap.total_seconds()
    if long := span_of(seconds):
        return long
    return f"{seconds:.0f} second{'' if round(seconds) == 1 else 's'}" if seconds >= 1 else "less than a second"
