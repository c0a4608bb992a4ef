"""The query service over a real lake: names, windows, scopes, limits, parameters, watchlists."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from tocsin.access.errors import ForbiddenError
from tocsin.base.clock import ManualClock
from tocsin.base.errors import QueryError
from tocsin.kql import FunctionSource, KqlErrors
from tocsin.lake import EngineSettings, Lake, LakeSettings, TableBatch
from tocsin.lake.settings import MIB
from tocsin.query import Limits, QueryService, QuerySettings, Window, WorkspaceCatalog
from tocsin.tables import catalogue

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Someone:
    name: str = "mara"
    table_scopes: frozenset[str] | None = None


def events(first: int, count: int, computer: str = "pc1") -> TableBatch:
    times = pa.array([NOW - timedelta(minutes=first + i) for i in range(count)], pa.timestamp("us", "UTC"))
    return TableBatch(
        "SecurityEvent",
        pa.table(
            {
                "TimeGenerated": times,
                "_TimeReceived": times,
                "Computer": [computer] * count,
                "EventID": [4688] * count,
            }
        ),
    )


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    settings = LakeSettings(background=False)
    with Lake.open(tmp_path / "lake", clock=ManualClock(NOW), settings=settings) as found:
        found.put(1, [events(0, 30)])
        found.roll()
        found.put(2, [events(30, 30, "pc2"), TableBatch("Own_CL", pa.table({"Word_s": ["a", "b"]}))])
        yield found


@pytest.fixture
def queries(lake: Lake) -> Iterator[QueryService]:
    service = QueryService(
        lake,
        catalogue=catalogue(),
        functions=[
            FunctionSource(
                "Busy", "least:long = 1", "SecurityEvent | summarize n=count() by Computer | where n >= least"
            )
        ],
        watchlists={"Vips": pa.table({"SearchKey": ["pc2"], "Owner": ["Ines"]})},
        clock=ManualClock(NOW),
        settings=QuerySettings(),
    )
    yield service
    service.close()


def test_files_and_memory_together(queries: QueryService) -> None:
    result = queries.run("SecurityEvent | summarize n=count() by Computer | sort by Computer asc")
    assert result.dicts() == [{"Computer": "pc1", "n": 30}, {"Computer": "pc2", "n": 30}]
    assert (result.scanned.files, result.scanned.file_rows, result.scanned.memory_rows) == (1, 30, 30)


def test_type_and_custom_tables(queries: QueryService) -> None:
    assert queries.run("Own_CL | project Word_s, Type | sort by Word_s asc").rows() == [
        ["a", "Own_CL"],
        ["b", "Own_CL"],
    ]
    assert queries.run("SecurityEvent | distinct Type").rows() == [["SecurityEvent"]]
    assert queries.run("DeviceProcessEvents | count").rows() == [[0]]


def test_now_is_the_clocks_or_the_callers(queries: QueryService) -> None:
    assert queries.run("print now()").rows() == [["2024-05-01T12:00:00.0000000Z"]]
    text = "SecurityEvent | where TimeGenerated > ago(10m) | count"
    assert queries.run(text).rows() == [[10]]
    assert queries.run(text, now=NOW + timedelta(minutes=5)).rows() == [[5]]


def test_window_cuts_every_table(queries: QueryService) -> None:
    window = Window(NOW - timedelta(minutes=39), NOW - timedelta(minutes=29))
    assert queries.run("SecurityEvent | count", window=window).rows() == [[10]]
    joined = "union SecurityEvent, (SecurityEvent | where true) | count"
    assert queries.run(joined, window=window).rows() == [[20]]
    received = Window(NOW - timedelta(minutes=2), None, "_TimeReceived")
    assert queries.run("SecurityEvent | count", window=received).rows() == [[3]]
    past = queries.run("SecurityEvent | count", window=Window(None, NOW - timedelta(minutes=45)))
    assert past.rows() == [[14]]
    assert past.scanned.pruned == 1


def test_ingestion_time(queries: QueryService) -> None:
    assert queries.run("SecurityEvent | where ingestion_time() > ago(5m) | count").rows() == [[5]]


def test_parameters(queries: QueryService) -> None:
    text = "declare query_parameters(who:string); SecurityEvent | where Computer == who | count"
    assert queries.run(text, parameters={"who": "pc2"}).rows() == [[30]]


def test_stored_functions(queries: QueryService) -> None:
    assert queries.run("Busy | count").rows() == [[2]]
    assert queries.run("Busy(31) | count").rows() == [[0]]
    queries.set_functions([FunctionSource("Busy", "", "print x='new'")])
    assert queries.run("Busy").rows() == [["new"]]


def test_watchlists(queries: QueryService) -> None:
    vips = "_GetWatchlist('Vips') | project SearchKey, Owner"
    text = (
        f"SecurityEvent | join kind=inner ({vips}) on $left.Computer == $right.SearchKey | summarize count() by Owner"
    )
    assert queries.run(text).rows() == [["Ines", 30]]
    assert queries.run("_GetWatchlist('nothing') | project SearchKey").rows() == []
    assert queries.run("_GetWatchlistAlias").rows() == [["Vips"]]
    queries.set_watchlists({"Vips": pa.table({"SearchKey": ["pc1", "pc2"]})})
    assert queries.run("_GetWatchlist('Vips') | count").rows() == [[2]]


def test_relations_of_one_run(queries: QueryService) -> None:
    given = {"SecurityEvent": pa.table({"Computer": ["x"], "EventID": [1]}), "source": pa.table({"n": [1, 2]})}
    assert queries.run("SecurityEvent | project Computer", relations=given).rows() == [["x"]]
    assert queries.run("source | summarize sum(n)", relations=given).rows() == [[3]]
    with pytest.raises(KqlErrors, match="source"):
        queries.run("source | count")
    assert queries.run("SecurityEvent | count").rows() == [[60]]


def test_wildcards_go_over_tables_with_rows(queries: QueryService) -> None:
    rows = queries.run("union withsource=T * | summarize n=count() by T | sort by T asc").rows()
    assert rows == [["Own_CL", 2], ["SecurityEvent", 60]]
    assert queries.run('search "pc2" | count').rows() == [[30]]


def test_scopes_refuse_by_name_and_narrow_wildcards(queries: QueryService) -> None:
    mara = Someone(table_scopes=frozenset({"Own_CL"}))
    assert queries.run("Own_CL | count", principal=mara).rows() == [[2]]
    assert queries.run("search * | count", principal=mara).rows() == [[2]]
    for text in (
        "SecurityEvent | count",
        "Own_CL | union SecurityEvent",
        "Busy",
        "Own_CL | where Word_s in ((SecurityEvent | project Computer))",
    ):
        with pytest.raises(ForbiddenError, match=r"ACC0002 mara may not read the table SecurityEvent"):
            queries.run(text, principal=mara)
    with pytest.raises(ForbiddenError, match="watchlist Vips"):
        queries.run("_GetWatchlist('Vips')", principal=mara)
    with pytest.raises(ForbiddenError):
        queries.explain("SecurityEvent", principal=mara)
    assert queries.run("SecurityEvent | count", principal=Someone()).rows() == [[60]]


def test_limits(queries: QueryService) -> None:
    result = queries.run("SecurityEvent | sort by TimeGenerated desc | project EventID", limits=Limits(rows=7))
    assert (len(result), result.truncated) == (7, True)
    small = QueryService(queries.lake, clock=ManualClock(NOW), settings=QuerySettings(rows=5, most_rows=10))
    assert len(small.run("SecurityEvent")) == 5
    assert len(small.run("SecurityEvent", principal=Someone(), limits=Limits(rows=50))) == 10
    assert len(small.run("SecurityEvent", limits=Limits(rows=50))) == 50
    small.close()


def test_running_queries_can_be_seen_and_cancelled(queries: QueryService) -> None:
    text = "range a from 1 to 100000 step 1 | extend k=1 | join kind=inner (range b from 1 to 100000 step 1 | extend k=1) on k | summarize sum(a*b)"
    caught: list[QueryError] = []

    def run() -> None:
        try:
            queries.run(text, principal=Someone(), limits=Limits(seconds=60))
        except QueryError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 60
    while not queries.running() and time.monotonic() < deadline:
        time.sleep(0.01)
    (running,) = queries.running()
    assert (running.text, running.by) == (text, "mara")
    assert queries.cancel(running.id)
    thread.join(60)
    assert [e.code for e in caught] == ["QRY0003"]
    assert not queries.cancel(running.id)
    assert queries.running() == []


def test_statistics_and_compiled_texts(queries: QueryService) -> None:
    for _ in range(3):
        queries.run("SecurityEvent | take 2")
    with pytest.raises(KqlErrors):
        queries.run("SecurityEvent | whre true")
    found = queries.statistics
    assert (found.queries, found.failed, found.rows, found.compiled_again) == (4, 1, 6, 2)
    assert found.seconds > found.compile_seconds > 0


def test_new_column_is_seen_by_a_text_that_was_compiled_before(queries: QueryService) -> None:
    text = "Own_CL | project-away *_s, TimeGenerated, TenantId, SourceSystem"
    assert queries.run(text).names == ["Type"]
    assert queries.lake is not None
    queries.lake.put(3, [TableBatch("Own_CL", pa.table({"Number_d": [1.5]}))])
    assert queries.run(text).names == ["Number_d", "Type"]
    none = queries.run("Own_CL | project-away *")
    assert (none.names, none.rows()) == ([], [])


def test_explain(queries: QueryService) -> None:
    text = queries.explain("SecurityEvent | where EventID == 4688 | project Computer")
    assert "tables: SecurityEvent" in text
    assert "columns: Computer:string" in text
    assert "Parquet" in text


def test_errors_name_the_place(queries: QueryService) -> None:
    with pytest.raises(KqlErrors, match="SecurityEvnt") as caught:
        queries.run("\nSecurityEvnt | count")
    assert caught.value.diagnostics[0].line == 2


def test_without_a_lake(tmp_path: Path) -> None:
    service = QueryService(None, clock=ManualClock(NOW), settings=EngineSettings(memory_bytes=64 * MIB))
    assert service.run("print 1 + 1").rows() == [[2]]
    assert service.run("SecurityEvent | count").rows() == [[0]]
    service.close()


def test_read_only_lake(lake: Lake) -> None:
    with Lake.open(lake.path, read_only=True) as reader:
        service = QueryService(reader, clock=ManualClock(NOW))
        assert service.run("SecurityEvent | count").rows() == [[30]]
        service.close()


def test_catalog_names() -> None:
    catalog = WorkspaceCatalog(catalogue())
    assert "SecurityEvent" in set(catalog.all_table_names())
    assert "_GetWatchlist" in set(catalog.function_names())
    assert {"DeviceEvents", "DeviceProcessEvents"} <= set(catalog.matching("Device*"))
    assert catalog.table("Nope") is None
