"""The ASIM pack as tests see it: schemas, parsers, and the rows that stand beside them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from tocsin.content import load_packs, packs_dir
from tocsin.ingest.casts import cast_rows
from tocsin.query import QueryService
from tocsin.tables import catalogue

PACK = packs_dir() / "asim"
COMMON = {
    "EventResult": ["Success", "Partial", "Failure", "NA"],
    "EventSeverity": ["Informational", "Low", "Medium", "High"],
}
"""What the schemas have in common goes before what one schema's page shows of it."""
EXAMPLES = {
    ("Dns", "DnsQueryTypeName"),
    ("NetworkSession", "NetworkProtocolVersion"),
    ("UserManagement", "EventSubType"),
    ("UserManagement", "UpdatedPropertyName"),
}
"""Fields whose listed values are examples: record types, protocol versions, names of properties."""


@cache
def schemas() -> dict[str, Any]:
    """The schemas by name."""
    return dict(json.loads((PACK / "schemas.json").read_text("utf-8")))


@cache
def queries() -> QueryService:
    """All packs' functions over no data."""
    return QueryService(None, catalogue=catalogue(), functions=load_packs([packs_dir()]).functions)


def cases() -> list[Path]:
    """The files of rows beside the parsers."""
    return sorted((PACK / "functions").rglob("*.test.yaml"))


def relations(given: dict[str, list[dict[str, Any]]]) -> dict[str, pa.Table]:
    """Rows as the tables that a query reads."""
    made = {}
    for table, rows in given.items():
        schema = catalogue().table(table)
        assert schema is not None, table
        names = list(dict.fromkeys(n for r in rows for n in r))
        known = {c.name for c in schema.columns}
        assert set(names) <= known, (table, set(names) - known)
        text = {n: pa.array([_text(r.get(n)) for r in rows], pa.string()) for n in names}
        made[table] = cast_rows(pa.table(text), schema)
        for name in names:
            lost = [
                r[name]
                for r, v in zip(rows, made[table].column(name), strict=True)
                if _text(r.get(name)) and not v.is_valid
            ]
            assert not lost, (table, name, lost)
    return made


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def rows_of(schema: str) -> dict[str, pa.Table]:
    """The rows beside all of a schema's parsers together, each with an id of its own, which is ASIM's EventUid."""
    together: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((PACK / "functions" / schema).glob("*.test.yaml")):
        for table, rows in yaml.safe_load(path.read_text("utf-8"))["rows"].items():
            together.setdefault(table, []).extend(rows)
    for table, rows in together.items():
        for number, row in enumerate(rows):
            row["_ItemId"] = f"{table}-{number}"
    return relations(together)
