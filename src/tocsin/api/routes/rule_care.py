"""/rules, beside reading and writing them: noise beside its budget, runs, tests, what rules lack, who changed them, switching many."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.routes.rules import Condition, Exclusion, NoiseBudget, Rule, Tuning
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output

router = APIRouter(prefix="/rules", tags=["rules"])

Write = Annotated[Principal, Depends(needs("rules.write"))]


class RuleProblem(Output):
    """What is wrong with a rule or a file of content."""

    code: str
    message: str
    hint: str = ""
    place: str = ""


class FileProblem(RuleProblem):
    """What is wrong with a file that gave no rule, or with content that rules use."""

    file: str = ""
    warning: bool = False


class LoadedRule(Output):
    """Whether a rule can run. `missing`: table, column, function or other; `empty`: tables that it reads and that got no row within a day."""

    id: str
    name: str
    file: str
    runs: bool
    missing: list[str]
    problems: list[RuleProblem]
    tables: list[str]
    empty: list[str]


class LoadReport(Output):
    """Every rule, and files that gave none."""

    items: list[LoadedRule]
    running: int
    broken: int
    files: list[FileProblem]


class NoiseWeek(Output):
    """A week of a rule: alerts, by what was said of their incidents, and how many incidents that were."""

    start: Moment
    end: Moment
    hits: int
    true_positive: int
    false_positive: int
    expected: int
    unclassified: int
    incidents: int


class Noise(NoiseBudget):
    """A rule's weeks, the newest last, and the last seven days beside the budget."""

    weeks: list[NoiseWeek]


class RunEntry(Output):
    """A run, or several that say the same (`runs`). `eager`: between the rule's turns, as rows had come."""

    start: Moment
    end: Moment
    at: Moment
    status: str
    results: int
    alerts: int
    seconds: float
    code: str = ""
    error: str = ""
    runs: int
    eager: bool = False


class RunEntries(Output):
    """The last runs, newest first."""

    items: list[RunEntry]


class HitRow(Output):
    """An alert of a rule with some of its rows."""

    id: str
    title: str
    time: Moment
    created: Moment
    severity: str
    count: int
    incident_id: str | None = None
    rows: list[dict[str, Any]]


class Hits(Output):
    """The newest alerts of a rule; `columns` is what an exclusion may name."""

    items: list[HitRow]
    columns: list[str]


class ExclusionTrial(Input):
    """Conditions to try on what a rule has said."""

    conditions: list[Condition] = Field(min_length=1, max_length=20)
    days: int = Field(default=30, ge=1, le=365)


class HiddenAlert(Output):
    """An alert of which the exclusion would have hidden rows; `whole`: it would not have been."""

    id: str
    title: str
    time: Moment
    incident_id: str | None = None
    whole: bool
    rows: int
    row: dict[str, Any]


class ExclusionPreview(Output):
    """What an exclusion would have hidden. `more`: only the newest alerts were looked at. `true_positives_hidden` should be none."""

    days: int
    alerts: int
    more: bool
    alerts_hidden: int
    true_positives_hidden: int
    rows: int
    rows_hidden: int
    examples: list[HiddenAlert]


class RuleCase(Output):
    """A case of a rule: rows by table or source, and what must come of them. `passed` is null for one that wasn't run."""

    name: str
    fires: bool
    alerts: int | None = None
    rows: dict[str, list[dict[str, Any]]]
    place: str
    passed: bool | None = None
    message: str = ""
    raised: int | None = None
    ran: Moment | None = None


class RuleCases(Output):
    """A rule's cases."""

    items: list[RuleCase]


class RuleChange(Output):
    """An entry of the audit trail about a rule."""

    seq: int
    time: Moment
    actor: str
    action: str
    before: Any = None
    after: Any = None
    detail: dict[str, Any] = {}
    undoable: bool


class RuleChanges(Output):
    """Who changed a rule, newest first."""

    items: list[RuleChange]


class Undone(Output):
    """What is in force after a change was taken back."""

    enabled: bool
    exclusions: list[Exclusion]
    tuning: Tuning


class SwitchRules(Input):
    """Rules to switch together."""

    ids: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(min_length=1, max_length=10_000)
    enabled: bool
    reason: str = Field(default="", max_length=2_000)


