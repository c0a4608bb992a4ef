"""A database that takes nothing while Sigma rules look at what comes: no alert of an acknowledged event is lost, over a kill -9 neither."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from tests.workspace import stream_refused
from tests.workspace.stream_killed import START, settings

from tocsin.state import RefusedError
from tocsin.workspace.workspace import Workspace


def until(true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def filed(workspace: Workspace) -> list[str]:
    with workspace.state.read() as unit:
        return sorted(
            a["events"][0]["row"]["CommandLine"] for a in unit.incidents.alerts_of_rule(stream_refused.RULE, START)
        )


def killed_once_there(sign: Path, main: Callable[..., None], *args: Any) -> None:
    """Runs that in a process of its own, and kills it when the file is there."""
    child = multiprocessing.get_context("forkserver").Process(target=main, args=args)
    child.start()
    until(lambda: sign.exists() or not child.is_alive(), "the child hangs")
    assert child.is_alive()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()


def test_alerts_wait_until_the_database_takes_them(place: Path) -> None:
    with Workspace.open(settings(place)) as workspace:
        full = stream_refused.Full(workspace)
        workspace.start()
        with pytest.raises(RefusedError), workspace.state.write() as unit:
            unit.kv.set("much", "x" * 1_000_000)
        for number in range(3):
            stream_refused.send(workspace, number)
        until(lambda: full.refused > 2, "it never tried to file the alerts")
        stream = workspace.detection.stream
        assert stream.save() == 0, "what isn't filed was let go"
        assert filed(workspace) == []
        full.lift()
        until(lambda: len(filed(workspace)) == 3, "the alerts are gone")
        until(lambda: stream.save() >= 3, "it didn't go on")
        assert filed(workspace) == ["a 0", "a 1", "a 2"]


def test_what_waited_is_filed_after_a_stop_and_after_a_kill(place: Path) -> None:
    with Workspace.open(settings(place)) as workspace:
        full = stream_refused.Full(workspace)
        workspace.start()
        stream_refused.send(workspace, 0)
        until(lambda: full.refused > 2, "it never tried to file the alert")
        # A stop has something to write, too, that finds no room: it ends all the same.
        runs = workspace.detection.runs
        runs._known["a rule"] = [{"error": "x" * 100_000}]
        runs._quiet.add("a rule")
    killed_once_there(place / "refused", stream_refused.main, str(place), 1)
    with Workspace.open(settings(place)) as workspace:
        workspace.start()
        until(lambda: len(filed(workspace)) == 2, "an alert of an acknowledged event is gone")
        assert filed(workspace) == ["a 0", "a 1"]


def test_each_alert_is_filed_told_and_counted_once_whatever_becomes_of_others(place: Path) -> None:
    """One that the database never takes holds up no other; events come twice; an alert is of when it was said, or times to acknowledge would
    count the days that its event lay at its sender."""
    with Workspace.open(settings(place)) as workspace:
        with workspace.state.write() as unit:
            unit.connection.execute(
                sqlalchemy.text(
                    "CREATE TRIGGER refuses BEFORE INSERT ON alerts WHEN NEW.payload LIKE '%\"a 1\"%'"
                    " BEGIN SELECT RAISE(ABORT, 'not this one'); END"
                )
            )
        workspace.start()
        before = workspace.clock.now()
        for numbers in ((0, 1, 2), (0,), (3,)):
            stream_refused.send(workspace, *numbers)
        until(lambda: "a 3" in filed(workspace), "one alert took others with it")
        assert filed(workspace) == ["a 0", "a 2", "a 3"]
        with workspace.state.read() as unit:
            assert unit.rules.get(stream_refused.RULE).alerts == 3
        told = "SecurityAlert | summarize count() by SystemAlertId | summarize count(), max(count_)"
        until(lambda: workspace.queries.run(told).rows()[0][0] == 3, "they aren't rows")
        assert workspace.queries.run(told).rows() == [[3, 1]]
        for incident in workspace.incidents.page()["items"]:
            assert incident["first"] < before.isoformat() <= incident["created"]
