"""Fields of JSON columns as columns of their own.

`tostring(EventData.Image)` in a parser becomes the string column `EventData:Image`, filled from the batch's parsed event data. The meaning is
exactly the same: both are the text of the field, empty where there is none. `tostring(EventData)` and an `EventData` that a last `project` hands on
become the column `EventData:`, the text that decoders wrote, which spares the engine reading it as JSON. Other uses are left as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from tocsin.ingest.decoders.context import as_text
from tocsin.ingest.decoders.flatevents import event_fields
from tocsin.ingest.model import SourceBatch
from tocsin.kql.lexer import END, NAME, STRING, Tokens, tokenize
from tocsin.kql.types import Column, KqlType, TableSchema

__all__ = ["WHOLE", "Shredded", "field_at", "shred"]

WHOLE = "EventData"
"""The column whose text is an object that the decoder wrote: never null, and as the engine would write it."""
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")


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
        wanted = [f for c, f, _ in self.fields if c == WHOLE and f]
        read = event_fields(batch.rows.column(WHOLE), chosen, wanted) if wanted else None
        for column, field, name in self.fields:
            if read is not None and column == WHOLE and field:
                arrays.append(read[wanted.index(field)])
                names.append(name)
                continue
            if not field:
                arrays.append(rows.column(column))
                names.append(name)
                continue
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


def shred(text: str, schema: TableSchema, *, whole: bool = False) -> Shredded:
    """The query with each `tostring(column.field)` over a dynamic column of `schema` replaced by a column of its own.

    With `whole`, the text of an event's data that its decoder wrote also stands for `tostring` of the column and for the column itself where the
    last operator, a `project`, hands it on: the result's column then has the KQL type string instead of dynamic.
    """
    dynamic = {c.name for c in schema.columns if c.type is KqlType.DYNAMIC}
    tokens = tokenize(text)
    kinds, values = tokens.kinds, tokens.values
    count = len(values)
    pipes = [i for i in range(count) if values[i] == "|"]
    last = pipes[-1] if pipes else -1
    for i in range(count - 1):
        # A query that gives the name another meaning is left alone. What the last operator assigns is seen by nothing behind it.
        if values[i] in dynamic and values[i + 1] == "=" and i < last:
            return Shredded(text, schema)
    fields: dict[tuple[str, str], str] = {}
    out: list[str] = []
    done = 0

    def replace(column: str, field: str, first: int, end: int, head: str = "") -> None:
        nonlocal done
        name = fields.setdefault((column, field), f"{column}:{field}")
        out.append(text[done : tokens.starts[first]])
        out.append(f"{head}['{name}']")
        done = tokens.ends[end]

    depth = 0
    projecting = last >= 0 and last + 1 < count and values[last + 1] == "project"
    i = 0
    while i < count:
        depth += (values[i] in _OPEN) - (values[i] in _CLOSE)
        if values[i] == "tostring" and i + 3 < count and values[i + 1] == "(" and values[i + 2] in dynamic:
            found = field_at(tokens, i) if kinds[i + 2] == NAME else None
            if found is not None and (found[0] or (whole and values[i + 2] == WHOLE)):
                replace(values[i + 2], found[0], i, found[1])
                i = found[1] + 1
                continue
        if (
            whole
            and projecting
            and i > last
            and depth == 0
            and values[i] == WHOLE
            and kinds[i] == NAME
            and values[i - 1] in ("project", ",")
            and (i + 1 >= count or values[i + 1] == "," or kinds[i + 1] == END)
        ):
            replace(WHOLE, "", i, i, f"{WHOLE} = ")
        i += 1
    if not fields:
        return Shredded(text, schema)
    added = tuple(Column(name, KqlType.STRING) for name in fields.values())
    out.append(text[done:])
    listed = tuple((column, field, name) for (column, field), name in fields.items())
    return Shredded("".join(out), TableSchema(schema.name, (*schema.columns, *added)), listed)


def field_at(tokens: Tokens, i: int) -> tuple[str, int] | None:
    """The field that `tostring(column.field)` at a token reads ("" for the whole column), and its last token; None where it is something else."""
    kinds, values = tokens.kinds, tokens.values
    if values[i + 3] == ")":
        return "", i + 3
    if i + 5 < len(values) and values[i + 3] == "." and kinds[i + 4] == NAME and values[i + 5] == ")":
        field, end = values[i + 4], i + 5
    elif (
        i + 6 < len(values) and values[i + 3] == "[" and kinds[i + 4] == STRING and values[i + 5 : i + 7] == ["]", ")"]
    ):
        literal = values[i + 4]
        if literal[0] not in "\"'" or "\\" in literal:
            return None
        field, end = literal[1:-1], i + 6
    else:
        return None
    return (field, end) if field and "'" not in field else None
