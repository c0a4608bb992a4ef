"""/incidents: the queue, one incident, and what analysts do with it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from tocsin.access import Principal
from tocsin.api.conditional import NOT_MODIFIED, answer
from tocsin.api.parameters import only_known_parameters
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import (
    Classification,
    Determination,
    Incident,
    IncidentSummary,
    Input,
    Output,
    Phase,
    Reason,
    Severity,
    Status,
)
from tocsin.api.wire import to_json

router = APIRouter(prefix="/incidents", tags=["incidents"], dependencies=[Depends(only_known_parameters)])

Read = Annotated[Principal, Depends(needs("incidents.read"))]
Manage = Annotated[Principal, Depends(needs("incidents.manage"))]


class IncidentCounts(Output):
    """How many incidents the other filters leave, by value of each: what a filter pane shows. Owner "" is nobody."""

    status: dict[str, int]
    severity: dict[str, int]
    owner: dict[str, int]


class IncidentPage(Output):
    """A page of the queue."""

    items: list[IncidentSummary]
    total: int
    counted_all: bool = Field(
        default=True,
        description="false: `total` and `counts` say at least how many there are, for a search that very many incidents match",
    )
    counts: IncidentCounts
    next: str = Field(description="What `after` takes for the page that follows; empty when there is none")


class IncidentPatch(Input):
    """What to change; members left out stay. Null unassigns, clears the classification, or gives severity and title back to correlation.

    `version`: refuse (409) when the incident's isn't that any more, because somebody changed it since.
    """

    status: Status | None = None
    severity: Severity | None = None
    owner: str | None = Field(default=None, max_length=128, description="A user or a group")
    classification: Classification | None = None
    determination: Determination | None = None
    title: str | None = Field(default=None, min_length=1, max_length=300)
    add_tags: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(default=[], max_length=50)
    remove_tags: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(default=[], max_length=50)
    comment: str | None = Field(default=None, max_length=30_000, description="A note kept with a change of status")
    locked: bool | None = Field(
        default=None,
        description="true: correlation leaves it as it is (the tag Locked says so); false: it may grow again",
    )
    phase: Phase | None = None
    roles: dict[str, Annotated[str | None, Field(max_length=128)]] = Field(
        default={}, max_length=10, description="User by role; null takes the role from whoever has it"
    )
    version: int | None = None


class NewComment(Input):
    """A comment."""

    text: str = Field(min_length=1, max_length=30_000)


@router.get("", response_model=IncidentPage, responses=NOT_MODIFIED)
def list_incidents(
    request: Request,
    principal: Read,
    status: Annotated[str, Query(description="Comma-separated: New, InProgress, Resolved")] = "",
    severity: Annotated[str, Query(description="Comma-separated: Informational, Low, Medium, High")] = "",
    owner: Annotated[
        str,
        Query(
            max_length=2000,
            description="Comma-separated names of users and groups; `@me` for the caller and the groups that they are in, `none` for unassigned",
        ),
    ] = "",
    tag: Annotated[str, Query(description="A tag that it must have")] = "",
    q: Annotated[str, Query(max_length=200, description="Text in title, tags, entities, rules, or #number")] = "",
    classification: Annotated[
        str,
        Query(
            description="Comma-separated: TruePositive, InformationalExpectedActivity, FalsePositive; `none` for not classified"
        ),
    ] = "",
    since: Annotated[AwareDatetime | None, Query(description="Whose last event is not before that")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Whose last event is not after that")] = None,
    tactic: Annotated[
        str, Query(description="Comma-separated ATT&CK tactics, as CredentialAccess: it has one of them")
    ] = "",
    product: Annotated[str, Query(description="Comma-separated products, one of which reported an alert of it")] = "",
    entity_type: Annotated[str, Query(description="Comma-separated types of entities, as Host, Account, IP")] = "",
    entity: Annotated[
        str,
        Query(
            max_length=500,
            description="The name of an entity: whole, a host's without its domain, an account's without its realm. Of an incident of"
            " very many it looks at the 400 that are named most often",
        ),
    ] = "",
    min_priority: Annotated[int | None, Query(ge=0, le=100, description="The least priority")] = None,
    max_priority: Annotated[int | None, Query(ge=0, le=100, description="The highest priority")] = None,
    sort: Literal["priority", "last", "first", "severity", "title", "number", "updated", "status"] = "priority",
    order: Literal["asc", "desc"] = "desc",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    after: Annotated[
        str,
        Query(
            max_length=2000,
            description="`next` of the page before: nothing is left out or given twice because that page's incidents changed. Or an incident's id",
        ),
    ] = "",
    alerts: Annotated[
        int, Query(ge=0, le=50, description="How many alerts of each incident come with it, in brief")
    ] = 50,
) -> Response:
    """The incident queue: filtered, sorted, counted. Answers 304 to an If-None-Match with the ETag of the same page."""
    incidents = workspace_of(request).incidents

    def page() -> bytes:
        # The desk gives the API's shape: to have hundreds of alerts checked for it once more is most of what a page would cost.
        return to_json(
            incidents.page(
                statuses=_split(status),
                severities=_split(severity),
                owner=owner,
                me=principal.person,
                tag=tag,
                text=q,
                classification=classification,
                since=since,
                until=until,
                tactics=_split(tactic),
                products=_split(product),
                entity_types=_split(entity_type),
                entity=entity,
                least_priority=min_priority,
                most_priority=max_priority,
                sort=sort,
                descending=order == "desc",
                limit=limit,
                offset=offset,
                after=after,
                alerts=alerts,
            )
        )

    standing = incidents.standing()
    # Who is in which group is no change of an incident, and `@me` isn't the same for everybody.
    return answer(request, standing and (*standing, incidents.whose(owner, principal.person)), page)


class IncidentFilters(Output):
    """What incidents can be filtered by: the values that any has."""

    tactics: list[str]
    products: list[str]
    entity_types: list[str]
    tags: list[str] = Field(description="At most 500")


@router.get("/filters", dependencies=[Depends(needs("incidents.read"))])
def list_filters(request: Request) -> IncidentFilters:
    """The tactics, products, types of entities and tags that incidents have."""
    return IncidentFilters.model_validate(workspace_of(request).incidents.filters())


@router.get(
    "/{incident_id}",
    response_model=Incident,
    dependencies=[Depends(needs("incidents.read"))],
    responses=NOT_MODIFIED,
)
def get_incident(incident_id: str, request: Request) -> Response:
    """One incident in full. Answers 304 to an If-None-Match with the ETag of the same state of it."""
    incidents = workspace_of(request).incidents

    def opened() -> bytes:
        return Incident.model_validate(incidents.get(incident_id)).model_dump_json().encode()

    return answer(request, incidents.standing(incident_id), opened)


class LogEntry(Output):
    """An entry of the append-only log that an incident is made from. `version` is null for what belongs to it only (comments, tasks)."""

    seq: int
    version: int | None
    time: str
    actor: str
    source: str
    kind: str
    data: dict[str, Any]


class LogPage(Output):
    """An incident's log, oldest entry first."""

    items: list[LogEntry]


