"""Errors on the wire: RFC 9457 problem details, one place that knows which error is which status.

A code's status is looked up by code first, then by the class of the error; nothing decides by a message's text.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tocsin.access import TooManyAttemptsError
from tocsin.api.positions import Positions
from tocsin.base.errors import (
    AccessError,
    ActionError,
    ConfigError,
    ContentError,
    DetectError,
    IngestError,
    KqlError,
    LakeError,
    QueryError,
    StateError,
    TocsinError,
    UsageError,
    did_you_mean,
)
from tocsin.kql.diagnostics import Diagnostic

__all__ = ["MEDIA_TYPE", "RETRY_AFTER", "diagnostic", "install", "problem", "status_of"]

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER = "5"
"""Seconds after which it is worth to ask again when the server is busy."""

_log = logging.getLogger("tocsin.api")

_BY_CODE: Mapping[str, int] = {
    "ACC0001": 401,
    "ACC0003": 401,
    "ACC0004": 429,
    "ACC0006": 422,
    "ACC0007": 422,
    "STA0002": 404,
    "STA0003": 409,
    "ACT0002": 404,
    "ACT0003": 422,
    "ACT0004": 409,
    "ACT0005": 409,
    "INC0001": 422,
    "CNT0020": 422,
    "ING0050": 422,
    "ING0051": 422,
    "ING0052": 409,
    "ING0053": 422,
    "ING0054": 409,
    "ING0055": 409,
    "QRY0008": 503,
    "USE0032": 409,
    "LAK0025": 404,
    "LAK0028": 409,
    "LAK0029": 409,
    "QRY0013": 429,
}

_BY_CLASS: tuple[tuple[type[TocsinError], int], ...] = (
    (KqlError, 400),
    (QueryError, 422),
    (AccessError, 403),
    (ActionError, 409),
    (ContentError, 422),
    (DetectError, 422),
    (UsageError, 422),
    (IngestError, 400),
    (ConfigError, 500),
    (LakeError, 503),
    (StateError, 503),
)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    hint: str = "",
    place: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """An answer with problem details."""
    body: dict[str, Any] = {
        "type": f"urn:tocsin:error:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "hint": hint,
        **({"place": place} if place else {}),
        **more,
    }
    return Response(orjson.dumps(body, default=str), status, dict(headers or {}), media_type=MEDIA_TYPE)


def diagnostic(found: Diagnostic, positions: Positions | None) -> dict[str, Any]:
    """The JSON form of a finding about the text of `positions`; without the text its place is told as the finding has it."""
    if positions is None:
        start, end = found.span
        at, fix = {"start": start, "end": end, "line": found.line, "column": found.column}, None
        at |= {"end_line": found.line, "end_column": found.column + max(end - start, 1)}
    else:
        at = positions.range(found.span)
        fix = None if found.fix is None else {"range": positions.range(found.fix[0]), "text": found.fix[1]}
    return {
        "code": found.code,
        "message": found.message,
        "severity": found.severity,
        "hint": str(found.hint),
        "fix": fix,
        **at,
    }


def status_of(error: TocsinError) -> int:
    """The HTTP status of an error."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    return next((status for kind, status in _BY_CLASS if isinstance(error, kind)), 500)


def install(app: FastAPI) -> None:
    """Makes every error that was foreseen a problem; `middleware.Unexpected` does the rest."""
    app.add_exception_handler(TocsinError, _tocsin)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


async def _tocsin(_request: Request, error: Exception) -> Response:
    assert isinstance(error, TocsinError)
    status = status_of(error)
    headers: dict[str, str] = {}
    more: dict[str, Any] = dict(error.more)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="tocsin"'
    if isinstance(error, TooManyAttemptsError):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, KqlError):
        text = getattr(error, "text", "")
        positions = Positions(text) if text else None
        more["diagnostics"] = [diagnostic(d, positions) for d in getattr(error, "diagnostics", ())]
    if status in (429, 503) and "Retry-After" not in headers:
        headers["Retry-After"] = RETRY_AFTER
    if status >= 500:
        _log.error("request failed: %s", error)
    return problem(
        status,
        error.code,
        error.message,
        hint=error.hint,
        place=str(error.place) if error.place else None,
        headers=headers,
        **more,
    )


async def _validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_plain(e) for e in error.errors()]
    first = errors[0] if errors else {"where": "", "message": "the request is malformed"}
    return problem(
        422,
        "API0001",
        f"{first['where'] or 'The request'}: {first['message']}",
        hint=_meant(error.errors()) or "The shapes are in /api/v1/openapi.json.",
        errors=errors,
    )


def _meant(errors: Sequence[Mapping[str, Any]]) -> str:
    """The value that was nearly given, where the first error is one of a choice."""
    if not errors or errors[0].get("type") not in ("literal_error", "enum"):
        return ""
    choices = re.findall(r"'([^']*)'", str(errors[0].get("ctx", {}).get("expected", "")))
    return did_you_mean(str(errors[0].get("input", ""))[:100], choices)


def _plain(error: Mapping[str, Any]) -> dict[str, Any]:
    where: Sequence[Any] = error.get("loc", ())
    return {"where": ".".join(str(p) for p in where), "message": error.get("msg", ""), "type": error.get("type", "")}


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "API0004", 405: "API0005", 413: "API0013"}
    return problem(error.status_code, codes.get(error.status_code, "API0002"), str(error.detail), headers=error.headers)
