"""Automation rules: what they mean, that each event is seen once and in order, and that rules can't run wild."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.incidents.test_correlate import ANN, BOB, WS1, WS2, alert
from tests.respond.conftest import ADA, REMO, RESA, RITA
from tests.respond.fakes import Lamp
from tocsin.access import ForbiddenError
from tocsin.base.clock import ManualClock
from tocsin.base.errors import ContentError
from tocsin.content import load_packs, packs_dir
from tocsin.incidents.desk import IncidentDesk
from tocsin.respond import Automation, BlockSettings, Gate, RespondSettings, all_kinds
from tocsin.respond.automation.evaluate import MissingValueError, fill, holds, read_aloud
from tocsin.respond.automation.model import AutomationRule, Condition, Group
from tocsin.state import EventRow, NotFoundError, State
from tocsin.state.incident_alerts import IncidentAlerts
from tocsin.tables import Entity

OUTSIDE, INSIDE = Entity("IP", {"Address": "203.0.113.66"}), Entity("IP", {"Address": "10.0.0.9"})


@pytest.fixture
def lamp() -> Lamp:
    return Lamp()


@pytest.fixture
def gate(state: State, desk: IncidentDesk, lamp: Lamp) -> Gate:
    settings = RespondSettings(block=BlockSettings(never=("198.51.100.0/24",)))
    return Gate(state, desk, [*all_kinds(state, desk, settings), lamp], settings=settings)


@pytest.fixture
def automation(state: State, desk: IncidentDesk, gate: Gate) -> Automation:
    return Automation(state, desk, gate)


def rules(automation: Automation, tmp_path: Path, *texts: str) -> list[ContentError]:
    folder = tmp_path / "pack" / "automation"
    folder.mkdir(parents=True, exist_ok=True)
    for n, text in enumerate(texts):
        (folder / f"r{n}.yaml").write_text(text)
    content = load_packs([tmp_path / "pack"])
    assert not content.problems
    return automation.load(content.automation_rules)


def tag_rule(
    rule_id: str, tag: str, *, when: str = "created", condition: str = "", order: int = 100, extra: str = ""
) -> str:
    conditions = f"conditions: {{all: [{condition}]}}" if condition else ""
    return f"""
id: {rule_id}
name: Tag {tag}
order: {order}
trigger: {{on: incident, when: {when}}}
{conditions}
{extra}
actions:
  - kind: incident.tag
    input: {{add: [{tag}]}}
