"""Checks a rule against the schema: its query compiles, and the columns that it maps are columns of the result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tocsin.base.errors import DetectError, Place, TocsinError, did_you_mean
from tocsin.detect.make import PLACEHOLDER
from tocsin.detect.rule import Rule, RuleKind
from tocsin.detect.run import Queries, defect, rule_error

__all__ = ["check_rule"]


def check_rule(rule: Rule, queries: Queries) -> list[TocsinError]:
    """Complaints about a rule that its file alone doesn't show: DET0003 for its query, DET0011 for a column that it doesn't give."""
    if rule.kind is RuleKind.SIGMA:
        return []
    try:
        compiled: Any = queries.compile(rule.query)
    except TocsinError as error:
        return [rule_error(rule, error)]
    except Exception as error:  # a defect in one rule must not hide what is wrong with the others
        return [defect(rule, error)]
    known = {c.name for c in compiled.columns}
    return [
        DetectError(
            f"The rule '{rule.name}' takes {what} from the column '{column}', which its query doesn't give.",
            code="DET0011",
            place=_line(rule, column),
            hint=did_you_mean(column, known),
        )
        for what, column in _columns(rule)
        if column not in known
    ]


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


def _line(rule: Rule, column: str) -> Place:
    source = str(rule.path) if rule.path else rule.id
    lines = rule.text.splitlines()
    found = next(
        (i for i, line in enumerate(lines, 1) if line.rstrip().endswith((f": {column}", f'"{column}"', f"'{column}'"))),
        None,
    )
    return Place(source, found)
