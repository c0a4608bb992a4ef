"""Which terms a data file holds, in a filter beside it: ``<file>.terms``. A query for a rare term then opens the few files that may hold it.

A blocked Bloom filter over all terms (`tocsin.kql.needs`) of the file's string columns: about ten bits and six tests for each term, which lets a
term that isn't there through once in a hundred times, and never hides one that is. Each block is a page of 4096 bytes with a CRC of its
own, so that a test reads one page, and a damaged page means that the file is read, not that rows are missed.

Layout: ``TSTERMS1``, number of pages (u32), bits to set for each term (u32), CRC-32 of these 16 bytes, zeros up to 4096; then the pages, each
4092 bytes of bits and their CRC-32. Numbers are little-endian. A term's page is h1 mod pages, its bits are h2 + i·h3 mod 32736, where h1 is the
lower and h2, h3 the halves of the upper 64 bits of its MD5, as DuckDB's ``md5_number_lower`` and ``md5_number_upper`` give them.
"""

from __future__ import annotations

import hashlib
import os
import struct
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import numpy as np
import numpy.typing as npt

from tocsin.base.errors import LakeError, Place
from tocsin.lake.durable import sync_file
from tocsin.lake.engine.physical import quote_name, quote_text

__all__ = ["SUFFIX", "TermFilter", "build_filter", "filter_path"]

SUFFIX = ".terms"
_MAGIC = b"TSTERMS1"
_PAGE = 4096
_BYTES = _PAGE - 4
_BITS = _BYTES * 8
_HEAD = struct.Struct("<8sII")
_BITS_PER_TERM = 10
_PROBES = 6
_MEMORY = "256MB"


def filter_path(file: str | Path) -> Path:
    """Where a data file's filter lies."""
    return Path(file).with_suffix(SUFFIX)


def build_filter(file: str | Path, columns: Sequence[str]) -> int:
    """Makes the filter of a Parquet file over those string columns of its; gives the number of different terms.

    The filter appears whole or not at all. Raises LakeError LAK0023 when the file can't be read or the filter not written.
    """
    target = filter_path(file)
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        hashes = _hashes(file, columns)
        with part.open("xb") as stream:
            stream.write(_encoded(*hashes))
        sync_file(part)
        part.rename(target)
    except (duckdb.Error, OSError) as error:
        part.unlink(missing_ok=True)
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]
        raise LakeError(
            f"The terms of a file can't be gathered: {reason}.",
            code="LAK0023",
            place=Place(str(file)),
            hint="Queries read the file whole; nothing is lost.",
        ) from error
    return len(hashes[0])


def _hashes(file: str | Path, columns: Sequence[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    low: list[npt.NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    high: list[npt.NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET threads = 1")
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        for column in columns:
            # lower() must be the engine's own: it decides what a query's term is compared with. Most values come often: each is taken apart once.
            name = quote_name(column)
            found = connection.execute(
                "SELECT md5_number_lower(t) AS low, md5_number_upper(t) AS high FROM (SELECT DISTINCT t FROM (SELECT "
                f"unnest(regexp_extract_all(lower({name}), '[a-z0-9]+')) AS t "
                f"FROM (SELECT DISTINCT {name} FROM read_parquet({quote_text(str(file))}))))"
            ).fetchnumpy()
            low.append(np.asarray(found["low"], np.uint64))
            high.append(np.asarray(found["high"], np.uint64))
    both = np.unique(np.stack([np.concatenate(low), np.concatenate(high)]), axis=1)
    return both[0], both[1]


def _encoded(low: npt.NDArray[np.uint64], high: npt.NDArray[np.uint64]) -> bytes:
    pages = max(1, -(-len(low) * _BITS_PER_TERM // _BITS))
    bits = np.zeros((pages, _BITS), np.bool_)
    page = (low % np.uint64(pages)).astype(np.int64)
    first, step = high & np.uint64(0xFFFFFFFF), high >> np.uint64(32)
    for probe in range(_PROBES):
        bits[page, ((first + np.uint64(probe) * step) % np.uint64(_BITS)).astype(np.int64)] = True
    head = _HEAD.pack(_MAGIC, pages, _PROBES)
    made = [(head + struct.pack("<I", zlib.crc32(head))).ljust(_PAGE, b"\0")]
    for row in np.packbits(bits, axis=1, bitorder="little"):
        packed = row.tobytes()
        made.append(packed + struct.pack("<I", zlib.crc32(packed)))
    return b"".join(made)


class TermFilter:
    """The filter of one data file, open for tests. Where there is none, or it is damaged, every term may be in the file."""

    def __init__(self, file: str | Path) -> None:
        self._handle: int | None = None
        self._pages = self._probes = 0
        self._read: dict[int, bytes | None] = {}
        try:
            self._handle = os.open(filter_path(file), os.O_RDONLY | os.O_CLOEXEC)
            head = os.pread(self._handle, _HEAD.size + 4, 0)
            magic, self._pages, self._probes = _HEAD.unpack_from(head)
            if magic != _MAGIC or struct.unpack_from("<I", head, _HEAD.size)[0] != zlib.crc32(head[: _HEAD.size]):
                self.close()
        except (OSError, struct.error):
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def usable(self) -> bool:
        """Whether there is a filter."""
        return self._handle is not None

    def may_hold(self, term: str) -> bool:
        """False when no row of the file has the term."""
        if self._handle is None:
            return True
        high, low = struct.unpack("<QQ", hashlib.md5(term.encode(), usedforsecurity=False).digest())
        bits = self._page(low % self._pages)
        if bits is None:
            return True
        first, step = high & 0xFFFFFFFF, high >> 32
        for probe in range(self._probes):
            at = (first + probe * step) % _BITS
            if not bits[at >> 3] >> (at & 7) & 1:
                return False
        return True

    def close(self) -> None:
        """Closes the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _page(self, number: int) -> bytes | None:
        if number not in self._read:
            self._read[number] = None
            try:
                assert self._handle is not None
                page = os.pread(self._handle, _PAGE, _PAGE * (number + 1))
                if len(page) == _PAGE and struct.unpack_from("<I", page, _BYTES)[0] == zlib.crc32(page[:_BYTES]):
                    self._read[number] = page[:_BYTES]
            except OSError:
                pass
        return self._read[number]
