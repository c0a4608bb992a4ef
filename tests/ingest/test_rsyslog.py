"""A real rsyslog delivers by RELP, TCP and UDP; by RELP nothing is lost or doubled when the receiver is killed in the middle."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.intake_support import Rig, until

RSYSLOGD = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
RELP = any(
    Path(p, "omrelp.so").exists()
    for p in ("/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog", "/usr/lib/rsyslog")
)

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(RSYSLOGD is None, reason="rsyslog isn't installed (apt-get install rsyslog rsyslog-relp)"),
]

COUNT = 10_000
SERVER = """
import sys, time
from pathlib import Path
from tests.ingest.intake_support import Rig
from tocsin.ingest.receivers.relp import RelpReceiver
from tocsin.ingest.receivers.syslog import SyslogTcpReceiver, SyslogUdpReceiver
from tocsin.ingest.receivers.tails import SessionTails
from tocsin.lake import LakeSettings
folder, port = Path(sys.argv[1]), int(sys.argv[2])
rig = Rig(folder, settings=LakeSettings(roll_seconds=0.5))
tails = SessionTails(folder / "intake" / "relp.msgpack")
rig.intake.memories.append(tails)
rig.start()
RelpReceiver(rig.intake, port=port, tails=tails).start()
SyslogTcpReceiver(rig.intake, port=port + 1).start()
SyslogUdpReceiver(rig.intake, port=port + 1).start()
print("ready", flush=True)
while True:
    time.sleep(0.05)
    print(sum(len(rig.rows(t)) for t in ("Syslog",)), flush=True)
"""


def free_port() -> int:
    while True:
        with socket.socket() as a, socket.socket() as b:
            a.bind(("127.0.0.1", 0))
            try:
                b.bind(("127.0.0.1", a.getsockname()[1] + 1))
            except OSError:
                continue
            return int(a.getsockname()[1])


class Server:
    """The receivers in a process of their own."""

    def __init__(self, folder: Path, port: int) -> None:
        root = str(Path(__file__).resolve().parents[2])
        self.output = (folder.parent / "server.out").open("a+b")
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(folder), str(port)],
            stdout=self.output,
            stderr=self.output,
            cwd=root,
            env={**os.environ, "PYTHONPATH": f"{root}/src{os.pathsep}{root}"},
        )

    def text(self) -> str:
        return Path(self.output.name).read_text(errors="replace")

    def seen(self) -> int:
        text = self.text()
        numbers = [line for line in text.splitlines() if line.isdigit()]
        return int(numbers[-1]) if numbers else 0

    def stop(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait()
        self.output.close()


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[object]:
    running: list[subprocess.Popen[bytes]] = []

    def start(action: str, *modules: str) -> Path:
        source, work = tmp_path / "input.log", tmp_path / "work"
        work.mkdir()
        config = tmp_path / "rsyslog.conf"
        config.write_text(
            f'global(workDirectory="{work}")\nmodule(load="imfile" PollingInterval="1")\n'
            + "".join(f'module(load="{m}")\n' for m in modules)
            + f'input(type="imfile" File="{source}" Tag="app:" readMode="0")\n{action}\n'
        )
        source.touch()
        running.append(subprocess.Popen([str(RSYSLOGD), "-n", "-f", str(config), "-i", str(tmp_path / "rsyslog.pid")]))
        return source

    yield start
    for process in running:
        # It would wait for the server to come back.
        process.kill()
        process.wait()


def write(source: Path, first: int, last: int) -> None:
    with source.open("a") as out:
        out.writelines(f"message {n}\n" for n in range(first, last))


def delivered(folder: Path) -> list[int]:
    rig = Rig(folder).start()
    try:
        rig.lake.roll()
        # rsyslog also forwards what it has to say of itself.
        texts = [re.fullmatch(r"\s*message (\d+)", r["SyslogMessage"]) for r in rig.rows("Syslog")]
        return sorted(int(m[1]) for m in texts if m)
    finally:
        rig.close()


@pytest.mark.skipif(not RELP, reason="rsyslog-relp isn't installed")
def test_relp_through_kill_9(tmp_path: Path, rsyslog) -> None:  # type: ignore[no-untyped-def]
    port = free_port()
    server = Server(tmp_path / "data", port)
    # While it can't connect at all, rsyslog's omrelp puts its first message twice on its own list.
    until(lambda: "ready" in server.text(), 60)
    source = rsyslog(
        f'action(type="omrelp" target="127.0.0.1" port="{port}" action.resumeRetryCount="-1" action.resumeInterval="1" '
        'queue.type="LinkedList" queue.size="50000" template="RSYSLOG_SyslogProtocol23Format")',
        "omrelp",
    )
    write(source, 0, COUNT // 2)
    until(lambda: server.seen() > 500, 60)
    write(source, COUNT // 2, COUNT)
    until(lambda: server.seen() > COUNT // 2, 60, lambda: f"{server.seen()}")
    server.stop()
    time.sleep(1.5)
    server = Server(tmp_path / "data", port)
    until(lambda: server.seen() >= COUNT, 90, lambda: f"{server.seen()} of {COUNT}")
    time.sleep(1)
    server.stop()
    assert delivered(tmp_path / "data") == list(range(COUNT))


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("framing", ["traditional", "octet-counted"])
def test_tcp_and_udp(tmp_path: Path, rsyslog, protocol: str, framing: str) -> None:  # type: ignore[no-untyped-def]
    if protocol == "udp" and framing == "octet-counted":
        pytest.skip("datagrams need no framing")
    port = free_port()
    server = Server(tmp_path / "data", port)
    until(lambda: "ready" in server.text(), 60)
    source = rsyslog(
        f'action(type="omfwd" target="127.0.0.1" port="{port + 1}" protocol="{protocol}" TCP_Framing="{framing}" action.resumeRetryCount="-1" '
        'queue.type="LinkedList" queue.size="50000")'
    )
    write(source, 0, COUNT)
    until(lambda: server.seen() >= COUNT, 60, lambda: f"{server.seen()} of {COUNT}")
    server.stop()
    assert delivered(tmp_path / "data") == list(range(COUNT))
