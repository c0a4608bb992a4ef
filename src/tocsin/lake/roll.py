"""The roll: fresh rows become Parquet files, a Delta commit makes them the table's, and the log lets go of them. Exactly once.

How no row is lost or doubled, whatever dies when:

1. A roll takes ``hi``, the sequence number up to which every log record has been put, and seals the segments in memory.
2. Each table that has sealed rows gets a file and one commit, which carries the mark ``('tocsin-roll', hi)`` together with the file. Before the
   commit the table's mark must still be the one that the lake knows. In the same step in memory, the file replaces the segments.
3. A table without rows gets no commit. When all others have theirs, ``checkpoint.json`` is written with ``hi``: from then on every table's mark is
   at least ``hi``, whether its Delta log says so or not. Only then may the log delete records up to ``hi``.
4. A restart replays the records above the checkpoint. A table whose own mark is higher (its commit came before the crash, the checkpoint did
   not) ignores the records up to its mark. A table without a commit above the checkpoint has none of their rows and takes
   them all. So a table either holds all rows of a record (mark ≥ record) or none (mark < record).
5. A file without a commit is in no table; it is deleted once it is old (`maintain.sweep`).

A table whose roll fails keeps its rows in memory and keeps the checkpoint back; the other tables go on, and the next roll tries it again.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import structlog

from tocsin.base.errors import LakeError, Place
from tocsin.lake.durable import write_atomically
from tocsin.lake.engine.physical import ITEM_NUMBER
from tocsin.lake.hot import Segment, TableState, joined
from tocsin.lake.parquet import write_rows
from tocsin.lake.snapshot import DataFile
from tocsin.lake.store import Store

__all__ = ["commit_bulk", "read_checkpoint", "roll_tables", "seal", "spill", "write_checkpoint"]

_log = structlog.get_logger("tocsin.lake.roll")


def read_checkpoint(path: Path) -> int:
    """The sequence number up to which every table has its rows; 0 before the first roll. LakeError LAK0017 when the file is damaged."""
    try:
        raw = json.loads(path.read_bytes())
        return int(raw["rolled"])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LakeError(
            f"The checkpoint is damaged: {error}.",
            code="LAK0017",
            place=Place(str(path)),
            hint="The log is replayed from its start; tables ignore what they have.",
        ) from error


def write_checkpoint(path: Path, rolled: int) -> None:
    """Makes the checkpoint durable."""
    write_atomically(path, json.dumps({"format": 1, "rolled": rolled}).encode())


def seal(store: Store) -> list[str]:
    """Moves the fresh segments of all tables to the sealed ones; the caller keeps puts away. Names of the tables with sealed rows."""
    names = []
    for name, state in store.states.items():
        if state.fresh:
            store.update(name, lambda s: replace(s, sealed=(*s.sealed, *s.fresh), fresh=()))
        if state.fresh or state.sealed:
            names.append(name)
    return names


def roll_tables(store: Store, names: list[str], hi: int) -> list[LakeError]:
    """Rolls the sealed rows of these tables up to `hi`; gives the errors of those that failed. The caller holds `delta_lock`."""
    failures: list[LakeError] = []
    for name in names:
        state = store.states[name]
        if not state.sealed:
            continue
        started = time.monotonic()
        try:
            rows = joined(state.sealed)
            file = write_rows(store.folder / name, rows, store.settings, label=f"{hi:012d}")
            # Not the state's: rows that came since the sealing must get their numbers again after a crash.
            items = max(int(pc.max(rows.column(ITEM_NUMBER)).as_py()) + 1, store.delta(name).items())
            # When this fails the file stays: the commit may have taken place all the same. Without one, the sweep deletes it.
            store.delta(name).commit(state.schema, [file], expected_mark=state.mark, mark=hi, items=items)
        except LakeError as error:
            failures.append(error)
            store.problem(error)
            continue
        store.update(name, lambda s, f=file: _rolled(s, f, hi))  # type: ignore[misc]
        _log.debug("lake.rolled", table=name, rows=file.rows, bytes=file.size, seconds=time.monotonic() - started)
    return failures


def _rolled(state: TableState, file: DataFile, hi: int) -> TableState:
    return replace(state, sealed=(), mark=hi, files=(*state.files, file))


def spill(store: Store, name: str) -> None:
    """Moves a table's bulk rows from memory to a file that isn't committed yet."""
    segments: tuple[Segment, ...] = store.states[name].bulk
    if not segments:
        return
    file = write_rows(store.folder / name, joined(segments), store.settings, label="bulk", spilled=True)

    def moved(state: TableState) -> TableState:
        return replace(state, bulk=state.bulk[len(segments) :], spilled=(*state.spilled, file))

    store.update(name, moved)


def commit_bulk(store: Store, name: str) -> None:
    """Commits a table's spilled files. They carry no mark: the log knows nothing of them. The caller holds `delta_lock`."""
    state = store.states[name]
    if not state.spilled:
        return
    committed = tuple(replace(f, spilled=False) for f in state.spilled)
    store.delta(name).commit(state.schema, committed, items=state.items)

    def kept(state: TableState) -> TableState:
        return replace(state, spilled=state.spilled[len(committed) :], files=(*state.files, *committed))

    store.update(name, kept)
