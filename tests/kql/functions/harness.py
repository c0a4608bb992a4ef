"""Run KQL on an in-memory DuckDB that has only the functions' macros and UDFs."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import duckdb

from tocsin.kql import MappingCatalog, compile_query
from tocsin.kql.emit import duckdb as dialect
from tocsin.kql.functions.model import Aggregate, Example, ScalarFunction
from tocsin.kql.functions.python import geoip
from tocsin.kql.values import python_value

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = "range x from 1 to 4 step 1"


@cache
def engine() -> duckdb.DuckDBPyConnection:
    """A connection as the lake opens it."""
    geoip.configure({"81.2.69.142": {"country": {"names": {"en": "United Kingdom"}}}}.get)
    connection = duckdb.connect(config={"memory_limit": "1GB", "threads": 1})
    for udf in dialect.UDFS:
        connection.create_function(
            udf.name,
            udf.apply,
            list(udf.parameters),
            udf.returns,
            type="arrow",
            null_handling="special",
            exception_handling="return_null",
        )
    connection.execute(dialect.MACROS)
    return connection


def run(query: str) -> list[list[object]]:
    """The rows of a query over no tables, values as the REST answers have them."""
    compiled = compile_query(query, MappingCatalog(), now=NOW)
    rows = engine().execute(compiled.sql, compiled.parameters or None).fetchall()
    return [
        [python_value(c.type, value, c.ticks) for c, value in zip(compiled.columns, row, strict=True)] for row in rows
    ]


def scalar_query(example: Example) -> str:
    """An example of a scalar function as a query with one column of text: an expression, or a whole pipeline for window functions."""
    if example.kql.startswith("range "):
        pipeline = example.kql
        column = pipeline.rsplit("extend", 1)[1].split("=", 1)[0].strip()
        return f"{pipeline} | summarize r = strcat_array(make_list(tostring({column})), ',')"
    return f"print r = tostring({example.kql})"


def aggregate_query(example: Example) -> str:
    """An example of an aggregate over the rows 1 to 4."""
    before, _, call = example.kql.rpartition("summarize ")
    return f"{ROWS} | {before}summarize r = {call} | project r = tostring(r)"


def check(function: ScalarFunction | Aggregate) -> list[str]:
    """The examples that fail, as texts; a function without any fails too."""
    if not function.doc:
        return ["it has no documentation"]
    if function.refused:
        return []
    if not function.examples:
        return ["it has no example"]
    failures = []
    for example in function.examples:
        query = scalar_query(example) if isinstance(function, ScalarFunction) else aggregate_query(example)
        found = run(query)[0][0]
        if found != example.result:
            failures.append(f"{example.kql}: {found!r}, not {example.result!r}")
    return failures
