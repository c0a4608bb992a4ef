"""Live detection: scheduled rules over windows of ingestion time, Sigma rules over each batch, both into the incident desk.

Also the clock's work that belongs to no request: effects of actions that end, incidents that nothing can join any more. What rules and
incidents say is written back as rows (SentinelHealth, SecurityAlert, SecurityIncident), so that KQL covers the product itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from tocsin.base.errors import TocsinError
from tocsin.base.ids import stable_id
from tocsin.detect.alert import Alert
from tocsin.detect.rule import Rule, RuleKind
from tocsin.detect.schedule import Scheduler, ScheduleSettings
from tocsin.detect.tuning import without_excluded
from tocsin.incidents.judging import assets_of
from tocsin.ingest.model import SourceBatch
from tocsin.lake.engine import Limits, Window
from tocsin.state import LedgerRow
from tocsin.tables.own import own
from tocsin.workspace.alertrows import alert_evidence, alert_info, security_alert
from tocsin.workspace.assets import find_assets
from tocsin.workspace.costs import RuleCosts
from tocsin.workspace.ruleruns import RuleRuns
from tocsin.workspace.sigmastream import SigmaStream
from tocsin.workspace.tiers import AnalyticsQueries

if TYPE_CHECKING:
    from tocsin.workspace.workspace import Workspace

__all__ = ["Detection"]

_log = structlog.get_logger("tocsin.workspace.detection")
_UPKEEP_SECONDS = 5.0
_UNTOLD = timedelta(days=1)
_IN_FLIGHT = timedelta(minutes=1)
_MEMORY_ENTRIES, _MEMORY_SECONDS = 500, 3600.0
"""Correlation's memory is kept when so many entries came to the incident log, or after so long: what is not in it a start reads from there."""
_ASSETS_ROUNDS = 120  # every ten minutes, and soon after the start


