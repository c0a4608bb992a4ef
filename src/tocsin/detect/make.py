"""Result rows to alerts: grouping, entities, custom details, overridden names and severities, evidence, and ids that replay gives again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from tocsin.base.ids import stable_id
from tocsin.detect.alert import SEVERITIES, TACTICS, Alert, Evidence
from tocsin.detect.alertentities import entities_of_column
from tocsin.detect.columns import COLUMNS
from tocsin.detect.entities import EntitySet, derive_entities, map_entities, text
from tocsin.detect.rule import ALERTS_PER_RUN, Rule, normal_severity
from tocsin.tables.entities import Entity

__all__ = [
    "EVIDENCE_ROWS",
    "FIRST_MOMENT",
    "LAST_MOMENT",
    "Rows",
    "alert_details",
    "assets_of",
    "later",
    "make_alerts",
    "moment",
    "one_alert",
    "row_entities",
    "row_hash",
    "row_times",
]

EVIDENCE_ROWS = 100
"""Most rows that an alert keeps; its count tells how many there were."""

VALUES = 50
"""Most values of one custom detail (Sentinel's documented limit)."""

FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
LAST_MOMENT = datetime.max.replace(tzinfo=UTC)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one run and where they came from: the tables read and the window looked at.

    `said` is when the run was, if that isn't the window's end. `again` makes the same rows of another window another alert.
    """

    rows: Sequence[Row]
    tables: frozenset[str]
    start: datetime | None
    end: datetime
    total: int | None = None
    truncated: bool = False
    said: datetime | None = None
    again: bool = False

    @property
    def count(self) -> int:
        """How many rows there were, also those that a limit cut off."""
        return self.total if self.total is not None else len(self.rows)


def make_alerts(rule: Rule, result: Rows) -> list[Alert]:
    """The alerts of one run: none unless the threshold holds, else one, or one a row up to the rule kind's limit."""
    if not rule.operator.holds(result.count, rule.threshold):
        return []
    if not rule.per_result or not result.rows:
        return [one_alert(rule, result.rows, result)]
    distinct: dict[str, list[Row]] = {}
    for row in result.rows:
        distinct.setdefault(row_hash(row), []).append(row)
    groups = list(distinct.values())
    limit = ALERTS_PER_RUN[rule.kind]
    if len(groups) <= limit:
        return [one_alert(rule, group, result) for group in groups]
    alerts = [one_alert(rule, group, result) for group in groups[: limit - 1]]
    alerts.append(one_alert(rule, result.rows, result))
    return alerts


def one_alert(rule: Rule, rows: Sequence[Row], result: Rows, *, times: tuple[datetime, ...] | None = None) -> Alert:
    """One alert of those rows (none of them: an alert on absence). `times` are theirs where the caller knows them better."""
    own = [t for row in rows for t in row_times(row, result)]
    times = times or tuple(own)
    first = min(times) if times else (result.start or result.end)
    last = max(times) if times else result.end
    entities = EntitySet()
    for row in rows:
        entities.add(row_entities(rule, row))
    summary = len(rows) == len(result.rows)
    # Rows without a time of their own (a count per account) may be the same again in another window: that is another alert.
    window = "" if own and not result.again else result.end.isoformat()
    hashes = sorted(row_hash(r) for r in rows)
    return Alert(
        id=stable_id("al", rule.id, window, *hashes),
        rule_id=rule.id,
        rule=rule.name,
        time=first,
        end=last,
        created=result.said or result.end,
        entities=entities.entities(),
        events=tuple(Evidence(table_of(row, result.tables), _plain(row)) for row in rows[:EVIDENCE_ROWS]),
        count=result.count if summary else len(rows),
        **alert_details(rule, rows),
    )


def alert_details(rule: Rule, rows: Sequence[Row]) -> dict[str, Any]:
    """An alert's fields that follow from the rule's settings and the rows, the first of which fills formats and overrides."""
    sample = rows[0] if rows else {}
    tactics, techniques = _attack(rule, sample)
    details = rule.alert_details
    return {
        "severity": _severity(rule, sample),
        "tactics": tactics,
        "techniques": techniques,
        "title": _filled(details.name_format, sample, 256) or rule.name,
        "description": _filled(details.description_format, sample, 5000) or rule.description,
        "product": _dynamic(rule, sample, "ProductName") or rule.product,
        "custom_details": _custom_details(rule, rows),
        "tags": rule.tags,
        "correlate": rule.incident.correlate,
        "create_incident": rule.incident.create,
        "properties": _properties(rule, sample),
    }


def row_entities(rule: Rule, row: Row) -> list[Entity]:
    """The entities of a row: by the rule's mappings, by its Entities columns, else from well-known columns."""
    found = map_entities(rule.entity_mappings, row)
    for column in rule.entities_columns:
        found.extend(entities_of_column(row.get(column)))
    if not rule.entity_mappings and not rule.entities_columns:
        found = derive_entities(row)
    return found


def assets_of(entities: Iterable[Entity]) -> tuple[str, ...]:
    """What makes two rows of a rule one alert: the same hosts and accounts, or mailboxes, or, where there are none, addresses and apps."""
    entities = list(entities)
    for types in (("Host", "Account", "Mailbox"), ("IP", "CloudApplication", "AzureResource", "IoTDevice")):
        found = sorted({f"{e.type}:{e.label.lower()}" for e in entities if e.type in types})
        if found:
            return tuple(found)
    return ()


# ---------------------------------------------------------------------------------------------- values


def row_hash(row: Row) -> str:
    """A digest of a row's values: equal for the same row found through two windows, in whatever order a set's values came and a sum was added."""
    if any(isinstance(v, (float, list, dict)) for v in row.values()):
        row = {k: _settled(v) for k, v in row.items()}
    try:
        data = orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    except TypeError:  # nested deeper than orjson goes
        data = repr(sorted(row.items())).encode("utf-8", "replace")
    return hashlib.sha256(data).hexdigest()[:24]


def _settled(value: Any) -> Any:
    """The value without what depends on the order in which it was made: a set's order, the last digits of a sum of reals."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, list):
        return sorted((_settled(v) for v in value), key=repr)
    if isinstance(value, dict):
        return {k: _settled(v) for k, v in value.items()}
    return value


_START: list[str] = COLUMNS["times"]["start"]
_END: list[str] = COLUMNS["times"]["end"]
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_SLACK = timedelta(days=1)


def row_times(row: Row, result: Rows) -> tuple[datetime, ...]:
    """The first and last instant that a row speaks of: by well-known names, else any instants within the window; empty for none."""
    named = [m for names in (_START, _END) for n in names if (m := moment(row.get(n))) is not None]
    if named:
        own = [m for n in ("TimeGenerated", "Timestamp") if (m := moment(row.get(n))) is not None]
        return (min(own), max(own)) if own else (min(named), max(named))
    low, high = result.start, later(result.end, _SLACK)
    others = [m for v in row.values() if (m := moment(v)) is not None and m <= high and (low is None or m >= low)]
    return (min(others), max(others)) if others else ()


def later(moment: datetime, span: timedelta) -> datetime:
    """The instant that much later (or earlier), within the years that can be told: sources do write 1601 and 9999."""
    try:
        return moment + span
    except OverflowError:
        return LAST_MOMENT if span > timedelta(0) else FIRST_MOMENT


def moment(value: Any) -> datetime | None:
    """The instant that a result value is, or None."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if not isinstance(value, str) or not _ISO.match(value):
        return None
    head, dot, fraction = value.rstrip("Z").partition(".")
    try:
        found = datetime.fromisoformat(f"{head}.{fraction[:6]}" if dot and fraction.isdigit() else value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def table_of(row: Row, tables: frozenset[str]) -> str:
    """The table that a row is evidence from: its Type column where that names a table read, the only table, else all of them."""
    kind = row.get("Type")
    if isinstance(kind, str) and kind in tables:
        return kind
    return ", ".join(sorted(tables))


def _plain(row: Row) -> dict[str, Any]:
    return {k: v for k, v in row.items() if v is not None and v != "" and v != [] and v != {}}


def _custom_details(rule: Rule, rows: Sequence[Row]) -> dict[str, list[Any]]:
    details: dict[str, list[Any]] = {}
    for key, column in rule.custom_details.items():
        values: dict[str, Any] = {}
        for row in rows:
            value = row.get(column)
            if value is not None and value != "" and len(values) < VALUES:
                values.setdefault(str(value), value)
        if values:
            details[key] = list(values.values())
    return details


PLACEHOLDER = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


def _filled(template: str, row: Row, longest: int) -> str:
    if not template:
        return ""

    def value(found: re.Match[str]) -> str:
        at = row.get(found[1])
        if isinstance(at, dict | list):
            return orjson.dumps(at).decode()
        return "" if at is None else str(at)

    return PLACEHOLDER.sub(value, template)[:longest].strip()


def _dynamic(rule: Rule, row: Row, name: str) -> str:
    return next((text(row.get(c)) for p, c in rule.alert_details.dynamic if p.lower() == name.lower()), "")


_TAKEN = frozenset({"techniques", "productname"})


def _properties(rule: Rule, row: Row) -> dict[str, str]:
    """The dynamic properties that have no field of an alert of their own."""
    return {
        name: value[:5000]
        for name, column in rule.alert_details.dynamic
        if name.lower() not in _TAKEN and (value := text(row.get(column)))
    }


def _severity(rule: Rule, row: Row) -> str:
    column = rule.alert_details.severity_column
    override = normal_severity(text(row.get(column))) if column and text(row.get(column)) else None
    severity = override or rule.severity
    return severity if severity in SEVERITIES else "Medium"


def _attack(rule: Rule, row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    tactics, techniques = rule.tactics, rule.techniques
    if column := rule.alert_details.tactics_column:
        known = {t.lower(): t for t in TACTICS}
        own = [known[k] for v in _listed(row.get(column)) if (k := v.replace(" ", "").lower()) in known]
        tactics = tuple(dict.fromkeys(own)) or tactics
    for prop, column in rule.alert_details.dynamic:
        if prop.lower() == "techniques":
            techniques = tuple(dict.fromkeys(t.upper() for t in _listed(row.get(column)))) or techniques
    return tactics, techniques


def _listed(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(v) for v in value]
    return (
        [p.strip() for p in re.split(r"[,;]", value.strip("[] ").replace('"', "")) if p.strip()]
        if isinstance(value, str)
        else []
    )
