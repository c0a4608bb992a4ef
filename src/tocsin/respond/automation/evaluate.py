"""Conditions over an incident as it is now and an event that changed it; reading them aloud; filling in an action's texts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tocsin.detect.alert import SEVERITIES
from tocsin.respond.automation.model import UPDATE_OPERATORS, Condition, ForEach, Group
from tocsin.state import EventRow

__all__ = ["MissingValueError", "chosen_entities", "fill", "holds", "read_aloud"]

Incident = Mapping[str, Any]


class MissingValueError(ValueError):
    """A ``${…}`` that has no value here."""


def holds(conditions: Group | Condition | None, incident: Incident, event: EventRow) -> bool:
    """Whether the conditions hold (None: always)."""
    if conditions is None:
        return True
    if isinstance(conditions, Condition):
        return _condition(conditions, incident, event)
    results = (holds(m, incident, event) for m in conditions.members)
    match conditions.word:
        case "all":
            return all(results)
        case "any":
            return any(results)
        case "none":
            return not any(results)


def _condition(c: Condition, incident: Incident, event: EventRow) -> bool:
    if c.operator in UPDATE_OPERATORS:
        return _change(c, event)
    values = _values(c.property, incident, event)
    if c.operator in ("atLeast", "atMost"):
        return any(_compare(c, v) for v in values)
    negated = c.operator.startswith("not")
    test = _TESTS[c.operator.removeprefix("not").lower()]

    def fits(element: str) -> bool:
        return any(test(element.casefold(), value.casefold()) for value in c.values)

    if not negated:
        return any(fits(v) for v in values)
    if c.match == "any":
        return any(not fits(v) for v in values)
    return not any(fits(v) for v in values)


_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "equals": lambda element, value: element == value,
    "contains": lambda element, value: value in element,
    "startswith": lambda element, value: element.startswith(value),
    "endswith": lambda element, value: element.endswith(value),
}


def _compare(c: Condition, element: str) -> bool:
    if c.property == "severity":
        if element not in SEVERITIES:
            return False
        have, want = float(SEVERITIES.index(element)), float(SEVERITIES.index(c.values[0]))
    else:
        have, want = float(element), float(c.values[0])
    return have >= want if c.operator == "atLeast" else have <= want


def _change(c: Condition, event: EventRow) -> bool:
    change = event.changes.get(c.property)
    if event.kind != "updated" or not isinstance(change, dict):
        return False
    wanted = {v.casefold() for v in c.values}
    match c.operator:
        case "changed":
            return True
        case "changedFrom":
            return str(change.get("from") or "").casefold() in wanted and "from" in change
        case "changedTo":
            return str(change.get("to") or "").casefold() in wanted and "to" in change
        case _:
            added = [str(a) for a in change.get("added") or ()]
            return bool(added) and (not wanted or any(a.casefold() in wanted for a in added))


_OF_ALERTS = {"rules": "rule", "rule_ids": "rule_id", "descriptions": "description", "alerts": "id"}
"""Properties that are a member of each alert."""


def _values(name: str, incident: Incident, event: EventRow) -> list[str]:
    """The property's values as text; a single empty text for what is empty, so that `equals ""` can ask for it."""
    match name:
        case "updated_by":
            return [event.source]
        case _ if name in _OF_ALERTS:
            return _distinct(a.get(_OF_ALERTS[name], "") for a in incident.get("alerts", ()))
        case "comments":
            return [a["text"] for a in incident.get("activity", ()) if a.get("kind") == "comment"]
        case _ if name.startswith("custom."):
            found = [v for a in incident.get("alerts", ()) for v in _listed(a.get("custom_details", {}).get(name[7:]))]
            return _distinct(found)
        case _ if "." in name:
            kind, _, identifier = name.partition(".")
            return _distinct(
                e["label"] if identifier == "label" else e["identifiers"].get(identifier, "")
                for e in incident.get("entities", ())
                if e["type"] == kind and (identifier == "label" or identifier in e["identifiers"])
            )
        case _:
            value = incident.get(name)
            return [str(v) for v in value] if isinstance(value, list | tuple) else ["" if value is None else str(value)]


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, list | tuple) else [str(value)]


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


# --------------------------------------------------------------------------------------------------- actions


def chosen_entities(each: ForEach, incident: Incident) -> list[Mapping[str, Any]]:
    """The entities that a `for_each` means, in the incident's order (the most often named first)."""
    found = [e for e in incident.get("entities", ()) if e["type"] == each.entity and _where(each.where, e)]
    return found[: each.most]


def _where(where: str, entity: Mapping[str, Any]) -> bool:
    if where == "any":
        return True
    try:
        address = ipaddress.ip_address(entity["identifiers"].get("Address", ""))
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if where == "public":
        return address.is_global and not address.is_multicast
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    return not any(address.version == n.version and address in n for n in _INSIDE)


_INSIDE = tuple(
    ipaddress.ip_network(n)
    for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "0.0.0.0/8", "240.0.0.0/4")
)

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_]+)\.([A-Za-z0-9_]+)\}")


def fill(value: Any, scope: Mapping[str, Mapping[str, Any]]) -> Any:
    """The value with every ``${scope.name}`` in its texts replaced; MissingValueError for one that has no value.

    Replaced text is never looked at again, so what an attacker puts into a name stays text.
    """
    if isinstance(value, str):

        def replace(match: re.Match[str]) -> str:
            found = scope.get(match[1], {}).get(match[2])
            if found is None or found == "":
                raise MissingValueError(f"{match[0]} has no value here")
            return str(found)

        return _PLACEHOLDER.sub(replace, value)
    if isinstance(value, Mapping):
        return {k: fill(v, scope) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [fill(v, scope) for v in value]
    return value


# --------------------------------------------------------------------------------------------------- reading aloud

_WORDS = {
    "equals": "is",
    "notEquals": "is not",
    "contains": "contains",
    "notContains": "does not contain",
    "startsWith": "starts with",
    "notStartsWith": "does not start with",
    "endsWith": "ends with",
    "notEndsWith": "does not end with",
    "atLeast": "is at least",
    "atMost": "is at most",
    "changed": "changed",
    "changedFrom": "changed from",
    "changedTo": "changed to",
    "added": "had added",
}


def read_aloud(conditions: Group | Condition | None) -> str:
    """The conditions as a sentence."""
    if conditions is None:
        return "always"
    if isinstance(conditions, Condition):
        values = " or ".join(conditions.values)
        single = f" ({conditions.match})" if conditions.match == "any" and conditions.operator.startswith("not") else ""
        return f"{conditions.property.replace('_', ' ')} {_WORDS[conditions.operator]}{f' {values}' if values else ''}{single}"
    word = {"all": " and ", "any": " or ", "none": " or "}[conditions.word]
    parts = [read_aloud(m) for m in conditions.members]
    parts = [
        f"({p})" if isinstance(m, Group) and len(m.members) > 1 else p
        for p, m in zip(parts, conditions.members, strict=True)
    ]
    joined = word.join(parts)
    return f"not ({joined})" if conditions.word == "none" else joined
