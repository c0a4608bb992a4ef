"""Sigma correlations over hits: counts, distinct values, statistics, and rules that hold together or in order within a time span.

Hits come nearly in time order (as batches arrive); each group keeps those of the last time span. When the condition holds, the
correlation is itself a hit, made of the hits that fulfil it, and its group starts anew: a thousand failed logons complete a
correlation of ten a hundred times, not nine hundred and ninety-one times.

A condition that more hits could undo (`lt`, `lte`, `eq`, `neq`, `not`) is judged when its span has ended: the span begins with a group's
first hit and ends when a later hit, `Correlations.close` or `Correlations.finish` says that the time has passed. A group without any hit has
no span: as in the backends that turn correlations into queries, what never happened isn't counted as zero.
"""

from __future__ import annotations

import bisect
import heapq
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tocsin.detect.make import assets_of
from tocsin.detect.rule import Rule
from tocsin.detect.sigma.events import Event
from tocsin.detect.sigma.logsource import plain_name
from tocsin.detect.sigma.model import CorrelationBody, Expression
from tocsin.tables.entities import Entity

__all__ = ["Correlations", "Hit"]

GROUPS = 100_000
"""Groups of one correlation that are kept; the one that was quiet longest goes first."""
GROUP_HITS = 10_000
"""Hits of one group that are kept."""


@dataclass(slots=True, eq=False)
class Hit:
    """A rule that holds for an event; `parts` are the hits that a correlation's hit is made of, `number` is the rule's among the matcher's."""

    rule: Rule
    event: Event
    parts: tuple[Hit, ...] = ()
    number: int = -1

    @property
    def time(self) -> datetime:
        """When the event happened."""
        return self.event.time

    @property
    def source(self) -> str:
        """The kind of source that told it."""
        return self.event.source

    @property
    def assets(self) -> tuple[str, ...]:
        """Hosts and accounts that it is about; see `tocsin.detect.make.assets_of`."""
        return self.event.assets

    @property
    def row(self) -> Mapping[str, Any]:
        """The event's fields, made when first asked for."""
        return self.event.row

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The event's entities, made when first asked for."""
        return self.event.entities

    def events(self) -> Iterator[Hit]:
        """The events behind it, itself where it is none's correlation."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.events()

    def field(self, name: str) -> Any:
        """A field of its event by name, case and punctuation not counted; a correlation's hit asks its parts."""
        row = self.row
        if name in row:
            return row[name]
        wanted = plain_name(name)
        found = next((v for k, v in row.items() if plain_name(k) == wanted), None)
        if found is None:
            inner = f"EventData.{name}"
            found = row.get(inner)
        if found is None:
            found = next((v for p in self.parts if (v := p.field(name)) is not None), None)
        return found


@dataclass(slots=True)
class _State:
    """One correlation's groups."""

    rule: Rule
    body: CorrelationBody
    groups: dict[tuple[str, ...], list[Hit]] = field(default_factory=dict)
    at_end: bool = False
    """Judged when its span has ended."""
    ends: list[tuple[datetime, tuple[str, ...]]] = field(default_factory=list)
    """A heap of open spans' ends, where `at_end`."""


