"""`QueryService`: the one door to rows. It compiles, authorises, binds, runs and limits."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol, Self

import pyarrow as pa
import structlog

from tocsin.access import person_of
from tocsin.access.errors import ForbiddenError
from tocsin.base.clock import Clock, SystemClock
from tocsin.base.errors import KqlError, TocsinError
from tocsin.kql.types import Catalog, FunctionSource
from tocsin.lake import EngineSettings, Lake, Snapshot
from tocsin.lake.engine import Engine, Limits, QueryResult, Window
from tocsin.query.catalog import WATCHLIST, WorkspaceCatalog
from tocsin.query.external import EXTERNAL, ExternalData
from tocsin.query.settings import QuerySettings
from tocsin.query.turns import Turns
from tocsin.tables import catalogue as shipped

if TYPE_CHECKING:
    from tocsin.content import Content
    from tocsin.kql import CompiledQuery

__all__ = ["QueryService", "QueryStatistics", "RunningQuery", "StoredFunction"]

_log = structlog.get_logger("tocsin.query")
_PLUGIN_ROWS = 10_000


class StoredFunction(Protocol):
    """What a function file of a pack has (`tocsin.content.FunctionFile`, `tocsin.kql.FunctionSource`)."""

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def doc(self) -> str: ...


@dataclass(frozen=True, slots=True)
class RunningQuery:
    """A query that runs now. `by` is the principal's name, "" for Tocsin itself; `client_id` and `application` are what the client calls
    the request and itself."""

    id: int
    text: str
    by: str
    started: datetime
    client_id: str = ""
    application: str = ""


@dataclass(frozen=True, slots=True)
class QueryStatistics:
    """What the service has done since it was made."""

    queries: int = 0
    failed: int = 0
    rows: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    compiled_again: int = 0
    """Runs that found their text compiled already."""
    queue_seconds: float = 0.0
    """Time that queries waited for their turn."""


Authorise = Callable[[Any, frozenset[str]], None]
"""Raises ForbiddenError when a principal may not read one of the tables."""


class QueryService:
    """Runs KQL over the lake. Safe to use from many threads.

    `functions` are the packs' stored functions, `watchlists` tables by alias (or a callable that gives them, asked at every compilation).
    `authorise` decides about a principal's tables; the default asks its `table_scopes`, when it has any.
    """

    def __init__(
        self,
        lake: Lake | None,
        *,
        catalogue: Catalog | None = None,
        functions: Iterable[StoredFunction] = (),
        watchlists: Mapping[str, pa.Table] | Callable[[], Mapping[str, pa.Table]] | None = None,
        clock: Clock | None = None,
        settings: QuerySettings | EngineSettings | None = None,
        engine: Engine | None = None,
        authorise: Authorise | None = None,
    ) -> None:
        self.lake = lake
        self.settings = settings if isinstance(settings, QuerySettings) else QuerySettings()
        self._clock = clock or SystemClock()
        self._declared = catalogue or shipped()
        self._functions = _by_name(functions)
        self._watchlists = watchlists or {}
        self._authorise = authorise or check_scopes
        self._own_engine = engine is None
        self.engine = engine or Engine(
            folders=[lake.path] if lake is not None else (),
            spill=lake.path / "spill" if lake is not None and lake.writable else None,
            catalog=self._declared,
            settings=settings if isinstance(settings, EngineSettings) else None,
        )
        self._lock = threading.Lock()
        self._compiled: OrderedDict[tuple[Any, ...], CompiledQuery] = OrderedDict()
        self._generation = 0
        self._statistics = QueryStatistics()
        self._turns = Turns(self.settings.at_once, self.settings.queue_seconds)
        self._external = ExternalData(self.settings.external, self._clock)
        self._running: dict[int, tuple[RunningQuery, threading.Event]] = {}
        self._numbers = count(1)

    @classmethod
    def of_content(
        cls,
        lake: Lake | None,
        content: Content,
        *,
        clock: Clock | None = None,
        settings: QuerySettings | EngineSettings | None = None,
    ) -> Self:
        """One over a lake, or over no data, and the shipped tables, with a content's stored functions and watchlists as they are now."""
        watchlists = {w.alias: w.table for w in content.watchlists}
        return cls(lake, functions=content.functions, watchlists=watchlists, clock=clock, settings=settings)

    # ---------------------------------------------------------------------------------------------- catalog

    @property
    def catalog(self) -> WorkspaceCatalog:
        """What queries can name now."""
        watchlists = self._watchlists() if callable(self._watchlists) else self._watchlists
        return WorkspaceCatalog(self._declared, self.lake, self._functions, watchlists)

    def set_functions(self, functions: Iterable[StoredFunction]) -> None:
        """Replaces the stored functions, after packs have been loaded anew."""
        with self._lock:
            self._functions = _by_name(functions)
            self._generation += 1

    def set_watchlists(self, watchlists: Mapping[str, pa.Table]) -> None:
        """Replaces the watchlists."""
        with self._lock:
            self._watchlists = watchlists
            self._generation += 1

    # ---------------------------------------------------------------------------------------------- running

    def compile(
        self,
        text: str,
        now: datetime | None = None,
        *,
        parameters: Mapping[str, object] | None = None,
        catalog: Catalog | None = None,
        resolver: Callable[[CompiledQuery], Sequence[Sequence[object]]] | None = None,
        external: Callable[..., object] | None = None,
        steady: bool = False,
    ) -> CompiledQuery:
        """The compiled query. `now` is what now() gives, by default the clock's time; `steady` as `tocsin.kql.compile_query` has it.

        Without `external` nothing is read by externaldata: what the policy allows stands as an empty table. Without `resolver` a plugin whose
        columns depend on the data (bag_unpack, pivot) makes none of its own, and the names that it might have made read as nulls; `open` tells.

        Raises KqlErrors with a diagnostic and place for everything that is wrong with the text.
        """
        from tocsin.kql import compile_query

        moment = now or self._clock.now()
        return compile_query(
            text,
            catalog or self.catalog,
            now=moment if moment.tzinfo else moment.replace(tzinfo=UTC),
            parameters=parameters,
            resolver=resolver or _nothing,
            external=external or self._external.check,
            steady=steady,
        )

    def run(
        self,
        text: str,
        *,
        principal: Any = None,
        window: Window | None = None,
        parameters: Mapping[str, object] | None = None,
        limits: Limits | None = None,
        now: datetime | None = None,
        relations: Mapping[str, pa.Table] | None = None,
        cancel: threading.Event | None = None,
        client_id: str = "",
        application: str = "",
        snapshot: Snapshot | None = None,
        steady: bool = False,
    ) -> QueryResult:
        """The rows of a query.

        Args:
            text: KQL.
            principal: who asks; None for Tocsin itself, which may read everything and ask for any limits.
            window: cuts every table at the scan.
            parameters: values of ``declare query_parameters``.
            limits: what the query may take; by default the settings'. A principal gets at most what the settings give its roles.
            now: what now() gives; by default the clock's time.
            relations: extra tables of this run; one with a table's name stands in for it.
            cancel: ends the query when set.
            snapshot: the tables as they are to be read; by default as they are now.
            steady: the same rows give the same result in the same order, at the cost of sorting what has no order.
            client_id: what the client calls the request; `application`: what it calls itself. `running` shows both.

        Raises:
            KqlErrors: the text is wrong.
            ForbiddenError: the principal may not read a table.
            QueryError: a limit, too many queries at once, or cancelled.
        """
        cancel = cancel or threading.Event()
        limits = self._limits(limits, principal)
        running = RunningQuery(
            next(self._numbers), text, getattr(principal, "name", ""), self._clock.now(), client_id, application
        )
        with self._lock:
            self._running[running.id] = running, cancel
        started = time.perf_counter()
        again = False
        compiling = queued = 0.0
        result: QueryResult | None = None
        try:
            with self._turn(principal, cancel):
                queued = time.perf_counter() - started
                catalog = self._catalog_for(principal, relations)
                given = {**{f"{WATCHLIST}{a}": t for a, t in catalog.watchlists.items()}, **(relations or {})}

                def view(tables: Collection[str] | None) -> None:
                    # One for all parts of the query, as late as can be: rows that came just now are mapped for it only where they may matter.
                    nonlocal snapshot
                    if snapshot is None and self.lake is not None:
                        snapshot = self.lake.snapshot(tables)

                whole: Collection[str] | None = None  # a plugin's question may be followed by one of other tables

                def execute(part: CompiledQuery, within: Limits) -> QueryResult:
                    # What is handed over is no table of the lake; names in it may stand in for one.
                    tables = frozenset(t for t in part.tables if not t.startswith(EXTERNAL))
                    self._authorise(principal, tables - (relations or {}).keys())
                    view(whole)
                    return self.engine.run(
                        part,
                        snapshot=snapshot,
                        relations=given,
                        window=window,
                        limits=within,
                        cancel=cancel,
                        catalog=catalog,
                    )

                def ask(part: CompiledQuery) -> Sequence[Sequence[object]]:
                    return execute(part, replace(limits, rows=_PLUGIN_ROWS)).rows()

                begun = time.perf_counter()
                compiled, again = self._compiled_query(
                    text, now, parameters, catalog, relations, ask, given, steady=steady
                )
                compiling = time.perf_counter() - begun
                whole = {t for part in (compiled, *compiled.more) for t in part.tables}
                for part in compiled.more:
                    tables = frozenset(t for t in part.tables if not t.startswith(EXTERNAL))
                    self._authorise(principal, tables - (relations or {}).keys())
                result = execute(compiled, limits)
                if compiled.more:
                    result = replace(result, more=tuple(execute(part, limits) for part in compiled.more))
            result = replace(result, queued=queued)
            return result
        except TocsinError as error:
            if not isinstance(error, KqlError):
                _log.info("query.failed", code=error.code, by=running.by, text=text[:2000])
            raise
        finally:
            with self._lock:
                self._running.pop(running.id, None)
                s = self._statistics
                self._statistics = QueryStatistics(
                    s.queries + 1,
                    s.failed + (result is None),
                    s.rows + (len(result) if result is not None else 0),
                    s.seconds + time.perf_counter() - started,
                    s.compile_seconds + compiling,
                    s.compiled_again + again,
                    s.queue_seconds + queued,
                )

    def explain(self, text: str, *, principal: Any = None, window: Window | None = None) -> str:
        """How the query would run: its tables and columns, the SQL and the engine's plan, as text."""
        catalog = self._catalog_for(principal, None)
        compiled = self.compile(text, catalog=catalog)
        self._authorise(principal, compiled.tables)
        given = {f"{WATCHLIST}{a}": t for a, t in catalog.watchlists.items()}
        snapshot = self.lake.snapshot() if self.lake is not None else None
        plan = self.engine.explain(compiled, snapshot=snapshot, relations=given, window=window, catalog=catalog)
        columns = ", ".join(f"{c.name}:{c.type.value}" for c in compiled.columns)
        facts = [
            f"tables: {', '.join(sorted(compiled.tables)) or 'none'}",
            f"columns: {columns}",
            f"row-wise: {'yes' if compiled.row_wise else 'no'}, uses now(): {'yes' if compiled.uses_now else 'no'}",
        ]
        return "\n".join([*facts, "", compiled.sql, "", plan])

    def running(self) -> list[RunningQuery]:
        """The queries that run now, oldest first."""
        with self._lock:
            return [query for query, _ in self._running.values()]

    def visible(self, principal: Any) -> list[RunningQuery]:
        """The running queries that a principal may see and cancel: its person's own, and everybody's with the permission query.manage."""
        if principal is None or principal.may("query.manage"):
            return self.running()
        return [q for q in self.running() if q.by and person_of(q.by) == principal.person]

    def cancel(self, query_id: int) -> bool:
        """Ends a running query; False when there is none of that id."""
        with self._lock:
            found = self._running.get(query_id)
        if found is None:
            return False
        found[1].set()
        return True

    @property
    def statistics(self) -> QueryStatistics:
        """What has been done so far."""
        return self._statistics

    def close(self) -> None:
        """Closes the engine, if it is the service's own."""
        if self._own_engine:
            self.engine.close()

    # ---------------------------------------------------------------------------------------------- inside

    def catalog_for(self, principal: Any) -> WorkspaceCatalog:
        """What that principal's queries can name: the catalog, its wildcards bounded to the tables that the principal may read."""
        return self._catalog_for(principal, None)

    def _catalog_for(self, principal: Any, relations: Mapping[str, pa.Table] | None) -> WorkspaceCatalog:
        catalog = self.catalog
        scopes = getattr(principal, "table_scopes", None)
        if scopes is not None:
            catalog = replace(catalog, allowed=frozenset(scopes))
        return catalog.with_relations(relations) if relations else catalog

    def _turn(self, principal: Any, cancel: threading.Event) -> AbstractContextManager[None]:
        """A turn for somebody's query. Tocsin's own, of rules above all, wait for nobody."""
        if principal is None:
            return nullcontext()
        most, setting = self.settings.turns(getattr(principal, "roles", ()))
        return self._turns.turn(getattr(principal, "person", ""), most, setting, cancel)

    def limits_for(self, principal: Any) -> Limits:
        """The most that a principal may ask for, by its roles; None, Tocsin itself, has no limits."""
        if principal is None:
            return Limits(rows=None, seconds=None, result_bytes=None)
        return self.settings.most(getattr(principal, "roles", ()))

    def _limits(self, limits: Limits | None, principal: Any) -> Limits:
        asked = self.settings.limits if limits is None else limits
        if principal is None:
            return asked
        most = self.limits_for(principal)
        found: dict[str, Any] = {}
        names = dict(asked.settings)
        for name in ("rows", "seconds", "result_bytes", "memory_bytes", "spill_bytes"):
            mine, theirs = getattr(asked, name), getattr(most, name)
            if theirs is not None and (mine is None or mine >= theirs):
                found[name] = theirs
                if mine != theirs or name not in names:
                    names[name] = most.settings[name]
        return replace(asked, **found, settings=names)

    def _compiled_query(
        self,
        text: str,
        now: datetime | None,
        parameters: Mapping[str, object] | None,
        catalog: WorkspaceCatalog,
        relations: Mapping[str, pa.Table] | None,
        resolver: Callable[[CompiledQuery], Sequence[Sequence[object]]],
        given: dict[str, pa.Table],
        *,
        steady: bool,
    ) -> tuple[CompiledQuery, bool]:
        """The compiled query, and whether it was compiled already. Only what doesn't depend on time or data is kept."""
        asked = False

        def noted(part: CompiledQuery) -> Sequence[Sequence[object]]:
            nonlocal asked
            asked = True
            return resolver(part)

        read = self._external.reader(given)

        def fetched(*args: Any) -> object:
            nonlocal asked
            asked = True
            return read(*args)

        key = self._key(text, parameters, catalog, relations)
        if key is not None:
            key = (*key, steady)
            with self._lock:
                found = self._compiled.get(key)
                if found is not None:
                    self._compiled.move_to_end(key)
                    return found, True
        compiled = self.compile(
            text, now, parameters=parameters, catalog=catalog, resolver=noted, external=fetched, steady=steady
        )
        if key is not None and not asked and not compiled.uses_now and not compiled.volatile:
            with self._lock:
                self._compiled[key] = compiled
                while len(self._compiled) > self.settings.compiled:
                    self._compiled.popitem(last=False)
        return compiled, False

    def _key(
        self,
        text: str,
        parameters: Mapping[str, object] | None,
        catalog: WorkspaceCatalog,
        relations: Mapping[str, pa.Table] | None,
    ) -> tuple[Any, ...] | None:
        if not self.settings.compiled or callable(self._watchlists):
            return None
        # A table that gets its first rows or a new column changes what wildcards and names mean.
        names = tuple(catalog.table_names())
        own = tuple(
            (n, len(s.columns)) for n in names if n not in catalog.schemas and (s := catalog.table(n)) is not None
        )
        given = tuple((n, t.schema) for n, t in sorted((relations or {}).items()))
        try:
            key = (
                text,
                tuple(sorted((parameters or {}).items())),
                self._generation,
                own,
                tuple((n, tuple(map(str, s))) for n, s in given),
                catalog.allowed,
            )
            hash(key)
        except TypeError:
            return None
        return key


def check_scopes(principal: Any, tables: frozenset[str]) -> None:
    """The default authorisation: a principal with `table_scopes` may read just those tables; without, all. None is Tocsin itself.

    Raises ForbiddenError ACC0002 that names the first table that isn't allowed.
    """
    scopes = getattr(principal, "table_scopes", None)
    if scopes is None:
        return
    for table in sorted(tables):
        if table not in scopes:
            shown = f"watchlist {table[len(WATCHLIST) :]}" if table.startswith(WATCHLIST) else f"table {table}"
            raise ForbiddenError(
                f"{getattr(principal, 'name', 'You')} may not read the {shown}.",
                hint="Ask an administrator for access to it.",
            )


def _by_name(functions: Iterable[StoredFunction]) -> dict[str, FunctionSource]:
    return {f.name: FunctionSource(f.name, f.parameters, f.body, f.doc) for f in functions}


def _nothing(_: CompiledQuery) -> Sequence[Sequence[object]]:
    """No rows: what a part of a query gives where none is run."""
    return ()
