"""Rule kinds that Sentinel has no word for, written as Sentinel YAML with a section of their own and compiled into one KQL query.

Threshold, NewTerms, Sequence and IndicatorMatch become queries that run as scheduled ones do, so every option of a rule (mappings, details,
grouping, suppression, incident settings, tests) is theirs too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tocsin.base.errors import ContentError
from tocsin.content import Document, Field, Schema, check, is_warning
from tocsin.detect.durations import duration_text, parse_duration
from tocsin.tables.own import own

__all__ = ["FIELDS", "INDICATOR_TYPES", "KINDS", "SECTIONS", "Made", "compile_kind"]

KINDS = ("Threshold", "NewTerms", "Sequence", "IndicatorMatch")
SECTIONS = {
    "Threshold": "threshold",
    "NewTerms": "newTerms",
    "Sequence": "sequence",
    "IndicatorMatch": "indicatorMatch",
}

INDICATOR_TYPES: Mapping[str, str] = {
    "ipv4-addr": "ipv4-addr:value", "ipv6-addr": "ipv6-addr:value", "domain-name": "domain-name:value", "url": "url:value",
    "email-addr": "email-addr:value", "md5": "file:hashes.MD5", "sha1": "file:hashes.'SHA-1'", "sha256": "file:hashes.'SHA-256'",
}  # fmt: skip
"""Kinds of indicators, and the STIX object path that ThreatIntelIndicators has in ObservableKey."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


def _span(text: str) -> str:
    value = parse_duration(text)
    return "" if value is not None and value > timedelta(0) else f"'{text}' isn't a duration such as 20m, 1d or PT1H."


_COLUMNS = Field("list", required=True, nullable=False, item=Field("text", pattern=_NAME, nullable=False), longest=10)
FIELDS: Mapping[str, Field] = {
    "threshold": Field(
        "map",
        schema=Schema(
            "threshold",
            {
                "by": Field("list", item=Field("text", pattern=_NAME, nullable=False), longest=10),
                "count": Field("int", least=1),
                "distinct": Field("text", pattern=_NAME),
                "distinctCount": Field("int", least=1),
            },
        ),
    ),
    "newTerms": Field(
        "map",
        schema=Schema(
            "newTerms", {"columns": _COLUMNS, "history": Field("text", required=True, nullable=False, test=_span)}
        ),
    ),
    "sequence": Field(
        "map",
        schema=Schema(
            "sequence",
            {
                "by": _COLUMNS,
                "maxspan": Field("text", required=True, nullable=False, test=_span),
                "steps": Field("list", required=True, nullable=False, longest=8, item=Field("text", nullable=False)),
                "until": Field("text"),
            },
        ),
    ),
    "indicatorMatch": Field(
        "map",
        schema=Schema(
            "indicatorMatch",
            {
                "column": Field("text", required=True, nullable=False, pattern=_NAME),
                "type": Field("text", required=True, nullable=False, choices=tuple(INDICATOR_TYPES)),
                "confidence": Field("int", least=0, most=100),
                "lookback": Field("text", test=_span),
            },
        ),
    ),
    "buildingBlock": Field("bool"),
}


class Made:
    """What a kind compiles to: the query, and how far back it must look at least."""

    __slots__ = ("period", "query")

    def __init__(self, query: str, period: timedelta) -> None:
        self.query, self.period = query, period


def compile_kind(
    document: Document,
    path: Sequence[str | int],
    kind: str,
    value: Mapping[str, Any],
    frequency: timedelta,
    period: timedelta,
) -> tuple[Made | None, list[ContentError]]:
    """The query of a rule of those kinds, or what is wrong with its section. Query texts are compiled, and complained about, later."""
    name = SECTIONS[kind]
    if not isinstance(value.get(name), dict):
        return None, [document.error(f"A rule of kind {kind} has a section '{name}'.", path, code="CNT0010")]
    section: Mapping[str, Any] = value[name]
    problems = [p for p in check(document, Schema(kind, {name: FIELDS[name]}, open=True), path) if not is_warning(p)]
    query = str(value.get("query") or "").strip().rstrip(";")
    if kind != "Sequence" and not query:
        problems.append(
            document.error(f"A rule of kind {kind} has a 'query' that gives its rows.", path, code="CNT0010")
        )
    if kind == "Sequence" and len(section.get("steps") or ()) < 2:
        problems.append(document.error("A sequence has at least two steps.", (*path, name), code="CNT0011"))
    if kind == "Threshold" and not (section.get("count") or section.get("distinctCount")):
        problems.append(
            document.error("A threshold has a 'count' or a 'distinctCount'.", (*path, name), code="CNT0011")
        )
    if bool(section.get("distinct")) != bool(section.get("distinctCount")):
        problems.append(document.error("'distinct' and 'distinctCount' go together.", (*path, name), code="CNT0011"))
    if problems:
        return None, problems
    match kind:
        case "Threshold":
            return Made(_threshold(query, section), period), []
        case "NewTerms":
            history = _duration(section["history"])
            return Made(_new_terms(query, section, frequency), history + frequency), []
        case "Sequence":
            span = _duration(section["maxspan"])
            return Made(_sequence(section, frequency), max(period, span + frequency)), []
        case _:
            back = _duration(section.get("lookback") or "14d")
            return Made(_indicators(query, section, frequency), back), []


def _duration(text: Any) -> timedelta:
    found = parse_duration(str(text))
    assert found is not None
    return found


_TIMES = "StartTime = min(TimeGenerated), EndTime = max(TimeGenerated)"


