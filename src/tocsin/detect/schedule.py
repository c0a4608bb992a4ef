"""The live scheduler: which rule is due, over which window, and what is durable about it.

Windows lie on ingestion time (`_TimeReceived`), so a row that comes late is neither missed nor alerted twice. A rule that only filters rows looks at
every row once: its windows follow each other. Any other rule looks back over its period each time, and results that it gave already don't alert
again while their windows overlap. The mark up to which a rule has looked is saved together with the alerts of the window.

`eager` rules also run between their turns when rows of their tables arrive: the first hit on a host or account alerts within seconds, the
rest is said when the rule's turn comes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from tocsin.base.clock import Clock
from tocsin.base.errors import KqlError, TocsinError
from tocsin.detect.alert import Alert, iso
from tocsin.detect.make import Row, Rows, assets_of, make_alerts, moment, one_alert, row_entities, row_hash
from tocsin.detect.rule import Operator, Rule, RuleKind
from tocsin.detect.run import RULE_LIMITS, Queries, defect, query_rows, rule_error
from tocsin.lake.engine import Window
from tocsin.state.rules import LedgerRow
from tocsin.tables import INGESTION_TIME

__all__ = ["Job", "RuleLedger", "ScheduleSettings", "Scheduler"]

_log = structlog.get_logger("tocsin.detect.schedule")


class RuleLedger(Protocol):
    """Where marks are durable."""

    def get(self, rule_id: str) -> LedgerRow:
        """The rule's row, an empty one for a rule that never ran."""

    def put(self, row: LedgerRow, alerts: Sequence[Alert]) -> None:
        """Saves the row and the alerts of the run in one transaction. What it raises leaves the mark where it was."""


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """How the scheduler works.

    `lag` is how far windows stay behind the clock where no watermark is given, so that a row received just now is visible. `gap` is the least
    time between two eager runs of a rule that looks back over a period. `failures` in a row of a kind that won't heal by itself (a query
    that no longer compiles) switch a rule off.
    """

    poll: float = 2.0
    eager: bool = True
    lag: timedelta = timedelta(seconds=5)
    gap: timedelta = timedelta(seconds=20)
    failures: int = 5
    retry_first: timedelta = timedelta(seconds=30)
    retry_most: timedelta = timedelta(hours=1)
    catch_up: int = 24
    workers: int = 2


@dataclass(frozen=True, slots=True)
class Job:
    """A rule that is due. An `eager` run doesn't move the rule's turn."""

    rule: Rule
    end: datetime
    eager: bool = False


