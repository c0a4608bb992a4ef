"""What correlation remembers, in a file: a start with it goes on as if there had been none, whatever happened since; one of no use is passed by."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.incidents.memory_killed import KEPT, KILLED, alerts, opened
from tests.incidents.test_correlate import ANN, BOB, WS1, WS2, alert
from tests.workspace import memory_read
from tocsin.base.clock import ManualClock
from tocsin.incidents import load, memory
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.life import Actor
from tocsin.incidents.tuning import Tuning
from tocsin.incidents.weights import CorrelationSettings
from tocsin.state import State
from tocsin.tables.aliases import Alias

ANNA = Actor("anna")


def members(desk: IncidentDesk) -> dict[str, list[tuple[str, Any]]]:
    """By incident, shown or not, its alerts and why each is in it."""
    with desk._state.read() as unit:
        ids = unit.incidents.every_id()
        return {i: [(a["id"], a["linked_by"]) for a in unit.incidents.alerts_of(i)] for i in ids}


def remembers(desk: IncidentDesk) -> dict[str, Any]:
    """What it knows of things, places and rules, and which alerts it holds where."""
    correlator = desk.memory.correlator
    learned = correlator._learned
    seen = {
        name: {key: sorted(s.values() if isinstance(s, dict) else [s]) for key, s in company._seen.items()}
        for name, company in (("company", learned.company), ("fired", learned._fired))
    }  # fmt: skip
    background = learned.background
    # an alert without a title is kept with its rule's name for one
    hits = [
        {key: [(*h[:2], (*h[2][:3], h[2][3] or h[2][2], *h[2][4:]), *h[3:]) for h in found] for key, found in of.items()}
        for of in correlator._joiner.fusion._hits
    ]  # fmt: skip
    return {
        **seen, "hours": background._hours, "by_hour": background._by_hour, "fleet": background._fleet, "places": background._places,
        "fusion": hits, "stages": correlator._joiner.fusion._seen, "alerts": correlator._held.alerts,
        "keys": {k: sorted(correlator._held.holders.of(k)) for k in correlator._held.holders._held},
    }  # fmt: skip


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What comes of all alerts in one process: incidents, and what is remembered."""
    state, desk = opened(tmp_path_factory.mktemp("straight"))
    for each in alerts():
        desk.add([each])
    yield members(desk), remembers(desk)
    state.close()


def was_recalled(logged: list[Any]) -> list[bool]:
    return [e["from_file"] for e in logged if e["event"] == "correlation.remembers"]


def test_a_killed_process_goes_on_with_what_it_had_kept(tmp_path: Path, straight: Any) -> None:
    done = subprocess.run([sys.executable, "-m", "tests.incidents.memory_killed", str(tmp_path)], check=False)
    assert done.returncode == -9
    with structlog.testing.capture_logs() as logged:
        state, desk = opened(tmp_path)
    assert was_recalled(logged) == [True]
    assert desk.memory.correlator.knows(alerts()[KEPT + 40].id)
    assert not desk.memory.correlator.knows(alerts()[KILLED].id)
    for each in alerts()[KILLED:]:
        desk.add([each])
    assert (members(desk), remembers(desk)) == straight
    state.close()


def test_a_start_with_an_old_file_a_new_one_and_none_are_the_same(tmp_path: Path, straight: Any) -> None:
    state, desk = opened(tmp_path)
    for n, each in enumerate(alerts()):
        desk.add([each])
        if n % 97 == 5:
            if n > 200:
                (tmp_path / "cache" / "memory").unlink(missing_ok=True)
            else:
                desk.close()
            state.close()
            state, desk = opened(tmp_path)
    assert members(desk) == straight[0]
    desk.close()
    with structlog.testing.capture_logs() as logged:
        again = IncidentDesk(state, memory=tmp_path / "cache" / "memory")
    assert was_recalled(logged) == [True]
    assert remembers(again) == remembers(desk)
    state.close()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = State.open(tmp_path / "state.db", clock=ManualClock(alerts()[0].time + timedelta(hours=2)))
    with made.write() as unit:
        unit.users.add("anna", "Anna", "x", ["Responder"])
        unit.kv.set(load.LOOKED_BACK, [True, 0])  # until then there is no file: everything is read anew
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "memory"


