"""Incidents into state: what correlation says is written, what people decided is kept (`load` has them out of it again).

Every change is an entry of the incident log first; the rows are projections of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from tocsin.detect.alert import Alert, iso
from tocsin.incidents.changes import IncidentChange as Change
from tocsin.incidents.correlate import Correlator
from tocsin.incidents.load import LOOKED_BACK, from_row, keep_decisions, record
from tocsin.incidents.model import Incident, LinkedAlert, Status
from tocsin.incidents.priority import priority
from tocsin.incidents.project import difference, project
from tocsin.incidents.reports import TAG, report_tags
from tocsin.incidents.telling import CORRELATION, tell_created, tell_grown, tell_regrouped
from tocsin.state import IncidentChange, IncidentRow, IncidentWrites, Unit

__all__ = ["CORRELATION", "JUDGE", "bring_comments", "bring_tasks", "judge_again", "moment", "save", "touched", "write"]

JUDGE = "system:priority"
"""The actor of changes that judging again makes: they change nothing that correlation looks at."""


def save(unit: Unit, correlator: Correlator, changes: Sequence[Change]) -> None:
    """Writes what the correlator did since it was saved last: incidents, alerts, activity and events for automation.

    `changes` are those that it told. However many alerts there are, a few statements write them all.
    """
    moved, regrouped = correlator.take_moved(), correlator.take_regrouped()
    # What looking back made and what was merged since with the same alerts isn't there any more.
    anew = frozenset(i for i in regrouped.incidents if correlator.get(i) is not None)
    holders = unit.incidents.holders(
        [*regrouped.withdrawn, *(a.alert.id for _, linked in moved.values() for a in linked)]
    )
    changes = [*changes, *_unsaid(unit, correlator, changes, moved, holders, anew)]
    ids = (i for c in changes for i in (c.incident, c.absorbed) if i is not None)
    rows = unit.incidents.several([*(i.id for i, _ in moved.values()), *(i.id for i in ids), *anew], lock=True)
    last = {c.absorbed.id: c for c in changes if c.absorbed is not None}
    # Of an incident that looking back had merged, and brought back, and that was merged again, the last merge is the one.
    changes = [_to_the_end(c, correlator, rows) for c in changes if c.absorbed is None or c is last[c.absorbed.id]]
    absorbed = {c.absorbed.id: c.absorbed for c in changes if c.absorbed is not None}
    touched: dict[str, Incident] = {i.id: i for i, _ in moved.values()}
    touched.update({c.incident.id: c.incident for c in changes})
    touched.update({i: made for i in sorted(anew) if (made := correlator.get(i)) is not None})
    _number(unit, [a.alert for _, linked in moved.values() for a in linked if a.alert.id not in holders])
    left: defaultdict[str, list[str]] = defaultdict(list)
    for incident, linked in moved.values():
        for alert_id in (a.alert.id for a in linked if holders.get(a.alert.id, incident.id) != incident.id):
            left[holders[alert_id]].append(alert_id)
    withdrawn = [alert_id for alert_id in regrouped.withdrawn if alert_id in holders]
    for alert_id in withdrawn:
        # One that was told again since, with the same alerts, is where that was.
        if correlator.holding(alert_id) is None:
            left[holders[alert_id]].append(alert_id)
    saving = _Saving(unit, unit.incidents.writes(), rows, holders, frozenset(absorbed), anew, left)
    saving.writes.withdraw(withdrawn)
    for change in changes:
        if change.absorbed is not None:
            # An alert that came with this very batch may have passed through it: it was never there as far as anybody saw.
            # Looking back may have taken some away before the merge: it had them as far as anybody saw.
            gone, held = change.absorbed, unit.incidents.alert_ids(change.absorbed.id)
            gone.alerts = [a for a in gone.alerts if a.alert.id in held]
            if len(gone.alerts) < len(held):
                gone.alerts = from_row(rows[gone.id], unit.incidents.alerts_of(gone.id)).alerts
            saving.take_over(change.incident, change.absorbed)
    nameless = [i for i in touched.values() if i.promoted and not saving.was_shown(i)]
    for incident in nameless:
        if (row := rows.get(incident.id)) is not None:
            keep_decisions(incident, row)
    nameless = [i for i in nameless if not i.number]
    for incident, number in zip(nameless, unit.incidents.next_numbers(len(nameless)) if nameless else (), strict=True):
        incident.number = number
    for incident in touched.values():
        saving.incident(incident, moved[incident.id][1] if incident.id in moved else ())
    for change in changes:
        if change.absorbed is not None:
            saving.redirect(change.absorbed, change.incident)
    saving.writes.flush()
    for emptied, into in saving.emptied:
        bring_tasks(unit, emptied, into, by=CORRELATION, source=CORRELATION)
    hindsight = correlator.hindsight
    if (at := hindsight.at) != hindsight.kept:
        unit.kv.set(LOOKED_BACK, list(at))
        unit.afterwards(partial(hindsight.is_kept, at))


def _unsaid(
    unit: Unit,
    correlator: Correlator,
    changes: Sequence[Change],
    moved: Mapping[str, tuple[Incident, list[LinkedAlert]]],
    holders: Mapping[str, str],
    regrouped: Collection[str],
) -> list[Change]:
    """The merges that nobody told of, of incidents that people see: memory may have held one for hidden that was shown before it looked back."""
    into = {a.alert.id: incident for incident, linked in moved.values() for a in linked}
    came = {h: into[a] for a, h in holders.items() if a in into and h != into[a].id}
    told = {c.absorbed.id for c in changes if c.absorbed is not None}
    gone = [i for i in came if i not in told and i not in regrouped and correlator.get(i) is None]
    made = []
    for row in unit.incidents.several(gone).values() if gone else ():
        if row.promoted and row.status != Status.REDIRECTED:
            emptied = from_row(row, unit.incidents.alerts_of(row.id))
            emptied.redirect(came[row.id].id)
            made.append(Change("merged", came[row.id], (), emptied))
    return made


def _to_the_end(change: Change, correlator: Correlator, rows: Mapping[str, IncidentRow]) -> Change:
    """A merge into an incident that came with these alerts and went with them, into another: nobody ever sees it, and links lead where that led.
    A merge that looking back took back with these alerts is none."""
    target, emptied = change.incident, change.absorbed
    if emptied is not None and correlator.get(emptied.id) is not None:
        return replace(change, kind="updated", absorbed=None)
    if emptied is None or not emptied.alerts or target.status is not Status.REDIRECTED or target.id in rows:
        return change
    there = correlator.holding(emptied.alerts[0].alert.id)
    if there is None:
        return change
    emptied.redirect(there.id)
    return replace(change, incident=there)


def _number(unit: Unit, alerts: Iterable[Alert]) -> None:
    """Notes which of the alerts that are filed now are their rules' first ones."""
    common = unit.judge.common if unit.judge is not None else frozenset()
    filed = sorted(
        {a.id: a for a in alerts if a.said_by not in common}.values(), key=lambda a: (a.created, a.time, a.id)
    )
    if not filed:
        return
    made = unit.incidents.note_first([(a.said_by, a.id) for a in filed])
    if unit.judge is not None:
        unit.judge.first.update((a, n) for a, n in made.items() if n < unit.judge.weights.rare_below)
        unit.judge.common.update(a.said_by for a in filed if a.id not in made)