class Correlations:
    """All correlations of a rule set; `add` gives what new hits fulfil, chained correlations included."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by_rule: dict[str, list[_State]] = {}
        self._at_end: list[_State] = []
        for rule in rules:
            if isinstance(rule.compiled, CorrelationBody):
                state = _State(rule, rule.compiled, at_end=_undone_by_more(rule.compiled))
                if state.at_end:
                    self._at_end.append(state)
                for reference in rule.compiled.rules:
                    self._by_rule.setdefault(reference, []).append(state)

    def __bool__(self) -> bool:
        return bool(self._by_rule)

    def wants(self, hit: Hit) -> bool:
        """Whether some correlation reads that rule's hits."""
        return hit.rule.id in self._by_rule

    def kept(self, latest: datetime | None) -> list[Any]:
        """The groups that wait, as plain values; without those whose span ended before `latest`, the stream's newest time."""
        from tocsin.detect.sigma.kept import MOST_HITS, cut, plain_hit, same

        found: list[Any] = []
        had, room = 0, MOST_HITS
        for state in {id(s): s for states in self._by_rule.values() for s in states}.values():
            mark, groups = same(state.rule), []
            for key, group in reversed(state.groups.items()):
                over = not state.at_end and latest is not None and group[-1].time + state.body.timespan < latest
                if over:
                    continue
                had += len(group)
                if room >= len(group):
                    room -= len(group)
                    groups.append([list(key), [plain_hit(h) for h in group]])
            found.append([state.rule.id, mark, groups[::-1]])
        cut("hits", had, MOST_HITS - room)
        return found

    def take_back(self, plain: Sequence[Any], rules: Mapping[str, tuple[int, Rule]]) -> None:
        """Goes on from `kept`'s values, for correlations that mean the same still."""
        from tocsin.detect.sigma.kept import hits_of, same

        states = {s.rule.id: s for known in self._by_rule.values() for s in known}
        for rule_id, mark, groups in plain:
            state = states.get(rule_id)
            if state is None or same(state.rule) != mark:
                continue
            for key, hits in groups:
                group = hits_of(hits, rules)
                if group:
                    state.groups[tuple(key)] = group
                    if state.at_end:
                        heapq.heappush(state.ends, (group[0].time + state.body.timespan, tuple(key)))

    def add(self, hits: Sequence[Hit]) -> list[Hit]:
        """The correlation hits that these hits complete, or whose span they show to have ended."""
        found: list[Hit] = []
        for hit in sorted((h for h in hits if h.rule.id in self._by_rule), key=lambda h: h.time):
            found.extend(self.close(hit.time))
            found.extend(self._spread([hit]))
        return found

    def close(self, now: datetime) -> list[Hit]:
        """The correlation hits of spans that ended before `now`."""
        return self._spread([h for state in self._at_end for h in _ended(state, now)]) if self._at_end else []

    def finish(self) -> list[Hit]:
        """The correlation hits of spans that are still open, when nothing more will come."""
        found: list[Hit] = []
        while any(state.ends for state in self._at_end):
            now = min(state.ends[0][0] for state in self._at_end if state.ends)
            found.extend(self.close(now + timedelta.resolution))
        return found

    def _spread(self, hits: Sequence[Hit]) -> list[Hit]:
        """Gives hits to the correlations of their rules, and those that come of it to theirs; the correlations' hits."""
        found = [h for h in hits if isinstance(h.rule.compiled, CorrelationBody)]
        queue = list(hits)
        while queue:
            later = []
            for hit in queue:
                for state in self._by_rule.get(hit.rule.id, ()):
                    made = self._take(state, hit)
                    if made is not None:
                        found.append(made)
                        later.append(made)
            queue = later
        return found

    def _take(self, state: _State, hit: Hit) -> Hit | None:
        body = state.body
        key = _group(body, hit)
        if key is None:
            return None
        if state.at_end:
            _open(state, key, hit)
            return None
        group = state.groups.pop(key, [])
        bisect.insort(group, hit, key=lambda h: h.time)
        oldest = group[-1].time - body.timespan
        group = [h for h in group if h.time >= oldest][-GROUP_HITS:]
        if len(state.groups) >= GROUPS:
            del state.groups[next(iter(state.groups))]
        state.groups[key] = group  # at the end: the most lately used
        if not _holds(body, group):
            return None
        del state.groups[key]
        return _hit(state.rule, body, key, group)


def _undone_by_more(body: CorrelationBody) -> bool:
    """Whether further hits can make the condition false."""
    if body.expression is not None:
        return _negates(body.expression)
    more = all(op in ("gt", "gte") for op in (body.op, *(op for op, _ in body.bounds)))
    return not more or body.kind in ("value_avg", "value_median", "value_percentile")


def _negates(expression: Expression) -> bool:
    return expression.op == "not" or any(_negates(p) for p in expression.parts)


def _open(state: _State, key: tuple[str, ...], hit: Hit) -> None:
    """Puts a hit into the open span of its group, or begins one."""
    group = state.groups.get(key)
    if group is None:
        if len(state.groups) >= GROUPS:
            del state.groups[next(iter(state.groups))]
        group = state.groups[key] = []
        heapq.heappush(state.ends, (hit.time + state.body.timespan, key))
    if len(group) < GROUP_HITS:
        bisect.insort(group, hit, key=lambda h: h.time)


