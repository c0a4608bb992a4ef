"""Numbered events by every protocol while the server is killed: what was acknowledged is there, and how often.

    python -m tests.e2e.soak --events 100000 --kills 20 --out docs/reference/delivery.md

Each sender repeats what wasn't acknowledged until it is, as shippers do. The run has as many stretches as kills; in each of them every
sender goes on, and the kill comes at a random moment of it. Now and then a second one meets the server while it starts. The server rolls every
two seconds and merges files early, so that kills meet these too.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.server import Server
from tests.e2e.soak_clients import Bucket, Clients, Topic
from tests.e2e.soak_model import Gate, Promise, Sender
from tests.e2e.soak_shippers import Shippers
from tests.ingest.shipper_support import Certificates
from tests.ports import free_port

PORTS = ("http", "fluent", "beats", "gelf", "relp", "tls", "tcp", "wef")
COUNTED = """union isfuzzy=true
    (Unparsed_CL | extend d = parse_json(RawData) | project p = tostring(d.p), n = tolong(d.n), message = tostring(d.message)
     | extend p = iff(isempty(p), tostring(split(message, ' ')[0]), p), n = iff(isnull(n), tolong(split(message, ' ')[1]), n)
     | project p, n),
    (Soak_CL | project p, n),
    (WindowsEvent | where Channel == 'Soak' | project p = tostring(EventData.p), n = tolong(EventData.n)),
    (Syslog | where SyslogMessage has 'soak' | project p = ProcessName, n = tolong(extract(@'soak (\\d+)', 1, SyslogMessage)))
| where isnotempty(p) and isnotnull(n) | summarize c = count() by p, n | summarize sum(c), count() by p"""


@dataclass
class Figures:
    """What became of one protocol's events."""

    sender: Sender
    present: int
    rows: int

    @property
    def missing(self) -> int:
        """Taken by the server, or by a shipper that keeps what isn't taken, and not there."""
        return max(0, self.sender.acknowledged - self.present)

    @property
    def doubled(self) -> int:
        """Rows beyond the first of an event."""
        return self.rows - self.present

    @property
    def broken(self) -> bool:
        """Whether the protocol's promise wasn't kept."""
        return bool((self.sender.promise.told and self.missing) or (self.sender.promise.once and self.doubled))


