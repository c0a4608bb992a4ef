"""What tests of real shippers share: a server with real sockets, certificates, the packs' parsers over a real lake."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from tests.ingest.intake_support import Rig
from tocsin.content import load_packs
from tocsin.ingest.mapping import Mapper
from tocsin.ingest.receivers.http import BodyError
from tocsin.ingest.receivers.streams import server_tls
from tocsin.kql.types import FunctionSource
from tocsin.query.catalog import WorkspaceCatalog
from tocsin.tables import catalogue
from tocsin.workspace.server import Server

TOKENS = {"good": "agent-1"}
ROOT = Path(__file__).resolve().parents[2]


@cache
def authority() -> trustme.CA:
    """The tests' own certificate authority."""
    return trustme.CA()


class Certificates:
    """A server certificate for the loopback address, in files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        issued = authority().issue_cert("127.0.0.1", "localhost")
        authority().cert_pem.write_to_path(self.ca)
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(self.cert, append=number > 0)
        issued.private_key_pem.write_to_path(self.key)

    def server(self) -> Any:
        """What a receiver presents."""
        return server_tls(self.cert, self.key)


@contextmanager
def serve(routes: Sequence[BaseRoute], certificates: Certificates | None = None, **more: Any) -> Iterator[str]:
    """Serves the routes on a free port of the loopback address; gives the base URL."""
    if certificates is not None:
        more |= {"ssl_certfile": str(certificates.cert), "ssl_keyfile": str(certificates.key)}
    server = Server(
        uvicorn.Config(
            Starlette(routes=list(routes)),
            port=0,
            log_level="warning",
            lifespan="off",
            loop="asyncio",
            timeout_graceful_shutdown=1,
            **more,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 90
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"{'https' if certificates else 'http'}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(90)


@cache
def pack_content() -> Any:
    """What ships with Tocsin."""
    return load_packs([ROOT / "packs"])


def packed_rig(folder: Path) -> Rig:
    """A rig with the packs' parsers instead of the tests' two."""
    content = pack_content()
    rig = Rig(folder)
    functions = {f.name: FunctionSource(f.name, f.parameters, f.body, f.doc) for f in content.functions}
    known = WorkspaceCatalog(catalogue(), rig.lake, functions)
    rig.mapper = rig.intake.mapper = Mapper(content.parsers, engine=rig.engine, catalog=known)
    return rig


def closes(sock: socket.socket) -> bool:
    """Whether the peer closes without another word."""
    try:
        return sock.recv(100) == b""
    except (ConnectionResetError, BrokenPipeError):
        return True


def refused(work: Callable[[], object]) -> BodyError | None:
    """How a reader refuses, or None when it doesn't."""
    try:
        work()
    except BodyError as error:
        return error
    return None


def open_handles() -> list[str]:
    """What this process has open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return sorted(found)


WINLOGBEAT: dict[str, Any] = {
    "@timestamp": "2024-05-01T10:00:00.123Z",
    "@metadata": {"beat": "winlogbeat", "type": "_doc", "version": "8.17.0"},
    "agent": {"type": "winlogbeat", "version": "8.17.0", "name": "DC01"},
    "ecs": {"version": "8.0.0"},
    "event": {"code": "4625", "kind": "event", "provider": "Microsoft-Windows-Security-Auditing", "action": "Logon"},
    "host": {"name": "DC01.corp.example"},
    "log": {"level": "information"},
    "message": "An account failed to log on.",
    "winlog": {
        "api": "wineventlog",
        "channel": "Security",
        "computer_name": "DC01.corp.example",
        "event_id": "4625",
        "keywords": ["Audit Failure"],
        "opcode": "Info",
        "process": {"pid": 712, "thread": {"id": 800}},
        "provider_guid": "{54849625-5478-4994-a5ba-3e3b0328c30d}",
        "provider_name": "Microsoft-Windows-Security-Auditing",
        "record_id": 4711,
        "task": "Logon",
        "event_data": {
            "TargetUserName": "mallory",
            "TargetDomainName": "CORP",
            "LogonType": "3",
            "IpAddress": "203.0.113.9",
            "Status": "0xc000006d",
            "SubStatus": "0xc000006a",
        },
    },
}
"""A failed logon as winlogbeat 8 sends it."""
