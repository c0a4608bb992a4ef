"""The catalogue: every declaration is sound."""

from __future__ import annotations

from collections import Counter

from tocsin.kql.types import KqlType
from tocsin.tables import INGESTION_TIME, catalogue


def test_every_table_is_sound() -> None:
    for info in catalogue():
        names = Counter(c.name for c in info.schema.columns)
        assert max(names.values()) == 1, info.name
        assert {"TimeGenerated", INGESTION_TIME, info.time_column} <= set(names), info.name
        assert info.category, info.name


def test_names_and_types_are_the_published_ones() -> None:
    table = catalogue().table("DeviceProcessEvents")
    assert table is not None
    types = {c.name: c.type for c in table.columns}
    assert types["ProcessCommandLine"] is KqlType.STRING
    assert types["Timestamp"] is types["TimeGenerated"] is KqlType.DATETIME
    assert types["ProcessId"] is KqlType.LONG
    assert catalogue().table("deviceprocessevents") is None
