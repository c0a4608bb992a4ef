"""Search jobs and restores over the disk and the archive: the same rows as a scan, each once, whatever is cut short."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.workspace.house import House
from typer.testing import CliRunner

from tocsin.access import ForbiddenError, Principal, system
from tocsin.base.clock import ManualClock
from tocsin.base.errors import KqlError, StateError, UsageError
from tocsin.cli.app import app
from tocsin.lake import Lake, LakeSettings, TableBatch
from tocsin.lake.settings import ArchiveSettings, RetentionSettings
from tocsin.workspace.jobs import Jobs
from tocsin.workspace.settings import DetectSettings, IngestSettings, Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=20)
BY = system("test", "jobs.run", "data.read")
QUERY = (
    "Syslog | where SyslogMessage has 'needle' | project SyslogMessage, n = SeverityLevel, when = TimeGenerated + 1h"
)


def _settings(folder: Path) -> Settings:
    return Settings(
        data=folder / "data",
        lake=LakeSettings(
            background=False,
            compact_files=0,
            archive=ArchiveSettings(folder=str(folder / "cold")),
            retention=RetentionSettings(archive_days=10, days=0),
        ),
        ingest=IngestSettings(syslog_udp_port=-1, syslog_tcp_port=-1, relp_port=-1),
        detect=DetectSettings(site=folder / "site"),
    )


def _fill(lake: Lake) -> None:
    for day in range(0, 20, 2):  # files of two days each; a second file has late rows
        for late in (False, True):
            times = [START + timedelta(days=day + n % 2, minutes=n, seconds=late) for n in range(20)]
            stamps = pa.array(times, pa.timestamp("us", "UTC"))
            names = [f"{'needle' if n % 4 == 0 else 'hay'} {day} {n} {late}" for n in range(20)]
            rows = {
                "SyslogMessage": names,
                "SeverityLevel": [f"s{n}" for n in range(20)],
                "TimeGenerated": stamps,
                "_TimeReceived": stamps,
            }
            lake.write([TableBatch("Syslog", pa.table(rows))])
            lake.flush()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with rows; tests take copies."""
    folder = tmp_path_factory.mktemp("filled")
    with House.open(_settings(folder), clock=ManualClock(NOW)) as workspace:
        _fill(workspace.lake)
    return folder / "data"


@pytest.fixture
def house(filled: Path, tmp_path: Path) -> Iterator[House]:
    shutil.copytree(filled, tmp_path / "data")
    with House.open(_settings(tmp_path), clock=ManualClock(NOW)) as workspace:
        yield workspace


def _rows(house: House, text: str) -> list[list[Any]]:
    result = house.queries.run(text)
    assert result.problems == ()
    return result.rows()


def test_a_search_job_finds_what_a_scan_finds(house: House) -> None:
    window = f"Syslog | where TimeGenerated between (datetime({START.date()}) .. datetime(2026-01-20T11:59:59.9999999))"
    wanted = _rows(
        house,
        f"{window} | where SyslogMessage has 'needle' | project SyslogMessage, SeverityLevel, TimeGenerated, _ItemId",
    )
    house.lake.move_to_archive()
    end = START + timedelta(days=19, hours=12)
    found = house.jobs.estimate("search", QUERY, START, end, by=BY)
    assert (found.days, found.files, found.archived_files, found.archived_rows) == (20, 10, 10, 200)
    job = house.jobs.search("Needles", QUERY, START, end, by=BY)
    assert (job.status, job.target) == ("Queued", "Needles_SRCH")
    house.jobs.run_pending()
    job = house.jobs.get(job.id, by=BY)
    assert (job.status, job.days_done, job.error) == ("Succeeded", 20, "")
    assert job.rows == len(wanted) > 90
    got = _rows(house, "Needles_SRCH | project SyslogMessage, n, _OriginalTimeGenerated, _OriginalItemId")
    assert sorted(got) == sorted(wanted)
    (row,) = _rows(
        house,
        "Needles_SRCH | where SyslogMessage == 'needle 0 4 False' | project when, _OriginalType, TimeGenerated, Type",
    )
    assert row == ["2026-01-01T01:04:00.0000000Z", "Syslog", "2026-01-21T00:00:00.0000000Z", "Needles_SRCH"]
    assert house.lake.retain() == []


