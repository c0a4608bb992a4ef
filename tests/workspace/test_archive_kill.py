"""kill -9 while rows move to the archive and jobs search and restore them: each row is there once, and each job's result whole.

``TOCSIN_ARCHIVE_KILLS`` sets how many times a place (4 by default; `make kill` takes 100), ``TOCSIN_KILL_SEED`` where the random moments start.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from tests.lake.test_kill import _drain, _until
from tests.workspace import archive_killed as child
from tests.workspace.house import House

from tocsin.access import system
from tocsin.lake.settings import ArchiveSettings

KILLS = int(os.environ.get("TOCSIN_ARCHIVE_KILLS", "4"))
SEED = int(os.environ.get("TOCSIN_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
BY = system("test", "jobs.run", "data.read")
CLIENT: dict[str, str] = {"region_name": "us-east-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}


@pytest.fixture
def bucket() -> Iterator[ArchiveSettings]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    place = ArchiveSettings(
        bucket="cold", region="us-east-1", endpoint=f"http://{host}:{port}", access_key="a", secret_key="b"
    )
    boto3.client("s3", endpoint_url=place.endpoint, **CLIENT).create_bucket(Bucket="cold")  # type: ignore[call-overload]
    yield place
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> ArchiveSettings:
    if request.param == "folder":
        return ArchiveSettings(folder=str(tmp_path / "cold"))
    found: ArchiveSettings = request.getfixturevalue("bucket")
    return found


def _run(folder: str, archive: ArchiveSettings, first: int, seed: int, pipe: Any) -> None:
    child.main(folder, archive, first, seed, pipe.detach())


def _keys(archive: ArchiveSettings) -> set[str]:
    """Everything that lies in the archive."""
    if archive.folder:
        root = Path(archive.folder)
        return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
    client: Any = boto3.client("s3", endpoint_url=archive.endpoint, **CLIENT)  # type: ignore[call-overload]
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="cold")
    return {o["Key"] for page in pages for o in page.get("Contents", ())}


def _numbers(paths: list[str]) -> list[int]:
    found: list[int] = []
    for path in paths:
        found += pq.read_table(path, columns=["Number"], partitioning=None).column(0).to_pylist()
    return found


@dataclass
class Account:
    """What must be there: writes that were acknowledged, and the rows that the running jobs began with."""

    acknowledged: set[int] = field(default_factory=set)
    wanted: dict[str, set[int]] = field(default_factory=dict)
    checked: int = 0

    def check(self, folder: Path, archive: ArchiveSettings, number: int) -> None:
        """Opens what the kill left, lets it finish what was begun, counts, and gives it new jobs."""
        with child.open_house(folder, archive) as house:
            live, cold = self._rows(house)
            assert house.lake.problems == []
            house.jobs.run_pending()
            self._jobs(house, {*live, *cold})
            house.lake.move_to_archive()
            again = self._rows(house)
            assert sorted(live + cold) == sorted(again[0] + again[1])
            assert _keys(archive) == {e.key for e in house.lake.archive.entries(child.TABLE)}
            assert house.lake.problems == []
            end = child.START + timedelta(days=child.DAYS)
            house.jobs.search(f"S{number}", f"{child.TABLE} | where Number % 3 == 0", child.START, end, by=BY)
            house.jobs.restore(child.TABLE, child.START, end, name=f"R{number}", by=BY)
            self.wanted = {"search": {n for n in live + cold if n % 3 == 0}, "restore": set(again[1])}

    def _rows(self, house: House) -> tuple[list[int], list[int]]:
        lake = house.lake
        live = _numbers([f.path for f in lake.snapshot().tables[child.TABLE].files])
        cold = _numbers([lake.archive.fetch(child.TABLE, e).path for e in lake.archive.entries(child.TABLE)])
        everything = live + cold
        assert len(everything) == len(set(everything)), "rows are there twice"
        writes = {n // child.ROWS for n in everything}
        assert len(everything) == len(writes) * child.ROWS, "a write is there in part"
        assert self.acknowledged <= writes, f"lost {sorted(self.acknowledged - writes)[:10]}"
        return live, cold

    def _jobs(self, house: House, everything: set[int]) -> None:
        for job in house.jobs.listed(by=BY):
            if job.status == "Removed":
                continue
            assert job.status == "Succeeded", job.error
            found = [r[0] for r in house.queries.run(f"{job.target} | project Number").rows()]
            assert len(found) == len(set(found)), f"{job.kind}: rows are there twice"
            assert self.wanted[job.kind] <= set(found) <= everything, f"{job.kind}: rows are missing"
            house.jobs.remove(job.id, by=BY)
            self.checked += 1


@pytest.mark.slow
@pytest.mark.timeout(300 + KILLS * 20)
def test_kill_minus_nine_while_rows_move_and_come_back(tmp_path: Path, archive: ArchiveSettings) -> None:
    print(f"TOCSIN_KILL_SEED={SEED}")
    chance, account, first = random.Random(SEED), Account(), 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.workspace.archive_killed", "obstore.store"])
    with child.open_house(tmp_path, archive) as house:
        house.lake.write([child.batch(n) for n in range(30)])
        house.lake.flush()
    account.acknowledged.update(range(30))
    account.check(tmp_path, archive, 0)
    for turn in range(1, KILLS + 1):
        first = max(account.acknowledged) + 1000
        reading, writing = os.pipe()
        arguments = (str(tmp_path), archive, first, chance.randrange(1 << 30), DupFd(writing))
        process = context.Process(target=_run, args=arguments)
        process.start()
        os.close(writing)
        # From the middle of the start to many moves later: counted in writes, so that a slow machine gets as far as a fast one.
        got = _until(reading, chance.choice([0, 1, 5, 25]))
        time.sleep(0.3 * chance.random())
        assert process.is_alive(), process.exitcode
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        account.acknowledged.update(got, _drain(reading))
        os.close(reading)
        if turn % 3 == 0 or turn == KILLS:
            account.check(tmp_path, archive, turn)
    assert account.checked >= 2
    print(f"{KILLS} kills, {len(account.acknowledged)} writes acknowledged, {account.checked} jobs checked")
