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
from tocsin.tables.own import own

__all__ = ["anomaly_row", "behavior_row"]


def behavior_row(anomaly: Anomaly, finding: Finding, now: datetime) -> dict[str, Any]:
    """A row of BehaviorAnalytics: what was done, and its insights (null where the baseline can't say)."""
    row = own("behavior").row(
        last=iso(finding.last),
        now=iso(now),
        insights=finding.insights,
        priority=round(10 * score_of(finding.weights)),
        id=_id(anomaly, finding),
    )
    return {**_columns(anomaly, finding), **row}


def anomaly_row(anomaly: Anomaly, finding: Finding, now: datetime) -> dict[str, Any] | None:
    """A row of Anomalies, None where the score stays below the threshold."""
    score = score_of(finding.weights)
    if score < anomaly.threshold or not finding.weights:
        return None
    columns = _columns(anomaly, finding)
    entities = map_entities(anomaly.entity_mappings, finding.row)
    table = own("anomalies")
    known = table.columns.values()
    return table.row(
        now=iso(now),
        id=_id(anomaly, finding),
        rule=anomaly.id,
        name=anomaly.name,
        version=anomaly.version,
        status="Production",
        description=anomaly.description,
        first=iso(finding.first),
        last=iso(finding.last),
        score=round(score, 4),
        tactics=", ".join(anomaly.tactics),
        techniques=", ".join(anomaly.techniques),
        insights=finding.insights,
        reasons=[{k: iso(v) if isinstance(v, datetime) else v for k, v in r.items()} for r in finding.reasons],
        details={"Entity": finding.entity, "PeerGroup": finding.peer or None, "Count": finding.count},
        entities=[{"Type": e.type.lower(), **e.identifiers} for e in entities],
        **{name: value for name, value in columns.items() if name in known},
    )


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
