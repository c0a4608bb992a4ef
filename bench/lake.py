"""What the lake costs per event, beside `orjson.loads` of the same bytes in the same run.

    python -m bench.lake [ZIP-OR-NDJSON]

CPU time of all threads, best of three; "x" is the ratio to orjson. Without a file it uses a Windows recording of the OTRF
datasets if one is beside the repository, else events that it makes up.
"""

from __future__ import annotations

import io
import json
import resource
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa

from tocsin.kql.types import Column, KqlType, MappingCatalog, TableSchema
from tocsin.lake import Body, Lake, LakeSettings, TableBatch
from tocsin.lake.engine import Engine, Limits
from tocsin.tables import STANDARD_COLUMNS

RECORDING = Path("../shared/data/otrf/compound/LSASS_campaign_01/metasploit_logonpasswords_lsass_memory_dump.zip")
NOW = datetime(2024, 5, 1, tzinfo=UTC)
COLUMNS = 60
BATCH = 5_000
SETTINGS = LakeSettings(
    background=False, hot_bytes=1 << 40, roll_bytes=1 << 40, log_queue_bytes=1 << 40, compact_files=0
)


@dataclass(frozen=True)
class Query:
    """A compiled query by hand."""

    sql: str
    tables: frozenset[str] = frozenset({"Events"})
    columns: tuple[object, ...] = ()
    parameters: tuple[()] = ()


def lines_of(path: Path | None) -> list[bytes]:
    """The events, one JSON object a line."""
    if path is None and RECORDING.exists():
        path = RECORDING
    if path is None:
        return [json.dumps(_made_up(i)).encode() for i in range(50_000)]
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            return b"\n".join(archive.read(n) for n in archive.namelist() if n.endswith(".json")).splitlines()
    return path.read_bytes().splitlines()


def _made_up(number: int) -> dict[str, object]:
    event: dict[str, object] = {f"Field{i}": f"value {number * i % 977}" for i in range(50)}
    return event | {"EventID": 4688 + number % 12, "Message": f"A new process has been created {number % 313} " * 20}


def cost(run: Callable[[], object], events: int, times: int = 3) -> tuple[float, float]:
    """CPU and wall microseconds per event: the best of several runs."""
    found = []
    for _ in range(times):
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        run()
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append((cpu / events * 1e6, wall / events * 1e6))
    return min(found)


def tables_of(lines: list[bytes]) -> tuple[TableSchema, list[pa.Table]]:
    """The events as typed columns of one wide table, in batches."""
    names: dict[str, int] = {}
    for line in lines[:20_000]:
        for key in orjson.loads(line):
            names[key] = names.get(key, 0) + 1
    kept = sorted(names, key=lambda n: -names[n])
    folded: dict[str, str] = {}
    for name in kept:
        folded.setdefault(name.lower(), name)
    chosen = list(folded.values())[:COLUMNS]
    frame = pl.read_ndjson(io.BytesIO(b"\n".join(lines)), schema=dict.fromkeys(chosen, pl.String))
    table = frame.to_arrow().cast(pa.schema([(n, pa.string()) for n in chosen]))
    times = pa.array(
        [NOW + timedelta(milliseconds=i * 7919 % 3_600_000) for i in range(len(lines))], pa.timestamp("us", "UTC")
    )
    table = table.append_column("TimeGenerated", times).append_column("_TimeReceived", times)
    standard = {c.name for c in STANDARD_COLUMNS}
    schema = TableSchema(
        "Events", (*(Column(n, KqlType.STRING) for n in chosen if n not in standard), *STANDARD_COLUMNS)
    )
    return schema, [table.slice(i, BATCH) for i in range(0, len(lines), BATCH)]


