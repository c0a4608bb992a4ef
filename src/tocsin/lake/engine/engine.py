"""`Engine`: runs a compiled query over a snapshot of the lake, within limits."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import structlog

from tocsin.base.errors import LakeError, Place, QueryError, TocsinError
from tocsin.kql.needs import Clauses
from tocsin.kql.types import Catalog, TableSchema
from tocsin.lake.engine.connection import PooledConnection
from tocsin.lake.engine.databases import Databases
from tocsin.lake.engine.files import days_of, why_unreadable
from tocsin.lake.engine.model import Compiled, Limits, Window
from tocsin.lake.engine.relations import RelationPlan, plan_relations
from tocsin.lake.engine.result import QueryResult, Scanned
from tocsin.lake.engine.standing import Stage, Standing
from tocsin.lake.engine.watchdog import Watch, Watchdog
from tocsin.lake.settings import EngineSettings
from tocsin.lake.snapshot import DataFile, Snapshot

__all__ = ["Engine"]

_log = structlog.get_logger("tocsin.lake.engine")
_ATTEMPTS = 3
_BATCH = 8_192
_SPILL_FULL = "max_temp_directory_size"
"""What DuckDB's out-of-memory error says when it is the disk for spilling that is full; it has no class of its own for that."""


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
        self._databases = Databases(self.settings, folders=tuple(folders), spill=spill)
        self._watchdog = Watchdog()
        self._stage = Stage(self.settings, self._translated)

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
        the query (a defect of ours; logged with its SQL), QRY0008 too many queries at once, QRY0012 spill
        limit; LakeError LAK0006/LAK0007 for a relation that doesn't fit its schema.
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
                renamed=getattr(compiled, "relations", {}),
            )
            try:
                table, cut = self._execute(compiled, plan, limits, started, cancel)
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
            truncated=cut is not None,
            cut=cut,
            seconds=time.monotonic() - started,
            render=getattr(compiled, "render", None),
            problems=(*bad.values(), *(_archived(name, files) for name, files in plan.archived.items())),
            scanned=_scanned(plan),
        )

    def standing(self, compiled: Compiled, relation: str, schema: TableSchema, catalog: Catalog) -> Standing:
        """A query over one relation that is planned once and runs over many batches, apart from all other queries: what intake does.

        It has no limits, so it isn't for queries of people. Its parameters must have been put into its text.
        """
        return self._stage.standing(compiled, relation, schema, catalog)

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
            renamed=getattr(compiled, "relations", {}),
        )
        try:
            with self._databases.main().connection(self.settings_wait) as held:
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
        self._stage.close()
        self._databases.close()

    def _execute(
        self, compiled: Compiled, plan: RelationPlan, limits: Limits, started: float, cancel: threading.Event | None
    ) -> tuple[pa.Table, QueryError | None]:
        statement = _statement(compiled, plan, limits.rows)
        left = None if limits.seconds is None else limits.seconds - (time.monotonic() - started)
        wait = self.settings_wait if left is None else max(0.0, min(self.settings_wait, left))
        with self._databases.lease(limits.memory_bytes, limits.spill_bytes, wait) as database:
            try:
                with database.connection(wait) as held:
                    table, large = self._fetched(held, compiled, plan, statement, limits, started, cancel)
            except (duckdb.FatalException, duckdb.InternalException) as error:
                # Opening a connection meets the ruins of a database too, not only the query.
                self._databases.broke(database)
                raise _BrokenError(error, guilty=isinstance(error, duckdb.InternalException)) from error
        if large:
            cut = QueryError(
                f"The result is larger than {limits.result_bytes} bytes ({limits.named('result_bytes')}); "
                f"the rows after the first {table.num_rows} were cut off.",
                code="QRY0011",
                hint="Project fewer columns, summarize, or take fewer rows.",
            )
            return table, cut
        if limits.rows is not None and table.num_rows > limits.rows:
            cut = QueryError(
                f"The result has more than {limits.rows} rows ({limits.named('rows')}); the rest was cut off.",
                code="QRY0010",
                hint="Narrow the time range, summarize, or take fewer rows.",
            )
            return table.slice(0, limits.rows), cut
        return table, None

    def _fetched(
        self,
        held: PooledConnection,
        compiled: Compiled,
        plan: RelationPlan,
        statement: str,
        limits: Limits,
        started: float,
        cancel: threading.Event | None,
    ) -> tuple[pa.Table, bool]:
        """The rows that the statement gives on that connection, and whether they were cut at the size limit."""
        watch: Watch | None = None
        left = None if limits.seconds is None else limits.seconds - (time.monotonic() - started)
        try:
            with self._watchdog.watching(held.raw.interrupt, left, cancel) as watch:
                for name, rows in plan.arrow.items():
                    held.register(name, rows)
                return _fetch(held.raw.sql(statement, params=dict(compiled.parameters)), limits)
        except duckdb.Error as error:
            if watch is not None and watch.reason == "time":
                raise QueryError(
                    f"The query was ended after {limits.seconds:g} s, its time limit ({limits.named('seconds')}).",
                    code="QRY0002",
                    hint=f"Narrow the time range, or raise {limits.settings.get('seconds', 'query.seconds')}.",
                ) from error
            if watch is not None and watch.reason == "cancel":
                raise QueryError("The query was cancelled.", code="QRY0003") from error
            if isinstance(error, duckdb.OutOfMemoryException):
                raise self._too_much(limits, spilling=_SPILL_FULL in str(error)) from error
            raise

    def _too_much(self, limits: Limits, *, spilling: bool) -> QueryError:
        """The error of a query that needs more memory or more room for spilling than it may have."""
        memory = min(limits.memory_bytes or self.settings.memory_bytes, self.settings.memory_bytes)
        if not spilling:
            own = limits.memory_bytes is not None and limits.memory_bytes < self.settings.memory_bytes
            name = limits.named("memory_bytes") if own else f"engine.memory_bytes = {memory}"
            return QueryError(
                f"The query needs more than {memory >> 20} MiB, its memory limit ({name}).",
                code="QRY0004",
                hint=f"Narrow it, or raise {name.partition(' ')[0]}.",
            )
        spill = self.settings.spill_bytes if limits.spill_bytes is None else limits.spill_bytes
        own = limits.spill_bytes is not None and limits.spill_bytes < self.settings.spill_bytes
        name = limits.named("spill_bytes") if own else f"engine.spill_bytes = {spill}"
        return QueryError(
            f"The query needs more than {spill >> 20} MiB of disk to spill what doesn't fit in {memory >> 20} MiB of memory, "
            f"its spill limit ({name}).",
            code="QRY0012",
            hint=f"Narrow it, or raise {name.partition(' ')[0]}.",
        )

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
        said = _KQL_ERROR.search(text)
        if said is not None:  # what a part of the query had to say of its data, such as a search with too many patterns
            return QueryError(said[2], code=said[1])
        _log.error("query.refused", error=str(error), kind=type(error).__name__, sql=compiled.sql)
        if isinstance(error, duckdb.IOException) and "No space" in text:
            return QueryError(
                "There is no room left for spilling.",
                code="QRY0004",
                hint="Free disk space or lower engine.spill_bytes.",
            )
        # What the engine says speaks of SQL that the user never wrote; the log has it.
        return QueryError(
            "The engine could not run the query.",
            code="QRY0006",
            hint="This is a defect of Tocsin; the log has the engine's words and the SQL. Please report both with the query.",
        )


