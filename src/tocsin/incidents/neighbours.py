"""Which incidents are near enough to an alert, or to each other, to be joined."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from tocsin.incidents.cluster import Cluster, outline
from tocsin.incidents.held import Held
from tocsin.incidents.learned import Learned
from tocsin.incidents.model import Incident, Reason
from tocsin.incidents.score import Scorer
from tocsin.incidents.sharing import Score
from tocsin.tables.entities import EntityKey

__all__ = ["Candidate", "Neighbours"]

_FEW = 32
"""A supporting thing that more incidents hold than this tips no scales."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An incident that an alert could join: its score against it, the reasons, and whether the threshold is reached."""

    incident: Incident
    score: float
    reasons: tuple[Reason, ...]
    joins: bool


class Neighbours:
    """Finds, among the incidents that are held, those that share enough with a side of correlation."""

    __slots__ = ("_held", "_learned", "_scorer")

    def __init__(self, held: Held, scorer: Scorer, learned: Learned) -> None:
        self._held, self._scorer, self._learned = held, scorer, learned

    def score(self, one: Cluster, other: Cluster) -> Score:
        """What two sides share, as things stand."""
        return self._scorer.score(one, other, self._learned.newest)

    def fitting(self, alone: Cluster, keys: Iterable[EntityKey]) -> list[tuple[Cluster, Score]]:
        """Open incidents that reach the threshold, best first."""
        found = [(other, score) for other, score in self.scored(alone, keys) if score.joins]
        if len(found) > 1:  # when an incident began is asked of all of its alerts
            found.sort(key=lambda f: (-f[1].points, f[0].incident.first, f[0].incident.id))
        return found

    def candidates(self, side: Cluster, may_join: Callable[[Incident], bool] = lambda _: True) -> list[Candidate]:
        """Every open incident that shares something of weight, best first. `may_join`: whether it joins that one if it is near enough."""
        found = [
            Candidate(other.incident, score.points, score.reasons(), score.joins and may_join(other.incident))
            for other, score in self.scored(side, list(side.things), whole=True)
            if score.points > 0
        ]
        return sorted(found, key=lambda c: (-c.score, c.incident.first, c.incident.id))

    def scored(
        self, side: Cluster, keys: Iterable[EntityKey], *, support: bool = False, whole: bool = False
    ) -> Iterator[tuple[Cluster, Score]]:
        """Open incidents that hold one of the keys that are rare enough to join by (`support`: that may tip the scales), with their scores:
        those that may reach the threshold, with `whole` all."""
        now = self._learned.newest
        seen: set[str] = {side.id}
        far: set[str] = set()
        furthest = 0.0
        high = whole or side.may_be_high
        for key in keys:
            holders = self._held.holders.of(key)
            if not holders or not (self._scorer.may_anchor(key, now) or (support and self._tips(key, holders))):
                continue
            reach = math.inf if support else self._scorer.reach(key, high=high)
            if reach > furthest:
                furthest = reach
                far.clear()
            near: list[str] = []
            for incident_id in holders:
                if incident_id in seen or incident_id in far:
                    continue
                outlined = outline(self._held.clusters[incident_id])
                if outlined[1] < side.first - reach or outlined[0] > side.last + reach:
                    far.add(incident_id)  # to be joined by this; another key may reach further
                    continue
                seen.add(incident_id)
                if outlined[2] and (whole or self._scorer.could_join(side, outlined, now)):
                    near.append(incident_id)
            for incident_id in sorted(near):
                other = self._held.woken(incident_id)
                yield other, self._scorer.score(side, other, now)

    def _tips(self, key: EntityKey, holders: Collection[str]) -> bool:
        """Whether a supporting key is held by so few that it says anything."""
        return self._scorer.supports(key) and len(holders) <= _FEW
