"""Azure Monitor's ingestion APIs: the official SDK over TLS, and the signed API before it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.monitor.ingestion import LogsIngestionClient
from hypothesis import given
from hypothesis import strategies as st

from tests.ingest.intake_support import Rig
from tests.ingest.shipper_support import TOKENS, Certificates, packed_rig, serve
from tocsin.ingest.custom import MAX_COLUMNS, OVERFLOW, custom_rows, typed_rows
from tocsin.ingest.receivers.azure import AzureReceiver, signature, suffixed
from tocsin.kql.types import Column, KqlType
from tocsin.tables import custom_schema

KEY = base64.b64encode(b"a secret of a workspace").decode()
WORKSPACE = "11111111-2222-3333-4444-555555555555"

# On a busy machine the default five seconds are too short.
post = partial(httpx.post, timeout=60)


class Credential:
    """What a token of Tocsin looks like to the SDK."""

    def __init__(self, token: str) -> None:
        self.token = token

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken(self.token, 1 << 33)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = packed_rig(tmp_path / "rig").start()
    yield made
    made.close()


@pytest.fixture
def receiver(rig: Rig) -> AzureReceiver:
    return AzureReceiver(rig.intake, TOKENS.get, max_body_bytes=1 << 20, shared_keys={WORKSPACE.upper(): KEY})


def refusal(client: LogsIngestionClient, stream: str) -> tuple[int | None, str, bool]:
    """(status, name, whether it names the nearest table) of a refused upload."""
    try:
        client.upload(rule_id="dcr-1", stream_name=stream, logs=[{"a": 1}])
    except HttpResponseError as error:
        said: Any = error
        said.response.internal_response.close()
        return error.status_code, said.error.code, "Syslog'" in error.message
    return None, "", False


def test_the_official_sdk(rig: Rig, receiver: AzureReceiver, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls")
    with (
        serve(receiver.routes(), certificates) as url,
        LogsIngestionClient(url, Credential("good"), connection_verify=str(certificates.ca)) as client,
    ):
        rows = [
            {"TimeGenerated": "2024-05-01T10:00:00Z", "Count": n, "Ratio": n / 2, "Ok": n > 1, "Who": f"u{n}", "More": {"a": [n]},
             "Seen": "2024-05-01T09:00:00.5Z"}
            for n in range(3)
        ]  # fmt: skip
        client.upload(rule_id="dcr-1", stream_name="Custom-Mine_CL", logs=rows)
        client.upload(rule_id="dcr-1", stream_name="Custom-Mine_CL", logs=[{"Count": "seven", "New": 1}])
        client.upload(
            rule_id="dcr-1",
            stream_name="Microsoft-Syslog",
            logs=[{"TimeGenerated": "2024-05-01T10:00:00Z", "SyslogMessage": "hi", "Computer": "h1"}],
        )
        client.upload(
            rule_id="dcr-1",
            stream_name="Microsoft-SecurityEvent",
            logs=[{"TimeGenerated": "2024-05-01T10:00:00Z", "EventID": 4625, "Channel": "Security", "TargetUserName": "mallory", "Computer": "dc"}],
        )  # fmt: skip
        assert refusal(client, "Custom-Syslogg") == (400, "InvalidStream", True)
        with LogsIngestionClient(url, Credential("bad"), connection_verify=str(certificates.ca)) as bad:
            assert refusal(bad, "Custom-Mine_CL") == (401, "InvalidToken", False)
    rows = rig.wait("Mine_CL", 4)
    first = next(r for r in rows if r.get("Who") == "u2")
    assert (first["Count"], first["Ratio"], first["Ok"], json.loads(first["More"])) == (2, 1.0, True, {"a": [2]})
    assert str(first["Seen"]) == "2024-05-01 09:00:00.500000"
    assert str(first["TimeGenerated"]) == "2024-05-01 10:00:00"
    (late,) = [r for r in rows if r.get("New") == 1]
    assert late["Count"] is None
    assert [c.type for c in rig.lake.schema("Mine_CL").columns if c.name in ("Count", "Seen", "More")] == [
        KqlType.LONG, KqlType.DYNAMIC, KqlType.DATETIME,
    ]  # fmt: skip
    assert rig.wait("Syslog", 1)[0]["SyslogMessage"] == "hi"
    assert rig.wait("SecurityEvent", 1)[0]["TargetUserName"] == "mallory"


def test_a_repeated_upload_is_taken_once(rig: Rig, receiver: AzureReceiver) -> None:
    with serve(receiver.routes()) as url:
        path = f"{url}/dataCollectionRules/dcr-1/streams/Custom-Mine_CL?api-version=2023-01-01"
        headers = {"Authorization": "Bearer good", "x-ms-client-request-id": "r1"}
        for body in ([{"n": 1}], [{"n": 1}], [{"n": 2}]):
            assert post(path, json=body, headers=headers).status_code == 204
        assert post(path.partition("?")[0], json=[{}], headers=headers).status_code == 400
        assert post(path, content=b"[{}]", headers=headers).json()["error"]["code"] == "MissingContentType"
        headers["Content-Type"] = "text/csv"
        assert post(path, content=b"[{}]", headers=headers).json()["error"]["code"] == "UnsupportedContentType"
        headers["Content-Type"] = "application/json; charset=utf-8"
        for content in (b"{}", b"[1]", b"\xff\xff", b""):
            assert post(path, content=content, headers=headers).json()["error"]["code"] == "InvalidRequest"
        assert post(path, content=b"[" + b" " * (1 << 20), headers=headers).status_code == 413
    assert sorted(r["n"] for r in rig.wait("Mine_CL", 2)) == [1, 2]


def collect(url: str, body: object, *, key: str = KEY, age: timedelta = timedelta(), **headers: str) -> httpx.Response:
    content = json.dumps(body).encode()
    date = format_datetime(datetime.now(UTC) - age, usegmt=True)
    signed = signature(key, len(content), "application/json", date)
    return post(
        f"{url}/api/logs?api-version=2016-04-01",
        content=content,
        headers={"Content-Type": "application/json", "Log-Type": "Legacy", "x-ms-date": date,
                 "Authorization": f"SharedKey {WORKSPACE}:{signed}", **headers},
    )  # fmt: skip


def test_the_data_collector_api(rig: Rig, receiver: AzureReceiver) -> None:
    guid = "0f8fad5b-d9cb-469f-a165-70867728950e"
    row = {
        "Name": "x",
        "Count": 3,
        "Ok": False,
        "When": "2024-05-01T10:00:00Z",
        "Id": guid,
        "Computer": "h1",
        "Deep": {"a": 1},
    }
    with serve(receiver.routes()) as url:
        assert collect(url, [row], **{"time-generated-field": "When"}).status_code == 200
        assert collect(url, row, **{"x-ms-AzureResourceId": "/subscriptions/1"}).status_code == 200
        for answer in (
            collect(url, row, key=base64.b64encode(b"wrong").decode()),
            collect(url, row, age=timedelta(hours=1)),
            collect(url, row, Authorization="Bearer good"),
            collect(url, row, Authorization=f"SharedKey other:{KEY}"),
        ):
            assert (answer.status_code, answer.json()["Error"]) == (403, "InvalidAuthorization")
        assert collect(url, row, **{"Log-Type": "1 bad"}).status_code == 400
        assert collect(url, "text").status_code == 400
    rows = sorted(rig.wait("Legacy_CL", 2), key=lambda r: r["_ResourceId"] or "")
    assert {k: rows[0][k] for k in ("Name_s", "Count_d", "Ok_b", "Id_g", "Computer", "Deep_s")} == {
        "Name_s": "x", "Count_d": 3.0, "Ok_b": False, "Id_g": guid, "Computer": "h1", "Deep_s": '{"a":1}',
    }  # fmt: skip
    assert str(rows[0]["When_t"]) == str(rows[0]["TimeGenerated"]) == "2024-05-01 10:00:00"
    assert rows[1]["_ResourceId"] == "/subscriptions/1"
    assert [s.errors for s in rig.intake.sources() if s.kind == "azure" and s.errors] == [6]


def test_the_signature_is_the_documented_one() -> None:
    """Recomputed by hand from the documentation: HMAC-SHA256 over the five lines, key and result in base64."""
    import hashlib
    import hmac

    date = "Mon, 04 Apr 2016 08:00:00 GMT"
    text = f"POST\n1024\napplication/json\nx-ms-date:{date}\n/api/logs"
    expected = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode("utf-8"), hashlib.sha256).digest()).decode()
    assert signature(KEY, 1024, "application/json", date) == expected
    assert signature("no base64!", 1, "", "") == ""


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
)
NAMES = st.sampled_from(["a", "b_s", "c_d", "d_b", "e_t", "f_g", "TimeGenerated"])
ROWS = st.lists(st.dictionaries(NAMES, VALUES, min_size=1), min_size=1, max_size=6)


@given(ROWS, ROWS)
def test_rows_of_any_types_fit_one_table(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    made = custom_rows(typed_rows(first), None)
    assert made.num_rows == len(first)
    from tocsin.lake.engine.physical import kql_type

    schema = custom_schema("X_CL", [Column(f.name, kql_type(f)) for f in made.schema])
    again = custom_rows(typed_rows(second), schema)
    assert again.num_rows == len(second)
    types = {c.name: c.type for c in schema.columns}
    for field in again.schema:
        if field.name in types:
            assert kql_type(field) is types[field.name]


@given(st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=5))
def test_suffixes_name_types(row: dict[str, Any]) -> None:
    out = suffixed(row)
    assert len(out) <= len([v for v in row.values() if v is not None]) + 1
    assert all(
        name[-2:] in ("_s", "_d", "_b", "_t", "_g") or name in ("TimeGenerated", "Computer", "RawData") for name in out
    )


def test_a_table_grows_to_five_hundred_columns() -> None:
    made = custom_rows(typed_rows([{f"c{n}": n for n in range(600)}]), None)
    assert len({*made.column_names, "TimeGenerated"}) == MAX_COLUMNS
    assert len(json.loads(made.column(OVERFLOW)[0].as_py())) == 102
    schema = custom_schema("X_CL", [Column(f"c{n}", KqlType.LONG) for n in range(480)])
    later = custom_rows(typed_rows([{"c1": 1, **{f"d{n}": n for n in range(50)}}]), schema)
    assert later.column("c1")[0].as_py() == 1
    assert len(schema.columns) + len(set(later.column_names) - {"c1"}) <= MAX_COLUMNS
    kept = {n for n in later.column_names if n.startswith("d")} | set(json.loads(later.column(OVERFLOW)[0].as_py()))
    assert kept == {f"d{n}" for n in range(50)}
