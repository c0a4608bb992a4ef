"""The desk: incidents for everybody who asks. It holds the correlator, keeps state in step with it, and answers the queue.

Correlation runs under the desk's lock and writes its changes in one transaction. People's changes go to the database first and are mirrored into
the correlator's memory once they are durable; whoever writes an incident takes people's decisions from the database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from tocsin.base.errors import StateError
from tocsin.base.memory import collector_paused
from tocsin.content import Content
from tocsin.detect.alert import Alert, iso
from tocsin.incidents import history, judging, life, memory, metrics, rejudge, reshape, store, tasks
from tocsin.incidents.correlate import LATE, CorrelationSettings, Correlator, IncidentChange, merge_vetoes
from tocsin.incidents.fusion import patterns_of
from tocsin.incidents.life import Actor
from tocsin.incidents.links import links_of
from tocsin.incidents.memory import MemoryFile
from tocsin.incidents.model import Incident, Status
from tocsin.incidents.pace import Pace
from tocsin.incidents.pages import Pages, entry
from tocsin.incidents.priority import Judge
from tocsin.incidents.queue import checked, known_values
from tocsin.incidents.seen import Seen
from tocsin.incidents.story import graph, story
from tocsin.incidents.weights import WEIGHTS, over
from tocsin.state import IncidentFilter, IncidentRow, NotFoundError, State, TaskRow, Unit, text_of
from tocsin.state.incident_cursor import place_after
from tocsin.tables.entities import EntityKey

__all__ = ["IncidentDesk", "full", "shown", "summary"]

_log = structlog.get_logger("tocsin.incidents")

_FEW = 2_000
"""So many incidents that others changed are read anew; where it is more, everything is."""


class _OutdatedError(Exception):
    """Memory is older than what people have made of the incidents."""


class IncidentDesk:
    """Incidents in state, with the correlator that grows them. Thread-safe."""

    def __init__(
        self,
        state: State,
        *,
        settings: CorrelationSettings | None = None,
        content: Callable[[], Content] | None = None,
        correlates: bool = True,
        memory: Path | None = None,
    ) -> None:
        """`content`: the packs as they are now, for what incidents are judged by. `correlates`: False for who only passes on what people do;
        whoever correlates on the same state is told to read anew. `memory`: the file in which correlation keeps what it remembers (see
        `keep_memory`)."""
        self._state = state
        self._content = content
        self.judging = rejudge.Judging(state, content)
        self.usual_correlation = settings or CorrelationSettings()
        """What correlation weighs where nobody has set anything else: the settings file's."""
        self._settings = self.usual_correlation
        self._lock = threading.RLock()
        self._pages = Pages()
        self._learned = 0
        """How often something was learned of alerts that are filed: the log doesn't tell of that."""
        self.pace = Pace()
        """How long filing takes, and what makes it long."""
        self._reshapes, self._seen = 0, 0
        """How often people had reshaped incidents, and the log's last entry, when memory and database were the same last."""
        self.resolve: Callable[[Alert], Alert] = lambda alert: alert
        """Gives an alert what its entities are known as; asked when it is filed, and again when more is learned."""
        self._listeners: list[Callable[[], None]] = []
        self._memory = MemoryFile(memory) if memory is not None else None
        history.bring_up_to_date(state)
        self._settings = self._read_settings()
        self.judge()
        self._correlates = correlates
        self._correlator = self._load() if correlates else Correlator((), self._settings)

    def _load(self) -> Correlator:
        """Memory as the database has it: what the file remembers and what came since, or all anew. It takes its time where there are many alerts."""
        self._settings = self._read_settings()
        began = time.monotonic()
        with collector_paused(), self._state.read() as unit:
            self._reshapes, self._seen = reshape.reshapes(unit), unit.incidents.history.last()
            apart, since = reshape.apart(unit), self._since(unit)
            made = self._empty(apart)
            recalled = self._memory is not None and self._memory.recall(unit, made, since)
            if not recalled:
                made = self._empty(apart)
                store.adopt_growing(unit, made, since)
        size, spent = made.size, round(time.monotonic() - began, 1)
        if size.alerts:
            _log.info(
                "correlation.remembers", incidents=size.incidents, alerts=size.alerts, from_file=recalled, seconds=spent
            )
        return made

    def _empty(self, apart: frozenset[frozenset[str]]) -> Correlator:
        made = self.correlator(self._settings, apart=apart)
        made.more_vetoes = lambda one, other: judging.group_vetoes(self._state.judge, one, other)
        made.reader = self._incident
        return made

    def _incident(self, incident_id: str) -> Incident:
        """An incident that memory has left in the database."""
        with self._state.read() as unit:
            return store.load_resting(unit, incident_id)

    def keep_memory(self, *, entries: int = 1, seconds: float = 0.0) -> bool:
        """Writes what correlation remembers into its file, so that the next start is quick however this process ends. Whether it did: not without
        a file, and not when fewer than so many entries came to the incident log since, in less than that time."""
        if self._memory is None or not self._correlates or not self._seen:
            return False  # an incident log without entries: there is nothing to remember
        with self._lock, collector_paused():
            if not self._memory.due(self._seen, entries=entries, seconds=seconds):
                return False
            remembered, seq, setting = self._correlator.remembered(), self._seen, memory.setting_of(self._correlator)
            with self._state.read() as unit:
                learned = memory.learned(unit)
        try:
            with self._state.read() as unit:
                self._memory.write(unit, remembered, seq, setting)
        except OSError as error:
            _log.warning("correlation.memory_not_kept", error=str(error))
            return False
        if learned:
            try:
                with self._state.write() as unit:
                    memory.forget_learned(unit, learned)
            except StateError as error:  # then it is read anew once more at the next start
                _log.warning("correlation.memory_not_kept", error=str(error))
        return True

    def close(self) -> None:
        """Keeps what correlation remembers."""
        self.keep_memory()

    def _since(self, unit: Unit) -> datetime:
        """What an incident's last event must not be older than for alerts to join it: what memory would not have forgotten yet."""
        newest, oldest = unit.incidents.newest_event(), self._state.clock.now() - 2 * self._settings.horizon
        return oldest if newest is None else max(oldest, newest - self._settings.horizon - LATE)

    def _keep_up(self) -> None:
        """Takes into memory what people have made of incidents since, and other programs. The caller holds the lock."""
        with self._state.read() as unit:
            if reshape.reshapes(unit) == self._reshapes:
                return
            changed = unit.incidents.history.changed_by_others(self._seen, store.CORRELATION, _FEW + 1, but=store.JUDGE)
        if len(changed) > _FEW or self._read_settings() != self._settings:
            self._correlator = self._load()
        else:
            self._renew(changed)

    def _renew(self, incident_ids: Collection[str]) -> None:
        with self._state.read() as unit:
            self._reshapes, self._seen = reshape.reshapes(unit), unit.incidents.history.last()
            several = store.load_several(unit, sorted(incident_ids), self._since(unit))
            self._correlator.renew(incident_ids, several, apart=reshape.apart(unit))

    def _read_settings(self) -> CorrelationSettings:
        """The settings file's, under what somebody set since; what no program knows any more is left out."""
        with self._state.read() as unit:
            given = unit.kv.get(judging.CORRELATION, {})
        known = {
            n: v
            for n, v in given.items()
            if n.removeprefix("weights.") in WEIGHTS or n in CorrelationSettings.model_fields
        }
        return over(self.usual_correlation, known)

    @property
    def remembered(self) -> tuple[int, int]:
        """How many incidents, shown or not, and how many alerts correlation remembers."""
        size = self._correlator.size
        return size.incidents, size.alerts

    @property
    def correlation(self) -> CorrelationSettings:
        """What correlation weighs now."""
        return self._settings

    def correlator(
        self,
        settings: CorrelationSettings,
        incidents: Iterable[Incident] = (),
        *,
        apart: frozenset[frozenset[str]] = frozenset(),
    ) -> Correlator:
        """A correlator of its own with those settings and the packs' links and patterns."""
        content = self._content() if self._content is not None else None
        return Correlator(
            incidents,
            settings,
            apart=apart,
            links=links_of(content) if content is not None else None,
            patterns=patterns_of(content)[0] if content is not None else None,
        )

    def retune(self) -> int:
        """Takes in weights that were set: correlation's from the next alert on, priority's for open incidents now, those beyond
        `rejudge.AT_ONCE` alerts by upkeep (see `judging.behind`). Gives how many incidents have another priority."""
        with self._lock:
            self._settings = self._read_settings()
            if self._correlates:
                self._keep_up()  # what people have made of incidents counts first
                self._correlator = self._correlator.under(self._settings) or self._load()
        return self.judge(again=True, most=rejudge.AT_ONCE if self._correlates else None)

    def on_event(self, listener: Callable[[], None]) -> None:
        """Calls that after each transaction that put events into the outbox. It must be quick."""
        self._listeners.append(listener)

    # ------------------------------------------------------------------------------------------ correlation

    def add(self, alerts: Sequence[Alert], *, within: Callable[[Unit], None] | None = None) -> list[IncidentChange]:
        """Joins alerts to incidents and writes everything in one transaction.

        `within` is called in that transaction (the scheduler moves its ledger there, so that a window's alerts and its mark are
        durable together). When the transaction fails, memory goes back to what the database holds.
        """
        alerts = [self.resolve(a) for a in alerts]

        def write(unit: Unit, changes: list[IncidentChange]) -> None:
            with filing.part("writing"):
                store.save(unit, self._correlator, changes)
                if within is not None:
                    within(unit)

        def join() -> list[IncidentChange]:
            with filing.part("joining"):
                return self._correlator.add(alerts)

        with self.pace.filing(self._lock, len(alerts)) as filing:
            alerts = self._not_filed(alerts)
            changes = self._kept(join, write)
            self._correlator.shed(alerts)
        if changes:
            self._tell()
        return changes

    def _not_filed(self, alerts: Sequence[Alert]) -> Sequence[Alert]:
        """Without those that are filed already and that memory has let go of: events of long ago may be sent again at any time."""
        unknown = [a.id for a in alerts if not self._correlator.knows(a.id)]
        if not unknown:
            return alerts
        with self._state.read() as unit:
            filed = unit.incidents.holders(unknown)
        return [a for a in alerts if a.id not in filed] if filed else alerts

    def learned(self, keys: Collection[EntityKey], since: datetime) -> list[IncidentChange]:
        """Takes in what was learned of things after alerts that name them were filed: alerts since then get what they are known as, and
        incidents that belong together by it become one."""
        more: list[Alert] = []

        def change() -> list[IncidentChange] | None:
            resolved = [(a, self.resolve(a)) for a in self._correlator.concerned(keys, since)]
            more[:] = [after for before, after in resolved if len(after.aliases) > len(before.aliases)]
            return [c for a in more for c in self._correlator.learn(a)] if more else None

        def write(unit: Unit, changes: list[IncidentChange]) -> None:
            for alert in more:
                unit.incidents.know(alert.id, [a.to_dict() for a in alert.aliases])
            held = (self._correlator.holding(a.id) for a in more)
            memory.note_learned(unit, {i.id for i in held if i is not None})
            store.save(unit, self._correlator, changes)

        with self._lock:
            changes = self._kept(change, write, whole=True)  # what alerts are known as is in memory, too
            self._learned += bool(more)
        if changes:
            self._tell()
        return changes

    def _kept(
        self,
        change: Callable[[], list[IncidentChange] | None],
        write: Callable[[Unit, list[IncidentChange]], None],
        *,
        whole: bool = False,
    ) -> list[IncidentChange]:
        """What `change` makes of memory, made durable by `write` in one transaction; nothing is written where it gives None. When that fails,
        memory goes back to what the database holds: of the incidents to which alerts came, or the `whole` of it. The caller holds the lock."""
        while True:
            self._keep_up()
            touched: list[str] = []
            try:
                changes = change()
                if changes is None:
                    return []
                touched = [] if whole else self._correlator.touched()
                with self._state.write() as unit:
                    if reshape.reshapes(unit) != self._reshapes:
                        raise _OutdatedError
                    write(unit, changes)
                    last = unit.incidents.history.last()
                self._seen = last
                return changes
            except _OutdatedError:
                self._go_back(touched)  # people merged or moved since: look again at what is there now
            except BaseException:
                self._go_back(touched)
                raise

    def _go_back(self, touched: Sequence[str]) -> None:
        """Makes memory again what the database holds, after those alerts came to incidents; all of it where that isn't known."""
        if not touched:
            self._correlator = self._load()
            return
        with self._state.read() as unit:
            there = unit.incidents.holders(touched).values()
            changed = unit.incidents.history.changed_by_others(self._seen, store.CORRELATION, _FEW + 1, but=store.JUDGE)
        here = (i.id for a in touched if (i := self._correlator.holding(a)) is not None)
        if len(changed) > _FEW or self._read_settings() != self._settings:
            self._correlator = self._load()
        else:
            self._renew({*there, *here, *changed})

    def judge(self, *, again: bool = False, most: int | None = None) -> int:
        """Reads anew what incidents are judged by; with `again` every open incident is judged again (of `most` alerts together, the most
        urgent first). Gives how many changed."""
        self.judging.look(separate_groups=self._settings.separate_device_groups)
        return self._told(self.judging.again(most=most)) if again else 0

    def catch_up(self) -> int:
        """Reads anew what incidents are judged by and judges again those that it concerns, of at most `rejudge.AT_ONCE` alerts together; the rest
        when it is called again (see `judging.behind`). Gives how many changed."""
        judge = self.judging.look(separate_groups=self._settings.separate_device_groups)
        return self._told(self.judging.catch_up(judge, most=rejudge.AT_ONCE))

    def _told(self, changed: int) -> int:
        if changed:
            self._tell()
        return changed

    def priority_points(self) -> dict[str, Any]:
        """The points that priority is made of, as they are in force."""
        judge = self._state.judge or Judge()
        return {"weights": judge.points(), "usual": Judge(techniques=judge.techniques, tags=judge.tags).points()}

    def priority_history(self, incident_id: str) -> list[dict[str, Any]]:
        """An incident's priorities, oldest first: when each came to be, through whom, and its reasons."""
        with self._state.read() as unit:
            shown(unit, incident_id)
            entries = unit.incidents.history.of(incident_id)
        return [
            {"time": iso(e.time), "actor": e.actor, "version": e.version, **e.data["priority"]}
            for e in entries
            if "priority" in e.data
        ]

    def assets(self) -> list[dict[str, str]]:
        """The hosts and accounts that matter, by which rule."""
        with self._state.read() as unit:
            return [asdict(a) for a in judging.assets_of(unit)]

    def set_assets(self, rows: Sequence[judging.AssetRow]) -> bool:
        """Keeps what asset rules found and judges every open incident again where that is something else (those beyond `rejudge.AT_ONCE` alerts
        by and by, see `catch_up`); whether it was."""
        with self._state.write() as unit:
            changed = judging.set_assets(unit, rows)
        if changed:
            self.judge(again=True, most=rejudge.AT_ONCE)
        return changed

    def forget_before(self, age: timedelta | None = None) -> None:
        """Drops from memory incidents that nothing can join any more."""
        with self._lock:
            self._correlator.forget_before(self._state.clock.now() - (age or 2 * self._settings.horizon))

    # ------------------------------------------------------------------------------------------ people

    def change(self, unit: Unit, incident_id: str, changes: Mapping[str, Any], *, actor: Actor) -> dict[str, Any]:
        """See `life.change`; in the caller's transaction, mirrored and told once that is durable."""
        made = life.change(unit, incident_id, changes, actor=actor)
        if made and not self._correlates:
            reshape.count(unit)
        unit.afterwards(lambda: self._mirror(incident_id))
        unit.afterwards(self._tell)
        return made

    def comment(self, unit: Unit, incident_id: str, text: str, *, actor: Actor) -> int:
        """See `life.comment`."""
        entry = life.comment(unit, incident_id, text, actor=actor)
        unit.afterwards(self._tell)
        return entry

    def edit_comment(self, unit: Unit, incident_id: str, entry: int, text: str, *, actor: Actor) -> str:
        """See `tasks.edit_comment`."""
        unit.afterwards(self._tell)
        return tasks.edit_comment(unit, incident_id, entry, text, actor=actor)

    def add_task(self, unit: Unit, incident_id: str, title: str, description: str = "", *, actor: Actor) -> TaskRow:
        """See `tasks.add_task`."""
        unit.afterwards(self._tell)
        return tasks.add_task(unit, incident_id, title, description, actor=actor)

    def change_task(
        self, unit: Unit, incident_id: str, task: int, changes: Mapping[str, Any], *, actor: Actor
    ) -> TaskRow:
        """See `tasks.change_task`."""
        unit.afterwards(self._tell)
        return tasks.change_task(unit, incident_id, task, changes, actor=actor)

    def remove_task(self, unit: Unit, incident_id: str, task: int, *, actor: Actor) -> TaskRow:
        """See `tasks.remove_task`."""
        unit.afterwards(self._tell)
        return tasks.remove_task(unit, incident_id, task, actor=actor)

    def preview_merge(self, incident_id: str, sources: Sequence[str]) -> reshape.Preview:
        """See `reshape.preview`."""
        with self._state.read() as unit:
            return reshape.preview(unit, incident_id, sources)

    def merge(
        self, unit: Unit, incident_id: str, sources: Sequence[str], *, reason: str, actor: Actor
    ) -> dict[str, Any]:
        """See `reshape.merge`."""
        unit.afterwards(self._tell)
        return reshape.merge(unit, incident_id, sources, reason=reason, actor=actor)

    def unmerge(self, unit: Unit, undo: Mapping[str, Any], *, actor: Actor) -> str:
        """See `reshape.unmerge`."""
        unit.afterwards(self._tell)
        return reshape.unmerge(unit, undo, actor=actor)

    def move(
        self, unit: Unit, incident_id: str, alerts: Sequence[str], target: str | None, *, reason: str, actor: Actor
    ) -> dict[str, Any]:
        """See `reshape.move`."""
        unit.afterwards(self._tell)
        return reshape.move(unit, incident_id, alerts, target, reason=reason, actor=actor)

    def unmove(self, unit: Unit, undo: Mapping[str, Any], *, actor: Actor) -> str:
        """See `reshape.unmove`."""
        unit.afterwards(self._tell)
        return reshape.unmove(unit, undo, actor=actor)

    def _mirror(self, incident_id: str) -> None:
        with self._lock:
            held = self._correlator.get(incident_id)
            if held is None:
                return
            with self._state.read() as unit:
                row = unit.incidents.get(incident_id)
            if row is None:
                return
            store.keep_decisions(held, row)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    # ------------------------------------------------------------------------------------------ reading

    def page(
        self,
        *,
        statuses: Sequence[str] = (),
        severities: Sequence[str] = (),
        owner: str = "",
        tag: str = "",
        text: str = "",
        classification: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        tactics: Sequence[str] = (),
        products: Sequence[str] = (),
        entity_types: Sequence[str] = (),
        entity: str = "",
        least_priority: int | None = None,
        most_priority: int | None = None,
        sort: str = "priority",
        descending: bool = True,
        limit: int = 50,
        offset: int = 0,
        after: str = "",
        alerts: int = 50,
    ) -> dict[str, Any]:
        """A page of the queue with counts, in the API's shape, each incident with its first `alerts` in brief. See `IncidentFilter` and
        `Incidents.page`."""
        wanted = IncidentFilter(
            statuses, severities, owner, tag, text, classification, since, until,
            tactics, products, entity_types, entity, least_priority, most_priority,
        )  # fmt: skip
        with self._state.read() as unit:
            rows, total = unit.incidents.page(
                checked(unit, wanted), sort=sort, descending=descending, limit=limit, offset=offset, after=after
            )
            counts, exact = unit.incidents.counts(wanted), unit.incidents.counts_all(wanted)
            briefs = unit.incidents.alert_briefs({r.id: r.alert_count for r in rows}, each=alerts)
            done = unit.incidents.tasks.counts([r.id for r in rows])
        items = [
            {
                **summary(row),
                "tasks_done": done.get(row.id, (0, 0))[0],
                "tasks_total": done.get(row.id, (0, 0))[1],
                "alerts": [{**a, "time": text_of(a["time"]), "end": text_of(a["end"])} for a in briefs.get(row.id, ())],
            }
            for row in rows
        ]
        more = place_after(rows[-1], sort) if len(rows) == limit else ""
        return {"items": items, "total": total, "counted_all": exact, "counts": counts, "next": more}

    def filters(self) -> dict[str, list[str]]:
        """What incidents can be filtered by: the values that any has, in order."""
        with self._state.read() as unit:
            return known_values(unit)

    def standing(self, incident_id: str = "") -> tuple[int, ...] | None:
        """What is another whenever what `page` gives, or `get` of an incident, may be; None where the database can't tell."""
        with self._state.read() as unit:
            last = unit.incidents.history.standing(incident_id)
        return None if last is None else (last, self._learned)

    def get(self, incident_id: str) -> dict[str, Any]:
        """One incident as it is opened: its first alerts and newest activity (see `Pages.opened`); NotFoundError when there is none to show."""
        with self._state.read() as unit:
            row = shown(unit, incident_id)
            return {**summary(row), **self._pages.opened(unit, row)}

    def seen(self, incident_id: str, before: Seen | None = None) -> Seen:
        """One incident as automation looks at it, `before` being what it looked at last; NotFoundError when there is none to show."""
        with self._state.read() as unit:
            row = shown(unit, incident_id)
        return Seen(self._state, row, summary(row), before)

    def alerts(self, incident_id: str, **wanted: Any) -> dict[str, Any]:
        """A page of an incident's alerts; see `Pages.alerts`."""
        with self._state.read() as unit:
            return self._pages.alerts(unit, shown(unit, incident_id), **wanted)

    def things(self, incident_id: str, **wanted: Any) -> dict[str, Any]:
        """A page of what an incident's alerts name; see `Pages.things`."""
        with self._state.read() as unit:
            return self._pages.things(unit, shown(unit, incident_id), **wanted)

    def activity(self, incident_id: str, **wanted: Any) -> dict[str, Any]:
        """A page of an incident's activity log; see `Pages.activity`."""
        with self._state.read() as unit:
            return self._pages.activity(unit, shown(unit, incident_id), **wanted)

    def neighbours(self, incident_id: str, most: int = 50) -> list[dict[str, Any]]:
        """What would join an incident, and why or why not, nearest first; NotFoundError when there is none to show."""
        with self._state.read() as unit:
            shown(unit, incident_id)
        with self._lock:
            target = self._correlator.get(incident_id)
            found = self._correlator.neighbours(incident_id)[:most]
        return [
            {
                "id": c.incident.id,
                "number": c.incident.number,
                "title": c.incident.title,
                "shown": c.incident.promoted,
                "score": round(c.score, 1),
                "threshold": self._settings.threshold,
                "joins": c.joins,
                "reasons": [r.to_dict() for r in c.reasons],
                "vetoes": merge_vetoes(target, c.incident) if target is not None else [],
            }
            for c in found
        ]

    def log(self, incident_id: str) -> list[dict[str, Any]]:
        """An incident's entries of the log, oldest first; NotFoundError when there is none to show."""
        with self._state.read() as unit:
            shown(unit, incident_id)
            return [e.to_dict() for e in unit.incidents.history.of(incident_id)]

    def metrics(self, start: datetime, end: datetime, *, by: str = "") -> dict[str, Any]:
        """See `metrics.metrics`."""
        with self._state.read() as unit:
            return metrics.metrics(unit, start, end, by=by)

    def get_in(self, unit: Unit, incident_id: str) -> dict[str, Any]:
        """One incident in full, in the caller's transaction."""
        return full(unit, incident_id)


