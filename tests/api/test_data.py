"""Queries, schema, rules, tables, dead letters, audit, users over HTTP, on a real lake."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pyarrow as pa
import pytest

from tests.api.conftest import ADMIN, PHRASE, Served
from tocsin.lake import TableBatch


@pytest.fixture(scope="module")
def filled(served: Served) -> Served:
    start = datetime(2026, 3, 1, 12, tzinfo=UTC).replace(tzinfo=None)
    times = [start + timedelta(minutes=n) for n in range(100)]
    rows = pa.table(
        {
            "TimeGenerated": pa.array(times, pa.timestamp("us")),
            "_TimeReceived": pa.array([t + timedelta(seconds=2) for t in times], pa.timestamp("us")),
            "Computer": [f"host{n % 3}" for n in range(100)],
            "EventID": pa.array(range(100), pa.int32()),
        }
    )
    served.workspace.lake.write([TableBatch("SecurityEvent", rows)])
    served.workspace.lake.flush()
    return served


@pytest.fixture
def reader(filled: Served, clients: dict[str, httpx.Client]) -> httpx.Client:
    return clients["Reader"]


def ask(client: httpx.Client, query: str, **more: Any) -> Any:
    answer = client.post("/api/v1/query", json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_query_gives_typed_columns_and_rows(reader: httpx.Client) -> None:
    answer = ask(
        reader,
        "SecurityEvent | summarize n=count() by Computer | sort by Computer asc | render piechart with (title='x')",
    )
    assert answer["columns"] == [{"name": "Computer", "type": "string"}, {"name": "n", "type": "long"}]
    assert answer["rows"] == [["host0", 34], ["host1", 33], ["host2", 33]]
    assert answer["truncated"] is False
    assert answer["render"]["visualization"] == "piechart"
    assert answer["render"]["properties"] == {"title": "x"}
    assert answer["seconds"] > 0


def test_a_window_and_a_limit(reader: httpx.Client) -> None:
    window = {"start": "2026-03-01T12:10:00Z", "end": "2026-03-01T13:20:00+01:00"}
    assert ask(reader, "SecurityEvent | count", **window)["rows"] == [[10]]
    few = ask(reader, "SecurityEvent | project EventID", limit=7)
    assert (len(few["rows"]), few["truncated"]) == (7, True)


def test_values_of_every_kind_survive(reader: httpx.Client) -> None:
    query = "print a=real(nan), b=real(+inf), c=dynamic({'n': null}), d=1d+2s, e=datetime(null), g=decimal(1.5), h=true"
    (row,) = ask(reader, query)["rows"]
    assert row[0] == "NaN"
    assert row[1] == "Infinity"
    assert row[3] == "1.00:00:02"
    assert row[4] is None
    assert row[6] is True


def test_diagnostics(reader: httpx.Client) -> None:
    assert reader.post("/api/v1/kql/diagnostics", json={"query": "SecurityEvent | take 5"}).json() == {
        "diagnostics": []
    }
    assert reader.post("/api/v1/kql/diagnostics", json={"query": ""}).json() == {"diagnostics": []}
    (found,) = reader.post("/api/v1/kql/diagnostics", json={"query": "SecurityEvent | tke 5"}).json()["diagnostics"]
    assert {"code", "message", "severity", "line", "column", "start", "end", "hint"} < found.keys()


def test_a_query_ends_when_its_asker_goes_away(filled: Served) -> None:
    slow = "range a from 1 to 200000 step 1 | extend k=1 | join kind=inner (range b from 1 to 200000 step 1 | extend k=1) on k | summarize sum(a * b)"

    def give_up() -> None:
        with filled.client("reader") as client, pytest.raises(httpx.ReadTimeout):
            client.post("/api/v1/query", json={"query": slow}, timeout=1)

    thread = threading.Thread(target=give_up)
    thread.start()
    thread.join()
    deadline = time.monotonic() + 30  # by itself it would end after 60 s
    while filled.workspace.queries.running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert filled.workspace.queries.running() == []


def test_the_schema_s_version_and_tag(filled: Served, reader: httpx.Client) -> None:
    answer = reader.get("/api/v1/schema")
    schema = answer.json()
    by_name = {t["name"]: t for t in schema["tables"]}
    assert by_name["SecurityEvent"]["has_data"] is True
    assert by_name["DeviceEvents"]["has_data"] is False
    assert {"name": "Computer", "type": "string"}.items() <= next(
        c for c in by_name["SecurityEvent"]["columns"] if c["name"] == "Computer"
    ).items()
    assert not any(c["name"].startswith("_Time") for c in by_name["SecurityEvent"]["columns"])
    assert "_GetWatchlist" in [f["name"] for f in schema["functions"]]
    again = reader.get("/api/v1/schema", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    core = reader.get("/api/v1/schema?tables=core").json()
    assert "SecurityEvent" in [t["name"] for t in core["tables"]]
    assert len(core["tables"]) < len(schema["tables"]) / 3
    rows = pa.table(
        {
            "TimeGenerated": pa.array([datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)], pa.timestamp("us")),
            "_TimeReceived": pa.array([datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)], pa.timestamp("us")),
            "Colour_s": ["red"],
        }
    )
    filled.workspace.lake.write([TableBatch("Mine_CL", rows)])
    filled.workspace.lake.flush()
    changed = reader.get("/api/v1/schema", headers={"If-None-Match": answer.headers["etag"]})
    assert changed.status_code == 200
    assert changed.json()["version"] == schema["version"] + 1
    assert "Mine_CL" in [t["name"] for t in changed.json()["tables"]]


def test_tables(reader: httpx.Client) -> None:
    found = {t["name"]: t for t in reader.get("/api/v1/tables").json()["items"]}["SecurityEvent"]
    assert (found["rows"], found["latency_seconds"]) == (100, 2.0)
    assert (found["first_event"], found["last_event"]) == ("2026-03-01T12:00:00Z", "2026-03-01T13:39:00Z")
    assert found["bytes"] > 0
    assert found["category"]


def test_dead_letters(filled: Served, reader: httpx.Client) -> None:
    assert reader.get("/api/v1/dead-letters").json()["total"] == 0
    now = datetime(2026, 3, 1, 12, tzinfo=UTC).replace(tzinfo=None)
    names = {"Source_s": "hec", "Code_s": "ING0012", "Reason_s": "no JSON", "Place_s": "byte 3", "Raw_s": "eA=="}
    rows = pa.table(
        {
            "TimeGenerated": pa.array([now], pa.timestamp("us")),
            "_TimeReceived": pa.array([now], pa.timestamp("us")),
            **{k: [v] for k, v in names.items()},
        }
    )
    filled.workspace.lake.write([TableBatch("DeadLetter_CL", rows)])
    filled.workspace.lake.flush()
    page = reader.get("/api/v1/dead-letters?limit=5").json()
    assert (page["total"], page["replayable"], page["counts"]["code"]) == (1, 0, {"ING0012": 1})
    (letter,) = page["items"]
    assert {
        "time": "2026-03-01T12:00:00.0000000Z",
        "source": "hec",
        "code": "ING0012",
        "reason": "no JSON",
        "place": "byte 3",
        "raw": "eA==",
    }.items() <= letter.items()


def test_rules_are_listed_written_and_switched(filled: Served, clients: dict[str, httpx.Client]) -> None:
    client = clients["Contributor"]
    items = client.get("/api/v1/rules").json()["items"]
    assert len(items) >= 40
    one = client.get(f"/api/v1/rules/{items[0]['id']}").json()
    assert one["query"]
    assert one["yaml"].strip()
    new = {
        "name": "Many logons ../../etc", "query": "SecurityEvent | where EventID > 90 | project TimeGenerated, Computer", "severity": "High",
        "tactics": ["CredentialAccess"], "techniques": ["T1110"], "frequency": "5m", "period": "10m", "threshold": 2,
        "entity_mappings": [{"type": "Host", "fields": [{"identifier": "HostName", "column": "Computer"}]}],
    }  # fmt: skip
    made = client.post("/api/v1/rules", json=new)
    assert made.status_code == 201, made.text
    rule = made.json()
    assert (rule["enabled"], rule["frequency"], rule["threshold"]) == (True, "5m", 2)
    assert (
        filled.workspace.settings.data.resolve()
        in type(filled.workspace.settings.data)(rule["source"]).resolve().parents
    )
    switched = client.patch(f"/api/v1/rules/{rule['id']}", json={"enabled": False}).json()
    assert switched["enabled"] is False
    assert {r["id"]: r["enabled"] for r in client.get("/api/v1/rules").json()["items"]}[rule["id"]] is False
    wrong = client.post("/api/v1/rules", json={**new, "query": "SecurityEvent | wher x"})
    assert wrong.status_code == 400
    assert wrong.json()["diagnostics"]
    wrong = client.post(
        "/api/v1/rules",
        json={**new, "entity_mappings": [{"type": "Host", "fields": [{"identifier": "HostName", "column": "Nope"}]}]},
    )
    assert wrong.status_code == 422
    with filled.workspace.state.read() as unit:
        assert [r.action for r in unit.audit.page(object_id=rule["id"])[0]] == ["rule.switch", "rule.create"]


def test_users_tokens_and_the_audit_log(fresh: Served) -> None:
    with fresh.client("administrator") as client:
        made = client.post(
            "/api/v1/users", json={"name": "zoe", "display_name": "Zoë", "password": PHRASE, "roles": ["Reader"]}
        )
        assert made.status_code == 201
        assert made.json()["display_name"] == "Zoë"
        assert (
            client.post("/api/v1/users", json={"name": "ZOE", "password": PHRASE, "roles": ["Reader"]}).json()["code"]
            == "ACC0007"
        )
        assert (
            client.post("/api/v1/users", json={"name": "x", "password": "short", "roles": ["Reader"]}).json()["code"]
            == "ACC0006"
        )
        assert (
            client.post("/api/v1/users", json={"name": "x", "password": PHRASE, "roles": ["King"]}).status_code == 422
        )
        changed = client.patch("/api/v1/users/zoe", json={"roles": ["Responder"], "disabled": True}).json()
        assert (changed["roles"], changed["disabled"]) == (["Responder"], True)
        assert client.patch("/api/v1/users/nobody", json={"disabled": True}).status_code == 404
        assert client.patch("/api/v1/users/administrator", json={"disabled": True}).json()["code"] == "ACC0007"
        token = client.post("/api/v1/tokens", json={"name": "hec"}).json()
        listed = client.get("/api/v1/tokens").json()["items"]
        assert [t["name"] for t in listed] == ["hec"]
        assert token["token"] not in client.get("/api/v1/tokens").text
        page = client.get("/api/v1/audit?limit=3").json()
        assert [a["action"] for a in page["items"]] == ["token.create", "user.change", "user.create"]
        assert page["items"][1]["before"]["roles"] == ["Reader"]
        older = client.get(f"/api/v1/audit?before={page['items'][-1]['seq']}").json()
        assert older["items"][0]["seq"] == page["items"][-1]["seq"] - 1
        assert client.get("/api/v1/audit/verify").json() == {
            "intact": True,
            "rows": page["total"],
            "broken_at": None,
            "reason": "",
        }
    assert ADMIN.may("users.manage")


def test_automation_rules(clients: dict[str, httpx.Client]) -> None:
    client = clients["Contributor"]
    (rule,) = client.get("/api/v1/automation-rules").json()["items"]
    assert rule["reads"] == "severity is High and status is not Resolved and tags does not contain pentest"
    assert rule["actions"][0]["summary"] == "host.block_address for each IP (outside)"
    assert client.patch(f"/api/v1/automation-rules/{rule['id']}", json={"enabled": False}).json()["enabled"] is False
    assert client.get(f"/api/v1/automation-rules/{rule['id']}/runs").json() == {"items": []}


def test_intake_says_what_waits(reader: httpx.Client) -> None:
    found = reader.get("/api/v1/intake").json()
    assert (found["queued_bodies"], found["queued_bytes"], found["queue_seconds"]) == (0, 0, 0.0)
    assert found["healthy"] is False  # this server's intake was never started
