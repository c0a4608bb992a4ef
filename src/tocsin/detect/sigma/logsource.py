"""Where a rule's log source is found: source kinds, channels and event ids, and how Sigma's field names map to the source's.

The facts stand in `logsources.toml`. Names without a mapping are looked up as they are, then without case, blanks and punctuation
(``ThreatName`` finds Defender's ``Threat Name``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tocsin.detect.sigma.checks import Text
from tocsin.detect.sigma.tree import TRUE, All, Leaf, Node, Some
from tocsin.ingest.eventlogs import name_key
from tocsin.tables.kinds import KINDS

__all__ = ["Binding", "bindings", "plain_name"]

_NO_FIELDS: Mapping[str, str] = MappingProxyType({})
_SYSMON = "sysmon"
"""The service whose events Sigma's categories are named after: a rule that names no product means them."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One place where events of a log source are found.

    `channels` (their `name_key`) and `events` narrow Windows events, None means all. `fields` maps Sigma's names in lower case to the source's names
    or computed ones (``@…``). `where` must hold besides the rule; its fields are the source's own.
    """

    source: str
    channels: frozenset[str] | None = None
    events: frozenset[int] | None = None
    fields: Mapping[str, str] = field(default_factory=lambda: _NO_FIELDS)
    where: Node = TRUE


@lru_cache(maxsize=16_384)
def plain_name(name: str) -> str:
    """A field name without case, blanks and punctuation."""
    return "".join(c for c in name.lower() if c.isalnum())


@lru_cache(maxsize=4096)
def bindings(product: str | None, category: str | None, service: str | None) -> tuple[Binding, ...]:
    """The places of a log source, none where no source that Tocsin reads has such events."""
    product, category, service = ((v or "").lower() for v in (product, category, service))
    facts = _facts()
    found: Iterable[Binding] = ()
    if product == "windows":
        found = _windows(category, service)
    elif product == "linux":
        found = _linux(category, service)
    elif product == "zeek":
        found = [_place({"zeek": service, "fields": facts["zeek"].get(service, {})})] if service else []
    elif product == "macos" and (tables := [p for p in facts["windows"].get(category, ()) if "table" in p]):
        found = map(_place, tables)
    elif product in facts["products"]:
        by = facts["products"][product]
        found = map(_place, by.get(service) or by.get(f":{category}") or ())
    elif not product and category in facts["any"]:
        found = map(_place, facts["any"][category])
    elif not product and not category and service in facts["syslog"]:
        found = _syslog(service)
    elif not product and any(p.get("service") == _SYSMON for p in facts["windows"].get(category, ())):
        found = [*_windows(category, ""), *_linux(category, "")]
    return tuple(found)


def _windows(category: str, service: str) -> list[Binding]:
    facts = _facts()
    if service and service not in facts["services"]:
        return []
    if not category:
        return [_place({"source": "windows", "fields": "data", **({"service": service} if service else {})})]
    found = list(map(_place, facts["windows"].get(category, ())))
    if not service:
        return found
    # A category narrowed by a service: the category's events in that service's channels only.
    channels = frozenset(map(name_key, facts["services"][service]))
    return [b for b in found if b.channels is None or b.channels & channels]


def _linux(category: str, service: str) -> list[Binding]:
    if service == "auditd":
        return [_place({"source": "audit", "fields": "audit"})]
    if service == _SYSMON:
        return [_place({"source": "sysmon_linux"})]
    if service:
        return _syslog(service)
    if category:
        return list(map(_place, _facts()["linux"].get(category, ())))
    return [_place({"source": "syslog"}), _place({"source": "audit", "fields": "audit"})]


def _syslog(service: str) -> list[Binding]:
    names = _facts()["syslog"].get(service)
    if names is None:
        return []
    begins = Some(tuple(Leaf("ProcessName", Text("start", n.lower())) for n in names))
    return [Binding(KINDS.syslog, where=begins if names else TRUE)]


def _place(place: Mapping[str, Any]) -> Binding:
    """A place of `logsources.toml`."""
    facts = _facts()
    given = place.get("fields", {})
    fields = facts["fields"][given] if isinstance(given, str) else given
    channels = [*place.get("channels", ()), *(facts["services"][place["service"]] if "service" in place else ())]
    wanted = [_any_of(name, values) for name, values in place.get("where", {}).items()]
    return Binding(
        f"table.{place['table']}"
        if "table" in place
        else f"zeek.{place['zeek']}"
        if "zeek" in place
        else getattr(KINDS, place["source"]),
        frozenset(map(name_key, channels)) or None,
        frozenset(place["events"]) if "events" in place else None,
        fields or _NO_FIELDS,
        wanted[0] if len(wanted) == 1 else All(tuple(wanted)) if wanted else TRUE,
    )


def _any_of(name: str, values: Iterable[str]) -> Node:
    made = tuple(Leaf(name, Text("eq", v.lower())) for v in values)
    return made[0] if len(made) == 1 else Some(made)


@cache
def _facts() -> Mapping[str, Any]:
    read: Mapping[str, Any] = tomllib.loads(Path(__file__).with_name("logsources.toml").read_text("utf-8"))
    return read


def narrowed(binding: Binding, tree: Node) -> Node:
    """A rule's tree with the binding's own condition."""
    return tree if binding.where == TRUE else All((binding.where, tree))
