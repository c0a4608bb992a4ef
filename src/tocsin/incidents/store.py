"""Incidents in and out of state: what correlation says is written, what people decided is kept.

Analysts' decisions live in the database's columns and win over what correlation holds in memory; everything else follows from the alerts.
Every change is an entry of the incident log first; the rows are projections of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tocsin.detect.alert import Alert, iso
from tocsin.incidents import correlate
from tocsin.incidents.model import Incident, LinkedAlert, Reason, Status
from tocsin.incidents.priority import priority
from tocsin.incidents.project import difference, project
from tocsin.state import IncidentChange, IncidentRow, Unit

__all__ = [
    "alert_of",
    "bring_comments",
    "from_row",
    "judge_again",
    "keep_decisions",
    "load_growing",
    "record",
    "save",
    "touched",
    "write",
]

CORRELATION = "correlation"
"""The actor of changes that correlation makes, and their source."""


def load_growing(unit: Unit, since: datetime) -> list[Incident]:
    """The incidents, hidden ones too, that alerts may still join: for a Correlator at start."""
    return [from_row(unit.incidents.require(i), unit.incidents.alerts_of(i)) for i in unit.incidents.growing(since)]


def from_row(row: IncidentRow, alerts: Sequence[dict[str, Any]]) -> Incident:
    """The incident of a row and its alerts' JSON forms."""
    return Incident(
        id=row.id,
        alerts=[
            LinkedAlert(alert_of(a), tuple(Reason(r["text"], r["weight"]) for r in a.get("linked_by", ())))
            for a in alerts
        ],
        tags=list(row.tags),
        updated=row.updated,
        **_decisions(row),
    )


def _decisions(row: IncidentRow) -> dict[str, Any]:
    """What was decided about an incident, as its members."""
    return {
        "number": row.number or 0,
        "status": Status(row.status),
        "owner": row.owner or "",
        "classification": row.classification or "",
        "determination": row.determination or "",
        "severity_override": row.severity_override or "",
        "title_override": row.title_override or "",
        "redirect_to": row.redirect_to or "",
        "promoted": row.promoted,
        "created": row.created,
        "phase": row.phase or "",
        "roles": dict(row.roles),
        "acknowledged": row.acknowledged,
        "closed": row.closed,
    }


def record(linked: LinkedAlert) -> dict[str, Any]:
    """The alert's JSON form for `put_alert`, with what only correlation needs to know."""
    alert = linked.alert
    flags = {"correlate": alert.correlate, "create_incident": alert.create_incident}
    return {**alert.to_dict(), **{name: value for name, value in flags.items() if not value}}


def alert_of(raw: dict[str, Any]) -> Alert:
    """The alert of a `record`."""
    return replace(
        Alert.from_dict(raw),
        correlate=raw.get("correlate", True),
        create_incident=raw.get("create_incident", True),
    )


def save(
    unit: Unit, correlator: correlate.Correlator, alerts: Iterable[Alert], changes: Sequence[correlate.IncidentChange]
) -> None:
    """Writes what `correlator.add(alerts)` changed: incidents, alerts, activity and events for automation."""
    absorbed = {c.absorbed.id for c in changes if c.absorbed is not None}
    for change in changes:
        if change.absorbed is not None:
            # An alert that came with this very batch may have passed through it: it was never there as far as anybody saw.
            held = unit.incidents.alert_ids(change.absorbed.id)
            change.absorbed.alerts = [a for a in change.absorbed.alerts if a.alert.id in held]
            _take_over(unit, change.incident, change.absorbed)
    touched: dict[str, Incident] = {}
    for alert in alerts:
        if (incident := correlator.holding(alert.id)) is not None:
            touched[incident.id] = incident
    touched.update({c.incident.id: c.incident for c in changes})
    for incident in touched.values():
        _save(unit, incident, absorbed)
    for change in changes:
        if change.absorbed is not None:
            _redirect(unit, change.absorbed, change.incident)


def _save(unit: Unit, incident: Incident, absorbed: set[str]) -> None:
    before = unit.incidents.get(incident.id, lock=True)
    if before is not None:
        keep_decisions(incident, before)
    held = unit.incidents.alert_ids(incident.id)
    new = [a for a in incident.alerts if a.alert.id not in held]
    if before is not None and not new and before.promoted == incident.promoted and before.status != Status.REDIRECTED:
        return
    came_from = set(unit.incidents.holders([a.alert.id for a in new]).values()) - {incident.id}
    first_shown = incident.promoted and (before is None or not before.promoted)
    if first_shown and not incident.number:
        incident.number = unit.incidents.next_number()
    write(unit, incident, by=CORRELATION, source=CORRELATION, linked=new)
    for emptied in came_from - absorbed:
        unit.incidents.remove_hidden(emptied, actor=CORRELATION, source=CORRELATION)
    if not incident.promoted:
        return
    if first_shown:
        _tell_created(unit, incident)
    elif new:
        _tell_grown(unit, incident, new, before)


