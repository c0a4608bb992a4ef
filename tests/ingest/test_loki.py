"""Loki's push with a logging handler that speaks it, protobuf under snappy by hand."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loki_logger_handler.formatters.logger_formatter import LoggerFormatter
from loki_logger_handler.loki_logger_handler import LokiLoggerHandler

from tests.ingest.intake_support import Rig
from tests.ingest.shipper_support import TOKENS, packed_rig, refused, serve
from tocsin.ingest.receivers.loki import LokiReceiver, _push_request, parse_labels, read_json, read_protobuf, unsnappy

AUTH = {"Authorization": "Bearer good"}
PROTOBUF = {**AUTH, "Content-Type": "application/x-protobuf"}
LINE = "<38>1 2024-05-01T10:00:00Z web1 sshd 77 - - Failed password for root from 203.0.113.9 port 1 ssh2"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = packed_rig(tmp_path).start()
    yield made
    made.close()


@pytest.fixture
def url(rig: Rig) -> Iterator[str]:
    with serve(
        LokiReceiver(rig.intake, TOKENS.get, max_body_bytes=1 << 20, max_record_bytes=1 << 16).routes()
    ) as found:
        yield found + "/loki/api/v1/push"


def test_a_logging_handler_that_speaks_loki(rig: Rig, url: str) -> None:
    handler = LokiLoggerHandler(
        url=url,
        labels={"job": "shop", "host": "web1"},
        timeout=1,
        additional_headers=dict(AUTH),
        default_formatter=LoggerFormatter(),
    )
    logger = logging.getLogger("tocsin-test-loki")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        for n in range(20):
            logger.warning("odd thing %d", n)
        rows = rig.wait("Unparsed_CL", 20)
    finally:
        logger.removeHandler(handler)
    said = [json.loads(r["RawData"]) for r in rows]
    assert {int(s["message"].split()[-1]) for s in said} == set(range(20))
    assert {s["labels"]["job"] for s in said} == {"shop"}
    assert {r["Computer"] for r in rows} == {"web1"}


def push(*streams: tuple[str, list[tuple[int, str]]]) -> bytes:
    message: Any = _push_request()()
    for labels, entries in streams:
        stream = message.streams.add(labels=labels)
        for nanos, line in entries:
            entry = stream.entries.add(line=line)
            entry.timestamp.seconds, entry.timestamp.nanos = divmod(nanos, 1_000_000_000)
            entry.structured_metadata.add(name="trace", value="t1")
    return message.SerializeToString()  # type: ignore[no-any-return]


def test_protobuf_under_snappy(rig: Rig, url: str) -> None:
    body = push(('{job="varlogs", host="web1"}', [(1714557600_000000001, LINE), (1714557600_000000002, "free text")]))
    answer = httpx.post(url, content=bytes(pa.compress(body, codec="snappy", asbytes=True)), headers=PROTOBUF)
    assert answer.status_code == 204
    assert rig.wait("Syslog", 1)[0]["ProcessName"] == "sshd"
    said = json.loads(rig.wait("Unparsed_CL", 1)[0]["RawData"])
    assert (said["labels"]["job"], said["metadata"]) == ("varlogs", {"trace": "t1"})


def test_json_with_structured_metadata(rig: Rig, url: str) -> None:
    body = {
        "streams": [
            {"stream": {"job": "j"}, "values": [["1714557600000000000", "a", {"k": "v"}], ["1714557600000000001", "b"]]}
        ]
    }
    assert httpx.post(url, json=body, headers=AUTH).status_code == 204
    assert {json.loads(r["RawData"])["message"] for r in rig.wait("Unparsed_CL", 2)} == {"a", "b"}
    assert str(rig.rows("Unparsed_CL")[0]["TimeGenerated"]).startswith("2024-05-01 10:00:00")


def test_whoever_asks_hears_whether_it_is_ready(rig: Rig, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = url.replace("/loki/api/v1/push", "/ready")
    assert (httpx.get(asked).status_code, httpx.get(asked).text) == (200, "ready\n")
    monkeypatch.setattr(type(rig.intake), "pressure", 1.0)
    assert httpx.get(asked).status_code == 503


def test_refusals(rig: Rig, url: str) -> None:
    def post(content: bytes, **headers: str) -> httpx.Response:
        return httpx.post(url, content=content, headers={**PROTOBUF, **headers})

    assert post(b"", Authorization="Bearer bad").status_code == 401
    assert post(b"not snappy").status_code == 400
    # Says that it expands to 4 GiB.
    assert post(b"\xff\xff\xff\xff\x0f" + b"x" * 100).status_code in (400, 413)
    assert post(bytes(pa.compress(bytes(3 << 20), codec="snappy", asbytes=True))).status_code == 413
    assert post(bytes(pa.compress(push(("broken", [(1, "x")])), codec="snappy", asbytes=True))).status_code == 400
    assert post(b"{}", **{"Content-Type": "application/json"}).status_code == 400
    assert post(b"x", **{"Content-Type": "text/plain"}).status_code == 415
    assert rig.lake.log.last == 0


LABELS = st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True), st.text(max_size=6), max_size=4)


@given(LABELS)
def test_labels_come_back(labels: dict[str, str]) -> None:
    escaped = {k: v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for k, v in labels.items()}
    text = "{" + ", ".join(f'{k}="{v}"' for k, v in escaped.items()) + "}"
    assert parse_labels(text) == labels


@given(st.text(max_size=60))
def test_no_text_breaks_labels(text: str) -> None:
    error = refused(lambda: parse_labels("{" + text + "}"))
    assert error is None or error.status == 400


@given(st.binary(max_size=4000))
def test_snappy_comes_back(data: bytes) -> None:
    assert unsnappy(bytes(pa.compress(data, codec="snappy", asbytes=True)), 1 << 20) == data


@given(st.binary(max_size=80))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    for read in (read_json, read_protobuf, lambda d: unsnappy(d, 1 << 20)):
        error = refused(lambda read=read: list(read(data)))  # type: ignore[misc]
        assert error is None or error.status in (400, 413)
