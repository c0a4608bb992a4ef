"""What every repository is: a transaction's connection and the clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.base.clock import Clock
from tocsin.base.errors import StateError

__all__ = ["ConflictError", "NotFoundError", "RefusedError", "Repository", "no_more_than"]


class NotFoundError(StateError):
    """Something that isn't there."""

    code = "STA0002"


class ConflictError(StateError):
    """A change that another change has overtaken."""

    code = "STA0003"


class RefusedError(StateError):
    """The database takes or gives nothing now, whatever the change: it can be tried again later."""

    code = "STA0005"


def no_more_than(connection: Connection, listed: Select[Any], most: int) -> bool:
    """Whether a query gives so many rows at most: it counts no further."""
    some = listed.limit(most + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one()) <= most


class Repository:
    """A topic's tables inside one transaction."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._c = connection
        self._clock = clock

    def _upsert(
        self, table: Table, key: Mapping[str, Any], values: Mapping[str, Any], *, first: Mapping[str, Any] | None = None
    ) -> None:
        """Writes a row by its key: updates `values`, or inserts them with those of `first`. Two who insert at once don't collide."""
        made = self._insert(table).values(**{**(first or {}), **values, **key})
        target = [table.c[name] for name in key]
        if values:
            self._c.execute(made.on_conflict_do_update(index_elements=target, set_=dict(values)))
        else:
            self._c.execute(made.on_conflict_do_nothing(index_elements=target))

    def _insert(self, table: Table) -> Any:
        """The dialect's own INSERT, which knows conflicts; both have the same form."""
        return postgresql.insert(table) if self._c.dialect.name == "postgresql" else sqlite.insert(table)
