"""/tables: what lies where, how long it stays, and what a change of that would take."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output

router = APIRouter(prefix="/tables", tags=["data"])

Read = Annotated[Principal, Depends(needs("data.read"))]
Keep = Annotated[Principal, Depends(needs("settings.manage"))]
_LONGEST = 36_500


class NewColumn(Output):
    """A column that came and that the table doesn't have; its values are in the table's overflow."""

    name: str
    values: int


class Waiting(Output):
    """A time in days that was shortened: it holds `until` then, and can be put back."""

    days: int
    since: Moment
    until: Moment


class TableStats(Output):
    """A table that holds rows. `latency_seconds`: received minus event time of the newest row; `rows_last_hour`: null when not counted.

    `days` are those after which rows are deleted and `archive_days` those after which they go to the archive, as set; 0 is never. `waiting` is the
    longer time that still holds. `bytes_limit` is what its files may take, 0 without a limit of its own. `set_here` tells that people set it while
    the server ran, in place of the settings. `archived_days` counts the days (UTC) that have rows in the archive. `new_columns` are those since the
    start.
    """

    name: str
    category: str
    rows: int
    bytes: int
    first_event: Moment | None = None
    last_event: Moment | None = None
    last_received: Moment | None = None
    latency_seconds: float | None = None
    rows_last_hour: int | None = None
    new_columns: list[NewColumn] = []
    tier: Literal["analytics", "lake"] = "analytics"
    days: int = 0
    archive_days: int = 0
    bytes_limit: int = 0
    set_here: bool = False
    waiting: Waiting | None = None
    archived_rows: int = 0
    archived_bytes: int = 0
    archived_days: int = 0


class TableList(Output):
    """Tables with rows."""

    items: list[TableStats]


class DayOfRows(Output):
    """Rows received on a day (UTC)."""

    day: Moment
    rows: int


class Reader(Output):
    """What is on and reads the table: a detection rule or a summary rule."""

    kind: Literal["rule", "summary"]
    id: str
    name: str


class OwnTerms(Output):
    """Terms of one table, as `Terms`."""

    days: int | None
    bytes: int
    archive_days: int | None
    tier: Literal["analytics", "lake"]


class TableDetail(TableStats):
    """A table with its rows by day and what reads it.

    `own` are its terms where it has some, by the settings or set here; `all_days` and `all_archive_days` those of all tables. A shorter time waits
    for `undo_days`. `hold` says why nothing may be deleted, "" where it may.
    """

    usage: list[DayOfRows]
    readers: list[Reader]
    own: OwnTerms | None = None
    all_days: int
    all_archive_days: int
    undo_days: float
    archive_configured: bool
    hold: str = ""


class Terms(Input):
    """How long a table's rows stay. Days left out are as all tables'; 0 is for ever, or never to the archive. `bytes` 0 sets no limit."""

    days: int | None = Field(default=None, ge=0, le=_LONGEST)
    bytes: int = Field(default=0, ge=0)
    archive_days: int | None = Field(default=None, ge=0, le=_LONGEST)
    tier: Literal["analytics", "lake"] = "analytics"


class KeepRequest(Terms):
    """Terms, and how many rows the preview said that go at once."""

    expected: int = Field(default=0, ge=0)


class RetentionPreview(Output):
    """What terms would do.

    `shorter` days wait until `effect`. Of the rows held now, `older_now` are older than the days today and `older_then` will be at `effect`, the
    archived ones apart. `rows_at_once` go at the next look because of the limit of bytes: nothing brings them back. `to_archive` rows move to the
    archive. `stops` are the rules that can't run on the table any more.
    """

    table: str
    days: int
    shorter: bool
    effect: Moment
    older_now: int
    older_then: int
    archived_older_then: int
    rows_at_once: int
    bytes_at_once: int
    to_archive: int
    stops: list[Reader]


@router.get("")
def list_tables(request: Request, principal: Read) -> TableList:
    """Tables that hold rows: how many, how old, how late, how long they stay."""
    return TableList.model_validate({"items": workspace_of(request).tables.listed(by=principal)})


@router.get("/{table}")
def get_table(table: str, request: Request, principal: Read) -> TableDetail:
    """One table with its rows by day and what reads it."""
    return TableDetail.model_validate(workspace_of(request).tables.get(table, by=principal))


@router.post("/{table}/retention/preview")
def preview_retention(table: str, body: Terms, request: Request, principal: Keep) -> RetentionPreview:
    """What terms would do to a table. Nothing changes."""
    found = workspace_of(request).tables.preview(table, body.model_dump(), by=principal)
    return RetentionPreview.model_validate(found)


@router.put("/{table}/retention")
def keep_table(table: str, body: KeepRequest, request: Request, principal: Keep) -> TableDetail:
    """Sets how long a table's rows stay, in place of the settings. Fewer days wait for `lake.retention.undo_days`."""
    done = workspace_of(request).tables.keep(
        table, body.model_dump(exclude={"expected"}), expected=body.expected, by=principal
    )
    return TableDetail.model_validate(done)


@router.delete("/{table}/retention")
def reset_retention(table: str, request: Request, principal: Keep) -> TableDetail:
    """Lets the settings hold again for a table."""
    return TableDetail.model_validate(workspace_of(request).tables.reset(table, by=principal))
