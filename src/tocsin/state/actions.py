"""Actions and their history. A step in an action's life is a compare-and-set on its status: of two who try, one wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, insert, or_, select, update

from tocsin.state.kv import KeyValues
from tocsin.state.repository import NotFoundError, Repository
from tocsin.state.schema import action_history, actions, incidents

__all__ = ["ActionRow", "Actions", "HistoryRow"]


@dataclass(frozen=True, slots=True)
class ActionRow:
    """An action's row. `effect` names what it acts on, `undo_data` what its undo needs; `phase` says what Running means."""

    id: str
    number: int
    kind: str
    effect: str
    title: str
    summary: str
    input: Mapping[str, Any]
    status: str
    phase: str
    edit: bool
    proposed_by: str
    proposed_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    expires_at: datetime | None = None
    incident_id: str | None = None
    result: Mapping[str, Any] | None = None
    error: str | None = None
    undo_data: Mapping[str, Any] | None = None
    incident_number: int | None = None


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A step in an action's life."""

    action_id: str
    time: datetime
    actor: str
    event: str
    text: str


_COLUMNS = tuple(f.name for f in fields(ActionRow) if f.name != "incident_number")


class Actions(Repository):
    """Actions by id."""

    def next_number(self) -> int:
        """The number for a new action."""
        return KeyValues(self._c, self._clock).next("action.number")

    def add(self, row: ActionRow) -> None:
        """Adds an action."""
        self._c.execute(insert(actions).values(**{n: getattr(row, n) for n in _COLUMNS}))

    def get(self, action_id: str) -> ActionRow | None:
        """The action, or None."""
        row = self._c.execute(_select().where(actions.c.id == action_id)).first()
        return None if row is None else ActionRow(**row._mapping)

    def require(self, action_id: str) -> ActionRow:
        """The action; NotFoundError when there is none."""
        row = self.get(action_id)
        if row is None:
            raise NotFoundError(f"There is no action {action_id}.")
        return row

    def move(self, action_id: str, expected: str | Sequence[str], **columns: Any) -> bool:
        """Sets columns if the status is (one of) the expected; False when somebody was quicker."""
        wanted = (expected,) if isinstance(expected, str) else tuple(expected)
        done = self._c.execute(
            update(actions).where(actions.c.id == action_id, actions.c.status.in_(wanted)).values(**columns)
        )
        return done.rowcount == 1

    def log(self, action_id: str, actor: str, event: str, text: str = "") -> None:
        """Adds a step to the history."""
        self._c.execute(
            insert(action_history).values(
                action_id=action_id, time=self._clock.now(), actor=actor[:128], event=event, text=text
            )
        )

    def history_of(self, action_ids: Sequence[str]) -> dict[str, list[HistoryRow]]:
        """The histories of several actions, oldest step first."""
        chosen = select(action_history).where(action_history.c.action_id.in_(action_ids)).order_by(action_history.c.id)
        found: dict[str, list[HistoryRow]] = {}
        for r in self._c.execute(chosen):
            found.setdefault(r.action_id, []).append(HistoryRow(r.action_id, r.time, r.actor, r.event, r.text))
        return found

    def page(
        self,
        *,
        statuses: Sequence[str] = (),
        incident_id: str = "",
        kind: str = "",
        include_edits: bool = False,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[list[ActionRow], int, dict[str, int]]:
        """The newest first, how many match, and how many there are by status without the status filter."""

        def where(chosen: Select[Any], *, by_status: bool) -> Select[Any]:
            if by_status and statuses:
                chosen = chosen.where(actions.c.status.in_(statuses))
            if incident_id:
                chosen = chosen.where(actions.c.incident_id == incident_id)
            if kind:
                chosen = chosen.where(actions.c.kind == kind)
            return chosen if include_edits else chosen.where(actions.c.edit.is_(False))

        rows = self._c.execute(
            where(_select(), by_status=True).order_by(actions.c.number.desc()).limit(limit).offset(offset)
        )
        found = [ActionRow(**r._mapping) for r in rows]
        total = self._c.execute(where(select(func.count()).select_from(actions), by_status=True)).scalar_one()
        counted = self._c.execute(
            where(select(actions.c.status, func.count()).select_from(actions), by_status=False).group_by(
                actions.c.status
            )
        )
        return found, int(total), {str(s): int(n) for s, n in counted}

    def of_incidents(self, incident_ids: Sequence[str], kind: str, status: str, *, limit: int) -> list[ActionRow]:
        """The newest actions of that kind on any of those incidents in that status, the newest first."""
        found: list[ActionRow] = []
        for start in range(0, len(incident_ids), 500):
            chosen = _select().where(
                actions.c.incident_id.in_(incident_ids[start : start + 500]),
                actions.c.kind == kind,
                actions.c.status == status,
            )
            rows = self._c.execute(chosen.order_by(actions.c.number.desc()).limit(limit))
            found.extend(ActionRow(**r._mapping) for r in rows)
        return sorted(found, key=lambda a: -a.number)[:limit]

    def in_status(self, *statuses: str) -> list[ActionRow]:
        """Every action in those statuses, oldest first."""
        return [
            ActionRow(**r._mapping)
            for r in self._c.execute(_select().where(actions.c.status.in_(statuses)).order_by(actions.c.number))
        ]

    def due(self) -> list[ActionRow]:
        """Proposals that have lapsed and effects that have ended by now."""
        chosen = _select().where(
            actions.c.status.in_(("Proposed", "Succeeded")), actions.c.expires_at <= self._clock.now()
        )
        return [ActionRow(**r._mapping) for r in self._c.execute(chosen.order_by(actions.c.number))]

    def with_effect(self, kind: str, effect: str, *statuses: str) -> list[ActionRow]:
        """Actions of that kind on the same thing in those statuses whose effect has not ended, oldest first."""
        chosen = _select().where(
            actions.c.kind == kind,
            actions.c.effect == effect,
            actions.c.status.in_(statuses),
            or_(actions.c.expires_at.is_(None), actions.c.expires_at > self._clock.now()),
        )
        return [ActionRow(**r._mapping) for r in self._c.execute(chosen.order_by(actions.c.number))]


def _select() -> Select[Any]:
    return select(*(actions.c[n] for n in _COLUMNS), incidents.c.number.label("incident_number")).select_from(
        actions.outerjoin(incidents, incidents.c.id == actions.c.incident_id)
    )
