"""Rows that have a catalogue table's columns already, cast from text to that table's types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.ingest.decoders.names import names
from tocsin.ingest.decoders.times import parse_times
from tocsin.kql.types import KqlType, TableSchema
from tocsin.kql.values import parse_timespan
from tocsin.lake.engine import arrow_type

__all__ = ["cast_column", "cast_rows"]

_TRUE = frozenset({"true", "1", "yes", "t", "y", "1.0"})
_FALSE = frozenset({"false", "0", "no", "f", "n", "0.0"})
_NUMBER = re.compile(r"^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$")
_OTHER_TIMES = names().table_times
_INT_RANGE = {KqlType.INT: (-(1 << 31), (1 << 31) - 1), KqlType.LONG: (-(1 << 63), (1 << 63) - 1)}


def cast_rows(rows: pa.Table, schema: TableSchema) -> pa.Table:
    """Those columns of `rows` that the table has, in the table's types. What can't be cast is null.

    A column that differs only in case from exactly one of the table's is taken for it. Timestamp and TimeGenerated fill each other.
    """
    exact = {c.name: c for c in schema.columns}
    folded: dict[str, list[str]] = {}
    for name in exact:
        folded.setdefault(name.lower(), []).append(name)
    out: dict[str, pa.Array] = {}
    for name in rows.column_names:
        target = name
        if name not in exact:
            near = folded.get(name.lower(), [])
            if len(near) != 1 or near[0] in rows.column_names:
                continue
            target = near[0]
        out[target] = cast_column(rows.column(name), exact[target].type)
    _fill_times(out, exact, rows)
    return pa.table(out) if out else pa.table({"TimeGenerated": pa.nulls(rows.num_rows, pa.timestamp("us"))})


def _fill_times(out: dict[str, pa.Array], exact: Mapping[str, Any], rows: pa.Table) -> None:
    times = [n for n in ("TimeGenerated", "Timestamp") if n in exact and exact[n].type is KqlType.DATETIME]
    given = [out[n] for n in times if n in out]
    if not given:
        other = next((n for n in _OTHER_TIMES if n in rows.column_names), None)
        given = [
            cast_column(rows.column(other), KqlType.DATETIME) if other else pa.nulls(rows.num_rows, pa.timestamp("us"))
        ]
    for name in times:
        own = [out[name]] if name in out else []
        out[name] = pc.coalesce(*own, *given)


def cast_column(column: pa.ChunkedArray, kind: KqlType) -> pa.Array:
    """A column of text (or already typed values) in the Arrow type of `kind`."""
    target = arrow_type(kind)
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        if column.type == target and kind is not KqlType.DYNAMIC:
            return column.combine_chunks()
        values: Sequence[Any] = column.to_pylist()
        column = pa.chunked_array([pa.array([None if v is None else str(v) for v in values], pa.string())])
    if kind is KqlType.STRING:
        return column.combine_chunks()
    if kind is KqlType.DATETIME:
        return parse_times(column.to_pylist()).to_arrow().cast(target)
    series = pl.Series(pl.from_arrow(column.combine_chunks()), dtype=pl.String)
    if kind in _INT_RANGE:
        return _integers(series, kind).to_arrow().cast(target)
    if kind is KqlType.REAL:
        return series.str.strip_chars().cast(pl.Float64, strict=False).to_arrow().cast(target)
    return pa.array([_ONE[kind](v) if v is not None else None for v in column.to_pylist()], target)


def _integers(series: pl.Series, kind: KqlType) -> pl.Series:
    text = series.str.strip_chars()
    numbers = text.cast(pl.Int64, strict=False)
    odd = numbers.is_null() & text.is_not_null() & (text != "")
    if odd.any():
        found = {i: _odd_integer(text[i]) for i in odd.arg_true().to_list()}
        found = {i: v for i, v in found.items() if v is not None}
        if found:
            numbers = numbers.scatter(list(found), list(found.values()))
    low, high = _INT_RANGE[kind]
    if kind is KqlType.INT:
        numbers = pl.select(pl.when((numbers >= low) & (numbers <= high)).then(numbers)).to_series()
    return numbers


def _odd_integer(text: str) -> int | None:
    """A number that isn't written as a plain decimal integer: hex, a float without fraction, a boolean."""
    try:
        if text[:2].lower() == "0x":
            value = int(text, 16)
            # Log Analytics and Windows print unsigned numbers; long is signed.
            value = value - (1 << 64) if (1 << 63) <= value < (1 << 64) else value
        else:
            number = float(text)
            if number != int(number):
                return None
            value = int(number)
    except (ValueError, OverflowError):
        return 1 if text.lower() == "true" else 0 if text.lower() == "false" else None
    low, high = _INT_RANGE[KqlType.LONG]
    return value if low <= value <= high else None


def _boolean(text: str) -> bool | None:
    low = text.strip().lower()
    return True if low in _TRUE else False if low in _FALSE else None


def _dynamic(text: str) -> str | None:
    """JSON text as it is; any other text as a JSON string."""
    if text[:1] in ("{", "[", '"') or text in ("true", "false", "null") or _NUMBER.match(text):
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
        else:
            return None if text == "null" else text
    return orjson.dumps(text).decode() if text else None


def _guid(text: str) -> str:
    return text.strip().strip("{}").lower()


def _timespan(text: str) -> int | None:
    try:
        return parse_timespan(text)
    except (ValueError, OverflowError):
        return None


def _decimal(text: str) -> Any:
    from decimal import Decimal, InvalidOperation

    try:
        value = Decimal(text.strip())
        return value.quantize(Decimal("1e-17")) if value.is_finite() and abs(value) < Decimal(10) ** 20 else None
    except InvalidOperation:
        return None


_ONE = {
    KqlType.BOOL: _boolean,
    KqlType.DYNAMIC: _dynamic,
    KqlType.GUID: _guid,
    KqlType.TIMESPAN: _timespan,
    KqlType.DECIMAL: _decimal,
}
