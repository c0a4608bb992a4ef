"""Files of derived entries (caches): replaced as a whole, read only where nobody else could have written them.

An entry is bytes by a key of bytes. Nobody depends on such a file: one that is cut off, changed, foreign or too large is passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

__all__ = ["read_entries", "trusted", "write_entries"]

_MOST_FILES = 3
"""Files of other versions that stay, for those who switch between two."""


def trusted(folder: Path) -> bool:
    """Whether the folder is ours and nobody else may write there. Raises OSError."""
    status = os.lstat(folder)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def read_entries(path: Path, magic: bytes, most_bytes: int) -> dict[bytes, bytes]:
    """The entries of a file that begins with `magic`, none where it isn't whole."""
    try:
        if not trusted(path.parent) or path.stat().st_size > most_bytes:
            return {}
        content = path.read_bytes()
    except OSError:
        return {}
    start = len(magic) + 32
    body = memoryview(content)[start:]
    if not content.startswith(magic) or hashlib.sha256(body).digest() != content[len(magic) : start]:
        return {}
    try:
        return msgspec.msgpack.decode(body, type=dict[bytes, bytes])
    except msgspec.DecodeError:
        return {}


def write_entries(
    path: Path, magic: bytes, used: Mapping[bytes, bytes], *, most_entries: int, most_bytes: int
) -> dict[bytes, bytes]:
    """Writes entries, beside those of the file as it is now (another process may have written); these go first where they are too many.

    Gives what was written. Raises OSError; a folder that others may write to is left alone.
    """
    kept: dict[bytes, bytes] = {}
    size = 0
    others = {k: v for k, v in read_entries(path, magic, most_bytes).items() if k not in used}
    for key, entry in {**used, **others}.items():
        size += len(key) + len(entry) + 16
        if len(kept) >= most_entries or size > most_bytes - 1024:
            break
        kept[key] = entry
    body = msgspec.msgpack.encode(kept)
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not trusted(folder):
        return kept
    handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(magic + hashlib.sha256(body).digest() + body)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):
        _tidy(folder, path)
    return kept


def _tidy(folder: Path, own: Path) -> None:
    """Removes the oldest files of other versions, and what a killed process left."""
    others = sorted(
        (p for p in folder.iterdir() if p != own and p.suffix in (own.suffix, ".tmp")),
        key=lambda p: -p.lstat().st_mtime,
    )
    for path in others[_MOST_FILES:]:
        path.unlink(missing_ok=True)
