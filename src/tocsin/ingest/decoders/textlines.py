"""Text whose lines have a declared pattern (`sources.toml`): access logs, logs of DNS servers, flow logs.

A line that doesn't match is kept as a row of unknown shape; a file's title and legend are passed over and noted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tocsin.base.errors import Place
from tocsin.ingest.decoders.context import Context
from tocsin.ingest.decoders.declared import declared_line, is_remark
from tocsin.ingest.decoders.lines import LongLine, line_blocks
from tocsin.ingest.decoders.shapes import add_unknown
from tocsin.ingest.decoders.source import Source
from tocsin.ingest.model import DecodedItem

__all__ = ["add_declared_line", "decode_lines", "looks_declared"]

_ENOUGH = 20


def looks_declared(lines: Sequence[str]) -> bool:
    """True when lines of a declared pattern begin somewhere in the text and most lines from there on have one."""
    found = [n for n, line in enumerate(lines) if declared_line(line.rstrip("\r")) is not None]
    if not found:
        return False
    after = lines[found[0] : found[0] + _ENOUGH]
    return sum(n < found[0] + _ENOUGH for n in found) * 2 >= len(after)


def add_declared_line(text: str, context: Context, time: object = None) -> bool:
    """Adds a line of a declared kind; False when it is none."""
    found = declared_line(text, context.host, time, context.zone)
    if found is None:
        return False
    context.add(*found)
    return True


def decode_lines(source: Source, context: Context) -> Iterator[DecodedItem]:
    """Reads lines, each of any declared kind."""
    limit = context.limits.max_record_bytes
    kind = ""
    early: list[tuple[int, str]] = []
    for number, lines in line_blocks(source, limit, context.limits.dead_letter_bytes):
        for index, raw in enumerate(lines):
            if isinstance(raw, LongLine):
                yield context.too_long(raw, Place(source.name, line=number + index))
                continue
            line = context.text(raw, number + index).rstrip("\r").lstrip("﻿")
            if not line.strip():
                continue
            context.record_bytes = len(line)
            found = declared_line(line, context.host, zone=context.zone)
            if found is not None:
                kind = found[0]
                context.add(*found)
                _keep(early, kind, context)
            elif kind:
                _keep([(number + index, line)], kind, context)
            else:
                # What the lines before the first event are, only that event tells.
                early.append((number + index, line))
                if len(early) > 1000:
                    _keep(early, kind, context)
        yield from context.full()
    _keep(early, kind, context)


def _keep(lines: list[tuple[int, str]], kind: str, context: Context) -> None:
    for number, line in lines:
        if is_remark(kind, line):
            context.note("a line is a remark, no event", f"line {number}")
        else:
            add_unknown("json", {"message": line}, context)
    lines.clear()
