"""Alerts: what a rule says about rows. The same input gives the same alert, its id included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tocsin.tables.aliases import Alias
from tocsin.tables.entities import Entity

__all__ = ["SEVERITIES", "TACTICS", "Alert", "Evidence", "iso"]

SEVERITIES = ("Informational", "Low", "Medium", "High")
"""Sentinel's severities, weakest first. Sigma's critical is High with the tag ``critical``."""

TACTICS = (
    "Reconnaissance", "ResourceDevelopment", "InitialAccess", "Execution", "Persistence", "PrivilegeEscalation",
    "DefenseEvasion", "CredentialAccess", "Discovery", "LateralMovement", "Collection", "CommandAndControl",
    "Exfiltration", "Impact", "ImpairProcessControl", "InhibitResponseFunction",
)  # fmt: skip
"""ATT&CK's tactics in the order of a kill chain, spelt as Sentinel spells them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A row that proves an alert: its table (or source kind) and its named values, JSON-able; empty values left out."""

    table: str
    row: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"table": self.table, "row": dict(self.row)}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    `time` and `end` are the first and last event's time; `created` is when the rule said it (the window's end). `events` holds at most a
    bounded number of rows, `count` says how many there were. `product` names the maker, for example Tocsin or Sigma.
    """

    id: str
    rule_id: str
    rule: str
    time: datetime
    end: datetime
    severity: str
    created: datetime
    tactics: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    entities: tuple[Entity, ...] = ()
    events: tuple[Evidence, ...] = ()
    count: int = 1
    title: str = ""
    description: str = ""
    product: str = "Tocsin"
    custom_details: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    correlate: bool = True
    create_incident: bool = True
    properties: Mapping[str, str] = field(default_factory=dict)
    """What the rule took from the results for SecurityAlert's columns: AlertLink, ConfidenceLevel, RemediationSteps and the like."""
    aliases: tuple[Alias, ...] = ()
    """What its entities were known as when it happened: recorded with it, so that it joins the same incident again."""
    shared: tuple[str, ...] = ()
    """Addresses of its that many people shared when it was filed: recorded with it for the same reason."""

    @property
    def said_by(self) -> str:
        """What stands for its rule where alerts are compared and counted: the rule's id; of a rule that passes on what other products say
        (the dynamic property AlertType), that product's own kind of alert, of which one rule says many."""
        kind = self.properties.get("AlertType")
        return f"{self.rule_id}/{kind}" if kind else self.rule_id

    @property
    def opens(self) -> bool:
        """Whether it opens an incident where it joins none: its rule's alerts do, and it is more than information."""
        return self.create_incident and self.severity != SEVERITIES[0]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that scan, API and state share."""
        return {
            "id": self.id,
            "rule": self.rule,
            "rule_id": self.rule_id,
            "title": self.title or self.rule,
            "time": iso(self.time),
            "end": iso(self.end),
            "created": iso(self.created),
            "severity": self.severity,
            "tactics": list(self.tactics),
            "techniques": list(self.techniques),
            "entities": [e.to_dict() for e in self.entities],
            "events": [e.to_dict() for e in self.events],
            "count": self.count,
            "description": self.description,
            "product": self.product,
            "custom_details": dict(self.custom_details),
            "tags": list(self.tags),
            **({"properties": dict(self.properties)} if self.properties else {}),
            **({"aliases": [a.to_dict() for a in self.aliases]} if self.aliases else {}),
            **({"shared": list(self.shared)} if self.shared else {}),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Alert:
        """The alert of a `to_dict` form."""
        return cls(
            id=raw["id"],
            rule_id=raw["rule_id"],
            rule=raw["rule"],
            title=raw.get("title", ""),
            time=datetime.fromisoformat(raw["time"]),
            end=datetime.fromisoformat(raw["end"]),
            created=datetime.fromisoformat(raw["created"]),
            severity=raw["severity"],
            tactics=tuple(raw["tactics"]),
            techniques=tuple(raw["techniques"]),
            entities=tuple(Entity.from_dict(e) for e in raw["entities"]),
            events=tuple(Evidence(e["table"], e["row"]) for e in raw["events"]),
            count=raw.get("count", 1),
            description=raw.get("description", ""),
            product=raw.get("product", "Tocsin"),
            custom_details=raw.get("custom_details", {}),
            tags=tuple(raw.get("tags", ())),
            properties=raw.get("properties", {}),
            aliases=tuple(Alias.from_dict(a) for a in raw.get("aliases", ())),
            shared=tuple(raw.get("shared", ())),
        )


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC with a Z, microseconds only where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
