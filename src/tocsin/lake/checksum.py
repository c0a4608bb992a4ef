"""A data file's name carries the checksum of its bytes, so that any copy of it anywhere can be proven whole without another file.

``000000000042-1b9d6bcd-<32 hex digits of BLAKE2b-128>.parquet``
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

__all__ = ["digest_of", "digest_said"]

_NAMED = re.compile(r"-([0-9a-f]{32})\.parquet$")


def digest_of(path: str | Path) -> str:
    """BLAKE2b-128 of a file's bytes as 32 hex digits. Raises OSError."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def digest_said(path: str | Path) -> str | None:
    """The checksum that the file's name carries; None for a file that another program wrote."""
    found = _NAMED.search(Path(path).name)
    return found[1] if found else None
