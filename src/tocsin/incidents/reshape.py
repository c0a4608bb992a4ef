"""What people decide about which alerts belong together: merging incidents, moving alerts, splitting, and taking each back.

The rules of a merge are those of correlation (Defender's vetoes), but who merges chooses which incident stays. Each operation gives what its undo
needs. What people took apart, correlation doesn't join again; an undo forgets that too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from tocsin.base.ids import stable_id
from tocsin.incidents.judging import group_vetoes
from tocsin.incidents.life import Actor, IncidentChangeError
from tocsin.incidents.load import from_row
from tocsin.incidents.merged import final
from tocsin.incidents.model import Incident, LinkedAlert, Reason, Status, by_time
from tocsin.incidents.signature import entity_keys
from tocsin.incidents.store import CORRELATION, bring_comments, bring_tasks, write
from tocsin.incidents.vetoes import merge_vetoes
from tocsin.incidents.view import incident_summary
from tocsin.state import ConflictError, Unit, text_of

__all__ = ["MOST_SOURCES", "apart", "count", "last_apart", "merge", "move", "preview", "reshapes", "unmerge", "unmove"]

MOST_SOURCES = 5
"""Incidents that may be merged into another at once."""

_COUNTER = "incidents.reshaped"
_APART = "incidents.apart"


def reshapes(unit: Unit) -> int:
    """How often people have reshaped incidents: who holds incidents in memory must read them anew when it changes."""
    return int(unit.kv.get(_COUNTER, 0))


def count(unit: Unit) -> None:
    """Counts a change by people that who holds incidents in memory wouldn't see otherwise."""
    unit.kv.set(_COUNTER, reshapes(unit) + 1)


def apart(unit: Unit) -> frozenset[frozenset[str]]:
    """Pairs of incidents that people took apart, and of those into which these were merged since: a third one doesn't bring them together."""
    said = frozenset(frozenset(pair) for pair in unit.kv.get(_APART, []))
    into: dict[str, str] = {}
    looked = {i for pair in said for i in pair}
    while looked:
        found = unit.incidents.merged_into(looked)
        into.update(found)
        looked = set(found.values()) - into.keys()

    def there(incident_id: str) -> str:
        been = {incident_id}
        while (further := into.get(incident_id)) is not None and further not in been:
            been.add(incident_id := further)
        return incident_id

    now = {frozenset(there(i) for i in pair) for pair in said}
    return said | {pair for pair in now if len(pair) > 1}


def last_apart(unit: Unit, most: int) -> list[tuple[str, str]]:
    """The pairs that people took apart last, at most so many."""
    return [(one, other) for one, other in unit.kv.get(_APART, [])[-most:]]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a merge would make: the incident in its summary's shape, what speaks against it, and what the parts share."""

    incident: Mapping[str, Any]
    vetoes: Sequence[str]
    shared: Sequence[str]
    alerts: int


def preview(unit: Unit, target_id: str, source_ids: Sequence[str]) -> Preview:
    """What merging the sources into the target would give. Changes nothing. NotFoundError for an incident that isn't there, ConflictError where
    all of them have been emptied into others."""
    target, sources = _parts(unit, target_id, source_ids, lock=False)
    vetoes = _vetoes(unit, target, sources)
    keys = entity_keys(e for a in target.alerts for e in a.alert.entities)
    shared: dict[str, None] = {}
    for source in sources:
        for key, entity in entity_keys(e for a in source.alerts for e in a.alert.entities).items():
            if key in keys:
                shared[f"{entity.type} {entity.label}"] = None
    count = sum(len(s.alerts) for s in sources)
    if not count and not target.alerts:
        raise ConflictError(
            f"There is nothing to merge: {' '.join(dict.fromkeys(vetoes))}", hint=_instead(unit, target)
        )
    for source in sources:
        _absorb(target, source, None)
    return Preview(incident_summary(target, unit.judge), vetoes, list(shared), count)


