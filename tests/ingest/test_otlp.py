"""OTLP over HTTP with OpenTelemetry's own exporter, and JSON by hand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from tests.ingest.intake_support import Rig
from tests.ingest.shipper_support import TOKENS, packed_rig, refused, serve
from tocsin.ingest.receivers.otlp import OtlpReceiver, read_json, read_protobuf

AUTH = {"Authorization": "Bearer good"}
PROTOBUF = {**AUTH, "Content-Type": "application/x-protobuf"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = packed_rig(tmp_path).start()
    yield made
    made.close()


@pytest.fixture
def url(rig: Rig) -> Iterator[str]:
    with serve(
        OtlpReceiver(rig.intake, TOKENS.get, max_body_bytes=1 << 20, max_record_bytes=1 << 16).routes()
    ) as found:
        yield found


@pytest.mark.parametrize("compression", [Compression.Gzip, Compression.NoCompression])
def test_the_official_exporter(rig: Rig, url: str, compression: Compression) -> None:
    provider = LoggerProvider(resource=Resource.create({"host.name": "web1", "service.name": "shop"}))
    exporter = OTLPLogExporter(endpoint=f"{url}/v1/logs", headers=AUTH, compression=compression)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("tests")
    text = "<38>1 2024-05-01T10:00:00Z web1 sshd 77 - - Failed password for root from 203.0.113.9 port 1 ssh2"
    logger.emit(body="something odd", severity_text="WARN", attributes={"user": "mallory"}, observed_timestamp=1)
    logger.emit(body=text)
    provider.shutdown()
    (row,) = rig.wait("Unparsed_CL", 1)
    said = json.loads(row["RawData"])
    assert (said["message"], said["severity_text"], said["attributes"]["user"]) == ("something odd", "WARN", "mallory")
    assert said["resource"]["service.name"] == "shop"
    assert row["Computer"] == "web1"
    (line,) = rig.wait("Syslog", 1)
    assert (line["ProcessName"], line["HostName"]) == ("sshd", "web1")


def record(body: Any, **more: Any) -> dict[str, Any]:
    return {"timeUnixNano": "1714557600000000000", "severityText": "INFO", "body": body, **more}


def message(*records: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceLogs": [
            {
                "resource": {"attributes": [{"key": "host.name", "value": {"stringValue": "dc1"}}]},
                "scopeLogs": [{"scope": {"name": "s"}, "logRecords": list(records)}],
            }
        ]
    }


def value(of: Any) -> dict[str, Any]:
    if isinstance(of, dict):
        return {"kvlistValue": {"values": [{"key": k, "value": value(v)} for k, v in of.items()]}}
    if isinstance(of, list):
        return {"arrayValue": {"values": [value(v) for v in of]}}
    if isinstance(of, bool):
        return {"boolValue": of}
    if isinstance(of, int):
        return {"intValue": str(of)}
    return {"stringValue": of}


def test_windows_events_of_the_collector_fire_the_same_parsers(rig: Rig, url: str) -> None:
    event = {
        "channel": "Security", "computer": "DC01.corp.example", "event_id": {"id": 4625, "qualifiers": 0}, "keywords": ["Audit Failure"],
        "level": "Information", "message": "An account failed to log on.", "opcode": "Info", "record_id": 4711,
        "provider": {"guid": "{54849625-5478-4994-a5ba-3e3b0328c30d}", "name": "Microsoft-Windows-Security-Auditing", "event_source": ""},
        "system_time": "2024-05-01T10:00:00.123Z", "task": "Logon", "execution": {"process_id": 712, "thread_id": 800},
    }  # fmt: skip
    fields = {"TargetUserName": "mallory", "IpAddress": "203.0.113.9", "LogonType": "3"}
    listed = {**event, "event_data": {"data": [{k: v} for k, v in fields.items()]}}
    mapped = {**event, "event_data": fields}
    answer = httpx.post(f"{url}/v1/logs", json=message(record(value(listed)), record(value(mapped))), headers=AUTH)
    assert (answer.status_code, answer.json()) == (200, {})
    rows = rig.wait("SecurityEvent", 2)
    assert {
        (r["EventID"], r["TargetUserName"], r["IpAddress"], r["Computer"], str(r["TimeGenerated"])) for r in rows
    } == {(4625, "mallory", "203.0.113.9", "DC01.corp.example", "2024-05-01 10:00:00.123000")}


def test_records_that_are_too_long_are_refused_one_by_one(rig: Rig, url: str) -> None:
    body = message(record(value("short")), record(value("x" * 70_000)))
    answer = httpx.post(f"{url}/v1/logs", json=body, headers=AUTH)
    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedLogRecords"] == "1"
    request = ExportLogsServiceRequest()
    logs = request.resource_logs.add().scope_logs.add().log_records
    logs.add().body.string_value = "x" * 70_000
    answer = httpx.post(f"{url}/v1/logs", content=request.SerializeToString(), headers=PROTOBUF)
    reply = ExportLogsServiceResponse.FromString(answer.content)
    assert reply.partial_success.rejected_log_records == 1
    assert "max_record_bytes" in reply.partial_success.error_message
    rig.wait("Unparsed_CL", 1)
    assert {d["Code_s"] for d in rig.wait("DeadLetter_CL", 2)} == {"ING0012"}


def test_refusals(rig: Rig, url: str) -> None:
    def post(path: str = "/v1/logs", content: bytes = b"", **headers: str) -> httpx.Response:
        return httpx.post(url + path, content=content, headers={**PROTOBUF, **headers})

    assert post(Authorization="Bearer bad").status_code == 401
    assert post(content=b"\xff" * 40).status_code == 400
    assert post(content=b"{", **{"Content-Type": "application/json"}).json()["code"] == 3
    assert post(**{"Content-Type": "text/plain"}).status_code == 415
    assert post(content=gzip.compress(bytes(8 << 20)), **{"Content-Encoding": "gzip"}).status_code == 413
    traces = post("/v1/traces")
    assert traces.status_code == 501
    assert traces.headers["content-type"] == "application/x-protobuf"
    # A status: field 1 is the code (12, unimplemented), field 2 the message.
    assert traces.content[:2] == b"\x08\x0c"
    assert b"/v1/logs" in traces.content
    assert post("/v1/metrics", **{"Content-Type": "application/json"}).json()["code"] == 12
    assert rig.lake.log.last == 0


JSON = st.recursive(
    st.booleans() | st.integers(-(1 << 62), 1 << 62) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_both_encodings_say_the_same(body: Any) -> None:
    from google.protobuf import json_format

    sent = message(record(value(body), attributes=[{"key": "k", "value": value(body)}]))
    (from_json,) = read_json(json.dumps(sent).encode())
    parsed = json_format.Parse(json.dumps(sent), ExportLogsServiceRequest())
    (from_protobuf,) = read_protobuf(parsed.SerializeToString())
    assert from_json == from_protobuf
    assert from_json.body == body
    assert json.loads(from_json.line())["host"] == "dc1"


@given(st.binary(max_size=100))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    for read in (read_json, read_protobuf):
        error = refused(lambda read=read: [found.line() for found in read(data)])  # type: ignore[misc]
        assert error is None or error.status == 400


NAMES = st.sampled_from(
    [
        *("resourceLogs", "scopeLogs", "logRecords", "body", "attributes", "key", "value", "kvlistValue", "values"),
        *("arrayValue", "intValue", "bytesValue", "resource", "scope", "timeUnixNano"),
    ]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@given(TREES)
def test_no_json_breaks_the_reader(data: Any) -> None:
    sent = json.dumps({"resourceLogs": [data], "x": data}).encode()
    error = refused(lambda: [found.line() for found in read_json(sent)])
    assert error is None or error.status == 400
