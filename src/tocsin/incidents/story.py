"""The attack story: an incident as a timeline of steps and as a graph of what touched what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tocsin.detect.alert import SEVERITIES, Alert, iso
from tocsin.incidents.facts import PATTERNS
from tocsin.incidents.model import Incident, by_time, ordered_tactics
from tocsin.tables.entities import Entity, EntityKey

__all__ = ["GRAPH_NODES", "Run", "Step", "fold", "graph", "roles_of", "story"]

GRAPH_NODES = 120
"""Nodes that a graph shows at most. A page draws more only slowly and shows them worse."""

_ASSETS = frozenset({"Host", "Account", "Mailbox", "CloudApplication", "AzureResource", "IoTDevice"})

_ACTORS = ("Account", "Host", "IP", "Mailbox", "CloudApplication", "Process", "MailMessage", "URL", "File", "FileHash")
_RANKS = {kind: rank for rank, kind in enumerate(_ACTORS)}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the story: an alert in one sentence, at its time: who did what to what, and how many rows prove it."""

    time: datetime
    title: str
    tactic: str
    techniques: tuple[str, ...]
    alert_id: str
    severity: str
    entities: tuple[Entity, ...]
    actor: Entity | None = None
    target: Entity | None = None
    evidence: int = 0
    pattern: bool = False
    """Whether it tells no event of its own, but that earlier ones make a known pattern."""
    said_by: str = ""
    end: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "time": iso(self.time),
            "title": self.title,
            "tactic": self.tactic,
            "technique": self.techniques[0] if self.techniques else "",
            "techniques": list(self.techniques),
            "alert_id": self.alert_id,
            "severity": self.severity,
            "entities": [e.to_dict() for e in self.entities],
            "actor": self.actor.to_dict() if self.actor else None,
            "target": self.target.to_dict() if self.target else None,
            "evidence": self.evidence,
            "pattern": self.pattern,
            "said_by": self.said_by,
            "end": iso(self.end) if self.end else None,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Step:
        """The step of a `to_dict` form."""
        return cls(
            time=datetime.fromisoformat(raw["time"]),
            title=raw["title"],
            tactic=raw["tactic"],
            techniques=tuple(raw["techniques"]),
            alert_id=raw["alert_id"],
            severity=raw["severity"],
            entities=tuple(Entity.from_dict(e) for e in raw["entities"]),
            actor=Entity.from_dict(raw["actor"]) if raw["actor"] else None,
            target=Entity.from_dict(raw["target"]) if raw["target"] else None,
            evidence=raw["evidence"],
            pattern=raw["pattern"],
            said_by=raw.get("said_by") or "",
            end=datetime.fromisoformat(raw["end"]) if raw.get("end") else None,
        )


_TARGETS = (
    "Host",
    "Mailbox",
    "AzureResource",
    "CloudApplication",
    "Account",
    "File",
    "FileHash",
    "RegistryKey",
    "RegistryValue",
    "URL",
    "IP",
)


_OUTWARD = frozenset({"CommandAndControl", "Exfiltration"})


def roles_of(alert: Alert) -> tuple[Entity | None, Entity | None]:
    """Who an alert says acted, and upon what: an account before a process before an address; a host before what is on it. Of a channel to the
    outside the address is the other end, to which the host speaks."""
    actor = min(
        (e for e in alert.entities if e.type in ("Account", "Process", "IP", "MailMessage", "Mailbox")),
        key=lambda e: ("Account", "Process", "IP", "MailMessage", "Mailbox").index(e.type),
        default=None,
    )
    if actor is not None and actor.type == "IP" and not _OUTWARD.isdisjoint(alert.tactics):
        host = next((e for e in alert.entities if e.type == "Host"), None)
        if host is not None:
            return host, actor
    others = (e for e in alert.entities if e is not actor and e.type in _TARGETS)
    return actor, min(others, key=lambda e: _TARGETS.index(e.type), default=None)


def story(incident: Incident) -> tuple[Step, ...]:
    """The steps by time. Where an alert names several tactics the step takes the furthest along the kill chain."""
    return tuple(sorted((_step(a.alert) for a in incident.alerts), key=lambda s: (s.time, s.alert_id)))


def _step(alert: Alert) -> Step:
    actor, target = roles_of(alert)
    return Step(
        time=alert.time,
        title=alert.title or alert.rule,
        tactic=(ordered_tactics(alert.tactics) or ("",))[-1],
        techniques=alert.techniques,
        alert_id=alert.id,
        severity=alert.severity,
        entities=alert.entities,
        actor=actor,
        target=target,
        evidence=alert.count,
        pattern=alert.product == PATTERNS,
        said_by=alert.said_by,
        end=alert.end,
    )


_NUMBER = re.compile(r"\d+")
_PAUSE = timedelta(hours=1)
"""After so long a silence the same again is a step of its own: somebody came back."""


