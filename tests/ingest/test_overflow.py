"""Columns that a declared table doesn't have come into its overflow, are there for queries at once, and are told of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ingest.intake_support import until
from tocsin.base.clock import ManualClock
from tocsin.ingest.overflow import overflow_column, with_overflow
from tocsin.lake import Body, LakeSettings
from tocsin.tables import catalogue
from tocsin.workspace.settings import DetectSettings, IngestSettings, Settings
from tocsin.workspace.workspace import Workspace

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = [
    {
        "TimeGenerated": "2026-01-01T00:00:00Z", "UserPrincipalName": "a@b", "userDisplayName": "A", "RiskWave": 5, "Shape": "x",
        "Bag": {"a": [1, {"b": None}]}, "Yes": True, "Zip": "007", "_ItemId": "forged", "MG": "AOI",
    },
    {"TimeGenerated": "2026-01-01T00:00:01Z", "UserPrincipalName": "c@d"},
]  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("house")
    settings = Settings(
        data=folder / "data",
        lake=LakeSettings(background=False),
        ingest=IngestSettings(syslog_udp_port=-1, syslog_tcp_port=-1, relp_port=-1),
        detect=DetectSettings(site=folder / "site"),
    )
    with Workspace.open(settings, clock=ManualClock(NOW)) as workspace:
        workspace._intake.start()
        workspace._stack.callback(workspace._intake.stop)
        yield workspace


def _send(house: Workspace, table: str, rows: list[dict[str, Any]]) -> None:
    body = Body("jsonl", b"\n".join(map(orjson.dumps, rows)), NOW, {"table": table})
    house._intake.wait_visible(house._intake.submit([body]).result(), 60)


def _ask(house: Workspace, text: str) -> list[list[Any]]:
    return house.queries.run(text).rows()


def test_unknown_columns_are_in_the_overflow_at_once(house: Workspace) -> None:
    _send(house, "SigninLogs", ROWS)
    for _ in range(2):  # in memory, then in a file
        (row,) = _ask(
            house,
            "SigninLogs | where _AdditionalFields.RiskWave == 5 | project _AdditionalFields, UserDisplayName, UserPrincipalName",
        )
        assert row[0] == {"RiskWave": 5, "Shape": "x", "Bag": {"a": [1, {"b": None}]}, "Yes": True, "Zip": "007"}
        assert row[1:] == ["A", "a@b"]
        assert _ask(house, "SigninLogs | where isnull(_AdditionalFields) | project UserPrincipalName") == [["c@d"]]
        assert "_AdditionalFields" not in house.queries.run("SigninLogs | take 1").names
        house.lake.roll()
    assert house.drift.rows()["SigninLogs"] == {"RiskWave": 1, "Shape": 1, "Bag": 1, "Yes": 1, "Zip": 1}


def test_they_are_told_of_once(house: Workspace) -> None:
    for number in range(3):
        _send(house, "AuditLogs", [{"TimeGenerated": "2026-01-01T00:00:00Z", "OperationName": "x", "Fresh": number}])
    house.lake.bring()  # what a row has that its table doesn't shows when it is mapped
    text = (
        "TocsinHealth | where OperationName == 'New columns' and SentinelResourceName == 'AuditLogs' | project Reason"
    )
    until(lambda: len(_ask(house, text)) > 0)
    house._intake.wait_visible(house.lake.log.last, 60)
    assert _ask(house, text) == [["Fresh"]]
    assert house.drift.rows()["AuditLogs"] == {"Fresh": 3}


def test_a_declared_overflow_takes_them(house: Workspace) -> None:
    rows = [
        {"TimeGenerated": "2026-01-01T00:00:00Z", "DeviceName": "pc", "AdditionalFields": {"Own": 1}, "New": 2},
        {"TimeGenerated": "2026-01-01T00:00:00Z", "DeviceName": "pc2", "AdditionalFields": "no object", "New": 3},
    ]
    table = "DeviceNetworkEvents"
    schema = catalogue().table(table)
    assert schema is not None
    name = overflow_column(schema)
    _send(house, table, rows)
    first, second = (r[0] for r in _ask(house, f"{table} | sort by DeviceName asc | project {name}"))
    if name == "AdditionalFields":
        assert (first, second) == ({"New": 2, "Own": 1}, {"New": 3, "AdditionalFields": "no object"})
    else:
        assert (first, second) == ({"New": 2}, {"New": 3})


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["New", 'Néw "x"', "other"]), st.text(max_size=20), max_size=3),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_comes_it_is_json_and_nothing_is_lost(rows: list[dict[str, str]]) -> None:
    schema = catalogue().table("SigninLogs")
    assert schema is not None
    names = sorted({n for r in rows for n in r}) or ["New"]
    given_rows = pa.table({n: pa.array([r.get(n) for r in rows], pa.string()) for n in names})
    made, counts = with_overflow(pa.table({"Identity": ["x"] * len(rows)}), given_rows, schema)
    bags: list[Mapping[str, Any]] = [{}] * len(rows)
    if counts:
        bags = [orjson.loads(t) if t else {} for t in made.column("_AdditionalFields").to_pylist()]
    for row, bag in zip(rows, bags, strict=True):
        kept = {n: v for n, v in row.items() if v not in ("", "null")}
        assert bag.keys() == kept.keys()
        for name, value in kept.items():
            assert bag[name] == value or orjson.loads(value) == bag[name]


def test_a_table_without_new_columns_stays_as_it_is() -> None:
    schema = catalogue().table("SigninLogs")
    assert schema is not None
    rows = pa.table({"Identity": ["x"]})
    assert with_overflow(rows, pa.table({"identity": ["x"], "MG": ["y"]}), schema) == (rows, {})
