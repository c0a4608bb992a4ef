"""The language service over HTTP: places in the client's units, ranges both ways, bounds, rights."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.conftest import Served
from tocsin.api.positions import Positions


@pytest.fixture
def reader(clients: dict[str, httpx.Client]) -> httpx.Client:
    return clients["Reader"]


HUNTING = Path("/work/shared/corpus/kql-hunting.jsonl")


def ask(client: httpx.Client, what: str, query: str, status: int = 200, **more: object) -> dict:
    answer = client.post(f"/api/v1/kql/{what}", json={"query": query, **more})
    assert answer.status_code == status, answer.text
    return answer.json()


TEXTS = st.text(alphabet="ab\n𝔘😀é|", max_size=30)


@given(TEXTS, st.integers(0, 40))
def test_offsets_are_those_of_utf16(text: str, offset: int) -> None:
    offset = min(offset, len(text))
    positions = Positions(text)
    units = len(text[:offset].encode("utf-16-le")) // 2
    assert positions.units(offset) == units
    assert positions.offset(units) == offset
    line, column = positions.place(offset)
    assert line == text.count("\n", 0, offset) + 1
    assert column == len(text[:offset].rsplit("\n", maxsplit=1)[-1].encode("utf-16-le")) // 2 + 1
    assert positions.at(line, column) == offset
    assert Positions(text, "codepoints").units(offset) == offset


@given(TEXTS, st.integers(0, 100), st.integers(1, 50), st.integers(1, 50))
def test_places_outside_of_a_text_are_at_an_end(text: str, offset: int, line: int, column: int) -> None:
    positions = Positions(text)
    assert 0 <= positions.offset(offset) <= len(text)
    at = positions.at(line, column)
    assert 0 <= at <= len(text)
    assert "\n" not in text[at - 1 : at] or positions.place(at)[1] == 1


def test_completion_counts_as_the_client_does(reader: httpx.Client) -> None:
    query = "SecurityEvent | where Account == '😀😀' | project Compu"
    for place in (
        {"offset": len(query) + 2},
        {"line": 1, "column": len(query) + 3},
        {"offset": len(query), "units": "codepoints"},
        {"line": 1, "column": len(query) + 1, "units": "codepoints"},
    ):
        found = ask(reader, "completion", query, **place)
        assert found["items"][0]["label"] == "Computer"
        assert found["items"][0]["kind"] == "column"
        more = 0 if "units" in place else 2
        assert (found["range"]["start"], found["range"]["end"]) == (len(query) - 5 + more, len(query) + more)


def test_white_space_at_the_ends_counts(reader: httpx.Client) -> None:
    query = "\n\n  SecurityEvent\n| "
    found = ask(reader, "completion", query, line=4, column=3)
    assert "where" in {item["label"] for item in found["items"]}
    (fault,) = ask(reader, "diagnostics", "\n\n SecurityEvent | tke 5")["diagnostics"]
    assert (fault["line"], fault["column"], fault["end_line"], fault["end_column"]) == (3, 18, 3, 21)
    assert fault["fix"] == {
        "range": {k: fault[k] for k in ("start", "end", "line", "column", "end_line", "end_column")},
        "text": "take",
    }


def test_an_error_of_a_run_counts_utf16_too(reader: httpx.Client) -> None:
    answer = reader.post("/api/v1/query", json={"query": "print '😀', nope"})
    (fault,) = answer.json()["diagnostics"]
    assert (fault["column"], fault["end_column"]) == (13, 17)


def test_completion_says_when_there_is_more(reader: httpx.Client) -> None:
    few = ask(reader, "completion", "SecurityEvent | where ", offset=22, limit=5)
    assert (len(few["items"]), few["incomplete"]) == (5, True)
    exact = ask(reader, "completion", "SecurityEvent | sort by EventID nulls ", offset=38)
    assert ([i["label"] for i in exact["items"]], exact["incomplete"]) == (["first", "last"], False)


def test_hover_signature_format(reader: httpx.Client) -> None:
    hover = ask(reader, "hover", "SecurityEvent | where EventID == 1", offset=24)["hover"]
    assert "**EventID** column, int" in hover["text"]
    assert (hover["range"]["column"], hover["range"]["end_column"]) == (23, 30)
    assert ask(reader, "hover", "print 1", offset=7)["hover"] is None
    signature = ask(reader, "signature", "print substring('a', ", offset=21)["signature"]
    assert signature["label"].startswith("substring(")
    assert signature["active"] == 1
    assert ask(reader, "signature", "print 1", offset=3)["signature"] is None
    assert ask(reader, "format", "SecurityEvent|take 5") == {"text": "SecurityEvent\n| take 5\n", "changed": True}
    refused = ask(reader, "format", "SecurityEvent | tke 5", status=400)
    assert refused["diagnostics"][0]["code"] == "KQL0011"


def test_symbols_definition_rename(reader: httpx.Client) -> None:
    query = "let n = 5;\nSecurityEvent\n| where EventID == n"
    found = ask(reader, "symbols", query)
    assert [(s["name"], s["kind"], s["name_range"]["column"]) for s in found["symbols"]] == [("n", "value", 5)]
    assert found["folds"] == [{"first": 2, "last": 3, "kind": "region"}]
    where = ask(reader, "definition", query, offset=len(query))
    assert where["definition"]["name_range"]["line"] == 1
    assert len(where["references"]) == 2
    edits = ask(reader, "rename", query, offset=4, name="wanted")["edits"]
    assert [(e["range"]["start"], e["text"]) for e in edits] == [(4, "wanted"), (len(query) - 1, "wanted")]
    assert ask(reader, "rename", query, status=400, offset=4, name="a b")["code"] == "KQL0010"


@pytest.mark.parametrize(
    "body",
    [
        {"query": "print 1"},
        {"query": "print 1", "offset": 1, "line": 1, "column": 1},
        {"query": "print 1", "line": 1},
        {"query": "print 1", "offset": -1},
        {"query": "print 1", "offset": 1, "units": "bytes"},
        {"query": "x" * 100_001, "offset": 1},
    ],
)
def test_malformed_places_are_refused(reader: httpx.Client, body: dict) -> None:
    answer = reader.post("/api/v1/kql/hover", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "API0001"


def test_tables_that_one_may_not_read_are_findings(served: Served) -> None:
    from tocsin.api.language import findings

    principal = SimpleNamespace(name="eve", table_scopes=frozenset({"DeviceInfo"}))
    query = "DeviceInfo | join kind=inner SecurityEvent on TenantId"
    (found,) = findings(served.workspace, query, "utf16", principal)  # type: ignore[arg-type]
    assert (found["code"], found["column"]) == ("ACC0002", 30)
    assert findings(served.workspace, "DeviceInfo | take 1", "utf16", principal) == []  # type: ignore[arg-type]


def test_answers_are_quick_for_the_longest_texts(reader: httpx.Client) -> None:
    """CPU time of this process, server included, so that a busy machine doesn't decide."""
    if not HUNTING.exists():
        pytest.skip(f"{HUNTING} is not here")
    texts = sorted((json.loads(line)["query"] for line in HUNTING.read_text("utf-8").splitlines()), key=len)[-12:]
    chance = random.Random(2)
    times = []
    for text in texts:
        offset = chance.randrange(len(text))
        for what in ("completion", "hover", "signature"):
            ask(reader, what, text[:offset], offset=offset)
            began = time.process_time()
            ask(reader, what, text[:offset], offset=offset)
            times.append(time.process_time() - began)
    times.sort()
    assert times[len(times) // 2] < 0.030
