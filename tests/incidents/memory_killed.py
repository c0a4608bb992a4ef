"""The child process of `test_memory`: files alerts, keeps its memory on the way, and is killed in the middle of a transaction."""

from __future__ import annotations

import os
import random
import signal
import sys
from datetime import timedelta
from pathlib import Path

from tests.incidents.test_correlate import T0, alert
from tocsin.base.clock import ManualClock
from tocsin.detect.alert import TACTICS, Alert, Evidence
from tocsin.incidents.desk import IncidentDesk
from tocsin.state import State, Unit
from tocsin.tables import Entity

COUNT, KEPT, KILLED = 420, 200, 330


def alerts(seed: int = 3) -> list[Alert]:
    """Four days of a small network: noise of which one rule makes most, and attacks over two machines each, with rows."""
    rng = random.Random(seed)
    made: list[Alert] = []
    for n in range(COUNT):
        attack = n % 3 == 0
        machine = rng.randrange(4) * 10 + n // 60 % 2 if attack else rng.randrange(40)
        named = [Entity.host(f"ws{machine}.contoso.com"), Entity.account(f"CONTOSO\\u{machine % 30}")]
        if rng.random() < 0.2:
            named.append(Entity.host("dc1.contoso.com"))
        if rng.random() < 0.3:
            named.append(Entity("IP", {"Address": f"8.8.8.{rng.randrange(6)}"}))
        rule = f"attack{rng.randrange(9)}" if attack else f"noise{min(rng.randrange(6), rng.randrange(6))}"
        rows = (Evidence("DeviceProcessEvents", {"DeviceName": f"ws{machine}", "ProcessCommandLine": f"x {n}"}),)
        severity = rng.choice(["Medium", "High"]) if attack else rng.choice(["Informational", "Low", "Medium"])
        tactics = (TACTICS[2 + n // 3 % 9],) if attack else (TACTICS[8],)
        made.append(alert(rule, n * 14.0, *named, severity=severity, tactics=tactics, events=rows))
    return made


def opened(folder: Path) -> tuple[State, IncidentDesk]:
    """The desk over that folder's database and memory."""
    state = State.open(folder / "state.db", clock=ManualClock(T0 + timedelta(days=5)))
    return state, IncidentDesk(state, memory=folder / "cache" / "memory")


def main() -> None:
    _, desk = opened(Path(sys.argv[1]))

    def dies(_unit: Unit) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    for n, each in enumerate(alerts()):
        if n == KEPT:
            assert desk.memory.keep()
        desk.add([each], within=dies if n == KILLED else None)


if __name__ == "__main__":
    main()
