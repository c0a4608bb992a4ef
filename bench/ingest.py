"""What intake costs per event: Splunk HEC over a real socket, to durable and visible rows, to committed files; syslog by UDP; time to be seen; size.

    python -m bench.ingest [EVENTS] [speed|udp|latency|heavy|size …]

The server is this process: receiver, log, decoder, parsers, lake, with the shipped packs. Senders are processes of their own. Speed is events by
CPU second of this process, all its threads, beside `orjson.loads` of the same bytes in the same run, because machines differ. Events are real ones
of OTRF's recordings, in runs of 2,000 out of all of them, none twice. No rules run beside: `bench.detect` measures those.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn
import zstandard
from bench.hunts import HUNTS
from bench.streams import OTRF, bodies
from starlette.applications import Starlette

from tocsin.base.clock import SystemClock
from tocsin.base.errors import TocsinError
from tocsin.base.log import configure
from tocsin.base.memory import small_pages
from tocsin.base.priority import yield_to_others
from tocsin.content import load_packs, packs_dir
from tocsin.ingest.mapping import Mapper
from tocsin.ingest.pipeline import Intake
from tocsin.ingest.receivers.hec import HecReceiver
from tocsin.ingest.receivers.syslog import SyslogUdpReceiver
from tocsin.lake import Lake, LakeSettings
from tocsin.lake.engine import Engine, Limits
from tocsin.lake.settings import EngineSettings
from tocsin.query import QueryService
from tocsin.tables import catalogue
from tocsin.workspace.server import Server, bind
from tocsin.workspace.settings import ServerSettings

FOLDER = Path(".make/bench")
RUN = 2_000
BODY_EVENTS = 500
SENDERS = 4
NOTHING_ROLLS = LakeSettings(background=False, hot_bytes=1 << 40, roll_bytes=1 << 40, compact_files=0)
UDP_RATE, UDP_SECONDS = 30_000, 10
HUNT_COUNT = 14
FIRST_ASKED = "WindowsEvent | count"
HEAVY = (
    "WindowsEvent | extend t = strcat(EventData, Computer, Channel) | where t matches regex @'(a|b).*[0-9]{3}.*z' "
    "| summarize count() by substring(t, 0, 40)"
)


def events(count: int) -> list[bytes]:
    """Real events, one JSON object each, in the order of their files; kept in a file for the next time."""
    kept = FOLDER / f"ingest-{count}.ndjson"
    if not kept.exists():
        seen: set[int] = set()
        found: list[bytes] = []
        for body in bodies():
            for line in body.split(b"\n"):
                if b'"Channel"' in line and hash(line) not in seen:
                    seen.add(hash(line))
                    found.append(line.strip())
        runs = [found[i : i + RUN] for i in range(0, len(found), RUN)]
        step = max(1, len(runs) * RUN // count)
        FOLDER.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(b"\n".join([line for run in runs[::step] for line in run][:count]))
    return kept.read_bytes().split(b"\n")


def hec_bodies(lines: list[bytes], size: int) -> list[bytes]:
    """Bodies as a Splunk sender makes them: envelopes with time, host and kind."""
    head = b'{"time":%d.%03d,"host":"wec%02d","sourcetype":"WinEventLog","event":%b}'
    made = [head % (1_700_000_000 + i // 1000, i % 1000, i // size % 8, line) for i, line in enumerate(lines)]
    return [b"\n".join(made[i : i + size]) for i in range(0, len(made), size)]


def yardstick(lines: list[bytes]) -> float:
    """CPU seconds of orjson for one event, the best of three."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for line in lines:
            orjson.loads(line)
        best = min(best, (time.process_time() - began) / len(lines))
    return best


@dataclass
class Rig:
    """A server's intake over a lake in a fresh folder."""

    lake: Lake
    intake: Intake
    queries: QueryService
    port: int


