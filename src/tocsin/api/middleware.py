"""Around every answer: security headers, and a bound on request bodies. Plain ASGI, so that streams stay streams."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tocsin.api.problems import problem

__all__ = ["BodyLimit", "SecurityHeaders", "Unexpected"]

_log = logging.getLogger("tocsin.api")

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class SecurityHeaders:
    """Adds security headers; answers of the API are never cached and get a policy that lets a browser do nothing with them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        await self._app(scope, receive, wrapped)


class Unexpected:
    """Makes an unforeseen error a problem that shows nothing of the inside, and keeps the connection: the framework's own handler would
    raise the error once more, upon which the server drops the connection under the next request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            _log.exception("unexpected error at %s %s", scope["method"], scope["path"])
            if started:
                raise  # half an answer is out: only a broken connection can say so
            answer = problem(500, "API0500", "Something failed inside; the server's log has the details.")
            await answer(scope, receive, send)


class BodyLimit:
    """Refuses bodies of the API over `limit` bytes with 413: by Content-Length or, without one, as soon as the count is passed.

    Paths outside `prefix` set their own bound (the intake, where rows come in); `larger` gives paths a bound of their own.
    """

    def __init__(self, app: ASGIApp, limit: int, prefix: str, larger: Mapping[str, int] | None = None) -> None:
        self._app = app
        self._limit = limit
        self._prefix = prefix
        self._larger = larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or not scope["path"].startswith(self._prefix):
            await self._app(scope, receive, send)
            return
        limit = next((n for p, n in self._larger.items() if scope["path"].startswith(p)), self._limit)
        detail = f"The body is larger than {limit} bytes."
        declared = next((v for k, v in scope["headers"] if k == b"content-length"), b"")
        if declared.isdigit() and int(declared) > limit:
            answer = problem(413, "API0013", detail, headers={"Connection": "close"})
            await answer(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > limit:
                    # An HTTPException, because FastAPI turns any other error while it reads a body into a 400.
                    raise HTTPException(413, detail, {"Connection": "close"})
            return message

        await self._app(scope, counted, send)
