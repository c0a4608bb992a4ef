"""The live scheduler: which rule is due, who runs it, and what becomes of a rule that fails.

How a rule's windows lie and what it says is in `tocsin.detect.turns`. `eager` rules also run between their turns when rows of their tables
arrive: the first hit on a host or account alerts within seconds, the rest is said when the rule's turn comes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from tocsin.base.clock import Clock
from tocsin.base.errors import KqlError, TocsinError
from tocsin.detect.alert import Alert, iso
from tocsin.detect.plan import Plan, plan_of
from tocsin.detect.rule import Rule, RuleKind, Windows
from tocsin.detect.run import Queries, defect
from tocsin.detect.turns import Job, RuleLedger, ScheduleSettings, Turns, aware
from tocsin.detect.windows import moment_of
from tocsin.state.rules import LedgerRow
from tocsin.tables.own import own

__all__ = ["Job", "RuleLedger", "ScheduleSettings", "Scheduler"]

_log = structlog.get_logger("tocsin.detect.schedule")
_TURN_SECONDS = 1.0
"""How long a worker goes on before it looks whether it should end."""


class Scheduler(Turns):
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
        super().__init__(queries, ledger, clock=clock, arrivals=arrivals, settings=settings)
        self._watermark = watermark
        self.health = health or (lambda _: None)
        self._disabled = disabled or (lambda _rule, _reason: None)
        self._lock = threading.Lock()
        self._plans: dict[str, Plan] = {}
        self._running: set[str] = set()
        self._coming: dict[str, Rule] = {}
        """Rules that were replaced while they ran: their plans are made when the run has ended, of what it left."""

    # ------------------------------------------------------------------ rules

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Replaces the rules. A rule that is known keeps what it has seen unless its query changed; marks are read anew from the ledger.

        One that runs goes on as it is until that run has ended: what it has said so far is taken back if it can't be saved.
        """
        wanted = [r for r in rules if r.enabled and r.kind is not RuleKind.SIGMA]
        if self.settings.lookback:
            wanted = [replace(r, windows=Windows.LOOKBACK) for r in wanted]
        with self._lock:
            known, self._plans, self._coming = self._plans, {}, {}
            for rule in wanted:
                before = known.get(rule.id)
                if before is not None and rule.id in self._running:
                    self._plans[rule.id], self._coming[rule.id] = before, rule
                else:
                    self._plans[rule.id] = _replaced(before, rule, self._ledger.get(rule.id))

    def rules(self) -> list[Rule]:
        """The rules that are scheduled."""
        with self._lock:
            return [p.rule for p in self._plans.values()]

    # ------------------------------------------------------------------ running

    def due(self, *, fast: bool | None = None) -> list[Job]:
        """What should run now, rules that are late by most of their own frequency first.

        `fast` asks for near-real-time rules alone (True) or without them (False).
        """
        now = self._clock.now()
        end = self._watermark() if self._watermark is not None else now - self.settings.lag
        arrivals = {t: aware(m, end) for t, m in self._arrivals().items()}
        with self._lock:
            plans = [p for p in self._plans.values() if p.rule.id not in self._running]
        found = [
            (job, p)
            for p in plans
            if (fast is None or p.rule.fast is fast) and (job := self._job(p, now, end, arrivals)) is not None
        ]
        for lane in (True, False) if fast is None else (fast,):
            self.shared.round(lane, ((p, self.group(p, j)) for j, p in found if p.compiled and j.fast is lane))
        return sorted((job for job, _ in found), key=lambda job: (job.eager, -job.lateness, job.rule.id))

    def tick(self) -> list[Alert]:
        """Runs everything that is due, one after the other, and gives the alerts."""
        return [alert for job in self.due() for alert in self.execute(job)]

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set; running rules are waited for.

        Near-real-time rules have a worker of their own, so that no slow rule holds them up. The workers of a lane take from one list of who is
        due, who is late most first. The list is made anew when all had their turn, or after `round_seconds`, in which order all that wait
        are sorted again: so a rule waits at most until all that are later than it ran once.
        """
        loop = asyncio.get_running_loop()
        lanes = [_Lane(self, True), *[_Lane(self, False)] * self.settings.workers]

        async def work(lane: _Lane, pool: ThreadPoolExecutor) -> None:
            while not stop.is_set():
                if not await loop.run_in_executor(pool, lane.work, stop.is_set):
                    await self._rest(stop)

        with ThreadPoolExecutor(len(lanes), thread_name_prefix="rules") as pool:
            await asyncio.gather(*(work(lane, pool) for lane in lanes))

    async def _rest(self, stop: asyncio.Event) -> None:
        """Until it is time to look again, or to stop."""
        waits = [asyncio.ensure_future(self._clock.sleep(self.settings.poll)), asyncio.ensure_future(stop.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    def run_started(self, job: Job) -> None:
        """Runs a job for which `start` was asked; its failure is recorded, not raised."""
        try:
            self._execute(job)
        except Exception as error:  # a defect in one rule's run must not end the others
            _log.exception("rule.crashed", rule=job.rule.id, error=str(error))
        finally:
            self._ended(job.rule.id)

    def start(self, rule_id: str) -> bool:
        """Claims the rule for a run; False when it runs already."""
        with self._lock:
            if rule_id in self._running:
                return False
            self._running.add(rule_id)
            return True

    def execute(self, job: Job) -> list[Alert]:
        """Runs one job; its failure is recorded, not raised. Nothing happens when the rule runs already."""
        if not self.start(job.rule.id):
            return []
        try:
            return self._execute(job)
        finally:
            self._ended(job.rule.id)

    def _ended(self, rule_id: str) -> None:
        with self._lock:
            self._running.discard(rule_id)
            rule = self._coming.pop(rule_id, None)
            if rule is not None:
                before = self._plans[rule_id]
                self._plans[rule_id] = _replaced(before, rule, before.row)

    # ------------------------------------------------------------------ when

    def _job(self, plan: Plan, now: datetime, end: datetime, arrivals: Mapping[str, datetime]) -> Job | None:
        row, rule = plan.row, plan.rule
        waits = (plan.retry_at, row.suppressed_until)
        if row.disabled_reason is not None or any(w is not None and w > now for w in waits):
            return None
        mark = row.window_end
        if mark is None:
            return Job(rule, end, lateness=1.0, turn=end)
        turn = mark + rule.frequency
        if plan.compiled and not plan.exact and not plan.absence and plan.ripe is not None:
            turn = moment_of(plan.ripe + 1, rule.frequency) + self.settings.delay
            if plan.late:
                return Job(rule, end, turn=end)
        if end >= turn:
            return Job(rule, end, lateness=(end - turn) / rule.frequency, turn=turn)
        eager = (
            self.settings.eager
            and plan.compiled
            and (plan.row_wise or not plan.exact)
            and not plan.absence
            and rule.suppression is None
            and rule.windows is Windows.INGESTION
        )
        since = (plan.eager_end if plan.exact else plan.looked) or mark
        if not eager or not any(arrivals[t] >= since for t in plan.tables if t in arrivals):
            return None
        rested = plan.exact or plan.eager_at is None or now >= plan.eager_at + self.settings.gap
        return Job(rule, end, eager=True) if rested and end > since else None

    # ------------------------------------------------------------------ one run

    def _execute(self, job: Job) -> list[Alert]:
        with self._lock:
            plan = self._plans.get(job.rule.id)
        if plan is None:
            return []
        began = self._clock.monotonic()
        late = max(0.0, (self._clock.now() - job.turn).total_seconds()) if job.turn is not None else 0.0
        said: list[Alert] = []
        count = 0
        start = job.end
        before = plan.copy()
        try:
            plan.compile(self._queries, job.end)
            for start, alerts, rows in self._runs(plan, job):  # noqa: B007 - the last one's start is reported
                said.extend(alerts)
                count += rows
                before = plan.copy()
        except BaseException as error:
            plan.restore(before)
            if not isinstance(error, Exception):
                raise
            self._failed(plan, job, error if isinstance(error, TocsinError) else defect(plan.rule, error))
            return said
        if job.eager and not said:
            return []
        self._report(
            plan.rule,
            job,
            start,
            "Success",
            rows=count,
            alerts=said,
            seconds=self._clock.monotonic() - began,
            late=late,
        )
        return said

    def _failed(self, plan: Plan, job: Job, error: TocsinError) -> None:
        """Keeps the mark, so nothing is missed; tries again later; gives up on what won't heal by itself."""
        cause = error.__cause__ if isinstance(error.__cause__, TocsinError) else error
        # Failures that may heal in between (a time-out, a full disk) don't count towards giving up.
        plan.lasting = plan.lasting + 1 if isinstance(cause, KqlError) else 0
        failures = plan.row.failures + 1
        reason = None
        if plan.lasting >= self.settings.failures:
            reason = f"{plan.lasting} runs in a row failed: {cause.code} {cause.message}"
        now = self._clock.now()
        wait = min(self.settings.retry_first * 2 ** min(failures - 1, 10), self.settings.retry_most)
        plan.retry_at, plan.compiled = now + wait, False
        if plan.row.window_end is None:
            plan.begun = plan.begun or job.end  # without a mark, what comes until it first succeeds would be missed
        made = replace(
            plan.row,
            last_run=now,
            last_status="Failure",
            last_error=str(error)[:4000],
            failures=failures,
            runs=plan.row.runs + 1,
            disabled_reason=reason,
            payload=plan.payload(),
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
        late: float = 0.0,
        reason: str = "",
        code: str = "",
    ) -> None:
        self.health(
            own("rule_health").row(
                time=iso(self._clock.now()),
                operation=f"{rule.kind.value} analytics rule run",
                id=rule.id,
                name=rule.name,
                type="Analytics Rule",
                kind=rule.kind.value,
                status=status,
                reason=code or status,
                description=reason or "Rule executed successfully",
                details={
                    "QueryStartTimeUTC": iso(start),
                    "QueryEndTimeUTC": iso(job.end),
                    "QueryResultAmount": rows,
                    "AlertsGeneratedAmount": len(alerts),
                    "TriggerOperator": rule.operator.value,
                    "TriggerThreshold": rule.threshold,
                    "DurationSeconds": round(seconds, 3),
                    "LateSeconds": round(late, 3),
                    "Eager": job.eager,
                    "SuppressionEnabled": rule.suppression is not None,
                },
            )
        )


