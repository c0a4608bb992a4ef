"""Joins an alert: to the incident that it is nearest to, or as one of its own; and gathers what a multistage pattern tells of."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from datetime import datetime

from tocsin.detect.alert import Alert
from tocsin.incidents.changes import IncidentChange
from tocsin.incidents.cluster import Cluster, Worth
from tocsin.incidents.fusion import Fired, Fusion, Pattern
from tocsin.incidents.held import Held
from tocsin.incidents.learned import Learned
from tocsin.incidents.links import Links
from tocsin.incidents.merging import Merger
from tocsin.incidents.model import Incident, LinkedAlert, Reason, by_time
from tocsin.incidents.neighbours import Neighbours
from tocsin.incidents.score import Scorer
from tocsin.incidents.signature import Signature, signature
from tocsin.incidents.weights import CorrelationSettings

__all__ = ["Joiner", "worth_showing"]


class Joiner:
    """Joins alerts to the incidents that are held, by the settings and by what was learned."""

    def __init__(
        self,
        held: Held,
        learned: Learned,
        settings: CorrelationSettings,
        *,
        links: Links,
        patterns: Sequence[Pattern],
        apart: frozenset[frozenset[str]],
    ) -> None:
        """`links`: which columns of rows tell of processes and sessions; `apart`: pairs of incidents' ids that are never merged."""
        self.held, self.learned, self.links, self._patterns = held, learned, links, patterns
        self.moved: dict[str, datetime] = {}
        """By alert that came to an incident, from nowhere or from another, its time."""
        self.said: dict[str, Alert] = {}
        """While it looks back: by id what patterns had said before."""
        self.weigh_by(settings, Merger(held, self.moved, apart=apart))
        self.fusion = self.new_fusion()

    def weigh_by(self, settings: CorrelationSettings, merger: Merger) -> None:
        """Goes by these settings from now on; what is remembered stays."""
        self.settings = settings
        self.scorer = Scorer(settings, self.learned.company, self.learned.background)
        self.neighbours = Neighbours(self.held, self.scorer, self.learned)
        self.merger = merger
        merger.weigh_by(self.neighbours, settings.threshold)

    def new_fusion(self) -> Fusion:
        """The patterns, of which nothing has been seen yet."""
        return Fusion(self._patterns, self.learned.background, self.settings.coincidence)

    def join(self, alert: Alert, sign: Signature) -> list[IncidentChange]:
        """Joins an alert; gives the changes that people see."""
        alone = self.alone(alert, sign)
        fitting = self.neighbours.fitting(alone, sign.things) if alert.correlate else []
        fitting = [(c, score) for c, score in fitting if self.merger.may_join(c.incident, alone.incident)]
        if not fitting:
            self.held.enter(alone)
            self.moved[alert.id] = alert.time
            alone.incident.promoted = worth_showing(alone)
            return [IncidentChange("created", alone.incident, (alert,))] if alone.incident.promoted else []
        target, score = fitting[0]
        wider = self._take_in(target, alert, sign, score.reasons())
        # A stage or rule that is new to the incident may bring it nearer to any of its neighbours, else only what the alert names can.
        touched = list(target.things if wider else sign.things)
        changes, target = self.merger.settle(target, [c for c, _ in fitting[1:]], touched, alert)
        incident = target.incident
        was_shown = incident.promoted
        incident.promoted = was_shown or worth_showing(target)
        if incident.promoted:
            changes.append(IncidentChange("updated" if was_shown else "created", incident, (alert,)))
        return changes

    def watch(self, alert: Alert, sign: Signature) -> list[Fired]:
        """The multistage patterns that the alert fulfils. A noisy rule's alert is no stage; neither what everybody shares nor an alias joins
        stages."""
        if not alert.correlate or self.learned.worth(sign) is Worth.NOISY:
            return []
        return self.fusion.notice(
            alert,
            sign,
            (k for k in sign.things if k not in sign.via and self.scorer.may_lead(k, self.learned.newest)),
        )

    def fuse(self, fired: Fired, through: Alert) -> list[IncidentChange]:
        """Gathers a pattern's alerts in one incident, with an alert that says what it is; nothing where that is told already."""
        parts = [c for a in fired.alerts if (c := self.held.holder(a.id)) is not None]
        parts = [c for c in {c.id: c for c in parts}.values() if c.joinable and c.open]
        told = [c for c in parts if fired.pattern.id in c.rules]
        if not parts or len(told) == len(parts):
            return []
        # A stage's further alert that comes after the pattern was told belongs to it as one that came before does.
        target = (told or parts)[0]
        held = len(target.alerts)
        changes, target = self.merger.settle(target, [c for c in parts if c is not target], None, through)
        said: tuple[Alert, ...] = ()
        if not told and (alert := fired.alert(target.id)).id not in self.held.alerts:
            said = (self.said.get(alert.id, alert),)  # what was told once isn't told anew by other alerts of its stages
            reason = Reason(fired.reason, self.settings.threshold)
            self._take_in(target, said[0], signature(said[0], self.links), (reason,))
        elif len(target.alerts) == held:
            return []  # told already, here or, where somebody has moved what was told, elsewhere
        # What the pattern brought together may be near to incidents that none of its parts was near enough to.
        further, target = self.merger.settle(target, [], list(target.things), through)
        was_shown, target.incident.promoted = target.incident.promoted, True
        return [*changes, *further, IncidentChange("updated" if was_shown else "created", target.incident, said)]

    def alone(self, alert: Alert, sign: Signature) -> Cluster:
        """The alert as an incident of its own."""
        incident = Incident.opened_by(alert)
        alone = Cluster(incident.id, incident)
        alone.add(sign, self.learned.worth(sign))
        return alone

    def _take_in(self, cluster: Cluster, alert: Alert, sign: Signature, reasons: tuple[Reason, ...]) -> bool:
        """Puts an alert into an incident; says whether it brought a stage or a rule that wasn't there."""
        incident = cluster.incident
        insort(incident.alerts, LinkedAlert(alert, reasons), key=by_time)
        incident.updated = max(incident.updated or alert.created, alert.created)
        wider = cluster.add(sign, self.learned.worth(sign))
        self.held.alerts[alert.id] = incident.id
        self.moved[alert.id] = alert.time
        self.held.holders.add(sign.things, cluster.id)
        # Forgetting begins with what was touched longest ago.
        self.held.clusters[incident.id] = self.held.clusters.pop(incident.id)
        return wider


def worth_showing(cluster: Cluster) -> bool:
    """An alert that may open an incident does; signals alone do when several rules tell of several stages."""
    return cluster.opens or (len(cluster.rules) >= 3 and len(cluster.tactics) >= 3 and cluster.signals >= 2)
