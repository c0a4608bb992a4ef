"""Groups of users: incidents may be assigned to one, and its members find them among theirs. A group gives no rights; roles do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tocsin.access.errors import WrongAccountError
from tocsin.access.principal import Principal, require
from tocsin.base.errors import did_you_mean
from tocsin.state import GroupRow, NotFoundError, State, Unit, text_of

__all__ = ["UserGroups", "refuse_taken"]

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@ -]{0,62}[A-Za-z0-9._@-])?")
_RESERVED = frozenset({"none"})
"""What the queue's filter calls nobody."""


class UserGroups:
    """The groups, and who changes them. Thread-safe."""

    def __init__(self, state: State) -> None:
        self._state = state

    def all(self) -> list[dict[str, Any]]:
        """Every group with its members, by name."""
        with self._state.read() as unit:
            return [_shown(g) for g in unit.groups.all()]

    def add(self, name: str, *, description: str = "", members: Sequence[str] = (), by: Principal) -> dict[str, Any]:
        """Adds a group. WrongAccountError for a name that can't be or is a user's or another group's, and for members that aren't users."""
        require(by, "users.manage")
        if not _NAME.fullmatch(name) or name.casefold() in _RESERVED:
            raise WrongAccountError(
                f"{name!r} can't be a group's name.",
                hint="Letters, digits, and . _ @ - or spaces inside; at most 64; not `none`, which is nobody.",
            )
        with self._state.write() as unit:
            refuse_taken(unit, name)
            unit.groups.add(name, description)
            made = unit.groups.change(name, come=_users(unit, members))
            unit.audit.add(by.name, "group.create", "group", name, after=_shown(made), address=by.address)
        return _shown(made)

    def change(self, name: str, changes: Mapping[str, Any], *, by: Principal) -> dict[str, Any]:
        """Changes description and disabled, and members by `add_members` and `remove_members`, so that two who do it at once lose nothing.

        A disabled group gets nothing more; what it owns stays its own. NotFoundError for no such group.
        """
        require(by, "users.manage")
        with self._state.write() as unit:
            before = unit.groups.get(name)
            if before is None:
                known = [g.name for g in unit.groups.all()]
                raise NotFoundError(f"There is no group {name}.", hint=did_you_mean(name, known))
            after = unit.groups.change(
                before.name,
                come=_users(unit, changes.get("add_members", ())),
                go=_users(unit, changes.get("remove_members", ())),
                **{n: changes[n] for n in ("description", "disabled") if n in changes},
            )
            unit.audit.add(
                by.name,
                "group.change",
                "group",
                before.name,
                before=_shown(before),
                after=_shown(after),
                address=by.address,
            )
        return _shown(after)


def refuse_taken(unit: Unit, name: str) -> None:
    """WrongAccountError when a user or a group has that name: an owner is known by its name alone."""
    for what, found in (("user", unit.users.get(name)), ("group", unit.groups.get(name))):
        if found is not None:
            raise WrongAccountError(f"There is a {what} {found.name} already.")


def _users(unit: Unit, names: Iterable[str]) -> list[str]:
    """The names as users have them."""
    found = []
    for name in names:
        user = unit.users.get(name)
        if user is None:
            hint = did_you_mean(name, [u.name for u in unit.users.all()])
            raise WrongAccountError(f"There is no user {name!r}.", hint=hint)
        found.append(user.name)
    return found


def _shown(group: GroupRow) -> dict[str, Any]:
    return {
        "name": group.name,
        "description": group.description,
        "disabled": group.disabled,
        "members": list(group.members),
        "created": text_of(group.created),
    }
