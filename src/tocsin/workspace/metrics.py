"""The workspace's figures for Prometheus: counted where things happen, collected when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tocsin import __version__
from tocsin.ingest.watch import Latencies

if TYPE_CHECKING:
    from tocsin.workspace.workspace import Workspace

__all__ = ["Metrics"]

_SOURCE = ("kind", "source")
_STEP = 4
"""Every fourth bound of the latencies is told: 17 of them, by factors of 2.4."""


class Metrics:
    """Figures of a workspace and of its process."""

    def __init__(self, workspace: Workspace) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(workspace))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The figures in the format that the header Accept asks for (OpenMetrics or Prometheus' text), and its media type."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _Collector(Collector):
    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is, `collect` says; the registry need not ask before the workspace is whole."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        yield InfoMetricFamily("tocsin", "The server.", value={"version": __version__})
        yield from self._sources()
        yield from self._intake()
        yield from self._transforms()
        yield from self._tables()
        yield from self._rules()
        yield from self._correlation()
        yield from self._queries()

    def _sources(self) -> Iterator[Metric]:
        events = CounterMetricFamily("tocsin_source_events", "Events decoded since the start.", labels=_SOURCE)
        size = CounterMetricFamily("tocsin_source_bytes", "Bytes received since the start.", labels=_SOURCE)
        errors = CounterMetricFamily(
            "tocsin_source_errors", "Pieces of input that became dead letters.", labels=_SOURCE
        )
        last = GaugeMetricFamily("tocsin_source_last_event_timestamp_seconds", "When it sent last.", labels=_SOURCE)
        silent = GaugeMetricFamily(
            "tocsin_source_silent_seconds", "Since it sent last, the server's own pauses left out.", labels=_SOURCE
        )
        limit = GaugeMetricFamily(
            "tocsin_source_silent_threshold_seconds", "The pause after which it counts as silent.", labels=_SOURCE
        )
        kinds: dict[str, Latencies] = {}
        for f in self._workspace.intake.intake.watch.facts():
            labels = (f.kind, f.name)
            events.add_metric(labels, f.events)
            size.add_metric(labels, f.bytes)
            errors.add_metric(labels, f.errors)
            last.add_metric(labels, f.last.timestamp())
            silent.add_metric(labels, f.silent)
            if f.threshold is not None:
                limit.add_metric(labels, f.threshold)
            merged = kinds.setdefault(f.kind, Latencies())
            merged.counts = [a + b for a, b in zip(merged.counts, f.latencies.counts, strict=True)]
            merged.total += f.latencies.total
        yield from (events, size, errors, last, silent, limit)
        latency = HistogramMetricFamily(
            "tocsin_intake_latency_seconds", "From an event's receipt until it is visible to queries.", labels=("kind",)
        )
        for kind, found in sorted(kinds.items()):
            latency.add_metric((kind,), _buckets(found), found.total)
        yield latency

    def _intake(self) -> Iterator[Metric]:
        intake = self._workspace.intake.intake
        errors = CounterMetricFamily(
            "tocsin_receiver_errors", "Requests refused and pieces of input that could not be taken.", labels=_SOURCE
        )
        for s in intake.sources():
            errors.add_metric((s.kind, s.name), s.errors)
        yield errors
        yield GaugeMetricFamily("tocsin_intake_pressure", "How full intake is; at 1 it refuses.", value=intake.pressure)
        _, queued, seconds = intake.queue
        yield GaugeMetricFamily(
            "tocsin_intake_queue_bytes", "Bytes that are durable and not visible yet.", value=queued
        )
        yield GaugeMetricFamily(
            "tocsin_intake_queue_seconds",
            "For how long the oldest body that isn't visible yet has waited.",
            value=seconds,
        )
        yield GaugeMetricFamily("tocsin_intake_healthy", "Whether intake works.", value=float(intake.healthy))
        yield CounterMetricFamily("tocsin_log_records", "Bodies made durable, ever.", value=max(0, intake.durable))

    def _transforms(self) -> Iterator[Metric]:
        labels = ("transform",)
        into = CounterMetricFamily("tocsin_transform_rows_in", "Rows that a transform looked at.", labels=labels)
        out = CounterMetricFamily("tocsin_transform_rows_out", "Rows that it gave.", labels=labels)
        failed = CounterMetricFamily(
            "tocsin_transform_rows_failed", "Rows of batches that it failed on.", labels=labels
        )
        for item in self._workspace.transforms.list():
            if (run := item["run"]) is not None:
                into.add_metric((item["name"],), run["rows_in"])
                out.add_metric((item["name"],), run["rows_out"])
                failed.add_metric((item["name"],), run["rows_failed"])
        yield from (into, out, failed)

    def _tables(self) -> Iterator[Metric]:
        rows = GaugeMetricFamily("tocsin_table_rows", "Rows that a table holds.", labels=("table",))
        size = GaugeMetricFamily("tocsin_table_bytes", "Bytes of its files.", labels=("table",))
        for stats in self._workspace.lake.stats():
            rows.add_metric((stats.table,), stats.rows)
            size.add_metric((stats.table,), stats.bytes)
        yield from (rows, size)

    def _correlation(self) -> Iterator[Metric]:
        desk = self._workspace.incidents
        yield CounterMetricFamily("tocsin_correlation_alerts", "Alerts filed since the start.", value=desk.pace.alerts)
        spent = CounterMetricFamily(
            "tocsin_correlation_seconds", "What filing them took, by what it went to.", labels=("part",)
        )
        slow = CounterMetricFamily(
            "tocsin_correlation_slow",
            "Filings that took over 250 ms and 20 ms an alert, by what took most.",
            labels=("cause",),
        )
        for name, seconds in desk.pace.seconds.items():
            spent.add_metric((name,), seconds)
            slow.add_metric((name,), desk.pace.slow[name])
        held = GaugeMetricFamily("tocsin_correlation_remembered", "What may still be joined.", labels=("what",))
        for what, count in zip(("incidents", "alerts"), desk.remembered, strict=True):
            held.add_metric((what,), count)
        yield from (spent, slow, held)

    def _queries(self) -> Iterator[Metric]:
        done = self._workspace.queries.statistics
        yield CounterMetricFamily("tocsin_queries", "Queries that ran since the start.", value=done.queries)
        yield CounterMetricFamily("tocsin_queries_failed", "Queries that failed or were refused.", value=done.failed)
        yield CounterMetricFamily("tocsin_query_rows", "Rows that they gave.", value=done.rows)
        yield CounterMetricFamily("tocsin_query_seconds", "Time that they took.", value=done.seconds)
        yield CounterMetricFamily(
            "tocsin_query_queue_seconds", "Time that they waited for their turn.", value=done.queue_seconds
        )

    def _rules(self) -> Iterator[Metric]:
        with self._workspace.state.read() as unit:
            ledger = unit.rules.all().values()
        yield CounterMetricFamily(
            "tocsin_rule_runs", "Runs of scheduled rules, ever.", value=sum(r.runs for r in ledger)
        )
        yield CounterMetricFamily(
            "tocsin_rule_alerts", "Alerts of scheduled rules, ever.", value=sum(r.alerts for r in ledger)
        )
        yield GaugeMetricFamily(
            "tocsin_rules_failing", "Rules whose last run failed.", value=sum(r.failures > 0 for r in ledger)
        )


def _buckets(found: Latencies) -> list[tuple[str, float]]:
    told: list[tuple[str, float]] = []
    total = 0
    for number, bound in enumerate(found.BOUNDS):
        total += found.counts[number]
        if number % _STEP == _STEP - 1:
            told.append((f"{bound:.4g}", total))
    return [*told, ("+Inf", found.count)]
