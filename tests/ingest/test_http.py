"""The HTTP receivers over a real lake: Splunk's collector as its clients know it, and JSON lines."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from tests.ingest.intake_support import Rig
from tocsin.ingest.decoders.body import hec_objects
from tocsin.ingest.receivers.hec import HecReceiver
from tocsin.ingest.receivers.jsonlines import JsonLinesReceiver
from tocsin.ingest.requests import RequestLog

TOKENS = {"good": "agent-1"}
AUTH = {"Authorization": "Splunk good"}
BEARER = {"Authorization": "Bearer good"}


class Door:
    """A client of the routes, in the test's own event loop."""

    def __init__(self, rig: Rig, **limits: Any) -> None:
        self.rig = rig
        routes = [
            *HecReceiver(rig.intake, TOKENS.get, **limits).routes(),
            *JsonLinesReceiver(rig.intake, TOKENS.get, **limits).routes(),
        ]
        self.app = Starlette(routes=routes)

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://t") as client:
                return await client.request(method, path, **options)

        return asyncio.run(run())

    def event(self, content: Any, path: str = "/services/collector/event", **options: Any) -> httpx.Response:
        return self("POST", path, content=content, headers={**AUTH, **options.pop("headers", {})}, **options)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path).start()
    yield made
    made.close()


@pytest.fixture
def door(rig: Rig) -> Door:
    return Door(rig)


def code(answer: httpx.Response) -> tuple[int, int]:
    return answer.status_code, answer.json()["code"]


def test_health_needs_no_token(door: Door) -> None:
    assert door("OPTIONS", "/services/collector/event/1.0").status_code == 200  # as Docker's driver asks
    for path in ("/services/collector/health", "/services/collector/health/1.0"):
        answer = door("GET", path)
        assert code(answer) == (200, 17)
        assert answer.json()["text"] == "HEC is healthy"


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ({}, "", (401, 2)),
        ({"Authorization": "Bearer good"}, "", (401, 3)),
        ({"Authorization": "splunk good"}, "", (401, 3)),
        ({"Authorization": "Splunk bad"}, "", (403, 4)),
        ({"Authorization": "Splunk "}, "", (401, 2)),
        ({"Authorization": "Basic " + base64.b64encode(b"x:good").decode()}, "", (200, 0)),
        ({"Authorization": "Basic " + base64.b64encode(b"x:bad").decode()}, "", (403, 4)),
        ({"Authorization": "Basic ???"}, "", (401, 3)),
        ({}, "?token=good", (400, 16)),
        (AUTH, "", (200, 0)),
    ],
)
def test_tokens(door: Door, headers: dict[str, str], query: str, expected: tuple[int, int]) -> None:
    assert (
        code(door("POST", "/services/collector/event" + query, content=b'{"event":"x"}', headers=headers)) == expected
    )


@pytest.mark.parametrize(
    ("body", "expected", "number"),
    [
        (b"", (400, 5), None),
        (b"  \n ", (400, 5), None),
        (b"not json", (400, 6), 0),
        (b'{"event":"a"}{"event":', (400, 6), 1),
        (b'[{"event":"a"}]', (400, 6), 0),
        (b'{"event":"a"}\n{"time":1}', (400, 12), 1),
        (b'{"event":""}', (400, 13), 0),
        (b'{"event":null}', (400, 13), 0),
        (b'{"event":{}}', (400, 13), 0),
        (b'{"event":"a","fields":{"x":{"y":1}}}', (400, 15), 0),
        (b'{"event":"a","fields":[1]}', (400, 15), 0),
        (b'{"event":"a"}{"event":"b"}', (200, 0), None),
        (b'{"event":"a"}\n\n{"event":{"x":1}}\n', (200, 0), None),
        (b'{"event":5,"time":"1.5","host":"h","fields":{"a":["b"]}}', (200, 0), None),
    ],
)
def test_bodies(door: Door, body: bytes, expected: tuple[int, int], number: int | None) -> None:
    for path in ("/services/collector", "/services/collector/event", "/services/collector/event/1.0"):
        answer = door.event(body, path)
        assert code(answer) == expected
        assert answer.json().get("invalid-event-number") == number


def test_nothing_of_a_refused_body_is_stored(door: Door, rig: Rig) -> None:
    door.event(b'{"event":"a"}{"time":1}')
    door.event(b'{"event":"b"}')
    rows = rig.wait("Unparsed_CL", 1)
    assert [json.loads(r["RawData"])["message"] for r in rows] == ["b"]
    (source,) = [s for s in rig.intake.sources() if s.name == "agent-1"]
    assert (source.events, source.errors, source.kind) == (1, 1, "hec")


def test_get_on_the_collector_and_acknowledgement(door: Door) -> None:
    answer = door("GET", "/services/collector/event", headers=AUTH)
    assert code(answer) == (405, 404)
    assert code(door("POST", "/services/collector/ack", content=b"{}")) == (401, 2)


