"""Grafana Loki's push: `POST /loki/api/v1/push`, and `GET /ready`.

JSON or protobuf under snappy, as Promtail, Alloy, Fluent Bit and Docker's driver send it.
204 means durable. A line is read as the log line it may be; its labels and structured metadata stay with one of unknown shape. The label `host`
(or `hostname`, `nodename`, `node_name`, `instance`, `computer`) is the host, `job` or `service_name` the source type, `filename` the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.message import DecodeError, Message
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from tocsin.base.errors import Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.jsontext import load_tolerant
from tocsin.ingest.model import DeadLetter
from tocsin.ingest.receivers.door import HttpReceiver, RefusedError
from tocsin.ingest.receivers.envelopes import envelope
from tocsin.ingest.receivers.http import BodyError, check_pieces

__all__ = ["Line", "LokiReceiver", "parse_labels", "read_json", "read_protobuf", "unsnappy"]

_HOSTS = ("host", "hostname", "nodename", "node_name", "instance", "computer")
_TYPES = ("job", "service_name", "app", "source_type")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_.]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}

Line = tuple[str, int | None, Mapping[str, str], Mapping[str, Any]]
"""(text, nanoseconds, labels of its stream, structured metadata)."""


class LokiReceiver(HttpReceiver):
    """The route."""

    kind = "loki"

    def routes(self) -> list[BaseRoute]:
        """The routes, to be mounted at the server's root."""
        return [
            Route("/loki/api/v1/push", self.guarded(self._push), methods=["POST"], include_in_schema=False),
            Route("/ready", self._ready, methods=["GET", "HEAD"], include_in_schema=False),
        ]

    def refusal(self, error: BodyError) -> Response:
        """Loki answers in plain text."""
        status = 429 if error.status == 503 and error.code == "ING0030" else error.status
        return PlainTextResponse(str(error), status, dict(getattr(error, "headers", {})))

    async def _ready(self, _: Request) -> Response:
        """What is asked, without a token, before anything is sent."""
        if self._intake.healthy and self._intake.pressure < 1.0:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("Too much waits to be stored.\n", 503, {"Retry-After": "2"})

    async def _push(self, request: Request, sender: str) -> Response:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in ("application/json", "application/x-protobuf", ""):
            raise RefusedError(
                f"Content-Type {media} isn't Loki's.", 415, hint="Use application/x-protobuf or application/json."
            )
        data = await self.body(request)
        limit = self._max_body

        def lines(raw: bytes) -> tuple[list[bytes], bool, list[DeadLetter]]:
            if media == "application/json":
                return self._lines(read_json(raw), sender)
            raw = unsnappy(raw, limit)
            check_pieces(raw, protobuf=True)
            return self._lines(read_protobuf(raw), sender)

        kept, timed, letters = await self.aside(lines, data)
        key = await self.keep(request, sender, b"\n".join(kept), timed=timed, letters=letters)
        return await self.answer(request, Response(status_code=204), key)

    def _lines(self, read: Iterator[Line], sender: str) -> tuple[list[bytes], bool, list[DeadLetter]]:
        kept: list[bytes] = []
        letters: list[DeadLetter] = []
        timed = True
        for number, (text, nanos, labels, metadata) in enumerate(read, 1):
            if len(text) > self._max_record:
                reason = f"Line {number} is longer than {self._max_record}. The setting is ingest.max_record_bytes."
                raw = text[: 64 << 10].encode("utf-8", "replace")
                letters.append(
                    DeadLetter(reason, codes.TOO_LONG, Place(sender, line=number), raw, sender, "loki", len(text))
                )
                continue
            timed = timed and nanos is not None
            kept.append(
                envelope(
                    text or " ",
                    time=nanos / 1e9 if nanos is not None else None,
                    host=next((labels[k] for k in _HOSTS if labels.get(k)), ""),
                    source=labels.get("filename", ""),
                    sourcetype=next((labels[k] for k in _TYPES if labels.get(k)), ""),
                    more={k: v for k, v in (("labels", labels), ("metadata", metadata)) if v},
                )
            )
        return kept, timed, letters


def unsnappy(data: bytes, limit: int) -> bytes:
    """Undoes snappy's block format, which says its size first. Raises RefusedError 413 above `limit`, 400 when it is damaged."""
    size, whole = 0, False
    for number, byte in enumerate(data[:5]):
        size |= (byte & 0x7F) << 7 * number
        if not byte & 0x80:
            whole = True
            break
    # Snappy can't shrink to less than a sixty-fourth or so; a size beyond that is made up, and would be allocated.
    if not whole or size > len(data) * 100 + 64:
        raise RefusedError("The body isn't snappy data.", 400, code=codes.BAD_GZIP)
    if size > limit:
        raise RefusedError(
            f"The body expands to {size} bytes; {limit} are allowed.", 413, hint="The setting is ingest.max_body_bytes."
        )
    if size == 0:
        return b""
    try:
        out = pa.decompress(data, decompressed_size=size, codec="snappy", asbytes=True)
    except (pa.ArrowException, OSError) as error:
        raise RefusedError("The snappy data is damaged.", 400, code=codes.BAD_GZIP) from error
    return bytes(out)


