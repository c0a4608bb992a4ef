# ruff: noqa: DTZ001, E501 - columns hold instants without zone
"""From source-shaped batches to catalogue tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ingest.intake_support import Parser
from tests.ingest.support import OTRF, decode, needs_otrf
from tocsin.base.errors import Place
from tocsin.ingest import DeadLetter, SourceBatch
from tocsin.ingest.casts import cast_column, cast_rows
from tocsin.ingest.decoders.windows import EventBuffer
from tocsin.ingest.letters import dead_letter_rows
from tocsin.ingest.mapping import Mapper
from tocsin.ingest.schemas import schema_of
from tocsin.ingest.shred import shred
from tocsin.kql.types import KqlType
from tocsin.lake.engine import Engine
from tocsin.tables import catalogue


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(catalog=catalogue())


def events(*rows: dict[str, object]) -> SourceBatch:
    buffer = EventBuffer()
    for row in rows:
        buffer.add_flat({"TimeCreated": "2024-05-01T10:00:00Z", **row})
    return SourceBatch("windows.event", buffer.take(), "test")


def mapper(engine: Engine, *parsers: Parser) -> Mapper:
    return Mapper(parsers, engine=engine, catalog=catalogue())


PROCESS = Parser(
    "p", "windows.event", "DeviceProcessEvents",
    'source | where EventID == 1 | project Timestamp = TimeCreated, DeviceName = tolower(Computer), FileName = tostring(EventData.Image), '
    'ProcessId = tolong(tostring(EventData["ProcessId"])), AdditionalFields = bag_pack("a", EventData.Other)',
    {"Channel": ["Sysmon"], "EventID": [1, 5]},
)  # fmt: skip


def test_a_parser_makes_rows_of_its_table(engine: Engine) -> None:
    batch = events(
        {"EventID": 1, "Channel": "Sysmon", "Hostname": "PC1", "Image": "a.exe", "ProcessId": "7", "Other": "x"},
        {"EventID": 2, "Channel": "Sysmon", "Hostname": "PC1"},
        {"EventID": 1, "Channel": "Elsewhere", "Hostname": "PC2"},
        {"EventID": 1, "Channel": "Sysmon", "Hostname": "PC3"},
    )
    received = datetime(2024, 6, 1, tzinfo=UTC)
    (made,) = mapper(engine, PROCESS).map(batch, received=received)
    assert made.table == "DeviceProcessEvents"
    first, second = made.rows.to_pylist()
    assert (first["DeviceName"], first["FileName"], first["ProcessId"], json.loads(first["AdditionalFields"])) == (
        "pc1",
        "a.exe",
        7,
        {"a": "x"},
    )
    assert (second["DeviceName"], second["FileName"], second["ProcessId"]) == ("pc3", "", None)
    assert first["Timestamp"] == first["TimeGenerated"] == datetime(2024, 5, 1, 10)
    assert first["_TimeReceived"] == datetime(2024, 6, 1)


def test_without_a_time_of_receipt_it_is_left_to_the_caller(engine: Engine) -> None:
    (made,) = mapper(engine, PROCESS).map(events({"EventID": 1, "Channel": "Sysmon"}))
    assert "_TimeReceived" not in made.rows.column_names


def test_several_parsers_of_one_table_give_one_batch(engine: Engine) -> None:
    other = Parser(
        "q",
        "windows.event",
        "DeviceProcessEvents",
        "source | where EventID == 2 | project Timestamp = TimeCreated, DeviceId = Computer",
    )
    made = mapper(engine, PROCESS, other).map(
        events({"EventID": 1, "Channel": "Sysmon"}, {"EventID": 2, "Channel": "x", "Hostname": "h"})
    )
    assert [(b.table, b.rows.num_rows) for b in made] == [("DeviceProcessEvents", 2)]


def test_rows_that_no_parser_knows_are_kept(engine: Engine) -> None:
    batch = SourceBatch(
        "zeek.odd",
        pa.table({"ts": pa.array([datetime(2024, 1, 1)], pa.timestamp("us")), "uid": ["C"], "x": [None]}),
        "o",
    )
    (made,) = mapper(engine).map(batch)
    assert made.table == "Unparsed_CL"
    (row,) = made.rows.to_pylist()
    assert json.loads(row["RawData"]) == {"ts": "2024-01-01T00:00:00", "uid": "C"}
    assert (row["Source_s"], row["Origin_s"], row["TimeGenerated"]) == ("zeek.odd", "o", datetime(2024, 1, 1))


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("source | nonsense", "nonsense"),
        ("source | project NoSuchColumn = 1", "NoSuchColumn"),
        ("source | where TimeCreated > ago(1h) | project FileName = 'x'", "time"),
        ("SecurityEvent | project FileName = 'x'", "SecurityEvent"),
    ],
)
def test_a_parser_that_cannot_be_used_is_named_and_the_others_go_on(engine: Engine, query: str, word: str) -> None:
    made = mapper(engine, Parser("bad", "windows.event", "DeviceProcessEvents", query), PROCESS)
    batches = made.map(events({"EventID": 1, "Channel": "Sysmon"}))
    assert [b.table for b in batches] == ["DeviceProcessEvents"]
    assert len(made.problems) == 1
    assert "bad" in str(made.problems[0])
    assert word.lower() in str(made.problems[0]).lower()


def test_what_is_shredded_means_the_same(engine: Engine) -> None:
    text = (
        "source | project FileName = tostring(EventData.Image), FolderPath = tostring(EventData['Image']), "
        "ProcessCommandLine = strcat(tostring(EventData.A), '|', EventData.Image), AccountName = tostring(EventData.Missing), "
        "AccountDomain = iff(isnull(EventData.Image), 'null', 'there')"
    )
    shredded = shred(text, schema_of("windows.event", events({"EventID": 1}).rows.schema))
    assert [f[1] for f in shredded.fields] == ["Image", "A", "Missing"]
    assert "EventData.Image), 'null'" in shredded.text
    batch = events({"EventID": 1, "Channel": "c", "Image": 'q"\\é', "A": 5}, {"EventID": 1, "Channel": "c"})
    plain = text.replace("tostring(EventData.Image)", "tostring(EventData .Image)")
    query = "windows.event", "DeviceProcessEvents"
    ours = mapper(engine, Parser("p", *query, text)).map(batch)[0].rows.to_pylist()
    hidden = text.replace("tostring(", "strcat('', ")
    assert shred(hidden, shredded.schema).fields == ()
    theirs = mapper(engine, Parser("p", *query, hidden)).map(batch)[0].rows.to_pylist()
    assert ours == theirs
    assert plain != text


def test_whole_event_data_is_its_text(engine: Engine) -> None:
    schema = schema_of("windows.event", events({"EventID": 1}).rows.schema)
    text = 'source | where Channel == "c" | project EventData, EventID, Task = toint(strlen(tostring(EventData))), Channel = tostring(EventData.A)'
    shredded = shred(text, schema, whole=True)
    assert [f[2] for f in shredded.fields] == ["EventData:", "EventData:A"]
    assert shred(text, schema).fields == (("EventData", "A", "EventData:A"),)
    batch = events({"EventID": 1, "Channel": "c", "A": 'q"\\\x01é\u2028', "B": 5}, {"EventID": 2, "Channel": "c"})
    query = "windows.event", "WindowsEvent"
    ours = mapper(engine, Parser("p", *query, text)).map(batch)[0].rows.to_pylist()
    hidden = text.replace("EventData, ", "EventData = todynamic(strcat('', EventData)), ").replace(
        "tostring(", "strcat('', "
    )
    assert shred(hidden, schema, whole=True).fields == ()
    assert ours == mapper(engine, Parser("p", *query, hidden)).map(batch)[0].rows.to_pylist()
    assert [json.loads(r["EventData"]) for r in ours] == [{"A": 'q"\\\x01é\u2028', "B": "5"}, {}]


def test_last_operator_may_use_the_name_again() -> None:
    schema = schema_of("windows.event", events({"EventID": 1}).rows.schema)
    text = "source | project EventData = tostring(EventData), A = tostring(EventData.A)"
    assert shred(text, schema, whole=True).text == "source | project EventData = ['EventData:'], A = ['EventData:A']"
    assert shred(f"{text} | where true", schema, whole=True).text == f"{text} | where true"


@pytest.mark.parametrize(
    "text",
    [
        "source | extend EventData = todynamic(Message) | project x = tostring(EventData.A)",
        "source | project x = 'tostring(EventData.A)' // tostring(EventData.B)",
        "source | project x = tostring(EventData.A.B), y = tostring(EventData.A[0]), z = tostring(Other.A)",
    ],
)
def test_what_means_something_else_is_left_alone(text: str) -> None:
    assert shred(text, schema_of("windows.event", events({"EventID": 1}).rows.schema)).text == text


def column(*values: object) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(list(values), pa.string())])


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (KqlType.INT, ["1", " 2 ", "0x10", "3.0", "3.5", "x", "", None, "9999999999", "true"], [1, 2, 16, 3, None, None, None, None, None, 1]),
        (KqlType.LONG, ["9223372036854775807", "0xffffffffffffffff", "1e30", "-5"], [2**63 - 1, -1, None, -5]),
        (KqlType.REAL, ["1.5", "x", "", "NaN"], [1.5, None, None, "nan"]),
        (KqlType.BOOL, ["true", "False", "1", "0", "maybe", None], [True, False, True, False, None, None]),
        (KqlType.GUID, ["{ABCD}", "abcd"], ["abcd", "abcd"]),
        (KqlType.DYNAMIC, ['{"a":1}', "[1]", "text", "12", "01", "true", "null", "", '{"broken'], ['{"a":1}', "[1]", '"text"', "12", '"01"', "true", None, None, '"{\\"broken"']),
        (KqlType.TIMESPAN, ["00:00:01", "1.00:00:00", "x"], [10_000_000, 864_000_000_000, None]),
        (KqlType.DECIMAL, ["1.5", "x", "1e40"], [Decimal("1.5"), None, None]),
        (KqlType.DATETIME, ["2024-05-01T10:00:00.1234567Z", "8/2/2021, 1:29:25.983 PM", "x"], [datetime(2024, 5, 1, 10, 0, 0, 123456), datetime(2021, 8, 2, 13, 29, 25, 983000), None]),
        (KqlType.STRING, ["a", None], ["a", None]),
    ],
)  # fmt: skip
def test_casts_from_text(kind: KqlType, values: list[object], expected: list[object]) -> None:
    got = [str(v) if isinstance(v, float) and v != v else v for v in cast_column(column(*values), kind).to_pylist()]
    assert got == expected


@given(
    st.sampled_from(list(KqlType)),
    st.lists(st.none() | st.text(max_size=12) | st.from_regex(r"-?[0-9.x:]{1,12}", fullmatch=True), max_size=6),
)
def test_no_text_breaks_a_cast(kind: KqlType, values: list[str | None]) -> None:
    assert len(cast_column(column(*values), kind)) == len(values)


def test_table_rows_are_cast_and_their_times_filled(engine: Engine) -> None:
    rows = pa.table(
        {
            "TimeGenerated": ["2024-05-01T10:00:00Z", None],
            "ProcessId": ["7", "x"],
            "devicename": ["pc", "pc"],
            "Nonsense": ["a", "b"],
        }
    )
    (made,) = mapper(engine).map(
        SourceBatch("table.DeviceProcessEvents", rows, "o"), received=datetime(2024, 6, 1, tzinfo=UTC)
    )
    first, second = made.rows.to_pylist()
    assert (first["Timestamp"], first["ProcessId"], first["DeviceName"]) == (datetime(2024, 5, 1, 10), 7, "pc")
    assert (second["Timestamp"], second["TimeGenerated"], second["ProcessId"]) == (
        datetime(2024, 6, 1),
        datetime(2024, 6, 1),
        None,
    )
    assert "Nonsense" not in made.rows.column_names


@needs_otrf
def test_real_exports_fit_their_tables(engine: Engine) -> None:
    got = decode(OTRF / "compound" / "GoldenSAMLADFSMailAccess")
    made = mapper(engine)
    for batch in got.batches:
        if batch.source.startswith("table."):
            (out,) = made.map(batch)
            rows = out.rows.to_pylist()
            assert len(rows) == len(batch)
            assert all(r["TimeGenerated"].year == 2021 for r in rows)
            if out.table == "CloudAppEvents":
                assert json.loads(rows[0]["ActivityObjects"])
                assert rows[0]["IsAdminOperation"] is False
            if out.table == "AuditLogs":
                assert json.loads(rows[0]["TargetResources"])[0]["displayName"] == "SimuLandApp"


def test_every_table_takes_what_is_cast_for_it() -> None:
    from tocsin.lake.engine import conform

    for info in list(catalogue())[::10]:
        rows = pa.table({c.name: pa.array(["1"], pa.string()) for c in info.schema.columns})
        conform(cast_rows(rows, info.schema), info.schema)


def test_dead_letters_fit_their_table() -> None:
    from tocsin.lake.engine import conform

    letters = [DeadLetter("why", "ING0012", Place("f", line=3), b"\xff\x00", "f", "json", 2)]
    schema = catalogue().table("DeadLetter_CL")
    assert schema is not None
    (row,) = conform(dead_letter_rows(letters, datetime(2024, 1, 1, tzinfo=UTC)), schema).to_pylist()
    assert (row["Code_s"], row["Place_s"], row["Raw_s"], row["RawSize_d"]) == ("ING0012", "f:3", "/wA=", 2)
