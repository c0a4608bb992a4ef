"""Syslog over TLS (RFC 5425), with octet counting or line feeds on one port, as over plain TCP."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from tocsin.ingest.decoders.body import frame_syslog
from tocsin.ingest.receivers.framing import SyslogFramer
from tocsin.ingest.receivers.streams import Stream, StreamReceiver
from tocsin.lake import Body

__all__ = ["SyslogTlsReceiver"]

_log = structlog.get_logger("tocsin.ingest.syslog")


class SyslogTlsReceiver(StreamReceiver):
    """The TCP port. A sender isn't acknowledged, but its stream isn't read on before what it sent is durable."""

    kind = "syslog"
    setting = "ingest.tls.syslog_port"

    async def serve(self, stream: Stream) -> None:
        """Reads messages; one above the limit is cut there."""
        framer = SyslogFramer(self.limits.frame_bytes)
        try:
            while data := await stream.some():
                cut = framer.cut
                messages = framer.feed(data)
                if framer.cut > cut:
                    _log.warning("ingest.syslog.cut", peer=stream.peer, limit=self.limits.frame_bytes)
                    self._intake.refused("syslog", stream.peer)
                if messages:
                    stream.begun(False)
                    await self._take(stream.peer, messages)
                stream.begun(framer.pending > 0)
        finally:
            left = framer.rest()
            if left:
                with contextlib.suppress(Exception):
                    await asyncio.shield(self._take(stream.peer, [left]))

    async def _take(self, peer: str, messages: list[bytes]) -> None:
        body = Body("syslog", frame_syslog(messages), self._intake.now(), {"peer": peer, "via": "tls"})
        await self.keep([body])
