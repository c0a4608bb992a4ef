"""Who acts: a principal with its permissions, and what each role may do.

Roles are cumulative, as in Sentinel: each has all that the one before it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from tocsin.access.errors import ForbiddenError
from tocsin.base.errors import did_you_mean

__all__ = [
    "INGEST_PERMISSIONS",
    "PERMISSIONS",
    "ROLES",
    "Principal",
    "permissions_of",
    "person_of",
    "require",
    "system",
]

PERMISSIONS: dict[str, str] = {
    "incidents.read": "See incidents and alerts with their evidence",
    "query.run": "Run KQL over the tables; see and cancel one's own running queries",
    "query.manage": "See and cancel everybody's running queries",
    "rules.read": "See detection rules",
    "data.read": "See tables, sources and dead letters",
    "actions.read": "See actions and their kinds",
    "automation.read": "See automation rules and their runs",
    "users.read": "See who the users are (to assign incidents)",
    "incidents.manage": "Assign, classify, tag, comment and close incidents",
    "actions.propose": "Propose actions, and undo those that need no approval",
    "actions.approve": "Approve, reject and undo actions that change something outside",
    "rules.write": "Write detection rules and switch them",
    "automation.write": "Switch automation rules",
    "sources.write": "Write transforms, try them on raw rows, and replay dead letters",
    "users.manage": "Add and change users",
    "tokens.manage": "Make and revoke tokens",
    "audit.read": "Read the audit log",
    "settings.manage": "Change settings",
    "ingest.write": "Send rows",
    "jobs.run": "Run, cancel and remove search jobs and restores of archived rows",
    "lake.delete": "Delete rows so that it can be undone, and undo it",
    "lake.purge": "Purge rows for good",
}
"""Every permission and what it allows."""

_READER = frozenset(
    {
        "incidents.read",
        "query.run",
        "rules.read",
        "data.read",
        "actions.read",
        "automation.read",
        "users.read",
    }
)
_RESPONDER = _READER | {"incidents.manage", "actions.propose", "actions.approve"}
_CONTRIBUTOR = _RESPONDER | {"jobs.run", "rules.write", "automation.write", "sources.write"}
_ADMINISTRATOR = frozenset(PERMISSIONS)

ROLES: dict[str, frozenset[str]] = {
    "Reader": _READER,
    "Responder": frozenset(_RESPONDER),
    "Contributor": frozenset(_CONTRIBUTOR),
    "Administrator": _ADMINISTRATOR,
}
"""Roles and their permissions, weakest first."""

INGEST_PERMISSIONS = frozenset({"ingest.write"})
"""What a token of kind `ingest` may: send rows, nothing else."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody or something that acts.

    `name` is a user's name, ``<owner>/token:<name>`` for a token of kind api, ``token:<name>`` for one of kind ingest, or ``<part>:…``
    for a part of Tocsin. `kind` is ``user`` (signed in with a session), ``token`` or ``system`` (automation, the scheduler, start-up).
    `credential` is the id of the session or token by which it came, never a secret. `address` is where the request came from, "" for
    the system.
    """

    name: str
    display_name: str = ""
    kind: Literal["user", "token", "system"] = "user"
    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    credential: str = field(default="", compare=False)
    address: str = field(default="", compare=False)

    @property
    def person(self) -> str:
        """Who answers for it: a user's token is that user. What one person proposed by a token, the same person may not approve as a second."""
        return person_of(self.name)

    def may(self, permission: str) -> bool:
        """Whether it has that permission."""
        return permission in self.permissions


def person_of(name: str) -> str:
    """The user behind a principal's name: ``ann`` for ``ann`` and for ``ann/token:ci``. Names of users hold no slash."""
    return name.partition("/token:")[0]


def permissions_of(roles: Iterable[str]) -> frozenset[str]:
    """All permissions of those roles; an unknown role gives none."""
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))


def require(principal: Principal, permission: str) -> None:
    """Raises ForbiddenError when the principal lacks the permission.

    A name that isn't a permission is a fault of ours and raises KeyError, so that a misspelt check can't pass or fail silently.
    """
    if permission not in PERMISSIONS:
        raise KeyError(f"{permission!r} is no permission. {did_you_mean(permission, PERMISSIONS)}")
    if not principal.may(permission):
        raise ForbiddenError(
            f"{principal.name} lacks the permission {permission}.",
            hint=f"Ask an administrator for a role that may: {_roles_with(permission)}.",
        )


def system(name: str, *permissions: str) -> Principal:
    """A principal for a part of Tocsin itself, for example ``automation:<rule>``, with just those permissions."""
    return Principal(name=name, display_name=name, kind="system", permissions=frozenset(permissions))


def _roles_with(permission: str) -> str:
    return ", ".join(role for role, held in ROLES.items() if permission in held) or "none"
