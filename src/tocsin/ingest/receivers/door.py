"""What the HTTP receivers of foreign protocols share: who sends, bounded bodies, decoding beside the loop, durable before the answer.

A receiver gives its routes and how it words a refusal; everything between the token and the answer is here. Events are kept in one form
whatever protocol they came by (`envelopes.envelope`), so that one decoder reads them all.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import ClassVar, TypeVar

from blake3 import blake3
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from tocsin.base.errors import LakeError
from tocsin.ingest.decoders.body import pack_letters
from tocsin.ingest.model import DeadLetter
from tocsin.ingest.pipeline import IntakeBusyError
from tocsin.ingest.receivers.http import DEFAULT_MAX_BODY, BodyError, Port, TokenCheck, claim, read_body
from tocsin.ingest.requests import body_key
from tocsin.lake import Body

__all__ = ["HttpReceiver", "RefusedError", "lasting_key", "token_of"]

T = TypeVar("T")
_IN_LOOP_BYTES = 1 << 16
_RETRY_SECONDS = "2"


class RefusedError(BodyError):
    """A request that isn't taken. `status` is the HTTP answer; `code` an ING code."""

    def __init__(self, message: str, status: int, *, code: str = "ING0031", hint: str = "") -> None:
        super().__init__(message, status, hint=hint)
        self.code = code

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the answer: when to come again."""
        return {"Retry-After": _RETRY_SECONDS} if self.status in (429, 503) else {}


def token_of(header: str) -> tuple[str, str]:
    """(scheme in lower case, token) of an Authorization header; ("", "") when it holds none.

    `Basic` carries the token as the password, `ApiKey` as Elastic's base64 of `id:key` (the key counts) or bare.
    """
    scheme, _, value = header.strip().partition(" ")
    scheme, value = scheme.lower(), value.strip()
    if scheme in ("basic", "apikey"):
        try:
            pair = base64.b64decode(value, validate=True).decode()
        except ValueError:
            return (scheme, value) if scheme == "apikey" else ("", "")
        if ":" in pair:
            return scheme, pair.partition(":")[2]
        return (scheme, value) if scheme == "apikey" else ("", "")
    return (scheme, value) if value else ("", "")


def lasting_key(kind: str, sender: str, given: str, data: bytes) -> str:
    """The key of a body that its sender named: the same name over other bytes is another body."""
    key = blake2b(f"{kind}/{sender}".encode(), digest_size=32).digest()
    digest = blake3(data, key=key)
    digest.update(given.encode("utf-8", "replace"))
    return f"id:{kind}/{digest.hexdigest(16)}"


class HttpReceiver:
    """The base of an HTTP receiver. Subclasses set `kind` and `schemes` and say how a refusal looks (`refusal`)."""

    kind: ClassVar[str]
    schemes: ClassVar[frozenset[str]] = frozenset({"bearer", "basic", "splunk", "apikey"})

    def __init__(
        self,
        intake: Port,
        tokens: TokenCheck,
        *,
        max_body_bytes: int = DEFAULT_MAX_BODY,
        max_record_bytes: int = 16 << 20,
    ) -> None:
        self._intake = intake
        self._tokens = tokens
        self._max_body = max_body_bytes
        self._max_record = max_record_bytes

    def refusal(self, error: BodyError) -> Response:
        """The protocol's own way to say no."""
        raise NotImplementedError

    def sender(self, request: Request) -> str | None:
        """Who sends, by the token; None when it isn't valid."""
        scheme, token = token_of(request.headers.get("authorization", ""))
        return self._tokens(token) if token and scheme in self.schemes else None

    def guarded(self, work: Callable[[Request, str], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that asks for a token first and words every refusal."""

        async def endpoint(request: Request) -> Response:
            sender = self.sender(request)
            if sender is None:
                refused = RefusedError("A valid intake token is needed.", 401, code="ING0032")
                self._intake.refused(self.kind, _address(request), str(refused))
                return self.refusal(refused)
            try:
                return await work(request, sender)
            except BodyError as error:
                self._intake.refused(self.kind, sender, str(error))
                return self.refusal(error)

        return endpoint

    async def body(self, request: Request) -> bytes:
        """The decompressed body. Raises RefusedError 503 before it reads when intake is full, BodyError for the body itself."""
        if not self._intake.healthy or self._intake.pressure >= 1.0:
            raise RefusedError("Too much waits to be stored.", 503, code="ING0030", hint="Send again a little later.")
        return await read_body(request, self._max_body)

    async def aside(self, work: Callable[[bytes], T], data: bytes) -> T:
        """Runs what reads a body: in a thread when the body is big, so that the loop goes on."""
        return work(data) if len(data) < _IN_LOOP_BYTES else await asyncio.to_thread(work, data)

    async def keep(
        self,
        request: Request,
        sender: str,
        data: bytes,
        *,
        meta: Mapping[str, str] | None = None,
        source: str = "",
        key: str = "",
        timed: bool = False,
        letters: Sequence[DeadLetter] = (),
    ) -> str:
        """Makes a body and its dead letters durable; gives the key that `answer` forgets once the sender knows.

        Args:
            data: events as `envelope` makes them, one a line; nothing when all are dead.
            meta: what the decoder must know besides; `form` is `event` unless it says otherwise.
            source: kind of body when it isn't the receiver's.
            key: a lasting name of this body, if the sender gave one. A body with that key that is durable already isn't stored again.
            timed: every event carries its own time, so that an equal body within an unanswered request is a repetition.
            letters: what of the request couldn't be taken.

        Raises:
            RefusedError: 503 when too much waits or the log can't be written (a full disk, for one): the sender keeps it and comes again.
        """
        if not key and timed and data:
            key = body_key(self.kind, sender, data)
        known = {"form": "event", "token": sender, "peer": _address(request), **(meta or {})}
        if key:
            if not await claim(self._intake, key):
                return key
            known["request"] = key
        now = self._intake.now()
        bodies = [Body(source or self.kind, data, now, known)] if data else []
        if letters:
            dead = {"token": sender, "receiver": self.kind, **({"request": key} if key and not data else {})}
            bodies.append(Body("dead", pack_letters(letters), now, dead))
        if not bodies:
            if key:
                self._intake.requests.abandon(key)
            return ""
        try:
            await _stored(self._intake, bodies, key)
        except IntakeBusyError as error:
            raise RefusedError(error.message, 503, code="ING0030", hint=error.hint) from error
        except LakeError as error:
            raise RefusedError(error.message, 503, code=error.code, hint=error.hint) from error
        return key

    async def answer(self, request: Request, response: Response, key: str) -> Response:
        """The response, which forgets an unanswered body's key once it has been handed to the connection."""
        if key and not await request.is_disconnected():
            response.background = BackgroundTask(self._intake.requests.answered, key)
        return response


async def _stored(intake: Port, bodies: Sequence[Body], key: str) -> int:
    try:
        future = intake.submit(bodies)
    except BaseException:
        if key:
            intake.requests.abandon(key)
        raise
    if key:
        future.add_done_callback(
            lambda f: intake.requests.abandon(key) if f.exception() else intake.requests.durable(key)
        )
    # A sender that goes away meanwhile changes nothing: what was handed over is written all the same.
    return await asyncio.shield(asyncio.wrap_future(future))


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
