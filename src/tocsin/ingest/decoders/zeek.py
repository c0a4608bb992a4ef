"""Zeek logs: tab-separated with `#fields`, and JSON in the spellings that shippers give it.

Rows have kind `zeek.<path>` and Zeek's own column names (`id.orig_h`); values are text, `ts` is an instant. Unset values are null,
sets and vectors are JSON arrays, booleans `true`/`false`, in both forms alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from tocsin.base.errors import Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.context import Context, as_text
from tocsin.ingest.decoders.lines import LongLine, line_blocks
from tocsin.ingest.decoders.names import names
from tocsin.ingest.decoders.source import Source
from tocsin.ingest.model import DecodedItem

__all__ = ["decode_zeek_tsv", "zeek_row"]

_PATH = re.compile(r"^[a-z][a-z0-9_\-]{0,60}$")
_FLAT = names().zeek_flat
_TELLTALE = names().zeek_logs


def zeek_row(d: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """(kind, row) when the object is a row of a Zeek log, else None."""
    path = d.get("_path") or d.get("@stream")
    if path.__class__ is not str:
        if "uid" not in d and "id.orig_h" not in d and "id_orig_h" not in d and "fuid" not in d:
            return None
        path = next((name for name, fields in _TELLTALE if fields <= d.keys()), None)
        if path is None:
            return None
    if not _PATH.match(path):
        return None
    row: dict[str, Any] = {}
    for name, value in d.items():
        if name in ("_path", "@stream", "@proc"):
            continue
        if name == "ts":
            row["ts"] = value
            continue
        if name == "id" and value.__class__ is dict:
            row.update({f"id.{k}": as_text(v) for k, v in value.items()})
            continue
        row[_FLAT.get(name, name)] = as_text(value)
    return f"zeek.{path}", row


_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})")


def decode_zeek_tsv(source: Source, context: Context) -> Iterator[DecodedItem]:
    """Reads a Zeek log with its `#separator`, `#path`, `#fields` and `#types` lines; several logs may follow each other."""
    separator, set_separator, empty, unset, path = "\t", ",", "(empty)", "-", ""
    fields: list[str] = []
    types: list[str] = []
    for number, lines in line_blocks(source, context.limits.max_record_bytes, context.limits.dead_letter_bytes):
        for index, raw in enumerate(lines):
            place = Place(source.name, line=number + index)
            if isinstance(raw, LongLine):
                yield context.too_long(raw, place)
                continue
            line = context.text(raw.rstrip(b"\r"), number + index)
            if not line:
                continue
            if line[0] == "#":
                if line.startswith("#separator"):
                    separator = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), line[len("#separator") :].strip()) or "\t"
                    continue
                name, _, value = line[1:].partition(separator)
                if name == "set_separator":
                    set_separator = value or ","
                elif name == "empty_field":
                    empty = value
                elif name == "unset_field":
                    unset = value
                elif name == "path":
                    path = value.strip()
                elif name == "fields":
                    fields = value.split(separator)
                    types = []
                elif name == "types":
                    types = value.split(separator)
                continue
            values = line.split(separator)
            if not fields or len(values) != len(fields):
                reason = f"The row has {len(values)} fields; #fields lists {len(fields)}."
                yield context.dead(reason, codes.ZEEK_ROW, place, raw)
                continue
            context.record_bytes = len(line)
            row: dict[str, Any] = {}
            for position, value in enumerate(values):
                kind = types[position] if position < len(types) else "string"
                row[fields[position]] = _value(value, kind, set_separator, empty, unset)
            context.add(f"zeek.{path if _PATH.match(path) else 'unknown'}", row)
        yield from context.full()


def _value(text: str, kind: str, set_separator: str, empty: str, unset: str) -> str | None:
    if text == unset:
        return None
    if kind[:4] in ("set[", "vect", "list"):
        if text == empty or not text:
            return "[]"
        return orjson.dumps([_unescape(t) for t in text.split(set_separator)]).decode()
    if text == empty:
        return ""
    if kind == "bool":
        return {"T": "true", "F": "false"}.get(text, text)
    return _unescape(text) if "\\x" in text else text


def _unescape(text: str) -> str:
    """`\\x09` and the like back to bytes; UTF-8 sequences that were escaped byte by byte become characters again."""
    if "\\x" not in text:
        return text
    raw = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda m: bytes([int(m[1], 16)]), text.encode())
    return raw.decode("utf-8", "replace")
