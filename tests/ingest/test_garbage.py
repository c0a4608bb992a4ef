"""Garbage at every port: no receiver dies of it, nothing stays open, and what is right is still taken.

1,000 connections here; `make garbage` opens 10,000 (TOCSIN_FUZZ_CONNECTIONS).
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest

from tests.ingest.intake_support import Rig, until
from tests.ingest.shipper_support import TOKENS, WINLOGBEAT, Certificates, open_handles, serve
from tocsin.ingest.receivers.azure import AzureReceiver
from tocsin.ingest.receivers.beats import BeatsReceiver
from tocsin.ingest.receivers.elastic import ElasticReceiver
from tocsin.ingest.receivers.fluent import FluentReceiver
from tocsin.ingest.receivers.gelf import GelfHttpReceiver, GelfTcpReceiver, GelfUdpReceiver
from tocsin.ingest.receivers.hec import HecReceiver
from tocsin.ingest.receivers.jsonlines import JsonLinesReceiver
from tocsin.ingest.receivers.loki import LokiReceiver
from tocsin.ingest.receivers.otlp import OtlpReceiver
from tocsin.ingest.receivers.relp import RelpReceiver
from tocsin.ingest.receivers.streams import StreamLimits
from tocsin.ingest.receivers.syslog import SyslogTcpReceiver, SyslogTlsReceiver, SyslogUdpReceiver
from tocsin.workspace.patience import PatientProtocol

CONNECTIONS = int(os.environ.get("TOCSIN_FUZZ_CONNECTIONS", "1000"))
LIMITS = StreamLimits(frame_bytes=1 << 20, frame_seconds=1.0, idle_seconds=2.0, handshake_seconds=1.0)
SYSLOG = b"<34>1 2024-05-01T10:00:00Z host app 1 - - - still here\n"
EVENT = json.dumps(WINLOGBEAT).encode()


def http(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: t", "Authorization: Bearer good", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Target:
    """A port and what is right to send there."""

    name: str
    address: tuple[str, int]
    good: list[bytes]
    udp: bool = False


def receivers(rig: Rig, certificates: Certificates) -> Iterator[tuple[Any, str, list[bytes], bool]]:
    forward = msgpack.packb(["t", [[1714557600, {"a": "b"}]], {"chunk": "c"}])
    frame = b"2J" + struct.pack("!II", 1, len(EVENT)) + EVENT
    squeezed = zlib.compress(frame)
    lumberjack = b"2W" + struct.pack("!I", 1) + b"2C" + struct.pack("!I", len(squeezed)) + squeezed
    gelf = b'{"version":"1.1","host":"h","short_message":"hello"}'
    relp = b"1 open 30 relp_version=0\ncommands=syslog\n2 syslog %d %b\n" % (len(SYSLOG) - 1, SYSLOG[:-1])
    tls = certificates.server()
    intake = rig.intake
    yield FluentReceiver(intake, port=0, limits=LIMITS), "fluent", [forward], False
    yield FluentReceiver(intake, port=0, limits=LIMITS, tls=tls, shared_key="k"), "fluent+tls", [forward], False
    yield BeatsReceiver(intake, port=0, limits=LIMITS), "beats", [lumberjack, b"2W\0\0\0\1" + frame], False
    yield BeatsReceiver(intake, port=0, limits=LIMITS, tls=tls), "beats+tls", [lumberjack], False
    yield GelfTcpReceiver(intake, port=0, limits=LIMITS), "gelf", [gelf + b"\0"], False
    yield GelfUdpReceiver(intake, port=0), "gelf udp", [gelf, gzip.compress(gelf), b"\x1e\x0fABCDEFGH\0\2" + gelf], True
    yield SyslogUdpReceiver(intake, port=0), "syslog udp", [SYSLOG], True
    yield (
        SyslogTcpReceiver(intake, port=0, limits=LIMITS),
        "syslog tcp",
        [SYSLOG, b"%d %b" % (len(SYSLOG), SYSLOG)],
        False,
    )
    yield SyslogTlsReceiver(intake, port=0, limits=LIMITS, tls=tls), "syslog tls", [SYSLOG], False
    yield RelpReceiver(intake, port=0, frame_seconds=1.0), "relp", [relp], False
    yield RelpReceiver(intake, port=0, frame_seconds=1.0, tls=tls), "relp+tls", [relp], False


REQUESTS = [
    http("/services/collector/event", b'{"event":"x"}'),
    http("/services/collector/raw", b"line"),
    http("/_bulk", b'{"index":{"_index":"i"}}\n' + EVENT + b"\n", "Content-Type: application/x-ndjson"),
    http("/elastic/i/_doc", EVENT),
    http("/dataCollectionRules/d/streams/Custom-A_CL?api-version=1", b'[{"a":1}]'),
    http("/v1/logs", b'{"resourceLogs":[]}', "Content-Type: application/json"),
    http("/v1/logs", b"\x0a\x02\x0a\x00", "Content-Type: application/x-protobuf"),
    http("/loki/api/v1/push", b'{"streams":[]}', "Content-Type: application/json"),
    http("/gelf", b'{"short_message":"x"}'),
    http("/ingest/v1/jsonl", gzip.compress(EVENT), "Content-Encoding: gzip"),
]


def garbage(rng: random.Random, target: Target) -> bytes:
    """Random bytes, a handshake of TLS, a request of another protocol, or something right with a few bytes changed, cut or doubled."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(400))
    if kind == 1:
        return b"\x16\x03\x01" + rng.randbytes(rng.randrange(200))
    if kind == 2:
        return b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    data = bytearray(rng.choice(target.good))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        change = rng.randrange(4)
        if change == 0:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif change == 1:
            del data[at : at + rng.randrange(1, 20)]
        elif change == 2 and at < len(data):
            data[at] = rng.randrange(256)
        else:
            data += data[at:]
    return bytes(data)


