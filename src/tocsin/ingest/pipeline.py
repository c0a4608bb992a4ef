"""`Intake`: from durable bodies to visible rows.

    receiver ─ submit ─► lake.log (durable) ─► one thread, in the log's order: decode ─► lake.defer (visible) ─► observers
                                                          when somebody needs rows, at the latest at the roll: map ─► rows of tables

A body is durable when `submit`'s future resolves; only then may the receiver tell its sender. Rows of a body carry the instant of its
receipt as `_TimeReceived`, the same after a replay. `watermark` is the instant before which everything received is visible: rules that
run over windows of ingestion time end their windows there and can neither miss nor see twice.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import structlog

from tocsin.base.clock import Clock
from tocsin.base.errors import IngestError, LakeError, Place
from tocsin.ingest import codes
from tocsin.ingest.decoders import decode_bodies
from tocsin.ingest.decoders.tables import TableMatcher, default_matcher
from tocsin.ingest.density import pieces
from tocsin.ingest.letters import DEAD_LETTERS, LETTER, dead_letter_rows, letter_of_body, replayed_row
from tocsin.ingest.mapping import Mapper
from tocsin.ingest.model import DeadLetter, Letters, SourceBatch
from tocsin.ingest.requests import RequestLog
from tocsin.ingest.settings import DecodeLimits
from tocsin.ingest.sourcestates import SourceState, SourceStates
from tocsin.ingest.tablerows import Decoded, TableRows, merged
from tocsin.ingest.watch import SourceWatch
from tocsin.lake import Body, Lake, TableBatch, Unmapped

__all__ = ["Intake", "IntakeBusyError", "Memory", "SourceState"]

_log = structlog.get_logger("tocsin.ingest")
# What is mapped together at most: the engine plans each expression once for it, however many rows there are.
_GATHER_BYTES = 64 << 20
_PIECE_BYTES = 64
_QUEUE_BYTES = 96 << 20
# When rows lag behind by more than that, instants of receipt get coarser, so that more bodies can be mapped together.
_LAG = timedelta(seconds=1)
_COARSE = 8
_LAKE_FULL = "LAK0012"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class IntakeBusyError(IngestError):
    """Too much waits already: the sender must try again a little later."""

    code = "ING0030"


@dataclass(slots=True)
class _Waiting:
    bodies: Sequence[Body]
    last: int
    arrived: datetime


Observer = Callable[[Sequence[SourceBatch]], None]
"""Sees each group of rows once they are visible, as their source shapes them."""


class Memory(Protocol):
    """What a receiver remembers of bodies to recognise repetitions, when a request key isn't enough."""

    def taken(self, body: Body) -> None:
        """Sees each body, in the log's order, before its rows reach the lake; after a crash those in the log once more."""

    def save(self) -> None:
        """Makes what `taken` saw durable: the log is trimmed next. Raises LakeError, and the log stays."""


@dataclass(slots=True)
class _Group:
    """Rows of bodies that were received at the same instant, merged by source kind."""

    received: datetime
    first: int
    batches: dict[tuple[object, ...], list[SourceBatch]] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)
    replayed: list[pa.Table] = field(default_factory=list)


