"""The engine over hand-made compiled queries: relations, windows, limits, lock-down, errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tocsin.base.errors import LakeError, QueryError
from tocsin.kql.types import Column, KqlType, MappingCatalog, TableSchema
from tocsin.lake.engine import Engine, Limits, Window
from tocsin.lake.settings import MIB, EngineSettings
from tocsin.lake.snapshot import DataFile, Snapshot, TableSnapshot

T = TableSchema(
    "T",
    (
        Column("TimeGenerated", KqlType.DATETIME),
        Column("Name", KqlType.STRING),
        Column("LogonId", KqlType.STRING),
        Column("LogonID", KqlType.LONG),
        Column("Score", KqlType.REAL),
        Column("Bag", KqlType.DYNAMIC),
        Column("_TimeReceived", KqlType.DATETIME, hidden=True),
    ),
)
CATALOG = MappingCatalog({"T": T})
START = datetime(2024, 5, 1)  # noqa: DTZ001


@dataclass(frozen=True)
class Col:
    name: str
    type: KqlType
    ticks: bool = False


@dataclass(frozen=True)
class Compiled:
    sql: str
    columns: tuple[Col, ...]
    tables: frozenset[str] = frozenset({"T"})
    parameters: Mapping[str, Any] = field(default_factory=dict)


COUNT = Compiled('SELECT count(*) AS c1 FROM "T"', (Col("Count", KqlType.LONG),))


def rows(first: int, count: int, **columns: list[Any]) -> pa.Table:
    times = pa.array([START + timedelta(minutes=first + i) for i in range(count)], pa.timestamp("us"))
    base = {"TimeGenerated": times, "_TimeReceived": times, "Name": pa.array([f"n{first + i}" for i in range(count)])}
    return pa.table({**base, **columns})


def file_of(path: Path, table: pa.Table) -> DataFile:
    pq.write_table(table, path)
    times = table.column("TimeGenerated").to_pylist()
    bounds = (min(times), max(times))
    return DataFile(str(path), table.num_rows, path.stat().st_size, bounds, bounds)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    found = Engine(
        folders=[tmp_path],
        spill=tmp_path / "spill",
        catalog=CATALOG,
        settings=EngineSettings(memory_bytes=128 * MIB, connections=4),
    )
    yield found
    found.close()


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    files = (
        file_of(tmp_path / "a.parquet", rows(0, 10, LogonID__2=pa.array(range(10), pa.int64()))),
        file_of(tmp_path / "b.parquet", rows(10, 10, LogonId=pa.array([str(i) for i in range(10)]))),
    )
    hot = rows(20, 5, Bag=pa.array(['{"b":1,"a":[1.0,null]}'] * 5))
    return Snapshot({"T": TableSnapshot(T, files, 7, lambda: hot)})


def test_files_and_fresh_rows_are_one_relation(engine: Engine, snapshot: Snapshot) -> None:
    result = engine.run(COUNT, snapshot=snapshot)
    assert result.rows() == [[25]]
    assert result.names == ["Count"]
    assert not result.truncated


def test_columns_that_a_part_lacks_are_null_and_names_that_fold_are_apart(engine: Engine, snapshot: Snapshot) -> None:
    query = Compiled(
        'SELECT "Name" AS c1, "LogonId" AS c2, "LogonID__2" AS c3, "Bag" AS c4 FROM "T" WHERE "Name" IN (\'n1\',\'n12\',\'n21\') ORDER BY 1',
        (
            Col("Name", KqlType.STRING),
            Col("LogonId", KqlType.STRING),
            Col("LogonID", KqlType.LONG),
            Col("Bag", KqlType.DYNAMIC),
        ),
    )
    assert engine.run(query, snapshot=snapshot).rows() == [
        ["n1", "", 1, None],
        ["n12", "2", None, None],
        ["n21", "", None, {"b": 1, "a": [1.0, None]}],
    ]


def test_star_gives_every_column_in_catalogue_order(engine: Engine, snapshot: Snapshot) -> None:
    query = Compiled('SELECT * FROM "T"', tuple(Col(c.name, c.type) for c in T.columns))
    table = engine.run(query, snapshot=snapshot).table
    assert table.column_names == ["TimeGenerated", "Name", "LogonId", "LogonID__2", "Score", "Bag", "_TimeReceived"]
    assert table.schema.field(4).type == pa.float64()


def test_a_table_without_rows_is_empty(engine: Engine) -> None:
    assert engine.run(COUNT, snapshot=Snapshot()).rows() == [[0]]
    assert engine.run(COUNT).rows() == [[0]]


@pytest.mark.parametrize("column", ["TimeGenerated", "_TimeReceived"])
def test_window_is_half_open(engine: Engine, snapshot: Snapshot, column: str) -> None:
    at = lambda m: START.replace(tzinfo=UTC) + timedelta(minutes=m)  # noqa: E731
    assert engine.run(COUNT, snapshot=snapshot, window=Window(at(5), at(22), column)).rows() == [[17]]
    assert engine.run(COUNT, snapshot=snapshot, window=Window(None, at(1), column)).rows() == [[1]]
    assert engine.run(COUNT, snapshot=snapshot, window=Window(at(24), None, column)).rows() == [[1]]


def test_window_prunes_files_by_the_delta_log(engine: Engine, snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").unlink()
    window = Window(START + timedelta(minutes=10), None)
    result = engine.run(COUNT, snapshot=snapshot, window=window)
    assert result.rows() == [[15]]
    assert result.problems == ()


def test_damaged_file_is_named_and_the_rest_goes_on(engine: Engine, snapshot: Snapshot, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(path.read_bytes()[:200])
    reported: list[tuple[str, str]] = []
    snapshot = Snapshot(snapshot.tables, on_bad_file=lambda table, file, _reason: reported.append((table, file)))
    query = Compiled('SELECT count("Name") AS c1 FROM "T"', (Col("n", KqlType.LONG),))
    result = engine.run(query, snapshot=snapshot)
    assert result.rows() == [[15]]
    assert [p.code for p in result.problems] == ["LAK0005"]
    assert str(path) in str(result.problems[0])
    assert reported == [("T", str(path))]


def test_given_relation_stands_in_for_a_table_and_is_cast(engine: Engine, snapshot: Snapshot) -> None:
    given = pa.table({"Name": pa.array(["x"]).dictionary_encode(), "LogonID__2": pa.array([1], pa.int32())})
    query = Compiled(
        'SELECT "Name" AS c1, "LogonID__2" AS c2, "Score" AS c3 FROM "T"',
        (Col("Name", KqlType.STRING), Col("LogonID", KqlType.LONG), Col("Score", KqlType.REAL)),
    )
    result = engine.run(query, snapshot=snapshot, relations={"T": given})
    assert result.rows() == [["x", 1, None]]
    assert result.table.schema.types == [pa.string(), pa.int64(), pa.float64()]


def test_given_relation_that_does_not_fit(engine: Engine) -> None:
    with pytest.raises(LakeError, match=r"LAK0006.*Nam.*Did you mean 'Name'"):
        engine.run(COUNT, relations={"T": pa.table({"Nam": ["x"]})})
    with pytest.raises(LakeError, match=r"LAK0007 Column Score of T"):
        engine.run(COUNT, relations={"T": pa.table({"Score": ["x"]})})


def test_relation_without_schema(engine: Engine) -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    source = pa.table(
        {"TimeCreated": pa.array([moment], pa.timestamp("ns", "UTC")), "n": [1], "t": pa.array([{"a": 1}])}
    )
    query = Compiled(
        'SELECT "TimeCreated" AS c1, "n" AS c2, "t" AS c3 FROM "source"',
        (Col("TimeCreated", KqlType.DATETIME), Col("n", KqlType.LONG), Col("t", KqlType.DYNAMIC)),
        frozenset({"source"}),
    )
    assert engine.run(query, relations={"source": source}).rows() == [["2024-01-01T00:00:00.0000000Z", 1, {"a": 1}]]


def test_unknown_table(engine: Engine) -> None:
    with pytest.raises(QueryError, match=r"QRY0005"):
        engine.run(Compiled('SELECT 1 FROM "U"', (Col("a", KqlType.LONG),), frozenset({"U"})))


def test_parameters(engine: Engine, snapshot: Snapshot) -> None:
    query = Compiled(
        'SELECT "Name" AS c1 FROM "T" WHERE "Name" = $p1', (Col("Name", KqlType.STRING),), parameters={"p1": "n3"}
    )
    assert engine.run(query, snapshot=snapshot).dicts() == [{"Name": "n3"}]


def test_row_limit_truncates_and_keeps_order(engine: Engine, snapshot: Snapshot) -> None:
    query = Compiled('SELECT "Name" AS c1 FROM "T" ORDER BY "TimeGenerated" DESC', (Col("Name", KqlType.STRING),))
    result = engine.run(query, snapshot=snapshot, limits=Limits(rows=3))
    assert result.truncated
    assert result.rows() == [["n24"], ["n23"], ["n22"]]
    assert not engine.run(query, snapshot=snapshot, limits=Limits(rows=25)).truncated
    assert len(engine.run(query, snapshot=snapshot, limits=Limits(rows=None, result_bytes=None))) == 25


def test_size_limit_truncates(engine: Engine) -> None:
    query = Compiled("SELECT repeat('x', 1000) AS c1 FROM range(1000)", (Col("a", KqlType.STRING),), frozenset())
    result = engine.run(query, limits=Limits(result_bytes=100_000))
    assert result.truncated
    assert 50 < len(result) <= 100


SLOW = Compiled("SELECT count(*) AS c1 FROM range(100000000) a, range(1000) b", (Col("n", KqlType.LONG),), frozenset())


def test_time_limit(engine: Engine) -> None:
    started = time.monotonic()
    with pytest.raises(QueryError, match=r"QRY0002.*0\.2 s"):
        engine.run(SLOW, limits=Limits(seconds=0.2))
    assert time.monotonic() - started < 30  # by itself it would take minutes
    assert engine.run(COUNT).rows() == [[0]]


def test_cancel_ends_one_query_only(engine: Engine) -> None:
    cancel, other = threading.Event(), threading.Event()
    seen: dict[str, str] = {}

    def run(name: str, event: threading.Event) -> None:
        try:
            engine.run(SLOW, cancel=event)
        except QueryError as error:
            seen[name] = error.code

    threads = [threading.Thread(target=run, args=a) for a in (("first", cancel), ("second", other))]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    cancel.set()
    threads[0].join(60)
    assert seen == {"first": "QRY0003"}
    other.set()
    threads[1].join(60)
    assert seen == {"first": "QRY0003", "second": "QRY0003"}
    with pytest.raises(QueryError, match=r"QRY0003"):
        engine.run(COUNT, cancel=cancel)


def test_memory_limit(engine: Engine) -> None:
    query = Compiled(
        "SELECT len(list(a || repeat('x', 1000))) AS c1 FROM range(10000000) t(a)",
        (Col("n", KqlType.LONG),),
        frozenset(),
    )
    with pytest.raises(QueryError, match=r"QRY0004.*128 MiB"):
        engine.run(query)
    with pytest.raises(QueryError, match=r"QRY0004.*64 MiB"):
        engine.run(query, limits=Limits(memory_bytes=64 * MIB))


def test_engine_errors_have_a_code_and_no_traceback_text(engine: Engine) -> None:
    with pytest.raises(QueryError, match=r"QRY0006"):
        engine.run(Compiled("SELECT nope(1)", (Col("n", KqlType.LONG),), frozenset()))


def test_a_fatal_error_of_the_engine_ends_one_query_not_the_service(engine: Engine) -> None:
    """Text that isn't UTF-8 is such an error in DuckDB 2.0: it makes the whole database unusable."""
    bad = {"source": pa.table({"x": pa.array([b"\xff\xfe"]).view(pa.string())})}
    lower = Compiled('SELECT lower("x") AS c1 FROM "source"', (Col("x", KqlType.STRING),), frozenset({"source"}))
    with pytest.raises(QueryError, match=r"QRY0006"):
        engine.run(lower, relations=bad)
    assert engine.run(COUNT).rows() == [[0]]


