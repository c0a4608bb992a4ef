"""Windows event forwarding over TLS: machines enumerate the subscription and send batches of events; a batch is acknowledged when it is durable.

Machines prove who they are by a certificate of `ingest.wef.client_ca`; Kerberos (HTTP, port 5985) isn't spoken. Compression (SLDC) isn't offered, so
events come as they are. A batch that is sent again because its answer was lost is recognised by its bytes. Where a machine goes on after
a break is its bookmark, kept here (`bookmarks`).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import h11
import structlog

from tocsin.base.errors import IngestError, LakeError, Place
from tocsin.ingest.decoders.xmlfields import event_element
from tocsin.ingest.pipeline import IntakeBusyError
from tocsin.ingest.receivers import wsman
from tocsin.ingest.receivers.bookmarks import Bookmarks
from tocsin.ingest.receivers.http import Port, claim
from tocsin.ingest.receivers.settings import WefSettings
from tocsin.ingest.receivers.streams import FrameError, Stream, StreamLimits, StreamReceiver
from tocsin.lake import Body

__all__ = ["WefReceiver", "subscription_of"]

_log = structlog.get_logger("tocsin.ingest.wef")
_MANAGER = frozenset({"/wsman", "/wsman/", "/wsman/subscriptionmanager/wec"})
_DELIVERY = re.compile(r"/wsman/subscriptions/([^/]+)/?", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
_EVENT = re.compile(r"<Event[\s>].*</Event>", re.DOTALL)
_MEDIA = "application/soap+xml;charset=UTF-16"
_HEADERS = 1 << 16
_ENDURED = 16
"""Times the limit of a body that are read before its sender is cut off."""
_PATIENCE = 30.0
"""Seconds that a batch waits while intake is full, before its machine is told to come again."""


def subscription_of(settings: WefSettings) -> wsman.Subscription:
    """What machines are asked for. Raises IngestError for a query that is none."""
    query = wsman.query_of(settings.channels or _default_channels())
    if settings.query is not None:
        try:
            query = settings.query.read_text("utf-8-sig").strip()
        except (OSError, UnicodeError) as error:
            raise _unfit(settings.query, f"It can't be read: {error}.") from error
        element = event_element(query) if query.startswith("<QueryList") else None
        if element is None or element.find("Query/Select") is None:
            raise _unfit(settings.query, "It isn't a QueryList in XML with a Select.")
    return wsman.Subscription(
        settings.name,
        query,
        read_existing=settings.read_existing_events,
        rendered=settings.rendered,
        heartbeat=settings.heartbeat_seconds,
        latency=settings.latency_seconds,
    )


def _unfit(path: Path, message: str) -> IngestError:
    hint = "The event viewer shows a filter's query under its tab XML. The setting is ingest.wef.query."
    return IngestError(message, code="ING0039", place=Place(str(path)), hint=hint)


@cache
def _default_channels() -> tuple[str, ...]:
    return tuple(tomllib.loads(Path(__file__).with_name("wef.toml").read_text("utf-8"))["channels"])


class _HttpError(Exception):
    """A request that is answered with this status and sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class WefReceiver(StreamReceiver):
    """The collector's end. `tls` must ask for certificates."""

    kind = "wef"
    setting = "ingest.wef.port"

    def __init__(
        self,
        intake: Port,
        host: str = "127.0.0.1",
        port: int = 5986,
        *,
        tls: ssl.SSLContext,
        subscription: wsman.Subscription,
        bookmarks: Bookmarks | None = None,
        limits: StreamLimits | None = None,
    ) -> None:
        super().__init__(intake, host, port, tls=tls, limits=limits)
        if tls.verify_mode != ssl.CERT_REQUIRED:
            raise IngestError(
                "Windows event forwarding over TLS knows machines by their certificates.",
                code="ING0035",
                hint="Set ingest.wef.client_ca to the authority that issues them.",
            )
        self._subscription = subscription
        self._bookmarks = bookmarks or Bookmarks()
        self._authorities: dict[Any, str] = {
            known["subject"]: hashlib.sha1(der, usedforsecurity=False).hexdigest()
            for known, der in zip(tls.get_ca_certs(), tls.get_ca_certs(binary_form=True), strict=True)
        }

    # ---------------------------------------------------------------------------------------------- HTTP

    async def serve(self, stream: Stream) -> None:
        """Answers the requests of a connection, one after the other."""
        await self.converse(stream, stream.certificate)

    async def converse(self, stream: Stream, certificate: Mapping[str, Any]) -> None:
        """The same for a peer that showed this certificate."""
        machine, issuer = _named(certificate), self._authorities.get(certificate.get("issuer"), "")
        if not issuer and len(set(self._authorities.values())) == 1:
            issuer = next(iter(self._authorities.values()))  # the certificate is an intermediate authority's
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADERS)
        while True:
            request, body = await self._request(stream, http)
            if request is None:
                return
            try:
                if body is None:
                    raise _HttpError(413, f"The body is above the limit of {self.limits.frame_bytes} bytes.")
                status, answer = await self._answer(machine or stream.peer, stream.peer, issuer, request, body)
            except _HttpError as error:
                self._refuse(machine or stream.peer, str(error.status), error)
                status, answer = error.status, str(error)
            await stream.send(_response(http, status, answer))
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()

    async def _request(self, stream: Stream, http: h11.Connection) -> tuple[h11.Request | None, bytes | None]:
        """The next request, None at the end, with its body, None where that is too large. Raises FrameError for what isn't HTTP.

        What is too large is read to its end all the same, within reason: who is still sending doesn't hear why it was cut off.
        """
        request: h11.Request | None = None
        body, size = bytearray(), 0
        stream.begun(bool(http.trailing_data[0]))
        try:
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    if http.they_are_waiting_for_100_continue:
                        more = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                        await stream.send(http.send(more) or b"")
                    data = await stream.some()
                    stream.begun(True)
                    http.receive_data(data)
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    size += len(event.data)
                    if size <= self.limits.frame_bytes:
                        body += event.data
                    elif size > _ENDURED * self.limits.frame_bytes:
                        raise FrameError(f"The body is far above the limit of {self.limits.frame_bytes} bytes.")
                elif isinstance(event, h11.EndOfMessage):
                    stream.begun(False)
                    return request, bytes(body) if size <= self.limits.frame_bytes else None
                else:
                    return None, b""
        except h11.RemoteProtocolError as error:
            if http.our_state in (h11.SEND_RESPONSE, h11.IDLE):
                await stream.send(_response(http, error.error_status_hint, f"It isn't HTTP: {error}."))
            raise FrameError(f"It isn't HTTP: {error}.") from error

    # ---------------------------------------------------------------------------------------------- WS-Management

    async def _answer(self, machine: str, peer: str, issuer: str, request: h11.Request, body: bytes) -> tuple[int, str]:
        """The status and the envelope, empty for none. Raises _HttpError."""
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in request.headers}
        delivered, manager = _check(request, headers)
        if not body:
            return 200, ""  # a machine may ask first whether it is let in
        media = headers.get("content-type", "")
        if not media.lower().startswith("application/soap+xml"):
            what = (
                "Messages sealed by Kerberos aren't read here"
                if "kerberos" in media.lower()
                else f"{media!r} isn't read"
            )
            raise _HttpError(415, f"{what}: send application/soap+xml over TLS.")
        if headers.get("content-encoding", "identity").lower() != "identity" and body[:2] != b"\xff\xfe":
            # A goodbye claims to be compressed, and isn't.
            raise _HttpError(415, f"Content-Encoding {headers['content-encoding']} wasn't offered.")
        try:
            text = wsman.read_text(body, media)
            message = (
                await asyncio.to_thread(wsman.read_message, text) if len(body) > 1 << 16 else wsman.read_message(text)
            )
        except wsman.SoapError as error:
            self._refuse(machine, "fault", error)
            return 500, wsman.fault(error)
        except FrameError as error:
            raise _HttpError(400, error.message) from error
        if message.action == wsman.END:
            return 204, ""
        if manager and message.action == wsman.ENUMERATE:
            if not _HOST.fullmatch(headers.get("host", "")):
                raise _HttpError(400, "The header Host is needed: it is where events are sent to.")
            found = [(self._subscription, self._bookmarks.get(machine, self._subscription.id))]
            return 200, wsman.subscriptions(message, found, headers["host"], issuer)
        if not delivered:
            return self._fault(machine, message, "a:ActionNotSupported", f"{message.action} isn't done here.")
        if delivered.upper() != self._subscription.id:
            raise _HttpError(404, "There is no such subscription (any more).")
        if message.action == wsman.EVENTS:
            await self._take(machine, peer, message)
        elif message.action == wsman.HEARTBEAT:
            self._intake.heard(self.kind, machine)
        elif message.action != wsman.SUBSCRIPTION_END:
            return self._fault(machine, message, "a:ActionNotSupported", f"{message.action} isn't done here.")
        return 200, wsman.acknowledgement(message)

    def _fault(self, machine: str, message: wsman.Message, subcode: str, reason: str) -> tuple[int, str]:
        error = wsman.SoapError(subcode, reason)
        self._refuse(machine, "fault", error)
        return 500, wsman.fault(error, message.message_id)

    async def _take(self, machine: str, peer: str, message: wsman.Message) -> None:
        """Makes a batch durable. Raises _HttpError when it can't be."""
        if message.dropped:
            _log.warning("ingest.wef.dropped", machine=machine, events=message.dropped)
            self._intake.refused(self.kind, machine, f"The machine left out {message.dropped} events.")
        events = [e for e in message.events if _EVENT.fullmatch(e)]
        odd = [e for e in message.events if not _EVENT.fullmatch(e)]
        subscription = self._subscription.id
        if events or odd:
            digest = hashlib.blake2b("\0".join((message.bookmark, *message.events)).encode("utf-8", "surrogatepass"))
            meta = {
                "token": machine,
                "peer": peer,
                "subscription": subscription,
                "bookmark": message.bookmark,
                "request": f"wef:{machine}/{digest.hexdigest()[:32]}".replace("\n", " ").replace("\r", " "),
            }
            texts = [*(["\n".join(events)] if events else []), *odd]
            now = self._intake.now()
            await self._store([Body("wef", t.encode("utf-8", "replace"), now, meta) for t in texts], meta["request"])
        else:
            self._intake.heard(self.kind, machine)
        self._bookmarks.stored(machine, subscription, message.bookmark)

    async def _store(self, bodies: Sequence[Body], key: str) -> None:
        if not await claim(self._intake, key):
            return  # it was sent before, and only its answer was lost
        requests, now = self._intake.requests, asyncio.get_running_loop().time
        until = now() + _PATIENCE
        try:
            while True:
                try:
                    future = self._intake.submit(bodies)
                    break
                except IntakeBusyError:
                    if self._stopping.is_set() or now() > until:
                        raise
                    await asyncio.sleep(0.05)
        except BaseException as error:
            requests.abandon(key)
            if isinstance(error, IntakeBusyError | LakeError):
                raise _HttpError(503, error.message) from error
            raise
        future.add_done_callback(lambda f: requests.abandon(key) if f.exception() else requests.durable(key))
        try:
            await asyncio.shield(asyncio.wrap_future(future))
        except LakeError as error:
            raise _HttpError(503, error.message) from error


