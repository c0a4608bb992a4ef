"""The way out: what is refused, on the connection itself, and what comes back is bounded."""

from __future__ import annotations

import ipaddress
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tocsin.base.errors import ConfigError
from tocsin.base.http import EgressClient, EgressError, EgressPolicy


class Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.path, dict(self.headers), body))
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/secret")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/large":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(1000):
                    self.wfile.write(b"x" * 65536)
            except OSError:
                pass
        elif self.path == "/slow":
            self.server.gone.wait(60)  # type: ignore[attr-defined]
        else:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.seen, made.gone = [], threading.Event()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.gone.set()
    made.shutdown()
    thread.join()
    made.server_close()


def url(server: Any, path: str = "/", host: str = "127.0.0.1") -> str:
    return f"http://{host}:{server.server_port}{path}"


ALLOWED = EgressPolicy.of(["127.0.0.1"])


def test_an_allowed_request_goes_out(server: Any) -> None:
    answer = EgressClient(ALLOWED).request("POST", url(server, "/a?b=c"), content=b"hello", headers={"X-A": "1"})
    assert (answer.status, answer.body, answer.truncated) == (200, b"ok", False)
    ((path, headers, body),) = server.seen
    assert (path, headers["X-A"], body) == ("/a?b=c", "1", b"hello")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
def test_this_machine_is_refused_under_all_its_names(server: Any, host: str) -> None:
    with pytest.raises(EgressError) as caught:
        EgressClient().request("POST", url(server, host=host))
    assert caught.value.code == "HTT0001"
    assert server.seen == []


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "240.0.0.1", "0.0.0.0", "::1", "::",
     "fe80::1", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "192.0.2.1", "255.255.255.255"],
)  # fmt: skip
def test_addresses_that_are_not_the_internet_s_are_refused(address: str) -> None:
    assert not EgressPolicy().allows("x.example", ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e", "::ffff:8.8.8.8"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert EgressPolicy().allows("x.example", ipaddress.ip_address(address))
    assert not EgressPolicy(public=False).allows("x.example", ipaddress.ip_address(address))


def test_a_name_with_one_inner_address_among_public_ones_is_refused() -> None:
    client = EgressClient(resolve=lambda _h, _p: ["93.184.215.14", "10.0.0.1"])
    with pytest.raises(EgressError, match=r"x\.example is 10\.0\.0\.1"):
        client.check("https://x.example/")


def test_a_name_that_changes_its_mind_is_caught_at_the_connection(server: Any) -> None:
    """DNS rebinding: public when checked, loopback when connected to."""
    answers = iter([["93.184.215.14"], ["127.0.0.1"]])
    client = EgressClient(resolve=lambda _h, _p: next(answers))
    client.check(url(server, host="x.example"))
    with pytest.raises(EgressError) as caught:
        client.request("POST", url(server, host="x.example"))
    assert caught.value.code == "HTT0001"
    assert server.seen == []


def test_the_checked_address_is_the_one_connected_to(server: Any) -> None:
    client = EgressClient(EgressPolicy.of(["127.0.0.0/8"]), resolve=lambda _h, _p: ["127.0.0.1"])
    assert client.request("POST", url(server, host="x.example")).status == 200
    assert server.seen[0][1]["Host"] == f"x.example:{server.server_port}"


def test_a_name_on_the_list_may_be_anywhere(server: Any) -> None:
    client = EgressClient(EgressPolicy.of(["Hooks.Example."]), resolve=lambda _h, _p: ["127.0.0.1"])
    assert client.request("POST", url(server, host="hooks.example")).status == 200
    with pytest.raises(EgressError):
        client.request("POST", url(server, host="not-hooks.example"))


def test_redirects_are_not_followed(server: Any) -> None:
    answer = EgressClient(ALLOWED).request("POST", url(server, "/redirect"))
    assert answer.status == 302
    assert [path for path, _, _ in server.seen] == ["/redirect"]


def test_a_proxy_of_the_environment_is_not_used(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, url(server))
    with pytest.raises(EgressError):
        EgressClient(resolve=lambda _h, _p: ["10.0.0.1"]).request("POST", "http://x.example/")
    assert server.seen == []


def test_a_large_answer_is_cut_off(server: Any) -> None:
    answer = EgressClient(ALLOWED, max_bytes=1000).request("POST", url(server, "/large"))
    assert (len(answer.body), answer.truncated) == (1000, True)


def test_a_slow_answer_times_out(server: Any) -> None:
    started = time.monotonic()
    with pytest.raises(EgressError) as caught:
        EgressClient(ALLOWED, timeout=0.3).request("POST", url(server, "/slow"))
    assert caught.value.code == "HTT0002"
    assert time.monotonic() - started < 30  # it would come after 60 s


@pytest.mark.parametrize(
    "bad",
    [
        "ftp://x.example/",
        "file:///etc/passwd",
        "http://",
        "x",
        "",
        "http://ann:pw@93.184.215.14/",
        "gopher://x/",
        "http://[::1",
        "unix:/x",
    ],
)
def test_other_urls_are_refused(bad: str) -> None:
    for step in (EgressClient().check, lambda u: EgressClient().request("POST", u)):
        with pytest.raises(EgressError) as caught:
            step(bad)
        assert caught.value.code == "HTT0001"


def test_nobody_there_is_a_failure_with_a_name() -> None:
    port = free_port()
    with pytest.raises(EgressError, match=r"127\.0\.0\.1 failed") as caught:
        EgressClient(ALLOWED).request("POST", f"http://127.0.0.1:{port}/")
    assert caught.value.code == "HTT0002"


@pytest.mark.parametrize("entry", ["", "http://x", "a b", "x/y", "10.0.0.0/99", "x:80"])
def test_a_wrong_entry_is_a_config_error(entry: str) -> None:
    with pytest.raises(ConfigError):
        EgressPolicy.of([entry])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A self-signed certificate for hooks.example, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (apt install openssl)")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=hooks.example", "-addext", "subjectAltName=DNS:hooks.example", "-keyout", str(path), "-out", str(path) + ".crt"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return str(path)


@pytest.fixture
def secure(server: Any, certificate: str) -> Any:
    """The same server, speaking TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def test_tls_verifies_the_name_although_an_address_is_connected_to(secure: Any, certificate: str) -> None:
    client = EgressClient(
        EgressPolicy.of(["127.0.0.1"]),
        resolve=lambda _h, _p: ["127.0.0.1"],
        verify=ssl.create_default_context(cafile=certificate),
    )
    assert client.request("POST", f"https://hooks.example:{secure.server_port}/").status == 200
    with pytest.raises(EgressError, match=r"(?i)hostname mismatch|not valid for"):
        client.request("POST", f"https://other.example:{secure.server_port}/")


def test_an_unknown_certificate_is_refused(secure: Any) -> None:
    client = EgressClient(EgressPolicy.of(["127.0.0.1"]), resolve=lambda _h, _p: ["127.0.0.1"])
    with pytest.raises(EgressError, match=r"(?i)certificate"):
        client.request("POST", f"https://hooks.example:{secure.server_port}/")
    assert secure.seen == []
