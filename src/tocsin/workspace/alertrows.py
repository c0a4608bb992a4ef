"""Alerts as rows of SecurityAlert (Sentinel's) and of AlertInfo and AlertEvidence (Defender's): rules and hunts read them as any table.

Which columns hold what stands in `tables/own.toml`.
"""

from __future__ import annotations

from typing import Any

import orjson

from tocsin.detect.alert import Alert, iso
from tocsin.tables.entities import Entity
from tocsin.tables.entitykeys import hash_algorithm
from tocsin.tables.own import own

__all__ = ["alert_evidence", "alert_info", "security_alert"]

_HASHES = ("SHA1", "SHA256")
"""The columns of the table that hold hashes."""


def security_alert(alert: Alert, status: str = "New") -> dict[str, Any]:
    """The alert as a row of SecurityAlert."""
    table = own("alerts")
    given = {p.lower(): v for p, v in alert.properties.items()}
    taken = {c: given[c.lower()] for c, fact in table.columns.items() if c == fact and c.lower() in given}
    return table.row(
        written=iso(alert.created),
        title=alert.title or alert.rule,
        severity=alert.severity,
        rule=alert.rule_id,
        description=alert.description,
        product=alert.product,
        id=alert.id,
        start=iso(alert.time),
        end=iso(alert.end),
        status=status,
        tactics=", ".join(alert.tactics),
        techniques=orjson.dumps(list(alert.techniques)).decode(),
        entities=orjson.dumps([{"Type": e.type.lower(), **e.identifiers} for e in alert.entities]).decode(),
        details=orjson.dumps({"Count": alert.count, "CustomDetails": alert.custom_details}, default=str).decode(),
        **taken,
    )


def alert_info(alert: Alert) -> dict[str, Any]:
    """The alert as a row of AlertInfo."""
    category = alert.tactics[0] if alert.tactics else "SuspiciousActivity"
    return own("alert_info").row(**_shared(alert), category=category)


def alert_evidence(alert: Alert) -> list[dict[str, Any]]:
    """A row of AlertEvidence for each entity of the alert."""
    return [_evidence(alert, e) for e in alert.entities]


def _shared(alert: Alert) -> dict[str, Any]:
    return {
        "written": iso(alert.created),
        "start": iso(alert.time),
        "id": alert.id,
        "title": alert.title or alert.rule,
        "severity": alert.severity,
        "product": alert.product,
        "detection": "Scheduled detection" if alert.product != "Sigma" else "Custom detection",
        "techniques": orjson.dumps(list(alert.techniques)).decode(),
    }


def _evidence(alert: Alert, entity: Entity) -> dict[str, Any]:
    table = own("alert_evidence")
    kind, columns = table.entities.get(entity.type, (entity.type, {}))
    row = table.row(
        **_shared(alert),
        categories=orjson.dumps(list(alert.tactics)).decode(),
        kind=kind,
        role="Related",
        entity={"Type": entity.type.lower(), **entity.identifiers},
        **_more(entity),
    )
    row.update({c: value for i, c in columns.items() if (value := entity.identifiers.get(i))})
    return row


def _more(entity: Entity) -> dict[str, str]:
    """What more than one identifier tells together."""
    get = entity.identifiers.get
    if entity.type == "FileHash" and (value := get("Value")):
        algorithm = (get("Algorithm") or "").upper().replace("-", "")
        return {algorithm: value} if algorithm in _HASHES else {}
    if entity.type == "File" and (value := get("FileHash")) and (algorithm := hash_algorithm(value)) in _HASHES:
        return {algorithm: value}
    if entity.type == "Account" and (name := get("Name")) and (suffix := get("UPNSuffix")):
        return {"upn": f"{name}@{suffix}"}
    return {}
