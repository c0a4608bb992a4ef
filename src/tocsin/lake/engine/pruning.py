"""Which of a table's files a query must read: those that its window overlaps and that may hold a row which meets its needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from tocsin.kql.needs import Atom, Clauses
from tocsin.lake.engine.model import Window
from tocsin.lake.engine.physical import naive_utc
from tocsin.lake.engine.terms import TermFilter
from tocsin.lake.snapshot import DataFile

__all__ = ["needed_files"]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - instants of files are naive UTC
_MICROSECOND = timedelta(microseconds=1)


def needed_files(
    files: Sequence[DataFile], window: Window | None, needs: Sequence[Clauses], *, filled_in: Collection[str] = ()
) -> tuple[list[DataFile], dict[str, list[DataFile]]]:
    """The files to read, in order, and the others by what ruled them out: ``time`` or ``terms``.

    `filled_in` are terms that all rows have although no file holds them."""
    kept: list[DataFile] = []
    skipped: dict[str, list[DataFile]] = {"time": [], "terms": []}
    times = [[c for c in clauses if any(a.kind != "term" for a in c)] for clauses in needs]
    worded = any(a.kind == "term" for clauses in needs for c in clauses for a in c)
    for file in files:
        if not _overlaps(file, window) or (needs and not any(_timely(file, clauses) for clauses in times)):
            skipped["time"].append(file)
        elif worded and not _held(file, needs, filled_in):
            skipped["terms"].append(file)
        else:
            kept.append(file)
    return kept, skipped


def _overlaps(file: DataFile, window: Window | None) -> bool:
    if window is None:
        return True
    bounds = file.bounds(window.column)
    if bounds is None:
        return True
    least, greatest = bounds
    if window.start is not None and greatest < naive_utc(window.start):
        return False
    return window.end is None or least < naive_utc(window.end)


def _timely(file: DataFile, clauses: Sequence[frozenset[Atom]]) -> bool:
    """Whether the times alone let the file through; atoms about terms count as held."""
    return all(any(a.kind == "term" or _in_time(file, a) for a in clause) for clause in clauses)


def _held(file: DataFile, needs: Sequence[Clauses], filled_in: Collection[str]) -> bool:
    with TermFilter(file.path) as terms:
        if not terms.usable:
            return True
        return any(
            all(
                any(
                    a.value in filled_in or terms.may_hold(str(a.value)) if a.kind == "term" else _in_time(file, a)
                    for a in clause
                )
                for clause in clauses
            )
            for clauses in needs
        )


def _in_time(file: DataFile, atom: Atom) -> bool:
    bounds = file.bounds(atom.column)
    if bounds is None:
        return True
    least, greatest = ((b - _EPOCH) // _MICROSECOND for b in bounds)
    return greatest >= int(atom.value) if atom.kind == "from" else least <= int(atom.value)
