"""An incident as JSON: the one shape that `tocsin scan --json`, the API and the reports give."""

from __future__ import annotations

from typing import Any

from tocsin.detect.alert import iso
from tocsin.incidents.model import Incident
from tocsin.incidents.priority import Judge, priority
from tocsin.incidents.story import graph, story

__all__ = ["incident_summary", "incident_view"]


def incident_summary(incident: Incident, judge: Judge | None = None) -> dict[str, Any]:
    """What a queue shows: no alerts' rows, no story, no graph."""
    score, reasons = priority(incident, judge)
    return {
        "id": incident.id,
        "number": incident.number,
        "title": incident.title,
        "severity": incident.severity,
        "priority": score,
        "reasons": [r.to_dict() for r in reasons],
        "status": incident.status.value,
        "owner": incident.owner or None,
        "classification": incident.classification or None,
        "determination": incident.determination or None,
        "tags": list(incident.tags),
        "first": iso(incident.first),
        "last": iso(incident.last),
        "created": iso(incident.created) if incident.created else None,
        "updated": iso(incident.updated) if incident.updated else None,
        "tactics": list(incident.tactics),
        "techniques": list(incident.techniques),
        "products": sorted({a.alert.product for a in incident.alerts}),
        "entities": [e.to_dict() for e in incident.entities()],
        "entity_count": incident.facts.things,
        "alert_count": len(incident.alerts),
        "redirect_to": incident.redirect_to or None,
    }


def incident_view(incident: Incident, judge: Judge | None = None) -> dict[str, Any]:
    """The whole incident: summary, alerts with their rows and reasons, story, graph."""
    return {
        **incident_summary(incident, judge),
        "alerts": [a.to_dict() for a in incident.alerts],
        "story": [s.to_dict() for s in story(incident)],
        "graph": graph(incident),
    }
