"""Entities of result rows: by a rule's mappings, or from columns whose meaning the catalogue's tables fix.

A value that names nothing (``-``, ``N/A``, an all-zero address) makes no entity, and neither does a built-in account given by its name alone:
incidents would merge on SYSTEM.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from tocsin.detect.rule import EntityMapping
from tocsin.tables.entities import Entity
from tocsin.tables.entitykeys import hash_algorithm

__all__ = ["EntitySet", "derive_entities", "make", "map_entities", "process_time", "text"]

Row = Mapping[str, Any]

MANY = 50
"""Most entities that one mapping makes of a list in one row."""

_NOTHING = frozenset({"", "-", "--", "n/a", "none", "null", "unknown", "[]", "{}", "nan"})


@dataclass(slots=True)
class EntitySet:
    """Distinct entities in the order in which they came, at most `limit`; `dropped` counts the rest."""

    limit: int = 500
    found: dict[Entity, None] = field(default_factory=dict)
    dropped: int = 0

    def add(self, entities: Iterable[Entity]) -> None:
        """Adds those that aren't there."""
        for entity in entities:
            if entity in self.found:
                continue
            if len(self.found) >= self.limit:
                self.dropped += 1
            else:
                self.found[entity] = None

    def entities(self) -> tuple[Entity, ...]:
        """All, processes and local accounts completed by the host where there is one only."""
        return complete(tuple(self.found))


def map_entities(mappings: Sequence[EntityMapping], row: Row) -> list[Entity]:
    """The entities that a rule's mappings find in a row. A column that holds a list makes one entity of each element.

    Most rules map a process by its number and command line; what else the row tells of it is added, since without its start and its host it
    would be any process of that number.
    """
    found: list[Entity] = []
    for mapping in mappings:
        values = [(identifier, row.get(column)) for identifier, column in mapping.fields]
        longest = max((len(v) for _, v in values if isinstance(v, list)), default=None)
        if longest is None:
            found.extend(make(mapping.type, {i: text(v) for i, v in values}))
            continue
        for index in range(min(longest, MANY)):
            picked = {
                i: text(v[index] if isinstance(v, list) and index < len(v) else None if isinstance(v, list) else v)
                for i, v in values
            }
            found.extend(make(mapping.type, picked))
    return list(dict.fromkeys(_with_row(found, row)))


def _with_row(entities: Sequence[Entity], row: Row) -> Iterator[Entity]:
    """The entities of a row, its processes and files on the host that it names, if that is one, and its processes with what well-known columns say of
    the same."""
    host = _only_host(entities)
    told: list[Entity] | None = None
    for entity in entities:
        if entity.type == "Process":
            told = list(dict.fromkeys(_processes(row, host))) if told is None else told
            same = [t.identifiers for t in told if _same_process(entity.identifiers, t.identifiers)]
            if len(same) == 1:
                entity = Entity("Process", {**same[0], **entity.identifiers})
        yield _placed(entity, host)


def _placed(entity: Entity, host: str) -> Entity:
    """The entity, a process or file that tells none on that host; "" for none."""
    if not host or entity.type not in ("Process", "File") or "Host" in entity.identifiers:
        return entity
    return Entity(entity.type, {**entity.identifiers, "Host": host})


def _only_host(entities: Iterable[Entity]) -> str:
    hosts = {e.label for e in entities if e.type == "Host"}
    return next(iter(hosts)) if len(hosts) == 1 else ""


def _same_process(mapped: Mapping[str, str], told: Mapping[str, str]) -> bool:
    """Whether nothing speaks against it, and the number or the command line for it."""
    both = [i for i in ("ProcessId", "CommandLine", "CreationTimeUtc") if i in mapped and i in told]
    return both[:1] not in ([], ["CreationTimeUtc"]) and all(mapped[i] == told[i] for i in both)


def make(kind: str, identifiers: Mapping[str, str]) -> Iterator[Entity]:
    """The entity of those identifiers, normalised, or nothing where they name nothing."""
    ids = {k: v for k, v in identifiers.items() if v}
    if not ids:
        return
    made: Entity | None = None
    match kind:
        case "Account":
            full = ids.pop("FullName", "")
            name = ids.pop("Name", "") or full
            domain = ids.pop("NTDomain", "") or ids.pop("DnsDomain", "")
            made = Entity.account(name, domain, **ids)
        case "Host":
            name = ids.pop("FullName", "") or ids.get("HostName", "") or ids.get("NetBiosName", "")
            if name:
                ids.pop("HostName", None)
                made = Entity.host(name, **ids)
            else:
                made = Entity("Host", ids)
        case "IP":
            address = _address(ids.get("Address", ""))
            made = Entity("IP", {**ids, "Address": address}) if address else None
        case "FileHash":
            value = ids.get("Value", "")
            made = Entity(
                "FileHash", {"Algorithm": ids.get("Algorithm") or hash_algorithm(value), "Value": value.lower()}
            )
            made = made if value.strip("0") else None
        case "File":
            directory, name = split_path(ids.get("Directory", ""), ids.get("Name", ""))
            hashed = {"FileHash": value.lower()} if (value := ids.pop("FileHash", "")).strip("0") else {}
            made = Entity("File", {**ids, **hashed, "Directory": directory, "Name": name}) if name else None
        case "Process":
            for number in ("ProcessId", "ParentProcessId"):
                if number in ids:
                    ids[number] = _decimal(ids[number])
            if "CreationTimeUtc" in ids:
                ids["CreationTimeUtc"] = process_time(ids["CreationTimeUtc"])
            made = Entity("Process", ids)
        case _:
            made = Entity(kind, ids)
    if made is not None and made.identifiers and not made.is_built_in:
        yield made


