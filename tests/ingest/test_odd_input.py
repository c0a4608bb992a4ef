"""Odd input beyond what `test_refusals` repeats at every door: half bodies that decompress, members without end, heads without end, requests that two
servers would read differently, senders that don't read, machines that take every connection. Nothing of it costs a good event beside it."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
import zstandard

from tests.ingest.fuzz.doors import App, Kept, decoded
from tests.ingest.intake_support import Rig, until
from tests.ingest.shipper_support import TOKENS, serve
from tests.ingest.test_garbage import resident
from tocsin.base.errors import Place
from tocsin.ingest.decoders.body import pack_letters, unpack_letters
from tocsin.ingest.mapping import DEAD_LETTERS
from tocsin.ingest.model import DeadLetter
from tocsin.ingest.receivers.azure import AzureReceiver
from tocsin.ingest.receivers.beats import inflate_frames
from tocsin.ingest.receivers.elastic import ElasticReceiver
from tocsin.ingest.receivers.envelopes import envelope
from tocsin.ingest.receivers.expanding import DamagedError, inflated, unzstd
from tocsin.ingest.receivers.fluent import read_message
from tocsin.ingest.receivers.hec import HecReceiver
from tocsin.ingest.receivers.jsonlines import JsonLinesReceiver
from tocsin.ingest.receivers.loki import LokiReceiver
from tocsin.ingest.receivers.otlp import OtlpReceiver
from tocsin.ingest.receivers.relp import _UNREAD, RelpReceiver
from tocsin.ingest.receivers.streams import FrameError, StreamLimits
from tocsin.ingest.receivers.syslog import SyslogTcpReceiver
from tocsin.lake import Body
from tocsin.workspace.patience import PatientProtocol, counting

DCR = "/dataCollectionRules/d/streams/Custom-A_CL?api-version=2023-01-01"
LINES = b"".join(b'{"event":"number %d","time":%d}\n' % (n, n) for n in range(20_000))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("odd")).start()
    yield made
    made.close()


# ---------------------------------------------------------------------------------------------------- compression


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, zstandard.compress], ids=["gzip", "zlib", "zstd"])
def test_what_is_cut_off_is_never_taken_for_the_whole(pack: object) -> None:
    packed, read = pack(LINES), unzstd if pack is zstandard.compress else inflated  # type: ignore[operator]
    assert read(packed, 1 << 24) == LINES
    assert read(packed + pack(b"more"), 1 << 24) == LINES + b"more"  # type: ignore[operator]
    assert len(read(packed, 1000)) == 1001
    for cut in (1, 5, len(packed) // 2, len(packed) - 3):
        with pytest.raises(DamagedError):
            read(packed[:-cut], 1 << 24)
    with pytest.raises(DamagedError):
        read(packed + b"something else", 1 << 24)


def test_half_a_zstd_body_is_refused() -> None:
    kept = Kept()
    app = App(HecReceiver(kept, TOKENS.get).routes())
    sent = {"authorization": "Splunk good", "content-encoding": "zstd"}
    packed = zstandard.compress(LINES)
    assert app.post("/services/collector/event", packed[:-7], sent) == 400
    assert not kept.bodies
    assert app.post("/services/collector/event", packed, sent) == 200
    assert decoded(kept.bodies)[0] == 20_000


def test_members_without_end_cost_as_much_as_their_bytes() -> None:
    member = gzip.compress(b"", mtime=0)

    def seconds(count: int) -> float:
        data, start = member * count, time.process_time()
        assert inflated(data, 1 << 20) == b""
        return time.process_time() - start

    few = min(seconds(20_000) for _ in range(5))
    assert seconds(640_000) < 32 * few * 8  # a copy for each would be 1,024 times as much


def test_a_small_frame_of_a_million_events_is_refused() -> None:
    empty = b"2J" + struct.pack("!II", 1, 0)
    assert len(inflate_frames(zlib.compress(empty * 1000), 1 << 24)) == 1000
    with pytest.raises(FrameError, match="more events"):
        inflate_frames(zlib.compress(empty * 1_000_000), 1 << 24)


def test_entries_of_the_forward_protocol_may_come_by_zstd() -> None:
    entries = msgpack.packb([1714557600, {"a": 1}]) + msgpack.packb([1714557601, {"a": 2}])
    lines, _ = read_message(["t", zstandard.compress(entries), {"compressed": "zstd"}], 1 << 20)
    assert [json.loads(line)["event"] for line in lines] == [{"a": 1}, {"a": 2}]
    for bad in (zstandard.compress(entries)[:-3], zstandard.compress(b"\0" * (4 << 20))):
        with pytest.raises(FrameError):
            read_message(["t", bad, {"compressed": "zstd"}], 1 << 20)


MANY = 4 << 20
SWARMS: dict[str, tuple[type, str, bytes, str]] = {
    "azure": (AzureReceiver, DCR, b"[" + b"{}," * MANY + b"{}]", "application/json"),
    "hec": (HecReceiver, "/services/collector/event", b'{"event":1}' * MANY, "application/json"),
    "hec raw": (HecReceiver, "/services/collector/raw", b"x\n" * MANY, "text/plain"),
    "elastic": (ElasticReceiver, "/_bulk", b'{"index":{}}\n{"a":1}\n' * (MANY // 4), "application/x-ndjson"),
    "otlp": (OtlpReceiver, "/v1/logs", b'{"resourceLogs":[' + b"{}," * MANY + b"{}]}", "application/json"),
    "otlp protobuf": (OtlpReceiver, "/v1/logs", b"\x0a\x00" * MANY, "application/x-protobuf"),
    "loki": (LokiReceiver, "/loki/api/v1/push", b'{"streams":[{"values":[' + b'["1",""],' * MANY, "application/json"),
    "jsonl": (JsonLinesReceiver, "/ingest/v1/jsonl", b"{}\n" * MANY, "application/json"),
}


@pytest.mark.parametrize("name", SWARMS)
def test_a_swarm_of_tiny_events_is_refused_before_it_is_read(name: str) -> None:
    """A hundred kilobytes on the wire; read as events, gigabytes."""
    kind, path, body, media = SWARMS[name]
    kept = Kept()
    scheme = "Splunk" if kind is HecReceiver else "Bearer"
    sent = {"authorization": f"{scheme} good", "content-type": media, "content-encoding": "gzip"}
    assert App(kind(kept, TOKENS.get).routes()).post(path, gzip.compress(body, 1), sent) == 413
    assert not kept.bodies


def test_many_small_events_are_no_swarm() -> None:
    kept = Kept()
    app = App(ElasticReceiver(kept, TOKENS.get).routes())
    sent = {"authorization": "Bearer good", "content-type": "application/x-ndjson"}
    assert app.post("/_bulk", b'{"create":{"_index":"i"}}\n{"m":"x"}\n' * 50_000, sent) == 200
    assert len(kept.bodies) == 1


def test_short_lines_hold_no_more_than_they_need() -> None:
    """What orjson hands out stands in a buffer of a kilobyte: a hundred thousand of them kept are a hundred megabytes and more."""
    before = resident()
    kept = [envelope({"n": n}) for n in range(100_000)]
    assert resident() - before < 60 << 20
    assert kept[7] == b'{"event":{"n":7}}'


def test_a_swarm_of_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = b"\x92\x01\x80"
    monkeypatch.setattr("tocsin.ingest.receivers.fluent._MOST", 20_000)
    with pytest.raises(FrameError, match="arrays and maps"):
        read_message(["t", gzip.compress(tiny * 30_000, 1), {"compressed": "gzip"}], 1 << 26)
    lines, _ = read_message(["t", gzip.compress(tiny * 1000, 1), {"compressed": "gzip"}], 1 << 26)
    assert len(lines) == 1000


def test_very_many_dead_letters_are_put_together_and_none_is_lost(tmp_path: Path) -> None:
    rig = Rig(tmp_path).start()
    lines = [b"[%d]" % n for n in range(25_000)]
    body = Body("jsonl", b'{"message":"good"}\n' + b"\n".join(lines), rig.intake.now(), {"token": "t"})
    assert rig.intake.wait_visible(rig.intake.submit([body]).result(60), 60)
    letters = rig.rows(DEAD_LETTERS)
    assert len(letters) < 10_100
    raw = b"\n".join(base64.b64decode(r["Raw_s"]) for r in letters)
    assert sorted(raw.split(b"\n")) == sorted(lines)
    assert len(rig.rows("Unparsed_CL")) == 1
    (source,) = [s for s in rig.intake.sources() if s.name == "t"]
    assert source.errors == 25_000
    rig.close()
    packed = [DeadLetter("no", "ING0001", Place("p"), line, size=len(line)) for line in lines]
    back = list(unpack_letters(pack_letters(packed)))
    assert len(back) == 10_001
    assert sum(letter.rows for letter in back) == 25_000


# ---------------------------------------------------------------------------------------------------- values

ODD_VALUES = {
    "NaN": b"NaN",
    "no number": b"1e999",
    "a number of 401 digits": b"1" + b"0" * 400,
    "a number of 5,000 digits": b"9" * 5000,
    "a lone surrogate": b'"\\ud800"',
    "a control character": b'"a\x01b"',
    "the year 0": b'"0000-01-01T00:00:00Z"',
    "the year 9999": b'"9999-12-31T23:59:59.9999999-14:00"',
    "before all time": b"-1e18",
    "depth": b"[" * 2000 + b"]" * 2000,
    "a key of 50,000": b'{"' + b"k" * 50_000 + b'":1}',
    "a key twice": b'{"a":1,"a":2}',
}
ODD_PLACES: dict[str, tuple[type, str, bytes]] = {
    "hec time": (HecReceiver, "/services/collector/event", b'{"time":%b,"event":{"a":1}}'),
    "hec field": (HecReceiver, "/services/collector/event", b'{"event":"x","fields":{"a":[%b]}}'),
    "elastic id": (ElasticReceiver, "/_bulk", b'{"index":{"_index":"i","_id":%b}}\n{"a":1}\n'),
    "elastic document": (ElasticReceiver, "/_bulk", b'{"create":{"_index":"i"}}\n{"@timestamp":%b,"a":1}\n'),
    "otlp time": (OtlpReceiver, "/v1/logs", b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":%b}]}]}]}'),
    "otlp number": (OtlpReceiver, "/v1/logs", b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"intValue":%b}}]}]}]}'),
    "loki line": (LokiReceiver, "/loki/api/v1/push", b'{"streams":[{"stream":{"a":%b},"values":[["1","x",{"b":%b}]]}]}'),
}  # fmt: skip


@pytest.mark.parametrize("place", ODD_PLACES)
def test_odd_values_are_taken_or_refused(place: str) -> None:
    kind, path, shape = ODD_PLACES[place]
    for what, value in ODD_VALUES.items():
        kept = Kept()
        app = App(kind(kept, TOKENS.get).routes())
        sent = {
            "authorization": f"{'Splunk' if kind is HecReceiver else 'Bearer'} good",
            "content-type": "application/json",
        }
        status = app.post(path, shape.replace(b"%b", value), sent)
        assert status in (200, 204, 400), (what, status)
        rows, dead = decoded(kept.bodies)
        assert (rows + dead > 0) == (status < 300), (what, status, rows, dead)


def test_a_number_that_is_none_stays_as_it_was_written() -> None:
    kept = Kept()
    body = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"kvlistValue":{"values":[{"key":"n","value":{"intValue":"many"}}]}}}]}]}]}'
    sent = {"authorization": "Bearer good", "content-type": "application/json"}
    assert App(OtlpReceiver(kept, TOKENS.get).routes()).post("/v1/logs", body, sent) == 200
    assert json.loads(kept.bodies[0].data)["event"] == {"n": "many"}


# ---------------------------------------------------------------------------------------------------- HTTP itself


HEAD = b"POST /services/collector/event HTTP/1.1\r\nHost: t\r\nAuthorization: Splunk good\r\n"
EVENT = b'{"event":"hello"}'
TWICE_READ = {
    "a length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 17\r\nContent-Length: 5\r\n\r\n" + EVENT,
    "a list of lengths": b"Content-Length: 17, 5\r\n\r\n" + EVENT,
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a length with a plus": b"Content-Length: +17\r\n\r\n" + EVENT,
    "a length beyond 64 bits": b"Content-Length: 99999999999999999999999\r\n\r\n",
    "chunks that aren't last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a chunk of negative size": b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than it says": b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
    "a space before the colon": b"Content-Length : 17\r\n\r\n" + EVENT,
    "a NUL in a header": b"X: a\0b\r\nContent-Length: 17\r\n\r\n" + EVENT,
    "a folded header": b"X: a\r\n Content-Length: 5\r\nContent-Length: 17\r\n\r\n" + EVENT,
}  # fmt: skip
"""What a proxy before us may cut into requests elsewhere than we do."""


@pytest.fixture(scope="module")
def told() -> list[tuple[str, str]]:
    """Peers whose requests couldn't be read, and why."""
    return []


