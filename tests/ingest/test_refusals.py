"""Bad input at every receiver: each kind of it has the protocol's own answer and leaves a trace, and the next good message is taken.

A trace is a refusal counted at the source, or a dead letter. Then all of it again, many times: no socket stays open and memory doesn't grow.
Here that is 30 connections a receiver; `make garbage` opens 10,000 (TOCSIN_FUZZ_CONNECTIONS) and prints what they left.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import os
import socket
import ssl
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgpack
import pyarrow as pa
import pytest
import zstandard

from tests.ingest.intake_support import Rig, until
from tests.ingest.shipper_support import TOKENS, Certificates, serve
from tests.ingest.test_garbage import resident, sockets
from tocsin.ingest.mapping import DEAD_LETTERS
from tocsin.ingest.receivers.azure import AzureReceiver
from tocsin.ingest.receivers.beats import BeatsReceiver
from tocsin.ingest.receivers.elastic import ElasticReceiver
from tocsin.ingest.receivers.fluent import FluentReceiver
from tocsin.ingest.receivers.gelf import GelfHttpReceiver, GelfTcpReceiver, GelfUdpReceiver
from tocsin.ingest.receivers.hec import HecReceiver
from tocsin.ingest.receivers.jsonlines import JsonLinesReceiver
from tocsin.ingest.receivers.loki import LokiReceiver, _push_request
from tocsin.ingest.receivers.otlp import OtlpReceiver
from tocsin.ingest.receivers.relp import RelpReceiver
from tocsin.ingest.receivers.streams import StreamLimits
from tocsin.ingest.receivers.syslog import SyslogTcpReceiver, SyslogTlsReceiver, SyslogUdpReceiver
from tocsin.workspace.patience import PatientProtocol

LIMIT = 1 << 16
LIMITS = StreamLimits(frame_bytes=LIMIT, frame_seconds=0.5, idle_seconds=30, handshake_seconds=0.5)
CONNECTIONS = int(os.environ.get("TOCSIN_FUZZ_CONNECTIONS", "30"))
BOMB = b"\0" * (8 << 20)
HELLO = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\x11" * 60
SYSLOG = b"<34>1 2024-05-01T10:00:00Z host app 1 - - hello"
GELF = b'{"version":"1.1","host":"h","short_message":"hello"}'


@dataclass
class Door:
    """A running receiver of frames, what is right to send it, and what shows that it was taken."""

    kind: str
    address: tuple[str, int]
    good: bytes
    table: str
    answer: bytes = b""
    tls: bool = False
    udp: bool = False


@dataclass
class House:
    """Everything that runs."""

    rig: Rig
    certificates: Certificates
    doors: dict[str, Door] = field(default_factory=dict)
    url: str = ""

    def errors(self) -> int:
        """Refusals that the sources have counted."""
        return sum(s.errors for s in self.rig.intake.sources())

    def traces(self) -> int:
        """Refusals and dead letters."""
        return self.errors() + len(self.rig.rows(DEAD_LETTERS))

    def rows(self) -> int:
        """Rows of events."""
        return sum(len(self.rig.rows(t)) for t in ("Unparsed_CL", "Syslog", "A_CL"))

    def connect(self, door: Door) -> socket.socket:
        sock = socket.create_connection(door.address, 60)
        sock.settimeout(60)
        if door.tls:
            sock = ssl.create_default_context(cafile=str(self.certificates.ca)).wrap_socket(
                sock, server_hostname="127.0.0.1"
            )
        return sock


def lumberjack(data: bytes, count: int = 1) -> bytes:
    return b"2W" + struct.pack("!I", count) + b"2J" + struct.pack("!II", 1, len(data)) + data


def packed(frames: bytes) -> bytes:
    data = zlib.compress(frames)
    return b"2W\0\0\0\1" + b"2C" + struct.pack("!I", len(data)) + data


def forward(*entry: Any, **option: Any) -> bytes:
    return bytes(msgpack.packb(["t", *entry, {"chunk": "c", **option}]))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("refusals")
    rig = Rig(folder / "rig").start()
    made = House(rig, Certificates(folder / "tls"))
    tls, intake, running = made.certificates.server(), rig.intake, []
    # Closed, or the same message over the next session would be a repetition.
    relp = b"1 open 30 relp_version=0\ncommands=syslog\n2 syslog %d %b\n3 close 0\n" % (len(SYSLOG), SYSLOG)
    # Without a chunk's id: one that came already isn't stored again.
    frame = msgpack.packb(["t", 1714557600, {"message": "hello"}])
    event = lumberjack(b'{"message":"hello"}')
    stored, acknowledged = b"2 rsp 6 200 OK\n", b"2A\0\0\0\1"
    size = {"max_message_bytes": LIMIT, "frame_seconds": 0.5}
    listed: list[tuple[str, Any, str, bytes, str, bytes]] = [
        ("beats", BeatsReceiver(intake, port=0, limits=LIMITS), "beats", event, "Unparsed_CL", acknowledged),
        ("beats+tls", BeatsReceiver(intake, port=0, limits=LIMITS, tls=tls), "beats", event, "Unparsed_CL", acknowledged),
        ("fluent", FluentReceiver(intake, port=0, limits=LIMITS), "fluent", frame, "Unparsed_CL", b""),
        ("fluent+key", FluentReceiver(intake, port=0, limits=LIMITS, shared_key="k"), "fluent", b"", "", b"HELO"),
        ("gelf tcp", GelfTcpReceiver(intake, port=0, limits=LIMITS), "gelf", GELF + b"\0", "Unparsed_CL", b""),
        ("gelf udp", GelfUdpReceiver(intake, port=0, max_message_bytes=LIMIT), "gelf", GELF, "Unparsed_CL", b""),
        ("syslog udp", SyslogUdpReceiver(intake, port=0), "syslog", SYSLOG, "Syslog", b""),
        ("syslog tcp", SyslogTcpReceiver(intake, port=0, limits=LIMITS), "syslog", SYSLOG + b"\n", "Syslog", b""),
        ("syslog tls", SyslogTlsReceiver(intake, port=0, limits=LIMITS, tls=tls), "syslog", SYSLOG + b"\n", "Syslog", b""),
        ("relp", RelpReceiver(intake, port=0, **size), "syslog", relp, "Syslog", stored),  # type: ignore[arg-type]
        ("relp+tls", RelpReceiver(intake, port=0, **size, tls=tls), "syslog", relp, "Syslog", stored),  # type: ignore[arg-type]
    ]  # fmt: skip
    for name, receiver, kind, good, table, answer in listed:
        made.doors[name] = Door(kind, receiver.start(), good, table, answer, name.endswith("tls"), name.endswith("udp"))
        running.append(receiver)
    kinds = (
        HecReceiver, ElasticReceiver, AzureReceiver, OtlpReceiver, LokiReceiver, GelfHttpReceiver, JsonLinesReceiver,
    )  # fmt: skip
    routes = [r for k in kinds for r in k(intake, TOKENS.get, max_body_bytes=LIMIT).routes()]  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PatientProtocol, "seconds", 0.5)
        patch.setattr("tocsin.ingest.receivers.http._CHUNK_SECONDS", 0.5)
        with serve(routes, http=PatientProtocol) as made.url:
            yield made
    for receiver in running:
        receiver.stop()  # type: ignore[attr-defined]
    rig.close()
    # Connections that were cut off are told of when they are forgotten: now, not in somebody else's test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


# ---------------------------------------------------------------------------------------------------- frames

CLOSED, DEAD, ROW = "closed", "dead letter", "row"
BOMBS = {
    "beats": packed(b"2J" + struct.pack("!II", 1, len(BOMB)) + BOMB),
    "fluent": forward(gzip.compress(BOMB), compressed="gzip"),
    "gelf": gzip.compress(BOMB),
}
FRAMES: dict[str, dict[str, tuple[bytes, str]]] = {
    "beats": {
        "garbage": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", CLOSED),
        "a handshake of TLS": (HELLO, CLOSED),
        "oversize": (lumberjack(b"x" * (LIMIT + 1)), CLOSED),
        "a window without end": (b"2W\xff\xff\xff\xff", CLOSED),
        "a bomb": (BOMBS["beats"], CLOSED),
        "a bomb of frames": (packed((b"2J" + struct.pack("!II", 1, 0)) * 800_000), CLOSED),
        "damaged compression": (packed(b"x")[:-1] + b"\xff", CLOSED),
        "invalid UTF-8": (lumberjack(b'{"message":"a\xff\xfeb"}'), ROW),
        "no JSON": (lumberjack(b"{nonsense"), DEAD),
        "half a frame": (lumberjack(b'{"message":"x"}')[:-4], CLOSED),
    },
    "fluent": {
        "garbage": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", CLOSED),
        "a handshake of TLS": (HELLO, CLOSED),
        "oversize": (forward(1714557600, {"m": "x" * (2 * LIMIT)}), CLOSED),
        "an array without end": (b"\xdd\xff\xff\xff\xff", CLOSED),
        "a bomb": (BOMBS["fluent"], CLOSED),
        "damaged compression": (forward(b"\x1f\x8b\x08garbage", compressed="gzip"), CLOSED),
        "an unknown compression": (forward(b"x", compressed="zstd9"), CLOSED),
        "invalid UTF-8": (bytes(msgpack.packb(["t", 1714557600, {"m": b"\xff\xfe"}], use_bin_type=False)), ROW),
        "half a message": (forward(1714557600, {"m": "x"})[:-3], CLOSED),
    },
    "gelf tcp": {
        "garbage": (b"GET / HTTP/1.1\r\n\r\n\0", DEAD),
        "a handshake of TLS": (HELLO + b"\0", DEAD),
        "oversize": (b'{"short_message":"' + b"x" * (2 * LIMIT), CLOSED),
        "a bomb": (BOMBS["gelf"].replace(b"\0", b"\1") + b"\0", DEAD),
        "invalid UTF-8": (b'{"short_message":"a\xff\xfeb"}\0', ROW),
        "half a message": (b'{"short_message":"x', CLOSED),
    },
    "gelf udp": {
        "garbage": (b"GET / HTTP/1.1\r\n\r\n", DEAD),
        "a bomb": (BOMBS["gelf"], DEAD),
        "damaged compression": (gzip.compress(GELF)[:-9], DEAD),
        "invalid UTF-8": (b'{"short_message":"a\xff\xfeb"}', ROW),
        "an impossible chunk": (b"\x1e\x0fABCDEFGH\5\2rest", DEAD),
        "half a chunk": (b"\x1e\x0fABC", DEAD),
    },
    "syslog udp": {"garbage": (b"\0\1\2\3garbage", ROW), "invalid UTF-8": (b"<34>1 - - - - - - a\xff\xfeb", ROW)},
    "syslog tcp": {
        "garbage": (b"\1\2\3garbage\n", ROW),
        "a handshake of TLS": (HELLO + b"\n", ROW),
        "oversize": (b"<34>" + b"x" * (2 * LIMIT) + b"\n", ROW),
        "a count without end": (b"9999999 <34>x", CLOSED),
        "invalid UTF-8": (b"<34>1 - - - - - - a\xff\xfeb\n", ROW),
        "half a message": (b"<34>half", CLOSED),
    },
    "relp": {
        "garbage": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", CLOSED),
        "a handshake of TLS": (HELLO + b"\n", CLOSED),
        "oversize": (b"1 syslog %d " % (LIMIT + 1) + b"x", CLOSED),
        "invalid UTF-8": (b"1 syslog 23 <34>1 - - - - - - a\xff\xfebcd\n", ROW),
        "half a frame": (b"1 syslog 50 <34>1 2024", CLOSED),
    },
}  # fmt: skip
FRAMES["beats+tls"] = {k: FRAMES["beats"][k] for k in ("garbage", "oversize", "half a frame")}
FRAMES["syslog tls"] = {**FRAMES["syslog tcp"], "a count without end": (b"9999999 <34>x", CLOSED)}
FRAMES["relp+tls"] = {k: FRAMES["relp"][k] for k in ("garbage", "oversize", "half a frame")}
FRAMES["fluent+key"] = {
    "a wrong key": (bytes(msgpack.packb(["PING", "me", b"salt", "0" * 128, "", ""])), CLOSED),
    "no PING": (forward(1714557600, {"m": "x"}), CLOSED),
    "half a handshake": (b"\x96\xa4PING", CLOSED),
}


def bring(house: House, door: Door, data: bytes) -> bytes:
    """Sends, and gives what came back until the receiver closed."""
    if door.udp:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(data, door.address)
        return b""
    said = b""
    with house.connect(door) as sock, contextlib.suppress(ConnectionError, ssl.SSLError):
        sock.sendall(data)
        while more := sock.recv(1000):
            said += more
    return said


@pytest.mark.parametrize(("name", "what"), [(n, w) for n, cases in FRAMES.items() for w in cases])
def test_frames(house: House, name: str, what: str) -> None:
    door = house.doors[name]
    data, becomes = FRAMES[name][what]
    rows, letters, errors = house.rows(), len(house.rig.rows(DEAD_LETTERS)), house.errors()

    def taken() -> int:
        return house.rows() - rows

    if becomes == CLOSED:
        said = bring(house, door, data)
        assert b" 200 OK" not in said.replace(b"relp_version", b"")
        assert b"ack" not in said
        assert b"2A\0\0\0\1" not in said
        until(lambda: house.errors() > errors, 60)
    else:
        if door.udp:
            bring(house, door, data)
        else:
            with house.connect(door) as sock:
                sock.sendall(data)
                until(lambda: taken() > 0 or len(house.rig.rows(DEAD_LETTERS)) > letters, 60)
        until(lambda: (taken() > 0) if becomes == ROW else len(house.rig.rows(DEAD_LETTERS)) > letters, 60)
    # What is right is still taken.
    if door.table:
        before = len(house.rig.rows(door.table))
        if door.udp:
            bring(house, door, door.good)
        else:
            with house.connect(door) as sock:
                sock.sendall(door.good)
                said = b""
                while door.answer not in said:
                    said += sock.recv(1000)
                until(lambda: len(house.rig.rows(door.table)) > before, 60)
        until(lambda: len(house.rig.rows(door.table)) > before, 60)


@pytest.mark.parametrize("name", ["beats+tls", "syslog tls", "relp+tls"])
def test_no_tls_at_a_port_with_tls(house: House, name: str) -> None:
    """Plain text, a broken handshake, and a handshake that never goes on."""
    door = house.doors[name]
    for data in (door.good, HELLO, b""):
        errors = house.errors()
        with socket.create_connection(door.address, 60) as sock, contextlib.suppress(ConnectionError):
            sock.settimeout(60)
            sock.sendall(data)
            while sock.recv(1000):
                pass
        until(lambda errors=errors: house.errors() > errors, 60)  # type: ignore[misc]


# ---------------------------------------------------------------------------------------------------- requests


def _protobuf() -> bytes:
    request: Any = _push_request()()
    request.streams.add(labels='{job="x"}').entries.add(line="hello")
    return bytes(pa.compress(request.SerializeToString(), codec="snappy", asbytes=True))


def hec(a: httpx.Response) -> bool:
    return isinstance(a.json()["code"], int) and bool(a.json()["text"])


def elastic(a: httpx.Response) -> bool:
    return (
        a.json()["status"] == a.status_code
        and a.headers["x-elastic-product"] == "Elasticsearch"
        and bool(a.json()["error"])
    )


def azure(a: httpx.Response) -> bool:
    return bool(a.json()["error"]["code"] == a.headers["x-ms-error-code"])


def otlp(a: httpx.Response) -> bool:
    if a.headers["content-type"] == "application/x-protobuf":
        return a.content[:1] == b"\x08"
    return isinstance(a.json()["code"], int) and bool(a.json()["message"])


def plain(a: httpx.Response) -> bool:
    return a.headers["content-type"].startswith("text/plain") and bool(a.text)


def own(a: httpx.Response) -> bool:
    return bool(a.json()["code"])


@dataclass
class Route:
    """An HTTP route, what is right to send there, and how it words a refusal."""

    path: str
    good: bytes
    words: Callable[[httpx.Response], bool]
    media: str = "application/json"
    scheme: str = "Bearer"
    broken: bytes = b"{nonsense"
    other_media: int = 0
    """The status of a wrong Content-Type; 0 where the protocol doesn't care."""
    wrong: int = 401
    """The status of a wrong token."""
    odd: bytes = b'{"message":"a\xff\xfeb"}\n'


