"""One table's Delta log, by delta-rs: opening, committing files with the log's mark, replacing files.

The mark is the version of the application transaction ``tocsin-roll``: the sequence number of the last log record whose rows the
table's files hold. A commit first refreshes the table and checks that the mark is still the one that the lake knows.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.schema import Field
from deltalake.transaction import (
    AddAction,
    CommitProperties,
    RemoveAction,
    Transaction,
    create_table_with_add_actions,
)

from tocsin.base.clock import Clock
from tocsin.base.errors import LakeError, Place
from tocsin.kql.types import TableSchema
from tocsin.lake.durable import sync_file, sync_folder
from tocsin.lake.engine.physical import stored_schema
from tocsin.lake.snapshot import DataFile

__all__ = ["ROLL_APP", "DeltaLog", "check_name"]

ROLL_APP = "tocsin-roll"
ITEMS_APP = "tocsin-items"
"""Its version is the number that the table's next row gets."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_CHECKPOINT_EVERY = 50
_STATISTICS = "TimeGenerated,_TimeReceived,Timestamp"


def check_name(name: str) -> None:
    """A table's name is a folder's name: LakeError LAK0008 for anything but letters, digits and underscores."""
    if not _NAME.fullmatch(name):
        raise LakeError(
            f"{name!r} can't be a table's name.",
            code="LAK0008",
            hint="Use up to 128 letters, digits and underscores, not starting with a digit.",
        )


