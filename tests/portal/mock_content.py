"""The mock server's rules, tables, sources, actions and schema."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tests.portal.mock_data import NOW
from tocsin.kql.types import Column, KqlType, TableSchema
from tocsin.tables import catalogue


def ago(**delta: float) -> str:
    """That long ago, as the API writes times."""
    return (NOW - timedelta(**delta)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_NAMES = [
    ("Email with a link to a newly seen domain", "Low", ["InitialAccess"], ["T1566.002"], "PT1H"),
    ("Click on a link from a suspicious email", "Medium", ["InitialAccess"], ["T1566.002", "T1204.001"], "PT5M"),
    ("Disk image opened from Downloads and a DLL run from it", "High", ["Execution", "DefenseEvasion"], ["T1204.002", "T1553.005"], "PT5M"),
    ("Regular connections to one rare address", "Medium", ["CommandAndControl"], ["T1071.001"], "PT1H"),
    ("Run key set to a library in Temp", "Medium", ["Persistence"], ["T1547.001"], "PT5M"),
    ("Memory of LSASS read by an unusual process", "High", ["CredentialAccess"], ["T1003.001"], "PT1M"),
    ("Service account used from a workstation", "High", ["LateralMovement", "PrivilegeEscalation"], ["T1021.002"], "PT15M"),
    ("Sign-in from a country never seen for this user", "Medium", ["InitialAccess"], ["T1078.004"], "PT1H"),
    ("Inbox rule that hides replies", "Medium", ["DefenseEvasion"], ["T1564.008"], "PT15M"),
    ("Mass download from SharePoint", "High", ["Collection", "Exfiltration"], ["T1213.002"], "PT15M"),
    ("Many failed SSH sign-ins, then one that worked", "High", ["CredentialAccess"], ["T1110.001"], "PT5M"),
    ("Port scan from inside", "Low", ["Discovery"], ["T1046"], "PT1H"),
    ("Rare parent of a shell", "Informational", ["Execution"], ["T1059"], "PT1H"),
    ("Audit log cleared", "High", ["DefenseEvasion"], ["T1070.001"], "PT1M"),
]  # fmt: skip

_QUERY = """DeviceProcessEvents
| where ActionType == "ProcessCreated"
| where FileName =~ "rundll32.exe" and ProcessCommandLine has_all ("comsvcs", "MiniDump")
| project TimeGenerated, DeviceName, AccountUpn, ProcessCommandLine, InitiatingProcessFileName
"""


def _yaml(name: str, severity: str, tactics: list[str], techniques: list[str], frequency: str) -> str:
    lines = [
        "id: 3b8f0c1e-3f2a-4c57-9d0c-6a1c8a6f0e11",
        f"name: {name}",
        f"severity: {severity}",
        f"queryFrequency: {frequency.removeprefix('PT').lower()}",
        f"queryPeriod: {frequency.removeprefix('PT').lower()}",
        "triggerOperator: gt",
        "triggerThreshold: 0",
        "tactics:",
        *(f"  - {t}" for t in tactics),
        "relevantTechniques:",
        *(f"  - {t}" for t in techniques),
        "query: |",
        *(f"  {line}" for line in _QUERY.splitlines()),
        "entityMappings:",
        "  - entityType: Host",
        "    fieldMappings:",
        "      - identifier: FullName",
        "        columnName: DeviceName",
        "version: 1.0.0",
        "kind: Scheduled",
    ]
    return "\n".join(lines) + "\n"


RULES: list[dict[str, Any]] = [
    {
        "id": f"rule-{index}",
        "name": name,
        "severity": severity,
        "kind": "NRT" if frequency == "PT1M" else "Scheduled",
        "format": "sentinel",
        "disabled_reason": None,
        "budget": {"hits": 26 if index == 11 else 1, "budget": 20, "exceeded": index == 11, "own": False},
        "operator": "GreaterThan",
        "tactics": tactics,
        "techniques": techniques,
        "enabled": index != 12,
        "source": f"packs/core/rules/{name.replace(' ', '')[:24]}.yaml",
        "pack": "site" if index == 11 else "core",
        "last_run": ago(minutes=3 + index),
        "last_status": "Failure" if index == 7 else "Success",
        "last_error": "KQL0211 packs/core/rules/SigninFromACountry.yaml:9:12: There is no column 'Locatio' in SigninLogs. Did you mean 'Location'?" if index == 7 else None,
        "alerts": [1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 4, 1, 1][index],
        "description": "Says when something happens that an analyst should see. Runs on ingestion time, so that late rows are neither missed nor doubled.",
        "frequency": frequency,
        "period": frequency,
        "threshold": 0,
        "query": _QUERY,
        "yaml": _yaml(name, severity, tactics, techniques, frequency),
        "entity_mappings": [{"type": "Host", "fields": [{"identifier": "FullName", "column": "DeviceName"}]}],
    }
    for index, (name, severity, tactics, techniques, frequency) in enumerate(_NAMES)
]  # fmt: skip


def load_report(rules: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Whether each rule can run; one lacks a column."""
    items = []
    for rule in rules.values():
        problems = [
            {"code": "KQL0101", "message": rule["last_error"], "hint": "", "place": rule["source"]}
            for _ in range(rule["id"] == "rule-7")
        ]
        items.append(
            {
                "id": rule["id"],
                "name": rule["name"],
                "file": rule["source"],
                "runs": not problems,
                "missing": ["column"] if problems else [],
                "problems": problems,
                "tables": ["DeviceProcessEvents"],
                "empty": [],
            }
        )
    broken = sum(not i["runs"] for i in items)
    return {"items": items, "running": len(items) - broken, "broken": broken, "files": []}


