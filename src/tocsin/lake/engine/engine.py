"""`Engine`: runs a compiled query over a snapshot of the lake, within limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import structlog

from tocsin.base.errors import LakeError, Place, QueryError, TocsinError
from tocsin.kql.needs import Clauses
from tocsin.kql.types import Catalog
from tocsin.lake.engine.connection import Database
from tocsin.lake.engine.files import why_unreadable
from tocsin.lake.engine.model import Compiled, Limits, Window
from tocsin.lake.engine.relations import RelationPlan, plan_relations
from tocsin.lake.engine.result import QueryResult, Scanned
from tocsin.lake.engine.watchdog import Watch, Watchdog
from tocsin.lake.settings import EngineSettings
from tocsin.lake.snapshot import DataFile, Snapshot

__all__ = ["Engine"]

_log = structlog.get_logger("tocsin.lake.engine")
_ATTEMPTS = 3


class Engine:
    """Runs compiled queries on DuckDB. Safe to use from many threads; each running query has a connection of its own.

    `folders` are the only places that it may read; `spill` is where large sorts and joins may go. `catalog` gives the schemas of tables; `run` may be
    handed another one.
    """

    def __init__(
        self,
        *,
        folders: Sequence[Path] = (),
        spill: Path | None = None,
        catalog: Catalog | None = None,
        settings: EngineSettings | None = None,
    ) -> None:
        self.settings = settings or EngineSettings()
        self.catalog = catalog
        self._folders = tuple(folders)
        self._spill = spill
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._small: dict[int, Database] = {}
        self._watchdog = Watchdog()

    def run(
        self,
        compiled: Compiled,
        *,
        snapshot: Snapshot | None = None,
        relations: Mapping[str, pa.Table] | None = None,
        window: Window | None = None,
        limits: Limits | None = None,
        cancel: threading.Event | None = None,
        catalog: Catalog | None = None,
    ) -> QueryResult:
        """The rows of the query.

        `relations` are extra Arrow tables by name; one with a catalogue table's name stands in for that table. `window` cuts every table of the
        snapshot at the scan. `cancel` ends the query when set.

        Raises QueryError: QRY0002 time limit, QRY0003 cancelled, QRY0004 memory limit, QRY0005 no such table, QRY0006 the engine refused
        the query (a defect of ours; logged with its SQL), QRY0008 too many queries at once; LakeError LAK0006/LAK0007 for a relation that
        doesn't fit its schema.
        """
        limits = limits or Limits()
        started = time.monotonic()
        if cancel is not None and cancel.is_set():
            raise QueryError("The query was cancelled.", code="QRY0003")
        if not compiled.columns:
            # "project-away *" is a right query; SQL knows no table without columns.
            return QueryResult((), pa.table({}), seconds=time.monotonic() - started)
        bad: dict[str, LakeError] = {}
        attempts = 0
        while True:
            plan = plan_relations(
                sorted(compiled.tables),
                compiled.sql,
                snapshot=snapshot,
                relations=relations or {},
                catalog=catalog or self.catalog,
                window=window,
                without=frozenset(bad),
                needs=_needs(compiled),
            )
            try:
                table, truncated = self._execute(compiled, plan, limits, started, cancel)
                break
            except _BrokenError as broken:
                # A defect in the engine takes all its running queries down. Those that only met the ruins try again; several
                # defects may follow each other, so more than once.
                attempts += 1
                if broken.guilty or attempts > _ATTEMPTS:
                    raise self._translated(broken.cause, compiled) from broken.cause
            except duckdb.Error as error:
                found = self._unreadable(plan, snapshot, bad)
                if not found:
                    raise self._translated(error, compiled) from error
                bad.update(found)
            except (ValueError, TypeError, ArithmeticError, RuntimeError, MemoryError) as error:
                # pyarrow's and the binding's own refusals: values that can't be handed over, text that isn't UTF-8.
                raise self._translated(error, compiled) from error
        return QueryResult(
            columns=tuple(compiled.columns),
            table=table,
            truncated=truncated,
            seconds=time.monotonic() - started,
            render=getattr(compiled, "render", None),
            problems=tuple(bad.values()),
            scanned=_scanned(plan),
        )

    def explain(
        self,
        compiled: Compiled,
        *,
        snapshot: Snapshot | None = None,
        relations: Mapping[str, pa.Table] | None = None,
        window: Window | None = None,
        catalog: Catalog | None = None,
    ) -> str:
        """The engine's physical plan as text, for `tocsin query --explain`."""
        plan = plan_relations(
            sorted(compiled.tables),
            compiled.sql,
            snapshot=snapshot,
            relations=relations or {},
            catalog=catalog or self.catalog,
            window=window,
            needs=_needs(compiled),
        )
        try:
            with self._main().connection(self.settings_wait) as held:
                for name, rows in plan.arrow.items():
                    held.register(name, rows)
                found = held.raw.execute(
                    "EXPLAIN " + _statement(compiled, plan, None), dict(compiled.parameters)
                ).fetchall()
        except duckdb.Error as error:
            raise self._translated(error, compiled) from error
        return f"{_scanned(plan).said()}\n" + "\n".join(str(row[-1]) for row in found)

    @property
    def settings_wait(self) -> float:
        """Seconds that a query waits for a free connection."""
        return 30.0

    def close(self) -> None:
        """Closes all connections."""
        self._watchdog.close()
        with self._lock:
            opened = [*([self._database] if self._database else []), *self._small.values()]
            self._database, self._small = None, {}
        for database in opened:
            database.close()

    def _main(self) -> Database:
        with self._lock:
            if self._database is None:
                self._database = Database(self.settings, folders=self._folders, spill=self._spill)
            return self._database

    def _sized(self, memory_bytes: int | None) -> Database:
        """The shared database, or a small one of its own for a query that may take only so much memory."""
        if memory_bytes is None or memory_bytes >= self.settings.memory_bytes:
            return self._main()
        with self._lock:
            found = self._small.get(memory_bytes)
            if found is None:
                if len(self._small) >= 4:
                    self._small.pop(next(iter(self._small))).close()
                found = self._small[memory_bytes] = Database(
                    self.settings, folders=self._folders, memory_bytes=memory_bytes, connections=1
                )
            return found

    def _execute(
        self, compiled: Compiled, plan: RelationPlan, limits: Limits, started: float, cancel: threading.Event | None
    ) -> tuple[pa.Table, bool]:
        statement = _statement(compiled, plan, limits.rows)
        left = None if limits.seconds is None else limits.seconds - (time.monotonic() - started)
        wait = self.settings_wait if left is None else max(0.0, min(self.settings_wait, left))
        database = self._sized(limits.memory_bytes)
        with database.connection(wait) as held:
            watch: Watch | None = None
            try:
                with self._watchdog.watching(held.raw.interrupt, left, cancel) as watch:
                    for name, rows in plan.arrow.items():
                        held.register(name, rows)
                    table: pa.Table = held.raw.sql(statement, params=dict(compiled.parameters)).to_arrow_table()
            except duckdb.Error as error:
                if watch is not None and watch.reason == "time":
                    raise QueryError(
                        f"The query was ended after {limits.seconds:g} s, its time limit.",
                        code="QRY0002",
                        hint="Narrow the time range, or raise the setting query.seconds.",
                    ) from error
                if watch is not None and watch.reason == "cancel":
                    raise QueryError("The query was cancelled.", code="QRY0003") from error
                if isinstance(error, duckdb.OutOfMemoryException):
                    raise QueryError(
                        f"The query needs more than {(limits.memory_bytes or self.settings.memory_bytes) >> 20} MiB, its memory limit.",
                        code="QRY0004",
                        hint="Narrow it, or raise the setting engine.memory_bytes.",
                    ) from error
                if isinstance(error, duckdb.FatalException | duckdb.InternalException):
                    self._replace(database)
                    raise _BrokenError(error, guilty=isinstance(error, duckdb.InternalException)) from error
                raise
        truncated = False
        if limits.rows is not None and table.num_rows > limits.rows:
            table, truncated = table.slice(0, limits.rows), True
        if limits.result_bytes is not None and table.nbytes > limits.result_bytes:
            keep = max(1, int(table.num_rows * limits.result_bytes / table.nbytes))
            table, truncated = table.slice(0, keep), True
        return table, truncated

    def _replace(self, database: Database) -> None:
        """Lets go of a database that a fatal error has made useless; the next query makes a new one."""
        with self._lock:
            if database is self._database:
                self._database = None
                return
            for size, small in self._small.items():
                if small is database:
                    del self._small[size]
                    return

    def _unreadable(
        self, plan: RelationPlan, snapshot: Snapshot | None, known: Mapping[str, LakeError]
    ) -> dict[str, LakeError]:
        """Files of the plan that can't be read, as errors; reported to the lake so that it leaves them out from now on."""
        found: dict[str, LakeError] = {}
        for name, file in plan.files:
            reason = why_unreadable(file)
            if reason and file.path not in known:
                found[file.path] = _bad_file(name, file, reason)
                if snapshot is not None and snapshot.on_bad_file is not None:
                    snapshot.on_bad_file(name, file.path, reason)
        return found

    def _translated(self, error: Exception, compiled: Compiled) -> TocsinError:
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        _log.error("query.refused", error=str(error), kind=type(error).__name__, sql=compiled.sql)
        if isinstance(error, duckdb.IOException) and "No space" in text:
            return QueryError(
                "There is no room left for spilling.",
                code="QRY0004",
                hint="Free disk space or lower engine.spill_bytes.",
            )
        return QueryError(
            f"The engine could not run the query: {text}",
            code="QRY0006",
            hint="This is a defect of Tocsin; the log has the query's SQL.",
        )


