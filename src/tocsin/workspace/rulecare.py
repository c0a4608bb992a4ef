"""Looking after rules: how loud each is beside its budget, what it has said, whether it can run, who changed it, and taking that back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from tocsin.access import Principal
from tocsin.base.errors import TocsinError
from tocsin.content import is_warning
from tocsin.detect.alert import iso
from tocsin.detect.check import check_rule, prevents
from tocsin.detect.rule import Rule, RuleKind
from tocsin.detect.tuning import Exclusion
from tocsin.state import AuditRow, ConflictError, NotFoundError, State
from tocsin.workspace.rulechanges import undo_exclusions, undo_tuning

if TYPE_CHECKING:
    from tocsin.query import QueryService
    from tocsin.workspace.rulebook import RuleBook

__all__ = ["RuleCare"]

_WEEK = timedelta(days=7)
_JUDGED = {
    "TruePositive": "true_positive",
    "FalsePositive": "false_positive",
    "InformationalExpectedActivity": "expected",
}
_PREVIEW_ALERTS = 2_000
_EXAMPLES = 20
_RECHECK_SECONDS = 60.0
"""How long a rule that can't run is taken for one: a table, a function or a watchlist may have come meanwhile."""

_MISSING = {"KQL0101": "column", "KQL0102": "table", "KQL0103": "function", "DET0011": "column"}
"""What a rule lacks, by the code of its complaint."""


