"""Work on rules over HTTP: exclusions, tuning, simulation, runs over the past, coverage; and watchlists that rules ask."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.api.conftest import Served
from tocsin.base.errors import TocsinError, UsageError
from tocsin.cli.app import app as commands
from tocsin.detect.alert import Alert
from tocsin.detect.turns import Job
from tocsin.lake import TableBatch
from tocsin.tables import Entity

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
    found = client.get("/api/v1/watchlists/Watched", params={"q": "DATA"}).json()
    assert (found["matching"], found["items_count"], [i["search_key"] for i in found["items"]]) == (1, 2, ["host0"])
    told = client.get("/api/v1/watchlists/watched/history").json()["items"]
    assert [(c["action"], c["actor"]) for c in told[:2]] == [
        ("watchlist.item.remove", "contributor"),
        ("watchlist.item.change", "contributor"),
    ]
    assert (told[1]["before"]["Note"], told[1]["after"]["Note"]) == ("db", "database, main")
    with served.workspace.state.read() as unit:
        actions = [r.action for r in unit.audit.page(limit=50)[0] if r.object_id.startswith("Watched")]
    assert actions[-4:] == ["watchlist.item.remove", "watchlist.item.change", "watchlist.item.add", "watchlist.import"]


def test_what_an_import_would_make_is_told_line_by_line(client: httpx.Client, rule: str) -> None:
    text = "Host,Note\nhost0,a\nhost1\n\nhost0,b\n,c\nx,y,z\n"
    body = {"alias": "Watched", "csv": text, "search_key": "Host"}
    before = client.get("/api/v1/watchlists/Watched").json()
    told = client.post("/api/v1/watchlists/preview", json=body).json()
    assert [(p["line"], p["message"]) for p in told["problems"]] == [
        (3, "It has 1 values instead of 2."),
        (7, "It has 3 values instead of 2."),
    ]
    assert (told["items_count"], told["duplicates"], told["empty_keys"]) == (3, 1, 1)
    assert told["items"][0] == {"Host": "host0", "Note": "a"}
    assert told["replaces"]["alias"] == "Watched"
    assert client.get("/api/v1/watchlists/Watched").json() == before
    wrong = client.post("/api/v1/watchlists/preview", json={"alias": "9", "csv": 'a,b\n"1', "search_key": "c"}).json()
    assert [p["line"] for p in wrong["problems"]] == [1, 1]
    assert "no column 'c'" in wrong["problems"][1]["message"]
    open_quote = client.post("/api/v1/watchlists/preview", json={"alias": "A", "csv": 'a,b\n1,2\n"1'}).json()
    assert [(p["line"], open_quote["items_count"]) for p in open_quote["problems"]] == [(3, 1)]
    refused = client.put("/api/v1/watchlists/Watched", json={"csv": text})
    assert "Line 3" in refused.text
    assert "1 more" in refused.text


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


def test_what_an_exclusion_would_have_hidden(client: httpx.Client, rule: str) -> None:
    over(client, rule)
    path = f"/api/v1/rules/{rule}"
    hits = client.get(f"{path}/alerts").json()
    assert {"TargetUserName", "Computer"} <= set(hits["columns"])
    assert all(a["incident_id"] for a in hits["items"])
    one = client.get(f"{path}/alerts", params={"alert": hits["items"][0]["id"]}).json()["items"]
    assert one[0]["rows"] == hits["items"][0]["rows"]
    assert client.get(f"{path}/alerts", params={"alert": "nowhere"}).status_code == 404
    body = {"conditions": [{"column": "TargetUserName", "operator": "equals", "values": ["SVC_scan"]}]}
    told = client.post(f"{path}/exclusions/preview", json=body).json()
    users_of = [r["TargetUserName"] for a in hits["items"] for r in a["rows"]]
    assert (told["rows"], told["rows_hidden"]) == (len(users_of), users_of.count("svc_scan"))
    whole = [a for a in hits["items"] if all(r["TargetUserName"] == "svc_scan" for r in a["rows"])]
    assert (told["alerts"], told["alerts_hidden"]) == (len(hits["items"]), len(whole))
    assert 0 < told["rows_hidden"] < told["rows"]
    assert all(e["row"]["TargetUserName"] == "svc_scan" for e in told["examples"])
    assert client.get(path).json()["exclusions"] == []


def test_changes_are_told_and_taken_back_one_by_one(client: httpx.Client, rule: str) -> None:
    path = f"/api/v1/rules/{rule}"

    def exclude(user: str) -> None:
        body = {"conditions": [{"column": "TargetUserName", "values": [user]}], "reason": f"knows {user}"}
        assert client.post(f"{path}/exclusions", json=body).status_code == 201

    def newest(action: str) -> dict[str, Any]:
        return next(c for c in client.get(f"{path}/changes").json()["items"] if c["action"] == action)

    def reasons() -> list[str]:
        return [e["reason"] for e in client.get(path).json()["exclusions"]]

    exclude("zoe")
    first = newest("rule.exclude")
    assert (first["actor"], first["undoable"]) == ("contributor", True)
    exclude("yan")
    undone = client.post(f"{path}/changes/{first['seq']}/undo")
    assert undone.status_code == 200, undone.text
    assert reasons() == ["knows yan"]  # what came later stays
    assert client.post(f"{path}/changes/{first['seq']}/undo").status_code == 409
    assert client.post(f"{path}/changes/{newest('rule.include')['seq']}/undo").status_code == 200
    assert sorted(reasons()) == ["knows yan", "knows zoe"]
    for exclusion in client.get(path).json()["exclusions"]:
        client.delete(f"{path}/exclusions/{exclusion['id']}")

    client.patch(f"{path}/tuning", json={"severity": "High"})
    tuned = newest("rule.tune")
    client.patch(f"{path}/tuning", json={"severity": "Low"})
    assert client.post(f"{path}/changes/{tuned['seq']}/undo").status_code == 409
    assert client.post(f"{path}/changes/{newest('rule.tune')['seq']}/undo").json()["tuning"]["severity"] == "High"
    assert client.post(f"{path}/changes/{tuned['seq']}/undo").json()["tuning"]["severity"] is None
    created = newest("rule.create")
    assert created["undoable"] is False
    assert client.post(f"{path}/changes/{created['seq']}/undo").status_code == 409
    assert client.post(f"{path}/changes/999999/undo").status_code == 404


def test_many_rules_are_switched_together(client: httpx.Client, rule: str) -> None:
    others = [r["id"] for r in client.get("/api/v1/rules").json()["items"] if r["enabled"] and r["id"] != rule][:3]
    body = {"ids": [*others, "nowhere"], "enabled": False}
    assert client.post("/api/v1/rules/switch", json=body).status_code == 404
    state = {r["id"]: r["enabled"] for r in client.get("/api/v1/rules").json()["items"]}
    assert all(state[r] for r in others)  # all or nothing
    body = {"ids": others, "enabled": False, "reason": "maintenance"}
    assert client.post("/api/v1/rules/switch", json=body).json() == {"changed": 3}
    assert client.post("/api/v1/rules/switch", json=body).json() == {"changed": 0}
    change = client.get(f"/api/v1/rules/{others[0]}/changes").json()["items"][-1]
    assert (change["before"], change["after"], change["detail"]) == (
        {"enabled": True},
        {"enabled": False},
        {"reason": "maintenance"},
    )
    for each in others:
        seq = client.get(f"/api/v1/rules/{each}/changes").json()["items"][-1]["seq"]
        undone = client.post(f"/api/v1/rules/{each}/changes/{seq}/undo")
        assert undone.json()["enabled"] is True, undone.text


def test_cases_are_run_from_the_page(client: httpx.Client, clients: dict[str, httpx.Client], rule: str) -> None:
    shipped = next(
        r for r in client.get("/api/v1/rules").json()["items"] if r["pack"] == "core" and r["kind"] != "Sigma"
    )
    path = f"/api/v1/rules/{shipped['id']}/tests"
    ran = client.post(path).json()["items"]
    assert len(ran) > 1
    assert all(c["passed"] and c["ran"] for c in ran)
    assert {c["fires"] for c in ran} == {True, False}
    assert all((c["raised"] or 0) > 0 for c in ran if c["fires"])
    assert clients["Reader"].get(path).json()["items"] == ran
    assert clients["Reader"].post(path).status_code == 403
    assert client.post(f"/api/v1/rules/{rule}/tests").json()["items"] == []


def test_what_a_rule_lacks_is_named(client: httpx.Client, rule: str) -> None:
    client.put("/api/v1/watchlists/Needed", json={"csv": "Host,Note\nhost0,db\n"})
    query = "_GetWatchlist('Needed') | project Note, Host"
    broken = client.post("/api/v1/rules", json={**RULE, "name": "Lacks", "query": query, "entity_mappings": []}).json()
    client.put("/api/v1/watchlists/Needed", json={"csv": "Host,Remark\nhost0,db\n"})
    report = client.get("/api/v1/rules/load").json()
    items = {i["id"]: i for i in report["items"]}
    assert (items[rule]["runs"], items[rule]["tables"], items[rule]["empty"]) == (True, ["SecurityEvent"], [])
    lacking = items[broken["id"]]
    assert (lacking["runs"], lacking["missing"]) == (False, ["column"])
    assert lacking["problems"][0]["code"] == "KQL0101"
    assert "Note" in lacking["problems"][0]["message"]
    assert report["running"] + report["broken"] == len(items)


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
    told = client.get(f"/api/v1/rules/{rule}/noise", params={"weeks": 4}).json()
    hits = client.get(f"/api/v1/rules/{rule}").json()["alerts"]
    assert len(told["weeks"]) == 4
    weeks = {name: sum(w[name] for w in told["weeks"]) for name in ("hits", "false_positive", "unclassified")}
    assert weeks["hits"] == weeks["false_positive"] + weeks["unclassified"] >= hits
    assert weeks["false_positive"] > 0
    assert (told["budget"], told["exceeded"], told["hits"]) == (20, False, weeks["hits"])
    client.patch(f"/api/v1/rules/{rule}/tuning", json={"noise_budget": 1})
    listed = next(r for r in client.get("/api/v1/rules").json()["items"] if r["id"] == rule)
    assert listed["budget"] == {"hits": weeks["hits"], "budget": 1, "exceeded": True, "own": True}
    client.patch(f"/api/v1/rules/{rule}/tuning", json={"noise_budget": None})


def test_coverage_tells_a_rule_from_data_and_from_proof(client: httpx.Client, rule: str) -> None:
    over(client, rule)
    techniques = {t["technique"]: t for t in client.get("/api/v1/rules/coverage").json()["techniques"]}
    ours = next(r for r in techniques["T1110"]["rules"] if r["id"] == rule)
    assert (ours["level"], ours["data"], ours["tables"]) == ("full", True, ["SecurityEvent"])
    # Its table is empty, but its cases prove it. They are run beside the request, or when somebody asks for them.
    assert techniques["T1048.003"]["facts"] == {"rule": True, "data": False, "proven": False}
    for each in techniques["T1048.003"]["rules"]:
        client.post(f"/api/v1/rules/{each['id']}/tests")
    found = client.get("/api/v1/rules/coverage").json()
    proven = next(t for t in found["techniques"] if t["technique"] == "T1048.003")
    assert (proven["level"], proven["facts"]["proven"], proven["rules"][0]["data"]) == ("proven", True, False)
    assert proven["rules"][0]["sources"] == proven["rules"][0]["tables"]
    layer = client.get("/api/v1/rules/coverage/navigator").json()
    scores = {t["techniqueID"]: t["score"] for t in layer["techniques"]}
    assert (scores["T1110"], scores["T1048.003"]) == (100, 50)


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
    assert "Note" in shown["disabled_reason"]
    (run,) = client.get(f"/api/v1/rules/{rule}/runs").json()["items"]  # the same failure again and again is one entry
    assert (run["status"], run["runs"], run["code"]) == ("Failure", scheduler.settings.failures, "KQL0101")
    assert "Note" in run["error"]
    titles = [i["title"] for i in client.get("/api/v1/incidents").json()["items"]]
    assert any("AUTO DISABLED Breaks" in t for t in titles)


def test_a_rule_is_tuned_from_the_command_line(served: Served, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_SERVER", served.url)
    monkeypatch.setenv("TOCSIN_TOKEN", served.token("Contributor"))

    def tune(*words: str) -> dict[str, Any]:
        ended = CliRunner().invoke(commands, ["rules", "tune", *words, "--json"], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        made: dict[str, Any] = json.loads(ended.stdout)
        assert made["id"] == rule
        return {n: v for n, v in made["tuning"].items() if v is not None}

    tune(rule, "--usual", "all")
    assert tune("watched HOSTS", "--apart", "--severity", "Low", "--noise-budget", "3") == {
        "correlate": False, "severity": "Low", "noise_budget": 3,
    }  # fmt: skip
    assert tune(rule) == {"correlate": False, "severity": "Low", "noise_budget": 3}, "without options it only says"
    assert tune(rule, "--correlate", "--usual", "noise-budget") == {"correlate": True, "severity": "Low"}
    assert tune(rule, "--usual", "all") == {}
    with pytest.raises(UsageError, match=r"no rule 'Watched host'\. Did you mean 'Watched hosts'"):
        tune("Watched host")
    with pytest.raises(UsageError, match="Did you mean 'severity'"):
        tune(rule, "--usual", "severty")
    monkeypatch.setenv("TOCSIN_TOKEN", served.token("Reader"))
    with pytest.raises(TocsinError, match="lacks the permission"):
        tune(rule, "--apart")


def test_a_simulation_tells_what_its_alerts_would_join_and_why(
    served: Served, client: httpx.Client, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [{"type": "Host", "fields": [{"identifier": "FullName", "column": "Computer"}]}]
    made = client.post("/api/v1/rules", json={**RULE, "name": "Watched machines", "entity_mappings": hosts})
    assert made.status_code == 201, made.text
    mine = made.json()["id"]
    first = client.post(f"/api/v1/rules/{mine}/simulation").json()["alerts"]
    assert first
    named = {e["label"] for e in first[0]["entities"]}
    seen = datetime.fromisoformat(first[0]["time"])
    host = tuple(Entity.host(n) for n in sorted(named))
    served.workspace.incidents.add(
        [Alert("al_near", "other", "Another rule", seen, seen, "High", seen, tactics=("Execution",), entities=host)]
    )

    def simulated() -> list[dict[str, Any]]:
        monkeypatch.setenv("TOCSIN_SERVER", served.url)
        monkeypatch.setenv("TOCSIN_TOKEN", served.token("Contributor"))
        ended = CliRunner().invoke(
            commands, ["rules", "simulate", "watched MACHINES", "--json"], catch_exceptions=False
        )
        assert ended.exit_code == 0, ended.output
        return list(json.loads(ended.stdout)["alerts"])

    before = client.get("/api/v1/incidents").json()["total"]
    newest = simulated()[0]
    near = newest["near"][0]
    assert (newest["filed"], near["joins"]) == (None, True)
    assert near["title"].startswith("Another rule")
    assert near["score"] >= near["threshold"]
    assert any(r["text"].startswith("same host") for r in near["reasons"])
    assert client.get("/api/v1/incidents").json()["total"] == before, "it only looks"
    words = CliRunner().invoke(commands, ["rules", "simulate", mine], catch_exceptions=False).output
    assert f"#{near['number']}" in words
    assert "points, joins: Another rule" in words

    client.patch(f"/api/v1/rules/{mine}/tuning", json={"correlate": False})
    apart = simulated()[0]
    assert (apart["correlate"], [n["joins"] for n in apart["near"]]) == (False, [False] * len(apart["near"]))
    client.patch(f"/api/v1/rules/{mine}/tuning", json={"correlate": None})

    span = {"first": (seen - timedelta(minutes=1)).isoformat(), "last": (seen + timedelta(minutes=1)).isoformat()}
    assert client.post(f"/api/v1/rules/{mine}/runs", json=span).status_code == 201
    held = simulated()[0]
    assert (held["filed"]["number"], held["near"]) == (near["number"], []), "it came to what was foretold"
    client.delete(f"/api/v1/rules/{mine}")
