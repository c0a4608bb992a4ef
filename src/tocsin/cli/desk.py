"""What the incident commands ask for, wherever they work: see `incident_desks`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tocsin.cli.output import say

__all__ = ["Desk"]


class Desk(ABC):
    """What the commands ask for. Incidents are named by number (with or without #) or id; errors are the API's."""

    @abstractmethod
    def proof(self, which: str, *, pdf: bool) -> bytes:
        """Its proof as a file; see `tocsin.incidents.export`."""

    @abstractmethod
    def page(self, **wanted: Any) -> Mapping[str, Any]:
        """A page of the queue."""

    @abstractmethod
    def show(self, which: str) -> dict[str, Any]:
        """One incident in full."""

    @abstractmethod
    def read(self, which: str, what: str, **wanted: Any) -> Mapping[str, Any]:
        """A part of its page: alerts, entities, story, narrative, priority, processes or reach, in the API's shape and by the API's parameters."""

    @abstractmethod
    def log(self, which: str) -> Sequence[Mapping[str, Any]]:
        """Its log, oldest first."""

    @abstractmethod
    def graph(self, which: str) -> Mapping[str, Any]:
        """Its things, and the alerts that name two of them."""

    @abstractmethod
    def metrics(self, start: datetime, end: datetime, by: str) -> Mapping[str, Any]:
        """The figures of a period."""

    @abstractmethod
    def neighbours(self, which: str) -> Mapping[str, Any]:
        """What else would join it (`items`), and what was moved out of it (`moved`)."""

    @abstractmethod
    def edit(self, which: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Changes members; the incident as it is then."""

    @abstractmethod
    def perform(self, kind: str, given: Mapping[str, Any], which: str) -> dict[str, Any]:
        """Does one of the incident actions that need no approval; the incident as it is then."""

    @abstractmethod
    def preview_merge(self, which: str, sources: Sequence[str]) -> Mapping[str, Any]:
        """What a merge would make."""

    @abstractmethod
    def actions(self, which: str) -> Sequence[Mapping[str, Any]]:
        """What was done to it, newest first, edits too."""

    @abstractmethod
    def undo(self, action: str) -> Mapping[str, Any]:
        """Takes an action back; the action as it is then."""

    @abstractmethod
    def tune(self, what: str, *given: Any) -> Any:
        """Asks for weights or sets them: weights, preview, set, history, undo, report."""

    @abstractmethod
    def assets(self) -> Sequence[Mapping[str, Any]]:
        """The hosts and accounts that matter, by which rule."""

    @abstractmethod
    def id_of(self, which: str) -> str:
        """The id behind a number or id."""

    @abstractmethod
    def brief(self, which: str) -> Mapping[str, Any] | None:
        """Its id, number and `redirect_to`; None where there is none."""

    def holder(self, which: str) -> str:
        """The id of the incident that has its alerts: where it was merged, the one that it was merged into, which is said."""
        found = self.brief(which)
        if found is None or not found["redirect_to"]:
            return which if found is None else str(found["id"])
        there = self.brief(str(found["redirect_to"])) or {"number": "?"}
        say(f"#{found['number']} was merged into #{there['number']}; this is #{there['number']}.", error=True)
        return str(found["redirect_to"])
