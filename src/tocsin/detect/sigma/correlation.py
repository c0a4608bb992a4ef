"""Sigma correlations over hits: counts, distinct values, statistics, and rules that hold together or in order within a time span.

Hits come nearly in time order (as batches arrive); each group keeps those of the last time span. When the condition holds, the
correlation is itself a hit, made of the hits that fulfil it, and its group starts anew: a thousand failed logons complete a
correlation of ten a hundred times, not nine hundred and ninety-one times.
"""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tocsin.detect.make import assets_of
from tocsin.detect.rule import Rule
from tocsin.detect.sigma.logsource import plain_name
from tocsin.detect.sigma.model import CorrelationBody, Expression
from tocsin.tables.entities import Entity

__all__ = ["Correlations", "Hit"]

GROUPS = 100_000
"""Groups of one correlation that are kept; the one that was quiet longest goes first."""
GROUP_HITS = 10_000
"""Hits of one group that are kept."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that holds for an event; `parts` are the hits that a correlation's hit is made of."""

    rule: Rule
    time: datetime
    source: str
    row: Mapping[str, Any]
    entities: tuple[Entity, ...] = ()
    assets: tuple[str, ...] = ()
    parts: tuple[Hit, ...] = ()

    def events(self) -> Iterator[Hit]:
        """The events behind it, itself where it is none's correlation."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.events()

    def field(self, name: str) -> Any:
        """A field of its event by name, case and punctuation not counted; a correlation's hit asks its parts."""
        if name in self.row:
            return self.row[name]
        wanted = plain_name(name)
        found = next((v for k, v in self.row.items() if plain_name(k) == wanted), None)
        if found is None:
            inner = f"EventData.{name}"
            found = self.row.get(inner)
        if found is None:
            found = next((v for p in self.parts if (v := p.field(name)) is not None), None)
        return found


@dataclass(slots=True)
class _State:
    """One correlation's groups."""

    rule: Rule
    body: CorrelationBody
    groups: dict[tuple[str, ...], list[Hit]] = field(default_factory=dict)


class Correlations:
    """All correlations of a rule set; `add` gives what new hits fulfil, chained correlations included."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by_rule: dict[str, list[_State]] = {}
        for rule in rules:
            if isinstance(rule.compiled, CorrelationBody):
                state = _State(rule, rule.compiled)
                for reference in rule.compiled.rules:
                    self._by_rule.setdefault(reference, []).append(state)

    def __bool__(self) -> bool:
        return bool(self._by_rule)

    def wants(self, hit: Hit) -> bool:
        """Whether some correlation reads that rule's hits."""
        return hit.rule.id in self._by_rule

    def add(self, hits: Sequence[Hit]) -> list[Hit]:
        """The correlation hits that these hits complete."""
        found: list[Hit] = []
        queue = sorted((h for h in hits if h.rule.id in self._by_rule), key=lambda h: h.time)
        while queue:
            later: list[Hit] = []
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


def _group(body: CorrelationBody, hit: Hit) -> tuple[str, ...] | None:
    """The values of the group-by fields; None for a hit that lacks one, which can't be grouped."""
    values = []
    for name in body.group_by:
        actual = body.aliases.get(name, {}).get(hit.rule.id, name)
        value = hit.field(actual)
        if value is None:
            return None
        values.append(str(value).lower())
    return tuple(values)


def _holds(body: CorrelationBody, group: Sequence[Hit]) -> bool:
    match body.kind:
        case "event_count":
            return _compare(body.op, len(group), body.count)
        case "value_count":
            values = {v for h in group if (v := _values(body, h)) is not None}
            return _compare(body.op, len(values), body.count)
        case "temporal":
            return _temporal(body, {h.rule.id for h in group})
        case "temporal_ordered":
            return _temporal(body, {h.rule.id for h in group}) and _ordered(body.rules, group)
        case _:
            numbers = [n for h in group if (n := _number(h.field(body.fields[0]))) is not None]
            return bool(numbers) and _compare(body.op, _statistic(body, numbers), body.count)


def _values(body: CorrelationBody, hit: Hit) -> tuple[str, ...] | None:
    values = [hit.field(body.aliases.get(f, {}).get(hit.rule.id, f)) for f in body.fields]
    return None if any(v is None for v in values) else tuple(str(v).lower() for v in values)


def _temporal(body: CorrelationBody, present: set[str]) -> bool:
    if body.expression is not None:
        return _true(body.expression, present)
    return _compare(body.op, len(present & set(body.rules)), body.count)


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
        return float(value)
    except (TypeError, ValueError):
        return None


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
    return Hit(rule, group[-1].time, "correlation", row, entities, assets_of(entities), tuple(group))
