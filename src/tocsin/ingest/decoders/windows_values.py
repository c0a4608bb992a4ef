"""How a value of a Windows-shaped event becomes a number or a text, in any of the shapes that such events travel in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from tocsin.ingest.decoders.jsonvalue import json_text
from tocsin.ingest.decoders.xmlfields import xml_fields

__all__ = [
    "NXLOG_EVENT_TYPES",
    "TRANSPORT",
    "event_data_of",
    "field_text",
    "flat_fields",
    "int32",
    "int64",
    "is_bare_guid",
    "keywords_text",
    "level_number",
    "optional_text",
    "unnamed_values",
]


TRANSPORT = (
    "@version",
    "tags",
    "port",
    "host",
    "type",
    "SourceModuleName",
    "SourceModuleType",
    "EventReceivedTime",
    "EventTypeOrignal",
    "Severity",
    "SeverityValue",
    "ERROR_EVT_UNRESOLVED",
    "Category",
)
"""Fields that the transport adds to a flat event; they are no part of it."""
NXLOG_EVENT_TYPES = frozenset(
    {"INFO", "ERROR", "WARNING", "AUDIT_SUCCESS", "AUDIT_FAILURE", "CRITICAL", "VERBOSE", "DEBUG"}
)
"""Values of ``EventType`` that NXLog wrote, not the event."""
_LEVEL_NAMES = {
    "critical": 1, "error": 2, "warning": 3, "information": 4, "info": 4, "verbose": 5, "success": 4,
    "logalways": 0, "audit success": 0, "audit failure": 0, "notice": 4,
}  # fmt: skip
_MASK = (1 << 64) - 1


def int32(value: object) -> int | None:
    """A number of a system field, from a number or a text in decimal or hex; None when it is neither or doesn't fit."""
    if value.__class__ is not int:
        if value is None or value.__class__ is bool:
            return None
        if isinstance(value, float):
            if not math.isfinite(value):  # no JSON has these, but MessagePack does
                return None
            value = int(value)
        else:
            text = str(value).strip()
            try:
                value = int(text)
            except ValueError:
                try:
                    value = int(text, 16) if text[:2] in ("0x", "0X") else None
                except ValueError:
                    return None
                if value is None:
                    return None
    number: int = value
    return number if -2147483648 <= number <= 2147483647 else None


def int64(value: object) -> int | None:
    """A number of a system field that may need 64 bits; None when it is none or doesn't fit."""
    if value.__class__ is int:
        return value if -(1 << 63) <= value < (1 << 63) else None
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if -(1 << 63) <= number < (1 << 63) else None


def keywords_text(value: object) -> str | None:
    """Keywords as text: a mask in hex, names joined by commas."""
    if value.__class__ is str:
        return value
    if value.__class__ is int:
        return f"0x{value & _MASK:x}"
    if isinstance(value, list):
        return ", ".join(str(v) for v in value)
    return None if value is None else str(value)


def field_text(value: object) -> str:
    """The text of an event field's value, as Windows would show it."""
    kind = value.__class__
    if kind is str:
        return value  # type: ignore[return-value]
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if value is None:
        return ""
    return json_text(value)


def is_bare_guid(value: str) -> bool:
    """Whether a text has a GUID's length and dashes."""
    return len(value) == 36 and value[8] == "-" and value[13] == "-" and value[18] == "-" and value[23] == "-"


def event_data_of(value: object) -> dict[str, str]:
    """The name → text mapping of an event's data in any of the forms that exports use: object, list of values, XML or JSON text."""
    if isinstance(value, dict):
        return flat_fields(value)
    if isinstance(value, list):
        return unnamed_values(value)
    if isinstance(value, str):
        text = value.lstrip()
        if text[:1] == "<":
            return xml_fields(text) or {"Data": value}
        if text[:1] in ("{", "["):
            try:
                return event_data_of(orjson.loads(text))
            except orjson.JSONDecodeError:
                return {"Data": value}
        return {"Data": value} if text else {}
    return {}


def unnamed_values(values: Iterable[object], into: dict[str, str] | None = None) -> dict[str, str]:
    """Unnamed values as Data, Data_1, Data_2…; pairs of name and value as such (`[{"Name": n, "Value": v}]`)."""
    out = {} if into is None else into
    number = 0
    for value in values:
        if isinstance(value, dict):
            name = value.get("@Name") or value.get("Name")
            if isinstance(name, str):
                out[name] = field_text(value.get("#text", value.get("Value", value.get("value"))))
                continue
        key = f"Data_{number}" if number else "Data"
        out[key] = field_text(value)
        number += 1
    return out


def flat_fields(data: Mapping[str, Any]) -> dict[str, str]:
    """An object's fields as text: `Data` lists and XML-as-JSON forms (`#text`, `@Name`, `#attributes`) are unfolded."""
    out: dict[str, str] = {}
    for name, value in data.items():
        kind = value.__class__
        if kind is str:
            out[name] = value if len(value) != 36 or not is_bare_guid(value) else f"{{{value}}}"
        elif kind is int:
            out[name] = str(value)
        elif value is None:
            out[name] = ""
        elif kind is dict:
            if name == "#attributes":
                continue
            if "#text" in value:
                text = value["#text"]
                if isinstance(text, list):
                    unnamed_values(text, out) if name == "Data" else out.__setitem__(name, field_text(text))
                else:
                    out[name] = field_text(text)
            elif set(value) <= {"#attributes"}:
                out[name] = ""
            else:
                out[name] = field_text(value)
        elif kind is list and name == "Data":
            unnamed_values(value, out)
        else:
            out[name] = field_text(value)
    return out


def optional_text(value: object) -> str | None:
    """A system field as text; null stays null."""
    if value is None or value.__class__ is str:
        return value
    return field_text(value)


def level_number(value: object) -> int | None:
    """A level, from its number or its name."""
    number = int32(value)
    if number is None and value.__class__ is str:
        return _LEVEL_NAMES.get(value.lower())
    return number