def test_other_queries_survive_a_fatal_error(engine: Engine, snapshot: Snapshot) -> None:
    bad = {"source": pa.table({"x": pa.array([b"\xff\xfe"]).view(pa.string())})}
    lower = Compiled('SELECT lower("x") AS c1 FROM "source"', (Col("x", KqlType.STRING),), frozenset({"source"}))
    busy = Compiled("SELECT count(*) AS c1 FROM range(20000000) WHERE range % 7 = 3", COUNT.columns, frozenset())
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.extend(engine.run(busy).rows()[0][0] for _ in range(4)))
    thread.start()
    time.sleep(0.05)
    with pytest.raises(QueryError, match=r"QRY0006"):
        engine.run(lower, relations=bad)
    thread.join(120)
    assert counts == [2857143] * 4


def test_a_query_that_opens_a_connection_to_a_broken_database_gets_a_new_one(engine: Engine) -> None:
    broken = engine._databases.main()
    with broken.connection(5) as held:
        held.register("source", pa.table({"x": pa.array([b"\xff\xfe"]).view(pa.string())}))
        with pytest.raises(duckdb.Error):
            held.raw.sql('SELECT lower("x") FROM "source"').fetchall()
    assert engine.run(COUNT).rows() == [[0]]
    assert engine._databases.main() is not broken


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM read_csv('/etc/passwd')",
        "SELECT count(*) FROM read_text('/etc/hostname')",
        "SELECT count(*) FROM glob('/etc/*')",
        "SELECT count(*) FROM CATALOG",
        "SELECT 1); SET threads=1; SELECT (1",
        "SELECT getenv('HOME')",
    ],
)
def test_lock_down(engine: Engine, sql: str) -> None:
    with pytest.raises(QueryError, match=r"QRY0006"):
        engine.run(Compiled(sql, (Col("n", KqlType.LONG),), frozenset()))