@pytest.fixture(scope="module")
def url(rig: Rig, told: list[tuple[str, str]]) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PatientProtocol, "ignored_bytes", 1 << 20)
        with serve(
            HecReceiver(rig.intake, TOKENS.get).routes(), http=counting(lambda peer, why: told.append((peer, why)))
        ) as found:
            yield found


def say(url: str, *pieces: bytes) -> bytes:
    """Everything that is answered until the server closes."""
    host, port = url.removeprefix("http://").split(":")
    said = b""
    with socket.create_connection((host, int(port)), 60) as sock, contextlib.suppress(ConnectionError):
        for piece in pieces:
            sock.sendall(piece)
        while more := sock.recv(1 << 16):
            said += more
    return said


@pytest.mark.parametrize("what", TWICE_READ)
def test_requests_that_can_be_read_in_two_ways_are_refused(url: str, told: list[tuple[str, str]], what: str) -> None:
    before = len(told)
    said = say(url, HEAD + TWICE_READ[what])
    assert said.count(b"HTTP/1.1 ") == 1, said
    assert said.startswith(b"HTTP/1.1 400"), said
    until(lambda: len(told) > before)
    assert told[-1] == ("127.0.0.1", "It isn't HTTP.")
    good = httpx.post(f"{url}/services/collector/event", content=EVENT, headers={"Authorization": "Splunk good"})
    assert good.status_code == 200