def merge(unit: Unit, target_id: str, source_ids: Sequence[str], *, reason: str, actor: Actor) -> dict[str, Any]:
    """Empties the sources into the target; gives what `unmerge` needs.

    IncidentChangeError for too many or the same incidents, ConflictError naming what vetoes it, NotFoundError for one that isn't there.
    """
    target, sources = _parts(unit, target_id, source_ids, lock=True)
    vetoes = _vetoes(unit, target, sources)
    if vetoes:
        raise ConflictError(f"They can't be merged: {' '.join(vetoes)}", hint="Make them agree first.")
    undo: dict[str, Any] = {"target": _decisions(target), "sources": []}
    was_here = _once_here(unit, target)
    for source in sources:
        why = Reason(f"merged from #{source.number} by {actor.name}" + (f": {reason}" if reason else ""), 0.0)
        undo["sources"].append({**_decisions(source), "alerts": _links(source.alerts)})
        _absorb(target, source, why, was_here)
    arrived = {a.alert.id for s in sources for a in s.alerts}
    linked = [a for a in target.alerts if a.alert.id in arrived]
    write(unit, target, by=actor.name, source=actor.source, linked=linked)
    undo["merged"], undo["comments"], undo["tasks"] = _decisions(target), [], {}
    for source in sources:
        title = source.title
        source.redirect(target.id)
        write(unit, source, by=actor.name, source=actor.source, left=[a.alert.id for a in source.alerts])
        note = f" {reason}" if reason else ""
        _say(unit, source, actor, "merge", f"Merged into incident #{target.number}.{note}", {"into": target.id})
        _say(
            unit,
            target,
            actor,
            "merge",
            f"Incident #{source.number} was merged into this one: {title}.{note}",
            {"from": source.id, "alerts": len(source.alerts)},
        )
        undo["comments"] += bring_comments(unit, source.id, target.id, source=actor.source)
        undo["tasks"][source.id] = bring_tasks(unit, source.id, target.id, by=actor.name, source=actor.source)
        _separate(unit, source.id, target.id, together=True)
    _told(unit, target.id, "incident.merge", {"merged": {"added": [s.id for s in sources]}}, reason, actor)
    return undo


def unmerge(unit: Unit, undo: Mapping[str, Any], *, actor: Actor) -> str:
    """Gives each source back its alerts and what it was, and the target what it was where nobody has decided otherwise since.

    ConflictError when an alert has gone elsewhere meanwhile or the target would be left empty.
    """
    target = _incident(unit, undo["target"]["id"], lock=True)
    if target.status is Status.REDIRECTED:
        raise ConflictError(
            f"Incident #{target.number} was merged into another itself.",
            hint="Take that apart first, the last merge before the others.",
        )
    wanted = {a["id"] for s in undo["sources"] for a in s["alerts"]}
    held = target.alert_ids()
    if not wanted <= held:
        raise ConflictError("Some of its alerts have been moved elsewhere since: it is not taken apart.")
    if wanted == held:
        raise ConflictError("The incident would be left without alerts: it is not taken apart.")
    by_id = {a.alert.id: a for a in target.alerts}
    for part in undo["sources"]:
        row = unit.incidents.require(part["id"], lock=True)
        if row.status != Status.REDIRECTED or row.redirect_to != target.id:
            raise ConflictError(f"Incident #{row.number} isn't merged into this one any more.")
        alerts = [replace(by_id[a["id"]], linked_by=_reasons(a["linked_by"])) for a in part["alerts"]]
        source = _restored(from_row(row, []), part, alerts)
        write(unit, source, by=actor.name, source=actor.source, linked=alerts)
        brought = set(undo.get("tasks", {}).get(source.id, ()))
        for task in unit.incidents.tasks.of(target.id):
            if task.id in brought:
                unit.incidents.tasks.move(task, source.id, by=actor.name, source=actor.source)
        _say(unit, source, actor, "merge", f"Taken out of incident #{target.number} again.", {"from": target.id})
        _separate(unit, source.id, target.id)
    target.alerts = [a for a in target.alerts if a.alert.id not in wanted]
    _set_back(target, undo["target"], undo.get("merged"))
    write(unit, target, by=actor.name, source=actor.source, left=sorted(wanted))
    for entry in undo.get("comments", ()):
        unit.incidents.remove_activity(target.id, entry, actor=actor.name, source=actor.source)
    _say(unit, target, actor, "merge", "The merge was undone.", {"sources": [p["id"] for p in undo["sources"]]})
    _told(unit, target.id, "incident.unmerge", {"merged": {"removed": [p["id"] for p in undo["sources"]]}}, "", actor)
    return "The incidents are as they were before."


