"""The messages of a Windows machine that forwards its events, as WS-Management has them."""

from __future__ import annotations

import uuid

from tocsin.ingest.receivers import wsman

MANAGER = "/wsman/SubscriptionManager/WEC"
MACHINE = "ws1.corp.example"


def event(number: int, user: str = "ann", *, extra: str = "", channel: str = "Security") -> str:
    return (
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Security-Auditing'/>"
        f"<EventID>4624</EventID><TimeCreated SystemTime='2024-05-01T10:00:00.0000000Z'/><EventRecordID>{number}</EventRecordID>"
        f"<Channel>{channel}</Channel><Computer>{MACHINE}</Computer></System><EventData><Data Name='TargetUserName'>{user}</Data>{extra}"
        "</EventData></Event>"
    )


def bookmark(record: int) -> str:
    return f'<BookmarkList><Bookmark Channel="Security" RecordId="{record}" IsCurrent="true"/></BookmarkList>'


def envelope(action: str, body: str = "", header: str = "", to: str = MANAGER) -> str:
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
        'xmlns:e="http://schemas.xmlsoap.org/ws/2004/08/eventing" xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration" '
        'xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"><s:Header>'
        f'<a:To>https://collector:5986{to}</a:To><w:ResourceURI s:mustUnderstand="true">urn:x</w:ResourceURI>'
        f'<m:MachineID xmlns:m="http://schemas.microsoft.com/wbem/wsman/1/machineid" s:mustUnderstand="false">{MACHINE}</m:MachineID>'
        '<a:ReplyTo><a:Address s:mustUnderstand="true">http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo>'
        f'<a:Action s:mustUnderstand="true">{action}</a:Action><w:MaxEnvelopeSize s:mustUnderstand="true">512000</w:MaxEnvelopeSize>'
        f'<a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID><w:Locale xml:lang="en-US" s:mustUnderstand="false"/>'
        f'<p:OperationID s:mustUnderstand="false">uuid:{uuid.uuid4()}</p:OperationID><p:SequenceId s:mustUnderstand="false">1</p:SequenceId>'
        f"<w:OperationTimeout>PT60.000S</w:OperationTimeout>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )


def enumerate_() -> str:
    body = "<n:Enumerate><w:OptimizeEnumeration/><w:MaxElements>32000</w:MaxElements></n:Enumerate>"
    return envelope(wsman.ENUMERATE, body)


def batch(identifier: str, *texts: str, mark: str = "", raw: str = "") -> str:
    listed = "".join(
        f'<w:Event Action="http://schemas.dmtf.org/wbem/wsman/1/wsman/Event"><![CDATA[{t}]]></w:Event>' for t in texts
    )
    header = f"<e:Identifier>{identifier}</e:Identifier>{f'<w:Bookmark>{mark}</w:Bookmark>' if mark else ''}<w:AckRequested/>"
    return envelope(wsman.EVENTS, f"<w:Events>{listed}{raw}</w:Events>", header, f"/wsman/subscriptions/{identifier}")
