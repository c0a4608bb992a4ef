"""The attack story: an incident as a timeline of steps and as a graph of what touched what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tocsin.detect.alert import Alert, iso
from tocsin.incidents.facts import PATTERNS
from tocsin.incidents.model import Incident, ordered_tactics
from tocsin.tables.entities import Entity, EntityKey

__all__ = ["GRAPH_NODES", "Step", "graph", "roles_of", "story"]

GRAPH_NODES = 120
"""Nodes that a graph shows at most; the rarest named are left out first. A page draws more only slowly and shows them worse."""

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
        }


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


def roles_of(alert: Alert) -> tuple[Entity | None, Entity | None]:
    """Who an alert says acted, and upon what: an account before a process before an address; a host before what is on it."""
    actor = min(
        (e for e in alert.entities if e.type in ("Account", "Process", "IP", "MailMessage", "Mailbox")),
        key=lambda e: ("Account", "Process", "IP", "MailMessage", "Mailbox").index(e.type),
        default=None,
    )
    others = (e for e in alert.entities if e is not actor and e.type in _TARGETS)
    return actor, min(others, key=lambda e: _TARGETS.index(e.type), default=None)


def story(incident: Incident) -> tuple[Step, ...]:
    """The steps by time. Where an alert names several tactics the step takes the furthest along the kill chain."""
    steps = [
        Step(
            time=a.alert.time,
            title=a.alert.title or a.alert.rule,
            tactic=(ordered_tactics(a.alert.tactics) or ("",))[-1],
            techniques=a.alert.techniques,
            alert_id=a.alert.id,
            severity=a.alert.severity,
            entities=a.alert.entities,
            actor=roles_of(a.alert)[0],
            target=roles_of(a.alert)[1],
            evidence=a.alert.count,
            pattern=a.alert.product == PATTERNS,
        )
        for a in incident.alerts
    ]
    return tuple(sorted(steps, key=lambda s: (s.time, s.alert_id)))


def graph(incident: Incident) -> dict[str, Any]:
    """Nodes and edges: entities, joined where one alert names both. An edge is labelled by the alerts' titles, strongest first."""
    entities = incident.entities(GRAPH_NODES)
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
    for linked in sorted(incident.alerts, key=lambda a: (a.alert.time, a.alert.id)):
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
    return {"nodes": nodes, "edges": list(edges.values()), "left_out": max(0, incident.facts.things - GRAPH_NODES)}


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