@dataclass(slots=True)
class _Saving:
    """What one call of `save` knows and gathers. `rows` are the incidents' before it, `holders` the incidents that hold alerts in the database."""

    unit: Unit
    writes: IncidentWrites
    rows: Mapping[str, IncidentRow]
    holders: Mapping[str, str]
    absorbed: frozenset[str]
    regrouped: frozenset[str]
    """The incidents that looking back made anew."""
    left: Mapping[str, list[str]]
    """By incident, the alerts that are elsewhere now."""
    emptied: list[tuple[str, str]] = field(default_factory=list)
    """Incidents that a merge emptied, each with the one into which. Their tasks go there once that is written: it may be as new as the alerts."""

    def before(self, incident_id: str) -> IncidentRow | None:
        """The incident's row as it is by now."""
        return self.writes.row(incident_id) or self.rows.get(incident_id)

    def was_shown(self, incident: Incident) -> bool:
        """Whether people see it already."""
        row = self.rows.get(incident.id)
        return row is not None and row.promoted

    def reopened(self, incident: Incident) -> bool:
        """Whether looking back gives an incident that was merged its alerts again."""
        row = self.rows.get(incident.id)
        return row is not None and incident.id in self.regrouped and row.status == Status.REDIRECTED

    def incident(self, incident: Incident, moved: Sequence[LinkedAlert]) -> None:
        """What became of one incident; `moved` are its alerts that weren't in it when the correlator was saved last."""
        before = self.before(incident.id)
        anew, reopened = incident.id in self.regrouped, self.reopened(incident)
        if before is not None:
            keep_decisions(incident, before, reopened=reopened)
        new = [a for a in moved if self.holders.get(a.alert.id) != incident.id]
        left = self.left.get(incident.id, []) if anew else []
        # Looking back, an alert that stays may stay for another reason.
        linked = list(moved) if anew else new
        if (
            before is not None
            and not linked
            and not left
            and before.promoted == incident.promoted
            and before.status != Status.REDIRECTED
        ):
            return
        came_from = {self.holders[a.alert.id] for a in new if a.alert.id in self.holders}
        gather(
            self.unit, self.writes, incident, before, by=CORRELATION, source=CORRELATION, linked=linked, left=left,
            told=self.unit.incidents.history.last_version(incident.id) if anew and before is None else 0,
        )  # fmt: skip
        for emptied in sorted(came_from - self.absorbed - self.regrouped):
            self.writes.drop(emptied, actor=CORRELATION, source=CORRELATION)
        if not incident.promoted:
            return
        if before is None or not before.promoted:
            tell_created(self.writes, incident)
        elif anew and (left or reopened or any(a.alert.id in self.holders for a in new)):
            tell_regrouped(self.writes, incident, new, left, before, reopened=reopened)
        elif new:
            tell_grown(self.writes, incident, new, before)

    def take_over(self, target: Incident, source: Incident) -> None:
        """A merge by the rows' decisions: what the target lacks it takes from the source. Done before the target is written."""
        into, out_of = self.before(target.id), self.before(source.id)
        if out_of is None:
            return
        if into is not None:
            keep_decisions(target, into, reopened=self.reopened(target))
        target.inherit(from_row(out_of, []))
        if into is not None:
            gather(self.unit, self.writes, target, into, by=CORRELATION, source=CORRELATION)

    def redirect(self, source: Incident, target: Incident) -> None:
        """An incident that a merge emptied says so from now on."""
        before = self.before(source.id)
        if before is None or not source.alerts:
            return
        keep_decisions(source, before)
        source.redirect(target.id)
        left = [a.alert.id for a in source.alerts]
        gather(self.unit, self.writes, source, before, by=CORRELATION, source=CORRELATION, left=left)
        says = partial(self.writes.log, source=CORRELATION)
        says(source.id, CORRELATION, "merge", f"Merged into incident #{target.number}.", {"into": target.id})
        says(
            target.id,
            CORRELATION,
            "merge",
            f"Incident #{source.number} was merged into this one: {before.title}",
            {"from": source.id, "alerts": len(source.alerts)},
        )
        for text, actor, detail in _comments(self.unit, source.id):
            says(target.id, actor, "comment", text, detail)
        self.emptied.append((source.id, target.id))
        self.writes.emit(target.id, "updated", CORRELATION, "correlation", {"merged": {"added": [source.id]}})


