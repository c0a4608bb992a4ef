"""Learning aliases: the packs' teachings run over rows as they come in, their claims kept in state and in the book that correlation asks.

A teaching runs over what came in since it last ran (by ingestion time), and only when a table that it reads got rows. Alerts are resolved when
they are filed; what is learned later is taken in for alerts of the last day as well.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pyarrow as pa
import structlog

from tocsin.access import Principal, require
from tocsin.base.errors import TocsinError
from tocsin.content import Content
from tocsin.detect.alert import Alert
from tocsin.incidents.aliases import AliasBook, Claim, Ranges
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.teaching import Teaching, claim_of_row, claims, row_of_claim, teachings_of
from tocsin.lake import Lake
from tocsin.lake.engine import Limits, Window
from tocsin.query import QueryService
from tocsin.state import State
from tocsin.tables import INGESTION_TIME
from tocsin.tables.aliases import joining_keys
from tocsin.tables.entities import Entity, EntityKey

__all__ = ["Aliases", "book_over", "shared_by_many", "teach"]

_log = structlog.get_logger("tocsin.workspace.aliases")
_POLL_SECONDS = 10.0
_MARKS = "aliases.marks"
_FIRST = timedelta(days=7)
_KEPT = timedelta(days=45)
_EVER = datetime(1, 1, 1, tzinfo=UTC)
_MOST_CLAIMS = 200_000
_LATE = timedelta(days=1)
"""How far back alerts take in what is learned after them."""
_SHARED_SECONDS = 600.0
_SHARED_FIRST = 10.0
"""How soon is looked again who is shared on a server that has just begun: each time twice as late, until it is as rarely as ever."""
_WRITE_AFTER = 4
"""A claim that only went on is written when it went on by this part of how long it holds, so that a busy network doesn't write all the time."""
_ROWS = Limits(rows=200_000, seconds=120.0)


def teach(
    queries: QueryService,
    teaching: Teaching,
    window: Window | None = None,
    relations: Mapping[str, pa.Table] | None = None,
) -> list[Claim]:
    """What a teaching learns from the rows of a window, or of relations in the place of tables. Raises TocsinError where its query fails."""
    result = queries.run(teaching.query, window=window, limits=_ROWS, relations=relations)
    if result.truncated:
        _log.warning("aliases.cut", content=teaching.id, rows=_ROWS.rows)
    return list(claims(teaching, result.dicts()))


def shared_by_many(
    queries: QueryService, content: Content, window: Window | None = None
) -> tuple[frozenset[EntityKey], Ranges]:
    """The hosts, accounts and addresses that many use, and the ranges of such addresses, by the content that says so; what fails, or is no range
    or one of half the world, is named in the log and left out."""
    found: set[EntityKey] = set()
    ranges: list[str] = []
    for item in content.entities:
        if item.kind != "shared":
            continue
        try:
            rows = queries.run(str(item.document.value["query"]), window=window, limits=_ROWS).dicts()
        except TocsinError as error:
            _log.warning("aliases.failed", content=item.id, path=str(item.path), error=str(error))
            continue
        for row in rows:
            name = str(row.get("Name") or "").strip()
            if item.entity == "IP" and "/" in name:
                if _sensible(name):
                    ranges.append(name)
                else:
                    _log.warning("aliases.no_range", content=item.id, range=name[:100])
            elif name:
                found.update(joining_keys(_named(item.entity, name)))
    return frozenset(found), Ranges(ranges)


