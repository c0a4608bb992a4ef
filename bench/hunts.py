"""Ten hunts in KQL, each beside DuckDB SQL written by hand for the same answer, over rows made of real events.

The rows: the recordings of the OTRF datasets as `tocsin scan --keep` maps them, repeated up to the number asked for; each repetition belongs to
other devices and accounts, at other times, with other process ids and, three times of four, a longer command line. Our lake writes them.

Both sides read the same files with the same threads and memory, warm, in turns; both give an Arrow table. The hand-written SQL is what
somebody would write who knows DuckDB and the data (which columns hold nulls) and needs the exact answer. Every pair of answers is compared.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa

from tocsin.lake import Lake, LakeSettings, TableBatch
from tocsin.lake.engine import Engine, Limits
from tocsin.lake.settings import MIB, EngineSettings
from tocsin.query.catalog import WorkspaceCatalog
from tocsin.tables import catalogue

RECORDINGS = Path("../shared/data/otrf")
FOLDER = Path(".make/bench")
SHARES = {
    "DeviceProcessEvents": 0.24,
    "DeviceNetworkEvents": 0.24,
    "DeviceEvents": 0.16,
    "SecurityEvent": 0.16,
    "DeviceLogonEvents": 0.10,
    "DeviceRegistryEvents": 0.10,
}
DEMANDED = 1.2
TIMES = 9
NOW = datetime(2024, 5, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Hunt:
    """A hunt; `note` says where KQL means more than plain SQL would. `bags`: result columns whose lists have no order."""

    name: str
    kql: str
    sql: str
    note: str = ""
    bags: tuple[int, ...] = ()


_TERM = r"(?:^|[^\p{L}\p{N}])(?:mimikatz|sekurlsa|procdump|comsvcs|lsass)(?:$|[^\p{L}\p{N}])"

HUNTS = (
    Hunt(
        "has_any and project",
        """DeviceProcessEvents
| where ProcessCommandLine has_any ("mimikatz", "sekurlsa", "procdump", "comsvcs", "lsass")
| project Timestamp, DeviceName, AccountName, FileName, ProcessCommandLine""",
        f"""SELECT Timestamp, DeviceName, AccountName, FileName, ProcessCommandLine FROM DeviceProcessEvents
WHERE regexp_matches(ProcessCommandLine, '{_TERM}', 'i')""",
        "`has` is a whole term, bounded by what is no letter or digit of any script, in any case: by hand one regular expression",
    ),
    Hunt(
        "count by bin",
        """DeviceNetworkEvents
| where ActionType == "ConnectionSuccess"
| summarize Connections = count() by bin(Timestamp, 1h), DeviceName""",
        """SELECT date_trunc('hour', Timestamp), DeviceName, count(*) FROM DeviceNetworkEvents
WHERE ActionType = 'ConnectionSuccess' GROUP BY ALL""",
    ),
    Hunt(
        "join within a time window",
        """DeviceProcessEvents
| where FileName in~ ("powershell.exe", "rundll32.exe")
| project DeviceId, DeviceName, Started = Timestamp, FileName, ProcessId
| join kind=inner (
    DeviceNetworkEvents
    | where RemotePort in (443, 80, 8443)
    | project DeviceId, Connected = Timestamp, RemoteIP, RemotePort
) on DeviceId
| where Connected between (Started .. Started + 5m)
| project DeviceName, FileName, ProcessId, Started, Connected, RemoteIP, RemotePort""",
        """SELECT p.DeviceName, p.FileName, p.ProcessId, p.Timestamp, n.Timestamp, n.RemoteIP, n.RemotePort
FROM DeviceProcessEvents p JOIN DeviceNetworkEvents n
  ON p.DeviceId = n.DeviceId AND n.Timestamp >= p.Timestamp AND n.Timestamp <= p.Timestamp + INTERVAL 5 MINUTE
WHERE lower(p.FileName) IN ('powershell.exe', 'rundll32.exe') AND n.RemotePort IN (443, 80, 8443)""",
    ),
    Hunt(
        "latest row of each key",
        """DeviceLogonEvents
