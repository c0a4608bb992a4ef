"""Checks declarations of sources (`sources.toml`, and `sources/*.toml` of packs): a wrong one is said with its file and entry, and left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from tocsin.base.errors import ContentError, Place, did_you_mean
from tocsin.tables.kinds import KINDS

__all__ = ["check_declarations"]

_TEXT, _TEXTS, _PATTERN, _PATTERNS, _FLAG, _ZONE = (
    "text",
    "list of texts",
    "pattern",
    "table of patterns",
    "true or false",
    "time zone",
)
_KEYS: Mapping[str, Mapping[str, str]] = {
    "object": {"kind": _TEXT, "has": _TEXTS, "any": _TEXTS, "is": _PATTERNS, "time": _TEXTS, "host": _TEXTS, "inner": _TEXT},
    "envelope": {"list": _TEXT, "has": _TEXTS, "any": _TEXTS, "is": _PATTERNS},
    "line": {
        "kind": _TEXT, "pattern": _PATTERN, "fields": _TEXTS, "time": _TEXT, "time_format": _TEXT, "remarks": _PATTERN, "processes": _TEXTS,
        "null": _TEXT, "local": _FLAG, "zone": _ZONE,
    },
    "w3c": {"software": _PATTERN, "kind": _TEXT, "local": _FLAG, "zone": _ZONE},
}  # fmt: skip
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "object": ("kind", "has"),
    "envelope": ("list", "has"),
    "line": ("kind", "pattern"),
    "w3c": ("software", "kind"),
}
_KIND = re.compile(r"[a-z0-9]+(?:[.\-](?:[a-z0-9]+|\{[^{}]+\}))*")
_TAKEN = ("table.", "zeek.")
_FIXED = KINDS.all()
"""Kinds whose rows have columns of their own, which a declaration can't give."""


def check_declarations(document: Mapping[str, Any], path: str) -> Iterator[tuple[str, int, ContentError]]:
    """(list, number, what is wrong) of the entries that can't be used; the number is -1 for a list or key that isn't known."""
    for name, entries in document.items():
        if name not in _KEYS or not isinstance(entries, list):
            what = did_you_mean(f"[[{name}]]", [f"[[{k}]]" for k in _KEYS])
            yield name, -1, _wrong(path, f"There is no [[{name}]] in a declaration of sources.", what)
            continue
        for number, entry in enumerate(entries):
            for message, hint in _entry(name, entry):
                kind = entry.get("kind", "") if isinstance(entry, dict) else ""
                yield (
                    name,
                    number,
                    _wrong(path, f"[[{name}]] {number + 1}{f' ({kind})' if kind else ''}: {message}", hint),
                )


def _entry(name: str, entry: object) -> Iterator[tuple[str, str]]:
    if not isinstance(entry, dict):
        yield "it isn't a table.", ""
        return
    keys = _KEYS[name]
    for key in _NEEDED[name]:
        if not entry.get(key):
            yield f"'{key}' is missing.", ""
    for key, value in entry.items():
        if key not in keys:
            yield f"there is no key '{key}'.", did_you_mean(key, keys)
        elif (wrong := _value(keys[key], value)) is not None:
            yield f"'{key}' {wrong}", ""
    kind = entry.get("kind")
    if isinstance(kind, str) and (kind in _FIXED or kind.startswith(_TAKEN) or not _KIND.fullmatch(kind)):
        yield f"'{kind}' can't be the name of a kind.", "Take words in lower case with dots between, such as acme.door."


def _value(wanted: str, value: object) -> str | None:
    if wanted is _FLAG:
        return None if isinstance(value, bool) else "must be true or false."
    if wanted is _TEXTS:
        good = isinstance(value, list) and all(isinstance(v, str) for v in value)
        return None if good else "must be a list of texts."
    if wanted is _PATTERNS:
        if not isinstance(value, dict):
            return "must be a table of patterns."
        return next((w for v in value.values() if (w := _value(_PATTERN, v)) is not None), None)
    if not isinstance(value, str):
        return "must be a text."
    try:
        if wanted is _PATTERN:
            re.compile(value, re.VERBOSE)
        elif wanted is _ZONE:
            ZoneInfo(value)
    except re.error as error:
        return f"is no regular expression: {error}."
    except (KeyError, ValueError, OSError):
        return f"'{value}' is no time zone: take one of IANA's names, such as Europe/Berlin."
    return None


def _wrong(path: str, message: str, hint: str) -> ContentError:
    return ContentError(message, code="CNT0050", place=Place(path), hint=hint)
