"""How incidents become one: which are near enough, which of them stays, and what the other empties into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from tocsin.detect.alert import Alert
from tocsin.incidents.changes import IncidentChange
from tocsin.incidents.cluster import Cluster
from tocsin.incidents.held import Held
from tocsin.incidents.model import Incident, LinkedAlert, Reason, Status, by_time
from tocsin.incidents.neighbours import Neighbours
from tocsin.incidents.vetoes import merge_vetoes, vetoes
from tocsin.tables.entities import EntityKey

__all__ = ["Merger", "MoreVetoes"]

MoreVetoes = Callable[[Incident, Incident, bool], Sequence[str]]
"""What speaks against a merge of two incidents, in words; or, if the last is true, against an alert, as an incident of its own, joining the first."""


class Merger:
    """Merges incidents that are held."""

    def __init__(self, held: Held, moved: dict[str, datetime], *, apart: frozenset[frozenset[str]]) -> None:
        """`moved` learns which alerts came to another incident, and their time. `apart`: pairs of incidents' ids that are never merged."""
        self._held, self._moved, self.apart = held, moved, apart
        self.more_vetoes: MoreVetoes = lambda _one, _other, _alert: ()
        """What else speaks against a merge, besides `merge_vetoes`, and against joining at all."""

    def weigh_by(self, neighbours: Neighbours, threshold: float) -> None:
        """What is near enough is told by `neighbours` from now on; a merge stands for so many points."""
        self._neighbours, self._threshold = neighbours, threshold

    def settle(
        self, target: Cluster, waiting: Iterable[Cluster], keys: Iterable[EntityKey] | None, alert: Alert
    ) -> tuple[list[IncidentChange], Cluster]:
        """Merges those that wait, and then what the keys bring near enough, until nothing more reaches the threshold; without keys only those
        that wait. Gives the changes that people see, and which cluster is left."""
        changes: list[IncidentChange] = []
        queue = {c.id: c for c in waiting}
        if keys is not None:
            self._queue(queue, target, keys)
        while queue:
            other = queue.pop(next(iter(queue)))
            if other is target or other.id not in self._held.clusters or not self._may_merge(target, other):
                continue
            target, source = _direction(target, other)
            shown = source.incident.promoted
            self._merge(target, source, alert)
            if shown:
                changes.append(IncidentChange("merged", target.incident, (), source.incident))
            if keys is not None:
                self._queue(queue, target, target.things)
        return changes, target

    def _queue(self, queue: dict[str, Cluster], target: Cluster, keys: Iterable[EntityKey]) -> None:
        for other, score in self._neighbours.scored(target, keys, support=True):
            if score.joins:
                queue.setdefault(other.id, other)

    def against(self, one: Incident, other: Incident) -> list[str]:
        """Why the two are never merged, a sentence each; none where they may be. What `_may_merge` decides by, in words."""
        found = [*merge_vetoes(one, other), *self.more_vetoes(one, other, False)]
        if frozenset((one.id, other.id)) in self.apart:
            found.append("People took them apart: only people bring them together again.")
        return found

    def _may_merge(self, one: Cluster, other: Cluster) -> bool:
        pair = frozenset((one.id, other.id))
        if pair in self.apart or vetoes(one.incident, other.incident, one.named_with(other)):
            return False
        return not self.more_vetoes(one.incident, other.incident, False)

    def may_join(self, target: Incident, alone: Incident) -> bool:
        """Whether nothing speaks against an alert, as an incident of its own, joining that one if it is near enough."""
        return not self.more_vetoes(target, alone, True)

    def _merge(self, target: Cluster, source: Cluster, through: Alert) -> None:
        learned = "".join(f"; {text}" for text in self._neighbours.score(target, source).learned)
        bridge = Reason(f"'{through.title or through.rule}' joins both{learned}", self._threshold)
        into, out_of = target.incident, source.incident
        self._moved.update((a.alert.id, a.alert.time) for a in out_of.alerts)
        held = into.alert_ids()
        into.alerts.extend(
            LinkedAlert(linked.alert, (*linked.linked_by, bridge))
            for linked in out_of.alerts
            if linked.alert.id not in held
        )
        into.alerts.sort(key=by_time)
        into.inherit(out_of)
        into.promoted = into.promoted or out_of.promoted
        # What people took from the one that goes isn't joined to what it is in from now on.
        others = {i for pair in self.apart if source.id in pair for i in pair} - {source.id, target.id}
        self.apart |= {frozenset((target.id, other)) for other in others}
        self._held.forget(source.id)
        out_of.redirect(into.id)
        for alert_id in source.alerts:
            self._held.alerts[alert_id] = into.id
        self._held.holders.add(source.things, into.id)
        target.absorb(source)


def _direction(one: Cluster, other: Cluster) -> tuple[Cluster, Cluster]:
    """Which stays: the one that people have seen or worked on, else the older."""

    def rank(c: Cluster) -> tuple[bool, bool, bool, datetime, str]:
        i = c.incident
        return (not i.promoted, not i.owner, i.status is Status.NEW, i.first, i.id)

    return (one, other) if rank(one) <= rank(other) else (other, one)
