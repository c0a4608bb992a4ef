"""People merge, move and split; every operation can be taken back, and correlation respects what they decided."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.incidents.test_correlate import ANN, BOB, T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.base.errors import UsageError
from tocsin.incidents import Correlator
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.fusion import PRODUCT
from tocsin.incidents.history import rebuild
from tocsin.incidents.life import Actor
from tocsin.state import ConflictError, NotFoundError, State
from tocsin.tables import Entity

ANNA = Actor("anna")
WS3 = Entity.host("ws3.contoso.com")


@pytest.fixture
def desk(state: State) -> IncidentDesk:
    made = IncidentDesk(state)
    made.add(
        [
            alert("a1", 0, WS1, ANN, tactics=("Execution",)),
            alert("a2", 1, WS1, ANN, tactics=("CredentialAccess",), severity="High"),
            alert("b1", 2, WS2, BOB, tactics=("Discovery",)),
            alert("c1", 3, WS3, tactics=("Impact",)),
        ]
    )
    return made


def ids(desk: IncidentDesk) -> list[str]:
    """The incidents' ids by number."""
    return [i["id"] for i in desk.page(sort="number", descending=False)["items"]]


def members(desk: IncidentDesk, incident_id: str) -> list[str]:
    return [a["rule_id"] for a in desk.get(incident_id)["alerts"]]


def alert_ids(desk: IncidentDesk, incident_id: str, *rules: str) -> list[str]:
    return [a["id"] for a in desk.get(incident_id)["alerts"] if a["rule_id"] in rules]


def merge(desk: IncidentDesk, target: str, *sources: str, reason: str = "") -> dict[str, Any]:
    with desk._state.write() as unit:
        return desk.merge(unit, target, sources, reason=reason, actor=ANNA)


def move(desk: IncidentDesk, origin: str, alerts: list[str], target: str | None = None) -> dict[str, Any]:
    with desk._state.write() as unit:
        return desk.move(unit, origin, alerts, target, reason="not ours", actor=ANNA)


def change(desk: IncidentDesk, incident_id: str, **changes: object) -> None:
    with desk._state.write() as unit:
        desk.change(unit, incident_id, changes, actor=ANNA)


def whole(desk: IncidentDesk, incident_id: str) -> dict[str, Any]:
    """All of an incident but what counts its changes."""
    found = desk.get(incident_id)
    return {n: v for n, v in found.items() if n not in ("version", "updated", "activity", "activity_count")}


def test_a_merge_moves_everything_and_redirects(desk: IncidentDesk) -> None:
    one, two, three = ids(desk)
    change(desk, two, add_tags=["vip"], owner="bert", status="InProgress")
    merge(desk, one, two, three, reason="same intruder")
    assert ids(desk) == [one]
    made = desk.get(one)
    assert members(desk, one) == ["a1", "a2", "b1", "c1"]
    assert (made["owner"], made["status"], made["tags"]) == ("bert", "InProgress", ["vip"])
    assert "Impact" in made["tactics"]
    gone = desk.get(two)
    assert (gone["status"], gone["redirect_to"]) == ("Redirected", one)
    assert [r["text"] for r in desk.get(one)["alerts"][3]["linked_by"]] == ["merged from #3 by anna: same intruder"]
    assert any("merged into this one" in a["text"] and "same intruder" in a["text"] for a in made["activity"])


def test_tasks_come_along_and_go_back(desk: IncidentDesk) -> None:
    one, two, three = ids(desk)
    with desk._state.write() as unit:
        for title in ("call the owner", "image the disk"):
            desk.add_task(unit, two, title, "", actor=ANNA)
    todo = desk.get(two)["tasks"]
    undo = merge(desk, one, two, three)
    assert (desk.get(one)["tasks"], desk.get(two)["tasks"]) == (todo, [])
    assert desk.get(two)["alert_count"] == 0
    with desk._state.write() as unit:
        desk.change_task(unit, one, todo[0]["id"], {"done": True}, actor=ANNA)
        desk.add_task(unit, one, "write to all", "", actor=ANNA)
    with desk._state.write() as unit:
        desk.unmerge(unit, undo, actor=ANNA)
    assert [(t["title"], t["completed_by"]) for t in desk.get(two)["tasks"]] == [
        ("call the owner", "anna"),
        ("image the disk", None),
    ]
    assert [t["title"] for t in desk.get(one)["tasks"]] == ["write to all"]
    with desk._state.read() as unit:
        assert list(rebuild(unit, repair=False)) == []


