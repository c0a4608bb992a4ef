"""The parts of a workspace that work on stored rows, over a data folder laid out as `Workspace` does it, which takes half a second to open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from tocsin.access import Access
from tocsin.base.clock import ManualClock
from tocsin.content import Content, load_packs, packs_dir
from tocsin.incidents.desk import IncidentDesk
from tocsin.lake import Lake
from tocsin.query import QueryService
from tocsin.state import State
from tocsin.workspace.aliases import Aliases
from tocsin.workspace.erasure import Erasure
from tocsin.workspace.evidence import evidence_pins
from tocsin.workspace.jobs import Jobs
from tocsin.workspace.settings import Settings
from tocsin.workspace.summaries import Summaries


def table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows with all their columns: Arrow takes those of the first otherwise."""
    return pa.table({n: [r.get(n) for r in rows] for n in dict.fromkeys(n for r in rows for n in r)})


@cache
def _empty_state() -> bytes:
    """A state database as it is first: its migrations take longer than most tests."""
    with TemporaryDirectory() as folder:
        State.open(Path(folder) / "state.db").close()
        return (Path(folder) / "state.db").read_bytes()


class House:
    """Lake, state, queries, and what stands on them."""

    def __init__(self, settings: Settings, clock: ManualClock) -> None:
        self.settings, self.clock = settings, clock
        self._stack = ExitStack()
        settings.data.mkdir(parents=True, exist_ok=True)
        self.lake = Lake.open(settings.data / "lake", clock=clock, settings=settings.lake)
        self._stack.callback(self.lake.close)
        if not (settings.data / "state.db").exists():
            (settings.data / "state.db").write_bytes(_empty_state())
        self.state = State.open(settings.data / "state.db", clock=clock)
        self._stack.callback(self.state.close)
        self.queries = QueryService(self.lake, clock=clock)
        self._stack.callback(self.queries.close)
        self.access = Access(self.state)
        self.incidents = IncidentDesk(self.state)
        self.lake.pins = lambda: evidence_pins(self.state)
        self.aliases = Aliases(self, Content, clock.now)
        self.erasure = Erasure(self)
        self.jobs = Jobs(self)
        site = settings.detect.site or settings.data / "site"
        content = load_packs([packs_dir(), *([site] if site.is_dir() else [])], only=["summaries"])
        watermark: Callable[[], datetime] = clock.now
        self.summaries = Summaries(self, lambda: content, watermark)

    @classmethod
    def open(cls, settings: Settings, *, clock: ManualClock) -> House:
        return cls(settings, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()
