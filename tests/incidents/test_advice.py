"""What to do next: tied to the incident's own things, told how far it is, the urgent first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.incidents.test_correlate import ANN, BOB, T0, WS1, WS2, alert
from tocsin.content import Content, load_packs, packs_dir
from tocsin.detect.responses import RESPONSES
from tocsin.incidents.advice import URGENCIES, Done, advice
from tocsin.incidents.model import Incident, LinkedAlert
from tocsin.incidents.priority import Asset, Judge, keys_of_name
from tocsin.respond.actions.block_address import BlockAddress
from tocsin.respond.actions.responder import ResponderInput
from tocsin.state import ActionRow, ActivityRow
from tocsin.tables import Entity

OUTSIDE, INSIDE = Entity("IP", {"Address": "198.51.100.7"}), Entity("IP", {"Address": "10.0.0.5"})
STEPS = """
id: late
kind: advice
tactics: [Impact]
steps:
  - {do: Learn from it, urgency: later}
---
id: cut
kind: advice
tactics: [CommandAndControl]
steps:
  - {do: Block the addresses, on: [IP], action: host.block_address, urgency: now}
  - {do: Isolate the hosts, why: They are held., on: [Host], action: responder, response: isolateDevice, urgency: now}
---
id: dumped
kind: advice
for: [T1003]
steps:
  - {do: Reset the passwords, on: [Account]}
---
id: always
kind: advice
steps:
  - {do: Take it, action: incident.assign, urgency: now}
