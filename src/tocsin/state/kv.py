"""Settings and counters: small JSON values by key."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update

from tocsin.state.repository import Repository
from tocsin.state.schema import kv

__all__ = ["KeyValues"]


class KeyValues(Repository):
    """JSON values by key."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default`."""
        row = self._c.execute(select(kv.c.value).where(kv.c.key == key)).first()
        return default if row is None else row[0]

    def set(self, key: str, value: Any) -> None:
        """Sets the value."""
        now = self._clock.now()
        changed = self._c.execute(update(kv).where(kv.c.key == key).values(value=value, changed=now))
        if changed.rowcount == 0:
            self._c.execute(insert(kv).values(key=key, value=value, changed=now))

    def remove(self, key: str) -> None:
        """Removes the key, if it is there."""
        self._c.execute(delete(kv).where(kv.c.key == key))

    def next(self, key: str) -> int:
        """The next number of a counter, from 1: one of its own for every caller."""
        row = self._c.execute(select(kv.c.value).where(kv.c.key == key).with_for_update()).first()
        number = int(row[0]) + 1 if row is not None else 1
        self.set(key, number)
        return number
