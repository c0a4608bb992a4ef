# ruff: noqa: E501, DTZ001 - log lines are as long as they are; columns hold instants without zone
"""Text formats: audit logs, syslog, Zeek, CSV; and what is no log at all."""

from __future__ import annotations

import csv
import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ingest.support import OTRF, decode, decode_bytes, needs_otrf
from tocsin.ingest import codes
from tocsin.ingest.decoders.auditd import auoms_row, parse_record
from tocsin.ingest.decoders.sniff import sniff
from tocsin.ingest.decoders.syslog import parse_syslog
from tocsin.ingest.decoders.times import parse_time, parse_times
from tocsin.ingest.decoders.zeek import zeek_row

AUDIT = """\
type=SYSCALL msg=audit(1604994496.155:92733): arch=c000003e syscall=59 success=yes exit=0 a0=558e251634a0 a1=5 a2=0 a3=8 items=2 ppid=11 pid=12 auid=1000 uid=0 gid=0 euid=0 tty=pts0 ses=3 comm="sh" exe="/usr/bin/dash" key="exec"\x1dARCH=x86_64 SYSCALL=execve AUID="ubuntu" UID="root"
type=EXECVE msg=audit(1604994496.155:92733): argc=3 a0="sh" a1="-c" a2=6563686F202268692074686572652220203E202F746D702F78
type=SYSCALL msg=audit(1604994496.156:92734): arch=c000003e syscall=42 success=no exit=-115 pid=13 comm="nc" exe="/bin/nc"
type=CWD msg=audit(1604994496.155:92733): cwd="/root"
type=PATH msg=audit(1604994496.155:92733): item=0 name="/usr/bin/sh" inode=7 nametype=NORMAL
type=PATH msg=audit(1604994496.155:92733): item=1 name=2F746D702F6120622F C nametype=NORMAL
type=SOCKADDR msg=audit(1604994496.156:92734): saddr=0200115C0A0000010000000000000000
type=PROCTITLE msg=audit(1604994496.155:92733): proctitle=7368002D63006563686F
type=EOE msg=audit(1604994496.155:92733):
node=web1 type=USER_LOGIN msg=audit(1604994500.001:92740): pid=5 uid=0 auid=4294967295 ses=4294967295 msg='op=login acct="root" exe="/usr/sbin/sshd" hostname=? addr=10.0.0.9 terminal=ssh res=failed'
"""


def test_records_of_an_audit_event_are_merged(tmp_path: Path) -> None:
    got = decode_bytes(tmp_path, AUDIT.encode())
    assert got.report.format == "auditd"
    by_serial = {r["Serial"]: r for r in got.rows("linux.auditd")}
    assert set(by_serial) == {92733, 92734, 92740}
    event = by_serial[92733]
    assert json.loads(event["Types"]) == ["SYSCALL", "EXECVE", "CWD", "PATH", "PROCTITLE"]
    assert event["TimeCreated"] == datetime(2020, 11, 10, 7, 48, 16, 155_000)
    fields = json.loads(event["Fields"])
    assert fields["argv"] == ["sh", "-c", 'echo "hi there"  > /tmp/x']
    assert fields["cmdline"] == 'sh -c echo "hi there"  > /tmp/x'
    assert (fields["exe"], fields["cwd"], fields["AUID"], fields["proctitle"], fields["a0"]) == (
        "/usr/bin/dash", "/root", "ubuntu", "sh -c echo", "558e251634a0",
    )  # fmt: skip
    assert [p["name"] for p in fields["paths"]] == ["/usr/bin/sh", "/tmp/a b/"]
    connect = json.loads(by_serial[92734]["Fields"])
    assert (connect["saddr_fam"], connect["laddr"], connect["lport"]) == ("inet", "10.0.0.1", "4444")
    login = json.loads(by_serial[92740]["Fields"])
    assert (login["acct"], login["addr"], login["res"], by_serial[92740]["Computer"]) == (
        "root",
        "10.0.0.9",
        "failed",
        "web1",
    )


