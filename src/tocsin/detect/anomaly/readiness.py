"""How ready a baseline is: per entity and per feature, with what is lacking, so that a null insight can be understood."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tocsin.detect.alert import iso
from tocsin.detect.anomaly.evaluate import Asking, Row, is_ready
from tocsin.detect.anomaly.model import Anomaly
from tocsin.detect.run import Queries
from tocsin.lake.engine import Window

__all__ = ["readiness_of"]


def readiness_of(
    anomaly: Anomaly, queries: Queries, end: datetime, *, text: str = "", limit: int = 100
) -> dict[str, Any]:
    """The baseline before `end`: totals, features, and entities that hold `text` in their name, those that are least ready first.

    Raises as `tocsin.detect.anomaly.evaluate`.
    """
    start = end - anomaly.history
    asking = Asking(anomaly, queries, Window(start, end, "TimeGenerated"), None)
    base = asking.entities()
    members = Counter(row["_Peer"] for row in base.values() if row["_Peer"])
    ready = {name for name, row in base.items() if is_ready(anomaly, row)}
    features, by_entity = _features(anomaly, asking, base, ready)
    chosen = sorted(
        (name for name in base if text.lower() in name.lower()),
        key=lambda name: (name in ready, -base[name]["Events"], name),
    )
    return {
        "start": iso(start),
        "end": iso(end),
        "entities": len(base),
        "ready": len(ready),
        "matching": len(chosen),
        "features": features,
        "items": [_entity(anomaly, n, base[n], members, by_entity.get(n, {})) for n in chosen[:limit]],
    }


def _features(
    anomaly: Anomaly, asking: Asking, base: Mapping[str, Row], ready: set[str]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, dict[str, int]]]]:
    if anomaly.volume is not None:
        volume = anomaly.volume
        told = {"feature": volume.measure, "kind": "volume", "insights": [n for n in (volume.high, volume.peers) if n]}
        return [{**told, "entities": len(base), "ready": len(ready), "values": None}], {}
    found: list[dict[str, Any]] = []
    by_entity: dict[str, dict[str, dict[str, int]]] = defaultdict(dict)
    for term in anomaly.terms:
        rows = asking.rows(
            f"| summarize Count = count() by _Entity, _Term = tostring({term.column}) | where isnotempty(_Term)"
        )
        for row in rows:
            known = by_entity[row["_Entity"]].setdefault(term.column, {"events": 0, "values": 0})
            known["events"] += row["Count"]
            known["values"] += 1
        having = {row["_Entity"] for row in rows}
        found.append(
            {
                "feature": term.column,
                "kind": "term",
                "insights": [n for n in (term.first, term.uncommon, term.peers) if n],
                "entities": len(having),
                "ready": len(having & ready),
                "values": len({row["_Term"] for row in rows}),
            }
        )
    return found, by_entity


def _entity(
    anomaly: Anomaly, name: str, row: Row, members: Mapping[str, int], features: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    peers = max(0, members.get(row["_Peer"], 0) - 1)
    wants = [("days", anomaly.ready.days - row["Days"]), ("events", anomaly.ready.events - row["Events"])]
    if anomaly.peer:
        wants.append(("peers", anomaly.ready.peers - peers))
    return {
        "entity": name,
        "peer_group": row["_Peer"] or None,
        "peers": peers if anomaly.peer else None,
        "events": row["Events"],
        "days": row["Days"],
        "first": iso(row["First"]) if row["First"] is not None else None,
        "ready": is_ready(anomaly, row),
        "lacks": {what: missing for what, missing in wants if missing > 0},
        "features": [{"feature": feature, **figures} for feature, figures in features.items()],
    }
