"""Rows as JSON text in pieces: a large result never stands in memory as Python objects, nor twice as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tocsin.api.wire import to_json
from tocsin.kql.types import KqlType

__all__ = ["column_values", "rows_json"]

PIECE = 2_000
"""Rows of one piece."""


def rows_json(result: Any, *, dynamic_text: bool, piece: int = PIECE) -> Iterator[bytes]:
    """The rows of a `tocsin.lake.engine.QueryResult` as the inside of a JSON array, without its brackets.

    `dynamic_text`: dynamic values as strings that hold JSON (Log Analytics) instead of JSON itself (Kusto).
    """
    total = len(result)
    if not result.columns:
        return
    for start in range(0, total, piece):
        part = replace(result, table=result.table.slice(start, piece))
        lists = [column_values(part, i, dynamic_text=dynamic_text) for i in range(len(result.columns))]
        text = to_json(list(zip(*lists, strict=True)))[1:-1]
        yield text if start == 0 else b"," + text


def column_values(result: Any, index: int, *, dynamic_text: bool) -> list[Any]:
    """One column's values as the service prints them: datetimes without the zeros at the end of their seconds."""
    values: list[Any] = result.column_values(index)
    kind = result.columns[index].type
    if kind is KqlType.DATETIME:
        return [None if v is None else f"{v[:-1].rstrip('0').rstrip('.')}Z" for v in values]
    if kind is KqlType.DYNAMIC and dynamic_text:
        return [v if v is None or isinstance(v, str) else to_json(v).decode() for v in values]
    return values