def test_odd_chunks_are_read_as_they_are_meant(rig: Rig, url: str) -> None:
    before = len(rig.rows("Unparsed_CL"))
    chunks = b"".join(b'%X;ext="a"\r\n%c\r\n' % (1, c) for c in EVENT) + b"0\r\nTrailer: " + b"x" * 1000 + b"\r\n\r\n"
    said = say(
        url,
        HEAD
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + chunks
        + HEAD
        + b"Connection: close\r\nContent-Length: 17\r\n\r\n"
        + EVENT,
    )
    assert said.count(b"HTTP/1.1 200") == 2, said
    rig.wait("Unparsed_CL", before + 2)


@pytest.mark.parametrize(
    "piece", [b"X: " + b"x" * (1 << 16), b"X: a\r\n" * (1 << 14), b""], ids=["one header", "many headers", "the path"]
)
def test_a_head_without_end_is_refused_early(url: str, told: list[tuple[str, str]], piece: bytes) -> None:
    host, port = url.removeprefix("http://").split(":")
    before, sent = len(told), 0
    with socket.create_connection((host, int(port)), 60) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(HEAD if piece else b"GET /")
        while sent < 64 << 20:
            sock.sendall(piece or b"x" * (1 << 16))
            sent += 1 << 16
        pytest.fail("64 MiB of it were taken")
    until(lambda: len(told) > before)


