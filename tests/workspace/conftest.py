"""Fixtures of the workspace's tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from tests.workspace import stream_refused
from tests.workspace.house import House

from tocsin.base.clock import ManualClock
from tocsin.content import Content, load_packs, packs_dir
from tocsin.workspace.settings import Settings

BEGINS = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
"""Where the clock of `house` stands."""


@cache
def _functions() -> Content:
    return load_packs([packs_dir()], only=("functions",))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An empty house, whose queries know the packs' functions."""
    with House(Settings(data=tmp_path), ManualClock(BEGINS)) as made:
        made.queries.set_functions(_functions().functions)
        yield made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A data folder of which the site has a Sigma rule of its own, for what streams in."""
    (tmp_path / "site" / "rules").mkdir(parents=True)
    (tmp_path / "site" / "rules" / "stream.yml").write_text(stream_refused.SIGMA, encoding="utf-8")
    return tmp_path
