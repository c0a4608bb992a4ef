"""The part of Elasticsearch's REST API that shippers write through: the handshake and `_bulk`.

Beats, Elastic Agent, Logstash, Fluent Bit, Vector and the language clients ask who is there (`GET /`), look at the licence, set up lifecycle
policies, templates and ingest pipelines, then send documents. All of that is answered as a node would; nothing of a template or pipeline is kept,
because events are mapped by Tocsin's own parsers. The paths stand at the root (those that begin with an underscore, and `/` for clients
that ask for JSON) and, complete, below `/elastic`. Searching is refused by name.

A token is sent as `ApiKey`, as the password of `Basic`, or as `Bearer`. Only `index` and `create` are taken: each becomes an event, an answer
201 means durable. Any other action, and a document that is no JSON object, is refused item by item; the latter is also kept as a dead letter.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from tocsin.base.errors import Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.jsontext import load_tolerant
from tocsin.ingest.model import DeadLetter
from tocsin.ingest.receivers.door import HttpReceiver, RefusedError, lasting_key
from tocsin.ingest.receivers.http import DEFAULT_MAX_BODY, BodyError, Port, TokenCheck

__all__ = ["DEFAULT_VERSION", "Bulk", "ElasticReceiver", "read_bulk"]

DEFAULT_VERSION = "9.2.0"
PREFIX = "/elastic"
_JSON = "application/json"
_VENDOR = "application/vnd.elasticsearch+json"
_MEDIA = frozenset({_JSON, _VENDOR, "application/x-ndjson", "application/vnd.elasticsearch+x-ndjson"})
_TYPES = {
    400: "illegal_argument_exception",
    401: "security_exception",
    404: "resource_not_found_exception",
    408: "timeout_exception",
    413: "content_too_long_exception",
    415: "media_type_header_exception",
    429: "es_rejected_execution_exception",
    500: "exception",
    501: "unsupported_operation_exception",
    503: "es_rejected_execution_exception",
}
_ITEM_ACTIONS = frozenset({"index", "create", "update", "delete"})
_DEAD_BYTES = 64 << 10
_SHARDS = {"total": 1, "successful": 1, "failed": 0}


@dataclass(slots=True)
class Bulk:
    """A bulk request, read: events to keep, an answer for each item, what is dead."""

    lines: list[bytes] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    errors: bool = False
    timed: bool = True
    named: bool = True
    ids: str = field(default_factory=lambda: secrets.token_urlsafe(11))
    """How the ids begin of documents that come without."""
    refused: str = ""
    """What was wrong with the last item that is neither an event nor a dead letter."""


class _Handshake(Route):
    """`GET /` of an Elasticsearch client. A browser that asks for a page gets the portal."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Only requests that accept JSON and no page, or that bring credentials of a client."""
        if scope["type"] == "http":
            headers = {k: v for k, v in scope["headers"] if k in (b"accept", b"authorization")}
            accept = headers.get(b"accept", b"*/*").lower()
            client = headers.get(b"authorization", b"")[:6].lower() in (b"basic ", b"apikey")
            if b"text/html" in accept or not (b"json" in accept or client):
                return Match.NONE, {}
        return super().matches(scope)


