"""Fields of Sigma's taxonomy that a source tells in another shape: made from an event's own fields, by name.

A function takes an event's fields and gives a value, a tuple of values (any of them may match), or None where the event doesn't tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from tocsin.detect.sigma.logsource import plain_name

__all__ = ["COMPUTED", "INPUTS", "Fields", "hashable", "inside"]

Fields = Mapping[str, Any]

_HIVES = (
    ("\\registry\\machine\\", "HKLM\\"), ("\\registry\\user\\", "HKU\\"), ("hkey_local_machine\\", "HKLM\\"),
    ("hkey_users\\", "HKU\\"), ("hkey_current_user\\", "HKCU\\"), ("hkey_classes_root\\", "HKCR\\"),
)  # fmt: skip
_CONTROL_SET = re.compile(r"(?i)^(HKLM\\SYSTEM\\)ControlSet00\d(?=\\|$)")
_LABELS = {
    "s-1-16-0": "Untrusted", "s-1-16-4096": "Low", "s-1-16-8192": "Medium", "s-1-16-8448": "MediumPlus", "s-1-16-12288": "High",
    "s-1-16-16384": "System",
}  # fmt: skip
_NOTHING = ("", "-", None)


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else "" if value is None else str(value)


def _short_key(key: str) -> str:
    lower = key.lower()
    for long, short in _HIVES:
        if lower.startswith(long):
            key = short + key[len(long) :]
            break
    return _CONTROL_SET.sub(r"\1CurrentControlSet", key)


def _join_key(key: str, value: str) -> str | None:
    if not key:
        return None
    return f"{_short_key(key)}\\{value}" if value not in _NOTHING else _short_key(key)


def _account(domain: str, name: str) -> str | None:
    if name in _NOTHING:
        return None
    return f"{domain}\\{name}" if domain not in _NOTHING else name


def _user_4688(fields: Fields) -> str | None:
    """The new process's account: Target* where it differs from the caller's."""
    return _account(_text(fields, "TargetDomainName"), _text(fields, "TargetUserName")) or _account(
        _text(fields, "SubjectDomainName"), _text(fields, "SubjectUserName")
    )


def _details_4657(fields: Fields) -> str | None:
    """A registry value as Sysmon writes it: numbers as ``DWORD (0x00000001)``."""
    value = _text(fields, "NewValue")
    kind = _text(fields, "NewValueType")
    try:
        if kind == "%%1876":
            return f"DWORD (0x{int(value, 0):08x})"
        if kind == "%%1883":
            return f"QWORD (0x{int(value, 0) >> 32:08x}-0x{int(value, 0) & 0xFFFFFFFF:08x})"
    except ValueError:
        pass
    return "Binary Data" if kind == "%%1875" else value or None


def _decimal(name: str) -> Callable[[Fields], str | None]:
    def convert(fields: Fields) -> str | None:
        value = _text(fields, name)
        try:
            return str(int(value, 0)) if value else None
        except ValueError:
            return value

    return convert


def _data(fields: Fields) -> tuple[str, ...] | None:
    """Unnamed values of classic events, all of them."""
    found = tuple(str(v) for k, v in fields.items() if v is not None and (k == "Data" or k.startswith("Data_")))
    return found or None


def _hashes(fields: Fields) -> str | None:
    found = [f"{a}={v.upper()}" for a in ("MD5", "SHA1", "SHA256") if (v := _text(fields, a))]
    return ",".join(found) or None


def _argument(number: int) -> Callable[[Fields], Any]:
    """``aN`` of an audit event: the program's argument, and the system call's register where both are told."""

    def find(fields: Fields) -> Any:
        arguments = fields.get("argv")
        found = [str(arguments[number])] if isinstance(arguments, list) and number < len(arguments) else []
        register = fields.get(f"a{number}")
        if register is not None:
            found.append(str(register))
        return tuple(found) or None

    return find


def _paths(name: str) -> Callable[[Fields], Any]:
    """A field of every PATH record of an audit event."""

    def find(fields: Fields) -> Any:
        paths = fields.get("paths") or ()
        found = [str(p[name]) for p in paths if isinstance(p, dict) and p.get(name) is not None]
        own = fields.get(name)
        if own is not None and str(own) not in found:
            found.append(str(own))
        return tuple(found) or None

    return find


def _types(fields: Fields) -> Any:
    found = fields.get("Types")
    return tuple(str(t) for t in found) if isinstance(found, list) else found


def _url(fields: Fields) -> str | None:
    host, path = _text(fields, "host"), _text(fields, "uri")
    return path if "://" in path or not host else f"http://{host}{path}"


def _query(fields: Fields) -> str | None:
    return urlsplit(_text(fields, "uri")).query or None


def _stem(fields: Fields) -> str | None:
    return _text(fields, "uri").partition("?")[0] or None


def _xdr_user(domain: str, name: str) -> Callable[[Fields], str | None]:
    return lambda fields: _account(_text(fields, domain), _text(fields, name))


def _constant(value: str) -> Callable[[Fields], str | None]:
    return lambda _: value


COMPUTED: Mapping[str, Callable[[Fields], Any]] = {
    "@data": _data,
    "@security.user": _user_4688,
    "@security.integrity": lambda f: _LABELS.get(_text(f, "MandatoryLabel").lower()),
    "@security.pid": _decimal("NewProcessId"),
    "@security.ppid": _decimal("ProcessId"),
    "@security.key": lambda f: _join_key(_text(f, "ObjectName"), _text(f, "ObjectValueName")),
    "@security.details": _details_4657,
    "@security.initiated": lambda f: "true" if _text(f, "Direction") == "%%14593" else "false",
    "@security.protocol": lambda f: {"6": "tcp", "17": "udp"}.get(_text(f, "Protocol"), _text(f, "Protocol") or None),
    "@xdr.user": _xdr_user("AccountDomain", "AccountName"),
    "@xdr.initiator": _xdr_user("InitiatingProcessAccountDomain", "InitiatingProcessAccountName"),
    "@xdr.key": lambda f: _join_key(_text(f, "RegistryKey"), _text(f, "RegistryValueName")),
    "@xdr.hashes": _hashes,
    "@auditd.type": _types,
    "@auditd.name": _paths("name"),
    "@auditd.nametype": _paths("nametype"),
    "@zeek.url": _url,
    "@zeek.query": _query,
    "@zeek.stem": _stem,
    "@true": _constant("true"),
    **{f"@auditd.a{n}": _argument(n) for n in range(16)},
}
"""Functions by name; a binding names one where a plain field name would stand."""

_USER = ("TargetDomainName", "TargetUserName", "SubjectDomainName", "SubjectUserName")
INPUTS: Mapping[str, tuple[str, ...]] = {
    "@security.user": _USER, "@security.integrity": ("MandatoryLabel",), "@security.pid": ("NewProcessId",), "@security.ppid": ("ProcessId",),
    "@security.key": ("ObjectName", "ObjectValueName"), "@security.details": ("NewValue", "NewValueType"), "@security.initiated": ("Direction",),
    "@security.protocol": ("Protocol",),
}  # fmt: skip
"""The fields that a function of Windows events reads; ``@data`` reads those whose names begin with Data."""


def hashable(value: Any) -> Any:
    """A list or an object of an event as something that a table can be asked for."""
    if isinstance(value, list):
        return tuple(v if isinstance(v, str) else orjson.dumps(v).decode() for v in value)
    return orjson.dumps(value).decode()


def inside(value: Any, path: str) -> Any:
    """A member of a JSON value by dotted path, names compared without case and punctuation."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    for step in path.split("."):
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, dict):
            return None
        wanted = plain_name(step)
        value = next((v for k, v in value.items() if plain_name(k) == wanted), None)
    return hashable(value) if isinstance(value, list | dict) else value
