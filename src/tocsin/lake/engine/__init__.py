"""The query engine of one machine: DuckDB over Parquet files and fresh Arrow batches.

`Engine.run` takes what the KQL compiler made and gives rows. The engine knows SQL, not KQL; everything that can go wrong in it leaves as a
`QueryError` or `LakeError` with a code.
"""

from tocsin.lake.engine.engine import Engine
from tocsin.lake.engine.model import Compiled, Limits, ResultColumn, Window
from tocsin.lake.engine.physical import arrow_schema, arrow_type, conform, duckdb_type, physical_names
from tocsin.lake.engine.result import QueryResult, Scanned
from tocsin.lake.engine.standing import Standing

__all__ = [
    "Compiled",
    "Engine",
    "Limits",
    "QueryResult",
    "ResultColumn",
    "Scanned",
    "Standing",
    "Window",
    "arrow_schema",
    "arrow_type",
    "conform",
    "duckdb_type",
    "physical_names",
]
