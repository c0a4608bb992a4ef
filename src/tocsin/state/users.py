"""Users with roles, sessions and tokens. Secrets are kept as hashes only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, or_, select, update

from tocsin.state.repository import NotFoundError, Repository
from tocsin.state.schema import sessions, tokens, user_roles, users

__all__ = ["SessionRow", "Sessions", "TokenRow", "Tokens", "UserRow", "Users"]


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user."""

    name: str
    display_name: str
    password: str
    disabled: bool
    created: datetime
    changed: datetime
    last_sign_in: datetime | None
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session."""

    hash: str
    user_name: str
    created: datetime
    seen: datetime
    expires: datetime
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token."""

    id: str
    hash: str
    name: str
    kind: str
    roles: tuple[str, ...]
    owner: str
    created: datetime
    expires: datetime | None
    last_used: datetime | None
    revoked: datetime | None


class Users(Repository):
    """Users and their roles. Names are unique without regard to case."""

    def get(self, name: str) -> UserRow | None:
        """The user of that name, or None."""
        row = self._c.execute(select(users).where(users.c.folded == name.casefold())).first()
        return None if row is None else self._with_roles([row])[0]

    def all(self) -> list[UserRow]:
        """Every user by name."""
        return self._with_roles(self._c.execute(select(users).order_by(users.c.folded)).all())

    def any(self) -> bool:
        """Whether there is a user at all."""
        return self._c.execute(select(users.c.name).limit(1)).first() is not None

    def enabled_with(self, role: str) -> list[str]:
        """Names of enabled users who have that role."""
        chosen = (
            select(users.c.name)
            .join(user_roles, user_roles.c.user_name == users.c.name)
            .where(user_roles.c.role == role, users.c.disabled.is_(False))
        )
        return [str(r[0]) for r in self._c.execute(chosen)]

    def add(self, name: str, display_name: str, password: str, roles: Sequence[str]) -> UserRow:
        """Adds a user; the password is a hash already."""
        now = self._clock.now()
        self._c.execute(
            insert(users).values(
                name=name,
                folded=name.casefold(),
                display_name=display_name,
                password=password,
                disabled=False,
                created=now,
                changed=now,
            )
        )
        self._set_roles(name, roles)
        made = self.get(name)
        assert made is not None
        return made

    def change(self, name: str, *, roles: Sequence[str] | None = None, **columns: Any) -> UserRow:
        """Changes columns (display_name, password, disabled) and roles."""
        known = self.get(name)
        if known is None:
            raise NotFoundError(f"There is no user {name}.")
        self._c.execute(update(users).where(users.c.name == known.name).values(**columns, changed=self._clock.now()))
        if roles is not None:
            self._set_roles(known.name, roles)
        after = self.get(name)
        assert after is not None
        return after

    def signed_in(self, name: str) -> None:
        """Notes that the user signed in now."""
        self._c.execute(update(users).where(users.c.name == name).values(last_sign_in=self._clock.now()))

    def _set_roles(self, name: str, roles: Sequence[str]) -> None:
        self._c.execute(delete(user_roles).where(user_roles.c.user_name == name))
        for role in dict.fromkeys(roles):
            self._c.execute(insert(user_roles).values(user_name=name, role=role))

    def _with_roles(self, rows: Sequence[Row[Any]]) -> list[UserRow]:
        held: dict[str, list[str]] = {}
        names = [r.name for r in rows]
        for role in self._c.execute(select(user_roles).where(user_roles.c.user_name.in_(names))):
            held.setdefault(role.user_name, []).append(role.role)
        return [
            UserRow(
                r.name,
                r.display_name,
                r.password,
                r.disabled,
                r.created,
                r.changed,
                r.last_sign_in,
                tuple(sorted(held.get(r.name, ()))),
            )
            for r in rows
        ]


