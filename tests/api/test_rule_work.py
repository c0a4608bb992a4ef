"""Work on rules over HTTP: exclusions, tuning, simulation, runs over the past, coverage; and watchlists that rules ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pyarrow as pa
import pytest

from tests.api.conftest import Served
from tocsin.detect.alert import Alert
from tocsin.detect.turns import Job
from tocsin.lake import TableBatch

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
RULE = {
    "name": "Watched hosts",
    "query": "SecurityEvent | where EventID == 4625 | join kind=inner (_GetWatchlist('Watched')) on $left.Computer == $right.SearchKey "
    "| project TimeGenerated, Computer, TargetUserName, Note",
    "techniques": ["T1110"],
    "frequency": "1h",
    "period": "1h",
    "entity_mappings": [{"type": "Account", "fields": [{"identifier": "Name", "column": "TargetUserName"}]}],
}


@pytest.fixture(scope="module")
def client(served: Served, clients: dict[str, httpx.Client]) -> httpx.Client:
    times = [NOW - timedelta(minutes=20 * n) for n in range(1, 13)]
    rows = pa.table(
        {
            "TimeGenerated": pa.array([t.replace(tzinfo=None) for t in times], pa.timestamp("us")),
            "_TimeReceived": pa.array([t.replace(tzinfo=None) for t in times], pa.timestamp("us")),
            "Computer": [f"host{n % 3}" for n in range(12)],
            "TargetUserName": ["ann" if n % 2 else "svc_scan" for n in range(12)],
            "EventID": pa.array([4625] * 12, pa.int32()),
        }
    )
    served.workspace.lake.write([TableBatch("SecurityEvent", rows)])
    return clients["Contributor"]


@pytest.fixture(scope="module")
def rule(client: httpx.Client) -> str:
    made = client.put(
        "/api/v1/watchlists/Watched", json={"csv": "Host,Note\nhost0,db\nhost1,web\n", "search_key": "Host"}
    )
    assert made.status_code == 200, made.text
    answer = client.post("/api/v1/rules", json=RULE)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def users(alerts: list[dict[str, Any]]) -> list[str]:
    return [str(e["row"]["TargetUserName"]) for a in alerts for e in a["events"]]


def over(client: httpx.Client, rule: str) -> list[dict[str, Any]]:
    span = {"first": (NOW - timedelta(hours=6)).isoformat(), "last": NOW.isoformat()}
    answer = client.post(f"/api/v1/rules/{rule}/runs", json=span)
    assert answer.status_code == 201, answer.text
    return list(answer.json()["alerts"])


def test_items_of_a_watchlist_are_seen_by_the_next_run(client: httpx.Client, rule: str, served: Served) -> None:
    got = client.get("/api/v1/watchlists/watched").json()
    assert (got["columns"], got["search_key"], got["items_count"]) == (["Host", "Note"], "Host", 2)

    def asked() -> set[tuple[str, str]]:
        rows = client.post(
            "/api/v1/query", json={"query": "_GetWatchlist('Watched') | project SearchKey, Note"}
        ).json()["rows"]
        return {tuple(r) for r in rows}

    assert asked() == {("host0", "db"), ("host1", "web")}
    first = got["items"][0]["id"]
    added = client.post("/api/v1/watchlists/Watched/items", json={"values": {"Host": "host2"}})
    assert added.status_code == 201, added.text
    changed = client.patch(f"/api/v1/watchlists/Watched/items/{first}", json={"values": {"Note": "database, main"}})
    assert changed.json()["values"] == {"Host": "host0", "Note": "database, main"}
    assert asked() == {("host0", "database, main"), ("host1", "web"), ("host2", "")}
    assert client.delete(f"/api/v1/watchlists/Watched/items/{added.json()['id']}").status_code == 204
    assert asked() == {("host0", "database, main"), ("host1", "web")}
    for path, body, status in (
        ("Watched/items", {"values": {"Hots": "x"}}, 422),
        ("Gone/items", {"values": {"Host": "x"}}, 404),
    ):
        answer = client.post(f"/api/v1/watchlists/{path}", json=body)
        assert answer.status_code == status, answer.text
    for text in ("", "a,a\n1,2\n", "a,b\n1\n", 'a,b\n"1'):
        assert client.put("/api/v1/watchlists/Watched", json={"csv": text}).status_code == 422
    with served.workspace.state.read() as unit:
        actions = [r.action for r in unit.audit.page(limit=50)[0] if r.object_id.startswith("Watched")]
    assert actions[-4:] == ["watchlist.item.remove", "watchlist.item.change", "watchlist.item.add", "watchlist.import"]


def test_a_long_watchlist(client: httpx.Client) -> None:
    text = "Address,Why\n" + "".join(f"10.{i >> 16}.{(i >> 8) & 255}.{i & 255},x\n" for i in range(100_000))
    assert client.put("/api/v1/watchlists/Long", json={"csv": text}).json()["items_count"] == 100_000
    answer = client.post("/api/v1/query", json={"query": "_GetWatchlist('Long') | count"}).json()
    assert answer["rows"] == [[100_000]]
    assert client.delete("/api/v1/watchlists/Long").status_code == 204
    assert client.get("/api/v1/watchlists/Long").status_code == 404


def test_exclusions_and_runs_over_the_past(client: httpx.Client, rule: str, served: Served) -> None:
    simulated = client.post(f"/api/v1/rules/{rule}/simulation").json()["windows"]
    assert len(simulated) == 50
    assert sum(w["results"] for w in simulated) == 8
    assert sum(w["triggers"] for w in simulated) >= 3
    answer = client.post(
        f"/api/v1/rules/{rule}/exclusions",
        json={
            "conditions": [{"column": "TargetUserName", "operator": "startswith", "values": ["SVC_"]}],
            "reason": "scanner",
        },
    )
    assert answer.status_code == 201, answer.text
    assert sum(w["results"] for w in client.post(f"/api/v1/rules/{rule}/simulation").json()["windows"]) == 4
    found = over(client, rule)
    assert set(users(found)) == {"ann"}
    assert len(users(found)) == 4
    assert over(client, rule) == []  # nothing is said twice
    exclusion = answer.json()["id"]
    shown = client.get(f"/api/v1/rules/{rule}").json()
    assert [e["id"] for e in shown["exclusions"]] == [exclusion]
    assert client.delete(f"/api/v1/rules/{rule}/exclusions/{exclusion}").status_code == 204
    assert set(users(over(client, rule))) == {"svc_scan"}
    wrong = client.post(
        f"/api/v1/rules/{rule}/exclusions",
        json={"conditions": [{"column": "TargetUser", "values": ["x"]}], "reason": "r"},
    )
    assert wrong.status_code == 422
    assert "TargetUserName" in wrong.text
    with served.workspace.state.read() as unit:
        actions = [r.action for r in unit.audit.page(object_id=rule)[0]]
    assert {"rule.run", "rule.include", "rule.exclude", "rule.create"} <= set(actions)


def test_tuning_wins_over_the_file(client: httpx.Client, rule: str) -> None:
    assert (
        client.patch(f"/api/v1/rules/{rule}/tuning", json={"severity": "Low", "suppression": 3600}).json()["severity"]
        == "Low"
    )
    shown = client.get(f"/api/v1/rules/{rule}").json()
    assert (shown["severity"], shown["suppression"], shown["tuning"]["suppression"]) == ("Low", "1h", 3600)
    client.patch(f"/api/v1/rules/{rule}/tuning", json={"severity": None, "suppression": None})
    shown = client.get(f"/api/v1/rules/{rule}").json()
    assert (shown["severity"], shown["suppression"]) == ("Medium", None)


def test_what_people_said_of_incidents_is_the_rule_s_noise(client: httpx.Client, rule: str) -> None:
    over(client, rule)
    noise = client.get(f"/api/v1/rules/{rule}").json()["noise"]
    assert noise["incidents"] == noise["unclassified"] > 0
    incident = client.get("/api/v1/incidents").json()["items"][0]
    closed = client.patch(
        f"/api/v1/incidents/{incident['id']}",
        json={"status": "Resolved", "classification": "FalsePositive", "determination": "NoEnoughDataToValidate"},
        headers={"If-Match": f'"{incident["version"]}"'},
    )
    assert closed.status_code == 200, closed.text
    noise = client.get(f"/api/v1/rules/{rule}").json()["noise"]
    assert noise["false_positive"] == 1


def test_coverage_tells_a_rule_from_data_and_from_proof(client: httpx.Client, rule: str) -> None:
    over(client, rule)
    techniques = {t["technique"]: t for t in client.get("/api/v1/rules/coverage").json()["techniques"]}
    ours = next(r for r in techniques["T1110"]["rules"] if r["id"] == rule)
    assert (ours["level"], ours["data"], ours["tables"]) == ("proven", True, ["SecurityEvent"])
    assert techniques["T1048.003"]["level"] == "rule"  # its table is empty
    assert techniques["T1048.003"]["rules"][0]["data"] is False
    layer = client.get("/api/v1/rules/coverage/navigator").json()
    scores = {t["techniqueID"]: t["score"] for t in layer["techniques"]}
    assert (scores["T1110"], scores["T1048.003"]) == (100, 25)


def test_a_rule_that_is_given_up_says_so(client: httpx.Client, served: Served) -> None:
    client.put("/api/v1/watchlists/Breaking", json={"csv": "Host,Note\nhost0,db\n"})
    made = client.post(
        "/api/v1/rules",
        json={
            **RULE,
            "name": "Breaks",
            "query": "_GetWatchlist('Breaking') | project Note, Host",
            "entity_mappings": [],
        },
    )
    rule = made.json()["id"]
    assert client.put("/api/v1/watchlists/Breaking", json={"csv": "Host,Remark\nhost0,db\n"}).status_code == 200
    scheduler = served.workspace.detection.scheduler
    found = next(r for r in served.workspace.rules.rules if r.id == rule)
    scheduler.set_rules([found])
    alerts: list[Alert] = []
    for _ in range(scheduler.settings.failures):
        alerts.extend(scheduler.execute(Job(found, NOW)))
    assert alerts == []
    shown = client.get(f"/api/v1/rules/{rule}").json()
    assert shown["name"] == "AUTO DISABLED Breaks"
    assert shown["enabled"] is False
    assert "Note" in shown["description"]
    titles = [i["title"] for i in client.get("/api/v1/incidents").json()["items"]]
    assert any("AUTO DISABLED Breaks" in t for t in titles)
