"""A copy of the SQLite state while a server works with it, by SQLite's own online backup (https://sqlite.org/backup.html)."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from tocsin.base.errors import Place, StateError

__all__ = ["copy_state"]


def copy_state(source: Path, target: Path) -> None:
    """Copies a state database to a new file, readable by its owner only. StateError when it can't be read or written."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        reader = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
        writer = sqlite3.connect(target)
        try:
            reader.backup(writer)
            (verdict,) = writer.execute("PRAGMA integrity_check(1)").fetchone()
        finally:
            writer.close()
            reader.close()
    except sqlite3.Error as error:
        raise StateError(f"The state database can't be copied: {error}", place=Place(str(source))) from error
    if verdict != "ok":
        raise StateError(f"The state database is damaged: {verdict}", place=Place(str(source)))
