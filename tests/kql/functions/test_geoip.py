"""The reader of MaxMind databases, on one that the test makes."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from tocsin.kql.functions.python.geoip import Mmdb, configure, configured, geo_info


def encode(value: object) -> bytes:
    """A value in the format's data section (the kinds that the test needs)."""
    if isinstance(value, str):
        raw = value.encode()
        return bytes([2 << 5 | len(raw)]) + raw if len(raw) < 29 else bytes([2 << 5 | 29, len(raw) - 29]) + raw
    if isinstance(value, float):
        return bytes([3 << 5 | 8]) + struct.pack(">d", value)
    if isinstance(value, int):
        raw = value.to_bytes(4, "big")
        return bytes([6 << 5 | 4]) + raw
    if isinstance(value, dict):
        return bytes([7 << 5 | len(value)]) + b"".join(encode(k) + encode(v) for k, v in value.items())
    if isinstance(value, list):
        return bytes([len(value), 4]) + b"".join(encode(v) for v in value)
    raise TypeError(value)


def database(network: str, record: dict[str, object], bits: int = 24, version: int = 4) -> bytes:
    """A database with one network."""
    net = ipaddress.ip_network(network)
    count = net.prefixlen
    number = int(net.network_address)
    nodes = []
    for depth in range(count):
        side = number >> (net.max_prefixlen - 1 - depth) & 1
        following = depth + 1 if depth + 1 < count else count + 16
        nodes.append((following, count) if side == 0 else (count, following))
    tree = b""
    for left, right in nodes:
        if bits == 28:
            tree += (
                (left & 0xFFFFFF).to_bytes(3, "big")
                + bytes([(left >> 24) << 4 | right >> 24])
                + (right & 0xFFFFFF).to_bytes(3, "big")
            )
        else:
            tree += left.to_bytes(bits // 8, "big") + right.to_bytes(bits // 8, "big")
    metadata = {"node_count": count, "record_size": bits, "ip_version": version}
    return tree + b"\0" * 16 + encode(record) + b"\xab\xcd\xefMaxMind.com" + encode(metadata)


RECORD = {
    "country": {"names": {"en": "Sweden"}},
    "subdivisions": [{"names": {"en": "Östergötland"}}],
    "city": {"names": {"en": "Linköping"}},
    "location": {"latitude": 58.4167, "longitude": 15.6167},
}


@pytest.mark.parametrize("bits", [24, 28, 32])
def test_reads_what_is_there(bits: int) -> None:
    reader = Mmdb(database("89.160.20.0/24", RECORD, bits))
    assert reader.find("89.160.20.112") == RECORD
    assert reader.find("89.160.21.1") is None
    assert reader.find("2001:db8::1") is None


def test_reads_ipv6() -> None:
    reader = Mmdb(database("2001:db8::/32", RECORD, version=6))
    assert reader.find("2001:db8::5") == RECORD
    assert reader.find("2001:db9::5") is None


def test_refuses_other_files() -> None:
    with pytest.raises(ValueError, match="MaxMind"):
        Mmdb(b"something else")


def test_answer_has_what_is_known() -> None:
    from tocsin.kql.functions.python import geoip

    before = geoip._lookup
    try:
        configure(Mmdb(database("89.160.20.0/24", RECORD)).find)
        assert configured()
        assert geo_info("89.160.20.112") == (
            '{"country":"Sweden","state":"Östergötland","city":"Linköping","latitude":58.4167,"longitude":15.6167}'
        )
        assert geo_info("1.1.1.1") == "{}"
    finally:
        configure(before)
