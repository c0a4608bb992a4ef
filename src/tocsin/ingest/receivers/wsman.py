"""The messages of Windows event forwarding: SOAP by WS-Management, read from machines and written for them.

Facts: DMTF DSP0226 (WS-Management: addressing, enumeration, eventing, faults) and Microsoft's MS-WSMV (3.1.4.1.30 Subscribe, 2.2.4.41 Subscription).
A machine enumerates the collector's subscriptions, and sends events in batches to the address that each of them names; a batch is kept
there until it is acknowledged. A bookmark comes with each batch; given back in the next enumeration, the machine goes on behind it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, tostring
from xml.sax.saxutils import escape, quoteattr

from tocsin.base.errors import IngestError
from tocsin.ingest.decoders.xmlfields import event_element, local_name
from tocsin.ingest.receivers.streams import FrameError

__all__ = [
    "ACK",
    "END",
    "ENUMERATE",
    "EVENTS",
    "HEARTBEAT",
    "SUBSCRIPTION_END",
    "Message",
    "SoapError",
    "Subscription",
    "acknowledgement",
    "fault",
    "query_of",
    "read_message",
    "read_text",
    "subscriptions",
]

_SOAP = "http://www.w3.org/2003/05/soap-envelope"
_ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
_EVENTING = "http://schemas.xmlsoap.org/ws/2004/08/eventing"
_ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
_WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
_MS_WSMAN = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"
_MACHINE = "http://schemas.microsoft.com/wbem/wsman/1/machineid"
_ACTIONS = "http://schemas.dmtf.org/wbem/wsman/1/wsman"

ENUMERATE = f"{_ENUMERATION}/Enumerate"
EVENTS = f"{_ACTIONS}/Events"
HEARTBEAT = f"{_ACTIONS}/Heartbeat"
ACK = f"{_ACTIONS}/Ack"
END = "http://schemas.microsoft.com/wbem/wsman/1/wsman/End"
SUBSCRIPTION_END = f"{_EVENTING}/SubscriptionEnd"
_FAULT = f"{_ADDRESSING}/fault"
_ANONYMOUS = f"{_ADDRESSING}/role/anonymous"
_EARLIEST = f"{_ACTIONS}/bookmark/earliest"
_QUERY = "http://schemas.microsoft.com/win/2004/08/events/eventquery"
_MUTUAL = f"{_ACTIONS}/secprofile/https/mutual"

_UNDERSTOOD = frozenset(
    {
        f"{{{_ADDRESSING}}}{n}" for n in ("To", "From", "ReplyTo", "FaultTo", "Action", "MessageID", "RelatesTo")
    }
    | {
        f"{{{_WSMAN}}}{n}"
        for n in ("ResourceURI", "SelectorSet", "OptionSet", "MaxEnvelopeSize", "OperationTimeout", "Locale", "Bookmark", "AckRequested")
    }
    | {f"{{{_MS_WSMAN}}}{n}" for n in ("DataLocale", "SessionId", "SequenceId", "ActivityId")}
    | {f"{{{_EVENTING}}}Identifier", f"{{{_MACHINE}}}MachineID"}
)  # fmt: skip
"""Header blocks that may say `mustUnderstand`. OperationID isn't among them: with it, it asks for an answer that was given before."""
_MOST_BOOKMARK = 1 << 16
_BEGIN = re.compile(r"\s*(?:<\?xml[^>]*\?>\s*)?(?=<[A-Za-z_])")
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]+)", re.IGNORECASE)


class SoapError(IngestError):
    """A message that is answered with a fault. `subcode` is the fault's, such as ``a:ActionNotSupported``."""

    code = "ING0039"

    def __init__(self, subcode: str, message: str) -> None:
        super().__init__(message)
        self.subcode = subcode


