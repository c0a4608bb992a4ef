"""What is fuzzed: for each decoder of bytes from the network its seeds and what it promises for every input.

The first byte of an input chooses how the rest reaches the decoder: as it is, or wrapped where a length, a checksum or a compression would
keep a mutated text from getting any further. Everywhere: nothing but the protocol's own refusal, and what was taken decodes to rows or
dead letters.
"""

from __future__ import annotations

import gzip
import json
import selectors
import ssl
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgpack
import pyarrow as pa
import zstandard
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tests.ingest.fuzz.doors import LIMIT, LIMITS, App, FindingError, Kept, converse, decoded
from tocsin.ingest.decoders.body import frame_syslog, unframe_syslog
from tocsin.ingest.receivers import wsman
from tocsin.ingest.receivers.azure import AzureReceiver
from tocsin.ingest.receivers.beats import BeatsReceiver
from tocsin.ingest.receivers.elastic import ElasticReceiver
from tocsin.ingest.receivers.fluent import FluentReceiver
from tocsin.ingest.receivers.framing import SyslogFramer
from tocsin.ingest.receivers.gelf import Chunks, GelfHttpReceiver, GelfTcpReceiver, expand
from tocsin.ingest.receivers.hec import HecReceiver
from tocsin.ingest.receivers.jsonlines import JsonLinesReceiver
from tocsin.ingest.receivers.loki import LokiReceiver, _push_request
from tocsin.ingest.receivers.otlp import OtlpReceiver
from tocsin.ingest.receivers.relp import RelpReceiver, _Session
from tocsin.ingest.receivers.settings import WefSettings
from tocsin.ingest.receivers.streams import FrameError
from tocsin.ingest.receivers.wef import WefReceiver, subscription_of
from tocsin.lake import Body

__all__ = ["TARGETS", "Target"]

EVENT = {"@timestamp": "2024-05-01T10:00:00Z", "host": {"name": "h"}, "message": "äö", "n": [1, None, -2.5, True]}
SYSLOG = b'<34>1 2024-05-01T10:00:00.123Z host app 77 id [a@1 b="c"] it happened'
OLD = b"<13>May  1 10:00:00 host sshd[77]: Accepted password for root from 10.0.0.1 port 22 ssh2"


@dataclass(frozen=True)
class Target:
    """One decoder. `check` gives a word for what became of the input, and raises for what may not be."""

    name: str
    seeds: Callable[[], list[bytes]]
    check: Callable[[bytes], str]


def chunks(data: bytes, size: int) -> list[bytes]:
    """The bytes in pieces; a size of 0 is one piece."""
    return [data[i : i + size] for i in range(0, len(data), size)] if size else [data]


def verdict(kept: Kept, ended: str = "") -> str:
    """What became of an input."""
    rows, dead = decoded(kept.bodies)
    return ended or ("rows" if rows else "dead letters" if dead else "nothing")


# ---------------------------------------------------------------------------------------------------- streams


def lumberjack(data: bytes) -> str:
    """0: frames; 1: frames that come compressed, with a window before them; above: frames in pieces of that size."""
    kept = Kept()
    how, rest = data[0], data[1:]
    if how == 1:
        packed = zlib.compress(rest, 1)
        rest = b"2W\0\0\0\3" + b"2C" + struct.pack("!I", len(packed)) + packed
    answer, ended = converse(BeatsReceiver(kept, limits=LIMITS), chunks(rest, how if how > 1 else 0))
    for at in range(0, len(answer), 6):
        if answer[at : at + 2] != b"2A" or len(answer) < at + 6:
            raise FindingError(f"an answer {answer[:60]!r}")
    return verdict(kept, ended)


def _frame(number: int, data: bytes) -> bytes:
    return b"2J" + struct.pack("!II", number, len(data)) + data


def _lumberjack() -> list[bytes]:
    event = json.dumps(EVENT).encode()
    pairs = (
        b"2D"
        + struct.pack("!II", 1, 2)
        + b"".join(struct.pack("!I", len(t)) + t for t in (b"line", b"x", b"host", b"h"))
    )
    window = b"2W\0\0\0\2"
    frames = _frame(1, event) + _frame(2, b'{"a": 1}')
    return [
        b"\0" + window + frames,
        b"\1" + frames,
        b"\1" + pairs,
        b"\0" + window + pairs,
        b"\5" + window + frames,
        b"\1" + _frame(1, b""),
    ]


