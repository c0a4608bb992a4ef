"""The desk: incidents for everybody who asks. It joins alerts by what correlation remembers, keeps state in step with that, and answers the queue.

Correlation runs while it holds its memory and writes its changes in one transaction. People's changes go to the database first and to memory once
they are durable; whoever writes an incident takes people's decisions from the database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from tocsin.base.errors import TocsinError
from tocsin.content import Content
from tocsin.detect.alert import Alert, iso
from tocsin.incidents import history, judging, life, metrics, rejudge, reshape, store, tasks
from tocsin.incidents.answers import full, shown, summary, told, whole_graph
from tocsin.incidents.changes import IncidentChange
from tocsin.incidents.life import Actor
from tocsin.incidents.memory import note_learned
from tocsin.incidents.moved import moved_away
from tocsin.incidents.near import near_alert, near_incident
from tocsin.incidents.pace import Pace
from tocsin.incidents.pages import Pages
from tocsin.incidents.priority import Judge
from tocsin.incidents.queue import checked, known_values, possible, whose
from tocsin.incidents.recollection import Recollection
from tocsin.incidents.seen import Seen
from tocsin.incidents.weights import CorrelationSettings
from tocsin.state import IncidentFilter, RefusedError, State, TaskRow, Unit, text_of
from tocsin.state.incident_cursor import place_after
from tocsin.tables.entities import EntityKey

__all__ = ["IncidentDesk", "full", "shown", "summary"]

_log = structlog.get_logger("tocsin.incidents")

_BREATH = 0.2
_PATIENCE = 5.0
"""So many seconds somebody waits for an answer for which correlation must remember first."""


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
        beside: bool = False,
    ) -> None:
        """`content`: the packs as they are now, for what incidents are judged by. `correlates`: False for who only passes on what people do;
        whoever correlates on the same state is told to read anew. `memory`: the file in which correlation keeps what it remembers (see
        `Recollection.keep`). `beside`: that is read in a thread of its own; alerts that are added before it is there wait for it."""
        self._state = state
        self.judging = rejudge.Judging(state, content)
        self._pages = Pages()
        self._learned = 0
        """How often something was learned of alerts that are filed: the log doesn't tell of that."""
        self.pace = Pace()
        """How long filing takes, and what makes it long."""
        self.resolve: Callable[[Alert], Alert] = lambda alert: alert
        """Gives an alert what its entities are known as; asked when it is filed, and again when more is learned."""
        self._listeners: list[Callable[[], None]] = []
        self.memory = Recollection(
            state,
            settings or CorrelationSettings(),
            content=content,
            file=memory,
            reads=correlates,
            beside=beside and correlates,
        )
        """What correlation remembers."""
        self._stopped = threading.Event()
        self._mending: threading.Thread | None = None
        if beside:
            state.on_incidents(lambda changes: self._pages.notice(c.row for c in changes))
            self._mending = threading.Thread(target=self._bring_up_to_date, name="tocsin-rows", daemon=True)
            self._mending.start()
        else:
            history.bring_up_to_date(state)
        self.judge()
        self._correlates = correlates

    def _bring_up_to_date(self) -> None:
        """Makes rows anew that an older program made otherwise, once correlation remembers, and no more than half of the time."""
        spent = time.monotonic()

        def goes_on() -> None:
            nonlocal spent
            self._stopped.wait(min(_BREATH, time.monotonic() - spent))
            while not self.memory.ready:
                self._stopped.wait(_BREATH)
            if self._stopped.is_set():
                raise RefusedError("Rows aren't brought up to date any more: everything stops.")
            spent = time.monotonic()

        try:
            if changed := history.bring_up_to_date(self._state, goes_on):
                _log.info("incidents.up_to_date", changed=changed)
        except TocsinError as error:
            if not self._stopped.is_set():  # the next start goes on from there
                _log.error("incidents.not_up_to_date", error=str(error))

    def stop(self) -> None:
        """Ends what is done beside everything else, and lets nobody wait any longer for correlation's memory where that isn't there yet."""
        self._stopped.set()
        self.memory.stop()
        if self._mending is not None:
            self._mending.join()

    def close(self) -> None:
        """Keeps what correlation remembers."""
        self.stop()
        self.memory.keep()

    @property
    def remembered(self) -> tuple[int, int]:
        """How many incidents, shown or not, and how many alerts correlation remembers; none before it does."""
        size = self.memory.correlator.size
        return size.incidents, size.alerts

    @property
    def correlation(self) -> CorrelationSettings:
        """What correlation weighs now."""
        return self.memory.settings

    @property
    def usual_correlation(self) -> CorrelationSettings:
        """What correlation weighs where nobody has set anything else: the settings file's."""
        return self.memory.usual

    def retune(self) -> int:
        """Takes in weights that were set: correlation's from the next alert on, priority's for open incidents now, those beyond
        `rejudge.AT_ONCE` alerts by upkeep (see `judging.behind`). Gives how many incidents have another priority."""
        self.memory.retune()
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
                store.save(unit, self.memory.correlator, changes)
                if within is not None:
                    within(unit)

        def join() -> list[IncidentChange]:
            with filing.part("joining"):
                return self.memory.correlator.add(alerts)

        with self.pace.filing(self.memory.held(), len(alerts)) as filing:
            alerts = self._not_filed(alerts)
            changes = self.memory.kept(join, write)
            self.memory.correlator.shed(alerts)
        if changes:
            self._tell()
        return changes

    def _not_filed(self, alerts: Sequence[Alert]) -> Sequence[Alert]:
        """Without those that are filed already and that memory has let go of: events of long ago may be sent again at any time."""
        unknown = [a.id for a in alerts if not self.memory.correlator.knows(a.id)]
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
            resolved = [(a, self.resolve(a)) for a in self.memory.correlator.concerned(keys, since)]
            more[:] = [after for before, after in resolved if len(after.aliases) > len(before.aliases)]
            return [c for a in more for c in self.memory.correlator.learn(a)] if more else None

        def write(unit: Unit, changes: list[IncidentChange]) -> None:
            for alert in more:
                unit.incidents.know(alert.id, [a.to_dict() for a in alert.aliases])
            held = (self.memory.correlator.holding(a.id) for a in more)
            note_learned(unit, {i.id for i in held if i is not None})
            store.save(unit, self.memory.correlator, changes)

        with self.memory.held():
            changes = self.memory.kept(change, write, whole=True)  # what alerts are known as is in memory, too
            self._learned += bool(more)
        if changes:
            self._tell()
        return changes

    def look_back(self) -> list[IncidentChange]:
        """Joins what came in the first hours anew with what is known now (see `hindsight`): for who has read all that there is."""

        def look() -> list[IncidentChange] | None:
            changes = self.memory.correlator.look_back()
            # Incidents that nobody sees may have changed.
            return changes if self.memory.correlator.looked_back else None

        def write(unit: Unit, changes: list[IncidentChange]) -> None:
            store.save(unit, self.memory.correlator, changes)

        with self.memory.held():
            changes = self.memory.kept(look, write, whole=True)
        if changes:
            self._tell()
        return changes

    def judge(self, *, again: bool = False, most: int | None = None) -> int:
        """Reads anew what incidents are judged by; with `again` every open incident is judged again (of `most` alerts together, the most
        urgent first). Gives how many changed."""
        self.judging.look(separate_groups=self.memory.settings.separate_device_groups)
        return self._told(self.judging.again(most=most)) if again else 0

    def catch_up(self) -> int:
        """Reads anew what incidents are judged by and judges again those that it concerns, of at most `rejudge.AT_ONCE` alerts together; the rest
        when it is called again (see `judging.behind`). Gives how many changed."""
        judge = self.judging.look(separate_groups=self.memory.settings.separate_device_groups)
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

    # ------------------------------------------------------------------------------------------ people

    def change(self, unit: Unit, incident_id: str, changes: Mapping[str, Any], *, actor: Actor) -> dict[str, Any]:
        """See `life.change`; in the caller's transaction, mirrored and told once that is durable."""
        made = life.change(unit, incident_id, changes, actor=actor)
        if made and not self._correlates:
            reshape.count(unit)
        unit.afterwards(lambda: self.memory.decided(incident_id))
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
        me: str = "",
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
        """A page of the queue with counts, in the API's shape, each incident with its first `alerts` in brief. `me`: whom `@me` in `owner` means.
        See `IncidentFilter` and `Incidents.page`."""
        with self._state.read() as unit:
            wanted = IncidentFilter(
                statuses, severities, whose(unit, owner, me), tag, text, classification, since, until,
                tactics, products, entity_types, entity, least_priority, most_priority,
            )  # fmt: skip
            rows, total = unit.incidents.page(
                checked(unit, wanted), sort=sort, descending=descending, limit=limit, offset=offset, after=after
            )
            counts, exact = unit.incidents.counts(wanted), unit.incidents.counts_all(wanted)
            briefs = unit.incidents.alert_briefs({r.id: r.alert_count for r in rows}, each=alerts)
            done = unit.incidents.tasks.counts([r.id for r in rows])
            summaries = {r.id: told(unit, r) for r in rows}
        items = [
            {
                **summaries[row.id],
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

    def whose(self, owner: str, me: str) -> str:
        """See `queue.whose`."""
        with self._state.read() as unit:
            return whose(unit, owner, me)

    def standing(self, incident_id: str = "") -> tuple[int, ...] | None:
        """What is another whenever what `page` gives, or `get` of an incident, may be; None where the database can't tell."""
        with self._state.read() as unit:
            last = unit.incidents.history.standing(incident_id)
        return None if last is None else (last, self._learned)

    def get(self, incident_id: str) -> dict[str, Any]:
        """One incident as it is opened: its first alerts and newest activity (see `Pages.opened`); NotFoundError when there is none to show."""
        with self._state.read() as unit:
            row = shown(unit, incident_id)
            return {**told(unit, row), **self._pages.opened(unit, row)}

    def prepare(self) -> None:
        """Makes one large incident ready to be opened that changed since; to be called now and then."""
        with self._state.read() as unit:
            self._pages.prepare(unit)

    def seen(self, incident_id: str, before: Seen | None = None) -> Seen:
        """One incident as automation looks at it, `before` being what it looked at last; NotFoundError when there is none to show."""
        with self._state.read() as unit:
            row = shown(unit, incident_id)
        return Seen(self._state, row, summary(row), before)

    def alerts(self, incident_id: str, *, severities: Sequence[str] = (), **wanted: Any) -> dict[str, Any]:
        """A page of an incident's alerts; see `Pages.alerts`. UsageError INC0007 for a severity that no alert can have."""
        with self._state.read() as unit:
            possible(unit, "severity", severities, of="alert")
            return self._pages.alerts(unit, shown(unit, incident_id), severities=severities, **wanted)

    def things(self, incident_id: str, *, kind: str = "", **wanted: Any) -> dict[str, Any]:
        """A page of what an incident's alerts name; see `Pages.things`. UsageError INC0007 for a type that no entity can have."""
        with self._state.read() as unit:
            possible(unit, "type of entity", (kind,) if kind else ())
            return self._pages.things(unit, shown(unit, incident_id), kind=kind, **wanted)

    def steps(self, incident_id: str, **wanted: Any) -> dict[str, Any]:
        """A page of an incident's story; see `Pages.steps`."""
        with self._state.read() as unit:
            return self._pages.steps(unit, shown(unit, incident_id), **wanted)

    def graph(self, incident_id: str) -> tuple[int | None, dict[str, Any]]:
        """See `answers.whole_graph`."""
        with self._state.read() as unit:
            return whole_graph(unit, incident_id)

    def activity(self, incident_id: str, **wanted: Any) -> dict[str, Any]:
        """A page of an incident's activity log; see `Pages.activity`."""
        with self._state.read() as unit:
            return self._pages.activity(unit, shown(unit, incident_id), **wanted)

    def neighbours(self, incident_id: str, most: int = 50) -> list[dict[str, Any]]:
        """What would join an incident, and why or why not, nearest first; NotFoundError when there is none to show."""
        with self._state.read() as unit:
            shown(unit, incident_id)
        with self.memory.held(_PATIENCE):
            self.memory.keep_up()  # what people have made of the incidents since the last alert counts here, too
            return near_incident(self.memory.correlator, incident_id, most)

    def would_join(self, alerts: Sequence[Alert]) -> list[dict[str, Any]]:
        """What alerts that aren't filed would join if they came now, each by itself, and why; see `near.near_alert`. Changes nothing."""
        resolved = [self.resolve(a) for a in alerts]
        with self._state.read() as unit:
            holders = unit.incidents.holders([a.id for a in resolved])
            filed = {a: unit.incidents.get(i) for a, i in holders.items()}
        with self.memory.held(_PATIENCE):
            self.memory.keep_up()
            return [near_alert(self.memory.correlator, a, filed.get(a.id)) for a in resolved]

    def moved_away(self, incident_id: str) -> list[dict[str, Any]]:
        """See `moved.moved_away`."""
        with self._state.read() as unit:
            return moved_away(unit, incident_id)

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