@dataclass(frozen=True, slots=True)
class Run:
    """One step of the story that was told several times: by the same rule, of the same things, without a pause."""

    steps: tuple[Step, ...]

    def to_dict(self) -> dict[str, Any]:
        """The first step's JSON form, with the highest severity, all techniques, all evidence; `last`, `count` and the ids of `alerts` besides."""
        first = self.steps[0]
        return {
            **first.to_dict(),
            "severity": max((s.severity for s in self.steps), key=SEVERITIES.index),
            "techniques": list(dict.fromkeys(t for s in self.steps for t in s.techniques)),
            "evidence": sum(s.evidence for s in self.steps),
            "last": iso(max(s.end or s.time for s in self.steps)),
            "count": len(self.steps),
            "alerts": [s.alert_id for s in self.steps],
        }


def fold(steps: Iterable[Step]) -> list[Run]:
    """Steps in time with those of one rule on the same things taken together, whatever else happened in between; in the order in which each began."""
    runs: list[list[Step]] = []
    going: dict[tuple[Any, ...], list[Step]] = {}
    for step in steps:
        things = frozenset((e.type, e.label.lower()) for e in step.entities)
        title = _NUMBER.sub("#", step.title)  # a rule may count in its title
        key = (step.said_by, title, step.tactic, step.pattern, things)
        run = going.get(key)
        if run is None or step.time - (run[-1].end or run[-1].time) > _PAUSE:
            run = going[key] = []
            runs.append(run)
        run.append(step)
    return [Run(tuple(r)) for r in runs]


def graph(incident: Incident, *, whole: bool = False) -> dict[str, Any]:
    """Nodes and edges: entities, joined where one alert names both. An edge is labelled by the first alert's title. Without `whole` it is what a page
    draws: at most `GRAPH_NODES` things."""
    entities = incident.entities() if whole else _drawn(incident)
    node_of: dict[EntityKey, str] = {}
    nodes = []
    for number, entity in enumerate(entities):
        node = f"n{number}"
        nodes.append({"id": node, "type": entity.type, "label": entity.label, "first": None})
        for key in _node_keys(entity):
            node_of.setdefault(key, node)
    edges: dict[tuple[str, str], dict[str, Any]] = {}
    by_id = {n["id"]: n for n in nodes}
    known: dict[int, str | None] = {}
    for linked in sorted(incident.alerts, key=by_time):
        named = _named(linked.alert, node_of, known)
        for _, node in named:
            if by_id[node]["first"] is None:
                # The graph is played by time: a thing appears when it is first named.
                by_id[node]["first"] = iso(linked.alert.time)
        for source, target in _pairs(named):
            edge = edges.setdefault(
                (source, target),
                {
                    "source": source,
                    "target": target,
                    "label": "",
                    "alert_id": "",
                    "alerts": [],
                    "alert_count": 0,
                    "first": iso(linked.alert.time),
                },
            )
            title = linked.alert.title or linked.alert.rule
            if not edge["label"]:
                edge["label"], edge["alert_id"] = title, linked.alert.id
            edge["alerts"].append(linked.alert.id)
            edge["alert_count"] += 1
    return {"nodes": nodes, "edges": list(edges.values()), "left_out": incident.facts.things - len(entities)}


def _drawn(incident: Incident) -> Sequence[Entity]:
    """The entities of the graph. Where they are too many, up to two thirds are assets, so that it tells how far an attack has come, and not only
    what was found where it began; of either kind the most often named."""
    if incident.facts.things <= GRAPH_NODES:
        return incident.entities()
    others = incident.facts.entities(GRAPH_NODES, wanted=lambda kind: kind not in _ASSETS)
    room = GRAPH_NODES - min(len(others), GRAPH_NODES // 3)
    return (*incident.facts.entities(room, wanted=_ASSETS.__contains__), *others)[:GRAPH_NODES]


def _node_keys(entity: Entity) -> tuple[EntityKey, ...]:
    """Its names within the graph. A mailbox has its owner's key and is a thing of its own there, so the type is part of each."""
    keys = (*entity.strong_keys(), *entity.weak_keys(), ("label", entity.label.lower()))
    return tuple((entity.type, *key) for key in keys)


def _named(alert: Alert, node_of: dict[EntityKey, str], known: dict[int, str | None]) -> list[tuple[int, str]]:
    """The nodes that an alert names, each once, with how much like an actor it is (0 most). `known`: by an entity's identity what its node is, for
    alerts name the same objects again and again."""
    found: dict[str, int] = {}
    for entity in alert.entities:
        place = id(entity)
        if place not in known:
            known[place] = next((node_of[k] for k in _node_keys(entity) if k in node_of), None)
        node = known[place]
        if node:
            found.setdefault(node, _RANKS.get(entity.type, len(_ACTORS)))
    return [(rank, node) for node, rank in found.items()]


def _pairs(named: list[tuple[int, str]]) -> list[tuple[str, str]]:
    """The alert's most actor-like entity points at each other one: a star reads better than every pair."""
    if len(named) < 2:
        return []
    (_, hub), *others = sorted(named)
    return [(hub, node) for _, node in others]
