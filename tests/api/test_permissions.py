"""The permission matrix: every route, every kind of caller. A new route without a permission fails here."""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx
import pytest
from starlette.routing import Mount, Route

from tests.api.conftest import ADMIN, ROLES, Served
from tocsin.access import ROLES as HELD
from tocsin.api.app import create_app, guarded_routes

PUBLIC = {("/api/v1/session", "POST"), ("/api/v1/health", "GET"), ("/metrics", "GET")}
"""The only routes of the API that need no sign-in; /metrics by loopback alone (test_health). /api/v1/openapi.json
is the third path that answers anybody."""

DISCOVERY = {
    ("/v1/rest/auth/metadata", "GET"),
    ("/metadata/endpoints", "GET"),
    ("/{tenant}/v2.0/.well-known/openid-configuration", "GET"),
    ("/{tenant}/.well-known/openid-configuration", "GET"),
    ("/{tenant}/oauth2/v2.0/token", "POST"),
    ("/{tenant}/oauth2/token", "POST"),
}
"""What Azure's clients ask before they have a token: nothing of it tells more than where to ask for one, or gives one for nothing."""

ANY_SIGNED_IN = {("/api/v1/session", "GET"), ("/api/v1/session", "DELETE"), ("/api/v1/session/password", "PUT")}

