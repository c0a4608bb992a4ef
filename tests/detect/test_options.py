"""Every option of the published rule schema by itself: written into one rule's YAML, and what it changes about the alerts of the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from tocsin.content import RuleFile
from tocsin.content.yamltext import parse_yaml
from tocsin.detect.alert import Alert
from tocsin.detect.formats.sentinel import rules_of
from tocsin.detect.rule import Rule, RuleKind, Windows
from tocsin.detect.run import run_rule

from .test_on_the_lake import START, House, failure

BASE = """id: 6f0c1d52-0000-4000-8000-000000000001
name: Failures
description: Somebody failed to sign in.
severity: Medium
queryFrequency: 5m
queryPeriod: 1h
triggerOperator: gt
triggerThreshold: 0
query: |
  SecurityEvent
  | where EventID == 4625
  | project TimeGenerated, TargetUserName, TargetDomainName, Computer, IpAddress, Level = "high", Steps = "Reset it.",
      Link = "https://x.example/1", Stage = "Persistence, Execution", Technique = "T1110", Product = "Watch", Sure = "0.9",
      Listed = dynamic([{"Type": "host", "HostName": "listed"}]), AccountCustomEntity = TargetUserName
"""

MAPPED = "entityMappings:\n  - entityType: {}\n    fieldMappings:\n      - identifier: {}\n        columnName: {}\n"
DYNAMIC = "alertDetailsOverride:\n  alertDynamicProperties:\n    - alertProperty: {}\n      value: {}\n"

Check = Callable[[Rule, Sequence[Alert]], object]


def labels(alerts: Sequence[Alert], kind: str) -> set[str]:
    return {e.label for a in alerts for e in a.entities if e.type == kind}


OPTIONS: dict[str, tuple[str, Check]] = {
    "none": ("", lambda r, a: (len(a), a[0].count, a[0].severity) == (1, 3, "Medium")),
    "severity": ("severity: Informational\n", lambda r, a: a[0].severity == "Informational"),
    "enabled": ("enabled: false\n", lambda r, a: not r.enabled),
    "status": ("status: Available\n", lambda r, a: r.enabled),
    "version": ("version: 1.2.3\n", lambda r, a: r.version == "1.2.3"),
    "kind NRT": ("kind: NRT\n", lambda r, a: (r.kind, r.frequency) == (RuleKind.NRT, timedelta(minutes=1))),
    "frequency in ISO": ("queryFrequency: PT15M\n", lambda r, a: r.frequency == timedelta(minutes=15)),
    "period in ISO": ("queryPeriod: P1DT1H\n", lambda r, a: r.period == timedelta(hours=25) and a[0].count == 4),
    "threshold": ("triggerThreshold: 3\n", lambda r, a: a == []),
    "threshold met": ("triggerThreshold: 2\n", lambda r, a: a[0].count == 3),
    "lt": ("triggerOperator: lt\ntriggerThreshold: 4\n", lambda r, a: len(a) == 1),
    "LessThan": ("triggerOperator: LessThan\ntriggerThreshold: 3\n", lambda r, a: a == []),
    "eq": ("triggerOperator: eq\ntriggerThreshold: 3\n", lambda r, a: len(a) == 1),
    "ne": ("triggerOperator: ne\ntriggerThreshold: 3\n", lambda r, a: a == []),
    "tactics": ("tactics: [CredentialAccess]\n", lambda r, a: a[0].tactics == ("CredentialAccess",)),
    "techniques": ("relevantTechniques: [T1110.001]\n", lambda r, a: a[0].techniques == ("T1110.001",)),
    "tags": ("tags: [mine]\n", lambda r, a: a[0].tags == ("mine",)),
    "metadata": ("metadata: {source: {kind: Community}}\n", lambda r, a: len(a) == 1),
    "connectors": (
        "requiredDataConnectors: [{connectorId: SecurityEvents, dataTypes: [SecurityEvent]}]\n",
        lambda r, a: r.connectors == ("SecurityEvents",),
    ),
    "account": (MAPPED.format("Account", "Name", "TargetUserName"), lambda r, a: labels(a, "Account") == {"ann", "bob"}),
    "host": (MAPPED.format("Host", "FullName", "Computer"), lambda r, a: labels(a, "Host") == {"dc1.corp.com"}),
    "address": (MAPPED.format("IP", "Address", "IpAddress"), lambda r, a: labels(a, "IP") == {"203.0.113.7"}),
    "entities column": ("sentinelEntitiesMappings: [{columnName: Listed}]\n", lambda r, a: labels(a, "Host") == {"listed"}),
    "old entity column": ("", lambda r, a: labels(a, "Account") >= {"ann", "bob"}),
    "custom details": ("customDetails: {User: TargetUserName}\n", lambda r, a: set(a[0].custom_details["User"]) == {"ann", "bob"}),
    "name format": (
        "alertDetailsOverride: {alertDisplayNameFormat: 'On {{Computer}}'}\n",
        lambda r, a: a[0].title == "On dc1.corp.com",
    ),
    "description format": (
        "alertDetailsOverride: {alertDescriptionFormat: 'At {{ IpAddress }}.'}\n",
        lambda r, a: a[0].description == "At 203.0.113.7.",
    ),
    "severity column": ("alertDetailsOverride: {alertSeverityColumnName: Level}\n", lambda r, a: a[0].severity == "High"),
    "tactics column": (
        "alertDetailsOverride: {alertTacticsColumnName: Stage}\n",
        lambda r, a: set(a[0].tactics) == {"Persistence", "Execution"},
    ),
    "link": (DYNAMIC.format("AlertLink", "Link"), lambda r, a: a[0].properties == {"AlertLink": "https://x.example/1"}),
    "steps": (DYNAMIC.format("RemediationSteps", "Steps"), lambda r, a: a[0].properties["RemediationSteps"] == "Reset it."),
    "confidence": (DYNAMIC.format("ConfidenceScore", "Sure"), lambda r, a: a[0].properties["ConfidenceScore"] == "0.9"),
    "product": (DYNAMIC.format("ProductName", "Product"), lambda r, a: a[0].product == "Watch"),
    "component": (DYNAMIC.format("ProductComponentName", "Product"), lambda r, a: len(a[0].properties) == 1),
    "dynamic techniques": (DYNAMIC.format("Techniques", "Technique"), lambda r, a: a[0].techniques == ("T1110",)),
    "each result": ("eventGroupingSettings: {aggregationKind: AlertPerResult}\n", lambda r, a: len(a) == 3),
    "one alert": ("eventGroupingSettings: {aggregationKind: SingleAlert}\n", lambda r, a: len(a) == 1),
    "no incident": ("incidentConfiguration: {createIncident: false}\n", lambda r, a: not a[0].create_incident),
    "apart": ("incidentConfiguration: {isExcludedFromIncidentCorrelation: true}\n", lambda r, a: not a[0].correlate and a[0].create_incident),
    "not apart": ("incidentConfiguration: {isExcludedFromIncidentCorrelation: false}\n", lambda r, a: a[0].correlate),
    "grouping": (
        "incidentConfiguration: {createIncident: true, groupingConfiguration: {enabled: true, matchingMethod: AllEntities}}\n",
        lambda r, a: r.incident.grouping["matchingMethod"] == "AllEntities",
    ),
    "suppression": ("suppressionEnabled: true\nsuppressionDuration: PT2H\n", lambda r, a: r.suppression == timedelta(hours=2)),
    "suppression off": ("suppressionEnabled: false\nsuppressionDuration: 2h\n", lambda r, a: r.suppression is None),
    "windows": ("windows: Lookback\n", lambda r, a: r.windows is Windows.LOOKBACK),
    "building block": ("buildingBlock: true\n", lambda r, a: not a[0].create_incident and a[0].correlate),
}  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("lake"))
    rows = [
        failure(m, user, IpAddress="203.0.113.7") for m, user in ((-120, "old"), (30, "ann"), (31, "ann"), (32, "bob"))
    ]
    made.write(*rows)
    yield made
    made.close()


def _written(options: str) -> str:
    """The rule with the options; one that is there already is replaced."""
    keys = {line.partition(":")[0] for line in options.splitlines() if line[:1].isalpha()}
    kept = [line for line in BASE.splitlines() if line.partition(":")[0] not in keys]
    return "\n".join(kept) + "\n" + options


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_by_itself(filled: House, name: str) -> None:
    options, check = OPTIONS[name]
    text = _written(options)
    rules, problems = rules_of(RuleFile(Path("r.yaml"), "t", "sentinel", tuple(parse_yaml(text, "r.yaml")), text))
    assert [str(p) for p in problems] == []
    (rule,) = rules
    end = START + timedelta(hours=1)
    alerts = run_rule(rule, filled.queries, end, window_start=end - max(rule.period, timedelta(hours=1)))
    assert check(rule, alerts), alerts
