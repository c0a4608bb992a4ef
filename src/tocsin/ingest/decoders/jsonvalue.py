"""JSON text of any parsed value, however deep it is nested."""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["DEEPEST", "json_text"]

DEEPEST = 64
"""Levels of nesting that are kept of a value whose nesting is too deep to be written (orjson writes about 250)."""


def json_text(value: Any) -> str:
    """The value as JSON text. What is nested deeper than can be written is cut at `DEEPEST` levels, where a text says so."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:
        return orjson.dumps(_cut(value, DEEPEST), default=str).decode()


def _cut(value: Any, levels: int) -> Any:
    if isinstance(value, dict):
        return {str(k): _cut(v, levels - 1) for k, v in value.items()} if levels else "… nested deeper"
    if isinstance(value, list):
        return [_cut(v, levels - 1) for v in value] if levels else "… nested deeper"
    if isinstance(value, int) and not -(1 << 63) <= value < (1 << 64):
        return str(value)
    return value
