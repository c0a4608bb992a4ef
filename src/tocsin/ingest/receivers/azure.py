"""Azure Monitor's two ways to send logs: the Logs Ingestion API and the Data Collector API before it.

`POST /dataCollectionRules/{immutable id}/streams/{stream}?api-version=2023-01-01`: a JSON array of rows, `Authorization: Bearer <intake token>`.
The stream names the table: `Microsoft-<table>` and `Custom-<table>` for a table of the catalogue, `Custom-<name>_CL` for one of yours, which is
made when its first rows come. 204 means durable. There is no rule to look up: any immutable id is taken.

`POST /api/logs?api-version=2016-04-01`: an array or one object, `Log-Type: Name`, `Authorization: SharedKey <workspace>:<signature>` with the keys of
the setting `ingest.azure_shared_keys`. Rows go to `Name_CL`, columns get the suffix of their type, as the Data Collector API gives it.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tocsin.base.errors import did_you_mean
from tocsin.ingest import codes
from tocsin.ingest.custom import is_custom
from tocsin.ingest.decoders.jsontext import load_tolerant
from tocsin.ingest.decoders.jsonvalue import json_text
from tocsin.ingest.decoders.tables import TableMatcher, default_matcher
from tocsin.ingest.receivers.door import HttpReceiver, RefusedError, lasting_key
from tocsin.ingest.receivers.envelopes import compact
from tocsin.ingest.receivers.http import DEFAULT_MAX_BODY, BodyError, Port, TokenCheck

__all__ = ["AzureReceiver", "signature", "suffixed"]

_STREAM = re.compile(r"(Custom|Microsoft)-(.+)")
_LOG_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_GUID = re.compile(r"\{?[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\}?")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?")
_AS_THEY_ARE = frozenset({"TimeGenerated", "Computer", "RawData", "_ResourceId"})
_SKEW = timedelta(minutes=15)
_NAMES = {
    400: "InvalidRequest",
    401: "InvalidToken",
    403: "InvalidAuthorization",
    404: "NotFound",
    408: "RequestTimeout",
    411: "MissingContentLength",
    413: "ContentLengthLimitExceeded",
    415: "UnsupportedContentEncoding",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}
_CODES = {
    codes.NO_TABLE: "InvalidStream",
    codes.NO_MEDIA: "MissingContentType",
    codes.OTHER_MEDIA: "UnsupportedContentType",
}


class AzureReceiver(HttpReceiver):
    """The routes of both APIs."""

    kind = "azure"
    schemes = frozenset({"bearer"})

    def __init__(
        self,
        intake: Port,
        tokens: TokenCheck,
        *,
        max_body_bytes: int = DEFAULT_MAX_BODY,
        max_record_bytes: int = 16 << 20,
        shared_keys: Mapping[str, str] | None = None,
        matcher: TableMatcher | None = None,
    ) -> None:
        """`shared_keys`: base64 keys by workspace id, for the Data Collector API; without any it takes nothing."""
        super().__init__(intake, tokens, max_body_bytes=max_body_bytes, max_record_bytes=max_record_bytes)
        self._keys = {k.lower(): v for k, v in (shared_keys or {}).items()}
        self._matcher = matcher or default_matcher()

    def routes(self) -> list[BaseRoute]:
        """The routes, to be mounted at the server's root."""
        path = "/dataCollectionRules/{rule}/streams/{stream}"
        return [
            Route(path, self.guarded(self._stream), methods=["POST"], include_in_schema=False),
            Route("/api/logs", self._collector, methods=["POST"], include_in_schema=False),
        ]

    def refusal(self, error: BodyError) -> Response:
        """Azure's error object, its name also in a header."""
        status = 429 if error.status == 503 and error.code == "ING0030" else error.status
        name = _CODES.get(error.code) or _NAMES.get(status, "InternalServerError")
        message = f"{error.message} {error.hint}".strip()
        headers = {"x-ms-error-code": name, **getattr(error, "headers", {})}
        return JSONResponse({"error": {"code": name, "message": message}}, status, headers)

    async def _stream(self, request: Request, sender: str) -> Response:
        table = self._table(request.path_params["stream"])
        if not request.query_params.get("api-version"):
            raise RefusedError("The api-version query parameter is required.", 400, hint="Use 2023-01-01.")
        _media(request)
        data = await self.body(request)
        lines = await self.aside(self._lines, data)
        given = request.headers.get("x-ms-client-request-id", "")
        key = lasting_key(self.kind, sender, given, data) if given else ""
        meta = {"form": "table", "table": table, "path": request.path_params["rule"][:128]}
        key = await self.keep(request, sender, lines, meta=meta, key=key)
        return await self.answer(request, Response(status_code=204), key)

    def _table(self, stream: str) -> str:
        named = _STREAM.fullmatch(stream)
        table = named[2] if named is not None else ""
        if table in self._matcher or (named is not None and named[1] == "Custom" and is_custom(table)):
            return table
        near = did_you_mean(table, self._matcher.names()) if table else ""
        raise RefusedError(
            f"The stream {stream!r} names no table.", 400, code=codes.NO_TABLE,
            hint=near or "Name it Custom-<table>_CL, or Microsoft-<table> for a table of the catalogue.",
        )  # fmt: skip

    def _lines(self, data: bytes) -> bytes:
        rows = _rows(data, single=False)
        for number, row in enumerate(rows):
            if row.__class__ is not dict:
                raise RefusedError(f"Element {number} of the array isn't an object.", 400, code=codes.JSON_NOT_OBJECT)
        return b"\n".join([_dump(row) for row in rows])

    # ---------------------------------------------------------------------------------------------- Data Collector API

    async def _collector(self, request: Request) -> Response:
        try:
            return await self._collect(request)
        except BodyError as error:
            self._intake.refused(self.kind, request.client.host if request.client else "", str(error))
            answer = self.refusal(error)
            name = answer.headers["x-ms-error-code"]
            return JSONResponse(
                {"Error": name, "Message": f"{error.message} {error.hint}".strip()},
                answer.status_code,
                {k: v for k, v in answer.headers.items() if k not in ("content-length", "content-type")},
            )

    async def _collect(self, request: Request) -> Response:
        workspace = self._signed(request)
        log_type = request.headers.get("log-type", "")
        if not _LOG_TYPE.fullmatch(log_type):
            raise RefusedError("The Log-Type header must be letters, digits and underscores, 100 at most.", 400)
        _media(request)
        data = await self.body(request)
        time_field = request.headers.get("time-generated-field", "")
        resource = request.headers.get("x-ms-azureresourceid", "")

        def lines(raw: bytes) -> bytes:
            made = []
            for number, row in enumerate(_rows(raw, single=True)):
                if row.__class__ is not dict:
                    raise RefusedError(
                        f"Element {number} of the array isn't an object.", 400, code=codes.JSON_NOT_OBJECT
                    )
                out = suffixed(row, time_field)
                if resource:
                    out["_ResourceId"] = resource
                made.append(_dump(out))
            return b"\n".join(made)

        meta = {"form": "table", "table": f"{log_type}_CL"}
        await self.keep(request, workspace, await self.aside(lines, data), meta=meta)
        return Response(status_code=200)

    def _signed(self, request: Request) -> str:
        """The workspace whose key signed the request. Raises RefusedError 403."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        workspace, _, given = value.strip().partition(":")
        key = self._keys.get(workspace.lower())
        date = request.headers.get("x-ms-date", "")
        length = request.headers.get("content-length", "")
        if scheme != "SharedKey" or key is None:
            raise RefusedError(
                "The workspace isn't known or the scheme isn't SharedKey.",
                403,
                code="ING0032",
                hint="The setting is ingest.azure_shared_keys.",
            )
        if not length.isdigit():
            raise RefusedError("Content-Length is part of what is signed.", 411)
        content_type = request.headers.get("content-type", "")
        expected = signature(key, int(length), content_type, date)
        if not hmac.compare_digest(expected.encode(), given.strip().encode()):
            raise RefusedError("The signature doesn't fit.", 403, code="ING0032")
        try:
            sent = parsedate_to_datetime(date)
        except ValueError as error:
            raise RefusedError("x-ms-date isn't a date of RFC 1123.", 403, code="ING0032") from error
        if abs(datetime.now(UTC) - sent.astimezone(UTC)) > _SKEW:
            raise RefusedError(
                "x-ms-date is more than 15 minutes off.", 403, code="ING0032", hint="Look at both clocks."
            )
        return f"workspace {workspace}"


def _media(request: Request) -> None:
    """Refuses what Azure refuses for its media type. Raises RefusedError 400."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not media:
        raise RefusedError("The content type wasn't specified.", 400, code=codes.NO_MEDIA, hint="Use application/json.")
    if media != "application/json":
        raise RefusedError(
            f"The content type is {media[:100]}.", 400, code=codes.OTHER_MEDIA, hint="Use application/json."
        )


