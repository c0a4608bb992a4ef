"""What the queue can be asked for."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.base.errors import UsageError, did_you_mean
from tocsin.detect.alert import SEVERITIES, TACTICS
from tocsin.incidents.model import Status
from tocsin.state import IncidentFilter, Unit
from tocsin.tables.entities import ENTITY_IDENTIFIERS

__all__ = ["checked", "known_values"]

_MOST_TAGS = 500


def checked(unit: Unit, wanted: IncidentFilter) -> IncidentFilter:
    """The filter itself; UsageError INC0007 for a status, severity, tactic or type of entity that no incident can have."""
    asked: tuple[tuple[str, Sequence[str], Sequence[str], str], ...] = (
        ("status", wanted.statuses, tuple(Status), ""),
        ("severity", wanted.severities, SEVERITIES, ""),
        ("tactic", wanted.tactics, TACTICS, "tactic"),
        ("type of entity", wanted.entity_types, tuple(ENTITY_IDENTIFIERS), "type"),
    )
    for name, given, usual, kind in asked:
        if set(given) <= set(usual):
            continue
        # What came from elsewhere may name more than we know of.
        known = tuple(dict.fromkeys((*usual, *(unit.incidents.marks.known(kind) if kind else ()))))
        for value in given:
            if value not in known:
                hint = did_you_mean(value, known) or f"One of {', '.join(known)}."
                raise UsageError(f"No incident has the {name} {value!r}.", code="INC0007", hint=hint)
    return wanted


def known_values(unit: Unit) -> dict[str, list[str]]:
    """What incidents can be filtered by: the values that any has, in order; of tags at most 500."""
    marks = unit.incidents.marks
    kinds = {"tactics": "tactic", "products": "product", "entity_types": "type"}
    return {
        **{name: list(marks.known(kind)) for name, kind in kinds.items()},
        "tags": unit.incidents.known_tags(most=_MOST_TAGS),
    }