class Soak:
    """Senders, a server, and what kills it."""

    def __init__(self, folder: Path, events: int, kills: int, *, only: Sequence[str] = (), seed: int = 1) -> None:
        self.events = events
        self.kills = kills
        self.killed = 0
        self.random = random.Random(seed)
        self.folder = folder
        self.ports = {name: free_port() for name in PORTS}
        self.only = only
        self.gate = Gate()
        self.senders: list[Sender] = []
        self.certificates = Certificates(folder / "tls")
        self.topic = Topic() if self._wanted("kafka") else None
        self.bucket = Bucket() if self._wanted("s3") else None
        self.shippers: Shippers | None = None
        self.server = Server(
            folder / "data",
            "--config",
            str(self._config()),
            port=self.ports["http"],
            relp=self.ports["relp"],
            tcp=self.ports["tcp"],
        )

    def _wanted(self, name: str) -> bool:
        return not self.only or name in self.only

    def _config(self) -> Path:
        text = f"""
[lake]
roll_seconds = 2.0
compact_files = 4
[ingest.fluent]
port = {self.ports["fluent"]}
[ingest.beats]
port = {self.ports["beats"]}
[ingest.gelf]
tcp_port = {self.ports["gelf"]}
[ingest.tls]
certificate = "{self.certificates.cert}"
key = "{self.certificates.key}"
syslog_port = {self.ports["tls"]}
[ingest.wef]
port = {self.ports["wef"]}
client_ca = "{self.certificates.ca}"
"""
        if self.topic is not None:
            text += f'[ingest.kafka]\nbrokers = "{self.topic.brokers}"\ntopics = ["soak"]\n'
            text += '[ingest.kafka.options]\n"session.timeout.ms" = "6000"\n'
        if self.bucket is not None:
            text += f'[ingest.s3]\nbucket = "soak"\nendpoint = "{self.bucket.url}"\nregion = "us-east-1"\naccess_key = "a"\n'
            text += 'secret_key = "b"\npoll_seconds = 0.5\n'
        path = self.folder / "tocsin.toml"
        path.write_text(text)
        return path

    # ---------------------------------------------------------------------------------------------- run

    def run(self) -> list[Figures]:
        """Sends everything through all kills; gives the figures."""
        self.server.start()
        try:
            self._begin()
            stretch = 0
            while self.killed < self.kills:
                stretch += 1
                share = stretch / (self.kills + 1)
                before = self._progress()
                self.gate.open(share)
                whole = self.events * len(self.senders)
                aim = before + (whole * share - before) * self.random.uniform(0.1, 0.8)
                self._wait(lambda aim=aim: self._progress() >= aim, 20)  # type: ignore[misc]
                self._kill()
            self.gate.open(2.0)
            for sender in self.senders:
                assert sender.thread is not None
                sender.thread.join(3600)
            return self._count()
        finally:
            if self.shippers is not None:
                self.shippers.close()
            if self.bucket is not None:
                self.bucket.close()
            self.server.close()

    def _kill(self) -> None:
        time.sleep(self.random.uniform(0, 0.3))
        self.server.kill()
        self.killed += 1
        while self.killed < self.kills and self.random.random() < 0.2:
            # Once more, while it reads what the first has left.
            self.server.launch()
            time.sleep(self.random.uniform(0.5, 4))
            self.server.kill()
            self.killed += 1
        self.server.start()
        print(f"{self.killed} kills, {self._progress():,} events", file=sys.stderr, flush=True)

    def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end and self._alive():
            time.sleep(0.02)

    def _progress(self) -> int:
        return sum(s.acknowledged for s in self.senders)

    def _alive(self) -> bool:
        return any(s.thread is not None and s.thread.is_alive() for s in self.senders)

    def state(self) -> str:
        """How far everybody is."""
        return ", ".join(f"{s.name} {s.acknowledged}/{s.total} {s.failed}" for s in self.senders)

    def _count(self) -> list[Figures]:
        """Asks the server, once everything that is to come has come: all of it, or nothing more for a minute."""
        client = self.server.signed_in()
        found: dict[str, tuple[int, int]] = {}
        changed = time.monotonic()
        while True:
            rows = {p: (int(total), int(count)) for p, total, count in self.server.rows(COUNTED, client)}
            if rows != found:
                found, changed = rows, time.monotonic()
            quiet = time.monotonic() - changed
            short = [s for s in self.senders if found.get(s.name, (0, 0))[1] < s.acknowledged]
            if quiet > (60 if any(s.promise.told for s in short) else 15 if short else 2):
                break
            time.sleep(1)
        return [Figures(s, found.get(s.name, (0, 0))[1], found.get(s.name, (0, 0))[0]) for s in self.senders]

    # ---------------------------------------------------------------------------------------------- senders

    def _begin(self) -> None:
        token = self.server.token()
        clients = Clients(f"http://127.0.0.1:{self.ports['http']}", self.ports, token)
        self.shippers = Shippers(self.folder / "shippers", self.certificates, self.ports, token)
        told, unnamed = Promise(), Promise(once=False)
        every = [
            ("hec", "HTTP, bodies of 50 events with `time`", told, clients.hec),
            ("elastic", "`elasticsearch` client, documents with `_id`", told, clients.elastic),
            ("azure", "`azure-monitor-ingestion`, a request id", told, clients.azure),
            ("otlp", "HTTP, protobuf", told, clients.otlp),
            ("loki", "HTTP, JSON", told, clients.loki),
            ("gelf", "HTTP, bodies of 50 messages with `timestamp`", told, clients.gelf),
            ("fluent", "forward protocol, chunks with acknowledgement", told, clients.fluent),
            ("beats", "`pylogbeat`, windows of 50", unnamed, clients.beats),
            ("wef", "Windows event forwarding over TLS, batches of 50", told, clients.wef),
            *self.shippers.offers(),
        ]
        if self.topic is not None:
            every.append(("kafka", "consumer group, librdkafka's mock broker", told, self.topic.send))
        if self.bucket is not None:
            every.append(("s3", "objects by listing, moto", told, self.bucket.send))
        shippers = {name for name, *_ in self.shippers.offers()}
        for name, how, promise, work in every:
            if not self._wanted(name):
                continue
            sender = Sender(name, how, promise, work, self.events, self.gate)
            sender.repeats = None if name in shippers | {"kafka", "s3"} else 0
            self.senders.append(sender)
            sender.thread = threading.Thread(target=guarded, args=(sender,), name=f"soak-{name}", daemon=True)
            sender.thread.start()


