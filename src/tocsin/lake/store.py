"""What the lake knows of its tables: immutable states under one lock, and the Delta log of each.

Everything that changes a table (put, roll, flush, merge, retention) goes through `Store.update`; a snapshot takes the mapping of states as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import structlog

from tocsin.base.clock import Clock
from tocsin.base.errors import LakeError, Place
from tocsin.kql.types import Catalog, TableSchema
from tocsin.lake.delta import DeltaLog, check_name
from tocsin.lake.engine.files import why_damaged
from tocsin.lake.engine.physical import ITEM_NUMBER, RESERVED, checked, conform, shape_of, stored_columns
from tocsin.lake.hot import TableState
from tocsin.lake.settings import LakeSettings
from tocsin.lake.snapshot import DataFile, Snapshot, TableSnapshot
from tocsin.tables import custom_schema

__all__ = ["Store"]

_log = structlog.get_logger("tocsin.lake")


class Store:
    """The tables of one lake."""

    def __init__(self, folder: Path, *, catalog: Catalog, clock: Clock, settings: LakeSettings) -> None:
        self.folder = folder
        self.catalog = catalog
        self.clock = clock
        self.settings = settings
        self.retention = settings.retention
        """How long rows stay: the settings, with what people set for single tables (see `tocsin.lake.retention.Book`)."""
        self.problems: list[LakeError] = []
        self.condition = threading.Condition()
        """Guards the states; notified when rows leave memory."""
        self.delta_lock = threading.RLock()
        """Held while a Delta log is written: roll, flush, merge and retention take turns."""
        self.retired: dict[str, float] = {}
        """Files that no table lists any more, with the monotonic time since when: a running query may still read them."""
        self.indexed: set[str] = set()
        """Files whose term filter has been looked for or made since the start."""
        self.widened: set[str] = set()
        """Files that were tried to give columns for members since the start."""
        self._schema_lock = threading.Lock()
        self._states: dict[str, TableState] = {}
        self._logs: dict[str, DeltaLog] = {}
        self._snapshot: Snapshot | None = None
        self._workspace = ""
        self._hot_bytes = 0
        self._held_bytes = 0
        self._bulk_bytes = 0

    @property
    def states(self) -> Mapping[str, TableState]:
        """The states as they are now; never changed in place."""
        return self._states

    @property
    def hot_bytes(self) -> int:
        """Bytes of log rows in memory, deferred ones included."""
        return self._hot_bytes + self._held_bytes

    def hold(self, size: int) -> None:
        """Counts bytes of rows that aren't any table's yet; a negative number when they go."""
        with self.condition:
            self._held_bytes += size
            self.condition.notify_all()

    @property
    def bulk_bytes(self) -> int:
        """Bytes of bulk-written rows in memory."""
        return self._bulk_bytes

    @property
    def workspace(self) -> str:
        """The id of the workspace that the lake belongs to; "" where nobody said it."""
        return self._workspace

    @workspace.setter
    def workspace(self, workspace: str) -> None:
        with self.condition:
            self._workspace = workspace
            self._snapshot = None

    def load(self) -> int:
        """Reads every table's Delta log; gives the highest mark. What can't be read is a problem and the rest goes on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        states: dict[str, TableState] = {}
        for path in sorted(self.folder.iterdir()):
            if not path.is_dir():
                continue
            log = self._logs[path.name] = DeltaLog(path, self.clock)
            try:
                files, mark, stored = log.open()
            except LakeError as error:
                self.problem(error)
                states[path.name] = TableState(self._schema(path.name), broken=error)
                continue
            if stored is None:
                continue
            state = TableState(self._schema(path.name, stored), mark=mark, items=log.items())
            states[path.name] = replace(state, files=tuple(f for f in files if self._whole(path.name, f)))
        with self.condition:
            self._states = states
        return max((s.mark for s in states.values()), default=0)

    def state(self, name: str) -> TableState:
        """The table's state; a blank one for a table that has no rows yet."""
        return self._states.get(name) or TableState(self._schema(name))

    def delta(self, name: str) -> DeltaLog:
        """The table's Delta log."""
        found = self._logs.get(name)
        if found is None:
            found = self._logs[name] = DeltaLog(self.folder / name, self.clock)
        return found

    def update(self, name: str, change: Callable[[TableState], TableState]) -> TableState:
        """Replaces the state of a table in one step."""
        with self.condition:
            old = self._states.get(name)
            new = change(old or TableState(self._schema(name)))
            self._states = {**self._states, name: new}
            self._snapshot = None
            self._hot_bytes += _hot(new) - (_hot(old) if old else 0)
            self._bulk_bytes += _bulk(new) - (_bulk(old) if old else 0)
            self.condition.notify_all()
            return new

    def take_numbers(self, name: str, count: int) -> int:
        """Numbers for rows that don't come by a put: gives the first of so many in a row."""
        return self.update(name, lambda s: replace(s, items=s.items + count)).items - count

    def snapshot(self) -> Snapshot:
        """All tables as they are at this moment."""
        with self.condition:
            if self._snapshot is None:
                self._snapshot = Snapshot(
                    {n: _view(s) for n, s in self._states.items()},
                    on_bad_file=self.report_bad,
                    workspace=self.workspace,
                )
            return self._snapshot

    def prepare(self, name: str, rows: pa.Table) -> pa.Table:
        """The rows as the table stores them. A table that no catalogue declares grows by the columns that are new.

        Raises LakeError LAK0006, LAK0007 or LAK0008 when they don't fit.
        """
        check_name(name)
        own = [n for n in rows.column_names if n not in RESERVED]
        if len(own) < rows.num_columns:
            rows = rows.select(own)
        if self.catalog.table(name) is not None:
            return checked(conform(rows, self.state(name).schema), name)
        with self._schema_lock:
            schema = self.state(name).schema
            shape = shape_of(schema)
            known = [*shape.names, *shape.physical]
            new = [c for f, c in zip(rows.schema, stored_columns(rows.schema), strict=True) if f.name not in known]
            if new:
                schema = custom_schema(name, (*schema.columns, *new))
            rows = checked(conform(rows, schema), name)
            if new:
                self.update(name, lambda s: replace(s, schema=schema))
            return rows

    def problem(self, error: LakeError) -> None:
        """Notes what is wrong with a part of the lake, once."""
        with self.condition:
            if str(error) in {str(p) for p in self.problems}:
                return
            self.problems.append(error)
        _log.error("lake.problem", code=error.code, place=str(error.place or ""), message=error.message)

    def report_bad(self, table: str, path: str, reason: str) -> None:
        """Leaves a file out of later snapshots because a query found that it can't be read."""
        self.problem(_unreadable(table, path, reason))
        self.update(table, lambda s: replace(s, files=tuple(f for f in s.files if f.path != path)))

    def _schema(self, name: str, stored: pa.Schema | None = None) -> TableSchema:
        declared = self.catalog.table(name)
        if declared is not None:
            return declared
        columns = stored_columns(stored) if stored is not None else ()
        return custom_schema(name, [c for c in columns if c.name != ITEM_NUMBER])

    def _whole(self, table: str, file: DataFile) -> bool:
        reason = why_damaged(file)
        if reason:
            self.problem(_unreadable(table, file.path, reason))
        return not reason


def _hot(state: TableState) -> int:
    return sum(s.size for s in state.sealed) + sum(s.size for s in state.fresh)


def _bulk(state: TableState) -> int:
    return sum(s.size for s in state.bulk)


def _view(state: TableState) -> TableSnapshot:
    return TableSnapshot(state.schema, (*state.files, *state.spilled), state.mark, lambda: state.hot, state.archived)


def _unreadable(table: str, path: str, reason: str) -> LakeError:
    return LakeError(
        f"A file of table {table} can't be read: {reason}.",
        code="LAK0005",
        place=Place(path),
        hint="Its rows are left out. Restore the file from a backup.",
    )
