"""Members of dynamic columns as text columns of their own: written when small files are merged, read in place of the JSON.

A file's column `COLUMN:MEMBER` holds what `tostring(COLUMN.MEMBER)` is, in every row, "" where there is none. It is there when in no row `COLUMN` is
a JSON string: then `tostring(parse_json(COLUMN).MEMBER)` is the same, and whoever finds the column needn't read the JSON. Which members there are is
declared (`TableSchema.members`). The engine makes the texts, with the words that read them from the JSON elsewhere, and without the interpreter's
lock: nobody waits for it.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa
import structlog

from tocsin.kql.emit.duckdb.scalars import json_path
from tocsin.kql.types import TableSchema
from tocsin.lake.engine.files import columns_of
from tocsin.lake.engine.physical import quote_name, shape_of
from tocsin.lake.snapshot import DataFile

__all__ = ["lacks_members", "stored_name", "with_members"]

_log = structlog.get_logger("tocsin.lake.members")
_LEAST = 2_000
"""Rows from which a file gets such columns: each costs some hundred bytes, however few rows there are."""
_MEMORY = "1GB"
"""What the engine may take; what needs more gets no columns."""
_MOST = 1_000_000
"""Rows up to which a file that is too large to be merged is written anew for them."""


def stored_name(column: str, member: str) -> str:
    """The name of a member's column in files."""
    return f"{column}:{member}"


def lacks_members(file: DataFile, schema: TableSchema) -> bool:
    """Whether a file could have such columns and has none."""
    held = columns_of([file]) or frozenset()
    names = {c.name: n for n, c in shape_of(schema).physical.items()}
    return (
        bool(schema.members)
        and _LEAST <= file.rows <= _MOST
        and any(names[c] in held for c, _ in schema.members)
        and not any(stored_name(c, m) in held for c, m in schema.members)
    )


def with_members(rows: pa.Table, schema: TableSchema) -> pa.Table:
    """The rows with the columns of the table's members, of those dynamic columns that allow it."""
    if rows.num_rows < _LEAST:
        return rows
    by_column: dict[str, list[str]] = {}
    for column, member in schema.members:
        by_column.setdefault(column, []).append(member)
    names = {c.name: n for n, c in shape_of(schema).physical.items()}
    for column, members in by_column.items():
        name = names[column]
        if name not in rows.column_names or rows.column(name).null_count == rows.num_rows:
            continue
        try:
            made = _texts(rows.select([name]), name, members)
        except duckdb.Error as error:  # a text that is no JSON, more than the memory holds: the JSON is read as before
            _log.warning("lake.members", table=schema.name, column=column, error=str(error).splitlines()[0])
            continue
        if made is None:
            continue
        for member, texts in zip(members, made.columns, strict=True):
            rows = rows.append_column(stored_name(column, member), texts)
    return rows


def _texts(rows: pa.Table, name: str, members: list[str]) -> pa.Table | None:
    """The members' texts in the order of the rows; None where a row holds a JSON string."""
    value = f"{quote_name(name)}::JSON"
    with duckdb.connect(":memory:", config={"threads": 1, "memory_limit": _MEMORY}) as engine:
        engine.register("rows", rows)
        ((strings,),) = engine.sql(f"SELECT count(*) FROM rows WHERE json_type({value}) = 'VARCHAR'").fetchall()
        if strings:
            return None
        paths = ",".join(json_path((m,)) for m in members)
        texts = ",".join(f"coalesce(m[{n}],'') AS m{n}" for n in range(1, len(members) + 1))
        asked = f"SELECT {texts} FROM (SELECT json_extract_string({value},[{paths}]) AS m FROM rows)"
        return engine.sql(asked).to_arrow_table()
