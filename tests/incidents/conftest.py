"""A state database of the test's own, with two analysts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.incidents.test_correlate import T0
from tocsin.base.clock import ManualClock
from tocsin.state import State


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """Opened an hour after the first alert."""
    opened = State.open(tmp_path / "state.db", clock=ManualClock(T0 + timedelta(hours=1)))
    with opened.write() as unit:
        for name in ("anna", "bert"):
            unit.users.add(name, name.title(), "x", ["Responder"])
    yield opened
    opened.close()
