"""ASIM: what each parser makes of the rows beside it, what the schemas ask of it, and what the filtering parameters keep."""

# ruff: noqa: E501 - queries and tables of columns read best in one line

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.query.asim_support import COMMON, EXAMPLES, PACK, cases, queries, relations, rows_of, schemas

EVENTS = [name for name, schema in schemas().items() if "EventSchema" in schema["fields"]]
ALWAYS = ("EventCount", "EventStartTime", "EventEndTime", "EventType", "EventResult", "EventProduct", "EventVendor", "EventSchema", "EventSchemaVersion", "TimeGenerated", "Type")  # fmt: skip
FILTERED = [name for name, schema in schemas().items() if schema["parameters"]]


def names_of(path: Path) -> tuple[str, str]:
    return path.parent.name, path.name.removesuffix(".test.yaml")


@pytest.mark.parametrize("path", cases(), ids=lambda p: "_".join(names_of(p)))
def test_rows_beside_the_parser(path: Path) -> None:
    schema, source = names_of(path)
    case = yaml.safe_load(path.read_text("utf-8"))
    fields = schemas()[schema]["fields"]
    result = queries().run(
        f"_ASim_{schema}_{source}() | sort by Type asc, TimeGenerated asc", relations=relations(case["rows"])
    )
    types = {c.name: c.type.value for c in result.columns}
    assert not {n: t for n, t in types.items() if n not in fields or fields[n]["type"] != t}, (
        "columns outside the schema"
    )
    if schema in EVENTS and schema != "AgentEvent":
        lacking = [
            n for n, f in fields.items() if f["class"] in ("mandatory", "recommended", "alias") and n not in types
        ]
        assert not lacking
    rows = result.dicts()
    assert len(rows) == len(case["expect"]), [r.get("EventOriginalType") for r in rows]
    for row, wanted in zip(rows, case["expect"], strict=True):
        assert {n: row[n] for n in wanted} == wanted
        if schema in EVENTS and source != "Native":
            assert not [n for n in ALWAYS if row[n] in (None, "")]
            if schema != "AlertEvent":
                assert row["Dvc"], "no device and no product stands for it"
        for name, value in row.items():
            allowed = COMMON.get(name, fields[name].get("allowed"))
            if allowed and value and (schema, name) not in EXAMPLES and name != "EventSchema":
                assert value in allowed, f"{name} is {value!r}"


def test_every_parser_has_rows() -> None:
    """A parser without rows beside it is proven by nothing."""
    given = {names_of(p) for p in cases()}
    parsers = {n.split("_", 3)[2:4][0:2] and tuple(n.split("_", 3)[2:4]) for n in queries().catalog.functions if re.match(r"_ASim_[A-Za-z]+_", n)}  # fmt: skip
    assert {p for p in parsers if p not in given} <= {("ProcessEvent", "Create"), ("ProcessEvent", "Terminate")}


def test_published_names_and_parameters() -> None:
    functions = queries().catalog.functions
    for name, schema in schemas().items():
        for published in schema["functions"]:
            assert set(published.values()) <= set(functions), published
            declared = functions[published["filtering_builtin"]].parameters
            for parameter, kind, default in schema["parameters"]:
                shown = f"'{default}'" if kind == "string" else default
                assert f"{parameter}:{kind}={shown}" in declared.split(", "), (published, parameter)
            for also in ("parameterless", "filtering"):
                plain, built_in = functions[published[also]], functions[published[f"{also}_builtin"]]
                assert (plain.parameters, plain.body) == (built_in.parameters, built_in.body)
        assert f"_Im_{name}_Empty" in functions
        assert f"vim{name}Empty" in functions
        # The parsers that we have and Microsoft has too go by its legacy names as well.
        for built_in, legacy in schema["sources"].items():
            if built_in in functions:
                assert legacy in functions
                assert re.sub("^ASim", "vim", legacy) in functions
                assert built_in.replace("_ASim_", "_Im_") in functions


