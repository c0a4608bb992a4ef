"""A client of the collector that tries again until it is answered, a server that is killed: each event is there once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ingest.intake_support import Rig, until
from tests.ports import free_port

SERVER = """
import sys
from pathlib import Path
import uvicorn
from starlette.applications import Starlette
from tests.ingest.intake_support import Rig
from tocsin.ingest.receivers.hec import HecReceiver
from tocsin.lake import LakeSettings
rig = Rig(Path(sys.argv[1]), settings=LakeSettings(roll_seconds=0.3)).start()
uvicorn.run(Starlette(routes=HecReceiver(rig.intake, {"t": "client"}.get).routes()), port=int(sys.argv[2]), log_level="warning")
"""
COUNT = 10_000


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])
    with (folder.parent / "server.out").open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(folder), str(port)],
            stdout=out,
            stderr=out,
            cwd=root,
            env={**os.environ, "PYTHONPATH": root},
        )
    until(lambda: healthy(port), 60)
    return process


def healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/services/collector/health").status_code == 200
    except httpx.HTTPError:
        return False


class Sender(threading.Thread):
    """Sends events in bodies of `size`, each again until it is answered."""

    def __init__(self, port: int, first: int, last: int, size: int) -> None:
        super().__init__()
        self.url = f"http://127.0.0.1:{port}/services/collector/event"
        self.first, self.last, self.size = first, last, size
        self.sent = 0

    def run(self) -> None:
        client: Any = httpx.Client(timeout=30)
        for start_at in range(self.first, self.last, self.size):
            events = [
                {"time": 1714557600 + n / 1000, "host": "h", "event": f"message {n}"}
                for n in range(start_at, min(start_at + self.size, self.last))
            ]
            body = "".join(json.dumps(e) for e in events)
            while True:
                try:
                    if client.post(self.url, content=body, headers={"Authorization": "Splunk t"}).status_code == 200:
                        break
                except httpx.HTTPError:
                    client.close()
                    client = httpx.Client(timeout=30)
                time.sleep(0.05)
            self.sent += len(events)
        client.close()


@pytest.mark.slow
def test_each_event_is_there_once_after_kill_9(tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / "data"
    server = start(folder, port)
    senders = [Sender(port, n * COUNT // 4, (n + 1) * COUNT // 4, size) for n, size in enumerate((4, 10, 50, 20))]
    for sender in senders:
        sender.start()
    for share in (0.15, 0.3):
        until(lambda share=share: sum(s.sent for s in senders) > COUNT * share, 120)  # type: ignore[misc]
        server.send_signal(signal.SIGKILL)
        server.wait()
        server = start(folder, port)
    for sender in senders:
        sender.join(120)
    server.send_signal(signal.SIGKILL)
    server.wait()
    rig = Rig(folder).start()
    rig.lake.roll()
    got = sorted(int(json.loads(r["RawData"])["message"].split()[1]) for r in rig.rows("Unparsed_CL"))
    rig.close()
    assert got == list(range(COUNT))
