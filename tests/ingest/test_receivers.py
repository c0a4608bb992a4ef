"""Syslog over real sockets: UDP, TCP with both framings, RELP with its acknowledgements."""

from __future__ import annotations

import contextlib
import re
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ingest.intake_support import Rig, until
from tocsin.base.errors import IngestError, LakeError
from tocsin.ingest.decoders.body import frame_syslog, unframe_syslog
from tocsin.ingest.pipeline import IntakeBusyError
from tocsin.ingest.receivers.framing import SyslogFramer
from tocsin.ingest.receivers.relp import RelpReceiver
from tocsin.ingest.receivers.streams import StreamLimits
from tocsin.ingest.receivers.syslog import SyslogTcpReceiver, SyslogUdpReceiver
from tocsin.ingest.receivers.tails import SessionTails
from tocsin.lake import Body


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path).start()
    yield made
    with contextlib.suppress(Exception):
        made.close()


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    yield
    while Client.opened:
        Client.opened.pop().close()


def message(number: int) -> bytes:
    return b"<34>1 2024-05-01T10:00:00Z host app 1 - - message %d" % number


def numbers(rig: Rig) -> list[int]:
    return sorted(int(r["SyslogMessage"].split()[-1]) for r in rig.rows("Syslog"))


# ---------------------------------------------------------------------------------------------- framing


MESSAGES = st.lists(
    st.binary(min_size=1, max_size=40).filter(
        lambda m: b"\n" not in m and b"\0" not in m and m.strip(b"\r") == m and not m[:1].isdigit()
    ),
    max_size=8,
)


@given(MESSAGES, st.lists(st.booleans(), min_size=8, max_size=8), st.integers(1, 30))
def test_both_framings_mixed_and_cut_anywhere(messages: list[bytes], counted: list[bool], size: int) -> None:
    stream = b"".join(b"%d %b" % (len(m), m) if c else m + b"\n" for m, c in zip(messages, counted, strict=False))
    framer = SyslogFramer()
    got = [m for i in range(0, len(stream), size) for m in framer.feed(stream[i : i + size])]
    assert got == messages
    assert framer.rest() == b""


@given(st.binary(max_size=200), st.integers(1, 20))
def test_no_stream_breaks_the_framer(stream: bytes, size: int) -> None:
    framer = SyslogFramer(64)
    got = [m for i in range(0, len(stream), size) for m in framer.feed(stream[i : i + size])]
    assert all(len(m) <= 64 for m in got)
    assert framer.pending <= 64 + size + 10


@pytest.mark.parametrize("stream", [b"x" * 500 + b"\nnext\n", b"500 " + b"x" * 500 + b"4 next"])
def test_a_long_message_is_cut(stream: bytes) -> None:
    for size in (7, 1000):
        framer = SyslogFramer(100)
        got = [m for i in range(0, len(stream), size) for m in framer.feed(stream[i : i + size])]
        assert got == [b"x" * 100, b"next"]
        assert framer.cut == 1


@given(st.lists(st.binary(max_size=50)))
def test_body_framing_comes_back(messages: list[bytes]) -> None:
    assert list(unframe_syslog(frame_syslog(messages))) == messages


# ---------------------------------------------------------------------------------------------- UDP and TCP


def test_udp(rig: Rig) -> None:
    receiver = SyslogUdpReceiver(rig.intake, port=0)
    address = receiver.start()
    assert receiver.buffer_bytes > 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for n in range(2000):
            sender.sendto(message(n), address)
        sender.sendto(b"", address)
    rig.wait("Syslog", 2000)
    assert numbers(rig) == list(range(2000))
    (source,) = [s for s in rig.intake.sources() if s.name == "127.0.0.1"]
    assert (source.kind, source.events, source.errors) == ("syslog", 2000, 0)
    assert any(s.state == "listening" for s in rig.intake.sources())
    receiver.stop()


def test_a_clean_stop_takes_what_the_socket_holds(rig: Rig) -> None:
    receiver = SyslogUdpReceiver(rig.intake, port=0)
    address = receiver.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for n in range(500):
            sender.sendto(message(n), address)
        receiver.stop()
    rig.wait("Syslog", 500)


