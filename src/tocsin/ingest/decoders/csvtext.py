"""CSV and its relatives (`;`, tab, `|`), with a header: exports of Sentinel and Defender tables, and anything else."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from tocsin.base.errors import Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.context import Context
from tocsin.ingest.decoders.declared import declared_object
from tocsin.ingest.decoders.lines import LongLine, line_blocks
from tocsin.ingest.decoders.shapes import WINDOWS_TABLES, add_object, add_table_row, add_unknown
from tocsin.ingest.decoders.source import Source
from tocsin.ingest.decoders.tables import plain_name
from tocsin.ingest.model import DecodedItem

__all__ = ["decode_csv", "find_dialect"]

_NAME = re.compile(r"^[\w@#$.\-/() \[\]:*%&'+?]{1,128}$")
_DELIMITERS = (",", "\t", ";", "|")


def find_dialect(head: str, *, complete: bool) -> tuple[str, list[str]] | None:
    """(delimiter, header) when the text is a table: names in the first row, rows of the same width below. None otherwise."""
    lines = head.lstrip("﻿").split("\n")
    # As the reader below cuts them: a vertical tab or another of Unicode's line breaks ends no line.
    if not complete and len(lines) > 1:
        lines = lines[:-1]
    lines = [line for line in lines if line.strip()][:25]
    if len(lines) < 2:
        return None
    for delimiter in _DELIMITERS:
        try:
            rows = list(csv.reader(lines, delimiter=delimiter, strict=False))
        except csv.Error:
            continue
        header = [name.strip() for name in rows[0]]
        width = len(header)
        # A name or two may stand twice (spreadsheets do that); a line of data repeats itself more.
        if width < 2 or len(set(header)) * 4 < width * 3 or len(set(header)) < 2:
            continue
        if not all(_NAME.match(name) and re.search(r"[A-Za-z]", name) for name in header):
            continue
        if width == 2 and any(len(name.split()) > 3 for name in header):
            continue
        same = sum(len(row) == width for row in rows[1:])
        # Quoted line breaks make some lines of the head look short.
        if same * 2 >= len(rows) - 1:
            return delimiter, header
    return None


def decode_csv(source: Source, context: Context, delimiter: str) -> Iterator[DecodedItem]:
    """Reads the rows below the header; each becomes a row of its table, a Windows event, or `csv`."""
    limit = context.limits.max_record_bytes
    csv.field_size_limit(max(limit, 131_072))
    numbers = _Lines(source, context)
    reader = csv.reader(numbers, delimiter=delimiter, strict=False)
    header: list[str] | None = None
    table: str | None = None
    columns: frozenset[str] = frozenset()
    windows = by_row = False
    while True:
        started = numbers.line + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield context.dead(
                f"The row can't be read: {error}.", codes.CSV_ROW, Place(source.name, line=started), numbers.recent()
            )
            reader = csv.reader(numbers, delimiter=delimiter, strict=False)
            continue
        yield from numbers.dead()
        if row is None:
            break
        if not row or (len(row) == 1 and not row[0].strip()):
            continue
        if header is None:
            header = _distinct([plain_name(name) for name in row], context, started)
            columns = frozenset(header)
            table = context.hint_table or context.matcher.of_columns(columns)
            by_row = not context.hint_table and "ActionType" in columns
            windows = "EventID" in columns and (
                "Channel" in columns or "SourceName" in columns or "EventSourceName" in columns
            )
            continue
        if len(row) != len(header):
            reason = f"The row has {len(row)} fields; the header has {len(header)}."
            yield context.dead(
                reason, codes.CSV_ROW, Place(source.name, line=started), delimiter.join(row).encode("utf-8", "replace")
            )
            continue
        context.record_bytes = sum(map(len, row))
        record = {name: value for name, value in zip(header, row, strict=True) if value != ""}
        sure = bool(context.hint_table or context.matcher.named(record))
        target = (context.matcher.of(record, columns) if by_row else context.matcher.named(record)) or table
        if (declared := None if target is not None and sure else declared_object(record)) is not None:
            context.add(*declared)
        elif windows and (target is None or target in WINDOWS_TABLES):
            add_object(record, context)
        elif target is not None and target not in WINDOWS_TABLES:
            add_table_row(target, record, context)
        else:
            add_unknown("csv", record, context)
        yield from context.full()


def _distinct(names: list[str], context: Context, line: int) -> list[str]:
    """The names, a further column of the same name as `Name_2`, so that no value stands for another."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            context.note(
                "a column's name stands twice; the further ones are kept as Name_2 and so on", f"line {line}, '{name}'"
            )
            name = f"{name}_{seen[name]}"
        out.append(name)
    return out


class _Lines(Iterator[str]):
    """Lines of text for `csv.reader`: over-long ones are set aside as dead letters."""

    def __init__(self, source: Source, context: Context) -> None:
        self.line = 0
        self._context = context
        self._source = source
        self._blocks = line_blocks(source, context.limits.max_record_bytes, context.limits.dead_letter_bytes)
        self._block: list[bytes | LongLine] = []
        self._next = 0
        self._recent = ""
        self._dead: list[DecodedItem] = []

    def __next__(self) -> str:
        while True:
            if self._next >= len(self._block):
                _, self._block = next(self._blocks)
                self._next = 0
                continue
            raw = self._block[self._next]
            self._next += 1
            self.line += 1
            if isinstance(raw, LongLine):
                place = Place(self._source.name, line=self.line)
                self._dead.append(self._context.too_long(raw, place))
                continue
            self._recent = self._context.text(raw, self.line)
            if self.line == 1:
                self._recent = self._recent.lstrip("﻿")
            return self._recent + "\n"

    def recent(self) -> bytes:
        """The line read last."""
        return self._recent.encode("utf-8", "replace")

    def dead(self) -> list[DecodedItem]:
        """The dead letters made since the last call."""
        out, self._dead = self._dead, []
        return out
