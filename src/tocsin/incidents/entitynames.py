"""What a page about a thing is about: the entity of a type and a name, the names under which rows know it, and what alerts say of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tocsin.base.errors import UsageError, did_you_mean
from tocsin.detect.alert import SEVERITIES, Alert
from tocsin.incidents.facts import keys_of
from tocsin.state import AliasRow
from tocsin.tables.aliases import entity_of
from tocsin.tables.entities import Entity, EntityKey

__all__ = ["PAGES", "Subject", "fullest", "names_of", "related_by_alerts", "subject"]

_CALLED: Mapping[str, tuple[str, ...]] = {
    "CloudApplication": ("Name", "AppId"),
    "MailMessage": ("NetworkMessageId",),
    "MailCluster": ("Query",),
    "SubmissionMail": ("SubmissionId",),
    "RegistryKey": ("Key",),
    "RegistryValue": ("Name",),
    "SecurityGroup": ("DistinguishedName", "SID", "ObjectGuid"),
    "Malware": ("Name",),
    "IoTDevice": ("DeviceName", "DeviceId"),
}
"""Types whose things are asked for by one identifier, and which that may be: the first is what people say."""

PAGES = ("Host", "Account", "IP", "File", "URL", "Mailbox", "Process", "AzureResource", *_CALLED)
"""Entity types that have a page."""

_SAME = {
    "FileHash": "File", "DNS": "URL", "Domain": "URL", "Device": "Host", "User": "Account", "Resource": "AzureResource", "Address": "IP",
    "App": "CloudApplication",
}  # fmt: skip
"""Other words for them: types whose page is another's, and what people say."""

_PROCESS = re.compile(r"([^/]+)/(\d+)/(.+)\Z")
_HASH = re.compile(r"(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})\Z", re.IGNORECASE)
_NAMES = frozenset({"Name", "HostName"})
"""Identifiers that are names; the rest are ids."""
_ID_KINDS = frozenset({"DeviceId", "AzureId", "Sid", "ObjectId"})
"""Kinds of an alias's side that are ids."""
LONGEST = 2048
_MOST_NAMES = 60


@dataclass(slots=True)
class Subject:
    """The thing: its type and entity, the names by which rows know it (lower case), what a process's name is made of, and what to warn of."""

    type: str
    entity: Entity
    names: list[str]
    parts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    also: tuple[Entity, ...] = ()
    """What else the name may be: another identifier of the type."""

    @property
    def label(self) -> str:
        """What people call it."""
        return self.entity.label if self.type != "Process" else "/".join(self.parts)

    def keys(self, others: Iterable[Entity] = ()) -> frozenset[EntityKey]:
        """All keys by which an alert may name it."""
        return frozenset(k for e in (self.entity, *self.also, *others) for k in keys_of(e))


def subject(kind: str, name: str) -> Subject:
    """The subject of a page. UsageError USE0050 for a type without a page, USE0051 for a name that can't be one."""
    words = {**{p.lower(): p for p in PAGES}, **{k.lower(): v for k, v in _SAME.items()}}
    found = words.get(kind.lower())
    if found is None:
        raise UsageError(
            f"There is no page for a '{kind}'.",
            code="USE0050",
            hint=did_you_mean(kind, words) or f"There are: {', '.join(PAGES)}.",
        )
    text = name.strip()
    if not text or len(text) > LONGEST:
        raise UsageError(f"A name has 1 to {LONGEST} characters.", code="USE0051")
    match found:
        case "Host":
            host = Entity.host(text)
            return Subject(found, host, _distinct(text, host.label, host.identifiers.get("HostName", "")))
        case "Account":
            return _account(text)
        case "IP":
            address = Entity("IP", {"Address": text})  # ::ffff:8.8.8.8 is 8.8.8.8: rows say either
            return Subject(found, address, _distinct(address.label, text))
        case "Mailbox":
            return Subject(found, Entity("Mailbox", {"MailboxPrimaryAddress": text}), [text.lower()])
        case "File":
            if _HASH.match(text):
                return Subject(found, Entity("FileHash", {"Value": text.lower()}), [text.lower()])
            folder, _, file = text.replace("/", "\\").rpartition("\\") if "\\" in text else text.rpartition("/")
            entity = Entity("File", {"Name": file, "Directory": text[: len(folder)]})
            return Subject(found, entity, [text.lower()])
        case "Process":
            return _process(text)
        case "URL":
            entity = Entity("URL", {"Url": text}) if "://" in text else Entity("DNS", {"DomainName": text})
            return Subject(found, entity, [text.lower()])
        case "AzureResource":
            return Subject(found, Entity("AzureResource", {"ResourceId": text}), [text.lower()])
    return _called(found, text)