CHANNEL = "FE0ECFAD-13D5-401B-847D-77833BD77131"


def test_what_is_durable_is_acknowledged_by_channel(door: Door, rig: Rig, tmp_path: Path) -> None:
    headers = {"X-Splunk-Request-Channel": CHANNEL}
    timed = b'{"time":1,"event":"a"}'
    ids = [door.event(timed, headers=headers).json()["ackId"] for _ in range(2)]
    ids.append(door.event(b"raw", f"/services/collector/raw?channel={CHANNEL}").json()["ackId"])
    assert len(set(ids)) == 3
    assert "ackId" not in door.event(timed).json()

    def ask(door: Door, **body: Any) -> Any:
        return door("POST", f"/services/collector/ack?channel={CHANNEL}", headers=AUTH, json=body)

    never = (rig.intake.durable + 1) << 10
    assert ask(door, acks=[*ids, never, 0]).json() == {
        "acks": {**{str(i): True for i in ids}, str(never): False, "0": False}
    }
    assert code(ask(door, acks="x")) == (400, 6)
    assert code(door("POST", "/services/collector/ack", headers=AUTH, json={"acks": ids})) == (400, 10)
    assert code(door("POST", "/services/collector/ack?channel=x", headers=AUTH, json={"acks": ids})) == (400, 11)
    assert code(door.event(timed, headers={"X-Splunk-Request-Channel": "x"})) == (400, 11)
    rig.crash()
    again = Rig(tmp_path).start()
    try:
        assert ask(Door(again), acks=ids).json() == {"acks": {str(i): True for i in ids}}
    finally:
        again.close()
        rig.close = lambda: None  # type: ignore[method-assign]


def test_raw_text_with_a_request_id_is_taken_once(door: Door, rig: Rig) -> None:
    for _ in range(2):
        assert code(door.event(b"line", "/services/collector/raw", headers={"X-Request-Id": "r1"})) == (200, 0)
        assert code(door.event(b"line", "/services/collector/raw")) == (200, 0)
    rig.intake.wait_visible(rig.intake.durable, 5)
    assert len(rig.rows("Unparsed_CL")) == 3


def test_compressed_bodies_and_their_bounds(rig: Rig) -> None:
    door = Door(rig, max_body_bytes=10_000)
    body = b'{"event":"x"}\n' * 500
    assert code(door.event(gzip.compress(body), headers={"Content-Encoding": "gzip"})) == (200, 0)
    assert code(
        door.event(gzip.compress(body[:700]) + gzip.compress(body[700:]), headers={"Content-Encoding": "gzip"})
    ) == (200, 0)
    assert code(door.event(zstandard.compress(body), headers={"Content-Encoding": "zstd"})) == (200, 0)
    assert code(door.event(gzip.compress(body * 100), headers={"Content-Encoding": "gzip"})) == (413, 27)
    assert code(door.event(zstandard.compress(body * 100), headers={"Content-Encoding": "zstd"})) == (413, 27)
    assert code(door.event(body * 2)) == (413, 27)
    assert code(door.event(gzip.compress(body)[:50], headers={"Content-Encoding": "gzip"})) == (400, 6)
    assert code(door.event(b"junk", headers={"Content-Encoding": "gzip"})) == (400, 6)
    assert code(door.event(body, headers={"Content-Encoding": "lzw"})) == (400, 6)
    assert len(rig.wait("Unparsed_CL", 1500)) == 1500


def test_events_of_every_shape_find_their_table(door: Door, rig: Rig) -> None:
    events = [
        {
            "time": 1714557600.5,
            "host": "pc1",
            "event": {"EventID": 4624, "Channel": "Security", "Hostname": "pc1", "TargetUserName": "u"},
        },
        {"event": "<34>Oct 11 22:14:15 web su: failed", "sourcetype": "syslog"},
        {
            "event": {"UserPrincipalName": "u", "AppDisplayName": "a", "IPAddress": "1.2.3.4"},
            "sourcetype": "SigninLogs",
            "time": 1714557600,
        },
        {"event": "free text", "host": "h9", "time": 1714557600},
        {"event": '{"Type":"AuditLogs","OperationName":"x","TimeGenerated":"2024-05-01T10:00:00Z"}'},
    ]
    assert code(door.event("".join(json.dumps(e) for e in events))) == (200, 0)
    (security,) = rig.wait("SecurityEvent", 1)
    assert (security["TargetUserName"], security["EventID"], security["Computer"]) == ("u", 4624, "pc1")
    assert str(security["TimeGenerated"]) == "2024-05-01 10:00:00.500000"
    assert rig.wait("Syslog", 1)[0]["ProcessName"] == "su"
    assert str(rig.wait("SigninLogs", 1)[0]["TimeGenerated"]).startswith("2024-05-01 10:00:00")
    (text,) = rig.wait("Unparsed_CL", 1)
    assert (text["Computer"], json.loads(text["RawData"])["message"]) == ("h9", "free text")
    assert rig.wait("AuditLogs", 1)[0]["OperationName"] == "x"


