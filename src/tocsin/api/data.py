"""Tables and dead letters, from the lake's figures and by KQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tocsin.access import Principal
from tocsin.api.ports import Workspace
from tocsin.state import text_of
from tocsin.tables import catalogue

__all__ = ["dead_letters", "tables"]

_DEAD = "DeadLetter_CL"


def tables(workspace: Workspace) -> list[dict[str, Any]]:
    """Tables that hold rows, by name."""
    items = []
    for stats in sorted(workspace.lake.stats(), key=lambda s: s.table):
        info = catalogue().info(stats.table)
        first, last, received = (_utc(m) for m in (stats.first_event, stats.last_event, stats.last_received))
        items.append(
            {
                "name": stats.table,
                "category": info.category if info else "Custom",
                "rows": stats.rows,
                "bytes": stats.bytes,
                "first_event": text_of(first),
                "last_event": text_of(last),
                "last_received": text_of(received),
                "latency_seconds": round((received - last).total_seconds(), 3) if received and last else None,
            }
        )
    return items


def dead_letters(workspace: Workspace, principal: Principal, limit: int) -> dict[str, Any]:
    """The newest dead letters."""
    if workspace.queries.catalog.table(_DEAD) is None:
        return {"items": [], "total": 0}
    total = workspace.queries.run(f"{_DEAD} | count", principal=principal).rows()[0][0]
    text = (
        f"{_DEAD} | top {int(limit)} by TimeGenerated desc "
        "| project TimeGenerated, Source_s, Code_s, Reason_s, Place_s, Raw_s"
    )
    rows = workspace.queries.run(text, principal=principal).rows()
    names = ("time", "source", "code", "reason", "place", "raw")
    return {"items": [dict(zip(names, ("" if v is None else v for v in r), strict=True)) for r in rows], "total": total}


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
