"""Transforms over the API and the command line, on a running server: tried, saved, switched, undone, audited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tests.api.conftest import Served, open_served
from tests.ingest.intake_support import until
from tocsin.cli.app import app as commands
from tocsin.ingest.decoders.body import frame_syslog
from tocsin.lake import Body

KEEP = {"name": "No passwords", "stream": "syslog"}
MASK = "source | extend SyslogMessage = replace_regex(SyslogMessage, @'password=\\S+', 'password=***')"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the module: its tests look at senders and hosts of their own."""
    yield from open_served(tmp_path_factory.mktemp("running"), start=True)


def send(served: Served, *lines: str) -> None:
    intake = served.workspace._intake
    bodies = [
        Body("syslog", frame_syslog([x.encode() for x in lines]), served.workspace.clock.now(), {"peer": "10.0.0.9"})
    ]
    assert intake.wait_visible(intake.submit(bodies).result(60), 60)


def messages(client: httpx.Client, host: str = "web01") -> list[str]:
    answer = client.post(
        "/api/v1/query",
        json={"query": f"Syslog | where HostName == '{host}' | order by SyslogMessage asc | project SyslogMessage"},
    )
    return [r[0] for r in answer.json()["rows"]]


def line(number: int, host: str = "web01") -> str:
    return f"<34>1 2024-05-01T10:00:00Z {host} app 1 - - try {number} password=hunter2"


def flows(*texts: str) -> dict[str, Any]:
    return {**KEEP, "flows": [{"transformKql": t} for t in texts]}


def test_a_transform_is_tried_saved_switched_and_undone(
    running: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(running, line(1))
    with running.client("contributor") as client:
        refused = client.post("/api/v1/transforms/preview", json=flows("source | summarize count() by HostName"))
        assert refused.status_code == 400
        (found,) = refused.json()["diagnostics"]
        assert (found["code"], found["line"], found["start"], found["end"]) == ("KQL0204", 1, 9, 18)

        tried = client.post("/api/v1/transforms/preview", json=flows(MASK)).json()
        before, (after,) = tried["before"], tried["after"]
        assert (before["count"], after["count"]) == (1, 1)
        assert "hunter2" in json.dumps(before)
        assert "hunter2" not in json.dumps(after)
        send(running, line(2))  # nothing was saved yet
        saved = client.post("/api/v1/transforms", json=flows(MASK))
        assert saved.status_code == 201, saved.text
        made = saved.json()
        send(running, line(3))
        assert messages(client) == ["try 1 password=hunter2", "try 2 password=hunter2", "try 3 password=***"]

        # A stream has one; a second version replaces the first, and undo brings it back.
        other = client.post("/api/v1/transforms", json={**flows("source"), "name": "Another"})
        assert (other.status_code, other.json()["code"]) == (409, "ING0052")
        second = client.post("/api/v1/transforms", json={**flows("source | where false"), "id": made["id"]}).json()
        assert (second["version"], len(second["versions"])) == (2, 2)
        send(running, line(4))
        undone = client.post(f"/api/v1/transforms/{made['id']}/undo").json()
        assert (undone["version"], undone["flows"][0]["transformKql"]) == (3, MASK)
        send(running, line(5))
        assert messages(client)[3:] == ["try 5 password=***"]
        stream = next(s for s in client.get("/api/v1/transforms/streams").json()["items"] if s["name"] == "syslog")
        assert stream == {"name": "syslog", "seen": True, "transform": made["id"]}

        unknown = client.post("/api/v1/transforms", json={**flows("source"), "stream": "sylog"})
        assert (unknown.status_code, unknown.json()["code"]) == (422, "ING0050")
        assert "syslog" in unknown.json()["hint"]
        own = client.post("/api/v1/transforms", json={**flows("source"), "stream": "Microsoft-Table-DeadLetter_CL"})
        assert own.json()["code"] == "ING0053"

    # The same by the command line.
    monkeypatch.setenv("TOCSIN_SERVER", running.url)
    monkeypatch.setenv("TOCSIN_TOKEN", running.token("Contributor"))
    run = CliRunner()

    def tell(*words: str) -> Any:
        ended = run.invoke(commands, ["transforms", *words, "--json"], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.output)

    assert [t["id"] for t in tell("list")] == [made["id"]]
    assert tell("off", made["id"])["run"] is None
    send(running, line(6))
    file = tmp_path / "t.yaml"
    file.write_text(json.dumps({**flows("source | where SyslogMessage has 'seven'"), "name": "New"}))
    assert tell("try", str(file))["after"][0]["count"] == 0
    new = tell("save", str(file), "--id", made["id"])
    assert (new["version"], new["name"]) == (5, "New")
    assert tell("undo", made["id"])["enabled"] is False
    assert tell("on", made["id"])["enabled"] is True
    assert tell("show", made["id"])["version"] == 7
    assert tell("remove", made["id"]) == {"removed": made["id"]}
    assert tell("list") == []
    send(running, line(7))
    with running.client("administrator") as client:
        assert messages(client)[4:] == ["try 6 password=hunter2", "try 7 password=hunter2"]
        audit = client.get("/api/v1/audit", params={"limit": 50}).json()["items"]
    said = [a["action"] for a in audit if a["action"].startswith("transform.")]
    steps = ("save", "save", "undo", "switch", "save", "undo", "switch", "remove")
    assert said[::-1] == [f"transform.{step}" for step in steps]


def test_a_tables_transform_is_tried_on_what_is_stored(running: Served) -> None:
    send(running, line(1, "web02"))
    until(lambda: running.workspace.queries.run("Syslog | where HostName == 'web02' | count").rows() == [[1]], 60)
    table = {"name": "t", "stream": "Microsoft-Table-Syslog"}
    kql = "source | where HostName == 'web02' | project TimeGenerated, HostName, SyslogMessage = toupper(SyslogMessage)"
    with running.client("contributor") as client:
        tried = client.post("/api/v1/transforms/preview", json={**table, "flows": [{"transformKql": kql}]})
        assert tried.status_code == 200, tried.text
        assert tried.json()["after"][0]["rows"][0][2] == "TRY 1 PASSWORD=HUNTER2"
        saved = client.post("/api/v1/transforms", json={**table, "flows": [{"transformKql": kql}]})
        assert saved.status_code == 201
        send(running, line(2, "web02"))
        assert messages(client, "web02") == ["TRY 2 PASSWORD=HUNTER2", "try 1 password=hunter2"]
        assert client.delete(f"/api/v1/transforms/{saved.json()['id']}").status_code == 204
