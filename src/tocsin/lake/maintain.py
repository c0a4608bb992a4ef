"""Housekeeping: merging small files, deleting old rows, sweeping files that no table lists."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog

from tocsin.base.errors import LakeError, Place
from tocsin.lake.delta import DeltaLog
from tocsin.lake.engine.physical import arrow_schema, naive_utc
from tocsin.lake.hot import TableState
from tocsin.lake.parquet import write_rows
from tocsin.lake.snapshot import DataFile
from tocsin.lake.store import Store

__all__ = ["compact", "delete_before", "sweep"]

_log = structlog.get_logger("tocsin.lake.maintain")
_MERGE_ROWS = 200_000
_MERGE_BYTES = 64 * 1024 * 1024


def compact(store: Store, name: str, *, at_least: int | None = None) -> int:
    """Merges groups of small files of like size into one each; gives how many files went.

    Files are merged with their likes (by powers of eight in rows), so that each row is rewritten a few times in its life, not at each
    merge. A group takes at most 200,000 rows, which bounds the memory. The caller holds `delta_lock`.
    """
    at_least = at_least or store.settings.compact_files
    if at_least < 2:
        return 0
    gone = 0
    tiers: dict[int, list[DataFile]] = defaultdict(list)
    for file in store.states[name].files:
        if file.rows < _MERGE_ROWS // 2 and file.size < store.settings.target_file_bytes // 2:
            tiers[max(1, file.rows).bit_length() // 3].append(file)
    for files in tiers.values():
        group: list[DataFile] = []
        for file in files:
            full = sum(f.rows for f in group) + file.rows > _MERGE_ROWS
            if full or sum(f.size for f in group) + file.size > _MERGE_BYTES:
                gone += _replace(store, name, group, at_least)
                group = []
            group.append(file)
        gone += _replace(store, name, group, at_least)
    return gone


def _replace(store: Store, name: str, group: Sequence[DataFile], at_least: int) -> int:
    if len(group) < at_least:
        return 0
    rows = _read(store, name, group)
    if rows is None:
        return 0
    merged = write_rows(store.folder / name, rows, store.settings, label="merged")
    _swap(store, name, group, [merged], data_change=False)
    _log.debug("lake.merged", table=name, files=len(group), rows=merged.rows)
    return len(group) - 1


def delete_before(store: Store, name: str, moment: datetime) -> int:
    """Deletes a table's committed rows with an earlier TimeGenerated; gives how many went. The caller holds `delta_lock`.

    Files that are older as a whole are dropped; those that straddle the moment are rewritten. Rows without a time stay.
    """
    limit = naive_utc(moment)
    deleted = 0
    for file in store.states[name].files:
        if file.times is None or file.times[0] >= limit:
            continue
        rows = _read(store, name, [file])
        if rows is None:
            continue
        times = rows.column("TimeGenerated")
        keep = rows.filter(pc.fill_null(pc.greater_equal(times, pa.scalar(limit, times.type)), True))
        kept = [write_rows(store.folder / name, keep, store.settings, label="kept")] if keep.num_rows else []
        _swap(store, name, [file], kept, data_change=True)
        deleted += rows.num_rows - keep.num_rows
    return deleted


def sweep(store: Store) -> int:
    """Deletes Parquet files that no table lists and that are older than any query may run; gives how many went."""
    limit = store.settings.orphan_seconds
    now, ticks = store.clock.now().timestamp(), time.monotonic()
    gone = 0
    for folder in [p for p in store.folder.iterdir() if p.is_dir()]:
        name = folder.name
        found = list(folder.glob("*.parquet"))
        try:
            listed = _listed(store, name)
        except LakeError as error:
            store.problem(error)  # which files are its own isn't known
            continue
        for path in found:
            if str(path) in listed:
                continue
            since = store.retired.get(str(path))
            try:
                age = ticks - since if since is not None else now - path.stat().st_mtime
                if age >= limit:
                    path.unlink()
                    store.retired.pop(str(path), None)
                    gone += 1
            except OSError as error:
                _log.warning("lake.sweep.failed", file=str(path), error=str(error))
    return gone


def _listed(store: Store, name: str) -> set[str]:
    """Paths that the table lists: its state's and, read anew, its Delta log's.

    The two differ for a file that was left out because it is damaged, and for a commit of which no answer came.
    """
    committed, _, _ = DeltaLog(store.folder / name, store.clock).open()
    state = store.state(name)
    return {f.path for f in (*state.files, *state.spilled, *committed)}


def _read(store: Store, name: str, files: Sequence[DataFile]) -> pa.Table | None:
    """The files' rows in the table's types; None (and a problem) when one of them can't be read."""
    fields = {f.name: f for f in arrow_schema(store.states[name].schema.columns)}
    tables = []
    for file in files:
        try:
            rows = pq.read_table(file.path, partitioning=None)
        except (OSError, pa.ArrowException) as error:
            store.report_bad(name, file.path, str(error).splitlines()[0])
            return None
        names = [n for n in rows.column_names if n in fields]
        try:
            tables.append(rows.select(names).cast(pa.schema([pa.field(n, fields[n].type) for n in names])))
        except pa.ArrowException as error:
            store.problem(
                LakeError(f"A file doesn't fit its table any more: {error}.", code="LAK0018", place=Place(file.path))
            )
            return None
    return pa.concat_tables(tables, promote_options="default")


def _swap(store: Store, name: str, old: Sequence[DataFile], new: Sequence[DataFile], *, data_change: bool) -> None:
    state = store.states[name]
    store.delta(name).commit(state.schema, new, removed=old, data_change=data_change)
    gone = {f.path for f in old}
    now = time.monotonic()

    def swapped(state: TableState) -> TableState:
        files = [f for f in state.files if f.path not in gone] + list(new)
        return replace(state, files=tuple(sorted(files, key=lambda f: (f.times is None, f.times or (), f.path))))

    for path in gone:
        store.retired[path] = now
    store.update(name, swapped)
