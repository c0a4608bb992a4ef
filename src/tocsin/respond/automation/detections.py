"""Proposals that detections themselves ask for: each response of a rule for what its new alerts name, once an incident."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tocsin.detect.responses import Response
from tocsin.detect.rule import Rule
from tocsin.state import EventRow, Unit

__all__ = ["MOST_TARGETS", "RuleOf", "responding", "wanted"]

MOST_TARGETS = 10
"""Different targets of one response of an alert that are proposed. More of them is a rule that nobody should let act."""

RuleOf = Callable[[str], Rule | None]


def responding(unit: Unit, event: EventRow, rule_of: RuleOf) -> list[dict[str, Any]]:
    """Of the alerts that an event brought into its incident, and that are still there, those whose rules ask for something."""
    if event.kind == "created":
        made_by = unit.incidents.alert_rules(event.incident_id)
        chosen = [a for a, rule_id in made_by.items() if _asks(rule_of(rule_id))]
        found = unit.incidents.alerts_by_id(chosen)
        return [found[a] for a in chosen if a in found]
    added = [str(a) for a in (event.changes.get("alerts") or {}).get("added") or ()]
    found = {a: p for a, p in unit.incidents.alerts_by_id(added).items() if _asks(rule_of(str(p.get("rule_id") or "")))}
    holders = unit.incidents.holders(list(found))
    return [found[a] for a in added if a in found and holders.get(a) == event.incident_id]


def _asks(rule: Rule | None) -> bool:
    return rule is not None and bool(rule.responses)


def wanted(alerts: Iterable[Mapping[str, Any]], rule_of: RuleOf) -> Iterator[tuple[Rule, dict[str, Any], str]]:
    """What the rules of those alerts ask for: the rule, the input of the action kind `responder`, and a comment."""
    for alert in alerts:
        rule = rule_of(str(alert.get("rule_id") or ""))
        for response in rule.responses if rule is not None else ():
            assert rule is not None
            targets = list(_targets(response, alert))
            more = len(targets) - MOST_TARGETS
            comment = f"The detection '{rule.name}' asks for it."
            if more > 0:
                comment += f" The alert names {more} more."
            for target in targets[:MOST_TARGETS]:
                given = {"do": response.action, "target": target, "options": dict(response.options)}
                yield rule, given, comment


def _targets(response: Response, alert: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The different things that the alert's rows name; a row that lacks one of the columns names none."""
    seen: set[tuple[str, ...]] = set()
    for event in alert.get("events", ()):
        row = event.get("row") or {}
        values = tuple(str(row.get(c) or "").strip() for c in response.columns)
        if all(values) and values not in seen:
            seen.add(values)
            yield dict(zip(response.columns, values, strict=True))
