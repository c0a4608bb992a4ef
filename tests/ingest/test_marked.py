"""CEF, LEEF, W3C extended logs and declared lines: what was written comes out, and nothing raises."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingest.support import decode_bytes
from tocsin.ingest.decoders.declared import declared_line, declared_object
from tocsin.ingest.decoders.marked import find_mark, parse_marked, parse_pairs
from tocsin.ingest.decoders.sniff import sniff
from tocsin.ingest.decoders.syslog import looks_like_syslog

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Cs"]), max_size=30)
FIELD = TEXT.map(str.strip)
KEY = st.text(string.ascii_letters + string.digits + "_.", min_size=1, max_size=12)
VALUE = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]) | st.sampled_from(" \n"),
    max_size=30,
).map(str.strip)


def escaped_bar(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def escaped_value(text: str) -> str:
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n")


@given(st.lists(FIELD, min_size=6, max_size=6), st.dictionaries(KEY, VALUE, max_size=6))
def test_what_is_written_as_cef_is_read_again(fields: list[str], extension: dict[str, str]) -> None:
    for name in ("rt", "start", "end"):
        extension.pop(name, None)
    body = " ".join(f"{k}={escaped_value(v)}" for k, v in extension.items())
    line = f"CEF:0|{'|'.join(map(escaped_bar, fields))}|{body}"
    assert find_mark(f"<13>Nov 26 10:00:00 host {line}") == (25, "cef")
    row = parse_marked(line, "cef")
    assert row is not None
    names = ("vendor", "product", "deviceVersion", "id", "name", "severity")
    assert {n: row["Header"][n] for n in names} == dict(zip(names, fields, strict=True))
    assert json.loads(row["Extension"]) == extension


@given(st.dictionaries(KEY, VALUE.map(lambda v: v.replace("^", "").replace("\n", "")), min_size=1, max_size=6))
def test_what_is_written_as_leef_is_read_again(attributes: dict[str, str]) -> None:
    for name in ("devTime", "devTimeFormat"):
        attributes.pop(name, None)
    row = parse_marked("LEEF:2.0|V|P|1|id|^|" + "^".join(f"{k}={v}" for k, v in attributes.items()), "leef")
    assert row is not None
    assert json.loads(row["Extension"]) == {k: v.strip() for k, v in attributes.items()}


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("request=http://x/?a=b&c=d act=go", [("request", "http://x/?a=b&c=d"), ("act", "go")]),
        ("msg=a b\\=c  d=", [("msg", "a b=c"), ("d", "")]),
        ("filePath=C:\\\\temp\\x.exe", [("filePath", "C:\\temp\\x.exe")]),
        ("junk before src=1", [("src", "1")]),
        ("ad.field[0]=1 ad.field[1]=2", [("ad.field[0]", "1"), ("ad.field[1]", "2")]),
    ],
)
def test_pairs(text: str, pairs: list[tuple[str, str]]) -> None:
    assert parse_pairs(text) == pairs


@pytest.mark.parametrize(
    ("head", "attributes"),
    [
        ("LEEF:1.0|V|P|1|id|", "a=1\tb=2"),
        ("LEEF:1.0|V|P|1|id|", "a=1 b=2"),
        ("LEEF:2.0|V|P|1|id|", "a=1\tb=2"),
        ("LEEF:2.0|V|P|1|id||", "a=1\tb=2"),
        ("LEEF:2.0|V|P|1|id|0x7c|", "a=1|b=2"),
        ("LEEF:2.0|V|P|1|id|x3B|", "a=1;b=2"),
        ("LEEF:2.0|V|P|1|id|=|", "a=1"),
    ],
)
def test_how_leef_says_its_delimiter(head: str, attributes: str) -> None:
    row = parse_marked(head + attributes, "leef")
    assert row is not None
    found = json.loads(row["Extension"])
    assert found["a"] == "1" if "b" in attributes else found == {}


@pytest.mark.parametrize(
    "line", ["CEF:0|only|three|bars", "LEEF:1.0|V|P|1|", "the word CEF: 0 alone", "CEF:0" + "|" * 3]
)
def test_a_header_that_is_not_whole_is_a_syslog_message(line: str, tmp_path: Path) -> None:
    decoded = decode_bytes(tmp_path, f"<13>Nov 26 2026 10:00:00 host {line}\n".encode())
    assert decoded.kinds() == {"syslog": 1}


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_no_bytes_break_the_decoders(tmp_path: Path, data: bytes) -> None:
    for start in (
        b"CEF:0|",
        b"LEEF:2.0|a|b|c|d|",
        b"#Software: x\n#Fields: a b\n",
        b'1.2.3.4 - - [26/Nov/2026:10:00:00 +0000] "',
    ):
        decoded = decode_bytes(tmp_path, start + data)
        assert decoded.report.error is None or decoded.report.error.code != "ING0099"


@given(st.dictionaries(st.sampled_from(["event_type", "timestamp", "flow_id", "category", "properties", "operationName", "time", "protoPayload"]),
                       st.none() | st.integers() | TEXT | st.dictionaries(st.sampled_from(["@type", "log"]), TEXT)))  # fmt: skip
def test_objects_of_odd_types_are_asked_for_their_kind(d: dict[str, object]) -> None:
    found = declared_object(d)
    assert found is None or json.loads(found[1]["RawData"]) == d


@given(
    st.lists(
        st.lists(st.text(string.ascii_letters + "/?=&+%", min_size=1, max_size=10), min_size=3, max_size=3),
        min_size=1,
        max_size=5,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_a_w3c_log_gives_back_its_fields(tmp_path: Path, rows: list[list[str]]) -> None:
    head = "#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n#Fields: date time cs-a cs-b cs-c\r\n"
    text = head + "".join(f"2026-11-26 10:00:0{n} {' '.join(row)}\r\n" for n, row in enumerate(rows))
    decoded = decode_bytes(tmp_path, text.encode())
    got = [json.loads(r["RawData"]) for r in decoded.rows("w3c.iis")]
    assert [[r["cs-a"], r["cs-b"], r["cs-c"]] for r in got] == rows
    assert [r["TimeCreated"].second for r in decoded.rows("w3c.iis")] == list(range(len(rows)))


def test_a_w3c_row_of_another_width_is_a_dead_letter_with_its_line(tmp_path: Path) -> None:
    decoded = decode_bytes(
        tmp_path, b"#Version: 1.0\n#Fields: date time x\n2026-11-26 10:00:00 a\n2026-11-26 10:00:00\n"
    )
    assert decoded.kinds() == {"w3c.other": 1}
    assert decoded.dead[0].place.line == 4


def test_patterns_are_not_slow_on_hostile_lines() -> None:
    for line in (
        '1.1.1.1 - - [26/Nov/2026:10:00:00 +0000] "GET ' + '\\"' * 20_000,
        "a" * 100_000,
        "1 " * 50_000,
        "CEF:0|" + "\\|" * 50_000,
    ):
        declared_line(line)
        looks_like_syslog(line)
        parse_marked(line, "cef")


def test_prose_is_no_declared_text() -> None:
    assert sniff(b"It was a dark night.\nThe log said nothing.\n", complete=True)[0] == "text"
