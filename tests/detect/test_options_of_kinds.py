"""Every option of a rule with every kind of rule: one table of options, each written into a rule of each kind over the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tocsin.content import RuleFile
from tocsin.content.yamltext import parse_yaml
from tocsin.detect.again import simulate
from tocsin.detect.alert import Alert
from tocsin.detect.formats.sentinel import rules_of
from tocsin.detect.rule import Rule, RuleKind, Windows
from tocsin.detect.run import run_rule
from tocsin.detect.tuning import Exclusion, tuned

from .test_kinds import indicator
from .test_on_the_lake import START, House, failure, house, scheduler

__all__ = ["house"]

HEAD = "id: k\nname: K\ndescription: D\nseverity: Medium\nqueryFrequency: 1h\nqueryPeriod: 1h\n"
FAILURES = "SecurityEvent | where EventID == 4625"
BODIES = {
    "Scheduled": f"kind: Scheduled\nquery: {FAILURES} | project TimeGenerated, Computer\n",
    "NRT": f"kind: NRT\nquery: {FAILURES} | project TimeGenerated, Computer\n",
    "Threshold": f"kind: Threshold\nthreshold: {{by: [Computer], count: 1}}\nquery: {FAILURES}\n",
    "NewTerms": f"kind: NewTerms\nnewTerms: {{columns: [Computer], history: 7d}}\nquery: {FAILURES}\n",
    "Sequence": f"kind: Sequence\nsequence: {{by: [Computer], maxspan: 10m, steps: ['{FAILURES}', 'SecurityEvent | where EventID == 4624']}}\n",
    "IndicatorMatch": "kind: IndicatorMatch\nindicatorMatch: {column: IpAddress, type: ipv4-addr, confidence: 50, lookback: 7d}\n"
    f"query: {FAILURES}\n",
}  # fmt: skip
HOSTS = {"dc1.corp.com", "ws1.corp.com"}
Check = Callable[[Rule, Sequence[Alert]], object]


def hosts(alerts: Sequence[Alert]) -> set[str]:
    return {e.label for a in alerts for e in a.entities if e.type == "Host"}


MAPPED = "entityMappings: [{entityType: Host, fieldMappings: [{identifier: FullName, columnName: Computer}]}]\n"
OPTIONS: dict[str, tuple[str, Check]] = {
    "entity mappings": (MAPPED, lambda r, a: hosts(a) == HOSTS),
    "custom details": ("customDetails: {Machine: Computer}\n", lambda r, a: {m for x in a for m in x.custom_details["Machine"]} == HOSTS),
    "name format": ("alertDetailsOverride: {alertDisplayNameFormat: 'On {{Computer}}'}\n", lambda r, a: a[0].title in {f"On {h}" for h in HOSTS}),
    "description format": (
        "alertDetailsOverride: {alertDescriptionFormat: 'At {{Computer}}'}\n",
        lambda r, a: a[0].description in {f"At {h}" for h in HOSTS},
    ),
    "severity": ("severity: High\n", lambda r, a: {x.severity for x in a} == {"High"}),
    # No severity stands there, so the rule's own holds.
    "severity column": ("alertDetailsOverride: {alertSeverityColumnName: Computer}\n", lambda r, a: {x.severity for x in a} == {"Medium"}),
    "dynamic property": (
        "alertDetailsOverride: {alertDynamicProperties: [{alertProperty: ProductName, value: Computer}]}\n", lambda r, a: a[0].product in HOSTS,
    ),
    "each result": ("eventGroupingSettings: {aggregationKind: AlertPerResult}\n", lambda r, a: len(a) >= 2),
    "one alert": ("eventGroupingSettings: {aggregationKind: SingleAlert}\n", lambda r, a: len(a) == 1),
    "tactics": (
        "tactics: [CredentialAccess]\nrelevantTechniques: [T1110]\n",
        lambda r, a: (a[0].tactics, a[0].techniques) == (("CredentialAccess",), ("T1110",)),
    ),
    "tags": ("tags: [mine]\n", lambda r, a: a[0].tags == ("mine",)),
    "required tables": (
        "requiredDataConnectors: [{connectorId: SecurityEvents, dataTypes: [SecurityEvent]}]\n", lambda r, a: r.connectors == ("SecurityEvents",),
    ),
    "no incident": ("incidentConfiguration: {createIncident: false}\n", lambda r, a: not a[0].create_incident),
    "apart": ("incidentConfiguration: {isExcludedFromIncidentCorrelation: true}\n", lambda r, a: not a[0].correlate and a[0].create_incident),
    "not apart": ("incidentConfiguration: {isExcludedFromIncidentCorrelation: false}\n", lambda r, a: a[0].correlate),
    "grouping": (
        "incidentConfiguration: {createIncident: true, groupingConfiguration: {enabled: true, matchingMethod: AllEntities}}\n",
        lambda r, a: r.incident.grouping["matchingMethod"] == "AllEntities" and a[0].create_incident,
    ),
    "building block": ("buildingBlock: true\n", lambda r, a: not a[0].create_incident and a[0].correlate and "building-block" in a[0].tags),
    # A near-real-time rule has no threshold: it fires on any row.
    "threshold": ("triggerOperator: gt\ntriggerThreshold: 100\n", lambda r, a: bool(a) is (r.kind is RuleKind.NRT)),
    "few results": ("triggerOperator: lt\ntriggerThreshold: 100\n", lambda r, a: len(a) == 1),
    "windows": ("windows: Lookback\n", lambda r, a: r.windows is Windows.LOOKBACK),
    "version": ("version: 1.2.3\n", lambda r, a: r.version == "1.2.3"),
    "disabled": ("enabled: false\n", lambda r, a: not r.enabled),
}  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """On each of two hosts two failures and then a success, from addresses that indicators name."""
    made = []
    for number, host in enumerate(sorted(HOSTS), 1):
        more = {"Computer": host, "IpAddress": f"203.0.113.{number}"}
        made += [failure(30, **more), failure(31, **more), failure(32, EventID=4624, **more)]
    return made


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("lake"))
    made.write(*rows())
    made.write(*[indicator(-60, f"203.0.113.{n}") for n in (1, 2)], table="ThreatIntelIndicators")
    yield made
    made.close()


def loaded(kind: str, options: str = "") -> Rule:
    keys = {line.partition(":")[0] for line in options.splitlines()}
    head = "".join(f"{line}\n" for line in HEAD.splitlines() if line.partition(":")[0] not in keys)
    text = head + BODIES[kind] + options
    rules, problems = rules_of(RuleFile(Path("r.yaml"), "t", "sentinel", tuple(parse_yaml(text, "r.yaml")), text))
    assert [str(p) for p in problems] == []
    (rule,) = rules
    return rule


def alerts_of(house: House, rule: Rule) -> list[Alert]:
    end = START + timedelta(hours=1)
    return run_rule(rule, house.queries, end, window_start=end - max(rule.period, timedelta(hours=1)))


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_with_a_kind(filled: House, kind: str, name: str) -> None:
    options, check = OPTIONS[name]
    rule = loaded(kind, options)
    alerts = alerts_of(filled, rule)
    assert check(rule, alerts), alerts


@pytest.mark.parametrize("kind", BODIES)
def test_exclusions_with_a_kind(filled: House, kind: str) -> None:
    given = {"column": "Computer", "operator": "equals", "values": ["dc1.corp.com"]}
    exclusion = Exclusion.from_dict(
        {"id": "x", "conditions": [given], "reason": "r", "created": START.isoformat(), "created_by": "ann"}
    )
    alerts = alerts_of(filled, tuned(loaded(kind, MAPPED), [exclusion], {}))
    assert hosts(alerts) == {"ws1.corp.com"}


@pytest.mark.parametrize("kind", BODIES)
def test_simulation_with_a_kind(filled: House, kind: str) -> None:
    """Fifty windows, one after the other; those that hold the rows trigger, and what one said the next doesn't say again."""
    rule = loaded(kind)
    shown = simulate(rule, filled.queries, START + timedelta(hours=1))
    assert len(shown) == 50
    assert all(later.end - earlier.end == rule.frequency for earlier, later in pairwise(shown))
    assert shown[-1].end == START + timedelta(hours=1)
    fired = [w for w in shown if w.triggers]
    assert fired
    assert all(w.results > 0 for w in fired)
    # Minute by minute the failures of 10:30 and 10:31 are told apart; an hour holds all.
    assert [len(w.alerts) for w in fired] == ([1, 1] if kind == "NRT" else [1])
    assert all(not w.alerts for w in shown if not w.triggers)