class Intake:
    """Takes bodies from receivers and makes rows of them."""

    def __init__(
        self,
        lake: Lake,
        mapper: Mapper,
        *,
        clock: Clock,
        limits: DecodeLimits | None = None,
        matcher: TableMatcher | None = None,
        state: Path | None = None,
        watch: SourceWatch | None = None,
        tick: timedelta = timedelta(seconds=0.5),
        observers: Iterable[Observer] = (),
    ) -> None:
        """`state` is a folder for what must outlive the process. `tick`: instants of receipt are cut down to whole ticks (eight ticks while
        intake lags behind), so that bodies that come close together can be mapped together."""
        self.lake = lake
        self.clock = clock
        self.limits = limits or DecodeLimits()
        self.matcher = matcher or default_matcher()
        self.observers: list[Observer] = list(observers)
        self.observed = 0
        """The last body of those that observers are being shown."""
        self.shown = 0
        """Up to which body observers have seen all in an earlier run: a replay shows them what comes after."""
        self.memories: list[Memory] = []
        """What receivers must remember of bodies beyond the log; to be added before `start`."""
        lake.before_trim.append(self._save_memories)
        if state is not None:
            state.mkdir(parents=True, exist_ok=True)
        self.requests = RequestLog(state / "requests.txt" if state is not None else None)
        self.watch = watch or SourceWatch(clock=clock)
        """The health of sources."""
        self.memories.append(self.watch)
        self._tables = TableRows(mapper, self.limits)
        lake.map_with(self._tables)
        if mapper.transforms is not None:
            mapper.transforms.before_use = lake.bring
        self._tick = tick
        self._stamp = _EPOCH
        self._condition = threading.Condition()
        self._arrived: dict[int, _Waiting] = {}
        self._next = 0
        self._in_flight: dict[int, datetime] = {}
        self._flights = 0
        self._queued_bytes = 0
        self._sources = SourceStates()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._failed: BaseException | None = None

    # ---------------------------------------------------------------------------------------------- life

    def start(self) -> int:
        """Puts what a crash left in the log, then begins to take bodies. Gives the number of bodies replayed."""
        replayed = self.lake.recover(self._replay) if self.lake.needs_recovery else 0
        self.requests.started()
        self.watch.started()
        self._next = self.lake.log.last + 1
        self._thread = threading.Thread(target=self._run, name="tocsin-intake", daemon=True)
        self._thread.start()
        return replayed

    def stop(self) -> None:
        """Refuses new bodies, waits until all rows are visible and mapped, and ends the thread."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()
            if self._failed is None:
                try:
                    self.lake.bring()  # parsers end with intake
                except Exception:
                    _log.exception("ingest.stop")  # the log has it: the next start maps it
                self.requests.close()
                try:
                    self._save_memories()
                except LakeError as error:
                    _log.error("ingest.memory", error=str(error))

    @property
    def mapper(self) -> Mapper:
        """What makes rows of tables."""
        return self._tables.mapper

    @mapper.setter
    def mapper(self, mapper: Mapper) -> None:
        self._tables.mapper = mapper

    @property
    def healthy(self) -> bool:
        """False when the thread has died: receivers then refuse everything."""
        return self._failed is None and self._thread is not None and self._thread.is_alive()

    # ---------------------------------------------------------------------------------------------- taking bodies

    def now(self, *, later: bool = False) -> datetime:
        """The instant of receipt of a body that comes now: never earlier than one given before; with `later`, later than all of those, so
        that what comes from now on can be told from what came before."""
        with self._condition:
            before = self._stamp
            if self._now() <= before and later:
                self._stamp = before + self._tick
            return self._stamp

    def _now(self) -> datetime:
        moment = self.clock.now()
        oldest = self._arrived.get(self._next)
        lagging = oldest is not None and moment - oldest.bodies[0].received > _LAG
        moment -= (moment - _EPOCH) % (self._tick * _COARSE if lagging else self._tick)
        self._stamp = max(self._stamp, moment)
        return self._stamp

    @property
    def durable(self) -> int:
        """The highest sequence number that is durable."""
        return self.lake.log.last

    @property
    def pressure(self) -> float:
        """How full intake is; at 1.0 or above `submit` refuses."""
        return max(self.lake.pressure, self._queued_bytes / _QUEUE_BYTES)

    @property
    def queue(self) -> tuple[int, int, float]:
        """What is durable and not visible yet: bodies, their bytes, and for how many seconds the oldest has waited."""
        with self._condition:
            waiting = list(self._arrived.values())
            size = self._queued_bytes
        oldest = min((w.arrived for w in waiting), default=None)
        seconds = max(0.0, (self.clock.now() - oldest).total_seconds()) if oldest is not None else 0.0
        return sum(len(w.bodies) for w in waiting), size, seconds

    def submit(self, bodies: Sequence[Body]) -> Future[int]:
        """Hands bodies over; the future gives the last one's sequence number when all are durable.

        Raises IntakeBusyError when too much waits (nothing was taken then).
        """
        if self._closing or self._failed is not None:
            raise IntakeBusyError("Intake is stopping.", hint="Send again when the server is back.")
        if self.pressure >= 1.0:
            raise IntakeBusyError("Too much waits to be stored.", hint="Send again a little later.")
        with self._condition:
            # The instant is taken while the flight is noted, so that the watermark can't pass it.
            received, arrived = self._now(), self.clock.now()
            self._flights += 1
            flight = self._flights
            self._in_flight[flight] = received
        stamped = [replace(b, received=received) for b in bodies]
        try:
            future = self.lake.log.append(stamped)
        except LakeError as error:
            self._landed(flight)
            if error.code == "LAK0011":
                raise IntakeBusyError(error.message, hint="Send again a little later.") from error
            raise
        future.add_done_callback(lambda done: self._durable(done, stamped, flight, arrived))
        return future

    async def accept(self, bodies: Sequence[Body]) -> int:
        """`submit` for asyncio: returns when the bodies are durable."""
        return await asyncio.wrap_future(self.submit(bodies))

    def _durable(self, done: Future[int], bodies: Sequence[Body], flight: int, arrived: datetime) -> None:
        if done.exception() is not None:
            self._landed(flight)
            return
        last = done.result()
        with self._condition:
            # From here on the waiting bodies themselves hold the watermark back.
            self._in_flight.pop(flight, None)
            if bodies:
                self._arrived[last - len(bodies) + 1] = _Waiting(bodies, last, arrived)
                self._queued_bytes += sum(len(b.data) for b in bodies)
            self._condition.notify_all()

    def _landed(self, flight: int) -> None:
        with self._condition:
            self._in_flight.pop(flight, None)

    # ---------------------------------------------------------------------------------------------- what others ask

    def watermark(self) -> datetime:
        """The instant before which everything that was received is visible."""
        with self._condition:
            waiting = [w.bodies[0].received for w in self._arrived.values()]
            return min([*waiting, *self._in_flight.values(), self._now()])

    @property
    def visible(self) -> int:
        """The highest sequence number up to which all rows are visible."""
        with self._condition:
            return self._next - 1

    def wait_visible(self, seq: int, timeout: float | None = None) -> bool:
        """Waits until the rows of the log records up to `seq` are visible: for tests and for clean stops."""
        with self._condition:
            return (
                self._condition.wait_for(lambda: self._next > seq or self._failed is not None, timeout)
                and self._failed is None
            )

    def sources(self) -> list[SourceState]:
        """Every source that has sent something or listens, by name."""
        return self._sources.listed()

    def listening(self, kind: str, name: str, address: str, *, state: str = "listening") -> SourceState:
        """Registers a receiver so that it shows in `sources` before anything came."""
        return self._sources.listening(kind, name, address, state)

    def refused(self, kind: str, name: str, why: str = "") -> None:
        """Counts a request that a receiver refused, and why."""
        self._sources.refused(kind, name, why)

    def heard(self, kind: str, name: str) -> None:
        """A source says that it is there, and has nothing to send."""
        self.watch.took(kind, name, self.clock.now(), 0, 0, 0)
        self._sources.heard(kind, name)

    # ---------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        try:
            while (taken := self._take()) is not None:
                self._process(taken)
        except BaseException as error:
            self._failed = error
            _log.critical("ingest.stopped", error=repr(error), exc_info=True)
            with self._condition:
                self._condition.notify_all()
            raise

    def _take(self) -> list[tuple[int, Body]] | None:
        """The next bodies in the log's order, up to 64 MiB; None at the end."""
        with self._condition:
            while self._next not in self._arrived:
                if self._closing and not self._arrived and not self._in_flight:
                    return None
                self._condition.wait(0.5)
            taken: list[tuple[int, Body]] = []
            size, number = 0, self._next
            while number in self._arrived and size < _GATHER_BYTES:
                waiting = self._arrived[number]
                taken += zip(range(number, waiting.last + 1), waiting.bodies, strict=True)
                size += sum(_weight(b) for b in waiting.bodies)
                number = waiting.last + 1
            return taken

    def _process(self, taken: list[tuple[int, Body]]) -> None:
        decoded, counts = self._rows(taken)
        sources, unmapped = [b for b, _ in decoded.batches], self._tables.unmapped(decoded)
        self._keep_requests([(b.received.timestamp(), b.meta["request"]) for _, b in taken if b.meta.get("request")])
        self._note([b for _, b in taken])
        last = taken[-1][0]
        self._defer(last, unmapped)
        with self._condition:
            arrivals: list[datetime] = []
            for number in sorted(n for n in self._arrived if n <= last):
                waiting = self._arrived.pop(number)
                arrivals += [waiting.arrived] * len(waiting.bodies)
                self._queued_bytes -= sum(len(b.data) for b in waiting.bodies)
            self._next = last + 1
            self._condition.notify_all()
        now = self.clock.now()
        for (kind, name, events), arrived in zip(counts, arrivals, strict=True):
            self.watch.visible(kind, name, (now - arrived).total_seconds(), events)
        self._show(last, sources)

    def _show(self, last: int, sources: Sequence[SourceBatch]) -> None:
        self.observed = last
        for observer in self.observers:
            try:
                observer(sources)
            except Exception:
                _log.exception("ingest.observer")

    def _keep_requests(self, entries: list[tuple[float, str]]) -> None:
        """Waits while the disk is full: without the keys in their file a repetition after a crash would be taken twice."""
        while True:
            try:
                self.requests.save(entries)
                return
            except OSError as error:
                _log.warning("ingest.waits", error=str(error))
                with self._condition:
                    self._condition.wait(1.0)
                    if self._closing:
                        return  # the bodies are in the log: a start takes them, keys and all

    def _note(self, bodies: Sequence[Body]) -> None:
        for memory in self.memories:
            for body in bodies:
                memory.taken(body)

    def _save_memories(self) -> None:
        for memory in self.memories:
            memory.save()

    def _defer(self, last: int, unmapped: Unmapped) -> None:
        while True:
            try:
                self.lake.defer(last, unmapped)
                return
            except LakeError as error:
                if error.code != _LAKE_FULL:
                    raise
                _log.warning("ingest.waits", error=str(error))
                with self._condition:
                    self._condition.wait(1.0)

    def _replay(self, group: Sequence[tuple[int, Body]]) -> Unmapped:
        keys = [(b.received.timestamp(), b.meta["request"]) for _, b in group if b.meta.get("request")]
        self.requests.recovered(keys)
        self.requests.save(keys)
        self._note([b for _, b in group])
        decoded, _ = self._rows(group)
        new = [(number, body) for number, body in group if number > self.shown]
        if new:
            shown = decoded if len(new) == len(group) else self._rows(new)[0]
            self._show(new[-1][0], [b for b, _ in shown.batches])
        return self._tables.unmapped(decoded)

    def _rows(self, taken: Sequence[tuple[int, Body]]) -> tuple[Decoded, list[tuple[str, str, int]]]:
        """Decodes bodies; of each also the source and how many events it had. Never raises for what they hold."""
        groups: dict[datetime, _Group] = {}
        counts: list[tuple[str, str, int]] = []
        for (received, _), alike in groupby(taken, _likeness):
            group = groups.setdefault(received, _Group(received, taken[0][0]))
            counts += self._decode(list(alike), group)
        decoded = Decoded(taken[0][0])
        for group in groups.values():
            for batches in group.batches.values():
                decoded.batches += [(b, group.received) for b in self._transformed(merged(batches), group)]
            ends = [*group.replayed, *([dead_letter_rows(group.dead, group.received)] if group.dead else [])]
            if ends:
                rows = pa.concat_tables(ends)
                stamp = pa.scalar(group.received.replace(tzinfo=None), pa.timestamp("us"))
                rows = rows.append_column("_TimeReceived", pa.repeat(stamp, rows.num_rows))
                decoded.ready.append(TableBatch(DEAD_LETTERS, rows))
        return decoded, counts

    def _transformed(self, batch: SourceBatch, group: _Group) -> list[SourceBatch]:
        if self.mapper.transforms is None:
            return [batch]
        pieces, letters = self.mapper.transforms.source(batch)
        group.dead += [replace(letter, number=group.first) for letter in letters]
        return pieces

    def _decode(self, taken: Sequence[tuple[int, Body]], group: _Group) -> list[tuple[str, str, int]]:
        """Decodes bodies that differ in nothing but their bytes; gives the source and about how many events each had."""
        bodies = [body for _, body in taken]
        body, failure = bodies[0], None
        batches: list[SourceBatch] = []
        letters = Letters()
        try:
            for item in decode_bodies(bodies, limits=self.limits, matcher=self.matcher):  # those before a failure stay
                if isinstance(item, DeadLetter):
                    letters.add(item)
                else:
                    batches.append(item)
        except Exception as error:
            failure = error
        if len(taken) > 1 and (failure is not None or letters.count):
            # Each by itself: the one that a letter came in is part of what tells it from others.
            return [count for one in taken for count in self._decode([one], group)]
        events, errors = 0, letters.count
        first = len(group.dead)
        group.dead += letters.all()
        for item in batches:
            events += len(item)
            types = item.rows.schema.types if item.source.startswith("table.") else ()
            key = (item.source, item.parser, *item.rows.column_names, *types)
            group.batches.setdefault(key, []).append(item)
        if failure is not None:
            _log.error("ingest.decode", source=body.source, exc_info=failure)
            errors += 1
            reason = f"The decoder failed ({type(failure).__name__}: {failure})."
            raw, size = body.data[: self.limits.dead_letter_bytes], len(body.data)
            group.dead.append(
                DeadLetter(reason, codes.INTERNAL, Place(body.source), raw, body.source, body.source, size)
            )
        meta = body.meta
        if LETTER in meta:
            if not events and not errors:
                reason = "The replay gave neither rows nor an error: by themselves its bytes mean nothing."
                group.dead.append(
                    DeadLetter(reason, codes.EMPTY_REPLAY, Place(body.source), body.data, size=len(body.data))
                )
            group.replayed.append(replayed_row(body, events))
        group.dead[first:] = [letter_of_body(letter, body, taken[0][0]) for letter in group.dead[first:]]
        if LETTER in meta:
            return [("", "", 0)] * len(bodies)  # nothing that its source sent now
        name = meta.get("token") or meta.get("peer") or meta.get("path") or meta.get("origin") or body.source
        kind = meta.get("receiver") or ("file" if body.source == "batch" else body.source)
        size = sum(len(b.data) for b in bodies)
        self.watch.took(kind, name, body.received, events, size, errors)
        self._sources.took(kind, name, body.received, events, size, errors)
        share, more = divmod(events, len(bodies))
        return [(kind, name, share + (n < more)) for n in range(len(bodies))]


def _weight(body: Body) -> int:
    """About how many bytes it takes to decode a body: those of small events are the least of it. In syslog's own framing a blank is before each."""
    return len(body.data) + _PIECE_BYTES * pieces(body.data, b" " if body.source == "syslog" else b"\n{", windows=4)


def _likeness(taken: tuple[int, Body]) -> tuple[datetime, object]:
    """Bodies of equal likeness that follow each other are decoded together: only Splunk's, whose requests carry keys of their own."""
    body = taken[1]
    if body.source != "hec":
        return body.received, object()
    return body.received, sorted((k, v) for k, v in body.meta.items() if k != "request")
