"""Groups of users, which may own incidents. A name is a user's or a group's, never both: an owner is kept by its name alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from sqlalchemy import Row, delete, insert, select, update

from tocsin.state.repository import NotFoundError, Repository
from tocsin.state.schema import group_members, user_groups, users

__all__ = ["GroupRow", "Groups", "OwnerType"]

OwnerType = Literal["User", "Group", "Unknown"]
"""What an owner's name is the name of (Sentinel's words); Unknown: nobody's here, as in a state that was brought over without its users."""


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group and the names of its members."""

    name: str
    description: str
    disabled: bool
    created: datetime
    changed: datetime
    members: tuple[str, ...]


class Groups(Repository):
    """Groups and who is in them. Names are unique without regard to case. A group is never removed, only disabled: what it owned keeps its owner."""

    def get(self, name: str) -> GroupRow | None:
        """The group of that name, or None."""
        row = self._c.execute(select(user_groups).where(user_groups.c.folded == name.casefold())).first()
        return None if row is None else self._with_members([row])[0]

    def all(self) -> list[GroupRow]:
        """Every group by name."""
        return self._with_members(self._c.execute(select(user_groups).order_by(user_groups.c.folded)).all())

    def of(self, user_name: str) -> list[str]:
        """Names of the groups that a user is in, disabled ones too, since they may still own something."""
        chosen = select(group_members.c.group_name).where(group_members.c.user_name == user_name)
        return [str(r[0]) for r in self._c.execute(chosen.order_by(group_members.c.group_name))]

    def owners(self) -> list[str]:
        """Names of the users and groups that something may be assigned to, users first."""
        tables = (users, user_groups)
        return [
            str(name)
            for t in tables
            for (name,) in self._c.execute(select(t.c.name).where(t.c.disabled.is_(False)).order_by(t.c.folded))
        ]

    def add(self, name: str, description: str = "") -> None:
        """Adds a group without members."""
        now = self._clock.now()
        self._c.execute(
            insert(user_groups).values(
                name=name,
                folded=name.casefold(),
                description=description,
                disabled=False,
                created=now,
                changed=now,
            )
        )
        self._types.clear()

    def change(self, name: str, *, come: Iterable[str] = (), go: Iterable[str] = (), **columns: Any) -> GroupRow:
        """Changes columns (description, disabled) and members: users who `come` and who `go`, by their names as users have them."""
        known = self.get(name)
        if known is None:
            raise NotFoundError(f"There is no group {name}.")
        self._c.execute(
            update(user_groups).where(user_groups.c.name == known.name).values(**columns, changed=self._clock.now())
        )
        self._c.execute(
            delete(group_members).where(
                group_members.c.group_name == known.name, group_members.c.user_name.in_(list(go))
            )
        )
        for user_name in dict.fromkeys(come):
            if user_name not in known.members:
                self._c.execute(insert(group_members).values(group_name=known.name, user_name=user_name))
        after = self.get(name)
        assert after is not None
        return after

    def type_of(self, name: str | None) -> OwnerType | None:
        """What an incident's owner is; None for nobody. Each name is looked up once in a transaction."""
        if not name:
            return None
        if name not in self._types:
            self._types[name] = "Unknown"
            for table, kind in ((users, "User"), (user_groups, "Group")):
                if self._c.execute(select(table.c.name).where(table.c.folded == name.casefold())).first():
                    self._types[name] = kind  # type: ignore[assignment]  # of two literals
                    break
        return self._types[name]

    @cached_property
    def _types(self) -> dict[str, OwnerType]:
        return {}

    def _with_members(self, rows: Sequence[Row[Any]]) -> list[GroupRow]:
        held: dict[str, list[str]] = {}
        chosen = select(group_members).where(group_members.c.group_name.in_([r.name for r in rows]))
        for member in self._c.execute(chosen.order_by(group_members.c.user_name)):
            held.setdefault(member.group_name, []).append(member.user_name)
        return [
            GroupRow(r.name, r.description, r.disabled, r.created, r.changed, tuple(held.get(r.name, ()))) for r in rows
        ]
