"""`Lake`: durable bodies, visible rows, files; one object for all of it.

    lake = Lake.open(folder, clock=SystemClock())
    lake.recover(decode)                        # replays what a crash left in the log
    seq = lake.log.append([body]).result()      # durable: now the sender may be told 2xx
    lake.put(seq, batches)                      # visible; or lake.defer(seq, decoded): visible, rows of tables when asked for
    engine.run(compiled, snapshot=lake.snapshot())

The bulk path for data that is already on disk: ``write`` makes rows visible, ``flush`` durable; nothing goes through the log.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import structlog

from tocsin.base.clock import Clock, SystemClock
from tocsin.base.errors import LakeError, Place
from tocsin.kql.types import Catalog, TableSchema
from tocsin.lake import maintain, roll
from tocsin.lake.append import append_once, appended, drop_rows
from tocsin.lake.archive import Archive, Moved
from tocsin.lake.background import Background
from tocsin.lake.erase import Erasures
from tocsin.lake.figures import TableStats, table_stats
from tocsin.lake.frames import Body
from tocsin.lake.fresh import Fresh, RowMaker, TableBatch, Unmapped, prepared
from tocsin.lake.housekeeping import Housekeeping
from tocsin.lake.lockfile import LockFile
from tocsin.lake.log import Log
from tocsin.lake.pins import Pins
from tocsin.lake.puts import Puts, replayed_groups
from tocsin.lake.retention import Deletion, read_book
from tocsin.lake.settings import LakeSettings
from tocsin.lake.snapshot import Snapshot
from tocsin.lake.store import Store
from tocsin.tables import catalogue

__all__ = ["Lake", "TableBatch", "TableStats"]

_log = structlog.get_logger("tocsin.lake")
_PUT_WAIT_SECONDS = 60.0


Decode = Callable[[Sequence[tuple[int, Body]]], Sequence[TableBatch] | Unmapped]
"""Makes rows of log records, or decodes them: what intake does live and `Lake.recover` asks for after a restart."""


class Lake(Housekeeping):
    """The lake in one folder. Safe to use from many threads; one process at a time may have it open for writing."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        settings: LakeSettings,
        catalog: Catalog,
        lock: LockFile | None,
    ) -> None:
        """Use `Lake.open`."""
        self.path = path
        self.settings = settings
        self._clock = clock
        self._lock = lock
        self._closed = False
        self._store = Store(path / "tables", catalog=catalog, clock=clock, settings=settings)
        highest = self._store.load()
        self._checkpoint = path / "checkpoint.json"
        try:
            self._rolled = roll.read_checkpoint(self._checkpoint)
        except LakeError as error:
            self._store.problem(error)
            self._rolled = 0
        self._book = path / "retention.json"
        try:
            self._store.retention = read_book(self._book).wanted(settings.retention)
        except LakeError as error:
            self._store.problem(error)
        self.on_deleted: Callable[[Deletion], None] = lambda _: None
        """Called for each deletion that retention did, after it is done: for the audit."""
        self.on_archived: Callable[[Moved], None] = lambda _: None
        """Called for each table of which rows moved to the archive, after it is done: for the audit."""
        self.before_trim: list[Callable[[], int | None]] = []
        """Called before the log loses records whose rows are in files: what else must outlive them is made durable here. LakeError keeps the log,
        a number the records after it."""
        self._bulk_lock = threading.Lock()
        self._log: Log | None = None
        self._puts: Puts | None = None
        self._replayed = True
        if lock is not None:
            self._log = Log(path / "log", settings, floor=max(highest, self._rolled))
            self._puts = Puts(path / "puts", last=self._log.last)
            # Records above the checkpoint must be put again before anything else.
            self._replayed = not self._has_records(self._rolled)
        self._fresh = Fresh(self._store, clock, applied=self._rolled, puts=self._puts)
        if self._log is not None and self._replayed:
            self._fresh.skip(self._log.last)
        self.pins: Pins = lambda: ()
        """What retention must keep: asked before each run."""
        self.archive = Archive(self._store, path / "archive", settings.archive)
        """Rows in an object store or a folder elsewhere."""
        self.archive.load()
        self.erasures = Erasures(self._store, path / "deleted", self.archive, self.settle, self._forget)
        """Deleting and purging single rows."""
        self._stopping = threading.Event()
        self._background: Background | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        clock: Clock | None = None,
        settings: LakeSettings | None = None,
        catalog: Catalog | None = None,
        read_only: bool = False,
    ) -> Lake:
        """Opens or makes the lake in a folder.

        Raises LakeError LAK0002 when another process has it open and LAK0019 when the folder can't be used. What is damaged in
        it is noted in `problems`, and the rest can be used. `read_only` takes no lock and sees what has been committed.
        """
        lock: LockFile | None = None
        path = path.resolve()
        try:
            if not read_only:
                path.mkdir(parents=True, exist_ok=True)
                lock = LockFile(path / "LOCK")
            elif not (path / "tables").is_dir():
                raise LakeError("There is no lake in this folder.", code="LAK0019", place=Place(str(path)))
            lake = cls(
                path,
                clock=clock or SystemClock(),
                settings=settings or LakeSettings(),
                catalog=catalog or catalogue(),
                lock=lock,
            )
        except BaseException as error:
            if lock is not None:
                lock.release()
            if isinstance(error, OSError):
                raise LakeError(
                    f"The folder can't be used: {error.strerror or error}.", code="LAK0019", place=Place(str(path))
                ) from error
            raise
        if lock is not None and lake.settings.background:
            lake._background = Background(lake, lake._store, lake._stopping, archive=lake.archive.configured)
            lake._background.start()
        return lake

    def __enter__(self) -> Lake:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---------------------------------------------------------------------------------------------- state

    @property
    def log(self) -> Log:
        """The log of received bodies. LakeError LAK0001 for a lake that is open read-only or closed."""
        if self._log is None or self._closed:
            raise LakeError("The lake isn't open for writing.", place=Place(str(self.path)))
        return self._log

    @property
    def writable(self) -> bool:
        """False for a lake that was opened read-only."""
        return self._lock is not None

    @property
    def problems(self) -> list[LakeError]:
        """What is damaged: tables, files and pieces of the log, each naming its place. Everything else works."""
        return [*self._store.problems, *(self._log.problems if self._log else ())]

    @property
    def pressure(self) -> float:
        """How full memory is of what isn't on its way out yet: at 1.0 or above receivers must answer "later" (503)."""
        queued = self._log.waiting_bytes / self.settings.log_queue_bytes if self._log else 0.0
        return max(queued, self._store.hot_bytes / self.settings.hot_bytes)

    @property
    def needs_recovery(self) -> bool:
        """True after a crash until `recover` has been called; `put` is refused meanwhile."""
        return not self._replayed

    @property
    def workspace(self) -> str:
        """The id of the workspace that the lake belongs to: `TenantId` of rows whose source named none. "" where nobody said it."""
        return self._store.workspace

    @workspace.setter
    def workspace(self, workspace: str) -> None:
        self._store.workspace = workspace

    @property
    def oldest(self) -> float | None:
        """When the oldest fresh row came, on the monotonic clock; None where there is none."""
        return self._fresh.oldest

    def map_with(self, maker: RowMaker) -> None:
        """Says who makes rows of what is deferred; to be called before `recover` and `defer`."""
        self._fresh.map_with(maker)

    def bring(self, tables: Collection[str] | None = None) -> None:
        """Maps deferred rows that may be of these tables (None: all). What asks for rows or schemas does so by itself."""
        self._fresh.bring(tables)

    def schema(self, table: str) -> TableSchema | None:
        """The schema of a table that has rows here, declared or not."""
        self._fresh.bring((table,))
        state = self._store.states.get(table)
        return state.schema if state else None

    def tables(self) -> list[str]:
        """Names of the tables that have or had rows here."""
        self._fresh.bring()
        return sorted(self._store.states)

    def populated(self) -> list[str]:
        """Names of the tables that hold rows now: what ``search *`` and ``union *`` go over."""
        self._fresh.bring()
        return sorted(n for n, s in self._store.states.items() if s.files or s.spilled or s.segments)

    def snapshot(self, tables: Collection[str] | None = None) -> Snapshot:
        """A consistent view of all tables. Rows that were deferred and may be of one of the named `tables` (None: of any) are mapped for it; of
        the others it may lack those. Cheap otherwise."""
        self._fresh.bring(tables)
        return self._store.snapshot()

    def stats(self) -> list[TableStats]:
        """Rows, bytes and times per table, from the Delta logs and the rows in memory; reads no file."""
        self._fresh.bring()
        return table_stats(self._store)

    # ---------------------------------------------------------------------------------------------- log rows

    def put(self, seq: int, batches: Sequence[TableBatch]) -> None:
        """Makes the rows of the log records up to `seq` visible. Records come in order; one without rows needs its put too.

        One put may stand for several records that were decoded together. A sequence number that has been put already is ignored, and so are
        rows that a table's mark says it has. Raises LakeError LAK0006, LAK0007 or LAK0008 for rows that fit no table (then nothing of the
        put is visible, and the caller must put again without them), LAK0012 when memory stays full because nothing can be rolled.
        """
        self._require_replayed()
        self._wait_for_room()
        self._fresh.put(seq, batches)

    def defer(self, seq: int, unmapped: Unmapped) -> None:
        """Makes the rows of the log records up to `seq` visible as `put` does, but leaves it to the first who needs them, and at the latest to
        the roll, to have them mapped (`map_with`). Raises LakeError LAK0012 as `put`."""
        self._require_replayed()
        self._wait_for_room()
        self._fresh.defer(seq, unmapped)

    def recover(self, decode: Decode, *, progress: Callable[[int, int], None] | None = None) -> int:
        """Puts what a crash left in the log, and rolls; gives the number of bodies. To be called once after `open`.

        `decode` gets up to 16 MiB of bodies at once; a group never spans a table's mark, so its rows are the table's or not as a whole.
        `progress` is called with the records done and the last one.
        """
        self._require_open()
        if self._replayed:
            return 0
        count = 0
        last = self.log.last
        marks = [s.mark for s in self._store.states.values()]
        for group, complete in replayed_groups(self.log, self._puts, self._rolled, marks):
            made = decode(group)
            if isinstance(made, Unmapped):
                self._fresh.defer(group[-1][0], made)
                if complete:
                    self._fresh.bring(rest=False)
            else:
                self._fresh.put(group[-1][0], made)
            count += len(group)
            if complete and self._store.hot_bytes >= self.settings.roll_bytes:
                self.roll()
            if progress is not None:
                progress(group[-1][0], last)
        self._fresh.bring(rest=False)
        self._fresh.skip(last)
        self._replayed = True
        _log.info("lake.replayed", bodies=count, last=last)
        self.roll()
        return count

    def roll(self) -> None:
        """Moves the rows in memory to Parquet files, commits them and trims the log (see `tocsin.lake.roll`).

        Tables that can't be rolled keep their rows and are noted in `problems`; the others go on. Raises the first such error.
        """
        self._require_open()
        with self._store.delta_lock:
            hi, names = self._fresh.seal()
            failures = roll.roll_tables(self._store, names, hi)
            if failures:
                with self._store.condition:
                    self._fresh.oldest = time.monotonic()
                raise failures[0]
            if hi > self._rolled and not self._fresh.dropped:
                bounds = [b for work in self.before_trim if (b := work()) is not None]
                upto = min([hi, *bounds])
                if upto > self._rolled:
                    roll.write_checkpoint(self._checkpoint, upto)
                    self._rolled = upto
                    self.log.trim(upto)
                    if self._puts is not None:
                        self._puts.trim(upto)
            if self.settings.compact_files:
                for name in names:
                    try:
                        maintain.compact(self._store, name)
                    except LakeError as error:
                        # The roll itself is done; the files stay as many as they are.
                        self._store.problem(error)

    def settle(self) -> None:
        """Brings all rows in memory to files: those of the log and bulk-written ones. Raises LakeError when some can't be."""
        self._require_open()
        if not self._replayed:
            raise LakeError("The log must be replayed first.", code="LAK0010", hint="Start Tocsin once and stop it.")
        self.roll()
        self.flush()

    def _forget(self) -> None:
        """Makes the log let go of every body whose rows are in files, also of those in the segment that is being written."""
        self.log.rotate()
        last = self.log.last
        deadline = time.monotonic() + _PUT_WAIT_SECONDS
        while self._fresh.taken < last and time.monotonic() < deadline and not self._stopping.is_set():
            with self._store.condition:  # a segment goes as a whole: what came last must be in files too
                self._store.condition.wait(0.05)
        self.roll()
        if self._rolled < last:
            raise LakeError(
                "The log still holds bodies whose rows are in files.",
                code="LAK0026",
                place=Place(str(self.path / "log")),
                hint="See the lake's problems; they go with the next roll that works.",
            )

    # ---------------------------------------------------------------------------------------------- bulk rows

    def write(self, batches: Sequence[TableBatch]) -> None:
        """Makes rows visible without the log. They are durable after `flush`; a crash before loses them.

        Memory is bounded: a table's rows above `spill_bytes`, or the largest table's when all are above `bulk_bytes`, go to a Parquet file
        that `flush` commits. Raises LakeError LAK0006, LAK0007 or LAK0008 for rows that fit no table (nothing of the call is visible
        then), LAK0016 when the disk refuses.
        """
        self._require_open()
        for batch in batches:
            self._refuse_broken(batch.table)
        segments = [prepared(self._store, self._clock, b) for b in batches if b.rows.num_rows]
        with self._bulk_lock:
            for name, segment in segments:
                state = self._store.update(name, lambda s, g=segment: s.with_bulk(g))  # type: ignore[misc]
                if sum(s.size for s in state.bulk) >= self.settings.spill_bytes:
                    roll.spill(self._store, name)
            while self._store.bulk_bytes >= self.settings.bulk_bytes:
                sizes = {n: sum(s.size for s in t.bulk) for n, t in self._store.states.items()}
                roll.spill(self._store, max(sizes, key=lambda n: sizes[n]))

    def flush(self) -> None:
        """Commits all bulk-written rows to their Delta tables: one transaction a table. Raises the first error after trying all."""
        self._require_open()
        failures: list[LakeError] = []
        with self._bulk_lock, self._store.delta_lock:
            for name in list(self._store.states):
                try:
                    roll.spill(self._store, name)
                    roll.commit_bulk(self._store, name)
                except LakeError as error:
                    self._store.problem(error)
                    failures.append(error)
        if failures:
            raise failures[0]

    def append_once(
        self,
        table: str,
        parts: Iterable[pa.Table],
        application: str,
        version: int,
        instead: npt.NDArray[np.int64] | None = None,
    ) -> int:
        """Adds a lot of rows, durable at once, unless the table has that version of the application's or a later one; gives how many came.

        `instead` are the numbers of rows, in files, that go in the same step.
        """
        self._require_open()
        self._refuse_broken(table)
        return append_once(self._store, table, parts, application, version, instead)

    def appended(self, table: str, application: str) -> int:
        """The version of the last lot that an application has in the table; 0 where there is none."""
        return appended(self._store, table, application)

    def drop_rows(self, table: str) -> int:
        """Takes all rows in files out of a table; gives how many. The table stays known, without rows."""
        self._require_open()
        return drop_rows(self._store, table)

    # ---------------------------------------------------------------------------------------------- the end

    def close(self) -> None:
        """Rolls what is in memory, stops the threads and gives the folder free. Bulk rows that weren't flushed are dropped."""
        if self._closed:
            return
        self._stopping.set()
        if self._background is not None:
            self._background.join()
        if self._log is not None:
            if self._replayed:
                try:
                    self.roll()
                except LakeError as error:
                    _log.error("lake.close.roll", error=str(error))
                except Exception:
                    # Deferred rows that nobody can map any more are in the log: the next start brings them.
                    _log.exception("lake.close.roll")
            self._log.close()
        self._fresh.close()
        if self._puts is not None:
            self._puts.close()
        for state in self._store.states.values():
            for file in state.spilled:
                Path(file.path).unlink(missing_ok=True)
        self._closed = True
        if self._lock is not None:
            self._lock.release()

    # ---------------------------------------------------------------------------------------------- inside

    def _wait_for_room(self) -> None:
        store = self._store
        if store.hot_bytes < self.settings.hot_bytes:
            return
        if self._background is None or not self._replayed:
            self.roll()
            return
        deadline = time.monotonic() + _PUT_WAIT_SECONDS
        with store.condition:
            store.condition.notify_all()
            while store.hot_bytes >= self.settings.hot_bytes:
                if not store.condition.wait(max(0.0, deadline - time.monotonic())) or self._stopping.is_set():
                    raise LakeError(
                        f"Fresh rows fill the {self.settings.hot_bytes} bytes of the setting lake.hot_bytes and can't be rolled.",
                        code="LAK0012",
                        place=Place(str(self.path)),
                        hint="See the lake's problems; bodies stay in the log meanwhile.",
                    )

    def _has_records(self, above: int) -> bool:
        return self._log is not None and next(self._log.replay(above), None) is not None

    def _require_open(self) -> None:
        if self._closed or self._lock is None:
            raise LakeError("The lake isn't open for writing.", place=Place(str(self.path)))

    def _require_replayed(self) -> None:
        self._require_open()
        if not self._replayed:
            raise LakeError("The log must be replayed first.", code="LAK0010", hint="Call Lake.recover.")

    def _refuse_broken(self, name: str) -> None:
        broken = self._store.state(name).broken
        if broken is not None:
            raise broken
