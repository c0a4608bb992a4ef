"""Hits to alerts: bursts, ids, entities, correlations; sources other than Windows."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from tocsin.detect.alert import Alert
from tocsin.detect.rule import Rule
from tocsin.detect.sigma.events import event_entities
from tocsin.detect.sigma.matcher import SigmaMatcher
from tocsin.detect.tuning import tuned
from tocsin.ingest.model import SourceBatch
from tocsin.tables.kinds import KINDS

from .support import detection, sigma, windows

START = datetime(2024, 5, 1, 10, tzinfo=UTC)
RULE = detection("  s: {Image|endswith: bad.exe}\n  condition: s")


def event(minutes: float = 0, image: str = "C:\\bad.exe", host: str = "ws1.contoso.com", **data: Any) -> dict[str, Any]:
    at = (START + timedelta(minutes=minutes)).isoformat()
    return {"TimeCreated": at, "Computer": host, "data": {"Image": image, "User": "CONTOSO\\ann", **data}}


def scan(text: str, *batches: SourceBatch) -> list[Alert]:
    rules = sigma(text)
    assert rules.problems == ()
    matcher = SigmaMatcher(rules.rules)
    assert [a for b in batches for a in matcher.match(b)] == []
    return matcher.finish()


def test_hits_on_the_same_assets_in_an_hour_are_one_alert() -> None:
    alerts = scan(
        RULE,
        windows(*[event(i / 10) for i in range(300)], event(5, host="ws2.contoso.com"), event(200)),
        windows(event(1), event(3, image="C:\\good.exe")),
    )
    assert [(a.count, a.entities[0].label) for a in alerts] == [
        (301, "ws1.contoso.com"),
        (1, "ws2.contoso.com"),
        (1, "ws1.contoso.com"),
    ]
    assert len(alerts[0].events) == 100
    assert alerts[0].events[0].table == "windows.event"
    assert alerts[0].events[0].row["Image"] == "C:\\bad.exe"


def test_ids_follow_from_rule_and_events() -> None:
    one = scan(RULE, windows(event(0), event(1)))
    two = scan(RULE, windows(event(0)), windows(event(1)))
    assert [a.id for a in one] == [a.id for a in two]


def test_live_says_a_burst_once_and_at_once() -> None:
    matcher = SigmaMatcher(sigma(RULE).rules, live=True)
    assert [a.count for a in matcher.match(windows(event(0), event(1)))] == [1]
    assert matcher.match(windows(event(2))) == []
    assert len(matcher.match(windows(event(90)))) == 1
    assert matcher.finish() == []
    assert (matcher.stats.rows, matcher.stats.hits) == (4, 4)


def test_entities_of_a_process_creation() -> None:
    (alert,) = scan(
        RULE,
        windows(
            event(
                0,
                ProcessId="4242",
                UtcTime="2024-05-01 10:00:00.123",
                CommandLine="bad -x",
                Hashes="MD5=AA,SHA256=" + "B" * 64,
                ParentImage="C:\\p.exe",
                ParentProcessId="7",
            )
        ),
    )
    by_type = {}
    for entity in alert.entities:
        by_type.setdefault(entity.type, entity)
    assert by_type["Account"].label == "CONTOSO\\ann"
    assert by_type["Process"].strong_keys() == (
        ("process", "ws1/4242/2024-05-01t10:00:00"),
        ("process.parent", "ws1/7/2024-05-01t10:00:00", "bad -x"),
    )
    assert by_type["FileHash"].identifiers["Value"] == "b" * 64
    assert by_type["File"].identifiers["Name"] == "bad.exe"
    assert by_type["File"].identifiers["FileHash"] == "b" * 64


@pytest.mark.parametrize(
    ("source", "row", "expected"),
    [
        (KINDS.windows, {"EventID": 4688, "NewProcessId": "0x1a4", "ProcessId": "0x10", "NewProcessName": "C:\\a.exe"}, ("420", "16", True)),
        (KINDS.windows, {"EventID": 1, "ProcessId": "420", "ParentProcessId": "16", "Image": "C:\\a.exe"}, ("420", "16", True)),
        (KINDS.windows, {"EventID": 3, "ProcessId": "420", "Image": "C:\\a.exe", "UtcTime": "2024-05-01 10:00:00.1"}, ("420", None, False)),
        (KINDS.windows, {"EventID": 10, "SourceProcessId": "420", "SourceImage": "C:\\a.exe"}, ("420", None, False)),
        (KINDS.audit, {"Types": '["SYSCALL","EXECVE"]', "pid": "420", "ppid": "16", "success": "yes"}, ("420", "16", True)),
        (KINDS.audit, {"Types": '["SYSCALL","EXECVE"]', "pid": "420", "ppid": "16", "success": "no"}, ("420", "16", False)),
        (KINDS.audit, {"Types": '["SYSCALL","PATH"]', "pid": "420", "ppid": "16", "success": "yes"}, ("420", "16", False)),
    ],
)  # fmt: skip
def test_a_process_began_when_the_event_that_starts_it_says(
    source: str, row: dict[str, Any], expected: tuple[str, str | None, bool]
) -> None:
    """A later event of the process doesn't know it, and nothing is made up."""
    found = event_entities(source, {"TimeCreated": "2024-05-01T10:00:00.123456Z", "Computer": "ws1", **row})
    ids = next(e.identifiers for e in found if e.type == "Process")
    assert (ids["ProcessId"], ids.get("ParentProcessId"), "CreationTimeUtc" in ids) == expected
    assert ids.get("CreationTimeUtc", "2024-05-01T10:00:00.123Z") == "2024-05-01T10:00:00.123Z"


