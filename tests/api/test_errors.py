"""Whatever goes wrong, the answer is a problem with a code; nothing of the inside leaks out."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.conftest import Served
from tocsin.base.errors import TocsinError


@pytest.fixture(scope="module")
def client(clients: dict[str, httpx.Client]) -> httpx.Client:
    return clients["Administrator"]


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"urn:tocsin:error:{code}"
    assert body["title"]
    assert body["detail"]
    return body


def test_what_is_not_there(client: httpx.Client) -> None:
    body = problem(client.get("/api/v1/incident"), 404, "API0004")
    assert body["hint"] == "Did you mean '/api/v1/incidents'?"
    for path in (
        "/api/v1/incidents/none",
        "/api/v1/actions/none",
        "/api/v1/rules/none",
        "/api/v1/automation-rules/none/runs",
    ):
        problem(client.get(path), 404, "STA0002")


def test_a_wrong_method(client: httpx.Client) -> None:
    answer = client.put("/api/v1/incidents")
    problem(answer, 405, "API0005")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"query": 1}',
        b'{"query": "x", "typo": 1}',
        b'{"limit": 5}',
        b'{"query": "x", "limit": 0}',
    ],
)
def test_a_wrong_body(client: httpx.Client, content: bytes) -> None:
    answer = client.post("/api/v1/query", content=content, headers={"Content-Type": "application/json"})
    body = problem(answer, 422 if answer.status_code == 422 else 400, answer.json()["code"])
    assert body["code"] in ("API0001", "API0002")


def test_wrong_members_are_named(client: httpx.Client) -> None:
    body = problem(client.post("/api/v1/query", json={"query": "print 1", "quary": 1}), 422, "API0001")
    assert body["errors"][0]["where"] == "body.quary"
    assert "quary" in body["detail"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "offset=-1", "sort=colour", "order=up", "q=" + "x" * 201]
)
def test_wrong_parameters(client: httpx.Client, query: str) -> None:
    problem(client.get(f"/api/v1/incidents?{query}"), 422, "API0001")


def test_a_large_body_is_refused(client: httpx.Client) -> None:
    problem(client.post("/api/v1/query", json={"query": "x" * (1 << 20)}), 413, "API0013")

    def endless() -> Any:
        for _ in range(300):
            yield b"x" * 65536

    try:
        answer = client.post("/api/v1/query", content=endless(), headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
    except httpx.WriteError:
        pass  # the server had closed the connection before all of it was sent


def test_a_query_that_cannot_run(client: httpx.Client) -> None:
    answer = client.post("/api/v1/query", json={"query": "SecurityEvent\n| where Foo == 1 and Bar == 2"})
    body = answer.json()
    assert answer.status_code == 400
    assert body["code"].startswith("KQL")
    first = body["diagnostics"][0]
    assert (first["line"], first["column"]) == (2, 9)
    assert "SecurityEvent\n| where Foo"[first["start"] :] == "Foo"


def test_unforeseen_errors_show_nothing_of_the_inside(
    served: Served, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("secret detail in /etc/passwd")

    monkeypatch.setattr(served.workspace.incidents, "page", fail)
    answer = client.get("/api/v1/incidents")
    problem(answer, 500, "API0500")
    assert "secret" not in answer.text


def test_our_own_errors_keep_their_code_and_hint(
    served: Served, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise TocsinError("It is so.", code="TOC0042", hint="Do this.")

    monkeypatch.setattr(served.workspace.incidents, "page", fail)
    assert problem(client.get("/api/v1/incidents"), 500, "TOC0042")["hint"] == "Do this."


@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/incidents", "/api/v1/nothing", "/api/v1/openapi.json"])
def test_security_headers_are_on_every_answer(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "access-control-allow-origin" not in headers


def test_no_other_site_is_invited(client: httpx.Client) -> None:
    answer = client.options(
        "/api/v1/incidents",
        headers={
            "Origin": "https://evil.example",
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "x-tocsin-request",
        },
    )
    assert answer.status_code == 405
    assert not any(h.startswith("access-control") for h in answer.headers)
