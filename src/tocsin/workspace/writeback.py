"""Incidents and alerts as rows: each change of an incident becomes a SecurityIncident row, each alert's status a SecurityAlert row.

What a transaction changed is handed over once it is durable and written by a thread of its own. The place in the incident log up to which rows
are written is kept; after a crash those changes are told again from there (each incident once, as it is now). A row may come twice, none is
missing: as in Sentinel, the latest row of an incident is what counts. Changes by people and automation have a row each; correlation's own
changes of one incident that wait together share the last one's.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from tocsin.detect.alert import iso
from tocsin.incidents.store import CORRELATION, alert_of
from tocsin.incidents.vocabulary import words
from tocsin.state import IncidentChange, Unit, text_of
from tocsin.tables.own import own
from tocsin.workspace.alertrows import security_alert

if TYPE_CHECKING:
    from tocsin.workspace.workspace import Workspace

__all__ = ["WriteBack"]

_log = structlog.get_logger("tocsin.workspace.writeback")
_CURSOR = "incidents.told"
_PATIENCE_SECONDS = 1.0


class WriteBack:
    """Owns the thread that writes what incidents became as rows."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._waiting: queue.Queue[Sequence[IncidentChange] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="tocsin-writeback", daemon=True)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Tells what a crash left untold, then each change as it comes."""
        self._workspace.state.on_incidents(self._waiting.put)
        self._thread.start()

    def stop(self) -> None:
        """Writes what waits, unless intake doesn't take it any more."""
        self._stopping.set()
        self._waiting.put(None)
        self._thread.join()

    def write(self, table: str, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Writes rows of a table of our own; False when intake is busy and they have to wait."""
        return self._workspace.own_rows.write(table, list(rows))

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            self._tell(self._untold())
        except Exception as error:  # a defect here must not end the server; state holds the facts
            _log.exception("writeback.failed", error=str(error))
        while (first := self._waiting.get()) is not None:
            changes = list(first)
            with contextlib.suppress(queue.Empty):
                while (more := self._waiting.get_nowait()) is not None:
                    changes.extend(more)
                self._waiting.put(None)
            try:
                self._tell(changes)
            except Exception as error:
                _log.exception("writeback.failed", error=str(error))

    def _untold(self) -> list[IncidentChange]:
        """Incidents that changed after the place up to which rows are written, as they are now."""
        with self._workspace.state.read() as unit:
            told = unit.kv.get(_CURSOR)
            if told is None:
                return []  # a new or taken-over state: its rows begin now
            found: dict[str, IncidentChange] = {}
            place = int(told)
            while entries := unit.incidents.history.after(place):
                place = entries[-1].seq
                for entry in (e for e in entries if e.version is not None):
                    row = unit.incidents.get(entry.incident_id)
                    if row is not None:
                        found[row.id] = IncidentChange(entry.seq, row, entry.actor, entry.source, entry.data)
            return list(found.values())

    def _tell(self, changes: Sequence[IncidentChange]) -> None:
        last: dict[str, int] = {c.row.id: n for n, c in enumerate(changes)}
        kept = [c for n, c in enumerate(changes) if c.row.promoted and (c.source != CORRELATION or last[c.row.id] == n)]
        if kept:
            with self._workspace.state.read() as unit:
                incidents = [_security_incident(unit, c) for c in kept]
                alerts = [row for c in kept for row in _alerts_of(unit, c)]
            for table, rows in ((own("incidents").name, incidents), (own("alerts").name, alerts)):
                while not self.write(table, rows):
                    if self._stopping.wait(_PATIENCE_SECONDS):
                        return  # told again after the next start
        if changes:
            with self._workspace.state.write() as unit:
                unit.kv.set(_CURSOR, max(c.seq for c in changes))


def _alerts_of(unit: Unit, change: IncidentChange) -> list[dict[str, Any]]:
    """An alert's status is its incident's: a row each when that changes."""
    if "status" not in change.data.get("set", {}) or change.row.version == 1 or change.row.status == "Redirected":
        return []
    told = {own("alerts").column("written"): iso(change.row.updated)}
    return [{**security_alert(alert_of(a), change.row.status), **told} for a in unit.incidents.alerts_of(change.row.id)]


def _security_incident(unit: Unit, change: IncidentChange) -> dict[str, Any]:
    row = change.row
    said = words("sentinel", status=row.status, classification=row.classification, determination=row.determination)
    briefs = unit.incidents.alert_rules(row.id)
    merged = row.status == "Redirected"
    comments = [e for e in unit.incidents.activity_of(row.id) if e.kind == "comment"]
    return own("incidents").row(
        updated=iso(row.updated),
        id=row.id,
        number=row.number,
        title=row.title,
        severity=row.severity,
        status=said["status"],
        classification=said["classification"],
        determination=said["determination"],
        comment=comments[-1].text if row.closed and comments else "",
        owner={"assignedTo": row.owner, "userPrincipalName": row.owner},
        created=iso(row.created),
        closed=text_of(row.updated if merged else row.closed),
        first=iso(row.first),
        last=iso(row.last),
        actor=change.actor,
        alerts=list(briefs),
        rules=sorted(set(briefs.values())),
        labels=[{"labelName": t, "labelType": "User"} for t in row.tags],
        comments=[{"id": e.id, "message": e.text, "author": e.actor, "createdTimeUtc": iso(e.time)} for e in comments],
        tasks=[t.to_dict() for t in unit.incidents.tasks.of(row.id)],
        more={
            "tactics": row.payload.get("tactics", []),
            "techniques": row.payload.get("techniques", []),
            "alertsCount": row.alert_count,
            "alertProductNames": row.payload.get("products", []),
            "priority": row.priority,
            "version": row.version,
            "source": change.source,
            "acknowledgedTime": text_of(row.acknowledged),
            "phase": row.phase,
            "redirectTo": row.redirect_to,
        },
    )
