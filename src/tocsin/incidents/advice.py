"""What to do next: the steps of content (packs' `incidents/`, kind `advice`) that fit an incident, tied to its own things, and what of them was done.

A step fits by a technique or a stage. The alerts that brought it in say of which accounts, machines, files or addresses it is to be done, and why;
actions, tasks and comments of the incident say how far it is. What is urgent comes first, what is done last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tocsin.content import Content, IncidentFile
from tocsin.detect.alert import iso
from tocsin.incidents.facts import PATTERNS, keys_of
from tocsin.incidents.model import Incident, LinkedAlert, by_time, spaced, stage_of
from tocsin.incidents.priority import Judge
from tocsin.incidents.story import roles_of
from tocsin.state import ActionRow, ActivityRow, Unit
from tocsin.tables.entities import Entity, EntityKey

__all__ = ["URGENCIES", "Done", "advice", "done_of"]

URGENCIES = ("now", "soon", "later")
"""How soon a step is to be taken: while the attack may go on; to drive it out; to learn what else there is."""

_THINGS = 8
_TITLES = 3
_ACTIONS = 1000
_COMMENTS = 500
_SAID = 160
_TITLE = 150
_RUNS = {"Proposed": "proposed", "Approved": "running", "Running": "running", "Succeeded": "done", "Failed": "failed"}
_ORDER = ("done", "running", "proposed", "failed")
"""Which of several actions on one thing says how far it is."""


@dataclass(frozen=True, slots=True)
class Done:
    """What people and automation did in an incident already."""

    actions: Sequence[ActionRow] = ()
    tasks: Sequence[Mapping[str, Any]] = ()
    comments: Sequence[ActivityRow] = ()


def done_of(unit: Unit, incident_id: str) -> Done:
    """What was done in the incident: its newest 1,000 actions, its tasks, the comments among its newest 500 entries."""
    rows, _, _ = unit.actions.page(incident_id=incident_id, limit=_ACTIONS)
    entries = unit.incidents.activity_page(incident_id, limit=_COMMENTS)
    return Done(
        rows,
        [t.to_dict() for t in unit.incidents.tasks.of(incident_id)],
        [e for e in entries if e.kind == "comment"],
    )


def advice(
    incident: Incident, content: Content, judge: Judge | None = None, done: Done | None = None
) -> list[dict[str, Any]]:
    """The steps that fit, each once: `about` are the things of the incident that it is to be done to, with how far it is for each; `because` the
    technique or stage that brought it in, `alerts` which alerts told of that. What is urgent comes first, what is done last."""
    told = _Told(incident, judge or Judge(), done or Done())
    found: dict[str, dict[str, Any]] = {}
    for rank, order, item, because, alerts in _chosen(incident, content):
        for step in item.document.value.get("steps") or ():
            if step["do"] not in found:
                found[step["do"]] = {
                    **told.step(step, alerts),
                    "because": because,
                    "source": item.id,
                    "_": (rank, order),
                }
    made = sorted(found.values(), key=lambda s: (s["state"] == "done", URGENCIES.index(s["urgency"]), s["_"]))
    return [{n: v for n, v in s.items() if n != "_"} for s in made]


def _chosen(
    incident: Incident, content: Content
) -> Iterable[tuple[int, int, IncidentFile, str, Sequence[LinkedAlert]]]:
    """The files that fit: how closely (0 by the very technique, 3 in any case), their order, what made them fit, and the alerts that did."""
    techniques, tactics = set(incident.techniques), set(incident.tactics)
    parents = {t.split(".")[0] for t in techniques}
    alerts = sorted(incident.alerts, key=by_time)
    # What a pattern says it says of alerts that are here themselves.
    plain = [a for a in alerts if a.alert.product != PATTERNS] or alerts
    for order, item in enumerate(content.incidents):
        if item.kind != "advice":
            continue
        value = item.document.value
        wanted = [str(t) for t in value.get("for") or ()]
        named = {str(t) for t in value.get("tactics") or ()}
        if exact := sorted(techniques & set(wanted)):
            yield 0, order, item, exact[0], [a for a in plain if techniques & set(wanted) & set(a.alert.techniques)]
        elif broad := sorted(parents & set(wanted)):
            bases = [{t.split(".")[0] for t in a.alert.techniques} for a in plain]
            yield 1, order, item, broad[0], [a for a, b in zip(plain, bases, strict=True) if b & set(wanted)]
        elif stages := sorted(tactics & named, key=stage_of):
            yield 2, order, item, spaced(stages[-1]), [a for a in plain if named & set(a.alert.tactics)]
        elif not wanted and not named:
            yield 3, order, item, "", plain


@dataclass(slots=True)
class _Thing:
    """A thing of the incident, under all identifiers that alerts gave it."""

    entity: Entity
    words: frozenset[str]
    critical: str


@dataclass(slots=True)
class _Told:
    """Makes steps of an incident's own things."""

    incident: Incident
    judge: Judge
    done: Done
    _things: list[_Thing] = field(default_factory=list)
    _index: dict[EntityKey, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, entity in enumerate(self.incident.entities()):
            asset = self.judge.asset_of(entity)
            self._things.append(_Thing(entity, _words(entity), asset.level if asset else ""))
            for key in _keys(entity):
                self._index.setdefault(key, number)

    def step(self, step: Mapping[str, Any], alerts: Sequence[LinkedAlert]) -> dict[str, Any]:
        """A step of content as the API gives it, but for what brought it in."""
        title = str(step["do"])[:_TITLE]
        task = next((t for t in self.done.tasks if t["title"] == title), None)
        about, left_out = self._about(step, alerts)
        state = self._state(step, task, about)
        names = list(dict.fromkeys(a.alert.title or a.alert.rule for a in alerts))
        return {
            "do": step["do"],
            "why": step.get("why") or "",
            "action": step.get("action") or "",
            "response": step.get("response") or "",
            "urgency": step.get("urgency") or "soon",
            "state": state,
            "about": about,
            "about_left_out": left_out,
            "alerts": names[:_TITLES],
            "alerts_left_out": max(0, len(names) - _TITLES),
        }

    def _about(self, step: Mapping[str, Any], alerts: Sequence[LinkedAlert]) -> tuple[list[dict[str, Any]], int]:
        kinds = {str(k) for k in step.get("on") or ()}
        if not kinds:
            return [], 0
        counted: dict[int, int] = {}
        for linked in alerts:
            for number in {
                self._index[k]
                for e in linked.alert.entities
                if e.type in kinds and not e.is_built_in and not _asks(linked, e)
                for k in _keys(e)
                if k in self._index
            }:
                counted[number] = counted.get(number, 0) + 1
        found = sorted(counted, key=lambda n: (not self._things[n].critical, -counted[n], n))
        if any(self._things[n].entity.is_public_address for n in found):
            # Beside an address of the outside one of the inside is a victim's.
            found = [
                n for n in found if self._things[n].entity.type != "IP" or self._things[n].entity.is_public_address
            ]
        return [self._thing(step, self._things[n]) for n in found[:_THINGS]], max(0, len(found) - _THINGS)

    def _thing(self, step: Mapping[str, Any], thing: _Thing) -> dict[str, Any]:
        state, detail = "", ""
        kind, response = str(step.get("action") or ""), str(step.get("response") or "")
        acted = [
            row
            for row in self.done.actions
            if (row.kind == kind or (response and row.kind == "responder"))
            and (not response or row.kind != "responder" or row.input.get("do") == response)
            and row.status in _RUNS
            and _texts(row.input) & thing.words
        ]
        if acted:
            best = min(acted, key=lambda r: (_ORDER.index(_RUNS[r.status]), -r.number))
            state = _RUNS[best.status]
            who = best.decided_by or best.proposed_by
            detail = f"{best.title} by {who}, {iso(best.decided_at or best.proposed_at)}"
        said = next((c for c in reversed(self.done.comments) if _mentions(c.text, thing.words)), None)
        return {
            "type": thing.entity.type,
            "label": thing.entity.label,
            "critical": thing.critical,
            "state": state,
            "detail": detail,
            "input": _input(step, thing.entity),
            "comment": f"{said.actor}, {iso(said.time)}: {_cut(said.text)}" if said else "",
        }

    def _state(
        self, step: Mapping[str, Any], task: Mapping[str, Any] | None, about: Sequence[Mapping[str, Any]]
    ) -> str:
        """How far a step is: `done` by its task, or where an action did it to each thing; `running`, `proposed` or `failed` where one is under way
        for some; `task` where somebody wrote it down; else `open`."""
        if (task and task["completed"]) or (about and all(t["state"] == "done" for t in about)):
            return "done"
        if step.get("action") == "incident.assign" and self.incident.owner:
            return "done"
        for state in ("running", "proposed", "failed"):
            if any(t["state"] == state for t in about):
                return state
        if any(t["state"] == "done" for t in about):
            return "running"
        return "task" if task else "open"


def _input(step: Mapping[str, Any], entity: Entity) -> dict[str, Any] | None:
    """What the step's action is to be given to be done to the thing; None where it names the thing by nothing that is known."""
    ids = entity.identifiers
    known = {**ids, "label": entity.label}
    if ids.get("Name") and ids.get("UPNSuffix"):
        known["upn"] = f"{ids['Name']}@{ids['UPNSuffix']}"
    target = {str(name): known[which] for name, which in (step.get("target") or {}).items() if known.get(which)}
    if not target:
        return None
    return {"do": step["response"], "target": target} if step.get("response") else target


def _keys(entity: Entity) -> tuple[Any, ...]:
    return tuple((entity.type, *k) for k in keys_of(entity))


def _asks(linked: LinkedAlert, entity: Entity) -> bool:
    """Whether it is the inner address of a connection's own side, where an alert names both: a victim's."""
    if entity.type != "IP" or entity.is_public_address or sum(e.type == "IP" for e in linked.alert.entities) < 2:
        return False
    return roles_of(linked.alert)[0] == entity


def _words(entity: Entity) -> frozenset[str]:
    """By what texts an action names it."""
    ids = entity.identifiers
    parts = [
        entity.label,
        *(
            ids.get(n, "")
            for n in ("Sid", "AadUserId", "DeviceId", "AzureID", "Value", "Address", "HostName", "Url", "DomainName")
        ),
    ]
    if name := ids.get("Name"):
        parts += [f"{ids[d]}\\{name}" for d in ("NTDomain", "DnsDomain") if ids.get(d)]
        parts += [f"{name}@{ids['UPNSuffix']}"] if ids.get("UPNSuffix") else []
        parts += [name] if entity.type in ("Account", "File") else []
    return frozenset(p.lower() for p in parts if p)


def _texts(value: Any) -> set[str]:
    """All texts in an action's input, in lower case."""
    if isinstance(value, Mapping):
        return {t for v in value.values() for t in _texts(v)}
    if isinstance(value, list | tuple):
        return {t for v in value for t in _texts(v)}
    return {str(value).strip().lower()} if value is not None else set()


def _mentions(text: str, words: Iterable[str]) -> bool:
    said = text.lower()
    return any(
        w in said and re.search(rf"(?<![\w.\\@-]){re.escape(w)}(?![\w\\@-]|\.\w)", said) for w in words if len(w) > 2
    )


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SAID else f"{line[: _SAID - 1]}…"
