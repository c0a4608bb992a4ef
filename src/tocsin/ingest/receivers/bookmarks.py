"""How far each machine's event logs have come: the bookmark of its last batch, after any number of crashes.

Filled by the receiver when a batch is durable, and by intake from the bodies themselves before their rows reach the lake (`taken`), so that
`save`, which intake calls before the log is trimmed, misses none.
"""

from __future__ import annotations

import threading
from pathlib import Path

import msgpack
import structlog

from tocsin.base.errors import LakeError
from tocsin.ingest.letters import LETTER
from tocsin.ingest.receivers.remembered import write_remembered
from tocsin.lake import Body

__all__ = ["Bookmarks"]

_log = structlog.get_logger("tocsin.ingest.wef")
_FORMAT = 1


class Bookmarks:
    """Bookmarks by machine and subscription. Safe to use from many threads."""

    def __init__(self, file: Path | None = None) -> None:
        """`file` is where they outlive the process; None keeps them in memory alone."""
        self._file = file
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._live: dict[tuple[str, str], str] = {}
        self._kept: dict[tuple[str, str], str] = {}
        self._changed = False
        if file is not None:
            self._load(file)

    def get(self, machine: str, subscription: str) -> str:
        """The machine's last one; empty when there is none."""
        key = machine, subscription
        with self._lock:
            return self._live.get(key) or self._kept.get(key, "")

    def stored(self, machine: str, subscription: str, bookmark: str) -> None:
        """A batch that ended there is durable."""
        if bookmark:
            with self._lock:
                self._live[machine, subscription] = bookmark

    def taken(self, body: Body) -> None:
        """See `tocsin.ingest.pipeline.Memory`. A dead letter that is replayed says nothing of where the machine is."""
        bookmark = body.meta.get("bookmark", "")
        if bookmark and LETTER not in body.meta:
            with self._lock:
                self._kept[body.meta.get("token", ""), body.meta.get("subscription", "")] = bookmark
                self._changed = True

    def save(self) -> None:
        """Makes them durable, if they have changed. Raises LakeError when the disk refuses."""
        if self._file is None:
            return
        with self._saving:
            with self._lock:
                if not self._changed:
                    return
                kept = [[*key, bookmark] for key, bookmark in self._kept.items()]
                self._changed = False
            try:
                write_remembered(
                    self._file,
                    {"format": _FORMAT, "bookmarks": kept},
                    "The bookmarks of Windows event forwarding can't be written",
                    "The log keeps its records until they can; is the disk full?",
                )
            except LakeError:
                self._changed = True
                raise

    def _load(self, file: Path) -> None:
        try:
            read = msgpack.unpackb(file.read_bytes())
            self._kept = {(str(m), str(s)): str(b) for m, s, b in read["bookmarks"]}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
            # Without them machines begin at what is new to them: said, and no reason not to start.
            _log.error("ingest.wef.bookmarks", file=str(file), error=str(error))
