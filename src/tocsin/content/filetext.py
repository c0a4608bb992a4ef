"""The text of a content file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tocsin.base.errors import ContentError, Place

__all__ = ["read_text"]

MAX_FILE = 8 * 1024 * 1024


def read_text(path: Path) -> str:
    """A content file's text.

    UTF-8, and UTF-16 where its mark stands first, as PowerShell redirects an export.

    Raises `ContentError`: CNT0002 for a file that can't be read or is neither, CNT0004 for one that is too large.
    """
    place = Place(str(path))
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise ContentError(
                f"The file has {size:,} bytes; at most {MAX_FILE:,} are read.", code="CNT0004", place=place
            )
        data = path.read_bytes()
    except OSError as error:
        raise ContentError(f"It can't be read: {error.strerror or error}.", code="CNT0002", place=place) from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        with suppress(UnicodeDecodeError):
            return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise ContentError(
            f"Not UTF-8: byte 0x{data[error.start]:02x}.", code="CNT0002", place=Place(str(path), line, column)
        ) from None
