"""Multistage patterns as content (`packs/*/fusion/*.yaml`): what they are, and how files of them are read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from tocsin.base.errors import ContentError, did_you_mean
from tocsin.content import Content, FusionFile
from tocsin.detect.alert import SEVERITIES, TACTICS, Alert
from tocsin.detect.durations import parse_duration

__all__ = ["JOINS", "Condition", "Pattern", "Stage", "patterns_of", "shipped_patterns"]

JOINS: Mapping[str, frozenset[str]] = {
    "Host": frozenset({"host", "hostname"}),
    "Account": frozenset({"account"}),
    "IP": frozenset({"ip"}),
    "File": frozenset({"hash"}),
    "URL": frozenset({"url", "dns"}),
    "MailMessage": frozenset({"mail"}),
    "CloudApplication": frozenset({"app"}),
    "AzureResource": frozenset({"azureresource"}),
}
"""What stages may share, and the kinds of keys (before the dot) that name such a thing."""

_STAGE_KEYS = ("name", "any", "rules", "tactics", "alerts", "join")
_CONDITIONS = ("tactics", "techniques", "severities", "products", "rules", "tags", "title", "except")
_TECHNIQUE = re.compile(r"T\d{4}(?:\.\d{3})?\Z")


@dataclass(frozen=True, slots=True)
class Condition:
    """What an alert must be: every part that is given must hold; a part holds when one of its values does. What fits `but` too is none of it."""

    tactics: frozenset[str] = frozenset()
    techniques: tuple[str, ...] = ()
    severities: frozenset[str] = frozenset()
    products: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    title: re.Pattern[str] | None = None
    but: Condition | None = None

    def fits(self, alert: Alert) -> bool:
        """Whether the alert is that. A technique stands for its sub-techniques."""
        return (
            (not self.tactics or not self.tactics.isdisjoint(alert.tactics))
            and (
                not self.techniques
                or any(t == w or t.startswith(f"{w}.") for t in alert.techniques for w in self.techniques)
            )
            and (not self.severities or alert.severity in self.severities)
            and (not self.products or alert.product in self.products)
            and (not self.rules or alert.rule_id in self.rules)
            and (not self.tags or not self.tags.isdisjoint(t.lower() for t in alert.tags))
            and (self.title is None or self.title.search(alert.title or alert.rule) is not None)
            and (self.but is None or not self.but.fits(alert))
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: seen when at least so many `alerts`, of so many `rules` and `tactics`, fit one of its conditions."""

    name: str
    conditions: tuple[Condition, ...]
    rules: int = 1
    tactics: int = 1
    alerts: int = 1
    join: str = ""
    """What it shares with the stage before it; empty: what the pattern's stages share."""

    def fits(self, alert: Alert) -> bool:
        """Whether the alert may be of this stage."""
        return any(c.fits(alert) for c in self.conditions)

    def reached_by(self, alerts: Sequence[Alert]) -> bool:
        """Whether they are enough, and of enough rules and tactics."""
        return (
            len(alerts) >= self.alerts
            and len({a.said_by for a in alerts}) >= self.rules
            # A rule that names techniques only is of no tactic; a stage that doesn't count them doesn't mind.
            and (self.tactics == 1 or len({t for a in alerts for t in a.tactics}) >= self.tactics)
        )


@dataclass(frozen=True, slots=True)
class Pattern:
    """A multistage pattern. `join` is what its stages share; `ordered`: each stage begins no earlier than the one before it."""

    id: str
    name: str
    description: str
    join: str
    window: timedelta
    stages: tuple[Stage, ...]
    ordered: bool = True
    tags: tuple[str, ...] = ()

    @property
    def joins(self) -> tuple[str, ...]:
        """By stage, what it shares with the one before it (the first: with the one after it)."""
        found: list[str] = []
        for stage in self.stages:
            found.append(stage.join or (found[-1] if found else self.join))
        return tuple(found)


# ---------------------------------------------------------------------------------------------- content


@cache
def shipped_patterns() -> tuple[Pattern, ...]:
    """The patterns of the packs that ship with Tocsin: what a correlator uses when it is given none."""
    from tocsin.content import load_packs, packs_dir

    return tuple(patterns_of(load_packs([packs_dir()], only=("fusion",)))[0])


def patterns_of(content: Content) -> tuple[list[Pattern], list[ContentError]]:
    """The packs' patterns, and what is wrong with the others (CNT0010 to CNT0013, with file and line)."""
    patterns, problems = [], []
    for file in content.fusion:
        found = _Reader(file)
        pattern = found.pattern()
        problems.extend(found.problems)
        if pattern is not None and not found.problems:
            patterns.append(pattern)
    return patterns, problems