| summarize arg_max(Timestamp, ActionType, LogonType, RemoteIP, RemotePort) by DeviceName, AccountName""",
        """SELECT DeviceName, AccountName, last.Timestamp, last.ActionType, coalesce(last.LogonType, ''), last.RemoteIP, last.RemotePort
FROM (
  SELECT DeviceName, AccountName, arg_max(
    {Timestamp: Timestamp, ActionType: ActionType, LogonType: LogonType, RemoteIP: RemoteIP, RemotePort: RemotePort}, Timestamp
  ) AS last FROM DeviceLogonEvents GROUP BY ALL
)""",
        "one row's values together, nulls among them: by hand one arg_max of a struct",
    ),
    Hunt(
        "sets by key",
        """SecurityEvent
| where EventID in (4624, 4625, 4648)
| summarize Addresses = make_set(IpAddress), Logons = count() by TargetUserName, Computer""",
        """SELECT TargetUserName, Computer, to_json(list(DISTINCT IpAddress)), count(*) FROM SecurityEvent
WHERE EventID IN (4624, 4625, 4648) GROUP BY ALL""",
        "a set has at most 1,048,576 items; it is dynamic, so JSON on both sides",
        bags=(2,),
    ),
    Hunt(
        "field of JSON text",
        """SecurityEvent
| where EventID == 4656
| extend Data = parse_json(EventData)
| where tostring(Data.ObjectName) contains "lsass"
| project TimeGenerated, Computer, Process = tostring(Data.ProcessName), Mask = tostring(Data.AccessMask)""",
        """SELECT TimeGenerated, Computer, coalesce(EventData->>'$.ProcessName', ''), coalesce(EventData->>'$.AccessMask', '')
FROM SecurityEvent WHERE EventID = 4656 AND contains(lower(EventData->>'$.ObjectName'), 'lsass')""",
        "text that is no JSON is a string in KQL and an error in SQL; the data has none",
    ),
    Hunt(
        "leftanti",
        """DeviceNetworkEvents
| where ActionType == "ConnectionSuccess"
| join kind=leftanti (DeviceProcessEvents | where FileName =~ "svchost.exe" | distinct DeviceId, ProcessId)
    on DeviceId, $left.InitiatingProcessId == $right.ProcessId
| summarize Connections = count() by InitiatingProcessFileName""",
        """SELECT InitiatingProcessFileName, count(*) FROM DeviceNetworkEvents n
WHERE ActionType = 'ConnectionSuccess' AND NOT EXISTS (
  SELECT 1 FROM DeviceProcessEvents p
  WHERE lower(p.FileName) = 'svchost.exe' AND p.DeviceId = n.DeviceId AND p.ProcessId IS NOT DISTINCT FROM n.InitiatingProcessId
) GROUP BY ALL""",
    ),
    Hunt(
        "mv-expand",
        """DeviceProcessEvents
| mv-expand Argument = split(ProcessCommandLine, " ") to typeof(string)
| where Argument startswith "-"
| summarize Uses = count() by FileName, Argument""",
        """SELECT FileName, Argument, count(*)
FROM (SELECT FileName, unnest(string_split(ProcessCommandLine, ' ')) AS Argument FROM DeviceProcessEvents)
WHERE starts_with(Argument, '-') GROUP BY ALL""",
    ),
    Hunt(
        "top by count",
        """DeviceRegistryEvents
| summarize Changes = count(), Devices = dcount(DeviceId) by RegistryKey, ActionType
| top 10 by Changes""",
        """SELECT coalesce(RegistryKey, ''), ActionType, count(*) AS Changes, count(DISTINCT DeviceId) FROM DeviceRegistryEvents
GROUP BY ALL ORDER BY Changes DESC LIMIT 10""",
        "our dcount counts exactly",
    ),
    Hunt(
        "make-series",
        """DeviceNetworkEvents
