"""The short form of the delay matrix (`tests.detect.delays` has the long one)."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import delays

pytestmark = pytest.mark.skipif(not delays.OTRF.is_dir(), reason=f"the recorded logs ({delays.OTRF}) are not here")

CHOSEN = (
    "event 4656",
    "recent logon",
    "near real time",
    "each result",
    "count 4624",
    "distinct",
    "threshold",
    "overlapping count",
    "joined",
)


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> delays.Recorded:
    return delays.recorded(delays.SHORT[:3:2], tmp_path_factory.mktemp("hour"), keep=("SecurityEvent",))


def test_late_repeated_and_misdated_rows_are_said_once(hour: delays.Recorded, tmp_path: Path) -> None:
    rules = [r for r in delays.rules() if r.id in CHOSEN]
    cell = delays.CELLS[-1]
    verdict = delays.run_cell(hour, cell, tmp_path, chosen=rules)
    assert verdict.expected > 40
    assert (verdict.missed, verdict.doubled) == (0, 0), verdict.rules


def test_plain_look_back_misses_what_comes_late(hour: delays.Recorded, tmp_path: Path) -> None:
    rules = [r for r in delays.rules() if r.id in CHOSEN[:2]]
    cell = next(c for c in delays.CELLS if c.name == "6 h")
    verdict = delays.run_cell(hour, cell, tmp_path, chosen=rules, lookback=True)
    assert verdict.missed == verdict.expected > 20