def after_what(state: State, file: Path, happens: Any) -> list[str]:
    """Ids of the incidents after an alert on ws1 that comes to a start after that happened; before there was one of that machine in the file."""
    desk = IncidentDesk(state, memory=file)
    desk.add([alert("a", 0, WS1, ANN), alert("b", 1, WS2, BOB)])
    desk.add([alert(f"n{n}", 2) for n in range(150)])  # so that the first ones are at rest
    desk.add([alert("n", 3)])
    assert desk.memory.keep()
    happens(desk, desk.memory.correlator._held.alerts["al_a_0"])
    with structlog.testing.capture_logs() as logged:
        again = IncidentDesk(state, memory=file)
    assert was_recalled(logged) == [True]
    again.add([alert("c", 9, WS1, ANN)])
    return [i["id"] for i in again.page(limit=500)["items"] if "WS1" in i["title"].upper()]


def test_what_people_decided_since_counts(state: State, file: Path) -> None:
    def resolves(desk: IncidentDesk, incident_id: str) -> None:
        with state.write() as unit:
            desk.change(unit, incident_id, {"status": "Resolved"}, actor=ANNA)

    assert len(after_what(state, file, resolves)) == 2


def test_a_decision_that_no_mirror_saw_counts(state: State, file: Path) -> None:
    """It was durable before the file was made, and memory hadn't heard of it."""

    def locks(desk: IncidentDesk, incident_id: str) -> None:
        elsewhere = IncidentDesk(state, correlates=False)
        with state.write() as unit:
            elsewhere.change(unit, incident_id, {"add_tags": ["Locked"]}, actor=ANNA)
        desk.add([alert("more", 4)])
        assert desk.memory.keep()

    assert len(after_what(state, file, locks)) == 2


def test_nothing_happened_and_it_joins(state: State, file: Path) -> None:
    assert len(after_what(state, file, lambda *_: None)) == 1


@pytest.mark.parametrize("harm", ["cut", "changed", "settings", "older log", "others may write"])
def test_a_file_of_no_use_is_passed_over(tmp_path: Path, state: State, file: Path, harm: str) -> None:
    desk = IncidentDesk(state, memory=file)
    desk.add([alert("a", 0, WS1, ANN), alert("b", 1, WS2, BOB)])
    assert desk.memory.keep()
    settings, used = CorrelationSettings(), state
    content = file.read_bytes()
    match harm:
        case "cut":
            file.write_bytes(content[:-20])
        case "changed":
            file.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
        case "settings":
            settings = settings.model_copy(update={"noisy_hosts": 77})
        case "older log":
            used = State.open(tmp_path / "other.db", clock=state.clock)
            IncidentDesk(used).add([alert("x", 0, WS1, ANN), alert("y", 1, WS2, BOB)])
        case _:
            file.parent.chmod(0o777)
    with structlog.testing.capture_logs() as logged:
        again = IncidentDesk(used, settings=settings, memory=file)
    assert was_recalled(logged) == [False]
    assert again.memory.correlator.size.alerts == 2
    if used is not state:
        used.close()


def test_what_was_learned_since_is_known_after_a_start(state: State, file: Path) -> None:
    late = alert("late", 5, WS2)
    desk = IncidentDesk(state, memory=file)
    desk.add([alert("a", 0, WS1, ANN, correlate=False), late])
    desk.add([alert(f"n{n}", 6) for n in range(150)])
    desk.add([alert("n", 7)])
    assert desk.memory.keep()
    known = Alias(WS2, WS1, late.time - timedelta(hours=1), late.time + timedelta(hours=1), 0.9, "DHCP", {"Mac": "1"})
    desk.resolve = lambda each: replace(each, aliases=(known,)) if each.id == late.id else each
    assert desk.learned(WS2.strong_keys(), late.time) == []  # nobody is told: the log says nothing of it
    again = IncidentDesk(state, memory=file)
    held = again.memory.correlator.holding(late.id)
    assert held is not None
    assert [a.alert.aliases for a in held.alerts] == [(known,)]
    assert remembers(again) == remembers(desk)
    assert [i.id for i in (c.incident for c in again.memory.correlator.preview(alert("b", 6, WS1)))] == [
        c.incident.id for c in desk.memory.correlator.preview(alert("b", 6, WS1))
    ]
    again.add([alert("b", 6, WS1)])
    assert held.alert_ids() == {late.id, "al_b_6"}
    assert again.memory.keep()
    with state.read() as unit:
        assert memory.learned(unit) == []