class _Reader:
    """Reads one file's pattern."""

    def __init__(self, file: FusionFile) -> None:
        self.file, self.problems = file, list[ContentError]()

    def pattern(self) -> Pattern | None:
        value: Mapping[str, Any] = self.file.document.value
        self._unknown(value, ("id", "name", "description", "join", "window", "ordered", "tags", "stages"), ())
        join = self._join(value, (), required=True)
        window = parse_duration(str(value.get("window") or ""))
        if not window:
            self._wrong("'window' is a time such as 30m, 24h or 7d.", ("window",) if "window" in value else (), "")
        stages = value.get("stages")
        if not isinstance(stages, list) or not stages:
            self._wrong("A pattern has at least one stage.", ("stages",) if "stages" in value else (), "")
            return None
        made = [self._stage(stage, ("stages", n)) for n, stage in enumerate(stages)]
        return Pattern(
            self.file.id,
            self.file.name,
            str(value.get("description") or "").strip(),
            join,
            window or timedelta(0),
            tuple(s for s in made if s is not None),
            self._flag(value, "ordered", True),
            self._texts(value, "tags", ()),
        )

    def _flag(self, value: Mapping[str, Any], name: str, default: bool) -> bool:
        found = value.get(name, default)
        if not isinstance(found, bool):
            self._wrong(f"'{name}' is true or false.", (name,), "")
        return bool(found)

    def _texts(self, value: Mapping[str, Any], name: str, path: tuple[str | int, ...]) -> tuple[str, ...]:
        found = value.get(name)
        if found is None:
            return ()
        if not isinstance(found, list) or not all(isinstance(v, str | int) for v in found):
            hint = f"Write {name}: [{found}]." if isinstance(found, str) else ""
            self._wrong(f"'{name}' is a list of texts.", (*path, name), hint)
            return ()
        if not found and path:
            self._wrong(
                f"'{name}' has no values: it would hold for every alert.", (*path, name), "Leave it out, or name some."
            )
        return tuple(str(v) for v in found)

    def _join(self, value: Mapping[str, Any], path: tuple[str | int, ...], *, required: bool) -> str:
        join = str(value.get("join") or "")
        if join in JOINS or (not join and not required and "join" not in value):
            return join
        self._wrong(
            f"'join' is one of {', '.join(JOINS)}.",
            (*path, "join") if "join" in value else path,
            did_you_mean(join, JOINS),
        )
        return ""

    def _stage(self, value: Any, path: tuple[str | int, ...]) -> Stage | None:
        if (
            not isinstance(value, dict)
            or not value.get("name")
            or not isinstance(value.get("any"), list)
            or not value["any"]
        ):
            self._wrong("A stage has a 'name' and, under 'any', conditions of which one must fit.", path, "")
            return None
        self._unknown(value, _STAGE_KEYS, path)
        conditions = tuple(self._condition(c, (*path, "any", n)) for n, c in enumerate(value["any"]))
        counts = {}
        for name in ("rules", "tactics", "alerts"):
            counts[name] = value.get(name, 1)
            if not isinstance(counts[name], int) or isinstance(counts[name], bool) or counts[name] < 1:
                self._wrong(f"'{name}' is a whole number from 1.", (*path, name), "")
                counts[name] = 1
        join = self._join(value, path, required=False)
        if join and path[-1] == 0:
            self._wrong(
                "The first stage has no stage before it; what all stages share is the pattern's 'join'.",
                (*path, "join"),
                "",
            )
        return Stage(str(value["name"]), conditions, **counts, join=join)

    def _condition(self, value: Any, path: tuple[str | int, ...]) -> Condition:
        if not isinstance(value, dict) or not value:
            self._wrong(f"A condition is a mapping with some of {', '.join(_CONDITIONS)}.", path, "")
            return Condition()
        self._unknown(value, _CONDITIONS, path)
        if set(value) == {"except"}:
            self._wrong("'except' takes from what the other parts say: it can't stand alone.", (*path, "except"), "")
        lists = {n: self._texts(value, n, path) for n in _CONDITIONS if n not in ("title", "except")}
        for text in lists["techniques"]:
            if _TECHNIQUE.match(text) is None:
                self._wrong(
                    f"'{text}' is no technique.", (*path, "techniques"), "Techniques are written T1059 or T1059.001."
                )
        for name, known in (("tactics", TACTICS), ("severities", SEVERITIES)):
            for text in lists.get(name, ()):
                if text not in known:
                    self._wrong(f"There is no '{text}'.", (*path, name), did_you_mean(text, known))
        title = None
        if value.get("title"):
            try:
                title = re.compile(str(value["title"]), re.IGNORECASE)
            except re.error as error:
                self._wrong(f"'title' is no regular expression: {error}.", (*path, "title"), "")
        but = None
        if "except" in value:
            inner = value["except"]
            if isinstance(inner, dict) and "except" in inner:
                self._wrong("'except' has no exceptions of its own.", (*path, "except", "except"), "")
            else:
                but = self._condition(inner, (*path, "except"))
        return Condition(
            frozenset(lists.get("tactics", ())),
            lists.get("techniques", ()),
            frozenset(lists.get("severities", ())),
            frozenset(lists.get("products", ())),
            frozenset(lists.get("rules", ())),
            frozenset(t.lower() for t in lists.get("tags", ())),
            title,
            but,
        )

    def _unknown(self, value: Mapping[str, Any], known: Sequence[str], path: tuple[str | int, ...]) -> None:
        for name in value:
            if name not in known:
                self._wrong(f"There is no '{name}' here.", (*path, name), did_you_mean(str(name), known))

    def _wrong(self, text: str, path: tuple[str | int, ...], hint: str) -> None:
        self.problems.append(self.file.document.error(text, path, code="CNT0012", hint=hint))
