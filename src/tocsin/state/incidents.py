"""Incidents with their alerts, tags, activity log and event outbox.

The repository keeps rows; what an incident is and how it may change is decided by `tocsin.incidents`. Analysts' decisions are columns,
what correlation computes is the payload, alerts are rows of their own that hold their whole JSON form. All but the alerts' documents and
the outbox is a projection of the incident log (`log`), which is written in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, insert, or_, select, update

from tocsin.state.incident_log import IncidentLog
from tocsin.state.incident_tasks import IncidentTasks
from tocsin.state.kv import KeyValues
from tocsin.state.repository import NotFoundError, Repository
from tocsin.state.schema import activity, alerts, incident_events, incident_tags, incidents
from tocsin.state.types import plain

__all__ = ["ActivityRow", "EventRow", "IncidentChange", "IncidentFilter", "IncidentRow", "Incidents"]


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """An incident's row. None where nothing was decided; `number` is given when it is first shown."""

    id: str
    number: int | None
    title: str
    severity: str
    severity_rank: int
    priority: int
    status: str
    owner: str | None
    classification: str | None
    determination: str | None
    first: datetime
    last: datetime
    created: datetime
    updated: datetime
    alert_count: int
    severity_override: str | None
    title_override: str | None
    redirect_to: str | None
    promoted: bool
    search: str
    payload: Mapping[str, Any]
    phase: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    acknowledged: datetime | None = None
    closed: datetime | None = None
    version: int = 1
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """A change of an incident, for who follows them: its place in the log, the row after it, and what the log says of it."""

    seq: int
    row: IncidentRow
    actor: str
    source: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """What the queue shows. `owner` and `tag` may name several, joined by commas; the owner "none" means nobody's. Empty members don't
    filter; without `statuses` merged ones stay hidden."""

    statuses: Sequence[str] = ()
    severities: Sequence[str] = ()
    owner: str = ""
    tag: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """An entry of an incident's activity log."""

    id: int
    incident_id: str
    time: datetime
    actor: str
    kind: str
    text: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EventRow:
    """A change of an incident, for automation. `changes` maps a member to its values before and after."""

    seq: int
    incident_id: str
    time: datetime
    kind: str
    actor: str
    source: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    depth: int = 0
    handled: datetime | None = None


_SORTS: Mapping[str, ColumnElement[Any]] = {
    "priority": incidents.c.priority,
    "last": incidents.c.last,
    "first": incidents.c.first,
    "updated": incidents.c.updated,
    "severity": incidents.c.severity_rank,
    "title": func.lower(incidents.c.title),
    "number": incidents.c.number,
    "status": incidents.c.status,
}

_COLUMNS = tuple(f.name for f in fields(IncidentRow) if f.name != "tags")


