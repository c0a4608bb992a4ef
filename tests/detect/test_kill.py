"""kill -9 while rules run: what they said in all is what an uninterrupted run says.

``TOCSIN_RULE_KILLS`` sets how many times (3 by default, 20 in `make kill`), ``TOCSIN_KILL_SEED`` where the random moments start.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.detect import killed
from tocsin.state import State

KILLS = int(os.environ.get("TOCSIN_RULE_KILLS", "3"))
MINUTES = 15 if KILLS < 10 else 120
SEED = int(os.environ.get("TOCSIN_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)


def _said(folder: Path) -> dict[str, dict[str, Any]]:
    """Every alert by id, without what depends on when it was said."""
    from sqlalchemy import select

    from tocsin.state.schema import alerts

    state = State.open(folder / "state.db")
    try:
        with state.read() as unit:
            rows = unit.incidents._c.execute(select(alerts.c.id, alerts.c.payload)).all()
    finally:
        state.close()
    return {i: {k: _ordered(v) for k, v in p.items() if k not in ("created", "linked_by")} for i, p in rows}


def _ordered(value: Any) -> Any:
    """Groups of a count come in no order."""
    return sorted(value, key=str) if isinstance(value, list) else value


def _run(folder: Path, eager: bool, kills: int, chance: random.Random, span: float = 0) -> int:
    """Runs children until one comes to the end, killing the first so many, each within the first part of the `span` of seconds that an
    uninterrupted one takes. Gives how many were killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.detect.killed"])
    died = 0
    while True:
        child = context.Process(target=killed.main, args=(str(folder), MINUTES, eager))
        child.start()
        child.join(span * (0.1 + 0.3 * chance.random()) if died < kills else 300)
        if child.exitcode is None and died < kills:
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            died += 1
            continue
        assert child.exitcode == 0, child.exitcode
        return died


@pytest.mark.slow
@pytest.mark.timeout(300 + KILLS * 30)
def test_killed_runs_say_what_an_uninterrupted_one_says(tmp_path: Path) -> None:
    print(f"TOCSIN_KILL_SEED={SEED}")
    chance = random.Random(SEED)
    whole, timed, broken, eager = (tmp_path / n for n in ("whole", "timed", "broken", "eager"))
    killed.fill(whole, MINUTES, SEED)
    for other in (timed, broken, eager):
        shutil.copytree(whole, other)
    assert _run(whole, False, 0, chance) == 0
    begun = time.monotonic()
    assert _run(timed, False, 0, chance) == 0  # again, with every module read
    span = time.monotonic() - begun
    assert _run(broken, False, KILLS, chance, span) > 0
    expected, found = _said(whole), _said(broken)
    assert len({a["rule_id"] for a in expected.values()}) >= len(killed.rules()) - 1
    assert found == expected
    print(f"{KILLS} kills, {len(expected)} alerts of {len(killed.rules())} rules")
    if KILLS < 10:
        return  # the eager form takes as long again
    # An eager run says first hits when it sees them, so its alerts are cut elsewhere; the rows in them are the same, each once.
    _run(eager, True, max(KILLS // 4, 1), chance, span)
    for rule in ("filter", "each", "recent", "nrt"):
        want = Counter(str(e["row"]) for a in expected.values() if a["rule_id"] == rule for e in a["events"])
        have = Counter(str(e["row"]) for a in _said(eager).values() if a["rule_id"] == rule for e in a["events"])
        assert have == want, rule
