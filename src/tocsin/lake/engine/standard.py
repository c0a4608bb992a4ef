"""Columns that every table has and that its files needn't hold: made of others, of the table's name or of the workspace when they are read.

`_ItemId` is the table and the row's number in it, as a GUID of version 8. The number is given when the row becomes visible and stays with it through
roll, merge and restart (`tocsin.lake.puts`); a table never gives one twice. Log Analytics' names:
learn.microsoft.com/azure/azure-monitor/logs/log-standard-columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.kql.needs import TERM
from tocsin.kql.types import TableSchema
from tocsin.lake.engine.physical import ITEM_NUMBER, quote_name, quote_text, shape_of

__all__ = [
    "BILLED",
    "billed_sizes",
    "filled_in_terms",
    "item_ids",
    "item_numbers",
    "made_column",
    "sources_of",
]

BILLED = "_BilledSize"
_FIXED = {1: 1, 32: 4, 64: 8, 128: 16}
_BILLABLE = "True"
_UNBILLED = frozenset(
    ("Type", "_TimeReceived", "_ResourceId", "_SubscriptionId", BILLED, "_IsBillable", "_ItemId", ITEM_NUMBER)
)


def _type(schema: TableSchema, workspace: str, present: Collection[str]) -> str:  # noqa: ARG001
    return f'coalesce("Type",{quote_text(schema.name)})' if "Type" in present else quote_text(schema.name)


def _tenant(schema: TableSchema, workspace: str, present: Collection[str]) -> str:  # noqa: ARG001
    if "TenantId" not in present:
        return quote_text(workspace) if workspace else "NULL"
    return f"coalesce(nullif(\"TenantId\",''),{quote_text(workspace)})" if workspace else '"TenantId"'


def _workspace(schema: TableSchema, workspace: str, present: Collection[str]) -> str:  # noqa: ARG001
    return quote_text(workspace) if workspace else "NULL"


def _item(schema: TableSchema, workspace: str, present: Collection[str]) -> str:  # noqa: ARG001
    if "_ItemId" in present:
        return '"_ItemId"'
    if ITEM_NUMBER not in present:
        return "NULL"
    number = f"format('{{:015x}}',{quote_name(ITEM_NUMBER)})"
    return f"{quote_text(_prefix(schema.name))}||substr({number},1,3)||'-'||substr({number},4)"


def _billable(schema: TableSchema, workspace: str, present: Collection[str]) -> str:  # noqa: ARG001
    return quote_text(_BILLABLE)


def _copy(name: str) -> Callable[[TableSchema, str, Collection[str]], str]:
    return lambda _schema, _workspace, present: quote_name(name) if name in present else "NULL"


@lru_cache(maxsize=4096)
def _prefix(table: str) -> str:
    name = hashlib.blake2b(table.encode(), digest_size=8).hexdigest()
    return f"{name[:8]}-{name[8:12]}-8{name[12:15]}-8"


_MADE: dict[str, tuple[tuple[str, ...], Callable[[TableSchema, str, Collection[str]], str]]] = {
    "Type": (("Type",), _type),
    "TenantId": (("TenantId",), _tenant),
    "_WorkspaceId": ((), _workspace),
    "_ItemId": ((ITEM_NUMBER,), _item),
    "_IsBillable": ((), _billable),
    "_IngestionTime": (("_TimeReceived",), _copy("_TimeReceived")),
    "_SourceSystem": (("SourceSystem",), _copy("SourceSystem")),
}
"""Column → the stored columns that it is made of, and its SQL given those of them that are there."""


def item_ids(table: str, numbers: pa.ChunkedArray) -> pa.Array:
    """`_ItemId` of the rows with these numbers, as queries see it."""
    prefix = _prefix(table)
    texts = (f"{n:015x}" for n in numbers.to_pylist())
    return pa.array([f"{prefix}{t[:3]}-{t[3:]}" for t in texts], pa.string())


def item_numbers(table: str, ids: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The numbers of rows of that table by their `_ItemId`s; ids of no row of it give none."""
    mine = ids.filter(pc.fill_null(pc.starts_with(ids, _prefix(table)), False))
    tails = pc.replace_substring(pc.utf8_slice_codeunits(mine, len(_prefix(table))), "-", "")
    return np.array([int(t, 16) for t in tails.to_pylist()], np.int64)


def _is_made(name: str, schema: TableSchema) -> bool:
    return name in _MADE and "TimeGenerated" in shape_of(schema).names


def sources_of(name: str, schema: TableSchema) -> tuple[str, ...]:
    """The physical columns that a file must be asked for to give this one."""
    return _MADE[name][0] if _is_made(name, schema) else (name,)


def made_column(name: str, schema: TableSchema, workspace: str, present: Collection[str]) -> str | None:
    """The column as SQL over those stored columns that are there; None for one that is stored as it is."""
    return _MADE[name][1](schema, workspace, present) if _is_made(name, schema) else None


@lru_cache(maxsize=4096)
def filled_in_terms(table: str, workspace: str) -> frozenset[str]:
    """Terms that rows have although no file holds them: of `Type`, `TenantId`, `_WorkspaceId` and `_IsBillable`."""
    return frozenset(TERM.findall(f"{table} {workspace} {_BILLABLE}".lower()))


def billed_sizes(rows: pa.Table) -> pa.Array:
    """`_BilledSize` of each row: bytes of its texts, and of other values what `estimate_data_size()` counts; nulls count nothing.

    Columns that say something about the row itself are left out, as Log Analytics does.
    """
    total = np.zeros(rows.num_rows, np.int64)
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        if name in _UNBILLED:
            continue
        if pa.types.is_string(column.type):
            total += pc.fill_null(pc.binary_length(column), 0).to_numpy()
        else:
            size = _FIXED.get(getattr(column.type, "bit_width", 64), 8)
            total += size if not column.null_count else pc.is_valid(column).to_numpy().astype(np.int64) * size
    return pa.array(total.astype(np.float64))
