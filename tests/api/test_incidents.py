"""Incidents over HTTP: the contract's shapes, changes with their traces, conflicts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.api.conftest import Served
from tests.incidents.test_correlate import ANN, WS1, WS2, alert
from tocsin.access import system
from tocsin.cli.app import app as commands
from tocsin.detect.alert import Evidence
from tocsin.incidents.export import verify
from tocsin.incidents.history import rebuild
from tocsin.lake import TableBatch
from tocsin.tables import Entity


@pytest.fixture
def client(fresh: Served) -> Iterator[httpx.Client]:
    fresh.workspace.incidents.add(
        [
            alert(
                "one",
                0,
                WS1,
                ANN,
                severity="High",
                tactics=("Execution",),
                events=(Evidence("T", {"n": 2**70, "s": "\ud800x"}),),
            ),
            alert("two", 3, WS1, tactics=("Impact",)),
        ]
    )
    with fresh.client("responder") as made:
        yield made


def first(client: httpx.Client) -> dict[str, Any]:
    item: dict[str, Any] = client.get("/api/v1/incidents").json()["items"][0]
    return item


def test_the_queue_and_the_page_have_the_contract_s_members(client: httpx.Client) -> None:
    page = client.get("/api/v1/incidents").json()
    assert set(page) == {"items", "total", "counted_all", "counts", "next"}
    assert page["counts"] == {"status": {"New": 1}, "severity": {"High": 1}, "owner": {"": 1}}
    item = page["items"][0]
    assert {
        "id", "number", "title", "severity", "priority", "reasons", "status", "owner", "classification", "determination", "tags", "first",
        "last", "created", "updated", "tactics", "techniques", "entities", "alert_count", "alerts", "version",
    } <= set(item)  # fmt: skip
    assert item["owner"] is None
    assert item["alert_count"] == 2
    assert all("events" not in a for a in item["alerts"])
    assert item["reasons"][0].keys() == {"text", "weight"}
    full = client.get(f"/api/v1/incidents/{item['id']}").json()
    assert {"story", "graph", "activity"} <= set(full)
    assert full["alerts"][1]["linked_by"][0]["text"] == "same host ws1.contoso.com"
    assert full["alerts"][0]["events"][0]["row"]["n"] == 2**70
    assert full["graph"]["nodes"][0].keys() == {"id", "type", "label", "first"}
    assert full["graph"]["edges"][0].keys() >= {"source", "target", "label", "alert_id"}
    for moment in (item["first"], full["activity"][0]["time"]):
        assert moment.endswith("Z")
        datetime.fromisoformat(moment)


def test_an_analyst_s_day(client: httpx.Client) -> None:
    path = f"/api/v1/incidents/{first(client)['id']}"
    changed = client.patch(
        path, json={"status": "InProgress", "owner": "responder", "add_tags": ["vip", "mail"]}
    ).json()
    assert (changed["status"], changed["owner"], changed["tags"]) == ("InProgress", "responder", ["mail", "vip"])
    commented = client.post(f"{path}/comments", json={"text": "  Looks real. <script>alert(1)</script>\n"})
    assert commented.status_code == 201
    closed = client.patch(
        path,
        json={
            "status": "Resolved", "classification": "TruePositive", "determination": "Malware", "remove_tags": ["mail"],
            "title": "The mail", "severity": "Low", "comment": "Machine rebuilt.",
        },
    ).json()  # fmt: skip
    assert (closed["status"], closed["determination"], closed["title"], closed["severity"]) == (
        "Resolved",
        "Malware",
        "The mail",
        "Low",
    )
    assert [(a["kind"], a["actor"]) for a in closed["activity"]] == [
        ("created", "correlation"), ("status", "responder"), ("owner", "responder"), ("tags", "responder"), ("comment", "responder"),
        ("status", "responder"), ("classification", "responder"), ("classification", "responder"), ("comment", "responder"),
        ("severity", "responder"), ("title", "responder"), ("tags", "responder"),
    ]  # fmt: skip
    assert closed["activity"][4]["text"] == "Looks real. <script>alert(1)</script>"
    back = client.patch(path, json={"owner": None, "severity": None, "title": None, "classification": None}).json()
    assert (back["owner"], back["severity"], back["classification"], back["determination"]) == (
        None,
        "High",
        None,
        None,
    )
    assert back["title"] != "The mail"


def test_wrong_changes(client: httpx.Client) -> None:
    path = f"/api/v1/incidents/{first(client)['id']}"
    before = client.get(path).json()
    wrong: list[dict[str, Any]] = [
        {"status": "Redirected"}, {"status": "Done"}, {"severity": "Critical"}, {"owner": "nobody"}, {"determination": "Malware"},
        {"classification": "FalsePositive", "determination": "Malware"}, {"add_tags": [""]}, {"title": ""}, {"nonsense": 1}, {"owner": 7},
    ]  # fmt: skip
    for body in wrong:
        answer = client.patch(path, json=body)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert client.get(path).json() == before


def test_an_empty_patch_changes_nothing(client: httpx.Client) -> None:
    path = f"/api/v1/incidents/{first(client)['id']}"
    before = client.get(path).json()
    assert client.patch(path, json={}).json() == before
    assert client.patch(path, json={"status": None}).json() == before


def test_one_of_two_who_saw_the_same_version_is_told(client: httpx.Client) -> None:
    item = first(client)
    path = f"/api/v1/incidents/{item['id']}"
    assert client.patch(path, json={"owner": "reader", "version": item["version"]}).status_code == 200
    answer = client.patch(path, json={"owner": "contributor", "version": item["version"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "STA0003")
    said = answer.json()
    assert said["version"] == client.get(path).json()["version"] == item["version"] + 1
    assert [(c["version"], c["actor"], c["changed"]) for c in said["changes"]] == [
        (item["version"] + 1, "responder", ["owner", "acknowledged"])
    ]
    assert (
        f"at version {said['version']}, not {item['version']}. The last change: owner, acknowledged by responder."
        in said["detail"]
    )
    assert client.get(path).json()["owner"] == "reader"
    for beyond in (item["version"] + 9, 10**30, -(10**30)):
        assert client.patch(path, json={"owner": "contributor", "version": beyond}).status_code == 409
    assert client.get(f"{path}/activity", params={"before": 10**30}).status_code == 422


def test_who_gives_a_number_for_an_id_is_told_how_to_find_it(client: httpx.Client) -> None:
    number = first(client)["number"]
    refused = client.get(f"/api/v1/incidents/{number}")
    assert refused.status_code == 404
    (path,) = (w.rstrip(".") for w in refused.json()["hint"].split() if w.startswith("/"))
    assert client.get(path).json()["items"][0]["number"] == number


def test_signals_that_nobody_is_shown_take_no_comment(fresh: Served, client: httpx.Client) -> None:
    fresh.workspace.incidents.add([alert("hint", 0, Entity.host("lonely.x.org"), severity="Informational")])
    with fresh.workspace.state.read() as unit:
        (hidden,) = {
            e.incident_id for e in unit.incidents.history.after(0) if not unit.incidents.require(e.incident_id).promoted
        }
        before = unit.incidents.history.last()
    path = f"/api/v1/incidents/{hidden}"
    assert client.post(f"{path}/comments", json={"text": "x"}).status_code == 404
    assert client.post(f"{path}/tasks", json={"title": "x"}).status_code == 404
    with fresh.workspace.state.read() as unit:
        assert unit.incidents.history.last() == before


def test_fifty_clients_lose_nothing_and_the_log_is_complete(fresh: Served, client: httpx.Client) -> None:
    path = f"/api/v1/incidents/{first(client)['id']}"
    seen = client.get(path).json()["version"]

    def work(n: int) -> tuple[int, int]:
        """A client of its own: adds a tag to the version that all have seen, and again to whatever it has become if somebody was quicker."""
        with httpx.Client(base_url=fresh.url, headers=client.headers, cookies=client.cookies, timeout=120) as mine:
            at_first = mine.patch(path, json={"add_tags": [f"t{n}"], "version": seen}).status_code
            again = at_first if at_first == 200 else mine.patch(path, json={"add_tags": [f"t{n}"]}).status_code
            return at_first, again

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(work, range(50)))
    assert sorted(at_first for at_first, _ in answers) == [200, *[409] * 49], "one saw the version that it changed"
    assert {again for _, again in answers} == {200}
    full = client.get(path).json()
    assert sorted(full["tags"]) == sorted(f"t{n}" for n in range(50))
    entries = client.get(f"{path}/log").json()["items"]
    changes = [e for e in entries if e["version"] is not None]
    assert [e["version"] for e in changes] == list(range(1, full["version"] + 1))
    assert [e["seq"] for e in entries] == sorted(e["seq"] for e in entries)
    assert [e["time"] for e in entries] == sorted(e["time"] for e in entries)
    assert sorted(t for e in changes for t in e["data"].get("tags", {}).get("added", [])) == sorted(full["tags"])
    assert {e["actor"] for e in changes} == {"correlation", "responder"}
    with fresh.workspace.state.read() as unit:
        assert list(rebuild(unit, repair=False)) == []


def test_each_change_is_a_row(running: Served) -> None:
    running.workspace.incidents.add([alert("one", 0, WS1, ANN, severity="High")])
    with running.client("responder") as client:
        path = f"/api/v1/incidents/{first(client)['id']}"
        for change in (
            {"owner": "responder"}, {"status": "InProgress"}, {"add_tags": ["x"]},
            {"status": "Resolved", "classification": "FalsePositive", "determination": "NoEnoughDataToValidate"},
        ):  # fmt: skip
            assert client.patch(path, json=change).status_code == 200
        full = client.get(path).json()
        query = (
            "SecurityIncident | extend v = toint(AdditionalData.version) | sort by v asc"
            " | project v, Status, Classification, ClassificationReason, who=ModifiedBy, owner=tostring(Owner.assignedTo), ClosedTime"
        )
        rows = waited(client, query, full["version"])
        assert [r[0] for r in rows] == list(range(1, full["version"] + 1))
        said = [r[1] for r in rows]
        assert list(dict.fromkeys(said)) == ["New", "Active", "Closed"]
        assert rows[-1][2:4] == ["FalsePositive", "InaccurateData"]
        assert {r[4] for r in rows[1:]} == {"responder"}
        assert rows[-1][6] is not None
        modified = client.post(
            "/api/v1/query",
            json={
                "query": "SecurityIncident | summarize min(TimeGenerated), make_set(FirstModifiedTime), max(TimeGenerated)"
            },
        )
        ((opened, first_modified, last),) = modified.json()["rows"]
        assert len(first_modified) == 1, "it is when somebody changed it first, and stays so"
        assert opened[:26] < first_modified[0][:26] < last[:26]
        nearly = client.patch(path, json={"status": "Resolvd"}).json()
        assert nearly["hint"] == "Did you mean 'Resolved'?"
        closed = (
            "SecurityAlert | summarize arg_max(TimeGenerated, Status) by SystemAlertId | where Status == 'Resolved'"
        )
        assert waited(client, closed, 1)[0][0] == full["alerts"][0]["id"]
        # A command on the folder is another process to the server, which finds what it did.
        folder = ["--data", str(running.workspace.settings.data), "--as", "responder"]
        done = CliRunner().invoke(commands, ["incidents", "set", str(full["number"]), "--untag", "x", *folder])
        assert done.exit_code == 0, done.output
        assert waited(client, query, full["version"] + 1)[-1][0] == full["version"] + 1


def test_an_alert_has_the_status_of_the_incident_that_it_is_in(running: Served) -> None:
    """An alert that comes into an incident in progress is in progress; one that is split off is as new as its incident."""
    desk = running.workspace.incidents
    desk.add([alert("r0", 0, WS1, severity="High")])
    latest = "SecurityAlert | summarize arg_max(TimeGenerated, Status) by SystemAlertId | where Status == '{}' | project SystemAlertId"
    with running.client("responder") as client:
        path = f"/api/v1/incidents/{first(client)['id']}"
        assert client.patch(path, json={"status": "InProgress"}).status_code == 200
        desk.add([alert("r1", 1, WS1, severity="High"), alert("r2", 2, WS1, severity="High")])
        held = [a["id"] for a in client.get(path).json()["alerts"]]
        assert len(held) == 3
        found = waited(client, latest.format("InProgress") + " | sort by SystemAlertId asc", 3)
        assert [r[0] for r in found] == sorted(held)
        moved = client.post(f"{path}/move-alerts", json={"alerts": held[1:2]}).json()
        assert waited(client, latest.format("New"), 1) == [[held[1]]]
        client.post(f"/api/v1/actions/{moved['action']}/undo")
        waited(client, latest.format("InProgress"), 3)
        client.post(f"{path}/comments", json={"text": "x"})
        counts = (
            "SecurityIncident | summarize arg_max(TimeGenerated, *) by IncidentName | where AdditionalData.commentsCount == 1"
            " | project toint(AdditionalData.alertsCount), toint(AdditionalData.bookmarksCount)"
        )
        assert waited(client, counts, 1) == [[3, 0]]


def test_figures_are_the_same_by_api_by_kql_and_by_hand(running: Served) -> None:
    """The API's figures (from the log), those of the pack's KQL function and those of a script of its own (both from the rows) agree."""
    hosts = [Entity.host(f"h{n}.x.org") for n in range(5)]
    running.workspace.incidents.add([alert(f"r{n}", n, host, severity="High") for n, host in enumerate(hosts)])
    with running.client("responder") as client:
        ids = [i["id"] for i in client.get("/api/v1/incidents?sort=number&order=asc").json()["items"]]
        steps: list[tuple[int, dict[str, Any]]] = [
            (0, {"owner": "responder"}), (0, {"status": "Resolved", "classification": "FalsePositive", "determination": "Clean"}),
            (0, {"status": "InProgress"}), (1, {"owner": "reader"}), (0, {"status": "Resolved"}), (2, {"add_tags": ["x"]}),
            (1, {"status": "Resolved"}),
        ]  # fmt: skip
        # A merge that is taken back is no closing and no opening again.
        assert client.post(f"/api/v1/incidents/{ids[2]}/merge", json={"sources": [ids[1]]}).status_code == 200
        merged = client.get("/api/v1/actions", params={"incident_id": ids[2], "scope": "all"}).json()["items"][0]
        assert client.post(f"/api/v1/actions/{merged['id']}/undo").json()["status"] == "Undone"
        for at, change in steps:
            assert client.patch(f"/api/v1/incidents/{ids[at]}", json=change).status_code == 200
        assert client.post(f"/api/v1/incidents/{ids[2]}/merge", json={"sources": [ids[3]]}).status_code == 200
        running.workspace.gate.edit_incident(
            ids[4], {"status": "Resolved"}, by=system("automation:tidy", "incidents.manage")
        )
        count = len(running.workspace.incidents.log(ids[0])) and sum(
            sum(e["version"] is not None for e in running.workspace.incidents.log(i)) for i in ids
        )
        rows = waited(
            client,
            "SecurityIncident | project IncidentName, Version=toint(AdditionalData.version), Status, Created=CreatedTime, Acknowledged="
            "tostring(AdditionalData.acknowledgedTime), Closed=ClosedTime, Modified=LastModifiedTime, Source=tostring(AdditionalData.source),"
            " Classification, RedirectTo=tostring(AdditionalData.redirectTo) | summarize arg_max(Modified, *) by IncidentName, Version",
            count,
        )
        names = [
            "IncidentName",
            "Version",
            "Modified",
            "Status",
            "Created",
            "Acknowledged",
            "Closed",
            "Source",
            "Classification",
            "RedirectTo",
        ]
        script = Path(__file__).parent.parent / "incidents" / "recount.py"
        lines = "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows)
        done = subprocess.run([sys.executable, script], input=lines, capture_output=True, text=True, check=True)
        by_hand = json.loads(done.stdout)
        by_api = client.get("/api/v1/incidents/metrics?from=2020-01-01T00:00:00Z").json()
        assert {n: by_api[n] for n in by_hand if not isinstance(by_hand[n], dict)} == {
            n: v for n, v in by_hand.items() if not isinstance(v, dict)
        }
        assert (by_hand["resolved"], by_hand["auto_resolved"], by_hand["merged"], by_hand["reopened"]) == (2, 1, 1, 1)
        assert by_api["classification"] == by_hand["classification"]
        kql = (
            "IncidentTimes | summarize mtta=avg(ToAcknowledge), mttr=avgif(ToResolve, not(AutoClosed)), closure=avgif(ToClose, not(AutoClosed)),"
            " created=count(), resolved=countif(Status == 'Closed' and not(AutoClosed)), reopened=sum(Reopened)"
            " | extend mtta=mtta / 1microsecond, mttr=mttr / 1microsecond, closure=closure / 1microsecond"
        )
        (by_kql,) = waited(client, kql, 1)
        for place, name in enumerate(("mtta", "mttr", "closure")):
            assert by_api[name]["count"] == by_hand[name]["count"] > 0
            assert by_api[name]["mean"] == pytest.approx(by_hand[name]["mean"], abs=2e-6)
            assert by_kql[place] / 1e6 == pytest.approx(by_hand[name]["mean"], abs=2e-6)
        assert by_kql[3:] == [by_hand["created"], by_hand["resolved"], by_hand["reopened"]]


def test_tasks_phase_roles_and_a_comment_put_right(client: httpx.Client, fresh: Served) -> None:
    path = f"/api/v1/incidents/{first(client)['id']}"
    made = client.post(f"{path}/tasks", json={"title": " Reset  the password ", "description": "call her"}).json()
    (task,) = made["tasks"]
    assert (task["title"], task["created_by"], task["completed"]) == ("Reset the password", "responder", None)
    done = client.patch(f"{path}/tasks/{task['id']}", json={"done": True}).json()
    assert (done["tasks"][0]["completed_by"], done["tasks_done"], done["tasks_total"]) == ("responder", 1, 1)
    assert (
        client.patch(f"{path}/tasks/{task['id']}", json={"done": False, "title": "Reset it"}).json()["tasks"][0][
            "title"
        ]
        == "Reset it"
    )
    assert client.get("/api/v1/incidents").json()["items"][0]["tasks_total"] == 1
    assert client.patch(f"{path}/tasks/999", json={"done": True}).status_code == 404
    assert client.delete(f"{path}/tasks/{task['id']}").json()["tasks"] == []
    removed = client.get("/api/v1/actions", params={"scope": "all", "kind": "incident.remove-task"}).json()["items"][0]
    assert client.post(f"/api/v1/actions/{removed['id']}/undo").json()["status"] == "Undone"
    assert [t["title"] for t in client.get(path).json()["tasks"]] == ["Reset it"]
    led = client.patch(
        path, json={"phase": "Containment", "roles": {"Recorder": "reader", "TechnicalLead": "responder"}}
    ).json()
    assert (led["phase"], led["roles"]) == ("Containment", {"Recorder": "reader", "TechnicalLead": "responder"})
    assert client.patch(path, json={"roles": {"Recorder": None}}).json()["roles"] == {"TechnicalLead": "responder"}
    for wrong in ({"phase": "Panic"}, {"roles": {"Boss": "reader"}}, {"roles": {"Recorder": "nobody"}}):
        assert client.patch(path, json=wrong).status_code == 422
    assert client.patch(path, json={"phase": None}).json()["phase"] is None
    entry = client.post(f"{path}/comments", json={"text": "frist"}).json()["activity"][-1]["id"]
    edited = client.patch(f"{path}/comments/{entry}", json={"text": "first"}).json()
    comment = next(a for a in edited["activity"] if a["id"] == entry)
    assert comment["text"] == "first"
    assert comment["detail"]["edited"]
    with fresh.client("contributor") as other:
        assert other.patch(f"{path}/comments/{entry}", json={"text": "mine"}).status_code == 409
    kinds = [e["kind"] for e in client.get(f"{path}/log").json()["items"]]
    assert {"task", "task-removed", "entry-changed"} <= set(kinds)
    with fresh.workspace.state.read() as unit:
        assert list(rebuild(unit, repair=False)) == []


def waited(client: httpx.Client, query: str, rows: int) -> list[list[Any]]:
    """The query's rows once there are as many."""
    found: list[list[Any]] = []
    until = time.monotonic() + 60
    while len(found) < rows and time.monotonic() < until:
        answer = client.post("/api/v1/query", json={"query": query})
        assert answer.status_code == 200, answer.text
        found = answer.json()["rows"]
        time.sleep(0.1)
    assert len(found) == rows, found
    return found


