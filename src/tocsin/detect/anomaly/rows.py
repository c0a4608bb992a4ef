"""Findings as rows of BehaviorAnalytics and Anomalies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tocsin.base.ids import stable_uuid
from tocsin.detect.alert import iso
from tocsin.detect.anomaly.baseline import score_of
from tocsin.detect.anomaly.evaluate import Finding
from tocsin.detect.anomaly.model import Anomaly
from tocsin.detect.entities import map_entities

__all__ = ["anomaly_row", "behavior_row"]

_SHARED = {
    "UserName": "UserName", "UserPrincipalName": "UserPrincipalName", "SourceIPAddress": "SourceIpAddress",
    "SourceDevice": "SourceDevice", "DestinationIPAddress": "DestinationIpAddress", "DestinationDevice": "DestinationDevice",
}  # fmt: skip
"""Columns of Anomalies by those of BehaviorAnalytics."""


def behavior_row(anomaly: Anomaly, finding: Finding, now: datetime) -> dict[str, Any]:
    """A row of BehaviorAnalytics: what was done, and its insights (null where the baseline can't say)."""
    return {
        "TimeGenerated": iso(finding.last),
        "TimeProcessed": iso(now),
        **_columns(anomaly, finding),
        "ActivityInsights": finding.insights,
        "InvestigationPriority": round(10 * score_of(finding.weights)),
        "SourceRecordId": _id(anomaly, finding),
    }


def anomaly_row(anomaly: Anomaly, finding: Finding, now: datetime) -> dict[str, Any] | None:
    """A row of Anomalies, None where the score stays below the threshold."""
    score = score_of(finding.weights)
    if score < anomaly.threshold or not finding.weights:
        return None
    columns = _columns(anomaly, finding)
    entities = map_entities(anomaly.entity_mappings, finding.row)
    return {
        "TimeGenerated": iso(now),
        "Id": _id(anomaly, finding),
        "AnomalyTemplateId": anomaly.id,
        "AnomalyTemplateName": anomaly.name,
        "AnomalyTemplateVersion": anomaly.version,
        "RuleId": anomaly.id,
        "RuleName": anomaly.name,
        "RuleStatus": "Production",
        "RuleConfigVersion": anomaly.version,
        "Description": anomaly.description,
        "StartTime": iso(finding.first),
        "EndTime": iso(finding.last),
        "Score": round(score, 4),
        "Tactics": ", ".join(anomaly.tactics),
        "Techniques": ", ".join(anomaly.techniques),
        "VendorName": "Tocsin",
        "ActivityInsights": finding.insights,
        "AnomalyReasons": [
            {k: iso(v) if isinstance(v, datetime) else v for k, v in r.items()} for r in finding.reasons
        ],
        "AnomalyDetails": {"Entity": finding.entity, "PeerGroup": finding.peer or None, "Count": finding.count},
        "Entities": [{"Type": e.type.lower(), **e.identifiers} for e in entities],
        **{_SHARED[name]: value for name, value in columns.items() if name in _SHARED},
    }


def _columns(anomaly: Anomaly, finding: Finding) -> Mapping[str, Any]:
    found = {}
    for name, source in anomaly.columns.items():
        value = source[1:-1] if source[:1] == source[-1:] == "'" else finding.row.get(source)
        if value is not None and value != "":
            found[name] = str(value)
    return found


def _id(anomaly: Anomaly, finding: Finding) -> str:
    """The same for the same finding, however often it is made."""
    what = sorted(str(r.get("Value")) + str(r.get("Bin", "")) for r in finding.reasons)
    return stable_uuid("anomaly", anomaly.id, finding.entity, iso(finding.first), iso(finding.last), *what)