def _called(kind: str, text: str) -> Subject:
    """The subject of a type whose things are asked for by one identifier, whichever it is."""
    first, *more = (Entity(kind, {name: text}) for name in _CALLED[kind])
    if kind == "RegistryValue" and "\\" in text:
        key, _, name = text.rpartition("\\")
        more.append(Entity(kind, {"Key": key, "Name": name}))
    return Subject(kind, first, [text.lower()], also=tuple(more))


def _account(text: str) -> Subject:
    if text.upper().startswith("S-1-"):
        return Subject("Account", Entity("Account", {"Sid": text}), [text.lower()])
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text, re.IGNORECASE):
        return Subject("Account", Entity("Account", {"AadUserId": text}), [text.lower()])
    made = Subject("Account", Entity("Account", {"Name": text}), [text.lower()])
    if made.entity.is_built_in:
        made.notes.append("A built-in account: every machine has its own, and what is shown is of all of them.")
    elif not any(c in text for c in "\\@"):
        made.notes.append("A bare name may be several people's; DOMAIN\\name or name@domain is one's.")
    return made


def _process(text: str) -> Subject:
    found = _PROCESS.match(text)
    try:
        start = datetime.fromisoformat(found[3]) if found else None
    except ValueError:
        start = None
    if found is None or start is None:
        raise UsageError(
            "A process is named by host, process id and start.",
            code="USE0051",
            hint="For example ws1/4312/2026-03-01T09:00:00Z.",
        )
    host = found[1].partition(".")[0].lower()
    entity = Entity("Process", {"Host": host, "ProcessId": found[2], "CreationTimeUtc": found[3]})
    return Subject("Process", entity, [host], [host, found[2], found[3]])


def names_of(about: Subject, claims: Sequence[AliasRow]) -> tuple[list[str], list[Entity]]:
    """All names of the subject by what is claimed of it, and the entities of those. An address is no name of a host: it is only for a time."""
    names, others = list(about.names), list[Entity]()
    for claim in claims:
        p = claim.payload
        if "Address" in (p["one_kind"], p["other_kind"]):
            continue
        for kind, text in ((p["one_kind"], claim.one), (p["other_kind"], claim.other)):
            entity = entity_of(claim.type, kind, text)
            others.append(entity)
            names.extend(_distinct(text, entity.label, entity.identifiers.get("HostName", "")))
    return list(dict.fromkeys(names))[:_MOST_NAMES], others


def fullest(about: Subject, claims: Sequence[AliasRow], others: Sequence[Entity]) -> str:
    """Its name for people, where that is known: of a host that was asked for by its bare name the full one, of what was asked for by an id a name."""
    bare = about.label.lower()
    sides = [(c.payload[f"{side}_kind"], getattr(c, side)) for c in claims for side in ("one", "other")]
    if (bare in {text for kind, text in sides if kind in _ID_KINDS}) or not about.entity.identifiers.keys() & _NAMES:
        called = [
            e for e in others if e.type == about.type and e.identifiers.keys() & _NAMES and e.label.lower() != bare
        ]
        # A UPN says more than DOMAIN\\name, a full name more than a bare one.
        called.sort(key=lambda e: (-len(e.identifiers.keys() & {"UPNSuffix", "DnsDomain"}), e.label))
        return called[0].label if called else about.label
    full = [n for n in about.names if about.type == "Host" and n.startswith(f"{bare}.")]
    return full[0] if len(full) == 1 else about.label


def related_by_alerts(alerts: Sequence[Alert], keys: frozenset[EntityKey], most: int = 100) -> list[dict[str, Any]]:
    """The things that its alerts name with it, the most often named first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for alert in alerts:
        for entity in alert.entities:
            if entity.is_built_in or not entity.label or any(k in keys for k in keys_of(entity)):
                continue
            row = found.setdefault(
                (entity.type, entity.label.lower()),
                {
                    "type": entity.type,
                    "name": entity.label,
                    "how": "",
                    "first": alert.time,
                    "last": alert.end,
                    "seen": 0,
                    "rules": {},
                },
            )
            row["first"], row["last"] = min(row["first"], alert.time), max(row["last"], alert.end)
            row["seen"] += 1
            row["rules"][alert.title or alert.rule] = None
    for row in found.values():
        titles = list(row.pop("rules"))
        more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
        row["how"] = f"named with it by '{titles[0]}'{more}"
    return sorted(found.values(), key=lambda r: (-r["seen"], r["type"], r["name"]))[:most]


def worst(alerts: Iterable[Mapping[str, Any]]) -> str:
    """The highest severity; empty where there is none."""
    return max((str(a["severity"]) for a in alerts), key=SEVERITIES.index, default="")


def _distinct(*texts: str) -> list[str]:
    return list(dict.fromkeys(t.lower() for t in texts if t))
