"""Entity pages: assembled from rows, aliases, alerts and incidents, as the asker may see them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.incidents.test_correlate import alert
from tests.workspace.house import House, table
from tests.workspace.test_aliases import CONTENT, LEASE, PEOPLE, moment
from typer.testing import CliRunner

from tocsin.base.clock import ManualClock
from tocsin.base.errors import UsageError
from tocsin.cli.app import app
from tocsin.content import Content
from tocsin.incidents.entitynames import PAGES, subject
from tocsin.incidents.judging import AssetRow
from tocsin.lake import TableBatch
from tocsin.tables import Entity
from tocsin.workspace.aliases import Aliases
from tocsin.workspace.entitypages import EntityPages
from tocsin.workspace.settings import Settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HASH = "ab" * 32
ROWS: dict[str, list[dict[str, Any]]] = {
    **LEASE,
    **PEOPLE,
    "SigninLogs": [
        {"TimeGenerated": moment(30), "UserPrincipalName": "ann@contoso.com", "UserId": "AAD-1", "AppDisplayName": "Mail", "ResultType": "0",
         "IPAddress": "198.51.100.7", "Location": "DE"},
    ],
    "OfficeActivity": [
        {"TimeGenerated": moment(40), "UserId": "ann@contoso.com", "Operation": "New-InboxRule", "OfficeWorkload": "Exchange",
         "ClientIP": "198.51.100.7"},
    ],
    "DeviceProcessEvents": [
        {"TimeGenerated": moment(50), "DeviceName": "ws1.contoso.com", "AccountDomain": "CONTOSO", "AccountName": "ann",
         "AccountSid": "S-1-5-21-1-2-3-1001", "FileName": "tool.exe", "FolderPath": "c:\\users\\ann\\tool.exe", "SHA256": HASH,
         "ProcessId": 4312, "ProcessCreationTime": moment(50), "ProcessCommandLine": "tool.exe -x"},
        {"TimeGenerated": moment(51), "DeviceName": "ws1.contoso.com", "FileName": "cmd.exe", "ProcessCommandLine": "cmd /c dir",
         "InitiatingProcessId": 4312, "InitiatingProcessCreationTime": moment(50), "InitiatingProcessFileName": "tool.exe"},
        {"TimeGenerated": moment(52), "DeviceName": "ws9.contoso.com", "AccountName": "bob", "FileName": "other.exe"},
    ],
    "DeviceNetworkEvents": [
        {"TimeGenerated": moment(53), "DeviceName": "ws1.contoso.com", "ActionType": "ConnectionSuccess", "RemoteIP": "198.51.100.9",
         "RemotePort": 443, "RemoteUrl": "evil.example", "InitiatingProcessFileName": "tool.exe"},
    ],
    "EmailEvents": [
        {"TimeGenerated": moment(20), "RecipientEmailAddress": "ann@contoso.com", "SenderFromAddress": "x@evil.example", "ThreatTypes": "Phish",
         "Subject": "Invoice", "DeliveryAction": "Delivered", "NetworkMessageId": "M-1"},
    ],
    "DeviceRegistryEvents": [
        {"TimeGenerated": moment(n), "DeviceName": "ws7.contoso.com", "ActionType": "RegistryValueSet",
         "RegistryKey": "HKEY_LOCAL_MACHINE\\Software\\Run", "RegistryValueName": "x", "RegistryValueData": "x.exe",
         "InitiatingProcessFileName": "tool.exe"}
        for n in (41, 44)
    ],
    "AzureActivity": [
        {"TimeGenerated": moment(45), "Caller": "ann@contoso.com", "ResourceId": "/subscriptions/s1/resourceGroups/g/providers/x/vm1",
         "OperationNameValue": "MICROSOFT.COMPUTE/VIRTUALMACHINES/DELETE", "ActivityStatusValue": "Success"},
    ],
    "Anomalies": [
        {"TimeGenerated": moment(55), "UserPrincipalName": "ann@contoso.com", "RuleName": "Unusual mail rule", "Description": "Never before.",
         "Score": 0.9},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(Settings(data=tmp_path_factory.mktemp("pages")), ManualClock(NOW))
    made.queries.set_functions(CONTENT.functions)
    made.lake.write([TableBatch(name, table(rows)) for name, rows in ROWS.items()])
    made.lake.flush()
    made.clock.advance(timedelta(seconds=5))
    Aliases(made, lambda: CONTENT, made.clock.now).learn()
    ann = Entity.account("CONTOSO\\ann")
    file = Entity("FileHash", {"Algorithm": "SHA256", "Value": HASH})
    ws1 = Entity.host("ws1.contoso.com")
    made.incidents.add(
        [
            alert("run", 50, ws1, ann, file, severity="High", tactics=("Execution",)),
            alert("line", 53, ws1, Entity("IP", {"Address": "198.51.100.9"}), tactics=("CommandAndControl",)),
            alert("else", 52, Entity.host("ws9.contoso.com")),
            alert(
                "cloud",
                56,
                Entity("CloudApplication", {"AppId": "7c1d", "Name": "backup"}),
                Entity("Account", {"AadUserId": "0b1f1d5e-0e21-4f7b-b1b5-08de2b000001", "DisplayName": "backup"}),
            ),
            alert("plc", 57, Entity("IoTDevice", {"DeviceId": "plc-4", "DeviceName": "Line 4"})),
        ]
    )
    made.incidents.set_assets([AssetRow("Host", "ws1.contoso.com", "Crown jewels", "veryHigh", "")])
    yield made
    made.close()


@pytest.fixture(scope="module")
def pages(house: House) -> EntityPages:
    return EntityPages(house, lambda: CONTENT)


def titles(page: dict[str, Any], kind: str) -> set[str]:
    return {t["title"] for t in page["timeline"] if t["kind"] == kind}


def test_a_host_is_found_under_each_of_its_names(pages: EntityPages) -> None:
    by_name = [pages.page("host", n) for n in ("ws1.contoso.com", "WS1", "d1")]
    for page in by_name:
        assert {"ws1.contoso.com", "ws1", "d1"} <= set(page["names"])
        assert {"Started tool.exe", "Logon of ann"} <= titles(page, "activity")
        assert titles(page, "alert") == {"run", "line"}
        assert not any("ws9" in t["detail"] or "other" in t["title"] for t in page["timeline"])
    page = by_name[0]
    assert page["risk"]["level"] == "High"
    assert page["criticality"] == {"level": "veryHigh", "reasons": ["Crown jewels"]}
    assert {(a["one"], a["other"], a["source"]) for a in page["aliases"]} >= {
        ("ws1.contoso.com", "10.0.0.5", "DHCP"),
        ("ws1.contoso.com", "d1", "DeviceInfo"),
    }
    assert {(r["type"], r["name"]) for r in page["related"]} >= {("Account", "CONTOSO\\ann"), ("IP", "198.51.100.9")}
    assert {p["name"]: p["count"] for p in page["prevalence"]}["users logged on"] == 1
    assert page["first_seen"] < page["last_seen"]
    assert [i["alerts"] for i in page["incidents"]] == [2]


def test_a_user_is_put_together_from_many_sources(pages: EntityPages) -> None:
    for name in ("ann@contoso.com", "CONTOSO\\ann", "S-1-5-21-1-2-3-1001"):
        page = pages.page("Account", name)
        sources = (
            {t["source"] for t in page["timeline"]}
            | {f["source"] for f in page["facts"]}
            | {a["source"] for a in page["aliases"]}
        )
        assert {
            "DeviceLogonEvents",
            "SigninLogs",
            "OfficeActivity",
            "IdentityInfo",
            "AzureActivity",
            "Anomalies",
        } <= sources
        assert titles(page, "anomaly") == {"Unusual mail rule"}
        assert titles(page, "alert") == {"run"}
        assert {(r["type"], r["name"]) for r in page["related"]} >= {
            ("Host", "ws1.contoso.com"),
            ("IP", "198.51.100.7"),
        }


@pytest.mark.parametrize(
    ("kind", "name", "activity", "related"),
    [
        ("IP", "198.51.100.9", "ws1.contoso.com tool.exe", ("Host", "ws1.contoso.com")),
        ("IP", "198.51.100.7", "Sign-in of ann@contoso.com", ("Account", "ann@contoso.com")),
        ("File", HASH, "Run on ws1.contoso.com by ann", ("Host", "ws1.contoso.com")),
        ("File", "tool.exe", "Run on ws1.contoso.com by ann", ("Host", "ws1.contoso.com")),
        ("URL", "evil.example", "ws1.contoso.com tool.exe", ("Host", "ws1.contoso.com")),
        ("Mailbox", "ann@contoso.com", "Phish from x@evil.example", ("Mailbox", "x@evil.example")),
        ("Process", "ws1/4312/2026-03-01T09:50:00Z", "Started cmd.exe", None),
        ("AzureResource", "/subscriptions/s1/resourcegroups/g/providers/x/vm1", "MICROSOFT.COMPUTE/VIRTUALMACHINES/DELETE",
         ("Account", "ann@contoso.com")),
        ("CloudApplication", "Mail", "Sign-in of ann@contoso.com", None),
    ],
)  # fmt: skip
def test_every_kind_has_a_page(
    pages: EntityPages, kind: str, name: str, activity: str, related: tuple[str, str] | None
) -> None:
    page = pages.page(kind, name)
    assert activity in titles(page, "activity")
    assert related is None or related in {(r["type"], r["name"]) for r in page["related"]}
    assert page["known"]
    assert page["hunts"]
    assert [n for n in page["left_out"] if n["name"] != "Where it is"] == []


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("MailMessage", "m-1", {"Delivered to ann@contoso.com"}),
        ("RegistryKey", "HKEY_LOCAL_MACHINE\\Software\\Run", {"RegistryValueSet on ws7.contoso.com"}),
        ("RegistryValue", "HKEY_LOCAL_MACHINE\\Software\\Run\\x", {"RegistryValueSet on ws7.contoso.com"}),
        ("CloudApplication", "7c1d", {"cloud"}),
        ("CloudApplication", "backup", {"cloud"}),
        ("Account", "0b1f1d5e-0e21-4f7b-b1b5-08de2b000001", {"cloud"}),
        ("IoTDevice", "plc-4", {"plc"}),
        ("IoTDevice", "Line 4", {"plc"}),
        ("IP", "::ffff:198.51.100.9", {"line", "ws1.contoso.com tool.exe"}),
        ("SecurityGroup", "S-1-5-21-1-2-3-512", set()),
        ("Malware", "Emotet", set()),
    ],
)
def test_a_thing_is_found_by_any_of_its_identifiers(pages: EntityPages, kind: str, name: str, told: set[str]) -> None:
    page = pages.page(kind, name)
    assert {t["title"] for t in page["timeline"]} == told
    assert page["known"] == bool(told)
    assert [n for n in page["left_out"] if n["name"] != "Where it is"] == []


def test_it_was_seen_when_rows_say_so_and_not_by_the_hour(pages: EntityPages) -> None:
    page = pages.page("RegistryKey", "HKEY_LOCAL_MACHINE\\Software\\Run")
    seen = [datetime.fromisoformat(page[name]).replace(tzinfo=None) for name in ("first_seen", "last_seen")]
    assert seen == [moment(41), moment(44)]
    assert [t["count"] for t in page["timeline"]] == [2]


def test_what_is_asked_for_by_an_id_is_called_by_its_name(pages: EntityPages) -> None:
    for kind, name, called in (
        ("Account", "S-1-5-21-1-2-3-1001", "ann@contoso.com"),
        ("Host", "d1", "ws1.contoso.com"),
    ):
        assert pages.page(kind, name)["name"] == called
    assert pages.page("Account", "CONTOSO\\ann")["name"] == "CONTOSO\\ann"  # a name is one already


def test_an_address_says_whose_it_was_and_when(pages: EntityPages) -> None:
    page = pages.page("IP", "10.0.0.5")
    (alias,) = page["aliases"]
    assert (alias["one"], alias["from"], alias["to"]) == (
        "ws1.contoso.com",
        "2026-03-01T08:30:00Z",
        "2026-03-01T10:30:00Z",
    )
    assert {f["name"]: f["value"] for f in page["facts"]}["Kind"] == "private"


def test_next_hunts_run_as_they_stand(house: House, pages: EntityPages) -> None:
    for kind, name in (("account", "ann@contoso.com"), ("process", "ws1/4312/2026-03-01T09:50:00Z")):
        for hunt in pages.page(kind, name)["hunts"]:
            house.queries.run(hunt["query"])
    (found,) = [h for h in pages.page("host", "ws1")["hunts"] if h["name"].startswith("Programs")]
    assert len(house.queries.run(found["query"])) == 3


def test_who_may_read_little_sees_little_and_is_told(pages: EntityPages) -> None:
    eve = SimpleNamespace(
        name="eve", person="eve", roles=(), table_scopes=frozenset({"SigninLogs"}), may=lambda p: p != "incidents.read"
    )
    page = pages.page("account", "ann@contoso.com", principal=eve)
    assert {t["source"] for t in page["timeline"]} == {"SigninLogs"}
    assert {a["source"] for a in page["aliases"]} <= {"SigninLogs"}
    assert (page["alerts"], page["incidents"], page["risk"]["level"]) == ([], [], "")
    assert {f["source"] for f in page["facts"]} == {"SigninLogs"}
    assert any("may not read the table DeviceLogonEvents" in n["why"] for n in page["left_out"])


def test_nobody_is_unknown_and_only_this_time_counts(pages: EntityPages) -> None:
    page = pages.page("host", "nobody.example")
    assert (page["known"], page["timeline"], page["incidents"], page["first_seen"]) == (False, [], [], None)
    before = pages.page("host", "ws1", NOW - timedelta(days=20), NOW - timedelta(days=10))
    assert (before["timeline"], before["alerts"]) == ([], [])
    with pytest.raises(UsageError, match=r"end after it begins"):
        pages.page("host", "ws1", NOW, NOW - timedelta(days=1))


def test_a_part_that_fails_is_named_and_the_others_stand(house: House) -> None:
    from tocsin.content import load_packs

    folder = house.settings.data / "own"
    (folder / "entities").mkdir(parents=True)
    (folder / "entities" / "bad.yaml").write_text(
        "id: page-bad\nkind: facts\nentity: Host\nname: Broken\nquery: |\n  NoSuchTable | take 1\n"
    )
    own: Content = load_packs([folder], only=("entities",))
    page = EntityPages(house, lambda: Content(entities=(*CONTENT.entities, *own.entities))).page("host", "ws1")
    (broken,) = [n for n in page["left_out"] if n["name"] == "Broken"]
    assert "NoSuchTable" in broken["why"]
    assert page["timeline"]


@given(st.sampled_from([*PAGES, "device", "user", "printer", ""]), st.text(max_size=60))
def test_any_name_is_a_subject_or_refused(kind: str, name: str) -> None:
    made = None
    with suppress(UsageError):
        made = subject(kind, name)
    if made is None:
        with pytest.raises(UsageError) as refused:
            subject(kind, name)
        assert refused.value.code in ("USE0050", "USE0051")
        return
    assert made.names
    assert all(n == n.lower() for n in made.names)


def test_built_in_and_bare_names_come_with_a_warning() -> None:
    assert "every machine has its own" in subject("account", "SYSTEM").notes[0]
    assert "several people" in subject("account", "ann").notes[0]
    assert subject("user", "ann@contoso.com").notes == []
    with pytest.raises(UsageError, match="host, process id and start"):
        subject("process", "tool.exe")


def test_the_command_line_shows_the_page_of_a_folder(house: House) -> None:
    data = str(house.settings.data)
    run = CliRunner().invoke(app, ["entity", "show", "host", "WS1", "--data", data, "--json"])
    assert run.exit_code == 0, run.output
    page = json.loads(run.output)
    assert {"run", "line"} == titles(page, "alert")
    text = CliRunner().invoke(app, ["entity", "show", "host", "WS1", "--data", data]).output
    assert "Risk: High" in text
    assert "ws1.contoso.com = 10.0.0.5" in text
    assert Path(data).is_dir()
