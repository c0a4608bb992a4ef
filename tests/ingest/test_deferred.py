"""Rows that are visible before they are mapped: found by whoever asks, once each, under one number, whatever rolls or crashes meanwhile."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.intake_support import Rig
from tocsin.ingest.model import SourceBatch
from tocsin.ingest.tablerows import TableRows
from tocsin.ingest.transforms import Flow, Transform, Transforms
from tocsin.lake import Body, LakeSettings, TableBatch, Unmapped
from tocsin.tables import catalogue

NOW = datetime(2024, 1, 1, tzinfo=UTC)
HEC = {"form": "event"}


def event(number: int) -> bytes:
    channel = "Security" if number % 3 else "System"
    told = {
        "Channel": channel,
        "EventID": 4624,
        "Hostname": "ws1",
        "TimeCreated": "2024-01-01T00:00:00Z",
        "TargetUserName": f"u{number}",
    }
    return json.dumps({"time": 1704067200, "event": told}).encode()  # fmt: skip


def syslog(number: int) -> bytes:
    line = f"<38>Oct 11 22:14:15 web1 sshd[1]: message {number}".encode()
    return b"%d %b" % (len(line), line)


def bodies(number: int) -> list[Body]:
    """Two events and a line; now and then something that is neither."""
    data = b"\n".join([event(2 * number), event(2 * number + 1)])
    odd = [Body("odd", bytes(range(256)) * 9, NOW)] if number % 10 == 7 else []
    return [Body("hec", data, NOW, HEC), Body("syslog", syslog(number), NOW, {"peer": "10.0.0.1"}), *odd]


def numbers(rig: Rig, table: str, column: str) -> dict[str, int]:
    """By text the row's number, of a table whose rows differ by that text."""
    rows = rig.rows(table)
    found = {r[column]: r["_ItemNumber"] for r in rows}
    assert len(found) == len(rows) == len(set(found.values()))
    return found


def unmapped(rig: Rig) -> int:
    return len(rig.lake._fresh._waiting)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path).start()
    yield made
    made.close()


def submit(rig: Rig, given: Sequence[Body]) -> None:
    assert rig.intake.wait_visible(rig.intake.submit(given).result(60), 60)


def test_only_who_needs_a_table_has_it_mapped(rig: Rig) -> None:
    submit(rig, [Body("syslog", syslog(1), NOW, {"peer": "10.0.0.1"})])
    submit(rig, [Body("syslog", syslog(2), NOW, {"peer": "10.0.0.1"})])
    assert unmapped(rig) == 2
    assert rig.lake.snapshot(["SecurityEvent", "AuditLogs"]).table("Syslog") is None
    assert unmapped(rig) == 2
    assert rig.lake.pressure > 0, "what waits counts as memory"
    table = rig.lake.snapshot(["AuditLogs", "Syslog"]).table("Syslog")
    assert table is not None
    hot = table.hot()
    assert hot is not None
    assert hot.column("SyslogMessage").to_pylist() == ["message 1", "message 2"]
    assert unmapped(rig) == 0


def test_whatever_lists_tables_or_rows_knows_of_them(rig: Rig) -> None:
    asks: list[Callable[[str], Collection[str]]] = [
        lambda _: rig.lake.populated(),
        lambda _: rig.lake.tables(),
        lambda _: [s.table for s in rig.lake.stats()],
        lambda _: rig.lake.snapshot().tables.keys(),
        lambda name: [schema.name] if (schema := rig.lake.schema(name)) is not None else [],
    ]
    for number, ask in enumerate(asks):
        name = f"New{number}_CL"
        submit(rig, [Body("jsonl", json.dumps({"Text": "x"}).encode(), NOW, {"table": name})])
        assert unmapped(rig) == 1
        assert name in ask(name)
        assert unmapped(rig) == 0


