"""A real rsyslog delivers by RELP, TCP and UDP; by RELP nothing is lost or doubled when the receiver is killed in the middle."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.intake_support import Rig, until
from tests.ports import free_port

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
folder, port = Path(sys.argv[1]), int(sys.argv[2])  # RELP's port; 0: a free one
rig = Rig(folder, settings=LakeSettings(roll_seconds=0.5))
tails = SessionTails(folder / "intake" / "relp.msgpack")
rig.intake.memories.append(tails)
rig.start()
receivers = [
    RelpReceiver(rig.intake, port=port, tails=tails), SyslogTcpReceiver(rig.intake, port=0), SyslogUdpReceiver(rig.intake, port=0),
]
print("ready", *(r.start()[1] for r in receivers), flush=True)
while True:
    time.sleep(0.1)
    # rsyslog also forwards what it has to say of itself.
    print(sum(r["SyslogMessage"].strip().startswith("message ") for r in rig.rows("Syslog")), flush=True)
"""


class Server:
    """The receivers in a process of their own, at ports that they choose; RELP's may be one that another had."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        root = str(Path(__file__).resolve().parents[2])
        self.output = (folder.parent / "server.out").open("a+b")
        self.begin = self.output.seek(0, os.SEEK_END)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(folder), str(port)],
            stdout=self.output,
            stderr=self.output,
            cwd=root,
            env={**os.environ, "PYTHONPATH": f"{root}/src{os.pathsep}{root}"},
        )
        until(lambda: self.ports() is not None, 90, self.text)
        self.relp, self.tcp, self.udp = self.ports() or (0, 0, 0)

    def ports(self) -> tuple[int, int, int] | None:
        """Where it listens, once it does."""
        found = re.findall(r"^ready (\d+) (\d+) (\d+)$", self.text()[self.begin :], re.MULTILINE)
        return (int(found[0][0]), int(found[0][1]), int(found[0][2])) if found else None

    def text(self) -> str:
        return Path(self.output.name).read_text(errors="replace")

    def seen(self) -> int:
        text = self.text()[self.begin :]
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
    # It listens already: while it can't connect at all, rsyslog's omrelp puts its first message twice on its own list.
    server = Server(tmp_path / "data", free_port())
    source = rsyslog(
        f'action(type="omrelp" target="127.0.0.1" port="{server.relp}" action.resumeRetryCount="-1" action.resumeInterval="1" '
        'queue.type="LinkedList" queue.size="50000" template="RSYSLOG_SyslogProtocol23Format")',
        "omrelp",
    )
    write(source, 0, COUNT // 2)
    until(lambda: server.seen() > 500, 60)
    write(source, COUNT // 2, COUNT)
    until(lambda: server.seen() > COUNT // 2, 60, lambda: f"{server.seen()}")
    server.stop()
    server = Server(tmp_path / "data", server.relp)
    until(lambda: server.seen() >= COUNT, 90, lambda: f"{server.seen()} of {COUNT}")
    server.stop()
    assert delivered(tmp_path / "data") == list(range(COUNT))


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("framing", ["traditional", "octet-counted"])
def test_tcp_and_udp(tmp_path: Path, rsyslog, protocol: str, framing: str) -> None:  # type: ignore[no-untyped-def]
    if protocol == "udp" and framing == "octet-counted":
        pytest.skip("datagrams need no framing")
    server = Server(tmp_path / "data")
    port = server.udp if protocol == "udp" else server.tcp
    source = rsyslog(
        f'action(type="omfwd" target="127.0.0.1" port="{port}" protocol="{protocol}" TCP_Framing="{framing}" action.resumeRetryCount="-1" '
        'queue.type="LinkedList" queue.size="50000")'
    )
    # Datagrams that a busy machine can't take are lost: no more at once than any buffer holds.
    step = 200 if protocol == "udp" else COUNT
    count = 2_000 if protocol == "udp" else COUNT
    for first in range(0, count, step):
        write(source, first, first + step)
        until(lambda n=first + step: server.seen() >= n, 90, lambda: f"{server.seen()} of {count}")  # type: ignore[misc]
    server.stop()
    assert delivered(tmp_path / "data") == list(range(count))
