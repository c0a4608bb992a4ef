"""What correlation did to incidents: changes as it tells them, one an incident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tocsin.detect.alert import Alert
from tocsin.incidents.model import Incident

__all__ = ["IncidentChange", "condense"]


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """What happened to an incident when alerts came in. `absorbed` names the one that a merge emptied."""

    kind: Literal["created", "updated", "merged"]
    incident: Incident
    alerts: tuple[Alert, ...] = ()
    absorbed: Incident | None = None


def condense(changes: Sequence[IncidentChange]) -> list[IncidentChange]:
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
        merges = [m for m in merges if m.absorbed is None or m.absorbed.id != change.incident.id]  # apart again already
        earlier_change = first.get(change.incident.id)
        if earlier_change is None:
            first[change.incident.id] = change
        else:
            first[change.incident.id] = IncidentChange(
                earlier_change.kind, change.incident, (*earlier_change.alerts, *change.alerts)
            )
    return [*merges, *first.values()]
