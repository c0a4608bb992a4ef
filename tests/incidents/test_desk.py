"""The desk: what correlation says is kept, what people decide wins, and a restart changes nothing."""

from __future__ import annotations

import itertools
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.incidents.test_correlate import ANN, BOB, T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.base.errors import UsageError
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.life import Actor
from tocsin.state import ConflictError, NotFoundError, State
from tocsin.tables import Entity

ANNA = Actor("anna")
WS3 = Entity.host("ws3.contoso.com")


@pytest.fixture
def desk(state: State) -> IncidentDesk:
    return IncidentDesk(state)


def change(desk: IncidentDesk, incident_id: str, *, actor: Actor = ANNA, **changes: object) -> dict[str, Any]:
    with desk._state.write() as unit:
        return desk.change(unit, incident_id, changes, actor=actor)


def only(desk: IncidentDesk) -> Any:
    (item,) = desk.page()["items"]
    return item


def test_an_incident_comes_back_whole(desk: IncidentDesk) -> None:
    desk.add(
        [
            alert("a", 0, WS1, tactics=("Execution",)),
            alert("b", 5, WS1, ANN, tactics=("CredentialAccess",), severity="High"),
        ]
    )
    item = only(desk)
    assert item["number"] == 1
    assert item["severity"] == "High"
    assert item["alert_count"] == 2
    assert [a["rule"] for a in item["alerts"]] == ["a", "b"]
    assert "events" not in item["alerts"][0]
    full = desk.get(str(item["id"]))
    assert full["alerts"][1]["linked_by"][0]["text"] == "same host ws1.contoso.com"
    assert len(full["story"]) == 2
    assert full["graph"]["nodes"]
    assert [a["kind"] for a in full["activity"]] == ["created"]


def test_the_same_alert_again_changes_nothing(desk: IncidentDesk) -> None:
    desk.add([alert("a", 0, WS1)])
    before = desk.get(str(only(desk)["id"]))
    assert desk.add([alert("a", 0, WS1)]) == []
    assert desk.get(str(before["id"])) == before


def test_a_restart_in_the_middle_gives_the_same_incidents(state: State, tmp_path: Path) -> None:
    alerts = [
        alert("a", 0, WS1),
        alert("hint", 1, WS2, ANN, severity="Low", create_incident=False),
        alert("b", 5, WS1, ANN, tactics=("LateralMovement",)),
        alert("c", 9, WS2, tactics=("Collection",)),
        alert("d", 12, BOB, WS3),
    ]
    straight = IncidentDesk(state)
    for a in alerts:
        straight.add([a])
    straight.judge(again=True)  # a start reads anew how rare rules are; both are compared as judged by the same counts
    wanted = [(i["id"], i["title"], i["alert_count"], i["priority"]) for i in straight.page()["items"]]
    other = State.open(tmp_path / "other.db", clock=ManualClock(T0 + timedelta(hours=1)))
    for a in alerts:
        IncidentDesk(other).add([a])  # a new process for every alert
    last = IncidentDesk(other)
    last.judge(again=True)
    assert [(i["id"], i["title"], i["alert_count"], i["priority"]) for i in last.page()["items"]] == wanted
    other.close()


def test_signals_stay_hidden_until_an_alert_gives_them_a_meaning(desk: IncidentDesk, state: State) -> None:
    desk.add([alert("hint", 0, WS1, severity="Informational")])
    assert desk.page()["total"] == 0
    with state.read() as unit:
        assert unit.incidents.pending_events() == []
    again = IncidentDesk(state)
    again.add([alert("a", 3, WS1)])
    item = only(again)
    assert item["alert_count"] == 2
    assert item["number"] == 1
    with state.read() as unit:
        assert [e.kind for e in unit.incidents.pending_events()] == ["created"]