@dataclass(frozen=True, slots=True)
class Message:
    """What a machine sent. `events` are the texts of a batch, `dropped` how many it says it had to leave out."""

    action: str
    message_id: str
    reply_to: str = _ANONYMOUS
    machine: str = ""
    identifier: str = ""
    bookmark: str = ""
    wants_answer: bool = False
    events: tuple[str, ...] = ()
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Subscription:
    """What machines are asked for. `query` is a QueryList in XML; `heartbeat` and `latency` are seconds."""

    name: str
    query: str
    read_existing: bool = False
    rendered: bool = False
    heartbeat: int = 3600
    latency: int = 30
    envelope_bytes: int = 512_000

    @property
    def id(self) -> str:
        """Its identifier: what bookmarks are kept under, however it changes."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"tocsin:wef:{self.name}")).upper()

    @property
    def version(self) -> str:
        """Another when anything about it changes: machines take it anew then."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"tocsin:wef:{self!r}")).upper()


# ---------------------------------------------------------------------------------------------------- reading


def read_text(body: bytes, media_type: str) -> str:
    """A body as text: by its byte order mark, else as its Content-Type says, else UTF-8. Raises FrameError for a charset that isn't known."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16", "replace")
    found = _CHARSET.search(media_type)
    name = found[1].lower() if found else "utf-8"
    if name not in ("utf-8", "utf-16", "utf-16le", "utf-16be", "us-ascii"):
        raise FrameError(f"The charset {name} isn't known here.")
    # Without a mark UTF-16 is what Windows writes.
    return body.removeprefix(b"\xef\xbb\xbf").decode("utf-16-le" if name == "utf-16" else name, "replace")


def read_message(text: str) -> Message:
    """The message of a SOAP envelope. Raises FrameError for what is none, SoapError for what can't be answered."""
    begin = _BEGIN.match(text)  # a document type, and with it entities, would stand before the first element
    root = event_element(text[begin.end() :]) if begin is not None else None
    if root is None or root.tag != f"{{{_SOAP}}}Envelope":
        raise FrameError("It isn't a SOAP envelope.")
    header, body = root.find(f"{{{_SOAP}}}Header"), root.find(f"{{{_SOAP}}}Body")
    if header is None:
        raise FrameError("The envelope has no header.")
    action, message_id = _said(header, _ADDRESSING, "Action"), _said(header, _ADDRESSING, "MessageID")
    if not action or not message_id:
        raise SoapError("a:MessageInformationHeaderRequired", "Action and MessageID are needed.")
    for block in header:
        must = block.get(f"{{{_SOAP}}}mustUnderstand", "").strip().lower() in ("true", "1")
        if must and block.tag not in _UNDERSTOOD:
            raise SoapError("s:MustUnderstand", f"The header block {local_name(block.tag)} isn't understood here.")
    events, dropped = _batch(body) if action == EVENTS else ((), 0)
    reply = header.find(f"{{{_ADDRESSING}}}ReplyTo/{{{_ADDRESSING}}}Address")
    return Message(
        action,
        message_id,
        (reply.text or "").strip() if reply is not None else _ANONYMOUS,
        _said(header, _MACHINE, "MachineID"),
        _said(header, _EVENTING, "Identifier"),
        _bookmark(header),
        header.find(f"{{{_WSMAN}}}AckRequested") is not None,
        events,
        dropped,
    )


def _said(header: Element, namespace: str, name: str) -> str:
    return (header.findtext(f"{{{namespace}}}{name}") or "").strip()


def _bookmark(header: Element) -> str:
    """The bookmark as it is given back: the list of places in logs."""
    found = header.find(f"{{{_WSMAN}}}Bookmark")
    if found is None:
        return ""
    inner = next(iter(found), None)
    if inner is not None:
        inner.tail = None
    text = (found.text or "").strip() if inner is None else tostring(inner, "unicode")
    if len(text) > _MOST_BOOKMARK:
        raise SoapError("w:InvalidBookmark", f"The bookmark is longer than {_MOST_BOOKMARK} characters.")
    return text