def rows(lines: list[bytes]) -> Iterable[tuple[str, float, float, str]]:
    """(what, CPU µs, wall µs, note) per measurement."""
    count = len(lines)
    schema, batches = tables_of(lines)
    bodies = [Body("bench", b"\n".join(lines[i : i + 500]), NOW) for i in range(0, count, 500)]
    raw = sum(len(line) + 1 for line in lines)
    yield (
        "orjson.loads, one line at a time",
        *cost(lambda: [orjson.loads(line) for line in lines], count),
        "the yardstick",
    )
    with tempfile.TemporaryDirectory() as folder:

        def new(name: str, settings: LakeSettings = SETTINGS) -> Lake:
            return Lake.open(
                Path(folder, f"{name}{time.perf_counter_ns()}"),
                settings=settings,
                catalog=MappingCatalog({"Events": schema}),
            )

        lake = new("append")
        figures = cost(lambda: [f.result() for f in [lake.log.append([b]) for b in bodies]], count)
        yield (
            "append: 1 MB bodies, zstd-1, CRC, fdatasync",
            *figures,
            f"{lake.log.size / 3 / count:.0f} B an event, of {raw / count:.0f}",
        )
        small = [Body("bench", line, NOW) for line in lines[:20_000]]

        def pipelined() -> None:
            waiting: list[Future[int]] = []
            for body in small:
                waiting.append(lake.log.append([body]))
                if len(waiting) >= 64:
                    waiting.pop(0).result()
            for future in waiting:
                future.result()

        yield "append: one event a body, 64 in flight", *cost(pipelined, len(small)), "group commit"
        delays = []
        for body in small[:200]:
            began = time.perf_counter()
            lake.log.append([body]).result()
            delays.append(time.perf_counter() - began)
        alone = f"p50 {statistics.median(delays) * 1e3:.2f} ms, p99 {sorted(delays)[-2] * 1e3:.2f} ms until durable"
        yield "append: one event, nobody else", 0.0, statistics.mean(delays) * 1e6, alone

        lakes = iter([new("put") for _ in range(3)])

        def put() -> Lake:
            lake = next(lakes)
            for number, rows in enumerate(batches, 1):
                lake.put(number, [TableBatch("Events", rows)])
            return lake

        filled: list[Lake] = []
        figures = cost(lambda: filled.append(put()), count)
        hot = filled[-1].pressure * SETTINGS.hot_bytes / count
        yield f"put: batches of {BATCH}, {COLUMNS} columns", *figures, f"{hot:.0f} B an event in memory"
        remaining = iter(filled)
        yield (
            "roll: sort, Parquet zstd-1, Delta commit",
            *cost(lambda: next(remaining).roll(), count),
            _files(filled[0], count),
        )

        fresh = new("hot")
        for number, table in enumerate(batches, 1):
            fresh.put(number, [TableBatch("Events", table)])
        engine = Engine(folders=[Path(folder)], catalog=MappingCatalog({"Events": schema}))
        one = next(n for n in ("EventID", "Field1") if any(c.name == n for c in schema.columns))
        queries = {
            "count": 'SELECT count(*) AS c1 FROM "Events"',
            "equals": f"""SELECT count(*) AS c1 FROM "Events" WHERE "{one}" = '10'""",
            "contains": """SELECT count(*) AS c1 FROM "Events" WHERE contains(lower("Message"), 'lsass')""",
            "group by": f'SELECT "{one}" AS c1, count(*) AS c2 FROM "Events" GROUP BY 1',
            "top 10 by time": 'SELECT "TimeGenerated" AS c1, "Message" AS c2 FROM "Events" ORDER BY 1 DESC LIMIT 10',
        }
        for place, source in (("memory", fresh), ("files", filled[0])):
            snapshot = source.snapshot()
            for name, sql in queries.items():
                run = lambda sql=sql, snapshot=snapshot: engine.run(Query(sql), snapshot=snapshot, limits=Limits())  # noqa: E731
                run()
                cpu, wall = cost(run, count)
                yield f"scan, {place}: {name}", cpu, wall, f"{wall * count / 1e3:.1f} ms for {count:,}"
        empty = Query('SELECT count(*) AS c1 FROM "Events"')
        each = cost(lambda: [engine.run(empty) for _ in range(100)], 100)
        yield "a query over nothing (per query)", *each, "overhead of one run"
        engine.close()

        bulk = iter([new("bulk") for _ in range(3)])

        def write() -> None:
            lake = next(bulk)
            for table in batches:
                lake.write([TableBatch("Events", table)])
            lake.flush()

        yield "write + flush (bulk path, as scan --keep)", *cost(write, count), ""


def _files(lake: Lake, count: int) -> str:
    (stats,) = lake.stats()
    return f"{stats.bytes / count:.0f} B an event on disk"


def main() -> None:
    """Prints the table for bench/README.md."""
    lines = lines_of(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    print(f"{len(lines):,} events, {sum(map(len, lines)) / len(lines):.0f} bytes each\n")
    print("| what | CPU µs an event | x orjson | wall µs | note |\n|---|---:|---:|---:|---|")
    base = 0.0
    for what, cpu, wall, note in rows(lines):
        base = base or cpu
        ratio = f"{cpu / base:.2f}" if cpu and "per query" not in what else ""
        print(f"| {what} | {f'{cpu:.2f}' if cpu else ''} | {ratio} | {wall:.2f} | {note} |", flush=True)


if __name__ == "__main__":
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    main()
