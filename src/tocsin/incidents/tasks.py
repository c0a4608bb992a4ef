"""What is to be done about an incident: tasks, with who added them and who finished them. And comments that are put right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.incidents.life import COMMENT_LENGTH, Actor, IncidentChangeError, workable
from tocsin.incidents.store import touched
from tocsin.state import ConflictError, TaskRow, Unit
from tocsin.state.types import plain

__all__ = ["MOST_TASKS", "TASK_TITLE", "add_task", "change_task", "edit_comment", "remove_task", "restore_task"]

MOST_TASKS = 100
"""Tasks that an incident has at most (Sentinel's own limit is 40)."""

TASK_TITLE = 150
_DESCRIPTION = 3000


def add_task(unit: Unit, incident_id: str, title: str, description: str = "", *, actor: Actor) -> TaskRow:
    """Adds a task. IncidentChangeError for a title that is empty or too long or for one too many; ConflictError for a merged incident."""
    row = workable(unit, incident_id)
    title, description = _checked(title, description)
    if len(unit.incidents.tasks.of(incident_id)) >= MOST_TASKS:
        raise IncidentChangeError(f"Incident #{row.number} has {MOST_TASKS} tasks already: no more fit.")
    task = unit.incidents.tasks.add(incident_id, title, description, by=actor.name, source=actor.source)
    _told(unit, task, "task-add", f"Task added: {title}", {"added": [title]}, actor)
    return task


def change_task(unit: Unit, incident_id: str, task_id: int, changes: Mapping[str, Any], *, actor: Actor) -> TaskRow:
    """Changes a task's `title` or `description`, or says whether it is `done`; gives the task as it was before.

    NotFoundError for no such task, ConflictError when it is done (or open) already by somebody else.
    """
    workable(unit, incident_id)
    before = unit.incidents.tasks.require(incident_id, task_id)
    values: dict[str, Any] = {}
    if "title" in changes or "description" in changes:
        title, description = _checked(
            changes.get("title", before.title), changes.get("description", before.description)
        )
        values.update(title=title, description=description)
    if "done" in changes and bool(changes["done"]) != (before.completed is not None):
        done = bool(changes["done"])
        values["completed"] = unit.clock.now() if done else None
        values["completed_by"] = actor.name if done else None
    values = {n: v for n, v in values.items() if getattr(before, n) != v}
    if not values:
        return before
    after = unit.incidents.tasks.change(before, by=actor.name, source=actor.source, **values)
    if "completed" in values:
        verb, told = ("done", "completed") if after.completed else ("open again", "reopened")
    else:
        verb, told = "changed", "changed"
    _told(unit, after, f"task-{told}", f"Task {verb}: {after.title}", {told: [after.title]}, actor)
    return before


def restore_task(unit: Unit, before: Mapping[str, Any], incident_id: str, *, actor: Actor) -> None:
    """Gives a task back what it was before `change_task`. NotFoundError when it is gone."""
    values = {"title": before["title"], "description": before["description"], "done": before["completed"] is not None}
    change_task(unit, incident_id, int(before["id"]), values, actor=actor)


def remove_task(unit: Unit, incident_id: str, task_id: int, *, actor: Actor) -> TaskRow:
    """Takes a task away; the incident's log keeps it. NotFoundError for no such task."""
    workable(unit, incident_id)
    task = unit.incidents.tasks.require(incident_id, task_id)
    unit.incidents.tasks.remove(task, by=actor.name, source=actor.source)
    _told(unit, task, "task-removed", f"Task removed: {task.title}", {"removed": [task.title]}, actor)
    return task


def edit_comment(unit: Unit, incident_id: str, entry: int, text: str, *, actor: Actor) -> str:
    """Gives a comment another text; gives the one before. Only who wrote it may; the incident log and the audit log keep both.

    ConflictError for what isn't there or isn't theirs; IncidentChangeError for an empty or too long text.
    """
    workable(unit, incident_id)
    found = unit.incidents.entry(incident_id, entry)
    if found is None or found.kind != "comment":
        raise ConflictError("The comment isn't there any more.")
    if found.actor != actor.name or "from" in found.detail:
        raise ConflictError("Only who wrote a comment may change it.", hint="Add one of your own.")
    text = plain(text).strip()
    if not text or len(text) > COMMENT_LENGTH:
        raise IncidentChangeError(f"A comment has 1 to {COMMENT_LENGTH} characters, this one {len(text)}.")
    if text == found.text:
        return text
    edited = unit.clock.now().isoformat()
    unit.incidents.change_activity(
        found, text, {**found.detail, "edited": edited}, actor=actor.name, source=actor.source
    )
    touched(unit, incident_id, by=actor.name, source=actor.source)
    unit.audit.add(
        actor.name,
        "incident.edit-comment",
        "incident",
        incident_id,
        before={"entry": entry, "text": found.text},
        after={"entry": entry, "text": text},
        address=actor.address,
    )
    return found.text


def _checked(title: str, description: str) -> tuple[str, str]:
    title, description = " ".join(plain(title).split()), plain(description).strip()
    if not title or len(title) > TASK_TITLE:
        raise IncidentChangeError(f"A task's title has 1 to {TASK_TITLE} characters, this one {len(title)}.")
    if len(description) > _DESCRIPTION:
        raise IncidentChangeError(
            f"A task's description has at most {_DESCRIPTION} characters, this one {len(description)}."
        )
    return title, description


def _told(unit: Unit, task: TaskRow, action: str, text: str, change: Mapping[str, Any], actor: Actor) -> None:
    unit.incidents.log(task.incident_id, actor.name, "task", text, {"task": task.id}, source=actor.source)
    unit.audit.add(
        actor.name, f"incident.{action}", "incident", task.incident_id, after=task.to_dict(), address=actor.address
    )
    touched(unit, task.incident_id, by=actor.name, source=actor.source)
    unit.incidents.emit(
        task.incident_id, "updated", actor.name, actor.source, {"tasks": dict(change)}, depth=actor.depth
    )
