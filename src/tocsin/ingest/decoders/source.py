"""A named stream of bytes that a decoder reads: a file, a member of an archive, or a body from the wire."""

from __future__ import annotations

import io
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import zstandard

from tocsin.base.errors import IngestError, Place
from tocsin.ingest import codes

__all__ = ["HEAD_BYTES", "Readable", "Source", "translate"]

HEAD_BYTES = 64 * 1024
"""How much of a file its format is decided by."""


class Readable(Protocol):
    """Anything with `read(n)`."""

    def read(self, n: int = -1, /) -> bytes:
        """Up to `n` bytes; empty at the end."""


class Source:
    """Bytes with a name. The first `HEAD_BYTES` can be looked at (`head`) before they are read.

    `path` is set when the bytes are a plain file on disk, so that a decoder which needs random access may open it itself.
    Every failure of the stream below (a damaged gzip, a bomb, an I/O error) comes out of `read` as an `IngestError` with name and offset.
    """

    def __init__(self, name: str, stream: Readable, *, path: Path | None = None) -> None:
        self.name = name
        self.path = path
        self.position = 0
        self._stream = stream
        self._head = b""
        self._failed: IngestError | None = None

    @property
    def head(self) -> bytes:
        """The first bytes that weren't read yet, at most `HEAD_BYTES`; shorter only at the end of the stream or before damage."""
        while len(self._head) < HEAD_BYTES and self._failed is None:
            try:
                more = self._stream.read(HEAD_BYTES - len(self._head))
            except Exception as failure:
                # What came before the damage is still worth reading; the error follows it.
                self._failed = translate(failure, self.name, self.position + len(self._head))
                break
            if not more:
                break
            self._head += more
        return self._head

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, empty at the end. Raises IngestError when the stream is damaged."""
        if self._head:
            out, self._head = self._head[:size], self._head[size:]
            self.position += len(out)
            return out
        if self._failed is not None:
            raise self._failed
        try:
            out = self._stream.read(size)
        except Exception as failure:
            raise translate(failure, self.name, self.position) from failure
        self.position += len(out)
        return out

    def replace(self, stream: Readable) -> None:
        """Reads on from `stream`: for a decoder that unwraps or transcodes. What was looked at is forgotten."""
        self._stream, self._head, self._failed, self.path = stream, b"", None, None

    def spool(self, limit: int) -> BinaryIO:
        """The rest of the stream as a seekable file: in memory up to `limit` bytes, on disk beyond."""
        if self.path is not None and self.position == 0:
            return self.path.open("rb")
        spool = tempfile.SpooledTemporaryFile(max_size=limit)  # noqa: SIM115 - the caller closes it
        while block := self.read(1 << 20):
            spool.write(block)
        spool.seek(0)
        return cast(BinaryIO, spool)


class Chained(io.RawIOBase):
    """A readable over a Source's unread bytes, for libraries that want a file object."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: object, /) -> int:
        """See `io.RawIOBase.readinto`."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._source.read(len(view))
        view[: len(data)] = data
        return len(data)


def translate(failure: BaseException, name: str, offset: int) -> IngestError:
    """The IngestError for a failure of a file or of a decompressor at that offset of what came out."""
    if isinstance(failure, IngestError):
        return failure
    place = Place(name, offset=offset)
    text = str(failure) or type(failure).__name__
    if isinstance(failure, EOFError | zlib.error | lzma.LZMAError | zstandard.ZstdError):
        return IngestError(
            f"The compressed data is damaged or ends too early ({text}).", code=codes.BAD_GZIP, place=place
        )
    if isinstance(failure, zipfile.BadZipFile | tarfile.TarError):
        return IngestError(f"The archive is damaged ({text}).", code=codes.CORRUPT_ARCHIVE, place=place)
    if isinstance(failure, RuntimeError) and "password" in text:
        return IngestError("A password is needed to read it.", code=codes.ENCRYPTED, place=place)
    if isinstance(failure, NotImplementedError):
        return IngestError(f"Its compression method isn't read ({text}).", code=codes.UNSUPPORTED_ARCHIVE, place=place)
    if isinstance(failure, OSError):
        # gzip and bz2 report damage as OSError without an errno.
        if failure.errno is None:
            return IngestError(f"The compressed data is damaged ({text}).", code=codes.BAD_GZIP, place=place)
        return IngestError(f"It can't be read: {failure.strerror or text}.", code=codes.UNREADABLE, place=place)
    return IngestError(f"It can't be read ({type(failure).__name__}: {text}).", code=codes.INTERNAL, place=place)
