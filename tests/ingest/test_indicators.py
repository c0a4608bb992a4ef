"""Indicators from STIX 2 and CSV."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.base.errors import IngestError
from tocsin.ingest.indicators import read_indicators

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def stix(pattern: str, **more: Any) -> bytes:
    one = {"type": "indicator", "id": "indicator--1", "pattern": pattern, "pattern_type": "stix", **more}
    return json.dumps(
        {"type": "bundle", "id": "bundle--1", "objects": [one, {"type": "malware", "id": "malware--1"}]}
    ).encode()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[ipv4-addr:value = '203.0.113.7']", [("ipv4-addr:value", "203.0.113.7")]),
        ("[file:hashes.'SHA-256' = 'AB'] OR [file:hashes.MD5 = 'cd']", [("file:hashes.'SHA-256'", "AB"), ("file:hashes.MD5", "cd")]),
        ("[file:hashes.\"SHA-1\" = 'a']", None),
        ("[url:value = 'a' OR url:value = 'b']", [("url:value", "a"), ("url:value", "b")]),
        ("[ipv4-addr:value IN ('203.0.113.1', '203.0.113.2')]", [("ipv4-addr:value", "203.0.113.1"), ("ipv4-addr:value", "203.0.113.2")]),
        (r"[url:value = 'http://x.example/it\'s]']", [("url:value", "http://x.example/it's]")]),
        ("[file:name = 'a' AND file:size = 5]", None),
        ("[ipv4-addr:value = 'a'] FOLLOWEDBY [ipv4-addr:value = 'b']", None),
        ("[domain-name:value LIKE '%.example']", None),
        ("[ipv4-addr:value = 'a'] REPEATS 5 TIMES", None),
        ("", None),
    ],
)  # fmt: skip
def test_patterns(pattern: str, expected: list[tuple[str, str]] | None) -> None:
    found = read_indicators(stix(pattern), "b.json", NOW)
    if expected is None:
        assert found.rows == []
        assert [place for place, _ in found.refused] == ["indicator--1"]
    else:
        assert [(r["ObservableKey"], r["ObservableValue"]) for r in found.rows] == expected


def test_what_a_bundle_says_of_an_indicator() -> None:
    (row,) = read_indicators(
        stix("[url:value = 'https://x.example']", confidence=85, valid_until="2026-02-01T00:00:00Z", labels=["botnet"]),
        "b.json",
        NOW,
    ).rows
    assert (row["Confidence"], row["IsActive"], row["Tags"]) == (85, False, "botnet")
    (row,) = read_indicators(stix("[url:value = 'https://x.example']", revoked=True), "b.json", NOW).rows
    assert (row["IsActive"], row["Revoked"]) == (False, True)


def test_csv_with_and_without_types() -> None:
    text = (
        "Indicator,Type,Confidence,Valid Until\n203.0.113.7,,90,2027-01-01\n2001:db8::7,ip,,\nbad.example,domain,x,\n"
    )
    text += f"{'a' * 64},,,\nhttps://x.example/p,,,\neve@x.example,,,\nnot an indicator,,,\n"
    found = read_indicators(text.encode(), "list.csv", NOW)
    assert [r["ObservableKey"] for r in found.rows] == [
        "ipv4-addr:value",
        "ipv6-addr:value",
        "domain-name:value",
        "file:hashes.'SHA-256'",
        "url:value",
        "email-addr:value",
    ]
    assert found.rows[0]["Confidence"] == 90
    assert found.rows[0]["ValidUntil"] == "2027-01-01T00:00:00Z"
    assert [place for place, _ in found.refused] == ["list.csv:8"]


@pytest.mark.parametrize("data", [b"{", b"[1,", b'{"a": 1}', b"name,age\nann,5\n", b""])
def test_what_is_neither_is_refused(data: bytes) -> None:
    with pytest.raises(IngestError, match=r"ING0070"):
        read_indicators(data, "x", NOW)


@given(st.one_of(st.binary(max_size=200), st.text(alphabet="[]()'\\ =ORIN:a-.,", max_size=60).map(stix)))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(IngestError):
        read_indicators(data, "x", NOW)


def test_a_list_that_never_ends_is_refused_at_once() -> None:
    """Each gap of spaces could be split in as many ways as it has spaces: tried one by one, the reader would never come back."""
    found = read_indicators(stix("[ipv4-addr:value IN (" + "'1.1.1.1'      " * 60 + "]"), "b.json", NOW)
    assert len(found.refused) == 1
