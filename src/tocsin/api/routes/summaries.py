"""/summary-rules: queries over bins of event time whose rows are kept in small tables."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output, PreviewRows

router = APIRouter(prefix="/summary-rules", tags=["summary-rules"])

Read = Annotated[Principal, Depends(needs("rules.read"))]
Write = Annotated[Principal, Depends(needs("rules.write"))]


class SummaryInput(Input):
    """A summary rule. Sizes and delay in minutes; `lateHours` is how long a bin is run again for late rows."""

    name: str = Field(min_length=1, max_length=256)
    description: str = Field(default="", max_length=5000)
    query: str = Field(min_length=1, max_length=100_000)
    destinationTable: str  # noqa: N815 - Microsoft's name
    binSize: int  # noqa: N815
    binDelay: int = 10  # noqa: N815
    lateHours: int = 24  # noqa: N815
    enabled: bool = True


class SummarySwitch(Input):
    """What to switch."""

    enabled: bool


class SummaryRerun(Input):
    """A moment in the bin that is to be run again."""

    moment: datetime


class SummaryRun(Output):
    """A run of a bin. `status`: Succeeded, Again (late rows came), Rerun (by hand), Missed (late rows came too late), Failed."""

    time: Moment
    bin: Moment
    status: str
    rows: int
    late: int
    seconds: float
    error: str = ""


class SummaryRule(SummaryInput, Output):
    """A summary rule with its state. `next` is the bin that is run next; `failed` bins and `missed` rows are those of the runs kept."""

    id: str
    pack: str = ""
    changed: str = ""
    next: Moment
    attempts: int
    last: SummaryRun | None = None
    failed: int
    missed: int
    runs: list[SummaryRun] = []


class SummaryTrial(PreviewRows):
    """What a rule gives of the bin from `bin` to `end`: how many rows, and the first of them. It took so many seconds."""

    bin: Moment
    end: Moment
    seconds: float


class SummaryRuleList(Output):
    """Summary rules, by name."""

    items: list[SummaryRule]


@router.get("")
def list_summary_rules(request: Request, principal: Read) -> SummaryRuleList:
    """Summary rules, by name."""
    return SummaryRuleList.model_validate({"items": workspace_of(request).summaries.listed(by=principal)})


@router.post("", status_code=201)
def make_summary_rule(body: SummaryInput, request: Request, principal: Write) -> SummaryRule:
    """Makes a summary rule; its first bin is the one of now."""
    return SummaryRule.model_validate(workspace_of(request).summaries.save(body.model_dump(), by=principal))


@router.post("/try")
def try_summary_rule(body: SummaryInput, request: Request, principal: Write) -> SummaryTrial:
    """Checks a summary rule and runs it over the last bin that has ended. Nothing is stored."""
    return SummaryTrial.model_validate(workspace_of(request).summaries.attempt(body.model_dump(), by=principal))


@router.get("/{rule_id}")
def get_summary_rule(rule_id: str, request: Request, principal: Read) -> SummaryRule:
    """A summary rule with its runs, newest first."""
    return SummaryRule.model_validate(workspace_of(request).summaries.get(rule_id, by=principal))


@router.put("/{rule_id}")
def change_summary_rule(rule_id: str, body: SummaryInput, request: Request, principal: Write) -> SummaryRule:
    """Changes a summary rule that was made here."""
    saved = workspace_of(request).summaries.save(body.model_dump(), by=principal, rule_id=rule_id)
    return SummaryRule.model_validate(saved)


@router.patch("/{rule_id}")
def switch_summary_rule(rule_id: str, body: SummarySwitch, request: Request, principal: Write) -> SummaryRule:
    """Switches a summary rule; bins that end while it is off are run when it is on again."""
    return SummaryRule.model_validate(workspace_of(request).summaries.set_enabled(rule_id, body.enabled, by=principal))


@router.delete("/{rule_id}", status_code=204)
def remove_summary_rule(rule_id: str, request: Request, principal: Write) -> None:
    """Removes a summary rule that was made here. Its table stays."""
    workspace_of(request).summaries.remove(rule_id, by=principal)


@router.post("/{rule_id}/rerun")
def rerun_summary_rule(rule_id: str, body: SummaryRerun, request: Request, principal: Write) -> SummaryRun:
    """Runs the bin that holds a moment again; its rows take the place of the old ones."""
    return SummaryRun.model_validate(workspace_of(request).summaries.rerun(rule_id, body.moment, by=principal))