def test_links_lead_to_where_the_alerts_are_in_the_end(desk: IncidentDesk) -> None:
    one, two, three = ids(desk)
    merge(desk, two, three)
    merge(desk, one, two)
    assert {desk.get(gone)["redirect_to"] for gone in (two, three)} == {one}
    assert {i["redirect_to"] for i in desk.page(statuses=("Redirected",))["items"]} == {one}
    with pytest.raises(ConflictError) as refused, desk._state.write() as unit:
        desk.move(unit, three, ["x"], None, reason="", actor=ANNA)
    assert one in (refused.value.hint or "")
    with desk._state.read() as unit:
        assert unit.incidents.require(three).redirect_to == two, "the log keeps the step, so that it can be undone"


def test_what_is_split_off_and_merged_again_has_its_reasons_again(desk: IncidentDesk) -> None:
    one, *_ = ids(desk)
    desk.add([alert("more", 3, WS1, ANN, severity="High")])
    (joined,) = (a for a in desk.get(one)["alerts"] if a["rule_id"] == "more")
    assert joined["linked_by"]
    for _ in range(2):
        made = move(desk, one, [joined["id"]])
        merge(desk, one, made["target"])
        *before, merged = next(a["linked_by"] for a in desk.get(one)["alerts"] if a["id"] == joined["id"])
        assert before == joined["linked_by"]
        assert merged["text"].startswith("merged from #")
    with desk._state.read() as unit:
        assert list(rebuild(unit, repair=False)) == []


def test_a_severity_set_to_what_it_is_stays_and_one_given_back_follows_again(desk: IncidentDesk) -> None:
    _, one, _ = ids(desk)
    was = desk.get(one)["severity"]
    assert was == "Medium"
    change(desk, one, severity=was)
    assert desk.get(one)["activity"][-1]["text"] == "Severity stays, whatever comes: Medium."
    desk.add([alert("worse", 3, WS2, BOB, severity="High")])
    assert "worse" in members(desk, one)
    assert desk.get(one)["severity"] == "Medium"
    change(desk, one, severity="High")
    change(desk, one, severity=None)
    assert desk.get(one)["activity"][-1]["text"] == "Severity follows the alerts again: High."
    move(desk, one, alert_ids(desk, one, "worse"))
    assert desk.get(one)["severity"] == was, "a severity that was given back is nobody's any more"


def test_correlation_brings_tasks_along(desk: IncidentDesk) -> None:
    one, two, _ = ids(desk)
    with desk._state.write() as unit:
        desk.add_task(unit, two, "call the owner", "", actor=ANNA)
    desk.add([alert("bridge", 4, WS1, ANN, WS2, BOB, severity="High")])
    kept, gone = (one, two) if desk.get(two)["status"] == "Redirected" else (two, one)
    assert desk.get(gone)["redirect_to"] == kept
    assert [t["title"] for t in desk.get(kept)["tasks"]] == ["call the owner"]
    with desk._state.read() as unit:
        assert list(rebuild(unit, repair=False)) == []


def test_tasks_come_along_into_an_incident_that_came_with_the_same_alerts(desk: IncidentDesk) -> None:
    _, two, _ = ids(desk)
    with desk._state.write() as unit:
        desk.add_task(unit, two, "call the owner", "", actor=ANNA)
    ws4, eve = Entity.host("ws4.contoso.com"), Entity.account("CONTOSO\\eve")
    desk.add([alert("late", -9, ws4, eve), alert("bridge", 1, WS2, BOB, ws4, eve, severity="High")])
    kept = desk.get(two)["redirect_to"]
    assert members(desk, kept) == ["late", "bridge", "b1"]
    assert [t["title"] for t in desk.get(kept)["tasks"]] == ["call the owner"]
    with desk._state.read() as unit:
        assert list(rebuild(unit, repair=False)) == []


