"""Flat JSON objects of Windows events to columns by the native kernel, where it was built: `_events.c` cuts, this module says what keys mean.

For each sequence of keys (a layout) that comes, `plan_of` answers once what `EventBuffer.add_flat` would do with such an object: which keys become
columns, which are transport and dropped, which stay as the event's own fields. Where that depends on more than the keys, the event is
*slow*: whoever asked decodes it as ever. `tests/ingest/test_flatevents.py` holds the two ways together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.ingest.decoders import flatvalues
from tocsin.ingest.decoders.eventtimes import event_times
from tocsin.ingest.decoders.windows import EVENT_SCHEMA

try:
    from tocsin.ingest.decoders import _events  # type: ignore[attr-defined,unused-ignore]
except ImportError:  # a wheel built without a compiler
    _events = None

__all__ = ["AVAILABLE", "Cut", "FlatEvents", "check_events", "event_fields", "whole"]

AVAILABLE = _events is not None
"""Whether the native kernel was built."""
MOST_LAYOUTS = 20_000
"""A sender of endless new field names costs time, not memory: all layouts are forgotten then."""
# The kernel's columns in its order: texts, JSON tokens, texts.
_TEXTS = ("Channel", "Provider", "Computer", "UserSid", "ProviderGuid", "ActivityID")
_TOKENS = ("EventID", "Level", "Task", "Opcode", "Version", "Keywords", "ProcessID", "ThreadID", "EventRecordID")
_LAST = ("Message", "TimeCreated", "UtcTime", "EventTime", "@timestamp")
_COLUMNS = (*_TEXTS, *_TOKENS, *_LAST)
_VALUES: dict[str, Callable[..., Any]] = {"Level": flatvalues.level, "Keywords": flatvalues.keywords}
_PROVIDERS = ("SourceName", "Provider", "ProviderName")
_POPPED = frozenset(
    {"Channel", "EventID", "Message", "TimeCreated", "@timestamp", "Hostname", "Computer", "EventTime", "Level", "Keywords",
     "Task", "ProviderGuid", "RecordNumber", "EventRecordID"}
)  # fmt: skip
_ELSEWHERE = frozenset({"TimeGenerated", "EventSourceName", "Type"})
"""Keys by which an object may be a row of Log Analytics."""


class Cut(NamedTuple):
    """What came of bodies: the rows of `EVENT_SCHEMA` (None where there are none) and their texts; (body, number from 1, text) of each event that the
    kernel leaves to Python; the bodies that aren't JSON objects throughout; by body, how far its collector's clock is from UTC, where that showed."""

    rows: pa.Table | None
    lines: Sequence[bytes]
    slow: list[tuple[int, int, bytes]]
    odd: list[int]
    offsets: Mapping[int, int]


class FlatEvents:
    """Cuts bodies of event objects (Splunk's envelopes). Safe to use from many threads; they take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._cutter = _events.Cutter(tuple(t.encode() for t in sorted(flatvalues.NXLOG_EVENT_TYPES)))

    def cut(self, bodies: list[bytes]) -> Cut:
        """Takes all bodies apart at once."""
        with self._lock:
            if self._cutter.layouts > MOST_LAYOUTS:
                self._begin()
            odd, fresh = self._cutter.cut(bodies)
            for number, names in fresh:
                self._cutter.plan(number, *(plan_of(names) or (None,)))
            count, columns, slow, places = self._cutter.build()
        left = [(body, number, bodies[body][start:end]) for body, number, start, end in slow]
        if not count:
            return Cut(None, (), left, odd, {})
        where = np.frombuffer(places, np.uint32).reshape(-1, 3)
        rows, offsets = _table(columns, count, where[:, 0])
        return Cut(rows, _Lines(bodies, where), left, odd, offsets)


class _Lines(Sequence[bytes]):
    """The texts of events, cut out of their bodies when somebody reads them."""

    def __init__(self, bodies: list[bytes], places: np.ndarray[Any, Any]) -> None:
        self._bodies = bodies
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return _Lines(self._bodies, self._places[index])
        found: list[int] = self._places[index].tolist()
        body, start, end = found
        return self._bodies[body][start:end]

    def __iter__(self) -> Iterator[bytes]:
        bodies = self._bodies
        for body, start, end in self._places.tolist():
            yield bodies[body][start:end]


Plan = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]
"""The place of each of the kernel's columns (-1: none); those of the event's own fields, of what must hold something, and of NXLog's type."""


