"""/metrics: figures for Prometheus, in its text format or OpenMetrics."""

from __future__ import annotations

from ipaddress import ip_address

from fastapi import APIRouter, Request, Response

from tocsin.access import require
from tocsin.api.security import client_address, public, signed_in, workspace_of

router = APIRouter(include_in_schema=False)

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


@router.get("/metrics", openapi_extra=public())
def metrics(request: Request) -> Response:
    """The figures: for a token or session with data.read, and, unless `server.metrics_loopback` is off, for programs of this machine."""
    workspace = workspace_of(request)
    if not (workspace.settings.server.metrics_loopback and _own_machine(request)):
        require(signed_in(request), "data.read")
    body, media_type = workspace.metrics.exposition(request.headers.get("accept", ""))
    return Response(body, media_type=media_type)


def _own_machine(request: Request) -> bool:
    """Whether a program of this machine asks for itself: one that passes on what others ask, a proxy, doesn't count; nor does a wrong token."""
    if "authorization" in request.headers or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ip_address(client_address(request))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
