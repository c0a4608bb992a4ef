"""Rows that move to an archive: each is in the table or in the archive at every moment, and none is missing without a word."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from tocsin.base.clock import ManualClock
from tocsin.base.errors import LakeError
from tocsin.lake import Lake, LakeSettings, TableBatch
from tocsin.lake import archive as archiving
from tocsin.lake.backup import frozen
from tocsin.lake.objects import ObjectFolder
from tocsin.lake.pins import Pin
from tocsin.lake.settings import ArchiveSettings, RetentionSettings
from tocsin.query import QueryService

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=10)


def _settings(archive: ArchiveSettings, **more: Any) -> LakeSettings:
    retention = RetentionSettings(archive_days=5, days=90, undo_days=0, **more)
    return LakeSettings(background=False, compact_files=0, archive=archive, retention=retention, orphan_seconds=0.001)


def _open(path: Path, archive: ArchiveSettings, **more: Any) -> Lake:
    return Lake.open(path, clock=ManualClock(NOW), settings=_settings(archive, **more))


def _fill(lake: Lake, days: int = 8, table: str = "Syslog") -> None:
    """A file a day, ten rows each."""
    for day in range(days):
        times = pa.array([START + timedelta(days=day, minutes=n) for n in range(10)], pa.timestamp("us", "UTC"))
        names = [f"day {day} row {n}" for n in range(10)]
        rows = pa.table({"SyslogMessage": names, "TimeGenerated": times, "_TimeReceived": times})
        lake.write([TableBatch(table, rows)])
        lake.flush()


def _live(lake: Lake, table: str = "Syslog") -> list[str]:
    found: list[str] = []
    for file in lake.snapshot().tables[table].files:
        found += pq.read_table(file.path, columns=["SyslogMessage"], partitioning=None).column(0).to_pylist()
    return found


def _archived(lake: Lake, table: str = "Syslog") -> list[str]:
    found: list[str] = []
    for entry in lake.archive.entries(table):
        path = lake.archive.fetch(table, entry).path
        found += pq.read_table(path, columns=["SyslogMessage"], partitioning=None).column(0).to_pylist()
    return found


@pytest.fixture(scope="module")
def bucket() -> Iterator[ArchiveSettings]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = ArchiveSettings(
        bucket="cold",
        prefix="tocsin",
        region="us-east-1",
        endpoint=f"http://{host}:{port}",
        access_key="a",
        secret_key="b",
    )
    boto3.client(
        "s3", endpoint_url=settings.endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    ).create_bucket(Bucket="cold")
    yield settings
    server.stop()


def test_a_bucket_takes_what_is_old(tmp_path: Path, bucket: ArchiveSettings) -> None:
    with _open(tmp_path, bucket) as lake:
        _fill(lake)
        everything = sorted(_live(lake))
        (moved,) = lake.move_to_archive()
        assert (moved.table, moved.rows, moved.files) == ("Syslog", 50, 5)
        assert lake.move_to_archive() == []
        assert len(_live(lake)) == 30
        assert sorted(_live(lake) + _archived(lake)) == everything
        assert lake.problems == []
        lake.sweep()
        assert len(list((tmp_path / "tables" / "Syslog").glob("*.parquet"))) == 3
    client = boto3.client(
        "s3", endpoint_url=bucket.endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    keys = [o["Key"] for o in client.list_objects_v2(Bucket="cold")["Contents"]]
    assert len(keys) == 5
    assert all(k.startswith("tocsin/Syslog/") for k in keys)
    with _open(tmp_path, bucket) as lake:
        assert sorted(_live(lake) + _archived(lake)) == everything
        assert lake.archive.verify() == []
        # An object that somebody changed is found out, and not read.
        client.put_object(Bucket="cold", Key=keys[0], Body=b"PAR1 something else PAR1")
        shutil.rmtree(tmp_path / "archive" / "cache")
        with pytest.raises(LakeError, match="LAK0031"):
            _archived(lake)
        client.delete_object(Bucket="cold", Key=keys[1])
        assert sorted(p.code for p in lake.archive.verify()) == ["LAK0030", "LAK0031"]


@pytest.mark.parametrize("step", ["put", "swap_files", "write_atomically", "delete"])
@pytest.mark.parametrize("after", [False, True])
def test_dying_at_any_step_leaves_each_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    place = ArchiveSettings(folder=str(tmp_path / "cold"))
    with _open(tmp_path / "lake", place) as lake:
        _fill(lake)
        everything = sorted(_live(lake))
    owner: Any = ObjectFolder if step in ("put", "delete") else archiving
    real = getattr(owner, step)
    number = died = 0
    while True:
        number += 1
        calls = 0

        def die(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number and not after:  # noqa: B023
                raise KeyboardInterrupt
            done = real(*args, **kwargs)
            if calls == number:  # noqa: B023
                raise KeyboardInterrupt
            return done

        copy, cold = tmp_path / f"lake{number}", tmp_path / f"cold{number}"
        shutil.copytree(tmp_path / "lake", copy)
        mine = ArchiveSettings(folder=str(cold))
        lake = _open(copy, mine)
        with monkeypatch.context() as patch:
            patch.setattr(owner, step, die)
            try:
                lake.move_to_archive()
                finished = True
            except KeyboardInterrupt:
                finished, died = False, died + 1
        # As after kill -9: nothing is closed, the next process finds what lies on the disk.
        lake.log.close()
        assert lake._lock is not None
        lake._lock.release()
        with _open(copy, mine) as again:
            assert sorted(_live(again) + _archived(again)) == everything
            again.move_to_archive()
            assert len(_live(again)) == 30
            assert sorted(_live(again) + _archived(again)) == everything
            assert again.problems == []
            # Nothing is left over: an object for each entry, an entry for each object.
            assert {str(p.relative_to(cold)) for p in cold.rglob("*.parquet")} == {
                e.key for e in again.archive.entries("Syslog")
            }
        if finished:
            break
    assert died >= (0 if step == "delete" else 1)


def test_half_an_object_goes_with_its_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cold = tmp_path / "cold"
    place = ArchiveSettings(folder=str(cold))

    def die(self: ObjectFolder, path: Path, key: str, digest: str) -> None:
        (cold / key).parent.mkdir(exist_ok=True)
        (cold / f"{key}#1").write_bytes(path.read_bytes()[:100])  # where obstore writes before it renames
        raise KeyboardInterrupt

    with _open(tmp_path / "lake", place) as lake:
        _fill(lake)
        with monkeypatch.context() as patch:
            patch.setattr(ObjectFolder, "put", die)
            with pytest.raises(KeyboardInterrupt):
                lake.move_to_archive()
        assert len(list(cold.rglob("*#1"))) == 1
    with _open(tmp_path / "lake", place) as lake:
        lake.move_to_archive()
        assert {p.relative_to(cold).as_posix() for p in cold.rglob("*") if p.is_file()} == {
            e.key for e in lake.archive.entries("Syslog")
        }


def test_queries_say_what_is_archived(tmp_path: Path) -> None:
    with _open(tmp_path / "lake", ArchiveSettings(folder=str(tmp_path / "cold"))) as lake:
        _fill(lake)
        lake.move_to_archive()
        service = QueryService(lake, clock=ManualClock(NOW))
        try:
            answer = service.run("Syslog | count")
            assert answer.rows() == [[30]]
            (problem,) = answer.problems
            assert isinstance(problem, LakeError)
            assert problem.code == "LAK0033"
            assert problem.message.startswith("5 days of Syslog (2026-01-01 to 2026-01-05) are archived")
            day = service.run(
                "Syslog | where TimeGenerated between (datetime(2026-01-02) .. datetime(2026-01-02 23:00))"
            )
            assert day.problems[0].message.startswith("1 day of Syslog (2026-01-02) is archived")
            assert service.run("Syslog | where TimeGenerated > datetime(2026-01-06) | count").problems == ()
        finally:
            service.close()


def test_what_changes_meanwhile_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a merge replaces while they are copied stay in the table, and their copies go."""
    place = ArchiveSettings(folder=str(tmp_path / "cold"))
    with _open(tmp_path / "lake", place) as lake:
        _fill(lake)
        everything = sorted(_live(lake))
        real = ObjectFolder.put

        def merge(self: ObjectFolder, *args: Any) -> None:
            real(self, *args)
            lake.compact("Syslog")

        with monkeypatch.context() as patch:
            patch.setattr(ObjectFolder, "put", merge)
            assert lake.move_to_archive() == []
        assert sorted(_live(lake)) == everything
        assert not list((tmp_path / "cold").rglob("*.parquet"))