@pytest.mark.parametrize("name", list(schemas()))
def test_unifying_schema(name: str) -> None:
    """Exactly the schema's columns and types; Empty in the schema's order."""
    fields = {n: f["type"] for n, f in schemas()[name]["fields"].items()}
    for function in (f"_Im_{name}_Empty", f"_ASim_{name}", f"_Im_{name}"):
        columns = {c.name: c.type.value for c in queries().compile(f"{function}()").columns}
        assert columns == fields, function
    assert [c.name for c in queries().compile(f"_Im_{name}_Empty").columns] == list(fields)


# ---------------------------------------------------------------------------------------------- filters


def terms(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


def has_any(value: Any, wanted: list[str]) -> bool:
    """KQL's `has_any` for wanted values that are single terms."""
    found = {t.lower() for t in terms(str(value or ""))}
    return any(w.lower() in found for w in wanted)


def ip_prefix(value: Any, wanted: list[str]) -> bool:
    """Whether an IPv4 address in the text starts with one of the prefixes, which end in a dot or are whole addresses."""
    found = re.findall(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])", str(value or ""))
    return any(a == w or (w.endswith(".") and a.startswith(w)) for a in found for w in wanted)


COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "AlertEvent": {"ipaddr_has_any_prefix": ("DvcIpAddr",), "hostname_has_any": ("DvcHostname",), "username_has_any": ("Username",), "attacktactics_has_any": ("AttackTactics",), "attacktechniques_has_any": ("AttackTechniques",), "threatcategory_has_any": ("ThreatCategory",), "alertverdict_has_any": ("AlertVerdict",), "eventseverity_has_any": ("EventSeverity",)},
    "Authentication": {"username_has_any": ("TargetUsername", "ActorUsername"), "targetappname_has_any": ("TargetAppName",), "srcipaddr_has_any_prefix": ("SrcIpAddr",), "srchostname_has_any": ("SrcHostname",)},
    "AuditEvent": {"srcipaddr_has_any_prefix": ("SrcIpAddr",), "actorusername_has_any": ("ActorUsername",), "operation_has_any": ("Operation",), "object_has_any": ("Object",), "newvalue_has_any": ("NewValue",)},
    "DhcpEvent": {"srcipaddr_has_any_prefix": ("SrcIpAddr",), "srchostname_has_any": ("SrcHostname",), "srcusername_has_any": ("SrcUsername",)},
    "Dns": {"domain_has_any": ("DnsQuery",), "response_has_any_prefix": ("DnsResponseName",)},
    "FileEvent": {"srcipaddr_has_any_prefix": ("SrcIpAddr",), "actorusername_has_any": ("ActorUsername",), "targetfilepath_has_any": ("TargetFilePath",), "srcfilepath_has_any": ("SrcFilePath",), "hashes_has_any": ("TargetFileMD5", "TargetFileSHA1", "TargetFileSHA256", "TargetFileSHA512"), "dvchostname_has_any": ("DvcHostname",)},
    "NetworkSession": {"srcipaddr_has_any_prefix": ("SrcIpAddr",), "dstipaddr_has_any_prefix": ("DstIpAddr",), "ipaddr_has_any_prefix": ("SrcIpAddr", "DstIpAddr"), "hostname_has_any": ("SrcHostname", "DstHostname")},
    "ProcessEvent": {"commandline_has_any": ("TargetProcessCommandLine",), "commandline_has_any_ip_prefix": ("TargetProcessCommandLine",), "actingprocess_has_any": ("ActingProcessName",), "targetprocess_has_any": ("TargetProcessName",), "parentprocess_has_any": ("ParentProcessName",), "dvcipaddr_has_any_prefix": ("DvcIpAddr",), "dvchostname_has_any": ("DvcHostname",), "hashes_has_any": ("TargetProcessMD5", "TargetProcessSHA1", "TargetProcessSHA256", "TargetProcessSHA512", "TargetProcessIMPHASH")},
    "RegistryEvent": {"actorusername_has_any": ("ActorUsername",), "registrykey_has_any": ("RegistryKey",), "registryvalue_has_any": ("RegistryValue",), "registrydata_has_any": ("RegistryValueData",), "dvchostname_has_any": ("DvcHostname",)},
    "UserManagement": {"srcipaddr_has_any_prefix": ("SrcIpAddr",), "targetusername_has_any": ("TargetUsername",), "actorusername_has_any": ("ActorUsername",)},
    "WebSession": {"srcipaddr_has_any_prefix": ("SrcIpAddr",), "ipaddr_has_any_prefix": ("SrcIpAddr", "DstIpAddr"), "url_has_any": ("Url",), "httpuseragent_has_any": ("HttpUserAgent",)},
}  # fmt: skip