def test_edits_are_in_the_action_centre_only_when_asked_for(client: httpx.Client) -> None:
    item = first(client)
    client.patch(f"/api/v1/incidents/{item['id']}", json={"status": "InProgress"})
    assert client.get("/api/v1/actions").json()["total"] == 0
    page = client.get("/api/v1/actions", params={"scope": "all", "incident_id": item["id"]}).json()
    assert [(a["kind"], a["title"], a["undoable"]) for a in page["items"]] == [
        ("incident.status", "Set to InProgress", True)
    ]
    assert client.post(f"/api/v1/actions/{page['items'][0]['id']}/undo").json()["status"] == "Undone"
    assert first(client)["status"] == "New"


def test_filters_over_the_wire(fresh: Served, client: httpx.Client) -> None:
    fresh.workspace.incidents.add([alert("three", 0, WS2, severity="Low")])
    for query, expected in (
        ("status=New,InProgress&severity=High", 1),
        ("severity=Low, High", 2),
        ("status=Resolved", 0),
        ("owner=none", 2),
        ("tag=x", 0),
        ("q=WS2", 1),
        ("q=%25", 0),
        ("q=%27%20OR%201=1--", 0),
        ("limit=1&offset=1", 2),
        ("classification=none", 2),
        ("classification=FalsePositive", 0),
        ("since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00%2B02:00", 0),
        ("since=2020-01-01T00:00:00Z", 2),
    ):
        assert client.get(f"/api/v1/incidents?{query}").json()["total"] == expected, query
    refused = client.get("/api/v1/incidents?status=New,Resolvd")
    assert (refused.status_code, refused.json()["code"]) == (422, "INC0007")
    assert "Did you mean 'Resolved'" in refused.json()["hint"]
    for wrong in ("since=yesterday", "until=2026-01-01T00:00:00"):  # a time without a zone is nobody's
        assert client.get(f"/api/v1/incidents?{wrong}").status_code == 422, wrong
    titles = [i["severity"] for i in client.get("/api/v1/incidents?sort=severity&order=asc").json()["items"]]
    assert titles == ["Low", "High"]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("?tactics=Impact", "Did you mean 'tactic'?"),
        ("/metrics?start=2026-01-01T00:00:00Z", ""),
        ("/filters?x=1", "It knows none."),
        ("/{id}?evidence=false", "It knows none."),
        ("/{id}/alerts?severities=High", "Did you mean 'severity'?"),
        ("/{id}/entities?kind=Host", ""),
        ("/{id}/graph?formt=graphml", "Did you mean 'format'?"),
        ("/{id}/neighbours?limit=3", "It knows none."),
        ("/{id}/narrative?limit=3", "It knows none."),
        ("/{id}/tasks?limit=3", "It knows none."),
        ("/weights?side=priority", "It knows none."),
    ],
)
def test_a_parameter_that_the_route_does_not_know_is_refused(client: httpx.Client, path: str, hint: str) -> None:
    asked = "/api/v1/incidents" + path.format(id=first(client)["id"])
    answer = client.post(asked, json={"title": "x"}) if "/tasks" in path else client.get(asked)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (422, "API0014"), told
    assert repr(path.partition("?")[2].partition("=")[0]) in told["detail"]
    assert told["hint"] == hint or (not hint and told["hint"].startswith("It knows ")), told["hint"]


