"""The rule ledger (how far each rule has come) and what analysts switched.

The ledger makes scheduled rules exact: a rule's next window starts where `window_end` says the last one ended, and the mark moves in the
transaction that saves the alerts of the window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from tocsin.state.repository import Repository
from tocsin.state.schema import rule_ledger, rule_overrides

__all__ = ["LedgerRow", "OverrideRow", "Rules"]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """How far a rule has come. `failures` counts those in a row; `disabled_reason` is set when the scheduler gave up."""

    rule_id: str
    window_end: datetime | None = None
    suppressed_until: datetime | None = None
    last_run: datetime | None = None
    last_status: str | None = None
    last_error: str | None = None
    failures: int = 0
    runs: int = 0
    alerts: int = 0
    disabled_reason: str | None = None
    payload: Any = None


@dataclass(frozen=True, slots=True)
class OverrideRow:
    """What an analyst switched."""

    rule_id: str
    enabled: bool | None
    changed: datetime
    changed_by: str


class Rules(Repository):
    """The ledger by rule id, and overrides by kind and rule id."""

    def get(self, rule_id: str) -> LedgerRow:
        """The ledger row; an empty one for a rule that never ran."""
        row = self._c.execute(select(rule_ledger).where(rule_ledger.c.rule_id == rule_id)).first()
        return LedgerRow(rule_id) if row is None else LedgerRow(**row._mapping)

    def all(self) -> dict[str, LedgerRow]:
        """Every ledger row by rule id."""
        return {r.rule_id: LedgerRow(**r._mapping) for r in self._c.execute(select(rule_ledger))}

    def succeeded(
        self,
        rule_id: str,
        window_end: datetime,
        *,
        alerts: int = 0,
        suppressed_until: datetime | None = None,
        payload: Any = None,
    ) -> None:
        """A window was evaluated: moves the mark (never backwards), adds the alerts, forgets failures."""
        known = self.get(rule_id)
        self._set(
            rule_id,
            window_end=max(window_end, known.window_end) if known.window_end else window_end,
            suppressed_until=suppressed_until if suppressed_until is not None else known.suppressed_until,
            last_run=self._clock.now(),
            last_status="Success",
            last_error=None,
            failures=0,
            runs=known.runs + 1,
            alerts=known.alerts + alerts,
            **({"payload": payload} if payload is not None else {}),
        )

    def failed(self, rule_id: str, error: str, *, disable: str | None = None) -> int:
        """A window could not be evaluated: the mark stays. `disable` gives the reason to stop the rule. Gives failures in a row."""
        known = self.get(rule_id)
        self._set(
            rule_id,
            last_run=self._clock.now(),
            last_status="Failure",
            last_error=error[:4000],
            failures=known.failures + 1,
            runs=known.runs + 1,
            **({"disabled_reason": disable} if disable else {}),
        )
        return known.failures + 1

    def streamed(self, alerts: Mapping[str, int]) -> None:
        """Rules that look at each event as it comes said so many alerts more, by rule id."""
        now = self._clock.now()
        for rule_id, more in alerts.items():
            known = self.get(rule_id)
            self._set(rule_id, last_run=now, last_status="Success", alerts=known.alerts + more)

    def put(self, row: LedgerRow) -> None:
        """Writes a whole row."""
        self._set(
            row.rule_id,
            **{name: getattr(row, name) for name in row.__dataclass_fields__ if name != "rule_id"},
        )

    def enable_again(self, rule_id: str) -> None:
        """Forgets why the scheduler gave up."""
        self._set(rule_id, disabled_reason=None, failures=0)

    def _set(self, rule_id: str, **columns: Any) -> None:
        self._upsert(rule_ledger, {"rule_id": rule_id}, columns, first={"failures": 0, "runs": 0, "alerts": 0})

    def overrides(self, kind: str) -> dict[str, OverrideRow]:
        """Overrides of rules of a kind (detection, automation) by rule id."""
        chosen = select(rule_overrides).where(rule_overrides.c.kind == kind)
        return {r.rule_id: OverrideRow(r.rule_id, r.enabled, r.changed, r.changed_by) for r in self._c.execute(chosen)}

    def override(self, kind: str, rule_id: str, *, enabled: bool | None, by: str) -> None:
        """Switches a rule; None goes back to what its file says."""
        values = {"enabled": enabled, "changed": self._clock.now(), "changed_by": by}
        self._upsert(rule_overrides, {"kind": kind, "rule_id": rule_id}, values)
