"""Checks a rule against the schema: its query compiles, and the columns that it maps are columns of the result."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tocsin.base.errors import DetectError, Place, TocsinError, did_you_mean
from tocsin.content import is_warning
from tocsin.detect.columns import COLUMNS
from tocsin.detect.make import PLACEHOLDER
from tocsin.detect.rule import CONTINUOUS, Rule, RuleKind
from tocsin.detect.run import Queries, defect, rule_error

__all__ = ["check_rule", "prevents"]


def prevents(problem: TocsinError) -> bool:
    """Whether a complaint keeps its rule from running. One that names a column which the query doesn't give runs, and that entity, detail or
    override is left out of its alerts, as in Sentinel; it is an error all the same for whoever checks rules before they are used."""
    return not is_warning(problem) and problem.code != "DET0011"


def check_rule(rule: Rule, queries: Queries) -> list[TocsinError]:
    """Complaints about a rule that its file alone doesn't show.

    DET0003 for its query, DET0011 for a column that it doesn't give, DET0014 for a custom detection without the columns that it must give;
    DET0015, a warning, for a part of a fuzzy union that names what isn't there.
    """
    if rule.kind is RuleKind.SIGMA:
        return []
    try:
        compiled: Any = queries.compile(rule.query)
    except TocsinError as error:
        return [_unlisted(rule, rule_error(rule, error), queries)]
    except Exception as error:  # a defect in one rule must not hide what is wrong with the others
        return [defect(rule, error)]
    known = {c.name for c in compiled.columns}
    unknown = [] if getattr(compiled, "open", False) else [(w, c) for w, c in _columns(rule) if c not in known]
    return [
        *(
            DetectError(
                f"The rule '{rule.name}' runs without a part of it. {warning.message}",
                code="DET0015",
                place=_written(rule, warning.line),
                hint=warning.hint,
            )
            for warning in getattr(compiled, "left_out", ())
        ),
        *_custom_detection(rule, known, frozenset(compiled.tables), queries),
        *(
            DetectError(
                f"The rule '{rule.name}' takes {what} from the column '{column}', which its query doesn't give.",
                code="DET0011",
                place=_line(rule, column),
                hint=did_you_mean(column, known),
            )
            for what, column in unknown
        ),
    ]


_EVENT_KEYS: list[str] = COLUMNS["custom_detection"]["keys"]
_ASSETS: list[str] = COLUMNS["custom_detection"]["assets"]
_NOT_CONTINUOUS = re.compile(r"\b(join|union|externaldata|lookup)\b", re.IGNORECASE)


_WATCHLIST = re.compile(r"\b_GetWatchlist\s*\(\s*(?:\w+\s*=\s*)?['\"]([^'\"\n]+)['\"]")


def _unlisted(rule: Rule, error: DetectError, queries: Queries) -> DetectError:
    """The error with a word about watchlists that the rule asks for and that nobody has made: their columns can't be known."""
    have = {a.lower() for a in getattr(getattr(queries, "catalog", None), "watchlists", ())}
    missing = [n for n in dict.fromkeys(_WATCHLIST.findall(rule.query)) if n.lower() not in have]
    if not missing or getattr(error.__cause__, "code", "") != "KQL0101":
        return error
    names = " and ".join(f"'{n}'" for n in missing)
    hint = f"There is no watchlist {names} here; it would bring the columns."
    made = DetectError(error.message, code=error.code, place=error.place, hint=hint)
    made.__cause__ = error.__cause__
    return made


def _custom_detection(rule: Rule, known: set[str], tables: frozenset[str], queries: Queries) -> Iterator[TocsinError]:
    """What Defender asks of a custom detection's result (learn.microsoft.com/defender-xdr/custom-detection-rules).

    The event's key is asked for where the tables have one: those of Sentinel, which detections may read, too, have none. Where the rule
    maps entities, the mapping says what is concerned.
    """
    if rule.kind is not RuleKind.DEFENDER:
        return
    catalog = getattr(queries, "catalog", None)
    keyed = catalog is None or any(
        (schema := catalog.table(t)) is not None and any(c.name in _EVENT_KEYS for c in schema.columns) for t in tables
    )
    wanted = (
        ("the event's time", ("Timestamp", "TimeGenerated"), "Timestamp"),
        ("the event's key", _EVENT_KEYS, _EVENT_KEYS[0]),
        ("an asset", _ASSETS, f"{_ASSETS[0]} or another"),
    )
    given = {
        "the event's key": not keyed,
        "an asset": any(c in known for m in rule.entity_mappings for _, c in m.fields),
    }
    for what, columns, example in wanted:
        if not known.intersection(columns) and not given.get(what):
            yield DetectError(
                f"The custom detection '{rule.name}' gives no column for {what}.",
                code="DET0014",
                place=_line(rule, ""),
                hint=f"Let its query return {example} (one of {', '.join(columns)}).",
            )
    if rule.frequency <= CONTINUOUS and (len(tables) > 1 or _NOT_CONTINUOUS.search(_bare(rule.query))):
        yield DetectError(
            f"The custom detection '{rule.name}' is continuous, and its query reads more than one table.",
            code="DET0014",
            place=_line(rule, ""),
            hint="A continuous detection looks at the rows of one table as they come: no join, union or externaldata. Give it a frequency.",
        )
    for response in rule.responses:
        for column in response.columns:
            if column not in known:
                yield DetectError(
                    f"The custom detection '{rule.name}' asks for {response.action} on '{column}', which its query doesn't give.",
                    code="DET0011",
                    place=_line(rule, column),
                    hint=did_you_mean(column, known),
                )


def _bare(query: str) -> str:
    """The query without its texts and comments."""
    return re.sub(r"//[^\n]*|'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"", " ", query)


def _columns(rule: Rule) -> Iterator[tuple[str, str]]:
    for mapping in rule.entity_mappings:
        for identifier, column in mapping.fields:
            yield f"{mapping.type}.{identifier}", column
    for column in rule.entities_columns:
        yield "entities", column
    for key, column in rule.custom_details.items():
        yield f"the custom detail '{key}'", column
    details = rule.alert_details
    for template in (details.name_format, details.description_format):
        for column in PLACEHOLDER.findall(template):
            yield "the alert's text", column
    for what, column in (("the severity", details.severity_column), ("the tactics", details.tactics_column)):
        if column:
            yield what, column
    for name, column in details.dynamic:
        yield name, column


def _written(rule: Rule, line: int) -> Place:
    """Where a line of the query stands in the rule's file."""
    source = str(rule.path) if rule.path else rule.id
    lines = rule.query.splitlines()
    wanted = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    found = (i for i, text in enumerate(rule.text.splitlines(), 1) if wanted and text.strip() == wanted)
    return Place(source, next(found, None))


def _line(rule: Rule, column: str) -> Place:
    source = str(rule.path) if rule.path else rule.id
    lines = rule.text.splitlines()
    found = next(
        (i for i, line in enumerate(lines, 1) if line.rstrip().endswith((f": {column}", f'"{column}"', f"'{column}'"))),
        None,
    )
    return Place(source, found)