def TABLES() -> list[dict[str, Any]]:
    """Tables with data."""
    rows = [
        ("DeviceProcessEvents", "Devices", 1_204_332, 19_400_000, 1.2), ("DeviceNetworkEvents", "Devices", 3_890_120, 61_000_000, 1.4),
        ("DeviceFileEvents", "Devices", 884_201, 14_100_000, 1.3), ("DeviceRegistryEvents", "Devices", 412_008, 6_900_000, 1.3),
        ("DeviceLogonEvents", "Devices", 96_104, 1_800_000, 2.0), ("SecurityEvent", "Security", 642_919, 11_200_000, 4.6),
        ("SigninLogs", "Identity", 31_208, 2_100_000, 184.0), ("AuditLogs", "Identity", 4_120, 310_000, 190.0), ("EmailEvents", "Email", 18_422, 1_300_000, 62.0),
        ("EmailUrlInfo", "Email", 25_090, 900_000, 62.0), ("UrlClickEvents", "Email", 802, 61_000, 58.0), ("CloudAppEvents", "Apps", 52_331, 7_700_000, 310.0),
        ("OfficeActivity", "Office 365", 61_020, 5_500_000, 5400.0), ("Syslog", "Linux", 2_204_991, 28_000_000, 0.4), ("DnsEvents", "Network", 980_212, 8_100_000, 2.2),
        ("DeadLetter_CL", "Tocsin", 3, 2_100, 0.1),
    ]  # fmt: skip
    return [
        {"name": n, "category": c, "rows": r, "bytes": b, "first_event": ago(days=6, hours=i), "last_event": ago(seconds=lat * 2 + (8 * 3600 if n == "OfficeActivity" else 1)),
         "last_received": ago(seconds=lat if n != "OfficeActivity" else 8 * 3600), "latency_seconds": lat,
         "rows_last_hour": r // 200, "new_columns": [], "tier": "analytics", "days": 90, "archive_days": 0, "bytes_limit": 0, "set_here": False, "waiting": None,
         "archived_rows": 0, "archived_bytes": 0, "archived_days": 0}
        for i, (n, c, r, b, lat) in enumerate(rows)
    ]  # fmt: skip


