"""Result rows to alerts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tocsin.content import load_packs, packs_dir
from tocsin.detect.alert import Alert
from tocsin.detect.alertentities import entities_of_column
from tocsin.detect.entities import EntitySet, derive_entities, map_entities, process_time, split_path
from tocsin.detect.load import rules_of_content
from tocsin.detect.make import Rows, assets_of, make_alerts, moment, row_hash
from tocsin.detect.rule import AlertDetails, EntityMapping, IncidentSettings, Operator, Rule, RuleKind
from tocsin.tables.entities import Entity

END = datetime(2024, 5, 1, 12, tzinfo=UTC)


def rule(**more: Any) -> Rule:
    return Rule(**{"id": "r", "name": "Rule", "kind": RuleKind.SCHEDULED, "query": "T", **more})


def rows(*given: dict[str, Any], end: datetime = END) -> Rows:
    return Rows(given, frozenset({"T"}), end - timedelta(hours=1), end)


def row(n: int, **more: Any) -> dict[str, Any]:
    return {"TimeGenerated": f"2024-05-01T11:{n % 60:02d}:00.0000000Z", "N": n, **more}


def test_single_alert() -> None:
    (alert,) = make_alerts(rule(), rows(row(5, DeviceName="a"), row(1, DeviceName="b", Empty="")))
    assert (alert.time.minute, alert.end.minute, alert.count) == (1, 5, 2)
    assert alert.created == END
    assert [e.label for e in alert.entities] == ["a", "b"]
    assert "Empty" not in alert.events[1].row
    assert alert.events[0].table == "T"


@pytest.mark.parametrize(
    ("operator", "threshold", "count", "fires"),
    [
        (Operator.GREATER, 2, 2, False),
        (Operator.GREATER, 2, 3, True),
        (Operator.LESS, 1, 0, True),
        (Operator.LESS, 1, 1, False),
        (Operator.EQUAL, 0, 0, True),
        (Operator.NOT_EQUAL, 0, 0, False),
    ],
)
def test_threshold(operator: Operator, threshold: int, count: int, fires: bool) -> None:
    alerts = make_alerts(rule(operator=operator, threshold=threshold), rows(*[row(i) for i in range(count)]))
    assert bool(alerts) is fires
    if fires and not count:
        assert (alerts[0].time, alerts[0].end, alerts[0].events) == (END - timedelta(hours=1), END, ())


@pytest.mark.parametrize(("given", "alerts"), [(1, 1), (150, 150), (151, 150), (400, 150)])
def test_one_alert_a_result_up_to_the_limit(given: int, alerts: int) -> None:
    made = make_alerts(rule(per_result=True), rows(*[row(i) for i in range(given)]))
    assert len(made) == alerts
    assert len({a.id for a in made}) == alerts
    assert made[-1].count == (given if given > 150 else 1)
    assert len(made[-1].events) == (100 if given > 150 else 1)


def test_near_real_time_rules_raise_thirty_at_most() -> None:
    made = make_alerts(rule(kind=RuleKind.NRT, per_result=True), rows(*[row(i) for i in range(31)]))
    assert (len(made), made[-1].count) == (30, 31)


def test_ids_are_a_function_of_rule_and_rows() -> None:
    one = make_alerts(rule(), rows(row(1), row(2)))[0]
    same = make_alerts(rule(), rows(row(2), row(1), end=END + timedelta(minutes=5)))[0]
    other = make_alerts(rule(), rows(row(1)))[0]
    assert one.id == same.id
    assert other.id != one.id
    counted = {"Account": "ann", "count_": 5}
    first = make_alerts(rule(), rows(counted))[0]
    later = make_alerts(rule(), rows(counted, end=END + timedelta(hours=2)))[0]
    assert first.id != later.id  # no time in the row: another window is another alert


def test_overrides() -> None:
    made = make_alerts(
        rule(
            alert_details=AlertDetails(
                "Hit {{ N }} on {{H}}{{gone}}", "d {{N}}", "Sev", "Tac", (("ProductName", "P"), ("Techniques", "Tech"))
            ),
            custom_details={"Number": "N"},
            tactics=("Impact",),
            incident=IncidentSettings(create=False),
        ),
        rows(row(1, H="x", Sev="high", Tac="Lateral Movement, Execution", P="Prod", Tech='["t1003"]'), row(2)),
    )[0]
    assert (made.title, made.description, made.severity, made.product) == ("Hit 1 on x", "d 1", "High", "Prod")
    assert (made.tactics, made.techniques) == (("LateralMovement", "Execution"), ("T1003",))
    assert made.custom_details == {"Number": [1, 2]}
    assert not made.create_incident


def test_bad_overrides_keep_the_rule_s_own() -> None:
    made = make_alerts(rule(severity="Low", alert_details=AlertDetails(severity_column="S")), rows(row(1, S="worst")))[
        0
    ]
    assert made.severity == "Low"


def test_times_without_a_time_column() -> None:
    made = make_alerts(rule(), rows({"first": "2024-05-01T11:10:00Z", "birthday": "1980-01-01T00:00:00Z", "n": 1}))[0]
    assert (made.time.hour, made.time.minute) == (11, 10)
    assert moment("2024-13-01T00:00:00Z") is None
    assert moment("2024-05-01T11:10:00.1234567Z") == datetime(2024, 5, 1, 11, 10, 0, 123456, tzinfo=UTC)


# ------------------------------------------------------------------ entities


def mapping(kind: str, **fields: str) -> EntityMapping:
    return EntityMapping(kind, tuple((i, c) for i, c in fields.items()))


def test_mapped_entities() -> None:
    given = {
        "U": "CONTOSO\\ann",
        "H": "ws1.contoso.com",
        "I": "::ffff:10.0.0.1",
        "L": ["a@x.com", "b@x.com"],
        "S": "SYSTEM",
    }
    found = map_entities(
        [
            mapping("Account", FullName="U"),
            mapping("Host", FullName="H"),
            mapping("IP", Address="I"),
            mapping("Account", FullName="L"),
            mapping("Account", Name="S"),
            mapping("Account", Name="missing"),
            mapping("IP", Address="H"),
        ],
        given,
    )
    assert [(e.type, e.label) for e in found] == [
        ("Account", "CONTOSO\\ann"),
        ("Host", "ws1.contoso.com"),
        ("IP", "10.0.0.1"),
        ("Account", "a@x.com"),
        ("Account", "b@x.com"),
    ]


def test_a_device_process_row() -> None:
    found = derive_entities(
        {
            "DeviceName": "ws1.contoso.com",
            "DeviceId": "d1",
            "AccountName": "ann",
            "AccountDomain": "contoso",
            "AccountSid": "S-1-5-21-1-2-3-1001",
            "InitiatingProcessAccountName": "system",
            "InitiatingProcessAccountDomain": "nt authority",
            "FolderPath": "C:\\Users\\ann\\x.exe",
            "FileName": "x.exe",
            "SHA1": "b" * 40,
            "SHA256": "a" * 64,
            "ProcessId": 4242,
            "ProcessCommandLine": "x.exe -a",
            "ProcessCreationTime": "2024-05-01T11:00:00.1234567Z",
        }
    )
    by_type = {e.type: e for e in found}
    assert [e.type for e in found].count("Account") == 1
    assert by_type["File"].identifiers == {
        "Directory": "C:\\Users\\ann", "Name": "x.exe", "Host": "ws1.contoso.com", "FileHash": "a" * 64
    }  # fmt: skip
    assert by_type["FileHash"].identifiers == {"Algorithm": "SHA256", "Value": "a" * 64}
    assert by_type["Process"].strong_keys() == (("process", "ws1/4242/2024-05-01t11:00:00"),)


def test_cloud_and_mail_rows() -> None:
    signin = derive_entities(
        {"UserPrincipalName": "ann@contoso.com", "IPAddress": "203.0.113.9", "AppDisplayName": "Portal"}
    )
    assert {(e.type, e.label) for e in signin} == {
        ("Account", "ann@contoso.com"),
        ("IP", "203.0.113.9"),
        ("CloudApplication", "Portal"),
    }
    mail = derive_entities({"NetworkMessageId": "m1", "RecipientEmailAddress": "Ann@Contoso.com", "Subject": "Invoice"})
    assert {e.type for e in mail} == {"Mailbox", "MailMessage"}
    security = derive_entities(
        {
            "Computer": "dc1",
            "TargetUserName": "bob",
            "TargetDomainName": "CORP",
            "SubjectUserName": "-",
            "IpAddress": "-",
        }
    )
    assert {(e.type, e.label) for e in security} == {("Host", "dc1"), ("Account", "CORP\\bob")}


def test_processes_get_the_only_host() -> None:
    (alert,) = make_alerts(
        rule(entity_mappings=(mapping("Host", HostName="H"), mapping("Process", ProcessId="P"))),
        rows(row(1, H="ws1", P=7)),
    )
    assert [e.identifiers.get("Host") for e in alert.entities if e.type == "Process"] == ["ws1"]


BY_NUMBER_AND_LINE = (
    mapping("Host", FullName="DeviceName"),
    mapping("Process", ProcessId="ProcessId", CommandLine="ProcessCommandLine"),
)
STARTED: dict[str, Any] = {
    "DeviceName": "ws1", "ActionType": "ProcessCreated", "ProcessId": 7, "ProcessCommandLine": "a -x", "FolderPath": "C:\\a.exe",
    "ProcessCreationTime": "2024-05-01T11:00:00.1234567Z", "InitiatingProcessId": 3, "InitiatingProcessCommandLine": "b",
}  # fmt: skip


def processes(alerts: list[Alert]) -> list[dict[str, str]]:
    return [dict(e.identifiers) for a in alerts for e in a.entities if e.type == "Process"]


def test_a_mapped_process_is_what_its_row_tells_of_it() -> None:
    """Most rules map number and command line alone: without its start it would be any process of that number, and have no page."""
    by_rule = rule(entity_mappings=BY_NUMBER_AND_LINE)
    (made,) = processes(make_alerts(by_rule, rows(row(1, **STARTED))))
    assert made == {
        "ProcessId": "7", "ParentProcessId": "3", "CommandLine": "a -x", "CreationTimeUtc": "2024-05-01T11:00:00.123Z",
        "ImageFile": "C:\\a.exe", "Host": "ws1",
    }  # fmt: skip
    assert made in processes(make_alerts(rule(), rows(row(1, **STARTED))))  # the same thing where a rule maps nothing


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ProcessCreationTime": None}, "2024-05-01T11:01:00.000Z"),  # the row tells of its start, so its time is that
        ({"ProcessCreationTime": None, "ActionType": "OpenProcessApiCall"}, None),
        ({"ProcessCreationTime": None, "ActionType": None}, None),
    ],
)
def test_no_start_is_made_up(change: dict[str, Any], expected: str | None) -> None:
    (made,) = processes(make_alerts(rule(entity_mappings=BY_NUMBER_AND_LINE), rows(row(1, **STARTED | change))))
    assert made.get("CreationTimeUtc") == expected
    assert made.get("ParentProcessId") == ("3" if expected else None)


def test_a_mapped_process_is_none_of_which_the_row_says_otherwise() -> None:
    """The number is the parent's and the line the child's: no column says when such a process began."""
    crossed = mapping("Process", ProcessId="InitiatingProcessId", CommandLine="ProcessCommandLine")
    (made,) = processes(make_alerts(rule(entity_mappings=(crossed,)), rows(row(1, **STARTED))))
    assert made == {"ProcessId": "3", "CommandLine": "a -x"}
    by_time = mapping("Process", CreationTimeUtc="ProcessCreationTime")
    (made,) = processes(make_alerts(rule(entity_mappings=(by_time,)), rows(row(1, **STARTED))))
    assert made == {"CreationTimeUtc": "2024-05-01T11:00:00.123Z"}


def test_processes_of_one_alert_are_each_on_the_host_of_its_row() -> None:
    alerts = make_alerts(
        rule(entity_mappings=BY_NUMBER_AND_LINE), rows(row(1, **STARTED), row(2, **STARTED | {"DeviceName": "ws2"}))
    )
    assert [p["Host"] for p in processes(alerts)] == ["ws1", "ws2"]
    both = (*BY_NUMBER_AND_LINE, mapping("Host", FullName="Target"))
    assert [
        "Host" in p for p in processes(make_alerts(rule(entity_mappings=both), rows(row(1, **STARTED, Target="dc1"))))
    ] == [False]


def test_a_process_of_the_security_log_knows_its_parent() -> None:
    (made,) = (
        e for e in derive_entities(
            {"TimeGenerated": "2024-05-01T11:00:00Z", "Computer": "ws1", "NewProcessId": "0x1a4", "ProcessId": "0x10",
             "CommandLine": "a -x", "NewProcessName": "C:\\a.exe"}
        ) if e.type == "Process"
    )  # fmt: skip
    assert (made.identifiers["ProcessId"], made.identifiers["ParentProcessId"]) == ("420", "16")
    assert len(made.strong_keys()) == 2


def test_every_pack_rule_that_maps_a_process_says_when_it_began() -> None:
    found, problems = rules_of_content(load_packs([packs_dir()]))
    assert not problems
    mapped = [(r.id, dict(m.fields)) for r in found for m in r.entity_mappings if m.type == "Process"]
    assert len(mapped) > 15
    assert [i for i, ids in mapped if not ids.keys() >= {"ProcessId", "CreationTimeUtc"}] == []


def test_a_process_whose_number_the_source_lost_is_known_by_its_parent() -> None:
    """Some collectors take a field and the writer's own number for one, because their names differ by case only."""
    (made,) = processes(
        make_alerts(rule(entity_mappings=BY_NUMBER_AND_LINE), rows(row(1, **STARTED | {"ProcessId": None})))
    )
    assert "ProcessId" not in made
    assert Entity("Process", made).strong_keys() == (("process.parent", "ws1/3/2024-05-01t11:00:00", "a -x"),)


