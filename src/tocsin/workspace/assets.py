"""Which hosts and accounts matter: the packs' asset rules, run over the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from tocsin.base.errors import TocsinError
from tocsin.content import Content, IncidentFile
from tocsin.incidents.judging import AssetRow
from tocsin.query import QueryService

__all__ = ["MOST_ASSETS", "find_assets"]

MOST_ASSETS = 20_000
"""Assets that one rule may find; more would say that everything is critical, and the rule is left out with a warning."""

_log = structlog.get_logger("tocsin.workspace.assets")


def find_assets(queries: QueryService, content: Content, known: Iterable[AssetRow] = ()) -> list[AssetRow]:
    """What the asset rules find now. A rule that fails keeps what it found before (`known`) and is named in the log."""
    found: list[AssetRow] = []
    for item in content.incidents:
        if item.kind != "asset":
            continue
        try:
            rows = queries.run(item.document.value["query"]).dicts()
        except TocsinError as error:
            _log.warning("assets.failed", rule=item.id, path=str(item.path), error=str(error))
            found.extend(a for a in known if a.rule == _name(item))
            continue
        if len(rows) > MOST_ASSETS:
            _log.warning("assets.too_many", rule=item.id, path=str(item.path), found=len(rows), most=MOST_ASSETS)
            continue
        found.extend(_asset(item, row) for row in rows if row.get("Name"))
    return found


def _asset(item: IncidentFile, row: Mapping[str, Any]) -> AssetRow:
    value = item.document.value
    return AssetRow(
        str(value.get("entity") or "Host"),
        str(row["Name"]),
        _name(item),
        str(value.get("level") or ""),
        str(row.get("Group") or ""),
    )


def _name(item: IncidentFile) -> str:
    return str(item.document.value.get("name") or item.id)