def move(
    unit: Unit, origin_id: str, alert_ids: Sequence[str], target_id: str | None, *, reason: str, actor: Actor
) -> dict[str, Any]:
    """Moves alerts to another incident, or (None) to a new one; gives what `unmove` needs, with the target's id in `target`.

    IncidentChangeError for alerts that the origin doesn't hold or for all of them, ConflictError for a closed or merged incident.
    """
    origin = _open(unit, origin_id)
    wanted = list(dict.fromkeys(alert_ids))
    if missing := [a for a in wanted if a not in origin.alert_ids()]:
        raise IncidentChangeError(f"Incident #{origin.number} has no alert {missing[0]}.")
    if not wanted:
        raise IncidentChangeError("Name the alerts to move.")
    if len(wanted) == len(origin.alerts):
        raise IncidentChangeError(
            "These are all alerts of the incident.", hint="Merge it into the other incident instead; none stays empty."
        )
    if target_id == origin_id:
        raise IncidentChangeError("They are in this incident already.")
    leaving = [a for a in origin.alerts if a.alert.id in set(wanted)]
    why = Reason(f"moved by {actor.name} from #{origin.number}" + (f": {reason}" if reason else ""), 0.0)
    arriving = [replace(a, linked_by=(why,)) for a in leaving]
    undo: dict[str, Any] = {"origin": origin.id, "alerts": _links(leaving), "new": target_id is None}
    if target_id is None:
        now = unit.clock.now()
        target = Incident(
            stable_id("inc", origin.id, *sorted(wanted), now.isoformat()),
            number=unit.incidents.next_number(),
            promoted=True,
            created=now,
            updated=now,
        )
    else:
        target = _open(unit, target_id)
    target.alerts = sorted((*target.alerts, *arriving), key=by_time)
    origin.alerts = [a for a in origin.alerts if a.alert.id not in set(wanted)]
    write(unit, target, by=actor.name, source=actor.source, linked=arriving)
    write(unit, origin, by=actor.name, source=actor.source, left=wanted)
    _separate(unit, origin.id, target.id)
    count = f"{len(leaving)} alert{'s' if len(leaving) > 1 else ''}"
    note = f" {reason}" if reason else ""
    _say(
        unit,
        origin,
        actor,
        "alerts",
        f"{count} moved to incident #{target.number}.{note}",
        {"alerts": wanted, "to": target.id},
    )
    _say(
        unit,
        target,
        actor,
        "alerts",
        f"{count} moved here from incident #{origin.number}.{note}",
        {"alerts": wanted, "from": origin.id},
    )
    _told(unit, origin.id, "incident.move-alerts", {"alerts": {"removed": wanted}}, reason, actor)
    if target_id is None:
        unit.incidents.emit(target.id, "created", actor.name, actor.source, {}, depth=actor.depth)
    else:
        unit.incidents.emit(
            target.id, "updated", actor.name, actor.source, {"alerts": {"added": wanted}}, depth=actor.depth
        )
    return {**undo, "target": target.id, "number": target.number}


def unmove(unit: Unit, undo: Mapping[str, Any], *, actor: Actor) -> str:
    """Brings moved alerts back. An incident that was made for them alone is merged away. ConflictError when they have gone elsewhere since."""
    target = _incident(unit, undo["target"], lock=True)
    origin = _open(unit, undo["origin"])
    wanted = [a["id"] for a in undo["alerts"]]
    if target.status is Status.REDIRECTED or not set(wanted) <= target.alert_ids():
        raise ConflictError("Some of the alerts have been moved elsewhere since: they are not brought back.")
    by_id = {a.alert.id: a for a in target.alerts}
    back = [replace(by_id[a["id"]], linked_by=_reasons(a["linked_by"])) for a in undo["alerts"]]
    rest = [a for a in target.alerts if a.alert.id not in set(wanted)]
    if not rest and not undo["new"]:
        raise ConflictError("The incident would be left without alerts: merge it instead.")
    origin.alerts = sorted((*origin.alerts, *back), key=by_time)
    if rest:
        target.alerts = rest
    else:
        target.redirect(origin.id)
    write(unit, origin, by=actor.name, source=actor.source, linked=back)
    write(unit, target, by=actor.name, source=actor.source, left=wanted)
    _separate(unit, origin.id, target.id, together=True)
    if not rest:
        bring_comments(unit, target.id, origin.id, source=actor.source)
        bring_tasks(unit, target.id, origin.id, by=actor.name, source=actor.source)
    for incident, other in ((origin, target), (target, origin)):
        _say(
            unit,
            incident,
            actor,
            "alerts",
            f"The move of {len(wanted)} alerts was undone.",
            {"alerts": wanted, "other": other.id},
        )
    _told(unit, origin.id, "incident.unmove-alerts", {"alerts": {"added": wanted}}, "", actor)
    return "The alerts are back."


# ---------------------------------------------------------------------------------------------- parts


def _parts(unit: Unit, target_id: str, source_ids: Sequence[str], *, lock: bool) -> tuple[Incident, list[Incident]]:
    wanted = list(dict.fromkeys(source_ids))
    if not wanted or len(wanted) > MOST_SOURCES:
        raise IncidentChangeError(
            f"1 to {MOST_SOURCES} incidents can be merged into another at once, not {len(wanted)}."
        )
    if target_id in wanted:
        raise IncidentChangeError("An incident can't be merged into itself.")
    return _incident(unit, target_id, lock=lock), [_incident(unit, s, lock=lock) for s in wanted]


def _vetoes(unit: Unit, target: Incident, sources: Sequence[Incident]) -> list[str]:
    return [v for s in sources for v in (*merge_vetoes(target, s), *group_vetoes(unit.judge, target, s))]


def _incident(unit: Unit, incident_id: str, *, lock: bool) -> Incident:
    row = unit.incidents.require(incident_id, lock=lock)
    if not row.promoted:
        unit.incidents.require("")  # nobody was shown it: to people it isn't there
    return from_row(row, unit.incidents.alerts_of(row.id))


