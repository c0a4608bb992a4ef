"""Reading what correlation remembers that takes as long as somebody wants, and the child process of `test_memory_read`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.workspace import stream_refused
from tests.workspace.stream_killed import settings

from tocsin.incidents.correlate import Correlator
from tocsin.incidents.recollection import Recollection
from tocsin.workspace.workspace import Workspace

SENT = 3


@contextmanager
def slow() -> Iterator[threading.Event]:
    """Whatever reads meanwhile goes on reading until the event is set, or until it is to stop."""
    lifted, read = threading.Event(), Recollection.read

    def reads(self: Recollection) -> Correlator:
        made = read(self)
        while not lifted.wait(0.01):
            self._goes_on()
        return made

    Recollection.read = reads  # type: ignore[method-assign]
    try:
        yield lifted
    finally:
        Recollection.read = read  # type: ignore[method-assign]


def main(folder: str) -> None:
    """Sends events of which alerts come, and says so when they wait; then it waits to be killed."""
    place = Path(folder)
    with slow(), Workspace.open(settings(place)) as workspace:
        workspace.start()
        for number in range(SENT):
            stream_refused.send(workspace, number)
        while len(workspace.detection.stream._held) < SENT:
            time.sleep(0.01)
        (place / "waits").write_text("")
        threading.Event().wait()
