"""Opening a data folder to ask questions, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tocsin.base.clock import SystemClock
from tocsin.base.errors import UsageError
from tocsin.content import Content, load_packs, packs_dir
from tocsin.incidents.judging import judge_of
from tocsin.lake import Lake
from tocsin.query import QueryService
from tocsin.state import State
from tocsin.tables import catalogue
from tocsin.workspace.entitypages import EntityPages
from tocsin.workspace.places import use_places
from tocsin.workspace.settings import load_settings
from tocsin.workspace.story import Stories

__all__ = ["open_entity_pages", "open_queries", "open_stories"]


@contextmanager
def open_queries(data: Path) -> Iterator[QueryService]:
    """A query service over the lake in a data folder, read-only: a server may have it open at the same time.

    Raises UsageError USE0006: there is no lake in that folder.
    """
    folder = data / "lake"
    if not (folder / "tables").is_dir():
        raise UsageError(
            f"there is no data in '{data}'",
            code="USE0006",
            hint="Name the folder of a server or of `tocsin scan --keep` with --data.",
        )
    clock = SystemClock()
    site = data / "site"
    content = load_packs([packs_dir(), *([site] if site.is_dir() else [])], only=("functions", "watchlists"))
    settings = load_settings(data=data)
    with (
        use_places(settings.geoip.database),
        Lake.open(folder, clock=clock, catalog=catalogue(), read_only=True) as lake,
    ):
        queries = QueryService.of_content(lake, content, clock=clock, settings=settings.query)
        try:
            yield queries
        finally:
            queries.close()


@dataclass(slots=True)
class _Opened:
    queries: QueryService
    state: State


@contextmanager
def open_entity_pages(data: Path) -> Iterator[tuple[EntityPages, datetime]]:
    """Entity pages over a data folder, and when its last event was. Raises UsageError USE0006: there is no data in that folder."""
    with open_queries(data) as queries:
        site = data / "site"
        content = load_packs([packs_dir(), *([site] if site.is_dir() else [])], only=("entities",))
        state = State.open(load_settings(data=data).database or data / "state.db")
        try:
            assert queries.lake is not None
            ends = [s.last_event for s in queries.lake.stats() if s.last_event is not None]
            last = max(ends, default=datetime.now(UTC).replace(tzinfo=None))
            yield EntityPages(_Opened(queries, state), lambda: content), last.replace(tzinfo=UTC)
        finally:
            state.close()


@contextmanager
def open_stories(data: Path, state: State, content: Content) -> Iterator[Stories]:
    """Stories of the incidents of a state that is open, over the tables of its data folder. Raises UsageError USE0006: there is no data there."""
    with open_queries(data) as queries:
        with state.read() as unit:
            judge = judge_of(unit, content)
        yield Stories(_Opened(queries, state), lambda: content, lambda: judge)
