"""Checks a rule against the schema: its query compiles, and the columns that it maps are columns of the result."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tocsin.base.errors import DetectError, Place, TocsinError, did_you_mean
from tocsin.detect.make import PLACEHOLDER
from tocsin.detect.rule import CONTINUOUS, Rule, RuleKind
from tocsin.detect.run import Queries, defect, rule_error

__all__ = ["check_rule"]


def check_rule(rule: Rule, queries: Queries) -> list[TocsinError]:
    """Complaints about a rule that its file alone doesn't show.

    DET0003 for its query, DET0011 for a column that it doesn't give, DET0014 for a custom detection without the columns that it must give.
    """
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
        *_custom_detection(rule, known, frozenset(compiled.tables)),
        *(
            DetectError(
                f"The rule '{rule.name}' takes {what} from the column '{column}', which its query doesn't give.",
                code="DET0011",
                place=_line(rule, column),
                hint=did_you_mean(column, known),
            )
            for what, column in _columns(rule)
            if column not in known
        ),
    ]


_EVENT_KEYS = ("ReportId", "ObservationId")
_ASSETS = (
    "DeviceId", "DeviceName", "RemoteDeviceName", "RecipientEmailAddress", "SenderFromAddress", "SenderMailFromAddress", "RecipientObjectId",
    "AccountObjectId", "AccountSid", "AccountUpn", "InitiatingProcessAccountSid", "InitiatingProcessAccountUpn",
    "InitiatingProcessAccountObjectId",
)  # fmt: skip
_NOT_CONTINUOUS = re.compile(r"\b(join|union|externaldata|lookup)\b", re.IGNORECASE)


def _custom_detection(rule: Rule, known: set[str], tables: frozenset[str]) -> Iterator[TocsinError]:
    """What Defender asks of a custom detection's result (learn.microsoft.com/defender-xdr/custom-detection-rules)."""
    if rule.kind is not RuleKind.DEFENDER:
        return
    wanted = (
        ("the event's time", ("Timestamp", "TimeGenerated"), "Timestamp"),
        ("the event's key", _EVENT_KEYS, "ReportId"),
        ("an asset", _ASSETS, "DeviceId, AccountSid or another"),
    )
    for what, columns, example in wanted:
        if not known.intersection(columns):
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


def _line(rule: Rule, column: str) -> Place:
    source = str(rule.path) if rule.path else rule.id
    lines = rule.text.splitlines()
    found = next(
        (i for i, line in enumerate(lines, 1) if line.rstrip().endswith((f": {column}", f'"{column}"', f"'{column}'"))),
        None,
    )
    return Place(source, found)