def test_who_is_not_signed_in_is_told_that_before_a_parameter_is_looked_at(fresh: Served) -> None:
    with fresh.client() as nobody:
        assert nobody.get("/api/v1/incidents?tactics=Impact").status_code == 401


def test_values_that_nothing_can_have_are_refused_on_an_incident_s_pages_too(client: httpx.Client) -> None:
    here = f"/api/v1/incidents/{first(client)['id']}"
    for asked, hint in (
        ("alerts?severity=High,Hgih", "Did you mean 'High'?"),
        ("alerts?severity=Huge", "One of Informational, Low, Medium, High."),
        ("entities?type=Hots", "Did you mean 'Host'?"),
    ):
        answer = client.get(f"{here}/{asked}")
        assert (answer.status_code, answer.json()["code"], answer.json()["hint"]) == (422, "INC0007", hint), asked
    assert client.get(f"{here}/alerts?severity=Low").json()["items"] == []
    assert client.get(f"{here}/entities?type=Mailbox").json()["items"] == []


def test_merging_moving_and_taking_back(client: httpx.Client, fresh: Served) -> None:
    fresh.workspace.incidents.add([alert("other", 5, WS2, severity="Low", tactics=("Discovery",))])
    items = client.get("/api/v1/incidents", params={"sort": "number", "order": "asc"}).json()["items"]
    one, two = (i["id"] for i in items)
    preview = client.post(f"/api/v1/incidents/{one}/merge/preview", json={"sources": [two]})
    assert preview.status_code == 200, preview.text
    assert preview.json()["alerts"] == 1
    assert preview.json()["incident"]["alert_count"] == 3
    assert preview.json()["vetoes"] == []
    made = client.post(f"/api/v1/incidents/{one}/merge", json={"sources": [two], "reason": "one case"})
    assert made.status_code == 200, made.text
    assert made.json()["alert_count"] == 3
    gone = client.get(f"/api/v1/incidents/{two}").json()
    assert (gone["status"], gone["redirect_to"]) == ("Redirected", one)
    again = client.post(f"/api/v1/incidents/{one}/merge", json={"sources": [two]})
    assert again.status_code == 409
    assert "merged into another" in again.json()["detail"]

    action = client.get("/api/v1/actions", params={"incident_id": one}).json()["items"][0]
    assert (action["kind"], action["status"], action["undoable"]) == ("incident.merge", "Succeeded", True)
    with fresh.client("administrator") as administrator:
        undone = administrator.post(f"/api/v1/actions/{action['id']}/undo", json={"comment": ""})
    assert undone.status_code == 200, undone.text
    assert client.get(f"/api/v1/incidents/{two}").json()["status"] == "New"

    alert_id = client.get(f"/api/v1/incidents/{one}").json()["alerts"][0]["id"]
    moved = client.post(f"/api/v1/incidents/{one}/move-alerts", json={"alerts": [alert_id]})
    assert moved.status_code == 200, moved.text
    assert client.get(f"/api/v1/incidents/{moved.json()['incident']}").json()["alerts"][0]["id"] == alert_id
    every = client.post(f"/api/v1/incidents/{two}/move-alerts", json={"alerts": [f"{alert_id}x"]})
    assert every.status_code in (400, 422)
    with fresh.client("reader") as reader:
        assert reader.post(f"/api/v1/incidents/{one}/merge", json={"sources": [two]}).status_code == 403


