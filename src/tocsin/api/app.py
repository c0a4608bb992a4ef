"""The application: routes, errors, headers and limits, put together over a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.middleware import Middleware
from starlette.routing import Route, compile_path
from starlette.types import Receive, Scope, Send

from tocsin.api import entra, problems
from tocsin.api.conditional import KeptAnswers
from tocsin.api.kusto import routes as kusto
from tocsin.api.loganalytics import routes as loganalytics
from tocsin.api.middleware import BodyLimit, SecurityHeaders, Unexpected
from tocsin.api.ports import Workspace
from tocsin.api.routes import (
    actions,
    admin,
    anomalies,
    automation,
    correlation,
    data,
    entities,
    health,
    incident_pages,
    incident_story,
    incident_weights,
    incident_work,
    incidents,
    lake,
    language,
    metrics,
    query,
    rule_care,
    rules,
    schema,
    search_jobs,
    session,
    summaries,
    tables,
    threat_reports,
    transforms,
    watchlists,
)
from tocsin.api.security import COOKIE, permission_of
from tocsin.api.shapes import Problem
from tocsin.base.errors import did_you_mean

__all__ = ["BASE", "create_app", "guarded_routes"]

BASE = "/api/v1"
MAX_BODY = 1 << 20
MAX_LIST = 64 << 20
"""Bytes that a watchlist or a bundle of threat reports may have."""
"""Bytes that a request to the API may carry. Intake routes, where rows come in, set their own bound."""

_PROBLEM: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Problem details (RFC 9457)",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


def create_app(workspace: Workspace) -> FastAPI:
    """The API over that workspace, with the raw intake routes beside it. The portal is put on top by `tocsin.portal`."""
    app = FastAPI(
        title="Tocsin",
        version=workspace.version,
        description="Self-hosted SIEM, XDR and SOAR that speaks KQL.",
        openapi_url=f"{BASE}/openapi.json",
        docs_url=None,  # their pages load scripts from other machines
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(Unexpected),
            Middleware(
                BodyLimit,
                limit=MAX_BODY,
                prefix=f"{BASE}/",
                larger={f"{BASE}/{lists}/": MAX_LIST for lists in ("watchlists", "threat-reports")},
            ),
        ],
    )
    app.state.workspace = workspace
    app.state.kept_answers = KeptAnswers()
    problems.install(app)
    api = APIRouter(prefix=BASE, responses=_PROBLEM)
    for module in (
        session,
        correlation,
        incident_pages,
        incident_story,
        incident_weights,
        incident_work,
        incidents,
        entities,
        query,
        language,
        schema,
        rule_care,  # before the rules, whose ids would take its fixed paths
        rules,
        data,
        lake,
        search_jobs,
        anomalies,
        summaries,
        tables,
        transforms,
        threat_reports,
        watchlists,
        actions,
        automation,
        admin,
        health,
    ):
        api.include_router(module.router)
    app.include_router(api)
    for wire in (metrics.router, entra.router, kusto.router, loganalytics.router):
        # Other houses' protocols: not in our document, which is for clients of our own API.
        app.include_router(wire)
    for route in workspace.intake.routes():
        app.router.routes.append(route)
    for prefix in ("api", "v1", "v2"):
        app.router.routes.append(Route(f"/{prefix}/{{path:path}}", _NoSuchPath(app), include_in_schema=False))
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's own way to extend the document
    return app


class _NoSuchPath:
    """Answers what no route of the API did: 405 where the path is known with other methods, else 404. Nothing of it reaches the portal."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        path = scope["path"]
        known = {m for template, m, _ in guarded_routes(self._app) if compile_path(template)[0].match(path)}
        if known:
            allowed = ", ".join(sorted(known))
            answer = problems.problem(
                405,
                "API0005",
                f"{scope['method']} doesn't go with {path}.",
                hint=f"Use {allowed}.",
                headers={"Allow": allowed},
            )
        else:
            names = {template for template, _, _ in guarded_routes(self._app)}
            answer = problems.problem(404, "API0004", f"There is nothing at {path}.", hint=did_you_mean(path, names))
        await answer(scope, receive, send)


def _operation_id(route: APIRoute) -> str:
    """The function's name: short names in generated clients."""
    return route.name


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document with our ways to sign in, the problem shape and each route's permission."""
    if app.openapi_schema:
        return app.openapi_schema
    from fastapi.openapi.utils import get_openapi

    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    shape = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    shape.pop("$defs", None)
    schemas["Problem"] = shape
    components["securitySchemes"] = {
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    document["security"] = [{"session": []}, {"bearer": []}]
    permissions = {(path, method.lower()): permission for path, method, permission in guarded_routes(app)}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["responses"].pop("422", None)  # FastAPI's own error shape, which we don't send
            if permission := permissions.get((path, method)):
                operation["x-tocsin-permission"] = permission
    app.openapi_schema = document
    return document


def guarded_routes(app: FastAPI) -> Iterator[tuple[str, str, str | None]]:
    """Every API route as (path, method, permission): "" asks for any signed-in principal, None for nobody in particular."""
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute) and context.path is not None:
            for method in sorted(context.methods or ()):
                yield context.path, method, permission_of(context.original_route.dependant)
