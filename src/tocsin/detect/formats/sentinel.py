"""Sentinel analytic rules, unmodified: the YAML of public repositories and the ARM JSON that the portal exports.

Keys, spellings and limits: Azure-Sentinel's schema tests and learn.microsoft.com/azure/sentinel/create-analytics-rules. A limit that only
the product's portal enforces is a warning here, an impossible value is an error. Files that repositories leave where a rule has
moved away (an id and a name, no query) are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tocsin.base.errors import ContentError, DetectError, did_you_mean
from tocsin.content import Document, Field, RuleFile, Schema, check, is_warning, load_rule_file
from tocsin.detect.durations import parse_duration, too_fine
from tocsin.detect.formats import arm, kinds, options
from tocsin.detect.formats.shapes import put_right
from tocsin.detect.rule import (
    EntityMapping,
    Operator,
    Rule,
    RuleKind,
    Windows,
    normal_severity,
)

__all__ = ["load", "rules_of"]

KINDS = ("Scheduled", "NRT", *kinds.KINDS)
OTHER_KINDS = (
    "Fusion", "MLBehaviorAnalytics", "MicrosoftSecurityIncidentCreation", "ThreatIntelligence", "Anomaly", "BlackBox",
    "Undefined",
)  # fmt: skip
OPERATORS: Mapping[str, Operator] = {
    "gt": Operator.GREATER, "greaterthan": Operator.GREATER, "lt": Operator.LESS, "lessthan": Operator.LESS,
    "fewerthan": Operator.LESS, "eq": Operator.EQUAL, "equal": Operator.EQUAL, "equals": Operator.EQUAL,
    "ne": Operator.NOT_EQUAL, "notequal": Operator.NOT_EQUAL, ">": Operator.GREATER, "<": Operator.LESS, "=": Operator.EQUAL,
    "==": Operator.EQUAL, "!=": Operator.NOT_EQUAL,
}  # fmt: skip
LEAST, MOST = timedelta(minutes=5), timedelta(days=14)


def _operator(text: str) -> str:
    return (
        ""
        if text.lower() in OPERATORS
        else f"'{text}' isn't one of gt, lt, eq, ne. {did_you_mean(text, OPERATORS)}".strip()
    )


_FIELDS: dict[str, Field] = {
    "kind": Field("text", choices=(*KINDS, *OTHER_KINDS)),
    "description": Field("text"),
    "status": Field("text"),
    "queryFrequency": Field("text", test=options.duration),
    "queryPeriod": Field("text", test=options.duration),
    "triggerOperator": Field("text", test=_operator),
    "query": Field("text", required=True, nullable=False),
    **options.FIELDS,
    "windows": Field("text", choices=tuple(Windows)),
    **kinds.FIELDS,
    "tags": Field("list"),
    "metadata": Field("map"),
    "version": Field("text"),
    "OriginalUri": Field("text"),
}
YAML_RULE = Schema(
    "A Sentinel rule",
    {
        **_FIELDS,
        "id": Field("text", required=True, nullable=False),
        "name": Field("text", required=True, nullable=False),
        "relevantTechniques": options.TEXTS,
        "techniques": options.TEXTS,
        "subTechniques": options.TEXTS,
    },
)
OWN_RULE = Schema("A rule", {**YAML_RULE.fields, "query": Field("text")})
_OWN = {k.lower() for k in kinds.KINDS}
ARM_RULE = Schema(
    "An alert rule",
    {
        **_FIELDS,
        "displayName": Field("text", required=True, nullable=False),
        "techniques": options.TEXTS,
        "subTechniques": options.TEXTS,
        "alertRuleTemplateName": Field("text"),
        "templateVersion": Field("text"),
        "lastModifiedUtc": Field("text"),
        "startTimeUtc": Field("text"),
    },
)
_LEGACY = (
    ("Account", "FullName", "AccountCustomEntity"), ("Host", "FullName", "HostCustomEntity"),
    ("IP", "Address", "IPCustomEntity"), ("URL", "Url", "URLCustomEntity"), ("FileHash", "Value", "FileHashCustomEntity"),
)  # fmt: skip
_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def load(path: Path, pack: str = "") -> Rule:
    """The only rule of a file.

    Raises the first `ContentError` of a file that is wrong, `DetectError` (DET0002) for a kind that can't run here.
    """
    file, unreadable = load_rule_file(path, pack)
    rules, problems = rules_of(file) if file is not None else ([], [])
    for problem in (*unreadable, *problems):
        if not isinstance(problem, ContentError) or not is_warning(problem):
            raise problem
    if not rules:
        raise ContentError(f"'{path}' holds no rule.", code="CNT0010")
    return rules[0]


def rules_of(file: RuleFile) -> tuple[list[Rule], list[ContentError | DetectError]]:
    """The rules of a Sentinel file and the complaints about it. An ARM template may hold several."""
    document = file.documents[0]
    rules: list[Rule] = []
    problems: list[ContentError | DetectError] = []
    for path, schema, envelope, scope in _places(document):
        if (kind := _other_kind(document, path, envelope)) is not None:
            problems.append(kind)
            continue
        unknown = list(_unknown(document, path, scope)) if scope is not None else []
        if unknown:
            problems.extend(unknown)
            continue
        problems.extend(put_right(document, path))
        found = check(document, _of_kind(document, path, schema), path)
        if any(not is_warning(p) for p in found):
            problems.extend(found)
            continue
        rule, more = _rule(file, document, path, _named(envelope, scope))
        problems.extend([*found, *more])
        if rule is not None:
            rules.append(rule)
    return rules, problems


def _of_kind(document: Document, path: tuple[str | int, ...], schema: Schema) -> Schema:
    """The schema for the rule's kind: our own have a section instead of, or besides, the query."""
    kind = document.value.get("kind") if not path else None
    return OWN_RULE if isinstance(kind, str) and kind.lower() in _OWN else schema