def complete(entities: Sequence[Entity]) -> tuple[Entity, ...]:
    """Gives processes and files without a host the only host of the set: a process is one thing on one host only. Leaves out the accounts of
    machines that are hosts of the set: ``CONTOSO\\WS1$`` on WS1 is what SYSTEM is called there. A file of which one row tells the hash and another
    doesn't is one."""
    machines = {e.identifiers.get("HostName", e.label).lower() for e in entities if e.type == "Host"}
    kept = [e for e in entities if not (e.type == "Account" and _is_machine(e, machines))]
    host = _only_host(kept)
    kept = [_placed(e, host) for e in kept]
    hashed = {_place(e) for e in kept if e.type == "File" and "FileHash" in e.identifiers}
    return tuple(
        dict.fromkeys(e for e in kept if e.type != "File" or "FileHash" in e.identifiers or _place(e) not in hashed)
    )


def _place(file: Entity) -> tuple[str, ...]:
    return tuple(file.identifiers.get(k, "").lower() for k in ("Directory", "Name", "Host"))


def _is_machine(entity: Entity, machines: Collection[str]) -> bool:
    name = entity.identifiers.get("Name", "")
    return name.endswith("$") and name[:-1].lower() in machines


# ---------------------------------------------------------------------------------------------- well-known columns


@cache
def _columns() -> Mapping[str, Any]:
    """`entities.toml`: columns by the part that they play."""
    read: Mapping[str, Any] = tomllib.loads(Path(__file__).with_name("entities.toml").read_text("utf-8"))
    return read


def derive_entities(row: Row) -> list[Entity]:
    """The entities of a row whose rule maps none, from columns that mean the same in every catalogue table."""
    columns = _columns()

    def first(names: Sequence[str]) -> str:
        return next((found for n in names if (found := text(row.get(n)))), "")

    found: list[Entity] = []
    host = first(columns["hosts"])
    if host:
        found.extend(make("Host", {"FullName": host, "DeviceId": text(row.get(columns["device"]))}))
    found.extend(_accounts(row))
    for column in columns["addresses"]:
        found.extend(make("IP", {"Address": text(row.get(column))}))
    for column in columns["urls"]:
        found.extend(make("URL", {"Url": text(row.get(column))}))
    found.extend(_mail(row))
    found.extend(_processes(row, host))
    algorithm, value = next(
        ((e.get("algorithm", ""), told) for e in columns["hashes"] if (told := text(row.get(e["column"])))), ("", "")
    )
    for each in columns["files"]:
        if file := text(row.get(each["name"])):
            ids = {"Directory": text(row.get(each.get("directory"))), "Name": file, "Host": host}
            found.extend(make("File", {**ids, "FileHash": value if each.get("hashed") else ""}))
    if value:
        found.extend(make("FileHash", {"Algorithm": algorithm, "Value": value}))
    registry = columns["registry"]
    if key := text(row.get(registry["key"])):
        found.extend(make("RegistryKey", {"Key": key}))
        found.extend(make("RegistryValue", {"Key": key, "Name": text(row.get(registry["value"]))}))
    found.extend(_targets(row))
    application = columns["application"]
    if app := first(application["names"]):
        found.extend(make("CloudApplication", {"AppId": text(row.get(application["id"])), "Name": app}))
    if query := first(columns["domains"]):
        found.extend(make("DNS", {"DomainName": query.rstrip(".").lower()}))
    if resource := first(columns["resources"]):
        found.extend(make("AzureResource", {"ResourceId": resource}))
    return list(dict.fromkeys(found))


