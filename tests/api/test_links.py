"""Links to incidents: where people reach the portal is told in rows, in the API, in exports and by commands; what was written before stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.api.conftest import Served
from tests.api.test_incidents import waited
from tests.incidents.test_correlate import WS1, alert
from tocsin.cli.app import app as commands

URL = "https://soc.example:8443"


def test_a_link_leads_to_the_page_wherever_an_incident_is_told_of(
    running: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running.workspace.incidents.add([alert("one", 0, WS1, severity="High")])
    with running.client("responder") as client:
        rows = "SecurityIncident | sort by toint(AdditionalData.version) asc | project IncidentUrl, tostring(AdditionalData.providerIncidentUrl)"
        item = client.get("/api/v1/incidents").json()["items"][0]
        here = running.workspace.settings.server.address()
        assert here.startswith("http://127.0.0.1:")
        assert item["url"] == f"{here}/incidents/{item['id']}"
        before = waited(client, rows, 1)
        assert before == [[item["url"], item["url"]]]

        running.workspace.state.portal = URL
        path = f"/api/v1/incidents/{item['id']}"
        assert client.patch(path, json={"status": "InProgress"}).json()["url"] == f"{URL}/incidents/{item['id']}"
        assert waited(client, rows, 2) == [*before, [f"{URL}/incidents/{item['id']}"] * 2]
        proof = client.get(f"{path}/export").json()
        assert proof["sections"]["incident"]["url"] == f"{URL}/incidents/{item['id']}"

        running.workspace.state.portal = ""
        client.patch(path, json={"add_tags": ["x"]})
        assert client.get(path).json()["url"] is None
        assert waited(client, rows, 3)[-1] == ["", ""]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOCSIN_SERVER__PUBLIC_URL", URL)
    listed = CliRunner().invoke(
        commands, ["incidents", "list", "--json", "--data", str(running.workspace.settings.data)]
    )
    assert json.loads(listed.stdout)["items"][0]["url"] == f"{URL}/incidents/{item['id']}"
