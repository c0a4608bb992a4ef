"""Serves a workspace: API, portal and HTTP intake on one port, until told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from tocsin.base.errors import ConfigError
from tocsin.base.memory import everything_stays, many_handles, small_pages
from tocsin.workspace.patience import PatientProtocol, counting
from tocsin.workspace.settings import ServerSettings

__all__ = ["Server", "bind", "check_tls", "serve"]

_POLITE = 0.5
"""Seconds that a stopping server gives idle connections to close."""


def bind(settings: ServerSettings) -> socket.socket:
    """The listening socket. Raises ConfigError CFG0006 when the address can't be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
        sock.listen(256)
    except OSError as error:
        sock.close()
        hint = "Another program, or another Tocsin, has it: choose another with --port or server.port."
        raise ConfigError(
            f"can't listen on {settings.host}:{settings.port}: {error.strerror}", code="CFG0006", hint=hint
        ) from error
    return sock


def check_tls(settings: ServerSettings) -> None:
    """Reads certificate and key once, so that a wrong one is told before anything starts. Raises ConfigError CFG0007."""
    if settings.tls_cert is None:
        return
    for path in (settings.tls_cert, settings.tls_key):
        if path is not None and not path.is_file():
            raise ConfigError(
                f"there is no file {path}", code="CFG0007", hint="See server.tls_cert and server.tls_key."
            )

    def no_passphrase() -> str:
        raise ConfigError(
            f"the key {settings.tls_key or settings.tls_cert} is encrypted",
            code="CFG0007",
            hint="Write it without a passphrase and let only this user read it: openssl pkey -in KEY -out NEW.",
        )

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.tls_cert, settings.tls_key, no_passphrase)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"{settings.tls_cert} and its key can't be used: {error}",
            code="CFG0007",
            hint="Both are PEM files; the key belongs to the first certificate.",
        ) from error


def serve(
    app: ASGIApp,
    sock: socket.socket,
    *,
    ready: Callable[[], None],
    settings: ServerSettings | None = None,
    refused: Callable[[str, str], object] | None = None,
) -> None:
    """Answers requests until SIGTERM or SIGINT; open requests are finished first (ten seconds at most).

    `refused` is told the address of each peer that sent what isn't HTTP, or began a request and didn't go on, and why.
    """
    small_pages()
    many_handles()
    tls = settings if settings is not None and settings.tls_cert is not None else None
    config = uvicorn.Config(
        app,
        http=counting(refused) if refused is not None else PatientProtocol,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        server_header=False,
        date_header=False,
        ssl_certfile=tls.tls_cert if tls else None,
        ssl_keyfile=tls.tls_key if tls else None,
    )
    server = _Server(config, ready)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        await server.serve(sockets=[sock])

    everything_stays()
    asyncio.run(run())


class Server(uvicorn.Server):
    """A server that stops also when clients don't: idle connections are cut at once, those with a request after the graceful time.

    A TLS connection otherwise ends only when the client agrees, and uvloop waits for one that neither reads nor closes for as long as that likes.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn; then no connection is left."""
        idle = asyncio.create_task(self._cut_idle())
        await super().shutdown(sockets=sockets)
        idle.cancel()
        self._cut(lambda _: True)
        # Their ends are told to them in the loop's next turns.
        await asyncio.sleep(0.05)

    async def _cut_idle(self) -> None:
        while True:
            await asyncio.sleep(_POLITE)
            self._cut(lambda cycle: cycle is None or cycle.response_complete)

    def _cut(self, which: Callable[[Any], bool]) -> None:
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None and which(getattr(connection, "cycle", None)):
                transport.abort()


class _Server(Server):
    """A server that says when it is ready and takes its signals from the loop, so that the caller can clean up after them."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    def install_signal_handlers(self) -> None:
        """Nothing: `serve` has set them."""

    def capture_signals(self):  # type: ignore[no-untyped-def] # uvicorn re-raises captured signals; ours end the process cleanly
        """See `install_signal_handlers`."""
        from contextlib import nullcontext

        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Says `ready` once requests are answered."""
        await super().startup(sockets=sockets)
        self._ready()

    def stop(self) -> None:
        """Ends the server; a second time at once."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
