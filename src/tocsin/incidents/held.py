"""The incidents that a correlator holds, and how they are found: by id, by the alerts in them, by the keys of the things that they name.

Most are laid to rest (see `Cluster.rest`) once nothing has touched them for a while, and woken when somebody asks for one.
"""

from __future__ import annotations

from tocsin.incidents.cluster import Cluster, Holders, Reader, Resting, parts_of

__all__ = ["LARGE", "Held"]

LARGE = 64
"""Incidents of more alerts than this are few, and much to wake: they stay awake."""

_REST_EVERY = 100


class Held:
    """Incidents awake and at rest."""

    __slots__ = ("_since_rest", "alerts", "awake", "clusters", "holders", "reader")

    def __init__(self, reader: Reader | None = None) -> None:
        """`reader`: who has the incidents of those that were taken in without them."""
        self.reader = reader
        self.clusters: dict[str, Cluster | Resting] = {}
        """The one that was touched longest ago first."""
        self.holders = Holders()
        """By key, who holds it."""
        self.alerts: dict[str, str] = {}
        """By alert, the incident that holds it."""
        self.awake: list[Cluster] = []
        self._since_rest = 0

    def enter(self, held: Cluster | Resting) -> None:
        """Takes in an incident that isn't held."""
        incident_id, keys, alerts = parts_of(held)
        self.clusters[incident_id] = held
        if isinstance(held, Cluster):
            self.awake.append(held)
        for alert_id in alerts:
            self.alerts[alert_id] = incident_id
        self.holders.add(keys, incident_id)

    def forget(self, incident_id: str) -> None:
        """Lets go of one that is held, and of its alerts."""
        _, keys, alerts = parts_of(self.clusters.pop(incident_id))
        for alert_id in alerts:
            self.alerts.pop(alert_id, None)
        self.holders.remove(keys, incident_id)

    def woken(self, incident_id: str) -> Cluster:
        """One that is held, ready to be worked with until the next call lays it to rest again."""
        held = self.clusters[incident_id]
        if not isinstance(held, Cluster):
            held = self.clusters[incident_id] = Cluster.woken(held, self.reader)
            self.awake.append(held)
        return held

    def holder(self, alert_id: str) -> Cluster | None:
        """The one that holds an alert."""
        incident_id = self.alerts.get(alert_id)
        return None if incident_id is None else self.woken(incident_id)

    def grown(self) -> None:
        """Counts an alert that came: every so many of them what nothing touches is laid to rest."""
        self._since_rest += 1

    def lay_to_rest(self, *, at_once: bool = False) -> None:
        """Lays to rest what nothing has touched since the last time."""
        if self._since_rest < _REST_EVERY and not at_once:
            return
        self._since_rest = 0
        awake, self.awake = self.awake, []
        for cluster in awake:
            if self.clusters.get(cluster.id) is not cluster:
                continue
            if cluster.touched or len(cluster.alerts) > LARGE:
                cluster.touched = False
                self.awake.append(cluster)
            else:
                self.clusters[cluster.id] = cluster.rest()
