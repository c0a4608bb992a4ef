"""An incident's activity log, and the outbox of events that automation reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from tocsin.state.incident_log import IncidentLog
from tocsin.state.incident_rows import ActivityRow, EventRow
from tocsin.state.repository import Repository
from tocsin.state.schema import activity, incident_events
from tocsin.state.types import plain

__all__ = ["IncidentActivity"]


class IncidentActivity(Repository):
    """Activity and events by incident. Activity is a projection of the incident log, which is written in the same transaction."""

    @cached_property
    def history(self) -> IncidentLog:
        """The append-only log that all of this is a projection of."""
        return IncidentLog(self._c, self._clock)

    def log(
        self,
        incident_id: str,
        actor: str,
        kind: str,
        text: str,
        detail: Mapping[str, Any] | None = None,
        *,
        source: str = "system",
    ) -> int:
        """Adds an entry to the activity log and gives its number."""
        now = self._clock.now()
        values = {"kind": kind, "text": plain(text), "detail": dict(detail or {})}
        made = self._c.execute(insert(activity).values(incident_id=incident_id, time=now, actor=actor[:128], **values))
        assert made.inserted_primary_key is not None
        number = int(made.inserted_primary_key[0])
        self.history.append(
            incident_id, "entry", {"id": number, **values}, actor=actor, source=source, time=now, version=None
        )
        return number

    def activity_of(self, incident_id: str) -> list[ActivityRow]:
        """The activity log, oldest first."""
        chosen = select(activity).where(activity.c.incident_id == incident_id).order_by(activity.c.id)
        return [ActivityRow(**r._mapping) for r in self._c.execute(chosen)]

    def activity_details(self, incident_ids: Sequence[str], kinds: Sequence[str]) -> list[dict[str, Any]]:
        """What the entries of those kinds say beside their text, of several incidents, the newest first."""
        found: list[tuple[int, dict[str, Any]]] = []
        for start in range(0, len(incident_ids), 500):
            part = incident_ids[start : start + 500]
            chosen = select(activity.c.id, activity.c.detail).where(
                activity.c.incident_id.in_(part), activity.c.kind.in_(kinds)
            )
            found.extend((number, detail) for number, detail in self._c.execute(chosen))
        return [detail for _, detail in sorted(found, key=lambda f: -f[0])]

    def activity_page(self, incident_id: str, *, before: int = 0, limit: int) -> list[ActivityRow]:
        """The newest entries, oldest first: at most so many, those before the entry of that number."""
        chosen = select(activity).where(activity.c.incident_id == incident_id)
        if before:
            chosen = chosen.where(activity.c.id < before)
        rows = self._c.execute(chosen.order_by(activity.c.id.desc()).limit(limit)).all()
        return [ActivityRow(**r._mapping) for r in reversed(rows)]

    def activity_count(self, incident_id: str) -> int:
        """How many entries the activity log has."""
        chosen = select(func.count()).select_from(activity).where(activity.c.incident_id == incident_id)
        return int(self._c.execute(chosen).scalar_one())

    def put_activity(self, incident_id: str, rows: Iterable[ActivityRow]) -> None:
        """Makes these the incident's activity log, whole."""
        self._c.execute(delete(activity).where(activity.c.incident_id == incident_id))
        for row in rows:
            self._c.execute(insert(activity).values(**{f.name: getattr(row, f.name) for f in fields(ActivityRow)}))

    def entry(self, incident_id: str, number: int) -> ActivityRow | None:
        """One entry of an incident's activity log, or None."""
        chosen = select(activity).where(activity.c.incident_id == incident_id, activity.c.id == number)
        row = self._c.execute(chosen).first()
        return None if row is None else ActivityRow(**row._mapping)

    def change_activity(
        self, entry: ActivityRow, text: str, detail: Mapping[str, Any], *, actor: str, source: str
    ) -> None:
        """Gives an entry another text (an edited comment); the incident log keeps both."""
        values = {"text": plain(text), "detail": dict(detail)}
        self._c.execute(update(activity).where(activity.c.id == entry.id).values(**values))
        self.history.append(
            entry.incident_id,
            "entry-changed",
            {"id": entry.id, **values},
            actor=actor,
            source=source,
            time=self._clock.now(),
        )

    def remove_activity(self, incident_id: str, entry: int, *, actor: str, source: str) -> bool:
        """Takes an entry out of the log (the undo of a comment); the incident and the audit log keep what it said."""
        gone = self._c.execute(delete(activity).where(activity.c.id == entry, activity.c.incident_id == incident_id))
        if gone.rowcount != 1:
            return False
        self.history.append(
            incident_id, "entry-removed", {"id": entry}, actor=actor, source=source, time=self._clock.now()
        )
        return True

    def emit(
        self,
        incident_id: str,
        kind: str,
        actor: str,
        source: str,
        changes: Mapping[str, Any],
        *,
        depth: int = 0,
    ) -> int:
        """Puts an event into the outbox, in the transaction of the change that it tells of."""
        made = self._c.execute(
            insert(incident_events).values(
                incident_id=incident_id,
                time=self._clock.now(),
                kind=kind,
                actor=actor[:128],
                source=source,
                changes=dict(changes),
                depth=depth,
            )
        )
        assert made.inserted_primary_key is not None
        return int(made.inserted_primary_key[0])

    def pending_events(self, limit: int = 100) -> list[EventRow]:
        """Events that automation has not handled, in order."""
        chosen = select(incident_events).where(incident_events.c.handled.is_(None))
        return [EventRow(**r._mapping) for r in self._c.execute(chosen.order_by(incident_events.c.seq).limit(limit))]

    def event_handled(self, seq: int) -> bool:
        """Marks an event; False when it was handled before."""
        done = self._c.execute(
            update(incident_events)
            .where(incident_events.c.seq == seq, incident_events.c.handled.is_(None))
            .values(handled=self._clock.now())
        )
        return done.rowcount == 1

    def sweep_events(self, before: datetime) -> int:
        """Removes handled events that are older than that."""
        return self._c.execute(
            delete(incident_events).where(incident_events.c.handled.is_not(None), incident_events.c.time < before)
        ).rowcount