EVENT = b'{"message":"hello"}\n'
ODD = b"a\xff\xfeb"
OTLP = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"%b"}}]}]}]}'
LOKI = b'{"streams":[{"stream":{"job":"x"},"values":[["1714557600000000000","%b"]]}]}'
DCR = "/dataCollectionRules/d/streams/Custom-A_CL?api-version=2023-01-01"
ACTION = b'{"index":{"_index":"i"}}\n'
PROTOBUF = b"\x0a\x0f\x12\x0d\x12\x0b\x2a\x09\x0a\x07\x68\x65\x6c\x6c\x6f\x21\x21"
BINARY = "application/x-protobuf"
ROUTES = {
    "hec": Route("/services/collector/event", b'{"event":"x"}', hec, scheme="Splunk", wrong=403, odd=b'{"event":"%b"}' % ODD),
    "hec raw": Route("/services/collector/raw", b"hello", hec, scheme="Splunk", wrong=403, broken=b"", odd=b"caf\xe9 ouvert"),
    "elastic": Route("/_bulk", ACTION + EVENT, elastic, "application/x-ndjson", other_media=406, odd=ACTION + b'{"m":"%b"}\n' % ODD),
    "elastic doc": Route("/i/_doc", EVENT, elastic, other_media=406),
    "azure": Route(DCR, b'[{"a":"hello"}]', azure, other_media=400, odd=b'[{"a":"%b"}]' % ODD),
    "otlp": Route("/v1/logs", OTLP % b"hello", otlp, other_media=415, odd=OTLP % ODD),
    "otlp protobuf": Route("/v1/logs", PROTOBUF, otlp, BINARY, other_media=415, broken=b"\xff\xff", odd=b""),
    "loki": Route("/loki/api/v1/push", LOKI % b"hello", plain, other_media=415, odd=LOKI % ODD),
    "loki protobuf": Route("/loki/api/v1/push", _protobuf(), plain, BINARY, other_media=415, broken=b"\x05\xff\xff", odd=b""),
    "gelf": Route("/gelf", GELF, own, odd=b'{"short_message":"%b"}' % ODD),
    "jsonl": Route("/ingest/v1/jsonl", EVENT, own, broken=b" \n"),
}  # fmt: skip
HEC_CODES = {
    "no token": 2,
    "a wrong token": 4,
    "a wrong scheme": 3,
    "no base64": 3,
    "oversize": 27,
    "a bomb": 27,
    "a zstd bomb": 27,
    "no JSON": 6,
}