def _ended(state: _State, now: datetime) -> Iterator[Hit]:
    """Judges the spans that ended before `now`."""
    while state.ends and state.ends[0][0] < now:
        end, key = heapq.heappop(state.ends)
        group = state.groups.get(key)
        if not group or group[0].time + state.body.timespan > end:
            continue  # the group was forgotten for want of room, and began anew
        del state.groups[key]
        if _holds(state.body, group):
            yield _hit(state.rule, state.body, key, group)


def _group(body: CorrelationBody, hit: Hit) -> tuple[str, ...] | None:
    """The values of the group-by fields; None for a hit that lacks one, which can't be grouped."""
    values = []
    for name in body.group_by:
        value = _value(body, name, hit)
        if value is None:
            return None
        values.append(str(value).lower())
    return tuple(values)


def _holds(body: CorrelationBody, group: Sequence[Hit]) -> bool:
    match body.kind:
        case "event_count":
            return _meets(body, len(group))
        case "value_count":
            values = {v for h in group if (v := _values(body, h)) is not None}
            return _meets(body, len(values))
        case "temporal":
            return _temporal(body, {h.rule.id for h in group})
        case "temporal_ordered":
            return _temporal(body, {h.rule.id for h in group}) and _ordered(body.rules, group)
        case _:
            numbers = [n for h in group if (n := _number(_value(body, body.fields[0], h))) is not None]
            return bool(numbers) and _meets(body, _statistic(body, numbers))


def _value(body: CorrelationBody, name: str, hit: Hit) -> Any:
    """A field of a hit, by the name or the alias that the correlation has for it."""
    return hit.field(body.aliases.get(name, {}).get(hit.rule.id, name))


def _values(body: CorrelationBody, hit: Hit) -> tuple[str, ...] | None:
    values = [_value(body, f, hit) for f in body.fields]
    return None if any(v is None for v in values) else tuple(str(v).lower() for v in values)


def _temporal(body: CorrelationBody, present: set[str]) -> bool:
    if body.expression is not None:
        return _true(body.expression, present)
    return _meets(body, len(present & set(body.rules)))


def _true(expression: Expression, present: set[str]) -> bool:
    match expression.op:
        case "and":
            return all(_true(p, present) for p in expression.parts)
        case "or":
            return any(_true(p, present) for p in expression.parts)
        case "not":
            return not _true(expression.parts[0], present)
        case _:
            return expression.rule in present


def _ordered(rules: Sequence[str], group: Sequence[Hit]) -> bool:
    """Whether the rules' hits come in the rules' order somewhere in the group, which is sorted by time."""
    wanted = iter(r for r in rules if any(h.rule.id == r for h in group))
    current = next(wanted, None)
    for hit in group:
        if hit.rule.id == current:
            current = next(wanted, None)
            if current is None:
                return True
    return current is None


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _statistic(body: CorrelationBody, numbers: Sequence[float]) -> float:
    match body.kind:
        case "value_sum":
            return sum(numbers)
        case "value_avg":
            return statistics.fmean(numbers)
        case "value_median":
            return statistics.median(numbers)
        case _:
            ranked = sorted(numbers)
            position = (len(ranked) - 1) * body.percentile / 100
            low = int(position)
            high = min(low + 1, len(ranked) - 1)
            return ranked[low] + (ranked[high] - ranked[low]) * (position - low)


def _meets(body: CorrelationBody, found: float) -> bool:
    return all(_compare(op, found, wanted) for op, wanted in ((body.op, body.count), *body.bounds))


def _compare(op: str, found: float, wanted: float) -> bool:
    match op:
        case "lt":
            return found < wanted
        case "lte":
            return found <= wanted
        case "gt":
            return found > wanted
        case "gte":
            return found >= wanted
        case "eq":
            return found == wanted
        case _:
            return found != wanted


def _hit(rule: Rule, body: CorrelationBody, key: tuple[str, ...], group: Sequence[Hit]) -> Hit:
    entities = tuple(dict.fromkeys(e for h in group for e in h.entities))
    row = {"Correlation": rule.name, "Count": len(group), **dict(zip(body.group_by, key, strict=True))}
    first = group[0].time.isoformat()
    row["FirstEvent"], row["LastEvent"] = first, group[-1].time.isoformat()
    event = Event("correlation", group[-1].time, assets_of(entities), row=row, entities=entities)
    return Hit(rule, event, tuple(group))
