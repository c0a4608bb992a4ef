"""Incidents out of state: what the database says of them, as correlation and everybody else takes it.

Analysts' decisions live in the database's columns and win over what correlation holds in memory; everything else follows from the alerts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tocsin.detect.alert import Alert
from tocsin.incidents.correlate import Correlator
from tocsin.incidents.model import LOCKED, MERGED, Incident, LinkedAlert, Reason, Status
from tocsin.state import IncidentRow, Unit

__all__ = [
    "LOOKED_BACK",
    "adopt_growing",
    "alert_of",
    "from_row",
    "keep_decisions",
    "load_resting",
    "load_several",
    "looking_back",
    "record",
]

_TOGETHER = 500

LOOKED_BACK = "incidents.looked_back"
"""Where it is kept how far looking back on the first hours has come."""


def adopt_growing(unit: Unit, correlator: Correlator, since: datetime, goes_on: Callable[[], None]) -> None:
    """Lets a correlator take in the incidents, hidden ones too, that alerts may still join: those whose last event is not older than that. Neither
    they nor their alerts are ever all in memory. `goes_on` is called again and again meanwhile; what it raises ends it."""
    opened = unit.incidents.growing_open(since, locked=LOCKED)
    order = unit.incidents.alerts_as_made(list(opened))
    held = Counter(incident_id for _, incident_id in order)

    def came() -> Iterator[tuple[str, Alert]]:
        for start in range(0, len(order), _TOGETHER):
            goes_on()
            part = order[start : start + _TOGETHER]
            documents = unit.incidents.alerts_by_id([alert_id for alert_id, _ in part])
            for alert_id, incident_id in part:
                yield incident_id, alert_of(documents[alert_id])

    correlator.adopt(opened, came(), held)


def looking_back(unit: Unit, correlator: Correlator) -> None:
    """Tells a correlator that knows nothing how far looking back on the first hours has come. Of incidents that an older program made nobody
    expects any more that they change."""
    kept = unit.kv.get(LOOKED_BACK)
    if kept is not None:
        over, seen, *known = kept  # an older program kept two of them
        correlator.hindsight.go_on_from(over, seen, *known)
        correlator.hindsight.is_kept(correlator.hindsight.at)
    elif unit.incidents.history.last():
        correlator.hindsight.end()


def load_resting(unit: Unit, incident_id: str) -> Incident:
    """The incident as a correlator holds it: with its alerts, without their rows. NotFoundError."""
    incident = from_row(unit.incidents.require(incident_id), unit.incidents.alerts_of(incident_id))
    incident.alerts = [replace(a, alert=replace(a.alert, events=())) for a in incident.alerts]
    return incident


def load_several(unit: Unit, incident_ids: Sequence[str], since: datetime) -> list[Incident]:
    """Those of the incidents that alerts may still join, as they are now."""
    found: list[Incident] = []
    for start in range(0, len(incident_ids), _TOGETHER):
        part = incident_ids[start : start + _TOGETHER]
        rows, alerts = unit.incidents.several(part), unit.incidents.alerts_of_several(part)
        found.extend(
            from_row(row, alerts[i])
            for i, row in rows.items()
            if row.last >= since and row.status != Status.REDIRECTED and i in alerts
        )
    return found


def from_row(row: IncidentRow, alerts: Sequence[dict[str, Any]]) -> Incident:
    """The incident of a row and its alerts' JSON forms."""
    return Incident(
        id=row.id,
        alerts=[_linked(a) for a in alerts],
        tags=list(row.tags),
        updated=row.updated,
        **_decisions(row),
    )


def _linked(raw: dict[str, Any]) -> LinkedAlert:
    return LinkedAlert(alert_of(raw), tuple(Reason(r["text"], r["weight"]) for r in raw.get("linked_by", ())))


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
    """The alert's JSON form as state keeps it, with what only correlation needs to know."""
    alert = linked.alert
    flags = {"correlate": alert.correlate, "create_incident": alert.create_incident}
    return {**alert.to_dict(), **{name: value for name, value in flags.items() if not value}}


def alert_of(raw: dict[str, Any]) -> Alert:
    """The alert of a `record`."""
    alert = Alert.from_dict(raw)
    if raw.get("correlate", True) and raw.get("create_incident", True):
        return alert
    return replace(alert, correlate=raw.get("correlate", True), create_incident=raw.get("create_incident", True))


def keep_decisions(incident: Incident, row: IncidentRow, *, reopened: bool = False) -> None:
    """What people decided is in the row; memory may lag behind by a moment. `reopened`: that it was merged is taken back."""
    kept = _decisions(row)
    if reopened or incident.status is Status.REDIRECTED:
        del kept["status"], kept["redirect_to"]
    kept["promoted"] = kept["promoted"] or incident.promoted
    kept["number"] = kept["number"] or incident.number
    for name, value in kept.items():
        setattr(incident, name, value)
    tags = (t for t in row.tags if not (reopened and t == MERGED))
    incident.tags = list(dict.fromkeys((*tags, *(t for t in incident.tags if t == MERGED))))