@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_the_same_after_a_crash(tmp_path: Path, seed: int) -> None:
    """Bodies that were decoded together in any way, asked for and rolled at any moment; the crash comes upon rows that nobody asked for."""
    chance = random.Random(seed)
    rig = Rig(tmp_path).start()
    known: dict[str, int] = {}
    lines: dict[str, int] = {}
    for number in range(24):
        rig.intake.submit(bodies(number))
        if chance.random() < 0.7:
            assert rig.intake.wait_visible(rig.lake.log.last, 60)
        if chance.random() < 0.3:
            known, lines = numbers(rig, "SecurityEvent", "TargetUserName"), numbers(rig, "Syslog", "SyslogMessage")
        if chance.random() < 0.1:
            rig.lake.roll()
    assert rig.intake.wait_visible(rig.lake.log.last, 60)
    # Nothing is mapped from here on: the process dies with what waits.
    rig.lake.bring = lambda tables=None: None  # type: ignore[method-assign]
    rig.crash()
    again = Rig(tmp_path).start()
    events, messages = numbers(again, "SecurityEvent", "TargetUserName"), numbers(again, "Syslog", "SyslogMessage")
    assert known.items() <= events.items()
    assert lines.items() <= messages.items()
    assert set(events) == {f"u{n}" for n in range(48) if n % 3}
    assert set(messages) == {f"message {n}" for n in range(24)}
    assert len(again.rows("DeadLetter_CL")) == 2
    again.close()


def test_who_asks_while_rows_come_and_roll_sees_each_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path, settings=LakeSettings(roll_seconds=0.02, compact_files=4)).start()
    asked, problems = 0, list[str]()
    stop = threading.Event()
    sent: list[tuple[int, int]] = []  # (sequence number, bodies up to there)

    def ask() -> None:
        nonlocal asked
        while not stop.is_set():
            visible = rig.intake.visible
            least = max((n for seq, n in sent if seq <= visible), default=0)
            rows = [r["SyslogMessage"] for r in rig.rows("Syslog")]
            if len(rows) != len(set(rows)):
                problems.append(f"{len(rows) - len(set(rows))} rows twice")
            if missing := {f"message {n}" for n in range(least)} - set(rows):
                problems.append(f"visible and not found: {sorted(missing)[:5]}")
            asked += 1

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(300):
        # The threads read it meanwhile.
        seq = rig.intake.submit(bodies(number)).result(60)
        sent.append((seq, number + 1))
    assert rig.intake.wait_visible(sent[-1][0], 60)
    stop.set()
    for thread in threads:
        thread.join()
    assert not problems
    assert asked > 3
    assert len(numbers(rig, "Syslog", "SyslogMessage")) == 300
    assert len(numbers(rig, "SecurityEvent", "TargetUserName")) == 400
    rig.close()


def test_a_mapping_that_fails_leaves_dead_letters_and_the_others(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = rig.mapper.map

    def spoiled(batch: SourceBatch, **options: Any) -> list[TableBatch]:
        if batch.source == "syslog":
            raise RuntimeError("a defect")
        return mapped(batch, **options)

    monkeypatch.setattr(rig.mapper, "map", spoiled)
    submit(rig, bodies(1))
    assert {r["TargetUserName"] for r in rig.rows("SecurityEvent")} == {"u2"}
    (letter,) = rig.rows("DeadLetter_CL")
    assert "a defect" in letter["Reason_s"]
    assert letter["Body_s"] == "batch", "it can be replayed"
    assert letter["_TimeReceived"] is not None
    monkeypatch.undo()
    submit(rig, bodies(2))
    assert {r["TargetUserName"] for r in rig.rows("SecurityEvent")} == {"u2", "u4", "u5"}


def test_a_transform_touches_only_rows_that_came_after_it(rig: Rig) -> None:
    transforms = rig.mapper.transforms = Transforms(rig.engine, catalogue())
    transforms.before_use = rig.lake.bring
    submit(rig, bodies(1))
    flow = Flow("source | extend Computer = 'masked'")
    transforms.use([Transform("t", "mask", "Microsoft-Table-SecurityEvent", (flow,))])
    submit(rig, bodies(2))
    assert {(r["TargetUserName"], r["Computer"]) for r in rig.rows("SecurityEvent")} == {
        ("u2", "ws1"), ("u4", "masked"), ("u5", "masked"),
    }  # fmt: skip


def test_what_is_joined_keeps_its_instant_of_receipt(rig: Rig) -> None:
    tables = TableRows(rig.mapper, rig.intake.limits)
    pieces: list[Unmapped] = []
    for number in range(3):
        received = NOW + timedelta(seconds=number)
        decoded, _ = rig.intake._rows([(number, Body("hec", event(3 * number + 1), received, HEC))])
        pieces.append(tables.unmapped(decoded))
    (made,) = tables.rows(pieces)
    assert made.table == "SecurityEvent"
    rows = made.rows.to_pylist()
    assert [(r["TargetUserName"], r["_TimeReceived"]) for r in rows] == [
        (f"u{3 * n + 1}", (NOW + timedelta(seconds=n)).replace(tzinfo=None)) for n in range(3)
    ]