BODIES: Mapping[str, object] = {
    "/api/v1/session": {"username": "x", "password": "y"},
    "/api/v1/session/password": {"current": "x", "new": "y"},
    "/api/v1/incidents/{incident_id}": {"status": "New"},
    "/api/v1/incidents/{incident_id}/comments": {"text": "x"},
    "/api/v1/query": {"query": "print 1"},
    "/api/v1/kql/diagnostics": {"query": "print 1"},
    "/api/v1/kql/completion": {"query": "print 1", "offset": 5},
    "/api/v1/kql/hover": {"query": "print 1", "offset": 2},
    "/api/v1/kql/signature": {"query": "print strlen(", "offset": 13},
    "/api/v1/kql/format": {"query": "print 1"},
    "/api/v1/kql/symbols": {"query": "print 1"},
    "/api/v1/kql/definition": {"query": "print 1", "offset": 2},
    "/api/v1/kql/rename": {"query": "print 1", "offset": 2, "name": "x"},
    "/api/v1/rules": {"name": "x", "query": "nonsense ("},
    "/api/v1/rules/{rule_id}": {"enabled": True},
    "/api/v1/rules/{rule_id}/exclusions": {"conditions": [{"column": "x", "values": ["y"]}], "reason": "z"},
    "/api/v1/rules/{rule_id}/exclusions/preview": {"conditions": [{"column": "x", "values": ["y"]}]},
    "/api/v1/rules/switch": {"ids": ["x"], "enabled": True},
    "/api/v1/watchlists/preview": {"csv": "a\nb\n"},
    "/api/v1/rules/{rule_id}/tuning": {"severity": "Low"},
    "/api/v1/rules/{rule_id}/runs": {"first": "2026-03-01T00:00:00Z", "last": "2026-03-02T00:00:00Z"},
    "/api/v1/watchlists/{alias}": {"csv": ""},
    "/api/v1/watchlists/{alias}/items": {"values": {"x": "y"}},
    "/api/v1/watchlists/{alias}/items/{item_id}": {"values": {"x": "y"}},
    "/api/v1/threat-reports/import": {"bundle": "{}"},
    "/api/v1/automation-rules/{rule_id}": {"enabled": True},
    "/api/v1/dead-letters/replay": {"ids": ["none"]},
    "/api/v1/transforms": {"name": "x", "stream": "none", "flows": [{"transformKql": "source"}]},
    "/api/v1/transforms/preview": {"name": "x", "stream": "none", "flows": [{"transformKql": "source"}]},
    "/api/v1/transforms/{transform_id}": {"enabled": True},
    "/api/v1/actions": {"kind": "no.such.kind"},
    "/api/v1/users": {"name": "x", "password": "short", "roles": ["Reader"]},
    "/api/v1/users/{name}": {"display_name": "x"},
    "/api/v1/search-jobs": {
        "name": "x",
        "query": "print 1",
        "start": "2026-01-01T00:00:00Z",
        "end": "2026-01-02T00:00:00Z",
    },
    "/api/v1/search-jobs/estimate": {"text": "print 1", "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
    "/api/v1/search-jobs/restore": {"table": "x", "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
    "/api/v1/summary-rules": {"name": "x", "query": "print 1", "destinationTable": "X_CL", "binSize": 60},
    "/api/v1/summary-rules/try": {"name": "x", "query": "print 1", "destinationTable": "X_CL", "binSize": 60},
    "/api/v1/summary-rules/{rule_id}": {"enabled": True},
    "/api/v1/summary-rules/{rule_id}/rerun": {"moment": "2026-01-01T00:00:00Z"},
    "/api/v1/lake/preview": {"table": "Nothing", "condition": "true"},
    "/api/v1/lake/deletions": {"table": "Nothing", "condition": "true", "expected": 0},
    "/api/v1/lake/purges": {"table": "Nothing", "condition": "true", "expected": 0},
    "/api/v1/lake/aliases/forget": {"names": ["nobody"]},
    "/api/v1/tables/{table}/retention/preview": {"days": 1},
    "/api/v1/tables/{table}/retention": {"days": 1},
    "/api/v1/tokens": {"name": "x", "kind": "api", "roles": []},
}


class _Shell:
    version = "v1"

    class intake:  # noqa: N801
        @staticmethod
        def routes() -> tuple[()]:
            return ()


MATRIX = list(guarded_routes(create_app(_Shell())))  # type: ignore[arg-type]


def send(client: httpx.Client, template: str, method: str, **options: object) -> httpx.Response:
    path = re.sub(r"\{\w+\}", "none", template)
    body = BODIES.get(template, {}) if method in ("POST", "PATCH", "PUT") else None
    return client.request(method, path, json=body, **options)  # type: ignore[arg-type]


def test_the_matrix_is_whole() -> None:
    assert len(MATRIX) >= 36
    assert {(p, m) for p, m, permission in MATRIX if permission is None} == PUBLIC | DISCOVERY
    assert {(p, m) for p, m, permission in MATRIX if permission == ""} == ANY_SIGNED_IN


def test_there_is_no_other_way_in(served: Served) -> None:
    """Besides the API's routes: the document, what catches the rest of /api, and the intake, which checks tokens itself."""
    others = {r.path for r in served.app.routes if isinstance(r, Route | Mount)}
    intake = {r.path for r in served.workspace.intake.routes() if isinstance(r, Route)}
    assert others - intake == {"/api/v1/openapi.json", "/api/{path:path}", "/v1/{path:path}", "/v2/{path:path}"}


def test_intake_asks_for_a_token(served: Served) -> None:
    asked = 0
    with served.client() as client:
        for route in served.workspace.intake.routes():
            assert isinstance(route, Route)
            # Whether it is there and ready, whoever asks.
            if route.path.startswith("/services/collector/health") or route.path == "/ready":
                continue
            path = re.sub(r"\{\w+(:path)?\}", "none", route.path)
            for method in sorted((route.methods or set()) - {"OPTIONS"}):
                answer = client.request(method, path, headers={"Accept": "application/json"}, content=b"{}")
                # 405: the collector's own answer to another method than POST.
                assert answer.status_code in (401, 403, 405), (method, path)
                asked += answer.status_code != 405
    assert asked > 60


def code_of(answer: httpx.Response) -> str:
    """Our code in an error of whatever shape the route's protocol has."""
    body = answer.json()
    if "code" in body:
        return str(body["code"])
    found = re.search(r"[A-Z]{3}\d{4}", str(body["error"]))
    return found[0] if found else ""


@pytest.mark.parametrize(("path", "method", "permission"), MATRIX, ids=lambda v: str(v))
class TestMatrix:
    def test_nobody(self, served: Served, path: str, method: str, permission: str | None) -> None:
        with served.client() as client:
            answer = send(client, path, method)
        if permission is None:
            assert answer.status_code != 403
            assert answer.status_code in ((200, 400, 401) if (path, method) in DISCOVERY else (200, 401))
        else:
            assert answer.status_code == 401
            assert code_of(answer) == "ACC0001"
            assert "www-authenticate" in answer.headers

    def test_a_forged_credential(self, served: Served, path: str, method: str, permission: str | None) -> None:
        if permission is None:
            return
        with served.client() as client:
            for headers in (
                {"Authorization": "Bearer toc_a_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
                {"Authorization": "Bearer"},
                {"Authorization": "Basic YWRtaW46YWRtaW4="},
                {"Cookie": "tocsin_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
                {"Cookie": "tocsin_session="},
            ):
                assert send(client, path, method, headers=headers).status_code == 401

    def test_each_role(self, clients: dict[str, httpx.Client], path: str, method: str, permission: str | None) -> None:
        if permission in (None, ""):
            return
        for role in ROLES:
            answer = send(clients[role], path, method)
            if permission in HELD[role]:
                assert answer.status_code not in (401, 403), (role, answer.text)
            else:
                assert answer.status_code == 403, (role, answer.text)
                assert code_of(answer) == "ACC0002"
                assert permission in answer.text

    def test_an_ingest_token(self, served: Served, path: str, method: str, permission: str | None) -> None:
        """It may send rows and nothing else."""
        if permission in (None, ""):
            return
        token = served.workspace.access.make_token("t", by=ADMIN)["token"]
        with httpx.Client(base_url=served.url) as client:
            assert send(client, path, method, headers={"Authorization": f"Bearer {token}"}).status_code == 403

    def test_a_change_by_cookie_without_our_header(
        self, clients: dict[str, httpx.Client], path: str, method: str, permission: str | None
    ) -> None:
        if permission is None or method == "GET":
            return
        client = clients["Administrator"]
        with httpx.Client(base_url=client.base_url, cookies=client.cookies) as foreign:
            answer = send(foreign, path, method)
            assert (answer.status_code, code_of(answer)) == (403, "ACC0005")
            crossed = send(foreign, path, method, headers={"X-Tocsin-Request": "1", "Sec-Fetch-Site": "cross-site"})
            assert (crossed.status_code, code_of(crossed)) == (403, "ACC0005")
