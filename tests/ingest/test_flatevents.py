"""Windows events cut by the native kernel: what it reads must be what decoding gives."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from unittest.mock import patch

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.ingest.support import OTRF, needs_otrf
from tocsin.ingest import SourceBatch
from tocsin.ingest.decoders import decode_bodies, decode_body, flatevents
from tocsin.ingest.decoders.flatevents import AVAILABLE, check_events, event_fields
from tocsin.ingest.receivers import hec
from tocsin.lake import Body

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="the native kernel isn't built here (no C compiler)")
NOW = datetime(2024, 5, 1, tzinfo=UTC)

KEYS = (
    "Channel", "EventID", "Hostname", "Computer", "SourceName", "Provider", "ProviderName", "TimeCreated", "EventTime", "UtcTime",
    "@timestamp", "RecordNumber", "EventRecordID", "ThreadID", "ProcessID", "ExecutionProcessID", "OpcodeValue", "Opcode", "Version",
    "UserID", "ActivityID", "Level", "Severity", "Keywords", "Task", "ProviderGuid", "Message", "EventType", "host", "tags", "port",
    "Image", "CommandLine", "", "Type", "TimeGenerated", "Ünicode", 'quo"te',
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "-", "INFO", "Information", "0x10", "12", "007", " 5", "-1", "2020-10-20 01:02:03", "2020-10-20T01:02:03.5Z",
         "2020-10-20T01:02:03+02:00", "\b\f\n\r\t\x01\x7f\\/\"", "ﬀ💥\u2028"]
    ),
)  # fmt: skip
VALUES = st.one_of(
    TEXTS,
    TEXTS,
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.integers(-5, 5),
    st.sampled_from([None, True, False, 1.5, -0.0, 1e300, [], ["x"], {}, {"a": {"b": 1}}]),
)
EVENTS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=14)
PLAIN = {"Channel": "Security", "EventID": 4688, "Hostname": "h", "TimeCreated": "2024-05-01T10:00:00Z"}


def rows(items: Any) -> tuple[list[str], list[str]]:
    """The rows and the dead letters, in an order of their own."""
    found, dead = [], []
    for item in items:
        if isinstance(item, SourceBatch):
            found += [repr((item.source, row)) for row in item.rows.to_pylist()]
            if item.source == "windows.event" and item.lines is not None:
                assert [orjson.loads(line or b"")["EventID"] is not None for line in item.lines]
                assert len(item.lines) == len(item)
        else:
            dead.append(repr(item))
    return sorted(found), sorted(dead)


def bodies_of(*texts: bytes) -> list[Body]:
    return [Body("hec", text, NOW, {"form": "event", "host": "sender", "peer": "192.0.2.1"}) for text in texts]


def both(*texts: bytes) -> None:
    bodies = bodies_of(*texts)
    ours = rows(decode_bodies(bodies))
    theirs = rows(item for body in bodies for item in decode_body(body))
    assert ours == theirs


@given(st.lists(EVENTS, min_size=1, max_size=4), st.booleans())
@example([PLAIN | {"EventType": "INFO", "ThreadID": 4}, PLAIN | {"EventType": "Kept"}], True)
@example([PLAIN | {"SourceName": "", "Provider": "p"}, PLAIN | {"SourceName": "s", "Provider": "p"}], False)
def test_any_event(events: list[dict[str, Any]], escaped: bool) -> None:
    # Each in a body of its own: what an event without zone says of time depends on its neighbours.
    for event in events:
        for made in (event, PLAIN | event):
            text = json.dumps(made, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
            both(b'{"time":1714557600.5,"event":%b}' % text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"EventID":1,"EventID":2,"Channel":"c","Hostname":"h","TimeCreated":"2024-05-01T10:00:00Z"}',
        b'{"EventID":1,"Channel":"c","Hostname":"h","TimeCreated":"2024-05-01T10:00:00Z","A":"\\ud83d\\ude00\\u0041\\/"}',
        b'{"EventID":1,"Channel":"c","Hostname":"h","TimeCreated":"2024-05-01T10:00:00Z","A":"\\u00e9\\u20ac\\u0000\\u001f\\u0022\\u005c"}',
        b'{"EventID":1,"Channel":"c","Hostname":"h","TimeCreated":"2024-05-01T10:00:00Z","A":"\xff"}',
        b'{"EventID":1,"Channel":"c","Hostname":"h","TimeCreated":"2024-05-01T10:00:00Z","A":"\\ud800"}',
        b'{"EventID":1,"Channel":"c","Hostname":"h","TimeCreated":"2024-05-01T10:00:00Z","A":123456789012345678901234567890}',
        b'{"EventID":1,"Channel":"c","Hostname":"h","TimeCreated":"2024-05-01T10:00:00Z","A":-0,"B":1e5,"C":-9223372036854775809}',
        b'{"EventID":01,"Channel":"c"}',
        b'{"EventID":1,"Channel":"c"',
        b'{"EventID":1,"Channel":"c"}} {',
        b'{ "EventID" : 1 , "Channel" : "c" ,\n"Hostname":"h", "TimeCreated":"2024-05-01T10:00:00Z", "X" : [1, {"a": "}"}] }',
        b"[" * 100 + b"]" * 100,
        b"{}",
        b'"text"',
    ],
)
def test_odd_events(text: bytes) -> None:
    good = b'{"event":%b,"time":1}' % orjson.dumps(PLAIN)
    both(b'{"time":1,"event":%b}' % text)
    both(good + b"\n" + b'{"time":1,"event":%b}' % text + b" " + good, good)
    both(b'{"time":1,"event":%b,"fields":{"a":"b"}}' % text, b'{"ev\\u0065nt":%b}' % text)


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
def test_any_bytes(noise: bytes, at: int, byte: int) -> None:
    text = b'{"time":1,"event":%b}' % orjson.dumps(PLAIN | {"A": 'b\\"', "L": [1, {"x": None}], "N": -12})
    changed = text[: at % len(text)] + bytes([byte]) + text[at % len(text) + 1 :]
    for body in (noise, changed, text[: at % len(text)], noise + text, text + noise):
        both(body)
        said = check_events(body)
        with patch.object(hec, "check_events", lambda _: None):
            assert said is None or hec._check(body, 1 << 20) == (0, 0, said)


def test_checks_are_the_receivers(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        b'{"event":"a"}', b'{"event":"a","time":1}', b'{"event":"a","time":null}', b'{"event":""}', b'{"event":{}}', b'{"event":{ }}',
        b'{"event":null}', b"{}", b"[]", b'{"event":"a"}{"event":"b","time":2}', b'{"event":"a","fields":{"x":{}}}', b"", b" ",
        b'{"event":"a","time":1}\n\n{"event":[1],"time":2}', b'{"event":"a"} x', b'{"event":1e400}',
    ]  # fmt: skip
    native = [hec._check(t, 1 << 20) for t in texts]
    monkeypatch.setattr(hec, "check_events", lambda _: None)
    assert native == [hec._check(t, 1 << 20) for t in texts]


@given(
    st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=5), min_size=1, max_size=8), st.data()
)
def test_fields_of_event_data(objects: list[dict[str, str]], data: st.DataObject) -> None:
    names = data.draw(st.lists(st.text(max_size=4), min_size=1, max_size=4, unique=True))
    chosen = data.draw(st.none() | st.lists(st.integers(0, len(objects) - 1), max_size=6))
    texts = ["{}", *(orjson.dumps(o).decode() for o in objects)]
    column = pa.chunked_array([pa.array(texts, pa.string()).slice(1)])
    found = event_fields(column, None if chosen is None else np.array(chosen, np.int64), names)
    picked = objects if chosen is None else [objects[i] for i in chosen]
    if found is None:  # a key that is written with an escape, or nothing to read
        assert not picked or any(b"\\" in orjson.dumps(k) for o in objects for k in o)
        return
    for name, array in zip(names, found, strict=True):
        array.validate(full=True)
        assert array.to_pylist() == [o.get(name) for o in picked]


def test_layouts_are_forgotten_before_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatevents, "MOST_LAYOUTS", 50)
    cutter = flatevents.FlatEvents()
    for number in range(0, 400, 20):
        made = [b'{"time":1,"event":%b}' % orjson.dumps(PLAIN | {f"f{n}": "v"}) for n in range(number, number + 20)]
        cut = cutter.cut([b"\n".join(made)])
        assert cut.rows is not None
        assert [orjson.loads(t) for t in cut.rows.column("EventData").to_pylist()] == [
            {f"f{n}": "v"} for n in range(number, number + 20)
        ]
        assert cutter._cutter.layouts <= 80


def test_bodies_keep_their_own_clocks() -> None:
    def body(hour: int) -> bytes:
        named = {"Channel": "c", "EventID": 1, "Hostname": "h", "ThreadID": 1}
        told = named | {"EventTime": f"2024-05-01 {hour:02}:00:00", "UtcTime": "2024-05-01 12:00:00"}
        untold = named | {"EventTime": f"2024-05-01 {hour:02}:30:00", "Nested": {"slow": 1} if hour == 9 else "no"}
        return b"\n".join(b'{"event":%b}' % orjson.dumps(e) for e in (told, untold))

    both(body(9), body(14))
    batches = [b for b in decode_bodies(bodies_of(body(9), body(14))) if isinstance(b, SourceBatch)]
    times = sorted(str(t) for b in batches for t in b.rows.column("TimeCreated").to_pylist())
    assert times == ["2024-05-01 12:00:00"] * 2 + ["2024-05-01 12:30:00"] * 2


@needs_otrf
def test_recordings() -> None:
    from bench.streams import bodies

    seen = 0
    for body in islice(bodies(OTRF / "atomic/windows"), 0, 60, 8):
        lines = [line.strip() for line in body.split(b"\n")[:200] if line.strip()]
        seen += len(lines)
        both(b"\n".join(b'{"time":1,"event":%b}' % line for line in lines))
    assert seen > 300
