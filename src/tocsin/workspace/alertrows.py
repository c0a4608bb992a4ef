"""Alerts as rows of SecurityAlert (Sentinel's) and of AlertInfo and AlertEvidence (Defender's): rules and hunts read them as any table."""

from __future__ import annotations

from typing import Any

import orjson

from tocsin.detect.alert import Alert, iso
from tocsin.tables.entities import Entity

__all__ = ["alert_evidence", "alert_info", "security_alert"]

_COLUMNS = (
    "AlertLink", "ConfidenceLevel", "ConfidenceScore", "ExtendedLinks", "ProductComponentName", "ProviderName", "RemediationSteps",
    "SubTechniques",
)  # fmt: skip
_EVIDENCE = {
    "Account": ("User", {"Name": "AccountName", "NTDomain": "AccountDomain", "Sid": "AccountSid", "AadUserId": "AccountObjectId"}),
    "Host": ("Machine", {"HostName": "DeviceName", "FullName": "DeviceName", "DeviceId": "DeviceId"}),
    "IP": ("Ip", {"Address": "RemoteIP"}),
    "URL": ("Url", {"Url": "RemoteUrl"}),
    "DNS": ("Url", {"DomainName": "RemoteUrl"}),
    "File": ("File", {"Name": "FileName", "Directory": "FolderPath"}),
    "Process": ("Process", {"CommandLine": "ProcessCommandLine", "ImageFile": "FileName"}),
    "RegistryKey": ("RegistryKey", {"Key": "RegistryKey"}),
    "RegistryValue": ("RegistryValue", {"Key": "RegistryKey", "Name": "RegistryValueName", "Value": "RegistryValueData"}),
    "MailMessage": ("MailMessage", {"NetworkMessageId": "NetworkMessageId", "Subject": "EmailSubject"}),
    "Mailbox": ("Mailbox", {"MailboxPrimaryAddress": "AccountUpn"}),
    "CloudApplication": ("CloudApplication", {"Name": "Application"}),
    "AzureResource": ("CloudResource", {"ResourceId": "AzureResourceId"}),
}  # fmt: skip
"""By our entity types: AlertEvidence's EntityType, and its columns by identifier."""


def security_alert(alert: Alert, status: str = "New") -> dict[str, Any]:
    """The alert as a row of SecurityAlert."""
    given = {p.lower(): v for p, v in alert.properties.items()}
    return {
        "TimeGenerated": iso(alert.created),
        "AlertName": alert.title or alert.rule,
        "DisplayName": alert.title or alert.rule,
        "AlertSeverity": alert.severity,
        "AlertType": alert.rule_id,
        "Description": alert.description,
        "ProductName": alert.product,
        "ProviderName": "Tocsin",
        "VendorName": "Tocsin",
        "SystemAlertId": alert.id,
        "VendorOriginalId": alert.id,
        "StartTime": iso(alert.time),
        "EndTime": iso(alert.end),
        "Status": status,
        "Tactics": ", ".join(alert.tactics),
        "Techniques": orjson.dumps(list(alert.techniques)).decode(),
        "Entities": orjson.dumps([{"Type": e.type.lower(), **e.identifiers} for e in alert.entities]).decode(),
        "ExtendedProperties": orjson.dumps(
            {"Count": alert.count, "CustomDetails": alert.custom_details}, default=str
        ).decode(),
        **{c: given[c.lower()] for c in _COLUMNS if c.lower() in given},
    }


def alert_info(alert: Alert) -> dict[str, Any]:
    """The alert as a row of AlertInfo."""
    return {
        "TimeGenerated": iso(alert.created),
        "Timestamp": iso(alert.time),
        "AlertId": alert.id,
        "Title": alert.title or alert.rule,
        "Category": alert.tactics[0] if alert.tactics else "SuspiciousActivity",
        "Severity": alert.severity,
        "ServiceSource": alert.product,
        "DetectionSource": "Scheduled detection" if alert.product != "Sigma" else "Custom detection",
        "AttackTechniques": orjson.dumps(list(alert.techniques)).decode(),
    }


def alert_evidence(alert: Alert) -> list[dict[str, Any]]:
    """A row of AlertEvidence for each entity of the alert."""
    return [_evidence(alert, e) for e in alert.entities]


def _evidence(alert: Alert, entity: Entity) -> dict[str, Any]:
    kind, columns = _EVIDENCE.get(entity.type, (entity.type, {}))
    row: dict[str, Any] = {
        "TimeGenerated": iso(alert.created),
        "Timestamp": iso(alert.time),
        "AlertId": alert.id,
        "Title": alert.title or alert.rule,
        "Categories": orjson.dumps(list(alert.tactics)).decode(),
        "AttackTechniques": orjson.dumps(list(alert.techniques)).decode(),
        "ServiceSource": alert.product,
        "DetectionSource": "Scheduled detection" if alert.product != "Sigma" else "Custom detection",
        "EntityType": kind,
        "EvidenceRole": "Related",
        "Severity": alert.severity,
        "AdditionalFields": {"Type": entity.type.lower(), **entity.identifiers},
    }
    for identifier, column in columns.items():
        if value := entity.identifiers.get(identifier):
            row[column] = value
    if entity.type == "FileHash" and (value := entity.identifiers.get("Value")):
        row["EntityType"] = "File"
        algorithm = (entity.identifiers.get("Algorithm") or "").upper().replace("-", "")
        if algorithm in ("SHA1", "SHA256"):
            row[algorithm] = value
    if (
        entity.type == "Account"
        and (name := entity.identifiers.get("Name"))
        and (suffix := entity.identifiers.get("UPNSuffix"))
    ):
        row["AccountUpn"] = f"{name}@{suffix}"
    return row