INTAKE = {"healthy": True, "pressure": 0.01, "queued_bodies": 2, "queued_bytes": 8_192, "queue_seconds": 0.04}
FACTS = {
    "events_per_second": 42.5,
    "silent_seconds": 2.0,
    "cadence_seconds": 60.0,
    "threshold_seconds": 600.0,
    "latency_p50": 0.08,
    "latency_p95": 0.21,
    "latency_p99": 0.4,
}


def SOURCES() -> list[dict[str, Any]]:
    """Receivers."""
    return [
        {"name": "hec", "kind": "Splunk HEC", "address": "http://127.0.0.1:8088/services/collector", "state": "Listening", "events": 8_204_113, "bytes": 4_120_000_000, "errors": 1, "last_event": ago(seconds=1), "detail": "2 tokens", **FACTS},
        {"name": "jsonl", "kind": "JSON lines", "address": "http://127.0.0.1:8088/ingest/v1/jsonl", "state": "Listening", "events": 402_118, "bytes": 210_000_000, "errors": 0, "last_event": ago(seconds=14), "detail": "", **FACTS},
        {"name": "syslog-udp", "kind": "Syslog (UDP)", "address": "127.0.0.1:5514", "state": "Listening", "events": 1_900_220, "bytes": 390_000_000, "errors": 1, "last_event": ago(seconds=2), "detail": "", **FACTS},
        {"name": "syslog-tcp", "kind": "Syslog (TCP)", "address": "127.0.0.1:5514", "state": "stale", "events": 304_771, "bytes": 66_000_000, "errors": 0, "last_event": ago(hours=9), "detail": "3 connections", **FACTS, "silent_seconds": 32_400.0},
        {"name": "folder", "kind": "Folder", "address": "/var/spool/tocsin", "state": "Failed", "events": 51_002, "bytes": 88_000_000, "errors": 1, "last_event": ago(hours=30), "detail": "The folder can't be read: permission denied", **FACTS},
    ]  # fmt: skip


ACTION_KINDS: list[dict[str, Any]] = [
    {
        "kind": "host.block-address", "title": "Block an address on this host", "description": "Drops traffic from and to one address by an nftables set of Tocsin's own.", "permission": "actions.respond",
        "approval": "one", "undoable": True, "expires": True, "needs_incident": False, "able": True, "able_reason": "",
        "input_schema": {"type": "object", "required": ["address"], "properties": {"address": {"type": "string", "title": "Address", "description": "IPv4 or IPv6 address, or a network"}, "minutes": {"type": "integer", "title": "Minutes", "default": 60, "minimum": 1, "maximum": 10080, "description": "How long the block lasts"}}},
    },
    {
        "kind": "incident.webhook", "title": "Tell another system", "description": "Posts the incident as JSON to an allowed address.", "permission": "actions.respond", "approval": "none", "undoable": False, "expires": False,
        "needs_incident": True, "able": False, "able_reason": "No address is allowed yet: set respond.webhook.allow in tocsin.toml.",
        "input_schema": {"type": "object", "required": ["url"], "properties": {"url": {"type": "string", "title": "URL"}, "include_evidence": {"type": "boolean", "title": "Include evidence", "default": False}}},
    },
]  # fmt: skip


PERMISSIONS = [
    "actions.approve",
    "actions.propose",
    "actions.read",
    "audit.read",
    "automation.read",
    "sources.write",
    "automation.write",
    "data.read",
    "incidents.manage",
    "incidents.read",
    "query.run",
    "rules.read",
    "settings.manage",
    "rules.write",
    "tokens.manage",
    "users.manage",
    "users.read",
]

