"""Where a rule's log source is found: source kinds, channels and event ids, and how Sigma's field names map to the source's.

Facts: the Sigma taxonomy (specification, appendix), SigmaHQ's `thor.yml` service names, Sysmon's and Windows' event documentation, and the Defender
column mappings of pySigma's kusto backend. Names without a mapping are looked up as they are, then without case, blanks and
punctuation (``ThreatName`` finds Defender's ``Threat Name``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from tocsin.detect.sigma.checks import Text
from tocsin.detect.sigma.tree import TRUE, All, Leaf, Node, Some

__all__ = ["Binding", "bindings", "plain_name"]

SYSMON = frozenset({"microsoft-windows-sysmon/operational"})
SECURITY = frozenset({"security"})
POWERSHELL = frozenset({"microsoft-windows-powershell/operational", "powershellcore/operational"})
CLASSIC = frozenset({"windows powershell"})
DEFENDER = frozenset({"microsoft-windows-windows defender/operational"})
_NO_FIELDS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Binding:
    """One place where events of a log source are found.

    `channels` (lower case) and `events` narrow Windows events, None means all. `fields` maps Sigma's names in lower case to the source's names or
    computed ones (``@…``). `where` must hold besides the rule; its fields are the source's own. `prefixes` of ZEEK or tables aren't
    needed: `source` is exact.
    """

    source: str
    channels: frozenset[str] | None = None
    events: frozenset[int] | None = None
    fields: Mapping[str, str] = field(default_factory=lambda: _NO_FIELDS)
    where: Node = TRUE


@lru_cache(maxsize=16_384)
def plain_name(name: str) -> str:
    """A field name without case, blanks and punctuation."""
    return "".join(c for c in name.lower() if c.isalnum())


def _is(name: str, *values: str) -> Node:
    made = tuple(Leaf(name, Text("eq", v.lower())) for v in values)
    return made[0] if len(made) == 1 else Some(made)


def _begins(name: str, *values: str) -> Node:
    return Some(tuple(Leaf(name, Text("start", v.lower())) for v in values))


# ---------------------------------------------------------------------------------------------- Windows

_WINDOWS_SERVICES: Mapping[str, tuple[str, ...]] = {
    "application": ("Application",),
    "applocker": (
        "Microsoft-Windows-AppLocker/MSI and Script", "Microsoft-Windows-AppLocker/EXE and DLL",
        "Microsoft-Windows-AppLocker/Packaged app-Deployment", "Microsoft-Windows-AppLocker/Packaged app-Execution",
    ),
    "appmodel-runtime": ("Microsoft-Windows-AppModel-Runtime/Admin",),
    "appxdeployment-server": ("Microsoft-Windows-AppXDeploymentServer/Operational",),
    "appxpackaging-om": ("Microsoft-Windows-AppxPackaging/Operational",),
    "bitlocker": ("Microsoft-Windows-BitLocker/BitLocker Management",),
    "bits-client": ("Microsoft-Windows-Bits-Client/Operational",),
    "capi2": ("Microsoft-Windows-CAPI2/Operational",),
    "certificateservicesclient-lifecycle-system": ("Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational",),
    "codeintegrity-operational": ("Microsoft-Windows-CodeIntegrity/Operational",),
    "dhcp": ("Microsoft-Windows-DHCP-Server/Operational",),
    "diagnosis-scripted": ("Microsoft-Windows-Diagnosis-Scripted/Operational",),
    "dns-client": ("Microsoft-Windows-DNS Client Events/Operational", "Microsoft-Windows-DNS-Client/Operational"),
    "dns-server": ("DNS Server",),
    "dns-server-analytic": ("Microsoft-Windows-DNS-Server/Analytical",),
    "dns-server-audit": ("Microsoft-Windows-DNS-Server/Audit",),
    "driver-framework": ("Microsoft-Windows-DriverFrameworks-UserMode/Operational",),
    "firewall-as": ("Microsoft-Windows-Windows Firewall With Advanced Security/Firewall",),
    "hyper-v-worker": ("Microsoft-Windows-Hyper-V-Worker",),
    "iis-configuration": ("Microsoft-IIS-Configuration/Operational",),
    "kernel-event-tracing": ("Microsoft-Windows-Kernel-EventTracing",),
    "kernel-shimengine": ("Microsoft-Windows-Kernel-ShimEngine/Operational", "Microsoft-Windows-Kernel-ShimEngine/Diagnostic"),
    "ldap": ("Microsoft-Windows-LDAP-Client/Debug",),
    "ldap_debug": ("Microsoft-Windows-LDAP-Client/Debug",),
    "lsa-server": ("Microsoft-Windows-LSA/Operational",),
    "microsoft-servicebus-client": ("Microsoft-ServiceBus-Client", "Microsoft-ServiceBus-Client/Operational"),
    "msexchange-management": ("MSExchange Management",),
    "ntfs": ("Microsoft-Windows-Ntfs/Operational",),
    "ntlm": ("Microsoft-Windows-NTLM/Operational",),
    "openssh": ("OpenSSH/Operational",),
    "powershell": ("Microsoft-Windows-PowerShell/Operational", "PowerShellCore/Operational"),
    "powershell-classic": ("Windows PowerShell",),
    "printservice-admin": ("Microsoft-Windows-PrintService/Admin",),
    "printservice-operational": ("Microsoft-Windows-PrintService/Operational",),
    "security": ("Security",),
    "security-mitigations": ("Microsoft-Windows-Security-Mitigations/Kernel Mode", "Microsoft-Windows-Security-Mitigations/User Mode"),
    "sense": ("Microsoft-Windows-SENSE/Operational",),
    "shell-core": ("Microsoft-Windows-Shell-Core/Operational",),
    "smbclient-connectivity": ("Microsoft-Windows-SmbClient/Connectivity",),
    "smbclient-security": ("Microsoft-Windows-SmbClient/Security",),
    "smbserver-connectivity": ("Microsoft-Windows-SMBServer/Connectivity",),
    "sysmon": ("Microsoft-Windows-Sysmon/Operational",),
    "system": ("System",),
    "taskscheduler": ("Microsoft-Windows-TaskScheduler/Operational",),
    "terminalservices-localsessionmanager": ("Microsoft-Windows-TerminalServices-LocalSessionManager/Operational",),
    "vhdmp": ("Microsoft-Windows-VHDMP/Operational",),
    "windefend": ("Microsoft-Windows-Windows Defender/Operational",),
    "wmi": ("Microsoft-Windows-WMI-Activity/Operational",),
}  # fmt: skip

_SYSMON_CATEGORIES: Mapping[str, tuple[int, ...]] = {
    "process_creation": (1,), "file_change": (2,), "network_connection": (3,), "sysmon_status": (4, 16), "process_termination": (5,),
    "driver_load": (6,), "image_load": (7,), "create_remote_thread": (8,), "raw_access_thread": (9,), "process_access": (10,),
    "file_event": (11,), "registry_add": (12,), "registry_delete": (12,), "registry_set": (13,), "registry_rename": (14,),
    "registry_event": (12, 13, 14), "create_stream_hash": (15,), "pipe_created": (17, 18), "wmi_event": (19, 20, 21), "dns_query": (22,),
    "file_delete": (23, 26), "clipboard_capture": (24,), "clipboard_change": (24,), "process_tampering": (25,),
    "file_delete_detected": (26,), "file_block_executable": (27,), "file_block_shredding": (28,), "file_executable_detected": (29,),
    "sysmon_error": (255,),
}  # fmt: skip
_SYSMON_WHERE: Mapping[str, Node] = {
    "registry_add": _is("EventType", "CreateKey"),
    "registry_delete": _is("EventType", "DeleteKey", "DeleteValue"),
}
_POWERSHELL_CATEGORIES: Mapping[str, tuple[frozenset[str], int]] = {
    "ps_module": (POWERSHELL, 4103), "ps_script": (POWERSHELL, 4104), "ps_classic_start": (CLASSIC, 400),
    "ps_classic_provider_start": (CLASSIC, 600), "ps_classic_script": (CLASSIC, 800),
}  # fmt: skip
_PROCESS_4688 = {
    "image": "NewProcessName", "parentimage": "ParentProcessName", "commandline": "CommandLine", "user": "@security.user",
    "integritylevel": "@security.integrity", "processid": "@security.pid", "parentprocessid": "@security.ppid",
    "logonid": "SubjectLogonId",
}  # fmt: skip
_REGISTRY_4657 = {
    "targetobject": "@security.key",
    "details": "@security.details",
    "image": "ProcessName",
    "user": "@security.user",
}
_NETWORK_5156 = {
    "image": "Application", "destinationip": "DestAddress", "destinationport": "DestPort", "sourceip": "SourceAddress",
    "sourceport": "SourcePort", "initiated": "@security.initiated", "protocol": "@security.protocol", "processid": "ProcessID",
}  # fmt: skip
_SET_4657 = _is("OperationType", "%%1904", "%%1905")
_DELETE_4657 = _is("OperationType", "%%1906")
_FILE_4663 = {"filename": "ObjectName", "image": "ProcessName", "user": "@security.user"}
"""Sysmon tells no reads; the object access audit does (the specification's own source is the kernel's ETW provider)."""
_SECURITY_CATEGORIES: Mapping[str, tuple[int, Mapping[str, str], Node]] = {
    "process_creation": (4688, _PROCESS_4688, TRUE),
    "registry_set": (4657, _REGISTRY_4657, _SET_4657),
    "registry_delete": (4657, _REGISTRY_4657, _DELETE_4657),
    "registry_event": (4657, _REGISTRY_4657, TRUE),
    "network_connection": (5156, _NETWORK_5156, TRUE),
    "file_access": (4663, _FILE_4663, _is("ObjectType", "File")),
}
RPC_FIREWALL = frozenset({"rpcfw"})
_ANTIVIRUS = frozenset({1006, 1007, 1008, 1009, 1010, 1011, 1012, 1015, 1017, 1018, 1019, 1115, 1116, 1117, 1118, 1119})

# Defender's tables, by the column mappings of pySigma's kusto backend.
_XDR: Mapping[str, tuple[str, Mapping[str, str], tuple[str, ...]]] = {
    "process_creation": (
        "DeviceProcessEvents",
        {"image": "FolderPath", "commandline": "ProcessCommandLine", "originalfilename": "ProcessVersionInfoOriginalFileName",
         "description": "ProcessVersionInfoFileDescription", "product": "ProcessVersionInfoProductName",
         "company": "ProcessVersionInfoCompanyName", "fileversion": "ProcessVersionInfoProductVersion", "user": "@xdr.user",
         "integritylevel": "ProcessIntegrityLevel", "hashes": "@xdr.hashes", "parentimage": "InitiatingProcessFolderPath",
         "parentcommandline": "InitiatingProcessCommandLine", "parentprocessid": "InitiatingProcessId", "parentuser": "@xdr.initiator",
         "grandparentimage": "InitiatingProcessParentFileName"},
        (),
    ),
    "image_load": (
        "DeviceImageLoadEvents",
        {"image": "InitiatingProcessFolderPath", "imageloaded": "FolderPath", "commandline": "InitiatingProcessCommandLine",
         "user": "@xdr.initiator", "hashes": "@xdr.hashes", "processid": "InitiatingProcessId"},
        (),
    ),
    "network_connection": (
        "DeviceNetworkEvents",
        {"image": "InitiatingProcessFolderPath", "commandline": "InitiatingProcessCommandLine", "user": "@xdr.initiator",
         "sourceip": "LocalIP", "sourceport": "LocalPort", "destinationip": "RemoteIP", "destinationport": "RemotePort",
         "destinationhostname": "RemoteUrl", "sourcehostname": "DeviceName", "initiated": "@true",
         "parentimage": "InitiatingProcessParentFileName"},
        ("ConnectionSuccess", "ConnectionAttempt", "ConnectionFailed", "HttpConnectionInspected"),
    ),
    "registry_set": ("DeviceRegistryEvents", {"image": "InitiatingProcessFolderPath", "targetobject": "@xdr.key",
                     "details": "RegistryValueData", "user": "@xdr.initiator"}, ("RegistryValueSet",)),
    "registry_add": ("DeviceRegistryEvents", {"image": "InitiatingProcessFolderPath", "targetobject": "@xdr.key"},
                     ("RegistryKeyCreated",)),
    "registry_delete": ("DeviceRegistryEvents", {"image": "InitiatingProcessFolderPath", "targetobject": "@xdr.key"},
                        ("RegistryKeyDeleted", "RegistryValueDeleted")),
    "registry_event": ("DeviceRegistryEvents", {"image": "InitiatingProcessFolderPath", "targetobject": "@xdr.key",
                       "details": "RegistryValueData", "user": "@xdr.initiator"}, ()),
    "file_event": ("DeviceFileEvents", {"image": "InitiatingProcessFolderPath", "targetfilename": "FolderPath",
                   "commandline": "InitiatingProcessCommandLine", "user": "@xdr.initiator"}, ("FileCreated", "FileModified")),
    "file_delete": ("DeviceFileEvents", {"image": "InitiatingProcessFolderPath", "targetfilename": "FolderPath"}, ("FileDeleted",)),
    "file_rename": ("DeviceFileEvents", {"image": "InitiatingProcessFolderPath", "targetfilename": "FolderPath",
                    "sourcefilename": "PreviousFileName"}, ("FileRenamed",)),
}  # fmt: skip


def _windows(category: str, service: str) -> list[Binding]:
    if service:
        channels = _WINDOWS_SERVICES.get(service)
        if channels is None:
            return []
        where = frozenset(c.lower() for c in channels)
        if not category:
            return [Binding("windows.event", where, fields={"data": "@data"})]
        # A category narrowed by a service: the category's events in that service's channels only.
        return [b for b in _windows(category, "") if b.channels is None or b.channels & where]
    if not category:
        return [Binding("windows.event", fields={"data": "@data"})]
    found = []
    if category in _SYSMON_CATEGORIES:
        events = frozenset(_SYSMON_CATEGORIES[category])
        found.append(Binding("windows.event", SYSMON, events, where=_SYSMON_WHERE.get(category, TRUE)))
    if category in _SECURITY_CATEGORIES:
        event, fields, condition = _SECURITY_CATEGORIES[category]
        found.append(Binding("windows.event", SECURITY, frozenset({event}), fields, condition))
    if category in _POWERSHELL_CATEGORIES:
        channels_, event = _POWERSHELL_CATEGORIES[category]
        found.append(Binding("windows.event", channels_, frozenset({event}), {"data": "@data"}))
    if category in _XDR:
        table, fields, actions = _XDR[category]
        found.append(Binding(f"table.{table}", fields=fields, where=_is("ActionType", *actions) if actions else TRUE))
    return found


# ---------------------------------------------------------------------------------------------- Linux, network, web

_LINUX_CATEGORIES: Mapping[str, tuple[int, ...]] = {
    "process_creation": (1,), "network_connection": (3,), "process_termination": (5,), "file_event": (11,), "file_delete": (23,),
}  # fmt: skip
_SYSLOG_PROCESSES: Mapping[str, tuple[str, ...]] = {
    "sshd": ("sshd",), "sudo": ("sudo",), "cron": ("cron", "CROND"), "clamav": ("clam", "freshclam"), "vsftpd": ("vsftpd",),
    "guacamole": ("guac",), "auth": ("sshd", "sudo", "su", "login", "passwd", "useradd", "usermod", "groupadd", "pam", "systemd-logind", "polkit"),
    "syslog": (), "modsecurity": (), "apache": ("apache", "httpd"), "nginx": ("nginx",),
}  # fmt: skip
_AUDITD_FIELDS = {
    "type": "@auditd.type", "name": "@auditd.name", "nametype": "@auditd.nametype",
    **{f"a{n}": f"@auditd.a{n}" for n in range(16)},
}  # fmt: skip
_AUDITD_PROCESS = {"image": "exe", "commandline": "cmdline", "currentdirectory": "cwd", "parentprocessid": "ppid", "processid": "pid",
                   "user": "UID"}  # fmt: skip
_ZEEK_HTTP = {
    "cs-method": "method", "c-uri": "@zeek.url", "cs-uri": "@zeek.url", "cs-uri-query": "@zeek.query", "c-uri-query": "@zeek.query",
    "cs-uri-stem": "@zeek.stem", "c-uri-stem": "@zeek.stem", "cs-host": "host", "r-dns": "host", "c-useragent": "user_agent",
    "cs-user-agent": "user_agent", "cs-referer": "referrer", "cs-referrer": "referrer", "sc-status": "status_code",
    "src_ip": "id.orig_h", "dst_ip": "id.resp_h", "cs-username": "username",
}  # fmt: skip
_IIS = {"cs-user-agent": "csUserAgent", "c-useragent": "csUserAgent", "cs-referer": "csReferer", "cs-host": "csHost",
        "c-uri": "csUriStem", "c-ip": "cIP"}  # fmt: skip
_CEF_WEB = {"c-uri": "RequestURL", "cs-uri": "RequestURL", "cs-method": "RequestMethod", "c-useragent": "RequestClientApplication",
            "cs-host": "DestinationHostName", "src_ip": "SourceIP", "dst_ip": "DestinationIP"}  # fmt: skip

_GENERIC: Mapping[str, tuple[Binding, ...]] = {
    "proxy": (Binding("zeek.http", fields=_ZEEK_HTTP), Binding("table.CommonSecurityLog", fields=_CEF_WEB)),
    "webserver": (Binding("zeek.http", fields=_ZEEK_HTTP), Binding("table.W3CIISLog", fields=_IIS)),
    "dns": (
        Binding("zeek.dns", fields={"record_type": "qtype_name", "answer": "answers"}),
        Binding("windows.event", SYSMON, frozenset({22}), {"query": "QueryName", "answer": "QueryResults"}),
        Binding("table.DnsEvents", fields={"query": "Name", "answer": "IPAddresses", "record_type": "QueryType"}),
    ),
    "firewall": (
        Binding("zeek.conn", fields={"src_ip": "id.orig_h", "dst_ip": "id.resp_h", "src_port": "id.orig_p", "dst_port": "id.resp_p"}),
        Binding("table.CommonSecurityLog", fields={"src_ip": "SourceIP", "dst_ip": "DestinationIP", "src_port": "SourcePort",
                                                    "dst_port": "DestinationPort", "action": "DeviceAction"}),
    ),
    "antivirus": (
        Binding("windows.event", DEFENDER, _ANTIVIRUS, {"signature": "Threat Name", "filename": "Path", "action": "Action Name"}),
    ),
}  # fmt: skip


def _linux(category: str, service: str) -> list[Binding]:
    if service == "auditd":
        return [Binding("linux.auditd", fields=_AUDITD_FIELDS)]
    if service == "sysmon":
        return [Binding("linux.sysmon")]
    if service:
        return _syslog(service)
    if category in _LINUX_CATEGORIES:
        found = [Binding("linux.sysmon", events=frozenset(_LINUX_CATEGORIES[category]))]
        if category == "process_creation":
            found.append(Binding("linux.auditd", fields=_AUDITD_PROCESS, where=_is("@auditd.type", "EXECVE")))
            found.append(Binding("table.DeviceProcessEvents", fields=_XDR[category][1]))
        return found
    return [] if category else [Binding("syslog"), Binding("linux.auditd", fields=_AUDITD_FIELDS)]


def _syslog(service: str) -> list[Binding]:
    names = _SYSLOG_PROCESSES.get(service)
    if names is None:
        return []
    return [Binding("syslog", where=_begins("ProcessName", *names) if names else TRUE)]


# ---------------------------------------------------------------------------------------------- clouds

_OFFICE = {"eventname": "Operation", "eventsource": "OfficeWorkload", "status": "ResultStatus"}
_CLOUD: Mapping[tuple[str, str], tuple[tuple[str, ...], Mapping[str, str]]] = {
    ("azure", "activitylogs"): (("AzureActivity",), {"operationname": "OperationNameValue", "properties.message": "OperationNameValue"}),
    ("azure", "auditlogs"): (("AuditLogs",), {"properties.message": "OperationName", "activitydisplayname": "ActivityDisplayName"}),
    ("azure", "signinlogs"): (("SigninLogs", "AADNonInteractiveUserSignInLogs"), {"properties.message": "ResultDescription"}),
    ("azure", "riskdetection"): (("AADUserRiskEvents",), {}),
    ("azure", "pim"): (("AADUserRiskEvents",), {}),
    ("m365", "audit"): (("OfficeActivity", "CloudAppEvents"), {"workload": "OfficeWorkload"}),
    ("m365", "exchange"): (("OfficeActivity",), _OFFICE),
    ("m365", "threat_management"): (("OfficeActivity",), _OFFICE),
    ("m365", "threat_detection"): (("OfficeActivity",), _OFFICE),
    ("aws", "cloudtrail"): (("AWSCloudTrail",), {"useragent": "UserAgent"}),
    ("gcp", "gcp.audit"): (("GCPAuditLogs",), {"gcp.audit.method_name": "MethodName", "data.protopayload.methodname": "MethodName",
                                               "data.protopayload.servicename": "ServiceName", "data.protopayload.logname": "LogName"}),
    ("okta", "okta"): (("OktaV2_CL", "Okta_CL"), {}),
    ("github", "audit"): (("GitHubAuditLogsV2_CL", "GitHubAuditLogPolling_CL"), {}),
    ("kubernetes", "audit"): (("AKSAudit", "AKSAuditAdmin"), {}),
}  # fmt: skip


@lru_cache(maxsize=4096)
def bindings(product: str | None, category: str | None, service: str | None) -> tuple[Binding, ...]:
    """The places of a log source, none where no source that Tocsin reads has such events."""
    product, category, service = ((v or "").lower() for v in (product, category, service))
    found: list[Binding] = []
    if product == "windows":
        found = _windows(category, service)
    elif product == "linux":
        found = _linux(category, service)
    elif product == "zeek":
        fields = _ZEEK_HTTP if service == "http" else {}
        found = [Binding(f"zeek.{service}", fields=fields)] if service else []
    elif (product, category) == ("rpc_firewall", "application"):
        # zeronetworks' RPC Firewall writes to an event log of its own.
        found = [Binding("windows.event", RPC_FIREWALL)]
    elif product == "macos" and category in _XDR:
        table, mapped, actions = _XDR[category]
        found = [Binding(f"table.{table}", fields=mapped, where=_is("ActionType", *actions) if actions else TRUE)]
    elif (product, service) in _CLOUD:
        tables, mapped = _CLOUD[product, service]
        found = [Binding(f"table.{t}", fields=mapped) for t in tables]
    elif not product and category in _GENERIC:
        found = list(_GENERIC[category])
    elif not product and not category and service in _SYSLOG_PROCESSES:
        found = _syslog(service)
    elif not product and category in _SYSMON_CATEGORIES:
        found = [*_windows(category, ""), *_linux(category, "")]
    return tuple(found)


def narrowed(binding: Binding, tree: Node) -> Node:
    """A rule's tree with the binding's own condition."""
    return tree if binding.where == TRUE else All((binding.where, tree))