def test_entities_column() -> None:
    found = entities_of_column(
        [
            {"$id": "1", "Type": "account", "Name": "ann", "UPNSuffix": "x.com"},
            {"Type": "ip", "Address": "1.2.3.4"},
            {"Type": "zz"},
            5,
        ]
    )
    assert [(e.type, e.label) for e in found] == [("Account", "ann@x.com"), ("IP", "1.2.3.4")]


def test_assets() -> None:
    host, account, address = Entity.host("a"), Entity("Account", {"Name": "n"}), Entity("IP", {"Address": "1.2.3.4"})
    assert assets_of([address, account, host]) == ("Account:n", "Host:a")
    assert assets_of([address]) == ("IP:1.2.3.4",)
    assert assets_of([]) == ()


@pytest.mark.parametrize(
    ("directory", "name", "expected"),
    [
        ("C:\\a\\x.exe", "X.EXE", ("C:\\a", "X.EXE")),
        ("C:\\a", "x.exe", ("C:\\a", "x.exe")),
        ("", "C:\\a\\x.exe", ("C:\\a", "x.exe")),
        ("/usr/bin/x", "", ("/usr/bin", "x")),
        ("", "x", ("", "x")),
    ],
)
def test_paths(directory: str, name: str, expected: tuple[str, str]) -> None:
    assert split_path(directory, name) == expected


