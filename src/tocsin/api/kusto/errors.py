"""Kusto's errors: OneApiErrors, with our code, sentence and place inside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from tocsin.api.kusto.asked import Ids, ids_of
from tocsin.api.problems import status_of
from tocsin.api.wire_route import WireRoute, error_response
from tocsin.base.errors import AccessError, KqlError, QueryError, TocsinError, UsageError

__all__ = ["KustoRoute", "one_api"]

_SYNTAX = tuple(f"KQL00{n:02d}" for n in range(30))
_LIMITS = {
    "QRY0004": ("KustoServicePartialQueryFailureLowMemoryConditionException", "80DA0007", "E_LOW_MEMORY_CONDITION"),
    "QRY0010": ("KustoServicePartialQueryFailureLimitsExceededException", "80DA0003", "E_QUERY_RESULT_SET_TOO_LARGE"),
    "QRY0011": ("KustoServicePartialQueryFailureLimitsExceededException", "80DA0003", "E_QUERY_RESULT_SET_TOO_LARGE"),
    "QRY0012": ("KustoServicePartialQueryFailureLowMemoryConditionException", "80DA0007", "E_LOW_MEMORY_CONDITION"),
}
_STATUS = {"QRY0002": 504, "QRY0003": 400, "QRY0004": 400, "QRY0012": 400, "QRY0014": 400, "USE0020": 413}


def _told(error: TocsinError) -> str:
    return f"{error.message} {error.hint}".strip()


def one_api(error: TocsinError, ids: Ids, *, text: str = "") -> tuple[int, dict[str, Any]]:
    """The HTTP status and the error object of a Tocsin error."""
    status = _STATUS.get(error.code) or (400 if isinstance(error, UsageError | QueryError) else status_of(error))
    if error.code in ("QRY0008", "QRY0013"):
        status = 429
    code, kind, message = "General_BadRequest", "KustoBadRequestException", "Request is invalid and cannot be executed."
    told, permanent = f"{error.code}: {_told(error)}", True
    inner: dict[str, Any] = {}
    if isinstance(error, KqlError):
        told, inner = _about_text(error, text)
        if error.code in _SYNTAX:
            code, kind = "BadRequest_SyntaxError", "SyntaxException"
    elif error.code == "USE0023":
        code, kind = "BadRequest_EntityNotFound", "EntityNotFoundException"
    elif error.code == "USE0024":
        code = "BadRequest_NotSupported"
    elif error.code in _LIMITS:
        kind, number, name = _LIMITS[error.code]
        code, permanent = "LimitsExceeded", False
        what = "has exceeded the allowed limits" if number == "80DA0003" else "lacks memory resources to complete"
        told = f"Query execution {what} ({number}): {error.code}: {error.message} ({name}). {error.hint}".strip()
    elif error.code == "QRY0002":
        code, kind, message, permanent = "Timeout", "KustoServiceTimeoutException", "Request timed out.", False
        told = f"Query execution has exceeded its time limit (E_QUERY_TIMEOUT): {error.code}: {_told(error)}"
    elif error.code == "QRY0003":
        code, kind, permanent = "QueryCanceled", "KustoServicePartialQueryFailureException", False
        told = f"Query was canceled (E_QUERY_CANCELLED): {error.code}: {_told(error)}"
    elif status == 429:
        code, kind, permanent = "TooManyRequests", "KustoRequestThrottledException", False
        message = "Request is denied due to throttling."
    elif status == 401:
        code, kind, message = "Unauthorized", "KustoUnauthorizedException", "Missing adequate access rights."
    elif status == 403 or isinstance(error, AccessError):
        code, kind, message = (
            "Forbidden",
            "KustoUnauthorizedException",
            "Caller is not authorized to perform this action.",
        )
    elif status >= 500:
        code, kind, permanent = "InternalServiceError", "KustoServiceException", False
        message = "An internal service error occurred."
    return status, {
        "code": code,
        "message": message,
        "@type": f"Kusto.Data.Exceptions.{kind}",
        "@message": told,
        "@context": context(ids),
        "@permanent": permanent,
        **({"innererror": inner} if inner else {}),
    }


def _about_text(error: KqlError, text: str) -> tuple[str, dict[str, Any]]:
    """The sentence about a text that is wrong, as Kusto builds it, and its inner error with the place."""
    syntax = error.code in _SYNTAX
    word = "Syntax" if syntax else "Semantic"
    line, column = (error.place.line or 1, error.place.column or 1) if error.place else (1, 1)
    where = f"[line:position={line}:{column}]"
    sentence = f"{word} error: {error.code}: {_told(error)} {where}."
    inner = {
        "code": error.code,
        "message": error.message,
        "@type": f"Kusto.Data.Exceptions.{'Syntax' if syntax else 'Semantic'}Exception",
        "@message": sentence,
        "@line": str(line),
        "@pos": str(column),
        "@errorCode": error.code,
        "@errorMessage": error.message,
        "@permanent": True,
    }
    shown = text if len(text) <= 1000 else text[:1000] + "…"
    return f"Request is invalid and cannot be processed: {sentence} Query: '{shown}'", inner


def context(ids: Ids) -> dict[str, Any]:
    """What an error says of its request."""
    return {
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "serviceAlias": "TOCSIN",
        "clientRequestId": ids.client,
        "activityId": ids.activity,
        "subActivityId": ids.activity,
        "parentActivityId": ids.activity,
    }


class KustoRoute(WireRoute):
    """A route whose every failure is answered in Kusto's shape."""

    def answer(self, request: Request, error: TocsinError) -> Response:
        """See WireRoute."""
        ids = ids_of(request)
        status, found = one_api(error, ids, text=str(getattr(request.state, "kusto_text", "")))
        return error_response(error, status, found, ids.headers, log=status >= 500 and error.code != "QRY0002")

    def invalid(self, error: RequestValidationError) -> str:
        """See WireRoute."""
        return str(error.errors()[0].get("msg", ""))
