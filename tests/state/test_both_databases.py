"""The whole of what is kept, on each database: the same answers from SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from argon2 import PasswordHasher

from tests.incidents.test_correlate import ANN, T0, WS1, WS2, alert
from tests.respond.conftest import ADA, REMO, RESA
from tests.respond.fakes import Lamp
from tocsin.access import Access, BadCredentialsError
from tocsin.access.passwords import Passwords
from tocsin.base.clock import ManualClock
from tocsin.content import load_packs, packs_dir
from tocsin.incidents.desk import IncidentDesk
from tocsin.respond import Automation, Gate, RespondSettings, all_kinds
from tocsin.state import ConflictError, State
from tocsin.tables import Entity


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T0 + timedelta(hours=1))


@pytest.fixture
def desk(state: State) -> IncidentDesk:
    with state.write() as unit:
        for who in (RESA, REMO, ADA):
            unit.users.add(who.name, who.name, "x", sorted(who.roles))
    return IncidentDesk(state)


@pytest.fixture
def lamp() -> Lamp:
    return Lamp()


@pytest.fixture
def gate(state: State, desk: IncidentDesk, lamp: Lamp) -> Gate:
    return Gate(state, desk, [*all_kinds(state, desk, RespondSettings()), lamp])


def test_incidents_from_alerts_to_the_queue(state: State, desk: IncidentDesk, gate: Gate) -> None:
    desk.add(
        [alert("a\x00b", 0, WS1, ANN, severity="High", title="NUL \x00 and \ud800"), alert("b", 4, WS2, severity="Low")]
    )
    desk.add([alert("bridge", 5, WS1, WS2)])
    assert desk.page()["total"] == 1
    assert desk.page(statuses=["Redirected"])["total"] == 1
    (item,) = desk.page(text="ws1")["items"]
    for sort in ("priority", "last", "first", "severity", "title", "number", "updated", "status"):
        assert len(desk.page(sort=sort, descending=False)["items"]) == 1
    gate.edit_incident(
        item["id"], {"owner": "resa", "status": "InProgress", "add_tags": ["x"], "severity": "Low"}, by=RESA
    )
    page = desk.page(owner="resa", tag="x", severities=["Low"])
    assert page["counts"] == {"status": {"InProgress": 1}, "severity": {"Low": 1}, "owner": {"resa": 1}}
    assert len(page["items"][0]["alerts"]) == 3
    with pytest.raises(ConflictError):
        gate.edit_incident(item["id"], {"owner": None, "version": item["version"]}, by=RESA)
    assert IncidentDesk(state).page()["items"][0]["id"] == item["id"]


def test_edits_at_once_lose_nothing(state: State, desk: IncidentDesk, gate: Gate) -> None:
    desk.add([alert("a", 0, WS1)])
    incident = desk.page()["items"][0]["id"]
    errors: list[BaseException] = []

    def edit(n: int) -> None:
        try:
            gate.edit_incident(incident, {"add_tags": [f"t{n}"]}, by=RESA)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=edit, args=(n,)) for n in range(15)]
    threads.append(threading.Thread(target=lambda: desk.add([alert("b", 1, WS1)])))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
    (item,) = desk.page()["items"]
    assert len(item["tags"]) == 15
    assert item["alert_count"] == 2
    with state.read() as unit:
        assert unit.audit.verify().intact


def test_the_gate_approves_once(gate: Gate, lamp: Lamp, clock: ManualClock) -> None:
    action = gate.propose("test.lamp", {"lamp": "A", "minutes": 5}, by=RESA)
    threads = [threading.Thread(target=gate.approve, args=(action["id"],), kwargs={"by": REMO}) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert lamp.calls == ["light A"]
    clock.advance(timedelta(minutes=5))
    assert gate.tick() == 1
    assert gate.page()["counts"] == {"Expired": 1}


def test_automation(state: State, desk: IncidentDesk, gate: Gate) -> None:
    automation = Automation(state, desk, gate, load_packs([packs_dir()]).automation_rules)
    desk.add([alert("a", 0, WS1, Entity("IP", {"Address": "203.0.113.66"}), severity="High")])
    assert automation.run_pending() >= 1
    assert gate.page()["counts"] == {"Proposed": 1}
    rule = automation.list()[0]
    assert (rule["runs"], rule["last_outcome"]) == (1, "Success")
    automation.set_enabled(rule["id"], False, by=ADA)
    assert automation.list()[0]["enabled"] is False
    assert automation.sweep() == 0


def test_access(state: State, clock: ManualClock) -> None:
    access = Access(state, passwords=Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)))
    password = access.first_start()
    assert password is not None
    signed = access.sign_in("admin", password, address="::1")
    with pytest.raises(BadCredentialsError):
        access.sign_in("admin\x00", "x", address="::1")
    made = access.make_token("t", by=signed.principal, expires_in_days=1)
    assert access.may_ingest(made["token"])
    assert [t["name"] for t in access.tokens()] == ["t"]
    access.sign_out(signed.principal)
    assert access.by_session(signed.secret) is None
    assert access.verify_audit()["intact"]


def test_the_ledger(state: State, clock: ManualClock) -> None:
    end = clock.now()
    with state.write() as unit:
        unit.rules.succeeded("r", end, alerts=2)
        unit.rules.succeeded("r", end - timedelta(hours=1), alerts=1)
        assert unit.rules.failed("r", "broken") == 1
        assert unit.rules.failed("r", "broken", disable="given up") == 2
    with state.read() as unit:
        row = unit.rules.get("r")
        assert unit.rules.get("other").window_end is None
    assert (row.window_end, row.alerts, row.runs, row.failures, row.disabled_reason) == (end, 3, 4, 2, "given up")
    assert (row.last_status, row.last_error) == ("Failure", "broken")
    with state.write() as unit:
        unit.rules.enable_again("r")
        unit.rules.succeeded("r", end + timedelta(hours=1))
        unit.rules.override("detection", "r", enabled=False, by="ann")
        unit.rules.override("detection", "r", enabled=True, by="bob")
    with state.read() as unit:
        row = unit.rules.get("r")
        assert (row.failures, row.disabled_reason, row.last_error) == (0, None, None)
        assert unit.rules.overrides("detection")["r"].changed_by == "bob"
        assert unit.rules.overrides("automation") == {}
