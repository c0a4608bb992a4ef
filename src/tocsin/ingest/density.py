"""How many events a body may hold, told from its bytes: what bounds the memory that it takes to read them.

Three bytes of JSON (`{},`) become sixty of an object, and hundreds of a row or a dead letter. A hundred kilobytes that decompress to such a body
would take all memory of the machine, and do so again when the log is read after the crash.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

__all__ = ["most_pieces", "pieces"]

_WINDOW = 4096
_FEW = 500_000
_MOST = 2_000_000
_EVERY = 8


def pieces(data: bytes, marks: bytes = b"\n{", *, windows: int = 64) -> int:
    """About how many lines and objects begin in the data: how often the marks are in it.

    Large data is looked at in that many windows, one in each part of it, somewhere else each time: what is dense enough to matter shows there.
    """
    octets = np.frombuffer(data, np.uint8)
    if len(octets) <= windows * _WINDOW:
        return _count(octets, marks)
    part = len(octets) // windows
    start = secrets.randbelow(part - _WINDOW + 1)
    seen = [octets[at : at + _WINDOW] for at in range(start, start + part * windows, part)]
    return _count(np.concatenate(seen), marks) * len(octets) // (windows * _WINDOW)


def _count(octets: np.ndarray[Any, Any], marks: bytes) -> int:
    return sum(int(np.count_nonzero(octets == mark)) for mark in marks)


def most_pieces(size: int, *, protobuf: bool = False) -> int:
    """How many a body of that size may hold. Real events have dozens of bytes a line and an object, however they are written. In protobuf
    the mark is the one of a message's first field, and attributes are messages."""
    every, most = (_EVERY // 2, 3 * _MOST) if protobuf else (_EVERY, _MOST)
    return max(_FEW, min(size // every, most))
