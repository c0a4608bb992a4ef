"""How long rows stay: by age and by size, for each table and for all together.

Age counts from `_TimeReceived`, the moment the row came in, so that old rows which arrive late live as long as others. Whole files go;
one that straddles the limit is rewritten only when a tenth of its table's time has passed beyond it, so a row may live that much longer.

A table's time that was shortened takes effect after a delay in which the old one can be put back: the book remembers what was in force
(Azure Monitor waits 30 days as well: "Manage data retention in a Log Analytics workspace"). A hold stops all deletion.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tocsin.base.errors import LakeError, Place
from tocsin.lake.durable import write_atomically
from tocsin.lake.settings import RetentionSettings, TableRetention
from tocsin.lake.snapshot import DataFile

__all__ = ["Book", "Deletion", "Term", "budget_bytes", "evicted", "read_book", "shorter", "write_book"]

_FOREVER = 0


@dataclass(frozen=True, slots=True)
class Deletion:
    """What retention took: rows and bytes of a table, and the rule that took them."""

    table: str
    rows: int
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Term:
    """A table's time in days (0 is for ever) as it was before it was shortened, and since when the shorter one waits."""

    days: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Book:
    """What the lake remembers of retention: the days in force per table, what was shortened, the hold's reason, and what people set for single
    tables while it runs, which goes before the settings."""

    days: Mapping[str, int]
    shortened: Mapping[str, Term]
    hold: str = ""
    own: Mapping[str, TableRetention] = field(default_factory=dict)

    def wanted(self, settings: RetentionSettings) -> RetentionSettings:
        """The settings with what people set for single tables."""
        return settings.model_copy(update={"tables": {**settings.tables, **self.own}}) if self.own else settings

    def in_force(self, table: str, wanted: int, now: datetime, undo: timedelta) -> tuple[int, Book]:
        """The days that hold for a table now, and the book as it is afterwards. `wanted` is what the settings say."""
        before = self.days.get(table)
        waiting = self.shortened.get(table)
        if before is None or not shorter(wanted, before):
            kept = {t: s for t, s in self.shortened.items() if t != table}
            return wanted, replace(self, days={**self.days, table: wanted}, shortened=kept)
        if waiting is None:
            waiting = Term(before, now)
        if now - waiting.since < undo:
            return before, replace(self, shortened={**self.shortened, table: waiting})
        kept = {t: s for t, s in self.shortened.items() if t != table}
        return wanted, replace(self, days={**self.days, table: wanted}, shortened=kept)


def shorter(days: int, other: int) -> bool:
    """Whether rows stay shorter for these days than for the other ones; 0 is for ever."""
    return days != _FOREVER and (other == _FOREVER or days < other)


def read_book(path: Path) -> Book:
    """The book of a lake; an empty one where there is none. LakeError LAK0020 when it is damaged: then nothing may be deleted."""
    try:
        raw: dict[str, Any] = json.loads(path.read_bytes())
        return Book(
            {str(t): int(d) for t, d in raw.get("days", {}).items()},
            {
                str(t): Term(int(s["days"]), datetime.fromisoformat(s["since"]).astimezone(UTC))
                for t, s in raw.get("shortened", {}).items()
            },
            str(raw.get("hold", "")),
            {str(t): TableRetention.model_validate(o) for t, o in raw.get("own", {}).items()},
        )
    except FileNotFoundError:
        return Book({}, {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # pydantic's is a ValueError
        raise LakeError(
            f"The book of retention is damaged: {error}.",
            code="LAK0020",
            place=Place(str(path)),
            hint="Nothing is deleted until it is repaired or removed; removed, the settings hold at once.",
        ) from error


def write_book(path: Path, book: Book) -> None:
    """Makes the book durable."""
    raw = {
        "format": 1,
        "hold": book.hold,
        "days": dict(sorted(book.days.items())),
        "shortened": {t: {"days": s.days, "since": s.since.isoformat()} for t, s in sorted(book.shortened.items())},
        "own": {t: o.model_dump() for t, o in sorted(book.own.items())},
    }
    write_atomically(path, json.dumps(raw, indent=1).encode())


def budget_bytes(settings: RetentionSettings, folder: Path) -> int:
    """Bytes that all tables together may take: as set, or a share of the disk that the folder lies on."""
    if settings.budget_bytes:
        return settings.budget_bytes
    return int(shutil.disk_usage(folder).total * settings.budget_percent / 100)


def evicted(
    files: Mapping[str, tuple[DataFile, ...]], budget: int, *, newest: datetime, limits: Mapping[str, int]
) -> Iterator[tuple[str, DataFile, str]]:
    """Files that must go so that each table is within its limit and all are within the budget: those whose rows came in first.

    No file goes that holds rows received at or after `newest` (naive UTC): a flood of one day mustn't push out what just came. A file
    whose times aren't known stays.
    """
    gone: set[str] = set()
    for table, limit in limits.items():
        held = files.get(table, ())
        over = sum(f.size for f in held) - limit
        for file in _oldest_first(held, newest):
            if over <= 0:
                break
            over -= file.size
            gone.add(file.path)
            yield table, file, f"the table is above {limit} bytes"
    rest = [(t, f) for t, held in files.items() for f in held if f.path not in gone]
    over = sum(f.size for _, f in rest) - budget
    owner = {f.path: t for t, f in rest}
    for file in _oldest_first([f for _, f in rest], newest):
        if over <= 0:
            return
        over -= file.size
        yield owner[file.path], file, f"all tables together are above {budget} bytes"


def _oldest_first(files: tuple[DataFile, ...] | list[DataFile], newest: datetime) -> list[DataFile]:
    known = [(f.received[1], f.path, f) for f in files if f.received is not None and f.received[1] < newest]
    return [f for _, _, f in sorted(known, key=lambda k: k[:2])]
