"""/incidents: figures of a period, and the work on one incident: tasks and comments put right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, Field

from tocsin.access import Principal
from tocsin.api.parameters import only_known_parameters
from tocsin.api.ports import Workspace
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Incident, Input, Output, Reason
from tocsin.incidents.life import Actor
from tocsin.incidents.vocabulary import change_of, words_of

router = APIRouter(prefix="/incidents", tags=["incidents"], dependencies=[Depends(only_known_parameters)])

Manage = Annotated[Principal, Depends(needs("incidents.manage"))]


class Spread(Output):
    """How long something took, in seconds: of how many, mean and percentiles by nearest rank. Null where nothing was measured."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None


class Figures(Output):
    """What happened in a period. Those that automation resolved are apart; merged ones count as the incident that they went into."""

    created: int
    merged: int
    acknowledged: int
    resolved: int = Field(description="Closed by people and still closed at the end")
    auto_resolved: int
    reopened: int
    open: int = Field(description="At the end of the period")
    open_unacknowledged: int
    mtta: Spread = Field(description="From creation until a person took it")
    mttr: Spread = Field(description="From then until it was resolved, without the time that it lay closed")
    closure: Spread = Field(description="From creation until it was resolved")
    queue_age: Spread = Field(description="Of those open at the end: how long they are there")
    classification: dict[str, int] = Field(description="Of those closed; Unclassified is one of its own")


class GroupFigures(Figures):
    """The figures of those incidents that have one value; "" is none."""

    value: str


class Metrics(Figures):
    """The figures of a period, and by group if asked for."""

    from_: str = Field(alias="from")
    to: str
    by: str = ""
    groups: list[GroupFigures] = []


@router.get("/metrics", dependencies=[Depends(needs("incidents.read"))])
def incident_metrics(
    request: Request,
    start: Annotated[AwareDatetime | None, Query(alias="from", description="Default: 30 days before the end")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="Default: now")] = None,
    by: Literal["", "severity", "status", "owner", "classification", "product", "tactic"] = "",
) -> Metrics:
    """Times and counts of a period, from the incident log as it stood at its end: the same period always gives the same figures."""
    until = end or datetime.now(UTC)
    since = start or until - timedelta(days=30)
    return Metrics.model_validate(workspace_of(request).incidents.metrics(since, until, by=by))


class PriorityPoints(Output):
    """The points that priority is made of: as they are in force, and as they usually are (packs' points among them). `version` as the weights'."""

    version: int
    weights: dict[str, Any]
    usual: dict[str, Any]


class PriorityWeights(Input):
    """Weights that differ from the usual ones; those left out are as usual, an empty mapping gives back all. `version` as for all weights."""

    weights: dict[str, float | dict[str, float]] = Field(max_length=50)
    version: int | None = None


@router.get("/priority", dependencies=[Depends(needs("incidents.read"))])
def priority_points(request: Request) -> PriorityPoints:
    """The points that priority is made of."""
    return _points(workspace_of(request))


@router.put("/priority")
def set_priority_points(
    body: PriorityWeights, request: Request, principal: Annotated[Principal, Depends(needs("settings.manage"))]
) -> PriorityPoints:
    """Sets weights; every open incident is judged again, and its history says so."""
    workspace = workspace_of(request)
    actor = Actor(principal.name, address=principal.address)
    workspace.tuning.set(None, body.weights, version=body.version, actor=actor)
    return _points(workspace)


def _points(workspace: Workspace) -> PriorityPoints:
    version = workspace.tuning.version()
    return PriorityPoints.model_validate({**workspace.incidents.priority_points(), "version": version})


class Asset(Output):
    """A host or account that matters, and by which rule. `level` is empty for one that only has a group."""

    kind: str
    name: str
    rule: str
    level: str
    group: str


class Assets(Output):
    """Hosts and accounts that matter."""

    items: list[Asset]


@router.get("/assets", dependencies=[Depends(needs("incidents.read"))])
def critical_assets(request: Request) -> Assets:
    """The hosts and accounts that the packs' asset rules found."""
    return Assets.model_validate({"items": workspace_of(request).incidents.assets()})


class PastPriority(Output):
    """A priority that an incident had, since when and through whom."""

    time: str
    actor: str
    version: int
    score: int
    reasons: list[Reason]


