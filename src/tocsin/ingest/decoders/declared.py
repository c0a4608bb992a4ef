"""Sources that a declaration describes: which keys tell a JSON object's kind, which pattern a line of text has.

The declarations stand in `sources.toml` beside this module, which says what its entries mean, and in the `sources` folders of packs (`declare`),
which come first. Rows of a declared kind have the columns TimeCreated, Computer and RawData (a JSON object with the source's own field names).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from tocsin.base.errors import ContentError
from tocsin.ingest.decoders.declaring import check_declarations
from tocsin.ingest.decoders.jsonvalue import json_text
from tocsin.ingest.decoders.times import parse_time

__all__ = [
    "LineShape",
    "MarkedTimes",
    "ObjectShape",
    "ZoneOf",
    "declare",
    "declared_header",
    "declared_line",
    "declared_object",
    "envelope_rows",
    "from_syslog",
    "in_zone",
    "is_remark",
    "marked_times",
    "w3c_kind",
    "zone_declared",
]

ZoneOf = Callable[[str], str]
"""The time zone of a kind's times; empty when nobody has said it, which means UTC."""
_FILE = Path(__file__).with_name("sources.toml")
_WORD = re.compile(r"[^a-z0-9]+")
_HOLE = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True, slots=True)
class ObjectShape:
    """How objects of one kind (or family of kinds) are known, and where they hold time and host."""

    kind: str
    has: tuple[str, ...]
    any: tuple[str, ...]
    matches: tuple[tuple[str, re.Pattern[str]], ...]
    time: tuple[str, ...]
    host: tuple[str, ...]
    inner: str


@dataclass(frozen=True, slots=True)
class LineShape:
    """How lines of one kind look: a pattern whose groups are the fields."""

    kind: str
    pattern: re.Pattern[str]
    fields: tuple[str, ...]
    time: str
    time_format: str
    remarks: re.Pattern[str] | None
    processes: frozenset[str]
    null: str
    local: bool
    zone: str


@dataclass(frozen=True, slots=True)
class MarkedTimes:
    """Which keys of a CEF or LEEF event tell its time, which one its form, and which are rewritten to ISO 8601."""

    keys: tuple[str, ...]
    format: str
    rewritten: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Sources:
    objects: dict[str, tuple[ObjectShape, ...]]
    lines: tuple[LineShape, ...]
    processes: dict[str, tuple[LineShape, ...]]
    envelopes: tuple[tuple[ObjectShape, str], ...]
    marked: dict[str, MarkedTimes]
    w3c: tuple[tuple[re.Pattern[str], str], ...]
    local: Mapping[str, str]
    shipped_time: tuple[str, ...]


_more: tuple[Mapping[str, Any], ...] = ()


def declare(documents: Iterable[tuple[str, Mapping[str, Any]]]) -> list[ContentError]:
    """Puts further declarations, (path, content) each, before the shipped ones, in place of those of an earlier call.

    What can't be used is left out and said. The declarations are the process's: all decoders know them from now on.
    """
    global _more
    problems, kept = [], []
    for path, document in documents:
        bad: dict[str, set[int]] = {}
        for name, number, problem in check_declarations(document, path):
            problems.append(problem)
            bad.setdefault(name, set()).add(number)
        kept.append(
            {
                name: [e for n, e in enumerate(entries) if n not in bad.get(name, ())]
                for name, entries in document.items()
                if -1 not in bad.get(name, ())
            }
        )
    _more = tuple(kept)
    _sources.cache_clear()
    return problems


def _merged() -> dict[str, Any]:
    shipped = tomllib.loads(_FILE.read_text("utf-8"))
    for name in ("object", "envelope", "line", "w3c"):
        shipped[name] = [e for document in _more for e in document.get(name, ())] + shipped[name]
    return shipped