@pytest.mark.parametrize("counted", [True, False])
def test_tcp(rig: Rig, counted: bool) -> None:
    receiver = SyslogTcpReceiver(rig.intake, port=0)
    address = receiver.start()
    senders = [socket.create_connection(address) for _ in range(4)]
    for n in range(2000):
        m = message(n)
        senders[n % 4].sendall(b"%d %b" % (len(m), m) if counted else m + b"\n")
    senders[0].sendall(message(2000))  # a last one without its end
    for sender in senders:
        sender.close()
    rig.wait("Syslog", 2001)
    assert numbers(rig) == list(range(2001))
    receiver.stop()


def test_a_clean_stop_takes_what_a_connection_holds(rig: Rig) -> None:
    receiver = SyslogTcpReceiver(rig.intake, port=0)
    with socket.create_connection(receiver.start()) as sender:
        until(lambda: receiver.connections == 1)
        sender.sendall(b"".join(message(n) + b"\n" for n in range(20_000)) + message(20_000))
        receiver.stop()
    rig.wait("Syslog", 20_001)


def test_a_silent_tcp_sender_keeps_its_connection(rig: Rig) -> None:
    receiver = SyslogTcpReceiver(rig.intake, port=0, limits=StreamLimits(frame_seconds=0.05, idle_seconds=None))
    with socket.create_connection(receiver.start()) as sender:
        for n in range(2):
            sender.sendall(message(n) + b"\n")
            rig.wait("Syslog", n + 1)
            time.sleep(0.2)  # more than a half message might take
        assert receiver.connections == 1
    receiver.stop()


def test_tcp_makes_a_sender_wait_while_intake_is_full(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = rig.intake.submit
    full = True

    def sometimes(bodies):  # type: ignore[no-untyped-def]
        if full:
            raise IntakeBusyError("full")
        return submit(bodies)

    monkeypatch.setattr(rig.intake, "submit", sometimes)
    receiver = SyslogTcpReceiver(rig.intake, port=0)
    address = receiver.start()
    with socket.create_connection(address) as sender:
        sender.sendall(b"".join(message(n) + b"\n" for n in range(100)))
        time.sleep(0.2)
        assert numbers(rig) == []
        full = False
        rig.wait("Syslog", 100)
        assert numbers(rig) == list(range(100))
    receiver.stop()


def test_a_taken_port_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(IngestError, match="syslog_tcp_port"):
            SyslogTcpReceiver(None, port=other.getsockname()[1]).start()  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- RELP


class Client:
    """A RELP sender that keeps what isn't acknowledged."""

    opened: list[socket.socket] = []  # noqa: RUF012

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address)
        Client.opened.append(self.sock)
        self.sock.settimeout(60)
        self.number = 0
        self.answers: dict[int, bytes] = {}
        self.buffer = b""
        self.send(b"open", b"relp_version=0\ncommands=syslog")
        assert self.wait(1).startswith(b"200 OK\nrelp_version=0")

    def send(self, command: bytes, data: bytes = b"") -> int:
        self.number += 1
        self.sock.sendall(b"%d %b %d%b\n" % (self.number, command, len(data), b" " + data if data else b""))
        return self.number

    def wait(self, number: int) -> bytes:
        while number not in self.answers:
            self.buffer += self.sock.recv(65536)
            while (m := re.match(rb"(\d+) (\w+) (\d+)([ \n])", self.buffer)) is not None:
                size = int(m[3])
                end = m.end() + size if m[4] == b" " else m.end() - 1
                if len(self.buffer) <= end:
                    break
                if m[2] == b"rsp":
                    self.answers[int(m[1])] = self.buffer[m.end() : end] if m[4] == b" " else b""
                self.buffer = self.buffer[end + 1 :]
        return self.answers[number]


def test_relp_acknowledges_what_is_durable(rig: Rig) -> None:
    receiver = RelpReceiver(rig.intake, port=0)
    client = Client(receiver.start())
    sent = [client.send(b"syslog", message(n)) for n in range(500)]
    for number in sent:
        assert client.wait(number) == b"200 OK"
    assert rig.lake.log.last >= 1
    assert client.wait(client.send(b"close")) == b""
    rig.wait("Syslog", 500)
    assert numbers(rig) == list(range(500))
    receiver.stop()


