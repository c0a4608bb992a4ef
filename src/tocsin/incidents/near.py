"""What is near to what, and whether it would join, in the API's shapes: to an incident its neighbours, to alerts that aren't filed yet theirs."""

from __future__ import annotations

from typing import Any

from tocsin.detect.alert import Alert, iso
from tocsin.incidents.correlate import Correlator
from tocsin.incidents.model import Incident
from tocsin.incidents.neighbours import Candidate
from tocsin.state.incidents import IncidentRow

__all__ = ["near_alert", "near_incident"]

_MOST = 5
"""How many incidents are told of an alert."""


def near_incident(correlator: Correlator, incident_id: str, most: int) -> list[dict[str, Any]]:
    """What would join an incident, and why or why not, nearest first."""
    return [
        {**_candidate(correlator, c), "vetoes": correlator.against(incident_id, c.incident)}
        for c in correlator.neighbours(incident_id)[:most]
    ]


def near_alert(correlator: Correlator, alert: Alert, filed: IncidentRow | None) -> dict[str, Any]:
    """What an alert would join if it came now, and why. `filed`: the incident that holds it already, where it stays."""
    found = [] if filed is not None else correlator.preview(alert)[:_MOST]
    return {
        "title": alert.title or alert.rule,
        "severity": alert.severity,
        "time": iso(alert.time),
        "entities": [{"type": e.type, "label": e.label} for e in alert.entities],
        "filed": None if filed is None else _named(filed),
        "correlate": alert.correlate,
        "opens": alert.opens,
        "near": [_candidate(correlator, c) for c in found],
    }


def _candidate(correlator: Correlator, candidate: Candidate) -> dict[str, Any]:
    return {
        **_named(candidate.incident),
        "score": round(candidate.score, 1),
        "threshold": correlator.settings.threshold,
        "joins": candidate.joins,
        "reasons": [r.to_dict() for r in candidate.reasons],
    }


def _named(incident: Incident | IncidentRow) -> dict[str, Any]:
    return {"id": incident.id, "number": incident.number, "title": incident.title, "shown": incident.promoted}