@contextmanager
def rig(settings: LakeSettings) -> Iterator[Rig]:
    """Serves HEC until the block ends."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tocsin-ingest-", dir=FOLDER)))
        clock = SystemClock()
        lake = stack.enter_context(Lake.open(folder / "lake", clock=clock, settings=settings, catalog=catalogue()))
        nice = EngineSettings(niceness=min(19, EngineSettings().niceness + os.nice(0)))
        engine = Engine(folders=[lake.path], spill=lake.path / "spill", catalog=catalogue(), settings=nice)
        stack.callback(engine.close)
        content = load_packs([packs_dir()])
        queries = QueryService(lake, catalogue=catalogue(), functions=content.functions, clock=clock, engine=engine)
        mapper = Mapper(content.parsers, engine=engine, catalog=queries.catalog)
        intake = Intake(lake, mapper, clock=clock, state=folder / "intake")
        intake.start()
        stack.callback(intake.stop)
        receiver = HecReceiver(intake, lambda token: "bench" if token == "token" else None)
        sock = bind(ServerSettings(host="127.0.0.1", port=0))
        server = Server(uvicorn.Config(Starlette(routes=receiver.routes()), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(lambda: setattr(server, "should_exit", True))
        yield Rig(lake, intake, queries, sock.getsockname()[1])


# ---------------------------------------------------------------------------------------------- senders


def send(port: int, path: Path, size: int, senders: int, rate: float) -> None:
    """A sender's process: every event once by `senders` connections; at `rate` events a second, 0 for as fast as they are taken.

    Prints for each body when it was to be sent, and its number in the log; a body that is refused for now is sent again.
    """
    waiting = list(enumerate(hec_bodies(path.read_bytes().split(b"\n"), size)))[::-1]
    lock = threading.Lock()
    sent: list[tuple[float, int]] = []
    channel = "7d8bbd0b-7e5d-4c8f-9d4c-8b8ed0c2f0a1"
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        headers = {"Authorization": "Splunk token", "X-Splunk-Request-Channel": channel}
        while True:
            with lock:
                if not waiting:
                    return
                number, body = waiting.pop()
            due = began + number * size / rate if rate else time.monotonic()
            time.sleep(max(0.0, due - time.monotonic()))
            while True:
                connection.request("POST", "/services/collector/event", body, headers)
                with connection.getresponse() as response:
                    answer = orjson.loads(response.read())
                if response.status == 200:
                    break
                time.sleep(0.02)
            with lock:
                sent.append((due, answer["ackId"] >> 10))

    threads = [threading.Thread(target=work) for _ in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(sent), flush=True)


def send_udp(port: int, rate: int, seconds: int) -> None:
    """A sender's process: numbered syslog messages at an even rate."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    sent = 0
    while sent < rate * seconds:
        due = min(rate * seconds, int((time.monotonic() - began) * rate))
        for number in range(sent, due):
            sock.send(
                b"<38>Oct 11 22:14:15 web%02d sshd[%d]: Failed password for invalid user u%d from 203.0.113.%d port %d ssh2"
                % (number % 40, 1000 + number % 30_000, number, number % 250, 1024 + number % 60_000)
            )
        sent = max(sent, due)
        time.sleep(0.001)
    print(json.dumps([sent, time.monotonic() - began]), flush=True)


