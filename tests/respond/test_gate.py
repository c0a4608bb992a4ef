"""The gate: who may, when, and once."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.incidents.test_correlate import WS1, alert
from tests.respond.conftest import ADA, REMO, RESA, RITA
from tests.respond.fakes import Lamp
from tocsin.access import ForbiddenError, Principal, system
from tocsin.base.clock import ManualClock
from tocsin.incidents.desk import IncidentDesk
from tocsin.respond import (
    Able,
    BadInputError,
    Gate,
    NotAbleError,
    RespondSettings,
    UnknownKindError,
    WrongMomentError,
    all_kinds,
)
from tocsin.respond.actions import KINDS
from tocsin.state import ConflictError, NotFoundError, State


@pytest.fixture
def lamp() -> Lamp:
    return Lamp()


@pytest.fixture
def gate(state: State, desk: IncidentDesk, lamp: Lamp) -> Gate:
    return Gate(state, desk, [*all_kinds(state, desk, RespondSettings()), lamp])


@pytest.fixture
def incident(desk: IncidentDesk) -> str:
    desk.add([alert("a", 0, WS1)])
    return str(desk.page()["items"][0]["id"])


def test_every_kind_is_made_and_described(state: State, desk: IncidentDesk) -> None:
    made = all_kinds(state, desk, RespondSettings())
    assert [type(k) for k in made] == list(KINDS)
    shown = Gate(state, desk, made).kinds()
    assert len({k["kind"] for k in shown}) == len(shown)
    for kind in shown:
        assert kind["title"]
        assert kind["description"].endswith(".")
        assert kind["input_schema"]["properties"]


def events(action: dict[str, Any]) -> list[str]:
    return [h["event"] for h in action["history"]]


def test_propose_approve_done_undo(gate: Gate, lamp: Lamp, desk: IncidentDesk, incident: str) -> None:
    proposed = gate.propose("test.lamp", {"lamp": "A"}, incident_id=incident, by=RESA, comment="dark")
    assert proposed["status"] == "Proposed"
    assert proposed["able"] is True
    assert proposed["expires_at"] == "2026-03-08T12:00:00Z"
    assert lamp.lit == []
    done = gate.approve(proposed["id"], by=REMO, comment="yes")
    assert done["status"] == "Succeeded"
    assert done["result"] == {"lit": "A"}
    assert done["decided_by"] == "remo"
    assert done["undoable"] is True
    assert lamp.lit == ["A"]
    undone = gate.undo(proposed["id"], by=REMO)
    assert undone["status"] == "Undone"
    assert lamp.lit == []
    assert events(undone) == ["proposed", "approved", "started", "succeeded", "undoing", "undone"]
    assert [h["text"] for h in undone["history"]][:2] == ["dark", "yes"]
    texts = [a["text"] for a in desk.get(incident)["activity"] if a["kind"] == "action"]
    assert texts == ["Proposed: Light A.", "Done: Light A. It shines.", "Undone: Light A. Out."]


def test_every_step_is_an_audit_row(gate: Gate, state: State) -> None:
    action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
    gate.approve(action["id"], by=REMO)
    gate.undo(action["id"], by=ADA)
    with state.read() as unit:
        rows = unit.audit.page(object_id=action["id"])[0]
        assert unit.audit.verify().intact
    assert [(r.actor, r.action) for r in reversed(rows)] == [
        ("resa", "action.propose"),
        ("remo", "action.approve"),
        ("remo", "action.done"),
        ("ada", "action.undo"),
    ]


def test_who_lacks_the_right_does_nothing(gate: Gate, lamp: Lamp) -> None:
    with pytest.raises(ForbiddenError):
        gate.propose("test.lamp", {"lamp": "A"}, by=RITA)
    action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
    only_proposes = Principal("p", permissions=frozenset({"actions.propose"}))
    only_approves = Principal("q", permissions=frozenset({"actions.approve"}))
    for who in (RITA, only_proposes, only_approves):
        with pytest.raises(ForbiddenError):
            gate.approve(action["id"], by=who)
        with pytest.raises(ForbiddenError):
            gate.undo(action["id"], by=who)
    for who in (RITA, only_proposes):
        with pytest.raises(ForbiddenError):
            gate.reject(action["id"], by=who)
    assert gate.get(action["id"])["status"] == "Proposed"
    assert lamp.calls == []


def test_approving_twice_does_it_once(gate: Gate, lamp: Lamp) -> None:
    action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
    first = gate.approve(action["id"], by=REMO)
    assert gate.approve(action["id"], by=ADA) == first
    assert lamp.calls == ["light A"]


def test_many_who_approve_at_once_do_it_once(gate: Gate, lamp: Lamp) -> None:
    action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
    lamp.hold = threading.Event()
    errors: list[BaseException] = []

    def approve() -> None:
        try:
            gate.approve(action["id"], by=REMO)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=approve) for _ in range(10)]
    for t in threads:
        t.start()
    lamp.hold.set()
    for t in threads:
        t.join()
    assert errors == []
    assert lamp.calls == ["light A"]
    assert events(gate.get(action["id"])).count("approved") == 1


def test_approve_and_reject_at_once_one_wins(gate: Gate, lamp: Lamp) -> None:
    for _ in range(10):
        action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
        outcomes: list[str] = []

        def decide(step: Any, action_id: str = action["id"], outcomes: list[str] = outcomes) -> None:
            try:
                outcomes.append(step(action_id, by=REMO)["status"])
            except WrongMomentError:
                outcomes.append("refused")

        threads = [threading.Thread(target=decide, args=(s,)) for s in (gate.approve, gate.reject)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        status = gate.get(action["id"])["status"]
        assert status in ("Succeeded", "Rejected")
        assert outcomes.count("refused") == 1


def test_four_eyes(state: State, desk: IncidentDesk, lamp: Lamp) -> None:
    gate = Gate(state, desk, [lamp], settings=RespondSettings(four_eyes=True))
    action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
    with pytest.raises(ForbiddenError, match="Somebody else"):
        gate.approve(action["id"], by=RESA)
    with pytest.raises(ForbiddenError, match="Somebody else"):
        gate.approve(action["id"], by=replace(RESA, name="resa/token:mine", kind="token"))
    assert gate.approve(action["id"], by=REMO)["status"] == "Succeeded"
    assert gate.kinds()[0]["approval"] == "two"


def test_what_cannot_be_done_says_so_before_and_is_not_approved(gate: Gate, lamp: Lamp) -> None:
    lamp.ability = Able(False, "There is no electricity.")
    action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
    assert (action["able"], action["able_reason"]) == (False, "There is no electricity.")
    with pytest.raises(NotAbleError, match="no electricity"):
        gate.approve(action["id"], by=REMO)
    assert gate.get(action["id"])["status"] == "Proposed"
    assert gate.get(action["id"])["decided_by"] is None
    lamp.ability = Able(True)
    assert gate.approve(action["id"], by=REMO)["status"] == "Succeeded"


def test_a_failure_is_kept_with_its_reason(gate: Gate, lamp: Lamp, desk: IncidentDesk, incident: str) -> None:
    lamp.fails = "The bulb is broken."
    action = gate.propose("test.lamp", {"lamp": "A"}, incident_id=incident, by=RESA)
    failed = gate.approve(action["id"], by=REMO)
    assert (failed["status"], failed["error"]) == ("Failed", "The bulb is broken.")
    assert failed["undoable"] is False
    with pytest.raises(WrongMomentError, match="failed by remo"):
        gate.approve(action["id"], by=REMO)


def test_a_failed_undo_leaves_it_done(gate: Gate, lamp: Lamp) -> None:
    action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
    gate.approve(action["id"], by=REMO)
    lamp.fails = "The switch is stuck."
    after = gate.undo(action["id"], by=REMO)
    assert (after["status"], after["error"]) == ("Succeeded", "The switch is stuck.")
    assert events(after)[-1] == "undo-failed"
    lamp.fails = ""
    assert gate.undo(action["id"], by=REMO)["status"] == "Undone"
    assert gate.undo(action["id"], by=REMO)["status"] == "Undone"
    assert lamp.calls.count("out A") == 2


def test_a_proposal_lapses_which_rejects_it(gate: Gate, lamp: Lamp, clock: ManualClock) -> None:
    one = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
    two = gate.propose("test.lamp", {"lamp": "B"}, by=RESA)
    clock.advance(timedelta(days=7) - timedelta(seconds=1))
    assert gate.tick() == 0
    clock.advance(timedelta(seconds=1))
    with pytest.raises(WrongMomentError, match="lapsed"):
        gate.approve(one["id"], by=REMO)  # even before the clock's tick
    assert gate.tick() == 1
    assert [gate.get(a["id"])["status"] for a in (one, two)] == ["Expired", "Expired"]
    assert lamp.calls == []


def test_an_effect_ends_when_its_time_is_over(gate: Gate, lamp: Lamp, clock: ManualClock) -> None:
    action = gate.propose("test.lamp", {"lamp": "A", "minutes": 10}, by=RESA)
    assert gate.approve(action["id"], by=REMO)["expires_at"] == "2026-03-01T12:10:00Z"
    clock.advance(timedelta(minutes=10))
    lamp.fails = "stuck"
    assert gate.tick() == 0
    assert gate.tick() == 0
    assert events(gate.get(action["id"])).count("end-failed") == 1
    lamp.fails = ""
    assert gate.tick() == 1
    assert gate.get(action["id"])["status"] == "Expired"
    assert lamp.lit == []
    with pytest.raises(WrongMomentError):
        gate.undo(action["id"], by=REMO)


def test_rejecting(gate: Gate, lamp: Lamp) -> None:
    action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
    rejected = gate.reject(action["id"], by=REMO, comment="too bright")
    assert rejected["status"] == "Rejected"
    assert rejected["history"][-1]["text"] == "too bright"
    assert gate.reject(action["id"], by=ADA) == rejected
    with pytest.raises(WrongMomentError, match="rejected by remo"):
        gate.approve(action["id"], by=REMO)


def test_the_same_proposal_that_waits_is_not_made_twice(gate: Gate, incident: str) -> None:
    one = gate.propose("test.lamp", {"lamp": "A"}, incident_id=incident, by=RESA)
    assert gate.propose("test.lamp", {"lamp": "A"}, incident_id=incident, by=REMO)["id"] == one["id"]
    assert gate.propose("test.lamp", {"lamp": "A"}, by=REMO)["id"] != one["id"]
    assert gate.propose("test.lamp", {"lamp": "A", "minutes": 5}, incident_id=incident, by=REMO)["id"] != one["id"]


@pytest.mark.parametrize("given", [{}, {"lamp": 3}, {"lamp": "A", "colour": "red"}, {"lamp": "A", "minutes": "many"}])
def test_wrong_input_is_refused_by_name(gate: Gate, given: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match=r"test\.lamp: "):
        gate.propose("test.lamp", given, by=RESA)


def test_unknown_kinds_actions_and_incidents(gate: Gate) -> None:
    with pytest.raises(UnknownKindError) as caught:
        gate.propose("test.lanp", {}, by=RESA)
    assert "test.lamp" in caught.value.hint
    for step in (gate.approve, gate.reject, gate.undo):
        with pytest.raises(NotFoundError):
            step("act_none", by=ADA)
    with pytest.raises(NotFoundError):
        gate.propose("test.lamp", {"lamp": "A"}, incident_id="inc_none", by=RESA)
    with pytest.raises(BadInputError, match="say which"):
        gate.propose("incident.comment", {"text": "x"}, by=RESA)


class TestCrash:
    def put(self, state: State, action_id: str, **columns: Any) -> None:
        with state.write() as unit:
            assert unit.actions.move(action_id, ("Proposed", "Succeeded"), **columns)

    def test_approved_but_not_started_is_done(self, gate: Gate, lamp: Lamp, state: State) -> None:
        action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
        self.put(state, action["id"], status="Approved")
        gate.recover()
        assert gate.get(action["id"])["status"] == "Succeeded"
        assert lamp.lit == ["A"]

    def test_stopped_in_the_middle_is_done_again_when_that_does_no_harm(
        self, gate: Gate, lamp: Lamp, state: State
    ) -> None:
        action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
        self.put(state, action["id"], status="Running")
        gate.recover()
        assert gate.get(action["id"])["status"] == "Succeeded"

    def test_else_it_has_failed_with_its_outcome_unknown(
        self, gate: Gate, lamp: Lamp, state: State, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Lamp, "idempotent", False)
        action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
        self.put(state, action["id"], status="Running")
        gate.recover()
        assert "not known" in gate.get(action["id"])["error"]
        assert lamp.calls == []

    def test_a_stopped_undo_is_undone(self, gate: Gate, lamp: Lamp, state: State) -> None:
        action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
        gate.approve(action["id"], by=REMO)
        self.put(state, action["id"], status="Running", phase="undo")
        gate.recover()
        assert gate.get(action["id"])["status"] == "Undone"
        assert lamp.lit == []

    def test_effects_that_the_machine_forgot_hold_again(self, gate: Gate, lamp: Lamp) -> None:
        action = gate.propose("test.lamp", {"lamp": "A"}, by=RESA)
        gate.approve(action["id"], by=REMO)
        gate.recover()
        assert events(gate.get(action["id"]))[-1] == "succeeded"
        lamp.lit.clear()  # the machine was started anew
        gate.recover()
        assert lamp.lit == ["A"]
        assert events(gate.get(action["id"]))[-1] == "restored"


class TestEdits:
    def test_an_edit_is_several_actions_in_one_transaction(self, gate: Gate, desk: IncidentDesk, incident: str) -> None:
        changes = {
            "status": "Resolved",
            "classification": "TruePositive",
            "determination": "Malware",
            "owner": "resa",
            "severity": "High",
            "title": "Bad thing",
            "add_tags": ["x"],
            "comment": "done",
        }
        made = gate.edit_incident(incident, changes, by=RESA)
        assert [a["kind"] for a in made] == [
            "incident.status",
            "incident.assign",
            "incident.severity",
            "incident.title",
            "incident.tag",
        ]
        assert {a["status"] for a in made} == {"Succeeded"}
        now = desk.get(incident)
        assert (now["status"], now["owner"], now["severity"], now["title"], now["tags"]) == (
            "Resolved", "resa", "High", "Bad thing", ["x"],
        )  # fmt: skip
        assert gate.page()["total"] == 0
        assert gate.page(include_edits=True)["total"] == 5

    def test_one_wrong_member_changes_nothing(self, gate: Gate, desk: IncidentDesk, incident: str) -> None:
        before = desk.get(incident)
        with pytest.raises(Exception, match="nobody"):
            gate.edit_incident(incident, {"status": "Resolved", "owner": "nobody"}, by=RESA)
        assert desk.get(incident) == before
        assert gate.page(include_edits=True)["total"] == 0

    def test_undo_sets_back(self, gate: Gate, desk: IncidentDesk, incident: str) -> None:
        before = desk.get(incident)
        made = gate.edit_incident(
            incident,
            {"status": "InProgress", "severity": "High", "title": "T", "owner": "resa", "add_tags": ["x"]},
            by=RESA,
        )
        for action in made:
            assert gate.undo(action["id"], by=RESA)["status"] == "Undone"
        after = desk.get(incident)
        for name in ("status", "severity", "title", "owner", "tags", "priority"):
            assert after[name] == before[name], name
        comment = gate.perform("incident.comment", {"text": "hello"}, incident_id=incident, by=RESA)
        gate.undo(comment["id"], by=RESA)
        assert "comment" not in [a["kind"] for a in desk.get(incident)["activity"]]

    def test_undo_does_not_overwrite_what_came_later(self, gate: Gate, desk: IncidentDesk, incident: str) -> None:
        (first,) = gate.edit_incident(incident, {"owner": "resa"}, by=RESA)
        gate.edit_incident(incident, {"owner": "remo"}, by=RESA)
        with pytest.raises(ConflictError, match="changed since"):
            gate.undo(first["id"], by=RESA)
        assert desk.get(incident)["owner"] == "remo"
        assert gate.get(first["id"])["status"] == "Succeeded"

    def test_a_reader_edits_nothing(self, gate: Gate, desk: IncidentDesk, incident: str) -> None:
        with pytest.raises(ForbiddenError):
            gate.edit_incident(incident, {"status": "Resolved"}, by=RITA)
        with pytest.raises(ForbiddenError):
            gate.perform("incident.comment", {"text": "x"}, incident_id=incident, by=RITA)

    def test_an_old_version_conflicts(self, gate: Gate, desk: IncidentDesk, incident: str) -> None:
        version = desk.get(incident)["version"]
        gate.edit_incident(incident, {"owner": "resa", "version": version}, by=RESA)
        with pytest.raises(ConflictError):
            gate.edit_incident(incident, {"owner": "remo", "version": version}, by=RESA)

    def test_what_needs_approval_is_not_performed(self, gate: Gate) -> None:
        with pytest.raises(ForbiddenError, match="propose it"):
            gate.perform("test.lamp", {"lamp": "A"}, incident_id=None, by=ADA)

    def test_automation_s_edits_are_shown_in_the_centre(self, gate: Gate, incident: str) -> None:
        robot = system("automation:x", "incidents.manage", "actions.propose")
        gate.propose("incident.tag", {"add": ["auto"]}, incident_id=incident, by=robot)
        assert gate.page()["total"] == 1


def test_pages_filter_and_count(gate: Gate, incident: str) -> None:
    for n in range(5):
        action = gate.propose("test.lamp", {"lamp": f"L{n}"}, incident_id=incident if n % 2 else None, by=RESA)
        if n < 2:
            gate.reject(action["id"], by=REMO)
    page = gate.page(statuses=["Proposed"], limit=2)
    assert [a["title"] for a in page["items"]] == ["Light L4", "Light L3"]
    assert page["total"] == 3
    assert page["counts"] == {"Proposed": 3, "Rejected": 2}
    assert gate.page(incident_id=incident)["total"] == 2
    assert gate.page(kind="webhook")["total"] == 0
    assert gate.page(incident_id=incident)["items"][0]["incident_number"] == 1
