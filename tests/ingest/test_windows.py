# ruff: noqa: DTZ001 - columns hold instants without zone
"""Windows events in the many shapes that they travel in, all giving the same columns."""

from __future__ import annotations

import json
import struct
from datetime import datetime
from pathlib import Path

import pytest

from tests.ingest.support import EVTX, OTRF, decode, decode_bytes, needs_evtx, needs_otrf, zipped
from tocsin.ingest import codes
from tocsin.ingest.decoders.windows import EventBuffer

XML = (
    "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Sysmon' "
    "Guid='{5770385f-c22a-43e0-bf4c-06f5698ffbd9}'/><EventID>1</EventID><Version>5</Version><Level>4</Level><Task>1</Task><Opcode>0</Opcode>"
    "<Keywords>0x8000000000000000</Keywords><TimeCreated SystemTime='2024-05-01T10:00:00.1234567Z'/><EventRecordID>42</EventRecordID>"
    "<Correlation/><Execution ProcessID='100' ThreadID='200'/><Channel>Microsoft-Windows-Sysmon/Operational</Channel><Computer>pc1</Computer>"
    "<Security UserID='S-1-5-18'/></System><EventData><Data Name='Image'>C:\\a &amp; b.exe</Data><Data Name='ProcessId'>7</Data></EventData></Event>"
)
WINLOGBEAT = {
    "@timestamp": "2024-05-01T10:00:00.123Z", "message": "Process Create", "log": {"level": "information"}, "event": {"code": "1"},
    "winlog": {"channel": "Microsoft-Windows-Sysmon/Operational", "provider_name": "Microsoft-Windows-Sysmon", "event_id": "1", "task": "1",
               "computer_name": "pc1", "record_id": 42, "process": {"pid": 100, "thread": {"id": 200}}, "user": {"identifier": "S-1-5-18"},
               "provider_guid": "{5770385f-c22a-43e0-bf4c-06f5698ffbd9}", "event_data": {"Image": "C:\\a & b.exe", "ProcessId": 7}},
}  # fmt: skip
OLD_WINLOGBEAT = {
    "@timestamp": "2024-05-01T10:00:00.123Z", "log_name": "Microsoft-Windows-Sysmon/Operational", "source_name": "Microsoft-Windows-Sysmon",
    "event_id": 1, "computer_name": "pc1", "record_number": "42", "level": "Information", "process_id": 100, "thread_id": 200,
    "event_data": {"Image": "C:\\a & b.exe", "ProcessId": "7"}, "message": "x",
}  # fmt: skip
FLAT = {
    "SourceName": "Microsoft-Windows-Sysmon", "Channel": "Microsoft-Windows-Sysmon/Operational", "Hostname": "pc1", "EventID": 1, "Level": "4",
    "TimeCreated": "2024-05-01T10:00:00.123Z", "@timestamp": "2024-05-01T10:00:05Z", "Message": "x", "Task": "1", "Image": "C:\\a & b.exe",
    "ProcessId": "7",
}  # fmt: skip
NXLOG = {
    "SourceName": "Microsoft-Windows-Sysmon", "Channel": "Microsoft-Windows-Sysmon/Operational", "Hostname": "pc1", "EventID": 1, "port": 5,
    "host": "collector", "tags": ["t"], "@version": "1", "EventType": "INFO", "SeverityValue": 2, "Severity": "INFO", "RecordNumber": 42,
    "EventTime": "2024-05-01 06:00:00", "@timestamp": "2024-05-01T10:00:02.000Z", "UtcTime": "2024-05-01 10:00:00.123", "ThreadID": 200,
    "ExecutionProcessID": 100, "Keywords": -9223372036854775808, "Image": "C:\\a & b.exe", "ProcessId": "7", "Opcode": "Info", "Task": 1,
    "SourceModuleName": "eventlog", "EventReceivedTime": "2024-05-01 06:00:03", "UserID": "S-1-5-18",
}  # fmt: skip
PYEVTX = {
    "Event": {
        "#attributes": {"xmlns": "x"},
        "System": {
            "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon", "Guid": "5770385F-C22A-43E0-BF4C-06F5698FFBD9"}},
            "EventID": {"#attributes": {"Qualifiers": 0}, "#text": 1}, "Level": 4, "Task": 1, "Opcode": 0, "Keywords": "0x8000000000000000",
            "TimeCreated": {"#attributes": {"SystemTime": "2024-05-01T10:00:00.123456Z"}}, "EventRecordID": 42,
            "Execution": {"#attributes": {"ProcessID": 100, "ThreadID": 200}}, "Channel": "Microsoft-Windows-Sysmon/Operational",
            "Computer": "pc1", "Security": {"#attributes": {"UserID": "S-1-5-18"}},
        },
        "EventData": {"Image": "C:\\a & b.exe", "ProcessId": 7},
    }
}  # fmt: skip
LOG_ANALYTICS = {
    "TimeGenerated": "2024-05-01T10:00:00.123Z", "Type": "WindowsEvent", "Provider": "Microsoft-Windows-Sysmon", "EventID": 1, "EventLevel": 4,
    "Channel": "Microsoft-Windows-Sysmon/Operational", "Computer": "pc1", "Task": 1, "TenantId": "t", "EventRecordId": "42",
    "EventData": json.dumps({"Image": "C:\\a & b.exe", "ProcessId": "7"}), "EventLevelName": "Information", "ManagementGroupName": "m",
}  # fmt: skip

