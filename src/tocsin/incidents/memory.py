"""What correlation remembers, kept in a file, so that a start need not read a week of alerts anew.

The file is a cache: it says at which place of the incident log it was made, and who reads it takes in what came afterwards. A file of another
program, of other settings, of another log or one that isn't whole is passed over, and everything is read from the database. It holds plain values
only, no code; incidents themselves stay in the database and are read when one is needed.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import msgpack
import structlog
import zstandard

from tocsin import __version__
from tocsin.base.kept import program_digest, trusted
from tocsin.detect.alert import iso
from tocsin.incidents import load
from tocsin.incidents.cluster import Cluster
from tocsin.incidents.correlate import REMEMBERED_BY, Correlator, Remembered
from tocsin.incidents.model import LOCKED
from tocsin.incidents.store import JUDGE
from tocsin.state import Unit
from tocsin.state.types import dumps

__all__ = ["MemoryFile", "forget_learned", "learned", "note_learned", "setting_of"]

_log = structlog.get_logger("tocsin.incidents")

_MAGIC = b"tocsin memory 1\n"
_TOGETHER = 1_000
"""Entries that are packed at once: everything else waits meanwhile."""
_LEVEL = 1
_MOST_CHANGED = 20_000
"""Where more incidents than this changed since, everything is read anew: that takes no longer then."""
_LEARNED = "incidents.learned"
"""Where the incidents are kept of which alerts were learned to be known otherwise since the file was made: the log doesn't tell of those."""
_DEPENDS = (
    "incidents/background.py", "incidents/cluster.py", "incidents/company.py", "incidents/correlate.py", "incidents/fusion.py", "incidents/held.py",
    "incidents/hindsight.py", "incidents/joining.py", "incidents/lately.py", "incidents/learned.py", "incidents/links.py", "incidents/memory.py",
    "incidents/merging.py", "incidents/model.py", "incidents/neighbours.py", "incidents/patterns.py", "incidents/regrouping.py",
    "incidents/score.py", "incidents/sharing.py", "incidents/signature.py", "incidents/weights.py", "tables/aliases.py", "tables/entities.py",
)  # fmt: skip


