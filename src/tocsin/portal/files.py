"""Serving the built portal: hashed files for a year, `index.html` fresh each time, and the content policy that goes with it.

Why so: `docs/decisions/0004-portal-editor-and-policy.md`. In short: scripts, workers and
connections only to ourselves, no `eval` anywhere, style elements only with the nonce of this very answer; style *attributes* must be
allowed because Monaco and Fluent position by them.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

__all__ = ["STATIC", "PortalFiles"]

STATIC = Path(__file__).parent / "static"
"""Where the build puts the portal and the wheel carries it."""

_NONCE_MARK = "__TOCSIN_NONCE__"

_TYPES = {
    # By hand: the host's own table may say text/plain for .js, which a browser refuses to run.
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ttf": "font/ttf",
    ".woff2": "font/woff2",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src-elem 'self' 'nonce-{nonce}'; style-src-attr 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; worker-src 'self'; "
    "form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)
_WORKER_POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'"

_COMMON_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

_MISSING_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Tocsin</title>
<h1>The portal is not built</h1>
<p>Tocsin runs and its API answers at <code>/api/v1</code>, but this installation has no portal files. In a checkout, run
<code>python -m tocsin.portal.build</code> (or <code>make up</code>), then reload this page.</p></html>"""


class PortalFiles:
    """An ASGI application for every path that is not the API's; mount it last, at ``/``.

    `/assets/…` must exist (404 otherwise); any other path that is no file answers `index.html`, because the portal routes in the browser.
    `/api/…` is never answered with a page: a mistyped API path stays a 404.
    """

    def __init__(self, folder: Path = STATIC) -> None:
        self._folder = folder.resolve()

    @property
    def built(self) -> bool:
        """Whether there is a portal to serve."""
        return (self._folder / "index.html").is_file()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        from starlette.requests import Request

        response = self._answer(Request(scope))
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("Method not allowed", 405, {"Allow": "GET, HEAD"})
        path = request.url.path.lstrip("/")
        if path == "api" or path.startswith("api/"):
            return PlainTextResponse("Not found", 404)
        if not self.built:
            return HTMLResponse(_MISSING_PAGE, 503, {"Cache-Control": "no-store"} | _COMMON_HEADERS)
        file = self._file(path)
        if file is not None:
            return self._send(file, request, hashed=path.startswith("assets/"))
        if path.startswith("assets/"):
            return PlainTextResponse("Not found", 404)
        return self._page()

    def _file(self, path: str) -> Path | None:
        """The built file of that path; None for the page itself, for what is not there and for anything outside the folder."""
        if not path or path == "index.html" or any(part.startswith(".") for part in path.split("/")) or "\0" in path:
            return None
        file = (self._folder / path).resolve()
        return file if file.is_relative_to(self._folder) and file.is_file() and file.suffix in _TYPES else None

    def _page(self) -> Response:
        # Read each time (it is small): a build made while the server runs has other names for its files.
        index = (self._folder / "index.html").read_text(encoding="utf-8")
        nonce = secrets.token_urlsafe(18)
        headers = {"Content-Security-Policy": _PAGE_POLICY.format(nonce=nonce), "Cache-Control": "no-cache"}
        return HTMLResponse(index.replace(_NONCE_MARK, nonce), headers=headers | _COMMON_HEADERS)

    def _send(self, file: Path, request: Request, *, hashed: bool) -> Response:
        headers = dict(_COMMON_HEADERS)
        # The name of a file under assets/ holds the hash of its content, so it never changes.
        headers["Cache-Control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        headers["Vary"] = "Accept-Encoding"
        if file.suffix == ".js":
            # A worker obeys the policy of its own file, not the page's.
            headers["Content-Security-Policy"] = _WORKER_POLICY
        accepted = {part.split(";")[0].strip() for part in request.headers.get("accept-encoding", "").split(",")}
        chosen = file
        for encoding, suffix in (("br", ".br"), ("gzip", ".gz")):
            packed = file.with_name(file.name + suffix)
            if encoding in accepted and packed.is_file():
                headers["Content-Encoding"] = encoding
                chosen = packed
                break
        return FileResponse(chosen, headers=headers, media_type=_TYPES[file.suffix])
