"""W3C extended log files (IIS, HTTP.sys, Windows Firewall, Exchange): `#Fields:` names the columns, other directives describe the file.

Rows have the kind that `sources.toml` gives the file's `#Software`; RawData holds the fields that aren't `-`. Times are UTC by definition
unless `#Time Format: Local` says otherwise, which is noted.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

import orjson

from tocsin.base.errors import Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.context import Context
from tocsin.ingest.decoders.declared import in_zone, w3c_kind, zone_declared
from tocsin.ingest.decoders.lines import LongLine, line_blocks
from tocsin.ingest.decoders.source import Source
from tocsin.ingest.decoders.times import parse_time
from tocsin.ingest.model import DecodedItem

__all__ = ["decode_w3c", "looks_like_w3c"]

_DIRECTIVE = re.compile(
    r"^#(Version|Software|Fields|Date|Start-Date|End-Date|Remark|Time Format|Log-type)\s*: ?(.*)$", re.IGNORECASE
)
_TIME = ("date-time", "timestamp", "datetime")


def looks_like_w3c(text: str) -> bool:
    """True when the text begins with directives and names its fields."""
    return text[:1] == "#" and _DIRECTIVE.match(text.split("\n", 1)[0].rstrip("\r")) is not None and "#Fields:" in text


def decode_w3c(source: Source, context: Context) -> Iterator[DecodedItem]:
    """Reads the rows; several logs, each with its directives, may follow each other."""
    names: list[str] = []
    kind, date, comma, local = w3c_kind(""), "", False, False
    for number, lines in line_blocks(source, context.limits.max_record_bytes, context.limits.dead_letter_bytes):
        for index, raw in enumerate(lines):
            place = Place(source.name, line=number + index)
            if isinstance(raw, LongLine):
                yield context.too_long(raw, place)
                continue
            line = context.text(raw, number + index).rstrip("\r").lstrip("﻿")
            if not line.strip("\0 \t"):
                continue  # IIS fills the end of a block with zeros
            if line[0] == "#":
                directive = _DIRECTIVE.match(line)
                word, value = (directive[1].lower(), directive[2].strip()) if directive else ("", "")
                if word == "software":
                    kind = w3c_kind(value)
                elif word == "date":
                    date = value[:10]
                elif word == "time format":
                    local = value.lower().startswith("local")
                    if local and not context.zone(kind):
                        context.note("times are local ones of the server and were read as UTC", f"line {place.line}")
                elif word == "fields":
                    comma = "," in value
                    names = [n.strip() for n in (value.split(",") if comma else value.split())]
                continue
            values = _split(line, comma)
            if not names or len(values) != len(names):
                reason = f"The row has {len(values)} fields; #Fields lists {len(names)}."
                yield context.dead(reason, codes.CSV_ROW, place, raw)
                continue
            context.record_bytes = len(line)
            row = {n: v for n, v in zip(names, values, strict=True) if v not in ("-", "")}
            when: object = _time(row, date)
            if local or zone_declared(kind) is not None or kind in context.limits.zones:
                when = in_zone(parse_time(when), context.zone(kind))
            host = row.get("s-computername") or context.host or None
            context.add(kind, {"TimeCreated": when, "Computer": host, "RawData": orjson.dumps(row).decode()})
        yield from context.full()


def _split(line: str, comma: bool) -> list[str]:
    if comma:
        try:
            return next(csv.reader([line]), [])
        except csv.Error:
            return []
    if '"' not in line:
        return line.split()
    # A text in quotes may hold blanks; a quote within it is doubled.
    return [
        m[1].replace('""', '"') if m[1] is not None else m[0]
        for m in re.finditer(r'"((?:[^"]|"")*)"(?=\s|$)|\S+', line)
    ]


def _time(row: dict[str, str], date: str) -> str | None:
    if "time" in row:
        day = row.get("date") or date
        return f"{day} {row['time']}" if day else None
    return next((row[n] for n in _TIME if n in row), None)