AUTOMATION: list[dict[str, Any]] = [
    {
        "id": "auto-1",
        "name": "High incidents: propose to block the outside address",
        "description": "Cuts the connection to a command server, after somebody said yes.",
        "enabled": True,
        "order": 10,
        "trigger": "incident",
        "when": ["created", "updated"],
        "conditions": {},
        "reads": "severity is High and an address outside is named",
        "actions": [
            {
                "order": 1,
                "kind": "host.block-address",
                "summary": "propose to block each address for an hour",
                "input": {},
            },
            {"order": 2, "kind": "incident.tag", "summary": "add the tag containment", "input": {}},
        ],
        "expires": None,
        "expired": False,
        "source": "packs/core/automation/BlockOutsideAddress.yaml",
        "pack": "core",
        "runs": 14,
        "last_run": ago(minutes=31),
        "last_outcome": "Success",
    },
    {
        "id": "auto-2",
        "name": "Penetration test in week 48",
        "description": "Closes what the agreed test brings up.",
        "enabled": False,
        "order": 20,
        "trigger": "incident",
        "when": ["created"],
        "conditions": {},
        "reads": "an entity is 10.20.7.5",
        "actions": [{"order": 1, "kind": "incident.status", "summary": "resolve as security testing", "input": {}}],
        "expires": ago(days=-4),
        "expired": False,
        "source": "site/automation/PenTest.yaml",
        "pack": "site",
        "runs": 0,
        "last_run": None,
        "last_outcome": None,
    },
]


def actions(world: Any) -> list[dict[str, Any]]:
    """Proposed and decided actions."""
    incident = next(i for i in world.incidents.values() if i["number"] == 1042)
    ssh = next(i for i in world.incidents.values() if i["number"] == 1041)

    def make(
        number: int,
        status: str,
        address: str,
        of: dict[str, Any],
        *,
        able: bool = True,
        reason: str = "",
        by: str = "automation: High incidents",
        hours: float = 1,
        **more: Any,
    ) -> dict[str, Any]:
        history = [
            {
                "time": ago(hours=hours),
                "actor": by,
                "event": "proposed",
                "text": "The incident is High and has an external address with command and control.",
            }
        ]
        decided = status not in ("Proposed", "Expired")
        if decided:
            history.append(
                {
                    "time": ago(hours=hours * 0.8),
                    "actor": "r.haddad",
                    "event": "rejected" if status == "Rejected" else "approved",
                    "text": "Shared address of a CDN: would cut others off."
                    if status == "Rejected"
                    else "Confirmed with the network team.",
                }
            )
        if status in ("Succeeded", "Undone"):
            history.append(
                {
                    "time": ago(hours=hours * 0.79),
                    "actor": "tocsin",
                    "event": "succeeded",
                    "text": "Element added to the set blocked4 for 60 min.",
                }
            )
        if status == "Undone":
            history.append(
                {"time": ago(hours=hours * 0.4), "actor": "admin", "event": "undone", "text": "Host is reinstalled."}
            )
        if status == "Failed":
            history.append(
                {
                    "time": ago(hours=hours * 0.79),
                    "actor": "tocsin",
                    "event": "failed",
                    "text": "nft: Operation not permitted",
                }
            )
        return {
            "id": f"act-{number}", "kind": "host.block-address", "title": f"Block {address}", "summary": f"Drop all traffic from and to {address} on this host for 60 minutes.",
            "input": {"address": address, "minutes": 60}, "status": status, "able": able, "able_reason": reason, "proposed_by": by, "proposed_at": ago(hours=hours),
            "decided_by": "r.haddad" if decided else None, "decided_at": ago(hours=hours * 0.8) if decided else None, "expires_at": ago(days=-6.9) if status == "Proposed" else None,
            "incident_id": of["id"], "incident_number": of["number"], "result": {"set": "inet tocsin blocked4"} if status == "Succeeded" else None,
            "error": "nft: Operation not permitted" if status == "Failed" else None, "undoable": status == "Succeeded", "history": history, **more,
        }  # fmt: skip

    return [
        make(1, "Proposed", "203.0.113.66", incident),
        make(2, "Proposed", "198.51.100.23", incident, hours=0.6),
        make(3, "Proposed", "192.0.2.77", ssh, able=False, reason="Tocsin may not change nftables: it runs without CAP_NET_ADMIN. Start it with that capability, or let the firewall team block the address.", hours=2),
        make(4, "Succeeded", "192.0.2.140", ssh, hours=20),
        make(5, "Rejected", "198.51.100.9", incident, hours=26),
        make(6, "Undone", "192.0.2.31", ssh, hours=40),
        make(7, "Failed", "192.0.2.200", ssh, hours=50),
        make(8, "Expired", "192.0.2.8", ssh, hours=190),
    ]  # fmt: skip


