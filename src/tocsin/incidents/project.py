"""What an incident is (its decisions and its alerts) as the row that the queue is read from: a projection, made again at will."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tocsin.detect.alert import SEVERITIES
from tocsin.incidents.model import Incident
from tocsin.state import IncidentRow, text_of

__all__ = ["DECIDED", "ENTITIES", "VERSION", "decided", "difference", "project"]

VERSION = 5
"""Grows when a row made of the same facts would come out otherwise: rows of an older one are then made anew when state is opened."""

DECIDED = (
    "number",
    "status",
    "owner",
    "classification",
    "determination",
    "severity_override",
    "title_override",
    "redirect_to",
    "promoted",
    "phase",
    "roles",
    "created",
    "acknowledged",
    "closed",
)
"""Members of a row that don't follow from the alerts: what the log's entries `set`."""

_SEARCH = 20_000

ENTITIES = 100
"""Things that a row tells of, the most often named ones: a row is written at every change and read for every page of the queue."""

_FOUND_BY = 400
"""Things by whose names an incident is found in the queue."""

_IDS = frozenset(
    {
        "AadUserId",
        "Sid",
        "ObjectGuid",
        "PUID",
        "DeviceId",
        "AzureID",
        "OMSAgentID",
        "AppId",
        "NetworkMessageId",
        "SubmissionId",
        "SID",
    }
)
"""Identifiers by which it is found as well, where the thing is called something else."""


def project(
    incident: Incident,
    priority: int,
    reasons: Iterable[Mapping[str, Any]],
    *,
    updated: datetime,
    version: int,
    reports: Sequence[str] = (),
) -> IncidentRow:
    """The incident's row. It has at least one alert, and a time of creation. `reports` are the tags of threat reports that it looks like,
    also of those whose tag somebody took away."""
    assert incident.created is not None
    facts = incident.facts
    assert facts.first is not None
    assert facts.end is not None
    entities = facts.entities(_FOUND_BY)
    techniques = incident.techniques
    title = incident.title
    words = [
        f"#{incident.number}",
        title,
        incident.id,
        *sorted(incident.tags),
        *(e.label for e in entities),
        *facts.titles,
        *techniques,
        *(v for e in entities for n, v in e.identifiers.items() if n in _IDS and v != e.label),
    ]
    severity = incident.severity
    return IncidentRow(
        id=incident.id,
        number=incident.number or None,
        title=title,
        severity=severity,
        severity_rank=SEVERITIES.index(severity),
        priority=priority,
        status=incident.status.value,
        owner=incident.owner or None,
        classification=incident.classification or None,
        determination=incident.determination or None,
        first=facts.first,
        last=facts.end,
        created=incident.created,
        updated=updated,
        alert_count=facts.count,
        severity_override=incident.severity_override or None,
        title_override=incident.title_override or None,
        redirect_to=incident.redirect_to or None,
        promoted=incident.promoted,
        search="\n".join(words).casefold()[:_SEARCH],
        payload={
            "reasons": [dict(r) for r in reasons],
            "tactics": list(incident.tactics),
            "techniques": list(techniques),
            "products": sorted(facts.products),
            "entities": [e.to_dict() for e in entities[:ENTITIES]],
            "entity_count": facts.things,
            **({"types": sorted(t for t, n in facts.of_type.items() if n)} if facts.things > ENTITIES else {}),
            **({"reports": list(reports)} if reports else {}),
        },
        phase=incident.phase or None,
        roles=dict(sorted(incident.roles.items())),
        acknowledged=incident.acknowledged,
        closed=incident.closed,
        version=version,
        tags=tuple(incident.tags),
    )


def decided(row: IncidentRow) -> dict[str, Any]:
    """The members that somebody decided, as JSON."""
    made = {name: getattr(row, name) for name in DECIDED}
    made["roles"] = dict(row.roles)
    for name in ("created", "acknowledged", "closed"):
        made[name] = text_of(made[name])
    return made


def difference(before: IncidentRow | None, after: IncidentRow, tags: Sequence[str]) -> dict[str, Any]:
    """What an entry of the log says of a change: decided members with their new value, tags, and the priority if it is another."""
    old = {} if before is None else decided(before)
    new = decided(after)
    data: dict[str, Any] = {}
    if changed := {n: v for n, v in new.items() if n not in old or old[n] != v}:
        data["set"] = changed
    held = () if before is None else before.tags
    added, removed = [t for t in tags if t not in held], [t for t in held if t not in tags]
    if added or removed:
        data["tags"] = {"added": list(dict.fromkeys(added)), "removed": removed}
    old_facts = {} if before is None else _facts(before)
    if facts := {n: v for n, v in _facts(after).items() if n not in old_facts or old_facts[n] != v}:
        data["facts"] = facts
    reasons = after.payload["reasons"]
    if before is None or before.priority != after.priority or before.payload.get("reasons") != reasons:
        data["priority"] = {"score": after.priority, "reasons": reasons}
    known = [] if before is None else before.payload.get("reports", [])
    if (reports := after.payload.get("reports", [])) != known:
        data["reports"] = reports
    return data


def _facts(row: IncidentRow) -> dict[str, Any]:
    """What followed from the alerts then: told for the history of titles and figures, not needed to make the row again."""
    facts = {"title": row.title, "severity": row.severity}
    return {**facts, **{name: row.payload.get(name, []) for name in ("tactics", "products")}}