SINGLE = {
    "eventtype_in": "EventType", "eventresultdetails_in": "EventResultDetails", "dvcaction": "DvcAction", "eventresult": "EventResult",
    "responsecodename": "DnsResponseCodeName", "srcipaddr": "SrcIpAddr", "dstportnumber": "DstPortNumber", "response_has_ipv4": "DnsResponseName",
    "targetusername_has": "TargetUsername", "actorusername_has": "ActorUsername",
}  # fmt: skip
"""The column that a parameter of one value or of whole values compares."""


def samples(
    name: str, parameter: str, rows: list[dict[str, Any]]
) -> list[tuple[str, Callable[[dict[str, Any]], bool]]]:
    """Values for a parameter, as KQL, and what each must keep. Values come from the rows, plus one that nothing has."""

    def either(kql: str, test: Callable[[dict[str, Any]], bool]) -> tuple[str, Callable[[dict[str, Any]], bool]]:
        return kql, test

    def seen(column: str) -> list[Any]:
        return sorted({r[column] for r in rows if r[column] not in (None, "")}, key=str)

    columns = COLUMNS[name].get(parameter)
    if columns and parameter.endswith("prefix"):
        addresses = sorted({a for c in columns for v in seen(c) for a in re.findall(r"(?:\d+\.){3}\d+", str(v))})
        values = {a for x in addresses[:4] for a in (x, x.rsplit(".", 1)[0] + ".", x.split(".")[0] + ".")} | {
            "192.0.2."
        }
        return [
            either(f"dynamic(['{value}'])", lambda r, v=value: any(ip_prefix(r[c], [v]) for c in columns))  # type: ignore[misc]
            for value in sorted(values)
        ]
    if columns:
        listed = sorted({t for c in columns for v in seen(c) for t in terms(str(v)) if len(t) > 1})
        chosen = listed[:: max(1, len(listed) // 5)][:6]
        return [
            either(
                f"dynamic(['{value}', 'neither'])",
                lambda r, v=value: any(has_any(r[c], [v, "neither"]) for c in columns),  # type: ignore[misc]
            )
            for value in [*chosen, "nothinghasthis"]
        ]
    column = SINGLE.get(parameter, "")
    if parameter in ("eventtype_in", "eventresultdetails_in", "dvcaction"):
        return [either(f"dynamic(['{v}'])", lambda r, v=v: (r[column] or "").lower() == v.lower()) for v in [*seen(column), "x"]]  # type: ignore[misc]  # fmt: skip
    if parameter in ("eventresult", "responsecodename", "srcipaddr"):
        return [either(f"'{v}'", lambda r, v=v: (r[column] or "").lower() == v.lower()) for v in [*seen(column), "x"]]  # type: ignore[misc]
    if parameter in ("targetusername_has", "actorusername_has"):
        return [either(f"'{v}'", lambda r, v=v: has_any(r[column], [v])) for v in ("alice", "root", "corp", "lice")]  # type: ignore[misc]
    if parameter == "commandline_has_all":
        return [
            either(
                "dynamic(['net', 'user'])",
                lambda r: all(has_any(r["TargetProcessCommandLine"], [w]) for w in ("net", "user")),
            )
        ]
    if parameter == "dstportnumber":
        return [either(str(v), lambda r, v=v: r["DstPortNumber"] == v) for v in [*seen("DstPortNumber")[:5], 1]]  # type: ignore[misc]
    if parameter == "response_has_ipv4":
        return [
            either(f"'{v}'", lambda r, v=v: ip_prefix(r["DnsResponseName"], [v])) for v in ("203.0.113.9", "192.0.2.1")
        ]  # type: ignore[misc]
    if parameter == "eventtype":
        return [either(f"'{v}'", lambda r, v=v: r["EventType"] == v) for v in [*seen("EventType"), "x"]]  # type: ignore[misc]
    if parameter in ("starttime", "endtime"):
        moment = datetime(2024, 5, 6, 7, 8, 10, tzinfo=UTC)
        late = {"starttime": lambda r: r["TimeGenerated"] >= f"{moment:%FT%T}.0000000Z", "endtime": lambda r: r["TimeGenerated"] <= f"{moment:%FT%T}.0000000Z"}  # fmt: skip
        return [either(f"datetime({moment:%FT%TZ})", late[parameter])]
    raise AssertionError(f"no samples for {name}'s {parameter}")


def ids(rows: list[dict[str, Any]]) -> list[str]:
    found = sorted(str(r["EventUid"]) for r in rows)
    assert len(set(found)) == len(found), "a row came twice"
    assert "" not in found
    return found


@pytest.mark.parametrize("name", FILTERED)
def test_a_parameter_keeps_what_filtering_afterwards_keeps(name: str) -> None:
    given = rows_of(name)
    read = {"EventUid", "EventType", "EventResult", "EventResultDetails", "TimeGenerated", *SINGLE.values()}
    read |= {c for listed in COLUMNS[name].values() for c in listed}
    read = {n for n in read if n in schemas()[name]["fields"]}
    everything = queries().run(f"_ASim_{name}() | project {', '.join(sorted(read))}", relations=given).dicts()
    assert len(everything) > 1

    def kept(call: str) -> list[str]:
        return ids(queries().run(f"_Im_{name}({call}) | project EventUid", relations=given).dicts())

    default = [r for r in everything if name != "Dns" or r["EventType"] == "Query"]
    assert kept("") == ids(default)
    telling = 0
    parameters = [p for p, _, _ in schemas()[name]["parameters"] if p != "pack"]
    for parameter in parameters:
        base = everything if parameter == "eventtype" else default
        tried = [(value, [r for r in base if keeps(r)]) for value, keeps in samples(name, parameter, everything)]
        # A value that some rows have and others don't; where there is none, one that nothing has.
        value, wanted = next((t for t in tried if 0 < len(t[1]) < len(base)), tried[-1])
        telling += 0 < len(wanted) < len(base)
        assert kept(f"{parameter}={value}") == ids(wanted), (parameter, value)
    # Most parameters must have had something to tell apart, else the rows prove nothing.
    assert telling >= 0.6 * len(parameters)


def test_a_source_filters_as_the_unifying_function_does() -> None:
    given = rows_of("ProcessEvent")
    for source in ("Microsoft365D", "CreateMicrosoftSysmonWindowsEvent", "TerminateMicrosoftSecurityEvents"):
        every = set(ids(queries().run(f"_ASim_ProcessEvent_{source} | project EventUid", relations=given).dicts()))
        for call in (
            "commandline_has_any=dynamic(['net'])",
            "hashes_has_any=dynamic(['ff'])",
            "targetusername_has='alice'",
        ):
            got = queries().run(f"_Im_ProcessEvent_{source}({call}) | project EventUid", relations=given).dicts()
            from_all = queries().run(f"_Im_ProcessEvent({call}) | project EventUid", relations=given).dicts()
            assert ids(got) == sorted(set(ids(from_all)) & every)
    assert queries().run("_Im_ProcessEvent_Microsoft365D(disabled=true)", relations=given).dicts() == []
    assert queries().run("_ASim_ProcessEvent_Native(true)", relations=given).dicts() == []


def test_matching_address_is_named() -> None:
    given = rows_of("NetworkSession")
    asked = "_Im_NetworkSession(ipaddr_has_any_prefix=dynamic(['10.0.0.'])) | project SrcIpAddr, DstIpAddr, ASimMatchingIpAddr"
    rows = queries().run(asked, relations=given).dicts()
    assert rows
    for row in rows:
        source, destination = (ip_prefix(row[c], ["10.0.0."]) for c in ("SrcIpAddr", "DstIpAddr"))
        assert row["ASimMatchingIpAddr"] == {(True, True): "Both", (True, False): "SrcIpAddr", (False, True): "DstIpAddr"}[source, destination]  # fmt: skip
    asked = "_Im_NetworkSession(hostname_has_any=dynamic(['evil'])) | project ASimMatchingHostname"
    hosts = queries().run(asked, relations=given).dicts()
    assert {r["ASimMatchingHostname"] for r in hosts} == {"DstHostname"}


def test_pack_gives_the_additional_fields() -> None:
    given = relations({"DeviceLogonEvents": [{"TimeGenerated": "2024-05-06T07:08:09Z", "ActionType": "LogonSuccess", "AdditionalFields": {"k": 1}}]})  # fmt: skip
    assert queries().run("_Im_Authentication() | project AdditionalFields", relations=given).rows() == [[None]]
    assert queries().run("_Im_Authentication(pack=true) | project AdditionalFields", relations=given).rows() == [
        [{"k": 1}]
    ]


# ---------------------------------------------------------------------------------------------- helpers


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("print _ASIM_LookupDnsQueryType(28), _ASIM_LookupDnsQueryType(65), _ASIM_LookupDnsQueryType(60000)", ["AAAA", "HTTPS", ""]),
        ("print _ASIM_LookupDnsResponseCode(0), _ASIM_LookupDnsResponseCode(3)", ["NOERROR", "NXDOMAIN"]),
        ("print _ASIM_LookupNetworkProtocol(6), _ASIM_LookupNetworkProtocol(17), _ASIM_LookupICMPType(8)", ["TCP", "UDP", "Echo"]),
        ("print _ASIM_LookupHTTPStatusCode('404'), _ASIM_LookupHTTPStatusCode('401.1')", ["Not Found", "Unauthorized"]),
        ("print _ASIM_LookupAADcodes('50126'), _ASIM_LookupAADcodes('0'), _ASIM_LookupAADcodes('1')", ["No such user or password", "", "Other"]),
        ("print p=17 | invoke _ASIM_ResolveNetworkProtocol('p')", [17, 17, "UDP"]),
        ("print p=1 | invoke _ASIM_ResolveDnsQueryType('p')", [1, 1, "A"]),
        ("print p=2 | invoke _ASIM_ResolveDnsResponseCode('p')", [2, 2, "SERVFAIL"]),
        ("print p=3 | invoke _ASIM_ResolveICMPType('p')", [3, 3, "Destination Unreachable"]),
        ("print h='ws1.corp.example' | invoke _ASIM_ResolveFQDN('h')", ["ws1.corp.example", "ws1", "corp.example", "FQDN", "ws1.corp.example"]),
        ("print h='ws1' | invoke _ASIM_ResolveDvcFQDN('h')", ["ws1", "ws1", "", "", ""]),
        ("print h='10.0.0.5' | invoke _ASIM_ResolveSrcFQDN('h')", ["10.0.0.5", "", "", "", ""]),
        ("print h='a.b' | invoke _ASIM_ResolveDstFQDN('h')", ["a.b", "a", "b", "FQDN", "a.b"]),
        ("print _ASIM_GetUsernameType('a@b.c'), _ASIM_GetUsernameType(@'D\\u'), _ASIM_GetUsernameType('CN=a,DC=b'), _ASIM_GetUsernameType('u'), _ASIM_GetUsernameType('')", ["UPN", "Windows", "DN", "Simple", ""]),
        ("print _ASIM_GetWindowsUserType('SYSTEM', 'S-1-5-18'), _ASIM_GetWindowsUserType('W$', ''), _ASIM_GetWindowsUserType('a', 'S-1-5-21-1-2-3-500'), _ASIM_GetWindowsUserType('-', 'S-1-0-0'), _ASIM_GetUserType('a', 'S-1-5-21-1-2-3-1000')", ["System", "Machine", "Admin", "Other", "Regular"]),
    ],
)  # fmt: skip
def test_published_helpers(query: str, row: list[Any]) -> None:
    assert queries().run(query).rows() == [row]


