"""Members of dynamic columns as columns of files: no answer changes when they come, whatever the JSON is, and then the JSON isn't read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.kql.types import MappingCatalog
from tocsin.lake import Lake, LakeSettings, TableBatch, members
from tocsin.lake.engine.files import columns_of
from tocsin.query import QueryService
from tocsin.tables import catalogue

TABLE, COLUMN = "DeviceEvents", "AdditionalFields"
NOW = datetime(2026, 11, 1)  # noqa: DTZ001
READS = (
    "tostring(AdditionalFields.TaskName)",
    "tostring(AdditionalFields['ServiceName'])",
    "tostring(parse_json(AdditionalFields).TaskName)",
    "tostring(parse_json(tostring(AdditionalFields)).TaskName)",
    "tostring(todynamic(tostring(AdditionalFields)).Other.a)",
    "strcat(AdditionalFields.TaskName, '/', AdditionalFields.PipeName)",
    "AdditionalFields.TaskName == 'a b'",
    "AdditionalFields.TaskName has 'b'",
    "toint(AdditionalFields.ServiceName)",
    "AdditionalFields.ServiceName > 3",
    "isempty(AdditionalFields.TaskName)",
    "tolower(AdditionalFields.Status)",
)
AF = "AdditionalFields"
SHAPES = (
    "DeviceEvents | project n = ReportId, {x} | order by n asc",
    f"DeviceEvents | extend F = {AF} | project n = ReportId, {{f}} | order by n asc",
    f"DeviceEvents | extend F = parse_json({AF}) | where F.TaskName != 'zz' | project n = ReportId, F.TaskName, F.ServiceName, F.No | order by n asc",
    f"DeviceEvents | extend S = tostring({AF}) | extend F = parse_json(S) | project n = ReportId, tostring(F.TaskName), F.Rest | order by n asc",
    f"DeviceEvents | summarize c = count() by k = tostring({AF}.TaskName) | order by k asc, c asc",
    f"""DeviceEvents | join kind=leftouter (DeviceEvents | where {AF}.TaskName == 'a b' | project ReportId, {AF}) on ReportId
    | project n = ReportId, tostring({AF}.TaskName), tostring({AF}1.TaskName) | order by n asc""",
    f"let T = DeviceEvents | where isnotempty({AF}.TaskName); T | union T | project n = ReportId, t = tostring({AF}.TaskName) | order by n asc",
    f"DeviceEvents | distinct t = tostring({AF}.TaskName) | order by t asc",
    f"DeviceEvents | summarize arg_max(ReportId, {AF}) by ActionType | project tostring({AF}.TaskName)",
)
QUERIES = (
    *(SHAPES[0].format(x=x) for x in READS),
    *(SHAPES[1].format(f=x.replace("AdditionalFields", "F")) for x in READS),
    *SHAPES[2:],
)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setattr(members, "_LEAST", 1)
    return Lake.open(tmp_path / "lake", settings=LakeSettings(background=False, compact_files=2))


def put(lake: Lake, values: list[str | None], start: int = 0) -> None:
    times = pa.array([NOW + timedelta(seconds=n) for n in range(len(values))], pa.timestamp("us"))
    columns = {
        "TimeGenerated": times, "_TimeReceived": times, "ActionType": ["A"] * len(values),
        "ReportId": pa.array(range(start, start + len(values)), pa.int64()), COLUMN: pa.array(values, pa.string()),
    }  # fmt: skip
    lake.write([TableBatch(TABLE, pa.table(columns))])
    lake.flush()


def answers(service: QueryService) -> list[Any]:
    return [(service.run(q).names, service.run(q).rows()) for q in QUERIES]


def without_members() -> MappingCatalog:
    """The table as if no member of it were declared."""
    schema = catalogue().table(TABLE)
    assert schema is not None
    return MappingCatalog({TABLE: replace(schema, members=())})


def held(lake: Lake) -> set[str]:
    state = lake.snapshot().table(TABLE)
    assert state is not None
    return {n for f in state.files for n in columns_of([f]) or () if ":" in n}


VALUES: list[str | None] = [
    None, "{}", "null", '{"TaskName":"a b","ServiceName":5,"PipeName":"p"}', '{"TaskName":null,"Status":true}', '{"TaskName":{"x":[1, 2]}}',
    '{"TaskName":"first","TaskName":"second"}', '{"Task\\u004eame":"escaped","ServiceName":-0}', '{"ServiceName":1.50,"Status":1e3}',
    '{"ServiceName":123456789012345678901234567890}', '{"TaskName":"nul \\u0000 in it","PipeName":"\\ud83d\\ude00 \\u00e9"}', "[1,2]", "7",
    '{"Other":{"TaskName":"inner","a":"deep"},"Rest":[{"TaskName":"x"}]}',
    '{"TaskName":"","ServiceName":"4"}', '{"TaskName":"zz \\"quoted\\": \\\\"}',
]  # fmt: skip


def test_no_answer_changes_when_the_columns_come(lake: Lake) -> None:
    with lake:
        put(lake, VALUES)
        put(lake, VALUES[::-1], start=100)
        service, plain = QueryService(lake, catalogue=catalogue()), QueryService(lake, catalogue=without_members())
        before = answers(service)
        assert answers(plain) == before
        assert not held(lake)
        assert lake.compact(TABLE) == 1
        assert f"{COLUMN}:TaskName" in held(lake)
        assert answers(service) == before
        # Rows in memory and files with and without the columns at once.
        put(lake, VALUES * 2, start=200)
        whole = answers(service)
        assert whole == answers(plain)
        assert lake.compact(TABLE) == 1
        assert answers(service) == whole


def test_where_a_row_is_a_json_string_there_are_no_columns(lake: Lake) -> None:
    """`parse_json()` reads it once more; a column could be only one of both."""
    with lake:
        odd = [*VALUES, json.dumps('{"TaskName":"a b"}'), '"plain"']
        put(lake, odd)
        put(lake, odd, start=100)
        service = QueryService(lake, catalogue=catalogue())
        before = answers(service)
        lake.compact(TABLE)
        assert not held(lake)
        assert answers(service) == before


def test_the_json_is_not_read(lake: Lake) -> None:
    """What a query of a member reads of files doesn't name the dynamic column; no query can name a member's column, and `*` has none."""
    with lake:
        put(lake, ['{"TaskName":"a b"}'] * 5)
        put(lake, ['{"TaskName":"c"}'] * 5)
        lake.compact(TABLE)
        service = QueryService(lake, catalogue=catalogue())
        plan = service.explain("DeviceEvents | where AdditionalFields.TaskName == 'c' | count")
        scanned = plan[plan.index("READ_PARQUET") :] if "READ_PARQUET" in plan else plan
        assert "json" not in scanned.lower().replace("union_by_name", ""), plan
        assert not [n for n in service.run("DeviceEvents | take 1").names if ":" in n]
        assert [n for n in service.run("search 'c'").names if ":" in n] == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["TaskName", "ServiceName", "Status", "taskname", "Other", ""])


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.one_of(st.none(), st.lists(st.tuples(NAMES, JSON), max_size=4)), min_size=1, max_size=40))
def test_any_objects(rows: list[list[tuple[str, Any]] | None], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Names may come twice; the first counts."""
    texts = [
        None if pairs is None else "{" + ",".join(f"{json.dumps(n)}:{json.dumps(v)}" for n, v in pairs) + "}"
        for pairs in rows
    ]
    with (
        pytest.MonkeyPatch.context() as patch,
        Lake.open(
            tmp_path_factory.mktemp("any") / "lake", settings=LakeSettings(background=False, compact_files=2)
        ) as lake,
    ):
        patch.setattr(members, "_LEAST", 1)
        put(lake, texts)
        put(lake, texts, start=100)
        service = QueryService(lake, catalogue=catalogue())
        asked = SHAPES[0].format(x=", ".join(READS[:5]))
        before = service.run(asked).rows()
        lake.compact(TABLE)
        assert service.run(asked).rows() == before


def test_declared_members_are_of_dynamic_columns() -> None:
    for info in catalogue():
        kinds = {c.name: c.type.value for c in info.schema.columns}
        for column, member in info.schema.members:
            assert (kinds.get(column), bool(member)) == ("dynamic", True), (info.name, column, member)
        assert len(set(info.schema.members)) == len(info.schema.members), info.name
