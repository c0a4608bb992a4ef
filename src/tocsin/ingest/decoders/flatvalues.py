"""How `EventBuffer.add_flat` reads an object, in pieces, for those who read such objects without decoding them.

`tests/detect/test_sigma_lines.py` holds the two together: what is read in pieces must be what decoding gives.
"""

from __future__ import annotations

from tocsin.ingest.decoders import windows

__all__ = [
    "NXLOG",
    "NXLOG_EVENT_TYPES",
    "TRANSPORT",
    "field",
    "first",
    "int32",
    "int64",
    "keywords",
    "level",
    "pid",
    "text",
]

TRANSPORT = windows._TRANSPORT
"""Fields that the transport adds."""
NXLOG = ("OpcodeValue", "Opcode", "Version", "RecordNumber", "UserID", "ExecutionProcessID", "ThreadID", "ActivityID")
"""Fields that are taken for columns where NXLog wrote the event."""
NXLOG_EVENT_TYPES = windows._NXLOG_EVENT_TYPES
"""Values of ``EventType`` that NXLog wrote, not the event."""


def field(value: object) -> str:
    """An own field's value."""
    return value if value.__class__ is str else windows._text(value)  # type: ignore[return-value,unused-ignore]


def text(value: object) -> str | None:
    """A column of text."""
    return windows._opt(value)


def first(*values: object) -> str | None:
    """The first that isn't empty, else the last."""
    return windows._opt(next((v for v in values if v), values[-1]))


def level(*values: object) -> int | None:
    """Level, else NXLog's Severity."""
    return windows._level(next((v for v in values if v is not None), None))


def int32(*values: object) -> int | None:
    """The first that isn't null as a number."""
    return windows._int32(next((v for v in values if v is not None), None))


def int64(value: object) -> int | None:
    """A number."""
    return windows._int64(value)


def keywords(value: object) -> str | None:
    """Keywords as text."""
    return windows._keywords(value)


def pid(execution: object, process: object) -> int | None:
    """The writer's process: ExecutionProcessID, else a ProcessID that is a number."""
    if execution is not None:
        return windows._int32(execution)
    return windows._int32(process) if process.__class__ is int else None