_KQL_ERROR = re.compile(r"^Invalid Input Error: (KQL\d{4}) (.+)")


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


def _archived(table: str, files: Sequence[DataFile]) -> LakeError:
    days = days_of(files)
    span = f" ({days[0]} to {days[-1]})" if len(days) > 1 else f" ({days[0]})" if days else ""
    number = f"{len(days)} day{'s' if len(days) != 1 else ''}" if days else f"{len(files)} files"
    return LakeError(
        f"{number} of {table}{span} {'is' if number == '1 day' else 'are'} archived and not in this answer.",
        code="LAK0033",
        hint="Restore them or run a search job.",
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


def _fetch(relation: Any, limits: Limits) -> tuple[pa.Table, bool]:
    """The rows, and whether they were cut at the size limit. What is fetched lies outside the database's memory limit, so it is fetched in
    pieces and no further than the limit."""
    if limits.result_bytes is None:
        return relation.to_arrow_table(), False
    reader = relation.to_arrow_reader(_BATCH)
    kept: list[pa.RecordBatch] = []
    size = 0
    for batch in reader:
        kept.append(batch)
        size += batch.nbytes
        if size > limits.result_bytes:
            rows = sum(b.num_rows for b in kept)
            over = size - limits.result_bytes
            fit = rows - max(1, -(-batch.num_rows * over // max(1, batch.nbytes)))
            # One row at least, however large: an answer without rows would look as if there were none.
            keep = max(1, min(fit, rows))
            more = keep < rows or next(reader, None) is not None
            return pa.Table.from_batches(kept, reader.schema).slice(0, keep), more
    return pa.Table.from_batches(kept, reader.schema), False


def _statement(compiled: Compiled, plan: RelationPlan, rows: int | None) -> str:
    head = f"WITH {', '.join(plan.ctes)} " if plan.ctes else ""
    tail = f" LIMIT {rows + 1}" if rows is not None else ""
    return f"{head}SELECT * FROM ({compiled.sql}\n) AS q{tail}"
