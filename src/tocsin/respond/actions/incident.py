"""Actions on an incident: assign, status, severity, title, tags, comment. They need no approval and can be undone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tocsin.incidents import life, reshape
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.model import LOCKED
from tocsin.incidents.moved import MOVE
from tocsin.respond.kind import ActionInput, Context, I, InsideKind, Outcome
from tocsin.state import ConflictError, Unit

__all__ = [
    "AssignIncident",
    "CommentIncident",
    "DeskKind",
    "IncidentEdit",
    "LockIncident",
    "MergeIncidents",
    "MoveAlerts",
    "RetitleIncident",
    "SetIncidentSeverity",
    "SetIncidentStatus",
    "TagIncident",
]

Tag = Annotated[str, Field(min_length=1, max_length=life.TAG_LENGTH)]


class DeskKind(InsideKind[I]):
    """What somebody who may manage incidents does to one, at the desk."""

    permission: ClassVar[str] = "incidents.manage"
    needs_incident: ClassVar[bool] = True

    def __init__(self, desk: IncidentDesk) -> None:
        self._desk = desk


class IncidentEdit(DeskKind[I]):
    """An edit of an incident's members; its undo sets back those that nobody has changed since."""

    edit: ClassVar[bool] = True

    def changes(self, given: I) -> dict[str, Any]:
        """The members to change, as `life.change` takes them."""
        raise NotImplementedError

    def execute(self, unit: Unit, context: Context[I]) -> Outcome:
        """See InsideKind."""
        incident_id = context.action.incident_id or ""
        row = unit.incidents.require(incident_id)
        before = {"severity": row.severity_override, "title": row.title_override}
        made = self._desk.change(unit, incident_id, self.changes(context.given), actor=context.actor)
        # The undo of a severity or title is what was set by hand before, perhaps nothing, not what correlation showed.
        undo = {n: {**v, "from": before.get(n, v.get("from"))} for n, v in made.items()}
        return Outcome({"changes": made}, undo, text="" if made else "It was so already.")

    def undo(self, unit: Unit, context: Context[I]) -> str:
        """See InsideKind."""
        incident_id = context.action.incident_id or ""
        row = unit.incidents.require(incident_id)
        back: dict[str, Any] = {}
        for name, values in (context.action.undo_data or {}).items():
            if name == "tags":
                back["add_tags"], back["remove_tags"] = values.get("removed", []), values.get("added", [])
                continue
            if name == "roles":  # a role that came with the change goes with it
                values = {**values, "from": {**dict.fromkeys(values["to"]), **values["from"]}}
            if getattr(row, name) != values["to"]:
                raise ConflictError(f"The incident's {name} was changed since: it is not set back.")
            back[name] = values["from"]
        self._desk.change(unit, incident_id, back, actor=context.actor)
        return "Set back." if back else "Nothing to set back."


class AssignInput(ActionInput):
    """To whom; null for nobody."""

    owner: str | None = Field(description="A user's or a group's name, or null to unassign", max_length=64)


class AssignIncident(IncidentEdit[AssignInput]):
    """Assigns an incident."""

    kind: ClassVar[str] = "incident.assign"
    title: ClassVar[str] = "Assign incident"
    description: ClassVar[str] = "Makes a user or a group the incident's owner."
    Input = AssignInput

    def changes(self, given: AssignInput) -> dict[str, Any]:
        """See IncidentEdit."""
        return {"owner": given.owner}

    def describe(self, given: AssignInput) -> tuple[str, str]:
        """See ActionKind."""
        title = f"Assign to {given.owner}" if given.owner else "Unassign"
        return title, f"{title}."


class StatusInput(ActionInput):
    """The status, and with it a classification, a determination and a comment. Null clears a classification."""

    status: Literal["New", "InProgress", "Resolved"] | None = Field(default=None, description="The status")
    classification: Literal["TruePositive", "InformationalExpectedActivity", "FalsePositive"] | None = Field(
        default=None, description="What it was"
    )
    determination: str | None = Field(
        default=None, max_length=64, description="What kind of that; one that goes with the classification"
    )
    comment: str | None = Field(default=None, max_length=life.COMMENT_LENGTH, description="A note kept with the change")

    @model_validator(mode="after")
    def _something(self) -> StatusInput:
        if not self.model_fields_set - {"comment"}:
            raise ValueError("give a status, a classification or a determination")
        return self


