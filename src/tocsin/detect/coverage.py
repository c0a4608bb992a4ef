"""ATT&CK coverage, honestly: for each technique whether a rule exists, whether the tables that it reads hold rows, and whether it is proven.

Three facts that don't follow from each other: a rule can be proven by its cases where no source feeds it, and can be fed without ever having been
proven. Proven means that the rule's own cases pass, or that it has fired. Only a rule of which both hold covers a technique in full. A rule that is
switched off covers nothing. The figures are counted anew each time, so coverage falls when a source goes quiet. What no rule names is a gap, and
told too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.base.errors import TocsinError
from tocsin.content import Technique, full_name
from tocsin.detect.alert import TACTICS
from tocsin.detect.rule import Rule, RuleKind
from tocsin.detect.run import Queries, stored_tables

__all__ = ["RuleFacts", "coverage", "navigator_layer", "tables_of_rule"]

_SCORES = {"none": 0, "rule": 25, "proven": 50, "data": 60, "full": 100}
"""Levels, from nothing to all, with their score in a layer of ATT&CK Navigator."""


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What coverage knows of a rule. `data` is None where it can't be told (a Sigma rule's source without a lake)."""

    rule: Rule
    tables: frozenset[str]
    data: bool | None
    proven: bool

    @property
    def sources(self) -> list[str]:
        """What feeds the rule: its tables, of a Sigma rule the kinds of source whose events it looks at."""
        return sorted(self.tables or {binding.source for binding in getattr(self.rule.compiled, "bindings", ())})

    @property
    def level(self) -> str:
        """none (switched off), rule (nothing more), proven (no rows in its tables), data (rows, no proof) or full (both)."""
        if not self.rule.enabled:
            return "none"
        if self.data:
            return "full" if self.proven else "data"
        return "proven" if self.proven else "rule"


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
    fed: Callable[[Rule], bool | None] = lambda _: None,
    attack: Mapping[str, Technique] | None = None,
) -> dict[str, Any]:
    """Techniques by id with their rules and the best level of any, and totals: `counts` by level, `facts` by what holds of some rule that is on.

    `filled` are the tables that hold rows lately, None where there is no lake to ask; `proven` tells of a rule whose cases pass or that fired;
    `fed` of a rule without tables (Sigma) whether events of its kind came lately, None where that isn't known. `attack` are ATT&CK's techniques: a
    technique's name and tactics are theirs where they know it, else the tactics are those of its rules; `gaps` are theirs that no rule names,
    a parent only when none names a sub-technique of it either.
    """
    known = attack or {}
    facts = []
    for rule in rules:
        read = tables(rule)
        # A rule that joins needs all of its tables; one without tables (Sigma) is fed by a kind of source, not by a table.
        data = None if filled is None else (all(t in filled for t in read) if read else fed(rule))
        facts.append(RuleFacts(rule, read, data, proven(rule)))
    techniques: dict[str, dict[str, Any]] = {}
    for fact in facts:
        for technique in fact.rule.techniques:
            entry = techniques.setdefault(
                technique,
                {
                    "technique": technique,
                    "name": full_name(technique, known),
                    "tactics": [],
                    "rules": [],
                    "level": "none",
                },
            )
            named = known[technique].tactics if technique in known else (*entry["tactics"], *fact.rule.tactics)
            entry["tactics"] = [t for t in TACTICS if t in named]
            entry["rules"].append(
                {
                    "id": fact.rule.id,
                    "name": fact.rule.name,
                    "enabled": fact.rule.enabled,
                    "pack": fact.rule.pack,
                    "tables": sorted(fact.tables),
                    "sources": fact.sources,
                    "data": fact.data,
                    "proven": fact.proven,
                    "level": fact.level,
                }
            )
            entry["level"] = max(entry["level"], fact.level, key=lambda level: _SCORES[level])
    items = [techniques[t] for t in sorted(techniques)]
    for item in items:
        on = [r for r in item["rules"] if r["enabled"]]
        item["facts"] = {
            "rule": bool(on),
            "data": any(r["data"] for r in on),
            "proven": any(r["proven"] for r in on),
        }
    touched = {*techniques, *(t.partition(".")[0] for t in techniques)}
    gaps = [
        {"technique": t.id, "name": full_name(t.id, known), "tactics": list(t.tactics)}
        for t in sorted(known.values(), key=lambda t: t.id)
        if t.id not in touched
    ]
    counts = {level: sum(i["level"] == level for i in items) for level in _SCORES}
    return {
        "techniques": items,
        "gaps": gaps,
        "counts": counts,
        "facts": {fact: sum(i["facts"][fact] for i in items) for fact in ("rule", "data", "proven")},
        "rules": len(rules),
        "without_technique": sorted(r.name for r in rules if not r.techniques and r.enabled),
    }


def navigator_layer(found: Mapping[str, Any], name: str = "Tocsin") -> dict[str, Any]:
    """A layer file of ATT&CK Navigator (format 4.5): the level as score, the rules as comment."""
    return {
        "name": name,
        "versions": {"attack": "17", "navigator": "5.1.0", "layer": "4.5"},
        "domain": "enterprise-attack",
        "description": "25: a rule exists; 50: and it is proven by its cases or has fired, but its tables hold no rows; 60: its tables hold rows, "
        "but it isn't proven; 100: both.",
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
            {"label": "a rule exists", "color": "#fbe4b0"},
            {"label": "proven, without rows", "color": "#f6c85f"},
            {"label": "rows, without proof", "color": "#cdbf5e"},
            {"label": "rows and proof", "color": "#2a9d5c"},
        ],
    }
