"""Finds out whether a Parquet file is whole."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq

from tocsin.lake.snapshot import DataFile

__all__ = ["columns_of", "days_of", "hold_exactly", "why_damaged", "why_unreadable"]

_MAGIC = b"PAR1"
_COLUMNS: dict[str, frozenset[str]] = {}
_SCHEMAS: dict[str, dict[str, pa.DataType]] = {}


def columns_of(files: Sequence[DataFile]) -> frozenset[str] | None:
    """The columns that at least one of the files holds; None where that isn't known. A file's footer is read once: files never change."""
    found: set[str] = set()
    for file in files:
        columns = file.columns or _COLUMNS.get(file.path)
        if columns is None:
            try:
                columns = frozenset(pq.read_schema(file.path).names)
            except (OSError, pa.ArrowException):
                return None
            if len(_COLUMNS) >= 100_000:
                _COLUMNS.clear()
            _COLUMNS[file.path] = columns
        found |= columns
    return frozenset(found)


def days_of(files: Sequence[DataFile]) -> list[str]:
    """The days (UTC) that files have rows of, as far as their times tell, in order."""
    found: set[str] = set()
    for file in files:
        if file.times is not None:
            day, last = file.times[0].date(), file.times[1].date()
            while day <= last:
                found.add(day.isoformat())
                day += timedelta(days=1)
    return sorted(found)


def hold_exactly(files: Sequence[DataFile], wanted: Mapping[str, pa.DataType]) -> bool:
    """True where every file that has one of the columns holds it in that very type, and each column is in some file."""
    missing = set(wanted)
    for file in files:
        types = _SCHEMAS.get(file.path)
        if types is None:
            try:
                schema = pq.read_schema(file.path)
            except (OSError, pa.ArrowException):
                return False
            if len(_SCHEMAS) >= 10_000:
                _SCHEMAS.clear()
            types = _SCHEMAS[file.path] = {f.name: f.type for f in schema}
        if any(types.get(name, kind) != kind for name, kind in wanted.items()):
            return False
        missing -= types.keys()
    return not missing


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
