"""How often machines elsewhere have given alerts within the last hour: what stands in for a base rate while none is known yet.

A new workspace, or a scan of a pile of logs, knows nothing of how often its machines give alerts anyway. But when twenty alerts came from four
machines that have nothing to do with the two sides that are compared, alerts come to this fleet by themselves, and two on one machine say less.

Machines that gave no alert yet are part of the fleet, too. How many there are follows from how often the same machine came again (Chao's estimate,
as ecologists count species that they haven't seen: A. Chao, *Nonparametric estimation of the number of classes in a population*, 1984, in the form
that is corrected for bias): where each alert comes from another machine, the fleet is large, and two alerts on one of them are news.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from tocsin.incidents.signature import HOUR

__all__ = ["Lately"]

_SLOT = 300.0
"""What a machine gives within so many seconds counts once: a burst is no rate."""
_LEAST_ALERTS = 20
_LEAST_OF_RANK = 5
"""Where alerts come by themselves, so many of a severity and above say how often those do."""
_LEAST_PLACES = 4
"""What fewer machines did within the hour may all be one attack."""


class Lately:
    """Alerts of the last hour by machine, those of each severity and above."""

    __slots__ = ("_began", "_came", "_levels", "_newest")

    def __init__(self, ranks: int) -> None:
        """`ranks`: how many severities there are."""
        self._came: dict[int, list[tuple[int, str]]] = {}
        """By slot the severity's rank and the machine, each once."""
        self._levels = [_Level() for _ in range(ranks)]
        self._began = self._newest = 0.0

    def add(self, time: float, rank: int, hosts: Collection[str]) -> None:
        """Notes an alert of that rank on these machines; one that comes an hour late or more tells nothing of the last hour."""
        if not self._began:
            self._began = time
        if time <= self._newest - HOUR:
            return
        self._newest = max(self._newest, time)
        slot = int(time // _SLOT)
        for host in sorted(hosts):
            self._note(slot, rank, host)
        before = int((self._newest - HOUR) // _SLOT)
        # There are a dozen; one that came late isn't the first of them.
        for at in [s for s in self._came if s < before]:
            for level, host in self._came.pop(at):
                self._levels[level].remove(at, host)

    def _note(self, slot: int, rank: int, host: str) -> None:
        for level in range(rank, -1, -1):
            if not self._levels[level].add(slot, host):
                return  # what is noted there is noted below, too
            self._came.setdefault(slot, []).append((level, host))

    def rate(self, rank: int, sides: Collection[str]) -> float:
        """Alerts of that rank and above per second on a machine of the fleet, as those tell that aren't of the `sides`; 0 while they are too few to
        tell."""
        of_all, level = self._levels[0], self._levels[rank]
        mine = [slots for s in sides if (slots := of_all.slots.get(s))]
        places = len(of_all.slots) - len(mine)
        if places < _LEAST_PLACES or of_all.alerts - sum(map(len, mine)) < _LEAST_ALERTS:
            return 0.0
        alerts = level.alerts - sum(len(level.slots.get(s, ())) for s in sides)
        if alerts < _LEAST_OF_RANK:
            return 0.0
        once = of_all.often[1] - sum(len(s) == 1 for s in mine)
        twice = of_all.often[2] - sum(len(s) == 2 for s in mine)
        fleet = places + once * (once - 1) / (2 * (twice + 1))
        return alerts / (fleet * min(HOUR, self.looked_on(self._newest)))

    def looked_on(self, now: float) -> float:
        """For how many seconds alerts have come, two slots at least; 0 where they are too few to tell anything of the fleet."""
        of_all = self._levels[0]
        if len(of_all.slots) < _LEAST_PLACES or of_all.alerts < _LEAST_ALERTS:
            return 0.0
        return max(now - self._began, 2 * _SLOT)

    def entries(self) -> list[tuple[float, float, int, int, str]]:
        """All that it knows, for `restore`; nothing where nothing came."""
        return [(self._began, self._newest, slot, *each) for slot, came in self._came.items() for each in came]

    def restore(self, entries: Iterable[tuple[float, float, int, int, str]]) -> None:
        """Knows that again."""
        for self._began, self._newest, slot, level, host in entries:
            self._levels[level].add(slot, host)
            self._came.setdefault(slot, []).append((level, host))


class _Level:
    """Machines with alerts of a severity and above: in which slots each, how many in all, and how many machines in so many slots."""

    __slots__ = ("alerts", "often", "slots")

    def __init__(self) -> None:
        self.slots: dict[str, set[int]] = {}
        self.alerts = 0
        self.often: Counter[int] = Counter()

    def add(self, slot: int, host: str) -> bool:
        """Whether that is new."""
        held = self.slots.setdefault(host, set())
        if slot in held:
            return False
        self.often[len(held)] -= 1
        held.add(slot)
        self.often[len(held)] += 1
        self.alerts += 1
        return True

    def remove(self, slot: int, host: str) -> None:
        held = self.slots[host]
        self.often[len(held)] -= 1
        held.discard(slot)
        self.often[len(held)] += 1
        self.alerts -= 1
        if not held:
            del self.slots[host]