def forward(data: bytes) -> str:
    """0: messages; 1: entries of PackedForward; 2: of CompressedPackedForward; 3: one message with any second element; above: in pieces."""
    kept = Kept()
    how, rest = data[0], data[1:]
    if how == 1:
        rest = msgpack.packb(["t", rest, {"chunk": "c"}])
    elif how == 2:
        rest = msgpack.packb(["t", gzip.compress(rest, 1, mtime=0), {"chunk": "c", "compressed": "gzip"}])
    elif how == 3:
        rest = b"\x93\xa1t" + rest
    answer, ended = converse(FluentReceiver(kept, limits=LIMITS), chunks(rest, how if how > 3 else 0))
    for said in msgpack.Unpacker(None) if not answer else _unpacked(answer):
        if not isinstance(said, dict) or "ack" not in said:
            raise FindingError(f"an answer {said!r}")
    return verdict(kept, ended)


def _unpacked(data: bytes) -> list[Any]:
    frames = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape")
    frames.feed(data)
    return list(frames)


def _forward() -> list[bytes]:
    time = msgpack.ExtType(0, struct.pack("!II", 1714557600, 5))
    entry = msgpack.packb([time, EVENT])
    return [
        b"\0" + msgpack.packb(["t", 1714557600, EVENT, {"chunk": "a"}]),
        b"\0" + msgpack.packb(["t", [[time, EVENT], [[time, {"m": 1}], {"log": "a line"}]], {"chunk": "b"}]),
        b"\0" + msgpack.packb(["t", entry + entry, {"size": 2}]),
        b"\1" + entry + entry,
        b"\2" + entry,
        b"\3" + entry[1:],
        b"\4" + msgpack.packb(["t", time, {"k": b"\xff\xfe", 5: {}}]),
    ]


def gelf_tcp(data: bytes) -> str:
    """Messages that end in NUL, in pieces of the first byte's size."""
    kept = Kept()
    _, ended = converse(GelfTcpReceiver(kept, limits=LIMITS), chunks(data[1:], data[0]))
    return verdict(kept, ended)


def _gelf_tcp() -> list[bytes]:
    message = b'{"version":"1.1","host":"h","short_message":"m","full_message":"f","timestamp":1714557600.5,"level":3,"_x":{"y":1}}'
    windows = b'{"short_message":"m","EventID":4625,"Channel":"Security","SourceName":"x","Hostname":"h"}'
    return [b"\0" + message + b"\0" + windows + b"\0", b"\7" + message + b"\0", b"\0" + gzip.compress(message, mtime=0)]


def gelf_udp(data: bytes) -> str:
    """Datagrams, each after its length in two bytes: chunks of messages, or messages. What waits is counted right, and bounded."""
    kept = Kept()
    waiting = Chunks(limit_bytes=1000)
    at, now, found = 0, 0.0, ""
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        datagram = data[at + 2 : at + 2 + size]
        at += 2 + size
        now += 0.5
        try:
            whole = waiting.add("peer", datagram, now) if datagram[:2] == b"\x1e\x0f" else datagram
            if whole is not None:
                found = expand(whole, LIMIT)[:0].decode() or "whole"
        except FrameError:
            found = "FrameError"
        if waiting.bytes != sum(p.size for p in waiting._waiting.values()) or waiting.bytes > 1000:
            raise FindingError(f"{waiting.bytes} bytes are said to wait")
    waiting.expire(now + 60)
    if waiting.bytes or waiting._waiting:
        raise FindingError("something waits for ever")
    return found or verdict(kept)


def _gelf_udp() -> list[bytes]:
    def piece(number: int, count: int, data: bytes, id_: bytes = b"ABCDEFGH") -> bytes:
        datagram = b"\x1e\x0f" + id_ + bytes((number, count)) + data
        return struct.pack("!H", len(datagram)) + datagram

    message = zlib.compress(b'{"short_message":"m"}')
    return [
        piece(0, 2, message[:9]) + piece(1, 2, message[9:]),
        piece(1, 2, b"b") + piece(1, 2, b"b") + piece(0, 3, b"a") + piece(0, 2, b"a"),
        b"".join(piece(n, 128, b"x" * 20) for n in range(128)),
        struct.pack("!H", len(message)) + message + piece(0, 1, message),
    ]


