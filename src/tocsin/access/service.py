"""Sign-in, sessions, users and tokens. Every change is an audit row in the same transaction; no secret is ever in one."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from tocsin.access.errors import BadCredentialsError, ForbiddenError, WrongAccountError
from tocsin.access.groups import UserGroups, refuse_taken
from tocsin.access.passwords import Passwords, generate
from tocsin.access.principal import INGEST_PERMISSIONS, ROLES, Principal, permissions_of, require
from tocsin.access.settings import AccessSettings
from tocsin.access.throttle import Throttle
from tocsin.base.errors import did_you_mean
from tocsin.base.ids import new_secret
from tocsin.state import NotFoundError, State, TokenRow, Unit, UserRow, text_of

__all__ = ["ADMINISTRATOR", "Access", "SignedIn"]

ADMINISTRATOR = "admin"
"""Name of the user that a first start makes."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_TOUCH = timedelta(seconds=60)
_CACHE_SECONDS = 5.0
_CACHED = 4096


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A sign-in that worked: who, and the secret for the cookie (kept nowhere else)."""

    principal: Principal
    secret: str


class Access:
    """Who may come in. Thread-safe."""

    def __init__(
        self, state: State, *, settings: AccessSettings | None = None, passwords: Passwords | None = None
    ) -> None:
        self.settings = settings or AccessSettings()
        self.groups = UserGroups(state)
        self._state = state
        self._clock = state.clock
        self._passwords = passwords or Passwords()
        self._throttle = Throttle(self._clock, self.settings)
        self._seen: dict[str, tuple[float, Principal | None]] = {}
        self._seen_lock = threading.Lock()

    # ------------------------------------------------------------------------------------------ first start

    def first_start(self) -> str | None:
        """Makes the administrator when there is no user yet and gives the generated password, once; None later.

        The caller prints it for the person at the machine. It must never reach a log.
        """
        with self._state.read() as unit:
            if unit.users.any():
                return None
        password = generate()
        hashed = self._passwords.hash(password)
        with self._state.write() as unit:
            if unit.users.any():
                return None
            user = unit.users.add(ADMINISTRATOR, "Administrator", hashed, ("Administrator",))
            unit.audit.add("system:first-start", "user.create", "user", user.name, after=_shown(user))
        return password

    def set_password(self, name: str, password: str | None = None) -> str:
        """Sets a user's password without a sign-in, for who holds the machine (`tocsin user password`). Gives the password.

        Enables a disabled user and ends their sessions.
        """
        password = password or generate()
        self._passwords.check(password, name=name, length=self.settings.password_length)
        hashed = self._passwords.hash(password)
        with self._state.write() as unit:
            user = unit.users.change(name, password=hashed, disabled=False)
            unit.sessions.end_all_of(user.name)
            unit.audit.add("system:command-line", "user.password", "user", user.name)
        self._forget()
        return password

    # ------------------------------------------------------------------------------------------ sign-in

    def sign_in(self, name: str, password: str, *, address: str, agent: str = "") -> SignedIn:
        """Opens a session. BadCredentialsError for a wrong name or password, TooManyAttemptsError after too many."""
        self._throttle.check(name, address)
        with self._state.read() as unit:
            user = unit.users.get(name)
        matched = self._passwords.matches(user.password if user else None, password)
        if user is None or not matched or user.disabled:
            self._throttle.failed(name, address)
            # A name that isn't a user's may be a password typed into the wrong field: it is not written down.
            known = user.name if user else "unknown"
            with self._state.write() as unit:
                unit.audit.add(known, "session.refused", "user", known, address=address)
            raise BadCredentialsError(
                "The name or the password is wrong.", hint="Names are as the administrator gave them."
            )
        self._throttle.succeeded(name, address)
        renewed = self._passwords.hash(password) if self._passwords.is_outdated(user.password) else None
        secret = new_secret()
        hashed = _hash(secret)
        now = self._clock.now()
        with self._state.write() as unit:
            current = unit.users.get(name)
            if current is None or current.disabled or current.password != user.password:
                raise BadCredentialsError("The account was changed meanwhile: sign in again.")
            unit.sessions.sweep(now - self.settings.session_idle)
            unit.sessions.add(hashed, user.name, now + self.settings.session_absolute, address, agent)
            if renewed is not None:
                unit.users.change(user.name, password=renewed)
            unit.users.signed_in(user.name)
            unit.audit.add(user.name, "session.start", "user", user.name, address=address)
        return SignedIn(_principal(user, f"session:{hashed[:12]}", address), secret)

    def sign_out(self, principal: Principal) -> None:
        """Ends the principal's session. A token has none, so nothing ends."""
        if not principal.credential.startswith("session:"):
            return
        with self._state.write() as unit:
            if unit.sessions.end_by_prefix(principal.credential.removeprefix("session:"), principal.name):
                unit.audit.add(principal.name, "session.end", "user", principal.name, address=principal.address)
        self._forget()

    def by_session(self, secret: str, *, address: str = "") -> Principal | None:
        """Who holds that session's secret, or None when it has ended."""
        hashed = _hash(secret)
        now = self._clock.now()
        with self._state.read() as unit:
            session = unit.sessions.get(hashed)
            user = unit.users.get(session.user_name) if session else None
        if session is None or user is None or user.disabled:
            return None
        if session.expires <= now or session.seen + self.settings.session_idle <= now:
            with self._state.write() as unit:
                unit.sessions.end(hashed)
            return None
        if now - session.seen >= _TOUCH:  # not at every request: that would be a write for each read
            with self._state.write() as unit:
                unit.sessions.touch(hashed)
        return _principal(user, f"session:{hashed[:12]}", address)

    def change_password(self, principal: Principal, current: str, new: str) -> None:
        """Changes one's own password; one's other sessions end."""
        if principal.kind != "user":
            raise ForbiddenError("Only a signed-in user has a password to change.")
        self._throttle.check(principal.name, principal.address)
        with self._state.read() as unit:
            user = unit.users.get(principal.name)
        if user is None or not self._passwords.matches(user.password, current):
            self._throttle.failed(principal.name, principal.address)
            raise BadCredentialsError("The current password is wrong.")
        self._passwords.check(new, name=user.name, length=self.settings.password_length)
        hashed = self._passwords.hash(new)
        with self._state.write() as unit:
            unit.users.change(user.name, password=hashed)
            unit.sessions.end_all_of(user.name, but_prefix=principal.credential.removeprefix("session:"))
            unit.audit.add(principal.name, "user.password", "user", user.name, address=principal.address)

    # ------------------------------------------------------------------------------------------ users

    def users(self) -> list[dict[str, Any]]:
        """Every user, without password hashes."""
        with self._state.read() as unit:
            return [_shown(u) for u in unit.users.all()]

    def add_user(
        self, name: str, password: str, *, roles: Sequence[str], by: Principal, display_name: str = ""
    ) -> dict[str, Any]:
        """Adds a user."""
        require(by, "users.manage")
        if not _NAME.fullmatch(name):
            raise WrongAccountError(
                f"{name!r} can't be a user's name.", hint="Letters, digits, and . _ @ - inside; at most 64."
            )
        _check_roles(roles)
        self._passwords.check(password, name=name, length=self.settings.password_length)
        hashed = self._passwords.hash(password)
        with self._state.write() as unit:
            refuse_taken(unit, name)
            user = unit.users.add(name, display_name or name, hashed, roles)
            _audit(unit, by, "user.create", "user", user.name, after=_shown(user))
        return _shown(user)

    def change_user(self, name: str, changes: Mapping[str, Any], *, by: Principal) -> dict[str, Any]:
        """Changes display_name, roles, disabled or password. The last enabled administrator can't lose that."""
        require(by, "users.manage")
        columns: dict[str, Any] = {k: changes[k] for k in ("display_name", "disabled") if k in changes}
        roles = changes.get("roles")
        if roles is not None:
            _check_roles(roles)
        if "password" in changes:
            self._passwords.check(changes["password"], name=name, length=self.settings.password_length)
            columns["password"] = self._passwords.hash(changes["password"])
        with self._state.write() as unit:
            before = unit.users.get(name)
            if before is None:
                raise NotFoundError(f"There is no user {name}.")
            after = unit.users.change(before.name, roles=roles, **columns)
            if not unit.users.enabled_with("Administrator"):
                raise WrongAccountError(
                    f"{before.name} is the last administrator.", hint="Make another user an administrator first."
                )
            if "password" in changes or after.disabled:
                unit.sessions.end_all_of(before.name)
            if after.disabled:
                unit.tokens.revoke_all_of(before.name)
            detail = {"password": "set"} if "password" in changes else {}
            _audit(
                unit, by, "user.change", "user", before.name, before=_shown(before), after=_shown(after), detail=detail
            )
        self._forget()
        return _shown(after)

    # ------------------------------------------------------------------------------------------ tokens

    def tokens(self) -> list[dict[str, Any]]:
        """Tokens that work, without their secrets."""
        with self._state.read() as unit:
            return [_shown_token(t) for t in unit.tokens.working()]

    def make_token(
        self,
        name: str,
        *,
        kind: str = "ingest",
        roles: Sequence[str] = (),
        expires_in_days: int | None = None,
        by: Principal,
    ) -> dict[str, Any]:
        """Makes a token; `token` in the answer is its secret, which is kept nowhere."""
        require(by, "tokens.manage")
        if kind not in ("api", "ingest"):
            raise WrongAccountError(f"{kind!r} is no kind of token.", hint="api or ingest.")
        if kind == "api":
            if not roles:
                raise WrongAccountError("A token of kind api needs roles.", hint="For example Reader.")
            _check_roles(roles)
            if missing := permissions_of(roles) - by.permissions:
                raise ForbiddenError(f"A token can't have more rights than its maker: {', '.join(sorted(missing))}.")
        secret = f"toc_{'i' if kind == 'ingest' else 'a'}_{new_secret(24)}"
        with self._state.write() as unit:
            row = TokenRow(
                id=f"tok_{unit.kv.next('token.number')}",
                hash=_hash(secret),
                name=name,
                kind=kind,
                roles=tuple(dict.fromkeys(roles)) if kind == "api" else (),
                owner=by.name,
                created=self._clock.now(),
                expires=self._clock.now() + timedelta(days=expires_in_days) if expires_in_days else None,
                last_used=None,
                revoked=None,
            )
            unit.tokens.add(row)
            _audit(unit, by, "token.create", "token", row.id, after=_shown_token(row))
        self._forget()  # an earlier "no such token" may be remembered
        return {**_shown_token(row), "token": secret}

    def revoke_token(self, token_id: str, *, by: Principal) -> None:
        """Revokes a token at once."""
        require(by, "tokens.manage")
        with self._state.write() as unit:
            row = unit.tokens.get(token_id)
            if row is None or not unit.tokens.revoke(token_id):
                raise NotFoundError(f"There is no working token {token_id}.")
            _audit(unit, by, "token.revoke", "token", token_id, before=_shown_token(row))
        self._forget()

    def by_token(self, token: str, *, address: str = "") -> Principal | None:
        """Who holds that token, or None. The answer is remembered for seconds, since senders ask at every request."""
        hashed = _hash(token)
        now = self._clock.monotonic()
        with self._seen_lock:
            known = self._seen.get(hashed)
        if known is not None and now - known[0] < _CACHE_SECONDS:
            principal = known[1]
        else:
            principal = self._look_up(hashed)
            with self._seen_lock:
                if len(self._seen) >= _CACHED:
                    self._seen.clear()
                self._seen[hashed] = (now, principal)
        return replace(principal, address=address) if principal is not None else None

    def may_ingest(self, token: str) -> Principal | None:
        """Who sends with that token, if it may send rows; None otherwise. What receivers ask."""
        principal = self.by_token(token)
        return principal if principal is not None and principal.may("ingest.write") else None

    def _look_up(self, hashed: str) -> Principal | None:
        now = self._clock.now()
        with self._state.read() as unit:
            row = unit.tokens.by_hash(hashed)
            owner = unit.users.get(row.owner) if row is not None and row.kind == "api" else None
        if row is None or row.revoked is not None or (row.expires is not None and row.expires <= now):
            return None
        if row.last_used is None or now - row.last_used >= _TOUCH:
            with self._state.write() as unit:
                unit.tokens.used(row.id)
        if row.kind == "ingest":
            return Principal(f"token:{row.name}", row.name, "token", permissions=INGEST_PERMISSIONS, credential=row.id)
        if owner is None or owner.disabled:
            return None
        # Never more than the owner has today: who loses a role loses it in their tokens too.
        held = permissions_of(row.roles) & permissions_of(owner.roles)
        return Principal(
            f"{owner.name}/token:{row.name}",
            f"{row.name} ({owner.name})",
            "token",
            frozenset(row.roles),
            held,
            credential=row.id,
        )

    def _forget(self) -> None:
        with self._seen_lock:
            self._seen.clear()

    # ------------------------------------------------------------------------------------------ audit

    def audit_page(
        self, *, limit: int = 100, before: int | None = None, actor: str = "", object_id: str = "", action: str = ""
    ) -> dict[str, Any]:
        """The newest audit rows and how many match; see `AuditStore.page`."""
        with self._state.read() as unit:
            rows, total = unit.audit.page(limit=limit, before=before, actor=actor, object_id=object_id, action=action)
        return {"items": [r.to_dict() for r in rows], "total": total}

    def verify_audit(self) -> dict[str, Any]:
        """Recomputes the audit chain."""
        with self._state.read() as unit:
            verdict = unit.audit.verify()
        return {
            "intact": verdict.intact,
            "rows": verdict.rows,
            "broken_at": verdict.broken_at,
            "reason": verdict.reason,
        }


