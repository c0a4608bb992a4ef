"""Sigma documents as people write them, made into what the specification asks for.

Two things stand between public rules and pySigma. Small liberties that change no meaning (one reference instead of a list of them, a tag
without a namespace, an id that is no UUID, a number under ``contains``) are settled here, the ones that lose something with a warning. And the
aggregations of Sigma 1 (``selection | count(field) by group > 5`` with a ``timeframe``), which the specification replaced by correlations, are
turned into the correlation that they became: a rule for the events, and one that counts them
(github.com/SigmaHQ/sigma-specification, "Sigma correlations", and version 1's "Aggregation expression" before it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tocsin.base.errors import DetectError
from tocsin.base.ids import stable_uuid
from tocsin.content import Document

__all__ = ["Settled", "settled"]

_LISTS = ("references", "falsepositives", "fields", "tags")
_TEXTS = ("author", "description", "license", "title")
_STATES = ("stable", "test", "experimental", "deprecated", "unsupported")
_DATE = re.compile(r"\d{4}([-/])\d{1,2}\1\d{1,2}")
_NAMESPACED = re.compile(r"[^\s.]+\.\S+")
_OF_TEXT = frozenset(
    (
        "contains",
        "startswith",
        "endswith",
        "wide",
        "utf16",
        "utf16le",
        "utf16be",
        "base64",
        "base64offset",
        "windash",
        "re",
    )
)

_COUNT = re.compile(
    r"(?P<what>count|sum|avg|min|max)\s*\(\s*(?P<field>[^()\s]*)\s*\)(?:\s+by\s+(?P<by>[^<>=!]+?))?\s*(?P<op>>=|<=|==|=|>|<)\s*(?P<number>\d+(?:\.\d+)?)",
    re.IGNORECASE,
)
_NEAR = re.compile(r"near\s+(?P<names>.+)", re.IGNORECASE)
_OPERATORS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "=": "eq", "==": "eq"}
_OF_VALUES = {"count": "value_count", "sum": "value_sum", "avg": "value_avg"}
_SPAN = re.compile(r"\d+[smhdwMy]")


@dataclass(frozen=True, slots=True)
class Settled:
    """What pySigma reads of a document, and what it can't hold: an id that is no UUID, tags without a namespace."""

    raw: Mapping[str, Any]
    id: str = ""
    tags: tuple[str, ...] = ()


def settled(raw: Mapping[str, Any], document: Document, file: str, problems: list[Any]) -> list[Settled]:
    """The documents that one document stands for: itself, or the events and the correlations of an aggregation.

    Raises DetectError (DET0007) for an aggregation without a counterpart. Warnings go to `problems`.
    """
    plain, own, tags = _metadata(raw, document, problems)
    if isinstance(plain.get("detection"), dict):
        plain["detection"] = _values(plain["detection"], document, ("detection",), problems)
        conditions = plain["detection"].get("condition")
        if any("|" in c for c in _conditions(conditions)):
            identity = own or str(plain.get("id") or stable_uuid("sigma", str(plain.get("title")), file))
            return [Settled(each, own if "correlation" in each else "", tags) for each in _counted(plain, identity)]
    return [Settled(plain, own, tags)]