"""


def only(desk: IncidentDesk) -> dict[str, Any]:
    (item,) = desk.page()["items"]
    return dict(item)


# --------------------------------------------------------------------------------------------------- conditions

INCIDENT: dict[str, Any] = {
    "title": "Mail from Evil Corp",
    "severity": "Medium",
    "status": "New",
    "owner": None,
    "priority": 55,
    "tags": ["2024", "2023"],
    "tactics": ["Execution", "Impact"],
    "entities": [
        {
            "type": "Account",
            "label": "CONTOSO\\svc-backup",
            "identifiers": {"Name": "svc-backup", "NTDomain": "CONTOSO"},
        },
        {"type": "IP", "label": "10.0.0.9", "identifiers": {"Address": "10.0.0.9"}},
    ],
    "alerts": [
        {
            "id": "al_1",
            "rule": "Rule One",
            "rule_id": "r1",
            "description": "d",
            "custom_details": {"Users": ["ann", "bob"]},
        },
        {"id": "al_2", "rule": "Rule Two", "rule_id": "r2", "description": "", "custom_details": {}},
    ],
    "activity": [],
}


def event(kind: str = "created", source: str = "correlation", **changes: Any) -> EventRow:
    return EventRow(1, "inc", None, kind, "x", source, changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prop", "operator", "values", "expected"),
    [
        ("severity", "equals", ["medium"], True),
        ("severity", "equals", ["High", "Medium"], True),
        ("severity", "notEquals", ["High", "Medium"], False),
        ("severity", "notEquals", ["High", "Low"], True),
        ("severity", "atLeast", ["Medium"], True),
        ("severity", "atLeast", ["High"], False),
        ("severity", "atMost", ["Medium"], True),
        ("priority", "atLeast", ["55"], True),
        ("priority", "atMost", ["54"], False),
        ("title", "contains", ["evil corp"], True),
        ("title", "notContains", ["evil corp"], False),
        ("title", "startsWith", ["mail"], True),
        ("title", "notStartsWith", ["mail"], False),
        ("title", "endsWith", ["CORP"], True),
        ("title", "notEndsWith", ["corpus"], True),
        ("owner", "equals", [""], True),
        ("owner", "notEquals", [""], False),
        ("tactics", "equals", ["Impact"], True),
        ("rules", "equals", ["rule two"], True),
        ("rule_ids", "contains", ["r1"], True),
        ("custom.Users", "equals", ["bob"], True),
        ("custom.Users", "notEquals", ["bob"], False),
        ("custom.None", "equals", [""], False),
        ("Account.Name", "startsWith", ["SVC-"], True),
        ("Account.label", "equals", ["contoso\\svc-backup"], True),
        ("Account.Sid", "equals", ["S-1"], False),
        ("Account.Sid", "notEquals", ["S-1"], True),
        ("Host.HostName", "notContains", ["x"], True),
        ("IP.Address", "equals", ["10.0.0.9"], True),
        ("updated_by", "equals", ["correlation"], True),
    ],
)
def test_conditions_on_the_current_state(prop: str, operator: str, values: list[str], expected: bool) -> None:
    assert holds(Condition(property=prop, operator=operator, values=values), INCIDENT, event()) is expected


@pytest.mark.parametrize(
    ("operator", "match", "expected"),
    [
        ("contains", "any", True),
        ("contains", "collection", True),
        ("notContains", "any", True),  # 2023 doesn't contain 2024
        ("notContains", "collection", False),
        ("notEquals", "any", True),
        ("notEquals", "collection", False),
    ],
)
def test_any_tag_and_the_whole_collection_differ(operator: str, match: str, expected: bool) -> None:
    condition = Condition(property="tags", operator=operator, values=["2024"], match=match)
    assert holds(condition, INCIDENT, event()) is expected


def test_a_negated_condition_on_no_tags() -> None:
    bare = {**INCIDENT, "tags": []}
    assert holds(Condition(property="tags", operator="notContains", values=["x"]), bare, event())
    assert not holds(Condition(property="tags", operator="notContains", values=["x"], match="any"), bare, event())


CHANGED = event(
    "updated",
    severity={"from": "Low", "to": "High"},
    owner={"from": None, "to": "ann"},
    tags={"added": ["vip"], "removed": ["old"]},
)


@pytest.mark.parametrize(
    ("prop", "operator", "values", "expected"),
    [
        ("severity", "changed", [], True),
        ("status", "changed", [], False),
        ("severity", "changedFrom", ["low"], True),
        ("severity", "changedFrom", ["Medium"], False),
        ("severity", "changedTo", ["High", "Medium"], True),
        ("owner", "changedFrom", [""], True),
        ("owner", "changedTo", [""], False),
        ("tags", "added", [], True),
        ("tags", "added", ["VIP"], True),
        ("tags", "added", ["old"], False),
        ("comments", "added", [], False),
        ("tags", "changedTo", [""], False),
    ],
)
def test_conditions_on_the_change(prop: str, operator: str, values: list[str], expected: bool) -> None:
    condition = Condition(property=prop, operator=operator, values=values)
    assert holds(condition, INCIDENT, CHANGED) is expected
    assert holds(condition, INCIDENT, event("created")) is False


def test_groups() -> None:
    yes = Condition(property="severity", operator="equals", values=["Medium"])
    no = Condition(property="severity", operator="equals", values=["High"])
    for group, expected in (
        (Group(all=[yes, yes]), True),
        (Group(all=[yes, no]), False),
        (Group(any=[no, yes]), True),
        (Group(any=[no, no]), False),
        (Group(none=[no, no]), True),
        (Group(none=[no, yes]), False),
        (Group(all=[yes, Group(any=[no, Group(none=[no])])]), True),
        (None, True),
    ):
        assert holds(group, INCIDENT, event()) is expected
    assert (
        read_aloud(Group(all=[yes, Group(any=[no, yes])]))
        == "severity is Medium and (severity is High or severity is Medium)"
    )


# --------------------------------------------------------------------------------------------------- texts


def test_texts_are_filled_once() -> None:
    scope = {"incident": {"title": "${rule.name}", "number": 7}, "rule": {"name": "R"}}
    assert fill({"a": ["#${incident.number}: ${incident.title}"]}, scope) == {"a": ["#7: ${rule.name}"]}
    assert fill("plain $5 ${x} {{y}}", scope) == "plain $5 ${x} {{y}}"
    for missing in ("${entity.Address}", "${incident.none}"):
        with pytest.raises(MissingValueError):
            fill(missing, scope)


# --------------------------------------------------------------------------------------------------- files

HEAD = "id: x\nname: n\nactions:\n  - kind: a\nconditions:\n  all:\n    - "


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("id: x\nname: n\nactions: []\n", "actions", 3),
        (f"{HEAD}{{property: severitee, operator: equals, values: [x]}}\n", "Did you mean 'severity'", 7),
        (f"{HEAD}{{property: Account.Nam, operator: equals, values: [x]}}\n", "Did you mean 'Name'", 7),
        ("id: x\nname: n\nactions:\n  - kind: a\nconditions: {all: [], any: []}\n", "exactly one", 5),
        ("id: x\nname: n\nactions:\n  - kind: a\n    for_each: {entity: Hots}\n", "Did you mean 'Host'", 5),
        ("id: x\nname: n\nactions:\n  - kind: a\n    for_each: {entity: Host, where: public}\n", "IP only", 5),
        ("id: x\nname: n\nactions:\n  - kind: a\ntrigger: {on: alert}\n", "trigger.on", 5),
        ("id: x\nname: n\nactions:\n  - kind: a\ntriger: {}\n", "triger", 5),
        ("id: x\nname: n\nexpires: tomorrow\nactions:\n  - kind: a\n", "expires", 3),
        ("id: x\nname: n\nexpires: 2026-01-01T00:00:00\nactions:\n  - kind: a\n", "expires", 3),
        (f"{HEAD}{{property: title, operator: atLeast, values: [1]}}\n", "atLeast goes with", 7),
        (f"{HEAD}{{property: title, operator: equals}}\n", "needs values", 7),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named_with_its_place(
    automation: Automation, tmp_path: Path, text: str, message: str, line: int
) -> None:
    good = tag_rule("good", "x")
    (problem,) = rules(automation, tmp_path, text, good)
    assert message in problem.message
    assert problem.place is not None
    assert problem.place.source.endswith("r0.yaml")
    assert problem.place.line == line
    assert [r["id"] for r in automation.list()] == ["good"], "the rest goes on"


def test_too_many_conditions(automation: Automation, tmp_path: Path) -> None:
    many = ", ".join(["{property: title, operator: equals, values: [x]}"] * 51)
    (problem,) = rules(automation, tmp_path, tag_rule("x", "y", condition=many))
    assert "at most 50 conditions, this one 51" in problem.message


def test_values_are_text_whatever_yaml_thinks(automation: Automation, tmp_path: Path) -> None:
    assert (
        rules(
            automation,
            tmp_path,
            tag_rule("x", "y", condition="{property: tags, operator: equals, values: [2024, yes, 1.5]}"),
        )
        == []
    )
    (rule,) = automation.list()
    assert rule["conditions"]["all"][0]["values"] == ["2024", "true", "1.5"]


def test_the_shipped_rules_load() -> None:
    content = load_packs([packs_dir()])
    files = content.automation_rules
    assert [f.path.name for f in files if f.pack == "core"] == ["propose-block-for-high-incident.yaml"]


# --------------------------------------------------------------------------------------------------- running


def test_created_rules_run_in_order_and_see_each_other(
    automation: Automation, desk: IncidentDesk, tmp_path: Path
) -> None:
    rules(
        automation,
        tmp_path,
        tag_rule("b", "second", order=2, condition="{property: tags, operator: equals, values: [first]}"),
        tag_rule("a", "first", order=1),
        tag_rule("c", "never", order=3, condition="{property: tags, operator: notEquals, values: [second]}"),
    )
    desk.add([alert("x", 0, WS1)])
    automation.run_pending()
    assert only(desk)["tags"] == ["first", "second"]
    assert [r["runs"] for r in automation.list()] == [1, 1, 0]
    (run,) = automation.runs("a")
    assert (run["outcome"], run["incident_number"], run["detail"]["steps"][0]["status"]) == ("Success", 1, "Succeeded")


def test_five_changes_are_five_events_in_order(
    automation: Automation, desk: IncidentDesk, gate: Gate, tmp_path: Path, state: State
) -> None:
    rule = """
