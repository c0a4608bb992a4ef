"""Sentinel analytic rules, unmodified: the YAML of public repositories and the ARM JSON that the portal exports.

Keys, spellings and limits: Azure-Sentinel's schema tests and learn.microsoft.com/azure/sentinel/create-analytics-rules. A limit that only
the product's portal enforces is a warning here, an impossible value is an error. Files that repositories leave where a rule has
moved away (an id and a name, no query) are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from tocsin.base.errors import ContentError, DetectError, did_you_mean
from tocsin.content import Document, Field, RuleFile, Schema, check, is_warning, load_rule_file
from tocsin.detect.alert import TACTICS
from tocsin.detect.durations import parse_duration, too_fine
from tocsin.detect.formats import kinds
from tocsin.detect.rule import (
    AlertDetails,
    EntityMapping,
    IncidentSettings,
    Operator,
    Rule,
    RuleKind,
    Windows,
    normal_severity,
)
from tocsin.tables.entities import ENTITY_IDENTIFIERS

__all__ = ["load", "rules_of"]

KINDS = ("Scheduled", "NRT", *kinds.KINDS)
OTHER_KINDS = (
    "Fusion", "MLBehaviorAnalytics", "MicrosoftSecurityIncidentCreation", "ThreatIntelligence", "Anomaly", "BlackBox",
    "Undefined",
)  # fmt: skip
OPERATORS: Mapping[str, Operator] = {
    "gt": Operator.GREATER, "greaterthan": Operator.GREATER, "lt": Operator.LESS, "lessthan": Operator.LESS,
    "fewerthan": Operator.LESS, "eq": Operator.EQUAL, "equal": Operator.EQUAL, "equals": Operator.EQUAL,
    "ne": Operator.NOT_EQUAL, "notequal": Operator.NOT_EQUAL,
}  # fmt: skip
LEAST, MOST = timedelta(minutes=5), timedelta(days=14)


def _duration(text: str) -> str:
    value = parse_duration(text)
    if value is None:
        return f"'{text}' isn't a duration such as 20m, 1d or PT1H."
    return "" if value > timedelta(0) else "It must be longer than nothing."


def _operator(text: str) -> str:
    return (
        ""
        if text.lower() in OPERATORS
        else f"'{text}' isn't one of gt, lt, eq, ne. {did_you_mean(text, OPERATORS)}".strip()
    )


def _severity(text: str) -> str:
    return "" if normal_severity(text) else f"'{text}' isn't one of Informational, Low, Medium, High."


_TEXTS = Field("list", item=Field("text"))
_MAPPING = Schema(
    "An entity mapping",
    {
        "entityType": Field("text", required=True),
        "fieldMappings": Field(
            "list",
            required=True,
            item=Field(
                "map",
                nullable=False,
                schema=Schema(
                    "A field mapping",
                    {"identifier": Field("text", required=True), "columnName": Field("text", required=True)},
                ),
            ),
        ),
    },
)
_FIELDS: dict[str, Field] = {
    "kind": Field("text", choices=(*KINDS, *OTHER_KINDS)),
    "description": Field("text"),
    "severity": Field("text", test=_severity),
    "status": Field("text"),
    "enabled": Field("bool"),
    "requiredDataConnectors": Field("list"),
    "queryFrequency": Field("text", test=_duration),
    "queryPeriod": Field("text", test=_duration),
    "triggerOperator": Field("text", test=_operator),
    "triggerThreshold": Field("int", least=0, most=10_000),
    "tactics": _TEXTS,
    "query": Field("text", required=True, nullable=False),
    "entityMappings": Field("list", longest=10, item=Field("map", schema=_MAPPING, nullable=False)),
    "sentinelEntitiesMappings": Field(
        "list", item=Field("map", schema=Schema("A mapping", {"columnName": Field("text", required=True)}))
    ),
    "customDetails": Field("map", longest=20, item=Field("text")),
    "alertDetailsOverride": Field(
        "map",
        schema=Schema(
            "alertDetailsOverride",
            {
                "alertDisplayNameFormat": Field("text"),
                "alertDescriptionFormat": Field("text"),
                "alertSeverityColumnName": Field("text"),
                "alertTacticsColumnName": Field("text"),
                "alertDynamicProperties": Field(
                    "list",
                    item=Field(
                        "map",
                        schema=Schema(
                            "A dynamic property",
                            {"alertProperty": Field("text", required=True), "value": Field("text", required=True)},
                        ),
                    ),
                ),
            },
        ),
    ),
    "eventGroupingSettings": Field(
        "map",
        schema=Schema(
            "eventGroupingSettings",
            {"aggregationKind": Field("text", choices=("SingleAlert", "AlertPerResult"))},
        ),
    ),
    "incidentConfiguration": Field(
        "map",
        schema=Schema(
            "incidentConfiguration",
            {"createIncident": Field("bool"), "groupingConfiguration": Field("map")},
        ),
    ),
    "windows": Field("text", choices=tuple(Windows)),
    **kinds.FIELDS,
    "suppressionEnabled": Field("bool"),
    "suppressionDuration": Field("text", test=_duration),
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
        "relevantTechniques": _TEXTS,
        "techniques": _TEXTS,
        "subTechniques": _TEXTS,
    },
)
OWN_RULE = Schema("A rule", {**YAML_RULE.fields, "query": Field("text")})
_OWN = {k.lower() for k in kinds.KINDS}
ARM_RULE = Schema(
    "An alert rule",
    {
        **_FIELDS,
        "displayName": Field("text", required=True, nullable=False),
        "techniques": _TEXTS,
        "subTechniques": _TEXTS,
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
    for path, schema, envelope in _places(document):
        if (kind := _other_kind(document, path, envelope)) is not None:
            problems.append(kind)
            continue
        found = check(document, _of_kind(document, path, schema), path)
        if any(not is_warning(p) for p in found):
            problems.extend(found)
            continue
        rule, more = _rule(file, document, path, envelope)
        problems.extend([*found, *more])
        if rule is not None:
            rules.append(rule)
    return rules, problems


def _of_kind(document: Document, path: tuple[str | int, ...], schema: Schema) -> Schema:
    """The schema for the rule's kind: our own have a section instead of, or besides, the query."""
    kind = document.value.get("kind") if not path else None
    return OWN_RULE if isinstance(kind, str) and kind.lower() in _OWN else schema


