"""`tocsin rules validate` on bad Sigma files: each is named where it stands, the others count, and code scanning can read it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from typer.testing import CliRunner

from tocsin.cli.rules import app

GOOD = """\
title: Good
id: 0a1b2c3d-0000-4000-8000-000000000001
logsource: {product: windows, category: process_creation}
detection: {s: {Image: x}, condition: s}
"""


def test_bad_rules_are_named_and_the_others_run(tmp_path: Path) -> None:
    (tmp_path / "good.yml").write_text(GOOD)
    (tmp_path / "broken.yml").write_text("title: [")
    (tmp_path / "modifier.yml").write_text(GOOD.replace("0001", "0002").replace("Image:", "Image|magic:"))
    circle = "title: {0}\nname: {0}\nid: 0a1b2c3d-0000-4000-8000-00000000000{1}\ncorrelation: {{type: temporal, rules: [{2}], timespan: 1m}}\n"
    (tmp_path / "circle.yml").write_text(circle.format("a", 3, "b") + "---\n" + circle.format("b", 4, "a"))
    values = "".join(f"      - v{n}\n" for n in range(100_000))
    (tmp_path / "long.yml").write_text(
        GOOD.replace("0001", "0005").replace(
            "{s: {Image: x}, condition: s}", f"\n  s:\n    Image:\n{values}  condition: s"
        )
    )
    done = CliRunner().invoke(app, ["validate", str(tmp_path), "--json"])
    assert done.exit_code == 1, done.output
    found = json.loads(done.stdout)
    assert found["rules"] == 2
    done = CliRunner().invoke(app, ["validate", str(tmp_path), "--sarif"])
    (run,) = json.loads(done.stdout)["runs"]
    places = {
        (Path(r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]).name, r["ruleId"])
        for r in run["results"]
    }
    assert places == {("broken.yml", "CNT0003"), ("modifier.yml", "DET0007"), ("circle.yml", "DET0010")}
    assert {r["level"] for r in run["results"]} == {"error"}
    assert all(r["locations"][0]["physicalLocation"]["region"]["startLine"] >= 1 for r in run["results"])
    assert any("magic" in r["message"]["text"] for r in run["results"])
    assert any("a → b → a" in r["message"]["text"] for r in run["results"])


KQL = (
    "id: {0}\nname: {0}\nseverity: Low\nqueryFrequency: 1h\nqueryPeriod: 1h\nquery: {1}\nrelevantTechniques: [T1110]\n"
)


def test_load_says_of_each_rule_whether_it_runs(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(KQL.format("good", "SecurityEvent | where EventID == 4625"))
    (tmp_path / "table.yaml").write_text(KQL.format("table", "SecurityEvnt | take 1"))
    (tmp_path / "column.yaml").write_text(KQL.format("column", "SecurityEvent | where EventNo == 1"))
    (tmp_path / "function.yaml").write_text(KQL.format("function", "SecurityEvent | extend x = frobnicate(EventID)"))
    (tmp_path / "broken.yaml").write_text("id: [")
    values = ", ".join(f'"v{n}"' for n in range(2_000))
    (tmp_path / "long.yaml").write_text(KQL.format("long", f"'SecurityEvent | where Account in ({values})'"))
    done = CliRunner().invoke(app, ["load", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    said = {Path(r["file"]).stem: " ".join(p["message"] for p in r["problems"]) for r in found["rules"]}
    assert said["good"] == ""
    assert "SecurityEvnt" in said["table"]
    assert "EventNo" in said["column"]
    assert "frobnicate" in said["function"]
    assert "Not YAML" in said["broken"]
    assert (said["long"] == "") == next(r["runs"] for r in found["rules"] if r["file"].endswith("long.yaml"))
    assert CliRunner().invoke(app, ["load", str(tmp_path), "--strict"]).exit_code == 1


def test_coverage_and_its_layer(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(KQL.format("good", "SecurityEvent | where EventID == 4625"))
    layer = tmp_path / "layer.json"
    done = CliRunner().invoke(app, ["coverage", str(tmp_path), "--json", "--navigator", str(layer)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    (technique,) = found["techniques"]
    assert (technique["technique"], technique["level"], technique["rules"][0]["proven"]) == ("T1110", "rule", False)
    # ATT&CK's name and tactic, and what no rule names: its own sub-techniques too.
    assert (technique["name"], technique["tactics"]) == ("Brute Force", ["CredentialAccess"])
    gaps = {g["technique"]: g for g in found["gaps"]}
    assert "T1110" not in gaps
    assert gaps["T1110.003"]["name"] == "Brute Force: Password Spraying"
    assert len(gaps) > 600
    (shown,) = json.loads(layer.read_text("utf-8"))["techniques"]
    assert (shown["techniqueID"], shown["score"]) == ("T1110", 25)
    # Its own cases prove it, whether rows come or not.
    (tmp_path / "good.test.yaml").write_text(
        "cases:\n"
        "- name: fires\n  fires: true\n  rows: {SecurityEvent: [{TimeGenerated: 2026-01-01T00:00:00Z, EventID: 4625}]}\n"
        "- name: is silent\n  fires: false\n  rows: {SecurityEvent: [{TimeGenerated: 2026-01-01T00:00:00Z, EventID: 1}]}\n"
    )
    done = CliRunner().invoke(app, ["coverage", str(tmp_path), "--json", "--navigator", str(layer)])
    found = json.loads(done.stdout)
    assert found["facts"] == {"rule": 1, "data": 0, "proven": 1}
    assert (found["techniques"][0]["level"], json.loads(layer.read_text("utf-8"))["techniques"][0]["score"]) == (
        "proven",
        50,
    )
    listed = CliRunner().invoke(app, ["coverage", str(tmp_path), "--gaps"]).stdout
    assert re.search(r"T1003\.001 +no rule +OS Credential Dumping: LSASS Memory", listed)
    said = CliRunner().invoke(app, ["coverage", str(tmp_path)]).stdout
    assert "OS Credential Dumping" not in said
    assert "1 with one that is proven" in said
    assert "not known without --data" in said
