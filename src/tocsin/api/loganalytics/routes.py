"""The routes of the Log Analytics query API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response, StreamingResponse

from tocsin.access import Principal
from tocsin.api.body import json_object
from tocsin.api.loganalytics import answers
from tocsin.api.loganalytics.asked import Asked, asked_of, check_workspace, window_of
from tocsin.api.loganalytics.errors import LogAnalyticsRoute, error_object, ids_of
from tocsin.api.ports import Workspace
from tocsin.api.querying import cancellable
from tocsin.api.security import needs, workspace_of
from tocsin.base.errors import TocsinError, UsageError
from tocsin.query import read_options

router = APIRouter(route_class=LogAnalyticsRoute, include_in_schema=False)

Run = Annotated[Principal, Depends(needs("query.run"))]

MAX_BODY = 4 << 20
"""Bytes of a request; a batch holds up to a hundred queries."""
_SECONDS = 180.0
"""The service's own time limit of a query that sets none."""
_BATCH = 100
_TOGETHER = 4
"""Queries of one batch that run at the same time."""


@router.post("/v1/workspaces/{workspace_id}/query")
async def query_workspace(workspace_id: str, request: Request, principal: Run) -> Response:
    """Runs a query."""
    return await _query(workspace_id, await json_object(request, MAX_BODY), request, principal)


@router.get("/v1/workspaces/{workspace_id}/query")
async def get_query_workspace(workspace_id: str, request: Request, principal: Run) -> Response:
    """Runs a query that stands in the address."""
    given = request.query_params
    body: dict[str, Any] = {"query": given.get("query"), "timespan": given.get("timespan")}
    if workspaces := given.get("workspaces"):
        body["workspaces"] = [w.strip() for w in workspaces.split(",")]
    return await _query(workspace_id, body, request, principal)


@router.post("/v1/subscriptions/{resource:path}/query")
async def query_resource(resource: str, request: Request, principal: Run) -> Response:
    """Runs a query on a resource by its Azure id, which can only be a workspace here."""
    return await _query(_workspace_in(resource), await json_object(request, MAX_BODY), request, principal)


@router.get("/subscriptions/{resource:path}/tables")
def resource_tables(resource: str, request: Request, principal: Run) -> Response:
    """The workspace's tables, asked the way of Azure Resource Manager. msticpy reads its schema here."""
    workspace = workspace_of(request)
    check_workspace(workspace, _workspace_in(resource))
    found = orjson.dumps(answers.resource_tables(workspace, principal, resource))
    return Response(found, media_type="application/json", headers=ids_of(request))


@router.get("/v1/workspaces/{workspace_id}/metadata")
@router.post("/v1/workspaces/{workspace_id}/metadata")
def workspace_metadata(workspace_id: str, request: Request, principal: Run) -> Response:
    """Tables and functions that queries can name."""
    workspace = workspace_of(request)
    check_workspace(workspace, workspace_id)
    found = orjson.dumps(answers.metadata(workspace, principal))
    return Response(found, media_type="application/json", headers=ids_of(request))


@router.post("/v1/$batch")
async def query_batch(request: Request, principal: Run) -> Response:
    """Runs several queries; each has its own status."""
    given = (await json_object(request, MAX_BODY)).get("requests")
    if not isinstance(given, list) or not all(isinstance(r, dict) for r in given):
        raise UsageError("The request has no list of 'requests'.", code="USE0022")
    if len(given) > _BATCH:
        raise UsageError(f"A batch has at most {_BATCH} requests, not {len(given)}.", code="USE0022")
    together = asyncio.Semaphore(_TOGETHER)

    async def one(part: Mapping[str, Any]) -> bytes:
        async with together:
            return await _part(part, request, principal)

    parts = await asyncio.gather(*(one(p) for p in given))
    return Response(
        b'{"responses":[' + b",".join(parts) + b"]}", media_type="application/json", headers=ids_of(request)
    )


async def _part(part: Mapping[str, Any], request: Request, principal: Principal) -> bytes:
    """The answer to one request of a batch."""
    workspace = workspace_of(request)
    try:
        if str(part.get("path", "/query")).strip("/").lower() != "query":
            raise UsageError("'path' is /query: nothing else can be asked in a batch.", code="USE0022")
        check_workspace(workspace, str(part.get("workspace", "")))
        body, headers = part.get("body"), part.get("headers") or {}
        if not isinstance(body, dict) or not isinstance(headers, dict):
            raise UsageError("'body' and 'headers' are JSON objects.", code="USE0022")
        prefer = next((str(v) for k, v in headers.items() if str(k).lower() == "prefer"), "")
        asked = asked_of(body, prefer, workspace)
        result = await cancellable(request, lambda cancel: _run(workspace, asked, principal, request, cancel))
        status, answer = 200, b"".join(answers.body(result, asked.preferences))
    except TocsinError as error:
        status, found = error_object(error, ids_of(request)["x-ms-request-id"])
        answer = orjson.dumps({"error": found})
    head = {"id": str(part.get("id", "")), "status": status, "headers": {}}
    return orjson.dumps(head)[:-1] + b',"body":' + answer + b"}"


def _workspace_in(resource: str) -> str:
    """The workspace's name in an Azure resource id."""
    kind, _, name = resource.rpartition("/")
    if not kind.lower().endswith("/providers/microsoft.operationalinsights/workspaces"):
        raise UsageError(
            f"'{resource[:200]}' is no workspace: queries by other Azure resources are not supported.", code="USE0023"
        )
    return name


async def _query(workspace_id: str, body: Mapping[str, Any], request: Request, principal: Principal) -> Response:
    workspace = workspace_of(request)
    check_workspace(workspace, workspace_id)
    asked = asked_of(body, request.headers.get("prefer", ""), workspace)
    result = await cancellable(request, lambda cancel: _run(workspace, asked, principal, request, cancel))
    pieces = answers.body(result, asked.preferences)
    return StreamingResponse(pieces, media_type="application/json; charset=utf-8", headers=ids_of(request))


def _run(workspace: Workspace, asked: Asked, principal: Principal, request: Request, cancel: threading.Event) -> Any:
    now = workspace.clock.now()
    most = workspace.queries.limits_for(principal)
    wanted = asked.preferences.wait or _SECONDS
    base = most
    if most.seconds is None or wanted < most.seconds:
        base = replace(most, seconds=wanted, settings={**most.settings, "seconds": "Prefer: wait"})
    options = read_options(asked.text, {}, base=base, most=most)
    window = window_of(asked.timespan, now) if asked.timespan is not None else options.window
    return workspace.queries.run(
        asked.text,
        principal=principal,
        window=window,
        limits=options.limits,
        now=options.now or now,
        cancel=cancel,
        client_id=ids_of(request).get("x-ms-client-request-id", ""),
        application=request.headers.get("x-ms-app", request.headers.get("user-agent", ""))[:256],
    )
