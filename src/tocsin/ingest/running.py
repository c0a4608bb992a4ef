"""Running a compiled query over rows in hand: what parsers and transforms share."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.ingest.schemas import SOURCE
from tocsin.kql import CompiledQuery
from tocsin.kql.types import Catalog, KqlType
from tocsin.lake.engine import Engine, Limits

__all__ = ["named", "run_rows"]

_TICKS_AT_EPOCH = 621_355_968_000_000_000


def named(result: pa.Table, query: CompiledQuery) -> pa.Table:
    """What the engine gave by position, under the columns' names; instants that came as ticks since year 1 are timestamps."""
    arrays = [
        _from_ticks(column) if made.ticks and made.type is KqlType.DATETIME else column
        for made, column in zip(query.columns, result.columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, names=[c.name for c in query.columns])


def run_rows(engine: Engine, query: CompiledQuery, catalog: Catalog, rows: pa.Table, limits: Limits) -> pa.Table:
    """The query's result over `rows` as `source`. Raises as `Engine.run`."""
    return named(engine.run(query, relations={SOURCE: rows}, limits=limits, catalog=catalog).table, query)


def _from_ticks(column: pa.ChunkedArray) -> pa.Array:
    micros = pc.divide(pc.subtract(column, pa.scalar(_TICKS_AT_EPOCH, pa.int64())), pa.scalar(10, pa.int64()))
    return micros.cast(pa.timestamp("us"))
