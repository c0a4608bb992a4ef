"""`tocsin rules validate` on bad Sigma files: each is named where it stands, the others count, and code scanning can read it."""

from __future__ import annotations

import json
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
