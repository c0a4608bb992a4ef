"""Times and counts: each trap of measuring them, by figures worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.incidents.test_correlate import BOB, T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.base.errors import UsageError
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.life import Actor
from tocsin.state import State
from tocsin.tables import Entity

ANNA, ROBOT = Actor("anna"), Actor("automation:tidy", "automation")
START = T0 + timedelta(hours=1)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = State.open(tmp_path / "state.db", clock=ManualClock(START))
    with opened.write() as unit:
        for name in ("anna", "bert"):
            unit.users.add(name, name.title(), "x", ["Responder"])
    yield opened
    opened.close()


class Case:
    """An incident of its own, created at the clock's time, and what is done to it minutes later."""

    def __init__(self, desk: IncidentDesk, name: str, **more: Any) -> None:
        self.desk, self.clock = desk, desk._state.clock
        made = alert(name, 0, Entity.host(f"{name}.contoso.com"), **more)
        from dataclasses import replace

        desk.add([replace(made, created=self.clock.now())])
        self.id = next(i["id"] for i in desk.page(limit=500)["items"] if name in i["title"])

    def after(self, minutes: float, actor: Actor = ANNA, **changes: Any) -> Case:
        self.clock.advance(timedelta(minutes=minutes))  # type: ignore[attr-defined]
        with self.desk._state.write() as unit:
            self.desk.change(unit, self.id, changes, actor=actor)
        return self


def figures(desk: IncidentDesk, until: datetime | None = None, **more: Any) -> dict[str, Any]:
    return desk.metrics(T0, until or desk._state.clock.now() + timedelta(seconds=1), **more)


def test_acknowledged_by_a_person_resolved_without_the_time_it_lay_closed(state: State) -> None:
    desk = IncidentDesk(state)
    case = Case(desk, "one", severity="High")
    case.after(5, ROBOT, owner="anna", add_tags=["auto"])
    assert figures(desk)["acknowledged"] == 0, "what automation does is no acknowledgement"
    case.after(5, status="InProgress")
    assert figures(desk)["mtta"] == {"count": 1, "mean": 600.0, "p50": 600.0, "p90": 600.0, "p99": 600.0}
    case.after(20, status="Resolved", classification="TruePositive", determination="Malware")
    first = state.clock.now()
    assert figures(desk)["mttr"]["mean"] == 1200.0
    case.after(60, status="InProgress")
    assert figures(desk)["mttr"]["count"] == 0, "it is open again"
    case.after(10, status="Resolved")
    found = figures(desk)
    assert (found["resolved"], found["reopened"], found["mttr"]["mean"], found["closure"]["mean"]) == (
        1,
        1,
        1800.0,
        6000.0,
    )
    then = figures(desk, first + timedelta(seconds=1))
    assert (then["reopened"], then["mttr"]["mean"]) == (0, 1200.0), "what the figures of then said they still say"


def test_closed_by_automation_is_apart_and_unclassified_is_a_class(state: State) -> None:
    desk = IncidentDesk(state)
    Case(desk, "one").after(1, ROBOT, status="Resolved", classification="FalsePositive")
    Case(desk, "two").after(2, owner="anna").after(2, status="Resolved")
    found = figures(desk)
    assert (found["resolved"], found["auto_resolved"], found["closure"]["count"]) == (1, 1, 1)
    assert found["classification"] == {"FalsePositive": 1, "Unclassified": 1}


def test_a_merged_incident_counts_once_from_the_earlier_creation(state: State) -> None:
    desk = IncidentDesk(state)
    old = Case(desk, "old")
    state.clock.advance(timedelta(minutes=30))  # type: ignore[attr-defined]
    new = Case(desk, "new")
    new.after(10, owner="anna")
    with state.write() as unit:
        undo = desk.merge(unit, new.id, [old.id], reason="", actor=ANNA)
    found = figures(desk)
    assert (found["created"], found["merged"], found["open"], found["mtta"]["mean"]) == (1, 1, 1, 2400.0)
    with state.write() as unit:
        desk.unmerge(unit, undo, actor=ANNA)
    found = figures(desk)
    assert (found["created"], found["merged"], found["open"], found["mtta"]["mean"]) == (2, 0, 2, 600.0)


def test_figures_by_group(state: State) -> None:
    desk = IncidentDesk(state)
    desk.add(
        [alert("a", 0, WS1, severity="High", tactics=("Execution", "Impact")), alert("b", 0, WS2, BOB, severity="Low")]
    )
    groups = {g["value"]: g["created"] for g in figures(desk, by="tactic")["groups"]}
    assert groups == {"": 1, "Execution": 1, "Impact": 1}
    assert {g["value"]: g["open"] for g in figures(desk, by="severity")["groups"]} == {"High": 1, "Low": 1}
    assert {g["value"] for g in figures(desk, by="owner")["groups"]} == {""}


def test_no_period_no_group(state: State) -> None:
    desk = IncidentDesk(state)
    with pytest.raises(UsageError, match="ends before"):
        desk.metrics(START, START)
    with pytest.raises(UsageError) as caught:
        figures(desk, by="ower")
    assert "owner" in (caught.value.hint or "")
    assert figures(desk)["mtta"] == {"count": 0, "mean": None, "p50": None, "p90": None, "p99": None}
