"""Answers of the Log Analytics API: tables, statistics, render, and the metadata of a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from tocsin.access import Principal
from tocsin.api.encode import rows_json
from tocsin.api.loganalytics.asked import Preferences
from tocsin.api.loganalytics.errors import partial
from tocsin.api.ports import Workspace
from tocsin.tables import catalogue

__all__ = ["body", "metadata", "resource_tables"]

_CHART = {
    "visualization": None, "title": None, "accumulate": False, "isQuerySorted": False, "kind": None, "annotation": None,
    "by": None, "legend": None, "series": None, "xAxis": None, "xColumn": None, "xTitle": None, "yAxis": None, "yColumns": None,
    "ySplit": None, "yTitle": None, "anomalyColumns": None,
}  # fmt: skip


def body(result: Any, preferences: Preferences) -> Iterator[bytes]:
    """The answer to a query, in pieces."""
    results = [result, *result.more]
    yield b'{"tables":['
    for index, found in enumerate(results):
        head = {
            "name": "PrimaryResult" if index == 0 else f"Table_{index}",
            "columns": [{"name": c.name, "type": c.type.value} for c in found.columns],
            "rows": [],
        }
        yield (b"," if index else b"") + orjson.dumps(head)[:-2]
        yield from rows_json(found, dynamic_text=True)
        yield b"]}"
    yield b"]"
    if preferences.statistics:
        yield b',"statistics":' + orjson.dumps(_statistics(results))
    if preferences.render:
        yield b',"render":' + orjson.dumps(_render(result), default=str)
    lacking = [e for r in results for e in ((r.cut,) if r.cut is not None else r.problems)]
    if lacking:
        yield b',"error":' + orjson.dumps(partial(lacking[0]))
    yield b"}"


def _statistics(results: list[Any]) -> dict[str, Any]:
    scanned = [r.scanned for r in results]
    rows = sum(s.file_rows + s.memory_rows for s in scanned)
    return {
        "query": {
            "executionTime": round(sum(r.seconds for r in results), 7),
            "inputDatasetStatistics": {
                "extents": {
                    "total": sum(s.files + s.pruned for s in scanned),
                    "scanned": sum(s.files for s in scanned),
                },
                "rows": {"total": rows, "scanned": rows},
            },
            "datasetStatistics": [{"tableRowCount": len(r), "tableSize": r.table.nbytes} for r in results],
        }
    }


def _render(result: Any) -> dict[str, Any]:
    found = dict(_CHART)
    names = {name.lower(): name for name in found}
    if result.render is not None:
        found["visualization"] = result.render.visualization
        for key, value in result.render.properties.items():
            found[names.get(key.lower(), key)] = value
    return found


def metadata(workspace: Workspace, principal: Principal) -> dict[str, Any]:
    """The tables and functions that the principal can name."""
    catalog = workspace.queries.catalog_for(principal)
    names = [n for n in catalog.all_table_names() if catalog.allowed is None or n in catalog.allowed]
    tables, categories = [], dict[str, list[str]]()
    for name in names:
        table, info = catalog.table(name), catalogue().info(name)
        if table is None:
            continue
        category = info.category if info else "Custom"
        categories.setdefault(category, []).append(f"t/{name}")
        tables.append(
            {
                "id": f"t/{name}",
                "name": name,
                "description": table.doc,
                "timespanColumn": "TimeGenerated",
                "labels": [category],
                "columns": [
                    {"name": c.name, "type": c.type.value, "description": c.doc} for c in table.columns if not c.hidden
                ],
            }
        )
    functions = [
        {
            "id": f"f/{f.name}",
            "name": f.name,
            "displayName": f.name,
            "description": f.doc,
            "parameters": f.parameters,
            "body": f.body,
        }
        for n in catalog.function_names()
        if (f := catalog.function(n)) is not None
    ]
    return {
        "tables": tables,
        "functions": functions,
        "categories": [
            {"id": f"c/{c}", "displayName": c, "related": {"tables": ids}} for c, ids in sorted(categories.items())
        ],
        "solutions": [],
        "resourceTypes": [],
        "queries": [],
        "applications": [],
        "workspaces": [
            {
                "id": workspace.id,
                "name": workspace.name,
                "region": "",
                "resourceId": "",
                "related": {"tables": [t["id"] for t in tables]},
            }
        ],
        "permissions": {"workspaces": [{"resourceId": workspace.id, "denyTables": []}]},
    }


def resource_tables(workspace: Workspace, principal: Principal, resource: str) -> dict[str, Any]:
    """The tables as Azure Resource Manager lists those of a workspace."""
    catalog = workspace.queries.catalog_for(principal)
    found = []
    for name in catalog.all_table_names():
        table = catalog.table(name)
        if table is None or (catalog.allowed is not None and name not in catalog.allowed):
            continue
        columns = [{"name": c.name, "type": c.type.value} for c in table.columns if not c.hidden]
        custom = name.endswith("_CL")
        found.append(
            {
                "id": f"/subscriptions/{resource}/tables/{name}",
                "name": name,
                "type": "Microsoft.OperationalInsights/workspaces/tables",
                "properties": {
                    "plan": "Analytics",
                    "provisioningState": "Succeeded",
                    "schema": {
                        "name": name,
                        "tableType": "CustomLog" if custom else "Microsoft",
                        "standardColumns": [] if custom else columns,
                        "customColumns": columns if custom else [],
                    },
                },
            }
        )
    return {"value": found}
