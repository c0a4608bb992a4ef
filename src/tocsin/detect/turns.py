"""One rule's turns: which windows a job runs, what is new in them, and the ledger row that makes it durable.

A rule that only filters rows looks at every row once: its windows follow each other on ingestion time (`_TimeReceived`), so a row that comes
late is neither missed nor alerted twice. Any other rule (it counts, joins, has a threshold) is about stretches of event time: newly received
rows tell which windows of its grid they touch, each of those is looked at, late ones again, and results that were said already aren't said
again. A rule about absence looks back over what was received. The mark up to which a rule has looked, and what it said, are saved together
with the alerts of the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import pyarrow as pa

from tocsin.base.clock import Clock
from tocsin.detect.alert import Alert
from tocsin.detect.make import Row, Rows, assets_of, later, make_alerts, one_alert, row_entities, row_hash
from tocsin.detect.plan import Plan
from tocsin.detect.repeats import Repeats
from tocsin.detect.rule import Operator, Rule, RuleKind, Windows
from tocsin.detect.run import RULE_LIMITS, Queries, query_rows
from tocsin.detect.shared import Group, SharedScans
from tocsin.detect.windows import TouchedBuckets, index_at, moment_of, touch
from tocsin.lake.engine import Window
from tocsin.state.rules import LedgerRow
from tocsin.tables import INGESTION_TIME

__all__ = ["Job", "RuleLedger", "ScheduleSettings", "Turns", "aware"]


class RuleLedger(Protocol):
    """Where marks are durable."""

    def get(self, rule_id: str) -> LedgerRow:
        """The rule's row, an empty one for a rule that never ran."""

    def put(self, row: LedgerRow, alerts: Sequence[Alert]) -> None:
        """Saves the row and the alerts of the run in one transaction. What it raises leaves the mark where it was."""


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """How the scheduler works.

    `lag` is how far windows stay behind the clock where no watermark is given, so that a row received just now is visible. `delay` is how
    long a window of event time waits for its rows before its turn (Sentinel's five minutes); what comes later still is looked at again.
    `gap` is the least time between two eager runs of a rule over windows of event time. `failures` in a row of a kind that won't heal by
    itself (a query that no longer compiles) switch a rule off. `catch_up` is how many windows one job runs; what is left is due at
    once. `lookback` puts every rule into the plain look-back mode, see `Windows`. `share_least` is how many rules must be due together to look at a
    table together (`tocsin.detect.shared`; 0: never). `round_seconds` is how long workers go by one list of who is due before a new one is made.
    """

    poll: float = 2.0
    eager: bool = True
    lag: timedelta = timedelta(seconds=5)
    delay: timedelta = timedelta(minutes=5)
    gap: timedelta = timedelta(seconds=20)
    failures: int = 5
    retry_first: timedelta = timedelta(seconds=30)
    retry_most: timedelta = timedelta(hours=1)
    catch_up: int = 48
    workers: int = 2
    lookback: bool = False
    share_least: int = 3
    round_seconds: float = 10.0


_MONTH = timedelta(days=30)
_FAR = timedelta(days=1)
"""Rows dated further in the future than that are looked at when they come: their window's turn is too far away."""


@dataclass(frozen=True, slots=True)
class Job:
    """A rule that is due since `turn`. An `eager` run doesn't move the rule's turn. `lateness` is how much of its frequency it is overdue."""

    rule: Rule
    end: datetime
    eager: bool = False
    lateness: float = 0.0
    turn: datetime | None = None

    @property
    def fast(self) -> bool:
        """Whether it belongs to the near-real-time rules, which have a worker of their own."""
        return self.rule.fast