def test_a_bad_line_in_an_audit_log_is_a_dead_letter(tmp_path: Path) -> None:
    lines = AUDIT.split("\n")
    got = decode_bytes(tmp_path, "\n".join([lines[0], "garbage here", "----", lines[1]]).encode())
    assert [(d.code, d.place.line) for d in got.dead] == [(codes.AUDITD, 2)]
    assert len(got.rows("linux.auditd")) == 1


@needs_otrf
def test_a_real_audit_log() -> None:
    got = decode(OTRF / "atomic" / "linux" / "discovery" / "host" / "sh_arp_cache.zip")
    assert got.report.format == "auditd"
    assert any(json.loads(r["Fields"]).get("exe", "").endswith("arp") for r in got.rows("linux.auditd"))


@given(st.text(max_size=200))
def test_no_text_breaks_the_audit_parsers(text: str) -> None:
    assert isinstance(parse_record(text, "EXECVE"), dict)
    row = auoms_row(f"type=AUOMS_EXECVE audit(1.0:2): {text}", "h")
    assert row is None or row["Serial"] == 2
    row = auoms_row(f"type=SYSCALL msg=audit(99999999999.0:2): {text}", "h")
    assert row is None or isinstance(row["Fields"], str)


@given(st.lists(st.text(min_size=1, max_size=20).filter(lambda t: "\0" not in t), min_size=1, max_size=5))
def test_arguments_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, argv: list[str]) -> None:
    def encode(text: str) -> str:
        plain = all(0x21 <= ord(c) < 0x7F and c not in "\"'" for c in text)
        return f'"{text}"' if plain else text.encode("utf-8", "replace").hex().upper()

    line = f"type=EXECVE msg=audit(1604994496.155:7): argc={len(argv)} " + " ".join(
        f"a{i}={encode(a)}" for i, a in enumerate(argv)
    )
    got = decode_bytes(tmp_path_factory.mktemp("a"), line.encode())
    assert json.loads(got.rows("linux.auditd")[0]["Fields"])["argv"] == [
        a.encode("utf-8", "replace").decode() for a in argv
    ]


NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("<34>Oct 11 22:14:15 mymachine su: 'su root' failed", ("2023-10-11 22:14:15+00:00", "mymachine", "auth", "crit", "su", None, "'su root' failed")),
        ("<13>Feb  5 17:32:18 10.0.0.99 sshd[123]: x", ("2024-02-05 17:32:18+00:00", "10.0.0.99", "user", "notice", "sshd", "123", "x")),
        ("<165>1 2003-10-11T22:14:15.003Z h evntslog 7 ID47 [ex@1 a=\"b\\]c\"] \ufeffAn event", ("2003-10-11T22:14:15.003Z", "h", "local4", "notice", "evntslog", "7", "An event")),
        ("<14>1 - - - - - -", (None, None, "user", "info", None, None, "")),
        ("Mar  1 11:00:00 host kernel: [1.0] a: b", ("2024-03-01 11:00:00+00:00", "host", None, None, "kernel", None, "[1.0] a: b")),
        ("2024-02-29T10:00:00.123456+01:00 host app[9]: hi", ("2024-02-29T10:00:00.123456+01:00", "host", None, None, "app", "9", "hi")),
        ("<189>*Mar  1 2024 10:00:00: %SYS-5-CONFIG_I: Configured", ("2024-03-01 10:00:00+00:00", None, "local7", "notice", "%SYS-5-CONFIG_I", None, "Configured")),
        ("<999>x", (None, None, None, None, None, None, "<999>x")),
        ("<13>no header at all", (None, None, "user", "notice", None, None, "no header at all")),
    ],
)  # fmt: skip
def test_syslog_headers(line: str, expected: tuple[object, ...]) -> None:
    row = parse_syslog(line)
    row["TimeCreated"] = None if row["TimeCreated"] is None else str(parse_syslog(line, received=NOW)["TimeCreated"])
    names = ("TimeCreated", "HostName", "Facility", "SeverityLevel", "ProcessName", "ProcessID", "SyslogMessage")
    assert tuple(row[n] for n in names) == expected


