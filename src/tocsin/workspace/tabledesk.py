"""Tables as people see and keep them: figures, what is read of them, how long their rows stay, and what a change of that would take.

Nothing is changed unseen: `preview` says what goes and when. Days that become fewer wait for `lake.retention.undo_days` (as in Azure Monitor:
learn.microsoft.com/azure/azure-monitor/logs/data-retention-configure); a limit of bytes takes rows at the next look and can't be undone, so
whoever sets one names how many rows the preview said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from tocsin.access import Principal, require
from tocsin.base.errors import QueryError, TocsinError, UsageError, did_you_mean
from tocsin.lake import Lake, TableStats
from tocsin.lake.engine import Limits
from tocsin.lake.maintain import RESTORED
from tocsin.lake.retention import Book, evicted, shorter
from tocsin.lake.settings import TableRetention
from tocsin.query import QueryService
from tocsin.query.service import check_scopes
from tocsin.state import NotFoundError, State, text_of
from tocsin.tables import catalogue

__all__ = ["TableDesk"]

_RATE_SECONDS = 60.0
_RATE = Limits(rows=None, seconds=20.0)
_COUNT = Limits(rows=None, seconds=120.0)
_DAYS = 30
_ENDLESS = 1 << 62
"""More bytes than any disk has: a budget that takes nothing."""


class Parts(Protocol):
    """The parts of the workspace that the desk needs."""

    lake: Lake
    queries: QueryService
    state: State


class TableDesk:
    """Safe to use from many threads."""

    def __init__(
        self,
        parts: Parts,
        *,
        drift: Callable[[], Mapping[str, Mapping[str, int]]],
        readers: Callable[[str], Sequence[Mapping[str, str]]],
    ) -> None:
        """`drift` gives the columns that came and that no table has; `readers` the rules in force that read a table: kind, id, name."""
        self._parts = parts
        self._drift = drift
        self._readers = readers
        self._lock = threading.Lock()
        self._rates: dict[str, int] | None = None
        self._counted = float("-inf")

    # ---------------------------------------------------------------------------------------------- reading

    def listed(self, *, by: Principal) -> list[dict[str, Any]]:
        """Every table that holds rows, or has some in the archive, by name."""
        require(by, "data.read")
        stats = self._stats(by)  # first: what a row has that its table doesn't shows when the row is mapped
        book, drift, rates = self._parts.lake.book, self._drift(), self._hourly()
        return [self._shown(s, book, drift, rates) for s in stats]

    def get(self, table: str, *, by: Principal) -> dict[str, Any]:
        """One table with its rows by day of receipt and the rules that read it. Raises NotFoundError."""
        require(by, "data.read")
        found = next((s for s in self._stats(by) if s.table == table), None)
        if found is None:
            names = [s.table for s in self._stats(by)]
            raise NotFoundError(f"There is no table {table!r} with rows here.", hint=did_you_mean(table, names))
        lake, book = self._parts.lake, self._parts.lake.book
        general, own = lake.settings.retention, lake.retention.tables.get(table)
        return {
            **self._shown(found, book, self._drift(), self._hourly()),
            "usage": self._usage(table),
            "readers": [dict(r) for r in self._readers(table)],
            "own": own.model_dump() if own is not None else None,
            "all_days": general.days,
            "all_archive_days": general.archive_days,
            "undo_days": general.undo_days,
            "archive_configured": lake.archive.configured,
            "hold": book.hold,
        }

    def _stats(self, by: Principal) -> Iterable[TableStats]:
        scopes = getattr(by, "table_scopes", None)
        found = self._parts.lake.stats()
        return sorted((s for s in found if scopes is None or s.table in scopes), key=lambda s: s.table)

    def _shown(
        self, stats: TableStats, book: Book, drift: Mapping[str, Mapping[str, int]], rates: Mapping[str, int] | None
    ) -> dict[str, Any]:
        name, retention = stats.table, self._parts.lake.retention
        info = catalogue().info(name)
        first, last, received = (_utc(m) for m in (stats.first_event, stats.last_event, stats.last_received))
        return {
            "name": name,
            "category": info.category if info else "Custom",
            "rows": stats.rows,
            "bytes": stats.bytes,
            "first_event": text_of(first),
            "last_event": text_of(last),
            "last_received": text_of(received),
            "latency_seconds": round((received - last).total_seconds(), 3) if received and last else None,
            "rows_last_hour": None if rates is None else rates.get(name, 0),
            "new_columns": [{"name": c, "values": n} for c, n in sorted(drift.get(name, {}).items())],
            "tier": retention.tier_of(name),
            "days": retention.days_of(name),
            "archive_days": retention.archive_days_of(name),
            "bytes_limit": retention.tables[name].bytes if name in retention.tables else 0,
            "set_here": name in book.own,
            "waiting": self._waiting(name, book),
            "archived_rows": stats.archived_rows,
            "archived_bytes": stats.archived_bytes,
            "archived_days": len(stats.archived_days),
        }

    def _waiting(self, table: str, book: Book) -> dict[str, Any] | None:
        """The longer time that still holds, and until when."""
        term = book.shortened.get(table)
        if term is None:
            return None
        until = term.since + timedelta(days=self._parts.lake.settings.retention.undo_days)
        return {"days": term.days, "since": text_of(term.since), "until": text_of(until)}

    def _hourly(self) -> Mapping[str, int] | None:
        """Rows received in the last hour by table; None when they couldn't be counted in time. Counted once a minute at most."""
        with self._lock:
            now = self._parts.state.clock.monotonic()
            if now - self._counted < _RATE_SECONDS:
                return self._rates
            text = "union withsource=Of * | where ingestion_time() > ago(1h) | summarize Rows = count() by Of"
            try:
                rows = self._parts.queries.run(text, limits=_RATE).rows() if self._parts.lake.populated() else []
                self._rates = {str(of): int(count) for of, count in rows}
            except TocsinError:
                self._rates = None
            self._counted = self._parts.state.clock.monotonic()
            return self._rates

    def _usage(self, table: str) -> list[dict[str, Any]]:
        """Rows by day (UTC) of receipt, of the last 30 days that have some; none when they can't be counted in time."""
        text = (
            f"['{table}'] | where ingestion_time() >= startofday(ago({_DAYS - 1}d)) "
            "| summarize Rows = count() by Day = startofday(ingestion_time()) | order by Day asc"
        )
        try:
            found = self._parts.queries.run(text, limits=_RATE).rows()
        except TocsinError:
            return []
        return [{"day": day, "rows": count} for day, count in found]

    # ---------------------------------------------------------------------------------------------- keeping

    def preview(self, table: str, given: Mapping[str, Any], *, by: Principal) -> dict[str, Any]:
        """What `keep` would do; `given` are the members of a `TableRetention`.

        Raises NotFoundError, ForbiddenError, UsageError USE0037 for terms that can't be and USE0033 where there is no archive.
        """
        require(by, "settings.manage")
        terms = TableRetention.model_validate(given)
        self._check(table, terms, by)
        lake = self._parts.lake
        settings, now = lake.retention, self._parts.state.clock.now()
        wanted = settings.model_copy(update={"tables": {**settings.tables, table: terms}})
        days, archive_days = wanted.days_of(table), wanted.archive_days_of(table)
        in_force = lake.book.days.get(table, settings.days_of(table))
        waits = shorter(days, in_force)
        effect = now + timedelta(days=settings.undo_days) if waits else now
        if waits and (term := lake.book.shortened.get(table)) is not None:
            effect = max(now, term.since + timedelta(days=settings.undo_days))
        spent = self._over(table, terms.bytes, now)
        leaves_tier = terms.tier == "lake" and settings.tier_of(table) == "analytics"
        return {
            "table": table,
            "days": days,
            "shorter": waits,
            "effect": text_of(effect),
            "older_now": self._older(table, now, days),
            "older_then": self._older(table, effect, days),
            "archived_older_then": self._archived_older(table, effect, days),
            "rows_at_once": sum(f.rows for f in spent),
            "bytes_at_once": sum(f.size for f in spent),
            "to_archive": self._older(table, now, archive_days) if lake.archive.configured else 0,
            "stops": [dict(r) for r in self._readers(table) if r["kind"] == "rule"] if leaves_tier else [],
        }

    def keep(self, table: str, given: Mapping[str, Any], *, expected: int, by: Principal) -> dict[str, Any]:
        """Sets how long a table's rows stay. `expected` is how many rows the preview said go at once, without undo.

        Raises as `preview`; UsageError USE0032 when other than `expected` rows would go.
        """
        found = self.preview(table, given, by=by)
        if found["rows_at_once"] != expected:
            raise UsageError(
                f"{found['rows_at_once']:,} rows would go at once, not {expected:,}.",
                code="USE0032",
                hint="Look at the preview again. Nothing has changed.",
            )
        return self._set(table, TableRetention.model_validate(given), by)

    def reset(self, table: str, *, by: Principal) -> dict[str, Any]:
        """Lets the settings hold again for a table. Raises NotFoundError, ForbiddenError."""
        require(by, "settings.manage")
        self._known(table, by)
        return self._set(table, None, by)

    def _set(self, table: str, terms: TableRetention | None, by: Principal) -> dict[str, Any]:
        before = self._parts.lake.book.own.get(table)
        self._parts.lake.keep(table, terms)
        with self._parts.state.write() as unit:
            unit.audit.add(
                by.name,
                "lake.retention",
                "table",
                table,
                before=before.model_dump() if before else None,
                after=terms.model_dump() if terms else None,
                address=by.address,
            )
        return self.get(table, by=by)

    def _known(self, table: str, by: Principal) -> None:
        tables = self._parts.lake.tables()
        if table not in tables:
            raise NotFoundError(f"There is no table {table!r} with rows here.", hint=did_you_mean(table, tables))
        check_scopes(by, frozenset((table,)))

    def _check(self, table: str, terms: TableRetention, by: Principal) -> None:
        self._known(table, by)
        if table.endswith(RESTORED):
            raise UsageError(
                f"{table} holds restored rows, which go when the restore expires.",
                code="USE0037",
                hint="See it under Search & restore.",
            )
        if not terms.archive_days:
            return
        if not self._parts.lake.archive.configured:
            raise UsageError(
                "There is no archive to move rows to.", code="USE0033", hint="Set lake.archive.folder or .bucket."
            )
        days = self._parts.lake.retention.days_of(table) if terms.days is None else terms.days
        if days and terms.archive_days >= days:
            raise UsageError(
                f"Rows that go after {days} days can't be archived after {terms.archive_days}.",
                code="USE0037",
                hint="The archive comes before the end: give it fewer days.",
            )

    def _older(self, table: str, moment: datetime, days: int) -> int:
        """Rows on the disk and in memory that came in more than so many days before a moment."""
        if not days:
            return 0
        text = f"['{table}'] | where ingestion_time() < datetime({_text(moment - timedelta(days=days))}) | count"
        result = self._parts.queries.run(text, limits=_COUNT)
        broken = [p for p in result.problems if p.code != "LAK0033"]  # what is archived is counted for itself
        if broken:
            raise broken[0]
        if result.truncated and result.cut is not None:
            raise QueryError(f"The rows of {table} couldn't be counted: {result.cut.message}", code=result.cut.code)
        return int(result.rows()[0][0])

    def _archived_older(self, table: str, moment: datetime, days: int) -> int:
        """Rows of archived files all of which came in that early: files go whole."""
        if not days:
            return 0
        limit = (moment - timedelta(days=days)).astimezone(UTC).replace(tzinfo=None)
        entries = self._parts.lake.archive.entries(table)
        return sum(e.rows for e in entries if e.received is not None and e.received[1] < limit)

    def _over(self, table: str, limit: int, now: datetime) -> list[Any]:
        """Files that a limit of bytes would take at the next look."""
        state = self._parts.lake.snapshot().tables.get(table)
        if not limit or state is None:
            return []
        floor = (now - timedelta(hours=self._parts.lake.settings.retention.floor_hours)).astimezone(UTC)
        gone = evicted({table: state.files}, _ENDLESS, newest=floor.replace(tzinfo=None), limits={table: limit})
        return [file for _, file, _ in gone]


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
