"""/rules: detections: list, read, write, switch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, Field

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, NamedIncident, NamedThing, NearIncident, Output, Severity

router = APIRouter(prefix="/rules", tags=["rules"])

Write = Annotated[Principal, Depends(needs("rules.write"))]


class RuleNoise(Output):
    """How many incidents hold an alert of the rule, and what people said of them."""

    incidents: int = 0
    true_positive: int = 0
    false_positive: int = 0
    expected: int = 0
    unclassified: int = 0


class NoiseBudget(Output):
    """Alerts of the last seven days that nobody called a true positive, beside how many a week the rule may cost. `own`: a budget of its own."""

    hits: int
    budget: int
    exceeded: bool
    own: bool


class BlindWindow(Output):
    """A stretch of time of receipt that suppression left out: nothing received then was looked at."""

    start: Moment
    end: Moment


class Condition(Input):
    """A column of the result compared, without case, with values: one of them is enough."""

    column: str = Field(min_length=1, max_length=128)
    operator: Literal["equals", "contains", "startswith", "endswith", "in"] = "equals"
    values: list[Annotated[str, Field(min_length=1, max_length=1_000)]] = Field(min_length=1, max_length=1_000)


class NewExclusion(Input):
    """Rows that a rule is to leave out: those that meet all conditions."""

    conditions: list[Condition] = Field(min_length=1, max_length=20)
    reason: str = Field(min_length=1, max_length=2_000)
    expires: AwareDatetime | None = None


class ExclusionCondition(Output):
    """A condition of an exclusion."""

    column: str
    operator: str
    values: list[str]


class Exclusion(Output):
    """Rows that a rule leaves out, why, since when and until when."""

    id: str
    conditions: list[ExclusionCondition]
    reason: str
    created: Moment
    created_by: str
    expires: Moment | None = None


class ExclusionList(Output):
    """A rule's exclusions."""

    items: list[Exclusion]


class Tuning(Output):
    """What is overridden of a rule; what is null is as its file says."""

    severity: str | None = None
    create_incident: bool | None = None
    correlate: bool | None = Field(
        default=None, description="false: its alerts are left alone, each in an incident of its own"
    )
    suppression: int | None = None
    threshold: int | None = None
    noise_budget: int | None = None


class TuningPatch(Input):
    """What to override; null takes an override away. `suppression` in seconds, 0 for none; `noise_budget` in alerts a week."""

    severity: Severity | None = None
    create_incident: bool | None = None
    correlate: bool | None = None
    suppression: int | None = Field(default=None, ge=0, le=86_400)
    threshold: int | None = Field(default=None, ge=0, le=1_000_000_000)
    noise_budget: int | None = Field(default=None, ge=0, le=1_000_000)


class SimulatedWindow(Output):
    """One of the last windows: how many results it shows, whether they trigger, how many alerts that makes."""

    start: Moment
    end: Moment
    results: int
    triggers: bool
    alerts: int


class SimulatedAlert(Output):
    """An alert of these windows and what it would join if it came now. `filed`: the incident that holds it already. `near`: the nearest open
    incidents; one of them joins where `joins` is true, the first such. `opens`: without one it opens an incident."""

    title: str
    severity: Severity
    time: Moment
    entities: list[NamedThing]
    filed: NamedIncident | None
    correlate: bool
    opens: bool
    near: list[NearIncident]


class Simulation(Output):
    """The last fifty windows, oldest first; and their newest twenty alerts, newest first."""

    windows: list[SimulatedWindow]
    alerts: list[SimulatedAlert]


class RunOver(Input):
    """The stretch of event time to run a rule over again."""

    first: AwareDatetime
    last: AwareDatetime


class RunResult(Output):
    """The alerts that a run over the past added; what was alerted before isn't again."""

    alerts: list[dict[str, Any]]


class CoveringRule(Output):
    """A rule of a technique. `level`: none (off), rule, proven (its cases pass or it fired; no rows), data (rows, no proof), full (both).

    `data` of a Sigma rule, which looks at events before they are rows: its source sent within a day and events of its kind came; null where that
    isn't known. `sources`: its tables, of a Sigma
    rule the kinds of source that it looks at."""

    id: str
    name: str
    enabled: bool
    pack: str = ""
    tables: list[str]
    sources: list[str]
    data: bool | None = None
    proven: bool
    level: str


class CoverageFacts(Output):
    """Which of the three hold for some rule of the technique that is on."""

    rule: bool
    data: bool
    proven: bool


class CoveredTechnique(Output):
    """A technique with its rules and the best level of any. `name` is ATT&CK's, empty when it knows no such technique."""

    technique: str
    name: str = ""
    tactics: list[str]
    rules: list[CoveringRule]
    facts: CoverageFacts
    level: str


class Gap(Output):
    """A technique of ATT&CK that no rule names."""

    technique: str
    name: str
    tactics: list[str]