_Place = tuple[tuple[str | int, ...], Schema, Mapping[str, Any], arm.Scope | None]


def _places(document: Document) -> list[_Place]:
    """Where in the document the rules' properties are, the resource around each in ARM, and what its expressions may name."""
    value = document.value
    if isinstance(value.get("resources"), list):
        return [
            ((*path, "properties"), ARM_RULE, resource, scope)
            for path, resource, scope in arm.resources(document)
            if _is_rule(resource)
        ]
    if isinstance(value.get("value"), list):  # what the service lists
        return [
            (("value", index, "properties"), ARM_RULE, resource, None)
            for index, resource in enumerate(value["value"])
            if isinstance(resource, dict) and _is_rule(resource)
        ]
    if isinstance(value.get("properties"), dict):
        return [(("properties",), ARM_RULE, value, None)]
    return [((), YAML_RULE, value, None)]


def _is_rule(resource: Mapping[str, Any]) -> bool:
    """A saved search has a query, too, and is no rule; a rule of a kind that can't run here may have none."""
    properties = resource.get("properties")
    kind = str(resource.get("type") or "").rstrip("/").lower()
    return isinstance(properties, dict) and "query" in properties and not kind.endswith("savedsearches")


def _unknown(document: Document, path: tuple[str | int, ...], scope: arm.Scope) -> Iterator[ContentError]:
    """Puts the values of expressions into a rule; a complaint for each that has none and that the rule needs."""
    for place, why in arm.settle(document, path, scope):
        if place[len(path)] in ARM_RULE.fields:
            yield document.error(
                f"'{place[-1]}' is an expression without a value here: {why}.",
                place,
                code="CNT0012",
                hint="Give the template's parameter a default value, or export the rule from the portal.",
            )


def _named(envelope: Mapping[str, Any], scope: arm.Scope | None) -> Mapping[str, Any]:
    """The resource with the values of its name and id where they have some."""
    named = dict(envelope)
    for key in ("name", "id", "kind") if scope is not None else ():
        if scope is not None and isinstance(named.get(key), str):
            with suppress(arm.UnknownValue):
                named[key] = arm.evaluate(named[key], scope)
    return named


