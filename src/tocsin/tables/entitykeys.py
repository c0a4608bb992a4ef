"""The keys of entities: the identifiers, and combinations of them, by which two are the same, and those that only make it likely.

Which combination is strong and which is weak follows Microsoft (learn.microsoft.com/azure/sentinel/entities-reference). What a shared key is worth is
another matter, and correlation's: some weak ones tell much (a host's bare name), some strong ones little (a file's path).
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

__all__ = [
    "EntityKey",
    "address_of",
    "hash_algorithm",
    "is_address",
    "is_built_in",
    "is_local",
    "process_key",
    "strong_keys",
    "weak_keys",
]

EntityKey = tuple[str, ...]
Ids = Mapping[str, str]

_NO_GROUP = re.compile(r"^s-1-(?:[0-4]|15|16|18|5-(?!21-))")
"""SIDs of groups that every machine has."""

_DOCUMENTATION = tuple(
    ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)

_HIVES = {
    "hklm": "hkey_local_machine", "hkcu": "hkey_current_user", "hku": "hkey_users", "hkcr": "hkey_classes_root", "hkcc": "hkey_current_config",
}  # fmt: skip
_HASHES = {32: "MD5", 40: "SHA1", 64: "SHA256"}


# ---------------------------------------------------------------------------------------------- built-in accounts


@dataclass(frozen=True, slots=True)
class _BuiltIn:
    """`builtin.toml`, its names folded."""

    domains: frozenset[str]
    names: frozenset[str]
    beginnings: tuple[str, ...]
    local: frozenset[str]
    sids: re.Pattern[str]


@cache
def _built_in() -> _BuiltIn:
    read: dict[str, Any] = tomllib.loads(Path(__file__).with_name("builtin.toml").read_text("utf-8"))
    return _BuiltIn(
        frozenset(map(_folded, read["domains"])),
        frozenset(map(_folded, read["names"])),
        tuple(map(_folded, read["beginnings"])),
        frozenset(map(_folded, read["local"])),
        re.compile(read["sids"], re.IGNORECASE),
    )


@lru_cache(maxsize=65_536)
def _folded(text: str) -> str:
    """Without accents and in upper case."""
    text = text.strip()
    if text.isascii():
        return text.upper()
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).upper()


def is_built_in(ids: Ids) -> bool:
    """Whether an Account's identifiers are those of one that every machine has, or of none: such a one never joins two incidents."""
    known = _built_in()
    sid = ids.get("Sid", "")
    if sid and known.sids.match(sid) is None and sid.upper().startswith("S-1-"):
        return True
    if (domain := ids.get("NTDomain")) and _folded(domain) in known.domains:
        return True
    name = _folded(ids.get("Name", ""))
    if name in ("", "-", "N/A"):
        return not any(k in ids for k in ("Sid", "AadUserId", "PUID", "ObjectGuid"))
    if name.startswith(known.beginnings):
        return True
    return name in known.names and not any(
        k not in ("Name", "DisplayName", "Host", "IsDomainJoined") and not (k == "NTDomain" and is_local(v))
        for k, v in ids.items()
    )


def is_local(domain: str) -> bool:
    """Whether that domain means the machine itself."""
    return _folded(domain) in _built_in().local


# ---------------------------------------------------------------------------------------------- values


def is_address(text: str) -> bool:
    """Whether it is an address rather than a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=65_536)
def address_of(text: str) -> str:
    """An address in its one form: IPv6 as RFC 5952 writes it, an IPv4-mapped one as IPv4, without brackets and zone. The text itself where it is
    none."""
    candidate = text.strip().strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(candidate)
    except ValueError:
        return text.strip()
    if address.version == 6 and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


@lru_cache(maxsize=65_536)
def _is_global(text: str) -> bool:
    """True for addresses that name one machine in the world. The documentation ranges (RFC 5737, RFC 3849) count as such: they stand
    for public addresses in demos and exercises, and nowhere else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.is_multicast:
        return False
    return address.is_global or any(address in net for net in _DOCUMENTATION if net.version == address.version)


