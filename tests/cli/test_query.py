"""`tocsin query` over a data folder: what it prints, where it goes, how it ends."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tocsin.base.clock import SystemClock
from tocsin.cli import main
from tocsin.lake import Lake, TableBatch
from tocsin.tables import catalogue

NASTY = "\x1b[31mred\x07 \u202e=x"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = pa.table(
        {
            "TimeGenerated": pa.array([1_700_000_000_000_000, 1_700_000_001_000_000], pa.timestamp("us")),
            "Computer": ["ws1", "ws2"],
            "Activity": ["=1+1", NASTY],
        }
    )
    with Lake.open(folder / "lake", clock=SystemClock(), catalog=catalogue()) as lake:
        lake.write([TableBatch("SecurityEvent", rows)])
        lake.flush()
    return folder


def start(data: Path, *args: str, **options: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", "from tocsin.cli import main; main()", "query", "--data", str(data), *args]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, encoding="utf-8", env=environment, **{**pipes, **options})  # type: ignore[call-overload,no-any-return]


def run(data: Path, *args: str, stdin: str = "", code: int = 0) -> tuple[str, str]:
    """The program in this process: what it prints, and how it ends."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("COLUMNS", "100")
        patch.setattr(sys, "argv", ["tocsin", "query", "--data", str(data), *args])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main()
    assert (ended.value.code or 0) == code, err.getvalue()
    return out.getvalue(), err.getvalue()


def test_a_table_shows_no_control_characters(data: Path) -> None:
    out, _ = run(data, "SecurityEvent | project Computer, Activity | sort by Computer asc")
    assert "ws1" in out
    assert "\\u001b[31mred\\u0007 \\u202e=x" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert "2 rows in" in out


def test_wide_rows_are_printed_one_below_the_other(data: Path) -> None:
    out, _ = run(data, "SecurityEvent | where Computer == 'ws1'")
    assert "── row 1" in out
    line = next(line for line in out.splitlines() if line.startswith("Computer "))
    assert line.split() == ["Computer", "ws1"]
    assert "SubjectUserName" not in out  # empty values are left out
    listed, _ = run(data, "--list", "SecurityEvent | project Computer | take 1")
    assert "── row 1" in listed


def test_json_ndjson_csv(data: Path) -> None:
    query = "SecurityEvent | project Computer, Activity | sort by Computer asc"
    answer = json.loads(run(data, "--json", query)[0])
    assert answer["columns"] == [{"name": "Computer", "type": "string"}, {"name": "Activity", "type": "string"}]
    assert answer["rows"] == [["ws1", "=1+1"], ["ws2", NASTY]]
    lines = [json.loads(line) for line in run(data, "--ndjson", query)[0].splitlines()]
    assert lines[0] == {"Computer": "ws1", "Activity": "=1+1"}
    exact = list(csv.reader(io.StringIO(run(data, "--csv", query)[0])))
    assert exact == [["Computer", "Activity"], ["ws1", "=1+1"], ["ws2", NASTY]]
    safe = list(csv.reader(io.StringIO(run(data, "--csv-safe", "print a='=1', b=-1, c='-1', d='x'")[0])))
    assert safe == [["a", "b", "c", "d"], ["'=1", "-1", "'-1", "x"]]


def test_parquet_keeps_values_and_is_written_whole(data: Path, tmp_path: Path) -> None:
    query = (
        "print a=datetime(2024-01-01 00:00:00.1234567), b=1h, c=dynamic({'k':1}), d=decimal(1.5), e=int(null), f='',"
        " g=datetime(2024-01-01), h=true"
    )
    path = tmp_path / "x.parquet"
    _, err = run(data, "--parquet", str(path), query)
    assert err == f"1 row in {path}\n"
    table = pq.read_table(path)
    assert table.schema.field("a").type == pa.timestamp("ns", "UTC")
    assert table.column("a").cast(pa.int64()).to_pylist() == [1_704_067_200_123_456_700]
    rest = table.drop_columns(["a"]).to_pylist()[0]
    assert (rest["b"], json.loads(rest["c"]), float(rest["d"]), rest["e"], rest["f"]) == (
        "01:00:00",
        {"k": 1},
        1.5,
        None,
        "",
    )
    assert (rest["g"].isoformat(), rest["h"]) == ("2024-01-01T00:00:00+00:00", True)
    _, err = run(data, "--parquet", str(tmp_path / "no" / "x.parquet"), query, code=2)
    assert "USE0014" in err
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_line_shows_a_caret_and_suggests(data: Path) -> None:
    out, err = run(data, "SecurityEvent\n| where Compter == 'x'", code=1)
    assert out == ""
    assert err == (
        "error KQL0101 at line 2, column 9: There is no column or variable named 'Compter' here.\n"
        "2 | | where Compter == 'x'\n"
        "  |         ^^^^^^^\n"
        "Did you mean 'Computer'?\n"
    )


def test_queries_come_from_files_and_standard_input(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "q.kql"
    path.write_text("\ufeffSecurityEvent | count", "utf-8")
    assert run(data, "--file", str(path), "--csv")[0].split() == ["Count", "2"]
    assert run(data, "-", "--csv", stdin="print x=1")[0].split() == ["x", "1"]
    assert run(data, "--file", "-", "--csv", stdin="print x=1")[0].split() == ["x", "1"]
    path.write_bytes(b"print '\xff'")
    assert "no UTF-8" in run(data, "--file", str(path), code=2)[1]
    assert "USE0004" in run(data, code=2)[1]
    assert "--json and --csv exclude each other" in run(data, "--json", "--csv", "print 1", code=2)[1]


def test_more_rows_than_the_limit_are_told(data: Path) -> None:
    out, err = run(data, "--limit", "3", "--csv", "range x from 1 to 10 step 1")
    assert out.split() == ["x", "1", "2", "3"]
    assert "--limit stopped at 3" in err


@pytest.mark.parametrize(("form", "rows"), [("--csv", 60_000), ("--list", 3_000)])
def test_a_reader_that_goes_is_no_failure(data: Path, form: str, rows: int) -> None:
    with start(data, form, "--limit", "500000", f"range x from 1 to {rows} step 1") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 0


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_ctrl_c_ends_a_query(data: Path) -> None:
    slow = "range a from 1 to 300000 step 1 | extend k=1 | join kind=inner (range b from 1 to 300000 step 1 | extend k=1) on k | summarize sum(a * b)"
    with start(data, slow) as process:
        # Starting takes 3 to 4 s of CPU time: from 8 on it is the query that runs.
        end = time.monotonic() + 120
        while _cpu_seconds(process.pid) < 8:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 15
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
