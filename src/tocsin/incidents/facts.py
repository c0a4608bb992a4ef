"""What an incident's alerts add up to: counted as they come, so that one more alert costs the same whether it is the fifth or the five-thousandth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from heapq import nlargest
from typing import Protocol

from tocsin.detect.alert import SEVERITIES, Alert
from tocsin.tables.entities import Entity, EntityKey

__all__ = ["PATTERNS", "Facts", "Index", "keys_of"]

PATTERNS = "Fusion"
"""The product of alerts that say that a multistage pattern is fulfilled."""


_SURE = 0.9
"""As sure at least must an alias be for two names to count as one thing."""


class Index(Protocol):
    """What is looked for among an incident's things, by their keys."""

    def named_by(self, key: EntityKey) -> Iterable[str]:
        """What of it a thing of that key is."""


class _Group:
    """One thing under all identifiers that alerts gave it, and how often it was named."""

    __slots__ = ("count", "entity", "identifiers", "place", "type")

    def __init__(self, entity: Entity, place: int) -> None:
        self.type, self.identifiers, self.place, self.count = entity.type, dict(entity.identifiers), place, 0
        self.entity: Entity | None = None

    def take(self, entity: Entity) -> None:
        self.count += 1
        for name, value in entity.identifiers.items():
            if name not in self.identifiers:
                self.identifiers[name], self.entity = value, None

    def unite(self, other: _Group) -> None:
        """Becomes both; nothing is left of the other."""
        self.count, other.count = self.count + other.count, 0
        self.identifiers, self.entity = {**other.identifiers, **self.identifiers}, None

    def made(self) -> Entity:
        if self.entity is None:
            self.entity = Entity(self.type, self.identifiers)
        return self.entity


