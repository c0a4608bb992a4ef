"""The real language service over the mock's tables, functions and a watchlist: what the editor is told is what the server would say."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from tests.portal.mock_content import CUSTOM_TABLES, schema
from tocsin.access import PERMISSIONS, Principal
from tocsin.api import problems
from tocsin.api.routes import language
from tocsin.api.security import signed_in
from tocsin.base.clock import SystemClock
from tocsin.kql.types import FunctionSource, TableSchema
from tocsin.query.catalog import WorkspaceCatalog
from tocsin.tables import catalogue


class _Lake:
    """The custom tables."""

    def schema(self, table: str) -> TableSchema | None:
        return next((t for t in CUSTOM_TABLES if t.name == table), None)

    def tables(self) -> list[str]:
        return [t.name for t in CUSTOM_TABLES]

    def populated(self) -> list[str]:
        return ["DeviceProcessEvents", *self.tables()]


class Language:
    """An ASGI application for what is below `base`/kql."""

    def __init__(self, base: str) -> None:
        functions = {f["name"]: FunctionSource(**f) for f in schema(1)["functions"]}
        watchlists = {"VIPs": pa.table({"Mail": ["ceo@example.org"]}), "Scanners": pa.table({"Address": ["192.0.2.9"]})}
        catalog = WorkspaceCatalog(catalogue(), _Lake(), functions, watchlists)
        self._base = base
        self._app = FastAPI()
        problems.install(self._app)
        self._app.include_router(language.router)
        self._app.state.workspace = SimpleNamespace(
            queries=SimpleNamespace(catalog=catalog), clock=SystemClock(), version="0.1.0"
        )
        someone = Principal("admin", permissions=frozenset(PERMISSIONS))
        self._app.dependency_overrides[signed_in] = lambda: someone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await self._app({**scope, "root_path": self._base}, receive, send)