def syslog(data: bytes) -> str:
    """The framing of syslog over TCP: however the stream is cut into pieces, the messages are the same, and they come back out of a body."""
    size, rest = data[0], data[1:]
    found = []
    for step in (0, size or 1):
        framer = SyslogFramer(limit=100)
        messages = [m for chunk in chunks(rest, step) for m in framer.feed(chunk)]
        left = framer.rest()
        found.append((messages + ([left] if left else []), framer.cut))
    if found[0] != found[1]:
        raise FindingError(f"pieces of {size} give {found[1]}, the whole {found[0]}")
    messages = found[0][0]
    framed = frame_syslog(messages)
    if list(unframe_syslog(framed)) != messages:
        raise FindingError("the body's framing loses something")
    kept = Kept()
    kept.submit([Body("syslog", framed, kept.now(), {"peer": "peer"})] if framed else [])
    return verdict(kept)


def _syslog() -> list[bytes]:
    counted = b"%d %b" % (len(SYSLOG), SYSLOG)
    return [
        b"\0" + SYSLOG + b"\n" + counted + OLD + b"\r\n",
        b"\3" + counted * 2 + b"4 <1>x" + b"12345678 y\n",
        b"\7" + b"x" * 130 + b"\n" + b"150 " + b"y" * 150 + b"<1>z\0",
    ]


class _Socket:
    """A socket that has brought its bytes already."""

    def __init__(self, brought: list[bytes]) -> None:
        self.brought = brought
        self.written = bytearray()

    def recv(self, _: int) -> bytes:
        return self.brought.pop(0)

    def send(self, data: bytes) -> int:
        self.written += data
        return len(data)

    def fileno(self) -> int:
        return 1 << 20

    def close(self) -> None: ...


def relp(data: bytes) -> str:
    """A session, in pieces of the first byte's size: every message that is answered with 200 is kept, once."""
    kept = Kept()
    receiver = RelpReceiver(kept, max_message_bytes=LIMIT)
    receiver._selector = selectors.DefaultSelector()
    sock = _Socket(chunks(data[1:], data[0]))
    session: Any = _Session(sock, "peer")  # type: ignore[arg-type]
    while sock.brought and not session.gone:
        receiver._read(session)
        receiver._acknowledge()
    receiver._selector.close()
    answers = list(_relp_answers(bytes(sock.written)))
    stored = [m for body in kept.bodies for m in unframe_syslog(body.data)]
    good = sum(a.startswith(b"200 OK") and b"relp_version" not in a for a in answers)
    # Of a session that breaks the last answers may never be written; its sender sends those messages again.
    if good > len(stored) or (good < len(stored) and not session.gone):
        raise FindingError(f"{len(stored)} messages are kept, {answers} were answered")
    return verdict(kept, "ended" if session.gone else "")


def _relp_answers(data: bytes) -> Iterator[bytes]:
    while data:
        number, command, rest = data.split(b" ", 2)
        if not number.isdigit() or command not in (b"rsp", b"serverclose"):
            raise FindingError(f"an answer {data[:60]!r}")
        length = rest.replace(b"\n", b" ").split(b" ", 1)[0]
        size = int(length)
        skip = len(length) + (1 if size else 0)
        yield rest[skip : skip + size]
        if rest[skip + size : skip + size + 1] != b"\n":
            raise FindingError(f"an answer {data[:60]!r}")
        data = rest[skip + size + 1 :]


def _relp() -> list[bytes]:
    opened = b"1 open 30 relp_version=0\ncommands=syslog\n"
    message = b"2 syslog %d %b\n" % (len(SYSLOG), SYSLOG)
    return [
        b"\0" + opened + message,
        b"\5" + opened + message + b"3 close 0\n",
        b"\0" + message + b"3 nosuch 1 x\n4 syslog 0\n",
    ]


# ---------------------------------------------------------------------------------------------------- requests


def forwarding(data: bytes) -> str:
    """0: a message in UTF-8, sent as a batch; 1: the same in UTF-16; 2: sent as an enumeration; above: the bytes of a whole connection."""
    kept = Kept()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    subscription = subscription_of(WefSettings())
    receiver = WefReceiver(kept, tls=context, subscription=subscription, limits=LIMITS)
    how, rest = data[0], data[1:]
    if how < 3:
        body = rest if how != 1 else b"\xff\xfe" + rest.decode("utf-8", "replace").encode("utf-16-le")
        path = "/wsman" if how == 2 else f"/wsman/subscriptions/{subscription.id}"
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/soap+xml\r\nContent-Length: {len(body)}\r\n\r\n"
        rest = head.encode() + body
    answer, ended = converse(receiver, [rest])
    if answer and not answer.startswith(b"HTTP/1.1 "):
        raise FindingError(f"an answer {answer[:60]!r}")
    if b"HTTP/1.1 500" in answer and kept.bodies:
        raise FindingError("a fault, and events were kept")
    return verdict(kept, ended)