def test_process_times_agree_to_the_millisecond() -> None:
    assert {process_time(t) for t in ("2020-01-01 00:00:00.123", "2020-01-01T00:00:00.1230000Z")} == {
        "2020-01-01T00:00:00.123Z"
    }


def test_a_set_s_order_makes_no_other_row() -> None:
    """make_set gives its values in any order, so the same window asked twice would alert twice."""
    assert row_hash({"User": "ann", "Names": ["b", "a", 3]}) == row_hash({"User": "ann", "Names": ["a", 3, "b"]})
    assert row_hash({"Names": ["a", "a"]}) != row_hash({"Names": ["a"]})


def test_a_machines_own_account_is_nobody_on_it() -> None:
    """SYSTEM is told as WS1$ by Windows' own log. What another machine's account does there is that machine's doing."""
    kept = EntitySet()
    kept.add(
        [
            Entity.host("ws1.contoso.com"),
            *(Entity("Account", {"Name": n, "NTDomain": "CONTOSO"}) for n in ("WS1$", "DC1$", "ann")),
        ]
    )
    assert [e.label for e in kept.entities()] == ["ws1.contoso.com", "CONTOSO\\DC1$", "CONTOSO\\ann"]


def test_a_file_of_which_one_row_tells_the_hash_is_one() -> None:
    """Process creation tells it, the security log of the same process doesn't."""
    kept = EntitySet()
    path = {"Directory": "C:\\Temp", "Host": "ws1"}
    kept.add(Entity("File", {**path, **more}) for more in ({"Name": "A.exe"}, {"Name": "b.exe"}))
    kept.add([Entity("File", {**path, "Name": "a.exe", "FileHash": "b" * 64})])
    assert [e.identifiers.get("FileHash", e.label) for e in kept.entities()] == ["C:\\Temp\\b.exe", "b" * 64]


