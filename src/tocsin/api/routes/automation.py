"""/automation-rules: what happens by itself, and what it did."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output

router = APIRouter(prefix="/automation-rules", tags=["automation"])

Write = Annotated[Principal, Depends(needs("automation.write"))]


class AutomationAction(Output):
    """One action of a rule."""

    order: int
    kind: str
    summary: str
    input: dict[str, Any] = {}


class AutomationRun(Output):
    """One run of a rule."""

    time: Moment
    rule_id: str
    incident_id: str
    incident_number: int | None = None
    outcome: str
    detail: dict[str, Any] = {}


class AutomationRule(Output):
    """An automation rule. `when`: created, updated, or both. `conditions` in its file's own shape and, read aloud, in `reads`."""

    id: str
    name: str
    description: str = ""
    enabled: bool
    order: int
    trigger: str
    when: list[str]
    conditions: dict[str, Any] = {}
    reads: str = ""
    actions: list[AutomationAction]
    expires: Moment | None = None
    expired: bool = False
    source: str = ""
    pack: str = ""
    runs: int = 0
    last_run: Moment | None = None
    last_outcome: str | None = None


class AutomationRuleList(Output):
    """Automation rules in the order in which they run."""

    items: list[AutomationRule]


class AutomationRunList(Output):
    """Runs, newest first."""

    items: list[AutomationRun]


class AutomationPatch(Input):
    """What to switch."""

    enabled: bool


@router.get("", dependencies=[Depends(needs("automation.read"))])
def list_automation_rules(request: Request) -> AutomationRuleList:
    """Automation rules in the order in which they run."""
    return AutomationRuleList.model_validate({"items": workspace_of(request).automation.list()})


@router.patch("/{rule_id}")
def update_automation_rule(rule_id: str, body: AutomationPatch, request: Request, principal: Write) -> AutomationRule:
    """Switches a rule on or off."""
    return AutomationRule.model_validate(
        workspace_of(request).automation.set_enabled(rule_id, body.enabled, by=principal)
    )


@router.get("/{rule_id}/runs", dependencies=[Depends(needs("automation.read"))])
def list_automation_runs(
    rule_id: str, request: Request, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> AutomationRunList:
    """What a rule did, newest first."""
    return AutomationRunList.model_validate({"items": workspace_of(request).automation.runs(rule_id, limit=limit)})
