"""What the entity functions make of rows: names that mean one thing, and what it did."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tocsin.base.clock import ManualClock
from tocsin.content import load_packs, packs_dir
from tocsin.lake import Lake, TableBatch
from tocsin.lake.settings import LakeSettings
from tocsin.query import QueryService
from tocsin.tables import catalogue

DAY = datetime(2026, 3, 1, tzinfo=UTC)
SPAN = "datetime(2026-03-01), datetime(2026-03-02)"


def at(hour: int) -> datetime:
    return DAY.replace(hour=hour, tzinfo=None)


ROWS: dict[str, list[dict[str, Any]]] = {
    "DeviceInfo": [
        {"TimeGenerated": at(1), "DeviceName": "WS1.contoso.com", "DeviceId": "D1"},
        {"TimeGenerated": at(9), "DeviceName": "ws1.contoso.com", "DeviceId": "d1"},
    ],
    "DeviceLogonEvents": [
        {
            "TimeGenerated": at(2), "DeviceName": "ws1.contoso.com", "ActionType": "LogonSuccess", "AccountDomain": "CONTOSO",
            "AccountName": "ann", "AccountSid": "S-1-5-21-1-2-3-1001", "RemoteIP": "10.0.0.7", "RemoteDeviceName": "ws2",
        },
        {"TimeGenerated": at(3), "DeviceName": "ws1.contoso.com", "ActionType": "LogonSuccess", "AccountName": "SYSTEM", "AccountSid": "S-1-5-18"},
    ],
    "SigninLogs": [
        {"TimeGenerated": at(4), "UserPrincipalName": "ann@contoso.com", "UserId": "AAD-1", "AppDisplayName": "Mail",
         "IPAddress": "8.8.8.8"}],
    "IdentityLogonEvents": [
        {"TimeGenerated": at(5), "AccountUpn": "ann@contoso.com", "AccountSid": "S-1-5-21-1-2-3-1001", "DeviceName": "ws1", "IPAddress": "10.0.0.5",
         "ActionType": "LogonSuccess"},
    ],
    "DeviceProcessEvents": [{"TimeGenerated": at(6), "DeviceName": "other", "AccountName": "bob", "FileName": "x.exe"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def queries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueryService]:
    folder: Path = tmp_path_factory.mktemp("entities")
    clock = ManualClock(DAY.replace(day=3))
    lake = Lake.open(folder, catalog=catalogue(), clock=clock, settings=LakeSettings(background=False))
    lake.write([TableBatch(name, pa.Table.from_pylist(rows)) for name, rows in ROWS.items()])
    lake.flush()
    content = load_packs([packs_dir()], only=("functions",))
    made = QueryService(lake, catalogue=catalogue(), functions=content.functions, clock=clock)
    yield made
    made.close()
    lake.close()


def test_activity_is_of_all_its_names_and_of_nobody_else(queries: QueryService) -> None:
    names = "dynamic(['ann@contoso.com', 'contoso\\\\ann', 's-1-5-21-1-2-3-1001'])"
    rows = queries.run(f"EntityActivity({names}, {SPAN})").dicts()
    assert [(r["Table"], r["Seen"]) for r in rows] == [
        ("DeviceLogonEvents", 1),
        ("SigninLogs", 1),
        ("IdentityLogonEvents", 1),
    ]
    assert queries.run(f"EntityActivity(dynamic(['nobody']), {SPAN})").dicts() == []
