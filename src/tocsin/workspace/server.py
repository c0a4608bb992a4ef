"""Serves a workspace: API, portal and HTTP intake on one port, until told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from tocsin.base.errors import ConfigError
from tocsin.workspace.settings import ServerSettings

__all__ = ["bind", "serve"]


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


def serve(app: ASGIApp, sock: socket.socket, *, ready: Callable[[], None]) -> None:
    """Answers requests until SIGTERM or SIGINT; open requests are finished first (ten seconds at most)."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=10, server_header=False, date_header=False
    )
    server = _Server(config, ready)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        await server.serve(sockets=[sock])

    asyncio.run(run())


class _Server(uvicorn.Server):
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