def test_who_makes_an_account_is_named_before_the_account_that_is_made() -> None:
    row = {
        "Computer": "dc1.contoso.com", "TargetUserName": "backdoor", "TargetDomainName": "CONTOSO", "SubjectUserName": "ann",
        "SubjectDomainName": "CONTOSO",
    }  # fmt: skip

    def accounts(event_id: int) -> list[str]:
        return [e.label for e in event_entities(KINDS.windows, {**row, "EventID": event_id}) if e.type == "Account"]

    assert accounts(4720) == accounts(4732) == ["CONTOSO\\ann", "CONTOSO\\backdoor"]
    assert accounts(4624) == ["CONTOSO\\backdoor", "CONTOSO\\ann"], "who logs on is the target"


def test_a_sigma_process_and_a_table_process_are_one_thing() -> None:
    from tocsin.detect.entities import derive_entities

    row = {
        "DeviceName": "ws1.contoso.com",
        "ProcessId": 4242,
        "ProcessCommandLine": "bad -x",
        "FolderPath": "C:\\bad.exe",
        "ProcessCreationTime": "2024-05-01T10:00:00.1230000Z",
    }
    (mine,) = (e for e in derive_entities(row) if e.type == "Process")
    (alert,) = scan(RULE, windows(event(0, ProcessId="4242", UtcTime="2024-05-01 10:00:00.123", CommandLine="bad -x")))
    (other,) = (e for e in alert.entities if e.type == "Process")
    assert mine.strong_keys() == other.strong_keys()


# ------------------------------------------------------------------ correlations

LOGON = """\
title: Failed logon
name: failed
id: 0a1b2c3d-0000-4000-8000-0000000000{n}
logsource: {{product: windows, service: security}}
level: low
detection: {{s: {{EventID: {event}}}, condition: s}}
---
"""


def correlation(body: str, *rules: tuple[str, int], more: str = "") -> str:
    text = "".join(
        LOGON.format(n=20 + i, event=e).replace("name: failed", f"name: {n}") for i, (n, e) in enumerate(rules)
    )
    return f"{text}title: Together\nid: 0a1b2c3d-0000-4000-8000-000000000099\nlevel: high\ncorrelation:\n{body}{more}"


def logon(minutes: float, user: str = "ann", number: int = 4625, **data: Any) -> dict[str, Any]:
    at = (START + timedelta(minutes=minutes)).isoformat()
    return {"Channel": "Security", "EventID": number, "TimeCreated": at, "data": {"TargetUserName": user, **data}}


COUNT = correlation(
    "  type: event_count\n  rules: [failed]\n  group-by: [TargetUserName]\n  timespan: 10m\n  condition: {gte: 5}\n",
    ("failed", 4625),
)


def test_event_count() -> None:
    alerts = scan(COUNT, windows(*[logon(i) for i in range(6)], *[logon(i, "bob") for i in range(4)]))
    assert [(a.rule, a.count, len(a.events)) for a in alerts] == [("Together", 1, 5)]
    assert any(e.label == "ann" for e in alerts[0].entities)
    assert scan(COUNT, windows(*[logon(i * 3) for i in range(6)])) == []