@lru_cache(maxsize=65_536)
def _is_unroutable(text: str) -> bool:
    """True for what names no machine: no address, this machine, everybody, the next neighbour."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return True
    return (
        address.is_loopback
        or address.is_unspecified
        or address.is_link_local
        or address.is_multicast
        or (address.version == 4 and address.is_reserved)
    )


@lru_cache(maxsize=65_536)
def _domain(text: str) -> str:
    """A domain name in its one form: lower case, no trailing dot, ASCII (xn--)."""
    text = text.strip().rstrip(".").lower()
    if text.isascii():
        return text
    try:
        return text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return text


@lru_cache(maxsize=65_536)
def _url(text: str) -> str:
    """An absolute URL in its one form: scheme and host in lower case, no port that goes without saying, no empty path. Empty for a relative one.

    The path keeps its case: to servers it matters.
    """
    scheme, mark, rest = text.strip().partition("://")
    if not mark or not scheme or not rest:
        return ""
    at = next((n for n, c in enumerate(rest) if c in "/?#"), len(rest))
    place, path = rest[:at], rest[at:]
    user, sign, host = place.rpartition("@")
    bare, colon, port = host.rpartition(":")
    if colon and (scheme.lower(), port) in (("http", "80"), ("https", "443")):
        host = bare
    return f"{scheme.lower()}://{user}{sign}{_domain(host)}{'/' if path in ('', '/') else path}"


def hash_algorithm(value: str) -> str:
    """MD5, SHA1 or SHA256, as the number of a hash's digits says; "" for any other."""
    return _HASHES.get(len(value), "")


def process_key(host: str, number: str, start: str) -> EntityKey:
    """The key of a process: its host's bare name, its id, and the second in which it began. Ids are used again, starts aren't."""
    return ("process", f"{_bare_host(host)}/{_number(number)}/{_second(start)}")


def _bare_host(host: str) -> str:
    return (host if is_address(host) else host.partition(".")[0]).lower()


def _number(text: str) -> str:
    with suppress(ValueError):
        return str(int(text, 0))
    return text


def _second(start: str) -> str:
    return start[:19].lower().replace(" ", "t")


def _registry(ids: Ids) -> tuple[str, str]:
    """Hive and key of a registry key, whichever of the two holds the hive."""
    hive, key = ids.get("Hive", "").strip("\\"), ids.get("Key", "").strip("\\")
    if not hive:
        head, _, rest = key.partition("\\")
        if head.startswith("hkey_") or head in _HIVES:
            hive, key = head, rest
    return _HIVES.get(hive, hive), key


# ---------------------------------------------------------------------------------------------- keys


def strong_keys(kind: str, identifiers: Ids) -> tuple[EntityKey, ...]:
    """The keys by which an entity is one thing. Two entities that share one are the same."""
    make = _STRONG.get(kind)
    if make is None:
        return ()
    return tuple(dict.fromkeys(make(_lowered(kind, identifiers))))


def weak_keys(kind: str, identifiers: Ids) -> tuple[EntityKey, ...]:
    """Keys that support a join: what may name several things."""
    make = _WEAK.get(kind)
    return () if make is None else tuple(dict.fromkeys(make(_lowered(kind, identifiers))))


def _lowered(kind: str, identifiers: Ids) -> dict[str, str]:
    return dict(identifiers) if kind == "URL" else {k: v.lower() for k, v in identifiers.items()}


def _account(ids: Ids) -> list[EntityKey]:
    if is_built_in(ids):
        return []
    keys: list[EntityKey] = []
    name = ids.get("Name", "")
    if name and (suffix := ids.get("UPNSuffix")):
        keys.append(("account", name, _domain(suffix)))
    if sid := ids.get("Sid"):
        keys.append(("account.sid", sid))
    keys.extend((f"account.{k.lower()}", ids[k]) for k in ("AadUserId", "PUID", "ObjectGuid") if k in ids)
    if name.endswith("$"):
        return keys  # a machine's own account is the machine: see the weak keys
    if name and (domain := ids.get("NTDomain")):
        if not is_local(domain):
            keys.append(("account.nt", domain, name))
        elif host := ids.get("Host"):
            keys.append(("account.nt", host.partition(".")[0], name))
    if name and (domain := ids.get("DnsDomain")):
        keys.append(("account.dns", _domain(domain), name))
    return keys


