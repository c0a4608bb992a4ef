"""Aliases: that two identifiers mean one thing for a time, as rows told it, and how sure that is.

An address is a host's for as long as it has it; a SID, a UPN and ``DOMAIN\\name`` are one account's. What an alert is joined by an alias for
keeps the alias itself, with the row that taught it, so that the join can be explained and made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tocsin.tables.entities import Entity, EntityKey

__all__ = ["ALIAS_KINDS", "Alias", "entity_of", "joining_keys"]

ALIAS_KINDS: Mapping[str, tuple[str, ...]] = {
    "Host": ("Name", "DeviceId", "AzureId", "Address"),
    "Account": ("Upn", "Sid", "ObjectId", "Name", "Mailbox"),
}
"""By entity type, the kinds of identifier that an alias may pair."""

_BARE = frozenset({"name"})


@dataclass(frozen=True, slots=True)
class Alias:
    """`entity` was `other` from `start` until `end` (not included). `source` names what taught it, `row` is the row that did."""

    entity: Entity
    other: Entity
    start: datetime
    end: datetime
    confidence: float
    source: str
    row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The alias as a reason says it."""
        sure = f"{self.confidence:.2f}".rstrip("0").rstrip(".")
        return (
            f"{self.entity.label} was {self.other.label} from {_moment(self.start)} to {_moment(self.end)}, "
            f"learned from {self.source}, confidence {sure}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "entity": self.entity.to_dict(),
            "other": self.other.to_dict(),
            "from": _iso(self.start),
            "to": _iso(self.end),
            "confidence": round(self.confidence, 4),
            "source": self.source,
            "row": dict(self.row),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Alias:
        """The alias of a `to_dict` form."""
        return cls(
            Entity.from_dict(raw["entity"]),
            Entity.from_dict(raw["other"]),
            datetime.fromisoformat(raw["from"]),
            datetime.fromisoformat(raw["to"]),
            float(raw["confidence"]),
            str(raw["source"]),
            raw.get("row") or {},
        )


def entity_of(entity_type: str, kind: str, text: str, scope: str = "") -> Entity:
    """The entity that an identifier of that kind names. Raises ValueError for a kind that the type doesn't have."""
    match entity_type, kind:
        case "Host", "Name":
            return Entity.host(text)
        case "Host", "DeviceId":
            return Entity("Host", {"DeviceId": text})
        case "Host", "AzureId":
            return Entity("Host", {"AzureID": text})
        case "Host", "Address":
            return Entity("IP", {"Address": text, "AddressScope": scope})
        case "Account", "Upn" | "Name":
            return Entity("Account", {"Name": text})
        case "Account", "Sid":
            return Entity("Account", {"Sid": text})
        case "Account", "ObjectId":
            return Entity("Account", {"AadUserId": text})
        case "Account", "Mailbox":
            return Entity("Mailbox", {"MailboxPrimaryAddress": text})
    raise ValueError(f"a {entity_type} has no identifier of kind {kind}")


def joining_keys(entity: Entity) -> tuple[EntityKey, ...]:
    """The keys of an entity by which an alias is found, and by which it joins: all but a bare name, which is anybody's."""
    return tuple(k for k in (*entity.strong_keys(), *entity.weak_keys()) if k[0] not in _BARE)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
