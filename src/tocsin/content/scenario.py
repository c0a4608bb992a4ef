"""Scenarios: attacks and everyday background as data, to be played through the real intake (`tocsin up --demo`, tests, exercises).

A scenario file (`packs/*/scenarios/*.yaml`) names actors, background activity and the steps of an attack; every row names its table. Values
may hold ``${…}``: ``${actor.upn}`` (a field of the actor that a background row picks, or of ``actor:`` of a step), ``${name}`` (a
variable), ``${n}`` (the row's count from 1), ``${time}`` (the row's time, RFC 3339), ``${guid}``, ``${int:1-99}``, ``${hex:40}``,
``${pick:a|b|c}``. A value that is one whole ``${n}`` or ``${int:…}`` stays a number. The same seed gives the same rows.
"""

from __future__ import annotations

import heapq
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml

from tocsin.base.errors import ContentError, Place, did_you_mean
from tocsin.tables import catalogue

__all__ = ["PlayedRow", "Scenario", "load_scenario"]

_SPAN = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")
_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MARK = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True, slots=True)
class PlayedRow:
    """One row of the play: when it happens, seconds after the start; its table; its values; whether it belongs to the attack."""

    at: float
    table: str
    row: Mapping[str, Any]
    attack: bool


@dataclass(frozen=True, slots=True)
class _Part:
    table: str
    row: Mapping[str, Any]
    at: float
    every: float  # 0: once
    count: int
    actor: str
    attack: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """A loaded scenario. `duration` is in seconds of its own time."""

    id: str
    name: str
    description: str
    duration: float
    actors: tuple[Mapping[str, Any], ...]
    variables: Mapping[str, Any]
    parts: tuple[_Part, ...]
    expects: Mapping[str, Any] = field(default_factory=dict)

    def play(self, start: datetime, *, seed: int = 7) -> Iterator[PlayedRow]:
        """All rows in the order of their time. `start` is the instant that offset zero stands for."""
        chance = random.Random(seed)  # noqa: S311 - a replay must repeat; nothing secret is made
        streams = [
            self._rows(part, start, random.Random(chance.random()), index)  # noqa: S311
            for index, part in enumerate(self.parts)
        ]
        for _, _, _, played in heapq.merge(*streams, key=lambda item: item[:3]):
            yield played

    def _rows(
        self, part: _Part, start: datetime, chance: random.Random, index: int
    ) -> Iterator[tuple[float, int, int, PlayedRow]]:
        for n in range(1, part.count + 1):
            at = part.at + (n - 1) * part.every
            if not part.attack and part.every:
                at += chance.uniform(0, part.every * 0.8)
            actor = self._actor(part.actor, chance)
            moment = (start + timedelta(seconds=at)).astimezone(UTC)
            scope = {"n": n, "time": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "actor": actor, **self.variables}
            row = {"TimeGenerated": scope["time"]}
            info = catalogue().info(part.table)
            if info is not None and info.time_column == "Timestamp":
                row["Timestamp"] = scope["time"]
            row |= {key: _fill(value, scope, chance) for key, value in part.row.items()}
            yield at, index, n, PlayedRow(at, part.table, row, part.attack)

    def _actor(self, name: str, chance: random.Random) -> Mapping[str, Any]:
        if not self.actors:
            return {}
        if not name:
            return self.actors[chance.randrange(len(self.actors))]
        return next(a for a in self.actors if a.get("id") == name)


def load_scenario(path: Path) -> Scenario:
    """The scenario of that file.

    Raises:
        ContentError: not a scenario; an unknown table, column or actor is named with its place.
    """
    try:
        raw = yaml.load(path.read_bytes(), yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(str(path), mark.line + 1, mark.column + 1) if mark else Place(str(path))
        raise ContentError("this is not YAML", code="CNT0010", place=place) from error
    if not isinstance(raw, dict) or not {"id", "name", "duration", "steps"} <= raw.keys():
        raise ContentError("a scenario needs id, name, duration and steps", code="CNT0011", place=Place(str(path)))
    actors = tuple(raw.get("actors", ()))
    duration = _seconds(raw["duration"], path)
    parts = [_part(p, path, actors, duration, attack=False) for p in raw.get("background", ())]
    parts += [_part(p, path, actors, duration, attack=True) for p in raw["steps"]]
    return Scenario(
        id=str(raw["id"]),
        name=str(raw["name"]),
        description=str(raw.get("description", "")).strip(),
        duration=duration,
        actors=actors,
        variables=dict(raw.get("variables", {})),
        parts=tuple(parts),
        expects=dict(raw.get("expects", {})),
    )


def _part(
    raw: Mapping[str, Any], path: Path, actors: tuple[Mapping[str, Any], ...], duration: float, *, attack: bool
) -> _Part:
    table = str(raw.get("table", ""))
    schema = catalogue().table(table)
    if schema is None:
        hint = did_you_mean(table, catalogue().names())
        raise ContentError(f"there is no table '{table}'", code="CNT0012", place=Place(str(path)), hint=hint)
    row = raw.get("row", {})
    known = {c.name for c in schema.columns}
    for column in row:
        if column not in known:
            hint = did_you_mean(column, known)
            raise ContentError(
                f"table {table} has no column '{column}'", code="CNT0013", place=Place(str(path)), hint=hint
            )
    actor = str(raw.get("actor", ""))
    if actor and all(a.get("id") != actor for a in actors):
        hint = did_you_mean(actor, [str(a.get("id")) for a in actors])
        raise ContentError(f"there is no actor '{actor}'", code="CNT0014", place=Place(str(path)), hint=hint)
    at = _seconds(raw.get("at", "0s"), path)
    every = _seconds(raw["every"], path) if "every" in raw else 0.0
    count = int(raw.get("count", max(1, int((duration - at) / every)) if every else 1))
    return _Part(table, row, at, every, count, actor, attack)


def _seconds(text: Any, path: Path) -> float:
    match = _SPAN.match(str(text))
    if match is None:
        raise ContentError(f"'{text}' is no time span such as 90s, 5m or 1h", code="CNT0015", place=Place(str(path)))
    return float(match[1]) * _UNIT[match[2]]


def _fill(value: Any, scope: Mapping[str, Any], chance: random.Random) -> Any:
    if isinstance(value, Mapping):
        return {k: _fill(v, scope, chance) for k, v in value.items()}
    if isinstance(value, list):
        return [_fill(v, scope, chance) for v in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    whole = _MARK.fullmatch(value)
    if whole:
        return _value(whole[1], scope, chance)
    return _MARK.sub(lambda m: str(_value(m[1], scope, chance)), value)


def _value(mark: str, scope: Mapping[str, Any], chance: random.Random) -> Any:
    kind, _, rest = mark.partition(":")
    match kind:
        case "int":
            low, _, high = rest.partition("-")
            return chance.randint(int(low), int(high))
        case "hex":
            return "".join(chance.choice("0123456789abcdef") for _ in range(int(rest)))
        case "pick":
            return chance.choice(rest.split("|"))
        case "guid":
            return str(UUID(int=chance.getrandbits(128), version=4))
    found: Any = scope
    for step in mark.split("."):
        found = found[step]
    return _fill(found, scope, chance) if isinstance(found, str) and "${" in found else found
