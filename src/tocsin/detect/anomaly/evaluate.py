"""One window of an anomaly against its baseline: what was done, how usual that is, and why.

Queries give counts only (events by entity, peer group and feature), so that a baseline of weeks stays small; medians and shares are taken here.
An insight is True, False, or None where the baseline can't say: too few days, events or peers. None is never False.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from tocsin.base.errors import DetectError, Place
from tocsin.detect.anomaly.baseline import Spread, rarity, spread_of
from tocsin.detect.anomaly.model import Anomaly, Term, Volume
from tocsin.detect.make import moment
from tocsin.detect.run import Queries
from tocsin.lake.engine import Limits, Window

__all__ = ["Asking", "Evaluation", "Finding", "Readiness", "evaluate", "is_ready"]

LIMITS = Limits(rows=500_000, seconds=300.0)
_TIMES = ("First", "TimeGenerated", "_Bin")
_FIRST, _UNCOMMON, _PEERS, _HIGH = 0.45, 0.2, 0.5, 0.5

Row = Mapping[str, Any]
Relations = Callable[[Window], Mapping[str, pa.Table]]
"""Tables in place of the lake's, for a window."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """How many of the entities that were seen in the baseline have enough of it."""

    entities: int
    ready: int
    since: datetime | None
    """The first event of the baseline."""


