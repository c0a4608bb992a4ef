"""/actions and /action-kinds: the action centre."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output

router = APIRouter(tags=["actions"])

Propose = Annotated[Principal, Depends(needs("actions.propose"))]
Approve = Annotated[Principal, Depends(needs("actions.approve"))]

ActionStatus = Literal["Proposed", "Approved", "Running", "Succeeded", "Failed", "Rejected", "Undone", "Expired"]


class ActionKind(Output):
    """A kind of action: what it takes, who may, and whether it can be done here (`able`, and if not, why)."""

    kind: str
    title: str
    description: str
    permission: str
    approval: str = Field(description="none: runs at once; one: somebody approves; two: somebody else approves")
    input_schema: dict[str, Any] = Field(description="JSON Schema of `input`")
    undoable: bool
    expires: bool
    needs_incident: bool
    able: bool
    able_reason: str


class ActionKindList(Output):
    """Every kind of action."""

    items: list[ActionKind]


class ActionEvent(Output):
    """One step in an action's life."""

    time: Moment
    actor: str
    event: str
    text: str = ""


class Action(Output):
    """An action. `able` says whether it could be done now; look before approving. `expires_at` is when a proposal lapses or,
    once done, when its effect ends."""

    id: str
    kind: str
    title: str
    summary: str
    input: dict[str, Any]
    status: ActionStatus
    able: bool
    able_reason: str
    proposed_by: str
    proposed_at: Moment
    decided_by: str | None = None
    decided_at: Moment | None = None
    expires_at: Moment | None = None
    incident_id: str | None = None
    incident_number: int | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    undoable: bool
    history: list[ActionEvent] = []


class ActionPage(Output):
    """Actions, newest first, and how many there are by status."""

    items: list[Action]
    total: int
    counts: dict[str, int]


class NewAction(Input):
    """An action to propose; one whose kind needs no approval runs at once."""

    kind: str = Field(min_length=1, max_length=64)
    input: dict[str, Any] = {}
    incident_id: str | None = Field(default=None, max_length=128)
    comment: str = Field(default="", max_length=2_000)


class Decision(Input):
    """Why."""

    comment: str = Field(default="", max_length=2_000)


@router.get("/action-kinds", dependencies=[Depends(needs("actions.read"))])
def list_action_kinds(request: Request) -> ActionKindList:
    """What can be done, and whether it can be done here."""
    return ActionKindList.model_validate({"items": workspace_of(request).gate.kinds()})


@router.get("/actions", dependencies=[Depends(needs("actions.read"))])
def list_actions(
    request: Request,
    status: Annotated[str, Query(description="Comma-separated statuses")] = "",
    incident_id: Annotated[str, Query()] = "",
    kind: Annotated[str, Query()] = "",
    scope: Annotated[
        Literal["response", "all"],
        Query(description="`all` includes analysts' own edits of incidents, which ran at once"),
    ] = "response",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> ActionPage:
    """The action centre: pending and past actions."""
    statuses = tuple(s for s in (p.strip() for p in status.split(",")) if s)
    return ActionPage.model_validate(
        workspace_of(request).gate.page(
            statuses=statuses,
            incident_id=incident_id,
            kind=kind,
            include_edits=scope == "all",
            limit=limit,
            offset=offset,
        )
    )


@router.get("/actions/{action_id}", dependencies=[Depends(needs("actions.read"))])
def get_action(action_id: str, request: Request) -> Action:
    """One action with its history."""
    return Action.model_validate(workspace_of(request).gate.get(action_id))


@router.post("/actions", status_code=201)
def propose_action(body: NewAction, request: Request, principal: Propose) -> Action:
    """Proposes an action."""
    gate = workspace_of(request).gate
    return Action.model_validate(
        gate.propose(body.kind, body.input, incident_id=body.incident_id, by=principal, comment=body.comment)
    )


@router.post("/actions/{action_id}/approve")
def approve_action(action_id: str, body: Decision, request: Request, principal: Approve) -> Action:
    """Approves a proposal and runs it. Approving twice approves once. 409 when it can't be done here, with the reason."""
    return Action.model_validate(workspace_of(request).gate.approve(action_id, by=principal, comment=body.comment))


@router.post("/actions/{action_id}/reject")
def reject_action(action_id: str, body: Decision, request: Request, principal: Approve) -> Action:
    """Rejects a proposal."""
    return Action.model_validate(workspace_of(request).gate.reject(action_id, by=principal, comment=body.comment))


@router.post("/actions/{action_id}/undo")
def undo_action(action_id: str, request: Request, principal: Propose, body: Decision | None = None) -> Action:
    """Takes back what an action did. Who may approve its kind may undo it."""
    comment = body.comment if body else ""
    return Action.model_validate(workspace_of(request).gate.undo(action_id, by=principal, comment=comment))
