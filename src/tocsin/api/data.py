"""Tables, from the lake's figures."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tocsin.api.ports import Workspace
from tocsin.state import text_of
from tocsin.tables import catalogue

__all__ = ["tables"]


def tables(workspace: Workspace) -> list[dict[str, Any]]:
    """Tables that hold rows, by name."""
    items = []
    retention = workspace.lake.settings.retention
    drift = workspace.drift.rows()
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
                "new_columns": [{"name": c, "values": n} for c, n in sorted(drift.get(stats.table, {}).items())],
                "tier": retention.tier_of(stats.table),
                "days": retention.days_of(stats.table),
                "archive_days": retention.archive_days_of(stats.table),
                "archived_rows": stats.archived_rows,
                "archived_bytes": stats.archived_bytes,
                "archived_days": len(stats.archived_days),
                "latency_seconds": round((received - last).total_seconds(), 3) if received and last else None,
            }
        )
    return items


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