def test_what_comes_after_the_answer_is_bounded(url: str, told: list[tuple[str, str]]) -> None:
    host, port = url.removeprefix("http://").split(":")
    head = b"POST /services/collector/event HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
    sent = 0
    with socket.create_connection((host, int(port)), 60) as sock:
        sock.sendall(head)
        assert sock.recv(1 << 16).startswith(b"HTTP/1.1 401")
        with contextlib.suppress(ConnectionError):
            while sent < 64 << 20:
                sock.sendall(b"10000\r\n" + b"x" * (1 << 16) + b"\r\n")
                sent += 1 << 16
            pytest.fail("64 MiB of it were taken")


# ---------------------------------------------------------------------------------------------------- connections


def test_one_address_cant_hold_every_connection_of_the_server(
    url: str, told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientProtocol, "most_each", 5)
    host, port = url.removeprefix("http://").split(":")
    health = b"GET /services/collector/health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection((host, int(port)), 60)) for _ in range(20)]
        refused = [sock for sock in held[5:] if sock.recv(12) == b"HTTP/1.1 503"]
        assert len(refused) == 15
        assert told[-1] == ("127.0.0.1", "Too many connections of this address are open.")
        other = stack.enter_context(socket.socket())
        other.settimeout(60)
        other.bind(("127.0.0.2", 0))
        other.connect((host, int(port)))
        other.sendall(health)
        assert other.recv(12) == b"HTTP/1.1 200"
        held[0].sendall(health)
        assert held[0].recv(12) == b"HTTP/1.1 200"
    # And again, once they are gone.
    until(lambda: say(url, health).startswith(b"HTTP/1.1 200"))


