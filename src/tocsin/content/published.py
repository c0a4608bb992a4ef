"""What public repositories keep beside rules, in shapes of their own: hunting queries, and functions that rules call.

Two shapes of function are published (Azure-Sentinel's Parsers and Solutions): ``FunctionAlias`` with ``FunctionQuery``, and ASIM's
``ParserName`` with ``ParserParams`` and ``ParserQuery``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tocsin.content.model import FunctionFile
from tocsin.content.schema import Field, Schema
from tocsin.content.yamltext import Document

__all__ = ["FUNCTION", "functions", "is_function", "is_hunt"]

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"

FUNCTION = Schema(
    "A published function",
    {
        "FunctionName": Field("text", pattern=_NAME, longest=256),
        "FunctionAlias": Field("text", pattern=_NAME, longest=256),
        "FunctionParameters": Field("text", longest=10_000),
        "FunctionQuery": Field("text", longest=200_000),
        "ParserName": Field("text", pattern=_NAME, longest=256),
        "EquivalentBuiltInParser": Field("text", pattern=_NAME, longest=256),
        "ParserParams": Field(
            "list",
            item=Field(
                "map",
                nullable=False,
                schema=Schema(
                    "A parameter",
                    {
                        "Name": Field("text", required=True, pattern=_NAME),
                        "Type": Field("text", required=True, pattern=_NAME),
                        "Default": Field(),
                    },
                    open=True,
                ),
            ),
        ),
        "ParserQuery": Field("text", longest=200_000),
        "Description": Field("text"),
    },
    open=True,  # who made it, when, for which product
)

_WHEN = (
    "kind", "severity", "queryFrequency", "queryPeriod", "triggerOperator", "triggerThreshold", "eventGroupingSettings",
    "suppressionDuration", "incidentConfiguration", "alertDetailsOverride",
)  # fmt: skip
"""What a rule has and a hunting query hasn't: when it runs, and what comes of it."""


def is_hunt(value: Any) -> bool:
    """Whether a document is a hunting query: named and with a query, and nothing says when it would run."""
    return (
        isinstance(value, dict)
        and all(k in value for k in ("id", "name", "query"))
        and not any(k in value for k in _WHEN)
    )


def is_function(value: Any) -> bool:
    """Whether a document is a function as repositories publish them."""
    return isinstance(value, dict) and (
        ("FunctionQuery" in value and bool(value.get("FunctionAlias") or value.get("FunctionName")))
        or ("ParserQuery" in value and bool(value.get("ParserName")))
    )


def functions(document: Document, path: Path, pack: str) -> Iterator[FunctionFile]:
    """The function of a document under each name that it goes by. The document fits `FUNCTION`."""
    value = document.value
    if "FunctionQuery" in value:
        names = (value.get("FunctionAlias"), value.get("FunctionName"))
        body, parameters = str(value["FunctionQuery"] or ""), str(value.get("FunctionParameters") or "")
    else:
        names = (value.get("ParserName"), value.get("EquivalentBuiltInParser"))
        body = str(value["ParserQuery"] or "")
        parameters = ", ".join(
            _parameter(document, index, each) for index, each in enumerate(value.get("ParserParams") or ())
        )
    first = FunctionFile(
        str(names[0] or names[1]), parameters.strip(), body.strip(), str(value.get("Description") or ""), path, pack
    )
    yield first
    if names[1] and str(names[1]) != first.name:
        yield replace(first, name=str(names[1]))


def _parameter(document: Document, index: int, given: dict[str, Any]) -> str:
    """A parameter as KQL declares it; the default of a text is published without its quotes."""
    kind = str(given["Type"]).lower()
    if "Default" not in given or given["Default"] is None:
        return f"{given['Name']}:{kind}"
    default = document.raw(("ParserParams", index, "Default")) or ""
    if kind == "string":
        quoted = default.replace("\\", "\\\\").replace("'", "\\'")
        default = f"'{quoted}'"
    return f"{given['Name']}:{kind}={default}"
