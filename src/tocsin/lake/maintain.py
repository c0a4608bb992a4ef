"""Housekeeping: merging small files, retention, setting damaged files aside, sweeping files that no table lists."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog

from tocsin.base.errors import LakeError, Place
from tocsin.kql.types import KqlType
from tocsin.lake.delta import DeltaLog
from tocsin.lake.engine.files import columns_of
from tocsin.lake.engine.physical import naive_utc, shape_of, stored_schema
from tocsin.lake.engine.terms import SUFFIX as TERMS
from tocsin.lake.engine.terms import build_filter, filter_path
from tocsin.lake.hot import TableState
from tocsin.lake.members import lacks_members, with_members
from tocsin.lake.parquet import PART, write_rows
from tocsin.lake.pins import Pins, holding, pinned
from tocsin.lake.retention import Deletion, budget_bytes, evicted, read_book, write_book
from tocsin.lake.snapshot import DataFile
from tocsin.lake.store import Store
from tocsin.tables import INGESTION_TIME

__all__ = ["RESTORED", "compact", "delete_before", "index", "read_files", "retain", "set_aside", "swap_files", "sweep"]

_log = structlog.get_logger("tocsin.lake.maintain")
RESTORED = "_RST"
"""What names of tables end with that hold restored rows."""
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
    _widen(store, name)
    return gone


def _widen(store: Store, name: str) -> None:
    """Writes a file that is too large to be merged anew with the columns of the table's members: one at most, and each is tried once."""
    state = store.states[name]
    for file in state.files if state.schema.members else ():
        small = file.rows < _MERGE_ROWS // 2 and file.size < store.settings.target_file_bytes // 2
        if small or file.size > _MERGE_BYTES or file.path in store.widened or not lacks_members(file, state.schema):
            continue
        store.widened.add(file.path)
        rows = read_files(store, name, [file])
        if rows is None:
            return
        wide = with_members(rows, state.schema)
        if wide.num_columns > rows.num_columns:
            made = write_rows(store.folder / name, wide, store.settings, label="merged")
            swap_files(store, name, [file], [made], data_change=False)
        return


def _replace(store: Store, name: str, group: Sequence[DataFile], at_least: int) -> int:
    if len(group) < at_least:
        return 0
    rows = read_files(store, name, group)
    if rows is None:
        return 0
    rows = with_members(rows, store.states[name].schema)
    merged = write_rows(store.folder / name, rows, store.settings, label="merged")
    swap_files(store, name, group, [merged], data_change=False)
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
        rows = read_files(store, name, [file])
        if rows is None:
            continue
        times = rows.column("TimeGenerated")
        keep = rows.filter(pc.fill_null(pc.greater_equal(times, pa.scalar(limit, times.type)), True))
        kept = [write_rows(store.folder / name, keep, store.settings, label="kept")] if keep.num_rows else []
        swap_files(store, name, [file], kept, data_change=True)
        deleted += rows.num_rows - keep.num_rows
    return deleted


def index(store: Store, *, at_most: int = 1) -> int:
    """Makes the term filters of files that are large enough and have none; gives how many. Takes no lock: files never change.

    A file that can't be indexed is a problem, named once, and is read whole by queries.
    """
    least = store.settings.term_filter_rows
    made = 0
    if not least:
        return 0
    for name, state in sorted(store.states.items()):
        strings = [n for n, c in shape_of(state.schema).physical.items() if c.type is KqlType.STRING]
        for file in state.files:
            if made >= at_most:
                return made
            if file.rows < least or file.path in store.indexed:
                continue
            store.indexed.add(file.path)
            if filter_path(file.path).exists():
                continue
            held = columns_of([file])
            try:
                terms = build_filter(file.path, [n for n in strings if held is None or n in held])
            except LakeError as error:
                store.problem(error)
                continue
            made += 1
            _log.debug("lake.indexed", table=name, file=file.path, terms=terms)
    return made


def retain(store: Store, book_path: Path, pins: Pins = tuple) -> list[Deletion]:
    """Deletes what the settings of retention no longer keep; gives what went. The caller holds `delta_lock`.

    Rows that a pin holds stay, in a file of their own.

    Raises LakeError LAK0020 for a damaged book (then nothing is deleted).
    """
    book = read_book(book_path)
    settings = book.wanted(store.settings.retention)
    if book.hold:
        return []
    now = store.clock.now()
    undo = timedelta(days=settings.undo_days)
    found: list[Deletion] = []
    before = book
    for name in sorted(store.states):
        if name.endswith(RESTORED):
            continue  # copies of old rows, which have an end of their own
        days, book = book.in_force(name, settings.days_of(name), now, undo)
        if days:
            try:
                found += _expire(store, name, naive_utc(now - timedelta(days=days)), timedelta(days=days), days, pins)
            except LakeError as error:
                store.problem(error)  # the other tables go on
    if book != before:
        write_book(book_path, book)
    files = {n: s.files for n, s in store.states.items()}
    limits = {n: t.bytes for n, t in settings.tables.items() if t.bytes}
    floor = naive_utc(now - timedelta(hours=settings.floor_hours))
    spent: dict[tuple[str, str], list[DataFile]] = defaultdict(list)
    for name, file, reason in evicted(files, budget_bytes(settings, store.folder), newest=floor, limits=limits):
        spent[name, reason].append(file)
    for (name, reason), gone in spent.items():
        found.append(_drop(store, name, gone, reason, pins))
    return [d for d in found if d.rows]


