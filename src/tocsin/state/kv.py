"""Settings and counters: small JSON values by key."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select, update

from tocsin.state.repository import Repository
from tocsin.state.schema import kv

__all__ = ["KeyValues"]


class KeyValues(Repository):
    """JSON values by key."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default`."""
        row = self._c.execute(select(kv.c.value).where(kv.c.key == key)).first()
        return default if row is None else row[0]

    def starting(self, prefix: str) -> dict[str, Any]:
        """The values whose keys begin so, by key."""
        chosen = select(kv.c.key, kv.c.value).where(kv.c.key.startswith(prefix, autoescape=True)).order_by(kv.c.key)
        return {row.key: row.value for row in self._c.execute(chosen)}

    def set(self, key: str, value: Any) -> None:
        """Sets the value."""
        self._upsert(kv, {"key": key}, {"value": value, "changed": self._clock.now()})

    def remove(self, key: str) -> None:
        """Removes the key, if it is there."""
        self._c.execute(delete(kv).where(kv.c.key == key))

    def next(self, key: str, count: int = 1) -> int:
        """The next number of a counter, from 1: one of its own for every caller, who wait for each other. Of several the last."""
        held = select(kv.c.value).where(kv.c.key == key).with_for_update()
        row = self._c.execute(held).first()
        if row is None:
            self._upsert(kv, {"key": key}, {}, first={"value": 0, "changed": self._clock.now()})
            row = self._c.execute(held).one()
        number = int(row[0]) + count
        self._c.execute(update(kv).where(kv.c.key == key).values(value=number, changed=self._clock.now()))
        return number
