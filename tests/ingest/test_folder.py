"""The watched folder: growing, rotating, dropped files; nothing lost, nothing twice."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.intake_support import EVENTS, SYSLOG, Parser, Rig
from tests.ingest.support import EVTX, needs_evtx, zipped
from tocsin.ingest.receivers.folder import FolderReceiver

AUDIT = Parser(
    "a",
    "linux.auditd",
    "LinuxAuditLog",
    "source | project TimeGenerated = TimeCreated, SerialNumber = tostring(Serial), RecordType = tostring(Types)",
)
WINDOWS = Parser("w", "windows.event", "WindowsEvent", "source | project TimeGenerated = TimeCreated, EventID, Channel")
IIS = Parser(
    "i",
    "w3c.iis",
    "W3CIISLog",
    'source | project TimeGenerated = TimeCreated, csMethod = tostring(RawData["cs-method"])',
)
CONN = Parser("c", "zeek.conn", "Corelight_v2_conn_CL", "source | project TimeGenerated = ts, uid_s = uid")


class Watch:
    """A folder receiver that is moved by hand: each `look` is a poll."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.folder = base / "drop"
        self.folder.mkdir(exist_ok=True)
        self.open()

    def open(self) -> None:
        self.rig = Rig(self.base, SYSLOG, EVENTS, AUDIT, WINDOWS, CONN, IIS).start()
        self.receiver = FolderReceiver(
            self.rig.intake, self.folder, self.base / "book.json", poll_seconds=1, settle_seconds=2
        )
        self.receiver._load()

    def look(self, times: int = 4) -> None:
        for _ in range(times):
            self.receiver.scan()
        self.rig.intake.wait_visible(self.rig.lake.log.last, 10)

    def crash(self) -> None:
        self.rig.crash()
        self.open()

    def messages(self) -> list[str]:
        return sorted(str(r["SyslogMessage"]) for r in self.rig.rows("Syslog"))


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    made = Watch(tmp_path)
    yield made
    made.rig.close()


def lines(first: int, last: int) -> str:
    return "".join(f"May  1 10:00:00 host app[1]: {n:05d}\n" for n in range(first, last))


def expected(last: int) -> list[str]:
    return [f"{n:05d}" for n in range(last)]


def append(path: Path, text: str) -> None:
    with path.open("a") as out:
        out.write(text)


def test_a_growing_file_is_read_on(watch: Watch) -> None:
    log = watch.folder / "a.log"
    append(log, lines(0, 10))
    watch.look(1)
    assert watch.messages() == expected(10)
    append(log, lines(10, 20) + "May  1 10:00:00 host app[1]: 000")
    watch.look(1)
    assert watch.messages() == expected(20)
    append(log, "20\n" + lines(21, 30))
    watch.look()
    assert watch.messages() == expected(30)


def test_a_last_line_without_its_end_is_taken_when_the_writer_is_silent(watch: Watch) -> None:
    append(watch.folder / "a.log", lines(0, 3).rstrip("\n"))
    watch.look(2)
    assert watch.messages() == expected(2)
    watch.look(3)
    assert watch.messages() == expected(3)


def test_renamed_and_recreated(watch: Watch) -> None:
    log = watch.folder / "a.log"
    append(log, lines(0, 100))
    watch.look(1)
    append(log, lines(100, 120))
    log.rename(watch.folder / "a.log.1")
    append(log, lines(120, 150))
    watch.look()
    assert watch.messages() == expected(150)


def test_copied_and_truncated(watch: Watch) -> None:
    log = watch.folder / "a.log"
    append(log, lines(0, 100))
    watch.look(1)
    append(log, lines(100, 110))
    shutil.copy(log, watch.folder / "a.log.1")
    os.truncate(log, 0)
    append(log, lines(110, 130))
    watch.look()
    assert watch.messages() == expected(130)


def test_truncated_and_begun_alike(watch: Watch) -> None:
    log = watch.folder / "a.log"
    append(log, lines(0, 50))
    watch.look(1)
    os.truncate(log, 0)
    append(log, lines(0, 40))
    watch.look()
    assert len(watch.messages()) == 90


def test_a_compressed_rotation_is_not_read_again(watch: Watch) -> None:
    log = watch.folder / "a.log"
    append(log, lines(0, 100))
    watch.look()
    with gzip.open(watch.folder / "a.log.1.gz", "wb") as out:
        out.write(log.read_bytes())
    log.unlink()
    watch.look()
    assert watch.messages() == expected(100)
    # Another archive is read.
    with gzip.open(watch.folder / "b.gz", "wt") as text:
        text.write(lines(100, 120))
    watch.look()
    assert watch.messages() == expected(120)