SHAPES = {
    "xml": XML.encode(),
    "xml document": f"<?xml version='1.0'?>\n<Events>\n{XML}\n</Events>".encode(),
    "xml utf-16": f"\ufeff<?xml version='1.0' encoding='utf-16'?><Events>{XML}</Events>".encode("utf-16-le"),
    "winlogbeat": json.dumps(WINLOGBEAT).encode(),
    "winlogbeat 6": json.dumps(OLD_WINLOGBEAT).encode(),
    "flat": json.dumps(FLAT).encode(),
    "nxlog": json.dumps(NXLOG).encode(),
    "pyevtx-rs": json.dumps(PYEVTX, indent=1).encode(),
    "Log Analytics": json.dumps([LOG_ANALYTICS]).encode(),
}


@pytest.mark.parametrize("data", SHAPES.values(), ids=SHAPES)
def test_every_shape_gives_the_same_event(tmp_path: Path, data: bytes) -> None:
    got = decode_bytes(tmp_path, data)
    (row,) = got.rows("windows.event")
    assert not got.dead
    assert (row["Provider"], row["Channel"], row["EventID"], row["Computer"]) == (
        "Microsoft-Windows-Sysmon", "Microsoft-Windows-Sysmon/Operational", 1, "pc1",
    )  # fmt: skip
    assert row["TimeCreated"].replace(microsecond=0) == datetime(2024, 5, 1, 10)
    assert row["TimeCreated"].microsecond // 1000 == 123
    data_of = json.loads(row["EventData"])
    assert (data_of["Image"], data_of["ProcessId"]) == ("C:\\a & b.exe", "7")
    assert not {"port", "host", "tags", "TenantId", "EventType", "SourceModuleName", "Channel"} & data_of.keys()
    assert row["EventRecordID"] in (42, None)
    assert row["ProcessID"] in (100, None)
    assert row["Level"] in (4, None)
    assert row["Keywords"] in ("0x8000000000000000", None)


def test_wfp_keeps_its_own_process_id(tmp_path: Path) -> None:
    flat = {
        "EventID": 5156,
        "Channel": "Security",
        "SourceName": "s",
        "ProcessID": "3428",
        "TimeCreated": "2020-10-19 12:28:44.333",
    }
    (row,) = decode_bytes(tmp_path, json.dumps(flat).encode()).rows("windows.event")
    assert row["ProcessID"] is None
    assert json.loads(row["EventData"]) == {"ProcessID": "3428"}