| make-series Devices = dcount(DeviceId), Port = percentile(RemotePort, 95)
    on Timestamp from datetime(2024-04-01) to datetime(2024-05-01) step 1d by ActionType""",
        """WITH binned AS (
  SELECT ActionType, CAST(date_trunc('day', Timestamp) AS TIMESTAMP) AS Day, count(DISTINCT DeviceId) AS Devices,
    quantile_disc(RemotePort, 0.95) AS Port
  FROM DeviceNetworkEvents WHERE Timestamp >= '2024-04-01' AND Timestamp < '2024-05-01' GROUP BY ALL
), grid AS (
  SELECT ActionType, Day FROM (SELECT DISTINCT ActionType FROM binned),
    (SELECT unnest(generate_series(TIMESTAMP '2024-04-01', TIMESTAMP '2024-04-30', INTERVAL 1 DAY)) AS Day)
)
SELECT ActionType, to_json(list(coalesce(Devices, 0) ORDER BY Day)), to_json(list(if(Devices IS NULL, 0, Port) ORDER BY Day)),
  to_json(list(strftime(Day, '%Y-%m-%dT%H:%M:%S.0000000Z') ORDER BY Day))
FROM grid LEFT JOIN binned USING (ActionType, Day) GROUP BY ActionType""",
        "three dynamic columns: JSON on both sides",
    ),
)


# ---------------------------------------------------------------------------------------------- rows


def lake_of(rows: int) -> Path:
    """The folder of a lake with that many rows, made when it isn't there."""
    done = FOLDER / f"hunts-{rows}"
    if (done / "complete").exists():
        return done
    real = FOLDER / "real"
    if not (real / "lake").exists():
        command = [sys.executable, "-c", "from tocsin.cli import main; main()", "scan", "--quiet", "--json"]
        subprocess.run([*command, "--keep", str(real), str(RECORDINGS)], check=False, stdout=subprocess.DEVNULL)
    shutil.rmtree(done, ignore_errors=True)
    database = duckdb.connect(config={"threads": 2, "memory_limit": "2GB", "preserve_insertion_order": False})
    lake = Lake.open(done, settings=LakeSettings(background=False), catalog=catalogue())
    for table, share in SHARES.items():
        wanted = round(rows * share)
        reader = database.sql(_varied(database, real, table, wanted)).to_arrow_reader(50_000)
        for batch in reader:
            lake.write([TableBatch(table, pa.Table.from_batches([batch]))])
    lake.flush()
    lake.close()
    (done / "complete").touch()
    return done