def _lets(query: str) -> tuple[str, str]:
    """The ``let`` statements before a query, and the query: so that it can stand inside another."""
    head, found, last = query.rpartition(";")
    return (f"{head};\n", last.strip()) if found and head.lstrip().startswith("let ") else ("", query)


def _threshold(query: str, section: Mapping[str, Any]) -> str:
    lets, rows = _lets(query)
    by = ", ".join(section.get("by") or ())
    aggregates = ["Count = count()", _TIMES]
    conditions = []
    if section.get("count"):
        conditions.append(f"Count >= {section['count']}")
    if section.get("distinct"):
        aggregates.append(
            f"DistinctCount = count_distinct({section['distinct']}), Values = make_set({section['distinct']}, 50)"
        )
        conditions.append(f"DistinctCount >= {section['distinctCount']}")
    return f"{lets}{rows}\n| summarize {', '.join(aggregates)}{f' by {by}' if by else ''}\n| where {' and '.join(conditions)}"


def _new_terms(query: str, section: Mapping[str, Any], frequency: timedelta) -> str:
    lets, rows = _lets(query)
    by = ", ".join(section["columns"])
    recent = duration_text(frequency)
    filled = " and ".join(f"isnotempty({c})" for c in section["columns"])
    # Compared without case, as names of hosts, accounts and programs are.
    keys = ", ".join(f"Key{i} = tolower(tostring({c}))" for i, c in enumerate(section["columns"]))
    on = ", ".join(f"Key{i}" for i in range(len(section["columns"])))
    return (
        f"{lets}let seen = {rows}\n| where {filled}\n| extend {keys};\n"
        f"seen\n| where TimeGenerated >= ago({recent})\n"
        f"| join kind=leftanti (seen | where TimeGenerated < ago({recent}) | distinct {on}) on {on}\n"
        f"| summarize Count = count(), {_TIMES} by {by}"
    )


def _sequence(section: Mapping[str, Any], frequency: timedelta) -> str:
    """For each first event the earliest second after it, for each of those the earliest third…: if any completion lies within the span, that
    one does. A completion is told once, from the latest first event that leads to it."""
    by = ", ".join(section["by"])
    span = duration_text(_duration(section["maxspan"]))
    filled = " and ".join(f"isnotempty({c})" for c in section["by"])
    lets = []
    for number, step in enumerate(section["steps"], 1):
        head, rows = _lets(str(step).strip().rstrip(";"))
        lets.append(
            f"{head}let step{number} = {rows}\n| where {filled}\n| project {by}, Time{number} = TimeGenerated;\n"
        )
    body = "step1\n| distinct *"
    known = ["Time1"]
    for number in range(2, len(section["steps"]) + 1):
        body += (
            f"\n| join kind=inner (step{number}) on {by}"
            f"\n| where Time{number} > Time{number - 1} and Time{number} - Time1 <= {span}"
            f"\n| summarize Time{number} = min(Time{number}) by {by}, {', '.join(known)}"
        )
        known.append(f"Time{number}")
    last = known[-1]
    if until := str(section.get("until") or "").strip().rstrip(";"):
        head, rows = _lets(until)
        lets.append(f"{head}let ended = {rows}\n| where {filled}\n| project {by}, TimeUntil = TimeGenerated;\n")
        pairs = f"{by}, Time1, {last}"
        body = (
            f"let found = {body};\nfound\n| join kind=leftanti (found | join kind=inner (ended) on {by}"
            f" | where TimeUntil > Time1 and TimeUntil < {last} | distinct {pairs}) on {pairs}"
        )
    return (
        "".join(lets) + f"{body}\n| summarize arg_max(Time1, *) by {by}, {last}"
        f"\n| where {last} >= ago({duration_text(frequency)})"
        f"\n| extend StartTime = Time1, EndTime = {last}, TimeGenerated = {last}"
        f"\n| project TimeGenerated, StartTime, EndTime, {by}, {', '.join(known)}"
    )


def _indicators(query: str, section: Mapping[str, Any], frequency: timedelta) -> str:
    lets, rows = _lets(query)
    column, recent = section["column"], duration_text(frequency)
    least = f" and Confidence >= {section['confidence']}" if section.get("confidence") else ""
    key = INDICATOR_TYPES[next(t for t in INDICATOR_TYPES if t.lower() == str(section["type"]).lower())].replace(
        "'", "\\'"
    )
    return (
        f"{lets}let indicators = {own('indicators').name}\n| where ObservableKey =~ '{key}'\n"
        "| summarize arg_max(TimeGenerated, IsActive, IsDeleted, Confidence, ValidUntil, Tags, Data) by Id, ObservableValue\n"
        f"| where IsActive and not(IsDeleted) and (isnull(ValidUntil) or ValidUntil > now()){least}\n"
        "| project Indicator = ObservableValue, IndicatorKey = tolower(ObservableValue), IndicatorId = Id, IndicatorTime = TimeGenerated,\n"
        "    IndicatorConfidence = Confidence, IndicatorTags = Tags;\n"
        f"{rows}\n| where isnotempty({column})\n| extend IndicatorKey = tolower(tostring({column}))\n"
        "| join kind=inner (indicators) on IndicatorKey\n"
        # An event of now against every indicator, and an indicator of now against every event: it may have come later.
        f"| where TimeGenerated >= ago({recent}) or IndicatorTime >= ago({recent})\n"
        "| project-away IndicatorKey, IndicatorKey1"
    )
