"""Runs rules over stored rows on the data's own time: `tocsin scan`, and a rule's back-run when it is saved.

A rule that only filters rows runs once over everything. Any other runs window after window as it would have run live, stepping by its
frequency from the first event, but only where a window's newest step holds rows of a table that it reads, and the window those rows without
which the query gives none (`narrow`). Rows that overlapping windows find again are taken once, and rows of a rule on the same hosts and
accounts within its period form one alert: five thousand rows of a port scan are one alert with a count, not five thousand alerts.
Suppression isn't applied: nothing is to be hidden from an investigator.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.base.errors import DetectError, Place, TocsinError
from tocsin.detect.alert import Alert
from tocsin.detect.make import (
    EVIDENCE_ROWS,
    LAST_MOMENT,
    Row,
    Rows,
    assets_of,
    later,
    one_alert,
    row_entities,
    row_hash,
    row_times,
)
from tocsin.detect.narrow import Filter, necessary
from tocsin.detect.recent import without_recency
from tocsin.detect.rule import Operator, Rule, RuleKind
from tocsin.detect.run import Queries, defect, query_rows, rule_error, stored_tables
from tocsin.detect.windows import BUCKET, EPOCH, IN_BUCKETS
from tocsin.lake.engine import Limits, Window

__all__ = ["BackfillSettings", "run_over"]


@dataclass(frozen=True, slots=True)
class BackfillSettings:
    """Bounds of one back-run.

    `rows` is how many rows of one query are looked at, `alerts` how many alerts one rule may raise, `windows` how many windows one rule
    is run over before the steps grow. `burst` is the least time within which rows of a rule on the same assets are one alert.
    """

    rows: int = 50_000
    alerts: int = 500
    windows: int = 2_000
    burst: timedelta = timedelta(hours=1)
    seconds: float = 300.0


_TICK = timedelta(microseconds=1)
_WORTH_NARROWING = 3
"""Windows above which it pays to ask first which of them can hold anything."""
_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*\Z")


def run_over(
    rules: Sequence[Rule],
    queries: Queries,
    first: datetime,
    last: datetime,
    *,
    errors: list[DetectError] | None = None,
    progress: Callable[[Rule, int], None] | None = None,
    cancel: threading.Event | None = None,
    settings: BackfillSettings | None = None,
) -> list[Alert]:
    """The alerts of every KQL rule over the events from `first` to `last` (both included), by time.

    Disabled and Sigma rules are left out. A rule that fails adds to `errors` and the others go on; with no list given, the failure
    is raised. `progress` is called after each rule with the number of its alerts.
    """
    run = _Backfill(queries, _utc(first), _utc(last), settings or BackfillSettings(), cancel)
    alerts: list[Alert] = []
    for rule in rules:
        if not rule.enabled or rule.kind is RuleKind.SIGMA:
            continue
        if cancel is not None and cancel.is_set():
            break
        try:
            found = run.rule(rule)
        except Exception as error:
            if errors is None:
                raise
            errors.append(error if isinstance(error, DetectError) else defect(rule, error))
            found = []
        if errors is not None:
            errors.extend(run.notes)
        run.notes.clear()
        alerts.extend(found)
        if progress is not None:
            progress(rule, len(found))
    return sorted(alerts, key=lambda a: (a.time, a.id))


@dataclass(slots=True)
class _Burst:
    """Rows of a rule on the same assets, close in time."""

    rows: list[Row]
    count: int
    first: datetime
    last: datetime
    start: datetime | None


@dataclass(slots=True)
class _Backfill:
    queries: Queries
    first: datetime
    last: datetime
    settings: BackfillSettings
    cancel: threading.Event | None
    occupied: dict[str, list[datetime]] = field(default_factory=dict)
    notes: list[DetectError] = field(default_factory=list)

    def rule(self, rule: Rule) -> list[Alert]:
        try:
            compiled = self.queries.compile(rule.query, later(self.last, _TICK))
            tables = stored_tables(compiled)
            filled = [t for t in sorted(tables) if self._buckets(t)]
        except DetectError:
            raise
        except TocsinError as error:
            raise rule_error(rule, error) from error
        if tables and not filled:
            return []
        whole = self._whole(rule, compiled)
        bursts = self._once(whole, tables) if whole is not None else self._windows(rule, tables, filled)
        if len(bursts) > self.settings.alerts:
            bursts = self._too_many(rule, bursts)
        return [self._alert(rule, burst, tables) for burst in bursts]

    # ------------------------------------------------------------------ one pass

    def _whole(self, rule: Rule, compiled: Any) -> Rule | None:
        """The rule in the form in which one pass over all rows says the same as its runs; None where there is none."""
        if rule.operator is not Operator.GREATER or rule.threshold != 0:
            return None
        if compiled.row_wise:
            return rule
        query = without_recency(rule.query, rule.frequency) if compiled.uses_now else None
        if query is None:
            return None
        try:
            again = self.queries.compile(query, later(self.last, _TICK))
        except TocsinError:
            return None
        return replace(rule, query=query) if again.row_wise else None

    def _once(self, rule: Rule, tables: frozenset[str]) -> list[_Burst]:
        result = self._query(rule, self._all(), tables)
        span = max(rule.period, self.settings.burst)
        timed: list[tuple[datetime, int, Row]] = []
        for index, row in enumerate(result.rows):
            times = row_times(row, result)
            timed.append((times[0] if times else self.first, index, row))
        timed.sort(key=lambda t: t[:2])
        open_bursts: dict[tuple[str, ...], _Burst] = {}
        bursts: list[_Burst] = []
        for at, _, row in timed:
            key = assets_of(row_entities(rule, row))
            burst = open_bursts.get(key)
            if burst is None or at - burst.first > span:
                burst = open_bursts[key] = _Burst([row], 1, at, at, None)
                bursts.append(burst)
                continue
            burst.count += 1
            burst.last = at
            if len(burst.rows) < EVIDENCE_ROWS:
                burst.rows.append(row)
        return bursts

    # ------------------------------------------------------------------ window after window

    def _windows(self, rule: Rule, tables: frozenset[str], filled: Sequence[str]) -> list[_Burst]:
        seen: dict[str, datetime] = {}  # row → end of the window that saw it last
        open_bursts: dict[tuple[str, ...], tuple[_Burst, datetime]] = {}
        bursts: list[_Burst] = []
        for end in self._ends(rule, filled):
            if self.cancel is not None and self.cancel.is_set():
                break
            start = later(end, -rule.period)
            window = Window(start, _open_end(end))
            result = self._query(rule, window, tables)
            if not rule.operator.holds(result.count, rule.threshold):
                continue
            if not result.rows:
                bursts.append(_Burst([], 0, start, end, start))
                continue
            for row in result.rows:
                digest = row_hash(row)
                before, seen[digest] = seen.get(digest), end
                if before is not None and before > start:
                    continue  # found again by a window that overlaps
                times = row_times(row, result) or (max(later(end, -rule.frequency), self.first), min(end, self.last))
                key = assets_of(row_entities(rule, row))
                found = open_bursts.get(key)
                # The window overlaps the one in which the assets were last seen: what grows there is the same story.
                if found is not None and found[1] > start:
                    burst = found[0]
                    burst.count += 1
                    burst.first, burst.last = min(burst.first, times[0]), max(burst.last, times[-1])
                    if len(burst.rows) < EVIDENCE_ROWS:
                        burst.rows.append(row)
                else:
                    burst = _Burst([row], 1, times[0], times[-1], start)
                    bursts.append(burst)
                open_bursts[key] = (burst, end)
        return bursts

    def _ends(self, rule: Rule, filled: Sequence[str]) -> list[datetime]:
        """The windows' ends, first to last: steps of the frequency from the first event, those whose newest step holds rows."""
        anchor = _floor(self.first)
        step = rule.frequency
        absence = rule.operator is not Operator.GREATER
        steps = (self.last - anchor) // step + 1
        if absence or not filled:
            wanted: set[int] = set(range(min(steps, self.settings.windows * 4))) if absence else {steps - 1}
        else:
            wanted = set()
            for table in filled:
                for bucket in self._buckets(table):
                    low = max(0, (bucket - anchor) // step)
                    high = max(0, (min(later(bucket, BUCKET - _TICK), self.last) - anchor) // step)
                    wanted.update(range(low, high + 1))
        ordered = sorted(wanted)
        if not absence and len(ordered) > _WORTH_NARROWING:
            needed = self._needed(rule)
            ordered = [i for i in ordered if _may_hold(needed, later(anchor, step * (i + 1)), rule.period)]
        if len(ordered) > self.settings.windows:
            every = -(-len(ordered) // self.settings.windows)
            if rule.period >= step * every:
                # Windows overlap enough that wider steps still look at every row.
                self._note(
                    rule, f"{len(ordered):,} windows hold rows; every {every}th was run, each still {rule.period} long."
                )
                ordered = sorted({*ordered[every - 1 :: every], ordered[-1]})
            else:
                self._note(rule, f"{len(ordered):,} windows hold rows; all were run, which takes long.")
        return [later(anchor, step * (i + 1)) for i in ordered]

    def _all(self) -> Window:
        return Window(self.first, _open_end(later(self.last, _TICK)))

    def _buckets(self, table: str) -> list[datetime]:
        """The five-minute buckets in which the table holds rows."""
        known = self.occupied.get(table)
        if known is None:
            known = self.occupied[table] = self._buckets_of(table if _PLAIN_NAME.match(table) else f"['{table}']")
        return known

    def _buckets_of(self, text: str) -> list[datetime]:
        result = self.queries.run(
            f"{text}{IN_BUCKETS}",
            window=self._all(),
            now=later(self.last, _TICK),
            limits=Limits(rows=2_000_000, seconds=self.settings.seconds, result_bytes=None),
        )
        stamps = result.table.column(0).to_pylist()
        return sorted(_utc(s) for s in stamps if isinstance(s, datetime))

    def _needed(self, rule: Rule) -> list[list[datetime]]:
        """Lists of buckets of each of which one must lie, at least in part, in a window in which the rule finds anything."""
        found = []
        for alternatives in necessary(rule.query):
            buckets: set[datetime] = set()
            for choice in alternatives:
                text = self._askable(choice)
                if text is None:
                    break
                buckets.update(self._buckets_of(text))
            else:
                found.append(sorted(buckets))
        return found

    def _askable(self, choice: Filter) -> str | None:
        """The first query of the filter that may be asked of all rows at once: it looks at each row alone, and not at the clock."""
        for text in choice.texts:
            try:
                compiled = self.queries.compile(text, later(self.last, _TICK))
                if compiled.row_wise and not compiled.uses_now and compiled.tables == {choice.table}:
                    self.queries.compile(f"{text}{IN_BUCKETS}", later(self.last, _TICK))
                    return text
            except TocsinError:
                continue
        return None

    # ------------------------------------------------------------------ shared

    def _query(self, rule: Rule, window: Window, tables: frozenset[str]) -> Rows:
        limits = Limits(rows=self.settings.rows, seconds=self.settings.seconds, result_bytes=512 * 1024 * 1024)
        result = query_rows(rule, self.queries, window, limits=limits, tables=tables)
        if result.truncated:
            self._note(
                rule,
                f"More than {self.settings.rows:,} rows match between {window.start} and {window.end}; the rest wasn't looked at.",
            )
        return result

    def _note(self, rule: Rule, text: str) -> None:
        place = Place(str(rule.path)) if rule.path else Place(rule.id)
        self.notes.append(DetectError(f"The rule '{rule.name}': {text}", code="DET0006", place=place))

    def _too_many(self, rule: Rule, bursts: list[_Burst]) -> list[_Burst]:
        """The first ones, and one that stands for all others."""
        keep = self.settings.alerts - 1
        rest = bursts[keep:]
        rows = [row for burst in rest for row in burst.rows[:1]][:EVIDENCE_ROWS]
        summary = _Burst(
            rows, sum(b.count for b in rest), min(b.first for b in rest), max(b.last for b in rest), rest[0].start
        )
        self._note(rule, f"{len(bursts):,} alerts; the last {len(rest):,} are one.")
        return [*bursts[:keep], summary]

    def _alert(self, rule: Rule, burst: _Burst, tables: frozenset[str]) -> Alert:
        created = max(burst.last, burst.first)
        return one_alert(
            rule,
            burst.rows,
            Rows(burst.rows, tables, burst.start, created, burst.count),
            times=(burst.first, burst.last),
        )


def _may_hold(needed: Sequence[Sequence[datetime]], end: datetime, period: timedelta) -> bool:
    """True when the window that ends there holds a part of a bucket of every list."""
    start = later(end, -period)
    for buckets in needed:
        # The last bucket that begins before the end: it is the one that may still reach into the window.
        at = bisect_left(buckets, end) - 1
        if at < 0 or later(buckets[at], BUCKET) <= start:
            return False
    return True


def _open_end(end: datetime) -> datetime | None:
    """A window's end; None, for no end, where time itself ends: a half-open window would leave the last instant out."""
    return None if end == LAST_MOMENT else end


def _floor(moment: datetime) -> datetime:
    """The start of its five-minute bucket."""
    return EPOCH + ((moment - EPOCH) // BUCKET) * BUCKET


def _utc(moment: Any) -> datetime:
    assert isinstance(moment, datetime)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
