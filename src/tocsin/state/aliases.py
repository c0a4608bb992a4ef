"""Claims that two identifiers mean one thing for a time: what the book of aliases is made from again after a restart, and what pages show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, delete, func, or_, select

from tocsin.state.repository import Repository
from tocsin.state.schema import aliases
from tocsin.state.types import dumps, plain

__all__ = ["AliasRow", "Aliases"]

LONGEST = 512
"""Characters of an identifier; what is longer is no name."""


@dataclass(frozen=True, slots=True)
class AliasRow:
    """A claim: identifiers in lower case, seen together from `first` to `last`, good `until`; `payload` is the rest of it."""

    id: str
    type: str
    one: str
    other: str
    first: datetime
    last: datetime
    until: datetime
    payload: dict[str, Any]


class Aliases(Repository):
    """Claims by their identifiers."""

    def put(self, rows: Iterable[AliasRow]) -> None:
        """Keeps claims, those that are kept already as they are now."""
        for row in rows:
            if max(len(row.one), len(row.other)) > LONGEST:
                continue
            values = {n: getattr(row, n) for n in ("type", "one", "other", "first", "last", "until", "payload")}
            self._upsert(aliases, {"id": row.id}, values)

    def since(self, moment: datetime, limit: int) -> list[AliasRow]:
        """The claims that hold at that moment or later, the latest `limit` of them, by time."""
        chosen = select(aliases).where(aliases.c.until >= moment).order_by(aliases.c.last.desc()).limit(limit)
        return sorted((AliasRow(**r._mapping) for r in self._c.execute(chosen)), key=lambda r: (r.first, r.id))

    def of(self, names: Sequence[str], *, beginning: Sequence[str] = (), limit: int = 200) -> list[AliasRow]:
        """The claims of any of those identifiers, or of one that begins so, the latest first."""
        wanted = [n.lower() for n in names]
        sides = (aliases.c.one, aliases.c.other)
        begins = [c.startswith(text.lower(), autoescape=True) for c in sides for text in beginning]
        chosen = (
            select(aliases)
            .where(or_(*(c.in_(wanted) for c in sides), *begins))
            .order_by(aliases.c.last.desc(), aliases.c.id)
            .limit(limit)
        )
        return [AliasRow(**r._mapping) for r in self._c.execute(chosen)]

    def drop(self, ids: Sequence[str]) -> int:
        """Removes those claims; how many there were."""
        gone = 0
        for start in range(0, len(ids), 500):
            gone += int(self._c.execute(delete(aliases).where(aliases.c.id.in_(ids[start : start + 500]))).rowcount)
        return gone

    def named(self, names: Sequence[str]) -> list[AliasRow]:
        """Every claim that says something of one of those identifiers, on either side, or was taught by a row that names it."""
        found: dict[str, AliasRow] = {}
        for name in {n.lower() for n in names}:
            said = func.lower(cast(aliases.c.payload, Text)).contains(dumps(plain(name))[1:-1], autoescape=True)
            chosen = select(aliases).where(or_(aliases.c.one == name, aliases.c.other == name, said))
            for row in self._c.execute(chosen):
                made = AliasRow(**row._mapping)
                if name in (made.one, made.other) or name in _texts(made.payload.get("row")):
                    found[made.id] = made
        return list(found.values())

    def forget(self, before: datetime) -> int:
        """Removes claims that ended before that; how many."""
        return int(self._c.execute(delete(aliases).where(aliases.c.until < before)).rowcount)


def _texts(row: Any) -> set[str]:
    """The values of the row that taught a claim, in lower case."""
    return {str(v).lower() for v in row.values()} if isinstance(row, dict) else set()