def test_relp_repetitions_after_a_lost_connection_are_not_stored_again(rig: Rig) -> None:
    receiver = RelpReceiver(rig.intake, port=0)
    address = receiver.start()
    client = Client(address)
    sent = [client.send(b"syslog", message(n)) for n in range(100)]
    client.wait(sent[-1])
    client.sock.close()  # before it has seen the answers to 40 and above, let us say
    until(lambda: receiver._tails.ended_sessions == 1)
    client = Client(address)
    sent = [client.send(b"syslog", message(n)) for n in [*range(40, 100), *range(100, 120)]]
    for number in sent:
        assert client.wait(number) == b"200 OK"
    rig.wait("Syslog", 120)
    assert numbers(rig) == list(range(120))
    # The same text later on is news.
    client.wait(client.send(b"syslog", message(60)))
    rig.wait("Syslog", 121)
    receiver.stop()


def test_relp_repetitions_after_a_crash_are_not_stored_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path).start()
    receiver = RelpReceiver(rig.intake, port=0)
    client = Client(receiver.start())
    sent = [client.send(b"syslog", message(n)) for n in range(50)]
    client.wait(sent[-1])
    rig.crash()
    again = Rig(tmp_path)
    tails = SessionTails()
    again.intake.memories.append(tails)
    again.start()
    receiver2 = RelpReceiver(again.intake, port=0, tails=tails)
    client = Client(receiver2.start())
    sent = [client.send(b"syslog", message(n)) for n in range(30, 80)]
    for number in sent:
        client.wait(number)
    again.wait("Syslog", 80)
    assert numbers(again) == list(range(80))
    receiver2.stop()
    again.close()
    receiver.stop()


