"""The log's record format: a header, then the compressed bodies of one group.

    magic "TSL1" | first sequence u64 | bodies u32 | raw bytes u32 | stored bytes u32 | CRC-32 u32     little-endian, 28 bytes
    zstd frame of a MessagePack array of [source, received in µs since 1970, meta, data]

The CRC covers the header before it and the stored bytes, so neither a torn nor a misplaced record is taken for a whole one. Bodies of one record have
consecutive sequence numbers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import msgspec
import zstandard

__all__ = ["HEADER_BYTES", "MAGIC", "Body", "Frame", "FrameError", "decode", "encode", "read_frames"]

MAGIC = b"TSL1"
_HEADER = struct.Struct("<4sQIII")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
_LARGEST = 1 << 31
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Body:
    """What a receiver got: bytes of one request, datagram or file piece, before any decoding.

    `source` is the receiver's kind (hec, jsonl, syslog, file…); `received` a UTC instant; `meta` what the protocol said
    besides (host, sourcetype, path, peer, request id…).
    """

    source: str
    data: bytes
    received: datetime
    meta: Mapping[str, str] = field(default_factory=dict)


class _Entry(msgspec.Struct, array_like=True):
    source: str
    received: int
    meta: dict[str, str]
    data: bytes


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[_Entry])


class FrameError(Exception):
    """A record that isn't whole. `offset` is where it starts."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole record, its bodies still compressed. `end` is the offset behind it."""

    first: int
    count: int
    raw_bytes: int
    stored: bytes
    end: int

    @property
    def last(self) -> int:
        """The sequence number of its last body."""
        return self.first + self.count - 1


def encode(first: int, bodies: Sequence[Body], compressor: zstandard.ZstdCompressor) -> bytes:
    """One record. The compressor must belong to the calling thread: sharing one crashes the process."""
    entries = [_Entry(b.source, (b.received - _EPOCH) // _MICROSECOND, dict(b.meta), b.data) for b in bodies]
    raw = _ENCODER.encode(entries)
    stored = compressor.compress(raw)
    head = _HEADER.pack(MAGIC, first, len(bodies), len(raw), len(stored))
    return b"".join((head, _CRC.pack(zlib.crc32(stored, zlib.crc32(head))), stored))


def decode(frame: Frame, decompressor: zstandard.ZstdDecompressor) -> Iterator[tuple[int, Body]]:
    """The record's bodies with their sequence numbers."""
    raw = decompressor.decompress(frame.stored, max_output_size=frame.raw_bytes)
    for number, entry in enumerate(_DECODER.decode(raw), frame.first):
        yield number, Body(entry.source, entry.data, _EPOCH + entry.received * _MICROSECOND, entry.meta)


def read_frames(stream: BinaryIO, start: int, end: int) -> Iterator[Frame]:
    """Whole records between two offsets; FrameError at the first that isn't, or that ends behind `end`."""
    offset = start
    stream.seek(start)
    while offset < end:
        head = stream.read(_HEADER.size + _CRC.size) if end - offset >= HEADER_BYTES else b""
        if len(head) < HEADER_BYTES:
            raise FrameError("the record's header is cut off", offset)
        magic, first, count, raw_bytes, stored_bytes = _HEADER.unpack_from(head)
        if magic != MAGIC or raw_bytes > _LARGEST or stored_bytes > _LARGEST:
            raise FrameError("there is no record", offset)
        if offset + HEADER_BYTES + stored_bytes > end:
            raise FrameError("the record is cut off", offset)
        stored = stream.read(stored_bytes)
        (crc,) = _CRC.unpack_from(head, _HEADER.size)
        if len(stored) < stored_bytes or zlib.crc32(stored, zlib.crc32(head[: _HEADER.size])) != crc:
            raise FrameError("the record's checksum is wrong", offset)
        offset += HEADER_BYTES + stored_bytes
        yield Frame(first, count, raw_bytes, stored, offset)