def test_a_local_clock_is_set_right_by_the_rows_that_know_utc(tmp_path: Path) -> None:
    rows = [
        {
            "EventID": 1,
            "Channel": "Sysmon",
            "TimeCreated": "2020-10-19 08:00:00.500",
            "UtcTime": "2020-10-19 12:00:00.400",
        },
        {"EventID": 4688, "Channel": "Security", "TimeCreated": "2020-10-19 08:00:01.000"},
    ]
    got = decode_bytes(tmp_path, b"\n".join(json.dumps(r).encode() for r in rows)).rows("windows.event")
    assert [r["TimeCreated"] for r in got] == [
        datetime(2020, 10, 19, 12, 0, 0, 400_000),
        datetime(2020, 10, 19, 12, 0, 1),
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            '<EventData xmlns="x"><Data Name="A">1</Data><Data>two</Data><Data>three</Data></EventData>',
            {"A": "1", "Data": "two", "Data_1": "three"},
        ),
        ('<DataItem type="System.XmlData"><EventData><Data>x &lt; y</Data></EventData></DataItem>', {"Data": "x < y"}),
        ('["one","two"]', {"Data": "one", "Data_1": "two"}),
        (["one", 2], {"Data": "one", "Data_1": "2"}),
        ({"A": 1, "B": None, "C": True}, {"A": "1", "B": "", "C": "true"}),
        ({"Data": [{"@Name": "A", "#text": "1"}, {"@Name": "B"}]}, {"A": "1", "B": ""}),
        ("<EventData><Data Name='A'>1</Data>", {"Data": "<EventData><Data Name='A'>1</Data>"}),
        ("plain", {"Data": "plain"}),
        (
            "<!DOCTYPE x [<!ENTITY a 'b'>]><EventData>&a;</EventData>",
            {"Data": "<!DOCTYPE x [<!ENTITY a 'b'>]><EventData>&a;</EventData>"},
        ),
    ],
)
def test_event_data_in_every_form_of_exports(tmp_path: Path, value: object, expected: dict[str, str]) -> None:
    row = {
        "TimeGenerated": "2024-05-01T10:00:00Z",
        "Type": "SecurityEvent",
        "EventID": 1,
        "Channel": "Security",
        "EventData_dynamic": value,
    }
    got = decode_bytes(tmp_path, json.dumps(row).encode())
    assert got.batches[0].event_data()[0] == expected


def test_malformed_xml_events_are_dead_letters(tmp_path: Path) -> None:
    bad = XML.replace("</System>", "</Sys>")
    odd = XML.replace("C:\\a", "C:\x01\\a&#x2;")
    got = decode_bytes(tmp_path, (XML + bad + odd + XML + "<Event xmlns='x'><System>").encode())
    assert len(got.rows("windows.event")) == 3
    assert [d.code for d in got.dead] == [codes.XML_EVENT, codes.XML_EVENT]
    assert got.dead[0].place.offset == len(XML)


def test_an_over_long_xml_event_is_passed_over(tmp_path: Path) -> None:
    long = XML.replace("C:\\a", "x" * 300_000)
    got = decode_bytes(tmp_path, (XML + long + XML).encode(), max_record_bytes=100_000)
    assert len(got.rows("windows.event")) == 2
    assert [d.code for d in got.dead] == [codes.TOO_LONG]


def count_records(data: bytes) -> int:
    """An independent count: walks every chunk's records by their own lengths."""
    count = 0
    for start in range(4096, len(data) - 511, 65_536):
        if data[start : start + 8] != b"ElfChnk\0":
            continue
        free = struct.unpack_from("<I", data, start + 48)[0]
        at = start + 512
        while at + 8 <= min(start + free, len(data)):
            magic, size = struct.unpack_from("<II", data, at)
            if magic != 0x2A2A or size < 24:
                break
            count += 1
            at += size
    return count


@needs_evtx
def test_every_evtx_record_is_read() -> None:
    expected = {
        str(p): count_records(p.read_bytes())
        for p in EVTX.rglob("*")
        if p.is_file() and p.read_bytes()[:8] == b"ElfFile\0"
    }
    got = decode(EVTX)
    assert {r.path: r.events for r in got.reports if r.format == "evtx"} == expected
    assert sum(expected.values()) > 5000
    assert not got.dead
    assert not [r for r in got.reports if r.error]


def _sample() -> bytes:
    return (EVTX / "UACME_59_Sysmon.evtx").read_bytes() if EVTX.is_dir() else b""


@needs_evtx
def test_evtx_fields() -> None:
    got = decode(EVTX / "UACME_59_Sysmon.evtx")
    row = got.rows("windows.event")[0]
    assert row["Channel"] == "Microsoft-Windows-Sysmon/Operational"
    assert row["ProviderGuid"].startswith("{")
    assert row["TimeCreated"].year > 2015
    assert got.report.bytes > 60_000


@needs_evtx
@pytest.mark.parametrize("cut", [0, 3, 100, 4000, 4096, 5000, 9000, 30_000])
def test_truncated_evtx(tmp_path: Path, cut: int) -> None:
    whole = _sample()
    data = whole[:cut]
    got = decode_bytes(tmp_path, data)
    if cut < 8:
        assert got.report.skipped or got.report.error
        return
    assert got.report.error is not None
    assert got.report.error.code == codes.EVTX_TRUNCATED
    assert str(tmp_path) in str(got.report.error)
    assert got.report.events <= count_records(whole)


