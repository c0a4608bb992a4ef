"""The lake: visibility, rolls, restarts, the bulk path, damage, housekeeping."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from tocsin.base.clock import ManualClock
from tocsin.base.errors import LakeError
from tocsin.kql.types import Column, KqlType, MappingCatalog, TableSchema
from tocsin.lake import Body, Lake, LakeSettings, TableBatch
from tocsin.lake.engine import Engine
from tocsin.tables import STANDARD_COLUMNS

START = datetime(2024, 5, 1, tzinfo=UTC)
SCHEMA = TableSchema(
    "Things",
    (Column("Number", KqlType.LONG), Column("Name", KqlType.STRING), Column("Bag", KqlType.DYNAMIC), *STANDARD_COLUMNS),
)
CATALOG = MappingCatalog({"Things": SCHEMA})
MANUAL = LakeSettings(background=False, compact_files=0)


@dataclass(frozen=True)
class Col:
    name: str
    type: KqlType
    ticks: bool = False


@dataclass(frozen=True)
class Compiled:
    sql: str
    columns: tuple[Col, ...]
    tables: frozenset[str]
    parameters: dict[str, Any] = field(default_factory=dict)


def batch(first: int, count: int = 1, table: str = "Things", **extra: pa.Array) -> TableBatch:
    times = pa.array([START + timedelta(minutes=i) for i in range(first, first + count)], pa.timestamp("us", "UTC"))
    return TableBatch(
        table,
        pa.table(
            {"Number": list(range(first, first + count)), "TimeGenerated": times, "_TimeReceived": times, **extra}
        ),
    )


def body(number: int) -> Body:
    return Body("jsonl", json.dumps({"n": number}).encode(), START)


def decode(group: Sequence[tuple[int, Body]]) -> list[TableBatch]:
    return [batch(json.loads(b.data)["n"]) for _, b in group]


def open_lake(path: Path, **settings: Any) -> Lake:
    return Lake.open(path, clock=ManualClock(START), settings=MANUAL.model_copy(update=settings), catalog=CATALOG)


def read(lake: Lake, table: str = "Things", column: str = "Number") -> list[Any]:
    engine = Engine(folders=[lake.path], catalog=CATALOG)
    query = Compiled(
        f'SELECT "{column}" AS c1 FROM "{table}" ORDER BY 1', (Col(column, KqlType.LONG),), frozenset({table})
    )
    try:
        result = engine.run(query, snapshot=lake.snapshot())
        assert result.problems == ()
        return [row[0] for row in result.rows()]
    finally:
        engine.close()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with open_lake(tmp_path / "lake") as found:
        yield found


def test_rows_are_visible_at_once_and_after_a_roll(lake: Lake) -> None:
    for number in range(1, 6):
        seq = lake.log.append([body(number)]).result(60)
        lake.put(seq, [batch(number)])
    assert read(lake) == [1, 2, 3, 4, 5]
    lake.roll()
    assert read(lake) == [1, 2, 3, 4, 5]
    assert lake.log.size == 0
    lake.put(lake.log.append([body(6)]).result(60), [batch(6)])
    assert read(lake) == [1, 2, 3, 4, 5, 6]
    (stats,) = lake.stats()
    assert (stats.table, stats.rows) == ("Things", 6)
    assert stats.first_event == datetime(2024, 5, 1, 0, 1)  # noqa: DTZ001
    assert stats.last_event == stats.last_received == datetime(2024, 5, 1, 0, 6)  # noqa: DTZ001


def test_snapshot_stays_as_it_was(lake: Lake) -> None:
    lake.put(1, [batch(1)])
    before = lake.snapshot()
    lake.put(2, [batch(2)])
    lake.roll()
    table = before.table("Things")
    assert table is not None
    hot = table.hot()
    assert hot is not None
    assert hot.column("Number").to_pylist() == [1]
    assert table.files == ()


def test_same_sequence_number_twice_is_put_once(lake: Lake) -> None:
    lake.put(1, [batch(1)])
    lake.put(1, [batch(1)])
    lake.roll()
    lake.put(1, [batch(1)])
    assert read(lake) == [1]


def test_restart_replays_what_was_not_rolled(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    for number in range(1, 4):
        lake.put(lake.log.append([body(number)]).result(60), [batch(number)])
    lake.roll()
    for number in range(4, 6):
        lake.put(lake.log.append([body(number)]).result(60), [batch(number)])
    lake.log.append([body(6)]).result(60)  # durable, never put
    lake.log.close()
    assert lake._lock is not None
    lake._lock.release()  # the process is gone
    again = open_lake(tmp_path)
    assert again.needs_recovery
    with pytest.raises(LakeError, match=r"LAK0010"):
        again.put(99, [batch(99)])
    seen: list[tuple[int, int]] = []
    assert again.recover(decode, progress=lambda done, last: seen.append((done, last))) == 3
    assert seen == [(4, 6), (5, 6), (6, 6)]  # together what was put together
    assert read(again) == [1, 2, 3, 4, 5, 6]
    assert again.log.size == 0
    assert again.log.append([body(7)]).result(60) == 7
    again.put(7, [batch(7)])
    again.close()
    with open_lake(tmp_path) as third:
        assert not third.needs_recovery
        assert read(third) == [1, 2, 3, 4, 5, 6, 7]
        assert third.log.append([body(8)]).result(60) == 8


def test_roll_that_dies_between_two_tables_is_completed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Table A has committed, B has not, the checkpoint is old: the replay must give each its rows once."""

    def both(group: Sequence[tuple[int, Body]]) -> list[TableBatch]:
        numbers = [json.loads(b.data)["n"] for _, b in group]
        return [batch(n, table=t) for n in numbers for t in ("A_CL", "B_CL")]

    lake = open_lake(tmp_path)
    for number in range(1, 4):
        lake.put(lake.log.append([body(number)]).result(60), both([(0, body(number))]))

    def die(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    from tocsin.lake.delta import DeltaLog

    real = DeltaLog.commit

    def only_a(self: DeltaLog, *args: Any, **kwargs: Any) -> None:
        if self.folder.name == "B_CL":
            die()
        real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(DeltaLog, "commit", only_a)
        with pytest.raises(KeyboardInterrupt):
            lake.roll()
    for number in range(4, 6):
        lake.put(lake.log.append([body(number)]).result(60), both([(0, body(number))]))
    lake.log.close()
    assert lake._lock is not None
    lake._lock.release()
    groups: list[list[int]] = []

    def noted(group: Sequence[tuple[int, Body]]) -> list[TableBatch]:
        groups.append([n for n, _ in group])
        return both(group)

    (
        tmp_path / "puts"
    ).unlink()  # what was put together isn't known any more: the marks alone say what may be decoded together
    again = open_lake(tmp_path)
    again.recover(noted)
    assert groups == [[1, 2, 3], [4, 5]]
    assert read(again, "A_CL") == [1, 2, 3, 4, 5]
    assert read(again, "B_CL") == [1, 2, 3, 4, 5]
    again.close()


def test_commit_whose_answer_got_lost_counts(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.put(1, [batch(1)])
    lake.roll()
    lake.put(2, [batch(2)])
    real = DeltaTable.create_write_transaction

    def lost(self: DeltaTable, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        raise OSError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(DeltaTable, "create_write_transaction", lost)
        lake.roll()
    lake.put(3, [batch(3)])
    lake.roll()
    assert read(lake) == [1, 2, 3]
    assert lake.problems == []


def test_another_writer_is_noticed(lake: Lake) -> None:
    from deltalake.transaction import CommitProperties, Transaction

    lake.put(1, [batch(1)])
    lake.roll()
    foreign = DeltaTable(str(lake.path / "tables" / "Things"))
    foreign.create_write_transaction(
        [],
        mode="append",
        schema=foreign.schema(),
        commit_properties=CommitProperties(app_transactions=[Transaction("tocsin-roll", 77)]),
    )
    lake.put(2, [batch(2)])
    with pytest.raises(LakeError, match=r"LAK0004"):
        lake.roll()
    assert read(lake) == [1, 2]


def test_failed_roll_keeps_rows_and_log_and_other_tables_go_on(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from tocsin.lake import roll

    lake.put(lake.log.append([body(1)]).result(60), [batch(1), batch(1, table="Other_CL")])
    real = roll.write_rows

    def refuse(folder: Path, *args: Any, **kwargs: Any) -> Any:
        if folder.name == "Things":
            raise LakeError("No space.", code="LAK0016")
        return real(folder, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(roll, "write_rows", refuse)
        with pytest.raises(LakeError, match=r"LAK0016"):
            lake.roll()
    assert lake.log.size > 0
    other = lake.snapshot().table("Other_CL")
    assert other is not None
    assert len(other.files) == 1
    lake.put(lake.log.append([body(2)]).result(60), [batch(2)])
    assert read(lake) == [1, 2]
    lake.roll()
    assert read(lake) == [1, 2]
    assert read(lake, "Other_CL") == [1]
    assert lake.log.size == 0


def test_rows_that_fit_no_table_are_refused_as_a_whole(lake: Lake) -> None:
    wrong = TableBatch("Things", pa.table({"Nmber": [1]}))
    with pytest.raises(LakeError, match=r"LAK0006.*Did you mean 'Number'"):
        lake.put(1, [batch(1), wrong])
    with pytest.raises(LakeError, match=r"LAK0008"):
        lake.put(1, [batch(1, table="../x")])
    with pytest.raises(LakeError, match=r"LAK0007"):
        lake.put(1, [TableBatch("Things", pa.table({"Number": ["x"]}))])
    assert lake.stats() == []
    lake.put(1, [batch(1)])
    assert read(lake) == [1]


def test_text_that_is_not_utf8_never_gets_in(lake: Lake) -> None:
    bad = pa.array([b"\xff\xfe"]).view(pa.string())
    with pytest.raises(LakeError, match=r"LAK0007 Column Name of Things"):
        lake.put(1, [batch(1, Name=bad)])
    with pytest.raises(LakeError, match=r"LAK0007 Column Name of My_CL"):
        lake.write([batch(1, table="My_CL", Name=bad)])
    assert lake.stats() == []


def test_missing_times_are_filled(lake: Lake) -> None:
    lake.put(1, [TableBatch("Things", pa.table({"Number": [1]}))])
    (stats,) = lake.stats()
    assert stats.first_event == stats.last_received == START.replace(tzinfo=None)


def test_type_column_is_the_table_name(lake: Lake) -> None:
    lake.put(1, [batch(1), batch(1, table="My_CL")])
    assert read(lake, column="Type") == ["Things"]
    lake.roll()
    assert read(lake, "My_CL", "Type") == ["My_CL"]


def test_custom_table_grows_and_keeps_its_types(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    bag = pa.field("Bag", pa.string(), metadata={b"tocsin.kql": b"dynamic"})
    lake.put(1, [TableBatch("My_CL", pa.table({"a": ["x"], "A": [1]}))])
    lake.roll()
    lake.put(
        2,
        [
            TableBatch(
                "My_CL",
                pa.table([pa.array(['{"k":1}']), pa.array([True])], schema=pa.schema([bag, pa.field("b", pa.bool_())])),
            )
        ],
    )
    assert read(lake, "My_CL", "A__2") == [1, None]
    lake.roll()
    assert read(lake, "My_CL", "b") == [True, None]
    with pytest.raises(LakeError, match=r"LAK0007 Column a of My_CL"):
        lake.put(3, [TableBatch("My_CL", pa.table({"a": [b"\xff"]}))])
    schema = lake.schema("My_CL")
    lake.close()
    with open_lake(tmp_path) as again:
        assert again.schema("My_CL") is not None
        found = {c.name: c.type for c in again.schema("My_CL") or ()}
        assert found == {c.name: c.type for c in schema or ()}
        assert (found["A"], found["a"], found["Bag"]) == (KqlType.LONG, KqlType.STRING, KqlType.DYNAMIC)


def test_delta_table_is_readable_by_others(lake: Lake) -> None:
    names = pa.array(["x", None, "y"])
    lake.put(1, [batch(1, 3, Name=names)])
    lake.roll()
    table = DeltaTable(str(lake.path / "tables" / "Things"))
    assert [f.name for f in table.schema().fields] == [
        *("Number", "Name", "Bag", "TimeGenerated", "TenantId", "SourceSystem", "Type", "_TimeReceived"),
        *("_ResourceId", "_SubscriptionId", "_AdditionalFields", "_BilledSize", "_ItemNumber"),
    ]
    assert table.transaction_version("tocsin-roll") == 1
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    assert actions[0]["num_records"] == 3
    assert actions[0]["min.TimeGenerated"] == datetime(2024, 5, 1, 0, 1)  # noqa: DTZ001
    assert actions[0]["max._TimeReceived"] == datetime(2024, 5, 1, 0, 3)  # noqa: DTZ001
    (path,) = (lake.path / "tables" / "Things").glob("*.parquet")
    assert pq.read_schema(path).names == [
        *("Number", "Name", "TimeGenerated", "_TimeReceived", "_ItemNumber", "_BilledSize"),
    ]


def test_two_processes_cannot_open_one_lake(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tocsin.lake import Lake; from tocsin.base.errors import LakeError\n"
        "try: Lake.open(Path(sys.argv[1]))\nexcept LakeError as e: print(e)"
    )
    with open_lake(tmp_path):
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("LAK0002")
        assert f"process {os.getpid()}" in done.stdout
        with pytest.raises(LakeError, match=r"LAK0002"):
            open_lake(tmp_path)
    with open_lake(tmp_path):
        pass


def test_read_only_sees_what_was_committed(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match=r"LAK0019"):
        Lake.open(tmp_path, read_only=True)
    with open_lake(tmp_path) as lake:
        lake.put(1, [batch(1)])
        lake.roll()
        lake.put(2, [batch(2)])
        with Lake.open(tmp_path, read_only=True, catalog=CATALOG) as reader:
            assert read(reader) == [1]
            with pytest.raises(LakeError, match=r"LAK0001"):
                reader.write([batch(1)])
            with pytest.raises(LakeError, match=r"LAK0001"):
                _ = reader.log


# ------------------------------------------------------------------------------------------------ bulk path


def test_bulk_rows_are_visible_spill_and_become_durable(tmp_path: Path) -> None:
    lake = open_lake(tmp_path, spill_bytes=20_000)
    for first in range(0, 5000, 500):
        lake.write([batch(first, 500)])
    table = lake.snapshot().table("Things")
    assert table is not None
    assert table.files
    assert all(f.spilled for f in table.files)
    assert read(lake) == list(range(5000))
    lake.flush()
    assert read(lake) == list(range(5000))
    lake.write([batch(5000)])
    lake.close()
    with open_lake(tmp_path) as again:
        assert read(again) == list(range(5000))
        assert not list((tmp_path / "tables" / "Things").glob("*.tmp"))


def test_bulk_memory_is_bounded_over_all_tables(tmp_path: Path) -> None:
    with open_lake(tmp_path, bulk_bytes=50_000) as lake:
        for first in range(0, 4000, 200):
            lake.write([batch(first, 200, table=f"T{first % 3}_CL")])
            assert lake._store.bulk_bytes < 50_000
        assert sum(s.rows for s in lake.stats()) == 4000


def test_bulk_and_log_rows_live_side_by_side(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        lake.write([batch(1)])
        lake.put(1, [batch(2)])
        lake.roll()
        assert read(lake) == [1, 2]
        lake.flush()
        lake.put(2, [batch(3)])
    with open_lake(tmp_path) as again:
        assert read(again) == [1, 2, 3]


# ------------------------------------------------------------------------------------------------ damage


def test_truncated_file_is_named_at_open_and_the_rest_goes_on(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        for number in (1, 2):
            lake.put(number, [batch(number)])
            lake.roll()
    first = min((tmp_path / "tables" / "Things").glob("*.parquet"))
    os.truncate(first, 100)
    with open_lake(tmp_path) as again:
        assert [p.code for p in again.problems] == ["LAK0005"]
        assert str(first) in str(again.problems[0])
        assert read(again) == [2]
        again.put(again.log.append([body(3)]).result(60), [batch(3)])
        again.roll()
        assert read(again) == [2, 3]
        os.utime(first, (0, 0))
        assert again.sweep() == 0
        assert first.exists()


def test_file_damaged_inside_is_left_out_after_the_first_query(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        for number in (1, 2):
            lake.put(number, [batch(number, 500, Name=pa.array([os.urandom(20).hex() for _ in range(500)]))])
            lake.roll()
        first = min((tmp_path / "tables" / "Things").glob("*.parquet"))
        data = bytearray(first.read_bytes())
        data[4:4000] = b"\xff" * 3996
        first.write_bytes(data)
        engine = Engine(folders=[lake.path], catalog=CATALOG)
        query = Compiled(
            'SELECT count("Name") AS c1, sum("Number") AS c2 FROM "Things"',
            (Col("a", KqlType.LONG), Col("b", KqlType.LONG)),
            frozenset({"Things"}),
        )
        result = engine.run(query, snapshot=lake.snapshot())
        assert result.rows()[0][0] == 500
        assert [p.code for p in result.problems] == ["LAK0005"]
        assert str(first) in str(lake.problems[0])
        assert engine.run(query, snapshot=lake.snapshot()).problems == ()
        engine.close()


def test_damaged_delta_log_breaks_one_table_and_loses_nothing(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        lake.put(1, [batch(1), batch(1, table="Other_CL")])
        lake.roll()
    commit = tmp_path / "tables" / "Things" / "_delta_log" / f"{0:020d}.json"
    good = commit.read_bytes()
    commit.write_bytes(b"{broken")

    def both(group: Sequence[tuple[int, Body]]) -> list[TableBatch]:
        return [*decode(group), *(TableBatch("Other_CL", b.rows) for b in decode(group))]

    with open_lake(tmp_path) as lake:
        assert [p.code for p in lake.problems] == ["LAK0003"]
        assert "Things" in str(lake.problems[0])
        with pytest.raises(LakeError, match=r"LAK0003"):
            lake.write([batch(9)])
        seq = lake.log.append([body(2)]).result(60)
        lake.put(seq, both([(seq, body(2))]))
        lake.roll()
        assert read(lake, "Other_CL") == [1, 2]
    commit.write_bytes(good)
    with open_lake(tmp_path) as lake:
        lake.recover(both)
        assert read(lake) == [1, 2]
        assert read(lake, "Other_CL") == [1, 2]
        assert lake.problems == []


def test_damaged_checkpoint_replays_and_doubles_nothing(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        lake.put(lake.log.append([body(1)]).result(60), [batch(1)])
    (tmp_path / "checkpoint.json").write_bytes(b"\x00\x00")
    with open_lake(tmp_path) as lake:
        assert [p.code for p in lake.problems] == ["LAK0017"]
        lake.recover(decode)
        assert lake.log.append([body(2)]).result(60) == 2
        lake.put(2, [batch(2)])
        lake.roll()
        assert read(lake) == [1, 2]


# ------------------------------------------------------------------------------------------------ background, housekeeping


def test_background_rolls_by_age_and_by_size(tmp_path: Path) -> None:
    with open_lake(tmp_path / "age", background=True, roll_seconds=0.05) as lake:
        lake.put(lake.log.append([body(1)]).result(60), [batch(1)])
        _until(lambda: lake.log.size == 0)
        assert read(lake) == [1]
    with open_lake(tmp_path / "size", background=True, roll_bytes=2000, roll_seconds=3600) as lake:
        lake.put(1, [batch(1)])
        time.sleep(0.1)
        assert lake._store.hot_bytes > 0
        lake.put(2, [batch(2, 500)])
        _until(lambda: lake._store.hot_bytes == 0)


def test_put_waits_while_memory_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.lake.lake._PUT_WAIT_SECONDS", 0.2)
    with open_lake(tmp_path, background=True, hot_bytes=2000, roll_bytes=2000) as lake:
        with lake._store.delta_lock:  # the roll can't go on
            lake.put(1, [batch(1, 500)])
            assert lake.pressure >= 1
            with pytest.raises(LakeError, match=r"LAK0012"):
                _in_thread(lambda: lake.put(2, [batch(501)]))
        lake.put(2, [batch(501)])
        assert read(lake) == list(range(1, 502))


def test_many_small_puts_leave_few_chunks(lake: Lake) -> None:
    for number in range(1, 1001):
        lake.put(number, [batch(number)])
    assert len(lake._store.states["Things"].fresh) <= 12
    assert read(lake) == list(range(1, 1001))


def test_merge_keeps_rows_and_marks(tmp_path: Path) -> None:
    with open_lake(tmp_path, compact_files=4, orphan_seconds=0.001) as lake:
        for number in range(1, 20):
            lake.put(lake.log.append([body(number)]).result(60), [batch(number)])
            lake.roll()
        table = lake.snapshot().table("Things")
        assert table is not None
        assert len(table.files) < 8
        assert read(lake) == list(range(1, 20))
        assert lake.sweep() > 10
        assert lake.compact("Things") > 0
        assert read(lake) == list(range(1, 20))
        assert lake.problems == []
    with open_lake(tmp_path) as again:
        assert read(again) == list(range(1, 20))
        assert again.log.append([body(20)]).result(60) == 20


def test_retention(lake: Lake) -> None:
    lake.put(1, [batch(0, 10)])
    lake.roll()
    lake.put(2, [batch(10, 10)])
    lake.roll()
    assert lake.delete_before("Things", START + timedelta(minutes=15)) == 15
    assert read(lake) == [15, 16, 17, 18, 19]
    assert lake.delete_before("Things", START + timedelta(minutes=15)) == 0
    assert lake.delete_before("Nope", START) == 0
    lake.put(3, [batch(1)])
    lake.roll()
    assert read(lake) == [1, 15, 16, 17, 18, 19]


def test_sweep_spares_young_listed_and_retired_files(tmp_path: Path) -> None:
    with open_lake(tmp_path, orphan_seconds=100) as lake:
        lake.put(1, [batch(1)])
        lake.roll()
        folder = tmp_path / "tables" / "Things"
        orphan, young = folder / "orphan.parquet", folder / "young.parquet"
        for path, age in ((orphan, 200), (young, 50)):
            path.write_bytes(b"x")
            at = START.timestamp() - age
            os.utime(path, (at, at))
        for path in folder.glob("0*.parquet"):
            os.utime(path, (0, 0))
        assert lake.sweep() == 1
        assert not orphan.exists()
        assert young.exists()
        assert read(lake) == [1]
        lake.delete_before("Things", START + timedelta(days=1))
        assert lake.sweep() == 0  # a query may still read it


def test_concurrent_puts_reads_and_rolls(tmp_path: Path) -> None:
    engine = Engine(folders=[tmp_path], catalog=CATALOG)
    query = Compiled(
        'SELECT count(*) AS c1, count(DISTINCT "Number") AS c2 FROM "Things"',
        (Col("a", KqlType.LONG), Col("b", KqlType.LONG)),
        frozenset({"Things"}),
    )
    failures: list[str] = []
    with open_lake(tmp_path, background=True, roll_seconds=0.02, compact_files=4) as lake:
        done = threading.Event()

        def watch() -> None:
            least = 0
            while not done.is_set():
                rows, distinct = engine.run(query, snapshot=lake.snapshot()).rows()[0]
                if rows != distinct or rows < least:
                    failures.append(f"{rows} rows, {distinct} distinct, before {least}")
                least = rows

        threads = [threading.Thread(target=watch) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(1, 301):
            lake.put(lake.log.append([body(number)]).result(60), [batch(number)])
        done.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert read(lake) == list(range(1, 301))
        assert lake.problems == []
    engine.close()


def _until(true: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _in_thread(call: Any) -> None:
    caught: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    if caught:
        raise caught[0]
