"""Aliases as a workspace learns them: from rows that come in, for alerts before and after, and in a scan."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.incidents.test_correlate import alert
from tests.workspace.house import House

from tocsin.access import ForbiddenError, system
from tocsin.content import load_packs, packs_dir
from tocsin.incidents.history import rebuild
from tocsin.incidents.teaching import teachings_of
from tocsin.lake import TableBatch
from tocsin.tables import Entity
from tocsin.workspace.aliases import Aliases
from tocsin.workspace.scan import scan

CONTENT = load_packs([packs_dir()], only=("functions", "entities"))


def moment(minute: float) -> datetime:
    return (datetime(2026, 3, 1, 9, 0, tzinfo=UTC) + timedelta(minutes=minute)).replace(tzinfo=None)


LEASE = {
    "ASimDhcpEventLogs": [
        {
            "TimeGenerated": moment(-30), "EventType": "Assign", "EventResult": "Success", "SrcHostname": "ws1", "SrcDomain": "contoso.com",
            "SrcIpAddr": "10.0.0.5", "SrcMacAddr": "00:11", "DhcpLeaseDuration": 7200, "EventSchema": "DhcpEvent",
        }
    ]
}  # fmt: skip
PEOPLE = {
    "DeviceInfo": [{"TimeGenerated": moment(1), "DeviceName": "WS1.contoso.com", "DeviceId": "D1"}],
    "DeviceLogonEvents": [
        {
            "TimeGenerated": moment(2), "DeviceName": "ws1.contoso.com", "ActionType": "LogonSuccess", "AccountDomain": "CONTOSO",
            "AccountName": "ann", "AccountSid": "S-1-5-21-1-2-3-1001", "RemoteIP": "10.0.0.7", "RemoteDeviceName": "ws2",
        },
        {"TimeGenerated": moment(3), "DeviceName": "ws1.contoso.com", "AccountName": "SYSTEM", "AccountSid": "S-1-5-18"},
    ],
    "IdentityInfo": [
        {"TimeGenerated": moment(4), "AccountUpn": "ann@contoso.com", "OnPremSid": "S-1-5-21-1-2-3-1001", "AccountObjectId": "AAD-1",
         "AccountName": "ann", "AccountDomain": "CONTOSO", "MailAddress": "ann.a@mail.contoso.com"},
    ],
    "DnsEvents": [{"TimeGenerated": moment(5), "Name": "files.contoso.com", "IPAddresses": "10.0.0.9, 8.8.8.8"}],
}  # fmt: skip


def write(house: House, rows: dict[str, list[dict[str, Any]]]) -> None:
    house.lake.write([TableBatch(name, pa.Table.from_pylist(some)) for name, some in rows.items()])
    house.lake.flush()
    house.clock.advance(timedelta(seconds=5))


def learner(house: House) -> Aliases:
    return Aliases(house, lambda: CONTENT, house.clock.now)


def known_as(aliases: Aliases, entity: Entity, minute: float = 10) -> set[tuple[str, float]]:
    when = moment(minute).replace(tzinfo=UTC)
    return {(a["other"]["label"], a["confidence"]) for a in aliases.known_as(entity, when, when)}  # type: ignore[index]


def test_rows_teach_who_is_who_once_and_it_is_kept(house: House) -> None:
    write(house, {**LEASE, **PEOPLE})
    aliases = learner(house)
    assert aliases.learn() > 0
    assert aliases.learn() == 0  # nothing came in since
    expected = {
        ("CONTOSO\\ann".lower(), 1.0), ("ann@contoso.com", 1.0), ("aad-1", 1.0), ("ann.a@mail.contoso.com", 1.0),
    }  # fmt: skip
    sid = Entity("Account", {"Sid": "S-1-5-21-1-2-3-1001"})
    again = learner(house)
    for each in (aliases, again):
        assert known_as(each, sid) == expected
        assert known_as(each, Entity("IP", {"Address": "10.0.0.5"})) == {("ws1.contoso.com", 0.9), ("d1", 0.9)}
        assert known_as(each, Entity("IP", {"Address": "10.0.0.9"})) == {("files.contoso.com", 0.6)}
        assert known_as(each, Entity("IP", {"Address": "8.8.8.8"})) == set()


def test_what_was_sent_to_everybody_teaches_no_address(house: House) -> None:
    near = {
        "TimeGenerated": moment(1),
        "DeviceName": "mkt01",
        "InitiatingProcessFileName": "system",
        "RemoteIP": "192.168.1.9",
    }
    write(house, {"DeviceNetworkEvents": [{**near, "LocalIP": "192.168.1.255"}, {**near, "LocalIP": "192.168.1.40"}]})
    aliases = learner(house)
    assert aliases.learn() > 0
    assert known_as(aliases, Entity("IP", {"Address": "192.168.1.40"})) == {("mkt01", 0.9)}
    assert known_as(aliases, Entity("IP", {"Address": "192.168.1.255"})) == set()


def test_alerts_join_by_what_was_known_and_by_what_is_learned_afterwards(house: House) -> None:
    aliases = learner(house)
    first = alert("a", 1, Entity.host("ws1.contoso.com"), tactics=("Execution",))
    second = alert("b", 5, Entity("IP", {"Address": "10.0.0.5"}), tactics=("Discovery",))
    house.incidents.add([first, second])
    assert house.incidents.page()["total"] == 2
    write(house, LEASE)
    aliases.learn()
    (only,) = [i for i in house.incidents.page()["items"] if i["status"] != "Redirected"]
    third = alert("c", 9, Entity("IP", {"Address": "10.0.0.5"}), tactics=("Collection",))
    house.incidents.add([third])
    found = {a["id"]: a for a in house.incidents.get(only["id"])["alerts"]}
    assert set(found) == {first.id, second.id, third.id}
    for learned in (second, third):
        (alias,) = found[learned.id]["aliases"]
        assert (alias["other"]["label"], alias["source"], alias["row"]["Mac"]) == ("ws1.contoso.com", "DHCP", "00:11")
        assert any("10.0.0.5 was ws1.contoso.com from" in r["text"] for r in found[learned.id]["linked_by"])
    with house.state.write() as unit:
        assert list(rebuild(unit, repair=False)) == []


def test_who_is_shared_by_many_is_learned_from_rows(house: House) -> None:
    logons = [
        {
            "TimeGenerated": moment(n), "DeviceName": "jump01", "ActionType": "LogonSuccess", "LogonType": "RemoteInteractive",
            "AccountDomain": "CONTOSO", "AccountName": f"user{n}", "AccountSid": f"S-1-5-21-1-2-3-{2000 + n}",
        }
        for n in range(7)
    ]  # fmt: skip
    lease = [{**LEASE["ASimDhcpEventLogs"][0], "SrcHostname": "jump01", "SrcDomain": ""}]
    write(house, {"DeviceLogonEvents": logons, "ASimDhcpEventLogs": lease})
    aliases = learner(house)
    aliases.learn()
    assert known_as(aliases, Entity("IP", {"Address": "10.0.0.5"})) == set()


def sign_ins(address: str, users: int, failed: int = 0, risk: str = "none") -> list[dict[str, Any]]:
    """Sign-ins of so many people from an address, and of so many whose password was wrong."""
    return [
        {
            "TimeGenerated": moment(n), "UserPrincipalName": f"user{n}@contoso.com", "UserId": f"u{n}", "IPAddress": address,
            "ResultType": "0" if n < users else "50126", "RiskLevelDuringSignIn": risk,
        }
        for n in range(users + failed)
    ]  # fmt: skip


GATEWAY = "203.0.113.200"


@pytest.mark.parametrize(
    ("rows", "joins"),
    [
        (sign_ins(GATEWAY, 8), False),
        (sign_ins(GATEWAY, 3), True),
        (sign_ins(GATEWAY, 8, risk="high"), True),  # sessions that were stolen, one after the other
        (sign_ins(GATEWAY, 6, failed=20), True),  # passwords that were guessed
    ],
)
def test_an_address_that_many_share_joins_nothing_and_is_no_attackers(
    house: House, rows: list[dict[str, Any]], joins: bool
) -> None:
    write(house, {"SigninLogs": rows})
    aliases = learner(house)
    aliases.learn()
    address = Entity("IP", {"Address": GATEWAY})
    risky = ("InitialAccess",)
    first = alert(
        "risky", 1, Entity("Account", {"Name": "a@contoso.com"}), address, tactics=risky, techniques=("T1078",)
    )
    second = alert(
        "taken",
        5,
        Entity("Account", {"Name": "b@contoso.com"}),
        address,
        tactics=("Exfiltration",),
        techniques=("T1530",),
    )
    house.incidents.add([first, second])
    shown = [i for i in house.incidents.page()["items"] if i["status"] != "Redirected"]
    assert len(shown) == (1 if joins else 2)
    filed = [a for i in shown for a in house.incidents.get(i["id"])["alerts"] if a["id"] in (first.id, second.id)]
    assert [a.get("shared", []) for a in filed] == ([[], []] if joins else [[GATEWAY], [GATEWAY]])
    assert all(GATEWAY in {e["label"] for e in a["entities"]} for a in filed)  # it is shown all the same
    with house.state.write() as unit:
        assert list(rebuild(unit, repair=False)) == []


@pytest.mark.parametrize(
    ("named", "address", "shared"),
    [
        ("203.0.113.200", GATEWAY, True),
        ("203.0.113.200/32", GATEWAY, True),
        (" 203.0.113.0/24 ", GATEWAY, True),
        ("203.0.113.7/24", GATEWAY, True),  # an address of the range with its length
        ("203.0.113.0/25", GATEWAY, False),
        ("203.0.112.0/22", GATEWAY, True),
        ("0.0.0.0/0", GATEWAY, False),  # everybody's is nobody's
        ("203.0.113.0/33", GATEWAY, False),
        ("the office/24", GATEWAY, False),
        ("2001:db8:1::/48", "2001:db8:1::5", True),
        ("2001:db8:1::5", "2001:db8:1::5", True),
        ("2001:db8:1::5/128", "2001:db8:1::5", True),
        ("2001:db8:2::/48", "2001:db8:1::5", False),
        ("10.0.0.0/8", "10.0.0.5", False),  # a private address stays the machine's own
        ("10.0.0.5", "10.0.0.5", False),
    ],
)
def test_the_organisations_own_addresses_and_ranges_are_nobodys(
    house: House, named: str, address: str, shared: bool
) -> None:
    house.queries.set_watchlists(
        {"NetworkAddresses": pa.table({"SearchKey": [named], "IP Subnet": [named], "Range Name": ["office"]})}
    )
    aliases = learner(house)
    aliases.learn()
    filed = aliases.resolve(alert("a", 1, Entity("IP", {"Address": address})))
    assert filed.shared == ((address,) if shared else ())


RULE = """id: 00000000-0000-0000-0000-00000000000{n}
name: {name}
description: For a test.
severity: High
requiredDataConnectors: []
queryFrequency: 1h
queryPeriod: 1h
triggerOperator: gt
triggerThreshold: 0
tactics: [{tactic}]
relevantTechniques: []
query: |
  {query}
