"""What could be reached from what an incident holds: from rows, with reasons, without what isn't known."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pypdf import PdfReader
from tests.incidents.test_correlate import ANN, T0, WS1, alert
from tests.workspace.house import House

from tocsin.base.clock import ManualClock
from tocsin.content import Content, load_packs, packs_dir
from tocsin.detect.alert import iso
from tocsin.incidents.export import to_json, verify
from tocsin.incidents.judging import AssetRow, judge_of
from tocsin.incidents.pdf import to_pdf
from tocsin.lake import TableBatch
from tocsin.tables import Entity
from tocsin.workspace.aliases import Aliases
from tocsin.workspace.reach import reach
from tocsin.workspace.settings import Settings
from tocsin.workspace.story import Stories

SIDS = {
    "ann": "S-1-5-21-1-2-3-1001",
    "bob": "S-1-5-21-1-2-3-1002",
    "carol": "S-1-5-21-1-2-3-1003",
    "dave": "S-1-5-21-1-2-3-1004",
}


def moment(minute: float) -> datetime:
    return (T0 + timedelta(minutes=minute)).replace(tzinfo=None)


def logon(host: str, name: str, kind: str = "Interactive", minute: float = -60, **more: Any) -> dict[str, Any]:
    return {
        "TimeGenerated": moment(minute), "DeviceName": host, "ActionType": "LogonSuccess", "AccountDomain": "CONTOSO", "AccountName": name,
        "AccountSid": SIDS.get(name, "S-1-5-18"), "LogonType": kind, "IsLocalAdmin": False, **more,
    }  # fmt: skip


ROWS: dict[str, list[dict[str, Any]]] = {
    "DeviceLogonEvents": [
        logon("ws1.contoso.com", "ann"),
        logon("srv1.contoso.com", "ann", "RemoteInteractive", -50, IsLocalAdmin=True),
        logon("srv1.contoso.com", "ann", "Network", -40),
        logon("old.contoso.com", "ann", minute=-60 * 24 * 90),
        logon("far.contoso.com", "ann") | {"ActionType": "LogonFailed"},
        logon("ws1.contoso.com", "bob", "RemoteInteractive", -200),
        logon("ws1.contoso.com", "carol", "Network", -200),
        logon("ws1.contoso.com", "SYSTEM", "Service"),
        logon("dc1.contoso.com", "bob", "RemoteInteractive", -300),
        logon("ws7.contoso.com", "bob", "Interactive", -300),
        logon("srv1.contoso.com", "dave", "Interactive", -300),
        logon("ws5.fabrikam.com", "dave", "Interactive", -300),
    ],
    "IdentityInfo": [
        {"TimeGenerated": moment(-600), "AccountUpn": "ann@contoso.com", "OnPremSid": SIDS["ann"], "AccountObjectId": "aad-1", "AccountName": "ann",
         "AccountDomain": "CONTOSO", "AssignedRoles": ["Helpdesk Administrator"], "GroupMembership": ["Sales", "Domain Admins"]},
    ],
    "SigninLogs": [
        {"TimeGenerated": moment(-30), "UserPrincipalName": "ann@contoso.com", "UserId": "aad-1", "AppDisplayName": "Payroll", "ResultType": "0"},
        {"TimeGenerated": moment(-30), "UserPrincipalName": "ann@contoso.com", "UserId": "aad-1", "AppDisplayName": "Denied", "ResultType": "50126"},
    ],
    "DeviceNetworkEvents": [
        {"TimeGenerated": moment(-5), "DeviceName": "ws1.contoso.com", "ActionType": "ConnectionSuccess", "RemoteIP": ip, "RemotePort": 445}
        for ip in ("10.0.0.20", "10.0.0.21")
    ],
    "DeviceNetworkInfo": [
        {"TimeGenerated": moment(-10), "DeviceName": "files.contoso.com", "IPAddresses": [{"IPAddress": "10.0.0.20"}], "MacAddress": "00"},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def content() -> Content:
    return load_packs([packs_dir()], only=("functions", "entities", "incidents"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, content: Content) -> Iterator[House]:
    made = House(Settings(data=tmp_path_factory.mktemp("reach")), ManualClock(T0 + timedelta(hours=1)))
    made.queries.set_functions(content.functions)
    for name, rows in ROWS.items():
        columns = dict.fromkeys(c for r in rows for c in r)
        made.lake.write([TableBatch(name, pa.Table.from_pylist([{c: r.get(c) for c in columns} for r in rows]))])
    made.lake.flush()
    made.clock.advance(timedelta(seconds=5))
    Aliases(made, lambda: content, made.clock.now).learn()
    made.incidents.add([alert("run", 0, WS1, ANN, severity="High", tactics=("Execution",))])
    made.incidents.set_assets([AssetRow("Host", "dc1.contoso.com", "Domain controllers", "veryHigh", "")])
    yield made
    made.close()


@pytest.fixture(scope="module")
def stories(house: House, content: Content) -> Stories:
    with house.state.read() as unit:
        judge = judge_of(unit, content)
    return Stories(house, lambda: content, lambda: judge)  # type: ignore[arg-type]


def incident(house: House) -> str:
    return str(house.incidents.page()["items"][0]["id"])


@pytest.fixture(scope="module")
def found(house: House, stories: Stories) -> dict[str, Any]:
    return stories.reach(incident(house))


def ways(found: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    return {t["label"]: [(w["from"]["label"], w["how"]) for w in t["ways"]] for t in found["things"]}


def test_where_its_accounts_sign_in_and_as_what(found: dict[str, Any]) -> None:
    told = ways(found)
    assert told["srv1.contoso.com"] == [
        ("CONTOSO\\ann", "signs in there as a local administrator (Network, RemoteInteractive)")
    ]
    (srv1,) = [t for t in found["things"] if t["label"] == "srv1.contoso.com"]
    assert (srv1["ways"][0]["seen"], srv1["ways"][0]["last"]) == (2, "2026-03-01T08:20:00Z")
    assert not {"old.contoso.com", "far.contoso.com"} & told.keys(), "too long ago, and never got in"


def test_whose_secrets_its_machines_hold(found: dict[str, Any]) -> None:
    told = ways(found)
    assert told["CONTOSO\\bob"] == [
        ("ws1.contoso.com", "had it signed in (RemoteInteractive), so its secrets may be taken there")
    ]
    assert "CONTOSO\\carol" not in told, "a logon over the network leaves no secret"
    assert not any("SYSTEM" in label for label in told)


def test_groups_roles_and_applications_of_its_accounts(found: dict[str, Any]) -> None:
    told = ways(found)
    assert told["Domain Admins"] == [("CONTOSO\\ann", "is a member")]
    assert told["Helpdesk Administrator"] == [("CONTOSO\\ann", "holds the role")]
    assert told["Payroll"] == [("CONTOSO\\ann", "signs in there")]
    assert "Denied" not in told
    critical = {t["label"]: t["critical"] for t in found["things"] if t["type"] == "SecurityGroup"}
    assert critical == {"Domain Admins": "high", "Helpdesk Administrator": "high", "Sales": ""}


def test_an_address_is_the_machine_that_had_it(found: dict[str, Any]) -> None:
    told = ways(found)
    assert told["files.contoso.com"] == [("ws1.contoso.com", "connects to it over SMB (10.0.0.20)")]
    assert told["10.0.0.21"] == [("ws1.contoso.com", "connects to it over SMB")]


def test_a_second_step_tells_only_what_matters_and_the_critical_come_first(found: dict[str, Any]) -> None:
    first = found["things"][0]
    assert (first["label"], first["critical"], first["why_critical"], first["hops"]) == (
        "dc1.contoso.com", "veryHigh", "Domain controllers", 2,
    )  # fmt: skip
    assert [w["from"]["label"] for w in first["ways"]] == ["CONTOSO\\bob"]
    assert not {"ws7.contoso.com", "CONTOSO\\dave", "ws5.fabrikam.com"} & ways(found).keys()
    assert found["critical"] == 3


def test_what_the_incident_holds_is_not_reached_again(found: dict[str, Any]) -> None:
    assert [s["label"] for s in found["starts"]] == ["CONTOSO\\ann", "ws1.contoso.com"]
    assert not {"ws1.contoso.com", "CONTOSO\\ann"} & ways(found).keys()


def test_of_what_no_row_tells_nothing_is_known(found: dict[str, Any]) -> None:
    said = {u["name"]: u["why"] for u in found["unknown"]}
    assert said["Roles that an account takes in AWS"] == "no row of AWSCloudTrail in this time"
    assert "Machines that an account signs in to" not in said
    assert found["failed"] == []


def test_who_may_not_read_a_table_is_told_so_and_sees_nothing_of_it(house: House, stories: Stories) -> None:
    eve = SimpleNamespace(name="eve", roles=frozenset(), table_scopes=frozenset({"IdentityInfo"}))
    seen = stories.reach(incident(house), principal=eve)
    assert {t["type"] for t in seen["things"]} == {"SecurityGroup"}
    assert "Machines that an account signs in to" in {f["name"] for f in seen["failed"]}


def test_a_bare_name_never_stands_for_another_domain_s(house: House, stories: Stories) -> None:
    """ws5.contoso.com and ws5.fabrikam.com are two."""
    house.incidents.add([alert("else", 500, Entity.host("ws5.contoso.com"))])
    (other,) = [i for i in house.incidents.page()["items"] if "ws5" in i["title"]]
    assert stories.reach(str(other["id"]))["things"] == []


def test_the_proof_says_what_could_be_reached_and_as_of_when(house: House, stories: Stories) -> None:
    made = stories.bundle(incident(house), audit=True)
    told = made["sections"]["reach"]
    live = stories.reach(incident(house))
    assert {n: told[n] for n in live} == live
    assert (told["at"], told["asked_by"]) == (iso(house.state.clock.now()), "local")
    assert verify(to_json(made)).intact
    text = " ".join("".join(p.extract_text() for p in PdfReader(io.BytesIO(to_pdf(made))).pages).split())
    for part in (
        "What could be reached from there",
        f"As of {told['at'][:10]}",
        "In a second step: CONTOSO\\bob",
        "Of this nothing is known",
    ):
        assert part in text, part
    changes: list[Any] = [
        lambda m: m["sections"]["reach"]["things"].pop(0),
        lambda m: m["sections"]["reach"].update(at="2020-01-01T00:00:00Z"),
        lambda m: m["sections"].pop("reach"),
    ]
    for change in changes:
        other = json.loads(to_json(made))
        change(other)
        found = verify(to_json(other))
        assert not found.intact
        assert "'reach'" in found.problems[0]


def test_who_may_not_ask_exports_without_it_and_the_pages_say_so(house: House, stories: Stories) -> None:
    made = stories.bundle(incident(house), audit=False, asks=False)
    assert made["sections"]["reach"] == {"not_asked": "who exported it may not ask the tables"}
    text = " ".join("".join(p.extract_text() for p in PdfReader(io.BytesIO(to_pdf(made))).pages).split())
    assert "It was not asked: who exported it may not ask the tables." in text
    eve = SimpleNamespace(name="eve", roles=frozenset(), table_scopes=frozenset({"IdentityInfo"}))
    seen = stories.bundle(incident(house), audit=False, principal=eve)["sections"]["reach"]
    assert seen["asked_by"] == "eve"
    assert {t["type"] for t in seen["things"]} == {"SecurityGroup"}, "no more than she may see herself"


def test_no_time_is_no_answer_and_says_so(house: House, content: Content) -> None:
    told = reach(house, content, None, incident(house), seconds=0.0)
    assert told["things"] == []
    assert {f["why"] for f in told["failed"]} == {"There was no time left to ask."}
    assert told["unknown"] == [], "what wasn't asked may well be known"