def test_weights_over_the_wire(fresh: Served, client: httpx.Client) -> None:
    item = first(client)
    assert client.put("/api/v1/incidents/priority", json={"weights": {"stage": 1}}).status_code == 403
    with fresh.client("administrator") as admin:
        assert admin.put("/api/v1/incidents/priority", json={"weights": {"stge": 1}}).json()["hint"]
        made = admin.put("/api/v1/incidents/priority", json={"weights": {"severity": {"High": 1}}}).json()
        assert (made["weights"]["severity"]["High"], made["usual"]["severity"]["High"]) == (1, 35)
        assert made["version"] == admin.get("/api/v1/incidents/weights").json()["version"] == 1
        for path, body in (
            ("weights", {"correlation": {"grace": 2}, "version": 0}),
            ("priority", {"weights": {}, "version": 0}),
        ):
            overtaken = admin.put(f"/api/v1/incidents/{path}", json=body)
            assert (overtaken.status_code, overtaken.json()["code"]) == (409, "STA0003")
            (change,) = overtaken.json()["changes"]
            assert (change["actor"], change["changed"]) == ("administrator", ["severity.High"])
    past = client.get(f"/api/v1/incidents/{item['id']}/priority").json()["items"]
    assert past[0]["score"] == item["priority"]
    assert [{r["text"]: r["weight"] for r in p["reasons"]}["High severity"] for p in past] == [35, 1]
    assert first(client)["priority"] == past[-1]["score"]
    assert client.get("/api/v1/incidents/assets").json() == {"items": []}


