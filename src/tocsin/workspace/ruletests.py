"""The cases of rules in force, run on nothing but their own rows: on demand for one rule, by and by for all.

What a case showed is kept as long as neither the rule nor its cases change. Coverage asks which rules their cases prove; what isn't known yet is
run on a thread of its own, one rule after the other, so that nobody waits for it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from tocsin.base.clock import Clock
from tocsin.content import TestFile
from tocsin.detect.alert import iso
from tocsin.detect.cases import CaseResult, run_cases
from tocsin.detect.rule import Rule
from tocsin.query import QueryService

if TYPE_CHECKING:
    from tocsin.workspace.rulebook import RuleBook

__all__ = ["RuleTests"]

_log = structlog.get_logger("tocsin.workspace.ruletests")


@dataclass(frozen=True, slots=True)
class _Known:
    rule: Rule
    file: TestFile
    results: tuple[CaseResult, ...]
    at: datetime


class RuleTests:
    """See the module. Thread-safe. `stop` ends the thread."""

    def __init__(self, book: RuleBook, clock: Clock) -> None:
        self._book, self._clock = book, clock
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()
        self._waiting: deque[str] = deque()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def cases(self, rule: Rule) -> list[dict[str, Any]]:
        """A rule's cases with what they showed last; `passed` is None for one that wasn't run since the rule or it changed."""
        file = self._file(rule)
        if file is None:
            return []
        known = self._fresh(rule, file)
        told = known.results if known is not None else (None,) * len(file.cases)
        return [
            {
                "name": case.name,
                "fires": case.fires,
                "alerts": case.alerts,
                "rows": {table: list(rows) for table, rows in case.rows.items()},
                "place": f"{case.path}:{case.line}",
                "passed": result.passed if result is not None else None,
                "message": result.message if result is not None else "",
                "raised": len(result.alerts) if result is not None else None,
                "ran": iso(known.at) if known is not None else None,
            }
            for case, result in zip(file.cases, told, strict=True)
        ]

    def run(self, rule: Rule) -> list[dict[str, Any]]:
        """Runs a rule's cases now and gives them as `cases`."""
        file = self._file(rule)
        if file is not None:
            with self._queries() as queries:
                self._run(rule, file, queries)
        return self.cases(rule)

    def proven(self, rules: Sequence[Rule]) -> Mapping[str, bool | None]:
        """By id of those that have cases: whether all pass; None where they are still to be run, which begins now."""
        found: dict[str, bool | None] = {}
        for rule in rules:
            file = self._file(rule)
            if file is None or not file.cases:
                continue
            known = self._fresh(rule, file)
            found[rule.id] = all(r.passed for r in known.results) if known is not None else None
        self._later([rule_id for rule_id, passed in found.items() if passed is None])
        return found

    def stop(self) -> None:
        """Lets the rule that runs end."""
        with self._lock:
            self._stopped = True
            self._waiting.clear()
            thread = self._thread
        if thread is not None:
            thread.join()

    # ------------------------------------------------------------------ inside

    def _file(self, rule: Rule) -> TestFile | None:
        return self._book.content.tests.get(rule.path) if rule.path is not None else None

    def _fresh(self, rule: Rule, file: TestFile) -> _Known | None:
        with self._lock:
            known = self._known.get(rule.id)
        same = known is not None and known.rule.text == rule.text and known.file == file
        return known if same else None

    def _run(self, rule: Rule, file: TestFile, queries: QueryService) -> None:
        results = tuple(run_cases(rule, file, queries, queries.catalog))
        with self._lock:
            self._known[rule.id] = _Known(rule, file, results, self._clock.now())

    def _later(self, rule_ids: Sequence[str]) -> None:
        with self._lock:
            if self._stopped or not rule_ids:
                return
            self._waiting.extend(r for r in rule_ids if r not in self._waiting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tocsin-rule-tests", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        with self._queries() as queries:
            while True:
                with self._lock:
                    if not self._waiting:
                        self._thread = None
                        return
                    rule_id = self._waiting.popleft()
                rule = next((r for r in self._book.rules if r.id == rule_id), None)
                file = self._file(rule) if rule is not None else None
                if rule is None or file is None:
                    continue
                try:
                    self._run(rule, file, queries)
                except Exception as error:  # a defect in one rule must not keep the others unproven
                    _log.exception("rule.cases", rule=rule_id, error=str(error))

    @contextmanager
    def _queries(self) -> Iterator[QueryService]:
        """A query service over no data, with the functions and watchlists in force: tables that a case doesn't name are empty."""
        queries = QueryService.of_content(None, self._book.content)
        try:
            yield queries
        finally:
            queries.close()
