"""Entities: the hosts, accounts, addresses and things that alerts speak of, with Microsoft's type and identifier names.

An identifier combination is *strong* when it names one thing in the world and *weak* when it may name several
(learn.microsoft.com/azure/sentinel/entities-reference). Correlation joins on strong keys; a weak key only supports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tocsin.tables.entitykeys import EntityKey, address_of, is_address, is_built_in, process_key, strong_keys, weak_keys

__all__ = ["ENTITY_IDENTIFIERS", "Entity", "EntityKey", "process_key"]

ENTITY_IDENTIFIERS: Mapping[str, tuple[str, ...]] = {
    "Account": (
        "Name", "FullName", "NTDomain", "DnsDomain", "UPNSuffix", "Sid", "AadTenantId", "AadUserId", "PUID",
        "IsDomainJoined", "DisplayName", "ObjectGuid", "Host",
    ),
    "Host": (
        "HostName", "NetBiosName", "FullName", "DnsDomain", "NTDomain", "AzureID", "OMSAgentID", "OSFamily", "OSVersion",
        "IsDomainJoined", "DeviceId",
    ),
    "IP": ("Address", "AddressScope"),
    "URL": ("Url",),
    "AzureResource": ("ResourceId",),
    "CloudApplication": ("AppId", "Name", "InstanceName"),
    "DNS": ("DomainName", "DnsServerIp", "HostIpAddress"),
    "File": ("Directory", "Name", "FileHash", "Host"),
    "FileHash": ("Algorithm", "Value"),
    "Malware": ("Name", "Category"),
    "Process": ("ProcessId", "ParentProcessId", "CommandLine", "ElevationToken", "CreationTimeUtc", "Host", "ImageFile"),
    "RegistryKey": ("Hive", "Key"),
    "RegistryValue": ("Key", "Name", "Value", "ValueType"),
    "SecurityGroup": ("DistinguishedName", "SID", "ObjectGuid"),
    "Mailbox": ("MailboxPrimaryAddress", "DisplayName", "Upn", "AadId"),
    "MailCluster": ("Query", "Source"),
    "MailMessage": ("NetworkMessageId", "Recipient", "Subject", "Sender", "SenderIP", "P1Sender", "P2Sender"),
    "SubmissionMail": ("SubmissionId", "NetworkMessageId", "Recipient", "Submitter"),
    "IoTDevice": ("DeviceId", "DeviceName"),
}  # fmt: skip
"""Entity types and the identifiers that a rule may map, by type."""

_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Entity:
    """One thing that an alert names. `identifiers` maps Microsoft's identifier names to text; empty values are left out."""

    type: str
    identifiers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        clean = {k: str(v) for k, v in self.identifiers.items() if v is not None and str(v) not in ("", "-")}
        _take_apart(self.type, clean)
        object.__setattr__(self, "identifiers", clean)

    def __hash__(self) -> int:
        return hash((self.type, tuple(sorted(self.identifiers.items()))))

    @classmethod
    def account(cls, name: str = "", domain: str = "", **more: str) -> Entity | None:
        """An Account from a name that may carry a domain (``CONTOSO\\\\ann``, ``ann@contoso.com``); None for built-in ones."""
        domain_key = "DnsDomain" if "." in domain else "NTDomain"
        made = cls("Account", {"Name": name, domain_key: domain, **more})
        return None if made.is_built_in else made

    @classmethod
    def host(cls, name: str, **more: str) -> Entity:
        """A Host from a name that may be fully qualified."""
        return cls("Host", {"FullName": name, **more})

    @property
    def is_built_in(self) -> bool:
        """True for machine-local and well-known accounts, which must never join two incidents."""
        return self.type == "Account" and is_built_in(self.identifiers)

    @property
    def is_public_address(self) -> bool:
        """True for an address that is one place in the world, not one of a network of its own."""
        return self.type == "IP" and any(k[0] == "ip" for k in self.strong_keys())

    @property
    def label(self) -> str:
        """The shortest text by which an analyst knows it."""
        ids = self.identifiers
        match self.type:
            case "Account":
                name = (
                    ids.get("Name")
                    or ids.get("FullName")
                    or ids.get("DisplayName")
                    or ids.get("Sid")
                    or ids.get("AadUserId")
                    or next(iter(ids.values()), "")
                )
                if suffix := ids.get("UPNSuffix"):
                    return f"{name}@{suffix}"
                domain = ids.get("NTDomain") or ids.get("DnsDomain")
                return f"{domain}\\{name}" if domain and ids.get("Name") else name
            case "Host":
                name = (
                    ids.get("HostName")
                    or ids.get("NetBiosName")
                    or ids.get("FullName")
                    or ids.get("DeviceId")
                    or ids.get("AzureID")
                    or next(iter(ids.values()), "")
                )
                return f"{name}.{ids['DnsDomain']}" if ids.get("DnsDomain") and ids.get("HostName") else name
            case "File":
                directory = ids.get("Directory", "")
                separator = "/" if "/" in directory else "\\"
                return (
                    f"{directory.rstrip(separator)}{separator}{ids.get('Name', '')}"
                    if directory
                    else ids.get("Name", "")
                )
            case "Process":
                return ids.get("CommandLine") or ids.get("ImageFile") or f"pid {ids.get('ProcessId', '?')}"
            case "FileHash":
                return ids.get("Value", "")
            case "RegistryKey":
                return "\\".join(p for p in (ids.get("Hive"), ids.get("Key")) if p)
            case "RegistryValue":
                return "\\".join(p for p in (ids.get("Key"), ids.get("Name")) if p)
            case "MailMessage":
                return ids.get("Subject") or ids.get("NetworkMessageId", "")
            case "CloudApplication":
                return ids.get("Name") or ids.get("InstanceName") or ids.get("AppId", "")
            case "IoTDevice":
                return ids.get("DeviceName") or ids.get("DeviceId", "")
            case _:
                return next(iter(ids.values()), "")

    def strong_keys(self) -> tuple[EntityKey, ...]:
        """The keys by which it is one thing. Two entities that share one are the same."""
        return strong_keys(self.type, self.identifiers)

    def weak_keys(self) -> tuple[EntityKey, ...]:
        """Keys that support a join: bare names, private addresses, what may name several things."""
        return weak_keys(self.type, self.identifiers)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: type, label, identifiers."""
        return {"type": self.type, "label": self.label, "identifiers": dict(self.identifiers)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Entity:
        """The entity of a `to_dict` form: the same object for the same form, as long as not too many others were made since."""
        return _known(str(raw["type"]), tuple([(str(k), str(v)) for k, v in raw["identifiers"].items()]))


@lru_cache(maxsize=8_192)
def _known(kind: str, identifiers: tuple[tuple[str, str], ...]) -> Entity:
    """An attack's alerts name the same things again and again, and nobody changes an entity."""
    return Entity(kind, dict(identifiers))