@router.get("/{incident_id}/log", dependencies=[Depends(needs("incidents.read"))])
def get_incident_log(incident_id: str, request: Request) -> LogPage:
    """What happened to an incident, in order and complete: who changed what and when."""
    return LogPage.model_validate({"items": workspace_of(request).incidents.log(incident_id)})


@router.patch("/{incident_id}")
def update_incident(incident_id: str, body: IncidentPatch, request: Request, principal: Manage) -> Incident:
    """Changes status, owner, severity, classification, title or tags; each change is an action with its audit row."""
    workspace = workspace_of(request)
    workspace.gate.edit_incident(incident_id, _given(body), by=principal)
    return Incident.model_validate(workspace.incidents.get(incident_id))


@router.post("/{incident_id}/comments", status_code=201)
def add_comment(incident_id: str, body: NewComment, request: Request, principal: Manage) -> Incident:
    """Adds a comment to the activity log."""
    workspace = workspace_of(request)
    workspace.gate.perform("incident.comment", {"text": body.text}, incident_id=incident_id, by=principal)
    return Incident.model_validate(workspace.incidents.get(incident_id))


class MergeRequest(Input):
    """Incidents to merge into the one in the path, and why."""

    sources: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(min_length=1, max_length=5)
    reason: str = Field(default="", max_length=1000)


class MergedIncident(Output):
    """What an incident would be after a merge."""

    number: int
    title: str
    severity: Severity
    priority: int
    reasons: list[Reason]
    tactics: list[str]
    techniques: list[str]
    tags: list[str]
    alert_count: int


class MergePreview(Output):
    """What a merge would make of them. With `vetoes` it would be refused."""

    incident: MergedIncident
    vetoes: list[str]
    shared: list[str] = Field(description="What the incidents have in common: type and label of each entity")
    alerts: int = Field(description="Alerts that would come in")


class MoveRequest(Input):
    """Alerts to move out of the incident in the path. `target` null makes a new incident of them."""

    alerts: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(min_length=1, max_length=1000)
    target: str | None = Field(default=None, max_length=64)
    reason: str = Field(default="", max_length=1000)


class Moved(Output):
    """Where the alerts are now, and the action whose undo brings them back."""

    action: str
    incident: str
    number: int


@router.post("/{incident_id}/merge/preview", dependencies=[Depends(needs("incidents.read"))])
def preview_merge(incident_id: str, body: MergeRequest, request: Request) -> MergePreview:
    """What merging other incidents into this one would give, what speaks against it and what they share. Changes nothing."""
    found = workspace_of(request).incidents.preview_merge(incident_id, body.sources)
    merged = {n: found.incident[n] for n in MergedIncident.model_fields}
    return MergePreview.model_validate(
        {"incident": merged, "vetoes": found.vetoes, "shared": found.shared, "alerts": found.alerts}
    )


@router.post("/{incident_id}/merge")
def merge_incidents(incident_id: str, body: MergeRequest, request: Request, principal: Manage) -> Incident:
    """Empties other incidents into this one. It is an action: its undo takes them apart again."""
    workspace = workspace_of(request)
    workspace.gate.perform("incident.merge", body.model_dump(), incident_id=incident_id, by=principal)
    return Incident.model_validate(workspace.incidents.get(incident_id))


@router.post("/{incident_id}/move-alerts")
def move_alerts(incident_id: str, body: MoveRequest, request: Request, principal: Manage) -> Moved:
    """Moves alerts to another incident or to a new one. It is an action: its undo brings them back."""
    done = workspace_of(request).gate.perform(
        "incident.move-alerts", body.model_dump(), incident_id=incident_id, by=principal
    )
    return Moved(action=done["id"], incident=done["result"]["incident"], number=done["result"]["number"])


def _split(text: str) -> tuple[str, ...]:
    return tuple(part for part in (p.strip() for p in text.split(",")) if part)


def _given(body: IncidentPatch) -> dict[str, Any]:
    """The members that were sent. A null means something for those that can be cleared, and nothing for the others."""
    given = body.model_dump(exclude_unset=True)
    return {n: v for n, v in given.items() if v is not None or n in _CLEARABLE}


_CLEARABLE = frozenset({"owner", "classification", "determination", "severity", "title", "phase"})
