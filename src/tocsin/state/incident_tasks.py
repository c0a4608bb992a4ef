"""What is to be done about incidents: tasks, a projection of the incident log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from tocsin.state.incident_log import IncidentLog
from tocsin.state.repository import NotFoundError, Repository
from tocsin.state.schema import incident_tasks
from tocsin.state.types import text_of

__all__ = ["IncidentTasks", "TaskRow"]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task of an incident; `completed` is None while it is open."""

    id: int
    incident_id: str
    title: str
    description: str
    created: datetime
    created_by: str
    completed: datetime | None = None
    completed_by: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "id": self.id,
            "title": self.title,
            "description": self.description,
            "created": text_of(self.created),
            "created_by": self.created_by,
            "completed": text_of(self.completed),
            "completed_by": self.completed_by,
        }


class IncidentTasks(Repository):
    """Tasks; each change is in the incident log first."""

    def of(self, incident_id: str) -> list[TaskRow]:
        """An incident's tasks in the order in which they were added."""
        chosen = select(incident_tasks).where(incident_tasks.c.incident_id == incident_id)
        return [TaskRow(**r._mapping) for r in self._c.execute(chosen.order_by(incident_tasks.c.id))]

    def counts(self, incident_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """By incident: how many tasks are done, and how many there are; those without tasks are left out."""
        chosen = (
            select(incident_tasks.c.incident_id, func.count(incident_tasks.c.completed), func.count())
            .where(incident_tasks.c.incident_id.in_(incident_ids))
            .group_by(incident_tasks.c.incident_id)
        )
        return {str(i): (int(done), int(all_)) for i, done, all_ in self._c.execute(chosen)}

    def require(self, incident_id: str, task_id: int) -> TaskRow:
        """One of the incident's tasks; NotFoundError when it has none of that number."""
        for task in self.of(incident_id):
            if task.id == task_id:
                return task
        raise NotFoundError(f"The incident has no task {task_id}.")

    def add(self, incident_id: str, title: str, description: str, *, by: str, source: str) -> TaskRow:
        """Adds a task."""
        now = self._clock.now()
        values = {"title": title, "description": description, "created": now, "created_by": by[:128]}
        made = self._c.execute(insert(incident_tasks).values(incident_id=incident_id, **values))
        assert made.inserted_primary_key is not None
        task = self.require(incident_id, int(made.inserted_primary_key[0]))
        self._log(task, by, source, now)
        return task

    def change(self, task: TaskRow, *, by: str, source: str, **values: Any) -> TaskRow:
        """Changes a task's members."""
        changed = replace(task, **values)
        self._c.execute(update(incident_tasks).where(incident_tasks.c.id == task.id).values(**values))
        self._log(changed, by, source, self._clock.now())
        return changed

    def move(self, task: TaskRow, incident_id: str, *, by: str, source: str) -> None:
        """Gives a task to another incident; it keeps its number."""
        moved = replace(task, incident_id=incident_id)
        self._c.execute(update(incident_tasks).where(incident_tasks.c.id == task.id).values(incident_id=incident_id))
        self._log_gone(task, by, source, into=incident_id)
        self._log(moved, by, source, self._clock.now())

    def put(self, incident_id: str, tasks: Sequence[TaskRow]) -> None:
        """Makes these the incident's tasks, whole; one that another incident was said to have goes from there."""
        kept = incident_tasks.c
        self._c.execute(delete(incident_tasks).where(kept.incident_id == incident_id))
        self._c.execute(delete(incident_tasks).where(kept.id.in_([t.id for t in tasks])))
        for task in tasks:
            self._c.execute(insert(incident_tasks).values(**{f.name: getattr(task, f.name) for f in fields(TaskRow)}))

    def remove(self, task: TaskRow, *, by: str, source: str) -> None:
        """Takes a task away; the log keeps it."""
        self._c.execute(delete(incident_tasks).where(incident_tasks.c.id == task.id))
        self._log_gone(task, by, source)

    def _log_gone(self, task: TaskRow, by: str, source: str, **more: str) -> None:
        log, data = IncidentLog(self._c, self._clock), {"id": task.id, **more}
        log.append(task.incident_id, "task-removed", data, actor=by, source=source, time=self._clock.now())

    def _log(self, task: TaskRow, by: str, source: str, time: datetime) -> None:
        log = IncidentLog(self._c, self._clock)
        log.append(task.incident_id, "task", task.to_dict(), actor=by, source=source, time=time)
