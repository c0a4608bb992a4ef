"""Recorded logs sent once more: order, pace, what is refused, and a real server's rows."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from tests.e2e.server import Server, until
from tocsin.cli.app import app
from tocsin.ingest.replay import Record, Recording, play

EVENT = {"Channel": "Security", "EventID": 4624, "SourceName": "Microsoft-Windows-Security-Auditing", "Hostname": "ws1"}


def event(minute: int, name: str) -> dict[str, object]:
    return {**EVENT, "TimeCreated": f"2024-05-01T10:{minute:02}:00.000Z", "TargetUserName": name}


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.json").write_bytes(b"\n".join(orjson.dumps(event(m, "ann")) for m in (0, 4, 8)))
    (folder / "b.json.gz").write_bytes(
        gzip.compress(orjson.dumps([event(2, "bob"), event(6, "bob")], option=orjson.OPT_INDENT_2))
    )
    with zipfile.ZipFile(folder / "c.zip", "w") as archive:
        archive.writestr(
            "messages", "2024-05-01T10:03:00Z host sshd[1]: Failed password for root from 203.0.113.9 port 4 ssh2\n" * 2
        )
    (folder / "d.csv").write_text("a,b\n1,2\n3,4\n")
    return folder


def test_records_come_by_time_each_on_one_line(recorded: Path) -> None:
    recording = Recording([recorded])
    records = list(recording.records())
    assert [r.time.minute for r in records] == [0, 2, 3, 3, 4, 6, 8]
    assert all(b"\n" not in r.data for r in records)
    assert [orjson.loads(r.data)["TargetUserName"] for r in records if r.data[:1] == b"{"] == [
        "ann",
        "bob",
        "ann",
        "bob",
        "ann",
    ]
    assert ["csv" in str(p) and "tocsin scan" in p.hint for p in recording.problems] == [True]


@pytest.mark.parametrize(("speed", "waited"), [(60.0, 8.0), (120.0, 4.0), (None, 0.0)])
def test_the_pace_is_that_of_the_data(recorded: Path, speed: float | None, waited: float) -> None:
    now, sent = [0.0], list[tuple[float, int]]()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    count = play(Recording([recorded]).records(), lambda lines: sent.append((now[0], len(lines))), speed=speed,
                 monotonic=lambda: now[0], sleep=sleep)  # fmt: skip
    assert count == 7
    assert now[0] == pytest.approx(waited)
    assert sum(n for _, n in sent) == 7
    if speed == 60.0:  # a minute of the recording is a second
        assert [(round(at), n) for at, n in sent] == [(0, 1), (2, 1), (3, 2), (4, 1), (6, 1), (8, 1)] or sent[0][1] == 1


def test_records_without_a_time_follow_those_before_them() -> None:
    sent = list[int]()
    records = [
        Record(datetime.min, b"x"),  # noqa: DTZ901
        Record(datetime(2024, 1, 1), b"a"),  # noqa: DTZ001
        Record(datetime(2024, 1, 1, 0, 0, 5), b"b"),  # noqa: DTZ001
    ]
    now = [0.0]
    play(
        records,
        lambda lines: sent.append(len(lines)),
        speed=1,
        monotonic=lambda: now[0],
        sleep=lambda s: now.__setitem__(0, now[0] + s),
    )
    assert sent == [2, 1]
    assert now[0] == pytest.approx(5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "data").start()
    yield running
    running.close()


def test_through_a_server(recorded: Path, server: Server) -> None:
    refused = CliRunner().invoke(
        app, ["replay", str(recorded), "--server", server.address, "--token", "no", "--speed", "max"]
    )
    assert refused.exit_code != 0
    done = CliRunner().invoke(
        app, ["replay", str(recorded), "--server", server.address, "--token", server.token(), "--speed", "max"]
    )
    assert done.exit_code == 3, done.output  # the CSV
    assert "7 records sent" in done.output
    client = server.signed_in()
    rows = until(
        lambda: (
            len(found := server.rows("SecurityEvent | project TimeGenerated | sort by TimeGenerated asc", client)) == 5
            and found
        ),
        60,
    )
    assert rows[0][0].startswith("2024-05-01T10:00:00")
    assert until(lambda: len(server.rows("Syslog", client)) == 2, 60)


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan"])
def test_a_speed_that_is_none(recorded: Path, speed: str) -> None:
    done = CliRunner().invoke(app, ["replay", str(recorded), "--speed", speed])
    assert done.exit_code != 0
    assert "USE0030" in str(done.exception)
