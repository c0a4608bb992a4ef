"""Cases beside rules, and the command that runs them, on the real compiler and engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tocsin.cli.app import app

RULE = """\
id: 0a1b2c3d-0000-4000-8000-000000000001
name: Many failed logons
kind: Scheduled
severity: Medium
queryFrequency: 1h
queryPeriod: 1h
triggerOperator: gt
triggerThreshold: 0
tactics: [CredentialAccess]
query: |
  SecurityEvent
  | where EventID == 4625
  | summarize Failures = count() by TargetUserName, Computer
  | where Failures >= 2
entityMappings:
  - entityType: Account
    fieldMappings: [{identifier: Name, columnName: TargetUserName}]
  - entityType: Host
    fieldMappings: [{identifier: FullName, columnName: Computer}]
"""
ROW = '{{TimeGenerated: "2024-05-01T10:{0:02d}:00Z", EventID: 4625, TargetUserName: ann, Computer: dc1.contoso.com}}'
CASES = f"""\
cases:
  - name: two in an hour
    fires: true
    alerts: 1
    rows: {{SecurityEvent: [{ROW.format(1)}, {ROW.format(2)}]}}
    entities:
      - {{type: Host, label: dc1.contoso.com}}
      - {{type: Account, identifiers: {{Name: ann}}}}
  - name: one
    fires: false
    rows: {{SecurityEvent: [{ROW.format(1)}]}}
  - name: one of them before the window
    fires: false
    now: "2024-05-01T11:02:30Z"
    rows: {{SecurityEvent: [{ROW.format(1)}, {ROW.format(59)}]}}
  - name: nothing at all
    fires: false
    rows: {{}}
"""
SIGMA = """\
title: Bad
id: 0a1b2c3d-0000-4000-8000-000000000002
logsource: {product: windows, category: process_creation}
detection: {s: {Image|endswith: bad.exe}, condition: s}
"""
SIGMA_CASES = """\
cases:
  - name: bad
    fires: true
    rows: {windows.event: [{Channel: Microsoft-Windows-Sysmon/Operational, EventID: 1, Computer: ws1, Image: 'C:\\bad.exe'}]}
    entities: [{type: Host, label: ws1}]
  - name: good
    fires: false
    rows: {windows.event: [{Channel: Microsoft-Windows-Sysmon/Operational, EventID: 1, Image: 'C:\\good.exe'}]}
"""


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["rules", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def write(folder: Path, rule: str = RULE, cases: str = CASES, name: str = "Rule") -> Path:
    (folder / f"{name}.yaml").write_text(rule)
    (folder / f"{name}.test.yaml").write_text(cases)
    return folder


def test_cases_pass(tmp_path: Path) -> None:
    code, output = run("test", str(write(tmp_path)))
    assert (code, output) == (0, "1 rules, 4 cases, 0 failed, 0 rules without cases\n")


def test_sigma_cases(tmp_path: Path) -> None:
    code, output = run("test", str(write(tmp_path, SIGMA, SIGMA_CASES)), "--json")
    assert code == 0
    assert [(r["case"], r["passed"], r["alerts"]) for r in json.loads(output)["results"]] == [
        ("bad", True, 1),
        ("good", True, 0),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("fires: true", "fires: false"), "raised 1 alerts and should have stayed silent"),
        (("alerts: 1", "alerts: 2"), "raised 1 alerts instead of 2"),
        (("label: dc1.contoso.com", "label: dc2"), "there are: Account ann, Host dc1.contoso.com"),
        (("EventID: 4625,", "EventId: 4625,"), "no column 'EventId'. Did you mean 'EventID'?"),
        (("EventID: 4625,", "EventID: many,"), "doesn't fit SecurityEvent.EventID"),
        (("rows: {SecurityEvent:", "rows: {SecurityEvnt:"), "no table 'SecurityEvnt'. Did you mean 'SecurityEvent'?"),
    ],
)
def test_a_failing_case_says_where_and_why(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in CASES
    code, output = run("test", str(write(tmp_path, cases=CASES.replace(*change, 1))))
    assert code == 1
    assert message in output
    assert "Rule.test.yaml:2" in output


def test_a_wrong_query_fails_its_cases_and_names_the_line(tmp_path: Path) -> None:
    code, output = run("test", str(write(tmp_path, RULE.replace("EventID == 4625", "EventIdd == 4625"))))
    assert code == 1
    assert "DET0003" in output
    assert "Rule.yaml:12:11" in output


def test_validate(tmp_path: Path) -> None:
    assert run("validate", str(write(tmp_path)))[0] == 0
    write(tmp_path, RULE.replace("columnName: Computer", "columnName: Compter").replace("0001", "0003"), name="Other")
    code, output = run("validate", str(tmp_path), "--json")
    (problem,) = json.loads(output)["problems"]
    assert code == 1
    assert (problem["code"], problem["hint"]) == ("DET0011", "Did you mean 'Computer'?")
    assert problem["place"].endswith("Other.yaml") or ":" in problem["place"]


def test_rules_without_cases_are_named_when_asked(tmp_path: Path) -> None:
    (tmp_path / "Rule.yaml").write_text(RULE)
    assert run("test", str(tmp_path))[0] == 0
    code, output = run("test", str(tmp_path), "--untested")
    assert code == 1
    assert "NO CASES" in output


def test_list(tmp_path: Path) -> None:
    code, output = run("list", str(write(tmp_path)), "--json")
    assert code == 0
    (rule,) = json.loads(output)["rules"]
    assert (rule["name"], rule["frequency"], rule["severity"]) == ("Many failed logons", "1h", "Medium")


def test_a_missing_path_is_wrong_usage(tmp_path: Path) -> None:
    from tocsin.base.errors import UsageError

    with pytest.raises(UsageError):
        run("test", str(tmp_path / "no"))


def test_the_shipped_rules_pass_their_cases() -> None:
    code, output = run("test", "--json", "--untested")
    report = json.loads(output)
    assert [r for r in report["results"] if not r["passed"]] == []
    assert report["problems"] == []
    assert code == 0
    assert report["rules"] >= 40
    assert report["cases"] >= 2 * report["rules"]


def test_the_shipped_rules_are_valid() -> None:
    code, output = run("validate", "--json")
    assert json.loads(output)["problems"] == []
    assert code == 0
