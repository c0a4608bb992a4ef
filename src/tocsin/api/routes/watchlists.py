"""/watchlists: lists that rules ask with _GetWatchlist, and that people edit."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output

router = APIRouter(prefix="/watchlists", tags=["watchlists"])

Write = Annotated[Principal, Depends(needs("rules.write"))]
_Value = Annotated[str, Field(max_length=10_000)]


class WatchlistSummary(Output):
    """A watchlist. `search_key` is the column that joins use; `pack` the pack that brought it, or `site`."""

    alias: str
    columns: list[str]
    search_key: str
    items_count: int
    pack: str
    source: str


class WatchlistItem(Output):
    """A row of a watchlist."""

    id: str
    search_key: str = ""
    values: dict[str, str]


class Watchlist(WatchlistSummary):
    """A watchlist with some of its items; `matching` counts those that hold the text that was asked for."""

    items: list[WatchlistItem]
    matching: int = 0


class WatchlistList(Output):
    """All watchlists."""

    items: list[WatchlistSummary]


class WatchlistImport(Input):
    """A watchlist as CSV with a header."""

    csv: str = Field(max_length=50_000_000)
    search_key: str = Field(default="", max_length=128)


class WatchlistTrial(WatchlistImport):
    """A watchlist to look at before it is made."""

    alias: str = Field(default="", max_length=128)


class LineProblem(Output):
    """What is wrong with a line of the CSV."""

    line: int
    message: str


class WatchlistPreview(Output):
    """What an import would make: the first items, how often a search key comes again or is empty, what is wrong where, what it would replace."""

    columns: list[str]
    search_key: str
    items_count: int
    items: list[dict[str, str]]
    duplicates: int
    empty_keys: int
    problems: list[LineProblem]
    problems_count: int
    replaces: WatchlistSummary | None = None


class WatchlistChange(Output):
    """An entry of the audit trail about a watchlist or an item of it."""

    seq: int
    time: Moment
    actor: str
    action: str
    item: str = ""
    before: Any = None
    after: Any = None


class WatchlistChanges(Output):
    """Who changed a watchlist, newest first."""

    items: list[WatchlistChange]


class ItemValues(Input):
    """Values of an item by column."""

    values: dict[str, _Value] = Field(min_length=1, max_length=200)


@router.get("", dependencies=[Depends(needs("rules.read"))])
def list_watchlists(request: Request) -> WatchlistList:
    """Every watchlist."""
    return WatchlistList.model_validate({"items": workspace_of(request).watchlists.list()})


@router.get("/{alias}", dependencies=[Depends(needs("rules.read"))])
def get_watchlist(
    alias: str,
    request: Request,
    skip: Annotated[int, Field(ge=0)] = 0,
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1_000,
    q: Annotated[str, Field(max_length=1_000)] = "",
) -> Watchlist:
    """A watchlist with its items, `limit` of them from `skip` on, of those that hold `q`."""
    return Watchlist.model_validate(workspace_of(request).watchlists.get(alias, skip=skip, limit=limit, text=q))


@router.get("/{alias}/history", dependencies=[Depends(needs("rules.read"))])
def get_history(alias: str, request: Request, limit: Annotated[int, Field(ge=1, le=500)] = 100) -> WatchlistChanges:
    """Who changed the watchlist and its items."""
    return WatchlistChanges.model_validate({"items": workspace_of(request).watchlists.history(alias, limit=limit)})


@router.post("/preview", dependencies=[Depends(needs("rules.read"))])
def preview_watchlist(body: WatchlistTrial, request: Request) -> WatchlistPreview:
    """What an import would make, and what is wrong with which line; nothing is changed."""
    book = workspace_of(request).watchlists
    return WatchlistPreview.model_validate(book.check(body.alias, body.csv, search_key=body.search_key))


@router.put("/{alias}")
def put_watchlist(alias: str, body: WatchlistImport, request: Request, principal: Write) -> Watchlist:
    """Makes or replaces a watchlist. The next run of a rule sees it."""
    made = workspace_of(request).watchlists.put(alias, body.csv, search_key=body.search_key, by=principal)
    return Watchlist.model_validate(made)


@router.delete("/{alias}", status_code=204)
def delete_watchlist(alias: str, request: Request, principal: Write) -> None:
    """Deletes a watchlist of the site folder."""
    workspace_of(request).watchlists.delete(alias, by=principal)


@router.post("/{alias}/items", status_code=201)
def add_item(alias: str, body: ItemValues, request: Request, principal: Write) -> WatchlistItem:
    """Adds an item."""
    return WatchlistItem.model_validate(workspace_of(request).watchlists.add(alias, body.values, by=principal))


@router.patch("/{alias}/items/{item_id}")
def change_item(alias: str, item_id: str, body: ItemValues, request: Request, principal: Write) -> WatchlistItem:
    """Changes values of an item."""
    made = workspace_of(request).watchlists.change(alias, item_id, body.values, by=principal)
    return WatchlistItem.model_validate(made)


@router.delete("/{alias}/items/{item_id}", status_code=204)
def remove_item(alias: str, item_id: str, request: Request, principal: Write) -> None:
    """Removes an item."""
    workspace_of(request).watchlists.remove(alias, item_id, by=principal)
