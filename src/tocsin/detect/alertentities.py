"""Entities of alerts that other products made: the `Entities` column of SecurityAlert and its like.

Microsoft's form (learn.microsoft.com/azure/sentinel/entities-reference, "version 3"): a list of objects with a `Type`, which refer to each other by
``$id`` and ``{"$ref": …}``: a process names its host and its file so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from tocsin.detect.entities import make, text
from tocsin.tables.entities import ENTITY_IDENTIFIERS, Entity

__all__ = ["entities_of_column"]

MANY = 500
_LONGEST = 1 << 20

_TYPES = {
    **{kind.lower(): kind for kind in ENTITY_IDENTIFIERS},
    "user": "Account", "device": "Host", "machine": "Host", "dnsresolution": "DNS", "mailfile": "File", "application": "CloudApplication",
    "oauthapplication": "CloudApplication", "iotentity": "IoTDevice",
}  # fmt: skip
"""Types by what columns call them, without hyphens and blanks."""

_NAMED = {
    "Host": ("HostName", "NetBiosName", "FullName"),
    "File": ("Name",),
    "RegistryKey": ("Key",),
    "Account": ("Name",),
}
"""What a thing is called where another refers to it by an identifier: the first that is there."""


def entities_of_column(value: Any) -> list[Entity]:
    """The entities of such a column, a list or its JSON text; what is no such thing makes none."""
    parts = [p for p in _listed(value)[:MANY] if isinstance(p, Mapping)]
    known = {str(p["$id"]): p for p in parts if "$id" in p}
    found: list[Entity] = []
    for part in parts:
        kind = _kind(part)
        if kind is None:
            continue
        found.extend(make(kind, _identifiers(kind, part, known)))
        found.extend(_hashes(part, known))
    return list(dict.fromkeys(found))


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str) and value.lstrip().startswith("[") and len(value) <= _LONGEST:
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return []
    return value if isinstance(value, list) else []


def _kind(part: Mapping[str, Any]) -> str | None:
    return _TYPES.get(str(part.get("Type", "")).lower().replace("-", "").replace(" ", "").replace("_", ""))


def _identifiers(kind: str, part: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    ids: dict[str, str] = {}
    for name in ENTITY_IDENTIFIERS[kind]:
        value = part.get(name)
        if isinstance(value, Mapping):
            value = _called(_referred(value, known))
        if told := text(value):
            ids[name] = told
    match kind:
        case "Host" if "DeviceId" not in ids:
            ids["DeviceId"] = text(part.get("MdatpDeviceId"))
        case "Process" if isinstance(parent := part.get("ParentProcess"), Mapping):
            ids.setdefault("ParentProcessId", text(_referred(parent, known).get("ProcessId")))
        case "File":
            values = sorted((text(h.get("Value")) for h in _hashes_of(part, known)), key=lambda v: (-len(v), v))
            ids.setdefault("FileHash", next(iter(values), ""))  # the longest names it best
        case "MailMessage":
            ids.setdefault("Sender", text(part.get("P2Sender") or part.get("P1Sender")))
    return ids


def _referred(value: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    return known.get(str(value["$ref"]), {}) if "$ref" in value else value


def _called(part: Mapping[str, Any]) -> str:
    """What a thing that another refers to is called."""
    kind = _kind(part) or ("Host" if "HostName" in part or "NetBiosName" in part else "File" if "Name" in part else "")
    name = next((told for n in _NAMED.get(kind, ()) if (told := text(part.get(n)))), "")
    match kind:
        case "Host" if name and (domain := text(part.get("DnsDomain"))):
            return f"{name}.{domain}"
        case "File" if name and (folder := text(part.get("Directory"))):
            return f"{folder.rstrip('/' if '/' in folder else chr(92))}{'/' if '/' in folder else chr(92)}{name}"
        case "RegistryKey" if name and (hive := text(part.get("Hive"))):
            return f"{hive}\\{name}"
    return name


def _hashes(part: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> Iterator[Entity]:
    """Hashes that stand within a file; those that are referred to are entities of the list anyway."""
    for hashed in _hashes_of(part, known):
        yield from make("FileHash", {"Algorithm": text(hashed.get("Algorithm")), "Value": text(hashed.get("Value"))})


def _hashes_of(part: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for each in _listed(part.get("FileHashes"))[:MANY]:
        if isinstance(each, Mapping):
            yield _referred(each, known)
