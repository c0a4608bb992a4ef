"""Deleting and purging over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta

import httpx
import pyarrow as pa
import pytest

from tests.api.conftest import Served
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
    assert admin.post("/api/v1/lake/preview", json=CHOICE).json() == {
        "table": "Syslog", "rows": 10, "deleted_before": 0, "archived": 0, "evidence": [],
    }  # fmt: skip
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