def _replaced(before: Plan | None, rule: Rule, row: LedgerRow) -> Plan:
    """The plan of a rule in the place of another: with what that has seen, unless the query is another one."""
    if before is None or before.rule.query != rule.query:
        return plan_of(rule, row)
    return replace(before, rule=rule, row=row, compiled=False, retry_at=None)


class _Lane:
    """The list of jobs that the workers of a lane share."""

    def __init__(self, scheduler: Scheduler, fast: bool) -> None:
        self._scheduler, self._fast = scheduler, fast
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque()
        self._made: float | None = None

    def work(self, stopped: Callable[[], bool]) -> bool:
        """Runs jobs for a while; False when there is nothing to do now."""
        until = time.monotonic() + _TURN_SECONDS
        while not stopped() and time.monotonic() < until:
            job = self._next()
            if job is None:
                return False
            self._scheduler.run_started(job)
        return True

    def _next(self) -> Job | None:
        settings = self._scheduler.settings
        with self._lock:
            age = None if self._made is None else time.monotonic() - self._made
            if age is None or age >= settings.round_seconds or (not self._jobs and age >= settings.poll):
                try:
                    self._jobs = deque(self._scheduler.due(fast=self._fast))
                except TocsinError as error:
                    _log.error("schedule.failed", error=str(error))
                    self._jobs = deque()
                self._made = time.monotonic()
            while self._jobs:
                job = self._jobs.popleft()
                # Claimed under the lock: a list made in between must not hold it again.
                if self._scheduler.start(job.rule.id):
                    return job
            return None