def test_structured_data_and_the_peer() -> None:
    row = parse_syslog('<165>1 - - - - - [a@1 k="v \\"q\\""][b] m', received=NOW, peer="10.1.1.1")
    assert json.loads(row["StructuredData"]) == {"a@1": {"k": 'v "q"'}, "b": {}}
    assert (row["HostName"], row["HostIP"], row["TimeCreated"]) == ("10.1.1.1", "10.1.1.1", NOW)


def test_a_year_is_guessed_around_new_year() -> None:
    received = datetime(2024, 1, 1, 0, 0, 5, tzinfo=UTC)
    assert str(parse_syslog("<1>Dec 31 23:59:59 h a: b", received=received)["TimeCreated"])[:10] == "2023-12-31"
    assert str(parse_syslog("<1>Jan  1 10:00:00 h a: b", received=received)["TimeCreated"])[:10] == "2024-01-01"
    assert (
        str(parse_syslog("<1>Feb 29 10:00:00 h a: b", received=datetime(2025, 1, 2, tzinfo=UTC))["TimeCreated"])[:10]
        == "2024-02-29"
    )


def test_a_syslog_file(tmp_path: Path) -> None:
    text = "Mar  1 11:00:00 web sshd[1]: Failed password\n  and more\nMar  1 11:00:01 web cron: x\n"
    got = decode_bytes(tmp_path, text.encode())
    assert got.report.format == "syslog"
    assert [r["SyslogMessage"] for r in got.rows("syslog")] == ["Failed password\n  and more", "x"]


def test_sysmon_for_linux_in_syslog_lines(tmp_path: Path) -> None:
    xml = (
        '<Event><System><Provider Name="Linux-Sysmon" Guid="{x}"/><EventID>1</EventID><TimeCreated SystemTime="2024-05-01T10:00:00.5Z"/>'
        '<Channel>Linux-Sysmon/Operational</Channel><Computer>u1</Computer></System><EventData><Data Name="Image">/bin/sh</Data></EventData></Event>'
    )
    got = decode_bytes(tmp_path, f"May  1 10:00:00 u1 sysmon: {xml}\nMay  1 10:00:01 u1 sysmon: {xml}\n".encode())
    assert got.kinds() == {"syslog": 2, "linux.sysmon": 2}
    assert got.report.events == 2
    assert got.rows("linux.sysmon")[0]["EventID"] == 1


@given(st.text(max_size=300), st.booleans())
def test_no_text_breaks_the_syslog_parser(text: str, priority: bool) -> None:
    row = parse_syslog(("<34>" if priority else "") + text, received=NOW, peer="p")
    assert isinstance(row["SyslogMessage"], str)
    assert row["HostIP"] == "p"


@given(
    st.integers(0, 191),
    st.from_regex(r"[a-z][a-z0-9\-.]{0,20}", fullmatch=True),
    st.from_regex(r"[a-z][a-z0-9_\-]{0,15}", fullmatch=True),
    st.integers(1, 99999),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60).map(str.strip),
)
def test_5424_messages_come_back(priority: int, host: str, app: str, pid: int, message: str) -> None:
    row = parse_syslog(f"<{priority}>1 2024-05-01T10:00:00Z {host} {app} {pid} - - {message}")
    assert (row["HostName"], row["ProcessName"], row["ProcessID"], row["SyslogMessage"]) == (
        host,
        app,
        str(pid),
        message.removeprefix("\ufeff"),
    )


ZEEK = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tlocal\ttunnel\tnote\n"
    "#types\ttime\tstring\taddr\tbool\tset[string]\tstring\n1692161622.036086\tC1\t10.0.0.1\tT\t(empty)\t-\n"
    "1692161623.5\tC2\t10.0.0.2\tF\ta,b\tx\\x09y\n1692161623.5\tC3\tshort\n#close\t2023\n"
)


def test_zeek_tsv(tmp_path: Path) -> None:
    got = decode_bytes(tmp_path, ZEEK.encode())
    assert got.report.format == "zeek-tsv"
    first, second = got.rows("zeek.conn")
    assert first == {
        "ts": datetime(2023, 8, 16, 4, 53, 42, 36_086), "uid": "C1", "id.orig_h": "10.0.0.1", "local": "true", "tunnel": "[]", "note": None,
    }  # fmt: skip
    assert (second["tunnel"], second["note"], second["local"]) == ('["a","b"]', "x\ty", "false")
    assert [(d.code, d.place.line) for d in got.dead] == [(codes.ZEEK_ROW, 10)]


