"""The child process of `test_stream_kill`: events come in, Sigma rules and correlations look at them, rows roll, until it is killed."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from tocsin.ingest.model import SourceBatch
from tocsin.lake.frames import Body
from tocsin.lake.settings import LakeSettings
from tocsin.workspace.settings import DetectSettings, IngestSettings, Settings
from tocsin.workspace.workspace import Workspace

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
EVENTS = 100
SIGMA = """\
title: a
id: 0a1b2c3d-0000-4000-8000-000000000001
name: a
logsource: {product: windows, category: process_creation}
detection: {s: {CommandLine|startswith: a}, condition: s}
---
title: b
id: 0a1b2c3d-0000-4000-8000-000000000002
name: b
logsource: {product: windows, category: process_creation}
detection: {s: {CommandLine|startswith: b}, condition: s}
tocsin: {triggerThreshold: 3}
---
title: often
id: 0a1b2c3d-0000-4000-8000-000000000003
correlation: {type: event_count, rules: [a], group-by: [User], timespan: 30m, condition: {gte: 4}, generate: true}
---
title: then
id: 0a1b2c3d-0000-4000-8000-000000000004
correlation: {type: temporal_ordered, rules: [a, b], group-by: [Computer], timespan: 10m, generate: true}
"""


def settings(folder: Path) -> Settings:
    return Settings(
        data=folder / "data",
        lake=LakeSettings(background=False),
        ingest=IngestSettings(syslog_udp_port=-1, syslog_tcp_port=-1, relp_port=-1),
        detect=DetectSettings(site=folder / "site"),
    )


def body(number: int) -> Body:
    """Event number so and so; the same bytes whenever it is sent."""
    chance = random.Random(number)
    event = {
        "Channel": "Microsoft-Windows-Sysmon/Operational",
        "EventID": 1,
        "SourceName": "Microsoft-Windows-Sysmon",
        "Hostname": f"ws{chance.randrange(2)}.corp.com",
        "TimeCreated": (START + timedelta(minutes=2 * number)).isoformat(),
        "Image": "C:\\x.exe",
        "CommandLine": f"{chance.choice('abc')} {number}",
        "User": f"CORP\\u{chance.randrange(3)}",
    }
    return Body("jsonl", orjson.dumps(event), START)


def main(folder: str, seed: int) -> None:
    """Sends what isn't there yet, one event after the other, and stops when all were looked at."""
    chance = random.Random(seed)
    place = Path(folder)
    done = place / "sent"
    with Workspace.open(settings(place)) as workspace:
        workspace.start()
        looked: set[str] = set()
        all_looked = threading.Event()

        def note(batches: list[SourceBatch]) -> None:
            for batch in batches:
                if batch.source == "windows.event":
                    looked.update(data.get("CommandLine", "") for data in batch.event_data())
            if any(command.endswith(f" {EVENTS - 1}") for command in looked):
                all_looked.set()

        intake = workspace.intake.intake
        intake.observers.append(note)  # type: ignore[arg-type]
        # What is in the log was acknowledged, or may have been: it isn't sent again.
        first = int(workspace.queries.run("WindowsEvent | count").rows()[0][0])
        for number in range(first, EVENTS):
            intake.submit([body(number)]).result(60)
            done.write_text(str(number + 1))
            if chance.random() < 0.1:
                workspace.lake.roll()
        if first < EVENTS:
            all_looked.wait(60)
    (place / "ended").write_text("")