def signature(key: str, length: int, content_type: str, date: str, resource: str = "/api/logs") -> str:
    """The signature of a Data Collector request: HMAC-SHA256 under the base64 key, in base64. A key that is no base64 signs nothing."""
    try:
        secret = base64.b64decode(key, validate=True)
    except ValueError:
        return ""
    text = f"POST\n{length}\n{content_type}\nx-ms-date:{date}\n{resource}"
    return base64.b64encode(hmac.digest(secret, text.encode(), "sha256")).decode()


def suffixed(row: Mapping[str, Any], time_field: str = "") -> dict[str, Any]:
    """A row with the column names that the Data Collector API gives: `_s` text, `_g` guid, `_d` number, `_b` boolean, `_t` instant."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        if name == time_field and value.__class__ is str and _INSTANT.fullmatch(value):
            out["TimeGenerated"] = value
        if name in _AS_THEY_ARE:
            out[name] = value
        elif value is None:
            continue
        elif value is True or value is False:
            out[f"{name}_b"] = value
        elif value.__class__ in (int, float):
            out[f"{name}_d"] = value
        elif value.__class__ in (dict, list):
            out[f"{name}_s"] = json_text(value)
        elif _INSTANT.fullmatch(value):
            out[f"{name}_t"] = value
        elif _GUID.fullmatch(value):
            out[f"{name}_g"] = value
        else:
            out[f"{name}_s"] = value
    return out


def _rows(data: bytes, *, single: bool) -> list[Any]:
    value, _ = load_tolerant(data)
    if value is None:
        raise RefusedError("The body isn't valid JSON.", 400, code=codes.JSON_SYNTAX)
    if single and value.__class__ is dict:
        return [value]
    if value.__class__ is not list:
        raise RefusedError("The body must be a JSON array of objects.", 400, code=codes.JSON_NOT_OBJECT)
    return value


def _dump(row: object) -> bytes:
    try:
        return compact(orjson.dumps(row))
    except TypeError:
        return json_text(row).encode()