def _accounts(row: Row) -> Iterator[Entity]:
    columns = _columns()
    for each in columns["accounts"]:
        ids = {"Sid": text(row.get(each.get("sid"))), "AadUserId": text(row.get(each.get("id")))}
        given, full = text(row.get(each.get("name"))), text(row.get(each.get("upn")))
        realm = text(row.get(each.get("domain")))
        if "@" in full:
            user, _, suffix = full.partition("@")
            yield from make(
                "Account", {**ids, "Name": user, "UPNSuffix": suffix, "NTDomain": "" if "@" in given else realm}
            )
        elif given:
            yield from make("Account", {**ids, "Name": given, "NTDomain": realm})
    user = text(row.get(columns["user"]))
    if "@" in user:
        yield from make("Account", {"Name": user})
    by = _mapping(_mapping(row.get(columns["audit"]["by"])).get("user"))
    if "@" in (name := text(by.get("userPrincipalName"))):
        yield from make("Account", {"Name": name, "AadUserId": text(by.get("id"))})


def _targets(row: Row) -> Iterator[Entity]:
    """The applications and people that Entra's audit log says something was done to."""
    value = row.get(_columns()["audit"]["to"])
    if isinstance(value, str) and value.startswith("["):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return
    for target in value[:MANY] if isinstance(value, list) else ():
        part = _mapping(target)
        match text(part.get("type")):
            case "Application" | "ServicePrincipal":
                if name := text(part.get("displayName")):
                    yield from make("CloudApplication", {"Name": name})
            case "User":
                if "@" in (name := text(part.get("userPrincipalName"))):
                    yield from make("Account", {"Name": name, "AadUserId": text(part.get("id"))})


def _mail(row: Row) -> Iterator[Entity]:
    mail = _columns()["mail"]
    recipient = text(row.get(mail["recipient"]))
    if "@" in recipient:
        yield from make("Mailbox", {"MailboxPrimaryAddress": recipient.lower()})
    if message := text(row.get(mail["message"])):
        yield from make(
            "MailMessage",
            {
                "NetworkMessageId": message,
                "Recipient": recipient,
                "Subject": text(row.get(mail["subject"])),
                "Sender": text(row.get(mail["sender"])),
            },
        )


def _processes(row: Row, host: str) -> Iterator[Entity]:
    for each in _columns()["processes"]:
        number = text(row.get(each["pid"]))
        line = text(row.get(each["command"]))
        if (not number and not line) or number in ("0", "4"):
            continue
        if not line and not each.get("bare", True):
            continue
        created, parent = text(row.get(each["created"])), text(row.get(each.get("parent")))
        if (start := each.get("start")) and row.get(start["column"]) == start["value"]:
            created = created or next((t for n in start["times"] if (t := text(row.get(n)))), "")
            parent = parent or text(row.get(start["parent"]))
        yield from make(
            "Process",
            {
                "ProcessId": number,
                "ParentProcessId": parent,
                "CommandLine": line,
                "CreationTimeUtc": created,
                "ImageFile": text(row.get(each["image"])),
                "Host": host,
            },
        )


# ---------------------------------------------------------------------------------------------- values


def text(value: Any) -> str:
    """A value as an identifier's text; empty for one that names nothing."""
    if value is None or isinstance(value, dict | list | bool):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    result = str(value).strip()
    return "" if result.lower() in _NOTHING else result


def split_path(directory: str, name: str) -> tuple[str, str]:
    """Directory and file name. Defender's FolderPath holds the file name too; a name may be a whole path."""
    if not directory and ("\\" in name or name.startswith("/")):
        directory, name = name, ""
    separator = "\\" if "\\" in directory else "/"
    head, _, tail = directory.rpartition(separator)
    if not name or tail.lower() == name.lower():
        return head, name or tail
    return directory.rstrip(separator) or directory, name


def _mapping(value: Any) -> Mapping[str, Any]:
    """A dynamic value's mapping, whether it came as one or as JSON text; an empty one for anything else."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return value if isinstance(value, Mapping) else {}


def process_time(value: str) -> str:
    """A creation time to the millisecond: sources differ in how finely they tell the same instant."""
    value = value.strip().replace(" ", "T").rstrip("Z")
    head, dot, fraction = value.partition(".")
    return f"{head}.{(fraction if dot else '')[:3].ljust(3, '0')}Z" if len(head) == 19 else value


def _decimal(number: str) -> str:
    try:
        return str(int(number, 16)) if number.lower().startswith("0x") else number
    except ValueError:
        return number


def _address(value: str) -> str:
    """An address as `ipaddress` writes it, without port or the ::ffff: prefix; empty for none and for ones that name no peer."""
    candidate = value.strip().strip("[]")
    if candidate.lower().startswith("::ffff:"):
        candidate = candidate[7:]
    try:
        address = ipaddress.ip_address(candidate)
    except ValueError:
        head, _, port = candidate.rpartition(":")
        try:
            address = ipaddress.ip_address(head.strip("[]")) if port.isdigit() else ipaddress.ip_address("0.0.0.0")  # noqa: S104
        except ValueError:
            return ""
    if address.is_unspecified or address.is_loopback:
        return ""
    return str(address)
