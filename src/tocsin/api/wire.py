"""JSON for answers that are made by hand because they are large: no copy through models."""

from __future__ import annotations

from typing import Any

import orjson

from tocsin.state.types import dumps

__all__ = ["to_json"]


def to_json(value: Any) -> bytes:
    """JSON bytes. Integers over 64 bits and lone surrogates, which rows may hold, go a slower way."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return dumps(value).encode()
