"""Searching months of rows: a rare word over all days, and a day's summary beside DuckDB's own SQL over the same files.

    python -m bench.search [ROWS] [FOLDER]

Makes ROWS (10 million by default) process events over 30 days out of real ones (OTRF's recordings beside the repository), each file with the
events of its hours; hosts, people, process ids, hashes and a third of the command lines are made up anew. One row holds the needle. With FOLDER
the rows stay there and are used again. "Cold": the files are dropped from the page cache before.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.base.clock import ManualClock
from tocsin.base.log import configure
from tocsin.content import load_packs, packs_dir
from tocsin.kql import compile_query
from tocsin.lake import Lake, LakeSettings, TableBatch
from tocsin.lake.engine import Engine, Limits, QueryResult
from tocsin.query import QueryService
from tocsin.tables import catalogue
from tocsin.workspace.scan import scan

RECORDINGS = Path("../shared/data/otrf/compound")
TABLE = "DeviceProcessEvents"
DAYS = 30
NOW = datetime(2024, 5, 31, tzinfo=UTC)
FILE_ROWS = 200_000
NEEDLE = "qx7needle4z"
SETTINGS = LakeSettings(
    background=False, compact_files=0, spill_bytes=1 << 40, bulk_bytes=1 << 40, row_group_rows=20_000
)
LIMITS = Limits(rows=100_000, seconds=600)


def real_rows() -> pa.Table:
    """The process events of the recordings."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        scan([RECORDINGS], keep=Path(folder))
        with Lake.open(Path(folder) / "lake", catalog=catalogue(), read_only=True) as lake:
            import pyarrow.parquet as pq

            files = lake.snapshot().tables[TABLE].files
            return pa.concat_tables(
                [pq.read_table(f.path, partitioning=None) for f in files], promote_options="default"
            )


