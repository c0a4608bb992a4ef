"""/sources, /dead-letters: what comes in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output

router = APIRouter(tags=["data"])

Read = Annotated[Principal, Depends(needs("data.read"))]
Replayer = Annotated[Principal, Depends(needs("sources.write"))]


class Source(Output):
    """A receiver or a sender. `state`: listening, waiting, off, failing, ok, or stale (silent for longer than it ever is).

    `events_per_second` is of the last five minutes; null for one of which nothing is known since the start. Cadence: the pause that it usually
    stays within; null, as its threshold, while that is learned. Latencies: from receipt to visible, in seconds since the start.
    """

    name: str
    kind: str
    address: str = ""
    state: str
    events: int = 0
    bytes: int = 0
    errors: int = 0
    last_event: Moment | None = None
    detail: str = ""
    events_per_second: float | None = None
    silent_seconds: float | None = None
    cadence_seconds: float | None = None
    threshold_seconds: float | None = None
    latency_p50: float | None = None
    latency_p95: float | None = None
    latency_p99: float | None = None


class IntakeState(Output):
    """How intake does: bodies that are durable and not visible yet, and for how many seconds the oldest has waited. At a pressure of 1 it refuses."""

    healthy: bool
    pressure: float
    queued_bodies: int
    queued_bytes: int
    queue_seconds: float


class SourceList(Output):
    """Receivers."""

    items: list[Source]


class DeadLetter(Output):
    """Input that could not be decoded, or rows that could go nowhere. `raw` is base64 of the bytes; a list shows the first 3,000 of them."""

    id: str
    time: Moment
    source: str
    format: str = ""
    code: str
    reason: str
    place: str = ""
    rows: int = 1
    size: int = 0
    replayable: bool = False
    raw: str = ""


class DeadLetterDetail(DeadLetter):
    """A letter with all its bytes, and what a replay says of them."""

    body: str = ""
    meta: dict[str, str] = {}


class DeadLetterCounts(Output):
    """How many wait, by error code and by sender."""

    code: dict[str, int]
    source: dict[str, int]


class DeadLetterPage(Output):
    """The newest dead letters that wait. `total` and `replayable` count all that fit the filter."""

    items: list[DeadLetter]
    total: int
    replayable: int
    counts: DeadLetterCounts


class Replay(Input):
    """Which letters to send through intake again: those of `ids`, or those that fit the rest; nothing given means all."""

    ids: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=1000)
    code: str = Field(default="", max_length=16)
    source: str = Field(default="", max_length=1000)
    format: str = Field(default="", max_length=100)
    text: str = Field(default="", max_length=1000)
    before: Moment | None = Field(default=None, description="Only those from before; to go on where an answer ended")
    limit: int = Field(default=1000, ge=1, le=10_000)


class Skipped(Output):
    """A letter that was not replayed, and why."""

    id: str
    reason: str


class Replayed(Output):
    """What a replay did. `dead` of the replayed became letters again; `left` fit the filter and are to be asked for with the same `before`."""

    replayed: int
    dead: int
    skipped: list[Skipped]
    left: int
    before: Moment


@router.get("/sources", dependencies=[Depends(needs("data.read"))])
def list_sources(request: Request) -> SourceList:
    """Receivers and what they received."""
    return SourceList.model_validate({"items": list(workspace_of(request).intake.sources())})


@router.get("/intake", dependencies=[Depends(needs("data.read"))])
def get_intake(request: Request) -> IntakeState:
    """How intake does: what waits, for how long, and whether it refuses."""
    return IntakeState.model_validate(workspace_of(request).intake.state())


@router.get("/dead-letters")
def list_dead_letters(
    request: Request,
    principal: Read,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    code: Annotated[str, Query(max_length=16)] = "",
    source: Annotated[str, Query(max_length=1000)] = "",
    format: Annotated[str, Query(max_length=100)] = "",  # noqa: A002 - the parameter's name in the address
    text: Annotated[str, Query(max_length=1000)] = "",
) -> DeadLetterPage:
    """Input that could not be decoded and waits, newest first, counted by code and sender."""
    wanted = {"code": code, "source": source, "format": format, "text": text}
    desk = workspace_of(request).dead_letters
    return DeadLetterPage.model_validate(desk.page(limit=limit, offset=offset, wanted=wanted, principal=principal))


@router.post("/dead-letters/replay")
def replay_dead_letters(body: Replay, request: Request, principal: Replayer) -> Replayed:
    """Sends dead letters through intake again, each at most once. What still can't be taken becomes a new letter."""
    wanted = {"code": body.code, "source": body.source, "format": body.format, "text": body.text}
    found = workspace_of(request).dead_letters.replay(
        by=principal, ids=body.ids, wanted=wanted, before=body.before or "", limit=body.limit
    )
    return Replayed.model_validate(found)


@router.get("/dead-letters/{letter_id}")
def get_dead_letter(letter_id: str, request: Request, principal: Read) -> DeadLetterDetail:
    """One letter with all its bytes."""
    return DeadLetterDetail.model_validate(workspace_of(request).dead_letters.get(letter_id, principal=principal))