class SetIncidentStatus(IncidentEdit[StatusInput]):
    """Sets status and classification."""

    kind: ClassVar[str] = "incident.status"
    title: ClassVar[str] = "Set status"
    description: ClassVar[str] = "Sets an incident's status, classification and determination."
    Input = StatusInput

    def changes(self, given: StatusInput) -> dict[str, Any]:
        """See IncidentEdit."""
        made = given.model_dump(exclude_unset=True)
        if made.get("status", ...) is None:
            del made["status"]
        return made

    def describe(self, given: StatusInput) -> tuple[str, str]:
        """See ActionKind."""
        parts = [p for p in (given.status, given.classification, given.determination) if p]
        title = f"Set to {', '.join(parts)}" if parts else "Clear the classification"
        return title, f"{title}."


class SeverityInput(ActionInput):
    """The severity; null gives it back to correlation."""

    severity: Literal["Informational", "Low", "Medium", "High"] | None = Field(description="The severity, or null")


class SetIncidentSeverity(IncidentEdit[SeverityInput]):
    """Sets the severity by hand."""

    kind: ClassVar[str] = "incident.severity"
    title: ClassVar[str] = "Set severity"
    description: ClassVar[str] = "Sets an incident's severity by hand, or gives it back to correlation."
    Input = SeverityInput

    def changes(self, given: SeverityInput) -> dict[str, Any]:
        """See IncidentEdit."""
        return {"severity": given.severity}

    def describe(self, given: SeverityInput) -> tuple[str, str]:
        """See ActionKind."""
        title = f"Set severity to {given.severity}" if given.severity else "Let correlation set the severity"
        return title, f"{title}."


class TitleInput(ActionInput):
    """The title; null gives it back to correlation."""

    title: str | None = Field(min_length=1, max_length=300, description="The title, or null")


class RetitleIncident(IncidentEdit[TitleInput]):
    """Sets the title by hand."""

    kind: ClassVar[str] = "incident.title"
    title: ClassVar[str] = "Set title"
    description: ClassVar[str] = "Sets an incident's title by hand, or gives it back to correlation."
    Input = TitleInput

    def changes(self, given: TitleInput) -> dict[str, Any]:
        """See IncidentEdit."""
        return {"title": given.title}

    def describe(self, given: TitleInput) -> tuple[str, str]:
        """See ActionKind."""
        title = f"Set title to '{given.title}'" if given.title else "Let correlation set the title"
        return title, f"{title}."


class TagInput(ActionInput):
    """Tags to add and to remove."""

    add: tuple[Tag, ...] = Field(default=(), max_length=50, description="Tags to add")
    remove: tuple[Tag, ...] = Field(default=(), max_length=50, description="Tags to remove")

    @model_validator(mode="after")
    def _something(self) -> TagInput:
        if not self.add and not self.remove:
            raise ValueError("give a tag to add or to remove")
        return self


class TagIncident(IncidentEdit[TagInput]):
    """Adds and removes tags."""

    kind: ClassVar[str] = "incident.tag"
    title: ClassVar[str] = "Tag incident"
    description: ClassVar[str] = "Adds tags to an incident and removes others."
    Input = TagInput

    def changes(self, given: TagInput) -> dict[str, Any]:
        """See IncidentEdit."""
        return {"add_tags": list(given.add), "remove_tags": list(given.remove)}

    def describe(self, given: TagInput) -> tuple[str, str]:
        """See ActionKind."""
        parts = []
        if given.add:
            parts.append(f"Tag {', '.join(given.add)}")
        if given.remove:
            parts.append(f"{'remove' if parts else 'Remove'} tag {', '.join(given.remove)}")
        title = "; ".join(parts)
        return title, f"{title}."


class LockInput(ActionInput):
    """Whether it is locked."""

    locked: bool = Field(description="true: correlation leaves it as it is; false: it may grow again")


class LockIncident(IncidentEdit[LockInput]):
    """Locks an incident against correlation, or unlocks it."""

    kind: ClassVar[str] = "incident.lock"
    title: ClassVar[str] = "Lock incident"
    description: ClassVar[str] = (
        "Locks an incident: no alert joins it and it merges with none, until it is unlocked. The tag Locked says so."
    )
    Input = LockInput

    def changes(self, given: LockInput) -> dict[str, Any]:
        """See IncidentEdit."""
        return {"add_tags" if given.locked else "remove_tags": [LOCKED]}

    def describe(self, given: LockInput) -> tuple[str, str]:
        """See ActionKind."""
        title = "Lock" if given.locked else "Unlock"
        return title, f"{title}."