def test_what_came_and_went_with_the_same_alerts_is_nobody_s_redirect(desk: IncidentDesk) -> None:
    """The third incident empties into one that these alerts open, and that into another that they open: links lead to the last."""
    _, _, three = ids(desk)
    people = [Entity.account(f"CONTOSO\\p{n}") for n in range(3)]
    hosts = [Entity.host(f"new{n}.contoso.com") for n in range(2)]
    change(desk, three, add_tags=["vip"])
    desk.add(
        [
            alert("x", -9, hosts[0], people[0]),
            alert("x3", 1, hosts[0], people[0], WS3, severity="High"),
            alert("y", -15, hosts[1], people[1]),
            alert("yx", 2, hosts[0], people[0], hosts[1], people[1], severity="High"),
        ]
    )
    last = desk.get(three)["redirect_to"]
    assert (members(desk, last), desk.get(last)["status"]) == (["y", "x", "x3", "yx", "c1"], "New")
    assert "vip" in desk.get(last)["tags"]
    assert {i["id"] for i in desk.page(statuses=("Redirected",))["items"]} == {three}
    with desk._state.read() as unit:
        assert unit.incidents.require(three).redirect_to == last
        assert list(rebuild(unit, repair=False)) == []


def test_what_a_pattern_said_stays_where_somebody_moved_it(state: State) -> None:
    desk = IncidentDesk(state)
    stages = ("Collection", "Exfiltration")
    desk.add([alert(f"a{n}", 5 * n, WS1, ANN, tactics=(t,), severity="High") for n, t in enumerate(stages)])
    (one,) = ids(desk)
    (said,) = (a for a in desk.get(one)["alerts"] if a["product"] == PRODUCT)
    made = move(desk, one, [said["id"]])
    desk.add([alert(f"b{n}", 8 + n, WS1, ANN, tactics=(t,), severity="High") for n, t in enumerate(stages)])
    assert members(desk, one) == ["a0", "a1", "b0", "b1"]
    assert members(desk, made["target"]) == [said["rule_id"]]
    with state.read() as unit:
        assert list(rebuild(unit, repair=False)) == []


def test_what_was_said_of_a_part_that_comes_back_stays_in_sight(desk: IncidentDesk) -> None:
    one, *_ = ids(desk)
    undo = move(desk, one, alert_ids(desk, one, "a2"))
    with desk._state.write() as unit:
        desk.comment(unit, undo["target"], "it was the scanner", actor=ANNA)
        desk.add_task(unit, undo["target"], "ask them", "", actor=ANNA)
    with desk._state.write() as unit:
        desk.unmove(unit, undo, actor=ANNA)
    found = desk.get(one)
    assert "it was the scanner" in [a["text"] for a in found["activity"]]
    assert [t["title"] for t in found["tasks"]] == ["ask them"]


def test_a_chain_of_merges_leads_to_what_is_left_and_is_taken_apart_from_its_end(desk: IncidentDesk) -> None:
    one, two, three = ids(desk)
    inner = merge(desk, two, one)
    outer = merge(desk, three, two)
    with pytest.raises(ConflictError) as refused:
        change(desk, one, status="Resolved")
    assert f"{three} (#3)" in refused.value.hint
    with pytest.raises(ConflictError, match="#2 was merged into another itself"), desk._state.write() as unit:
        desk.unmerge(unit, inner, actor=ANNA)
    for undo in (outer, inner):
        with desk._state.write() as unit:
            desk.unmerge(unit, undo, actor=ANNA)
    assert ids(desk) == [one, two, three]


def test_each_change_is_told_as_newer_than_the_last_whatever_becomes_of_the_clock(desk: IncidentDesk) -> None:
    """Rows are told apart by their time: the newest is what the incident is."""
    one, *_ = ids(desk)
    told: list[Any] = []
    state = desk._state
    state.on_incidents(lambda changes: told.extend(c.row.updated for c in changes if c.row.id == one))
    acts: list[Any] = [
        lambda unit: desk.change(unit, one, {"owner": "anna"}, actor=ANNA),
        lambda unit: desk.change(unit, one, {"status": "Resolved"}, actor=ANNA),
        lambda unit: desk.change(unit, one, {"status": "New"}, actor=ANNA),
        lambda unit: desk.comment(unit, one, "seen", actor=ANNA),
        lambda unit: desk.add_task(unit, one, "call", "", actor=ANNA),
    ]
    for hours, act in zip((2, -24, -25, 3, 4), acts, strict=True):
        state.clock = ManualClock(T0 + timedelta(hours=hours))
        with state.write() as unit:
            act(unit)
    assert len(told) == 5
    assert told == sorted(set(told))
    with state.read() as unit:
        closed = [c for e in unit.incidents.history.of(one) if (c := e.data.get("set", {}).get("closed"))]
    assert [datetime.fromisoformat(c) >= told[0] for c in closed] == [True]


