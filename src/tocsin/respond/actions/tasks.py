"""Actions on what is to be done about an incident: tasks, comments put right, phase and roles. They need no approval and can be undone."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from tocsin.incidents import life, tasks
from tocsin.respond.actions.incident import DeskKind, IncidentEdit
from tocsin.respond.kind import ActionInput, Context, Outcome
from tocsin.state import Unit

__all__ = ["AddTask", "ChangeTask", "ConductIncident", "EditComment", "RemoveTask"]


class ConductInput(ActionInput):
    """The phase (null for none) and roles to change (null takes a role from whoever has it)."""

    phase: Literal["DetectionAnalysis", "Containment", "Eradication", "Recovery", "PostIncident"] | None = Field(
        default=None, description="Where people are in answering it"
    )
    roles: dict[str, str | None] = Field(
        default={}, max_length=len(life.ROLES), description=f"User by role: {', '.join(life.ROLES)}"
    )

    @model_validator(mode="after")
    def _something(self) -> ConductInput:
        if not self.model_fields_set:
            raise ValueError("give a phase or roles")
        return self


class ConductIncident(IncidentEdit[ConductInput]):
    """Sets the phase and who does what."""

    kind: ClassVar[str] = "incident.conduct"
    title: ClassVar[str] = "Set phase and roles"
    description: ClassVar[str] = "Says where people are in answering an incident and who does what."
    Input = ConductInput

    def changes(self, given: ConductInput) -> dict[str, Any]:
        """See IncidentEdit."""
        return given.model_dump(exclude_unset=True)

    def describe(self, given: ConductInput) -> tuple[str, str]:
        """See ActionKind."""
        parts = [f"Phase {given.phase}"] if given.phase else []
        parts += [f"{role}: {person or 'nobody'}" for role, person in given.roles.items()]
        title = "; ".join(parts) or "Clear the phase"
        return title, f"{title}."


class AddTaskInput(ActionInput):
    """What is to be done."""

    title: str = Field(min_length=1, max_length=tasks.TASK_TITLE, description="What is to be done")
    description: str = Field(default="", max_length=3000, description="How, and what to look out for")


class AddTask(DeskKind[AddTaskInput]):
    """Adds a task."""

    kind: ClassVar[str] = "incident.add-task"
    title: ClassVar[str] = "Add task"
    description: ClassVar[str] = "Adds a task to an incident."
    edit: ClassVar[bool] = True
    Input = AddTaskInput

    def describe(self, given: AddTaskInput) -> tuple[str, str]:
        """See ActionKind."""
        return "Add task", f"{given.title}."

    def execute(self, unit: Unit, context: Context[AddTaskInput]) -> Outcome:
        """See InsideKind."""
        given = context.given
        made = self._desk.add_task(
            unit, context.action.incident_id or "", given.title, given.description, actor=context.actor
        )
        return Outcome({"task": made.id}, {"task": made.id})

    def undo(self, unit: Unit, context: Context[AddTaskInput]) -> str:
        """See InsideKind."""
        task = int((context.action.undo_data or {})["task"])
        self._desk.remove_task(unit, context.action.incident_id or "", task, actor=context.actor)
        return "The task is gone."


class ChangeTaskInput(ActionInput):
    """Which task, and what of it changes."""

    task: int = Field(description="The task's number")
    title: str | None = Field(default=None, min_length=1, max_length=tasks.TASK_TITLE, description="Another title")
    description: str | None = Field(default=None, max_length=3000, description="Another description")
    done: bool | None = Field(default=None, description="Whether it is done")


class ChangeTask(DeskKind[ChangeTaskInput]):
    """Changes a task, or says that it is done."""

    kind: ClassVar[str] = "incident.change-task"
    title: ClassVar[str] = "Change task"
    description: ClassVar[str] = "Changes an incident's task, or says whether it is done."
    edit: ClassVar[bool] = True
    Input = ChangeTaskInput

    def describe(self, given: ChangeTaskInput) -> tuple[str, str]:
        """See ActionKind."""
        if given.done is None:
            return "Change task", f"Task {given.task}."
        return ("Complete task" if given.done else "Reopen task"), f"Task {given.task}."

    def execute(self, unit: Unit, context: Context[ChangeTaskInput]) -> Outcome:
        """See InsideKind."""
        given = context.given
        changes = {n: v for n, v in given.model_dump(exclude={"task"}).items() if v is not None}
        before = self._desk.change_task(
            unit, context.action.incident_id or "", given.task, changes, actor=context.actor
        )
        return Outcome({"task": given.task}, before.to_dict())

    def undo(self, unit: Unit, context: Context[ChangeTaskInput]) -> str:
        """See InsideKind."""
        tasks.restore_task(unit, context.action.undo_data or {}, context.action.incident_id or "", actor=context.actor)
        return "The task is as it was."


class RemoveTaskInput(ActionInput):
    """Which task."""

    task: int = Field(description="The task's number")


class RemoveTask(DeskKind[RemoveTaskInput]):
    """Takes a task away."""

    kind: ClassVar[str] = "incident.remove-task"
    title: ClassVar[str] = "Remove task"
    description: ClassVar[str] = "Takes a task away from an incident."
    edit: ClassVar[bool] = True
    Input = RemoveTaskInput

    def describe(self, given: RemoveTaskInput) -> tuple[str, str]:
        """See ActionKind."""
        return "Remove task", f"Task {given.task}."

    def execute(self, unit: Unit, context: Context[RemoveTaskInput]) -> Outcome:
        """See InsideKind."""
        gone = self._desk.remove_task(unit, context.action.incident_id or "", context.given.task, actor=context.actor)
        return Outcome({"task": gone.id}, gone.to_dict())

    def undo(self, unit: Unit, context: Context[RemoveTaskInput]) -> str:
        """See InsideKind."""
        was = context.action.undo_data or {}
        incident = context.action.incident_id or ""
        made = self._desk.add_task(unit, incident, was["title"], was["description"], actor=context.actor)
        if was["completed"] is not None:
            self._desk.change_task(unit, incident, made.id, {"done": True}, actor=context.actor)
        return "The task is there again."


class EditCommentInput(ActionInput):
    """Which comment, and its new text."""

    entry: int = Field(description="The comment's number in the activity log")
    text: str = Field(min_length=1, max_length=life.COMMENT_LENGTH, description="The comment's new text")


class EditComment(DeskKind[EditCommentInput]):
    """Gives a comment another text."""

    kind: ClassVar[str] = "incident.edit-comment"
    title: ClassVar[str] = "Edit comment"
    description: ClassVar[str] = "Gives a comment of one's own another text; both stay in the log."
    edit: ClassVar[bool] = True
    Input = EditCommentInput

    def describe(self, given: EditCommentInput) -> tuple[str, str]:
        """See ActionKind."""
        return "Edit comment", given.text.splitlines()[0][:120]

    def execute(self, unit: Unit, context: Context[EditCommentInput]) -> Outcome:
        """See InsideKind."""
        given = context.given
        before = self._desk.edit_comment(
            unit, context.action.incident_id or "", given.entry, given.text, actor=context.actor
        )
        return Outcome({"entry": given.entry}, {"text": before})

    def undo(self, unit: Unit, context: Context[EditCommentInput]) -> str:
        """See InsideKind."""
        text = str((context.action.undo_data or {})["text"])
        self._desk.edit_comment(unit, context.action.incident_id or "", context.given.entry, text, actor=context.actor)
        return "The comment says again what it said."
