"""A full disk under the state database, and the child process of `test_stream_refused`."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy
from tests.workspace.stream_killed import START, settings

from tocsin.lake.frames import Body
from tocsin.workspace.workspace import Workspace

RULE = "0a1b2c3d-0000-4000-8000-000000000001"
SIGMA = f"""\
title: a
id: {RULE}
name: a
logsource: {{product: windows, category: process_creation}}
detection: {{s: {{CommandLine|startswith: a}}, condition: s}}
tocsin:
  eventGroupingSettings: {{aggregationKind: AlertPerResult}}
"""


class Full:
    """SQLite's file can't grow from now on, as on a full disk (SQLITE_FULL). `refused` counts what it didn't take."""

    def __init__(self, workspace: Workspace) -> None:
        self._engine = workspace.state._engine
        self.refused = 0
        with closing(sqlite3.connect(str(self._engine.url.database), isolation_level=None)) as connection:
            connection.execute("VACUUM")  # pages that migrations left free would take an alert
        sqlalchemy.event.listen(self._engine, "begin", self._limit)
        sqlalchemy.event.listen(self._engine, "handle_error", self._count)

    def lift(self) -> None:
        """There is room again."""
        sqlalchemy.event.remove(self._engine, "begin", self._limit)
        sqlalchemy.event.listen(self._engine, "begin", self._unlimit)

    def _limit(self, connection: Any) -> None:
        # Free pages would take small changes; this asks for room that isn't there, in the transaction that is to fail.
        connection.exec_driver_sql("PRAGMA max_page_count = 1")

    def _unlimit(self, connection: Any) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")

    def _count(self, context: Any) -> None:
        if "full" in str(context.original_exception):
            self.refused += 1


def send(workspace: Workspace, *numbers: int) -> None:
    """Sends events in one body and waits for the acknowledgement."""
    lines = [
        orjson.dumps(
            {
                "Channel": "Microsoft-Windows-Sysmon/Operational",
                "EventID": 1,
                "SourceName": "Microsoft-Windows-Sysmon",
                "Hostname": f"ws{number}.corp.com",
                "TimeCreated": START.isoformat(),
                "Image": "C:\\x.exe",
                "CommandLine": f"a {number}",
                "User": f"CORP\\u{number}",
                "Note": "x" * 4096,
            }
        )
        for number in numbers
    ]
    workspace.intake.intake.submit([Body("jsonl", b"\n".join(lines), START)]).result(60)


def main(folder: str, number: int) -> None:
    """Takes an event that the database has no room for, and waits to be killed."""
    place = Path(folder)
    with Workspace.open(settings(place)) as workspace:
        full = Full(workspace)
        workspace.start()
        send(workspace, number)
        while full.refused < 2:
            time.sleep(0.02)
        (place / "refused").write_text("")
        threading.Event().wait()
