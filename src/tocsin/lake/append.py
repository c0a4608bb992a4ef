"""Rows that don't come through the log but must come once, whatever dies: each lot is a commit with the version of an application."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tocsin.lake.engine.physical import ITEM_NUMBER
from tocsin.lake.erase import without
from tocsin.lake.maintain import swap_files
from tocsin.lake.parquet import write_rows
from tocsin.lake.snapshot import DataFile
from tocsin.lake.store import Store

__all__ = ["append_once", "appended", "drop_rows"]


def appended(store: Store, name: str, application: str) -> int:
    """The version of the last lot that an application has in the table; 0 where there is none."""
    return store.delta(name).version_of(application) if name in store.states else 0


def append_once(
    store: Store,
    name: str,
    parts: Iterable[pa.Table],
    application: str,
    version: int,
    instead: npt.NDArray[np.int64] | None = None,
) -> int:
    """Adds a lot of rows, unless the table has that version of it or a later one; gives how many rows came.

    `instead` are the numbers of rows, in files, that go in the same step. `parts` are rows as a `TableBatch` has them, with TimeGenerated and
    _TimeReceived. Raises LakeError; then none of the lot is there.
    """
    if appended(store, name, application) >= version:
        return 0
    files = []
    count = 0
    last = None
    for rows in parts:
        if not rows.num_rows:
            continue
        rows = store.prepare(name, rows)
        first = store.take_numbers(name, rows.num_rows)
        last = first + rows.num_rows
        rows = rows.append_column(ITEM_NUMBER, pa.array(np.arange(first, last, dtype=np.int64)))
        files.append(write_rows(store.folder / name, rows, store.settings, label="lot"))
        count += rows.num_rows
    with store.delta_lock:
        if appended(store, name, application) >= version:
            return 0
        old: list[DataFile] = []
        if instead is not None and len(instead):
            old, kept, _ = without(store, name, instead)
            files += kept
        if files or old:
            swap_files(store, name, old, files, data_change=True, versions={application: version}, items=last)
    return count


def drop_rows(store: Store, name: str) -> int:
    """Takes all rows in files out of a table; gives how many. The table stays known, without rows."""
    with store.delta_lock:
        if name not in store.states:
            return 0
        files = store.states[name].files
        if files:
            swap_files(store, name, files, [], data_change=True)
        store.update(name, lambda s: replace(s, archived=()))
    return sum(f.rows for f in files)
