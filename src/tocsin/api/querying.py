"""Running queries for people: in threads of their own, ended when the asker goes away."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

from fastapi import Request
from starlette.responses import Response

from tocsin.access import Principal
from tocsin.api.ports import Workspace
from tocsin.api.wire import to_json
from tocsin.lake.engine import Window

__all__ = ["run"]

_LOOK = 0.25
"""Seconds between looks whether the asker is still there."""

_POOL = ThreadPoolExecutor(max_workers=8, thread_name_prefix="tocsin-query")
"""Apart from the threads that answer everything else, so that eight long queries don't stop a sign-in."""


async def run(
    workspace: Workspace,
    text: str,
    start: datetime | None,
    end: datetime | None,
    limit: int | None,
    principal: Principal,
    request: Request,
) -> Response:
    """The answer to a query, as bytes: rows don't pass through models."""
    cancel = threading.Event()
    loop = asyncio.get_running_loop()
    work = loop.run_in_executor(_POOL, _answer, workspace, text, start, end, limit, principal, cancel)
    try:
        while not (await asyncio.wait({work}, timeout=_LOOK))[0]:
            if await request.is_disconnected():
                cancel.set()
    except asyncio.CancelledError:
        cancel.set()
        raise
    return Response(work.result(), media_type="application/json")


def _answer(
    workspace: Workspace,
    text: str,
    start: datetime | None,
    end: datetime | None,
    limit: int | None,
    principal: Principal,
    cancel: threading.Event,
) -> bytes:
    window = Window(_utc(start), _utc(end)) if start is not None or end is not None else None
    limits = replace(workspace.queries.settings.limits, rows=limit) if limit is not None else None
    result = workspace.queries.run(text, principal=principal, window=window, limits=limits, cancel=cancel)
    render = getattr(result, "render", None)
    return to_json(
        {
            "columns": [{"name": c.name, "type": str(c.type)} for c in result.columns],
            "rows": result.rows(),
            "truncated": result.truncated,
            "seconds": round(result.seconds, 6),
            "render": None
            if render is None
            else {"visualization": render.visualization, "properties": dict(render.properties)},
        }
    )


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
