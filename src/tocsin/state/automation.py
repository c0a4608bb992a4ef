"""Runs of automation rules, and what each rule already did to an incident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select

from tocsin.state.repository import Repository
from tocsin.state.schema import automation_done, automation_runs, incidents

__all__ = ["AutomationStore", "RunRow"]


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run of an automation rule. `outcome`: Success, PartialSuccess, Failure or Stopped (by the loop guard)."""

    rule_id: str
    incident_id: str
    event_seq: int
    time: datetime
    outcome: str
    detail: Mapping[str, Any]
    incident_number: int | None = None


class AutomationStore(Repository):
    """Runs by rule, and marks by rule, incident and fingerprint."""

    def ran(self, rule_id: str, incident_id: str, event_seq: int, outcome: str, detail: Mapping[str, Any]) -> None:
        """Notes a run."""
        self._c.execute(
            insert(automation_runs).values(
                rule_id=rule_id,
                incident_id=incident_id,
                event_seq=event_seq,
                time=self._clock.now(),
                outcome=outcome,
                detail=dict(detail),
            )
        )

    def has_run(self, rule_id: str, event_seq: int) -> bool:
        """Whether the rule ran on that event."""
        chosen = select(automation_runs.c.id).where(
            automation_runs.c.rule_id == rule_id, automation_runs.c.event_seq == event_seq
        )
        return self._c.execute(chosen).first() is not None

    def runs(self, rule_id: str, limit: int = 50) -> list[RunRow]:
        """Runs of a rule, newest first."""
        r = automation_runs.c
        chosen = (
            select(
                r.rule_id,
                r.incident_id,
                r.event_seq,
                r.time,
                r.outcome,
                r.detail,
                incidents.c.number.label("incident_number"),
            )
            .select_from(automation_runs.join(incidents, incidents.c.id == r.incident_id))
            .where(r.rule_id == rule_id)
            .order_by(r.id.desc())
            .limit(limit)
        )
        return [RunRow(**row._mapping) for row in self._c.execute(chosen)]

    def summary(self) -> dict[str, tuple[int, datetime, str]]:
        """By rule: how many runs, when the last was and how it ended."""
        r = automation_runs.c
        last = (
            select(r.rule_id, func.count().label("runs"), func.max(r.id).label("last")).group_by(r.rule_id).subquery()
        )
        chosen = select(last.c.rule_id, last.c.runs, r.time, r.outcome).join(automation_runs, r.id == last.c.last)
        return {row.rule_id: (int(row.runs), row.time, row.outcome) for row in self._c.execute(chosen)}

    def has_done(self, rule_id: str, incident_id: str, fingerprint: str) -> bool:
        """Whether the rule did that to the incident before."""
        d = automation_done.c
        chosen = select(d.time).where(d.rule_id == rule_id, d.incident_id == incident_id, d.fingerprint == fingerprint)
        return self._c.execute(chosen).first() is not None

    def did(self, rule_id: str, incident_id: str, fingerprint: str, action_id: str) -> None:
        """Notes that the rule did that to the incident, and which action came of it."""
        self._c.execute(
            insert(automation_done).values(
                rule_id=rule_id,
                incident_id=incident_id,
                fingerprint=fingerprint,
                time=self._clock.now(),
                action_id=action_id,
            )
        )