def fill(lake: Lake, rows: int) -> None:
    """Writes the rows, a file at a time, and makes the filters."""
    base = real_rows()
    print(f"{base.num_rows:,} real process events", file=sys.stderr)
    chance = np.random.default_rng(1)
    files = max(DAYS, -(-rows // FILE_ROWS))
    each = rows // files
    start = NOW - timedelta(days=DAYS)
    began = time.monotonic()
    for number in range(files):
        first = start + timedelta(days=DAYS) * number / files
        made = varied(base, each, first, timedelta(days=DAYS) / files, chance)
        if number == files * 17 // 30:
            at = made.column_names.index("ProcessCommandLine")
            lines = made.column(at).combine_chunks()
            lines = pa.concat_arrays([pa.array([f"tool.exe /run {NEEDLE}"]), lines.slice(1)])
            made = made.set_column(at, "ProcessCommandLine", lines)
        lake.write([TableBatch(TABLE, made)])
        lake.flush()
        print(f"\r{number + 1}/{files} files", end="", file=sys.stderr, flush=True)
    written = time.monotonic() - began
    print(f"\n{files} files written in {written:.0f} s", file=sys.stderr)
    cpu, began = time.process_time(), time.monotonic()
    lake.index()
    cost = (time.process_time() - cpu) / files
    print(
        f"| making the filters | {cost:.2f} s of CPU a file | {each:,} rows each; {time.monotonic() - began:.0f} s in all |"
    )


def varied(base: pa.Table, rows: int, first: datetime, span: timedelta, chance: np.random.Generator) -> pa.Table:
    """Real rows in a random order, with instants, hosts, people, process ids and hashes of their own, and words of their own in command lines."""
    made = base.take(pa.array(chance.integers(0, base.num_rows, rows)))

    def put(name: str, values: pa.Array) -> None:
        nonlocal made
        if name in made.column_names:
            at = made.column_names.index(name)
            made = made.set_column(at, name, values.cast(made.schema.field(at).type))

    offsets = np.sort(chance.integers(0, int(span / timedelta(microseconds=1)), rows))
    times = pa.array(np.datetime64(first.replace(tzinfo=None), "us") + offsets.astype("timedelta64[us]"))
    for name in ("TimeGenerated", "Timestamp", "_TimeReceived"):
        put(name, times)
    hosts, people = chance.integers(0, 3_000, rows), chance.zipf(1.3, rows) % 8_000
    put("DeviceName", pa.array([f"ws{n:04}.corp.example" for n in range(3_000)]).take(pa.array(hosts)))
    put("DeviceId", pa.array([f"{n * 2654435761 % (1 << 64):040x}" for n in range(3_000)]).take(pa.array(hosts)))
    put("AccountName", pa.array([f"user{n:04}" for n in range(8_000)]).take(pa.array(people)))
    for name in ("ProcessId", "InitiatingProcessId", "InitiatingProcessParentId", "ReportId"):
        put(name, pa.array(chance.integers(4, 65_536, rows) & ~3))
    for name, length, share in (("SHA256", 64, 0.1), ("MD5", 32, 0.1)):
        if name in made.column_names:
            own = pc.utf8_lpad(pa.array(chance.integers(0, 1 << 62, rows)).cast(pa.string()), length, "0")
            put(name, pc.if_else(pa.array(chance.random(rows) < share), own, made.column(name).combine_chunks()))
    for name, share in (("ProcessCommandLine", 0.33), ("InitiatingProcessCommandLine", 0.1)):
        own = pa.array(chance.integers(1 << 47, 1 << 48, rows)).cast(pa.string())
        marked = pc.if_else(pa.array(chance.random(rows) < share), pc.binary_join_element_wise(" id=", own, ""), "")
        put(name, pc.binary_join_element_wise(pc.fill_null(made.column(name), ""), marked, "").combine_chunks())
    return made


def forget(files: list[str]) -> None:
    """Drops files from the page cache."""
    for path in files:
        for name in (path, str(Path(path).with_suffix(".terms"))):
            if os.path.exists(name):
                handle = os.open(name, os.O_RDONLY)
                os.fsync(handle)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(handle)


def best(run: Callable[[], object], times: int = 5) -> float:
    """The median of several runs in seconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def peak() -> int:
    """The most memory that this process has had, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    return 0


def main() -> int:
    """Prints the table."""
    rows = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    if not RECORDINGS.exists():
        print("Its data isn't here.")
        return 0
    stack = tempfile.TemporaryDirectory(prefix="tocsin-search-")
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(stack.name)
    clock = ManualClock(NOW)
    configure("silent")
    if not (folder / "tables").is_dir():
        with Lake.open(folder, clock=clock, settings=SETTINGS, catalog=catalogue()) as lake:
            fill(lake, rows)
        # The measured process holds nothing of what made the rows.
        os.execv(sys.executable, [sys.executable, "-m", "bench.search", str(rows), str(folder)])
    with Lake.open(folder, clock=clock, settings=SETTINGS, catalog=catalogue()) as lake:
        measure(lake, clock)
    stack.cleanup()
    return 0


def measure(lake: Lake, clock: ManualClock) -> None:
    """Runs the queries."""
    print("| what | value | note |\n|---|---:|---|")
    engine = Engine(folders=[lake.path], spill=lake.path / "spill", catalog=catalogue())
    service = QueryService(
        lake,
        catalogue=catalogue(),
        functions=load_packs([packs_dir()]).functions,
        clock=clock,
        engine=engine,
    )
    files = [f.path for f in lake.snapshot().tables[TABLE].files]
    stats = {s.table: s for s in lake.stats()}[TABLE]
    filters = sum(Path(f).with_suffix(".terms").stat().st_size for f in files)
    print(
        f"| rows | {stats.rows:,} | {len(files)} files, {stats.bytes / stats.rows:.1f} B a row, filters {filters / stats.bytes:.1%} of it |"
    )

    needle = (
        f"{TABLE} | where ProcessCommandLine has '{NEEDLE}' | project TimeGenerated, DeviceName, ProcessCommandLine"
    )
    service.run("print 1")
    forget(files)
    began = time.perf_counter()
    found = service.run(needle, limits=LIMITS)
    cold = time.perf_counter() - began
    assert len(found.rows()) == 1
    compiled = compile_query(needle, service.catalog, now=NOW)
    object.__setattr__(compiled, "needs", {})
    forget(files)
    began = time.perf_counter()
    whole: QueryResult = engine.run(compiled, snapshot=lake.snapshot(), limits=LIMITS)
    cold_whole = time.perf_counter() - began
    assert whole.rows() == found.rows()
    pages = 4096 * 2 * len(files)
    ratio = whole.scanned.file_bytes / (found.scanned.file_bytes + pages)
    opened = f"{found.scanned.files} of {len(files)} files opened; {cold_whole:.2f} s without filters"
    print(f"| a rare word over {DAYS} days, cold | {cold:.2f} s | {opened} |")
    print(f"| bytes to look at, without and with filters | {ratio:.0f} x fewer | pages of the filters counted in |")

    day = "2024-05-15"
    kql = (
        f"{TABLE} | where TimeGenerated >= datetime({day}) and TimeGenerated < datetime({day}) + 1d"
        " | summarize Rows = count(), Devices = dcount(DeviceName) by FileName, Hour = bin(TimeGenerated, 1h)"
    )
    listed = ",".join(f"'{p}'" for p in files)
    sql = (
        "SELECT count(*), approx_count_distinct(coalesce(DeviceName, '')), coalesce(FileName, ''), time_bucket(INTERVAL 1 HOUR, TimeGenerated) "
        f"FROM read_parquet([{listed}], union_by_name = true) WHERE TimeGenerated >= TIMESTAMP '{day}' "
        f"AND TimeGenerated < TIMESTAMP '{day}' + INTERVAL 1 DAY GROUP BY 3, 4"
    )
    kql = kql.replace("dcount(DeviceName)", "count_distinct(DeviceName)")
    sql = sql.replace("approx_count_distinct(coalesce(DeviceName, ''))", "count(DISTINCT coalesce(DeviceName, ''))")
    with duckdb.connect() as plain:
        plain.execute(f"SET threads = {min(4, os.cpu_count() or 1)}")
        plain.execute("SET parquet_metadata_cache = true")
        by_hand = plain.execute(sql).fetchall()
        ours = service.run(kql, limits=LIMITS).rows()
        assert sorted((r[0], r[1], r[2]) for r in by_hand) == sorted((r[2], r[3], r[0]) for r in ours)
        pairs = [
            (best(lambda: service.run(kql, limits=LIMITS), 1), best(lambda: plain.execute(sql).fetchall(), 1))
            for _ in range(7)
        ]
    mine, theirs = statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs)
    print(
        f"| a day's summary | {mine * 1000:.0f} ms | {mine / theirs:.2f} x DuckDB's SQL by hand ({theirs * 1000:.0f} ms) |"
    )
    print(f"| memory at most | {peak()} MiB | both engines in one process |")
    service.close()


if __name__ == "__main__":
    raise SystemExit(main())