def requests(route: Route) -> dict[str, tuple[int, bytes, dict[str, str]]]:
    """What is wrong, the status that answers it, the body and the headers that are other than right."""
    cases: dict[str, tuple[int, bytes, dict[str, str]]] = {
        "no token": (401, route.good, {"Authorization": ""}),
        "a wrong token": (route.wrong, route.good, {"Authorization": f"{route.scheme} bad"}),
        "a wrong scheme": (401, route.good, {"Authorization": "Digest good"}),
        "no base64": (401, route.good, {"Authorization": "Basic \xe9"}),
        "oversize": (413, b"x" * (LIMIT + 1), {}),
        "a bomb": (413, gzip.compress(BOMB), {"Content-Encoding": "gzip"}),
        "a zstd bomb": (413, zstandard.compress(BOMB), {"Content-Encoding": "zstd"}),
        "damaged compression": (400, gzip.compress(route.good)[:-9], {"Content-Encoding": "gzip"}),
        "an unknown encoding": (400 if route.scheme == "Splunk" else 415, route.good, {"Content-Encoding": "br9"}),
    }
    if route.broken:
        cases["no JSON"] = (400, route.broken, {})
    if route.other_media:
        cases["a wrong content type"] = (route.other_media, route.good, {"Content-Type": "image/png"})
    return cases


