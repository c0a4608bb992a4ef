"""Finds out whether a Parquet file is whole."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq

from tocsin.lake.snapshot import DataFile

__all__ = ["why_damaged", "why_unreadable"]

_MAGIC = b"PAR1"


def why_damaged(file: DataFile) -> str:
    """A reason why the file can't be whole, from its size and its last bytes, or "". Cheap: for every file at start."""
    try:
        with open(file.path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if file.size and size != file.size:
                return f"it has {size} bytes instead of {file.size}"
            if size < 12:
                return "it is too short"
            stream.seek(size - 4)
            if stream.read(4) != _MAGIC:
                return "it doesn't end as a Parquet file does"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def why_unreadable(file: DataFile) -> str:
    """Like `why_damaged`, and reads every page. Slow: for files of a query that failed."""
    reason = why_damaged(file)
    if reason:
        return reason
    try:
        with pq.ParquetFile(file.path) as parquet:
            for group in range(parquet.num_row_groups):
                parquet.read_row_group(group)
    except (OSError, pa.ArrowException) as error:
        return str(error).splitlines()[0]
    return ""
