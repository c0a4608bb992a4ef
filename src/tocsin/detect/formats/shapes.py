"""Sentinel rules whose values have the wrong shape and an unmistakable meaning: a tactic where a list of them belongs, ``'true'`` in quotes.

Exports by scripts, and templates that were filled in by hand, have them. They are put right before the schema looks, each with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tocsin.base.errors import ContentError
from tocsin.content import Document

__all__ = ["put_right"]

_LISTS = ("tactics", "relevantTechniques", "techniques", "subTechniques")
_FLAGS = (
    ("enabled",), ("suppressionEnabled",), ("incidentConfiguration", "createIncident"),
    ("incidentConfiguration", "isExcludedFromIncidentCorrelation"),
    ("incidentConfiguration", "groupingConfiguration", "enabled"),
    ("incidentConfiguration", "groupingConfiguration", "reopenClosedIncident"),
)  # fmt: skip
_FLAG = {"true": True, "false": False}


def put_right(document: Document, path: tuple[str | int, ...]) -> Iterator[ContentError]:
    """Changes the rule at that path; gives a warning for each value."""
    rule = document.value
    for step in path:
        rule = rule[step]
    if not isinstance(rule, dict):
        return

    def put(where: tuple[str | int, ...], value: Any, message: str) -> ContentError:
        problem = document.error(message, (*path, *where), code="CNT0013")
        document.replace((*path, *where), value)
        return problem

    for name in _LISTS:
        value = rule.get(name)
        if isinstance(value, str):
            yield put((name,), _split(value), f"'{name}' is a list; this text is taken as one.")
        elif isinstance(value, list) and any(isinstance(v, str) and "," in v for v in value):
            parts = [p for v in value for p in (_split(v) if isinstance(v, str) else [v])]
            yield put((name,), parts, f"'{name}' has several in one text; each is taken for itself.")
    if isinstance(rule.get("tags"), str):
        yield put(("tags",), [rule["tags"]], "'tags' is a list; this text is taken as one.")
    for where in _FLAGS:
        flag = _at(rule, where)
        if isinstance(flag, str) and flag.strip().lower() in _FLAG:
            yield put(where, _FLAG[flag.strip().lower()], f"'{where[-1]}' is true or false, without quotes.")
    threshold = rule.get("triggerThreshold")
    if isinstance(threshold, str) and threshold.strip().isascii() and threshold.strip().isdigit():
        yield put(("triggerThreshold",), int(threshold), "'triggerThreshold' is a number, without quotes.")


def _split(text: str) -> list[str]:
    return [p.strip() for p in text.split(",") if p.strip()]


def _at(node: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        node = node.get(step) if isinstance(node, dict) else None
    return node
