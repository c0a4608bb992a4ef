"""Each page as a person sees it: rendered, accessible in both themes, photographed for the documentation."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.portal.conftest import Server, Watched

pytestmark = pytest.mark.system

INCIDENT = "/incidents/inc-7f3a9c21"
HUNT = "/hunting?range=all&run=true&query="
CHART = HUNT + quote(
    "DeviceProcessEvents\n| summarize Events = count() by bin(Timestamp, 10m), FileName\n| render timechart"
)
ROWS = HUNT + quote("DeviceProcessEvents\n| take 30000")

# Name of the screenshot, path, what to wait for.
PAGES = [
    ("incidents", "/incidents", "table tbody tr"),
    ("incident-story", INCIDENT, "[role=img][data-ready]"),
    ("incident-alert", f"{INCIDENT}?alert=alr-0006", "[role=img][data-ready]"),
    ("incident-alerts", f"{INCIDENT}?tab=alerts&alert=alr-0012", "[role=grid] [role=gridcell]"),
    ("incident-assets", f"{INCIDENT}?tab=assets", "table tbody tr"),
    ("incident-activity", f"{INCIDENT}?tab=activity", "text=Called Mira"),
    ("incident-actions", f"{INCIDENT}?tab=actions", "text=Block 203.0.113.66"),
    ("hunting-results", ROWS, "[role=gridcell]"),
    ("hunting-chart", CHART, "[data-testid=chart][data-ready]"),
    ("actions", "/actions", "text=Block 203.0.113.66"),
    ("actions-history", "/actions?tab=history", "text=Undone"),
    ("rules", "/rules", "table tbody tr"),
    ("rule", "/rules?rule=rule-7", "pre"),
    ("automation", "/rules?tab=automation", "text=Penetration test"),
    ("sources-receivers", "/sources", "text=Splunk HEC"),
    ("sources-transforms", "/sources?tab=transforms", "text=Agreed with the works council"),
    ("sources-dead-letters", "/sources?tab=dead-letters", "table tbody tr"),
    ("settings-users", "/settings", "table tbody tr"),
    ("settings-groups", "/settings?tab=groups", "table tbody tr"),
    ("settings-tokens", "/settings?tab=tokens", "table tbody tr"),
    ("settings-audit", "/settings?tab=audit", "table tbody tr"),
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "path", "ready"), PAGES, ids=[p[0] for p in PAGES])
def test_page_is_accessible_and_photographed(portal: Watched, name: str, path: str, ready: str, theme: str) -> None:
    if theme == "dark":
        portal.dark()
    page = portal.open(path)
    page.wait_for_selector(ready, state="attached")
    if name.startswith("hunting"):
        page.wait_for_selector("[data-testid=editor][data-schema]", state="attached")
        page.wait_for_selector(".monaco-editor .view-line span.Table", state="attached")
    portal.shot(f"{name}-{theme}")
    portal.accessible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_sign_in_page(portal: Watched, theme: str) -> None:
    if theme == "dark":
        portal.dark()
    portal.open("/signin", signed_in=False)
    portal.shot(f"sign-in-{theme}")
    portal.accessible()


EMPTY = [
    ("/incidents", "Nothing to work on"),
    ("/incidents?q=zebra", "No incident matches"),
    ("/actions", "Nothing waits for you"),
    ("/tables", "No data yet"),
    ("/sources", "No receiver is on"),
    ("/sources?tab=dead-letters", "Everything could be read"),
    ("/sources?tab=transforms", "Rows are stored as they come"),
    ("/nowhere", "There is no such page"),
]


@pytest.mark.parametrize(("path", "text"), EMPTY, ids=[e[0] for e in EMPTY])
def test_empty_states_say_what_it_means(portal: Watched, server: Server, path: str, text: str) -> None:
    server.world.empty = True
    portal.page.context.add_cookies([{"name": "tocsin_session", "value": "mock", "url": portal.address}])
    portal.page.goto(portal.address + path)
    portal.page.wait_for_selector(f"text={text}")
    portal.accessible()


def test_a_problem_is_told_in_the_servers_words_and_can_be_tried_again(portal: Watched, server: Server) -> None:
    portal.allowed.add(503)
    server.world.fail["/incidents"] = {
        "status": 503,
        "title": "The lake is closed",
        "detail": "Rows can't be read while the disk is full.",
        "code": "LAK0007",
        "hint": "Free some space.",
    }
    page = portal.open("/incidents")
    page.wait_for_selector("text=The lake is closed")
    expect(page.get_by_role("alert")).to_contain_text("Free some space.")
    expect(page.get_by_role("alert")).to_contain_text("LAK0007")
    portal.accessible()
    server.world.fail.clear()
    page.click("text=Try again")
    page.wait_for_selector("table tbody tr")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1024, 768), (1920, 1080)])
@pytest.mark.parametrize(
    "path",
    [
        "/incidents",
        INCIDENT,
        "/hunting",
        "/actions",
        "/rules?rule=rule-7",
        "/sources",
        "/tables",
        "/settings?tab=weights",
    ],
)
def test_nothing_sticks_out_sideways(portal: Watched, path: str, width: int, height: int) -> None:
    portal.page.set_viewport_size({"width": width, "height": height})
    page = portal.open(path)
    page.wait_for_timeout(600)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(
        "(() => { const m = document.getElementById('main'); return m.scrollWidth <= m.clientWidth + 1 })()"
    )


def test_the_whole_page_obeys_a_strict_content_policy(portal: Watched) -> None:
    """The server sends the policy; were it broken, the console would have said so on every page above."""
    response = portal.page.goto(f"{portal.address}/signin")
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'self';" in policy
    # Give the policy its due: the driver's own evaluation bypasses it until a timer has run.
    refused = portal.page.evaluate(
        "new Promise(done => setTimeout(() => { try { eval('1'); done(false) } catch { done(true) } }, 50))"
    )
    portal.problems = [p for p in portal.problems if "unsafe-eval" not in p]
    assert refused
