"""The state of a data folder, for commands that need nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tocsin.state import State
    from tocsin.workspace.settings import Settings

__all__ = ["open_state", "state_settings"]


def state_settings(data: Path | None) -> Settings:
    """The settings of a data folder that has state; UsageError USE0009 for one that hasn't."""
    from tocsin.base.errors import UsageError
    from tocsin.workspace.settings import load_settings

    settings = load_settings(data=data)
    where = settings.database or settings.data / "state.db"
    if isinstance(where, Path) and not where.is_file():
        raise UsageError(
            f"there is no state in '{settings.data}'", code="USE0009", hint="Name the data folder with --data."
        )
    return settings


@contextmanager
def open_state(data: Path | None) -> Iterator[State]:
    """The state; UsageError USE0009 for a folder that has none."""
    from tocsin.state import State

    settings = state_settings(data)
    state = State.open(settings.database or settings.data / "state.db")
    state.portal = settings.server.address()
    try:
        yield state
    finally:
        state.close()
