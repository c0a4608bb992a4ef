"""Rules that are made to hurt: each is refused by name or runs within bounds, and the good rule beside it fires."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.detect.support import detection, sigma, windows
from tests.detect.test_defender_format import graph
from tests.detect.test_on_the_lake import House, failure, house, rule, scheduler
from tocsin.content import load_packs
from tocsin.detect.durations import parse_duration
from tocsin.detect.load import rules_of_content
from tocsin.detect.rule import RuleKind
from tocsin.detect.sigma import fields
from tocsin.detect.sigma.checks import MOST_INSTRUCTIONS, Regex
from tocsin.detect.sigma.matcher import SigmaMatcher

__all__ = ["house"]

GOOD = detection("  s: {CommandLine: good}\n  condition: s").replace("0001", "7777")


def pack(folder: Path, name: str, text: str) -> Path:
    (folder / "p" / "rules").mkdir(parents=True)
    (folder / "p" / "pack.yaml").write_text("id: p\nname: P\nversion: '1.0'\nlicence: Apache-2.0\n")
    (folder / "p" / "rules" / name).write_text(text, "utf-8")
    (folder / "p" / "rules" / "good.yml").write_text(GOOD, "utf-8")
    return folder


def correlations(references: list[str], **more: str) -> str:
    def one(n: int, reference: str) -> str:
        head = f"title: C{n}\nname: c{n}\nid: 0a1b2c3d-0000-4000-8000-{n:012d}\ncorrelation:\n  type: event_count\n  rules: [{reference}]\n"
        return (
            head
            + f"  group-by: [A]\n  timespan: {more.get('timespan', '5m')}\n  condition: {more.get('condition', '{gte: 2}')}\n"
        )

    return "---\n".join(one(n, r) for n, r in enumerate(references))


def sentinel(**more: Any) -> str:
    base = {
        "id": "0a1b2c3d-0000-4000-8000-000000000001", "name": "N", "kind": "Scheduled", "severity": "High", "query": "SecurityEvent",
        "queryFrequency": "1h", "queryPeriod": "1h", "triggerOperator": "gt", "triggerThreshold": 0,
    }  # fmt: skip
    return json.dumps({**base, **more})


def s(values: str) -> str:
    return detection(f"  s: {values}\n  condition: s")


BAD = [
    ("deep.yml", detection("  s: {A: 1}\n  condition: " + "not " * 3000 + "s"), "nested too deeply"),
    ("flow.yml", s("[" * 3000 + "]" * 3000), "nesting depth"),
    ("alternatives.yml", s("{A|re: '" + "|".join(f"a{n}.*b" for n in range(20_000)) + "'}"), "too large"),
    ("repeat.yml", s("{A|re: '((a{1000}){1000})'}"), "repetition size"),
    ("windash.yml", s("{A|windash|contains: ' -a -b -c -d -e -f'}"), "windash"),
    ("modifier.yml", s("{A|frobnicate: 1}"), "frobnicate"),
    ("compare.yml", s("{A|gt: 1e999}"), "1e999"),
    ("circle.yml", correlations(["c1", "c2", "c0"]), "wait for each other"),
    ("nobody.yml", correlations(["nope"]), "aren't here: nope"),
    ("filter.yml", ("title: F\nid: 0a1b2c3d-0000-4000-8000-000000000009\nlogsource: {product: windows}\n"
     "filter:\n  rules: [nope]\n  s: {A: 1}\n  condition: not s\n"), "The filter names rules that aren't here: nope"),
    ("nul.yml", s("{A: 'a\0b'}"), "control characters"),
    ("self.yml", "a: &a [*a]", "refers to itself"),
    ("tag.yml", "!!python/object/apply:os.system ['id']", "isn't a rule"),
    ("days.json", sentinel(queryFrequency="9999999999h"), "isn't a duration"),
    ("fine.json", sentinel(queryFrequency="5m", queryPeriod="3000d"), "25,000 times the frequency"),
    ("threshold.json", sentinel(triggerThreshold=10**400), "triggerThreshold"),
    ("custom.json", json.dumps(graph(schedule={"period": "99999999999999H"})), "isn't a duration"),
    ("back.json", json.dumps(graph(schedule={"frequency": "PT1H", "lookback": "P3650D"})), "25,000 times"),
    ("value.json", json.dumps({"value": [1, None, {"queryCondition": 5}]}), "must be a mapping"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "said"), BAD, ids=[b[0] for b in BAD])
def test_bad_rules_are_named_and_the_others_run(tmp_path: Path, name: str, text: str, said: str) -> None:
    content = load_packs([pack(tmp_path, name, text)])
    rules, problems = rules_of_content(content)
    told = [str(p) for p in (*content.problems, *problems)]
    assert any(said in t and name in t for t in told), told
    assert [r.id[-4:] for r in rules] == ["7777"]
    assert len(SigmaMatcher(rules).hits(windows({"data": {"CommandLine": "good"}}))) == 1


def test_many_large_expressions_are_searched_for_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE2 refuses a set that is too large, and then no rule would run."""
    monkeypatch.setattr(fields, "_SET_INSTRUCTIONS", 5_000)
    checks = {Regex("|".join(f"x{n}_{i}.*y" for i in range(100))): n for n in range(40)}
    assert sum(c.size for c in checks) > 5 * 5_000
    table = fields.FieldTable(checks)
    assert table["..x7_3__y"] == {7}
    assert table["..x39_99 y"] == {39}
    assert table["..x7_3__z"] == frozenset()


def test_the_largest_expression_that_is_taken_finds() -> None:
    most = Regex("|".join(f"a{n}.*b" for n in range(5_000)))
    assert 5 * 10**4 < most.size < MOST_INSTRUCTIONS
    assert most.holds("xx a4999 -- b")
    assert not most.holds("xx a4999 -- c")
    text = detection("  s: {CommandLine|re: '" + most.pattern + "'}\n  condition: s")
    assert len(SigmaMatcher(sigma(text).rules).hits(windows({"data": {"CommandLine": "a17 b"}}))) == 1


def test_a_suppression_of_years_does_not_stop_the_rule(house: House) -> None:
    longest = parse_duration("3660d")
    assert longest is not None
    assert parse_duration("3661d") is None
    query = "SecurityEvent | where EventID == 4625 | project TimeGenerated, TargetUserName, Computer"
    made, ledger = scheduler(house, [rule(query, suppression=longest, kind=RuleKind.SCHEDULED)], eager=False)
    made.tick()
    house.write(failure(1))
    house.clock.advance(timedelta(minutes=10))
    assert len(made.tick()) == 1
    house.write(failure(15))
    house.clock.advance(timedelta(minutes=20))
    assert made.tick() == []
    assert ledger.get("r").failures == 0
