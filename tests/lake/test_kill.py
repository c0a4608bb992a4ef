"""kill -9 at random moments while bodies come in and tables roll: nothing acknowledged is lost, nothing is there twice.

``TOCSIN_KILLS`` sets how many times (24 by default), ``TOCSIN_KILL_SEED`` where the random moments start.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import struct
import time
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import pytest

from tests.lake import killed
from tocsin.lake import Lake

KILLS = int(os.environ.get("TOCSIN_KILLS", "24"))
SEED = int(os.environ.get("TOCSIN_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)


def _child(folder: str, first: int, seed: int, pipe: Any) -> None:
    killed.main(folder, first, seed, pipe.detach())


def _drain(handle: int) -> list[int]:
    os.set_blocking(handle, False)
    data = b""
    while True:
        try:
            piece = os.read(handle, 1 << 16)
        except BlockingIOError:
            break
        if not piece:
            break
        data += piece
    return [n for (n,) in struct.iter_unpack("<Q", data[: len(data) // 8 * 8])]


def _until(handle: int, count: int) -> list[int]:
    """At least so many acknowledged numbers, or what came until the child died."""
    os.set_blocking(handle, True)
    found: list[int] = []
    while len(found) < count and (piece := os.read(handle, 8)):
        found += struct.unpack("<Q", piece)
    return found


def _rows(folder: Path) -> dict[str, list[int]]:
    """The numbers in every table, after a recovery. Reads the snapshot itself, files and rows in memory."""
    import pyarrow.parquet as pq

    found: dict[str, list[int]] = {}
    with Lake.open(folder, settings=killed.SETTINGS) as lake:
        lake.map_with(killed.Maker())
        lake.recover(killed.decode)
        for name, table in lake.snapshot().tables.items():
            numbers: list[int] = []
            items: list[int] = []
            for file in table.files:
                rows = pq.read_table(file.path, columns=["Number", "_ItemNumber"], partitioning=None)
                numbers += rows.column(0).to_pylist()
                items += rows.column(1).to_pylist()
            hot = table.hot()
            if hot is not None:
                numbers += hot.column("Number").to_pylist()
                items += hot.column("_ItemNumber").to_pylist()
            assert len(items) == len(set(items)), f"two rows of {name} have one identifier"
            found[name] = numbers
        assert lake.problems == []
    return found


@pytest.mark.slow
@pytest.mark.timeout(60 + KILLS * 8)
def test_kill_minus_nine_loses_and_doubles_nothing(tmp_path: Path) -> None:
    print(f"TOCSIN_KILL_SEED={SEED}")
    chance = random.Random(SEED)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.lake.killed", "deltalake", "pyarrow.parquet", "duckdb"])
    acknowledged: set[int] = set()
    sent_until = 0
    for round_ in range(KILLS):
        reading, writing = os.pipe()
        child = context.Process(
            target=_child, args=(str(tmp_path), sent_until, chance.randrange(1 << 30), DupFd(writing))
        )
        child.start()
        os.close(writing)
        # From the middle of the start (recovery) to many rolls later: counted in bodies, so that a slow machine gets as far as a fast one.
        got = _until(reading, chance.choice([0, 5, 60, 200])) if round_ % 4 else []
        time.sleep(0.3 * chance.random())
        assert child.is_alive(), child.exitcode
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        got += _drain(reading)
        os.close(reading)
        acknowledged.update(got)
        # Numbers that were sent but not acknowledged may be there once; never use them again.
        sent_until = max([sent_until, *got]) + 1000
        if round_ % 6 == 5 or round_ == KILLS - 1:
            rows = _rows(tmp_path)
            _check(rows, acknowledged)
    assert len(acknowledged) > KILLS * 10
    print(f"{KILLS} kills, {len(acknowledged)} bodies acknowledged, {sum(len(r) for r in rows.values())} rows")


def _check(rows: dict[str, list[int]], acknowledged: set[int]) -> None:
    for name, numbers in rows.items():
        assert len(numbers) == len(set(numbers)), f"{name} has rows twice"
    a = set(rows.get("A_CL", ()))
    lost = {n for n in acknowledged if not all(n * killed.ROWS + i in a for i in range(killed.ROWS))}
    assert not lost, f"A_CL lost {sorted(lost)[:10]}"
    rare, others = set(rows.get("B_CL", ())), set(rows.get("C_CL", ()))
    assert {n for n in acknowledged if n % 7 == 0} <= rare
    assert {n for n in acknowledged if n % 7} <= others
    # What wasn't acknowledged is there as a whole or not at all.
    assert {n // killed.ROWS for n in a} == rare | others


def test_engine_reads_a_killed_lake(tmp_path: Path) -> None:
    """The crash leaves nothing that a query trips over: an uncommitted file, a stale lock, a torn record."""
    folder = tmp_path / "tables" / "A_CL"
    with Lake.open(tmp_path, settings=killed.SETTINGS) as lake:
        lake.put(
            lake.log.append([killed.Body("test", struct.pack("<Q", 1), killed.START)]).result(),
            [killed.batch("A_CL", [1])],
        )
    (folder / "0000-orphan.parquet").write_bytes(b"PAR1 torn")
    (tmp_path / "log" / f"{2:020d}.log").write_bytes(b"TSL1\x02")
    (tmp_path / "LOCK").write_text("process 1\n")
    with Lake.open(tmp_path, settings=killed.SETTINGS) as lake:
        assert lake.problems == []
        assert not lake.needs_recovery
        assert [s.rows for s in lake.stats()] == [1]
