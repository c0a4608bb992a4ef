"""Search jobs and restores: long work over old rows, archived ones too, whose result is a table of its own.

A *search job* keeps the rows that a query of one table finds in ``NAME_SRCH``; a *restore* copies a table's archived rows of a range into
``NAME_RST``, which goes when it expires. Both go day by day through event time: a day's rows are one commit that carries the job's number and the
day's, so a job that a crash cut short goes on with the next day and doubles nothing. What a day needs of the archive is fetched and proven by
checksum first; one object that can't be had fails the job by name, it never gives a part as the whole.

As in Azure Monitor (learn.microsoft.com/azure/azure-monitor/logs/search-jobs) a found row's TimeGenerated is when the job ran, and
_OriginalTimeGenerated, _OriginalType and _OriginalItemId say what it was.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa
import structlog

from tocsin.access import Principal, require
from tocsin.base.errors import LakeError, QueryError, TocsinError, UsageError, did_you_mean
from tocsin.kql import ast, parse
from tocsin.lake import Lake, Snapshot
from tocsin.lake.archive import Archived
from tocsin.lake.engine import Limits, Window
from tocsin.lake.maintain import RESTORED
from tocsin.query import QueryService
from tocsin.query.service import check_scopes
from tocsin.state import ConflictError, NotFoundError, State
from tocsin.tables import INGESTION_TIME
from tocsin.workspace.jobmodel import Estimate, Job

__all__ = ["FOUND", "Estimate", "Job", "Jobs"]

_log = structlog.get_logger("tocsin.jobs")
FOUND = "_SRCH"
"""What names of tables end with that hold what a search job found."""
_KEY = "lake.jobs"
_KEPT = 500
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,60}")
_DAY = timedelta(days=1)
_TRIES = 100
_LEAST = timedelta(milliseconds=1)
_LOT_BYTES = 256 << 20
"""Bytes of result that are taken at once; a span that gives more is halved."""
_ORIGINAL = "_OriginalItemId, _OriginalTimeGenerated, _OriginalType"
_CAME = "_Came"
_ENDED = ("Succeeded", "Failed", "Cancelled", "Removed")


class Parts(Protocol):
    """The parts of the workspace that jobs need."""

    lake: Lake
    queries: QueryService
    state: State


class Jobs:
    """The jobs of one workspace, run one after the other in a thread of their own, or in the caller's by `run_pending`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._cancel: dict[str, threading.Event] = {}
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()

    # ---------------------------------------------------------------------------------------------- life

    def start(self) -> None:
        """Goes on with what a stop or crash left, and waits for more."""
        self._thread = threading.Thread(target=self._loop, name="tocsin-jobs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends after the day that is being done; the next start goes on."""
        self._stopping.set()
        self._wake.set()
        for event in list(self._cancel.values()):
            event.set()
        if self._thread is not None:
            self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self.run_pending()
                self.expire()
            except Exception:
                _log.exception("jobs.crashed")
            self._wake.wait(60.0)
            self._wake.clear()

    # ---------------------------------------------------------------------------------------------- what people ask

    def estimate(self, kind: str, text: str, start: datetime, end: datetime, *, by: Principal) -> Estimate:
        """What a job would read. `text` is a search's query or the table to restore. Raises what `search` and `restore` raise."""
        require(by, "jobs.run")
        table = self._table_of(text, by) if kind == "search" else self._restorable(text, by)
        days = _days(start, end)
        state = self._parts.lake.snapshot().tables.get(table)
        first, last = days[0][0].replace(tzinfo=None), days[-1][1].replace(tzinfo=None)
        live = (
            [f for f in (state.files if state else ()) if _overlaps(f.times, first, last)] if kind == "search" else []
        )
        cold = [e for e in self._parts.lake.archive.entries(table) if _overlaps(e.times, first, last)]
        return Estimate(
            table,
            len(days),
            len(live),
            sum(f.size for f in live),
            sum(f.rows for f in live),
            len(cold),
            sum(e.size for e in cold),
            sum(e.rows for e in cold),
        )

    def search(self, name: str, query: str, start: datetime, end: datetime, *, by: Principal) -> Job:
        """Queues a search job; its rows come into ``NAME_SRCH``.

        Raises ForbiddenError, KqlErrors, UsageError USE0034 for a query that isn't row by row over one table, USE0035 for a name or range that
        can't be, ConflictError when the table is there already.
        """
        require(by, "jobs.run")
        table = self._table_of(query, by)
        return self._queue("search", _target(name, FOUND), table, query, start, end, None, by)

    def restore(
        self, table: str, start: datetime, end: datetime, *, name: str = "", days: float = 7.0, by: Principal
    ) -> Job:
        """Queues a restore of archived rows into ``NAME_RST``, by default named as the table; it goes `days` after it was asked for."""
        require(by, "jobs.run")
        self._restorable(table, by)
        if not 0 < days <= 3650:
            raise UsageError("A restore stays for more than 0 and at most 3650 days.", code="USE0035")
        expires = self._now() + timedelta(days=days)
        return self._queue("restore", _target(name or table, RESTORED), table, "", start, end, expires, by)

    def listed(self, *, by: Principal) -> list[Job]:
        """All jobs, newest first, of tables that the principal may read."""
        require(by, "data.read")
        scopes = getattr(by, "table_scopes", None)
        return [j for j in reversed(self._all()) if scopes is None or j.table in scopes]

    def get(self, job_id: str, *, by: Principal) -> Job:
        """The job of that id. Raises NotFoundError."""
        for job in self.listed(by=by):
            if job.id == job_id:
                return job
        raise NotFoundError(f"There is no job {job_id}.")

    def cancel(self, job_id: str, *, by: Principal) -> Job:
        """Ends a job; what it found so far stays in its table. Raises ConflictError for one that has ended."""
        require(by, "jobs.run")
        job = self.get(job_id, by=by)
        if job.status in _ENDED:
            raise ConflictError(f"Job {job_id} has ended: {job.status}.")
        job = self._change(job_id, status="Cancelled", finished=self._now())
        if event := self._cancel.get(job_id):
            event.set()
        self._note(by, "job.cancel", job)
        return job

    def remove(self, job_id: str, *, by: Principal) -> Job:
        """Takes a job's rows away. Raises ConflictError for one that hasn't ended."""
        require(by, "jobs.run")
        job = self.get(job_id, by=by)
        if job.status not in _ENDED:
            raise ConflictError(f"Job {job_id} is still {job.status}.", hint="Cancel it first.")
        with self._turn:  # one that was cancelled may be at its last day
            self._parts.lake.drop_rows(job.target)
        job = self._change(job_id, status="Removed")
        self._note(by, "job.remove", job)
        return job

    def expire(self) -> list[Job]:
        """Takes away what restores brought whose time is over; gives them."""
        now = self._now()
        gone = [j for j in self._all() if j.expires is not None and j.expires <= now and j.status in _ENDED[:-1]]
        for job in gone:
            self._parts.lake.drop_rows(job.target)
            self._change(job.id, status="Removed")
            self._note(None, "job.expire", job)
        return gone

    # ---------------------------------------------------------------------------------------------- running

    def run_pending(self) -> None:
        """Runs what waits, oldest first, until nothing waits or `stop` is called."""
        while not self._stopping.is_set():
            waiting = [j for j in self._all() if j.status in ("Queued", "Running")]
            if not waiting:
                return
            with self._turn:
                self._run(waiting[0])

    def _run(self, job: Job) -> None:
        cancel = self._cancel.setdefault(job.id, threading.Event())
        try:
            self._parts.lake.settle()
            job = self._change(job.id, status="Running")
            for number, (start, end) in enumerate(_days(job.start, job.end), 1):
                if self._stopping.is_set() or job.status != "Running":
                    return
                if number > job.days_done:
                    rows, size = self._day(job, number, start, end, cancel)
                    job = self._change(job.id, days_done=number, rows=job.rows + rows, bytes_read=job.bytes_read + size)
            if job.status == "Running":
                self._change(job.id, status="Succeeded", finished=self._now())
        except TocsinError as error:
            if cancel.is_set():  # cancelled, or the process stops and the next goes on
                return
            _log.warning("job.failed", job=job.id, error=str(error))
            self._change(
                job.id,
                status="Failed",
                error=str(error),
                error_code=error.code,
                error_hint=error.hint,
                finished=self._now(),
            )
        finally:
            self._cancel.pop(job.id, None)
            self._parts.lake.archive.tidy()

    def _day(self, job: Job, number: int, start: datetime, end: datetime, cancel: threading.Event) -> tuple[int, int]:
        """A day's rows into the job's table, once; how many came and bytes read."""
        lake = self._parts.lake
        application = f"tocsin-job-{job.id}"
        first, last = start.replace(tzinfo=None), end.replace(tzinfo=None)
        snapshot, archived = self._moment(job.table)
        stored = snapshot.tables.get(job.table)
        cold = [e for e in archived if _overlaps(e.times, first, last)]
        files = [lake.archive.fetch(job.table, e) for e in cold]
        if stored is None or (job.kind == "restore" and not files):
            return 0, 0
        live = stored.files if job.kind == "search" else ()
        table = replace(stored, files=(*live, *files), archived=(), hot=lambda: None)
        view = Snapshot({job.table: table}, workspace=snapshot.workspace)
        lots = self._lots(job, view, start, end, cancel)
        count = lake.append_once(job.target, lots, application, number)
        return count, sum(f.size for f in (*live, *files) if _overlaps(f.times, first, last))

    def _moment(self, table: str) -> tuple[Snapshot, list[Archived]]:
        """A snapshot, and what it lists as archived: both of one moment, or a file that moves meanwhile would be in neither."""
        lake = self._parts.lake
        for _ in range(_TRIES):
            snapshot = lake.snapshot()
            stored = snapshot.tables.get(table)
            listed = [f.path for f in stored.archived] if stored is not None else []
            book = {e.key: e for e in lake.archive.entries(table)} if listed else {}
            if all(key in book for key in listed):
                return snapshot, [book[key] for key in listed]
            self._stopping.wait(0.05)  # retention or a purge has just taken some
        raise LakeError(
            f"What table {table} has in the archive changes all the time.", code="LAK0032", hint="Try again."
        )

    def _lots(
        self, job: Job, view: Snapshot, start: datetime, end: datetime, cancel: threading.Event
    ) -> Iterator[pa.Table]:
        text = _whole(job.table) if job.kind == "restore" else _originals(job.query)
        result = self._parts.queries.run(
            text,
            window=Window(start, end),
            limits=Limits(rows=None, seconds=None, result_bytes=_LOT_BYTES),
            now=job.created,
            cancel=cancel,
            snapshot=view,
        )
        if result.problems:
            raise result.problems[0]
        if not result.truncated:
            yield self._shaped(job, result.stored())
            return
        if end - start <= _LEAST:
            raise QueryError(
                f"A millisecond of {job.table} gives more than {_LOT_BYTES >> 20} MiB.",
                code="QRY0011",
                hint="Narrow the query.",
            )
        middle = start + (end - start) / 2
        yield from self._lots(job, view, start, middle, cancel)
        yield from self._lots(job, view, middle, end, cancel)

    def _shaped(self, job: Job, rows: pa.Table) -> pa.Table:
        if job.kind == "restore":
            fields = [f.with_name(INGESTION_TIME) if f.name == _CAME else f for f in rows.schema if f.name != "Type"]
            columns = [rows.column(f.name) for f in rows.schema if f.name != "Type"]
            return pa.Table.from_arrays(columns, schema=pa.schema(fields))
        kept = [n for n in rows.column_names if n not in ("TimeGenerated", INGESTION_TIME, "Type")]
        stamp = pa.repeat(
            pa.scalar(job.created.astimezone(UTC).replace(tzinfo=None), pa.timestamp("us")), rows.num_rows
        )
        return rows.select(kept).append_column("TimeGenerated", stamp).append_column(INGESTION_TIME, stamp)

    # ---------------------------------------------------------------------------------------------- inside

    def _queue(
        self,
        kind: str,
        target: str,
        table: str,
        query: str,
        start: datetime,
        end: datetime,
        expires: datetime | None,
        by: Principal,
    ) -> Job:
        days = _days(start, end)
        now = self._now()
        job = Job(
            uuid.uuid4().hex[:16], kind, target, table, query, days[0][0], days[-1][1], by.name, now,
            days=len(days), expires=expires,
        )  # fmt: skip
        taken = {j.target for j in self._all() if j.status != "Removed"}
        if target in taken or target in self._parts.lake.populated():
            raise ConflictError(f"There is a table {target} already.", hint="Take another name, or remove that job.")
        with self._parts.state.write() as unit:
            jobs = list(unit.kv.get(_KEY, []))
            unit.kv.set(_KEY, [*_recent(jobs), job.to_dict()])
        self._note(by, f"job.{kind}", job)
        self._wake.set()
        return job

    def _all(self) -> list[Job]:
        with self._parts.state.read() as unit:
            return [Job.from_dict(j) for j in unit.kv.get(_KEY, [])]

    def _change(self, job_id: str, **changes: Any) -> Job:
        """The job as it is afterwards. One that was cancelled meanwhile stays so."""
        with self._parts.state.write() as unit:
            jobs = [Job.from_dict(j) for j in unit.kv.get(_KEY, [])]
            at = next(n for n, j in enumerate(jobs) if j.id == job_id)
            if jobs[at].status in _ENDED and changes.get("status") not in (None, "Removed"):
                return jobs[at]
            jobs[at] = replace(jobs[at], **changes)
            unit.kv.set(_KEY, [j.to_dict() for j in jobs])
            return jobs[at]

    def _now(self) -> datetime:
        return self._parts.state.clock.now()

    def _table_of(self, query: str, by: Principal) -> str:
        compiled = self._parts.queries.compile(query, self._now())
        if not compiled.per_row or compiled.more or compiled.volatile:
            raise UsageError(
                "A search job takes a query that looks at each row of one table by itself.",
                code="USE0034",
                hint="where, extend, project, parse and mv-expand work; summarize, join, sort and take don't: run those on what the job found.",
            )
        (table,) = compiled.tables
        check_scopes(by, compiled.tables)
        self._known(table)
        return str(table)

    def _restorable(self, table: str, by: Principal) -> str:
        check_scopes(by, frozenset((table,)))
        self._known(table)
        if not self._parts.lake.archive.entries(table):
            raise UsageError(f"Nothing of {table} is archived, so nothing can be restored.", code="USE0035")
        return table

    def _known(self, table: str) -> None:
        tables = self._parts.lake.tables()
        if table not in tables:
            raise UsageError(
                f"There is no table {table!r} with rows here.", code="USE0035", hint=did_you_mean(table, tables)
            )

    def _note(self, by: Principal | None, action: str, job: Job) -> None:
        with self._parts.state.write() as unit:
            unit.audit.add(
                by.name if by is not None else "system:jobs",
                action,
                "table",
                job.target,
                detail={
                    "job": job.id, "table": job.table, "query": job.query,
                    "start": job.start.isoformat(), "end": job.end.isoformat(),
                },
                address=by.address if by is not None else "",
            )  # fmt: skip


def _recent(jobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The jobs without the oldest removed ones, when there are many."""
    over = max(0, len(jobs) - _KEPT)
    kept = []
    for job in jobs:
        if over and job["status"] == "Removed":
            over -= 1
        else:
            kept.append(job)
    return kept


def _target(name: str, suffix: str) -> str:
    base = name.removesuffix(suffix)
    if not _NAME.fullmatch(base):
        raise UsageError(
            f"{name!r} can't be the name of a job's table.",
            code="USE0035",
            hint="Use up to 60 letters, digits and underscores, a letter first.",
        )
    return base + suffix


def _days(start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The range as days (UTC), the first and the last cut to it."""
    start, end = (m.astimezone(UTC) if m.tzinfo else m.replace(tzinfo=UTC) for m in (start, end))
    if start >= end or end - start > timedelta(days=366 * 12):
        raise UsageError("The range must begin before it ends, and be at most twelve years long.", code="USE0035")
    found = []
    at = start
    while at < end:
        following = min(end, at.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY)
        found.append((at, following))
        at = following
    return found


def _overlaps(times: tuple[datetime, datetime] | None, start: datetime, end: datetime) -> bool:
    return times is None or (times[0] < end and times[1] >= start)


def _whole(table: str) -> str:
    # Hidden columns only come when they are named: a restored row says when it came and what it was.
    return f"['{table}'] | extend {_CAME} = {INGESTION_TIME}, _OriginalItemId = _ItemId"


def _originals(query: str) -> str:
    """The query with what a found row was, through every `project` and `project-keep` of it."""
    tree = parse(query)
    pipelines = [s.value for s in tree.statements if isinstance(s, ast.ExpressionStatement)]
    pieces: list[tuple[int, str]] = []
    for pipeline in pipelines:
        if isinstance(pipeline, ast.Pipeline):
            made = " | extend _OriginalItemId = _ItemId, _OriginalTimeGenerated = TimeGenerated, _OriginalType = Type"
            pieces.append((pipeline.source.span[1], made))
            kept = [
                o for o in pipeline.operators if isinstance(o, ast.Project) and o.keyword in ("project", "project-keep")
            ]
            pieces += [(o.span[1], f", {_ORIGINAL}") for o in kept]
    for at, text in sorted(pieces, reverse=True):
        query = query[:at] + text + query[at:]
    return query
