"""Entities: keys that join what is one thing and never what only looks alike. The table is Microsoft's, combination by combination."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.tables import Entity
from tocsin.tables.entities import ENTITY_IDENTIFIERS, EntityKey

START = "2026-03-02T10:00:00.5Z"
SID = "S-1-5-21-1-2-3-1001"
GUID = "0B1F1D5E-0e21-4f7b-b1b5-08de2b000001"
RESOURCE = "/subscriptions/S/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/VM1"
MAIL = {"NetworkMessageId": "M-1", "Recipient": "Ann@contoso.com"}

STARTED = {"Host": "WS1", "ParentProcessId": "0x1a4", "CreationTimeUtc": START, "CommandLine": "whoami /ALL"}
PARENT = ("process.parent", "ws1/420/2026-03-02t10:00:00", "whoami /all")

STRONG: list[tuple[str, dict[str, str], set[EntityKey]]] = [
    ("Account", {"Name": "Ann", "UPNSuffix": "Contoso.com"}, {("account", "ann", "contoso.com")}),
    ("Account", {"FullName": "ann@contoso.com"}, {("account", "ann", "contoso.com")}),
    ("Account", {"Name": "ann", "UPNSuffix": "contoso.com."}, {("account", "ann", "contoso.com")}),
    ("Account", {"Name": "ann", "UPNSuffix": "bücher.example"}, {("account", "ann", "xn--bcher-kva.example")}),
    ("Account", {"AadUserId": GUID}, {("account.aaduserid", GUID.lower())}),
    ("Account", {"FullName": GUID}, {("account.aaduserid", GUID.lower())}),
    ("Account", {"Sid": SID}, {("account.sid", SID.lower())}),
    ("Account", {"Name": "-", "Sid": SID}, {("account.sid", SID.lower())}),
    ("Account", {"Sid": "S-1-12-1-1-2-3-4"}, {("account.sid", "s-1-12-1-1-2-3-4")}),
    ("Account", {"Name": "Ann", "NTDomain": "CONTOSO"}, {("account.nt", "contoso", "ann")}),
    ("Account", {"FullName": "CONTOSO\\Ann"}, {("account.nt", "contoso", "ann")}),
    ("Account", {"Name": "administrator", "NTDomain": "CONTOSO"}, {("account.nt", "contoso", "administrator")}),
    ("Account", {"Name": ".\\ann", "Host": "ws1.contoso.com"}, {("account.nt", "ws1", "ann")}),
    ("Account", {"Name": "ann", "NTDomain": "WORKGROUP", "Host": "WS1"}, {("account.nt", "ws1", "ann")}),
    ("Account", {"Name": "ann", "NTDomain": "WS1", "Host": "WS1"}, {("account.nt", "ws1", "ann")}),
    ("Account", {"Name": "ann", "DnsDomain": "Contoso.com"}, {("account.dns", "contoso.com", "ann")}),
    ("Account", {"PUID": "1003"}, {("account.puid", "1003")}),
    ("Account", {"ObjectGuid": GUID}, {("account.objectguid", GUID.lower())}),
    ("Host", {"FullName": "WS1.Contoso.com."}, {("host", "ws1", "contoso.com")}),
    ("Host", {"HostName": "ws1.contoso.com"}, {("host", "ws1", "contoso.com")}),
    ("Host", {"HostName": "ws1", "NTDomain": "CONTOSO"}, {("host", "ws1", "contoso")}),
    ("Host", {"NetBiosName": "WS1", "DnsDomain": "contoso.com"}, {("host", "ws1", "contoso.com")}),
    ("Host", {"AzureID": RESOURCE}, {("host.azureid", RESOURCE.lower())}),
    ("Host", {"OMSAgentID": "A-1"}, {("host.omsagentid", "a-1")}),
    ("Host", {"DeviceId": "D1"}, {("host.deviceid", "d1")}),
    ("IP", {"Address": "8.8.8.8"}, {("ip", "8.8.8.8")}),
    ("IP", {"Address": "::ffff:8.8.8.8"}, {("ip", "8.8.8.8")}),
    ("IP", {"Address": "::FFFF:808:808"}, {("ip", "8.8.8.8")}),
    ("IP", {"Address": "2606:4700:0:0:0:0:0:1111"}, {("ip", "2606:4700::1111")}),
    ("IP", {"Address": "[2606:4700::1111]"}, {("ip", "2606:4700::1111")}),
    ("IP", {"Address": "203.0.113.9"}, {("ip", "203.0.113.9")}),
    ("IP", {"Address": "10.0.0.5", "AddressScope": "Site-A"}, {("ip.scoped", "10.0.0.5", "site-a")}),
    ("IP", {"Address": "fd00::5", "AddressScope": "site-a"}, {("ip.scoped", "fd00::5", "site-a")}),
    ("URL", {"Url": "HTTPS://Evil.Example:443"}, {("url", "https://evil.example/")}),
    ("URL", {"Url": "https://evil.example/Path?Q=1"}, {("url", "https://evil.example/Path?Q=1")}),
    ("URL", {"Url": "https://bücher.example/a"}, {("url", "https://xn--bcher-kva.example/a")}),
    ("AzureResource", {"ResourceId": f"{RESOURCE}/"}, {("azureresource", RESOURCE.lower())}),
    ("CloudApplication", {"AppId": "20892"}, {("app", "20892")}),
    ("CloudApplication", {"Name": "Box", "InstanceName": "eu"}, {("app", "box")}),
    ("DNS", {"DomainName": "a.example", "DnsServerIp": "10.0.0.1", "HostIpAddress": "10.0.0.9"}, {("dns", "a.example", "10.0.0.1", "10.0.0.9")}),
    ("File", {"Directory": "C:\\Temp", "Name": "A.exe"}, {("file", "c:\\temp", "a.exe")}),
    ("File", {"Name": "A.exe", "FileHash": "C" * 64}, {("filehash", "a.exe", "c" * 64)}),
    ("File", {"Directory": "C:\\Temp", "Name": "A.exe", "FileHash": "c" * 40}, {("file", "c:\\temp", "a.exe"), ("filehash", "a.exe", "c" * 40)}),
    ("FileHash", {"Algorithm": "MD5", "Value": "A" * 32}, {("hash", "a" * 32)}),
    ("FileHash", {"Value": "b" * 64}, {("hash", "b" * 64)}),
    ("Malware", {"Name": "Emotet", "Category": "Trojan"}, {("malware", "emotet", "trojan")}),
    ("Process", {"Host": "WS1.contoso.com", "ProcessId": "0x1A4", "CreationTimeUtc": START}, {("process", "ws1/420/2026-03-02t10:00:00")}),
    ("Process", STARTED, {PARENT}),
    ("Process", {**STARTED, "ProcessId": "7"}, {("process", "ws1/7/2026-03-02t10:00:00"), PARENT}),
    ("RegistryKey", {"Hive": "HKEY_LOCAL_MACHINE", "Key": "Software\\X"}, {("registrykey", "hkey_local_machine", "software\\x")}),
    ("RegistryKey", {"Key": "HKLM\\Software\\X"}, {("registrykey", "hkey_local_machine", "software\\x")}),
    ("RegistryValue", {"Key": "HKLM\\Software\\X", "Name": "Run"}, {("registryvalue", "hkey_local_machine", "software\\x", "run")}),
    ("SecurityGroup", {"DistinguishedName": "CN=A"}, {("securitygroup", "cn=a")}),
    ("SecurityGroup", {"SID": SID}, {("securitygroup", SID.lower())}),
    ("SecurityGroup", {"ObjectGuid": GUID}, {("securitygroup", GUID.lower())}),
    ("Mailbox", {"MailboxPrimaryAddress": "Ann@Contoso.com"}, {("account", "ann", "contoso.com")}),
    ("MailCluster", {"Query": "q", "Source": "s"}, {("mailcluster", "q", "s")}),
    ("MailMessage", MAIL, {("mail", "m-1", "ann@contoso.com")}),
    ("SubmissionMail", {**MAIL, "SubmissionId": "S", "Submitter": "bob"}, {("submission", "s", "m-1", "ann@contoso.com", "bob")}),
    ("IoTDevice", {"DeviceId": "PLC-4", "DeviceName": "Line 4"}, {("iotdevice", "plc-4")}),
]  # fmt: skip

WEAK: list[tuple[str, dict[str, str]]] = [
    ("Account", {"Name": "ann"}),
    ("Account", {"Name": "ann", "NTDomain": "."}),
    ("Account", {"Name": "ann", "DisplayName": "Ann", "IsDomainJoined": "true"}),
    ("Account", {"Name": "WS1$", "NTDomain": "CONTOSO"}),
    ("Host", {"HostName": "WS1"}),
    ("Host", {"NetBiosName": "WS1"}),
    ("Host", {"HostName": "WS1", "NTDomain": "WORKGROUP"}),
    ("IP", {"Address": "10.0.0.5"}),
    ("IP", {"Address": "::ffff:10.0.0.5"}),
    ("IP", {"Address": "100.64.3.4"}),
    ("IP", {"Address": "fd00::5"}),
    ("URL", {"Url": "/relative"}),
    ("URL", {"Url": "evil.example/x"}),
    ("DNS", {"DomainName": "a.example"}),
    ("File", {"Name": "a.exe"}),
    ("Malware", {"Name": "Emotet"}),
    ("Process", {"ProcessId": "420", "CreationTimeUtc": "2026-03-02T10:00:00Z"}),
    ("File", {"Name": "a.exe", "FileHash": "abc"}),
    ("RegistryKey", {"Key": "Software\\X"}),
    ("RegistryValue", {"Name": "Run"}),
    ("MailCluster", {"Query": "q"}),
    ("MailMessage", {"NetworkMessageId": "M-1"}),
    ("SubmissionMail", {"SubmissionId": "S"}),
    ("IoTDevice", {"DeviceName": "Line 4"}),
]

NOTHING: list[tuple[str, dict[str, str]]] = [
    *(("Account", {"Name": n}) for n in ("SYSTEM", "root", "Admin", "ADMINISTRATOR", "Anonymous", "Null", "LocalSystem", "Network Service")),
    *(("Account", {"Name": n}) for n in ("Système", "SYSTEME", "NETZWERKDIENST", "Lokaler Dienst", "SERVICE RÉSEAU", "Администратор")),
    *(("Account", {"Name": n}) for n in ("Rendszergazda", "Hálózati szolgáltatás", "Järjestelmänvalvoja", "NETVÆRKSTJENESTE", "Nätverkstjänst")),
    *(("Account", {"FullName": n}) for n in ("NT AUTHORITY\\SYSTEM", "AUTORITE NT\\Système", "Autorité NT\\Système", "NT-AUTORITÄT\\SYSTEM")),
    *(("Account", {"FullName": n}) for n in ("NT SERVICE\\MSSQL", "IIS APPPOOL\\Site", "Window Manager\\DWM-3")),
    *(("Account", {"FullName": n}) for n in (".\\Administrator", "WORKGROUP\\root")),
    *(("Account", {"Name": n, "NTDomain": "CONTOSO"}) for n in ("DWM-1", "UMFD-12")),
    *(("Account", {"Name": "x", "NTDomain": "CONTOSO", "Sid": s}) for s in ("S-1-5-18", "s-1-5-19", "S-1-5-7")),
    *(("Account", {"Name": "x", "Sid": s}) for s in ("S-1-5-80-1-2-3", "S-1-5-90-0-1", "S-1-5-96-0-2")),
    *(("Account", {"Sid": s}) for s in ("S-1-0-0", "S-1-1-0", "S-1-5-32-544", "S-1-16-12288", "S-1-5-21-0-0-0-497")),
    ("Account", {"DisplayName": "Ann"}),
    *(("IP", {"Address": a}) for a in ("127.0.0.1", "::1", "0.0.0.0", "169.254.3.4", "fe80::1%eth0", "224.0.0.251", "255.255.255.255", "x")),
    ("AzureResource", {"ResourceId": "/tenants/t/providers/Microsoft.aadiam"}),
    ("Host", {"AzureID": "00000000-0000-0000-0000-000000000000"}),
    ("SecurityGroup", {"SID": "S-1-5-32-544"}),
    ("FileHash", {"Value": "abc"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "ids", "strong"), STRONG, ids=lambda v: str(sorted(v) if isinstance(v, set) else v)[:60]
)
def test_a_strong_combination_names_one_thing(kind: str, ids: dict[str, str], strong: set[EntityKey]) -> None:
    assert set(Entity(kind, ids).strong_keys()) == strong
    assert Entity.from_dict(Entity(kind, ids).to_dict()).strong_keys() == Entity(kind, ids).strong_keys()


@pytest.mark.parametrize(("kind", "ids"), WEAK, ids=lambda v: str(v)[:60])
def test_a_weak_combination_only_supports(kind: str, ids: dict[str, str]) -> None:
    assert Entity(kind, ids).strong_keys() == ()
    assert Entity(kind, ids).weak_keys()


@pytest.mark.parametrize(("kind", "ids"), NOTHING, ids=lambda v: str(v)[:60])
def test_what_names_nobody_has_no_keys(kind: str, ids: dict[str, str]) -> None:
    entity = Entity(kind, ids)
    assert entity.strong_keys() + entity.weak_keys() == ()
    assert entity.is_built_in == (kind == "Account")


def test_every_type_has_its_cases() -> None:
    assert {k for k, _, _ in STRONG} == set(ENTITY_IDENTIFIERS)


def test_a_machines_account_is_the_machine() -> None:
    machine = Entity("Account", {"Name": "WS1$", "NTDomain": "CONTOSO"})
    assert set(machine.weak_keys()) == set(Entity("Host", {"HostName": "ws1"}).weak_keys())


@pytest.mark.parametrize(
    ("kind", "ids", "label"),
    [
        ("Host", {"FullName": "10.0.0.5"}, "10.0.0.5"),
        ("Host", {"OMSAgentID": "a1"}, "a1"),
        ("Account", {"ObjectGuid": "123"}, "123"),
        ("Account", {"AadUserId": GUID, "DisplayName": "nightly-backup"}, "nightly-backup"),
        ("CloudApplication", {"AppId": "7c1d", "Name": "nightly-backup"}, "nightly-backup"),
        ("IoTDevice", {"DeviceId": "4711", "DeviceName": "Line 4"}, "Line 4"),
    ],
)
def test_its_label_is_what_people_call_it(kind: str, ids: dict[str, str], label: str) -> None:
    assert Entity(kind, ids).label == label


@given(
    st.sampled_from([*ENTITY_IDENTIFIERS, "Thing"]).flatmap(
        lambda kind: st.tuples(
            st.just(kind),
            st.dictionaries(
                st.sampled_from([*ENTITY_IDENTIFIERS.get(kind, ()), "Odd"]), st.text(max_size=20), max_size=5
            ),
        )
    )
)
def test_any_identifiers_make_an_entity(given: tuple[str, dict[str, str]]) -> None:
    entity = Entity(*given)
    assert Entity.from_dict(entity.to_dict()) == entity
    assert isinstance(entity.label, str)
    keys = (*entity.strong_keys(), *entity.weak_keys())
    assert all(isinstance(part, str) for key in keys for part in key)
    assert not (entity.is_built_in and keys)
