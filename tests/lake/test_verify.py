"""Whether a lake is what was written: every changed byte is found, named, and can be set aside."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from tests.lake.test_lake import START, batch, body, open_lake, read
from tocsin.base.errors import LakeError
from tocsin.lake import Body
from tocsin.lake.checksum import digest_of, digest_said
from tocsin.lake.verify import verify


def test_a_whole_lake(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        lake.put(lake.log.append([body(1)]).result(60), [batch(1)])
        lake.roll()
        lake.put(lake.log.append([body(2)]).result(60), [batch(2), batch(2, table="Other_CL")])
        verdict = verify(tmp_path)
        assert verdict.whole
        assert [(t.table, t.files, t.rows, t.unnamed) for t in verdict.tables] == [("Things", 1, 1, 0)]
    assert {t.table: t.rows for t in verify(tmp_path).tables} == {"Things": 2, "Other_CL": 1}


def test_no_changed_byte_goes_unnoticed(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        lake.write([batch(1, 50)])
        lake.flush()
    (path,) = (tmp_path / "tables" / "Things").glob("*.parquet")
    assert digest_said(path) == digest_of(path)
    whole = path.read_bytes()
    chance = random.Random(1)
    for _ in range(40):
        at = chance.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :])
        (problem,) = verify(tmp_path).problems()
        assert problem.code == "LAK0005"
        assert str(path) in str(problem)
    path.write_bytes(whole)
    assert verify(tmp_path).whole


def test_a_damaged_file_is_set_aside_and_the_rest_works_for_everyone(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        for number in (1, 2, 3):
            lake.write([batch(number)])
            lake.flush()
        missing, damaged = (Path(f.path) for f in lake.snapshot().tables["Things"].files[:2])
    missing.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-9] + b"garbage!!")
    (table,) = verify(tmp_path).tables
    assert len(table.damaged) == 2
    with open_lake(tmp_path) as lake:
        moved = lake.set_aside("Things", [f for f, _ in table.damaged])
        assert moved == [tmp_path / "damaged" / "Things" / damaged.name]
        assert read(lake) == [3]
    assert verify(tmp_path).whole
    assert pa.table(DeltaTable(str(tmp_path / "tables" / "Things")).to_pyarrow_table()).column(
        "Number"
    ).to_pylist() == [3]


def test_files_of_other_programs_are_read_through(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        lake.write([batch(1)])
        lake.flush()
    (path,) = (tmp_path / "tables" / "Things").glob("*.parquet")
    rows = pq.read_table(path, partitioning=None)
    write_deltalake(str(tmp_path / "tables" / "Things"), rows, mode="append", schema_mode="merge")
    (table,) = verify(tmp_path).tables
    assert (table.files, table.unnamed, table.damaged) == (2, 1, [])


def test_the_log_is_checked_too_and_its_torn_end_is_no_damage(tmp_path: Path) -> None:
    lake = open_lake(tmp_path, log_segment_bytes=4096)
    for number in range(8):
        lake.log.append([body(number), Body("x", os.urandom(2000), START)]).result(60)
    assert verify(tmp_path).whole
    first, *_, last = sorted((tmp_path / "log").glob("*.log"))
    with last.open("ab") as stream:
        stream.write(b"torn")
    assert verify(tmp_path).whole
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    problems = list(verify(tmp_path).problems())
    assert [p.code for p in problems] == ["LAK0015"]
    assert str(first) in str(problems[0])
    lake.close()


def test_a_folder_without_a_lake(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="LAK0019"):
        verify(tmp_path)
