"""Sigma rules that take too much of the matcher's time: named in SentinelHealth, and switched off where a cap is set."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import structlog

from tocsin.base.clock import Clock
from tocsin.detect.alert import iso
from tocsin.detect.rule import Rule
from tocsin.state import State
from tocsin.tables.own import own

__all__ = ["RuleCosts"]

_log = structlog.get_logger("tocsin.workspace.costs")
WINDOW = 30.0
"""Seconds over which shares are taken."""
AGAIN = 3600.0
"""Seconds until a costly rule is named again."""


class _Matcher(Protocol):
    def spent(self) -> dict[str, int]: ...

    def drop(self, rule_ids: frozenset[str]) -> None: ...

    @property
    def rules(self) -> list[Rule]: ...


class RuleCosts:
    """Watches a matcher. `costly` and `cap` are percents of one core; without a cap no rule is switched off.

    `shares` are the percents of the last window by rule id, of rules that took something.
    """

    def __init__(
        self,
        state: State,
        health: Callable[[Mapping[str, Any]], None],
        *,
        clock: Clock,
        costly: float,
        cap: float | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state, self._health, self._clock, self._monotonic = state, health, clock, monotonic
        self._costly, self._cap = costly, cap
        self._since = monotonic()
        self._named: dict[str, float] = {}
        self.shares: Mapping[str, float] = {}

    def capped(self) -> frozenset[str]:
        """Rules that were switched off, for cost or otherwise, and not switched on again."""
        with self._state.read() as unit:
            return frozenset(rule_id for rule_id, row in unit.rules.all().items() if row.disabled_reason)

    def look(self, matcher: _Matcher) -> None:
        """Looks at what rules took when a window is over. On the matcher's thread."""
        now = self._monotonic()
        if now - self._since < WINDOW:
            return
        elapsed, self._since = now - self._since, now
        shares = {rule_id: spent / elapsed / 1e7 for rule_id, spent in matcher.spent().items()}
        self.shares = shares
        rules = {r.id: r for r in matcher.rules}
        over = {rule_id for rule_id, share in shares.items() if self._cap is not None and share > self._cap}
        for rule_id in sorted(over):
            self._switch_off(rules[rule_id], shares[rule_id])
        if over:
            matcher.drop(frozenset(over))
        for rule_id, share in shares.items():
            if share > self._costly and rule_id not in over and now - self._named.get(rule_id, -AGAIN) >= AGAIN:
                self._named[rule_id] = now
                self._say(rules[rule_id], "Warning", f"It takes {share:.0f} % of a core.", share)

    def _switch_off(self, rule: Rule, share: float) -> None:
        reason = f"It took {share:.0f} % of a core, more than detect.cap_percent = {self._cap:g}."
        with self._state.write() as unit:
            unit.rules.put(replace(unit.rules.get(rule.id), disabled_reason=reason, last_status="Failure"))
            unit.audit.add("system:sigma", "rule.disable", "rule", rule.id, detail={"reason": reason})
        _log.warning("rule.disabled", rule=rule.id, name=rule.name, reason=reason)
        self._say(rule, "Failure", f"Disabled for cost. {reason}", share)

    def _say(self, rule: Rule, status: str, text: str, share: float) -> None:
        self._health(
            own("rule_health").row(
                time=iso(self._clock.now()),
                operation="Sigma analytics rule run",
                id=rule.id,
                name=rule.name,
                type="Analytics Rule",
                kind=rule.kind.value,
                status=status,
                reason="Rule cost",
                description=text,
                details={"CorePercent": round(share, 1), "Cap": self._cap},
            )
        )
