"""How soon `tocsin up --demo` shows its first incident, and how much memory it takes then.

    python -m bench.start [TIMES]

Starts the server over a fresh folder, signs in over the API and asks for incidents until there is one. The clock starts with the process.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.server import Server, until

DEMANDED_SECONDS = 60
DEMANDED_BYTES = 1 << 30


@dataclass(frozen=True)
class Start:
    """One start: seconds until the server answers, until the first incident, CPU seconds used by then, and memory."""

    answers: float
    incident: float
    cpu: float
    resident: int
    whole: float
    resident_whole: int


def measured() -> Start:
    """One start over a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder, "data"), "--demo").start()
        try:
            answers = time.monotonic() - server.began
            client = server.signed_in()
            until(lambda: client.get("/api/v1/incidents").json()["total"], 300)
            incident, cpu, resident = time.monotonic() - server.began, _cpu(server), server.resident()
            until(lambda: "Exfiltration" in client.get("/api/v1/incidents").json()["items"][0]["tactics"], 300)
            return Start(answers, incident, cpu, resident, time.monotonic() - server.began, server.resident())
        finally:
            server.stop()


def _cpu(server: Server) -> float:
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Prints the table for bench/README.md."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(f"`tocsin up --demo` in a fresh folder, load {os.getloadavg()[0]:.1f}\n")
    print(
        "| answers after | first incident after | CPU until then | resident then | whole attack after | resident then |"
    )
    print("|---:|---:|---:|---:|---:|---:|")
    for _ in range(times):
        s = measured()
        print(
            f"| {s.answers:.1f} s | {s.incident:.1f} s | {s.cpu:.1f} s | {s.resident / 2**20:.0f} MiB | "
            f"{s.whole:.1f} s | {s.resident_whole / 2**20:.0f} MiB |",
            flush=True,
        )
    print(f"\nDemanded: first incident in under {DEMANDED_SECONDS} s, under {DEMANDED_BYTES >> 20} MiB.")


if __name__ == "__main__":
    main()
