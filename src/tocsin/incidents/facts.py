"""What an incident's alerts add up to: counted as they come, so that one more alert costs the same whether it is the fifth or the five-thousandth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import nlargest
from typing import Protocol

from tocsin.detect.alert import SEVERITIES, Alert
from tocsin.tables.entities import Entity, EntityKey

__all__ = ["Facts", "Index"]


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

    def made(self) -> Entity:
        if self.entity is None:
            self.entity = Entity(self.type, self.identifiers)
        return self.entity


class Facts:
    """What alerts taken in the order of time add up to."""

    __slots__ = (
        "_by_key", "_fresh", "_groups", "_index", "_on_index",
        "count", "end", "first", "high", "last_id", "of_type", "products", "rank", "rules", "tactics", "tags",
        "techniques", "titles",
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
        self.products: set[str] = set()
        self.tags: set[str] = set()
        """The alerts' tags, in lower case."""
        self.titles: dict[str, None] = {}
        """Titles, each once, in order."""
        self.rules: dict[str, str] = {}
        """By rule: the title of its last alert."""
        self.of_type: dict[str, int] = {}
        """How many different things there are, by type."""
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
        self.products.add(alert.product)
        self.tags.update(t.lower() for t in alert.tags)
        title = alert.title or alert.rule
        self.titles.setdefault(title)
        self.rules[alert.rule_id] = title
        for entity in alert.entities:
            self._name(entity)

    def _name(self, entity: Entity) -> None:
        # Inside one incident a bare name is the same thing as the full one: weak keys merge here, and only here.
        keys = (*entity.strong_keys(), *entity.weak_keys(), (entity.type, entity.label.lower()))
        groups, by_key = self._groups, self._by_key
        at = next((by_key[k] for k in keys if k in by_key and groups[by_key[k]].type == entity.type), None)
        if at is None:
            at = len(groups)
            groups.append(_Group(entity, at))
            self.of_type[entity.type] = self.of_type.get(entity.type, 0) + 1
        groups[at].take(entity)
        for key in keys:
            if key not in by_key:
                by_key[key] = at
                if self._index is not None:
                    self._fresh.append(key)

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
    def things(self) -> int:
        """How many different things there are."""
        return len(self._groups)

    def entities(self, most: int | None = None) -> tuple[Entity, ...]:
        """The things, the most often named first, of equally often named ones the earlier; at most so many."""
        if most is None or most >= len(self._groups):
            chosen = sorted(self._groups, key=lambda g: (-g.count, g.place))
        else:
            chosen = nlargest(most, self._groups, key=lambda g: (g.count, -g.place))
        return tuple(g.made() for g in chosen)

    def entities_of(self, *types: str) -> Iterator[Entity]:
        """The things of some types, in the order in which they were first named."""
        return (g.made() for g in self._groups if g.type in types)
