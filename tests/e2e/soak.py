"""Numbered events by every protocol while the server is killed: what was acknowledged is there, and how often.

    python -m tests.e2e.soak --events 100000 --kills 20 --out docs/reference/delivery.md

Each sender repeats what wasn't acknowledged until it is, as shippers do. rsyslog sends by RELP and by TLS when it is installed; Kafka is
librdkafka's mock broker, S3 is moto. The rest are the official clients where they can be told to repeat the same request, else the same bytes
by hand.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgpack

from tests.e2e.server import Server, free_port, until

RSYSLOGD = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
EPOCH = 1_714_557_600


@dataclass
class Sender:
    """One protocol's progress."""

    name: str
    how: str
    once: bool
    total: int
    acknowledged: int = 0
    repeats: int = 0
    failed: str = ""
    thread: threading.Thread | None = field(default=None, repr=False)


@dataclass
class Figures:
    """What became of one protocol's events."""

    sender: Sender
    present: int
    rows: int

    @property
    def lost(self) -> int:
        """Acknowledged and not there."""
        return max(0, self.sender.acknowledged - self.present)

    @property
    def doubled(self) -> int:
        """Rows beyond the first of an event."""
        return self.rows - self.present


class Soak:
    """Senders, a server, and what kills it."""

    def __init__(self, folder: Path, events: int, kills: int, *, only: Sequence[str] = (), seed: int = 1) -> None:
        self.events = events
        self.kills = kills
        self.random = random.Random(seed)
        self.folder = folder
        self.ports = {name: free_port() for name in ("http", "fluent", "beats", "relp", "tls", "tcp")}
        self.only = only
        self.senders: list[Sender] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.closing: list[Callable[[], None]] = []
        self.kafka = self._mock_kafka() if self._wanted("kafka") else ""
        self.s3 = self._mock_s3() if self._wanted("s3") else ""
        self.server = Server(
            folder / "data",
            "--config",
            str(self._config()),
            port=self.ports["http"],
            relp=self.ports["relp"],
            tcp=self.ports["tcp"],
        )
        self.url = f"http://127.0.0.1:{self.ports['http']}"
        self.token = ""

    def _wanted(self, name: str) -> bool:
        return not self.only or name in self.only

    def _config(self) -> Path:
        from tests.ingest.shipper_support import Certificates

        self.certificates = Certificates(self.folder / "tls")
        text = f"""
[lake]
roll_seconds = 2.0
[ingest.fluent]
port = {self.ports["fluent"]}
[ingest.beats]
port = {self.ports["beats"]}
[ingest.tls]
certificate = "{self.certificates.cert}"
key = "{self.certificates.key}"
syslog_port = {self.ports["tls"]}
"""
        if self.kafka:
            text += f'[ingest.kafka]\nbrokers = "{self.kafka}"\ntopics = ["soak"]\n'
            text += '[ingest.kafka.options]\n"session.timeout.ms" = "6000"\n'
        if self.s3:
            text += f'[ingest.s3]\nbucket = "soak"\nendpoint = "{self.s3}"\nregion = "us-east-1"\naccess_key = "a"\n'
            text += 'secret_key = "b"\npoll_seconds = 0.5\n'
        path = self.folder / "tocsin.toml"
        path.write_text(text)
        return path

    # ---------------------------------------------------------------------------------------------- run

    def run(self) -> list[Figures]:
        """Sends everything through all kills; gives the figures."""
        self.server.start()
        self.token = self.server.token()
        try:
            self._send_all()
            at = sorted(self.random.uniform(0.05, 0.95) for _ in range(self.kills))
            whole = self.events * len(self.senders)
            for share in at:
                until(lambda share=share: self._done() or self._progress() >= whole * share, 3600, self.state)  # type: ignore[misc]
                time.sleep(self.random.uniform(0, 0.3))
                self.server.kill()
                self.server.start()
            for sender in self.senders:
                assert sender.thread is not None
                sender.thread.join(3600)
            return self._count()
        finally:
            for process in self.processes:
                process.kill()
                process.wait()
            for close in self.closing:
                close()
            self.server.close()

    def _progress(self) -> int:
        return sum(s.acknowledged for s in self.senders)

    def _done(self) -> bool:
        return all(s.thread is not None and not s.thread.is_alive() for s in self.senders)

    def state(self) -> str:
        """How far everybody is."""
        return ", ".join(f"{s.name} {s.acknowledged}/{s.total} {s.failed}" for s in self.senders)

    def _count(self) -> list[Figures]:
        """Asks the server, once everything it took is visible."""
        union = (
            "union (Unparsed_CL | extend d = parse_json(RawData) | project p = tostring(d.p), n = tolong(d.n)), (Soak_CL | project p, n), "
            "(Syslog | where SyslogMessage startswith 'soak ' | project p = ProcessName, n = tolong(split(trim(' ', SyslogMessage), ' ')[1]))"
        )
        query = f"{union} | where isnotempty(p) | summarize c = count() by p, n | summarize sum(c), count() by p"
        client = self.server.signed_in()
        if not any(s.name == "azure" and s.acknowledged for s in self.senders):
            query = query.replace("(Soak_CL | project p, n), ", "")
        deadline = time.monotonic() + 60
        found: dict[str, tuple[int, int]] = {}
        while time.monotonic() < deadline:
            rows = {p: (int(total), int(count)) for p, total, count in self.server.rows(query, client)}
            if rows == found and all(rows.get(s.name, (0, 0))[1] >= s.acknowledged or not s.once for s in self.senders):
                break
            found = rows
            time.sleep(1)
        return [Figures(s, found.get(s.name, (0, 0))[1], found.get(s.name, (0, 0))[0]) for s in self.senders]

    # ---------------------------------------------------------------------------------------------- senders

    def _send_all(self) -> None:
        every: list[tuple[str, str, bool, Callable[[Sender], None]]] = [
            ("hec", "HTTP, bodies of 50 events with `time`", True, self._hec),
            ("elastic", "`elasticsearch` client, documents with `_id`", True, self._elastic),
            ("azure", "`azure-monitor-ingestion`, a request id", True, self._azure),
            ("otlp", "HTTP, protobuf", True, self._otlp),
            ("loki", "HTTP, JSON", True, self._loki),
            ("fluent", "forward protocol, chunks with acknowledgement", True, self._fluent),
            ("beats", "lumberjack, windows of 50", False, self._beats),
        ]
        if RSYSLOGD is not None:
            if any(Path("/usr/lib").glob("*/rsyslog/omrelp.so")):
                every.append(("relp", "rsyslog, omrelp", True, self._relp))
            if any(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so")):
                every.append(("tls", "rsyslog, omfwd over TLS (no acknowledgement)", False, self._tls))
        if self.kafka:
            every.append(("kafka", "consumer group, librdkafka's mock broker", True, self._kafka))
        if self.s3:
            every.append(("s3", "objects by listing, moto", True, self._s3))
        for name, how, once, work in every:
            if not self._wanted(name):
                continue
            sender = Sender(name, how, once, self.events)
            self.senders.append(sender)

            def guarded(sender: Sender = sender, work: Callable[[Sender], None] = work) -> None:
                try:
                    work(sender)
                except BaseException as error:
                    sender.failed = f"{type(error).__name__}: {error}"
                    if os.environ.get("SOAK_TRACE"):
                        raise

            sender.thread = threading.Thread(target=guarded, name=f"soak-{name}", daemon=True)
            sender.thread.start()

    def _batches(self, sender: Sender, size: int = 50) -> Any:
        for first in range(0, self.events, size):
            yield [{"p": sender.name, "n": n} for n in range(first, min(first + size, self.events))]

    def _post(self, sender: Sender, path: str, body: bytes, count: int, **headers: str) -> None:
        """Sends the same bytes until they are taken."""
        while True:
            try:
                with httpx.Client(timeout=10, trust_env=False) as client:
                    answer = client.post(self.url + path, content=body, headers=headers)
                if answer.status_code < 300:
                    sender.acknowledged += count
                    return
                if answer.status_code not in (429, 503):
                    raise RuntimeError(f"{answer.status_code} {answer.text[:200]}")
            except httpx.HTTPError:
                pass
            sender.repeats += 1
            time.sleep(0.1)

    def _hec(self, sender: Sender) -> None:
        for batch in self._batches(sender):
            body = "".join(json.dumps({"time": EPOCH + e["n"] / 1000, "event": e}) for e in batch).encode()
            self._post(sender, "/services/collector/event", body, len(batch), Authorization=f"Splunk {self.token}")

    def _otlp(self, sender: Sender) -> None:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        for batch in self._batches(sender):
            request = ExportLogsServiceRequest()
            records = request.resource_logs.add().scope_logs.add().log_records
            for event in batch:
                record = records.add(time_unix_nano=(EPOCH * 1000 + event["n"]) * 1_000_000)
                record.body.kvlist_value.values.add(key="p").value.string_value = event["p"]
                record.body.kvlist_value.values.add(key="n").value.int_value = event["n"]
            headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {self.token}"}
            self._post(sender, "/v1/logs", request.SerializeToString(), len(batch), **headers)

    def _loki(self, sender: Sender) -> None:
        for batch in self._batches(sender):
            values = [[str((EPOCH * 1000 + e["n"]) * 1_000_000), json.dumps(e)] for e in batch]
            body = json.dumps({"streams": [{"stream": {"job": "soak"}, "values": values}]}).encode()
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
            self._post(sender, "/loki/api/v1/push", body, len(batch), **headers)

    def _elastic(self, sender: Sender) -> None:
        from elasticsearch import Elasticsearch, helpers

        client = Elasticsearch(
            self.url, api_key=("id", self.token), request_timeout=10, max_retries=0, retry_on_timeout=False
        )
        for batch in self._batches(sender):
            actions = [{"_op_type": "create", "_index": "soak", "_id": str(e["n"]), "_source": e} for e in batch]
            while True:
                try:
                    done, _ = helpers.bulk(client, actions)
                    sender.acknowledged += done
                    break
                except Exception:
                    sender.repeats += 1
                    time.sleep(0.1)
        client.close()

    def _azure(self, sender: Sender) -> None:
        from azure.core.credentials import AzureKeyCredential
        from azure.core.exceptions import AzureError
        from azure.core.pipeline.policies import AzureKeyCredentialPolicy
        from azure.monitor.ingestion import LogsIngestionClient

        logging.getLogger("azure").setLevel(logging.CRITICAL)
        # The SDK's own policy sends a token by HTTPS only; this one takes what the test has.
        credential: Any = AzureKeyCredential(self.token)
        policy = AzureKeyCredentialPolicy(credential, "Authorization", prefix="Bearer")
        with LogsIngestionClient(self.url, credential, authentication_policy=policy, retry_total=0) as client:
            for number, batch in enumerate(self._batches(sender)):
                while True:
                    try:
                        client.upload("dcr-soak", "Custom-Soak_CL", batch, request_id=f"soak-{number}")
                        break
                    except AzureError:
                        sender.repeats += 1
                        time.sleep(0.1)
                sender.acknowledged += len(batch)

    def _fluent(self, sender: Sender) -> None:
        sock: socket.socket | None = None
        for number, batch in enumerate(self._batches(sender)):
            message = msgpack.packb(["soak", [[EPOCH, e] for e in batch], {"chunk": f"chunk {number}"}])
            while True:
                try:
                    if sock is None:
                        sock = socket.create_connection(("127.0.0.1", self.ports["fluent"]), 5)
                        sock.settimeout(10)
                    sock.sendall(message)
                    answer = sock.recv(1000)
                    if answer and msgpack.unpackb(answer)["ack"] == f"chunk {number}":
                        break
                    raise ConnectionResetError
                except OSError:
                    if sock is not None:
                        sock.close()
                    sock = None
                    sender.repeats += 1
                    time.sleep(0.1)
            sender.acknowledged += len(batch)
        if sock is not None:
            sock.close()

    def _beats(self, sender: Sender) -> None:
        sock: socket.socket | None = None
        for batch in self._batches(sender):
            frames = b"".join(
                b"2J" + struct.pack("!II", i + 1, len(data)) + data
                for i, data in enumerate(
                    json.dumps({"@timestamp": "2024-05-01T10:00:00Z", **e}).encode() for e in batch
                )
            )
            packed = zlib.compress(frames)
            message = b"2W" + struct.pack("!I", len(batch)) + b"2C" + struct.pack("!I", len(packed)) + packed
            while True:
                try:
                    if sock is None:
                        sock = socket.create_connection(("127.0.0.1", self.ports["beats"]), 5)
                        sock.settimeout(10)
                    sock.sendall(message)
                    while (answer := sock.recv(6, socket.MSG_WAITALL)) == b"2A\0\0\0\0":
                        pass
                    if answer == b"2A" + struct.pack("!I", len(batch)):
                        break
                    raise ConnectionResetError
                except OSError:
                    if sock is not None:
                        sock.close()
                    sock = None
                    sender.repeats += 1
                    time.sleep(0.1)
            sender.acknowledged += len(batch)
        if sock is not None:
            sock.close()

    def _rsyslog(self, sender: Sender, action: str, modules: str = "") -> None:
        folder = self.folder / f"rsyslog-{sender.name}"
        folder.mkdir()
        source = folder / "input.log"
        source.write_text("")
        config = folder / "rsyslog.conf"
        config.write_text(
            f'global(workDirectory="{folder}" DefaultNetstreamDriverCAFile="{self.certificates.ca}")\n{modules}'
            f'module(load="imfile" PollingInterval="1")\ninput(type="imfile" File="{source}" Tag="{sender.name}:")\n'
            f'{action} action.resumeRetryCount="-1" action.resumeInterval="1" queue.type="LinkedList" queue.size="2000000")\n'
        )
        with (folder / "out").open("wb") as out:
            self.processes.append(
                subprocess.Popen(
                    [str(RSYSLOGD), "-n", "-f", str(config), "-i", str(folder / "pid")], stdout=out, stderr=out
                )
            )
        for batch in self._batches(sender, 500):
            with source.open("a") as file:
                file.writelines(f"soak {e['n']}\n" for e in batch)
            time.sleep(0.02)
        query = f"Syslog | where ProcessName == '{sender.name}' and SyslogMessage contains 'soak ' | distinct SyslogMessage | count"
        quiet = 0
        while quiet < 20 and sender.acknowledged < self.events:
            # Nothing tells what rsyslog had acknowledged but what arrives.
            try:
                rows = int(self.server.rows(query)[0][0])
            except Exception:
                time.sleep(0.5)
                continue
            quiet = 0 if rows > sender.acknowledged else quiet + 1
            sender.acknowledged = rows
            time.sleep(0.5)
        if sender.once:
            sender.acknowledged = self.events

    def _relp(self, sender: Sender) -> None:
        action = f'action(type="omrelp" target="127.0.0.1" port="{self.ports["relp"]}" template="RSYSLOG_SyslogProtocol23Format"'
        self._rsyslog(sender, action, 'module(load="omrelp")\n')

    def _tls(self, sender: Sender) -> None:
        self._rsyslog(
            sender,
            f'action(type="omfwd" target="localhost" port="{self.ports["tls"]}" protocol="tcp" StreamDriver="gtls" StreamDriverMode="1" '
            'StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost" template="RSYSLOG_SyslogProtocol23Format"',
        )

    def _mock_kafka(self) -> str:
        from confluent_kafka import Producer

        self._producer = Producer(
            {"test.mock.num.brokers": 1, "queue.buffering.max.messages": 2_000_000}, logger=logging.getLogger("mock")
        )
        self._producer.list_topics("soak", timeout=10)
        return ",".join(f"{b.host}:{b.port}" for b in self._producer.list_topics(timeout=10).brokers.values())

    def _kafka(self, sender: Sender) -> None:
        for batch in self._batches(sender, 500):
            for event in batch:
                self._producer.produce("soak", json.dumps(event).encode(), key=str(event["n"]).encode())
            self._producer.flush()
            sender.acknowledged += len(batch)

    def _mock_s3(self) -> str:
        import boto3
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        moto = ThreadedMotoServer("127.0.0.1", 0)
        moto.start()
        self.closing.append(moto.stop)
        host, port = moto.get_host_and_port()
        url = f"http://{host}:{port}"
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        self._bucket = boto3.client("s3", endpoint_url=url, **keys)
        self._bucket.create_bucket(Bucket="soak")
        return url

    def _s3(self, sender: Sender) -> None:
        for number, batch in enumerate(self._batches(sender, max(100, self.events // 50))):
            body = b"".join(json.dumps(e).encode() + b"\n" for e in batch)
            self._bucket.put_object(Bucket="soak", Key=f"logs/{number:06}.json", Body=body)
            sender.acknowledged += len(batch)


def report(figures: Sequence[Figures], kills: int, command: str, seconds: float) -> str:
    """The page for the reference."""
    lines = [
        "# Delivery",
        "",
        "What becomes of events when the server is killed (SIGKILL) at random moments while they come in, rolls to files included. Each",
        f"sender repeats what wasn't acknowledged. Measured with `{command}`: {kills} kills in {seconds:,.0f} s.",
        "*Lost*: acknowledged and not there. *Doubled*: rows beyond the first of an event; 0 is promised where the protocol has something that names",
        "a request or an event.",
        "",
        "| by | sender | events | acknowledged | there | lost | doubled | repeated requests |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for f in figures:
        s = f.sender
        lines.append(
            f"| {s.name} | {s.how} | {s.total:,} | {s.acknowledged:,} | {f.present:,} | {f.lost:,} | {f.doubled:,} | {s.repeats:,} |"
        )
    lines += [
        "",
        "Kafka and S3 have no acknowledgement of their own towards the producer: *acknowledged* is what the broker or the bucket held, and all of",
        "it must arrive. The same holds for rsyslog by RELP, which keeps what isn't acknowledged. Syslog over TLS has no acknowledgement: what was",
        "on its way when the server died is lost, and *acknowledged* is what arrived.",
        "",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; exit code 1 when something acknowledged is lost, or doubled where it mustn't be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="events by each protocol")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), given.events, given.kills, only=given.only, seed=given.seed)
        start = time.monotonic()
        figures = soak.run()
        command = f"python -m tests.e2e.soak --events {given.events} --kills {given.kills} --seed {given.seed}"
        text = report(figures, given.kills, command, time.monotonic() - start)
        failures = [s.name + " " + s.failed for s in soak.senders if s.failed]
    print(text)
    if failures:
        print("failed:", failures)
    if given.out is not None and not failures:
        # What is written by hand begins with the first heading below the figures.
        old = given.out.read_text() if given.out.exists() else ""
        below = old.find("\n## ")
        given.out.write_text(text + old[below:] if below >= 0 else text)
    bad = [f for f in figures if f.lost or (f.sender.once and f.doubled)]
    return 1 if bad or failures else 0


if __name__ == "__main__":
    sys.exit(main())