def test_entities_of_another_products_alert_refer_to_each_other() -> None:
    column = json.dumps(
        [
            {"$id": "1", "Type": "host", "HostName": "ws1", "DnsDomain": "contoso.com", "MdatpDeviceId": "d-1"},
            {"$id": "2", "Type": "file", "Name": "a.exe", "Directory": "C:\\Temp", "FileHashes": [{"Algorithm": "SHA256", "Value": "B" * 64}]},
            {"$id": "3", "Type": "process", "ProcessId": "0x1A4", "CreationTimeUtc": "2026-03-02T10:00:00Z", "Host": {"$ref": "1"},
             "ImageFile": {"$ref": "2"}, "CommandLine": "A -x", "ParentProcess": {"$ref": "9"}},
            {"$id": "4", "Type": "account", "Name": "SYSTEM", "NTDomain": "AUTORITE NT", "Host": {"$ref": "1"}},
            {"$id": "5", "Type": "registry-value", "Key": {"$ref": "6"}, "Name": "Run"},
            {"$id": "6", "Type": "registry-key", "Hive": "HKEY_LOCAL_MACHINE", "Key": "Software"},
            {"$id": "7", "Type": "something new", "Name": "x"},
            {"$id": "8", "Type": "ip", "Address": {"$ref": "99"}},
            {"$id": "9", "Type": "process", "ProcessId": "0x10"},
            "odd", None, 7,
        ]
    )  # fmt: skip
    found = {e.type: e for e in reversed(entities_of_column(column))}
    assert sorted(found) == ["File", "FileHash", "Host", "Process", "RegistryKey", "RegistryValue"]
    assert found["Process"].identifiers["Host"] == "ws1.contoso.com"
    assert found["Process"].identifiers["ImageFile"] == "C:\\Temp\\a.exe"
    assert found["Process"].strong_keys()[1:] == (("process.parent", "ws1/16/2026-03-02t10:00:00", "a -x"),)
    assert found["File"].strong_keys()[1:] == (("filehash", "a.exe", "b" * 64),)
    assert found["RegistryValue"].identifiers["Key"] == "HKEY_LOCAL_MACHINE\\Software"
    assert found["Host"].identifiers["DeviceId"] == "d-1"
    assert found["FileHash"].label == "b" * 64
    for nothing in ("", "[", "[}", "{}", None, 7, [None], "x" * 100):
        assert entities_of_column(nothing) == []
