"""The routes of Kusto's REST endpoints."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response, StreamingResponse

from tocsin.access import Principal
from tocsin.api.kusto import commands
from tocsin.api.kusto.asked import Asked, read
from tocsin.api.kusto.dataset import Answer, command_v1, version_1, version_2
from tocsin.api.kusto.errors import KustoRoute
from tocsin.api.kusto.show import Context
from tocsin.api.querying import cancellable
from tocsin.api.security import needs, workspace_of
from tocsin.query import RequestOptions, read_options, read_parameters

router = APIRouter(route_class=KustoRoute, include_in_schema=False)

Run = Annotated[Principal, Depends(needs("query.run"))]

_SECONDS = 240.0
"""Kusto's own time limit of a query that sets none."""


@router.post("/v1/rest/query")
async def kusto_query_v1(request: Request, principal: Run) -> Response:
    """Runs a query; answers in version 1."""
    return await _query(request, principal, version_1)


@router.post("/v2/rest/query")
async def kusto_query_v2(request: Request, principal: Run) -> Response:
    """Runs a query; answers in version 2."""
    return await _query(request, principal, version_2)


@router.post("/v1/rest/mgmt")
async def kusto_command(request: Request, principal: Run) -> Response:
    """Runs a management command."""
    asked, context = await _read(request, principal)
    options = _options(asked, context)
    result = await cancellable(request, lambda cancel: commands.run(context, asked, options, cancel))
    return _streamed(asked, command_v1(result))


async def _read(request: Request, principal: Principal) -> tuple[Asked, Context]:
    asked = await read(request)
    request.state.kusto_text = asked.text
    context = Context(workspace_of(request), principal)
    context.check_database(asked.database)
    return asked, context


def _options(asked: Asked, context: Context) -> RequestOptions:
    """The request's options. Without any, a client may have what its role may have, as with Kusto, but not more time than Kusto gives."""
    queries = context.workspace.queries
    most = queries.limits_for(context.principal)
    base = most
    if most.seconds is None or most.seconds > _SECONDS:
        base = replace(most, seconds=_SECONDS, settings={**most.settings, "seconds": "servertimeout"})
    return read_options(asked.text, asked.options, base=base, most=most)


async def _query(request: Request, principal: Principal, write: Callable[[Answer], Iterator[bytes]]) -> Response:
    asked, context = await _read(request, principal)
    options = _options(asked, context)
    parameters = read_parameters(asked.text, asked.parameters)

    def work(cancel: threading.Event) -> Any:
        return context.workspace.queries.run(
            asked.text,
            principal=principal,
            window=options.window,
            parameters=parameters,
            limits=options.limits,
            now=options.now,
            cancel=cancel,
            client_id=asked.ids.client,
            application=asked.application,
        )

    result = await cancellable(request, work)
    results = [result, *result.more]
    cuts = {
        index: r.cut
        for index, r in enumerate(results)
        if r.cut is not None and not (r.cut.code == "QRY0010" and len(r) == options.take)
    }
    return _streamed(asked, write(Answer(results, asked.ids, options, asked.text, cuts)))


def _streamed(asked: Asked, pieces: Iterator[bytes]) -> Response:
    return StreamingResponse(pieces, media_type="application/json; charset=utf-8", headers=asked.ids.headers)