class Sessions(Repository):
    """Sessions by the hash of their secret."""

    def add(self, hashed: str, user_name: str, expires: datetime, address: str, agent: str) -> None:
        """Adds a session that starts now."""
        now = self._clock.now()
        self._c.execute(
            insert(sessions).values(
                hash=hashed,
                user_name=user_name,
                created=now,
                seen=now,
                expires=expires,
                address=address[:64],
                agent=agent[:256],
            )
        )

    def get(self, hashed: str) -> SessionRow | None:
        """The session, or None."""
        row = self._c.execute(select(sessions).where(sessions.c.hash == hashed)).first()
        return None if row is None else SessionRow(**row._mapping)

    def touch(self, hashed: str) -> None:
        """Notes that it was used now."""
        self._c.execute(update(sessions).where(sessions.c.hash == hashed).values(seen=self._clock.now()))

    def end(self, hashed: str) -> None:
        """Ends a session."""
        self._c.execute(delete(sessions).where(sessions.c.hash == hashed))

    def end_by_prefix(self, prefix: str, user_name: str) -> bool:
        """Ends the user's session whose hash begins so (what a principal carries); False when it had ended."""
        chosen = delete(sessions).where(
            sessions.c.user_name == user_name, sessions.c.hash.startswith(prefix, autoescape=True)
        )
        return self._c.execute(chosen).rowcount > 0

    def end_all_of(self, user_name: str, *, but_prefix: str = "") -> int:
        """Ends a user's sessions, except the one whose hash begins with `but_prefix`; gives how many."""
        chosen = delete(sessions).where(sessions.c.user_name == user_name)
        if but_prefix:
            chosen = chosen.where(~sessions.c.hash.startswith(but_prefix, autoescape=True))
        return self._c.execute(chosen).rowcount

    def sweep(self, idle_before: datetime) -> int:
        """Removes sessions that have expired or were last seen before that."""
        swept = self._c.execute(
            delete(sessions).where(or_(sessions.c.expires <= self._clock.now(), sessions.c.seen < idle_before))
        )
        return swept.rowcount


class Tokens(Repository):
    """Tokens by id and by the hash of their secret."""

    def add(self, row: TokenRow) -> None:
        """Adds a token."""
        self._c.execute(
            insert(tokens).values(
                id=row.id,
                hash=row.hash,
                name=row.name,
                kind=row.kind,
                roles=list(row.roles),
                owner=row.owner,
                created=row.created,
                expires=row.expires,
                last_used=row.last_used,
                revoked=row.revoked,
            )
        )

    def by_hash(self, hashed: str) -> TokenRow | None:
        """The token with that hash, revoked and expired ones too, or None."""
        row = self._c.execute(select(tokens).where(tokens.c.hash == hashed)).first()
        return None if row is None else _token(row)

    def get(self, token_id: str) -> TokenRow | None:
        """The token of that id, or None."""
        row = self._c.execute(select(tokens).where(tokens.c.id == token_id)).first()
        return None if row is None else _token(row)

    def working(self) -> list[TokenRow]:
        """Tokens neither revoked nor expired, newest first."""
        now = self._clock.now()
        chosen = select(tokens).where(
            tokens.c.revoked.is_(None), or_(tokens.c.expires.is_(None), tokens.c.expires > now)
        )
        return [_token(r) for r in self._c.execute(chosen.order_by(tokens.c.created.desc(), tokens.c.id))]

    def used(self, token_id: str) -> None:
        """Notes that it was used now."""
        self._c.execute(update(tokens).where(tokens.c.id == token_id).values(last_used=self._clock.now()))

    def revoke(self, token_id: str) -> bool:
        """Revokes it; False when it isn't there or was revoked before."""
        done = self._c.execute(
            update(tokens).where(tokens.c.id == token_id, tokens.c.revoked.is_(None)).values(revoked=self._clock.now())
        )
        return done.rowcount == 1

    def revoke_all_of(self, owner: str) -> int:
        """Revokes a user's tokens of kind api; gives how many. Ingest tokens stay: senders aren't the person who set them up."""
        done = self._c.execute(
            update(tokens)
            .where(tokens.c.owner == owner, tokens.c.kind == "api", tokens.c.revoked.is_(None))
            .values(revoked=self._clock.now())
        )
        return done.rowcount


def _token(row: Row[Any]) -> TokenRow:
    return TokenRow(**{**row._mapping, "roles": tuple(row.roles)})
