"""Heavy queries of people: more than may run at once wait for their turn, and intake goes on meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.ingest.intake_support import EVENTS
from tests.ingest.test_mapping import events
from tocsin.base.errors import QueryError
from tocsin.ingest.mapping import Mapper
from tocsin.lake.engine import Engine
from tocsin.lake.settings import EngineSettings
from tocsin.query import Limits, QueryResult, QueryService, QuerySettings
from tocsin.tables import catalogue

HEAVY = (
    "range a from 1 to 200000 step 1 | extend k=1 | join kind=inner (range b from 1 to 200000 step 1 | extend k=1) on k "
    "| summarize sum(a*b)"
)
PATIENT = 60.0


def person(name: str) -> Any:
    return SimpleNamespace(name=name, person=name, roles=(), table_scopes=None)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_query_more_waits_and_intake_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    # One connection and one turn: whoever needed them besides would stand still.
    engine = Engine(catalog=catalogue(), settings=EngineSettings(connections=1, threads=1))
    service = QueryService(
        None, catalogue=catalogue(), engine=engine, settings=QuerySettings(concurrent=1, queue_seconds=PATIENT)
    )
    entered = threading.Event()
    run = engine.run

    def watched(*arguments: Any, **more: Any) -> QueryResult:
        entered.set()
        return run(*arguments, **more)

    monkeypatch.setattr(engine, "run", watched)
    stop = threading.Event()
    ended: list[str] = []
    results: list[QueryResult] = []

    def heavy() -> None:
        with pytest.raises(QueryError, match="cancelled"):
            service.run(HEAVY, principal=person("a"), limits=Limits(rows=1, seconds=600), cancel=stop)
        ended.append("heavy")

    def light() -> None:
        results.append(service.run("print 1", principal=person("b")))
        ended.append("light")

    first, second = threading.Thread(target=heavy), threading.Thread(target=light)
    first.start()
    until(entered.is_set)
    second.start()
    until(lambda: len(service.running()) == 2)
    mapper = Mapper([EVENTS], engine, catalogue())
    for number in range(3):
        made = mapper.map(events({"EventID": 4624, "Channel": "Security", "TargetUserName": f"u{number}"}))
        assert made[0].rows.column("TargetUserName").to_pylist() == [f"u{number}"]
    assert ended == []
    stop.set()
    first.join(PATIENT)
    second.join(PATIENT)
    assert sorted(ended) == ["heavy", "light"]
    assert results[0].rows() == [[1]]
    assert results[0].queued > 0
    assert service.statistics.queue_seconds >= results[0].queued
    engine.close()


def test_turns_follow_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, turns in ((1, 2), (2, 4), (64, 8)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert QuerySettings().at_once == turns
    assert QuerySettings(concurrent=5).at_once == 5
