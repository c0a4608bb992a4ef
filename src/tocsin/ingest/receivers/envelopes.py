"""Events as receivers keep them, whatever protocol they came by: event objects as Splunk's collector knows them, one a line."""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson

from tocsin.ingest.decoders.jsontext import load_tolerant

__all__ = ["clean", "compact", "envelope", "enveloped"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_DEEPEST = 64
_SHORT = 512


def envelope(event: object, **fields: object) -> bytes:
    """One event as it is kept.

    Args:
        event: an object, or the text of a log line.
        fields: `time` (seconds since 1970 or text), `host`, `source`, `sourcetype`, `index`, `fields` (part of the event), `more` (kept beside
            an event of unknown shape alone). What says nothing is left out.
    """
    kept: dict[str, object] = {k: v for k, v in fields.items() if v is not None and v != "" and v != {}}
    kept["event"] = event
    try:
        return compact(orjson.dumps(kept))
    except TypeError:
        return compact(orjson.dumps(clean(kept)))


def compact(line: bytes) -> bytes:
    """The same in no more memory than it needs. orjson writes into a kilobyte at least and leaves the rest unused: short lines, kept by the hundred
    thousand, would hold gigabytes."""
    return bytes(memoryview(line)) if len(line) < _SHORT else line


def enveloped(raw: bytes, **fields: object) -> tuple[bytes, Any]:
    """(the event as it is kept or b"", its parsed value or None) of JSON text. Kept only when it is an object that isn't empty.

    The text itself is kept where it is good: nothing is written anew. `fields` as for `envelope`.
    """
    try:
        value = orjson.loads(raw)
        good = b"\n" not in raw and b"\r" not in raw
    except orjson.JSONDecodeError:
        value, _ = load_tolerant(raw)
        good = False
    if not isinstance(value, dict) or not value:
        return b"", value
    if not good:
        return envelope(value, **fields), value
    head = envelope(None, **fields)
    return head[: head.rindex(b"null")] + raw + b"}", value


def clean(value: Any, levels: int = _DEEPEST) -> Any:
    """The value as JSON can hold it: bytes as text (base64 when they are no UTF-8), names as text, no lone surrogates, bounded depth and numbers."""
    if value is None or value is True or value is False or isinstance(value, float):
        return value
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, int):
        return value if -(1 << 63) <= value < (1 << 64) else str(value)
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if not levels:
        return "… nested deeper"
    if isinstance(value, dict):
        return {
            k if k.__class__ is str and k.isascii() else str(clean(k, 1)): clean(v, levels - 1)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [clean(v, levels - 1) for v in value]
    return _SURROGATE.sub("\ufffd", str(value))