def plan_of(names: Sequence[str]) -> Plan | None:
    """What the keys of an object are, None for objects that must be decoded."""
    places = {name: at for at, name in enumerate(names)}
    if len(places) != len(names) or "" in places or not places.keys().isdisjoint(_ELSEWHERE):
        return None
    if (
        "EventID" not in places
        or "Channel" not in places
        or ("TimeCreated" not in places and "EventTime" not in places)
    ):
        return None
    computer = [n for n in ("Hostname", "Computer") if n in places]
    records = [n for n in ("RecordNumber", "EventRecordID") if n in places]
    nxlog = "RecordNumber" in places or "ThreadID" in places
    if len(computer) != 1 or len(records) > 1 or ("EventTime" in places and not nxlog):
        return None
    if nxlog and "ProcessID" in places and "ExecutionProcessID" not in places:
        return None  # whether it is the writer's depends on its type
    provider = [n for n in _PROVIDERS if n in places][:1]
    source = {name: name for name in _COLUMNS if name in places}
    source |= {"Computer": computer[0]}
    must = [*computer, *provider]
    source.pop("Provider", None)
    if provider:
        source["Provider"] = provider[0]
    for name in ("UserSid", "ActivityID", "Opcode", "Version", "ProcessID", "ThreadID"):
        source.pop(name, None)
    popped = {*_POPPED, *provider}
    if records:
        source["EventRecordID"] = records[0]
    if nxlog:
        popped.update(flatvalues.NXLOG, flatvalues.TRANSPORT)
        for column, inputs in (
            ("UserSid", ("UserID",)),
            ("ActivityID", ("ActivityID",)),
            ("Version", ("Version",)),
            ("ThreadID", ("ThreadID",)),
            ("Opcode", ("OpcodeValue", "Opcode")),
            ("ProcessID", ("ExecutionProcessID", "ProcessID")),
            ("Level", ("Level", "Severity")),
        ):
            held = [n for n in inputs if n in places]
            if held:
                source[column] = held[0]
                # The first that isn't null counts: with a second one there, the first must not be.
                must += held[:1] if len(held) > 1 else []
    elif "host" in places or "tags" in places:
        popped.update(flatvalues.TRANSPORT)
    keep = tuple(at for name, at in places.items() if name not in popped)
    columns = tuple(places[source[c]] if c in source else -1 for c in _COLUMNS)
    return columns, keep, tuple(places[n] for n in must), places.get("EventType", -1) if nxlog else -1


def _array(parts: tuple[bytes, bytes, bytes | None], count: int) -> pa.Array:
    offsets, text, valid = (None if p is None else pa.py_buffer(p) for p in parts)
    return pa.Array.from_buffers(pa.string(), count, [valid, offsets, text])


def _table(
    columns: Sequence[tuple[bytes, bytes, bytes]], count: int, bodies: np.ndarray[Any, Any]
) -> tuple[pa.Table, Mapping[int, int]]:
    made = dict(zip((*_COLUMNS, "EventData"), (_array(c, count) for c in columns), strict=True))
    texts = [pl.Series(pl.from_arrow(made.pop(n))) for n in _LAST[1:]]
    created, utc, local, stamp = texts
    times, offsets = event_times(created, utc, local, stamp, pl.Series(np.ascontiguousarray(bodies)))
    arrays = []
    for item in EVENT_SCHEMA:
        if item.name == "TimeCreated":
            arrays.append(times)
        elif item.name == "EventRecordID":
            arrays.append(_records(made[item.name]))
        elif item.name in _TOKENS:
            arrays.append(_decoded(made[item.name], _VALUES.get(item.name, flatvalues.int32), item.type))
        else:
            arrays.append(made[item.name])
    return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA), offsets


def _decoded(tokens: pa.Array, function: Callable[..., Any], kind: pa.DataType) -> pa.Array:
    """What each JSON token means; few different ones are usual."""
    if tokens.null_count == len(tokens):
        return pa.nulls(len(tokens), kind)
    encoded = tokens.dictionary_encode()
    values = pa.array([function(orjson.loads(t)) for t in encoded.dictionary.to_pylist()], kind)
    return values.take(encoded.indices)


def _records(tokens: pa.Array) -> pa.Array:
    if pc.all(pc.match_substring_regex(tokens, r'^(?:-?[0-9]{1,18}|"-?[0-9]{1,18}")$')).as_py() is not False:
        return pc.utf8_trim(tokens, '"').cast(pa.int64())
    return _decoded(tokens, flatvalues.int64, pa.int64())


def check_events(body: bytes) -> bool | None:
    """Whether every event object of a body carries its `time`; None where Python must look whether it is a good body at all."""
    found: bool | None = _events.check(body) if _events is not None else None
    return found


def whole(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array, copied only where it is in pieces."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def event_fields(
    data: pa.ChunkedArray, chosen: np.ndarray[Any, Any] | None, names: Sequence[str], *, empty: bool = False
) -> list[pa.Array] | None:
    """Fields of the event data of the chosen rows, null where there is none (with `empty`: the empty text). None where Python must read them."""
    if _events is None or pa.types.is_large_string(data.type):
        return None
    count = len(data) if chosen is None else len(chosen)
    if not count:
        return [pa.array([], pa.string()) for _ in names]
    column = whole(data)
    if column.null_count:
        return None
    _, offsets, text = column.buffers()
    if offsets is None or text is None:
        return None
    start = column.offset
    ends = np.frombuffer(offsets, np.int32, len(column) + 1, start * 4)
    rows = None if chosen is None else np.ascontiguousarray(chosen, np.int64)
    found = _events.fields(ends, text, rows, count, tuple(names))
    return None if found is None else [_array((c[0], c[1], None if empty else c[2]), count) for c in found]