@dataclass(slots=True)
class Finding:
    """What an entity did in a window: `insights` by name, `reasons` for those that are True, `row` an event's columns."""

    entity: str
    peer: str
    first: datetime
    last: datetime
    count: float
    row: Row
    insights: dict[str, bool | None] = field(default_factory=dict)
    reasons: list[dict[str, Any]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def say(self, name: str, holds: bool | None, weight: float, **why: Any) -> None:
        """Takes an insight."""
        if not name:
            return
        self.insights[name] = holds
        if holds:
            self.weights.append(weight)
            self.reasons.append({"Name": name, "Weight": round(weight, 3), **why})


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A window's findings."""

    findings: Sequence[Finding]
    readiness: Readiness


def evaluate(
    anomaly: Anomaly, queries: Queries, start: datetime, end: datetime, *, relations: Relations | None = None
) -> Evaluation:
    """What happened in ``[start, end)`` against the history before it, in the lake or in what `relations` gives for a window.

    Raises DetectError DET0013 where there are more entities than can be told apart, and what queries raise.
    """
    before = Asking(anomaly, queries, Window(start - anomaly.history, start, "TimeGenerated"), relations)
    now = Asking(anomaly, queries, Window(start, end, "TimeGenerated"), relations)
    base = before.entities()
    found = (
        _volumes(anomaly, anomaly.volume, base, before, now, start)
        if anomaly.volume
        else _terms(anomaly, base, before, now)
    )
    ready = sum(is_ready(anomaly, row) for row in base.values())
    since = min((row["First"] for row in base.values()), default=None)
    return Evaluation(found, Readiness(len(base), ready, since))


class Asking:
    """The queries of one window."""

    def __init__(self, anomaly: Anomaly, queries: Queries, window: Window, relations: Relations | None) -> None:
        self._anomaly, self._queries, self._window = anomaly, queries, window
        self._relations = relations(window) if relations is not None else None

    def rows(self, more: str) -> list[dict[str, Any]]:
        """Rows of the feature query and what follows it."""
        anomaly = self._anomaly
        peer = f"tostring({anomaly.peer})" if anomaly.peer else "''"
        text = f"{anomaly.query}\n| extend _Entity = tostring({anomaly.entity}), _Peer = {peer} | where isnotempty(_Entity)\n{more}"
        result = self._queries.run(
            text, window=self._window, now=self._window.end, limits=LIMITS, relations=self._relations
        )
        if result.truncated:
            raise DetectError(
                f"The anomaly '{anomaly.name}' has more than {LIMITS.rows:,} groups.",
                code="DET0013",
                place=Place(str(anomaly.path or anomaly.id)),
                hint="Let its query leave out what needs no baseline.",
            )
        return [{k: moment(v) if k in _TIMES else v for k, v in row.items()} for row in result.dicts()]

    def entities(self) -> dict[str, Row]:
        """Events, days and peer group by entity; the peer group is the one of the latest event."""
        rows = self.rows(
            "| summarize Events = count(), Days = count_distinct(bin(TimeGenerated, 1d)), First = min(TimeGenerated), "
            "arg_max(TimeGenerated, _Peer) by _Entity"
        )
        return {r["_Entity"]: r for r in rows}


def is_ready(anomaly: Anomaly, row: Row | None) -> bool:
    """Whether an entity's baseline has enough days and events."""
    return row is not None and row["Days"] >= anomaly.ready.days and row["Events"] >= anomaly.ready.events


# ---------------------------------------------------------------------------------------------- terms


def _terms(anomaly: Anomaly, base: Mapping[str, Row], before: Asking, now: Asking) -> list[Finding]:
    columns = [t.column for t in anomaly.terms]
    named = ", ".join(f"_T{n} = tostring({c})" for n, c in enumerate(columns))
    current = now.rows(
        f"| extend {named}\n| summarize Count = count(), First = min(TimeGenerated), arg_max(TimeGenerated, *) by _Entity, _Peer, "
        + ", ".join(f"_T{n}" for n in range(len(columns)))
    )
    histories = [
        before.rows(f"| summarize Count = count() by _Entity, _Peer, _Term = tostring({c})") if current else []
        for c in columns
    ]
    tables = [_TermTable(rows) for rows in histories]
    found = []
    for row in current:
        finding = Finding(row["_Entity"], row["_Peer"], row["First"], row["TimeGenerated"], row["Count"], row)
        for number, (term, table) in enumerate(zip(anomaly.terms, tables, strict=True)):
            if row[f"_T{number}"]:
                _judge_term(anomaly, term, table, base, finding, row[f"_T{number}"])
        found.append(finding)
    return found


class _TermTable:
    """A feature's history: counts by entity and value, and who has used a value, by peer group."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.counts: dict[str, dict[str, int]] = defaultdict(dict)
        self.users: dict[tuple[str, str], set[str]] = defaultdict(set)
        for row in rows:
            counts = self.counts[row["_Entity"]]
            counts[row["_Term"]] = counts.get(row["_Term"], 0) + row["Count"]
            self.users[row["_Peer"], row["_Term"]].add(row["_Entity"])


def _judge_term(
    anomaly: Anomaly, term: Term, table: _TermTable, base: Mapping[str, Row], finding: Finding, value: str
) -> None:
    own = base.get(finding.entity)
    ready = is_ready(anomaly, own)
    counts = table.counts.get(finding.entity, {})
    total, count = sum(counts.values()), counts.get(value, 0)
    share = rarity(count, total)
    baseline = {
        "Value": value,
        "Feature": term.column,
        "Events": total,
        "Days": own["Days"] if own else 0,
        "Seen": count,
    }
    finding.say(term.first, count == 0 if ready else None, _FIRST, **baseline)
    finding.say(term.uncommon, share < term.rare if ready else None, _UNCOMMON, Share=round(share, 4), **baseline)
    if anomaly.peer:
        peers = {e for e, row in base.items() if row["_Peer"] == finding.peer and e != finding.entity and finding.peer}
        enough = len(peers) >= anomaly.ready.peers and sum(base[e]["Events"] for e in peers) >= anomaly.ready.events
        users = len(table.users.get((finding.peer, value), set()) & peers)
        shared = rarity(users, len(peers))
        told = {
            "Group": finding.peer,
            "Peers": len(peers),
            "PeersWithIt": users,
            "Value": value,
            "Feature": term.column,
        }
        finding.say(term.peers, shared < term.rare_peers if enough else None, _PEERS, **told)


# ---------------------------------------------------------------------------------------------- volume


def _volumes(
    anomaly: Anomaly, volume: Volume, base: Mapping[str, Row], before: Asking, now: Asking, start: datetime
) -> list[Finding]:
    seconds = int(volume.bin.total_seconds())
    by = f"by _Entity, _Peer, _Bin = bin(TimeGenerated, {seconds}s)"
    current = now.rows(
        f"| summarize _Value = {volume.measure}, First = min(TimeGenerated), arg_max(TimeGenerated, *) {by}"
    )
    if not current:
        return []
    history = before.rows(f"| summarize _Value = {volume.measure} {by}")
    bins = _Bins(volume, history, base, start)
    found = []
    for row in current:
        value, slot = float(row["_Value"] or 0), volume.slot(int(row["_Bin"].timestamp()))
        finding = Finding(row["_Entity"], row["_Peer"], row["First"], row["TimeGenerated"], value, row)
        least = 3 if volume.season != "none" else anomaly.ready.days
        own = base.get(finding.entity)
        spread = spread_of(bins.of(finding.entity, slot), least) if is_ready(anomaly, own) else None
        _say_volume(finding, volume.high, spread, value, volume, row)
        if anomaly.peer and finding.peer:
            peers = [e for e, r in base.items() if r["_Peer"] == finding.peer and e != finding.entity]
            pooled = [v for e in peers for v in bins.of(e, slot)]
            enough = len(peers) >= anomaly.ready.peers
            spread = spread_of(pooled, least * anomaly.ready.peers) if enough else None
            _say_volume(finding, volume.peers, spread, value, volume, row, Group=finding.peer, Peers=len(peers))
        found.append(finding)
    return found


def _say_volume(
    finding: Finding, name: str, spread: Spread | None, value: float, volume: Volume, row: Row, **more: Any
) -> None:
    if spread is None:
        finding.say(name, None, 0)
        return
    above = spread.deviations(value)
    high = above >= volume.deviations and value >= volume.least
    weight = _HIGH + (1 - _HIGH) * (1 - volume.deviations / max(volume.deviations, above)) / 2
    told = {
        "Value": value,
        "Median": spread.median,
        "MAD": spread.mad,
        "Deviations": round(above, 1),
        "Bins": spread.count,
    }
    finding.say(name, high, weight, Bin=row["_Bin"], Season=volume.season, **told, **more)


class _Bins:
    """Values by entity and part of the season. Between an entity's first event and the window, a bin without events is a zero."""

    def __init__(self, volume: Volume, rows: Sequence[Row], base: Mapping[str, Row], end: datetime) -> None:
        self._volume, self._base, self._end = volume, base, end
        self._values: dict[str, dict[int, float]] = defaultdict(dict)
        for row in rows:
            at = int(row["_Bin"].timestamp())
            values = self._values[row["_Entity"]]
            values[at] = values.get(at, 0.0) + float(row["_Value"] or 0)
        self._known: dict[str, dict[int, list[float]]] = {}

    def of(self, entity: str, slot: int) -> list[float]:
        """The values of an entity in one part of the season."""
        known = self._known.get(entity)
        if known is None:
            known = self._known[entity] = self._spread(entity)
        return known.get(slot, [])

    def _spread(self, entity: str) -> dict[int, list[float]]:
        found: dict[int, list[float]] = defaultdict(list)
        row = self._base.get(entity)
        if row is None:
            return found
        step = int(self._volume.bin.total_seconds())
        values = self._values.get(entity, {})
        first = int(row["First"].timestamp()) // step * step
        for at in range(first, int((self._end - timedelta(microseconds=1)).timestamp()) + 1, step):
            found[self._volume.slot(at)].append(values.get(at, 0.0))
        return found
