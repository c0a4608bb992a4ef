"""Watchlists as CSV files."""

from __future__ import annotations

import csv
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import pyarrow as pa

from tocsin.base.errors import ContentError, Place
from tocsin.tables.watchlists import CHANGED, ITEM_ID, SEARCH_KEY

__all__ = ["csv_table", "watchlist_items"]


def csv_table(text: str, path: Path) -> pa.Table:
    """A table of text columns.

    Raises `ContentError`, code CNT0030: no header, a repeated column, a row with too many values.
    """
    rows = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = [h.strip() for h in next(rows, [])]
        if not any(header):
            raise ContentError("The first line must name the columns.", code="CNT0030", place=Place(str(path), 1))
        doubled = next((h for i, h in enumerate(header) if h in header[:i]), None)
        if doubled is not None:
            raise ContentError(f"The column '{doubled}' is here twice.", code="CNT0030", place=Place(str(path), 1))
        columns: list[list[str]] = [[] for _ in header]
        for row in rows:
            if not row:
                continue
            if len(row) > len(header):
                raise ContentError(
                    f"The row has {len(row)} values for {len(header)} columns.",
                    code="CNT0030",
                    place=Place(str(path), rows.line_num),
                    hint="A value with a comma needs quotes.",
                )
            for index, column in enumerate(columns):
                column.append(row[index] if index < len(row) else "")
    except csv.Error as error:
        raise ContentError(f"Not CSV: {error}.", code="CNT0030", place=Place(str(path), rows.line_num)) from None
    return pa.table({name: pa.array(values, pa.string()) for name, values in zip(header, columns, strict=True)})


def watchlist_items(table: pa.Table, path: Path) -> pa.Table:
    """The rows with what every watchlist has: the key for joins (the first column, unless one is called SearchKey), an id, a time.

    The id stays while the row's values do.
    """
    names = table.column_names
    if SEARCH_KEY not in names:
        table = table.append_column(SEARCH_KEY, table.column(0))
    if ITEM_ID not in names:
        rows = zip(*(table.column(n).to_pylist() for n in names), strict=True)
        made = [str(uuid5(NAMESPACE_URL, "\x1f".join((path.stem, *row)))) for row in rows]
        table = table.append_column(ITEM_ID, pa.array(made, pa.string()))
    if CHANGED not in names:
        changed = pa.scalar(int(path.stat().st_mtime * 1_000_000), pa.timestamp("us"))
        table = table.append_column(CHANGED, pa.repeat(changed, table.num_rows))
    return table
