"""Tables that nobody declared: `Name_CL`, made when rows for them come, as Azure Monitor's custom tables are.

A column's type is what its first rows hold: JSON's booleans, integers, numbers, objects and lists (dynamic), texts that all are instants
(datetime). Later rows are cast to it; what doesn't fit is null. A name that ends as the Data Collector API ends names (`_s`, `_d`, `_b`, `_t`,
`_g`) says its type. A table has at most 500 columns; what comes after goes into `AdditionalFields`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from tocsin.ingest.casts import cast_column
from tocsin.ingest.decoders.jsonvalue import json_text
from tocsin.ingest.overflow import OVERFLOW
from tocsin.kql.types import KqlType, TableSchema
from tocsin.lake.engine import arrow_type

__all__ = ["MAX_COLUMNS", "OVERFLOW", "custom_rows", "is_custom", "typed_rows"]

MAX_COLUMNS = 500
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}_CL")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)")
_SUFFIXES = {
    "_s": KqlType.STRING,
    "_d": KqlType.REAL,
    "_b": KqlType.BOOL,
    "_t": KqlType.DATETIME,
    "_g": KqlType.GUID,
}
_KQL = b"tocsin.kql"


def is_custom(name: str) -> bool:
    """Whether a table of that name may come to be by itself."""
    return _NAME.fullmatch(name) is not None


def typed_rows(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Parsed rows as columns, each in the type that its values have in common."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    if len(names) > MAX_COLUMNS:
        kept = set(list(names)[: MAX_COLUMNS - 1])
        rows = [_cut(row, kept) for row in rows]
        names = dict.fromkeys([*(n for n in names if n in kept and n != OVERFLOW), OVERFLOW])
    arrays, fields = [], []
    for name in names:
        values = [row.get(name) for row in rows]
        kind = _kind(name, values)
        arrays.append(_array(values, kind))
        fields.append(pa.field(name, arrays[-1].type, metadata={_KQL: kind.value.encode()}))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def custom_rows(rows: pa.Table, schema: TableSchema | None) -> pa.Table:
    """The rows in the types that the table has by now; columns that it doesn't have yet keep theirs. `schema` is None for a new table."""
    known = {c.name: c.type for c in schema.columns} if schema is not None else {"TimeGenerated": KqlType.DATETIME}
    room = MAX_COLUMNS - len(known)
    arrays, fields, spare = [], [], []
    for item, column in zip(rows.schema, rows.columns, strict=True):
        kind = known.get(item.name)
        if kind is None:
            if room <= 1 and item.name != OVERFLOW:
                spare.append(item.name)
                continue
            room -= 1
            kind = KqlType((item.metadata or {}).get(_KQL, b"string").decode())
        arrays.append(cast_column(_texts(column, item), kind))
        fields.append(pa.field(item.name, arrays[-1].type, metadata={_KQL: kind.value.encode()}))
    if spare:
        if OVERFLOW in rows.column_names and OVERFLOW not in spare:
            number = next(i for i, f in enumerate(fields) if f.name == OVERFLOW)
            del arrays[number], fields[number]
            spare.append(OVERFLOW)
        arrays.append(pa.array([_overflow(row) for row in rows.select(spare).to_pylist()], pa.string()))
        fields.append(pa.field(OVERFLOW, pa.string(), metadata={_KQL: KqlType.DYNAMIC.value.encode()}))
    if not fields:
        return pa.table({"TimeGenerated": pa.nulls(rows.num_rows, pa.timestamp("us"))})
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _overflow(row: Mapping[str, Any]) -> str | None:
    earlier = row.get(OVERFLOW)
    given = orjson.loads(earlier) if earlier else {}
    merged = {**(given if isinstance(given, dict) else {OVERFLOW: given})}
    merged |= {k: v for k, v in row.items() if v is not None and k != OVERFLOW}
    return json_text(merged) if merged else None


def _texts(column: pa.ChunkedArray, item: pa.Field) -> pa.ChunkedArray:
    """Booleans as JSON writes them; `cast_column` reads texts."""
    if pa.types.is_boolean(item.type):
        return pa.chunked_array(
            [pa.array([None if v is None else "true" if v else "false" for v in column.to_pylist()])]
        )
    return column


def _cut(row: Mapping[str, Any], kept: set[str]) -> dict[str, Any]:
    spare = {k: v for k, v in row.items() if k not in kept and k != OVERFLOW}
    out = {k: v for k, v in row.items() if k in kept and k != OVERFLOW}
    given = row.get(OVERFLOW)
    if spare or given:
        out[OVERFLOW] = {**(given if isinstance(given, dict) else {}), **spare}
    return out


def _kind(name: str, values: Sequence[Any]) -> KqlType:
    if name in ("TimeGenerated", "Timestamp"):
        return KqlType.DATETIME
    suffixed = _SUFFIXES.get(name[-2:])
    if suffixed is not None and len(name) > 2:
        return suffixed
    classes = {v.__class__ for v in values if v is not None and v != ""}
    if classes == {bool}:
        return KqlType.BOOL
    if classes == {int}:
        return KqlType.LONG if all(-(1 << 63) <= v < (1 << 63) for v in values if v.__class__ is int) else KqlType.REAL
    if classes and classes <= {int, float}:
        return KqlType.REAL
    if classes & {dict, list}:
        return KqlType.DYNAMIC
    if classes == {str} and all(_INSTANT.fullmatch(v) for v in values if v):
        return KqlType.DATETIME
    return KqlType.STRING


def _array(values: Sequence[Any], kind: KqlType) -> pa.Array:
    target = arrow_type(kind)
    if kind in (KqlType.BOOL, KqlType.LONG) or (kind is KqlType.REAL and not any(v.__class__ is str for v in values)):
        fit = [None if v == "" else v for v in values]
        try:
            return pa.array(fit, target)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass
    texts = [_text(v, kind) for v in values]
    return cast_column(pa.chunked_array([pa.array(texts, pa.string())]), kind)


def _text(value: Any, kind: KqlType) -> str | None:
    if value is None or value.__class__ is str:
        return orjson.dumps(value).decode() if value and kind is KqlType.DYNAMIC else value
    if value is True or value is False:
        return "true" if value else "false"
    if value.__class__ in (dict, list):
        return json_text(value)
    return str(value)