"""


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    pack = tmp_path_factory.mktemp("packs") / "mine"
    (pack / "incidents").mkdir(parents=True)
    (pack / "pack.yaml").write_text("id: mine\nname: Mine\nversion: 1.0.0\n")
    (pack / "incidents" / "a.yaml").write_text(STEPS)
    loaded = load_packs([pack.parent])
    assert not loaded.problems
    return loaded


def incident(*more: Any) -> Incident:
    return Incident(
        "inc",
        alerts=[
            LinkedAlert(alert("c2", 1, WS1, OUTSIDE, INSIDE, tactics=("CommandAndControl",))),
            LinkedAlert(alert("c2", 2, WS2, OUTSIDE, tactics=("CommandAndControl",))),
            LinkedAlert(alert("dump", 3, WS1, ANN, Entity("Account", {"Name": "SYSTEM"}), title="Memory read", techniques=("T1003.001",))),
            LinkedAlert(alert("wipe", 4, BOB, tactics=("Impact",))),
            *more,
        ],
    )  # fmt: skip


def action(kind: str, status: str, number: int = 1, **given: Any) -> ActionRow:
    return ActionRow(
        f"a{number}", number, kind, "", "Do it", "", given, status, "", False, "eve", T0 + timedelta(hours=number),
        "sue" if status != "Proposed" else None,
    )  # fmt: skip


def comment(text: str, minute: int = 0) -> ActivityRow:
    return ActivityRow(minute, "inc", T0 + timedelta(minutes=minute), "eve", "comment", text, {})


def by_do(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {s["do"]: s for s in found}


def test_a_step_names_the_things_of_the_alerts_that_brought_it_in(content: Content) -> None:
    found = by_do(advice(incident(), content))
    assert [t["label"] for t in found["Reset the passwords"]["about"]] == ["CONTOSO\\ann"], "not bob, not SYSTEM"
    assert (found["Reset the passwords"]["because"], found["Reset the passwords"]["alerts"]) == (
        "T1003",
        ["Memory read"],
    )
    assert [t["label"] for t in found["Isolate the hosts"]["about"]] == ["ws1.contoso.com", "ws2.contoso.com"]
    assert [t["label"] for t in found["Block the addresses"]["about"]] == ["198.51.100.7"], (
        "beside it the inner one is a victim's"
    )
    assert found["Take it"]["about"] == []


def test_the_urgent_comes_first_and_what_is_done_last(content: Content) -> None:
    order = [s["do"] for s in advice(incident(), content)]
    assert order == ["Block the addresses", "Isolate the hosts", "Take it", "Reset the passwords", "Learn from it"]
    ranks = [URGENCIES.index(s["urgency"]) for s in advice(incident(), content)]
    assert ranks == sorted(ranks)
    done = Done(actions=[action("host.block_address", "Succeeded", address="198.51.100.7")])
    taken = advice(replace(incident(), owner="eve"), content, done=done)
    assert [s["do"] for s in taken[-2:]] == ["Block the addresses", "Take it"]
    assert [s["state"] for s in taken[-2:]] == ["done", "done"]


def test_the_critical_things_come_first(content: Content) -> None:
    judge = Judge(
        assets=dict.fromkeys(keys_of_name("Host", "ws2.contoso.com"), Asset("Domain controllers", "veryHigh"))
    )
    found = by_do(advice(incident(), content, judge))["Isolate the hosts"]["about"]
    assert [(t["label"], t["critical"]) for t in found] == [("ws2.contoso.com", "veryHigh"), ("ws1.contoso.com", "")]


@pytest.mark.parametrize(
    ("status", "thing", "step"),
    [
        ("Proposed", "proposed", "proposed"), ("Running", "running", "running"), ("Succeeded", "done", "running"),
        ("Failed", "failed", "failed"), ("Rejected", "", "open"), ("Undone", "", "open"),
    ],
)  # fmt: skip
def test_an_action_on_one_thing_says_how_far_it_is(content: Content, status: str, thing: str, step: str) -> None:
    row = action("responder", status, do="isolateDevice", target={"DeviceName": "WS1.contoso.com"})
    found = by_do(advice(incident(), content, done=Done(actions=[row])))["Isolate the hosts"]
    assert [t["state"] for t in found["about"]] == [thing, ""]
    assert found["state"] == step
    assert (found["about"][0]["detail"] != "") is bool(thing)


def test_another_response_or_another_thing_is_not_it(content: Content) -> None:
    rows = [
        action("responder", "Succeeded", 1, do="runAntivirusScan", target={"DeviceName": "ws1.contoso.com"}),
        action("responder", "Succeeded", 2, do="isolateDevice", target={"DeviceName": "ws1.fabrikam.com"}),
        action("host.block_address", "Succeeded", 3, address="198.51.100.70"),
    ]
    found = by_do(advice(incident(), content, done=Done(actions=rows)))
    assert {s["state"] for s in found.values()} == {"open"}


def test_tasks_and_comments_are_told(content: Content) -> None:
    done = Done(
        tasks=[
            {"title": "Reset the passwords", "completed": "2026-03-01T10:00:00Z"},
            {"title": "Learn from it", "completed": None},
        ],
        comments=[
            comment("ann was called, she is on leave"),
            comment("isolated ws1.contoso.com by hand", 1),
            comment("ws1.contoso.com.evil.example", 2),
        ],
    )  # fmt: skip
    found = by_do(advice(incident(), content, done=done))
    assert (found["Reset the passwords"]["state"], found["Learn from it"]["state"]) == ("done", "task")
    assert (
        found["Reset the passwords"]["about"][0]["comment"]
        == "eve, 2026-03-01T09:00:00Z: ann was called, she is on leave"
    )
    hosts = found["Isolate the hosts"]["about"]
    assert [h["comment"] for h in hosts] == ["eve, 2026-03-01T09:01:00Z: isolated ws1.contoso.com by hand", ""]
    assert hosts[0]["state"] == "", "that somebody says so is no proof"


def test_many_things_are_bounded_and_say_so(content: Content) -> None:
    more = [
        LinkedAlert(alert("c2", 5 + n, Entity.host(f"h{n}.contoso.com"), tactics=("CommandAndControl",)))
        for n in range(20)
    ]
    found = by_do(advice(incident(*more), content))["Isolate the hosts"]
    assert (len(found["about"]), found["about_left_out"]) == (8, 14)


def test_a_step_on_what_is_no_entity_is_refused(tmp_path: Path) -> None:
    pack = tmp_path / "mine"
    (pack / "incidents").mkdir(parents=True)
    (pack / "pack.yaml").write_text("id: mine\nname: Mine\nversion: 1.0.0\n")
    (pack / "incidents" / "a.yaml").write_text("id: x\nkind: advice\nsteps:\n  - {do: Look, on: [Hoast]}\n")
    assert any("Hoast" in str(p) and "Host" in str(p) for p in load_packs([tmp_path]).problems)


WHOLE = {
    "Host": WS1,
    "Account": Entity("Account", {"Name": "ann@contoso.com", "Sid": "S-1-5-21-1-2-3-1001", "AadUserId": "0b1f1d5e-0e21-4f7b-b1b5-08de2b000001"}),
    "IP": OUTSIDE,
    "MailMessage": Entity("MailMessage", {"NetworkMessageId": "m-1", "Recipient": "ann@contoso.com"}),
}  # fmt: skip


def test_what_the_shipped_steps_would_be_given_is_what_their_actions_take() -> None:
    """By the actions' own checks, so that a proposal made of a step is never refused for its input."""
    shipped = load_packs([packs_dir()], only=("incidents",))
    inputs = {"responder": ResponderInput, "host.block_address": BlockAddress.Input}
    tried = set()
    for item in shipped.incidents:
        value = item.document.value
        for step in value.get("steps") or () if item.kind == "advice" else ():
            if step.get("action") in inputs:
                assert step.get("response") is None or step["response"] in RESPONSES
            if not step.get("target"):
                continue
            of = Incident(
                "inc",
                alerts=[
                    LinkedAlert(alert("a", 0, entity, tactics=tuple(value.get("tactics") or ()), techniques=tuple(value.get("for") or ())))
                    for entity in WHOLE.values()
                ],
            )  # fmt: skip
            (told,) = [s for s in advice(of, shipped) if s["do"] == step["do"]]
            given = [t["input"] for t in told["about"] if t["input"]]
            assert given, step["do"]
            for each in given:
                inputs[step["action"]].model_validate(each)
                if step.get("response"):
                    assert set(each["target"]) <= set(RESPONSES[step["response"]].columns)
            tried.add(step["action"])
    assert tried == set(inputs)


def test_a_thing_that_nobody_can_name_to_the_action_has_no_input(content: Content) -> None:
    assert [t["input"] for t in by_do(advice(incident(), content))["Isolate the hosts"]["about"]] == [None, None]