def guarded(sender: Sender) -> None:
    """Works, and notes what ended it."""
    try:
        sender.work(sender)
    except BaseException as error:
        sender.failed = f"{type(error).__name__}: {error}"
        if os.environ.get("SOAK_TRACE"):
            raise


def commits(tables: Path) -> tuple[int, int]:
    """How often the run's rows were written to files, and how often files were merged."""
    rolls = merges = 0
    for path in tables.glob("*/_delta_log/*.json"):
        text = path.read_text()
        merges += '{"remove":' in text
        rolls += '{"add":' in text and '{"remove":' not in text
    return rolls, merges


def report(figures: Sequence[Figures], soak: Soak, command: str, seconds: float) -> str:
    """The page for the reference, as far as it is figures."""
    rolls, merges = commits(soak.server.data / "lake" / "tables")
    lines = [
        "# Delivery",
        "",
        "What becomes of events when the server is killed (SIGKILL) at random moments while they come in, rolls to files and merges of files",
        f"included, some of them while it starts again. Each sender repeats what wasn't acknowledged. Measured with `{command}`:",
        f"{sum(f.sender.total for f in figures):,} events, {soak.killed} kills, {rolls} rolls to files, {merges} merges of files, {seconds:,.0f} s.",
        "",
        "*Lost*: acknowledged and not there. *Doubled*: rows beyond the first of an event; 0 is promised where the protocol has something that names",
        "a request or an event, elsewhere it is what happened.",
        "",
        "| by | sender | events | there | lost | doubled | promised | repeated requests |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for f in figures:
        s = f.sender
        lost = f"{f.missing:,}" if s.promise.told else f"{f.missing:,} on their way"
        promised = "once" if s.promise.told and s.promise.once else "at least once" if s.promise.told else "nothing"
        repeats = "–" if s.repeats is None else f"{s.repeats:,}"
        lines.append(
            f"| {s.name} | {s.how} | {s.total:,} | {f.present:,} | {lost} | {f.doubled:,} | {promised} | {repeats} |"
        )
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; exit code 1 when something acknowledged is lost, or doubled where it mustn't be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="events by each protocol")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", type=Path, help="a folder for data and logs, instead of one that is deleted")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tocsin-soak-") as made:
        folder = given.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        soak = Soak(folder, given.events, given.kills, only=given.only, seed=given.seed)
        start = time.monotonic()
        figures = soak.run()
        command = f"python -m tests.e2e.soak --events {given.events} --kills {given.kills} --seed {given.seed}"
        text = report(figures, soak, command, time.monotonic() - start)
        failures = [s.name + " " + s.failed for s in soak.senders if s.failed]
    print(text)
    if failures:
        print("failed:", failures)
    bad = [f for f in figures if f.broken]
    if given.out is not None and not failures:
        # What is written by hand begins with the line below the table.
        old = given.out.read_text() if given.out.exists() else ""
        below = old.find("\n\n", old.rfind("\n| ", 0, old.find("\n## "))) if "\n| " in old else -1
        given.out.write_text(text + old[below + 1 :] if below >= 0 else text)
    return 1 if bad or failures else 0


if __name__ == "__main__":
    sys.exit(main())