def test_every_connection_has_the_settings(engine: Engine) -> None:
    """Some settings belong to a connection, and the pool's connections don't inherit the first one's."""
    names = (
        "TimeZone",
        "parquet_metadata_cache",
        "python_enable_replacements",
        "enable_external_access",
        "lock_configuration",
    )
    columns = ", ".join(f"current_setting('{name}')::VARCHAR" for name in names)
    text = Compiled(f"SELECT concat_ws(' ', {columns}) AS c1", (Col("x", KqlType.STRING),), frozenset())
    assert engine.run(text).rows() == [["UTC true false false true"]]


def test_values() -> None:
    engine = Engine()
    columns = (
        Col("s", KqlType.STRING), Col("b", KqlType.BOOL), Col("i", KqlType.INT), Col("l", KqlType.LONG), Col("r", KqlType.REAL),
        Col("d", KqlType.DATETIME), Col("j", KqlType.DYNAMIC), Col("g", KqlType.GUID),
    )  # fmt: skip
    sql = """SELECT * FROM (VALUES
      ('a', true, 1::INTEGER, 2::BIGINT, 1.5::DOUBLE, TIMESTAMP '0001-01-01 00:00:00.000001', '[1,"x",{"k":null}]', 'ab'),
      (NULL, NULL, NULL, NULL, 'nan'::DOUBLE, NULL, NULL, NULL),
      ('b', false, 1, -9223372036854775808, '-inf'::DOUBLE, TIMESTAMP '9999-12-31 23:59:59.999999', '9007199254740993', ''))"""
    result = engine.run(Compiled(sql, columns, frozenset()))
    assert result.rows() == [
        ["a", True, 1, 2, 1.5, "0001-01-01T00:00:00.0000010Z", [1, "x", {"k": None}], "ab"],
        ["", None, None, None, "NaN", None, None, None],
        ["b", False, 1, -9223372036854775808, "-Infinity", "9999-12-31T23:59:59.9999990Z", 9007199254740993, ""],
    ]
    assert result.dicts()[0]["l"] == 2
    engine.close()


def test_many_threads(engine: Engine, snapshot: Snapshot) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(10):
                assert engine.run(COUNT, snapshot=snapshot).rows() == [[25]]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
