"""/incidents/{id}: what else would join it and why, and its graph for other tools."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.parameters import only_known_parameters
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import IncidentStatus, Moment, NearIncident, Output
from tocsin.api.wire import to_json
from tocsin.incidents.graph_export import GRAPHML, graphml

router = APIRouter(prefix="/incidents", tags=["incidents"], dependencies=[Depends(only_known_parameters)])

Reader = Annotated[Principal, Depends(needs("incidents.read"))]


class Neighbour(NearIncident):
    """Another incident that shares something with this one. `joins`: correlation would make them one; `vetoes` say what speaks against it."""

    vetoes: list[str]


class MovedAlert(Output):
    """An alert that is elsewhere now."""

    id: str
    title: str
    rule: str
    time: Moment


class Elsewhere(Output):
    """An incident that holds alerts which were moved away from this one."""

    id: str
    number: int
    title: str
    status: IncidentStatus


class MovedAway(Output):
    """Alerts that somebody moved out of this incident, and where they are now. Of many the first 20 in time are named."""

    action: str = Field(description="The action that moved them")
    by: str
    time: Moment
    reason: str
    incident: Elsewhere
    alerts: list[MovedAlert]
    alert_count: int
    back: Literal["undo", "move", "merge", ""] = Field(
        description="The way back: undo the action, move them from where they are, or merge the incident, which has nothing else; empty while "
        "one of the two is resolved"
    )


class Neighbours(Output):
    """What would join, and why or why not, the nearest first, and what was moved out of it, the newest first."""

    items: list[Neighbour]
    moved: list[MovedAway]


@router.get("/{incident_id}/neighbours")
def incident_neighbours(request: Request, incident_id: str, _: Reader) -> Neighbours:
    """The open incidents that share something with this one, each with its score against the threshold and why; and what was moved out of it."""
    desk = workspace_of(request).incidents
    return Neighbours.model_validate({"items": desk.neighbours(incident_id), "moved": desk.moved_away(incident_id)})


@router.get(
    "/{incident_id}/graph",
    response_model=None,
    responses={200: {"content": {"application/json": {}, GRAPHML: {}}, "description": "The graph"}},
)
def incident_graph(
    request: Request,
    incident_id: str,
    _: Reader,
    format: Annotated[Literal["json", "graphml"], Query(description="How it is written.")] = "json",  # noqa: A002
) -> Response:
    """The graph of all of an incident's things: nodes with type and first time, edges with the alerts that name both ends. The incident itself has
    the part of it that a page draws."""
    number, graph = workspace_of(request).incidents.graph(incident_id)
    if format == "json":
        return Response(to_json(graph), media_type="application/json")
    name = f"incident-{number}"
    headers = {"Content-Disposition": f'attachment; filename="{name}.graphml"'}
    return Response(graphml(graph, name), media_type=GRAPHML, headers=headers)
