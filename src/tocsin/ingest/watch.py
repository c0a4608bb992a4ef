"""The health of sources: when each sent last, how much, how long its rows took to be visible, and after which pause it counts as silent.

A source's cadence is learned from itself: of each of the last 14 days the longest pause that ended then is kept, and the cadence is what nine in ten
of them stay within. So nights and weekends are part of it, and one outage in ten days isn't. Pauses of the server's own are left out.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any

import msgpack
import structlog

from tocsin.base.clock import Clock, SystemClock
from tocsin.base.errors import LakeError
from tocsin.lake import Body
from tocsin.lake.durable import write_atomically

__all__ = ["Facts", "Latencies", "SourceWatch", "WatchSettings", "source_of"]

_log = structlog.get_logger("tocsin.ingest.watch")
_FORMAT = 1
_DAYS = 14
_MOST = 2_000
_LEARNED = 10
"""Arrivals, spread over an hour at least, before anything is said of a cadence: a file that was imported once has none."""
_RATE_SECONDS, _RATE_PARTS = 300, 30
"""The span that a rate is of, and how finely it moves on."""
_OWN = "tocsin"
"""What Tocsin sends itself isn't a source."""


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """When a source counts as silent: after `factor` times its cadence, but not before `least`, on its first day not before `young`.

    A source that was silent for `forget` is forgotten.
    """

    factor: float = 3.0
    least: timedelta = timedelta(minutes=10)
    young: timedelta = timedelta(hours=1)
    forget: timedelta = timedelta(days=30)


