"""What detection remembers for the pages of rules: runs, quiet ones together, over restarts; and which Sigma rules are fed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.detect.support import SYSMON, sigma

from tocsin.base.clock import ManualClock
from tocsin.detect.cases import source_rows
from tocsin.ingest.model import SourceBatch
from tocsin.lake import LakeSettings
from tocsin.state import State
from tocsin.workspace.ruleruns import RuleRuns
from tocsin.workspace.settings import IngestSettings, Settings
from tocsin.workspace.workspace import Workspace

NOW = datetime(2026, 3, 20, 10, 7, tzinfo=UTC)
RULES = """\
title: Process
id: 0a1b2c3d-0000-4000-8000-000000000001
logsource: {product: windows, category: process_creation}
detection: {s: {Image|endswith: '\\evil.exe'}, condition: s}
---
title: Network
id: 0a1b2c3d-0000-4000-8000-000000000002
logsource: {product: windows, category: network_connection}
detection: {s: {DestinationPort: 4444}, condition: s}
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Workspace]:
    settings = Settings(
        data=tmp_path / "data",
        lake=LakeSettings(background=False),
        ingest=IngestSettings(syslog_udp_port=-1, syslog_tcp_port=-1, relp_port=-1),
    )
    with Workspace.open(settings, clock=ManualClock(NOW)) as workspace:
        yield workspace


def test_a_sigma_rule_is_fed_by_events_of_its_own_kind_lately(house: Workspace) -> None:
    detection = house.detection
    process, network = sigma(RULES).rules
    detection._take_rules([process, network])
    assert detection.fed(NOW - timedelta(days=1)) == frozenset()
    event = {"Channel": SYSMON, "EventID": 1, "Computer": "ws1", "TimeCreated": NOW.isoformat(), "Image": r"C:\a.exe"}
    batch = SourceBatch("windows.event", source_rows("windows.event", [event]), "here")
    detection.stream.observe(1, [batch])
    # The source is the same, the kind of event is not; that nothing was found doesn't matter.
    assert detection.fed(NOW - timedelta(days=1)) == {process.id}
    assert detection.fed(NOW + timedelta(seconds=1)) == frozenset()  # its source fell silent
    detection._take_rules([process, network])  # a change of rules forgets nothing
    assert detection.fed(NOW - timedelta(days=1)) == {process.id}


def run(minute: int, *, status: str = "Success", results: int = 0, alerts: int = 0, error: str = "") -> dict[str, Any]:
    at = f"2026-03-20T10:{minute:02}:00Z"
    return {
        "TimeGenerated": at,
        "SentinelResourceId": "r",
        "Status": status,
        "Reason": "KQL0101" if error else status,
        "Description": error or "Rule executed successfully",
        "ExtendedProperties": {
            "QueryStartTimeUTC": f"2026-03-20T10:{minute - 1:02}:00Z",
            "QueryEndTimeUTC": at,
            "QueryResultAmount": results,
            "AlertsGeneratedAmount": alerts,
            "DurationSeconds": 0.1 * minute,
            "Eager": False,
        },
    }


def test_runs_that_say_the_same_are_one_entry_and_outlive_a_restart(tmp_path: Path) -> None:
    state = State.open(tmp_path / "state.db", clock=ManualClock(NOW))
    try:
        runs = RuleRuns(state)
        for minute in (1, 2, 3):
            runs.take(run(minute))
        runs.take(run(4, results=5, alerts=1))
        runs.take(run(5))
        for minute in (6, 7):
            runs.take(run(minute, status="Failure", error="no column"))
        runs.take(run(8, status="Failure", error="no table"))
        told = [(e["end"][14:16], e["status"], e["runs"], e["results"], e["error"]) for e in runs.of("r")]
        assert told == [
            ("08", "Failure", 1, 0, "no table"),
            ("07", "Failure", 2, 0, "no column"),
            ("05", "Success", 1, 0, ""),
            ("04", "Success", 1, 5, ""),
            ("03", "Success", 3, 0, ""),
        ]
        quiet = runs.of("r")[-1]
        assert (quiet["start"], quiet["seconds"]) == ("2026-03-20T10:00:00Z", pytest.approx(0.3))
        runs.save()
        assert RuleRuns(state).of("r") == runs.of("r")
        for minute in range(1, 59):
            runs.take(run(minute, results=minute))
            runs.take(run(minute, results=minute))
        assert len(runs.of("r")) == 100
        assert RuleRuns(state).of("other") == []
    finally:
        state.close()
