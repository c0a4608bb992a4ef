"""Asks the tables what could be reached from what an incident holds (see `tocsin.incidents.reach`), as the asker may see it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Protocol

from tocsin.access.errors import ForbiddenError
from tocsin.base.errors import TocsinError
from tocsin.content import REACH_PARAMETERS, Content, IncidentFile
from tocsin.detect.alert import iso
from tocsin.incidents.desk import shown
from tocsin.incidents.load import from_row
from tocsin.incidents.priority import Judge
from tocsin.incidents.reach import REACH_KINDS, Reach, Start, starts_of, window_of, with_hosts
from tocsin.lake.engine import Limits
from tocsin.query import QueryService
from tocsin.state import State

__all__ = ["reach"]

_SECONDS = 20.0
_LIMITS = Limits(rows=2000, seconds=_SECONDS)
_AT_ONCE = 3


class Parts(Protocol):
    """The parts of the workspace that are asked."""

    queries: QueryService
    state: State


def reach(
    parts: Parts,
    content: Content,
    judge: Judge | None,
    incident_id: str,
    *,
    principal: Any = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """What could be reached from the incident's accounts and machines `at` this moment, each thing with the ways to it; of what nothing is known
    because no row tells of it, and what failed. `seconds`: so long it may take; what isn't asked by then failed. NotFoundError: no such incident."""
    now = parts.state.clock.now()
    with parts.state.read() as unit:
        incident = from_row(shown(unit, incident_id), unit.incidents.alerts_of(incident_id))
        if not incident.alerts:
            starts, left_out = {k: list[Start]() for k in REACH_KINDS}, dict.fromkeys(REACH_KINDS, 0)
        else:
            starts, left_out = starts_of(unit, incident.entities())
    found = Reach(incident, judge)
    asked = _Asked(parts.queries, content, principal, seconds)
    window = None
    if incident.alerts:
        window = window_of(incident, now)
        asked.ask(parts.state, found, starts, window, hops=1)
        with parts.state.read() as unit:
            further, _ = starts_of(unit, found.next_things())
        asked.ask(parts.state, found, further, window, hops=2)
    return {
        "at": iso(now),
        "from": iso(window[0]) if window else None,
        "to": iso(window[1]) if window else None,
        "starts": [s.to_dict() for kind in REACH_KINDS for s in starts[kind]],
        "starts_left_out": sum(left_out.values()),
        **found.to_dict(),
        "unknown": asked.unknown,
        "failed": asked.failed,
    }


class _Asked:
    """The questions of content, and what came of them."""

    def __init__(self, queries: QueryService, content: Content, principal: Any, seconds: float | None) -> None:
        self._queries, self._principal = queries, principal
        self._until = None if seconds is None else time.monotonic() + seconds
        self._items = [i for i in content.incidents if i.kind == "reach"]
        self.unknown: list[dict[str, str]] = []
        self.failed: list[dict[str, str]] = []
        self._empty: dict[str, bool] = {}

    def ask(
        self,
        state: State,
        found: Reach,
        starts: dict[str, list[Start]],
        window: tuple[datetime, datetime],
        *,
        hops: int,
    ) -> None:
        """Asks from all of those, and lets `found` take what rows say."""
        items = [i for i in self._items if starts.get(str(i.document.value.get("entity")))]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = list(pool.map(lambda i: self._rows(i, starts[str(i.document.value["entity"])], window), items))
        for item, (rows, problem, empty) in zip(items, answers, strict=True):
            name = str(item.document.value.get("name") or item.id)
            if problem and not any(f["name"] == name for f in self.failed):
                self.failed.append({"name": name, "why": problem})
            if empty and hops == 1:
                self.unknown.append({"name": name, "why": f"no row of {' or '.join(empty)} in this time"})
            with state.read() as unit:
                named = with_hosts(unit, rows)
            found.take(named, name, starts[str(item.document.value["entity"])], hops=hops)

    def _rows(
        self, item: IncidentFile, starts: Sequence[Start], window: tuple[datetime, datetime]
    ) -> tuple[list[dict[str, Any]], str, list[str]]:
        """The rows; what to say of a query that failed or was cut; and its tables, when none of them has a row."""
        text = REACH_PARAMETERS + str(item.document.value["query"])
        given = {
            "Names": [n for s in starts for n in s.names],
            "Bare": [n for s in starts for n in s.bare],
            "Start": window[0],
            "End": window[1],
        }
        limits = _LIMITS
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                return [], "There was no time left to ask.", []
            limits = Limits(rows=_LIMITS.rows, seconds=min(_SECONDS, left))
        try:
            result = self._queries.run(text, principal=self._principal, parameters=given, limits=limits)
            rows = result.dicts()
            empty = [] if rows else self._tables_if_empty(text, given, window)
        except ForbiddenError as error:
            return [], error.message, []
        except TocsinError as error:
            return [], f"{error.message} {error.hint}".strip(), []
        cut = f"More than {_LIMITS.rows} rows; the rest isn't looked at." if result.truncated else ""
        return rows, cut, empty

    def _tables_if_empty(self, text: str, given: dict[str, Any], window: tuple[datetime, datetime]) -> list[str]:
        tables = sorted(self._queries.compile(text, parameters=given).tables)
        for table in tables:
            if table not in self._empty:
                one = f"['{table}'] | where TimeGenerated <= datetime({iso(window[1])}) | take 1"
                self._empty[table] = not self._queries.run(one, principal=self._principal, limits=_LIMITS).dicts()
        return tables if all(self._empty[t] for t in tables) else []
