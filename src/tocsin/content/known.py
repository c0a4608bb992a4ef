"""Rule files that were read before: what a start must know of them, so that their YAML is parsed only where somebody asks for it.

An entry is found by the whole text of a file, and by the program that read it. Only files of Sigma rules without a complaint have one:
of thousands, most are never looked at beyond their compiled rules.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import msgspec

from tocsin import __version__
from tocsin.base.kept import KeptEntries, program_digest

__all__ = ["KnownFile", "KnownFiles"]

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
        self._kept = KeptEntries(
            folder / f"{_program()[:24]}.files", _MAGIC, most_entries=_MOST_ENTRIES, most_bytes=_MOST_BYTES
        )

    def get(self, text: str) -> KnownFile | None:
        """What is known of a file with that text."""
        key = _key(text)
        entry = self._kept.get(key)
        if entry is None:
            return None
        try:
            found = _DECODE(entry)
        except msgspec.DecodeError:
            return None
        self._kept.use(key)
        return found

    def put(self, text: str, known: KnownFile) -> None:
        """Takes what was found out, for `save`."""
        self._kept.put(_key(text), msgspec.msgpack.encode(known))

    def save(self) -> None:
        """Writes what is new."""
        self._kept.save()


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


@lru_cache(maxsize=1)
def _program() -> str:
    """What stands for the code that reads rule files."""
    return program_digest(Path(__file__).parents[1], _DEPENDS, __version__)
