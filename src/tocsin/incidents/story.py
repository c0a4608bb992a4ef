"""The attack story: an incident as a timeline of steps and as a graph of what touched what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tocsin.detect.alert import Alert, iso
from tocsin.incidents.model import Incident, ordered_tactics
from tocsin.tables.entities import Entity, EntityKey

__all__ = ["GRAPH_NODES", "Step", "graph", "story"]

GRAPH_NODES = 120
"""Nodes that a graph shows at most; the rarest named are left out first. A page draws more only slowly and shows them worse."""

_ACTORS = ("Account", "Host", "IP", "Mailbox", "CloudApplication", "Process", "MailMessage", "URL", "File", "FileHash")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the story: an alert in one sentence, at its time."""

    time: datetime
    title: str
    tactic: str
    techniques: tuple[str, ...]
    alert_id: str
    severity: str
    entities: tuple[Entity, ...]

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
        }


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
        )
        for a in incident.alerts
    ]
    return tuple(sorted(steps, key=lambda s: (s.time, s.alert_id)))


def graph(incident: Incident) -> dict[str, Any]:
    """Nodes and edges: entities, joined where one alert names both. An edge is labelled by the alerts' titles, strongest first."""
    entities = incident.entities()[:GRAPH_NODES]
    node_of: dict[EntityKey, str] = {}
    nodes = []
    for number, entity in enumerate(entities):
        node = f"n{number}"
        nodes.append({"id": node, "type": entity.type, "label": entity.label})
        for key in _node_keys(entity):
            node_of.setdefault(key, node)
    edges: dict[tuple[str, str], dict[str, Any]] = {}
    for linked in incident.alerts:
        for source, target in _pairs(linked.alert, node_of):
            edge = edges.setdefault(
                (source, target), {"source": source, "target": target, "label": "", "alert_id": "", "alerts": []}
            )
            title = linked.alert.title or linked.alert.rule
            if not edge["label"]:
                edge["label"], edge["alert_id"] = title, linked.alert.id
            edge["alerts"].append(linked.alert.id)
    return {"nodes": nodes, "edges": list(edges.values()), "left_out": max(0, len(incident.entities()) - GRAPH_NODES)}


def _node_keys(entity: Entity) -> tuple[EntityKey, ...]:
    return (*entity.strong_keys(), *entity.weak_keys(), (entity.type, entity.label.lower()))


def _pairs(alert: Alert, node_of: dict[EntityKey, str]) -> list[tuple[str, str]]:
    """The alert's most actor-like entity points at each other one: a star reads better than every pair."""
    found: list[tuple[int, str]] = []
    for entity in alert.entities:
        node = next((node_of[k] for k in _node_keys(entity) if k in node_of), None)
        if node and node not in (n for _, n in found):
            rank = _ACTORS.index(entity.type) if entity.type in _ACTORS else len(_ACTORS)
            found.append((rank, node))
    if len(found) < 2:
        return []
    found.sort()
    hub = found[0][1]
    return [(hub, node) for _, node in found[1:]]
