"""Hits to alerts: hits of one rule on the same hosts and accounts within a burst are one alert.

A rule's threshold is how many hits a burst has without an alert. Its suppression is how long after an alert, on the clock and not by the events' own
times, a live rule is silent; in a scan nothing is left out. Both are set by tuning, as Sigma itself has neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.base.ids import stable_id
from tocsin.detect.alert import Alert, Evidence
from tocsin.detect.entities import EntitySet
from tocsin.detect.make import EVIDENCE_ROWS, row_hash
from tocsin.detect.rule import Rule
from tocsin.detect.sigma.correlation import Hit

__all__ = ["Gatherer", "alert_of"]

OPEN_BURSTS = 100_000


@dataclass(slots=True)
class _Burst:
    hits: list[Hit]
    count: int
    first: datetime
    last: datetime
    said: bool = False

    def take(self, hit: Hit, *, keep: bool) -> None:
        """Counts a hit, and keeps it as evidence up to the limit."""
        self.count += 1
        self.first, self.last = min(self.first, hit.time), max(self.last, hit.time)
        if keep and len(self.hits) < EVIDENCE_ROWS:
            hit.event.keep()
            self.hits.append(hit)


class Gatherer:
    """Collects hits; see `SigmaMatcher` for `live`."""

    def __init__(self, *, live: bool, burst: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._live = live
        self._burst = burst
        self._clock = clock
        self._open: dict[tuple[str, tuple[str, ...]], list[_Burst]] = {}
        self._silent: dict[str, float] = {}
        """By rule until when it is suppressed."""

    def add(self, hit: Hit) -> list[Alert]:
        """Takes a hit; when live, the alert of a burst that goes over the rule's threshold."""
        rule = hit.rule
        if self._live and rule.suppression is not None and self._clock() < self._silent.get(rule.id, 0.0):
            return []
        key = (rule.id, hit.assets)
        bursts = self._open.setdefault(key, [])
        for burst in reversed(bursts):
            if abs(hit.time - burst.first) <= self._burst:
                burst.take(hit, keep=not burst.said)
                return self._said(burst, rule) if self._live else []
        if not self._live:
            hit.event.keep()
            bursts.append(_Burst([hit], 1, hit.time, hit.time))
            return []
        # Only the latest burst can still grow, and the key that was quiet longest is forgotten first.
        del self._open[key]
        if len(self._open) >= OPEN_BURSTS:
            del self._open[next(iter(self._open))]
        made = _Burst([hit], 1, hit.time, hit.time)
        self._open[key] = [made]
        said = self._said(made, rule)
        if not said:
            hit.event.keep()
        return said

    def _said(self, burst: _Burst, rule: Rule) -> list[Alert]:
        """The alert of a burst that has enough hits now; its hits needn't be kept any longer."""
        if burst.said or burst.count <= rule.threshold:
            return []
        alert = alert_of(burst.hits, burst.count, burst.first, burst.last)
        burst.said, burst.hits = True, []
        if rule.suppression is not None:
            self._silent[rule.id] = self._clock() + rule.suppression.total_seconds()
        return [alert]

    def forget(self) -> None:
        """Forgets open bursts, and what wasn't said of them."""
        self._open = {}

    def finish(self) -> list[Alert]:
        """The alerts of everything that wasn't said."""
        kept = {} if self._live else self._open
        self._open = {}
        joined = [b for bursts in kept.values() for b in self._joined(bursts) if b.count > b.hits[0].rule.threshold]
        return sorted((alert_of(b.hits, b.count, b.first, b.last) for b in joined), key=lambda a: (a.time, a.id))

    def _joined(self, bursts: list[_Burst]) -> list[_Burst]:
        """Bursts by time, those joined that began within one burst of another: files are read in any order."""
        bursts.sort(key=lambda b: b.first)
        found = bursts[:1]
        for burst in bursts[1:]:
            if burst.first - found[-1].first <= self._burst:
                for hit in burst.hits:
                    found[-1].take(hit, keep=True)
                found[-1].count += burst.count - len(burst.hits)
                found[-1].last = max(found[-1].last, burst.last)
            else:
                found.append(burst)
        return found


def alert_of(hits: list[Hit], count: int, first: datetime, last: datetime) -> Alert:
    """The alert of a burst's hits."""
    rule: Rule = hits[0].rule
    hashes = {id(h): row_hash(h.row) for h in hits}
    if len(hits) > 1:
        hits = sorted(hits, key=lambda h: (h.time, hashes[id(h)]))
    entities = EntitySet()
    evidence: list[Evidence] = []
    for hit in hits:
        entities.add(hit.entities)
        evidence.extend(Evidence(e.source, e.row) for e in hit.events())
    return Alert(
        id=stable_id("al", rule.id, *sorted(hashes.values())),
        rule_id=rule.id,
        rule=rule.name,
        title=rule.name,
        time=first,
        end=last,
        severity=rule.severity,
        created=last,
        tactics=rule.tactics,
        techniques=rule.techniques,
        entities=entities.entities(),
        events=tuple(evidence[:EVIDENCE_ROWS]),
        count=count,
        description=rule.description,
        product=rule.product,
        tags=rule.tags,
        correlate=rule.incident.correlate,
        create_incident=rule.incident.create,
    )
