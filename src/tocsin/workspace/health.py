"""What Tocsin tells of its sources and transforms as rows: TocsinHealth each interval and at each change, Usage each hour."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from tocsin.base.clock import Clock
from tocsin.base.errors import TocsinError
from tocsin.incidents.pace import Slow
from tocsin.ingest.pipeline import Intake, SourceState
from tocsin.ingest.transforms import Transform
from tocsin.ingest.watch import Facts, Latencies
from tocsin.lake.engine import Window
from tocsin.query import QueryService
from tocsin.state import State, text_of
from tocsin.tables import INGESTION_TIME
from tocsin.tables.own import own
from tocsin.workspace.ownrows import OwnRows

__all__ = ["Health"]

_log = structlog.get_logger("tocsin.workspace.health")
_HEALTH, _USAGE = own("health"), own("usage")
_USAGE_OF = "_UsageOf"
"""The stored function that makes an hour's row of a table (pack core)."""
_USAGE_KEY = "usage:next"
_HOUR = timedelta(hours=1)
_BEHIND = timedelta(days=2)
"""Hours older than that aren't made up for after a long stop."""
_POLL = 1.0
_STILL = 3600.0
"""Seconds after which a row tells once more of a source that is silent still."""


class _Stats(Protocol):
    @property
    def table(self) -> str: ...

    @property
    def last_received(self) -> datetime | None: ...


class _Lake(Protocol):
    def stats(self) -> Iterable[_Stats]: ...


