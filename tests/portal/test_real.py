"""The portal on a real server that plays the demonstration: from the first sign-in to a resolved incident."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.e2e.server import Server
from tests.portal.conftest import PATIENCE, Watched, watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Server]:
    """A server of its own, playing the attack fast."""
    server = Server(tmp_path / "data", "--demo", "--speed", "600").start()
    yield server
    server.close()


@pytest.fixture
def open_portal(browser: Browser) -> Iterator[Callable[[Server], Watched]]:
    """Opens the portal of a server in a context of its own; anything that goes wrong on it fails the test."""
    made: list[tuple[Any, Watched]] = []

    def make(server: Server) -> Watched:
        context = browser.new_context(viewport={"width": 1500, "height": 940}, reduced_motion="reduce", locale="en-GB")
        context.set_default_timeout(PATIENCE)
        watched = Watched(context.new_page(), server.address)
        watch(watched)
        made.append((context, watched))
        return watched

    yield make
    for context, watched in made:
        context.close()
        watched.check()


def test_from_the_first_sign_in_to_a_resolved_incident(demo: Server, open_portal: Callable[[Server], Watched]) -> None:
    portal = open_portal(demo)
    portal.allowed |= {400, 409}  # the demonstration goes on: what is decided upon an older state is tried again
    page = portal.page
    page.goto(demo.address)
    page.get_by_label("User name").fill("admin")
    page.locator("input[type=password]").fill(demo.password)
    page.keyboard.press("Enter")

    # The incident comes by itself: the queue asks again while one looks at it.
    row = page.locator("tbody tr a").filter(has_text="Exfiltration").first
    row.wait_for(timeout=2 * PATIENCE)
    row.click()
    page.wait_for_selector("[role=img][data-ready]")
    portal.accessible()
    steps = page.locator("[data-step]")
    steps.nth(4).wait_for(state="attached")
    steps.first.click()
    page.wait_for_selector("text=Why it is in this incident")
    page.get_by_role("tab", name="Alerts").click()
    page.wait_for_selector("[role=gridcell]")

    # An analyst's own decisions.
    page.get_by_role("button", name="Assign", exact=True).click()
    page.get_by_role("menuitem", name="Assign to me").click()
    page.wait_for_selector("text=Assigned to admin")
    page.get_by_role("button", name="Add a tag").click()
    page.get_by_label("New tag").fill("demo")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Tagged demo")

    # What automation proposed waits, and says whether it could be done. It is refused: a test must not touch this machine's firewall.
    page.get_by_role("tab", name="Actions").click()
    page.get_by_role("button", name="Reject:").first.click()
    page.get_by_role("dialog").get_by_label("Comment").fill("Only a demonstration")
    page.get_by_role("dialog").get_by_role("button", name="Reject").click()
    page.wait_for_selector("text=Rejected:")

    # An alert that doesn't belong here gets an incident of its own, and comes back by a merge.
    page.get_by_role("tab", name="Alerts").click()
    page.get_by_role("button", name="Move", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Move", exact=True).click()
    page.get_by_role("button", name="Undo", exact=True).click()  # right in the notice
    page.wait_for_selector("text=Undone: Move 1 alert")
    expect(page.get_by_text("Moved to #")).to_have_count(0)  # that notice goes, and the focus with it
    page.get_by_role("checkbox", name="Mark ").first.check()
    page.get_by_role("button", name="Move…").click()
    portal.accessible()
    page.get_by_role("dialog").get_by_role("button", name="Move", exact=True).click()
    page.wait_for_selector("text=Moved to #")
    page.get_by_role("link", name="Incidents").first.click()
    expect(page.locator("tbody tr")).to_have_count(2)
    addresses = page.locator("tbody tr a").evaluate_all("links => links.map(a => a.href)")
    page.get_by_label("Choose all on this page").check()
    page.get_by_role("button", name="Merge", exact=True).click()
    # One alert, or more by now: the demonstration goes on, and what was moved may gather others.
    page.get_by_text(re.compile(r"\d alerts? comes? in")).wait_for()
    portal.accessible()
    portal.shot("incident-merge")
    page.get_by_role("dialog").get_by_role("button", name="Merge", exact=True).click()
    page.wait_for_selector("text=1 incident merged into #1")
    expect(page.locator("tbody tr")).to_have_count(1)
    kept = page.locator("tbody tr a").first.evaluate("a => a.href")
    (gone,) = {a.split("?")[0] for a in addresses} - {kept.split("?")[0]}

    # An old link leads to where the alerts are now; what was left behind can still be looked at.
    page.goto(gone)
    page.wait_for_selector("text=was merged into this incident")
    assert page.url.startswith(kept.split("?")[0])
    page.get_by_role("link", name="as it was left").click()
    page.wait_for_selector("text=which has its alerts now")
    assert page.url.startswith(gone)
    page.get_by_role("link", name="Open it").click()

    page.get_by_role("button", name="Resolve", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Informational, expected activity").click()
    dialog.get_by_role("combobox").click()
    page.get_by_role("option", name="Security testing").click()
    dialog.get_by_label("Note").fill("The demonstration.")
    dialog.get_by_role("button", name="Resolve").click()  # though it may have grown while the dialog was open
    page.get_by_text("Incident resolved").first.wait_for()
    page.get_by_role("tab", name="Activity log").click()
    page.wait_for_selector("text=The demonstration.")
    portal.accessible()


def test_hunt_and_make_a_rule_of_it(demo: Server, open_portal: Callable[[Server], Watched]) -> None:
    portal = open_portal(demo)
    portal.allowed.add(400)
    page = portal.page
    page.goto(demo.address)
    page.get_by_label("User name").fill("admin")
    page.locator("input[type=password]").fill(demo.password)
    page.keyboard.press("Enter")
    page.wait_for_selector("h1 >> text=Incidents")

    page.goto(f"{demo.address}/tables")
    page.locator("tbody tr").first.wait_for()
    portal.accessible()
    page.goto(f"{demo.address}/sources")
    page.wait_for_selector("section[aria-label] h2")

    query = "DeviceProcessEvents\n| summarize Events = count() by FileName, DeviceName\n| top 10 by Events"
    page.goto(f"{demo.address}/hunting?range=all&run=true&query={quote(query)}")
    page.wait_for_selector("[role=gridcell]")
    page.wait_for_selector("[data-testid=editor][data-schema]", state="attached")
    page.get_by_role("button", name="Save as rule").click()
    page.get_by_role("dialog").get_by_role("textbox", name="Name").fill("Busy programs")
    page.get_by_role("dialog").get_by_role("button", name="Save rule").click()
    page.wait_for_selector("text=Rule saved: Busy programs")
    expect(page.get_by_role("heading", name="Busy programs")).to_be_visible()
    page.wait_for_selector("pre >> text=top 10 by Events")

    # A text that Microsoft's language knows to be wrong, and our engine says so too, with its place.
    page.goto(
        f"{demo.address}/hunting?range=all&run=true&query={quote('DeviceProcessEvents | where NoSuchColumn == 1')}"
    )
    page.wait_for_selector("[role=alert]")
    expect(page.locator("[aria-label=Results]")).to_contain_text("NoSuchColumn")