def shown(unit: Unit, incident_id: str) -> IncidentRow:
    """The row of an incident that people see; NotFoundError for another."""
    row = unit.incidents.get(incident_id)
    if row is None or not row.promoted:
        raise NotFoundError(f"There is no incident {incident_id}.")
    return row


def full(unit: Unit, incident_id: str) -> dict[str, Any]:
    """One incident in full, in the API's shape; NotFoundError when there is none to show."""
    row = shown(unit, incident_id)
    alerts = unit.incidents.alerts_of(row.id)
    incident = store.from_row(row, alerts)
    activity = unit.incidents.activity_of(row.id)
    return {
        **summary(row),
        "story": [s.to_dict() for s in story(incident)],
        "graph": graph(incident),
        "alerts": alerts,
        "tasks": (todo := [t.to_dict() for t in unit.incidents.tasks.of(row.id)]),
        "tasks_done": sum(t["completed"] is not None for t in todo),
        "tasks_total": len(todo),
        "activity": [entry(a) for a in activity],
        "activity_count": len(activity),
    }


def summary(row: IncidentRow) -> dict[str, Any]:
    """What the queue shows of an incident, in the API's shape."""
    p = row.payload
    return {
        "id": row.id,
        "number": row.number,
        "title": row.title,
        "severity": row.severity,
        "priority": row.priority,
        "reasons": p.get("reasons", []),
        "status": row.status,
        "owner": row.owner,
        "classification": row.classification,
        "determination": row.determination,
        "tags": list(row.tags),
        "first": iso(row.first),
        "last": iso(row.last),
        "created": iso(row.created),
        "updated": iso(row.updated),
        "tactics": p.get("tactics", []),
        "techniques": p.get("techniques", []),
        "products": p.get("products", []),
        "entities": p.get("entities", []),
        "entity_count": p.get("entity_count", len(p.get("entities", []))),
        "alert_count": 0 if row.status == Status.REDIRECTED else row.alert_count,
        "redirect_to": row.redirect_to,
        "phase": row.phase,
        "roles": dict(row.roles),
        "acknowledged": text_of(row.acknowledged),
        "closed": text_of(row.closed),
        "version": row.version,
    }
