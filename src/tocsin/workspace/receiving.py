"""Receivers, put together: which protocols listen where, and what the data sources page shows of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from ssl import SSLContext
from typing import Any, Protocol

from starlette.routing import BaseRoute

from tocsin.access import Access
from tocsin.detect.alert import iso
from tocsin.ingest.pipeline import Intake
from tocsin.ingest.receivers.azure import AzureReceiver
from tocsin.ingest.receivers.beats import BeatsReceiver
from tocsin.ingest.receivers.bookmarks import Bookmarks
from tocsin.ingest.receivers.elastic import ElasticReceiver
from tocsin.ingest.receivers.fluent import FluentReceiver
from tocsin.ingest.receivers.folder import FolderReceiver
from tocsin.ingest.receivers.gelf import GelfHttpReceiver, GelfTcpReceiver, GelfUdpReceiver
from tocsin.ingest.receivers.hec import HecReceiver
from tocsin.ingest.receivers.jsonlines import JsonLinesReceiver
from tocsin.ingest.receivers.kafka import KafkaReceiver
from tocsin.ingest.receivers.loki import LokiReceiver
from tocsin.ingest.receivers.objects import S3Receiver
from tocsin.ingest.receivers.otlp import OtlpReceiver
from tocsin.ingest.receivers.relp import RelpReceiver
from tocsin.ingest.receivers.settings import TlsSettings
from tocsin.ingest.receivers.streams import StreamLimits, server_tls
from tocsin.ingest.receivers.syslog import SyslogTcpReceiver, SyslogTlsReceiver, SyslogUdpReceiver
from tocsin.ingest.receivers.tails import SessionTails
from tocsin.ingest.receivers.wef import WefReceiver, subscription_of
from tocsin.ingest.settings import DecodeLimits
from tocsin.ingest.watch import Facts, source_of
from tocsin.workspace.settings import IngestSettings, Settings

__all__ = ["Receiving"]


class _Routed(Protocol):
    def routes(self) -> Sequence[BaseRoute]: ...


class _Running(Protocol):
    def start(self) -> object: ...

    def stop(self) -> None: ...


class Receiving:
    """All receivers of one intake. `routes` are mounted by the API; the others have sockets and threads of their own."""

    def __init__(self, intake: Intake, access: Access, settings: Settings) -> None:
        self.intake = intake
        limits = settings.ingest

        def sender(token: str) -> str | None:
            principal = access.may_ingest(token)
            return principal.name if principal is not None else None

        bounds: Any = {"max_body_bytes": limits.max_body_bytes, "max_record_bytes": limits.max_record_bytes}
        self._http: tuple[_Routed, ...] = (
            HecReceiver(intake, sender, **bounds),
            JsonLinesReceiver(intake, sender, max_body_bytes=limits.max_body_bytes),
            ElasticReceiver(intake, sender, version=limits.elastic.version, **bounds),
            AzureReceiver(intake, sender, shared_keys=limits.azure.shared_keys, **bounds),
            OtlpReceiver(intake, sender, **bounds),
            LokiReceiver(intake, sender, **bounds),
            GelfHttpReceiver(intake, sender, **bounds),
        )
        self._running: list[_Running] = []
        if limits.syslog_udp_port >= 0:
            self._running.append(SyslogUdpReceiver(intake, limits.syslog_host, limits.syslog_udp_port))
        if limits.syslog_tcp_port >= 0:
            self._running.append(SyslogTcpReceiver(intake, limits.syslog_host, limits.syslog_tcp_port, limits=_SYSLOG))
        tls = limits.tls
        if limits.relp_port >= 0 or tls.relp_port >= 0:
            # RELP is acknowledged syslog: what a crash left unanswered comes again, and its tail tells what was durable already.
            tails = SessionTails(settings.data / "intake" / "relp.msgpack")
            intake.memories.append(tails)
            if limits.relp_port >= 0:
                self._running.append(RelpReceiver(intake, limits.syslog_host, limits.relp_port, tails=tails))
            if tls.relp_port >= 0:
                self._running.append(
                    RelpReceiver(intake, limits.syslog_host, tls.relp_port, tails=tails, tls=_context(tls))
                )
        if tls.syslog_port >= 0:
            self._running.append(
                SyslogTlsReceiver(intake, limits.syslog_host, tls.syslog_port, tls=_context(tls), limits=_SYSLOG)
            )
        self._running += _streams(intake, limits)
        if limits.wef.port >= 0:
            self._running.append(_forwarding(intake, limits, settings.data / "intake" / "wef.msgpack"))
        if limits.kafka.brokers:
            kafka = limits.kafka
            self._running.append(
                KafkaReceiver(
                    intake, kafka.brokers, kafka.topics, group=kafka.group, start=kafka.start, options=kafka.options
                )
            )
        if limits.s3.bucket or limits.s3.queue:
            records = DecodeLimits(max_record_bytes=limits.max_record_bytes, zones=limits.time_zones)
            self._running.append(S3Receiver(intake, limits.s3, settings.data / "intake" / "s3.txt", limits=records))
        folder = limits.folder or settings.data / "drop"
        folder.mkdir(parents=True, exist_ok=True)
        self._running.append(
            FolderReceiver(intake, folder, settings.data / "intake" / "folder.json", limits=intake.limits)
        )
        self._started: list[_Running] = []

    def start(self) -> None:
        """Binds sockets and begins to watch the folder. When one can't, those that could are stopped again."""
        try:
            for receiver in self._running:
                receiver.start()
                self._started.append(receiver)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Takes nothing more. Bodies that were accepted go on to become rows."""
        while self._started:
            self._started.pop().stop()

    def routes(self) -> Sequence[BaseRoute]:
        """The HTTP receivers' routes; they check ingest tokens themselves."""
        return [route for receiver in self._http for route in receiver.routes()]

    def refused(self, peer: str, why: str) -> None:
        """Counts what the server's own port couldn't read, so that nobody knows which protocol was meant."""
        self.intake.refused("http", peer, why)

    def state(self) -> Mapping[str, Any]:
        """How intake does, in the shape of `tocsin.api.routes.data.IntakeState`."""
        bodies, size, seconds = self.intake.queue
        return {
            "healthy": self.intake.healthy,
            "pressure": round(self.intake.pressure, 4),
            "queued_bodies": bodies,
            "queued_bytes": size,
            "queue_seconds": round(seconds, 3),
        }

    def sources(self) -> Iterable[Mapping[str, Any]]:
        """One mapping a source, in the shape of `tocsin.api.routes.data.Source`: receivers, senders, and those that sent before the start."""
        watched = {(f.kind, f.name): f for f in self.intake.watch.facts()}
        shown = set()
        for source in self.intake.sources():
            key = source_of(source.kind, source.name)
            shown.add(key)
            yield {
                "name": source.name,
                "kind": source.kind,
                "address": source.address,
                "state": source.state,
                "events": source.events,
                "bytes": source.bytes,
                "errors": source.errors,
                "last_event": iso(source.last_event) if source.last_event else None,
                **(_watched(watched[key], source.state) if key in watched else {}),
            }
        for key, facts in watched.items():
            if key not in shown:
                yield {"name": facts.name, "kind": facts.kind, "address": "", "state": "ok", **_watched(facts, "ok")}


