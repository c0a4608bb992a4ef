"""kill -9 while Sigma rules look at what comes: the alerts are those of a server that nobody killed.

``TOCSIN_STREAM_KILLS`` sets how many times (1 by default, 20 in `make kill`), ``TOCSIN_KILL_SEED`` where the random moments start.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.detect.support import sigma
from tests.workspace import stream_killed

from tocsin.detect.alert import Alert
from tocsin.detect.sigma.matcher import SigmaMatcher
from tocsin.ingest.decoders import decode_body
from tocsin.ingest.model import SourceBatch
from tocsin.state import State

KILLS = int(os.environ.get("TOCSIN_STREAM_KILLS", "1"))
SEED = int(os.environ.get("TOCSIN_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)


def said(folder: Path) -> dict[str, dict[str, Any]]:
    state = State.open(folder / "data" / "state.db")
    try:
        with state.read() as unit:
            rules = [f"0a1b2c3d-0000-4000-8000-00000000000{n}" for n in range(1, 5)]
            found = [a for r in rules for a in unit.incidents.alerts_of_rule(r, stream_killed.START)]
    finally:
        state.close()
    return {a["id"]: _told(a) for a in found}


def expected() -> dict[str, dict[str, Any]]:
    """What a matcher says that looks at all events, one after the other."""
    matcher = SigmaMatcher(sigma(stream_killed.SIGMA).rules, live=True)
    alerts: list[Alert] = []
    for number in range(stream_killed.EVENTS):
        batches = [b for b in decode_body(stream_killed.body(number)) if isinstance(b, SourceBatch)]
        alerts += [a for b in batches for a in matcher.match(b)]
    return {a.id: _told(a.to_dict()) for a in alerts}


def _told(alert: dict[str, Any]) -> dict[str, Any]:
    return {k: alert[k] for k in ("rule", "title", "time", "end", "count", "severity", "entities", "events")}


def run(folder: Path, kills: int, chance: random.Random) -> int:
    (folder / "site" / "rules").mkdir(parents=True)
    (folder / "site" / "rules" / "stream.yml").write_text(stream_killed.SIGMA, encoding="utf-8")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.workspace.stream_killed"])
    killed = 0
    while not (folder / "ended").exists():
        child = context.Process(target=stream_killed.main, args=(str(folder), chance.randrange(1 << 30)))
        child.start()
        if killed < kills:
            # After some events more than the last time: whenever a child comes so far on this machine.
            goal = chance.randrange(stream_killed.EVENTS * (killed + 1) // (kills + 1)) if kills else 0
            sent = folder / "sent"
            deadline = time.monotonic() + 120
            while child.is_alive() and time.monotonic() < deadline:
                if sent.exists() and int(sent.read_text() or 0) >= goal:
                    break
                time.sleep(0.005)
            time.sleep(chance.random() * 0.05)
            if child.is_alive():
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)
                killed += 1
            child.join()
        else:
            child.join(300)
            assert child.exitcode == 0
    return killed


@pytest.mark.slow
def test_alerts_are_those_of_a_server_that_nobody_killed(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    whole = expected()
    assert {a["rule"] for a in whole.values()} == {"a", "b", "often", "then"}
    killed = run(tmp_path, KILLS, chance)
    assert said(tmp_path) == whole, f"TOCSIN_KILL_SEED={SEED}"
    assert killed == KILLS
