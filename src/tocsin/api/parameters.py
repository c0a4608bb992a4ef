"""What a route is asked by: a query parameter that it doesn't know is refused, for an answer that leaves it out looks like the answer to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import Request

from tocsin.api.security import SignedIn
from tocsin.base.errors import UsageError, did_you_mean

__all__ = ["only_known_parameters"]


def only_known_parameters(request: Request, _principal: SignedIn) -> None:
    """A dependency of a router: UsageError API0014 for a query parameter that the route declares nowhere. Who isn't signed in is told that first."""
    if not request.query_params:
        return
    known = sorted(set(_declared(request.scope["route"].dependant)))
    for name in request.query_params:
        if name not in known:
            listed = f"It knows {', '.join(known)}." if known else "It knows none."
            raise UsageError(
                f"{request.scope['path']} knows no parameter {name[:100]!r}.",
                code="API0014",
                hint=did_you_mean(name[:100], known) or listed,
            )


def _declared(dependant: Any) -> Iterator[str]:
    for field in dependant.query_params:
        yield field.alias
    for sub in dependant.dependencies:
        yield from _declared(sub)