def test_the_story_its_processes_and_its_proof_over_the_wire(running: Served) -> None:
    started = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)

    def process(pid: int, after: int, parent: int, parent_after: int, name: str) -> dict[str, Any]:
        return {
            "Timestamp": started + timedelta(seconds=after), "DeviceName": "ws1.contoso.com", "ActionType": "ProcessCreated", "FileName": name,
            "ProcessId": pid, "ProcessCreationTime": started + timedelta(seconds=after), "InitiatingProcessId": parent,
            "ProcessCommandLine": f"{name} -x", "InitiatingProcessFileName": "explorer.exe",
            "InitiatingProcessCreationTime": started + timedelta(seconds=parent_after),
        }  # fmt: skip

    rows = [
        process(10, 1, 4, 0, "word.exe"),
        process(11, 2, 10, 1, "cmd.exe"),
        process(10, 60, 4, 0, "calc.exe"),
        process(12, 61, 10, 60, "sub.exe"),
    ]
    ended = [
        {"TimeGenerated": started + timedelta(seconds=30), "Computer": "ws1.contoso.com", "EventID": 4689, "ProcessId": "0xb",
         "ProcessName": "C:\\Windows\\cmd.exe", "EventSourceName": "Microsoft-Windows-Security-Auditing"}
    ]  # fmt: skip
    logons = [
        {"Timestamp": started, "TimeGenerated": started, "DeviceName": "srv1.contoso.com", "ActionType": "LogonSuccess", "AccountDomain": "CONTOSO",
         "AccountName": "ann", "LogonType": "RemoteInteractive"}
    ]  # fmt: skip
    running.workspace.lake.write(
        [
            TableBatch("DeviceProcessEvents", pa.Table.from_pylist(rows)),
            TableBatch("SecurityEvent", pa.Table.from_pylist(ended)),
            TableBatch("DeviceLogonEvents", pa.Table.from_pylist(logons)),
        ]
    )
    running.workspace.lake.flush()
    evidence = Evidence(
        "DeviceProcessEvents", {"ProcessId": 11, "ProcessCreationTime": (started + timedelta(seconds=2)).isoformat()}
    )
    made = replace(
        alert("run", 0, WS1, ANN, events=(evidence,), techniques=("T1003",)),
        time=started,
        end=started + timedelta(minutes=2),
    )
    running.workspace.incidents.add([made])
    with running.client("administrator") as client:
        path = f"/api/v1/incidents/{first(client)['id']}"
        told = client.get(f"{path}/narrative").json()
        assert told["root_cause"]["alert_id"] == made.id
        assert told["blast_radius"]["counts"]["hosts"] == 1
        step = next(a for a in told["advice"] if a["because"] == "T1003")
        assert {(t["type"], t["label"]) for t in step["about"]} == {
            ("Account", "CONTOSO\\ann"),
            ("Host", "ws1.contoso.com"),
        }
        assert (step["state"], step["alerts"]) == ("open", ["run"])
        assert client.post(f"{path}/tasks", json={"title": step["do"]}).status_code == 201
        assert client.post(f"{path}/comments", json={"text": "ws1.contoso.com is off the net"}).status_code == 201
        (step,) = [a for a in client.get(f"{path}/narrative").json()["advice"] if a["do"] == step["do"]]
        assert step["state"] == "task"
        assert [
            t["comment"].endswith(": ws1.contoso.com is off the net") for t in step["about"] if t["type"] == "Host"
        ] == [True]
        (tree,) = client.get(f"{path}/processes").json()["trees"]
        assert (tree["pid"], tree["seen"], [c["file"] for c in tree["children"]]) == (4, False, ["word.exe"]), tree
        (cmd,) = tree["children"][0]["children"]
        assert (cmd["pid"], cmd["alerts"], cmd["certain"]) == (11, [made.id], True)
        assert (cmd["ended"], tree["children"][0]["ended"]) == (
            (started + timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            None,
        )
        reach = client.get(f"{path}/reach").json()
        (srv,) = [t for t in reach["things"] if t["label"] == "srv1.contoso.com"]
        assert [(w["from"]["label"], w["how"]) for w in srv["ways"]] == [
            ("CONTOSO\\ann", "signs in there (RemoteInteractive)")
        ]
        assert {"IdentityInfo"} <= {w for u in reach["unknown"] for w in u["why"].split()}
        for kind in ("json", "pdf"):
            answer = client.get(f"{path}/export", params={"format": kind})
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-disposition"].endswith(f'.{kind}"')
            assert verify(answer.content).intact
    with running.client("reader") as reader:
        proof = reader.get(f"{path}/export").json()
        assert proof["sections"]["audit"]["rows"] is None, "who may not read the audit log gets its head only"
        assert reader.get(f"{path}/narrative").status_code == 200
