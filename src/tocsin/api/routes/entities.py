"""/entities: all that is known of one host, account, address, file, URL, mailbox, process or cloud resource."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.querying import cancellable
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import AlertBrief, EntityShape, Input, Moment, Output
from tocsin.detect.entities import derive_entities

router = APIRouter(prefix="/entities", tags=["entities"])


class EntityFact(Output):
    """Something that is known of the thing, from where and as of when."""

    name: str
    value: str
    source: str
    time: Moment | None = None


class AliasClaim(Output):
    """Two identifiers that mean one thing: seen together from `first` to `last`, held to be so `from` `to`, and the row that taught it."""

    one: str
    one_kind: str
    other: str
    other_kind: str
    scope: str = ""
    first: Moment
    last: Moment
    from_: Moment = Field(alias="from")
    to: Moment
    confidence: float
    source: str
    row: dict[str, Any] = {}


class Level(Output):
    """How critical or risky, and why; the level is empty where nothing says."""

    level: str
    reasons: list[str]


class Count(Output):
    """How many."""

    name: str
    count: int


class Moving(Output):
    """An entry of the timeline: an alert, an anomaly or an activity (by the hour, `count` of them; `detail` is one's)."""

    time: Moment
    kind: str
    title: str
    detail: str = ""
    count: int = 1
    source: str = ""
    severity: str = ""
    incident_id: str | None = None
    alert_id: str | None = None


class EntityAlert(AlertBrief):
    """An alert that names the thing, and its incident."""

    incident_id: str
    incident_number: int | None = None


class EntityIncident(Output):
    """An incident with alerts that name the thing: how many of them."""

    id: str
    number: int | None = None
    title: str
    severity: str
    status: str
    priority: int
    first: Moment
    last: Moment
    alerts: int


class RelatedEntity(Output):
    """Another thing, and what it has to do with this one."""

    type: str
    name: str
    how: str
    first: Moment | None = None
    last: Moment | None = None
    seen: int


class NextHunt(Output):
    """A query to go on with; its names and times stand in it."""

    name: str
    description: str = ""
    tactics: list[str] = []
    query: str


class LeftOut(Output):
    """A part of the page that isn't there or isn't whole, and why."""

    name: str
    why: str


class EntityView(Output):
    """All that is known of a thing in a time. `names` are all under which rows know it; `known`: whether anything was found."""

    type: str
    name: str
    identifiers: dict[str, str]
    names: list[str]
    notes: list[str]
    from_: Moment = Field(alias="from")
    to: Moment
    known: bool
    first_seen: Moment | None = Field(default=None, description="In this time, or when an alias was first seen")
    last_seen: Moment | None = None
    facts: list[EntityFact]
    criticality: Level
    risk: Level = Field(description="The highest severity of its alerts in open incidents")
    aliases: list[AliasClaim]
    prevalence: list[Count]
    timeline: list[Moving]
    timeline_left_out: int
    alerts: list[EntityAlert]
    alerts_left_out: int
    incidents: list[EntityIncident]
    incidents_left_out: int
    related: list[RelatedEntity]
    hunts: list[NextHunt]
    left_out: list[LeftOut]


@router.get("")
async def entity_page(
    request: Request,
    principal: Annotated[Principal, Depends(needs("query.run"))],
    kind: Annotated[
        str,
        Query(
            alias="type",
            max_length=64,
            description="Host, Account, IP, File, URL, Mailbox, Process, AzureResource, CloudApplication, or another type of entity",
        ),
    ],
    name: Annotated[
        str,
        Query(
            min_length=1,
            max_length=2048,
            description="A name of it; a process's is host/id/start, a file's its path, name or hash",
        ),
    ],
    start: datetime | None = None,
    end: datetime | None = None,
) -> EntityView:
    """The page of a thing: facts, aliases, timeline, alerts and incidents, related things, prevalence, risk, next hunts. By default of the last
    seven days. Rows are read as the asker may read them; alerts and incidents are there for who may read incidents."""
    pages = workspace_of(request).entity_pages
    found = await cancellable(
        request, lambda cancel: pages.page(kind, name, start, end, principal=principal, cancel=cancel)
    )
    return EntityView.model_validate(found)


class Row(Input):
    """A row, as a query gave it."""

    row: dict[Annotated[str, Field(max_length=1024)], Any] = Field(max_length=2_000)


class RowEntities(Output):
    """The things that a row names."""

    items: list[EntityShape]


@router.post("/in-row")
def entities_in_row(asked: Row, _: Annotated[Principal, Depends(needs("query.run"))]) -> RowEntities:
    """The things that a row names, by columns that mean the same in every table: hosts, accounts, addresses, files, URLs, mail."""
    return RowEntities.model_validate({"items": [e.to_dict() for e in derive_entities(asked.row) if not e.is_built_in]})