def _rule(
    file: RuleFile, document: Document, path: tuple[str | int, ...], envelope: Mapping[str, Any]
) -> tuple[Rule | None, list[ContentError | DetectError]]:
    value = document.value
    for step in path:
        value = value[step]
    problems: list[ContentError | DetectError] = []
    text = _reader(document, path, value)
    arm = bool(path)
    kind_text = str(envelope.get("kind") or value.get("kind") or "Scheduled")
    kind = next(k for k in KINDS if k.lower() == kind_text.lower())
    if not text("severity"):
        problems.append(document.error("The rule has no severity; Medium is used.", path, code="CNT0013"))

    frequency = parse_duration(text("queryFrequency") or ("1m" if kind == "NRT" else "1h")) or timedelta(hours=1)
    period = parse_duration(text("queryPeriod") or text("queryFrequency") or "1h") or frequency
    if kind == "NRT":
        frequency = period = timedelta(minutes=1)
    elif period < frequency:
        problems.append(
            document.error(
                "The period is shorter than the frequency, so the rule would never see some rows.",
                (*path, "queryPeriod"),
                code="CNT0014",
                hint="Make queryPeriod at least queryFrequency.",
            )
        )
        return None, problems
    elif not (LEAST <= frequency <= MOST and LEAST <= period <= MOST):
        problems.append(
            document.error(
                "Frequency and period lie between 5 minutes and 14 days in Sentinel.",
                (*path, "queryFrequency"),
                code="CNT0013",
            )
        )

    tactics, complaints = options.tactics_of(document, path, value.get("tactics") or ())
    problems.extend(complaints)
    mappings, complaints = options.entity_mappings_of(document, path, value.get("entityMappings") or ())
    problems.extend(complaints)
    query = _query(text("query"), document, path, problems)
    if kind in kinds.KINDS:
        made, complaints = kinds.compile_kind(document, path, kind, value, frequency, period)
        problems.extend(complaints)
        if made is None:
            return None, problems
        query, period = made.query, made.period
    if fine := too_fine(frequency, period):
        problems.append(
            document.error(
                fine, (*path, "queryPeriod"), code="CNT0014", hint="Let it run less often, or look back less."
            )
        )
        return None, problems
    silent = bool(value.get("buildingBlock"))
    if not mappings and not value.get("sentinelEntitiesMappings"):
        mappings = tuple(EntityMapping(t, ((i, c),)) for t, i, c in _LEGACY if re.search(rf"\b{c}\b", query))
    grouping = (value.get("eventGroupingSettings") or {}).get("aggregationKind")
    description = _unquoted(text("description"))
    incident = options.incident_of(value.get("incidentConfiguration") or {}, create=True, description=description)
    connectors = value.get("requiredDataConnectors") or ()
    rule = Rule(
        id=_identifier(envelope, text, arm),
        name=text("displayName") if arm else text("name"),
        kind=RuleKind(kind),
        query=query,
        description=description,
        severity=normal_severity(text("severity")) or "Medium",
        enabled=bool(value.get("enabled", True)),
        frequency=frequency,
        period=period,
        operator=OPERATORS.get(text("triggerOperator").lower(), Operator.GREATER)
        if kind != "NRT"
        else Operator.GREATER,
        threshold=int(value.get("triggerThreshold") or 0) if kind != "NRT" else 0,
        tactics=tactics,
        techniques=options.techniques_of(value),
        tags=(
            *(str(t) for t in value.get("tags") or () if isinstance(t, str)),
            *((options.BUILDING_BLOCK,) if silent else ()),
        ),
        entity_mappings=mappings,
        entities_columns=tuple(str(m["columnName"]) for m in value.get("sentinelEntitiesMappings") or ()),
        custom_details={str(k): str(v) for k, v in (value.get("customDetails") or {}).items() if v is not None},
        alert_details=options.alert_details_of(value.get("alertDetailsOverride") or {}),
        per_result=str(grouping or "").lower() == "alertperresult",
        incident=replace(incident, create=incident.create and not silent),
        suppression=options.suppression_of(value, text("suppressionDuration")),
        windows=next((w for w in Windows if w.lower() == text("windows").lower()), Windows.INGESTION),
        version=text("version") or text("templateVersion"),
        pack=file.pack,
        path=file.path,
        text=file.text,
        connectors=tuple(str(c.get("connectorId", "")) for c in connectors if isinstance(c, dict)),
    )
    return rule, problems


def _other_kind(document: Document, path: tuple[str | int, ...], envelope: Mapping[str, Any]) -> DetectError | None:
    """The refusal of a rule kind that holds no query of its own."""
    kind = envelope.get("kind")
    if not isinstance(kind, str) or kind.lower() not in {k.lower() for k in OTHER_KINDS}:
        return None
    place = document.place((*path[:-1], "kind"))
    return DetectError(
        f"Rules of kind '{kind}' can't run here.",
        code="DET0002",
        place=place,
        hint=f"Rules of kind {', '.join(KINDS)} can.",
    )


def _identifier(envelope: Mapping[str, Any], text: Callable[[str], str], arm: bool) -> str:
    if not arm:
        return text("id")
    guids = _GUID.findall(str(envelope.get("name") or envelope.get("id") or ""))
    return guids[-1] if guids else text("alertRuleTemplateName") or text("displayName")


def _reader(document: Document, path: tuple[str | int, ...], value: Mapping[str, Any]) -> Callable[[str], str]:
    def text(name: str) -> str:
        found = value.get(name)
        if found is None:
            return ""
        return found if isinstance(found, str) else document.raw((*path, name)) or str(found)

    return text


def _query(
    text: str, document: Document, path: tuple[str | int, ...], problems: list[ContentError | DetectError]
) -> str:
    """The query; as a whole in quotes it would be a text that nothing is done with."""
    bare = text.strip()
    if len(bare) > 1 and bare[0] == bare[-1] == "'" and "\n" in bare:
        problems.append(
            document.error("The whole query stands in quotes; they are passed over.", (*path, "query"), code="CNT0013")
        )
        return bare[1:-1]
    return text


def _unquoted(text: str) -> str:
    """Public rules often hold a quoted sentence inside a block scalar."""
    text = text.strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