def _forwarding() -> list[bytes]:
    def message(action: str, header: str, body: str) -> bytes:
        return (
            f"<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope' xmlns:a='http://schemas.xmlsoap.org/ws/2004/08/addressing' "
            f"xmlns:w='http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd'><s:Header><a:Action s:mustUnderstand='true'>{action}</a:Action>"
            f"<a:MessageID>uuid:1</a:MessageID>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
        ).encode()

    mark = "<w:Bookmark><BookmarkList><Bookmark Channel='Security' RecordId='1'/></BookmarkList></w:Bookmark>"
    event = "<Event xmlns='x'><System><EventID>4624</EventID><Channel>Security</Channel></System><EventData/></Event>"
    events = f"<w:Events><w:Event><![CDATA[{event}]]></w:Event><w:Event>{event}</w:Event><w:DroppedEvents>3</w:DroppedEvents></w:Events>"
    batch, asking = message(wsman.EVENTS, mark, events), message(wsman.ENUMERATE, "", "")
    whole = (
        b"POST /wsman HTTP/1.1\r\nHost: h\r\nContent-Type: application/soap+xml\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return [
        b"\0" + batch,
        b"\1" + batch,
        b"\2" + asking,
        b"\0" + message(wsman.HEARTBEAT, "<w:AckRequested/>", ""),
        b"\3" + whole + b"%x\r\n%b\r\n0\r\n\r\n" % (len(asking), asking) + whole,
    ]


def http(
    kind: Any, path: str, headers: dict[str, str], *, wrap: Callable[[bytes], bytes] | None = None
) -> Callable[[bytes], str]:
    """A check of one route. With `wrap` an odd first byte wraps the rest."""

    def check(data: bytes) -> str:
        kept = Kept()
        more = {} if kind is JsonLinesReceiver else {"max_record_bytes": LIMIT // 2}
        receiver = kind(kept, {"good": "agent"}.get, max_body_bytes=LIMIT, **more)
        body = data[1:]
        if wrap is not None and data[0] & 1:
            body = wrap(body)
        status = App(receiver.routes()).post(path, body, {"authorization": "Bearer good", **headers})
        if status >= 400 and any(b.source != "dead" for b in kept.bodies):
            raise FindingError(f"an answer {status}, and rows were kept")
        return verdict(kept, str(status))

    return check


def compressed(data: bytes) -> str:
    """Content-Encoding: the first byte chooses the encoding and whether the rest is compressed here."""
    encodings: list[tuple[str, Callable[[bytes], bytes]]] = [
        ("gzip", lambda d: gzip.compress(d, 1, mtime=0)),
        ("deflate", lambda d: zlib.compress(d, 1)),
        ("zstd", zstandard.ZstdCompressor(1).compress),
        ("snappy", bytes),
    ]
    name, pack = encodings[data[0] >> 1 & 3]
    check = http(JsonLinesReceiver, "/ingest/v1/jsonl", {"content-encoding": name}, wrap=pack)
    return check(data)


def _lines(*texts: bytes) -> Callable[[], list[bytes]]:
    return lambda: [b"\0" + t for t in texts]


_HEC = (
    b'{"time":1714557600.5,"host":"h","sourcetype":"s","event":{"a":[1,{"b":null}]},"fields":{"c":"d"}}',
    b'{"event":"<34>1 2024-05-01T10:00:00Z h app - - - text","time":"1714557600"}{"event":"x"}\n{"event":5}',
    b'{"event":"<Event xmlns=\'x\'><System><EventID>1</EventID></System></Event>"}',
    b'{"event":"{\\"EventID\\":4625,\\"Channel\\":\\"Security\\",\\"\\ud800\\":1}","index":"Syslog"}',
)
_OTLP = (
    b'{"resourceLogs":[{"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"h"}}]},"scopeLogs":[{"scope":{"name":"s"},'
    b'"logRecords":[{"timeUnixNano":"1714557600000000000","severityNumber":9,"body":{"kvlistValue":{"values":[{"key":"a","value":'
    b'{"intValue":"5"}},{"key":"b","value":{"arrayValue":{"values":[{"bytesValue":"AA=="}]}}}]}},'
    b'"attributes":[{"key":"k","value":{"boolValue":true}}]}]}]}]}'
)


def _otlp() -> list[bytes]:
    request = ExportLogsServiceRequest()
    logs = request.resource_logs.add()
    logs.resource.attributes.add(key="host.name").value.string_value = "h"
    scope = logs.scope_logs.add()
    scope.scope.name = "s"
    record = scope.log_records.add(
        time_unix_nano=1714557600_000000000, severity_text="INFO", severity_number=9, trace_id=b"1" * 16
    )
    record.body.kvlist_value.values.add(key="a").value.array_value.values.add().bytes_value = b"\xff"
    record.attributes.add(key="k").value.double_value = float("nan")
    scope.log_records.add(observed_time_unix_nano=5).body.string_value = SYSLOG.decode()
    return [b"\0" + request.SerializeToString()]


def _snappy(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="snappy", asbytes=True))


