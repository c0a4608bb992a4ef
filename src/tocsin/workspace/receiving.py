"""Receivers, put together: which protocols listen where, and what the data sources page shows of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.routing import BaseRoute

from tocsin.access import Access
from tocsin.detect.alert import iso
from tocsin.ingest.pipeline import Intake
from tocsin.ingest.receivers.folder import FolderReceiver
from tocsin.ingest.receivers.hec import HecReceiver
from tocsin.ingest.receivers.jsonlines import JsonLinesReceiver
from tocsin.ingest.receivers.syslog import SyslogReceiver
from tocsin.workspace.settings import Settings

__all__ = ["Receiving"]


class Receiving:
    """All receivers of one intake. `routes` are mounted by the API; the others have sockets and threads of their own."""

    def __init__(self, intake: Intake, access: Access, settings: Settings) -> None:
        self.intake = intake
        limits = settings.ingest

        def sender(token: str) -> str | None:
            principal = access.may_ingest(token)
            return principal.name if principal is not None else None

        self._http = (
            HecReceiver(intake, sender, max_body_bytes=limits.max_body_bytes, max_record_bytes=limits.max_record_bytes),
            JsonLinesReceiver(intake, sender, max_body_bytes=limits.max_body_bytes),
        )
        self.syslog = SyslogReceiver(intake, host=limits.syslog_host, udp_port=limits.syslog_udp_port, tcp_port=limits.syslog_tcp_port)
        self.folder = FolderReceiver(intake, limits.folder or settings.data / "drop", state=settings.data / "intake")

    def start(self) -> None:
        """Binds sockets and begins to watch the folder."""
        self.syslog.start()
        self.folder.start()

    def stop(self) -> None:
        """Takes nothing more. Bodies that were accepted go on to become rows."""
        self.syslog.stop()
        self.folder.stop()

    def routes(self) -> Sequence[BaseRoute]:
        """The HTTP receivers' routes; they check ingest tokens themselves."""
        return [route for receiver in self._http for route in receiver.routes()]

    def sources(self) -> Iterable[Mapping[str, Any]]:
        """One mapping a source, in the shape of `tocsin.api.routes.data.Source`."""
        for source in self.intake.sources():
            yield {
                "name": source.name,
                "kind": source.kind,
                "address": source.address,
                "state": source.state,
                "events": source.events,
                "bytes": source.bytes,
                "errors": source.errors,
                "last_event": iso(source.last_event) if source.last_event else None,
            }