class MergeInput(ActionInput):
    """Which incidents to merge into this one, and why."""

    sources: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(
        min_length=1, max_length=reshape.MOST_SOURCES, description="Ids of the incidents that are emptied into this one"
    )
    reason: str = Field(default="", max_length=1000, description="Why they belong together")


class MergeIncidents(DeskKind[MergeInput]):
    """Merges incidents."""

    kind: ClassVar[str] = "incident.merge"
    title: ClassVar[str] = "Merge incidents"
    description: ClassVar[str] = "Empties other incidents into this one; links to them lead here."
    Input = MergeInput

    def describe(self, given: MergeInput) -> tuple[str, str]:
        """See ActionKind."""
        count = len(given.sources)
        title = "Merge an incident into this one" if count == 1 else f"Merge {count} incidents into this one"
        return title, f"{title}: {given.reason}" if given.reason else f"{title}."

    def execute(self, unit: Unit, context: Context[MergeInput]) -> Outcome:
        """See InsideKind."""
        target = context.action.incident_id or ""
        undo = self._desk.merge(unit, target, context.given.sources, reason=context.given.reason, actor=context.actor)
        return Outcome({"merged": list(context.given.sources)}, undo)

    def undo(self, unit: Unit, context: Context[MergeInput]) -> str:
        """See InsideKind."""
        return self._desk.unmerge(unit, context.action.undo_data or {}, actor=context.actor)


class MoveInput(ActionInput):
    """Which alerts to move, where to, and why."""

    alerts: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(
        min_length=1, max_length=1000, description="Ids of the alerts to move"
    )
    target: str | None = Field(default=None, max_length=64, description="The incident to move them to; null makes one")
    reason: str = Field(default="", max_length=1000, description="Why they don't belong here")


class MoveAlerts(DeskKind[MoveInput]):
    """Moves alerts out of an incident."""

    kind: ClassVar[str] = MOVE
    title: ClassVar[str] = "Move alerts"
    description: ClassVar[str] = "Moves alerts to another incident, or to a new one of their own."
    Input = MoveInput

    def describe(self, given: MoveInput) -> tuple[str, str]:
        """See ActionKind."""
        count = f"{len(given.alerts)} alert{'s' if len(given.alerts) > 1 else ''}"
        title = f"Move {count} to {'another' if given.target else 'a new'} incident"
        return title, f"{title}: {given.reason}" if given.reason else f"{title}."

    def execute(self, unit: Unit, context: Context[MoveInput]) -> Outcome:
        """See InsideKind."""
        given = context.given
        undo = self._desk.move(
            unit, context.action.incident_id or "", given.alerts, given.target, reason=given.reason, actor=context.actor
        )
        return Outcome({"incident": undo["target"], "number": undo["number"]}, undo)

    def undo(self, unit: Unit, context: Context[MoveInput]) -> str:
        """See InsideKind."""
        return self._desk.unmove(unit, context.action.undo_data or {}, actor=context.actor)


class CommentInput(ActionInput):
    """The text."""

    text: str = Field(min_length=1, max_length=life.COMMENT_LENGTH, description="The comment")


class CommentIncident(DeskKind[CommentInput]):
    """Adds a comment."""

    kind: ClassVar[str] = "incident.comment"
    title: ClassVar[str] = "Comment"
    description: ClassVar[str] = "Adds a comment to an incident's activity log."
    edit: ClassVar[bool] = True
    Input = CommentInput

    def describe(self, given: CommentInput) -> tuple[str, str]:
        """See ActionKind."""
        first = given.text.splitlines()[0]
        return "Comment", first if len(first) <= 120 else f"{first[:119]}…"

    def execute(self, unit: Unit, context: Context[CommentInput]) -> Outcome:
        """See InsideKind."""
        entry = self._desk.comment(unit, context.action.incident_id or "", context.given.text, actor=context.actor)
        return Outcome({"entry": entry}, {"entry": entry})

    def undo(self, unit: Unit, context: Context[CommentInput]) -> str:
        """See InsideKind."""
        data: Mapping[str, Any] = context.action.undo_data or {}
        life.uncomment(unit, context.action.incident_id or "", int(data["entry"]), actor=context.actor)
        return "Removed from the log."
