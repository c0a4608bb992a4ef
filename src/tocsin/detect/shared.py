"""Rules that are due together look at a table once.

Planning a query takes the engine some milliseconds whatever it finds, and most windows hold nothing that most rules ask for. So the columns that
the filters of all rules of a group compare with constants are read once for the window (`T | project …`), each rule's filters are tested on
them in memory (`tocsin.detect.sieve`), and only a rule of whose filters a row may pass is asked. A group are rules that are due in one
round and look at the same window of the same table. Where a window holds too much for that, its different values of the columns that are
tested for equality are read; where even these are many, or where looking takes longer than what it spares, the group's rules are asked each by
itself for some time.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from tocsin.base.errors import TocsinError
from tocsin.detect.sieve import Columns, Sieve
from tocsin.lake.engine import Limits, Window

if TYPE_CHECKING:
    from tocsin.detect.plan import Plan
    from tocsin.detect.run import Queries

__all__ = ["Group", "SharedFigures", "SharedScans"]

_log = structlog.get_logger("tocsin.detect.shared")

_ROWS = Limits(rows=200_000, seconds=60.0, result_bytes=48 << 20)
_VALUES = Limits(rows=20_000, seconds=60.0, result_bytes=8 << 20)
_KEPT = 16
"""Looks that are kept: with their limits at most some hundred MiB, in fact a few."""
_EQUALITY = frozenset({"==", "in", "=~", "in~"})
_REST_SECONDS = 600.0
_A_RUN = 0.003
"""Seconds that a rule's own query takes at least, to plan (measured: bench/README.md)."""
_JUDGED = 4
_MOST_WORTH = 1_000


@dataclass(frozen=True, slots=True)
class Group:
    """What rules have in common that look at the same windows: `kind` of window, and its grid or start."""

    kind: str
    grid: tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class SharedFigures:
    """What looking together has done: `looks` were made in `seconds`, and `spared` queries weren't asked."""

    looks: int = 0
    seconds: float = 0.0
    spared: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Together:
    """How many rules of a group read a table, and the columns that they test, and test for equality."""

    members: int = 0
    tested: set[str] = field(default_factory=set)
    compared: set[str] = field(default_factory=set)

    def add(self, sieves: Iterable[Sieve]) -> None:
        self.members += 1
        for test in (t for sieve in sieves for t in sieve.tests()):
            self.tested.add(test.column)
            if test.op in _EQUALITY:
                self.compared.add(test.column)

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(sorted(self.tested))


@dataclass(slots=True)
class _Worth:
    """What a group's looks cost and spared of late."""

    seconds: float = 0.0
    spared: int = 0
    looks: int = 0
    rests_until: float = 0.0


class SharedScans:
    """See the module. Thread-safe. `least` is how many rules must be due together for sharing to begin; 0 switches it off."""

    def __init__(self, queries: Queries, *, least: int = 3) -> None:
        self._queries = queries
        self._least = least
        self._lock = threading.Lock()
        self._rounds: dict[Hashable, tuple[dict[str, Group], dict[tuple[str, Group], _Together]]] = {}
        self._known: OrderedDict[tuple[Hashable, ...], Columns | None] = OrderedDict()
        self._asking: dict[tuple[Hashable, ...], threading.Lock] = {}
        self._worth: dict[tuple[str, str, tuple[str, ...]], _Worth] = defaultdict(_Worth)
        self.figures = SharedFigures()

    def round(self, lane: Hashable, due: Iterable[tuple[Plan, Group]]) -> None:
        """Which rules are due together now, of those that share a lane of workers."""
        groups: dict[str, Group] = {}
        tables: dict[tuple[str, Group], _Together] = defaultdict(_Together)
        if self._least:
            for plan, group in due:
                groups[plan.rule.id] = group
                by_table: dict[str, list[Sieve]] = defaultdict(list)
                for sieve in (s for alternatives in plan.sieves for s in alternatives):
                    by_table[sieve.table].append(sieve)
                for table, own in by_table.items():
                    tables[table, group].add(own)
        with self._lock:
            self._rounds[lane] = groups, tables

    def nothing(self, lane: Hashable, plan: Plan, window: Window, until: datetime) -> bool:
        """Whether the rule's query is known to give no row over that window, as far as rows received before `until` go."""
        with self._lock:
            groups, tables = self._rounds.get(lane, ({}, {}))
        group = groups.get(plan.rule.id)
        if group is None:
            return False
        for alternatives in plan.sieves:
            for sieve in alternatives:
                together = tables.get((sieve.table, group))
                if together is None or together.members < self._least:
                    break
                look = self._look(sieve.table, group, together, window, until)
                if look is None or look.may_pass(sieve):
                    break
            else:
                self._spared(alternatives[0].table, group, tables)
                return True
        return False

    def _look(self, table: str, group: Group, together: _Together, window: Window, until: datetime) -> Columns | None:
        key = (table, window, until, together.key)
        with self._lock:
            if key in self._known:
                return self._known[key]
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            with self._lock:
                if key in self._known:
                    return self._known[key]
            try:
                found = self._made(table, group, together, window)
                with self._lock:
                    self._known[key] = found
                    while len(self._known) > _KEPT:
                        self._known.popitem(last=False)
            finally:
                with self._lock:
                    self._asking.pop(key, None)
            return found

    def _made(self, table: str, group: Group, together: _Together, window: Window) -> Columns | None:
        names = together.key
        began = time.monotonic()
        with self._lock:
            if len(self._worth) > _MOST_WORTH:
                self._worth.clear()
            worth = self._worth[table, group.kind, names]
        if began < worth.rests_until:
            return None
        try:
            found = self._asked(table, "project", names, window, _ROWS)
            if found is None and together.compared:
                found = self._asked(table, "distinct", sorted(together.compared), window, _VALUES)
        except TocsinError as error:
            _log.info("shared.failed", table=table, code=error.code, error=error.message)
            found = None
        seconds = time.monotonic() - began
        with self._lock:
            worth.seconds, worth.looks = worth.seconds + seconds, worth.looks + 1
            if found is None or (worth.looks >= _JUDGED and worth.seconds > worth.spared * _A_RUN):
                worth.rests_until = time.monotonic() + _REST_SECONDS
                worth.seconds, worth.looks, worth.spared = 0.0, 0, 0
            f = self.figures
            self.figures = SharedFigures(f.looks + 1, f.seconds + seconds, f.spared, f.refused + (found is None))
        return found

    def _asked(self, table: str, how: str, names: Sequence[str], window: Window, limits: Limits) -> Columns | None:
        name = table if table.isidentifier() else f"['{table}']"
        listed = ", ".join(f"['{n}']" for n in names)
        result = self._queries.run(f"{name} | {how} {listed}", window=window, now=window.end, limits=limits)
        if result.truncated or result.problems:
            return None
        return Columns(result.table.rename_columns([c.name for c in result.columns]), [c.type for c in result.columns])

    def _spared(self, table: str, group: Group, tables: Mapping[tuple[str, Group], _Together]) -> None:
        with self._lock:
            f = self.figures
            self.figures = SharedFigures(f.looks, f.seconds, f.spared + 1, f.refused)
            self._worth[table, group.kind, tables[table, group].key].spared += 1