@pytest.mark.parametrize(
    "row",
    [
        {
            "_path": "dns",
            "ts": 1692161622.5,
            "uid": "C",
            "id.orig_h": "1.1.1.1",
            "query": "x",
            "answers": ["a"],
            "AA": True,
        },
        {
            "@stream": "dns",
            "@proc": "zeek",
            "ts": 1692161622.5,
            "uid": "C",
            "id_orig_h": "1.1.1.1",
            "query": "x",
            "answers": ["a"],
            "AA": True,
        },
        {
            "ts": "2023-08-16T04:53:42.5Z",
            "uid": "C",
            "id.orig_h": "1.1.1.1",
            "query": "x",
            "trans_id": 1,
            "answers": ["a"],
            "AA": True,
        },
        {
            "_path": "dns",
            "ts": 1692161622.5,
            "uid": "C",
            "id": {"orig_h": "1.1.1.1"},
            "query": "x",
            "answers": ["a"],
            "AA": True,
        },
    ],
)
def test_zeek_json(tmp_path: Path, row: dict[str, object]) -> None:
    got = decode_bytes(tmp_path, json.dumps(row).encode()).rows("zeek.dns")
    assert (got[0]["id.orig_h"], got[0]["answers"], got[0]["AA"]) == ("1.1.1.1", '["a"]', "true")
    assert got[0]["ts"] == datetime(2023, 8, 16, 4, 53, 42, 500_000)


@given(
    st.dictionaries(
        st.sampled_from(["ts", "_path", "uid", "id", "@stream", "query"]),
        st.none() | st.text() | st.integers() | st.lists(st.none()),
    )
)
def test_no_object_breaks_the_zeek_shapes(row: dict[str, object]) -> None:
    assert zeek_row(row) is None or isinstance(zeek_row(row), tuple)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_zeek_decoder(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    got = decode_bytes(tmp_path_factory.mktemp("z"), ZEEK.encode() + tail)
    assert got.report.error is None
    assert got.report.events >= 2


@needs_otrf
def test_real_zeek_json() -> None:
    got = decode(OTRF / "compound" / "apt29" / "day1" / "zeek" / "combined_zeek.log")
    assert got.report.events == sum(got.kinds().values())
    assert got.report.events > 1500
    assert {k.split(".")[0] for k in got.kinds()} == {"zeek"}
    assert not got.dead


def test_a_sentinel_export_as_csv(tmp_path: Path) -> None:
    text = (
        "TimeGenerated [UTC],UserPrincipalName,AppDisplayName,IPAddress,ResultType,DeviceDetail,Type\r\n"
        '"8/2/2021, 1:29:25.983 PM",a@x.com,"Office, 365",1.2.3.4,0,"{""os"": ""W""}",SigninLogs\r\n'
        '"8/2/2021, 1:29:26.000 PM","b\n@x.com",,1.2.3.5,50126,,SigninLogs\r\nshort,row\r\n'
    )
    got = decode_bytes(tmp_path, text.encode())
    assert got.report.format == "csv"
    first, second = got.rows("table.SigninLogs")
    assert (first["AppDisplayName"], first["DeviceDetail"], first["TimeGenerated"]) == (
        "Office, 365",
        '{"os": "W"}',
        "8/2/2021, 1:29:25.983 PM",
    )
    assert second["UserPrincipalName"] == "b\n@x.com"
    assert [(d.code, d.place.line) for d in got.dead] == [(codes.CSV_ROW, 5)]


def test_a_defender_export_as_csv(tmp_path: Path) -> None:
    text = (
        "Timestamp,DeviceId,DeviceName,ActionType,FileName,FolderPath,SHA1,ProcessId,ProcessCommandLine,AccountName,InitiatingProcessFileName\n"
        "2024-05-01T10:00:00.1234567Z,d,pc1,ProcessCreated,cmd.exe,C:\\,x,7,cmd /c,u,explorer.exe\n"
    )
    assert decode_bytes(tmp_path, text.encode()).kinds() == {"table.DeviceProcessEvents": 1}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_of_unknown_columns_is_kept_whole(tmp_path: Path, delimiter: str) -> None:
    text = delimiter.join(["when", "what", "who"]) + "\n" + delimiter.join(["2024-05-01", "x", "me"]) + "\n"
    (row,) = decode_bytes(tmp_path, text.encode()).rows("csv")
    assert json.loads(row["RawData"]) == {"when": "2024-05-01", "what": "x", "who": "me"}


@needs_otrf
def test_a_real_csv() -> None:
    got = decode(OTRF / "atomic" / "aws" / "discovery" / "aws_s3_honeybucketlogs.zip")
    assert got.report.format == "csv"
    assert got.report.events > 50
    assert not got.dead


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\r\0\n"), max_size=12)


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=8))
def test_csv_cells_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["alpha", "beta", "gamma"], *rows])
    data = out.getvalue()
    if sniff(data.encode(), complete=True)[0] != "csv":
        return
    got = decode_bytes(tmp_path_factory.mktemp("c"), data.encode())
    found = [json.loads(r["RawData"]) for r in got.rows("csv")]
    assert found == [{n: v for n, v in zip(("alpha", "beta", "gamma"), row, strict=True) if v} for row in rows]


