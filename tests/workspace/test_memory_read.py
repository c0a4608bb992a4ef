"""A server serves before correlation remembers: alerts of that time wait and none is lost, over a stop and a kill -9 neither."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.workspace import memory_read, stream_refused
from tests.workspace.memory_read import SENT
from tests.workspace.stream_killed import settings
from tests.workspace.test_stream_refused import filed, killed_once_there, until

from tocsin.state import RefusedError
from tocsin.workspace.workspace import Workspace


def test_it_serves_and_alerts_wait_until_correlation_remembers(place: Path) -> None:
    with memory_read.slow() as lifted, Workspace.open(settings(place)) as workspace:
        workspace.start()
        assert not workspace.incidents.memory.ready
        for number in range(SENT):
            stream_refused.send(workspace, number)
        stream = workspace.detection.stream
        until(lambda: len(stream._held) == SENT, "the stream stands still")
        assert stream.save() == 0, "what isn't filed was let go"
        assert (filed(workspace), workspace.incidents.page()["total"]) == ([], 0)
        lifted.set()
        until(lambda: len(filed(workspace)) == SENT, "the alerts are gone")
        until(lambda: stream.save() >= SENT, "it didn't go on")


def test_a_stop_meanwhile_ends_who_waits_and_the_next_start_files_it(place: Path) -> None:
    with memory_read.slow():
        with Workspace.open(settings(place)) as workspace:
            workspace.start()
            stream_refused.send(workspace, 0)
            until(lambda: workspace.detection.stream._held, "no alert came")
        with pytest.raises(RefusedError):
            workspace.incidents.add([])
    with Workspace.open(settings(place)) as workspace:
        workspace.start()
        until(lambda: filed(workspace) == ["a 0"], "an alert of an acknowledged event is gone")


def test_a_kill_meanwhile_loses_nothing(place: Path) -> None:
    killed_once_there(place / "waits", memory_read.main, str(place))
    with Workspace.open(settings(place)) as workspace:
        workspace.start()
        until(lambda: len(filed(workspace)) == SENT, "alerts of acknowledged events are gone")


def test_who_asks_what_would_join_is_told_to_come_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Workspace.open(settings(place)) as workspace:
        workspace.start()
        stream_refused.send(workspace, 0)
        until(lambda: filed(workspace), "no alert came")
    monkeypatch.setattr("tocsin.incidents.desk._PATIENCE", 0.01)
    with memory_read.slow(), Workspace.open(settings(place)) as workspace:
        (item,) = workspace.incidents.page()["items"]
        with pytest.raises(RefusedError, match="still reading"):
            workspace.incidents.neighbours(item["id"])
