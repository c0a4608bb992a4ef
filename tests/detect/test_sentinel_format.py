"""Sentinel analytic rules: YAML and ARM spellings, every key, precise complaints."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tocsin.base.errors import ContentError, DetectError
from tocsin.content import load_rule_file
from tocsin.detect.durations import duration_text, parse_duration
from tocsin.detect.formats import sentinel
from tocsin.detect.rule import EntityMapping, Operator, RuleKind

FULL = """\
id: 6f0ecbd1-9c85-4ab5-a4a3-4f7c3d1a8a01
name: Suspicious thing
version: 1.10
kind: Scheduled
description: |
  'What it finds.'
severity: medium
status: Available
requiredDataConnectors:
  - connectorId: X
    dataTypes: [SecurityEvent]
queryFrequency: 20m
queryPeriod: PT1H
triggerOperator: gt
triggerThreshold: 3
tactics: [CredentialAccess, Lateral Movement]
relevantTechniques: [T1003, t1021.002]
query: |
  SecurityEvent
  | where EventID == 1
entityMappings:
  - entityType: account
    fieldMappings:
      - identifier: Fullname
        columnName: User
customDetails: {Count: n}
alertDetailsOverride:
  alertDisplayNameFormat: "Hit on {{Computer}}"
  alertSeverityColumnName: Sev
  alertDynamicProperties:
    - {alertProperty: ProductName, value: P}