def _hash(secret: str) -> str:
    """A fast hash does: secrets of 192 bits and more can't be guessed, unlike passwords."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _principal(user: UserRow, credential: str, address: str) -> Principal:
    return Principal(
        user.name,
        user.display_name,
        "user",
        frozenset(user.roles),
        permissions_of(user.roles),
        credential=credential,
        address=address,
    )


def _check_roles(roles: Sequence[str]) -> None:
    for role in roles:
        if role not in ROLES:
            raise WrongAccountError(f"There is no role {role!r}.", hint=did_you_mean(role, ROLES))


def _audit(unit: Unit, by: Principal, action: str, kind: str, what: str, **values: Any) -> None:
    unit.audit.add(by.name, action, kind, what, address=by.address, **values)


def _shown(user: UserRow) -> dict[str, Any]:
    return {
        "name": user.name,
        "display_name": user.display_name,
        "roles": list(user.roles),
        "disabled": user.disabled,
        "created": text_of(user.created),
        "last_sign_in": text_of(user.last_sign_in),
    }


def _shown_token(token: TokenRow) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "kind": token.kind,
        "roles": list(token.roles),
        "owner": token.owner,
        "created": text_of(token.created),
        "expires": text_of(token.expires),
        "last_used": text_of(token.last_used),
    }
