"""Runs anomalies window by window and writes what they find as rows of BehaviorAnalytics and Anomalies.

The ledger that scheduled rules have says how far each anomaly has come. Rows are written under a key of their window: a crash in between writes
none twice. How ready a baseline is stands beside its mark.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from tocsin.base.errors import TocsinError
from tocsin.detect.alert import iso
from tocsin.detect.anomaly import Anomaly, Readiness, anomalies_of, evaluate, readiness_of
from tocsin.detect.anomaly.rows import anomaly_row, behavior_row
from tocsin.detect.durations import duration_text
from tocsin.state import NotFoundError
from tocsin.tables.own import own
from tocsin.workspace.tiers import AnalyticsQueries

if TYPE_CHECKING:
    from tocsin.workspace.workspace import Workspace

__all__ = ["Anomalies"]

_log = structlog.get_logger("tocsin.workspace.anomalies")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POLL_SECONDS = 20.0
_LATE = timedelta(minutes=5)
"""How long a window waits for late rows."""
_ROWS = 2_000


class Anomalies:
    """Owns the thread. `run_due` does its work once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._queries = AnalyticsQueries(workspace.queries, lambda: workspace.lake.retention)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tocsin-anomalies", daemon=True)
        self._retry: dict[str, datetime] = {}

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Lets a window that runs end."""
        self._stop.set()
        self._thread.join()

    def known(self) -> list[Anomaly]:
        """The anomalies of the packs in force."""
        return anomalies_of(self._workspace.rules.content.anomalies)[0]

    def listed(self) -> Sequence[Mapping[str, Any]]:
        """Every anomaly with its last run and the readiness of its baseline (see `tocsin.api.routes.anomalies`)."""
        with self._workspace.state.read() as unit:
            rows = unit.rules.all()
        found = []
        for anomaly in sorted(self.known(), key=lambda a: a.name.lower()):
            row = rows.get(anomaly.id)
            baseline = row.payload if row is not None and isinstance(row.payload, dict) else None
            found.append(
                {
                    "id": anomaly.id,
                    "name": anomaly.name,
                    "description": anomaly.description,
                    "enabled": anomaly.enabled,
                    "pack": anomaly.pack,
                    "kind": "volume" if anomaly.volume is not None else "terms",
                    "tactics": list(anomaly.tactics),
                    "techniques": list(anomaly.techniques),
                    "history": duration_text(anomaly.history),
                    "needs_days": anomaly.ready.days,
                    "needs_events": anomaly.ready.events,
                    "needs_peers": anomaly.ready.peers if anomaly.peer else None,
                    "threshold": anomaly.threshold,
                    "query": anomaly.query,
                    "baseline": baseline,
                    "window_end": iso(row.window_end) if row is not None and row.window_end else None,
                    "last_run": iso(row.last_run) if row is not None and row.last_run else None,
                    "last_status": row.last_status if row is not None else None,
                    "last_error": row.last_error if row is not None else None,
                    "anomalies": row.alerts if row is not None else 0,
                }
            )
        return found

    def readiness(self, anomaly_id: str, *, text: str = "", limit: int = 100) -> Mapping[str, Any]:
        """How ready an anomaly's baseline is now, per feature and entity. Raises NotFoundError, and what its query raises."""
        found = next((a for a in self.known() if a.id == anomaly_id), None)
        if found is None:
            raise NotFoundError(f"there is no anomaly rule '{anomaly_id}'")
        return readiness_of(found, self._queries, self._workspace.clock.now(), text=text, limit=limit)

    def run_due(self) -> int:
        """Evaluates each anomaly's next window if it is over; how many were."""
        return sum(self._turn(anomaly) for anomaly in self.known() if anomaly.enabled and not self._stop.is_set())

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        wait = _POLL_SECONDS
        while not self._stop.wait(wait):
            wait = _POLL_SECONDS
            try:
                if self.run_due():
                    wait = 0.1  # there may be more windows to make up for
            except Exception as error:  # a defect here must not end the others' thread
                _log.exception("anomalies.failed", error=str(error))

    def _turn(self, anomaly: Anomaly) -> bool:
        now = self._workspace.clock.now()
        with self._workspace.state.read() as unit:
            row = unit.rules.get(anomaly.id)
        last = _EPOCH + (now - _LATE - _EPOCH) // anomaly.frequency * anomaly.frequency
        end = row.window_end + anomaly.frequency if row.window_end is not None else last
        if end > last or row.disabled_reason or self._retry.get(anomaly.id, now) > now:
            return False
        start = end - anomaly.frequency
        try:
            found = evaluate(anomaly, self._queries, start, end)
            behavior = [behavior_row(anomaly, f, now) for f in found.findings]
            made = [r for f in found.findings if (r := anomaly_row(anomaly, f, now)) is not None]
            key = f"anomaly/{anomaly.id}/{iso(end)}"
            written = self._write(own("behavior").name, behavior, key) and self._write(own("anomalies").name, made, key)
        except TocsinError as error:
            self._failed(anomaly, error, now)
            return False
        if not written:  # intake is busy: the window stays to be done
            return False
        with self._workspace.state.write() as unit:
            unit.rules.succeeded(anomaly.id, end, alerts=len(made), payload=_told(found.readiness))
        return True

    def _write(self, table: str, rows: Sequence[Mapping[str, Any]], key: str) -> bool:
        write = self._workspace.own_rows.write
        return all(
            write(table, rows[at : at + _ROWS], request=f"{key}/{table}/{at}") for at in range(0, len(rows), _ROWS)
        )

    def _failed(self, anomaly: Anomaly, error: TocsinError, now: datetime) -> None:
        _log.warning("anomaly.failed", anomaly=anomaly.id, error=str(error))
        with self._workspace.state.write() as unit:
            failures = unit.rules.failed(anomaly.id, str(error))
        self._retry[anomaly.id] = now + timedelta(minutes=min(60, 2 ** min(failures, 6)))
        self._workspace.written.write(
            own("rule_health").name,
            [
                own("rule_health").row(
                    time=iso(now),
                    operation="Anomaly rule run",
                    id=anomaly.id,
                    name=anomaly.name,
                    type="Anomaly rule",
                    kind="Anomaly",
                    status="Failure",
                    reason=error.code,
                    description=str(error),
                )
            ],
        )


def _told(readiness: Readiness) -> dict[str, Any]:
    return {
        "entities": readiness.entities,
        "ready": readiness.ready,
        "since": iso(readiness.since) if readiness.since is not None else None,
    }