class RuleCare:
    """See the module. Thread-safe; it changes nothing but by `undo`."""

    def __init__(
        self,
        state: State,
        book: RuleBook,
        queries: Callable[[], QueryService],
        *,
        budget: int,
        filled: Callable[[], set[str]],
    ) -> None:
        """`budget`: alerts a week that a rule may cost unless its tuning says otherwise; `filled`: tables that received rows lately."""
        self._state, self._book, self._queries = state, book, queries
        self._budget, self._filled = budget, filled
        self._checked: dict[str, tuple[str, float, tuple[TocsinError, ...]]] = {}

    # ------------------------------------------------------------------ noise

    def week(self) -> dict[str, dict[str, Any]]:
        """By rule, "" for one that said nothing: alerts of the last seven days that nobody called a true positive, beside its budget."""
        with self._state.read() as unit:
            hits = unit.rule_alerts.unconfirmed(self._state.clock.now() - _WEEK)
            tuning = unit.kv.get("rule.tuning") or {}
        made = {"": self._beside(0, None)}
        for rule_id in {*hits, *tuning}:
            made[rule_id] = self._beside(hits.get(rule_id, 0), (tuning.get(rule_id) or {}).get("noise_budget"))
        return made

    def _beside(self, hits: int, own: int | None) -> dict[str, Any]:
        budget = self._budget if own is None else own
        return {"hits": hits, "budget": budget, "exceeded": hits > budget, "own": own is not None}

    def noise(self, rule_id: str, weeks: int) -> dict[str, Any]:
        """A rule's alerts by week (from Monday, UTC), the newest last, with what was said of their incidents. Raises NotFoundError."""
        self._book.find(rule_id)
        today = self._state.clock.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        monday = today - timedelta(days=today.weekday())
        starts = [monday - _WEEK * n for n in reversed(range(weeks))]
        names = ("hits", *_JUDGED.values(), "unclassified")
        found: list[dict[str, Any]] = [
            {"start": iso(s), "end": iso(s + _WEEK), **dict.fromkeys(names, 0)} for s in starts
        ]
        seen: list[set[str]] = [set() for _ in starts]
        with self._state.read() as unit:
            judged = unit.rule_alerts.judged(rule_id, starts[0])
        for created, incident, said in judged:
            at = min((created.astimezone(UTC) - starts[0]) // _WEEK, weeks - 1)
            found[at]["hits"] += 1
            found[at][_JUDGED.get(said, "unclassified")] += 1
            if incident:
                seen[at].add(incident)
        for entry, incidents in zip(found, seen, strict=True):
            entry["incidents"] = len(incidents)
        week = self.week()
        return {"weeks": found, **(week.get(rule_id) or week[""])}

    # ------------------------------------------------------------------ what it said

    def alerts(self, rule_id: str, *, limit: int, alert_id: str = "") -> list[dict[str, Any]]:
        """The newest alerts of a rule with their rows; with `alert_id` that one of the rule's. Raises NotFoundError."""
        self._book.find(rule_id)
        with self._state.read() as unit:
            if alert_id:
                one = unit.incidents.alerts_by_id([alert_id]).get(alert_id)
                if one is None or one["rule_id"] != rule_id:
                    raise NotFoundError(f"the rule has no alert '{alert_id}'")
                found = [(one, "")]
            else:
                found = unit.rule_alerts.latest(rule_id, limit=limit)
        return [
            {
                "id": alert["id"],
                "title": alert["title"],
                "time": alert["time"],
                "created": alert["created"],
                "severity": alert["severity"],
                "count": alert.get("count", 1),
                "incident_id": incident or None,
                "rows": [dict(e["row"]) for e in alert["events"][:_EXAMPLES]],
            }
            for alert, incident in found
        ]

    def columns(self, rule_id: str) -> list[str]:
        """What conditions of an exclusion may name: the query's columns, of a Sigma rule the fields of the events that it hit."""
        rule = self._book.find(rule_id)
        if rule.kind is RuleKind.SIGMA:
            with self._state.read() as unit:
                latest = unit.rule_alerts.latest(rule.id, limit=20)
            return sorted({name for alert, _ in latest for e in alert["events"] for name in e["row"]})
        try:
            return [c.name for c in self._queries().compile(rule.query).columns]
        except TocsinError:
            return []

    def preview(self, rule_id: str, conditions: Sequence[Mapping[str, Any]], days: int) -> dict[str, Any]:
        """What an exclusion would have hidden of the alerts of so many days: rows, whole alerts, and some of both. Raises NotFoundError."""
        self._book.find(rule_id)
        now = self._state.clock.now()
        trial = Exclusion.from_dict(
            {"id": "", "conditions": conditions, "reason": "", "created": now.isoformat(), "created_by": ""}
        )
        with self._state.read() as unit:
            known = unit.rule_alerts.latest(rule_id, limit=_PREVIEW_ALERTS + 1, since=now - timedelta(days=days))
        rows = hidden = alerts = 0
        confirmed = 0
        examples: list[dict[str, Any]] = []
        with self._state.read() as unit:
            judged = {i: s for _, i, s in unit.rule_alerts.judged(rule_id, now - timedelta(days=days)) if i}
        for alert, incident in known[:_PREVIEW_ALERTS]:
            held = [e["row"] for e in alert["events"] if trial.holds(e["row"], now)]
            rows += len(alert["events"])
            hidden += len(held)
            whole = bool(held) and len(held) == len(alert["events"]) >= alert.get("count", 1)
            alerts += whole
            confirmed += whole and judged.get(incident) == "TruePositive"
            if held and len(examples) < _EXAMPLES:
                told = {
                    "id": alert["id"],
                    "title": alert["title"],
                    "time": alert["time"],
                    "incident_id": incident or None,
                }
                examples.append({**told, "whole": whole, "rows": len(held), "row": dict(held[0])})
        return {
            "days": days,
            "alerts": min(len(known), _PREVIEW_ALERTS),
            "more": len(known) > _PREVIEW_ALERTS,
            "alerts_hidden": alerts,
            "true_positives_hidden": confirmed,
            "rows": rows,
            "rows_hidden": hidden,
            "examples": examples,
        }

    # ------------------------------------------------------------------ whether it can run

    def load_report(self) -> dict[str, Any]:
        """Of each rule whether it can run or what it lacks, and files that gave no rule."""
        filled = self._filled()
        work = self._book.work
        items = []
        for rule in self._book.rules:
            problems = self._problems(rule)
            tables = sorted(work.tables(rule)) if work is not None else []
            items.append(
                {
                    "id": rule.id,
                    "name": rule.name,
                    "file": str(rule.path or ""),
                    "runs": not any(map(prevents, problems)),
                    "missing": sorted({_MISSING.get(_code(p), "other") for p in problems}),
                    "problems": [_told(p) for p in problems],
                    "tables": tables,
                    "empty": [t for t in tables if t not in filled],
                }
            )
        files = [
            {"file": p.place.source if p.place else "", "warning": is_warning(p), **_told(p)}
            for p in self._book.problems
        ]
        return {
            "items": items,
            "running": sum(i["runs"] for i in items),
            "broken": sum(not i["runs"] for i in items),
            "files": files,
        }

    def _problems(self, rule: Rule) -> tuple[TocsinError, ...]:
        known = self._checked.get(rule.id)
        now = time.monotonic()
        if known is not None and known[0] == rule.text and (not known[2] or now - known[1] < _RECHECK_SECONDS):
            return known[2]
        found = tuple(p for p in check_rule(rule, self._queries()) if not is_warning(p))
        self._checked[rule.id] = (rule.text, now, found)
        return found

    # ------------------------------------------------------------------ who changed it

    def changes(self, rule_id: str, *, limit: int) -> list[dict[str, Any]]:
        """The audit trail of a rule, newest first. Raises NotFoundError."""
        self._book.find(rule_id)
        with self._state.read() as unit:
            rows = unit.rule_alerts.changes("rule", rule_id, limit=limit)
        return [_change(row) for row in rows]

    def undo(self, rule_id: str, seq: int, *, by: Principal) -> None:
        """Takes one change of a rule back: an exclusion added or removed, a tuning, a switch; later changes of other things stay.

        Raises NotFoundError, ConflictError where what it changed was changed again since, or where there is nothing to take back.
        """
        rule = self._book.find(rule_id)
        with self._state.read() as unit:
            row = unit.rule_alerts.change(seq)
        if row is None or row.object_type != "rule" or row.object_id != rule_id:
            raise NotFoundError(f"the rule has no change {seq}")
        work = self._book.work
        assert work is not None
        match row.action:
            case "rule.exclude" | "rule.include":
                # The opposite of what it takes back, so that it can be taken back itself.
                action = "rule.include" if row.action == "rule.exclude" else "rule.exclude"
                work.put_exclusions(rule_id, lambda known: undo_exclusions(known, row), action, by=by)
            case "rule.tune":
                work.tune(rule_id, undo_tuning(work.tuning(rule_id), row), by=by)
            case "rule.switch":
                if rule.enabled != row.after["enabled"]:
                    raise ConflictError("The rule was switched again since.")
                self._book.switch([rule_id], row.before["enabled"], by=by, reason=f"Undo of change {seq}")
            case _:
                raise ConflictError("There is nothing to take back of this change.")


def _change(row: AuditRow) -> dict[str, Any]:
    undoable = row.action in ("rule.exclude", "rule.include", "rule.tune") or (
        row.action == "rule.switch" and row.before != row.after
    )
    return {
        "seq": row.seq,
        "time": iso(row.time),
        "actor": row.actor,
        "action": row.action,
        "before": row.before,
        "after": row.after,
        "detail": dict(row.detail),
        "undoable": undoable,
    }


def _code(problem: TocsinError) -> str:
    """The code of what is behind a complaint: a rule's error has the query's as its cause."""
    cause = problem.__cause__
    return cause.code if isinstance(cause, TocsinError) else problem.code


def _told(problem: TocsinError) -> dict[str, Any]:
    return {
        "code": _code(problem),
        "place": str(problem.place or ""),
        "message": problem.message,
        "hint": problem.hint or "",
    }
