"""An incident as people open it: at once however many alerts it has, and the rest of it in pages.

What follows from all alerts together, the graph and the list of things, is made once for a version of the incident and kept while it is looked at.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.base.memory import collector_paused
from tocsin.detect.alert import iso
from tocsin.incidents.load import from_row
from tocsin.incidents.story import fold, graph, story
from tocsin.state import ActivityRow, IncidentRow, Unit

__all__ = ["ACTIVITY", "ALERTS", "Pages"]

ALERTS = 200
"""Alerts that an incident is opened with, the first in time."""

ACTIVITY = 200
"""Entries of the activity log that it is opened with, the newest."""

_KEPT = 64
_STORIES = 16
_KEPT_THINGS = 50_000
"""Incidents whose graphs and lists are kept, of how many the story too, and how many things they name together: some tens of MiB."""
_LARGE = 500
"""Incidents of so many alerts are prepared before somebody opens them: on a busy machine that takes a second and more."""
_TIES = 50
"""Alerts that an edge of the graph names; how many there are it says."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """What follows from all of an incident's alerts."""

    graph: Mapping[str, Any]
    things: Sequence[Mapping[str, Any]]


class Pages:
    """Incidents in pages. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], _Whole] = OrderedDict()
        self._things = 0
        self._folded: OrderedDict[tuple[str, int], Sequence[Mapping[str, Any]]] = OrderedDict()
        self._changed: OrderedDict[str, None] = OrderedDict()
        """Large incidents that changed since they were prepared, the one that waits longest first."""

    def notice(self, rows: Iterable[IncidentRow]) -> None:
        """Is told of incidents that changed."""
        large = [r.id for r in rows if r.promoted and r.alert_count >= _LARGE]
        if large:
            with self._lock:
                self._changed.update(dict.fromkeys(large))
                while len(self._changed) > _KEPT:
                    self._changed.popitem(last=False)

    def prepare(self, unit: Unit) -> None:
        """Makes what follows from all alerts of one large incident that changed."""
        with self._lock:
            if not self._changed:
                return
            incident_id, _ = self._changed.popitem(last=False)
        row = unit.incidents.get(incident_id)
        if row is not None and row.alert_count >= _LARGE:
            self._whole(unit, row)

    def opened(self, unit: Unit, row: IncidentRow) -> dict[str, Any]:
        """The first alerts with their steps of the story, the graph of all, the newest activity, the tasks, and how many of each there are."""
        first = unit.incidents.alerts_page(row.id, limit=ALERTS)
        entries = unit.incidents.activity_page(row.id, limit=ACTIVITY)
        todo = [t.to_dict() for t in unit.incidents.tasks.of(row.id)]
        return {
            "alerts": first,
            "story": _steps(row, first),
            "graph": self._whole(unit, row, first).graph,
            "activity": [entry(a) for a in entries],
            "activity_count": unit.incidents.activity_count(row.id),
            "tasks": todo,
            "tasks_done": sum(t["completed"] is not None for t in todo),
            "tasks_total": len(todo),
        }

    def alerts(
        self,
        unit: Unit,
        row: IncidentRow,
        *,
        after: str = "",
        limit: int = ALERTS,
        severities: Sequence[str] = (),
        text: str = "",
        one: str = "",
        evidence: bool = True,
    ) -> dict[str, Any]:
        """Alerts in time with their steps of the story: those after the alert of that id; of those severities, with that text anywhere in them;
        `one` only that one. Without `evidence` they come without the rows that prove them and say how many there are."""
        wanted: dict[str, Any] = {"severities": severities, "text": text, "one": one}
        found = unit.incidents.alerts_page(row.id, after=after, limit=limit + 1, **wanted)
        page = found[:limit]
        steps = _steps(row, page)
        if not evidence:
            page = [{**a, "events": [], "events_left_out": len(a.get("events", ()))} for a in page]
        return {
            "items": page,
            "story": steps,
            "total": unit.incidents.alerts_count(row.id, **wanted),
            "next": page[-1]["id"] if len(found) > limit else None,
        }

    def things(
        self, unit: Unit, row: IncidentRow, *, kind: str = "", text: str = "", limit: int = 100, offset: int = 0
    ) -> dict[str, Any]:
        """What the alerts name, the most often named first: of that type, with that text in their names or identifiers. With counts by type."""
        words = text.casefold().split()
        fitting = [
            t
            for t in self._whole(unit, row).things
            if all(w in " ".join((t["label"], *t["identifiers"].values())).casefold() for w in words)
        ]
        types: dict[str, int] = {}
        for thing in fitting:
            types[thing["type"]] = types.get(thing["type"], 0) + 1
        chosen = [t for t in fitting if not kind or t["type"] == kind]
        return {"items": chosen[offset : offset + limit], "total": len(chosen), "types": types}

    def steps(self, unit: Unit, row: IncidentRow, *, limit: int = 200, offset: int = 0) -> dict[str, Any]:
        """The story of all alerts in steps, those of one rule on the same things taken together (`tocsin.incidents.story.fold`)."""
        key = (row.id, row.version)
        with self._lock:
            told = self._folded.get(key)
        if told is None:
            with collector_paused():
                incident = from_row(row, unit.incidents.alerts_said_of(row.id))
                told = [r.to_dict() for r in fold(story(incident))]
                del incident
            with self._lock:
                self._folded[key] = told
                while len(self._folded) > _STORIES:
                    self._folded.popitem(last=False)
        return {"items": told[offset : offset + limit], "total": len(told), "alerts": row.alert_count}

    @staticmethod
    def activity(unit: Unit, row: IncidentRow, *, before: int = 0, limit: int = ACTIVITY) -> dict[str, Any]:
        """Entries of the activity log, oldest first: the newest ones before the entry of that number."""
        found = unit.incidents.activity_page(row.id, before=before, limit=limit + 1)
        page = found[-limit:]
        return {
            "items": [entry(a) for a in page],
            "total": unit.incidents.activity_count(row.id),
            "next": page[0].id if len(found) > limit else None,
        }

    def _whole(self, unit: Unit, row: IncidentRow, first: Sequence[dict[str, Any]] = ()) -> _Whole:
        key = (row.id, row.version)
        with self._lock:
            if (known := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return known
        with collector_paused():  # thousands of alerts are many objects, and none of them is garbage before the end
            alerts: Sequence[dict[str, Any]] = (
                first if len(first) == row.alert_count else unit.incidents.alerts_said_of(row.id)
            )
            incident = from_row(row, alerts)
            drawn = graph(incident)
            for edge in drawn["edges"]:
                del edge["alerts"][_TIES:]
            made = _Whole(drawn, [e.to_dict() for e in incident.entities()])
            del alerts, incident
        with self._lock:
            older = [k for k in self._kept if k[0] == row.id]
            for gone in older:
                self._things -= len(self._kept.pop(gone).things)
            self._kept[key] = made
            self._things += len(made.things)
            while len(self._kept) > 1 and (len(self._kept) > _KEPT or self._things > _KEPT_THINGS):
                self._things -= len(self._kept.popitem(last=False)[1].things)
        return made


def entry(row: ActivityRow) -> dict[str, Any]:
    """An entry of the activity log, in the API's shape."""
    return {
        "id": row.id,
        "time": iso(row.time),
        "actor": row.actor,
        "kind": row.kind,
        "text": row.text,
        "detail": dict(row.detail),
    }


def _steps(row: IncidentRow, alerts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    # A step doesn't tell of the rows that prove it, nor of why the alert is there.
    return [s.to_dict() for s in story(from_row(row, [{**a, "events": (), "linked_by": ()} for a in alerts]))]