@given(st.binary(max_size=200))
def test_no_bytes_break_the_csv_decoder(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    got = decode_bytes(
        tmp_path_factory.mktemp("c"), b"alpha,beta,gamma\n" + b"1,2,3\n" * 400 + tail, max_record_bytes=1000
    )
    assert got.report.error is None
    assert got.report.events >= 400 or got.dead


def test_an_open_quote_does_not_swallow_the_file(tmp_path: Path) -> None:
    data = b"alpha,beta,gamma\n1,2,3\n" + b'4,"open,6\n' + b"7,8,9\n" * 50_000
    got = decode_bytes(tmp_path, data, max_record_bytes=100_000)
    assert got.dead
    assert got.report.events > 10_000


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_named(tmp_path: Path, seed: int) -> None:
    import random

    got = decode_bytes(tmp_path, random.Random(seed).randbytes(5000))
    assert got.report.error is not None
    assert str(tmp_path) in str(got.report.error)
    assert not got.batches


def test_prose_is_skipped_not_unreadable(tmp_path: Path) -> None:
    got = decode_bytes(tmp_path, b"# Notes\n\nThis, that, and more.\nAnother line, with a comma, here.\n")
    assert got.report.skipped
    assert not got.report.unreadable
    assert got.report.as_dict()["error"] is None


def test_an_endless_line_of_nothing_known_is_said(tmp_path: Path) -> None:
    got = decode_bytes(tmp_path, b"x" * 3_000_000 + b"\nend\n", max_record_bytes=1_000_000)
    assert [(d.code, d.place.line, d.size) for d in got.dead] == [(codes.TOO_LONG, 1, 3_000_000)]
    assert got.report.unreadable
    assert decode_bytes(tmp_path, b"x" * 300_000).report.skipped


def test_audit_records_in_syslog_lines_are_merged(tmp_path: Path) -> None:
    lines = [line.replace("\x1d", " ") for line in AUDIT.split("\n")[:8]]
    text = "".join(f"May  1 10:00:00 web audispd: {line}\n" for line in lines)
    got = decode_bytes(tmp_path, text.encode())
    assert got.report.events == 8
    events = {r["Serial"]: json.loads(r["Fields"]) for r in got.rows("linux.auditd")}
    assert set(events) == {92733, 92734}
    assert events[92733]["argv"][0] == "sh"
    assert got.rows("linux.auditd")[0]["Computer"] == "web"


def test_windows_events_in_syslog_lines(tmp_path: Path) -> None:
    xml = "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><EventID>7</EventID><Channel>c</Channel></System></Event>"
    got = decode_bytes(tmp_path, f"<13>May  1 10:00:00 pc nxlog: {xml}\n".encode())
    assert got.kinds() == {"syslog": 1, "windows.event": 1}


def test_batches_are_bounded_by_bytes(tmp_path: Path) -> None:
    got = decode_bytes(
        tmp_path, b"".join(b'{"alpha":"%b"}\n' % (b"x" * 200_000) for _ in range(40)), batch_bytes=1_000_000
    )
    assert max(len(b) for b in got.batches) <= 11
    assert got.report.events == 40


def test_pcap_is_skipped(tmp_path: Path) -> None:
    got = decode_bytes(tmp_path, b"\xd4\xc3\xb2\xa1" + bytes(40))
    assert (got.report.format, got.report.events, got.report.unreadable) == ("pcap", 0, False)
    assert got.report.skipped


def test_missing_and_forbidden_files_and_odd_entries(tmp_path: Path) -> None:
    missing = decode(tmp_path / "nothing").report
    assert missing.error is not None
    assert missing.error.code == codes.UNREADABLE
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "d" / "pipe")
    (tmp_path / "d" / "loop").symlink_to(tmp_path / "d")
    (tmp_path / "d" / "empty").touch()
    assert {Path(r.path).name: bool(r.skipped) for r in decode(tmp_path / "d").reports} == {
        "pipe": True,
        "loop": True,
        "empty": True,
    }


