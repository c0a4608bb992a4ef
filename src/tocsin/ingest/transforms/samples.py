"""The newest rows of each stream, as they came: what a transform is tried on before it takes effect."""

from __future__ import annotations

import os
import threading
from collections import deque
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa
import structlog

from tocsin.lake import Body

__all__ = ["KEPT", "Samples"]

KEPT = 100
"""Rows kept of a stream."""
_STREAMS = 500
_log = structlog.get_logger("tocsin.ingest.samples")


class Samples:
    """Keeps rows in memory, and in a folder for the next start. Safe to use from several threads.

    A memory of intake (`tocsin.ingest.pipeline.Memory`): what isn't in the folder when the process dies is in the log, and comes again from there.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._rows: dict[str, deque[pa.Table]] = {}
        self._changed: set[str] = set()
        if folder is not None and folder.is_dir():
            for path in folder.glob("*.arrow"):
                try:
                    with pa.ipc.open_stream(path.read_bytes()) as reader:
                        self._rows[unquote(path.stem)] = deque([reader.read_all()])
                except (OSError, pa.ArrowException) as error:
                    _log.warning("ingest.samples.unreadable", path=str(path), error=str(error))

    def add(self, stream: str, rows: pa.Table) -> None:
        """Rows that came. Only the last ones are kept, as a copy, so that they don't hold a whole batch in memory."""
        count = rows.num_rows
        if not count:
            return
        if count > KEPT:
            rows = rows.take(pa.array(range(count - KEPT, count)))
        with self._lock:
            if stream not in self._rows and len(self._rows) >= _STREAMS:
                return
            kept = self._rows.setdefault(stream, deque())
            kept.append(rows)
            total = sum(r.num_rows for r in kept)
            while total - kept[0].num_rows >= KEPT:
                total -= kept.popleft().num_rows
            self._changed.add(stream)

    def streams(self) -> list[str]:
        """The streams that rows were seen of."""
        with self._lock:
            return sorted(self._rows)

    def last(self, stream: str, count: int = KEPT) -> pa.Table | None:
        """The stream's newest rows, oldest first; None when none came."""
        with self._lock:
            kept = list(self._rows.get(stream, ()))
        if not kept:
            return None
        rows = kept[0] if len(kept) == 1 else pa.concat_tables(kept, promote_options="permissive")
        return rows.slice(max(0, rows.num_rows - count)).combine_chunks()

    def taken(self, body: Body) -> None:
        """Nothing: rows are seen, not bodies."""

    def save(self) -> None:
        """Writes what changed into the folder. A full disk loses no more than what previews show."""
        with self._lock:
            changed, self._changed = self._changed, set()
        if self._folder is None:
            return
        for stream in changed:
            rows = self.last(stream)
            assert rows is not None
            path = self._folder / f"{quote(stream, safe='')}.arrow"
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                temporary = path.with_suffix(".tmp")
                with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
                    writer.write_table(rows)
                os.replace(temporary, path)
            except OSError as error:
                _log.warning("ingest.samples.unsaved", stream=stream, error=str(error))
