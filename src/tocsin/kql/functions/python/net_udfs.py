"""IPv6 addresses and ranges of IPv4 ones."""

from __future__ import annotations

import ipaddress
import json

from tocsin.kql.functions.model import Udf
from tocsin.kql.functions.python.define import each

__all__ = ["UDFS"]

_MAPPED = 0xFFFF << 32


def _address(text: str) -> tuple[int, int] | None:
    """The address as a 128-bit number (IPv4 under ``::ffff:``) and its prefix length."""
    host, slash, length = text.strip().partition("/")
    try:
        ip = ipaddress.ip_address(host.strip().partition("%")[0])
    except ValueError:
        return None
    size = 128 if ip.version == 6 else 32
    if slash:
        if not length.strip().isdigit() or int(length) > size:
            return None
        size_given = int(length)
    else:
        size_given = size
    if ip.version == 6:
        return int(ip), size_given
    return int(ip) | _MAPPED, size_given + 96


def _cut(number: int, prefix: int) -> int:
    shift = 128 - max(0, min(128, prefix))
    return number >> shift << shift


def full(text: str, prefix: int) -> str | None:
    """parse_ipv6 and parse_ipv6_mask: eight groups of four digits."""
    found = _address(text)
    if found is None or not 0 <= prefix <= 128:
        return None
    own = found[1]
    if "." in text and ":" in text and "/" in text and own <= 32:
        own += 96  # written with an IPv4 tail, the prefix counts as that of an IPv4 address
    digits = f"{_cut(found[0], min(own, prefix)):032x}"
    return ":".join(digits[i : i + 4] for i in range(0, 32, 4))


def compare(a: str, b: str, prefix: int) -> int | None:
    """ipv6_compare: both are cut to the shortest prefix."""
    x, y = _address(a), _address(b)
    if x is None or y is None or not 0 <= prefix <= 128:
        return None
    size = min(x[1], y[1], prefix)
    left, right = _cut(x[0], size), _cut(y[0], size)
    return (left > right) - (left < right)


def in_range(ip: str, network: str) -> bool | None:
    """ipv6_is_in_range."""
    x, y = _address(ip), _address(network)
    if x is None or y is None:
        return None
    return _cut(x[0], y[1]) == _cut(y[0], y[1])


def cidrs(first: str, last: str) -> str | None:
    """ipv4_range_to_cidr_list."""
    start, end = ipaddress.IPv4Address(first.strip()), ipaddress.IPv4Address(last.strip())
    if start > end:
        return None
    return json.dumps([str(n) for n in ipaddress.summarize_address_range(start, end)], separators=(",", ":"))


UDFS: tuple[Udf, ...] = (
    each("k_ip6", "VARCHAR BIGINT", "VARCHAR", full),
    each("k_ip6cmp", "VARCHAR VARCHAR BIGINT", "BIGINT", compare),
    each("k_ip6in", "VARCHAR VARCHAR", "BOOLEAN", in_range),
    each("k_ip4_cidrs_text", "VARCHAR VARCHAR", "VARCHAR", cidrs),
)
