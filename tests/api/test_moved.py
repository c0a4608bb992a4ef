"""What people moved out of an incident: where it is now, by whom and why, and the way back, which really leads back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tests.api.conftest import Served
from tests.incidents.test_correlate import ANN, WS1, WS2, alert
from tocsin.cli.app import app as commands


@pytest.fixture
def client(fresh: Served) -> Iterator[httpx.Client]:
    fresh.workspace.incidents.add(
        [*(alert(name, minute, WS1, ANN, severity="High") for minute, name in enumerate("abcd")), alert("x", 5, WS2)]
    )
    with fresh.client("responder") as made:
        yield made


class Case:
    """The incident of four alerts, another of one, and what is done with them over the API."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        items = sorted(client.get("/api/v1/incidents").json()["items"], key=lambda i: i["number"])
        self.one, self.other = (str(i["id"]) for i in items)
        self.alerts = [str(a["id"]) for a in self.opened(self.one)["alerts"]]

    def opened(self, incident: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/api/v1/incidents/{incident}").json()
        return found

    def move(self, origin: str, *which: int, to: str | None = None, reason: str = "") -> dict[str, Any]:
        body = {"alerts": [self.alerts[n] for n in which], "target": to, "reason": reason}
        answer = self.client.post(f"/api/v1/incidents/{origin}/move-alerts", json=body)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def patch(self, incident: str, **changes: Any) -> None:
        assert self.client.patch(f"/api/v1/incidents/{incident}", json=changes).status_code == 200

    def merge(self, target: str, source: str) -> None:
        answer = self.client.post(f"/api/v1/incidents/{target}/merge", json={"sources": [source]})
        assert answer.status_code == 200, answer.text

    def undo(self, action: str) -> str:
        return str(self.client.post(f"/api/v1/actions/{action}/undo").json()["status"])

    def moved(self, incident: str = "") -> list[tuple[str, list[str], str]]:
        """By entry: which incident holds them, which alerts, the way back."""
        found = self.client.get(f"/api/v1/incidents/{incident or self.one}/neighbours").json()["moved"]
        return [(m["incident"]["id"], [a["rule"] for a in m["alerts"]], m["back"]) for m in found]


@pytest.fixture
def case(client: httpx.Client) -> Case:
    return Case(client)


def test_what_was_split_off_is_listed_until_it_is_back(case: Case) -> None:
    assert case.moved() == []
    made = case.move(case.one, 2, 1, reason="the scanner")
    (entry,) = case.client.get(f"/api/v1/incidents/{case.one}/neighbours").json()["moved"]
    assert (entry["by"], entry["reason"], entry["alert_count"]) == ("responder", "the scanner", 2)
    assert entry["incident"]["number"] == made["number"]
    assert entry["time"]
    assert case.moved() == [(made["incident"], ["b", "c"], "undo")]
    assert case.moved(made["incident"]) == []  # it went in there, not out
    assert case.undo(made["action"]) == "Undone"
    assert case.moved() == []
    assert len(case.opened(case.one)["alerts"]) == 4


def test_the_way_back_is_the_one_that_works(case: Case) -> None:
    made = case.move(case.one, 0, 1)
    further = case.move(made["incident"], 1, to=case.other)  # of the two one goes on
    assert sorted(case.moved()) == sorted([(made["incident"], ["a"], "merge"), (case.other, ["b"], "move")])
    assert case.moved(made["incident"]) == [(case.other, ["b"], "undo")]
    back = case.client.post(
        f"/api/v1/incidents/{case.other}/move-alerts", json={"alerts": [case.alerts[1]], "target": case.one}
    )
    assert back.status_code == 200
    assert case.moved() == [(made["incident"], ["a"], "merge")]
    assert case.moved(made["incident"]) == [(case.one, ["b"], "move")]
    case.merge(case.one, made["incident"])
    assert case.moved() == []
    assert case.undo(further["action"]) == "409"  # as told: that way led nowhere any more


def test_no_way_leads_back_while_one_is_closed(case: Case) -> None:
    made = case.move(case.one, 3, to=case.other)
    assert case.moved() == [(case.other, ["d"], "undo")]
    case.patch(case.one, status="Resolved")
    assert case.moved() == [(case.other, ["d"], "")]
    case.patch(case.one, status="InProgress")
    case.patch(case.other, status="Resolved")
    assert case.moved() == [(case.other, ["d"], "undo")]
    assert case.undo(made["action"]) == "Undone"


def test_what_was_merged_since_is_told_where_it_is(case: Case) -> None:
    made = case.move(case.one, 0, to=None)
    case.merge(case.other, made["incident"])
    assert case.moved() == [(case.other, ["a"], "move")]


def test_what_was_moved_out_of_an_incident_that_was_merged_since_is_listed_where_that_is(case: Case) -> None:
    made = case.move(case.one, 0, 1, reason="not ours")
    further = case.move(made["incident"], 1, to=None)
    case.merge(case.other, made["incident"])  # holds a; b was moved out of it
    case.merge(case.other, case.one)  # c and d, out of which a and b were moved; a is where they are now
    assert case.moved(case.other) == [(further["incident"], ["b"], "merge")]
    case.merge(case.other, further["incident"])
    assert case.moved(case.other) == []


def test_the_way_back_to_a_merged_incident_works_and_ends_with_the_merge(case: Case) -> None:
    made = case.move(case.one, 0)
    case.merge(case.other, case.one)
    merged = case.client.get("/api/v1/actions", params={"scope": "all", "incident_id": case.other}).json()["items"][0]
    (entry,) = case.client.get(f"/api/v1/incidents/{case.other}/neighbours").json()["moved"]
    assert (entry["action"], entry["back"]) == (made["action"], "merge")
    assert case.undo(made["action"]) == "409"  # it would bring them into one that has gone: that way isn't told
    assert case.undo(merged["id"]) == "Undone"
    assert case.moved(case.other) == []
    assert case.moved() == [(made["incident"], ["a"], "undo")]
    assert case.undo(made["action"]) == "Undone"


def test_moved_again_after_it_was_back_is_told_once(case: Case) -> None:
    first = case.move(case.one, 0, to=case.other)
    case.client.post(
        f"/api/v1/incidents/{case.other}/move-alerts", json={"alerts": [case.alerts[0]], "target": case.one}
    )
    again = case.move(case.one, 0, 1, to=case.other)
    (entry,) = case.client.get(f"/api/v1/incidents/{case.one}/neighbours").json()["moved"]
    assert entry["action"] == again["action"] != first["action"]
    assert entry["alert_count"] == 2


def test_the_command_prints_a_way_back_that_can_be_typed(fresh: Served, case: Case) -> None:
    case.move(case.one, 1, reason="not ours")
    number = str(case.opened(case.one)["number"])
    folder = ["--data", str(fresh.workspace.settings.data)]
    said = CliRunner().invoke(commands, ["incidents", "preview", number, *folder])
    assert said.exit_code == 0, said.output
    assert "1 alert moved there by responder" in said.output
    assert "not ours" in said.output
    (line,) = [line for line in said.output.splitlines() if "the way back: " in line]
    command = line.partition("the way back: tocsin ")[2].split()
    done = CliRunner().invoke(commands, [*command, *folder, "--as", "responder"])
    assert done.exit_code == 0, done.output
    assert case.moved() == []