def test_raw_text_is_a_line_an_event(door: Door, rig: Rig) -> None:
    answer = door("POST", "/services/collector/raw?host=h1&sourcetype=app", content=b"one\ntwo\n\nthree", headers=AUTH)
    assert code(answer) == (200, 0)
    rows = rig.wait("Unparsed_CL", 3)
    assert [json.loads(r["RawData"])["message"] for r in rows] == ["one", "two", "three"]
    assert {json.loads(r["RawData"])["host"] for r in rows} == {"h1"}


def test_an_answer_means_durable(door: Door, rig: Rig, tmp_path: Path) -> None:
    assert code(door.event(b'{"event":"before the crash"}')) == (200, 0)
    rig.crash()
    again = Rig(tmp_path).start()
    try:
        assert again.replayed == 1
        assert len(again.rows("Unparsed_CL")) == 1
    finally:
        again.close()
        rig.close = lambda: None  # type: ignore[method-assign]


def test_a_repeated_request_is_taken_once(door: Door, rig: Rig, tmp_path: Path) -> None:
    timed = b'{"time":1,"event":"a"}'
    # In normal life equal bodies are different events: the first has been answered.
    assert code(door.event(timed)) == (200, 0)
    assert code(door.event(timed)) == (200, 0)
    assert len(rig.wait("Unparsed_CL", 2)) == 2
    rig.crash()
    again = Rig(tmp_path).start()
    try:
        door = Door(again)
        # After a crash the sender can't know: what comes again was one of them.
        assert code(door.event(timed)) == (200, 0)
        assert len(again.rows("Unparsed_CL")) == 2
        assert code(door.event(timed)) == (200, 0)
        assert len(again.wait("Unparsed_CL", 3)) == 3
    finally:
        again.close()
        rig.close = lambda: None  # type: ignore[method-assign]


def test_a_full_intake_says_so_before_reading(door: Door, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(rig.intake), "pressure", property(lambda _: 1.5))
    answer = door.event(b'{"event":"x"}')
    assert code(answer) == (503, 9)
    assert answer.headers["retry-after"]
    assert code(door("GET", "/services/collector/health")) == (503, 18)
    assert door("POST", "/ingest/v1/jsonl", content=b"{}", headers=BEARER).status_code == 503


@given(
    st.lists(
        st.dictionaries(st.text(max_size=4), st.text(max_size=6) | st.integers() | st.none(), max_size=3), max_size=5
    ),
    st.sampled_from(["", "\n", " ", "\r\n\n"]),
)
def test_event_objects_come_back_whatever_stands_between(objects: list[dict[str, object]], between: str) -> None:
    data = between.join(json.dumps(o) for o in objects).encode()
    assert [value for _, value, _ in hec_objects(data, 1 << 20)] == objects


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_no_body_breaks_the_collector(door: Door, body: bytes) -> None:
    for path in ("/services/collector/event", "/services/collector/raw", "/ingest/v1/jsonl"):
        assert door("POST", path, content=body, headers=AUTH).status_code in (200, 400)
    assert door.rig.intake.healthy


# ---------------------------------------------------------------------------------------------- JSON lines


def test_json_lines(door: Door, rig: Rig) -> None:
    body = b'{"EventID":4624,"Channel":"Security"}\nbroken\n{"Type":"AuditLogs","OperationName":"x"}\n'
    answer = door(
        "POST", "/ingest/v1/jsonl", content=zstandard.compress(body), headers={**BEARER, "Content-Encoding": "zstd"}
    )
    assert answer.status_code == 200
    assert answer.json()["accepted"] == len(body)
    assert not answer.json()["duplicate"]
    rig.wait("SecurityEvent", 1)
    rig.wait("AuditLogs", 1)
    (dead,) = rig.wait("DeadLetter_CL", 1)
    assert (dead["Code_s"], base64.b64decode(dead["Raw_s"]), dead["Source_s"]) == ("ING0013", b"broken", "127.0.0.1")


def test_the_table_may_be_named(door: Door, rig: Rig) -> None:
    for options in (
        {"headers": {**BEARER, "X-Tocsin-Table": "SigninLogs"}},
        {"headers": BEARER, "params": {"table": "SigninLogs"}},
    ):
        assert door("POST", "/ingest/v1/jsonl", content=b'{"UserPrincipalName":"u"}', **options).status_code == 200
    assert len(rig.wait("SigninLogs", 2)) == 2
    wrong = door("POST", "/ingest/v1/jsonl", content=b"{}", headers={**BEARER, "X-Tocsin-Table": "SigninLog"})
    assert wrong.status_code == 400
    assert wrong.headers["content-type"] == "application/problem+json"
    assert "SigninLogs" in wrong.json()["hint"]
    assert wrong.json()["code"] == "ING0024"