@dataclass(slots=True)
class _Plan:
    """What is known of a rule between runs. `tables` and the flags come from its compiled query."""

    rule: Rule
    row: LedgerRow
    tables: frozenset[str] = frozenset()
    row_wise: bool = False
    uses_now: bool = False
    compiled: bool = False
    retry_at: datetime | None = None
    eager_end: datetime | None = None
    eager_at: datetime | None = None
    seen: dict[str, datetime] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether windows follow each other instead of overlapping."""
        rule = self.rule
        plain = rule.operator is Operator.GREATER and rule.threshold == 0
        return rule.kind is RuleKind.NRT or (self.row_wise and plain)


class Scheduler:
    """Runs KQL rules live. Thread-safe; a rule never runs twice at the same time.

    `arrivals` gives the last ingestion time of each table that holds rows; `watermark` the instant before which every received row is
    visible. `health` gets a SentinelHealth-shaped row a run; `disabled` is told of rules that were switched off, with the reason.
    """

    def __init__(
        self,
        queries: Queries,
        ledger: RuleLedger,
        *,
        clock: Clock,
        arrivals: Callable[[], Mapping[str, datetime]],
        watermark: Callable[[], datetime] | None = None,
        health: Callable[[Mapping[str, Any]], None] | None = None,
        disabled: Callable[[Rule, str], None] | None = None,
        settings: ScheduleSettings | None = None,
    ) -> None:
        self.settings = settings or ScheduleSettings()
        self._queries = queries
        self._ledger = ledger
        self._clock = clock
        self._arrivals = arrivals
        self._watermark = watermark
        self._health = health or (lambda _: None)
        self._disabled = disabled or (lambda _rule, _reason: None)
        self._lock = threading.Lock()
        self._plans: dict[str, _Plan] = {}
        self._running: set[str] = set()

    # ------------------------------------------------------------------ rules

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Replaces the rules. A rule that is known keeps what it has seen unless its query changed; marks are read anew from the ledger."""
        plans: dict[str, _Plan] = {}
        with self._lock:
            known = dict(self._plans)
        for rule in rules:
            if rule.kind is RuleKind.SIGMA or not rule.enabled:
                continue
            row = self._ledger.get(rule.id)
            before = known.get(rule.id)
            if before is not None and before.rule.query == rule.query:
                plans[rule.id] = replace(before, rule=rule, row=row, compiled=False, retry_at=None)
            else:
                plans[rule.id] = _from_ledger(rule, row)
        with self._lock:
            self._plans = plans

    def rules(self) -> list[Rule]:
        """The rules that are scheduled."""
        with self._lock:
            return [p.rule for p in self._plans.values()]

    # ------------------------------------------------------------------ running

    def due(self) -> list[Job]:
        """What should run now, rules that wait longest first."""
        now = self._clock.now()
        end = self._watermark() if self._watermark is not None else now - self.settings.lag
        arrivals = {t: _utc(m, end) for t, m in self._arrivals().items()}
        with self._lock:
            plans = [p for p in self._plans.values() if p.rule.id not in self._running]
        jobs = [(p.row.window_end or end, j) for p in plans if (j := self._job(p, now, end, arrivals)) is not None]
        return [job for _, job in sorted(jobs, key=lambda pair: (pair[1].eager, pair[0], pair[1].rule.id))]

    def tick(self) -> list[Alert]:
        """Runs everything that is due, one after the other, and gives the alerts."""
        return [alert for job in self.due() for alert in self.execute(job)]

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set; running rules are waited for."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(self.settings.workers, thread_name_prefix="rules") as pool:
            while not stop.is_set():
                try:
                    jobs = await loop.run_in_executor(None, self.due)
                except TocsinError as error:
                    _log.error("schedule.failed", error=str(error))
                    jobs = []
                for job in jobs:
                    if self._start(job.rule.id):
                        pool.submit(self._guarded, job)
                await self._clock.sleep(self.settings.poll)

    def _guarded(self, job: Job) -> None:
        try:
            self._execute(job)
        except Exception as error:  # a defect in one rule's run must not end the others
            _log.exception("rule.crashed", rule=job.rule.id, error=str(error))
        finally:
            with self._lock:
                self._running.discard(job.rule.id)

    def _start(self, rule_id: str) -> bool:
        with self._lock:
            if rule_id in self._running:
                return False
            self._running.add(rule_id)
            return True

    def execute(self, job: Job) -> list[Alert]:
        """Runs one job; its failure is recorded, not raised. Nothing happens when the rule runs already."""
        if not self._start(job.rule.id):
            return []
        try:
            return self._execute(job)
        finally:
            with self._lock:
                self._running.discard(job.rule.id)

    # ------------------------------------------------------------------ when

    def _job(self, plan: _Plan, now: datetime, end: datetime, arrivals: Mapping[str, datetime]) -> Job | None:
        row = plan.row
        waits = (plan.retry_at, row.suppressed_until)
        if row.disabled_reason is not None or any(w is not None and w > now for w in waits):
            return None
        mark = row.window_end
        if mark is None:
            return Job(plan.rule, end)
        if end >= mark + plan.rule.frequency:
            return Job(plan.rule, end)
        eager = (
            self.settings.eager
            and plan.compiled
            and plan.rule.operator is Operator.GREATER
            and plan.rule.suppression is None
        )
        if not eager or not self._news(plan, plan.eager_end or mark, arrivals):
            return None
        rested = plan.exact or plan.eager_at is None or now >= plan.eager_at + self.settings.gap
        return Job(plan.rule, end, eager=True) if rested and end > (plan.eager_end or mark) else None

    @staticmethod
    def _news(plan: _Plan, since: datetime, arrivals: Mapping[str, datetime]) -> bool:
        return any(arrivals[t] >= since for t in plan.tables if t in arrivals)

    # ------------------------------------------------------------------ one run

    def _execute(self, job: Job) -> list[Alert]:
        with self._lock:
            plan = self._plans.get(job.rule.id)
        if plan is None:
            return []
        began = self._clock.monotonic()
        before = dict(plan.seen), plan.eager_end
        try:
            self._compile(plan, job.end)
            alerts, rows, start = (self._eager if job.eager else self._turn)(plan, job.end)
        except BaseException as error:
            # What wasn't saved wasn't said.
            plan.seen, plan.eager_end = before
            if not isinstance(error, Exception):
                raise
            self._failed(plan, job, error if isinstance(error, TocsinError) else defect(plan.rule, error))
            return []
        if job.eager and not alerts:
            return []
        self._report(
            plan.rule, job, start, "Success", rows=rows, alerts=alerts, seconds=self._clock.monotonic() - began
        )
        return alerts

    def _compile(self, plan: _Plan, now: datetime) -> None:
        if plan.compiled:
            return
        try:
            compiled = self._queries.compile(plan.rule.query, now)
        except TocsinError as error:
            raise rule_error(plan.rule, error) from error
        plan.tables, plan.row_wise = frozenset(compiled.tables), bool(compiled.row_wise)
        plan.uses_now, plan.compiled = bool(compiled.uses_now), True

    def _turn(self, plan: _Plan, end: datetime) -> tuple[list[Alert], int, datetime]:
        """The rule's turn: everything since its mark."""
        rule, mark = plan.rule, plan.row.window_end
        alerts: list[Alert] = []
        count = 0
        start = end - rule.period
        if plan.exact:
            start = mark if mark is not None else end - max(rule.period, rule.frequency)
            if plan.row.suppressed_until is not None and plan.row.suppressed_until > start:
                start = min(plan.row.suppressed_until, end)
            window = Window(start, end, INGESTION_TIME)
            result = Rows((), plan.tables, start, end) if self._idle(plan, end) else self._rows(plan, window)
            count = result.count
            fresh = [r for r in result.rows if row_hash(r) not in plan.seen]
            if fresh or not result.rows:
                alerts = make_alerts(rule, replace(result, rows=fresh, total=None))
            plan.seen.clear()
        else:
            for each in self._ends(plan, end):
                made, found = self._look_back(plan, each)
                alerts.extend(made)
                count += found
        plan.eager_end = end
        self._commit(plan, end, alerts)
        return alerts, count, start

    def _ends(self, plan: _Plan, end: datetime) -> list[datetime]:
        """The windows' ends of this turn: one, and after a pause those in between that hold rows."""
        mark, step = plan.row.window_end, plan.rule.frequency
        if mark is None:
            return [end]
        if self._idle(plan, end):
            return []
        last = self._last_arrival(plan, end)
        between: list[datetime] = []
        at = mark + step
        while at < end and (last is None or at <= last + step) and len(between) < self.settings.catch_up:
            between.append(at)
            at += step
        return [*between, end]

    def _last_arrival(self, plan: _Plan, end: datetime) -> datetime | None:
        last = max((m for t, m in self._arrivals().items() if t in plan.tables), default=None)
        return _utc(last, end) if last is not None else None

    def _idle(self, plan: _Plan, end: datetime) -> bool:
        """Whether nothing came since the mark, so that no window can hold what the last one didn't."""
        mark = plan.row.window_end
        if mark is None or not plan.tables or plan.uses_now or plan.rule.operator is not Operator.GREATER:
            return False
        last = self._last_arrival(plan, end)
        return last is None or last < mark - self.settings.lag

    def _look_back(self, plan: _Plan, end: datetime) -> tuple[list[Alert], int]:
        """A rule that looks back over its period: results that it gave already are left out."""
        rule = plan.rule
        result = self._rows(plan, Window(end - rule.period, end, INGESTION_TIME))
        if not rule.operator.holds(result.count, rule.threshold):
            return [], result.count
        if not result.rows:
            return make_alerts(rule, result), 0
        remembered = max(rule.frequency, min(rule.period, timedelta(days=1)))
        plan.seen = {k: m for k, m in plan.seen.items() if m > end - remembered}
        fresh = _fresh(plan, rule, result.rows, end)
        if not fresh:
            return [], result.count
        # The threshold held for the whole result; what is new in it is what the alert is about.
        told = replace(rule, operator=Operator.GREATER, threshold=0)
        return make_alerts(told, replace(result, rows=fresh, total=None)), result.count

    def _eager(self, plan: _Plan, end: datetime) -> tuple[list[Alert], int, datetime]:
        """Between turns: the first hit on each host or account now, the rest when the turn comes."""
        start = plan.eager_end or plan.row.window_end or end
        if not plan.exact:
            alerts, count = self._look_back(plan, end)
            plan.eager_at = self._clock.now()
        else:
            result = self._rows(plan, Window(start, end, INGESTION_TIME))
            count = result.count
            alerts = self._first_hits(plan, result)
        plan.eager_end = end
        if alerts:
            self._commit(plan, None, alerts)
        return alerts, count, start

    def _first_hits(self, plan: _Plan, result: Rows) -> list[Alert]:
        rule = plan.rule
        groups: dict[str, list[Row]] = {}
        for row in result.rows:
            key = row_hash(row) if rule.per_result else "assets:" + "\x1f".join(assets_of(row_entities(rule, row)))
            groups.setdefault(key, []).append(row)
        alerts = []
        for key, rows in groups.items():
            if key in plan.seen:
                continue
            plan.seen[key] = result.end
            plan.seen.update((row_hash(r), result.end) for r in rows)
            alerts.append(one_alert(rule, rows, replace(result, rows=rows, total=None)))
        return alerts

    def _rows(self, plan: _Plan, window: Window) -> Rows:
        return query_rows(plan.rule, self._queries, window, limits=RULE_LIMITS, tables=plan.tables)

    # ------------------------------------------------------------------ what is durable

    def _commit(self, plan: _Plan, end: datetime | None, alerts: Sequence[Alert]) -> None:
        """Saves mark and alerts; `end` is None for an eager run, which leaves the mark."""
        row = plan.row
        now = self._clock.now()
        suppression = plan.rule.suppression
        made = replace(
            row,
            window_end=end if end is not None else row.window_end,
            suppressed_until=now + suppression if suppression is not None and alerts else row.suppressed_until,
            last_run=now,
            last_status="Success",
            last_error=None,
            failures=0,
            runs=row.runs + 1,
            alerts=row.alerts + len(alerts),
            payload=_payload(plan),
        )
        self._ledger.put(made, alerts)
        plan.row = made
        plan.retry_at = None

    def _failed(self, plan: _Plan, job: Job, error: TocsinError) -> None:
        """Keeps the mark, so nothing is missed; tries again later; gives up on what won't heal by itself."""
        cause = error.__cause__ if isinstance(error.__cause__, TocsinError) else error
        lasting = isinstance(cause, KqlError)
        failures = plan.row.failures + 1
        reason = None
        if lasting and failures >= self.settings.failures:
            reason = f"{failures} runs in a row failed: {cause.code} {cause.message}"
        now = self._clock.now()
        wait = min(self.settings.retry_first * 2 ** min(failures - 1, 10), self.settings.retry_most)
        plan.retry_at, plan.compiled = now + wait, False
        made = replace(
            plan.row,
            last_run=now,
            last_status="Failure",
            last_error=str(error)[:4000],
            failures=failures,
            runs=plan.row.runs + 1,
            disabled_reason=reason,
        )
        self._ledger.put(made, ())
        plan.row = made
        self._report(plan.rule, job, job.end - plan.rule.period, "Failure", reason=str(cause), code=cause.code)
        if reason is not None:
            _log.warning("rule.disabled", rule=plan.rule.id, reason=reason)
            self._disabled(plan.rule, reason)

    def _report(
        self,
        rule: Rule,
        job: Job,
        start: datetime,
        status: str,
        *,
        rows: int = 0,
        alerts: Sequence[Alert] = (),
        seconds: float = 0.0,
        reason: str = "",
        code: str = "",
    ) -> None:
        self._health(
            {
                "TimeGenerated": iso(self._clock.now()),
                "OperationName": f"{rule.kind.value} analytics rule run",
                "SentinelResourceId": rule.id,
                "SentinelResourceName": rule.name,
                "SentinelResourceType": "Analytics Rule",
                "SentinelResourceKind": rule.kind.value,
                "Status": status,
                "Reason": code or status,
                "Description": reason or "Rule executed successfully",
                "ExtendedProperties": {
                    "QueryStartTimeUTC": iso(start),
                    "QueryEndTimeUTC": iso(job.end),
                    "QueryResultAmount": rows,
                    "AlertsGeneratedAmount": len(alerts),
                    "TriggerOperator": rule.operator.value,
                    "TriggerThreshold": rule.threshold,
                    "DurationSeconds": round(seconds, 3),
                    "Eager": job.eager,
                    "SuppressionEnabled": rule.suppression is not None,
                },
            }
        )