def _expire(store: Store, name: str, limit: datetime, span: timedelta, days: int, pins: Pins) -> Iterator[Deletion]:
    """Drops files whose rows all came in before the limit; rewrites those that reach far beyond it."""
    reason = f"older than {days} days"
    old = [f for f in store.states[name].files if f.received is not None and f.received[1] < limit]
    if old:
        yield _drop(store, name, old, reason, pins)
    for file in store.states[name].files:
        if file.received is not None and file.received[0] < limit - span / 10:
            rows = read_files(store, name, [file])
            if rows is None:
                continue
            times = rows.column(INGESTION_TIME)
            young = pc.fill_null(pc.greater_equal(times, pa.scalar(limit, times.type)), True)
            if held := holding(pins, name, file):
                young = pc.or_(young, pa.array(pinned(held, name, rows) >= 0))
            keep = rows.filter(young)
            if keep.num_rows == rows.num_rows:
                continue  # all that is old in it is pinned
            kept = [write_rows(store.folder / name, keep, store.settings, label="kept")] if keep.num_rows else []
            swap_files(store, name, [file], kept, data_change=True)
            yield Deletion(name, rows.num_rows - keep.num_rows, file.size - sum(f.size for f in kept), reason)


def _drop(store: Store, name: str, files: Sequence[DataFile], reason: str, pins: Pins = tuple) -> Deletion:
    going: list[DataFile] = []
    kept: list[DataFile] = []
    for file in files:
        if held := holding(pins, name, file):
            rows = read_files(store, name, [file])
            if rows is None:
                continue
            keep = rows.filter(pa.array(pinned(held, name, rows) >= 0))
            if keep.num_rows == rows.num_rows:
                continue
            kept += [write_rows(store.folder / name, keep, store.settings, label="kept")] if keep.num_rows else []
        going.append(file)
    if not going:
        return Deletion(name, 0, 0, reason)
    swap_files(store, name, going, kept, data_change=True)
    files = going
    gone = Deletion(
        name,
        sum(f.rows for f in files) - sum(f.rows for f in kept),
        sum(f.size for f in files) - sum(f.size for f in kept),
        reason,
    )
    _log.info("lake.deleted", table=name, files=len(files), rows=gone.rows, bytes=gone.bytes, reason=reason)
    return gone


def set_aside(store: Store, name: str, files: Sequence[DataFile]) -> list[Path]:
    """Takes damaged files out of a table and moves them to ``damaged/<table>`` beside the tables; gives where they are now.

    The caller holds `delta_lock`. Other programs that read the table work again afterwards. Raises LakeError LAK0003 when the commit fails.
    """
    if not files:
        return []
    swap_files(store, name, files, [], data_change=True)
    folder = store.folder.parent / "damaged" / name
    folder.mkdir(parents=True, exist_ok=True)
    moved = []
    for file in files:
        path = Path(file.path)
        if path.exists():  # a file that is missing has nothing to move
            moved.append(path.rename(folder / path.name))
    _log.warning("lake.set_aside", table=name, files=len(files), rows=sum(f.rows for f in files))
    return moved


def sweep(store: Store) -> int:
    """Deletes Parquet files that no table lists and that are older than any query may run; gives how many went."""
    limit = store.settings.orphan_seconds
    now, ticks = store.clock.now().timestamp(), time.monotonic()
    gone = 0
    for folder in [p for p in store.folder.iterdir() if p.is_dir()]:
        name = folder.name
        found = [*folder.glob("*.parquet"), *folder.glob(f"*{PART}")]
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
        for beside in folder.glob(f"*{TERMS}"):
            if not beside.with_suffix(".parquet").exists():
                beside.unlink(missing_ok=True)
                store.indexed.discard(str(beside.with_suffix(".parquet")))
    return gone


def _listed(store: Store, name: str) -> set[str]:
    """Paths that the table lists: its state's and, read anew, its Delta log's.

    The two differ for a file that was left out because it is damaged, and for a commit of which no answer came.
    """
    committed, _, _ = DeltaLog(store.folder / name, store.clock).open()
    state = store.state(name)
    return {f.path for f in (*state.files, *state.spilled, *committed)}


def read_files(store: Store, name: str, files: Sequence[DataFile]) -> pa.Table | None:
    """The files' rows in the table's types; None (and a problem) when one of them can't be read."""
    fields = {f.name: f for f in stored_schema(store.states[name].schema)}
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


def swap_files(
    store: Store,
    name: str,
    old: Sequence[DataFile],
    new: Sequence[DataFile],
    *,
    data_change: bool,
    items: int | None = None,
    versions: Mapping[str, int] = MappingProxyType({}),
    archived: Sequence[DataFile] | None = None,
) -> None:
    """Replaces files of a table in one transaction; the old ones stay on disk until no query can read them any more.

    `items` is the number that the next row gets, when rows got some; `versions` are application transactions of the commit; `archived` is what
    the table has in the archive afterwards, where that changes. The caller holds `delta_lock`.
    """
    state = store.states[name]
    store.delta(name).commit(state.schema, new, removed=old, data_change=data_change, items=items, versions=versions)
    gone = {f.path for f in old}
    now = time.monotonic()

    def swapped(state: TableState) -> TableState:
        files = [f for f in state.files if f.path not in gone] + list(new)
        ordered = tuple(sorted(files, key=lambda f: (f.times is None, f.times or (), f.path)))
        return replace(state, files=ordered, archived=state.archived if archived is None else tuple(archived))

    for path in gone:
        store.retired[path] = now
    store.update(name, swapped)
