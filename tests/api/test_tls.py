"""HTTPS by the server itself: `tocsin up --tls-cert`, wrong certificates, clients that don't go."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.api.conftest import Tls
from tests.e2e.server import Server as Up
from tocsin.base.errors import ConfigError
from tocsin.workspace.server import Server, check_tls
from tocsin.workspace.settings import ServerSettings


@pytest.mark.slow
def test_up_with_tls(tmp_path: Path, tls: Tls) -> None:
    """Portal, API and the demonstration's own intake over HTTPS; the session cookie is for HTTPS only; SIGTERM ends it with a client connected."""
    up = Up(
        tmp_path / "data", "--demo", "--speed", "10000", "--tls-cert", str(tls.certificate), "--tls-key", str(tls.key)
    ).start()
    context = ssl.create_default_context(cafile=tls.authority)
    try:
        assert " answers on https://127.0.0.1:" in up.said()
        url = up.said().partition("answers on ")[2].split()[0]
        with httpx.Client(base_url=url, verify=context, headers={"X-Tocsin-Request": "1"}) as client:
            answer = client.post("/api/v1/session", json={"username": "admin", "password": up.password})
            assert "secure" in answer.headers["set-cookie"].lower()
            assert answer.headers["strict-transport-security"]
            end = time.monotonic() + 60
            while not (tables := client.get("/api/v1/tables").json()["items"]):
                assert time.monotonic() < end, up.errors.read_text()
                time.sleep(0.2)
            assert sum(t["rows"] for t in tables) > 0
            idle = context.wrap_socket(
                socket.create_connection((httpx.URL(url).host, httpx.URL(url).port)), server_hostname="127.0.0.1"
            )
            started = time.monotonic()
            up.stop()
            assert time.monotonic() - started < 9, "idle clients are not waited for"
            idle.close()
    finally:
        up.close()


async def _large(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(200):
            await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def test_a_client_that_neither_reads_nor_goes_does_not_keep_the_server(tls: Tls) -> None:
    server = Server(
        uvicorn.Config(
            _large,
            port=0,
            log_config=None,
            timeout_graceful_shutdown=1,
            lifespan="off",
            ssl_certfile=tls.certificate,
            ssl_keyfile=tls.key,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    context = ssl.create_default_context(cafile=tls.authority)
    client = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1")
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.recv(100).startswith(b"HTTP/1.1 200")
    server.should_exit = True
    thread.join(90)
    assert not thread.is_alive()
    client.close()


def test_a_wrong_certificate_is_told_before_anything_starts(tls: Tls, tmp_path: Path) -> None:
    check_tls(ServerSettings())
    check_tls(ServerSettings(tls_cert=tls.certificate, tls_key=tls.key))
    both = tmp_path / "both.pem"
    both.write_bytes(tls.key.read_bytes() + tls.certificate.read_bytes())
    check_tls(ServerSettings(tls_cert=both))
    locked = tmp_path / "locked.key"
    key = load_pem_private_key(tls.key.read_bytes(), None)
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    for settings, told in (
        (ServerSettings(tls_cert=tmp_path / "none.pem"), "there is no file"),
        (ServerSettings(tls_cert=tls.certificate), "can't be used"),
        (ServerSettings(tls_cert=tls.certificate, tls_key=tls.certificate), "can't be used"),
        (ServerSettings(tls_cert=tls.certificate, tls_key=locked), "is encrypted"),
    ):
        with pytest.raises(ConfigError, match=told) as caught:
            check_tls(settings)
        assert caught.value.code == "CFG0007"
    with pytest.raises(ValueError, match="tls_key needs tls_cert"):
        ServerSettings(tls_key=tls.key)