def _batch(body: Element | None) -> tuple[tuple[str, ...], int]:
    """The texts of a batch, and the number of events that the machine left out."""
    listed = body.find(f"{{{_WSMAN}}}Events") if body is not None else None
    if listed is None:
        raise SoapError("w:SchemaValidationError", "The batch has no list of events.")
    texts, dropped = [], 0
    for each in listed:
        name = local_name(each.tag)
        if name == "DroppedEvents":
            count = each.get("Count", "") or (each.text or "").strip()
            dropped += int(count) if count.isdigit() and len(count) < 10 else 1
        elif name == "Event":
            inner = next(iter(each), None)
            text = (each.text or "").strip() if inner is None else _plain(inner)
            if text:
                texts.append(text)
    return tuple(texts), dropped


def _plain(element: Element) -> str:
    """An element without namespaces, as Windows writes its events."""
    name = local_name(element.tag)
    attributes = "".join(f" {local_name(k)}={quoteattr(v)}" for k, v in element.attrib.items())
    inner = escape(element.text or "") + "".join(_plain(c) + escape(c.tail or "") for c in element)
    return f"<{name}{attributes}>{inner}</{name}>"


# ---------------------------------------------------------------------------------------------------- writing


def query_of(channels: Iterable[str]) -> str:
    """The query for everything in these event logs: one query a log, so that one which a machine hasn't spoils no other."""
    return "".join(
        ["<QueryList>"]
        + [
            f"<Query Id={quoteattr(str(n))} Path={quoteattr(c)}><Select Path={quoteattr(c)}>*</Select></Query>"
            for n, c in enumerate(channels)
        ]
        + ["</QueryList>"]
    )


def acknowledgement(message: Message) -> str:
    """What tells a machine that its batch or heartbeat was taken."""
    return _envelope(ACK, message, "")


def fault(error: SoapError, message_id: str = "") -> str:
    """What tells a machine why its message wasn't taken."""
    body = (
        f"<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>{error.subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en-US">{escape(error.message)}</s:Text></s:Reason></s:Fault>'
    )
    return _envelope(_FAULT, Message("", message_id), body)


def subscriptions(message: Message, found: Sequence[tuple[Subscription, str]], host: str, issuer: str) -> str:
    """The answer to an enumeration: each subscription with the machine's bookmark of it.

    `host` is the name and port by which the machine reached this server; `issuer` the thumbprint of the authority whose certificates it may show.
    """
    items = "".join(
        f'<m:Subscription xmlns:m="http://schemas.microsoft.com/wbem/wsman/1/subscription"><m:Version>uuid:{s.version}</m:Version>'
        f"{_subscribe(s, bookmark, host, issuer)}</m:Subscription>"
        for s, bookmark in found
    )
    body = (
        f"<n:EnumerateResponse><n:EnumerationContext></n:EnumerationContext><w:Items>{items}</w:Items><w:EndOfSequence/>"
        "</n:EnumerateResponse>"
    )
    return _envelope(f"{ENUMERATE}Response", message, body)


