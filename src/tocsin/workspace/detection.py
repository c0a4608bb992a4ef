"""Live detection: scheduled rules over windows of ingestion time, Sigma rules over each batch, both into the incident desk.

Also the clock's work that belongs to no request: effects of actions that end, incidents that nothing can join any more. What rules and
incidents say is written back as rows (SentinelHealth, SecurityAlert, SecurityIncident), so that KQL covers the product itself.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from tocsin.base.errors import TocsinError
from tocsin.detect.alert import Alert, iso
from tocsin.detect.rule import Rule, RuleKind
from tocsin.detect.schedule import Scheduler, ScheduleSettings
from tocsin.incidents import IncidentChange, incident_summary
from tocsin.ingest.model import SourceBatch
from tocsin.ingest.pipeline import IntakeBusyError
from tocsin.lake import Body, TableBatch
from tocsin.state import LedgerRow

if TYPE_CHECKING:
    from tocsin.workspace.workspace import Workspace

__all__ = ["Detection"]

_log = structlog.get_logger("tocsin.workspace.detection")
_WAITING_BATCHES = 64
_UPKEEP_SECONDS = 5.0


class Detection:
    """Owns the scheduler, the Sigma matcher and their threads."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        settings = workspace.settings.detect
        self.scheduler = Scheduler(
            workspace.queries,
            self,
            clock=workspace.clock,
            arrivals=self._arrivals,
            watermark=workspace.intake.intake.watermark,
            health=self._health,
            disabled=self._switched_off,
            settings=ScheduleSettings(
                poll=settings.poll_seconds, eager=settings.eager, lookback=settings.windows == "lookback"
            ),
        )
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._batches: queue.Queue[Sequence[SourceBatch] | None] = queue.Queue(_WAITING_BATCHES)
        self._sigma: Any = None
        self._matcher_lock = threading.Lock()

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Takes the rules in force and begins."""
        self._workspace.rules.subscribe(self._take_rules)
        self._workspace.intake.intake.observers.append(self._observe)
        for name, target in (("schedule", self._schedule), ("sigma", self._match), ("upkeep", self._upkeep)):
            thread = threading.Thread(target=target, name=f"tocsin-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Lets running rules end."""
        self._stop.set()
        self._batches.put(None)
        for thread in self._threads:
            thread.join()

    def _take_rules(self, rules: Sequence[Rule]) -> None:
        self.scheduler.set_rules([r for r in rules if r.enabled and r.kind is not RuleKind.SIGMA])
        sigma = [r for r in rules if r.enabled and r.kind is RuleKind.SIGMA]
        matcher = None
        if sigma:
            from tocsin.detect.sigma.matcher import SigmaMatcher  # pySigma takes a second to load

            matcher = SigmaMatcher(sigma, live=True)
        with self._matcher_lock:
            self._sigma = matcher

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
        changes = self._workspace.incidents.add(alerts, within=lambda unit: unit.rules.put(row))
        self._tell(alerts, changes)

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

    def _observe(self, batches: Sequence[SourceBatch], _tables: Sequence[TableBatch]) -> None:
        if self._sigma is not None:
            self._batches.put(batches)  # waits when the matcher is behind: intake then slows its senders down

    def _match(self) -> None:
        while (batches := self._batches.get()) is not None:
            with self._matcher_lock:
                matcher = self._sigma
            if matcher is None:
                continue
            try:
                alerts = [alert for batch in batches for alert in matcher.match(batch)]
                if alerts:
                    self._tell(alerts, self._workspace.incidents.add(alerts))
            except Exception as error:  # a defect in one rule must not end the matching of all others
                _log.exception("sigma.failed", error=str(error))

    def _upkeep(self) -> None:
        rounds = 0
        while not self._stop.wait(_UPKEEP_SECONDS):
            rounds += 1
            try:
                self._workspace.gate.tick()
                if rounds % 720 == 0:
                    self._workspace.incidents.forget_before()
                    self._workspace.automation.sweep()
            except TocsinError as error:
                _log.error("upkeep.failed", error=str(error))

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

    def _health(self, row: Mapping[str, Any]) -> None:
        if row.get("Status") != "Success":
            self._write_back("SentinelHealth", [row])

    def _tell(self, alerts: Sequence[Alert], changes: Sequence[IncidentChange]) -> None:
        self._write_back("SecurityAlert", [_security_alert(a) for a in alerts])
        seen = {c.incident.id: c.incident for c in changes}
        self._write_back("SecurityIncident", [_security_incident(incident_summary(i)) for i in seen.values()])

    def _write_back(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        body = b"\n".join(orjson.dumps(dict(r), default=str) for r in rows)
        try:
            self._workspace.intake.intake.submit(
                [Body("jsonl", body, self._workspace.clock.now(), {"table": table, "token": "tocsin"})]
            )
        except IntakeBusyError:
            _log.warning(
                "writeback.skipped", table=table, rows=len(rows)
            )  # state holds the facts; only their copy as rows is missing


def _security_alert(alert: Alert) -> dict[str, Any]:
    return {
        "TimeGenerated": iso(alert.created),
        "AlertName": alert.title or alert.rule,
        "DisplayName": alert.title or alert.rule,
        "AlertSeverity": alert.severity,
        "AlertType": alert.rule_id,
        "Description": alert.description,
        "ProductName": alert.product,
        "ProviderName": "Tocsin",
        "VendorName": "Tocsin",
        "SystemAlertId": alert.id,
        "VendorOriginalId": alert.id,
        "StartTime": iso(alert.time),
        "EndTime": iso(alert.end),
        "Status": "New",
        "Tactics": ", ".join(alert.tactics),
        "Techniques": orjson.dumps(list(alert.techniques)).decode(),
        "Entities": orjson.dumps([{"Type": e.type.lower(), **e.identifiers} for e in alert.entities]).decode(),
        "ExtendedProperties": orjson.dumps(
            {"Count": alert.count, "CustomDetails": alert.custom_details}, default=str
        ).decode(),
    }


def _security_incident(view: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "TimeGenerated": view["updated"],
        "IncidentName": view["id"],
        "IncidentNumber": view["number"],
        "Title": view["title"],
        "Severity": view["severity"],
        "Status": {"InProgress": "Active", "Resolved": "Closed"}.get(view["status"], view["status"]),
        "Classification": view["classification"],
        "Owner": {"assignedTo": view["owner"]},
        "CreatedTime": view["created"],
        "FirstActivityTime": view["first"],
        "LastActivityTime": view["last"],
        "LastModifiedTime": view["updated"],
        "ProviderName": "Tocsin",
        "ProviderIncidentId": view["id"],
        "Labels": [{"labelName": t} for t in view["tags"]],
        "AdditionalData": {
            "tactics": view["tactics"],
            "techniques": view["techniques"],
            "alertsCount": view["alert_count"],
            "priority": view["priority"],
        },
    }
