"""FileProfile(), DeviceFromIP(), AssignedIPAddresses() and SeenBy() over rows of the tables that they answer from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.kql.executor import Executor
from tocsin.content import load_packs, packs_dir
from tocsin.kql import KqlErrors, TableSchema
from tocsin.kql.types import FunctionSource
from tocsin.tables import catalogue

SHA1 = "a" * 40
SHA256 = "B" * 64
OTHER = "c" * 40


@dataclass(frozen=True)
class Shipped:
    """The declared tables with the packs' functions."""

    functions: Mapping[str, FunctionSource]

    def table(self, name: str) -> TableSchema | None:
        return catalogue().table(name)

    def table_names(self) -> list[str]:
        return sorted(catalogue().names())

    def function(self, name: str) -> FunctionSource | None:
        return self.functions.get(name)

    def function_names(self) -> list[str]:
        return sorted(self.functions)


ROWS: dict[str, list[dict[str, object]]] = {
    "DeviceFileEvents": [
        {"Timestamp": "2024-01-02", "DeviceId": "d1", "SHA1": SHA1, "SHA256": SHA256, "FileSize": 4_000_000_000},
        {"Timestamp": "2024-01-03", "DeviceId": "d2", "SHA1": SHA1.upper(), "FileSize": 4_000_000_000},
    ],
    "DeviceProcessEvents": [
        {
            "Timestamp": "2024-01-04", "DeviceId": "d2", "FileName": "Tool.EXE", "SHA1": SHA1, "MD5": "0" * 32,
            "ProcessVersionInfoCompanyName": "Contoso", "ProcessVersionInfoProductName": "Tool", "InitiatingProcessSHA1": OTHER,
            "InitiatingProcessFileName": "cmd.exe",
        },
    ],
    "DeviceFileCertificateInfo": [
        {"Timestamp": "2024-01-01", "SHA1": SHA1, "IsSigned": True, "IsTrusted": True, "Signer": "Old"},
        {"Timestamp": "2024-01-05", "SHA1": SHA1, "IsSigned": True, "IsTrusted": False, "Signer": "Contoso", "Issuer": "CA"},
    ],
    "EmailAttachmentInfo": [
        {"Timestamp": "2023-12-31", "RecipientEmailAddress": "ann@contoso.com", "SHA256": SHA256, "ThreatNames": "Trojan"},
    ],
    "DeviceNetworkInfo": [
        {"Timestamp": "2024-01-01", "DeviceId": "d1", "NetworkAdapterName": "a", "IPAddresses": '[{"IPAddress":"10.0.0.4"}]'},
        {"Timestamp": "2024-01-09", "DeviceId": "d1", "NetworkAdapterName": "a", "IPAddresses": '[{"IPAddress":"10.0.0.9"}]'},
        {"Timestamp": "2024-01-08", "DeviceId": "d3", "NetworkAdapterName": "a", "IPAddresses": '[{"IPAddress":"10.0.0.4"},{"IPAddress":"::1"}]'},
        {
            "Timestamp": "2024-01-02", "DeviceId": "d5", "DeviceName": "laptop.contoso.com", "NetworkAdapterName": "lan",
            "NetworkAdapterType": "Ethernet", "ConnectedNetworks": '[{"Name":"contoso.com","Category":"Domain"}]',
            "IPAddresses": '[{"IPAddress":"172.16.0.7","AddressType":"Private"},{"IPAddress":"2001:db8::7"}]',
        },
        {
            "Timestamp": "2024-01-03", "DeviceId": "d5", "DeviceName": "laptop.contoso.com", "NetworkAdapterName": "wlan",
            "NetworkAdapterType": "Wireless80211", "IPAddresses": '[{"IPAddress":"93.184.216.34"},{"IPAddress":"fe80::7"}]',
        },
        {"Timestamp": "2024-01-06", "DeviceId": "d5", "DeviceName": "laptop.contoso.com", "NetworkAdapterName": "wlan"},
    ],
    "DeviceNetworkEvents": [
        {"Timestamp": "2024-01-08", "DeviceId": "d2", "RemoteIP": "10.0.0.9"},
        {"Timestamp": "2024-01-08", "DeviceId": "d4", "RemoteIP": "10.0.0.4"},
        {"Timestamp": "2024-01-08", "DeviceId": "d1", "RemoteIP": "10.0.0.9"},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Executor:
    content = load_packs([packs_dir()])
    functions = {f.name: FunctionSource(f.name, f.parameters, f.body, f.doc) for f in content.functions}
    made = Executor(Shipped(functions))
    for name, rows in ROWS.items():
        schema = catalogue().table(name)
        assert schema is not None
        made.add_table(
            schema, [[r.get(c.name, "" if c.type == "string" else None) for c in schema.columns] for r in rows]
        )
    return made


def profile(engine: Executor, query: str) -> list[dict[str, object]]:
    names, rows = engine.run(query)
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_a_file_profile_tells_what_the_tables_know(engine: Executor) -> None:
    [row] = profile(engine, f"print SHA1 = '{SHA1.upper()}' | invoke FileProfile()")
    assert row == {
        "SHA1": SHA1.upper(), "SHA11": SHA1, "SHA256": SHA256.lower(), "MD5": "0" * 32, "FileSize": 4_000_000_000,
        "GlobalPrevalence": 2, "GlobalFirstSeen": "2024-01-02T00:00:00.0000000Z", "GlobalLastSeen": "2024-01-04T00:00:00.0000000Z",
        "Signer": "Contoso", "Issuer": "CA", "SignerHash": "", "IsCertificateValid": False, "IsRootSignerMicrosoft": None,
        "SignatureState": "SignedInvalid", "IsExecutable": True, "ThreatName": "", "Publisher": "Contoso", "SoftwareName": "Tool",
        "ProfileAvailability": "Available",
    }  # fmt: skip


def test_mailboxes_count_where_the_hash_is_one_that_mail_has(engine: Executor) -> None:
    [row] = profile(engine, f"print Hash = '{SHA256}' | project SHA256 = Hash | invoke FileProfile('SHA256')")
    assert (row["GlobalPrevalence"], row["GlobalFirstSeen"], row["ThreatName"]) == (
        2,
        "2023-12-31T00:00:00.0000000Z",
        "Trojan",
    )


def test_what_is_not_known_is_null_and_says_so(engine: Executor) -> None:
    rows = profile(
        engine,
        f"datatable(n:int, SHA1:string)[1,'{OTHER}', 2,'{'d' * 40}', 3,'no hash', 4,''] | sort by n asc | invoke FileProfile(SHA1, 3)"
        " | project n, GlobalPrevalence, IsExecutable, SignatureState, ProfileAvailability | sort by n asc",
    )
    assert [tuple(r.values()) for r in rows] == [
        (1, 1, True, "Unknown", "Available"),
        (2, None, None, "Unknown", "Missing"),
        (3, None, None, "", ""),
        (4, None, None, "", ""),
    ]


def test_only_as_many_rows_as_asked_are_enriched(engine: Executor) -> None:
    query = f"range n from 1 to 5 step 1 | extend SHA1 = '{SHA1}' | invoke FileProfile('SHA1', 2) | summarize count() by ProfileAvailability"
    assert sorted(map(tuple, engine.run(query)[1])) == [("", 3), ("Available", 2)]


def test_a_device_has_the_addresses_of_its_last_record(engine: Executor) -> None:
    ask = "datatable(IP:string)['10.0.0.4', '10.0.0.9'] | invoke DeviceFromIP({})"
    assert sorted(engine.run(ask.format(""))[1]) == [["10.0.0.4", "d3"], ["10.0.0.9", "d1"]]
    assert engine.run(ask.format("IP, datetime(2024-01-02)"))[1] == [["10.0.0.4", "d1"]]


def test_the_addresses_of_a_device_at_a_time(engine: Executor) -> None:
    ask = "AssignedIPAddresses({}) | project IPAddress, IPType, NetworkAdapterType, Network = tostring(ConnectedNetworks[0].Name)"
    lan = [["172.16.0.7", "Private", "Ethernet", "contoso.com"], ["2001:db8::7", "Public", "Ethernet", "contoso.com"]]
    wlan = [["93.184.216.34", "Public", "Wireless80211", ""], ["fe80::7", "Private", "Wireless80211", ""]]
    assert sorted(engine.run(ask.format("'LAPTOP.contoso.com', datetime(2024-01-04)"))[1]) == lan + wlan
    assert sorted(engine.run(ask.format("x='d5', y=datetime(2024-01-02T12:00)"))[1]) == lan
    assert sorted(engine.run(ask.format("'d5'"))[1]) == lan, "the last record of wlan has no address"
    assert engine.run(ask.format("''"))[1] == []


def test_the_devices_that_saw_a_device(engine: Executor) -> None:
    assert sorted(engine.run("print DeviceId = 'd1' | invoke SeenBy()")[1]) == [["d2"], ["d4"]]
    assert engine.run("print x = 1 | invoke SeenBy('d3')")[1] == [["d4"]]


def test_a_bare_column_is_a_name_for_stored_functions_only(engine: Executor) -> None:
    with pytest.raises(KqlErrors):
        engine.run("let f = (T:(*), c:string) { T | extend n = c }; print SHA1 = 'x' | invoke f(SHA1)")
    with pytest.raises(KqlErrors, match="SHA"):
        engine.run("print a = 'x' | invoke FileProfile(SHA1)")
