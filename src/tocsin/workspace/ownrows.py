"""Rows that Tocsin writes about itself, through the same intake as everybody's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import orjson
import structlog

from tocsin.base.clock import Clock
from tocsin.ingest.pipeline import Intake, IntakeBusyError
from tocsin.lake import Body

__all__ = ["OwnRows"]

_log = structlog.get_logger("tocsin.workspace.ownrows")
_OWN = "tocsin"


class OwnRows:
    """Submits rows of tables of our own."""

    def __init__(self, intake: Intake, clock: Clock) -> None:
        self._intake = intake
        self._clock = clock

    def write(self, table: str, rows: Sequence[Mapping[str, Any]], *, request: str = "") -> bool:
        """False when intake is busy and they have to wait.

        With a `request` they are taken once under that key, and this waits until they are durable.
        """
        if not rows:
            return True
        data = b"\n".join(orjson.dumps(dict(r), default=str) for r in rows)
        meta = {"table": table, "token": _OWN, **({"request": request} if request else {})}
        requests = self._intake.requests
        if request and (pending := requests.begin(request)) is not None:
            return pending.result()
        future: Future[int] | None = None
        try:
            future = self._intake.submit([Body("jsonl", data, self._clock.now(), meta)])
            if request:
                future.result()
        except IntakeBusyError:
            _log.warning("ownrows.refused", table=table, rows=len(rows))
            return False
        finally:
            if request:
                done = future is not None and future.done() and future.exception() is None
                (requests.durable if done else requests.abandon)(request)
        return True
