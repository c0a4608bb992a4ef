"""A real `tocsin up` in a process of its own, and a client of its API."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

__all__ = ["Server", "until"]

ROOT = Path(__file__).resolve().parents[2]
UNSAFE = {"X-Tocsin-Request": "1"}


def until(true: Callable[[], Any], seconds: float, what: Callable[[], object] = lambda: "") -> Any:
    """Waits for something to become true and gives it; fails after that many seconds."""
    end = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < end, f"not after {seconds:g} s: {what()}"
        time.sleep(0.1)


class Server:
    """`tocsin up` over a data folder. Ports stay the same over restarts; 0 lets the server choose at each start."""

    def __init__(
        self, data: Path, *flags: str, port: int = 0, relp: int = 0, tcp: int = 0, command: list[str] | None = None
    ) -> None:
        self.data = data
        self.flags = flags
        self.ports = {"PORT": port, "RELP": relp, "TCP": tcp}
        self.password = ""
        self.output = data.parent / "up.out"
        self.errors = data.parent / "up.err"
        self.process: subprocess.Popen[bytes] | None = None
        self.began = 0.0
        self._said = 0
        self._command = command or [sys.executable, "-c", "from tocsin.cli import main; main()"]
        self._clients: list[httpx.Client] = []

    def launch(self, *, cwd: Path | None = None) -> None:
        """Starts it and waits for nothing."""
        # Byte code is kept as it is where people install it: compiling everything anew takes longer than all the rest of a start.
        left_out = ("TOCSIN_", "PYTHONDONTWRITEBYTECODE")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
        environment.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / ".make" / "bytecode"))
        environment |= {
            "TOCSIN_INGEST__SYSLOG_UDP_PORT": "0",
            "TOCSIN_INGEST__SYSLOG_TCP_PORT": str(self.ports["TCP"]),
            "TOCSIN_INGEST__RELP_PORT": str(self.ports["RELP"]),
        }
        command = [*self._command, "up", "--data", str(self.data), "--port", str(self.ports["PORT"]), *self.flags]
        self._said = self.output.stat().st_size if self.output.exists() else 0
        with self.output.open("ab") as out, self.errors.open("ab") as err:
            self.began = time.monotonic()
            self.process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, cwd=cwd or ROOT)

    def start(self, *, cwd: Path | None = None) -> Server:
        """Starts it and waits until it says that it answers: for as long as it works, since a busy machine is slow, not hung."""
        self.launch(cwd=cwd)
        assert self.process is not None
        worked, since = 0.0, time.monotonic()
        while "Ctrl-C stops it" not in self.said() and self.process.poll() is None:
            if (now := self.worked()) > worked + 0.05:
                worked, since = now, time.monotonic()
            assert time.monotonic() < since + 120, f"it hangs after {worked:.1f} s of work: {self.said()}"
            assert worked < 120, f"it has worked for {worked:.0f} s and isn't there: {self.said()}"
            time.sleep(0.1)
        assert self.process.poll() is None, self.said() + self.errors.read_text()
        if found := re.search(r"password\s+(\S+)", self.said()):
            self.password = found[1]
        return self

    def said(self) -> str:
        """What this start has printed."""
        return self.output.read_bytes()[self._said :].decode()

    @property
    def address(self) -> str:
        """The URL that it said."""
        found = re.search(r"answers on (http://\S+)", self.said())
        assert found is not None, self.said()
        return found[1]

    def client(self) -> httpx.Client:
        """A client without a session."""
        client = httpx.Client(base_url=self.address, timeout=60, trust_env=False)
        self._clients.append(client)
        return client

    def signed_in(self) -> httpx.Client:
        """A client with the administrator's session."""
        client = self.client()
        client.headers.update(UNSAFE)
        answer = client.post("/api/v1/session", json={"username": "admin", "password": self.password})
        assert answer.status_code == 200, answer.text
        return client

    def token(self, name: str = "sender") -> str:
        """A new token for intake."""
        answer = self.signed_in().post("/api/v1/tokens", json={"name": name, "kind": "ingest"})
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["token"])

    def rows(self, query: str, client: httpx.Client | None = None) -> list[list[Any]]:
        """The rows of a query, asked over the API."""
        answer = (client or self.signed_in()).post("/api/v1/query", json={"query": query})
        assert answer.status_code == 200, answer.text
        found: list[list[Any]] = answer.json()["rows"]
        return found

    def worked(self) -> float:
        """Seconds of processor that it has used."""
        assert self.process is not None
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0  # it has just ended
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> int:
        """Bytes of memory that it has in use now."""
        assert self.process is not None
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def kill(self) -> None:
        """As a power cut ends it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self._forget()

    def stop(self) -> int:
        """As an operator ends it; gives the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._forget()
        return code

    def close(self) -> None:
        """For fixtures: ends it when it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self._forget()

    def _forget(self) -> None:
        while self._clients:
            self._clients.pop().close()
