"""/rules: detections: list, read, write, switch."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output, Severity

router = APIRouter(prefix="/rules", tags=["rules"])

Write = Annotated[Principal, Depends(needs("rules.write"))]


class RuleSummary(Output):
    """A rule in the list. `kind` is Scheduled, NRT or Sigma; `source` the file; `pack` the pack that brought it (or `site`); `cost_percent` how
    much of a core a Sigma rule took by itself in the last half minute of events, null where it took nothing that was seen."""

    id: str
    name: str
    severity: str
    kind: str
    tactics: list[str] = []
    techniques: list[str] = []
    enabled: bool
    source: str = ""
    pack: str = ""
    last_run: Moment | None = None
    last_status: str | None = None
    last_error: str | None = None
    alerts: int = 0
    cost_percent: float | None = None


class Rule(RuleSummary):
    """A rule in full."""

    description: str = ""
    query: str = ""
    yaml: str = ""
    frequency: str | None = None
    period: str | None = None
    threshold: int | None = None
    entity_mappings: list[dict[str, Any]] = []


class RuleList(Output):
    """All rules."""

    items: list[RuleSummary]


class FieldMapping(Input):
    """Which column holds an identifier."""

    identifier: str = Field(min_length=1, max_length=64)
    column: str = Field(min_length=1, max_length=128)


class EntityMapping(Input):
    """Which columns name an entity."""

    type: str = Field(min_length=1, max_length=64)
    fields: list[FieldMapping] = Field(min_length=1, max_length=10)


class NewRule(Input):
    """A rule to save as Sentinel YAML in the site folder. `frequency` and `period` as Sentinel writes them: 5m, 1h, 1d."""

    name: str = Field(min_length=1, max_length=256)
    query: str = Field(min_length=1, max_length=10_000)
    severity: Severity = "Medium"
    tactics: list[str] = Field(default=[], max_length=16)
    techniques: list[Annotated[str, Field(pattern=r"^T\d{4}(\.\d{3})?$")]] = Field(default=[], max_length=64)
    frequency: str = Field(default="1h", pattern=r"^\d{1,5}[mhd]$")
    period: str = Field(default="1h", pattern=r"^\d{1,5}[mhd]$")
    threshold: int = Field(default=0, ge=0, le=1_000_000_000, description="Fires when there are more rows than this")
    description: str = Field(default="", max_length=5_000)
    entity_mappings: list[EntityMapping] = Field(default=[], max_length=10)


class RulePatch(Input):
    """What to switch."""

    enabled: bool


@router.get("", dependencies=[Depends(needs("rules.read"))])
def list_rules(request: Request) -> RuleList:
    """Every rule with its last run."""
    return RuleList.model_validate({"items": list(workspace_of(request).rules.list())})


@router.get("/{rule_id}", dependencies=[Depends(needs("rules.read"))])
def get_rule(rule_id: str, request: Request) -> Rule:
    """One rule with its query and file text."""
    return Rule.model_validate(workspace_of(request).rules.get(rule_id))


@router.post("", status_code=201)
def create_rule(body: NewRule, request: Request, principal: Write) -> Rule:
    """Saves a rule and starts it. A query that can't compile is answered 400 with `diagnostics`."""
    return Rule.model_validate(workspace_of(request).rules.create(body.model_dump(), by=principal))


@router.patch("/{rule_id}")
def update_rule(rule_id: str, body: RulePatch, request: Request, principal: Write) -> Rule:
    """Switches a rule on or off."""
    return Rule.model_validate(workspace_of(request).rules.set_enabled(rule_id, body.enabled, by=principal))
