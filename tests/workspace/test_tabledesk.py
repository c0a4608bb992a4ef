"""Tables as people see and keep them: figures, previews of a shorter time, what goes at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.workspace.house import House

from tocsin.access import Principal, system
from tocsin.base.clock import ManualClock
from tocsin.base.errors import TocsinError, UsageError
from tocsin.lake import LakeSettings, TableBatch
from tocsin.lake.settings import ArchiveSettings, RetentionSettings
from tocsin.state import NotFoundError
from tocsin.workspace.settings import Settings
from tocsin.workspace.tabledesk import TableDesk

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
BY = system("tester", "data.read", "settings.manage")
RULE = {"kind": "rule", "id": "r", "name": "Odd"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Thirty days of Syslog, a row a day, each in a file; the archive is a folder."""
    folder: Path = tmp_path_factory.mktemp("tables")
    lake = LakeSettings(
        background=False,
        compact_files=0,
        retention=RetentionSettings(days=90, budget_bytes=1 << 40),
        archive=ArchiveSettings(folder=str(folder / "archive")),
    )
    with House.open(Settings(data=folder / "data", lake=lake), clock=ManualClock(NOW)) as house:
        for day in range(30):
            at = pa.array([(NOW - timedelta(days=day)).replace(tzinfo=None)], pa.timestamp("us"))
            rows = pa.table({"SyslogMessage": [f"day {day}"], "TimeGenerated": at, "_TimeReceived": at})
            house.lake.write([TableBatch("Syslog", rows)])
            house.lake.flush()
        yield house


@pytest.fixture
def desk(house: House) -> Iterator[TableDesk]:
    yield TableDesk(
        house,
        drift=lambda: {"Syslog": {"Colour": 3}},
        readers=lambda table: [RULE] if table == "Syslog" else [],
    )
    house.lake.keep("Syslog", None)


def test_a_table_in_figures(desk: TableDesk) -> None:
    (item,) = desk.listed(by=BY)
    found = desk.get("Syslog", by=BY)
    assert {k: found[k] for k in item} == item
    assert (item["name"], item["rows"], item["days"], item["tier"], item["set_here"]) == (
        "Syslog", 30, 90, "analytics", False,
    )  # fmt: skip
    assert (item["rows_last_hour"], item["new_columns"]) == (1, [{"name": "Colour", "values": 3}])
    assert sum(d["rows"] for d in found["usage"]) == 30
    assert found["usage"][-1]["day"].startswith("2026-03-31")
    assert (found["own"], found["all_days"], found["all_archive_days"], found["hold"]) == (None, 90, 0, "")
    assert (found["readers"], found["archive_configured"], found["undo_days"]) == ([RULE], True, 30)
    with pytest.raises(NotFoundError) as caught:
        desk.get("Syslg", by=BY)
    assert "Syslog" in caught.value.hint


def test_fewer_days_are_told_before_and_wait(desk: TableDesk, house: House) -> None:
    asked = {"days": 10, "tier": "lake"}
    found = desk.preview("Syslog", asked, by=BY)
    assert found == {
        "table": "Syslog", "days": 10, "shorter": True, "effect": "2026-04-30T12:00:00Z",
        # Days 11 to 29 are older now; at the end of the wait all of today's rows are.
        "older_now": 19, "older_then": 30, "archived_older_then": 0, "rows_at_once": 0, "bytes_at_once": 0,
        "to_archive": 0, "stops": [RULE],
    }  # fmt: skip
    assert desk.get("Syslog", by=BY)["days"] == 90, "a preview changes nothing"
    done = desk.keep("Syslog", asked, expected=0, by=BY)
    assert (done["days"], done["tier"], done["set_here"]) == (10, "lake", True)
    assert done["own"] == {**asked, "bytes": 0, "archive_days": None}
    assert done["waiting"] == {
        "days": 90, "since": "2026-03-31T12:00:00Z", "until": "2026-04-30T12:00:00Z",
    }  # fmt: skip
    house.lake.retain()
    assert desk.get("Syslog", by=BY)["rows"] == 30
    back = desk.reset("Syslog", by=BY)
    assert (back["days"], back["tier"], back["set_here"], back["waiting"]) == (90, "analytics", False, None)
    with house.state.read() as unit:
        said = [(r.action, r.after) for r in unit.audit.page(limit=2)[0]]
    assert said == [("lake.retention", None), ("lake.retention", {"days": 10, "bytes": 0, "archive_days": None, "tier": "lake"})]  # fmt: skip


def test_what_goes_at_once_must_be_named(desk: TableDesk, house: House) -> None:
    whole = desk.get("Syslog", by=BY)["bytes"]
    asked = {"bytes": whole // 2}
    found = desk.preview("Syslog", asked, by=BY)
    assert 0 < found["rows_at_once"] < 30
    assert whole - found["bytes_at_once"] <= whole // 2
    with pytest.raises(UsageError, match="rows would go at once, not 0") as caught:
        desk.keep("Syslog", asked, expected=0, by=BY)
    assert caught.value.code == "USE0032"
    assert desk.get("Syslog", by=BY)["bytes_limit"] == 0


def test_longer_takes_effect_at_once_and_the_archive_is_counted(desk: TableDesk) -> None:
    found = desk.preview("Syslog", {"days": 365, "archive_days": 20}, by=BY)
    assert (found["shorter"], found["effect"][:10], found["older_then"], found["to_archive"]) == (
        False, "2026-03-31", 0, 9,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("table", "asked", "code"),
    [
        ("Syslog", {"days": 30, "archive_days": 30}, "USE0037"),
        ("Things_RST", {"days": 30}, "USE0037"),
        ("Syslg", {"days": 30}, "STA0002"),
    ],
)
def test_terms_that_cannot_be(desk: TableDesk, house: House, table: str, asked: dict[str, Any], code: str) -> None:
    if table == "Things_RST" and table not in house.lake.tables():
        house.lake.write([TableBatch(table, pa.table({"Name": ["x"]}))])
    with pytest.raises(TocsinError) as caught:
        desk.preview(table, asked, by=BY)
    assert caught.value.code == code


def test_who_may(desk: TableDesk) -> None:
    with pytest.raises(TocsinError, match=r"settings\.manage"):
        desk.keep("Syslog", {"days": 1}, expected=0, by=Principal("reader", permissions=frozenset({"data.read"})))
