"""The gate: everything that acts passes here, whoever asks for it.

    propose ──► Proposed ──approve──► Approved ──► Running ──► Succeeded ──undo──► Undone
                   │ │                                │            │
                   │ └─lapses─► Expired               └─► Failed   └─its effect ends─► Expired
                   └─reject───► Rejected

Each arrow is a compare-and-set in the database with a line of history and an audit row: of two people who approve at once one approves, and the
other is told so. Whether a thing can be done here at all is said before anybody approves it (`able`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tocsin.access import ForbiddenError, Principal, person_of, require
from tocsin.base.ids import stable_id
from tocsin.detect.alert import iso
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.life import Actor
from tocsin.respond.errors import BadInputError, NotAbleError, WrongMomentError
from tocsin.respond.execution import CLOCK, Executor
from tocsin.respond.kind import Able, ActionInput, ActionKind, Approval, InsideKind, OutsideKind
from tocsin.respond.settings import RespondSettings
from tocsin.state import ActionRow, HistoryRow, State, Unit, text_of

__all__ = ["Gate"]

_log = logging.getLogger("tocsin.respond")

_DONE = ("Approved", "Running", "Succeeded")


class Gate:
    """Proposes, approves, executes, undoes. Thread-safe; one a process."""

    def __init__(
        self,
        state: State,
        desk: IncidentDesk,
        kinds: Iterable[ActionKind[Any]],
        *,
        settings: RespondSettings | None = None,
    ) -> None:
        self.settings = settings or RespondSettings()
        self._state = state
        self._desk = desk
        self._clock = state.clock
        self._kinds = {k.kind: k for k in kinds}
        self._do = Executor(state, desk, self._kinds)

    # ------------------------------------------------------------------------------------------ looking

    def kinds(self) -> list[dict[str, Any]]:
        """Every kind with its input's JSON Schema, and whether it can be done here."""
        return [
            {
                "kind": k.kind,
                "title": k.title,
                "description": k.description,
                "permission": k.permission,
                "approval": self._usual_approval(k),
                "input_schema": k.Input.model_json_schema(),
                "undoable": k.undoable,
                "expires": k.expires,
                "needs_incident": k.needs_incident,
                "able": able.able,
                "able_reason": able.reason,
            }
            for k in self._kinds.values()
            for able in (k.able(),)
        ]

    def page(
        self,
        *,
        statuses: Sequence[str] = (),
        incident_id: str = "",
        kind: str = "",
        include_edits: bool = False,
        limit: int = 100,
        offset: int = 0,
    ) -> dict[str, Any]:
        """Actions, newest first, in the API's shape."""
        with self._state.read() as unit:
            rows, total, counts = unit.actions.page(
                statuses=statuses,
                incident_id=incident_id,
                kind=kind,
                include_edits=include_edits,
                limit=limit,
                offset=offset,
            )
            histories = unit.actions.history_of([r.id for r in rows])
        able = {k: self._able(k) for k in {r.kind for r in rows}}
        items = [self._shown(r, histories.get(r.id, ()), able[r.kind]) for r in rows]
        return {"items": items, "total": total, "counts": counts}

    def get(self, action_id: str) -> dict[str, Any]:
        """One action with its history; NotFoundError when there is none."""
        with self._state.read() as unit:
            row = unit.actions.require(action_id)
            history = unit.actions.history_of([action_id]).get(action_id, ())
        return self._shown(row, history, self._able(row.kind))

    # ------------------------------------------------------------------------------------------ deciding

    def propose(
        self,
        kind: str,
        given: Mapping[str, Any],
        *,
        incident_id: str | None = None,
        by: Principal,
        comment: str = "",
        depth: int = 0,
    ) -> dict[str, Any]:
        """Proposes an action; one that needs no approval is done at once.

        The same proposal for the same incident that still waits is given back instead of a second one. `depth` counts automation runs that
        led here. UnknownKindError, BadInputError, ForbiddenError; NotAbleError only where it would be done at once.
        """
        known, values = self._validated(kind, given, incident_id, by)
        approval = self._approval(known, values)
        if approval is Approval.NONE:
            self._require_able(known)
        found: str | None = None
        with self._state.write() as unit:
            if incident_id is not None:
                unit.incidents.require(incident_id)
            effect = known.effect(values)
            if effect and approval is not Approval.NONE:
                for waiting in unit.actions.with_effect(kind, effect, "Proposed"):
                    if waiting.incident_id == incident_id and waiting.input == _plain(values):
                        found = waiting.id
            if found is None:
                row = self._add(unit, known, values, incident_id, by, comment)
                if approval is Approval.NONE:
                    now = self._clock.now()
                    unit.actions.move(row.id, "Proposed", status="Approved", decided_by=by.name, decided_at=now)
                    unit.actions.log(row.id, by.name, "approved", "Needs no approval.")
                    if isinstance(known, InsideKind):
                        self._do.run_inside(unit, known, row.id, values, _actor(by, depth))
        if found is None and approval is Approval.NONE and isinstance(known, OutsideKind):
            self._do.run_outside(row.id, _actor(by, depth))
        return self.get(found or row.id)

    def perform(
        self, kind: str, given: Mapping[str, Any], *, incident_id: str | None, by: Principal, depth: int = 0
    ) -> dict[str, Any]:
        """Does a kind that needs no approval, in one transaction; ForbiddenError when it does need one."""
        known, values = self._validated(kind, given, incident_id, by)
        with self._state.write() as unit:
            return self._perform(unit, known, values, incident_id, by, depth)

    def edit_incident(self, incident_id: str, changes: Mapping[str, Any], *, by: Principal) -> list[dict[str, Any]]:
        """An analyst's edit of several members at once: an action for each kind of change, all in one transaction."""
        wanted = []
        version = changes.get("version")
        for kind, given in _edits(changes):
            known, values = self._validated(kind, given, incident_id, by)
            wanted.append((known, values))
        with self._state.write() as unit:
            if version is not None:
                self._desk.change(unit, incident_id, {"version": version}, actor=_actor(by))
            else:
                unit.incidents.require(incident_id)
            return [self._perform(unit, known, values, incident_id, by) for known, values in wanted]

    def approve(self, action_id: str, *, by: Principal, comment: str = "") -> dict[str, Any]:
        """Approves a proposal and does it. An action that is approved or done already is given back as it is.

        WrongMomentError for one that was rejected, has lapsed or failed; NotAbleError, with the reason, when it can't be done here: it then stays
        proposed.
        """
        with self._state.read() as unit:
            row = unit.actions.require(action_id)
        known = self._do.kind(row.kind)
        require(by, "actions.approve")
        require(by, known.permission)
        if row.status in _DONE:
            return self.get(action_id)
        values = self._proposed(row, known)
        if self._approval(known, values) is Approval.TWO and by.person == person_of(row.proposed_by):
            raise ForbiddenError("Somebody else than the one who proposed it must approve it.", code="ACC0008")
        self._require_able(known)
        known.check(values)
        now = self._clock.now()
        with self._state.write() as unit:
            won = unit.actions.move(
                action_id, "Proposed", status="Approved", decided_by=by.name, decided_at=now, expires_at=None
            )
            if won:
                unit.actions.log(action_id, by.name, "approved", comment)
                self._do.audit(unit, by, "action.approve", row, {"comment": comment})
        if not won:
            return self.approve(action_id, by=by, comment=comment)  # somebody was quicker: say what came of it
        self._do.run(action_id, _actor(by))
        return self.get(action_id)

    def reject(self, action_id: str, *, by: Principal, comment: str = "") -> dict[str, Any]:
        """Rejects a proposal. Rejecting twice rejects once."""
        with self._state.read() as unit:
            row = unit.actions.require(action_id)
        require(by, "actions.approve")
        if row.status == "Rejected":
            return self.get(action_id)
        with self._state.write() as unit:
            won = unit.actions.move(
                action_id,
                "Proposed",
                status="Rejected",
                decided_by=by.name,
                decided_at=self._clock.now(),
                expires_at=None,
            )
            if won:
                unit.actions.log(action_id, by.name, "rejected", comment)
                self._do.audit(unit, by, "action.reject", row, {"comment": comment})
                self._do.note(unit, row, by.name, f"Rejected: {row.title}.")
        if not won:
            with self._state.read() as unit:
                raise self._wrong_moment(unit.actions.require(action_id), "rejected")
        return self.get(action_id)

    def undo(self, action_id: str, *, by: Principal, comment: str = "") -> dict[str, Any]:
        """Takes back what an action did. Whoever may approve its kind may undo it; undoing twice undoes once."""
        with self._state.read() as unit:
            row = unit.actions.require(action_id)
        known = self._do.kind(row.kind)
        require(by, known.permission)
        values = self._do.values(known, row.input)
        if self._approval(known, values) is not Approval.NONE:
            require(by, "actions.approve")
        if row.status == "Undone":
            return self.get(action_id)
        if not known.undoable:
            raise WrongMomentError(f"{known.title} can't be undone.")
        if row.status != "Succeeded":
            raise self._wrong_moment(row, "undone")
        self._require_able(known)
        if isinstance(known, InsideKind):
            with self._state.write() as unit:
                if unit.actions.move(action_id, "Succeeded", status="Undone", expires_at=None):
                    text = known.undo(unit, self._do.context(unit, row, values, _actor(by)))
                    unit.actions.log(action_id, by.name, "undone", _joined(comment, text))
                    self._do.audit(unit, by, "action.undo", row, {"comment": comment})
            return self.get(action_id)
        assert isinstance(known, OutsideKind)
        with self._state.write() as unit:
            won = unit.actions.move(action_id, "Succeeded", status="Running", phase="undo")
            if won:
                unit.actions.log(action_id, by.name, "undoing", comment)
                self._do.audit(unit, by, "action.undo", row, {"comment": comment})
        if won:
            self._do.undo_outside(action_id, _actor(by))
        return self.get(action_id)

    # ------------------------------------------------------------------------------------------ by itself

    def tick(self) -> int:
        """Lets proposals lapse and effects end whose time has come; gives how many. Call it every few seconds."""
        with self._state.read() as unit:
            due = unit.actions.due()
        done = 0
        for row in due:
            done += self._lapse(row) if row.status == "Proposed" else self._do.end(row)
        return done

    def recover(self) -> None:
        """After a start: goes on where a crash stopped, and makes effects hold that a restart of the machine lost."""
        self._do.recover()

    def _lapse(self, row: ActionRow) -> int:
        with self._state.write() as unit:
            if not unit.actions.move(row.id, "Proposed", status="Expired", decided_at=self._clock.now()):
                return 0
            unit.actions.log(row.id, CLOCK.name, "expired", "Nobody decided in time, which counts as a rejection.")
            self._do.audit(unit, CLOCK, "action.lapse", row, {})
        return 1

    # ------------------------------------------------------------------------------------------ doing

    def _perform(
        self,
        unit: Unit,
        known: ActionKind[Any],
        values: ActionInput,
        incident_id: str | None,
        by: Principal,
        depth: int = 0,
    ) -> dict[str, Any]:
        if not isinstance(known, InsideKind) or self._approval(known, values) is not Approval.NONE:
            raise ForbiddenError(f"{known.title} needs approval: propose it.")
        if incident_id is not None:
            unit.incidents.require(incident_id)
        row = self._add(unit, known, values, incident_id, by, "", edit=known.edit and by.kind != "system")
        unit.actions.move(row.id, "Proposed", status="Approved", decided_by=by.name, decided_at=self._clock.now())
        self._do.run_inside(unit, known, row.id, values, _actor(by, depth))
        return self._shown_in(unit, row.id)

    def _add(
        self,
        unit: Unit,
        known: ActionKind[Any],
        values: ActionInput,
        incident_id: str | None,
        by: Principal,
        comment: str,
        *,
        edit: bool | None = None,
    ) -> ActionRow:
        number = unit.actions.next_number()
        now = self._clock.now()
        title, summary = known.describe(values)
        needs = self._approval(known, values) is not Approval.NONE
        row = ActionRow(
            id=stable_id("act", number, known.kind, incident_id, iso(now)),
            number=number,
            kind=known.kind,
            effect=known.effect(values)[:256],
            title=title,
            summary=summary,
            input=_plain(values),
            status="Proposed",
            phase="execute",
            edit=known.edit and by.kind != "system" if edit is None else edit,
            proposed_by=by.name,
            proposed_at=now,
            expires_at=now + self.settings.proposal_lasts if needs else None,
            incident_id=incident_id,
        )
        unit.actions.add(row)
        unit.actions.log(row.id, by.name, "proposed", comment)
        self._do.audit(unit, by, "action.propose", row, {"comment": comment})
        if needs:
            self._do.note(unit, row, by.name, f"Proposed: {title}.")
        return row

    # ------------------------------------------------------------------------------------------ small things

    def _validated(
        self, kind: str, given: Mapping[str, Any], incident_id: str | None, by: Principal
    ) -> tuple[ActionKind[Any], ActionInput]:
        known = self._do.kind(kind)
        require(by, known.permission)
        if known.needs_incident and incident_id is None:
            raise BadInputError(f"{known.title} is about an incident: say which.", hint="Send incident_id.")
        values = self._do.values(known, given)
        known.check(values)
        return known, values

    def _proposed(self, row: ActionRow, known: ActionKind[Any]) -> ActionInput:
        if row.status != "Proposed":
            raise self._wrong_moment(row, "approved")
        if row.expires_at is not None and row.expires_at <= self._clock.now():
            self._lapse(row)
            raise WrongMomentError("The proposal has lapsed: nobody decided in time.", hint="Propose it again.")
        return self._do.values(known, row.input)

    def _approval(self, known: ActionKind[Any], values: ActionInput) -> Approval:
        needed = known.approval(values)
        return Approval.TWO if needed is Approval.ONE and self.settings.four_eyes else needed

    def _usual_approval(self, known: ActionKind[Any]) -> str:
        """What a kind usually needs, for the list: kinds that decide by input say the stricter."""
        usual = getattr(known, "usual_approval", Approval.NONE)
        return str(Approval.TWO if usual is Approval.ONE and self.settings.four_eyes else usual)

    def _able(self, kind: str) -> Able:
        known = self._kinds.get(kind)
        return known.able() if known is not None else Able(False, "This kind of action is not installed.")

    @staticmethod
    def _require_able(known: ActionKind[Any]) -> None:
        able = known.able()
        if not able.able:
            raise NotAbleError(f"It can't be done here: {able.reason}")

    @staticmethod
    def _wrong_moment(row: ActionRow, wanted: str) -> WrongMomentError:
        who = f" by {row.decided_by}" if row.decided_by and row.status in ("Rejected", "Failed") else ""
        return WrongMomentError(f"The action is {row.status.lower()}{who}: it can't be {wanted}.")

    def _shown_in(self, unit: Unit, action_id: str) -> dict[str, Any]:
        row = unit.actions.require(action_id)
        history = unit.actions.history_of([action_id]).get(action_id, ())
        return self._shown(row, history, self._able(row.kind))

    def _shown(self, row: ActionRow, history: Sequence[HistoryRow], able: Able) -> dict[str, Any]:
        known = self._kinds.get(row.kind)
        return {
            "id": row.id,
            "number": row.number,
            "kind": row.kind,
            "title": row.title,
            "summary": row.summary,
            "input": dict(row.input),
            "status": row.status,
            "able": able.able,
            "able_reason": able.reason,
            "proposed_by": row.proposed_by,
            "proposed_at": iso(row.proposed_at),
            "decided_by": row.decided_by,
            "decided_at": text_of(row.decided_at),
            "expires_at": text_of(row.expires_at),
            "incident_id": row.incident_id,
            "incident_number": row.incident_number,
            "result": None if row.result is None else dict(row.result),
            "error": row.error,
            "undoable": bool(known and known.undoable and row.status == "Succeeded"),
            "history": [{"time": iso(h.time), "actor": h.actor, "event": h.event, "text": h.text} for h in history],
        }


