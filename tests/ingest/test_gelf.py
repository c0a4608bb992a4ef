"""GELF with pygelf's handlers over UDP, TCP, TLS and HTTP, chunks by hand."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import os
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygelf import GelfTcpHandler, GelfTlsHandler, GelfUdpHandler

from tests.ingest.intake_support import Rig, until
from tests.ingest.shipper_support import TOKENS, Certificates, closes, packed_rig, serve
from tocsin.ingest.receivers.gelf import Chunks, GelfHttpReceiver, GelfTcpReceiver, GelfUdpReceiver, expand, gelf_line
from tocsin.ingest.receivers.streams import FrameError, StreamLimits

AUTH = {"Authorization": "Bearer good"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = packed_rig(tmp_path / "rig").start()
    yield made
    made.close()


def log(handler: logging.Handler, *texts: str) -> None:
    logger = logging.getLogger(f"tocsin-test-gelf-{id(handler)}")
    logger.propagate = False
    logger.addHandler(handler)
    for text in texts:
        logger.warning(text)
    logger.removeHandler(handler)
    handler.close()


def messages(rig: Rig, count: int) -> set[str]:
    return {json.loads(r["RawData"])["message"] for r in rig.wait("Unparsed_CL", count)}


@pytest.mark.parametrize("compress", [True, False])
def test_pygelf_by_udp(rig: Rig, compress: bool) -> None:
    receiver = GelfUdpReceiver(rig.intake, port=0)
    host, port = receiver.start()
    # What doesn't shrink, so that it comes in chunks.
    long = os.urandom(3000).hex()
    handler = GelfUdpHandler(
        host=host, port=port, compress=compress, chunk_size=500, include_extra_fields=True, _app="shop"
    )
    log(handler, "short", long)
    assert messages(rig, 2) == {"short", long}
    said = json.loads(rig.rows("Unparsed_CL")[0]["RawData"])
    assert (said["app"], said["level"]) == ("shop", "warning")
    assert rig.rows("Unparsed_CL")[0]["Computer"] == said["host"] if "host" in said else True
    receiver.stop()
    assert receiver.chunks.bytes == 0


@pytest.mark.parametrize("tls", [False, True])
def test_pygelf_by_tcp(rig: Rig, tmp_path: Path, tls: bool) -> None:
    certificates = Certificates(tmp_path / "tls")
    receiver = GelfTcpReceiver(rig.intake, port=0, tls=certificates.server() if tls else None)
    host, port = receiver.start()
    handler = (
        GelfTlsHandler(host=host, port=port, validate=True, ca_certs=str(certificates.ca))
        if tls
        else GelfTcpHandler(host=host, port=port)
    )
    log(handler, *(f"message {n}" for n in range(100)))
    assert messages(rig, 100) == {f"message {n}" for n in range(100)}
    receiver.stop()


def test_http(rig: Rig) -> None:
    with serve(GelfHttpReceiver(rig.intake, TOKENS.get, max_body_bytes=1 << 16).routes()) as url:
        line = "<38>1 2024-05-01T10:00:00Z web1 sshd 77 - - Failed password for root from 203.0.113.9 port 1 ssh2"
        windows = {"_EventID": 4625, "_Channel": "Security", "_SourceName": "Microsoft-Windows-Security-Auditing"}
        windows |= {"_EventTime": "2024-05-01 10:00:00", "_TargetUserName": "mallory"}
        bodies: list[Any] = [
            {
                "version": "1.1",
                "host": "h1",
                "short_message": "one",
                "timestamp": 1714557600.5,
                "_user": "u",
                "level": 4,
            },
            {"version": "1.1", "host": "h1", "short_message": "l", "full_message": line},
            {"version": "1.1", "host": "dc1", "short_message": "An account failed to log on.", **windows},
        ]
        assert httpx.post(f"{url}/gelf", json=bodies[0], headers=AUTH).status_code == 202
        batch = b"\n".join(json.dumps(b).encode() for b in bodies[1:])
        assert (
            httpx.post(
                f"{url}/gelf", content=gzip.compress(batch), headers={**AUTH, "Content-Encoding": "gzip"}
            ).status_code
            == 202
        )
        assert httpx.post(f"{url}/gelf", json=bodies[0]).status_code == 401
        for bad in (b"", b"junk", b"[1]", b'{"host":"h"}'):
            assert httpx.post(f"{url}/gelf", content=bad, headers=AUTH).status_code == 400
        assert httpx.post(f"{url}/gelf", content=b"x" * (1 << 17), headers=AUTH).status_code == 413
    (row,) = rig.wait("Unparsed_CL", 1)
    said = json.loads(row["RawData"])
    assert (said["message"], said["user"], said["level"], row["Computer"]) == ("one", "u", "warning", "h1")
    assert str(row["TimeGenerated"]) == "2024-05-01 10:00:00.500000"
    assert rig.wait("Syslog", 1)[0]["ProcessName"] == "sshd"
    (event,) = rig.wait("SecurityEvent", 1)
    assert (event["EventID"], event["TargetUserName"], event["Computer"]) == (4625, "mallory", "dc1")


def test_bad_messages_are_dead_letters_and_bombs_are_bounded(rig: Rig) -> None:
    receiver = GelfUdpReceiver(rig.intake, port=0, max_message_bytes=1 << 16)
    address = receiver.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for bad in (
            b"junk",
            b"\x1e\x0f12",
            b"\x1e\x0f" + b"12345678" + b"\x05\x02x",
            gzip.compress(bytes(16 << 20)),
            gzip.compress(b"{}")[:-3],
            b"{}",
        ):
            sock.sendto(bad, address)
        sock.sendto(b'{"short_message":"good","host":"h"}', address)
    assert messages(rig, 1) == {"good"}
    assert len(rig.wait("DeadLetter_CL", 6)) == 6
    assert {(s.kind, s.errors) for s in rig.intake.sources() if s.errors} == {("gelf", 6)}
    receiver.stop()


def test_a_message_without_end_is_bounded(rig: Rig) -> None:
    receiver = GelfTcpReceiver(rig.intake, port=0, limits=StreamLimits(frame_bytes=1 << 16))
    with socket.create_connection(receiver.start(), 5) as sock:
        sock.settimeout(60)
        with contextlib.suppress(OSError):
            for _ in range(1000):
                sock.sendall(b"x" * 65536)
        assert closes(sock)
    until(lambda: any(s.errors for s in rig.intake.sources()))
    receiver.stop()


@given(st.binary(min_size=1, max_size=300), st.integers(1, 60), st.randoms())
def test_chunks_come_back_in_any_order(data: bytes, size: int, random: Any) -> None:
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    if len(pieces) > 128:
        return
    datagrams = [b"\x1e\x0f" + b"ABCDEFGH" + bytes((n, len(pieces))) + p for n, p in enumerate(pieces)]
    datagrams += random.sample(datagrams, min(2, len(datagrams) - 1))
    first = datagrams.pop()
    random.shuffle(datagrams)
    chunks = Chunks()
    got = [m for d in [first, *datagrams] if (m := chunks.add("p", d, 0.0)) is not None]
    assert got[0] == data
    assert chunks.bytes >= 0


@given(st.lists(st.tuples(st.binary(max_size=20), st.floats(0, 20)), max_size=30))
def test_chunks_are_bounded_whatever_comes(pieces: list[tuple[bytes, float]]) -> None:
    chunks = Chunks(limit_bytes=400)
    for data, now in sorted(pieces, key=lambda p: p[1]):
        with contextlib.suppress(FrameError):
            chunks.add("p", b"\x1e\x0f" + data, now)
        assert 0 <= chunks.bytes <= 400
    chunks.expire(100)
    assert chunks.bytes == 0


@given(st.binary(max_size=200))
def test_what_is_compressed_comes_back(data: bytes) -> None:
    for packed in (gzip.compress(data), zlib.compress(data)):
        assert expand(packed, 1 << 16) == data
    with contextlib.suppress(FrameError):
        assert expand(data, 1 << 16) is not None


NAMES = st.sampled_from(
    ["host", "short_message", "full_message", "timestamp", "level", "_a", "_EventID", "_Channel", "file", "facility"]
)


@given(st.dictionaries(NAMES, st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)))
def test_no_message_breaks_the_reader(value: dict[str, Any]) -> None:
    assert "event" in json.loads(gelf_line(value))
