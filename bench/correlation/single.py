"""Acceptance 1: each recorded attack becomes one incident."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.correlation.datasets import Dataset, alerts_of
from bench.correlation.truth import caused

from tocsin.detect.alert import Alert
from tocsin.incidents import Correlator, Incident
from tocsin.incidents.weights import CorrelationSettings

__all__ = ["Outcome", "judge"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recording."""

    name: str
    alerts: int
    caused: int
    inside: int
    foreign: int
    incidents: int
    hosts: int
    sources: int
    reasons: Counter[str]
    same_again: bool
    outside: tuple[str, ...]

    @property
    def share(self) -> float:
        """Of the alerts that the attack caused, how many are in its incident."""
        return self.inside / self.caused if self.caused else 1.0


def correlate(alerts: Sequence[Alert], settings: CorrelationSettings | None = None) -> list[Incident]:
    """The incidents, shown or not, that those alerts make, by size."""
    correlator = Correlator(settings=settings)
    correlator.add(alerts)
    correlator.look_back()  # as a scan does once it has read everything
    found = {i.id: i for a in alerts if (i := correlator.holding(a.id)) is not None}
    return sorted(found.values(), key=lambda i: (-len(i.alerts), i.id))


def judge(dataset: Dataset, settings: CorrelationSettings | None = None) -> Outcome:
    """Correlates the recording's alerts, twice, and compares with the truth."""
    alerts = alerts_of(dataset)
    truth = caused(dataset, alerts)
    incidents = correlate(alerts, settings)
    again = correlate(alerts, settings)
    main = max(incidents, key=lambda i: (len(i.alert_ids() & truth), i.promoted), default=None)
    held = main.alert_ids() & {a.id for a in alerts} if main else set()
    reasons = Counter(kind(r.text) for a in (main.alerts if main else ()) for r in a.linked_by if r.weight)
    return Outcome(
        name=dataset.name,
        alerts=len(alerts),
        caused=len(truth),
        inside=len(truth & held),
        foreign=len(held - truth),
        incidents=sum(bool(i.alert_ids() & truth) for i in incidents),
        hosts=len(
            {e.label.partition(".")[0].lower() for a in alerts if a.id in held for e in a.entities if e.type == "Host"}
        ),
        sources=len({e.table for a in alerts if a.id in held for e in a.events}),
        reasons=reasons,
        same_again=[(i.id, sorted(i.alert_ids())) for i in incidents] == [(i.id, sorted(i.alert_ids())) for i in again],
        outside=tuple(
            f"{a.time:%H:%M:%S} {a.title or a.rule} [{', '.join(dict.fromkeys(e.label for e in a.entities if e.type in ('Host', 'Account', 'IP')))}]"
            for a in alerts
            if a.id in truth - held
        ),
    )


def kind(reason: str) -> str:
    """A reason without the thing's name."""
    if " follows " in reason:
        return "next stage"
    if "joins both" in reason:
        return "merge"
    found = re.match(r"same (process tree|logon session|file hash|registry key|registry value|\w+)", reason)
    return found[1] if found else reason