class Incidents(Repository):
    """Incidents by id."""

    @cached_property
    def history(self) -> IncidentLog:
        """The append-only log that all of this is a projection of."""
        return IncidentLog(self._c, self._clock)

    @cached_property
    def tasks(self) -> IncidentTasks:
        """What is to be done."""
        return IncidentTasks(self._c, self._clock)

    # ------------------------------------------------------------------------------------------ rows

    def get(self, incident_id: str, *, lock: bool = False) -> IncidentRow | None:
        """The row, or None. `lock` keeps others from changing it until this transaction ends."""
        chosen = select(*(incidents.c[n] for n in _COLUMNS)).where(incidents.c.id == incident_id)
        row = self._c.execute(chosen.with_for_update() if lock else chosen).first()
        return None if row is None else self._with_tags([dict(row._mapping)])[0]

    def require(self, incident_id: str, *, lock: bool = False) -> IncidentRow:
        """The row; NotFoundError when there is none."""
        row = self.get(incident_id, lock=lock)
        if row is None:
            raise NotFoundError(f"There is no incident {incident_id}.")
        return row

    def next_number(self) -> int:
        """The number for a new incident."""
        return KeyValues(self._c, self._clock).next("incident.number")

    def put(self, row: IncidentRow) -> None:
        """Writes a whole row as it is, its version too; its tags apart."""
        values = {n: getattr(row, n) for n in _COLUMNS if n != "id"}
        changed = self._c.execute(update(incidents).where(incidents.c.id == row.id).values(**values))
        if changed.rowcount == 0:
            self._c.execute(insert(incidents).values(id=row.id, **values))

    def every_id(self) -> list[str]:
        """Ids of all incidents, hidden and merged ones too."""
        return [str(r[0]) for r in self._c.execute(select(incidents.c.id).order_by(incidents.c.id))]

    def tag_rows(self, incident_id: str) -> list[tuple[str, datetime, str]]:
        """An incident's tags with when and by whom they were added, by name."""
        chosen = select(incident_tags.c.tag, incident_tags.c.added, incident_tags.c.added_by)
        chosen = chosen.where(incident_tags.c.incident_id == incident_id).order_by(incident_tags.c.tag)
        return [(r.tag, r.added, r.added_by) for r in self._c.execute(chosen)]

    def put_tag_rows(self, incident_id: str, rows: Iterable[tuple[str, datetime, str]]) -> None:
        """Makes these the incident's tags, whole."""
        self._c.execute(delete(incident_tags).where(incident_tags.c.incident_id == incident_id))
        for tag, added, by in rows:
            self._c.execute(insert(incident_tags).values(incident_id=incident_id, tag=tag, added=added, added_by=by))

    def set_tags(self, incident_id: str, tags: Iterable[str], *, by: str, at: datetime | None = None) -> None:
        """Makes these the incident's tags; those that it has keep who added them and when."""
        wanted = list(dict.fromkeys(tags))
        held = {
            r[0] for r in self._c.execute(select(incident_tags.c.tag).where(incident_tags.c.incident_id == incident_id))
        }
        if gone := held - set(wanted):
            self._c.execute(
                delete(incident_tags).where(incident_tags.c.incident_id == incident_id, incident_tags.c.tag.in_(gone))
            )
        now = at or self._clock.now()
        for tag in wanted:
            if tag not in held:
                self._c.execute(
                    insert(incident_tags).values(incident_id=incident_id, tag=tag, added=now, added_by=by[:128])
                )

    def _with_tags(self, rows: Sequence[dict[str, Any]]) -> list[IncidentRow]:
        held: dict[str, list[str]] = {}
        chosen = select(incident_tags.c.incident_id, incident_tags.c.tag).where(
            incident_tags.c.incident_id.in_([r["id"] for r in rows])
        )
        for incident_id, tag in self._c.execute(chosen.order_by(incident_tags.c.added, incident_tags.c.tag)):
            held.setdefault(incident_id, []).append(tag)
        return [IncidentRow(**r, tags=tuple(held.get(r["id"], ()))) for r in rows]

    # ------------------------------------------------------------------------------------------ the queue

    def page(
        self,
        wanted: IncidentFilter,
        *,
        sort: str = "priority",
        descending: bool = True,
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[list[IncidentRow], int]:
        """A page of rows and how many match in all. Ties are ordered by last event, then number, so that pages don't overlap."""
        by = _SORTS[sort]
        chosen = self._where(select(*(incidents.c[n] for n in _COLUMNS)), wanted)
        total = self._c.execute(self._where(select(func.count()).select_from(incidents), wanted)).scalar_one()
        chosen = chosen.order_by(
            by.desc() if descending else by.asc(), incidents.c.last.desc(), incidents.c.number.desc()
        )
        rows = self._c.execute(chosen.limit(limit).offset(offset)).all()
        return self._with_tags([dict(r._mapping) for r in rows]), int(total)

    def counts(self, wanted: IncidentFilter) -> dict[str, dict[str, int]]:
        """By status, severity and owner: how many match the other filters. Owner "" is nobody."""
        facets: dict[str, tuple[ColumnElement[Any], dict[str, Any]]] = {
            "status": (incidents.c.status, {"statuses": ()}),
            "severity": (incidents.c.severity, {"severities": ()}),
            "owner": (func.coalesce(incidents.c.owner, ""), {"owner": ""}),
        }
        counted: dict[str, dict[str, int]] = {}
        for name, (column, without) in facets.items():
            others = IncidentFilter(
                **{f.name: without.get(f.name, getattr(wanted, f.name)) for f in fields(IncidentFilter)}
            )
            chosen = self._where(select(column, func.count()).select_from(incidents), others).group_by(column)
            counted[name] = {str(value): int(n) for value, n in self._c.execute(chosen)}
        return counted

    @staticmethod
    def _where(chosen: Select[Any], wanted: IncidentFilter) -> Select[Any]:
        chosen = chosen.where(incidents.c.promoted.is_(True))
        status = incidents.c.status
        chosen = chosen.where(status.in_(wanted.statuses) if wanted.statuses else status != "Redirected")
        if wanted.severities:
            chosen = chosen.where(incidents.c.severity.in_(wanted.severities))
        if owners := [o for o in wanted.owner.split(",") if o]:
            named = incidents.c.owner.in_([o for o in owners if o != "none"])
            chosen = chosen.where(or_(named, incidents.c.owner.is_(None)) if "none" in owners else named)
        if tags := [t for t in wanted.tag.split(",") if t]:
            chosen = chosen.where(
                incidents.c.id.in_(select(incident_tags.c.incident_id).where(incident_tags.c.tag.in_(tags)))
            )
        text = wanted.text.strip().casefold()
        if text.startswith("#") and text[1:].isdigit():
            return chosen.where(incidents.c.number == min(int(text[1:]), 2**62))
        for word in text.split():
            chosen = chosen.where(incidents.c.search.contains(word, autoescape=True))
        return chosen

    # ------------------------------------------------------------------------------------------ alerts

    def put_alert(self, alert: Mapping[str, Any]) -> None:
        """Keeps an alert in its JSON form (`Alert.to_dict`); one that is kept already stays as it is: alerts don't change."""
        values = {
            "rule_id": alert["rule_id"],
            "rule": alert["rule"],
            "title": alert.get("title", ""),
            "severity": alert["severity"],
            "time": datetime.fromisoformat(alert["time"]),
            "end": datetime.fromisoformat(alert["end"]),
            "created": datetime.fromisoformat(alert["created"]),
            "product": alert.get("product", ""),
            "count": alert.get("count", 1),
            "tactics": alert.get("tactics", []),
            "techniques": alert.get("techniques", []),
            "payload": dict(alert),
            "linked_by": [],
        }
        self._upsert(alerts, {"id": alert["id"]}, {}, first=values)

    def know(self, alert_id: str, aliases: Sequence[Mapping[str, Any]]) -> None:
        """Keeps what an alert's entities turned out to be known as: the only thing about an alert that is learned afterwards."""
        row = self._c.execute(select(alerts.c.payload).where(alerts.c.id == alert_id)).first()
        if row is not None:
            payload = {**row.payload, "aliases": [dict(a) for a in aliases]}
            self._c.execute(update(alerts).where(alerts.c.id == alert_id).values(payload=payload))

    def link(self, incident_id: str, links: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Puts kept alerts into an incident, each with the reasons for which it is there, taking them out of another."""
        for alert_id, reasons in links.items():
            self._c.execute(
                update(alerts)
                .where(alerts.c.id == alert_id)
                .values(incident_id=incident_id, linked_by=[dict(r) for r in reasons])
            )

    def links_of(self, incident_id: str) -> dict[str, list[Any]]:
        """By alert of the incident: the reasons for which it is there."""
        chosen = select(alerts.c.id, alerts.c.linked_by).where(alerts.c.incident_id == incident_id)
        return {str(r.id): list(r.linked_by) for r in self._c.execute(chosen)}

    def classified_by_rule(self) -> dict[str, dict[str, int]]:
        """By rule: how many shown incidents hold an alert of it, by their classification ("" for none yet)."""
        chosen = (
            select(alerts.c.rule_id, incidents.c.classification, func.count(func.distinct(incidents.c.id)))
            .join(incidents, alerts.c.incident_id == incidents.c.id)
            .where(incidents.c.promoted)
            .group_by(alerts.c.rule_id, incidents.c.classification)
        )
        found: dict[str, dict[str, int]] = {}
        for rule_id, classification, count in self._c.execute(chosen):
            found.setdefault(str(rule_id), {})[str(classification or "")] = int(count)
        return found

    def alerts_of_rule(self, rule_id: str, since: datetime) -> list[dict[str, Any]]:
        """The JSON forms of a rule's alerts that end at that time or later."""
        chosen = select(alerts.c.payload).where(alerts.c.rule_id == rule_id, alerts.c.end >= since)
        return [dict(p) for (p,) in self._c.execute(chosen)]

    def alerts_said(self, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """The JSON forms of alerts that were made in ``[since, until)``."""
        chosen = select(alerts.c.payload).where(alerts.c.created >= since, alerts.c.created < until)
        return [dict(p) for (p,) in self._c.execute(chosen)]

    def alerts_of(self, incident_id: str) -> list[dict[str, Any]]:
        """An incident's alerts in full, by time."""
        chosen = select(alerts.c.payload, alerts.c.linked_by).where(alerts.c.incident_id == incident_id)
        rows = self._c.execute(chosen.order_by(alerts.c.time, alerts.c.id))
        return [{**r.payload, "linked_by": r.linked_by} for r in rows]

    def alerts_by_id(self, alert_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Alerts in full, wherever they are."""
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(alert_ids), 500):
            chosen = select(alerts.c.id, alerts.c.payload).where(alerts.c.id.in_(alert_ids[start : start + 500]))
            found.update({str(r.id): dict(r.payload) for r in self._c.execute(chosen)})
        return found

    def alert_ids(self, incident_id: str) -> set[str]:
        """Ids of an incident's alerts."""
        return {r[0] for r in self._c.execute(select(alerts.c.id).where(alerts.c.incident_id == incident_id))}

    def alert_rules(self, incident_id: str) -> dict[str, str]:
        """By alert of the incident, in time: the id of the rule that made it."""
        chosen = select(alerts.c.id, alerts.c.rule_id).where(alerts.c.incident_id == incident_id)
        return {str(r.id): str(r.rule_id) for r in self._c.execute(chosen.order_by(alerts.c.time, alerts.c.id))}

    def holders(self, alert_ids: Sequence[str]) -> dict[str, str]:
        """By alert: the incident that holds it, for those that are known."""
        found: dict[str, str] = {}
        for start in range(0, len(alert_ids), 500):
            part = alert_ids[start : start + 500]
            chosen = select(alerts.c.id, alerts.c.incident_id).where(alerts.c.id.in_(part))
            found.update({r[0]: r[1] for r in self._c.execute(chosen) if r[1] is not None})
        return found

    def remove_hidden(self, incident_id: str, *, actor: str, source: str) -> None:
        """Removes an incident that nobody was shown, when its alerts have gone elsewhere."""
        gone = self._c.execute(delete(incidents).where(incidents.c.id == incident_id, incidents.c.promoted.is_(False)))
        if gone.rowcount:
            self.history.append(
                incident_id, "dropped", {}, actor=actor, source=source, time=self._clock.now(), version=None
            )

    def remove(self, incident_id: str) -> None:
        """Removes the row of an incident that the log doesn't know (see `tocsin.incidents.history`)."""
        self._c.execute(delete(incidents).where(incidents.c.id == incident_id))

    def alert_briefs(self, incident_ids: Sequence[str], *, each: int = 50) -> dict[str, list[dict[str, Any]]]:
        """Alerts of several incidents without entities and evidence, at most `each` per incident, by time."""
        names = (
            "id",
            "rule",
            "rule_id",
            "title",
            "time",
            "end",
            "severity",
            "tactics",
            "techniques",
            "count",
            "product",
        )
        place = func.row_number().over(partition_by=alerts.c.incident_id, order_by=(alerts.c.time, alerts.c.id))
        inner = (
            select(alerts.c.incident_id, *(alerts.c[n] for n in names), place.label("place"))
            .where(alerts.c.incident_id.in_(incident_ids))
            .subquery()
        )
        found: dict[str, list[dict[str, Any]]] = {}
        chosen = select(inner).where(inner.c.place <= each).order_by(inner.c.incident_id, inner.c.place)
        for row in self._c.execute(chosen):
            found.setdefault(row.incident_id, []).append({n: row._mapping[n] for n in names})
        return found

    def alert_counts_by_rule(self) -> dict[str, int]:
        """How many alerts each rule has."""
        chosen = select(alerts.c.rule_id, func.count()).group_by(alerts.c.rule_id)
        return {str(rule): int(n) for rule, n in self._c.execute(chosen)}

    def outcomes_by_rule(self) -> dict[str, tuple[int, int]]:
        """By rule: in how many closed incidents it was right (a true positive), and in how many it wasn't. Unclassified ones tell nothing."""
        right = incidents.c.classification == "TruePositive"
        chosen = (
            select(alerts.c.rule_id, right.label("right"), func.count(func.distinct(incidents.c.id)))
            .select_from(alerts.join(incidents, alerts.c.incident_id == incidents.c.id))
            .where(incidents.c.status == "Resolved", incidents.c.classification.is_not(None))
            .group_by(alerts.c.rule_id, right)
        )
        found: dict[str, tuple[int, int]] = {}
        for rule, was_right, n in self._c.execute(chosen):
            yes, no = found.get(str(rule), (0, 0))
            found[str(rule)] = (yes + int(n), no) if was_right else (yes, no + int(n))
        return found

    def sharing_rules(self, rule_ids: Sequence[str], *, but: str, limit: int) -> list[str]:
        """Ids of incidents that people see and that hold alerts of those rules, those that share most rules first, then the newest."""
        shared = func.count(func.distinct(alerts.c.rule_id))
        chosen = (
            select(alerts.c.incident_id)
            .join(incidents, alerts.c.incident_id == incidents.c.id)
            .where(alerts.c.rule_id.in_(rule_ids), incidents.c.promoted.is_(True), incidents.c.id != but)
            .group_by(alerts.c.incident_id, incidents.c.number)
            .order_by(shared.desc(), incidents.c.number.desc())
            .limit(limit)
        )
        return [str(r[0]) for r in self._c.execute(chosen)]

    def open_ids(self) -> list[str]:
        """Ids of the incidents that people see and that are not resolved."""
        chosen = select(incidents.c.id).where(
            incidents.c.promoted.is_(True), incidents.c.status.in_(("New", "InProgress"))
        )
        return [str(r[0]) for r in self._c.execute(chosen.order_by(incidents.c.number))]

    def growing(self, since: datetime) -> list[str]:
        """Ids of incidents, shown or not, whose last event is not older than that: those that alerts may still join."""
        chosen = select(incidents.c.id).where(incidents.c.last >= since, incidents.c.status != "Redirected")
        return [str(r[0]) for r in self._c.execute(chosen.order_by(incidents.c.first, incidents.c.id))]

    # ------------------------------------------------------------------------------------------ activity and events

    def log(
        self,
        incident_id: str,
        actor: str,
        kind: str,
        text: str,
        detail: Mapping[str, Any] | None = None,
        *,
        source: str = "system",
    ) -> int:
        """Adds an entry to the activity log and gives its number."""
        now = self._clock.now()
        values = {"kind": kind, "text": plain(text), "detail": dict(detail or {})}
        made = self._c.execute(insert(activity).values(incident_id=incident_id, time=now, actor=actor[:128], **values))
        assert made.inserted_primary_key is not None
        number = int(made.inserted_primary_key[0])
        self.history.append(
            incident_id, "entry", {"id": number, **values}, actor=actor, source=source, time=now, version=None
        )
        return number

    def activity_of(self, incident_id: str) -> list[ActivityRow]:
        """The activity log, oldest first."""
        chosen = select(activity).where(activity.c.incident_id == incident_id).order_by(activity.c.id)
        return [ActivityRow(**r._mapping) for r in self._c.execute(chosen)]

    def put_activity(self, incident_id: str, rows: Iterable[ActivityRow]) -> None:
        """Makes these the incident's activity log, whole."""
        self._c.execute(delete(activity).where(activity.c.incident_id == incident_id))
        for row in rows:
            self._c.execute(insert(activity).values(**{f.name: getattr(row, f.name) for f in fields(ActivityRow)}))

    def entry(self, incident_id: str, number: int) -> ActivityRow | None:
        """One entry of an incident's activity log, or None."""
        chosen = select(activity).where(activity.c.incident_id == incident_id, activity.c.id == number)
        row = self._c.execute(chosen).first()
        return None if row is None else ActivityRow(**row._mapping)

    def change_activity(
        self, entry: ActivityRow, text: str, detail: Mapping[str, Any], *, actor: str, source: str
    ) -> None:
        """Gives an entry another text (an edited comment); the incident log keeps both."""
        values = {"text": plain(text), "detail": dict(detail)}
        self._c.execute(update(activity).where(activity.c.id == entry.id).values(**values))
        self.history.append(
            entry.incident_id,
            "entry-changed",
            {"id": entry.id, **values},
            actor=actor,
            source=source,
            time=self._clock.now(),
        )

    def remove_activity(self, incident_id: str, entry: int, *, actor: str, source: str) -> bool:
        """Takes an entry out of the log (the undo of a comment); the incident and the audit log keep what it said."""
        gone = self._c.execute(delete(activity).where(activity.c.id == entry, activity.c.incident_id == incident_id))
        if gone.rowcount != 1:
            return False
        self.history.append(
            incident_id, "entry-removed", {"id": entry}, actor=actor, source=source, time=self._clock.now()
        )
        return True

    def emit(
        self,
        incident_id: str,
        kind: str,
        actor: str,
        source: str,
        changes: Mapping[str, Any],
        *,
        depth: int = 0,
    ) -> int:
        """Puts an event into the outbox, in the transaction of the change that it tells of."""
        made = self._c.execute(
            insert(incident_events).values(
                incident_id=incident_id,
                time=self._clock.now(),
                kind=kind,
                actor=actor[:128],
                source=source,
                changes=dict(changes),
                depth=depth,
            )
        )
        assert made.inserted_primary_key is not None
        return int(made.inserted_primary_key[0])

    def pending_events(self, limit: int = 100) -> list[EventRow]:
        """Events that automation has not handled, in order."""
        chosen = select(incident_events).where(incident_events.c.handled.is_(None))
        return [EventRow(**r._mapping) for r in self._c.execute(chosen.order_by(incident_events.c.seq).limit(limit))]

    def event_handled(self, seq: int) -> bool:
        """Marks an event; False when it was handled before."""
        done = self._c.execute(
            update(incident_events)
            .where(incident_events.c.seq == seq, incident_events.c.handled.is_(None))
            .values(handled=self._clock.now())
        )
        return done.rowcount == 1

    def sweep_events(self, before: datetime) -> int:
        """Removes handled events that are older than that."""
        return self._c.execute(
            delete(incident_events).where(incident_events.c.handled.is_not(None), incident_events.c.time < before)
        ).rowcount
