"""Deleting and purging rows in a whole workspace: what was chosen goes, evidence stays, nothing comes back that mustn't."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.incidents.test_correlate import T0, alert
from tests.workspace.house import House
from typer.testing import CliRunner

from tocsin.access import ForbiddenError, system
from tocsin.base.clock import ManualClock
from tocsin.base.errors import KqlError, LakeError, QueryError, UsageError
from tocsin.cli.app import app
from tocsin.detect.alert import Evidence
from tocsin.incidents.life import Actor
from tocsin.lake import Body, Lake, LakeSettings, TableBatch, members
from tocsin.lake.pins import Pin
from tocsin.lake.settings import ArchiveSettings, RetentionSettings, TableRetention
from tocsin.tables import Entity
from tocsin.workspace.settings import DetectSettings, IngestSettings, Settings

START = datetime(2026, 5, 1, tzinfo=UTC)
BY = system("test", "lake.delete", "lake.purge")
SECRET = "correct-horse-battery"


def _settings(data: Path) -> Settings:
    return Settings(
        data=data,
        lake=LakeSettings(background=False, compact_files=0, term_filter_rows=1, orphan_seconds=0.001),
        ingest=IngestSettings(syslog_udp_port=-1, syslog_tcp_port=-1, relp_port=-1),
        detect=DetectSettings(site=data / "site"),
    )


def _batch(first: int, count: int, *, text: str = "row") -> TableBatch:
    times = pa.array([START + timedelta(minutes=n) for n in range(first, first + count)], pa.timestamp("us", "UTC"))
    names = [f"{text} {n} {SECRET if n % 5 == 0 else 'dull'}" for n in range(first, first + count)]
    return TableBatch("Syslog", pa.table({"SyslogMessage": names, "TimeGenerated": times, "_TimeReceived": times}))


def _put(lake: Lake, first: int, count: int, **more: Any) -> None:
    batch = _batch(first, count, **more)
    bodies = [Body("jsonl", json.dumps(batch.rows.column("SyslogMessage").to_pylist()).encode(), START)]
    lake.put(lake.log.append(bodies).result(), [batch])


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House.open(_settings(tmp_path / "data"), clock=ManualClock(START)) as workspace:
        _put(workspace.lake, 0, 20)
        workspace.lake.roll()
        _put(workspace.lake, 20, 20)
        workspace.lake.roll()
        workspace.lake.index()
        _put(workspace.lake, 40, 10)  # in memory and in the log only
        yield workspace


def _messages(workspace: House, condition: str = "true") -> list[str]:
    result = workspace.queries.run(f"Syslog | where {condition} | sort by TimeGenerated asc | project SyslogMessage")
    assert result.problems == ()
    return [r[0] for r in result.rows()]


def _everywhere(folder: Path) -> int:
    """Files of the lake in which the secret still stands: Parquet files by their rows, the log by its bodies."""
    found = 0
    for path in folder.rglob("*.parquet"):
        found += SECRET in "".join(
            pq.read_table(path, columns=["SyslogMessage"], partitioning=None).column(0).to_pylist()
        )
    with Lake.open(folder, read_only=True) as lake:
        assert lake.problems == []
    from tocsin.lake.log import Log

    shutil.copytree(folder / "log", folder.parent / "log-copy", dirs_exist_ok=True)
    log = Log(folder.parent / "log-copy", LakeSettings())
    found += any(SECRET.encode() in body.data for _, body in log.replay(0))
    log.close()
    shutil.rmtree(folder.parent / "log-copy")
    return found


def test_what_was_deleted_can_be_put_back(house: House) -> None:
    chosen = house.erasure.preview("Syslog", f"SyslogMessage has '{SECRET}'", by=BY)
    assert (chosen.rows, chosen.deleted_before, dict(chosen.evidence)) == (10, 0, {})
    everything = _messages(house)
    done = house.erasure.delete(
        "Syslog", f"SyslogMessage has '{SECRET}' // all of them", expected=10, keep_evidence=False, by=BY
    )
    assert (done.rows, done.expires) == (10, START + timedelta(days=30))
    assert _messages(house) == [m for m in everything if SECRET not in m]
    assert _messages(house, f"SyslogMessage has '{SECRET}'") == []
    assert [d.id for d in house.erasure.deletions(by=BY)] == [done.id]
    ids = house.queries.run("Syslog | project SyslogMessage, _ItemId").rows()
    assert house.erasure.undo(done.id, by=BY).rows == 10
    assert _messages(house) == everything
    after = dict(house.queries.run("Syslog | project SyslogMessage, _ItemId").rows())
    assert {m: after[m] for m, _ in ids} == dict(ids)
    assert len(set(after.values())) == 50
    with pytest.raises(LakeError, match="LAK0025"):
        house.erasure.undo(done.id, by=BY)
    notes = house.access.audit_page(limit=10, before=None, actor="", object_id="Syslog")["items"]
    assert [n["action"] for n in notes] == ["lake.undelete", "lake.delete"]
    assert notes[1]["detail"]["rows"] == 10


def test_a_crash_between_setting_aside_and_commit_doubles_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tocsin.lake import erase

    def die(*_: object, **__: object) -> None:
        raise LakeError("the disk went away", code="LAK0003")

    everything = _messages(house)
    with monkeypatch.context() as patch:
        patch.setattr(erase, "swap_files", die)
        with pytest.raises(LakeError, match="LAK0003"):
            house.erasure.delete("Syslog", "true", expected=50, keep_evidence=False, by=BY)
    assert _messages(house) == everything
    (left,) = house.erasure.deletions(by=BY)
    assert house.erasure.undo(left.id, by=BY).rows == 0
    assert _messages(house) == everything


def test_what_was_deleted_goes_after_its_time(house: House) -> None:
    house.erasure.delete("Syslog", "true", expected=50, keep_evidence=False, by=BY)
    assert isinstance(house.clock, ManualClock)
    house.clock.advance(timedelta(days=31))
    house.lake.retain()
    assert house.erasure.deletions(by=BY) == []
    assert not list((house.lake.path / "deleted").rglob("*.parquet"))


def test_a_purged_row_never_comes_back(house: House, tmp_path: Path) -> None:
    house.erasure.delete("Syslog", "SyslogMessage startswith 'row 1'", expected=11, keep_evidence=False, by=BY)
    condition = f"SyslogMessage has '{SECRET}'"
    chosen = house.erasure.preview("Syslog", condition, by=BY)
    assert (chosen.rows, chosen.deleted_before) == (8, 2)
    with pytest.raises(UsageError, match="USE0032"):
        house.erasure.purge("Syslog", condition, expected=8, keep_evidence=False, by=BY)
    _put(house.lake, 51, 3)  # comes meanwhile and stays
    assert house.erasure.purge("Syslog", condition, expected=10, keep_evidence=False, by=BY) == 10
    (deletion,) = house.erasure.deletions(by=BY)
    assert house.erasure.undo(deletion.id, by=BY).rows == 9
    kept = _messages(house)
    assert len(kept) == 43
    assert not [m for m in kept if SECRET in m]
    # After the sweep no file holds them, neither does the log.
    house.lake.sweep()
    assert _everywhere(house.lake.path) == 0
    house.lake.index()
    assert _messages(house, condition) == []
    # Killed now: the replay brings nothing back, and shortening and lengthening retention neither.
    shutil.copytree(house.settings.data, tmp_path / "again", ignore=shutil.ignore_patterns("LOCK"))
    with House.open(_settings(tmp_path / "again"), clock=ManualClock(START)) as again:
        again.lake.recover(lambda _group: [])
        again.lake.retain()
        assert _messages(again) == kept


def test_evidence_of_open_incidents_stays(house: House) -> None:
    moment = (START + timedelta(minutes=5)).replace(tzinfo=None)
    house.lake.pins = lambda: [
        Pin("Syslog", moment, moment, "incident 7"),
        Pin("Other_CL", moment, moment, "incident 8"),
    ]
    chosen = house.erasure.preview("Syslog", "true", by=BY)
    assert chosen.evidence == {"incident 7": 1}
    with pytest.raises(LakeError, match="1 of incident 7"):
        house.erasure.purge("Syslog", "true", expected=50, keep_evidence=False, by=BY)
    assert len(_messages(house)) == 50
    assert house.erasure.purge("Syslog", "true", expected=50, keep_evidence=True, by=BY) == 49
    assert _messages(house) == [f"row 5 {SECRET}"]
    assert isinstance(house.clock, ManualClock)
    house.clock.advance(timedelta(days=900))
    house.lake.retain()  # retention's time is long over
    house.lake.retain()
    assert _messages(house) == [f"row 5 {SECRET}"]
    house.lake.pins = lambda: ()
    house.lake.retain()
    assert _messages(house) == []


def test_retention_for_space_keeps_evidence(tmp_path: Path) -> None:
    settings = LakeSettings(background=False, retention=RetentionSettings(budget_bytes=1, floor_hours=0))
    moment = START.replace(tzinfo=None) + timedelta(minutes=3)
    with Lake.open(tmp_path, clock=ManualClock(START + timedelta(days=1)), settings=settings) as lake:
        lake.pins = lambda: [Pin("", moment, moment, "incident 1")]
        for first in (0, 10):
            lake.write([_batch(first, 10)])
            lake.flush()
        assert sum(d.rows for d in lake.retain()) == 19
        assert [s.rows for s in lake.stats()] == [1]
        assert lake.retain() == []


def test_incidents_pin_their_evidence(house: House) -> None:
    proof = (Evidence("Syslog", {"TimeGenerated": "2026-05-01T00:10:00.0000000Z"}), Evidence("windows.event", {}))
    assert house.lake.pins() == []
    house.incidents.add([alert("a", 0, Entity.host("ws1.contoso.com"), events=proof)])
    first, second = house.lake.pins()
    moment = datetime(2026, 5, 1, 0, 10)  # noqa: DTZ001
    assert first == Pin("Syslog", moment, moment, "incident 1")
    assert second == Pin("", T0.replace(tzinfo=None), T0.replace(tzinfo=None), "incident 1")
    (item,) = house.incidents.page()["items"]
    with house.state.write() as unit:
        house.incidents.change(unit, item["id"], {"status": "Resolved"}, actor=Actor("anna"))
    assert house.lake.pins() == []


@pytest.mark.parametrize(
    ("condition", "error"),
    [("true | take 1", UsageError), ("true; print 1", UsageError), ("Nothing == 1", KqlError), ("(", KqlError)],
)
def test_only_a_condition_chooses(house: House, condition: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        house.erasure.preview("Syslog", condition, by=BY)


def test_permissions_and_unknown_tables(house: House) -> None:
    with pytest.raises(ForbiddenError):
        house.erasure.purge("Syslog", "true", expected=50, keep_evidence=False, by=system("test", "lake.delete"))
    with pytest.raises(ForbiddenError):
        house.erasure.preview("Syslog", "true", by=system("test"))
    with pytest.raises(UsageError, match="Syslog"):
        house.erasure.preview("Syslogs", "true", by=BY)


def test_rows_of_older_files_get_identifiers(house: House) -> None:
    from tocsin.lake import maintain
    from tocsin.lake.parquet import write_rows

    store = house.lake._store
    (file, *_) = store.states["Syslog"].files
    rows = pq.read_table(file.path, partitioning=None).drop_columns(["_ItemNumber"])
    with store.delta_lock:
        maintain.swap_files(
            store,
            "Syslog",
            [file],
            [write_rows(store.folder / "Syslog", rows, store.settings, label="old")],
            data_change=False,
        )
    assert house.erasure.preview("Syslog", "true", by=BY).rows == 50
    ids = [r[0] for r in house.queries.run("Syslog | project _ItemId").rows()]
    assert len({*ids} - {""}) == 50


def test_the_command_line(house: House) -> None:
    data = str(house.settings.data)
    house.close()

    def ran(*args: str, code: int = 0, given: str | None = None) -> str:
        done = CliRunner().invoke(app, ["lake", *args, "--data", data], input=given)
        assert done.exit_code == code, done.output
        return done.stdout.splitlines()[-1] if done.stdout else ""

    made = json.loads(ran("delete", "Syslog", "SyslogMessage has 'dull'", "--expected", "40", "--json"))
    assert made["rows"] == 40
    assert made["id"]
    assert json.loads(ran("purge", "Syslog", "true", "--json", given="y\n"))["rows"] == 50


def test_a_purge_reaches_the_archive(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "data")
    archive = ArchiveSettings(folder=str(tmp_path / "cold"))
    lake = settings.lake.model_copy(update={"archive": archive, "retention": RetentionSettings(archive_days=1, days=0)})
    settings = settings.model_copy(update={"lake": lake})
    with House.open(settings, clock=ManualClock(START + timedelta(days=3))) as house:
        for first in (0, 20):
            house.lake.write([_batch(first, 20)])
            house.lake.flush()
        assert sum(m.rows for m in house.lake.move_to_archive()) == 40
        _put(house.lake, 40, 10)
        condition = f"SyslogMessage has '{SECRET}'"
        chosen = house.erasure.preview("Syslog", condition, by=BY)
        assert (chosen.rows, chosen.deleted_before, chosen.archived) == (2, 0, 8)
        moment = START.replace(tzinfo=None) + timedelta(minutes=5)
        house.lake.pins = lambda: [Pin("Syslog", moment, moment, "incident 3")]
        with pytest.raises(LakeError, match="incident 3"):
            house.erasure.purge("Syslog", condition, expected=10, keep_evidence=True, by=BY)
        house.lake.pins = lambda: ()
        assert house.erasure.purge("Syslog", condition, expected=10, keep_evidence=False, by=BY) == 10
        assert house.erasure.preview("Syslog", condition, by=BY).archived == 0
        objects = list((tmp_path / "cold").rglob("*.parquet"))
        assert sum(pq.read_metadata(p).num_rows for p in objects) == 32
        assert not [
            p for p in objects if SECRET in str(pq.read_table(p, columns=["SyslogMessage"]).column(0).to_pylist())
        ]
        assert house.erasure.purge("Syslog", "true", expected=40, keep_evidence=False, by=BY) == 40
        assert not list((tmp_path / "cold").rglob("*.parquet"))


def test_a_hold_stops_deletion(house: House) -> None:
    house.lake.hold("case 4711")
    with pytest.raises(LakeError, match="case 4711"):
        house.erasure.delete("Syslog", "true", expected=50, keep_evidence=False, by=BY)


def test_rules_keep_off_the_lake_tier(house: House) -> None:
    from tocsin.workspace.tiers import AnalyticsQueries

    tiers = RetentionSettings(tables={"Syslog": TableRetention(tier="lake")})
    queries = AnalyticsQueries(house.queries, lambda: tiers)
    with pytest.raises(QueryError, match="Syslog is not in the analytics tier"):
        queries.compile("SecurityEvent | union Syslog | count")
    assert queries.compile("SecurityEvent | count").tables == {"SecurityEvent"}
    assert len(_messages(house)) == 50  # people may ask


def test_rows_of_files_with_columns_for_members_go_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the disk, put back, and in the archive: such a column is no column of the table."""
    monkeypatch.setattr(members, "_LEAST", 1)
    settings = _settings(tmp_path / "data")
    lake = settings.lake.model_copy(
        update={
            "archive": ArchiveSettings(folder=str(tmp_path / "cold")),
            "retention": RetentionSettings(archive_days=1, days=0),
        }
    )
    settings = settings.model_copy(update={"lake": lake})
    with House.open(settings, clock=ManualClock(START + timedelta(days=3))) as house:
        for first in (0, 10):
            rows = _batch(first, 10).rows
            bags = pa.array([json.dumps({"TaskName": f"t{n % 2}"}) for n in range(10)])
            rows = rows.drop_columns(["SyslogMessage"]).append_column("AdditionalFields", bags)
            house.lake.write([TableBatch("DeviceEvents", rows)])
            house.lake.flush()
        house.lake.compact("DeviceEvents")
        (file,) = house.lake.snapshot().tables["DeviceEvents"].files
        assert "AdditionalFields:TaskName" in pq.read_schema(file.path).names
        condition = "AdditionalFields.TaskName == 't1'"
        done = house.erasure.delete("DeviceEvents", condition, expected=10, keep_evidence=False, by=BY)
        assert house.queries.run("DeviceEvents | count").rows() == [[10]]
        house.erasure.undo(done.id, by=BY)
        assert house.queries.run(f"DeviceEvents | where {condition} | count").rows() == [[10]]
        house.lake.compact("DeviceEvents")
        assert sum(m.rows for m in house.lake.move_to_archive()) == 20
        assert house.erasure.preview("DeviceEvents", condition, by=BY).archived == 10
        assert house.erasure.purge("DeviceEvents", condition, expected=10, keep_evidence=False, by=BY) == 10
        assert house.erasure.preview("DeviceEvents", "true", by=BY).archived == 10
