"""An incident in the API's shape: as the queue shows it, and in full."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tocsin.base.memory import collector_paused
from tocsin.detect.alert import iso
from tocsin.incidents.load import from_row
from tocsin.incidents.merged import final
from tocsin.incidents.model import Status
from tocsin.incidents.pages import entry
from tocsin.incidents.story import graph, story
from tocsin.state import IncidentRow, NotFoundError, Unit, text_of

__all__ = ["full", "page_of", "shown", "summary", "told", "whole_graph"]


def shown(unit: Unit, incident_id: str) -> IncidentRow:
    """The row of an incident that people see; NotFoundError for another."""
    row = unit.incidents.get(incident_id)
    if row is None or not row.promoted:
        number = incident_id.removeprefix("#")
        hint = f"That is a number, no id: GET /api/v1/incidents?q=%23{number} finds its id." if number.isdigit() else ""
        raise NotFoundError(f"There is no incident {incident_id}.", hint=hint)
    return row


def full(unit: Unit, incident_id: str) -> dict[str, Any]:
    """One incident in full, in the API's shape; NotFoundError when there is none to show."""
    row = shown(unit, incident_id)
    alerts = unit.incidents.alerts_of(row.id)
    incident = from_row(row, alerts)
    activity = unit.incidents.activity_of(row.id)
    return {
        **told(unit, row),
        "story": [s.to_dict() for s in story(incident)],
        "graph": graph(incident),
        "alerts": alerts,
        "tasks": (todo := [t.to_dict() for t in unit.incidents.tasks.of(row.id)]),
        "tasks_done": sum(t["completed"] is not None for t in todo),
        "tasks_total": len(todo),
        "activity": [entry(a) for a in activity],
        "activity_count": len(activity),
    }


def whole_graph(unit: Unit, incident_id: str) -> tuple[int | None, dict[str, Any]]:
    """An incident's number and its graph with all its things, for other tools; NotFoundError when there is none to show."""
    row = shown(unit, incident_id)
    with collector_paused():  # of thousands of alerts nothing is garbage before the end
        return row.number, graph(from_row(row, unit.incidents.alerts_said_of(row.id)), whole=True)


def told(unit: Unit, row: IncidentRow) -> dict[str, Any]:
    """The summary with what its owner is and where its page is; a merged incident's with where links to it lead."""
    made = {**summary(row), "owner_type": unit.groups.type_of(row.owner), "url": page_of(unit, row.id)}
    if row.redirect_to:
        made["redirect_to"] = final(unit, row).id
    return made


def page_of(unit: Unit, incident_id: str) -> str | None:
    """Where people find an incident's page; None where nobody said where the portal is."""
    return f"{unit.portal}/incidents/{quote(incident_id, safe='')}" if unit.portal else None


def summary(row: IncidentRow) -> dict[str, Any]:
    """What the queue shows of an incident, in the API's shape."""
    p = row.payload
    return {
        "id": row.id,
        "number": row.number,
        "title": row.title,
        "severity": row.severity,
        "priority": row.priority,
        "reasons": p.get("reasons", []),
        "status": row.status,
        "owner": row.owner,
        "classification": row.classification,
        "determination": row.determination,
        "tags": list(row.tags),
        "first": iso(row.first),
        "last": iso(row.last),
        "created": iso(row.created),
        "updated": iso(row.updated),
        "tactics": p.get("tactics", []),
        "techniques": p.get("techniques", []),
        "products": p.get("products", []),
        "entities": p.get("entities", []),
        "entity_count": p.get("entity_count", len(p.get("entities", []))),
        "alert_count": 0 if row.status == Status.REDIRECTED else row.alert_count,
        "redirect_to": row.redirect_to,
        "phase": row.phase,
        "roles": dict(row.roles),
        "acknowledged": text_of(row.acknowledged),
        "closed": text_of(row.closed),
        "version": row.version,
    }
