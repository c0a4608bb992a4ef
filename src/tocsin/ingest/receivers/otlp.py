"""OpenTelemetry's logs over HTTP: `POST /v1/logs`, protobuf or JSON, an answer of the same kind; 200 means durable.

Traces and metrics are no logs: `/v1/traces` and `/v1/metrics` answer 501, which an exporter doesn't try again. A record whose body is an object
is the event, a text is read as the log line it may be; what the record, its scope and its resource say besides stays with an event of unknown shape.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tocsin.base.errors import Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.jsontext import load_tolerant
from tocsin.ingest.model import DeadLetter
from tocsin.ingest.receivers.door import HttpReceiver, RefusedError
from tocsin.ingest.receivers.envelopes import envelope
from tocsin.ingest.receivers.http import BodyError, check_pieces

__all__ = ["OtlpReceiver", "Record", "read_json", "read_protobuf"]

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_DEEPEST = 60
# google.rpc.Code of an HTTP status.
_RPC = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 413: 8, 415: 3, 429: 8, 500: 13, 501: 12, 503: 14}


@dataclass(slots=True)
class Record:
    """One log record, whichever encoding it came in. Times are nanoseconds, 0 when not said."""

    body: Any
    time: int
    observed: int
    severity: str
    number: int
    attributes: dict[str, Any]
    resource: Mapping[str, Any]
    scope: str
    trace: str
    span: str
    event: str

    def line(self) -> bytes:
        """The record as it is kept."""
        resource, attributes = self.resource, self.attributes
        more = {
            "severity_text": self.severity,
            "severity_number": self.number,
            "scope": self.scope,
            "trace_id": self.trace,
            "span_id": self.span,
            "event_name": self.event,
            "attributes": attributes,
            "resource": resource,
        }
        body = self.body
        if body is None or body == "" or body == {}:
            # A record may say all it has to say in its attributes.
            body = {**attributes} or {"severity_text": self.severity or "unspecified"}
        time = self.time or self.observed
        path = attributes.get("log.file.path") or attributes.get("log.file.name")
        return envelope(
            body if body.__class__ in (dict, str) else {"body": body},
            time=time / 1e9 if time else None,
            host=_text(resource.get("host.name") or resource.get("host.id") or attributes.get("host.name")),
            source=_text(path or resource.get("service.instance.id")),
            sourcetype=_text(resource.get("service.name")),
            more={k: v for k, v in more.items() if v},
        )


class OtlpReceiver(HttpReceiver):
    """The routes."""

    kind = "otlp"

    def routes(self) -> list[BaseRoute]:
        """The routes, to be mounted at the server's root."""
        return [
            Route("/v1/logs", self._endpoint(self._logs), methods=["POST"], include_in_schema=False),
            Route("/v1/traces", self._endpoint(self._other), methods=["POST"], include_in_schema=False),
            Route("/v1/metrics", self._endpoint(self._other), methods=["POST"], include_in_schema=False),
        ]

    def _endpoint(self, work: Callable[[Request, str], Any]) -> Callable[[Request], Any]:
        guarded = self.guarded(work)

        async def endpoint(request: Request) -> Response:
            answer = await guarded(request)
            if answer.status_code >= 400 and _media(request) != _JSON:
                # A status message: code = 1, message = 2.
                said = orjson.loads(answer.body)
                answer = Response(
                    _status(said["code"], said["message"]),
                    answer.status_code,
                    {k: v for k, v in answer.headers.items() if k in ("retry-after", "www-authenticate")},
                    _PROTOBUF,
                )
            return answer

        return endpoint

    def refusal(self, error: BodyError) -> Response:
        """A `google.rpc.Status`."""
        headers = dict(getattr(error, "headers", {}))
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        status = {"code": _RPC.get(error.status, 2), "message": f"{error.code} {error.message} {error.hint}".strip()}
        return Response(orjson.dumps(status), error.status, headers, _JSON)

    async def _other(self, request: Request, _: str) -> Response:
        raise RefusedError(
            f"{request.url.path[4:].capitalize()} are not kept here, only logs.",
            501,
            code="ING0033",
            hint="Export logs to /v1/logs.",
        )

    async def _logs(self, request: Request, sender: str) -> Response:
        media = _media(request)
        if media not in (_PROTOBUF, _JSON):
            raise RefusedError(
                f"Content-Type {media or 'none'} isn't OTLP's.", 415, hint=f"Use {_PROTOBUF} or {_JSON}."
            )
        data = await self.body(request)
        if media == _PROTOBUF:
            check_pieces(data, protobuf=True)
        read = read_json if media == _JSON else read_protobuf
        lines, timed, letters = await self.aside(lambda raw: self._lines(read(raw), sender), data)
        key = await self.keep(request, sender, b"\n".join(lines), timed=timed, letters=letters)
        reply = ExportLogsServiceResponse()
        if letters:
            reply.partial_success.rejected_log_records = len(letters)
            reply.partial_success.error_message = letters[0].reason
        if media == _JSON:
            partial = {"rejectedLogRecords": str(len(letters)), "errorMessage": letters[0].reason} if letters else None
            answer = Response(orjson.dumps({"partialSuccess": partial} if partial else {}), 200, None, _JSON)
        else:
            answer = Response(reply.SerializeToString(), 200, None, _PROTOBUF)
        return await self.answer(request, answer, key)

    def _lines(self, records: Iterable[Record], sender: str) -> tuple[list[bytes], bool, list[DeadLetter]]:
        lines: list[bytes] = []
        letters: list[DeadLetter] = []
        timed = True
        for number, record in enumerate(records, 1):
            line = record.line()
            if len(line) > self._max_record:
                reason = (
                    f"Record {number} is {len(line)} bytes long; {self._max_record} are allowed. "
                    "The setting is ingest.max_record_bytes."
                )
                letters.append(
                    DeadLetter(
                        reason, codes.TOO_LONG, Place(sender, line=number), line[: 64 << 10], sender, "otlp", len(line)
                    )
                )
                continue
            timed = timed and bool(record.time or record.observed)
            lines.append(line)
        return lines, timed, letters