def test_the_program_that_a_file_is_of_is_there() -> None:
    root = Path(memory.__file__).parents[1]
    assert [n for n in memory._DEPENDS if not (root / n).is_file()] == []


def test_weights_that_only_score_need_nothing_read_anew(state: State, file: Path) -> None:
    desk = IncidentDesk(state, memory=file)
    desk.add([alert("a", 0, WS1, ANN), alert("b", 1, WS2, BOB)])
    with structlog.testing.capture_logs() as logged:
        Tuning(state, desk).set({"threshold": 99.0}, None, actor=ANNA)
    assert was_recalled(logged) == []
    desk.add([alert("c", 2, WS1, ANN)])
    assert desk.page()["total"] == 3, "it is far from the threshold now"
    with structlog.testing.capture_logs() as logged:
        Tuning(state, desk).set({"noisy_hosts": 77}, None, actor=ANNA)
    assert was_recalled(logged) == [False]
    desk.add([alert("d", 3, WS2, BOB)])
    assert desk.page()["total"] == 3


def test_who_adds_waits_and_what_people_decide_meanwhile_counts(tmp_path: Path) -> None:
    """As if everything had been read before anybody came: members and reasons, and what is remembered."""
    whole = alerts()

    def decides(desk: IncidentDesk) -> None:
        items = desk.page(limit=500)["items"]
        with desk._state.write() as unit:
            desk.change(unit, items[0]["id"], {"status": "Resolved"}, actor=ANNA)
            desk.change(unit, items[1]["id"], {"add_tags": ["Locked"]}, actor=ANNA)
        with desk._state.write() as unit:
            desk.merge(unit, items[2]["id"], [items[3]["id"]], reason="", actor=ANNA)

    found = []
    for place, beside in ((tmp_path / "before", False), (tmp_path / "beside", True)):
        state, desk = opened(place)
        with state.write() as unit:
            unit.users.add("anna", "Anna", "x", ["Responder"])
        desk.add(whole[:KEPT])
        with memory_read.slow() as lifted:
            if not beside:
                lifted.set()
            desk = IncidentDesk(state, beside=beside)
            assert desk.memory.ready is not beside
            with ThreadPoolExecutor(3) as pool:
                decides(desk)
                coming = pool.submit(lambda desk=desk: [desk.add([a]) for a in whole[KEPT:]])
                assert desk.get(desk.page()["items"][0]["id"])["activity"]
                assert not (beside and coming.done())
                lifted.set()
                coming.result(120)
        found.append((members(desk), remembers(desk)))
        state.close()
    assert found[0] == found[1]


def test_a_reading_that_fails_is_told_and_tried_again(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    IncidentDesk(state).add([alert("a", 0, WS1, ANN)])

    def fails(*_: Any) -> None:
        raise RuntimeError("the disk is broken")

    with monkeypatch.context() as patch:
        patch.setattr("tocsin.incidents.load.adopt_growing", fails)
        desk = IncidentDesk(state, beside=True)
        with pytest.raises(RuntimeError, match="broken"):
            desk.add([alert("b", 1, WS1, ANN)])
        with pytest.raises(RuntimeError, match="broken"):
            desk.add([alert("b", 1, WS1, ANN)])
    while True:
        try:
            desk.add([alert("b", 1, WS1, ANN)])
            break
        except RuntimeError:  # the reading that was begun before it was mended
            continue
    (item,) = desk.page()["items"]
    assert item["alert_count"] == 2
