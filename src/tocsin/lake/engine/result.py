"""What a query gives: an Arrow table of physical values, and the rows as KQL's REST answer shows them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.base.errors import QueryError, TocsinError
from tocsin.kql.types import Column, KqlType
from tocsin.lake.engine.physical import arrow_schema

__all__ = ["QueryResult", "Scanned"]


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a query had to look at, and what it was spared: Parquet files by their times or by their terms; bytes as on disk."""

    files: int = 0
    file_rows: int = 0
    file_bytes: int = 0
    memory_rows: int = 0
    skipped_by_time: int = 0
    skipped_by_terms: int = 0
    skipped_bytes: int = 0

    @property
    def pruned(self) -> int:
        """Files that were skipped."""
        return self.skipped_by_time + self.skipped_by_terms

    def said(self) -> str:
        """In a line, for people."""
        return (
            f"files: {self.files} with {self.file_rows:,} rows, {self.file_bytes:,} bytes; rows in memory: {self.memory_rows:,}; "
            f"skipped: {self.skipped_by_time} files by time, {self.skipped_by_terms} by terms, {self.skipped_bytes:,} bytes"
        )


@dataclass(frozen=True)
class QueryResult:
    """The rows of a query.

    `columns` are the compiled query's result columns; `table` has them by position under the names c1, c2… in physical form.
    `truncated` says that a row or size limit cut the rows, `cut` which one (QRY0010 rows, QRY0011 size); `seconds` is how long the engine
    took; `render` is the query's chart, if it asked for one; `problems` are errors of parts of the lake that were left out (an unreadable
    file), each naming its file.
    """

    columns: tuple[Any, ...]
    table: pa.Table
    truncated: bool = False
    seconds: float = 0.0
    render: Any = None
    problems: tuple[TocsinError, ...] = ()
    scanned: Scanned = Scanned()
    cut: QueryError | None = None
    more: tuple[QueryResult, ...] = ()
    """Further results in order: of a second statement, of `fork` and `facet`."""
    queued: float = 0.0
    """Seconds that the query waited for its turn before it ran."""

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [c.name for c in self.columns]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column_values(self, index: int) -> list[Any]:
        """One column's JSON-able values: the form of Kusto's REST answer."""
        column = self.columns[index]
        return _values(self.table.column(index), column.type, column.ticks)

    def rows(self) -> list[list[Any]]:
        """JSON-able rows: datetimes and timespans as KQL's text, dynamic values parsed, NaN and infinities as strings."""
        lists = [self.column_values(i) for i in range(len(self.columns))]
        return [list(row) for row in zip(*lists, strict=True)] if lists else [[] for _ in range(len(self))]

    def stored(self) -> pa.Table:
        """The rows as a table may keep them: under the columns' names, in the lake's types, each field saying what KQL type it is."""
        fields = list(arrow_schema([Column(c.name, c.type) for c in self.columns]))
        made = []
        for column, about, f in zip(self.table.columns, self.columns, fields, strict=True):
            if about.ticks and about.type is KqlType.DATETIME:
                micros = pc.divide(
                    pc.subtract(column, pa.scalar(_TICKS_AT_EPOCH, pa.int64())), pa.scalar(10, pa.int64())
                )
                made.append(micros.cast(f.type))
            else:
                made.append(column.cast(f.type))
        return pa.Table.from_arrays(made, schema=pa.schema(fields))

    def dicts(self) -> list[dict[str, Any]]:
        """The rows as dictionaries by column name."""
        names = self.names
        return [dict(zip(names, row, strict=True)) for row in self.rows()]


_TICKS_AT_EPOCH = 621_355_968_000_000_000
"""100 ns ticks from 0001-01-01 to 1970-01-01."""


def _values(column: pa.ChunkedArray, kind: KqlType, ticks: bool) -> list[Any]:
    if pa.types.is_null(column.type):
        return ["" if kind is KqlType.STRING else None] * len(column)
    fast = _FAST.get(kind)
    if fast is not None:
        found = fast(column, ticks)
        if found is not None:
            return found
    from tocsin.kql.values import python_value

    return [python_value(kind, value, ticks) for value in column.to_pylist()]


def _plain(column: pa.ChunkedArray, _ticks: bool) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values


def _text(column: pa.ChunkedArray, _ticks: bool) -> list[Any] | None:
    if not pa.types.is_string(column.type):
        return None
    # KQL strings are never null.
    return ["" if v is None else v for v in column.to_pylist()] if column.null_count else column.to_pylist()


def _real(column: pa.ChunkedArray, _ticks: bool) -> list[Any] | None:
    if not pa.types.is_floating(column.type):
        return None
    values = column.to_pylist()
    if all(v is None or math.isfinite(v) for v in values):
        return values  # type: ignore[no-any-return]
    return [v if v is None or math.isfinite(v) else _odd(v) for v in values]


def _odd(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


_FIRST = np.datetime64("0001-01-01T00:00:00", "us")
_LAST = np.datetime64("9999-12-31T23:59:59.999999", "us")


def _datetime(column: pa.ChunkedArray, ticks: bool) -> list[Any] | None:
    if ticks or column.type != pa.timestamp("us"):
        return None
    stamps = column.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    missing = np.isnat(stamps)
    known = stamps[~missing]
    if known.size and (known.min() < _FIRST or known.max() > _LAST):
        return None
    text = [f"{t}0Z" for t in np.datetime_as_string(known, unit="us").tolist()]
    if not missing.any():
        return text
    found = iter(text)
    return [None if gone else next(found) for gone in missing.tolist()]


def _dynamic(column: pa.ChunkedArray, _ticks: bool) -> list[Any] | None:
    try:
        return [None if v is None else _load(v) for v in column.to_pylist()]
    except ValueError:
        return None  # NaN, integers beyond 64 bits: the general way knows them


_LONG_NUMBER = re.compile(r"\d{19}")


def _load(text: str) -> Any:
    if _LONG_NUMBER.search(text):
        raise ValueError("orjson reads integers beyond 64 bits as reals")
    return orjson.loads(text)


_FAST: dict[KqlType, Callable[[pa.ChunkedArray, bool], list[Any] | None]] = {
    KqlType.BOOL: _plain,
    KqlType.INT: _plain,
    KqlType.LONG: _plain,
    KqlType.REAL: _real,
    KqlType.STRING: _text,
    KqlType.GUID: _plain,
    KqlType.DATETIME: _datetime,
    KqlType.DYNAMIC: _dynamic,
}
