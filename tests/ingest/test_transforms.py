"""Transforms: what is refused when one is saved, what rows become, and that a failing one loses nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.intake_support import EVENTS, SYSLOG, Parser, Rig
from tocsin.ingest.decoders.body import frame_syslog
from tocsin.ingest.letters import body_of_letter
from tocsin.ingest.transforms import Flow, Samples, Transform, TransformError, Transforms, compile_flow
from tocsin.kql.diagnostics import KqlErrors
from tocsin.kql.types import Column, KqlType, TableSchema
from tocsin.lake import Body
from tocsin.tables import catalogue

NOW = datetime(2024, 1, 1, tzinfo=UTC)
CONN = Parser(
    "conn", "zeek.conn", "ASimNetworkSessionLogs", "source | project TimeGenerated = ts, SrcIpAddr = ['id.orig_h']"
)
SECRET = "<34>1 2024-05-01T10:00:00Z web01 app 1 - - user=ann password=hunter2"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, SYSLOG, EVENTS, CONN)
    made.mapper.transforms = Transforms(made.engine, catalogue(), samples=Samples(tmp_path / "samples"))
    made.intake.memories.append(made.mapper.transforms.samples)
    made.start()
    yield made
    made.close()


def transforms(rig: Rig) -> Transforms:
    assert rig.mapper.transforms is not None
    return rig.mapper.transforms


def use(rig: Rig, stream: str, *flows: Flow, **more: Any) -> Transform:
    made = Transform("t", "mine", stream, flows, **more)
    transforms(rig).use([made])
    return made


def send(rig: Rig, *lines: str) -> int:
    return rig.intake.submit(
        [Body("syslog", frame_syslog([x.encode() for x in lines]), NOW, {"peer": "10.0.0.9"})]
    ).result(60)


def settle(rig: Rig, seq: int) -> None:
    assert rig.intake.wait_visible(seq, 60)


SCHEMA = TableSchema(
    "source",
    (
        Column("TimeGenerated", KqlType.DATETIME),
        Column("Computer", KqlType.STRING),
        Column("EventID", KqlType.INT),
        Column("Data", KqlType.DYNAMIC),
    ),
)


@pytest.mark.parametrize(
    ("kql", "named"),
    [
        ("source | summarize count() by Computer", "'summarize'"),
        ("source | join kind=inner (source) on Computer", "'join'"),
        ("source | union source", "'union'"),
        ("source | sort by TimeGenerated", "'sort'"),
        ("source | take 5", "'take'"),
        ("source | distinct Computer", "'distinct'"),
        ("source | mv-expand Data", "'mv-expand'"),
        ("source | serialize n = row_number()", "'serialize'"),
        ("source | evaluate bag_unpack(Data)", "'evaluate'"),
        ("let n = toscalar(source | count); source | where EventID > n", "'toscalar()'"),
    ],
)
def test_operators_over_more_than_one_row_are_refused_by_name(kql: str, named: str) -> None:
    with pytest.raises(KqlErrors) as refused:
        compile_flow(Flow(kql), SCHEMA, catalogue(), own="Event")
    found = refused.value.diagnostics[0]
    assert found.code == "KQL0204"
    assert named in found.message
    assert named.strip("'").rstrip("()") == kql[found.span[0] : found.span[1]].rstrip("()")
    assert "project-away" in found.hint


@pytest.mark.parametrize(
    ("kql", "code", "hint"),
    [
        ("SecurityEvent | where EventID == 1", "KQL0102", "source"),
        ("source | where Computr == 'a'", "KQL0101", "Computer"),
        ("source | where TimeGenerated > ago(1h)", "KQL0204", "TimeGenerated"),
        ("source | extend EventID = rand()", "KQL0204", "rand"),
        ("source | project Computer, EventID", "KQL0205", "TimeGenerated"),
        ("source | extend Computr = 'a' | project TimeGenerated, Computr", "KQL0205", "Computer"),
        ("source | project TimeGenerated, EventID = tostring(EventID)", "KQL0205", "toint"),
    ],
)
def test_what_does_not_fit_is_said_when_it_is_saved(kql: str, code: str, hint: str) -> None:
    with pytest.raises(KqlErrors) as refused:
        compile_flow(Flow(kql), SCHEMA, catalogue(), own="Event")
    found = refused.value.diagnostics[0]
    assert found.code == code, found
    assert hint in found.hint
    assert found.line == 1


def test_a_table_that_is_not_there_is_named(rig: Rig) -> None:
    with pytest.raises(TransformError) as refused:
        compile_flow(Flow("source | extend TimeGenerated = TimeGenerated", "SecurtyEvent"), SCHEMA, catalogue())
    assert refused.value.code == "ING0051"
    assert "SecurityEvent" in refused.value.hint
    with pytest.raises(TransformError):
        transforms(rig).schema("zeek.nothing")


def test_rows_are_filtered_masked_and_enriched_before_the_parsers(rig: Rig) -> None:
    use(
        rig,
        "syslog",
        Flow(
            "source | where SeverityLevel != 'debug' "
            "| extend SyslogMessage = replace_regex(SyslogMessage, @'password=\\S+', 'password=***') "
            "| extend HostName = case(HostName == 'web01', 'web01.example', HostName)"
        ),
    )
    settle(
        rig,
        send(
            rig,
            SECRET,
            "<39>1 2024-05-01T10:00:01Z web02 app 1 - - noise",
            "<34>1 2024-05-01T10:00:02Z db app - - - ok",
        ),
    )
    rows = rig.rows("Syslog")
    assert [(r["HostName"], r["SyslogMessage"]) for r in rows] == [
        ("web01.example", "user=ann password=***"),
        ("db", "ok"),
    ]
    run = transforms(rig).runs()["t"]
    assert (run.rows_in, run.rows_out, run.failures) == (3, 2, 0)
    assert "hunter2" in str(transforms(rig).samples.last("syslog"))


def test_one_stream_is_split_into_several_tables(rig: Rig) -> None:
    use(
        rig,
        "syslog",
        Flow("source | where ProcessName != 'app'"),
        Flow(
            "source | where ProcessName == 'app' | parse SyslogMessage with * 'user=' User_s ' ' * "
            "| project TimeGenerated = TimeCreated, User_s, Long_d = 7.5, Tags = dynamic({'a': 1})",
            "App_CL",
        ),
        Flow("source | where ProcessName == 'app' | project TimeGenerated = TimeCreated, Computer = HostName", "Event"),
    )
    settle(rig, send(rig, SECRET, "<34>1 2024-05-01T10:00:02Z db cron - - - ran"))
    assert [r["ProcessName"] for r in rig.rows("Syslog")] == ["cron"]
    (app,) = rig.rows("App_CL")
    assert (app["User_s"], app["Long_d"], json.loads(app["Tags"])) == ("ann", 7.5, {"a": 1})
    assert app["TimeGenerated"] == datetime(2024, 5, 1, 10)  # noqa: DTZ001 - as the lake keeps it
    assert [r["Computer"] for r in rig.rows("Event")] == ["web01"]


def test_rows_of_a_table_pass_its_transform_whatever_made_them(rig: Rig) -> None:
    use(
        rig,
        "Microsoft-Table-Syslog",
        Flow("source | where HostName != 'db'"),
        Flow("source | where HostName == 'db' | project TimeGenerated, RawData = SyslogMessage", "Copy_CL"),
    )
    settle(rig, send(rig, SECRET, "<34>1 2024-05-01T10:00:02Z db cron - - - ran"))
    (row,) = rig.rows("Syslog")
    assert row["HostName"] == "web01"
    assert row["SourceSystem"] == "syslog"
    assert row["_TimeReceived"] is not None
    assert [r["RawData"] for r in rig.rows("Copy_CL")] == ["ran"]


CONN_LINES = [{"_path": "conn", "ts": 1714557600.0, "id.orig_h": "10.0.0.1", "uid": "C1", "id.resp_h": "10.0.0.2"}]


def conn(rig: Rig, *rows: dict[str, object]) -> None:
    data = b"\n".join(json.dumps(r).encode() for r in rows)
    settle(rig, rig.intake.submit([Body("jsonl", data, NOW, {"token": "zeek"})]).result(60))


@pytest.mark.parametrize("on_error", ["dead-letter", "pass"])
def test_a_failing_transform_loses_no_row(rig: Rig, on_error: Any) -> None:
    told: list[tuple[str, int]] = []
    transforms(rig).failed = lambda t, reason, rows: told.append((reason, rows))
    use(rig, "zeek.conn", Flow("source | where tolong(orig_bytes) > 0"), on_error=on_error)
    conn(rig, *CONN_LINES)  # a log without the column
    assert len(told) == 1
    assert "orig_bytes" in told[0][0]
    assert transforms(rig).runs()["t"].rows_failed == 1
    if on_error == "pass":
        assert [r["SrcIpAddr"] for r in rig.rows("ASimNetworkSessionLogs")] == ["10.0.0.1"]
        return
    assert not rig.rows("ASimNetworkSessionLogs")
    (letter,) = rig.rows("DeadLetter_CL")
    assert (letter["Code_s"], letter["Body_s"], letter["Rows_d"], letter["Whole_b"]) == ("ING0025", "batch", 1, True)
    use(rig, "zeek.conn", Flow("source | where uid == 'C1'"))
    replay(rig, letter)
    assert [r["SrcIpAddr"] for r in rig.rows("ASimNetworkSessionLogs")] == ["10.0.0.1"]


def replay(rig: Rig, letter: dict[str, Any]) -> None:
    raw, meta = base64.b64decode(letter["Raw_s"]), json.loads(letter["Meta_s"])
    body = body_of_letter(letter["Id_s"], letter["Attempt_d"], letter["Body_s"], raw, meta, "ann")
    settle(rig, rig.intake.submit([body]).result(60))


def test_rows_that_a_parser_failed_on_are_replayed_through_it_alone(tmp_path: Path) -> None:
    whole = Parser("whole", "syslog", "Syslog", "source | project TimeGenerated = TimeCreated, HostName")
    # An output that the table's type can't hold: it compiles, and fails on the rows.
    bad = Parser("bad", "syslog", "Event", "source | project TimeGenerated = TimeCreated, EventID = SyslogMessage")
    good = Parser("bad", "syslog", "Event", "source | project TimeGenerated = TimeCreated, Computer = SyslogMessage")
    rig = Rig(tmp_path, whole, bad).start()
    settle(rig, send(rig, SECRET, SECRET))
    letters = rig.rows("DeadLetter_CL")
    assert [(d["Code_s"], d["Rows_d"]) for d in letters] == [("ING0023", 2)]
    assert len(rig.rows("Syslog")) == 2
    rig.close()
    again = Rig(tmp_path, whole, good).start()
    replay(again, letters[0])
    assert len(again.rows("Syslog")) == 2
    assert len(again.rows("Event")) == 2
    states = [d["State_s"] for d in again.rows("DeadLetter_CL")]
    assert sorted(states) == ["Dead", "Replayed"]
    again.close()


def test_a_switched_off_transform_does_nothing(rig: Rig) -> None:
    use(rig, "syslog", Flow("source | where false"), enabled=False)
    settle(rig, send(rig, SECRET))
    assert len(rig.rows("Syslog")) == 1


def test_a_preview_shows_the_rows_before_and_after_and_changes_nothing(rig: Rig, tmp_path: Path) -> None:
    settle(rig, send(rig, *(SECRET.replace("ann", f"user{n}") for n in range(150))))
    tried = Transform(
        "t", "mine", "syslog", (Flow("source | where SyslogMessage has 'user149' | project-away HostIP"),)
    )
    rows = transforms(rig).samples.last("syslog")
    assert rows is not None
    before, (after,) = transforms(rig).preview(tried, rows)
    assert before.table.num_rows == 100
    assert len(after.result.dicts()) == 1
    assert "HostIP" not in after.result.dicts()[0]
    assert len(rig.rows("Syslog")) == 150
    # They are there after a restart, too.
    transforms(rig).samples.save()
    assert Samples(tmp_path / "samples").last("syslog", 1) == rows.slice(99)


def test_a_replay_survives_a_crash_and_is_done_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path, SYSLOG).start()
    data = b'{"Type": "AuditLogs", "OperationName": "1"'
    settle(rig, rig.intake.submit([Body("jsonl", data, NOW, {"token": "t"})]).result(60))
    (letter,) = rig.rows("DeadLetter_CL")
    assert base64.b64decode(letter["Raw_s"]) == data
    # What was broken is whole now, as after a decoder's repair.
    letter["Raw_s"] = base64.b64encode(data + b"}").decode()
    replay(rig, letter)
    rig.crash()
    again = Rig(tmp_path, SYSLOG).start()
    assert [r["OperationName"] for r in again.rows("AuditLogs")] == ["1"]
    assert sorted(d["State_s"] for d in again.rows("DeadLetter_CL")) == ["Dead", "Replayed"]
    again.close()


def test_a_row_of_a_file_is_replayed_with_the_files_head(rig: Rig) -> None:
    head = "#Software: Microsoft Internet Information Services 10.0\n#Fields: date time cs-method cs-uri-stem c-ip\n"
    body = (head + "2024-05-01 10:00:00 GET\n").encode()
    settle(rig, rig.intake.submit([Body("file", body, NOW, {"path": "/x/u_ex.log", "format": "w3c"})]).result(60))
    (letter,) = rig.rows("DeadLetter_CL")
    assert base64.b64decode(letter["Raw_s"]).decode() == head + "2024-05-01 10:00:00 GET"
    letter["Raw_s"] = base64.b64encode(base64.b64decode(letter["Raw_s"]) + b" / 10.0.0.1").decode()
    replay(rig, letter)
    (row,) = rig.rows("Unparsed_CL")
    assert json.loads(row["RawData"])["c-ip"] == "10.0.0.1"


def test_a_replay_that_gives_nothing_stays_a_letter(rig: Rig) -> None:
    settle(rig, rig.intake.submit([body_of_letter("abc", 0, "jsonl", b"\n", {"token": "t"}, "ann")]).result(60))
    found = {d["State_s"]: d for d in rig.rows("DeadLetter_CL")}
    assert found["Dead"]["Code_s"] == "ING0026"
    assert found["Replayed"]["Id_s"] == "abc"
