"""Elasticsearch's bulk API with the official client and by hand, over real sockets."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import ApiError, AuthenticationException, Elasticsearch, helpers
from hypothesis import given
from hypothesis import strategies as st

from tests.ingest.intake_support import Rig
from tests.ingest.shipper_support import TOKENS, WINLOGBEAT, packed_rig, refused, serve
from tocsin.ingest.receivers.elastic import Bulk, ElasticReceiver, read_bulk

AUTH = {"Authorization": "ApiKey " + base64.b64encode(b"id:good").decode()}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = packed_rig(tmp_path).start()
    yield made
    made.close()


@pytest.fixture
def url(rig: Rig) -> Iterator[str]:
    with serve(
        ElasticReceiver(rig.intake, TOKENS.get, max_body_bytes=1 << 20, max_record_bytes=1 << 16).routes()
    ) as found:
        yield found


def bulk(url: str, body: bytes, path: str = "/_bulk", **headers: str) -> httpx.Response:
    headers = {"Content-Type": "application/x-ndjson", **AUTH, **headers}
    return httpx.post(url + path, content=body, headers=headers)


@pytest.mark.parametrize("base", ["", "/elastic"])
@pytest.mark.parametrize(
    "how", [{"api_key": ("id", "good")}, {"basic_auth": ("anyone", "good")}, {"bearer_auth": "good"}]
)
def test_the_official_client(rig: Rig, url: str, base: str, how: dict[str, Any]) -> None:
    with Elasticsearch(url + base, **how) as client:
        assert client.info()["version"]["number"]
        actions = [{"_index": "winlogbeat-8.17", "_op_type": "create", "_source": WINLOGBEAT} for _ in range(3)]
        done, failed = helpers.bulk(client, actions)
        assert (done, failed) == (3, [])
        assert client.index(index="logs", document={"hello": "world"})["result"] == "created"
        assert client.cluster.health()["status"] == "green"
        assert client.ilm.get_lifecycle(name="p")["p"]
        client.indices.put_index_template(name="t", index_patterns=["t-*"])
        client.ingest.put_pipeline(id="x", processors=[])
        assert client.indices.exists_index_template(name="t")
        assert client.indices.create(index="logs-new")["acknowledged"]
        client.indices.create_data_stream(name="logs-app-default")
        assert client.indices.refresh(index="logs")["_shards"]["failed"] == 0
        # What isn't taken is refused as Elasticsearch refuses, never answered by the portal's page.
        for ask in (client.cat.health, client.security.authenticate, lambda: client.count(index="logs")):
            with pytest.raises(ApiError) as told:
                ask()
            assert told.value.status_code == 501
    rows = rig.wait("SecurityEvent", 3)
    assert {(r["EventID"], r["TargetUserName"], r["IpAddress"], r["Computer"]) for r in rows} == {
        (4625, "mallory", "203.0.113.9", "DC01.corp.example")
    }
    assert str(rows[0]["TimeGenerated"]).startswith("2024-05-01 10:00:00.123")
    assert json.loads(rig.wait("Unparsed_CL", 1)[0]["RawData"])["hello"] == "world"


def test_a_wrong_token_is_elastics_own_error(rig: Rig, url: str) -> None:
    with Elasticsearch(url, api_key=("id", "bad")) as client, pytest.raises(AuthenticationException):
        client.info()
    answer = bulk(url, b"{}", Authorization="Basic ???")
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "security_exception"
    assert answer.headers["x-elastic-product"] == "Elasticsearch"
    assert [s.errors for s in rig.intake.sources() if s.kind == "elastic"] == [2]


def test_what_beats_ask_before_they_send(url: str) -> None:
    with httpx.Client(base_url=url, headers={**AUTH, "Accept": "application/json"}) as client:
        assert client.get("/").json()["tagline"] == "You Know, for Search"
        assert client.get("/_license").json()["license"]["status"] == "active"
        assert client.get("/_xpack").json()["features"]["ilm"]["enabled"]
        assert client.head("/_index_template/filebeat-8.17.0").status_code == 200
        assert client.get("/_ilm/policy/filebeat").status_code == 200
        assert client.put("/_ilm/policy/filebeat", json={}).json() == {"acknowledged": True}
        assert client.head("/_alias/filebeat").status_code == 200
        assert client.put("/_ingest/pipeline/winlogbeat-routing", json={}).json()["acknowledged"]
        assert client.get("/_nodes/http").json()["nodes"]
        refused = client.get("/elastic/logs/_search")
        assert refused.status_code == 501
        assert "KQL" in refused.json()["error"]["reason"]
    # A browser at the root isn't a client of Elasticsearch.
    assert httpx.get(url, headers={"Accept": "text/html,*/*"}).status_code == 404


def test_errors_are_told_item_by_item_and_kept(rig: Rig, url: str) -> None:
    body = b"".join(
        (
            b'{"create":{}}\n{"@timestamp":"2024-05-01T10:00:00Z","n":1}\n',
            b'{"index":{"_index":"i"}}\nbroken\n',
            b'{"delete":{"_index":"i","_id":"1"}}\n',
            b'{"update":{"_index":"i","_id":"1"}}\n{"doc":{}}\n',
            b'{"index":{}}\n[1]\n',
            b'{"index":{"_id":"seven"}}\n{"n":2}\n',
            b'{"index":{}}\n{"long":"' + b"x" * 70_000 + b'"}\n',
        )
    )
    answer = bulk(url, gzip.compress(body), "/logs-a/_bulk", **{"Content-Encoding": "gzip"}).json()
    assert answer["errors"] is True
    assert [next(iter(i.values()))["status"] for i in answer["items"]] == [201, 400, 400, 400, 400, 201, 413]
    assert answer["items"][5]["index"]["_id"] == "seven"
    assert answer["items"][0]["create"]["_index"] == "logs-a"
    kept = [json.loads(r["RawData"]) for r in rig.wait("Unparsed_CL", 2)]
    assert sorted(k["n"] for k in kept) == [1, 2]
    dead = rig.wait("DeadLetter_CL", 3)
    assert sorted(d["Code_s"] for d in dead) == ["ING0012", "ING0013", "ING0014"]
    assert {d["Source_s"] for d in dead} == {"agent-1"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b'{"index":{"_index":"i"}}\n{"a":1}', 400),
        (b"nonsense\n", 400),
        (b'{"index":{"_index":"i"}}\n', 400),
        (b'{"index":{"_index":"i"}}\n' + b'{"a":"' + b"x" * (1 << 20) + b'"}\n', 413),
    ],
)
def test_what_refuses_a_whole_request(rig: Rig, url: str, body: bytes, status: int) -> None:
    answer = bulk(url, body)
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert rig.lake.log.last == 0


def test_a_compressed_bomb_is_refused(url: str) -> None:
    answer = bulk(url, gzip.compress(b"\n" * (64 << 20)), **{"Content-Encoding": "gzip"})
    assert answer.status_code == 413
    assert bulk(url, b"not gzip at all", **{"Content-Encoding": "gzip"}).status_code == 400
    assert bulk(url, b"x", **{"Content-Encoding": "rot13"}).status_code == 415


def test_documents_with_ids_are_there_once(rig: Rig, url: str) -> None:
    body = b'{"create":{"_index":"i","_id":"a"}}\n{"n":1}\n{"create":{"_index":"i","_id":"b"}}\n{"n":2}\n'
    assert bulk(url, body).json()["errors"] is False
    assert bulk(url, body).json()["errors"] is False
    bulk(url, body.replace(b'"b"', b'"c"'))
    assert len(rig.wait("Unparsed_CL", 4)) == 4


def test_a_full_intake_pushes_back(rig: Rig, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(rig.intake), "pressure", property(lambda _: 1.5))
    answer = bulk(url, b'{"index":{"_index":"i"}}\n{"a":1}\n')
    assert answer.status_code == 429
    assert answer.headers["retry-after"]


def test_a_line_within_a_document_is_read_as_what_it_is(rig: Rig, url: str) -> None:
    """Filebeat sends a log's line as `message`; a parser must see the line."""
    line = "May  1 10:00:00 web1 sshd[77]: Failed password for root from 203.0.113.9 port 4711 ssh2"
    document = {
        "@timestamp": "2024-05-01T10:00:01Z",
        "message": line,
        "host": {"name": "web1"},
        "log": {"file": {"path": "/var/log/auth.log"}},
    }
    bulk(url, b'{"create":{"_index":"filebeat"}}\n' + json.dumps(document).encode() + b"\n")
    (row,) = rig.wait("Syslog", 1)
    assert (row["ProcessName"], row["HostName"]) == ("sshd", "web1")
    assert row["SyslogMessage"].startswith("Failed password")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["index", "create"]),
            st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=9,
    )
)
def test_every_document_comes_back(documents: list[tuple[str, dict[str, Any]]]) -> None:
    body = b"".join(json.dumps({verb: {}}).encode() + b"\n" + json.dumps(d).encode() + b"\n" for verb, d in documents)
    read = read_bulk(body, "i", 1 << 20)
    assert not read.errors
    assert [next(iter(i)) for i in read.items] == [verb for verb, _ in documents]
    assert [json.loads(line)["event"] for line in read.lines] == [d for _, d in documents]


@given(st.binary(max_size=120), st.booleans())
def test_no_body_breaks_the_reader(body: bytes, framed: bool) -> None:
    if framed:
        body = b'{"index":{}}\n' + body.replace(b"\n", b"") + b"\n"
    read: list[Bulk] = []
    error = refused(lambda: read.append(read_bulk(body, "i", 64)))
    assert error is None or error.status == 400
    for one in read:
        assert len(one.lines) + sum("error" in next(iter(i.values())) for i in one.items) == len(one.items)