def test_a_merge_redirects_and_carries_everything(desk: IncidentDesk) -> None:
    desk.add([alert("a", 0, WS1), alert("b", 1, WS2)])
    one, two = sorted(desk.page()["items"], key=lambda i: i["number"])
    change(desk, two["id"], add_tags=["vip"], owner="anna")
    with desk._state.write() as unit:
        desk.comment(unit, two["id"], "looks bad", actor=ANNA)
    desk.add([alert("bridge", 2, WS1, WS2)])
    (kept,) = desk.page()["items"]
    gone = two["id"] if kept["id"] == one["id"] else one["id"]
    assert kept["alert_count"] == 3
    assert kept["owner"] == "anna"
    assert "vip" in kept["tags"]
    full = desk.get(kept["id"])
    assert [a["text"] for a in full["activity"] if a["kind"] == "comment"] == ["looks bad"]
    redirected = desk.get(gone)
    assert redirected["status"] == "Redirected"
    assert redirected["redirect_to"] == kept["id"]
    with pytest.raises(ConflictError, match="merged") as caught:
        change(desk, gone, status="Resolved")
    assert kept["id"] in caught.value.hint
    assert IncidentDesk(desk._state).page()["total"] == 1


def test_decisions_survive_correlation(desk: IncidentDesk) -> None:
    desk.add([alert("a", 0, WS1)])
    incident_id = str(only(desk)["id"])
    change(desk, incident_id, owner="anna", status="InProgress", title="Anna's case", severity="Low", add_tags=["x"])
    desk.add([alert("b", 5, WS1, severity="High")])
    item = only(desk)
    assert (item["owner"], item["status"], item["title"], item["severity"]) == (
        "anna",
        "InProgress",
        "Anna's case",
        "Low",
    )
    assert item["tags"] == ["x"]
    assert item["alert_count"] == 2
    change(desk, incident_id, severity=None, title=None)
    item = only(desk)
    assert item["severity"] == "High"
    assert item["title"] != "Anna's case"


def test_nothing_joins_a_resolved_incident(desk: IncidentDesk) -> None:
    desk.add([alert("a", 0, WS1)])
    change(desk, str(only(desk)["id"]), status="Resolved", classification="FalsePositive", determination="Clean")
    desk.add([alert("b", 5, WS1)])
    assert sorted(i["status"] for i in desk.page()["items"]) == ["New", "Resolved"]


def test_a_change_leaves_activity_audit_and_event(desk: IncidentDesk, state: State) -> None:
    desk.add([alert("a", 0, WS1)])
    incident_id = str(only(desk)["id"])
    made = change(desk, incident_id, status="InProgress", owner="ANNA", comment="mine")
    assert made == {"status": {"from": "New", "to": "InProgress"}, "owner": {"from": None, "to": "anna"}}
    activity = desk.get(incident_id)["activity"]
    assert [(a["kind"], a["text"]) for a in activity[1:]] == [
        ("status", "Status set to InProgress (was New)."),
        ("owner", "Assigned to anna."),
        ("comment", "mine"),
    ]
    with state.read() as unit:
        rows = unit.audit.page(object_id=incident_id)[0]
        events = unit.incidents.pending_events()
    assert [r.action for r in rows] == ["incident.change", "incident.comment"]
    assert rows[0].before == {"status": "New", "owner": None}
    assert [e.changes for e in events[1:]] == [{"comments": {"added": ["mine"]}}, made]
    assert [e.source for e in events] == ["correlation", "user", "user"]


def test_a_change_that_changes_nothing_leaves_nothing(desk: IncidentDesk) -> None:
    desk.add([alert("a", 0, WS1)])
    incident_id = str(only(desk)["id"])
    before = desk.get(incident_id)
    assert change(desk, incident_id, status="New", owner=None, remove_tags=["none"]) == {}
    assert desk.get(incident_id) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "Redirected"},
        {"status": "Open"},
        {"owner": "nobody"},
        {"severity": "Critical"},
        {"classification": "Benign"},
        {"determination": "Clean"},
        {"classification": "TruePositive", "determination": "Clean"},
        {"add_tags": [""]},
        {"add_tags": ["x" * 129]},
        {"add_tags": [str(n) for n in range(101)]},
        {"title": "x" * 301},
        {"colour": "red"},
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(desk: IncidentDesk, changes: dict[str, object]) -> None:
    desk.add([alert("a", 0, WS1)])
    incident_id = str(only(desk)["id"])
    before = desk.get(incident_id)
    with pytest.raises(UsageError):
        change(desk, incident_id, **{"status": "Resolved", **changes})
    assert desk.get(incident_id) == before


