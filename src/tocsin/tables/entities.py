"""Entities: the hosts, accounts, addresses and things that alerts speak of, with Microsoft's type and identifier names.

An identifier combination is *strong* when it names one thing in the world and *weak* when it may name several
(learn.microsoft.com/azure/sentinel/entities-reference). Correlation joins on strong keys; a weak key only supports.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

__all__ = ["BUILT_IN_ACCOUNTS", "ENTITY_IDENTIFIERS", "Entity", "EntityKey", "process_key"]

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
    "DNS": ("DomainName",),
    "File": ("Directory", "Name", "Host"),
    "FileHash": ("Algorithm", "Value"),
    "Malware": ("Name", "Category"),
    "Process": ("ProcessId", "CommandLine", "ElevationToken", "CreationTimeUtc", "Host", "ImageFile"),
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

BUILT_IN_ACCOUNTS = frozenset(
    {
        "ADMIN", "ADMINISTRATOR", "SYSTEM", "ROOT", "ANONYMOUS", "AUTHENTICATED USER", "NETWORK", "NULL", "LOCAL SYSTEM",
        "LOCALSYSTEM", "NETWORK SERVICE", "LOCAL SERVICE", "ANONYMOUS LOGON",
    }
)  # fmt: skip
"""Names that say nothing alone: an Account given by such a Name only is dropped, or incidents would merge on SYSTEM."""

_BUILT_IN_SIDS = ("S-1-5-18", "S-1-5-19", "S-1-5-20", "S-1-5-7", "S-1-0-0", "S-1-1-0")
_BUILT_IN_DOMAINS = frozenset(
    {"NT AUTHORITY", "NT-AUTHORITY", "AUTORITE NT", "WINDOW MANAGER", "FONT DRIVER HOST", "NT SERVICE", "IIS APPPOOL"}
)

EntityKey = tuple[str, ...]


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
        if self.type != "Account":
            return False
        ids = self.identifiers
        name = ids.get("Name", "").upper()
        if ids.get("Sid", "") in _BUILT_IN_SIDS or ids.get("NTDomain", "").upper() in _BUILT_IN_DOMAINS:
            return True
        if name in ("", "-", "N/A"):
            return not any(k in ids for k in ("Sid", "AadUserId", "PUID", "ObjectGuid"))
        others = [k for k in ids if k not in ("Name", "DisplayName", "Host")]
        return (name in BUILT_IN_ACCOUNTS and not others) or name.startswith(("DWM-", "UMFD-"))

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
            case _:
                return next(iter(ids.values()), "")

    def strong_keys(self) -> tuple[EntityKey, ...]:
        """The keys by which it is one thing. Two entities that share one are the same."""
        ids = {k: v.lower() for k, v in self.identifiers.items()}
        keys: list[EntityKey] = []
        match self.type:
            case "Account":
                if self.is_built_in:
                    return ()
                name = ids.get("Name", "")
                if name and (suffix := ids.get("UPNSuffix")):
                    keys.append(("account", name, suffix))
                if sid := ids.get("Sid"):
                    keys.append(("account.sid", sid))
                keys.extend((f"account.{k.lower()}", ids[k]) for k in ("AadUserId", "PUID", "ObjectGuid") if k in ids)
                if name and (domain := ids.get("NTDomain")):
                    keys.append(("account.nt", domain, name))
                if name and (domain := ids.get("DnsDomain")):
                    keys.append(("account.dns", domain, name))
            case "Host":
                name = ids.get("HostName") or ids.get("NetBiosName", "")
                if name and (domain := ids.get("DnsDomain") or ids.get("NTDomain")):
                    keys.append(("host", name, domain))
                keys.extend(
                    (f"host.{k.lower()}", ids[k])
                    for k in ("AzureID", "OMSAgentID", "DeviceId")
                    if k in ids and ids[k].strip("0-")
                )
            case "IP":
                address = ids.get("Address", "")
                if (scope := ids.get("AddressScope")) and not _is_global(address) and not _is_unroutable(address):
                    keys.append(("ip.scoped", address, scope))
                elif _is_global(address):
                    keys.append(("ip", address))
            case "FileHash":
                if "Value" in ids:
                    keys.append(("hash", ids["Value"]))
            case "Process":
                if all(k in ids for k in ("Host", "ProcessId", "CreationTimeUtc")):
                    keys.append(process_key(ids["Host"], ids["ProcessId"], ids["CreationTimeUtc"]))
            case "MailMessage":
                if "NetworkMessageId" in ids:
                    keys.append(("mail", ids["NetworkMessageId"]))
            case "Mailbox":
                if "MailboxPrimaryAddress" in ids:
                    name, _, suffix = ids["MailboxPrimaryAddress"].partition("@")
                    keys.append(
                        ("account", name, suffix)
                    )  # a mailbox is its owner's: mail and sign-in alerts meet here
            case "CloudApplication":
                keys.extend(("app", ids[k]) for k in ("AppId", "Name") if k in ids)
            case "URL":
                if "://" in ids.get("Url", ""):
                    keys.append(("url", ids["Url"]))
            case "AzureResource":
                # A provider's own path (/tenants/…/providers/Microsoft.aadiam) names the log, not a resource.
                if "/subscriptions/" in ids.get("ResourceId", ""):
                    keys.append(("azureresource", ids["ResourceId"]))
            case "IoTDevice" | "DNS" | "SecurityGroup":
                keys.extend((self.type.lower(), v) for v in ids.values())
            case "RegistryKey" | "RegistryValue" | "File" | "Malware":
                pass
        return tuple(dict.fromkeys(keys))

    def weak_keys(self) -> tuple[EntityKey, ...]:
        """Keys that support a join but don't make one: bare names, private addresses, paths."""
        ids = {k: v.lower() for k, v in self.identifiers.items()}
        match self.type:
            case "Account" if ids.get("Name") and not self.is_built_in:
                domain = ids.get("UPNSuffix") or ids.get("DnsDomain") or ids.get("NTDomain", "")
                realm = domain.partition(".")[0]  # CONTOSO and contoso.com are mostly one realm
                return (
                    (("account.realm", ids["Name"], realm), ("name", ids["Name"]))
                    if realm
                    else (("name", ids["Name"]),)
                )
            case "Mailbox" if "@" in ids.get("MailboxPrimaryAddress", ""):
                name, _, suffix = ids["MailboxPrimaryAddress"].partition("@")
                return (("account.realm", name, suffix.partition(".")[0]), ("name", name))
            case "Host":
                name = ids.get("HostName") or ids.get("NetBiosName") or ids.get("FullName", "").partition(".")[0]
                return (("hostname", name),) if name else ()
            case "IP" if ids.get("Address") and not _is_global(ids["Address"]) and not _is_unroutable(ids["Address"]):
                return (("ip.private", ids["Address"]),)
            case "File" if ids.get("Name"):
                return (("file", ids.get("Directory", ""), ids["Name"]),)
            case "RegistryKey" | "RegistryValue" | "Malware" if ids:
                return ((self.type.lower(), *ids.values()),)
            case _:
                return ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: type, label, identifiers."""
        return {"type": self.type, "label": self.label, "identifiers": dict(self.identifiers)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Entity:
        """The entity of a `to_dict` form."""
        return cls(str(raw["type"]), {str(k): str(v) for k, v in dict(raw["identifiers"]).items()})


def _take_apart(kind: str, ids: dict[str, str]) -> None:
    """Splits full names into the parts that keys are made of: ``ws1.contoso.com``, ``CONTOSO\\ann``, ``ann@contoso.com``."""
    if kind == "Host" and "HostName" not in ids and (full := ids.get("FullName") or ids.get("NetBiosName")):
        ids["HostName"], _, dns = full.strip().rstrip(".").partition(".") if not _is_address(full) else (full, "", "")
        if dns:
            ids.setdefault("DnsDomain", dns)
        ids.pop("FullName", None)
    if kind == "Account":
        name = ids.get("Name") or ids.pop("FullName", "")
        if "\\" in name:
            domain, _, name = name.rpartition("\\")
            if domain:
                ids.setdefault("DnsDomain" if "." in domain else "NTDomain", domain)
        if "@" in name:
            name, _, suffix = name.partition("@")
            ids.setdefault("UPNSuffix", suffix)
        if name:
            ids["Name"] = name


def process_key(host: str, number: str, start: str) -> EntityKey:
    """The key of a process: its host's bare name, its id, and the second in which it began. Ids are used again, starts aren't."""
    name = host if _is_address(host) else host.partition(".")[0]
    with suppress(ValueError):
        number = str(int(number, 0))
    return ("process", f"{name.lower()}/{number}/{start[:19].lower().replace(' ', 't')}")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


_DOCUMENTATION = tuple(
    ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)


@lru_cache(maxsize=65_536)
def _is_global(text: str) -> bool:
    """True for addresses that name one machine in the world. The documentation ranges (RFC 5737, RFC 3849) count as such: they stand
    for public addresses in demos and exercises, and nowhere else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_global or any(address in net for net in _DOCUMENTATION if net.version == address.version)


def _is_unroutable(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return True
    return address.is_loopback or address.is_unspecified or address.is_link_local or address.is_multicast
