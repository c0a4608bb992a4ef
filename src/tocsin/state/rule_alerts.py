"""What rules have said, asked by rule: by time and judgement, the latest alerts, and who changed what about a rule."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select

from tocsin.state.audit import AuditRow
from tocsin.state.repository import Repository
from tocsin.state.schema import alerts, audit, incidents

__all__ = ["RuleAlerts"]


class RuleAlerts(Repository):
    """Alerts and changes by rule. It reads only."""

    def unconfirmed(self, since: datetime) -> dict[str, int]:
        """By rule: how many alerts were made since then that nobody has called a true positive."""
        chosen = (
            select(alerts.c.rule_id, func.count())
            .select_from(alerts.outerjoin(incidents, alerts.c.incident_id == incidents.c.id))
            .where(
                alerts.c.created >= since,
                or_(incidents.c.classification.is_(None), incidents.c.classification != "TruePositive"),
            )
            .group_by(alerts.c.rule_id)
        )
        return {str(rule): int(n) for rule, n in self._c.execute(chosen)}

    def judged(self, rule_id: str, since: datetime) -> list[tuple[datetime, str, str]]:
        """Of each alert of a rule since then: when it was made, its incident ("" for none), what was said of that ("" for nothing)."""
        chosen = (
            select(alerts.c.created, alerts.c.incident_id, incidents.c.classification)
            .select_from(alerts.outerjoin(incidents, alerts.c.incident_id == incidents.c.id))
            .where(alerts.c.rule_id == rule_id, alerts.c.created >= since)
        )
        return [(created, str(i or ""), str(said or "")) for created, i, said in self._c.execute(chosen)]

    def latest(self, rule_id: str, *, limit: int, since: datetime | None = None) -> list[tuple[dict[str, Any], str]]:
        """The newest alerts of a rule in their JSON form, each with its incident ("" for none)."""
        chosen = select(alerts.c.payload, alerts.c.incident_id).where(alerts.c.rule_id == rule_id)
        if since is not None:
            chosen = chosen.where(alerts.c.created >= since)
        rows = self._c.execute(chosen.order_by(alerts.c.created.desc(), alerts.c.id).limit(limit))
        return [(dict(payload), str(incident or "")) for payload, incident in rows]

    def changes(self, object_type: str, object_id: str, *, limit: int, within: bool = False) -> list[AuditRow]:
        """The newest entries of the audit trail about an object; `within`: about its parts (``object/part``), too."""
        which = audit.c.object_id == object_id
        if within:
            which = or_(which, audit.c.object_id.startswith(f"{object_id}/", autoescape=True))
        chosen = select(audit).where(audit.c.object_type == object_type, which)
        return [AuditRow(**r._mapping) for r in self._c.execute(chosen.order_by(audit.c.seq.desc()).limit(limit))]

    def change(self, seq: int) -> AuditRow | None:
        """One entry of the audit trail."""
        row = self._c.execute(select(audit).where(audit.c.seq == seq)).first()
        return None if row is None else AuditRow(**row._mapping)
