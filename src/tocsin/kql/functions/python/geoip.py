"""Where an IP address is: a lookup in a database that the installation provides (MaxMind's MMDB format).

No database ships with the product. The composition root opens the file of the setting `geoip.database` and hands its lookup to
`configure`; until then `geo_info_from_ip_address` is refused with advice.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from tocsin.kql.functions.model import Udf
from tocsin.kql.functions.python.define import each
from tocsin.kql.functions.python.json_udfs import dumps

__all__ = ["UDFS", "configure", "configured"]

Lookup = Callable[[str], dict[str, Any] | None]

_lookup: Lookup | None = None


def configure(lookup: Lookup | None) -> None:
    """Set what answers `geo_info_from_ip_address`: a function from an address to a MaxMind City or Country record, or None for nothing."""
    global _lookup
    _lookup = lookup


def configured() -> bool:
    """True when there is something to look up in."""
    return _lookup is not None


def _name(record: dict[str, Any], key: str) -> str:
    """The English name; some vendors' databases have the bare name there."""
    part = record.get(key)
    if not isinstance(part, dict):
        return str(part or "")
    return str((part.get("names") or {}).get("en") or "")


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
