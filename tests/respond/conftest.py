from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tocsin.access import ROLES, Principal
from tocsin.base.clock import ManualClock
from tocsin.incidents.desk import IncidentDesk
from tocsin.state import State

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def person(name: str, role: str) -> Principal:
    return Principal(name, name, "user", frozenset({role}), ROLES[role], address="127.0.0.1")


RITA = person("rita", "Reader")
RESA = person("resa", "Responder")
REMO = person("remo", "Responder")
ADA = person("ada", "Administrator")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def state(tmp_path: Path, clock: ManualClock) -> Iterator[State]:
    opened = State.open(tmp_path / "state.db", clock=clock)
    with opened.write() as unit:
        for who in (RITA, RESA, REMO, ADA):
            unit.users.add(who.name, who.name, "x", sorted(who.roles))
    yield opened
    opened.close()


@pytest.fixture
def desk(state: State) -> IncidentDesk:
    return IncidentDesk(state)