def _take_apart(kind: str, ids: dict[str, str]) -> None:
    """Splits full names into the parts that keys are made of: ``ws1.contoso.com``, ``CONTOSO\\ann``, ``ann@contoso.com``."""
    match kind:
        case "Host":
            full = ids.get("HostName") or ids.get("FullName") or ids.get("NetBiosName")
            if full and ("FullName" in ids or "." in full or "HostName" not in ids):
                full = full.strip().rstrip(".")
                name, _, dns = full.partition(".") if not is_address(full) else (full, "", "")
                if name:
                    ids["HostName"] = name
                if dns:
                    ids.setdefault("DnsDomain", dns)
                ids.pop("FullName", None)
        case "IP":
            if "Address" in ids:
                ids["Address"] = address_of(ids["Address"])
        case "Account":
            _take_account_apart(ids)


def _take_account_apart(ids: dict[str, str]) -> None:
    name = ids.get("Name") or ids.pop("FullName", "")
    if "\\" in name:
        domain, _, name = name.rpartition("\\")
        if domain:
            ids.setdefault("DnsDomain" if "." in domain.strip(".") else "NTDomain", domain)
    if ids.get("DnsDomain", "x").strip(".") == "":
        ids.setdefault("NTDomain", ids.pop("DnsDomain"))  # .\\ann: an account of the machine
    if "@" in name:
        name, _, suffix = name.partition("@")
        ids.setdefault("UPNSuffix", suffix)
    if _GUID.fullmatch(name):  # logs of Azure call a principal by its object's id where it has no other name
        ids.pop("Name", None)
        ids.setdefault("AadUserId", name.lower())
    elif name:
        ids["Name"] = name
