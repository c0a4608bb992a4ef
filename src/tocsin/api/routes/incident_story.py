"""/incidents/{id}: what it means, its process trees, and its proof as a file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.parameters import only_known_parameters
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Moment, Output, Reason

router = APIRouter(prefix="/incidents", tags=["incidents"], dependencies=[Depends(only_known_parameters)])

Reader = Annotated[Principal, Depends(needs("incidents.read"))]


class Reached(Output):
    """A thing that the incident reached. `critical` is how much it matters, empty for what doesn't."""

    type: str
    label: str
    first: Moment
    last: Moment
    alerts: int
    severity: str
    critical: str
    why_critical: str


class BlastRadius(Output):
    """What the incident reached, by kind, each in the order in which it was first seen."""

    counts: dict[str, int]
    critical: int
    hosts: list[Reached]
    accounts: list[Reached]
    mailboxes: list[Reached]
    applications: list[Reached]
    resources: list[Reached]
    addresses: list[Reached]


class Beginning(Output):
    """An alert with which an incident may have begun: the points for and against that, and why."""

    alert_id: str
    title: str
    time: Moment
    actor: str
    actor_type: str
    target: str
    target_type: str
    score: float
    reasons: list[Reason]


class RunnerUp(Beginning):
    """The next candidate. `lost_by`: in what it has less than the first, and how much."""

    lost_by: list[Reason]


class RootCause(Beginning):
    """Where it probably began: the alert with the most points for a beginning, and the next one. Of `alerts` the first `looked_at` were looked at."""

    next_score: float
    runner_up: RunnerUp | None
    looked_at: int
    alerts: int


class AdviceThing(Output):
    """A thing of the incident that a step is to be done to. `state`: done, running, proposed or failed where an action is about it,
    whose and when `detail` says; `comment` is the newest that names it; `input` what the action is to be given to be done to it, null where nobody
    knows."""

    type: str
    label: str
    critical: str
    state: str
    detail: str
    input: dict[str, Any] | None
    comment: str


class Advice(Output):
    """Something to do next. `action` names a kind of action that does it, where there is one, `response` what a responder is asked to; `because` is
    the technique or stage that brought it in, `alerts` what told of that. `state`: open, task, proposed, running, failed or done."""

    do: str
    why: str
    action: str
    response: str
    urgency: Literal["now", "soon", "later"]
    state: Literal["open", "task", "proposed", "running", "failed", "done"]
    about: list[AdviceThing]
    about_left_out: int
    alerts: list[str]
    alerts_left_out: int
    because: str
    source: str


class Similar(Output):
    """A past incident that is like this one, and what both have."""

    id: str
    number: int
    title: str
    status: str
    classification: str | None
    determination: str | None
    owner: str | None
    last: Moment
    likeness: float
    shared: dict[str, list[str]]


class Fact(Output):
    """A key fact."""

    name: str
    text: str


class StageTold(Output):
    """A stage of the attack, when it was first seen, by which alerts and on what. `tactic` is its ATT&CK name, `name` the plain one."""

    tactic: str
    name: str
    time: Moment
    titles: list[str]
    actor: str
    target: str
    alert_id: str


class ThreatReport(Output):
    """A threat report of the packs that the incident looks like: by indicators that it holds, or, more weakly, by its techniques."""

    id: str
    name: str
    description: str
    threat: str
    indicators: list[str]
    techniques: list[str]
    references: list[str]


class Narrative(Output):
    """What an incident means. `blast_radius` and `root_cause` are null for one whose alerts went elsewhere."""

    summary: str = Field(description="A sentence or two")
    facts: list[Fact]
    stages: list[StageTold] = Field(description="In the order in which they were first seen")
    reports: list[ThreatReport]
    blast_radius: BlastRadius | None
    root_cause: RootCause | None
    advice: list[Advice]
    similar: list[Similar]


@router.get("/{incident_id}/narrative")
def incident_narrative(incident_id: str, request: Request, _principal: Reader) -> Narrative:
    """Summary in plain words, what it reached, where it probably began and why, what to do next, similar incidents."""
    return Narrative.model_validate(workspace_of(request).stories.narrative(incident_id))


