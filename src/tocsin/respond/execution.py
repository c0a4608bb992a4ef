"""Doing what the gate let through: executing, undoing, ending, and going on after a crash.

Each step moves the action's status by compare-and-set and leaves a line of history, an audit row and, where there is one, a line in the
incident's activity log. What a kind of action does outside happens between two transactions, never in one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tocsin.access import Principal, system
from tocsin.base.errors import TocsinError, did_you_mean
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.life import Actor
from tocsin.respond.errors import BadInputError, UnknownKindError
from tocsin.respond.kind import ActionInput, ActionKind, Context, InsideKind, Outcome, OutsideKind
from tocsin.state import ActionRow, State, Unit

__all__ = ["CLOCK", "Executor"]

_log = logging.getLogger("tocsin.respond")

_HOLDING = ("Running", "Succeeded")

CLOCK = system("system:clock")
"""Who lets proposals lapse and effects end."""


class Executor:
    """Does actions. `kinds` is the gate's own registry."""

    def __init__(self, state: State, desk: IncidentDesk, kinds: Mapping[str, ActionKind[Any]]) -> None:
        self._state = state
        self._desk = desk
        self._clock = state.clock
        self._kinds = kinds

    def recover(self) -> None:
        """After a start: goes on where a crash stopped, and makes effects hold that a restart of the machine lost."""
        with self._state.read() as unit:
            rows = unit.actions.in_status("Approved", "Running", "Succeeded")
        for row in rows:
            known = self._kinds.get(row.kind)
            if known is None or (row.expires_at is not None and row.expires_at <= self._clock.now()):
                continue
            try:
                self._recover(row, known)
            except Exception:
                _log.exception("recovery of action %s failed", row.id)

    def _recover(self, row: ActionRow, known: ActionKind[Any]) -> None:
        actor = Actor("system:recovery", "application")
        if row.status == "Approved":
            self.run(row.id, actor)
        elif row.status == "Running" and isinstance(known, OutsideKind):
            if row.phase == "undo":
                self.undo_outside(row.id, actor)
            elif known.idempotent:
                self._execute(row, known, actor)
            else:
                self._fail(row.id, actor, "The server stopped in the middle: whether it was done is not known.")
        elif row.status == "Succeeded" and isinstance(known, OutsideKind):
            with self._state.read() as unit:
                context = self.context(unit, row, self.values(known, row.input), actor)
            if (text := known.restore(context)) is not None:
                with self._state.write() as unit:
                    unit.actions.log(row.id, actor.name, "restored", text)

    def end(self, row: ActionRow) -> int:
        """The time of an effect is over: takes it back and marks it; gives 1 when that was done now."""
        known = self._kinds.get(row.kind)
        text = "Its time is over."
        if isinstance(known, OutsideKind):
            with self._state.read() as unit:
                context = self.context(unit, row, self.values(known, row.input), Actor(CLOCK.name, "application"))
            try:
                text = known.expire(context)
            except Exception as error:
                self._note_failed_end(row, _said(error))
                return 0
        with self._state.write() as unit:
            if not unit.actions.move(row.id, "Succeeded", status="Expired", error=None):
                return 0
            unit.actions.log(row.id, CLOCK.name, "expired", text)
            self.audit(unit, CLOCK, "action.end", row, {})
            self.note(unit, row, CLOCK.name, f"Ended: {row.title}.")
        return 1

    def _note_failed_end(self, row: ActionRow, text: str) -> None:
        """Says once, not at every try, why an effect could not be ended."""
        if row.error == text:
            return
        with self._state.write() as unit:
            if unit.actions.move(row.id, "Succeeded", error=text):
                unit.actions.log(row.id, CLOCK.name, "end-failed", text)

    def run(self, action_id: str, actor: Actor) -> None:
        """Does an approved action; nothing when somebody else does it already."""
        with self._state.read() as unit:
            row = unit.actions.require(action_id)
        known = self.kind(row.kind)
        if isinstance(known, InsideKind):
            with self._state.write() as unit:
                self.run_inside(unit, known, action_id, self.values(known, row.input), actor)
        else:
            self.run_outside(action_id, actor)

    def run_inside(self, unit: Unit, known: InsideKind[Any], action_id: str, values: ActionInput, actor: Actor) -> None:
        """Does an approved action of an inside kind, in the caller's transaction."""
        if not unit.actions.move(action_id, "Approved", status="Running"):
            return
        row = unit.actions.require(action_id)
        outcome = known.execute(unit, self.context(unit, row, values, actor))
        self._succeed(unit, row, outcome, actor)

    def run_outside(self, action_id: str, actor: Actor) -> None:
        """Does an approved action of an outside kind."""
        with self._state.write() as unit:
            if not unit.actions.move(action_id, "Approved", status="Running", phase="execute"):
                return
            unit.actions.log(action_id, actor.name, "started")
            row = unit.actions.require(action_id)
        known = self.kind(row.kind)
        assert isinstance(known, OutsideKind)
        self._execute(row, known, actor)

    def _execute(self, row: ActionRow, known: OutsideKind[Any], actor: Actor) -> None:
        try:
            values = self.values(known, row.input)
            with self._state.read() as unit:
                context = self.context(unit, row, values, actor)
            outcome = known.execute(context)
        except Exception as error:
            if not isinstance(error, TocsinError):
                _log.exception("action %s (%s) failed", row.id, row.kind)
            self._fail(row.id, actor, _said(error))
            return
        with self._state.write() as unit:
            self._succeed(unit, row, outcome, actor)

    def _succeed(self, unit: Unit, row: ActionRow, outcome: Outcome, actor: Actor) -> None:
        moved = unit.actions.move(
            row.id,
            "Running",
            status="Succeeded",
            result=dict(outcome.result),
            undo_data=None if outcome.undo_data is None else dict(outcome.undo_data),
            expires_at=outcome.expires_at,
            error=None,
        )
        if moved:
            unit.actions.log(row.id, actor.name, "succeeded", outcome.text)
            unit.audit.add(
                actor.name, "action.done", "action", row.id, after=dict(outcome.result), address=actor.address
            )
            if not row.edit and not row.kind.startswith("incident."):
                self.note(unit, row, actor.name, f"Done: {row.title}. {outcome.text}".strip())

    def _fail(self, action_id: str, actor: Actor, text: str) -> None:
        with self._state.write() as unit:
            if unit.actions.move(action_id, "Running", status="Failed", error=text, expires_at=None):
                row = unit.actions.require(action_id)
                unit.actions.log(action_id, actor.name, "failed", text)
                unit.audit.add(actor.name, "action.failed", "action", action_id, after={"error": text})
                self.note(unit, row, actor.name, f"Failed: {row.title}. {text}")

    def undo_outside(self, action_id: str, actor: Actor) -> None:
        """Takes back what an action of an outside kind did, which the caller has marked as Running in the phase undo."""
        with self._state.read() as unit:
            row = unit.actions.require(action_id)
            known = self.kind(row.kind)
            assert isinstance(known, OutsideKind)
            context = self.context(unit, row, self.values(known, row.input), actor)
        try:
            text = known.undo(context)
        except Exception as error:
            if not isinstance(error, TocsinError):
                _log.exception("undo of action %s failed", action_id)
            with self._state.write() as unit:
                if unit.actions.move(action_id, "Running", status="Succeeded", phase="execute", error=_said(error)):
                    unit.actions.log(action_id, actor.name, "undo-failed", _said(error))
            return
        with self._state.write() as unit:
            if unit.actions.move(action_id, "Running", status="Undone", expires_at=None, error=None):
                unit.actions.log(action_id, actor.name, "undone", text)
                self.note(unit, row, actor.name, f"Undone: {row.title}. {text}".strip())

    def context(self, unit: Unit, row: ActionRow, values: ActionInput, actor: Actor) -> Context[Any]:
        """What an execution is told."""
        incident = None
        if row.incident_id is not None and not row.kind.startswith("incident."):
            incident = self._desk.get_in(unit, row.incident_id)
        return Context(row, values, actor, self._clock.now(), incident, lambda: self._others(row))

    def _others(self, row: ActionRow) -> list[ActionRow]:
        if not row.effect:
            return []
        with self._state.read() as unit:
            found = unit.actions.with_effect(row.kind, row.effect, *_HOLDING)
        return [o for o in found if o.id != row.id and o.phase == "execute"]

    @staticmethod
    def values(known: ActionKind[Any], given: Mapping[str, Any]) -> ActionInput:
        """The validated input, or BadInputError with the first thing that is wrong."""
        try:
            values: ActionInput = known.Input.model_validate(dict(given))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(p) for p in first["loc"]) or "input"
            raise BadInputError(
                f"{known.kind}: {where}: {first['msg']}", hint="GET /api/v1/action-kinds shows the shape."
            ) from error
        return values

    @staticmethod
    def audit(unit: Unit, by: Principal, action: str, row: ActionRow, detail: Mapping[str, Any]) -> None:
        """An audit row about an action."""
        unit.audit.add(
            by.name,
            action,
            "action",
            row.id,
            after={"kind": row.kind, "title": row.title, "input": dict(row.input), "incident": row.incident_id},
            detail={k: v for k, v in detail.items() if v},
            address=by.address,
        )

    @staticmethod
    def note(unit: Unit, row: ActionRow, actor: str, text: str) -> None:
        """A line in the incident's activity log."""
        if row.incident_id is not None:
            unit.incidents.log(row.incident_id, actor, "action", text, {"action": row.id, "kind": row.kind})

    def kind(self, name: str) -> ActionKind[Any]:
        """The kind of that name, or UnknownKindError."""
        found = self._kinds.get(name)
        if found is None:
            raise UnknownKindError(
                f"There is no kind of action {name!r}.",
                hint=did_you_mean(name, self._kinds) or f"One of {', '.join(self._kinds)}.",
            )
        return found


def _said(error: BaseException) -> str:
    """What to show of a failure: a TocsinError was written to be read, anything else is named by its type."""
    if isinstance(error, TocsinError):
        return f"{error.message} {error.hint}".strip()
    return f"{type(error).__name__}: {error}"[:500]
