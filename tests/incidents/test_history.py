"""The incident log: complete, ordered, append-only, and everything else can be made from it again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.incidents.test_correlate import ANN, BOB, T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.base.errors import StateError, TocsinError
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.history import bring_up_to_date, fold, rebuild
from tocsin.incidents.judging import set_weights
from tocsin.incidents.life import Actor, uncomment
from tocsin.state import State, Unit
from tocsin.state.database import _engine
from tocsin.state.migrations import config
from tocsin.tables import Entity

ANNA = Actor("anna")
ROBOT = Actor("automation:tidy", "automation")
WS3 = Entity.host("ws3.contoso.com")


def opened(folder: Path) -> State:
    state = State.open(folder / "state.db", clock=ManualClock(T0 + timedelta(hours=1)))
    with state.write() as unit:
        for name in ("anna", "bert"):
            unit.users.add(name, name.title(), "x", ["Responder"])
    return state


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = opened(tmp_path)
    yield made
    made.close()


def differences(state: State) -> list[Any]:
    with state.read() as unit:
        return list(rebuild(unit, repair=False))


def a_day(desk: IncidentDesk) -> tuple[str, str]:
    """Alerts, a hidden cluster that is taken up, decisions, a merge that is undone and one that stays; gives two incidents."""
    state = desk._state
    clock: Any = state.clock
    desk.add([alert("hint", 0, WS3, ANN, severity="Informational")])
    desk.add([alert("a1", 1, WS1, ANN, severity="High", title="a\x00b \ud800"), alert("b1", 2, WS2, BOB)])
    one, two = (i["id"] for i in desk.page(sort="number", descending=False)["items"])
    steps: list[tuple[str, Actor, dict[str, Any]]] = [
        (one, ANNA, {"owner": "anna", "status": "InProgress", "add_tags": ["vip", "n\x00ul"]}),
        (two, ROBOT, {"severity": "Low", "add_tags": ["noise"]}),
        (one, ANNA, {"remove_tags": ["vip"], "title": "Anna's"}),
        (one, ANNA, {"title": None, "comment": "hm"}),
    ]
    for incident, actor, changes in steps:
        clock.advance(timedelta(minutes=1))
        with state.write() as unit:
            desk.change(unit, incident, changes, actor=actor)
    clock.advance(timedelta(minutes=1))
    with state.write() as unit:
        desk.comment(unit, two, "look here", actor=ANNA)
    with state.write() as unit:
        undo = desk.merge(unit, one, [two], reason="", actor=ANNA)
    with state.write() as unit:
        desk.unmerge(unit, undo, actor=ANNA)
    with state.write() as unit:
        desk.merge(unit, one, [two], reason="again", actor=ANNA)
    return one, two


def test_everything_is_made_again_from_the_log(state: State) -> None:
    desk = IncidentDesk(state)
    one, two = a_day(desk)
    assert differences(state) == []
    before = {i: desk.get(i) for i in (one, two)}
    with state.write() as unit:  # spoil every projection
        for statement in (
            "UPDATE incidents SET priority = 1, title = 'x', version = 90, payload = '{}', owner = NULL",
            "DELETE FROM incident_tags", "DELETE FROM activity",
            "UPDATE alerts SET linked_by = '[]', incident_id = NULL",
        ):  # fmt: skip
            unit.connection.execute(text(statement))
    found = {d.part for d in differences(state)}
    assert {"priority", "title", "version", "payload", "owner", "tags", "activity", "links"} <= found
    with state.write() as unit:
        list(rebuild(unit, repair=True))
    assert differences(state) == []
    assert {i: desk.get(i) for i in (one, two)} == before


def test_the_log_is_complete_ordered_and_cannot_be_changed(state: State) -> None:
    desk = IncidentDesk(state)
    one, _ = a_day(desk)
    with state.read() as unit:
        entries = unit.incidents.history.of(one)
    versions = [e.version for e in entries if e.version is not None]
    assert versions == list(range(1, len(versions) + 1))
    assert [e.seq for e in entries] == sorted(e.seq for e in entries)
    assert desk.get(one)["version"] == versions[-1]
    assert {e.actor for e in entries} == {"correlation", "anna"}
    assert {(e.actor, e.source) for e in entries} == {("correlation", "correlation"), ("anna", "user")}
    for statement in ("UPDATE incident_log SET actor = 'x'", "DELETE FROM incident_log"):
        with pytest.raises(StateError, match="append-only"), state.write() as unit:
            unit.connection.execute(text(statement))


def test_an_incident_as_it_was_at_a_moment(state: State) -> None:
    desk = IncidentDesk(state)
    one, _ = a_day(desk)
    with state.read() as unit:
        then = fold(one, unit.incidents.history.of(one, until=T0 + timedelta(hours=1, minutes=1)))
        now = fold(one, unit.incidents.history.of(one))
    assert (then.decided["owner"], set(then.tags)) == ("anna", {"vip", "nul"})
    assert set(now.tags) == {"nul", "noise"}
    assert then.decided["title_override"] is None


_CHANGE = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["New", "InProgress", "Resolved"]),
        "owner": st.sampled_from(["anna", "bert", None]),
        "severity": st.sampled_from(["Low", "High", None]),
        "classification": st.sampled_from(["TruePositive", "FalsePositive", None]),
        "title": st.sampled_from(["A title", None]),
        "add_tags": st.lists(st.sampled_from(["a", "b", "ä\x00"]), max_size=2),
        "remove_tags": st.lists(st.sampled_from(["a", "b"]), max_size=1),
    },
)
_STEP = st.one_of(
    st.tuples(st.just("change"), st.integers(0, 5), _CHANGE),
    st.tuples(st.just("alert"), st.integers(0, 5), st.sampled_from(["Informational", "Low", "High"])),
    st.tuples(st.just("merge"), st.integers(0, 5), st.integers(0, 5)),
    st.tuples(st.just("move"), st.integers(0, 5), st.integers(0, 5)),
    st.tuples(st.just("comment"), st.integers(0, 5), st.sampled_from(["x", "y\x00"])),
    st.tuples(st.just("edit"), st.integers(0, 5), st.sampled_from(["z", None])),
    st.tuples(st.just("task"), st.integers(0, 5), st.sampled_from(["call", "ask\x00", None, True, False])),
    st.tuples(st.just("weights"), st.integers(0, 90), st.just(0)),
    st.tuples(st.just("clock"), st.integers(-90, 90), st.just(0)),
    st.tuples(st.just("undo"), st.integers(0, 3), st.just(0)),
)


def about(desk: IncidentDesk, unit: Unit, what: str, incident: str, more: Any) -> None:
    """An edit of the newest comment (None takes it back), or one of the tasks: a new one, the newest done or open again (None takes it away)."""
    if what == "edit":
        said = [a for a in unit.incidents.activity_of(incident) if a.kind == "comment"]
        if said and more is None:
            uncomment(unit, incident, said[-1].id, actor=ANNA)
        elif said:
            desk.edit_comment(unit, incident, said[-1].id, more, actor=ANNA)
    elif isinstance(more, str):
        desk.add_task(unit, incident, more, "", actor=ANNA)
    elif todo := unit.incidents.tasks.of(incident):
        if more is None:
            desk.remove_task(unit, incident, todo[-1].id, actor=ANNA)
        else:
            desk.change_task(unit, incident, todo[-1].id, {"done": more}, actor=ANNA)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(st.lists(_STEP, min_size=3, max_size=20))
def test_whatever_happens_the_projections_are_what_the_log_says(tmp_path_factory: Any, steps: list[Any]) -> None:
    state = opened(tmp_path_factory.mktemp("history"))
    desk = IncidentDesk(state)
    hosts = [WS1, WS2, WS3]
    done: list[tuple[Any, Any]] = []
    desk.add([alert("first", 0, WS1, ANN), alert("second", 1, WS2, BOB)])
    try:
        for number, (what, at, more) in enumerate(steps):
            ids = [i["id"] for i in desk.page(statuses=["New", "InProgress", "Resolved", "Redirected"])["items"]]
            incident = sorted(ids)[at % len(ids)]
            try:
                if what == "alert":
                    desk.add([alert(f"n{number}", 2 + number, hosts[at % 3], ANN if at > 3 else None, severity=more)])
                    continue
                if what == "clock":
                    state.clock = ManualClock(state.clock.now() + timedelta(minutes=at))
                    continue
                if what == "weights":
                    with state.write() as unit:
                        set_weights(unit, {"severity": {"High": float(at)}})
                    desk.judge(again=True)
                    continue
                with state.write() as unit:
                    if what in ("edit", "task"):
                        about(desk, unit, what, incident, more)
                    elif what == "change":
                        desk.change(unit, incident, more, actor=ANNA)
                    elif what == "comment":
                        desk.comment(unit, incident, more, actor=ANNA)
                    elif what == "merge":
                        other = sorted(ids)[more % len(ids)]
                        done.append((desk.unmerge, desk.merge(unit, incident, [other], reason="", actor=ANNA)))
                    elif what == "move":
                        mine = sorted(unit.incidents.alert_ids(incident))
                        undo = desk.move(unit, incident, mine[: max(1, more % 2)], None, reason="", actor=ANNA)
                        done.append((desk.unmove, undo))
                    elif done:
                        take_back, undo = done.pop(at % len(done))
                        take_back(unit, undo, actor=ANNA)
            except TocsinError:
                continue
        assert differences(state) == []
        with state.read() as unit:
            for incident in unit.incidents.every_id():
                told = [e for e in unit.incidents.history.of(incident) if e.version is not None]
                assert [e.version for e in told] == list(range(1, len(told) + 1))
                assert [e.time for e in told] == sorted(e.time for e in told), "whatever the clock did"
    finally:
        state.close()


def test_an_older_database_is_taken_over(tmp_path: Path) -> None:
    from alembic import command

    where = tmp_path / "state.db"
    engine = _engine(where)
    with engine.execution_options(tocsin_write=True).connect() as connection, connection.begin():
        command.upgrade(config(connection), "0001")
    engine.dispose()
    made = alert("a", 0, WS1, ANN, severity="High")
    with sqlite3.connect(where) as old:
        moments = ["2026-03-01 09:00:00.000000"] * 4
        for incident, number, status, target, count in (
            ("inc_1", 1, "InProgress", None, 1),
            ("inc_2", 2, "Redirected", "inc_1", 4),
        ):
            old.execute(
                "INSERT INTO incidents VALUES (?,?,'Old title','High',3,55,?,'anna',NULL,NULL,?,?,?,?,?,7,NULL,NULL,?,1,'old',?)",
                (incident, number, status, *moments, count, target, json.dumps({"reasons": [], "story": [], "graph": {}})),
            )  # fmt: skip
        old.execute("INSERT INTO incident_tags VALUES ('inc_1', 'vip', ?, 'bert')", moments[:1])
        document = {**made.to_dict(), "linked_by": [{"text": "same host", "weight": 45.0}]}
        old.execute(
            "INSERT INTO alerts VALUES (?, 'inc_1', 'a', 'a', 'a', 'High', ?, ?, ?, 'Tocsin', 1, '[]', '[]', ?)",
            (made.id, *moments[:3], json.dumps(document)),
        )
        old.execute(
            "INSERT INTO activity VALUES (5, 'inc_1', ?, 'anna', 'comment', 'mine', '{}')",
            moments[:1],
        )
    old.close()
    state = State.open(where, clock=ManualClock(T0 + timedelta(hours=2)))
    desk = IncidentDesk(state)
    kept = desk.get("inc_1")
    assert (kept["status"], kept["owner"], kept["tags"], kept["version"]) == ("InProgress", "anna", ["vip"], 7)
    assert [a["text"] for a in kept["activity"]] == ["mine"]
    assert kept["alerts"][0]["linked_by"] == [{"text": "same host", "weight": 45.0}]
    assert kept["title"] != "Old title", "a title follows from the alerts"
    gone = desk.get("inc_2")
    assert (gone["title"], gone["alert_count"], gone["redirect_to"]) == ("Old title", 0, "inc_1"), (
        "its alerts went along"
    )
    assert differences(state) == []
    assert bring_up_to_date(state) == 0
    state.close()


def test_rows_are_brought_up_to_date_piece_by_piece_while_others_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State.open(tmp_path / "state.db", clock=ManualClock(T0 + timedelta(hours=2)))
    desk = IncidentDesk(state)
    desk.add([alert("a", n, Entity.host(f"pc{n}.contoso.com")) for n in range(450)])
    with state.write() as unit:
        unit.connection.execute(text("UPDATE incidents SET title = 'of an older program'"))
    for module in ("history", "project"):
        monkeypatch.setattr(f"tocsin.incidents.{module}.VERSION", 1_000)
    pieces = 0

    def is_killed() -> None:
        nonlocal pieces
        if (pieces := pieces + 1) == 3:
            raise KeyboardInterrupt
        desk.add(
            [alert("b", 500 + pieces, Entity.host(f"pc{pieces}.contoso.com"), Entity.host(f"new{pieces}.contoso.com"))]
        )

    with pytest.raises(KeyboardInterrupt):
        bring_up_to_date(state, is_killed)
    old = [d for d in differences(state) if d.part == "title"]
    assert 0 < len(old) < 450, "some of it is done, and kept"
    pieces = -100
    changed = bring_up_to_date(state, is_killed)
    assert len(old) - 3 <= changed <= len(old), "nothing is done twice"
    assert differences(state) == []
    assert bring_up_to_date(state, lambda: pytest.fail("it is done")) == 0
    state.close()