def test_order_of_files_does_not_matter() -> None:
    events = [logon(i, u) for i in range(12) for u in ("ann", "bob")]
    random.Random(1).shuffle(events)
    one = scan(COUNT, *[windows(e) for e in events])
    other = scan(COUNT, windows(*sorted(events, key=lambda e: (e["TimeCreated"], e["data"]["TargetUserName"]))))
    assert [a.id for a in one] == [a.id for a in other]
    assert len(one) == 2


def test_a_great_many_events_are_few_alerts() -> None:
    (alert,) = scan(COUNT, windows(*[logon(i / 100) for i in range(1000)]))
    assert alert.count == 200


def test_base_rules_stay_silent_unless_asked() -> None:
    events = windows(*[logon(i) for i in range(5)])
    assert {a.rule for a in scan(COUNT, events)} == {"Together"}
    loud = COUNT.replace("correlation:\n", "correlation:\n  generate: true\n")
    assert {a.rule for a in scan(loud, events)} == {"Together", "Failed logon"}


def test_value_count() -> None:
    text = correlation(
        "  type: value_count\n  rules: [failed]\n  group-by: [IpAddress]\n  timespan: 1h\n  condition: {field: TargetUserName, gte: 4}\n",
        ("failed", 4625),
    )
    spray = [logon(i, f"u{i}", IpAddress="203.0.113.5") for i in range(4)]
    assert len(scan(text, windows(*spray))) == 1
    assert scan(text, windows(*[logon(i, "one", IpAddress="203.0.113.5") for i in range(9)])) == []
    assert scan(text, windows(*[logon(i, f"u{i}") for i in range(4)])) == []  # nothing to group by


@pytest.mark.parametrize(("kind", "order", "fires"), [
    ("temporal", (4625, 4624), True), ("temporal", (4624, 4625), True),
    ("temporal_ordered", (4625, 4624), True), ("temporal_ordered", (4624, 4625), False),
])  # fmt: skip
def test_temporal(kind: str, order: tuple[int, int], fires: bool) -> None:
    text = correlation(
        f"  type: {kind}\n  rules: [failed, done]\n  group-by: [TargetUserName]\n  timespan: 5m\n",
        ("failed", 4625),
        ("done", 4624),
    )
    assert bool(scan(text, windows(logon(0, number=order[0]), logon(1, number=order[1])))) is fires
    assert not scan(text, windows(logon(0, number=order[0]), logon(6, number=order[1])))
    assert not scan(text, windows(logon(0, number=order[0]), logon(1, "bob", number=order[1])))


def test_aliases_and_extended_conditions() -> None:
    text = correlation(
        "  type: temporal\n  rules: [failed, done]\n  group-by: [who]\n  timespan: 5m\n"
        "  aliases: {who: {failed: TargetUserName, done: Caller}}\n  condition: failed and done\n",
        ("failed", 4625),
        ("done", 4648),
    )
    assert len(scan(text, windows(logon(0), {**logon(1, "x", 4648), "data": {"Caller": "ANN"}}))) == 1


def test_statistics() -> None:
    text = correlation(
        "  type: value_sum\n  rules: [failed]\n  timespan: 5m\n  condition: {field: Size, gt: 100}\n", ("failed", 4625)
    )
    assert len(scan(text, windows(logon(0, Size="60"), logon(1, Size="50")))) == 1
    assert scan(text, windows(logon(0, Size="60"), logon(1, Size="x"))) == []


def test_a_correlation_of_correlations() -> None:
    text = (
        COUNT.replace("title: Together", "title: Many\nname: many").replace("0099", "0098")
        + "---\n"
        + LOGON.format(n=50, event=4624).replace("name: failed", "name: done")
        + "title: Chain\nid: 0a1b2c3d-0000-4000-8000-000000000097\nlevel: high\ncorrelation:\n"
        "  type: temporal_ordered\n  rules: [many, done]\n  group-by: [TargetUserName]\n  timespan: 1h\n"
    )
    (alert,) = scan(text, windows(*[logon(i) for i in range(5)], logon(9, number=4624)))
    assert (alert.rule, len(alert.events)) == ("Chain", 6)


def test_live_correlations_keep_state_between_batches() -> None:
    matcher = SigmaMatcher(sigma(COUNT).rules, live=True)
    alerts = [a for i in range(5) for a in matcher.match(windows(logon(i)))]
    assert [a.rule for a in alerts] == ["Together"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (COUNT.replace("rules: [failed]", "rules: [nobody]"), "DET0010"),
        (COUNT.replace("timespan: 10m", "timespan: soon"), "DET0007"),
        (COUNT.replace("type: event_count", "type: magic"), "DET0007"),
    ],
)
def test_refused_correlations(text: str, code: str) -> None:
    assert [p.code for p in sigma(text).problems] == [code]


