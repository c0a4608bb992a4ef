"""Intake: the log's order, restarts, the watermark, and what can't be stored."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.ingest.intake_support import Rig, until
from tocsin.base.errors import LakeError
from tocsin.ingest.pipeline import IntakeBusyError
from tocsin.lake import Body, TableBatch

NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path).start()
    yield made
    made.close()


def body(number: int, **meta: str) -> Body:
    return Body("jsonl", json.dumps({"Type": "AuditLogs", "OperationName": str(number)}).encode(), NOW, meta)


def operations(rig: Rig) -> list[int]:
    return [int(r["OperationName"]) for r in rig.rows("AuditLogs")]


def test_rows_come_in_the_logs_order_from_many_threads(rig: Rig) -> None:
    sequences: dict[int, int] = {}

    def send(first: int) -> None:
        for number in range(first, first + 50):
            sequences[number] = rig.intake.submit([body(number)]).result(10)

    threads = [threading.Thread(target=send, args=(n * 50,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rig.intake.wait_visible(400, 10)
    assert sorted(sequences.values()) == list(range(1, 401))
    assert operations(rig) == sorted(sequences, key=lambda n: sequences[n])


def test_the_instant_of_receipt_survives_a_crash(tmp_path: Path) -> None:
    rig = Rig(tmp_path).start()
    rig.intake.submit([body(1), body(2)]).result(10)
    rig.wait("AuditLogs", 2)
    before = [(r["_TimeReceived"], r["OperationName"]) for r in rig.rows("AuditLogs")]
    rig.crash()
    again = Rig(tmp_path).start()
    assert again.replayed == 2
    assert [(r["_TimeReceived"], r["OperationName"]) for r in again.rows("AuditLogs")] == before
    again.close()


def test_the_watermark_never_passes_what_is_not_visible(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    defer = rig.lake.defer
    monkeypatch.setattr(rig.lake, "defer", lambda *a: (release.wait(60), defer(*a))[1])
    rig.intake.submit([body(1)]).result(10)
    received = rig.intake._arrived[1].bodies[0].received
    time.sleep(0.7)
    assert rig.intake.watermark() == received
    release.set()
    rig.wait("AuditLogs", 1)
    until(lambda: rig.intake.watermark() > received)
    assert rig.intake.watermark() <= datetime.now(UTC)


def test_observers_see_what_is_visible(rig: Rig) -> None:
    seen: list[Any] = []
    rig.intake.observers.append(lambda sources: seen.append(([s.source for s in sources], operations(rig))))
    rig.intake.observers.append(lambda *_: 1 / 0)
    rig.intake.submit([body(1)]).result(10)
    until(lambda: bool(seen))
    assert seen == [(["table.AuditLogs"], [1])]
    assert rig.intake.healthy


def test_undecodable_bodies_become_dead_letters(rig: Rig) -> None:
    rig.intake.submit(
        [
            Body("batch", b"no arrow", NOW),
            Body("hec", b"}{", NOW, {"form": "event"}),
            body(3),
            Body("odd", bytes(range(256)) * 9, NOW),
        ]
    ).result(10)
    assert operations(rig) == [3] or rig.wait("AuditLogs", 1)
    letters = rig.wait("DeadLetter_CL", 3)
    assert {r["Source_s"] for r in letters} >= {"batch", "hec", "odd"}
    assert all(r["_TimeReceived"] is not None and r["TimeGenerated"] == r["_TimeReceived"] for r in letters)
    assert rig.intake.healthy


@pytest.mark.parametrize("source", ["jsonl", "hec"])
def test_equal_letters_of_one_instant_are_several(tmp_path: Path, source: str) -> None:
    """However the bodies are taken together, and the same after a crash: a letter that was replayed must not come back."""
    broken = [Body(source, b'{"event": "ok"}\n{broken\n{broken\n', NOW, {"request": f"r{n}"}) for n in range(3)]
    rig = Rig(tmp_path).start()
    rig.intake._tick = timedelta(days=1)
    rig.intake.submit(broken[:1]).result(10)
    each = len(rig.wait("DeadLetter_CL", 1))
    rig.intake.submit(broken[1:]).result(10)
    before = [r["Id_s"] for r in rig.wait("DeadLetter_CL", 3 * each)]
    assert len(before) == len(set(before)) == 3 * each
    rig.crash()
    again = Rig(tmp_path).start()
    assert sorted(r["Id_s"] for r in again.rows("DeadLetter_CL")) == sorted(before)
    again.close()


def test_rows_that_the_lake_refuses_stop_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = rig.mapper.map

    def spoiled(batch: Any, **options: Any) -> list[TableBatch]:
        return [*mapped(batch, **options), TableBatch("SecurityEvent", pa.table({"NoSuchColumn": [1] * len(batch)}))]

    monkeypatch.setattr(rig.mapper, "map", spoiled)
    rig.intake.submit([body(1)]).result(10)
    rig.wait("AuditLogs", 1)
    (dead,) = rig.wait("DeadLetter_CL", 1)
    assert "NoSuchColumn" in dead["Reason_s"]
    rig.intake.submit([body(2)]).result(10)
    rig.wait("AuditLogs", 2)


def test_a_full_lake_makes_intake_wait_not_lose(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    defer = rig.lake.defer
    failures = iter([1, 1])

    def sometimes(*arguments: Any) -> None:
        if next(failures, None):
            raise LakeError("full", code="LAK0012")
        defer(*arguments)

    monkeypatch.setattr(rig.lake, "defer", sometimes)
    rig.intake.submit([body(1)]).result(10)
    rig.wait("AuditLogs", 1)


def test_pressure_refuses_and_a_stop_drains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path).start()
    monkeypatch.setattr(type(rig.lake), "pressure", property(lambda _: 1.0))
    with pytest.raises(IntakeBusyError):
        rig.intake.submit([body(1)])
    monkeypatch.undo()
    for number in range(50):
        rig.intake.submit([body(number)])
    rig.intake.stop()
    assert operations(rig) == list(range(50))
    with pytest.raises(IntakeBusyError):
        rig.intake.submit([body(1)])
    rig.lake.close()
    rig.engine.close()


def test_instants_of_receipt_are_whole_ticks(rig: Rig) -> None:
    before = datetime.now(UTC)
    now = rig.intake.now()
    assert now.microsecond in (0, 500_000)
    assert before - timedelta(seconds=1) < now <= datetime.now(UTC)


WRITER = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from tests.ingest.intake_support import Rig
from tocsin.lake import Body, LakeSettings
rig = Rig(Path(sys.argv[1]), settings=LakeSettings(roll_seconds=0.05, roll_bytes=20_000)).start()
start = int(sys.argv[2])
for n in range(start, start + 100_000):
    data = json.dumps({"Type": "AuditLogs", "OperationName": str(n)}).encode()
    rig.intake.submit([Body("jsonl", data, datetime.now(UTC))]).result(10)
    print(n, flush=True)
"""


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9_once_each(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    start = 0
    for delay in (0.4, 0.15, 0.7, 0.3):
        root = str(Path(__file__).resolve().parents[2])
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(start)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": root},
        )
        assert process.stdout is not None
        while not (first := process.stdout.readline().strip()).isdigit():
            assert process.poll() is None
        acknowledged.append(int(first))
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        acknowledged += [int(line) for line in rest.splitlines()[:-1] if line.isdigit()]
        start = acknowledged[-1] + 1000
    rig = Rig(tmp_path).start()
    rig.lake.roll()
    got = operations(rig)
    rig.close()
    assert len(got) == len(set(got))
    assert set(acknowledged) <= set(got)
    assert len(acknowledged) > 100
