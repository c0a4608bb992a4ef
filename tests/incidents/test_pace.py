"""How long filing takes is counted, by what it went to; what took long is told with its cause."""

from __future__ import annotations

import gc
import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.incidents.test_correlate import ANN, T0, WS1, alert
from tocsin.base.clock import ManualClock
from tocsin.incidents import pace
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.pace import PARTS, Pace, Slow
from tocsin.state import State


@pytest.mark.parametrize("cause", PARTS)
def test_what_took_most_is_the_cause(cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Slow] = []
    counts, lock = Pace(told=told.append), threading.RLock()
    spent = iter((0.0, 9.0 if cause == "garbage" else 0.0))
    monkeypatch.setattr(pace, "collector_seconds", lambda: next(spent))
    clock = iter(_times(cause))
    # Only this module's clock: the collector of garbage reads the process' at moments of its own.
    monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    with counts.filing(lock, 2) as filing:
        with filing.part("joining"):
            pass
        with filing.part("writing"):
            pass
    monkeypatch.undo()
    assert [(s.alerts, s.cause) for s in told] == [(2, cause)]
    assert counts.slow == {name: int(name == cause) for name in PARTS}
    assert sum(told[0].parts.values()) == pytest.approx(told[0].seconds)
    assert counts.alerts == 2


def _times(cause: str) -> list[float]:
    """What the clock says: before and after waiting, joining, writing."""
    took = {"waiting": 0.01, "joining": 0.02, "writing": 0.03} | {"joining" if cause == "garbage" else cause: 9.0}
    now, said = 0.0, list[float]()
    for part in ("waiting", "joining", "writing"):
        said.append(now)
        now += took[part]
        said.append(now)
    return said


def test_a_desk_counts_its_filings_and_is_quiet_when_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_SLOW", 600.0)
    state = State.open(tmp_path / "state.db", clock=ManualClock(T0 + timedelta(hours=1)))
    desk, told = IncidentDesk(state), list[Slow]()
    desk.pace.told = told.append
    desk.add([alert("a", 0, WS1, ANN), alert("b", 1, WS1)])
    assert (desk.pace.alerts, desk.pace.filings, told) == (2, 1, [])
    assert desk.pace.seconds["joining"] > 0 < desk.pace.seconds["writing"]
    assert desk.remembered == (1, 2)
    monkeypatch.setattr(pace, "_SLOW", 0.0)
    monkeypatch.setattr(pace, "_EACH", 0.0)
    desk.add([alert("c", 2, WS1)])
    assert [s.alerts for s in told] == [1]
    state.close()


def test_collections_of_garbage_are_counted() -> None:
    from tocsin.base.memory import collector_seconds

    before = collector_seconds()
    gc.collect()
    assert collector_seconds() > before