def _account_weak(ids: Ids) -> list[EntityKey]:
    name = ids.get("Name")
    if not name or is_built_in(ids):
        return []
    if name.endswith("$") and len(name) > 1:
        return [("hostname", name[:-1])]
    domain = ids.get("UPNSuffix") or ids.get("DnsDomain") or ids.get("NTDomain", "")
    realm = (
        "" if is_local(domain) else _domain(domain).partition(".")[0]
    )  # CONTOSO and contoso.com are mostly one realm
    return [("account.realm", name, realm), ("name", name)] if realm else [("name", name)]


def _host(ids: Ids) -> list[EntityKey]:
    keys: list[EntityKey] = []
    name = ids.get("HostName") or ids.get("NetBiosName", "")
    domain = ids.get("DnsDomain") or ids.get("NTDomain", "")
    if name and domain and not is_local(domain):
        keys.append(("host", name, _domain(domain)))
    keys.extend(
        (f"host.{k.lower()}", ids[k]) for k in ("AzureID", "OMSAgentID", "DeviceId") if k in ids and ids[k].strip("0-")
    )
    return keys


def _host_weak(ids: Ids) -> list[EntityKey]:
    name = ids.get("HostName") or ids.get("NetBiosName") or ids.get("FullName", "").partition(".")[0]
    return [("hostname", name)] if name else []


def _ip(ids: Ids) -> list[EntityKey]:
    address = ids.get("Address", "")
    if _is_global(address):
        return [("ip", address)]
    scope = ids.get("AddressScope")
    return [("ip.scoped", address, scope)] if scope and not _is_unroutable(address) else []


def _ip_weak(ids: Ids) -> list[EntityKey]:
    address = ids.get("Address", "")
    return [] if not address or _is_global(address) or _is_unroutable(address) else [("ip.private", address)]


def _hash(ids: Ids) -> list[EntityKey]:
    value = ids.get("Value", "").strip()
    return [("hash", value)] if value and (ids.get("Algorithm") or hash_algorithm(value)) else []


def _process(ids: Ids) -> list[EntityKey]:
    host, start = ids.get("Host", ""), ids.get("CreationTimeUtc", "")
    if not host or not start:
        return []
    keys: list[EntityKey] = []
    if number := ids.get("ProcessId"):
        keys.append(process_key(host, number, start))
    # A source that doesn't tell a process's own number may tell who started what.
    if (parent := ids.get("ParentProcessId")) and (line := ids.get("CommandLine", "").strip()):
        keys.append(("process.parent", f"{_bare_host(host)}/{_number(parent)}/{_second(start)}", line))
    return keys


def _process_weak(ids: Ids) -> list[EntityKey]:
    if "Host" in ids or not ("ProcessId" in ids and "CreationTimeUtc" in ids):
        return []
    return [("process.bare", ids["ProcessId"], _second(ids["CreationTimeUtc"]))]


def _mail(ids: Ids) -> list[EntityKey]:
    if (message := ids.get("NetworkMessageId")) and (recipient := ids.get("Recipient")):
        return [("mail", message, recipient)]
    return []


def _mail_weak(ids: Ids) -> list[EntityKey]:
    return [("mail", ids["NetworkMessageId"])] if "NetworkMessageId" in ids else []


def _submission(ids: Ids) -> list[EntityKey]:
    parts = [ids.get(k, "") for k in ("SubmissionId", "NetworkMessageId", "Recipient", "Submitter")]
    return [("submission", *parts)] if all(parts) else []


def _submission_weak(ids: Ids) -> list[EntityKey]:
    own = [("submission", ids["SubmissionId"])] if "SubmissionId" in ids else []
    return [*own, *_mail_weak(ids)]


def _mailbox(ids: Ids) -> list[EntityKey]:
    """A mailbox is its owner's: alerts about mail and about sign-ins meet there."""
    name, at, suffix = ids.get("MailboxPrimaryAddress", "").strip().partition("@")
    return [("account", name, _domain(suffix))] if at and name else []


def _mailbox_weak(ids: Ids) -> list[EntityKey]:
    name, at, suffix = ids.get("MailboxPrimaryAddress", "").strip().partition("@")
    return [("account.realm", name, _domain(suffix).partition(".")[0]), ("name", name)] if at and name else []