class Turns:
    """Runs the windows of rules that are due."""

    def __init__(
        self,
        queries: Queries,
        ledger: RuleLedger,
        *,
        clock: Clock,
        arrivals: Callable[[], Mapping[str, datetime]],
        settings: ScheduleSettings | None = None,
    ) -> None:
        self.settings = settings or ScheduleSettings()
        self._queries = queries
        self._ledger = ledger
        self._clock = clock
        self._arrivals = arrivals
        self._touched = TouchedBuckets(queries)
        self._repeats = Repeats(queries)
        self.shared = SharedScans(queries, least=self.settings.share_least)

    def _runs(self, plan: Plan, job: Job) -> Iterator[tuple[datetime, list[Alert], int]]:
        """Runs the windows of a job, each durable when it is given: its start, alerts and number of rows."""
        if plan.exact:
            if job.eager:
                yield self._eager(plan, job.end)
            else:
                yield from self._following(plan, job.end)
        elif plan.absence:
            yield from self._looking_back(plan, job.end)
        elif plan.rule.windows is Windows.LOOKBACK:
            yield from self._plain(plan, job.end)
        else:
            yield self._touched_windows(plan, job)

    # ------------------------------------------------------------------ windows that follow each other

    def _following(self, plan: Plan, end: datetime) -> Iterator[tuple[datetime, list[Alert], int]]:
        """Every window since the mark that has ended, each row in one of them."""
        rule = plan.rule
        mark = plan.row.window_end
        if mark is None:
            start = _first_moment(plan, end)
            yield start, *self._follow(plan, start, end)
            return
        for _ in range(self.settings.catch_up):
            mark = self._past_suppression(plan, mark, end)
            if end < mark + rule.frequency:
                return
            last = self._last_arrival(plan, end)
            quiet = bool(plan.tables) and not plan.uses_now and (last is None or last < mark - self.settings.lag)
            if quiet:
                # Nothing came since: no window up to now holds anything.
                mark += rule.frequency * ((end - mark) // rule.frequency)
                plan.seen.clear()
                plan.eager_end = mark
                self._commit(plan, mark, [])
                yield mark, [], 0
                return
            start, mark = mark, mark + rule.frequency
            yield start, *self._follow(plan, start, mark)

    def _follow(self, plan: Plan, start: datetime, end: datetime) -> tuple[list[Alert], int]:
        rule = plan.rule
        result = self._rows(plan, Window(start, end, INGESTION_TIME))
        fresh = plan.told.unsaid([r for r in result.rows if row_hash(r) not in plan.seen])
        # Some was said between turns: the rest of the window is what is new, not none of it a reason for silence.
        alerts = make_alerts(rule, replace(result, rows=fresh, total=None)) if fresh or not result.rows else []
        plan.told.say(fresh, end)
        plan.seen.clear()
        plan.eager_end = end
        plan.told.forget(end)
        self._commit(plan, end, alerts)
        return alerts, result.count

    def _past_suppression(self, plan: Plan, mark: datetime, end: datetime) -> datetime:
        """The mark after what suppression leaves out, which is noted as a blind window."""
        until = plan.row.suppressed_until
        if plan.rule.suppression is None or until is None or until <= mark:
            return mark
        until = min(until, end)
        if until <= mark:
            return mark
        if not plan.blind or plan.blind[-1][1] < until:
            plan.blind.append((mark, until))
        plan.eager_end = until
        return until

    def _eager(self, plan: Plan, end: datetime) -> tuple[datetime, list[Alert], int]:
        """Between turns: the first hit on each host or account now, the rest when the turn comes."""
        start = plan.eager_end or plan.row.window_end or end
        result = self._rows(plan, Window(start, end, INGESTION_TIME))
        alerts = self._first_hits(plan, result)
        plan.eager_end = end
        if alerts:
            self._commit(plan, None, alerts)
        return start, alerts, result.count

    def _first_hits(self, plan: Plan, result: Rows) -> list[Alert]:
        rule = plan.rule
        groups: dict[str, list[Row]] = {}
        for row in plan.told.unsaid(result.rows):
            key = row_hash(row) if rule.per_result else "assets:" + "\x1f".join(assets_of(row_entities(rule, row)))
            groups.setdefault(key, []).append(row)
        alerts = []
        for key, rows in groups.items():
            if key in plan.seen:
                continue
            plan.seen[key] = result.end
            plan.seen.update((row_hash(r), result.end) for r in rows)
            plan.told.say(rows, result.end)
            alerts.append(one_alert(rule, rows, replace(result, rows=rows, total=None)))
        return alerts

    # ------------------------------------------------------------------ windows of event time

    def _touched_windows(self, plan: Plan, job: Job) -> tuple[datetime, list[Alert], int]:
        """The windows that have their turn, those that late rows touched, and in an eager run those that still fill."""
        rule, step, end = plan.rule, plan.rule.frequency, job.end
        ripe = index_at(end - self.settings.delay, step)
        if not job.eager and plan.row.window_end is not None:
            plan.looked = self._past_suppression(plan, plan.looked or plan.row.window_end, end)
        first = plan.ripe is None
        if plan.ripe is None:
            plan.ripe, plan.looked = ripe - 1, _first_moment(plan, end)
            plan.waiting.add(ripe)
        self._learn(plan, end)
        filling: set[int] = set()
        far = index_at(later(end, _FAR), step)
        if job.eager or first:
            filling = {i for i in plan.waiting if i > ripe}
        filling |= {i for i in plan.waiting if i > far}
        plan.waiting -= {i for i in plan.waiting if i > far}
        ready = {i for i in plan.waiting if i <= ripe}
        if plan.uses_now and plan.reach is not None:
            low = max(plan.ripe + 1, ripe - self.settings.catch_up)
            if rule.suppression is not None and plan.row.suppressed_until is not None:
                low = max(
                    low, index_at(plan.row.suppressed_until, step) + 1
                )  # those before would say what was left out
            ready |= set(range(low, min(ripe, plan.reach) + 1))
        if job.eager:
            ready = set()
        chosen = sorted(ready | plan.late)[: self.settings.catch_up]
        alerts: list[Alert] = []
        count = 0
        start = end
        for index in sorted({*chosen, *filling}):
            at = moment_of(index, step)
            start = later(at, -rule.period)
            made, rows = self._window(plan, at, end)
            alerts.extend(made)
            count += rows
        plan.late -= set(chosen)
        if job.eager:
            plan.eager_at = self._clock.now()
            if alerts:
                self._commit(plan, None, alerts)
            return start, alerts, count
        left = ready - set(chosen)
        plan.waiting -= set(chosen)
        plan.late |= left  # more than one job's worth: the next one's, at once
        plan.waiting -= left
        plan.ripe = max(plan.ripe, ripe)
        plan.told.forget(end)
        self._commit(plan, end, alerts)
        return start, alerts, count

    def _learn(self, plan: Plan, end: datetime) -> None:
        """Which windows were touched by what was received since."""
        since = plan.looked
        assert since is not None
        assert plan.ripe is not None
        if since >= end:
            return
        last = self._last_arrival(plan, end)
        if last is not None and last >= since - self.settings.lag:
            rule = plan.rule
            buckets = {b for t in sorted(plan.tables) for b in self._touched.get(t, since, end)}
            touched = touch(buckets, rule.frequency, rule.period)
            plan.waiting |= {i for i in touched.newest if i > plan.ripe}
            late = {i for i in touched.every if i <= plan.ripe}
            plan.late |= _thinned(late, -(-rule.period // rule.frequency), self.settings.catch_up)
            near = index_at(later(end, _FAR), rule.frequency)
            plan.reach = max([plan.reach or 0, *(i for i in touched.every if i <= near)])
        plan.looked = end

    def _window(self, plan: Plan, at: datetime, now: datetime) -> tuple[list[Alert], int]:
        """One window of event time: what wasn't said of it yet."""
        rule = plan.rule
        result = self._rows(plan, Window(later(at, -rule.period), at), until=now)
        if not rule.operator.holds(result.count, rule.threshold):
            return [], result.count
        before = plan.told.copy()
        fresh = plan.told.fresh(rule, result.rows, at, now, plan.shape)
        if not fresh:
            return [], result.count
        if plan.shape.groups or rule.threshold:
            window = Window(later(at, -rule.period), at)
            once = self._repeats.without(sorted(plan.tables), window, now)
            if once is not None:
                result = self._rows(plan, window, relations=once)
                plan.told = before
                if not rule.operator.holds(result.count, rule.threshold):
                    return [], result.count
                fresh = plan.told.fresh(rule, result.rows, at, now, plan.shape)
                if not fresh:
                    return [], result.count
        # The threshold held for the whole result; what is new in it is what the alert is about.
        told = replace(rule, operator=Operator.GREATER, threshold=0)
        return make_alerts(told, replace(result, rows=fresh, total=None, said=now)), result.count

    # ------------------------------------------------------------------ looking back

    def _looking_back(self, plan: Plan, end: datetime) -> Iterator[tuple[datetime, list[Alert], int]]:
        """A rule about few or no results: what was received in its period, at each of its turns."""
        rule, mark = plan.rule, plan.row.window_end
        for at in self._turns(mark, end, rule.frequency):
            if mark is not None and plan.row.suppressed_until is not None and at < plan.row.suppressed_until:
                self._past_suppression(plan, plan.row.window_end or at, at)
                self._commit(plan, at, [])
                continue
            window = Window(later(at, -rule.period), at, INGESTION_TIME)
            result = self._rows(plan, window)
            alerts: list[Alert] = []
            if rule.operator.holds(result.count, rule.threshold):
                fresh = plan.told.fresh(rule, result.rows, at, at, plan.shape)
                if fresh or not result.rows:
                    told = replace(rule, operator=Operator.NOT_EQUAL, threshold=-1)
                    alerts = make_alerts(told, replace(result, rows=fresh, total=None))
            plan.told.forget(at)
            self._commit(plan, at, alerts)
            yield later(at, -rule.period), alerts, result.count

    def _plain(self, plan: Plan, end: datetime) -> Iterator[tuple[datetime, list[Alert], int]]:
        """Sentinel's own windows: events of the last period by their time, the delay late, whatever was said before."""
        rule, step = plan.rule, plan.rule.frequency
        ripe = index_at(end - self.settings.delay, step)
        first = plan.ripe + 1 if plan.ripe is not None else ripe
        for index in range(max(first, ripe - self.settings.catch_up), ripe + 1):
            at = moment_of(index, step)
            plan.ripe = index
            if plan.row.suppressed_until is not None and at < plan.row.suppressed_until:
                self._past_suppression(plan, plan.row.window_end or at, at)
                self._commit(plan, end, [])
                continue
            result = self._rows(plan, Window(later(at, -rule.period), at), until=end)
            alerts = make_alerts(rule, replace(result, said=end, again=True))
            self._commit(plan, end, alerts)
            yield later(at, -rule.period), alerts, result.count
        if first > ripe:
            self._commit(plan, end, [])

    def _turns(self, mark: datetime | None, end: datetime, step: timedelta) -> list[datetime]:
        if mark is None:
            return [end]
        turns = (end - mark) // step
        return [mark + step * (i + 1) for i in range(max(0, turns - self.settings.catch_up), turns)]

    def _last_arrival(self, plan: Plan, end: datetime) -> datetime | None:
        last = max((m for t, m in self._arrivals().items() if t in plan.tables), default=None)
        return aware(last, end) if last is not None else None

    def _rows(
        self,
        plan: Plan,
        window: Window,
        *,
        until: datetime | None = None,
        relations: Mapping[str, pa.Table] | None = None,
    ) -> Rows:
        """The rows of the rule's query over a window. What was received before `until` counts, by default all that was before its end."""
        known = until or window.end
        if relations is None and known is not None and self.shared.nothing(plan.rule.fast, plan, window, known):
            return Rows([], plan.tables, window.start, window.end or known)
        rule = replace(plan.rule, query=plan.query) if plan.query != plan.rule.query else plan.rule
        return query_rows(rule, self._queries, window, limits=RULE_LIMITS, tables=plan.tables, relations=relations)

    @staticmethod
    def group(plan: Plan, job: Job) -> Group:
        """The rules that look at the same windows as this one in this job."""
        rule, mark = plan.rule, plan.row.window_end
        if plan.exact and job.eager:
            return Group("eager", (plan.eager_end or mark,))
        if plan.exact:
            return Group("turn", (mark, rule.frequency))
        if plan.absence:
            return Group("back", (mark, rule.frequency, rule.period))
        return Group("event", (rule.frequency, rule.period))

    # ------------------------------------------------------------------ what is durable

    def _commit(self, plan: Plan, end: datetime | None, alerts: Sequence[Alert]) -> None:
        """Saves mark and alerts; `end` is None for an eager run, which leaves the mark."""
        row = plan.row
        suppression = plan.rule.suppression
        plan.lasting = 0
        mark = end if end is not None else row.window_end
        made = replace(
            row,
            window_end=mark,
            suppressed_until=later(mark, suppression)
            if suppression is not None and alerts and mark is not None
            else row.suppressed_until,
            last_run=self._clock.now(),
            last_status="Success",
            last_error=None,
            failures=0,
            runs=row.runs + 1,
            alerts=row.alerts + len(alerts),
            payload=plan.payload(),
        )
        self._ledger.put(made, alerts)
        plan.row = made
        plan.retry_at = None


def _first_moment(plan: Plan, end: datetime) -> datetime:
    """From when on a rule looks that has never run: as it would have when it was due for the first time, whatever failed since."""
    return later(plan.begun or end, -_first_look(plan.rule))


def _first_look(rule: Rule) -> timedelta:
    """How far a rule looks back when it first runs. A custom detection looks over a month then (Defender's documented behaviour)."""
    back = max(rule.period, rule.frequency)
    return max(back, _MONTH) if rule.kind is RuleKind.DEFENDER else back


def _thinned(indexes: set[int], overlap: int, most: int) -> set[int]:
    """So many windows that no row is left out: where more than `most` overlap, some of them do."""
    if len(indexes) <= most or overlap < 2:
        return indexes
    every = min(overlap // 2, -(-len(indexes) // most))
    ordered = sorted(indexes)
    return {*ordered[:: max(every, 1)], ordered[-1]}


def aware(value: datetime, like: datetime) -> datetime:
    """The lake tells naive UTC instants."""
    return value.replace(tzinfo=like.tzinfo) if value.tzinfo is None else value