def write(
    unit: Unit,
    incident: Incident,
    *,
    by: str,
    source: str,
    linked: Sequence[LinkedAlert] = (),
    left: Iterable[str] = (),
    at: datetime | None = None,
) -> None:
    """Writes what an incident has become: an entry of the incident log, and with it the row, the tags and the alerts' links.

    `linked` are alerts that are in it now and weren't before, `left` the ids of those that are not any more; `at` is the change's moment.
    """
    now = at or unit.clock.now()
    before = unit.incidents.get(incident.id)
    incident.created, incident.updated = incident.created or now, now
    score, reasons = priority(incident, unit.judge)
    version = 1 if before is None else before.version + 1
    row = project(incident, score, [r.to_dict() for r in reasons], updated=now, version=version)
    data = difference(before, row, incident.tags)
    links = {a.alert.id: [r.to_dict() for r in a.linked_by] for a in linked}
    gone = list(left)
    if links or gone:
        data["alerts"] = {"linked": [{"id": i, "linked_by": r} for i, r in links.items()], "left": gone}
    seq = unit.incidents.history.append(
        incident.id,
        "opened" if before is None else "changed",
        data,
        actor=by,
        source=source,
        time=now,
        version=version,
    )
    unit.incidents.put(row)
    unit.incidents.set_tags(incident.id, incident.tags, by=by, at=now)
    for alert in linked:
        unit.incidents.put_alert(record(alert))
    unit.incidents.link(incident.id, links)
    unit.changed.append(IncidentChange(seq, row, by, source, data))


def judge_again(unit: Unit, incident_id: str) -> bool:
    """Works out an incident's priority anew (other weights, other assets); whether it or its reasons changed."""
    row = unit.incidents.require(incident_id, lock=True)
    incident = from_row(row, unit.incidents.alerts_of(incident_id))
    score, reasons = priority(incident, unit.judge)
    if score == row.priority and [r.to_dict() for r in reasons] == row.payload.get("reasons"):
        return False
    write(unit, incident, by="system:priority", source="system")
    return True


def touched(unit: Unit, incident_id: str, *, by: str, source: str) -> None:
    """Tells who follows incidents that something of one changed that has no version: a comment, a task."""
    row = unit.incidents.require(incident_id)
    unit.changed.append(IncidentChange(unit.incidents.history.last(), row, by, source, {}))


def keep_decisions(incident: Incident, row: IncidentRow) -> None:
    """What people decided is in the row; memory may lag behind by a moment."""
    kept = _decisions(row)
    if incident.status is Status.REDIRECTED:
        del kept["status"], kept["redirect_to"]
    kept["promoted"] = kept["promoted"] or incident.promoted
    kept["number"] = kept["number"] or incident.number
    for name, value in kept.items():
        setattr(incident, name, value)
    incident.tags = list(dict.fromkeys((*row.tags, *(t for t in incident.tags if t == "Redirected"))))


def _take_over(unit: Unit, target: Incident, source: Incident) -> None:
    """A merge by the rows' decisions: what the target lacks it takes from the source. Done before the target is written."""
    into, out_of = unit.incidents.get(target.id, lock=True), unit.incidents.get(source.id, lock=True)
    if out_of is None:
        return
    if into is not None:
        keep_decisions(target, into)
    target.inherit(from_row(out_of, []))
    if into is not None:
        write(unit, target, by=CORRELATION, source=CORRELATION)


def _redirect(unit: Unit, source: Incident, target: Incident) -> None:
    before = unit.incidents.get(source.id, lock=True)
    if before is None or not source.alerts:
        return
    keep_decisions(source, before)
    source.redirect(target.id)
    write(unit, source, by=CORRELATION, source=CORRELATION, left=[a.alert.id for a in source.alerts])
    unit.incidents.log(
        source.id,
        CORRELATION,
        "merge",
        f"Merged into incident #{target.number}.",
        {"into": target.id},
        source=CORRELATION,
    )
    unit.incidents.log(
        target.id,
        CORRELATION,
        "merge",
        f"Incident #{source.number} was merged into this one: {before.title}",
        {"from": source.id, "alerts": len(source.alerts)},
        source=CORRELATION,
    )
    bring_comments(unit, source.id, target.id, source=CORRELATION)
    unit.incidents.emit(target.id, "updated", CORRELATION, "correlation", {"merged": {"added": [source.id]}})


def bring_comments(unit: Unit, origin_id: str, target_id: str, *, source: str) -> list[int]:
    """Copies what people wrote to the incident that theirs was merged into, marked with where and when it was written."""
    return [
        unit.incidents.log(
            target_id, e.actor, "comment", e.text, {"from": origin_id, "time": iso(e.time)}, source=source
        )
        for e in unit.incidents.activity_of(origin_id)
        if e.kind == "comment"
    ]


def _tell_created(unit: Unit, incident: Incident) -> None:
    first = min(incident.alerts, key=lambda a: (a.alert.created, a.alert.time, a.alert.id)).alert
    unit.incidents.log(
        incident.id,
        CORRELATION,
        "created",
        f"Opened by the alert '{first.title or first.rule}'"
        + (f" and {len(incident.alerts) - 1} more." if len(incident.alerts) > 1 else "."),
        {"alerts": [a.alert.id for a in incident.alerts]},
        source=CORRELATION,
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
        source=CORRELATION,
    )
    changes: dict[str, Any] = {"alerts": {"added": [a.alert.id for a in new]}}
    if before is not None:
        if before.severity != incident.severity:
            changes["severity"] = {"from": before.severity, "to": incident.severity}
        known = set(before.payload.get("tactics", ()))
        if added := [t for t in incident.tactics if t not in known]:
            changes["tactics"] = {"added": added}
    unit.incidents.emit(incident.id, "updated", CORRELATION, "correlation", changes)
