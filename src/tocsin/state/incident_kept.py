"""What is kept of several incidents at once, part by part: what a rebuild compares with what the log says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from tocsin.state.incident_rows import ActivityRow
from tocsin.state.incident_tasks import TaskRow
from tocsin.state.schema import activity, alerts, incident_tags, incident_tasks

__all__ = ["KeptParts", "kept_parts"]


@dataclass(slots=True)
class KeptParts:
    """An incident's tags by name (with when and by whom they were added), its activity and tasks in order, and by alert why it is in it."""

    tags: list[tuple[str, datetime, str]] = field(default_factory=list)
    activity: list[ActivityRow] = field(default_factory=list)
    tasks: list[TaskRow] = field(default_factory=list)
    links: dict[str, list[Any]] = field(default_factory=dict)


def kept_parts(connection: Connection, incident_ids: Sequence[str]) -> dict[str, KeptParts]:
    """By id, of each of them, also of those of which nothing is kept."""
    found = {i: KeptParts() for i in incident_ids}
    tags = select(incident_tags).where(incident_tags.c.incident_id.in_(incident_ids)).order_by(incident_tags.c.tag)
    for r in connection.execute(tags):
        found[r.incident_id].tags.append((r.tag, r.added, r.added_by))
    entries = select(activity).where(activity.c.incident_id.in_(incident_ids)).order_by(activity.c.id)
    for r in connection.execute(entries):
        found[r.incident_id].activity.append(ActivityRow(**r._mapping))
    tasks = select(incident_tasks).where(incident_tasks.c.incident_id.in_(incident_ids)).order_by(incident_tasks.c.id)
    for r in connection.execute(tasks):
        found[r.incident_id].tasks.append(TaskRow(**r._mapping))
    held = (alerts.c.incident_id, alerts.c.id, alerts.c.linked_by)
    for r in connection.execute(select(*held).where(alerts.c.incident_id.in_(incident_ids)).order_by(alerts.c.id)):
        found[r.incident_id].links[str(r.id)] = list(r.linked_by)
    return found
