"""/query: run KQL."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Output

router = APIRouter(tags=["query"])

Run = Annotated[Principal, Depends(needs("query.run"))]


class QueryRequest(Input):
    """A KQL text and the time range of its rows, half-open. Places in an error's `diagnostics` count UTF-16 code units."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)  # places count from the text's beginning

    query: str = Field(max_length=100_000)
    start: datetime | None = None
    end: datetime | None = None
    limit: int | None = Field(default=None, ge=1, le=500_000)


class QueryColumn(Output):
    """A column of the result, with its KQL type."""

    name: str
    type: str


class QueryRender(Output):
    """What `render` asked for."""

    visualization: str
    properties: dict[str, Any] = {}


class QueryAnswer(Output):
    """A result. `truncated`: there were more rows than the limit."""

    columns: list[QueryColumn]
    rows: list[list[Any]]
    truncated: bool
    seconds: float
    render: QueryRender | None = None


@router.post("/query", response_model=QueryAnswer)
async def run_query(body: QueryRequest, request: Request, principal: Run) -> Response:
    """Runs a query. A text that can't run is answered 400 with `diagnostics`."""
    from tocsin.api.querying import run

    return await run(workspace_of(request), body.query, body.start, body.end, body.limit, principal, request)
