"""Files of derived entries (caches): replaced as a whole, read only where nobody else could have written them.

An entry is bytes by a key of bytes. Nobody depends on such a file: one that is cut off, changed, foreign or too large is passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import structlog

__all__ = ["KeptEntries", "program_digest", "read_entries", "trusted", "write_entries"]

_log = structlog.get_logger("tocsin.base")

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


class KeptEntries:
    """The entries of one file: those that were there, and those that this run used or found out. Not for several threads.

    Several processes may use one file: each replaces it as a whole, and who comes last wins.
    """

    def __init__(self, path: Path, magic: bytes, *, most_entries: int, most_bytes: int) -> None:
        self._path, self._magic = path, magic
        self._most_entries, self._most_bytes = most_entries, most_bytes
        self._entries = read_entries(path, magic, most_bytes)
        self._used: dict[bytes, bytes] = {}
        self._changed = False

    def get(self, key: bytes) -> bytes | None:
        """The entry that the file had; whoever can use it says so by `use`."""
        return self._entries.get(key)

    def use(self, key: bytes) -> None:
        """The file's entry is worth keeping: those that nobody used go first when there are too many."""
        self._used[key] = self._entries[key]

    def put(self, key: bytes, entry: bytes) -> None:
        """Takes an entry, for `save`."""
        self._used[key] = entry
        self._changed = True

    def save(self) -> None:
        """Writes what is new, where it can be written."""
        if not self._changed:
            return
        try:
            self._entries = write_entries(
                self._path, self._magic, self._used, most_entries=self._most_entries, most_bytes=self._most_bytes
            )
        except OSError as error:
            _log.debug("cache.not_written", path=str(self._path), error=str(error))
        self._changed = False


def program_digest(root: Path, modules: Iterable[str], *versions: str) -> str:
    """What stands for the code that makes entries: versions, and the text of its modules below `root`, which changes more often than versions do."""
    digest = hashlib.sha256(" ".join(versions).encode())
    for name in modules:
        with contextlib.suppress(OSError):
            digest.update((root / name).read_bytes())
    return digest.hexdigest()


def _tidy(folder: Path, own: Path) -> None:
    """Removes the oldest files of other versions, and what a killed process left."""
    others = sorted(
        (p for p in folder.iterdir() if p != own and p.suffix in (own.suffix, ".tmp")),
        key=lambda p: -p.lstat().st_mtime,
    )
    for path in others[_MOST_FILES:]:
        path.unlink(missing_ok=True)
