"""Where it began: what speaks for and against each alert, who came second and why it lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.incidents.test_correlate import ANN, WS1, WS2, alert
from tocsin.detect.alert import TACTICS, Alert
from tocsin.incidents import rootcause
from tocsin.incidents.model import Incident, LinkedAlert
from tocsin.incidents.rootcause import root_cause
from tocsin.tables import Entity

MAIL = Entity("MailMessage", {"NetworkMessageId": "m-1"})


def cause(*alerts: Alert) -> dict[str, Any]:
    found = root_cause(Incident("inc", alerts=[LinkedAlert(a) for a in alerts]))
    assert found is not None
    return found


def test_what_presupposes_a_way_in_loses_to_a_way_in_that_is_nearly_as_early() -> None:
    found = cause(
        alert("cleared", 0, WS1, tactics=("DefenseEvasion",)),
        alert("ran", 1, WS1, ANN, tactics=("Execution",)),
        alert("dump", 30, WS1, tactics=("CredentialAccess",)),
    )
    assert found["title"] == "ran"
    assert found["runner_up"]["title"] == "cleared"
    assert found["next_score"] == found["runner_up"]["score"] < found["score"]
    (lost,) = found["runner_up"]["lost_by"]
    assert lost["text"] == "its stage, Defense evasion, presupposes a way in; the other: its stage is Execution"
    assert lost["weight"] == -22.0


def test_the_beginning_may_come_after_many_others() -> None:
    noise = [alert(f"noise{n}", n / 100, WS1, tactics=("Discovery",)) for n in range(120)]
    found = cause(
        *noise,
        alert("mail", 2, WS1, MAIL, tactics=("InitialAccess",)),
        alert("hop", 300, WS2, tactics=("LateralMovement",)),
    )
    assert (found["title"], found["looked_at"], found["alerts"]) == ("mail", 122, 122)
    assert {r["text"] for r in found["reasons"]} >= {"came by mail", "2 minutes after the first alert"}


def test_a_way_in_long_after_the_rest_is_no_beginning() -> None:
    stages = ("Execution", "CredentialAccess", "LateralMovement", "Collection", "CommandAndControl")
    found = cause(
        *(alert(f"a{n}", n * 10, WS1, tactics=(t,)) for n, t in enumerate(stages)),
        alert("in", 600, WS1, tactics=("InitialAccess",)),
    )
    assert found["title"] == "a0"
    late = cause(
        *(alert(f"a{n}", n * 10, WS1, tactics=(t,)) for n, t in enumerate(stages)),
        alert("in", 600, WS1, MAIL, tactics=("InitialAccess",)),
    )
    assert late["runner_up"]["title"] == "in"
    assert "credential access, lateral movement, collection and more seen before it" in {
        r["text"] for r in late["runner_up"]["reasons"]
    }


def test_the_runner_up_is_another_beginning() -> None:
    found = cause(*(alert("same", n, WS1, tactics=("Execution",)) for n in range(5)), alert("other", 9, WS2))
    assert (found["title"], found["runner_up"]["title"]) == ("same", "other")
    assert cause(alert("same", 0, WS1), alert("same", 1, WS1))["runner_up"] is None


def test_as_many_points_go_to_the_earlier() -> None:
    found = cause(alert("b", 0, WS1), alert("a", 0, WS1, title="second"))
    assert found["score"] == 30.0
    assert found["runner_up"]["lost_by"]


def test_what_is_not_looked_at_is_said(monkeypatch: Any) -> None:
    monkeypatch.setattr(rootcause, "MOST_LOOKED_AT", 3)
    found = cause(*(alert(f"a{n}", n, WS1) for n in range(5)))
    assert (found["looked_at"], found["alerts"]) == (3, 5)


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from(TACTICS), st.booleans()), min_size=1, max_size=12))
def test_points_add_up_and_the_first_has_the_most(given_alerts: list[tuple[int, str, bool]]) -> None:
    found = cause(
        *(alert(f"a{n}", m, WS1, MAIL if mail else None, tactics=(t,)) for n, (m, t, mail) in enumerate(given_alerts))
    )
    assert abs(sum(r["weight"] for r in found["reasons"]) - found["score"]) < 0.3
    if other := found["runner_up"]:
        assert other["score"] <= found["score"]
        assert (other["score"], found["time"]) <= (found["score"], other["time"]) or other["score"] < found["score"]