@needs_evtx
def test_records_of_an_incomplete_last_chunk_are_saved(tmp_path: Path) -> None:
    whole = (max(EVTX.rglob("*.evtx"), key=lambda p: p.stat().st_size)).read_bytes()
    # Into the middle of the second chunk.
    cut = 4096 + 65_536 + 40_000
    first = count_records(whole[: 4096 + 65_536])
    got = decode_bytes(tmp_path, whole[:cut])
    assert got.report.error is not None
    assert got.report.events >= first
    assert "chunk 2" in got.report.error.message


@needs_evtx
def test_a_damaged_chunk_is_a_dead_letter_and_the_rest_is_read(tmp_path: Path) -> None:
    largest = max(EVTX.rglob("*.evtx"), key=lambda p: p.stat().st_size).read_bytes()
    total, per_chunk = count_records(largest), count_records(largest[: 4096 + 65_536])
    data = bytearray(largest)
    data[4096 + 65_536 : 4096 + 65_536 + 8] = b"XXXXXXXX"
    got = decode_bytes(tmp_path, bytes(data))
    (dead,) = got.dead
    assert dead.code == codes.EVTX_CHUNK
    assert dead.place.offset == 4096 + 65_536
    assert dead.raw[:8] == b"XXXXXXXX"
    assert total - 2 * per_chunk < got.report.events < total
    assert got.report.unreadable


@needs_evtx
def test_evtx_within_a_zip(tmp_path: Path) -> None:
    got = decode_bytes(tmp_path, zipped({"log.bin": _sample()}))
    assert got.report.events == count_records(_sample())


@needs_otrf
def test_golden_saml_rows_find_their_tables() -> None:
    got = decode(OTRF / "compound" / "GoldenSAMLADFSMailAccess")
    assert got.kinds() == {
        "table.AuditLogs": 4, "table.DeviceEvents": 5, "table.IdentityDirectoryEvents": 2, "table.CloudAppEvents": 2, "table.OfficeActivity": 1,
        "windows.event": 38,
    }  # fmt: skip
    assert not got.dead
    saml = next(r for r in got.rows("windows.event") if r["EventID"] == 412)
    assert json.loads(saml["EventData"])["Data_2"].endswith("SecureConversation")
    ldap = got.rows("table.DeviceEvents")[0]
    assert ldap["ActionType"] == "LdapSearch"
    assert json.loads(ldap["AdditionalFields"])["ScopeOfSearch"] == "Base"


@needs_otrf
def test_log4shell_linux_rows() -> None:
    got = decode(OTRF / "compound" / "Log4Shell")
    assert got.kinds() == {
        "windows.event": 526, "table.Syslog": 143, "linux.auditd": 50, "linux.sysmon": 77, "table.VMConnection": 5,
    }  # fmt: skip
    assert sum(r.events for r in got.reports) == 39 + 50 + 93 + 487 + 5
    assert {r.format for r in got.reports if r.skipped} == {"pcap", "pcapng"}
    assert not [r for r in got.reports if r.unreadable]
    audit = got.rows("linux.auditd")[0]
    assert (audit["Serial"], audit["Computer"], json.loads(audit["Types"])) == (84138, "UBUNTU5", ["AUOMS_EXECVE"])
    fields = json.loads(audit["Fields"])
    assert fields["proctitle"].startswith("/usr/lib/jvm/java-1.8.0-openjdk-amd64/bin/java -Djava.util.logging")
    assert fields["user"] == "tomcat"
    sysmon = got.rows("linux.sysmon")[0]
    assert (sysmon["EventID"], sysmon["Channel"], sysmon["Computer"]) == (5, "Linux-Sysmon/Operational", "UBUNTU5")


@needs_otrf
def test_a_large_json_file_is_read_whole() -> None:
    got = decode(OTRF / "compound" / "LSASS_campaign_01")
    assert got.kinds()["windows.event"] == 53_698
    assert got.kinds()["zeek.conn"] == 112
    assert max(len(b) for b in got.batches) < 12_000
    first = min(
        r["TimeCreated"]
        for b in got.batches
        if b.source == "windows.event"
        for r in b.rows.select(["TimeCreated"]).to_pylist()
    )
    assert first == datetime(2023, 8, 15, 9, 53, 46, 118_000)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_no_level(number: float) -> None:
    """MessagePack carries these, where JSON can't."""
    buffer = EventBuffer()
    buffer.add_flat({"TimeCreated": "2026-05-01T10:00:00Z", "EventID": number, "Level": number, "Channel": "Security"})
    (row,) = buffer.take().to_pylist()
    assert (row["EventID"], row["Level"], row["Channel"]) == (None, None, "Security")