id: echo
name: Echo
trigger: {on: incident, when: updated}
conditions: {all: [{property: owner, operator: changed}]}
actions: [{kind: incident.comment, input: {text: "owner ${incident.owner}"}}]
"""
    rules(automation, tmp_path, rule)
    desk.add([alert("x", 0, WS1)])
    incident = only(desk)["id"]
    automation.run_pending()
    for owner in ("resa", "remo", "ada", "resa", "rita"):
        gate.edit_incident(incident, {"owner": owner}, by=RESA)
    automation.run_pending()
    runs = automation.runs("echo")
    assert len(runs) == 5
    with state.read() as unit:
        assert unit.incidents.pending_events() == []


def test_an_event_is_handled_once_after_a_crash(
    automation: Automation, desk: IncidentDesk, state: State, gate: Gate, tmp_path: Path
) -> None:
    rules(
        automation,
        tmp_path,
        tag_rule("a", "x").replace("incident.tag", "incident.comment").replace("{add: [x]}", "{text: hello}"),
    )
    desk.add([alert("x", 0, WS1)])
    automation.run_pending()
    with state.write() as unit:  # as if the process had died between the run and the event's mark
        from sqlalchemy import text

        unit.connection.execute(text("UPDATE incident_events SET handled = NULL WHERE kind = 'created'"))
    other = Automation(state, desk, gate)
    rules(
        other,
        tmp_path,
        tag_rule("a", "x").replace("incident.tag", "incident.comment").replace("{add: [x]}", "{text: hello}"),
    )
    other.run_pending()
    comments = [a for a in desk.get(only(desk)["id"])["activity"] if a["kind"] == "comment"]
    assert len(comments) == 1


def test_two_rules_that_undo_each_other_are_stopped_and_reported(
    automation: Automation, desk: IncidentDesk, tmp_path: Path
) -> None:
    def flip(rule_id: str, seen: str, to: str) -> str:
        return f"""