def write(
    unit: Unit,
    incident: Incident,
    *,
    by: str,
    source: str,
    linked: Sequence[LinkedAlert] = (),
    left: Iterable[str] = (),
    at: datetime | None = None,
) -> None:
    """Writes what one incident has become; see `gather`."""
    writes, before = unit.incidents.writes(), unit.incidents.get(incident.id)
    gather(unit, writes, incident, before, by=by, source=source, linked=linked, left=left, at=at)
    writes.flush()


def moment(unit: Unit, before: IncidentRow | None) -> datetime:
    """When a change of that incident is made: never before the last one, whatever became of the clock. What is newest is told by time."""
    now = unit.clock.now()
    return now if before is None or now >= before.updated else before.updated + timedelta(microseconds=1)


def gather(
    unit: Unit,
    writes: IncidentWrites,
    incident: Incident,
    before: IncidentRow | None,
    *,
    by: str,
    source: str,
    linked: Sequence[LinkedAlert] = (),
    left: Iterable[str] = (),
    at: datetime | None = None,
    told: int = 0,
) -> None:
    """Gathers what an incident has become: an entry of the incident log, and with it the row, the tags and the alerts' links.

    `linked` are alerts that are in it now and weren't before, `left` the ids of those that are not any more; `at` is the change's moment;
    `told` how many versions the log has of one that was there before and that was dropped.
    """
    now = at or moment(unit, before)
    incident.created, incident.updated = incident.created or now, now
    reports, came = _take_reports(unit, incident, before)
    score, reasons = priority(incident, unit.judge)
    version = told + 1 if before is None else before.version + 1
    row = project(incident, score, [r.to_dict() for r in reasons], updated=now, version=version, reports=reports)
    data = difference(before, row, incident.tags)
    links = {a.alert.id: [r.to_dict() for r in a.linked_by] for a in linked}
    gone = list(left)
    if links or gone:
        data["alerts"] = {"linked": [{"id": i, "linked_by": r} for i, r in links.items()], "left": gone}
    writes.entry(
        incident.id,
        "opened" if before is None else "changed",
        data,
        actor=by,
        source=source,
        time=now,
        version=version,
        then=lambda seq: unit.changed.append(IncidentChange(seq, row, by, source, data)),
    )
    writes.put(row, new=before is None)
    tags = data.get("tags", {})
    writes.tags(incident.id, tags.get("added", ()), tags.get("removed", ()), by=by, at=now)
    for alert in linked:
        writes.alert(incident.id, record(alert), links[alert.alert.id])
    if came and before is not None and before.promoted:
        said = f"Looks like {', '.join(t.removeprefix(TAG) for t in came)} and was tagged so."
        writes.log(incident.id, CORRELATION, "tags", said, {"tags": {"added": came}}, source=CORRELATION)
        writes.emit(incident.id, "updated", CORRELATION, CORRELATION, {"tags": {"added": came}})