@cache
def _sources() -> _Sources:
    declared = _merged()
    objects: dict[str, tuple[ObjectShape, ...]] = {}
    for entry in declared["object"]:
        shape = _object(entry)
        objects[shape.has[0]] = (*objects.get(shape.has[0], ()), shape)
    lines = tuple(_line(entry) for entry in declared["line"])
    processes: dict[str, tuple[LineShape, ...]] = {}
    for line in lines:
        for name in line.processes:
            processes[name] = (*processes.get(name, ()), line)
    return _Sources(
        objects,
        lines,
        processes,
        tuple((_object({"kind": "", **e}), e["list"]) for e in declared["envelope"]),
        {
            kind: MarkedTimes(tuple(e["time"]), e.get("format", ""), tuple(e.get("rewritten", ())))
            for kind, e in declared["marked"].items()
        },
        tuple((re.compile(e["software"]), e["kind"]) for e in declared["w3c"]),
        {
            e["kind"]: e.get("zone", "")
            for e in (*declared["w3c"], *declared["line"])
            if e.get("local") or e.get("zone")
        },
        tuple(declared["shipped_time"]),
    )


def _object(entry: Mapping[str, Any]) -> ObjectShape:
    return ObjectShape(
        entry["kind"],
        tuple(entry["has"]),
        tuple(entry.get("any", ())),
        tuple((path, re.compile(pattern)) for path, pattern in entry.get("is", {}).items()),
        tuple(entry.get("time", ())),
        tuple(entry.get("host", ())),
        entry.get("inner", ""),
    )


def _line(entry: Mapping[str, Any]) -> LineShape:
    pattern = re.compile(entry["pattern"], re.VERBOSE)
    names = entry.get("fields") or [name for name, _ in sorted(pattern.groupindex.items(), key=lambda item: item[1])]
    remarks = entry.get("remarks")
    return LineShape(
        entry["kind"],
        pattern,
        tuple(names),
        entry.get("time", "time"),
        entry.get("time_format", ""),
        re.compile(remarks) if remarks else None,
        frozenset(entry.get("processes", ())),
        entry.get("null", "-"),
        bool(entry.get("local") or entry.get("zone")),
        entry.get("zone", ""),
    )


def _at(d: Mapping[str, Any], path: str) -> Any:
    """The value below `a/b`."""
    value: Any = d
    for name in path.split("/"):
        if value.__class__ is not dict:
            return None
        value = value.get(name)
    return value


def _fits(shape: ObjectShape, d: Mapping[str, Any]) -> bool:
    if not all(key in d for key in shape.has) or (shape.any and not any(key in d for key in shape.any)):
        return False
    for path, pattern in shape.matches:
        value = _at(d, path)
        if value.__class__ is not str or not pattern.search(value):
            return False
    return True


def _kind(shape: ObjectShape, d: Mapping[str, Any]) -> str:
    """The kind's name, with values of the object in its holes; empty when such a value is no word."""
    if "{" not in shape.kind:
        return shape.kind
    out = shape.kind
    for hole in _HOLE.findall(shape.kind):
        value = _at(d, hole)
        word = _WORD.sub("-", value.lower()).strip("-")[:60] if value.__class__ is str else ""
        if not word:
            return ""
        out = out.replace(f"{{{hole}}}", word)
    return out


def _shape(d: Mapping[str, Any]) -> tuple[ObjectShape, str] | None:
    objects = _sources().objects
    if objects.keys().isdisjoint(d):
        return None  # most objects
    for key, shapes in objects.items():
        if key in d:
            for shape in shapes:
                if _fits(shape, d) and (kind := _kind(shape, d)):
                    return shape, kind
    return None


def declared_header(names: list[str]) -> bool:
    """True when a row with those column names is of a declared kind whatever its values are."""
    row = dict.fromkeys(names, "")
    return any(
        _fits(shape, row)
        for key, shapes in _sources().objects.items()
        if key in row
        for shape in shapes
        if not shape.matches
    )