class Sender:
    """A sender's process, ready to begin."""

    def __init__(self, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.ingest", "--as", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def begin(self) -> None:
        """Lets it go."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def finish(self) -> list[list[float]]:
        """What it says in the end."""
        out, _ = self._process.communicate()
        assert self._process.returncode == 0
        found: list[list[float]] = json.loads(out)
        return found


# ---------------------------------------------------------------------------------------------- measurements


def rows_of(lake: Lake) -> dict[str, int]:
    """Rows by table."""
    return {s.table: s.rows for s in lake.stats() if s.rows}


def speed(lines: list[bytes], path: Path) -> float:
    """Durable and visible, and everything. Gives the events a second of everything by the clock."""
    json_cost = yardstick(lines)
    print(f"| orjson.loads, one event at a time | {1 / json_cost:,.0f} | {json_cost * 1e6:.2f} | 1.00 | |")
    rate = 0.0
    for name, settings in (("durable and visible", NOTHING_ROLLS), ("everything", LakeSettings())):
        with rig(settings) as server:
            warm(server, lines)
            before = rows_of(server.lake)
            sender = Sender("hec", server.port, path, BODY_EVENTS, SENDERS, 0)
            cpu, began = time.process_time(), time.monotonic()
            sender.begin()
            sent = sender.finish()
            assert server.intake.wait_visible(max(int(s[1]) for s in sent), 600)
            if settings.background:
                server.lake.roll()
            cpu, took = time.process_time() - cpu, time.monotonic() - began
            asked, first = (time.process_time(), time.monotonic()), 0.0
            if not settings.background:
                server.queries.run(FIRST_ASKED)
                first = time.monotonic() - asked[1]
            later = (time.process_time() - asked[0]) / len(lines)
            rows = {t: n - before.get(t, 0) for t, n in rows_of(server.lake).items()}
            cost = cpu / len(lines)
            note = f"{sum(rows.values()) / len(lines):.2f} rows an event in {len(rows)} tables; {len(lines) / took:,.0f}/s by the clock"
            print(f"| {name} | {1 / cost:,.0f} | {cost * 1e6:.1f} | {cost / json_cost:.2f} | {note} |", flush=True)
            if first:
                print(f"| mapped for the first query that asks | {1 / later:,.0f} | {later * 1e6:.1f} | {later / json_cost:.2f} | "
                      f"it waits {first * 1000:,.0f} ms: {len(lines):,} events came since the last one that asked |", flush=True)  # fmt: skip
            assert rows["WindowsEvent"] == len(lines), rows
            rate = len(lines) / took
    return rate


def warm(server: Rig, lines: list[bytes]) -> None:
    """Lets parsers be compiled: a server does that once."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    last = 0
    for body in hec_bodies(lines[:: max(1, len(lines) // 4000)], 1000):
        headers = {"Authorization": "Splunk token", "X-Splunk-Request-Channel": "7d8bbd0b-7e5d-4c8f-9d4c-8b8ed0c2f0a1"}
        connection.request("POST", "/services/collector/event", body, headers)
        last = orjson.loads(connection.getresponse().read())["ackId"] >> 10
    assert server.intake.wait_visible(last, 600)
    server.lake.bring()


def udp() -> None:
    """Syslog by UDP on loopback."""
    with rig(LakeSettings()) as server:
        receiver = SyslogUdpReceiver(server.intake, "127.0.0.1", 0)
        receiver.start()
        port = next(int(s.address.rpartition(":")[2]) for s in server.intake.sources() if s.kind == "syslog")
        sender = Sender("udp", port, UDP_RATE, UDP_SECONDS)
        cpu = time.process_time()
        sender.begin()
        sent, took = sender.finish()
        deadline = time.monotonic() + 60
        while rows_of(server.lake).get("Syslog", 0) < sent and time.monotonic() < deadline:
            time.sleep(0.1)
        cpu = (time.process_time() - cpu) / sent
        receiver.stop()
        got = rows_of(server.lake).get("Syslog", 0)
        note = f"{sent - got:,.0f} of {sent:,.0f} lost ({sent / took:,.0f}/s were sent)"
        print(f"| syslog by UDP, everything | {1 / cpu:,.0f} | {cpu * 1e6:.1f} | | {note} |", flush=True)


@contextmanager
def beside(server: Rig, count: int, query: Callable[[int], str]) -> Iterator[list[float]]:
    """Runs queries in so many threads, as the API does, until the block ends; gives how long each took."""
    stopping, took = threading.Event(), list[float]()

    def work(number: int) -> None:
        # As the API's threads; the measurement itself may run with less than the usual share.
        yield_to_others(server.queries.settings.niceness + os.nice(0))
        person = SimpleNamespace(name=f"p{number}", person=f"p{number}", roles=(), table_scopes=None)
        while not stopping.is_set():
            began = time.monotonic()
            try:
                server.queries.run(
                    query(number), principal=person, limits=Limits(rows=10_000, seconds=60), cancel=stopping
                )
                took.append(time.monotonic() - began)
            except TocsinError:
                time.sleep(0.05)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    if threads:
        time.sleep(1.0)  # they are at it
    yield took
    stopping.set()
    for thread in threads:
        thread.join()


def latency(lines: list[bytes], path: Path, rate: float) -> None:
    """From when a body was to be sent until its rows are visible, at half of the greatest rate, hunts running beside."""
    hunts = [h.kql for h in HUNTS]
    with rig(LakeSettings()) as server:
        warm(server, lines)
        sender = Sender("hec", server.port, path, 100, 8, rate / 2)
        seen: list[tuple[float, int]] = []
        done = threading.Event()

        def watch() -> None:
            last = 0
            while not done.is_set():
                if server.intake.wait_visible(last + 1, 0.5):
                    last = server.intake.visible
                    seen.append((time.monotonic(), last))

        watcher = threading.Thread(target=watch)
        watcher.start()
        with beside(server, HUNT_COUNT, lambda n: hunts[n % len(hunts)]) as took:
            sender.begin()
            sent = sender.finish()
            assert server.intake.wait_visible(max(int(s[1]) for s in sent), 600)
        done.set()
        watcher.join()
        waits, at = [], 0
        for due, number in sorted(sent, key=lambda s: s[1]):
            while seen[at][1] < number:
                at += 1
            waits.append(seen[at][0] - due)
        points = statistics.quantiles(waits, n=100)
        said = f"p50 {points[49] * 1000:.0f} ms, p99 {points[98] * 1000:.0f} ms, most {max(waits) * 1000:.0f} ms"
        note = f"{rate / 2:,.0f} events/s, {HUNT_COUNT} hunts beside ({len(took)} answers, median {statistics.median(took or [0]):.2f} s)"
        print(f"| send to visible | {said} | {note} |", flush=True)


def heavy(lines: list[bytes], path: Path) -> None:
    """What eight heavy queries leave to intake: events a second by the clock until all are visible, with them and without.

    As many run at once as people's queries may (`query.concurrent`); the others wait for their turn.
    """
    rates = []
    for count in (0, 8):
        with rig(LakeSettings()) as server:
            warm(server, lines)
            sender = Sender("hec", server.port, path, BODY_EVENTS, SENDERS, 0)
            with beside(server, count, lambda _: HEAVY) as took:
                began = time.monotonic()
                sender.begin()
                sent = sender.finish()
                assert server.intake.wait_visible(max(int(s[1]) for s in sent), 600)
                rates.append(len(lines) / (time.monotonic() - began))
    said = f"{rates[1] / rates[0]:.2f} of {rates[0]:,.0f}/s"
    print(f"| accepted beside 8 heavy queries | {said} | {len(took)} of them ended meanwhile |", flush=True)


def size(lines: list[bytes], path: Path) -> None:
    """Bytes on disk after compaction."""
    raw = sum(len(line) + 1 for line in lines)
    with rig(LakeSettings(background=False, compact_files=0)) as server:
        sender = Sender("hec", server.port, path, BODY_EVENTS, SENDERS, 0)
        sender.begin()
        sent = sender.finish()
        assert server.intake.wait_visible(max(int(s[1]) for s in sent), 600)
        server.lake.roll()
        for table in server.lake.tables():
            server.lake.compact(table)
        server.lake.index()
        listed = [f.path for t in server.lake.snapshot().tables.values() for f in t.files]
        stored = sum(Path(p).stat().st_size for p in listed)
        filters = sum(
            Path(p).with_suffix(".terms").stat().st_size for p in listed if Path(p).with_suffix(".terms").exists()
        )
        rows = rows_of(server.lake)
        plain = Path(server.lake.path) / "lines.parquet"
        pq.write_table(pa.table({"Line": lines}), plain, compression="zstd", compression_level=3, row_group_size=20_000)
        beside_it = plain.stat().st_size
    packed = len(zstandard.ZstdCompressor(level=3).compress(b"\n".join(lines)))
    best = len(zstandard.ZstdCompressor(level=19).compress(b"\n".join(lines)))
    for name, bytes_, note in (
        ("raw NDJSON", raw, f"{len(lines):,} events, {raw / len(lines):,.0f} B each, none twice"),
        ("all tables, compacted, with term filters", stored + filters, f"{sum(rows.values()):,} rows of {len(rows)} tables in {len(listed)} files"),
        ("the same with every raw line kept once besides", stored + filters + beside_it, "not what is built: events are kept as EventData"),
        ("zstd -3 of the NDJSON", packed, ""),
        ("zstd -19 of the NDJSON", best, ""),
    ):  # fmt: skip
        print(f"| {name} | {bytes_:,} | 1/{raw / bytes_:.1f} | {bytes_ / len(lines):.1f} | {note} |", flush=True)


def main() -> int:
    """Prints the tables for bench/README.md."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--as"]:
        if arguments[1] == "udp":
            send_udp(*map(int, arguments[2:5]))
        else:
            send(int(arguments[2]), Path(arguments[3]), int(arguments[4]), int(arguments[5]), float(arguments[6]))
        return 0
    count = int(float(arguments.pop(0))) if arguments and arguments[0][0].isdigit() else 100_000
    wanted = arguments or ["speed", "udp", "latency", "heavy", "size"]
    if not OTRF.exists():
        print("Its data isn't here.")
        return 0
    configure("silent")
    small_pages()  # as the server does
    lines, path = events(count), FOLDER / f"ingest-{count}.ndjson"
    rate = 12_000.0
    if "speed" in wanted:
        print("| what | events/s and core | CPU µs an event | x orjson | note |\n|---|---:|---:|---:|---|")
        rate = speed(lines, path)
    if "udp" in wanted:
        udp()
    if "latency" in wanted:
        latency(lines, path, rate)
    if "heavy" in wanted:
        heavy(lines[: count // 2], path)
    if "size" in wanted:
        print("| what | bytes | of the raw | B an event | note |\n|---|---:|---:|---:|---|")
        size(lines, path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
