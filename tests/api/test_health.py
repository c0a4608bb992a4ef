"""What a running server tells of itself: TocsinHealth, the rule over it, Usage, /metrics."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pyarrow as pa
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from tests.api.conftest import Served, open_served
from tests.ingest.intake_support import until
from tocsin.ingest.decoders.body import frame_syslog
from tocsin.lake import Body, TableBatch

LINE = b"<34>1 2024-05-01T10:00:00Z web01 app 1 - - hello"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the module: its tests look at senders and hosts of their own."""
    yield from open_served(tmp_path_factory.mktemp("running"), start=True)


def send(served: Served, *lines: bytes, peer: str = "10.0.0.9") -> None:
    intake = served.workspace._intake
    body = Body("syslog", frame_syslog(list(lines)), served.workspace.clock.now(), {"peer": peer})
    assert intake.wait_visible(intake.submit([body]).result(60), 60)


def rows(served: Served, text: str) -> list[dict[str, Any]]:
    return served.workspace.queries.run(text).dicts()


def mark(served: Served) -> str:
    with served.workspace.state.read() as unit:
        return str(unit.kv.get("usage:next"))


def test_a_silent_source_is_told_and_alerted_once(running: Served) -> None:
    workspace = running.workspace
    now = workspace.clock.now()
    first = now - timedelta(days=2)
    for minute in range(0, 2 * 24 * 60 - 15, 3):  # it sends every three minutes, and stopped a quarter of an hour ago
        workspace._intake.watch.took("syslog", "10.0.0.9", first + timedelta(minutes=minute), 1, 100, 0)
    send(running, LINE, b"\xff", peer="10.0.0.8")
    with running.client("reader") as client:
        found = {s["name"]: s for s in client.get("/api/v1/sources").json()["items"]}
        assert found["10.0.0.9"]["state"] == "stale"
        assert found["10.0.0.9"]["cadence_seconds"] == 180
        assert found["10.0.0.8"]["state"] == "ok"
        assert 0 < found["10.0.0.8"]["latency_p99"] < 60
    workspace.health._last = now - timedelta(minutes=10)  # the round that is due now
    until(lambda: len(rows(running, "TocsinHealth | where SentinelResourceName == '10.0.0.9'")) >= 2, 60)
    workspace.health.sources(workspace.clock.now())
    told = rows(
        running,
        "TocsinHealth | where SentinelResourceName == '10.0.0.9' | order by OperationName asc "
        "| project OperationName, Status, SentinelResourceKind, CadenceSeconds, ThresholdSeconds",
    )
    assert [tuple(row.values()) for row in told] == [
        ("Data fetch status change", "Failure", "syslog", None, None),
        ("Source health", "Failure", "syslog", 180.0, 600.0),
    ]
    (other,) = rows(running, "TocsinHealth | where SentinelResourceName == '10.0.0.8'")
    assert (other["Events"], other["Status"]) == (2, "Success")
    assert 0 < other["LatencyP50Seconds"] <= other["LatencyP99Seconds"]
    # The shipped rule sees it by itself.
    alerts = "SecurityAlert | where AlertName has 'silent' | project AlertName"
    until(lambda: bool(rows(running, alerts)), 120)
    assert rows(running, alerts) == [{"AlertName": "syslog source 10.0.0.9 has fallen silent"}]
    # It sends again.
    send(running, LINE)
    workspace.health.sources(workspace.clock.now())
    change = "TocsinHealth | where OperationName == 'Data fetch status change' and Status == 'Success'"
    until(lambda: len(rows(running, change)) == 1, 60)


def test_what_was_refused_is_told_with_its_reason(running: Served) -> None:
    workspace = running.workspace
    with running.client() as client:
        for _ in range(3):
            sent = client.post("/services/collector/event", content=b"{}", headers={"Authorization": "Splunk no"})
            assert sent.status_code == 403
    workspace.health.sources(workspace.clock.now())
    text = "TocsinHealth | where OperationName == 'Input refused' | summarize sum(Errors), take_any(Reason, Status, SentinelResourceKind)"
    until(lambda: (rows(running, text) or [{}])[0].get("sum_Errors") == 3, 60, lambda: str(rows(running, text)))
    (row,) = rows(running, text)
    assert (row["Status"], row["SentinelResourceKind"], row["Reason"]) == ("Failure", "hec", "4 Invalid token.")


