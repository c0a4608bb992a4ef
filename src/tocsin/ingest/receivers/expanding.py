"""Undoing a sender's compression: bounded, in time that grows with the bytes alone, and whole or not at all."""

from __future__ import annotations

import zlib

import pyarrow as pa

__all__ = ["DamagedError", "inflated", "unzstd"]


class DamagedError(ValueError):
    """The data isn't what it is said to be, or ends too early: nothing of it may be taken for the whole."""


def inflated(data: bytes, limit: int) -> bytes:
    """What gzip (members one after another, zeros behind them) or zlib holds; at most `limit` bytes and one more. Raises DamagedError."""
    if not data:
        return b""
    stream = zlib.decompressobj(47)  # gzip or zlib, by its header
    try:
        out = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise DamagedError(str(error)) from error
    if len(out) > limit:
        return out
    if not stream.eof:
        raise DamagedError("it ends too early")
    if not stream.unused_data.strip(b"\0"):
        return out
    # Here each member would cost a copy of all that follows it: millions of empty ones would keep a core busy for hours.
    return _read(data, "gzip", limit)


def unzstd(data: bytes, limit: int) -> bytes:
    """What zstd frames hold; at most `limit` bytes and one more. Raises DamagedError.

    By Arrow, since the readers of `zstandard` don't tell the end of a frame from the end of what came of it.
    """
    return _read(data, "zstd", limit) if data else b""


def _read(data: bytes, codec: str, limit: int) -> bytes:
    try:
        with pa.CompressedInputStream(pa.py_buffer(data), codec) as stream:
            out: bytes = stream.read(limit + 1)
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(str(error)) from error
    return out
