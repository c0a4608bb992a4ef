"""Changes of incidents, gathered and then written with few statements: a burst of alerts costs a statement for all of it, not several for each.

What is gathered is written by `flush`, in an order that keeps references whole: rows, activity, log, tags, alerts, what is dropped, events. Inside
one incident the log keeps the order in which things were gathered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, insert, update

from tocsin.base.clock import Clock
from tocsin.state.incident_alerts import alert_values
from tocsin.state.incident_log import IncidentLog
from tocsin.state.incident_marks import IncidentMarks
from tocsin.state.incident_rows import COLUMNS, IncidentRow
from tocsin.state.repository import Repository
from tocsin.state.schema import activity, alerts, incident_events, incident_log, incident_tags, incidents
from tocsin.state.types import plain

__all__ = ["IncidentWrites"]


@dataclass(slots=True)
class _Entry:
    """An entry of the log to be: its values, the place of the activity whose number it tells, and who wants to know its own."""

    values: dict[str, Any]
    activity: int | None = None
    then: Callable[[int], None] | None = None


class IncidentWrites(Repository):
    """What is to be written about incidents in this transaction. Nothing of it is there for others to read before `flush`."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        super().__init__(connection, clock)
        self._rows: dict[str, IncidentRow] = {}
        self._new: set[str] = set()
        self._activity: list[dict[str, Any]] = []
        self._entries: list[_Entry] = []
        self._gone_tags: list[tuple[str, str]] = []
        self._tags: list[dict[str, Any]] = []
        self._alerts: dict[str, dict[str, Any]] = {}
        self._withdrawn: list[str] = []
        self._dropped: list[tuple[str, str, str]] = []
        self._events: list[dict[str, Any]] = []

    def row(self, incident_id: str) -> IncidentRow | None:
        """The row as it was gathered last; None where nothing was."""
        return self._rows.get(incident_id)

    def put(self, row: IncidentRow, *, new: bool) -> None:
        """A whole row, its version too. `new`: the database has none of that id."""
        if new:
            self._new.add(row.id)
        self._rows[row.id] = row

    def entry(
        self,
        incident_id: str,
        kind: str,
        data: Mapping[str, Any],
        *,
        actor: str,
        source: str,
        time: datetime,
        version: int | None = None,
        then: Callable[[int], None] | None = None,
    ) -> None:
        """An entry of the incident log; `then` is told its place."""
        self._entries.append(
            _Entry(
                IncidentLog.values(incident_id, kind, data, actor=actor, source=source, time=time, version=version),
                then=then,
            )
        )

    def log(
        self,
        incident_id: str,
        actor: str,
        kind: str,
        text: str,
        detail: Mapping[str, Any] | None = None,
        *,
        source: str = "system",
    ) -> None:
        """An entry of the activity log (and of the incident log, which tells of it)."""
        now = self._clock.now()
        said = {"kind": kind, "text": plain(text), "detail": dict(detail or {})}
        self._activity.append({"incident_id": incident_id, "time": now, "actor": actor[:128], **said})
        values = IncidentLog.values(incident_id, "entry", said, actor=actor, source=source, time=now, version=None)
        self._entries.append(_Entry(values, activity=len(self._activity) - 1))

    def tags(self, incident_id: str, added: Iterable[str], removed: Iterable[str], *, by: str, at: datetime) -> None:
        """Tags that it gets and loses."""
        self._gone_tags.extend((incident_id, tag) for tag in removed)
        self._tags.extend(
            {"incident_id": incident_id, "tag": tag, "added": at, "added_by": by[:128]} for tag in dict.fromkeys(added)
        )

    def alert(self, incident_id: str, record: Mapping[str, Any], reasons: Sequence[Mapping[str, Any]]) -> None:
        """An alert in its JSON form, into an incident, with the reasons for which it is there. One that an incident has already stays as it is."""
        self._alerts[record["id"]] = {
            **alert_values(record), "incident_id": incident_id, "linked_by": [dict(r) for r in reasons],
        }  # fmt: skip

    def withdraw(self, alert_ids: Iterable[str]) -> None:
        """Takes alerts out of their incidents, into none: they are kept, and belong to nothing any more."""
        self._withdrawn.extend(alert_ids)

    def drop(self, incident_id: str, *, actor: str, source: str) -> None:
        """Removes an incident that nobody was shown, when its alerts have gone elsewhere."""
        self._dropped.append((incident_id, actor, source))

    def emit(
        self, incident_id: str, kind: str, actor: str, source: str, changes: Mapping[str, Any], *, depth: int = 0
    ) -> None:
        """An event for automation."""
        self._events.append(
            {
                "incident_id": incident_id,
                "time": self._clock.now(),
                "kind": kind,
                "actor": actor[:128],
                "source": source,
                "changes": dict(changes),
                "depth": depth,
            }
        )

    def flush(self) -> None:
        """Writes everything that was gathered. Called once."""
        self._write_rows()
        self._write_log()
        if self._gone_tags:
            gone = delete(incident_tags).where(
                incident_tags.c.incident_id == bindparam("of"), incident_tags.c.tag == bindparam("name")
            )
            self._c.execute(gone, [{"of": i, "name": t} for i, t in self._gone_tags])
        if self._tags:
            self._c.execute(insert(incident_tags), self._tags)
        if self._withdrawn:  # before what is told again at once
            taken = update(alerts).where(alerts.c.id == bindparam("of")).values(incident_id=None, linked_by=[])
            self._c.execute(taken, [{"of": alert_id} for alert_id in self._withdrawn])
        if self._alerts:
            made = self._insert(alerts)
            # What was withdrawn and is told again is told of other alerts.
            anew = {
                c.name: case((alerts.c.incident_id.is_(None), made.excluded[c.name]), else_=c)
                for c in alerts.c
                if c.name != "id"
            }
            linked = {n: made.excluded[n] for n in ("incident_id", "linked_by")}
            self._c.execute(
                made.on_conflict_do_update(index_elements=[alerts.c.id], set_={**anew, **linked}),
                list(self._alerts.values()),
            )
        for incident_id, actor, source in self._dropped:
            gone = delete(incidents).where(incidents.c.id == incident_id, incidents.c.promoted.is_(False))
            if self._c.execute(gone).rowcount:
                IncidentLog(self._c, self._clock).append(
                    incident_id, "dropped", {}, actor=actor, source=source, time=self._clock.now()
                )
        if self._events:
            self._c.execute(insert(incident_events), self._events)

    def _write_rows(self) -> None:
        fresh = [r for r in self._rows.values() if r.id in self._new]
        known = [r for r in self._rows.values() if r.id not in self._new]
        marks = IncidentMarks(self._c, self._clock)
        if fresh:
            self._c.execute(insert(incidents), [{n: getattr(r, n) for n in COLUMNS} for r in fresh])
            marks.put(fresh, new=True)
        if known:
            names = [n for n in COLUMNS if n != "id"]
            changed = (
                update(incidents)
                .where(incidents.c.id == bindparam("of"))
                .values({n: bindparam(f"to_{n}", type_=incidents.c[n].type) for n in names})
            )
            self._c.execute(changed, [{"of": r.id, **{f"to_{n}": getattr(r, n) for n in names}} for r in known])
            marks.put(known)

    def _write_log(self) -> None:
        numbers: list[int] = []
        if self._activity:
            told = insert(activity).returning(activity.c.id, sort_by_parameter_order=True)
            numbers = [int(n) for (n,) in self._c.execute(told, self._activity)]
        for entry in self._entries:
            if entry.activity is not None:
                entry.values["data"] = {"id": numbers[entry.activity], **entry.values["data"]}
        if self._entries:
            made = insert(incident_log).returning(incident_log.c.seq, sort_by_parameter_order=True)
            places = [int(n) for (n,) in self._c.execute(made, [e.values for e in self._entries])]
            for entry, place in zip(self._entries, places, strict=True):
                if entry.then is not None:
                    entry.then(place)