class _BrokenError(Exception):
    """A fatal error of DuckDB: its whole database is unusable. `guilty`: this query met the defect itself; others get DuckDB's FatalException
    that the database is gone."""

    def __init__(self, cause: duckdb.Error, *, guilty: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.guilty = guilty


def _bad_file(table: str, file: DataFile, reason: str) -> LakeError:
    return LakeError(
        f"A file of table {table} can't be read: {reason}.",
        code="LAK0005",
        place=Place(file.path),
        hint="Its rows are left out; restore the file from a backup to have them again.",
    )


def _needs(compiled: Compiled) -> Mapping[str, Sequence[Clauses]]:
    found: Mapping[str, Sequence[Clauses]] = getattr(compiled, "needs", {})
    return found


def _scanned(plan: RelationPlan) -> Scanned:
    return Scanned(
        files=len(plan.files),
        file_rows=sum(f.rows for _, f in plan.files),
        file_bytes=sum(f.size for _, f in plan.files),
        memory_rows=sum(rows.num_rows for rows in plan.arrow.values()),
        skipped_by_time=len(plan.skipped["time"]),
        skipped_by_terms=len(plan.skipped["terms"]),
        skipped_bytes=sum(f.size for files in plan.skipped.values() for f in files),
    )


def _statement(compiled: Compiled, plan: RelationPlan, rows: int | None) -> str:
    head = f"WITH {', '.join(plan.ctes)} " if plan.ctes else ""
    tail = f" LIMIT {rows + 1}" if rows is not None else ""
    return f"{head}SELECT * FROM ({compiled.sql}\n) AS q{tail}"
