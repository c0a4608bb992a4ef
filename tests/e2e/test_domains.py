"""Attacks over mail, identities, clouds, Linux, clusters and plants, all at once at one server: each is one incident, with its reasons right.

The rows of `domains/*.yaml` come as late as their sources are (`TOCSIN_ORDER`: `time`, `shuffled` or `lagged`; `make domains` tries all). Colleagues
who do similar things, share the attackers' targets and go out by one address stay outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.e2e.domains import domains, now, play, send
from tests.e2e.server import Server, until
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.system]
ORDER = os.environ.get("TOCSIN_ORDER", "lagged")
SCENARIOS = domains()
BEGAN = timedelta(minutes=50)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server to which all scenarios were sent, one among the other."""
    server = Server(tmp_path_factory.mktemp("domains") / "data", tcp=free_port()).start()
    try:
        start = now() - BEGAN
        rows = [r for s in SCENARIOS.values() for r in play(s, start, ORDER)]
        send(server, server.token(), rows if ORDER == "shuffled" else sorted(rows, key=lambda r: r.told))
        yield server.signed_in()
    finally:
        server.close()


def listed(client: httpx.Client) -> list[dict[str, Any]]:
    """All incidents that people are shown, as the queue has them."""
    found: list[dict[str, Any]] = client.get("/api/v1/incidents").json()["items"]
    return found


def whole(client: httpx.Client, incident: dict[str, Any]) -> dict[str, Any]:
    """One with its alerts."""
    found: dict[str, Any] = client.get(f"/api/v1/incidents/{incident['id']}").json()
    return found


def named(incident: dict[str, Any]) -> set[str]:
    """Its things in the queue, as `Type:label`."""
    return {f"{e['type']}:{e['label']}".lower() for e in incident["entities"]}


def things(found: dict[str, Any]) -> set[str]:
    """Its entities as `Type:label`, both of an alert."""
    return {f"{e['type']}:{e['label']}".lower() for a in found["alerts"] for e in a["entities"]}


def titles(found: dict[str, Any]) -> set[str]:
    return {a["title"] for a in found["alerts"]}


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_attack_over_several_domains_is_one_explained_incident(client: httpx.Client, name: str) -> None:
    expects = SCENARIOS[name]["expects"]
    about = expects["about"].lower()

    def mine() -> list[dict[str, Any]]:
        return [whole(client, i) for i in listed(client) if about in named(i)]

    def missing() -> set[str]:
        return set(expects["alerts"]) - set().union(*map(titles, mine()))

    def one_and_whole() -> bool:
        return len(mine()) == 1 and not missing()

    until(one_and_whole, 180, lambda: (missing(), [(i["title"], sorted(titles(i))) for i in mine()]))
    (found,) = mine()
    assert found["severity"] == "High"
    assert found["priority"] > 85, found["reasons"]
    assert found["title"].startswith("Multi-stage incident involving")
    assert things(found) >= {t.lower() for t in expects["things"]}
    # Whoever did similar things, and what all go through, is neither in it nor a reason for it.
    said = [r["text"].lower() for a in found["alerts"] for r in a["linked_by"]]
    for stranger in (s.lower() for s in expects["strangers"]):
        assert not [t for t in things(found) if stranger in t.split(":", 1)[1].split("\\")]
        assert not [r for r in said if stranger in r.replace("\\", " ").split()]
    for reasons in expects.get("reasons", ()):
        # Where two things would do, what was told first is what joined.
        assert any(r.lower() in one for r in reasons for one in said), f"nobody says {' or '.join(reasons)}: {said}"
    # All but the alert around which the incident grew say why they are here, and no incident beside it holds a part of the attack.
    assert sum(not a["linked_by"] for a in found["alerts"]) <= 1
    apart = {t.lower() for t in (*expects["things"], expects["about"])}
    assert not [i["title"] for i in listed(client) if i["id"] != found["id"] and apart & named(i)]
    narrative = client.get(f"/api/v1/incidents/{found['id']}/narrative").json()
    assert narrative["root_cause"]["title"] == expects["begins"]
    if "hosts" in expects:
        assert narrative["blast_radius"]["counts"]["hosts"] == expects["hosts"]
    told = [s["tactic"] for s in narrative["stages"]]
    assert [t for t in told if t in expects["stages"]] == expects["stages"]
    for step, following in pairwise(narrative["stages"]):
        assert step["time"] <= following["time"]


def test_colleagues_have_small_incidents_of_their_own_or_none(client: httpx.Client) -> None:
    attacks = [s["expects"]["about"].lower() for s in SCENARIOS.values()]
    others = [i for i in listed(client) if not any(a in named(i) for a in attacks)]
    assert len(others) <= 2, [i["title"] for i in others]
    assert all(i["alert_count"] == 1 and i["priority"] < 50 for i in others)