def audit() -> list[dict[str, Any]]:
    """A few audit rows."""
    rows = [
        ("sign-in", "session", "admin"),
        ("rule.disable", "rule", "Rare parent of a shell"),
        ("action.approve", "action", "act-4"),
        ("token.create", "token", "fluent-bit"),
        ("user.create", "user", "r.haddad"),
    ]
    return [
        {"seq": 100 - i, "time": ago(hours=i * 2), "actor": "admin", "action": a, "object_type": t, "object_id": o, "before": None, "after": None, "detail": {}, "hash": f"{i:064x}"}
        for i, (a, t, o) in enumerate(rows)
    ]  # fmt: skip


CUSTOM_TABLES = (
    TableSchema(
        "Firewall_CL",
        (
            Column("TimeGenerated", KqlType.DATETIME, "When the firewall saw it."),
            Column("Zone_s", KqlType.STRING, "Zone that the packet came from."),
            Column("Bytes_d", KqlType.REAL, "Bytes in both directions."),
        ),
        "Packets that our firewalls refused.",
    ),
)
"""Tables that no catalogue declares."""


def schema(version: int) -> dict[str, Any]:
    """The declared catalogue, as the server gives it, and two functions."""
    with_data = {t["name"] for t in TABLES()}
    return {
        "version": version,
        "tables": [
            {"name": i.name, "category": i.category, "doc": i.schema.doc, "has_data": i.name in with_data, "columns": [{"name": c.name, "type": c.type.value, "doc": c.doc} for c in i.schema.columns if not c.hidden]}
            for i in catalogue()
        ] + [
            {"name": t.name, "category": "Custom", "doc": t.doc, "has_data": True, "columns": [{"name": c.name, "type": c.type.value, "doc": c.doc} for c in t.columns]}
            for t in CUSTOM_TABLES
        ],
        "functions": [
            {"name": "RareAddresses", "parameters": "lookback:timespan=1d, maximum:long=5", "body": " DeviceNetworkEvents | where TimeGenerated > ago(lookback) | summarize Devices=dcount(DeviceName) by RemoteIP | where Devices <= maximum ", "doc": "Addresses that few devices talk to."},
            {"name": "IsPrivateName", "parameters": "name:string", "body": ' name endswith ".internal" ', "doc": "Whether a host name is one of ours."},
        ],
    }  # fmt: skip


TRANSFORMS: list[dict[str, Any]] = [
    {
        "id": "mask", "name": "No debug, no passwords", "stream": "syslog", "enabled": True, "on_error": "dead-letter", "version": 3, "changed": "2026-11-20T10:00:00Z", "changed_by": "ann", "description": "Agreed with the works council.",
        "flows": [{"transformKql": "source\n| where SeverityLevel != \"debug\"\n| extend SyslogMessage = replace_regex(SyslogMessage, @\"password=\\S+\", \"password=***\")", "outputTable": ""}],
        "run": {"rows_in": 1_204_113, "rows_out": 988_204, "rows_failed": 0, "failures": 0, "last_error": ""},
    },
    {
        "id": "split", "name": "Billing apart", "stream": "Microsoft-Table-Syslog", "enabled": False, "on_error": "pass", "version": 1, "changed": "2026-11-21T10:00:00Z", "changed_by": "ann", "description": "",
        "flows": [{"transformKql": "source | where ProcessName != \"billing\"", "outputTable": ""}, {"transformKql": "source | where ProcessName == \"billing\" | project TimeGenerated, Computer, RawData = SyslogMessage", "outputTable": "Billing_CL"}],
        "run": None,
    },
]  # fmt: skip
