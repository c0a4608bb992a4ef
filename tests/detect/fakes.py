"""A query service whose "queries" are names of Python functions: rules can be tested without a compiler or an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tocsin.base.errors import QueryError
from tocsin.kql.types import KqlType
from tocsin.lake.engine import Limits, QueryResult, Window

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class FakeColumn:
    name: str
    type: KqlType
    ticks: bool = False


@dataclass(frozen=True)
class FakeCompiled:
    tables: frozenset[str]
    row_wise: bool
    uses_now: bool = False


@dataclass
class FakeQueries:
    """`functions` maps a query text to (tables, row_wise, function of the windowed tables)."""

    tables: dict[str, Rows] = field(default_factory=dict)
    functions: dict[str, tuple[tuple[str, ...], bool, Callable[[Mapping[str, Rows]], Rows]]] = field(
        default_factory=dict
    )
    runs: list[tuple[str, Window | None]] = field(default_factory=list)

    def compile(self, text: str, now: datetime | None = None) -> FakeCompiled:
        if text not in self.functions:
            raise QueryError(f"no such query {text!r}", code="QRY0005")
        tables, row_wise, _ = self.functions[text]
        return FakeCompiled(frozenset(tables), row_wise)

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
        self.runs.append((text, window))
        cut = {t: [r for r in rows if inside(r, window)] for t, rows in self.tables.items()}
        cut.update({t: rows.to_pylist() for t, rows in (relations or {}).items()})
        if "summarize Rows = count() by Bucket" in text:
            times = [when(r["TimeGenerated"]) for r in cut.get(text.split(" ", maxsplit=1)[0], [])]
            buckets = sorted({t.replace(minute=t.minute // 5 * 5, second=0, microsecond=0, tzinfo=None) for t in times})
            table = pa.table({"c1": pa.array(buckets, pa.timestamp("us"))})
            return QueryResult((FakeColumn("Bucket", KqlType.DATETIME),), table)
        name, bar, operator = text.partition(" | ")
        if bar and name in self.tables and operator in ("distinct *", "count"):
            bare = [{k: v for k, v in r.items() if k != "_TimeReceived"} for r in cut[name]]
            once = list({str(sorted(r.items())): r for r in bare}.values())
            return result(once if operator == "distinct *" else [{"Count": len(cut[name])}])
        _, _, function = self.functions[text]
        rows = function(cut)
        truncated = limits is not None and limits.rows is not None and len(rows) > limits.rows
        return result(rows[: limits.rows] if truncated and limits is not None else rows, truncated)


def result(rows: Sequence[Mapping[str, Any]], truncated: bool = False) -> QueryResult:
    names = list(dict.fromkeys(n for r in rows for n in r))
    kinds = {n: kind(next((r[n] for r in rows if r.get(n) is not None), "")) for n in names}
    arrays = {f"c{i}": pa.array([r.get(n) for r in rows]) for i, n in enumerate(names)}
    return QueryResult(tuple(FakeColumn(n, kinds[n]) for n in names), pa.table(arrays), truncated)


def kind(value: Any) -> KqlType:
    return KqlType.LONG if isinstance(value, int) else KqlType.STRING


def when(value: str) -> datetime:
    return datetime.fromisoformat(value).astimezone(UTC)


def inside(row: Mapping[str, Any], window: Window | None) -> bool:
    if window is None:
        return True
    at = when(row[window.column])
    return (window.start is None or at >= window.start) and (window.end is None or at < window.end)