class Detection:
    """Owns the scheduler, the stream of Sigma rules and their threads."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        settings = workspace.settings.detect
        self.runs = RuleRuns(workspace.state)
        self.scheduler = Scheduler(
            AnalyticsQueries(workspace.queries, lambda: workspace.lake.retention),
            self,
            clock=workspace.clock,
            arrivals=self._arrivals,
            watermark=workspace.intake.intake.watermark,
            health=self._ran,
            disabled=self._switched_off,
            settings=ScheduleSettings(
                poll=settings.poll_seconds, eager=settings.eager, lookback=settings.windows == "lookback"
            ),
        )
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._behind = False
        self.costs = RuleCosts(
            workspace.state,
            self._health,
            clock=workspace.clock,
            costly=settings.costly_percent,
            cap=settings.cap_percent,
        )
        self.stream = SigmaStream(
            self._stream_said,
            self.costs,
            workspace.clock,
            workspace.settings.data / "intake" / "sigma.msgpack",
            ready=lambda: workspace.incidents.memory.ready,
            watchlists=lambda: workspace.rules.content.watchlists,
        )

    # ------------------------------------------------------------------ life

    def prepare(self) -> None:
        """Takes the rules in force and what the run before knew; to be called before intake replays what a crash left in the log."""
        intake = self._workspace.intake.intake
        self._workspace.rules.subscribe(self._take_rules)
        intake.shown = self.stream.load(intake.durable)
        intake.observers.append(self._observe)
        self._workspace.lake.before_trim.append(self.stream.save)

    def start(self) -> None:
        """Begins."""
        try:
            self._untold(self._workspace.clock.now())
        except TocsinError as error:
            _log.error("alerts.untold", error=str(error))
        self._workspace.rules.costs = lambda: self.costs.shares
        self._workspace.rules.blind = self.stream.blind
        self.stream.start()
        for name, target in (("schedule", self._schedule), ("upkeep", self._upkeep)):
            thread = threading.Thread(target=target, name=f"tocsin-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Lets running rules end."""
        self._stop.set()
        self.stream.stop()
        for thread in self._threads:
            thread.join()
        try:
            self.runs.save(every=True)
        except TocsinError as error:
            # A database that takes nothing more is no reason not to stop: only when rules ran last is lost.
            _log.error("runs.unsaved", error=str(error))

    def _take_rules(self, rules: Sequence[Rule]) -> None:
        self.scheduler.set_rules([r for r in rules if r.enabled and r.kind is not RuleKind.SIGMA])
        off = self.costs.capped()
        self.stream.take_rules([r for r in rules if r.enabled and r.kind is RuleKind.SIGMA and r.id not in off])

    def fed(self, since: datetime) -> frozenset[str]:
        """See `SigmaStream.fed`."""
        return self.stream.fed(since)

    # ------------------------------------------------------------------ the scheduler's ledger

    def get(self, rule_id: str) -> LedgerRow:
        """See `tocsin.detect.schedule.RuleLedger`."""
        with self._workspace.state.read() as unit:
            return unit.rules.get(rule_id)

    def put(self, row: LedgerRow, alerts: Sequence[Alert]) -> None:
        """Saves the mark and files the alerts in one transaction."""
        if not alerts:
            with self._workspace.state.write() as unit:
                unit.rules.put(row)
            return
        self._workspace.incidents.add(alerts, within=lambda unit: unit.rules.put(row))
        self._tell(alerts)

    def file(self, alerts: Sequence[Alert]) -> None:
        """Files alerts that no window of its own made: runs over the past, the scheduler's own."""
        self._workspace.incidents.add(alerts)
        self._tell(alerts)

    # ------------------------------------------------------------------ threads

    def _schedule(self) -> None:
        async def run() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            watcher: asyncio.Future[Any] = asyncio.ensure_future(loop.run_in_executor(None, self._stop.wait))
            task: asyncio.Future[Any] = asyncio.create_task(self.scheduler.run(stop))
            await asyncio.wait([watcher, task], return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            await task

        asyncio.run(run())

    def _observe(self, batches: Sequence[SourceBatch]) -> None:
        self.stream.observe(self._workspace.intake.intake.observed, batches)

    def _stream_said(self, alerts: list[Alert]) -> None:
        """Files, counts and tells of alerts, each once: a replay shows those from before a crash again, and senders send events twice."""
        with self._workspace.state.read() as unit:
            filed = unit.incidents.holders([a.id for a in alerts])
        left = self._not_excluded([a for a in alerts if a.id not in filed])
        if not left:
            return
        said = Counter(a.rule_id for a in left)
        self._workspace.incidents.add(left, within=lambda unit: unit.rules.streamed(said))
        self._tell(left)

    def _not_excluded(self, alerts: list[Alert]) -> list[Alert]:
        """The alerts of Sigma rules of which exclusions leave some event."""
        excluding = {r.id: r for r in self._workspace.rules.rules if r.exclusions}
        if not excluding:
            return alerts
        now = self._workspace.clock.now()
        return [
            a
            for a in alerts
            if a.rule_id not in excluding
            or not a.events
            or without_excluded(excluding[a.rule_id], [e.row for e in a.events], now)
        ]

    def _upkeep(self) -> None:
        rounds = 0
        while not self._stop.wait(_UPKEEP_SECONDS):
            rounds += 1
            try:
                self._workspace.gate.tick()
                self.runs.save()
                self._workspace.incidents.prepare()
                if self._behind:
                    # Alerts of the last minute may be on their way still.
                    self._untold(self._workspace.clock.now() - _IN_FLIGHT)
                if rounds % _ASSETS_ROUNDS == 1:
                    self._judge()
                elif self._workspace.incidents.judging.behind:
                    self._workspace.incidents.catch_up()
                if rounds % _ASSETS_ROUNDS == 0:
                    self._workspace.incidents.memory.keep(entries=_MEMORY_ENTRIES, seconds=_MEMORY_SECONDS)
                if rounds % 720 == 0:
                    self._workspace.incidents.memory.forget_before()
                    self._workspace.automation.sweep()
            except TocsinError as error:
                _log.error("upkeep.failed", error=str(error))

    def _judge(self) -> None:
        """Which assets matter now, how rare rules are and how often they were right: what priority is made of."""
        desk = self._workspace.incidents
        with self._workspace.state.read() as unit:
            known = assets_of(unit)
        found = find_assets(self._workspace.queries, self._workspace.rules.content, known)
        if not desk.set_assets(found):
            desk.catch_up()

    # ------------------------------------------------------------------ what others ask and hear

    def _arrivals(self) -> Mapping[str, datetime]:
        return {
            s.table: s.last_received.replace(tzinfo=UTC)
            for s in self._workspace.lake.stats()
            if s.last_received is not None
        }

    def _switched_off(self, rule: Rule, reason: str) -> None:
        _log.warning("rule.disabled", rule=rule.id, name=rule.name, reason=reason)
        with self._workspace.state.write() as unit:
            unit.audit.add("system:scheduler", "rule.disable", "rule", rule.id, detail={"reason": reason})
        now = self._workspace.clock.now()
        self.file(
            [
                Alert(
                    id=stable_id("al", "auto-disabled", rule.id, now.isoformat()),
                    rule_id="tocsin.auto-disabled",
                    rule="A detection rule was switched off",
                    title=f"AUTO DISABLED {rule.name}",
                    description=f"The rule '{rule.name}' no longer runs: {reason} Correct it and switch it on again.",
                    time=now,
                    end=now,
                    created=now,
                    severity="Medium",
                    correlate=False,
                    tags=("health",),
                )
            ]
        )

    def _ran(self, row: Mapping[str, Any]) -> None:
        self.runs.take(row)
        self._health(row)

    def _health(self, row: Mapping[str, Any]) -> None:
        table = own("rule_health")
        if row.get(table.column("status")) != "Success":
            self._write_back(table.name, [row])

    def _tell(self, alerts: Sequence[Alert]) -> None:
        """Writes alerts as rows. What couldn't be written (intake was busy) is written by `_untold`, as is what a crash left."""
        if alerts and not self._write_alerts(alerts):
            self._behind = True

    def _write_alerts(self, alerts: Sequence[Alert]) -> bool:
        write = self._workspace.written.write
        return (
            write(own("alerts").name, [security_alert(a) for a in alerts])
            and write(own("alert_info").name, [alert_info(a) for a in alerts])
            and write(own("alert_evidence").name, [row for a in alerts for row in alert_evidence(a)])
        )

    def _untold(self, until: datetime) -> None:
        """Writes the alerts of the day before `until` that state holds and SecurityAlert doesn't."""
        since = until - _UNTOLD
        with self._workspace.state.read() as unit:
            kept = {a["id"]: a for a in unit.incidents.alerts_said(since, until)}
        if not kept:
            return
        known = self._workspace.queries.run(
            f"{own('alerts').name} | distinct {own('alerts').column('id')}",
            window=Window(since - _UNTOLD, None),
            limits=Limits(rows=1_000_000),
        )
        told = set(known.table.column(0).to_pylist()) if known.table.num_columns else set()
        missing = [Alert.from_dict(a) for i, a in kept.items() if i not in told]
        self._behind = bool(missing) and not self._write_alerts(missing)

    def _write_back(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if not self._workspace.written.write(table, rows):
            _log.warning(
                "writeback.skipped", table=table, rows=len(rows)
            )  # state holds the facts; only their copy as rows is missing
