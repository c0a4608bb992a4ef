"""ATT&CK coverage, honestly: for each technique whether a rule exists, whether the tables that it reads hold rows, and whether it is proven.

Proven means that the rule's own cases pass, or that it has fired. A rule that is switched off covers nothing. The figures are counted anew each time,
so coverage falls when a source goes quiet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.base.errors import TocsinError
from tocsin.detect.alert import TACTICS
from tocsin.detect.rule import Rule, RuleKind
from tocsin.detect.run import Queries, stored_tables

__all__ = ["RuleFacts", "coverage", "navigator_layer", "tables_of_rule"]

_SCORES = {"none": 0, "rule": 25, "data": 60, "proven": 100}


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What coverage knows of a rule. `data` is None where it can't be told (a Sigma rule's source without a lake)."""

    rule: Rule
    tables: frozenset[str]
    data: bool | None
    proven: bool

    @property
    def level(self) -> str:
        """none, rule, data or proven: each includes the one before."""
        if not self.rule.enabled:
            return "none"
        if not self.data:
            return "rule"
        return "proven" if self.proven else "data"


def tables_of_rule(rule: Rule, queries: Queries) -> frozenset[str]:
    """The tables that a rule reads; none for a Sigma rule, and for a query that doesn't compile."""
    if rule.kind is RuleKind.SIGMA:
        return frozenset()
    try:
        return stored_tables(queries.compile(rule.query))
    except TocsinError:
        return frozenset()


def coverage(
    rules: Sequence[Rule],
    *,
    tables: Callable[[Rule], frozenset[str]],
    filled: Collection[str] | None,
    proven: Callable[[Rule], bool],
) -> dict[str, Any]:
    """Techniques by id with their rules and the best level of any, and totals.

    `filled` are the tables that hold rows lately, None where there is no lake to ask; `proven` tells of a rule whose cases pass or that fired.
    """
    facts = []
    for rule in rules:
        read = tables(rule)
        # A rule that joins needs all of its tables; one without tables (Sigma) is fed by a kind of source, not by a table.
        data = None if filled is None else (all(t in filled for t in read) if read else None)
        facts.append(RuleFacts(rule, read, data, proven(rule)))
    techniques: dict[str, dict[str, Any]] = {}
    for fact in facts:
        for technique in fact.rule.techniques:
            entry = techniques.setdefault(
                technique, {"technique": technique, "tactics": [], "rules": [], "level": "none"}
            )
            entry["tactics"] = [t for t in TACTICS if t in {*entry["tactics"], *fact.rule.tactics}]
            entry["rules"].append(
                {
                    "id": fact.rule.id,
                    "name": fact.rule.name,
                    "enabled": fact.rule.enabled,
                    "tables": sorted(fact.tables),
                    "data": fact.data,
                    "proven": fact.proven,
                    "level": fact.level,
                }
            )
            entry["level"] = max(entry["level"], fact.level, key=lambda level: _SCORES[level])
    items = [techniques[t] for t in sorted(techniques)]
    counts = {level: sum(i["level"] == level for i in items) for level in _SCORES}
    return {
        "techniques": items,
        "counts": counts,
        "rules": len(rules),
        "without_technique": sorted(r.name for r in rules if not r.techniques and r.enabled),
    }


def navigator_layer(found: Mapping[str, Any], name: str = "Tocsin") -> dict[str, Any]:
    """A layer file of ATT&CK Navigator (format 4.5): the level as score, the rules as comment."""
    return {
        "name": name,
        "versions": {"attack": "17", "navigator": "5.1.0", "layer": "4.5"},
        "domain": "enterprise-attack",
        "description": "25: a rule exists; 60: and its tables hold rows; 100: and it is proven by its cases or has fired.",
        "techniques": [
            {
                "techniqueID": t["technique"],
                "score": _SCORES[t["level"]],
                "enabled": True,
                "comment": "; ".join(r["name"] for r in t["rules"][:20]),
                "metadata": [{"name": "rules", "value": str(len(t["rules"]))}],
            }
            for t in found["techniques"]
        ],
        "gradient": {"colors": ["#ffffff", "#f6c85f", "#2a9d5c"], "minValue": 0, "maxValue": 100},
        "legendItems": [
            {"label": "a rule exists", "color": "#fbe7b5"},
            {"label": "its tables hold rows", "color": "#c9b35e"},
            {"label": "proven", "color": "#2a9d5c"},
        ],
    }
