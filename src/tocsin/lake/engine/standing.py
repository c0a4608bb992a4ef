"""Queries that intake runs over batch after batch: prepared once, in a database of their own.

A prepared statement reads its relation from a `_Feed`, an object that is registered once and hands out another batch each time; that spares parsing
and describing the relation, though DuckDB 2.0 still binds and optimises at each run. The database has one thread and belongs to nobody else, so
heavy queries of people can take neither its connections, nor its memory, nor its turn in DuckDB's scheduler.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import duckdb
import pyarrow as pa

from tocsin.base.errors import TocsinError
from tocsin.kql.types import Catalog, TableSchema
from tocsin.lake.engine.connection import Database, PooledConnection
from tocsin.lake.engine.model import Compiled
from tocsin.lake.engine.physical import arrow_type, conform, quote_name, shape_of
from tocsin.lake.engine.relations import plan_relations
from tocsin.lake.settings import EngineSettings

__all__ = ["Stage", "Standing"]

Translate = Callable[[Exception, Compiled], TocsinError]


class _Feed:
    """An Arrow source whose rows change between two runs of the statements that read it."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.rows = schema.empty_table()

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.rows.__arrow_c_stream__(requested_schema)


class Stage:
    """The database of standing queries. Safe to use from many threads; they take turns."""

    def __init__(self, settings: EngineSettings, translate: Translate) -> None:
        self._settings = settings.model_copy(update={"threads": 1, "connections": 1})
        self._translate = translate
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._connection: PooledConnection | None = None
        self._numbers = count(1)
        self.generation = 0
        """Counts databases: statements of an earlier one are gone."""

    def standing(self, compiled: Compiled, relation: str, schema: TableSchema, catalog: Catalog) -> Standing:
        """A query whose only relation is `relation`, with that schema."""
        return Standing(self, compiled, relation, schema, catalog)

    def run(self, query: Standing, rows: pa.Table) -> pa.Table:
        """See `Standing.run`."""
        made: pa.Table = self._ask(query, rows, lambda con, text: con.sql(text).to_arrow_table())
        return made

    def values(self, query: Standing, rows: pa.Table) -> list[tuple[Any, ...]]:
        """See `Standing.values`."""
        made: list[tuple[Any, ...]] = self._ask(query, rows, lambda con, text: con.execute(text).fetchall())
        return made

    def _ask(self, query: Standing, rows: pa.Table, ask: Callable[[duckdb.DuckDBPyConnection, str], Any]) -> Any:
        with self._lock:
            try:
                connection = self._opened().raw
                if query.generation != self.generation:
                    query.prepare(connection, next(self._numbers), rows)
                    query.generation = self.generation
                feed = query.feed
                feed.rows = rows.select(feed.schema.names).cast(feed.schema)
                try:
                    return ask(connection, f"EXECUTE {query.name}")
                finally:
                    feed.rows = feed.schema.empty_table()
            except duckdb.Error as error:
                if isinstance(error, duckdb.FatalException | duckdb.InternalException):
                    # The whole database is unusable after such a defect: the next run makes a new one.
                    self._drop()
                raise self._translate(error, query.compiled) from error
            except (ValueError, TypeError, ArithmeticError, RuntimeError, MemoryError) as error:
                # pyarrow's and the binding's own refusals: values that can't be handed over, text that isn't UTF-8.
                raise self._translate(error, query.compiled) from error

    def forget(self, query: Standing) -> None:
        """Lets go of a query that won't run any more."""
        with self._lock:
            if self._connection is not None and query.generation == self.generation:
                self._connection.raw.execute(f"DEALLOCATE {query.name}")
                self._connection.raw.unregister(query.source)
                query.generation = 0

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            self._drop()

    def _opened(self) -> PooledConnection:
        if self._connection is None:
            self._database = Database(self._settings)
            self._connection = self._database.take()
            self.generation += 1
        return self._connection

    def _drop(self) -> None:
        database, self._database, self._connection = self._database, None, None
        if database is not None:
            with suppress(duckdb.Error):  # a broken database may refuse even that
                database.close()


class Standing:
    """One planned query. Make it with `Stage.standing`."""

    def __init__(self, stage: Stage, compiled: Compiled, relation: str, schema: TableSchema, catalog: Catalog) -> None:
        self.compiled = compiled
        self.generation = 0
        self.name = self.source = ""
        self._stage = stage
        self._relation = relation
        self._schema = schema
        self._catalog = catalog
        self.feed: _Feed

    def run(self, rows: pa.Table) -> pa.Table:
        """The query's result over these rows, which have the same columns at every call.

        Raises QueryError QRY0006 when the engine refuses, LakeError LAK0006/LAK0007 for rows that don't fit the schema.
        """
        return self._stage.run(self, conform(rows, self._schema))

    def values(self, rows: pa.Table) -> list[tuple[Any, ...]]:
        """The same as Python's values, row by row: for a few rows, of which it takes half the time."""
        return self._stage.values(self, conform(rows, self._schema))

    def forget(self) -> None:
        """Frees what the engine keeps for it; `run` would plan it again."""
        self._stage.forget(self)

    def prepare(self, connection: duckdb.DuckDBPyConnection, number: int, rows: pa.Table) -> None:
        """Plans it on that connection; `Stage` calls it."""
        name, source = f"standing{number}", f"feed{number}"
        physical = shape_of(self._schema).physical
        shape = pa.table({n: pa.nulls(1, arrow_type(physical[n].type)) for n in rows.column_names})
        plan = plan_relations(
            [self._relation],
            self.compiled.sql,
            snapshot=None,
            relations={self._relation: shape},
            catalog=self._catalog,
            window=None,
        )
        ((given, chosen),) = plan.arrow.items()
        feed = _Feed(chosen.schema)
        connection.register(source, feed)
        ctes = [f"{quote_name(given)} AS NOT MATERIALIZED (SELECT * FROM {source})", *plan.ctes]
        connection.execute(f"PREPARE {name} AS WITH {', '.join(ctes)} SELECT * FROM ({self.compiled.sql}\n) AS q")
        self.name, self.source, self.feed = name, source, feed
