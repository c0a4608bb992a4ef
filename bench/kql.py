"""What queries cost: compiling the public hunting queries by stage, and running ten hunts beside SQL written by hand.

    python -m bench.kql compile [CORPUS.jsonl]      lex, parse, bind, emit: milliseconds a query, on one core
    python -m bench.kql run [ROWS]                  ten hunts over ROWS rows, each beside DuckDB SQL that gives the same answer
    python -m bench.kql                             both

CPU time. Compiling: best of three for each query, after one pass that fills the caches (shipped tables, function table, patterns of
regular expressions; no compiled query is kept), and the first pass itself as "cold".
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tocsin.cli.kql_engine import CaseEngine
from tocsin.kql import KqlErrors
from tocsin.kql.binder import Binder, BindError, bind_query
from tocsin.kql.compile import compile_query
from tocsin.kql.emit.duckdb.relations import EmitLimitError, Emitter
from tocsin.kql.lexer import tokenize
from tocsin.kql.parser import parse

CORPUS = Path("../shared/corpus/kql-hunting.jsonl")
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
MEDIAN, P95 = 3.0, 12.0  # what is demanded, in milliseconds


@dataclass
class Cost:
    """Milliseconds of one query by stage, and of the door that users take."""

    lex: float = 0.0
    parse: float = 0.0
    bind: float = 0.0
    emit: float = 0.0
    whole: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)


def clocked(run: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of CPU, and what came out."""
    began = time.process_time_ns()
    found = run()
    return (time.process_time_ns() - began) / 1e6, found


STAGES = ("lex", "parse", "bind", "emit")


def by_stage(text: str, engine: CaseEngine) -> Cost:
    """One run of every stage. The parser takes its own tokens, so its time is without the lexer's."""
    cost = Cost()
    cost.lex, _ = clocked(lambda: tokenize(text))
    both, tree = clocked(lambda: parse(text))
    cost.parse = both - cost.lex
    binder = Binder(engine.catalog, NOW, {}, external=nothing, resolver=lambda _: ())
    binder.text = text
    cost.bind, relation = clocked(lambda: bind_query(binder, tree))

    def emit() -> None:
        for one in (relation, *binder.more):
            Emitter(binder.shared).query(one.plan, [c.alias for c in one.visible()], one.order)

    cost.emit, _ = clocked(emit)
    return cost


def nothing(*_: object) -> None:
    """External data: an empty table."""


def compiling(path: Path) -> int:
    """Prints the table; 1 where the demand is not met."""
    texts = [json.loads(line)["query"] for line in path.read_text(encoding="utf-8").splitlines()]
    with CaseEngine() as engine:

        def whole(text: str) -> float:
            return clocked(
                lambda: compile_query(text, engine.catalog, now=NOW, external=nothing, resolver=lambda _: ())
            )[0]

        kept, cold, refused = [], [], 0
        for text in texts:
            try:
                cold.append(whole(text))
                kept.append(text)
            except KqlErrors:
                refused += 1
        costs: list[Cost] = []
        staged: list[Cost] = []
        for text in kept:
            runs = []
            for _ in range(3):
                try:
                    runs.append(by_stage(text, engine))
                except (BindError, EmitLimitError):
                    break
            # The widest texts are bound a second time over fewer tables, which only the whole way does: they have no stages.
            best = Cost(*(min(getattr(r, stage) for r in runs) for stage in STAGES)) if runs else Cost()
            staged.extend([best] if runs else [])
            best.whole = min(whole(text) for _ in range(3))
            costs.append(best)
    size = statistics.median(len(t) for t in kept)
    print(f"{len(kept)} queries that compile, {refused} refused; median {size:.0f} characters; milliseconds of CPU\n")
    print("| stage | median | p95 | p99 | most |\n|---|---:|---:|---:|---:|")
    for stage in STAGES:
        print(row(stage, [getattr(c, stage) for c in staged]))
    print(row("whole", [c.whole for c in costs]))
    print(row("whole, cold: first sight of each query", cold))
    warm = sorted(c.whole for c in costs)
    slow = sorted(zip((c.whole for c in costs), kept, strict=True), reverse=True)[:3]
    print("\nSlowest: " + "; ".join(f"{ms:.0f} ms for {len(text):,} characters" for ms, text in slow))
    met = statistics.median(warm) <= MEDIAN and at(warm, 0.95) <= P95
    print(f"Demanded: median {MEDIAN:g}, p95 {P95:g}: {'met' if met else 'NOT met'}.")
    return int(not met)


def at(ordered: list[float], share: float) -> float:
    """A percentile of sorted values."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def row(name: str, values: list[float]) -> str:
    """A line of the table."""
    found = sorted(values)
    return (
        f"| {name} | {statistics.median(found):.2f} | {at(found, 0.95):.2f} | {at(found, 0.99):.2f} | {found[-1]:.1f} |"
    )


def main() -> int:
    """Runs what was asked for."""
    what = sys.argv[1:] or ["compile", "run"]
    failed = 0
    if what[0] == "compile":
        failed |= compiling(Path(what[1]) if what[1:] and what[1] != "run" else CORPUS)
    if "run" in what:
        from bench.hunts import running

        print()
        failed |= running(int(what[-1]) if what[-1].isdigit() else 3_000_000)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
