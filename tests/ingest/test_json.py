"""JSON in every form that logs hold it, good and bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ingest.support import decode_bytes, gzipped
from tocsin.ingest import codes
from tocsin.ingest.decoders.jsontext import JsonSplitter, key_twice, load_tolerant, split_json
from tocsin.ingest.settings import DecodeLimits


def events(count: int) -> list[dict[str, object]]:
    return [{"EventID": n, "Channel": "c", "Note": 'a "quoted" } brace'} for n in range(count)]


FORMS = {
    "lines": "\n".join(json.dumps(e) for e in events(4)),
    "crlf": "\r\n".join(json.dumps(e) for e in events(4)),
    "blank lines": "\n\n".join(json.dumps(e) for e in events(4)),
    "bom": "\ufeff" + "\n".join(json.dumps(e) for e in events(4)),
    "array": json.dumps(events(4)),
    "pretty array": json.dumps(events(4), indent=2),
    "array a line each": "[\n" + ",\n".join(json.dumps(e) for e in events(4)) + "\n]",
    "pretty objects": "\n".join(json.dumps(e, indent=4) for e in events(4)),
    "one line": "".join(json.dumps(e) for e in events(4)),
    "records": json.dumps({"Records": events(4)}),
    "pretty value": json.dumps({"@odata.context": "x", "value": events(4), "more": 1}, indent=1),
    "hec": "\n".join(json.dumps({"time": 1, "event": e}) for e in events(4)),
    "record separators": "\x1e" + "\n\x1e".join(json.dumps(e) for e in events(4)) + "\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_rows(tmp_path: Path, text: str) -> None:
    got = decode_bytes(tmp_path, text.encode())
    assert [r["EventID"] for r in got.rows("windows.event")] == [0, 1, 2, 3]
    assert not got.dead
    assert got.report.error is None
    assert got.report.format == "json"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
def test_utf_16_with_a_mark(tmp_path: Path, encoding: str) -> None:
    text = FORMS["crlf"]
    data = text.encode(encoding) if encoding == "utf-16" else ("\ufeff" + text).encode(encoding)
    assert len(decode_bytes(tmp_path, data).rows("windows.event")) == 4


def test_one_bad_line_is_one_dead_letter_with_its_place(tmp_path: Path) -> None:
    got = decode_bytes(
        tmp_path, b'{"EventID":1,"Channel":"c"}\n{"EventID":2,"Chan\n{"EventID":3,"Channel":"c"}\n[]\n7\n'
    )
    assert [r["EventID"] for r in got.rows("windows.event")] == [1, 3]
    assert [(d.code, d.place.line) for d in got.dead] == [
        (codes.JSON_SYNTAX, 2),
        (codes.JSON_NOT_OBJECT, 4),
        (codes.JSON_NOT_OBJECT, 5),
    ]
    assert got.dead[0].raw == b'{"EventID":2,"Chan'
    assert str(tmp_path) in str(got.dead[0])
    assert got.report.dead == 3
    assert got.report.unreadable


def test_a_line_of_200_mb_is_one_dead_letter_in_bounded_memory(tmp_path: Path) -> None:
    import tracemalloc

    file = tmp_path / "long.json"
    with file.open("wb") as out:
        out.write(b'{"EventID":1,"Channel":"c"}\n{"EventID":2,"Channel":"')
        for _ in range(200):
            out.write(b"x" * (1 << 20))
        out.write(b'"}\n{"EventID":3,"Channel":"c"}\n')
    from tests.ingest.support import decode

    tracemalloc.start()
    got = decode(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [r["EventID"] for r in got.rows("windows.event")] == [1, 3]
    (dead,) = got.dead
    assert (dead.code, dead.place.line, dead.size) == (codes.TOO_LONG, 2, (200 << 20) + 26)
    assert len(dead.raw) == DecodeLimits().dead_letter_bytes
    assert "max_record_bytes" in dead.reason
    assert peak < 80 << 20


@pytest.mark.parametrize("opening", [b"[", b"", b'{"value": ['])
def test_an_endless_object_in_a_document_is_bounded(tmp_path: Path, opening: bytes) -> None:
    data = (
        opening + b'{\n"EventID": 1,\n"Channel": "c"\n},\n{\n"x": "' + b"y" * 300_000 + b'",\n"z": ' + b"[1," * 200_000
    )
    data += b'\n\n{"EventID": 2, "Channel": "c"}\n'
    got = decode_bytes(tmp_path, data, max_record_bytes=100_000)
    assert got.dead
    assert got.dead[0].code == codes.TOO_LONG
    assert got.rows("windows.event")[0]["EventID"] == 1


def test_invalid_utf_8_is_replaced_and_noted(tmp_path: Path) -> None:
    got = decode_bytes(tmp_path, b'{"EventID":1,"Channel":"c","x":"a\xff\xfeb"}\n{"EventID":2,"Channel":"c"}\n')
    assert got.batches[0].event_data()[0] == {"x": "a\ufffd\ufffdb"}
    assert got.report.notes == (
        "invalid UTF-8 was replaced (line 1)",
        "an event has no time that can be read (2 times, first at event 1)",
    )
    assert not got.dead


def test_lone_surrogates_nan_and_control_characters(tmp_path: Path) -> None:
    got = decode_bytes(
        tmp_path,
        b'{"EventID":1,"Channel":"c","x":"a\\ud800b"}\n{"EventID":2,"Channel":"c","x":NaN,"y":"\x01"}\n'
        b'{"EventID":3,"Channel":"c","x":123456789012345678901234567890}\n',
    )
    data = got.batches[0].event_data()
    assert data[0]["x"] == "a\ufffdb"
    assert data[1] == {"y": "\x01"}
    assert data[2]["x"].startswith("1.2345678901234568e") or data[2]["x"] == "123456789012345678901234567890"
    assert not got.dead


def test_of_equal_keys_the_last_counts(tmp_path: Path) -> None:
    got = decode_bytes(tmp_path, b'{"EventID":1,"EventID":2,"Channel":"c"}\n')
    assert got.rows("windows.event")[0]["EventID"] == 2


def test_wrong_types_become_text_or_null(tmp_path: Path) -> None:
    line = {"EventID": "4688", "Channel": ["a"], "Hostname": {"n": 1}, "Message": 7, "Level": "x", "Task": 3.0, "TimeCreated": True,
            "Deep": {"a": [1, None]}, "Flag": False, "Keywords": -1, "ProviderGuid": 5}  # fmt: skip
    got = decode_bytes(tmp_path, json.dumps(line).encode() + b"\n")
    (row,) = got.rows("windows.event")
    assert (row["EventID"], row["Channel"], row["Computer"], row["Message"], row["Level"], row["Task"], row["TimeCreated"]) == (
        4688, '["a"]', '{"n":1}', "7", None, 3, None,
    )  # fmt: skip
    assert row["Keywords"] == "0xffffffffffffffff"
    assert json.loads(row["EventData"]) == {"Deep": '{"a":[1,null]}', "Flag": "false"}


def test_deep_nesting_does_not_end_the_scan(tmp_path: Path) -> None:
    got = decode_bytes(
        tmp_path,
        b'{"EventID":1,"Channel":"c"}\n{"a":' + b"[" * 100_000 + b"]" * 100_000 + b'}\n{"EventID":3,"Channel":"c"}\n',
    )
    assert len(got.rows("windows.event")) == 2
    assert len(got.dead) == 1


def test_years_1601_and_9999(tmp_path: Path) -> None:
    times = [
        "1601-01-01T00:00:00.0000000Z",
        "9999-12-31T23:59:59.9999999Z",
        "0001-01-01T00:00:00Z",
        "2024-02-30T00:00:00Z",
    ]
    data = b"".join(b'{"EventID":1,"Channel":"c","TimeCreated":"%b"}\n' % t.encode() for t in times)
    got = [r["TimeCreated"] for r in decode_bytes(tmp_path, data).rows("windows.event")]
    assert [t.isoformat() if t else None for t in got] == [
        "1601-01-01T00:00:00",
        "9999-12-31T23:59:59.999999",
        "0001-01-01T00:00:00",
        None,
    ]


def test_unknown_objects_are_kept_whole(tmp_path: Path) -> None:
    got = decode_bytes(tmp_path, b'{"alpha":1,"time":"2024-01-02T03:04:05Z","host":"h"}\n')
    (row,) = got.rows("json")
    assert json.loads(row["RawData"]) == {"alpha": 1, "time": "2024-01-02T03:04:05Z", "host": "h"}
    assert row["Computer"] == "h"
    assert row["TimeCreated"].isoformat() == "2024-01-02T03:04:05"


def test_damage_in_a_stream_comes_after_its_rows(tmp_path: Path) -> None:
    data = gzipped(FORMS["lines"].encode() + b"\n") + b"\x1f\x8bgarbage"
    got = decode_bytes(tmp_path, data)
    assert len(got.rows("windows.event")) == 4
    assert got.report.error is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=6), JSON, max_size=4), max_size=6),
    st.sampled_from([None, 1, 3]),
    st.integers(1, 50),
)
def test_the_splitter_finds_each_object_however_the_stream_is_cut(
    objects: list[object], indent: int | None, size: int
) -> None:
    for text in (json.dumps(objects, indent=indent), "\n".join(json.dumps(o, indent=indent) for o in objects)):
        data = text.encode()
        splitter = JsonSplitter(1 << 20)
        if data[:1] != b"[":
            splitter.begin()
        got = [
            json.loads(piece) for i in range(0, len(data), size) for _, piece, _ in splitter.feed(data[i : i + size])
        ]
        assert got == objects
        assert splitter.rest()[1] == b""


@given(st.binary(max_size=300), st.integers(1, 40))
def test_the_splitter_loses_nothing(data: bytes, size: int) -> None:
    splitter = JsonSplitter(1 << 20)
    splitter.begin()
    pieces = [piece for i in range(0, len(data), size) for _, piece, _ in splitter.feed(data[i : i + size])]
    got = b"".join(pieces) + splitter.rest()[1]
    drop = bytes(set(b' \t\r\n,]\x1e\xef\xbb\xbf"[{}'))
    assert got.translate(None, drop) == data.translate(None, drop)
    assert sorted(split_json(data)) is not None


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_no_bytes_break_the_json_decoder(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("j")
    got = decode_bytes(folder, b'{"EventID":1,"Channel":"c"}\n' + data + b'\n{"EventID":2,"Channel":"c"}\n')
    assert got.report.error is None
    numbers = [r["EventID"] for r in got.rows("windows.event")]
    assert numbers[0] == 1
    assert numbers[-1] == 2


@given(JSON)
def test_tolerant_loading_agrees_with_strict_loading(value: object) -> None:
    got, note = load_tolerant(json.dumps(value).encode())
    if value is not None and "\\ud" not in json.dumps(value).lower():
        assert got == json.loads(json.dumps(value)) or isinstance(value, int | float | list | dict)
    assert isinstance(note, str)


_SPACE = st.sampled_from(["", " ", "\t", "\n", "  "])
_TEXT = st.text(st.sampled_from('ab"\\: é'), max_size=3)


@st.composite
def _spelled(draw: st.DrawFn, depth: int = 0) -> tuple[str, bool]:
    """An object's text with free white space, and whether any object in it names a key twice."""
    parts, names, twice = [], [], False
    for _ in range(draw(st.integers(0, 3))):
        name = draw(_TEXT)
        twice |= name in names
        names.append(name)
        if depth < 2 and draw(st.booleans()):
            inner, inner_twice = draw(_spelled(depth + 1))
            twice |= inner_twice
        else:
            inner = json.dumps(draw(_TEXT))
        parts.append(f"{draw(_SPACE)}{json.dumps(name)}{draw(_SPACE)}:{draw(_SPACE)}{inner}{draw(_SPACE)}")
    return "{" + ",".join(parts) + "}", twice


@given(_spelled())
def test_a_key_named_twice_is_seen_however_it_is_spaced(case: tuple[str, bool]) -> None:
    text, twice = case
    assert (key_twice(text.encode(), json.loads(text)) is not None) == twice


def test_what_follows_an_envelope_and_is_none_of_it_is_told(tmp_path: Path) -> None:
    for tail in (b"d", b', "next": {"a', b', "more": "' + b"x" * 5000):
        data = b'{"Records": [{"EventID":1,"Channel":"c"}]' + tail
        got = decode_bytes(tmp_path, data, max_record_bytes=4096)
        assert len(got.rows("windows.event")) == 1
        assert [d.raw[:20] for d in got.dead] == [tail[:20]]
    got = decode_bytes(tmp_path, b'{"Records": [{"EventID":1,"Channel":"c"}], "more": 1}')
    assert not got.dead