class PriorityHistory(Output):
    """An incident's priorities, oldest first."""

    items: list[PastPriority]


@router.get("/{incident_id}/priority", dependencies=[Depends(needs("incidents.read"))])
def priority_history(incident_id: str, request: Request) -> PriorityHistory:
    """How an incident's priority came to be: each with its reasons."""
    return PriorityHistory.model_validate({"items": workspace_of(request).incidents.priority_history(incident_id)})


class Words(Output):
    """Status, classification and determination in the words of one door; empty where nothing was decided."""

    status: str
    classification: str
    determination: str = Field(description="Of Sentinel: the reason for closing")


class IncidentWords(Output):
    """What an incident is called in Defender's portal, in Sentinel, and in the security API."""

    defender: Words
    sentinel: Words
    api: Words


class WordsPatch(Input):
    """What to change, in the words of the door in the path; members left out stay."""

    status: str | None = Field(default=None, max_length=64)
    classification: str | None = Field(default=None, max_length=64)
    determination: str | None = Field(default=None, max_length=64, description="Of Sentinel: the reason for closing")
    comment: str | None = Field(default=None, max_length=30_000)
    version: int | None = None


@router.get("/{incident_id}/words", dependencies=[Depends(needs("incidents.read"))])
def incident_words(incident_id: str, request: Request) -> IncidentWords:
    """Status, classification and determination in the words of Defender, Sentinel and the security API."""
    incident = workspace_of(request).incidents.get(incident_id)
    return IncidentWords.model_validate({v: words_of(incident, v) for v in ("defender", "sentinel", "api")})


@router.patch("/{incident_id}/words/{vocabulary}")
def change_in_words(
    incident_id: str,
    vocabulary: Literal["defender", "sentinel", "api"],
    body: WordsPatch,
    request: Request,
    principal: Manage,
) -> Incident:
    """Changes status, classification and determination in the words of one door. What has no word there is refused with the nearest one."""
    workspace = workspace_of(request)
    given = body.model_dump(exclude_none=True)
    changes = change_of(workspace.incidents.get(incident_id), vocabulary, given)
    workspace.gate.edit_incident(incident_id, changes, by=principal)
    return Incident.model_validate(workspace.incidents.get(incident_id))


class NewTask(Input):
    """What is to be done."""

    title: str = Field(min_length=1, max_length=150)
    description: str = Field(default="", max_length=3000)


class TaskPatch(Input):
    """What of a task changes; members left out stay."""

    title: str | None = Field(default=None, min_length=1, max_length=150)
    description: str | None = Field(default=None, max_length=3000)
    done: bool | None = None


class CommentText(Input):
    """A comment's new text."""

    text: str = Field(min_length=1, max_length=30_000)


def _perform(request: Request, kind: str, given: dict[str, Any], incident_id: str, principal: Principal) -> Incident:
    workspace = workspace_of(request)
    workspace.gate.perform(kind, given, incident_id=incident_id, by=principal)
    return Incident.model_validate(workspace.incidents.get(incident_id))


@router.post("/{incident_id}/tasks", status_code=201)
def add_task(incident_id: str, body: NewTask, request: Request, principal: Manage) -> Incident:
    """Adds a task."""
    return _perform(request, "incident.add-task", body.model_dump(), incident_id, principal)


@router.patch("/{incident_id}/tasks/{task}")
def change_task(incident_id: str, task: int, body: TaskPatch, request: Request, principal: Manage) -> Incident:
    """Changes a task, or says whether it is done."""
    given = {"task": task, **body.model_dump(exclude_none=True)}
    return _perform(request, "incident.change-task", given, incident_id, principal)


@router.delete("/{incident_id}/tasks/{task}")
def remove_task(incident_id: str, task: int, request: Request, principal: Manage) -> Incident:
    """Takes a task away; the incident's log keeps it."""
    return _perform(request, "incident.remove-task", {"task": task}, incident_id, principal)


@router.patch("/{incident_id}/comments/{entry}")
def edit_comment(incident_id: str, entry: int, body: CommentText, request: Request, principal: Manage) -> Incident:
    """Gives a comment of one's own another text; the incident's log keeps both."""
    return _perform(request, "incident.edit-comment", {"entry": entry, "text": body.text}, incident_id, principal)
