"""/health: is the server up? The one thing that needs no sign-in besides signing in."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request

from tocsin.api.security import public, workspace_of
from tocsin.api.shapes import Output

router = APIRouter(prefix="/health", tags=["health"])


class Health(Output):
    """The server's own health. No version and no names: the answer is for anyone who can reach the port."""

    status: Literal["ok", "failing"]
    state: bool


@router.get("", openapi_extra=public())
def health(request: Request) -> Health:
    """Whether the server answers and its state can be read."""
    state = workspace_of(request).state.alive()
    return Health(status="ok" if state else "failing", state=state)
