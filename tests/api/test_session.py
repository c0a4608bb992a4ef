from __future__ import annotations

import httpx

from tests.api.conftest import ADMIN, PHRASE, Served


def test_signing_in_and_out(fresh: Served) -> None:
    with fresh.client() as client:
        answer = client.post("/api/v1/session", json={"username": "Responder", "password": PHRASE})
        assert answer.status_code == 200
        user = answer.json()["user"]
        assert (user["name"], user["roles"]) == ("responder", ["Responder"])
        assert "actions.approve" in user["permissions"]
        cookie = answer.headers["set-cookie"].lower()
        for part in ("httponly", "samesite=strict", "path=/", "max-age=86400"):
            assert part in cookie
        assert "secure" not in cookie, "plain HTTP on loopback"
        assert client.get("/api/v1/session").json()["user"] == user
        assert client.delete("/api/v1/session").status_code == 204
        assert client.get("/api/v1/session").status_code == 401
        client.cookies.set("tocsin_session", answer.cookies["tocsin_session"])
        assert client.get("/api/v1/session").status_code == 401, "the old cookie is worth nothing"


def test_a_wrong_password(fresh: Served) -> None:
    with fresh.client() as client:
        for name in ("reader", "nobody"):
            answer = client.post("/api/v1/session", json={"username": name, "password": "wrong"})
            assert answer.status_code == 401
            assert answer.json()["code"] == "ACC0003"
            assert answer.json()["detail"] == "The name or the password is wrong."
            assert "set-cookie" not in answer.headers


def test_guessing_is_slowed_down(fresh: Served) -> None:
    with fresh.client() as client:
        for _ in range(5):
            assert client.post("/api/v1/session", json={"username": "reader", "password": "x"}).status_code == 401
        answer = client.post("/api/v1/session", json={"username": "reader", "password": PHRASE})
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 2
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_bearer_token_needs_no_header(fresh: Served) -> None:
    with fresh.client("administrator") as client:
        made = client.post(
            "/api/v1/tokens", json={"name": "ci", "kind": "api", "roles": ["Responder"], "expires_in_days": 1}
        ).json()
        assert made["token"].startswith("toc_a_")
    with httpx.Client(base_url=fresh.url, headers={"Authorization": f"bearer {made['token']}"}) as program:
        assert program.get("/api/v1/session").json()["user"]["name"] == "administrator/token:ci"
        assert program.post("/api/v1/query", json={"query": "print 1"}).status_code == 200
        assert program.get("/api/v1/users").status_code == 200
        assert program.get("/api/v1/tokens").status_code == 403
        assert program.put("/api/v1/session/password", json={"current": "a", "new": "b"}).status_code == 403
    with fresh.client("administrator") as client:
        assert client.delete(f"/api/v1/tokens/{made['id']}").status_code == 204
    with httpx.Client(base_url=fresh.url, headers={"Authorization": f"Bearer {made['token']}"}) as program:
        assert program.get("/api/v1/session").status_code == 401


def test_a_bad_bearer_is_not_saved_by_a_good_cookie(fresh: Served) -> None:
    with fresh.client("reader") as client:
        assert client.get("/api/v1/session", headers={"Authorization": "Bearer x"}).status_code == 401


def test_changing_the_password(fresh: Served) -> None:
    with fresh.client("reader") as client, fresh.client("reader") as other:
        body = {"current": "wrong", "new": "nine purple herons"}
        assert client.put("/api/v1/session/password", json=body).status_code == 401
        assert (
            client.put("/api/v1/session/password", json={"current": PHRASE, "new": "short"}).json()["code"] == "ACC0006"
        )
        assert client.put("/api/v1/session/password", json={**body, "current": PHRASE}).status_code == 204
        assert client.get("/api/v1/session").status_code == 200
        assert other.get("/api/v1/session").status_code == 401


def test_an_ingest_token_is_for_the_intake(fresh: Served) -> None:
    token = fresh.workspace.access.make_token("t", by=ADMIN)["token"]
    with httpx.Client(base_url=fresh.url) as sender:
        assert sender.get("/services/collector/health").status_code in (200, 503)
        assert sender.post("/services/collector", content=b'{"event": "x"}').status_code == 401
        assert sender.post(
            "/ingest/v1/jsonl", content=b"{}", headers={"Authorization": f"Bearer {token}x"}
        ).status_code in (401, 403)
