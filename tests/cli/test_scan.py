"""What `tocsin scan` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tocsin.cli.app import app


def test_a_folder_with_much_that_is_no_rule_is_told_in_a_few_lines(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    for number in range(20):
        (rules / f"info{number}.yml").write_text("author: someone\ndate: 2026-01-01\n")
    (rules / "broken.yml").write_text("title: [\n")
    log = tmp_path / "auth.log"
    log.write_text("Nov 26 10:00:00 host1 sshd[1]: Accepted password for ann from 10.0.0.1 port 22 ssh2\n")
    done = CliRunner().invoke(app, ["scan", str(log), "--sigma", str(rules), "--quiet"])
    assert done.exit_code == 0, done.output
    said = [line for line in done.stdout.splitlines() if line.startswith("rule  ")]
    assert sum("info" in line for line in said) == 3
    assert any("The same of 17 more; --json names them all." in line for line in said)
    assert any("broken.yml" in line for line in said)


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_nothing_that_a_log_holds_is_obeyed_by_the_terminal(tmp_path: Path, flags: list[str]) -> None:
    evil = "gpj.\u202eexe \x1b[2J\x9b2J\x07"
    event = {
        "Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1, "SourceName": "Microsoft-Windows-Sysmon", "Hostname": "ws1.corp.com",
        "TimeCreated": "2026-03-02T10:00:00Z", "Image": f"C:\\{evil}", "CommandLine": f"evil {evil}", "User": f"CORP\\{evil}",
    }  # fmt: skip
    (tmp_path / "r.yml").write_text(
        "title: Evil\nid: 0a1b2c3d-0000-4000-8000-000000000001\nlogsource: {product: windows, category: process_creation}\n"
        "detection: {s: {CommandLine|startswith: evil}, condition: s}\nlevel: high\n"
        "tocsin: {alertDetailsOverride: {alertDisplayNameFormat: 'Ran {{CommandLine}}'}}\n"
    )
    (tmp_path / "log.jsonl").write_text(json.dumps(event) + "\n")
    done = CliRunner().invoke(
        app, ["scan", str(tmp_path / "log.jsonl"), "--sigma", str(tmp_path / "r.yml"), "--quiet", *flags]
    )
    assert done.exit_code == 0, done.output
    assert "Ran evil gpj." in done.stdout
    assert not set(done.stdout) & set("\u202e\x1b\x9b\x07")
    assert not flags or json.loads(done.stdout)["incidents"]
