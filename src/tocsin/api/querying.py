"""Running queries for people: in threads of their own, ended when the asker goes away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from fastapi import Request
from starlette.responses import Response

from tocsin.access import Principal
from tocsin.api.ports import Workspace
from tocsin.api.security import workspace_of
from tocsin.api.wire import to_json
from tocsin.base.priority import yield_to_others
from tocsin.lake.engine import Window
from tocsin.query import read_options

__all__ = ["cancellable", "run"]

_LOOK = 0.25
"""Seconds between looks whether the asker is still there."""

_POOL = ThreadPoolExecutor(max_workers=64, thread_name_prefix="tocsin-query")
"""Apart from the threads that answer everything else, so that long queries don't stop a sign-in. Most of them only wait for their turn:
`query.concurrent` says how many run."""

Result = TypeVar("Result")


async def cancellable(request: Request, work: Callable[[threading.Event], Result]) -> Result:
    """What `work` gives, in a thread of the pool that yields to intake and rules; its event is set when the asker goes away."""
    cancel = threading.Event()
    niceness = workspace_of(request).queries.settings.niceness

    def yielding() -> Result:
        yield_to_others(niceness)
        return work(cancel)

    running = asyncio.get_running_loop().run_in_executor(_POOL, yielding)
    try:
        while not (await asyncio.wait({running}, timeout=_LOOK))[0]:
            if await request.is_disconnected():
                cancel.set()
    except asyncio.CancelledError:
        cancel.set()
        raise
    return running.result()


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
    answer = await cancellable(request, lambda cancel: _answer(workspace, text, start, end, limit, principal, cancel))
    return Response(answer, media_type="application/json")


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
    queries = workspace.queries
    base = queries.settings.limits
    if limit is not None:
        base = replace(base, rows=limit, settings={**base.settings, "rows": "limit"})
    options = read_options(text, {}, base=base, most=queries.limits_for(principal))
    result = queries.run(
        text,
        principal=principal,
        window=window or options.window,
        limits=options.limits,
        now=options.now,
        cancel=cancel,
        application="portal" if principal.kind == "user" else "",
    )
    cut = result.cut if result.cut is None or options.take != len(result) else None
    render = getattr(result, "render", None)
    return to_json(
        {
            "columns": [{"name": c.name, "type": str(c.type)} for c in result.columns],
            "rows": result.rows(),
            "truncated": cut is not None,
            "cut": f"{cut.message} {cut.hint}".strip() if cut is not None else "",
            "seconds": round(result.seconds, 6),
            "queue_seconds": round(result.queued, 6),
            "problems": [{"code": p.code, "message": p.message, "hint": str(p.hint)} for p in result.problems],
            "render": None
            if render is None
            else {"visualization": render.visualization, "properties": dict(render.properties)},
        }
    )


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