id: {rule_id}
name: {rule_id}
trigger: {{on: incident, when: [created, updated]}}
conditions: {{all: [{{property: severity, operator: equals, values: [{seen}]}}]}}
actions: [{{kind: incident.severity, input: {{severity: {to}}}}}]
"""

    rules(automation, tmp_path, flip("up", "Low", "High"), flip("down", "High", "Low"))
    desk.add([alert("x", 0, WS1, severity="Low")])
    assert automation.run_pending() < 30
    outcomes = [r["outcome"] for rule in ("up", "down") for r in automation.runs(rule)]
    assert "Stopped" in outcomes
    assert any(
        a["kind"] == "automation" and "undo each other" in a["text"] for a in desk.get(only(desk)["id"])["activity"]
    )


def test_expired_and_disabled_rules_do_nothing(
    automation: Automation, desk: IncidentDesk, clock: ManualClock, tmp_path: Path
) -> None:
    rules(
        automation,
        tmp_path,
        tag_rule("timed", "t", extra="expires: 2026-03-01T13:00:00Z"),
        tag_rule("idle", "o", extra="enabled: false"),
        tag_rule("switched", "s"),
    )
    automation.set_enabled("switched", False, by=ADA)
    desk.add([alert("x", 0, WS1)])
    automation.run_pending()
    assert only(desk)["tags"] == ["t"]
    clock.advance(timedelta(hours=1))
    automation.set_enabled("idle", True, by=ADA)
    desk.add([alert("y", 0, Entity.host("other.x.org"))])
    automation.run_pending()
    assert [i["tags"] for i in desk.page(sort="number", descending=False)["items"]] == [["t"], ["o"]]
    assert {r["id"]: (r["enabled"], r["expired"]) for r in automation.list()} == {
        "timed": (True, True), "idle": (True, False), "switched": (False, False),
    }  # fmt: skip


def test_switching_takes_a_right_and_leaves_an_audit_row(automation: Automation, state: State, tmp_path: Path) -> None:
    rules(automation, tmp_path, tag_rule("a", "x"))
    for who in (RITA, RESA):
        with pytest.raises(ForbiddenError):
            automation.set_enabled("a", False, by=who)
    automation.set_enabled("a", False, by=ADA)
    with state.read() as unit:
        (row,) = unit.audit.page(object_id="a")[0]
    assert (row.actor, row.before, row.after) == ("ada", {"enabled": True}, {"enabled": False})
    with pytest.raises(NotFoundError):
        automation.set_enabled("none", True, by=ADA)


def test_a_failing_action_does_not_stop_the_next(
    automation: Automation, desk: IncidentDesk, lamp: Lamp, tmp_path: Path
) -> None:
    rule = """
