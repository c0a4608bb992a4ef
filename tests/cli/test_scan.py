"""What `tocsin scan` prints."""

from __future__ import annotations

from pathlib import Path

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
