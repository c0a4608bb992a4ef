"""What the queue can be asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tocsin.base.errors import UsageError, did_you_mean
from tocsin.detect.alert import SEVERITIES, TACTICS
from tocsin.incidents.model import Status
from tocsin.state import GroupRow, IncidentFilter, Unit, UserRow
from tocsin.tables.entities import ENTITY_IDENTIFIERS

__all__ = ["ME", "checked", "known_values", "possible", "whose"]

ME = "@me"
"""What a filter calls the one who asks, with the groups that they are in. No user or group can have that name."""
_MOST_TAGS = 500


def whose(unit: Unit, owner: str, me: str) -> str:
    """The owners that a filter names, `@me` among them spelt out as the user `me` and their groups; UsageError INC0007 for a name of nobody."""
    names: list[str] = []
    for name in (n.strip() for n in owner.split(",")):
        if name == ME:
            if not me:
                raise UsageError(f"Nobody is signed in whom {ME} could mean.", code="INC0007", hint="Name the user.")
            names += (me, *unit.groups.of(me))
        elif name:
            names.append(_owner(unit, name))
    return ",".join(dict.fromkeys(names))


def _owner(unit: Unit, name: str) -> str:
    if name == "none":
        return name
    found: UserRow | GroupRow | None = unit.users.get(name) or unit.groups.get(name)
    if found is not None:
        return found.name
    if unit.incidents.any_of(name):
        return name  # a state that was brought over without its users
    hint = did_you_mean(name, unit.groups.owners())
    raise UsageError(f"No user or group is named {name!r}.", code="INC0007", hint=hint)


def checked(unit: Unit, wanted: IncidentFilter) -> IncidentFilter:
    """The filter itself; UsageError INC0007 for a status, severity, tactic or type of entity that no incident can have."""
    possible(unit, "status", wanted.statuses)
    possible(unit, "severity", wanted.severities)
    possible(unit, "tactic", wanted.tactics)
    possible(unit, "type of entity", wanted.entity_types)
    return wanted


def possible(unit: Unit, name: str, given: Sequence[str], *, of: str = "incident") -> None:
    """UsageError INC0007 for a value that no incident (no alert, as `of` says) can have as its status, severity, tactic or type of entity."""
    usual, kind = _POSSIBLE[name]
    if set(given) <= set(usual):
        return
    # What came from elsewhere may name more than we know of.
    known = tuple(dict.fromkeys((*usual, *(unit.incidents.marks.known(kind) if kind else ()))))
    for value in given:
        if value not in known:
            hint = did_you_mean(value, known) or f"One of {', '.join(known)}."
            raise UsageError(f"No {of} has the {name} {value!r}.", code="INC0007", hint=hint)


_POSSIBLE: Mapping[str, tuple[Sequence[str], str]] = {
    "status": (tuple(Status), ""),
    "severity": (SEVERITIES, ""),
    "tactic": (TACTICS, "tactic"),
    "type of entity": (tuple(ENTITY_IDENTIFIERS), "type"),
}
"""What each may be, and the kind of mark that tells what others there are."""


def known_values(unit: Unit) -> dict[str, list[str]]:
    """What incidents can be filtered by: the values that any has, in order; of tags at most 500."""
    marks = unit.incidents.marks
    kinds = {"tactics": "tactic", "products": "product", "entity_types": "type"}
    return {
        **{name: list(marks.known(kind)) for name, kind in kinds.items()},
        "tags": unit.incidents.known_tags(most=_MOST_TAGS),
    }
