"""Hashes that SQL does not have, and compressed text."""

from __future__ import annotations

import base64
import gzip
import io
import struct
import zlib

from tocsin.kql.functions.model import Udf
from tocsin.kql.functions.python.define import each

__all__ = ["UDFS", "xxhash64"]

_MASK = (1 << 64) - 1
_P1, _P2, _P3, _P4, _P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
_LARGEST = 64 << 20
"""The most bytes that a compressed text may unfold to."""


def _rotate(x: int, count: int) -> int:
    return ((x << count) | (x >> (64 - count))) & _MASK


def _round(state: int, lane: int) -> int:
    return (_rotate((state + lane * _P2) & _MASK, 31) * _P1) & _MASK


def xxhash64(data: bytes) -> int:
    """xxHash, 64 bits, seed 0, as a signed long."""
    size = len(data)
    at = 0
    if size >= 32:
        lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        while at + 32 <= size:
            lanes = [_round(s, v) for s, v in zip(lanes, struct.unpack_from("<4Q", data, at), strict=True)]
            at += 32
        value = (_rotate(lanes[0], 1) + _rotate(lanes[1], 7) + _rotate(lanes[2], 12) + _rotate(lanes[3], 18)) & _MASK
        for lane in lanes:
            value = ((value ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        value = _P5
    value = (value + size) & _MASK
    while at + 8 <= size:
        value = (_rotate(value ^ _round(0, struct.unpack_from("<Q", data, at)[0]), 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= size:
        value = (_rotate(value ^ (struct.unpack_from("<I", data, at)[0] * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        value = (_rotate(value ^ (byte * _P5 & _MASK), 11) * _P1) & _MASK
    value = ((value ^ (value >> 33)) * _P2) & _MASK
    value = ((value ^ (value >> 29)) * _P3) & _MASK
    value ^= value >> 32
    return value - (1 << 64) if value >> 63 else value


def hash_text(text: str) -> int:
    """hash of a string: its UTF-8 bytes."""
    return xxhash64(text.encode("utf-8", "surrogatepass"))


def hash_long(number: int) -> int:
    """hash of a long, a datetime or a timespan: eight bytes, the lowest first."""
    return xxhash64(struct.pack("<q", number))


def hash_real(number: float) -> int:
    """hash of a real: its eight bytes."""
    return xxhash64(struct.pack("<d", number))


def _bounded(data: bytes, window: int) -> str:
    unfold = zlib.decompressobj(window)
    out = unfold.decompress(data, _LARGEST)
    if unfold.unconsumed_tail:
        raise ValueError("too large")
    return out.decode("utf-8")


def gzip_decompress(text: str) -> str:
    """The text that base64 of gzip holds; empty when it is none."""
    try:
        return _bounded(base64.b64decode(text, validate=True), 31)
    except (ValueError, zlib.error):
        return ""


def zlib_decompress(text: str) -> str:
    """The text that base64 of zlib holds; empty when it is none."""
    try:
        return _bounded(base64.b64decode(text, validate=True), 15)
    except (ValueError, zlib.error):
        return ""


def gzip_compress(text: str) -> str:
    """Base64 of the gzip of the text, without a time stamp."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as file:
        file.write(text.encode())
    return base64.b64encode(out.getvalue()).decode()


def zlib_compress(text: str) -> str:
    """Base64 of the zlib form of the text."""
    return base64.b64encode(zlib.compress(text.encode())).decode()


UDFS: tuple[Udf, ...] = (
    each("k_xxhash_text", "VARCHAR", "BIGINT", hash_text),
    each("k_xxhash_long", "BIGINT", "BIGINT", hash_long),
    each("k_xxhash_real", "DOUBLE", "BIGINT", hash_real),
    each("k_gunzip", "VARCHAR", "VARCHAR", gzip_decompress),
    each("k_unzlib", "VARCHAR", "VARCHAR", zlib_decompress),
    each("k_gzip", "VARCHAR", "VARCHAR", gzip_compress),
    each("k_zlib", "VARCHAR", "VARCHAR", zlib_compress),
)
