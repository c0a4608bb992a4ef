"""Deleting and purging over HTTP."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.api.conftest import Served
from tocsin.base.errors import TocsinError
from tocsin.cli.app import app as commands
from tocsin.lake import TableBatch

CHOICE = {"table": "Syslog", "condition": "SyslogMessage has 'odd'"}


@pytest.fixture(scope="module")
def admin(served: Served, clients: dict[str, httpx.Client]) -> httpx.Client:
    times = pa.array([datetime(2026, 3, 1) + timedelta(minutes=n) for n in range(20)], pa.timestamp("us"))  # noqa: DTZ001
    rows = {
        "SyslogMessage": ["odd" if n % 2 else "even" for n in range(20)],
        "TimeGenerated": times,
        "_TimeReceived": times,
    }
    served.workspace.lake.write([TableBatch("Syslog", pa.table(rows))])
    return clients["Administrator"]


def test_delete_undo_purge(admin: httpx.Client, clients: dict[str, httpx.Client]) -> None:
    found = admin.post("/api/v1/lake/preview", json=CHOICE).json()
    first = found.pop("first")
    assert found == {"table": "Syslog", "rows": 10, "deleted_before": 0, "archived": 0, "evidence": []}
    names = [c["name"] for c in first["columns"]]
    assert {r[names.index("SyslogMessage")] for r in first["rows"]} == {"odd"}
    assert first["count"] == 10
    times = [r[names.index("TimeGenerated")] for r in first["rows"]]
    assert times == sorted(times, reverse=True)
    wrong = admin.post("/api/v1/lake/deletions", json={**CHOICE, "expected": 9})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "USE0032")
    made = admin.post("/api/v1/lake/deletions", json={**CHOICE, "expected": 10})
    assert made.status_code == 201
    assert admin.get("/api/v1/lake/deletions").json()["items"] == [made.json()]
    back = admin.delete(f"/api/v1/lake/deletions/{made.json()['id']}")
    assert back.json()["rows"] == 10
    assert admin.delete(f"/api/v1/lake/deletions/{made.json()['id']}").status_code == 404
    refused = clients["Contributor"].post("/api/v1/lake/purges", json={**CHOICE, "expected": 10})
    assert refused.status_code == 403
    assert admin.post("/api/v1/lake/purges", json={**CHOICE, "expected": 10}).json() == {"table": "Syslog", "rows": 10}
    left = admin.post("/api/v1/query", json={"query": "Syslog | count"}).json()["rows"]
    assert left == [[10]]
    actions = [a["action"] for a in admin.get("/api/v1/audit?object_id=Syslog").json()["items"]]
    assert actions == ["lake.purge", "lake.undelete", "lake.delete"]
    grouped = admin.get("/api/v1/audit?action=lake.&object_id=Syslog").json()
    assert (grouped["total"], {a["action"] for a in grouped["items"]}) == (3, set(actions))
    assert admin.get("/api/v1/audit?action=lake.undelete").json()["total"] == 1
    assert admin.get("/api/v1/audit?action=lake").json()["total"] == 0


def test_a_purge_that_is_proposed_waits_for_its_approval(
    admin: httpx.Client, clients: dict[str, httpx.Client], served: Served
) -> None:
    times = pa.array([datetime(2026, 3, 2)] * 3, pa.timestamp("us"))  # noqa: DTZ001
    rows = {"SyslogMessage": ["secret", "secret", "other"], "TimeGenerated": times, "_TimeReceived": times}
    served.workspace.lake.write([TableBatch("Purged_CL", pa.table(rows))])
    asked = {"table": "Purged_CL", "condition": "SyslogMessage == 'secret'", "expected": 2}

    def count() -> int:
        answer = admin.post("/api/v1/query", json={"query": "Purged_CL | count"}).json()
        return int(answer["rows"][0][0])

    refused = clients["Contributor"].post("/api/v1/actions", json={"kind": "lake.purge", "input": asked})
    assert refused.status_code == 403
    wrong = {**asked, "condition": "Secret ==="}
    assert admin.post("/api/v1/actions", json={"kind": "lake.purge", "input": wrong}).status_code == 400
    made = admin.post("/api/v1/actions", json={"kind": "lake.purge", "input": asked, "comment": "case 7"}).json()
    assert (made["status"], made["title"], made["undoable"]) == ("Proposed", "Purge 2 rows of Purged_CL", False)
    assert count() == 3
    assert clients["Contributor"].post(f"/api/v1/actions/{made['id']}/approve", json={}).status_code == 403
    done = admin.post(f"/api/v1/actions/{made['id']}/approve", json={}).json()
    assert (done["status"], done["result"], count()) == ("Succeeded", {"rows": 2}, 1)
    # What was counted when it was proposed isn't so any more: nothing goes, and it says so.
    other = {**asked, "condition": "SyslogMessage == 'other'", "expected": 2}
    made = admin.post("/api/v1/actions", json={"kind": "lake.purge", "input": other}).json()
    failed = admin.post(f"/api/v1/actions/{made['id']}/approve", json={}).json()
    assert (failed["status"], count()) == ("Failed", 1)
    assert "chooses 1 rows now, not 2" in failed["error"]


def test_a_search_job(admin: httpx.Client, clients: dict[str, httpx.Client], served: Served) -> None:
    span = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"}
    asked = {"name": "Even", "query": "Syslog | where SyslogMessage == 'even'", **span}
    found = admin.post("/api/v1/search-jobs/estimate", json={"text": asked["query"], **span})
    assert (found.json()["days"], found.json()["table"]) == (1, "Syslog")
    wrong = admin.post("/api/v1/search-jobs", json={**asked, "query": "Syslog | count"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "USE0034")
    made = admin.post("/api/v1/search-jobs", json=asked)
    assert (made.status_code, made.json()["status"]) == (202, "Queued")
    served.workspace.jobs.run_pending()
    done = clients["Reader"].get(f"/api/v1/search-jobs/{made.json()['id']}").json()
    assert (done["status"], done["rows"]) == ("Succeeded", 10)
    assert clients["Reader"].get("/api/v1/search-jobs").json()["items"] == [done]
    answer = admin.post("/api/v1/query", json={"query": "Even_SRCH | count"}).json()
    assert (answer["rows"], answer["problems"]) == ([[10]], [])
    assert admin.post(f"/api/v1/search-jobs/{done['id']}/cancel").status_code == 409
    assert admin.delete(f"/api/v1/search-jobs/{done['id']}").json()["status"] == "Removed"
    assert admin.post("/api/v1/search-jobs/restore", json={"table": "Syslog", **span}).json()["code"] == "USE0035"
    assert admin.get("/api/v1/search-jobs/nothing").status_code == 404


def test_summary_rules(admin: httpx.Client, clients: dict[str, httpx.Client]) -> None:
    rule = {
        "name": "By hour",
        "query": "Syslog | summarize n = count()",
        "destinationTable": "Hourly_CL",
        "binSize": 60,
    }
    wrong = admin.post("/api/v1/summary-rules", json={**rule, "binSize": 7})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "USE0036")
    assert clients["Reader"].post("/api/v1/summary-rules/try", json=rule).status_code == 403
    broken = admin.post("/api/v1/summary-rules/try", json={**rule, "query": "Syslog | summarise count()"})
    assert (broken.status_code, broken.json()["diagnostics"][0]["line"]) == (400, 1)
    tried = clients["Contributor"].post("/api/v1/summary-rules/try", json=rule).json()
    assert (tried["count"], tried["rows"], tried["columns"]) == (1, [[0]], [{"name": "n", "type": "long"}])
    assert datetime.fromisoformat(tried["end"]) - datetime.fromisoformat(tried["bin"]) == timedelta(hours=1)
    assert rule["name"] not in {r["name"] for r in admin.get("/api/v1/summary-rules").json()["items"]}
    made = clients["Contributor"].post("/api/v1/summary-rules", json=rule)
    assert made.status_code == 201
    path = f"/api/v1/summary-rules/{made.json()['id']}"
    run = admin.post(f"{path}/rerun", json={"moment": "2026-03-01T00:30:00Z"}).json()
    assert (run["status"], run["rows"]) == ("Rerun", 1)
    answer = admin.post("/api/v1/query", json={"query": "Hourly_CL | project n, _BinStartTime, _BinSize"}).json()[
        "rows"
    ]
    assert answer == [[10, "2026-03-01T00:00:00.0000000Z", 60]]
    assert clients["Reader"].get(path).json()["runs"] == [run]
    assert admin.patch(path, json={"enabled": False}).json()["enabled"] is False
    assert admin.put(path, json={**rule, "binSize": 30}).json()["binSize"] == 30
    assert made.json()["id"] in {r["id"] for r in admin.get("/api/v1/summary-rules").json()["items"]}
    assert admin.delete(path).status_code == 204
    assert admin.get(path).status_code == 404


def test_summary_rules_from_the_command_line(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_SERVER", served.url)
    monkeypatch.setenv("TOCSIN_TOKEN", served.token("Contributor"))
    run = CliRunner()

    def ask(*words: str) -> Any:
        ended = run.invoke(commands, ["summaries", *words, "--json"], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.output)

    file = tmp_path / "rule.yaml"
    file.write_text(
        "id: x\nname: By host\nquery: Syslog | summarize n = count()\ndestinationTable: Cli_CL\nbinSize: 20\n"
    )
    assert ask("try", str(file))["count"] == 1
    made = ask("save", str(file))
    assert made["id"] != "x"
    assert ask("off", made["id"])["enabled"] is False
    assert ask("on", made["id"])["enabled"] is True
    file.write_text(file.read_text().replace("binSize: 20", "binSize: 30"))
    assert ask("save", str(file), "--id", made["id"])["binSize"] == 30
    assert ask("rerun", made["id"], "2026-03-01T00:10:00")["status"] == "Rerun"
    assert [r["status"] for r in ask("show", made["id"])["runs"]] == ["Rerun"]
    assert made["id"] in {r["id"] for r in ask("list")}
    told = run.invoke(commands, ["summaries", "show", made["id"]], catch_exceptions=False).output
    assert "Syslog | summarize n = count()" in told
    assert "Rerun" in told
    assert ask("remove", made["id"]) == {"removed": made["id"]}
    with pytest.raises(TocsinError, match="no summary rule"):
        run.invoke(commands, ["summaries", "show", made["id"]], catch_exceptions=False)
    file.write_text("- not a mapping\n")
    with pytest.raises(TocsinError, match="mapping") as caught:
        run.invoke(commands, ["summaries", "save", str(file)], catch_exceptions=False)
    assert caught.value.code == "CNT0010"
