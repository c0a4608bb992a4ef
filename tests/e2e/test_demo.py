"""`tocsin up --demo` from an empty folder: the attack is found in time, whole, behind a sign-in; the password is said once and kept nowhere."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.server import Server, until
from tocsin.content import packs_dir
from tocsin.content.scenario import load_scenario

pytestmark = [pytest.mark.slow]
FIRST_INCIDENT_SECONDS = 60
MEMORY = 1 << 30
# What answers without a sign-in: whether the server lives, the page that asks for the sign-in, and the sign-in itself.
OPEN = {
    ("get", "/api/v1/health"),
    ("get", "/api/v1/openapi.json"),
    ("post", "/api/v1/session"),
    ("delete", "/api/v1/session"),
}


def test_first_incident_in_time_with_the_whole_attack(serve: Callable[..., Server]) -> None:
    expected = load_scenario(packs_dir() / "demo/scenarios/phish-to-exfiltration.yaml").expects
    server = serve("--demo").start()
    client = server.signed_in()

    def incidents() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.get("/api/v1/incidents").json()["items"]
        return found

    until(incidents, FIRST_INCIDENT_SECONDS)
    took, memory = time.monotonic() - server.began, server.resident()
    assert took < FIRST_INCIDENT_SECONDS
    assert memory < MEMORY

    def missing() -> tuple[set[str], set[str]]:
        incident = max(incidents(), key=lambda i: i["alert_count"])
        hosts = {e["label"].lower() for e in incident["entities"] if e["type"] == "Host"}
        return set(expected["hosts"]) - hosts, set(expected["tactics"]) - set(incident["tactics"])

    until(lambda: missing() == (set(), set()), 120, missing)
    # The whole attack is one incident; what comes beside it would be noise.
    assert len(incidents()) == expected["incidents"]
    (listed,) = incidents()
    full = client.get(f"/api/v1/incidents/{listed['id']}").json()
    assert full["severity"] == "High"
    assert full["reasons"]
    assert all(a["events"] for a in full["alerts"])
    assert [s["time"] for s in full["story"]] == sorted(s["time"] for s in full["story"])
    assert server.resident() < MEMORY
    assert server.stop() == 0
    # After a restart, without the demonstration, it is all still there.
    server.flags = ()
    server.start()
    assert [i["id"] for i in server.signed_in().get("/api/v1/incidents").json()["items"]] == [listed["id"]]


def test_nothing_answers_without_a_sign_in(serve: Callable[..., Server]) -> None:
    server = serve().start()
    description = server.signed_in().get("/api/v1/openapi.json").json()
    stranger = server.client()
    tried = 0
    for path, methods in description["paths"].items():
        for method in methods:
            if (method, path) in OPEN or not path.startswith("/api/"):
                continue
            place = path.replace("{", "").replace("}", "")
            for headers in (
                {},
                {"X-Tocsin-Request": "1"},
                {"Authorization": "Bearer no-such-token"},
                {"Cookie": "tocsin_session=no-such-session"},
            ):
                answer = stranger.request(method.upper(), place, headers=headers, json={} if method != "get" else None)
                assert answer.status_code in (401, 403), (method, path, answer.status_code, answer.text)
                assert answer.headers["content-type"].startswith("application/problem+json")
            tried += 1
    assert tried > 25
    for method, path in (
        ("POST", "/services/collector"),
        ("POST", "/services/collector/raw"),
        ("POST", "/ingest/v1/jsonl"),
    ):
        assert stranger.request(method, path, content=b'{"event":"x"}').status_code in (401, 403)
    assert (
        stranger.post(
            "/api/v1/session", json={"username": "admin", "password": "wrong"}, headers={"X-Tocsin-Request": "1"}
        ).status_code
        == 401
    )
    assert stranger.get("/api/v1/health").status_code == 200


def test_a_start_that_fails_makes_no_password_that_nobody_has_seen(serve: Callable[..., Server]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = serve(tcp=taken.getsockname()[1])
        with pytest.raises(AssertionError):
            server.start()
        assert server.process is not None
        assert server.process.returncode == 1
        assert str(taken.getsockname()[1]) in server.errors.read_text()
        assert "Traceback" not in server.errors.read_text()
    server.start()
    assert server.password
    server.signed_in()


def test_the_password_is_said_once_and_kept_nowhere(serve: Callable[..., Server]) -> None:
    server = serve("--log", "debug").start()
    password = server.password.encode()
    assert len(password) >= 16
    server.signed_in()
    assert server.stop() == 0
    server.start()
    assert server.signed_in().get("/api/v1/session").status_code == 200
    assert "password  " not in server.said()
    assert server.stop() == 0
    assert server.output.read_bytes().count(password) == 1
    assert password not in server.errors.read_bytes()
    kept = [p for p in server.data.rglob("*") if p.is_file()]
    assert server.data / "state.db" in kept
    assert [p for p in kept if password in p.read_bytes()] == []
