"""Fields of JSON columns as columns of their own.

`tostring(EventData.Image)` in a parser becomes the string column `EventData:Image`, filled from the batch's parsed event data. The meaning is
exactly the same: both are the text of the field, empty where there is none. Other uses of the column are left as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from tocsin.ingest.decoders.context import as_text
from tocsin.ingest.model import SourceBatch
from tocsin.kql.lexer import NAME, STRING, tokenize
from tocsin.kql.types import Column, KqlType, TableSchema

__all__ = ["Shredded", "shred"]


@dataclass(frozen=True, slots=True)
class Shredded:
    """A query text and the schema that it is written against; `fields` are (JSON column, field, name of the added column)."""

    text: str
    schema: TableSchema
    fields: tuple[tuple[str, str, str], ...] = ()

    def add_to(self, rows: pa.Table, batch: SourceBatch, chosen: np.ndarray[Any, Any] | None) -> pa.Table:
        """`rows` (the chosen rows of the batch) with the added columns."""
        if not self.fields:
            return rows
        objects: dict[str, Sequence[Any]] = {}
        names, arrays = list(rows.column_names), list(rows.columns)
        for column, field, name in self.fields:
            values = objects.get(column)
            if values is None:
                values = _objects(batch, column)
                if chosen is not None:
                    values = [values[i] for i in chosen.tolist()]
                objects[column] = values
            found = [v.get(field) for v in values]
            try:
                arrays.append(pa.array(found, pa.string()))
            except (pa.ArrowTypeError, pa.ArrowInvalid):
                arrays.append(pa.array([as_text(v) for v in found], pa.string()))
            names.append(name)
        return pa.Table.from_arrays(arrays, names=names)


def _objects(batch: SourceBatch, column: str) -> Sequence[Any]:
    if column == "EventData":
        return batch.event_data()
    loads = orjson.loads
    out = [loads(text) if text else {} for text in batch.rows.column(column).to_pylist()]
    return [v if isinstance(v, dict) else {} for v in out]


def shred(text: str, schema: TableSchema) -> Shredded:
    """The query with each `tostring(column.field)` over a dynamic column of `schema` replaced by a column of its own."""
    dynamic = {c.name for c in schema.columns if c.type is KqlType.DYNAMIC}
    tokens = tokenize(text)
    kinds, values = tokens.kinds, tokens.values
    count = len(values)
    for i in range(count - 1):
        # A query that gives the name another meaning is left alone.
        if values[i] in dynamic and values[i + 1] == "=":
            return Shredded(text, schema)
    fields: dict[tuple[str, str], str] = {}
    out: list[str] = []
    done = 0
    i = 0
    while i < count - 5:
        if values[i] == "tostring" and values[i + 1] == "(" and values[i + 2] in dynamic and kinds[i + 2] == NAME:
            field, end = "", 0
            if values[i + 3] == "." and kinds[i + 4] == NAME and values[i + 5] == ")":
                field, end = values[i + 4], i + 5
            elif (
                values[i + 3] == "["
                and kinds[i + 4] == STRING
                and i + 6 < count
                and values[i + 5] == "]"
                and values[i + 6] == ")"
            ):
                literal = values[i + 4]
                if literal[0] in "\"'" and "\\" not in literal:
                    field, end = literal[1:-1], i + 6
            if field and "'" not in field:
                name = fields.setdefault((values[i + 2], field), f"{values[i + 2]}:{field}")
                out.append(text[done : tokens.starts[i]])
                out.append(f"['{name}']")
                done = tokens.ends[end]
                i = end + 1
                continue
        i += 1
    if not fields:
        return Shredded(text, schema)
    added = tuple(Column(name, KqlType.STRING) for name in fields.values())
    out.append(text[done:])
    listed = tuple((column, field, name) for (column, field), name in fields.items())
    return Shredded("".join(out), TableSchema(schema.name, (*schema.columns, *added)), listed)
