"""A large incident opens with its first alerts; pages give the rest, whole and filtered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.incidents.test_correlate import ANN, T0, WS1, alert
from tocsin.base.clock import ManualClock
from tocsin.detect.alert import Evidence
from tocsin.incidents import history
from tocsin.incidents import pages as pages_module
from tocsin.incidents.desk import IncidentDesk, full
from tocsin.incidents.life import Actor
from tocsin.incidents.pages import ACTIVITY, ALERTS
from tocsin.state import NotFoundError, State
from tocsin.state.incident_alerts import IncidentAlerts
from tocsin.tables import Entity

COUNT = 450


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[State, IncidentDesk, str]]:
    """A desk with one incident of so many alerts, filed in batches, and a comment for each of the newest activity's entries and ten more."""
    state = State.open(Path(tmp_path_factory.mktemp("pages")) / "state.db", clock=ManualClock(T0 + timedelta(days=1)))
    made = IncidentDesk(state)
    several = [
        replace(
            alert(
                f"r{n % 7}", n / 60, WS1, ANN, Entity("File", {"Directory": "d:\\x", "Name": f"{n}.exe"}),
                severity=("Low", "Medium", "High")[n % 3], tactics=("Execution",),
            ),
            events=(Evidence("DeviceProcessEvents", {"ProcessCommandLine": f"tool \"{n}\" C:\\Temp"}),),
        )
        for n in range(COUNT)
    ]  # fmt: skip
    for start in range(0, COUNT, 30):
        made.add(several[start : start + 30])
    incident_id = made.page()["items"][0]["id"]
    with state.write() as unit:
        for n in range(ACTIVITY + 10):
            made.comment(unit, incident_id, f"note {n}", actor=Actor("ann"))
    yield state, made, incident_id
    state.close()


def test_it_opens_with_the_first_alerts_and_says_how_many_there_are(desk: tuple[State, IncidentDesk, str]) -> None:
    state, made, incident_id = desk
    opened = made.get(incident_id)
    with state.read() as unit:
        whole = full(unit, incident_id)
    assert opened["alert_count"] == len(whole["alerts"]) == COUNT
    assert opened["alerts"] == whole["alerts"][:ALERTS]
    assert opened["story"] == whole["story"][:ALERTS]
    assert opened["activity"] == whole["activity"][-ACTIVITY:]
    assert opened["activity_count"] == len(whole["activity"]) > ACTIVITY
    assert opened["entity_count"] == COUNT + 2
    assert len(opened["entities"]) == 100
    assert [n["label"] for n in opened["graph"]["nodes"]] == [n["label"] for n in whole["graph"]["nodes"]]
    assert opened["graph"]["left_out"] == COUNT + 2 - len(opened["graph"]["nodes"]) > 0
    ties = {(e["source"], e["target"]): e for e in whole["graph"]["edges"]}
    for edge in opened["graph"]["edges"]:
        all_of_it = ties[edge["source"], edge["target"]]["alerts"]
        assert (edge["alert_count"], edge["alerts"]) == (len(all_of_it), all_of_it[:50])


def pages(made: IncidentDesk, incident_id: str, **wanted: Any) -> Iterator[dict[str, Any]]:
    """Every page, one after the other."""
    page = made.alerts(incident_id, **wanted)
    while True:
        yield page
        if page["next"] is None:
            return
        page = made.alerts(incident_id, after=page["next"], **wanted)


def test_pages_give_every_alert_once_and_in_order(desk: tuple[State, IncidentDesk, str]) -> None:
    state, made, incident_id = desk
    with state.read() as unit:
        whole = full(unit, incident_id)
    found = list(pages(made, incident_id, limit=70))
    assert [p["total"] for p in found] == [COUNT] * 7
    assert [a for p in found for a in p["items"]] == whole["alerts"]
    assert [s for p in found for s in p["story"]] == whole["story"]


def test_the_story_has_every_alert_in_one_of_its_steps(desk: tuple[State, IncidentDesk, str]) -> None:
    _, made, incident_id = desk
    whole = made.steps(incident_id, limit=1000)
    made.prepare()  # what else is kept of it changes nothing
    assert (whole["alerts"], whole["total"]) == (COUNT, len(whole["items"]))
    assert sorted(a for s in whole["items"] for a in s["alerts"]) == sorted(
        a["id"] for p in pages(made, incident_id) for a in p["items"]
    )
    parts = [s for n in range(0, whole["total"], 70) for s in made.steps(incident_id, limit=70, offset=n)["items"]]
    assert parts == whole["items"]


