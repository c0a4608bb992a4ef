"""Sentinel's options on Sigma rules: in the block `tocsin` of the rule, or in a document that names rules of others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.content import load_rule_file
from tocsin.detect.alert import Alert
from tocsin.detect.formats.sigma import SigmaRules, load_files, load_folder
from tocsin.detect.sigma.matcher import SigmaMatcher
from tocsin.detect.tuning import tuned

from .support import detection, sigma, windows

START = datetime(2024, 5, 1, 10, tzinfo=UTC)
ID = "0a1b2c3d-0000-4000-8000-000000000001"
PLAIN = detection("  s: {Image|endswith: bad.exe}\n  condition: s", head="name: bad_program\n")
CORRELATION = f"""
---
title: Often
id: 0a1b2c3d-0000-4000-8000-000000000002
correlation: {{type: event_count, rules: [{ID}], group-by: [User], timespan: 1h, condition: {{gte: 2}}}}
tocsin:
  severity: High
  alertDetailsOverride: {{alertDisplayNameFormat: "{{{{User}}}} often ({{{{Count}}}})"}}
  entityMappings: [{{entityType: Account, fieldMappings: [{{identifier: Name, columnName: User}}]}}]
"""


def event(minutes: float = 0, host: str = "ws1.contoso.com", **data: Any) -> dict[str, Any]:
    at = (START + timedelta(minutes=minutes)).isoformat()
    return {
        "TimeCreated": at,
        "Computer": host,
        "data": {"Image": "C:\\bad.exe", "User": "ann", "CommandLine": "x", **data},
    }


def loaded(text: str) -> SigmaRules:
    rules = sigma(text)
    assert rules.problems == ()
    return rules


def scan(text: str, *events: dict[str, Any]) -> list[Alert]:
    matcher = SigmaMatcher(loaded(text).rules)
    matcher.match(windows(*events))
    return matcher.finish()


def test_the_block_says_what_alerts_are() -> None:
    text = PLAIN + (
        "tocsin:\n"
        "  severity: Low\n"
        "  tactics: [Lateral Movement]\n"
        "  relevantTechniques: [T1021.002]\n"
        "  customDetails: {Command: CommandLine}\n"
        "  entityMappings:\n"
        "    - {entityType: Host, fieldMappings: [{identifier: HostName, columnName: Target}]}\n"
        "  alertDetailsOverride:\n"
        "    alertDisplayNameFormat: 'Bad on {{Computer}}'\n"
        "    alertSeverityColumnName: Severity\n"
        "    alertDynamicProperties: [{alertProperty: AlertLink, value: Link}]\n"
        "  incidentConfiguration: {createIncident: false}\n"
    )
    first, second = scan(text, event(Target="srv1", Link="https://x.example"), event(1, Target="srv2", Severity="high"))
    assert (first.title, first.severity, first.tactics, first.techniques) == (
        "Bad on ws1.contoso.com", "Low", ("LateralMovement",), ("T1021.002",),
    )  # fmt: skip
    assert [(e.type, e.label) for e in first.entities] == [("Host", "srv1")]  # mapped, instead of derived
    assert first.custom_details == {"Command": ["x"]}
    assert first.properties == {"AlertLink": "https://x.example"}
    assert not first.create_incident
    assert (second.severity, [e.label for e in second.entities]) == ("High", ["srv2"])


def test_a_rule_that_correlation_leaves_alone() -> None:
    text = PLAIN + "tocsin: {incidentConfiguration: {isExcludedFromIncidentCorrelation: true}}\n"
    (made,) = scan(text, event())
    assert (made.correlate, made.create_incident) == (False, True)
    assert scan(PLAIN, event())[0].correlate
    (rule,) = loaded(PLAIN).rules
    assert not tuned(rule, (), {"correlate": False}).incident.correlate


@pytest.mark.parametrize(("kind", "counts"), [("", [2, 1]), ("SingleAlert", [3]), ("AlertPerResult", [1, 1, 1])])
def test_grouping(kind: str, counts: list[int]) -> None:
    text = PLAIN + (f"tocsin: {{eventGroupingSettings: {{aggregationKind: {kind}}}}}\n" if kind else "")
    events = [event(0), event(1), event(2, host="ws2.contoso.com")]
    assert sorted((a.count for a in scan(text, *events)), reverse=True) == counts
    live = SigmaMatcher(loaded(text).rules, live=True)
    told = [a for e in events for a in live.match(windows(e))]
    assert len(told) == len(counts)
    assert len({a.id for a in told}) == len(counts)


@pytest.mark.parametrize("live", [True, False])
def test_an_alert_a_result_ends_at_the_limit_of_a_run(live: bool) -> None:
    text = PLAIN + "tocsin: {eventGroupingSettings: {aggregationKind: AlertPerResult}, triggerThreshold: 2}\n"
    matcher = SigmaMatcher(loaded(text).rules, live=live)
    events = [event(i / 10, CommandLine=str(i)) for i in range(200)]
    told = [a for at in range(0, 200, 50) for a in matcher.match(windows(*events[at : at + 50]))] + matcher.finish()
    assert len(told) == 150
    assert len({a.id for a in told}) == 150
    if not live:  # what comes after a live alert can't be in it
        assert told[-1].count == 51
    assert (
        matcher.match(windows(event(0, host="ws3.contoso.com"), event(1, host="ws3.contoso.com"))) == []
    )  # not over the threshold


def test_suppression_and_building_blocks() -> None:
    now = [0.0]
    text = PLAIN + "tocsin: {suppressionEnabled: true, suppressionDuration: PT30M, buildingBlock: true}\n"
    (rule,) = loaded(text).rules
    assert (rule.suppression, rule.incident.create, rule.tags) == (timedelta(minutes=30), False, ("building-block",))
    matcher = SigmaMatcher([rule], live=True, clock=lambda: now[0])
    assert len(matcher.match(windows(event(0)))) == 1
    assert matcher.match(windows(event(1, host="ws2.contoso.com"))) == []
    now[0] = 1801.0
    assert len(matcher.match(windows(event(2, host="ws3.contoso.com")))) == 1


def test_a_correlation_has_them_too() -> None:
    told = {a.rule: a for a in scan(PLAIN + CORRELATION, event(0), event(1))}
    assert set(told) == {"Often"}
    assert (told["Often"].title, told["Often"].severity) == ("ann often (2)", "High")
    assert [(e.type, e.label) for e in told["Often"].entities] == [("Account", "ann")]


@pytest.mark.parametrize("named", [ID, "bad_program", "any"])
def test_a_document_gives_them_to_rules_that_stay_as_they_are(named: str, tmp_path: Path) -> None:
    (tmp_path / "theirs.yml").write_text(PLAIN, encoding="utf-8")
    ours = f"title: Ours\ntocsin:\n  rules: {named if named == 'any' else f'[{named}]'}\n  severity: Informational\n  triggerThreshold: 3\n"
    (tmp_path / "ours.yml").write_text(ours, encoding="utf-8")
    for _ in range(2):  # the second time rules come from the cache
        found = load_folder(tmp_path, cache=tmp_path / ".cache")
        assert found.problems == ()
        (rule,) = found.rules
        assert (rule.severity, rule.threshold, rule.path) == ("Informational", 3, tmp_path / "theirs.yml")


def test_documents_win_over_the_rules_own_block() -> None:
    text = PLAIN + "tocsin: {severity: Low, triggerThreshold: 1}\n---\ntocsin: {rules: [bad_program], severity: High}\n"
    (rule,) = loaded(text).rules
    assert (rule.severity, rule.threshold) == ("High", 1)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("{supressionEnabled: true}", "has no field 'supressionEnabled'. Did you mean 'suppressionEnabled'?"),
        ("{queryFrequency: 1h}", "has no field 'queryFrequency'"),
        ("{rules: [x]}", "has no field 'rules'"),
        ("{severity: Huge}", "'Huge' isn't one of"),
        ("{triggerThreshold: many}", "'triggerThreshold' must be a whole number"),
        ("{suppressionDuration: soon}", "isn't a duration"),
        ("{tactics: [Magic]}", "'Magic' isn't a tactic"),
        (
            "{entityMappings: [{entityType: Hots, fieldMappings: []}]}",
            "'Hots' isn't an entity type. Did you mean 'Host'?",
        ),
        ("{alertDetailsOverride: {alertName: x}}", "has no field 'alertName'"),
        ("[a]", "must be a mapping, not a list"),
        ("7", "must be a mapping, not a number"),
    ],
)
def test_what_is_wrong_is_refused_by_name_and_place(block: str, said: str) -> None:
    other = PLAIN.replace(ID, ID[:-1] + "9").replace("bad_program", "other")
    found = sigma(f"{PLAIN}tocsin: {block}\n---\n{other}")
    assert [r.id for r in found.rules] == [ID[:-1] + "9"]  # the others run
    (problem,) = found.problems
    assert said in f"{problem.message} {problem.hint}"
    assert problem.place is not None
    assert problem.place.line == PLAIN.count("\n") + 1


def test_documents_that_name_nobody_are_told(tmp_path: Path) -> None:
    found = sigma(
        PLAIN
        + "---\ntocsin: {rules: [bad_progam], severity: High}\n---\ntocsin: {rules: 7}\n---\ntocsin: {severity: Low}\n"
    )
    assert [r.severity for r in found.rules] == ["High"]  # the rule's level
    assert sorted(p.code for p in found.problems) == ["CNT0010", "CNT0011", "DET0010"]
    assert any("Did you mean 'bad_program'?" in p.hint for p in found.problems)
    path = tmp_path / "only.yml"
    path.write_text("tocsin: {rules: [x], severity: Low}\n", encoding="utf-8")
    file, complaints = load_rule_file(path)
    assert file is not None
    assert complaints == []
    assert [p.code for p in load_files([file]).problems] == ["DET0010"]


def test_global_documents_hand_the_block_on() -> None:
    text = f"action: global\ntocsin: {{severity: Low}}\n---\n{PLAIN}---\n{PLAIN.replace(ID, ID[:-1] + '9').replace('bad_program', 'o')}"
    assert [r.severity for r in loaded(text).rules] == ["Low", "Low"]
    (problem,) = sigma(text.replace("severity: Low", "severe: Low")).problems[:1]
    assert "has no field 'severe'" in problem.message