def _open(unit: Unit, incident_id: str) -> Incident:
    incident = _incident(unit, incident_id, lock=True)
    if incident.status is Status.REDIRECTED:
        raise ConflictError(f"Incident #{incident.number} was merged into another.", hint=_instead(unit, incident))
    if incident.status is Status.RESOLVED:
        raise ConflictError(f"Incident #{incident.number} is resolved.", hint="Open it again first.")
    return incident


def _instead(unit: Unit, incident: Incident) -> str:
    there = final(unit, unit.incidents.require(incident.id))
    return f"Use {there.id} (#{there.number}) instead."


def _once_here(unit: Unit, target: Incident) -> dict[str, tuple[Reason, ...]]:
    """By alert that correlation once put into the incident, its reasons: who splits and merges again gets them back."""
    found: dict[str, tuple[Reason, ...]] = {}
    for entry in unit.incidents.history.of(target.id):
        for link in entry.data.get("alerts", {}).get("linked", ()) if entry.source == CORRELATION else ():
            found.setdefault(link["id"], _reasons(link["linked_by"]))
    return found


def _absorb(
    target: Incident,
    source: Incident,
    why: Reason | None,
    was_here: Mapping[str, tuple[Reason, ...]] = MappingProxyType({}),
) -> None:
    """The target with what the source brings: alerts, tags, and decisions that the target lacks."""
    known = target.alert_ids()
    extra = () if why is None else (why,)
    target.alerts.extend(
        replace(a, linked_by=(*was_here.get(a.alert.id, a.linked_by), *extra))
        for a in source.alerts
        if a.alert.id not in known
    )
    target.alerts.sort(key=by_time)
    target.inherit(source)


_TEXTS = ("owner", "classification", "determination", "severity_override", "title_override", "phase")
_MOMENTS = ("created", "acknowledged", "closed")


def _decisions(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "status": incident.status.value,
        "tags": list(incident.tags),
        "roles": dict(incident.roles),
        **{name: getattr(incident, name) for name in _TEXTS},
        **{name: text_of(getattr(incident, name)) for name in _MOMENTS},
    }


def _values(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Decisions as an incident's members; of those that an older program kept, the ones that it knew."""
    made: dict[str, Any] = {name: kept[name] for name in (*_TEXTS, "roles") if name in kept}
    for name in _MOMENTS:
        if name in kept:
            made[name] = None if kept[name] is None else datetime.fromisoformat(kept[name])
    return {"status": Status(kept["status"]), **made}


def _restored(incident: Incident, before: Mapping[str, Any], alerts: list[LinkedAlert]) -> Incident:
    incident.alerts, incident.redirect_to = alerts, ""
    incident.tags = list(before["tags"])
    for name, value in _values(before).items():
        setattr(incident, name, value)
    return incident


def _set_back(target: Incident, before: Mapping[str, Any], merged: Mapping[str, Any] | None) -> None:
    """What the merge gave the target goes again, unless somebody has decided otherwise since."""
    old, given = _values(before), _values(merged or {**before, **_decisions(target)})
    for name, value in old.items():
        if getattr(target, name) == given[name]:
            setattr(target, name, value)
    brought = set((merged or _decisions(target))["tags"]) - set(before["tags"])
    target.tags = [t for t in target.tags if t not in brought]


def _links(alerts: Iterable[LinkedAlert]) -> list[dict[str, Any]]:
    return [{"id": a.alert.id, "linked_by": [r.to_dict() for r in a.linked_by]} for a in alerts]


def _reasons(raw: Iterable[Mapping[str, Any]]) -> tuple[Reason, ...]:
    return tuple(Reason(r["text"], r["weight"]) for r in raw)


def _say(unit: Unit, incident: Incident, actor: Actor, kind: str, text: str, detail: Mapping[str, Any]) -> None:
    unit.incidents.log(incident.id, actor.name, kind, text, detail, source=actor.source)


def _separate(unit: Unit, one: str, other: str, *, together: bool = False) -> None:
    """Remembers that people took two incidents apart, or brought them together; counts the reshaping."""
    pairs = [p for p in unit.kv.get(_APART, []) if set(p) != {one, other}]
    if not together:
        pairs.append(sorted((one, other)))
    unit.kv.set(_APART, pairs[-10_000:])
    count(unit)


def _told(unit: Unit, incident_id: str, action: str, changes: Mapping[str, Any], reason: str, actor: Actor) -> None:
    unit.audit.add(
        actor.name,
        action,
        "incident",
        incident_id,
        after=dict(changes),
        detail={"reason": reason},
        address=actor.address,
    )
    unit.incidents.emit(incident_id, "updated", actor.name, actor.source, changes, depth=actor.depth)
