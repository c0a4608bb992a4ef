"""Hashes that SQL does not have, and compressed text."""

from __future__ import annotations

import base64
import gzip
import io
import zlib
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from tocsin.kql.functions.model import Udf
from tocsin.kql.functions.python.define import each

__all__ = ["UDFS", "hash_words"]

_LARGEST = 64 << 20
"""The most bytes that a compressed text may unfold to."""


def _long(x: int) -> Any:
    return np.uint64(x)


_P1, _P2, _P3, _P4, _P5 = (
    _long(0x9E3779B185EBCA87),
    _long(0xC2B2AE3D27D4EB4F),
    _long(0x165667B19E3779F9),
    _long(0x85EBCA77C2B2AE63),
    _long(0x27D4EB2F165667C5),
)


def _rotated(x: Any, count: int) -> Any:
    return x << _long(count) | x >> _long(64 - count)


def hash_words(words: Any) -> Any:
    """xxHash (64 bits, seed 0) of each eight bytes, as signed longs: what the library computes for them one by one."""
    x = words.view(np.uint64)
    value = (_P5 + _long(8)) ^ (_rotated(x * _P2, 31) * _P1)
    value = _rotated(value, 27) * _P1 + _P4
    value = (value ^ value >> _long(33)) * _P2
    value = (value ^ value >> _long(29)) * _P3
    return (value ^ value >> _long(32)).view(np.int64)


def _hash_texts(texts: pa.Array) -> pa.Array:
    """hash of strings: their UTF-8 bytes."""
    distinct = texts.cast(pa.binary()).dictionary_encode()
    if isinstance(distinct, pa.ChunkedArray):
        distinct = distinct.combine_chunks()
    hashes = np.fromiter(
        map(xxhash.xxh64_intdigest, distinct.dictionary.to_pylist()), np.uint64, len(distinct.dictionary)
    )
    return pa.array(hashes.view(np.int64)).take(distinct.indices)


def _hash_numbers(numbers: pa.Array) -> pa.Array:
    """hash of longs, datetimes and timespans: eight bytes, the lowest first; of reals theirs."""
    values = numbers.fill_null(0).to_numpy(zero_copy_only=False)
    missing = numbers.is_null().to_numpy(zero_copy_only=False)
    return pa.array(hash_words(np.ascontiguousarray(values)), mask=missing)


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
    Udf("k_xxhash_text", ("VARCHAR",), "BIGINT", _hash_texts),
    Udf("k_xxhash_long", ("BIGINT",), "BIGINT", _hash_numbers),
    Udf("k_xxhash_real", ("DOUBLE",), "BIGINT", _hash_numbers),
    each("k_gunzip", "VARCHAR", "VARCHAR", gzip_decompress),
    each("k_unzlib", "VARCHAR", "VARCHAR", zlib_decompress),
    each("k_gzip", "VARCHAR", "VARCHAR", gzip_compress),
    each("k_zlib", "VARCHAR", "VARCHAR", zlib_compress),
)
