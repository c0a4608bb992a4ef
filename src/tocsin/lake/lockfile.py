"""One process per lake: an advisory lock that the kernel drops when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tocsin.base.errors import LakeError, Place

__all__ = ["LockFile"]


class LockFile:
    """Holds ``<lake>/LOCK`` while the lake is open. The file keeps the holder's process id for messages."""

    def __init__(self, path: Path) -> None:
        """Takes the lock; LakeError LAK0002 names the process that holds it."""
        self._path = path
        self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._handle, 64, 0).decode("ascii", "replace").strip()
            os.close(self._handle)
            self._handle = None
            raise LakeError(
                f"The lake is open in another process{f' ({holder})' if holder else ''}.",
                code="LAK0002",
                place=Place(str(path.parent)),
                hint="Stop it, or ask the running server instead.",
            ) from error
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"process {os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Gives the lock back; a second call does nothing."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None
