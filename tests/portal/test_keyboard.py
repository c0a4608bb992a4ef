"""The portal by keyboard alone: a shift's work from the sign-in to a resolved incident, without a pointer and without losing one's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.portal.conftest import Server, Watched

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.system

INCIDENT = "inc-7f3a9c21"


def tab_to(page: Page, wanted: Locator, most: int, *, back: bool = False) -> None:
    """Tab until something has the focus, in no more presses than a person puts up with; each stop on the way can be seen."""
    for _ in range(most):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if wanted.evaluate("e => e === document.activeElement"):
            return
    raise AssertionError(f"{wanted} is not within {most} stops: {focused(page)}")


def focused(page: Page) -> str:
    """What has the focus, in a few words."""
    text: str = page.evaluate(
        "(e => e.getAttribute('aria-label') || e.textContent.slice(0, 80) || e.tagName)(document.activeElement)"
    )
    return text


def test_a_shift_without_a_pointer(portal: Watched, server: Server) -> None:
    portal.allowed.add(404)  # the mock knows no entity's page
    page, keys = portal.page, portal.page.keyboard
    page.goto(f"{portal.address}/incidents")
    expect(page.get_by_label("User name")).to_be_focused()
    keys.type("admin")
    keys.press("Tab")
    keys.type("demo")
    keys.press("Enter")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(10)

    # A filter says what it leaves, its menu gives the focus back, and what undoes it leaves nobody at the top of the page.
    said = page.get_by_role("status").filter(has_text="sorted by")
    tab_to(page, page.get_by_role("group", name="Filter by severity").get_by_role("button", name="Low"), 12)
    keys.press("Space")
    expect(said).to_have_text("2 incidents, sorted by Priority, descending")
    status = page.get_by_role("button", name="Status:")
    tab_to(page, status, 5)
    keys.press("Enter")
    expect(page.get_by_role("menuitemcheckbox").first).to_be_focused()
    keys.press("Escape")
    expect(status).to_be_focused()
    tab_to(page, page.get_by_role("button", name="Reset"), 12)
    keys.press("Enter")
    expect(rows).to_have_count(10)
    expect(page.locator("main :focus")).to_have_count(1)

    # The list is one stop: arrows walk it, and what follows is what can be done with the chosen ones.
    tab_to(page, page.get_by_label("Choose incident").first, 20)
    keys.press("Space")
    keys.press("ArrowDown")
    keys.press("Space")
    expect(page.get_by_role("status").filter(has_text="2 incidents chosen")).to_have_count(1)
    merge = page.get_by_role("button", name="Merge", exact=True)
    tab_to(page, merge, 12)
    keys.press("Enter")
    page.get_by_role("heading", name="Merge 2 incidents").wait_for()
    expect(page.get_by_role("dialog").locator(":focus")).to_have_count(1)
    keys.press("Escape")
    expect(merge).to_be_focused()
    keys.press("j")
    keys.press("k")
    first = page.locator("a[data-row]").first
    expect(first).to_be_focused()
    keys.press("Enter")
    page.locator("[role=img][data-ready]").wait_for()

    # Dialogs and menus give the focus back to what opened them.
    for name, heading in (("Comment", "Comment on #"), ("Resolve", "Resolve #")):
        opener = page.get_by_role("button", name=name, exact=True)
        tab_to(page, opener, 8)
        keys.press("Enter")
        page.get_by_role("heading", name=heading).wait_for()
        keys.press("Escape")
        expect(opener).to_be_focused()
    tab_to(page, page.get_by_label("Remove the tag finance"), 12)
    keys.press("Enter")
    page.get_by_text("Tag finance removed").first.wait_for()
    expect(page.locator("main :focus")).to_have_count(1)

    # From a step it is never far to the graph and to why the step is there; Escape leads back.
    page.get_by_role("tab", name="Attack story").focus()
    steps = page.locator("[data-step]")
    tab_to(page, steps.first, 16)
    keys.press("ArrowDown")
    expect(steps.nth(1)).to_be_focused()
    keys.press("Enter")
    slider = page.get_by_label("The graph as it was at")
    tab_to(page, slider, 12)
    last = slider.get_attribute("max")
    keys.press("ArrowLeft")
    expect(slider).to_have_value(str(int(last or 0) - 1))
    why = page.get_by_role("group", name="The selected alert")
    tab_to(page, why, 5)
    expect(why).to_contain_text("Why it is in this incident")
    keys.press("Escape")
    expect(steps.nth(1)).to_be_focused()

    # Alerts: the chosen one's proof follows the list; a dialog whose opener went with its work goes on beside it.
    page.get_by_role("tab", name="Attack story").focus()
    keys.press("ArrowRight")
    keys.press("Enter")
    tab_to(page, page.get_by_label("Mark ").first, 5)
    keys.press("Space")
    move = page.get_by_role("button", name="Move…")
    tab_to(page, move, 3, back=True)
    keys.press("Enter")
    page.get_by_role("dialog").wait_for()
    keys.press("Escape")
    expect(move).to_be_focused()
    tab_to(page, page.get_by_role("grid").first, 20)

    # A thing's page, and back to the link that led there.
    page.get_by_role("tab", name="Alerts").focus()
    keys.press("ArrowRight")
    keys.press("Enter")
    link = page.get_by_role("link", name="Page of ").first
    tab_to(page, link, 6)
    keys.press("Enter")
    page.wait_for_url("**/entities**")
    page.go_back()
    expect(link).to_be_focused()

    # A task and the end; each says that it was done.
    page.get_by_role("tab", name="Tasks").focus()
    keys.press("Enter")
    tab_to(page, page.get_by_label("New task"), 3)
    keys.type("Call her")
    keys.press("Enter")
    page.get_by_text("Task added").first.wait_for()
    done = page.get_by_role("checkbox", name="Call her")
    tab_to(page, done, 5)
    keys.press("Space")
    page.get_by_text("Task done").first.wait_for()
    expect(done).to_be_focused()
    resolve = page.get_by_role("button", name="Resolve", exact=True)
    tab_to(page, resolve, 16, back=True)
    keys.press("Enter")
    expect(page.get_by_role("radio").first).to_be_focused()
    keys.press("Space")
    determination = page.get_by_role("combobox", name="Determination")
    tab_to(page, determination, 3)
    keys.press("Enter")
    page.get_by_role("option").first.wait_for()
    keys.press("Enter")
    tab_to(page, page.get_by_role("dialog").get_by_role("button", name="Resolve"), 4)
    keys.press("Enter")
    page.get_by_text("Incident resolved").first.wait_for()
    expect(page.locator("main :focus")).to_have_count(1)
    assert server.world.incidents[INCIDENT]["status"] == "Resolved"