def test_usage_tells_each_hour_of_each_table_once(running: Served) -> None:
    workspace = running.workspace
    end = workspace.clock.now().replace(minute=0, second=0, microsecond=0)
    hour = (end - timedelta(hours=1)).replace(tzinfo=None)
    table = pa.table(
        {
            "TimeGenerated": pa.array([hour, hour], pa.timestamp("us")),
            "_TimeReceived": pa.array([hour + timedelta(seconds=4), hour + timedelta(seconds=6)], pa.timestamp("us")),
            "Computer": ["abc", "defgh"],
        }
    )
    workspace.lake.write([TableBatch("Event", table)])
    workspace.lake.flush()
    start = (end - timedelta(hours=1)).isoformat()
    for _ in range(2):  # as if the mark had been lost between
        with workspace.state.write() as unit:
            unit.kv.set("usage:next", start)
        until(lambda: mark(running) >= end.isoformat(), 60)
    until(lambda: bool(rows(running, "Usage | where DataType == 'Event'")), 60)
    (row,) = rows(running, "Usage | where DataType == 'Event'")
    size = rows(running, "Event | summarize s = sum(_BilledSize)")[0]["s"]
    assert 0 < size == round(row["Quantity"] * 1e6)
    assert (row["QuantityUnit"], row["IsBillable"], row["AvgLatencyInSeconds"]) == ("MBytes", True, 5.0)
    assert row["StartTime"].startswith(hour.isoformat())
    assert datetime.fromisoformat(row["EndTime"][:19]).replace(tzinfo=UTC) == end


def test_metrics_are_for_this_machine_or_a_token(running: Served) -> None:
    send(running, LINE, LINE, peer="10.0.0.7")
    with running.client() as client:
        plain = client.get("/metrics")
        assert plain.status_code == 200
        assert plain.headers["content-type"].startswith("text/plain")
        values = {(s.name, *s.labels.values()): s.value for f in prometheus(plain.text) for s in f.samples}
        assert values["tocsin_source_events_total", "syslog", "10.0.0.7"] == 2
        assert values["tocsin_table_rows", "Syslog"] >= 2
        assert values["tocsin_intake_healthy",] == 1
        assert values["tocsin_intake_latency_seconds_count", "syslog"] >= 2
        assert values["process_resident_memory_bytes",] > 1e6
        assert values["tocsin_queries_total",] > values["tocsin_queries_failed_total",] >= 0
        assert values["tocsin_query_seconds_total",] > values["tocsin_query_queue_seconds_total",] >= 0
        modern = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        assert modern.headers["content-type"].startswith("application/openmetrics-text")
        assert {f.name for f in openmetrics(modern.text)} >= {"tocsin_source_events", "tocsin_intake_latency_seconds"}
        # Whoever passes on what others ask, and who shows a wrong token, is not this machine.
        for headers in (
            {"X-Forwarded-For": "127.0.0.1"},
            {"Forwarded": "for=::1"},
            {"Authorization": "Bearer toc_a_x"},
        ):
            assert client.get("/metrics", headers=headers).status_code == 401
        token = {"Authorization": f"Bearer {running.token()}", "X-Forwarded-For": "10.1.1.1"}
        assert client.get("/metrics", headers=token).status_code == 200


def test_metrics_by_loopback_can_be_switched_off(running: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = running.workspace.settings
    server = settings.server.model_copy(update={"metrics_loopback": False})
    monkeypatch.setattr(running.workspace, "settings", settings.model_copy(update={"server": server}))
    assert httpx.get(f"{running.url}/metrics").status_code == 401
