"""Weights: described, tried on the open incidents, set, kept over a restart, taken back; and how they do on what people decided."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.incidents.test_correlate import BOB, T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.base.errors import UsageError
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.life import Actor
from tocsin.incidents.tuned import WeightsOvertakenError
from tocsin.incidents.tuning import Tuning
from tocsin.incidents.weights import CorrelationSettings
from tocsin.state import ConflictError, NotFoundError, State

ANNA = Actor("anna")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = State.open(tmp_path / "state.db", clock=ManualClock(T0 + timedelta(days=1)))
    with opened.write() as unit:
        unit.users.add("anna", "anna", "x", ["Administrator"])
    yield opened
    opened.close()


@pytest.fixture
def desk(state: State) -> IncidentDesk:
    made = IncidentDesk(state)
    made.add(
        [
            alert("a", 0, WS1, severity="High", tactics=("InitialAccess",)),
            alert("b", 5, WS1, tactics=("Impact",)),
            alert("c", 7, WS2, BOB),
        ]
    )
    return made


def test_every_weight_says_what_it_is(state: State, desk: IncidentDesk) -> None:
    found = Tuning(state, desk).weights()
    assert found.pop("version") == 0
    names = {w["name"] for side in found.values() for w in side}
    assert {"threshold", "grace", "low_share", "weights.host", "severity.High", "stage", "tags.ransomware"} <= names
    assert set(CorrelationSettings.model_fields) - {"weights"} <= names
    for weight in (w for side in found.values() for w in side):
        assert weight["meaning"].endswith("."), weight
        assert "{}" not in weight["meaning"], weight
        assert weight["value"] == weight["usual"], weight
        assert weight["least"] is None or weight["least"] <= weight["value"], weight
        assert weight["most"] is None or weight["value"] <= weight["most"], weight
    by_name = {w["name"]: w for w in found["correlation"]}
    assert (by_name["grace"]["value"], by_name["grace"]["unit"]) == (0.5, "hours")
    assert (by_name["low_share"]["most"], by_name["low_share"]["unit"]) == (1, "share")


def test_what_would_change_is_what_changes(state: State, desk: IncidentDesk) -> None:
    tuning = Tuning(state, desk)
    desk.judge(again=True)
    before = desk.page(sort="number", descending=False)["items"]
    assert [i["alert_count"] for i in before] == [2, 1]
    same = tuning.preview({}, {})
    assert (same["joins"], same["priorities"], same["alerts"], same["open"]) == ([], [], 3, 2)
    found = tuning.preview({"threshold": 400}, {"severity.High": 10, "stage": 0})
    (split,) = found["joins"]
    assert (split["kind"], split["alerts"], [i["number"] for i in split["incidents"]]) == ("split", 2, [1])
    (changed,) = found["priorities"]
    assert (changed["number"], changed["before"]) == (1, before[0]["priority"])
    assert {r["text"]: r["weight"] for r in changed["reasons"]}["High severity"] == -25.0
    assert desk.page(sort="number", descending=False)["items"] == before, "looking changes nothing"
    tuning.set(None, {"severity.High": 10, "stage": 0}, reason="too loud", actor=ANNA)
    assert desk.get(before[0]["id"])["priority"] == changed["after"]
    tuning.set({"threshold": 400}, None, actor=ANNA)
    desk.add([alert("d", 9, WS1)])
    assert [i["alert_count"] for i in desk.page(sort="number", descending=False)["items"]] == [2, 1, 1]


def test_what_would_change_is_told_of_what_is_in_force_by_then(state: State, desk: IncidentDesk) -> None:
    """What is kept from one look to the next holds for those alerts and those settings only."""
    tuning = Tuning(state, desk)
    assert tuning.preview({"threshold": 400}, None)["joins"][0]["alerts"] == 2
    desk.add([alert("d", 9, WS1)])
    assert tuning.preview({"threshold": 400}, None)["joins"][0]["alerts"] == 3
    tuning.set({"threshold": 400}, None, actor=ANNA)
    assert tuning.preview({"threshold": 400}, None)["joins"] == []
    assert tuning.preview({}, None) == tuning.preview({}, None)


def test_what_was_set_is_kept_told_and_taken_back(state: State, desk: IncidentDesk) -> None:
    tuning = Tuning(state, desk)
    first = tuning.set({"weights.host": 10, "grace": 2}, None, reason="one", actor=ANNA)
    second = tuning.set(None, {"severity": {"Low": 1}, "tags.vip": 7}, reason="two", actor=ANNA)
    again = IncidentDesk(state)
    assert (again.correlation.points()["host"], again.correlation.grace) == (10, timedelta(hours=2))
    assert [w["value"] for w in Tuning(state, again).weights()["priority"] if w["name"] == "tags.vip"] == [7]
    assert [(e["id"], e["reason"], e["actor"]) for e in tuning.history()] == [(2, "two", "anna"), (1, "one", "anna")]
    tuning.undo(first["id"], actor=ANNA)
    assert desk.correlation == desk.usual_correlation
    assert desk.priority_points()["weights"]["severity"]["Low"] == 1, "the other side stays"
    tuning.undo(second["id"], actor=ANNA)
    assert desk.priority_points()["weights"]["severity"]["Low"] == 10
    with pytest.raises(NotFoundError):
        tuning.undo(99, actor=ANNA)
    with state.read() as unit:
        _, audited = unit.audit.page(action="incident.weights")
    assert audited == 4


def test_who_sets_what_somebody_else_has_set_meanwhile_is_told_by_whom(state: State, desk: IncidentDesk) -> None:
    tuning = Tuning(state, desk)
    seen = tuning.version()
    tuning.set({"threshold": 50}, {"severity.High": 20}, reason="too many", version=seen, actor=ANNA)
    with pytest.raises(
        WeightsOvertakenError, match=r"at version 1, not 0.*threshold, severity\.High by anna"
    ) as refused:
        tuning.set({"grace": 2}, None, version=seen, actor=Actor("bob"))
    assert refused.value.code == ConflictError.code
    (change,) = refused.value.more["changes"]
    assert refused.value.more["version"] == change["version"] == 1
    assert (change["actor"], change["reason"], change["changed"]) == (
        "anna",
        "too many",
        ["threshold", "severity.High"],
    )
    assert desk.correlation.threshold == 50
    tuning.set({"threshold": 50, "grace": 2}, None, version=1, actor=Actor("bob"))
    assert (desk.correlation.threshold, desk.correlation.grace) == (50, timedelta(hours=2))


def test_what_is_so_already_is_no_change(state: State, desk: IncidentDesk) -> None:
    tuning = Tuning(state, desk)
    assert tuning.set({}, {}, actor=ANNA)["id"] == 0
    tuning.set({"threshold": 50}, {"severity.High": 20}, actor=ANNA)
    again = tuning.set({"threshold": 50}, {"severity": {"High": 20}}, reason="again", version=1, actor=ANNA)
    assert (again["id"], again["before"]) == (1, again["after"])
    assert [e["id"] for e in tuning.history()] == [1]
    with state.read() as unit:
        _, audited = unit.audit.page(action="incident.weights")
    assert audited == 1


def test_an_undo_leaves_what_others_set_since(state: State, desk: IncidentDesk) -> None:
    tuning = Tuning(state, desk)
    first = tuning.set({"threshold": 50}, {"severity.High": 20}, actor=ANNA)
    second = tuning.set({"threshold": 50, "grace": 2}, {"severity.High": 20, "severity.Low": 1}, actor=Actor("bob"))
    tuning.undo(first["id"], actor=ANNA)
    assert (desk.correlation.threshold, desk.correlation.grace) == (
        desk.usual_correlation.threshold,
        timedelta(hours=2),
    )
    severity = desk.priority_points()["weights"]["severity"]
    assert (severity["High"], severity["Low"]) == (35, 1)
    tuning.set({"grace": 3}, None, actor=Actor("carl"))
    with pytest.raises(WeightsOvertakenError, match=r"grace was set again since.*by carl"):
        tuning.undo(second["id"], actor=ANNA)
    assert desk.correlation.grace == timedelta(hours=3)


@pytest.mark.parametrize(
    ("correlation", "priorities", "says"),
    [
        ({"treshold": 3}, None, "threshold"),
        ({"weights.hots": 3}, None, "hots"),
        ({"weights.host": -1}, None, "weights.host"),
        ({"weights.host": float("nan")}, None, "weights.host"),
        ({"low_share": 2}, None, "low_share"),
        ({"grace": -1}, None, "grace"),
        ({"grace": 1e300}, {"severity.High": 101}, "severity.High"),
        (None, {"severity.Hihg": 1}, "Hihg"),
        (None, {"stage.x": 1}, "stage"),
        (None, {"stage": float("inf")}, "stage"),
    ],
)
def test_what_is_no_weight_is_refused_by_name(
    state: State, desk: IncidentDesk, correlation: dict[str, float], priorities: dict[str, float], says: str
) -> None:
    tuning = Tuning(state, desk)
    for attempt in (tuning.preview, lambda c, p: tuning.set(c, p, actor=ANNA)):
        with pytest.raises(UsageError) as refused:
            attempt(correlation, priorities)
        assert refused.value.code == "INC0004"
        assert says in str(refused.value)
    assert tuning.history() == []


def test_the_report_counts_what_people_decided(state: State, desk: IncidentDesk) -> None:
    first, second = (i["id"] for i in desk.page(sort="number", descending=False)["items"])
    tuning = Tuning(state, desk)
    assert (tuning.report()["separation"], tuning.report()["factors"]) == (None, [])
    with state.write() as unit:
        split = desk.move(unit, first, [desk.get(first)["alerts"][1]["id"]], None, reason="", actor=ANNA)
    counts = tuning.report()["corrections"]
    assert (counts["apart"], counts["apart_now"]) == (1, 0), "the engine would join them again"
    with state.write() as unit:
        for incident, what in ((first, "TruePositive"), (second, "FalsePositive"), (split["target"], "FalsePositive")):
            desk.change(unit, incident, {"status": "Resolved", "classification": what}, actor=ANNA)
    found = tuning.report()
    assert (found["true_positives"], found["others"], found["separation"]) == (1, 2, 1.0), (
        "35 points against 20 and 20 + 14"
    )
    worth = {f["name"]: f["worth"] for f in found["factors"]}
    assert (worth["severity"], worth["stage_reached"], worth["host"]) == (0.75, 0.0, 0.0)
    assert sum(r["right"] + r["wrong"] for r in found["rules"]) == 3


def test_what_is_too_much_is_left_out_and_said(
    state: State, desk: IncidentDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.incidents.tuning.MOST_LOADED", 2)
    found = Tuning(state, desk).preview({}, {})
    assert (found["incidents"], found["open"]) == (1, 2)
