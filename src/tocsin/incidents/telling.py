"""What correlation does to incidents, told to people: in the activity log, and in an event for automation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin.incidents.model import Incident, LinkedAlert, as_made
from tocsin.state import IncidentRow, IncidentWrites

__all__ = ["CORRELATION", "tell_created", "tell_grown", "tell_regrouped"]

CORRELATION = "correlation"
"""The actor of changes that correlation makes, and their source."""


def tell_created(writes: IncidentWrites, incident: Incident) -> None:
    """Says which alerts opened an incident."""
    first = min(incident.alerts, key=as_made).alert
    writes.log(
        incident.id,
        CORRELATION,
        "created",
        f"Opened by the alert '{first.title or first.rule}'"
        + (f" and {len(incident.alerts) - 1} more." if len(incident.alerts) > 1 else "."),
        {"alerts": [a.alert.id for a in incident.alerts]},
        source=CORRELATION,
    )
    writes.emit(incident.id, "created", CORRELATION, "correlation", {})


def tell_regrouped(
    writes: IncidentWrites,
    incident: Incident,
    new: Sequence[LinkedAlert],
    left: Sequence[str],
    before: IncidentRow,
    *,
    reopened: bool,
) -> None:
    """Says what looking back made of an incident that people had seen."""
    what = [
        f"{len(some)} alert{'s' if len(some) > 1 else ''} {verb}"
        for some, verb in ((new, "came"), (left, "left"))
        if some
    ]
    again = " It is open again." if reopened else ""
    said = f"Looked at again, now that it is known what is common here: {' and '.join(what) or 'nothing moved'}.{again}"
    came = [a.alert.id for a in new]
    writes.log(incident.id, CORRELATION, "alerts", said, {"alerts": came, "left": list(left)}, source=CORRELATION)
    changes: dict[str, Any] = {"alerts": {"added": came, "removed": list(left)}}
    if before.severity != incident.severity:
        changes["severity"] = {"from": before.severity, "to": incident.severity}
    writes.emit(incident.id, "updated", CORRELATION, "correlation", changes)


def tell_grown(
    writes: IncidentWrites, incident: Incident, new: Sequence[LinkedAlert], before: IncidentRow | None
) -> None:
    """Says which alerts came to an incident, and what changed of it with them."""
    titles = list(dict.fromkeys(a.alert.title or a.alert.rule for a in new))
    more = f" and {len(titles) - 3} more" if len(titles) > 3 else ""
    writes.log(
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
    writes.emit(incident.id, "updated", CORRELATION, "correlation", changes)