@pytest.mark.parametrize("name", ROUTES)
def test_requests(house: House, name: str) -> None:
    route = ROUTES[name]
    right = {"Authorization": f"{route.scheme} good", "Content-Type": route.media}
    with httpx.Client(base_url=house.url, timeout=60, trust_env=False) as client:
        for what, (status, body, other) in requests(route).items():
            traces = house.traces()
            headers = {k: v.encode("latin-1") for k, v in {**right, **other}.items() if v}
            answer = client.post(route.path, content=body, headers=headers)
            assert answer.status_code == status, (what, answer.status_code, answer.text)
            assert route.words(answer), (what, answer.headers, answer.text)
            if route.words is hec:
                assert answer.json()["code"] == HEC_CODES.get(what, 6), (what, answer.text)
            until(lambda t=traces: house.traces() > t, 60, lambda w=what: w)  # type: ignore[misc]
        for body in filter(None, (route.odd, route.good)):
            before = house.rows()
            assert client.post(route.path, content=body, headers=right).status_code < 300
            until(lambda b=before: house.rows() > b, 60)  # type: ignore[misc]


def test_requests_that_never_end(house: House) -> None:
    """Half a body and silence, half a body and gone, a handshake of TLS: at every route, all at once."""
    host, port = house.url.removeprefix("http://").split(":")
    errors = house.errors()
    with contextlib.ExitStack() as stack:
        silent = []
        for route in ROUTES.values():
            head = f"POST {route.path} HTTP/1.1\r\nHost: t\r\nAuthorization: {route.scheme} good\r\nContent-Type: {route.media}\r\n"
            for gone in (False, True):
                sock = socket.create_connection((host, int(port)), 20)
                stack.callback(sock.close)
                sock.settimeout(60)
                sock.sendall(head.encode() + b"Content-Length: 999\r\n\r\n" + route.good[:5])
                if gone:
                    sock.close()
                else:
                    silent.append(sock)
        with socket.create_connection((host, int(port)), 20) as sock, contextlib.suppress(ConnectionError):
            sock.settimeout(60)
            sock.sendall(HELLO)
            assert not sock.recv(1000).startswith(b"HTTP/1.1 2")
        for sock in silent:
            assert sock.recv(12) in (b"HTTP/1.1 408", b"HTTP/1.1 400")
        until(lambda: house.errors() >= errors + 2 * len(ROUTES), 60)


