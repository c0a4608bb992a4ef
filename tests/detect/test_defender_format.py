"""Custom detections of Defender XDR in both shapes that Graph has had, run unmodified."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.content import load_rule_file
from tocsin.detect.check import check_rule
from tocsin.detect.formats.defender import rules_of
from tocsin.detect.make import Rows, make_alerts
from tocsin.detect.responses import RESPONSES, Response, responses_of
from tocsin.detect.rule import Rule, RuleKind
from tocsin.detect.run import run_rule
from tocsin.detect.schedule import Scheduler, ScheduleSettings

from .test_on_the_lake import START, House, Ledger, house  # noqa: F401 - a fixture

QUERY = """DeviceProcessEvents
| where FileName =~ 'rubeus.exe'
| project Timestamp, ReportId, DeviceId, DeviceName, AccountUpn, AccountSid, ProcessCommandLine"""


def graph(**more: Any) -> dict[str, Any]:
    """As GET /security/rules/detectionRules/7506 gave it until 2026."""
    return {
        "@odata.type": "#microsoft.graph.security.detectionRule",
        "id": "7506",
        "displayName": "Ticket tool",
        "isEnabled": True,
        "createdBy": "ann@contoso.com",
        "lastRunDetails": {"status": "completed"},
        "detectorId": "67895317-b2a8-4ac3-8f8b-fa6b7765f2fe",
        "queryCondition": {"queryText": QUERY, "lastModifiedDateTime": "2025-01-01T00:00:00Z"},
        "schedule": {"period": "1H", "nextRunDateTime": "2025-01-01T00:00:00Z"},
        "detectionAction": {
            "alertTemplate": {
                "title": "{{FileName}} on a device",
                "description": "A tool that asks for tickets.",
                "severity": "medium",
                "category": "CredentialAccess",
                "recommendedActions": "Reset the account.",
                "mitreTechniques": ["T1558.003"],
                "impactedAssets": [
                    {"@odata.type": "#microsoft.graph.security.impactedDeviceAsset", "identifier": "deviceName"},
                    {"@odata.type": "#microsoft.graph.security.impactedUserAsset", "identifier": "accountUpn"},
                ],
            },
            "organizationalScope": None,
            "responseActions": [
                {"@odata.type": "#microsoft.graph.security.isolateDeviceResponseAction", "isolationType": "full"}
            ],
        },
        **more,
    }


def newer() -> dict[str, Any]:
    """With what replaced periods, impacted assets and response actions."""
    rule = graph(id="7507", status="enabled", schedule={"frequency": "PT3H", "lookback": "PT12H"})
    rule["detectionAction"] = {
        "alertTemplate": {
            "title": "Ticket tool",
            "severity": "high",
            "tactics": [{"tactic": "credentialAccess", "techniques": ["T1558.003", "T1550"]}],
            "entityMappings": {
                "accounts": [{"upnColumn": "AccountUpn", "sidColumn": "AccountSid"}],
                "hosts": [{"hostNameColumn": "DeviceName"}],
            },
            "customDetails": {"Line": "ProcessCommandLine"},
            "eventGroupingKind": "singleAlert",
        },
        "automatedActions": {
            "isolateDevices": [{"deviceIdColumn": "DeviceId", "isolationType": "selective"}],
            "initiateInvestigations": [],
        },
    }
    rule["incidentConfiguration"] = {"isExcludedFromIncidentCorrelation": True}
    return rule


def load(document: Any, folder: Path) -> tuple[list[Rule], list[str]]:
    path = folder / "detection.json"
    path.write_text(json.dumps(document, indent=2), "utf-8")
    file, unreadable = load_rule_file(path)
    assert file is not None, unreadable
    assert file.format == "defender"
    rules, problems = rules_of(file)
    return rules, [str(p) for p in problems]


def test_the_older_shape(tmp_path: Path) -> None:
    (rule,), problems = load(graph(), tmp_path)
    assert (rule.id, rule.kind, rule.severity, rule.enabled) == ("7506", RuleKind.DEFENDER, "Medium", True)
    assert (rule.frequency, rule.period) == (timedelta(hours=1), timedelta(hours=4))
    assert (rule.tactics, rule.techniques) == (("CredentialAccess",), ("T1558.003",))
    assert [(m.type, m.fields) for m in rule.entity_mappings] == [
        ("Host", (("FullName", "DeviceName"),)),
        ("Account", (("FullName", "AccountUpn"),)),
    ]
    assert rule.per_result
    assert "Reset the account." in rule.description
    assert problems == []
    assert rule.responses == (Response("isolateDevice", ("DeviceId",), {"isolationType": "full"}),)


def test_the_newer_shape_in_a_list(tmp_path: Path) -> None:
    (one, two), problems = load({"@odata.context": "…", "value": [graph(), newer()]}, tmp_path)
    assert one.id == "7506"
    assert (two.frequency, two.period, two.severity) == (timedelta(hours=3), timedelta(hours=12), "High")
    assert two.techniques == ("T1558.003", "T1550")
    assert [(m.type, m.fields) for m in two.entity_mappings] == [
        ("Account", (("FullName", "AccountUpn"), ("Sid", "AccountSid"))),
        ("Host", (("HostName", "DeviceName"),)),
    ]
    assert two.custom_details == {"Line": "ProcessCommandLine"}
    assert not two.per_result
    assert not two.incident.correlate
    assert problems == []
    assert two.responses == (Response("isolateDevice", ("DeviceId",), {"isolationType": "selective"}),)


@pytest.mark.parametrize(
    ("schedule", "frequency", "period"),
    [
        ({"period": "0"}, timedelta(minutes=1), timedelta(minutes=1)),
        ({"period": "24H"}, timedelta(days=1), timedelta(days=30)),
        ({"period": "12H"}, timedelta(hours=12), timedelta(hours=48)),
        ({"period": "3H"}, timedelta(hours=3), timedelta(hours=12)),
        ({"frequency": "PT1H"}, timedelta(hours=1), timedelta(hours=4)),
    ],
)
def test_schedules(schedule: dict[str, str], frequency: timedelta, period: timedelta, tmp_path: Path) -> None:
    (rule,), _ = load(graph(schedule=schedule), tmp_path)
    assert (rule.frequency, rule.period) == (frequency, period)


def test_what_is_wrong_is_named_with_its_line(tmp_path: Path) -> None:
    broken = graph(schedule={"period": "often"})
    broken["detectionAction"]["alertTemplate"]["severity"] = "loud"
    rules, problems = load(broken, tmp_path)
    assert rules == []
    assert any("'often' isn't a duration" in p and "detection.json:" in p for p in problems)
    assert any("'loud'" in p for p in problems)


def test_it_fires(house: House, tmp_path: Path) -> None:  # noqa: F811
    rules, _ = load({"value": [graph(), newer()]}, tmp_path)
    row = {
        "TimeGenerated": START,
        "Timestamp": START,
        "FileName": "Rubeus.exe",
        "DeviceName": "ws1.contoso.com",
        "DeviceId": "d1",
        "AccountUpn": "ann@contoso.com",
        "ProcessCommandLine": "rubeus kerberoast",
        "ReportId": 7,
    }
    house.write({k: v for k, v in row.items() if k != "Timestamp"}, table="DeviceProcessEvents")
    for rule in rules:
        (alert,) = run_rule(rule, house.queries, START + timedelta(hours=1))
        assert {e.type for e in alert.entities} == {"Account", "Host"}


@pytest.mark.parametrize(
    ("given", "response"),
    [
        ({"@odata.type": "#microsoft.graph.security.forceUserPasswordResetResponseAction", "identifier": "accountSid"},
         Response("forceUserPasswordReset", ("AccountSid",))),
        ({"@odata.type": "#microsoft.graph.security.blockFileResponseAction",
          "identifier": "sha1, initiatingProcessSHA1", "deviceGroupNames": ["a", "b"]},
         Response("blockFile", ("SHA1", "InitiatingProcessSHA1"), {"deviceGroupNames": "a, b"})),
        ({"@odata.type": "#microsoft.graph.security.softDeleteResponseAction", "identifier": "networkMessageId,recipientEmailAddress"},
         Response("softDelete", ("NetworkMessageId", "RecipientEmailAddress"))),
        ({"@odata.type": "#microsoft.graph.security.runAntivirusScanResponseAction"}, Response("runAntivirusScan", ("DeviceId",))),
    ],
)  # fmt: skip
def test_responses(given: dict[str, Any], response: Response) -> None:
    assert responses_of({"responseActions": [given]}) == ([response], [])


def test_every_response_can_be_named_in_both_shapes() -> None:
    for name, kind in RESPONSES.items():
        old = {"@odata.type": f"#microsoft.graph.security.{name}ResponseAction"}
        assert responses_of({"responseActions": [old]}) == ([Response(name, kind.default)], [])
        assert responses_of({"automatedActions": {f"{name}s": [{"aColumn": kind.columns[0]}]}})[0] == [
            Response(name, kind.columns[:1])
        ]


def test_a_response_that_is_not_understood_is_named(tmp_path: Path) -> None:
    wrong = graph()
    wrong["detectionAction"]["responseActions"] = [
        {"@odata.type": "#microsoft.graph.security.isolateDevicesResponseAction"},
        {"@odata.type": "#microsoft.graph.security.disableUserResponseAction", "identifier": "deviceId"},
        "isolate", {},
    ]  # fmt: skip
    (rule,), problems = load(wrong, tmp_path)
    assert rule.responses == ()
    assert len(problems) == 3
    assert "'isolateDevices' isn't known" in problems[0]
    assert "isolateDevice" in problems[0]
    assert "disableUser" in problems[1]
    assert "not on 'DeviceId'" in problems[1]


@pytest.mark.parametrize(
    ("query", "schedule", "said"),
    [
        (QUERY, "1H", []),
        ("DeviceProcessEvents | project ReportId, DeviceId, DeviceName, AccountUpn, FileName", "1H", ["the event's time"]),
        ("DeviceProcessEvents | project Timestamp, DeviceId, DeviceName, AccountUpn, FileName", "1H", ["the event's key"]),
        ("DeviceProcessEvents | project Timestamp, ReportId, FileName", "1H",
         ["an asset", "Host.FullName", "Account.FullName", "isolateDevice on 'DeviceId'"]),
        ("DeviceProcessEvents | where FileName != 'a join b' // union\n| project Timestamp, ReportId, DeviceId, DeviceName, AccountUpn", "0", []),
        ("union DeviceProcessEvents, DeviceEvents | project Timestamp, ReportId, DeviceId, DeviceName, AccountUpn, FileName", "0", ["is continuous"]),
    ],
)  # fmt: skip
def test_columns_that_a_detection_must_give(
    house: House,  # noqa: F811
    tmp_path: Path,
    query: str,
    schedule: str,
    said: list[str],
) -> None:
    document = graph(queryCondition={"queryText": query}, schedule={"period": schedule})
    document["detectionAction"]["alertTemplate"]["title"] = "A tool"
    (rule,), _ = load(document, tmp_path)
    problems = [str(p) for p in check_rule(rule, house.queries)]
    assert len(problems) == len(said), problems
    assert all(any(text in p for p in problems) for text in said)
    assert rule.fast is (schedule == "0")


def test_at_most_150_alerts_a_run_the_last_for_all(tmp_path: Path) -> None:
    (rule,), _ = load(graph(), tmp_path)
    rows = [{"Timestamp": "2026-03-01T00:00:00Z", "DeviceId": f"d{n}", "FileName": "x"} for n in range(200)]
    alerts = make_alerts(rule, Rows(rows, frozenset({"DeviceEvents"}), None, START))
    assert len(alerts) == 150
    assert [a.count for a in alerts[:149]] == [1] * 149
    assert alerts[-1].count == 200


def test_the_first_run_looks_over_a_month(house: House, tmp_path: Path) -> None:  # noqa: F811
    (rule,), _ = load(graph(), tmp_path)
    old = START - timedelta(days=20)
    row = {"FileName": "rubeus.exe", "DeviceName": "ws1", "DeviceId": "d1", "ReportId": 7}
    house.write({**row, "TimeGenerated": old, "_TimeReceived": old}, table="DeviceProcessEvents")
    ledger = Ledger()
    scheduler = Scheduler(
        house.queries, ledger, clock=house.clock, arrivals=dict, settings=ScheduleSettings(lag=timedelta(0))
    )
    scheduler.set_rules([rule])
    assert len(scheduler.tick()) == 1
    house.clock.advance(timedelta(hours=2))
    assert scheduler.tick() == []


AS_KEPT = """\
schemaVersion: 1.0.0
kind: CustomDetection
properties:
  id: lamp
  displayName: A lamp
  status: enabled
  queryCondition:
    queryText: |-
      AzureActivity
      | project TimeGenerated, Caller, Name = tostring(split(Caller, '@')[0])
  schedule: {frequency: P1D}
  detectionAction:
    alertTemplate:
      title: A lamp
      severity: medium
      entityMappings:
        accounts: [{id: one, nameColumn: Name}]
"""


def test_a_detection_as_repositories_keep_it(house: House, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "r.yaml"
    path.write_text(AS_KEPT)
    file, problems = load_rule_file(path)
    assert file is not None
    (rule,), more = rules_of(file)
    assert [*problems, *more] == []
    assert (rule.id, rule.kind, rule.frequency) == ("lamp", RuleKind.DEFENDER, timedelta(days=1))
    # A table of Sentinel's has no ReportId to ask for, and the mapping says what is concerned.
    assert check_rule(rule, house.queries) == []
    unmapped = replace(rule, entity_mappings=())
    assert ["an asset" in str(p) for p in check_rule(unmapped, house.queries)] == [True]
    keyed = replace(rule, query="DeviceEvents | project Timestamp, Name = AccountName")
    assert ["the event's key" in str(p) for p in check_rule(keyed, house.queries)] == [True]
