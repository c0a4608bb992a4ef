"""What a receiver remembers beside the log, written as one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack

from tocsin.base.errors import LakeError, Place
from tocsin.lake.durable import write_atomically

__all__ = ["write_remembered"]


def write_remembered(file: Path, content: Mapping[str, Any], message: str, hint: str) -> None:
    """Puts `content` in the file's place, as MessagePack, durable before it returns. Raises LakeError LAK0016 when the disk refuses:
    `message` says what can't be written, and the reason is put behind it."""
    try:
        write_atomically(file, bytes(msgpack.packb(content)))
    except OSError as error:
        raise LakeError(
            f"{message}: {error.strerror or error}.", code="LAK0016", place=Place(str(file)), hint=hint
        ) from error
