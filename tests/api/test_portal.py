"""The portal on top of the API: who gets a page, who gets a problem, and under which policy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Served, open_served
from tocsin.portal import PortalFiles


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("static")
    (made / "index.html").write_text(
        '<!doctype html><style nonce="__TOCSIN_NONCE__"></style><script src="/assets/a-1.js"></script>'
    )
    (made / "assets").mkdir()
    for name, content in (("a-1.js", b"plain"), ("a-1.js.br", b"brotli"), ("a-1.js.gz", b"gzip")):
        (made / "assets" / name).write_bytes(content)
    (made / ".tocsin-build").write_text("hash")
    return made


@pytest.fixture(scope="module")
def site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    for served in open_served(tmp_path_factory.mktemp("data"), start=False):
        served.app.mount("/", PortalFiles(folder), name="portal")
        yield served


@pytest.fixture
def browser(site: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/", "/incidents/inc_1", "/index.html", "/hunting?q=1", "/.tocsin-build", "/%2e%2e/%2e%2e/etc/passwd"]
)
def test_the_page_answers_every_path_of_the_portal(browser: httpx.Client, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    nonce = re.search(r'nonce="([^"]+)"', answer.text)
    assert nonce is not None
    policy = answer.headers["content-security-policy"]
    assert f"'nonce-{nonce[1]}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'self';" in policy
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-frame-options"] == "DENY"
    other = browser.get(path)
    assert other.headers["content-security-policy"] != policy, "a nonce is used once"


@pytest.mark.parametrize(
    ("accepted", "content", "encoding"),
    [("gzip, br", b"brotli", "br"), ("gzip", b"gzip", "gzip"), ("identity", b"plain", None)],
)
def test_hashed_files_are_kept_for_a_year_and_sent_packed(
    site: Served, accepted: str, content: bytes, encoding: str | None
) -> None:
    with httpx.stream("GET", f"{site.url}/assets/a-1.js", headers={"Accept-Encoding": accepted}) as answer:
        assert b"".join(answer.iter_raw()) == content
        assert answer.headers.get("content-encoding") == encoding
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"].startswith("text/javascript")


def test_what_is_missing_is_not_the_page(browser: httpx.Client) -> None:
    assert browser.get("/assets/none.js").status_code == 404
    answer = browser.get("/api/v1/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert browser.post("/incidents").status_code == 405
    assert browser.get("/api/v1/incidents").status_code == 401
    assert browser.get("/services/collector/health").headers["content-type"].startswith("application/json")


def test_without_a_build_it_says_what_to_do(tmp_path: Path) -> None:
    for served in open_served(tmp_path / "data", start=False):
        served.app.mount("/", PortalFiles(tmp_path / "none"), name="portal")
        answer = httpx.get(f"{served.url}/")
        assert answer.status_code == 503
        assert "not built" in answer.text
        assert httpx.get(f"{served.url}/api/v1/health").status_code == 200