def _sensible(text: str) -> bool:
    """Whether it is a range of addresses, and not of so many that most people's are among them."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return network.prefixlen >= (8 if network.version == 4 else 16)


def book_over(queries: QueryService, content: Content, tables: Iterable[str]) -> tuple[AliasBook, list[TocsinError]]:
    """The book of all that the rows tell, for a scan: only teachings that read one of `tables` run. Gives what went wrong as well."""
    teachings, found = teachings_of(content)
    problems: list[TocsinError] = list(found)
    there = frozenset(tables)
    learned: list[Claim] = []
    for teaching in teachings:
        try:
            if not there.isdisjoint(queries.compile(teaching.query).tables):
                learned.extend(teach(queries, teaching))
        except TocsinError as error:
            problems.append(error)
    book = AliasBook(learned)
    book.shared, book.ranges = shared_by_many(queries, content)
    return book, problems


def _named(kind: str, name: str) -> Entity:
    match kind:
        case "Host":
            return Entity.host(name)
        case "IP":
            return Entity("IP", {"Address": name})
    return Entity("Account", {"Name": name})


class Parts(Protocol):
    """The parts of the workspace that learning needs."""

    lake: Lake
    queries: QueryService
    state: State
    incidents: IncidentDesk


class Aliases:
    """The book of one workspace: learns in a thread of its own, resolves alerts for the desk. Thread-safe."""

    def __init__(self, parts: Parts, content: Callable[[], Content], watermark: Callable[[], datetime]) -> None:
        """`watermark` gives the instant before which all that was received is visible."""
        self._parts = parts
        self._clock = parts.state.clock
        self._content = content
        self._watermark = watermark
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._shared_at: float | None = None
        self._shared_every = _SHARED_FIRST
        self._reads: dict[str, frozenset[str]] = {}
        with parts.state.read() as unit:
            rows = unit.aliases.since(self._clock.now() - _KEPT, _MOST_CLAIMS)
        self._book = AliasBook(claim_of_row(r) for r in rows)
        self._written = {r.id: r.last for r in rows}
        parts.incidents.resolve = self.resolve

    def start(self) -> None:
        """Begins to learn."""
        self._thread = threading.Thread(target=self._loop, name="tocsin-aliases", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends after what is being learned."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def resolve(self, alert: Alert) -> Alert:
        """The alert with what its entities are known as by now."""
        with self._lock:
            return self._book.resolve(alert)

    def known_as(self, entity: Entity, start: datetime, end: datetime) -> list[dict[str, object]]:
        """What an entity was known as during that time, in JSON form."""
        with self._lock:
            return [a.to_dict() for a in self._book.known_as(entity, start, end)]

    def learn(self) -> int:
        """Learns from what came in since last time; how many claims are new or last longer."""
        with self._turn:
            return self._learn()

    # ------------------------------------------------------------------ forgetting

    @contextmanager
    def forgetting(self, table: str, going: Iterable[pa.Table | None]) -> Iterator[list[int]]:
        """Forgets what rows of a table taught before they go for good, inside; what the rows that stay teach as well is learned again after
        that. Nothing is learned meanwhile. Gives a list that in the end holds how many claims are gone.

        `going` are the rows, whole; None stands for too many to look at: then whatever the table taught is learned anew.
        """
        counted: list[int] = []
        with self._turn:
            teachings = [t for t in teachings_of(self._content())[0] if table in self._tables_of(t)]
            pairs = self._taught(table, teachings, going)
            with self._parts.state.read() as unit:
                every = [claim_of_row(r) for r in unit.aliases.since(_EVER, _MOST_CLAIMS)]
            sources = {t.source for t in teachings}
            gone = [c for c in every if c.source in sources and (pairs is None or c.pair in pairs)]
            self._drop(gone)
            yield counted
            counted.append(len(gone) - self._again(teachings, {c.pair for c in gone}))

    def forget(self, names: Sequence[str], *, by: Principal, dry_run: bool = False) -> int:
        """Forgets every claim about one of those identifiers (exact, case doesn't count), and any that was taught by a row with it. Gives how many;
        the audit trail tells of the number, not of the names. With `dry_run` only counts."""
        require(by, "lake.purge")
        with self._turn:
            with self._parts.state.read() as unit:
                found = [claim_of_row(r) for r in unit.aliases.named(names)]
            if dry_run:
                return len(found)
            self._drop(found)
            with self._parts.state.write() as unit:
                detail = {"names": len(set(names)), "aliases": len(found)}
                unit.audit.add(by.name, "alias.forget", "alias", "", detail=detail, address=by.address)
        return len(found)

    def _taught(
        self, table: str, teachings: Sequence[Teaching], going: Iterable[pa.Table | None]
    ) -> set[tuple[str, ...]] | None:
        """The pairs that those rows taught; None when that can't be said."""
        pairs: set[tuple[str, ...]] = set()
        for rows in going if teachings else ():
            if rows is None:
                return None
            for teaching in teachings:
                try:
                    pairs.update(c.pair for c in teach(self._parts.queries, teaching, None, {table: rows}))
                except TocsinError as error:
                    _log.warning("aliases.failed", content=teaching.id, error=str(error))
                    return None
        return pairs

    def _drop(self, gone: Sequence[Claim]) -> None:
        ids = {c.id for c in gone}
        if not ids:
            return
        with self._lock:
            self._book.drop(ids)
        for claim_id in ids:
            self._written.pop(claim_id, None)
        with self._parts.state.write() as unit:
            unit.aliases.drop(sorted(ids))

    def _again(self, teachings: Sequence[Teaching], pairs: set[tuple[str, ...]]) -> int:
        """Learns those pairs again from the rows that are there; how many of them."""
        learned: list[Claim] = []
        now = self._clock.now()
        for teaching in teachings if pairs else ():
            try:
                learned.extend(teach(self._parts.queries, teaching, Window(now - _KEPT, None)))
            except TocsinError as error:
                _log.warning("aliases.failed", content=teaching.id, error=str(error))
        with self._lock:
            grown = [c for c, _ in self._book.learn(c for c in learned if c.pair in pairs)]
        with self._parts.state.write() as unit:
            unit.aliases.put(row_of_claim(c) for c in grown)
        self._written.update({c.id: c.last for c in grown})
        return len({c.pair for c in grown})

    # ------------------------------------------------------------------ inside

    def _loop(self) -> None:
        while not self._stopping.wait(_POLL_SECONDS):
            try:
                self.learn()
            except Exception as error:  # a defect here must not end the learning for good
                _log.exception("aliases.failed", error=str(error))

    def _learn(self) -> int:
        parts, now = self._parts, self._clock.now()
        teachings, _ = teachings_of(self._content())
        with parts.state.read() as unit:
            marks = dict(unit.kv.get(_MARKS, {}))
        until = self._watermark()
        before = dict(marks)
        learned: list[Claim] = []
        for teaching in teachings:
            since = _moment(marks.get(teaching.id)) or until - _FIRST
            if since >= until or not self._got_rows(teaching, since):
                continue
            try:
                learned.extend(teach(parts.queries, teaching, Window(since, until, INGESTION_TIME)))
                marks[teaching.id] = until.isoformat()
            except TocsinError as error:
                _log.warning("aliases.failed", content=teaching.id, error=str(error))
        self._look_who_is_shared()
        with self._lock:
            grown = self._book.learn(learned)
            keys = {k for claim, was in grown if was is None for k in self._book.keys_of(claim)}
            self._book.forget_before(now - _KEPT)
        if marks != before:
            with parts.state.write() as unit:
                unit.aliases.put(row_of_claim(c) for c in self._worth_writing(grown))
                unit.aliases.forget(now - _KEPT)
                unit.kv.set(_MARKS, marks)
        if keys:
            parts.incidents.learned(keys, now - _LATE)
        return len(grown)

    def _got_rows(self, teaching: Teaching, since: datetime) -> bool:
        """Whether a table that the teaching reads got rows since then."""
        reads = self._tables_of(teaching)
        return any(
            s.last_received is not None and s.last_received.replace(tzinfo=UTC) >= since
            for s in self._parts.lake.stats()
            if s.table in reads
        )

    def _tables_of(self, teaching: Teaching) -> frozenset[str]:
        """The tables that a teaching reads; none where its query can't be compiled."""
        if teaching.query not in self._reads:
            try:
                self._reads[teaching.query] = self._parts.queries.compile(teaching.query).tables
            except TocsinError as error:
                _log.warning("aliases.failed", content=teaching.id, error=str(error))
                return frozenset()
        return self._reads[teaching.query]

    def _look_who_is_shared(self) -> None:
        now = self._clock.monotonic()
        if self._shared_at is not None and now - self._shared_at < self._shared_every:
            return
        self._shared_at, self._shared_every = now, min(_SHARED_SECONDS, 2 * self._shared_every)
        window = Window(self._clock.now() - _FIRST, None)
        shared, ranges = shared_by_many(self._parts.queries, self._content(), window)
        with self._lock:
            self._book.shared, self._book.ranges = shared, ranges

    def _worth_writing(self, grown: list[tuple[Claim, Claim | None]]) -> Iterator[Claim]:
        for claim, _ in grown:
            written = self._written.get(claim.id)
            if written is None or claim.last - written >= claim.lasts / _WRITE_AFTER:
                self._written[claim.id] = claim.last
                yield claim


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
