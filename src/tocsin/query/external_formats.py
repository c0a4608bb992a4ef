"""What externaldata reads: delimited text, lines, JSON in its forms and Parquet, packed by gzip or zip or not at all."""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["FORMATS", "parse_records", "unzip"]

_DELIMITED = {"csv": ",", "tsv": "\t", "tsve": "\t", "psv": "|", "scsv": ";", "sohsv": "\x01"}
_JSON = ("json", "multijson", "singlejson")
FORMATS = frozenset((*_DELIMITED, *_JSON, "txt", "raw", "parquet"))
"""Names of formats, as Kusto has them."""

Columns = list[list[str | None]]


def unzip(body: bytes, name: str, most: int) -> list[bytes]:
    """The files inside: of a zip all, of gzip one, otherwise the body itself. Raises ValueError above `most` bytes."""
    if body[:2] == b"\x1f\x8b":
        unfold = zlib.decompressobj(31)
        out = unfold.decompress(body, most + 1)
        if len(out) > most:
            raise ValueError(f"it unpacks to more than {most >> 20} MiB")
        return [out]
    if body[:4] == b"PK\x03\x04" and not name.lower().endswith(".parquet"):
        try:
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                parts = [i for i in archive.infolist() if not i.is_dir()]
                if sum(i.file_size for i in parts) > most:
                    raise ValueError(f"it unpacks to more than {most >> 20} MiB")
                return [archive.read(i) for i in parts]
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"not a zip archive that can be read: {error}") from error
    return [body]


def parse_records(
    body: bytes,
    kind: str,
    names: Sequence[str],
    options: Mapping[str, object],
    columns: Columns,
    bags: frozenset[str] = frozenset(),
) -> None:
    """Append the records to the columns, a text each; what a record has not is None.

    Values of the columns `bags` are JSON where they come from JSON or Parquet, strings in quotes.
    Options (names in lower case): ``ignorefirstrecord``, ``ingestionmapping``. Raises ValueError for a body that is not of its format.
    """
    mapping = _mapping(options.get("ingestionmapping"), names)
    skip = bool(options.get("ignorefirstrecord")) and kind not in (*_JSON, "parquet")
    if kind == "parquet":
        _parquet(body, names, mapping, columns, bags)
        return
    text = body.decode("utf-8-sig", "replace")
    if kind in _JSON:
        _json(text, kind, names, mapping, columns, bags)
        return
    if kind == "raw":
        rows: Iterable[Sequence[str]] = [[text]]
    elif kind == "txt":
        rows = ([line] for line in text.splitlines())
    else:
        csv.field_size_limit(1 << 30)
        rows = (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=_DELIMITED[kind]) if row)
    places = [_ordinal(mapping, name, i) for i, name in enumerate(names)]
    iterator = iter(rows)
    if skip:
        next(iterator, None)
    try:
        for row in iterator:
            for column, place in zip(columns, places, strict=True):
                column.append(row[place] if place is not None and place < len(row) else None)
    except csv.Error as error:
        raise ValueError(str(error)) from error


def _mapping(given: object, names: Sequence[str]) -> dict[str, dict[str, Any]] | None:
    """Column → its properties (path or ordinal, names in lower case)."""
    if given is None:
        return None
    listed = json.loads(str(given))
    if not isinstance(listed, list):
        raise ValueError("its ingestionMapping is no array")  # noqa: TRY004 - the caller reports values
    found: dict[str, dict[str, Any]] = {}
    for entry in listed:
        flat = {str(k).lower(): v for k, v in entry.items()} if isinstance(entry, dict) else {}
        inner = flat.pop("properties", None)
        if isinstance(inner, dict):
            flat |= {str(k).lower(): v for k, v in inner.items()}
        name = str(flat.get("column", flat.get("name", "")))
        if name not in names:
            raise ValueError(f"its ingestionMapping names a column '{name}' that the schema has not")
        found[name] = flat
    return found


def _ordinal(mapping: dict[str, dict[str, Any]] | None, name: str, place: int) -> int | None:
    if mapping is None:
        return place
    entry = mapping.get(name)
    return int(entry["ordinal"]) if entry is not None and "ordinal" in entry else None


def _json(text: str, kind: str, names: Sequence[str], mapping: Any, columns: Columns, bags: frozenset[str]) -> None:
    paths = [_path(mapping, name) for name in names]
    for record in _records(text, lines=kind == "json"):
        for column, name, path in zip(columns, names, paths, strict=True):
            column.append(_text(_follow(record, path), json_text=name in bags) if path is not None else None)


def _records(text: str, *, lines: bool) -> Iterator[Any]:
    """The objects of JSON lines, of values one after another, or of arrays of them."""
    decoder = json.JSONDecoder()
    at, size = 0, len(text)
    while True:
        while at < size and text[at] in " \t\r\n,":
            at += 1
        if at >= size:
            return
        value, at = decoder.raw_decode(text, at)
        if isinstance(value, list):
            yield from value
        elif isinstance(value, dict) or not lines:
            yield value
        else:
            raise ValueError("a line of it is no JSON object")


def _path(mapping: Any, name: str) -> list[str | int] | None:
    """``$.a.b['c'][0]`` as steps; without a mapping the property of the column's name."""
    if mapping is None:
        return [name]
    entry = mapping.get(name)
    if entry is None or "path" not in entry:
        return None
    steps: list[str | int] = []
    rest = str(entry["path"]).removeprefix("$")
    while rest:
        if rest.startswith("['"):
            step, _, rest = rest[2:].partition("']")
            steps.append(step)
        elif rest.startswith("["):
            number, _, rest = rest[1:].partition("]")
            if not number.isdigit():
                raise ValueError(f"its ingestionMapping has a path that can't be followed: {entry['path']}")
            steps.append(int(number))
        else:
            rest = rest.removeprefix(".")
            end = min((i for i in (rest.find("."), rest.find("[")) if i >= 0), default=len(rest))
            steps.append(rest[:end])
            rest = rest[end:]
    return steps


def _follow(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _text(value: Any, *, json_text: bool) -> str | None:
    if value is None or (isinstance(value, str) and not json_text):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _parquet(body: bytes, names: Sequence[str], mapping: Any, columns: Columns, bags: frozenset[str]) -> None:
    try:
        table = pq.read_table(pa.BufferReader(body))
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    for column, name in zip(columns, names, strict=True):
        path = _path(mapping, name)
        source = str(path[0]) if path else ""
        if path is None or source not in table.column_names:
            column.extend([None] * table.num_rows)
            continue
        values = table.column(source)
        simple = not pa.types.is_nested(values.type)
        if simple and len(path) == 1 and name not in bags and not pa.types.is_binary(values.type):
            column.extend(values.cast(pa.string()).to_pylist())
        else:
            column.extend(_text(_follow(v, path[1:]), json_text=name in bags) for v in values.to_pylist())
