"""Priority: additive, explained, by weights that can be set, by what is known of assets and rules; and its history."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.incidents.test_correlate import ANN, BOB, WS1, WS2, alert, incidents
from tocsin.base.errors import UsageError
from tocsin.content import load_packs, packs_dir
from tocsin.incidents import recollection, rejudge
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.history import rebuild
from tocsin.incidents.judging import AssetRow, set_weights
from tocsin.incidents.life import Actor
from tocsin.incidents.priority import Asset, Judge, keys_of_name, priority, weights_of
from tocsin.incidents.tuning import Tuning
from tocsin.incidents.weights import CorrelationSettings
from tocsin.state import ConflictError, State
from tocsin.tables import Entity

ANNA = Actor("anna")


def points(judge: Judge, *alerts: Any) -> dict[str, float]:
    (made,) = incidents(*alerts)
    score, reasons = priority(made, judge)
    assert score == sum(r.weight for r in reasons)
    assert 0 <= score <= 100
    return {r.text: r.weight for r in reasons}


def test_each_factor_says_itself() -> None:
    judge = Judge(
        techniques={"T1003": 10, "T1486": 16},
        assets=dict.fromkeys(keys_of_name("Host", "ws1.contoso.com"), Asset("Domain controllers", "veryHigh")),
        first={"al_a_0": 1},
        closed={"b": (9, 1)},
    )
    made = points(
        judge,
        alert("a", 0, WS1, techniques=("T1003.001",), tactics=("CredentialAccess",), tags=("ransomware",)),
        alert("b", 1, WS1, ANN, tactics=("Impact",), techniques=("T1486",), severity="High"),
    )
    assert made["technique T1486"] == 16
    assert made["critical asset ws1.contoso.com: Domain controllers (very high)"] == 15
    assert made["'a' had never fired before"] == 5
    assert made["'b' was right in 9 of 10 closed incidents"] == 8
    assert made["tagged ransomware"] == 10
    assert made["points add up to 110; the scale ends at 100"] == -10
    noisy = points(Judge(closed={"a": (1, 19)}), alert("a", 0, WS1))
    assert noisy["'a' was right in 1 of 20 closed incidents"] == -9
    wrong = points(Judge(closed={"a": (0, 20)}, tags={"test": -15}), alert("a", 0, WS1, tags=("test",)))
    assert wrong["points add up to -5; the scale begins at 0"] == 5
    assert not any("right" in text for text in points(Judge(closed={"a": (1, 1)}), alert("a", 0, WS1)))


def test_one_alert_is_no_five_stages_and_what_only_informs_is_none() -> None:
    many = ("InitialAccess", "Persistence", "PrivilegeEscalation", "DefenseEvasion", "CredentialAccess")
    alone = points(Judge(), alert("logon", 0, WS1, tactics=many))
    assert not any("stages" in text for text in alone)
    assert "has reached Credential access" in alone
    two = points(Judge(), alert("logon", 0, WS1, tactics=many), alert("b", 1, WS1, tactics=many[:2]))
    counted = "2 of its 5 stages count, each told by a rule of its own: Persistence, Credential access"
    assert two[counted] == 5, "the page counts five: the reason says why it counts two"
    each = points(Judge(), alert("a", 0, WS1, tactics=many[:1]), alert("b", 1, WS1, tactics=many[1:2]))
    assert each["2 stages of an attack: Initial access, Persistence"] == 5
    again = points(Judge(), *(alert("logon", n, WS1, tactics=many) for n in range(4)))
    assert not any("stages" in text for text in again), "the same rule four times"
    judge = Judge(techniques={"T1531": 9})
    said = alert("logoff", 1, WS1, severity="Informational", tactics=("Impact",), techniques=("T1531",))
    made = points(judge, alert("b", 0, WS1, tactics=("Execution",)), said)
    assert not any(word in text for text in made for word in ("stages", "Impact", "T1531"))
    (incident,) = incidents(alert("b", 0, WS1, tactics=("Execution",)), said)
    assert incident.title == "Execution incident on ws1.contoso.com: b and 1 more"


def test_an_asset_is_found_by_any_name_of_it() -> None:
    def level(name: str, kind: str, entity: Any) -> Asset | None:
        return Judge(assets=dict.fromkeys(keys_of_name(kind, name), Asset("x", "high"))).asset_of(entity)

    assert level("WS1.CONTOSO.COM", "Host", WS1)
    assert level("CONTOSO\\ANN", "Account", ANN)
    assert not level("contoso\\bob", "Account", ANN)
    assert not level("ws1.fabrikam.com", "Host", WS1)


_ALERT = st.builds(
    lambda n, severity, rule, tactics: alert(
        f"r{rule}", n, WS1, ANN if n > 3 else None, severity=severity, tactics=tactics
    ),
    st.integers(0, 9),
    st.sampled_from(["Informational", "Low", "Medium", "High"]),
    st.integers(0, 4),
    st.sampled_from([(), ("Execution",), ("Impact", "Discovery")]),
)


@given(st.lists(_ALERT, min_size=1, max_size=6, unique_by=lambda a: a.id), _ALERT)
def test_another_alert_never_lowers_the_priority(alerts: list[Any], more: Any) -> None:
    """Also not a benign one of a rule that was mostly wrong."""
    from tocsin.incidents import Incident, LinkedAlert

    first = {a.id: n for n, a in enumerate(alerts, 1) if a.rule_id == "r0"}
    judge = Judge(first=first, closed={"r0": (9, 1), "r1": (1, 30)})
    made = Incident("inc_x", alerts=[LinkedAlert(a) for a in alerts])
    before = priority(made, judge)
    made.alerts.append(LinkedAlert(more))
    after = priority(made, judge)
    assert after[0] >= before[0]
    for score, reasons in (before, after):
        assert score == sum(r.weight for r in reasons)
        assert all(r.weight == int(r.weight) != 0 for r in reasons)
    anew = Incident("inc_x", alerts=list(made.alerts))
    assert priority(anew, judge) == after, "counted anew it is the same"


@pytest.mark.parametrize(
    "given_", [{"sevrity": {}}, {"severity": {"Hihg": 1}}, {"stage": 101}, {"stage": True}, {"host": "x"}, {"tags": 3}]
)
def test_what_is_no_weight(given_: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        weights_of(given_)
    assert caught.value.code == "INC0004"


def test_weights_and_assets_judge_again_and_the_history_keeps_each(state: State) -> None:
    content = load_packs([packs_dir()])
    desk = IncidentDesk(state, content=lambda: content)
    desk.add([alert("a", 0, WS1, ANN, techniques=("T1486",)), alert("b", 0, WS2, BOB)])
    one = next(i for i in desk.page()["items"] if i["techniques"])
    assert "technique T1486" in [r["text"] for r in one["reasons"]], "the packs' points count"
    Tuning(state, desk).set(None, {"severity": {"Medium": 50}}, actor=ANNA)
    assert desk.set_assets([AssetRow("Host", "ws1.contoso.com", "Mine", "high")])
    assert not desk.set_assets([AssetRow("Host", "ws1.contoso.com", "Mine", "high")])
    past = desk.priority_history(one["id"])
    assert [p["actor"] for p in past] == ["correlation", "system:priority", "system:priority"]
    assert [p["score"] for p in past] == sorted(p["score"] for p in past)
    assert desk.get(one["id"])["priority"] == past[-1]["score"]
    assert desk.judge(again=True) == 0
    assert IncidentDesk(state, content=lambda: content).priority_points()["weights"]["severity"]["Medium"] == 50
    with state.read() as unit:
        assert list(rebuild(unit, repair=False)) == []


def test_closed_incidents_teach_what_a_rule_is_worth(state: State) -> None:
    desk = IncidentDesk(state)
    desk.add([alert("a", n, e) for n, e in enumerate((WS1, WS2, ANN, BOB))])
    for number, item in enumerate(desk.page()["items"][:3]):
        wanted = {"status": "Resolved", "classification": "FalsePositive" if number else "TruePositive"}
        with state.write() as unit:
            desk.change(unit, item["id"], wanted, actor=ANNA)
    desk.judge()
    assert state.judge.closed == {"a": (1, 2)}


def test_what_people_find_out_of_a_rule_reorders_what_is_open(state: State) -> None:
    desk = IncidentDesk(state)
    desk.add(
        [alert("a", n, e) for n, e in enumerate((WS1, WS2, ANN, BOB))]
        + [alert("z", 9, Entity("Host", {"HostName": "q", "DnsDomain": "x.y"}))]
    )
    desk.catch_up()
    before = {i["id"]: i["priority"] for i in desk.page()["items"]}
    closed = [i["id"] for i in desk.page(sort="number", descending=False)["items"][:3]]
    for incident_id in closed:
        with state.write() as unit:
            desk.change(unit, incident_id, {"status": "Resolved", "classification": "FalsePositive"}, actor=ANNA)
    assert desk.catch_up() == 1, "one open incident holds an alert of that rule, the other none"
    after = {i["id"]: i["priority"] for i in desk.page()["items"]}
    lower = [i for i in after if i not in closed and after[i] < before[i]]
    assert len(lower) == 1
    assert desk.priority_history(lower[0])[-1]["actor"] == "system:priority"
    assert desk.catch_up() == 0


def test_weights_are_in_force_at_once_and_the_rest_of_a_long_queue_follows(state: State, monkeypatch: Any) -> None:
    monkeypatch.setattr(rejudge, "AT_ONCE", 2)
    monkeypatch.setattr(rejudge, "TOGETHER", 1)
    desk = IncidentDesk(state)
    desk.add([alert("a", n, e) for n, e in enumerate((WS1, WS2, ANN, BOB))])
    desk.catch_up()
    made = Tuning(state, desk).set(None, {"severity.Medium": 50}, actor=ANNA)
    assert (made["reordered"], made["behind"]) == (2, True)
    assert desk.catch_up() == 2
    assert not desk.judging.behind
    assert {i["priority"] >= 50 for i in desk.page()["items"]} == {True}
    undone = Tuning(state, desk).undo(made["id"], actor=ANNA)
    assert (undone["reordered"], undone["behind"]) == (2, True)


def test_a_noisy_rules_open_incidents_are_judged_again_in_rounds(state: State, monkeypatch: Any) -> None:
    """Each close moves what is known of the rule: nobody waits for all of its incidents, and in the end each stands where it belongs."""
    monkeypatch.setattr(rejudge, "AT_ONCE", 10)
    monkeypatch.setattr(rejudge, "TOGETHER", 4)
    desk = IncidentDesk(state)
    desk.add([alert("noisy", n, Entity.host(f"pc{n}.contoso.com")) for n in range(30)])
    while desk.catch_up() or desk.judging.behind:
        pass
    judged: list[int] = []
    real = rejudge.store.judge_again

    def counted(unit: Any, ids: Any, **more: Any) -> int:
        judged.append(len(ids))
        return real(unit, ids, **more)

    monkeypatch.setattr(rejudge.store, "judge_again", counted)
    rounds = 0
    for closed in range(3, 6):
        for item in desk.page(sort="number", descending=False)["items"][:closed]:
            if item["status"] != "Resolved":
                with state.write() as unit:
                    wanted = {"status": "Resolved", "classification": "FalsePositive"}
                    desk.change(unit, item["id"], wanted, actor=ANNA)
        desk.catch_up()
        assert sum(judged) <= 10, "another close in between makes no round longer"
        judged.clear()
    while desk.judging.behind:
        desk.catch_up()
        assert sum(judged) <= 10
        judged.clear()
        rounds += 1
    assert rounds >= 2
    stands = {i["id"]: i["priority"] for i in desk.page(limit=100)["items"]}
    desk.judge(again=True)
    assert {i["id"]: i["priority"] for i in desk.page(limit=100)["items"]} == stands
    with state.read() as unit:
        assert list(rebuild(unit, repair=False)) == []


def test_judging_again_makes_correlation_read_nothing_anew(state: State, monkeypatch: Any) -> None:
    """A merge by people while thousands of incidents were judged again read everything anew, and alerts waited."""
    monkeypatch.setattr(recollection, "_FEW", 3)
    desk = IncidentDesk(state)
    desk.add([alert("a", n, Entity.host(f"pc{n}.contoso.com")) for n in range(12)])
    monkeypatch.setattr(desk.memory, "read", lambda: pytest.fail("everything is read anew"))
    Tuning(state, desk).set(None, {"severity.Medium": 50}, actor=ANNA)
    one, two = (i["id"] for i in desk.page(limit=2)["items"])
    with state.write() as unit:
        desk.merge(unit, one, [two], reason="", actor=ANNA)
    desk.add([alert("b", 20, Entity.host("pc3.contoso.com"))])
    held = desk.memory.correlator.get(one)
    assert held is not None
    assert len(held.alerts) == 2


def test_what_changed_while_no_server_ran_is_made_up_for(state: State) -> None:
    desk = IncidentDesk(state)
    desk.add([alert("a", 0, WS1)])
    desk.catch_up()
    with state.write() as unit:
        set_weights(unit, {"severity": {"Medium": 70}})
    again = IncidentDesk(state)
    assert again.catch_up() == 1
    assert again.catch_up() == 0


def test_device_groups_stay_apart_where_they_are_to(state: State) -> None:
    apart = IncidentDesk(state, settings=CorrelationSettings(separate_device_groups=True))
    apart.set_assets(
        [AssetRow("Host", "ws1.contoso.com", "g", "", "Berlin"), AssetRow("Host", "ws2.contoso.com", "g", "", "Paris")]
    )
    apart.add([alert("a", 0, WS1), alert("b", 1, WS2)])
    one, two = (i["id"] for i in apart.page(sort="number", descending=False)["items"])
    assert "device group Berlin" in apart.preview_merge(one, [two]).vetoes[0]
    with pytest.raises(ConflictError, match="Paris"), state.write() as unit:
        apart.merge(unit, one, [two], reason="", actor=ANNA)
    apart.add([alert("bridge", 2, WS1, WS2)])
    assert apart.page()["total"] == 2, "correlation keeps them apart too"
    together = IncidentDesk(state)
    assert together.preview_merge(one, [two]).vetoes == []


def test_an_alert_joins_none_of_another_device_group(state: State) -> None:
    groups = [AssetRow("Host", f"ws{n}.contoso.com", "g", "", g) for n, g in ((1, "Berlin"), (2, "Paris"))]
    desk = IncidentDesk(state, settings=CorrelationSettings(separate_device_groups=True))
    desk.set_assets(groups)
    desk.add([alert("a", 0, WS1, ANN), alert("b", 1, WS1, ANN)])
    there = alert("c", 2, WS2, ANN, severity="High")
    assert [c.joins for c in desk.memory.correlator.preview(there)] == [False]
    desk.add([there, alert("d", 3, ANN), alert("e", 4, WS1, WS2, ANN)])
    held = {a.alert.id: i.number for i in desk.memory.correlator.incidents for a in i.alerts}
    assert held["al_a_0"] == held["al_b_1"] != held["al_c_2"]
    assert {held["al_d_3"], held["al_e_4"]} <= {held["al_a_0"], held["al_c_2"]}, (
        "no group is compatible, and two groups are with either"
    )
