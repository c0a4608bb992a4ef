"""/incidents/{id}: the rest of a large incident, in pages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from tocsin.access import Principal
from tocsin.api.parameters import only_known_parameters
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Activity, AlertDetail, EntityShape, Moment, Output, StoryStep

router = APIRouter(prefix="/incidents", tags=["incidents"], dependencies=[Depends(only_known_parameters)])

Reader = Annotated[Principal, Depends(needs("incidents.read"))]
Text = Annotated[str, Query(max_length=200)]


class AlertPage(Output):
    """Alerts of an incident in time, with their steps of the story. `next` is what `after` is for the next page, null on the last."""

    items: list[AlertDetail]
    story: list[StoryStep]
    total: int
    next: str | None


class EntityPage(Output):
    """What an incident's alerts name, the most often named first. `types`: how many there are of each type with that text."""

    items: list[EntityShape]
    total: int
    types: dict[str, int]


class FoldedStep(StoryStep):
    """A step that alerts told once or several times: by one rule, of the same things, with pauses of an hour at most. `alerts` are their ids, the
    rest is as the first has it, but for the highest severity, all techniques and all evidence."""

    last: Moment
    count: int
    alerts: list[str]


class StoryPage(Output):
    """Steps of an incident's story in time, of `total`, which all its `alerts` make."""

    items: list[FoldedStep]
    total: int
    alerts: int


class ActivityPage(Output):
    """Entries of an incident's activity log, oldest first. `next` is what `before` is for the entries before these, null where none are."""

    items: list[Activity]
    total: int
    next: int | None


@router.get("/{incident_id}/alerts")
def incident_alerts(
    incident_id: str,
    request: Request,
    _principal: Reader,
    after: Annotated[str, Query(max_length=64, description="Id of an alert: those after it in time")] = "",
    severity: Annotated[str, Query(max_length=100, description="Comma-separated severities")] = "",
    q: Annotated[Text, Query(description="Words that must all be somewhere in the alert, its evidence included")] = "",
    alert: Annotated[str, Query(max_length=64, description="Only the alert of this id")] = "",
    evidence: Annotated[bool, Query(description="false: without the rows that prove them")] = True,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> AlertPage:
    """An incident's alerts, filtered, in pages."""
    found = workspace_of(request).incidents.alerts(
        incident_id,
        after=after,
        severities=tuple(s for s in (p.strip() for p in severity.split(",")) if s),
        text=q,
        one=alert,
        evidence=evidence,
        limit=limit,
    )
    return AlertPage.model_validate(found)


@router.get("/{incident_id}/entities")
def incident_entities(
    incident_id: str,
    request: Request,
    _principal: Reader,
    type: Annotated[str, Query(max_length=64, description="Only things of this type")] = "",  # noqa: A002
    q: Annotated[Text, Query(description="Words that must all be in a name or an identifier")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> EntityPage:
    """Assets and evidence of an incident, filtered, in pages."""
    found = workspace_of(request).incidents.things(incident_id, kind=type, text=q, limit=limit, offset=offset)
    return EntityPage.model_validate(found)


@router.get("/{incident_id}/story")
def incident_story(
    incident_id: str,
    request: Request,
    _principal: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> StoryPage:
    """The attack story of all alerts: who did what to what when, what one rule told of the same things again and again as one step."""
    return StoryPage.model_validate(workspace_of(request).incidents.steps(incident_id, limit=limit, offset=offset))


@router.get("/{incident_id}/activity")
def incident_activity(
    incident_id: str,
    request: Request,
    _principal: Reader,
    before: Annotated[int, Query(ge=0, le=2**63 - 1, description="Number of an entry: those before it")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> ActivityPage:
    """An incident's activity log, the newest entries first asked for, in pages."""
    return ActivityPage.model_validate(
        workspace_of(request).incidents.activity(incident_id, before=before, limit=limit)
    )