class Relp:
    """A receiver with what it remembers, in one folder, through its crashes."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig(folder)
        self.tails = SessionTails(folder / "intake" / "relp.msgpack")
        self.rig.intake.memories.append(self.tails)
        self.rig.start()
        self.receiver = RelpReceiver(self.rig.intake, port=0, tails=self.tails)
        self.address = self.receiver.start()

    def send(self, numbers: Iterable[int]) -> Client:
        """Sends by a new connection and waits for all answers."""
        client = Client(self.address)
        for number in [client.send(b"syslog", message(n)) for n in numbers]:
            assert client.wait(number) == b"200 OK"
        return client

    def settle(self) -> None:
        """All that came is in files, and the log is empty."""
        assert self.rig.intake.wait_visible(self.rig.lake.log.last, 10)
        self.rig.lake.roll()

    def crash(self) -> None:
        self.rig.crash()
        self.receiver.stop()

    def close(self) -> None:
        self.receiver.stop()
        self.rig.close()


def test_relp_repetitions_are_known_after_any_number_of_crashes(tmp_path: Path) -> None:
    first = Relp(tmp_path)
    first.send(range(50))
    first.crash()
    for _ in range(3):
        # The restart rolls and trims the log; the sender isn't back before the next kill.
        again = Relp(tmp_path)
        assert not list(again.rig.lake.log.replay(0))
        again.crash()
    last = Relp(tmp_path)
    last.send(range(30, 80))
    last.rig.wait("Syslog", 80)
    assert numbers(last.rig) == list(range(80))
    last.close()


def test_relp_a_repetition_whose_answers_are_lost_is_repeated_again(tmp_path: Path) -> None:
    first = Relp(tmp_path)
    first.send(range(50))
    first.settle()
    first.crash()
    second = Relp(tmp_path)
    # Repeats 20 of them, goes on with ten new ones, and sees none of the answers.
    second.send(range(30, 60))
    second.crash()
    third = Relp(tmp_path)
    # Only five come through before the connection breaks.
    client = Client(third.address)
    for n in range(30, 35):
        client.send(b"syslog", message(n))
    until(lambda: any(len(s.repeated) == 5 for s in third.receiver._sessions.values()))
    client.sock.close()
    until(lambda: third.tails.ended_sessions == 2)
    third.settle()
    third.send(range(30, 70)).sock.close()
    third.settle()
    third.close()
    last = Relp(tmp_path)
    # After a clean stop too.
    last.send(range(60, 75))
    last.rig.wait("Syslog", 75)
    assert numbers(last.rig) == list(range(75))
    last.close()


def test_relp_a_session_that_only_begins_like_an_old_one_is_news(tmp_path: Path) -> None:
    first = Relp(tmp_path)
    first.send(range(50)).sock.close()
    until(lambda: first.tails.ended_sessions == 1)
    # An equal message, and then another than came after it the first time.
    first.send([40, 41, 60]).sock.close()
    until(lambda: first.tails.ended_sessions == 1)
    # An equal message, and then nothing.
    first.send([41]).sock.close()
    first.rig.wait("Syslog", 54)
    assert sorted(numbers(first.rig)) == sorted([*range(50), 40, 41, 60, 41])
    first.close()


def test_relp_a_session_that_its_sender_closed_is_not_repeated(tmp_path: Path) -> None:
    first = Relp(tmp_path)
    client = first.send(range(10))
    client.wait(client.send(b"close"))
    until(lambda: not first.receiver._sessions)
    first.settle()
    first.crash()
    again = Relp(tmp_path)
    assert again.tails.ended_sessions == 0
    again.send(range(10))
    again.rig.wait("Syslog", 20)
    again.close()


def test_the_log_is_not_trimmed_while_tails_cannot_be_written(tmp_path: Path) -> None:
    relp = Relp(tmp_path)
    (tmp_path / "intake" / "relp.msgpack.tmp").mkdir()
    relp.send(range(10))
    assert relp.rig.intake.wait_visible(relp.rig.lake.log.last, 10)
    with pytest.raises(LakeError) as caught:
        relp.rig.lake.roll()
    assert caught.value.code == "LAK0016"
    assert list(relp.rig.lake.log.replay(0))
    (tmp_path / "intake" / "relp.msgpack.tmp").rmdir()
    relp.send(range(10, 20))
    relp.settle()
    assert not list(relp.rig.lake.log.replay(0))
    assert numbers(relp.rig) == list(range(20))
    relp.close()


def syslog_body(session: str, first: int, texts: list[bytes]) -> Body:
    meta = {"peer": "p", "via": "relp", "session": session, "first": str(first), "end": str(first + len(texts))}
    return Body("syslog", frame_syslog(texts), datetime(2024, 5, 1, tzinfo=UTC), meta)


def test_tails_are_bounded_in_number_and_age(tmp_path: Path) -> None:
    now = 0.0
    file = tmp_path / "relp.msgpack"
    tails = SessionTails(file, clock=lambda: now)
    texts = [b"%d" % n for n in range(2000)]
    for number in range(300):
        tails.taken(syslog_body(f"s{number}", 0, [b"%d of %d" % (n, number) for n in range(3)]))
    assert tails.ended_sessions == 64
    assert not tails.repeats("p", "new", b"0 of 235")
    assert tails.repeats("p", "newer", b"0 of 236")
    tails.taken(syslog_body("long", 0, texts))
    tails.save()
    assert file.stat().st_size < 20_000
    now = 80_000.0
    again = SessionTails(file, clock=lambda: now)
    # Replayed once more, it is no longer than it was.
    again.taken(syslog_body("long", 0, texts))
    assert not again.repeats("p", "a", texts[975])
    assert again.repeats("p", "b", texts[976])
    assert all(again.repeats("p", "b", t) for t in texts[977:])
    assert not again.repeats("p", "b", texts[1999])
    again.ended("p", "b")
    now += 86_000.0
    again.save()
    now += 300.0
    aged = SessionTails(file, clock=lambda: now)
    now += 500.0
    aged.taken(syslog_body("other", 0, [b"x"]))
    assert aged.ended_sessions == 1


@given(st.binary(max_size=60))
def test_a_damaged_file_of_tails_is_set_aside(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "relp.msgpack")
        file.write_bytes(data)
        tails = SessionTails(file)
        assert tails.ended_sessions == 0
        assert file.with_suffix(".damaged").read_bytes() == data
        tails.taken(syslog_body("s", 0, [b"x"]))
        tails.save()
        assert SessionTails(file).ended_sessions == 1


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" * 50, b"1 syslog 99999999 x", b"9" * 100])
def test_what_is_no_relp_is_closed(rig: Rig, junk: bytes) -> None:
    receiver = RelpReceiver(rig.intake, port=0)
    address = receiver.start()
    with socket.create_connection(address) as sender:
        sender.settimeout(60)
        sender.sendall(junk)
        with contextlib.suppress(ConnectionResetError):
            assert sender.recv(100) == b""
    assert Client(address)
    receiver.stop()
