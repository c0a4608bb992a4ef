"""Times and counts of incidents, computed from the incident log as it stood at the end of the period: they stay what they were.

- **acknowledged**: a person took it (a user, no group, owns it and a person, not automation, has made a change). MTTA = created → acknowledged.
- **resolved**: closed in the period and still closed at its end. MTTR = acknowledged → resolved without the time that it lay closed before it
  was opened again; closure = created → resolved. Those that automation closed are counted apart and are in neither mean.
- A merged incident is counted once, as the one that stays, from the earlier creation. Unclassified is a class of its own.

Facts: `governance.md` §7 of the specification. Percentiles are by nearest rank: the value that p % of the others don't exceed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tocsin.base.errors import UsageError, did_you_mean
from tocsin.state import IncidentRow, LogRow, Unit, text_of

__all__ = ["GROUPS", "Life", "lives", "metrics"]

GROUPS = ("severity", "status", "owner", "classification", "product", "tactic")
"""What figures can be parted by. An incident with several products or tactics counts in each."""

_PEOPLE = frozenset({"user"})


@dataclass(slots=True)
class Life:
    """What the log says of one incident's times. `spans` are the times that it lay closed and was opened again."""

    id: str
    created: datetime | None = None
    acknowledged: datetime | None = None
    closed: datetime | None = None
    closed_by_people: bool = False
    status: str = "New"
    promoted: bool = False
    owner: str = ""
    classification: str = ""
    spans: list[tuple[datetime, datetime]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def to_acknowledge(self) -> float | None:
        """Seconds from creation until somebody took it."""
        if self.created is None or self.acknowledged is None:
            return None
        return max(0.0, (self.acknowledged - self.created).total_seconds())

    @property
    def to_close(self) -> float | None:
        """Seconds from creation until it was closed."""
        if self.created is None or self.closed is None:
            return None
        return (self.closed - self.created).total_seconds()

    @property
    def to_resolve(self) -> float | None:
        """Seconds of work: from when it was taken until it was closed, without the time that it lay closed."""
        if self.acknowledged is None or self.closed is None:
            return None
        taken = self.acknowledged
        rest = sum(max(0.0, (until - max(since, taken)).total_seconds()) for since, until in self.spans)
        return max(0.0, (self.closed - taken).total_seconds() - rest)

    def groups(self, by: str) -> Sequence[str]:
        """Its values of what figures are parted by; "" where it has none."""
        if by == "product":
            return self.facts.get("products") or [""]
        if by == "tactic":
            return self.facts.get("tactics") or [""]
        if by == "severity":
            return [str(self.facts.get("severity") or "")]
        return [str(getattr(self, by))]


def lives(entries: Iterable[LogRow]) -> dict[str, Life]:
    """By incident: what the entries say of its times."""
    found: dict[str, Life] = {}
    for entry in entries:
        life = found.setdefault(entry.incident_id, Life(entry.incident_id))
        said: Mapping[str, Any] = entry.data.get("set", {})
        life.facts.update(entry.data.get("facts", {}))
        for name in ("owner", "classification"):
            if name in said:
                setattr(life, name, said[name] or "")
        for name in ("created", "acknowledged"):
            if name in said:
                setattr(life, name, _moment(said[name]))
        life.promoted = said.get("promoted", life.promoted)
        if "status" in said and said["status"] != life.status:
            if life.status == "Resolved" and said["status"] != "Redirected" and life.closed is not None:
                life.spans.append((life.closed, entry.time))
            life.status = said["status"]
        if "closed" in said:
            life.closed = _moment(said["closed"])
            life.closed_by_people = entry.source in _PEOPLE
    return found


def metrics(unit: Unit, start: datetime, end: datetime, *, by: str = "") -> dict[str, Any]:
    """The figures of a period: incidents created, taken and closed in [start, end), and those open at its end.

    `by` parts them too. UsageError for a period that is none or a group that isn't known.
    """
    if start >= end:
        raise UsageError("The period ends before it begins.", code="INC0003", hint="Give --from before --to.")
    if by and by not in GROUPS:
        raise UsageError(f"Figures can't be parted by {by!r}.", code="INC0003", hint=did_you_mean(by, GROUPS))
    found = [life for life in lives(unit.incidents.history.versions(until=end)).values() if life.promoted]
    for life in found:
        if not life.facts:  # from before the log kept these facts
            life.facts = _facts(unit.incidents.get(life.id))
    made: dict[str, Any] = {"from": text_of(start), "to": text_of(end), **_figures(found, start, end)}
    if by:
        parts: dict[str, list[Life]] = {}
        for life in found:
            for value in life.groups(by):
                parts.setdefault(value, []).append(life)
        made["by"] = by
        made["groups"] = [{"value": value, **_figures(parts[value], start, end)} for value in sorted(parts)]
    return made


def _figures(found: Sequence[Life], start: datetime, end: datetime) -> dict[str, Any]:
    kept = [life for life in found if life.status != "Redirected"]

    def inside(moment: datetime | None) -> bool:
        return moment is not None and start <= moment < end

    closed = [life for life in kept if life.status == "Resolved" and inside(life.closed)]
    people = [life for life in closed if life.closed_by_people]
    waiting = [life for life in kept if life.status != "Resolved"]
    reopened = sum(1 for life in kept for _, until in life.spans if start <= until < end)
    return {
        "created": sum(inside(life.created) for life in kept),
        "merged": sum(inside(life.created) for life in found if life.status == "Redirected"),
        "acknowledged": sum(inside(life.acknowledged) for life in kept),
        "resolved": len(people),
        "auto_resolved": len(closed) - len(people),
        "reopened": reopened,
        "open": len(waiting),
        "open_unacknowledged": sum(life.acknowledged is None for life in waiting),
        "mtta": _spread(life.to_acknowledge for life in kept if inside(life.acknowledged)),
        "mttr": _spread(life.to_resolve for life in people),
        "closure": _spread(life.to_close for life in people),
        "queue_age": _spread((end - life.created).total_seconds() for life in waiting if life.created is not None),
        "classification": dict(sorted(Counter(life.classification or "Unclassified" for life in closed).items())),
    }


def _spread(values: Iterable[float | None]) -> dict[str, Any]:
    """How many, mean and percentiles, in seconds; null where there is nothing to measure."""
    known = sorted(v for v in values if v is not None)
    if not known:
        return {"count": 0, "mean": None, "p50": None, "p90": None, "p99": None}
    ranks = {f"p{p}": round(known[math.ceil(p / 100 * len(known)) - 1], 6) for p in (50, 90, 99)}
    return {"count": len(known), "mean": round(math.fsum(known) / len(known), 6), **ranks}


def _facts(row: IncidentRow | None) -> dict[str, Any]:
    if row is None:
        return {}
    payload = row.payload
    return {"severity": row.severity, "products": payload.get("products", []), "tactics": payload.get("tactics", [])}


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
