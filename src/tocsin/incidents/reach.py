"""What could be reached from what an incident holds: its accounts and machines, what these open, and how that is known.

Which rows tell it is content (`packs/*/incidents`, kind `reach`). What is asked here is only put together: each thing once, with all ways to it,
without what the incident reached already; what matters most first. From the things found a second step is taken, of which only what is critical
is told: who holds a machine holds the secrets of those who signed in there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.detect.alert import iso
from tocsin.incidents.entitynames import Subject, names_of
from tocsin.incidents.facts import keys_of
from tocsin.incidents.model import Incident
from tocsin.incidents.priority import LEVELS, Judge
from tocsin.state import AliasRow, Unit
from tocsin.tables.entities import Entity

__all__ = ["MOST_STARTS", "MOST_THINGS", "REACH_KINDS", "Reach", "Start", "starts_of", "window_of", "with_hosts"]

REACH_KINDS = ("Account", "Host")
"""What is reached from."""

MOST_STARTS = 40
"""Things of each kind from which is asked at most, the most often named first."""

MOST_THINGS = 200
"""Things that are told at most, the critical ones first."""

_WAYS = 6
_BEFORE = timedelta(days=30)
_AFTER = timedelta(days=7)


@dataclass(slots=True)
class Start:
    """An account or a machine from which is asked: its names in lower case, `bare` those of them that no domain goes with."""

    entity: Entity
    names: list[str]
    bare: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, str]:
        """The JSON form."""
        return {"type": self.entity.type, "label": self.entity.label}


def window_of(incident: Incident, now: datetime) -> tuple[datetime, datetime]:
    """The time that is looked at: thirty days before the incident to a week after it, or now."""
    return incident.first - _BEFORE, max(min(now, incident.last + _AFTER), incident.last)


def starts_of(unit: Unit, entities: Iterable[Entity]) -> tuple[dict[str, list[Start]], dict[str, int]]:
    """The accounts and machines among things, with all names that aliases give them, by type; and how many of each type are left out."""
    made: dict[str, list[Start]] = {kind: [] for kind in REACH_KINDS}
    left_out = dict.fromkeys(REACH_KINDS, 0)
    for entity in entities:
        if entity.type not in made or entity.is_built_in or not entity.label:
            continue
        if len(made[entity.type]) >= MOST_STARTS:
            left_out[entity.type] += 1
            continue
        made[entity.type].append(_start(unit, entity))
    return made, left_out


def _start(unit: Unit, entity: Entity) -> Start:
    ids = entity.identifiers
    own = [entity.label, *(ids.get(n, "") for n in ("Sid", "AadUserId", "DeviceId"))]
    if entity.type == "Account" and (name := ids.get("Name")):
        own += [f"{ids[d]}\\{name}" for d in ("NTDomain", "DnsDomain") if ids.get(d)]
        own += [f"{name}@{ids['UPNSuffix']}"] if ids.get("UPNSuffix") else []
    names = list(dict.fromkeys(n.lower() for n in own if n))
    beginning = [f"{n}." for n in names if entity.type == "Host" and "." not in n]
    claims = [c for c in unit.aliases.of(names, beginning=beginning) if c.type == entity.type]
    known, _ = names_of(Subject(entity.type, entity, names), claims)
    names = list(dict.fromkeys((*names, *(n.lower() for n in known))))
    whole = any(_is_whole(entity.type, n) for n in names)
    return Start(entity, names, [] if whole else list(names))


def _is_whole(kind: str, name: str) -> bool:
    """Whether a name says whose it is."""
    if kind == "Host":
        return "." in name
    return any(c in name for c in "\\@") or name.startswith("s-1-")


def with_hosts(unit: Unit, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows, those of addresses with the machine instead that had the address then, where aliases name exactly one."""
    addresses = sorted({str(r["Name"]) for r in rows if r.get("Type") == "IP" and r.get("Name")})
    if not addresses:
        return list(rows)
    owners: dict[str, list[AliasRow]] = {}
    for start in range(0, len(addresses), 100):
        for claim in unit.aliases.of(addresses[start : start + 100], limit=2000):
            if claim.type == "Host" and claim.payload["other_kind"] == "Address":
                owners.setdefault(claim.other, []).append(claim)
    made: list[Mapping[str, Any]] = []
    for row in rows:
        last = _time(row.get("Last"))
        hosts = {
            c.one
            for c in owners.get(str(row.get("Name")).lower(), ())
            if last and c.first - timedelta(seconds=c.payload["before"]) <= last < c.until
        }
        if row.get("Type") == "IP" and len(hosts) == 1:
            row = {**row, "Type": "Host", "Name": hosts.pop(), "How": f"{row.get('How')} ({row['Name']})"}
        made.append(row)
    return made


def _time(value: Any) -> datetime | None:
    """A time of a row, which may be text; None for none."""
    try:
        made = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return made if made.tzinfo else made.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Thing:
    entity: Entity
    ways: list[dict[str, Any]]
    critical: str = ""
    why: str = ""
    hops: int = 1