@dataclass(slots=True)
class MemoryFile:
    """The file at `path`. What it does is done by one thread at a time."""

    path: Path
    kept: int = -1
    """The place of the log at which the file was made that this process wrote or read last."""
    _written: float = 0.0

    def due(self, seq: int, *, entries: int, seconds: float) -> bool:
        """Whether there is enough news: so many entries of the log since, or so much time and any."""
        if seq == self.kept:
            return False
        return seq - self.kept >= entries or time.monotonic() - self._written >= seconds

    def write(self, unit: Unit, remembered: Remembered, seq: int, setting: str) -> None:
        """Writes what is remembered as of that place of the log, under those settings. Raises OSError."""
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not trusted(folder):
            raise PermissionError(f"Others may write to {folder}.")
        head = {"program": _program(), "setting": setting, "seq": seq, "mark": _mark(unit, seq)}
        packer = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        digest = hashlib.sha256()
        handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(_MAGIC + bytes(digest.digest_size))
                for frame in (("head", head), *_frames(remembered), ("end", None)):
                    part = packer.compress(msgpack.packb(frame, datetime=True))
                    digest.update(part)
                    out.write(part)
                    time.sleep(0)  # whoever waits goes first
                part = packer.flush()
                digest.update(part)
                out.write(part)
                out.seek(len(_MAGIC))
                out.write(digest.digest())
                out.flush()
                os.fsync(out.fileno())
            os.replace(name, self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self.kept, self._written = seq, time.monotonic()

    def recall(self, unit: Unit, correlator: Correlator, since: datetime, goes_on: Callable[[], None]) -> bool:
        """Lets a correlator that knows nothing remember what the file says, and what the database says came since. False where there is no such
        file, or it is of no use: the correlator is of none then, either. `since` and `goes_on`: see
        `load.adopt_growing`."""
        frames = _read(self.path)
        if frames is None:
            return False
        head = frames[0]
        if (head["program"], head["setting"]) != (_program(), setting_of(correlator)):
            return False
        if head["mark"] is None or head["mark"] != _mark(unit, head["seq"]):
            _log.info("correlation.memory_foreign", path=str(self.path))
            return False  # of another database, or of one that was brought back from an older copy
        changed = unit.incidents.history.changed_since(head["seq"], _MOST_CHANGED + 1, but=JUDGE)
        if len(changed) > _MOST_CHANGED:
            return False
        awake: dict[str, frozenset[str]] = {}
        for name, items in frames[1]:
            goes_on()
            if name == "awake":
                awake.update((incident_id, frozenset(alerts)) for incident_id, alerts in items)
            else:
                correlator.recall(name, items, since.timestamp())
        opened = unit.incidents.growing_open(since, locked=LOCKED)
        relearned = frozenset(learned(unit))
        renewed = {*changed, *awake, *relearned, *correlator.otherwise(opened)}
        if len(renewed) > _MOST_CHANGED:
            return False
        several = load.load_several(unit, sorted(renewed), since)
        known = frozenset[str]().union(*awake.values())
        came = (a.alert for i in several for a in i.alerts)
        fresh = [a for a in came if a.id not in known and not correlator.knows(a.id)]
        for alert in sorted(fresh, key=lambda a: (a.created, a.time, a.id)):
            correlator.witness(alert)
        correlator.acquaint(a.alert for i in several if i.id in relearned for a in i.alerts)
        correlator.renew(renewed, several, apart=correlator.apart)
        self.kept, self._written = head["seq"], time.monotonic()
        return True


def setting_of(correlator: Correlator) -> str:
    """What stands for that by which a correlator remembers: some of its settings, links, patterns."""
    settings = [getattr(correlator.settings, name) for name in REMEMBERED_BY]
    said = repr(_canonical((settings, correlator.links, correlator.patterns)))
    return hashlib.sha256(said.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """A value whose text is the same in every process."""
    if is_dataclass(value) and not isinstance(value, type):
        return [(f.name, _canonical(getattr(value, f.name))) for f in fields(value)]
    if isinstance(value, re.Pattern):
        return (value.pattern, value.flags)
    if isinstance(value, Mapping):
        return sorted((str(k), _canonical(v)) for k, v in value.items())
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return [_canonical(v) for v in value] if isinstance(value, list | tuple) else str(value)


def note_learned(unit: Unit, incident_ids: Collection[str]) -> None:
    """Notes that alerts of these are known otherwise by now."""
    if incident_ids:
        unit.kv.set(_LEARNED, sorted({*learned(unit), *incident_ids}))


def learned(unit: Unit) -> list[str]:
    """The incidents that were noted so."""
    return list(unit.kv.get(_LEARNED, []))


def forget_learned(unit: Unit, incident_ids: Collection[str]) -> None:
    """A file has what was learned of these."""
    if incident_ids:
        unit.kv.set(_LEARNED, sorted(set(learned(unit)) - set(incident_ids)))


@lru_cache(maxsize=1)
def _program() -> str:
    """What stands for the code that correlates."""
    return program_digest(Path(__file__).parents[1], _DEPENDS, __version__)


def _mark(unit: Unit, seq: int) -> str | None:
    """What stands for the log up to that place; None where it has none. Two logs that differ before it differ there in all likelihood: an entry has
    its incident's version, and the moment."""
    entry = next(iter(unit.incidents.history.after(seq - 1, limit=1)), None)
    if entry is None or entry.seq != seq:
        return None
    said = dumps([entry.incident_id, entry.version, iso(entry.time), entry.kind, entry.data])
    return hashlib.sha256(said.encode()).hexdigest()


def _frames(remembered: Remembered) -> Iterator[tuple[str, Any]]:
    resting = (c for c in remembered.clusters.values() if not isinstance(c, Cluster))
    # Without the incidents' bytes: those are in the database.
    yield from _few("clusters", ((*c[:6], (c[6][0], b"", *c[6][2:])) for c in resting))
    for name, entries in remembered.parts:
        each: Iterable[Any] = entries.items() if isinstance(entries, Mapping) else entries
        if name in ("company", "fired"):
            # Of those with several companions all, as they are now: a moment later does no harm.
            each = ((key, tuple(s.values()) if isinstance(s, dict) else s) for key, s in each)
        yield from _few(name, each)


def _few(name: str, each: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    left = iter(each)
    while part := list(islice(left, _TOGETHER)):
        yield name, part


def _read(path: Path) -> tuple[dict[str, Any], Iterator[tuple[str, Sequence[Any]]]] | None:
    """The file's head, and its parts one after the other; None where it isn't whole."""
    try:
        if not trusted(path.parent):
            return None
        content = path.read_bytes()
    except OSError:
        return None
    body = memoryview(content)[len(_MAGIC) + 32 :]
    if not content.startswith(_MAGIC) or hashlib.sha256(body).digest() != content[len(_MAGIC) : len(_MAGIC) + 32]:
        return None
    stream = zstandard.ZstdDecompressor().stream_reader(BytesIO(body))
    frames = msgpack.Unpacker(stream, use_list=False, strict_map_key=False, timestamp=3, max_buffer_size=2**31 - 1)
    name, head = next(frames)
    return (head, _parts(frames)) if name == "head" else None


def _parts(frames: Iterable[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    same: dict[Any, Any] = {}
    one = same.setdefault
    for name, items in frames:
        if name == "end":
            return
        if name == "clusters":  # the same things are named by many: each is in memory once
            items = [
                (*c[:4], tuple([one(k, k) for k in c[4]]), c[5], (tuple([one(t, t) for t in c[6][0]]), *c[6][1:8],
                 tuple([one(n, n) for n in c[6][8]]), *[one(v, v) for v in c[6][9:]]))
                for c in items
            ]  # fmt: skip
        elif name in ("company", "fired"):
            items = [(one(k, k), s) for k, s in items]
        yield name, items
