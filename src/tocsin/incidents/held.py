"""The incidents that a correlator holds, and how they are found: by id, by the alerts in them, by the keys of the things that they name.

Most are laid to rest (see `Cluster.rest`) once nothing has touched them for a while, and woken when somebody asks for one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from sys import getsizeof

from tocsin.incidents.cluster import Cluster, Reader, Resting, parts_of
from tocsin.tables.entities import EntityKey

__all__ = ["LARGE", "Held", "Holders"]

LARGE = 64
"""Incidents of more alerts than this are few, and much to wake: they stay awake."""

_REST_EVERY = 100

_FEW_HOLDERS = 16
"""As many holders of a key are kept in a tuple, which the collection of garbage leaves alone."""
_LOOSE = 80
"""Bytes of a set for each that is in it, beyond which it is copied: a copy has 32 to 64."""


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


class Holders:
    """Which incidents hold a key. Most keys are held by one or a few: those are kept without a set around them."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[EntityKey, str | tuple[str, ...] | set[str]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def of(self, key: EntityKey) -> Collection[str]:
        """The ids of the incidents that hold it."""
        held = self._held.get(key, ())
        return (held,) if isinstance(held, str) else held

    def add(self, keys: Iterable[EntityKey], incident: str) -> None:
        """The incident holds these."""
        for key in keys:
            held = self._held.get(key)
            if held is None:
                self._held[key] = incident
            elif isinstance(held, set):
                held.add(incident)
            elif isinstance(held, str):
                if held != incident:
                    self._held[key] = (held, incident)
            elif incident not in held:
                self._held[key] = (*held, incident) if len(held) < _FEW_HOLDERS else {*held, incident}

    def remove(self, keys: Iterable[EntityKey], incident: str) -> None:
        """The incident holds these no more."""
        for key in keys:
            held = self._held.get(key)
            if held == incident:
                del self._held[key]
            elif isinstance(held, set):
                held.discard(incident)
                if not held:
                    del self._held[key]
                elif getsizeof(held) > _LOOSE * len(held):
                    # A set keeps the room of what left it, and takes four times its own once that is full: copied it has what it needs.
                    self._held[key] = set(held) if len(held) > _FEW_HOLDERS else tuple(sorted(held))
            elif isinstance(held, tuple):
                left = tuple(h for h in held if h != incident)
                if left:
                    self._held[key] = left if len(left) > 1 else left[0]
                else:
                    del self._held[key]
