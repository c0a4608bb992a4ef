"""How `EventBuffer` reads an object, in pieces, for those who read such objects without decoding them.

`tests/detect/test_sigma_lines.py` holds the two together: what is read in pieces must be what decoding gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from tocsin.ingest.decoders import windows, windows_values
from tocsin.ingest.decoders.eventtimes import row_times

__all__ = [
    "NXLOG",
    "NXLOG_EVENT_TYPES",
    "TRANSPORT",
    "columns",
    "computer",
    "field",
    "first",
    "int32",
    "int64",
    "keywords",
    "level",
    "nested_columns",
    "nested_rows",
    "own",
    "pid",
    "text",
    "times",
]

TRANSPORT = windows_values.TRANSPORT
"""Fields that the transport adds."""
NXLOG = ("OpcodeValue", "Opcode", "Version", "RecordNumber", "UserID", "ExecutionProcessID", "ThreadID", "ActivityID")
"""Fields that are taken for columns where NXLog wrote the event."""
NXLOG_EVENT_TYPES = windows_values.NXLOG_EVENT_TYPES
"""Values of ``EventType`` that NXLog wrote, not the event."""


def field(value: object) -> str:
    """An own field's value."""
    return value if value.__class__ is str else windows_values.field_text(value)  # type: ignore[return-value,unused-ignore]


def own(value: object) -> str:
    """A value of `EventData` or `event_data`."""
    return windows_values.flat_fields({"": value})[""]


def text(value: object) -> str | None:
    """A column of text."""
    return windows_values.optional_text(value)


def first(*values: object) -> str | None:
    """The first that isn't empty, else the last."""
    return windows_values.optional_text(next((v for v in values if v), values[-1]))


def level(*values: object) -> int | None:
    """Level, else NXLog's Severity."""
    return windows_values.level_number(next((v for v in values if v is not None), None))


def int32(*values: object) -> int | None:
    """The first that isn't null as a number."""
    return windows_values.int32(next((v for v in values if v is not None), None))


def int64(value: object) -> int | None:
    """A number."""
    return windows_values.int64(value)


def keywords(value: object) -> str | None:
    """Keywords as text."""
    return windows_values.keywords_text(value)


def pid(execution: object, process: object) -> int | None:
    """The writer's process: ExecutionProcessID, else a ProcessID that is a number."""
    if execution is not None:
        return windows_values.int32(execution)
    return windows_values.int32(process) if process.__class__ is int else None


def computer(fields: Mapping[str, Any]) -> str | None:
    """The column Computer."""
    return windows_values.optional_text(fields.get("Hostname") or fields.get("Computer") or fields.get("host"))


def times(events: Sequence[Mapping[str, Any]]) -> pa.Array:
    """When objects happened, as one batch of them would say; null for those that don't tell."""
    if not events:
        return pa.array([], pa.timestamp("us"))
    names = ("TimeCreated", "UtcTime", "EventTime", "@timestamp")
    return row_times([tuple(map(event.get, names)) for event in events])  # type: ignore[misc]


def columns(event: dict[str, Any]) -> tuple[dict[str, Any], Mapping[str, str]]:
    """All columns but the time, and the event's own fields. It takes the object apart."""
    buffer = windows.EventBuffer()
    buffer.add_flat(event)
    found = windows.columns_of(buffer.take_rows()[0])
    return found, orjson.loads(found["EventData"])


def nested_columns(event: Mapping[str, Any]) -> dict[str, Any]:
    """All columns but the time of an object with `winlog` or `System`."""
    buffer = windows.EventBuffer()
    _add_nested(buffer, event)
    return windows.columns_of(buffer.take_rows()[0])


def nested_rows(events: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows of such objects."""
    buffer = windows.EventBuffer()
    for event in events:
        _add_nested(buffer, event)
    return buffer.take()


def _add_nested(buffer: windows.EventBuffer, event: Mapping[str, Any]) -> None:
    inner = event.get("Event", event) if "winlog" not in event else event
    if "winlog" in event or not ("System" in inner and buffer.add_system(inner)):
        buffer.add_winlogbeat(event)
