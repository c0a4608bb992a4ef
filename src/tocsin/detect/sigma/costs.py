"""What Sigma rules take, by sampling: regular expressions by the values that they are tried on, hits by what it took to describe them.

Everything else (texts, look-ups, verdicts) is shared among all rules and cheap. Time is the thread's own CPU time: a busy machine makes no rule
costly. An expression that several rules share is counted for each of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from tocsin.detect.sigma.checks import Check, Regex

__all__ = ["EVERY", "Costs"]

EVERY = 32
"""One value in so many is measured, and counted so many times."""


class Costs:
    """Collects. One thread at a time."""

    def __init__(self, *, every: int = EVERY, clock: Callable[[], int] = time.thread_time_ns) -> None:
        self._every = every
        self._clock = clock
        self._left = every
        self._checks: dict[Check, int] = {}
        self._rules: dict[int, int] = {}

    def due(self) -> bool:
        """Whether the value in hand is one to measure."""
        self._left -= 1
        if self._left > 0:
            return False
        self._left = self._every
        return True

    def measure(self, checks: Iterable[Regex], text: bytes) -> None:
        """Tries expressions on a text, each by itself, for their time."""
        clock, known = self._clock, self._checks
        for check in checks:
            began = clock()
            check.finder(text)
            known[check] = known.get(check, 0) + (clock() - began) * self._every

    def hits(self, rules: Sequence[int], took: int) -> None:
        """Counts what it took to describe hits of these rules (one number a hit), the same for each."""
        if rules:
            share = took // len(rules)
            known = self._rules
            for number in rules:
                known[number] = known.get(number, 0) + share

    def now(self) -> int:
        """The clock."""
        return self._clock()

    def take(self, checks_of: Mapping[int, Iterable[Check]]) -> dict[int, int]:
        """Nanoseconds by rule number since the last time; `checks_of` are the expressions of each rule."""
        found = self._rules
        for number, checks in checks_of.items():
            spent = sum(self._checks.get(c, 0) for c in checks)
            if spent:
                found[number] = found.get(number, 0) + spent
        self._checks, self._rules = {}, {}
        return found