def read_protobuf(data: bytes) -> Iterator[Record]:
    """The records of a protobuf request. Raises RefusedError 400 when it is none."""
    message = ExportLogsServiceRequest()
    try:
        message.ParseFromString(data)
    except (DecodeError, RecursionError) as error:
        raise RefusedError(
            f"The body isn't an ExportLogsServiceRequest ({error}).", 400, code=codes.JSON_SYNTAX
        ) from error
    for resource_logs in message.resource_logs:
        resource = {a.key: _any(a.value) for a in resource_logs.resource.attributes}
        for scope_logs in resource_logs.scope_logs:
            scope = scope_logs.scope.name
            for r in scope_logs.log_records:
                yield Record(
                    _any(r.body) if r.HasField("body") else None, r.time_unix_nano, r.observed_time_unix_nano, r.severity_text,
                    r.severity_number, {a.key: _any(a.value) for a in r.attributes}, resource, scope, r.trace_id.hex(), r.span_id.hex(),
                    getattr(r, "event_name", ""),
                )  # fmt: skip


def _any(value: Any, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "kvlist_value":
        if depth >= _DEEPEST:
            return "… nested deeper"
        return {p.key: _any(p.value, depth + 1) for p in value.kvlist_value.values}
    if kind == "array_value":
        return "… nested deeper" if depth >= _DEEPEST else [_any(v, depth + 1) for v in value.array_value.values]
    found = getattr(value, kind)
    if kind == "bytes_value":
        return base64.b64encode(found).decode()
    return found


def read_json(data: bytes) -> Iterator[Record]:
    """The records of a JSON request: names in lowerCamelCase, 64-bit numbers as text or number. Raises RefusedError 400 when it is none."""
    message, _ = load_tolerant(data)
    if message.__class__ is not dict:
        raise RefusedError("The body isn't a JSON object.", 400, code=codes.JSON_SYNTAX)
    for resource_logs in _list(message, "resourceLogs"):
        described = resource_logs.get("resource")
        resource = _pairs(described.get("attributes") if described.__class__ is dict else None)
        for scope_logs in _list(resource_logs, "scopeLogs"):
            named = scope_logs.get("scope")
            scope = _text(named.get("name")) if named.__class__ is dict else ""
            for r in _list(scope_logs, "logRecords"):
                yield Record(
                    _json_any(r.get("body")), _int(r.get("timeUnixNano")), _int(r.get("observedTimeUnixNano")), _text(r.get("severityText")),
                    _int(r.get("severityNumber")), _pairs(r.get("attributes")), resource, scope, _text(r.get("traceId")),
                    _text(r.get("spanId")), _text(r.get("eventName")),
                )  # fmt: skip


def _list(of: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    values = of.get(name)
    if values is None:
        return []
    if values.__class__ is not list or not all(v.__class__ is dict for v in values):
        raise RefusedError(f"{name} isn't an array of objects.", 400, code=codes.JSON_SYNTAX)
    return values


def _pairs(values: Any) -> dict[str, Any]:
    if values is None:
        return {}
    if values.__class__ is not list:
        raise RefusedError("attributes isn't an array.", 400, code=codes.JSON_SYNTAX)
    return {_text(v.get("key")): _json_any(v.get("value")) for v in values if v.__class__ is dict}


def _json_any(value: Any, depth: int = 0) -> Any:
    if value.__class__ is not dict or not value:
        return None
    ((kind, found), *_) = value.items()
    if kind == "kvlistValue" and found.__class__ is dict:
        pairs = found.get("values")
        if depth >= _DEEPEST or pairs.__class__ is not list:
            return {}
        return {_text(p.get("key")): _json_any(p.get("value"), depth + 1) for p in pairs if p.__class__ is dict}
    if kind == "arrayValue" and found.__class__ is dict:
        items = found.get("values")
        return [_json_any(v, depth + 1) for v in items] if items.__class__ is list and depth < _DEEPEST else []
    if kind == "intValue":
        number = _whole(found)
        return found if number is None else number
    if kind == "bytesValue" and found.__class__ is str:
        try:
            return base64.b64encode(base64.b64decode(found, validate=True)).decode()
        except ValueError:
            return found
    return found


def _whole(value: Any) -> int | None:
    """A number that may be written as text; None for what is none, or has no place in 64 bits."""
    try:
        found = int(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if -(1 << 63) <= found < (1 << 64) and (value.__class__ is not float or value == found) else None


def _int(value: Any) -> int:
    return _whole(value) or 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _media(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _status(code: int, message: str) -> bytes:
    """A `google.rpc.Status` in protobuf: `int32 code = 1; string message = 2`."""
    text = message.encode()[:4096]
    length = bytearray()
    size = len(text)
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes((0x08, code, 0x12)) + bytes(length) + text