class Health:
    """Watches, on a thread of its own. `tick` does one round: tests call it with a clock of theirs."""

    def __init__(
        self,
        intake: Intake,
        lake: _Lake,
        queries: QueryService,
        state: State,
        rows: OwnRows,
        *,
        clock: Clock,
        workspace_id: str,
        seconds: float,
    ) -> None:
        self._intake = intake
        self._lake = lake
        self._queries = queries
        self._state = state
        self._own = rows
        self._clock = clock
        self._id = workspace_id
        self._seconds = seconds
        self._last = clock.now()
        self._before: dict[tuple[str, str], tuple[int, int, int, Latencies]] = {}
        self._refused: dict[tuple[str, str], int] = {}
        self._told: dict[tuple[str, str], datetime] = {}
        self._states: dict[tuple[str, str], bool] = {}
        self._failing: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to watch."""
        self._thread = threading.Thread(target=self._run, name="tocsin-health", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_POLL):
            try:
                self.tick()
            except TocsinError as error:
                _log.error("health.failed", error=str(error))
            except Exception:  # what watches the others must not end by a defect of its own
                _log.exception("health.failed")

    def tick(self) -> None:
        """Writes what is due."""
        now = self._clock.now()
        if (now - self._last).total_seconds() >= self._seconds:
            self.sources(now)
        self.usage(now)

    # ------------------------------------------------------------------ TocsinHealth

    def sources(self, now: datetime) -> None:
        """A row for each source that sent something since the last time or fell silent, and for each change of a state."""
        with self._lock:
            self._own.write(_HEALTH.name, self._rows(now))

    def _rows(self, now: datetime) -> list[dict[str, Any]]:
        interval = max((now - self._last).total_seconds(), 0.001)
        self._last = now
        rows = []
        for facts in self._intake.watch.facts(now):
            key = (facts.kind, facts.name)
            events, size, errors, latencies = self._before.get(key, (0, 0, 0, Latencies()))
            self._before[key] = facts.events, facts.bytes, facts.errors, facts.latencies
            new = facts.events - events, facts.bytes - size, facts.errors - errors
            crossing = facts.threshold is not None and facts.silent - interval <= facts.threshold
            told = self._told.get(key)
            if any(new) or crossing or told is None or (now - told).total_seconds() >= _STILL:
                self._told[key] = now
                rows.append(self._source(facts, now, interval, new, facts.latencies.since(latencies)))
            rows += self._change(
                key,
                not facts.stale,
                now,
                f"silent for {facts.silent:.0f} s; it usually pauses for {facts.cadence or 0:.0f} s at most",
            )
        for source in self._intake.sources():
            rows += self._refusals(source, now, interval)
            if source.state in ("failing", "listening", "waiting"):
                reason = f"the receiver at {source.address or source.name} is {source.state}"
                rows += self._change(
                    (source.kind, source.address or source.name), source.state != "failing", now, reason
                )
        return rows

    def _source(
        self, facts: Facts, now: datetime, interval: float, new: tuple[int, int, int], latencies: Latencies
    ) -> dict[str, Any]:
        events, size, errors = new
        status, reason = "Success", ""
        if facts.stale:
            status, reason = "Failure", "Silent for longer than it ever is."
        elif errors:
            status, reason = "Partial success", f"{errors} pieces of input became dead letters."
        return self._row(
            now,
            "Source health",
            status,
            "Data connector",
            facts.kind,
            facts.name,
            description=f"{events} events in {interval:.0f} s; the last {facts.silent:.0f} s ago.",
            reason=reason,
            last=text_of(facts.last),
            interval=round(interval, 3),
            events=events,
            bytes=size,
            errors=errors,
            rate=round(events / interval, 3),
            silent=round(facts.silent, 3),
            cadence=facts.cadence,
            days=facts.days,
            threshold=facts.threshold,
            p50=latencies.percentile(0.5),
            p95=latencies.percentile(0.95),
            p99=latencies.percentile(0.99),
        )

    def _refusals(self, source: SourceState, now: datetime, interval: float) -> list[dict[str, Any]]:
        """A row of what a receiver didn't take since the last time, of one sender or address."""
        key = (source.kind, source.name)
        new = source.refused - self._refused.get(key, 0)
        self._refused[key] = source.refused
        if new <= 0:
            return []
        said: dict[str, Any] = {
            "description": f"{new} requests or connections were refused in {interval:.0f} s.",
            "reason": source.why,
            "errors": new,
            "interval": round(interval, 3),
        }
        return [self._row(now, "Input refused", "Failure", "Data connector", *key, **said)]

    def _change(self, key: tuple[str, str], good: bool, now: datetime, reason: str) -> list[dict[str, Any]]:
        """A row when a source or receiver fails or recovers; nothing for one that was well from the beginning."""
        if self._states.setdefault(key, True) == good:
            return []
        self._states[key] = good
        status, text = ("Success", "It sends again.") if good else ("Failure", f"It is {reason}.")
        said = {"description": text, "reason": "" if good else reason}
        return [self._row(now, "Data fetch status change", status, "Data connector", *key, **said)]

    def transform_failed(self, transform: Transform, reason: str, rows: int) -> None:
        """A row for a transform that failed on a batch: once a minute, however many batches there are."""
        now = self._clock.now()
        last = self._failing.get(transform.id)
        if not self._intake.healthy:
            return  # what a crash left in the log is read: nothing can be put behind it yet
        if last is not None and now - last < timedelta(minutes=1):
            return
        self._failing[transform.id] = now
        went = "became dead letters" if transform.on_error == "dead-letter" else "went on as they came"
        said: dict[str, Any] = {"description": f"{rows} rows {went}.", "reason": reason, "events": rows, "errors": rows}
        what = transform.stream, transform.name
        self._own.write(_HEALTH.name, [self._row(now, "Transform run", "Failure", "Transform", *what, **said)])

    def columns_came(self, table: str, columns: Mapping[str, int]) -> None:
        """A row for columns that came for a declared table which doesn't have them, once each since the start."""
        if not self._intake.healthy:
            return  # what a crash left in the log is read: nothing can be put behind it yet
        names = ", ".join(sorted(columns))
        text = f"Columns came that {table} doesn't have: {names}. Their values are in its overflow."
        said: dict[str, Any] = {"description": text, "reason": names[:1000], "events": sum(columns.values())}
        now = self._clock.now()
        row = self._row(now, "New columns", "Partial success", "Table", table, table, **said)
        self._own.write(_HEALTH.name, [row])

    def correlation_slow(self, slow: Slow) -> None:
        """A row for alerts that took long to join and to keep: once a minute, however many there are."""
        now = self._clock.now()
        last = self._failing.get("correlation")
        if (last is not None and now - last < timedelta(minutes=1)) or not self._intake.healthy:
            return
        self._failing["correlation"] = now
        text = f"{slow.alerts} alerts took {slow.seconds:.2f} s until they were in their incidents."
        reason = ", ".join(f"{name} {part:.2f} s" for name, part in slow.parts.items())
        said: dict[str, Any] = {"description": text, "reason": f"Mostly {slow.cause}: {reason}.", "events": slow.alerts}
        row = self._row(now, "Correlation", "Partial success", "Correlation", "Correlation", slow.cause, **said)
        self._own.write(_HEALTH.name, [row])

    def _row(
        self, now: datetime, operation: str, status: str, kind: str, what: str, name: str, **facts: Any
    ) -> dict[str, Any]:
        return _HEALTH.row(
            time=text_of(now),
            operation=operation,
            status=status,
            type=kind,
            kind=what,
            name=name,
            id=f"{what}/{name}",
            record=str(uuid.uuid4()),
            workspace=self._id,
            **facts,
        )

    # ------------------------------------------------------------------ Usage

    def usage(self, now: datetime) -> None:
        """The hours that are over, each once: what each table received."""
        with self._state.read() as unit:
            kept = unit.kv.get(_USAGE_KEY)
        this = _hour(now)
        start = datetime.fromisoformat(kept) if kept else this
        if not kept:
            self._next(start)
        start = max(start, _hour(now - _BEHIND))
        while start + _HOUR <= this and self._intake.watermark() >= start + _HOUR:
            if not self._own.write(_USAGE.name, self._used(start, start + _HOUR), request=f"usage:{start.isoformat()}"):
                return
            start += _HOUR
            self._next(start)

    def _used(self, start: datetime, end: datetime) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = []
        for stats in self._lake.stats():
            if stats.last_received is None or stats.last_received.replace(tzinfo=UTC) < start:
                continue
            text = f"{_USAGE_OF}(['{stats.table}'], '{stats.table}', datetime({start.isoformat()}), datetime({end.isoformat()}))"
            window = Window(start, end, column=INGESTION_TIME)
            rows += self._queries.run(text, window=window).dicts()
        return rows

    def _next(self, start: datetime) -> None:
        with self._state.write() as unit:
            unit.kv.set(_USAGE_KEY, start.isoformat())


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
