"""ATT&CK's techniques by name, from the packs' ``attack/*.csv``: columns ``technique``, ``name``, ``tactics`` (Sentinel's spelling, blanks between).

Rules and alerts carry ids only; people read names, and a technique's place in the matrix is ATT&CK's, not what some rule's author wrote beside it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tocsin.base.errors import ContentError, Place

__all__ = ["Technique", "full_name", "read_techniques"]

_ID = re.compile(r"T\d{4}(\.\d{3})?")
_COLUMNS = ["technique", "name", "tactics"]


@dataclass(frozen=True, slots=True)
class Technique:
    """A technique or sub-technique: its id (`T1003.001`), its own name, and the tactics that it serves, as Sentinel spells them."""

    id: str
    name: str
    tactics: tuple[str, ...]


def read_techniques(text: str, path: Path) -> dict[str, Technique]:
    """The techniques of such a file by id. Raises ContentError CNT0024 naming the line of the first row that isn't one."""
    rows = csv.reader(io.StringIO(text))
    if next(rows, None) != _COLUMNS:
        raise _wrong(path, 1, f"The first line must be {','.join(_COLUMNS)}.")
    found: dict[str, Technique] = {}
    for row in rows:
        if not row:
            continue
        if len(row) != len(_COLUMNS) or _ID.fullmatch(row[0]) is None or not row[1] or not row[2]:
            raise _wrong(
                path, rows.line_num, "A row is a technique's id (T1003 or T1003.001), its name and its tactics."
            )
        found[row[0]] = Technique(row[0], row[1], tuple(row[2].split()))
    return found


def full_name(technique: str, known: Mapping[str, Technique]) -> str:
    """The name as ATT&CK gives it, a sub-technique's after its parent's: `OS Credential Dumping: LSASS Memory`; empty when it isn't known."""
    found = known.get(technique)
    if found is None:
        return ""
    parent = known.get(technique.partition(".")[0])
    return found.name if parent is None or parent is found else f"{parent.name}: {found.name}"


def _wrong(path: Path, line: int, message: str) -> ContentError:
    return ContentError(message, code="CNT0024", place=Place(str(path), line))
