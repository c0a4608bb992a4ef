"""Runs one KQL rule over one window."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa
import structlog

from tocsin.base.errors import DetectError, KqlError, Place, TocsinError
from tocsin.detect.alert import Alert
from tocsin.detect.make import LAST_MOMENT, Rows, make_alerts
from tocsin.detect.rule import Rule, RuleKind
from tocsin.detect.tuning import without_excluded
from tocsin.lake.engine import Limits, QueryResult, Window
from tocsin.query.catalog import WATCHLIST
from tocsin.query.external import EXTERNAL

__all__ = ["RULE_LIMITS", "Queries", "defect", "query_rows", "rule_error", "run_rule", "stored_tables"]

_log = structlog.get_logger("tocsin.detect")

RULE_LIMITS = Limits(rows=10_000, seconds=300.0)
"""What one run of a rule may take; more rows are counted as the limit."""


class Queries(Protocol):
    """The part of `tocsin.query.QueryService` that rules need."""

    def run(
        self,
        text: str,
        *,
        window: Window | None = None,
        limits: Limits | None = None,
        now: datetime | None = None,
        relations: Mapping[str, pa.Table] | None = None,
        steady: bool = False,
    ) -> QueryResult:
        """Rows of a query; with `steady` the same rows in the same order whenever it is asked."""

    def compile(self, text: str, now: datetime | None = None) -> Any:
        """The compiled query."""


def run_rule(
    rule: Rule,
    queries: Queries,
    window_end: datetime,
    *,
    window_start: datetime | None = None,
    column: str = "TimeGenerated",
    relations: Mapping[str, pa.Table] | None = None,
    limits: Limits = RULE_LIMITS,
) -> list[Alert]:
    """The alerts of a rule over the window ``[window_start, window_end)``, by default its period before the end.

    Every table is cut to the window at the scan by `column`, and now() is the window's end. The same rows give the same alerts, ids included.

    Raises DetectError: DET0003 for a query that can't be compiled, DET0004 for one that couldn't finish (`__cause__` tells).
    """
    start = window_start if window_start is not None else window_end - rule.period
    return make_alerts(
        rule, query_rows(rule, queries, Window(start, window_end, column), relations=relations, limits=limits)
    )


def query_rows(
    rule: Rule,
    queries: Queries,
    window: Window,
    *,
    relations: Mapping[str, pa.Table] | None = None,
    limits: Limits = RULE_LIMITS,
    tables: frozenset[str] | None = None,
) -> Rows:
    """The rows of a rule's query over a window. Raises as `run_rule`."""
    if rule.kind is RuleKind.SIGMA:
        raise DetectError(f"'{rule.name}' is a Sigma rule; it has no query.", code="DET0005", place=_place(rule))
    now = window.end or LAST_MOMENT
    try:
        if tables is None:
            tables = stored_tables(queries.compile(rule.query, now))
        result = queries.run(rule.query, window=window, now=now, limits=limits, relations=relations, steady=True)
    except TocsinError as error:
        raise rule_error(rule, error) from error
    rows = without_excluded(rule, result.dicts(), now)
    return Rows(rows, tables, window.start, now, truncated=result.truncated)


def stored_tables(compiled: Any) -> frozenset[str]:
    """The tables of the lake that a compiled query reads: watchlists and external data hold no events."""
    return frozenset(t for t in compiled.tables if not t.startswith((WATCHLIST, EXTERNAL)))


def defect(rule: Rule, error: Exception) -> DetectError:
    """What a defect of ours in one rule's run is told as, so that the other rules go on; logged with its traceback."""
    _log.error("rule.crashed", rule=rule.id, exc_info=error)
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return DetectError(
        f"The rule '{rule.name}' ended with a defect of Tocsin: {what}",
        code="DET0012",
        place=_place(rule),
        hint="The log has more.",
    )


def rule_error(rule: Rule, error: TocsinError) -> DetectError:
    """The error of a rule that failed, naming the rule's file and what went wrong."""
    code = "DET0003" if isinstance(error, KqlError) else "DET0004"
    verb = "can't be compiled" if code == "DET0003" else "couldn't finish"
    detail = f"{error.code} {error.message}"
    made = DetectError(
        f"The rule '{rule.name}' {verb}: {detail}", code=code, place=_place(rule, error), hint=error.hint
    )
    made.__cause__ = error  # whoever only reports it can tell what was wrong, too
    return made


def _place(rule: Rule, error: TocsinError | None = None) -> Place:
    """The rule's file; for a query error the line within the file where the query stands as a block."""
    source = str(rule.path) if rule.path else rule.id
    inner = error.place if error is not None else None
    if inner is None or inner.line is None or not rule.text:
        return Place(source)
    lines = rule.query.splitlines()
    wanted = lines[inner.line - 1].strip() if 0 < inner.line <= len(lines) else ""
    for number, line in enumerate(rule.text.splitlines(), 1):
        if wanted and line.strip() == wanted:
            indent = len(line) - len(line.lstrip()) - (len(lines[inner.line - 1]) - len(lines[inner.line - 1].lstrip()))
            return Place(source, number, (inner.column or 1) + indent)
        if wanted and len(lines) == 1 and line.endswith(wanted):  # the query stands beside its key
            return Place(source, number, (inner.column or 1) + len(line) - len(wanted))
    return Place(source)
