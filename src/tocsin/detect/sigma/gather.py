"""Hits to alerts: hits of one rule on the same hosts and accounts within a burst are one alert.

A rule's threshold is how many hits a burst has without an alert. Its suppression is how long after an alert, on the clock and not by the events' own
times, a live rule is silent; in a scan nothing is left out. Rules that ask for an alert a result have one for each hit, up to the limit of their
kind in a burst; rules that ask for one alert have it for all hits of a burst, on whatever. Sigma itself has none of this: it comes from the block
``tocsin`` (`tocsin.detect.formats.sigma_options`) and from tuning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tocsin.base.ids import stable_id
from tocsin.detect.alert import Alert, Evidence
from tocsin.detect.entities import EntitySet
from tocsin.detect.make import EVIDENCE_ROWS, alert_details, assets_of, row_entities, row_hash
from tocsin.detect.rule import ALERTS_PER_RUN, Rule
from tocsin.detect.sigma.correlation import Hit
from tocsin.detect.sigma.kept import MOST_BURSTS, cut, hits_of, plain_hit

__all__ = ["Gatherer", "alert_of"]

OPEN_BURSTS = 100_000


@dataclass(slots=True)
class _Burst:
    hits: list[Hit]
    count: int
    first: datetime
    last: datetime
    said: bool = False
    alerts: int = 0

    def take(self, hit: Hit, *, keep: bool) -> None:
        """Counts a hit, and keeps it as evidence up to the limit."""
        self.count += 1
        self.first, self.last = min(self.first, hit.time), max(self.last, hit.time)
        if keep and len(self.hits) < (ALERTS_PER_RUN[hit.rule.kind] if hit.rule.each_hit else EVIDENCE_ROWS):
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
        key = (rule.id, _about(hit))
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
        if rule.each_hit:
            alerts = _each(burst)
            burst.said = burst.alerts >= ALERTS_PER_RUN[rule.kind]
        else:
            alerts = [alert_of(burst.hits, burst.count, burst.first, burst.last)]
            burst.said = True
        burst.hits = []
        if rule.suppression is not None:
            self._silent[rule.id] = self._clock() + rule.suppression.total_seconds()
        return alerts

    def kept(self, now: datetime) -> dict[str, Any]:
        """Open bursts and suppression as plain values (see `tocsin.detect.sigma.kept`); `now` is the time of day."""
        latest = [(key, bursts[-1]) for key, bursts in self._open.items()][-MOST_BURSTS:]
        cut("bursts", len(self._open), len(latest))
        clock = self._clock()
        return {
            "bursts": [
                [
                    rule_id,
                    list(about),
                    b.count,
                    b.first.isoformat(),
                    b.last.isoformat(),
                    b.said,
                    b.alerts,
                    [plain_hit(h) for h in b.hits],
                ]
                for (rule_id, about), b in latest
            ],
            "silent": {
                r: (now + timedelta(seconds=until - clock)).isoformat()
                for r, until in self._silent.items()
                if until > clock
            },
        }

    def take_back(self, plain: Mapping[str, Any], rules: Mapping[str, tuple[int, Rule]], now: datetime) -> None:
        """Goes on from `kept`'s values, for rules that are still there."""
        for rule_id, about, count, first, last, said, alerts, hits in plain["bursts"]:
            if rule_id in rules:
                begun, ended = datetime.fromisoformat(first), datetime.fromisoformat(last)
                burst = _Burst(hits_of(hits, rules), count, begun, ended, said, alerts)
                self._open[rule_id, tuple(about)] = [burst]
        for rule_id, until in plain["silent"].items():
            left = (datetime.fromisoformat(until) - now).total_seconds()
            if rule_id in rules and left > 0:
                self._silent[rule_id] = self._clock() + left

    def forget(self) -> None:
        """Forgets open bursts, and what wasn't said of them."""
        self._open = {}

    def finish(self) -> list[Alert]:
        """The alerts of everything that wasn't said."""
        kept = {} if self._live else self._open
        self._open = {}
        joined = [b for bursts in kept.values() for b in self._joined(bursts) if b.count > b.hits[0].rule.threshold]
        alerts = [
            a
            for b in joined
            for a in (_each(b) if b.hits[0].rule.each_hit else [alert_of(b.hits, b.count, b.first, b.last)])
        ]
        return sorted(alerts, key=lambda a: (a.time, a.id))

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


def _about(hit: Hit) -> tuple[str, ...]:
    """What makes hits of a rule one alert."""
    rule = hit.rule
    if not rule.per_result:
        return ()
    if rule.entity_mappings or rule.entities_columns:
        return assets_of(row_entities(rule, hit.row))
    return hit.assets


def _each(burst: _Burst) -> list[Alert]:
    """An alert of each hit that is kept; the last that the rule's kind allows stands for all that come."""
    alerts = []
    hits = sorted(burst.hits, key=lambda h: (h.time, row_hash(h.row))) if len(burst.hits) > 1 else burst.hits
    for number, hit in enumerate(hits):
        burst.alerts += 1
        if burst.alerts >= ALERTS_PER_RUN[hit.rule.kind]:
            rest = hits[number:]
            alerts.append(alert_of(rest, burst.count - burst.alerts + 1, rest[0].time, burst.last))
            break
        alerts.append(alert_of([hit], 1, hit.time, hit.time))
    return alerts


def alert_of(hits: list[Hit], count: int, first: datetime, last: datetime) -> Alert:
    """The alert of a burst's hits."""
    rule: Rule = hits[0].rule
    hashes = {id(h): row_hash(h.row) for h in hits}
    if len(hits) > 1:
        hits = sorted(hits, key=lambda h: (h.time, hashes[id(h)]))
    entities = EntitySet()
    evidence: list[Evidence] = []
    mapped = bool(rule.entity_mappings or rule.entities_columns)
    for hit in hits:
        entities.add(row_entities(rule, hit.row) if mapped else hit.entities)
        evidence.extend(Evidence(e.source, e.row) for e in hit.events())
    return Alert(
        id=stable_id("al", rule.id, *sorted(hashes.values())),
        rule_id=rule.id,
        rule=rule.name,
        time=first,
        end=last,
        created=last,
        entities=entities.entities(),
        events=tuple(evidence[:EVIDENCE_ROWS]),
        count=count,
        **alert_details(rule, [h.row for h in hits]),
    )