# ---------------------------------------------------------------------------------------------- memory between runs


def _fresh(plan: _Plan, rule: Rule, rows: Sequence[Row], end: datetime) -> list[Row]:
    """The results that no earlier, overlapping window told; all are noted as told now.

    The same row is the same result. A row about the same things is the same story growing (a count that rises): for one turn where rows
    have times of their own, else as long as their windows overlap.
    """
    fresh = []
    noted: dict[str, datetime] = {}
    for row in rows:
        digest, story = row_hash(row), "story:" + _story(rule, row)
        told = plan.seen.get(story)
        own_time = moment(row.get("TimeGenerated")) is not None or moment(row.get("Timestamp")) is not None
        known = digest in plan.seen or (told is not None and (not own_time or told > end - rule.frequency))
        if not known:
            fresh.append(row)
        noted[digest] = end
        if not known or not own_time:
            noted[story] = end
    plan.seen.update(noted)
    return fresh


def _story(rule: Rule, row: Row) -> str:
    """What a result is about: its entities, else its texts."""
    entities = row_entities(rule, row)
    if entities:
        return row_hash({"e": sorted(f"{e.type}:{e.label.lower()}" for e in entities)})
    return row_hash({k: v for k, v in row.items() if isinstance(v, str) and moment(v) is None})


SEEN = 5_000
"""Results told before a turn after which a rule waits for its turn."""


def _payload(plan: _Plan) -> dict[str, Any]:
    kept = sorted(plan.seen.items(), key=lambda kv: kv[1])[-4 * SEEN :]
    return {
        "eager_end": iso(plan.eager_end) if plan.eager_end is not None else None,
        "seen": {k: iso(m) for k, m in kept},
    }


def _from_ledger(rule: Rule, row: LedgerRow) -> _Plan:
    payload = row.payload if isinstance(row.payload, dict) else {}
    eager = payload.get("eager_end")
    seen = {str(k): datetime.fromisoformat(m) for k, m in (payload.get("seen") or {}).items()}
    return _Plan(rule, row, eager_end=datetime.fromisoformat(eager) if eager else None, seen=seen)


def _utc(value: datetime, like: datetime) -> datetime:
    """The lake tells naive UTC instants."""
    return value.replace(tzinfo=like.tzinfo) if value.tzinfo is None else value
