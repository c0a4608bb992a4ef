"""Judging again: what incidents are judged by, as content, settings and people's decisions have it now; open ones are judged anew as it changes.

Every open incident is judged again when weights, points, threat reports or assets change; those that hold a rule's alerts when it turned out to be
rarer, more common, more often right or wrong than before. The most urgent come first, in transactions of `TOGETHER` alerts.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence

import orjson

from tocsin.content import Content
from tocsin.incidents import judging, store
from tocsin.incidents.priority import Judge
from tocsin.incidents.reports import Shelf, reports_of
from tocsin.state import State

__all__ = ["AT_ONCE", "TOGETHER", "Judging"]

AT_ONCE = 20_000
"""Alerts of open incidents that are judged while somebody waits for it; the rest is judged by upkeep."""

TOGETHER = 1_000
"""Alerts that one transaction judges, and one incident in any case: others want to write, too."""

_JUDGED = "incidents.judged"
"""Where the mark is kept of what every open incident was judged by last: what changed while no server ran is made up for."""


class Judging:
    """Keeps `State.judge`, and open incidents judged by it. Thread-safe."""

    def __init__(self, state: State, content: Callable[[], Content] | None) -> None:
        self._state = state
        self._content = content
        self._lock = threading.Lock()
        self._read: Content | None = None
        self._shelf = Shelf()
        self._judged: Judge | None = None
        self.behind = False
        """Whether open incidents wait to be judged again."""

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
        """Judges every open incident again, the most urgent first, or so many as hold `most` alerts together. Gives how many changed."""
        judge = self._state.judge
        with self._state.read() as unit:
            waiting = unit.incidents.open_sizes()
        changed, at, held = 0, 0, 0
        for batch in _batches(waiting):
            if most is not None and at and held + sum(n for _, n in batch) > most:
                break
            changed += self._judge([i for i, _ in batch])
            at, held = at + len(batch), held + sum(n for _, n in batch)
        self.behind = at < len(waiting)
        if not self.behind and judge is not None:
            self._keep(judge)
        return changed

    def catch_up(self, judge: Judge) -> int:
        """Judges again what the judge would judge otherwise than the one before. Gives how many changed."""
        before = self._judged
        with self._state.read() as unit:
            same = unit.kv.get(_JUDGED) == _mark(judge)
        if not same or self.behind:
            return self.again()
        if before is None or not (rules := _concerned(before, judge)):
            self._judged = judge
            return 0
        with self._state.read() as unit:
            waiting = unit.incidents.open_sizes(rules=rules)
        # A rule's past moves a little with every incident that is closed: only who comes to stand elsewhere in the queue is told of it.
        changed = sum(self._judge([i for i, _ in batch], score_only=True) for batch in _batches(waiting))
        self._judged = judge
        return changed

    # ------------------------------------------------------------------ inside

    def _judge(self, ids: Sequence[str], *, score_only: bool = False) -> int:
        with self._state.write() as unit:
            return sum(store.judge_again(unit, i, score_only=score_only) for i in ids)

    def _keep(self, judge: Judge) -> None:
        self._judged = judge
        with self._state.write() as unit:
            unit.kv.set(_JUDGED, _mark(judge))

    def _reports(self, content: Content | None) -> Shelf:
        """The content's reports; the same shelf as long as they are the same, so that nothing is looked up again for nothing."""
        if content is None or (self._read is not None and content.incidents is self._read.incidents):
            return self._shelf
        found = reports_of(content)
        if found.reports != self._shelf.reports:
            self._shelf = found
        self._read = content
        return self._shelf


def _batches(waiting: Sequence[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    batch: list[tuple[str, int]] = []
    held = 0
    for incident_id, alerts in waiting:
        if batch and held + alerts > TOGETHER:
            yield batch
            batch, held = [], 0
        batch.append((incident_id, alerts))
        held += alerts
    if batch:
        yield batch


def _concerned(before: Judge, now: Judge) -> list[str]:
    """The rules of which the judge says something else than before."""
    rare, cases = now.weights.rare_below, now.weights.signal_cases
    counted = {
        r
        for r in {*before.alerts, *now.alerts}
        if (was := before.alerts.get(r, 0)) != (n := now.alerts.get(r, 0)) and min(was, n) < rare
    }
    closed = {
        r
        for r in {*before.closed, *now.closed}
        if (past := before.closed.get(r, (0, 0))) != (is_ := now.closed.get(r, (0, 0)))
        and max(sum(past), sum(is_)) >= cases
    }
    return sorted(counted | closed)


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
    said = orjson.dumps([judge.points(), assets, reports], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(said).hexdigest()
