"""Writes the Parquet files of the lake: sorted by time, zstd, small row groups, durable before anyone hears of them."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tocsin.base.errors import LakeError, Place
from tocsin.lake.checksum import digest_of
from tocsin.lake.durable import sync_file, sync_folder
from tocsin.lake.engine.physical import ITEM_NUMBER
from tocsin.lake.engine.standard import BILLED, billed_sizes
from tocsin.lake.hot import bounds_of
from tocsin.lake.settings import LakeSettings
from tocsin.lake.snapshot import DataFile

__all__ = ["PART", "write_rows"]

PART = ".part"
"""Suffix of a file that is being written; one that is left over belongs to nobody."""


def write_rows(folder: Path, rows: pa.Table, settings: LakeSettings, *, label: str, spilled: bool = False) -> DataFile:
    """Writes rows to a new file of the folder and makes file and folder durable.

    Columns that are null in all rows are left out: readers of a Delta table take a missing column as null. Raises LakeError LAK0016
    when the disk refuses; nothing is left then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unique = uuid.uuid4().hex[:8]
    path = folder / f"{label}-{unique}{PART}"
    kept = [name for name in rows.column_names if rows.column(name).null_count < rows.num_rows]
    rows = rows.select(kept or rows.column_names[:1])
    if "TimeGenerated" in rows.column_names:
        if (
            BILLED in kept and rows.column(BILLED).null_count
        ):  # rows of files that were written before there was such a column
            rows = rows.drop_columns([BILLED])
        if BILLED not in rows.column_names:
            rows = rows.append_column(BILLED, billed_sizes(rows))
    if "TimeGenerated" in kept and rows.num_rows > 1:
        rows = rows.take(pc.sort_indices(rows, sort_keys=[("TimeGenerated", "ascending")]))
    try:
        pq.write_table(
            rows,
            path,
            compression="zstd",
            compression_level=settings.zstd_level,
            row_group_size=settings.row_group_rows,
            store_schema=False,
            use_dictionary=[n for n in rows.column_names if n != ITEM_NUMBER],
            column_encoding={ITEM_NUMBER: "DELTA_BINARY_PACKED"} if ITEM_NUMBER in rows.column_names else None,
        )
        sync_file(path)
        path = path.rename(folder / f"{label}-{unique}-{digest_of(path)}.parquet")
        sync_folder(folder)
    except (OSError, pa.ArrowException) as error:
        path.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise LakeError(
            f"A table's file can't be written: {reason}.", code="LAK0016", place=Place(str(path))
        ) from error
    return DataFile(
        str(path),
        rows.num_rows,
        os.stat(path).st_size,
        bounds_of(rows, "TimeGenerated"),
        bounds_of(rows, "_TimeReceived"),
        spilled=spilled,
        columns=frozenset(rows.column_names),
        stamps=bounds_of(rows, "Timestamp"),
    )