class Reach:
    """What rows told, taken in step by step."""

    def __init__(self, incident: Incident, judge: Judge | None) -> None:
        self._judge = judge or Judge()
        self._held = {k for e in incident.entities() for k in keys_of(e)}
        self._things: list[_Thing] = []
        self._by_key: dict[Any, _Thing] = {}

    def take(self, rows: Iterable[Mapping[str, Any]], source: str, starts: Sequence[Start], *, hops: int = 1) -> None:
        """Rows of a query of content: From, Type, Name, How and, where there are any, First, Last, Seen, Sid and Critical. Of a second step only what
        is critical stays."""
        by_name = {n: s for s in starts for n in s.names}
        by_bare = {n: s for s in starts for n in s.bare}
        for row in rows:
            said = str(row.get("From") or "").lower()
            start = by_name.get(said) or by_bare.get(said)
            entity = _entity(row)
            if start is None or entity is None or self._is_held(entity):
                continue
            known = next((self._by_key[k] for k in keys_of(entity) if k in self._by_key), None)
            if known is None:
                known = _Thing(entity, [], *self._worth(entity, row), hops=hops)
                if hops > 1 and not known.critical:
                    continue
                self._things.append(known)
            elif known.hops < hops:
                continue  # a shorter way is known
            for key in keys_of(entity):
                self._by_key.setdefault(key, known)
            if not known.critical:
                known.critical, known.why = self._worth(entity, row)
            known.ways.append(_way(row, source, start))

    def next_things(self) -> list[Entity]:
        """The accounts and machines of the first step, from which a second one may be taken; the critical ones first."""
        found = [t for t in self._things if t.hops == 1 and t.entity.type in REACH_KINDS]
        return [t.entity for t in sorted(found, key=_order)]

    def to_dict(self) -> dict[str, Any]:
        """The things, the critical ones first and then those of the most ways, and how many are left out."""
        things = sorted(self._things, key=_order)
        counts: dict[str, int] = {}
        for thing in things:
            counts[thing.entity.type] = counts.get(thing.entity.type, 0) + 1
        return {
            "things": [_told(t) for t in things[:MOST_THINGS]],
            "counts": counts,
            "critical": sum(bool(t.critical) for t in things),
            "left_out": max(0, len(things) - MOST_THINGS),
        }

    def _is_held(self, entity: Entity) -> bool:
        return any(k in self._held for k in keys_of(entity))

    def _worth(self, entity: Entity, row: Mapping[str, Any]) -> tuple[str, str]:
        """How much it matters, and why: by an asset rule, or by what the row itself says."""
        asset = self._judge.asset_of(entity) if entity.type in REACH_KINDS else None
        if asset is not None and asset.level:
            return asset.level, asset.rule
        said = str(row.get("Critical") or "")
        return ("high", said) if said else ("", "")


def _entity(row: Mapping[str, Any]) -> Entity | None:
    """The thing that a row names; None for none, and for an account that every machine has."""
    kind, name = str(row.get("Type") or ""), str(row.get("Name") or "").strip()
    if not kind or not name:
        return None
    match kind:
        case "Host":
            return Entity.host(name)
        case "Account":
            return Entity.account(name, Sid=str(row.get("Sid") or ""))
        case "IP":
            return Entity("IP", {"Address": name})
        case "Mailbox":
            return Entity("Mailbox", {"MailboxPrimaryAddress": name})
        case "CloudApplication":
            return Entity("CloudApplication", {"Name": name})
        case "AzureResource":
            return Entity("AzureResource", {"ResourceId": name})
        case _:
            return Entity("SecurityGroup", {"DistinguishedName": name})


def _way(row: Mapping[str, Any], source: str, start: Start) -> dict[str, Any]:
    return {
        "from": start.to_dict(),
        "how": str(row.get("How") or ""),
        "first": _moment(row.get("First")),
        "last": _moment(row.get("Last")),
        "seen": int(row.get("Seen") or 0),
        "source": source,
    }


def _told(thing: _Thing) -> dict[str, Any]:
    ways = sorted(thing.ways, key=lambda w: (-w["seen"], w["from"]["label"], w["source"]))
    return {
        "type": thing.entity.type,
        "label": thing.entity.label,
        "critical": thing.critical,
        "why_critical": thing.why,
        "hops": thing.hops,
        "ways": ways[:_WAYS],
        "ways_left_out": max(0, len(ways) - _WAYS),
    }


def _order(thing: _Thing) -> tuple[Any, ...]:
    rank = LEVELS.index(thing.critical) if thing.critical in LEVELS else len(LEVELS)
    return (rank, thing.hops, -len({w["from"]["label"] for w in thing.ways}), thing.entity.type, thing.entity.label)


def _moment(value: Any) -> str | None:
    made = _time(value)
    return iso(made) if made else None
