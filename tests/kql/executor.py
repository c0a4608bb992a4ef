"""A private executor for the compiler's tests: DuckDB in memory with the macros and UDFs, tables from plain rows."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import duckdb

from tocsin.kql import CompiledQuery, MappingCatalog, TableSchema, compile_query
from tocsin.kql.emit import physical_names
from tocsin.kql.emit.duckdb import MACROS, UDFS
from tocsin.kql.emit.duckdb.literals import SQL_TYPES, quote_identifier
from tocsin.kql.emit.duckdb.scalars import json_path
from tocsin.kql.types import Catalog
from tocsin.kql.values import python_value

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


class Executor:
    """Compiles and runs queries."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        self.catalog = catalog or MappingCatalog()
        self.connection = duckdb.connect(config={"threads": 2, "memory_limit": "2GB"})
        for udf in UDFS:
            self.connection.create_function(
                udf.name, udf.apply, list(udf.parameters), udf.returns, type="arrow", null_handling="special"
            )
        self.connection.execute(MACROS)
        self._made: set[str] = set()

    def add_table(self, schema: TableSchema, rows: Sequence[Sequence[object]] = (), name: str = "") -> None:
        """Create a table in the physical form that the contract promises."""
        columns = ", ".join(
            f"{quote_identifier(n)} {SQL_TYPES[c.type]}"
            for n, c in zip(physical_names(schema.columns), schema.columns, strict=True)
        )
        for column, member in schema.members:
            value, path = f"{quote_identifier(column)}::JSON", json_path((member,))
            again = f"(CASE WHEN json_type({value}) = 'VARCHAR' THEN try_cast({value}->>'$' AS JSON) ELSE {value} END)"
            for between, read in ((":", value), ("::", again)):
                text = quote_identifier(f"{column}{between}{member}")
                columns += f", {text} VARCHAR GENERATED ALWAYS AS (coalesce({read}->>{path}, ''))"
        self.connection.execute(f"CREATE OR REPLACE TABLE {quote_identifier(name or schema.name)} ({columns})")
        for row in rows:
            marks = ", ".join("?" for _ in row)
            self.connection.execute(f"INSERT INTO {quote_identifier(name or schema.name)} VALUES ({marks})", list(row))
        self._made.add(name or schema.name)

    def compile(self, text: str, **options: object) -> CompiledQuery:
        """Compile at the tests' moment."""
        options.setdefault("resolver", self.resolve)
        return compile_query(text, self.catalog, now=NOW, **options)  # type: ignore[arg-type]

    def resolve(self, compiled: CompiledQuery) -> list[list[object]]:
        """Run a part of a query while it is compiled."""
        self.prepare(compiled)
        return self.fetch(compiled)

    def prepare(self, compiled: CompiledQuery) -> None:
        """Create the tables that it reads, empty, where they were not added."""
        for name in compiled.tables:
            schema = self.catalog.table(name)
            stored = compiled.relations.get(name, name)
            if stored not in self._made and schema is not None:
                self.add_table(schema, name=stored)

    def run(self, text: str, timeout: float = 30.0, **options: object) -> tuple[list[str], list[list[object]]]:
        """Names and JSON-able rows."""
        compiled = self.compile(text, **options)
        self.prepare(compiled)
        return [c.name for c in compiled.columns], self.fetch(compiled, timeout)

    def fetch(self, compiled: CompiledQuery, timeout: float = 30.0) -> list[list[object]]:
        """Run what was compiled."""
        timer = threading.Timer(timeout, self.connection.interrupt)
        timer.start()
        try:
            rows = self.connection.execute(compiled.sql, compiled.parameters).fetchall()
        finally:
            timer.cancel()
        return [[python_value(c.type, v, c.ticks) for c, v in zip(compiled.columns, row, strict=False)] for row in rows]


def rows(
    text: str, tables: Mapping[str, tuple[TableSchema, Sequence[Sequence[object]]]] | None = None
) -> list[list[object]]:
    """The rows of one query in a fresh engine."""
    catalog = MappingCatalog({n: s for n, (s, _) in (tables or {}).items()})
    executor = Executor(catalog)
    for schema, content in (tables or {}).values():
        executor.add_table(schema, content)
    return executor.run(text)[1]
