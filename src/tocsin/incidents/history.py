"""The incident log read back: what an incident was at any moment, and whether its projections say what the log says.

A fold of an incident's entries gives its decisions, tags, links, priority, activity and tasks; `project` makes the row of them. `rebuild` does
that for every incident and compares with what is kept, byte for byte, or puts it right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from tocsin.incidents.load import alert_of
from tocsin.incidents.model import Incident, LinkedAlert, Reason, Status, by_time
from tocsin.incidents.project import DECIDED, VERSION, project
from tocsin.state import ActivityRow, IncidentRow, KeptParts, LogRow, State, TaskRow, Unit, text_of
from tocsin.state.types import dumps, plain

__all__ = ["Difference", "Folded", "bring_up_to_date", "fold", "incident_of", "rebuild"]

_PROJECTION = "incidents.projection"
_PLACE = "incidents.projection.place"
"""To which version rows are being brought, and up to which incident they are."""
_ALERTS_TOGETHER = 1_000
"""Alerts that are read at once."""
_TIMES = ("created", "acknowledged", "closed")


@dataclass(slots=True)
class Folded:
    """What an incident's entries add up to. `links` has, by alert, the reasons for which it is in; of a merged incident, those it had."""

    id: str
    decided: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    links: dict[str, list[Any]] = field(default_factory=dict)
    score: int = 0
    reasons: list[Any] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    activity: dict[int, ActivityRow] = field(default_factory=dict)
    tasks: dict[int, TaskRow] = field(default_factory=dict)
    frozen: dict[str, Any] | None = None
    version: int = 0
    updated: datetime | None = None
    dropped: bool = False

    @property
    def redirected(self) -> bool:
        """Whether it was merged into another: its alerts are there."""
        return bool(self.decided.get("status") == Status.REDIRECTED)


def fold(incident_id: str, entries: Iterable[LogRow]) -> Folded:
    """What the entries of one incident, in order, add up to."""
    made = Folded(incident_id)
    for entry in entries:
        _take(made, entry)
    return made


def _take(made: Folded, entry: LogRow) -> None:
    data = entry.data
    if entry.version is not None:
        _changed(made, entry)
    elif entry.kind == "entry":
        number = int(data["id"])
        made.activity[number] = ActivityRow(
            number, made.id, entry.time, entry.actor, data["kind"], data["text"], data["detail"]
        )
    elif entry.kind == "entry-changed":
        number = int(data["id"])
        made.activity[number] = replace(made.activity[number], text=data["text"], detail=data["detail"])
    elif entry.kind == "entry-removed":
        made.activity.pop(int(data["id"]), None)
    elif entry.kind == "task":
        made.tasks[int(data["id"])] = TaskRow(
            **{
                **data,
                "incident_id": made.id,
                "created": datetime.fromisoformat(data["created"]),
                "completed": _moment(data["completed"]),
            }
        )
    elif entry.kind == "task-removed":
        made.tasks.pop(int(data["id"]), None)
    elif entry.kind == "dropped":
        made.dropped, made.links, made.tags = True, {}, {}


def _changed(made: Folded, entry: LogRow) -> None:
    data = entry.data
    was_redirected = made.redirected
    made.decided.update(data.get("set", {}))
    tags = data.get("tags", {})
    for tag, added, by in tags.get("held", ()):
        made.tags[tag] = (datetime.fromisoformat(added), by)
    for tag in tags.get("removed", ()):
        made.tags.pop(tag, None)
    for tag in tags.get("added", ()):
        made.tags[plain(tag)] = (entry.time, entry.actor)
    if was_redirected and not made.redirected:
        made.links = {}  # what it had before the merge is counted anew from what it got back
        made.frozen = None
    links = data.get("alerts", {})
    for link in links.get("linked", ()):
        made.links[link["id"]] = link["linked_by"]
    if not made.redirected:
        for alert_id in links.get("left", ()):
            made.links.pop(alert_id, None)
    if (judged := data.get("priority")) is not None:
        made.score, made.reasons = judged["score"], judged["reasons"]
    made.reports = data.get("reports", made.reports)
    made.frozen = data.get("frozen", made.frozen)
    made.version, made.updated, made.dropped = int(entry.version or 0), entry.time, False


