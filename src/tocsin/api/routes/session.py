"""/session: sign in, who am I, sign out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.security import COOKIE, SignedIn, client_address, public, workspace_of
from tocsin.api.shapes import Input, Output

router = APIRouter(prefix="/session", tags=["session"])


class Credentials(Input):
    """A name and its password."""

    username: str = Field(min_length=1, max_length=128)
    password: str = Field(min_length=1, max_length=1024)


class NewPassword(Input):
    """The password now and the one to be."""

    current: str = Field(min_length=1, max_length=1024)
    new: str = Field(min_length=1, max_length=1024)


class SessionUser(Output):
    """Who is signed in and what they may do."""

    name: str
    display_name: str
    roles: list[str]
    permissions: list[str]


class Session(Output):
    """The session of the caller."""

    user: SessionUser
    version: str


def _session(principal: Principal, version: str) -> Session:
    return Session(
        user=SessionUser(
            name=principal.name,
            display_name=principal.display_name,
            roles=sorted(principal.roles),
            permissions=sorted(principal.permissions),
        ),
        version=version,
    )


@router.post("", openapi_extra=public())
def sign_in(body: Credentials, request: Request, response: Response) -> Session:
    """Signs in with a password and sets the session cookie. 401 for a wrong one, 429 after too many."""
    workspace = workspace_of(request)
    signed = workspace.access.sign_in(
        body.username, body.password, address=client_address(request), agent=request.headers.get("user-agent", "")
    )
    response.set_cookie(
        COOKIE,
        signed.secret,
        httponly=True,
        samesite="strict",
        secure=workspace.settings.server.secure_cookie or request.url.scheme == "https",
        path="/",
        max_age=int(workspace.access.settings.session_absolute.total_seconds()),
    )
    return _session(signed.principal, workspace.version)


@router.get("")
def get_session(principal: SignedIn, request: Request) -> Session:
    """The caller's session."""
    return _session(principal, workspace_of(request).version)


@router.delete("", status_code=204)
def sign_out(principal: SignedIn, request: Request, response: Response) -> None:
    """Ends the session and clears the cookie."""
    workspace_of(request).access.sign_out(principal)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


@router.put("/password", status_code=204)
def change_password(body: NewPassword, principal: SignedIn, request: Request) -> None:
    """Changes the caller's password; their other sessions end."""
    workspace_of(request).access.change_password(principal, body.current, body.new)
