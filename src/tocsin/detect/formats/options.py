"""What a rule of any format may say of its alerts: entities, details, grouping, incidents, suppression. Sentinel's names and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tocsin.base.errors import ContentError, did_you_mean
from tocsin.content import Document, Field, Schema
from tocsin.content.schemas import ENTITY_MAPPING
from tocsin.detect.alert import TACTICS
from tocsin.detect.durations import parse_duration
from tocsin.detect.rule import AlertDetails, EntityMapping, IncidentSettings, normal_severity
from tocsin.tables.entities import ENTITY_IDENTIFIERS

__all__ = ["BUILDING_BLOCK", "FIELDS", "TEXTS", "alert_details_of", "duration", "entity_mappings_of", "incident_of", "suppression_of", "tactics_of",
           "techniques_of"]  # fmt: skip

BUILDING_BLOCK = "building-block"
"""The tag of rules whose alerts only join incidents."""


def duration(text: str) -> str:
    """What is wrong with a duration, empty where nothing is."""
    value = parse_duration(text)
    if value is None:
        return f"'{text}' isn't a duration such as 20m, 1d or PT1H."
    return "" if value > timedelta(0) else "It must be longer than nothing."


def span(text: str) -> str:
    """As `duration`, and nothing is a span, too: what is off has none."""
    return "" if parse_duration(text) is not None else duration(text)


def _severity(text: str) -> str:
    return "" if normal_severity(text) else f"'{text}' isn't one of Informational, Low, Medium, High."


TEXTS = Field("list", item=Field("text"))
FIELDS: Mapping[str, Field] = {
    "severity": Field("text", test=_severity),
    "enabled": Field("bool"),
    "requiredDataConnectors": Field("list"),
    "triggerThreshold": Field("int", least=0, most=10_000),
    "tactics": TEXTS,
    "entityMappings": Field("list", longest=10, item=Field("map", schema=ENTITY_MAPPING, nullable=False)),
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
            {
                "createIncident": Field("bool"),
                "groupingConfiguration": Field("map"),
                "isExcludedFromIncidentCorrelation": Field("bool"),
            },
        ),
    ),
    "suppressionEnabled": Field("bool"),
    "suppressionDuration": Field("text", test=span),
}


def alert_details_of(override: Mapping[str, Any]) -> AlertDetails:
    """What `alertDetailsOverride` says."""
    return AlertDetails(
        name_format=str(override.get("alertDisplayNameFormat") or ""),
        description_format=str(override.get("alertDescriptionFormat") or ""),
        severity_column=str(override.get("alertSeverityColumnName") or ""),
        tactics_column=str(override.get("alertTacticsColumnName") or ""),
        dynamic=tuple(
            (str(p["alertProperty"]), str(p["value"])) for p in override.get("alertDynamicProperties") or () if p
        ),
    )


APART = "#DONT_CORR#"
"""At the head of a rule's description: correlation leaves its alerts alone (Sentinel's mark for it in Defender's portal)."""


def incident_of(incident: Mapping[str, Any], *, create: bool, description: str = "") -> IncidentSettings:
    """What `incidentConfiguration` and the description's mark say; `create` is what holds where they say nothing of it."""
    wanted = incident.get("createIncident")
    apart = incident.get("isExcludedFromIncidentCorrelation") or description.lstrip().upper().startswith(APART)
    return IncidentSettings(
        create=create if wanted is None else bool(wanted),
        correlate=not apart,
        grouping=dict(incident.get("groupingConfiguration") or {}),
    )


def suppression_of(value: Mapping[str, Any], text: str) -> timedelta | None:
    """For how long a rule is silent after an alert; `text` is `suppressionDuration` as written."""
    return (parse_duration(text or "5h") or None) if value.get("suppressionEnabled") else None


def techniques_of(value: Mapping[str, Any]) -> tuple[str, ...]:
    """The techniques of all three fields that name some."""
    named = [t for n in ("relevantTechniques", "techniques", "subTechniques") for t in value.get(n) or ()]
    return tuple(dict.fromkeys(str(t).upper() for t in named))


def tactics_of(
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


def entity_mappings_of(
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
