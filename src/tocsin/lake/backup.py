"""A lake's files as they are at one moment, held by hard links while they are copied elsewhere; a server may go on meanwhile.

What makes the copy whole, whatever the server does: the log is linked first, then the checkpoint, then each table's Delta log with the
files that it lists. Every record that was acknowledged before the beginning is then in the linked log, or is below the checkpoint and so in
the tables that are linked after it. Opening the copy replays the log as after a crash (`tocsin.lake.roll`). Of what came in meanwhile
there may be all, a part or nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tocsin.base.clock import SystemClock
from tocsin.base.errors import LakeError, Place
from tocsin.lake.delta import DeltaLog

__all__ = ["frozen"]

_PREFIX = "backup-"
_TRIES = 5


@contextmanager
def frozen(path: Path) -> Iterator[Path]:
    """A folder inside the lake's that looks like the lake and doesn't change; it is gone afterwards.

    Raises LakeError LAK0019 when there is no lake or the disk has no hard links, LAK0021 when a table can't be held.
    """
    if not (path / "tables").is_dir():
        raise LakeError("There is no lake in this folder.", code="LAK0019", place=Place(str(path)))
    _clear(path)
    staging = path / f"{_PREFIX}{os.getpid()}"
    try:
        staging.mkdir(mode=0o700)
        _link_all(path / "log", staging / "log", "*.log")
        for name in ("checkpoint.json", "retention.json"):
            with suppress(FileNotFoundError):
                os.link(path / name, staging / name)
        with suppress(FileNotFoundError):
            shutil.copyfile(path / "puts", staging / "puts")  # it grows in place
        for folder in sorted(p for p in (path / "tables").iterdir() if p.is_dir()):
            _link_table(folder, staging / "tables" / folder.name)
        # After the tables: what is set aside or archived too early is ignored, what is missing there would be lost.
        if (path / "archive").is_dir():  # what is in the archive, not its objects
            _link_all(path / "archive", staging / "archive", "*.json")
        for folder in (path / "deleted").glob("*"):
            _link_all(folder, staging / "deleted" / folder.name, "*")
        yield staging
    except OSError as error:
        raise LakeError(
            f"The lake can't be held for copying: {error.strerror or error}.",
            code="LAK0019",
            place=Place(str(error.filename or path)),
            hint="The disk must have room for and support hard links.",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _link_table(folder: Path, target: Path) -> None:
    for _ in range(_TRIES):
        shutil.rmtree(target, ignore_errors=True)
        _link_all(folder / "_delta_log", target / "_delta_log", "*")
        try:
            files, _, _ = DeltaLog(target, SystemClock()).open()
            for file in files:
                name = Path(file.path).name
                os.link(folder / name, target / name)
        except (LakeError, FileNotFoundError):
            continue  # a merge came between: the next look finds the table as it is then
        return
    raise LakeError(
        f"Table {folder.name} can't be copied: its Delta log lists files that aren't there.",
        code="LAK0021",
        place=Place(str(folder)),
        hint="`tocsin lake verify` names them; with --set-aside they are taken out of the table.",
    )


def _link_all(source: Path, target: Path, pattern: str) -> None:
    target.mkdir(parents=True)
    for path in sorted(source.glob(pattern)):
        if path.is_file():
            with suppress(FileNotFoundError):  # trimmed since the listing
                os.link(path, target / path.name)


def _clear(path: Path) -> None:
    """Removes what a backup left that died."""
    for left in path.glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX)
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
