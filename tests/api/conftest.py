"""A real server: a workspace over a temporary folder, uvicorn in a thread, requests over a socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import uvicorn
from argon2 import PasswordHasher

from tests.respond.fakes import Lamp
from tocsin.access import Access, Principal, permissions_of
from tocsin.access.passwords import Passwords
from tocsin.api.app import create_app
from tocsin.lake.settings import EngineSettings, LakeSettings
from tocsin.query import QuerySettings
from tocsin.workspace.server import Server
from tocsin.workspace.settings import DetectSettings, IngestSettings, Settings
from tocsin.workspace.workspace import Workspace

PHRASE = "seven quiet otters"
ROLES = ("Reader", "Responder", "Contributor", "Administrator")


@dataclass(frozen=True)
class Tls:
    """A certificate for 127.0.0.1, its key, and the authority that clients are to trust."""

    certificate: Path
    key: Path
    authority: Path


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A certificate of the test run's own."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    made = Tls(folder / "server.pem", folder / "server.key", folder / "ca.pem")
    authority.cert_pem.write_to_path(made.authority)
    issued.private_key_pem.write_to_path(made.key)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(made.certificate, append=True)
    return made


@dataclass
class Served:
    """A workspace and where it answers."""

    workspace: Workspace
    url: str
    app: Any
    lamp: Lamp

    def token(self, role: str = "Reader") -> str:
        """An access token of that role, as somebody makes one under Settings, Tokens."""
        owner = Principal("administrator", permissions=permissions_of(ROLES))
        return str(self.workspace.access.make_token("wire", kind="api", roles=[role], by=owner)["token"])

    @contextmanager
    def client(self, name: str | None = None) -> Iterator[httpx.Client]:
        """A client, signed in as the user of that name (users are named as their role, in lower case)."""
        with httpx.Client(base_url=self.url, headers={"X-Tocsin-Request": "1"}, timeout=30) as made:
            if name is not None:
                answer = made.post("/api/v1/session", json={"username": name, "password": PHRASE})
                assert answer.status_code == 200, answer.text
            yield made


def open_served(
    folder: Path,
    *,
    start: bool,
    query: QuerySettings | None = None,
    engine: EngineSettings | None = None,
    tls: Tls | None = None,
    lake: LakeSettings | None = None,
) -> Iterator[Served]:
    settings = Settings(
        data=folder,
        query=query or QuerySettings(),
        engine=engine or EngineSettings(),
        lake=lake or LakeSettings(),
        ingest=IngestSettings(syslog_udp_port=-1, syslog_tcp_port=-1, relp_port=-1),
        detect=DetectSettings(poll_seconds=0.2),
    )
    with Workspace.open(settings) as workspace:
        # Cheap hashes: these tests sign in hundreds of times.
        workspace.access = Access(
            workspace.state, passwords=Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        )
        hashed = workspace.access._passwords.hash(PHRASE)
        with workspace.state.write() as unit:
            for role in ROLES:
                unit.users.add(role.lower(), role, hashed, [role])
        lamp = Lamp()
        workspace.gate._kinds[lamp.kind] = lamp
        if start:
            workspace.start()
        app = create_app(workspace)
        server = Server(
            uvicorn.Config(
                app,
                port=0,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=2,
                ssl_certfile=tls.certificate if tls else None,
                ssl_keyfile=tls.key if tls else None,
            )
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                thread.join(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield Served(workspace, f"http{'s' if tls else ''}://127.0.0.1:{port}", app, lamp)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for the module's tests to share; they must not depend on each other's changes."""
    yield from open_served(tmp_path_factory.mktemp("data"), start=False)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Served]:
    """A server of the test's own."""
    yield from open_served(tmp_path / "data", start=False)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Served]:
    """A server whose intake, detection and automation run."""
    yield from open_served(tmp_path / "data", start=True)


@pytest.fixture(scope="module")
def clients(served: Served) -> Iterator[dict[str, httpx.Client]]:
    """A signed-in client a role."""
    with ExitStack() as stack:
        yield {role: stack.enter_context(served.client(role.lower())) for role in ROLES}


ADMIN = Principal("administrator", permissions=frozenset({"tokens.manage", "users.manage"}))
