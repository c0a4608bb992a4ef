"""Runs the cases that stand beside rules: rows that must fire a rule and rows that must not, on nothing but themselves.

Rows of a case become relations under their tables' names, so neither a lake nor other data takes part; tables that a case doesn't
mention are empty. Rows of a source kind (``windows.event``, ``zeek.dns``…) go to the Sigma matcher instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa

from tocsin.base.errors import ContentError, Place, TocsinError, did_you_mean
from tocsin.content import TestCase, TestFile
from tocsin.detect.alert import Alert
from tocsin.detect.make import moment
from tocsin.detect.rule import Rule, RuleKind
from tocsin.detect.run import Queries, defect, run_rule
from tocsin.ingest.casts import cast_rows
from tocsin.ingest.model import SourceBatch
from tocsin.kql.types import Catalog, TableSchema
from tocsin.lake.engine import Limits
from tocsin.query.catalog import WATCHLIST
from tocsin.tables import INGESTION_TIME
from tocsin.tables.kinds import EVENT_KINDS
from tocsin.tables.watchlists import SEARCH_KEY

__all__ = ["CaseResult", "relation", "run_case", "run_cases", "timed"]

_TIMES = ("TimeGenerated", "Timestamp")
_LIMITS = Limits(rows=10_000, seconds=60.0)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What a case showed. `message` says why it failed; `alerts` are what the rule raised."""

    rule: Rule
    case: TestCase
    passed: bool
    message: str = ""
    alerts: tuple[Alert, ...] = ()

    @property
    def place(self) -> Place:
        """Where the case stands."""
        return Place(str(self.case.path), self.case.line)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "rule": self.rule.name,
            "rule_id": self.rule.id,
            "case": self.case.name,
            "place": str(self.place),
            "passed": self.passed,
            "message": self.message,
            "alerts": len(self.alerts),
        }


def run_cases(rule: Rule, file: TestFile, queries: Queries, catalog: Catalog) -> list[CaseResult]:
    """Every case of a rule's file."""
    return [run_case(rule, case, queries, catalog) for case in file.cases]


def run_case(rule: Rule, case: TestCase, queries: Queries, catalog: Catalog) -> CaseResult:
    """One case. A rule or row that is wrong makes it fail with the reason; nothing is raised."""
    try:
        alerts = _sigma_alerts(rule, case) if rule.kind is RuleKind.SIGMA else _kql_alerts(rule, case, queries, catalog)
    except TocsinError as error:
        return CaseResult(rule, case, False, str(error))
    except Exception as error:  # a defect in one rule must not end the run of all others
        return CaseResult(rule, case, False, str(defect(rule, error)))
    message = _judge(case, alerts)
    return CaseResult(rule, case, not message, message, tuple(alerts))


def _judge(case: TestCase, alerts: Sequence[Alert]) -> str:
    if bool(alerts) != case.fires:
        return f"It raised {len(alerts)} alerts and should have {'fired' if case.fires else 'stayed silent'}."
    if case.alerts is not None and len(alerts) != case.alerts:
        return f"It raised {len(alerts)} alerts instead of {case.alerts}."
    found = [e for a in alerts for e in a.entities]
    for wanted in case.entities:
        kind, identifiers, label = str(wanted["type"]), wanted.get("identifiers") or {}, wanted.get("label")
        if not any(
            e.type.lower() == kind.lower()
            and all(e.identifiers.get(k, "").lower() == str(v).lower() for k, v in identifiers.items())
            and (label is None or e.label.lower() == str(label).lower())
            for e in found
        ):
            have = ", ".join(sorted({f"{e.type} {e.label}" for e in found})) or "none"
            return f"No alert has the {kind} {label or dict(identifiers)}; there are: {have}."
    return ""


# ---------------------------------------------------------------------------------------------- KQL rules


def _kql_alerts(rule: Rule, case: TestCase, queries: Queries, catalog: Catalog) -> list[Alert]:
    rows = {table: timed(given) for table, given in case.rows.items()}
    now = _now(case, [r for given in rows.values() for r in given])
    start = now - max(rule.period, timedelta(hours=1) if rule.kind is RuleKind.NRT else timedelta(0))
    place = Place(str(case.path), case.line)
    relations = {table: relation(table, _within(given, start, now), place, catalog) for table, given in rows.items()}
    relations |= {f"{WATCHLIST}{alias}": _items(items) for alias, items in case.watchlists.items()}
    return run_rule(rule, queries, now, window_start=start, relations=relations, limits=_LIMITS)