def attack(rng: random.Random, target: Target, certificates: Certificates) -> None:
    if target.udp:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            sock.sendto(garbage(rng, target)[:1400], target.address)
        return
    with contextlib.suppress(OSError), socket.create_connection(target.address, 60) as raw:
        raw.settimeout(0.05)
        sock: socket.socket = raw
        if "tls" in target.name and rng.random() < 0.6:
            raw.settimeout(2)
            sock = ssl.create_default_context(cafile=str(certificates.ca)).wrap_socket(raw, server_hostname="127.0.0.1")
            sock.settimeout(0.05)
        data = garbage(rng, target)
        with contextlib.closing(sock):
            sock.sendall(data[: len(data) // 2] if rng.random() < 0.3 else data)
            if rng.random() < 0.3:
                sock.recv(1000)
            if rng.random() < 0.2:
                # No goodbye: the peer sees a reset.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def sockets() -> list[str]:
    """Open sockets; files come and go with the lake."""
    return [handle for handle in open_handles() if handle.startswith("socket:")]


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_garbage_kills_no_port_and_leaks_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "rig").start()
    certificates = Certificates(tmp_path / "tls")
    running = []
    targets: list[Target] = []
    for receiver, name, good, udp in receivers(rig, certificates):
        targets.append(Target(name, receiver.start(), good, udp))
        running.append(receiver)
    bounds = {"max_body_bytes": 1 << 20}
    routes = [
        route
        for kind in (
            HecReceiver,
            ElasticReceiver,
            AzureReceiver,
            OtlpReceiver,
            LokiReceiver,
            GelfHttpReceiver,
            JsonLinesReceiver,
        )
        for route in kind(rig.intake, TOKENS.get, **bounds).routes()  # type: ignore[arg-type]
    ]
    seed = int(os.environ.get("TOCSIN_FUZZ_SEED", "7"))
    with serve(routes) as url:
        host, port = url.removeprefix("http://").split(":")
        targets += [Target("http", (host, int(port)), REQUESTS)] * 2
        before = len(sockets())

        def one(number: int) -> None:
            rng = random.Random(f"{seed}/{number}")
            for turn in range(CONNECTIONS // 8):
                attack(rng, targets[(turn + number) % len(targets)], certificates)

        grown = [0, 0]
        for part in range(2):
            threads = [threading.Thread(target=one, args=(part * 4 + n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            grown[part] = resident()
        # Whatever was begun and not finished ends within its time.
        until(lambda: len(sockets()) <= before, 90, lambda: f"{sockets()} are open, {before} were")
        until(lambda: all(getattr(r, "connections", 0) == 0 for r in running), 90)
        assert rig.intake.healthy
        # The second half of the connections costs no more than noise: 60 MiB, also when it is 5,000 of them.
        assert grown[1] - grown[0] < 60 << 20
        check(targets, certificates)
        assert (
            httpx.post(
                f"{url}/services/collector/event", json={"event": "x"}, headers={"Authorization": "Splunk good"}
            ).status_code
            == 200
        )
    for receiver in running:
        receiver.stop()
    rig.close()


def check(targets: list[Target], certificates: Certificates) -> None:
    """Each port that answers still does."""
    answers: dict[str, Callable[[bytes], bool]] = {
        "fluent": lambda a: b"ack" in a,
        "fluent+tls": lambda a: b"HELO" in a,
        "beats": lambda a: a == b"2A\0\0\0\1",
        "beats+tls": lambda a: a == b"2A\0\0\0\1",
        "relp": lambda a: b"200 OK" in a,
        "relp+tls": lambda a: b"200 OK" in a,
    }
    for target in targets:
        if target.name not in answers:
            continue
        with socket.create_connection(target.address, 60) as raw:
            sock: socket.socket = raw
            if "tls" in target.name:
                context = ssl.create_default_context(cafile=str(certificates.ca))
                sock = context.wrap_socket(raw, server_hostname="127.0.0.1")
            sock.settimeout(60)
            sock.sendall(target.good[0])
            assert answers[target.name](sock.recv(1000)), target.name
            sock.close()


def test_a_request_that_drips_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "seconds", 0.4)
    monkeypatch.setattr("tocsin.ingest.receivers.http._CHUNK_SECONDS", 0.4)
    rig = Rig(tmp_path / "rig").start()
    with serve(HecReceiver(rig.intake, TOKENS.get).routes(), http=PatientProtocol) as url:
        host, port = url.removeprefix("http://").split(":")
        head = b"POST /services/collector/event HTTP/1.1\r\nHost: t\r\nAuthorization: Splunk good\r\nContent-Length: 100\r\n"
        for data, answer in ((b"", b""), (b"POST /x HT", b""), (head, b""), (head + b"\r\n{", b"HTTP/1.1 400")):
            start = time.monotonic()
            with socket.create_connection((host, int(port)), 5) as sock:
                sock.settimeout(60)
                sock.sendall(data)
                with contextlib.suppress(ConnectionResetError):
                    assert sock.recv(1000)[: len(answer)] == answer
            assert time.monotonic() - start < 20  # usually it would be 30 s or more
        # A second request on a connection is bounded as the first.
        with socket.create_connection((host, int(port)), 5) as sock:
            sock.settimeout(60)
            sock.sendall(b"GET /services/collector/health HTTP/1.1\r\nHost: t\r\n\r\n")
            said = b""
            while b'"code":17}' not in said:
                said += sock.recv(1000)
            sock.sendall(b"GET /serv")
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1000) == b""
    rig.close()
