"""A few rows of a result as people look at them, in the shape of `tocsin.api.shapes.PreviewRows`."""

from __future__ import annotations

from typing import Any

from tocsin.lake.engine import QueryResult

__all__ = ["sample"]


def sample(result: QueryResult, most: int | None = None) -> dict[str, Any]:
    """Columns that hold something in some row shown, the rows (at most so many), and how many there are in all."""
    rows = result.rows()
    shown = rows if most is None else rows[:most]
    kept = [i for i in range(len(result.columns)) if any(r[i] not in (None, "") for r in shown)]
    return {
        "columns": [{"name": result.columns[i].name, "type": result.columns[i].type.value} for i in kept],
        "rows": [[r[i] for i in kept] for r in shown],
        "count": len(rows),
    }