def test_a_preview_says_what_comes_and_changes_nothing(desk: IncidentDesk) -> None:
    one, two, _ = ids(desk)
    before = [whole(desk, i) for i in (one, two)]
    found = desk.preview_merge(one, [two])
    assert (found.alerts, found.vetoes, found.shared) == (1, [], [])
    assert found.incident["alert_count"] == 3
    assert found.incident["priority"] >= before[0]["priority"]
    assert [whole(desk, i) for i in (one, two)] == before


@pytest.mark.parametrize(
    ("here", "there", "says"),
    [
        ({"status": "Resolved"}, {}, "is resolved"),
        ({}, {"status": "Resolved"}, "is resolved"),
        ({"owner": "anna"}, {"owner": "bert"}, "owner"),
        ({"classification": "TruePositive"}, {"classification": "FalsePositive"}, "classification"),
        (
            {"classification": "TruePositive", "determination": "Malware"},
            {"classification": "TruePositive", "determination": "Phishing"},
            "determination",
        ),
    ],
)
def test_vetoes(desk: IncidentDesk, here: dict[str, Any], there: dict[str, Any], says: str) -> None:
    one, two, _ = ids(desk)
    for incident, changes in ((one, here), (two, there)):
        if changes:
            change(desk, incident, **changes)
    assert says in desk.preview_merge(one, [two]).vetoes[0]
    with pytest.raises(ConflictError, match=says):
        merge(desk, one, two)
    assert len(members(desk, one)) == 2