def _varied(database: duckdb.DuckDBPyConnection, real: Path, table: str, wanted: int) -> str:
    files = f"read_parquet('{real}/lake/tables/{table}/*.parquet', union_by_name = true)"
    described = database.execute(f"DESCRIBE SELECT * FROM {files}").fetchall()
    names = {name for name, *_ in described}
    count = database.execute(f"SELECT count(*) FROM {files}").fetchall()[0][0]
    copies = -(-wanted // count)
    new = {
        "Timestamp": "_at",
        "TimeGenerated": "_at",
        "_TimeReceived": "_at + INTERVAL 20 SECOND",
        "DeviceName": "concat('d', k % 400, '-', DeviceName)",
        "DeviceId": "sha1(concat('d', k % 400, '-', DeviceName))",
        "Computer": "concat('d', k % 400, '-', Computer)",
        "ProcessId": "ProcessId + k % 97 * 4" if table != "SecurityEvent" else "ProcessId",
        "InitiatingProcessId": "InitiatingProcessId + k % 97 * 4",
        "AccountName": "concat(AccountName, k % 50)" if table != "SecurityEvent" else "AccountName",
        "TargetUserName": "concat(TargetUserName, k % 5)",
        "ProcessCommandLine": "CASE WHEN k % 4 = 0 THEN ProcessCommandLine"
        " ELSE concat(ProcessCommandLine, ' -id ', left(md5(concat(n, k)), 12)) END",
    }
    changed = ", ".join(f"{sql} AS {name}" for name, sql in new.items() if name in names)
    # A repetition happens within one day of April 2024, as the recording did; no two rows of it share a microsecond.
    moment = (
        "TIMESTAMP '2024-04-01' + to_microseconds((k * 7919 % 29) * 86400000000"
        " + (epoch_us(TimeGenerated) % 86400000000) // 1000 * 1000 + n % 1000)"
    )
    return f"""SELECT * EXCLUDE (n, k, _at) REPLACE ({changed}) FROM (
        SELECT r.*, k, {moment} AS _at FROM (SELECT *, row_number() OVER () AS n FROM {files}) r, range({copies}) AS c(k)
        LIMIT {wanted})"""


# ---------------------------------------------------------------------------------------------- both sides


def running(rows: int) -> int:
    """Prints the table; 1 where an answer differs or a hunt takes more than is demanded."""
    folder = lake_of(rows)
    settings = EngineSettings(memory_bytes=1024 * MIB, threads=2)
    lake = Lake.open(folder, settings=LakeSettings(background=False), catalog=catalogue())
    snapshot = lake.snapshot()
    catalog = WorkspaceCatalog(catalogue(), lake)
    engine = Engine(folders=[lake.path], catalog=catalogue(), settings=settings)
    hand = duckdb.connect(config={"threads": 2, "memory_limit": "1GB"})
    hand.execute("SET parquet_metadata_cache = true")
    total = 0
    for table in SHARES:
        files = [f.path for f in snapshot.table(table).files]
        total += sum(f.rows for f in snapshot.table(table).files)
        hand.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet({files}, union_by_name = true)")
    print(f"{total:,} rows of {len(SHARES)} tables; milliseconds, median of {TIMES} in turns, 2 threads\n")
    print("| hunt | rows | KQL, CPU | by hand, CPU | ratio | ratio by the clock |\n|---|---:|---:|---:|---:|---:|")
    from tocsin.kql import compile_query

    wrong, slow = [], []
    for hunt in HUNTS:
        compiled = compile_query(hunt.kql, catalog, now=NOW)

        def ours(compiled: Any = compiled) -> pa.Table:
            return engine.run(
                compiled, snapshot=snapshot, limits=Limits(rows=None, seconds=None, result_bytes=None)
            ).table

        def theirs(sql: str = hunt.sql) -> pa.Table:
            return hand.sql(sql).to_arrow_table()

        if answer(ours(), hunt.bags) != answer(theirs(), hunt.bags):
            wrong.append(hunt.name)
        first, second = [], []
        for _ in range(TIMES):
            first.append(clocked(ours))
            second.append(clocked(theirs))
        cpu = [statistics.median(c for c, _ in side) for side in (first, second)]
        wall = [statistics.median(w for _, w in side) for side in (first, second)]
        ratio = cpu[0] / cpu[1]
        if ratio > DEMANDED:
            slow.append(hunt.name)
        print(
            f"| {hunt.name} | {ours().num_rows:,} | {cpu[0]:.1f} | {cpu[1]:.1f} | {ratio:.2f} | {wall[0] / wall[1]:.2f} |",
            flush=True,
        )
    for hunt in HUNTS:
        if hunt.note:
            print(f"\n- {hunt.name}: {hunt.note}.", end="")
    print(
        f"\n\nDemanded: {DEMANDED:g}. Above it: {', '.join(slow) or 'none'}. Other answers: {', '.join(wrong) or 'none'}."
    )
    engine.close()
    lake.close()
    return int(bool(wrong or slow))


def clocked(run: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds of CPU of all threads, and by the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return (time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3


def answer(table: pa.Table, bags: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """Rows in an order of their own: JSON read, lists without order sorted, a string's null as the empty string."""
    columns = []
    for number in range(table.num_columns):
        values = table.column(number).to_pylist()
        text = pa.types.is_string(table.schema.field(number).type)
        if text and all(v is None or v[:1] in "[{" for v in values) and any(v for v in values):
            parsed = [orjson.loads(v) if v else None for v in values]
            if number in bags:
                parsed = [sorted(v, key=str) if isinstance(v, list) else v for v in parsed]
            values = [repr(v) for v in parsed]
        elif text:
            values = [v or "" for v in values]
        columns.append(values)
    return sorted(zip(*columns, strict=True), key=repr)
