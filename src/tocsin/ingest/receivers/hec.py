"""Splunk's HTTP Event Collector, as its clients know it: paths, tokens, codes.

`POST /services/collector[/event[/1.0]]`: event objects one after another. `POST /services/collector/raw[/1.0]`: text, a line an event.
`GET /services/collector/health[/1.0]`: no token. A body is taken or refused as a whole; a refusal names the first bad event.

An answer 200 means durable. Clients that ask all the same (`X-Splunk-Request-Channel`, or `?channel=`) get an `ackId`, and
`POST /services/collector/ack?channel=` says of each whether it is durable, also after a restart: the id holds the body's number in the log.

A body that comes twice because its answer was lost is kept once when each of its events carries its `time`, or when the sender names the request
(`X-Request-Id` or `Idempotency-Key`). Raw text has neither: two equal bodies may be two events, so both are kept.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.base.errors import LakeError
from tocsin.ingest.decoders.body import hec_objects
from tocsin.ingest.decoders.flatevents import check_events
from tocsin.ingest.decoders.jsontext import load_tolerant
from tocsin.ingest.pipeline import IntakeBusyError
from tocsin.ingest.receivers.door import HttpReceiver, lasting_key
from tocsin.ingest.receivers.http import BodyError, claim, read_body, store
from tocsin.ingest.requests import body_key
from tocsin.lake import Body

__all__ = ["HecReceiver"]

_TEXTS = {
    0: (200, "Success"),
    2: (401, "Token is required"),
    3: (401, "Invalid authorization"),
    4: (403, "Invalid token"),
    5: (400, "No data"),
    6: (400, "Invalid data format"),
    8: (500, "Internal server error"),
    9: (503, "Server is busy"),
    10: (400, "Data channel is missing"),
    11: (400, "Invalid data channel"),
    12: (400, "Event field is required"),
    13: (400, "Event field cannot be blank"),
    15: (400, "Error in handling indexed fields"),
    16: (400, "Query string authorization is not enabled"),
    17: (200, "HEC is healthy"),
    18: (503, "HEC is unhealthy, queues are full"),
    23: (503, "Server is shutting down"),
    27: (413, "Content is too large"),
}
_META = ("host", "source", "sourcetype", "index")
_IN_LOOP_BYTES = 1 << 17
_CHANNEL = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_ACK_BYTES = 1 << 20
_ACK_SPARE = 10


class HecReceiver(HttpReceiver):
    """The collector's routes. Tokens, refusals and acknowledgements are Splunk's own; all else is any HTTP receiver's."""

    kind = "hec"
    _acks = 0

    def refusal(self, error: BodyError) -> Response:
        """A body that can't be read, with Splunk's code."""
        return _answer(27 if error.status == 413 else 6, {"detail": str(error)})

    def routes(self) -> list[Route]:
        """The routes, to be mounted at the server's root."""
        base = "/services/collector"
        routes = [
            Route(f"{base}/health{version}", self._health, methods=["GET"], include_in_schema=False)
            for version in ("", "/1.0")
        ]
        every = ["POST", "GET", "PUT", "DELETE", "OPTIONS"]
        for work, methods, paths in (
            (self._ack, ["POST"], (f"{base}/ack", f"{base}/ack/1.0")),
            (self._event, every, (base, f"{base}/event", f"{base}/event/1.0")),
            (self._raw, every, (f"{base}/raw", f"{base}/raw/1.0")),
        ):
            routes += [Route(path, work, methods=methods, include_in_schema=False) for path in paths]
        return routes

    async def _health(self, _: Request) -> Response:
        if not self._intake.healthy:
            return _answer(23)
        return _answer(18 if self._intake.pressure >= 1.0 else 17)

    async def _ack(self, request: Request) -> Response:
        sender = self._splunk_sender(request)
        if isinstance(sender, Response):
            self._refused(request, "", sender)
            return sender
        channel = _channel(request)
        if not channel:
            return _answer(10)
        if not _CHANNEL.fullmatch(channel):
            return _answer(11)
        try:
            asked = load_tolerant(await read_body(request, _ACK_BYTES))[0]
        except BodyError as error:
            return self.refusal(error)
        ids = asked.get("acks") if asked.__class__ is dict else None
        if ids.__class__ is not list or not all(i.__class__ is int for i in ids):
            return _answer(6)
        return JSONResponse({"acks": {str(i): 0 < i >> _ACK_SPARE <= self._intake.durable for i in ids}})

    async def _event(self, request: Request) -> Response:
        return await self._take(request, "event")

    async def _raw(self, request: Request) -> Response:
        return await self._take(request, "raw")

    async def _take(self, request: Request, form: str) -> Response:
        if request.method == "OPTIONS":
            # Docker's log driver asks so whether the collector is there, and doesn't start its container without a 200.
            return Response(status_code=200, headers={"Allow": "POST, OPTIONS"})
        if request.method != "POST":
            return JSONResponse(
                {"text": "The requested URL was not found on this server.", "code": 404}, 405, {"Allow": "POST"}
            )
        sender = self._splunk_sender(request)
        if isinstance(sender, Response):
            self._refused(request, "", sender)
            return sender
        answer = await self._take_from(sender, request, form)
        if answer.status_code >= 400:
            self._refused(request, sender, answer)
        return answer

    def _refused(self, request: Request, sender: str, answer: Response) -> None:
        said = orjson.loads(answer.body)
        why = f"{said['code']} {said['text']}. {said.get('detail', '')}".strip()
        self._intake.refused("hec", sender or (request.client.host if request.client else "unknown"), why)

    async def _take_from(self, sender: str, request: Request, form: str) -> Response:
        # Before the body is read: a full server doesn't take megabytes to throw them away.
        if not self._intake.healthy:
            return _answer(23)
        if self._intake.pressure >= 1.0:
            return _answer(9)
        try:
            data = await read_body(request, self._max_body)
        except BodyError as error:
            return self.refusal(error)
        if not data or data.isspace():
            return _answer(5)
        channel = _channel(request)
        if channel and not _CHANNEL.fullmatch(channel):
            return _answer(11)
        meta = {k: v for k in _META if (v := request.query_params.get(k))}
        meta |= {"form": form, "token": sender, "peer": request.client.host if request.client else ""}
        timed = False
        if form == "event":
            check = _check if len(data) < _IN_LOOP_BYTES else _check_in_thread
            found = check(data, self._max_record)
            code, number, timed = found if isinstance(found, tuple) else await found
            if code:
                return _answer(code, {"invalid-event-number": number})
        given = request.headers.get("x-request-id") or request.headers.get("idempotency-key") or ""
        key = lasting_key("hec", sender, given, data) if given else body_key("hec", sender, data) if timed else ""
        if key:
            if not await claim(self._intake, key):
                return await self.answer(request, _answer(0, self._ack_id(channel, self._intake.durable)), key)
            meta["request"] = key
        try:
            number = await store(self._intake, Body("hec", data, self._intake.now(), meta), key)
        except IntakeBusyError:
            return _answer(9)
        except LakeError as error:
            return _answer(9, {"detail": str(error)})  # a full disk, for one: the sender keeps it and comes again
        return await self.answer(request, _answer(0, self._ack_id(channel, number)), key)

    def _ack_id(self, channel: str, number: int) -> dict[str, int]:
        """The id that a client may ask about: the body's number in the log, and a count, so that none is given twice in a row."""
        if not channel:
            return {}
        self._acks = (self._acks + 1) % (1 << _ACK_SPARE)
        return {"ackId": number << _ACK_SPARE | self._acks}

    def _splunk_sender(self, request: Request) -> str | Response:
        """The name of the sender, or the refusal."""
        header = request.headers.get("authorization")
        if header is None:
            return _answer(16 if "token" in request.query_params else 2)
        scheme, _, value = header.partition(" ")
        value = value.strip()
        if scheme == "Basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[2]
            except ValueError:
                return _answer(3)
        elif scheme != "Splunk":
            return _answer(3)
        if not value:
            return _answer(2)
        return self._tokens(value) or _answer(4)


