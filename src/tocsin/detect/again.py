"""A rule's past: what its last windows would have shown (results simulation), and a past stretch run again without saying anything twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.detect.alert import Alert, iso
from tocsin.detect.backfill import run_over
from tocsin.detect.make import Row, Rows, assets_of, later, make_alerts, one_alert, row_entities, row_hash
from tocsin.detect.plan import Plan
from tocsin.detect.rule import Operator, Rule, RuleKind
from tocsin.detect.run import Queries, query_rows
from tocsin.detect.shapes import shape_of
from tocsin.detect.told import Told
from tocsin.detect.windows import index_at, moment_of
from tocsin.lake.engine import Limits, Window
from tocsin.state.rules import LedgerRow

__all__ = ["Simulated", "run_again", "simulate"]

WINDOWS = 50
"""How many windows a simulation shows (Sentinel's number)."""

_LIMITS = Limits(rows=10_000, seconds=60.0)
_NRT_STEP = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Simulated:
    """One window: how many results it shows, whether they trigger, and the alerts that that makes after what windows before said."""

    start: datetime
    end: datetime
    results: int
    triggers: bool
    alerts: tuple[Alert, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "start": iso(self.start),
            "end": iso(self.end),
            "results": self.results,
            "triggers": self.triggers,
            "alerts": len(self.alerts),
        }


def simulate(rule: Rule, queries: Queries, now: datetime, windows: int = WINDOWS) -> list[Simulated]:
    """The rule's last windows up to `now`, oldest first, as the scheduler would have run them over the rows that are there.

    Raises DetectError when the query can't be compiled or a window can't be finished.
    """
    plan = Plan(rule, LedgerRow(rule.id))
    plan.compile(queries, now)
    step = max(rule.frequency, _NRT_STEP)
    last = index_at(now, step)
    told, shape = Told(), shape_of(rule.query)
    asked = replace(rule, query=plan.query)
    found = []
    suppressed: datetime | None = None
    for index in range(last - windows + 1, last + 1):
        end = moment_of(index, step)
        # A filter's windows follow each other; any other rule's look back over its period.
        start = later(end, -step) if plan.exact else later(end, -rule.period)
        if suppressed is not None and end < suppressed:
            found.append(Simulated(start, end, 0, triggers=False))
            continue
        result = query_rows(asked, queries, Window(start, end), limits=_LIMITS, tables=plan.tables)
        triggers = rule.operator.holds(result.count, rule.threshold)
        alerts: list[Alert] = []
        if triggers:
            fresh = result.rows if plan.exact else told.fresh(rule, result.rows, end, end, shape)
            if fresh or not result.rows:
                any_number = replace(rule, operator=Operator.NOT_EQUAL, threshold=-1)
                alerts = make_alerts(any_number, replace(result, rows=fresh, total=None))
        if alerts and rule.suppression is not None:
            suppressed = later(end, rule.suppression)
        found.append(Simulated(start, end, result.count, triggers, tuple(alerts)))
    return found


def run_again(
    rule: Rule, queries: Queries, first: datetime, last: datetime, known: Sequence[Mapping[str, Any]]
) -> list[Alert]:
    """The alerts of a rule over the events of a past stretch that `known`, its alerts so far in their JSON form, don't tell of.

    A row with a time of its own was told if a known alert holds it, or stands for more rows than it holds, on the same assets at that time. A
    group was told if a known alert is about the same assets at an overlapping time. Raises DetectError.
    """
    enabled = replace(rule, enabled=True)
    if rule.kind is RuleKind.SIGMA:
        return []
    earlier = [Alert.from_dict(a) for a in known]
    hashes = {row_hash(dict(e.row)) for a in earlier for e in a.events}
    shape = shape_of(rule.query)
    alerts = []
    for made in run_over([enabled], queries, first, last):
        rows: list[Row] = []
        for each in made.events:
            row = dict(each.row)
            if row_hash(row) in hashes or _stood_for(enabled, row, made, earlier, groups=shape.groups):
                continue
            rows.append(row)
        if not rows and made.events:
            continue
        if len(rows) == len(made.events):
            alerts.append(made)
            continue
        tables = frozenset(e.table for e in made.events)
        alerts.append(one_alert(enabled, rows, Rows(rows, tables, made.time, made.created)))
    return alerts


def _stood_for(rule: Rule, row: Row, made: Alert, earlier: Sequence[Alert], *, groups: bool) -> bool:
    assets = set(assets_of(row_entities(rule, row)))
    for alert in earlier:
        if not groups and alert.count <= len(alert.events):
            continue
        if later(alert.time, -rule.frequency) > made.end or later(alert.end, rule.frequency) < made.time:
            continue
        if assets <= set(assets_of(alert.entities)):
            return True
    return False
