"""Fixtures that drive the built portal in Debian's Chromium.

A test fails on any console error or page error, and on any request that leaves this machine: `Watched.check` runs at the end of each test.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import uvicorn

os.environ.setdefault("TOCSIN_MOCK_NOW", "2026-11-26T13:20:00+00:00")

from tests.portal.mock_api import World, build_app
from tocsin.portal.files import PortalFiles

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REPOSITORY = Path(__file__).resolve().parents[2]
SCREENSHOTS = REPOSITORY / "docs" / "screenshots"
AXE = REPOSITORY / "ui" / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE = 90_000
"""How long, in milliseconds, a page may take to show what a test waits for."""
CHROMIUM = os.environ.get("TOCSIN_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"


@dataclass
class Server:
    """A running server and, for the mock, what it knows."""

    address: str
    world: World


@dataclass
class Watched:
    """A page and everything that went wrong on it. Tests that provoke a refusal name the status in `allowed`."""

    page: Page
    address: str
    problems: list[str] = field(default_factory=list)
    allowed: set[int] = field(default_factory=set)
    fails: bool = False
    """Whether requests may fail altogether: the test has taken the network away."""

    def open(self, path: str, *, signed_in: bool = True) -> Page:
        """Open a path, signed in unless said otherwise, and wait for its heading."""
        if signed_in:
            self.page.context.add_cookies([{"name": "tocsin_session", "value": "mock", "url": self.address}])
        self.page.goto(self.address + path)
        self.page.wait_for_selector("h1")
        return self.page

    def dark(self) -> None:
        """The system's theme becomes dark."""
        self.page.emulate_media(color_scheme="dark")

    def shot(self, name: str) -> None:
        """Write a screenshot for the documentation."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_timeout(250)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    def accessible(self) -> None:
        """No violation that axe-core can find."""
        if not AXE.is_file():
            pytest.skip("axe-core is not installed: run python -m tocsin.portal.build")
        # Fluent fades surfaces in; a half-faded text has too little contrast.
        self.page.wait_for_timeout(400)
        self.page.evaluate(AXE.read_text())
        # Fluent's focus guards are hidden and focusable on purpose: they hand the focus on and never keep it.
        found: dict[str, Any] = self.page.evaluate(
            """async () => await axe.run(
                { exclude: [['[data-tabster-dummy]']] },
                { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] })"""
        )
        lines = [
            f"{v['id']} ({v['impact']}): {v['help']}\n    "
            + "\n    ".join(
                n["html"][:240] + "  " + n["failureSummary"].replace("\n", " ")[:200] for n in v["nodes"][:4]
            )
            for v in found["violations"]
        ]
        assert not lines, "\n".join(lines)

    def check(self) -> None:
        """Fail when anything went wrong."""
        assert not self.problems, "\n".join(p[:400] for p in self.problems[:5])


@pytest.fixture(scope="session")
def _built() -> None:
    if not PortalFiles().built:
        pytest.skip("the portal is not built: run python -m tocsin.portal.build")


@pytest.fixture(scope="session")
def browser(_built: None) -> Iterator[Browser]:
    """One Chromium for all tests."""
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed: apt-get install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as driver:
        # As root there is no sandbox to be had; QUIC and the GPU only add noise.
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def server(_built: None) -> Iterator[Server]:
    """A mock server with a world of its own on a free port of the loopback."""
    world = World()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(build_app(world), log_level="warning", lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.02)
    yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}", world)
    running.should_exit = True
    thread.join(timeout=10)
    listener.close()


@pytest.fixture
def portal(browser: Browser, server: Server) -> Iterator[Watched]:
    """A watched page of the portal on the mock server."""
    context = browser.new_context(
        viewport={"width": 1500, "height": 940},
        color_scheme="light",
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="Europe/Stockholm",
    )
    # A busy machine is slow, not wrong.
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    # The page's day is the mock's, and its clock runs from there (the driver's own clock would stop timers too, and Monaco trips over it).
    page.add_init_script(
        f"""(() => {{ const Real = Date, start = Real.parse("{os.environ["TOCSIN_MOCK_NOW"]}");
        const now = () => start + Math.floor(performance.now());
        globalThis.Date = class extends Real {{ constructor(...given) {{ given.length ? super(...given) : super(now()) }}
        static now() {{ return now() }} }} }})()"""
    )
    watched = Watched(page, server.address)
    watch(watched)
    yield watched
    context.close()
    watched.check()


def watch(watched: Watched) -> None:
    """Listen for everything that must not happen."""
    page, host = watched.page, urlsplit(watched.address).netloc

    def on_console(message: Any) -> None:
        if message.type != "error":
            return
        text = message.text
        # Chromium logs each refused answer; the test says which refusals it provokes. Before sign-in the session is asked for and denied.
        if "Failed to load resource" in text and any(f" {status} " in text for status in watched.allowed | {401}):
            return
        if watched.fails and "net::ERR_" in text:
            return
        watched.problems.append(f"console: {text} ({message.location})")

    def on_request(request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != host:
            watched.problems.append(f"request to elsewhere: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: watched.problems.append(f"page error: {error}"))
    page.on("request", on_request)
