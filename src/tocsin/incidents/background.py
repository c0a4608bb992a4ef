"""How often things give alerts anyway: what a shared host or account says of two alerts depends on how likely they met there by chance.

Where a machine gives an alert every six hours, another one on it within the minute is news, and one half an hour later is none. So a place that two
alerts share counts in full while an alert would come there so soon by chance rarely (`chance`), and less the likelier that is. In a
workspace where alerts are few, the same half an hour counts in full.

While that isn't known yet, what machines elsewhere gave within the last hour stands in for it (`lately`).

An hour in which several alerts came counts once: an attack's burst is no base rate. The last hour isn't counted at all, because an attack mustn't
make itself ordinary. Nothing is known until there were enough alerts on enough machines; until then all is news.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable
from typing import Any

from tocsin.detect.alert import SEVERITIES
from tocsin.incidents.cluster import Worth
from tocsin.incidents.lately import Lately
from tocsin.incidents.signature import HOUR, Signature
from tocsin.tables.entities import EntityKey

__all__ = ["Background", "chance"]

_FAMILIES = {"host": "host", "hostname": "host", "account": "account", "ip": "ip"}
_RANKS = len(SEVERITIES)
_LEAST: dict[int, int] = {
    Worth.HIGH: SEVERITIES.index("High"),
    Worth.PLAIN: SEVERITIES.index("Medium"),
    Worth.LOW: 0,
    Worth.NOISY: 0,
}
"""By the worth of an alert, the least severity that says no less than it does."""

_LATE_HOURS = 25
"""So long an hour is kept beyond the window, for alerts that come late."""
_LEAST_HOURS = 2
_LEAST_PLACES = 4
_LEAST_BUSY = 20
"""What few machines did in few hours may all be one attack: so many hours with alerts there must be, each machine's counted by itself."""
_TOGETHER = 1_000
"""So many places at most are forgotten at once."""
_TYPICAL_HOURS = 24.0
"""For so long a place is held to be like any other, beside what was seen of it: a few hours of its own say little yet."""


