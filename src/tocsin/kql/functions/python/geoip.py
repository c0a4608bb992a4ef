"""Where an IP address is: a lookup in a database that the installation provides (MaxMind's MMDB format).

No database ships with the product. The composition root reads a file's bytes and hands them to `configure`; until then
`geo_info_from_ip_address` is refused with advice.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from typing import Any

from tocsin.kql.functions.model import Udf
from tocsin.kql.functions.python.define import each
from tocsin.kql.functions.python.json_udfs import dumps

__all__ = ["UDFS", "Mmdb", "configure", "configured"]

Lookup = Callable[[str], dict[str, Any] | None]

_lookup: Lookup | None = None

_MARKER = b"\xab\xcd\xefMaxMind.com"


class Mmdb:
    """A reader of the MaxMind DB format, version 2 (maxmind.github.io/MaxMind-DB)."""

    def __init__(self, data: bytes) -> None:
        at = data.rfind(_MARKER)
        if at < 0:
            raise ValueError("this is no MaxMind database")
        self._data = data
        self._base = at + len(_MARKER)
        metadata, _ = self._value(self._base)
        self._nodes = int(metadata["node_count"])
        self._bits = int(metadata["record_size"])
        self._version = int(metadata["ip_version"])
        if self._bits not in (24, 28, 32):
            raise ValueError(f"records of {self._bits} bits can't be read")
        self._node_size = self._bits // 4
        self._base = self._nodes * self._node_size + 16

    def find(self, address: str) -> dict[str, Any] | None:
        """The record of the narrowest network that holds the address."""
        ip = ipaddress.ip_address(address)
        number, size = int(ip), ip.max_prefixlen
        node = 0
        if self._version == 6 and size == 32:
            for _ in range(96):
                node = self._record(node, 0)
                if node >= self._nodes:
                    break
        elif self._version == 4 and size == 128:
            return None
        for bit in range(size - 1, -1, -1):
            if node >= self._nodes:
                break
            node = self._record(node, number >> bit & 1)
        if node <= self._nodes:
            return None
        value, _ = self._value(self._base + node - self._nodes - 16)
        return value if isinstance(value, dict) else None

    def _record(self, node: int, side: int) -> int:
        at = node * self._node_size
        data = self._data
        if self._bits == 24:
            return int.from_bytes(data[at + side * 3 : at + side * 3 + 3], "big")
        if self._bits == 32:
            return int.from_bytes(data[at + side * 4 : at + side * 4 + 4], "big")
        middle = data[at + 3]
        if side:
            return (middle & 0x0F) << 24 | int.from_bytes(data[at + 4 : at + 7], "big")
        return (middle & 0xF0) << 20 | int.from_bytes(data[at : at + 3], "big")

    def _value(self, at: int) -> tuple[Any, int]:
        """The value at that place and the place after it."""
        data = self._data
        control = data[at]
        at += 1
        kind = control >> 5
        if kind == 1:
            return self._pointer(control, at)
        if kind == 0:
            kind = data[at] + 7
            at += 1
        size = control & 31
        if size >= 29:
            extra = size - 28
            size = (29, 285, 65821)[extra - 1] + int.from_bytes(data[at : at + extra], "big")
            at += extra
        if kind == 7:
            return self._map(size, at)
        if kind == 11:
            items = []
            for _ in range(size):
                item, at = self._value(at)
                items.append(item)
            return items, at
        if kind == 14:
            return bool(size), at
        raw = data[at : at + size]
        at += size
        if kind == 2:
            return raw.decode("utf-8", "replace"), at
        if kind == 3:
            return struct.unpack(">d", raw)[0], at
        if kind == 15:
            return struct.unpack(">f", raw)[0], at
        if kind == 8:
            return int.from_bytes(raw.rjust(4, b"\0"), "big", signed=True), at
        if kind in (5, 6, 9, 10):
            return int.from_bytes(raw, "big"), at
        return None, at

    def _map(self, size: int, at: int) -> tuple[dict[str, Any], int]:
        found = {}
        for _ in range(size):
            key, at = self._value(at)
            found[str(key)], at = self._value(at)
        return found, at

    def _pointer(self, control: int, at: int) -> tuple[Any, int]:
        size = control >> 3 & 3
        raw = int.from_bytes(self._data[at : at + size + 1], "big")
        if size < 3:
            raw |= (control & 7) << 8 * (size + 1)
        value, _ = self._value(self._base + raw + (0, 2048, 526336, 0)[size])
        return value, at + size + 1


def configure(lookup: Lookup | None) -> None:
    """Set what answers `geo_info_from_ip_address`: a function from an address to a MaxMind City or Country record, or None for nothing."""
    global _lookup
    _lookup = lookup


def configured() -> bool:
    """True when there is something to look up in."""
    return _lookup is not None


def _name(record: dict[str, Any], key: str) -> str:
    names = (record.get(key) or {}).get("names") or {}
    return str(names.get("en") or "")


def geo_info(address: str) -> str | None:
    """geo_info_from_ip_address: country, state, city, latitude, longitude, as far as they are known; null for no address."""
    ip = ipaddress.ip_address(address.strip())
    record = _lookup(str(ip)) if _lookup is not None else None
    if record is None:
        return "{}"
    found: dict[str, Any] = {"country": _name(record, "country") or _name(record, "registered_country")}
    subdivisions = record.get("subdivisions") or []
    if subdivisions:
        found["state"] = str((subdivisions[0].get("names") or {}).get("en") or "")
    if record.get("city"):
        found["city"] = _name(record, "city")
    place = record.get("location") or {}
    if "latitude" in place and "longitude" in place:
        found["latitude"], found["longitude"] = place["latitude"], place["longitude"]
    return dumps({k: v for k, v in found.items() if v != ""})


UDFS: tuple[Udf, ...] = (each("k_geo_info", "VARCHAR", "VARCHAR", geo_info),)