# ---------------------------------------------------------------------------------------------- compiling

QUERIES = [
    "_Im_Authentication(starttime=ago(1h), eventresult='Failure') | summarize Failed=count(), Users=dcount(TargetUsername) by SrcIpAddr, bin(TimeGenerated, 5m) | where Failed > 20",
    "let failed = imAuthentication(eventresult='Failure') | summarize FailedAt=max(TimeGenerated), n=count() by SrcIpAddr, User | where n > 5; imAuthentication(eventresult='Success') | join kind=inner failed on SrcIpAddr, User | where TimeGenerated > FailedAt",
    "imProcessCreate(starttime=ago(1d), commandline_has_any=dynamic(['-enc','-encodedcommand'])) | where Process endswith 'powershell.exe' | project TimeGenerated, Dvc, User, CommandLine, ActingProcessName",
    "_Im_ProcessEvent(eventtype='ProcessCreated', hashes_has_any=dynamic(['aa'])) | summarize by Dvc, Process, Hash, HashType",
    "_Im_ProcessCreate(actingprocess_has_any=dynamic(['winword.exe'])) | where TargetProcessName has_any ('cmd.exe', 'wscript.exe')",
    "imDns(starttime=ago(1d), responsecodename='NXDOMAIN') | summarize count() by SrcIpAddr, bin(TimeGenerated, 15m) | where count_ > 100",
    "_Im_Dns(domain_has_any=dynamic(['pastebin.com'])) | extend Tld = tostring(split(DnsQuery, '.')[-1]) | summarize make_set(DnsQuery) by SrcIpAddr, Tld",
    "imDns | where DnsQueryTypeName == 'TXT' and strlen(DnsQuery) > 60 | summarize n=count() by SrcIpAddr, Dvc",
    "_Im_NetworkSession(starttime=ago(1h), eventresult='Failure') | summarize Ports=dcount(DstPortNumber) by SrcIpAddr, DstIpAddr | where Ports > 100",
    "_Im_NetworkSession(dstportnumber=3389, dvcaction=dynamic(['Allow'])) | where NetworkDirection == 'Inbound' | summarize arg_max(TimeGenerated, *) by SrcIpAddr",
    "imNetworkSession | summarize Bytes=sum(SrcBytes) by SrcIpAddr, bin(TimeGenerated, 1h) | where Bytes > 1000000000",
    "_Im_WebSession(httpuseragent_has_any=dynamic(['sqlmap','nikto'])) | summarize StartTime=min(TimeGenerated), n=count() by SrcIpAddr, Url, HttpUserAgent",
    "imWebSession(url_has_any=dynamic(['login.php']), eventresult='Failure') | make-series n=count() default=0 on TimeGenerated from ago(1d) to now() step 1h by SrcIpAddr",
    "imFileEvent(targetfilepath_has_any=dynamic(['Startup']), eventtype_in=dynamic(['FileCreated'])) | project Dvc, User, FilePath, Hash, ActingProcessName",
    "_Im_FileEvent() | where ActingProcessName has 'UMWorkerProcess.exe' | where FileName endswith '.aspx'",
    "imRegistry(registrykey_has_any=dynamic(['CurrentVersion'])) | where RegistryKey endswith @'\\Run' and EventType == 'RegistryValueSet' | project User, RegistryValue, RegistryValueData",
    "_Im_AuditEvent(eventtype_in=dynamic(['Clear']), object_has_any=dynamic(['Security'])) | project TimeGenerated, Dvc, ActorUsername, Operation, Object",
    "imUserManagement(eventtype_in=dynamic(['UserAddedToGroup'])) | where GroupName has_any ('Admins', 'sudo') | project ActorUsername, TargetUsername, GroupName, Dvc",
    "_Im_DhcpEvent(srchostname_has_any=dynamic(['kali'])) | project TimeGenerated, SrcIpAddr, SrcMacAddr, Hostname",
    "union (_Im_AlertEvent(eventseverity_has_any=dynamic(['High'])) | project TimeGenerated, AlertName, User), (_ASim_AlertEvent | take 5) | count",
    "let hosts = _Im_NetworkSession(dstportnumber=445) | distinct SrcIpAddr; _Im_Authentication(eventtype_in=dynamic(['Logon'])) | where SrcIpAddr in (hosts) | join kind=leftouter (_Im_ProcessCreate() | summarize Processes=make_set(Process) by DvcHostname) on $left.TargetHostname == $right.DvcHostname",
    "vimDnsEmpty | union _Im_Dns_MicrosoftOMS, (vimDnsMicrosoftSysmon(domain_has_any=dynamic(['a']))), ASimDnsCorelightZeek | count",
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
def test_queries_in_the_style_of_public_rules(query: str) -> None:
    """They compile over empty tables, and run over the rows of all tests."""
    queries().compile(query)
    given: dict[str, Any] = {}
    for name in re.findall(r"(?:_Im_|_ASim_|im|vim|ASim)(ProcessEvent|ProcessCreate|Dns|Authentication|NetworkSession|WebSession|FileEvent|Registry|AuditEvent|UserManagement|DhcpEvent|AlertEvent)", query):  # fmt: skip
        full = {"ProcessCreate": "ProcessEvent", "Registry": "RegistryEvent"}.get(name, name)
        given.update({t: r for t, r in rows_of(full).items() if t not in given})
    assert given
    queries().run(query, relations=given, now=datetime(2024, 5, 6, 7, 30, tzinfo=UTC))


def test_filters_reach_the_scan() -> None:
    """The engine's plan cuts the time at the table's scan, below the union and whatever is computed of its rows."""
    given = relations({"DeviceProcessEvents": [{"TimeGenerated": f"2024-05-06T07:{m:02d}:00Z", "ActionType": "ProcessCreated", "ProcessCommandLine": f"cmd {m}", "MD5": "aa"} for m in range(60)]})  # fmt: skip
    service = queries()
    catalog = service.catalog.with_relations(given)
    text = "_Im_ProcessEvent(starttime=datetime(2024-05-06T07:58:00Z), hashes_has_any=dynamic(['aa'])) | project CommandLine, TimeGenerated"
    compiled = service.compile(text, catalog=catalog)
    # Parameters that aren't given have left nothing in the text.
    assert "parentprocess" not in compiled.sql
    assert "[]" not in compiled.sql
    plan = service.engine.explain(compiled, relations=given, catalog=catalog)
    # The empty tables have gone; under what unites the rest stands one scan, and right above it the filter.
    assert plan.count("ARROW_SCAN") == 1
    below = plan[plan.rindex("Filter") :]
    assert "TimeGenerated >= '2024-05-06 07:58:00'" in below
    assert "ARROW_SCAN" in below
    assert len(service.run(text, relations=given)) == 2


def test_parameters_rule_files_out() -> None:
    """Time and terms reach each table's files, through what a schema derives and through the union."""
    text = "_Im_ProcessEvent(starttime=datetime(2024-05-06T07:58:00Z), commandline_has_any=dynamic(['whoami'])) | count"
    needs = queries().compile(text).needs
    assert set(needs) == {"DeviceProcessEvents", "SecurityEvent", "WindowsEvent", "Event", "ASimProcessEventLogs"}
    since = 1_714_982_280_000_000
    for scans in needs.values():
        assert all(any(a.kind == "from" and a.value == since for clause in scan for a in clause) for scan in scans)
    [device] = needs["DeviceProcessEvents"]
    assert {(a.column, a.value) for clause in device for a in clause} >= {("ProcessCommandLine", "whoami")}


def test_generated_functions_are_current() -> None:
    path = Path(__file__).resolve().parents[2] / "tools/asim.py"
    spec = importlib.util.spec_from_file_location("asim_tool", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["asim_tool"] = module
    spec.loader.exec_module(module)
    for file, text in module.generated().items():
        assert file.read_text("utf-8") == text, f"{file.relative_to(PACK)} is stale: run tools/asim.py"
