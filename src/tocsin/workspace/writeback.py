"""Incidents and alerts as rows: each change of an incident becomes a SecurityIncident row, each alert's status a SecurityAlert row.

What a transaction changed is handed over once it is durable and written by a thread of its own. The place in the incident log up to which rows
are written is kept; after a crash those changes are told again from there (each incident once, as it is now). A row may come twice, none is
missing: as in Sentinel, the latest row of an incident is what counts. What another process changed, such as a command on the data folder, is found
by looking into the log now and then. Changes by people and automation have a row each; correlation's own
changes of one incident that wait together share the last one's.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import structlog

from tocsin.detect.alert import iso
from tocsin.incidents.answers import page_of
from tocsin.incidents.load import alert_of
from tocsin.incidents.store import CORRELATION
from tocsin.incidents.vocabulary import words
from tocsin.state import IncidentChange, LogRow, Unit, text_of
from tocsin.tables.own import own
from tocsin.workspace.alertrows import security_alert

if TYPE_CHECKING:
    from tocsin.workspace.workspace import Workspace

__all__ = ["WriteBack", "security_incident"]

_log = structlog.get_logger("tocsin.workspace.writeback")
_CURSOR = "incidents.told"
_PATIENCE_SECONDS = 1.0
_LOOK_SECONDS = 2.0


class WriteBack:
    """Owns the thread that writes what incidents became as rows."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._waiting: queue.Queue[Sequence[IncidentChange] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="tocsin-writeback", daemon=True)
        self._stopping = threading.Event()
        self._before = 0
        self._checked = 0
        self._told: set[int] = set()
        self._untold: set[int] = set()

    def start(self) -> None:
        """Tells what a crash left untold, then each change as it comes."""
        with self._workspace.state.read() as unit:
            # A new or taken-over state: its rows begin now.
            before = unit.incidents.history.last()
            self._checked = int(unit.kv.get(_CURSOR, before))
        self._before = before
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
        self._guarded(partial(self._look, sure=self._before))
        looked = monotonic()
        ended = False
        while not ended:
            changes: list[IncidentChange] = []
            with contextlib.suppress(queue.Empty):
                more = self._waiting.get(timeout=_LOOK_SECONDS)
                while more is not None:
                    changes.extend(more)
                    more = self._waiting.get_nowait()
                ended = True
            if changes:
                self._guarded(partial(self._tell, changes))
            if ended or monotonic() - looked >= _LOOK_SECONDS:
                self._guarded(partial(self._look, sure=sys.maxsize if ended else 0))
                looked = monotonic()

    @staticmethod
    def _guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # a defect here must not end the server; state holds the facts
            _log.exception("writeback.failed", error=str(error))

    def _look(self, *, sure: int) -> None:
        """Tells what nobody in this process told: what a crash left, and what a command did on the data folder; then keeps the place.

        What was just committed here may be about to be told: only what is untold at two looks is another's, and what lies at or before `sure`.
        """
        found: dict[str, IncidentChange] = {}
        untold: set[int] = set()
        place = self._checked
        with self._workspace.state.read() as unit:
            while entries := unit.incidents.history.after(place):
                place = entries[-1].seq
                for entry in entries:
                    if not _tells(entry) or entry.seq in self._told:
                        continue
                    if entry.seq > sure and entry.seq not in self._untold:
                        untold.add(entry.seq)
                        continue
                    row = unit.incidents.get(entry.incident_id)
                    if row is not None:
                        if entry.version is None:
                            row = replace(row, updated=max(row.updated, entry.time))
                        found[row.id] = IncidentChange(entry.seq, row, entry.actor, entry.source, entry.data)
        if found and not self._tell(list(found.values())):
            return
        self._untold = untold
        kept = min(untold) - 1 if untold else place
        if kept != self._checked or sure:
            self._checked = kept
            self._told = {s for s in self._told if s > kept}
            with self._workspace.state.write() as unit:
                unit.kv.set(_CURSOR, kept)

    def _tell(self, changes: Sequence[IncidentChange]) -> bool:
        """Writes rows of the changes; False when it is to stop before intake takes them: they are told after the next start."""
        last: dict[str, int] = {c.row.id: n for n, c in enumerate(changes)}
        kept = [c for n, c in enumerate(changes) if c.row.promoted and (c.source != CORRELATION or last[c.row.id] == n)]
        if kept:
            with self._workspace.state.read() as unit:
                incidents = [security_incident(unit, c) for c in kept]
                alerts = [row for c in changes if c.row.promoted for row in _alerts_of(unit, c)]
            for table, rows in ((own("incidents").name, incidents), (own("alerts").name, alerts)):
                while not self.write(table, rows):
                    if self._stopping.wait(_PATIENCE_SECONDS):
                        return False
        self._told.update(c.seq for c in changes)
        return True