# ------------------------------------------------------------------ other sources


def test_zeek_syslog_auditd_and_tables() -> None:
    cases: list[tuple[str, str, str, dict[str, Any]]] = [
        ("{product: zeek, service: dns}", "query|endswith: .evil", "zeek.dns", {"query": "x.EVIL", "id.orig_h": "10.0.0.5"}),
        ("{category: proxy}", "c-uri|contains: /payload", "zeek.http", {"uri": "/payload", "host": "h"}),
        ("{category: webserver}", "cs-uri-query|contains: \"' or\"", "zeek.http", {"uri": "/a?q=' OR 1", "host": "h"}),
        ("{product: linux, service: sshd}", "- Failed password", "syslog", {"ProcessName": "sshd", "SyslogMessage": "failed password"}),
        ("{product: linux, service: auditd}", "type: EXECVE\n    a1: -x", "linux.auditd",
         {"Types": '["SYSCALL","EXECVE"]', "Fields": '{"argv":["ls","-x"],"a1":"7ff0","exe":"/bin/ls"}'}),
        ("{product: linux, category: process_creation}", "CommandLine|contains: 'ls -x'", "linux.auditd",
         {"Types": '["EXECVE"]', "Fields": '{"argv":["ls","-x"],"cmdline":"ls -x","exe":"/bin/ls"}'}),
        ("{product: azure, service: signinlogs}", "ResultType: 50126", "table.SigninLogs", {"ResultType": "50126"}),
        ("{product: aws, service: cloudtrail}", "requestParameters.userName: ann", "table.AWSCloudTrail",
         {"EventName": "CreateUser", "RequestParameters": '{"userName":"Ann"}'}),
        ("{product: windows, category: process_creation}", "Image|endswith: \\x.exe\n    User: contoso\\ann", "table.DeviceProcessEvents",
         {"FolderPath": "C:\\x.exe", "AccountName": "ann", "AccountDomain": "CONTOSO"}),
        ("{product: windows, category: registry_set}", "TargetObject|startswith: HKLM\\SOFTWARE", "table.DeviceRegistryEvents",
         {"ActionType": "RegistryValueSet", "RegistryKey": "HKEY_LOCAL_MACHINE\\SOFTWARE\\a", "RegistryValueName": "v"}),
    ]  # fmt: skip
    for logsource, selection, source, row in cases:
        rules = sigma(detection(f"  s:\n    {selection}\n  condition: s", logsource))
        assert rules.problems == (), source
        batch = SourceBatch(source, pa.table({k: [v, None] for k, v in row.items()}), "t")
        found = SigmaMatcher(rules.rules).hits(batch)
        assert [h.source for h in found] == [source], (source, selection)


def tuned_rule(**settings: Any) -> Rule:
    (rule,) = sigma(RULE).rules
    return tuned(rule, (), settings)


def test_a_tuned_threshold_waits_for_so_many_hits_of_a_burst() -> None:
    matcher = SigmaMatcher([tuned_rule(threshold=2)], live=True)
    assert matcher.match(windows(event(0), event(1, host="ws2.contoso.com"), event(1))) == []
    (alert,) = matcher.match(windows(event(2), event(3)))
    assert (alert.count, len(alert.events), alert.entities[0].label) == (3, 3, "ws1.contoso.com")
    assert matcher.match(windows(event(4))) == []
    scanned = SigmaMatcher([tuned_rule(threshold=2)])
    scanned.match(windows(event(0), event(1), event(2), event(1, host="ws2.contoso.com")))
    assert [a.count for a in scanned.finish()] == [3]


def test_a_tuned_suppression_is_silent_by_the_clock_whatever_events_say() -> None:
    now = [100.0]
    matcher = SigmaMatcher([tuned_rule(suppression=600)], live=True, clock=lambda: now[0])
    # An event that claims to be of next year doesn't silence the rule until then.
    assert len(matcher.match(windows(event(60 * 24 * 365)))) == 1
    assert matcher.match(windows(event(0, host="ws2.contoso.com"))) == []
    now[0] += 601
    assert len(matcher.match(windows(event(1, host="ws2.contoso.com")))) == 1
    scanned = SigmaMatcher([tuned_rule(suppression=600)])
    scanned.match(windows(event(0), event(0, host="ws2.contoso.com")))
    assert len(scanned.finish()) == 2
