"""Lumberjack with pylogbeat, and frames by hand over real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylogbeat import PyLogBeatClient

from tests.ingest.intake_support import Rig, until
from tests.ingest.shipper_support import WINLOGBEAT, Certificates, closes, packed_rig
from tocsin.ingest.pipeline import IntakeBusyError
from tocsin.ingest.receivers.beats import BeatsReceiver, Event, inflate_frames, parse_frames
from tocsin.ingest.receivers.streams import FrameError, StreamLimits


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = packed_rig(tmp_path / "rig").start()
    yield made
    made.close()


@pytest.fixture
def address(rig: Rig) -> Iterator[tuple[str, int]]:
    receiver = BeatsReceiver(rig.intake, port=0, limits=StreamLimits(frame_bytes=1 << 20))
    yield receiver.start()
    receiver.stop()


def frame(number: int, event: Any) -> bytes:
    data = event if isinstance(event, bytes) else json.dumps(event).encode()
    return b"2J" + struct.pack("!II", number, len(data)) + data


def squeezed(frames: bytes) -> bytes:
    data = zlib.compress(frames)
    return b"2C" + struct.pack("!I", len(data)) + data


def window(size: int) -> bytes:
    return b"2W" + struct.pack("!I", size)


def receive(sock: socket.socket, size: int = 6) -> bytes:
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


@pytest.mark.parametrize("tls", [False, True])
def test_pylogbeat(rig: Rig, tmp_path: Path, tls: bool) -> None:
    certificates = Certificates(tmp_path / "tls")
    receiver = BeatsReceiver(rig.intake, port=0, tls=certificates.server() if tls else None)
    host, port = receiver.start()
    more: dict[str, Any] = {}
    if tls:
        more = {"ssl_enable": True, "ssl_verify": True, "ca_certs": str(certificates.ca)}
    client = PyLogBeatClient(host, port, **more)
    client.connect()
    client.send([WINLOGBEAT for _ in range(5)])
    client.send([{"@timestamp": "2024-05-01T10:00:00Z", "message": "free text", "n": 1}])
    client.close()
    receiver.stop()
    rows = rig.wait("SecurityEvent", 5)
    assert {(r["EventID"], r["TargetUserName"], r["IpAddress"], r["Computer"]) for r in rows} == {
        (4625, "mallory", "203.0.113.9", "DC01.corp.example")
    }
    assert json.loads(rig.wait("Unparsed_CL", 1)[0]["RawData"])["n"] == 1
    assert {(s.kind, s.events, s.errors) for s in rig.intake.sources() if s.events} == {("beats", 6, 0)}


def test_windows_are_acknowledged_when_they_are_durable(rig: Rig, address: tuple[str, int]) -> None:
    with socket.create_connection(address, 60) as sock:
        sock.settimeout(60)
        sock.sendall(window(2) + frame(1, {"n": 1}))
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(60)
        sock.sendall(frame(2, {"n": 2}))
        assert receive(sock) == b"2A" + struct.pack("!I", 2)
        assert rig.lake.log.last >= 1
        pairs = b"2D" + struct.pack("!II", 3, 1) + struct.pack("!I", 1) + b"n" + struct.pack("!I", 1) + b"5"
        sock.sendall(window(3) + squeezed(frame(1, {"n": 3}) + frame(2, {"n": 4}) + pairs))
        assert receive(sock) == b"2A" + struct.pack("!I", 3)
        # A window that its sender doesn't finish was never acknowledged: it comes again whole.
        sock.sendall(window(2) + frame(1, {"n": 99}))
    assert sorted(int(json.loads(r["RawData"])["n"]) for r in rig.wait("Unparsed_CL", 5)) == [1, 2, 3, 4, 5]


def test_a_sender_waits_while_intake_is_full(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = rig.intake.submit
    full = True

    def sometimes(bodies: Any) -> Any:
        if full:
            raise IntakeBusyError("full")
        return submit(bodies)

    monkeypatch.setattr(rig.intake, "submit", sometimes)
    monkeypatch.setattr("tocsin.ingest.receivers.beats._KEEPALIVE_SECONDS", 0.1)
    receiver = BeatsReceiver(rig.intake, port=0)
    with socket.create_connection(receiver.start(), 5) as sock:
        sock.settimeout(60)
        sock.sendall(window(1) + frame(7, {"n": 1}))
        assert receive(sock) == b"2A" + struct.pack("!I", 0)
        full = False
        while (got := receive(sock)) == b"2A" + struct.pack("!I", 0):
            pass
        assert got == b"2A" + struct.pack("!I", 7)
    receiver.stop()


def test_events_that_are_no_objects_are_dead_letters(rig: Rig, address: tuple[str, int]) -> None:
    with socket.create_connection(address, 60) as sock:
        sock.settimeout(60)
        sock.sendall(window(3) + frame(1, b"broken") + frame(2, b"[1]") + frame(3, {"n": 1}))
        assert receive(sock) == b"2A" + struct.pack("!I", 3)
    assert len(rig.wait("DeadLetter_CL", 2)) == 2
    assert len(rig.wait("Unparsed_CL", 1)) == 1


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"2X",
        b"9J",
        window(0xFFFFFFFF),
        b"2J" + struct.pack("!II", 1, 0xFFFFFFFF),
        b"2C" + struct.pack("!I", 4) + b"junk",
        squeezed(bytes(32 << 20)),
        squeezed(squeezed(frame(1, {}))),
        squeezed(frame(1, {"a": 1})[:-1]),
        b"2D" + struct.pack("!II", 1, 0xFFFFFFFF),
        b"\x16\x03\x01" + bytes(60),
    ],
)
def test_what_is_no_lumberjack_is_closed(rig: Rig, address: tuple[str, int], junk: bytes) -> None:
    with socket.create_connection(address, 60) as sock:
        sock.settimeout(60)
        sock.sendall(junk)
        assert closes(sock)
    until(lambda: sum(s.errors for s in rig.intake.sources()) == 1)


def test_tls_garbage_and_a_missing_client_certificate_are_refused(rig: Rig, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls")
    context = certificates.server()
    context.load_verify_locations(certificates.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    receiver = BeatsReceiver(rig.intake, port=0, tls=context, limits=StreamLimits(handshake_seconds=0.5))
    address = receiver.start()
    for junk in (b"junk" * 20, b"\x16\x03\x01\x00\x05hello", b""):
        with socket.create_connection(address, 60) as sock:
            sock.settimeout(60)
            sock.sendall(junk)
            assert closes(sock)
    client = ssl.create_default_context(cafile=str(certificates.ca))
    # With TLS 1.3 a client learns of it when it reads.
    with (
        socket.create_connection(address, 60) as raw,
        contextlib.suppress(OSError),
        client.wrap_socket(raw, server_hostname="127.0.0.1") as sock,
    ):
        sock.sendall(window(1) + frame(1, {"n": 1}))
        assert sock.recv(6) == b""
    until(lambda: sum(s.errors for s in rig.intake.sources()) == 4)
    receiver.stop()


EVENTS = st.lists(st.tuples(st.integers(0, (1 << 32) - 1), st.binary(max_size=30)), max_size=6)


@given(EVENTS)
def test_frames_come_back(events: list[tuple[int, bytes]]) -> None:
    stream = b"".join(frame(n, data) for n, data in events)
    assert list(parse_frames(stream)) == [Event(n, data) for n, data in events]
    assert inflate_frames(zlib.compress(stream), 1 << 20) == [Event(n, data) for n, data in events]


@given(st.binary(max_size=80), st.booleans())
def test_no_bytes_break_the_reader(data: bytes, packed: bool) -> None:
    for read in (lambda d: list(parse_frames(d)), lambda d: inflate_frames(zlib.compress(d) if packed else d, 1 << 16)):
        with contextlib.suppress(FrameError):
            assert all(isinstance(e, Event) for e in read(data))  # type: ignore[no-untyped-call]