def _envelope(action: str, message: Message, body: str) -> str:
    relates = f"<a:RelatesTo>{escape(message.message_id)}</a:RelatesTo>" if message.message_id else ""
    return (
        f'<s:Envelope xml:lang="en-US" xmlns:s="{_SOAP}" xmlns:a="{_ADDRESSING}" xmlns:e="{_EVENTING}" xmlns:n="{_ENUMERATION}" '
        f'xmlns:w="{_WSMAN}" xmlns:p="{_MS_WSMAN}"><s:Header><a:Action>{action}</a:Action><a:MessageID>{_new_id()}</a:MessageID>'
        f"<a:To>{escape(message.reply_to or _ANONYMOUS)}</a:To>{relates}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )


def _subscribe(subscription: Subscription, bookmark: str, host: str, issuer: str) -> str:
    """The envelope that a machine takes as if it had been sent it: what to forward, how, and to where."""
    s = subscription
    # Without the option Compression events come as they are.
    options = "".join(
        [
            f'<w:Option Name="SubscriptionName">{escape(s.name)}</w:Option>',
            '<w:Option Name="CDATA" xsi:nil="true"/>',
            f'<w:Option Name="ContentFormat">{"RenderedText" if s.rendered else "Raw"}</w:Option>',
            '<w:Option Name="IgnoreChannelError" xsi:nil="true"/>',
            '<w:Option Name="ReadExistingEvents">true</w:Option>' if s.read_existing else "",
        ]
    )
    address = (
        f"<a:Address>https://{host}/wsman/subscriptions/{s.id}</a:Address>"
        f"<a:ReferenceProperties><e:Identifier>{s.id}</e:Identifier></a:ReferenceProperties>"
    )
    policy = (
        '<c:Policy xmlns:c="http://schemas.xmlsoap.org/ws/2002/12/policy" xmlns:auth="http://schemas.microsoft.com/wbem/wsman/1/authentication">'
        f'<c:ExactlyOne><c:All><auth:Authentication Profile="{_MUTUAL}"><auth:ClientCertificate><auth:Thumbprint Role="issuer">{issuer}'
        "</auth:Thumbprint></auth:ClientCertificate></auth:Authentication></c:All></c:ExactlyOne></c:Policy>"
    )
    language = (
        '<w:Locale xml:lang="en-US" s:mustUnderstand="false"/><p:DataLocale xml:lang="en-US" s:mustUnderstand="false"/>'
    )
    mark = bookmark or (escape(_EARLIEST) if s.read_existing else "")
    return (
        f'<s:Envelope xmlns:s="{_SOAP}" xmlns:a="{_ADDRESSING}" xmlns:e="{_EVENTING}" xmlns:n="{_ENUMERATION}" xmlns:w="{_WSMAN}" '
        f'xmlns:p="{_MS_WSMAN}"><s:Header><a:To>{_ANONYMOUS}</a:To>'
        '<w:ResourceURI s:mustUnderstand="true">http://schemas.microsoft.com/wbem/wsman/1/windows/EventLog</w:ResourceURI>'
        f'<a:ReplyTo><a:Address s:mustUnderstand="true">{_ANONYMOUS}</a:Address></a:ReplyTo>'
        f'<a:Action s:mustUnderstand="true">{_EVENTING}/Subscribe</a:Action>'
        f'<w:MaxEnvelopeSize s:mustUnderstand="true">{s.envelope_bytes}</w:MaxEnvelopeSize><a:MessageID>{_new_id()}</a:MessageID>{language}'
        f'<p:OperationID s:mustUnderstand="false">{_new_id()}</p:OperationID><p:SequenceId s:mustUnderstand="false">1</p:SequenceId>'
        f'<w:OptionSet xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">{options}</w:OptionSet></s:Header>'
        f'<s:Body><e:Subscribe><e:EndTo>{address}</e:EndTo><e:Delivery Mode="{EVENTS}"><w:Heartbeats>PT{s.heartbeat}.000S</w:Heartbeats>'
        f'<e:NotifyTo>{address}{policy}</e:NotifyTo><w:ConnectionRetry Total="5">PT60.0S</w:ConnectionRetry>'
        f'<w:MaxTime>PT{s.latency}.000S</w:MaxTime><w:MaxEnvelopeSize Policy="Notify">{s.envelope_bytes}</w:MaxEnvelopeSize>{language}'
        f'<w:ContentEncoding>UTF-16</w:ContentEncoding></e:Delivery><w:Filter Dialect="{_QUERY}">{s.query}</w:Filter>'
        f"{f'<w:Bookmark>{mark}</w:Bookmark>' if mark else ''}<w:SendBookmarks/></e:Subscribe></s:Body></s:Envelope>"
    )


def _new_id() -> str:
    return f"uuid:{str(uuid.uuid4()).upper()}"
