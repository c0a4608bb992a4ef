"""Log Analytics' errors: ``{"error": {code, message, correlationId, innererror}}``, with our code and sentence inside."""

from __future__ import annotations

import uuid
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from tocsin.api.problems import status_of
from tocsin.api.wire_route import WireRoute, error_response
from tocsin.base.errors import KqlError, QueryError, TocsinError, UsageError

__all__ = ["LogAnalyticsRoute", "error_object", "ids_of", "partial"]

_STATUS = {
    "QRY0002": 504,
    "QRY0008": 429,
    "QRY0013": 429,
    "USE0020": 413,
    "USE0023": 404,
}
_BY_STATUS = {
    401: ("AuthorizationRequiredError", "Valid authentication was not provided"),
    403: (
        "InsufficientAccessError",
        "The provided credentials have insufficient access to perform the requested operation",
    ),
    404: ("PathNotFoundError", "The requested path does not exist"),
    413: ("RequestTooLargeError", "The request is too large"),
    429: ("ThrottledError", "Too many requests"),
    504: ("GatewayTimeout", "The query was ended before it was done"),
}


def ids_of(request: Request) -> dict[str, str]:
    """Headers that name the request: the client's own id, if it gave one, and ours. Made once a request."""
    found: dict[str, str] | None = getattr(request.state, "log_analytics_ids", None)
    if found is None:
        found = {"x-ms-request-id": str(uuid.uuid4())}
        client = request.headers.get("x-ms-client-request-id", "").strip()[:256]
        if client and client.isprintable():
            found["x-ms-client-request-id"] = client
        request.state.log_analytics_ids = found
    return found


def error_object(error: TocsinError, correlation: str) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the error object of a Tocsin error."""
    status = _STATUS.get(error.code) or (400 if isinstance(error, UsageError | QueryError) else status_of(error))
    code, message = _BY_STATUS.get(status, ("BadArgumentError", "The request had some invalid properties"))
    if status >= 500 and status != 504:
        code, message = "InternalError", "An internal error has occurred"
    told = f"{error.message} {error.hint}".strip()
    inner: dict[str, Any] = {"code": error.code, "message": told}
    if isinstance(error, KqlError):
        syntax = error.code.startswith("KQL00")
        if error.place and error.place.line is not None:
            inner |= {"line": error.place.line, "pos": error.place.column}
            inner["message"] = f"{told} [line:position={error.place.line}:{error.place.column}]"
        inner = {
            "code": "SyntaxError" if syntax else "SemanticError",
            "message": "A recognition error occurred in the query." if syntax else "A semantic error occurred.",
            "innererror": inner,
        }
    return status, {"message": message, "code": code, "correlationId": correlation, "innererror": inner}


def partial(error: TocsinError) -> dict[str, Any]:
    """The error that stands beside the tables of an answer that was cut, or that lacks something, such as archived days."""
    told = f"{error.message} {error.hint}".strip()
    large = error.code in ("QRY0010", "QRY0011")
    why = "Query result set has exceeded its limit (E_QUERY_RESULT_SET_TOO_LARGE): " if large else ""
    return {
        "code": "PartialError",
        "message": "There were some errors when processing your query.",
        "details": [
            {
                "code": "EngineError",
                "message": told,
                "innererror": {
                    "code": "-2133196797" if large else error.code,
                    "message": f"{why}{error.code}: {told}",
                    "severity": 2,
                    "severityName": "Error",
                },
            }
        ],
    }


class LogAnalyticsRoute(WireRoute):
    """A route whose every failure is answered in Log Analytics' shape."""

    def answer(self, request: Request, error: TocsinError) -> Response:
        """See WireRoute."""
        ids = ids_of(request)
        status, found = error_object(error, ids["x-ms-request-id"])
        return error_response(error, status, found, ids, log=status >= 500 and status != 504)

    def invalid(self, error: RequestValidationError) -> str:
        """See WireRoute."""
        first = error.errors()[0]
        where = ".".join(str(p) for p in first.get("loc", ()))
        return f"{where}: {first.get('msg', '')}"
