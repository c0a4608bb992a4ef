"""What a Sigma rule may say beyond Sigma: Sentinel's options, under the top-level key ``tocsin`` that other tools pass over.

The specification lets documents have keys of their own. A rule has the block itself, or, where the rule is somebody else's and stays as it
is, a document of its own names rules by id or name, as Sigma's filters do::

    title: What we want of these rules
    tocsin:
      rules: [one-rule's-id, another_rule's_name]
      suppressionEnabled: true
      suppressionDuration: 1h

A document wins over a rule's own block, a later one over an earlier; what people set by tuning wins over both. Unlike a Sentinel file's, unknown
keys are refused: nothing else will read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from tocsin.base.errors import ContentError, DetectError, TocsinError, did_you_mean
from tocsin.content import Document, Field, Schema, check
from tocsin.detect.formats import options
from tocsin.detect.rule import IncidentSettings, Rule, normal_severity

__all__ = ["KEY", "Given", "apply_given", "changes_of", "is_options", "read_given", "with_changes"]

KEY = "tocsin"
_FIELDS: dict[str, Field] = {
    **options.FIELDS,
    "relevantTechniques": options.TEXTS,
    "techniques": options.TEXTS,
    "subTechniques": options.TEXTS,
    "buildingBlock": Field("bool"),
}
_BLOCK = Schema(f"The block '{KEY}'", _FIELDS)
_DOCUMENT = Schema(f"The block '{KEY}'", {**_FIELDS, "rules": Field("any", required=True)})


@dataclass(frozen=True, slots=True)
class Given:
    """Options for rules of other documents: their ids or names, None for all."""

    rules: tuple[str, ...] | None
    changes: Mapping[str, Any]
    document: Document


def is_options(raw: Mapping[str, Any]) -> bool:
    """Whether a document only gives options to others' rules."""
    return KEY in raw and not raw.keys() & {"detection", "correlation", "filter"}


def changes_of(document: Document, raw: Mapping[str, Any]) -> dict[str, Any]:
    """What a rule's own block says, for `with_changes`. Raises the first ContentError or DetectError of a wrong one."""
    return _changes(document, raw, _BLOCK) if KEY in raw else {}


def read_given(document: Document, raw: Mapping[str, Any]) -> Given:
    """A document of options. Raises as `changes_of`."""
    changes = _changes(document, raw, _DOCUMENT)
    named = raw[KEY]["rules"]
    if isinstance(named, str) and named.lower() == "any":
        return Given(None, changes, document)
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise document.error("'rules' is a list of rules' ids or names, or 'any'.", (KEY, "rules"), code="CNT0011")
    return Given(tuple(names), changes, document)


def apply_given(given: Iterable[Given], rules: dict[str, Rule], names: Mapping[str, str]) -> Iterator[TocsinError]:
    """Puts documents of options into force; gives a complaint about each that names rules which aren't here."""
    for each in given:
        wanted = set(rules if each.rules is None else [names.get(n) or names.get(n.lower(), "") for n in each.rules])
        for rule_id in wanted & rules.keys():
            rules[rule_id] = with_changes(rules[rule_id], each.changes)
        missing = [n for n in each.rules or () if n not in names and n.lower() not in names]
        if missing:
            yield DetectError(
                f"The options name rules that aren't here: {', '.join(missing)}.",
                code="DET0010",
                place=each.document.place((KEY, "rules")),
                hint=did_you_mean(missing[0], names),
            )


def with_changes(rule: Rule, changes: Mapping[str, Any]) -> Rule:
    """The rule with what a block says."""
    plain = dict(changes)
    silent = plain.pop("building_block", None)
    create, grouping, correlate = (plain.pop(n, None) for n in ("create_incident", "grouping", "correlate"))
    incident = rule.incident
    if silent is not None:
        others = tuple(t for t in rule.tags if t != options.BUILDING_BLOCK)
        plain["tags"] = (*others, options.BUILDING_BLOCK) if silent else others
        incident = replace(incident, create=not silent)
    if create is not None:
        incident = replace(incident, create=create and not silent)
    if correlate is not None:
        incident = replace(incident, correlate=correlate)
    if grouping is not None:
        incident = replace(incident, grouping=grouping)
    return replace(rule, incident=incident, **plain)


