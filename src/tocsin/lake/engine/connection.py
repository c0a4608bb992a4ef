"""Locked-down DuckDB connections: one database in memory, a pool of connections to it.

A DuckDB connection refuses concurrent use, so a query takes one from the pool and gives it back. Macros belong to a connection (TEMP), Python
functions to the database. The order of the settings matters: nothing may be changed after ``lock_configuration``
(measured in `docs/explanation/lake.md`).
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import structlog

from tocsin.base.errors import QueryError
from tocsin.lake.engine.physical import quote_text
from tocsin.lake.settings import EngineSettings

__all__ = ["Database", "PooledConnection"]

_log = structlog.get_logger("tocsin.lake.engine")


def _dialect() -> ModuleType | None:
    """The emitter's DuckDB dialect: its macros and Python functions; None where it isn't installed."""
    try:
        return importlib.import_module("tocsin.kql.emit.duckdb")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("tocsin.kql"):
            raise
        return None


class PooledConnection:
    """One connection with the names of the Arrow tables that are registered in it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.raw = connection
        self.registered: list[str] = []

    def register(self, name: str, table: Any) -> None:
        """Makes an Arrow table readable under `name` until `clear`."""
        self.raw.register(name, table)
        self.registered.append(name)

    def clear(self) -> None:
        """Forgets the registered tables, so that their memory can go."""
        while self.registered:
            self.raw.unregister(self.registered.pop())


class Database:
    """An in-memory DuckDB database that can read the given folders and nothing else of the machine."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        folders: Sequence[Path] = (),
        spill: Path | None = None,
        memory_bytes: int | None = None,
        spill_bytes: int | None = None,
        connections: int | None = None,
    ) -> None:
        self.broken = False
        self._limit = connections or settings.connections
        self._slots = threading.Semaphore(self._limit)
        self._lock = threading.Lock()
        self._free: list[PooledConnection] = []
        self._macros = ""
        self._closed = False
        threads = settings.threads or max(1, min(4, os.cpu_count() or 1))
        self._root = duckdb.connect(":memory:")
        allowed = ",".join(quote_text(f"{folder.resolve()}/") for folder in folders)
        statements = [
            f"SET allowed_directories = [{allowed}]",
            f"SET memory_limit = '{memory_bytes or settings.memory_bytes}B'",
            f"SET threads = {threads}",
            # A plan of our own never loads code.
            "SET autoinstall_known_extensions = false",
            "SET autoload_known_extensions = false",
            "SET allow_community_extensions = false",
            # GLOBAL where a setting belongs to a connection: the pool's connections don't inherit the root's own.
            # Otherwise a relation that doesn't exist is looked for among the caller's Python variables.
            "SET GLOBAL python_enable_replacements = false",
            "SET GLOBAL TimeZone = 'UTC'",
            # Files never change once written, so their footers can be kept.
            "SET GLOBAL parquet_metadata_cache = true",
            "SET enable_external_file_cache = false",
        ]
        if spill is not None:
            spill.mkdir(parents=True, exist_ok=True)
            statements += [
                f"SET temp_directory = {quote_text(str(spill.resolve()))}",
                f"SET max_temp_directory_size = '{settings.spill_bytes if spill_bytes is None else spill_bytes}B'",
            ]
        else:
            statements.append("SET temp_directory = ''")
        statements += ["SET enable_external_access = false"]
        for statement in statements:
            self._root.execute(statement)
        dialect = _dialect()
        if dialect is not None:
            self._install(dialect)
        self._root.execute("SET lock_configuration = true")

    def _install(self, dialect: ModuleType) -> None:
        self._macros = str(getattr(dialect, "MACROS", ""))
        for udf in getattr(dialect, "UDFS", ()):
            # DuckDB's stub wants its enums here; the call takes their names.
            define: Any = self._root.create_function
            define(
                udf.name,
                udf.apply,
                list(udf.parameters),
                udf.returns,
                type="arrow",
                # Nulls and errors are the function's own business: KQL's nulls differ from SQL's.
                null_handling="special",
                exception_handling="return_null",
            )

    def _open(self) -> PooledConnection:
        cursor = self._root.cursor()
        if self._macros:
            cursor.execute(self._macros)
        return PooledConnection(cursor)

    def take(self) -> PooledConnection:
        """A connection for as long as the database lives: it is never given back."""
        return self._open()

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[PooledConnection]:
        """A connection for one query. Waits at most `timeout` seconds for a free one, then QueryError QRY0008."""
        if not self._slots.acquire(timeout=timeout if timeout is not None else -1):
            raise QueryError(
                f"All {self._limit} query connections were busy for {timeout:g} s.",
                code="QRY0008",
                hint="Try again, or raise the setting engine.connections.",
            )
        try:
            with self._lock:
                if self._closed:
                    raise QueryError("The query engine is closed.", code="QRY0009")
                found = self._free.pop() if self._free else None
            held = found or self._open()
            healthy = False
            try:
                yield held
                healthy = True
            except duckdb.Error as error:
                healthy = not isinstance(
                    error, duckdb.FatalException | duckdb.InternalException | duckdb.ConnectionException
                )
                raise
            except BaseException as error:
                healthy = not isinstance(error.__cause__, duckdb.FatalException | duckdb.InternalException)
                raise
            finally:
                self._give_back(held, healthy)
        finally:
            self._slots.release()

    def _give_back(self, held: PooledConnection, healthy: bool) -> None:
        try:
            held.clear()
        except duckdb.Error:
            healthy = False
        with self._lock:
            if healthy and not self._closed:
                self._free.append(held)
                return
        held.raw.close()

    def close(self) -> None:
        """Closes the free connections and the database; running queries end with an error."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for held in free:
            held.raw.close()
        self._root.close()
