"""What the engine is asked with: limits, a time window, and the shape of a compiled query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from tocsin.kql.types import KqlType

__all__ = ["Compiled", "Limits", "ResultColumn", "Window"]


class ResultColumn(Protocol):
    """A result column of a compiled query, found by position: its real name, type and whether a datetime is in ticks."""

    @property
    def name(self) -> str:
        """The name that the query gave it; two columns never share one."""

    @property
    def type(self) -> KqlType:
        """Its KQL type."""

    @property
    def ticks(self) -> bool:
        """True when a datetime is a BIGINT of 100 ns ticks since 0001-01-01 instead of a TIMESTAMP."""


class Compiled(Protocol):
    """The part of `tocsin.kql.CompiledQuery` that the engine reads."""

    @property
    def sql(self) -> str:
        """One SELECT that names catalogue tables as double-quoted relations."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Values of ``$name`` parameters."""

    @property
    def columns(self) -> tuple[Any, ...]:
        """`ResultColumn`s in order."""

    @property
    def tables(self) -> frozenset[str]:
        """Catalogue tables (and extra relations) that the SQL reads."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may take. None means no limit of that kind beyond the engine's own.

    `rows` and `result_bytes` cut the result and mark it truncated; `seconds`, `memory_bytes` and `spill_bytes` end the query with an error
    that names the limit. `memory_bytes` or `spill_bytes` below the engine's own make the query run in a small database of its own.
    `settings` names, by field, the setting or request property that each limit comes from; errors say it.
    """

    rows: int | None = 30_000
    seconds: float | None = 60.0
    memory_bytes: int | None = None
    result_bytes: int | None = 64 * 1024 * 1024
    spill_bytes: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)

    def named(self, limit: str) -> str:
        """Where a limit is set and its value, as errors say it: ``query.seconds = 60``."""
        name, value = self.settings.get(limit, _OWN[limit]), getattr(self, limit)
        return name if value is None else f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}"


_OWN = {
    "rows": "query.rows",
    "seconds": "query.seconds",
    "result_bytes": "query.result_bytes",
    "memory_bytes": "engine.memory_bytes",
    "spill_bytes": "engine.spill_bytes",
}
"""Settings of limits that nobody named."""


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open interval ``[start, end)`` that every catalogue table is cut to at the scan.

    `column` is TimeGenerated (the event's time) or _TimeReceived (ingestion time). A side that is None is open. Rows whose column is null
    lie in no window. Naive instants are taken as UTC.
    """

    start: datetime | None
    end: datetime | None
    column: str = "TimeGenerated"