class Switched(Output):
    """How many rules were not so before."""

    changed: int


@router.get("/load", dependencies=[Depends(needs("rules.read"))])
def get_load_report(request: Request) -> LoadReport:
    """Of each rule whether it runs, or which table, column or function it lacks."""
    return LoadReport.model_validate(workspace_of(request).rule_care.load_report())


@router.post("/switch")
def switch_rules(body: SwitchRules, request: Request, principal: Write) -> Switched:
    """Switches many rules together; an id that isn't there is answered 404 and nothing is changed."""
    changed = workspace_of(request).rules.switch(body.ids, body.enabled, by=principal, reason=body.reason)
    return Switched(changed=changed)


@router.get("/{rule_id}/noise", dependencies=[Depends(needs("rules.read"))])
def get_noise(rule_id: str, request: Request, weeks: Annotated[int, Field(ge=1, le=52)] = 12) -> Noise:
    """A rule's alerts by week and judgement, and the last seven days beside the budget."""
    return Noise.model_validate(workspace_of(request).rule_care.noise(rule_id, weeks))


@router.get("/{rule_id}/runs", dependencies=[Depends(needs("rules.read"))])
def list_runs(rule_id: str, request: Request) -> RunEntries:
    """What became of a rule's last runs; a Sigma rule looks at each batch and has none."""
    workspace = workspace_of(request)
    workspace.rules.get(rule_id)
    return RunEntries.model_validate({"items": workspace.detection.runs.of(rule_id)})


@router.get("/{rule_id}/alerts", dependencies=[Depends(needs("rules.read"))])
def list_rule_alerts(
    rule_id: str,
    request: Request,
    limit: Annotated[int, Field(ge=1, le=200)] = 20,
    alert: Annotated[str, Field(max_length=64)] = "",
) -> Hits:
    """The newest alerts of a rule with their rows, or the one named."""
    care = workspace_of(request).rule_care
    items = care.alerts(rule_id, limit=limit, alert_id=alert)
    return Hits.model_validate({"items": items, "columns": care.columns(rule_id)})


@router.post("/{rule_id}/exclusions/preview", dependencies=[Depends(needs("rules.read"))])
def preview_exclusion(rule_id: str, body: ExclusionTrial, request: Request) -> ExclusionPreview:
    """What an exclusion would have hidden of what the rule has said."""
    conditions = body.model_dump(mode="json")["conditions"]
    return ExclusionPreview.model_validate(workspace_of(request).rule_care.preview(rule_id, conditions, body.days))


@router.get("/{rule_id}/tests", dependencies=[Depends(needs("rules.read"))])
def list_cases(rule_id: str, request: Request) -> RuleCases:
    """The cases beside the rule, with what they showed last."""
    return RuleCases.model_validate({"items": workspace_of(request).rule_work.cases(rule_id)})


@router.post("/{rule_id}/tests", dependencies=[Depends(needs("rules.write"))])
def run_cases(rule_id: str, request: Request) -> RuleCases:
    """Runs the cases beside the rule, on nothing but their own rows."""
    return RuleCases.model_validate({"items": workspace_of(request).rule_work.run_cases(rule_id)})


@router.get("/{rule_id}/changes", dependencies=[Depends(needs("rules.read"))])
def list_changes(rule_id: str, request: Request, limit: Annotated[int, Field(ge=1, le=500)] = 100) -> RuleChanges:
    """Who changed the rule: the entries of the audit trail about it."""
    return RuleChanges.model_validate({"items": workspace_of(request).rule_care.changes(rule_id, limit=limit)})


@router.post("/{rule_id}/changes/{seq}/undo")
def undo_change(rule_id: str, seq: int, request: Request, principal: Write) -> Undone:
    """Takes a change back: an exclusion, a tuning, a switch. What was changed again since is answered 409."""
    workspace = workspace_of(request)
    workspace.rule_care.undo(rule_id, seq, by=principal)
    rule = Rule.model_validate(workspace.rules.get(rule_id))
    return Undone(enabled=rule.enabled, exclusions=rule.exclusions, tuning=rule.tuning)
