"""Rule files that were read before: what a start must know of them, so that their YAML is parsed only where somebody asks for it.

An entry is found by the whole text of a file, and by the program that read it. Only files of Sigma rules without a complaint have one:
of thousands, most are never looked at beyond their compiled rules.
"""

from __future__ import annotations

import contextlib
import hashlib
from functools import lru_cache
from pathlib import Path

import msgspec
import structlog

from tocsin import __version__
from tocsin.base.kept import read_entries, write_entries

__all__ = ["KnownFile", "KnownFiles"]

_log = structlog.get_logger("tocsin.content")

_MAGIC = b"tocsin rule files 1\n"
_MOST_BYTES = 16 * 1024 * 1024
_MOST_ENTRIES = 50_000
_DEPENDS = ("content/known.py", "content/load.py", "content/model.py", "content/schemas.py", "content/yamltext.py")


class KnownFile(msgspec.Struct, array_like=True, frozen=True):
    """A file's rule id (empty where it gives none), and whether it holds correlations or filters."""

    id: str
    joins: bool


_DECODE = msgspec.msgpack.Decoder(KnownFile).decode


class KnownFiles:
    """The entries of one folder. Not for several threads."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{_program()[:24]}.files"
        self._entries = read_entries(self._path, _MAGIC, _MOST_BYTES)
        self._used: dict[bytes, bytes] = {}
        self._changed = False

    def get(self, text: str) -> KnownFile | None:
        """What is known of a file with that text."""
        key = _key(text)
        entry = self._entries.get(key)
        if entry is None:
            return None
        try:
            found = _DECODE(entry)
        except msgspec.DecodeError:
            return None
        self._used[key] = entry
        return found

    def put(self, text: str, known: KnownFile) -> None:
        """Takes what was found out, for `save`."""
        self._used[_key(text)] = msgspec.msgpack.encode(known)
        self._changed = True

    def save(self) -> None:
        """Writes what is new."""
        if not self._changed:
            return
        try:
            self._entries = write_entries(
                self._path, _MAGIC, self._used, most_entries=_MOST_ENTRIES, most_bytes=_MOST_BYTES
            )
        except OSError as error:
            _log.debug("content.cache_not_written", path=str(self._path), error=str(error))
        self._changed = False


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


@lru_cache(maxsize=1)
def _program() -> str:
    """What stands for the code that reads rule files."""
    digest = hashlib.sha256(__version__.encode())
    root = Path(__file__).parents[1]
    for name in _DEPENDS:
        with contextlib.suppress(OSError):
            digest.update((root / name).read_bytes())
    return digest.hexdigest()
