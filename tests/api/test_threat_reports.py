"""Threat reports on a server: imported by its API and by the command, seen by the queue, replaced, taken back, with a trail."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from tests.api.conftest import Served
from tests.incidents.test_correlate import alert
from tests.incidents.test_stix import ACTOR, ONE, bundle, report, uid
from tocsin.cli.app import app
from tocsin.tables import Entity

TAG = "Threat report: Sea Turtle 2026"
ID = f"stix-report-{uid(5)}"
SEA_TURTLE = report(5, ACTOR, ONE, name="Sea Turtle, 2026")


@pytest.fixture(scope="module")
def client(served: Served, clients: dict[str, httpx.Client]) -> httpx.Client:
    served.workspace.incidents.add([alert("a", 0, Entity("IP", {"Address": "203.0.113.9"}))])
    return clients["Contributor"]


def run(served: Served, *arguments: str) -> tuple[int, str, str]:
    env = {"TOCSIN_TOKEN": served.token("Contributor")}
    done = CliRunner().invoke(app, ["reports", *arguments, "--server", served.url], env=env)
    return done.exit_code, done.stdout, done.stderr


def tagged(client: httpx.Client) -> list[str]:
    found = client.get("/api/v1/incidents", params={"tag": TAG}).json()["items"]
    return [t for i in found for t in i["tags"]]


def test_a_report_is_imported_found_again_replaced_and_taken_back(
    client: httpx.Client, served: Served, tmp_path: Path
) -> None:
    text = bundle(ACTOR, ONE, SEA_TURTLE, report(6, name="Broken", object_refs=[]))
    trial = client.post("/api/v1/threat-reports/import", json={"bundle": text, "dry_run": True}).json()
    assert ([r["id"] for r in trial["imported"]], trial["refused_count"], trial["dry_run"]) == ([ID], 1, True)
    assert tagged(client) == []

    made = client.post("/api/v1/threat-reports/import", json={"bundle": text}).json()
    assert made["refused"] == [{"place": "objects[3].object_refs", "reason": "the report refers to no objects"}]
    assert tagged(client) == [TAG], "an open incident looks like it from then on"
    one = client.get(f"/api/v1/threat-reports/{ID}").json()
    assert (one["about"], one["open_incidents"], one["removable"]) == (["Intrusion set: Sea Turtle"], 1, True)
    assert [i["value"] for i in one["indicators"]] == ["203.0.113.9", "evil.example"]
    (incident,) = one["items"]
    story = client.get(f"/api/v1/incidents/{incident['id']}/narrative").json()
    assert [(r["id"], r["indicators"]) for r in story["reports"]] == [(ID, ["203.0.113.9"])]

    path = tmp_path / "turtle.json"
    path.write_text(text)
    code, out, err = run(served, "import", str(path))
    assert (code, out) == (3, f"unchanged  {ID}  Sea Turtle, 2026\n")
    assert "objects[3].object_refs: the report refers to no objects (refused)" in err
    later = {**SEA_TURTLE, "modified": "2026-02-01T00:00:00Z", "name": "Sea Turtle 2026", "description": "Anew."}
    path.write_text(bundle(ACTOR, ONE, later))
    assert run(served, "import", str(path))[:2] == (0, f"updated  {ID}  Sea Turtle 2026\n")
    assert "  indicator   203.0.113.9\n" in run(served, "show", ID)[1]
    assert f"#{incident['number']} New" in run(served, "show", ID)[1]
    listed = json.loads(run(served, "list", "--json")[1])["items"]
    assert (listed[0]["id"], listed[0]["tag"]) == (ID, TAG)

    # Its maker takes it back: the tag goes from what is open.
    path.write_text(bundle({**later, "revoked": True, "modified": "2026-03-01T00:00:00Z"}))
    assert run(served, "import", str(path))[:2] == (0, f"removed  {ID}  Sea Turtle 2026\n")
    assert tagged(client) == []
    with served.workspace.state.read() as unit:
        trail = [(r.action, r.object_id) for r in unit.audit.rows()]
    assert sorted(a for a, i in trail if i == ID) == [
        "threat-report.delete",
        "threat-report.import",
        "threat-report.import",
    ]


def test_only_imported_reports_are_removed_and_bad_bundles_refused(client: httpx.Client, served: Served) -> None:
    other = report(7, ONE, name="Other")
    assert client.post("/api/v1/threat-reports/import", json={"bundle": bundle(ONE, other)}).is_success
    assert run(served, "remove", f"stix-report-{uid(7)}")[0] == 0
    assert client.delete(f"/api/v1/threat-reports/stix-report-{uid(7)}").status_code == 404
    packs = client.delete("/api/v1/threat-reports/report-web-shell")
    assert (packs.status_code, packs.json()["code"]) == (422, "CNT0061")
    near = client.get("/api/v1/threat-reports/report-web-shel").json()
    assert "report-web-shell" in near["hint"]
    bad = client.post("/api/v1/threat-reports/import", json={"bundle": "<stix/>"}).json()
    assert (bad["code"], bad["hint"]) == ("CNT0060", "STIX 1 is XML; only STIX 2 is read.")
