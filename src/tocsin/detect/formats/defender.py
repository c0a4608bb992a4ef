"""Defender XDR's custom detections, as Microsoft Graph exports them (`/security/rules/detectionRules`): one rule, or the `value` of a list;
and as repositories keep them, in JSON or YAML with the rule under ``properties``.

Both shapes that Graph has had are read: `schedule.period` with `impactedAssets` and `mitreTechniques`, and `schedule.frequency` with
`entityMappings`, `tactics` and `eventGroupingKind`. Sources: learn.microsoft.com/graph/api/resources/security-detectionrule,
-alerttemplate, -entitymappingconfiguration; learn.microsoft.com/defender-xdr/custom-detection-rules (look-back by frequency).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from tocsin.base.errors import ContentError, DetectError, did_you_mean
from tocsin.content import Document, Field, RuleFile, Schema, check, is_warning
from tocsin.detect.alert import TACTICS
from tocsin.detect.durations import parse_duration, too_fine
from tocsin.detect.responses import responses_of
from tocsin.detect.rule import (
    CONTINUOUS,
    AlertDetails,
    EntityMapping,
    IncidentSettings,
    Rule,
    RuleKind,
    normal_severity,
)
from tocsin.tables.entities import ENTITY_IDENTIFIERS

__all__ = ["rules_of"]

_HOUR = timedelta(hours=1)
_LOOK_BACK = {24: timedelta(days=30), 12: timedelta(hours=48), 3: timedelta(hours=12), 1: timedelta(hours=4)}
"""How far a detection looks back by its frequency in hours."""

_ENTITIES = {
    "accounts": "Account", "hosts": "Host", "ips": "IP", "urls": "URL", "azureResources": "AzureResource",
    "cloudApplications": "CloudApplication", "dns": "DNS", "files": "File", "fileHashes": "FileHash", "malware": "Malware",
    "malwares": "Malware", "processes": "Process", "registryKeys": "RegistryKey", "registryValues": "RegistryValue",
    "securityGroups": "SecurityGroup", "mailboxes": "Mailbox", "mailClusters": "MailCluster", "mailMessages": "MailMessage",
    "submissionMails": "SubmissionMail", "iotDevices": "IoTDevice",
}  # fmt: skip
_IDENTIFIERS = {
    ("Account", "upn"): "FullName", ("Account", "objectid"): "AadUserId", ("Account", "objectguid"): "ObjectGuid",
    ("Host", "fqdn"): "FullName", ("Host", "name"): "HostName", ("Host", "azureresourceid"): "AzureID",
    ("SecurityGroup", "objectid"): "ObjectGuid", ("Mailbox", "primaryaddress"): "MailboxPrimaryAddress",
    ("File", "folderpath"): "Directory", ("File", "filename"): "Name", ("Process", "id"): "ProcessId",
    ("IP", "ip"): "Address",
}  # fmt: skip
_ASSETS = (
    ("impactedDeviceAsset", "Host", (("Id", "DeviceId"), ("Name", "FullName"))),
    (
        "impactedUserAsset", "Account",
        (("Sid", "Sid"), ("ObjectId", "AadUserId"), ("Upn", "FullName"), ("Domain", "NTDomain"), ("Name", "Name"), ("Id", "AadUserId")),
    ),
    ("impactedMailboxAsset", "Mailbox", (("", "MailboxPrimaryAddress"),)),
)  # fmt: skip


def _severity(text: str) -> str:
    return "" if normal_severity(text) else f"'{text}' isn't one of informational, low, medium, high."


def _duration(text: str) -> str:
    return (
        ""
        if text.strip() == "0" or parse_duration(_iso(text)) is not None
        else f"'{text}' isn't a duration such as 3H or PT3H."
    )


def _iso(text: str) -> str:
    return text.strip()


_TEMPLATE = Schema(
    "alertTemplate",
    {
        "title": Field("text", required=True, nullable=False),
        "description": Field("text"),
        "severity": Field("text", required=True, nullable=False, test=_severity),
        "category": Field("text"),
        "recommendedActions": Field("text"),
        "mitreTechniques": Field("list", item=Field("text")),
        "tactics": Field("list"),
        "impactedAssets": Field("list", item=Field("map")),
        "entityMappings": Field("map"),
        "customDetails": Field("any"),
        "eventGroupingKind": Field("text", choices=("alertPerEvent", "singleAlert")),
    },
    open=True,
)
_RULE = Schema(
    "A custom detection",
    {
        "displayName": Field("text", required=True, nullable=False),
        "isEnabled": Field("bool"),
        "status": Field("text", choices=("enabled", "disabled", "autoDisabled")),
        "queryCondition": Field(
            "map",
            required=True,
            nullable=False,
            schema=Schema("queryCondition", {"queryText": Field("text", required=True, nullable=False)}, open=True),
        ),
        "schedule": Field(
            "map",
            schema=Schema(
                "schedule",
                {
                    "period": Field("text", test=_duration),
                    "frequency": Field("text", test=_duration),
                    "lookback": Field("text", test=_duration),
                },
                open=True,
            ),
        ),
        "detectionAction": Field(
            "map",
            required=True,
            nullable=False,
            schema=Schema(
                "detectionAction",
                {
                    "alertTemplate": Field("map", required=True, nullable=False, schema=_TEMPLATE),
                    "responseActions": Field("list"),
                    "automatedActions": Field("map"),
                },
                open=True,
            ),
        ),
        "incidentConfiguration": Field("map"),
    },
    open=True,
)


def rules_of(file: RuleFile) -> tuple[list[Rule], list[ContentError | DetectError]]:
    """The detections of a file and the complaints about it."""
    document = file.documents[0]
    rules: list[Rule] = []
    problems: list[ContentError | DetectError] = []
    for path in _places(document):
        found = check(document, _RULE, path)
        problems.extend(found)
        if all(is_warning(p) for p in found):
            rule, more = _rule(file, document, path)
            rules.extend(() if rule is None else (rule,))
            problems.extend(more)
    return rules, problems


def _places(document: Document) -> Iterator[tuple[str | int, ...]]:
    listed = document.value.get("value")
    if isinstance(listed, list):
        yield from (("value", i) for i in range(len(listed)))
    elif "queryCondition" not in document.value and isinstance(document.value.get("properties"), dict):
        yield ("properties",)
    else:
        yield ()


def _rule(
    file: RuleFile, document: Document, path: tuple[str | int, ...]
) -> tuple[Rule | None, list[ContentError | DetectError]]:
    value = document.value
    for step in path:
        value = value[step]
    problems: list[ContentError | DetectError] = []
    action = value["detectionAction"]
    template: Mapping[str, Any] = action["alertTemplate"]
    at = (*path, "detectionAction", "alertTemplate")
    tactics, techniques = _attack(document, at, template, problems)
    frequency, period = _schedule(value.get("schedule") or {})
    if fine := too_fine(frequency, period):
        problems.append(document.error(fine, (*path, "schedule"), code="CNT0014", hint="Look back less."))
        return None, problems
    responses, unknown = responses_of(action)
    problems.extend(document.error(text, (*path, "detectionAction"), code="CNT0013") for text in unknown)
    incident = value.get("incidentConfiguration") or {}
    description = str(template.get("description") or "")
    if advice := str(template.get("recommendedActions") or "").strip():
        description = f"{description}\n\nRecommended: {advice}".strip()
    status = str(value.get("status") or "").lower()
    query = str(value["queryCondition"]["queryText"])
    rule = Rule(
        id=str(value.get("id") or value.get("detectorId") or value["displayName"]),
        name=str(value["displayName"]),
        kind=RuleKind.DEFENDER,
        query=query,
        description=description,
        severity=normal_severity(str(template["severity"])) or "Medium",
        enabled=status == "enabled" if status else bool(value.get("isEnabled", True)),
        frequency=frequency,
        period=period,
        tactics=tactics,
        techniques=techniques,
        entity_mappings=tuple(_mappings(document, at, template, problems)),
        custom_details=_details(template.get("customDetails")),
        alert_details=AlertDetails(name_format=str(template["title"])),
        per_result=str(template.get("eventGroupingKind") or "alertPerEvent").lower() != "singlealert",
        incident=IncidentSettings(correlate=not incident.get("isExcludedFromIncidentCorrelation", False)),
        responses=tuple(responses),
        pack=file.pack,
        path=file.path,
        text=file.text,
    )
    return rule, problems


def _schedule(schedule: Mapping[str, Any]) -> tuple[timedelta, timedelta]:
    text = str(schedule.get("frequency") or schedule.get("period") or "24H")
    frequency = timedelta(0) if text.strip() == "0" else parse_duration(text) or timedelta(days=1)
    if not frequency:
        return CONTINUOUS, CONTINUOUS
    given = parse_duration(str(schedule.get("lookback") or ""))
    hours = max((h for h in _LOOK_BACK if _HOUR * h <= frequency), default=1)
    return frequency, max(given or _LOOK_BACK[hours], frequency)


def _attack(
    document: Document,
    path: Sequence[str | int],
    template: Mapping[str, Any],
    problems: list[ContentError | DetectError],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = {t.lower(): t for t in TACTICS}
    tactics: dict[str, None] = {}
    techniques: dict[str, None] = dict.fromkeys(str(t).upper() for t in template.get("mitreTechniques") or ())
    given = [(template.get("category"), "category")] if template.get("category") else []
    for each in template.get("tactics") or ():
        if isinstance(each, Mapping):
            given.append((each.get("tactic"), "tactics"))
            for technique in each.get("techniques") or ():
                techniques[str(technique.get("technique") if isinstance(technique, Mapping) else technique).upper()] = (
                    None
                )
        else:
            given.append((each, "tactics"))
    for name, key in given:
        folded = str(name).replace(" ", "").lower()
        if folded in known:
            tactics[known[folded]] = None
        elif key == "tactics":  # a category may also be Malware or Ransomware, which are no tactics
            problems.append(
                document.error(
                    f"'{name}' isn't a tactic.", (*path, key), code="CNT0013", hint=did_you_mean(str(name), TACTICS)
                )
            )
    return tuple(tactics), tuple(techniques)


def _mappings(
    document: Document,
    path: Sequence[str | int],
    template: Mapping[str, Any],
    problems: list[ContentError | DetectError],
) -> Iterator[EntityMapping]:
    for asset in template.get("impactedAssets") or ():
        column = str(asset.get("identifier") or "")
        column = column[:1].upper() + column[1:]
        for name, kind, endings in _ASSETS:
            if str(asset.get("@odata.type") or "").endswith(name):
                identifier = next((i for ending, i in endings if column.endswith(ending)), "")
                if identifier and column:
                    yield EntityMapping(kind, ((identifier, column),))
    for name, mappings in (template.get("entityMappings") or {}).items():
        entity = _ENTITIES.get(name)
        if entity is None or not isinstance(mappings, list):
            if not name.startswith("@") and mappings:
                problems.append(
                    document.error(
                        f"Entities '{name}' aren't mapped here.",
                        (*path, "entityMappings", name),
                        code="CNT0013",
                        hint=did_you_mean(name, _ENTITIES),
                    )
                )
            continue
        for mapping in mappings:
            fields = tuple(_fields(entity, mapping))
            if fields:
                yield EntityMapping(entity, fields)


def _fields(kind: str, mapping: Any) -> Iterator[tuple[str, str]]:
    known = {i.lower(): i for i in ENTITY_IDENTIFIERS[kind]}
    for key, column in mapping.items() if isinstance(mapping, Mapping) else ():
        name = str(key).removesuffix("Column").lower()
        if key.endswith("Column") and column:
            identifier = _IDENTIFIERS.get((kind, name)) or known.get(name)
            if identifier is not None:
                yield identifier, str(column)


def _details(given: Any) -> dict[str, str]:
    """Custom details by key, given as a mapping or as a list of pairs."""
    if isinstance(given, Mapping):
        inner = next((v for v in given.values() if isinstance(v, list | Mapping)), None)
        if inner is not None:
            return _details(inner)
        return {str(k): str(v) for k, v in given.items() if not str(k).startswith("@") and v}
    if isinstance(given, list):
        pairs = [p for p in given if isinstance(p, Mapping)]
        return {str(p.get("key") or p.get("name")): str(p.get("value") or p.get("column")) for p in pairs}
    return {}