def test_a_restore_brings_the_archived_rows_back_for_a_while(house: House) -> None:
    everything = _rows(house, "Syslog | project SyslogMessage, SeverityLevel, TimeGenerated, ingestion_time(), _ItemId")
    house.lake.move_to_archive()
    job = house.jobs.restore("Syslog", START, START + timedelta(days=30), days=3, by=BY)
    house.jobs.run_pending()
    job = house.jobs.get(job.id, by=BY)
    assert (job.status, job.target, job.rows) == ("Succeeded", "Syslog_RST", 200)
    columns = "SyslogMessage, SeverityLevel, TimeGenerated, ingestion_time()"
    back = _rows(house, f"Syslog_RST | project {columns}, _OriginalItemId")
    left = house.queries.run(f"Syslog | project {columns}, _ItemId").rows()
    assert sorted(back + left) == sorted(everything)
    # Old rows, but neither retention nor the archive takes them before their time.
    house.lake.retain()
    house.lake.move_to_archive()
    assert len(_rows(house, "Syslog_RST")) == 200
    assert isinstance(house.clock, ManualClock)
    house.clock.advance(timedelta(days=3))
    assert [j.id for j in house.jobs.expire()] == [job.id]
    assert _rows(house, "Syslog_RST") == []
    assert house.jobs.get(job.id, by=BY).status == "Removed"
    assert house.jobs.expire() == []


