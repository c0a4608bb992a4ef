"""By what the queue is filtered beside an incident's own columns: its tactics, the products that reported it, and the types of its entities.

A projection of the row, written with it (`IncidentWrites`, `Incidents.put`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, bindparam, delete, func, literal, or_, select

from tocsin.state.incident_rows import IncidentFilter, IncidentRow
from tocsin.state.incident_search import known_by_index
from tocsin.state.repository import Repository, no_more_than
from tocsin.state.schema import incident_marks
from tocsin.state.types import plain

__all__ = ["FEW", "KINDS", "IncidentMarks"]

KINDS = ("tactic", "product", "type")
"""What a mark may be of; "type" is an entity's."""

_MEMBERS: Mapping[str, str] = {"tactic": "tactics", "product": "products", "type": "entity_types"}
"""What a filter calls several of a kind."""
_TOGETHER = 500
_LONGEST = 256
FEW = 5_000
"""As many incidents are put in order after they were found; of more, a page of the queue finds enough on its way through the order."""


def marks_of(row: IncidentRow) -> set[tuple[str, str]]:
    """Kind and value of each mark of a row."""
    held = row.payload
    types = held.get("types") or {e["type"] for e in held.get("entities", ())}
    named = (held.get("tactics", ()), held.get("products", ()), types)
    return {(kind, plain(str(value))[:_LONGEST]) for kind, values in zip(KINDS, named, strict=True) for value in values}


def _kinds(wanted: IncidentFilter) -> Iterator[tuple[str, Sequence[str]]]:
    for kind, name in _MEMBERS.items():
        if values := getattr(wanted, name):
            yield kind, [v[:_LONGEST] for v in values]


def _held(kind: str, values: Sequence[str]) -> Select[Any]:
    return select(incident_marks.c.incident_id).where(incident_marks.c.kind == kind, incident_marks.c.value.in_(values))


def _distinct(held: Select[Any], values: Sequence[str]) -> Select[Any]:
    """Each once; what has one value has it once."""
    return held.distinct() if len(values) > 1 else held


def _name(wanted: IncidentFilter) -> str:
    return plain(wanted.entity.strip().casefold())


def _line(rows: FromClause, name: str) -> ColumnElement[bool]:
    """Whether a line of the text is that name: whole, a host without its domain, an account without its realm or mail domain."""
    lines = literal("\n") + rows.c.search + literal("\n")
    forms = [f"\n{name}\n", f"\n{name}@", f"\\{name}\n", f"\\{name}@"]
    if not set(name) <= set("0123456789."):  # the first numbers of an address are no name
        forms.append(f"\n{name}.")
    return or_(*(lines.contains(form, autoescape=True) for form in forms))


class IncidentMarks(Repository):
    """Marks of incidents."""

    def asked(self, rows: FromClause, wanted: IncidentFilter, *, walked: bool) -> Iterator[ColumnElement[bool]]:
        """What a filter asks of incidents by their marks, an entity's name and their priority. Those that are `walked` through in the queue's order
        are looked up by none of it."""
        for kind, values in _kinds(wanted):
            held = _held(kind, values)
            if not walked and self._few((kind, *values), held):
                yield rows.c.id.in_(held)
            else:
                yield held.where(incident_marks.c.incident_id == rows.c.id).exists()
        if name := _name(wanted):
            yield _line(rows, name)
            if not walked and (known := known_by_index(name, self._c.dialect.name)) is not None:
                yield rows.c.number.in_(known)
        if wanted.least_priority is not None:
            yield rows.c.priority >= wanted.least_priority
        if wanted.most_priority is not None:
            yield rows.c.priority <= wanted.most_priority

    def many(self, wanted: IncidentFilter) -> Iterator[tuple[Select[Any], IncidentFilter]]:
        """The ids of those that have what is asked, by each kind of marks, and what else the filter asks."""
        for kind, values in _kinds(wanted):
            others: dict[str, Any] = {_MEMBERS[kind]: ()}
            yield _distinct(_held(kind, values), values), replace(wanted, **others)

    def few(self, wanted: IncidentFilter) -> bool:
        """Whether so few have what is asked that it pays to begin with them."""
        listed = {(kind, *values): _held(kind, values) for kind, values in _kinds(wanted)}
        if (name := _name(wanted)) and (known := known_by_index(name, self._c.dialect.name)) is not None:
            listed["name", name] = known
        return any(self._few(what, held) for what, held in listed.items())

    def _few(self, what: tuple[str, ...], listed: Select[Any]) -> bool:
        """Whether few have that. One page asks it again and again, and it is counted once."""
        if what not in self._asked:
            self._asked[what] = no_more_than(self._c, listed, FEW)
        return self._asked[what]

    @cached_property
    def _asked(self) -> dict[tuple[str, ...], bool]:
        return {}

    def put(self, rows: Iterable[IncidentRow], *, new: bool = False) -> None:
        """Makes the rows' marks what the rows say. `new`: none of them has any yet."""
        wanted = {row.id: marks_of(row) for row in rows}
        held: dict[str, set[tuple[str, str]]] = {}
        ids = [] if new else sorted(wanted)
        for start in range(0, len(ids), _TOGETHER):
            chosen = select(incident_marks).where(incident_marks.c.incident_id.in_(ids[start : start + _TOGETHER]))
            for mark in self._c.execute(chosen):
                held.setdefault(mark.incident_id, set()).add((mark.kind, mark.value))
        gone = [(i, *m) for i, marks in held.items() for m in marks - wanted[i]]
        come = [(i, *m) for i, marks in wanted.items() for m in sorted(marks - held.get(i, set()))]
        names = ("of", "of_kind", "of_value")
        if gone:
            columns = (incident_marks.c.incident_id, incident_marks.c.kind, incident_marks.c.value)
            dropped = delete(incident_marks).where(*(c == bindparam(n) for c, n in zip(columns, names, strict=True)))
            self._c.execute(dropped, [dict(zip(names, g, strict=True)) for g in gone])
        if come:
            made = self._insert(incident_marks).on_conflict_do_nothing()
            self._c.execute(made, [{"incident_id": i, "kind": k, "value": v} for i, k, v in come])

    def known(self, kind: str) -> Sequence[str]:
        """The values of a kind that any incident has, in order: each is looked up in the index behind the one before."""
        found: list[str] = []
        while True:
            chosen = select(func.min(incident_marks.c.value)).where(incident_marks.c.kind == kind)
            value = self._c.execute(chosen.where(incident_marks.c.value > found[-1]) if found else chosen).scalar()
            if value is None:
                return found
            found.append(str(value))
