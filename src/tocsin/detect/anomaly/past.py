"""An anomaly over rows that are all there already, on the data's own time: what `tocsin scan` does with it.

Only windows in which something happened are looked at, and only those before which the data can hold a baseline at all: until then every insight is
unknown. Each window is compared with the history before it, as live.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tocsin.detect.anomaly.evaluate import Finding, Readiness, evaluate
from tocsin.detect.anomaly.model import Anomaly
from tocsin.detect.run import Queries, stored_tables
from tocsin.detect.windows import IN_BUCKETS, moment_of, touch
from tocsin.lake.engine import Limits, Window

__all__ = ["Past", "run_past"]

WINDOWS = 168
"""How many windows are looked at, the newest of those that can have a baseline: a week of hourly ones."""

_LIMITS = Limits(rows=2_000_000, seconds=300.0, result_bytes=None)
_TICK = timedelta(microseconds=1)
_ERA = (datetime(1700, 1, 1), datetime(9000, 1, 1))  # noqa: DTZ001 - gets the zone of what it bounds
"""Times before and after it are nobody's, and a window around them would leave the calendar."""


@dataclass(slots=True)
class Past:
    """What came of it. `covered` is how long before its last window the data reaches; `left` counts windows that would have been too many."""

    anomaly: Anomaly
    covered: timedelta = timedelta(0)
    windows: int = 0
    left: int = 0
    readiness: Readiness | None = None
    findings: list[tuple[datetime, Finding]] = field(default_factory=list)

    @property
    def note(self) -> str:
        """Why nothing, or not everything, can be said; empty where all was looked at."""
        anomaly = self.anomaly
        if not self.windows:
            days = self.covered / timedelta(days=1)
            return f"no baseline: it needs {anomaly.ready.days} days of what it looks at before a window, the data has {days:.1f}"
        if self.readiness is None or not self.readiness.ready:
            entities = self.readiness.entities if self.readiness is not None else 0
            return f"no baseline: of {entities} entities none has {anomaly.ready.days} days and {anomaly.ready.events} events"
        if self.left:
            return f"the newest {self.windows} windows were looked at, {self.left} before them not"
        return ""

    def to_dict(self, found: int) -> dict[str, Any]:
        """The JSON form; `found` is how many rows of Anomalies came of it."""
        return {
            "id": self.anomaly.id,
            "name": self.anomaly.name,
            "found": found,
            "windows": self.windows,
            "entities": self.readiness.entities if self.readiness is not None else 0,
            "ready": self.readiness.ready if self.readiness is not None else 0,
            "note": self.note,
        }


def run_past(
    anomaly: Anomaly, queries: Queries, first: datetime, last: datetime, *, progress: Callable[[], None] = lambda: None
) -> Past:
    """The anomaly's windows over the events from `first` to `last`. Raises as `tocsin.detect.anomaly.evaluate`."""
    past = Past(anomaly)
    first, last = (
        min(max(t, _ERA[0].replace(tzinfo=t.tzinfo)), _ERA[1].replace(tzinfo=t.tzinfo)) for t in (first, last)
    )
    buckets: set[datetime] = set()
    for table in stored_tables(queries.compile(anomaly.query)):
        name = table if table.isidentifier() else f"['{table}']"
        result = queries.run(
            f"{name}{IN_BUCKETS}", window=Window(first, last + _TICK, "TimeGenerated"), now=last + _TICK, limits=_LIMITS
        )
        buckets.update(
            b.replace(tzinfo=first.tzinfo) if b.tzinfo is None else b
            for b in result.table.column(0).to_pylist()
            if b is not None
        )
    if not buckets:
        return past
    ends = [
        moment_of(n, anomaly.frequency) for n in sorted(touch(buckets, anomaly.frequency, anomaly.frequency).newest)
    ]
    begin = min(buckets)
    past.covered = max(ends[-1] - anomaly.frequency - begin, timedelta(0))
    able = [end for end in ends if end - anomaly.frequency - begin >= timedelta(days=anomaly.ready.days - 1)]
    past.left = max(0, len(able) - WINDOWS)
    for end in able[-WINDOWS:]:
        found = evaluate(anomaly, queries, end - anomaly.frequency, end)
        past.windows += 1
        past.readiness = found.readiness
        past.findings.extend((end, finding) for finding in found.findings)
        progress()
    return past