eventGroupingSettings: {aggregationKind: AlertPerResult}
incidentConfiguration: {createIncident: false, groupingConfiguration: {enabled: true}}
suppressionEnabled: true
suppressionDuration: 5h
tags: [a]
"""


def write(tmp_path: Path, text: str, name: str = "r.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def complaints(tmp_path: Path, text: str) -> list[tuple[str, int | None, str]]:
    file, unreadable = load_rule_file(write(tmp_path, text))
    problems = [*unreadable, *(sentinel.rules_of(file)[1] if file else [])]
    return [(p.code, p.place.line if p.place else None, p.hint) for p in problems]


@pytest.mark.parametrize("mark", ["#DONT_CORR#", "#dont_corr# "])
def test_a_description_may_keep_correlation_away(tmp_path: Path, mark: str) -> None:
    marked = FULL.replace("What it finds.", f"{mark}What it finds.")
    assert marked != FULL
    assert not sentinel.load(write(tmp_path, marked), "p").incident.correlate
    assert sentinel.load(write(tmp_path, FULL), "p").incident.correlate


def test_every_key(tmp_path: Path) -> None:
    rule = sentinel.load(write(tmp_path, FULL), "p")
    assert (rule.id, rule.name, rule.version) == ("6f0ecbd1-9c85-4ab5-a4a3-4f7c3d1a8a01", "Suspicious thing", "1.10")
    assert (rule.kind, rule.severity, rule.description) == (RuleKind.SCHEDULED, "Medium", "What it finds.")
    assert (rule.frequency, rule.period) == (timedelta(minutes=20), timedelta(hours=1))
    assert (rule.operator, rule.threshold) == (Operator.GREATER, 3)
    assert rule.tactics == ("CredentialAccess", "LateralMovement")
    assert rule.techniques == ("T1003", "T1021.002")
    assert rule.entity_mappings == (EntityMapping("Account", (("FullName", "User"),)),)
    assert rule.custom_details == {"Count": "n"}
    assert rule.alert_details.name_format == "Hit on {{Computer}}"
    assert rule.alert_details.dynamic == (("ProductName", "P"),)
    assert rule.per_result
    assert (rule.incident.create, rule.incident.grouping) == (False, {"enabled": True})
    assert rule.suppression == timedelta(hours=5)
    assert rule.connectors == ("X",)


def test_the_arm_export(tmp_path: Path) -> None:
    arm = {
        "$schema": "x",
        "resources": [
            {
                "type": "Microsoft.OperationalInsights/workspaces/providers/alertRules",
                "name": "[concat(parameters('workspace'),'/Microsoft.SecurityInsights/0a1b2c3d-0000-4000-8000-00000000000f')]",
                "kind": "NRT",
                "properties": {
                    "displayName": "From the portal",
                    "severity": "High",
                    "enabled": False,
                    "query": "T",
                    "triggerOperator": "GreaterThan",
                    "tactics": ["Impact"],
                    "techniques": ["T1485"],
                    "subTechniques": [],
                    "entityMappings": None,
                    "suppressionEnabled": False,
                    "suppressionDuration": "PT5H",
                },
            }
        ],
    }
    rule = sentinel.load(write(tmp_path, json.dumps(arm, indent=1), "r.json"))
    assert rule.id == "0a1b2c3d-0000-4000-8000-00000000000f"
    assert (rule.kind, rule.name, rule.enabled, rule.techniques) == (RuleKind.NRT, "From the portal", False, ("T1485",))
    assert rule.period == timedelta(minutes=1)
    assert rule.suppression is None


def test_legacy_entity_columns(tmp_path: Path) -> None:
    text = "id: a\nname: n\nseverity: Low\nquery: |\n  T | extend AccountCustomEntity = U, IPCustomEntity = I\n"
    rule = sentinel.load(write(tmp_path, text))
    assert {m.type for m in rule.entity_mappings} == {"Account", "IP"}


def test_moved_stub_is_skipped(tmp_path: Path) -> None:
    stub = "id: a\nname: n\nkind: Scheduled\ndescription: |\n  As part of content migration, this file is moved to a new location\n"
    assert load_rule_file(write(tmp_path, stub)) == (None, [])


@pytest.mark.parametrize(
    ("change", "code", "hint"),
    [
        (("severity: medium", "severity: Critcal"), "CNT0012", ""),
        (("triggerOperator: gt", "triggerOperator: greater"), "CNT0012", ""),
        (("triggerThreshold: 3", "triggerThreshold: -1"), "CNT0014", ""),
        (("triggerThreshold: 3", "triggerThreshold: three"), "CNT0011", ""),
        (("queryFrequency: 20m", "queryFrequency: 20 moments"), "CNT0012", ""),
        (("queryFrequency: 20m", "queryFrequency: 2h"), "CNT0014", "Make queryPeriod at least queryFrequency."),
        (("queryFrequency: 20m", "queryFrequenzy: 20m"), "CNT0013", "Did you mean 'queryFrequency'?"),
        (("Lateral Movement", "LateralMovment"), "CNT0013", "Did you mean 'LateralMovement'?"),
        (("entityType: account", "entityType: Acount"), "CNT0013", "Did you mean 'Account'?"),
        (("identifier: Fullname", "identifier: Nmae"), "CNT0013", "Did you mean 'Name'?"),
        (("columnName: User", "column: User"), "CNT0013", "Did you mean 'columnName'?"),
        (("aggregationKind: AlertPerResult", "aggregationKind: PerRow"), "CNT0012", ""),
    ],
)
def test_complaints_name_line_and_remedy(tmp_path: Path, change: tuple[str, str], code: str, hint: str) -> None:
    assert change[0] in FULL
    text = FULL.replace(*change)
    line = next(i for i, t in enumerate(text.splitlines(), 1) if change[1] in t)
    if hint.startswith("Make"):
        line += 1  # it stands with the period
    found = complaints(tmp_path, text)
    assert any(c == code and at == line and (not hint or h == hint) for c, at, h in found), found


def test_no_query_and_empty_query(tmp_path: Path) -> None:
    assert complaints(tmp_path, "id: a\nname: n\nkind: Scheduled\nseverity: Low\n") == [("CNT0010", 1, "")]
    with pytest.raises(ContentError):
        sentinel.load(write(tmp_path, "id: a\nname: n\nseverity: Low\nquery:\n"))


def test_kinds_without_a_query_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DetectError, match="Fusion") as caught:
        sentinel.load(write(tmp_path, "id: a\nname: n\nkind: Fusion\nseverity: High\n"))
    assert (caught.value.code, caught.value.place and caught.value.place.line) == ("DET0002", 3)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1d", 86400), ("20m", 1200), ("5h", 18000), ("PT1H", 3600), ("P2DT1H30M", 178200), ("1.02:00:00", 93600),
        ("30s", 30), ("P1W", 604800), ("", None), ("P", None), ("1x", None), ("9" * 30 + "d", None), ("-1d", None),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: int | None) -> None:
    found = parse_duration(text)
    assert (found.total_seconds() if found else None) == seconds


def test_duration_text() -> None:
    assert [duration_text(timedelta(seconds=s)) for s in (86400, 5400, 30)] == ["1d", "90m", "30s"]


def test_a_query_in_quotes_is_taken_out_of_them_with_a_warning(tmp_path: Path) -> None:
    text = "id: a\nname: n\nseverity: Low\nquery: |\n  'let a = 1;\n  T | where A == a and B == ''\n  '\n"
    rule = sentinel.load(write(tmp_path, text))
    assert rule.query.strip() == "let a = 1;\nT | where A == a and B == ''"
    assert [c for c, _, _ in complaints(tmp_path, text)] == ["CNT0013"]
    kept = "id: a\nname: n\nseverity: Low\nquery: \"'a' | take 1\"\n"
    assert sentinel.load(write(tmp_path, kept)).query == "'a' | take 1"


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (("tactics: [CredentialAccess, Lateral Movement]", "tactics: Impact, Initial Access"), ("tactics", ("Impact", "InitialAccess"))),
        (("tactics: [CredentialAccess, Lateral Movement]", "tactics: ['Impact, Discovery', Execution]"),
         ("tactics", ("Impact", "Discovery", "Execution"))),
        (("relevantTechniques: [T1003, t1021.002]", "relevantTechniques: T1485"), ("techniques", ("T1485",))),
        (("triggerThreshold: 3", "triggerThreshold: '07'"), ("threshold", 7)),
        (("suppressionEnabled: true", "suppressionEnabled: 'False'"), ("suppression", None)),
        (("kind: Scheduled", "kind: Scheduled\nenabled: 'false'"), ("enabled", False)),
        (("tags: [a]", "tags: a b"), ("tags", ("a b",))),
    ],
)  # fmt: skip
def test_a_wrong_shape_with_one_meaning_is_put_right_with_a_warning(
    tmp_path: Path, change: tuple[str, str], seen: tuple[str, object]
) -> None:
    assert change[0] in FULL
    text = FULL.replace(*change)
    assert getattr(sentinel.load(write(tmp_path, text)), seen[0]) == seen[1]
    assert [c for c, line, _ in complaints(tmp_path, text) if line] == ["CNT0013"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("triggerThreshold: 3", "triggerThreshold: 'some'"), "CNT0011"),
        (("suppressionEnabled: true", "suppressionEnabled: 'perhaps'"), "CNT0011"),
        (("tactics: [CredentialAccess, Lateral Movement]", "tactics: {a: b}"), "CNT0011"),
    ],
)
def test_a_wrong_shape_without_a_meaning_is_refused(tmp_path: Path, change: tuple[str, str], code: str) -> None:
    assert [c for c, _, _ in complaints(tmp_path, FULL.replace(*change))] == [code]


def test_no_suppression_has_no_span(tmp_path: Path) -> None:
    text = FULL.replace("suppressionDuration: 5h", "suppressionDuration: 0s")
    assert sentinel.load(write(tmp_path, text)).suppression is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("5min", timedelta(minutes=5)), ("1hr", timedelta(hours=1)), ("2 days", timedelta(days=2)), ("1week", timedelta(days=7)),
     ("30sec", timedelta(seconds=30)), ("1dd", None), ("5hm", None), ("1month", None)],
)  # fmt: skip
def test_spans_with_longer_units(text: str, value: timedelta | None) -> None:
    assert parse_duration(text) == value
