"""What detections ask for is proposed once an incident, done by nobody before it is approved, and then asked of the responder."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.incidents.test_correlate import WS1, alert
from tests.respond.conftest import REMO, RESA
from tests.respond.test_webhook import gate_of, server
from tocsin.detect.alert import Evidence
from tocsin.detect.responses import Response
from tocsin.detect.rule import Rule, RuleKind
from tocsin.incidents.desk import IncidentDesk
from tocsin.respond import Automation, BadInputError, NotAbleError, ResponderSettings
from tocsin.state import State

__all__ = ["server"]

ISOLATE = Response("isolateDevice", ("DeviceId",), {"isolationType": "full"})
MAIL = Response("softDelete", ("NetworkMessageId", "RecipientEmailAddress"))


def rows(*given: dict[str, Any]) -> tuple[Evidence, ...]:
    return tuple(Evidence("DeviceEvents", r) for r in given)


def automation_of(state: State, desk: IncidentDesk, *responses: Response, **settings: Any) -> Automation:
    gate = gate_of(state, desk, **settings)
    rule = Rule(id="r", name="Ticket tool", kind=RuleKind.DEFENDER, responses=responses)
    return Automation(state, desk, gate, rule_of={"r": rule}.get)


def proposals(state: State, desk: IncidentDesk) -> list[dict[str, Any]]:
    return sorted(gate_of(state, desk).page(kind="responder")["items"], key=lambda a: a["title"])


def test_each_device_is_proposed_once_and_nothing_is_done(state: State, desk: IncidentDesk) -> None:
    automation = automation_of(state, desk, ISOLATE)
    events = rows({"DeviceId": "d1"}, {"DeviceId": "d2"}, {"DeviceId": "d1"}, {"DeviceId": ""}, {"Other": "x"})
    desk.add([alert("r", 0, WS1, events=events)])
    automation.run_pending()
    found = proposals(state, desk)
    assert [(a["title"], a["status"], a["proposed_by"]) for a in found] == [
        ("Isolate d1", "Proposed", "detection:r"),
        ("Isolate d2", "Proposed", "detection:r"),
    ]
    assert "Ticket tool" in str(found[0])
    # Another alert of the incident names one that was proposed and one that wasn't.
    desk.add([alert("r", 1, WS1, events=rows({"DeviceId": "d2"}, {"DeviceId": "d3"}))])
    automation.run_pending()
    assert [a["title"] for a in proposals(state, desk)] == ["Isolate d1", "Isolate d2", "Isolate d3"]
    with pytest.raises(NotAbleError, match="responder"):
        gate_of(state, desk).approve(found[0]["id"], by=REMO)


def test_a_rejected_proposal_is_not_made_again(state: State, desk: IncidentDesk) -> None:
    automation = automation_of(state, desk, ISOLATE)
    desk.add([alert("r", 0, WS1, events=rows({"DeviceId": "d1"}))])
    automation.run_pending()
    (made,) = proposals(state, desk)
    gate_of(state, desk).reject(made["id"], by=REMO, comment="a test machine")
    desk.add([alert("r", 1, WS1, events=rows({"DeviceId": "d1"}))])
    automation.run_pending()
    assert [a["status"] for a in proposals(state, desk)] == ["Rejected"]


def test_at_most_ten_targets_of_an_alert_and_both_columns(state: State, desk: IncidentDesk) -> None:
    automation = automation_of(state, desk, ISOLATE, MAIL)
    many = [{"DeviceId": f"d{n:02}", "NetworkMessageId": "m", "RecipientEmailAddress": ""} for n in range(14)]
    mail = {"NetworkMessageId": "m", "RecipientEmailAddress": "ann@contoso.com"}
    desk.add([alert("r", 0, WS1, events=rows(*many, mail))])
    automation.run_pending()
    found = proposals(state, desk)
    assert [a["title"] for a in found] == ["Delete the mail m", *(f"Isolate d{n:02}" for n in range(10))]
    assert found[0]["input"]["target"] == mail
    assert "4 more" in str(found[1])


def test_rules_without_responses_and_unknown_ones_propose_nothing(state: State, desk: IncidentDesk) -> None:
    automation = automation_of(state, desk)
    desk.add([alert("r", 0, WS1, events=rows({"DeviceId": "d1"}))])
    desk.add([alert("gone", 1, WS1, events=rows({"DeviceId": "d1"}))])
    automation.run_pending()
    assert proposals(state, desk) == []


def test_the_responder_is_asked_once_it_is_approved(state: State, desk: IncidentDesk, server: Any) -> None:
    settings = {
        "egress_allow": ["127.0.0.1"],
        "responder": ResponderSettings(url=f"http://127.0.0.1:{server.server_port}/act"),
    }
    automation = automation_of(state, desk, ISOLATE, **settings)
    desk.add([alert("r", 0, WS1, events=rows({"DeviceId": "d1"}))])
    automation.run_pending()
    assert server.seen == []
    (made,) = proposals(state, desk)
    done = gate_of(state, desk, **settings).approve(made["id"], by=REMO)
    assert (done["status"], done["result"]["status"]) == ("Succeeded", 202)
    ((path, headers, body),) = server.seen
    sent = json.loads(body)
    assert path == "/act"
    assert (sent["action"], sent["target"], sent["options"]) == (
        "isolateDevice", {"DeviceId": "d1"}, {"isolationType": "full"},
    )  # fmt: skip
    assert sent["approved_by"] == "remo"
    assert headers["X-Tocsin-Delivery"] == made["id"]
    assert headers["X-Tocsin-Signature"].startswith("t=")


def test_an_unknown_response_is_refused(state: State, desk: IncidentDesk) -> None:
    with pytest.raises(BadInputError, match="isolateDevice"):
        gate_of(state, desk).propose("responder", {"do": "isolateDevises", "target": {"DeviceId": "d"}}, by=RESA)


def test_what_comes_late_into_a_large_incident_is_proposed_too(state: State, desk: IncidentDesk) -> None:
    automation = automation_of(state, desk, ISOLATE)
    desk.add([alert("other", n / 100, WS1) for n in range(250)])
    desk.add([alert("r", 3, WS1, events=rows({"DeviceId": "late"}))])
    automation.run_pending()
    assert [a["title"] for a in proposals(state, desk)] == ["Isolate late"]