def incident_of(unit: Unit, folded: Folded, documents: Mapping[str, dict[str, Any]] | None = None) -> Incident:
    """The incident that the entries tell of, with its alerts' documents from state (or from `documents`, where they are known)."""
    if documents is None:
        documents = unit.incidents.alerts_by_id(list(folded.links))
    decided: dict[str, Any] = {n: folded.decided.get(n) for n in DECIDED}
    return Incident(
        id=folded.id,
        number=decided["number"] or 0,
        alerts=sorted(
            (
                LinkedAlert(alert_of(documents[i]), tuple(Reason(r["text"], r["weight"]) for r in why))
                for i, why in folded.links.items()
                if i in documents
            ),
            key=by_time,
        ),
        status=Status(decided["status"]),
        owner=decided["owner"] or "",
        classification=decided["classification"] or "",
        determination=decided["determination"] or "",
        tags=[t for t, _ in sorted(folded.tags.items(), key=lambda t: (t[1][0], t[0]))],
        severity_override=decided["severity_override"] or "",
        title_override=decided["title_override"] or "",
        redirect_to=decided["redirect_to"] or "",
        promoted=bool(decided["promoted"]),
        phase=decided["phase"] or "",
        roles=dict(decided["roles"] or {}),
        updated=folded.updated,
        created=_moment(decided["created"]),
        acknowledged=_moment(decided["acknowledged"]),
        closed=_moment(decided["closed"]),
    )


