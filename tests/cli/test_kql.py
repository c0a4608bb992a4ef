"""`tocsin kql`: what it prints and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tocsin.cli.kql import app

RUNNER = CliRunner()


def run(*args: str, stdin: str | None = None, code: int = 0) -> str:
    result = RUNNER.invoke(app, list(args), input=stdin)
    assert result.exit_code == code, (result.exception, result.output)
    return result.stdout


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    path = tmp_path / "cases.jsonl"
    lines = [
        {"id": "one", "query": "print a = 1", "columns": ["a"], "types": ["Int64"], "rows": [[1]], "flags": []},
        {"id": "two", "query": "print a = 1", "columns": ["a"], "types": ["Int64"], "rows": [[2]], "flags": []},
        {"id": "three", "query": "print b = 1", "columns": ["a"], "types": ["Int64"], "rows": [[1]], "flags": []},
        {"id": "four", "query": "print rand()", "columns": ["a"], "rows": [["0.5"]], "flags": ["nondeterministic"]},
        {"id": "five", "query": "NoSuchTable | take 1", "columns": ["a"], "rows": [], "flags": []},
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def test_fmt_changes_files_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a.kql"
    path.write_text("T|where a==1 // why\n")
    run("fmt", "--check", str(path), code=1)
    assert path.read_text() == "T|where a==1 // why\n"
    run("fmt", str(tmp_path))
    assert path.read_text() == "T\n| where a == 1 // why\n"
    run("fmt", "--check", str(path))


def test_fmt_of_standard_input_prints() -> None:
    assert run("fmt", "-", stdin="print 1+1") == "print 1 + 1\n"


def test_fmt_tells_what_it_cannot_read_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.kql").write_text("T | wher a")
    (tmp_path / "b.kql").write_text("T|take 1")
    run("fmt", str(tmp_path), code=1)
    assert (tmp_path / "a.kql").read_text() == "T | wher a"
    assert (tmp_path / "b.kql").read_text() == "T\n| take 1\n"


def test_check_binds_against_the_catalogue(tmp_path: Path) -> None:
    (tmp_path / "good.kql").write_text("DeviceProcessEvents | where FileName == 'a' | project DeviceName")
    assert run("check", str(tmp_path)).endswith("1 query, 0 errors\n")
    (tmp_path / "bad.kql").write_text("DeviceProcessEvents\n| where FileNam == 'a'")
    shown = run("check", str(tmp_path), code=1)
    assert "line 2, column 9" in shown
    assert "Did you mean 'FileName'?" in shown
    assert "2 queries, 1 error\n" in shown
    found = json.loads(run("check", "--json", str(tmp_path / "bad.kql"), code=1))
    assert found["diagnostics"][0]["code"] == "KQL0101"


def test_check_writes_sarif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd name.kql").write_text("DeviceProcessEvents\n| where FileNam == 'a'\n")
    log = json.loads(run("check", "--sarif", "odd name.kql", code=1))
    assert log["version"] == "2.1.0"
    (result,) = log["runs"][0]["results"]
    assert result["ruleId"] == "KQL0101"
    assert result["level"] == "error"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "odd%20name.kql"
    assert place["region"] == {"startLine": 2, "startColumn": 9, "endLine": 2, "endColumn": 16}
    assert log["runs"][0]["tool"]["driver"]["rules"][0]["id"] == "KQL0101"


def test_explain_shows_tables_and_sql() -> None:
    shown = run("explain", "DeviceProcessEvents | summarize n = count() by FileName")
    assert "tables: DeviceProcessEvents" in shown
    assert "columns: FileName:string, n:long" in shown
    assert "SELECT" in shown


def test_test_runs_cases(cases: Path) -> None:
    shown = run("test", str(cases), code=1)
    assert shown.splitlines()[0] == "passed 1 of 4"
    assert "failed two: values" in shown
    assert "failed three: columns" in shown
    assert "refused five: unknown table: KQL0102 at 1:1" in shown
    found = json.loads(run("test", "--json", str(cases), code=1))
    assert (found["passed"], found["total"], found["failed"]) == (1, 4, ["two", "three"])
    assert found["refused"][0]["id"] == "five"


def test_accept_runs_over_empty_tables(tmp_path: Path) -> None:
    path = tmp_path / "hunts.jsonl"
    queries = {
        "table": "DeviceProcessEvents | where FileName == 'a' | summarize count() by DeviceName",
        "watchlist": "DeviceInfo | where DeviceName in (_GetWatchlist('vips') | project SearchKey)",
        "external": "externaldata(a:string) ['https://example.org/a.csv'] | where a == 'x'",
        "place": "SigninLogs | extend Country = geo_info_from_ip_address(IPAddress).country",
        "author": "DeviceInfo | wher a",
        "policy": "cluster('a').database('b').T | take 1",
        "table2": "NoSuchTable_CL | take 1",
    }
    path.write_text("\n".join(json.dumps({"id": k, "query": q}) for k, q in queries.items()))
    found = json.loads(run("accept", "--json", str(path), code=1))
    assert {r["id"]: r["kind"] for r in found["refused"]} == {
        "author": "author's error",
        "policy": "policy",
        "table2": "unknown table",
    }
    assert (found["passed"], found["total"], found["failed"]) == (4, 7, [])


def test_a_file_that_is_no_case_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("{}")
    result = RUNNER.invoke(app, ["test", str(path)])
    assert result.exception is not None
    assert "USE0007" in str(result.exception)


def test_fmt_reads_standard_input_when_nothing_is_named() -> None:
    assert run("fmt", stdin="T|take 5") == "T\n| take 5\n"
    assert run("fmt", "--check", stdin="T|take 5", code=1) == ""
    run("fmt", stdin="T | wher", code=1)


def test_fmt_shows_a_diff(tmp_path: Path) -> None:
    path = tmp_path / "a.kql"
    path.write_text("T|take 5\n")
    shown = run("fmt", "--diff", str(path), code=1)
    assert "-T|take 5\n+T\n+| take 5\n" in shown
    assert path.read_text() == "T|take 5\n"
    run("fmt", str(path))
    assert run("fmt", "--diff", str(path)) == ""


def test_check_reads_rules_in_yaml_and_tells_places_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "rule.yaml").write_text(
        "name: a\nquery: |\n\n    // why\n    DeviceProcessEvents\n    | where FileNam == 1\nseverity: High\n"
    )
    (tmp_path / "line.yml").write_text("name: b\nquery: 'DeviceInfo | tke 1'\n")
    (tmp_path / "folded.yaml").write_text("name: c\nquery: >\n  DeviceInfo\n  | tke 1\n")
    (tmp_path / "sigma.yml").write_text("title: d\ndetection: {}\n")
    (tmp_path / "function.yaml").write_text("name: f\nparameters: 'x:long'\nbody: |\n  x + * 2\n")
    (tmp_path / "parser.yaml").write_text(
        "source: windows.event\ntable: T_CL\nquery: |\n  source\n  | project A = EventID, B = Nope\n"
    )
    (tmp_path / "broken.yaml").write_text("a: [")
    found = json.loads(run("check", "--json", str(tmp_path), code=1))
    places = {Path(d["path"]).name: (d["line"], d["column"], d["code"]) for d in found["diagnostics"]}
    assert places == {
        "rule.yaml": (6, 13, "KQL0101"),
        "line.yml": (2, 22, "KQL0011"),
        "folded.yaml": (2, 8, "KQL0011"),
        "function.yaml": (4, 9, "KQL0010"),
        "parser.yaml": (5, 30, "KQL0101"),
        "broken.yaml": (1, 5, "CNT0003"),
    }
    assert (found["queries"], found["errors"]) == (6, 6)
    shown = run("check", str(tmp_path / "rule.yaml"), code=1)
    assert "6 |     | where FileNam == 1\n  |             ^^^^^^^\nDid you mean 'FileName'?" in shown


def test_the_shipped_packs_are_right() -> None:
    packs = Path(__file__).parents[2] / "packs"
    assert run("check", str(packs)).endswith(" queries, 0 errors\n")


def test_check_knows_the_columns_of_shipped_watchlists() -> None:
    text = "_GetWatchlist('VIPUsers') | project ['User Principal Name'], SearchKey"
    assert "0 errors" in run("check", "-", stdin=text)
    assert "KQL0101" in run("check", "-", stdin=text.replace("Principal", "Prinzipal"), code=1)