def _channel(request: Request) -> str:
    return (request.headers.get("x-splunk-request-channel") or request.query_params.get("channel") or "").strip()


def _answer(code: int, more: Mapping[str, object] | None = None) -> Response:
    status, text = _TEXTS[code]
    headers = {"Retry-After": "2"} if status == 503 else None
    return JSONResponse({"text": text, "code": code, **(more or {})}, status, headers)


def _check(data: bytes, limit: int) -> tuple[int, int, bool]:
    """(code, number from 0 of the first bad event, whether all events carry a time)."""
    good = check_events(data)
    if good is not None:
        return 0, 0, good
    count, timed = 0, True
    for number, value, _ in hec_objects(data, limit):
        index = number - 1
        count += 1
        if value.__class__ is not dict:
            return 6, index, False
        if "event" not in value:
            return 12, index, False
        event = value["event"]
        if event is None or event == "" or (event.__class__ is dict and not event):
            return 13, index, False
        fields = value.get("fields")
        if fields is not None and (fields.__class__ is not dict or any(v.__class__ is dict for v in fields.values())):
            return 15, index, False
        timed = timed and value.get("time") is not None
    return (0, 0, timed) if count else (5, 0, False)


async def _check_in_thread(data: bytes, limit: int) -> tuple[int, int, bool]:
    return await asyncio.to_thread(_check, data, limit)