def _row(unit: Unit, folded: Folded, documents: Mapping[str, dict[str, Any]]) -> IncidentRow | None:
    if folded.dropped or not folded.version:
        return None
    assert folded.updated is not None
    incident = incident_of(unit, folded, documents)
    if incident.alerts:
        return project(
            incident,
            folded.score,
            folded.reasons,
            updated=folded.updated,
            version=folded.version,
            reports=folded.reports,
        )
    if folded.frozen is None:
        return None
    # Merged before there was a log: nothing says any more which alerts it had, so its row says what it said.
    values: dict[str, Any] = {**folded.frozen, **{n: folded.decided.get(n) for n in DECIDED}}
    values.update({n: _moment(values[n]) for n in (*_TIMES, "first", "last")})
    values["roles"] = values["roles"] or {}
    return IncidentRow(
        id=folded.id,
        priority=folded.score,
        updated=folded.updated,
        version=folded.version,
        tags=tuple(incident.tags),
        **values,
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """A projection that isn't what the log says: of which incident, which part, and both values as kept text."""

    incident_id: str
    part: str
    kept: str
    rebuilt: str

    def to_dict(self) -> dict[str, str]:
        """The JSON form."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def rebuild(unit: Unit, *, repair: bool, progress: Callable[[int], None] = lambda _done: None) -> Iterator[Difference]:
    """Makes every projection from the log and gives those that differ from what is kept; with `repair` what is kept becomes what was made.
    `progress` is told how many incidents are done, now and then; however many there are, a few hundred are in memory at a time.

    Rows, tags, activity and tasks are compared as the text that the database keeps; so are the alerts' links, with who holds them. The index by
    which incidents are found by text and what figures of rules are counted from are compared with the rows, of no incident in particular.
    """
    done = 0
    for several in unit.incidents.history.by_incident():
        yield from _rebuilt(unit, several, repair=repair)
        done += len(several)
        progress(done)
    for incident_id in unit.incidents.without_log():
        yield Difference(incident_id, "row", "kept", "not in the log")
        if repair:
            unit.incidents.remove(incident_id)
    if not unit.incidents.found_by_text():
        yield Difference("", "search", "another text", "the rows' text")
        if repair:
            unit.incidents.index_anew()
    if any(wrong := unit.incidents.rules_held()):
        yield Difference("", "rules", f"{wrong[0]} that are not so", f"{wrong[1]} that were missing")
        if repair:
            unit.incidents.hold_rules_anew()


def _rebuilt(unit: Unit, several: Mapping[str, list[LogRow]], *, repair: bool) -> Iterator[Difference]:
    """What of these incidents, by id with their entries, differs from what is kept."""
    for part in _together([fold(incident_id, entries) for incident_id, entries in several.items()]):
        documents = unit.incidents.alerts_by_id([a for f in part for a in f.links])
        ids = [f.id for f in part]
        rows, kept = unit.incidents.several(ids), unit.incidents.kept_parts(ids)
        for folded in part:
            row = _row(unit, folded, documents)
            yield from _compare(unit, folded, row, rows.get(folded.id), kept[folded.id], repair=repair)


def _together(several: Iterable[Folded]) -> Iterator[list[Folded]]:
    """So many at a time as have `_ALERTS_TOGETHER` alerts, and one in any case."""
    part: list[Folded] = []
    held = 0
    for folded in several:
        if part and held + len(folded.links) > _ALERTS_TOGETHER:
            yield part
            part, held = [], 0
        part.append(folded)
        held += len(folded.links)
    if part:
        yield part


def _compare(
    unit: Unit, folded: Folded, row: IncidentRow | None, kept: IncidentRow | None, beside: KeptParts, *, repair: bool
) -> Iterator[Difference]:
    if row is None:
        if kept is not None:
            yield Difference(folded.id, "row", "kept", "dropped")
            if repair:
                unit.incidents.remove(folded.id)
        return
    differs = False
    for name in (f.name for f in fields(IncidentRow) if f.name != "tags"):
        here = "absent" if kept is None else _text(getattr(kept, name))
        made = _text(getattr(row, name))
        if here != made:
            differs = True
            yield Difference(folded.id, name, here, made)
    if differs and repair:
        unit.incidents.put(row)
    tags = [(tag, *folded.tags[tag]) for tag in sorted(folded.tags)]
    parts: list[tuple[str, Any, Any]] = [
        ("tags", beside.tags, tags),
        ("activity", beside.activity, [folded.activity[n] for n in sorted(folded.activity)]),
        ("tasks", beside.tasks, [folded.tasks[n] for n in sorted(folded.tasks)]),
        ("links", dict(sorted(beside.links.items())), _held(folded)),
    ]
    for part, here, made in parts:
        if _text(here) == _text(made):
            continue
        yield Difference(folded.id, part, _text(here), _text(made))
        if repair:
            {
                "tags": lambda made=made: unit.incidents.put_tag_rows(folded.id, made),
                "activity": lambda made=made: unit.incidents.put_activity(folded.id, made),
                "tasks": lambda made=made: unit.incidents.tasks.put(folded.id, made),
                "links": lambda made=made: unit.incidents.link(folded.id, made),
            }[part]()


def _held(folded: Folded) -> dict[str, list[Any]]:
    return {} if folded.redirected else dict(sorted(folded.links.items()))


def bring_up_to_date(state: State, goes_on: Callable[[], None] = lambda: None) -> int:
    """After an upgrade: makes rows anew that an older program projected otherwise; gives how many parts changed.

    A few hundred incidents at a time, each time in a transaction of its own, so that others may work meanwhile; `goes_on` is called before each, what
    it raises ends it, and the next time it goes on from there.
    """
    with state.read() as unit:
        if unit.kv.get(_PROJECTION) == VERSION:
            return 0
        version, place = unit.kv.get(_PLACE) or (VERSION, "")
    place = place if version == VERSION else ""
    changed = 0
    while True:
        goes_on()
        with state.write() as unit:
            several = next(unit.incidents.history.by_incident(after=place), {})
            changed += sum(1 for _ in _rebuilt(unit, several, repair=True))
            place = max(several, default=place)
            unit.kv.set(_PLACE, [VERSION, place])
            if not several:
                unit.kv.set(_PROJECTION, VERSION)
                return changed


def _text(value: Any) -> str:
    """A value as the database keeps it."""
    if isinstance(value, str):
        return plain(value)
    return dumps(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return text_of(value)
    if isinstance(value, ActivityRow | TaskRow):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