# ---------------------------------------------------------------------------------------------------- many


def hammer(house: House, name: str) -> None:
    """One bad connection; nothing of its answer is awaited."""
    if name in house.doors:
        door = house.doors[name]
        for data, _ in FRAMES[name].values():
            with contextlib.suppress(OSError):
                if door.udp:
                    bring(house, door, data)
                    continue
                with house.connect(door) as sock:
                    sock.sendall(data[:20_000])
        return
    route = ROUTES[name]
    host, port = house.url.removeprefix("http://").split(":")
    for _, body, other in requests(route).values():
        headers = {"Authorization": f"{route.scheme} good", "Content-Type": route.media, **other}
        text = "".join(f"{k}: {v}\r\n" for k, v in headers.items() if v)
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 20) as sock:
            sock.settimeout(60)
            sock.sendall(
                f"POST {route.path} HTTP/1.1\r\nHost: t\r\n{text}Content-Length: {len(body)}\r\n\r\n".encode("latin-1")
                + body
            )
            sock.recv(100)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", [*FRAMES, *ROUTES])
def test_many_leave_nothing(house: House, name: str) -> None:
    cases = len(FRAMES[name]) if name in FRAMES else len(requests(ROUTES[name]))
    turns = max(1, CONNECTIONS // cases // 2 // 2)
    before = len(sockets())
    grown = [resident()]
    for _ in range(2):
        threads = [threading.Thread(target=lambda: [hammer(house, name) for _ in range(turns)]) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        grown.append(resident())
    until(lambda: len(sockets()) <= before, 60, lambda: f"{len(sockets())} are open, {before} were")
    if CONNECTIONS > 1000:
        print(
            f"{name}: {turns * 4 * cases} connections, +{grown[1] - grown[0] >> 20} and +{grown[2] - grown[1] >> 20} MiB"
        )
    # The second half costs no more than noise and the dead letters' rows.
    assert grown[2] - grown[1] < 60 << 20
    assert house.rig.intake.healthy
