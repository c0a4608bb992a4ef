"""Archives and compressed streams: opened as streams, bounded in depth, members, bytes and ratio. Nothing is extracted to a named path."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import zstandard

from tocsin.base.errors import IngestError, Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.source import Chained, Readable, Source, translate
from tocsin.ingest.settings import DecodeLimits

__all__ = ["ARCHIVES", "COMPRESSED", "Budget", "decompressed", "members"]

COMPRESSED = frozenset({"gzip", "bzip2", "xz", "zstd"})
_ZSTD_BYTES = 2048
ARCHIVES = frozenset({"zip", "tar"})


@dataclass(slots=True)
class Budget:
    """What one outermost archive may still expand to, nested archives included. `size` is its own size, 0 when unknown."""

    limits: DecodeLimits
    name: str
    size: int
    out: int = 0
    members: int = 0
    exhausted: bool = False

    def take(self, count: int, where: str) -> None:
        """Counts bytes that came out. Raises IngestError naming the setting when they are too many."""
        self.out += count
        limits = self.limits
        if self.out > limits.archive_bytes:
            self.exhausted = True
            raise IngestError(
                f"It expands to more than {limits.archive_bytes} bytes.", code=codes.BOMB_BYTES, place=Place(where),
                hint="The setting is archive_bytes.",
            )  # fmt: skip
        if self.size and self.out > limits.archive_ratio_floor and self.out > self.size * limits.archive_ratio:
            self.exhausted = True
            raise IngestError(
                f"It expands to more than {limits.archive_ratio} times its size: taken for an archive bomb and not read on.",
                code=codes.BOMB_RATIO, place=Place(where), hint="The setting is archive_ratio.",
            )  # fmt: skip

    def member(self, where: str) -> None:
        """Counts a member. Raises IngestError when they are too many."""
        self.members += 1
        if self.members > self.limits.archive_members:
            self.exhausted = True
            raise IngestError(
                f"It has more than {self.limits.archive_members} members.", code=codes.BOMB_MEMBERS, place=Place(where),
                hint="The setting is archive_members.",
            )  # fmt: skip


class _Metered(io.RawIOBase):
    """A stream whose bytes count against a budget, and against the ratio of its own compressed size."""

    def __init__(self, stream: Readable, budget: Budget, name: str, compressed: int = 0) -> None:
        self._stream = stream
        self._budget = budget
        self._own = Budget(budget.limits, name, compressed) if compressed else None
        self._name = name

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes."""
        data = self._stream.read(size)
        if self._own is not None:
            self._own.take(len(data), self._name)
        self._budget.take(len(data), self._name)
        return data

    def readinto(self, buffer: object, /) -> int:
        """See `io.RawIOBase.readinto`."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


class _Zstd:
    """The frames of a zstd file, one after another. Unlike the reader of `zstandard` it tells when the last one ends too early."""

    def __init__(self, raw: Readable) -> None:
        self._raw = raw
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._rest = b""
        self._out = memoryview(b"")

    def read1(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; nothing at the end. Raises EOFError within a frame, ZstdError for what is none."""
        while not self._out:
            # A few bytes may stand for megabytes: what is handed over at once bounds what comes of it.
            data = self._rest or self._raw.read(_ZSTD_BYTES)
            if not data:
                if self._frame is not None:
                    raise EOFError("Compressed file ended before the end-of-stream marker was reached")
                return b""
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
            self._out, self._rest = memoryview(self._frame.decompress(data)), b""
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        out = bytes(self._out[:size] if size >= 0 else self._out)
        self._out = self._out[len(out) :]
        return out


class _Eager:
    """Reads what is there at once, so that damage further on doesn't take what came before it along."""

    def __init__(self, stream: gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile | _Zstd) -> None:
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes."""
        return self._stream.read1(size)


def decompressed(source: Source, kind: str, budget: Budget) -> Source:
    """The same source with its compression taken off."""
    raw = io.BufferedReader(Chained(source), 1 << 18)
    stream: gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile | _Zstd
    if kind == "gzip":
        stream = gzip.GzipFile(fileobj=raw)
    elif kind == "bzip2":
        stream = bz2.BZ2File(raw)
    elif kind == "xz":
        stream = lzma.LZMAFile(cast(BinaryIO, raw))  # noqa: SIM115
    else:
        stream = _Zstd(raw)
    return Source(source.name, _Metered(_Eager(stream), budget, source.name))


def members(source: Source, kind: str, budget: Budget) -> Iterator[tuple[Source | None, str, IngestError | None]]:
    """The files in an archive, in its order: (source, name, error). A source must be read before the next is asked for.

    An entry that can't be opened comes with its error and without source. Raises IngestError when the archive itself is damaged.
    """
    if kind == "zip":
        yield from _zip_members(source, budget)
    else:
        yield from _tar_members(source, budget)


def _zip_members(source: Source, budget: Budget) -> Iterator[tuple[Source | None, str, IngestError | None]]:
    limits = budget.limits
    with source.spool(limits.spool_bytes) as file:
        try:
            archive = zipfile.ZipFile(file)
            entries = archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as failure:
            raise translate(failure, source.name, 0) from failure
        with archive:
            for entry in entries:
                if entry.is_dir():
                    continue
                name = f"{source.name}!{entry.filename}"
                budget.member(source.name)
                if (
                    entry.file_size > limits.archive_ratio_floor
                    and entry.file_size > entry.compress_size * limits.archive_ratio
                ):
                    yield None, name, IngestError(
                        f"It would expand from {entry.compress_size} to {entry.file_size} bytes, more than {limits.archive_ratio} times: "
                        "taken for an archive bomb and not read.",
                        code=codes.BOMB_RATIO, place=Place(name), hint="The setting is archive_ratio.",
                    )  # fmt: skip
                    continue
                try:
                    member = archive.open(entry)
                except Exception as failure:
                    yield None, name, translate(failure, name, 0)
                    continue
                with member:
                    yield Source(name, _Metered(member, budget, name, max(entry.compress_size, 1))), name, None


def _tar_members(source: Source, budget: Budget) -> Iterator[tuple[Source | None, str, IngestError | None]]:
    try:
        archive = tarfile.open(fileobj=cast(BinaryIO, io.BufferedReader(Chained(source), 1 << 18)), mode="r|")  # noqa: SIM115
    except tarfile.TarError as failure:
        raise translate(failure, source.name, 0) from failure
    with archive:
        while True:
            try:
                entry = archive.next()
            except tarfile.TarError as failure:
                raise translate(failure, source.name, source.position) from failure
            if entry is None:
                return
            if not entry.isfile():
                continue
            name = f"{source.name}!{entry.name}"
            budget.member(source.name)
            member = archive.extractfile(entry)
            if member is None:
                continue
            yield Source(name, cast(Readable, member)), name, None