def _items(items: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A watchlist's items as its table: everything is text."""
    names = list(dict.fromkeys([SEARCH_KEY, *(n for i in items for n in i)]))
    return pa.table({n: pa.array([_text(i.get(n)) for i in items], pa.string()) for n in names})


def timed(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows whose TimeGenerated and Timestamp fill each other."""
    made = []
    for row in rows:
        at = next((row[n] for n in _TIMES if row.get(n) is not None), None)
        made.append({"TimeGenerated": at, **row} if at is not None else dict(row))
    return made


def _now(case: TestCase, rows: Sequence[Mapping[str, Any]]) -> datetime:
    """The window's end: as the case says, or a second after its last row."""
    if case.now:
        given = moment(case.now)
        if given is None:
            raise ContentError(
                f"'now' isn't an instant: '{case.now}'.", code="CNT0012", place=Place(str(case.path), case.line)
            )
        return given
    times = [t for r in rows if (t := moment(r.get("TimeGenerated"))) is not None]
    return (max(times) if times else datetime(2024, 1, 1, tzinfo=UTC)) + timedelta(seconds=1)


def _within(rows: Sequence[dict[str, Any]], start: datetime, end: datetime) -> list[dict[str, Any]]:
    return [r for r in rows if (t := moment(r.get("TimeGenerated"))) is None or start <= t < end]


def relation(table: str, rows: Sequence[Mapping[str, Any]], place: Place, catalog: Catalog) -> pa.Table:
    """Rows of a case as a table. Raises ContentError for a table, a column or a value that doesn't fit the catalogue."""
    schema = catalog.table(table)
    if schema is None:
        if not table.endswith("_CL"):
            hint = did_you_mean(table, catalog.table_names())
            raise ContentError(f"There is no table '{table}'.", code="CNT0012", place=place, hint=hint)
        names = list(dict.fromkeys(n for r in rows for n in r)) or ["TimeGenerated"]
        return pa.table({n: [r.get(n) for r in rows] for n in names})
    _known_columns(table, rows, schema, place)
    names = list(dict.fromkeys(n for r in rows for n in r)) or ["TimeGenerated"]
    made = cast_rows(pa.table({n: pa.array([_text(r.get(n)) for r in rows], pa.string()) for n in names}), schema)
    for name in names:
        column = made.column(name)
        wrong = next((i for i, r in enumerate(rows) if _text(r.get(name)) and not column[i].is_valid), None)
        if wrong is not None:
            raise ContentError(
                f"The value {rows[wrong][name]!r} doesn't fit {table}.{name}.", code="CNT0011", place=place
            )
    if INGESTION_TIME not in made.column_names:
        made = made.append_column(INGESTION_TIME, made.column("TimeGenerated"))
    if "Type" not in made.column_names:
        made = made.append_column("Type", pa.array([table] * made.num_rows, pa.string()))
    return made


def _known_columns(table: str, rows: Sequence[Mapping[str, Any]], schema: TableSchema, place: Place) -> None:
    known = {c.name for c in schema.columns}
    for name in dict.fromkeys(n for r in rows for n in r):
        if name not in known:
            raise ContentError(
                f"{table} has no column '{name}'.", code="CNT0012", place=place, hint=did_you_mean(name, known)
            )


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else str(value)


# ---------------------------------------------------------------------------------------------- Sigma rules


def _sigma_alerts(rule: Rule, case: TestCase) -> list[Alert]:
    from tocsin.detect.sigma.matcher import SigmaMatcher

    matcher = SigmaMatcher([rule])
    for source, rows in case.rows.items():
        matcher.match(SourceBatch(source, source_rows(source, rows), str(case.path)))
    return matcher.finish()


_SYSTEM: Mapping[str, pa.DataType] = {
    "Channel": pa.string(), "Provider": pa.string(), "EventID": pa.int32(), "Computer": pa.string(),
    "TimeCreated": pa.timestamp("us"), "Message": pa.string(), "EventData": pa.string(),
}  # fmt: skip


def source_rows(source: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of a source kind as its decoder would make them; of Windows events what isn't a system column is EventData."""
    if source in EVENT_KINDS:
        shaped = []
        for row in rows:
            data = {k: _text(v) for k, v in row.items() if k not in _SYSTEM}
            shaped.append({**row, "EventData": orjson.dumps({**(row.get("EventData") or {}), **data}).decode()})
        columns: dict[str, pa.Array] = {}
        for name, kind in _SYSTEM.items():
            values = [r.get(name) for r in shaped]
            if name == "TimeCreated":
                values = [m.replace(tzinfo=None) if (m := moment(v)) is not None else None for v in values]
            columns[name] = pa.array(values, kind)
        return pa.table(columns)
    names = list(dict.fromkeys(n for r in rows for n in r))
    return pa.table({n: pa.array([_text(r.get(n)) for r in rows], pa.string()) for n in names})