@pytest.mark.parametrize("kind", BODIES)
def test_suppression_with_a_kind(house: House, kind: str) -> None:
    """What is received within two hours after the alert says nothing; what is received afterwards does."""
    house.write(*[indicator(-60, f"203.0.113.{n}") for n in (1, 2, 3)], table="ThreatIntelIndicators")
    rule = loaded(kind, "suppressionEnabled: true\nsuppressionDuration: 2h\n")
    made, ledger = scheduler(house, [rule], eager=False, delay=timedelta(0))
    assert made.tick() == []

    def come(host: str, minutes: float) -> int:
        now = house.clock.now()
        again = [
            {**r, "TimeGenerated": now + timedelta(seconds=n), "_TimeReceived": now, "Computer": host}
            for n, r in enumerate(rows()[:3])
        ]
        house.write(*again)
        house.clock.advance(timedelta(minutes=minutes))
        return len(made.tick())

    house.clock.advance(timedelta(minutes=10))
    assert come("a.corp.com", 61) == 1
    assert come("b.corp.com", 61) == 0
    assert ledger.get(rule.id).suppressed_until is not None
    house.clock.advance(timedelta(hours=3))
    assert made.tick() == []
    assert come("c.corp.com", 61) == 1
    assert len(ledger.alerts) == 2


@pytest.mark.parametrize("kind", BODIES)
def test_a_failing_query_switches_any_kind_off(house: House, kind: str) -> None:
    """Five runs that can't succeed, each later than the one before: then the rule is off, with the reason."""
    rule = loaded(kind)
    made, ledger = scheduler(house, [rule], eager=False, delay=timedelta(0))
    made.tick()
    broken = loaded(kind)
    object.__setattr__(broken, "query", broken.query + "\n| where NoSuchColumn == 1")
    made.set_rules([broken])
    for _ in range(12):
        house.clock.advance(timedelta(hours=2))
        made.tick()
    row = ledger.get(rule.id)
    assert row.disabled_reason is not None
    assert "NoSuchColumn" in row.disabled_reason
    assert row.failures == 5