class DeltaLog:
    """The Delta log in a table's folder. Not safe for concurrent use: the lake holds its roll lock."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock
        self._table: DeltaTable | None = None

    def open(self) -> tuple[tuple[DataFile, ...], int, pa.Schema | None]:
        """The committed files, the mark (0 where no roll has committed) and the stored Arrow schema (None for a table that doesn't exist yet).

        Raises LakeError LAK0003 naming the folder when the log can't be read.
        """
        if not (self.folder / "_delta_log").is_dir():
            return (), 0, None
        try:
            self._table = DeltaTable(str(self.folder))
            schema = pa.schema(self._table.schema().to_arrow())
            return self._files(), self._mark(), schema
        except TableNotFoundError:
            # The folder exists but no commit does: a crash came before the first one.
            self._table = None
            return (), 0, None
        except (DeltaError, OSError, ValueError, pa.ArrowException) as error:
            raise self._error("can't be read", error) from error

    def items(self) -> int:
        """The number that the next row gets, as of the last commit that said so."""
        return self.version_of(ITEMS_APP)

    def version_of(self, application: str) -> int:
        """The version of an application transaction; 0 where there was none."""
        return int(self._table.transaction_version(application) or 0) if self._table is not None else 0

    def commit(
        self,
        schema: TableSchema,
        files: Sequence[DataFile],
        *,
        expected_mark: int | None = None,
        mark: int | None = None,
        items: int | None = None,
        versions: Mapping[str, int] = MappingProxyType({}),
        removed: Sequence[DataFile] = (),
        data_change: bool = True,
    ) -> None:
        """Adds and removes files in one transaction, and moves the mark from `expected_mark` to `mark` in it.

        `items` is the number that the next row gets; `versions` are those of other application transactions.

        The table is made when it doesn't exist; columns that it lacks are added first. Raises LakeError LAK0004 when the mark isn't the expected
        one (another writer), LAK0003 when the commit fails. A commit whose answer got lost but that took place counts as done.
        """
        said = [(ROLL_APP, mark), (ITEMS_APP, items), *versions.items()]
        properties = _properties(said)
        adds = [self._add(f, data_change) for f in files]
        wanted = stored_schema(schema)
        now_ms = int(self._clock.now().timestamp() * 1000)
        try:
            if self._table is None:
                create_table_with_add_actions(
                    str(self.folder),
                    Schema.from_arrow(wanted),
                    adds,
                    mode="error",
                    name=schema.name,
                    configuration={
                        "delta.checkpointInterval": str(_CHECKPOINT_EVERY),
                        "delta.dataSkippingStatsColumns": _STATISTICS,
                    },
                    commit_properties=properties,
                )
                self._table = DeltaTable(str(self.folder))
            else:
                table = self._table
                table.update_incremental()
                if expected_mark is not None and self._mark() != expected_mark:
                    raise LakeError(
                        f"Table {schema.name} was changed by another program: its mark is {self._mark()} instead of {expected_mark}.",
                        code="LAK0004",
                        place=Place(str(self.folder)),
                        hint="Only one process may write to a lake. Restart to take up the table as it is.",
                    )
                if items is not None and items < self.items():
                    # Rows that were numbered before others may be committed after them; what was given once is never given again.
                    properties = _properties([*said, (ITEMS_APP, self.items())])
                self._widen(wanted)
                removes = [
                    RemoveAction(self._relative(f), data_change, now_ms, size=f.size, partition_values={})
                    for f in removed
                ]
                table.create_write_transaction(
                    [*adds, *removes], mode="append", schema=table.schema(), commit_properties=properties
                )
                table.update_incremental()
        except (DeltaError, OSError, ValueError) as error:
            if not self._took_place(files, mark, versions):
                raise self._error("can't be committed to", error) from error
        self._sync()

    def _took_place(self, files: Sequence[DataFile], mark: int | None, versions: Mapping[str, int]) -> bool:
        try:
            self._table = DeltaTable(str(self.folder))
            listed = {f.path for f in self._files()}
            said = all(self.version_of(a) == v for a, v in versions.items())
            return said and all(f.path in listed for f in files) and (mark is None or self._mark() == mark)
        except (DeltaError, OSError, ValueError):
            return False

    def _mark(self) -> int:
        assert self._table is not None
        return int(self._table.transaction_version(ROLL_APP) or 0)

    def _files(self) -> tuple[DataFile, ...]:
        assert self._table is not None
        actions = pa.table(self._table.get_add_actions(flatten=True))
        files = [
            DataFile(
                str(self.folder / unquote(row["path"])),
                int(row.get("num_records") or 0),
                int(row["size_bytes"]),
                _bounds(row, "TimeGenerated"),
                _bounds(row, "_TimeReceived"),
                stamps=_bounds(row, "Timestamp"),
            )
            for row in actions.to_pylist()
        ]
        # The Delta log lists the newest first; queries want time order, files without times last.
        files.sort(key=lambda f: (f.times is None, f.times or (), f.path))
        return tuple(files)

    def _widen(self, wanted: pa.Schema) -> None:
        assert self._table is not None
        present = {f.name for f in self._table.schema().fields}
        missing = [f for f in wanted if f.name not in present]
        if missing:
            fields: list[Field] = list(Schema.from_arrow(pa.schema(missing)).fields)
            self._table.alter.add_columns(fields)
            self._table.update_incremental()

    def _relative(self, file: DataFile) -> str:
        return Path(file.path).name

    def _add(self, file: DataFile, data_change: bool) -> AddAction:
        stats: dict[str, object] = {"numRecords": file.rows}
        bounds = {"TimeGenerated": file.times, "_TimeReceived": file.received, "Timestamp": file.stamps}
        known = {name: b for name, b in bounds.items() if b is not None}
        stats["minValues"] = {name: b[0].isoformat(timespec="microseconds") for name, b in known.items()}
        stats["maxValues"] = {name: b[1].isoformat(timespec="microseconds") for name, b in known.items()}
        stats["nullCount"] = {}
        return AddAction(
            self._relative(file), file.size, {}, int(os.stat(file.path).st_mtime * 1000), data_change, json.dumps(stats)
        )

    def _sync(self) -> None:
        """Makes the newest commit durable: delta-rs renames files into place without a sync."""
        assert self._table is not None
        log = self.folder / "_delta_log"
        version = self._table.version()
        names = [f"{version:020d}.json"]
        if version % _CHECKPOINT_EVERY == 0:
            names += [p.name for p in log.glob(f"{version:020d}.checkpoint*")] + ["_last_checkpoint"]
        for name in names:
            if (log / name).exists():
                sync_file(log / name)
        sync_folder(log)
        sync_folder(self.folder)

    def _error(self, what: str, error: Exception) -> LakeError:
        first = str(error).strip().splitlines()
        return LakeError(
            f"The Delta log of table {self.folder.name} {what}: {first[0] if first else type(error).__name__}.",
            code="LAK0003",
            place=Place(str(self.folder / "_delta_log")),
            hint="Other tables go on. Restore the folder from a backup; rows not in it yet stay in the log.",
        )


def _properties(versions: Sequence[tuple[str, int | None]]) -> CommitProperties:
    said = {a: v for a, v in versions if v is not None}
    return CommitProperties(app_transactions=[Transaction(a, v) for a, v in said.items()] or None)


def _bounds(row: dict[str, object], column: str) -> tuple[datetime, datetime] | None:
    least, greatest = row.get(f"min.{column}"), row.get(f"max.{column}")
    if not isinstance(least, datetime) or not isinstance(greatest, datetime):
        return None
    return least.replace(tzinfo=None), greatest.replace(tzinfo=None)
