"""What people change about a rule without touching its file: exclusions, and overrides of a few of its settings.

An exclusion leaves result rows out that meet all of its conditions, with the reason and until when it holds. Both are kept with who made them, in
state and in the audit trail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.detect.make import Row
from tocsin.detect.rule import Rule, normal_severity

__all__ = ["OPERATORS", "Condition", "Exclusion", "tuned", "without_excluded"]

OPERATORS = ("equals", "contains", "startswith", "endswith", "in")


@dataclass(frozen=True, slots=True)
class Condition:
    """A column compared, without case, with a value (`in`: with any of several)."""

    column: str
    operator: str
    values: tuple[str, ...]

    def holds(self, row: Row) -> bool:
        """Whether the row's value meets it; a row without the column doesn't."""
        value = row.get(self.column)
        if value is None:
            return False
        text = str(value).lower()
        wanted = [v.lower() for v in self.values]
        match self.operator:
            case "contains":
                return any(w in text for w in wanted)
            case "startswith":
                return any(text.startswith(w) for w in wanted)
            case "endswith":
                return any(text.endswith(w) for w in wanted)
            case _:
                return text in wanted


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Rows that a rule leaves out."""

    id: str
    conditions: tuple[Condition, ...]
    reason: str
    created: datetime
    created_by: str
    expires: datetime | None = None

    def holds(self, row: Row, now: datetime) -> bool:
        """Whether the row is left out at that time."""
        if self.expires is not None and self.expires <= now:
            return False
        return bool(self.conditions) and all(c.holds(row) for c in self.conditions)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "id": self.id,
            "conditions": [
                {"column": c.column, "operator": c.operator, "values": list(c.values)} for c in self.conditions
            ],
            "reason": self.reason,
            "created": self.created.isoformat(),
            "created_by": self.created_by,
            "expires": self.expires.isoformat() if self.expires else None,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Exclusion:
        """The exclusion of a `to_dict` form."""
        return cls(
            id=raw["id"],
            conditions=tuple(Condition(c["column"], c["operator"], tuple(c["values"])) for c in raw["conditions"]),
            reason=raw["reason"],
            created=datetime.fromisoformat(raw["created"]),
            created_by=raw["created_by"],
            expires=datetime.fromisoformat(raw["expires"]) if raw.get("expires") else None,
        )


def without_excluded(rule: Rule, rows: Sequence[Row], now: datetime) -> Sequence[Row]:
    """The rows that none of the rule's exclusions leaves out."""
    if not rule.exclusions:
        return rows
    return [row for row in rows if not any(e.holds(row, now) for e in rule.exclusions)]


def tuned(rule: Rule, exclusions: Sequence[Exclusion], settings: Mapping[str, Any]) -> Rule:
    """The rule with its exclusions and overridden settings: severity, create_incident, correlate, suppression (seconds, 0 for none), threshold."""
    if exclusions:
        rule = replace(rule, exclusions=tuple(exclusions))
    if severity := normal_severity(str(settings.get("severity") or "")) if settings.get("severity") else None:
        rule = replace(rule, severity=severity)
    if settings.get("create_incident") is not None:
        rule = replace(rule, incident=replace(rule.incident, create=bool(settings["create_incident"])))
    if settings.get("correlate") is not None:
        rule = replace(rule, incident=replace(rule.incident, correlate=bool(settings["correlate"])))
    if settings.get("suppression") is not None:
        seconds = int(settings["suppression"])
        rule = replace(rule, suppression=timedelta(seconds=seconds) if seconds else None)
    if settings.get("threshold") is not None:
        rule = replace(rule, threshold=int(settings["threshold"]))
    return rule