def _tells(entry: LogRow) -> bool:
    """Whether an entry is the last that a change made: what is told. A comment or a task changes an incident without a version."""
    if entry.version is not None or entry.kind == "entry-changed":
        return True
    return (
        entry.kind == "entry"
        and entry.data["kind"] in ("comment", "comment-removed", "task")
        and "from" not in entry.data["detail"]
    )


def _alerts_of(unit: Unit, change: IncidentChange) -> list[dict[str, Any]]:
    """An alert's status is its incident's: a row each when that changes, or when it comes into an incident of perhaps another status."""
    row, came = change.row, [link["id"] for link in change.data.get("alerts", {}).get("linked", ())]
    if row.status == "Redirected":
        return []
    if "status" in change.data.get("set", {}) and row.version > 1:
        alerts = list(unit.incidents.alerts_of(row.id))
    elif came and (row.status != "New" or change.source != CORRELATION):
        alerts = list(unit.incidents.alerts_by_id(came).values())
    else:
        return []
    told = {own("alerts").column("written"): iso(row.updated)}
    return [{**security_alert(alert_of(a), row.status), **told} for a in alerts]


def _description(unit: Unit, alert_id: str) -> str:
    """What the first alert says that it means: an incident has no text of its own."""
    return "".join(str(a.get("description") or "") for a in unit.incidents.alerts_by_id([alert_id]).values())


def _owner(unit: Unit, name: str | None) -> dict[str, Any]:
    """Sentinel's form of an owner (https://learn.microsoft.com/rest/api/securityinsights/incidents/get, IncidentOwnerInfo): `objectId` is made of the
    name, which never changes."""
    kind = unit.groups.type_of(name)
    person = name if kind != "Group" else None
    return {
        "objectId": str(uuid5(NAMESPACE_URL, f"tocsin:{kind}:{name}".casefold())) if name else None,
        "email": person if person and "@" in person else None,
        "assignedTo": name,
        "userPrincipalName": person,
        "ownerType": kind,
    }


def security_incident(unit: Unit, change: IncidentChange) -> dict[str, Any]:
    """What an incident became by a change, as a row of SecurityIncident."""
    row = change.row
    said = words("sentinel", status=row.status, classification=row.classification, determination=row.determination)
    briefs = unit.incidents.alert_rules(row.id)
    merged = row.status == "Redirected"
    assigned = {"Redirected", *row.payload.get("reports", ())}
    comments = [e for e in unit.incidents.activity_of(row.id) if e.kind == "comment"]
    return own("incidents").row(
        updated=iso(row.updated),
        id=row.id,
        number=row.number,
        url=page_of(unit, row.id) or "",
        title=row.title,
        description=_description(unit, next(iter(briefs), "")),
        severity=row.severity,
        status=said["status"],
        classification=said["classification"],
        determination=said["determination"],
        comment=comments[-1].text if row.closed and comments else "",
        owner=_owner(unit, row.owner),
        created=iso(row.created),
        modified_first=text_of(unit.incidents.history.first_modified(row.id, but=(CORRELATION, "system"))),
        closed=text_of(row.updated if merged else row.closed),
        first=iso(row.first),
        last=iso(row.last),
        actor=change.actor,
        alerts=list(briefs),
        rules=sorted(set(briefs.values())),
        labels=[{"labelName": t, "labelType": "AutoAssigned" if t in assigned else "User"} for t in sorted(row.tags)],
        comments=[{"id": e.id, "message": e.text, "author": e.actor, "createdTimeUtc": iso(e.time)} for e in comments],
        tasks=[t.to_dict() for t in unit.incidents.tasks.of(row.id)],
        more={
            "tactics": row.payload.get("tactics", []),
            "techniques": row.payload.get("techniques", []),
            "alertsCount": len(briefs),
            "bookmarksCount": 0,
            "commentsCount": len(comments),
            "alertProductNames": row.payload.get("products", []),
            "priority": row.priority,
            "version": row.version,
            "providerIncidentUrl": page_of(unit, row.id),
            "source": change.source,
            "acknowledgedTime": text_of(row.acknowledged),
            "phase": row.phase,
            "redirectTo": row.redirect_to,
        },
    )