def test_nothing_twice_after_a_crash_between_storing_and_the_book(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = watch.folder / "a.log"
    append(log, lines(0, 10))
    watch.look(1)
    append(log, lines(10, 20))
    monkeypatch.setattr(watch.receiver, "_save", lambda: None)
    watch.look(1)
    watch.crash()
    append(log, lines(20, 30))
    watch.look()
    assert watch.messages() == expected(30)


def test_nothing_twice_after_a_clean_restart(watch: Watch) -> None:
    append(watch.folder / "a.log", lines(0, 10))
    watch.look()
    watch.rig.close()
    watch.open()
    watch.look()
    append(watch.folder / "a.log", lines(10, 12))
    watch.look()
    assert watch.messages() == expected(12)


def test_tables_keep_their_header_from_piece_to_piece(watch: Watch) -> None:
    csv = watch.folder / "export"
    append(csv, "Type,OperationName,TimeGenerated\nAuditLogs,one,2024-01-01\n")
    zeek = watch.folder / "conn.log"
    append(zeek, "#separator \\x09\n#path\tconn\n#fields\tts\tuid\n#types\ttime\tstring\n1692161622.0\tC1\n")
    iis = watch.folder / "u_ex.log"
    append(
        iis,
        "#Software: Microsoft Internet Information Services 10.0\n#Fields: date time cs-method\n2026-11-26 10:00:00 GET\n",
    )
    watch.look(1)
    append(iis, "2026-11-26 10:00:01 POST\n")
    append(csv, "AuditLogs,two,2024-01-01\n")
    append(zeek, "1692161623.0\tC2\n")
    watch.look()
    assert sorted(r["OperationName"] for r in watch.rig.rows("AuditLogs")) == ["one", "two"]
    assert sorted(r["uid_s"] for r in watch.rig.rows("Corelight_v2_conn_CL")) == ["C1", "C2"]
    assert sorted(r["csMethod"] for r in watch.rig.rows("W3CIISLog")) == ["GET", "POST"]


def test_a_w3c_log_may_change_its_fields_anywhere(watch: Watch) -> None:
    path = watch.folder / "u_ex.log"
    software = "#Software: Microsoft Internet Information Services 10.0\n"
    row = "2024-05-01 10:00:00 GET /" + "x" * 200 + "\n"
    head = software + "#Fields: date time cs-method cs-uri-stem\n" + row * 400  # more than is looked at to know a file
    path.write_text(head + "#Fields: date time cs-uri-stem cs-method\n2024-05-01 10:00:01 /b POST\n")
    watch.look()
    with path.open("a") as log:
        log.write("2024-05-01 10:00:02 /c PUT\n")
    watch.look()
    watch.crash()
    with path.open("a") as log:
        log.write("2024-05-01 10:00:03 /d DELETE\n")
    watch.look()
    methods = [r["csMethod"] for r in watch.rig.rows("W3CIISLog")]
    assert sorted(methods) == sorted(["GET"] * 400 + ["POST", "PUT", "DELETE"])


def test_records_of_an_audit_event_stay_together(watch: Watch) -> None:
    log = watch.folder / "audit.log"
    append(
        log,
        'type=SYSCALL msg=audit(1.000:1): exe="a"\ntype=CWD msg=audit(1.000:1): cwd="/"\ntype=SYSCALL msg=audit(1.000:2): exe="b"\n',
    )
    watch.look(1)
    append(log, 'type=CWD msg=audit(1.000:2): cwd="/"\n')
    watch.look()
    assert sorted((r["SerialNumber"], r["RecordType"]) for r in watch.rig.rows("LinuxAuditLog")) == [
        ("1", '["SYSCALL","CWD"]'),
        ("2", '["SYSCALL","CWD"]'),
    ]


def test_files_that_are_no_lines_are_read_whole_and_once(watch: Watch) -> None:
    (watch.folder / "array.json").write_text('[{"EventID":1,"Channel":"c"},\n{"EventID":2,"Channel":"c"}]')
    (watch.folder / "sub").mkdir()
    (watch.folder / "sub" / "x.zip").write_bytes(zipped({"a": lines(0, 5).encode(), "bad.zip": b"PK\x03\x04junk"}))
    watch.look(1)
    assert not watch.rig.rows("WindowsEvent")
    watch.look(6)
    assert len(watch.rig.rows("WindowsEvent")) == 2
    assert watch.messages() == expected(5)
    (dead,) = watch.rig.rows("DeadLetter_CL")
    assert "bad.zip" in dead["Place_s"]
    watch.crash()
    watch.look(6)
    assert len(watch.rig.rows("WindowsEvent")) == 2
    assert watch.messages() == expected(5)


@needs_evtx
def test_a_dropped_evtx(watch: Watch) -> None:
    shutil.copy(EVTX / "UACME_59_Sysmon.evtx", watch.folder / "x.evtx")
    watch.look(6)
    assert len(watch.rig.rows("WindowsEvent")) == 7


def test_a_long_line_is_one_dead_letter(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    append(watch.folder / "a.log", lines(0, 2) + "x" * (20 << 20) + "\n" + lines(2, 4))
    watch.look()
    assert watch.messages() == expected(4)
    (dead,) = watch.rig.rows("DeadLetter_CL")
    assert (dead["Code_s"], dead["RawSize_d"]) == ("ING0012", (20 << 20) + 1)


def test_links_and_unfinished_files_are_left_alone(watch: Watch, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(lines(0, 3))
    (watch.folder / "link").symlink_to(secret)
    for name in (".hidden", "x.part", "y.tmp", "z~"):
        (watch.folder / name).write_text(lines(0, 3))
    watch.look()
    assert watch.messages() == []


def test_a_broken_book_says_so_and_goes_on(watch: Watch) -> None:
    append(watch.folder / "a.log", lines(0, 3))
    (watch.base / "book.json").write_text("{")
    watch.receiver._load()
    watch.look()
    assert watch.messages() == expected(3)


def test_it_runs_by_itself(watch: Watch) -> None:
    receiver = FolderReceiver(
        watch.rig.intake, watch.folder, watch.base / "book2.json", poll_seconds=0.02, settle_seconds=0.1
    )
    receiver.start()
    append(watch.folder / "a.log", lines(0, 10))
    watch.rig.wait("Syslog", 10)
    receiver.stop()
    kinds: set[Any] = {(s.kind, s.state) for s in watch.rig.intake.sources()}
    assert ("file", "listening") in kinds
