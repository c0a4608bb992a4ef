"""Sigma files: what is loaded, what is refused and by which name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.detect.formats.sigma import load_folder
from tocsin.detect.rule import RuleKind
from tocsin.detect.sigma.matcher import SigmaMatcher

from .support import SIGMA, detection, needs_sigma, sigma, windows

FULL = """\
title: Encoded command
id: 6f0ecbd1-9c85-4ab5-a4a3-4f7c3d1a8a02
status: test
description: What it finds.
date: 2024-01-02
modified: 2024-03-04
tags: [attack.execution, attack.defense-evasion, attack.stealth, attack.t1059.001, cve.2024-1234]
level: critical
logsource: {product: windows, category: process_creation}
detection:
  s: {CommandLine|contains: ' -enc '}
  condition: s
"""


def test_head_of_a_rule() -> None:
    (rule,) = sigma(FULL).rules
    assert (rule.id, rule.name, rule.kind) == (
        "6f0ecbd1-9c85-4ab5-a4a3-4f7c3d1a8a02",
        "Encoded command",
        RuleKind.SIGMA,
    )
    assert (rule.severity, rule.tags) == ("High", ("critical", "cve.2024-1234"))
    assert (rule.tactics, rule.techniques) == (("Execution", "DefenseEvasion"), ("T1059.001",))
    assert (rule.product, rule.version) == ("Sigma", "2024-03-04")


def test_informational_rules_open_no_incident() -> None:
    (rule,) = sigma(FULL.replace("critical", "informational")).rules
    assert not rule.incident.create


def test_rules_without_id_get_a_stable_one() -> None:
    text = FULL.replace("id: 6f0ecbd1-9c85-4ab5-a4a3-4f7c3d1a8a02\n", "")
    assert sigma(text).rules[0].id == sigma(text).rules[0].id != ""


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (detection("  s: {A|nonsense: x}\n  condition: s"), "DET0007", "nonsense"),
        (detection("  s: {A: x}\n  condition: s and t"), "DET0007", "t"),
        (detection("  s: {A: x}\n  condition: s | count() > 5"), "DET0007", "timeframe"),
        (detection("  s: {A: x}\n  condition: s | max(B) > 5\n  timeframe: 5m"), "DET0007", "max(B)"),
        (detection("  s: {A: x}\n  condition: s | near not t\n  timeframe: 5m"), "DET0007", "near not t"),
        (detection("  s: {A: x}\n  condition: s | count() > 5\n  timeframe: soon"), "DET0007", "soon"),
        (detection("  s: {A|re: 'a(?=b)'}\n  condition: s"), "DET0007", "Regular expression"),
        (detection("  s: {A|re: 'a('}\n  condition: s"), "DET0007", "Regular expression"),
        (detection("  s: {A|cidr: 'nonsense'}\n  condition: s"), "DET0007", "CIDR"),
        (detection("  s: {A|expand: '%users%'}\n  condition: s"), "DET0008", "users"),
        (detection("  s: {A: x}\n  condition: s", "{product: toaster, service: bread}"), "DET0009", "toaster"),
        (detection("  s: {A: x}"), "DET0007", "condition"),
        (detection("  s: {A: x}\n  condition: s", "[a]"), "DET0007", "log"),
        ("- a\n- b\n", "CNT0011", "mapping"),
        (FULL + "---\naction: dance\n", "CNT0012", "dance"),
        (FULL + "---\n" + FULL, "CNT0020", "already"),
    ],
)
def test_refusals_name_what_is_wrong(text: str, code: str, words: str) -> None:
    found = sigma(text).problems
    assert [p.code for p in found] == [code], [str(p) for p in found]
    assert words.lower() in str(found[0]).lower()
    assert found[0].place is not None
    assert found[0].place.source == "rule.yml"
    assert found[0].place.line


def test_one_bad_rule_never_stops_the_others(tmp_path: Path) -> None:
    (tmp_path / "good.yml").write_text(FULL)
    (tmp_path / "bad.yml").write_text("title: [")
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "also.yml").write_text(FULL.replace("8a02", "8a03"))
    (tmp_path / "sentinel.yaml").write_text("id: a\nname: n\nquery: T\n")
    found = load_folder(tmp_path)
    assert len(found.rules) == 2
    assert sorted(p.code for p in found.problems) == ["CNT0002", "CNT0003", "CNT0010"]


def test_placeholders_come_from_watchlists() -> None:
    text = detection("  s: {User|expand: '%admins%'}\n  condition: s")
    rules = sigma(text, placeholders={"Admins": ["ann", "bob"]})
    assert rules.problems == ()
    matcher = SigmaMatcher(rules.rules)
    assert matcher.hits(windows({"data": {"User": "BOB"}}))
    assert not matcher.hits(windows({"data": {"User": "eve"}}))


def test_filters_narrow_rules() -> None:
    text = (
        FULL
        + """---
title: Ours
logsource: {product: windows, category: process_creation}
filter:
  rules: [6f0ecbd1-9c85-4ab5-a4a3-4f7c3d1a8a02]
  ours: {User: svc}
  condition: not ours
"""
    )
    rules = sigma(text)
    assert rules.problems == ()
    matcher = SigmaMatcher(rules.rules)
    assert matcher.hits(windows({"data": {"CommandLine": "x -enc y", "User": "ann"}}))
    assert not matcher.hits(windows({"data": {"CommandLine": "x -enc y", "User": "svc"}}))


def test_global_documents() -> None:
    head = "action: global\ntitle: G\nlevel: low\nlogsource: {product: windows, category: process_creation}\n"
    text = (
        head
        + "---\ndetection:\n  s: {A: x}\n  condition: s\n---\ndescription: two\ndetection:\n  s: {A: y}\n  condition: s\n"
    )
    rules = sigma(text)
    assert rules.problems == ()
    assert [bool(SigmaMatcher([r]).hits(windows({"data": {"A": "y"}}))) for r in rules.rules] == [False, True]


@needs_sigma
@pytest.mark.slow
def test_the_whole_rule_set_loads() -> None:
    found = load_folder(SIGMA)
    codes = {p.code for p in found.problems if not str(p.place).endswith(("info.yml", "info.yaml"))}
    assert len(found.rules) > 3_500
    assert codes <= {"DET0008", "DET0009", "CNT0010"}