@given(st.binary(max_size=600))
def test_no_bytes_break_the_decision(head: bytes) -> None:
    assert sniff(head, complete=True)[0]


@given(st.binary(max_size=400))
def test_no_file_raises(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    assert len(decode_bytes(tmp_path_factory.mktemp("n"), data).reports) == 1


@pytest.mark.parametrize(
    "magic",
    [
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x1f\x8b\x08",
        b"BZh91AY&SY",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
        b"ElfFile\0",
        b"\xff\xfe",
    ],
)
@given(tail=st.binary(max_size=300))
def test_no_damaged_container_raises(tmp_path_factory: pytest.TempPathFactory, magic: bytes, tail: bytes) -> None:
    got = decode_bytes(tmp_path_factory.mktemp("m"), magic + tail)
    assert got.reports
    assert all(r.error is None or r.error.code != codes.INTERNAL for r in got.reports), got.reports


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1692161622, "2023-08-16T04:53:42"), (1692161622.5, "2023-08-16T04:53:42.500000"), (1692161622500, "2023-08-16T04:53:42.500000"),
        (1692161622500000, "2023-08-16T04:53:42.500000"), (1692161622500000000, "2023-08-16T04:53:42.500000"), ("1692161622.25", "2023-08-16T04:53:42.250000"),
        ("2024-05-01T10:00:00+02:00", "2024-05-01T08:00:00"), ("2024-05-01 10:00:00.1234567", "2024-05-01T10:00:00.123456"), ("", None), ("x", None),
        (True, None), (None, None), (float("nan"), None), (10**30, None), ("5/1/2024 3:04:05 PM", "2024-05-01T15:04:05"),
        ("8/2/2021, 1:29:25.983 PM", "2021-08-02T13:29:25.983000"), ("01/May/2024:10:00:00 +0200", "2024-05-01T08:00:00"),
        ("May 1, 2024 3:04:05 PM", "2024-05-01T15:04:05"), ("2024-05-01", "2024-05-01T00:00:00"), ("20240501", "2024-05-01T00:00:00"), ("0", "1970-01-01T00:00:00"),
    ],
)  # fmt: skip
def test_times(value: object, expected: str | None) -> None:
    found = parse_time(value)
    assert (found.isoformat() if found else None) == expected
    column = parse_times([value, None, "2020-01-01T00:00:00Z"]).to_list()
    assert column[1] is None
    assert column[0] == found


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)))
def test_iso_times_come_back(value: datetime) -> None:
    assert parse_times([value.isoformat() + "Z", value.isoformat(sep=" ")]).to_list() == [value, value]


@given(st.lists(st.text(max_size=30) | st.integers() | st.floats() | st.none()))
def test_no_value_breaks_times(values: list[object]) -> None:
    assert len(parse_times(values)) == len(values)
