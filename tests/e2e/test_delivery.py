"""Real senders deliver 10,000 events each to a real server that is killed in the middle: every event is there, once."""

from __future__ import annotations

import json
import logging
import os
import queue
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.server import Server, until
from tests.ports import free_port

RSYSLOGD = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
OMRELP = any(Path("/usr/lib").glob("*/rsyslog/omrelp.so")) or Path("/usr/lib/rsyslog/omrelp.so").exists()
COUNT = 10_000
pytestmark = [pytest.mark.slow, pytest.mark.system]


class HecHandler(logging.Handler):
    """A `logging` handler as collectors' clients have them: records go out in small bodies, each again until it is answered with 200."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__()
        self._url = f"{url}/services/collector/event"
        self._token = token
        self._records: queue.Queue[bytes | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="hec-handler")
        self._thread.start()
        self.repeated = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Queues a record."""
        event = {"message": record.getMessage(), "level": record.levelname, "logger": record.name}
        self._records.put(
            json.dumps({"time": record.created, "host": "app1", "sourcetype": "_json", "event": event}).encode()
        )

    def close(self) -> None:
        """Sends what is left."""
        self._records.put(None)
        self._thread.join()
        super().close()

    def _run(self) -> None:
        open_ = True
        while open_:
            batch: list[bytes] = []
            while len(batch) < 20:
                record = self._records.get()
                if record is None:
                    open_ = False
                    break
                batch.append(record)
            while batch and not self._sent(b"\n".join(batch)):
                self.repeated += 1
                time.sleep(0.2)

    def _sent(self, body: bytes) -> bool:
        request = urllib.request.Request(self._url, body, {"Authorization": f"Splunk {self._token}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return bool(json.load(answer)["code"] == 0)
        except (OSError, urllib.error.URLError, ValueError):
            return False


def numbers(server: Server, column: str, table: str) -> tuple[int, int, int, int]:
    """(rows, different numbers, least, greatest) of the messages `event N` that the table holds, asked over the API."""
    query = f"{table} | extend N = tolong(extract(@'event (\\d+)', 1, {column})) | where isnotnull(N) | summarize Times = count() by N"
    query += " | summarize Rows = sum(Times), Distinct = count(), Least = min(N), Greatest = max(N)"
    ((rows, distinct, least, greatest),) = server.rows(query)
    return int(rows or 0), int(distinct or 0), -1 if least is None else least, -1 if greatest is None else greatest


def arrived(server: Server, query: str) -> Callable[[], int]:
    """Counts rows with one session."""
    client = server.signed_in()
    return lambda: int(server.rows(f"{query} | count", client)[0][0])


def test_a_logging_handler_through_kill_9(serve: Callable[..., Server]) -> None:
    server = serve(port=free_port()).start()
    handler = HecHandler(server.address, server.token())
    log = logging.getLogger("tests.e2e.delivery")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(handler)

    def work() -> None:
        for number in range(COUNT):
            log.info("event %d", number)
            if number % 20 == 19:
                time.sleep(0.02)

    worker = threading.Thread(target=work)
    try:
        count = arrived(server, "Unparsed_CL")
        worker.start()
        until(lambda: count() > 1000, 60)
        server.kill()
        assert worker.is_alive(), "everything was sent before the kill"
        server.start()
    finally:
        worker.join()
        log.removeHandler(handler)
        handler.close()
    assert handler.repeated > 0
    until(
        lambda: numbers(server, "RawData", "Unparsed_CL")[0] >= COUNT,
        60,
        lambda: numbers(server, "RawData", "Unparsed_CL"),
    )
    assert numbers(server, "RawData", "Unparsed_CL") == (COUNT, COUNT, 0, COUNT - 1)
    assert server.stop() == 0
    server.start()
    assert numbers(server, "RawData", "Unparsed_CL") == (COUNT, COUNT, 0, COUNT - 1)


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Starts an rsyslog that sends what is appended to the file that is given back."""
    running: list[subprocess.Popen[bytes]] = []

    def start(action: str) -> Path:
        source, work = tmp_path / "input.log", tmp_path / "work"
        work.mkdir()
        source.touch()
        config = tmp_path / "rsyslog.conf"
        config.write_text(
            f'global(workDirectory="{work}")\nmodule(load="imfile" PollingInterval="1")\nmodule(load="omrelp")\n'
            f'input(type="imfile" File="{source}" Tag="app:" readMode="0")\n{action}\n'
        )
        running.append(subprocess.Popen([str(RSYSLOGD), "-n", "-f", str(config), "-i", str(tmp_path / "rsyslog.pid")]))
        return source

    yield start
    for process in running:
        process.kill()
        process.wait()


def write(source: Path, first: int, last: int) -> None:
    with source.open("a") as out:
        out.writelines(f"event {n}\n" for n in range(first, last))


@pytest.mark.skipif(
    RSYSLOGD is None or not OMRELP, reason="rsyslog with RELP isn't installed (apt-get install rsyslog rsyslog-relp)"
)
def test_rsyslog_by_relp_through_kill_9(serve: Callable[..., Server], rsyslog: Callable[[str], Path]) -> None:
    relp = free_port()
    server = serve(relp=relp).start()
    source = rsyslog(
        f'action(type="omrelp" target="127.0.0.1" port="{relp}" action.resumeRetryCount="-1" action.resumeInterval="1" '
        'queue.type="LinkedList" queue.size="50000" template="RSYSLOG_SyslogProtocol23Format")'
    )
    write(source, 0, COUNT // 2)
    count = arrived(server, "Syslog")
    until(lambda: count() > 500, 60)
    write(source, COUNT // 2, COUNT)
    server.kill()
    time.sleep(1)
    server.start()
    until(
        lambda: numbers(server, "SyslogMessage", "Syslog")[0] >= COUNT,
        120,
        lambda: numbers(server, "SyslogMessage", "Syslog"),
    )
    time.sleep(2)  # whatever comes twice would come now
    assert numbers(server, "SyslogMessage", "Syslog") == (COUNT, COUNT, 0, COUNT - 1)
    assert server.stop() == 0
    server.start()
    assert numbers(server, "SyslogMessage", "Syslog") == (COUNT, COUNT, 0, COUNT - 1)


@pytest.mark.skipif(RSYSLOGD is None, reason="rsyslog isn't installed (apt-get install rsyslog)")
def test_rsyslog_by_tcp(serve: Callable[..., Server], rsyslog: Callable[[str], Path]) -> None:
    """Plain TCP knows no acknowledgement: without a crash everything is there, and a clean stop keeps it."""
    tcp = free_port()
    server = serve(tcp=tcp).start()
    source = rsyslog(
        f'action(type="omfwd" target="127.0.0.1" port="{tcp}" protocol="tcp" TCP_Framing="octet-counted" action.resumeRetryCount="-1" '
        'queue.type="LinkedList" queue.size="50000")'
    )
    write(source, 0, COUNT)
    until(
        lambda: numbers(server, "SyslogMessage", "Syslog")[0] >= COUNT,
        120,
        lambda: numbers(server, "SyslogMessage", "Syslog"),
    )
    assert server.stop() == 0
    server.start()
    assert numbers(server, "SyslogMessage", "Syslog") == (COUNT, COUNT, 0, COUNT - 1)


def test_sigterm_while_events_come_in_loses_nothing_that_was_acknowledged(serve: Callable[..., Server]) -> None:
    server = serve(port=free_port()).start()
    token = server.token()
    acknowledged: list[int] = []
    stopped = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=server.address, timeout=30, trust_env=False) as client:
            for number in range(1_000_000):
                body = json.dumps({"time": time.time(), "event": {"message": f"event {number}"}})
                try:
                    answer = client.post(
                        "/services/collector/event", content=body, headers={"Authorization": f"Splunk {token}"}
                    )
                except httpx.HTTPError:
                    return
                if answer.status_code != 200:
                    return
                acknowledged.append(number)
        stopped.set()

    sender = threading.Thread(target=send)
    sender.start()
    until(lambda: len(acknowledged) > 200, 60)
    assert server.stop() == 0
    sender.join(30)
    assert "Tocsin has stopped" in server.said()
    server.start()
    rows, distinct, least, greatest = numbers(server, "RawData", "Unparsed_CL")
    # One more may be there: taken, but its answer found nobody any more.
    assert rows == distinct
    assert rows in (len(acknowledged), len(acknowledged) + 1)
    assert (least, greatest) == (0, rows - 1)
