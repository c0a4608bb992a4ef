"""What every repository is: a transaction's connection and the clock."""

from __future__ import annotations

from sqlalchemy import Connection

from tocsin.base.clock import Clock
from tocsin.base.errors import StateError

__all__ = ["ConflictError", "NotFoundError", "Repository"]


class NotFoundError(StateError):
    """Something that isn't there."""

    code = "STA0002"


class ConflictError(StateError):
    """A change that another change has overtaken."""

    code = "STA0003"


class Repository:
    """A topic's tables inside one transaction."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._c = connection
        self._clock = clock