def test_archived_rows_go_when_their_time_is_over(tmp_path: Path) -> None:
    with _open(tmp_path / "lake", ArchiveSettings(folder=str(tmp_path / "cold"))) as lake:
        _fill(lake)
        lake.move_to_archive()
        moment = START.replace(tzinfo=None) + timedelta(days=1)
        lake.pins = lambda: [Pin("Syslog", moment, moment, "incident 1")]
        clock = lake._clock
        assert isinstance(clock, ManualClock)
        clock.set(START + timedelta(days=93))
        gone = lake.retain()
        assert [(d.rows, d.reason) for d in gone] == [
            (20, "older than 90 days")
        ]  # days 0 and 2; evidence in day 1 stays
        assert len(_archived(lake)) == 30
        assert len(list((tmp_path / "cold").rglob("*.parquet"))) == 3
        assert lake.retain() == []


def test_pinned_rows_stay_on_the_disk_and_a_hold_stops_moves(tmp_path: Path) -> None:
    with _open(tmp_path / "lake", ArchiveSettings(folder=str(tmp_path / "cold"))) as lake:
        _fill(lake)
        lake.hold("case 4711")
        assert lake.move_to_archive() == []
        lake.hold("")
        moment = START.replace(tzinfo=None) + timedelta(days=1)
        lake.pins = lambda: [Pin("", moment, moment, "incident 1")]
        (moved,) = lake.move_to_archive()
        assert moved.files == 4


def test_a_place_that_refuses_is_a_problem_and_nothing_moves(tmp_path: Path) -> None:
    (tmp_path / "cold").write_text("not a folder")
    with _open(tmp_path / "lake", ArchiveSettings(folder=str(tmp_path / "cold"))) as lake:
        _fill(lake)
        assert lake.move_to_archive() == []
        assert [p.code for p in lake.problems] == ["LAK0030"]
        assert len(_live(lake)) == 80


def test_a_backup_knows_the_archive(tmp_path: Path) -> None:
    place = ArchiveSettings(folder=str(tmp_path / "cold"))
    with _open(tmp_path / "lake", place) as lake:
        _fill(lake)
        lake.move_to_archive()
        both = sorted(_live(lake) + _archived(lake))
        with frozen(lake.path) as folder:
            shutil.copytree(folder, tmp_path / "copy")
    with _open(tmp_path / "copy", place) as copy:
        assert sorted(_live(copy) + _archived(copy)) == both