def test_a_request_id_makes_a_repetition_harmless(door: Door, rig: Rig, tmp_path: Path) -> None:
    headers = {**BEARER, "X-Request-Id": "r1"}
    assert not door("POST", "/ingest/v1/jsonl", content=b'{"a":1}', headers=headers).json()["duplicate"]
    assert door("POST", "/ingest/v1/jsonl", content=b'{"a":1}', headers=headers).json()["duplicate"]
    assert not door("POST", "/ingest/v1/jsonl", content=b'{"a":1}', headers={**headers, "X-Request-Id": "r2"}).json()[
        "duplicate"
    ]
    assert len(rig.wait("Unparsed_CL", 2)) == 2
    # Also after the rows have left the log, and after a restart.
    rig.close()
    again = Rig(tmp_path).start()
    try:
        assert again.replayed == 0
        assert Door(again)("POST", "/ingest/v1/jsonl", content=b'{"a":1}', headers=headers).json()["duplicate"]
    finally:
        again.close()
        rig.close = lambda: None  # type: ignore[method-assign]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer bad"}, {"Authorization": "Bearer "}])
def test_json_lines_need_a_token(door: Door, headers: dict[str, str]) -> None:
    answer = door("POST", "/ingest/v1/jsonl", content=b"{}", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_concurrent_repetitions_wait_for_the_first(rig: Rig) -> None:
    door = Door(rig)

    async def run() -> list[dict[str, Any]]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(door.app), base_url="http://t") as client:
            headers = {**BEARER, "X-Request-Id": "same"}
            answers = await asyncio.gather(
                *(client.post("/ingest/v1/jsonl", content=b'{"a":1}', headers=headers) for _ in range(8))
            )
            return [a.json() for a in answers]

    answers = asyncio.run(run())
    assert sum(not a["duplicate"] for a in answers) == 1
    assert rig.lake.log.last == 1


def test_the_answer_to_a_repetition_may_be_lost_too(rig: Rig) -> None:
    requests = rig.intake.requests
    assert requests.begin("hash:k") is None
    requests.durable("hash:k")
    for _ in range(2):
        # Neither answer reached the sender: it is the same body still.
        found = requests.begin("hash:k")
        assert found is not None
        assert found.result()
    requests.answered("hash:k")
    assert requests.begin("hash:k") is None


def test_unanswered_bodies_are_known_after_any_number_of_crashes(tmp_path: Path) -> None:
    file = tmp_path / "requests.txt"
    first = RequestLog(file)
    first.started()
    first.save([(1000.0, "hash:old"), (1090.0, "hash:a"), (1095.0, "hash:b"), (1100.0, "id:x")])
    # The second run works for minutes; the sender of `a` has its answer, that of `b` isn't back.
    second = RequestLog(file)
    second.started()
    assert second.begin("hash:old") is None
    for key in ("hash:a", "hash:b", "id:x"):
        found = second.begin(key)
        assert found is not None
        assert found.result()
    second.answered("hash:a")
    second.save([(1200.0, "id:y")])
    second.save([(1400.0, "hash:c")])
    third = RequestLog(file)
    third.started()
    assert {k for k in ("hash:a", "hash:b", "hash:c", "id:x", "id:y") if k in third.keys("")} == {
        "hash:b", "hash:c", "id:x", "id:y"
    }  # fmt: skip
    # Answered within a run's last seconds: that answer may be lost as well.
    third.answered("hash:c")
    third.save([(1500.0, "id:z")])
    assert {"hash:b", "hash:c"} == set(RequestLog(file).keys("hash:"))
    # Not for ever.
    third.save([(1090.0 + 86_400 + 30, "id:late")])
    assert set(RequestLog(file).keys("hash:")) == set()
    # A clean stop ends it all.
    third.save([(1090.0 + 86_400 + 31, "hash:d")])
    assert RequestLog(file).keys("hash:") == ["hash:d"]
    third.close()
    assert RequestLog(file).keys("hash:") == []
    assert sorted(RequestLog(file).keys("id:")) == ["id:late", "id:x", "id:y", "id:z"]


def test_keys_that_a_full_disk_refuses_leave_no_half_line_and_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RequestLog(tmp_path / "requests.txt")
    log.save([(1.0, "first")])
    whole = (tmp_path / "requests.txt").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fdatasync", full)
        with pytest.raises(OSError, match="No space"):
            log.save([(2.0, "second")])
    assert (tmp_path / "requests.txt").read_bytes() == whole
    log.save([(2.0, "second")])
    assert (tmp_path / "requests.txt").read_text().endswith("2.000 second\n")
