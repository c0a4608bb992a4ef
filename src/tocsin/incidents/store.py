"""Incidents in and out of state: what correlation says is written, what people decided is kept.

Analysts' decisions live in the database's columns and win over what correlation holds in memory; everything else follows from the alerts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tocsin.base.clock import Clock
from tocsin.detect.alert import SEVERITIES, Alert, iso
from tocsin.incidents.correlate import Correlator, IncidentChange
from tocsin.incidents.model import Incident, LinkedAlert, Reason, Status
from tocsin.incidents.view import incident_view
from tocsin.state import IncidentRow, Unit

__all__ = ["from_row", "load_growing", "record", "save", "write"]

CORRELATION = "correlation"
"""The actor of changes that correlation makes."""

_SEARCH = 20_000
_PAYLOAD = ("reasons", "tactics", "techniques", "products", "entities", "story", "graph")


def load_growing(unit: Unit, since: datetime) -> list[Incident]:
    """The incidents, hidden ones too, that alerts may still join: for a Correlator at start."""
    return [from_row(unit.incidents.require(i), unit.incidents.alerts_of(i)) for i in unit.incidents.growing(since)]


def from_row(row: IncidentRow, alerts: Sequence[dict[str, Any]]) -> Incident:
    """The incident of a row and its alerts' JSON forms."""
    return Incident(
        id=row.id,
        number=row.number or 0,
        alerts=[
            LinkedAlert(_alert(a), tuple(Reason(r["text"], r["weight"]) for r in a.get("linked_by", ())))
            for a in alerts
        ],
        status=Status(row.status),
        owner=row.owner or "",
        classification=row.classification or "",
        determination=row.determination or "",
        tags=list(row.tags),
        severity_override=row.severity_override or "",
        title_override=row.title_override or "",
        redirect_to=row.redirect_to or "",
        promoted=row.promoted,
        created=row.created,
        updated=row.updated,
    )


def record(linked: LinkedAlert) -> dict[str, Any]:
    """The alert's JSON form for `put_alert`, with what only correlation needs to know."""
    alert = linked.alert
    flags = {"correlate": alert.correlate, "create_incident": alert.create_incident}
    return {**linked.to_dict(), **{name: value for name, value in flags.items() if not value}}


def _alert(raw: dict[str, Any]) -> Alert:
    return replace(
        Alert.from_dict(raw),
        correlate=raw.get("correlate", True),
        create_incident=raw.get("create_incident", True),
    )


def save(
    unit: Unit, correlator: Correlator, alerts: Iterable[Alert], changes: Sequence[IncidentChange], clock: Clock
) -> None:
    """Writes what `correlator.add(alerts)` changed: incidents, alerts, activity and events for automation."""
    absorbed = {c.absorbed.id for c in changes if c.absorbed is not None}
    for change in changes:
        if change.absorbed is not None:
            _take_over(unit, change.incident, change.absorbed)
    touched: dict[str, Incident] = {}
    for alert in alerts:
        if (incident := correlator.holding(alert.id)) is not None:
            touched[incident.id] = incident
    touched.update({c.incident.id: c.incident for c in changes})
    for incident in touched.values():
        _save(unit, incident, absorbed, clock)
    for change in changes:
        if change.absorbed is not None:
            _redirect(unit, change.absorbed, change.incident, clock)


def _save(unit: Unit, incident: Incident, absorbed: set[str], clock: Clock) -> None:
    before = unit.incidents.get(incident.id, lock=True)
    if before is not None:
        _keep_decisions(incident, before)
    held = unit.incidents.alert_ids(incident.id)
    new = [a for a in incident.alerts if a.alert.id not in held]
    if before is not None and not new and before.promoted == incident.promoted and before.status != Status.REDIRECTED:
        return
    came_from = set(unit.incidents.holders([a.alert.id for a in new]).values()) - {incident.id}
    first_shown = incident.promoted and (before is None or not before.promoted)
    if first_shown and not incident.number:
        incident.number = unit.incidents.next_number()
    write(unit, incident, by=CORRELATION, clock=clock)
    for linked in new:
        unit.incidents.put_alert(incident.id, record(linked))
    for emptied in came_from - absorbed:
        unit.incidents.remove_hidden(emptied)
    if not incident.promoted:
        return
    if first_shown:
        _tell_created(unit, incident)
    elif new:
        _tell_grown(unit, incident, new, before)


