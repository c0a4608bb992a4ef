"""/tables, /sources, /dead-letters: what comes in and what lies where."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Moment, Output

router = APIRouter(tags=["data"])

Read = Annotated[Principal, Depends(needs("data.read"))]


class TableStats(Output):
    """A table that holds rows. `latency_seconds`: received minus event time of the newest row."""

    name: str
    category: str
    rows: int
    bytes: int
    first_event: Moment | None = None
    last_event: Moment | None = None
    last_received: Moment | None = None
    latency_seconds: float | None = None


class TableList(Output):
    """Tables with rows."""

    items: list[TableStats]


class Source(Output):
    """A receiver. `state`: listening, waiting, off, failing, or stale."""

    name: str
    kind: str
    address: str = ""
    state: str
    events: int = 0
    bytes: int = 0
    errors: int = 0
    last_event: Moment | None = None
    detail: str = ""


class SourceList(Output):
    """Receivers."""

    items: list[Source]


class DeadLetter(Output):
    """Input that could not be decoded. `raw` is base64 of the bytes (bounded)."""

    time: Moment
    source: str
    code: str
    reason: str
    place: str = ""
    raw: str = ""


class DeadLetterPage(Output):
    """The newest dead letters."""

    items: list[DeadLetter]
    total: int


@router.get("/tables", dependencies=[Depends(needs("data.read"))])
def list_tables(request: Request) -> TableList:
    """Tables that hold rows: how many, how old, how late."""
    from tocsin.api.data import tables

    return TableList.model_validate({"items": tables(workspace_of(request))})


@router.get("/sources", dependencies=[Depends(needs("data.read"))])
def list_sources(request: Request) -> SourceList:
    """Receivers and what they received."""
    return SourceList.model_validate({"items": list(workspace_of(request).intake.sources())})


@router.get("/dead-letters")
def list_dead_letters(
    request: Request, principal: Read, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> DeadLetterPage:
    """Input that could not be decoded, newest first."""
    from tocsin.api.data import dead_letters

    return DeadLetterPage.model_validate(dead_letters(workspace_of(request), principal, limit))