def declared_object(d: Mapping[str, Any], time: object = None, host: str = "") -> tuple[str, dict[str, Any]] | None:
    """(kind, row) when the object is of a declared kind, else None. `time` and `host` stand in for what it doesn't say itself."""
    found = _shape(d)
    if found is None:
        return None
    shape, kind = found
    if shape.inner:
        inner = _at(d, shape.inner)
        if inner.__class__ is str:
            try:
                inner = orjson.loads(inner)
            except orjson.JSONDecodeError:
                inner = None
        if inner.__class__ is dict:
            within = declared_object(inner, time, host)
            if within is not None:
                return within
    paths = (*shape.time, *_sources().shipped_time)
    when = next((v for path in paths if (v := _at(d, path)) not in (None, "")), time)
    own = next((v for path in shape.host if (v := _at(d, path)).__class__ is str and v), None)
    return kind, {"TimeCreated": when, "Computer": own or host or None, "RawData": json_text(d)}


def envelope_rows(d: Mapping[str, Any]) -> Iterator[Any] | None:
    """The objects that a declared envelope holds, or None when the object is none."""
    for shape, name in _sources().envelopes:
        rows = d.get(name)
        if isinstance(rows, list) and _fits(shape, d):
            return iter(rows)
    return None


def declared_line(
    text: str, host: str = "", time: object = None, zone: ZoneOf | None = None
) -> tuple[str, dict[str, Any]] | None:
    """(kind, row) when a line of text is of a declared kind, else None. `zone` gives the time zone of a kind whose times are local ones."""
    for shape in _sources().lines:
        row = _line_row(shape, text, host, time, zone)
        if row is not None:
            return shape.kind, row
    return None


def is_remark(kind: str, text: str) -> bool:
    """True for a line that files of that kind hold beside their events: a title, a legend."""
    return any(
        s.kind == kind and s.remarks is not None and s.remarks.search(text) is not None for s in _sources().lines
    )


def from_syslog(
    process: object, message: str, host: str, time: object, zone: ZoneOf | None = None
) -> tuple[str, dict[str, Any]] | None:
    """(kind, row) when a process wrote lines of a declared kind to syslog. `time` is what syslog's header says.

    Where a line's own time is a local one of which nobody has said the zone, the header's is taken: its sender declares the zone there.
    """
    for shape in _sources().processes.get(process, ()) if process.__class__ is str else ():
        row = _line_row(shape, message, host, time, zone)
        if row is not None and shape.local and time is not None and not (zone or _no_zone)(shape.kind):
            row["TimeCreated"] = time
        if row is not None:
            return shape.kind, row
    return None


def zone_declared(kind: str) -> str | None:
    """The time zone that a kind's declaration names; empty for one whose times are local ones of a zone that isn't declared, None for another."""
    return _sources().local.get(kind)


def in_zone(when: datetime | None, zone: str) -> datetime | None:
    """A local time of that zone as UTC without zone; of an hour that the clocks go through twice, the first."""
    if when is None or not zone:
        return when
    try:
        return when.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        return when


def _no_zone(_kind: str) -> str:
    return ""


def _line_row(
    shape: LineShape, text: str, host: str, time: object, zone: ZoneOf | None = None
) -> dict[str, Any] | None:
    match = shape.pattern.match(text)
    if match is None:
        return None
    values = {n: v for n, v in zip(shape.fields, match.groups(), strict=False) if v is not None and v != shape.null}
    when: object = values.get(shape.time)
    if when is not None and shape.time_format:
        try:
            when = datetime.strptime(str(when), shape.time_format)  # noqa: DTZ007 - such logs name no zone
        except ValueError:
            when = None
    elif when is not None:
        when = parse_time(when)
    if shape.local and zone is not None and isinstance(when, datetime):
        when = in_zone(when, zone(shape.kind))
    return {
        "TimeCreated": when if when is not None else time,
        "Computer": values.get("host") or host or None,
        "RawData": orjson.dumps(values).decode(),
    }


def marked_times(kind: str) -> MarkedTimes:
    """Which keys of CEF (`cef`) or LEEF (`leef`) events are times."""
    return _sources().marked[kind]


def w3c_kind(software: str) -> str:
    """The source kind of a W3C extended log that says `#Software: …`."""
    return next(kind for pattern, kind in _sources().w3c if pattern.search(software))
