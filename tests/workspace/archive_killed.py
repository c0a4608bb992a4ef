"""The child process of `test_archive_kill`: rows come in, move to the archive, are searched and restored, all at once, until it is killed."""

from __future__ import annotations

import os
import random
import struct
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from tests.workspace.house import House

from tocsin.base.clock import ManualClock
from tocsin.lake import LakeSettings, TableBatch
from tocsin.lake.settings import ArchiveSettings, RetentionSettings
from tocsin.workspace.settings import DetectSettings, IngestSettings, Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 3
NOW = START + timedelta(days=DAYS + 10)
TABLE = "A_CL"
ROWS = 7
"""Rows of a write: number n gives n·7…n·7+6, all there or none."""


def settings(folder: Path, archive: ArchiveSettings) -> Settings:
    return Settings(
        data=folder / "data",
        lake=LakeSettings(
            background=False,
            compact_files=3,
            archive=archive,
            retention=RetentionSettings(archive_days=6, days=0),
        ),
        ingest=IngestSettings(syslog_udp_port=-1, syslog_tcp_port=-1, relp_port=-1),
        detect=DetectSettings(site=folder / "site"),
    )


def open_house(folder: Path, archive: ArchiveSettings) -> House:
    return House.open(settings(folder, archive), clock=ManualClock(NOW))


def batch(number: int) -> TableBatch:
    """A write's rows: on a day that its number tells, old enough for the archive."""
    day = START + timedelta(days=number * 5 % DAYS, seconds=number % 80_000)
    times = pa.array([day + timedelta(microseconds=n) for n in range(ROWS)], pa.timestamp("us", "UTC"))
    numbers = [number * ROWS + n for n in range(ROWS)]
    return TableBatch(TABLE, pa.table({"Number": numbers, "TimeGenerated": times, "_TimeReceived": times}))


def main(folder: str, archive: ArchiveSettings, first: int, seed: int, acknowledged: int) -> None:
    """Writes numbers first, first+1, … until killed; what is on the disk goes to the pipe `acknowledged`."""
    chance = random.Random(seed)
    house = open_house(Path(folder), archive)
    house.jobs.start()
    threading.Thread(target=_archive, args=(house, chance.random() * 0.05), daemon=True).start()
    number = first
    while True:
        numbers = list(range(number, number + chance.randrange(1, 4)))
        number = numbers[-1] + 1
        house.lake.write([batch(n) for n in numbers])
        house.lake.flush()
        os.write(acknowledged, b"".join(struct.pack("<Q", n) for n in numbers))
        if chance.random() < 0.2:
            house.lake.compact(TABLE)


def _archive(house: House, pause: float) -> None:
    while True:
        house.lake.move_to_archive()
        threading.Event().wait(pause)
