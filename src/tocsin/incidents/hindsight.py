"""The first hours looked at again.

A new workspace doesn't know yet what is common in it: the first alerts that name a domain controller or a scanner look as if they belonged
together, and what they bring together goes on to gather more. So while nothing is known, all alerts that came so far are joined anew, as if they
came for the first time, with what is known by then: each time their number has doubled, and once after four hours. That goes on for the first day:
what four hours tell of a fleet that gives ten alerts an hour is little, and a workspace whose first alerts are an attack's knows at noon who the
others are. Where alerts come in no order, as from files that are read one after the other, the newest moment is known first and what is common
last: it goes on for two doublings more. What people or automation have touched stays as it is, and nothing that is older than a day is looked at
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tocsin.incidents.background import Background
from tocsin.incidents.signature import HOUR, Signature
from tocsin.tables.aliases import Alias
from tocsin.tables.entities import EntityKey

__all__ = ["LARGEST", "Hindsight", "Regrouped"]

_FIRST = 20
_MOST = 2_000
"""Where so many alerts come before anything is known, looking at them again would keep the next ones waiting."""
LARGEST = 200
"""An incident of more alerts than this is left as it is for the same reason: it is a storm, or an attack that is under way."""
_LONGEST = 24 * HOUR
"""What is older than this stays as it is."""
_HOURS = 4 * HOUR
"""After so long, and once it is known what is common, it is looked back whatever the number: what came together in an hour may be an attack, so that
the first hour is seen well only from afar."""
_MORE = 4
"""Where alerts come in no order, it is looked back beyond the day until so many times as many came as there were then."""
_LATE_SHARE = 0.1
"""Alerts come in no order where more of them than this happened over an hour before one that came earlier."""


@dataclass(frozen=True, slots=True)
class Regrouped:
    """What a look back changed. `incidents`: those that it made or made anew. `withdrawn`: patterns' alerts that are not fulfilled, as is known now,
    each with the incident that held it."""

    incidents: frozenset[str] = frozenset()
    withdrawn: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.incidents or self.withdrawn)

    def __or__(self, later: Regrouped) -> Regrouped:
        return Regrouped(self.incidents | later.incidents, {**self.withdrawn, **later.withdrawn})


class Hindsight:
    """The alerts of the first hours in the order in which they came, and when they are looked at again."""

    __slots__ = ("_began", "_known", "_late", "_newest", "_seen", "kept", "over", "signs")

    def __init__(self) -> None:
        self.signs: dict[str, Signature] = {}
        self.over = False
        """Whether enough is known, or the first day is over."""
        self.kept: tuple[bool, int, int] | None = None
        """How far it had come (see `at`) by what is durable."""
        self._seen = 0
        self._known = 0
        """Of how many alerts it looked at when enough was known for the first time."""
        self._began = float("inf")
        self._newest = 0.0
        self._late = 0

    def note(self, sign: Signature) -> None:
        """An alert came."""
        if not self.over:
            self._began = min(self._began, sign.time)
            self._newest = max(self._newest, sign.time)
            self._late += sign.time < self._newest - HOUR
            self.signs[sign.id] = sign
            if len(self.signs) > _MOST:
                self.end()

    def learn(self, alert_id: str, things: Mapping[EntityKey, tuple[str, str]], via: Mapping[EntityKey, Alias]) -> None:
        """An alert turned out to be known otherwise, too."""
        if (sign := self.signs.get(alert_id)) is not None:
            self.signs[alert_id] = replace(sign, things={**sign.things, **things}, via={**sign.via, **via})

    def recent(self, now: float) -> dict[str, Signature]:
        """The alerts that may be looked at again, in the order in which they came."""
        return {i: sign for i, sign in self.signs.items() if sign.time >= now - _LONGEST}

    def due(self, background: Background, now: float) -> bool:
        """Whether it is time to look back."""
        if self.over:
            return False
        if now - self._began > _LONGEST and not self._goes_on:
            self.end()
            return False
        if not self._known and self._enough(background, now):
            return True
        return len(self.signs) >= max(2 * self._seen, _FIRST) and (self._known > 0 or background.looked_on(now) > 0)

    @property
    def _goes_on(self) -> bool:
        """Whether alerts come in no order, and too few have come to know what is common."""
        disordered = self._late > _LATE_SHARE * len(self.signs)
        return disordered and not (self._known and self._seen >= _MORE * self._known)

    def _enough(self, background: Background, now: float) -> bool:
        return now - self._began >= _HOURS and background.observed(now) > 0

    def worth_it(self, background: Background, now: float) -> bool:
        """Whether looking back now tells anything: more came since the last time, and from machines all over."""
        return not self.over and len(self.signs) > self._seen and (self._known > 0 or background.looked_on(now) > 0)

    def looked(self, background: Background, now: float) -> None:
        """It was looked back."""
        self._seen = len(self.signs)
        if not self._known and self._enough(background, now):
            self._known = self._seen

    def end(self) -> None:
        """Nothing is looked at again from now on."""
        self.over = True
        self.signs.clear()

    @property
    def at(self) -> tuple[bool, int, int]:
        """How far it has come: whether it is over, of how many alerts it looked at when it did last, and when enough was known for the first time."""
        return self.over, self._seen, self._known

    def is_kept(self, at: tuple[bool, int, int]) -> None:
        """That is durable now."""
        self.kept = at

    def go_on_from(self, over: bool, seen: int, known: int = 0) -> None:
        """Goes on from where another had come to, before the alerts are noted again."""
        self.over, self._seen, self._known = over, seen, known