class Background:
    """In which hours of the window each place gave alerts, and of what severity at most; what it holds is bounded by the window."""

    __slots__ = (
        "_by_hour",
        "_fleet",
        "_hours",
        "_kept_hours",
        "_known",
        "_known_until",
        "_lately",
        "_least_alerts",
        "_places",
        "window",
    )

    def __init__(self, window: float, least_alerts: int) -> None:
        """`least_alerts`: how many must have been seen, over two hours and on four hosts, before anything is held to be known."""
        self.window = window
        self._kept_hours = int(window // HOUR) + _LATE_HOURS
        self._least_alerts = least_alerts
        self._hours: dict[EntityKey, tuple[int, ...]] = {}
        """By place, one number for each hour with alerts: the hour, times ranks, plus the best rank. What was touched longest ago first. Tuples of
        numbers are no work for the collection of garbage."""
        self._by_hour: dict[tuple[str, int], list[int]] = {}
        """By family and hour, how many places gave alerts, by the best rank."""
        self._places: dict[str, int] = {}
        self._fleet: dict[int, int] = {}
        """Alerts by hour."""
        self._known: dict[int, dict[tuple[str, int], float]] = {}
        """What was worked out, by the hour before which it counts."""
        self._known_until = 0
        self._lately = Lately(_RANKS)

    def __len__(self) -> int:
        return len(self._hours)

    def needs(self, least_alerts: int) -> None:
        """So many alerts it wants to have seen from now on."""
        if least_alerts != self._least_alerts:
            self._least_alerts = least_alerts
            self._known.clear()

    def add(self, alert: Signature) -> None:
        """Notes an alert at its places."""
        hour = int(alert.time // HOUR)
        if hour < self._known_until:  # it came late, and what was worked out didn't count it
            self._known = {until: known for until, known in self._known.items() if until <= hour}
            self._known_until = max(self._known, default=0)
        self._fleet[hour] = self._fleet.get(hour, 0) + 1
        self._lately.add(alert.time, alert.rank, alert.hosts)
        for place in dict.fromkeys(p for key in alert.things if (p := _place(key)) is not None):
            self._note(place, hour, alert.rank)

    def _note(self, place: EntityKey, hour: int, rank: int) -> None:
        family = _FAMILIES[_kind(place)]
        hours = self._hours.pop(place, ())
        if not hours:
            self._places[family] = self._places.get(family, 0) + 1
        of_all = self._by_hour.setdefault((family, hour), [0] * _RANKS)
        at = bisect_left(hours, hour * _RANKS)
        known = at < len(hours) and hours[at] // _RANKS == hour
        if known and rank > (before := hours[at] % _RANKS):
            of_all[before] -= 1
        if not known or rank > before:
            of_all[rank] += 1
            kept = bisect_left(hours, (hour - self._kept_hours) * _RANKS)  # a place that never rests would keep all
            hours = (*hours[kept:at], hour * _RANKS + rank, *hours[at + known :])
        self._hours[place] = hours

    def observed(self, now: float) -> float:
        """For how many seconds up to an hour ago it has looked on; 0 while that, or the alerts in it, are too few to know anything."""
        return self._worked_out(now)["", 0]

    def looked_on(self, now: float) -> float:
        """For how many seconds alerts have come, where those of the last hour came from machines all over; else 0."""
        return self._lately.looked_on(now)

    def fleet(self, now: float) -> int:
        """How many machines give alerts; 0 while it isn't known that they come by themselves."""
        return self.places("host") if self.observed(now) or self.looked_on(now) else 0

    def is_machine(self, name: str) -> bool:
        """Whether that bare name is a machine's that gave alerts."""
        return ("hostname", name) in self._hours

    def hours(self, now: float) -> tuple[int, int]:
        """The hour before which it counts, and the first that it counts."""
        return int((now - HOUR) // HOUR), int((now - self.window) // HOUR)

    def places(self, family: str) -> int:
        """How many hosts (`host`), accounts (`account`) or addresses (`ip`) it knows."""
        return self._places.get(family, 0)

    def rate_elsewhere(self, worth: int, sides: Collection[str]) -> float:
        """Alerts per second on any machine that say no less than one of that worth, as the last hour tells on machines that are none of the `sides`'
        (bare names); 0 while those are too few."""
        return self._lately.rate(_LEAST[worth], sides)

    def rate(self, key: EntityKey, worth: int, now: float) -> float:
        """Alerts at that place per second that say no less than one of that worth; 0 for what is no place, and while nothing is known."""
        place = _place(key)
        known = self._worked_out(now)
        observed = known["", 0]
        if place is None or not observed:
            return 0.0
        until, since = self.hours(now)
        hours = self._hours.get(place, ())
        least = _LEAST[worth]
        here = hours[bisect_left(hours, since * _RANKS) : bisect_left(hours, until * _RANKS)]
        typical = known.get((_FAMILIES[_kind(place)], least), 0.0)
        own = sum(h % _RANKS >= least for h in here)
        return (own + typical * _TYPICAL_HOURS * HOUR) / (observed + _TYPICAL_HOURS * HOUR)

    def entries(self) -> dict[str, Any]:
        """All that it knows, for `restore`, by part: places with their hours, counts by family and hour, alerts by hour, the last hour."""
        by_hour = {key: tuple(ranks) for key, ranks in self._by_hour.items()}
        return {
            "hours": self._hours.copy(),
            "by_hour": by_hour,
            "fleet": self._fleet.copy(),
            "lately": self._lately.entries(),
        }

    def restore(
        self,
        hours: Iterable[Any] = (),
        by_hour: Iterable[Any] = (),
        fleet: Iterable[Any] = (),
        lately: Iterable[tuple[float, float, int, int, str]] = (),
    ) -> None:
        """Knows that again."""
        for place, kept in hours:
            self._hours[place] = kept
            family = _FAMILIES[_kind(place)]
            self._places[family] = self._places.get(family, 0) + 1
        self._by_hour.update((key, list(ranks)) for key, ranks in by_hour)
        self._fleet.update(fleet)
        self._lately.restore(lately)
        self._known.clear()

    def forget(self, now: float) -> None:
        """Drops what lies before the window, not all at once."""
        _, since = self.hours(now)
        gone: list[EntityKey] = []
        for place, hours in self._hours.items():
            if hours[-1] // _RANKS >= since or len(gone) >= _TOGETHER:
                break
            gone.append(place)
        for place in gone:
            del self._hours[place]
            self._places[_FAMILIES[_kind(place)]] -= 1
        for hour in [h for h in self._fleet if h < since]:
            del self._fleet[hour]
            for family in self._places:
                self._by_hour.pop((family, hour), None)

    def _worked_out(self, now: float) -> dict[tuple[str, int], float]:
        """By family and least rank, how often a place of it gives alerts, per second; under an empty name how long it looked on. Worked out once
        an hour, because what came in the last hour doesn't count yet."""
        until, since = self.hours(now)
        if (held := self._known.get(until)) is not None:
            return held
        seen = [(hour, count) for hour, count in self._fleet.items() if since <= hour < until]
        enough = sum(count for _, count in seen) >= self._least_alerts
        hours = until - min(hour for hour, _ in seen) if enough else 0
        busy = sum(sum(self._by_hour.get(("host", hour), ())) for hour, _ in seen)
        enough = hours >= _LEAST_HOURS and self.places("host") >= _LEAST_PLACES and busy >= _LEAST_BUSY
        observed = hours * HOUR if enough else 0.0
        known = {("", 0): observed}
        if observed:
            for family, places in self._places.items():
                of_all = [found for hour, _ in seen if (found := self._by_hour.get((family, hour)))]
                for least in set(_LEAST.values()):
                    known[family, least] = sum(sum(ranks[least:]) for ranks in of_all) / (observed * max(places, 1))
        self._known = {at: other for at, other in self._known.items() if at > until - _LATE_HOURS}
        self._known[until], self._known_until = known, max(self._known_until, until)
        return known


def chance(rate: float, gap: float) -> float:
    """How likely an alert comes by chance no further than so many seconds from another, before or after."""
    return -math.expm1(-2 * rate * gap)


def _kind(key: EntityKey) -> str:
    return key[0].partition(".")[0]


def _place(key: EntityKey) -> EntityKey | None:
    """The place that a key names, under one name; None for what is none."""
    if key[0] == "host":
        return ("hostname", key[1])
    return key if _kind(key) in _FAMILIES else None