def write(unit: Unit, incident: Incident, *, by: str, clock: Clock) -> None:
    """Writes the incident's row and tags (its alerts are written apart)."""
    view = incident_view(incident)
    rules = dict.fromkeys(a.alert.title or a.alert.rule for a in incident.alerts)
    words = [
        f"#{incident.number}",
        incident.title,
        incident.id,
        *incident.tags,
        *(e["label"] for e in view["entities"]),
        *rules,
        *incident.techniques,
    ]
    unit.incidents.put(
        IncidentRow(
            id=incident.id,
            number=incident.number or None,
            title=incident.title,
            severity=incident.severity,
            severity_rank=SEVERITIES.index(incident.severity),
            priority=view["priority"],
            status=incident.status.value,
            owner=incident.owner or None,
            classification=incident.classification or None,
            determination=incident.determination or None,
            first=incident.first,
            last=incident.last,
            created=incident.created or clock.now(),
            updated=clock.now(),
            alert_count=len(incident.alerts),
            severity_override=incident.severity_override or None,
            title_override=incident.title_override or None,
            redirect_to=incident.redirect_to or None,
            promoted=incident.promoted,
            search="\n".join(words).casefold()[:_SEARCH],
            payload={name: view[name] for name in _PAYLOAD},
        )
    )
    unit.incidents.set_tags(incident.id, incident.tags, by=by)


def _keep_decisions(incident: Incident, row: IncidentRow) -> None:
    """What people decided is in the row; memory may lag behind by a moment."""
    if incident.status is not Status.REDIRECTED:
        incident.status = Status(row.status)
    incident.number = row.number or incident.number
    incident.owner, incident.classification = row.owner or "", row.classification or ""
    incident.determination = row.determination or ""
    incident.severity_override, incident.title_override = row.severity_override or "", row.title_override or ""
    incident.tags = list(dict.fromkeys((*row.tags, *(t for t in incident.tags if t == "Redirected"))))
    incident.created = row.created


def _take_over(unit: Unit, target: Incident, source: Incident) -> None:
    """A merge by the rows' decisions: what the target lacks it takes from the source. Done before the target is written."""
    into, out_of = unit.incidents.get(target.id, lock=True), unit.incidents.get(source.id, lock=True)
    if out_of is None:
        return
    if into is not None:
        _keep_decisions(target, into)
    target.owner = target.owner or out_of.owner or ""
    target.classification = target.classification or out_of.classification or ""
    target.determination = target.determination or out_of.determination or ""
    target.tags = list(dict.fromkeys((*target.tags, *out_of.tags)))
    if out_of.status == Status.IN_PROGRESS and target.status is Status.NEW:
        target.status = Status.IN_PROGRESS
    if into is not None:
        write(unit, target, by=CORRELATION, clock=unit.clock)


def _redirect(unit: Unit, source: Incident, target: Incident, clock: Clock) -> None:
    before = unit.incidents.get(source.id, lock=True)
    if before is None:
        return
    _keep_decisions(source, before)
    source.redirect(target.id)
    write(unit, source, by=CORRELATION, clock=clock)
    unit.incidents.log(source.id, CORRELATION, "merge", f"Merged into incident #{target.number}.", {"into": target.id})
    unit.incidents.log(
        target.id,
        CORRELATION,
        "merge",
        f"Incident #{source.number} was merged into this one: {before.title}",
        {"from": source.id, "alerts": len(source.alerts)},
    )
    for entry in unit.incidents.activity_of(source.id):
        if entry.kind == "comment":  # what people wrote comes along, marked with where it was written
            unit.incidents.log(
                target.id, entry.actor, "comment", entry.text, {"from": source.id, "time": iso(entry.time)}
            )
    unit.incidents.emit(target.id, "updated", CORRELATION, "correlation", {"merged": {"added": [source.id]}})


def _tell_created(unit: Unit, incident: Incident) -> None:
    first = min(incident.alerts, key=lambda a: (a.alert.created, a.alert.time, a.alert.id)).alert
    unit.incidents.log(
        incident.id,
        CORRELATION,
        "created",
        f"Opened by the alert '{first.title or first.rule}'"
        + (f" and {len(incident.alerts) - 1} more." if len(incident.alerts) > 1 else "."),
        {"alerts": [a.alert.id for a in incident.alerts]},
    )
    unit.incidents.emit(incident.id, "created", CORRELATION, "correlation", {})


def _tell_grown(unit: Unit, incident: Incident, new: Sequence[LinkedAlert], before: IncidentRow | None) -> None:
    titles = list(dict.fromkeys(a.alert.title or a.alert.rule for a in new))
    more = f" and {len(titles) - 3} more" if len(titles) > 3 else ""
    unit.incidents.log(
        incident.id,
        CORRELATION,
        "alerts",
        f"{len(new)} alert{'s' if len(new) > 1 else ''} added: {', '.join(titles[:3])}{more}.",
        {"alerts": [a.alert.id for a in new]},
    )
    changes: dict[str, Any] = {"alerts": {"added": [a.alert.id for a in new]}}
    if before is not None:
        if before.severity != incident.severity:
            changes["severity"] = {"from": before.severity, "to": incident.severity}
        known = set(before.payload.get("tactics", ()))
        if added := [t for t in incident.tactics if t not in known]:
            changes["tactics"] = {"added": added}
    unit.incidents.emit(incident.id, "updated", CORRELATION, "correlation", changes)