class Coverage(Output):
    """ATT&CK coverage, counted now. `counts` by level, `facts` by what holds; `being_tested` rules' cases are being run meanwhile."""

    techniques: list[CoveredTechnique]
    gaps: list[Gap] = []
    counts: dict[str, int]
    facts: dict[str, int]
    being_tested: int = 0
    rules: int
    without_technique: list[str]


class TechniqueName(Output):
    """A technique of ATT&CK: `name` in full (a sub-technique's after its parent's), `tactics` as Sentinel spells them."""

    id: str
    name: str
    tactics: list[str]


class TechniqueNames(Output):
    """ATT&CK's techniques, by id."""

    items: list[TechniqueName]


class RuleSummary(Output):
    """A rule in the list. `kind` is Scheduled, NRT or Sigma; `source` the file; `pack` the pack that brought it (or `site`); `cost_percent` how
    much of a core a Sigma rule took by itself in the last half minute of events, null where it took nothing that was seen; `format` is sentinel,
    defender or sigma; `disabled_reason` is why Tocsin itself switched the rule off."""

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
    format: str = ""
    disabled_reason: str | None = None
    budget: NoiseBudget | None = None
    noise: RuleNoise | None = None
    excluded: int = 0


class Rule(RuleSummary):
    """A rule in full. `window_end`: up to when it has looked at what was received; `cap_percent`: what a streaming rule may take of a core."""

    description: str = ""
    query: str = ""
    yaml: str = ""
    frequency: str | None = None
    period: str | None = None
    threshold: int | None = None
    operator: str = "GreaterThan"
    suppression: str | None = None
    window_end: Moment | None = None
    suppressed_until: Moment | None = None
    next_run: Moment | None = None
    runs: int = 0
    failures: int = 0
    cap_percent: float | None = None
    blind_windows: list[BlindWindow] = []
    exclusions: list[Exclusion] = []
    tuning: Tuning = Tuning()
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


@router.get("/coverage", dependencies=[Depends(needs("rules.read"))])
def get_coverage(request: Request) -> Coverage:
    """ATT&CK coverage: per technique whether a rule exists, its tables received rows within a day, and it is proven."""
    return Coverage.model_validate(workspace_of(request).rule_work.coverage())


@router.get("/techniques", dependencies=[Depends(needs("rules.read"))])
def list_techniques(request: Request) -> TechniqueNames:
    """ATT&CK's techniques by id, with their names and tactics. They change with the packs only."""
    return TechniqueNames.model_validate({"items": list(workspace_of(request).rule_work.attack())})


@router.get("/coverage/navigator", dependencies=[Depends(needs("rules.read"))])
def get_navigator_layer(request: Request) -> dict[str, Any]:
    """The coverage as a layer file of ATT&CK Navigator."""
    return dict(workspace_of(request).rule_work.navigator())


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


@router.get("/{rule_id}/exclusions", dependencies=[Depends(needs("rules.read"))])
def list_exclusions(rule_id: str, request: Request) -> ExclusionList:
    """What the rule leaves out."""
    return ExclusionList.model_validate({"items": workspace_of(request).rule_work.exclusions(rule_id)})


@router.post("/{rule_id}/exclusions", status_code=201)
def add_exclusion(rule_id: str, body: NewExclusion, request: Request, principal: Write) -> Exclusion:
    """Leaves rows out from now on. A column that the rule doesn't give is answered 422."""
    return Exclusion.model_validate(
        workspace_of(request).rule_work.exclude(rule_id, body.model_dump(mode="json"), by=principal)
    )


@router.delete("/{rule_id}/exclusions/{exclusion_id}", status_code=204)
def remove_exclusion(rule_id: str, exclusion_id: str, request: Request, principal: Write) -> None:
    """Takes an exclusion away."""
    workspace_of(request).rule_work.include(rule_id, exclusion_id, by=principal)


@router.patch("/{rule_id}/tuning")
def tune_rule(rule_id: str, body: TuningPatch, request: Request, principal: Write) -> Tuning:
    """Overrides settings of a rule, whatever its file says."""
    changes = body.model_dump(exclude_unset=True)
    return Tuning.model_validate(workspace_of(request).rule_work.tune(rule_id, changes, by=principal))


@router.post("/{rule_id}/simulation")
def simulate_rule(rule_id: str, request: Request, principal: Write) -> Simulation:
    """What the rule's last fifty windows show over the rows that are there, and what its alerts would join, and why."""
    return Simulation.model_validate(workspace_of(request).rule_work.simulate(rule_id, by=principal))


@router.post("/{rule_id}/runs", status_code=201)
def run_rule_again(rule_id: str, body: RunOver, request: Request, principal: Write) -> RunResult:
    """Runs the rule over a past stretch, at most 30 days, and files what wasn't alerted yet."""
    alerts = workspace_of(request).rule_work.run(rule_id, body.first, body.last, by=principal)
    return RunResult.model_validate({"alerts": alerts})