def test_a_sender_that_reads_no_answers_holds_little(rig: Rig) -> None:
    receiver = RelpReceiver(rig.intake, port=0, frame_seconds=1.0)
    address = receiver.start()
    errors = sum(s.errors for s in rig.intake.sources())
    most = 0
    with socket.create_connection(address, 60) as sock:
        sock.setblocking(False)
        left = b"1 x 0\n" * 10_000

        def gone() -> bool:
            nonlocal most
            most = max([most, *(len(s.to_send) for s in list(receiver._sessions.values()))])
            try:
                sock.send(left)
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
            return False

        until(gone)
    assert _UNREAD <= most < _UNREAD + (8 << 20)
    until(lambda: not receiver._sessions)
    assert sum(s.errors for s in rig.intake.sources()) == errors + 1
    receiver.stop()


@pytest.mark.parametrize("protocol", ["syslog", "relp"])
def test_one_machine_cant_keep_others_out(rig: Rig, protocol: str) -> None:
    receiver: Any
    if protocol == "relp":
        receiver = RelpReceiver(rig.intake, port=0, max_sessions=8)
    else:
        receiver = SyslogTcpReceiver(rig.intake, port=0, limits=StreamLimits(connections=8, idle_seconds=None))

    def message(text: bytes) -> bytes:
        line = b"<34>1 - other app 1 - - " + text
        return b"1 syslog %d %b\n" % (len(line), line) if protocol == "relp" else line + b"\n"

    host, port = receiver.start()
    before = len(rig.rows("Syslog"))
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection((host, port), 60)) for _ in range(8)]
        until(lambda: len(receiver._sessions if protocol == "relp" else receiver._tasks) == 8)
        # As many as all others: there is nobody to take one from.
        same = stack.enter_context(socket.create_connection((host, port), 60))
        assert same.recv(1) == b""
        other = stack.enter_context(socket.socket())
        other.settimeout(60)
        other.bind(("127.0.0.2", 0))
        other.connect((host, port))
        other.sendall(message(b"from another machine"))
        rig.wait("Syslog", before + 1)
        held[0].settimeout(60)
        assert held[0].recv(1) == b""  # the one that was silent for longest
        held[1].sendall(message(b"from a connection that stayed"))
        rig.wait("Syslog", before + 2)
    receiver.stop()