def _places(document: Document) -> list[tuple[tuple[str | int, ...], Schema, Mapping[str, Any]]]:
    """Where in the document the rules' properties are, and the resource around each in ARM."""
    value = document.value
    if isinstance(value.get("resources"), list):
        return [
            (("resources", i, "properties"), ARM_RULE, r)
            for i, r in enumerate(value["resources"])
            if isinstance(r, dict) and "query" in (r.get("properties") or {})
        ]
    if isinstance(value.get("properties"), dict):
        return [(("properties",), ARM_RULE, value)]
    return [((), YAML_RULE, value)]


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

    tactics, complaints = _tactics(document, path, value.get("tactics") or ())
    problems.extend(complaints)
    mappings, complaints = _entity_mappings(document, path, value.get("entityMappings") or ())
    problems.extend(complaints)
    query = text("query")
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
    override = value.get("alertDetailsOverride") or {}
    grouping = (value.get("eventGroupingSettings") or {}).get("aggregationKind")
    incident = value.get("incidentConfiguration") or {}
    suppression = parse_duration(text("suppressionDuration") or "5h") if value.get("suppressionEnabled") else None
    techniques = [
        *(value.get("relevantTechniques") or ()),
        *(value.get("techniques") or ()),
        *(value.get("subTechniques") or ()),
    ]
    connectors = value.get("requiredDataConnectors") or ()
    rule = Rule(
        id=_identifier(envelope, text, arm),
        name=text("displayName") if arm else text("name"),
        kind=RuleKind(kind),
        query=query,
        description=_unquoted(text("description")),
        severity=normal_severity(text("severity")) or "Medium",
        enabled=bool(value.get("enabled", True)),
        frequency=frequency,
        period=period,
        operator=OPERATORS.get(text("triggerOperator").lower(), Operator.GREATER)
        if kind != "NRT"
        else Operator.GREATER,
        threshold=int(value.get("triggerThreshold") or 0) if kind != "NRT" else 0,
        tactics=tactics,
        techniques=tuple(dict.fromkeys(str(t).upper() for t in techniques)),
        tags=(
            *(str(t) for t in value.get("tags") or () if isinstance(t, str)),
            *(("building-block",) if silent else ()),
        ),
        entity_mappings=mappings,
        entities_columns=tuple(str(m["columnName"]) for m in value.get("sentinelEntitiesMappings") or ()),
        custom_details={str(k): str(v) for k, v in (value.get("customDetails") or {}).items() if v is not None},
        alert_details=AlertDetails(
            name_format=str(override.get("alertDisplayNameFormat") or ""),
            description_format=str(override.get("alertDescriptionFormat") or ""),
            severity_column=str(override.get("alertSeverityColumnName") or ""),
            tactics_column=str(override.get("alertTacticsColumnName") or ""),
            dynamic=tuple(
                (str(p["alertProperty"]), str(p["value"])) for p in override.get("alertDynamicProperties") or () if p
            ),
        ),
        per_result=str(grouping or "").lower() == "alertperresult",
        incident=IncidentSettings(
            create=bool(incident.get("createIncident", True)) and not silent,
            grouping=dict(incident.get("groupingConfiguration") or {}),
        ),
        suppression=suppression,
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


def _tactics(
    document: Document, path: Sequence[str | int], values: Sequence[Any]
) -> tuple[tuple[str, ...], list[ContentError]]:
    known = {t.lower(): t for t in TACTICS}
    found: dict[str, None] = {}
    problems = []
    for index, value in enumerate(values):
        name = str(value).replace(" ", "").replace("-", "").replace("_", "").lower()
        if name in known:
            found[known[name]] = None
        else:
            problems.append(
                document.error(
                    f"'{value}' isn't a tactic.",
                    (*path, "tactics", index),
                    code="CNT0013",
                    hint=did_you_mean(str(value), TACTICS),
                )
            )
    return tuple(found), problems


def _entity_mappings(
    document: Document, path: Sequence[str | int], values: Sequence[Any]
) -> tuple[tuple[EntityMapping, ...], list[ContentError]]:
    types = {t.lower(): t for t in ENTITY_IDENTIFIERS}
    mappings = []
    problems = []
    for index, value in enumerate(values):
        here = (*path, "entityMappings", index)
        kind = types.get(str(value["entityType"]).lower())
        if kind is None:
            problems.append(
                document.error(
                    f"'{value['entityType']}' isn't an entity type.",
                    (*here, "entityType"),
                    code="CNT0013",
                    hint=did_you_mean(str(value["entityType"]), ENTITY_IDENTIFIERS),
                )
            )
            continue
        identifiers = {i.lower(): i for i in ENTITY_IDENTIFIERS[kind]}
        fields = []
        for at, part in enumerate(value["fieldMappings"]):
            identifier = identifiers.get(str(part["identifier"]).lower())
            if identifier is None:
                problems.append(
                    document.error(
                        f"{kind} has no identifier '{part['identifier']}'.",
                        (*here, "fieldMappings", at, "identifier"),
                        code="CNT0013",
                        hint=did_you_mean(str(part["identifier"]), ENTITY_IDENTIFIERS[kind]),
                    )
                )
                identifier = str(part["identifier"])
            fields.append((identifier, str(part["columnName"])))
        mappings.append(EntityMapping(kind, tuple(fields)))
    return tuple(mappings), problems


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


def _unquoted(text: str) -> str:
    """Public rules often hold a quoted sentence inside a block scalar."""
    text = text.strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