entityMappings:
  - entityType: {type}
    fieldMappings: [{{identifier: {identifier}, columnName: {column}}}]
version: 1.0.0
kind: Scheduled
"""


def test_a_scan_resolves_before_it_correlates(tmp_path: Path) -> None:
    (tmp_path / "pack" / "rules").mkdir(parents=True)
    texts = [
        RULE.format(n=1, name="Says its name", tactic="Discovery", query="Corelight_v2_dhcp_CL | where msg_types_s has 'INFORM'", type="Host",
                    identifier="FullName", column="host_name_s"),
        RULE.format(n=2, name="Has an address", tactic="Exfiltration", query="Corelight_v2_conn_CL | where id_resp_p_d == 4444", type="IP",
                    identifier="Address", column="id_orig_h_s"),
    ]  # fmt: skip
    for number, text in enumerate(texts):
        (tmp_path / "pack" / "rules" / f"{number}.yaml").write_text(text)
    lease = {
        "_path": "dhcp", "ts": "2026-03-01T09:00:00.000000Z", "uids": ["C1"], "client_addr": "10.0.0.5", "mac": "00:11:22:33:44:55",
        "host_name": "ws1", "assigned_addr": "10.0.0.5", "lease_time": 7200.0, "msg_types": ["REQUEST", "ACK"],
    }  # fmt: skip
    inform = {
        "_path": "dhcp",
        "ts": "2026-03-01T09:05:00.000000Z",
        "uids": ["C2"],
        "host_name": "ws1",
        "msg_types": ["INFORM"],
    }
    line = {
        "_path": "conn", "ts": "2026-03-01T09:06:00.000000Z", "uid": "C3", "id.orig_h": "10.0.0.5", "id.orig_p": 50000, "id.resp_h": "10.9.9.9",
        "id.resp_p": 4444, "proto": "tcp",
    }  # fmt: skip
    log = tmp_path / "zeek.log"
    log.write_text("\n".join(map(json.dumps, (lease, inform, line))))
    found = scan([log], packs=[tmp_path / "pack"])
    mine = [a for a in found.alerts if a.rule in ("Says its name", "Has an address")]
    assert len(mine) == 2
    (incident,) = [i for i in found.incidents if i.alert_ids() & {a.id for a in mine}]
    assert incident.alert_ids() >= {a.id for a in mine}
    assert any("10.0.0.5 was ws1 from 2026-03-01 09:00 UTC" in r.text for a in incident.alerts for r in a.linked_by)


def person(name: str, sid: str, minute: float) -> dict[str, Any]:
    return {
        "TimeGenerated": moment(minute), "AccountUpn": f"{name}@contoso.com", "OnPremSid": f"S-1-5-21-1-2-3-{sid}",
        "AccountObjectId": f"AAD-{name}", "AccountName": name, "AccountDomain": "CONTOSO", "MailAddress": f"{name}@mail.contoso.com",
    }  # fmt: skip


BY = system("test", "lake.delete", "lake.purge")


def kept(house: House) -> str:
    """All that is kept of what was learned, as text."""
    with house.state.read() as unit:
        return " ".join(str(r) for r in unit.aliases.since(datetime(1, 1, 1, tzinfo=UTC), 1000)).lower()


def purge(house: House, table: str, condition: str) -> int:
    found = house.erasure.preview(table, condition, by=BY)
    expected = found.rows + found.deleted_before + found.archived
    return house.erasure.purge(table, condition, expected=expected, keep_evidence=False, by=BY)


def test_who_is_purged_from_the_tables_is_forgotten_by_what_was_learned(house: House) -> None:
    write(
        house, PEOPLE | {"IdentityInfo": [person("ann", "1001", 4), person("bob", "1002", 4), person("bob", "1002", 8)]}
    )
    aliases = house.aliases = learner(house)
    aliases.learn()
    assert {"ann@contoso.com", "bob@contoso.com", "s-1-5-21-1-2-3-1001"} <= set(
        kept(house).replace("'", " ").replace(",", " ").split()
    )
    bob = Entity("Account", {"Name": "bob", "UPNSuffix": "contoso.com"})
    before = known_as(aliases, bob)

    # Deleted rows may come back, so what they taught stays; a purge reaches them where they lie aside.
    found = house.erasure.preview("IdentityInfo", "AccountName == 'ann'", by=BY)
    house.erasure.delete("IdentityInfo", "AccountName == 'ann'", expected=found.rows, keep_evidence=False, by=BY)
    assert "ann@contoso.com" in kept(house)
    assert purge(house, "IdentityInfo", "AccountName == 'ann'") == 1
    assert "ann@" not in kept(house)
    assert "ann" in kept(house), "what a logon told still stands in its row"
    assert purge(house, "DeviceLogonEvents", "AccountName == 'ann'") == 1
    assert "ann" not in kept(house)
    assert "1001" not in kept(house)
    assert known_as(aliases, bob) == before

    # Of two rows that say the same one may go.
    assert purge(house, "IdentityInfo", "AccountName == 'bob' and TimeGenerated > datetime(2026-03-01 09:06)") == 1
    assert known_as(aliases, bob) == before
    assert known_as(learner(house), bob) == before, "also after a restart"
    assert purge(house, "IdentityInfo", "AccountName == 'bob'") == 1
    assert "bob" not in kept(house)
    aliases.learn()
    assert "bob" not in kept(house)
    with house.state.read() as unit:
        trail = [r for r in unit.audit.rows() if r.action == "alias.forget"]
    assert [r.actor for r in trail] == ["test"] * 3
    assert all("ann" not in str(r.detail) and r.detail["aliases"] for r in trail)


def test_what_was_learned_of_a_name_is_forgotten_when_its_rows_are_long_gone(house: House) -> None:
    write(house, {"IdentityInfo": [person("ann", "1001", 4), person("anna", "1003", 4)]})
    aliases = learner(house)
    aliases.learn()
    names = ["ANN@contoso.com", "S-1-5-21-1-2-3-1001", "CONTOSO\\ann", "ann@mail.contoso.com", "AAD-ann"]
    count = aliases.forget(names, by=BY, dry_run=True)
    assert count > 0
    assert "ann@contoso.com" in kept(house)
    assert aliases.forget(names, by=BY) == count
    assert not {"ann@contoso.com", "aad-ann"} & set(kept(house).replace("'", " ").split())
    assert "anna@contoso.com" in kept(house), "one whose name begins so is somebody else"
    assert known_as(aliases, Entity("Account", {"Name": "ann", "UPNSuffix": "contoso.com"})) == set()
    with pytest.raises(ForbiddenError):
        aliases.forget(names, by=system("test", "lake.delete"))


def test_every_teaching_of_the_packs_is_one() -> None:
    teachings, problems = teachings_of(CONTENT)
    assert problems == []
    assert {t.entity for t in teachings} == {"Host", "Account"}