def read_json(data: bytes) -> Iterator[Line]:
    """The lines of a JSON push. Raises RefusedError 400 when it is none."""
    message, _ = load_tolerant(data)
    streams = message.get("streams") if message.__class__ is dict else None
    if streams.__class__ is not list:
        raise RefusedError("The body has no streams.", 400, code=codes.JSON_SYNTAX)
    for stream in streams:
        if stream.__class__ is not dict:
            raise RefusedError("A stream isn't an object.", 400, code=codes.JSON_SYNTAX)
        labels = stream.get("stream")
        labels = {str(k): str(v) for k, v in labels.items()} if labels.__class__ is dict else {}
        values = stream.get("values")
        if values.__class__ is not list:
            raise RefusedError("A stream has no values.", 400, code=codes.JSON_SYNTAX)
        for value in values:
            if value.__class__ is not list or len(value) < 2 or value[1].__class__ is not str:
                raise RefusedError('A value isn\'t ["<nanoseconds>", "<line>"].', 400, code=codes.JSON_SYNTAX)
            metadata = value[2] if len(value) > 2 and value[2].__class__ is dict else {}
            yield value[1], _nanos(value[0]), labels, metadata


def _nanos(value: object) -> int:
    try:
        found = int(str(value))
    except ValueError as error:
        raise RefusedError(f"{value!r} isn't a time in nanoseconds.", 400, code=codes.JSON_SYNTAX) from error
    if abs(found) >= 1 << 63:
        raise RefusedError(f"{value!r} isn't a time in nanoseconds.", 400, code=codes.JSON_SYNTAX)
    return found


def read_protobuf(data: bytes) -> Iterator[Line]:
    """The lines of a protobuf push, decompressed. Raises RefusedError 400 when it is none."""
    message: Any = _push_request()()
    try:
        message.ParseFromString(data)
    except (DecodeError, RecursionError) as error:
        raise RefusedError("The body isn't a PushRequest.", 400, code=codes.JSON_SYNTAX) from error
    for stream in message.streams:
        labels = parse_labels(stream.labels)
        for entry in stream.entries:
            nanos = (
                entry.timestamp.seconds * 1_000_000_000 + entry.timestamp.nanos if entry.HasField("timestamp") else None
            )
            yield entry.line, nanos, labels, {p.name: p.value for p in entry.structured_metadata}


def parse_labels(text: str) -> dict[str, str]:
    """The labels of a stream, `{job="x", host="y"}`. Raises RefusedError 400 when they can't be read."""
    inner = text.strip()
    if inner[:1] != "{" or inner[-1:] != "}":
        raise RefusedError(f"Labels {text[:80]!r} can't be read.", 400, code=codes.JSON_SYNTAX)
    inner = inner[1:-1].strip()
    labels: dict[str, str] = {}
    position = 0
    while position < len(inner):
        found = _LABEL.match(inner, position)
        if found is None:
            raise RefusedError(f"Labels {text[:80]!r} can't be read.", 400, code=codes.JSON_SYNTAX)
        labels[found[1]] = _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), found[2])
        position = found.end()
    return labels


@cache
def _push_request() -> type[Message]:
    """Loki's PushRequest (pkg/push/push.proto of grafana/loki), as far as intake reads it."""
    text, message, repeated, optional = 9, 11, 3, 1
    file = descriptor_pb2.FileDescriptorProto(
        name="tocsin/loki.proto", package="tocsin.loki", syntax="proto3", dependency=["google/protobuf/timestamp.proto"]
    )

    def add(name: str, *fields: tuple[str, int, int, int, str]) -> None:
        made = file.message_type.add(name=name)
        for field, number, label, kind, type_name in fields:
            made.field.add(name=field, number=number, label=label, type=kind, type_name=type_name or None)

    add("Pair", ("name", 1, optional, text, ""), ("value", 2, optional, text, ""))
    add(
        "Entry",
        ("timestamp", 1, optional, message, ".google.protobuf.Timestamp"),
        ("line", 2, optional, text, ""),
        ("structured_metadata", 3, repeated, message, ".tocsin.loki.Pair"),
    )
    add("Stream", ("labels", 1, optional, text, ""), ("entries", 2, repeated, message, ".tocsin.loki.Entry"))
    add("PushRequest", ("streams", 1, repeated, message, ".tocsin.loki.Stream"))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tocsin.loki.PushRequest"))