class ElasticReceiver(HttpReceiver):
    """The routes of one node."""

    kind = "elastic"

    def __init__(
        self,
        intake: Port,
        tokens: TokenCheck,
        *,
        max_body_bytes: int = DEFAULT_MAX_BODY,
        max_record_bytes: int = 16 << 20,
        version: str = DEFAULT_VERSION,
    ) -> None:
        """`version` is the Elasticsearch version that the handshake names: Beats refuse one older than their own."""
        super().__init__(intake, tokens, max_body_bytes=max_body_bytes, max_record_bytes=max_record_bytes)
        self._version = version
        self._uuid = secrets.token_urlsafe(16)

    def routes(self) -> list[BaseRoute]:
        """The routes, to be mounted at the server's root."""

        def route(path: str, work: Callable[[Request, str], Awaitable[Response]], *methods: str) -> Route:
            return Route(path, self.guarded(work), methods=list(methods), include_in_schema=False)

        routes: list[BaseRoute] = [
            _Handshake("/", self.guarded(self._root), methods=["GET", "HEAD"], include_in_schema=False)
        ]
        for base in ("", PREFIX):
            if base:
                routes += [route(base, self._root, "GET", "HEAD"), route(f"{base}/", self._root, "GET", "HEAD")]
            routes += [route(f"{base}/_bulk", self._bulk, "POST", "PUT")]
            routes += [route(f"{base}/{{index}}/_bulk", self._bulk, "POST", "PUT")]
            routes += [route(f"{base}/{{index}}/{{type}}/_bulk", self._bulk, "POST", "PUT")] if base else []
            routes += [route(f"{base}/{{index}}/_doc", self._document, "POST")]
            routes += [route(f"{base}/{{index}}/_doc/{{id}}", self._document, "POST", "PUT")]
            routes += [route(f"{base}/{{index}}/_create/{{id}}", self._document, "POST", "PUT")]
            routes += [route(f"{base}/_license", self._license, "GET"), route(f"{base}/_xpack", self._xpack, "GET")]
            routes += [route(f"{base}/_xpack/license", self._license, "GET")]
            routes += [route(f"{base}/_cluster/health", self._health, "GET")]
            routes += [
                route(f"{base}/_nodes", self._nodes, "GET"),
                route(f"{base}/_nodes/{{what:path}}", self._nodes, "GET"),
            ]
            for name in ("_refresh", "_flush"):
                routes += [
                    route(f"{base}/{prefix}{name}", self._refreshed, "GET", "POST") for prefix in ("", "{index}/")
                ]
            for kind, shape in _KEPT.items():
                routes += [
                    route(f"{base}/{kind}/{{name:path}}", self._kept(shape), "GET", "HEAD", "PUT", "POST", "DELETE")
                ]
        everything = ("GET", "HEAD", "PUT", "POST", "DELETE")
        routes += [route(f"{PREFIX}/{{index}}", self._index, "GET", "HEAD", "PUT")]
        routes += [route(f"{PREFIX}/{{path:path}}", self._unknown, *everything)]
        # At the root only what can be nobody else's: a client that gets the portal's page for JSON doesn't know what hit it.
        routes += [
            route("/{index}", self._index, "PUT"),
            route("/_{path:path}", self._unknown, *everything),
            route("/{index}/_{path:path}", self._unknown, *everything),
        ]
        return routes

    # ---------------------------------------------------------------------------------------------- answers

    def refusal(self, error: BodyError) -> Response:
        """Elasticsearch's error object."""
        status = 429 if error.status == 503 and error.code == "ING0030" else error.status
        reason = f"{error.message} {error.hint}".strip()
        if status == 401:
            reason = "missing or invalid credentials: send an intake token as ApiKey, Bearer or the password of Basic"
        headers = dict(getattr(error, "headers", {}))
        if status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="tocsin", charset="UTF-8", ApiKey, Bearer realm="tocsin"'
        said: object = reason if status == 406 else _error(_TYPES.get(status, "exception"), reason)
        return self._json(None, {"error": said, "status": status}, status, headers)

    def _json(
        self, request: Request | None, body: object, status: int = 200, headers: dict[str, str] | None = None
    ) -> Response:
        """A client of version 8 or later wants its own media type back, and every client the product's name."""
        accept = request.headers.get("accept", "") if request is not None else ""
        media = accept.split(",")[0].strip() if accept.startswith(_VENDOR) else _JSON
        content = b"" if request is not None and request.method == "HEAD" else orjson.dumps(body)
        return Response(
            content, status, {"X-Elastic-Product": "Elasticsearch", "Content-Type": media, **(headers or {})}
        )

    # ---------------------------------------------------------------------------------------------- handshake

    async def _root(self, request: Request, _: str) -> Response:
        return self._json(
            request,
            {
                "name": "tocsin",
                "cluster_name": "tocsin",
                "cluster_uuid": self._uuid,
                "version": {
                    "number": self._version,
                    "build_flavor": "default",
                    "build_type": "docker",
                    "build_hash": "unknown",
                    "build_date": "2025-01-01T00:00:00.000000000Z",
                    "build_snapshot": False,
                    "lucene_version": "10.0.0",
                    "minimum_wire_compatibility_version": "7.17.0",
                    "minimum_index_compatibility_version": "7.0.0",
                },
                "tagline": "You Know, for Search",
            },
        )

    async def _license(self, request: Request, _: str) -> Response:
        licence = {
            "status": "active",
            "uid": self._uuid,
            "type": "basic",
            "mode": "basic",
            "issue_date": "2025-01-01T00:00:00.000Z",
            "issue_date_in_millis": 1735689600000,
            "max_nodes": None,
            "issued_to": "tocsin",
            "issuer": "tocsin",
            "start_date_in_millis": -1,
        }
        return self._json(request, {"license": licence})

    async def _xpack(self, request: Request, _: str) -> Response:
        on = {"available": True, "enabled": True}
        return self._json(
            request,
            {
                "build": {"hash": "unknown", "date": "2025-01-01T00:00:00.000Z"},
                "license": {"uid": self._uuid, "type": "basic", "mode": "basic", "status": "active"},
                "features": dict.fromkeys(("ilm", "data_streams", "security", "monitoring"), on),
                "tagline": "You know, for X",
            },
        )

    async def _health(self, request: Request, _: str) -> Response:
        full = self._intake.pressure >= 1.0 or not self._intake.healthy
        return self._json(
            request,
            {
                "cluster_name": "tocsin",
                "status": "red" if full else "green",
                "timed_out": False,
                "number_of_nodes": 1,
                "number_of_data_nodes": 1,
                "active_primary_shards": 1,
                "active_shards": 1,
                "relocating_shards": 0,
                "initializing_shards": 0,
                "unassigned_shards": 0,
            },
        )

    async def _nodes(self, request: Request, _: str) -> Response:
        """One node without an address, so that a client that looks for others stays where it is."""
        node = {"name": "tocsin", "version": self._version, "roles": ["data", "ingest", "master"]}
        return self._json(
            request,
            {
                "_nodes": _SHARDS,
                "cluster_name": "tocsin",
                "nodes": {self._uuid: node},
            },
        )

    def _kept(self, shape: Callable[[str], object]) -> Callable[[Request, str], Awaitable[Response]]:
        """Policies, templates, pipelines, aliases: there already, and whatever is put is taken note of."""

        async def work(request: Request, _: str) -> Response:
            if request.method in ("GET", "HEAD"):
                return self._json(request, shape(request.path_params["name"]))
            await self.body(request)
            return self._json(request, {"acknowledged": True})

        return work

    async def _refreshed(self, request: Request, _: str) -> Response:
        """Events become visible by themselves, within a second."""
        return self._json(request, {"_shards": _SHARDS})

    async def _index(self, request: Request, _: str) -> Response:
        name = request.path_params["index"]
        if name.startswith("_"):
            return await self._unknown(request, _)
        if request.method == "PUT":
            await self.body(request)
            return self._json(request, {"acknowledged": True, "shards_acknowledged": True, "index": name})
        return self._json(request, {name: {"aliases": {}, "mappings": {}, "settings": {}}})

    async def _unknown(self, request: Request, _: str) -> Response:
        raise RefusedError(
            f"{request.method} {request.url.path} isn't part of what Tocsin takes for Elasticsearch.", 501,
            code="ING0033", hint="Events are written here; to search, use KQL in the portal or POST /api/v1/query.",
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------------- documents

    async def _document(self, request: Request, sender: str) -> Response:
        _media(request)
        data = await self.body(request)
        index, given = request.path_params["index"], request.path_params.get("id", "")
        action: dict[str, Any] = {"_index": index, **({"_id": given} if given else {})}
        verb = "create" if "/_create/" in request.url.path else "index"
        bulk = Bulk()
        _add_item(bulk, verb, action, data.replace(b"\r", b" ").replace(b"\n", b" "), 1, self._max_record, sender)
        key = await self._keep(request, sender, bulk)
        if bulk.refused:
            self._intake.refused(self.kind, sender, bulk.refused)
        (item,) = bulk.items[0].values()
        if "error" in item:
            return self._json(request, {"error": item["error"], "status": item["status"]}, item["status"])
        return await self.answer(
            request, self._json(request, {k: v for k, v in item.items() if k != "status"}, 201), key
        )

    async def _bulk(self, request: Request, sender: str) -> Response:
        start = time.monotonic()
        _media(request)
        data = await self.body(request)
        index = request.path_params.get("index", "")
        bulk = await self.aside(lambda d: read_bulk(d, index, self._max_record, sender), data)
        key = await self._keep(request, sender, bulk)
        if bulk.refused:
            self._intake.refused(self.kind, sender, bulk.refused)
        items: Sequence[object] = bulk.items
        if "filter_path" in request.query_params:
            # Shippers ask for less: what became of each item.
            items = [{a: {k: v[k] for k in ("status", "error") if k in v} for a, v in i.items()} for i in bulk.items]
        took = int((time.monotonic() - start) * 1000)
        return await self.answer(
            request, self._json(request, {"took": took, "errors": bulk.errors, "items": items}), key
        )

    async def _keep(self, request: Request, sender: str, bulk: Bulk) -> str:
        data = b"\n".join(bulk.lines)
        key = lasting_key(self.kind, sender, "", data) if bulk.named and data else ""
        return await self.keep(request, sender, data, key=key, timed=bulk.timed, letters=bulk.letters)


def _media(request: Request) -> None:
    """Refuses what Elasticsearch refuses for its media type. Raises RefusedError 406."""
    given = request.headers.get("content-type", "")
    if not given:
        raise RefusedError("Content-Type header is missing", 406)
    if given.partition(";")[0].strip().lower() not in _MEDIA:
        raise RefusedError(f"Content-Type header [{given[:100]}] is not supported", 406)


def read_bulk(data: bytes, index: str, limit: int, origin: str = "elastic") -> Bulk:
    """Reads a bulk body. Raises RefusedError 400 where Elasticsearch refuses the whole request: an action line that is none, no newline at the end.

    Args:
        data: actions and documents, one a line.
        index: the index of actions that name none.
        limit: longest document.
        origin: whose dead letters they are.
    """
    if not data or data.isspace():
        raise RefusedError("request body is required", 400, code=codes.JSON_SYNTAX)
    if not data.endswith(b"\n"):
        raise RefusedError("The bulk request must be terminated by a newline [\\n]", 400, code=codes.JSON_SYNTAX)
    bulk = Bulk()
    lines = data.split(b"\n")
    number, count = 0, len(lines) - 1
    before, verb = b"", ""
    action: dict[str, Any] = {}
    while number < count:
        line = lines[number]
        number += 1
        if not line or line.isspace():
            continue
        if line != before:  # most actions are as the one before
            before, (verb, action) = line, _action(line, number)
            if index and "_index" not in action:
                action["_index"] = index
        if verb == "delete":
            _refuse(bulk, verb, action, 400, "action_request_validation_exception", _ONLY)
            continue
        if number >= count:
            raise RefusedError(
                f"Malformed action/metadata line [{number}], no document follows", 400, code=codes.JSON_SYNTAX
            )
        document = lines[number]
        number += 1
        if verb == "update":
            _refuse(bulk, verb, action, 400, "action_request_validation_exception", _ONLY)
            continue
        _add_item(bulk, verb, action, document, number, limit, origin)
    if not bulk.items:
        raise RefusedError("request body is required", 400, code=codes.JSON_SYNTAX)
    return bulk


_ONLY = "Tocsin keeps events as they were: only index and create are taken"


def _action(line: bytes, number: int) -> tuple[str, dict[str, Any]]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        value, _ = load_tolerant(line)
    if value.__class__ is dict and len(value) == 1:
        ((verb, action),) = value.items()
        if verb in _ITEM_ACTIONS and action.__class__ is dict:
            return verb, action
    raise RefusedError(
        f"Malformed action/metadata line [{number}], expected one of [create], [delete], [index], [update] with an object",
        400,
        code=codes.JSON_SYNTAX,
    )


def _add_item(
    bulk: Bulk, verb: str, action: dict[str, Any], document: bytes, line: int, limit: int, origin: str
) -> None:
    name = action.get("_index")
    if name.__class__ is not str or not name:
        _refuse(
            bulk, verb, action, 400, "action_request_validation_exception", "Validation Failed: 1: index is missing;"
        )
        return
    if len(document) > limit:
        reason = (
            f"The document is {len(document)} bytes long; {limit} are allowed. The setting is ingest.max_record_bytes."
        )
        _refuse(bulk, verb, action, 413, "document_parsing_exception", reason)
        bulk.letters.append(_letter(reason, codes.TOO_LONG, document, line, origin))
        return
    try:
        value = orjson.loads(document)
        raw = document
    except orjson.JSONDecodeError as error:
        value, _ = load_tolerant(document)
        raw = orjson.dumps(value) if value.__class__ is dict else b""
        reason = f"failed to parse: {error.msg} at character {error.pos + 1}"
    else:
        reason = "failed to parse: the document isn't an object"
    if value.__class__ is not dict or not value:
        if value == {}:
            reason = "failed to parse: the document is empty"
        _refuse(bulk, verb, action, 400, "document_parsing_exception", reason)
        bulk.letters.append(
            _letter(reason, codes.JSON_NOT_OBJECT if value is not None else codes.JSON_SYNTAX, document, line, origin)
        )
        return
    given = action.get("_id")
    bulk.named = bulk.named and given is not None
    bulk.timed = bulk.timed and ("@timestamp" in value or "timestamp" in value or "time" in value)
    head = {"index": name} if given is None else {"index": name, "fields": {"_id": str(given)}}
    bulk.lines.append(orjson.dumps(head)[:-1] + b',"event":' + raw + b"}")
    bulk.items.append(
        {
            verb: {
                "_index": name,
                "_id": str(given) if given is not None else f"{bulk.ids}{len(bulk.items):05x}",
                "_version": 1,
                "result": "created",
                "_shards": _SHARDS,
                "_seq_no": len(bulk.items),
                "_primary_term": 1,
                "status": 201,
            }
        }
    )


def _refuse(bulk: Bulk, verb: str, action: dict[str, Any], status: int, kind: str, reason: str) -> None:
    bulk.errors = True
    bulk.refused = reason if kind == "action_request_validation_exception" else bulk.refused
    bulk.items.append(
        {
            verb: {
                "_index": action.get("_index"),
                "_id": action.get("_id"),
                "status": status,
                "error": {"type": kind, "reason": reason},
            }
        }
    )


def _letter(reason: str, code: str, raw: bytes, line: int, origin: str) -> DeadLetter:
    return DeadLetter(reason, code, Place(origin, line=line), raw[:_DEAD_BYTES], origin, "elastic", len(raw))


def _error(kind: str, reason: str) -> dict[str, Any]:
    return {"root_cause": [{"type": kind, "reason": reason}], "type": kind, "reason": reason}


def _template(name: str) -> object:
    described = {"index_patterns": [name], "template": {}, "composed_of": [], "priority": 100, "data_stream": {}}
    return {"index_templates": [{"name": name, "index_template": described}]}


_KEPT: dict[str, Callable[[str], object]] = {
    "_ilm/policy": lambda name: {name: {"version": 1, "policy": {"phases": {}}}},
    "_index_template": _template,
    "_template": lambda name: {name: {"index_patterns": [name], "settings": {}, "mappings": {}, "aliases": {}}},
    "_component_template": lambda name: {"component_templates": [{"name": name, "component_template": {"template": {}}}]},
    "_ingest/pipeline": lambda name: {name: {"description": "kept by no one: Tocsin's parsers map", "processors": []}},
    "_alias": lambda name: {name: {"aliases": {name: {"is_write_index": True}}}},
    "_data_stream": lambda name: {
        "data_streams": [{"name": name, "timestamp_field": {"name": "@timestamp"}, "indices": [], "generation": 1, "status": "GREEN"}]
    },
    "_cluster": lambda _: {"persistent": {}, "transient": {}},
}  # fmt: skip