class Process(Output):
    """A process and those that it started. `seen`: a row tells of its start; `certain`: its link to its parent is by start time or by a unique id,
    not by the number alone. `ended`: null where no row tells of its end; `pid`: null where none tells its number."""

    host: str
    pid: int | None
    started: Moment | None
    ended: Moment | None
    file: str
    command: str
    account: str
    sha256: str
    seen: bool
    certain: bool
    alerts: list[str]
    children: list[Process]


class ProcessTrees(Output):
    """Process trees of an incident's hosts, near its alerts. `truncated`: there were more rows than a query gives; `ends_known`: false where who asks
    may not read the tables of event logs, which tell of ends and of starts that sensors don't."""

    trees: list[Process]
    left_out: int
    hosts: list[str]
    hosts_left_out: int
    truncated: bool
    ends_known: bool


@router.get("/{incident_id}/processes", dependencies=[Depends(needs("query.run"))])
def incident_processes(incident_id: str, request: Request, principal: Reader) -> ProcessTrees:
    """Process trees made of the tables' rows by host, process id and start time, or unique id, so that an id that came back is another process."""
    return ProcessTrees.model_validate(workspace_of(request).stories.processes(incident_id, principal=principal))


class ReachEnd(Output):
    """A thing from which is reached."""

    type: str
    label: str


class ReachWay(Output):
    """A way to a thing: from what, how, and, where rows saw it happen, when and how often. `source` names the content that asked for it."""

    source: str
    from_: ReachEnd = Field(alias="from")
    how: str
    first: Moment | None
    last: Moment | None
    seen: int


class Reachable(Output):
    """A thing that could be reached. `critical` is how much it matters, empty for what doesn't; `hops` 2: only by way of another thing that could."""

    type: str
    label: str
    critical: str
    why_critical: str
    hops: int
    ways: list[ReachWay]
    ways_left_out: int


class Unasked(Output):
    """A question of content that gave nothing, and why."""

    name: str
    why: str


class ReachFound(Output):
    """What could be reached from what an incident holds, the critical first, as the tables answered `at` that moment. `unknown`: of what nothing
    is known, because no row tells of it."""

    at: Moment
    from_: Moment | None = Field(alias="from")
    to: Moment | None
    starts: list[ReachEnd]
    starts_left_out: int
    things: list[Reachable]
    counts: dict[str, int]
    critical: int
    left_out: int
    unknown: list[Unasked]
    failed: list[Unasked]


@router.get("/{incident_id}/reach", dependencies=[Depends(needs("query.run"))])
def incident_reach(incident_id: str, request: Request, principal: Reader) -> ReachFound:
    """What could be reached from the incident's accounts and machines and wasn't yet: machines that they sign in to, groups and roles, accounts whose
    secrets a machine holds, and critical things one step further; each with the ways to it."""
    return ReachFound.model_validate(workspace_of(request).stories.reach(incident_id, principal=principal))


class Bundle(Output):
    """An incident's proof: its sections, the SHA-256 of each, and of all."""

    format: str
    created: str
    product: str
    hashes: dict[str, str]
    hash: str
    sections: dict[str, Any] = Field(description="incident, log, narrative, reach, processes, actions, audit")


@router.get(
    "/{incident_id}/export",
    response_model=Bundle,
    responses={200: {"content": {"application/pdf": {}}, "description": "The proof as JSON or PDF"}},
)
def export_incident(
    incident_id: str,
    request: Request,
    principal: Reader,
    format: Literal["json", "pdf"] = "json",  # noqa: A002
) -> Response:
    """All of an incident with hashes, as JSON or as a PDF that carries the same; `tocsin incidents verify` checks either offline.

    Who may not read the audit log gets the hash of its head, not its rows; who may not ask the tables gets no `reach` and no `processes`.
    """
    from tocsin.incidents.export import to_json

    made = workspace_of(request).stories.bundle(
        incident_id, audit=principal.may("audit.read"), principal=principal, asks=principal.may("query.run")
    )
    name = f"incident-{made['sections']['incident']['number']}.{format}"
    if format == "pdf":
        from tocsin.incidents.pdf import to_pdf

        body, kind = to_pdf(made), "application/pdf"
    else:
        body, kind = to_json(made), "application/json"
    return Response(body, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
