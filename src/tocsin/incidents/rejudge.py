"""Judging again: what incidents are judged by, as content, settings and people's decisions have it now; open ones are judged anew as it changes.

Every open incident is judged again when weights, points, threat reports or assets change; those that hold a rule's alerts when it turned out to be
more often right or wrong than before. The most urgent come first, in transactions of `TOGETHER` alerts and so many at a time
that nobody waits for it: a noisy rule's hundred thousand open incidents are judged in rounds, which upkeep goes on with.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable

import orjson

from tocsin.content import Content
from tocsin.incidents import judging, store
from tocsin.incidents.priority import Judge
from tocsin.incidents.reports import Shelf, reports_of
from tocsin.state import State

__all__ = ["AT_ONCE", "TOGETHER", "Judging"]

AT_ONCE = 20_000
"""Alerts of open incidents that are judged while somebody waits for it; the rest is judged by upkeep."""

TOGETHER = 200
"""Alerts that one transaction judges, and one incident in any case: others want to write, too, and wait for no more than one of these."""

_WAY = 2
"""Grows when the same points give another priority: open incidents are judged again then."""

_JUDGED = "incidents.judged"
"""Where the mark is kept of what every open incident was judged by last: what changed while no server ran is made up for."""


class Judging:
    """Keeps `State.judge`, and open incidents judged by it. Thread-safe."""

    def __init__(self, state: State, content: Callable[[], Content] | None) -> None:
        self._state = state
        self._content = content
        self._lock = threading.Lock()
        self._turn = threading.RLock()
        self._read: Content | None = None
        self._shelf = Shelf()
        self._judged: Judge | None = None
        self._left: deque[tuple[str, int]] = deque()
        """The incidents that wait to be judged again, the most urgent first, with how many alerts each has."""
        self._whole: Judge | None = None
        """By what every open incident is being judged again, while that goes on."""
        self._rules: frozenset[str] = frozenset()
        """Else the rules because of which those that wait do."""

    @property
    def behind(self) -> bool:
        """Whether open incidents wait to be judged again."""
        return bool(self._left)

    def look(self, *, separate_groups: bool) -> Judge:
        """Reads anew what incidents are judged by."""
        with self._lock:
            content = self._content() if self._content is not None else None
            shelf = self._reports(content)
            with self._state.read() as unit:
                judge = judging.judge_of(unit, content, separate_groups=separate_groups, reports=shelf)
            self._state.judge = judge
            return judge

    def again(self, *, most: int | None = None) -> int:
        """Judges every open incident again, the most urgent first, or so many as hold `most` alerts together: `catch_up` goes on with the rest.
        Gives how many changed."""
        with self._turn:
            self._whole = self._judged = self._state.judge or Judge()
            with self._state.read() as unit:
                self._left = deque(unit.incidents.open_sizes())
            return self._go_on(most)

    def catch_up(self, judge: Judge, *, most: int | None = None) -> int:
        """Judges again what the judge would judge otherwise than the one before, and goes on with what waits: so many as hold `most` alerts
        together. Gives how many changed."""
        with self._turn:
            with self._state.read() as unit:
                mark = unit.kv.get(_JUDGED) if self._whole is None else _mark(self._whole)
            if mark != _mark(judge):
                return self.again(most=most)
            if self._whole is None:
                rules = frozenset(_concerned(self._judged, judge)) if self._judged is not None else frozenset[str]()
                self._judged = judge
                if rules:
                    self._rules = self._rules | rules if self._left else rules
                    with self._state.read() as unit:
                        self._left = deque(unit.incidents.open_sizes(rules=sorted(self._rules)))
            return self._go_on(most)

    # ------------------------------------------------------------------ inside

    def _go_on(self, most: int | None) -> int:
        """Judges some of those that wait."""
        changed = held = 0
        while batch := self._batch(None if most is None or not held else most - held):
            held += sum(n for _, n in batch)
            # A rule's past moves a little with every incident that is closed: only who comes to stand elsewhere in the queue is told of it.
            with self._state.write() as unit:
                changed += store.judge_again(unit, [i for i, _ in batch], score_only=self._whole is None)
        if not self._left and self._whole is not None:
            with self._state.write() as unit:
                unit.kv.set(_JUDGED, _mark(self._whole))
            self._whole = None
        return changed

    def _batch(self, most: int | None) -> list[tuple[str, int]]:
        """The next incidents of those that wait, of `TOGETHER` alerts and of `most`; the first whatever it holds, unless there is a `most`."""
        batch: list[tuple[str, int]] = []
        held = 0
        while self._left:
            more = held + self._left[0][1]
            if (batch and more > TOGETHER) or (most is not None and more > most):
                break
            batch.append(self._left.popleft())
            held = more
        return batch

    def _reports(self, content: Content | None) -> Shelf:
        """The content's reports; the same shelf as long as they are the same, so that nothing is looked up again for nothing."""
        if content is None or (self._read is not None and content.incidents is self._read.incidents):
            return self._shelf
        found = reports_of(content)
        if found.reports != self._shelf.reports:
            self._shelf = found
        self._read = content
        return self._shelf


def _concerned(before: Judge, now: Judge) -> list[str]:
    """The rules of which the judge says something else than before."""
    cases = now.weights.signal_cases
    return sorted(
        r
        for r in {*before.closed, *now.closed}
        if (past := before.closed.get(r, (0, 0))) != (is_ := now.closed.get(r, (0, 0)))
        and max(sum(past), sum(is_)) >= cases
    )


def _mark(judge: Judge) -> str:
    """What every incident is judged by, in few characters: points, assets and reports; not what each rule's past says."""
    reports = [
        [
            r.id,
            r.name,
            r.threat,
            r.least,
            *map(sorted, (r.indicators, r.techniques, r.insists, map(str, r.until.items()))),
        ]
        for r in judge.reports
    ]
    assets = sorted([*k, a.rule, a.level, a.group] for k, a in judge.assets.items())
    said = orjson.dumps([_WAY, judge.points(), assets, reports], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(said).hexdigest()
