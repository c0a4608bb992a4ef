"""Fluentd's forward protocol with fluent-logger, and every mode by hand over real sockets."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import time
from collections.abc import Iterator
from hashlib import sha512
from pathlib import Path
from typing import Any

import msgpack
import pytest
from fluent import sender
from hypothesis import given
from hypothesis import strategies as st

from tests.ingest.intake_support import Rig, until
from tests.ingest.shipper_support import Certificates, closes, packed_rig
from tocsin.base.errors import IngestError
from tocsin.ingest.receivers.fluent import FluentReceiver, read_message, unpacked, unpacker
from tocsin.ingest.receivers.streams import FrameError, StreamLimits


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = packed_rig(tmp_path / "rig").start()
    yield made
    made.close()


@pytest.fixture
def address(rig: Rig) -> Iterator[tuple[str, int]]:
    receiver = FluentReceiver(rig.intake, port=0, limits=StreamLimits(frame_bytes=1 << 20))
    yield receiver.start()
    receiver.stop()


def event_time(seconds: float) -> msgpack.ExtType:
    return msgpack.ExtType(0, struct.pack("!II", int(seconds), int(seconds % 1 * 1e9)))


def talk(address: tuple[str, int], *messages: Any, answers: int = 0) -> list[Any]:
    with socket.create_connection(address, 60) as sock:
        sock.settimeout(60)
        for message in messages:
            sock.sendall(msgpack.packb(message))
        read = msgpack.Unpacker(raw=False)
        got: list[Any] = []
        while len(got) < answers:
            data = sock.recv(65536)
            if not data:
                break
            read.feed(data)
            got += read
        return got


def numbers(rig: Rig, count: int) -> list[int]:
    return sorted(json.loads(r["RawData"])["n"] for r in rig.wait("Unparsed_CL", count))


def test_fluent_logger(rig: Rig, address: tuple[str, int]) -> None:
    logger = sender.FluentSender("app", host=address[0], port=address[1], nanosecond_precision=True)
    for n in range(50):
        assert logger.emit_with_time("follow", sender.EventTime(1714557600.5), {"n": n, "hostname": "web1"})
    logger.close()
    assert numbers(rig, 50) == list(range(50))
    row = rig.rows("Unparsed_CL")[0]
    assert row["Computer"] == "web1"
    assert str(row["TimeGenerated"]) == "2024-05-01 10:00:00.500000"
    assert json.loads(row["RawData"])["tag"] == "app.follow"


def test_every_mode_and_its_acknowledgement(rig: Rig, address: tuple[str, int]) -> None:
    def entries(*of: int) -> list[Any]:
        return [[event_time(1714557600.25), {"n": n}] for n in of]

    packed = b"".join(msgpack.packb(e) for e in entries(4, 5))
    squeezed = gzip.compress(msgpack.packb(entries(6)[0])) + gzip.compress(msgpack.packb(entries(7)[0]))
    answers = talk(
        address,
        ["t", 1714557600, {"n": 1}, {"chunk": "a"}],
        ["t", entries(2, 3), {"chunk": "b"}],
        ["t", packed, {"chunk": "c", "size": 2}],
        ["t", squeezed, {"chunk": "d", "compressed": "gzip"}],
        ["t", [event_time(1714557600), {"meta": "data"}], {"n": 8}, {"chunk": "e"}],
        ["t", [[[event_time(1714557600), {}], {"n": 9}]], {"chunk": "f"}],
        ["t", packed.decode("latin-1").encode("latin-1"), {"chunk": "c"}],
        answers=7,
    )
    assert answers == [{"ack": c} for c in "abcdefc"]
    # Chunk c came twice with the same bytes.
    assert numbers(rig, 9) == list(range(1, 10))


def test_an_acknowledged_chunk_survives_a_crash_and_is_known_after_it(rig: Rig, tmp_path: Path) -> None:
    receiver = FluentReceiver(rig.intake, port=0)
    chunk = ["t", [[1714557600, {"n": 1}]], {"chunk": "a"}]
    assert talk(receiver.start(), chunk, answers=1) == [{"ack": "a"}]
    rig.crash()
    again = packed_rig(tmp_path / "rig").start()
    second = FluentReceiver(again.intake, port=0)
    assert talk(second.start(), chunk, answers=1) == [{"ack": "a"}]
    assert numbers(again, 1) == [1]
    second.stop()
    again.close()
    receiver.stop()
    rig.close = lambda: None  # type: ignore[method-assign]


def test_a_line_from_a_file_is_read_as_what_it_is(rig: Rig, address: tuple[str, int]) -> None:
    line = "<38>1 2024-05-01T10:00:00Z web1 sshd 77 - - Failed password for root from 203.0.113.9 port 1 ssh2"
    talk(address, ["tail.auth", 1714557600, {"log": line + "\n", "stream": "stdout"}, {"chunk": "x"}], answers=1)
    journal = {"MESSAGE": "session opened", "_HOSTNAME": "web2", "SYSLOG_IDENTIFIER": "sudo", "_PID": "7"}
    journal |= {"PRIORITY": "6", "SYSLOG_FACILITY": "10"}
    talk(address, ["x", 1714557600, journal, {"chunk": "y"}], answers=1)
    rows = {r["ProcessName"]: r for r in rig.wait("Syslog", 2)}
    assert rows["sshd"]["HostName"] == "web1"
    assert (rows["sudo"]["HostName"], rows["sudo"]["Facility"], rows["sudo"]["SeverityLevel"]) == (
        "web2",
        "authpriv",
        "info",
    )
    assert str(rows["sudo"]["TimeGenerated"]) == "2024-05-01 10:00:00"


def test_windows_events_of_fluent_bit(rig: Rig, address: tuple[str, int]) -> None:
    xml = (
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Security-Auditing'/>"
        "<EventID>4625</EventID><TimeCreated SystemTime='2024-05-01T10:00:00.1Z'/><EventRecordID>1</EventRecordID><Channel>Security</Channel>"
        "<Computer>DC01</Computer></System><EventData><Data Name='TargetUserName'>mallory</Data></EventData></Event>"
    )
    talk(address, ["winevtlog", 1714557600, {"System": xml, "Message": "failed"}, {"chunk": "x"}], answers=1)
    (row,) = rig.wait("SecurityEvent", 1)
    assert (row["EventID"], row["TargetUserName"], row["Computer"]) == (4625, "mallory", "DC01")


def test_the_handshake(rig: Rig, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls")
    receiver = FluentReceiver(rig.intake, port=0, shared_key="s3cret", tls=certificates.server())
    address = receiver.start()
    import ssl

    context = ssl.create_default_context(cafile=str(certificates.ca))
    for key, good in (("s3cret", True), ("wrong", False)):
        with (
            socket.create_connection(address, 60) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as sock,
        ):
            read = msgpack.Unpacker(raw=False)

            def receive(sock: Any = sock, read: Any = read) -> Any:
                while True:
                    for message in read:
                        return message
                    data = sock.recv(65536)
                    assert data
                    read.feed(data)

            hello = receive()
            assert hello[0] == "HELO"
            nonce, salt = hello[1]["nonce"], b"salt"
            digest = sha512(salt + b"me" + nonce + key.encode()).hexdigest()
            sock.sendall(msgpack.packb(["PING", "me", salt, digest, "", ""]))
            pong = receive()
            assert pong[:2] == ["PONG", good]
            if good:
                assert pong[4] == sha512(salt + pong[3].encode() + nonce + key.encode()).hexdigest()
                sock.sendall(msgpack.packb(["t", 1714557600, {"n": 1}, {"chunk": "a"}]))
                assert receive() == {"ack": "a"}
            else:
                assert sock.recv(100) == b""
    receiver.stop()
    assert numbers(rig, 1) == [1]
    assert [s.errors for s in rig.intake.sources() if s.errors] == [1]


def test_without_a_key_only_this_machine_may_send(rig: Rig) -> None:
    with pytest.raises(IngestError, match="shared_key"):
        FluentReceiver(rig.intake, "0.0.0.0", 0).start()


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        msgpack.packb({"a": 1}),
        msgpack.packb(["t"]),
        msgpack.packb(["t", b"\xc1", {}]),
        msgpack.packb(["t", b"junk", {"compressed": "gzip"}]),
        msgpack.packb(["t", gzip.compress(bytes(32 << 20)), {"compressed": "gzip"}]),
        msgpack.packb(["t", b"x", {"compressed": "zstd"}]),
        b"\xdd\x00\x00\xff\xff" * 3000,
        b"\xc6\x7f\xff\xff\xff" + b"x" * (2 << 20),
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_what_is_no_forward_protocol_is_closed(rig: Rig, address: tuple[str, int], junk: bytes) -> None:
    with socket.create_connection(address, 60) as sock:
        sock.settimeout(60)
        with contextlib.suppress(OSError):
            sock.sendall(junk)
        assert closes(sock)
    until(lambda: sum(s.errors for s in rig.intake.sources()) == 1)
    talk(address, ["t", 1714557600, {"n": 5}, {"chunk": "z"}], answers=1)


def test_half_a_message_ends_in_time(rig: Rig) -> None:
    receiver = FluentReceiver(rig.intake, port=0, limits=StreamLimits(frame_seconds=0.3, idle_seconds=0.6))
    address = receiver.start()
    with socket.create_connection(address, 60) as sock:
        start = time.monotonic()
        for byte in msgpack.packb(["t", 1714557600, {"n": 1, "long": "x" * 100}])[:40]:
            try:
                sock.sendall(bytes([byte]))
            except OSError:
                break
            time.sleep(0.05)
        sock.settimeout(60)
        assert closes(sock)
        assert time.monotonic() - start < 20  # usually it would be 30 s or more
    receiver.stop()


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.lists(st.integers(0, 9), max_size=2)
)
RECORDS = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)


@given(st.lists(RECORDS, min_size=1, max_size=5), st.sampled_from(["forward", "packed", "gzip"]))
def test_records_come_back(records: list[dict[str, Any]], mode: str) -> None:
    entries = [[1714557600, r] for r in records]
    packed = b"".join(msgpack.packb(e) for e in entries)
    body: Any = entries if mode == "forward" else packed if mode == "packed" else gzip.compress(packed)
    frames = unpacker(1 << 20)
    frames.feed(msgpack.packb(["t", body, {"compressed": "gzip"} if mode == "gzip" else {}]))
    lines, _ = read_message(next(iter(frames)), 1 << 20)
    assert len(lines) == len(records)
    for line, record in zip(lines, records, strict=True):
        kept = json.loads(line)
        assert kept["time"] == 1714557600
        if isinstance(kept["event"], dict) and record:
            assert set(kept["event"]) == set(record)


@given(st.binary(max_size=80))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    frames = unpacker(1 << 16)
    with contextlib.suppress(FrameError):
        for message, _ in unpacked(frames, data):
            lines, chunk = read_message(message, 1 << 16)
            assert all(json.loads(line)["event"] for line in lines)
            assert isinstance(chunk, str)