def _check(request: h11.Request, headers: Mapping[str, str]) -> tuple[str, bool]:
    """The subscription that a request goes to, or whether it asks for them. Raises _HttpError."""
    scheme = headers.get("authorization", "").partition(" ")[0]
    if scheme.lower() in ("kerberos", "negotiate", "ntlm", "basic"):
        raise _HttpError(401, f"{scheme} isn't spoken here: machines are known by their certificates.")
    path = request.target.decode("latin-1").partition("?")[0]
    delivery = _DELIVERY.fullmatch(path)
    manager = path.lower() in _MANAGER
    if delivery is None and not manager:
        raise _HttpError(404, "Here is /wsman/SubscriptionManager/WEC.")
    if request.method != b"POST":
        raise _HttpError(405, "Only POST is done here.")
    return delivery[1] if delivery is not None else "", manager


def _response(http: h11.Connection, status: int, text: str) -> bytes:
    data = b"" if not text else text.encode() if not text.startswith("<") else b"\xff\xfe" + text.encode("utf-16-le")
    headers = [("Server", "Tocsin"), ("Content-Length", str(len(data)))]
    if data:
        headers.append(("Content-Type", _MEDIA if text.startswith("<") else "text/plain; charset=utf-8"))
    if status == 503:
        headers.append(("Retry-After", "10"))
    sent = http.send(h11.Response(status_code=status, headers=headers[:1] if status == 204 else headers)) or b""
    if data and status != 204:
        sent += http.send(h11.Data(data=data)) or b""
    return sent + (http.send(h11.EndOfMessage()) or b"")


def _named(certificate: Mapping[str, Any]) -> str:
    """The machine's name: its certificate's common name, else the first DNS name."""
    for part in certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName" and value:
                return str(value)
    return next((str(v) for k, v in certificate.get("subjectAltName", ()) if k == "DNS"), "")