@pytest.mark.parametrize("where", ["append_once", "fetch", "_change"])
def test_a_job_that_was_cut_short_goes_on_and_doubles_nothing(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from tocsin.lake.archive import Archive

    owner: Any = {"append_once": Lake, "fetch": Archive, "_change": Jobs}[where]
    shutil.copytree(filled, tmp_path / "data")
    with House.open(_settings(tmp_path), clock=ManualClock(NOW)) as house:
        span = "TimeGenerated >= datetime(2026-01-07) and TimeGenerated < datetime(2026-01-16)"
        wanted = sorted(_rows(house, f"Syslog | where {span} and SyslogMessage has 'needle' | project SyslogMessage"))
        house.lake.move_to_archive()
        job = house.jobs.search("N", QUERY, START + timedelta(days=6), START + timedelta(days=15), by=BY)
    real, died = getattr(owner, where), 0
    for number in (2, 4, 3):
        calls = 0

        def die(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number and where == "_change":  # noqa: B023
                raise KeyboardInterrupt  # the day's commit is there, its note isn't
            done = real(*args, **kwargs)
            if calls == number:  # noqa: B023
                raise KeyboardInterrupt
            return done

        with House.open(_settings(tmp_path), clock=ManualClock(NOW)) as house, monkeypatch.context() as patch:
            patch.setattr(owner, where, die)
            with pytest.raises(KeyboardInterrupt):
                house.jobs.run_pending()
            died += 1
    with House.open(_settings(tmp_path), clock=ManualClock(NOW)) as house:
        house.jobs.run_pending()
        assert house.jobs.get(job.id, by=BY).status == "Succeeded"
        assert sorted(_rows(house, "N_SRCH | project SyslogMessage")) == wanted
    assert died == 3


def test_rows_that_move_while_a_job_looks_are_found(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from tocsin.lake.archive import Archive, Archived

    real = Archive.entries
    wanted = _rows(house, "Syslog | where SyslogMessage has 'needle' | project SyslogMessage")
    moved = []

    def entries(self: Archive, table: str) -> list[Archived]:
        found = real(self, table)
        if not moved:
            monkeypatch.setattr(Archive, "entries", real)
            moved.extend(house.lake.move_to_archive())
        return found

    house.jobs.search("N", QUERY, START, START + timedelta(days=20), by=BY)
    snapshot = house.lake.snapshot

    def moving(*tables: Any) -> Any:
        found = snapshot(*tables)
        if not moved:
            moved.extend(house.lake.move_to_archive())
        return found

    monkeypatch.setattr(Archive, "entries", entries)
    monkeypatch.setattr(house.lake, "snapshot", moving)
    house.jobs.run_pending()
    assert moved
    assert sorted(_rows(house, "N_SRCH | project SyslogMessage")) == sorted(wanted)


def test_large_days_come_in_lots(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from tocsin.workspace import jobs

    monkeypatch.setattr(jobs, "_LOT_BYTES", 2_000)
    wanted = sorted(_rows(house, "Syslog | where TimeGenerated < datetime(2026-01-03) | project SyslogMessage"))
    job = house.jobs.search("All", "Syslog", START, START + timedelta(days=2), by=BY)
    house.jobs.run_pending()
    assert house.jobs.get(job.id, by=BY).error == ""
    assert sorted(_rows(house, "All_SRCH | project SyslogMessage")) == wanted


def test_cancel_and_remove(house: House) -> None:
    job = house.jobs.search("N", QUERY, START, NOW, by=BY)
    with pytest.raises(StateError, match="already"):
        house.jobs.search("N", QUERY, START, NOW, by=BY)
    assert house.jobs.cancel(job.id, by=BY).status == "Cancelled"
    house.jobs.run_pending()
    assert house.jobs.get(job.id, by=BY).days_done == 0
    with pytest.raises(StateError, match="ended"):
        house.jobs.cancel(job.id, by=BY)
    house.jobs.remove(job.id, by=BY)
    again = house.jobs.search("N", QUERY, START, NOW, by=BY)
    house.jobs.run_pending()
    house.jobs.remove(again.id, by=BY)
    assert _rows(house, "N_SRCH") == []
    actions = [
        a["action"] for a in house.access.audit_page(limit=10, before=None, actor="", object_id="N_SRCH")["items"]
    ]
    assert actions == ["job.remove", "job.search", "job.remove", "job.cancel", "job.search"]


def test_an_object_that_is_damaged_fails_the_job_by_name(house: House, tmp_path: Path) -> None:
    house.lake.move_to_archive()
    victim = sorted((tmp_path / "cold").rglob("*.parquet"))[3]
    victim.write_bytes(b"PAR1 nothing PAR1")
    job = house.jobs.search("N", QUERY, START, NOW, by=BY)
    house.jobs.run_pending()
    job = house.jobs.get(job.id, by=BY)
    assert job.status == "Failed"
    assert victim.name in job.error
    assert job.error_code == "LAK0031"
    assert job.error_hint
    assert job.error_hint in job.error


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("Syslog | summarize count()", UsageError),
        ("Syslog | sort by TimeGenerated | take 3", UsageError),
        ("Syslog | union SecurityEvent", UsageError),
        ("print 1", UsageError),
        ("Syslog | where Nothing == 1", KqlError),
    ],
)
def test_what_a_search_job_cannot_do_is_refused(house: House, query: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        house.jobs.search("N", query, START, NOW, by=BY)


def test_names_ranges_permissions(house: House) -> None:
    for name, start, end in (("1x", START, NOW), ("x", NOW, START), ("../x", START, NOW)):
        with pytest.raises(UsageError):
            house.jobs.search(name, QUERY, start, end, by=BY)
    with pytest.raises(UsageError, match="archived"):
        house.jobs.restore("Syslog", START, NOW, by=BY)
    with pytest.raises(ForbiddenError):
        house.jobs.search("N", QUERY, START, NOW, by=system("test", "data.read"))
    with pytest.raises(ForbiddenError):
        house.jobs.listed(by=Principal("nobody"))
    assert house.jobs.search("N", "Syslog | where TimeGenerated > ago(3d)", START, NOW, by=BY).status == "Queued"


def test_the_command_line(house: House) -> None:
    house.lake.move_to_archive()
    settings = house.settings
    house.close()
    folder = settings.data.parent
    (folder / "tocsin.toml").write_text(
        f"[lake.archive]\nfolder = '{folder / 'cold'}'\n[lake.retention]\narchive_days = 10\ndays = 0\n"
    )

    def ran(*args: str) -> Any:
        done = CliRunner().invoke(
            app,
            [*args, "--data", str(settings.data), "--json"],
            env={"TOCSIN_LAKE__ARCHIVE__FOLDER": str(folder / "cold")},
        )
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout.splitlines()[-1])

    span = ("--start", "2026-01-01", "--end", "2026-01-21")
    made = ran("search-jobs", "run", "N", QUERY, *span)
    assert (made["status"], made["rows"]) == ("Succeeded", 100)
    back = ran("search-jobs", "restore", "Syslog", *span, "--days", "5")
    assert (back["status"], back["rows"]) == ("Succeeded", 200)
    assert [j["target"] for j in ran("search-jobs", "list")["items"]] == ["Syslog_RST", "N_SRCH"]
