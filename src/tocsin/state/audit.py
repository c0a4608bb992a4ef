"""The audit log: append-only, each row's hash covering the row and the hash before it.

The database itself refuses UPDATE and DELETE (triggers); who gets round them breaks the chain, and who cuts off its end disagrees with the head.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from tocsin.state.repository import Repository
from tocsin.state.schema import audit, audit_head
from tocsin.state.types import dumps, loads, text_of

__all__ = ["GENESIS", "Audit", "AuditRow", "Verdict"]

GENESIS = "0" * 64
"""The hash before the first row."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who did what to what, with the state before and after."""

    seq: int
    time: datetime
    actor: str
    action: str
    object_type: str
    object_id: str
    before: Any
    after: Any
    detail: Mapping[str, Any]
    address: str
    previous: str
    hash: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "seq": self.seq,
            "time": text_of(self.time),
            "actor": self.actor,
            "action": self.action,
            "object_type": self.object_type,
            "object_id": self.object_id,
            "before": self.before,
            "after": self.after,
            "detail": dict(self.detail),
            "address": self.address,
            "previous": self.previous,
            "hash": self.hash,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the chain is whole; if not, which row is the first wrong one and why."""

    intact: bool
    rows: int
    broken_at: int | None = None
    reason: str = ""


class Audit(Repository):
    """The audit log. There is no method to change or remove a row."""

    def add(
        self,
        actor: str,
        action: str,
        object_type: str,
        object_id: str,
        *,
        before: Any = None,
        after: Any = None,
        detail: Mapping[str, Any] | None = None,
        address: str = "",
    ) -> int:
        """Appends a row and gives its number. Never put a secret into before, after or detail."""
        head = self._c.execute(select(audit_head).where(audit_head.c.id == 1).with_for_update()).one()
        # Values go through JSON once, so that the hash is over what a reader will see.
        values: dict[str, Any] = {
            "seq": head.seq + 1,
            "time": self._clock.now(),
            "actor": actor[:128],
            "action": action,
            "object_type": object_type,
            "object_id": object_id[:256],
            "before": loads(dumps(before)),
            "after": loads(dumps(after)),
            "detail": loads(dumps(dict(detail or {}))),
            "address": address[:64],
            "previous": head.hash,
        }
        values["hash"] = _digest(values)
        self._c.execute(insert(audit).values(**values))
        self._c.execute(update(audit_head).where(audit_head.c.id == 1).values(seq=values["seq"], hash=values["hash"]))
        return int(values["seq"])

    def page(
        self, *, limit: int = 100, before: int | None = None, actor: str = "", object_id: str = "", action: str = ""
    ) -> tuple[list[AuditRow], int]:
        """The newest rows first, and how many match in all. `before` gives the rows with a smaller number; an `action` that ends with a dot means
        all that begin with it."""
        chosen = select(audit)
        if actor:
            chosen = chosen.where(audit.c.actor == actor)
        if object_id:
            chosen = chosen.where(audit.c.object_id == object_id)
        if action:
            group = action.endswith(".")
            chosen = chosen.where(
                audit.c.action.startswith(action, autoescape=True) if group else audit.c.action == action
            )
        total = self._c.execute(select(func.count()).select_from(chosen.subquery())).scalar_one()
        if before is not None:
            chosen = chosen.where(audit.c.seq < before)
        rows = self._c.execute(chosen.order_by(audit.c.seq.desc()).limit(limit))
        return [_row(r) for r in rows], int(total)

    def rows(self) -> Iterator[AuditRow]:
        """Every row, oldest first; a thousand at a time, so that the log may be longer than memory."""
        after = 0
        while True:
            chosen = select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(1000)
            found = self._c.execute(chosen).all()
            yield from (_row(row) for row in found)
            if not found:
                return
            after = found[-1].seq

    def verify(self) -> Verdict:
        """Recomputes the chain from its first row and compares its end with the head."""
        previous, count = GENESIS, 0
        for row in self.rows():
            count += 1
            if row.seq != count:
                return Verdict(False, count, row.seq, f"row {count} is missing")
            if row.previous != previous:
                return Verdict(False, count, row.seq, "the hash before it isn't that of the row before it")
            values = {name: getattr(row, name) for name in _HASHED}
            if row.hash != _digest(values):
                return Verdict(False, count, row.seq, "its content was changed")
            previous = row.hash
        head = self._c.execute(select(audit_head).where(audit_head.c.id == 1)).one()
        if (head.seq, head.hash) != (count, previous):
            return Verdict(False, count, count + 1, f"rows {count + 1} to {head.seq} were removed")
        return Verdict(True, count)


_HASHED = (
    "seq",
    "time",
    "actor",
    "action",
    "object_type",
    "object_id",
    "before",
    "after",
    "detail",
    "address",
    "previous",
)


def _digest(values: Mapping[str, Any]) -> str:
    parts = [text_of(values[n]) if n == "time" else values[n] for n in _HASHED]
    return hashlib.sha256(dumps(parts).encode()).hexdigest()


def _row(row: Row[Any]) -> AuditRow:
    return AuditRow(**row._mapping)
