"""/query: run KQL."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output
from tocsin.state import NotFoundError, text_of

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


class QueryProblem(Output):
    """Something that the answer lacks: a file that can't be read, days that are archived."""

    code: str
    message: str
    hint: str = ""


class QueryAnswer(Output):
    """A result. `truncated`: there was more than a limit allows; `cut` says which one and where it is set. `problems` say what it lacks besides.

    `queue_seconds`: how long it waited for its turn.
    """

    columns: list[QueryColumn]
    rows: list[list[Any]]
    truncated: bool
    cut: str = ""
    seconds: float
    queue_seconds: float = 0.0
    problems: list[QueryProblem] = []
    render: QueryRender | None = None


class RunningQuery(Output):
    """A query that runs now. `client_id` and `application` are what the client calls the request and itself."""

    id: int
    query: str
    by: str
    started: Moment
    client_id: str = ""
    application: str = ""


class RunningQueries(Output):
    """Running queries, oldest first."""

    items: list[RunningQuery]


@router.post("/query", response_model=QueryAnswer)
async def run_query(body: QueryRequest, request: Request, principal: Run) -> Response:
    """Runs a query. A text that can't run is answered 400 with `diagnostics`."""
    from tocsin.api.querying import run

    return await run(workspace_of(request), body.query, body.start, body.end, body.limit, principal, request)


@router.get("/queries")
def list_queries(request: Request, principal: Run) -> RunningQueries:
    """The caller's running queries; with `query.manage` everybody's, rules' too."""
    items = [
        {
            "id": q.id,
            "query": q.text,
            "by": q.by,
            "started": text_of(q.started),
            "client_id": q.client_id,
            "application": q.application,
        }
        for q in workspace_of(request).queries.visible(principal)
    ]
    return RunningQueries.model_validate({"items": items})


@router.delete("/queries/{query_id}", status_code=204)
def cancel_query(query_id: int, request: Request, principal: Run) -> None:
    """Ends a running query: one's own, or with `query.manage` anybody's. 404 when there is none of that id (any more)."""
    queries = workspace_of(request).queries
    if query_id not in {q.id for q in queries.visible(principal)} or not queries.cancel(query_id):
        raise NotFoundError(f"No query {query_id} of yours runs now.")