def test_filters_look_through_all_alerts_and_their_evidence(desk: tuple[State, IncidentDesk, str]) -> None:
    _, made, incident_id = desk
    high = [a for p in pages(made, incident_id, severities=("High",), limit=60) for a in p["items"]]
    assert len(high) == COUNT // 3
    assert {a["severity"] for a in high} == {"High"}
    last = made.alerts(incident_id, text=f"{COUNT - 1}.EXE")
    assert (last["total"], last["items"][0]["events"][0]["row"]["ProcessCommandLine"]) == (
        1,
        f'tool "{COUNT - 1}" C:\\Temp',
    )
    assert made.alerts(incident_id, text=f'"{COUNT - 1}" c:\\temp')["total"] == 1
    assert made.alerts(incident_id, text="100%_")["total"] == 0
    one = made.alerts(incident_id, one=last["items"][0]["id"], evidence=False)
    assert [(a["events"], a["events_left_out"]) for a in one["items"]] == [([], 1)]


def test_entities_and_activity_come_in_pages(desk: tuple[State, IncidentDesk, str]) -> None:
    state, made, incident_id = desk
    with state.read() as unit:
        whole = full(unit, incident_id)
    files = [made.things(incident_id, kind="File", limit=200, offset=o) for o in range(0, COUNT, 200)]
    assert {f["total"] for f in files} == {COUNT}
    assert files[0]["types"] == {"Host": 1, "Account": 1, "File": COUNT}
    assert {e["label"] for f in files for e in f["items"]} == {f"d:\\x\\{n}.exe" for n in range(COUNT)}
    assert made.things(incident_id, text="449.EXE d:")["items"][0]["identifiers"]["Name"] == "449.exe"
    entries, before = [], 0
    while True:
        page = made.activity(incident_id, before=before, limit=100)
        entries[:0] = page["items"]
        if page["next"] is None:
            break
        before = page["next"]
    assert entries == whole["activity"]


def test_another_version_is_looked_at_anew(desk: tuple[State, IncidentDesk, str]) -> None:
    state, made, incident_id = desk
    with state.write() as unit:
        made.change(unit, incident_id, {"add_tags": ["seen"]}, actor=Actor("ann"))
    assert made.get(incident_id)["tags"] == ["seen"]
    made.add([alert("r8", COUNT / 60, WS1, ANN, Entity.host("another.contoso.com"), severity="High")])
    opened = made.get(incident_id)
    assert opened["alert_count"] == COUNT + 1
    assert made.things(incident_id, text="another")["total"] == 1
    with state.read() as unit:
        assert list(history.rebuild(unit, repair=False)) == []


def test_what_nobody_is_shown_has_no_pages(desk: tuple[State, IncidentDesk, str]) -> None:
    _, made, _ = desk
    for ask in (made.alerts, made.things, made.activity):
        with pytest.raises(NotFoundError):
            ask("inc_none")


def test_a_large_incident_that_grew_is_ready_before_somebody_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_module, "_LARGE", 100)
    monkeypatch.setattr(pages_module, "ALERTS", 20)
    state = State.open(tmp_path / "state.db", clock=ManualClock(T0 + timedelta(days=1)))
    served = IncidentDesk(state, beside=True)
    served.add([alert(f"r{n % 7}", n / 60, WS1, ANN) for n in range(150)])
    served.prepare()
    incident_id = served.page()["items"][0]["id"]
    with monkeypatch.context() as patch:
        patch.setattr(IncidentAlerts, "alerts_said_of", lambda *_: pytest.fail("all alerts were read"))
        served.prepare()  # it hasn't changed since
        opened = served.get(incident_id)
    with state.read() as unit:
        whole = full(unit, incident_id)
    assert [(n["label"], n["first"]) for n in opened["graph"]["nodes"]] == [
        (n["label"], n["first"]) for n in whole["graph"]["nodes"]
    ]
    served.add([alert("r9", 160 / 60, WS1, ANN, Entity.host("ws9.contoso.com"))])
    assert len(served.get(incident_id)["graph"]["nodes"]) == len(opened["graph"]["nodes"]) + 1
    served.close()
    state.close()