class Latencies:
    """How often it took how long, in steps of a quarter: from a millisecond to an hour. Not safe for several threads."""

    BOUNDS = tuple(0.001 * 1.25**n for n in range(68))

    def __init__(self) -> None:
        self.counts = [0] * (len(self.BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """`count` rows took that long."""
        self.counts[bisect_left(self.BOUNDS, seconds)] += count
        self.total += seconds * count

    @property
    def count(self) -> int:
        """How many were added."""
        return sum(self.counts)

    def percentile(self, share: float) -> float | None:
        """What that share of them stayed within, at most a quarter too high; None without any."""
        left = ceil(share * self.count)
        if not left:
            return None
        for bound, count in zip((*self.BOUNDS, self.BOUNDS[-1]), self.counts, strict=True):
            left -= count
            if left <= 0:
                return round(bound, 6)
        return None

    def copy(self) -> Latencies:
        """One like it."""
        made = Latencies()
        made.counts, made.total = list(self.counts), self.total
        return made

    def since(self, before: Latencies) -> Latencies:
        """What was added since `before` was copied from it."""
        made = Latencies()
        made.counts = [a - b for a, b in zip(self.counts, before.counts, strict=True)]
        made.total = self.total - before.total
        return made


@dataclass(slots=True)
class _Watched:
    first: datetime
    last: datetime
    arrivals: int = 0
    paused: float = 0.0
    """Seconds since `last` in which the server was down."""
    days: dict[str, float] = field(default_factory=dict)
    events: int = 0
    bytes: int = 0
    errors: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    lately: dict[int, int] = field(default_factory=dict)
    """Events by the part of the span of a rate in which they came."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a source at a moment. Counts and latencies are since the start of the process; `cadence` and `threshold` are None while it is
    learned."""

    kind: str
    name: str
    first: datetime
    last: datetime
    events: int
    bytes: int
    errors: int
    silent: float
    cadence: float | None
    days: int
    threshold: float | None
    latencies: Latencies
    rate: float = 0.0
    """Events by the second, over the last five minutes, or since the source or the process began when that is less."""

    @property
    def stale(self) -> bool:
        """Whether it is silent for longer than it ever is."""
        return self.threshold is not None and self.silent > self.threshold


def source_of(kind: str, name: str) -> tuple[str, str]:
    """Under what a sender is watched: files by their folder, since logs that rotate change their names."""
    if kind == "file":
        return kind, name.rpartition("/")[0] or name
    return kind, name


class SourceWatch:
    """Watches all sources. Safe to use from several threads.

    A memory of intake (`tocsin.ingest.pipeline.Memory`): cadences outlive the process in `file`.
    """

    def __init__(
        self, file: Path | None = None, *, clock: Clock | None = None, settings: WatchSettings | None = None
    ) -> None:
        self._file = file
        self._clock = clock or SystemClock()
        self.settings = settings or WatchSettings()
        self._lock = threading.Lock()
        self._sources: dict[tuple[str, str], _Watched] = {}
        self._began = self._clock.now()
        self._saved: datetime | None = None
        if file is not None and file.is_file():
            self._load(file)

    # ------------------------------------------------------------------ what intake tells

    def started(self) -> None:
        """Intake listens from now on: since the state was saved, or since the last body that a crash left in the log, nobody was there to hear."""
        now = self._clock.now()
        with self._lock:
            for w in self._sources.values():
                since = max(w.last, self._saved) if self._saved is not None else w.last
                w.paused += max(0.0, (now - since).total_seconds())

    def took(self, kind: str, name: str, received: datetime, events: int, size: int, errors: int) -> None:
        """A body of a source was decoded."""
        if name == _OWN:
            return
        key = source_of(kind, name)
        with self._lock:
            found = self._sources.get(key)
            if found is None:
                if len(self._sources) >= _MOST:
                    return
                found = self._sources[key] = _Watched(received, received)
            else:
                self._paused(found, received)
            found.arrivals += 1
            found.events += events
            part = _part(received)
            found.lately[part] = found.lately.get(part, 0) + events
            if len(found.lately) > _RATE_PARTS + 1:
                found.lately = {p: n for p, n in found.lately.items() if p > part - _RATE_PARTS}
            found.bytes += size
            found.errors += errors

    def _paused(self, found: _Watched, received: datetime) -> None:
        gap = (received - found.last).total_seconds()
        if gap <= 0:
            return  # at once, or from the log once more
        day = received.date().isoformat()
        pause = max(0.0, gap - found.paused)
        if pause > found.days.get(day, -1.0):
            found.days[day] = pause
            if len(found.days) > _DAYS:
                oldest = (received.date() - timedelta(days=_DAYS)).isoformat()
                found.days = {d: p for d, p in found.days.items() if d > oldest}
        found.last, found.paused = received, 0.0

    def visible(self, kind: str, name: str, seconds: float, events: int) -> None:
        """Rows of a body became visible that long after it came."""
        if name == _OWN or not events:
            return
        with self._lock:
            found = self._sources.get(source_of(kind, name))
            if found is not None:
                found.latencies.add(max(0.0, seconds), events)

    def taken(self, body: Body) -> None:
        """See `Memory`: nothing beyond what `took` is told."""

    # ------------------------------------------------------------------ what others ask

    def facts(self, now: datetime | None = None) -> list[Facts]:
        """Every source, by kind and name; those that were silent for too long are forgotten."""
        now = now or self._clock.now()
        with self._lock:
            gone = [k for k, w in self._sources.items() if now - w.last > self.settings.forget]
            for key in gone:
                del self._sources[key]
            return [self._facts(key, w, now) for key, w in sorted(self._sources.items())]

    def fact(self, kind: str, name: str) -> Facts | None:
        """One source; None for one that sent nothing yet."""
        key = source_of(kind, name)
        with self._lock:
            found = self._sources.get(key)
            return None if found is None else self._facts(key, found, self._clock.now())

    def _facts(self, key: tuple[str, str], w: _Watched, now: datetime) -> Facts:
        silent = max(0.0, (now - w.last).total_seconds() - w.paused)
        cadence = threshold = None
        oldest = (now.date() - timedelta(days=_DAYS)).isoformat()
        pauses = sorted(p for d, p in w.days.items() if d > oldest)
        if pauses and w.arrivals >= _LEARNED and w.last - w.first >= timedelta(hours=1):
            cadence = pauses[ceil(0.9 * len(pauses)) - 1]
            young = now - w.first < timedelta(days=1)
            least = self.settings.young if young else self.settings.least
            threshold = max(self.settings.factor * cadence, least.total_seconds())
        span = min(_RATE_SECONDS, max(1.0, (now - max(w.first, self._began)).total_seconds()))
        oldest_part = _part(now) - _RATE_PARTS
        lately = sum(n for p, n in w.lately.items() if p > oldest_part)
        return Facts(
            *key, w.first, w.last, w.events, w.bytes, w.errors, silent, cadence, len(pauses), threshold, w.latencies.copy(),
            round(lately / span, 3),
        )  # fmt: skip

    # ------------------------------------------------------------------ over restarts

    def save(self) -> None:
        """Writes cadences into the file. A full disk costs what was learned since the last time, and no rows."""
        if self._file is None:
            return
        with self._lock:
            sources = [
                [*key, w.first.timestamp(), w.last.timestamp(), w.arrivals, w.paused, w.days]
                for key, w in self._sources.items()
            ]
        data = msgpack.packb({"format": _FORMAT, "saved": self._clock.now().timestamp(), "sources": sources})
        try:
            write_atomically(self._file, data)
        except (OSError, LakeError) as error:
            _log.warning("ingest.watch.unsaved", error=str(error))

    def _load(self, file: Path) -> None:
        try:
            found: Mapping[str, Any] = msgpack.unpackb(file.read_bytes())
            if found["format"] != _FORMAT:
                return
            self._saved = datetime.fromtimestamp(found["saved"], UTC)
            for kind, name, first, last, arrivals, paused, days in found["sources"]:
                self._sources[kind, name] = _Watched(
                    datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC), arrivals, paused, dict(days)
                )
        except (OSError, ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
            _log.warning("ingest.watch.unreadable", error=str(error))
            self._sources.clear()


def _part(moment: datetime) -> int:
    return int(moment.timestamp() * _RATE_PARTS // _RATE_SECONDS)
