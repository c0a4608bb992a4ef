"""Plain JSON lines over HTTP: `POST /ingest/v1/jsonl`, `Authorization: Bearer <token>`, gzip or zstd.

`X-Tocsin-Table` (or `?table=`) names the catalogue table that the rows belong to when they don't say it themselves. `X-Request-Id` (or
`Idempotency-Key`) makes a repeated request harmless. 200 means durable: `{"accepted": bytes, "sequence": n, "duplicate": false}`.
Errors are problem details (RFC 9457); 503 carries Retry-After.
"""

from __future__ import annotations

from http import HTTPStatus

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.base.errors import LakeError, did_you_mean
from tocsin.ingest import codes
from tocsin.ingest.custom import is_custom
from tocsin.ingest.decoders.tables import TableMatcher, default_matcher
from tocsin.ingest.pipeline import IntakeBusyError
from tocsin.ingest.receivers.http import DEFAULT_MAX_BODY, BodyError, Port, TokenCheck, claim, read_body, store
from tocsin.lake import Body

__all__ = ["JsonLinesReceiver"]


class JsonLinesReceiver:
    """The route."""

    def __init__(
        self,
        intake: Port,
        tokens: TokenCheck,
        *,
        max_body_bytes: int = DEFAULT_MAX_BODY,
        matcher: TableMatcher | None = None,
    ) -> None:
        self._intake = intake
        self._tokens = tokens
        self._max_body = max_body_bytes
        self._matcher = matcher or default_matcher()

    def routes(self) -> list[Route]:
        """The routes, to be mounted at the server's root."""
        return [Route("/ingest/v1/jsonl", self._take, methods=["POST"], include_in_schema=False)]

    async def _take(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        sender = self._tokens(token.strip()) if scheme.lower() in ("bearer", "splunk") and token.strip() else None
        if sender is None:
            why = "A valid intake token is needed."
            self._intake.refused("jsonl", request.client.host if request.client else "unknown", f"ING0032 {why}")
            return _problem(401, "ING0032", why, headers={"WWW-Authenticate": "Bearer"})
        answer = await self._take_from(sender, request)
        if answer.status_code >= 400:
            said = orjson.loads(answer.body)
            self._intake.refused("jsonl", sender, f"{said['code']} {said['detail']}")
        return answer

    async def _take_from(self, sender: str, request: Request) -> Response:
        table = request.headers.get("x-tocsin-table") or request.query_params.get("table") or ""
        if table and table not in self._matcher and not is_custom(table):
            return _problem(
                400, codes.NO_TABLE, f"There is no table {table!r}.", hint=did_you_mean(table, self._matcher.names())
            )
        if not self._intake.healthy or self._intake.pressure >= 1.0:
            return _busy("Too much waits to be stored.")
        try:
            data = await read_body(request, self._max_body)
        except BodyError as error:
            return _problem(error.status, error.code, error.message, hint=error.hint)
        if not data or data.isspace():
            return _problem(400, codes.JSON_SYNTAX, "The body is empty.")
        meta = {"token": sender, "peer": request.client.host if request.client else ""}
        if table:
            meta["table"] = table
        given = request.headers.get("x-request-id") or request.headers.get("idempotency-key") or ""
        key = f"id:{sender}/{given[:256]}".replace("\n", " ").replace("\r", " ") if given else ""
        if key:
            if not await claim(self._intake, key):
                return JSONResponse({"accepted": len(data), "sequence": None, "duplicate": True})
            meta["request"] = key
        try:
            sequence = await store(self._intake, Body("jsonl", data, self._intake.now(), meta), key)
        except IntakeBusyError as error:
            return _busy(error.message)
        except LakeError as error:  # a full disk, for one: the sender keeps it and comes again
            return _problem(503, error.code, error.message, hint=error.hint, headers={"Retry-After": "10"})
        return JSONResponse({"accepted": len(data), "sequence": sequence, "duplicate": False})


def _busy(message: str) -> Response:
    return _problem(503, "ING0030", message, hint="Send again a little later.", headers={"Retry-After": "2"})


def _problem(status: int, code: str, detail: str, *, hint: str = "", headers: dict[str, str] | None = None) -> Response:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "hint": hint,
    }
    return JSONResponse(body, status, headers, media_type="application/problem+json")
