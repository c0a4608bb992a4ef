"""Rows of incidents and of what belongs to them, as the repository gives and takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

__all__ = ["COLUMNS", "ActivityRow", "EventRow", "IncidentChange", "IncidentFilter", "IncidentRow"]


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """An incident's row. None where nothing was decided; `number` is given when it is first shown."""

    id: str
    number: int | None
    title: str
    severity: str
    severity_rank: int
    priority: int
    status: str
    owner: str | None
    classification: str | None
    determination: str | None
    first: datetime
    last: datetime
    created: datetime
    updated: datetime
    alert_count: int
    severity_override: str | None
    title_override: str | None
    redirect_to: str | None
    promoted: bool
    search: str
    payload: Mapping[str, Any]
    phase: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    acknowledged: datetime | None = None
    closed: datetime | None = None
    version: int = 1
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """A change of an incident, for who follows them: its place in the log, the row after it, and what the log says of it."""

    seq: int
    row: IncidentRow
    actor: str
    source: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """What the queue shows. `owner`, `tag` and `classification` may name several, joined by commas; "none" means nobody's and not classified. A tag
    that has commas itself is named alone. `since` and `until` are of the last event, both included, as are the bounds of the priority. Of `tactics`,
    `products` and `entity_types` an incident has one at least; `entity` is the name of one. Empty members don't filter; without `statuses` merged
    ones stay hidden."""

    statuses: Sequence[str] = ()
    severities: Sequence[str] = ()
    owner: str = ""
    tag: str = ""
    text: str = ""
    classification: str = ""
    since: datetime | None = None
    until: datetime | None = None
    tactics: Sequence[str] = ()
    products: Sequence[str] = ()
    entity_types: Sequence[str] = ()
    entity: str = ""
    least_priority: int | None = None
    most_priority: int | None = None


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """An entry of an incident's activity log."""

    id: int
    incident_id: str
    time: datetime
    actor: str
    kind: str
    text: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EventRow:
    """A change of an incident, for automation. `changes` maps a member to its values before and after."""

    seq: int
    incident_id: str
    time: datetime
    kind: str
    actor: str
    source: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    depth: int = 0
    handled: datetime | None = None


COLUMNS = tuple(f.name for f in fields(IncidentRow) if f.name != "tags")
"""The columns of an incident's own row: all but its tags."""