def _actor(by: Principal, depth: int = 0) -> Actor:
    if by.kind == "system":
        return Actor(by.name, "automation" if by.name.startswith("automation:") else "application", depth=depth)
    return Actor(by.name, "user" if by.kind == "user" else "application", by.address, depth)


def _plain(values: ActionInput) -> dict[str, Any]:
    return values.model_dump(mode="json", exclude_none=True)


def _joined(*texts: str) -> str:
    return " ".join(t for t in texts if t)


def _edits(changes: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    """A PATCH of an incident as actions."""
    status = {n: changes[n] for n in ("status", "classification", "determination", "comment") if n in changes}
    if status.keys() - {"comment"}:
        yield "incident.status", status
    elif changes.get("comment"):
        yield "incident.comment", {"text": changes["comment"]}
    if "owner" in changes:
        yield "incident.assign", {"owner": changes["owner"]}
    if "severity" in changes:
        yield "incident.severity", {"severity": changes["severity"]}
    if "title" in changes:
        yield "incident.title", {"title": changes["title"]}
    tags = {n: changes[f"{n}_tags"] for n in ("add", "remove") if changes.get(f"{n}_tags")}
    if tags:
        yield "incident.tag", tags
    if changes.get("locked") is not None:
        yield "incident.lock", {"locked": changes["locked"]}
    if conduct := {n: changes[n] for n in ("phase", "roles") if n in changes}:
        yield "incident.conduct", conduct