def _watched(facts: Facts, state: str) -> dict[str, Any]:
    latencies = facts.latencies
    return {
        "state": "stale" if facts.stale and state == "ok" else state,
        "last_event": iso(facts.last),
        "events_per_second": facts.rate,
        "silent_seconds": round(facts.silent, 1),
        "cadence_seconds": facts.cadence,
        "threshold_seconds": facts.threshold,
        "latency_p50": latencies.percentile(0.5),
        "latency_p95": latencies.percentile(0.95),
        "latency_p99": latencies.percentile(0.99),
    }


_FORWARDING = StreamLimits(frame_bytes=4 << 20)  # eight times what machines are told to send at most
_SYSLOG = StreamLimits(frame_bytes=1 << 20, idle_seconds=None)


def _context(tls: TlsSettings) -> SSLContext:
    return server_tls(tls.certificate, tls.key, tls.client_ca)


def _forwarding(intake: Intake, limits: IngestSettings, file: Path) -> WefReceiver:
    bookmarks = Bookmarks(file)
    intake.memories.append(bookmarks)
    tls, wef = limits.tls, limits.wef
    return WefReceiver(
        intake,
        wef.host,
        wef.port,
        tls=server_tls(tls.certificate, tls.key, wef.client_ca or tls.client_ca),
        subscription=subscription_of(wef),
        bookmarks=bookmarks,
        limits=_FORWARDING,
    )


def _streams(intake: Intake, limits: IngestSettings) -> list[_Running]:
    """The receivers with frames and ports of their own that are switched on."""
    frames = StreamLimits(frame_bytes=limits.max_body_bytes)
    fluent, gelf, beats = limits.fluent, limits.gelf, limits.beats
    made: list[_Running] = []
    if fluent.port >= 0:
        context = _context(limits.tls) if fluent.tls else None
        made.append(
            FluentReceiver(intake, fluent.host, fluent.port, shared_key=fluent.shared_key, tls=context, limits=frames)
        )
    if gelf.udp_port >= 0:
        made.append(GelfUdpReceiver(intake, gelf.host, gelf.udp_port))
    if gelf.tcp_port >= 0:
        context = _context(limits.tls) if gelf.tls else None
        bounds = StreamLimits(frame_bytes=limits.max_record_bytes, idle_seconds=None)
        made.append(GelfTcpReceiver(intake, gelf.host, gelf.tcp_port, tls=context, limits=bounds))
    if beats.port >= 0:
        context = _context(limits.tls) if beats.tls else None
        made.append(BeatsReceiver(intake, beats.host, beats.port, tls=context, limits=frames))
    return made