def _loki() -> list[bytes]:
    request: Any = _push_request()()
    stream = request.streams.add(labels='{job="x", host="h\\"q"}')
    entry = stream.entries.add(line=SYSLOG.decode())
    entry.timestamp.seconds = 1714557600
    entry.structured_metadata.add(name="n", value="v")
    stream.entries.add(line="")
    plain = request.SerializeToString()
    return [b"\1" + plain, b"\0" + _snappy(plain)]


_LOKI = b'{"streams":[{"stream":{"job":"x"},"values":[["1714557600000000000","line",{"m":"1"}],["5","{\\"a\\":1}"]]}]}'
_BULK = (
    b'{"index":{"_index":"i","_id":"1"}}\n{"@timestamp":"2024-05-01T10:00:00Z","a":{"b":[]}}\n{"create":{}}\n{"message":"x"}\n{"delete":{"_id":"2"}}\n',
    b'{"index":{}}\n{"a":1}\r\n{"update":{"_id":1}}\n{"doc":{}}\n',
)
_JSONL = (
    b'{"a":1}\n{"b":"\xc3\xa4"}\n',
    b'[{"a":{"b":[1,2,{"c":null}]}},{"TimeGenerated":"2024-05-01"}]',
    b'{"Records":[{"eventVersion":"1.08"}]}',
)
_DCR = "/dataCollectionRules/d/streams/Custom-A_CL?api-version=2023-01-01"
_JSON = {"content-type": "application/json"}
_PROTOBUF = {"content-type": "application/x-protobuf"}

TARGETS: dict[str, Target] = {
    t.name: t
    for t in (
        Target("lumberjack", _lumberjack, lumberjack),
        Target("forward", _forward, forward),
        Target("gelf-tcp", _gelf_tcp, gelf_tcp),
        Target("gelf-udp", _gelf_udp, gelf_udp),
        Target("syslog-framing", _syslog, syslog),
        Target("relp", _relp, relp),
        Target("forwarding", _forwarding, forwarding),
        Target("hec-event", _lines(*_HEC), http(HecReceiver, "/services/collector/event", {"authorization": "Splunk good"})),
        Target(
            "hec-raw",
            _lines(SYSLOG + b"\n" + OLD, b"type=SYSCALL msg=audit(1714557600.123:45): arch=c000003e a0=1", b"a,b\n1,2"),
            http(HecReceiver, "/services/collector/raw?host=h", {"authorization": "Splunk good"}),
        ),
        Target("elastic-bulk", _lines(*_BULK), http(ElasticReceiver, "/_bulk", {"content-type": "application/x-ndjson"})),
        Target("azure", _lines(b'[{"TimeGenerated":"2024-05-01","a":{"b":1}},{}]', b"[]"), http(AzureReceiver, _DCR, _JSON)),
        Target("otlp-protobuf", _otlp, http(OtlpReceiver, "/v1/logs", _PROTOBUF)),
        Target("otlp-json", _lines(_OTLP), http(OtlpReceiver, "/v1/logs", _JSON)),
        Target("loki-snappy", _loki, http(LokiReceiver, "/loki/api/v1/push", _PROTOBUF, wrap=_snappy)),
        Target("loki-json", _lines(_LOKI), http(LokiReceiver, "/loki/api/v1/push", _JSON)),
        Target("gelf-http", _lines(*(m[1:].rstrip(b"\0").replace(b"\0", b"\n") for m in _gelf_tcp()[:2])), http(GelfHttpReceiver, "/gelf", {})),
        Target("jsonl", _lines(*_JSONL), http(JsonLinesReceiver, "/ingest/v1/jsonl", {})),
        Target("encodings", lambda: [bytes((n,)) + b'{"a":1}\n' * 3 for n in (1, 3, 5)] + [b"\0" + gzip.compress(b'{"a":1}')], compressed),
    )
}  # fmt: skip
