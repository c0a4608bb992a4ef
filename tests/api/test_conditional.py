"""Answers that are asked for again: 304 while nothing changed, another ETag as soon as something did, and the shapes of the contract."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.conftest import Served
from tests.incidents.test_correlate import ANN, WS1, WS2, alert
from tocsin.api.routes.incidents import IncidentPage
from tocsin.detect.alert import Evidence


@pytest.fixture
def client(fresh: Served) -> Any:
    fresh.workspace.incidents.add(
        [alert("one", 0, WS1, ANN, severity="High"), alert("two", 3, WS1), alert("far", 3, WS2)]
    )
    with fresh.client("responder") as made:
        yield made


def again(client: httpx.Client, path: str, answer: httpx.Response) -> int:
    return client.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code


def test_whoever_has_a_page_is_told_so_until_something_changes(fresh: Served, client: httpx.Client) -> None:
    path = "/api/v1/incidents?status=New"
    page = client.get(path)
    incident = f"/api/v1/incidents/{page.json()['items'][0]['id']}"
    opened = client.get(incident)
    assert page.headers["Cache-Control"] == opened.headers["Cache-Control"] == "no-store"
    for each, got in ((path, page), (incident, opened)):
        unchanged = client.get(each, headers={"If-None-Match": f'"else", W/{got.headers["ETag"]}'})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", got.headers["ETag"])
        assert client.get(each, headers={"If-None-Match": '"else"'}).content == got.content
    assert client.get("/api/v1/incidents").headers["ETag"] != client.get("/api/v1/incidents?alerts=0").headers["ETag"]

    changes: list[Any] = [
        lambda: client.patch(incident, json={"owner": "responder"}),
        lambda: client.patch(incident, json={"add_tags": ["vip"]}),
        lambda: client.post(f"{incident}/tasks", json={"title": "Look at it"}),
        lambda: fresh.workspace.incidents.add([alert("more", 4, WS1, events=(Evidence("T", {"n": 1}),))]),
    ]
    for change in changes:
        change()
        assert (again(client, path, page), again(client, incident, opened)) == (200, 200)
        page, opened = client.get(path), client.get(incident)
        assert (again(client, path, page), again(client, incident, opened)) == (304, 304)
    client.post(f"{incident}/comments", json={"text": "Real."})  # the queue shows no comments
    assert (again(client, path, page), again(client, incident, opened)) == (304, 200)
    assert client.get(incident).json()["activity"][-1]["text"] == "Real."
    client.patch(incident, json={"status": "Resolved"})
    assert client.get(path, headers={"If-None-Match": page.headers["ETag"]}).json()["total"] == 1


def test_nobody_is_told_anything_without_the_permission(fresh: Served, client: httpx.Client) -> None:
    tag = client.get("/api/v1/incidents").headers["ETag"]
    with httpx.Client(base_url=str(client.base_url)) as stranger:
        assert stranger.get("/api/v1/incidents", headers={"If-None-Match": tag}).status_code == 401
    assert client.get("/api/v1/incidents/inc_none", headers={"If-None-Match": tag}).status_code == 404


@pytest.mark.parametrize("alerts", [None, 1, 0])
def test_a_page_is_of_the_contract_s_shape_and_has_as_many_alerts_as_were_asked_for(
    client: httpx.Client, alerts: int | None
) -> None:
    page = client.get("/api/v1/incidents", params={} if alerts is None else {"alerts": alerts}).json()
    assert IncidentPage.model_validate(page).model_dump(mode="json") == page
    assert sorted(len(i["alerts"]) for i in page["items"]) == {None: [1, 2], 1: [1, 1], 0: [0, 0]}[alerts]
    assert client.get("/api/v1/incidents?alerts=51").status_code == 422
