"""Syslog by UDP, TCP and TLS (RFC 5426, 6587, 5425); octet counting and line feeds on one port.

None of them acknowledges: what a sender has written to a dying server's socket is lost without either knowing; RELP (`relp`) is the one that
loses nothing. A connection isn't read on before what came by it is durable, so that the sender waits while intake is full. A silent one stays
open: a sender that finds its connection closed has lost the message that told it so.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import ClassVar

import structlog

from tocsin.ingest.decoders.body import frame_syslog
from tocsin.ingest.receivers.framing import SyslogFramer
from tocsin.ingest.receivers.http import Port
from tocsin.ingest.receivers.sockets import DatagramReceiver, submit_patiently
from tocsin.ingest.receivers.streams import Stream, StreamReceiver
from tocsin.lake import Body

__all__ = ["SyslogTcpReceiver", "SyslogTlsReceiver", "SyslogUdpReceiver"]

_log = structlog.get_logger("tocsin.ingest.syslog")
_WANTED_BUFFER = 16 << 20
_DRAIN_BYTES = 4 << 20
_DRAIN_MESSAGES = 10_000
_DATAGRAM = 65_536


class SyslogUdpReceiver(DatagramReceiver):
    """Datagrams, each a message."""

    kind = "syslog"
    setting = "ingest.syslog_udp_port"

    def __init__(
        self, intake: Port, host: str = "127.0.0.1", port: int = 5514, *, buffer_bytes: int = _WANTED_BUFFER
    ) -> None:
        super().__init__(intake, host, port, buffer_bytes=buffer_bytes)

    def _drain(self, sock: socket.socket) -> None:
        peers: dict[str, list[bytes]] = {}
        size = count = 0
        while size < _DRAIN_BYTES and count < _DRAIN_MESSAGES:
            try:
                message, sender = sock.recvfrom(_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                continue
            size += len(message)
            count += 1
            found = peers.get(sender[0])
            if found is None:
                found = peers[sender[0]] = []
            found.append(message)
        now = self._intake.now()
        bodies = [
            Body("syslog", frame_syslog(messages), now, {"peer": peer, "via": "udp"})
            for peer, messages in peers.items()
        ]
        if bodies:
            submit_patiently(self._intake, bodies, self._stopping)


class SyslogTcpReceiver(StreamReceiver):
    """Connections with octet-counted or line-framed messages, mixed as they please."""

    kind = "syslog"
    setting = "ingest.syslog_tcp_port"
    via: ClassVar[str] = "tcp"

    async def serve(self, stream: Stream) -> None:
        """Reads messages; one above the limit is cut there, and what a connection left unfinished is kept as it is."""
        framer = SyslogFramer(self.limits.frame_bytes)
        try:
            while data := await stream.some():
                cut = framer.cut
                messages = framer.feed(data)
                if framer.cut > cut:
                    _log.warning("ingest.syslog.cut", peer=stream.peer, limit=self.limits.frame_bytes)
                    self._intake.refused(
                        self.kind, stream.peer, f"A message was cut at {self.limits.frame_bytes} bytes."
                    )
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
        body = Body("syslog", frame_syslog(messages), self._intake.now(), {"peer": peer, "via": self.via})
        await self.keep([body])


class SyslogTlsReceiver(SyslogTcpReceiver):
    """The same within TLS."""

    setting = "ingest.tls.syslog_port"
    via = "tls"