def test_too_many_entities_veto(desk: IncidentDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, _ = ids(desk)
    monkeypatch.setattr("tocsin.incidents.vetoes.ENTITY_CAP", 3)
    with pytest.raises(ConflictError, match="more than 3 entities"):
        merge(desk, one, two)


def test_nothing_on_one_side_is_compatible(desk: IncidentDesk) -> None:
    one, two, _ = ids(desk)
    change(desk, two, owner="bert", classification="TruePositive", determination="Malware")
    merge(desk, one, two)
    assert (desk.get(one)["owner"], desk.get(one)["determination"]) == ("bert", "Malware")


def test_undo_restores_both_exactly(desk: IncidentDesk) -> None:
    one, two, three = ids(desk)
    change(desk, one, add_tags=["mine"])
    change(desk, two, owner="bert", add_tags=["theirs"], severity="Low", title="Odd", status="InProgress")
    before = {i: whole(desk, i) for i in (one, two, three)}
    undo = merge(desk, one, two, three)
    with desk._state.write() as unit:
        desk.unmerge(unit, undo, actor=ANNA)
    assert {i: whole(desk, i) for i in (one, two, three)} == before


def test_undo_keeps_what_came_since(desk: IncidentDesk) -> None:
    one, two, _ = ids(desk)
    undo = merge(desk, one, two)
    desk.add([alert("late", 10, WS1, ANN)])
    with desk._state.write() as unit:
        desk.unmerge(unit, undo, actor=ANNA)
    assert (members(desk, one), members(desk, two)) == (["a1", "a2", "late"], ["b1"])


def test_undo_of_a_merge_whose_alerts_went_on_is_refused(desk: IncidentDesk) -> None:
    one, two, three = ids(desk)
    undo = merge(desk, one, two)
    move(desk, one, alert_ids(desk, one, "b1"), three)
    with pytest.raises(ConflictError, match="moved elsewhere"), desk._state.write() as unit:
        desk.unmerge(unit, undo, actor=ANNA)
    assert members(desk, three) == ["b1", "c1"]


def test_alerts_move_to_another_and_to_a_new_incident_and_back(desk: IncidentDesk) -> None:
    one, two, three = ids(desk)
    before = {i: whole(desk, i) for i in (one, two, three)}
    there = move(desk, one, alert_ids(desk, one, "a2"), two)
    assert (members(desk, one), members(desk, two)) == (["a1"], ["a2", "b1"])
    with desk._state.write() as unit:
        desk.unmove(unit, there, actor=ANNA)
    assert {i: whole(desk, i) for i in (one, two, three)} == before
    new = move(desk, one, alert_ids(desk, one, "a2"))
    assert new["number"] == 4
    assert members(desk, new["target"]) == ["a2"]
    assert desk.get(new["target"])["severity"] == "High"
    assert desk.get(one)["severity"] == "Medium"
    with desk._state.write() as unit:
        desk.unmove(unit, new, actor=ANNA)
    assert {i: whole(desk, i) for i in (one, two, three)} == before
    assert desk.get(new["target"])["redirect_to"] == one


def test_what_cannot_be_moved(desk: IncidentDesk) -> None:
    one, two, three = ids(desk)
    with pytest.raises(UsageError, match="all alerts"):
        move(desk, two, alert_ids(desk, two, "b1"), one)
    with pytest.raises(UsageError, match="no alert"):
        move(desk, one, ["al_zzz"], two)
    with pytest.raises(NotFoundError):
        move(desk, one, alert_ids(desk, one, "a1"), "inc_nowhere")
    change(desk, three, status="Resolved")
    with pytest.raises(ConflictError, match="resolved"):
        move(desk, one, alert_ids(desk, one, "a1"), three)
    merge(desk, one, two)
    with pytest.raises(ConflictError, match="merged into"):
        move(desk, one, alert_ids(desk, one, "a1"), two)
    for wrong in ([one], ["inc_nowhere"], [f"i{n}" for n in range(6)]):
        with pytest.raises((UsageError, NotFoundError)):
            merge(desk, one, *wrong)


def test_correlation_goes_on_with_what_people_made(desk: IncidentDesk) -> None:
    one, two, _ = ids(desk)
    merge(desk, one, two)
    desk.add([alert("b2", 5, WS2, BOB)])
    assert members(desk, one) == ["a1", "a2", "b1", "b2"], "what belonged to the merged one comes to the one that stays"
    assert IncidentDesk(desk._state).memory.correlator.get(two) is None


def test_correlation_does_not_join_again_what_people_took_apart(desk: IncidentDesk) -> None:
    one, _, _ = ids(desk)
    new = move(desk, one, alert_ids(desk, one, "a2"))["target"]
    bridge = alert("bridge", 5, WS1, ANN)
    for made in (desk, IncidentDesk(desk._state)):
        made.add([bridge])
        assert {"bridge"} < set(members(desk, one)) | set(members(desk, new))
        assert desk.get(new)["status"] == "New"
        assert desk.get(one)["status"] == "New"


def test_two_that_nobody_took_apart_are_joined_by_the_same_bridge() -> None:
    correlator = Correlator()
    correlator.add([alert("x", 0, WS1), alert("y", 1, WS2)])
    assert len(correlator.incidents) == 2
    correlator.add([alert("bridge", 5, WS1, WS2)])
    assert len(correlator.incidents) == 1


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_run_of_operations_taken_back_in_reverse_is_as_if_nothing_was(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    state = State.open(tmp_path_factory.mktemp("s") / "state.db", clock=ManualClock(T0 + timedelta(hours=1)))
    try:
        desk = IncidentDesk(state)
        hosts = [Entity.host(f"h{n}.contoso.com") for n in range(4)]
        desk.add(
            [alert(f"r{n}_{i}", n * 3 + i, host, severity="High") for n, host in enumerate(hosts) for i in range(3)]
        )
        before = {i: whole(desk, i) for i in ids(desk)}
        every = {a["id"] for i in before for a in desk.get(i)["alerts"]}
        done: list[tuple[str, dict[str, Any]]] = []
        for _ in range(data.draw(st.integers(1, 5))):
            shown = ids(desk)
            if data.draw(st.booleans()) and len(shown) > 1:
                target, *sources = data.draw(st.lists(st.sampled_from(shown), min_size=2, max_size=3, unique=True))
                done.append(("merge", merge(desk, target, *sources)))
            else:
                origin = data.draw(st.sampled_from(shown))
                held = [a["id"] for a in desk.get(origin)["alerts"]]
                if len(held) < 2:
                    continue
                some = data.draw(st.lists(st.sampled_from(held), min_size=1, max_size=len(held) - 1, unique=True))
                others = [i for i in shown if i != origin]
                target_ = data.draw(st.sampled_from([None, *others]))
                done.append(("move", move(desk, origin, some, target_)))
            now = [a["id"] for i in ids(desk) for a in desk.get(i)["alerts"]]
            assert sorted(now) == sorted(every), "every alert is in exactly one incident"
        for kind, undo in reversed(done):
            with state.write() as unit:
                (desk.unmerge if kind == "merge" else desk.unmove)(unit, undo, actor=ANNA)
        assert {i: whole(desk, i) for i in before} == before
        assert set(ids(desk)) == set(before)
    finally:
        state.close()


def memory(correlator: Correlator) -> dict[str, object]:
    """What a correlator holds, by incident: the incident, without what only the database knows, and what it is found by."""
    made: dict[str, object] = {}
    for incident_id in sorted(correlator._held.clusters):
        cluster = correlator._held.woken(incident_id)
        record = {k: v for k, v in cluster.incident.to_record().items() if k not in ("created", "updated")}
        seen = {key: dict(cluster.moments(key).by_worth) for key in sorted(cluster.things)}
        times = {k: {w: list(points) for w, points in by.items()} for k, by in seen.items()}
        holds = all(incident_id in correlator._held.holders.of(k) for k in cluster.things)
        made[incident_id] = record, times, sorted(cluster.alerts), cluster.first, cluster.last, holds
    return {**made, "alerts": dict(sorted(correlator._held.alerts.items())), "keys": len(correlator._held.holders)}


def test_what_people_made_is_read_anew_as_a_restart_would(desk: IncidentDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = ids(desk)
    before = desk.memory.correlator
    read = desk.memory.read
    monkeypatch.setattr(desk.memory, "read", lambda: pytest.fail("all of it was read anew"))
    merge(desk, one, two)
    move(desk, one, alert_ids(desk, one, "a1"), None)
    desk.add([alert("c9", 9, WS2, BOB)])
    undo = merge(desk, one, three)
    desk.add([alert("c10", 10, Entity.host("ws77.contoso.com"))])
    with desk._state.write() as unit:
        desk.unmerge(unit, undo, actor=ANNA)
    desk.add([alert("c11", 11, WS2, BOB)])
    assert desk.memory.correlator is before, "only what was changed was read anew"
    assert memory(desk.memory.correlator) == memory(read())


def test_after_a_transaction_that_failed_memory_is_what_the_database_holds(desk: IncidentDesk) -> None:
    before = desk.memory.correlator

    def fails(_unit: object) -> None:
        raise RuntimeError("the disk is full")

    several = [alert("c1", 3, WS2, BOB), alert("c2", 4, Entity.host("ws78.contoso.com"), severity="High")]
    with pytest.raises(RuntimeError, match="disk"):
        desk.add(several, within=fails)
    assert desk.memory.correlator is before
    assert memory(before) == memory(desk.memory.read())
    desk.add(several)
    assert all(before.holding(a.id) is not None for a in several)
    assert memory(before) == memory(desk.memory.read())


@pytest.mark.parametrize("restarts", [False, True])
def test_what_was_taken_apart_is_not_brought_together_by_a_third(desk: IncidentDesk, restarts: bool) -> None:
    one, two, _ = ids(desk)
    made = move(desk, one, [desk.get(one)["alerts"][1]["id"]])["target"]
    change(desk, two, owner="anna")  # so that it is the one that stays
    desk.add([alert("bridge", 4, WS1, ANN, WS2, BOB)])
    assert desk.get(one)["redirect_to"] == two
    if restarts:
        desk = IncidentDesk(desk._state)
    desk.add([alert("again", 5, WS1, ANN, WS2, BOB)])
    assert desk.get(made)["status"] == "New"
    assert members(desk, made) == ["a2"]
