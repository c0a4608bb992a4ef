from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from tocsin.access import Access, Principal
from tocsin.access.passwords import Passwords
from tocsin.base.clock import ManualClock
from tocsin.state import State

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Cheap parameters: the tests are about what is done with hashes, not about how hard they are to make."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 3, 1, 12, 0, tzinfo=UTC))


@pytest.fixture
def state(tmp_path: Path, clock: ManualClock) -> Iterator[State]:
    opened = State.open(tmp_path / "state.db", clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def access(state: State) -> Access:
    return Access(state, passwords=Passwords(QUICK))


@pytest.fixture
def password(access: Access) -> str:
    made = access.first_start()
    assert made is not None
    return made


@pytest.fixture
def admin(access: Access, password: str) -> Principal:
    return access.sign_in("admin", password, address="127.0.0.1").principal
