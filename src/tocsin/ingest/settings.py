"""Limits of intake. Every one is a setting with a name, and the error that it causes says the name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DecodeLimits"]

_KIB = 1024
_MIB = 1024 * _KIB
_GIB = 1024 * _MIB


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What a decoder accepts and how big its batches are.

    `max_record_bytes`: longest line or single record; a longer one becomes one dead letter and the rest goes on.
    `batch_rows`, `batch_bytes`: a batch is handed on when it has that many rows or about that many bytes.
    `archive_depth`: how deep archives may be nested. `archive_members`: members of one outermost archive, nested ones included.
    `archive_bytes`: bytes that one outermost archive may expand to. `archive_ratio`: how many times its own size it may expand to,
    once more than `archive_ratio_floor` bytes came out (real logs reach about 60 with deflate; a bomb about 1,000).
    `spool_bytes`: a member that needs random access (EVTX, nested zip) stays in memory up to that size, then goes to a temporary file.
    `zones`: time zones (IANA's names) of logs whose times are local ones, by sender, by the beginning of a file's path, or by source kind.
    `dead_letter_bytes`: how much of an undecodable record is kept; one that was longer can be seen, and not replayed.
    """

    max_record_bytes: int = 16 * _MIB
    batch_rows: int = 10_000
    batch_bytes: int = 32 * _MIB
    archive_depth: int = 6
    archive_members: int = 100_000
    archive_bytes: int = 64 * _GIB
    archive_ratio: int = 250
    archive_ratio_floor: int = 8 * _MIB
    spool_bytes: int = 8 * _MIB
    dead_letter_bytes: int = _MIB
    zones: Mapping[str, str] = field(default_factory=dict)
