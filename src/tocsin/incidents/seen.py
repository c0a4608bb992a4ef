"""An incident as automation looks at it: the queue's facts at once, its alerts, its comments and all that it names only when a rule asks for them.

A storm adds alerts to one incident by the thousand, and each addition is an event that rules look at. What the incident is shown with, the graph and
the story of its first alerts, is neither needed for that nor enough: a rule may ask for the last alert of five thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tocsin.incidents.load import from_row
from tocsin.incidents.pages import entry
from tocsin.state import IncidentRow, State

__all__ = ["Seen"]


class Seen(Mapping[str, Any]):
    """The members of `summary`, and `alerts` (all, in time), `activity` (all) and `entities` (all, the most often named first).

    Those are read from the database when they are first asked for, and kept. StateError when it can't be asked.
    """

    def __init__(self, state: State, row: IncidentRow, facts: Mapping[str, Any], before: Seen | None = None) -> None:
        """`facts` are the queue's of that row. What was read for `before` is taken from it when that is the same incident, unchanged."""
        self._state = state
        self._row = row
        self._known = dict(facts)
        self._late: dict[str, Callable[[], Any]] = {"alerts": self._alerts, "activity": self._activity}
        if facts["entity_count"] > len(facts["entities"]):
            self._late["entities"] = self._entities
        if before is not None and (before._row.id, before._row.version) == (row.id, row.version):
            # Comments come without a new version.
            for name in {"alerts", "entities"} & {*self._late} - {*before._late}:
                self._known[name] = before._known[name]
                del self._late[name]

    def __getitem__(self, name: str) -> Any:
        if (load := self._late.pop(name, None)) is not None:
            self._known[name] = load()
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._known, **self._late})

    def __len__(self) -> int:
        return len({**self._known, **self._late})

    def _alerts(self) -> list[dict[str, Any]]:
        with self._state.read() as unit:
            return unit.incidents.alerts_of(self._row.id)

    def _activity(self) -> list[dict[str, Any]]:
        with self._state.read() as unit:
            return [entry(a) for a in unit.incidents.activity_of(self._row.id)]

    def _entities(self) -> list[dict[str, Any]]:
        return [e.to_dict() for e in from_row(self._row, self["alerts"]).entities()]