def _take_reports(unit: Unit, incident: Incident, before: IncidentRow | None) -> tuple[list[str], list[str]]:
    """Tags the incident with the threat reports that it looks like now, and no more with those that it doesn't. Gives the tags of all of them, and
    those that it got. A tag that somebody took away stays away as long as the match is the same."""
    held: list[str] = [] if before is None else list(before.payload.get("reports", ()))
    if unit.judge is None or incident.status is Status.REDIRECTED:
        return held, []
    found = report_tags(incident, unit.judge.reports)
    came = [t for t in found if t not in held and t not in incident.tags]
    gone = set(held).difference(found)
    incident.tags = [*(t for t in incident.tags if t not in gone), *came]
    return found, came


def judge_again(unit: Unit, incident_ids: Sequence[str], *, score_only: bool = False) -> int:
    """Works out incidents' priority and reports anew (other weights, assets, reports); of how many they or the reasons changed. With `score_only`
    other reasons for the same score change nothing. Incidents that are gone or empty are passed over."""
    rows = unit.incidents.several(incident_ids, lock=True)
    alerts = unit.incidents.alerts_of_several(list(rows))
    changed = 0
    for incident_id in dict.fromkeys(i for i in incident_ids if i in rows and i in alerts):
        row, incident = rows[incident_id], from_row(rows[incident_id], alerts.pop(incident_id))
        score, reasons = priority(incident, unit.judge)
        same = score == row.priority and (score_only or [r.to_dict() for r in reasons] == row.payload.get("reasons"))
        looks = report_tags(incident, unit.judge.reports) if unit.judge is not None else []
        if not same or looks != row.payload.get("reports", []):
            write(unit, incident, by=JUDGE, source="system")
            changed += 1
    return changed


def touched(unit: Unit, incident_id: str, *, by: str, source: str) -> None:
    """Tells who follows incidents that something of one changed that has no version: a comment, a task."""
    row = unit.incidents.require(incident_id)
    row = replace(row, updated=moment(unit, row))  # as rows it is newer than what was told before
    unit.changed.append(IncidentChange(unit.incidents.history.last(), row, by, source, {}))


def bring_comments(unit: Unit, origin_id: str, target_id: str, *, source: str) -> list[int]:
    """Copies what people wrote to the incident that theirs was merged into, marked with where and when it was written."""
    return [
        unit.incidents.log(target_id, actor, "comment", text, detail, source=source)
        for text, actor, detail in _comments(unit, origin_id)
    ]


def bring_tasks(unit: Unit, origin_id: str, target_id: str, *, by: str, source: str) -> list[int]:
    """Gives tasks to the incident that theirs was merged into, where people see them; their numbers."""
    tasks = unit.incidents.tasks.of(origin_id)
    for task in tasks:
        unit.incidents.tasks.move(task, target_id, by=by, source=source)
    return [t.id for t in tasks]


def _comments(unit: Unit, origin_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    """An incident's comments as another takes them over: text, who wrote it, where and when."""
    return [
        (e.text, e.actor, {"from": origin_id, "time": iso(e.time)})
        for e in unit.incidents.activity_of(origin_id)
        if e.kind == "comment"
    ]
