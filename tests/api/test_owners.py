"""Groups over HTTP and from the command line: who makes them, whose incidents are mine, and how SecurityIncident names an owner."""

from __future__ import annotations

import json
from uuid import UUID

import httpx
from typer.testing import CliRunner

from tests.api.conftest import Served
from tests.api.test_incidents import waited
from tests.incidents.test_correlate import WS1, WS2, alert
from tocsin.cli.app import app as commands

MINE = "/api/v1/incidents?owner=@me"


def owned(client: httpx.Client, path: str = MINE) -> list[str]:
    return sorted(str(i["owner"]) for i in client.get(path).json()["items"])


def test_mine_are_those_of_my_groups_too_as_soon_as_i_am_in_one(fresh: Served) -> None:
    fresh.workspace.incidents.add([alert("one", 0, WS1), alert("two", 3, WS2)])
    with fresh.client("administrator") as admin, fresh.client("responder") as client:
        assert client.post("/api/v1/groups", json={"name": "SOC tier 2"}).status_code == 403
        made = admin.post("/api/v1/groups", json={"name": "SOC tier 2", "members": ["contributor"]})
        assert (made.status_code, made.json()["members"]) == (201, ["contributor"])
        again = admin.post("/api/v1/groups", json={"name": "soc TIER 2"})
        assert (again.status_code, again.json()["code"]) == (422, "ACC0007")
        one, two = (f"/api/v1/incidents/{i['id']}" for i in client.get("/api/v1/incidents").json()["items"])
        got = client.patch(one, json={"owner": "soc tier 2"}).json()
        assert (got["owner"], got["owner_type"]) == ("SOC tier 2", "Group")
        assert client.patch(two, json={"owner": "responder"}).json()["owner_type"] == "User"
        wrong = client.patch(two, json={"owner": "SOC tier 3", "version": client.get(two).json()["version"]})
        assert (wrong.status_code, wrong.json()["hint"]) == (422, "Did you mean 'SOC tier 2'?")

        before = client.get(MINE)
        assert owned(client) == ["responder"]
        assert client.get(MINE, headers={"If-None-Match": before.headers["ETag"]}).status_code == 304
        changed = admin.patch("/api/v1/groups/SOC tier 2", json={"add_members": ["responder"]})
        assert changed.json()["members"] == ["contributor", "responder"]
        assert client.get(MINE, headers={"If-None-Match": before.headers["ETag"]}).status_code == 200
        assert owned(client) == ["SOC tier 2", "responder"]
        assert owned(admin) == []  # the same address, another person
        assert owned(client, "/api/v1/incidents?owner=SOC tier 2") == ["SOC tier 2"]
        asked = client.get("/api/v1/incidents?owner=SOC tier 1")
        assert (asked.status_code, asked.json()["code"]) == (422, "INC0007")
        assert client.get("/api/v1/groups").json()["items"][0]["name"] == "SOC tier 2"

        token = {"Authorization": f"Bearer {fresh.token('Reader')}"}
        with httpx.Client(base_url=fresh.url, headers=token) as program:
            assert owned(program) == []  # a token's owner, here the administrator

    data = ["--data", str(fresh.workspace.settings.data)]
    listed = CliRunner().invoke(
        commands, ["incidents", "list", "--owner", "@me", "--as", "contributor", "--json", *data]
    )
    assert [i["owner"] for i in json.loads(listed.stdout)["items"]] == ["SOC tier 2"]
    groups = CliRunner().invoke(commands, ["user", "groups", *data])
    assert groups.stdout.split() == ["SOC", "tier", "2", "contributor,", "responder"]


def test_rows_name_the_owner_as_sentinel_s_do(running: Served) -> None:
    running.workspace.incidents.add([alert("one", 0, WS1, severity="High")])
    with running.client("administrator") as admin:
        admin.post("/api/v1/groups", json={"name": "Night shift"})
        path = f"/api/v1/incidents/{admin.get('/api/v1/incidents').json()['items'][0]['id']}"
        for owner in ("administrator", "Night shift", None):
            assert admin.patch(path, json={"owner": owner}).status_code == 200
        rows = waited(
            admin, "SecurityIncident | sort by toint(AdditionalData.version) asc | project tostring(Owner)", 4
        )
    unowned, user, group, given_back = [json.loads(r[0]) for r in rows]
    assert unowned == given_back == dict.fromkeys(("objectId", "email", "assignedTo", "userPrincipalName", "ownerType"))
    assert UUID(user.pop("objectId")) != UUID(group.pop("objectId"))
    assert user == {
        "email": None,
        "assignedTo": "administrator",
        "userPrincipalName": "administrator",
        "ownerType": "User",
    }
    assert group == {"email": None, "assignedTo": "Night shift", "userPrincipalName": None, "ownerType": "Group"}
