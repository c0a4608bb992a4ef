"""Joins the alerts of the first hours anew, with what is known by then: see `hindsight`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Literal

from tocsin.detect.alert import Alert
from tocsin.incidents.changes import IncidentChange
from tocsin.incidents.cluster import Cluster
from tocsin.incidents.fusion import PRODUCT
from tocsin.incidents.hindsight import LARGEST, Hindsight, Regrouped
from tocsin.incidents.joining import Joiner
from tocsin.incidents.model import Incident
from tocsin.incidents.score import Past

__all__ = ["Handled", "regroup"]

Handled = Callable[[Collection[str], Mapping[str, str]], Collection[str]]
"""Which of some incidents anybody has touched, or hold an alert of one that somebody has: it is told where the alerts are that came just now."""


def regroup(joiner: Joiner, hindsight: Hindsight, handled: Handled) -> tuple[list[IncidentChange], Regrouped]:
    """Looks back now: the changes that people see, and all that changed. An incident keeps its id as long as the alert that opened it opens one. One
    whose opening alert belongs to another incident now is merged into that; one that has lost alerts keeps the others."""
    held = joiner.held
    signs = hindsight.recent(joiner.learned.newest)
    loose = _regroupable(joiner, signs, handled)
    moved = dict(joiner.moved)
    joiner.moved.clear()
    was, company = {c.id: c.incident for c in loose}, {a: c.company for c in loose for a in c.alerts}
    again = {linked.alert.id: linked for i in was.values() for linked in i.alerts}
    for incident_id in was:
        held.forget(incident_id)
    others = {i for a in signs if a not in again and (i := held.alerts.get(a)) is not None}
    settled = {a.alert.id: a.alert for i in sorted(others) for a in held.woken(i).incident.alerts}
    joiner.fusion = joiner.new_fusion()
    joiner.said = {i: linked.alert for i, linked in again.items() if linked.alert.product == PRODUCT}
    told: list[IncidentChange] = []
    try:
        for alert_id, sign in signs.items():
            joiner.scorer.past = Past(sign.time, company.get(alert_id, frozenset()))
            if (linked := again.get(alert_id)) is not None:
                told.extend(joiner.join(linked.alert, sign))
                for fired in joiner.watch(linked.alert, sign):
                    told.extend(joiner.fuse(fired, linked.alert))
            elif (alert := settled.get(alert_id)) is not None:
                joiner.watch(alert, sign)
    finally:
        joiner.scorer.past, joiner.said = None, {}
    hindsight.looked(joiner.learned.background, joiner.learned.newest)
    patterns = {a: t for a, t in joiner.moved.items() if a not in again and a in held.alerts}
    joiner.moved.clear()
    joiner.moved.update({**moved, **patterns})
    swallowed = [c.absorbed for c in told if c.absorbed is not None and c.absorbed.id not in was]
    changes, regrouped = _made_of(joiner, was)
    return [*changes, *_merged_with(joiner, swallowed)], regrouped


def _merged_with(joiner: Joiner, others: Collection[Incident]) -> list[IncidentChange]:
    """The merges that emptied incidents which weren't joined anew: what somebody has touched keeps its alerts, but alerts that are joined anew may
    bring it and another together, as new ones may."""
    made = []
    for other in others:
        if other.id in joiner.held.clusters or not other.alerts:
            continue
        into = joiner.held.holder(other.alerts[0].alert.id)
        assert into is not None  # it was emptied into one that is held
        other.redirect(into.id)  # which may have been emptied itself since
        made.append(IncidentChange("merged", into.incident, (), other))
    return made


def _regroupable(joiner: Joiner, signs: Collection[str], handled: Handled) -> list[Cluster]:
    """The incidents of these alerts that nobody has touched, of which everything is remembered."""
    held = joiner.held
    found = list(dict.fromkeys(i for a in signs if (i := held.alerts.get(a)) is not None))
    touched = frozenset(handled(found, {a: i for a in joiner.moved if (i := held.alerts.get(a)) is not None}))
    return [
        c
        for c in (held.woken(i) for i in found if i not in touched)
        if len(c.alerts) <= LARGEST
        and c.open
        and c.incident.untouched
        and all(a.alert.id in signs or a.alert.product == PRODUCT for a in c.incident.alerts)
    ]


def _made_of(joiner: Joiner, was: Mapping[str, Incident]) -> tuple[list[IncidentChange], Regrouped]:
    """What became of those incidents."""
    held = joiner.held
    came: dict[str, list[Alert]] = {}
    withdrawn: dict[str, str] = {}
    for incident_id, old in was.items():
        for linked in old.alerts:
            holder = held.holder(linked.alert.id)
            if holder is None:
                withdrawn[linked.alert.id] = incident_id
                came.setdefault(incident_id, [])
            elif holder.id != incident_id or holder.incident.linked(linked.alert).linked_by != linked.linked_by:
                came.setdefault(incident_id, [])
                came.setdefault(holder.id, []).extend([linked.alert] if holder.id != incident_id else ())
                joiner.moved[linked.alert.id] = linked.alert.time
    changes: list[IncidentChange] = []
    for incident_id, old in was.items():
        if incident_id not in held.clusters and old.promoted:
            opener = next((a.alert for a in old.alerts if Incident.id_by(a.alert) == incident_id), old.alerts[0].alert)
            cluster = held.holder(opener.id)
            assert cluster is not None  # an alert that was held before is held again, somewhere
            old.redirect(cluster.id)
            cluster.incident.inherit(old)
            cluster.incident.promoted = True
            changes.append(IncidentChange("merged", cluster.incident, (), old))
    here = [i for i in came if i in held.clusters]
    for incident_id in here:
        shown = incident_id in was and was[incident_id].promoted
        if incident_id in was:
            held.woken(incident_id).goes_on_as(was[incident_id])
        incident = held.woken(incident_id).incident
        if incident.promoted:
            kind: Literal["created", "updated"] = "updated" if shown else "created"
            changes.append(IncidentChange(kind, incident, tuple(came[incident_id])))
    return changes, Regrouped(frozenset(here), withdrawn)
