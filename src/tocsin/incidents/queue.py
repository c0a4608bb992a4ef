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
    marks = unit.incidents.marks
    # What came from elsewhere may name more than we know of.
    asked = (
        ("status", wanted.statuses, lambda: tuple(Status)),
        ("severity", wanted.severities, lambda: SEVERITIES),
        ("tactic", wanted.tactics, lambda: (*TACTICS, *marks.known("tactic"))),
        ("type of entity", wanted.entity_types, lambda: (*ENTITY_IDENTIFIERS, *marks.known("type"))),
    )
    for name, given, known in asked:
        for value in given:
            if value not in known():
                raise _none(name, value, tuple(dict.fromkeys(known())))
    return wanted


def _none(name: str, value: str, known: Sequence[str]) -> UsageError:
    hint = did_you_mean(value, known) or f"One of {', '.join(known)}."
    return UsageError(f"No incident has the {name} {value!r}.", code="INC0007", hint=hint)


def known_values(unit: Unit) -> dict[str, list[str]]:
    """What incidents can be filtered by: the values that any has, in order; of tags at most 500."""
    marks = unit.incidents.marks
    kinds = {"tactics": "tactic", "products": "product", "entity_types": "type"}
    return {
        **{name: list(marks.known(kind)) for name, kind in kinds.items()},
        "tags": unit.incidents.known_tags(most=_MOST_TAGS),
    }