class Facts:
    """What alerts taken in the order of time add up to."""

    __slots__ = (
        "_by_key", "_fresh", "_groups", "_index", "_on_index",
        "count", "counted", "end", "first", "high", "last_id", "nth", "of_type", "products", "rank", "rules", "shown",
        "stages", "tactics", "tags", "techniques", "titles",
    )  # fmt: skip

    def __init__(self) -> None:
        self.count = 0
        self.last_id = ""
        """Id of the alert that was taken last."""
        self.first: datetime | None = None
        self.end: datetime | None = None
        self.rank = 0
        """The highest severity, as its place in SEVERITIES."""
        self.high = 0
        """How many alerts are of High severity."""
        self.tactics: set[str] = set()
        self.techniques: set[str] = set()
        self.stages: dict[str, set[str]] = {}
        """By rule the tactics of its alerts, of those alone that say that something is wrong: what only informs (a logoff) shows no stage of an
        attack, and a pattern has those of the alerts that it puts together."""
        self.shown: set[str] = set()
        """The techniques of the same alerts."""
        self.products: set[str] = set()
        self.tags: set[str] = set()
        """The alerts' tags, in lower case."""
        self.titles: dict[str, None] = {}
        """Titles, each once, in order."""
        self.rules: dict[str, str] = {}
        """By rule: the title of its last alert."""
        self.of_type: dict[str, int] = {}
        """How many different things there are, by type."""
        self.nth: dict[str, int] = {}
        """By rule: its earliest alert was the rule's so-manieth, as far as `counted` says by what (an incident's `nth` keeps both)."""
        self.counted: tuple[Mapping[str, int], int] = ({}, 0)
        self._groups: list[_Group] = []
        self._by_key: dict[EntityKey, int] = {}
        self._index: Index | None = None
        self._on_index: set[str] = set()
        self._fresh: list[EntityKey] = []
        """Keys that came since the index was asked last."""

    def take(self, alert: Alert) -> None:
        """Takes in the alert that comes next in time."""
        self.count += 1
        self.last_id = alert.id
        self.first = alert.time if self.first is None else min(self.first, alert.time)
        self.end = alert.end if self.end is None else max(self.end, alert.end)
        self.rank = max(self.rank, SEVERITIES.index(alert.severity))
        self.high += alert.severity == "High"
        self.tactics.update(alert.tactics)
        self.techniques.update(alert.techniques)
        if alert.severity != SEVERITIES[0] and alert.product != PATTERNS:
            self.stages.setdefault(alert.said_by, set()).update(alert.tactics)
            self.shown.update(alert.techniques)
        self.products.add(alert.product)
        self.tags.update(t.lower() for t in alert.tags)
        title = alert.title or alert.rule
        self.titles.setdefault(title)
        self.rules[alert.said_by] = title
        for entity in alert.entities:
            self._name(entity)
        for alias in alert.aliases:
            if alias.entity.type == alias.other.type and alias.confidence >= _SURE:
                self._same(alias.entity, alias.other)

    def _name(self, entity: Entity) -> None:
        # Inside one incident a bare name is the same thing as the full one: weak keys merge here, and only here.
        keys = keys_of(entity)
        groups, by_key = self._groups, self._by_key
        at = next((by_key[k] for k in keys if k in by_key and groups[by_key[k]].type == entity.type), None)
        if at is None:
            at = len(groups)
            groups.append(_Group(entity, at))
            self.of_type[entity.type] = self.of_type.get(entity.type, 0) + 1
        groups[at].take(entity)
        self._known_by(keys, at)

    def _known_by(self, keys: Iterable[EntityKey], at: int) -> None:
        by_key = self._by_key
        for key in keys:
            if key not in by_key:
                by_key[key] = at
                if self._index is not None:
                    self._fresh.append(key)

    def _same(self, one: Entity, other: Entity) -> None:
        """Takes two names for one thing, as an alias says: a SID and a UPN are one account, a device id and a name one host."""
        by_key, groups = self._by_key, self._groups
        here, there = (
            next((by_key[k] for k in keys_of(e) if k in by_key and groups[by_key[k]].type == e.type), None)
            for e in (one, other)
        )
        if here is None:
            return  # what no alert here names isn't of the incident
        if there is None:
            self._known_by(keys_of(other), here)
        elif here != there:
            kept, gone = sorted((here, there))
            groups[kept].unite(groups[gone])
            self.of_type[one.type] -= 1
            for key, at in by_key.items():
                if at == gone:
                    by_key[key] = kept

    def names(self, key: EntityKey) -> bool:
        """Whether it holds a thing of that key, or of that type and label in lower case."""
        return key in self._by_key

    def found_on(self, index: Index) -> frozenset[str]:
        """What of the index it holds. Each of its keys is looked up once, as long as it is asked for the same index."""
        if self._index is not index:
            self._index, self._on_index, self._fresh = index, set(), list(self._by_key)
        for key in self._fresh:
            self._on_index.update(index.named_by(key))
        self._fresh.clear()
        return frozenset(self._on_index)

    @property
    def witnesses(self) -> frozenset[str]:
        """The products that saw something themselves: a pattern only puts together what others saw."""
        return frozenset(self.products) - {PATTERNS}

    @property
    def things(self) -> int:
        """How many different things there are."""
        return sum(self.of_type.values())

    def entities(
        self, most: int | None = None, *, wanted: Callable[[str], bool] = lambda _type: True
    ) -> tuple[Entity, ...]:
        """The things (of `wanted` types), the most often named first, of equally often named ones the earlier; at most so many."""
        groups = [g for g in self._groups if g.count and wanted(g.type)]
        if most is None or most >= len(groups):
            chosen = sorted(groups, key=lambda g: (-g.count, g.place))
        else:
            chosen = nlargest(most, groups, key=lambda g: (g.count, -g.place))
        return tuple(g.made() for g in chosen)

    def entities_of(self, *types: str) -> Iterator[Entity]:
        """The things of some types, in the order in which they were first named."""
        return (g.made() for g in self._groups if g.type in types and g.count)


@lru_cache(maxsize=8_192)
def keys_of(entity: Entity) -> tuple[EntityKey, ...]:
    """All keys by which one thing is told from another, strong and weak, and its label."""
    return (*entity.strong_keys(), *entity.weak_keys(), (entity.type, entity.label.lower()))
