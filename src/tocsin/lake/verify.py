"""Proves that a lake's files are what was written: `tocsin lake verify`.

Reads only, takes no lock, and may run beside a server: a file that a merge takes away meanwhile isn't missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tocsin.base.clock import SystemClock
from tocsin.base.errors import LakeError, Place
from tocsin.lake.checksum import digest_of, digest_said
from tocsin.lake.delta import DeltaLog
from tocsin.lake.engine.files import why_damaged, why_unreadable
from tocsin.lake.log import inspect
from tocsin.lake.snapshot import DataFile

__all__ = ["TableVerdict", "Verdict", "verify"]

Progress = Callable[[int, int], None]
"""Called with bytes checked and bytes in all."""


@dataclass(slots=True)
class TableVerdict:
    """What was found of one table. `unnamed` counts files without a checksum in their name: those were read whole instead."""

    table: str
    files: int = 0
    rows: int = 0
    bytes: int = 0
    unnamed: int = 0
    damaged: list[tuple[DataFile, str]] = field(default_factory=list)
    error: LakeError | None = None

    @property
    def whole(self) -> bool:
        """Whether every file is what was written."""
        return not self.damaged and self.error is None


@dataclass(slots=True)
class Verdict:
    """What was found of a lake."""

    tables: list[TableVerdict] = field(default_factory=list)
    log: list[LakeError] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.log and all(t.whole for t in self.tables)

    def problems(self) -> Iterator[LakeError]:
        """Each damage, with its place."""
        for table in self.tables:
            if table.error is not None:
                yield table.error
            for file, reason in table.damaged:
                yield LakeError(
                    f"A file of table {table.table} is damaged: {reason}.",
                    code="LAK0005",
                    place=Place(file.path),
                    hint=f"Its {file.rows:,} rows are lost here. Restore it from a backup; `--set-aside` takes it out of the table.",
                )
        yield from self.log


def verify(path: Path, progress: Progress = lambda _done, _total: None) -> Verdict:
    """Checks every file of the lake in a folder, and its log. Raises LakeError LAK0019 when there is no lake."""
    tables = path / "tables"
    if not tables.is_dir():
        raise LakeError("There is no lake in this folder.", code="LAK0019", place=Place(str(path)))
    verdict = Verdict()
    listed: list[tuple[TableVerdict, tuple[DataFile, ...]]] = []
    for folder in sorted(p for p in tables.iterdir() if p.is_dir()):
        table = TableVerdict(folder.name)
        verdict.tables.append(table)
        try:
            files, _, _ = DeltaLog(folder, SystemClock()).open()
        except LakeError as error:
            table.error = error
            continue
        listed.append((table, files))
    total = sum(f.size for _, files in listed for f in files)
    done = 0
    for table, files in listed:
        for file in files:
            _check(table, file)
            done += file.size
            progress(done, total)
        if table.damaged:
            # What a merge has replaced since isn't damage.
            still, _, _ = DeltaLog(tables / table.table, SystemClock()).open()
            paths = {f.path for f in still}
            table.damaged = [(f, why) for f, why in table.damaged if f.path in paths]
    verdict.log = inspect(path / "log")
    return verdict


def _check(table: TableVerdict, file: DataFile) -> None:
    table.files += 1
    table.rows += file.rows
    table.bytes += file.size
    said = digest_said(file.path)
    if said is None:
        table.unnamed += 1
    reason = why_damaged(file) or (why_unreadable(file) if said is None else _changed(file, said))
    if reason:
        table.damaged.append((file, reason))


def _changed(file: DataFile, said: str) -> str:
    try:
        return "" if digest_of(file.path) == said else "its bytes have changed since it was written"
    except OSError as error:
        return error.strerror or str(error)
