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
import uvicorn
from argon2 import PasswordHasher

from tests.respond.fakes import Lamp
from tocsin.access import Access, Principal
from tocsin.access.passwords import Passwords
from tocsin.api.app import create_app
from tocsin.workspace.settings import DetectSettings, IngestSettings, Settings
from tocsin.workspace.workspace import Workspace

PHRASE = "seven quiet otters"
ROLES = ("Reader", "Responder", "Contributor", "Administrator")


@dataclass
class Served:
    """A workspace and where it answers."""

    workspace: Workspace
    url: str
    app: Any
    lamp: Lamp

    @contextmanager
    def client(self, name: str | None = None) -> Iterator[httpx.Client]:
        """A client, signed in as the user of that name (users are named as their role, in lower case)."""
        with httpx.Client(base_url=self.url, headers={"X-Tocsin-Request": "1"}, timeout=30) as made:
            if name is not None:
                answer = made.post("/api/v1/session", json={"username": name, "password": PHRASE})
                assert answer.status_code == 200, answer.text
            yield made


def open_served(folder: Path, *, start: bool) -> Iterator[Served]:
    settings = Settings(
        data=folder,
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
        server = uvicorn.Server(
            uvicorn.Config(app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=2)
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                thread.join(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield Served(workspace, f"http://127.0.0.1:{port}", app, lamp)
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