def test_a_determination_falls_with_its_classification(desk: IncidentDesk) -> None:
    desk.add([alert("a", 0, WS1)])
    incident_id = str(only(desk)["id"])
    change(desk, incident_id, classification="TruePositive", determination="Malware")
    change(desk, incident_id, classification="FalsePositive")
    assert only(desk)["determination"] is None
    change(desk, incident_id, determination="Clean")
    change(desk, incident_id, classification=None)
    assert (only(desk)["classification"], only(desk)["determination"]) == (None, None)


def test_a_conflicting_edit_is_told(desk: IncidentDesk) -> None:
    desk.add([alert("a", 0, WS1)])
    item = only(desk)
    change(desk, str(item["id"]), status="InProgress", version=item["version"])
    with pytest.raises(ConflictError, match="somebody else"):
        change(desk, str(item["id"]), status="Resolved", version=item["version"])


def test_fifty_people_edit_one_incident_and_nothing_is_lost(desk: IncidentDesk) -> None:
    desk.add([alert("a", 0, WS1)])
    incident_id = str(only(desk)["id"])

    def work(n: int) -> None:
        change(desk, incident_id, add_tags=[f"t{n}"], actor=Actor(f"u{n}"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
    threads.append(threading.Thread(target=lambda: desk.add([alert("b", 5, WS1), alert("c", 6, WS1)])))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    item = only(desk)
    assert sorted(item["tags"]) == sorted(f"t{n}" for n in range(50))
    assert item["alert_count"] == 3
    activity = desk.get(incident_id)["activity"]
    assert sum(a["kind"] == "tags" for a in activity) == 50
    assert [a["id"] for a in activity] == sorted(a["id"] for a in activity)


def test_a_failed_save_leaves_memory_as_the_database(desk: IncidentDesk) -> None:
    def fail(_unit: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        desk.add([alert("a", 0, WS1)], within=fail)
    assert desk.page()["total"] == 0
    assert len(desk.add([alert("a", 0, WS1)])) == 1


def test_the_queue_filters_sorts_and_counts(desk: IncidentDesk) -> None:
    hosts = [Entity.host(f"h{n}.x.org") for n in range(6)]
    for n, severity in enumerate(("Low", "Medium", "High", "High", "Low", "Informational")):
        desk.add([alert(f"rule {n}", n, hosts[n], severity=severity)])
    items = desk.page(sort="number", descending=False)["items"]
    assert [i["number"] for i in items] == [1, 2, 3, 4, 5]
    change(desk, items[0]["id"], status="Resolved", owner="anna")
    change(desk, items[1]["id"], owner="bert", add_tags=["vip"])
    page = desk.page(statuses=["New"], severities=["High", "Low"], sort="severity")
    assert [i["severity"] for i in page["items"]] == ["High", "High", "Low"]
    assert page["counts"]["status"] == {"New": 3, "Resolved": 1}
    assert page["counts"]["severity"] == {"High": 2, "Low": 1, "Medium": 1}
    assert desk.page()["counts"]["owner"] == {"": 3, "anna": 1, "bert": 1}
    assert desk.page(owner="none")["total"] == 3
    assert desk.page(tag="vip")["total"] == 1
    assert desk.page(text="H3.x")["total"] == 1
    assert desk.page(text="#2")["items"][0]["number"] == 2
    assert desk.page(text="rule 100%")["total"] == 0
    seen = [desk.page(limit=2, offset=o, sort="severity")["items"] for o in (0, 2, 4)]
    assert len({i["id"] for i in itertools.chain(*seen)}) == 5


def test_what_is_hidden_or_absent_is_not_found(desk: IncidentDesk, state: State) -> None:
    desk.add([alert("hint", 0, WS1, severity="Informational")])
    with state.read() as unit:
        hidden = unit.incidents.growing(T0)[0]
    for incident_id in (hidden, "inc_none", ""):
        with pytest.raises(NotFoundError):
            desk.get(incident_id)
        with pytest.raises(NotFoundError):
            change(desk, incident_id, status="Resolved")
