"""The same rows give the same alerts, ids included, in whatever files and order they lie and however many threads read them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tocsin.base.clock import ManualClock
from tocsin.detect.make import make_alerts, row_hash
from tocsin.detect.rule import AlertDetails, Rule, RuleKind
from tocsin.detect.run import query_rows
from tocsin.lake import EngineSettings, Lake, TableBatch
from tocsin.lake.settings import LakeSettings
from tocsin.query import QueryService, Window
from tocsin.tables import catalogue

START = datetime(2024, 5, 1, 10, tzinfo=UTC)
ROWS = 1_200

QUERIES = [
    # more values than are kept
    "SecurityEvent | summarize Users = make_set(TargetUserName, 5), Last = max(TimeGenerated) by Computer",
    "SecurityEvent | summarize Users = make_list(TargetUserName, 5), Ids = make_list(EventID, 5) by Computer",
    "SecurityEvent | summarize Users = make_set(pack('u', TargetUserName), 5) by Computer",
    "SecurityEvent | summarize Bag = make_bag(bag_pack(Computer, TargetUserName)) by EventID",
    # texts made of lists
    "SecurityEvent | summarize Users = strcat_array(make_set(TargetUserName), ',') by Computer",
    "SecurityEvent | summarize U = make_list(TargetUserName), I = make_list(EventID) by Computer | extend F = strcat(U[0], I[0], U[7], I[7])",
    # one of several rows that are as late
    "SecurityEvent | summarize arg_max(TimeGenerated, *) by Computer",
    "SecurityEvent | summarize arg_min(TimeGenerated, TargetUserName, EventID) by Computer",
    "SecurityEvent | summarize arg_max(TimeGenerated, TargetUserName), count() by Computer",
    "SecurityEvent | summarize arg_min(LogonType, TargetUserName), dcount(TargetUserName) by Computer",
    # any row
    "SecurityEvent | summarize take_any(TargetUserName, EventID), N = count() by Computer",
    "SecurityEvent | summarize take_any(TargetUserName), any(EventData), take_anyif(EventID, EventID > 4624) by Computer",
    "SecurityEvent | take 40",
    "SecurityEvent | top 30 by TimeGenerated | project Computer, TargetUserName",
    "SecurityEvent | project Computer, TargetUserName, EventID | top 3 by EventID",
    "SecurityEvent | partition by Computer (top 2 by TimeGenerated | project Computer, TargetUserName)",
    "SecurityEvent | top-nested 2 of Computer by dcount(EventID), top-nested 2 of TargetUserName by dcount(Computer)",
    "SecurityEvent | where TargetUserName == toscalar(SecurityEvent | where EventID == 4625 | project TargetUserName) | take 5",
    # the order of rows
    "SecurityEvent | sort by TimeGenerated asc | extend Before = prev(TargetUserName), N = row_number() | where N % 50 == 0",
    "SecurityEvent | sort by Computer | scan declare (F: string) with (step A: EventID == 4625 => F = TargetUserName;) | project M = F | take 200",
    "SecurityEvent | serialize | extend N = row_number() | where N < 20",
    # a join that keeps one row of the left side for each key
    "SecurityEvent | where EventID == 4625 | join (SecurityEvent | where EventID == 4624) on Computer | summarize N = count() by TargetUserName",
    # sums of reals
    "SecurityEvent | extend X = todouble(EventID) / (7 + strlen(TargetUserName)) | summarize S = sum(X), A = avg(X), D = stdev(X) by Computer",
    # more rows than alerts, or than rows of evidence
    "SecurityEvent | project TimeGenerated, Computer, TargetUserName",
    "SecurityEvent | summarize N = count() by TargetUserName, Computer | sort by N",
]  # fmt: skip


def made_rows() -> list[dict[str, Any]]:
    chance = random.Random(11)
    return [
        {
            "TimeGenerated": START + timedelta(minutes=chance.randrange(40)),
            "EventID": chance.choice((4624, 4625, 4688)),
            "Computer": f"pc{chance.randrange(6)}.corp.com",
            "TargetUserName": f"user{chance.randrange(60)}",
            "EventData": chance.choice(("", "<a/>", "<b/>")),
        }
        for _ in range(ROWS)
    ]


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[QueryService]]:
    """The same rows as one file, as several in another order, and partly only in memory; read by one, four and two threads."""
    opened: list[tuple[QueryService, Lake]] = []
    for number, (parts, hot, threads) in enumerate([(1, 0, 1), (6, 0, 4), (3, 2, 2)]):
        rows = made_rows()
        random.Random(number).shuffle(rows)
        folder: Path = tmp_path_factory.mktemp(f"layout{number}")
        settings = LakeSettings(background=False)
        lake = Lake.open(folder, catalog=catalogue(), clock=ManualClock(START), settings=settings)
        size = -(-len(rows) // (parts + hot))
        for part in range(parts + hot):
            some = rows[part * size : (part + 1) * size]
            columns: dict[str, Any] = {n: [r[n] for r in some] for n in some[0]}
            times = pa.array([r["TimeGenerated"].replace(tzinfo=None) for r in some], pa.timestamp("us"))
            batch = TableBatch("SecurityEvent", pa.table({**columns, "TimeGenerated": times, "_TimeReceived": times}))
            if part < parts:
                lake.write([batch])
            else:
                lake.put(part + 1, [batch])
        engine = EngineSettings(threads=threads)
        opened.append((QueryService(lake, catalogue=catalogue(), clock=ManualClock(START), settings=engine), lake))
    yield [queries for queries, _ in opened]
    for queries, lake in opened:
        queries.close()
        lake.close()


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_alerts_are_the_same(query: str, layouts: list[QueryService]) -> None:
    rule = Rule(
        id="r", name="R", kind=RuleKind.SCHEDULED, query=query, period=timedelta(hours=1),
        custom_details={"Who": "TargetUserName"}, alert_details=AlertDetails(name_format="{{Computer}} {{TargetUserName}}"),
    )  # fmt: skip
    window = Window(START, START + timedelta(hours=1))
    told = []
    for queries in layouts:
        rows = query_rows(rule, queries, window)
        made = [a.to_dict() for per in (False, True) for a in make_alerts(replace(rule, per_result=per), rows)]
        for alert in made:
            for event in alert["events"]:  # the last digits of a sum are nobody's
                event["row"] = row_hash(event["row"])
        told.append(made)
    assert len(told[0]) > 1
    assert told[0] == told[1]
    assert told[0] == told[2]