def _metadata(
    raw: Mapping[str, Any], document: Document, problems: list[Any]
) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    plain = dict(raw)

    def warn(message: str, name: str) -> None:
        problems.append(document.error(message, (name,), code="CNT0013"))

    for name in _LISTS:
        if isinstance(plain.get(name), str):
            plain[name] = [plain[name]]
    for name in _TEXTS:
        value = plain.get(name)
        if isinstance(value, list):
            plain[name] = ", ".join(str(v) for v in value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            plain[name] = document.raw((name,)) or str(value)
    for name in ("level", "status"):
        if isinstance(plain.get(name), str):
            plain[name] = plain[name].strip().lower()
    if isinstance(plain.get("status"), str) and plain["status"] not in _STATES:
        warn(f"Sigma has no status '{plain['status']}'; it is passed over.", "status")
        del plain["status"]
    for name in ("date", "modified"):
        if plain.get(name) is not None and not _DATE.match(str(plain[name])):
            warn(f"'{plain[name]}' isn't a date such as 2024-01-31; it is passed over.", name)
            del plain[name]
    related = plain.get("related")
    if related is not None:
        good = [r for r in related if isinstance(r, dict) and _uuid(r.get("id"))] if isinstance(related, list) else []
        plain["related"] = good
    own = ""
    if plain.get("id") is not None and not _uuid(plain["id"]):
        own = str(plain.pop("id")).strip()
        warn(f"The id '{own}' isn't a UUID, as Sigma asks for; it is taken as it is.", "id")
    loose: list[str] = []
    if isinstance(plain.get("tags"), list):
        tags = [str(t).strip() for t in plain["tags"] if t is not None and not isinstance(t, dict | list)]
        loose = [t for t in tags if not _NAMESPACED.fullmatch(t)]
        plain["tags"] = [t for t in tags if t not in loose]
    return plain, own, tuple(loose)


def _uuid(value: Any) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True


def _values(
    node: Any,
    document: Document,
    path: tuple[str | int, ...],
    problems: list[Any],
    modifiers: frozenset[str] = frozenset(),
) -> Any:
    """A detection with its numbers as they are meant: as text wherever a modifier asks for text (``contains: 1833``), and as text
    besides where they are written as Windows writes them (``Status: 0x6`` is the number six to YAML)."""
    if isinstance(node, dict):
        return {
            k: _values(v, document, (*path, k), problems, frozenset(str(k).split("|")[1:])) for k, v in node.items()
        }
    if isinstance(node, list):
        made: list[Any] = []
        for index, value in enumerate(node):
            found = _values(value, document, (*path, index), problems, modifiers)
            made.extend(found if isinstance(found, list) and not isinstance(value, list) else [found])
        return made
    if not isinstance(node, int | float) or isinstance(node, bool):
        return node
    if _OF_TEXT & modifiers:
        return document.raw(path) or str(node)
    written = document.raw(path) or ""
    if len(path) < 3 or modifiers or not written.lower().startswith("0x"):
        return node
    message = f"{written} is the number {node} to YAML; the text '{written}' is looked for as well. Quote it where only that is meant."
    problems.append(document.error(message, path, code="CNT0013"))
    return [node, written]


def _conditions(value: Any) -> list[str]:
    return [c for c in (value if isinstance(value, list) else [value]) if isinstance(c, str)]


def _counted(raw: Mapping[str, Any], identity: str) -> Iterator[dict[str, Any]]:
    """The rules of a document with aggregations, one after the other: events, then what counts them."""
    detection = {k: v for k, v in raw["detection"].items() if k not in ("condition", "timeframe")}
    timeframe = str(raw["detection"].get("timeframe") or "").replace(" ", "")
    for number, condition in enumerate(_conditions(raw["detection"].get("condition"))):
        events, pipe, aggregation = condition.partition("|")
        mine = {k: v for k, v in raw.items() if k not in ("detection", "logsource", "name")}
        if number or "id" not in raw:
            mine["id"] = stable_uuid("sigma", identity, "condition", str(number))
        if not pipe:
            yield {**mine, "logsource": raw.get("logsource"), "detection": {**detection, "condition": condition}}
            continue
        if not _SPAN.fullmatch(timeframe):
            raise DetectError(
                "The condition counts events, and the rule doesn't say within which time."
                if not timeframe
                else f"'{timeframe}' isn't a timeframe such as 15m.",
                code="DET0007",
                hint="Put 'timeframe: 15m', or what suits, under 'detection'.",
            )
        parts, body = _aggregation(events.strip(), aggregation.strip(), detection)
        bases = []
        for at, part in enumerate(parts):
            base = stable_uuid("sigma", identity, "events", str(number), str(at))
            bases.append(base)
            yield {
                "title": f"Events of: {raw.get('title') or identity}"[:256],
                "id": base,
                "logsource": raw.get("logsource"),
                "detection": {**detection, "condition": part},
                **{k: raw[k] for k in ("status", "level", "tags") if k in raw},
            }
        yield {**mine, "correlation": {**body, "rules": bases, "timespan": timeframe}}


def _aggregation(events: str, text: str, detection: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The conditions of the events, and the correlation without its rules and time."""
    if near := _NEAR.fullmatch(text):
        names = [n.strip() for n in re.split(r"\s+and\s+", near["names"], flags=re.IGNORECASE)]
        if all(n in detection for n in names):
            return [events, *names], {"type": "temporal"}
        raise DetectError(f"'{text}' has no counterpart among Sigma's correlations.", code="DET0007")
    found = _COUNT.fullmatch(text)
    if found is None:
        raise DetectError(f"'{text}' isn't an aggregation such as 'count() by Field > 5'.", code="DET0007")
    what, field = found["what"].lower(), found["field"]
    if what in ("min", "max") or (what != "count" and not field):
        raise DetectError(
            f"The aggregation '{what}({field})' has no counterpart among Sigma's correlations.", code="DET0007"
        )
    condition: dict[str, Any] = {_OPERATORS[found["op"]]: _number(found["number"])}
    if field:
        condition["field"] = field
    body: dict[str, Any] = {"type": _OF_VALUES[what] if field else "event_count", "condition": condition}
    if found["by"]:
        body["group-by"] = [f.strip() for f in found["by"].split(",") if f.strip()]
    return [events], body


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)
