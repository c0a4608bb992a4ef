"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers over `tmp_path/data` that end with the test."""
    made: list[Server] = []

    def make(*flags: str, **more: Any) -> Server:
        server = Server(tmp_path / "data", *flags, **more)
        made.append(server)
        return server

    yield make
    for server in made:
        server.close()
