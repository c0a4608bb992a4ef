"""Columns that every table has: what identifies a row stays with it for life; the others are filled where the source said nothing."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tocsin.base.clock import ManualClock
from tocsin.lake import Body, Lake, LakeSettings, TableBatch
from tocsin.lake.backup import frozen
from tocsin.query import QueryService

START = datetime(2024, 5, 1, tzinfo=UTC)
SETTINGS = LakeSettings(background=False, compact_files=0, term_filter_rows=1, row_group_rows=1000)
WORKSPACE = "0f5c1a3e-7d5b-4a44-9f2c-0d3a6c1e9b77"


def decode(group: Sequence[tuple[int, Body]]) -> list[TableBatch]:
    """As real decoders do: rows of one kind before those of the other, so the order depends on what was decoded together."""
    numbers = [json.loads(b.data)["n"] for _, b in group]
    return [_batch([f"{kind}{n}" for n in numbers]) for kind in ("event ", "audit ")]


def _batch(names: list[str], **more: pa.Array) -> TableBatch:
    times = pa.array([START + timedelta(minutes=len(n)) for n in names], pa.timestamp("us"))
    received = pa.array([START + timedelta(hours=1)] * len(names), pa.timestamp("us"))
    columns = {"SyslogMessage": names, "TimeGenerated": times, "_TimeReceived": received, **more}
    return TableBatch("Syslog", pa.table(columns))


def _append(lake: Lake, *numbers: int) -> list[tuple[int, Body]]:
    bodies = [Body("jsonl", json.dumps({"n": n}).encode(), START) for n in numbers]
    last = lake.log.append(bodies).result()
    return list(zip(range(last - len(bodies) + 1, last + 1), bodies, strict=True))


def _open(path: Path) -> Lake:
    lake = Lake.open(path, clock=ManualClock(START), settings=SETTINGS)
    lake.workspace = WORKSPACE
    return lake


def _rows(lake: Lake, text: str) -> list[dict[str, Any]]:
    service = QueryService(lake, clock=ManualClock(START))
    try:
        result = service.run(text)
        return [dict(zip((c.name for c in result.columns), row, strict=True)) for row in result.rows()]
    finally:
        service.close()


def _ids(lake: Lake) -> dict[str, str]:
    rows = _rows(lake, "Syslog | project SyslogMessage, _ItemId")
    found = {r["SyslogMessage"]: r["_ItemId"] for r in rows}
    assert len(found) == len(set(found.values())) == len(rows)
    return found


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with _open(tmp_path / "lake") as opened:
        yield opened


def test_an_identifier_stays_with_its_row(lake: Lake, tmp_path: Path) -> None:
    known: dict[str, str] = {}
    for first in range(0, 40, 8):
        one, two, three = _append(lake, first, first + 1, first + 2), _append(lake, first + 3), _append(lake, first + 4)
        lake.put(two[-1][0], decode([*one, *two]))  # what came close together is put together
        lake.put(three[-1][0], decode(three))
        before = _ids(lake)
        assert known.items() <= before.items()
        if first % 16 == 0:
            lake.roll()
            assert _ids(lake) == before
        known = before
    assert len(known) == 50
    assert {str(uuid.UUID(i)) for i in known.values()} == set(known.values())
    lake.write([_batch(["bulk 1", "bulk 2"])])
    lake.flush()
    known = _ids(lake)
    assert lake.compact("Syslog")
    assert _ids(lake) == known

    # A crash now: the last put's rows are in the log only.
    more = [*_append(lake, 100, 101), *_append(lake, 102)]
    lake.put(more[-1][0], decode(more))
    tail = _append(lake, 103, 104)  # durable, never put
    known = _ids(lake)
    with frozen(lake.path) as folder:
        shutil.copytree(folder, tmp_path / "backup")
    shutil.copytree(lake.path, tmp_path / "crashed", ignore=shutil.ignore_patterns("LOCK", "backup-*"))
    for copy in ("crashed", "backup"):
        with _open(tmp_path / copy) as again:
            assert again.recover(decode) == len(more) + len(tail)
            found = _ids(again)
            assert known.items() <= found.items()
            assert len(found) == len(known) + 4
            again.put((new := _append(again, 200))[-1][0], decode(new))
            assert len(_ids(again)) == len(known) + 6
        with _open(tmp_path / copy) as closed:
            assert known.items() <= _ids(closed).items()


def test_a_damaged_file_of_puts_costs_no_row(lake: Lake, tmp_path: Path) -> None:
    records = [*_append(lake, 1), *_append(lake, 2)]
    for number, body in records:
        lake.put(number, decode([(number, body)]))
    shutil.copytree(lake.path, tmp_path / "crashed", ignore=shutil.ignore_patterns("LOCK"))
    (tmp_path / "crashed" / "puts").write_bytes(os.urandom(37))
    with _open(tmp_path / "crashed") as again:
        assert again.recover(decode) == 2
        assert set(_ids(again)) == set(_ids(lake))


def test_one_row_is_found_by_its_identifier(lake: Lake) -> None:
    records = _append(lake, *range(20))
    lake.put(records[-1][0], decode(records))
    lake.roll()
    lake.index()
    wanted = _ids(lake)["event 7"]
    assert _rows(lake, f"Syslog | where _ItemId == '{wanted}' | project SyslogMessage") == [
        {"SyslogMessage": "event 7"}
    ]
    assert _rows(lake, f"Syslog | where _ItemId has '{wanted[:8]}' | count") == [{"Count": 40}]


@pytest.mark.parametrize("rolled", [False, True])
def test_what_the_source_left_empty_is_filled(lake: Lake, rolled: bool) -> None:
    given = _batch(
        ["a", "bb"],
        TenantId=pa.array([None, "theirs"]),
        SourceSystem=pa.array(["syslog", None]),
        _ItemId=pa.array(["forged", "forged"]),
        _BilledSize=pa.array([1.0, 1e12]),
    )
    lake.write([given])
    if rolled:
        lake.flush()
        lake.index()
    # Hidden: `*` doesn't mean them, but they can be named.
    shown = _rows(lake, "Syslog | take 1")[0]
    assert not [c for c in shown if c.startswith("_")]
    first, second = _rows(
        lake,
        "Syslog | sort by SyslogMessage asc | project TenantId, Type, _WorkspaceId, _SourceSystem, _BilledSize, _IsBillable, "
        "same=_IngestionTime == ingestion_time() and _TimeReceived == ingestion_time(), _ItemId",
    )
    assert first["TenantId"] == first["_WorkspaceId"] == WORKSPACE
    assert second["TenantId"] == "theirs"
    assert second["_WorkspaceId"] == WORKSPACE
    assert (first["Type"], first["_IsBillable"], first["same"]) == ("Syslog", "True", True)
    assert (first["_SourceSystem"], second["_SourceSystem"]) == ("syslog", "")
    # TimeGenerated takes 8 bytes; then the texts.
    assert (first["_BilledSize"], second["_BilledSize"]) == (8 + 1 + 6, 8 + 2 + 6)
    assert first["_ItemId"] != second["_ItemId"] != "forged"
    # A filter of terms knows nothing of what no file holds.
    for text in (f"TenantId == '{WORKSPACE}'", "Type has 'syslog'", f"_WorkspaceId has '{WORKSPACE[:8]}'"):
        assert _rows(lake, f"Syslog | where {text} | count")[0]["Count"] == (1 if "Tenant" in text else 2)
