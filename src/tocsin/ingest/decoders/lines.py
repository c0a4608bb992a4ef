"""Splitting bytes into lines with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tocsin.ingest.decoders.source import Source

__all__ = ["LongLine", "line_blocks"]

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line that was longer than allowed; only its first bytes were kept."""

    head: bytes
    size: int


def line_blocks(source: Source, limit: int, keep: int = 65_536) -> Iterator[tuple[int, list[bytes | LongLine]]]:
    """Yields (number of the first line, lines without their newline) a block at a time; numbers count from 1.

    A line longer than `limit` bytes is never held: a `LongLine` stands in its place with the first `keep` bytes.
    """
    number = 1
    rest = b""
    skipped = 0  # bytes of a too long line seen so far; `rest` is then its kept head
    # With blocks no longer than the limit, only the first line of a block can exceed it.
    size = min(_BLOCK, limit)
    while block := source.read(size):
        if skipped:
            end = block.find(b"\n")
            if end < 0:
                skipped += len(block)
                continue
            yield number, [LongLine(rest, skipped + end)]
            number += 1
            rest, skipped, block = b"", 0, block[end + 1 :]
        parts: list[bytes | LongLine] = list((rest + block if rest else block).split(b"\n"))
        last = parts.pop()
        assert isinstance(last, bytes)
        rest = last
        if parts:
            first = parts[0]
            assert isinstance(first, bytes)
            if len(first) > limit:
                parts[0] = LongLine(first[:keep], len(first))
            yield number, parts
            number += len(parts)
        if len(rest) > limit:
            skipped = len(rest)
            rest = rest[:keep]
    if skipped:
        yield number, [LongLine(rest, skipped)]
    elif rest:
        yield number, [rest]
