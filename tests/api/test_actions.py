"""The action centre over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.api.conftest import Served
from tests.incidents.test_correlate import WS1, alert
from tocsin.respond import Able


def test_propose_approve_undo(fresh: Served) -> None:
    fresh.workspace.incidents.add([alert("one", 0, WS1)])
    with fresh.client("responder") as client:
        incident = client.get("/api/v1/incidents").json()["items"][0]
        made = client.post(
            "/api/v1/actions",
            json={"kind": "test.lamp", "input": {"lamp": "A"}, "incident_id": incident["id"], "comment": "dark"},
        )
        assert made.status_code == 201
        action = made.json()
        assert {
            "id", "kind", "title", "summary", "input", "status", "able", "able_reason", "proposed_by", "proposed_at", "decided_by", "decided_at",
            "expires_at", "incident_id", "result", "undoable", "history",
        } <= set(action)  # fmt: skip
        assert (action["status"], action["incident_number"]) == ("Proposed", 1)
        path = f"/api/v1/actions/{action['id']}"
        assert client.get("/api/v1/actions?status=Proposed").json()["counts"] == {"Proposed": 1}
        done = client.post(f"{path}/approve", json={"comment": "yes"}).json()
        assert (done["status"], done["result"]) == ("Succeeded", {"lit": "A"})
        assert client.post(f"{path}/reject", json={}).status_code == 409
        assert client.post(f"{path}/undo").json()["status"] == "Undone"
        kinds = [a["kind"] for a in client.get(f"/api/v1/incidents/{incident['id']}").json()["activity"]]
        assert kinds == ["created", "action", "action", "action"]


def test_a_double_click_approves_once(fresh: Served) -> None:
    with fresh.client("responder") as client:
        action = client.post("/api/v1/actions", json={"kind": "test.lamp", "input": {"lamp": "A"}}).json()

        def approve(_: int) -> int:
            return client.post(f"/api/v1/actions/{action['id']}/approve", json={}).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(approve, range(8))) == {200}
    assert fresh.lamp.calls == ["light A"]


def test_what_cannot_be_done_is_shown_and_refused_with_the_reason(fresh: Served) -> None:
    fresh.lamp.ability = Able(False, "There is no electricity.")
    with fresh.client("responder") as client:
        kinds = {k["kind"]: k for k in client.get("/api/v1/action-kinds").json()["items"]}
        assert (kinds["test.lamp"]["able"], kinds["test.lamp"]["able_reason"]) == (False, "There is no electricity.")
        assert kinds["host.block_address"]["approval"] == "one"
        assert kinds["host.block_address"]["input_schema"]["required"] == ["address"]
        action = client.post("/api/v1/actions", json={"kind": "test.lamp", "input": {"lamp": "A"}}).json()
        answer = client.post(f"/api/v1/actions/{action['id']}/approve", json={})
        assert (answer.status_code, answer.json()["code"]) == (409, "ACT0005")
        assert "no electricity" in answer.json()["detail"]


def test_a_reader_sees_and_does_nothing(fresh: Served) -> None:
    with fresh.client("responder") as client:
        action = client.post("/api/v1/actions", json={"kind": "test.lamp", "input": {"lamp": "A"}}).json()
    with fresh.client("reader") as client:
        assert client.get(f"/api/v1/actions/{action['id']}").status_code == 200
        for step in ("approve", "reject", "undo"):
            assert client.post(f"/api/v1/actions/{action['id']}/{step}", json={}).status_code == 403
    assert fresh.lamp.calls == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"kind": "none"}, 404, "ACT0002"),
        ({"kind": "test.lamp", "input": {}}, 422, "ACT0003"),
        ({"kind": "host.block_address", "input": {"address": "127.0.0.1"}}, 422, "ACT0003"),
        ({"kind": "host.block_address", "input": {"address": "203.0.113.0/24"}}, 422, "ACT0003"),
        ({"kind": "webhook", "input": {"url": "http://10.0.0.1/"}}, 422, "ACT0003"),
        ({"kind": "test.lamp", "input": {"lamp": "A"}, "incident_id": "none"}, 404, "STA0002"),
    ],
)
def test_wrong_proposals(clients: dict[str, httpx.Client], body: dict[str, object], status: int, code: str) -> None:
    answer = clients["Responder"].post("/api/v1/actions", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
