"""An intake over a real lake, for receiver tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tocsin.base.clock import SystemClock
from tocsin.ingest.mapping import Mapper
from tocsin.ingest.pipeline import Intake
from tocsin.kql.types import MappingCatalog, TableSchema
from tocsin.lake import Lake, LakeSettings
from tocsin.lake.engine import Engine
from tocsin.tables import catalogue

PATIENCE = 90.0
"""Seconds that a test waits for what must come: a busy machine is slow, not wrong."""


@dataclass(frozen=True)
class Parser:
    id: str
    source: str
    table: str
    query: str
    when: dict[str, Any] | None = None


SYSLOG = Parser(
    "syslog", "syslog", "Syslog",
    "source | project TimeGenerated = TimeCreated, Computer = HostName, HostName, HostIP, Facility, SeverityLevel, ProcessName, SyslogMessage",
)  # fmt: skip
EVENTS = Parser(
    "events", "windows.event", "SecurityEvent",
    'source | where Channel == "Security" '
    "| project TimeGenerated = TimeCreated, Computer, EventID, TargetUserName = tostring(EventData.TargetUserName)",
    {"Channel": ["Security"]},
)  # fmt: skip


class Rig:
    """A lake, a mapper and an intake in one folder."""

    def __init__(self, folder: Path, *parsers: Parser, settings: LakeSettings | None = None) -> None:
        self.lake = Lake.open(folder / "lake", clock=SystemClock(), settings=settings or LakeSettings(background=False))
        self.engine = Engine(catalog=catalogue())
        self.mapper = Mapper(parsers or (SYSLOG, EVENTS), engine=self.engine, catalog=catalogue())
        self.intake = Intake(self.lake, self.mapper, clock=SystemClock(), state=folder / "intake")

    def start(self) -> Rig:
        self.replayed = self.intake.start()
        return self

    def close(self) -> None:
        self.intake.stop()
        self.lake.close()
        self.engine.close()

    def crash(self) -> None:
        """Ends as a killed process does: nothing is rolled, nothing is written any more."""
        self.intake.requests.close = lambda: None  # type: ignore[method-assign]
        self.intake.memories.clear()
        self.intake.stop()
        lake: Any = self.lake
        lake._stopping.set()
        lake._log.close()
        lake._closed = True
        lake._lock.release()
        self.engine.close()

    def rows(self, table: str) -> list[dict[str, Any]]:
        snapshot = self.lake.snapshot()
        stored = snapshot.table(table)
        if stored is None:
            return []
        out: list[dict[str, Any]] = []
        for file in stored.files:
            import pyarrow.parquet as pq

            out += pq.read_table(file.path).to_pylist()
        hot = stored.hot()
        if hot is not None:
            out += hot.to_pylist()
        return out

    def wait(self, table: str, count: int, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        until(
            lambda: len(self.rows(table)) >= count,
            seconds,
            lambda: f"{len(self.rows(table))} rows of {count} in {table}",
        )
        return self.rows(table)


def until(condition: Callable[[], bool], seconds: float = PATIENCE, say: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {say()}")
        time.sleep(0.01)


def schema(name: str) -> TableSchema:
    found = catalogue().table(name)
    assert found is not None
    return found


__all__ = ["EVENTS", "SYSLOG", "MappingCatalog", "Parser", "Rig", "pa", "schema", "until"]
