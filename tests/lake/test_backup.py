"""Copies of a lake that is being written to, rolled and merged by another process: each holds what was acknowledged before it began, once."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from multiprocessing.reduction import DupFd
from pathlib import Path

import pytest

from tests.lake import killed
from tests.lake.test_kill import _child, _drain, _rows
from tests.lake.test_lake import batch, open_lake
from tocsin.base.errors import LakeError
from tocsin.lake.backup import frozen

COPIES = 8


@pytest.mark.slow
def test_each_copy_of_a_busy_lake_is_whole(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    chance = random.Random(3)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.lake.killed", "deltalake", "pyarrow.parquet", "duckdb"])
    reading, writing = os.pipe()
    child = context.Process(target=_child, args=(str(lake), 0, 1, DupFd(writing)))
    child.start()
    os.close(writing)
    acknowledged: set[int] = set()
    try:
        while len(acknowledged) < 50:
            time.sleep(0.05)
            acknowledged.update(_drain(reading))
        for number in range(COPIES):
            time.sleep(chance.random() * 0.4)
            acknowledged.update(_drain(reading))
            before = set(acknowledged)
            with frozen(lake) as held:
                time.sleep(0.1)  # the server goes on, merges and deletes
                shutil.copytree(held, tmp_path / f"copy{number}")
            rows = _rows(tmp_path / f"copy{number}")
            assert all(len(found) == len(set(found)) for found in rows.values())
            first = set(rows["A_CL"])
            assert {n for n in before if n * killed.ROWS not in first} == set()
            assert {n for n in before if n % 7} <= set(rows["C_CL"])
        assert child.is_alive(), child.exitcode
    finally:
        if child.pid is not None:
            os.kill(child.pid, signal.SIGKILL)
        child.join()
        os.close(reading)
    assert not list(lake.glob("backup-*"))


def test_what_a_dead_backup_left_is_removed(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        lake.write([batch(1)])
        lake.flush()
        (tmp_path / "backup-999999999" / "log").mkdir(parents=True)
        with frozen(tmp_path) as held:
            assert [p.name for p in (held / "tables").iterdir()] == ["Things"]
            assert not (held / "LOCK").exists()
    assert not list(tmp_path.glob("backup-*"))


def test_a_table_whose_file_is_gone_is_named(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        lake.write([batch(1)])
        lake.flush()
        Path(lake.snapshot().tables["Things"].files[0].path).unlink()
        with pytest.raises(LakeError, match=r"LAK0021 .*Things"), frozen(tmp_path):
            pass
    assert not list(tmp_path.glob("backup-*"))
