"""Who is asking: session cookie or bearer token to a Principal, and the permission that a route needs.

A change by cookie needs the header `X-Tocsin-Request` too: a foreign site can send neither it (no CORS answer allows it) nor the
SameSite=Strict cookie. A bearer token needs no such header, since no browser adds one by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, cast

from fastapi import Depends, Request

from tocsin.access import (
    PERMISSIONS,
    NotSignedInError,
    Principal,
    RequestHeaderMissingError,
    require,
)
from tocsin.api.ports import Workspace

__all__ = ["COOKIE", "HEADER", "SignedIn", "client_address", "needs", "permission_of", "public", "workspace_of"]

COOKIE = "tocsin_session"
HEADER = "X-Tocsin-Request"

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def workspace_of(request: Request) -> Workspace:
    """The workspace that the application was made with."""
    return cast(Workspace, request.app.state.workspace)


def client_address(request: Request) -> str:
    """The peer's address. Forwarded headers count only when the server was told to trust its proxy (uvicorn does that)."""
    return request.client.host if request.client else ""


def signed_in(request: Request) -> Principal:
    """The principal of a request, or NotSignedInError; RequestHeaderMissingError for a change by cookie without our header."""
    access = workspace_of(request).access
    address = client_address(request)
    authorization = request.headers.get("authorization", "")
    if authorization:
        scheme, _, token = authorization.partition(" ")
        principal = access.by_token(token.strip(), address=address) if scheme.lower() == "bearer" else None
        if principal is None:
            raise NotSignedInError("The token isn't valid, or it has expired.", hint="Make one under Settings, Tokens.")
        return principal
    secret = request.cookies.get(COOKIE, "")
    principal = access.by_session(secret, address=address) if secret else None
    if principal is None:
        raise NotSignedInError("Sign in first.", hint="POST /api/v1/session, or send Authorization: Bearer <token>.")
    if request.method not in _SAFE and (
        HEADER not in request.headers or request.headers.get("sec-fetch-site", "same-origin") not in _OWN_SITE
    ):
        raise RequestHeaderMissingError(
            f"A change by cookie needs the header {HEADER}: 1 and must come from this site.",
            hint=f"Send {HEADER}: 1 from the portal's own pages, or use a bearer token.",
        )
    return principal


_OWN_SITE = frozenset({"same-origin", "none"})

SignedIn = Annotated[Principal, Depends(signed_in)]
"""Any signed-in principal."""


def needs(permission: str) -> Callable[..., Principal]:
    """A dependency: the signed-in principal, who must have that permission."""
    if permission not in PERMISSIONS:
        raise KeyError(permission)

    def check(principal: SignedIn) -> Principal:
        require(principal, permission)
        return principal

    check.permission = permission  # type: ignore[attr-defined]  # the OpenAPI and the permission matrix test read it
    return check


def public() -> dict[str, Any]:
    """OpenAPI mark of a route that needs no sign-in. The matrix test knows these routes by name as well."""
    return {"security": []}


def permission_of(dependant: Any) -> str | None:
    """The permission that a route's dependencies ask for; "" for any signed-in principal, None when they ask for nothing."""
    found: str | None = None
    for sub in dependant.dependencies:
        if permission := getattr(sub.call, "permission", None):
            return str(permission)
        if sub.call is signed_in:
            found = ""
        deeper = permission_of(sub)
        if deeper:
            return deeper
        found = deeper if deeper is not None else found
    return found