id: a
name: Mixed
actions:
  - {kind: incident.assign, input: {owner: nobody-there}}
  - {kind: no.such.kind}
  - {kind: incident.tag, input: {add: [after]}}
  - {kind: test.lamp, input: {lamp: "${entity.Address}"}}
"""
    rules(automation, tmp_path, rule)
    desk.add([alert("x", 0, WS1)])
    automation.run_pending()
    assert only(desk)["tags"] == ["after"]
    (run,) = automation.runs("a")
    assert run["outcome"] == "PartialSuccess"
    steps = run["detail"]["steps"]
    assert "no user" in steps[0]["error"]
    assert "no kind of action" in steps[1]["error"]
    assert "no value" in steps[3]["skipped"]


# --------------------------------------------------------------------------------------------------- the shipped rule


@pytest.fixture
def shipped(automation: Automation) -> Automation:
    assert automation.load(load_packs([packs_dir()]).automation_rules) == []
    return automation


def proposals(gate: Gate) -> list[tuple[str, str, str]]:
    return [
        (a["input"]["address"], a["status"], a["proposed_by"]) for a in gate.page(kind="host.block_address")["items"]
    ]


RULE = "automation:5d0f2c5e-6b1c-4a2e-9a57-0c6f4d1b7e21"


def test_a_high_incident_gets_a_proposal_that_waits(shipped: Automation, desk: IncidentDesk, gate: Gate) -> None:
    desk.add([alert("x", 0, WS1, OUTSIDE, INSIDE, severity="High")])
    shipped.run_pending()
    assert proposals(gate) == [("203.0.113.66", "Proposed", RULE)]
    (action,) = gate.page()["items"]
    assert action["incident_number"] == 1
    assert action["input"]["reason"] == "Named in incident #1"
    assert action["history"][0]["text"] == "Incident #1 is High and names this address."


def test_so_does_one_that_becomes_high(shipped: Automation, desk: IncidentDesk, gate: Gate) -> None:
    desk.add([alert("x", 0, WS1, OUTSIDE)])
    shipped.run_pending()
    assert proposals(gate) == []
    desk.add([alert("y", 1, WS1, severity="High")])
    shipped.run_pending()
    assert proposals(gate) == [("203.0.113.66", "Proposed", RULE)]


def test_what_was_rejected_is_not_proposed_again(shipped: Automation, desk: IncidentDesk, gate: Gate) -> None:
    desk.add([alert("x", 0, WS1, OUTSIDE, severity="High")])
    shipped.run_pending()
    gate.reject(gate.page()["items"][0]["id"], by=REMO)
    desk.add([alert("y", 1, WS1, ANN), alert("z", 2, WS1, Entity("IP", {"Address": "203.0.113.67"}))])
    shipped.run_pending()
    assert proposals(gate) == [("203.0.113.67", "Proposed", RULE), ("203.0.113.66", "Rejected", RULE)]


def test_protected_addresses_are_skipped_with_the_reason(shipped: Automation, desk: IncidentDesk, gate: Gate) -> None:
    desk.add([alert("x", 0, WS1, Entity("IP", {"Address": "198.51.100.5"}), severity="High")])
    shipped.run_pending()
    assert proposals(gate) == []
    (run,) = shipped.runs(RULE.removeprefix("automation:"))
    assert run["outcome"] == "Success"
    assert "never be blocked" in run["detail"]["steps"][0]["skipped"]


def test_tests_of_the_house_are_left_alone(shipped: Automation, desk: IncidentDesk, gate: Gate, tmp_path: Path) -> None:
    desk.add([alert("x", 0, WS1, OUTSIDE, severity="Medium")])
    incident = only(desk)["id"]
    gate.edit_incident(incident, {"add_tags": ["PenTest"]}, by=RESA)
    gate.edit_incident(incident, {"severity": "High"}, by=RESA)
    shipped.run_pending()
    assert proposals(gate) == []


def test_the_rule_itself_cannot_approve(shipped: Automation, desk: IncidentDesk, gate: Gate) -> None:
    from tocsin.respond.automation.runner import _principal

    desk.add([alert("x", 0, WS1, OUTSIDE, severity="High")])
    shipped.run_pending()
    rule = AutomationRule(id="x", name="x", actions=[{"kind": "y"}])
    with pytest.raises(ForbiddenError):
        gate.approve(gate.page()["items"][0]["id"], by=_principal(rule))


def test_the_thread_is_woken_by_an_event(
    shipped: Automation, desk: IncidentDesk, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.respond.automation.runner._LOOKS", 600.0)  # it doesn't look by itself
    shipped.start()
    try:
        time.sleep(0.2)
        desk.add([alert("x", 0, WS1, OUTSIDE, severity="High")])
        until = time.monotonic() + 60
        while not proposals(gate):
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        shipped.stop()
    assert not any(t.name == "automation" for t in threading.enumerate())


def test_conditions_see_the_whole_of_a_large_incident(
    state: State, desk: IncidentDesk, automation: Automation, tmp_path: Path
) -> None:
    addresses = [Entity("IP", {"Address": f"203.0.113.{n}"}) for n in range(130)]
    first = [alert(f"rule{n}", n / 100, WS1) for n in range(220)]
    rules(
        automation,
        tmp_path,
        tag_rule("a", "last rule", when="updated", condition="{property: rules, operator: equals, values: [late]}"),
        tag_rule(
            "b", "rare", when="updated", condition='{property: IP.Address, operator: equals, values: ["203.0.113.129"]}'
        ),
    )
    desk.add(first)
    desk.add([alert("late", 3, WS1, *addresses)])
    automation.run_pending()
    (incident,) = desk.page(limit=5)["items"]
    assert {"last rule", "rare"} <= set(incident["tags"])


def test_alerts_are_read_only_for_rules_that_ask_for_them(
    state: State, desk: IncidentDesk, automation: Automation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    for name in ("alerts_of", "alerts_page"):
        told = getattr(IncidentAlerts, name)
        monkeypatch.setattr(
            IncidentAlerts, name, lambda self, i, told=told, **more: (read.append(i), told(self, i, **more))[1]
        )
    by_title = "{property: title, operator: equals, values: [nothing]}"
    rules(automation, tmp_path, tag_rule("a", "x", when="updated", condition=by_title))
    desk.add([alert("one", 0, WS1)])
    desk.add([alert("two", 1, WS1)])
    read.clear()
    automation.run_pending()
    assert read == []
    # Rules that ask share what was read while the incident stays as it is.
    by_rule = "{property: rules, operator: equals, values: [nothing]}"
    rules(automation, tmp_path, *(tag_rule(f"r{n}", "x", when="updated", condition=by_rule) for n in range(3)))
    desk.add([alert("three", 2, WS1)])
    read.clear()
    automation.run_pending()
    assert len(read) == 1


def test_an_alert_of_long_ago_that_comes_again_takes_no_other_with_it(state: State, desk: IncidentDesk) -> None:
    """What nobody saw went into another incident, and correlation forgot both; the database still has the alert."""
    process = Entity("Process", {"ProcessId": "77", "CommandLine": "x.exe", "Host": "ws1"})
    old = alert("old", 0, WS1, ANN, process, severity="Informational", create_incident=False)
    other = alert("other", 0.5, WS2, BOB, severity="Informational", create_incident=False)
    desk.add([old])
    desk.add([other])
    desk.add([alert("bridge", 1, WS1, WS2, ANN, BOB, process, severity="High")])
    with state.read() as unit:
        held = unit.incidents.holders([old.id, other.id])
    assert len(set(held.values())) == 1
    desk.memory.correlator.forget_before(old.time + timedelta(days=50))
    beside = alert("beside", 60 * 24 * 60, Entity.host("ws3.contoso.com"))
    desk.add([old, other, beside])
    with state.read() as unit:
        assert unit.incidents.holders([old.id, other.id]) == held
        assert beside.id in unit.incidents.holders([beside.id])