def _changes(document: Document, raw: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    merged = document
    if document.value.get(KEY) != raw[KEY]:  # `action: global` and `repeat` hand it on: its place is the document's
        merged = copy(document)
        merged.value = raw
    for problem in check(merged, schema, (KEY,)):
        raise ContentError(
            problem.message,
            code="CNT0012" if problem.code == "CNT0013" else problem.code,
            place=problem.place,
            hint=problem.hint,
        )
    block: Mapping[str, Any] = raw[KEY]
    found: dict[str, Any] = {}
    for names, read in _READERS:
        if any(block.get(n) is not None for n in names):
            found.update(read(merged, block))
    return found


def _tactics(document: Document, block: Mapping[str, Any]) -> dict[str, Any]:
    found, problems = options.tactics_of(document, (KEY,), block["tactics"])
    _raise(problems)
    return {"tactics": found}


def _entities(document: Document, block: Mapping[str, Any]) -> dict[str, Any]:
    found, problems = options.entity_mappings_of(document, (KEY,), block["entityMappings"])
    _raise(problems)
    return {"entity_mappings": found}


def _raise(problems: Iterable[ContentError]) -> None:
    for problem in problems:
        raise problem


def _grouping(_: Document, block: Mapping[str, Any]) -> dict[str, Any]:
    """Without it hits of one rule on the same hosts and accounts are one alert; SingleAlert: hits on whatever; AlertPerResult: none."""
    each = str(block["eventGroupingSettings"].get("aggregationKind") or "").lower() == "alertperresult"
    return {"per_result": each, "each_hit": each}


def _suppression(document: Document, block: Mapping[str, Any]) -> dict[str, Any]:
    written = document.raw((KEY, "suppressionDuration")) or str(block.get("suppressionDuration") or "")
    return {"suppression": options.suppression_of(block, written)}


def _incident(_: Document, block: Mapping[str, Any]) -> dict[str, Any]:
    said = block["incidentConfiguration"]
    made: IncidentSettings = options.incident_of(said, create=True)
    found: dict[str, Any] = {}
    if said.get("createIncident") is not None:
        found["create_incident"] = made.create
    if said.get("isExcludedFromIncidentCorrelation") is not None:
        found["correlate"] = made.correlate
    if said.get("groupingConfiguration") is not None:
        found["grouping"] = made.grouping
    return found


_READERS: tuple[tuple[tuple[str, ...], Any], ...] = (
    (("severity",), lambda _, b: {"severity": normal_severity(str(b["severity"])) or "Medium"}),
    (("enabled",), lambda _, b: {"enabled": b["enabled"]}),
    (("triggerThreshold",), lambda _, b: {"threshold": b["triggerThreshold"]}),
    (("tactics",), _tactics),
    (
        ("relevantTechniques", "techniques", "subTechniques"),
        lambda _, b: {"techniques": options.techniques_of(b)},
    ),
    (("entityMappings",), _entities),
    (
        ("sentinelEntitiesMappings",),
        lambda _, b: {"entities_columns": tuple(str(m["columnName"]) for m in b["sentinelEntitiesMappings"])},
    ),
    (
        ("customDetails",),
        lambda _, b: {"custom_details": {str(k): str(v) for k, v in b["customDetails"].items() if v is not None}},
    ),
    (
        ("alertDetailsOverride",),
        lambda _, b: {"alert_details": options.alert_details_of(b["alertDetailsOverride"])},
    ),
    (("eventGroupingSettings",), _grouping),
    (("incidentConfiguration",), _incident),
    (("buildingBlock",), lambda _, b: {"building_block": b["buildingBlock"]}),
    (("suppressionEnabled", "suppressionDuration"), _suppression),
    (
        ("requiredDataConnectors",),
        lambda _, b: {
            "connectors": tuple(str(c.get("connectorId", "")) for c in b["requiredDataConnectors"] if isinstance(c, dict))
        },
    ),
)  # fmt: skip
