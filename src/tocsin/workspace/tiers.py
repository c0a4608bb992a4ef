"""Keeps rules off tables of the lake tier, as Sentinel does: their rows are for people's queries, search jobs and summary rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tocsin.base.errors import QueryError
from tocsin.lake.engine import Limits, QueryResult, Window
from tocsin.lake.settings import RetentionSettings
from tocsin.query import QueryService

if TYPE_CHECKING:
    from tocsin.kql import CompiledQuery

__all__ = ["AnalyticsQueries"]


class AnalyticsQueries:
    """The query service as rules see it: a query that reads a table of the lake tier is refused by name (QueryError QRY0014)."""

    def __init__(self, queries: QueryService, retention: Callable[[], RetentionSettings]) -> None:
        """`retention` gives what holds now: people change it while rules run."""
        self._queries = queries
        self._retention = retention

    def compile(self, text: str, now: datetime | None = None) -> CompiledQuery:
        """See `QueryService.compile`."""
        compiled = self._queries.compile(text, now)
        away = sorted(t for t in compiled.tables if self._retention().tier_of(t) == "lake")
        if away:
            raise QueryError(
                f"Table {away[0]} is not in the analytics tier, so no rule runs on it.",
                code="QRY0014",
                hint="Move it back to the analytics tier (Tables, or lake.retention.tables), or let a summary rule make a small table of it.",
            )
        return compiled

    def run(
        self,
        text: str,
        *,
        window: Window | None = None,
        limits: Limits | None = None,
        now: datetime | None = None,
        relations: Mapping[str, pa.Table] | None = None,
        steady: bool = False,
    ) -> QueryResult:
        """See `QueryService.run`."""
        return self._queries.run(text, window=window, limits=limits, now=now, relations=relations, steady=steady)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queries, name)