def _dns(ids: Ids) -> list[EntityKey]:
    parts = [ids.get(k, "") for k in ("DomainName", "DnsServerIp", "HostIpAddress")]
    return [("dns", _domain(parts[0]), *parts[1:])] if all(parts) else []


def _file(ids: Ids) -> list[EntityKey]:
    directory, name, value = (ids.get(k, "") for k in ("Directory", "Name", "FileHash"))
    if not name:
        return []
    keys: list[EntityKey] = [("file", directory, name)] if directory else []
    if hash_algorithm(value):
        keys.append(("filehash", name, value))
    return keys


def _registry_key(ids: Ids) -> list[EntityKey]:
    hive, key = _registry(ids)
    return [("registrykey", hive, key)] if hive and key else []


def _registry_key_weak(ids: Ids) -> list[EntityKey]:
    hive, key = _registry(ids)
    return [("registrykey", "", key)] if key and not hive else []


def _registry_value(ids: Ids) -> list[EntityKey]:
    name = ids.get("Name", "")
    return [("registryvalue", *_registry({"Key": ids["Key"]}), name)] if name and ids.get("Key") else []


def _malware(ids: Ids) -> list[EntityKey]:
    return [("malware", ids["Name"], ids["Category"])] if ids.get("Name") and ids.get("Category") else []


def _resource(ids: Ids) -> list[EntityKey]:
    # A provider's own path (/tenants/…/providers/Microsoft.aadiam) names the log, not a resource.
    resource = ids.get("ResourceId", "").rstrip("/")
    return [("azureresource", resource)] if "/subscriptions/" in resource else []


def _group(ids: Ids) -> list[EntityKey]:
    named = ((k, ids[k]) for k in ("DistinguishedName", "SID", "ObjectGuid") if k in ids)
    return [("securitygroup", v) for k, v in named if k != "SID" or _NO_GROUP.match(v) is None]


_STRONG: Mapping[str, Callable[[Ids], list[EntityKey]]] = {
    "Account": _account,
    "Host": _host,
    "IP": _ip,
    "URL": lambda ids: [("url", url)] if (url := _url(ids.get("Url", ""))) else [],
    "AzureResource": _resource,
    "CloudApplication": lambda ids: [("app", ids[k]) for k in ("AppId", "Name") if k in ids],
    "DNS": _dns,
    "File": _file,
    "FileHash": _hash,
    "Malware": _malware,
    "Process": _process,
    "RegistryKey": _registry_key,
    "RegistryValue": _registry_value,
    "SecurityGroup": _group,
    "Mailbox": _mailbox,
    "MailCluster": lambda ids: (
        [("mailcluster", ids["Query"], ids["Source"])] if {"Query", "Source"} <= ids.keys() else []
    ),
    "MailMessage": _mail,
    "SubmissionMail": _submission,
    "IoTDevice": lambda ids: [("iotdevice", ids["DeviceId"])] if "DeviceId" in ids else [],
}

_WEAK: Mapping[str, Callable[[Ids], list[EntityKey]]] = {
    "Account": _account_weak,
    "Host": _host_weak,
    "IP": _ip_weak,
    "URL": lambda ids: [("url.relative", u)] if (u := ids.get("Url", "").strip()) and not _url(u) else [],
    "DNS": lambda ids: [("dns", d)] if (d := _domain(ids.get("DomainName", ""))) else [],
    "File": lambda ids: [("file", "", ids["Name"])] if ids.get("Name") and not ids.get("Directory") else [],
    "Malware": lambda ids: [("malware", ids["Name"])] if ids.get("Name") else [],
    "Process": _process_weak,
    "RegistryKey": _registry_key_weak,
    "RegistryValue": lambda ids: (
        [("registryvalue", "", "", ids["Name"])] if ids.get("Name") and not ids.get("Key") else []
    ),
    "Mailbox": _mailbox_weak,
    "MailCluster": lambda ids: [("mailcluster", ids["Query"])] if "Query" in ids and "Source" not in ids else [],
    "MailMessage": _mail_weak,
    "SubmissionMail": _submission_weak,
    "IoTDevice": lambda ids: [("iotdevice.name", ids["DeviceName"])] if "DeviceName" in ids else [],
}
